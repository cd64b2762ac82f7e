"""The C API's page: running, run options, bindings."""

from __future__ import annotations

import functools
import gc
import itertools
import sys
import threading
from concurrent.futures import Future

import models
import numpy as np
import pytest

import ortx

from .shared import BIAS, C, X, bound, levels_of_failure, live, messages, opened, proves

# --- running inference

c_running = functools.partial(proves, C, "Running Inference")


@c_running("Run")
def run_computes():
    assert opened(models.add()).run([X, BIAS])["y"].tolist() == (X + BIAS).tolist()


@c_running("Run: session")
def a_session_runs_in_many_threads_at_a_time():
    session, wrong = opened(models.square(), intra_op_num_threads=2), []

    def work(number: int) -> None:
        x = np.full((number + 1, 2), number, np.float32)
        wrong.extend(number for _ in range(200) if (session.run([x])["y"] != x * x).any())

    workers = [threading.Thread(target=work, args=[number]) for number in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert (wrong, session.running) == ([], 0)


@c_running("Run: run_options can be NULL")
def run_options_can_be_left_out():
    session = opened(models.square())
    for given in ([X], [X, None], [X, None, None]):
        assert session.run([given[0]], *given[1:])["y"].tolist() == (X * X).tolist()
    assert session.run_into([X], [np.empty_like(X)], None)["y"].tolist() == (X * X).tolist()


@c_running("Run: input_names, inputs, input_len")
def inputs_go_with_their_names_in_any_order():
    session = opened(models.sum_and_difference())
    assert session.run({"b": X, "a": 3 * X})["difference"].tolist() == (2 * X).tolist()
    for wrong in ({"a": X}, {"a": X, "b": X, "c": X}, {}, [X], [X, X, X]):
        with pytest.raises(ortx.CallError):
            session.run(wrong)


@c_running("Run: output_names, output_names_len")
def only_the_outputs_that_are_named_are_computed():
    session = opened(models.many(4))
    outputs = session.run([X, 2 * X, 3 * X, 4 * X], ["y2", "y0"])
    assert [value.tolist() for value in outputs] == [(9 * X * X).tolist(), (X * X).tolist()]
    for wrong in ([], ["y2", "y2"], ["y9"], [""]):
        with pytest.raises(ortx.InvalidArgument):
            session.run([X] * 4, wrong)


@c_running("Run: outputs pre-allocated or NULL")
def outputs_are_the_caller_s_or_onnx_runtime_s():
    total = np.zeros_like(X)
    outputs = opened(models.sum_and_difference()).run_into([X, X], {"sum": total, "difference": None})
    assert outputs["sum"] is total
    assert (total.tolist(), outputs["difference"].tolist()) == ((X + X).tolist(), (X - X).tolist())


@c_running("Run: NULL on success, error status otherwise")
def a_failing_kernel_is_an_error_with_a_code_and_its_message():
    session = opened(models.failing())
    with messages(), pytest.raises(ortx.Error, match="Reshape") as caught:
        session.run([np.ones(4, np.float32)])
    # Which of the two it is depends on the version of ONNX Runtime.
    assert caught.value.code in (ortx.ErrorCode.FAIL, ortx.ErrorCode.RUNTIME_EXCEPTION)
    assert session.run([np.ones(15, np.float32)])["y"].shape == (3, 5)


@c_running("RunAsync")
def a_run_goes_on_while_the_caller_does_something_else():
    session, x = opened(models.slow(400), intra_op_num_threads=2), np.eye(256, dtype=np.float32)
    future = session.submit([x], ["y"])
    assert isinstance(future, Future)
    assert (future.done(), session.running) == (False, 1)
    assert (future.result(timeout=60)["y"] == x).all()
    assert session.running == 0
    single = opened(models.square(), intra_op_num_threads=1)
    assert single.submit([X]).result(timeout=60)["y"].tolist() == (X * X).tolist()


@c_running("RunAsync: callback")
def the_callback_is_called_once_with_the_outputs_or_the_error():
    called: list[tuple[Future, int]] = []
    session = opened(models.failing(), intra_op_num_threads=2)
    for elements in (15, 4):
        done = threading.Event()
        future = session.submit([np.ones(elements, np.float32)])
        future.add_done_callback(lambda future: called.append((future, threading.get_ident())))
        future.add_done_callback(lambda future, done=done: done.set())
        assert done.wait(timeout=60)
    (good, thread), (bad, same_thread) = called
    assert good.result()["y"].shape == (3, 5)
    assert "Reshape" in str(bad.exception())
    assert threading.get_ident() not in (thread, same_thread)


@c_running("RunAsync: run_options")
def a_submitted_run_can_be_terminated():
    session, x = opened(models.slow(3000), intra_op_num_threads=2), np.eye(256, dtype=np.float32)
    run_options = ortx.run_options()
    future = session.submit([x], None, run_options)
    run_options.terminate()
    assert "terminate" in str(future.exception(timeout=60))


@c_running("RunAsync: everything stays valid until the callback")
def what_a_submitted_run_needs_is_kept_alive():
    session = opened(models.slow(400), intra_op_num_threads=2, graph_optimization_level="disable")
    inputs = {"x": np.eye(256, dtype=np.float32)}
    future = session.submit(inputs, list(session.output_names()), ortx.run_options(tag="gone"))
    inputs.clear()
    del session
    gc.collect()
    [np.full((256, 256), 7, np.float32) for _ in range(20)]  # in the place of what might have been released
    assert (future.result(timeout=60)["y"] == np.eye(256)).all()


# --- run options

c_run_options = functools.partial(proves, C, "Run Options")


@c_run_options("CreateRunOptions")
def run_options_are_created_and_reused():
    session, before, run_options = opened(models.square()), live("run_options"), ortx.run_options()
    assert live("run_options") == before + 1
    for _ in range(3):
        assert session.run([X], None, run_options)["y"].tolist() == (X * X).tolist()


@c_run_options("RunOptionsSetRunLogVerbosityLevel")
def the_log_verbosity_level_is_set_and_read_back_from_onnx_runtime():
    run_options = ortx.run_options()
    for level in (1, 2**31 - 1, 0):
        run_options.log_verbosity_level = level
        assert run_options.log_verbosity_level == level
    with pytest.raises(ortx.OptionError):
        run_options.log_verbosity_level = 2**31


@c_run_options("RunOptionsSetRunLogSeverityLevel")
def the_log_severity_level_is_set_from_verbose_to_fatal():
    run_options, said = ortx.run_options(), []
    for level in range(5):
        run_options.log_severity_level = level
        said.append(levels_of_failure(run_options, session_log_severity_level=4))
    assert said == [{"ERROR"}] * 4 + [set()]
    with pytest.raises(ortx.OptionError):
        run_options.log_severity_level = 5


@c_run_options("RunOptionsSetRunTag")
def the_run_tag_is_told_when_the_run_begins():
    session = opened(models.square(), session_log_severity_level=1)
    with messages() as said:
        session.run([X], None, ortx.run_options(tag="demo"))
    assert "Running with tag: demo" in [record.getMessage() for record in said]


@c_run_options("RunOptionsSetTerminate")
def the_terminate_flag_ends_runs_that_use_the_options_and_no_others():
    session, run_options = opened(models.square()), ortx.run_options()
    run_options.terminate()
    with pytest.raises(ortx.Error, match="terminate flag being set to true") as caught:
        session.run([X], None, run_options)
    assert caught.value.code == ortx.ErrorCode.FAIL
    assert session.run([X], None, ortx.run_options())["y"].tolist() == (X * X).tolist()


@c_run_options("RunOptionsUnsetTerminate")
def without_the_terminate_flag_the_options_can_be_used_again():
    session, run_options = opened(models.square()), ortx.run_options()
    run_options.terminate()
    run_options.reset_terminate()
    run_options.reset_terminate()
    assert session.run([X], None, run_options)["y"].tolist() == (X * X).tolist()


SHRINK = "memory.enable_memory_arena_shrinkage"


@c_run_options("AddRunConfigEntry")
def an_entry_of_the_run_configuration_reaches_onnx_runtime():
    session, run_options = opened(models.square()), ortx.run_options()
    run_options.add_config_entry(SHRINK, "gpu:0")
    with pytest.raises(ortx.InvalidArgument, match="gpu:0"):
        session.run([X], None, run_options)  # there is no such arena
    run_options.add_config_entry(SHRINK, "cpu:0")
    assert session.run([X], None, run_options)["y"].tolist() == (X * X).tolist()


@c_run_options("onnxruntime_run_options_config_keys.h")
def known_keys_are_checked_and_unknown_ones_kept_with_a_warning():
    run_options = ortx.run_options()
    for key, good, wrong in (
        (SHRINK, "cpu:0", "cpu0"),
        ("disable_synchronize_execution_providers", "1", "True"),
        ("gpu_graph_id", "-1", "first"),
    ):
        run_options.add_config_entry(key, good)
        with pytest.raises(ortx.OptionError, match="expected "):
            run_options.add_config_entry(key, wrong)
    with pytest.warns(ortx.UnknownConfigKeyWarning, match="did you mean 'gpu_graph_id'"):
        run_options.add_config_entry("gpu_graph", "1")


@c_run_options("ReleaseRunOptions")
def run_options_are_released_with_their_last_reference():
    before, run_options = live("run_options"), ortx.run_options()
    session = opened(models.slow(400), intra_op_num_threads=2)
    future = session.submit([np.eye(256, dtype=np.float32)], None, run_options)
    del run_options
    future.result(timeout=60)
    session.close()
    del future, session
    assert live("run_options") == before


# --- IO binding

c_binding = functools.partial(proves, C, "IO Binding")


@c_binding("CreateIoBinding")
def a_binding_is_created_for_a_session_and_keeps_it():
    before = live("io_binding")
    binding = bound(opened(models.add()))
    gc.collect()
    assert live("io_binding") == before + 1
    binding.bind_output("y")
    assert binding.run()["y"].tolist() == (X + BIAS).tolist()
    closed = opened(models.add())
    closed.close()
    with pytest.raises(ortx.SessionClosed):
        closed.create_io_binding()


@c_binding("BindInput: name")
def an_input_is_bound_by_name_and_a_wrong_name_does_no_harm():
    binding = bound(opened(models.add()))
    binding.bind_output("y")
    with pytest.raises(ortx.CallError, match="did you mean 'bias'"):
        binding.bind_input("biass", BIAS)  # ONNX Runtime could bind nothing afterwards
    binding.bind_input("bias", 2 * BIAS)
    assert binding.run()["y"].tolist() == (X + 2 * BIAS).tolist()


@c_binding("BindInput: val_ptr")
def a_bound_value_is_neither_copied_nor_let_go():
    session = opened(models.square())
    binding, x = session.create_io_binding(), np.ones((2, 2), np.float32)
    binding.bind_input("x", x)
    y = binding.bind_output("y", {"type": "float32", "shape": (2, 2)})
    view = x[:]
    del x
    gc.collect()
    for value in (2, 3):
        view[:] = value
        binding.run()
        assert (y.numpy() == value * value).all()


@c_binding("BindOutput")
def an_output_is_bound_to_memory_of_the_caller_s():
    binding, y = bound(opened(models.add())), np.zeros_like(X)
    binding.bind_output("y", y)
    assert binding.run()["y"] is y
    assert y.tolist() == (X + BIAS).tolist()
    with pytest.raises(ortx.CallError, match="got float64"):
        binding.bind_output("y", np.zeros((2, 2)))
    with pytest.raises(ortx.CallError, match="no such output"):
        binding.bind_output("z", y)


@c_binding("BindOutputToDevice: name")
def outputs_bound_to_a_device_come_under_their_names():
    session = opened(models.sum_and_difference())
    binding = session.create_io_binding()
    binding.bind_input("a", X)
    binding.bind_input("b", X)
    binding.bind_output("difference", {"mode": "device"})
    assert binding.run().keys() == ("difference",)
    with pytest.raises(ortx.CallError, match="did you mean 'sum'"):
        binding.bind_output("sums", {"mode": "device"})


@c_binding("BindOutputToDevice: mem_info_ptr")
def outputs_bound_to_a_device_are_allocated_there_for_every_run():
    session = opened(models.add())
    binding = bound(session)
    binding.bind_output("y", {"mode": "device"})
    kept = [binding.run()["y"] for _ in range(3)]
    assert not any(np.shares_memory(a, b) for a, b in itertools.pairwise(kept))
    assert session.memory_info_for_outputs()["y"].device_type == "cpu"
    assert [y.tolist() for y in kept] == [(X + BIAS).tolist()] * 3


@c_binding("RunWithBinding")
def a_binding_runs_again_and_again():
    session = opened(models.add())
    binding, y = bound(session), np.zeros_like(X)
    binding.bind_output("y", y)
    for factor in range(3):
        binding.bind_input("bias", factor * BIAS)
        session.run_with_iobinding(binding)
        assert y.tolist() == (X + factor * BIAS).tolist()


@c_binding("ClearBoundInputs")
def clearing_inputs_lets_them_go():
    session = opened(models.square())
    binding, x = session.create_io_binding(), X.copy()
    before = sys.getrefcount(x)
    binding.bind_input("x", x)
    assert sys.getrefcount(x) > before
    binding.clear_inputs()
    assert sys.getrefcount(x) == before
    binding.bind_output("y")
    with pytest.raises(ortx.CallError, match="input 'x': not bound"):
        binding.run()


@c_binding("ClearBoundOutputs")
def clearing_outputs_lets_them_go():
    binding, y = bound(opened(models.add())), np.zeros_like(X)
    before = sys.getrefcount(y)
    binding.bind_output("y", y)
    binding.run()
    assert sys.getrefcount(y) > before
    binding.clear_outputs()
    assert (sys.getrefcount(y), y.tolist()) == (before, (X + BIAS).tolist())
    with pytest.raises(ortx.CallError, match="none bound"):
        binding.run()


@c_binding("ReleaseIoBinding")
def a_binding_is_released_and_its_outputs_stay():
    session, before = opened(models.add()), live("io_binding")
    binding = bound(session)
    binding.bind_output("y")
    y = binding.run()["y"]
    del binding
    assert live("io_binding") == before
    session.close()
    assert y.tolist() == (X + BIAS).tolist()
