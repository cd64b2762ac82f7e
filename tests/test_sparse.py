"""Sparse tensors: made, checked, and through models (`sparse.py`, `_core.src/sparse.pxi`)."""

from __future__ import annotations

import gc
import sys
import weakref

import ml_dtypes
import numpy as np
import onnx
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from onnx import TensorProto, helper, numpy_helper

import ortx

DENSE = np.array([[0, 2, 0], [3, 0, 4]], np.float32)
VALUES = np.array([2, 3, 4], np.float32)
PAIRS = [[0, 1], [1, 0], [1, 2]]
LINEAR = [1, 3, 5]
CSR = ([1, 0, 2], [0, 1, 3])
EYE = np.eye(3, dtype=np.float32)
BLOCKS = np.arange(1, 9, dtype=np.float32).reshape(2, 2, 2)
BLOCKS_AT = [[0, 1], [1, 0]]  # rows, columns
BLOCKS_DENSE = np.array([[0, 0, 1, 2], [0, 0, 3, 4], [5, 6, 0, 0], [7, 8, 0, 0]], np.float32)
# Rows and columns of a block, and where the blocks are: as many as a block has columns (or not), and in no order.
MANY_BLOCKS = [
    (2, 2, [[0, 1], [1, 0]]),
    (2, 3, [[2], [1]]),
    (2, 3, [[2, 0, 0, 1], [1, 1, 0, 1]]),
    (3, 2, [[0, 2, 1], [1, 0, 0]]),
    (1, 4, [[1, 0], [0, 1]]),
    (4, 1, [[1, 0, 2], [1, 0, 0]]),
    (1, 1, [[0, 2, 1], [1, 0, 1]]),
]
SCIPY_FORMATS = ["coo", "csr", "csc", "bsr", "lil", "dok", "dia"]


def coo(values=VALUES, indices=PAIRS, shape=(2, 3)) -> ortx.SparseTensor:
    return ortx.sparse_tensor(values, indices, shape)


def csr(values=VALUES, indices=CSR, shape=(2, 3)) -> ortx.SparseTensor:
    return ortx.sparse_tensor(values, indices, shape, format="csr")


def blocks(values=BLOCKS, indices=BLOCKS_AT, shape=(4, 4)) -> ortx.SparseTensor:
    return ortx.sparse_tensor(values, indices, shape, format="block_sparse")


def many_blocks(rows: int, columns: int, at, dtype="float32") -> ortx.SparseTensor:
    values = np.arange(1, len(at[0]) * rows * columns + 1).astype(dtype).reshape(-1, rows, columns)
    return blocks(values, at, (3 * rows, 2 * columns))


# --- models


def build(nodes, inputs, outputs, sparse_initializers=()) -> bytes:
    graph = helper.make_graph(list(nodes), "graph", inputs, outputs, sparse_initializer=list(sparse_initializers))
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString()


def sparse(name: str, element_type: int = TensorProto.FLOAT, shape=(None, None)) -> onnx.ValueInfoProto:
    return helper.make_value_info(name, helper.make_sparse_tensor_type_proto(element_type, shape))


def dense(name: str, element_type: int = TensorProto.FLOAT, shape=None) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, element_type, shape)


def product(element_type: int = TensorProto.FLOAT, shape=(None, None)) -> bytes:
    """y = x @ b, with x sparse"""
    node = helper.make_node("SparseToDenseMatMul", ["x", "b"], ["y"], domain="com.microsoft")
    return build([node], [sparse("x", element_type, shape), dense("b", element_type)], [dense("y", element_type)])


def passing_on(element_type: int = TensorProto.FLOAT, shape=None) -> bytes:
    """Give the sparse input x itself as an output; z and y are there for the node."""
    node = helper.make_node("Identity", ["z"], ["y"])
    return build([node], [sparse("x", element_type, shape), dense("z")], [sparse("x", element_type, shape), dense("y")])


def constant(values=VALUES) -> onnx.SparseTensorProto:
    return helper.make_sparse_tensor(
        numpy_helper.from_array(values, "w"), numpy_helper.from_array(np.array(LINEAR), "at"), [2, 3]
    )


def constant_output(values=VALUES, element_type: int = TensorProto.FLOAT) -> bytes:
    node = helper.make_node("Constant", [], ["w"], sparse_value=constant(values))
    return build([node], [], [sparse("w", element_type, shape=(2, 3))])


def initializer_output() -> bytes:
    node = helper.make_node("Identity", ["z"], ["y"])
    return build([node], [dense("z")], [sparse("w", shape=(2, 3)), dense("y")], [constant()])


@pytest.fixture(scope="module")
def multiplier():
    with ortx.session_from_bytes(product(), intra_op_num_threads=2) as session:
        yield session


@pytest.fixture(scope="module")
def passer():
    with ortx.session_from_bytes(passing_on(), intra_op_num_threads=2) as session:
        yield session


def run_into(session, x):
    y = np.zeros((2, 3), np.float32)
    assert session.run_into([x, EYE], [y])["y"] is y
    return y


def bound(session, x):
    binding = session.create_io_binding()
    binding.bind_input("x", x)
    binding.bind_input("b", EYE)
    binding.bind_output("y")
    return binding.run()["y"]


WAYS = {
    "run": lambda session, x: session.run({"x": x, "b": EYE})["y"],
    "run_into": run_into,
    "submit": lambda session, x: session.submit([x, EYE]).result(timeout=60)["y"],
    "binding": bound,
}
FORMS = {"coo": coo, "csr": csr, "linear coo": lambda: coo(indices=LINEAR), "block_sparse": blocks}
DENSES = {"coo": DENSE, "csr": DENSE, "linear coo": DENSE, "block_sparse": BLOCKS_DENSE}


def assert_same_parts(got: ortx.SparseTensor, wanted: ortx.SparseTensor) -> None:
    assert isinstance(got, ortx.SparseTensor)
    assert (got.format, got.shape, got.dtype) == (wanted.format, wanted.shape, wanted.dtype)
    np.testing.assert_array_equal(got.values, wanted.values, strict=True)
    assert type(got.indices) is type(wanted.indices)
    np.testing.assert_array_equal(got.indices, wanted.indices)


# --- made of parts


@pytest.mark.parametrize("form", FORMS)
def test_the_parts_make_the_whole(form):
    made = FORMS[form]()
    np.testing.assert_array_equal(made.to_dense(), DENSES[form], strict=True)
    assert made.format == form.split()[-1]
    assert made.shape == DENSES[form].shape
    assert made.dtype == np.float32
    count = "2 blocks of shape (2, 2)" if form == "block_sparse" else "3 values"
    assert repr(made) == f"<ortx.SparseTensor {made.format} float32 of shape {made.shape}, {count}>"


def test_parts_of_the_right_form_are_not_copied():
    pairs, columns, begins = np.array(PAIRS), np.array(CSR[0]), np.array(CSR[1])
    at = np.array(BLOCKS_AT, np.int32)
    assert coo(VALUES, pairs).values is VALUES
    assert coo(VALUES, pairs).indices is pairs
    made = csr(VALUES, (columns, begins))
    assert (made.values is VALUES, made.indices[0] is columns, made.indices[1] is begins) == (True, True, True)
    made = blocks(BLOCKS, at)
    assert (made.values is BLOCKS, made.indices is at) == (True, True)


def test_other_parts_become_what_onnx_runtime_wants():
    made = coo(np.repeat(VALUES, 2)[::2], np.array(PAIRS, np.int16).T.copy().T)
    assert made.values.flags.c_contiguous
    assert made.indices.flags.c_contiguous
    assert made.indices.dtype == np.int64
    assert [part.dtype for part in csr(indices=[np.array(part, np.int32) for part in CSR]).indices] == [np.int64] * 2
    assert blocks().indices.dtype == np.int32
    assert coo([2.5, 3], LINEAR[:2]).dtype == np.float64


def test_any_number_of_dimensions_is_counted_through():
    made = ortx.sparse_tensor([1, 2], [1, 23], (2, 3, 4))
    dense = np.zeros(24, int)
    dense[[1, 23]] = [1, 2]
    np.testing.assert_array_equal(made.to_dense(), dense.reshape(2, 3, 4))
    assert ortx.sparse_tensor([5], [2], (4,)).to_dense().tolist() == [0, 0, 5, 0]


@pytest.mark.parametrize(
    ("values", "indices", "shape", "format", "words"),
    [
        (VALUES, LINEAR, (), None, "shape: got (); expected dimensions"),
        (VALUES, LINEAR, (2, -3), None, "shape: got (2, -3); expected dimensions"),
        (np.ones((3, 1)), LINEAR, (2, 3), None, "values: got the shape (3, 1); expected one dimension"),
        (1.0, LINEAR, (2, 3), None, "indices: got the shape (3,); expected (1, 2) or (1,)"),
        (VALUES, [1, 3], (2, 3), None, "indices: got the shape (2,); expected (3, 2) or (3,)"),
        (VALUES, [[0, 1, 0]] * 3, (2, 3), None, "indices: got the shape (3, 3); expected (3, 2) or (3,)"),
        (VALUES, PAIRS, (2, 3, 1), None, "indices: got the shape (3, 2); expected (3,)"),
        (VALUES, PAIRS, (6,), None, "indices: got the shape (3, 2); expected (3,)"),
        (VALUES, [1, 3, 6], (2, 3), None, "indices: 6 is out of bounds for the shape"),
        (VALUES, [1, -1, 5], (2, 3), None, "indices: -1 is out of bounds for the shape"),
        (VALUES, [[0, 1], [2, 0], [1, 2]], (2, 3), None, "indices: 2 is out of bounds for the shape"),
        (VALUES, [[0, 1], [1, 0], [1, 3]], (2, 3), None, "indices: 3 is out of bounds for the shape"),
        (VALUES, [[0, 1], [1, 0], [-1, 2]], (2, 3), None, "indices: -1 is out of bounds for the shape"),
        (VALUES, [0, 0, 0], (0, 3), None, "indices: 0 is out of bounds for the shape"),
        (VALUES, CSR, (2, 3, 1), "csr", "shape: got (2, 3, 1); expected (rows, columns)"),
        (VALUES, CSR, (6,), "csr", "shape: got (6,); expected (rows, columns)"),
        (VALUES, ([1, 0], [0, 1, 3]), (2, 3), "csr", "values and columns: got the shapes (3,) and (2,)"),
        (BLOCKS, (np.ones((2, 2, 2), int), [0, 1, 3]), (2, 3), "csr", "values and columns: got the shapes (2, 2, 2)"),
        (VALUES, ([1, 0, 2], [0, 1]), (2, 3), "csr", "row beginnings: got the shape (2,); expected (3,)"),
        (VALUES, ([1, 0, 2], [1, 1, 3]), (2, 3), "csr", "row beginnings: expected numbers that go from 0 up to 3"),
        (VALUES, ([1, 0, 2], [0, 1, 2]), (2, 3), "csr", "row beginnings: expected numbers that go from 0 up to 3"),
        (VALUES, ([1, 0, 2], [0, 1, 4]), (2, 3), "csr", "row beginnings: expected numbers that go from 0 up to 3"),
        (VALUES, ([1, 0, 2], [0, 4, 3]), (2, 3), "csr", "row beginnings: expected numbers that go from 0 up to 3"),
        (VALUES, ([1, 0, 3], [0, 1, 3]), (2, 3), "csr", "indices: 3 is out of bounds for the shape"),
        (VALUES, ([1, -1, 2], [0, 1, 3]), (2, 3), "csr", "indices: -1 is out of bounds for the shape"),
        (BLOCKS, BLOCKS_AT, (4, 4, 1), "block_sparse", "shape: got (4, 4, 1); expected (rows, columns)"),
        (
            BLOCKS[0],
            BLOCKS_AT,
            (4, 4),
            "block_sparse",
            "values: got the shape (2, 2); expected (blocks, rows, columns)",
        ),
        (BLOCKS[:, :0], BLOCKS_AT, (4, 4), "block_sparse", "values: got the shape (2, 0, 2); expected (blocks, "),
        (BLOCKS, BLOCKS_AT, (4, 5), "block_sparse", "shape: got (4, 5); expected multiples of the blocks' (2, 2)"),
        (BLOCKS, BLOCKS_AT, (3, 4), "block_sparse", "shape: got (3, 4); expected multiples of the blocks' (2, 2)"),
        (BLOCKS, [0, 1], (4, 4), "block_sparse", "indices: got the shape (2,); expected (2, 2)"),
        (BLOCKS, [[0, 1, 0], [1, 0, 1]], (4, 4), "block_sparse", "indices: got the shape (2, 3); expected (2, 2)"),
        (BLOCKS, [[0, 2], [1, 0]], (4, 4), "block_sparse", "indices: 2 is out of bounds for the shape"),
        (BLOCKS, [[0, 1], [2, 0]], (4, 6), "block_sparse", None),
        (BLOCKS, [[0, 1], [3, 0]], (4, 6), "block_sparse", "indices: 3 is out of bounds for the shape"),
        (BLOCKS, [[0, -1], [1, 0]], (4, 4), "block_sparse", "indices: -1 is out of bounds for the shape"),
        (VALUES, LINEAR, (2, 3), "cso", "format: got 'cso' (str); expected one of coo, csr, block_sparse"),
    ],
)
def test_parts_that_do_not_fit_each_other_are_refused(values, indices, shape, format, words):
    if words is None:
        assert ortx.sparse_tensor(values, indices, shape, format=format).shape == shape
        return
    with pytest.raises(ortx.InvalidArgument) as caught:
        ortx.sparse_tensor(values, indices, shape, format=format)
    assert str(caught.value).startswith(f"sparse_tensor: {words}")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((DENSE,), "expected what scipy.sparse has, or values with indices and a shape"),
        ((VALUES, LINEAR), "expected what scipy.sparse has, or values with indices and a shape"),
        ((VALUES, None, (2, 3)), "expected what scipy.sparse has, or values with indices and a shape"),
        (("text",), "got 'text' (str); expected what scipy.sparse has"),
        ((VALUES, ["a", "b", "c"], (2, 3)), "indices: got ['a', 'b', 'c'] (list); expected integers that fit into"),
        ((VALUES, [[1], [2, 3]], (2, 3)), "indices: got [[1], [2, 3]] (list); expected integers that fit into int64"),
        (([[1], [2, 3]], LINEAR, (2, 3)), "values: got [[1], [2, 3]] (list); expected an array ("),
    ],
)
def test_what_is_no_sparse_tensor_is_refused(arguments, words):
    with pytest.raises(ortx.InvalidType) as caught:
        ortx.sparse_tensor(*arguments)
    assert str(caught.value).startswith("sparse_tensor: ")
    assert words in str(caught.value)


@pytest.mark.parametrize("indices", [LINEAR, CSR[:1], (*CSR, CSR[0])], ids=["list", "one", "three"])
def test_csr_needs_a_pair(indices):
    with pytest.raises(ortx.InvalidType, match=r"sparse_tensor: indices: got .*\); expected a pair: columns, row"):
        csr(indices=indices)


@pytest.mark.parametrize(
    ("indices", "format", "word"),
    [
        ([1.0, 3.0, 5.0], "coo", "int64"),
        ([0.5, 1.5, 2.5], "coo", "int64"),
        ([True, False, True], "coo", "int64"),
        ([2**63, 0, 1], "coo", "int64"),
        (np.array([2**64 - 1, 0, 1], np.uint64), "coo", "int64"),
        ([2**70, 0, 1], "coo", "int64"),
        (np.array([1, 3, 5], object), "coo", "int64"),
        ([None] * 3, "coo", "int64"),
        (([1.0, 0.0, 2.0], [0, 1, 3]), "csr", "int64"),
        (([1, 0, 2], [0.0, 1.0, 3.0]), "csr", "int64"),
        ([[0, 2**31], [1, 0]], "block_sparse", "int32"),
        ([[0, 1], [-(2**31) - 1, 0]], "block_sparse", "int32"),
    ],
    ids=str,
)
def test_indices_that_would_lose_something_are_refused(indices, format, word):
    values = BLOCKS if format == "block_sparse" else VALUES
    with pytest.raises(
        ortx.InvalidType, match=rf"(?s)sparse_tensor: indices: got .*; expected integers that fit into {word}"
    ):
        ortx.sparse_tensor(values, indices, (4, 4) if format == "block_sparse" else (2, 3), format=format)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "uint16", ">i4", ">u2", ">i8", "uint64"])
def test_integers_of_any_type_are_indices_if_they_fit(multiplier, dtype):
    made = coo(indices=np.array(PAIRS, dtype))
    assert (made.indices.dtype, made.indices.tolist()) == (np.int64, PAIRS)
    np.testing.assert_array_equal(multiplier.run([made, EYE])[0], DENSE)
    assert blocks(indices=np.array(BLOCKS_AT, dtype)).indices.tolist() == BLOCKS_AT


@pytest.mark.parametrize("dtype", ["f4", "f8", "i8", "u2"])
def test_values_in_the_other_byte_order_become_native(dtype):
    swapped = np.array([2, 3, 4], np.dtype(dtype).newbyteorder())
    before = swapped.tobytes()
    made = coo(swapped)
    assert made.dtype.isnative
    np.testing.assert_array_equal(made.values, np.array([2, 3, 4], dtype), strict=True)
    np.testing.assert_array_equal(made.to_dense(), DENSE.astype(dtype), strict=True)
    assert (swapped.dtype.isnative, swapped.tobytes()) == (False, before)


def test_swapped_values_are_multiplied_as_the_numbers_they_are(multiplier):
    np.testing.assert_array_equal(multiplier.run([coo(VALUES.astype(VALUES.dtype.newbyteorder())), EYE])[0], DENSE)


def test_masked_values_are_refused():
    masked = np.ma.array(VALUES, mask=[False, True, False])
    with pytest.raises(ortx.InvalidType, match=r"sparse_tensor: values: got a masked array; .*\.filled\(\)"):
        coo(masked)


@pytest.mark.parametrize("rank", [33, 64, 65, 1000])
def test_more_dimensions_than_there_may_be_are_refused(passer, rank):
    words = "shape: got .*; expected a tuple of at most 32 integers"
    with pytest.raises(ortx.InvalidArgument, match=f"sparse_tensor: {words}"):
        ortx.sparse_tensor(VALUES[:1], [0], (1,) * rank)
    direct = ortx.SparseTensor("coo", (1,) * rank, VALUES[:1], np.array([0]))
    with pytest.raises(ortx.CallError, match=f"input 'x': {words}"):
        passer.run([direct, 0.0])


def test_as_many_dimensions_as_there_may_be_go_through(passer):
    x = ortx.sparse_tensor(VALUES[:1], [0], (1,) * 32)
    assert_same_parts(passer.run([x, 0.0])["x"], x)


@pytest.mark.parametrize(
    ("form", "made", "wanted"),
    [
        ("counted", coo(indices=[1, 1, 0]), [[4, 5, 0], [0, 0, 0]]),
        ("pairs", coo(indices=[[0, 1], [0, 1], [1, 0]]), [[0, 5, 0], [4, 0, 0]]),
        ("csr", csr(indices=([1, 1, 0], [0, 2, 3])), [[0, 5, 0], [4, 0, 0]]),
    ],
    ids=["counted", "pairs", "csr"],
)
def test_elements_at_one_place_add_up(multiplier, form, made, wanted):
    np.testing.assert_array_equal(made.to_dense(), np.array(wanted, np.float32), strict=True)
    np.testing.assert_array_equal(made.to_scipy().toarray(), wanted)
    if form != "counted":  # which ONNX Runtime does not multiply
        np.testing.assert_array_equal(multiplier.run([made, EYE])[0], wanted)


def test_blocks_at_one_place_add_up():
    made = blocks(indices=[[0, 0], [1, 1]])
    wanted = np.zeros((4, 4), np.float32)
    wanted[:2, 2:] = BLOCKS[0] + BLOCKS[1]
    np.testing.assert_array_equal(made.to_dense(), wanted, strict=True)
    np.testing.assert_array_equal(made.to_scipy().toarray(), wanted)


# --- from and to scipy


@pytest.mark.parametrize("kind", ["array", "matrix"])
@pytest.mark.parametrize("format", SCIPY_FORMATS)
def test_whatever_scipy_has_is_taken(multiplier, format, kind):
    whole = getattr(scipy.sparse, f"{format}_{kind}")(DENSE)
    made = ortx.sparse_tensor(whole)
    assert made.format == {"csr": "csr", "bsr": "block_sparse"}.get(format, "coo")
    np.testing.assert_array_equal(made.to_dense(), DENSE, strict=True)
    for wanted in ("coo", "csr", "block_sparse"):
        converted = ortx.sparse_tensor(whole, format=wanted)
        assert converted.format == wanted
        np.testing.assert_array_equal(converted.to_dense(), DENSE, strict=True)
    if format != "bsr":
        for way in WAYS.values():
            np.testing.assert_array_equal(way(multiplier, whole), DENSE, strict=True)


def test_the_values_of_scipys_csr_are_not_copied():
    whole = scipy.sparse.csr_array(DENSE)
    assert np.shares_memory(ortx.sparse_tensor(whole).values, whole.data)


def test_duplicates_of_a_coo_matrix_are_summed_in_a_copy(multiplier):
    rows, columns, values = np.array([1, 0, 1, 1]), np.array([2, 1, 0, 2]), np.array([1, 2, 3, 3], np.float32)
    whole = scipy.sparse.coo_array((values, (rows, columns)), shape=(2, 3))
    made = ortx.sparse_tensor(whole)
    assert (made.values.tolist(), made.indices.tolist()) == ([2, 3, 4], PAIRS)
    np.testing.assert_array_equal(made.to_dense(), DENSE)
    np.testing.assert_array_equal(multiplier.run([whole, EYE])[0], DENSE)
    np.testing.assert_array_equal(ortx.sparse_tensor(whole, format="csr").to_dense(), DENSE)
    assert (whole.row.tolist(), whole.data.tolist()) == ([1, 0, 1, 1], [1, 2, 3, 3])


def test_duplicates_of_compressed_formats_are_summed():
    values, begins = np.array([1, 1, 3, 4], np.float32), np.array([0, 2, 4])
    made = ortx.sparse_tensor(scipy.sparse.csr_array((values, np.array([1, 1, 0, 2]), begins), shape=(2, 3)))
    assert (made.format, made.values.tolist()) == ("csr", [2, 3, 4])
    np.testing.assert_array_equal(made.to_dense(), DENSE)
    twice = scipy.sparse.bsr_array((np.stack([BLOCKS[0]] * 2), np.array([1, 1]), np.array([0, 2, 2])), shape=(4, 4))
    made = ortx.sparse_tensor(twice)
    np.testing.assert_array_equal(made.values, [2 * BLOCKS[0]])
    assert made.indices.tolist() == [[0], [1]]


def parts_of(whole) -> list[np.ndarray]:
    if whole.format == "coo":
        return [whole.data, whole.row, whole.col]
    return [whole.data, whole.indices, whole.indptr]


def untidy(format: str):
    """Make a matrix with duplicates, and in no order."""
    if format == "coo":
        rows, columns = np.array([1, 0, 1, 1]), np.array([2, 1, 0, 2])
        return scipy.sparse.coo_array((np.array([1, 2, 3, 3], np.float32), (rows, columns)), shape=(2, 3))
    values, indices = np.array([1, 1, 4, 3], np.float32), np.array([1, 1, 2, 0])
    if format == "csr":
        return scipy.sparse.csr_array((values, indices, np.array([0, 2, 4])), shape=(2, 3))
    if format == "csc":
        begins = np.array([0, 1, 3, 4])
        values, indices = np.array([3, 1, 1, 4], np.float32), np.array([1, 0, 0, 1])
        return scipy.sparse.csc_array((values, indices, begins), shape=(2, 3))
    return scipy.sparse.bsr_array((values.reshape(4, 1, 1), indices, np.array([0, 2, 4])), shape=(2, 3))


@pytest.mark.parametrize("wanted", [None, "coo", "csr", "block_sparse"])
@pytest.mark.parametrize("writable", [True, False], ids=["writable", "read-only"])
@pytest.mark.parametrize("format", ["coo", "csr", "csc", "bsr"])
def test_a_matrix_of_scipy_is_never_changed(multiplier, format, writable, wanted):
    whole = untidy(format)
    for part in parts_of(whole):
        part.flags.writeable = writable
    before = [part.tolist() for part in parts_of(whole)]
    made = ortx.sparse_tensor(whole, format=wanted)
    np.testing.assert_array_equal(made.to_dense(), DENSE, strict=True)
    if made.format != "block_sparse":
        np.testing.assert_array_equal(multiplier.run([made, EYE])[0], DENSE)
    if format != "bsr":
        np.testing.assert_array_equal(multiplier.run([whole, EYE])[0], DENSE)
    assert [part.tolist() for part in parts_of(whole)] == before
    assert made.values.tolist() != before[0], "this was to be tidied up"


@pytest.mark.parametrize("form", FORMS)
def test_scipy_gets_the_same_matrix(form):
    whole = FORMS[form]().to_scipy()
    assert isinstance(whole, scipy.sparse.sparray)
    assert whole.format == {"block_sparse": "bsr", "csr": "csr"}.get(form, "coo")
    np.testing.assert_array_equal(whole.toarray(), DENSES[form], strict=True)
    if form == "block_sparse":
        assert whole.blocksize == (2, 2)
    np.testing.assert_array_equal(ortx.sparse_tensor(whole).to_dense(), DENSES[form], strict=True)


def test_scipy_is_asked_for_when_it_is_needed(monkeypatch, run_python):
    code = """
    import sys, ortx
    made = ortx.sparse_tensor([1.0], [1], (2, 2))
    assert made.to_dense().tolist() == [[0, 1], [0, 0]]
    assert "scipy" not in sys.modules
    """.replace("\n    ", "\n")
    done = run_python(code)
    assert done.returncode == 0, done.stderr
    monkeypatch.setitem(sys.modules, "scipy.sparse", None)
    with pytest.raises(ImportError):
        coo().to_scipy()


@given(
    hnp.arrays(
        st.sampled_from(["float32", "int64"]),
        hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=6),
        elements=st.integers(-3, 3),
    ),
    st.sampled_from(SCIPY_FORMATS),
    st.sampled_from(["coo", "csr", "block_sparse"]),
)
def test_any_matrix_survives_scipy_and_back(array, scipy_format, format):
    made = ortx.sparse_tensor(getattr(scipy.sparse, f"{scipy_format}_array")(array), format=format)
    np.testing.assert_array_equal(made.to_dense(), array, strict=True)
    np.testing.assert_array_equal(made.to_scipy().toarray(), array)


@pytest.mark.parametrize(("rows", "columns", "at"), MANY_BLOCKS)
def test_scipys_bsr_has_the_same_blocks(rows, columns, at):
    made = many_blocks(rows, columns, at)
    whole = made.to_scipy()
    assert (whole.format, whole.blocksize, whole.shape) == ("bsr", (rows, columns), made.shape)
    np.testing.assert_array_equal(whole.toarray(), made.to_dense(), strict=True)
    again = ortx.sparse_tensor(whole)
    assert (again.format, again.values.shape) == ("block_sparse", made.values.shape)
    np.testing.assert_array_equal(again.to_dense(), made.to_dense(), strict=True)
    in_order = sorted(range(len(at[0])), key=lambda i: (at[0][i], at[1][i]))
    np.testing.assert_array_equal(again.values, made.values[in_order])
    assert again.indices.T.tolist() == sorted(made.indices.T.tolist())


def test_blocks_of_zeros_stay():
    made = blocks(np.zeros((2, 2, 2), np.float32))
    assert made.to_scipy().data.shape == (2, 2, 2)


# --- into a model


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("form", ["coo", "csr"])
def test_a_sparse_tensor_is_multiplied(multiplier, form, way):
    x = FORMS[form]()
    np.testing.assert_array_equal(WAYS[way](multiplier, x), DENSE, strict=True)
    b = np.arange(12, dtype=np.float32).reshape(3, 4)
    np.testing.assert_array_equal(multiplier.run([x, b])[0], DENSE @ b)
    assert_same_parts(x, FORMS[form]())


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "int64", "uint32", "uint64"])
def test_matrices_of_every_type_that_has_a_kernel_are_multiplied(dtype):
    element_type = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    x, b = DENSE.astype(dtype), np.arange(12).reshape(3, 4).astype(dtype)
    with ortx.session_from_bytes(product(element_type)) as session:
        assert session.input_info("x").type.startswith("sparse_tensor(")
        for whole in (scipy.sparse.coo_array(x), scipy.sparse.csr_array(x)):
            y = session.run([whole, b])[0]
            np.testing.assert_array_equal(y, x @ b, strict=True)


def test_onnx_runtime_multiplies_neither_counted_indices_nor_blocks(multiplier):
    with pytest.raises(ortx.Error, match="Expecting COO 2-D indices shape"):
        multiplier.run([coo(indices=LINEAR), EYE])
    with pytest.raises(ortx.Error):
        multiplier.run([blocks(), np.eye(4, dtype=np.float32)])


@pytest.mark.parametrize("indices", [np.zeros((0, 2)), []], ids=["pairs", "counted"])
def test_a_coo_matrix_of_zeros_is_multiplied(multiplier, indices):
    y = multiplier.run([coo(np.zeros(0, np.float32), indices), EYE])[0]
    np.testing.assert_array_equal(y, np.zeros((2, 3), np.float32), strict=True)


def test_the_order_of_the_elements_does_not_matter(multiplier):
    mixed = coo(VALUES[[2, 0, 1]], [PAIRS[2], PAIRS[0], PAIRS[1]])
    np.testing.assert_array_equal(mixed.to_dense(), DENSE)
    np.testing.assert_array_equal(multiplier.run([mixed, EYE])[0], DENSE)
    mixed = csr(np.array([2, 4, 3], np.float32), ([1, 2, 0], [0, 1, 3]))
    np.testing.assert_array_equal(mixed.to_dense(), DENSE)
    np.testing.assert_array_equal(multiplier.run([mixed, EYE])[0], DENSE)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (DENSE, "(ndarray); expected an ortx.sparse_tensor(...), or what scipy.sparse has: sparse_tensor(float)"),
        (DENSE.tolist(), "(list); expected an ortx.sparse_tensor(...)"),
        (None, "got None; expected sparse_tensor(float)"),
        (
            coo(VALUES.astype("float64")),
            "got <ortx.SparseTensor coo float64 of shape (2, 3), 3 values>; expected float32",
        ),
        (coo(VALUES.astype("int32")), "expected float32 values: sparse_tensor(float)"),
        (coo(VALUES.astype(ml_dtypes.bfloat16)), "expected float32 values"),
        (coo(np.array(["a", "b", "c"])), "expected float32 values"),
        (scipy.sparse.csr_array(DENSE.astype("float64")), "got <ortx.SparseTensor csr float64 of shape (2, 3)"),
    ],
)
def test_what_is_no_such_sparse_tensor_is_refused(multiplier, value, words):
    for call in (multiplier.run, multiplier.submit):
        with pytest.raises(ortx.CallError) as caught:
            call([value, EYE])
        assert "input 'x': got " in str(caught.value)
        assert words in str(caught.value)
    with pytest.raises(ortx.CallError, match="bind_input: input 'x': got "):
        multiplier.create_io_binding().bind_input("x", value)


@pytest.mark.parametrize("number", [TensorProto.COMPLEX64, TensorProto.INT4])
def test_onnx_runtime_opens_no_model_with_sparse_tensors_of_other_types(number):
    with pytest.raises(ortx.Error, match=r"sparse_tensor\(\w+\) is not currently registered or supported"):
        ortx.session_from_bytes(passing_on(number))


def test_a_sparse_tensor_is_no_dense_input(multiplier):
    for value in (coo(), scipy.sparse.coo_array(EYE)):
        with pytest.raises(ortx.CallError, match="input 'b': got .*which is no array, buffer, list or number"):
            multiplier.run([coo(), value])


def test_the_shape_that_a_model_declares_is_checked():
    with ortx.session_from_bytes(product(shape=("n", 3))) as session:
        np.testing.assert_array_equal(session.run([coo(), EYE])[0], DENSE)
        with pytest.raises(ortx.CallError, match=r"input 'x': got <.* of shape \(2, 4\), 3 values>; expected"):
            session.run([coo(shape=(2, 4)), EYE])
        with pytest.raises(ortx.CallError, match=r"of shape \(6,\), 3 values>; expected"):
            session.run([coo(indices=LINEAR, shape=(6,)), EYE])


def test_parts_that_were_changed_are_checked_once_more(multiplier):
    pairs, columns, begins = np.array(PAIRS), np.array(CSR[0]), np.array(CSR[1])
    x, compressed = coo(indices=pairs), csr(indices=(columns, begins))
    pairs[1, 1] = 99
    columns[1] = -5
    with pytest.raises(ortx.CallError, match="input 'x': indices: 99 is out of bounds for the shape"):
        multiplier.run([x, EYE])
    with pytest.raises(ortx.CallError, match="input 'x': indices: -5 is out of bounds for the shape"):
        multiplier.run([compressed, EYE])
    columns[1], begins[1] = 0, 77
    with pytest.raises(ortx.CallError, match="input 'x': row beginnings: expected numbers that go from 0 up to 3"):
        multiplier.run([compressed, EYE])


PAIRS_ARRAY, COLUMNS, BEGINS = np.array(PAIRS), *(np.array(part) for part in CSR)
SWAPPED = VALUES.astype(VALUES.dtype.newbyteorder())


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        (("coo", (2, 3), SWAPPED, PAIRS_ARRAY), "values: got .*; expected a C-contiguous array in native byte order"),
        (("coo", (2, 3), np.repeat(VALUES, 2)[::2], PAIRS_ARRAY), "values: got .*; expected a C-contiguous array"),
        (("coo", (2, 3), VALUES.tolist(), PAIRS_ARRAY), r"values: got \[2.0, 3.0, 4.0\] \(list\); expected a C-"),
        (("coo", (2, 3), VALUES, PAIRS_ARRAY.astype("i4")), "indices: got .*; expected C-contiguous .* of int64"),
        (("coo", (2, 3), VALUES, PAIRS_ARRAY.astype("f8")), "indices: got .*; expected C-contiguous .* of int64"),
        (("coo", (2, 3), VALUES, PAIRS_ARRAY.astype(">i8")), "indices: got .*; expected C-contiguous .* of int64"),
        (("coo", (2, 3), VALUES, np.asfortranarray(PAIRS_ARRAY)), "indices: got .*; expected C-contiguous arrays"),
        (("coo", (2, 3), VALUES, PAIRS), r"indices: got .* \(list\); expected C-contiguous arrays of int64"),
        (("coo", [2, 3], VALUES, PAIRS_ARRAY), r"shape: got \[2, 3\] \(list\); expected a tuple"),
        (("coo", None, VALUES, PAIRS_ARRAY), r"shape: got None \(NoneType\); expected a tuple"),
        (("coo", (2, 3), VALUES, (COLUMNS, BEGINS)), "format: got 'coo' .*, and indices of that form"),
        (("csr", (2, 3), VALUES, PAIRS_ARRAY), "format: got 'csr' .*, and indices of that form"),
        (("csr", (2, 3), VALUES, (COLUMNS,)), "format: got 'csr' .*, and indices of that form"),
        (("csr", (2, 3), VALUES, (COLUMNS.astype("i4"), BEGINS)), "indices: got .*int32.*; expected C-contiguous"),
        (("csr", (2, 3), VALUES, (COLUMNS, BEGINS.astype("i4"))), "indices: got .*int32.*; expected C-contiguous"),
        (("cso", (2, 3), VALUES, PAIRS_ARRAY), "format: got 'cso' .*; expected one of coo, csr, block_sparse"),
        ((None, (2, 3), VALUES, PAIRS_ARRAY), "format: got None .*; expected one of coo, csr, block_sparse"),
        (("block_sparse", (4, 4), BLOCKS, np.array(BLOCKS_AT)), "indices: got .*; expected .* arrays of int32"),
        (("coo", (2, 3), VALUES, PAIRS_ARRAY + 1), "indices: 2 is out of bounds for the shape"),
    ],
)
def test_a_sparse_tensor_that_was_made_directly_is_checked_by_every_run(multiplier, parts, words):
    x = ortx.SparseTensor(*parts)
    for call, value in (
        ("run", lambda: multiplier.run([x, EYE])),
        ("run_into", lambda: multiplier.run_into([x, EYE], {"y": np.zeros((2, 3), np.float32)})),
        ("submit", lambda: multiplier.submit([x, EYE])),
        ("bind_input", lambda: multiplier.create_io_binding().bind_input("x", x)),
    ):
        with pytest.raises(ortx.CallError, match=f"(?s){call}: input 'x': {words}"):
            value()


def test_parts_of_the_right_form_may_be_put_together_directly(multiplier):
    for x in (
        ortx.SparseTensor("coo", (2, 3), VALUES, PAIRS_ARRAY),
        ortx.SparseTensor("csr", (2, 3), VALUES, (COLUMNS, BEGINS)),
    ):
        np.testing.assert_array_equal(multiplier.run([x, EYE])[0], DENSE, strict=True)


@pytest.mark.parametrize(
    ("whole", "words"),
    [
        (
            scipy.sparse.coo_array((np.ones(1, np.float32), (np.array([0]),)), shape=(3,)),
            "sparse_tensor: got 1 dimensions; expected two of what scipy.sparse has",
        ),
        (
            scipy.sparse.csr_array((VALUES, np.array([1, 0, 2]), np.array([0, 1, 3])), shape=(2, 3)),
            "sparse_tensor: indices: 7 is out of bounds for the shape",
        ),
    ],
    ids=["dimensions", "damaged"],
)
def test_a_problem_of_what_scipy_has_is_one_of_that_input(multiplier, whole, words):
    if whole.ndim == 2:
        whole.indices[1] = 7
    with pytest.raises(ortx.CallError, match=f"run: input 'x': {words}") as caught:
        multiplier.run([whole, EYE])
    assert len(caught.value.problems) == 1
    with pytest.raises(ortx.CallError, match="2 problems") as caught:
        multiplier.run([whole, EYE.astype("f8")])
    assert [problem.partition(":")[0] for problem in caught.value.problems] == ["input 'x'", "input 'b'"]
    with pytest.raises(ortx.CallError, match=f"bind_input: input 'x': {words}"):
        multiplier.create_io_binding().bind_input("x", whole)


# --- out of a model


@pytest.mark.parametrize("form", FORMS)
def test_a_sparse_input_that_is_passed_on_is_a_copy(passer, form):
    x = FORMS[form]()
    for outputs in (
        passer.run([x, 0.0]),
        passer.run_into([x, 0.0], {"x": None, "y": None}),
        passer.submit([x, 0.0]).result(timeout=60),
    ):
        got = outputs["x"]
        assert_same_parts(got, x)
        np.testing.assert_array_equal(got.to_dense(), DENSES[form], strict=True)
        assert not np.shares_memory(got.values, x.values)
        assert not any(
            np.shares_memory(ours, theirs)
            for ours, theirs in zip(np.atleast_2d(got.indices), np.atleast_2d(x.indices), strict=True)
        )


@pytest.mark.parametrize("dtype", ["float32", "int8", "float64", "bfloat16"])
@pytest.mark.parametrize(("rows", "columns", "at"), MANY_BLOCKS)
def test_blocks_of_any_shape_and_number_go_through(rows, columns, at, dtype):
    x = many_blocks(rows, columns, at, getattr(ml_dtypes, dtype, dtype))
    with ortx.session_from_bytes(passing_on(helper.np_dtype_to_tensor_dtype(x.dtype))) as session:
        for outputs in (session.run([x, 0.0]), session.submit([x, 0.0]).result(timeout=60)):
            got = outputs["x"]
            assert_same_parts(got, x)
            assert got.values.flags.c_contiguous
            assert_same_parts(session.run([got, 0.0])["x"], x)


@settings(max_examples=50)
@given(st.data())
def test_any_block_sparse_tensor_goes_through(passer, data):
    rows, columns = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 5))
    down, across = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 4))
    places = st.tuples(st.integers(0, down - 1), st.integers(0, across - 1))
    at = np.array(data.draw(st.lists(places, max_size=6)), np.int32).reshape(-1, 2).T
    values = data.draw(hnp.arrays("float32", (at.shape[1], rows, columns), elements=st.integers(-9, 9)))
    x = blocks(values, at, (down * rows, across * columns))
    got = passer.run([x, 0.0])["x"]
    np.testing.assert_array_equal(got.to_dense(), x.to_dense(), strict=True)
    np.testing.assert_array_equal(x.to_scipy().toarray(), x.to_dense(), strict=True)
    if len(values):
        assert_same_parts(got, x)


@pytest.mark.parametrize("shape", [(4, 6), (0, 6), (0, 0)])
def test_a_block_sparse_tensor_without_blocks_goes_through(passer, shape):
    x = blocks(np.zeros((0, 2, 3), np.float32), np.zeros((2, 0)), shape)
    assert repr(x) == f"<ortx.SparseTensor block_sparse float32 of shape {shape}, 0 blocks of shape (2, 3)>"
    got = passer.run([x, 0.0])["x"]
    assert (got.format, got.shape, got.values.shape, got.indices.shape) == ("block_sparse", shape, (0, 1, 1), (2, 0))
    assert (got.dtype, got.indices.dtype) == (np.float32, np.int32)
    for empty in (x, got, passer.run([got, 0.0])["x"]):
        np.testing.assert_array_equal(empty.to_dense(), np.zeros(shape, np.float32), strict=True)
    if 0 not in shape:  # which scipy's bsr cannot have
        assert x.to_scipy().blocksize == (2, 3)
        assert x.to_scipy().toarray().tolist() == np.zeros(shape).tolist()
        assert_same_parts(ortx.sparse_tensor(x.to_scipy()), x)


def test_a_csr_matrix_without_elements_comes_back_as_coo(passer):
    got = passer.run([csr(np.zeros(0, np.float32), ([], [0, 0, 0])), 0.0])["x"]
    assert (got.format, got.shape, got.values.shape) == ("coo", (2, 3), (0,))
    np.testing.assert_array_equal(got.to_dense(), np.zeros((2, 3), np.float32), strict=True)


@pytest.mark.parametrize(
    ("word", "number"),
    [
        ("float16", TensorProto.FLOAT16),
        ("float64", TensorProto.DOUBLE),
        ("bool", TensorProto.BOOL),
        ("int8", TensorProto.INT8),
        ("uint16", TensorProto.UINT16),
        ("int64", TensorProto.INT64),
        ("bfloat16", TensorProto.BFLOAT16),
        ("float8_e5m2", TensorProto.FLOAT8E5M2),
        ("float8_e8m0fnu", 24),
    ],
)
def test_sparse_tensors_have_every_type_of_a_byte_or_more(word, number):
    dtype = np.dtype(getattr(ml_dtypes, word, word))
    x = coo(np.array([1, 0.5, 2] if dtype.kind != "b" else [1, 1, 1]).astype(dtype))
    with ortx.session_from_bytes(passing_on(number)) as session:
        assert_same_parts(session.run([x, 0.0])["x"], x)


@pytest.mark.parametrize(
    ("shape", "indices"), [((24,), [0, 5, 23]), ((2, 3, 4), [0, 5, 23]), ((24,) + (1,) * 9, [1, 2, 3])], ids=len
)
def test_counted_indices_go_through_with_any_number_of_dimensions(passer, shape, indices):
    x = coo(VALUES, indices, shape)
    assert_same_parts(passer.run([x, 0.0])["x"], x)


def test_a_coo_tensor_of_zeros_goes_through(passer):
    for shape in ((2, 3), (0, 3), (2, 0)):
        got = passer.run([coo(np.zeros(0, np.float32), np.zeros((0, 2)), shape), 0.0])["x"]
        assert (got.format, got.shape, got.values.shape) == ("coo", shape, (0,))
        np.testing.assert_array_equal(got.to_dense(), np.zeros(shape, np.float32), strict=True)


@pytest.mark.parametrize("model", [constant_output, initializer_output], ids=["constant", "initializer"])
def test_a_sparse_constant_of_the_model_is_an_output(model):
    wanted = ortx.sparse_tensor(VALUES, LINEAR, (2, 3))
    with ortx.session_from_bytes(model(), intra_op_num_threads=2) as session:
        inputs = [0.0] * len(session.input_names())
        binding = session.create_io_binding()
        for name in session.input_names():
            binding.bind_input(name, 0.0)
        binding.bind_output("w")
        first, second = binding.run()["w"], binding.run()["w"]
        for got in (
            session.run(inputs)["w"],
            session.run_into(inputs, {"w": None})["w"],
            session.submit(inputs).result(timeout=60)["w"],
            first,
            second,
        ):
            assert got.format == "coo"
            np.testing.assert_array_equal(got.to_dense(), wanted.to_dense(), strict=True)
        assert not np.shares_memory(first.values, second.values)
        first.values[:] = 0
        assert session.run(inputs)["w"].values.tolist() == VALUES.tolist()


def test_a_sparse_output_takes_no_buffer(passer):
    with pytest.raises(ortx.CallError, match=r"(?s)output 'x': got .*; expected None, since sparse_tensor\(float\)"):
        passer.run_into([coo(), 0.0], {"x": np.zeros((2, 3), np.float32)})


# --- who keeps what alive


def test_a_sparse_output_outlives_the_session():
    session = ortx.session_from_bytes(constant_output())
    got = session.run([])[0]
    session.close()
    del session
    gc.collect()
    values, indices = got.values, got.indices
    del got
    gc.collect()
    _ = [np.full(3, -1, np.float32) for _ in range(100)]
    assert values.tolist() == VALUES.tolist()
    assert indices.reshape(-1).tolist() in (LINEAR, np.ravel(PAIRS).tolist())


@pytest.mark.parametrize("form", ["coo", "csr"])
def test_what_is_bound_is_kept_until_the_binding_goes(multiplier, form):
    values = np.arange(1, 4, dtype=np.float32)
    indices = np.array(PAIRS) if form == "coo" else (np.array(CSR[0]), np.array(CSR[1]))
    parts = [weakref.ref(part) for part in (values, *(indices if form == "csr" else [indices]))]
    binding = multiplier.create_io_binding()
    binding.bind_input("x", ortx.sparse_tensor(values, indices, (2, 3), format=form))
    binding.bind_input("b", EYE)
    binding.bind_output("y")
    del values, indices
    gc.collect()
    _ = [np.full(3, -1, np.int64) for _ in range(100)]
    assert [part() is None for part in parts] == [False] * len(parts)
    assert binding.run()["y"].tolist() == [[0, 1, 0], [2, 0, 3]]
    binding.clear_inputs()
    assert [part() is None for part in parts] == [True] * len(parts)


def test_a_bound_matrix_of_scipy_may_go_at_once(multiplier):
    binding = multiplier.create_io_binding()
    binding.bind_input("b", EYE)
    binding.bind_output("y")
    for make in (scipy.sparse.coo_array, scipy.sparse.csr_array, scipy.sparse.csc_array):
        binding.bind_input("x", make(DENSE))
        gc.collect()
        _ = [np.full(3, -1, np.int64) for _ in range(100)]
        np.testing.assert_array_equal(binding.run()["y"], DENSE)


def test_a_bound_sparse_tensor_is_not_copied(multiplier):
    x = coo(VALUES.copy())
    binding = multiplier.create_io_binding()
    binding.bind_input("x", x)
    binding.bind_input("b", EYE)
    binding.bind_output("y")
    binding.run()
    x.values[:] = [7, 8, 9]
    assert binding.run()["y"].tolist() == [[0, 7, 0], [8, 0, 9]]


def test_a_csr_matrix_without_elements_goes_in():
    node = helper.make_node("SparseToDenseMatMul", ["a", "b"], ["y"], domain="com.microsoft")
    sparse = helper.make_sparse_tensor_type_proto(TensorProto.FLOAT, (2, 3))
    graph = helper.make_graph(
        [node],
        "graph",
        [helper.make_value_info("a", sparse), helper.make_tensor_value_info("b", TensorProto.FLOAT, (3, 3))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (2, 3))],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()
    empty = ortx.sparse_tensor(np.zeros(0, np.float32), ([], [0, 0, 0]), (2, 3), format="csr")
    with ortx.session_from_bytes(model) as session:
        assert session.run([empty, np.eye(3, dtype=np.float32)])[0].tolist() == [[0, 0, 0], [0, 0, 0]]


# --- strings

TEXTS = np.array(["é" * 40, "", "𝄞a"], object)
TEXTS_DENSE = np.array([["", "é" * 40, ""], ["", "", "𝄞a"]], object)
TEXT_BLOCKS = np.array([[["a", "b", "c"]], [["d", "", "f"]]], object)
TEXT_FORMS = {
    "coo": lambda: coo(TEXTS),
    "csr": lambda: csr(TEXTS),
    "linear coo": lambda: coo(TEXTS, LINEAR),
    "block_sparse": lambda: blocks(TEXT_BLOCKS, [[1, 0], [0, 1]], (2, 6)),
}
TEXT_DENSES = {
    **dict.fromkeys(["coo", "csr", "linear coo"], TEXTS_DENSE),
    "block_sparse": np.array([["", "", "", "d", "", "f"], ["a", "b", "c", "", "", ""]], object),
}


@pytest.fixture(scope="module")
def text_passer():
    with ortx.session_from_bytes(passing_on(TensorProto.STRING), intra_op_num_threads=2) as session:
        yield session


@pytest.mark.parametrize("form", TEXT_FORMS)
def test_strings_go_through(text_passer, form):
    x = TEXT_FORMS[form]()
    np.testing.assert_array_equal(x.to_dense(), TEXT_DENSES[form], strict=True)
    for outputs in (
        text_passer.run([x, 0.0]),
        text_passer.run_into([x, 0.0], {"x": None, "y": None}),
        text_passer.submit([x, 0.0]).result(timeout=60),
    ):
        got = outputs["x"]
        assert_same_parts(got, x)
        assert all(type(item) is str for item in got.values.flat)
        np.testing.assert_array_equal(got.to_dense(), TEXT_DENSES[form], strict=True)
        assert_same_parts(text_passer.run([got, 0.0])["x"], x)
    assert repr(got).startswith(f"<ortx.SparseTensor {x.format} string of shape {x.shape}, ")


TEXT_KINDS = {
    "list": lambda: ["a", "", "bc"],
    "tuple of bytes": lambda: (b"a", "", b"bc"),
    "U": lambda: np.array(["a", "", "bc"]),
    "other byte order": lambda: np.array(["a", "", "bc"]).astype(np.array(["bc"]).dtype.newbyteorder()),
    "S": lambda: np.array([b"a", b"", b"bc"]),
    "objects": lambda: np.array([np.str_("a"), b"", "bc"], object),
    "strided": lambda: np.array(["a", "x", "", "x", "bc", "x"], object)[::2],
}
if hasattr(np.dtypes, "StringDType"):
    TEXT_KINDS["StringDType"] = lambda: np.array(["a", "", "bc"], np.dtypes.StringDType())


@pytest.mark.parametrize("kind", TEXT_KINDS)
def test_strings_of_every_kind_become_objects(text_passer, kind):
    made = coo(TEXT_KINDS[kind]())
    assert (made.dtype, made.values.tolist()) == (np.dtype(object), ["a", "", "bc"])
    assert text_passer.run([made, 0.0])["x"].values.tolist() == ["a", "", "bc"]


@pytest.mark.parametrize("form", ["coo", "csr", "block_sparse"])
def test_no_strings_at_all_go_through(text_passer, form):
    made = {
        "coo": lambda: coo(np.zeros(0, object), np.zeros((0, 2))),
        "csr": lambda: csr(np.zeros(0, object), ([], [0, 0, 0])),
        "block_sparse": lambda: blocks(np.zeros((0, 1, 3), object), np.zeros((2, 0)), (2, 3)),
    }[form]()
    got = text_passer.run([made, 0.0])["x"]
    assert (got.dtype, got.values.size) == (np.dtype(object), 0)
    for empty in (made, got):
        np.testing.assert_array_equal(empty.to_dense(), np.full((2, 3), "", object), strict=True)


@pytest.mark.parametrize(
    ("item", "words"),
    [
        ("in\0side", r"values: got 'in\\x00side' \(str\); ONNX Runtime would end it at the NUL"),
        ("end\0", "; ONNX Runtime would end it at the NUL"),
        ("\ud800", "values: got .*, which cannot be written as UTF-8"),
        (None, r"values: got None \(NoneType\) among the objects; expected strings"),
        (1.5, r"values: got 1.5 \(float\) among the objects; expected strings"),
    ],
    ids=["inside", "end", "surrogate", "None", "number"],
)
def test_strings_that_cannot_go_in_are_refused(text_passer, item, words):
    values = np.array(["a", item, "b"], object)
    with pytest.raises(ortx.InvalidArgument, match=f"sparse_tensor: {words}" if words[0] == "v" else words):
        coo(values)
    if item is not None and item != 1.5:
        with pytest.raises(ortx.InvalidArgument, match=words):
            coo(["a", item, "b"])
    direct = ortx.SparseTensor("coo", (2, 3), values, np.array(PAIRS))
    with pytest.raises(ortx.CallError, match="input 'x': values: got "):
        text_passer.run([direct, 0.0])


def test_bytes_that_are_no_text_are_refused():
    with pytest.raises(ortx.InvalidType, match=r"sparse_tensor: values: got .*; expected an array \(.*utf-8"):
        coo([b"a", b"\xff", b"c"])


@pytest.mark.parametrize("dtype", ["U3", "S3"])
def test_numpys_own_strings_are_no_part_of_a_sparse_tensor_that_was_made_directly(text_passer, dtype):
    direct = ortx.SparseTensor("coo", (2, 3), np.array(["a", "b", "c"], dtype), np.array(PAIRS))
    with pytest.raises(ortx.CallError, match=r"input 'x': values: got .*3; expected strings as an array of objects"):
        text_passer.run([direct, 0.0])


def test_strings_go_only_where_strings_are_declared(text_passer, passer):
    with pytest.raises(
        ortx.CallError, match=r"float32 of shape .* values>; expected string values: sparse_tensor\(str"
    ):
        text_passer.run([coo(), 0.0])
    with pytest.raises(ortx.CallError, match=r"string of shape .* values>; expected float32 values: sparse_tensor\(fl"):
        passer.run([coo(TEXTS), 0.0])


def test_of_strings_at_one_place_the_last_one_stays():
    for made in (
        coo(TEXTS, [1, 1, 1]),
        coo(TEXTS, [[0, 1]] * 3),
        csr(TEXTS, ([1, 1, 1], [0, 3, 3])),
        blocks(TEXTS.reshape(3, 1, 1), [[0] * 3, [1] * 3], (2, 3)),
    ):
        assert made.to_dense().tolist() == [["", "𝄞a", ""], ["", "", ""]]


def test_onnx_runtime_opens_no_model_with_sparse_strings_of_its_own():
    with pytest.raises(ortx.Error, match="Unsupported sparse tensor data type of 8"):
        ortx.session_from_bytes(constant_output(TEXTS, TensorProto.STRING))


def test_scipy_has_no_strings():
    for make in TEXT_FORMS.values():
        with pytest.raises(ortx.NotSupported, match=r"SparseTensor\.to_scipy: scipy\.sparse has no strings"):
            make().to_scipy()


@pytest.mark.parametrize("form", ["coo", "csr", "block_sparse"])
def test_bound_strings_are_a_copy(text_passer, form):
    x = TEXT_FORMS[form]()
    x = ortx.SparseTensor(x.format, x.shape, x.values.copy(), x.indices)
    values = weakref.ref(x.values)
    binding = text_passer.create_io_binding()
    binding.bind_input("x", x)
    binding.bind_input("z", 7.0)
    binding.bind_output("y")
    del x
    gc.collect()
    assert values() is None
    assert binding.run()["y"].tolist() == 7


@pytest.mark.parametrize("count", [1, 2])
def test_bound_blocks_are_a_copy_and_their_indices_are_kept(passer, count):
    values, at = BLOCKS[:count].copy(), np.array(BLOCKS_AT, np.int32)[:, :count].copy()
    binding = passer.create_io_binding()
    binding.bind_input("x", blocks(values, at))
    binding.bind_input("z", 7.0)
    binding.bind_output("y")
    values, at = weakref.ref(values), weakref.ref(at)
    gc.collect()
    assert (values() is None, at() is None) == (True, False)
    assert binding.run()["y"].tolist() == 7
    binding.clear_inputs()
    assert at() is None


def test_sparse_strings_outlive_the_session():
    session = ortx.session_from_bytes(passing_on(TensorProto.STRING))
    got = session.run([coo(TEXTS), 0.0])["x"]
    session.close()
    del session
    gc.collect()
    assert got.values.tolist() == TEXTS.tolist()
    assert got.indices.tolist() == PAIRS
