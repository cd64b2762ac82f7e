"""What is accepted as an input, what is copied, and what is refused with which words (`_core.src/admit.pxi`)."""

from __future__ import annotations

import array
import decimal

import models
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import ortx

DTYPES = sorted(models.NUMPY_TYPES)


@pytest.fixture(scope="module")
def identities():
    """One session per element type that copies an input of any shape."""
    sessions = {dtype: ortx.session_from_bytes(models.identity(dtype)) for dtype in DTYPES}
    yield sessions
    for session in sessions.values():
        session.close()


def sample(dtype: str) -> np.ndarray:
    return np.array([[0, 1, 0], [1, 1, 0]], dtype)


# --- arrays


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_shared_element_type_goes_in_and_comes_out(identities, dtype):
    x = sample(dtype)
    y = identities[dtype].run([x])[0]
    assert y.dtype == x.dtype
    np.testing.assert_array_equal(y, x)
    into = np.empty_like(x)
    identities[dtype].run_into([x], [into])
    np.testing.assert_array_equal(into, x)


@pytest.mark.parametrize("code", ["l", "q", "i", "L", "Q", "I", "p", "P"])
def test_the_two_c_types_of_one_width_are_the_same_to_us(identities, code):
    x = np.array([1, 2, 3], code)
    dtype = f"{'u' if x.dtype.kind == 'u' else ''}int{8 * x.itemsize}"
    np.testing.assert_array_equal(identities[dtype].run([x])[0], x)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("other", [*DTYPES, "complex64", "U3", "S3", "O", "datetime64[s]", "V4"])
def test_an_array_of_another_element_type_is_refused(identities, dtype, other):
    if other == dtype:
        return
    with pytest.raises(ortx.CallError, match=rf"input 'x': got .* of shape \(2, 3\); expected {dtype} of any shape"):
        identities[dtype].run([np.zeros((2, 3), other)])


@pytest.mark.parametrize("shape", [(), (0,), (1,), (3, 0, 2), (2, 1, 1, 2, 1, 1, 1, 2)])
def test_scalars_empty_arrays_and_eight_dimensions_work(identities, shape):
    x = np.ones(shape, np.float32)
    y = identities["float32"].run([x])[0]
    assert y.shape == shape
    np.testing.assert_array_equal(y, x)
    into = np.zeros(shape, np.float32)
    identities["float32"].run_into([x], [into])
    np.testing.assert_array_equal(into, x)


LAYOUTS = {
    "Fortran": lambda a: np.asfortranarray(a),
    "strided": lambda a: np.repeat(a, 2, axis=1)[:, ::2],
    "negative": lambda a: a[::-1, ::-1].copy()[::-1, ::-1],
    "transposed": lambda a: a.T.copy().T,
    "offset": lambda a: np.concatenate([[[0] * a.shape[1]], a]).astype(a.dtype)[1:],
    "read-only": lambda a: np.frombuffer(a.tobytes(), a.dtype).reshape(a.shape),
    "misaligned": lambda a: np.frombuffer(b"\0" + a.tobytes(), a.dtype, offset=1).reshape(a.shape),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", ["float32", "int64", "uint8", "bool", "float16"])
def test_arrays_of_any_layout_work(identities, layout, dtype):
    x = sample(dtype)
    given = LAYOUTS[layout](x)
    np.testing.assert_array_equal(given, x)
    np.testing.assert_array_equal(identities[dtype].run({"x": given})["y"], x)


def test_a_broadcast_array_works(identities):
    x = np.broadcast_to(np.array([1, 2], np.float32), (4, 2))
    np.testing.assert_array_equal(identities["float32"].run([x])[0], x)


@pytest.mark.parametrize("dtype", [d for d in DTYPES if np.dtype(d).itemsize > 1])
def test_the_other_byte_order_is_refused(identities, dtype):
    x = sample(dtype).astype(np.dtype(dtype).newbyteorder())
    with pytest.raises(ortx.CallError, match=r"-endian .*: convert it to native byte order with array\.astype"):
        identities[dtype].run([x])


def test_rank_and_fixed_dimensions_are_checked():
    with ortx.session_from_bytes(models.square(("batch", 3, None))) as session:
        expected = r"expected float32 of shape \(batch, 3, any\)"
        with pytest.raises(ortx.CallError, match=rf"got float32 of shape \(2, 3\); {expected}: 3 dimensions, not 2"):
            session.run([np.zeros((2, 3), np.float32)])
        with pytest.raises(ortx.CallError, match=rf"{expected}: dimension 1 must be 3, not 4"):
            session.run([np.zeros((2, 4, 9), np.float32)])
        assert session.run([np.ones((2, 3, 9), np.float32)])[0].shape == (2, 3, 9)


def test_a_masked_array_is_refused(identities):
    x = np.ma.masked_array([1.0, 2.0], mask=[0, 1], dtype=np.float32)
    with pytest.raises(ortx.CallError, match=r"masked array; .*\.filled\(\)"):
        identities["float32"].run([x])


def test_other_subclasses_of_ndarray_are_arrays(identities, tmp_path):
    x = np.arange(6, dtype=np.float32)
    x.tofile(tmp_path / "x")
    for value in (np.memmap(tmp_path / "x", np.float32, "r"), x.view(np.recarray)):
        np.testing.assert_array_equal(identities["float32"].run([value])[0], x)


# --- what exports an array


class WithArray:
    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def __array__(self, dtype: object = None, copy: bool | None = None) -> np.ndarray:
        return self.array


class WithDLPack:
    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def __dlpack__(self, **keywords: object) -> object:
        return self.array.__dlpack__(**keywords)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.array.__dlpack_device__()


class WithInterface:
    def __init__(self, array: np.ndarray) -> None:
        self.array = array
        self.__array_interface__ = array.__array_interface__


@pytest.mark.parametrize(
    "export",
    [WithArray, WithDLPack, WithInterface, memoryview, lambda a: array.array("f", a.tolist())],
    ids=["__array__", "__dlpack__", "__array_interface__", "memoryview", "array.array"],
)
def test_exporters_are_accepted(identities, export):
    x = np.arange(6, dtype=np.float32)
    np.testing.assert_array_equal(identities["float32"].run([export(x)])[0], x)


def test_bytes_are_a_buffer_of_uint8(identities):
    for value in (b"abc", bytearray(b"abc"), memoryview(b"abc")):
        assert identities["uint8"].run([value])[0].tolist() == [97, 98, 99]


@pytest.mark.parametrize("export", [WithDLPack, memoryview], ids=["__dlpack__", "memoryview"])
def test_a_writable_exporter_takes_an_output(identities, export):
    x, y = np.arange(6, dtype=np.float32), np.zeros(6, np.float32)
    if export is WithDLPack and np.from_dlpack(WithDLPack(y)).flags.writeable is False:
        pytest.skip("this numpy imports DLPack arrays read-only")
    identities["float32"].run_into([x], [export(y)])
    np.testing.assert_array_equal(y, x)


def test_array_protocol_alone_is_no_output_since_it_may_be_a_copy(identities):
    x = np.arange(6, dtype=np.float32)
    with pytest.raises(ortx.CallError, match="expected a writable array or buffer"):
        identities["float32"].run_into([x], [WithArray(np.zeros(6, np.float32))])


class Broken:
    def __array__(self, dtype: object = None, copy: bool | None = None) -> np.ndarray:
        raise RuntimeError("out of order")


@pytest.mark.parametrize("value", [Broken(), object(), "text", None, decimal.Decimal(1), {1: 2}, {1, 2}, print])
def test_what_is_no_array_is_refused_by_name(identities, value):
    with pytest.raises(ortx.CallError, match="input 'x': got .*; expected float32"):
        identities["float32"].run([value])


# --- lists and scalars


@pytest.mark.parametrize("dtype", DTYPES)
def test_lists_take_the_declared_element_type(identities, dtype):
    value = [[True, False]] if dtype == "bool" else [[1, 0]]
    y = identities[dtype].run([value])[0]
    assert y.dtype == dtype
    assert y.tolist() == value


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        ("float32", 1.5),
        ("float32", 3),
        ("float32", True),
        ("int64", 3),
        ("int64", -(2**63)),
        ("uint64", 2**64 - 1),
        ("uint8", 255),
        ("float64", 0.1),
        ("float32", float("nan")),
        ("float16", float("inf")),
        ("float32", np.float64(0.5)),
        ("int8", np.int64(-128)),
        ("bool", True),
        ("bool", np.True_),
        ("float32", ()),
        ("int32", []),
        ("int32", [[], []]),
        ("float32", [np.float32(1), 2, 3.5]),
        ("float32", [np.arange(2), np.arange(2)]),
    ],
)
def test_a_literal_that_loses_nothing_is_taken(identities, dtype, value):
    y = identities[dtype].run([value])[0]
    assert y.dtype == dtype
    assert y.shape == np.shape(value)
    np.testing.assert_array_equal(y, np.asarray(value, dtype))


@pytest.mark.parametrize(
    ("dtype", "value", "word"),
    [
        ("int64", 1.5, "which holds float64"),
        ("int64", [1, 2.0], "which holds float64"),
        ("uint8", 256, "of which 256 does not fit into uint8"),
        ("uint8", [1, -1], "of which -1 does not fit into uint8"),
        ("int8", [[0, 128]], "of which 128 does not fit into int8"),
        ("int64", 2**64, "which holds"),
        ("int64", 2**63, "does not fit into int64"),
        ("float16", 1e6, "of which 1000000.0 does not fit into float16"),
        ("float32", 1e300, "does not fit into float32"),
        ("bool", 1, "which holds int64"),
        ("float32", 1j, "which holds complex128"),
        ("float32", "1", "which is no array, buffer, list or number"),
        ("float32", ["1"], "which holds <U1"),
        ("float32", [[1, 2], [3]], "which numpy cannot make an array of"),
        ("float32", [None], "which holds object"),
        ("float32", [object()], "which holds object"),
    ],
)
def test_a_literal_that_would_lose_something_is_refused(identities, dtype, value, word):
    with pytest.raises(ortx.CallError) as caught:
        identities[dtype].run([value])
    assert word in str(caught.value)
    assert f"expected {dtype} of any shape" in str(caught.value)


@pytest.mark.parametrize(
    ("shape", "value", "wanted"),
    [
        (("n", 2), [], (0, 2)),
        (("n", 2), (), (0, 2)),
        ((2, "n", 4), [[], []], (2, 0, 4)),
        ((2, 0, 4), [[], []], (2, 0, 4)),
        (("n", 3, 4, 5), [], (0, 3, 4, 5)),
        (("n", "m", 4, 5), [[], [], []], (3, 0, 4, 5)),
        (("n", "m"), [[], [], []], (3, 0)),
        (("n",), [], (0,)),
    ],
    ids=str,
)
@pytest.mark.parametrize("dtype", ["float32", "int64", "bool"])
def test_empty_lists_take_the_declared_dimensions_that_they_cannot_show(dtype, shape, value, wanted):
    with ortx.session_from_bytes(models.identity(dtype, shape)) as session:
        y = session.run([value])[0]
        assert (y.dtype, y.shape) == (dtype, wanted)
        binding = session.create_io_binding()
        binding.bind_input("x", value)
        binding.bind_output("y")
        assert binding.run()["y"].shape == wanted


@pytest.mark.parametrize(
    ("shape", "value", "words"),
    [
        (
            ("n", "m"),
            [],
            "whose empty lists do not say how large dimension 1 is; pass an array, such as numpy.zeros((0, 1)",
        ),
        (
            ("n", 3, "m"),
            [],
            "whose empty lists do not say how large dimension 2 is; pass an array, such as numpy.zeros(",
        ),
        (
            (2, "n", "m", 4),
            [[], []],
            "large dimension 2 is; pass an array, such as numpy.zeros((2, 0, 1, 4), 'float32')",
        ),
        ((2, "n", 4), [], "large dimension 1 is"),
        ((3, "n", 4), [[], []], "dimension 0 must be 3, not 2"),
        (("n", 2), [[]], "dimension 1 must be 2, not 0"),
        (("n",), [[]], "1 dimension, not 2"),
        (("n", 2, 3, 4), [np.zeros((0, 2), np.float32)], "4 dimensions, not 3"),
    ],
    ids=str,
)
def test_empty_lists_of_an_unknown_shape_are_refused(shape, value, words):
    with ortx.session_from_bytes(models.identity("float32", shape)) as session:
        with pytest.raises(ortx.CallError) as caught:
            session.run([value])
        assert words in str(caught.value)
        assert "expected float32 of shape (" in str(caught.value)
        zeros = np.zeros([size if isinstance(size, int) else 0 for size in shape], np.float32)
        assert session.run([zeros])[0].shape == zeros.shape


# --- any array at all


@given(st.data())
def test_any_array_round_trips_or_is_refused(identities, data):
    dtype = data.draw(st.sampled_from(DTYPES))
    shape = data.draw(hnp.array_shapes(min_dims=0, max_dims=8, min_side=0, max_side=3))
    x = data.draw(hnp.arrays(dtype, shape))
    for axis in range(x.ndim):
        step = data.draw(st.sampled_from([1, -1, 2]))
        x = np.moveaxis(np.moveaxis(x, axis, 0)[::step], 0, axis)
    if x.ndim:
        x = x.transpose(data.draw(st.permutations(range(x.ndim))))
    if data.draw(st.booleans()):
        x = x.astype(x.dtype.newbyteorder())
    if x.dtype.isnative:
        y = identities[dtype].run([x])[0]
        assert y.shape == x.shape
        np.testing.assert_array_equal(y, x)
    else:
        with pytest.raises(ortx.CallError, match="-endian"):
            identities[dtype].run([x])
