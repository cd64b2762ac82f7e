"""The page of the session module: running, options of runs, the example."""

from __future__ import annotations

import functools
import threading
import time
import warnings

import models
import numpy as np
import pytest

import ortx

from .shared import BIAS, MODULE, OPTIONAL, X, bound, levels_of_failure, messages, opened, parsed, proves

# --- run inference

runs = functools.partial(proves, MODULE, "Run inference")


@runs("session:run(inputs)")
def a_run_computes_all_outputs():
    outputs = opened(models.sum_and_difference()).run({"a": X, "b": 2 * X})
    assert {name: value.tolist() for name, value in outputs.items()} == {
        "sum": (3 * X).tolist(),
        "difference": (-X).tolist(),
    }


@runs("session:run(inputs, output_names)")
def a_run_computes_the_outputs_that_are_named():
    session = opened(models.sum_and_difference())
    assert session.run([X, X], ["difference"]).keys() == ("difference",)
    assert session.run([X, X], ["difference", "sum"]).keys() == ("difference", "sum")
    with pytest.raises(ortx.CallError, match="output 'some': the model has no such output"):
        session.run([X, X], ["some"])


@runs("session:run(inputs, output_names, run_options)")
def a_run_heeds_its_options():
    session, run_options = opened(models.square()), ortx.run_options()
    assert session.run({"x": X}, ["y"], run_options)["y"].tolist() == (X * X).tolist()
    run_options.terminate()
    with pytest.raises(ortx.Error, match="terminate"):
        session.run({"x": X}, ["y"], run_options)


@runs("session:run_into(inputs, outputs)")
def run_into_writes_into_the_caller_s_memory():
    y = np.zeros_like(X)
    outputs = opened(models.add()).run_into({"x": X, "bias": BIAS}, {"y": y})
    assert (y.tolist(), outputs.keys()) == ((X + BIAS).tolist(), ("y",))


@runs("session:run_into(inputs, outputs, run_options)")
def run_into_heeds_its_options():
    session, run_options, y = opened(models.square()), ortx.run_options(), np.zeros_like(X)
    run_options.terminate()
    with pytest.raises(ortx.Error, match="terminate"):
        session.run_into({"x": X}, {"y": y}, run_options)
    assert not y.any()
    run_options.reset_terminate()
    session.run_into({"x": X}, {"y": y}, run_options)
    assert y.tolist() == (X * X).tolist()


@runs("session:run_with_iobinding(binding)")
def a_binding_is_run():
    session = opened(models.add())
    binding = bound(session)
    binding.bind_output("y")
    assert session.run_with_iobinding(binding)["y"].tolist() == (X + BIAS).tolist()
    with pytest.raises(ortx.InvalidArgument, match="another session"):
        opened(models.add()).run_with_iobinding(binding)


@runs("session:run_with_iobinding(binding, run_options)")
def a_run_of_a_binding_heeds_its_options():
    session, run_options = opened(models.add()), ortx.run_options()
    binding = bound(session)
    binding.bind_output("y")
    run_options.terminate()
    with pytest.raises(ortx.Error, match="terminate"):
        session.run_with_iobinding(binding, run_options)
    run_options.reset_terminate()
    assert session.run_with_iobinding(binding, run_options)["y"].tolist() == (X + BIAS).tolist()


@runs("outputs, err")
def a_run_that_fails_is_an_error_and_the_session_goes_on():
    session = opened(models.failing())
    with pytest.raises(ortx.Error, match="Reshape"):
        session.run([np.ones(4, np.float32)])
    assert session.run([np.ones(15, np.float32)])["y"].shape == (3, 5)


input_rules = functools.partial(proves, MODULE, "Input rules")


@input_rules("a positional array or a dictionary")
def inputs_are_a_list_a_tuple_or_a_mapping():
    session = opened(models.add())
    for inputs in ([X, BIAS], (X, BIAS), {"bias": BIAS, "x": X}):
        assert session.run(inputs)["y"].tolist() == (X + BIAS).tolist()
        assert session.run_into(inputs, [np.empty_like(X)])["y"].tolist() == (X + BIAS).tolist()


@input_rules("positional arrays follow model input order")
def positions_are_those_of_the_model():
    session = opened(models.sum_and_difference())
    assert session.run([X, 2 * X])["difference"].tolist() == (-X).tolist()
    assert session.run([2 * X, X])["difference"].tolist() == X.tolist()


@input_rules("positional arrays continue with overridable initializers")
def behind_the_inputs_positions_go_on_into_overridable_initializers():
    scaled = "g (float[n,2] x, float[1] a = {10.0}, float[1] b = {1.0}) => (float[n,2] y) { t = Mul(x, a) y = Add(t, b)"
    session = opened(parsed(f"{scaled} }}"))
    assert session.overridable_initializer_names() == ("a", "b")
    assert session.run([X])["y"].tolist() == (X * 10 + 1).tolist()
    assert session.run([X, [2.0]])["y"].tolist() == (X * 2 + 1).tolist()
    assert session.run([X, [2.0], [3.0]])["y"].tolist() == (X * 2 + 3).tolist()
    with pytest.raises(ortx.CallError):
        session.run([X, [2.0], [3.0], [4.0]])


@input_rules("dictionary keys: inputs or overridable initializers")
def keys_are_names_of_inputs_or_overridable_initializers():
    session = opened(models.overridable())
    assert session.run({"x": X})["y"].tolist() == (X * 10).tolist()
    assert session.run({"scale": [3.0], "x": X})["y"].tolist() == (X * 3).tolist()
    with pytest.raises(ortx.CallError, match="did you mean 'scale'") as caught:
        session.run({"scales": [3.0]})
    assert len(caught.value.problems) == 2  # and x is missing


@input_rules("optional inputs omitted")
def an_optional_input_may_be_left_out():
    session = opened(OPTIONAL)
    assert [session.run(inputs)["given"].item() for inputs in ({}, [], {"x": None}, {"x": [1.0, 2.0]})] == [
        False,
        False,
        False,
        True,
    ]
    with pytest.raises(ortx.CallError, match="'x'"):
        opened(models.square()).run({})  # this one is not optional


@input_rules("optional(nil, type_info)")
def an_empty_optional_says_the_same():
    session = opened(OPTIONAL)
    for type_info in (session.input_info("x"), "optional(tensor(float))", None):
        empty = ortx.optional(None, type_info)
        assert not empty.has_value
        assert not session.run({"x": empty})["given"]
        assert not session.run([empty])["given"]
        assert session.run({"x": ortx.optional([1.0, 2.0], type_info)})["given"]
    with pytest.raises(ortx.CallError, match=r"expected optional\(tensor\(float\)\)"):
        session.run({"x": ortx.optional(None, "optional(tensor(double))")})
    with pytest.raises(ortx.CallError):
        opened(models.square()).run({"x": ortx.optional(None)})


output_rules = functools.partial(proves, MODULE, "Output rules")


@output_rules("the return value is a table")
def what_a_run_returns_is_a_table():
    outputs = opened(models.sum_and_difference()).run([X, X])
    total, difference = outputs
    assert (type(outputs), len(outputs), list(outputs.asdict())) == (ortx.Outputs, 2, ["sum", "difference"])
    assert (total.tolist(), difference.any()) == ((X + X).tolist(), False)


@output_rules("access by numeric index")
def an_output_of_a_run_is_found_by_position():
    outputs = opened(models.sum_and_difference()).run([X, X], ["difference", "sum"])
    assert (outputs[0].any(), outputs[1].tolist()) == (False, (X + X).tolist())
    with pytest.raises(IndexError):
        outputs[2]


@output_rules("access by output name")
def an_output_is_found_by_its_name():
    outputs = opened(models.sum_and_difference()).run([X, X], ["difference", "sum"])
    assert outputs["sum"] is outputs[1]
    assert outputs["difference"] is outputs[0]
    with pytest.raises(KeyError):
        outputs["a"]


@output_rules("run_into() returns the same object")
def the_tensor_that_was_given_is_returned():
    session = opened(models.square())
    for y in (ortx.tensor("float32", (2, 2)), np.empty_like(X), memoryview(np.empty_like(X))):
        outputs = session.run_into({"x": X}, {"y": y})
        assert outputs["y"] is y
        assert outputs[0] is y
        assert y.tolist() == (X * X).tolist()


# --- run options

of_runs = functools.partial(proves, MODULE, "Run options")


def logids_of_failure(run_options: ortx.RunOptions) -> set[str]:
    with messages() as said, opened(models.failing(), log_id="s") as session, pytest.raises(ortx.Error):
        session.run([np.ones(4, np.float32)], None, run_options)
    return {record.logid for record in said}


@of_runs("run_options()")
def without_anything_run_options_are_the_defaults():
    run_options = ortx.run_options()
    assert (run_options.tag, run_options.log_severity_level, run_options.log_verbosity_level) == ("", -1, 0)
    assert opened(models.square()).run([X], None, run_options)["y"].tolist() == (X * X).tolist()


@of_runs("run_options(opts)")
def run_options_are_a_table_keywords_or_both():
    table = {"tag": "session-run", "log_severity_level": 2, "log_verbosity_level": 1}
    for made in (ortx.run_options(table), ortx.run_options(**table), ortx.run_options({"tag": "other"}, **table)):
        assert {name: getattr(made, name) for name in table} == table
    with pytest.raises(ortx.OptionError, match="did you mean 'tag'"):
        ortx.run_options(tags="demo")


@of_runs("tag")
def the_tag_is_on_the_messages_of_the_run():
    assert logids_of_failure(ortx.run_options(tag="größe")) == {"s:größe"}


@of_runs("log_severity_level")
def the_severity_of_a_run_takes_the_place_of_the_session_s():
    assert levels_of_failure(ortx.run_options(log_severity_level=4)) == set()
    assert levels_of_failure(ortx.run_options(log_severity_level=3), session_log_severity_level=4) == {"ERROR"}


@of_runs("log_verbosity_level")
def the_verbosity_of_a_run_is_taken_and_checked():
    run_options = ortx.run_options(log_verbosity_level=1)
    assert run_options.log_verbosity_level == 1
    assert opened(models.square()).run([X], None, run_options)["y"].tolist() == (X * X).tolist()
    for wrong in (-1, "1", True):
        with pytest.raises(ortx.OptionError, match="log_verbosity_level"):
            ortx.run_options(log_verbosity_level=wrong)


@of_runs("run_options:tag([value])")
def the_tag_is_read_and_changed():
    run_options = ortx.run_options(tag="first")
    assert (run_options.tag, logids_of_failure(run_options)) == ("first", {"s:first"})
    run_options.tag = "second"
    assert (run_options.tag, logids_of_failure(run_options)) == ("second", {"s:second"})


@of_runs("run_options:log_severity_level([value])")
def the_severity_of_a_run_is_read_and_changed():
    run_options = ortx.run_options(log_severity_level=4)
    assert (run_options.log_severity_level, levels_of_failure(run_options)) == (4, set())
    run_options.log_severity_level = 3
    assert (run_options.log_severity_level, levels_of_failure(run_options)) == (3, {"ERROR"})


@of_runs("run_options:log_verbosity_level([value])")
def the_verbosity_of_a_run_is_read_and_changed():
    run_options = ortx.run_options(log_verbosity_level=1)
    run_options.log_verbosity_level = 5
    assert run_options.log_verbosity_level == 5
    with pytest.raises(ortx.OptionError, match="log_verbosity_level"):
        run_options.log_verbosity_level = -1
    assert run_options.log_verbosity_level == 5
    assert opened(models.square()).run([X], None, run_options)["y"].tolist() == (X * X).tolist()


@of_runs("run_options:terminate()")
def terminate_ends_a_run_in_progress_from_another_thread():
    run_options, x = ortx.run_options(), np.eye(256, dtype=np.float32)
    session = opened(models.slow(3000), graph_optimization_level="disable")  # left alone it takes more than a second

    def terminate() -> None:
        while not session.running:
            time.sleep(0.001)
        run_options.terminate()

    thread = threading.Thread(target=terminate)
    thread.start()
    with pytest.raises(ortx.Error, match="terminate"):
        session.run([x], None, run_options)
    thread.join()


@of_runs("run_options:reset_terminate()")
def terminate_lasts_until_it_is_reset():
    session, run_options = opened(models.square()), ortx.run_options()
    run_options.terminate()
    for _ in range(2):
        with pytest.raises(ortx.Error, match="terminate"):
            session.run([X], None, run_options)
    run_options.reset_terminate()
    assert session.run([X], None, run_options)["y"].tolist() == (X * X).tolist()


# --- the example

example = functools.partial(proves, MODULE, "Example")


@example("tensor(type, shape, values)")
def a_tensor_is_made_of_type_shape_and_values():
    tensor = ortx.tensor("float32", (1, 2), [1.0, 2.0])
    assert (tensor.shape, tensor.dtype, tensor.numpy().tolist()) == ((1, 2), np.float32, [[1.0, 2.0]])
    with pytest.raises(ortx.InvalidArgument):
        ortx.tensor("float32", (1, 2), [1.0, 2.0, 3.0])


@example("tensor:to_table()")
def a_tensor_and_an_output_become_lists():
    assert ortx.tensor("int64", (2, 2), [1, 2, 3, 4]).tolist() == [[1, 2], [3, 4]]
    assert opened(models.square()).run([ortx.tensor(X)])["y"].tolist() == [[1.0, 4.0], [9.0, 16.0]]


@example("the example")
def the_example_of_the_page_prints_its_number(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(models.add())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ortx.ProviderFallbackWarning)
        session = ortx.session(path, providers=["coreml", "cpu"], fallback_to_cpu=True, coreml_compute_units="all")
    x = ortx.tensor("float32", (1, 2), [1.0, 2.0])
    bias = ortx.tensor("float32", (1, 2), [0.5, -0.5])
    outputs = session.run({"x": x, "bias": bias}, ["y"], ortx.run_options(tag="demo"))
    assert outputs["y"].tolist() == [[1.5, 1.5]]
