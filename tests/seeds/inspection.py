"""The page of the session module: what a session says of its model and itself, its life cycle."""

from __future__ import annotations

import dataclasses
import functools
import json
from pathlib import Path

import models
import onnx
import pytest

import ortx

from .shared import (
    BIAS,
    MAPS,
    MODULE,
    OPTIONAL,
    SEQUENCE,
    SPARSE,
    X,
    bound,
    described,
    live,
    messages,
    opened,
    proves,
    registrations_of,
)

# --- basic inspection

inspection = functools.partial(proves, MODULE, "Basic inspection")


@inspection("session:input_names()")
def input_names_come_in_the_model_s_order():
    assert opened(models.add()).input_names() == ("x", "bias")
    assert opened(models.many(12)).input_names() == tuple(f"x{i}" for i in range(12))


@inspection("session:output_names()")
def output_names_come_in_the_model_s_order():
    assert opened(models.sum_and_difference()).output_names() == ("sum", "difference")


@inspection("session:overridable_initializer_names()")
def overridable_initializers_are_named_apart_from_inputs():
    session = opened(models.overridable())
    assert (session.overridable_initializer_names(), session.input_names()) == (("scale",), ("x",))
    assert opened(models.add()).overridable_initializer_names() == ()


@inspection("session:input_count()")
def inputs_are_counted():
    models_by_count = {1: models.overridable(), 2: models.add(), 12: models.many(12)}
    assert [opened(model).input_count() for model in models_by_count.values()] == list(models_by_count)


@inspection("session:output_count()")
def outputs_are_counted():
    assert [opened(model).output_count() for model in (models.add(), models.sum_and_difference())] == [1, 2]


@inspection("session:overridable_initializer_count()")
def overridable_initializers_are_counted():
    assert [opened(model).overridable_initializer_count() for model in (models.add(), models.overridable())] == [0, 1]


# --- type information

types = functools.partial(proves, MODULE, "Type information")


@types("session:input_info(name)")
def an_input_is_found_by_name():
    info = opened(models.add()).input_info("bias")
    assert (info.name, info.shape) == ("bias", (1, 2))
    with pytest.raises(ortx.InvalidArgument, match="did you mean 'bias'"):
        opened(models.add()).input_info("biass")


@types("session:input_info(index)")
def an_input_is_found_by_position():
    session = opened(models.add())
    assert [session.input_info(i).name for i in range(2)] == ["x", "bias"]
    with pytest.raises(ortx.InvalidArgument):
        session.input_info(2)


@types("session:output_info(name)")
def an_output_is_found_by_name():
    assert opened(models.sum_and_difference()).output_info("difference").name == "difference"
    with pytest.raises(ortx.InvalidArgument):
        opened(models.sum_and_difference()).output_info("a")  # an input


@types("session:output_info(index)")
def an_output_is_found_by_position():
    session = opened(models.sum_and_difference())
    assert session.output_info(1) == session.output_info("difference") != session.output_info(0)


@types("session:overridable_initializer_info(name)")
def an_overridable_initializer_is_found_by_name():
    info = opened(models.overridable()).overridable_initializer_info("scale")
    assert (info.name, info.data_type, info.shape) == ("scale", "float32", (1,))
    with pytest.raises(ortx.InvalidArgument):
        opened(models.overridable()).overridable_initializer_info("x")


@types("session:overridable_initializer_info(index)")
def an_overridable_initializer_is_found_by_position():
    session = opened(models.overridable())
    assert session.overridable_initializer_info(0) == session.overridable_initializer_info("scale")
    with pytest.raises(ortx.InvalidArgument):
        session.overridable_initializer_info(1)


@types("name")
def an_info_has_the_name():
    assert [opened(models.add()).input_info(i).name for i in range(2)] == ["x", "bias"]
    assert opened(SEQUENCE).output_info("y").element.name == ""  # what is nested has none


@types("onnx_type")
def an_info_says_which_kind_of_type_it_is():
    kinds = [opened(model).input_info(0).onnx_type for model in (models.add(), SPARSE, OPTIONAL)]
    assert kinds == ["tensor", "sparse_tensor", "optional"]
    sequence = opened(MAPS).output_info("z")
    assert (sequence.onnx_type, sequence.element.onnx_type) == ("sequence", "map")


@types("is_sparse")
def an_info_says_whether_it_is_sparse():
    assert [opened(SPARSE).input_info(name).is_sparse for name in "ab"] == [True, False]


@types("data_type")
def an_info_says_which_elements_there_are():
    for dtype in models.NUMPY_TYPES:
        assert opened(models.identity(dtype)).input_info("x").data_type == dtype
    assert opened(SEQUENCE).output_info("y").data_type is None


@types("type")
def an_info_has_onnx_s_own_spelling():
    spellings = [opened(model).output_info(0).type for model in (models.identity("float64"), SEQUENCE, MAPS)]
    assert spellings == ["tensor(double)", "seq(tensor(float))", "seq(map(int64,tensor(float)))"]
    inputs = [opened(model).input_info(0).type for model in (SPARSE, OPTIONAL)]
    assert inputs == ["sparse_tensor(float)", "optional(tensor(float))"]


@types("has_shape")
def an_info_says_whether_the_rank_is_known():
    shapes = [("n", 2), (2, 3), None]
    assert [opened(models.identity(shape=shape)).input_info("x").has_shape for shape in shapes] == [True, True, False]
    assert not opened(SEQUENCE).output_info("y").has_shape


@types("shape")
def a_dimension_that_is_not_fixed_is_minus_one():
    assert opened(models.identity(shape=("n", 2, None, 0))).input_info("x").shape == (-1, 2, -1, 0)
    assert opened(models.identity(shape=None)).input_info("x").shape is None


@types("symbolic_shape")
def a_dimension_that_is_not_fixed_may_have_a_name():
    assert opened(models.identity(shape=("größe", 2, None))).input_info("x").symbolic_shape == ("größe", "", "")
    assert opened(models.identity(shape=None)).input_info("x").symbolic_shape is None


@types("element")
def a_sequence_and_an_optional_say_what_they_hold():
    assert (opened(SEQUENCE).output_info("y").element.shape, opened(OPTIONAL).input_info("x").element.shape) == (
        (-1, 2),
        (2,),
    )
    assert opened(models.add()).input_info("x").element is None


@types("key_type")
def a_map_says_of_which_type_its_keys_are():
    assert opened(MAPS).output_info("z").element.key_type == "int64"
    words = onnx.load_from_string(MAPS)
    words.graph.node[0].attribute.pop()
    words.graph.node[0].attribute.append(onnx.helper.make_attribute("classlabels_strings", ["a", "b"]))
    words.graph.output[0].type.sequence_type.elem_type.map_type.key_type = onnx.TensorProto.STRING
    assert opened(words.SerializeToString()).output_info("z").element.key_type == "string"
    assert opened(SEQUENCE).output_info("y").key_type is None


@types("value")
def a_map_says_what_it_holds():
    value = opened(MAPS).output_info("z").element.value
    assert (value.onnx_type, value.data_type) == ("tensor", "float32")
    assert opened(SEQUENCE).output_info("y").value is None


@types("tensor and sparse tensor entries")
def dense_and_sparse_tensors_have_type_and_both_shapes():
    session = opened(SPARSE)
    for name, data_type, shape, symbols in (("a", "float32", (-1, 3), ("n", "")), ("b", "float32", (3, 2), ("", ""))):
        entry = session.input_info(name).asdict()
        assert (entry["data_type"], entry["shape"], entry["symbolic_shape"]) == (data_type, shape, symbols)
        assert not entry.keys() & {"element", "key_type", "value"}


@types("sequence and optional entries")
def sequences_and_optionals_nest_their_element():
    for info in (opened(SEQUENCE).output_info("y"), opened(OPTIONAL).input_info("x")):
        entry = info.asdict()
        assert entry["element"]["data_type"] == "float32"
        assert not entry.keys() & {"data_type", "shape", "symbolic_shape", "key_type", "value"}


@types("map entries")
def maps_have_the_type_of_keys_and_nest_their_value():
    entry = opened(MAPS).output_info("z").asdict()["element"]
    assert (entry["onnx_type"], entry["key_type"], entry["value"]["type"]) == ("map", "int64", "tensor(float)")
    assert not entry.keys() & {"data_type", "shape", "element"}


# --- memory information

memory = functools.partial(proves, MODULE, "Memory information")


@memory("session:memory_info_for_inputs()")
def there_is_one_entry_for_each_input():
    infos = opened(models.add()).memory_info_for_inputs()
    assert (infos.keys(), [type(info) for info in infos]) == (("x", "bias"), [ortx.MemoryInfo] * 2)


@memory("session:memory_info_for_outputs()")
def there_is_one_entry_for_each_output():
    infos = opened(models.sum_and_difference()).memory_info_for_outputs()
    assert (infos.keys(), [type(info) for info in infos]) == (("sum", "difference"), [ortx.MemoryInfo] * 2)


@memory("access in numeric order")
def entries_are_found_by_position():
    infos = opened(models.add()).memory_info_for_inputs()
    first, second = infos
    assert (infos[0], infos[1], len(infos)) == (first, second, 2)
    with pytest.raises(IndexError):
        infos[2]


@memory("access by name")
def entries_are_found_by_name():
    infos = opened(models.add()).memory_info_for_inputs()
    assert infos["x"] is infos[0]
    assert infos["bias"] is infos[1]
    with pytest.raises(KeyError):
        infos["y"]


def memory_of_cpu(field: str, expected: object, model: bytes = models.add()) -> None:
    session = opened(model, enable_cpu_mem_arena=True)
    entries = [*session.memory_info_for_inputs(), *session.memory_info_for_outputs()]
    assert [dataclasses.asdict(entry)[field] for entry in entries] == [expected] * 3
    assert type(getattr(entries[0], field)) is type(expected)


for page_name, of_cpu in {
    "name": "Cpu",
    "id": 0,
    "mem_type": "default",
    "device_type": "cpu",
    "device_mem_type": "default",
    "vendor_id": 0,
}.items():
    memory(page_name)(functools.partial(memory_of_cpu, page_name, of_cpu))


@memory("allocator_type")
def the_allocator_is_the_one_that_was_asked_for():
    for arena, expected in ((True, "arena"), (False, "device")):
        session = opened(models.square(), enable_cpu_mem_arena=arena)
        assert session.memory_info_for_inputs()["x"].allocator_type == expected
        assert session.memory_info_for_outputs()["y"].allocator_type == expected


# --- metadata and lifecycle

lifecycle = functools.partial(proves, MODULE, "Metadata and lifecycle")


@lifecycle("session:metadata()")
def metadata_is_what_the_author_wrote():
    assert opened(described()).metadata() == ortx.Metadata(
        producer_name="Müller",
        graph_name="squares",
        graph_description="x by x",
        description="Squares numbers.",
        domain="org.example",
        version=7,
        custom_metadata={"author": "Ada", "größe": "模型"},
    )


@lifecycle("session:close()")
def closing_releases_the_session_and_forbids_runs():
    before = live("session")
    session = opened(models.square())
    y = session.run([X])["y"]
    assert live("session") == before + 1
    session.close()
    session.close()
    assert (live("session"), session.closed, y.tolist()) == (before, True, (X * X).tolist())
    with pytest.raises(ortx.SessionClosed):
        session.run([X])


@lifecycle("session:end_profiling()")
def profiling_ends_once(tmp_path):
    session = opened(models.square(), profile_file_prefix=tmp_path / "profile")
    session.run([X])
    content = Path(session.end_profiling()).read_text()
    session.run([X])
    with pytest.raises(ortx.Error, match="is not profiled"):
        session.end_profiling()
    with pytest.raises(ortx.Error, match="is not profiled"):
        opened(models.square()).end_profiling()
    session.close()
    assert [file.read_text() for file in tmp_path.iterdir()] == [content]


@lifecycle("session:profiling_start_time_ns()")
def the_start_of_profiling_is_known(tmp_path):
    first, second = (opened(models.square(), profile_file_prefix=tmp_path / "profile") for _ in range(2))
    assert 0 < first.profiling_start_time_ns() < second.profiling_start_time_ns()
    assert second.profiling_start_time_ns() - first.profiling_start_time_ns() < 60e9
    assert opened(models.square()).profiling_start_time_ns() == 0


@lifecycle("session:set_ep_dynamic_options(opts)")
def dynamic_options_go_to_an_open_session():
    session = opened(models.square())
    session.set_ep_dynamic_options({"ep.dynamic.workload_type": "Efficient"})
    assert session.run([X])["y"].tolist() == (X * X).tolist()
    for wrong in ({}, {"ep.dynamic.workload_type": "Lazy"}, [("a", "b")]):
        with pytest.raises(ortx.OptionError, match="set_ep_dynamic_options"):
            session.set_ep_dynamic_options(wrong)
    session.close()
    with pytest.raises(ortx.SessionClosed):
        session.set_ep_dynamic_options({"ep.dynamic.workload_type": "Efficient"})


@lifecycle("session:register_custom_op_library(path_or_handle)")
def a_library_is_added_to_a_session_and_a_bad_one_changes_nothing(twice, tmp_path):
    session = opened(models.square(), keep_model=True)
    before = registrations_of(twice)
    session.register_custom_op_library(twice)
    assert registrations_of(twice) == before + 1
    (tmp_path / "no library.so").write_bytes(b"no library")
    for wrong in (tmp_path / "no library.so", tmp_path / "missing.so"):
        with pytest.raises(ortx.Error):
            session.register_custom_op_library(wrong)
    assert session.options()["custom_op_libraries"] == [twice]
    assert session.run([X])["y"].tolist() == (X * X).tolist()


@lifecycle("end_profiling() returns the path")
def the_end_of_profiling_returns_the_file(tmp_path):
    session = opened(models.square(), profile_file_prefix=tmp_path / "größe")
    file = session.end_profiling()
    assert [str(path) for path in tmp_path.iterdir()] == [file]
    assert file.startswith(str(tmp_path / "größe"))
    assert json.loads(Path(file).read_text(encoding="utf-8"))


@lifecycle("set_ep_dynamic_options() stringifies")
def keys_and_values_become_strings():
    class Word:
        def __init__(self, text: str) -> None:
            self.text = text

        def __str__(self) -> str:
            return self.text

    session = opened(models.square())
    session.set_ep_dynamic_options({1: 2, "switch": True, "share": 0.5})
    # A key and a value that ortx knows are checked as the strings that they become.
    session.set_ep_dynamic_options({Word("ep.dynamic.workload_type"): Word("Default")})
    with pytest.raises(ortx.OptionError, match="expected one of 'Default', 'Efficient'"):
        session.set_ep_dynamic_options({Word("ep.dynamic.workload_type"): Word("Lazy")})


@lifecycle("register_custom_op_library() rebuilds the session")
def registering_keeps_the_options_and_the_bindings(twice, tmp_path):
    path = tmp_path / "add.onnx"
    path.write_bytes(models.add())
    given = {"enable_cpu_mem_arena": False, "intra_op_num_threads": 3, "log_id": "mine"}
    session = ortx.session(path, given, free_dimension_overrides=[{"by": "name", "key": "batch", "value": 2}])
    before, binding = session.options(), bound(session)
    binding.bind_output("y")
    with messages() as said:
        logged = ortx.session(path, session_log_severity_level=0, log_id="rebuilt")
        said.clear()
        logged.register_custom_op_library(twice)
    assert {record.logid for record in said} == {"rebuilt"}  # another native session was made
    session.register_custom_op_library(twice)
    assert session.options() == before | {"custom_op_libraries": [twice]}
    assert session.memory_info_for_inputs()["x"].allocator_type == "device"
    assert session.input_info("x").shape == (2, 2)
    assert session.run([X, BIAS])["y"].tolist() == binding.run()["y"].tolist() == (X + BIAS).tolist()


@lifecycle("path_or_handle: a path or a handle")
def a_path_and_a_handle_are_registered_alike(twice, thrice):
    session = opened(models.square(), keep_model=True)
    session.register_custom_op_library(twice)
    session.register_custom_op_library(ortx.load_custom_op_library(thrice))
    assert session.options()["custom_op_libraries"] == [twice, thrice]
    session.register_custom_op_library(ortx.load_custom_op_library(twice))  # is there already
    assert session.options()["custom_op_libraries"] == [twice, thrice]
    assert session.run([X])["y"].tolist() == (X * X).tolist()
