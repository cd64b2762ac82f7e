"""Option tables: how they are read (`ortx/options.py`) and what they do (`env.pxi` and `options.pxi` in the core).

What an option does is read off ONNX Runtime itself: its thread count, its files, and the line in which a session that
starts verbosely says with which options it was made.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import json
import logging
import os
import re
import textwrap
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
from ortx import cpus, options

INT_MAX = 2**31 - 1
X = np.array([[1, 2]], np.float32)

needs_task_folder = pytest.mark.skipif(
    not Path("/proc/self/task").is_dir(), reason="needs /proc/self/task, to count the threads of the process"
)

# Every function that takes options, and of which kind each of them is.
NUMBER_OF_THREADS, SEVERITY, RUN_SEVERITY, VERBOSITY = "number of threads", "severity", "run severity", "verbosity"
BOOLEAN, TEXT, PATH, LEVEL, MODE = "boolean", "text", "path", "optimization level", "execution mode"

CONFIGURE = {
    "log_severity_level": SEVERITY,
    "log_id": TEXT,
    "use_global_thread_pools": BOOLEAN,
    "global_intra_op_num_threads": NUMBER_OF_THREADS,
    "global_inter_op_num_threads": NUMBER_OF_THREADS,
    "telemetry": BOOLEAN,
}
SESSION = {
    "intra_op_num_threads": NUMBER_OF_THREADS,
    "inter_op_num_threads": NUMBER_OF_THREADS,
    "graph_optimization_level": LEVEL,
    "execution_mode": MODE,
    "deterministic_compute": BOOLEAN,
    "disable_per_session_threads": BOOLEAN,
    "enable_cpu_mem_arena": BOOLEAN,
    "enable_mem_pattern": BOOLEAN,
    "log_id": TEXT,
    "session_log_severity_level": SEVERITY,
    "session_log_verbosity_level": VERBOSITY,
    "optimized_model_path": PATH,
}
RUN_OPTIONS = {"tag": TEXT, "log_severity_level": RUN_SEVERITY, "log_verbosity_level": VERBOSITY}

FUNCTIONS = {
    "ortx.configure": (ortx.configure, options.RuntimeConfiguration, CONFIGURE),
    # There is no such file, and no model in those bytes: the options are read before anything else.
    "ortx.session": (functools.partial(ortx.session, "nothing.onnx"), options.SessionOptions, SESSION),
    "ortx.session_from_bytes": (
        functools.partial(ortx.session_from_bytes, b""),
        options.SessionOptions,
        SESSION,
    ),
    "ortx.run_options": (ortx.run_options, options.RunOptionsTable, RUN_OPTIONS),
}
EACH_FUNCTION = pytest.mark.parametrize("function", FUNCTIONS)

WRONG_TYPES = {
    BOOLEAN: [0, 1, "True", np.True_],
    NUMBER_OF_THREADS: [True, np.True_, 1.0, np.float32(1), "1", [1]],
    SEVERITY: [True, 2.0, "warning", logging],
    RUN_SEVERITY: [False, 2.0, "warning"],
    VERBOSITY: [True, 0.5, "1"],
    TEXT: [b"text", 1, ["text"], Path("text")],
    PATH: [b"model.onnx", 1, True, ["model.onnx"]],
    LEVEL: [99, True, 1.0, ["all"]],
    MODE: [0, False, b"parallel"],
}
WRONG_VALUES = {
    BOOLEAN: [],
    NUMBER_OF_THREADS: [-1, INT_MAX + 1, -(2**63), 2**200, np.int64(-1), np.uint64(2**63)],
    SEVERITY: [-1, 5, 2**64, np.int8(-1)],
    RUN_SEVERITY: [-2, 5],
    VERBOSITY: [-1, INT_MAX + 1],
    TEXT: ["te\0xt", "\0", "\ud800", "ab\udcff"],
    PATH: ["", "model\0.onnx"],
    LEVEL: ["", "ALL", "99", "full"],
    MODE: ["", "Parallel", "both"],
}
ALLOWED = {
    BOOLEAN: "True or False",
    NUMBER_OF_THREADS: "an integer from 0 to 2147483647 (0: as many as the process may use)",
    SEVERITY: "an integer from 0 to 4 (0 verbose, 1 info, 2 warning, 3 error, 4 fatal)",
    RUN_SEVERITY: "an integer from -1 to 4 (-1 the session's, 0 verbose, ",
    VERBOSITY: "an integer from 0 to 2147483647",
    TEXT: "a string",
    PATH: "a path",
    LEVEL: "one of 'disable', 'basic', 'extended', 'layout', 'all'",
    MODE: "one of 'sequential', 'parallel'",
}


def refused_values() -> list:
    return [
        pytest.param(function, name, value, error, ALLOWED[kind], id=f"{function} {name} {value!r:.40}")
        for function, (_, _, kinds) in FUNCTIONS.items()
        if function != "ortx.session_from_bytes"  # reads the very same table as ortx.session
        for name, kind in kinds.items()
        for error, values in (
            (ortx.OptionTypeError, WRONG_TYPES[kind]),
            (ortx.OptionError, WRONG_VALUES[kind]),
        )
        for value in values
    ]


# --- names


@EACH_FUNCTION
def test_every_option_is_known_to_this_test(function):
    _, options_class, kinds = FUNCTIONS[function]
    assert [field.name for field in dataclasses.fields(options_class)] == list(kinds)


@pytest.mark.parametrize(
    ("function", "name", "nearest"),
    [
        ("ortx.configure", "log_severty_level", "log_severity_level"),
        ("ortx.configure", "use_global_thread_pool", "use_global_thread_pools"),
        ("ortx.session", "intra_op_threads", "intra_op_num_threads"),
        ("ortx.session", "log_severity_level", "session_log_severity_level"),
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
    assert options.read_table(options_class, function, {}, {}) == defaults
    name, *others = kinds
    earlier = dataclasses.replace(defaults, **dict.fromkeys(others, "what was set earlier"))
    assert options.read_table(options_class, function, None, {}, defaults=earlier) == earlier
    with pytest.raises(dataclasses.FrozenInstanceError):
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
    assert options.read_table(options_class, function, {name: None}, {}) == options_class()
    earlier = options_class(**dict.fromkeys(kinds, "what was set earlier"))
    reset = options.read_table(options_class, function, {name: None}, {}, defaults=earlier)
    assert options.changed(earlier, reset) == [name]
    assert options.changed(reset, options_class()) == [other for other in kinds if other != name]


@pytest.mark.parametrize(
    ("name", "value", "nearest"),
    [
        ("graph_optimization_level", "basics", "basic"),
        ("execution_mode", "paralel", "parallel"),
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
    table = options.read_table(options.SessionOptions, "ortx.session", {"intra_op_num_threads": three}, {})
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
    | st.builds(Path, st.text("ab/."))
    | st.builds(np.int16, st.integers(-5, 5))
)
ANY_VALUE = st.recursive(ANY_SCALAR, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=4)


def is_sound(value: object, declared: str) -> bool:
    """Whether the core can trust a value of a table; `declared` is the type of its field."""
    if value is None:
        return declared.endswith("| None")
    if isinstance(value, str):
        return declared.startswith("str") and "\0" not in value
    expected = {"bool": bool, "int": int}[declared.removesuffix(" | None")]
    return type(value) is expected and -1 <= value <= INT_MAX


@EACH_FUNCTION
@settings(deadline=None, max_examples=50)
@given(table=st.dictionaries(ANY_NAME, ANY_VALUE, max_size=4))
def test_any_mapping_is_a_sound_table_or_an_option_error(function, table):
    _, options_class, _ = FUNCTIONS[function]
    try:
        read = options.read_table(options_class, function, table, {})
    except ortx.OptionError as error:
        assert str(error).startswith(function)  # noqa: PT017 - that it is raised is one of two good ends
    else:
        assert all(is_sound(getattr(read, field.name), field.type) for field in dataclasses.fields(read))


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


# --- what ortx.configure does: each in a process of its own, since it holds for the whole process

PRELUDE = """
import json, logging, os, sys, time
import numpy as np
import ortx

model, failing_model = sys.argv[1:]
records = []

class Handler(logging.Handler):
    def emit(self, record):
        records.append(record)

logging.getLogger("ortx").addHandler(Handler())
logging.getLogger("ortx").setLevel(logging.DEBUG)

def levels():
    "Return the levels of the messages of one session, from its opening to its failure."
    records.clear()
    with ortx.session(failing_model) as session:
        try:
            session.run([np.ones(4, np.float32)])
        except ortx.Error:
            pass
    return sorted({record.levelname for record in records})

def refusal(call, *arguments, **keywords):
    "Return the class and the message of the error that a call raises."
    try:
        call(*arguments, **keywords)
    except ortx.Error as error:
        return [type(error).__name__, str(error)]

def threads():
    "Count the threads, once their number has settled."
    count = None
    while count != (count := len(os.listdir("/proc/self/task"))):
        time.sleep(0.02)
    return count

def answer(*values):
    json.dump(values, sys.stdout)
"""


@pytest.fixture
def in_new_process(run_python, tmp_path):
    """Run code after the prelude above; return what it gives to `answer`."""
    paths = tmp_path / "square.onnx", tmp_path / "failing.onnx"
    for path, content in zip(paths, (models.square(), models.failing()), strict=True):
        path.write_bytes(content)

    def in_new_process(code: str) -> list:
        done = run_python(PRELUDE + textwrap.dedent(code), *paths)
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        return json.loads(done.stdout)

    return in_new_process


def test_every_setting_is_accepted_before_the_first_session(in_new_process):
    assert in_new_process("""
        for name, values in {
            "log_severity_level": range(5),
            "log_id": ["", "größe", "x" * 10_000],
            "use_global_thread_pools": [True, False],
            "global_intra_op_num_threads": [0, 1, 2**31 - 1],
            "global_inter_op_num_threads": [0, 1, 2**31 - 1],
            "telemetry": [True, False],
        }.items():
            for value in values:
                ortx.configure({name: value})
                ortx.configure(**{name: value})
            ortx.configure({name: None})
        ortx.configure()
        ortx.configure(None)
        answer(ortx._core._live_handles()["session"])
    """) == [0]


def test_the_severity_may_change_whenever_no_session_is_open(in_new_process):
    answers = in_new_process("""
        seen = []
        for level in (3, 0, 4, 1, 2):
            ortx.configure(log_severity_level=level)
            seen.append([level, levels()])
        answer(*seen)
    """)
    assert answers == [
        [3, ["ERROR"]],
        [0, ["DEBUG", "ERROR", "INFO"]],
        [4, []],
        [1, ["ERROR", "INFO"]],
        [2, ["ERROR"]],
    ]


def test_by_default_information_is_not_logged(in_new_process):
    assert in_new_process("answer(levels())") == [["ERROR"]]


def test_the_log_id_names_the_environment(in_new_process):
    (ids,) = in_new_process("""
        ortx.configure(log_id="größe", log_severity_level=0)
        levels()
        answer(sorted({record.logid for record in records}))
    """)
    assert "größe" in ids


def test_later_calls_keep_what_earlier_ones_set(in_new_process):
    (ids, seen) = in_new_process("""
        ortx.configure(log_id="mine")
        ortx.configure(log_severity_level=0)
        seen = levels()
        answer(sorted({record.logid for record in records}), seen)
    """)
    assert "mine" in ids
    assert "DEBUG" in seen


def test_a_refused_configuration_changes_nothing(in_new_process):
    (first, second, seen, ids) = in_new_process("""
        ortx.configure(log_id="mine", log_severity_level=0)
        first = refusal(ortx.configure, log_id="other", log_severity_level=9)
        second = refusal(ortx.configure, log_id="other", no_such_option=True)
        seen = levels()
        answer(first[0], second[0], seen, sorted({record.logid for record in records}))
    """)
    assert (first, second) == ("OptionError", "OptionError")
    assert "DEBUG" in seen
    assert "mine" in ids
    assert "other" not in ids


def test_while_a_session_is_open_nothing_can_be_configured(in_new_process):
    answers = in_new_process("""
        refused = []
        with ortx.session(model), ortx.session(model):
            for given in ({}, {"log_severity_level": 0}, {"log_id": "late"}, {"telemetry": True}):
                refused.append(refusal(ortx.configure, given))
            is_runtime_error = issubclass(ortx.Error, RuntimeError)
        ortx.configure(log_severity_level=4)
        answer(refused, is_runtime_error, levels())
    """)
    refused, is_runtime_error, seen = answers
    message = "configure: 2 session(s) are open; call ortx.configure before the first session is made"
    assert refused == [["Error", message]] * 4
    assert is_runtime_error
    assert seen == []


def test_wrong_options_are_named_even_while_a_session_is_open():
    with ortx.session_from_bytes(models.square()), pytest.raises(ortx.OptionError, match="log_severity_level"):
        ortx.configure(log_severity_level=9)


def test_after_the_first_session_only_the_severity_can_change(in_new_process):
    changes = {
        "log_id": "late",
        "use_global_thread_pools": True,
        "global_intra_op_num_threads": 3,
        "global_inter_op_num_threads": 3,
        "telemetry": True,
    }
    refused, seen = in_new_process(f"""
        ortx.configure(log_severity_level=4)
        ortx.session(model).close()
        refused = [
            refusal(ortx.configure, log_severity_level=0, **{{name: value}})
            for name, value in {changes!r}.items()
        ]
        seen = [levels()]
        ortx.configure(log_severity_level=3, log_id="ortx", telemetry=False)  # no change but the severity
        seen.append(levels())
        answer(refused, seen)
    """)
    assert [kind for kind, _ in refused] == ["Error"] * len(changes)
    for name, (_, message) in zip(changes, refused, strict=True):
        assert f"too late to change {name}: the environment was made with the first session" in message
    assert seen == [[], ["ERROR"]]


def test_a_session_that_could_not_be_opened_is_not_open(in_new_process):
    assert in_new_process("""
        refused = refusal(ortx.session_from_bytes, b"no model")
        ortx.configure(log_severity_level=4)
        answer(refused[0], levels())
    """) == ["InvalidProtobuf", []]


def test_once_the_library_is_loaded_only_telemetry_is_too_late(in_new_process):
    refused, unchanged, seen = in_new_process("""
        ortx.load_library()
        refused = refusal(ortx.configure, telemetry=True, log_severity_level=4)
        ortx.configure(telemetry=False, log_id="mine")
        unchanged = levels()
        ortx.configure(log_severity_level=4)
        answer(refused, unchanged, levels())
    """)
    assert refused == ["Error", "configure: too late to change telemetry: the library is loaded already"]
    assert (unchanged, seen) == (["ERROR"], [])


@pytest.mark.parametrize(("telemetry", "expected"), [("False", "1"), ("True", None), ("default", "1")])
def test_telemetry_is_off_unless_it_is_asked_for(in_new_process, telemetry, expected):
    # It starts with the environment: loading the library alone sends nothing.
    configure = "" if telemetry == "default" else f"ortx.configure(telemetry={telemetry})"
    assert in_new_process(f"""
        {configure}
        before = os.environ.get("ORT_DISABLE_TELEMETRY")
        ortx.load_library()
        answer(before, os.environ.get("ORT_DISABLE_TELEMETRY"))
    """) == [None, expected]


@needs_task_folder
def test_sessions_that_use_the_global_pools_add_no_threads(in_new_process):
    pools, shared, own, results = in_new_process("""
        ortx.configure(use_global_thread_pools=True, global_intra_op_num_threads=3, global_inter_op_num_threads=4)
        ortx.load_library()
        before = threads()
        sessions = [ortx.session(model, disable_per_session_threads=True)]
        pools = threads() - before
        sessions += [
            ortx.session(model, disable_per_session_threads=True, intra_op_num_threads=8) for _ in range(3)
        ]
        shared = threads() - before - pools
        with ortx.session(model, intra_op_num_threads=3):
            own = threads() - before - pools
        results = [float(session.run([np.full((1, 2), 3, np.float32)])[0][0, 0]) for session in sessions]
        answer(pools, shared, own, results)
    """)
    assert pools == (3 - 1) + (4 - 1)
    assert shared == 0
    assert own == 2
    assert results == [9.0] * 4


@needs_task_folder
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs os.sched_setaffinity, which is Linux's")
@pytest.mark.parametrize("pools", ["the session's own", "global"])
def test_on_one_cpu_nothing_adds_threads_by_default(in_new_process, pools):
    assert in_new_process(f"""
        os.sched_setaffinity(0, {{max(os.sched_getaffinity(0))}})
        ortx.configure(use_global_thread_pools={pools == "global"})
        ortx.load_library()
        before = threads()
        with ortx.session(model, disable_per_session_threads={pools == "global"}):
            answer(threads() - before)
    """) == [0]


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
    entered.add_config_entry(SHRINK, "no such device")
    with pytest.raises(ortx.InvalidArgument, match="no such device"):
        session.run([X], None, entered)
    entered.add_config_entry(SHRINK, "")
    np.testing.assert_array_equal(session.run([X], None, entered)[0], X * X)


@pytest.mark.parametrize("wrong", [None, 1, True, b"cpu:0"])
@pytest.mark.parametrize("argument", ["key", "value"])
def test_a_config_entry_that_is_no_text_is_refused(argument, wrong):
    entry = {"key": SHRINK, "value": "cpu:0"} | {argument: wrong}
    with pytest.raises(ortx.InvalidType, match=f"add_config_entry: {argument}: got {wrong!r}"):
        ortx.run_options().add_config_entry(**entry)


@pytest.mark.parametrize("wrong", ["cpu\0", "\ud800"], ids=["NUL", "lone surrogate"])
@pytest.mark.parametrize("argument", ["key", "value"])
def test_a_config_entry_that_c_cannot_have_is_refused(argument, wrong):
    entry = {"key": SHRINK, "value": "cpu:0"} | {argument: wrong}
    with pytest.raises(ortx.InvalidArgument, match=f"add_config_entry: {argument}: got "):
        ortx.run_options().add_config_entry(**entry)


@pytest.mark.parametrize(("key", "value"), [("", "1"), ("k" * 10_000, "1"), (SHRINK, "v" * 10_000)])
def test_a_config_entry_that_onnx_runtime_refuses_raises_its_error(key, value):
    with pytest.raises(ortx.InvalidArgument, match="empty or longer|longer than maximum"):
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
