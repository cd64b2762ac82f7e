"""Conformance: the backend suite of the `onnx` package, every case of it, through ortx.

A case passes in every way that there is to run it, or it is in the table of `conformance_known.py` and fails for the
reason that is given there. Models that are newer than the library are refused, and then made old enough and run all
the same: most of their operators have not changed.
"""

from __future__ import annotations

import importlib.metadata
import locale
import platform
import re
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from conformance_known import REASONS, SUITE, VERSIONS

import ortx

FOUND = {"onnx": importlib.metadata.version("onnx"), "onnxruntime": ortx.load_library().version}
if FOUND != VERSIONS:
    pytest.skip(f"the table of known failures is for {VERSIONS}; here is {FOUND}", allow_module_level=True)
if (sys.platform, platform.machine()) != ("linux", "x86_64"):
    reason = f"the table of known failures is for Linux on x86-64, not {sys.platform} on {platform.machine()}"
    pytest.skip(reason, allow_module_level=True)

import onnx  # noqa: E402
import onnx.backend.test.loader  # noqa: E402
from onnx import numpy_helper  # noqa: E402
from onnx.backend.test.runner import Runner  # noqa: E402

NEWEST_IR, NEWEST_OPSET, RELEASED_OPSET = 13, 27, 26
TWO_ULPS = {"bfloat16": 2**-6, "float16": 2**-9}
ONE_THREAD = {"intra_op_num_threads": 1}


def load_suite():
    """Return all cases by name. The package makes its node cases while it is imported, which takes some 10 s."""
    cases = {}
    for kind, count in SUITE.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that the package's own arithmetic gives
            found = onnx.backend.test.loader.load_model_tests(kind=kind)
        assert len(found) == count, f"{kind}: expected {count} cases, got {len(found)}"
        cases |= {case.name: case for case in found}
    assert len(cases) == sum(SUITE.values()), "two cases have the same name"
    return cases


# --- a case: its model, inputs and outputs


def file_of(case):
    """Return the file of a model, or None if it is in memory only."""
    if case.model is not None:
        return None
    # The "real" ones name a file of the package, the way to which begins at the package itself.
    return Path(case.model_dir, "model.onnx") if case.url is None else Path(onnx.__file__).parents[1] / case.url


def model_of(case):
    return case.model or onnx.load(file_of(case))


def opset_of(model):
    return max([opset.version for opset in model.opset_import if opset.domain == ""], default=0)


def is_too_new(model):
    return model.ir_version > NEWEST_IR or opset_of(model) > RELEASED_OPSET


def made_old_enough(model):
    """Return a copy of a model that says to be of the newest versions that ORT has, if it is newer."""
    copy = onnx.ModelProto.FromString(model.SerializeToString())
    copy.ir_version = min(copy.ir_version, NEWEST_IR)
    for opset in copy.opset_import:
        if opset.domain == "":
            opset.version = min(opset.version, NEWEST_OPSET)
    return copy


def data_sets_of(case, model):
    """Return pairs of inputs and expected outputs, as ortx takes and returns them."""
    if case.data_sets is not None:
        return [
            ([from_suite(v) for v in inputs], [from_suite(v) for v in outputs]) for inputs, outputs in case.data_sets
        ]
    if case.url is not None:
        initializers = {initializer.name for initializer in model.graph.initializer}
        inputs = [Runner.generate_dummy_data(i) for i in model.graph.input if i.name not in initializers]
        return [(inputs, read_all(file_of(case).parent, f"{file_of(case).stem}_output_", model.graph.output))]
    folders = sorted(Path(case.model_dir).glob("test_data_set*"))
    return [
        (read_all(folder, "input_", model.graph.input), read_all(folder, "output_", model.graph.output))
        for folder in folders
    ]


def from_suite(value):
    if isinstance(value, onnx.TensorProto):
        return numpy_helper.to_array(value)
    if isinstance(value, list | tuple):
        return [from_suite(item) for item in value]
    return None if value is None else np.asarray(value)


def read_all(folder, prefix, declared):
    """Read the values whose files are there, each as the type says that the model declares."""
    count = len(list(folder.glob(f"{prefix}*.pb")))
    assert count or prefix == "input_", f"{folder}: nothing to compare with"
    return [read(folder / f"{prefix}{i}.pb", declared[i].type) for i in range(count)]


def read(file, declared):
    contents = file.read_bytes()
    if declared.HasField("sequence_type"):
        return numpy_helper.to_list(onnx.SequenceProto.FromString(contents))
    # Optionals are in node cases only, and maps and sparse tensors in none.
    assert declared.HasField("tensor_type"), f"{file} is of another type: {declared}"
    return numpy_helper.to_array(onnx.TensorProto.FromString(contents))


# --- comparing


def assert_close(got, expected, rtol, atol, where):
    """Compare as the suite's own runner does (`onnx.backend.test.runner`), and more strictly in lists."""
    if isinstance(expected, list):
        assert isinstance(got, list), where
        assert len(got) == len(expected), where
        for i, (item, expected_item) in enumerate(zip(got, expected, strict=True)):
            assert_close(item, expected_item, rtol, atol, f"{where}[{i}]")
        return
    if not isinstance(expected, np.ndarray):
        assert type(got) is type(expected), where
        assert got == expected, where
        return
    assert isinstance(got, np.ndarray), where
    assert got.shape == expected.shape, where
    if expected.dtype.kind in "OUT":
        assert got.dtype == object, where
        assert all(isinstance(item, str) for item in got.flat), where
        np.testing.assert_array_equal(got, expected.astype(object), where)
        return
    assert got.dtype == expected.dtype, where
    # The runner allows two ulps of bfloat16. One of float16 is all that 1e-3 allows, so that it would be up to the CPU
    # and its kernels on which side a result falls.
    rtol = max(rtol, TWO_ULPS.get(got.dtype.name, 0)) if rtol else 0
    if got.dtype.isbuiltin != 1:  # numpy cannot calculate with all types of ml_dtypes, but float32 holds their values
        got, expected = got.astype(np.float32), expected.astype(np.float32)
    np.testing.assert_allclose(got, expected, rtol, atol, err_msg=where)


def assert_equal(got, expected, where):
    assert got.keys() == expected.keys(), where
    for name, value in expected.items():
        assert_close(got[name], value, 0, 0, f"{where}: output {name!r}")


# --- running


def run_and_compare(session, data_sets, rtol, atol):
    """Run the plain way; return what came out, per data set."""
    results = []
    for inputs, expected in data_sets:
        results.append(session.run(inputs))
        assert len(results[-1]) == len(expected)
        for name, value, expected_value in zip(results[-1].keys(), results[-1], expected, strict=True):
            assert_close(value, expected_value, rtol, atol, f"output {name!r}")
    return results


def run_bound(session, inputs, buffers):
    """Run a binding twice; return what came out the second time."""
    binding = session.create_io_binding()
    for name, value in zip(session.input_names(), inputs, strict=False):
        if value is not None:  # an optional without a value is one that is left out
            binding.bind_input(name, np.asarray(value, order="C") if isinstance(value, np.ndarray) else value)
    for name, buffer in buffers.items():
        binding.bind_output(name, buffer)
    binding.run()
    return binding.run()


def new_buffers(session, results):
    """Return arrays, full of something else, for the outputs that are declared to be tensors; None for the others."""
    return {
        name: np.full(value.shape, "?" if value.dtype == object else 1, value.dtype)
        if session.output_info(name).onnx_type == "tensor"
        else None
        for name, value in results.items()
    }


# --- the tests

CASES = load_suite()
REASON_OF = {name: reason for reason in REASONS for name in reason.cases.split()}
TOO_NEW = [name for name, case in CASES.items() if is_too_new(model_of(case))]


def has_locale():
    before = locale.setlocale(locale.LC_ALL)
    try:
        locale.setlocale(locale.LC_ALL, "en_US.UTF-8")
    except locale.Error:
        return False
    finally:
        locale.setlocale(locale.LC_ALL, before)
    return True


HAS_LOCALE = has_locale()
FAILING = {name: reason for name, reason in REASON_OF.items() if not (reason.is_locale and HAS_LOCALE)}


@pytest.fixture
def unreleased_opsets(monkeypatch):
    """Let ORT load models of an opset that it has operators of, but which is not released for it."""
    monkeypatch.setenv("ALLOW_RELEASED_ONNX_OPSET_ONLY", "0")


@pytest.fixture(scope="module")
def model_file(tmp_path_factory):
    return tmp_path_factory.mktemp("conformance") / "model.onnx"


def test_the_table_lists_cases_that_exist_and_each_of_them_once():
    listed = [name for reason in REASONS for name in reason.cases.split()]
    assert sorted(set(listed) - set(CASES)) == []
    assert sorted(name for name in set(listed) if listed.count(name) > 1) == []


@pytest.mark.parametrize("name", [name for name in CASES if name not in FAILING])
@pytest.mark.usefixtures("unreleased_opsets")
def test_a_case_that_is_not_in_the_table_passes(name, model_file):
    case = CASES[name]
    model, file = model_of(case), file_of(case)
    data_sets = data_sets_of(case, model)
    if is_too_new(model):
        model, file = made_old_enough(model), None
    contents = model.SerializeToString()
    if file is None:
        model_file.write_bytes(contents)
    with ortx.session(file or model_file, **ONE_THREAD) as session:
        results = run_and_compare(session, data_sets, case.rtol, case.atol)
        for (inputs, _), expected in zip(data_sets, results, strict=True):
            bound = run_bound(session, inputs, dict.fromkeys(expected.keys()))
            assert_equal(bound, expected, "bound, allocated by ORT")
            buffers = new_buffers(session, expected)
            bound = run_bound(session, inputs, buffers)
            assert_equal(bound, expected, "bound to arrays")
            assert all(bound[name] is buffer for name, buffer in buffers.items() if buffer is not None)
    with ortx.session_from_bytes(contents, **ONE_THREAD) as session:
        for (inputs, _), expected in zip(data_sets, results, strict=True):
            buffers = new_buffers(session, expected)
            written = session.run_into(dict(zip(session.input_names(), inputs, strict=False)), buffers)
            assert_equal(written, expected, "run_into")
            assert all(written[name] is buffer for name, buffer in buffers.items() if buffer is not None)


@pytest.mark.parametrize(("name", "reason"), FAILING.items(), ids=FAILING)
@pytest.mark.usefixtures("unreleased_opsets")
def test_a_case_in_the_table_fails_for_the_reason_that_is_given_there(name, reason):
    case = CASES[name]
    model = model_of(case)
    data_sets = data_sets_of(case, model)
    contents = made_old_enough(model).SerializeToString()
    error = None
    try:
        with ortx.session_from_bytes(contents, **ONE_THREAD) as session:
            run_and_compare(session, data_sets, case.rtol, case.atol)
    except (ortx.Error, AssertionError) as caught:
        error = caught
    assert error is not None, f"it passes now; take it out of the table: {reason.why}"
    assert type(error) is reason.error, f"{type(error).__name__}: {error}"
    assert re.search(reason.says, str(error)), f"it fails for another reason now: {error}"
    if reason.close_enough:
        with ortx.session_from_bytes(contents, **ONE_THREAD) as session:
            run_and_compare(session, data_sets, *reason.close_enough)
    if reason.is_locale:
        pytest.skip(reason.why)


@pytest.mark.parametrize("name", TOO_NEW)
def test_a_model_that_is_too_new_is_refused_as_it_is(name, monkeypatch):
    monkeypatch.delenv("ALLOW_RELEASED_ONNX_OPSET_ONLY", raising=False)
    model = model_of(CASES[name])
    says = rf"Opset {opset_of(model)} is under development"
    if model.ir_version > NEWEST_IR:
        says = rf"Unsupported model IR version: {model.ir_version}, max supported IR version: {NEWEST_IR}"
    with pytest.raises(ortx.Fail, match=says):
        ortx.session_from_bytes(model.SerializeToString(), **ONE_THREAD)


def test_what_the_suite_amounts_to_is_what_it_was():
    opsets = [opset_of(model_of(CASES[name])) for name in TOO_NEW]
    assert (opsets.count(27), opsets.count(28), len(TOO_NEW)) == (62, 227, 289)
    assert (len(CASES), len(CASES) - len(REASON_OF)) == (2033, 1837)
