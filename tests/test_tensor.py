"""A tensor over an array's memory (`_core.src/tensor.pxi`)."""

from __future__ import annotations

import models
import numpy as np
import pytest

import ortx

X = np.array([[1, 2], [3, 4]], np.float32)


def test_a_tensor_looks_into_the_arrays_memory():
    x = X.copy()
    tensor = ortx.tensor(x)
    assert tensor.numpy() is x
    x[0, 0] = 9
    assert tensor.tolist() == [[9, 2], [3, 4]]
    assert (tensor.shape, tensor.dtype, tensor.data_type, tensor.device) == ((2, 2), np.float32, "float", "cpu")
    assert len(tensor) == 2
    assert repr(tensor) == "<ortx.Tensor float32 of shape (2, 2)>"


@pytest.mark.parametrize("dtype", sorted(models.NUMPY_TYPES))
def test_a_tensor_is_made_of_type_shape_and_values(dtype):
    values = [True, False] if dtype == "bool" else [1, 0]
    tensor = ortx.tensor(dtype, (1, 2), values)
    assert tensor.dtype == dtype
    assert tensor.shape == (1, 2)
    assert tensor.tolist() == [values]
    assert not ortx.tensor(dtype, [3]).numpy().any()


def test_the_seeds_own_example():
    x = ortx.tensor("float32", (1, 2), [1.0, 2.0])
    bias = ortx.tensor("float32", (1, 2), [0.5, -0.5])
    with ortx.session_from_bytes(models.add()) as session:
        outputs = session.run({"x": x, "bias": bias}, ["y"], ortx.run_options(tag="demo"))
    assert outputs["y"].tolist() == [[1.5, 1.5]]


def test_tensors_go_in_and_come_out_of_every_way_of_running():
    x, y = ortx.tensor(X), ortx.tensor("float32", (2, 2))
    with ortx.session_from_bytes(models.square()) as session:
        assert session.run([x])[0].tolist() == (X * X).tolist()
        results = session.run_into({"x": x}, {"y": y})
    assert results["y"] is y
    assert y.tolist() == (X * X).tolist()


def test_a_tensor_of_the_wrong_type_is_refused_by_run():
    with (
        ortx.session_from_bytes(models.square()) as session,
        pytest.raises(ortx.CallError, match="got float64 of shape"),
    ):
        session.run([ortx.tensor(X.astype("float64"))])


def test_numpy_takes_a_tensor_without_copying():
    tensor = ortx.tensor(X.copy())
    assert np.shares_memory(np.asarray(tensor), tensor.numpy())
    assert np.shares_memory(np.from_dlpack(tensor), tensor.numpy())
    assert not np.shares_memory(np.array(tensor), tensor.numpy())
    assert np.asarray(tensor, "float64").dtype == np.float64
    assert tensor.__array__(copy=False) is tensor.numpy()
    assert not np.shares_memory(tensor.__array__(copy=True), tensor.numpy())
    with pytest.raises(ValueError, match="cannot be an array of float64 without a copy"):
        tensor.__array__("float64", copy=False)


def test_what_cannot_be_used_as_it_is_is_copied_once():
    tensor = ortx.tensor(X.T)
    assert tensor.numpy().flags.c_contiguous
    assert tensor.tolist() == X.T.tolist()


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (("float31", (2,)), ortx.InvalidArgument, "did you mean 'float32'"),
        (("float32",), ortx.InvalidType, "shape: got None"),
        (("float32", 3), ortx.InvalidType, "expected a sequence of integers"),
        (("float32", (1.5,)), ortx.InvalidType, "expected a sequence of integers"),
        (("float32", (-1,)), ortx.InvalidArgument, "no negative dimension"),
        (("float32", (3,), [1, 2]), ortx.InvalidArgument, "values: got 2; expected 3 for the shape (3,)"),
        (("int8", (1,), [300]), ortx.InvalidArgument, "300 does not fit into int8"),
        (("int8", (1,), [1.5]), ortx.InvalidArgument, "which holds float64"),
        ((X, (4,)), ortx.InvalidType, "they go with the name of an element type"),
        ((X.astype(">f4"),), ortx.InvalidArgument, "big-endian"),
        ((np.array(["a", 1], object),), ortx.InvalidArgument, "got 1 (int) at (1,) among the strings"),
        ((np.array([1j]),), ortx.InvalidArgument, "which ORT has no element type for"),
        ((3,), ortx.InvalidType, "which is no array"),
        (([1, 2],), ortx.InvalidType, "which is no array"),
    ],
)
def test_what_makes_no_tensor_is_refused(arguments, error, words):
    with pytest.raises(error) as caught:
        ortx.tensor(*arguments)
    assert words in str(caught.value)


def test_a_tensor_is_not_made_directly():
    with pytest.raises(TypeError, match=r"use ortx\.tensor"):
        ortx.Tensor()
