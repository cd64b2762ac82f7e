"""Every way of running a model, over and over: what `benchmarks.leaks` looks at."""

from __future__ import annotations

import asyncio
import copy
import pickle
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from typing import Any

import ml_dtypes
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import ortx

from . import containers
from .models import IR_VERSION, OPSET

FLOAT = TensorProto.FLOAT
X = np.arange(1, 7, dtype=np.float32).reshape(3, 2)
AT_ONCE = 64  # runs that are submitted or awaited together

Run = Callable[[], object]
Way = Callable[[ExitStack], Run]

WAYS: dict[str, Way] = {}  # by what it is called in the tables
PER_STEP: dict[str, int] = {}  # how many runs one step of a way is
FRACTION: dict[str, int] = {}  # of what is no run, and takes long: one for so many runs of the others


def way(title: str, runs: int = 1, fraction: int = 1) -> Callable[[Way], Way]:
    """Enter a way: a function that makes ready and returns one step, whose things live until the stack is closed."""

    def enter(function: Way) -> Way:
        WAYS[title], PER_STEP[title], FRACTION[title] = function, runs, fraction
        return function

    return enter


# --- models ---


def tensor(name: str, element_type: int = FLOAT, shape: Any = (None, 2)) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, element_type, shape)


def build(nodes: list[Any], inputs: list[Any], outputs: list[Any], initializers: Any = ()) -> bytes:
    graph = helper.make_graph(nodes, "graph", inputs, outputs, list(initializers))
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", 1)]
    serialized: bytes = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION).SerializeToString()
    return serialized


def square(shape: Any = (None, 2)) -> bytes:
    return build([helper.make_node("Mul", ["x", "x"], ["y"])], [tensor("x", shape=shape)], [tensor("y", shape=shape)])


def identity(element_type: int, shape: Any = None) -> bytes:
    values = [tensor("x", element_type, shape)], [tensor("y", element_type, shape)]
    return build([helper.make_node("Identity", ["x"], ["y"])], *values)


def identity_of_optional() -> bytes:
    of_tensor = helper.make_optional_type_proto(helper.make_tensor_type_proto(FLOAT, [2]))
    branches = [
        helper.make_graph([node], name, [], [helper.make_tensor_value_info("out", FLOAT, [2])], initializers)
        for name, node, initializers in (
            ("has", helper.make_node("OptionalGetElement", ["x"], ["out"]), []),
            ("has not", helper.make_node("Identity", ["zeros"], ["out"]), [numpy_helper.from_array(X[0] * 0, "zeros")]),
        )
    ]
    nodes = [
        helper.make_node("OptionalHasElement", ["x"], ["has"]),
        helper.make_node("If", ["has"], ["y"], then_branch=branches[0], else_branch=branches[1]),
    ]
    return build(nodes, [helper.make_value_info("x", of_tensor)], [tensor("y", shape=[2])])


def failing() -> bytes:
    shape = numpy_helper.from_array(np.array([3, 5]), "shape")
    node = helper.make_node("Reshape", ["x", "shape"], ["y"])
    return build([node], [tensor("x", shape=[None])], [tensor("y", shape=[3, 5])], [shape])


def long() -> bytes:
    """Return a chain of operators, which a timeout ends between two of them."""
    nodes = [helper.make_node("MatMul", [f"t{i}" if i else "x", "x"], [f"t{i + 1}"]) for i in range(400)]
    nodes[-1].output[0] = "y"
    return build(nodes, [tensor("x", shape=[128, 128])], [tensor("y", shape=[128, 128])])


def sparse_product() -> bytes:
    """Return y = a @ x, with a sparse a."""
    a = helper.make_sparse_tensor_value_info("a", FLOAT, [3, 3])
    node = helper.make_node("SparseToDenseMatMul", ["a", "x"], ["y"], domain="com.microsoft")
    graph = helper.make_graph([node], "graph", [a, tensor("x", shape=[3, 2])], [tensor("y", shape=[3, 2])])
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("com.microsoft", 1)]
    serialized: bytes = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION).SerializeToString()
    return serialized


def opened(stack: ExitStack, model: bytes, **options: Any) -> ortx.Session:
    settings = {"intra_op_num_threads": 1, "inter_op_num_threads": 1, "session_log_severity_level": 4}
    return stack.enter_context(ortx.session_from_bytes(model, settings | options))


# --- calls that wait ---


@way("`run`, of a dict")
def run_dict(stack: ExitStack) -> Run:
    session = opened(stack, square())
    inputs = {"x": X}
    return lambda: session.run(inputs)


@way("`run`, into arrays that ortx makes")
def run_fixed(stack: ExitStack) -> Run:
    session = opened(stack, square(X.shape))
    inputs = {"x": X}
    return lambda: session.run(inputs)


@way("`run`, of a list, by name, with options")
def run_list(stack: ExitStack) -> Run:
    session = opened(stack, square())
    inputs, names, options = [X], ["y"], ortx.run_options(tag="run")
    return lambda: session.run(inputs, names, options)


@way("`run`, without an arena")
def run_without_arena(stack: ExitStack) -> Run:
    session = opened(stack, square(), enable_cpu_mem_arena=False)
    return lambda: session.run([X])


@way("`run`, and the arena shrinks")
def run_and_shrink(stack: ExitStack) -> Run:
    session = opened(stack, square())
    options = ortx.run_options(shrink_memory_arena=True)
    return lambda: session.run([X], run_options=options)


@way("`run`, of an array that is copied")
def run_converted(stack: ExitStack) -> Run:
    session = opened(stack, square())
    columns = np.asfortranarray(X)
    return lambda: session.run([columns])


@way("`run`, of nested lists")
def run_lists(stack: ExitStack) -> Run:
    session = opened(stack, square())
    rows = X.tolist()
    return lambda: session.run([rows])


@way("`run`, of shapes that change")
def run_shapes(stack: ExitStack) -> Run:
    session = opened(stack, square())
    arrays = iterate([np.ones((rows, 2), np.float32) for rows in (1, 50, 2, 1000, 3)])
    return lambda: session.run([next(arrays)])


@way("`run_into`")
def run_into(stack: ExitStack) -> Run:
    session = opened(stack, square())
    y = np.empty_like(X)
    inputs, outputs = {"x": X}, {"y": y}
    return lambda: session.run_into(inputs, outputs)


@way("`run_with_iobinding`, ONNX Runtime allocates")
def run_binding(stack: ExitStack) -> Run:
    session = opened(stack, square())
    binding = bound(session, None)
    return lambda: session.run_with_iobinding(binding)


@way("`binding.run`, into a buffer")
def binding_run(stack: ExitStack) -> Run:
    return bound(opened(stack, square()), np.empty_like(X)).run


@way("a binding, made for one run")
def new_binding(stack: ExitStack) -> Run:
    session = opened(stack, square())
    return lambda: bound(session, None).run()


@way("`run`, with a `timeout` that does not come")
def run_timeout(stack: ExitStack) -> Run:
    session = opened(stack, square())
    return lambda: session.run([X], timeout=60)


@way("`run_into`, with a `timeout` that does not come")
def run_into_timeout(stack: ExitStack) -> Run:
    session, y = opened(stack, square()), np.empty_like(X)
    return lambda: session.run_into([X], [y], timeout=60)


@way("`binding.run`, with a `timeout` that does not come")
def binding_timeout(stack: ExitStack) -> Run:
    binding = bound(opened(stack, square()), np.empty_like(X))
    return lambda: binding.run(timeout=60)


# --- other values ---


@way("`run`, of strings")
def run_strings(stack: ExitStack) -> Run:
    session = opened(stack, identity(TensorProto.STRING, [4]))
    inputs = [np.array(["short", "größer", "x" * 100, ""], object)]
    return lambda: session.run(inputs)


@way("`run_into`, of strings")
def run_into_strings(stack: ExitStack) -> Run:
    session = opened(stack, identity(TensorProto.STRING, [4]))
    inputs, y = [["short", "größer", "x" * 100, ""]], np.empty(4, object)
    return lambda: session.run_into(inputs, [y])


@way("`run`, of bfloat16")
def run_bfloat16(stack: ExitStack) -> Run:
    session = opened(stack, identity(TensorProto.BFLOAT16))
    x = X.astype(ml_dtypes.bfloat16)
    return lambda: session.run([x])


@way("`run`, of a sequence")
def run_sequence(stack: ExitStack) -> Run:
    model = containers.sequence(8)
    session = opened(stack, model.proto.SerializeToString())
    return lambda: session.run(model.inputs)


@way("`run`, of an empty sequence", fraction=20)
def run_empty_sequence(stack: ExitStack) -> Run:
    session = opened(stack, containers.sequence(8).proto.SerializeToString())
    return lambda: session.run([[]])


@way("`run`, dictionaries that ortx makes (`fast_zip_map`)")
def run_zip_map(stack: ExitStack) -> Run:
    model = containers.zip_map(4)
    session = opened(stack, model.proto.SerializeToString())
    return lambda: session.run(model.inputs)


@way("`run`, dictionaries that ONNX Runtime makes")
def run_maps(stack: ExitStack) -> Run:
    model = containers.zip_map(4)
    session = opened(stack, model.proto.SerializeToString(), fast_zip_map=False)
    return lambda: session.run(model.inputs)


@way("`run`, of a sparse tensor")
def run_sparse(stack: ExitStack) -> Run:
    session = opened(stack, sparse_product())
    a = ortx.sparse_tensor(np.array([2, 3], np.float32), [[0, 1], [2, 2]], (3, 3))
    return lambda: session.run([a, X])


@way("`run`, of an optional with and without a value", 2)
def run_optional(stack: ExitStack) -> Run:
    session = opened(stack, identity_of_optional())
    return lambda: (session.run({"x": X[0]}), session.run({"x": ortx.optional(None)}))


@way("`run`, of a tensor lent by DLPack")
def run_dlpack(stack: ExitStack) -> Run:
    class Lent:
        """What a framework's tensor offers."""

        def __dlpack__(self, **keywords: Any) -> object:
            return X.__dlpack__(**keywords)

        def __dlpack_device__(self) -> object:
            return X.__dlpack_device__()

    session, lent = opened(stack, square()), Lent()
    return lambda: np.from_dlpack(ortx.tensor(session.run([lent])[0]))


# --- calls that fail ---


@way("a call that is refused")
def refused(stack: ExitStack) -> Run:
    session = opened(stack, square())
    return lambda: fails(ortx.CallError, lambda: session.run({"x": [["no number"]]}))


@way("a kernel that fails")
def kernel_fails(stack: ExitStack) -> Run:
    session = opened(stack, failing())
    return lambda: fails(ortx.Error, lambda: session.run([X[0]]))


@way("a run that is terminated")
def terminated(stack: ExitStack) -> Run:
    session, options = opened(stack, square()), ortx.run_options()
    options.terminate()
    return lambda: fails(ortx.RunCancelled, lambda: session.run([X], run_options=options))


@way("a run that its `timeout` ends")
def timed_out(stack: ExitStack) -> Run:
    session, x = opened(stack, long()), np.eye(128, dtype=np.float32)

    def run() -> None:
        with suppress(ortx.RunTimeout):  # on a machine that is busy a run may be over before the system lets it end
            session.run([x], timeout=1e-5)

    return run


# --- calls that go on meanwhile ---


@way("`submit`", AT_ONCE)
def submit(stack: ExitStack) -> Run:
    session = opened(stack, square())
    return lambda: [future.result() for future in [session.submit([X]) for _ in range(AT_ONCE)]]


@way("`submit`, of what fails", AT_ONCE)
def submit_failing(stack: ExitStack) -> Run:
    session = opened(stack, failing())
    return lambda: [future.exception() for future in [session.submit([X[0]]) for _ in range(AT_ONCE)]]


@way("`await run_async`", AT_ONCE)
def run_async(stack: ExitStack) -> Run:
    session = opened(stack, square())
    return together(stack, lambda: session.run_async([X]))


@way("`await run_async`, with a `timeout`", AT_ONCE)
def run_async_timeout(stack: ExitStack) -> Run:
    session = opened(stack, square())
    return together(stack, lambda: session.run_async([X], timeout=60))


@way("`await binding.run_async`")
def binding_run_async(stack: ExitStack) -> Run:
    binding = bound(opened(stack, square()), None)
    return together(stack, lambda: binding.run_async(), 1)


@way("a task that is cancelled", 8)
def cancelled(stack: ExitStack) -> Run:
    session, x = opened(stack, long()), np.eye(128, dtype=np.float32)

    async def cancel() -> None:
        task = asyncio.ensure_future(session.run_async([x]))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    return together(stack, cancel, 8)


@way("`batcher.run_blocking`")
def batcher_blocking(stack: ExitStack) -> Run:
    batcher = stack.enter_context(ortx.Batcher(opened(stack, square()), max_delay=0))
    return lambda: batcher.run_blocking([X])


@way("`await batcher.run`", AT_ONCE)
def batcher_run(stack: ExitStack) -> Run:
    batcher = stack.enter_context(ortx.Batcher(opened(stack, square()), max_delay=0))
    return together(stack, lambda: batcher.run([X]))


@way("`pool.run`")
def pool_run(stack: ExitStack) -> Run:
    pool = stack.enter_context(ortx.SessionPool(square(), 2, intra_op_num_threads=1))
    return lambda: pool.run([X])


@way("`pool.run_into`")
def pool_run_into(stack: ExitStack) -> Run:
    pool = stack.enter_context(ortx.SessionPool(square(), 2, intra_op_num_threads=1))
    y = np.empty_like(X)
    return lambda: pool.run_into([X], [y])


@way("`await pool.run_async`", AT_ONCE)
def pool_run_async(stack: ExitStack) -> Run:
    pool = stack.enter_context(ortx.SessionPool(square(), 2, intra_op_num_threads=1))
    return together(stack, lambda: pool.run_async([X]))


@way("`pool.submit`", AT_ONCE)
def pool_submit(stack: ExitStack) -> Run:
    pool = stack.enter_context(ortx.SessionPool(square(), 2, intra_op_num_threads=1))
    return lambda: [future.result() for future in [pool.submit([X]) for _ in range(AT_ONCE)]]


# --- no run, but as often ---


@way("looking at a session")
def look(stack: ExitStack) -> Run:
    session = opened(stack, square())

    def looks() -> object:
        stats = session.allocator_stats() if ortx.load_library().api_version >= 23 else None
        return session.metadata(), session.options(), stats

    return looks


@way("a session, opened, run and closed", fraction=20)
def open_run_close(stack: ExitStack) -> Run:
    model = square()

    def cycle() -> None:
        with ExitStack() as inner:
            opened(inner, model).run([X])

    return cycle


@way("a session that cannot be opened", fraction=20)
def open_garbage(stack: ExitStack) -> Run:
    model = square()[:-1]
    return lambda: fails(ortx.Error, lambda: opened(stack, model))


@way("a session, copied and run", fraction=20)
def copied(stack: ExitStack) -> Run:
    session = opened(stack, square(), keep_model=True)

    def cycle() -> None:
        with copy.copy(session) as again:
            again.run([X])

    return cycle


@way("a session, pickled and run", fraction=20)
def pickled(stack: ExitStack) -> Run:
    session = opened(stack, square(), keep_model=True)

    def cycle() -> None:
        with pickle.loads(pickle.dumps(session)) as again:
            again.run([X])

    return cycle


@way("a pool and a batcher, made, used and closed", 2, fraction=100)
def pool_and_batcher(stack: ExitStack) -> Run:
    model, session = square(), opened(stack, square())

    def cycle() -> None:
        with ortx.SessionPool(model, 2, intra_op_num_threads=1) as pool:
            pool.run([X])
        with ortx.Batcher(session, max_delay=0) as batcher:
            batcher.run_blocking([X])

    return cycle


# --- helpers ---


def bound(session: ortx.Session, y: np.ndarray | None) -> ortx.IOBinding:
    binding = session.create_io_binding()
    binding.bind_input("x", X)
    binding.bind_output("y", y)
    return binding


def fails(error: type[Exception], call: Run) -> None:
    """Call what has to fail."""
    try:
        call()
    except error:
        return
    raise AssertionError(f"a call did not raise {error.__name__}")


def iterate(values: list[Any]) -> Iterator[Any]:
    while True:
        yield from values


def together(stack: ExitStack, call: Callable[[], Any], count: int = AT_ONCE) -> Run:
    """Await so many calls at once, on one event loop."""
    loop = asyncio.new_event_loop()
    stack.callback(loop.close)

    async def gather() -> None:
        await asyncio.gather(*[call() for _ in range(count)])

    return lambda: loop.run_until_complete(gather())
