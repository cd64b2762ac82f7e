"""What a model says of a value (`ortx/valueinfo.py`): `asdict`, the words in messages, immutability."""

from __future__ import annotations

import copy
import dataclasses
import pickle

import models
import numpy as np
import pytest

import ortx
from ortx import ValueInfo


def tensor(name="", data_type="float32", type="tensor(float)", **shape) -> ValueInfo:
    return ValueInfo(name=name, onnx_type="tensor", type=type, data_type=data_type, **shape)


def shaped(*shape: tuple[int, str], **fields) -> ValueInfo:
    return tensor(
        has_shape=True,
        shape=tuple(size for size, _ in shape),
        symbolic_shape=tuple(symbol for _, symbol in shape),
        **fields,
    )


OPEN = tensor(name="x")
SHAPED = shaped((-1, "batch"), (3, ""), name="x")
MAP = ValueInfo(
    name="",
    onnx_type="map",
    type="map(int64,tensor(float))",
    key_type="int64",
    value=tensor(),
)
SEQUENCE = ValueInfo(name="probabilities", onnx_type="sequence", type="seq(map(int64,tensor(float)))", element=MAP)
OPAQUE = ValueInfo(name="x", onnx_type="opaque", type="opaque")


# --- asdict


def test_asdict_of_a_tensor_has_all_that_applies_to_tensors():
    assert SHAPED.asdict() == {
        "name": "x",
        "onnx_type": "tensor",
        "type": "tensor(float)",
        "is_sparse": False,
        "data_type": "float32",
        "has_shape": True,
        "shape": (-1, 3),
        "symbolic_shape": ("batch", ""),
    }


def test_asdict_leaves_out_a_shape_that_is_not_known():
    assert OPEN.asdict() == {
        "name": "x",
        "onnx_type": "tensor",
        "type": "tensor(float)",
        "is_sparse": False,
        "data_type": "float32",
        "has_shape": False,
    }


def test_asdict_keeps_the_empty_shape_of_a_scalar():
    scalar = shaped().asdict()
    assert (scalar["has_shape"], scalar["shape"], scalar["symbolic_shape"]) == (True, (), ())


def test_asdict_makes_dictionaries_of_what_is_nested():
    assert SEQUENCE.asdict() == {
        "name": "probabilities",
        "onnx_type": "sequence",
        "type": "seq(map(int64,tensor(float)))",
        "is_sparse": False,
        "has_shape": False,
        "element": {
            "name": "",
            "onnx_type": "map",
            "type": "map(int64,tensor(float))",
            "is_sparse": False,
            "has_shape": False,
            "key_type": "int64",
            "value": {
                "name": "",
                "onnx_type": "tensor",
                "type": "tensor(float)",
                "is_sparse": False,
                "data_type": "float32",
                "has_shape": False,
            },
        },
    }


def test_asdict_returns_a_dictionary_of_the_callers_own():
    SHAPED.asdict().clear()
    assert SHAPED.asdict()["name"] == "x"


# --- the words in messages


@pytest.mark.parametrize(
    ("info", "expected"),
    [
        (OPEN, "float32 of any shape"),
        (SHAPED, "float32 of shape (batch, 3)"),
        (shaped(), "float32 of shape ()"),
        (shaped((5, "")), "float32 of shape (5,)"),
        (shaped((-1, "n")), "float32 of shape (n,)"),
        (shaped((-1, "")), "float32 of shape (any,)"),
        (shaped((-1, ""), (-1, "n"), (0, "")), "float32 of shape (any, n, 0)"),
        (
            shaped((2, ""), data_type="bfloat16", type="tensor(bfloat16)"),
            "bfloat16 of shape (2,)",
        ),
        (MAP, "map(int64,tensor(float))"),
        (SEQUENCE, "seq(map(int64,tensor(float)))"),
        (OPAQUE, "opaque"),
        (
            ValueInfo(
                name="x",
                onnx_type="sparse_tensor",
                type="sparse_tensor(float)",
                is_sparse=True,
                data_type="float32",
            ),
            "sparse_tensor(float)",
        ),
        (
            ValueInfo(
                name="x",
                onnx_type="optional",
                type="optional(tensor(float))",
                element=tensor(),
            ),
            "optional(tensor(float))",
        ),
    ],
    ids=str,
)
def test_str_says_what_a_value_must_be(info, expected):
    assert str(info) == expected


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (models.identity("int64", None), "int64 of any shape"),
        (models.identity("float16", ()), "float16 of shape ()"),
        (models.identity("bool", ("n",)), "bool of shape (n,)"),
        (models.identity("float64", (None, 3)), "float64 of shape (any, 3)"),
        (models.identity("uint8", ("height", "width", 3)), "uint8 of shape (height, width, 3)"),
    ],
    ids=lambda value: value if isinstance(value, str) else "model",
)
def test_a_missing_input_is_described_as_the_model_declares_it(model, expected):
    with (
        ortx.session_from_bytes(model) as session,
        pytest.raises(ortx.CallError) as caught,
    ):
        session.run({})
    assert caught.value.problems == (f"input 'x': missing; expected {expected}",)


def test_an_output_that_is_no_tensor_is_described_in_the_words_of_onnx():
    with (
        ortx.session_from_bytes(models.sequence_output()) as session,
        pytest.raises(ortx.CallError, match=r"'both': got .*; expected None, since seq\(tensor\(float\)\)"),
    ):
        session.run_into({"x": np.ones((1, 2), np.float32)}, {"both": np.ones(2)})


# --- a value object


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(ValueInfo)])
def test_no_field_can_be_set_or_deleted(field):
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(SHAPED, field, "other")
    with pytest.raises(dataclasses.FrozenInstanceError):
        delattr(SHAPED, field)


def test_nothing_can_be_added():
    with pytest.raises((AttributeError, TypeError)):
        SHAPED.comment = "mine"
    assert not hasattr(SHAPED, "__dict__")


def test_equal_descriptions_are_equal_and_hash_alike():
    twin = shaped((-1, "batch"), (3, ""), name="x")
    assert (twin, hash(twin)) == (SHAPED, hash(SHAPED))
    assert dataclasses.replace(twin, name="z") != SHAPED


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda info: pickle.loads(pickle.dumps(info))])
def test_a_copy_is_equal(again):
    assert again(SEQUENCE) == SEQUENCE


def test_fields_are_given_by_name_only():
    with pytest.raises(TypeError):
        ValueInfo("x", "tensor", "tensor(float)")
