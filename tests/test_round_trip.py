"""Any array of any element type, shape and layout comes back as it went in, or is refused as documented."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from onnx import helper

import ortx

TAKEN_AS_THEY_ARE = {  # name: TensorProto's number
    "float32": 1,
    "uint8": 2,
    "int8": 3,
    "uint16": 4,
    "int16": 5,
    "int32": 6,
    "int64": 7,
    "bool": 9,
    "float16": 10,
    "float64": 11,
    "uint32": 12,
    "uint64": 13,
    "bfloat16": 16,
    "float8_e4m3fn": 17,
    "float8_e4m3fnuz": 18,
    "float8_e5m2": 19,
    "float8_e5m2fnuz": 20,
}
PACKED = {"uint4": 21, "int4": 22, "uint2": 25, "int2": 26}
COPIED = PACKED | {"string": 8}  # whose elements ONNX Runtime has in another form
NUMBERS = TAKEN_AS_THEY_ARE | COPIED


def copying(word: str) -> bytes:
    """y = x, by Identity, or by Cast where ONNX Runtime has no Identity of a type"""
    nodes = [helper.make_node("Identity", ["x"], ["y"])]
    if word in PACKED:
        nodes = [helper.make_node("Cast", ["x"], ["z"], to=3), helper.make_node("Cast", ["z"], ["y"], to=NUMBERS[word])]
    x, y = (helper.make_tensor_value_info(name, NUMBERS[word], None) for name in "xy")
    graph = helper.make_graph(nodes, "graph", [x], [y])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 25)], ir_version=13).SerializeToString()


@pytest.fixture(scope="module")
def sessions():
    """One session per element type that copies an input of any shape."""
    sessions = {word: ortx.session_from_bytes(copying(word), intra_op_num_threads=2) for word in NUMBERS}
    yield sessions
    for session in sessions.values():
        session.close()


# --- arrays of every type, shape and layout


def dtype_of(word: str) -> np.dtype:
    return np.dtype(object if word == "string" else getattr(ml_dtypes, word, word))


@st.composite
def contiguous_arrays(draw, word: str) -> np.ndarray:
    """Arrays of any bits that the type may have."""
    shape = draw(hnp.array_shapes(min_dims=0, max_dims=8, min_side=0, max_side=3))
    if word == "string":
        return draw(hnp.arrays(object, shape, elements=st.text(max_size=5)))
    dtype = dtype_of(word)
    bits = {"bool": 1, "uint4": 4, "int4": 4, "uint2": 2, "int2": 2}.get(word, 8 * dtype.itemsize)
    unsigned = f"uint{8 * dtype.itemsize}"
    return draw(hnp.arrays(unsigned, shape, elements=st.integers(0, 2**bits - 1))).view(dtype)


def in_larger_memory(x: np.ndarray, step: int) -> np.ndarray:
    """Put an array into memory of which it takes every first, second, ... element, from the second one on."""
    memory = np.zeros([1 + step * length for length in x.shape], x.dtype)
    view = memory[(slice(1, None, step),) * x.ndim] if x.ndim else memory
    view[...] = x
    return view


def misaligned(x: np.ndarray) -> np.ndarray:
    if x.dtype == object:
        return x  # numpy makes no such arrays of objects
    made = np.ndarray(x.shape, x.dtype, bytearray(x.nbytes + 1), offset=1)
    made[...] = x
    return made


def read_only(x: np.ndarray) -> np.ndarray:
    made = x.view()
    made.flags.writeable = False
    return made


LAYOUTS = {
    "C": np.array,
    "Fortran": lambda x: np.array(x, order="F"),
    "transposed": lambda x: x.T,
    "strided": lambda x: in_larger_memory(x, 2),
    "negative": lambda x: np.flip(np.flip(x).copy()) if x.ndim else x,
    "broadcast": lambda x: np.broadcast_to(x[:1], x.shape) if x.ndim else x,
    "broadcast inside": lambda x: np.broadcast_to(x[..., :1], x.shape) if x.ndim else x,
    "offset": lambda x: np.concatenate([x[:1], x])[1:] if x.ndim and len(x) else x,
    "inner part": lambda x: in_larger_memory(x, 1),
    "byte-swapped": lambda x: x.astype(x.dtype.newbyteorder()),
    "misaligned": misaligned,
    "read-only": read_only,
    "more dimensions": lambda x: x[None] if x.ndim < 8 else x,
}
layouts = st.lists(st.sampled_from(sorted(LAYOUTS)), max_size=3)


def laid_out(x: np.ndarray, names: list[str]) -> np.ndarray:
    for name in names:
        x = LAYOUTS[name](x)
    return x


def is_plain(x: np.ndarray) -> bool:
    return x.flags.c_contiguous and x.flags.aligned


def assert_same(got: np.ndarray, wanted: np.ndarray) -> None:
    assert isinstance(got, np.ndarray)
    assert got.dtype.isnative
    assert (got.dtype, got.shape) == (wanted.dtype, wanted.shape)
    if wanted.dtype == object:
        assert got.tolist() == wanted.tolist()
    else:
        assert got.tobytes() == wanted.tobytes()


class Unchanged:
    """Asserts that an array looks the same afterwards, whatever happened."""

    def __init__(self, *arrays: np.ndarray) -> None:
        self.arrays = arrays

    def state(self) -> list[object]:
        return [
            (x.dtype, x.shape, x.strides, str(x.flags), x.tolist() if x.dtype == object else x.tobytes())
            for x in self.arrays
        ]

    def __enter__(self) -> None:
        self.before = self.state()

    def __exit__(self, *exception: object) -> None:
        assert self.state() == self.before


def bind(session, x, spec=None):
    binding = session.create_io_binding()
    binding.bind_input("x", x)
    binding.bind_output("y", spec)
    return binding.run()["y"]


def check_input(session: ortx.Session, word: str, x: np.ndarray) -> None:
    """Give x to a session in every way."""
    wanted = np.array(x.astype(x.dtype.newbyteorder("=")), order="C")
    into = np.zeros(x.shape, dtype_of(word))
    if not x.dtype.isnative:
        for call in (
            lambda: session.run([x]),
            lambda: session.run_into([x], [into]),
            lambda: session.submit([x]),
            lambda: bind(session, x),
        ):
            with Unchanged(x, into), pytest.raises(ortx.CallError, match=f"input 'x': got (big|little)-endian {word} "):
                call()
        with pytest.raises(ortx.InvalidArgument, match=f"tensor: got (big|little)-endian {word} "):
            ortx.tensor(x)
        return
    with Unchanged(x):
        y = session.run([x])[0]
        assert_same(y, wanted)
        assert y.flags.c_contiguous
        assert y.flags.aligned
        assert y.flags.writeable
        assert not np.shares_memory(y, x)
        assert session.run_into([x], [into])["y"] is into
        assert_same(into, wanted)
        tensor = ortx.tensor(x)
        assert_same(tensor.numpy(), wanted)
        if is_plain(x):
            assert np.shares_memory(tensor.numpy(), x) == (x.size > 0)
        assert_same(session.run([tensor])[0], wanted)
        if is_plain(x) or word in COPIED:
            assert_same(bind(session, x), wanted)
        else:
            with pytest.raises(ortx.CallError, match="input 'x': got an array that is not C-contiguous and aligned"):
                bind(session, x)


def check_output(session: ortx.Session, word: str, x: np.ndarray, y: np.ndarray) -> None:
    """Give y to a session in every way, to write x into."""
    if not y.dtype.isnative:
        words = f"got (big|little)-endian {word} of shape"
    elif not y.flags.writeable:
        words = "got a read-only array; expected a writable one"
    elif not is_plain(y):
        words = "got an array that is not C-contiguous and aligned; expected one"
    else:
        for run in (lambda: session.run_into([x], {"y": y})["y"], lambda: bind(session, x, y)):
            y[...] = np.zeros(y.shape, y.dtype)
            assert run() is y
            assert_same(y, x)
        return
    with Unchanged(x, y), pytest.raises(ortx.CallError, match=f"output 'y': {words}"):
        session.run_into([x], [y])
    with Unchanged(x, y), pytest.raises(ortx.CallError, match=f"output 'y': {words}"):
        bind(session, x, y)


@settings(max_examples=400)
@given(st.data())
def test_any_array_goes_in_and_comes_back_bit_by_bit(sessions, data):
    word = data.draw(st.sampled_from(sorted(NUMBERS)))
    check_input(sessions[word], word, laid_out(data.draw(contiguous_arrays(word)), data.draw(layouts)))


@settings(max_examples=250)
@given(st.data())
def test_any_buffer_is_written_into_or_refused(sessions, data):
    word = data.draw(st.sampled_from(sorted(NUMBERS)))
    y = laid_out(data.draw(contiguous_arrays(word)), data.draw(layouts))
    x = np.array(y.astype(y.dtype.newbyteorder("=")), order="C")
    check_output(sessions[word], word, x, y)


@pytest.mark.parametrize("shape", [(), (1,), (4, 3), (2, 0, 3), (2, 3, 1, 2, 1, 1, 1, 2)], ids=str)
@pytest.mark.parametrize("word", NUMBERS)
def test_each_layout_goes_in_or_is_refused(sessions, word, shape):
    dtype = dtype_of(word)
    bits = np.asarray(np.random.default_rng(0).integers(1, 2 if word == "bool" else 255, shape, "uint8"))
    x = bits.astype("U3").astype(object) if word == "string" else bits.astype(dtype)
    for layout in LAYOUTS:
        given = laid_out(x, [layout])
        check_input(sessions[word], word, given)
        check_output(sessions[word], word, np.array(given.astype(given.dtype.newbyteorder("=")), order="C"), given)


def test_the_layouts_are_what_they_are_called():
    x = np.arange(24, dtype=np.int32).reshape(2, 3, 4)
    made = {name: layout(x) for name, layout in LAYOUTS.items()}
    for name in ("C", "Fortran", "strided", "negative", "offset", "inner part", "misaligned", "read-only"):
        np.testing.assert_array_equal(made[name], x)
    not_plain = {name for name, array in made.items() if not is_plain(array)}
    assert not_plain == {
        "Fortran",
        "transposed",
        "strided",
        "negative",
        "broadcast",
        "broadcast inside",
        "inner part",
        "misaligned",
    }
    assert made["Fortran"].flags.f_contiguous
    assert made["strided"].strides[-1] == 2 * x.itemsize
    assert max(made["negative"].strides) < 0
    assert 0 in made["broadcast"].strides
    assert not made["misaligned"].flags.aligned
    assert not made["read-only"].flags.writeable
    assert not made["byte-swapped"].dtype.isnative
