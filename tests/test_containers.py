"""Sequences, maps and optionals, in and out (`_core.src/container.pxi`)."""

from __future__ import annotations

import collections
import gc
import re
import types

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import ortx
from ortx import _core

FLOAT, STRING, INT64, DOUBLE = TensorProto.FLOAT, TensorProto.STRING, TensorProto.INT64, TensorProto.DOUBLE
DTYPES = {  # of which ONNX Runtime has sequences with operators
    "float32": FLOAT,
    "float64": DOUBLE,
    "float16": TensorProto.FLOAT16,
    "int8": TensorProto.INT8,
    "int16": TensorProto.INT16,
    "int32": TensorProto.INT32,
    "int64": INT64,
    "uint8": TensorProto.UINT8,
    "uint16": TensorProto.UINT16,
    "uint32": TensorProto.UINT32,
    "uint64": TensorProto.UINT64,
    "bool": TensorProto.BOOL,
    "string": STRING,
}
WITHOUT_OPERATORS = {  # which a model can only pass on
    "bfloat16": TensorProto.BFLOAT16,
    "float8_e4m3fn": TensorProto.FLOAT8E4M3FN,
    "int4": TensorProto.INT4,
    "uint4": TensorProto.UINT4,
}
A, B = np.array([1, 2], np.float32), np.array([[3, 4, 5]], np.float32)


# --- models


def build(nodes, inputs, outputs, initializers=()) -> bytes:
    graph = helper.make_graph(list(nodes), "graph", inputs, outputs, list(initializers))
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString()


def tensor(name: str, element_type: int = FLOAT, shape=None) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, element_type, shape)


def sequence(name: str, element_type: int = FLOAT, shape=None) -> onnx.ValueInfoProto:
    return helper.make_tensor_sequence_value_info(name, element_type, shape)


def map_type(key_type: int, value_type: int) -> onnx.TypeProto:
    return helper.make_map_type_proto(key_type, helper.make_tensor_type_proto(value_type, None))


def passing_on(type_proto: onnx.TypeProto) -> bytes:
    """Give the input x itself as an output, which needs no kernel; z and y are there for the node."""
    x = helper.make_value_info("x", type_proto)
    return build([helper.make_node("Identity", ["z"], ["y"])], [x, tensor("z")], [x, tensor("y")])


def identity(element_type: int = FLOAT, shape=None) -> bytes:
    return build(
        [helper.make_node("Identity", ["x"], ["y"])],
        [sequence("x", element_type, shape)],
        [sequence("y", element_type, shape)],
    )


def appending() -> bytes:
    """y = s with x added three times"""
    nodes = [
        helper.make_node("SequenceInsert", ["s", "x"], ["s1"]),
        helper.make_node("SequenceInsert", ["s1", "x"], ["s2"]),
        helper.make_node("SequenceInsert", ["s2", "x"], ["y"]),
    ]
    return build(nodes, [sequence("s"), tensor("x")], [sequence("y")])


def zip_map(**labels: object) -> bytes:
    key_type = STRING if "classlabels_strings" in labels else INT64
    node = helper.make_node("ZipMap", ["x"], ["y"], domain="ai.onnx.ml", **labels)
    return build(
        [node], [tensor("x")], [helper.make_value_info("y", helper.make_sequence_type_proto(map_type(key_type, FLOAT)))]
    )


def open_session(model: bytes) -> ortx.Session:
    return ortx.session_from_bytes(model)


@pytest.fixture(scope="module")
def identities():
    """One session per element type that copies a sequence."""
    sessions = {dtype: open_session(identity(number)) for dtype, number in DTYPES.items()}
    yield sessions
    for session in sessions.values():
        session.close()


@pytest.fixture(scope="module")
def passers():
    """One session per element type that passes a sequence on."""
    sessions = {
        dtype: open_session(passing_on(sequence("x", number).type))
        for dtype, number in (DTYPES | WITHOUT_OPERATORS).items()
    }
    yield sessions
    for session in sessions.values():
        session.close()


def bound(session, x):
    binding = session.create_io_binding()
    binding.bind_input("x", x)
    binding.bind_output("y")
    return binding.run()["y"]


WAYS = {
    "run": lambda session, x: session.run({"x": x})["y"],
    "run_into": lambda session, x: session.run_into([x], {"y": None})["y"],
    "submit": lambda session, x: session.submit([x]).result(timeout=60)["y"],
    "binding": bound,
}
EACH_WAY = pytest.mark.parametrize("way", WAYS)


def sample(dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    count = int(np.prod(shape))
    if dtype == "string":
        return np.array([f"{i}\0é" for i in range(count)], object).reshape(shape)
    return (np.arange(count) % 2).astype(getattr(ml_dtypes, dtype, dtype)).reshape(shape)


def assert_same_elements(got: object, wanted: list) -> None:
    assert type(got) is list
    assert len(got) == len(wanted)
    for item, expected in zip(got, wanted, strict=True):
        assert isinstance(item, np.ndarray)
        assert (item.dtype, item.shape) == (expected.dtype, expected.shape)
        assert item.tolist() == expected.tolist()


# --- sequences of tensors


@EACH_WAY
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_sequence_of_any_type_goes_in_and_comes_out(identities, dtype, way):
    x = [sample(dtype, shape) for shape in ((2,), (), (0, 3), (1, 2, 3))]
    assert_same_elements(WAYS[way](identities[dtype], x), x)


@pytest.mark.parametrize("dtype", [*DTYPES, *WITHOUT_OPERATORS])
def test_a_sequence_that_is_passed_on_is_a_copy(passers, dtype):
    x = [sample(dtype, shape) for shape in ((2,), (), (0, 3), (1, 2, 3))]
    for got in (passers[dtype].run([x, 0.0])["x"], passers[dtype].run_into([x, 0.0], {"x": None})["x"]):
        assert_same_elements(got, x)
        assert not any(np.shares_memory(item, given) for item, given in zip(got, x, strict=True))


@EACH_WAY
@pytest.mark.parametrize("empty", [[], ()], ids=["list", "tuple"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_an_empty_sequence_goes_in_and_comes_out(identities, dtype, empty, way):
    assert WAYS[way](identities[dtype], empty) == []


def test_an_empty_sequence_of_bfloat16_works(passers):
    assert passers["bfloat16"].run([[], 0.0])["x"] == []


@pytest.mark.parametrize("dtype", ["int4", "uint4", "float8_e4m3fn"])
def test_onnx_runtime_makes_no_empty_sequence_of_the_smallest_types(passers, dtype):
    with pytest.raises(ortx.NotSupported):
        passers[dtype].run([[], 0.0])


@EACH_WAY
@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ((A, B), [A, B]),
        ([A, A, A], [A, A, A]),
        ([A.tolist(), B], [A, B]),
        ([1, 2.5], [np.array(1, "f4"), np.array(2.5, "f4")]),
        ([[]], [np.zeros(0, "f4")]),
        ([ortx.tensor(A), memoryview(B)], [A, B]),
        ([B.T, A[::-1], np.asfortranarray(np.tile(B, (2, 1)))], [B.T, A[::-1], np.tile(B, (2, 1))]),
        ([np.broadcast_to(A, (3, 2))], [np.tile(A, (3, 1))]),
        (tuple(np.array([i], "f4") for i in range(100)), [np.array([i], "f4") for i in range(100)]),
    ],
    ids=["tuple", "repeated", "list inside", "scalars", "empty tensor", "exporters", "layouts", "broadcast", "many"],
)
def test_the_elements_may_be_whatever_an_input_may_be(identities, value, wanted, way):
    assert_same_elements(WAYS[way](identities["float32"], value), wanted)


def test_the_elements_of_a_string_sequence_may_be_whatever_a_string_input_may_be(identities):
    x = [["a", b"b"], np.array([["c\0d"]]), "e", np.array([b"f"]), []]
    got = identities["string"].run([x])[0]
    assert [item.tolist() for item in got] == [["a", "b"], [["c\0d"]], "e", ["f"], []]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (A, "got array([1., 2.], dtype=float32) (ndarray); expected a list or tuple: seq(tensor(float))"),
        (1.0, "got 1.0 (float); expected a list or tuple"),
        (None, "got None; expected seq(tensor(float))"),
        ("ab", "got 'ab' (str); expected a list or tuple"),
        ({"a": A}, "(dict); expected a list or tuple"),
        ((item for item in [A]), "(generator); expected a list or tuple"),
        ([A, A.astype("float64")], "element 1: got float64 of shape (2,); expected float32 of any shape: convert it"),
        ([None, A], "element 0: got None; expected float32"),
        ([A, "text", B], "element 1: got 'text' (str)"),
        ([[A, B]], "element 0: got [array("),
        ([1e300], "element 0: got 1e+300 (float), of which 1e+300 does not fit into float32"),
    ],
)
@pytest.mark.parametrize("way", ["run", "submit", "binding"])
def test_what_is_no_sequence_is_refused_with_its_position(identities, value, words, way):
    with pytest.raises(ortx.CallError) as caught:
        WAYS[way](identities["float32"], value)
    assert ": input 'x': " in str(caught.value)
    assert words in str(caught.value)


def test_three_wrong_elements_are_reported_and_the_others_counted(identities):
    with pytest.raises(ortx.CallError) as caught:
        identities["float32"].run([[A, 1j, A, "a", "b", "c", "d"]])
    assert re.findall(r"element (\d)", str(caught.value)) == ["1", "3", "4"]
    assert str(caught.value).endswith(" (and 2 more)")


def test_the_shape_of_the_elements_is_checked():
    with ortx.session_from_bytes(identity(shape=("n", 2))) as session:
        assert_same_elements(
            session.run([[np.ones((3, 2), "f4"), np.ones((1, 2), "f4")]])[0],
            [
                np.ones((3, 2), "f4"),
                np.ones((1, 2), "f4"),
            ],
        )
        with pytest.raises(ortx.CallError, match=r"element 1: got float32 of shape \(2, 3\).*: dimension 1 must be 2"):
            session.run([[np.ones((3, 2), "f4"), np.ones((2, 3), "f4")]])


def test_an_input_sequence_and_its_arrays_stay_as_they_were(identities):
    x = [A.copy(), B.T]
    kept = list(x)
    for way in WAYS.values():
        way(identities["float32"], x)
    assert all(item is given for item, given in zip(x, kept, strict=True))
    assert_same_elements(x, [A, B.T])


def test_a_sequence_goes_to_operators_and_comes_from_them():
    nodes = [
        helper.make_node("SequenceLength", ["x"], ["count"]),
        helper.make_node("ConcatFromSequence", ["x"], ["all"], axis=0),
        helper.make_node("SplitToSequence", ["all"], ["parts"], axis=0),
    ]
    model = build(nodes, [sequence("x")], [tensor("count", INT64, ()), tensor("all"), sequence("parts")])
    with ortx.session_from_bytes(model) as session:
        count, whole, parts = session.run([[[1, 2], [3]]])
    assert (count.tolist(), whole.tolist()) == (2, [1, 2, 3])
    assert [part.tolist() for part in parts] == [[1], [2], [3]]


# --- runs of a binding


def test_a_bound_sequence_grows_from_run_to_run():
    with ortx.session_from_bytes(appending()) as session:
        binding = session.create_io_binding()
        binding.bind_input("x", A)
        binding.bind_input("s", [])
        binding.bind_output("y")
        results = []
        for _ in range(3):
            results.append(binding.run()["y"])
            binding.bind_input("s", results[-1])
        assert [len(result) for result in results] == [3, 6, 9]
        for result in results:
            assert_same_elements(result, [A] * len(result))


def test_a_sequence_output_is_made_anew_in_each_run():
    with ortx.session_from_bytes(appending()) as session:
        binding = session.create_io_binding()
        x = A.copy()
        binding.bind_input("s", [])
        binding.bind_input("x", x)
        for spec in (None, {"mode": "device"}):
            binding.bind_output("y", spec)
            x[:] = 1
            first = binding.run()["y"]
            assert binding.get_outputs()["y"] is first
            x[:] = 7
            second = binding.run()["y"]
            assert [item.tolist() for item in first] == [[1, 1]] * 3
            assert [item.tolist() for item in second] == [[7, 7]] * 3


@pytest.mark.parametrize("spec", [A, [A], {"type": "float32", "shape": (2,)}], ids=["array", "list", "type and shape"])
def test_a_sequence_output_takes_no_buffer(identities, spec):
    binding = identities["float32"].create_io_binding()
    with pytest.raises(ortx.CallError, match=r"output 'y': got .*; expected None, since seq\(tensor\(float\)\)"):
        binding.bind_output("y", spec)
    if not isinstance(spec, dict):
        with pytest.raises(ortx.CallError, match="output 'y': got .*; expected None, since"):
            identities["float32"].run_into([[A]], [spec])


def test_a_bound_sequence_keeps_its_arrays_alive(identities):
    binding = identities["float32"].create_io_binding()
    binding.bind_input("x", [np.full(1000, i, np.float32) for i in range(20)])
    binding.bind_output("y")
    gc.collect()
    _ = [np.full(1000, -1, np.float32) for _ in range(100)]  # would take the place of what was given back
    got = binding.run()["y"]
    assert [(item.min(), item.max()) for item in got] == [(i, i) for i in range(20)]


# --- what is returned belongs to the caller


@EACH_WAY
def test_elements_outlive_the_session_and_the_list(way):
    session = open_session(identity())
    given = [np.arange(1000, dtype=np.float32) + i for i in range(20)]
    got = WAYS[way](session, given)
    session.close()
    del session, given
    gc.collect()
    kept = [got[3], got[7][10:20]]
    del got
    gc.collect()
    _ = [np.full(1000, -1, np.float32) for _ in range(100)]
    assert kept[0].tolist() == list(range(3, 1003))
    assert kept[1].tolist() == list(range(17, 27))
    kept[0][:] = 5
    assert kept[0].sum() == 5000


def test_returned_lists_and_elements_are_fresh(identities):
    first, second = identities["float32"].run([[A, A]])[0], identities["float32"].run([[A, A]])[0]
    assert first is not second
    first[0][:] = 9
    first.append("mine")
    assert_same_elements(second, [A, A])
    assert first[1].tolist() == A.tolist() == [1, 2]


def test_nothing_is_left_after_many_sequences_and_errors(identities):
    session = identities["float32"]
    gc.collect()
    before = _core._live_handles()
    for _ in range(50):
        session.run([[A, B, []]])
        session.run([[]])
        with pytest.raises(ortx.CallError):
            session.run([[A, B, "wrong"]])
    assert _core._live_handles() == before


# --- maps

KEYS = {STRING: ["b", "a\0é", ""], INT64: [7, -(2**63), 2**63 - 1]}
VALUES = {
    FLOAT: [0.5, -2.0, float("inf")],
    DOUBLE: [0.1, -2.0, 1e300],
    INT64: [2**63 - 1, -1, 0],
    STRING: ["x", "", "y\0é"],
}


@pytest.mark.parametrize("value_type", VALUES)
@pytest.mark.parametrize("key_type", KEYS)
def test_every_map_that_onnx_runtime_has_goes_in_and_comes_out(key_type, value_type):
    x = dict(zip(KEYS[key_type], VALUES[value_type], strict=True))
    with open_session(passing_on(map_type(key_type, value_type))) as session:
        for given in (x, types.MappingProxyType(x), collections.OrderedDict(x)):
            got = session.run([given, 0.0])["x"]
            assert type(got) is dict
            assert got == x
            assert {type(key) for key in got} == {type(key) for key in x}
            assert {type(value) for value in got.values()} == {type(value) for value in x.values()}
        assert session.run([{}, 0.0])["x"] == {}
        assert session.submit([x, 0.0]).result(timeout=60)["x"] == x
        assert session.run_into([x, 0.0], {"x": None})["x"] == x


@pytest.mark.parametrize(
    ("key_type", "value_type", "wanted"),
    [
        (STRING, FLOAT, [[0, 4, 0]]),
        (STRING, DOUBLE, [[0, 4, 0]]),
        (STRING, INT64, [[0, 4, 0]]),
        (INT64, FLOAT, [[0, 4, 0]]),
        (INT64, DOUBLE, [[0, 4, 0]]),
        (INT64, STRING, [["", "4", ""]]),
    ],
)
def test_a_map_goes_into_a_dict_vectorizer(key_type, value_type, wanted):
    vocabulary = {"string_vocabulary": ["a", "b", "c"]} if key_type == STRING else {"int64_vocabulary": [10, 20, 30]}
    node = helper.make_node("DictVectorizer", ["x"], ["y"], domain="ai.onnx.ml", **vocabulary)
    x = {("b" if key_type == STRING else 20): ("4" if value_type == STRING else 4)}
    model = build([node], [helper.make_value_info("x", map_type(key_type, value_type))], [tensor("y", value_type)])
    with open_session(model) as session:
        for way in WAYS.values():
            assert way(session, x).tolist() == wanted


@pytest.mark.parametrize(
    ("value_type", "cast_to", "output_type", "x", "wanted"),
    [
        (FLOAT, "TO_FLOAT", FLOAT, {3: 1.5, 1: 2.5}, [[2.5, 1.5]]),
        (STRING, "TO_FLOAT", FLOAT, {3: "1.5", 1: "2.5"}, [[2.5, 1.5]]),
        (STRING, "TO_INT64", INT64, {3: "1", 1: "2"}, [[2, 1]]),
        (STRING, "TO_STRING", STRING, {3: "é", 1: ""}, [["", "é"]]),
    ],
)
def test_a_map_goes_into_a_cast_map(value_type, cast_to, output_type, x, wanted):
    node = helper.make_node("CastMap", ["x"], ["y"], domain="ai.onnx.ml", cast_to=cast_to)
    model = build([node], [helper.make_value_info("x", map_type(INT64, value_type))], [tensor("y", output_type)])
    with open_session(model) as session:
        for way in WAYS.values():
            assert way(session, x).tolist() == wanted


@pytest.mark.parametrize(
    ("types_of_map", "value", "words"),
    [
        ((STRING, FLOAT), {1: 2.0}, "keys: got 1 (int); expected map(string,tensor(float))"),
        ((STRING, FLOAT), {b"a": 2.0}, "keys: got b'a' (bytes)"),
        ((STRING, FLOAT), {"a": 1.0, None: 2.0}, "keys: got None (NoneType)"),
        ((STRING, FLOAT), {"\ud800": 1.0}, r"keys: got '\ud800' (str), which cannot be written as UTF-8"),
        ((STRING, FLOAT), {"a": "b"}, "values: got ['b'] (list), which holds <U1"),
        ((STRING, FLOAT), {"a": None}, "values: got [None] (list), which holds object"),
        ((STRING, FLOAT), {"a": 1e300}, "values: got [1e+300] (list), of which 1e+300 does not fit into float32"),
        ((STRING, FLOAT), {"a": [1.0], "b": [2.0]}, "values: got [[1.0], [2.0]] (list); expected"),
        ((STRING, INT64), {"a": 1.0}, "values: got [1.0] (list), which holds float64"),
        ((STRING, STRING), {"a": b"b"}, "values: got b'b' (bytes)"),
        ((STRING, STRING), {"a": "\udc80"}, r"values: got '\udc80' (str), which cannot be written as UTF-8"),
        ((INT64, FLOAT), {"a": 1.0}, "keys: got ['a'] (list), which holds <U1"),
        ((INT64, FLOAT), {1.5: 1.0}, "keys: got [1.5] (list), which holds float64"),
        ((INT64, FLOAT), {2**63: 1.0}, "of which 9223372036854775808 does not fit into int64"),
        ((STRING, FLOAT), [("a", 1.0)], "got [('a', 1.0)] (list); expected a dict: map(string,tensor(float))"),
        ((STRING, FLOAT), None, "got None; expected map(string,tensor(float))"),
        ((STRING, FLOAT), np.zeros(2), "expected a dict"),
    ],
)
def test_what_is_no_such_map_is_refused(types_of_map, value, words):
    with open_session(passing_on(map_type(*types_of_map))) as session:
        before = _core._live_handles()
        with pytest.raises(ortx.CallError) as caught:
            session.run([value, 0.0])
        assert _core._live_handles() == before
    assert "run: input 'x': " in str(caught.value)
    assert words in str(caught.value)


def test_numpys_numbers_and_strings_are_keys_and_values():
    with open_session(passing_on(map_type(STRING, FLOAT))) as session:
        assert session.run([{np.str_("a"): np.float32(1.5), "b": np.int8(2)}, 0.0])["x"] == {"a": 1.5, "b": 2.0}
    with open_session(passing_on(map_type(INT64, STRING))) as session:
        assert session.run([{np.int32(5): np.str_("a")}, 0.0])["x"] == {5: "a"}


@EACH_WAY
@pytest.mark.parametrize("dtype", [dtype for dtype in DTYPES if dtype != "string"])
def test_a_masked_array_in_a_sequence_is_refused(identities, way, dtype):
    plain = np.array([1, 0], dtype)
    for mask in ([True, False], False):
        with pytest.raises(ortx.CallError, match=r"input 'x': element 1: got a masked array; .*\.filled\(\)"):
            WAYS[way](identities[dtype], [plain, np.ma.array(plain, mask=mask)])


@EACH_WAY
def test_large_integers_in_a_sequence_are_kept(identities, way):
    (got,) = WAYS[way](identities["uint64"], [[2**64 - 1, 0]])
    np.testing.assert_array_equal(got, np.array([2**64 - 1, 0], np.uint64), strict=True)


# --- sequences of maps


@EACH_WAY
def test_zip_map_returns_a_list_of_dictionaries(way):
    x = np.array([[0.25, 0.75], [1, 0]], np.float32)
    for labels in ({"classlabels_int64s": [5, -7]}, {"classlabels_strings": ["a", "é\0"]}):
        (keys,) = labels.values()
        with open_session(zip_map(**labels)) as session:
            got = WAYS[way](session, x)
            assert got == [dict(zip(keys, row, strict=True)) for row in x.tolist()]
            assert type(got) is list
            assert all(type(row) is dict for row in got)
            assert {type(value) for row in got for value in row.values()} == {float}
            assert WAYS[way](session, np.zeros((0, 2), np.float32)) == []


@pytest.mark.parametrize(("key", "key_type"), [("a", STRING), (7, INT64)])
def test_a_sequence_of_maps_goes_in_and_comes_out(key, key_type):
    x = [{key: 0.5}, {}, {key: 1.5}]
    model = passing_on(helper.make_sequence_type_proto(map_type(key_type, FLOAT)))
    with open_session(model) as session:
        assert session.run([x, 0.0])["x"] == x
        assert session.run([tuple(x), 0.0])["x"] == x
        with pytest.raises(ortx.CallError, match=r"input 'x': element 1: got 1\.5 \(float\); expected a dict"):
            session.run([[x[0], 1.5], 0.0])
        with pytest.raises(ortx.CallError, match="input 'x': element 1: values: got"):
            session.run([[x[0], {key: "text"}], 0.0])
        with pytest.raises(ortx.NotSupported, match=r"ONNX Runtime can make no empty seq\(map\("):
            session.run([[], 0.0])


def test_each_run_of_a_binding_returns_new_dictionaries():
    with open_session(zip_map(classlabels_int64s=[5, 7])) as session:
        x = np.array([[0.25, 0.75]], np.float32)
        binding = session.create_io_binding()
        binding.bind_input("x", x)
        binding.bind_output("y")
        first = binding.run()["y"]
        x[0, 0] = 0.5
        second = binding.run()["y"]
        assert (first, second) == ([{5: 0.25, 7: 0.75}], [{5: 0.5, 7: 0.75}])


# --- optionals


def optional(type_proto: onnx.TypeProto) -> onnx.TypeProto:
    return helper.make_optional_type_proto(type_proto)


def giving(element: onnx.TypeProto) -> bytes:
    """y = x if c, else nothing"""

    def branch(name: str, node: onnx.NodeProto) -> onnx.GraphProto:
        return helper.make_graph([node], name, [], [helper.make_value_info(node.output[0], optional(element))])

    node = helper.make_node(
        "If",
        ["c"],
        ["y"],
        then_branch=branch("then", helper.make_node("Optional", ["x"], ["full"])),
        else_branch=branch("else", helper.make_node("Optional", [], ["empty"], type=element)),
    )
    return build(
        [node],
        [helper.make_value_info("x", element), tensor("c", TensorProto.BOOL, ())],
        [helper.make_value_info("y", optional(element))],
    )


def giving_bound(session, x, c):
    binding = session.create_io_binding()
    binding.bind_input("x", x)
    binding.bind_input("c", c)
    binding.bind_output("y")
    return binding.run()["y"]


@pytest.mark.parametrize(
    "run",
    [
        lambda session, x, c: session.run([x, c])[0],
        lambda session, x, c: session.run_into([x, c], [None])[0],
        lambda session, x, c: session.submit([x, c]).result(timeout=60)[0],
        giving_bound,
    ],
    ids=["run", "run_into", "submit", "binding"],
)
@pytest.mark.parametrize(
    ("element", "x"),
    [
        (helper.make_tensor_type_proto(FLOAT, None), A),
        (helper.make_tensor_type_proto(STRING, None), np.array(["a", "é\0"], object)),
        (helper.make_sequence_type_proto(helper.make_tensor_type_proto(FLOAT, None)), [A, B]),
        (helper.make_sequence_type_proto(helper.make_tensor_type_proto(FLOAT, None)), []),
        (helper.make_sequence_type_proto(helper.make_tensor_type_proto(STRING, None)), [np.array(["a"], object)]),
    ],
    ids=["tensor", "strings", "sequence", "empty sequence", "sequence of strings"],
)
def test_an_optional_output_has_a_value_or_is_none(element, x, run):
    with open_session(giving(element)) as session:
        for _ in range(2):  # what one run leaves behind must not show in the next
            got = run(session, x, True)
            if isinstance(x, list):
                assert_same_elements(got, x)
            else:
                assert (got.dtype, got.tolist()) == (x.dtype, x.tolist())
            assert run(session, x, False) is None


def test_a_bound_optional_output_changes_from_run_to_run():
    with open_session(giving(helper.make_tensor_type_proto(FLOAT, None))) as session:
        c, binding = np.array(True), session.create_io_binding()
        binding.bind_input("x", A)
        binding.bind_input("c", c)
        binding.bind_output("y")
        got = []
        for value in (True, False, True, False):
            c[...] = value
            got.append(binding.run()["y"])
        assert [None if y is None else y.tolist() for y in got] == [[1, 2], None, [1, 2], None]


@pytest.mark.parametrize(
    ("element", "value"),
    [
        (helper.make_tensor_type_proto(FLOAT, None), A),
        (helper.make_tensor_type_proto(STRING, None), np.array(["a", "b\0"], object)),
        (helper.make_tensor_type_proto(TensorProto.INT4, None), np.array([1, -8, 7], ml_dtypes.int4)),
        (helper.make_tensor_type_proto(TensorProto.BFLOAT16, None), np.array([1.5], ml_dtypes.bfloat16)),
        (helper.make_sequence_type_proto(helper.make_tensor_type_proto(FLOAT, None)), [A, B]),
        (helper.make_sequence_type_proto(helper.make_tensor_type_proto(FLOAT, None)), []),
        (helper.make_sequence_type_proto(helper.make_tensor_type_proto(STRING, None)), [np.array(["a"], object)]),
    ],
    ids=["tensor", "strings", "int4", "bfloat16", "sequence", "empty sequence", "sequence of strings"],
)
def test_an_optional_input_takes_what_its_element_takes_or_nothing(element, value):
    with open_session(passing_on(optional(element))) as session:
        for given in (value, ortx.optional(value), ortx.optional(value, session.input_info("x"))):
            got = session.run([given, 0.0])["x"]
            if isinstance(value, list):
                assert_same_elements(got, value)
            else:
                assert (got.dtype, got.tolist()) == (value.dtype, value.tolist())
        with pytest.raises(ortx.CallError, match=r"input 'x': got 1j \(complex\)"):
            session.run([1j, 0.0])


def test_an_optional_sequence_may_be_left_out():
    element = helper.make_sequence_type_proto(helper.make_tensor_type_proto(FLOAT, None))
    zero = helper.make_node("Constant", [], ["zero"], value_int=0)
    one = helper.make_node("OptionalGetElement", ["x"], ["element"])
    count = helper.make_node("SequenceLength", ["element"], ["length"])
    choice = helper.make_node(
        "If",
        ["given"],
        ["y"],
        then_branch=helper.make_graph([one, count], "then", [], [tensor("length", INT64, ())]),
        else_branch=helper.make_graph([zero], "else", [], [tensor("zero", INT64, ())]),
    )
    given = helper.make_node("OptionalHasElement", ["x"], ["given"])
    model = build(
        [given, choice],
        [helper.make_value_info("x", optional(element))],
        [tensor("y", INT64), tensor("given", TensorProto.BOOL)],
    )
    with open_session(model) as session:
        for inputs, wanted in (
            ({}, (0, False)),
            ({"x": None}, (0, False)),
            ({"x": ortx.optional()}, (0, False)),
            ({"x": []}, (0, True)),
            ({"x": [A, B]}, (2, True)),
            ([(A,)], (1, True)),
        ):
            y, has_value = session.run(inputs)
            assert (y.tolist(), has_value.tolist()) == wanted
        with pytest.raises(ortx.CallError, match="input 'x': element 1: got 'no'"):
            session.run([[A, "no"]])


# --- many items of one shape are fetched at once: nobody can tell


@pytest.mark.parametrize("count", [15, 16, 17, 100])
@pytest.mark.parametrize("shape", [(), (1,), (3,), (2, 3), (1, 2, 1, 3), (0,), (2, 0)], ids=str)
@pytest.mark.parametrize("name", sorted(DTYPES.keys() - {"string"}))
def test_many_items_of_one_shape_come_back_as_they_were(name, shape, count):
    random = np.random.default_rng(count)
    x = [random.integers(0, 2, shape).astype(name) for _ in range(count)]
    with ortx.session_from_bytes(identity(DTYPES[name]), intra_op_num_threads=1) as session:
        y = session.run([x])["y"]
    assert [item.tolist() for item in y] == [item.tolist() for item in x]
    assert {(item.dtype, item.shape) for item in y} == {(np.dtype(name), shape)}


def test_each_of_many_items_has_memory_of_its_own():
    with ortx.session_from_bytes(identity(), intra_op_num_threads=1) as session:
        y = session.run([[A] * 50])["y"]
    y[0][:] = 7
    assert all(item.tolist() == [1, 2] for item in y[1:])
    assert all(item.flags.owndata and item.flags.writeable and item.flags.aligned for item in y)


@pytest.mark.parametrize("odd", [0, 1, 49], ids=["first", "second", "last"])
@pytest.mark.parametrize("item", [B, A[:1], np.float32(3).reshape(()), np.zeros((0,), np.float32)], ids=repr)
def test_one_item_of_another_shape_among_many_is_no_failure(odd, item, capfd, caplog):
    x = [A] * 50
    x[odd] = item
    with ortx.session_from_bytes(identity(), intra_op_num_threads=1) as session:
        y = session.run([x])["y"]
    assert [i.tolist() for i in y] == [i.tolist() for i in x]
    assert [i.shape for i in y] == [i.shape for i in x]
    assert capfd.readouterr() == ("", "")
    assert not caplog.records


def test_many_items_that_look_as_if_nothing_had_been_written_are_fetched_too():
    x = [np.full(4, 0xA5, np.uint8)] * 20
    with ortx.session_from_bytes(identity(TensorProto.UINT8), intra_op_num_threads=1) as session:
        assert [item.tolist() for item in session.run([x])["y"]] == [[0xA5] * 4] * 20
        x[3] = np.zeros(0, np.uint8)
        assert [item.tolist() for item in session.run([x])["y"]] == [item.tolist() for item in x]


def test_many_large_items_keep_memory_of_onnx_runtime_each():
    x = [np.full(2000, i, np.float32) for i in range(20)]
    with ortx.session_from_bytes(identity(), intra_op_num_threads=1) as session:
        y = session.run([x])["y"]
    assert [item[0] for item in y] == list(range(20))
    del y[1:]
    gc.collect()
    assert y[0].tolist() == x[0].tolist()


def test_many_strings_and_many_items_of_a_type_without_a_kernel_come_back():
    x = [np.array(["a", f"text {i}"], object) for i in range(30)]
    with ortx.session_from_bytes(identity(STRING), intra_op_num_threads=1) as session:
        assert [item.tolist() for item in session.run([x])["y"]] == [item.tolist() for item in x]
    x = [np.array([i, 2], ml_dtypes.bfloat16) for i in range(30)]
    type_proto = helper.make_sequence_type_proto(helper.make_tensor_type_proto(TensorProto.BFLOAT16, None))
    with ortx.session_from_bytes(passing_on(type_proto), intra_op_num_threads=1) as session:
        outputs = session.run({"x": x, "z": A})
        assert [item.tolist() for item in outputs["x"]] == [item.tolist() for item in x]
