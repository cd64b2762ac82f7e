"""One call: `run` and `run_into`, by name and by position, and what they refuse (`_core.src/frame.pxi`)."""

from __future__ import annotations

import collections
import types

import models
import numpy as np
import pytest

import ortx

X = np.array([[1, 2], [3, 4]], np.float32)
BIAS = np.array([[10, 20]], np.float32)
SUM = X + BIAS


@pytest.fixture(scope="module")
def add():
    with ortx.session_from_bytes(models.add()) as session:
        yield session


@pytest.fixture(scope="module")
def overridable():
    with ortx.session_from_bytes(models.overridable()) as session:
        yield session


@pytest.fixture(scope="module")
def two_outputs():
    with ortx.session_from_bytes(models.sum_and_difference()) as session:
        yield session


# --- inputs


@pytest.mark.parametrize(
    "inputs",
    [
        {"x": X, "bias": BIAS},
        {"bias": BIAS, "x": X},
        types.MappingProxyType({"x": X, "bias": BIAS}),
        collections.OrderedDict(bias=BIAS, x=X),
        collections.ChainMap({"x": X}, {"bias": BIAS}),
        {"".join(["bi", "as"]): BIAS, "".join(["", "x"]): X},
        [X, BIAS],
        (X, BIAS),
        collections.UserList([X, BIAS]),
        [X.tolist(), BIAS.tolist()],
        {"x": X.tolist(), "bias": BIAS},
    ],
    ids=lambda inputs: type(inputs).__name__,
)
def test_inputs_are_a_mapping_or_a_sequence(add, inputs):
    np.testing.assert_array_equal(add.run(inputs)["y"], SUM)


def test_positional_inputs_go_on_into_overridable_initializers(overridable):
    np.testing.assert_array_equal(overridable.run([X])[0], X * 10)
    np.testing.assert_array_equal(overridable.run([X, np.array([3], np.float32)])[0], X * 3)
    np.testing.assert_array_equal(overridable.run([X, [3]])[0], X * 3)


def test_names_of_overridable_initializers_are_keys(overridable):
    np.testing.assert_array_equal(overridable.run({"scale": np.array([2], np.float32), "x": X})["y"], X * 2)


def test_none_leaves_an_input_out_that_may_be_left_out(overridable):
    np.testing.assert_array_equal(overridable.run([X, None])[0], X * 10)


def test_a_model_of_many_inputs_takes_them_in_any_order():
    count = 100
    inputs = {f"x{i}": np.full((1, 2), i, np.float32) for i in range(count)}
    with ortx.session_from_bytes(models.many(count)) as session:
        for feed in (inputs, dict(reversed(inputs.items())), list(inputs.values())):
            outputs = session.run(feed)
            assert outputs.keys() == tuple(f"y{i}" for i in range(count))
            assert [value[0, 0] for value in outputs] == [i * i for i in range(count)]


def test_one_error_lists_everything_that_is_wrong_with_a_call(add):
    with pytest.raises(ortx.CallError) as caught:
        add.run({"x": X.astype("float64"), "biass": BIAS}, ["z"])
    error = caught.value
    assert isinstance(error, ValueError)
    assert len(error.problems) == 4
    message = str(error)
    assert "4 problems" in message
    assert "'x': got float64 of shape (2, 2); expected float32 of shape (batch, 2)" in message
    assert "astype('float32')" in message
    assert "'biass': the model has no such input; did you mean 'bias'?" in message
    assert "'bias': missing; expected float32 of shape (1, 2)" in message
    assert "output 'z': the model has no such output" in message


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ({}, ["'x': missing", "'bias': missing"]),
        ([], ["'x': missing", "'bias': missing"]),
        ([X], ["'bias': missing"]),
        ([X, BIAS, X], ["3 inputs given by position", "the model has 2 (x, bias)"]),
        ({"x": X, "bias": BIAS, 3: X}, ["input 3: the model has no such input"]),
        ({"X": X, "bias": BIAS}, ["'X': the model has no such input", "'x': missing"]),
        (X, ["(ndarray); expected a mapping from names (x, bias) or a list in the model's order"]),
        ("x", ["(str); expected a mapping"]),
        (b"x", ["(bytes); expected a mapping"]),
        (None, ["(NoneType); expected a mapping"]),
        (3, ["(int); expected a mapping"]),
        (iter([X, BIAS]), ["expected a mapping"]),
    ],
)
def test_inputs_that_do_not_fit_the_model_are_refused(add, inputs, words):
    with pytest.raises(ortx.CallError) as caught:
        add.run(inputs)
    for word in words:
        assert word in str(caught.value)


def test_the_nearest_name_is_suggested_for_mangled_names(add):
    with pytest.raises(ortx.CallError, match="did you mean 'bias'"):
        add.run({"x": X, "Bias": BIAS})


def test_names_with_a_lone_surrogate_are_unknown_names(add):
    with pytest.raises(ortx.CallError, match="no such input"):
        add.run({"x": X, "\ud800": BIAS})


# --- output names


def test_outputs_come_in_the_order_they_are_asked_for(two_outputs):
    outputs = two_outputs.run([X, X], ["difference", "sum"])
    assert outputs.keys() == ("difference", "sum")
    difference, total = outputs
    assert difference.tolist() == (X - X).tolist()
    assert total.tolist() == (X + X).tolist()
    assert two_outputs.run([X, X], ("sum",)).keys() == ("sum",)
    assert two_outputs.run([X, X]).keys() == ("sum", "difference")
    assert two_outputs.run([X, X], iter(["difference"])).keys() == ("difference",)


@pytest.mark.parametrize(
    ("names", "error", "word"),
    [
        ("sum", ortx.InvalidType, r"write \['sum'\]"),
        (3, ortx.InvalidType, "expected a list of names"),
        ([], ortx.InvalidArgument, "empty list"),
        (["sum", "difference", "sum"], ortx.InvalidArgument, "'sum' is asked for twice"),
        (["sun"], ortx.CallError, "did you mean 'sum'"),
        ([["sum"]], ortx.CallError, r"output \['sum'\]: the"),
        ([None], ortx.CallError, "output None: the model has no such output"),
        ([0], ortx.CallError, "output 0: the model has no such output"),
    ],
)
def test_output_names_that_cannot_be_are_refused(two_outputs, names, error, word):
    with pytest.raises(error, match=word):
        two_outputs.run([X, X], names)


def test_a_sequence_takes_no_buffer():
    with ortx.session_from_bytes(models.sequence_output()) as session:
        with pytest.raises(
            ortx.CallError, match=r"'both': got .* expected None, since seq\(tensor\(float\)\) is made anew"
        ):
            session.run_into([X], {"both": []})
        first, both = session.run_into([X], [np.empty_like(X), None])
        assert first[1, 1] == 16
        assert [item.tolist() for item in both] == [X.tolist(), X.tolist()]


def test_run_options_of_the_wrong_type_are_refused(add):
    with pytest.raises(ortx.InvalidType, match=r"expected an ortx\.RunOptions"):
        add.run([X, BIAS], None, {"tag": "x"})


def test_arguments_go_by_keyword_too(add):
    outputs = add.run(inputs={"x": X, "bias": BIAS}, output_names=["y"], run_options=ortx.run_options(tag="t"))
    assert outputs[0].tolist() == SUM.tolist()


# --- run_into


@pytest.mark.parametrize("form", [dict, list, tuple])
def test_run_into_writes_into_the_buffers_and_returns_them(add, form):
    y = np.zeros_like(X)
    inputs, outputs = {"x": X, "bias": BIAS}, {"y": y}
    if form is not dict:
        inputs, outputs = form(inputs.values()), form(outputs.values())
    results = add.run_into(inputs, outputs)
    assert results["y"] is y
    np.testing.assert_array_equal(y, SUM)


def test_run_into_computes_only_the_outputs_it_is_given(two_outputs):
    difference = np.ones_like(X)
    results = two_outputs.run_into([X, X], {"difference": difference})
    assert results.keys() == ("difference",)
    assert not difference.any()


def test_run_into_lets_ort_allocate_where_the_buffer_is_none(two_outputs):
    total = np.zeros_like(X)
    results = two_outputs.run_into([X, X], {"difference": None, "sum": total})
    assert results.keys() == ("difference", "sum")
    assert results["sum"] is total
    assert results["difference"].tolist() == (X - X).tolist()


def test_run_into_takes_other_writable_buffers(add):
    buffer = bytearray(16)
    view = memoryview(buffer).cast("f", (2, 2))
    results = add.run_into([X, BIAS], [view])
    assert results[0] is view
    np.testing.assert_array_equal(np.frombuffer(buffer, np.float32).reshape(2, 2), SUM)


def test_run_into_reuses_one_buffer_over_many_runs(add):
    y = np.empty_like(X)
    for i in range(100):
        add.run_into({"x": X + i, "bias": BIAS}, {"y": y})
        np.testing.assert_array_equal(y, SUM + i)


def read_only(array):
    array.flags.writeable = False
    return array


@pytest.mark.parametrize(
    ("buffer", "words"),
    [
        (read_only(np.zeros((2, 2), np.float32)), "got a read-only array; expected a writable one"),
        (
            np.zeros((2, 2), np.float64),
            "got float64 of shape (2, 2); expected float32 of shape (batch, 2)",
        ),
        (np.zeros((2, 3), np.float32), "dimension 1 must be 2, not 3"),
        (np.zeros(4, np.float32), "2 dimensions, not 1"),
        (np.zeros((2, 4), np.float32)[:, ::2], "not C-contiguous"),
        (np.zeros((2, 2), np.float32, order="F"), "not C-contiguous"),
        (np.zeros((2, 2), ">f4"), "big-endian float32"),
        (
            [[0, 0], [0, 0]],
            "(list), which is no array, buffer, list or number; expected a writable array",
        ),
        (np.float32(0), "expected a writable array or buffer"),
        ("y", "expected a writable array or buffer"),
        (memoryview(bytes(16)).cast("f", (2, 2)), "got a read-only array"),
    ],
)
def test_a_buffer_that_cannot_be_written_is_refused(add, buffer, words):
    with pytest.raises(ortx.CallError) as caught:
        add.run_into({"x": X, "bias": BIAS}, {"y": buffer})
    assert "output 'y'" in str(caught.value)
    assert words in str(caught.value)


def test_a_buffer_of_the_wrong_batch_size_is_refused_by_ort_and_left_alone(add):
    y = np.full((5, 2), 7, np.float32)
    with pytest.raises(ortx.Error, match="shape"):
        add.run_into([X, BIAS], [y])
    assert (y == 7).all()


def test_outputs_may_not_share_memory(two_outputs):
    buffer = np.zeros((3, 2), np.float32)
    with pytest.raises(ortx.CallError, match="'difference': shares memory with output 'sum'"):
        two_outputs.run_into([X, X], [buffer[:2], buffer[1:]])
    x = X.copy()
    with pytest.raises(ortx.CallError, match="'sum': shares memory with input 'a'"):
        two_outputs.run_into([x, X], {"sum": x})
    assert x.tolist() == X.tolist()


def test_neighbouring_buffers_are_fine(two_outputs):
    buffer = np.zeros((4, 2), np.float32)
    two_outputs.run_into([X, X], [buffer[:2], buffer[2:]])
    assert buffer.tolist() == [*(X + X).tolist(), *(X - X).tolist()]


@pytest.mark.parametrize("outputs", [{}, [], ()])
def test_run_into_without_outputs_is_refused(add, outputs):
    with pytest.raises(ortx.CallError, match="outputs: none given; the model has y"):
        add.run_into([X, BIAS], outputs)


def test_run_into_lists_problems_of_inputs_and_outputs_together(add):
    with pytest.raises(ortx.CallError) as caught:
        add.run_into({"x": X}, {"y": np.zeros(3), "z": X})
    assert len(caught.value.problems) == 3


# --- what fails while it runs


def test_a_model_that_fails_raises_an_error_and_works_again():
    with ortx.session_from_bytes(models.failing()) as session:
        for _ in range(3):
            with pytest.raises(ortx.Error, match="Reshape"):
                session.run([np.zeros(14, np.float32)])
        assert session.run([np.zeros(15, np.float32)])[0].shape == (3, 5)


def test_a_failed_call_changes_nothing(add):
    y = np.full_like(X, 7)
    with pytest.raises(ortx.CallError):
        add.run_into({"x": X}, {"y": y})
    assert (y == 7).all()
    np.testing.assert_array_equal(add.run([X, BIAS])[0], SUM)
