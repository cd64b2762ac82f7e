"""What a call returns (`ortx/_core.src/outputs.pxi`): values by position and by name."""

from __future__ import annotations

import models
import numpy as np
import pytest

import ortx

A = np.array([[3, 4], [5, 6]], np.float32)
B = np.array([[1, 2], [3, 4]], np.float32)


@pytest.fixture(scope="module")  # before the first test counts handles, since pytest keeps what a fixture returns
def outputs():
    with ortx.session_from_bytes(models.sum_and_difference()) as session:
        return session.run({"a": A, "b": B})


# --- one value


@pytest.mark.parametrize("key", [0, -2, "sum", np.int64(0), np.str_("sum")], ids=repr)
def test_position_and_name_find_the_same_value(outputs, key):
    assert outputs[key] is outputs["sum"]
    np.testing.assert_array_equal(outputs[key], A + B)


@pytest.mark.parametrize("key", [1, -1, "difference"])
def test_the_last_value_is_found_from_both_ends(outputs, key):
    np.testing.assert_array_equal(outputs[key], A - B)


def test_the_order_is_the_one_asked_for():
    with ortx.session_from_bytes(models.sum_and_difference()) as session:
        outputs = session.run({"a": A, "b": B}, ["difference", "sum"])
    assert outputs.keys() == ("difference", "sum")
    np.testing.assert_array_equal(outputs[0], A - B)
    np.testing.assert_array_equal(outputs["sum"], A + B)


@pytest.mark.parametrize("position", [2, -3, 2**40])
def test_a_position_out_of_range_says_how_many_there_are(outputs, position):
    with pytest.raises(IndexError, match=rf"no output {position}: there are 2 \(sum, difference\)"):
        outputs[position]


@pytest.mark.parametrize(
    ("name", "hint"),
    [("differnce", "; did you mean 'difference'?"), ("Sum", "; did you mean 'sum'?"), ("nothing at all", "")],
)
def test_an_unknown_name_is_a_key_error_with_the_nearest_name(outputs, name, hint):
    with pytest.raises(KeyError) as caught:
        outputs[name]
    assert caught.value.args == (f"no output {name!r}{hint} (outputs: sum, difference)",)


@pytest.mark.parametrize("key", [None, 1.0, b"sum", ("sum",), ["sum"], A], ids=lambda key: type(key).__name__)
def test_a_key_of_another_type_is_a_type_error(outputs, key):
    with pytest.raises(TypeError, match=rf"found by int, str or slice, not {type(key).__name__}"):
        outputs[key]


# --- all values


@pytest.mark.parametrize("part", [slice(None), slice(1), slice(1, None), slice(None, None, -1), slice(5, 9)], ids=str)
def test_a_slice_is_a_tuple_of_values(outputs, part):
    taken = outputs[part]
    expected = outputs.values()[part]
    assert type(taken) is tuple
    assert [id(value) for value in taken] == [id(value) for value in expected]


def test_unpacking_gives_the_values_in_order(outputs):
    total, difference = outputs
    assert total is outputs["sum"]
    assert difference is outputs["difference"]


def test_one_output_unpacks_too():
    with ortx.session_from_bytes(models.square()) as session:
        (y,) = session.run([A])
    np.testing.assert_array_equal(y, A * A)


def test_len_counts_the_values(outputs):
    assert len(outputs) == 2


def test_iteration_is_over_the_values_again_and_again(outputs):
    for _ in range(2):
        assert [id(value) for value in outputs] == [id(outputs[0]), id(outputs[1])]


@pytest.mark.parametrize("name", ["sum", "difference", np.str_("sum")])
def test_a_name_is_in_the_outputs(outputs, name):
    assert name in outputs


@pytest.mark.parametrize("other", ["a", "", 0, None, b"sum", A], ids=repr)
def test_nothing_but_a_name_is_in_the_outputs(outputs, other):
    assert other not in outputs


def test_keys_values_items_and_asdict_are_those_of_a_dictionary(outputs):
    assert outputs.keys() == ("sum", "difference")
    assert [id(value) for value in outputs.values()] == [id(value) for value in outputs]
    assert [(name, id(value)) for name, value in outputs.items()] == [
        (name, id(outputs[name]))
        for name in outputs.keys()  # noqa: SIM118 - `in outputs` gives values
    ]
    assert list(outputs.asdict()) == ["sum", "difference"]
    assert all(value is outputs[name] for name, value in outputs.asdict().items())


def test_dict_makes_a_dictionary_of_outputs(outputs):
    assert dict(outputs).keys() == outputs.asdict().keys()
    assert dict(outputs)["sum"] is outputs["sum"]


def test_asdict_returns_a_dictionary_of_the_callers_own(outputs):
    outputs.asdict().clear()
    outputs.items().clear()
    assert len(outputs.asdict()) == len(outputs.items()) == 2


def test_repr_shows_names_types_and_shapes_but_no_numbers(outputs):
    assert repr(outputs) == ("<ortx.Outputs sum: float32 of shape (2, 2); difference: float32 of shape (2, 2)>")


def test_repr_names_the_type_of_what_is_no_array():
    y = memoryview(bytearray(A.nbytes)).cast("f", A.shape)
    with ortx.session_from_bytes(models.square()) as session:
        outputs = session.run_into({"x": A}, {"y": y})
    assert repr(outputs) == "<ortx.Outputs y: memoryview>"
    assert outputs["y"] is y


# --- ownership


def test_values_outlive_outputs_and_session():
    with ortx.session_from_bytes(models.sum_and_difference()) as session:
        total = session.run({"a": A, "b": B})["sum"]
    del session
    np.testing.assert_array_equal(total, A + B)
    total[0, 0] = 7  # it is the caller's to write into
    assert total[0, 0] == 7


def test_outputs_cannot_be_made_by_hand():
    with pytest.raises(TypeError, match=r"Session\.run returns them"):
        ortx.Outputs()
    with pytest.raises(TypeError):
        ortx.Outputs.__new__(ortx.Outputs)


def test_outputs_cannot_be_derived_from():
    with pytest.raises(TypeError, match="not an acceptable base type"):
        type("Mine", (ortx.Outputs,), {})


@pytest.mark.parametrize("key", [0, "sum", slice(None)])
def test_values_can_neither_be_set_nor_deleted(outputs, key):
    with pytest.raises(TypeError, match="item assignment"):
        outputs[key] = A
    with pytest.raises(TypeError, match="item deletion"):
        del outputs[key]


@pytest.mark.parametrize("name", ["sum", "_names", "_values", "keys"])
def test_attributes_can_neither_be_set_nor_added(outputs, name):
    with pytest.raises(AttributeError):
        setattr(outputs, name, ())
