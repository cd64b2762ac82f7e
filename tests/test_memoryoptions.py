"""Options about memory (`memoryoptions.py`, `memory.pxi`, `env.pxi`): arenas, their limits, their statistics."""

from __future__ import annotations

import json
import os
import textwrap

import models
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import helper

import ortx
from ortx import _core, memoryoptions

INT_MAX = 2**31 - 1
SHRINKAGE = "memory.enable_memory_arena_shrinkage"
CHUNKS = ("initial_chunk_size_bytes", "max_dead_bytes_per_chunk", "initial_growth_chunk_size_bytes")

needs_stats = pytest.mark.skipif(
    ortx.load_library().api_version < 23, reason="needs ONNX Runtime 1.23 or newer, for the statistics of allocators"
)


def large_inside() -> bytes:
    """y = the sum of exp(x @ w): two tensors as large as x, while the output is a number"""
    return models.build(
        [
            helper.make_node("MatMul", ["x", "w"], ["a"]),
            helper.make_node("Exp", ["a"], ["b"]),
            helper.make_node("ReduceSum", ["b"], ["y"], keepdims=0),
        ],
        [models.tensor("x", shape=("n", 256))],
        [models.tensor("y", shape=())],
        [models.constant("w", np.zeros((256, 256)))],
    )


LARGE = np.ones((20_000, 256), np.float32)
SMALL = LARGE[:1]


def opened(**given) -> ortx.Session:
    return ortx.session_from_bytes(large_inside(), {"intra_op_num_threads": 1, "session_log_severity_level": 4} | given)


def taken(session: ortx.Session) -> int:
    """Return how many bytes the session's arena has taken from the system."""
    return session.allocator_stats()["cpu:0"]["TotalAllocated"]


# --- shrinking


@pytest.mark.parametrize(
    ("value", "devices"),
    [
        (True, ("cpu:0",)),
        (False, ()),
        (None, ()),
        ("", ()),
        ("cpu", ("cpu:0",)),
        ("cpu:0;gpu:1", ("cpu:0", "gpu:1")),
        ("cpu:0;gpu:0;", ("cpu:0", "gpu:0")),
        ("gpu:007", ("gpu:7",)),
        (["cpu"], ("cpu:0",)),
        (("gpu:1", "cpu:0", "gpu:1"), ("gpu:1", "cpu:0")),
        ([], ()),
    ],
)
def test_the_arenas_that_shrink_are_named_in_any_of_these_ways(value, devices):
    assert ortx.run_options(shrink_memory_arena=value).shrink_memory_arena == devices
    changed = ortx.run_options({"shrink_memory_arena": ["gpu:9"]}, tag="kept")
    changed.shrink_memory_arena = value
    assert (changed.shrink_memory_arena, changed.tag) == (devices, "kept")
    assert f"shrink_memory_arena={devices}" in repr(changed) or not devices
    assert ("shrink" in repr(changed)) == bool(devices)


def test_the_option_and_the_configuration_entry_are_one():
    made = ortx.run_options()
    made.add_config_entry(SHRINKAGE, "cpu:0;gpu:2")
    assert made.shrink_memory_arena == ("cpu:0", "gpu:2")
    made.set(tag="another")
    assert made.shrink_memory_arena == ("cpu:0", "gpu:2")
    made.set(shrink_memory_arena=None)
    assert made.shrink_memory_arena == ()


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (["cpu:0", 1], ortx.OptionTypeError, r"\[1\]: got 1 \(int\); expected a device such as 'cpu:0'$"),
        (["cpi:0"], ortx.OptionError, r"\[0\]: got 'cpi:0' .*'gpu', ':' and its number; did you mean 'cpu:0'\?$"),
        (["cpu:0;gpu:0"], ortx.OptionError, r"\[0\]: got 'cpu:0;gpu:0'"),
        ("gpu:0;cpx:0", ortx.OptionError, r": got 'gpu:0;cpx:0' .*expected devices as in .*; did you mean 'cpu:0'\?$"),
    ],
)
def test_a_device_that_is_none_is_refused_and_changes_nothing(value, error, message):
    made = ortx.run_options(shrink_memory_arena="gpu:3", tag="before")
    with pytest.raises(error, match=r"^ortx.run_options: option 'shrink_memory_arena'" + message):
        made.set(shrink_memory_arena=value, tag="after")
    assert (made.shrink_memory_arena, made.tag) == (("gpu:3",), "before")


@needs_stats
@pytest.mark.parametrize("how", ["run_into", "binding", "timeout"])
def test_an_arena_that_shrinks_gives_back_what_the_run_had_taken(how):
    y = np.empty((), np.float32)

    def run(x: np.ndarray, given: ortx.RunOptions | None) -> None:
        if how == "run_into":
            session.run_into([x], [y], given)
        elif how == "timeout":  # a run with a copy of the options
            session.run_into([x], [y], given, timeout=60)
        else:
            binding = session.create_io_binding()
            binding.bind_input("x", x)
            binding.bind_output("y", y)
            binding.run(given)

    with opened() as session:
        run(SMALL, None)
        least = taken(session)
        run(LARGE, None)
        assert taken(session) > least + 2 * LARGE.nbytes
        run(SMALL, ortx.run_options(shrink_memory_arena=True))
        assert taken(session) == least
        assert session.allocator_stats()["cpu:0"]["NumArenaShrinkages"] > 0
        run(LARGE, ortx.run_options(shrink_memory_arena=["cpu:0"]))
        assert taken(session) == least, "the very run that needed it gives it back"


@needs_stats
def test_without_the_option_an_arena_keeps_what_it_has():
    y = np.empty((), np.float32)
    with opened() as session:
        session.run_into([LARGE], [y])
        most = taken(session)
        session.run_into([SMALL], [y], ortx.run_options(shrink_memory_arena=False))
        assert taken(session) == most


@pytest.mark.parametrize(
    ("given", "devices"), [({}, "gpu:0"), ({}, "cpu:1"), ({"enable_cpu_mem_arena": False}, "cpu:0")]
)
def test_an_arena_that_is_not_there_cannot_shrink_and_the_error_says_what_to_do(given, devices):
    with opened(**given) as session:
        with pytest.raises(ortx.InvalidArgument, match=f"{devices} .*'shrink_memory_arena' names a device where this"):
            session.run([SMALL], run_options=ortx.run_options(shrink_memory_arena=devices))
        session.run([SMALL])


# --- statistics


@needs_stats
def test_the_arena_says_how_much_it_has_and_how_often():
    with opened() as session:
        (stats,) = session.allocator_stats().values()
        assert {
            "InUse",
            "Limit",
            "MaxAllocSize",
            "MaxInUse",
            "NumAllocs",
            "NumArenaExtensions",
            "NumArenaShrinkages",
            "NumReserves",
            "TotalAllocated",
        } <= set(stats)
        assert all(type(value) is int for value in stats.values())
        assert stats["Limit"] == -1
        before = stats["NumAllocs"]
        y = session.run([LARGE])["y"]
        (stats,) = session.allocator_stats().values()
        assert stats["MaxInUse"] >= 2 * LARGE.nbytes
        assert stats["NumAllocs"] >= before + 3
        in_use = stats["InUse"]
        del y
        (stats,) = session.allocator_stats().values()
        assert stats["InUse"] < in_use, "the output was in it"


@needs_stats
def test_every_session_has_an_arena_of_its_own():
    with opened() as first, opened() as second:
        first.run([LARGE])
        assert taken(second) < LARGE.nbytes < taken(first)


@needs_stats
def test_without_an_arena_there_are_no_statistics():
    with opened(enable_cpu_mem_arena=False) as session:
        session.run([SMALL])
        assert session.allocator_stats() == {"cpu:0": {}}


@needs_stats
def test_a_closed_session_has_no_statistics():
    session = opened()
    session.close()
    with pytest.raises(ortx.SessionClosed):
        session.allocator_stats()


def test_a_library_that_is_too_old_for_statistics_is_named(run_python, runtime_wheel):
    code = """
import sys, ortx
session = ortx.session_from_bytes(bytes.fromhex(sys.argv[1]))
try:
    session.allocator_stats()
except ortx.NotSupported as error:
    print(error)
"""
    done = run_python(code, models.square().hex(), ORTX_LIBRARY=runtime_wheel("1.20.1"))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("allocator_stats needs ONNX Runtime 1.23 or newer; ")


def test_reading_statistics_leaves_no_handle(request):
    if ortx.load_library().api_version < 23:
        pytest.skip("needs ONNX Runtime 1.23 or newer, for the statistics of allocators")
    with opened() as session:
        before = _core._live_handles()
        for _ in range(10):
            session.allocator_stats()
        assert _core._live_handles() == before


# --- the arena that sessions share


@pytest.mark.parametrize(
    ("table", "numbers"),
    [
        ({}, ()),
        ({"max_mem": None}, ()),
        ({"max_mem": np.int64(1 << 20)}, (("max_mem", 1 << 20),)),
        ({"arena_extend_strategy": "power_of_two"}, (("arena_extend_strategy", 0),)),
        (
            {"arena_extend_strategy": "same_as_requested", "max_mem": 2**63 - 1},
            (("max_mem", 2**63 - 1), ("arena_extend_strategy", 1)),
        ),
        (dict.fromkeys(CHUNKS, INT_MAX), tuple((name, INT_MAX) for name in CHUNKS)),
        ({"max_power_of_two_extend_bytes": 1}, (("max_power_of_two_extend_bytes", 1),)),
    ],
)
def test_a_table_of_the_arena_is_read_as_numbers(table, numbers):
    assert memoryoptions.read_cpu_arena(table) == numbers
    assert all(type(value) is int for _, value in memoryoptions.read_cpu_arena(table))
    read = _core.read_table(_core.RuntimeConfiguration, "ortx.configure", {"cpu_arena": table}, {})
    assert read.cpu_arena == numbers


@pytest.mark.parametrize(
    ("table", "error", "message"),
    [
        ({"max_memory": 1}, ortx.OptionError, r": got 'max_memory' .*expected keys among max_mem, .*mean 'max_mem'\?$"),
        ({3: 1}, ortx.OptionTypeError, r": got 3 \(int\); expected keys among max_mem"),
        ({"max_mem": 0}, ortx.OptionError, r"\['max_mem'\]: got 0 \(int\); expected an integer from 1 to "),
        ({"max_mem": -1}, ortx.OptionError, r"\['max_mem'\]: got -1"),
        ({"max_mem": 2**63}, ortx.OptionError, r"\['max_mem'\]: got 9223372036854775808"),
        ({"max_mem": 1.5}, ortx.OptionTypeError, r"\['max_mem'\]: got 1.5"),
        ({"max_mem": True}, ortx.OptionTypeError, r"\['max_mem'\]: got True"),
        (
            {"arena_extend_strategy": "power_of_to"},
            ortx.OptionError,
            r"\['arena_extend_strategy'\]: got .*one of 'power_of_two', 'same_as_requested'; did you mean 'power_",
        ),
        ({"arena_extend_strategy": 1}, ortx.OptionTypeError, r"\['arena_extend_strategy'\]: got 1"),
        *(({name: 0}, ortx.OptionError, rf"\['{name}'\]: got 0 .* from 1 to {INT_MAX}") for name in CHUNKS),
        *(({name: INT_MAX + 1}, ortx.OptionError, rf"\['{name}'\]: got {INT_MAX + 1} ") for name in CHUNKS),
        ({"max_power_of_two_extend_bytes": 0}, ortx.OptionError, r"\['max_power_of_two_extend_bytes'\]: got 0 "),
    ],
)
def test_an_arena_that_cannot_be_is_refused(table, error, message):
    with pytest.raises(error, match="^ortx.configure: option 'cpu_arena'" + message) as caught:
        ortx.configure(cpu_arena=table)
    assert type(caught.value) is error


def test_no_example_of_any_test_fails_because_the_machine_is_busy():
    assert settings().deadline is None
    assert HealthCheck.too_slow in settings().suppress_health_check


@given(st.dictionaries(st.sampled_from([*memoryoptions._ARENA, "", "max"]), st.none() | st.integers() | st.text()))
def test_any_table_of_an_arena_is_read_or_refused(table):
    try:
        read = _core.read_table(_core.RuntimeConfiguration, "ortx.configure", {"cpu_arena": table}, {})
    except ortx.OptionError as error:
        assert str(error).startswith("ortx.configure: option 'cpu_arena'")  # noqa: PT017 - one of two good ends
    else:
        assert all(type(value) is int and 0 <= value < 2**63 for _, value in read.cpu_arena)


PRELUDE = """
import gc, json, sys
import numpy as np, ortx
with open(sys.argv[1], "rb") as file:
    model = file.read()
common = {"intra_op_num_threads": 1, "session_log_severity_level": 4}
def opened(**options):
    return ortx.session_from_bytes(model, common | options)
def taken(session):
    return session.allocator_stats()["cpu:0"]["TotalAllocated"]
x, y = np.ones((20_000, 256), np.float32), np.empty((), np.float32)
def refusal(call, *arguments, **keywords):
    try:
        call(*arguments, **keywords)
    except ortx.Error as error:
        return [type(error).__name__, str(error)]
"""


@pytest.fixture
def in_new_process(run_python, tmp_path):
    """Run code after the prelude; return what it prints as JSON. Sessions shall be closed, and no handle left."""
    path = tmp_path / "model.onnx"
    path.write_bytes(large_inside())

    def in_new_process(code: str, **environment: object) -> object:
        end = "\ngc.collect()\nassert not any(ortx._core._live_handles().values()), ortx._core._live_handles()\n"
        done = run_python(PRELUDE + textwrap.dedent(code) + end, path, **environment)
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        return json.loads(done.stdout)

    return in_new_process


@needs_stats
def test_sessions_that_share_an_arena_take_memory_once(in_new_process):
    first, second, own, options = in_new_process("""
        ortx.configure(cpu_arena={})
        with opened(use_env_allocators=True) as a, opened(use_env_allocators=True) as b, opened() as c:
            a.run_into([x], [y])
            first = taken(a)
            b.run_into([x], [y])
            assert taken(a) == taken(b)
            print(json.dumps([first, taken(b), taken(c), [s.options()["use_env_allocators"] for s in (a, b, c)]]))
    """)
    assert first == second > 2 * LARGE.nbytes
    assert own < LARGE.nbytes
    assert options == [True, True, False]


@needs_stats
def test_a_shared_arena_grows_as_it_was_told_and_shrinks(in_new_process):
    code = """
        ortx.configure(cpu_arena=%s)
        with opened(use_env_allocators=True) as session:
            session.run_into([x], [y])
            most = taken(session)
            session.run_into([x[:1]], [y], ortx.run_options(shrink_memory_arena=True))
            print(json.dumps([most, taken(session)]))
    """
    two_tensors = 2 * LARGE.nbytes
    by_power, _ = in_new_process(code % '{"arena_extend_strategy": "power_of_two"}')
    as_asked, shrunk = in_new_process(code % '{"arena_extend_strategy": "same_as_requested"}')
    in_one_piece, _ = in_new_process(code % '{"initial_chunk_size_bytes": 2**28}')
    assert two_tensors < as_asked < two_tensors + 2**20 < by_power < 2**28 < in_one_piece < 2**29
    assert shrunk < 2**20


@pytest.mark.parametrize("version", [None, "1.20.1", "1.23.2"])
def test_an_arena_at_its_limit_is_an_error_of_its_own_and_the_session_stays_usable(
    in_new_process, runtime_wheel, version
):
    library = {} if version is None else {"ORTX_LIBRARY": runtime_wheel(version)}
    (kind, message), fits, is_memory_error = in_new_process(
        """
        ortx.configure({"cpu_arena": {"max_mem": 10_000_000}})
        with opened(use_env_allocators=True) as session:
            wrong = refusal(session.run, [x])
            try:
                session.run_into([x], [y])
            except MemoryError:
                is_memory_error = True
            print(json.dumps([wrong, float(session.run([x[:2]])["y"]), is_memory_error]))
    """,
        **library,
    )
    assert kind == "OutOfMemory"
    assert "is smaller than requested bytes of 20480000" in message
    assert (fits, is_memory_error) == (512.0, True)


@needs_stats
def test_a_session_whose_weights_alone_are_too_much_for_the_arena_is_refused(in_new_process):
    (kind, message), others = in_new_process("""
        ortx.configure(cpu_arena={"max_mem": 300_000})
        with opened(use_env_allocators=True) as session:
            wrong = refusal(opened, use_env_allocators=True)
            with opened() as other:
                print(json.dumps([wrong, taken(session)]))
    """)
    assert kind == "OutOfMemory"
    assert message == (
        "ortx.session_from_bytes: with the weights of this session, 524288 bytes are taken of the arena that sessions "
        "share; its max_mem is 300000"
    )
    assert others < 300_000


def test_the_arena_is_made_with_the_environment_and_stays(in_new_process):
    early, late = in_new_process("""
        ortx.configure(cpu_arena={"max_mem": 1})
        ortx.configure(cpu_arena=None)  # no arena after all
        early = refusal(opened, use_env_allocators=True)
        with opened():
            pass
        print(json.dumps([early, refusal(ortx.configure, cpu_arena={})]))
    """)
    assert early[0] == "OptionError"
    assert "there is no arena to share; make it with ortx.configure(cpu_arena={})" in early[1]
    assert late[1].startswith("configure: too late to change cpu_arena: ")


@pytest.mark.parametrize(
    "table",
    [
        dict.fromkeys(CHUNKS, 1) | {"max_power_of_two_extend_bytes": 1},
        dict.fromkeys(CHUNKS, 1) | {"arena_extend_strategy": "same_as_requested", "max_mem": 99_999_999},
        {"max_mem": 2**63 - 1, "max_power_of_two_extend_bytes": 2**63 - 1},
        dict.fromkeys(CHUNKS, 1 << 27),
    ],
    ids=str,
)
@pytest.mark.parametrize("version", [None, "1.20.1"])
def test_the_smallest_and_the_largest_numbers_work(in_new_process, runtime_wheel, table, version):
    library = {} if version is None else {"ORTX_LIBRARY": runtime_wheel(version)}
    code = f"""
        ortx.configure(cpu_arena={table!r})
        with opened(use_env_allocators=True) as session:
            sums = [float(session.run([x[:rows]])["y"]) for rows in (1, 300, 20_000, 7)]
            print(json.dumps(sums))
    """
    assert in_new_process(code, **library) == [rows * 256.0 for rows in (1, 300, 20_000, 7)]


def test_a_shared_arena_and_no_arena_contradict_each_other():
    with pytest.raises(ortx.OptionError, match="'use_env_allocators' and enable_cpu_mem_arena=False contradict"):
        opened(use_env_allocators=True, enable_cpu_mem_arena=False)


# --- out of memory, otherwise


def test_memory_that_the_system_does_not_have_is_an_error_of_its_own():
    too_large = models.build(
        [helper.make_node("ConstantOfShape", ["x"], ["y"])],
        [models.tensor("x", "int64", (1,))],
        [models.tensor("y", shape=("n",))],
    )
    for enable_cpu_mem_arena in (True, False):
        with ortx.session_from_bytes(
            too_large, enable_cpu_mem_arena=enable_cpu_mem_arena, session_log_severity_level=4
        ) as session:
            with pytest.raises(ortx.OutOfMemory):
                session.run([np.array([2**58], np.int64)])
            assert session.run([np.array([3], np.int64)])["y"].tolist() == [0, 0, 0]


@pytest.mark.skipif(os.name == "nt", reason="needs names of files that POSIX systems have")
def test_two_spellings_of_a_file_are_one():
    assert memoryoptions.same_file("./a//b/../c.data") == memoryoptions.same_file("a/c.data")
    assert memoryoptions.same_file("a\\c.data") == memoryoptions.same_file("a/c.data")
