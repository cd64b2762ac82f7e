"""Option tables: how they are read (`tables.pxi`) and what they do (`options.pxi`).

What `ortx.configure` does is in `test_configure.py`, what providers do is in `test_provider_options.py`.
What an option does is read off ONNX Runtime itself: its thread count, its files, and the line in which a session that
starts verbosely says with which options it was made.
"""

from __future__ import annotations

import enum
import functools
import logging
import os
import re
import threading
import time
from collections import UserDict
from pathlib import Path

import models
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ortx
from ortx import _core, cpus, providers

INT_MAX = 2**31 - 1
X = np.array([[1, 2]], np.float32)

needs_task_folder = pytest.mark.skipif(
    not Path("/proc/self/task").is_dir(), reason="needs /proc/self/task, to count the threads of the process"
)

# Every function that takes options, and of which kind each of them is.
NUMBER_OF_THREADS, SEVERITY, RUN_SEVERITY, VERBOSITY = "number of threads", "severity", "run severity", "verbosity"
CONCURRENCY, QUEUE = "runs at once", "runs that wait"
BOOLEAN, TEXT, PATH, LEVEL, MODE = "boolean", "text", "path", "optimization level", "execution mode"
PROVIDERS, DIMENSIONS, ENTRIES = "providers", "free dimensions", "config entries"
PRESET = "preset"
LIBRARIES, INITIALIZERS, CONTAINER = "custom-op libraries", "initializers", "prepacked weights"
COMPUTE_UNITS, COREML_FLAGS = "compute units", "CoreML's flags"
ARENA, SHRINKING, FILES = "arena", "shrinking arenas", "files in memory"

CONFIGURE = {
    "log_severity_level": SEVERITY,
    "log_id": TEXT,
    "use_global_thread_pools": BOOLEAN,
    "global_intra_op_num_threads": NUMBER_OF_THREADS,
    "global_inter_op_num_threads": NUMBER_OF_THREADS,
    "telemetry": BOOLEAN,
    "cpu_arena": ARENA,
}
SESSION = {
    "providers": PROVIDERS,
    "provider": PROVIDERS,
    "fallback_to_cpu": BOOLEAN,
    "preset": PRESET,
    "intra_op_num_threads": NUMBER_OF_THREADS,
    "inter_op_num_threads": NUMBER_OF_THREADS,
    "graph_optimization_level": LEVEL,
    "execution_mode": MODE,
    "deterministic_compute": BOOLEAN,
    "disable_per_session_threads": BOOLEAN,
    "enable_cpu_mem_arena": BOOLEAN,
    "enable_mem_pattern": BOOLEAN,
    "use_env_allocators": BOOLEAN,
    "log_id": TEXT,
    "session_log_severity_level": SEVERITY,
    "session_log_verbosity_level": VERBOSITY,
    "optimized_model_path": PATH,
    "profile_file_prefix": PATH,
    "free_dimension_overrides": DIMENSIONS,
    "config_entries": ENTRIES,
    "custom_op_libraries": LIBRARIES,
    "initializers": INITIALIZERS,
    "prepacked_weights": CONTAINER,
    "external_data": FILES,
    "allow_external_data_outside_model_folder": BOOLEAN,
    "keep_model": BOOLEAN,
    "concurrent_runs": BOOLEAN,
    "fast_zip_map": BOOLEAN,
    "brief_runs_keep_gil": BOOLEAN,
    "max_concurrency": CONCURRENCY,
    "max_queued_runs": QUEUE,
    "coreml_compute_units": COMPUTE_UNITS,
    "coreml_create_mlprogram": BOOLEAN,
    "coreml_require_static_input_shapes": BOOLEAN,
    "coreml_enable_on_subgraph": BOOLEAN,
    "coreml_flags": COREML_FLAGS,
    "coreml_use_cpu_only": BOOLEAN,
    "coreml_use_cpu_and_gpu": BOOLEAN,
    "coreml_only_enable_device_with_ane": BOOLEAN,
}
RUN_OPTIONS = {
    "tag": TEXT,
    "log_severity_level": RUN_SEVERITY,
    "log_verbosity_level": VERBOSITY,
    "shrink_memory_arena": SHRINKING,
}

FUNCTIONS = {
    "ortx.configure": (ortx.configure, _core.RuntimeConfiguration, CONFIGURE),
    # There is no such file, and no model in those bytes: the options are read before anything else.
    "ortx.session": (functools.partial(ortx.session, "nothing.onnx"), _core.SessionOptions, SESSION),
    "ortx.session_from_bytes": (
        functools.partial(ortx.session_from_bytes, b""),
        _core.SessionOptions,
        SESSION,
    ),
    "ortx.run_options": (ortx.run_options, _core.RunOptionsTable, RUN_OPTIONS),
}
EACH_FUNCTION = pytest.mark.parametrize("function", FUNCTIONS)

WRONG_TYPES = {
    BOOLEAN: [0, 1, "True", np.True_],
    NUMBER_OF_THREADS: [True, np.True_, 1.0, np.float32(1), "1", [1]],
    CONCURRENCY: [True, 1.0, "1"],
    QUEUE: [True, 1.0, "1"],
    SEVERITY: [True, 2.0, "warning", logging],
    RUN_SEVERITY: [False, 2.0, "warning"],
    VERBOSITY: [True, 0.5, "1"],
    TEXT: [b"text", 1, ["text"], Path("text")],
    PATH: [b"model.onnx", 1, True, ["model.onnx"]],
    LEVEL: [99, True, 1.0, ["all"]],
    MODE: [0, False, b"parallel"],
    PRESET: [0, True, b"latency", ["latency"], {"latency": {}}],
    PROVIDERS: [1, True, b"cpu", {"cpu": {}}, {"cpu"}, iter(["cpu"])],
    DIMENSIONS: [1, "batch", {"batch": 1}, {"by": "name", "key": "batch", "value": 1}],
    ENTRIES: [1, "session.disable_prepacking=1", [("session.disable_prepacking", "1")], {"session.disable_prepacking"}],
    LIBRARIES: [1, b"ops.so", {"ops.so"}, {"ops.so": {}}],
    INITIALIZERS: [1, "w", [("w", np.ones(1))], np.ones(1)],
    CONTAINER: [1, True, {}, ortx.PrepackedWeights],
    COMPUTE_UNITS: [0, True, b"all", ["all"]],
    COREML_FLAGS: [True, np.True_, 1.0, "0x001", [1]],
    ARENA: [1, True, "max_mem", [("max_mem", 1)]],
    SHRINKING: [0, 1, np.True_, b"cpu:0", {"cpu:0"}, {"cpu": 0}],
    FILES: [1, True, "model.data", b"", [("model.data", b"")]],
}
WRONG_VALUES = {
    BOOLEAN: [],
    NUMBER_OF_THREADS: [-1, INT_MAX + 1, -(2**63), 2**200, np.int64(-1), np.uint64(2**63)],
    CONCURRENCY: [-1, 1025],
    QUEUE: [-1, 0, INT_MAX + 1],
    SEVERITY: [-1, 5, 2**64, np.int8(-1)],
    RUN_SEVERITY: [-2, 5],
    VERBOSITY: [-1, INT_MAX + 1],
    TEXT: ["te\0xt", "\0", "\ud800", "ab\udcff"],
    PATH: ["", "model\0.onnx"],
    LEVEL: ["", "ALL", "99", "full"],
    MODE: ["", "Parallel", "both"],
    PRESET: ["", "Latency", "fast", "latency,service", "latency\0"],
    PROVIDERS: ["", "gpu", "CPU provider", "cpu,cuda", "cpu\0"],
    DIMENSIONS: [],  # what may be wrong with an item is in test_provider_options.py
    ENTRIES: [],  # what may be wrong with an entry is in test_config_keys.py
    LIBRARIES: ["", "ops\0.so"],
    INITIALIZERS: [],  # what may be wrong with an array is in test_weights.py
    CONTAINER: [],
    COMPUTE_UNITS: ["", "gpu", "ALL ", "CPUAndGPU\0"],
    COREML_FLAGS: [-1, 0x040, 0x101, 2**64, np.int8(-1)],
    ARENA: [],  # what may be wrong with its entries, and with files, is in test_memoryoptions.py
    SHRINKING: ["cqu:0", "CPU:0", "npu:0", "cpu:", "cpu:-1", "cpu:0,gpu:0", ";", "cpu:0;;", "cpu:0 "],
    FILES: [],
}
ALLOWED = {
    BOOLEAN: "True or False",
    NUMBER_OF_THREADS: "an integer from 0 to 2147483647 (0: as many as the process may use)",
    CONCURRENCY: "an integer from 0 to 1024 (0: by the number of CPUs)",
    QUEUE: "an integer from 1 to 2147483647",
    SEVERITY: "an integer from 0 to 4 (0 verbose, 1 info, 2 warning, 3 error, 4 fatal)",
    RUN_SEVERITY: "an integer from -1 to 4 (-1 the session's, 0 verbose, ",
    VERBOSITY: "an integer from 0 to 2147483647",
    TEXT: "a string",
    PATH: "a path",
    LEVEL: "one of 'disable', 'basic', 'extended', 'layout', 'all'",
    MODE: "one of 'sequential', 'parallel'",
    PRESET: "one of 'latency', 'throughput', 'service'",
    PROVIDERS: "the name of a provider or a tuple (name, {option: value}), or a list of these",
    DIMENSIONS: "a list of tables like {'by': 'name', 'key': 'batch', 'value': 1}",
    ENTRIES: "a mapping from strings to strings",
    LIBRARIES: "a path",
    INITIALIZERS: "a mapping from the names of initializers to arrays",
    CONTAINER: "an ortx.PrepackedWeights()",
    COMPUTE_UNITS: "one of 'all', 'cpu_only', 'cpu_and_gpu', 'cpu_and_neural_engine'",
    COREML_FLAGS: "an integer with bits of 0x001 USE_CPU_ONLY, ",
    ARENA: "a table such as {'max_mem': 2**30}",
    SHRINKING: "True, False, a text such as 'cpu:0;gpu:0', or a list of devices",
    FILES: "a mapping from the names of files to buffers",
}
# Where a value of the right type has to be something more special.
ALLOWED_VALUE = ALLOWED | {
    PROVIDERS: "one of 'cpu', 'coreml', 'cuda', 'tensorrt', ",
    SHRINKING: "devices as in 'cpu:0;gpu:0'",
}


def refused_values() -> list:
    return [
        pytest.param(function, name, value, error, allowed[kind], id=f"{function} {name} {value!r:.40}")
        for function, (_, _, kinds) in FUNCTIONS.items()
        if function != "ortx.session_from_bytes"  # reads the very same table as ortx.session
        for name, kind in kinds.items()
        for error, values, allowed in (
            (ortx.OptionTypeError, WRONG_TYPES[kind], ALLOWED),
            (ortx.OptionError, WRONG_VALUES[kind], ALLOWED_VALUE),
        )
        for value in values
    ]


# --- names


@EACH_FUNCTION
def test_every_option_is_known_to_this_test(function):
    _, options_class, kinds = FUNCTIONS[function]
    assert list(options_class.fields) == list(kinds)


@pytest.mark.parametrize(
    ("function", "name", "nearest"),
    [
        ("ortx.configure", "log_severty_level", "log_severity_level"),
        ("ortx.configure", "use_global_thread_pool", "use_global_thread_pools"),
        ("ortx.session", "intra_op_threads", "intra_op_num_threads"),
        ("ortx.session", "log_severity_level", "session_log_severity_level"),
        ("ortx.session", "provders", "providers"),
        ("ortx.session", "config_entry", "config_entries"),
        ("ortx.session", "presets", "preset"),
        ("ortx.session", "coreml_use_cpu", "coreml_use_cpu_only"),
        ("ortx.session_from_bytes", "execution-mode", "execution_mode"),
        ("ortx.run_options", "Tag", "tag"),
    ],
)
@pytest.mark.parametrize("form", ["mapping", "keyword"])
def test_a_misspelt_name_is_refused_with_the_nearest_valid_name(function, name, nearest, form):
    call, _, kinds = FUNCTIONS[function]
    with pytest.raises(ortx.OptionError) as caught:
        call({name: 1}) if form == "mapping" else call(**{name: 1})
    assert type(caught.value) is ortx.OptionError
    assert str(caught.value) == (
        f"{function}: unknown option {name!r}; did you mean {nearest!r}? (valid: {', '.join(kinds)})"
    )


@EACH_FUNCTION
@pytest.mark.parametrize("name", ["completely_different", "", "\0", "\ud800", 1, None, b"log_id", ("tag",)], ids=repr)
def test_a_name_that_is_near_none_is_refused_with_all_valid_names(function, name):
    call, _, kinds = FUNCTIONS[function]
    with pytest.raises(ortx.OptionError) as caught:
        call({name: 1})
    message = str(caught.value)
    assert message.startswith(f"{function}: unknown option {name!r}")
    assert message.endswith(f"(valid: {', '.join(kinds)})")


# --- the two forms of a table


@EACH_FUNCTION
@pytest.mark.parametrize("table", [[("log_id", "x")], "log_id", 3, {"log_id"}, object], ids=repr)
def test_a_table_that_is_no_mapping_is_refused(function, table):
    call, _, _ = FUNCTIONS[function]
    with pytest.raises(ortx.OptionTypeError, match="expected a mapping from option names to values") as caught:
        call(table)
    assert str(caught.value).startswith(f"{function}: options: got {table!r} ({type(table).__name__}); ")


FORMS = {
    "a dict": lambda tag: ortx.run_options({"tag": tag}),
    "another mapping": lambda tag: ortx.run_options(UserDict(tag=tag)),
    "keywords": lambda tag: ortx.run_options(tag=tag),
    "None and keywords": lambda tag: ortx.run_options(None, tag=tag),
    "both": lambda tag: ortx.run_options({"log_verbosity_level": 1}, tag=tag),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_table_is_a_mapping_or_keywords_or_both(form):
    assert FORMS[form]("demo").tag == "demo"


def test_a_keyword_wins_over_the_mapping():
    assert ortx.run_options({"tag": "mapping", "log_verbosity_level": 3}, tag="keyword").tag == "keyword"


def test_a_value_that_a_keyword_replaces_is_not_looked_at():
    assert ortx.run_options({"tag": 3}, tag="keyword").tag == "keyword"


def test_the_callers_mapping_stays_as_it_was():
    table = {"tag": "mapping"}
    ortx.run_options(table, log_verbosity_level=1, tag="keyword")
    assert table == {"tag": "mapping"}


@EACH_FUNCTION
def test_what_is_not_given_has_its_default_or_its_earlier_value(function):
    _, options_class, kinds = FUNCTIONS[function]
    defaults = options_class()
    assert _core.read_table(options_class, function, {}, {}) == defaults
    name, *others = kinds
    earlier = defaults.replace(**dict.fromkeys(others, "what was set earlier"))
    assert _core.read_table(options_class, function, None, {}, defaults=earlier) == earlier
    with pytest.raises(AttributeError, match="frozen"):
        setattr(defaults, name, 1)


# --- values that are refused


@pytest.mark.parametrize(("function", "name", "value", "error", "allowed"), refused_values())
def test_a_refused_value_is_named_with_its_option_and_what_is_allowed(function, name, value, error, allowed):
    call, _, _ = FUNCTIONS[function]
    with pytest.raises(ortx.OptionError) as caught:
        call({name: value})
    assert type(caught.value) is error
    assert isinstance(caught.value, TypeError if error is ortx.OptionTypeError else ValueError)
    message = str(caught.value)
    assert message.startswith(f"{function}: option {name!r}: got {repr(value)[:20]}")
    assert f" ({type(value).__name__}); expected {allowed}" in message


@pytest.mark.parametrize(("function", "name"), [(f, n) for f in FUNCTIONS for n in FUNCTIONS[f][2]])
def test_none_stands_for_the_default(function, name):
    _, options_class, kinds = FUNCTIONS[function]
    assert _core.read_table(options_class, function, {name: None}, {}) == options_class()
    earlier = options_class(**dict.fromkeys(kinds, "what was set earlier"))
    reset = _core.read_table(options_class, function, {name: None}, {}, defaults=earlier)
    assert _core.changed(earlier, reset) == [name]
    assert _core.changed(reset, options_class()) == [other for other in kinds if other != name]


@pytest.mark.parametrize(
    ("name", "value", "nearest"),
    [
        ("graph_optimization_level", "basics", "basic"),
        ("execution_mode", "paralel", "parallel"),
        ("preset", "throughtput", "throughput"),
        ("preset", "services", "service"),
        ("providers", "CoreMLExecutionProvder", "CoreMLExecutionProvider"),
        ("provider", "tensort", "tensorrt"),
        ("coreml_compute_units", "cpu_and_ane", "cpu_and_gpu"),
    ],
)
def test_a_misspelt_choice_is_refused_with_the_nearest(name, value, nearest):
    with pytest.raises(ortx.OptionError, match=f"; did you mean '{nearest}'\\?$"):
        ortx.session("nothing.onnx", {name: value})


def test_a_long_value_is_cut_in_the_message():
    with pytest.raises(ortx.OptionTypeError) as caught:
        ortx.run_options(tag=["x" * 10_000])
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("table", [{"intra_op_num_threads": 10**5000}, {10**5000: 1}], ids=["value", "name"])
def test_a_number_too_long_for_python_to_print_is_refused_like_any_other(table):
    with pytest.raises(ortx.OptionError):
        ortx.session("nothing.onnx", table)


def test_a_path_that_the_file_system_cannot_have_is_an_option_error(tmp_path):
    impossible = str(tmp_path / "\ud800.onnx")
    try:
        os.fsencode(impossible)
    except UnicodeEncodeError:
        with pytest.raises(ortx.OptionError, match="option 'optimized_model_path'"):
            ortx.session_from_bytes(models.square(), optimized_model_path=impossible)
    else:
        pytest.skip("needs a system that encodes file names strictly; this one has all of them")


class Sizes(enum.IntEnum):
    THREE = 3


@pytest.mark.parametrize(
    "three",
    [np.int8(3), np.int64(3), np.uint8(3), np.uint64(3), Sizes.THREE],
    ids=lambda three: type(three).__name__,
)
def test_whatever_is_an_integer_is_taken_as_one(three):
    assert ortx.run_options(log_severity_level=three).log_severity_level == 3
    table = _core.read_table(_core.SessionOptions, "ortx.session", {"intra_op_num_threads": three}, {})
    assert type(table.intra_op_num_threads) is int
    assert session_line(intra_op_num_threads=three).count("thread_pool_size: 3 ") == 1


# --- any table at all

ANY_NAME = st.sampled_from([*CONFIGURE, *SESSION, *RUN_OPTIONS]) | st.text() | st.integers() | st.none()
ANY_SCALAR = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-2, 5)
    | st.floats()
    | st.text()
    | st.text(st.characters(categories=["Cs", "Cc", "Ll"]))
    | st.binary()
    | st.sampled_from(["disable", "basic", "extended", "layout", "all", "sequential", "parallel"])
    | st.sampled_from(["cpu", "AzureExecutionProvider", "name", "denotation", "cpu_only", "CPUAndGPU"])
    | st.builds(Path, st.text("ab/."))
    | st.builds(np.int16, st.integers(-5, 5))
)
ANY_TABLE = st.fixed_dictionaries(
    {"by": st.sampled_from(["name", "denotation"]), "key": ANY_SCALAR, "value": ANY_SCALAR}
)
ANY_VALUE = st.recursive(
    ANY_SCALAR | st.lists(ANY_TABLE),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner),
    max_leaves=4,
)


def is_text(value: object) -> bool:
    return type(value) is str and "\0" not in value


def is_sound(value: object, declared: str) -> bool:
    """Whether the core can trust a value of a table; `declared` is the type of its field."""
    if value is None or declared == "object | None":  # the core looks at what it has a class for
        return declared.endswith("| None")
    if isinstance(value, tuple):
        return all(is_sound_item(item, declared) for item in value)
    if isinstance(value, str):
        return declared.startswith("str") and "\0" not in value
    expected = {"bool": bool, "int": int}[declared.removesuffix(" | None")]
    return type(value) is expected and -1 <= value <= INT_MAX


def is_sound_item(item: object, declared: str) -> bool:
    if isinstance(item, providers.Provider):
        entries = all(key and value and is_text(key) and is_text(value) for key, value in item.options)
        return declared == "tuple[Any, ...]" and entries
    if declared == "tuple[tuple[str, str, int], ...]":
        by, key, size = item
        return by in ("name", "denotation") and key != "" and is_text(key) and type(size) is int and 0 <= size < 2**63
    if declared == "tuple[str, ...]":
        is_device = re.fullmatch("(cpu|gpu):[0-9]+", item)
        return isinstance(item, str) and (os.path.isabs(item) or is_device) and "\0" not in item
    key, value = item
    if declared == "tuple[tuple[str, int], ...] | None":
        return is_text(key) and type(value) is int
    if declared == "tuple[tuple[str, object], ...]":
        return isinstance(key, str)
    return declared == "tuple[tuple[str, str], ...]" and key != "" and is_text(key) and is_text(value)


@EACH_FUNCTION
@pytest.mark.filterwarnings("ignore::ortx.UnknownConfigKeyWarning")
@settings(max_examples=50)
@given(table=st.dictionaries(ANY_NAME, ANY_VALUE, max_size=4))
def test_any_mapping_is_a_sound_table_or_an_option_error(function, table):
    _, options_class, _ = FUNCTIONS[function]
    try:
        read = _core.read_table(options_class, function, table, {})
    except ortx.OptionError as error:
        assert str(error).startswith(function)  # noqa: PT017 - that it is raised is one of two good ends
    else:
        assert all(is_sound(getattr(read, name), type(read).__annotations__[name]) for name in read.fields)


# --- what session options do


class Records(logging.Handler):
    """Keeps what ONNX Runtime says."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


def records_of(action) -> list[logging.LogRecord]:
    """Return the messages of ONNX Runtime while `action` is called."""
    logger, handler = logging.getLogger("ortx"), Records()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        action()
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)
    return handler.records


def session_line(**given) -> str:
    """Return the line in which a new session with these options says what ONNX Runtime takes them for."""

    def open_and_close() -> None:
        with ortx.session_from_bytes(models.square(), {"session_log_severity_level": 0} | given) as session:
            np.testing.assert_array_equal(session.run([X])[0], X * X)

    (line,) = (
        record.getMessage() for record in records_of(open_and_close) if "Session Options {" in record.getMessage()
    )
    return line


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("intra_op_num_threads", 1, r"intra_op_param:OrtThreadPoolParams \{ thread_pool_size: 1 "),
        ("intra_op_num_threads", 3, r"intra_op_param:OrtThreadPoolParams \{ thread_pool_size: 3 "),
        ("inter_op_num_threads", 1, r"inter_op_param:OrtThreadPoolParams \{ thread_pool_size: 1 "),
        ("inter_op_num_threads", 4, r"inter_op_param:OrtThreadPoolParams \{ thread_pool_size: 4 "),
        ("graph_optimization_level", "disable", " graph_optimization_level:0 "),
        ("graph_optimization_level", "basic", " graph_optimization_level:1 "),
        ("graph_optimization_level", "extended", " graph_optimization_level:2 "),
        ("graph_optimization_level", "layout", " graph_optimization_level:3 "),
        ("graph_optimization_level", "all", " graph_optimization_level:4 "),
        ("graph_optimization_level", None, " graph_optimization_level:4 "),
        ("preset", "latency", r" config_options: \{.* session.intra_op.allow_spinning: 1 "),
        ("preset", "throughput", r"intra_op_param:OrtThreadPoolParams \{ thread_pool_size: 1 "),
        ("preset", "service", r" config_options: \{.* session.intra_op.allow_spinning: 0 "),
        ("preset", "service", " enable_mem_pattern:0 "),
        ("execution_mode", "sequential", " execution_mode:0 "),
        ("execution_mode", "parallel", " execution_mode:1 "),
        ("execution_mode", None, " execution_mode:0 "),
        ("deterministic_compute", True, " use_deterministic_compute:1 "),
        ("deterministic_compute", False, " use_deterministic_compute:0 "),
        ("deterministic_compute", None, " use_deterministic_compute:0 "),
        ("disable_per_session_threads", False, " use_per_session_threads:1 "),
        ("enable_cpu_mem_arena", True, " enable_cpu_mem_arena:1 "),
        ("enable_cpu_mem_arena", False, " enable_cpu_mem_arena:0 "),
        ("enable_cpu_mem_arena", None, " enable_cpu_mem_arena:1 "),
        ("enable_mem_pattern", True, " enable_mem_pattern:1 "),
        ("enable_mem_pattern", False, " enable_mem_pattern:0 "),
        ("enable_mem_pattern", None, " enable_mem_pattern:1 "),
        ("log_id", "größe-模型", " session_logid:größe-模型 "),
        ("log_id", "", " session_logid: "),
        ("log_id", None, " session_logid: "),
        ("session_log_severity_level", 0, " session_log_severity_level:0 "),
        ("session_log_severity_level", 1, " session_log_severity_level:1 "),
        ("session_log_verbosity_level", 0, " session_log_verbosity_level:0 "),
        ("session_log_verbosity_level", 7, " session_log_verbosity_level:7 "),
        ("session_log_verbosity_level", INT_MAX, f" session_log_verbosity_level:{INT_MAX} "),
        ("optimized_model_path", None, ' optimized_model_filepath:"" '),
        ("profile_file_prefix", None, " enable_profiling:0 "),
        (
            "config_entries",
            {"session.set_denormal_as_zero": "1"},
            r" config_options: \{.* session.set_denormal_as_zero: 1 ",
        ),
        ("config_entries", {}, r" config_options: \{ *\} "),
    ],
)
def test_a_session_option_reaches_onnx_runtime(name, value, expected):
    assert re.search(expected, session_line(**{name: value}))


def test_many_session_options_go_together():
    line = session_line(
        intra_op_num_threads=2,
        execution_mode="parallel",
        graph_optimization_level="basic",
        enable_mem_pattern=False,
    )
    for expected in ("thread_pool_size: 2 ", "execution_mode:1", "optimization_level:1 ", "enable_mem_pattern:0"):
        assert expected in line


@pytest.mark.parametrize(
    ("level", "expected"),
    [(0, {"DEBUG", "INFO", "ERROR"}), (1, {"INFO", "ERROR"}), (2, {"ERROR"}), (3, {"ERROR"}), (4, set())],
)
def test_the_severity_of_a_session_limits_what_it_says(level, expected):
    def fail() -> None:
        with (
            ortx.session_from_bytes(models.failing(), session_log_severity_level=level) as session,
            pytest.raises(ortx.Error),
        ):
            session.run([np.ones(4, np.float32)])

    assert {record.levelname for record in records_of(fail)} == expected


def test_the_log_id_of_a_session_is_on_its_messages():
    def open_and_close() -> None:
        ortx.session_from_bytes(models.square(), session_log_severity_level=0, log_id="größe").close()

    assert {record.logid for record in records_of(open_and_close)} == {"größe"}


@pytest.mark.parametrize("as_given", [str, Path])
def test_the_optimized_model_is_written_and_can_be_opened(tmp_path, as_given):
    path = tmp_path / "größe.onnx"
    with ortx.session_from_bytes(models.square(), optimized_model_path=as_given(path)):
        pass
    with ortx.session(path) as session:
        np.testing.assert_array_equal(session.run([X])[0], X * X)


@pytest.mark.parametrize(
    "wrong",
    [{"intra_op_num_threads": -1}, {"no_such_option": 1}, {"disable_per_session_threads": True}],
    ids=lambda wrong: next(iter(wrong)),
)
def test_a_refused_option_makes_no_file_and_no_session(tmp_path, wrong):
    before = ortx._core._live_handles()
    with pytest.raises(ortx.OptionError):
        ortx.session_from_bytes(models.square(), optimized_model_path=tmp_path / "optimized.onnx", **wrong)
    assert list(tmp_path.iterdir()) == []
    assert ortx._core._live_handles() == before


def test_shared_threads_without_global_pools_are_refused_with_what_to_do():
    with pytest.raises(ortx.OptionError, match="option 'disable_per_session_threads'") as caught:
        ortx.session_from_bytes(models.square(), disable_per_session_threads=True)
    assert "ortx.configure(use_global_thread_pools=True)" in str(caught.value)


def threads() -> int:
    """Count the threads of this process, once their number has settled: a joined one can still be seen for a moment."""
    count = None
    while count != (count := len(os.listdir("/proc/self/task"))):
        time.sleep(0.02)
    return count


@needs_task_folder
@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_a_session_has_its_threads_less_the_callers_own(count):
    before = threads()
    with ortx.session_from_bytes(models.square(), intra_op_num_threads=count):
        assert threads() == before + count - 1
    assert threads() == before


@needs_task_folder
def test_a_parallel_session_has_its_inter_op_threads_too():
    before = threads()
    with ortx.session_from_bytes(
        models.square(), intra_op_num_threads=2, inter_op_num_threads=4, execution_mode="parallel"
    ):
        assert threads() == before + (2 - 1) + (4 - 1)


@needs_task_folder
def test_by_default_a_session_has_as_many_threads_as_the_process_may_use():
    before = threads()
    with ortx.session_from_bytes(models.square()):
        assert threads() == before + cpus.available() - 1
    assert session_line().count(f"thread_pool_size: {cpus.available()} ") == 2
    assert session_line(intra_op_num_threads=0, inter_op_num_threads=0) == session_line()


# --- run options


@pytest.fixture
def session():
    with ortx.session_from_bytes(models.square()) as session:
        yield session


def test_run_options_start_with_the_defaults_of_onnx_runtime():
    made = ortx.run_options()
    assert (made.tag, made.log_severity_level, made.log_verbosity_level) == ("", -1, 0)
    given = ortx.run_options(tag=None, log_severity_level=None, log_verbosity_level=None)
    assert repr(given) == repr(made)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("tag", ["demo", "", "größe 模型", "x" * 10_000]),
        ("log_severity_level", [0, 1, 2, 3, 4, -1]),
        ("log_verbosity_level", [1, INT_MAX, 0]),
    ],
)
def test_run_options_are_read_back_as_they_were_given(name, values):
    changed = ortx.run_options()
    for value in values:
        assert getattr(ortx.run_options({name: value}), name) == value
        setattr(changed, name, value)
        assert getattr(changed, name) == value
        changed.set({name: value})
        assert getattr(changed, name) == value


def test_setting_one_run_option_keeps_the_others():
    made = ortx.run_options(tag="demo", log_severity_level=3, log_verbosity_level=1)
    made.log_verbosity_level = 2
    made.set(log_severity_level=4)
    assert (made.tag, made.log_severity_level, made.log_verbosity_level) == ("demo", 4, 2)


@pytest.mark.parametrize(
    ("name", "value", "default"), [("tag", "demo", ""), ("log_severity_level", 3, -1), ("log_verbosity_level", 3, 0)]
)
def test_none_gives_a_run_option_its_default_back(name, value, default):
    made = ortx.run_options({name: value})
    setattr(made, name, None)
    assert getattr(made, name) == default


@pytest.mark.parametrize(
    "wrong",
    [{"log_severity_level": 9}, {"log_verbosity_level": "1"}, {"no_such_option": 1}],
    ids=lambda wrong: next(iter(wrong)),
)
def test_a_refused_run_option_changes_nothing(wrong):
    made = ortx.run_options(tag="before")
    with pytest.raises(ortx.OptionError):
        made.set(tag="after", **wrong)
    assert made.tag == "before"


@pytest.mark.parametrize(("name", "value"), [("tag", b"demo"), ("log_severity_level", 9), ("log_verbosity_level", -1)])
def test_a_refused_property_is_named_and_keeps_its_value(name, value):
    made = ortx.run_options(tag="before", log_severity_level=1, log_verbosity_level=1)
    before = getattr(made, name)
    with pytest.raises(ortx.OptionError, match=f"ortx.run_options: option '{name}': got "):
        setattr(made, name, value)
    assert getattr(made, name) == before


def test_the_repr_of_run_options_shows_what_they_are():
    made = ortx.run_options(tag="it's", log_severity_level=3, log_verbosity_level=1)
    assert repr(made) == """<ortx.RunOptions tag="it's" log_severity_level=3 log_verbosity_level=1>"""


def test_run_options_cannot_be_made_by_hand():
    with pytest.raises(TypeError, match=r"use ortx\.run_options"):
        ortx.RunOptions()
    with pytest.raises(TypeError):
        ortx.RunOptions.__new__(ortx.RunOptions)


def failure_of(session_options: dict, **run_options) -> list[logging.LogRecord]:
    """Return what a run that fails says."""
    with ortx.session_from_bytes(models.failing(), session_options) as session:

        def run() -> None:
            with pytest.raises(ortx.Error):
                session.run([np.ones(4, np.float32)], None, ortx.run_options(run_options))

        return records_of(run)


def test_the_tag_of_a_run_is_on_its_messages():
    (record,) = failure_of({"log_id": "sess"}, tag="größe")
    assert (record.levelname, record.logid) == ("ERROR", "sess:größe")


def test_a_verbose_session_tells_the_tags_of_its_runs():
    messages = [record.getMessage() for record in failure_of({"session_log_severity_level": 1}, tag="demo")]
    assert messages[0] == "Running with tag: demo"


@pytest.mark.parametrize(
    ("of_session", "of_run", "expected"),
    [(2, -1, True), (2, 3, True), (2, 4, False), (4, -1, False), (4, 3, True), (4, 0, True), (4, 4, False)],
)
def test_the_severity_of_a_run_replaces_that_of_its_session(of_session, of_run, expected):
    said = failure_of({"session_log_severity_level": of_session}, log_severity_level=of_run)
    assert [record.levelname for record in said] == ["ERROR"] * expected


def test_run_options_serve_any_number_of_runs(session):
    reused = ortx.run_options(tag="demo")
    for number in range(3):
        reused.tag = f"run {number}"
        np.testing.assert_array_equal(session.run([X], None, reused)[0], X * X)
        np.testing.assert_array_equal(session.run_into([X], [np.empty_like(X)], reused)[0], X * X)


# --- entries of ONNX Runtime's run configuration

SHRINK = "memory.enable_memory_arena_shrinkage"


def test_a_config_entry_reaches_onnx_runtime(session):
    entered = ortx.run_options()
    entered.add_config_entry(SHRINK, "cpu:0")
    np.testing.assert_array_equal(session.run([X], None, entered)[0], X * X)
    entered.add_config_entry(SHRINK, "gpu:0")
    with pytest.raises(ortx.InvalidArgument, match="gpu:0"):
        session.run([X], None, entered)
    entered.add_config_entry(SHRINK, "")
    np.testing.assert_array_equal(session.run([X], None, entered)[0], X * X)


def test_a_refused_config_entry_changes_nothing(session):
    entered = ortx.run_options()
    entered.add_config_entry(SHRINK, "gpu:0")
    with pytest.raises(ortx.OptionError, match="add_config_entry: value: got 'no such device'.*; expected devices as "):
        entered.add_config_entry(SHRINK, "no such device")
    with pytest.raises(ortx.InvalidArgument, match="gpu:0"):
        session.run([X], None, entered)


def test_an_unknown_config_entry_is_kept_with_a_warning_at_the_caller(session):
    entered = ortx.run_options()
    with pytest.warns(ortx.UnknownConfigKeyWarning, match="did you mean 'gpu_graph_id'") as caught:
        entered.add_config_entry("gpu_graph_ids", "1")
    assert [warning.filename for warning in caught] == [__file__]
    np.testing.assert_array_equal(session.run([X], None, entered)[0], X * X)


@pytest.mark.parametrize("wrong", [None, 1, True, b"cpu:0"])
@pytest.mark.parametrize("argument", ["key", "value"])
def test_a_config_entry_that_is_no_text_is_refused(argument, wrong):
    entry = {"key": SHRINK, "value": "cpu:0"} | {argument: wrong}
    with pytest.raises(ortx.OptionTypeError, match=f"add_config_entry: {argument}: got {wrong!r}"):
        ortx.run_options().add_config_entry(**entry)


@pytest.mark.parametrize("wrong", ["cpu\0", "\ud800"], ids=["NUL", "lone surrogate"])
@pytest.mark.parametrize("argument", ["key", "value"])
def test_a_config_entry_that_c_cannot_have_is_refused(argument, wrong):
    entry = {"key": SHRINK, "value": "cpu:0"} | {argument: wrong}
    with pytest.raises(ortx.OptionError, match=f"add_config_entry: {argument}: got "):
        ortx.run_options().add_config_entry(**entry)


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("", "1", "key: got '' .*; expected a key that is not empty"),
        ("k" * 10_000, "1", "key: got 'kkk.*; expected a string as key of at most 1024 bytes"),
        (SHRINK, "v" * 10_000, "value: got 'vvv.*; expected a string of at most 8192 bytes"),
    ],
    ids=["no key", "long key", "long value"],
)
def test_a_config_entry_that_onnx_runtime_would_refuse_is_refused(key, value, expected):
    with pytest.raises(ortx.OptionError, match=f"add_config_entry: {expected}"):
        ortx.run_options().add_config_entry(key, value)


# --- terminate


def test_terminate_refuses_runs_until_it_is_reset(session):
    stopped = ortx.run_options()
    stopped.terminate()
    stopped.terminate()
    for _ in range(2):
        with pytest.raises(ortx.Error, match="terminate"):
            session.run([X], None, stopped)
    np.testing.assert_array_equal(session.run([X], None, ortx.run_options())[0], X * X)
    stopped.reset_terminate()
    stopped.reset_terminate()
    np.testing.assert_array_equal(session.run([X], None, stopped)[0], X * X)


def test_terminate_from_another_thread_ends_the_run_in_progress():
    stoppable = ortx.run_options()
    terminated_at = []

    def terminate() -> None:
        while not session.running:
            time.sleep(0.001)
        time.sleep(0.05)
        terminated_at.append(time.monotonic())
        stoppable.terminate()

    x = np.eye(256, dtype=np.float32)
    # Left alone it takes more than a second.
    with ortx.session_from_bytes(models.slow(3000), graph_optimization_level="disable") as session:
        thread = threading.Thread(target=terminate)
        thread.start()
        with pytest.raises(ortx.Error, match="terminate"):
            session.run([x], None, stoppable)
        ended_at = time.monotonic()
        thread.join()
        assert session.running == 0
    assert 0 <= ended_at - terminated_at[0] < 0.5


def test_run_options_outlive_the_run_that_uses_them():
    def run() -> None:
        # Nobody but the call itself holds the options.
        results.append(session.run([x], None, ortx.run_options(tag="held by the call")))

    results = []
    x = np.eye(128, dtype=np.float32)
    with ortx.session_from_bytes(models.slow(200, 128)) as session:
        threads = [threading.Thread(target=run) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert [outputs["y"][0, 0] for outputs in results] == [1.0] * 3


# --- strings of a subclass


class Key(enum.StrEnum):
    N = "n"
    CPU = "cpu"


@pytest.mark.parametrize("word", [str, np.str_], ids=["str", "numpy"])
def test_options_take_strings_of_a_subclass_and_keep_plain_ones(word):
    given = {
        "providers": [word("cpu")],
        "graph_optimization_level": word("basic"),
        "log_id": word("mine"),
        "free_dimension_overrides": [{"by": word("name"), "key": word("n"), "value": 3}],
        "config_entries": {word("session.disable_prepacking"): word("1")},
    }
    with ortx.session_from_bytes(models.square(), given) as session:
        options = session.options()
        assert session.input_info("x").shape == (3, 2)
    (override,) = options["free_dimension_overrides"]
    assert all(type(override[name]) is str for name in ("by", "key"))
    assert {type(options["graph_optimization_level"]), type(options["log_id"])} == {str}
    assert {type(text) for entry in dict(options["config_entries"]).items() for text in entry} == {str}


def test_a_member_of_an_enumeration_is_the_dimension_that_it_says():
    overrides = [{"by": "name", "key": Key.N, "value": 3}]
    with ortx.session_from_bytes(models.square(), provider=Key.CPU, free_dimension_overrides=overrides) as session:
        assert session.input_info("x").shape == (3, 2)
