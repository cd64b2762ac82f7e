"""A story: a process forks. What it made before is dead in the child, new sessions work there, the parent is unharmed.

Every child has an alarm: one that hangs ends with -SIGALRM, which is no exit code that a test expects.
"""

from __future__ import annotations

import os

import models
import pytest
from onnx import TensorProto, helper
from test_async import COUNTING
from test_logging import talkative

if not hasattr(os, "fork"):
    pytest.skip("needs os.fork, which Windows does not have", allow_module_level=True)

LENGTHS = models.build(
    [helper.make_node("SequenceLength", ["s"], ["n"])],
    [helper.make_tensor_sequence_value_info("s", TensorProto.FLOAT, None)],
    [models.tensor("n", "int64", ())],
)

PREPARE = """
import asyncio, copy, gc, os, signal, sys, threading, time, warnings
from pathlib import Path
import numpy as np
import ortx
from ortx import _core
warnings.simplefilter("ignore", DeprecationWarning)  # Python's: there are threads, and fork does not take them along
os.chdir(sys.argv[1])
x = np.array([[1, 2], [3, 4]], np.float32)

def said(call):
    try:
        return call()
    except Exception as error:
        return f"{type(error).__name__}: {error}"

def in_child(call, leave=os._exit):
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        signal.alarm(30)
        code = call()
        sys.stdout.flush()
        leave(7 if code is None else code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

def works():
    "Open sessions and use everything that they have."
    with ortx.session("square.onnx", intra_op_num_threads=2) as session:
        binding = session.create_io_binding()
        binding.bind_input("x", x)
        binding.bind_output("y")
        pool, batcher = ortx.SessionPool("square.onnx", 2), ortx.Batcher(session)
        parallel = ortx.session("square.onnx", execution_mode="parallel", intra_op_num_threads=2)
        results = [
            session.run([x], run_options=ortx.run_options(tag="child")), session.run_into([x], [np.empty_like(x)]),
            session.run([x], timeout=20), binding.run(), session.submit([x]).result(20),
            asyncio.run(session.run_async([x], timeout=20)), asyncio.run(binding.run_async()), pool.run([x]),
            pool.submit([x]).result(20), batcher.run_blocking([x], timeout=20), asyncio.run(batcher.run([x])),
            parallel.run([x]), copy.copy(session).run([x])]
        assert all((result[0] == x * x).all() for result in results)
        batcher.close()
        pool.close()
        parallel.close()
"""


@pytest.fixture
def fork(run_python, tmp_path):
    """Run code behind `PREPARE`, in a folder of models, and return what it printed."""

    def fork(code: str, *arguments: object, prepare: str = PREPARE) -> list[str]:
        for name, model in {
            "square.onnx": models.square(),
            "counting.onnx": COUNTING,
            "talkative.onnx": talkative(),
            "lengths.onnx": LENGTHS,
        }.items():
            (tmp_path / name).write_bytes(model)
        done = run_python(prepare + code, tmp_path, *arguments)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout.splitlines()

    return fork


# --- what was made before


def test_whatever_was_made_before_the_fork_is_refused_in_the_child_and_says_what_to_do(fork):
    lines = fork("""
session = ortx.session("square.onnx", intra_op_num_threads=2)
of_bytes = ortx.session_from_bytes(Path("square.onnx").read_bytes())
binding = session.create_io_binding()
binding.bind_input("x", x)
binding.bind_output("y")
binding.run()
options, weights, pool = ortx.run_options(), ortx.PrepackedWeights(), ortx.SessionPool("square.onnx", 2)
batcher = ortx.Batcher(session)
async def awaited(call):
    return await call()

def child():
    uses = {
        "run": lambda: session.run([x]), "run_into": lambda: session.run_into([x], [x.copy()]),
        "a refused call": lambda: session.run([1, 2, 3]),
        "with a timeout": lambda: session.run([x], timeout=9), "submit": lambda: session.submit([x]),
        "run_async": lambda: asyncio.run(awaited(lambda: session.run_async([x]))),
        "create_io_binding": session.create_io_binding, "metadata": session.metadata,
        "end_profiling": session.end_profiling, "memory": session.memory_info_for_inputs,
        "dynamic": lambda: session.set_ep_dynamic_options({"ep.dynamic.workload_type": "Default"}),
        "of bytes": lambda: of_bytes.run([x]),
        "bound run": binding.run, "bound run of the session": lambda: session.run_with_iobinding(binding),
        "bound run with a timeout": lambda: binding.run(timeout=9),
        "bound run_async": lambda: asyncio.run(awaited(binding.run_async)),
        "bind_input": lambda: binding.bind_input("x", x), "bind_output": lambda: binding.bind_output("y"),
        "clear_inputs": binding.clear_inputs, "clear_outputs": binding.clear_outputs,
        "synchronize_inputs": binding.synchronize_inputs, "synchronize_outputs": binding.synchronize_outputs,
        "run options in a run": lambda: new.run([x], run_options=options), "terminate": options.terminate,
        "reset_terminate": options.reset_terminate, "set": lambda: options.set(tag="t"),
        "add_config_entry": lambda: options.add_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0"),
        "weights": lambda: ortx.session("square.onnx", prepacked_weights=weights),
        "pool": lambda: pool.run([x]), "pool.submit": lambda: pool.submit([x]), "with pool": pool.__enter__,
        "batcher": lambda: batcher.run_blocking([x]),
        "batcher.run": lambda: asyncio.run(awaited(lambda: batcher.run([x]))),
    }
    new = ortx.session("square.onnx")
    for use, call in uses.items():
        print(use, said(call), sep="|")
assert in_child(child) == 7
print(os.getpid())
""")
    process = lines.pop()
    answers = dict(line.split("|", 1) for line in lines)
    assert len(answers) == 33
    assert [use for use, answer in answers.items() if not answer.startswith("ForkedSession: ")] == []
    assert f"the session of 'square.onnx' was made in process {process}, before this one (" in answers["run"]
    assert "cannot be used here; open it anew: ortx.session('/" in answers["run"]
    assert answers["run"].endswith("square.onnx', intra_op_num_threads=2)")
    assert answers["of bytes"].endswith("open it anew: ortx.session_from_bytes(model)")
    assert "make a binding of that with create_io_binding()" in answers["clear_inputs"]
    assert "make new ones with ortx.run_options(...)" in answers["terminate"]
    assert "make a new ortx.PrepackedWeights()" in answers["weights"]
    assert "cannot be used here; make a new ortx.SessionPool if it is one of a pool, otherwise" in answers["pool"]
    assert "make a new one here" in answers["batcher"]


def test_what_is_plain_data_can_be_read_in_the_child_and_what_is_closed_stays_closed(fork):
    assert fork("""
session, closed = ortx.session("square.onnx", intra_op_num_threads=2), ortx.session("square.onnx")
closed.close()
outputs, binding = session.run([x]), session.create_io_binding()
tensor, options = ortx.tensor(x), ortx.run_options(tag="t")
binding.bind_input("x", x)
binding.bind_output("y")
bound = binding.run()
def child():
    print(outputs["y"].tolist(), bound[0].tolist(), binding.get_outputs() is bound, tensor.tolist(), options.tag)
    print(session.input_names(), session.output_info("y").type, session.options()["intra_op_num_threads"])
    print(session.closed, session.running, session)
    print(binding)
    print(said(lambda: closed.run([x])))
    print(ortx.session("square.onnx").run([tensor])[0].tolist())
print(in_child(child), session.run([x])[0].tolist(), session.closed)
""") == [
        "[[1.0, 4.0], [9.0, 16.0]] [[1.0, 4.0], [9.0, 16.0]] True [[1.0, 2.0], [3.0, 4.0]] t",
        "('x',) tensor(float) 2",
        "True 0 <ortx.Session of 'square.onnx' (inherited by a fork): x -> y>",
        "<ortx.IOBinding of 'square.onnx': x -> y>",
        "SessionClosed: the session of 'square.onnx' is closed; make a new one to run the model again",
        "[[1.0, 4.0], [9.0, 16.0]]",
        "7 [[1.0, 4.0], [9.0, 16.0]] False",
    ]


@pytest.mark.parametrize("leave", ["os._exit", "sys.exit"])
def test_closing_and_dropping_in_the_child_does_nothing_and_never_fails(fork, leave):
    # ONNX Runtime would wait for ever for the threads of a session that is released in a child.
    assert fork(f"""
import atexit
session, other = (ortx.session("square.onnx", intra_op_num_threads=4) for _ in range(2))
pool, batcher = ortx.SessionPool("square.onnx", 2, intra_op_num_threads=2), ortx.Batcher(other)
session.run([x]), session.submit([x]).result(20), asyncio.run(session.run_async([x])), session.run([x], timeout=9)
atexit.register(session.close)
before = _core._live_handles()
def child():
    global session, other, pool, batcher
    with session, batcher:
        print(set(_core._live_handles().values()), session.running)
    other.close()
    other.close()
    pool.close()
    del other, pool, batcher
    gc.collect()
    print(set(_core._live_handles().values()))
    ortx.configure(log_severity_level=3)  # is refused while sessions are open
    works()
    gc.collect()
    print(_core._live_handles()["session"])
print(in_child(child, {leave}), _core._live_handles() == before)
works()
""") == [
        "{0} 0",
        "{0}",
        "0",
        "7 True",
    ]


@pytest.mark.skipif(not os.path.exists("/proc/self/maps"), reason="needs /proc/self/maps, which only Linux has")
@pytest.mark.parametrize("kept", ["outputs", "binding", "future"])
def test_memory_of_values_from_before_is_not_given_back_in_the_child(fork, kept):
    # Without an arena, a large block is mapped when it is allocated, and unmapped when it is released.
    assert fork(f"""
large = np.ones((1 << 21, 2), np.float32)
session = ortx.session("square.onnx", enable_cpu_mem_arena=False, intra_op_num_threads=1)
def make():
    if {kept!r} == "outputs":
        kept = session.run([large])
    elif {kept!r} == "future":
        kept = session.submit([large])
        kept.result(20)
        time.sleep(0.2)  # until the thread that has completed it has let it go
    else:
        kept = session.create_io_binding()
        kept.bind_input("x", large)
        kept.bind_output("y")
        kept.run()
    return kept
def address(kept):
    outputs = kept.get_outputs() if {kept!r} == "binding" else kept.result() if {kept!r} == "future" else kept
    return outputs[0].ctypes.data
def is_mapped(place):
    with open("/proc/self/maps") as maps:
        return any(int(begin, 16) <= place < int(end.split()[0], 16) for begin, end in (l.split("-", 1) for l in maps))
def child():
    global kept
    place = address(kept)
    before = is_mapped(place)
    del kept
    gc.collect()
    print(before, is_mapped(place), flush=True)
kept = make()
place = address(kept)
code = in_child(child)
del kept
gc.collect()
print(code, is_mapped(place))
""") == ["True True", "7 False"]


def test_a_child_of_a_child_tells_whose_each_thing_is(fork):
    assert fork("""
first = ortx.session("square.onnx", intra_op_num_threads=2)
def grandchild():
    for session, owner in ((first, pids[0]), (second, pids[1])):
        print(f"was made in process {owner}, before this one ({os.getpid()})" in said(lambda: session.run([x])))
    works()
def child():
    global second
    second = ortx.session("square.onnx", intra_op_num_threads=2)
    pids.append(os.getpid())
    print(in_child(grandchild))
    second.run([x])
    second.close()
pids = [os.getpid()]
print(in_child(child))
""") == ["True", "True", "7", "7"]


# --- what is going on meanwhile


def test_runs_in_progress_at_the_fork_are_none_in_the_child_and_go_on_in_the_parent(fork):
    assert fork("""
session = ortx.session("counting.onnx", intra_op_num_threads=2, max_concurrency=1)
alone = ortx.session("counting.onnx", intra_op_num_threads=1, concurrent_runs=False)
options, ended = ortx.run_options(), []
def run(session):
    ended.append(said(lambda: session.run([[0.0], 2**62], run_options=options)).partition(":")[0])
threads = [threading.Thread(target=run, args=(session,)) for session in (session, alone, alone)]
[thread.start() for thread in threads]
done = session.submit([[0.0], 3])
done.result(20)
running, queued = session.submit([[0.0], 2**62], None, options), session.submit([[0.0], 4])
while session.running < 3 or alone.running < 2:
    time.sleep(0.001)
def child():
    for inherited in (session, alone):
        print(inherited.running)
        inherited.close()
    print(done.result()[0].item(), done.exception(), done.done(), running.running(), queued.done())
    print(said(lambda: running.result(9)).partition(":")[0], said(lambda: queued.result(9)).rpartition("; ")[2])
    works()
print(in_child(child))
options.terminate()
[thread.join() for thread in threads]
print(ended, said(lambda: running.result(20)).partition(":")[0], queued.result(20)[0].item())
""") == [
        "0",
        "0",
        "3.0 None True False True",
        "ForkedSession submit it anew, with a session that was opened here",
        "7",
        "['RunCancelled', 'RunCancelled', 'RunCancelled'] RunCancelled 4.0",
    ]


@pytest.mark.parametrize("leave", ["os._exit(7)", "sys.exit(7)", "await awaited[1]", "process"])
def test_a_child_forked_by_a_task_while_runs_are_awaited_leaves_as_it_likes(fork, leave):
    # With sys.exit, asyncio cancels the tasks in the child, and waits for them. It also takes its files out of the poll
    # object that it shares with the parent, whose loop is deaf from then on; so the parent ends, too.
    assert fork(f"""
import multiprocessing
session, options = ortx.session("counting.onnx", intra_op_num_threads=1, max_concurrency=1), ortx.run_options()
async def main():
    awaited = [asyncio.ensure_future(session.run_async([[0.0], count], None, options)) for count in (2**62, 5)]
    awaited.append(asyncio.ensure_future(session.run_async([[0.0], 6], timeout=50)))
    while session.running < 1 or len(awaited[1].get_stack()) == 0:
        await asyncio.sleep(0.001)
    await asyncio.sleep(0.01)
    if {leave!r} == "process":
        process = multiprocessing.get_context("fork").Process(target=works)
        process.start()
        process.join(40)
        code = 7 + process.exitcode
    else:
        child = os.fork()
        if child == 0:
            signal.alarm(30)
            if {leave!r}.startswith("await"):
                awaited[1].cancel()
                try:
                    await awaited[1]
                except asyncio.CancelledError:
                    os._exit(7)
            {leave}
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if {leave!r} == "sys.exit(7)":
        print(code, flush=True)
        os._exit(0)
    options.terminate()
    ended = await asyncio.gather(*awaited, return_exceptions=True)
    print(code, [type(end).__name__ for end in ended])
asyncio.run(main())
""") == ["7" if leave == "sys.exit(7)" else "7 ['RunCancelled', 'RunCancelled', 'Outputs']"]


def test_a_fork_while_the_first_session_is_opened_waits_until_that_is_done(fork):
    # Otherwise the child waits for ever for ONNX Runtime's locks: it did in 30 of 30 such forks.
    assert fork("""
ready = threading.Event()
def open_one():
    ready.set()
    opened.append(ortx.session("square.onnx", intra_op_num_threads=2).run([x])[0].tolist())
opened = []
thread = threading.Thread(target=open_one)
thread.start()
ready.wait()
time.sleep(0.004)
print(in_child(works))
thread.join()
print(opened)
""") == ["7", "[[[1.0, 4.0], [9.0, 16.0]]]"]


GATE = """
#include <unistd.h>
int passed = 0;
void *RegisterCustomOps(void *options, const void *base) {
    char word;
    write(REACHES, "!", 1);
    read(WORD, &word, 1);
    passed = 1;
    return 0;
}
"""


@pytest.mark.parametrize("longest", [60, 0.1])
def test_a_fork_waits_for_an_opening_but_not_for_ever(fork, compile_shared, longest):
    # The numbers of the pipes in a new process: they are made before anything else is opened.
    library = compile_shared(GATE.replace("REACHES", "4").replace("WORD", "5"), "gate")
    pipes = """
import os
(reached, reaches), (word, says) = os.pipe(), os.pipe()
assert (reaches, word) == (4, 5)
"""
    lines = fork(
        """
import ctypes
longest = float(sys.argv[3])
assert _core._longest_wait_of_a_fork(longest) == 10
opened = []
def open_one():
    opened.append(ortx.session("square.onnx", custom_op_libraries=sys.argv[2]).run([x])[0].tolist())
ortx.session("square.onnx").run([x])
gate = ctypes.CDLL(sys.argv[2])
thread = threading.Thread(target=open_one)
thread.start()
os.read(reached, 1)
if longest > 1:
    threading.Timer(0.3, lambda: os.write(says, b"!")).start()
def child():
    print("passed", ctypes.c_int.in_dll(gate, "passed").value)
    works()
print(in_child(child))
if longest < 1:
    os.write(says, b"!")
thread.join()
print(len(opened))
works()
""",
        library,
        longest,
        prepare=pipes + PREPARE,
    )
    assert lines == [f"passed {int(longest > 1)}", "7", "1"]


def test_children_forked_under_load_can_all_open_run_and_exit(fork):
    # As a server does that loads its model before it forks: another thread runs, another opens, others submit and log.
    assert fork(
        """
import logging
logging.getLogger("ortx").addHandler(logging.NullHandler())
session = ortx.session("square.onnx", intra_op_num_threads=2)
lengths = ortx.session("lengths.onnx", intra_op_num_threads=1)  # makes an empty sequence by a session of its own
works()  # what it imports is imported: a fork inside an import is Python's own problem
stop, failed = threading.Event(), []
def repeat(call):
    while not stop.is_set():
        try:
            call()
        except BaseException as error:
            failed.append(error)
            return
loads = [
    lambda: session.run([x]), lambda: session.submit([x]).result(20), lambda: lengths.run([[]]),
    lambda: ortx.session("square.onnx", intra_op_num_threads=2, session_log_severity_level=0).run([x])]
threads = [threading.Thread(target=repeat, args=(load,)) for load in loads]
[thread.start() for thread in threads]
def child():
    with session:  # of no use, and of no harm
        new = ortx.session("square.onnx", intra_op_num_threads=2)
        right = (new.run([x])[0] == x * x).all() and (new.submit([x]).result(20)[0] == x * x).all()
        return 7 if right and (new.run([x], timeout=20)[0] == x * x).all() else 1
codes = [in_child(child, sys.exit if number % 2 else os._exit) for number in range(int(sys.argv[2]))]
stop.set()
[thread.join() for thread in threads]
print(set(codes), failed)
works()
""",
        os.environ.get("ORTX_FORKS", "15"),
    ) == ["{7} []"]


def test_what_logs_may_fork(fork):
    assert fork("""
import logging
def forking(record):
    global code
    on_main = threading.current_thread() is threading.main_thread()  # another thread may hand over what this call logs
    if code is None and session is not None and on_main:
        code = -1
        child = os.fork()
        if child:
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        else:
            signal.alarm(30)
    return False
session = code = None
logging.getLogger("ortx").addFilter(forking)  # a handler has a lock of its own, which it could not release
logging.getLogger("ortx").setLevel(1)
session = ortx.session("talkative.onnx", intra_op_num_threads=2, session_log_severity_level=0)
code = None
deadline = time.monotonic() + 30
while code is None and time.monotonic() < deadline:
    answer = said(lambda: session.run([x[0]]))
if code == -1:
    os._exit(7 if answer.startswith("ForkedSession") and not any(_core._live_handles().values()) else 1)
print(code, "Reshape" in answer, answer.startswith("ForkedSession"))
""") == ["7 True False"]


# --- what the environment cannot give


def test_global_thread_pools_of_the_parent_are_refused_in_the_child(fork):
    (line, code) = fork("""
ortx.configure(use_global_thread_pools=True)
ortx.session("square.onnx", disable_per_session_threads=True)
def child():
    print(said(lambda: ortx.session("square.onnx", disable_per_session_threads=True)))
    works()
print(in_child(child))
""")
    assert line.startswith(
        "ForkedSession: ortx.session: option 'disable_per_session_threads': the pair of global thread"
    )
    assert line.endswith("leave the option out, or fork before the first session is opened")
    assert code == "7"


def test_the_shared_arena_of_the_parent_is_refused_in_the_child(fork):
    # A thread of the parent's may hold its lock: the child would wait for it for ever.
    *lines, code = fork("""
ortx.configure(cpu_arena={})
ortx.session("square.onnx", use_env_allocators=True).run([x])
def child():
    print(said(lambda: ortx.session("square.onnx", use_env_allocators=True)))
    print(said(lambda: ortx.session("square.onnx", config_entries={"session.use_env_allocators": "1"})))
    works()
print(in_child(child))
""")
    assert lines[0].startswith("ForkedSession: ortx.session: option 'use_env_allocators': the shared arena was made in")
    assert lines[1].startswith(
        "ForkedSession: ortx.session: option 'config_entries'['session.use_env_allocators']: the"
    )
    assert all(line.endswith("leave it out, or fork before the first session is opened") for line in lines)
    assert code == "7"


# --- what forks for others


def test_the_pools_of_the_standard_library_work_with_forked_children(fork, tmp_path):
    (tmp_path / "forkwork.py").write_text("""
import ortx
session = None
def open_session(path):
    global session
    session = ortx.session(path, intra_op_num_threads=2)
def run(x):
    return session.run([x])["y"]
def run_of_the_parent(x):
    import __main__
    return __main__.parents.run([x])
""")
    assert fork("""
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
sys.path.insert(0, ".")
import forkwork
context = multiprocessing.get_context("fork")
parents = ortx.session("square.onnx", intra_op_num_threads=2)
parents.run([x]), parents.submit([x]).result(20)
with context.Pool(2, forkwork.open_session, ["square.onnx"]) as pool:
    print([y.tolist() for y in pool.map_async(forkwork.run, [x, x[:1]]).get(40)])
    print(said(lambda: pool.apply_async(forkwork.run_of_the_parent, [x]).get(40)).partition(":")[0])
with ProcessPoolExecutor(2, context, forkwork.open_session, ["square.onnx"]) as pool:
    print([y.tolist() for y in pool.map(forkwork.run, [x, x[:1]], timeout=40)])
    print(said(lambda: pool.submit(forkwork.run_of_the_parent, x).result(40)).partition(":")[0])
process = context.Process(target=parents.close)
process.start()
process.join(40)
print(process.exitcode, parents.run([x])[0].tolist())
""") == [
        "[[[1.0, 4.0], [9.0, 16.0]], [[1.0, 4.0]]]",
        "ForkedSession",
        "[[[1.0, 4.0], [9.0, 16.0]], [[1.0, 4.0]]]",
        "ForkedSession",
        "0 [[1.0, 4.0], [9.0, 16.0]]",
    ]


def test_a_command_that_another_thread_starts_waits_for_nothing(fork):
    # subprocess runs none of Python's hooks, unless it is given a function to run in the child.
    assert fork("""
import subprocess
session = ortx.session("square.onnx", intra_op_num_threads=2)
for prepared in (None, lambda: signal.alarm(30)):
    print(subprocess.run([sys.executable, "-c", "print(7)"], preexec_fn=prepared, capture_output=True).stdout)
session.run([x])
""") == ["b'7\\n'", "b'7\\n'"]


# --- futures that will never be done


def test_nobody_in_the_child_waits_for_a_future_of_the_parent(fork):
    # One is done, one runs, and a thread of the parent's holds the lock of the third at the fork.
    *lines, code = fork("""
from concurrent.futures import FIRST_COMPLETED, as_completed, wait
session = ortx.session("counting.onnx", intra_op_num_threads=1)
options = ortx.run_options()
called = []
done = session.submit([[0.0], 3])
wait([done])
endless, locked = session.submit([[0.0], 2**62], None, options), session.submit([[0.0], 2**62], None, options)
endless.add_done_callback(called.append)
held, release = threading.Event(), threading.Event()
def hold():
    with locked._condition:
        held.set()
        release.wait(60)
threading.Thread(target=hold).start()
held.wait(60)

async def wrapped(future):
    return await asyncio.wrap_future(future)

def child():
    futures = [done, endless, locked]
    finished, pending = wait(futures)
    print(len(finished), len(pending), len(set(as_completed(futures))), len(wait([locked], None, FIRST_COMPLETED)[0]))
    print(done.result()[0].tolist(), asyncio.run(wrapped(done))[0].tolist(), done.exception())
    for future in endless, locked:
        answers = said(lambda: future.result()), said(lambda: asyncio.run(wrapped(future)))
        print(" | ".join(answer.partition(",")[0] for answer in answers))
        print(type(future.exception()).__name__, future.done(), future.running(), future.cancel(), future.cancelled())
    grandchild = in_child(lambda: print(len(wait(futures).done), type(endless.exception(0)).__name__, flush=True))
    print(called, grandchild)
code = in_child(child)
release.set()
options.terminate()
print(wait([endless, locked]).not_done, called == [endless])
print(os.getpid(), code)
""")
    process, code = code.split()
    refused = f"ForkedSession: this run was submitted in process {process}"
    assert lines == [
        "3 0 3 1",
        "[3.0] [3.0] None",
        *[f"{refused} | {refused}", "ForkedSession True False False False"] * 2,
        "3 ForkedSession",
        "[] 7",
        "set() True",
    ]
    assert code == "7"


def test_a_child_fetches_many_items_of_a_sequence_with_a_session_of_its_own(fork):
    split = models.build(
        [helper.make_node("SplitToSequence", ["x"], ["s"], axis=0)],
        [models.tensor("x")],
        [helper.make_tensor_sequence_value_info("s", TensorProto.FLOAT, None)],
    )
    assert fork(f"""
from ortx import modelwriter
made, write = [], modelwriter.concatenation_model
modelwriter.concatenation_model = lambda number: made.append(os.getpid()) or write(number)
rows = np.arange(200, dtype=np.float32).reshape(100, 2)
def fetch():
    with ortx.session_from_bytes({split!r}, intra_op_num_threads=1) as session:
        return np.concatenate(session.run([rows])["s"]).tolist() == rows.tolist()
print(fetch(), fetch(), made == [os.getpid()])
def child():
    print(fetch(), made[1:] == [os.getpid()])
    return 0
print(in_child(child), fetch(), len(made))
""") == ["True True True", "True True", "0 True 1"]
