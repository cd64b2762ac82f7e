"""A short life with ortx, in a process of its own, for programs that watch its memory: valgrind, LeakSanitizer.

Opens sessions, runs them in all ways, makes a few mistakes, closes everything. Prints "done" at the end.
"""

from __future__ import annotations

import asyncio
import gc
import sys

import numpy as np

import ortx
from ortx import modelwriter

FLOAT, STRING = 1, 8


def field(number: int, *content: bytes | int) -> bytes:
    """Write a field of protobuf, so that nothing needs to be imported that valgrind would have to go through."""
    return b"".join(modelwriter.field(number, part) for part in content)


def value(name: bytes, element_type: int, rank: int) -> bytes:
    shape = field(2, field(1, *[field(2, b"n")] * rank))
    return field(1, name) + field(2, field(1, field(1, element_type) + shape))


def model(op_type: bytes, element_type: int, rank: int) -> bytes:
    """Return y = op_type(x)."""
    node = field(1, b"x") + field(2, b"y") + field(4, op_type)
    graph = field(1, node) + field(2, b"g") + field(11, value(b"x", element_type, rank))
    return field(1, 8) + field(7, graph + field(12, value(b"y", element_type, rank))) + field(8, field(2, 17))


def run_in_all_ways(session: ortx.Session) -> None:
    x = np.array([[1, -2], [3, -4]], np.float32)
    y = np.empty_like(x)
    expected = np.maximum(x, 0)
    for inputs in ({"x": x}, [x], {"x": x.tolist()}, {"x": np.asfortranarray(x)}, {"x": ortx.tensor(x)}):
        np.testing.assert_array_equal(session.run(inputs)["y"], expected)
    session.run_into([x], [y])
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(session.submit([x]).result()[0], expected)
    np.testing.assert_array_equal(session.run([x], run_options=ortx.run_options(tag="t"))[0], expected)
    np.testing.assert_array_equal(session.run([x], timeout=60)[0], expected)
    binding = session.create_io_binding()
    binding.bind_input("x", x)
    binding.bind_output("y")
    for _ in range(2):
        np.testing.assert_array_equal(binding.run()["y"], expected)
    binding.bind_output("y", y)
    session.run_with_iobinding(binding)

    async def await_it() -> None:
        outputs = await asyncio.gather(*[session.run_async([x]) for _ in range(3)], binding.run_async())
        np.testing.assert_array_equal(outputs[0][0], expected)

    asyncio.run(await_it())
    capsule = ortx.tensor(x)
    np.testing.assert_array_equal(np.from_dlpack(capsule), x)


def make_mistakes(session: ortx.Session) -> None:
    x = np.ones((1, 2), np.float32)
    mistakes = [
        lambda: session.run({"z": x}),
        lambda: session.run([x.astype(complex)]),
        lambda: session.run([x], ["nothing"]),
        lambda: session.run_into([x], [np.empty((7, 7), np.float32)]),
        lambda: session.create_io_binding().run(),
        lambda: ortx.session_from_bytes(b"no model"),
        lambda: ortx.session_from_bytes(model(b"NoSuchOperator", FLOAT, 2)),
        lambda: ortx.session_from_bytes(model(b"Relu", FLOAT, 2), no_such_option=1),
    ]
    for mistake in mistakes:
        try:
            mistake()
        except ortx.Error:
            continue
        raise AssertionError("a mistake went through")


def main() -> None:
    with ortx.session_from_bytes(model(b"Relu", FLOAT, 2), intra_op_num_threads=1) as session:
        run_in_all_ways(session)
        make_mistakes(session)
        session.metadata(), session.options(), session.input_info(0), repr(session)
    with ortx.session_from_bytes(model(b"Identity", STRING, 1), intra_op_num_threads=1) as session:
        for texts in (["a", "größer als fünfzehn Bytes", "", "x\0y"], np.array(["b", "c"]), np.array([b"d"])):
            assert session.run([texts])[0].shape == (len(texts),)
    with ortx.session_from_bytes(modelwriter.empty_sequence_model(FLOAT), intra_op_num_threads=1) as session:
        assert session.run([])[0] == []
    with ortx.session_from_bytes(modelwriter.concatenation_model(FLOAT), intra_op_num_threads=1) as session:
        assert session.run([[np.ones(2, np.float32)] * 3])[0].shape == (3, 2)
    gc.collect()


main()
sys.stdout.write("done\n")
