"""The page of the session module: options of a session, but those for CoreML."""

from __future__ import annotations

import functools
import gc
import importlib.util
import json
import re
from pathlib import Path

import models
import onnx
import pytest

import ortx
from ortx import cpus

from .shared import (
    BIAS,
    COREML,
    CPU,
    MODULE,
    NEGATIVE_AND_POSITIVE,
    X,
    appended,
    levels_of_failure,
    messages,
    multiplied,
    nodes_after,
    opened,
    proves,
    registrations_of,
    running,
    session_line,
    threads,
)

# --- general fields

general = functools.partial(proves, MODULE, "General fields")


def without_coreml() -> None:
    """Skip what needs a CoreML that cannot be used, as everywhere but on a Mac."""
    if COREML in ortx.available_providers():
        pytest.skip("needs an ONNX Runtime without CoreML, to see the session fall back")


@general("providers")
def providers_says_what_is_appended_and_what_runs():
    assert appended(providers=["coreml", ("qnn", {"a": True}), "cpu"]) == [
        (COREML, {}),
        ("QNNExecutionProvider", {"a": "1"}),
        (CPU, {}),
    ]
    assert running(providers=["cpu"]) == ((CPU,), "")


@general("provider")
def provider_is_another_word_for_providers():
    for given in ("coreml", ["coreml", "cpu"]):
        assert appended(provider=given) == appended(providers=given) != []
    assert running(provider="cpu") == ((CPU,), "")
    with pytest.raises(ortx.OptionError, match="two names for one thing"):
        appended(provider="cpu", providers="coreml")


@general("providers: a string")
def one_provider_needs_no_list():
    assert appended(providers="coreml") == appended(providers=["coreml"]) == [(COREML, {})]
    assert running(providers="cpu") == ((CPU,), "")


@general("providers: an array of strings")
def several_providers_stand_in_a_list_or_tuple():
    assert [name for name, _ in appended(providers=["coreml", "cpu"])] == [COREML, CPU]
    assert [name for name, _ in appended(providers=("coreml", "cpu"))] == [COREML, CPU]
    with pytest.raises(ortx.OptionError, match=r"\[1\].*did you mean 'coreml'"):
        appended(providers=["cpu", "corml"])


@general('"cpu"')
def the_word_cpu_is_the_cpu():
    for word in ("cpu", "CPU", "Cpu"):
        assert running(providers=word, fallback_to_cpu=False) == ((CPU,), "")


@general('"coreml"')
def the_word_coreml_is_coreml():
    for word in ("coreml", "CoreML", "COREML"):
        assert appended(providers=word) == [(COREML, {})]
        used, warning = running(providers=word)
        assert used[-1] == CPU
        assert (COREML in used) != (COREML in warning)


@general("CPUExecutionProvider")
def the_cpu_has_its_full_name_too():
    for alias in (CPU, CPU.lower()):
        assert running(providers=[alias], fallback_to_cpu=False) == ((CPU,), "")


@general("CoreMLExecutionProvider")
def coreml_has_its_full_name_too():
    for alias in (COREML, COREML.lower()):
        assert appended(providers=[alias]) == [(COREML, {})]
        used, warning = running(providers=[alias])
        assert (COREML in used) != (COREML in warning)


@general("fallback_to_cpu")
def without_fallback_the_reason_of_onnx_runtime_is_an_error():
    without_coreml()
    with pytest.raises(ortx.EpFail, match=rf"{COREML} cannot be used: .+") as caught:
        opened(models.square(), providers=["coreml", "cpu"], fallback_to_cpu=False)
    reason = str(caught.value).partition("cannot be used: ")[2]
    used, warning = running(providers=["coreml", "cpu"], fallback_to_cpu=True)
    assert used == (CPU,)
    assert warning.endswith(reason)


@general("fallback_to_cpu: default true")
def fallback_is_the_default():
    without_coreml()
    with pytest.warns(ortx.ProviderFallbackWarning, match=COREML) as caught:
        session = opened(models.square(), provider="coreml")
    assert len(caught) == 1
    assert (session.providers(), session.options()["fallback_to_cpu"]) == ((CPU,), True)


@general("intra_op_num_threads")
def a_session_has_that_many_threads_less_the_caller_s_own():
    before = threads()
    with opened(models.square(), intra_op_num_threads=4):
        assert threads() - before == 4 - 1
    with opened(models.square(), intra_op_num_threads=0) as session:
        assert threads() - before == cpus.available() - 1
        assert session.options()["intra_op_num_threads"] == cpus.available()


@general("inter_op_num_threads")
def a_parallel_session_has_that_many_threads_across_operators():
    before = threads()
    with opened(models.square(), inter_op_num_threads=5, intra_op_num_threads=1, execution_mode="parallel"):
        assert threads() - before == 5 - 1


@general("log_id")
def a_session_s_messages_carry_its_id():
    with messages() as said:
        opened(models.square(), log_id="größe", session_log_severity_level=0).close()
    assert {record.logid for record in said} == {"größe"}


@general("session_log_severity_level")
def the_severity_of_a_session_limits_what_it_says():
    said = [sorted(levels_of_failure(session_log_severity_level=level)) for level in range(5)]
    assert said == [["DEBUG", "ERROR", "INFO"], ["ERROR", "INFO"], ["ERROR"], ["ERROR"], []]


@general("session_log_verbosity_level")
def the_verbosity_of_a_session_arrives():
    for level in (0, 3):
        assert f" session_log_verbosity_level:{level} " in session_line(session_log_verbosity_level=level)


@general("optimized_model_path")
def the_optimised_model_is_written_and_does_the_same(tmp_path):
    path = tmp_path / "größe.onnx"
    opened(models.square(), optimized_model_path=path)
    assert ortx.session(path).run([X])["y"].tolist() == (X * X).tolist()


@general("profile_file_prefix")
def a_profile_appears_under_the_prefix(tmp_path):
    with opened(models.square(), profile_file_prefix=tmp_path / "prefix") as session:
        session.run([X])
    (file,) = tmp_path.iterdir()
    assert file.name.startswith("prefix")
    assert "Mul" in {event["args"].get("op_name") for event in json.loads(file.read_text())}


@general("free_dimension_overrides")
def a_free_dimension_is_fixed_and_then_checked():
    session = opened(models.add(), free_dimension_overrides=[{"by": "name", "key": "batch", "value": 2}])
    assert (session.input_info("x").shape, session.input_info("x").symbolic_shape) == ((2, 2), ("", ""))
    assert session.run([X, BIAS])["y"].tolist() == (X + BIAS).tolist()
    with pytest.raises(ortx.CallError, match="dimension 0 must be 2, not 1"):
        session.run([X[:1], BIAS])


@general("config_entries")
def an_entry_changes_what_onnx_runtime_does(tmp_path):
    entries = {"optimization.disable_specified_optimizers": "EliminateIdentity"}
    path = tmp_path / "model.onnx"
    assert "Identity" not in nodes_after(path, graph_optimization_level="basic")
    assert "Identity" in nodes_after(path, graph_optimization_level="basic", config_entries=entries)


@general("graph_optimization_level")
def another_level_is_refused_with_the_levels_there_are():
    with pytest.raises(ortx.OptionError, match="graph_optimization_level.*'disable', 'basic', 'extended', .*'all'"):
        opened(models.square(), graph_optimization_level="most")
    assert opened(models.square()).options()["graph_optimization_level"] == "all"


@general('graph_optimization_level = "disable"')
def disable_leaves_the_model_as_it_is(tmp_path):
    level = {"graph_optimization_level": "disable"}
    assert nodes_after(tmp_path / "model.onnx", **level) == ["Identity", "Conv", "Relu"]


@general('graph_optimization_level = "basic"')
def basic_removes_what_does_nothing(tmp_path):
    assert nodes_after(tmp_path / "model.onnx", graph_optimization_level="basic") == ["Conv", "Relu"]


@general('graph_optimization_level = "extended"')
def extended_fuses_operators(tmp_path):
    level = {"graph_optimization_level": "extended"}
    assert nodes_after(tmp_path / "model.onnx", **level) == ["com.microsoft.FusedConv"]


@general('graph_optimization_level = "all"')
def all_is_the_highest_level(tmp_path):
    nodes = nodes_after(tmp_path / "model.onnx", graph_optimization_level="all")
    assert all(node.startswith("com.microsoft.") for node in nodes)  # which ones depends on the processor
    assert " graph_optimization_level:4 " in session_line(graph_optimization_level="all")


@general("execution_mode")
def another_mode_is_refused_with_the_modes_there_are():
    with pytest.raises(ortx.OptionError, match="execution_mode.*expected one of 'sequential', 'parallel'"):
        opened(models.square(), execution_mode="concurrent")
    assert opened(models.square()).options()["execution_mode"] == "sequential"


@general('execution_mode = "sequential"')
def sequential_needs_no_threads_across_operators():
    before = threads()
    with opened(models.sum_and_difference(), execution_mode="sequential", intra_op_num_threads=1) as session:
        assert threads() == before
        assert session.run([X, X])["sum"].tolist() == (X + X).tolist()
    assert " execution_mode:0 " in session_line(execution_mode="sequential")


@general('execution_mode = "parallel"')
def parallel_has_threads_across_operators():
    before = threads()
    given = {"execution_mode": "parallel", "intra_op_num_threads": 1, "inter_op_num_threads": 3}
    with opened(models.sum_and_difference(), **given) as session:
        assert threads() - before == 3 - 1
        assert session.run([X, X])["sum"].tolist() == (X + X).tolist()
    assert " execution_mode:1 " in session_line(**given)


@general("deterministic_compute")
def deterministic_compute_arrives():
    assert " use_deterministic_compute:1 " in session_line(deterministic_compute=True)
    assert " use_deterministic_compute:0 " in session_line(deterministic_compute=False)


@general("disable_per_session_threads")
def a_session_without_threads_of_its_own_uses_the_global_ones(new_process):
    threads()
    assert new_process("""
ortx.configure(use_global_thread_pools=True, global_intra_op_num_threads=2, global_inter_op_num_threads=1)
print(added_by_shared_session(intra_op_num_threads=6))
before = threads()
with ortx.session_from_bytes(square, disable_per_session_threads=False, intra_op_num_threads=6):
    print(threads() - before)
""").splitlines() == ["1", "5"]
    with pytest.raises(ortx.OptionError, match="disable_per_session_threads.*use_global_thread_pools"):
        opened(models.square(), disable_per_session_threads=True)  # this process has no global ones


@general("enable_cpu_mem_arena")
def the_arena_is_where_the_memory_comes_from():
    kinds = [
        opened(models.square(), enable_cpu_mem_arena=enable).memory_info_for_outputs()["y"].allocator_type
        for enable in (True, False)
    ]
    assert kinds == ["arena", "device"]


@general("enable_mem_pattern")
def the_memory_pattern_is_switched():
    assert " enable_mem_pattern:1 " in session_line(enable_mem_pattern=True)
    assert " enable_mem_pattern:0 " in session_line(enable_mem_pattern=False)
    assert opened(models.square(), enable_mem_pattern=False).run([X])["y"].tolist() == (X * X).tolist()


@general("custom_op_libraries")
def operators_of_onnxruntime_extensions_work():
    spec = importlib.util.find_spec("onnxruntime_extensions")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("needs the package onnxruntime-extensions")
    (library,) = Path(spec.submodule_search_locations[0]).glob("_extensions_pydll*[!i]")
    with pytest.raises(ortx.Error, match="NegPos"):
        opened(NEGATIVE_AND_POSITIVE)
    session = opened(NEGATIVE_AND_POSITIVE, custom_op_libraries=library)
    assert [each.tolist() for each in session.run([[1.0, -2.0]])] == [[0.0, -2.0], [1.0, 0.0]]


# --- additional notes

noted = functools.partial(proves, MODULE, "Session options: additional notes")


@noted("free_dimension_overrides: an array table")
def the_overrides_are_a_list_that_is_checked_item_by_item():
    good = {"by": "name", "key": "batch", "value": 2}
    assert opened(models.add(), free_dimension_overrides=[good]).input_info("x").shape == (2, 2)
    for wrong, where in (
        (good, "free_dimension_overrides"),
        ({"batch": 2}, "free_dimension_overrides"),
        ([good, {"by": "name", "key": "batch"}], r"\[1\]"),
        ([{**good, "axis": 0}], r"\[0\]"),
    ):
        with pytest.raises(ortx.OptionError, match=where):
            opened(models.add(), free_dimension_overrides=wrong)


@noted('free_dimension_overrides: by = "name"')
def by_name_fixes_the_dimension_of_that_name():
    session = opened(models.add(), free_dimension_overrides=[{"by": "name", "key": "batch", "value": 3}])
    assert (session.input_info("x").shape, session.output_info("y").shape) == ((3, 2), (3, 2))


@noted('free_dimension_overrides: by = "denotation"')
def by_denotation_fixes_the_dimension_of_that_meaning():
    model = onnx.load_from_string(models.square(("n", 2)))
    model.graph.input[0].type.tensor_type.shape.dim[0].denotation = "DATA_BATCH"
    by_denotation = [{"by": "denotation", "key": "DATA_BATCH", "value": 5}]
    session = opened(model.SerializeToString(), free_dimension_overrides=by_denotation)
    assert session.input_info("x").shape == (5, 2)
    with pytest.raises(ortx.OptionError, match=r"\[0\]\['by'\].*expected one of 'name', 'denotation'"):
        opened(models.add(), free_dimension_overrides=[{"by": "axis", "key": "batch", "value": 1}])


@noted("free_dimension_overrides: key")
def the_key_is_a_string_that_the_model_knows():
    for wrong, words in (
        (1, r"\[0\]\['key'\].*expected a string"),
        ("", "not empty"),
        ("botch", "no dimension .*'botch'"),
    ):
        with pytest.raises(ortx.OptionError, match=words):
            opened(models.add(), free_dimension_overrides=[{"by": "name", "key": wrong, "value": 1}])


@noted("free_dimension_overrides: value = integer")
def the_value_is_an_integer_that_a_dimension_can_have():
    for wrong in (1.0, "1", True, -1):
        with pytest.raises(ortx.OptionError, match=r"\[0\]\['value'\].*expected an integer from 0"):
            opened(models.add(), free_dimension_overrides=[{"by": "name", "key": "batch", "value": wrong}])


@noted("config_entries: string to string")
def entries_are_strings_and_known_ones_are_checked():
    entry = "session.intra_op.allow_spinning"
    assert f" {entry}: 0 " in session_line(config_entries={entry: "0"})
    for wrong in ({entry: 0}, {1: "0"}, [(entry, "0")], {entry: "no"}):
        with pytest.raises(ortx.OptionError, match="config_entries"):
            opened(models.square(), config_entries=wrong)
    with pytest.warns(ortx.UnknownConfigKeyWarning, match="my.key"):
        session = opened(models.square(), config_entries={"my.key": "1"})
    assert session.options()["config_entries"] == {"my.key": "1"}


@noted("custom_op_libraries: a path")
def the_operators_of_a_library_are_there_by_its_path(twice):
    with pytest.raises(ortx.Error, match="Twice"):
        opened(multiplied("Twice"))
    assert opened(multiplied("Twice"), custom_op_libraries=twice).run([X])[0].tolist() == (2 * X).tolist()


@noted("custom_op_libraries: an array of paths")
def the_operators_of_several_libraries_go_together(twice, thrice):
    session = opened(multiplied("Twice", "Thrice"), custom_op_libraries=[twice, Path(thrice)])
    assert session.run([X])[0].tolist() == (6 * X).tolist()
    assert session.options()["custom_op_libraries"] == [twice, thrice]


@noted("custom_op_libraries: a handle")
def a_handle_goes_where_a_path_goes(twice):
    handle = ortx.load_custom_op_library(twice)
    session = opened(multiplied("Twice"), custom_op_libraries=handle)
    del handle  # the session does not need it any more
    gc.collect()
    assert session.run([X])[0].tolist() == (2 * X).tolist()


@noted("custom_op_libraries: an array of handles")
def handles_go_together(twice, thrice):
    handles = [ortx.load_custom_op_library(library) for library in (twice, thrice)]
    session = opened(multiplied("Thrice", "Twice"), custom_op_libraries=handles)
    assert session.run([X])[0].tolist() == (6 * X).tolist()


@noted("custom_op_libraries: paths and handles mixed")
def an_array_may_mix_paths_and_handles(twice, thrice):
    handle = ortx.load_custom_op_library(twice)
    given = [thrice, handle, Path(twice), thrice]  # the same file counts once, or ONNX Runtime would refuse it
    session = opened(multiplied("Twice", "Thrice"), custom_op_libraries=given)
    assert session.run([X])[0].tolist() == (6 * X).tolist()
    assert session.options()["custom_op_libraries"] == [thrice, twice]


@noted("load_custom_op_library(path)")
def a_library_is_loaded_and_tried_at_once(twice, tmp_path):
    before = registrations_of(twice)
    handle = ortx.load_custom_op_library(twice)
    assert (registrations_of(twice) - before, handle.path) == (1, twice)
    (tmp_path / "no library.so").write_bytes(b"no library")
    for wrong in (tmp_path / "missing.so", tmp_path / "no library.so", tmp_path):
        with pytest.raises(ortx.Error):
            ortx.load_custom_op_library(wrong)


@noted("providers omitted")
def without_providers_it_is_the_cpu():
    session = opened(models.square())
    assert (session.providers(), session.options()["providers"]) == ((CPU,), [CPU])


@noted("providers empty")
def with_an_empty_list_it_is_the_cpu():
    for empty in ([], ()):
        assert running(providers=empty) == running(provider=empty) == ((CPU,), "")


@noted('"coreml" with fallback_to_cpu = true')
def a_session_falls_back_to_the_cpu_and_says_so():
    without_coreml()
    used, warning = running(providers=["coreml"], fallback_to_cpu=True)
    assert used == (CPU,)
    assert re.search(rf"{COREML} cannot be used, so .* runs without it: \S", warning)


@noted('providers = {"coreml", "cpu"}')
def the_order_of_the_list_is_kept():
    assert [name for name, _ in appended(providers=["coreml", "cpu"])] == [COREML, CPU]
    assert [name for name, _ in appended(providers=["cpu", "coreml"])] == [CPU, COREML]
    assert [name for name, _ in appended(providers=["qnn", "coreml", "cpu"])][1:] == [COREML, CPU]
    assert running(providers=["coreml", "cpu"])[0] in ((CPU,), (COREML, CPU))
    assert running(providers=["cpu", "coreml"]) == ((CPU,), "")  # CoreML has nothing left to do
