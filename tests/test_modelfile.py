"""What ortx itself reads of an ``.onnx`` file (`ortx/modelfile.py`), against the package `onnx`."""

from __future__ import annotations

import contextlib
import random
import signal
from pathlib import Path

import models
import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy
from onnx import TensorProto, helper, numpy_helper

import ortx
from ortx import modelfile

# In which field of its own `onnx` writes the elements, if not as raw data.
FIELDS = {
    "float32": "float_data",
    "float64": "double_data",
    "int8": "int32_data",
    "uint8": "int32_data",
    "int16": "int32_data",
    "uint16": "int32_data",
    "int32": "int32_data",
    "bool": "int32_data",
    "float16": "int32_data",
    "int64": "int64_data",
    "uint32": "uint64_data",
    "uint64": "uint64_data",
}
EACH_DTYPE = pytest.mark.parametrize("dtype", FIELDS)
ARRAYS = st.sampled_from(sorted(FIELDS)).flatmap(
    lambda dtype: st_numpy.arrays(dtype, st_numpy.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))
)


def extremes(dtype: str) -> np.ndarray:
    """Return the numbers of a type that are easiest to get wrong."""
    if dtype == "bool":
        return np.array([True, False])
    if dtype.startswith("float"):
        limits = np.finfo(dtype)
        values = [0.0, -0.0, 1.5, np.inf, -np.inf, np.nan, limits.max, limits.min, limits.tiny, limits.eps]
        return np.array(values, dtype)
    limits = np.iinfo(dtype)
    return np.array([0, 1, limits.max, limits.min, limits.max - 1, limits.min + 1, 100], dtype)


def stored_as_raw(array: np.ndarray, name: str = "w") -> TensorProto:
    return numpy_helper.from_array(array, name)


def stored_in_its_field(array: np.ndarray, name: str = "w") -> TensorProto:
    return helper.make_tensor(name, models.NUMPY_TYPES[array.dtype.name], array.shape, array.reshape(-1))


def model_with(*tensors: TensorProto) -> bytes:
    return models.build([], [], [], tensors)


def read(model: bytes) -> dict[str, modelfile.Weights]:
    return modelfile.weights(memoryview(model))


def array_of(weights: modelfile.Weights) -> np.ndarray:
    """Make an array of what was read, without looking at the model."""
    (dtype,) = (name for name, number in models.NUMPY_TYPES.items() if number == weights.data_type)
    return np.frombuffer(weights.data, dtype).reshape(weights.shape)


def assert_read_as(weights: modelfile.Weights, expected: np.ndarray) -> None:
    assert weights.shape == expected.shape
    assert all(type(size) is int for size in weights.shape)
    found = array_of(weights)
    assert found.dtype == expected.dtype
    assert found.tobytes() == expected.tobytes()


# --- where the elements of an initializer stand


@EACH_DTYPE
def test_elements_in_the_field_of_their_type_are_read(dtype):
    tensor = stored_in_its_field(extremes(dtype))
    assert not tensor.raw_data
    assert len(getattr(tensor, FIELDS[dtype])) == len(extremes(dtype))
    weights = read(model_with(tensor))["w"]
    assert weights.data_type == tensor.data_type
    assert_read_as(weights, numpy_helper.to_array(tensor))
    assert_read_as(weights, extremes(dtype))


@EACH_DTYPE
def test_elements_as_raw_data_are_read(dtype):
    tensor = stored_as_raw(extremes(dtype))
    assert tensor.raw_data
    weights = read(model_with(tensor))["w"]
    assert weights.data_type == tensor.data_type
    assert_read_as(weights, extremes(dtype))


def test_raw_data_is_looked_at_where_it_is():
    model = bytearray(model_with(stored_as_raw(np.full(50, 3, np.uint8))))
    weights = read(model)["w"]
    at = model.index(bytes([3] * 50))
    model[at] = 7
    assert array_of(weights)[0] == 7


@settings(max_examples=200)
@given(array=ARRAYS)
@pytest.mark.parametrize("stored", [stored_as_raw, stored_in_its_field])
def test_any_array_is_read_as_onnx_reads_it(stored, array):
    tensor = stored(array)
    weights = read(model_with(tensor))["w"]
    expected = numpy_helper.to_array(tensor)
    assert_read_as(weights, expected)
    assert weights.differs_from(expected, "") is False


@settings(max_examples=100)
@given(array=ARRAYS.filter(np.size), data=st.data())
def test_an_array_differs_if_one_byte_of_it_does(array, data):
    weights = read(model_with(stored_as_raw(array)))["w"]
    other = bytearray(array.tobytes())
    other[data.draw(st.integers(0, len(other) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    assert weights.differs_from(np.frombuffer(bytes(other), array.dtype).reshape(array.shape), "") is True
    assert weights.differs_from(array, "") is False


@pytest.mark.parametrize("at", [0, (1 << 20) - 1, 1 << 20, (1 << 21) + 4], ids=hex)
def test_a_difference_is_found_wherever_it_is(at):
    array = np.zeros((1 << 21) + 5, np.uint8)
    weights = modelfile.Weights(TensorProto.UINT8, array.shape, memoryview(array.tobytes()), {})
    assert weights.differs_from(array, "") is False
    array[at] = 1
    assert weights.differs_from(array, "") is True


@pytest.mark.parametrize("size", [0, 7, 9])
def test_another_number_of_bytes_differs(size):
    weights = modelfile.Weights(TensorProto.FLOAT, (2,), memoryview(bytes(size)), {})
    assert weights.differs_from(np.zeros(2, np.float32), "") is True


def test_all_initializers_of_a_model_are_read_by_name():
    arrays = {
        "": np.float32(1.0).reshape(()),
        "w": np.arange(6, dtype=np.int8).reshape(1, 2, 3),
        "größe/模型:0": np.zeros((2, 0, 3), np.float64),
        "with space": np.array([1, -1], np.int64),
        "n" * 300: np.array([True]),
    }
    tensors = [
        (stored_as_raw, stored_in_its_field)[i % 2](array, name) for i, (name, array) in enumerate(arrays.items())
    ]
    found = read(model_with(*tensors))
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        assert_read_as(found[name], array)


@pytest.mark.parametrize(
    "model",
    [models.square(), models.sum_and_difference(), b"", model_with()],
    ids=["square", "two nodes", "nothing", "empty"],
)
def test_a_model_without_initializers_has_none(model):
    assert read(model) == {}


def test_an_initializer_of_a_type_without_a_word_in_numpy_is_read_with_its_type_and_shape():
    strings = helper.make_tensor("strings", TensorProto.STRING, [2], [b"a", b"b"])
    halves = helper.make_tensor("halves", TensorProto.BFLOAT16, [1, 2], [1.0, 2.0])
    found = read(model_with(strings, halves))
    assert [(weights.data_type, weights.shape) for weights in found.values()] == [(8, (2,)), (16, (1, 2))]


def test_only_the_initializers_of_the_main_graph_are_taken():
    branches = {
        f"{name}_branch": helper.make_graph(
            [helper.make_node("Identity", [name], [f"{name}_y"])],
            name,
            [],
            [models.tensor(f"{name}_y", shape=(1,))],
            [models.constant(name, [1.0])],
        )
        for name in ("then", "else")
    }
    model = models.build(
        [helper.make_node("If", ["c"], ["y"], **branches)],
        [models.tensor("c", "bool", ())],
        [models.tensor("y", shape=(1,))],
        [models.constant("outer", [2.0])],
    )
    onnx.checker.check_model(onnx.load_model_from_string(model))
    assert list(read(model)) == ["outer"]


def test_a_sparse_initializer_is_none_that_could_be_shared():
    sparse = helper.make_sparse_tensor(stored_as_raw(np.float32([1, 2]), "sparse"), models.constant("i", [0, 3]), [5])
    proto = onnx.load_model_from_string(model_with(models.constant("dense", [1.0])))
    proto.graph.sparse_initializer.append(sparse)
    assert list(read(proto.SerializeToString())) == ["dense"]


# --- elements in another file


def stored_outside(array: np.ndarray, name: str = "w", **location: object) -> TensorProto:
    tensor = TensorProto(name=name, data_type=models.NUMPY_TYPES[array.dtype.name], dims=array.shape)
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in location.items():
        tensor.external_data.add(key=key, value=str(value))
    return tensor


W = np.array([[1.5, -2.5], [3.5, 4.5]], np.float32)


@pytest.mark.parametrize(
    ("before", "after", "location"),
    [
        (b"", b"", {}),
        (b"", b"more of it", {}),
        (b"", b"more of it", {"length": 16}),
        (b"12345", b"", {"offset": 5}),
        (b"12345", b"67", {"offset": 5, "length": 16}),
        (bytes(70_000), b"67", {"offset": 70_000, "length": 16}),
    ],
    ids=["all of it", "the beginning", "length", "offset", "both", "offset of many pages"],
)
@pytest.mark.parametrize("name", ["w.bin", "folder/w.bin", "größe 模型"])
def test_elements_in_another_file_are_compared(tmp_path, name, before, after, location):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(before + W.tobytes() + after)
    weights = read(model_with(stored_outside(W, location=name, **location)))["w"]
    assert weights.data is None
    assert weights.location == {key: str(value) for key, value in {"location": name, **location}.items()}
    assert (weights.data_type, weights.shape) == (TensorProto.FLOAT, (2, 2))
    assert weights.differs_from(W, str(tmp_path)) is False
    assert weights.differs_from(W + 1, str(tmp_path)) is True


def test_onnx_writes_the_other_file_as_it_is_read_here(tmp_path):
    arrays = {f"w{i}": np.random.default_rng(i).random((i + 1, 700), np.float32) for i in range(4)}
    proto = onnx.load_model_from_string(
        model_with(*(stored_as_raw(array, name) for name, array in arrays.items())),
    )
    path = tmp_path / "model.onnx"
    onnx.save_model(proto, path, save_as_external_data=True, location="model.data", size_threshold=0)
    found = read(path.read_bytes())
    assert list(found) == list(arrays)
    for i, (name, array) in enumerate(arrays.items()):
        assert found[name].data is None
        assert found[name].differs_from(array, str(tmp_path)) is False
        other = array.copy()
        other[i, 699] += 1
        assert found[name].differs_from(other, str(tmp_path)) is True


@pytest.mark.parametrize("length", [0, 15, 17, 32])
def test_a_length_that_is_not_that_of_the_array_differs(tmp_path, length):
    (tmp_path / "w.bin").write_bytes(W.tobytes() * 2)
    weights = read(model_with(stored_outside(W, location="w.bin", length=length)))["w"]
    assert weights.differs_from(W, str(tmp_path)) is True


@pytest.mark.parametrize(
    "location",
    [
        {"location": "nothing.bin"},
        {"location": "no folder/w.bin"},
        {"location": ""},
        {},
        {"location": "\0"},
        {"location": "w.bin", "offset": 1},
        {"location": "w.bin", "offset": 10**9},
        {"location": "w.bin", "offset": -1},
        {"location": "w.bin", "offset": 2**63},
        {"location": "w.bin", "offset": 10**30},
        {"location": "w.bin", "offset": "1.5"},
        {"location": "w.bin", "length": -1},
        {"location": "w.bin", "length": -(2**63)},
        {"location": "w.bin", "length": 2**63},
        {"location": "w.bin", "length": 2**64 + 16},
        {"location": "w.bin", "length": 10**30},
        {"location": "w.bin", "length": "sixteen"},
        {"location": "w.bin", "offset": "x"},
        {"location": "w.bin", "length": ""},
        {"location": "w.bin", "length": 10**9},
        {"location": "empty.bin"},
    ],
    ids=str,
)
def test_elements_that_cannot_be_read_differ_from_nothing(tmp_path, location):
    (tmp_path / "w.bin").write_bytes(W.tobytes())
    (tmp_path / "empty.bin").touch()
    weights = read(model_with(stored_outside(W, **location)))["w"]
    assert weights.differs_from(W + 1, str(tmp_path)) is False


def test_an_array_without_elements_differs_from_nothing_in_another_file(tmp_path):
    (tmp_path / "w.bin").write_bytes(b"1234")
    empty = np.zeros((0, 3), np.float32)
    weights = read(model_with(stored_outside(empty, location="w.bin", offset=4, length=0)))["w"]
    assert weights.differs_from(empty, str(tmp_path)) is False


# --- the wire format, written by hand


def varint(number: int) -> bytes:
    number &= (1 << 64) - 1
    digits = bytearray()
    while number >= 0x80:
        digits.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*digits, number])


def number_field(number: int, value: int) -> bytes:
    return varint(number << 3) + varint(value)


def bytes_field(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def fixed_fields(number: int, array: np.ndarray) -> bytes:
    key = varint(number << 3 | {4: 5, 8: 1}[array.itemsize])
    return b"".join(key + element.tobytes() for element in array)


def of_tensor(*fields: bytes) -> bytes:
    return bytes_field(7, bytes_field(5, b"".join(fields)))


NAME = bytes_field(8, b"w")


def typed(dtype: str, *dims: int) -> bytes:
    return NAME + number_field(2, models.NUMPY_TYPES[dtype]) + bytes_field(1, b"".join(map(varint, dims)))


def numbers(number: int, values: np.ndarray, *, packed: bool) -> bytes:
    if packed:
        return bytes_field(number, b"".join(varint(int(value)) for value in values))
    return b"".join(number_field(number, int(value)) for value in values)


def read_like_onnx(model: bytes) -> modelfile.Weights:
    """Return the only initializer, having seen that `onnx` finds the same."""
    (tensor,) = onnx.load_model_from_string(model).graph.initializer
    ((name, weights),) = read(model).items()
    assert (name, weights.data_type, weights.shape) == (tensor.name, tensor.data_type, tuple(tensor.dims))
    assert_read_as(weights, numpy_helper.to_array(tensor))
    return weights


@EACH_DTYPE
@pytest.mark.parametrize("form", ["packed", "unpacked", "in two packs", "half packed"])
def test_elements_are_read_whether_they_are_packed_or_not(dtype, form):
    values = extremes(dtype)
    number = {"float_data": 4, "int32_data": 5, "int64_data": 7, "double_data": 10, "uint64_data": 11}[FIELDS[dtype]]
    half = 0 if form == "packed" else len(values) if form == "unpacked" else len(values) // 2
    first, second = values[:half], values[half:]
    if number in (4, 10):
        pieces = [fixed_fields(number, first), bytes_field(number, second.tobytes())]
        if form == "in two packs":
            pieces[0] = bytes_field(number, first.tobytes())
    else:
        bits = [half.view(np.uint16) if dtype == "float16" else half for half in (first, second)]
        pieces = [
            numbers(number, bits[0], packed=form == "in two packs"),
            numbers(number, bits[1], packed=form != "unpacked"),
        ]
    weights = read_like_onnx(of_tensor(typed(dtype, len(values)), *pieces))
    assert_read_as(weights, values)


@pytest.mark.parametrize(
    "dims",
    [
        number_field(1, 2) + number_field(1, 3),
        bytes_field(1, varint(2) + varint(3)),
        number_field(1, 2) + bytes_field(1, varint(3)),
        bytes_field(1, varint(2)) + bytes_field(1, b"") + number_field(1, 3),
    ],
    ids=["unpacked", "packed", "half", "in packs"],
)
def test_dimensions_are_read_whether_they_are_packed_or_not(dims):
    raw = bytes_field(9, bytes(range(6)))
    assert read_like_onnx(of_tensor(NAME, number_field(2, 2), dims, raw)).shape == (2, 3)


def test_fields_are_read_in_any_order_and_the_last_of_a_kind_holds():
    raw = bytes_field(9, np.int16([5, -6]).tobytes())
    fields = [raw, number_field(1, 2), number_field(2, TensorProto.INT16), NAME]
    read_like_onnx(of_tensor(*reversed(fields)))
    read_like_onnx(of_tensor(bytes_field(8, b"earlier"), number_field(2, 1), *fields))


@pytest.mark.parametrize("dims", [(-1,), (2, -1), (-(2**63),), (2**63 - 1, 0)])
@pytest.mark.parametrize("packed", [True, False])
def test_negative_and_large_dimensions_are_read(dims, packed):
    model = of_tensor(NAME, number_field(2, 1), numbers(1, np.array(dims), packed=packed))
    (tensor,) = onnx.load_model_from_string(model).graph.initializer
    assert read(model)["w"].shape == tuple(tensor.dims) == dims


@pytest.mark.parametrize("number", [0, 1, 127, 128, 300, 2**31, 2**32 - 1, 2**63 - 1, -1, -128, -(2**31), -(2**63)])
def test_a_number_of_any_length_is_read(number):
    weights = read_like_onnx(of_tensor(typed("int64", 1), number_field(7, number)))
    assert array_of(weights).tolist() == [number]


def test_a_number_may_have_more_digits_than_it_needs():
    content = bytes_field(7, b"\x81\x80\x80\x00\x82\x80\x80\x80\x80\x80\x80\x80\x80\x00")
    assert array_of(read_like_onnx(of_tensor(typed("int64", 2), content))).tolist() == [1, 2]


@pytest.mark.parametrize(
    "digits",
    [
        b"\xff" * 9 + b"\x01",
        b"\xff" * 9 + b"\x03",
        b"\xff" * 9 + b"\x7f",
        b"\x80" * 9 + b"\x7f",
        b"\x85" + b"\x80" * 8 + b"\x02",
        b"\x85" + b"\x80" * 8 + b"\x7e",
        b"\xfe" + b"\xff" * 8 + b"\x7e",
    ],
    ids=bytes.hex,
)
@pytest.mark.parametrize("packed", [False, True])
def test_what_ten_digits_say_beyond_64_bits_is_dropped_as_protobuf_does(digits, packed):
    field = bytes_field(7, digits) if packed else varint(7 << 3) + digits
    assert array_of(read_like_onnx(of_tensor(typed("int64", 1), field))).shape == (1,)


def test_a_negative_small_integer_is_read_from_its_ten_bytes():
    model = of_tensor(typed("int8", 2), number_field(5, -1), number_field(5, -128))
    assert varint(-1) in model
    assert array_of(read_like_onnx(model)).tolist() == [-1, -128]


def test_a_name_that_is_no_utf8_is_read_as_python_reads_file_names():
    assert list(read(of_tensor(bytes_field(8, b"w\xff")))) == ["w\udcff"]


@pytest.mark.parametrize(
    "field",
    [number_field(99, 5), bytes_field(1000, b"abc"), varint(99 << 3 | 1) + bytes(8), varint(99 << 3 | 5) + bytes(4)],
    ids=["number", "bytes", "8 bytes", "4 bytes"],
)
def test_fields_that_are_not_known_are_jumped_over(field):
    tensor = typed("uint8", 1) + bytes_field(9, b"\7")
    model = field + bytes_field(7, field + bytes_field(5, field + tensor + field) + field) + field
    assert array_of(read_like_onnx(model)).tolist() == [7]


@pytest.mark.parametrize("kind", [3, 4, 6, 7])
def test_a_field_of_a_kind_that_a_model_never_has_is_an_error(kind):
    with pytest.raises(ValueError, match=f"a field of the unknown kind {kind}"):
        read(varint(1 << 3 | kind))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (varint(7 << 3 | 2) + varint(5) + b"1234", "longer than its message"),
        (varint(1 << 3 | 1) + bytes(7), "longer than its message"),
        (varint(1 << 3 | 5) + bytes(3), "longer than its message"),
        (varint(7 << 3 | 2) + varint(2**62), "longer than its message"),
        (b"\x80", "a number that does not end"),
        (b"\x08\xff\xff", "a number that does not end"),
        (b"\x08" + b"\x80" * 10 + b"\x00", "a number that does not end"),
        (of_tensor(bytes_field(1, b"\x80")), "a number that does not end"),
        (of_tensor(number_field(14, 1), bytes_field(13, bytes_field(1, b"\xff"))), "can't decode byte 0xff"),
    ],
)
def test_a_damaged_model_is_a_value_error(model, message):
    with pytest.raises(ValueError, match=message):
        read(model)


@pytest.mark.parametrize("length", [-1, -2, -5, -(2**31), -(2**63), 2**63 - 1, 2**64 - 12])
@pytest.mark.parametrize(
    "wrap", [bytes, lambda field: bytes_field(7, field), of_tensor], ids=["model", "graph", "tensor"]
)
@pytest.mark.parametrize("number", [1, 5, 7, 9])
def test_a_field_of_a_negative_length_is_an_error_at_once(number, wrap, length):
    model = wrap(varint(number << 3 | 2) + varint(length) + bytes(20))
    with no_longer_than(5), pytest.raises(ValueError, match="a field that is longer than its message"):
        read(model)


def test_of_several_raw_data_the_last_counts():
    first, second = np.int16([5, -6]).tobytes(), np.int16([7, 8]).tobytes()
    weights = read_like_onnx(of_tensor(typed("int16", 2), bytes_field(9, first), bytes_field(9, second)))
    assert array_of(weights).tolist() == [7, 8]
    assert weights.differs_from(np.int16([7, 8]), "") is False
    assert weights.differs_from(np.int16([5, -6]), "") is True


# --- a message in pieces


def test_a_model_in_two_pieces_is_one_model():
    """Protobuf: messages one after another are one message, in which nested ones are merged."""
    first, second = (model_with(models.constant(name, [value])) for name, value in (("a", 1.0), ("b", 2.0)))
    merged = onnx.load_model_from_string(first + second)
    assert [tensor.name for tensor in merged.graph.initializer] == ["a", "b"]
    found = read(first + second)
    assert {name: array_of(weights).tolist() for name, weights in found.items()} == {"a": [1.0], "b": [2.0]}


def test_elements_in_two_pieces_are_one_initializer():
    tensor = stored_in_its_field(np.arange(5, dtype=np.float32))
    pieces = tensor.SerializeToString() + TensorProto(float_data=[5.0, 6.0], dims=[1]).SerializeToString()
    weights = read(of_tensor(pieces))["w"]
    assert (weights.shape, bytes(weights.data)) == ((5, 1), np.arange(7, dtype=np.float32).tobytes())


# --- damaged models


@contextlib.contextmanager
def no_longer_than(seconds: float):
    """End what hangs with a TimeoutError, where there are such signals."""

    def stop(*_) -> None:
        raise TimeoutError(f"still reading after {seconds} s")

    if not hasattr(signal, "setitimer"):
        yield
        return
    earlier = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, earlier)


def read_or_refuse(model: bytes) -> dict[str, modelfile.Weights] | None:
    with no_longer_than(5):
        try:
            found = read(model)
        except ValueError:
            return None
    for name, weights in found.items():
        assert isinstance(name, str)
        assert isinstance(weights.data_type, int)
        assert all(isinstance(size, int) for size in weights.shape)
        assert isinstance(weights.data, memoryview) or weights.data is None
        assert all(isinstance(text, str) for entry in weights.location.items() for text in entry)
    return found


WHOLE = model_with(
    stored_as_raw(np.arange(6, dtype=np.float32).reshape(2, 3), "raw"),
    stored_in_its_field(np.arange(300, dtype=np.int64), "int64"),
    stored_in_its_field(np.arange(3, dtype=np.float16), "float16"),
    stored_in_its_field(np.arange(3, dtype=np.float64), "float64"),
    stored_outside(W, "outside", location="w.bin", offset=4, length=16),
)


def test_a_model_that_is_cut_off_anywhere_is_refused_or_has_less():
    whole = list(read(WHOLE))
    assert whole == ["raw", "int64", "float16", "float64", "outside"]
    outcomes = [read_or_refuse(WHOLE[:length]) for length in range(len(WHOLE))]
    assert None in outcomes
    assert all(list(found) == whole[: len(found)] for found in outcomes if found is not None)


@settings(max_examples=300)
@given(seed=st.integers(0, 2**32), count=st.integers(1, 12))
def test_a_model_with_wrong_bytes_is_refused_or_read(seed, count):
    rng = random.Random(seed)
    model = bytearray(WHOLE)
    for _ in range(count):
        at, kind = rng.randrange(len(model)), rng.randrange(4)
        if kind == 0:
            model[at] = rng.randrange(256)
        elif kind == 1:
            model[at] ^= 1 << rng.randrange(8)
        elif kind == 2:
            del model[at : at + rng.randrange(1, 20)]
        else:
            model[at:at] = rng.randbytes(rng.randrange(1, 20))
    read_or_refuse(bytes(model))


@settings(max_examples=300)
@given(data=st.data())
def test_any_bytes_are_refused_or_read(data):
    wrapped = data.draw(st.sampled_from([bytes, of_tensor, lambda content: bytes_field(7, content)]))
    model = wrapped(data.draw(st.binary(max_size=60)))
    read_or_refuse(model)


# --- ONNX Runtime's own format


def test_a_model_that_was_saved_in_onnx_runtimes_own_format_is_recognised(tmp_path: Path):
    path = tmp_path / "model.ort"
    with ortx.session_from_bytes(
        models.square(), optimized_model_path=path, config_entries={"session.save_model_format": "ORT"}
    ):
        pass
    assert modelfile.is_ort_format(memoryview(path.read_bytes())) is True


@pytest.mark.parametrize(
    "content", [models.square(), models.overridable(), b"", b"ORTM", b"1234ORT", b"123ORTM5", WHOLE], ids=len
)
def test_anything_else_is_not_onnx_runtimes_own_format(content):
    assert modelfile.is_ort_format(memoryview(content)) is False
