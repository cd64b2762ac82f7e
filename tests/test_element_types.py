"""Every element type of ONNX Runtime, in and out, bit by bit (`_core.src/dtype.pxi`, `_core.src/elements.pxi`)."""

from __future__ import annotations

import re
import textwrap
from typing import NamedTuple

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import helper

import ortx


class Element(NamedTuple):
    number: int  # TensorProto's
    onnx: str  # inside `tensor(...)`
    bits: int
    via: str = ""  # a type that holds all its values, where ONNX Runtime has no Identity of it


ELEMENTS = {
    "float32": Element(1, "float", 32),
    "uint8": Element(2, "uint8", 8),
    "int8": Element(3, "int8", 8),
    "uint16": Element(4, "uint16", 16),
    "int16": Element(5, "int16", 16),
    "int32": Element(6, "int32", 32),
    "int64": Element(7, "int64", 64),
    "string": Element(8, "string", 0),
    "bool": Element(9, "bool", 1),
    "float16": Element(10, "float16", 16),
    "float64": Element(11, "double", 64),
    "uint32": Element(12, "uint32", 32),
    "uint64": Element(13, "uint64", 64),
    "bfloat16": Element(16, "bfloat16", 16),
    "float8_e4m3fn": Element(17, "float8e4m3fn", 8),
    "float8_e4m3fnuz": Element(18, "float8e4m3fnuz", 8),
    "float8_e5m2": Element(19, "float8e5m2", 8),
    "float8_e5m2fnuz": Element(20, "float8e5m2fnuz", 8),
    "uint4": Element(21, "uint4", 4, "int8"),
    "int4": Element(22, "int4", 4, "int8"),
    "float4_e2m1fn": Element(23, "float4e2m1", 4),  # no kernel at all
    "float8_e8m0fnu": Element(24, "float8e8m0", 8, "float32"),
    "uint2": Element(25, "uint2", 2, "int8"),
    "int2": Element(26, "int2", 2, "int8"),
}
WITHOUT_KERNEL = "float4_e2m1fn"
WITH_KERNEL = [word for word in ELEMENTS if word != WITHOUT_KERNEL]
FROM_ML_DTYPES = [word for word in ELEMENTS if hasattr(ml_dtypes, word)]
FROM_NUMPY = [word for word in ELEMENTS if word not in FROM_ML_DTYPES and word != "string"]
SMALL_INTEGERS = [word for word in ELEMENTS if ELEMENTS[word].via == "int8"]
SMALL = [*SMALL_INTEGERS, WITHOUT_KERNEL]
SMALL_FLOATS = [word for word in FROM_ML_DTYPES if "float" in word and word != WITHOUT_KERNEL]
SHAPES = [(), (0,), (1,), (2,), (3,), (4,), (5,), (8,), (9,), (3, 0, 2), (3, 3), (2, 3, 5)]
TEXTS = ["", "a", "NUL\0inside", "NUL at the end\0", "ü", "中文", "𝄞", "x" * 300]


# --- models


def build(nodes, inputs, outputs, initializers=()) -> bytes:
    graph = helper.make_graph(list(nodes), "graph", inputs, outputs, list(initializers))
    opsets = [helper.make_opsetid("", 25)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=13).SerializeToString()


def declared(name: str, word: str, shape=None) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, ELEMENTS[word].number, shape)


def cast(source: str, target: str) -> bytes:
    node = helper.make_node("Cast", ["x"], ["y"], to=ELEMENTS[target].number)
    return build([node], [declared("x", source)], [declared("y", target)])


def copying(word: str) -> bytes:
    """y = x, by a kernel that reads and writes the type"""
    if not ELEMENTS[word].via:
        nodes = [helper.make_node("Identity", ["x"], ["y"])]
    else:
        nodes = [
            helper.make_node("Cast", ["x"], ["between"], to=ELEMENTS[ELEMENTS[word].via].number),
            helper.make_node("Cast", ["between"], ["y"], to=ELEMENTS[word].number),
        ]
    return build(nodes, [declared("x", word)], [declared("y", word)])


def passing_on(word: str) -> bytes:
    """Give the input x itself as an output, which needs no kernel of the type; z and y are there for the node."""
    node = helper.make_node("Identity", ["z"], ["y"])
    return build(
        [node], [declared("x", word), declared("z", "float32")], [declared("x", word), declared("y", "float32")]
    )


def containing(word: str, shape: tuple[int, ...], raw: bytes) -> bytes:
    """y = an initializer with these bytes"""
    made = onnx.TensorProto(name="y", data_type=ELEMENTS[word].number, dims=shape, raw_data=raw)
    identity = helper.make_node("Identity", ["z"], ["unused"])
    return build(
        [identity], [declared("z", "float32")], [declared("unused", "float32"), declared("y", word, shape)], [made]
    )


def open_session(model: bytes) -> ortx.Session:
    return ortx.session_from_bytes(model)


@pytest.fixture(scope="module")
def copiers():
    """One session per element type that copies an input of any shape."""
    sessions = {word: open_session(copying(word)) for word in WITH_KERNEL}
    yield sessions
    for session in sessions.values():
        session.close()


@pytest.fixture(scope="module")
def passers():
    """One session per element type that passes an input on."""
    sessions = {word: open_session(passing_on(word)) for word in ELEMENTS}
    yield sessions
    for session in sessions.values():
        session.close()


# --- values


def dtype_of(word: str) -> np.dtype:
    return np.dtype(object if word == "string" else getattr(ml_dtypes, word, word))


def every_pattern(word: str) -> np.ndarray:
    """All bit patterns of a type of 16 bits or less; of a larger one many."""
    bits = ELEMENTS[word].bits
    if word == "string":
        return np.array(TEXTS, object)
    if bits <= 16:
        return np.arange(2**bits, dtype="uint16" if bits == 16 else "uint8").view(dtype_of(word))
    return np.frombuffer(np.random.default_rng(0).bytes(1000 * bits // 8), dtype_of(word))


def sample(word: str, shape: tuple[int, ...] = (3, 5)) -> np.ndarray:
    """Patterns that differ from element to element, the beginning of which is not zero."""
    patterns = every_pattern(word)
    picked = patterns[(1 + 7 * np.arange(np.prod(shape, dtype=int))) % len(patterns)]
    return picked.reshape(shape)


def blank(word: str, shape: tuple[int, ...]) -> np.ndarray:
    return np.full(shape, "blank", object) if word == "string" else np.zeros(shape, dtype_of(word))


def assert_same(got: object, wanted: np.ndarray) -> None:
    assert isinstance(got, np.ndarray)
    assert (got.dtype, got.shape) == (wanted.dtype, wanted.shape)
    if wanted.dtype == object:
        assert got.tolist() == wanted.tolist()
        assert all(type(item) is str for item in got.flat)
    else:
        assert got.tobytes() == wanted.tobytes()


def run_into_array(session, x):
    y = blank(session.output_info("y").data_type, x.shape)
    assert session.run_into({"x": x}, {"y": y})["y"] is y
    return y


def run_into_tensor(session, x):
    y = ortx.tensor(session.output_info("y").data_type, x.shape)
    assert session.run_into([x], [y])["y"] is y
    return y.numpy()


def bound(session, x, spec=None):
    binding = session.create_io_binding()
    binding.bind_input("x", x)
    made = binding.bind_output("y", spec)
    got = binding.run()["y"]
    if made is not None:
        assert got is made
    if spec is not None and not isinstance(spec, dict):
        assert got is spec
    assert binding.get_outputs()["y"] is got
    again = binding.run()["y"]
    if spec is None:
        assert not np.shares_memory(again, got)
    return got.numpy() if isinstance(got, ortx.Tensor) else got


def bound_by_type(session, x):
    return bound(session, x, {"type": session.output_info("y").data_type, "shape": x.shape})


WAYS = {
    "run": lambda session, x: session.run({"x": x})["y"],
    "run of a Tensor": lambda session, x: session.run([ortx.tensor(x)])[0],
    "run_into": run_into_array,
    "run_into a Tensor": run_into_tensor,
    "run_into None": lambda session, x: session.run_into([x], [None])[0],
    "submit": lambda session, x: session.submit([x]).result(timeout=60)["y"],
    "binding": bound,
    "binding of a Tensor": lambda session, x: bound(session, ortx.tensor(x)),
    "binding to a device": lambda session, x: bound(session, x, {"mode": "device"}),
    "binding to an array": lambda session, x: bound(session, x, blank(session.output_info("y").data_type, x.shape)),
    "binding to a Tensor": lambda session, x: bound(
        session, x, ortx.tensor(session.output_info("y").data_type, x.shape)
    ),
    "binding to a type and shape": bound_by_type,
}


# --- in and out


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("word", WITH_KERNEL)
def test_every_element_type_goes_in_and_comes_out_every_way(copiers, word, way):
    x = sample(word)
    before = x.copy()
    assert_same(WAYS[way](copiers[word], x), x)
    assert_same(x, before)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("word", WITH_KERNEL)
def test_every_element_type_takes_every_shape(copiers, word, shape):
    x = sample(word, shape)
    assert_same(copiers[word].run([x])[0], x)
    assert_same(run_into_array(copiers[word], x), x)
    assert_same(bound_by_type(copiers[word], x), x)


@pytest.mark.parametrize("word", [word for word in ELEMENTS if word not in ("string", "float8_e8m0fnu")])
def test_every_bit_pattern_goes_through(copiers, passers, word):
    x = every_pattern(word)
    if word != WITHOUT_KERNEL:
        assert_same(copiers[word].run([x])[0], x)
    assert_same(passers[word].run([x, 0.0])["x"], x)


@pytest.mark.parametrize("word", ELEMENTS)
def test_an_input_that_is_passed_on_comes_out_as_a_copy(passers, word):
    x = sample(word)
    for outputs in (passers[word].run([x, 0.0]), passers[word].submit([x, 0.0]).result(timeout=60)):
        assert_same(outputs["x"], x)
        assert not np.shares_memory(outputs["x"], x)
    into = blank(word, x.shape)
    assert passers[word].run_into([x, 0.0], {"x": into})["x"] is into
    assert_same(into, x)


@pytest.mark.parametrize("word", ELEMENTS)
def test_types_are_declared_in_numpys_words_and_in_onnxs(passers, word):
    info = passers[word].input_info("x")
    assert (info.data_type, info.type) == (word, f"tensor({ELEMENTS[word].onnx})")
    assert passers[word].output_info("x").type == info.type


@pytest.mark.parametrize("word", ["complex64", "complex128"])
def test_onnx_runtime_has_no_complex_tensors(passers, word):
    number = {"complex64": 14, "complex128": 15}[word]
    value = helper.make_tensor_value_info("x", number, None)
    with pytest.raises(ortx.Error, match=rf"tensor\({word}\) is not currently registered or supported"):
        ortx.session_from_bytes(build([helper.make_node("Identity", ["x"], ["x2"])], [value], []))
    with pytest.raises(ortx.InvalidArgument, match="got the element type 'complex.*; expected one of float32, "):
        ortx.tensor(word, (1,))
    with pytest.raises(ortx.InvalidArgument, match="which ORT has no element type for"):
        ortx.tensor(np.zeros(2, word))
    for session in passers.values():
        with pytest.raises(ortx.CallError, match=r"input 'x': got (complex|array)"):
            session.run([np.zeros(2, word), 0.0])


# --- what the bits mean


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("word", SMALL_INTEGERS)
def test_small_integers_have_the_values_that_onnx_runtime_sees(word, shape):
    limits = ml_dtypes.iinfo(dtype_of(word))
    values = np.arange(limits.min, int(limits.max) + 1)
    integers = values[(1 + 3 * np.arange(np.prod(shape, dtype=int))) % len(values)].astype("int8").reshape(shape)
    small = integers.astype(dtype_of(word))
    with open_session(cast(word, "int8")) as widen, open_session(cast("int8", word)) as narrow:
        for run in (WAYS["run"], run_into_array, bound, bound_by_type):
            assert_same(run(widen, small), integers)
            assert_same(run(narrow, integers), small)


@pytest.mark.parametrize(
    ("word", "raw", "bits"),
    [
        ("uint4", b"\x21\x43\xf5", [1, 2, 3, 4, 5]),
        ("int4", b"\x21\x43\xf5", [1, 2, 3, 4, 5]),
        ("int4", b"\xe7\x98", [7, 14, 8, 9]),
        ("float4_e2m1fn", b"\x21\x43\xf5", [1, 2, 3, 4, 5]),
        ("float4_e2m1fn", bytes(0x11 * n for n in range(16)), [n // 2 for n in range(32)]),
        ("uint2", b"\xe4\x01", [0, 1, 2, 3, 1]),
        ("int2", b"\xe4\xfe", [0, 1, 2, 3, 2]),
        ("int2", b"\xe4\xde", [0, 1, 2, 3, 2, 3, 1]),
        ("uint2", b"\x1b", [3, 2, 1]),
    ],
    ids=lambda value: value.hex() if isinstance(value, bytes) else None,
)
def test_small_elements_are_packed_low_bits_first(word, raw, bits):
    wanted = np.array(bits, "uint8").view(dtype_of(word))
    with open_session(containing(word, (len(bits),), raw)) as session:
        z = np.float32(0)
        assert_same(session.run([z])["y"], wanted)
        into = blank(word, wanted.shape)
        assert session.run_into([z], {"y": into})["y"] is into
        assert_same(into, wanted)
        binding = session.create_io_binding()
        binding.bind_input("z", 0.0)
        for spec in (None, ortx.tensor(word, wanted.shape)):
            binding.bind_output("y", spec)
            got = binding.run()["y"]
            assert_same(got if spec is None else got.numpy(), wanted)


@pytest.mark.parametrize("word", SMALL_FLOATS)
def test_small_floats_have_the_values_that_onnx_runtime_sees(word):
    x = every_pattern(word)
    wide = x.astype("float32")
    with open_session(cast(word, "float32")) as widen, open_session(cast("float32", word)) as narrow:
        np.testing.assert_array_equal(widen.run([x])[0], wide)
        numbers = np.isfinite(wide)
        assert numbers.sum() > len(x) // 2
        assert_same(narrow.run([wide[numbers]])[0], x[numbers])


@pytest.mark.parametrize("word", SMALL)
def test_what_numpy_leaves_in_the_upper_bits_of_a_byte_does_not_matter(passers, word):
    bits = ELEMENTS[word].bits
    clean = np.arange(2**bits, dtype="uint8")
    dirty = clean | np.uint8(256 - 2**bits)
    assert_same(passers[word].run([dirty.view(dtype_of(word)), 0.0])["x"], clean.view(dtype_of(word)))


@pytest.mark.parametrize("word", [*SMALL, "bfloat16", "float8_e5m2"])
@pytest.mark.parametrize("layout", ["Fortran", "strided", "negative", "broadcast", "read-only"])
def test_arrays_of_ml_dtypes_may_have_any_layout(passers, word, layout):
    x = sample(word, (3, 4))
    given = {
        "Fortran": lambda: np.asfortranarray(x),
        "strided": lambda: np.repeat(x, 2, axis=1)[:, ::2],
        "negative": lambda: x[::-1, ::-1].copy()[::-1, ::-1],
        "broadcast": lambda: np.broadcast_to(x[0], (3, 4)),
        "read-only": lambda: np.frombuffer(x.tobytes(), x.dtype).reshape(x.shape),
    }[layout]()
    assert_same(passers[word].run([given, 0.0])["x"], np.ascontiguousarray(given))


# --- what is refused, and the advice


def advice_in(message: str) -> str:
    (found,) = re.findall(r": convert it (?:to native byte order )?with (array\.astype\(.*\))$", message)
    return found


@pytest.mark.parametrize("source", ["float64", "int64", "bool", "uint8"])
@pytest.mark.parametrize("word", [word for word in ELEMENTS if word != "string"])
def test_the_advice_on_an_array_of_another_type_is_right(passers, word, source):
    if source == word:
        return
    array = np.array([[1, 0, 1]], source)
    with pytest.raises(ortx.CallError) as caught:
        passers[word].run([array, 0.0])
    message = str(caught.value)
    assert message.startswith(f"run: input 'x': got {source} of shape (1, 3); expected {word} of any shape")
    converted = eval(advice_in(message), {"ml_dtypes": ml_dtypes, "array": array})
    assert_same(passers[word].run([converted, 0.0])["x"], array.astype(dtype_of(word)))


@pytest.mark.parametrize("word", FROM_ML_DTYPES)
def test_arrays_of_ml_dtypes_go_nowhere_else(passers, word):
    array = sample(word)
    for other, session in passers.items():
        if other == word:
            continue
        expected = re.escape(f"got {word} of shape {array.shape}; expected {other} of any shape")
        with pytest.raises(ortx.CallError, match=f"input 'x': {expected}"):
            session.run([array, 0.0])
        with pytest.raises(ortx.CallError, match=f"output 'x': got {word} of shape"):
            session.run_into([blank(other, array.shape), 0.0], {"x": array})


@pytest.mark.parametrize("word", ["float8_e3m4", "float8_e4m3", "float8_e4m3b11fnuz", "float6_e2m3fn", "int1"])
def test_types_of_ml_dtypes_that_onnx_lacks_are_refused(passers, word):
    if not hasattr(ml_dtypes, word):
        pytest.skip(f"this ml_dtypes has no {word}")
    array = np.zeros(3, getattr(ml_dtypes, word))
    for session in passers.values():
        with pytest.raises(ortx.CallError, match=rf"input 'x': got {word} of shape \(3,\)"):
            session.run([array, 0.0])
    with pytest.raises(ortx.InvalidArgument, match=f"tensor: got {word} .*, which ORT has no element type for"):
        ortx.tensor(array)


@pytest.mark.parametrize("word", [*FROM_ML_DTYPES, "float16", "int64"])
def test_the_other_byte_order_is_refused_with_advice_that_is_right(passers, word):
    x = sample(word)
    array = x.astype(x.dtype.newbyteorder())
    with pytest.raises(ortx.CallError, match=f"got (big|little)-endian {word} of shape") as caught:
        passers[word].run([array, 0.0])
    converted = eval(advice_in(str(caught.value)), {"array": array})
    assert_same(passers[word].run([converted, 0.0])["x"], x)
    with pytest.raises(ortx.CallError, match=f"output 'x': got (big|little)-endian {word}"):
        passers[word].run_into([x, 0.0], {"x": array})
    with pytest.raises(ortx.InvalidArgument, match=f"tensor: got (big|little)-endian {word}"):
        ortx.tensor(array)


@pytest.mark.parametrize("word", [*SMALL_INTEGERS, "bfloat16", "string"])
def test_an_output_buffer_of_another_shape_is_refused_after_the_run(copiers, word):
    x, y = sample(word, (3, 5)), blank(word, (5, 3))
    with pytest.raises(ortx.Error):
        copiers[word].run_into([x], [y])
    assert_same(y, blank(word, (5, 3)))
    binding = copiers[word].create_io_binding()
    binding.bind_input("x", x)
    binding.bind_output("y", y)
    with pytest.raises(ortx.Error):
        binding.run()
    assert_same(y, blank(word, (5, 3)))


# --- lists and scalars


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("int4", [-8, 7, 0]),
        ("int4", 3),
        ("int4", np.int64(-8)),
        ("int4", ml_dtypes.int4(-3)),
        ("int4", [ml_dtypes.int4(-3), ml_dtypes.int4(7)]),
        ("uint4", [[15], [0]]),
        ("uint4", np.uint8(15)),
        ("uint4", [[], []]),
        ("int2", [-2, -1, 0, 1]),
        ("uint2", (0, 1, 2, 3)),
        ("uint2", []),
        ("bfloat16", [1, 2.5, -0.0]),
        ("bfloat16", float("nan")),
        ("bfloat16", [float("inf"), -float("inf")]),
        ("bfloat16", 3.3895313892515355e38),
        ("bfloat16", np.float32(0.5)),
        ("bfloat16", ml_dtypes.bfloat16(0.1)),
        ("bfloat16", [[]]),
        ("float8_e4m3fn", [448.0, -448.0, 0.0625]),
        ("float8_e4m3fnuz", [240, -240]),
        ("float8_e5m2", [57344.0, float("inf"), float("nan")]),
        ("float8_e5m2fnuz", [57344.0, -57344.0]),
        ("float8_e8m0fnu", [1, 2.0, 0.5, 2.0**127, 2.0**-127]),
        ("float4_e2m1fn", [-6, 6.0, 0.5, -0.0]),
        ("float16", [65504.0, -65504, float("inf")]),
        ("uint64", [2**64 - 1]),
        ("int64", [-(2**63), 2**63 - 1]),
        ("float64", 5e-324),
    ],
)
def test_literals_take_the_declared_type(passers, word, value):
    got = passers[word].run([value, 0.0])["x"]
    assert_same(got, np.asarray(value).astype(dtype_of(word)))
    np.testing.assert_array_equal(np.asarray(got, "float64"), np.asarray(value, "float64"), strict=True)


@pytest.mark.parametrize(
    ("word", "value", "words"),
    [
        ("int4", 8, "of which 8 does not fit into int4"),
        ("int4", [0, -9], "of which -9 does not fit into int4"),
        ("int4", 256, "of which 256 does not fit into int4"),
        ("uint4", [[0, 16]], "of which 16 does not fit into uint4"),
        ("uint4", -1, "of which -1 does not fit into uint4"),
        ("int2", 2, "of which 2 does not fit into int2"),
        ("uint2", 4, "of which 4 does not fit into uint2"),
        ("int4", 1.0, "which holds float64"),
        ("int4", True, "which holds bool"),
        ("int4", "1", "which is no array, buffer, list or number"),
        ("int4", ["1"], "which holds <U1"),
        ("int4", [None], "which holds object"),
        ("int4", ml_dtypes.uint4(1), "which holds uint4"),
        ("int4", [2**64], "which holds object"),
        ("bfloat16", 3.4e38, "of which 3.4e+38 does not fit into bfloat16"),
        ("bfloat16", [1.0, -1e300], "of which -1e+300 does not fit into bfloat16"),
        ("bfloat16", 1j, "which holds complex128"),
        ("bfloat16", [True], "which holds bool"),
        ("float8_e4m3fn", 449, "of which 449 does not fit into float8_e4m3fn"),
        ("float8_e4m3fnuz", -241.0, "of which -241.0 does not fit into float8_e4m3fnuz"),
        ("float8_e5m2", 57345.0, "of which 57345.0 does not fit into float8_e5m2"),
        ("float8_e8m0fnu", 0, "of which 0 does not fit into float8_e8m0fnu"),
        ("float8_e8m0fnu", [1.0, -1.0], "of which -1.0 does not fit into float8_e8m0fnu"),
        ("float4_e2m1fn", 6.5, "of which 6.5 does not fit into float4_e2m1fn"),
        ("uint64", -1, "of which -1 does not fit into uint64"),
        ("bfloat16", [[1], [1, 2]], "which numpy cannot make an array of"),
    ],
)
def test_literals_that_the_type_cannot_hold_are_refused(passers, word, value, words):
    with pytest.raises(ortx.CallError) as caught:
        passers[word].run([value, 0.0])
    assert words in str(caught.value)
    assert f"expected {word} of any shape" in str(caught.value)


@pytest.mark.parametrize(
    "value",
    [
        [2**64 - 1, 0],
        (0, 2**64 - 1),
        [[2**63, 1], [0, 2**63 - 1]],
        [np.array([1, 2**63], "uint64"), [0, 1]],
    ],
    ids=str,
)
def test_integers_that_numpy_makes_floats_of_by_itself_are_kept(passers, value):
    wanted = np.array(value, "uint64")
    assert_same(passers["uint64"].run([value, 0.0])["x"], wanted)
    binding = passers["uint64"].create_io_binding()
    binding.bind_input("x", value)
    assert_same(ortx.tensor("uint64", wanted.shape, value).numpy(), wanted)


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("uint64", [2**64, 0]),
        ("uint64", [2**64 - 1, -1]),
        ("uint64", [2**64 - 1, 0.0]),
        ("int64", [2**63, -1]),
        ("int64", [2**64 - 1, 0]),
        ("int8", [2**64 - 1, 0]),
    ],
    ids=str,
)
def test_integers_that_no_such_type_holds_are_refused(passers, word, value):
    with pytest.raises(ortx.CallError, match=f"input 'x': got .*; expected {word} of any shape"):
        passers[word].run([value, 0.0])


SPECIAL = {"inf": float("inf"), "-inf": -float("inf"), "nan": float("nan")}
HAVE_INFINITY = {"bfloat16", "float8_e5m2"}
HAVE_NO_NAN = {"float4_e2m1fn"}


@pytest.mark.parametrize("form", [lambda item: item, lambda item: [item], lambda item: [1.0, item], np.float32])
@pytest.mark.parametrize("special", SPECIAL)
@pytest.mark.parametrize("word", [*SMALL_FLOATS, WITHOUT_KERNEL])
def test_infinity_and_nan_in_literals_are_kept_or_refused(passers, word, special, form):
    value = form(SPECIAL[special])
    if (word in HAVE_INFINITY) if "inf" in special else (word not in HAVE_NO_NAN):
        got = passers[word].run([value, 0.0])["x"]
        np.testing.assert_array_equal(got.astype("float64"), np.asarray(value, "float64"))
        return
    with pytest.raises(ortx.CallError, match=f"of which {special} does not fit into {word}; expected {word} of any"):
        passers[word].run([value, 0.0])
    with pytest.raises(ortx.InvalidArgument, match=f"tensor: values: got .* of which {special} does not fit into"):
        ortx.tensor(word, np.shape(value), value)


@pytest.mark.parametrize("special", SPECIAL)
@pytest.mark.parametrize("word", SMALL_INTEGERS)
def test_infinity_and_nan_are_no_small_integers(passers, word, special):
    with pytest.raises(ortx.CallError, match=f"which holds float64; expected {word} of any shape"):
        passers[word].run([[SPECIAL[special]], 0.0])


# --- masked arrays


@pytest.mark.parametrize("mask", [[False, True], False], ids=["masked", "nothing masked"])
@pytest.mark.parametrize("word", [word for word in ELEMENTS if word != "string"])
def test_a_masked_array_is_refused_as_an_input(passers, word, mask):
    masked = np.ma.array(sample(word, (2,)), mask=mask)
    advice = f"got a masked array; choose what masked elements mean with .filled(); expected {word} of any shape"
    session = passers[word]
    for call, run in (
        ("run", lambda: session.run([masked, 0.0])),
        ("run_into", lambda: session.run_into([masked, 0.0], {"y": np.zeros((), np.float32)})),
        ("submit", lambda: session.submit([masked, 0.0])),
        ("bind_input", lambda: session.create_io_binding().bind_input("x", masked)),
    ):
        with pytest.raises(ortx.CallError) as caught:
            run()
        assert str(caught.value) == f"{call}: input 'x': {advice}"
    with pytest.raises(ortx.InvalidType, match=r"tensor: got a masked array; .*\.filled\(\)"):
        ortx.tensor(masked)


@pytest.mark.parametrize("word", WITH_KERNEL)
def test_a_masked_array_is_refused_as_an_output(copiers, word):
    x = sample(word, (2,))
    masked = np.ma.array(blank(word, (2,)), mask=[False, True])
    before = masked.data.tolist()
    words = f"output 'y': got a masked array; expected a plain one, writable: {word} of any shape$"
    with pytest.raises(ortx.CallError, match=f"run_into: {words}"):
        copiers[word].run_into([x], {"y": masked})
    with pytest.raises(ortx.CallError, match=f"bind_output: {words}"):
        copiers[word].create_io_binding().bind_output("y", masked)
    assert masked.data.tolist() == before


# --- outputs that are copied into their buffers


@pytest.mark.parametrize("word", [*SMALL_INTEGERS, "float32"])
def test_two_outputs_need_a_buffer_each(word):
    node = helper.make_node("Cast", ["x"], ["y"], to=ELEMENTS[word].number)
    other = helper.make_node("Cast", ["x"], ["z"], to=ELEMENTS[word].number)
    with open_session(build([node, other], [declared("x", "int8")], [declared("y", word), declared("z", word)])) as s:
        x, buffer = np.array([1, 0, 1], "int8"), blank(word, (5,))
        for outputs in ({"y": buffer[:3], "z": buffer[:3]}, [buffer[:3], buffer[2:]], [buffer[2:], buffer[:3]]):
            with pytest.raises(ortx.CallError, match="output 'z': shares memory with output 'y'; give each a buffer"):
                s.run_into([x], outputs)
        assert_same(buffer, blank(word, (5,)))
        both = blank(word, (6,))
        s.run_into([x], [both[:3], both[3:]])
        assert_same(both, np.array([1, 0, 1, 1, 0, 1], "int8").astype(dtype_of(word)))


# --- numpy's scalars and lists in a binding


@pytest.mark.parametrize("word", [word for word in ELEMENTS if word != "string"])
@pytest.mark.parametrize("form", ["scalar", "list", "tuple", "number", "list of scalars"])
def test_what_is_no_memory_is_bound_as_it_is_now(passers, word, form):
    one = np.ones((), "int8").astype(dtype_of(word))
    value = {
        "scalar": one[()],
        "number": one.tolist(),
        "list": [one.tolist()],
        "tuple": (one.tolist(), one.tolist()),
        "list of scalars": [one[()]],
    }[form]
    shape = np.shape(value)
    wanted = np.broadcast_to(one, shape)
    copier = copying(word) if word != WITHOUT_KERNEL else passing_on(word)
    with open_session(copier) as session:
        binding = session.create_io_binding()
        binding.bind_input("x", value)
        if word == WITHOUT_KERNEL:
            return  # nothing can read it
        binding.bind_output("y")
        assert_same(binding.run()["y"], np.ascontiguousarray(wanted).reshape(shape))


@pytest.mark.parametrize("word", [word for word in ELEMENTS if word != "string"])
def test_strings_and_bytes_are_no_numbers(passers, word):
    for value in (["a"], np.array(["a"]), np.array(["a"], object), np.array([b"a"])):
        with pytest.raises(ortx.CallError, match="input 'x': got"):
            passers[word].run([value, 0.0])


# --- ortx.tensor


@pytest.mark.parametrize("word", ELEMENTS)
def test_a_tensor_has_any_element_type(word):
    x = sample(word)
    tensor = ortx.tensor(x)
    assert tensor.numpy() is x
    assert (tensor.data_type, tensor.dtype, tensor.shape) == (ELEMENTS[word].onnx, x.dtype, x.shape)
    new = ortx.tensor(word, [3, 2])
    assert (new.data_type, new.dtype, new.shape) == (ELEMENTS[word].onnx, x.dtype, (3, 2))
    assert_same(new.numpy(), np.full((3, 2), "", object) if word == "string" else np.zeros((3, 2), x.dtype))
    assert ortx.tensor(word, (2, 0)).shape == (2, 0)


@pytest.mark.parametrize("word", FROM_ML_DTYPES)
def test_a_tensor_is_made_of_values_that_fit(word):
    tensor = ortx.tensor(word, (1, 2), [1, 1])
    assert_same(tensor.numpy(), np.array([[1, 1]], "int8").astype(dtype_of(word)))
    with pytest.raises(ortx.InvalidArgument, match=f"tensor: values: got .* does not fit into {word}"):
        ortx.tensor(word, (1,), [1e300] if "float" in word else [100])


# --- when ml_dtypes is imported


@pytest.fixture
def model_files(tmp_path):
    """Write models for another process, which then need not import onnx: that imports ml_dtypes."""

    def model_files(**models: bytes) -> list[str]:
        for name, model in models.items():
            (tmp_path / f"{name}.onnx").write_bytes(model)
        return [str(tmp_path)]

    return model_files


PRELUDE = """
import sys, os
import numpy as np
import ortx
from ortx import _core

def open(name):
    return ortx.session(os.path.join(sys.argv[1], name + ".onnx"), intra_op_num_threads=2)
"""


def test_ml_dtypes_is_imported_when_one_of_its_types_appears(run_python, model_files):
    code = """
    for word in ("float32", "int64", "bool", "string", "float16"):
        x = np.array(["a", "b"], object) if word == "string" else np.array([0, 1], word)
        with open(word) as session:
            assert session.run([x])[0].tolist() == session.run([x.tolist()])[0].tolist() == x.tolist()
            y = np.empty_like(x)
            session.run_into([x], [y])
            binding = session.create_io_binding()
            binding.bind_input("x", x)
            binding.bind_output("y", {"type": word, "shape": (2,)})
            binding.run()
            session.submit([x]).result()
            for wrong in (["a", 1], 1j, np.zeros(2, "uint8"), np.zeros(2, "datetime64[s]"), np.zeros(2, ">f8")):
                try:
                    session.run([wrong])
                except ortx.CallError as error:
                    pass
                else:
                    raise AssertionError(wrong)
            del binding
    with open("to_bfloat16") as session:
        assert session.output_info("y").data_type == "bfloat16"
        assert "ml_dtypes" not in sys.modules
        y = session.run([[1.5, 2.0]])[0]
        assert "ml_dtypes" in sys.modules
        import ml_dtypes
        assert y.dtype == ml_dtypes.bfloat16 and y.tolist() == [1.5, 2.0], y
    """
    paths = model_files(
        to_bfloat16=cast("float32", "bfloat16"),
        **{word: copying(word) for word in ("float32", "int64", "bool", "string", "float16")},
    )
    done = run_python(PRELUDE + textwrap.dedent(code), *paths)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("word", ["bfloat16", "uint4", "float8_e8m0fnu"])
def test_an_array_of_ml_dtypes_is_known_whoever_imported_it(run_python, model_files, word):
    code = f"""
    session = open("copying")
    import ml_dtypes
    x = np.array([1, 2], ml_dtypes.{word})
    y = session.run([x])[0]
    assert (y.dtype, y.tolist()) == (x.dtype, x.tolist())
    session.close()
    """
    done = run_python(PRELUDE + textwrap.dedent(code), *model_files(copying=copying(word)))
    assert done.returncode == 0, done.stderr


WITHOUT_ML_DTYPES = """
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "ml_dtypes":
            raise ModuleNotFoundError("No module named 'ml_dtypes'", name="ml_dtypes")

sys.meta_path.insert(0, Blocker())
"""
STUB_OF_ML_DTYPES = """
import types
sys.modules["ml_dtypes"] = types.ModuleType("ml_dtypes")
"""


@pytest.mark.parametrize("how", ["missing", "too old"])
@pytest.mark.parametrize("word", ["bfloat16", "float8_e4m3fn", "uint4", "int2"])
def test_without_ml_dtypes_the_error_says_how_to_install_it(run_python, model_files, word, how):
    code = f"""
    def refused(function):
        try:
            function()
        except ortx.NotSupported as error:
            assert str(error) == (
                "tensor({ELEMENTS[word].onnx}) needs the package ml_dtypes, and one that has {word}: "
                "pip install -U ml_dtypes"), error
        else:
            raise AssertionError("not refused")

    def bound(session, **inputs):
        binding = session.create_io_binding()
        for name, value in inputs.items():
            binding.bind_input(name, value)
        binding.bind_output("y")
        binding.run()

    to, of = open("to"), open("of")
    x = np.zeros(3, "int8")
    before = _core._live_handles()
    refused(lambda: to.run([x]))
    refused(lambda: to.run_into([x], [None]))
    refused(lambda: to.submit([x]).result())
    refused(lambda: bound(to, x=x))
    refused(lambda: of.run([[1, 2]]))
    refused(lambda: bound(of, x=[1, 2]))
    refused(lambda: ortx.tensor("{word}", (3,)))
    refused(lambda: to.create_io_binding().bind_output("y", {{"type": "{word}", "shape": (3,)}}))
    assert _core._live_handles() == before, (_core._live_handles(), before)
    for session, values in ((to, [1.0]), (of, [np.zeros(3, "uint8")])):
        try:
            session.run(values)
        except ortx.CallError:
            pass
        else:
            raise AssertionError(values)
    to.close()
    of.close()
    """
    paths = model_files(to=cast("int8", word), of=cast(word, "int8"))
    setup = WITHOUT_ML_DTYPES if how == "missing" else STUB_OF_ML_DTYPES
    done = run_python(PRELUDE + setup + textwrap.dedent(code), *paths)
    assert done.returncode == 0, done.stderr


# --- libraries that number the newest types as TensorProto does


@pytest.mark.parametrize("version", ["1.24.1", "1.30.0", "1.31.1"])
def test_the_newest_types_have_right_values_whatever_the_library_calls_them(
    run_python, model_files, runtime_wheel, version
):
    code = f"""
    import ml_dtypes
    assert ortx.load_library().version == "{version}", ortx.load_library()

    def check(name, given, wanted):
        with open(name) as session:
            into = np.zeros(wanted.shape, wanted.dtype)
            tensor = ortx.tensor(session.output_info("y").data_type, wanted.shape)
            session.run_into([given], [into])
            session.run_into([ortx.tensor(given)], [tensor])
            binding = session.create_io_binding()
            binding.bind_input("x", given)
            binding.bind_output("y")
            got = [session.run([given])[0], session.run([given.tolist()])[0], into, tensor.numpy(), binding.run()[0]]
            binding.bind_output("y", {{"type": session.output_info("y").data_type, "shape": wanted.shape}})
            got.append(binding.run()[0].numpy())
            for y in got:
                assert (y.dtype, y.tolist()) == (wanted.dtype, wanted.tolist()), (name, y, wanted)
            del binding, got, y

    values = {{"uint2": [[3, 1, 0, 2, 1]], "int2": [[-2, 1, 0, -1, 1]], "uint4": [[15, 1, 8]], "int4": [[-8, 7, -1]],
              "float8_e8m0fnu": [[1.0, 0.5, 4.0]], "bfloat16": [[1.5, -2.0, 3.0]]}}
    for word in sys.argv[2].split():
        small = np.array(values[word]).astype(getattr(ml_dtypes, word))
        wide = np.array(values[word], "float32" if "float" in word else "int8")
        check("of_" + word, small, wide)
        check("to_" + word, wide, small)
    """
    words = ["uint2", "int2", "uint4", "int4", "bfloat16"]
    if version != "1.24.1":
        words.append("float8_e8m0fnu")  # which came with 1.27
    paths = model_files(
        **{f"of_{word}": cast(word, "float32" if "float" in word else "int8") for word in words},
        **{f"to_{word}": cast("float32" if "float" in word else "int8", word) for word in words},
    )
    done = run_python(PRELUDE + textwrap.dedent(code), *paths, " ".join(words), ORTX_LIBRARY=runtime_wheel(version))
    assert done.returncode == 0, done.stderr
