"""Too little memory, too few threads: a typed error, and life goes on. Each in a process of its own, with a limit."""

from __future__ import annotations

import errno
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import models
import numpy as np
import pytest
from onnx import helper

import ortx
from ortx import _core

needs_limits = pytest.mark.skipif(
    sys.platform != "linux", reason="needs RLIMIT_AS as Linux keeps it, and /proc/self/statm"
)

# `expand` makes an output as large as one likes, `weights` has 16 MB of them.
PRELUDE = """
import json, os, resource, sys, time
import numpy as np
import ortx
expand, weights, square = sys.argv[1:4]
one = np.ones(1, np.float32)
MEGABYTE = 1 << 20
is_limited = False

def limit(megabytes):
    "Let the process have so much more memory than it has now."
    global is_limited
    with open("/proc/self/statm") as file:
        present = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (present + int(megabytes * MEGABYTE), resource.RLIM_INFINITY))

def unlimited():
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

def attempt(call):
    "Return what a call raises: its classes and its message."
    try:
        call()
    except BaseException as error:
        return [[each.__name__ for each in type(error).__mro__], str(error)]

def limited(megabytes, call):
    limit(megabytes)
    answer = attempt(call)
    unlimited()
    return answer

def tell(answers):
    print(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("models")
    contents = {
        "expand": models.build(
            [helper.make_node("Expand", ["x", "shape"], ["y"])],
            [models.tensor("x", shape=(1,)), models.tensor("shape", "int64", ("rank",))],
            [models.tensor("y", shape=None)],
        ),
        "weights": models.build(
            [helper.make_node("MatMul", ["x", "w"], ["y"])],
            [models.tensor("x", shape=("n", 2000))],
            [models.tensor("y", shape=("n", 2000))],
            [models.constant("w", np.random.default_rng(0).random((2000, 2000)))],
        ),
        "square": models.square(),
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return [folder / name for name in contents]


@pytest.fixture
def ask(run_python: Callable[..., Any], paths: list[Path]) -> Callable[[str], Any]:
    def ask(code: str) -> Any:
        done = run_python(PRELUDE + code, *paths)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return ask


def is_out_of_memory(answer: Any) -> bool:
    """Whether it is an error of ours or, where Python itself was asked for memory, Python's own."""
    return answer[0][0] == "MemoryError" or {"OutOfMemory", "Error", "MemoryError"} <= set(answer[0])


# --- memory

WAYS = {
    "run": "session.run([one, shape])",
    "run with a timeout": "session.run([one, shape], timeout=60)",
    "run_into": "session.run_into([one, shape], [None])",
    "submit": "session.submit([one, shape]).result()",
    "run_async": "asyncio.run(session.run_async([one, shape]))",
    "binding": "binding.run()",
    "batcher": "ortx.Batcher(by_rows).run_blocking([np.ones((1 << 24, 1), np.float32)])",
}


@needs_limits
@pytest.mark.parametrize("arena", [True, False], ids=["arena", "no arena"])
def test_a_run_without_enough_memory_says_so_and_the_next_one_works(ask, arena):
    answers, result, handles = ask(f"""
import asyncio
session = ortx.session(expand, intra_op_num_threads=1, enable_cpu_mem_arena={arena})
by_rows = ortx.session(square, intra_op_num_threads=1, enable_cpu_mem_arena={arena})
shape, small = np.array([64 << 18]), np.array([3])
binding = session.create_io_binding()
binding.bind_input("x", one); binding.bind_input("shape", shape); binding.bind_output("y")
# The threads that they need are there already.
session.submit([one, small]).result()
session.run([one, small], timeout=60)
asyncio.run(session.run_async([one, small]))
before = ortx._core._live_handles()
answers = []
for way in {list(WAYS.values())[:-1]!r}:
    answers.append(limited(40, lambda: eval(way)))
tell([answers, session.run([one, small])[0].tolist(), [before, ortx._core._live_handles()]])
""")
    assert [is_out_of_memory(answer) for answer in answers] == [True] * len(answers), answers
    assert all(classes[0] == "OutOfMemory" for classes, _ in answers), answers
    assert result == [1, 1, 1]
    assert handles[0] == handles[1]


@needs_limits
@pytest.mark.parametrize("source", ["weights", "open(weights, 'rb').read()"], ids=["file", "bytes"])
def test_a_model_that_does_not_fit_says_so_and_fits_later(ask, source):
    answers, shape = ask(f"""
ortx.session(square, intra_op_num_threads=1)
model = {source}
opened = ortx.session if isinstance(model, str) else ortx.session_from_bytes
answers = [limited(size, lambda: opened(model, intra_op_num_threads=1)) for size in (0, 1, 4, 10, 14, 18, 24)]
tell([answers, opened(model).run([np.ones((1, 2000), np.float32)])[0].shape])
""")
    assert shape == [1, 2000]
    failed = [answer for answer in answers if answer is not None]
    assert len(failed) >= 4
    assert all(is_out_of_memory(answer) for answer in failed), failed
    assert any(answer[0][0] == "OutOfMemory" for answer in failed)


@needs_limits
@pytest.mark.parametrize("megabytes", [0, 5, 20, 27, 29, 32, 44, 46, 50])
def test_wherever_memory_ends_between_loading_and_running_it_is_said(ask, megabytes):
    (answer,) = ask(f"""
x = np.ones((1, 2), np.float32)
def live():
    with ortx.session(square, intra_op_num_threads=1) as session:
        session.run([x])
tell([limited({megabytes}, live)])
""")
    assert answer is None or is_out_of_memory(answer), answer
    assert megabytes > 20 or answer is not None


@needs_limits
def test_onnx_runtime_is_set_up_only_where_there_is_room_for_it_so_it_can_be_tried_again(ask):
    # ORT may crash in the middle of it, and refuses to begin anew.
    *answers, works = ask("""
ortx.load_library()
answers = [limited(size, lambda: ortx.session(square, intra_op_num_threads=1)) for size in (0, 1, 4, 8, 15)]
tell([*answers, ortx.session(square).run([np.ones((1, 2), np.float32)])[0].tolist()])
""")
    assert [answer[0][0] for answer in answers] == ["OutOfMemory"] * 5
    assert "not enough memory to set up ONNX Runtime, 16 MB" in answers[-1][1]
    assert works == [[1, 1]]


@needs_limits
def test_arrays_that_numpy_cannot_make_are_pythons_own_memory_error(ask):
    (answer,) = ask("""
session = ortx.session(square, intra_op_num_threads=1)
columns = np.ones((2, 4 << 20), np.float32).T  # has to be copied
tell([limited(8, lambda: session.run([columns]))])
""")
    assert answer[0][0] in ("MemoryError", "_ArrayMemoryError", "OutOfMemory")
    assert "MemoryError" in answer[0]


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (6, "Exception during initialization: std::bad_alloc"),
        (1, "Load model from m.onnx failed:std::bad_alloc"),
        (1, "bfc_arena.cc:360 Failed to allocate memory for requested buffer of size 4398046511104"),
        (6, "Available memory of 1024 is smaller than requested bytes of 4096"),
        (11, "CUDA failure 2: out of memory ; GPU=0 ;"),
        (1, "Load model from m.onnx failed:system error number 12"),
        (errno.ENOMEM, f'mmap file "weights.bin" failed: {os.strerror(errno.ENOMEM)}'),
    ],
)
def test_however_it_is_put_a_lack_of_memory_is_one_class(code, message):
    error = _core.error_from_status(code, message)
    assert type(error) is ortx.OutOfMemory
    assert isinstance(error, MemoryError)
    assert str(error).startswith(message)
    assert error.code in (1, 6, 11)


@pytest.mark.parametrize("code", [2, 7, 10])
def test_words_of_the_caller_are_not_taken_for_a_lack_of_memory(code):
    assert type(_core.error_from_status(code, "Invalid input name: out of memory")) is not ortx.OutOfMemory


# --- threads

# What needs more threads than the process may have; `session` and its like were made before.
NEED_THREADS = {
    "a session": "ortx.session_from_bytes(content, intra_op_num_threads=8)",
    "a session of two pools": "ortx.session_from_bytes(content, execution_mode='parallel', inter_op_num_threads=4)",
    "a submitted run": "session.submit([x])",
    "a run with a timeout": "session.run([x], timeout=60)",
    "an awaited run": "asyncio.run(session.run_async([x]))",
    "a batcher": "ortx.Batcher(session)",
}
MAKE_SESSION = """
import asyncio
x = np.ones((1, 2), np.float32)
with open(square, "rb") as file:
    content = file.read()
session = ortx.session_from_bytes(content, intra_op_num_threads=1)
session.run([x])
threads = len(os.listdir("/proc/self/task"))
ortx.Batcher(session).close()
while len(os.listdir("/proc/self/task")) > threads:  # of one that ends later, the next would take the stack
    time.sleep(0.001)
asyncio.run(asyncio.sleep(0))
"""


@needs_limits
def test_threads_for_which_there_is_no_memory_are_out_of_memory_and_nobody_waits_for_them(ask):
    # ORT itself would wait for ever for those threads of a pool that it could start.
    answers, works = ask(
        MAKE_SESSION
        + f"""
answers = [limited(size, lambda: eval(call)) for size in (1, 6) for call in {list(NEED_THREADS.values())!r}]
answers.append(limited(30, lambda: ortx.session(square, intra_op_num_threads=8)))  # for some of them there is
session.submit([x]).result(); session.run([x], timeout=60); asyncio.run(session.run_async([x]))
ortx.Batcher(session).run_blocking([x])
tell([answers, ortx.session(square, intra_op_num_threads=8).run([x])[0].tolist()])
"""
    )
    assert works == [[1, 1]]
    assert all(is_out_of_memory(answer) for answer in answers), answers
    assert "ulimit -v" in answers[0][1]


@needs_limits
def test_the_threads_of_global_pools_are_asked_for_beforehand_too(ask):
    answer, works = ask("""
ortx.load_library()
ortx.configure(use_global_thread_pools=True, global_intra_op_num_threads=8, global_inter_op_num_threads=2)
answer = limited(30, lambda: ortx.session(square, disable_per_session_threads=True))
x = np.ones((1, 2), np.float32)
tell([answer, ortx.session(square, disable_per_session_threads=True).run([x])[0].tolist()])
""")
    assert is_out_of_memory(answer)
    assert works == [[1, 1]]


@needs_limits
@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0,
    reason="needs root, to become a user who may have no more threads than it has",
)
def test_threads_that_the_user_may_not_have_are_an_error_that_says_which_limit(ask):
    answers = ask(
        MAKE_SESSION
        + f"""
os.setgid(65534); os.setuid(65534)
resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))
tell([attempt(lambda: eval(call)) for call in {list(NEED_THREADS.values())!r}])
"""
    )
    for classes, message in answers:
        assert classes[:2] == ["Error", "RuntimeError"], (classes, message)
        assert "cannot be started" in message
        assert "ulimit -u" in message
