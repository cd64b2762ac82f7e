"""Small outputs of fixed shapes are arrays of ortx's own, once ONNX Runtime has shown that the model is right."""

from __future__ import annotations

import asyncio

import models
import numpy as np
import pytest
from onnx import helper

import ortx

FIXED = (3, 2)
SMALL = 16 << 10  # bytes


def open_model(model: bytes, **options: object) -> ortx.Session:
    return ortx.session_from_bytes(model, intra_op_num_threads=1, **options)


def is_own(array: np.ndarray) -> bool:
    """Whether an array's memory is numpy's; otherwise its base is what owns ONNX Runtime's."""
    assert array.base is None or type(array.base).__name__ == "Value"
    return array.base is None


def who_allocates(session: ortx.Session, inputs: dict[str, np.ndarray], name: str = "y") -> list[bool]:
    """Run three times; return whether the output was ortx's own."""
    return [is_own(session.run(inputs)[name]) for _ in range(3)]


@pytest.mark.parametrize("dtype", models.NUMPY_TYPES)
def test_after_the_first_run_a_small_output_is_an_array_of_its_own(dtype):
    x = np.arange(6).reshape(FIXED).astype(dtype)
    with open_model(models.identity(dtype, FIXED)) as session:
        assert who_allocates(session, {"x": x}) == [False, True, True]
        y = session.run({"x": x})["y"]
        assert (y.dtype, y.shape, y.flags.c_contiguous, y.flags.writeable) == (x.dtype, FIXED, True, True)
        np.testing.assert_array_equal(y, x)


def test_each_run_returns_another_array_and_none_changes_later():
    with open_model(models.square(FIXED)) as session:
        results = [session.run([np.full(FIXED, number, np.float32)])["y"] for number in range(20)]
    for number, result in enumerate(results):
        np.testing.assert_array_equal(result, np.full(FIXED, number * number))
    assert all(not np.shares_memory(one, other) for one in results for other in results if one is not other)


def test_a_scalar_is_an_array_without_dimensions():
    with open_model(models.square(())) as session:
        x = np.array(3, np.float32)
        assert who_allocates(session, {"x": x}) == [False, True, True]
        assert session.run([x])[0].shape == ()
        assert session.run([x])[0] == 9


@pytest.mark.parametrize("names", [["y"], ("y",), None])
def test_it_does_not_matter_how_all_outputs_are_asked_for(names):
    x = np.ones(FIXED, np.float32)
    with open_model(models.square(FIXED)) as session:
        session.run([x])
        assert is_own(session.run([x], names)["y"])


def test_one_of_several_outputs_is_allocated_by_onnx_runtime():
    nodes = [helper.make_node("Neg", ["x"], ["y"]), helper.make_node("Abs", ["x"], ["z"])]
    model = models.build(nodes, [models.tensor("x", shape=FIXED)], [models.tensor(n, shape=FIXED) for n in "yz"])
    x = np.full(FIXED, 2, np.float32)
    with open_model(model) as session:
        session.run([x])
        assert (is_own(session.run([x])["z"]), is_own(session.run([x], ["z"])["z"])) == (True, False)
        np.testing.assert_array_equal(session.run([x], ["z", "y"])["y"], -x)


@pytest.mark.parametrize(
    ("shape", "given"), [(("n", 2), FIXED), (None, FIXED), ((0, 2), (0, 2)), ((SMALL // 4 + 1,), (SMALL // 4 + 1,))]
)
def test_what_is_not_fixed_or_large_or_empty_is_allocated_by_onnx_runtime(shape, given):
    with open_model(models.square(shape)) as session:
        results = [session.run([np.ones(given, np.float32)])[0] for _ in range(3)]
        assert all(result.size == 0 or not is_own(result) for result in results)


def test_the_largest_small_output():
    with open_model(models.square((SMALL // 4,))) as session:
        assert who_allocates(session, {"x": np.ones(SMALL // 4, np.float32)}) == [False, True, True]


def test_a_small_output_beside_a_large_one():
    nodes = [helper.make_node("Neg", ["x"], ["large"]), helper.make_node("ReduceSum", ["x"], ["small"], keepdims=0)]
    outputs = [models.tensor("large", shape=(SMALL,)), models.tensor("small", shape=())]
    x = np.ones(SMALL, np.float32)
    with open_model(models.build(nodes, [models.tensor("x", shape=(SMALL,))], outputs)) as session:
        for own in (False, True, True):
            large, small = session.run([x])
            assert (is_own(large), is_own(small)) == (False, own)
            assert small == SMALL
            np.testing.assert_array_equal(large, -x)


def test_submitted_and_awaited_runs_do_the_same():
    x = np.full(FIXED, 3, np.float32)
    with open_model(models.square(FIXED)) as session:
        submitted = [session.submit([x]).result()["y"] for _ in range(2)]
        awaited = asyncio.run(session.run_async([x]))["y"]
    assert [is_own(array) for array in (*submitted, awaited)] == [False, True, True]
    np.testing.assert_array_equal(awaited, np.full(FIXED, 9))


def test_a_model_that_hands_an_input_on_gets_no_buffer_for_it():
    x = models.tensor("x", shape=FIXED)
    model = models.build([helper.make_node("Neg", ["x"], ["y"])], [x], [x, models.tensor("y", shape=FIXED)])
    given = np.ones(FIXED, np.float32)
    with open_model(model) as session:
        for _ in range(3):
            handed_on, y = session.run([given])
            np.testing.assert_array_equal(handed_on, given)
            assert not np.shares_memory(handed_on, given)
            assert not is_own(y)


# --- models whose outputs are not what they declare


def test_a_shape_that_a_call_brings_is_followed():
    x = np.arange(6, dtype=np.float32)
    with open_model(models.reshaped(models.tensor("shape", "int64", (2,)))) as session:
        for shape in ((3, 2), (2, 3), (6, 1), (3, 2)):
            y = session.run({"x": x, "shape": np.array(shape)})["y"]
            assert (y.shape, is_own(y)) == (shape, False)


def test_a_shape_of_the_models_own_is_known():
    with open_model(models.reshaped(models.constant("shape", FIXED, "int64"))) as session:
        assert who_allocates(session, {"x": np.arange(6, dtype=np.float32)}) == [False, True, True]


def test_an_output_that_is_declared_with_another_shape_is_returned_as_it_is():
    # ONNX does not say what shape such a node has, so nobody can tell before it runs.
    node = helper.make_node("FeatureVectorizer", ["x"], ["y"], domain="ai.onnx.ml", inputdimensions=[2])
    graph = helper.make_graph([node], "graph", [models.tensor("x", shape=(1, 2))], [models.tensor("y", shape=(2, 1))])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()
    x = np.array([[1, 2]], np.float32)
    with open_model(model) as session:
        for _ in range(3):
            y = session.run([x])["y"]
            assert (y.tolist(), is_own(y)) == ([[1, 2]], False)


def test_a_failed_run_leaves_the_next_one_alone():
    model = models.build(
        [helper.make_node("Gather", ["x", "i"], ["y"])],
        [models.tensor("x", shape=(3,)), models.tensor("i", "int64", (1,))],
        [models.tensor("y", shape=(1,))],
    )
    x = np.array([1, 2, 3], np.float32)
    with open_model(model) as session:
        for _ in range(3):
            assert session.run([x, np.array([1])])["y"] == 2
            with pytest.raises(ortx.Error, match="indices element out of data bounds"):
                session.run([x, np.array([7])])
