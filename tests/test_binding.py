"""Bound once, run often: IOBinding (`_core.src/binding.pxi`)."""

from __future__ import annotations

import gc
import threading

import models
import numpy as np
import pytest

import ortx

X = np.array([[1, 2], [3, 4]], np.float32)
BIAS = np.array([[10, 20]], np.float32)


@pytest.fixture
def session():
    with ortx.session_from_bytes(models.add()) as session:
        yield session


@pytest.fixture
def binding(session):
    binding = session.create_io_binding()
    binding.bind_input("x", X)
    binding.bind_input("bias", BIAS)
    return binding


def test_an_output_bound_to_nothing_is_allocated_anew_in_every_run(session, binding):
    assert binding.bind_output("y") is None
    first = session.run_with_iobinding(binding)["y"]
    binding.bind_input("bias", BIAS + 1)
    second = session.run_with_iobinding(binding)["y"]
    assert not np.shares_memory(first, second)
    assert first.tolist() == (X + BIAS).tolist()
    assert second.tolist() == (X + BIAS + 1).tolist()
    assert binding.get_outputs()[0] is second


def test_an_output_bound_to_a_device_is_allocated_anew_too(session, binding):
    assert binding.bind_output("y", {"mode": "device"}) is None
    first = session.run_with_iobinding(binding)["y"]
    second = binding.run()["y"]
    assert not np.shares_memory(first, second)
    assert second.tolist() == (X + BIAS).tolist()


def test_an_allocated_output_may_change_its_shape_from_run_to_run(session, binding):
    binding.bind_output("y")
    for rows in (1, 5, 2):
        binding.bind_input("x", np.ones((rows, 2), np.float32))
        assert binding.run()["y"].shape == (rows, 2)


@pytest.mark.parametrize("wrap", [lambda y: y, ortx.tensor, lambda y: memoryview(y)], ids=["array", "Tensor", "buffer"])
def test_an_output_bound_to_a_buffer_is_written_into_it(session, binding, wrap):
    y = np.zeros_like(X)
    target = wrap(y)
    assert binding.bind_output("y", target) is None
    outputs = session.run_with_iobinding(binding)
    assert outputs["y"] is target
    assert outputs[0] is target
    np.testing.assert_array_equal(y, X + BIAS)


def test_a_type_and_a_shape_make_a_tensor_that_is_returned(session, binding):
    y = binding.bind_output("y", {"type": "float32", "shape": (2, 2)})
    assert isinstance(y, ortx.Tensor)
    assert session.run_with_iobinding(binding)["y"] is y
    np.testing.assert_array_equal(y, X + BIAS)


def test_a_bound_input_is_changed_in_place_and_the_next_run_sees_it(session):
    x = X.copy()
    binding = session.create_io_binding()
    binding.bind_input("x", x)
    binding.bind_input("bias", [[0, 0]])
    y = binding.bind_output("y", {"type": "float32", "shape": (2, 2)})
    for value in range(5):
        x[:] = value
        session.run_with_iobinding(binding)
        assert (y.numpy() == value).all()


def test_what_is_bound_is_kept_alive(session, binding):
    binding.bind_input("x", X.copy() * 2)
    binding.bind_output("y", np.zeros_like(X))
    gc.collect()
    [np.full((2, 2), 7, np.float32) for _ in range(100)]
    assert binding.run()["y"].tolist() == (2 * X + BIAS).tolist()


def test_a_bound_array_cannot_be_resized(session, binding):
    x = X.copy()
    binding.bind_input("x", x)
    with pytest.raises(ValueError, match="cannot resize"):
        x.resize((100, 2))


def test_outputs_outlive_binding_and_session():
    session = ortx.session_from_bytes(models.square())
    binding = session.create_io_binding()
    binding.bind_input("x", X)
    binding.bind_output("y")
    y = binding.run()["y"]
    session.close()
    del session, binding
    gc.collect()
    np.testing.assert_array_equal(y, X * X)


def test_a_binding_keeps_its_session_alive():
    binding = ortx.session_from_bytes(models.square()).create_io_binding()
    gc.collect()
    binding.bind_input("x", X)
    binding.bind_output("y")
    assert binding.run()[0][1, 1] == 16


def test_outputs_come_in_the_order_they_were_bound():
    with ortx.session_from_bytes(models.sum_and_difference()) as session:
        binding = session.create_io_binding()
        binding.bind_input("a", X)
        binding.bind_input("b", X)
        total = np.zeros_like(X)
        binding.bind_output("difference")
        binding.bind_output("sum", total)
        outputs = binding.run()
        assert outputs.keys() == ("difference", "sum")
        assert outputs["sum"] is total
        assert not outputs["difference"].any()
        binding.bind_output("difference", np.ones_like(X))  # keeps its place
        assert binding.run().keys() == ("difference", "sum")


def test_clearing_unbinds(session, binding):
    binding.bind_output("y")
    y = binding.run()["y"]
    binding.clear_outputs()
    with pytest.raises(ortx.Error, match="nothing was run since the outputs were bound"):
        binding.get_outputs()
    with pytest.raises(ortx.CallError, match="outputs: none bound; the model has y"):
        binding.run()
    binding.bind_output("y")
    binding.clear_inputs()
    with pytest.raises(ortx.CallError) as caught:
        binding.run()
    assert len(caught.value.problems) == 2
    assert y.tolist() == (X + BIAS).tolist()


def test_synchronizing_works(binding):
    binding.bind_output("y")
    binding.synchronize_inputs()
    binding.run()
    binding.synchronize_outputs()
    assert binding.get_outputs()["y"].tolist() == (X + BIAS).tolist()


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("biass", BIAS, "did you mean 'bias'"),
        (3, BIAS, "input 3: the model has no such input"),
        ("bias", BIAS.astype("float64"), "got float64"),
        ("bias", X, "dimension 0 must be 1, not 2"),
        ("bias", None, "got None"),
        ("x", np.asfortranarray(X), "not C-contiguous"),
        ("x", memoryview(np.asfortranarray(X)), "not C-contiguous"),
    ],
)
def test_an_input_that_cannot_be_bound_is_refused_and_the_binding_still_works(session, binding, name, value, words):
    binding.bind_output("y")
    with pytest.raises(ortx.CallError) as caught:
        binding.bind_input(name, value)
    assert words in str(caught.value)
    assert binding.run()["y"].tolist() == (X + BIAS).tolist()
    binding.bind_input("bias", BIAS + 1)
    assert binding.run()["y"].tolist() == (X + BIAS + 1).tolist()


@pytest.mark.parametrize(
    ("name", "spec", "error", "words"),
    [
        ("z", None, ortx.CallError, "output 'z': the model has no such output"),
        ("y", np.zeros((2, 2)), ortx.CallError, "got float64"),
        ("y", [[0, 0]], ortx.CallError, "expected a writable array"),
        ("y", {"type": "float32"}, ortx.InvalidArgument, "expected {'type'"),
        ("y", {"mode": "host"}, ortx.InvalidArgument, "expected {'type'"),
        ("y", {"type": "float3", "shape": (2, 2)}, ortx.InvalidArgument, "did you mean 'float32'"),
        ("y", {"type": "float32", "shape": 2}, ortx.InvalidType, "expected a sequence of integers"),
        ("y", {"type": "float32", "shape": (-1, 2)}, ortx.InvalidArgument, "no negative dimension"),
        ("y", {"type": "float64", "shape": (2, 2)}, ortx.CallError, "got float64"),
    ],
)
def test_an_output_that_cannot_be_bound_is_refused_and_the_binding_still_works(
    session, binding, name, spec, error, words
):
    binding.bind_output("y")
    with pytest.raises(error) as caught:
        binding.bind_output(name, spec)
    assert words in str(caught.value)
    assert binding.run()["y"].tolist() == (X + BIAS).tolist()


def test_an_output_that_is_an_input_is_not_bound():
    with ortx.session_from_bytes(models.passed_through()) as session:
        binding = session.create_io_binding()
        with pytest.raises(ortx.CallError, match="is an input that the model passes on"):
            binding.bind_output("x")
        binding.bind_input("x", X)
        binding.bind_output("y")
        assert binding.run()["y"].tolist() == (X * X).tolist()


def test_overridable_initializers_are_bound_like_inputs():
    with ortx.session_from_bytes(models.overridable()) as session:
        binding = session.create_io_binding()
        binding.bind_input("x", X)
        binding.bind_output("y")
        assert binding.run()["y"].tolist() == (X * 10).tolist()
        binding.bind_input("scale", [3])
        assert binding.run()["y"].tolist() == (X * 3).tolist()


def test_a_buffer_of_the_wrong_batch_size_is_refused_by_ort(session, binding):
    y = np.full((5, 2), 7, np.float32)
    binding.bind_output("y", y)
    with pytest.raises(ortx.Error, match="shape"):
        binding.run()
    assert (y == 7).all()
    binding.bind_output("y")
    assert binding.run()["y"].shape == (2, 2)


def test_a_binding_belongs_to_its_session(session, binding):
    with ortx.session_from_bytes(models.add()) as other:
        with pytest.raises(ortx.InvalidArgument, match="a binding of another session"):
            other.run_with_iobinding(binding)
        with pytest.raises(ortx.InvalidType, match=r"expected an ortx\.IOBinding"):
            other.run_with_iobinding({"x": X})


def test_a_closed_session_refuses_its_bindings(session, binding):
    binding.bind_output("y")
    session.close()
    for call in (
        binding.run,
        session.create_io_binding,
        lambda: binding.bind_input("x", X),
        lambda: binding.bind_output("y"),
        binding.synchronize_inputs,
        binding.synchronize_outputs,
    ):
        with pytest.raises(ortx.SessionClosed):
            call()
    binding.clear_inputs()
    binding.clear_outputs()


def test_run_options_are_used(session, binding):
    binding.bind_output("y")
    options = ortx.run_options(tag="bound")
    options.terminate()
    with pytest.raises(ortx.Error, match="terminate"):
        session.run_with_iobinding(binding, options)
    options.reset_terminate()
    assert session.run_with_iobinding(binding, options)["y"].tolist() == (X + BIAS).tolist()


def test_a_second_thread_is_refused_while_one_is_using_the_binding():
    x = np.eye(256, dtype=np.float32)
    with ortx.session_from_bytes(models.slow(), intra_op_num_threads=1) as session:
        binding = session.create_io_binding()
        binding.bind_input("x", x)
        binding.bind_output("y")
        results = []
        thread = threading.Thread(target=lambda: results.append(binding.run()["y"]))
        thread.start()
        while not session.running and thread.is_alive():
            pass
        for call in (binding.run, binding.clear_inputs, lambda: binding.bind_input("x", x)):
            with pytest.raises(ortx.Error, match="in use by another thread"):
                call()
        thread.join()
    np.testing.assert_array_equal(results[0], x)


def test_each_thread_has_its_own_binding_of_one_session(session):
    wrong = []

    def work(number: int) -> None:
        binding = session.create_io_binding()
        x = np.full((number + 1, 2), number, np.float32)
        binding.bind_input("x", x)
        binding.bind_input("bias", BIAS)
        binding.bind_output("y")
        for _ in range(500):
            if (binding.run()["y"] != x + BIAS).any():
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_repr_names_what_is_bound(session, binding):
    binding.bind_output("y")
    assert repr(binding).endswith("x, bias -> y>")
    assert "nothing -> nothing" in repr(session.create_io_binding())
