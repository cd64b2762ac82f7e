"""What `Session.options` says: all options of a session, as they were resolved."""

from __future__ import annotations

import copy
import dataclasses
import gc
import json
import os
import weakref
from collections import UserDict
from pathlib import Path
from types import MappingProxyType

import models
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ortx
from ortx import _core, cpus, options_in_effect

X = np.array([[1, 2]], np.float32)
CPU, AZURE, COREML = "CPUExecutionProvider", "AzureExecutionProvider", "CoreMLExecutionProvider"
FIELDS = list(_core.SessionOptions.fields)

needs_azure = pytest.mark.skipif(
    AZURE not in ortx.available_providers(), reason=f"needs a library that was built with {AZURE}"
)
without_coreml = pytest.mark.skipif(
    COREML in ortx.available_providers(), reason=f"needs a library that was built without {COREML}, to fall back"
)

# What a session says that was given none. Numbers of threads are those of the process.
DEFAULTS = {
    "providers": [CPU],
    "fallback_to_cpu": True,
    "preset": None,
    "graph_optimization_level": "all",
    "execution_mode": "sequential",
    "deterministic_compute": False,
    "disable_per_session_threads": False,
    "enable_cpu_mem_arena": True,
    "enable_mem_pattern": True,
    "use_env_allocators": False,
    "log_id": "",
    "session_log_severity_level": 2,
    "session_log_verbosity_level": 0,
    "optimized_model_path": None,
    "profile_file_prefix": None,
    "free_dimension_overrides": [],
    "config_entries": {},
    "custom_op_libraries": [],
    "initializers": {},
    "prepacked_weights": None,
    "external_data": {},
    "allow_external_data_outside_model_folder": False,
    "keep_model": False,
    "concurrent_runs": True,
    "fast_zip_map": True,
    "brief_runs_keep_gil": True,
    "max_concurrency": 1,
    "max_queued_runs": 1024,
    "coreml_compute_units": None,
    "coreml_create_mlprogram": None,
    "coreml_require_static_input_shapes": None,
    "coreml_enable_on_subgraph": None,
    "coreml_flags": None,
    "coreml_use_cpu_only": None,
    "coreml_use_cpu_and_gpu": None,
    "coreml_only_enable_device_with_ane": None,
}


def defaults() -> dict[str, object]:
    threads = cpus.available()
    return DEFAULTS | {"intra_op_num_threads": threads, "inter_op_num_threads": threads}


SCALE = np.array([10], np.float32)


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """A model with an open dimension "n" and an initializer "scale"."""
    path = tmp_path_factory.mktemp("model") / "model.onnx"
    path.write_bytes(models.overridable())
    return path


@dataclasses.dataclass
class Place:
    """Where an example puts its files, and what it needs that cannot be written here."""

    folder: Path
    request: pytest.FixtureRequest

    @property
    def library(self) -> Path:
        """Return a library of no custom operators."""
        source = """
        #ifdef __GNUC__
        __attribute__((visibility("default")))
        #endif
        void *RegisterCustomOps(void *options, const void *base) { return 0; }
        """
        return self.request.getfixturevalue("compile_shared")(source, "no_operators")


@pytest.fixture
def place(tmp_path, request) -> Place:
    return Place(tmp_path, request)


CONTAINER = ortx.PrepackedWeights
OVERRIDE = {"by": "name", "key": "n", "value": 1}
ENTRIES = {"session.intra_op.allow_spinning": "0", "session.set_denormal_as_zero": "1"}


def same(value: object):
    return lambda _: (value, value)


# Each option in some form that is not its default: what is given, and what the session says then.
EXAMPLES = {
    "providers": [
        pytest.param(lambda _: (["azure", "cpu"], [AZURE, CPU]), marks=needs_azure),
        pytest.param(lambda _: (("Azure",), [AZURE, CPU]), marks=needs_azure),
        lambda _: ("cpu", [CPU]),
        lambda _: ([], [CPU]),
    ],
    "provider": [
        pytest.param(lambda _: ("azure", [AZURE, CPU]), marks=needs_azure),
        lambda _: (["CPUExecutionProvider"], [CPU]),
    ],
    "fallback_to_cpu": [same(False)],
    "preset": [],  # changes other options: see test_presets.py
    "intra_op_num_threads": [same(1), same(3), lambda _: (np.int8(2), 2)],
    "inter_op_num_threads": [same(1), same(3), lambda _: (np.uint64(2), 2)],
    "graph_optimization_level": [same(level) for level in ("disable", "basic", "extended", "layout")],
    "execution_mode": [same("parallel")],
    "deterministic_compute": [same(True)],
    "disable_per_session_threads": [],  # needs a process that was configured for it: see below
    "enable_cpu_mem_arena": [same(False)],
    "enable_mem_pattern": [same(False)],
    "use_env_allocators": [],  # as well: see test_memoryoptions.py
    "log_id": [same("größe")],
    "session_log_severity_level": [same(level) for level in (0, 1, 3, 4)],
    "session_log_verbosity_level": [same(7)],
    "optimized_model_path": [
        lambda place: (place.folder / "written.onnx", str(place.folder / "written.onnx")),
        lambda place: (str(place.folder / "written.onnx"), str(place.folder / "written.onnx")),
    ],
    "profile_file_prefix": [lambda place: (place.folder / "profile", str(place.folder / "profile"))],
    "free_dimension_overrides": [
        same([OVERRIDE]),
        lambda _: ((MappingProxyType(OVERRIDE | {"value": np.int64(1)}),), [OVERRIDE]),
    ],
    "config_entries": [same(ENTRIES), lambda _: (UserDict(ENTRIES), ENTRIES)],
    "custom_op_libraries": [
        lambda place: (library := place.library, [str(library)]),
        lambda place: ([library := str(place.library), Path(library)], [library]),
    ],
    "initializers": [lambda _: (UserDict(scale=SCALE), {"scale": SCALE})],
    "prepacked_weights": [lambda _: (container := CONTAINER(), container)],
    "external_data": [],  # needs a model whose weights are in another file: see test_externaldata.py
    "allow_external_data_outside_model_folder": [same(True)],
    "keep_model": [same(True)],
    "concurrent_runs": [same(False)],
    "fast_zip_map": [same(False)],
    "brief_runs_keep_gil": [same(False)],
    "max_concurrency": [same(3), lambda _: (0, 1)],
    "max_queued_runs": [same(7)],
    "coreml_compute_units": [lambda _: ("cpu_only", None)],
    "coreml_create_mlprogram": [lambda _: (True, None)],
    "coreml_require_static_input_shapes": [lambda _: (True, None)],
    "coreml_enable_on_subgraph": [lambda _: (True, None)],
    "coreml_flags": [lambda _: (1, None)],
    "coreml_use_cpu_only": [lambda _: (True, None)],
    "coreml_use_cpu_and_gpu": [lambda _: (True, None)],
    "coreml_only_enable_device_with_ane": [lambda _: (True, None)],
}


def each_example(select) -> list:
    found = []
    for name, examples in EXAMPLES.items():
        for i, example in enumerate(examples if select(name) else ()):
            marks = getattr(example, "marks", ())
            (function,) = getattr(example, "values", (example,))
            found.append(pytest.param(name, function, id=f"{name} {i}", marks=marks))
    return found


def is_coreml(name: str) -> bool:
    return name.startswith("coreml_")


# --- each option by itself


def test_every_option_has_its_example_and_its_default():
    assert list(EXAMPLES) == FIELDS
    elsewhere = ["preset", "disable_per_session_threads", "use_env_allocators", "external_data"]
    assert [name for name, examples in EXAMPLES.items() if not examples] == elsewhere
    assert {"provider", *defaults()} == set(FIELDS)


@pytest.mark.parametrize("given", [{}, dict.fromkeys(FIELDS)], ids=["nothing", "None for everything"])
def test_a_session_without_options_says_what_the_defaults_are(model, given):
    for session in (ortx.session(model, given), ortx.session_from_bytes(model.read_bytes(), given)):
        with session:
            assert session.options() == defaults()
            assert list(session.options()) == [name for name in FIELDS if name != "provider"]


@pytest.mark.parametrize(("name", "example"), each_example(lambda name: not is_coreml(name)))
@pytest.mark.parametrize("form", ["path", "bytes"])
def test_an_option_is_said_as_it_was_resolved_and_the_others_have_their_defaults(model, place, form, name, example):
    value, said = example(place)
    call, source = (ortx.session, model) if form == "path" else (ortx.session_from_bytes, model.read_bytes())
    with call(source, {name: value}) as session:
        expected = defaults() | {"providers" if name == "provider" else name: said}
        if name == "intra_op_num_threads":
            expected["max_concurrency"] = max(1, cpus.available() // said)
        assert session.options() == expected
        assert {name: type(value) for name, value in session.options().items()} == {
            name: type(value) for name, value in expected.items()
        }
        np.testing.assert_array_equal(session.run([X])["y"], X * 10)


@without_coreml
@pytest.mark.parametrize(("name", "example"), each_example(is_coreml))
def test_an_option_of_a_provider_that_is_not_used_is_not_in_effect(model, place, name, example):
    value, said = example(place)
    with pytest.warns(ortx.ProviderFallbackWarning, match=COREML):
        session = ortx.session(model, {"providers": ["coreml"], name: value})
    with session:
        assert said is None
        assert session.options() == defaults()


@pytest.mark.parametrize(("name", "example"), each_example(is_coreml))
def test_an_option_of_a_provider_that_is_used_is_in_effect(place, name, example):
    """There is no CoreML in most libraries, so here is what a session would say that had it."""
    value, _ = example(place)
    read = _core.read_session_options("ortx.session", {"providers": "coreml", name: value}, {})
    resolved = {"intra_op_num_threads": 1, "inter_op_num_threads": 1, "session_log_severity_level": 2}
    said = options_in_effect.as_table(
        options_in_effect.with_cpu(options_in_effect.effective(read, (COREML, CPU), **resolved))
    )
    assert said[name] == value
    assert [name for name, value in said.items() if is_coreml(name) and value is not None] == [name]
    provider, cpu = said["providers"]
    assert (provider if isinstance(provider, str) else provider[0], cpu) == (COREML, CPU)
    again = _core.read_session_options("ortx.session", said, {})
    assert options_in_effect.as_table(options_in_effect.effective(again, (COREML, CPU), **resolved)) == said


# --- what is resolved


def test_the_number_of_threads_is_that_of_the_process_if_it_was_left_open(model, monkeypatch):
    monkeypatch.setattr(cpus, "available", lambda: 3)
    with ortx.session(model) as session, ortx.session(model, intra_op_num_threads=1) as single:
        assert session.options() == DEFAULTS | {"intra_op_num_threads": 3, "inter_op_num_threads": 3}
        assert single.options() == DEFAULTS | {
            "intra_op_num_threads": 1,
            "inter_op_num_threads": 3,
            "max_concurrency": 3,
        }
        monkeypatch.setattr(cpus, "available", lambda: 5)
        assert session.options()["intra_op_num_threads"] == 3


GLOBAL_POOLS = """
import json, sys
import ortx
from ortx import cpus
ortx.configure(use_global_thread_pools=True, **json.loads(sys.argv[2]))
said = []
for options in (
    {"disable_per_session_threads": True},
    {"disable_per_session_threads": True, "intra_op_num_threads": 5, "inter_op_num_threads": 6},
    {},
    {"intra_op_num_threads": 5},
):
    session = ortx.session(sys.argv[1], options)
    assert ortx.session(sys.argv[1], session.options()).options() == session.options()
    found = session.options()
    said.append([found[name] for name in (
        "disable_per_session_threads", "intra_op_num_threads", "inter_op_num_threads")])
print(json.dumps([cpus.available(), said]))
"""


@pytest.mark.parametrize(
    ("configuration", "intra", "inter"),
    [
        ({"global_intra_op_num_threads": 3, "global_inter_op_num_threads": 2}, 3, 2),
        ({"global_intra_op_num_threads": 3}, 3, None),
        ({}, None, None),
    ],
    ids=["both", "one", "none"],
)
def test_sessions_in_the_global_pools_say_how_large_these_are(run_python, model, configuration, intra, inter):
    done = run_python(GLOBAL_POOLS, model, json.dumps(configuration))
    assert done.returncode == 0, done.stderr
    available, said = json.loads(done.stdout)
    in_pools = [True, intra or available, inter or available]
    assert said == [in_pools, in_pools, [False, available, available], [False, 5, available]]


SEVERITY = """
import json, sys
import ortx
ortx.configure(log_severity_level=int(sys.argv[2]))
severities = []
for options in ({}, {"session_log_severity_level": 1}, {"session_log_severity_level": None}):
    session = ortx.session(sys.argv[1], options)
    severities.append(session.options()["session_log_severity_level"])
    again = ortx.session(sys.argv[1], session.options())
    assert again.options() == session.options()
    again.close()
    session.close()
with ortx.session(sys.argv[1]) as unasked:
    pass
ortx.configure(log_severity_level=4)
# What they were opened with, whether anybody has asked before or not.
severities += [each.options()["session_log_severity_level"] for each in (session, unasked)]
severities.append(ortx.session(sys.argv[1]).options()["session_log_severity_level"])
print(json.dumps(severities))
"""


@pytest.mark.parametrize("severity", [0, 3])
def test_the_severity_is_that_of_configure_if_it_was_left_open(run_python, model, severity):
    done = run_python(SEVERITY, model, severity)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [severity, 1, severity, severity, severity, 4]


@without_coreml
@needs_azure
@pytest.mark.parametrize(
    ("asked", "used"),
    [
        (["coreml"], [CPU]),
        (["coreml", "cpu"], [CPU]),
        (["coreml", "azure"], [AZURE, CPU]),
        (["azure", ("coreml", {"ModelFormat": "MLProgram"})], [AZURE, CPU]),
        (["azure", "coreml", "cpu"], [AZURE, CPU]),
    ],
    ids=str,
)
def test_a_provider_that_cannot_be_used_is_not_said(model, asked, used):
    with pytest.warns(ortx.ProviderFallbackWarning, match=COREML):
        session = ortx.session(model, providers=asked)
    with session:
        assert session.options() == defaults() | {"providers": used}
        assert list(session.providers()) == used
        with ortx.session(model, session.options()) as twin:  # and does not warn
            assert twin.options() == session.options()


@needs_azure
@pytest.mark.parametrize(
    ("asked", "used"),
    [
        (["cpu"], [CPU]),
        (["azure"], [AZURE, CPU]),
        (["azure", "cpu"], [AZURE, CPU]),
        (["cpu", "azure"], [CPU]),  # nothing is left for what stands behind the CPU
        (["cpu", "coreml"], [CPU]),
        ([("azure", {})], [AZURE, CPU]),
        ([("azure", {"key": True, "other": 2})], [(AZURE, {"key": "1", "other": "2"}), CPU]),
        (("azure", {"b": "1", "a": "2"}), [(AZURE, {"b": "1", "a": "2"}), CPU]),
    ],
    ids=str,
)
def test_providers_are_said_in_order_and_with_their_options(model, asked, used):
    with ortx.session(model, providers=asked, fallback_to_cpu=False) as session:
        assert session.options() == defaults() | {"providers": used, "fallback_to_cpu": False}
        assert tuple(entry if isinstance(entry, str) else entry[0] for entry in used) == session.providers()
        with ortx.session(model, session.options()) as twin:
            assert twin.options() == session.options()


def test_a_library_is_said_by_its_absolute_path_from_wherever_it_was_named(model, place, monkeypatch):
    library = place.library
    monkeypatch.chdir(library.parent)
    with ortx.session(model, custom_op_libraries=[library.name, f"./{library.name}"]) as session:
        assert session.options()["custom_op_libraries"] == [str(library)]
        monkeypatch.chdir("/")
        with ortx.session(model, session.options()) as twin:
            assert twin.options() == session.options()


# --- the way back: what a session says can be given to another

ANY_OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "fallback_to_cpu": st.booleans(),
        "intra_op_num_threads": st.integers(0, 3),
        "inter_op_num_threads": st.integers(0, 3),
        "graph_optimization_level": st.sampled_from(["disable", "basic", "extended", "layout", "all"]),
        "execution_mode": st.sampled_from(["sequential", "parallel"]),
        "deterministic_compute": st.booleans(),
        "enable_cpu_mem_arena": st.booleans(),
        "enable_mem_pattern": st.booleans(),
        "log_id": st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=10),
        "session_log_severity_level": st.none() | st.integers(2, 4),
        "session_log_verbosity_level": st.integers(0, 9),
        "optimized_model_path": st.none() | st.sampled_from(["written.onnx", "größe.onnx"]),
        "profile_file_prefix": st.none() | st.just("profile"),
        "free_dimension_overrides": st.sampled_from([[], [OVERRIDE]]),
        "config_entries": st.dictionaries(st.sampled_from(list(ENTRIES)), st.sampled_from(["0", "1"])),
        "allow_external_data_outside_model_folder": st.booleans(),
        "keep_model": st.booleans(),
        "concurrent_runs": st.booleans(),
        "fast_zip_map": st.booleans(),
        "brief_runs_keep_gil": st.booleans(),
        "max_concurrency": st.integers(1, 9),
        "max_queued_runs": st.integers(1, 9),
        "initializers": st.sampled_from([{}, {"scale": SCALE}]),
    },
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("written")


@settings(max_examples=60)
@given(table=ANY_OPTIONS, form=st.sampled_from(["path", "bytes"]), providers=st.sampled_from(["cpu", "azure"]))
def test_a_session_that_is_given_what_another_says_says_the_same(model, folder, table, form, providers):
    for name in ("optimized_model_path", "profile_file_prefix"):
        if table.get(name):
            table[name] = str(folder / table[name])
    if AZURE in ortx.available_providers():
        table["providers"] = providers
    call, source = (ortx.session, model) if form == "path" else (ortx.session_from_bytes, model.read_bytes())
    with call(source, table) as session:
        said = session.options()
        with call(source, said) as twin, call(source, **said) as third:
            assert twin.options() == said
            assert third.options() == said
    for name, value in table.items():
        if name != "providers" and value is not None and not (name.endswith("_num_threads") and value == 0):
            assert said[name] == value, name


@without_coreml
@needs_azure
def test_what_is_said_is_json_if_there_are_no_arrays(model, place):
    table = {
        "providers": ["azure"],
        "optimized_model_path": place.folder / "größe.onnx",
        "free_dimension_overrides": [OVERRIDE | {"value": np.int64(1)}],
        "config_entries": ENTRIES,
        "custom_op_libraries": place.library,
        "intra_op_num_threads": np.int64(2),
        "keep_model": True,
    }
    with ortx.session(model, table) as session:
        text = json.dumps(session.options())
        assert json.loads(text) == session.options()
        with ortx.session(model, json.loads(text)) as twin:
            assert twin.options() == session.options()


def test_arrays_and_containers_are_said_as_the_very_objects_that_were_given(model):
    values = [SCALE, memoryview(SCALE), ortx.tensor(SCALE)]
    for value in values:
        container = ortx.PrepackedWeights()
        with ortx.session(model, initializers={"scale": value}, prepacked_weights=container) as session:
            assert session.options()["initializers"]["scale"] is value
            assert session.options()["prepacked_weights"] is container


# --- whose it is


def everything(place: Place) -> dict[str, object]:
    providers = [("azure", {"key": "value"})] if AZURE in ortx.available_providers() else ["cpu"]
    return {
        "providers": providers,
        "free_dimension_overrides": [dict(OVERRIDE)],
        "config_entries": dict(ENTRIES),
        "custom_op_libraries": [str(place.library)],
        "initializers": {"scale": SCALE},
    }


def spoil(table: object) -> None:
    """Change all that can be changed in it, from the innermost out."""
    if isinstance(table, dict):
        for value in table.values():
            spoil(value)
        table.clear()
        table["spoiled"] = True
    elif isinstance(table, (list, tuple)):
        for value in table:
            spoil(value)
        if isinstance(table, list):
            table.append("spoiled")


def test_changing_what_was_said_changes_nothing(model, place):
    with ortx.session(model, everything(place)) as session:
        expected = copy.deepcopy(session.options())
        spoil(session.options())
        assert session.options() == expected
        assert session.options() is not session.options()
        np.testing.assert_array_equal(session.run([X])["y"], X * 10)


def test_changing_what_was_given_changes_nothing(model, place):
    table = everything(place)
    with ortx.session(model, table) as session:
        expected = copy.deepcopy(session.options())
        spoil(table)
        assert session.options() == expected
        with ortx.session(model, session.options()) as twin:
            assert twin.options() == expected


def test_a_closed_session_still_says_its_options_but_keeps_no_weights_for_it(model, place):
    session = ortx.session(model, everything(place), intra_op_num_threads=2)
    expected = session.options() | {"initializers": {}, "prepacked_weights": None}
    session.close()
    assert session.options() == expected
    with ortx.session(model, session.options()) as twin:
        assert twin.options() == expected


def test_what_was_said_keeps_arrays_but_not_the_session(model):
    before = ortx._core._live_handles()
    scale = SCALE.copy()
    alive = weakref.ref(scale)
    said = ortx.session(model, initializers={"scale": scale}).options()
    del scale
    gc.collect()
    assert ortx._core._live_handles() == before
    assert said["initializers"]["scale"] is alive()
    del said
    gc.collect()
    assert alive() is None


@pytest.mark.skipif(os.name == "nt", reason="Windows does not let a folder go that is in use")
def test_options_are_said_without_looking_at_the_model_again(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(models.square())
    with ortx.session(path) as session:
        expected = session.options()
        path.unlink()
        assert session.options() == expected
