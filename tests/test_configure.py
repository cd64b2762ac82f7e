"""What `ortx.configure` does (`env.pxi` in the core): each in a process of its own, since it holds for all of it.

How its options are read is in `test_options.py`.
"""

from __future__ import annotations

import json
import os
import textwrap
from pathlib import Path

import models
import pytest

import ortx

needs_task_folder = pytest.mark.skipif(
    not Path("/proc/self/task").is_dir(), reason="needs /proc/self/task, to count the threads of the process"
)

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
