"""One call: `run` and `run_into`, and what they refuse (`_core.src/frame.pxi`, `marshal.pxi`)."""

from __future__ import annotations

import collections
import threading
import types

import models
import numpy as np
import pytest
from onnx import helper

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


# --- values are kept for the next call over the same buffer: nobody can tell


def test_the_same_buffer_is_read_and_written_anew_in_every_call(add):
    x, y = np.zeros((1, 2), np.float32), np.zeros((1, 2), np.float32)
    for number in range(5):
        x[:] = number
        assert add.run([x, BIAS])["y"].tolist() == [[number + BIAS[0, 0], number + BIAS[0, 1]]]
        add.run_into([x, BIAS], [y])
        assert y.tolist() == [[number + BIAS[0, 0], number + BIAS[0, 1]]]


def test_a_buffer_that_changes_its_shape_in_place_is_used_as_it_is_now(add):
    x = np.arange(8, dtype=np.float32).reshape(4, 2)
    for rows in (4, 2, 4, 1):
        view = x.reshape(-1)[: 2 * rows].reshape(rows, 2)
        assert add.run([view, BIAS])["y"].tolist() == (view + BIAS).tolist()


def test_another_array_at_the_place_of_a_deleted_one_is_used_as_it_is(add):
    for number in range(200):
        x = np.full((1 + number % 3, 2), number, np.float32)  # numpy gives the same memory again and again
        assert add.run([x, BIAS])["y"].tolist() == (x + BIAS).tolist()


def test_calls_that_fail_leave_nothing_behind(add):
    x = np.ones((1, 2), np.float32)
    for _ in range(3):
        with pytest.raises(ortx.InvalidArgument):
            add.run_into([x, BIAS], [np.empty((9, 2), np.float32)])
        assert add.run([x, BIAS])["y"].tolist() == (x + BIAS).tolist()


def test_one_session_with_as_many_buffers_as_threads():
    with ortx.session_from_bytes(models.square(), intra_op_num_threads=1) as session:
        errors = []

        def run(seed):
            x = np.full((1 + seed % 2, 2), seed, np.float32)
            y = np.empty_like(x)
            for _ in range(500):
                if (
                    not (session.run([x])["y"] == seed**2).all()
                    or not (session.run_into([x], [y])["y"] == seed**2).all()
                ):
                    errors.append(seed)

        threads = [threading.Thread(target=run, args=(seed,)) for seed in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not errors


# --- many buffers


@pytest.fixture(scope="module")
def many():
    """Return a session of 20 inputs and 20 outputs, each output twice its input."""
    nodes = [helper.make_node("Add", [f"x{i}", f"x{i}"], [f"y{i}"]) for i in range(20)]
    inputs = [models.tensor(f"x{i}", shape=(2,)) for i in range(20)]
    outputs = [models.tensor(f"y{i}", shape=(2,)) for i in range(20)]
    with ortx.session_from_bytes(models.build(nodes, inputs, outputs), intra_op_num_threads=1) as session:
        yield session


def test_many_buffers_side_by_side_share_nothing(many):
    memory = np.arange(80, dtype=np.float32).reshape(40, 2)
    expected = 2 * memory[:20]
    for _ in range(2):
        many.run_into(list(memory[:20]), list(memory[20:]))
        assert np.array_equal(memory[20:], expected)


@pytest.mark.parametrize(
    ("output", "at", "other"),
    [(3, 17, "input 'x17'"), (19, 0, "input 'x0'"), (5, 24, "output 'y4'"), (0, 39, "output 'y19'")],
)
def test_two_of_many_buffers_that_share_memory_are_named(many, output, at, other):
    memory = np.zeros(81, np.float32)
    buffers = [memory[2 * i : 2 * i + 2] for i in range(40)]
    many.run_into(buffers[:20], buffers[20:])
    buffers[20 + output] = memory[2 * at + 1 : 2 * at + 3] if at < 39 else memory[79:81]
    with pytest.raises(ortx.CallError, match="shares memory with") as caught:
        many.run_into(buffers[:20], buffers[20:])
    assert f"'y{output}'" in str(caught.value)
    assert other in str(caught.value)
    buffers[20 + output] = np.empty(2, np.float32)
    many.run_into(buffers[:20], buffers[20:])


def test_many_inputs_may_share_memory(many):
    x, outputs = np.ones(2, np.float32), [np.empty(2, np.float32) for _ in range(20)]
    many.run_into([x] * 20, outputs)
    assert all(y.tolist() == [2, 2] for y in outputs)
