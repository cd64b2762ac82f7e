"""The page of the session module: bindings."""

from __future__ import annotations

import functools

import models
import numpy as np
import pytest

import ortx

from .shared import BIAS, MODULE, OPTIONAL, X, bound, opened, proves

bindings = functools.partial(proves, MODULE, "IOBinding")


@bindings("session:create_io_binding()")
def a_session_makes_any_number_of_bindings():
    session = opened(models.add())
    first, second = bound(session), bound(session)
    first.bind_output("y")
    assert isinstance(first, ortx.IOBinding)
    assert first.run()["y"].tolist() == (X + BIAS).tolist()
    with pytest.raises(ortx.CallError, match="outputs: none bound"):
        second.run()


@bindings("binding:bind_input(name, value)")
def what_is_bound_is_read_by_every_run():
    session, x = opened(models.square()), X.copy()
    binding = session.create_io_binding()
    binding.bind_input("x", x)
    binding.bind_output("y")
    assert binding.run()["y"].tolist() == (X * X).tolist()
    x[:] = 5  # in place: the next run sees it
    assert (binding.run()["y"] == 25).all()
    with pytest.raises(ortx.CallError, match="no such input"):
        binding.bind_input("z", x)
    binding.bind_input("x", X)
    assert binding.run()["y"].tolist() == (X * X).tolist()


@bindings("bind_input: empty optionals are not accepted")
def an_empty_optional_is_not_bound():
    session = opened(OPTIONAL)
    binding = session.create_io_binding()
    binding.bind_output("given")
    for empty in (ortx.optional(None, session.input_info("x")), ortx.optional(), None):
        with pytest.raises(ortx.CallError, match="bind_input.*'x'"):
            binding.bind_input("x", empty)
    assert not binding.run()["given"]
    binding.bind_input("x", [1.0, 2.0])
    assert binding.run()["given"]


@bindings('binding:bind_output("y")')
def an_output_goes_to_cpu_memory_and_is_retrieved_later():
    session = opened(models.add())
    binding = bound(session)
    assert binding.bind_output("y") is None
    session.run_with_iobinding(binding)
    y = binding.get_outputs()["y"]
    assert (type(y), y.tolist()) == (np.ndarray, (X + BIAS).tolist())
    binding.bind_input("bias", 2 * BIAS)
    session.run_with_iobinding(binding)
    assert y.tolist() == (X + BIAS).tolist()  # not overwritten


@bindings('binding:bind_output("y", existing_tensor)')
def an_output_is_written_directly_into_an_existing_tensor():
    session = opened(models.add())
    binding, memory_of_caller = bound(session), np.zeros_like(X)
    y = ortx.tensor(memory_of_caller)
    assert binding.bind_output("y", y) is None
    assert session.run_with_iobinding(binding)["y"] is y
    assert memory_of_caller.tolist() == (X + BIAS).tolist()


@bindings('binding:bind_output("y", {type, shape})')
def a_new_output_tensor_is_made_and_returned():
    session = opened(models.add())
    binding = bound(session)
    y = binding.bind_output("y", {"type": "float32", "shape": (2, 2)})
    assert (type(y), y.shape, y.dtype) == (ortx.Tensor, (2, 2), np.float32)
    outputs = session.run_with_iobinding(binding)
    assert outputs["y"] is y
    assert y.tolist() == (X + BIAS).tolist()
    with pytest.raises(ortx.InvalidArgument):
        binding.bind_output("y", {"type": "float32"})


@bindings('binding:bind_output("y", {mode = "device"})')
def an_output_is_left_where_the_device_puts_it():
    session = opened(models.add())
    binding = bound(session)
    assert binding.bind_output("y", {"mode": "device"}) is None
    first = session.run_with_iobinding(binding)["y"]
    binding.bind_input("x", X[:1])
    assert session.run_with_iobinding(binding)["y"].tolist() == (X[:1] + BIAS).tolist()  # of another shape
    assert first.tolist() == (X + BIAS).tolist()
    with pytest.raises(ortx.InvalidArgument):
        binding.bind_output("y", {"mode": "host"})


@bindings("binding:clear_inputs()")
def cleared_inputs_are_missing():
    binding = bound(opened(models.add()))
    binding.bind_output("y")
    binding.run()
    binding.clear_inputs()
    with pytest.raises(ortx.CallError) as caught:
        binding.run()
    assert len(caught.value.problems) == 2
    binding.bind_input("x", X)
    binding.bind_input("bias", BIAS)
    assert binding.run()["y"].tolist() == (X + BIAS).tolist()


@bindings("binding:clear_outputs()")
def cleared_outputs_are_not_computed():
    binding, y = bound(opened(models.add())), np.zeros_like(X)
    binding.bind_output("y", y)
    binding.clear_outputs()
    with pytest.raises(ortx.CallError, match="outputs: none bound"):
        binding.run()
    with pytest.raises(ortx.Error, match="nothing was run"):
        binding.get_outputs()
    assert not y.any()


def synchronised(name: str) -> None:
    session = opened(models.add())
    binding, y = bound(session), np.zeros_like(X)
    binding.bind_output("y", y)
    synchronise = getattr(binding, name)
    assert synchronise() is None
    binding.run()
    assert synchronise() is None
    assert y.tolist() == (X + BIAS).tolist()
    session.close()
    with pytest.raises(ortx.SessionClosed):  # it does ask ONNX Runtime
        synchronise()


for page_name in ("synchronize_inputs", "synchronize_outputs"):
    bindings(f"binding:{page_name}()")(functools.partial(synchronised, page_name))


@bindings("binding:get_outputs()")
def the_outputs_of_the_last_run_come_once_more():
    session = opened(models.sum_and_difference())
    binding, total = session.create_io_binding(), np.zeros_like(X)
    binding.bind_input("a", X)
    binding.bind_input("b", X)
    binding.bind_output("difference")
    binding.bind_output("sum", total)
    with pytest.raises(ortx.Error, match="nothing was run"):
        binding.get_outputs()
    binding.run()
    outputs = binding.get_outputs()
    assert outputs.keys() == ("difference", "sum")
    assert outputs["sum"] is total
    assert (outputs["difference"].any(), total.tolist()) == (False, (X + X).tolist())
