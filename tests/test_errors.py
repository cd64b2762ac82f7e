"""The exceptions (`errors.pxi`, `errorclass.pxi`): their family tree, their codes, and what real failures raise."""

from __future__ import annotations

import copy
import csv
import errno
import gc
import pickle
from pathlib import Path

import models
import numpy as np
import pytest
from onnx import helper

import ortx
from ortx import _core
from ortx.errorcodes import ErrorCode

ENUMERATIONS = Path(__file__).parent / "data" / "ort_enums.csv"

# What `except` may say instead of the class itself, and the code of an object that nobody gave another one.
FAMILY = {
    ortx.Error: (RuntimeError, ErrorCode.FAIL),
    ortx.Fail: (RuntimeError, ErrorCode.FAIL),
    ortx.InvalidArgument: (ValueError, ErrorCode.INVALID_ARGUMENT),
    ortx.NoSuchFile: (FileNotFoundError, ErrorCode.NO_SUCHFILE),
    ortx.NoModel: (RuntimeError, ErrorCode.NO_MODEL),
    ortx.EngineError: (RuntimeError, ErrorCode.ENGINE_ERROR),
    ortx.RuntimeException: (RuntimeError, ErrorCode.RUNTIME_EXCEPTION),
    ortx.InvalidProtobuf: (ValueError, ErrorCode.INVALID_PROTOBUF),
    ortx.ModelLoaded: (RuntimeError, ErrorCode.MODEL_LOADED),
    ortx.NotSupported: (NotImplementedError, ErrorCode.NOT_IMPLEMENTED),
    ortx.InvalidGraph: (ValueError, ErrorCode.INVALID_GRAPH),
    ortx.EpFail: (RuntimeError, ErrorCode.EP_FAIL),
    ortx.ModelLoadCanceled: (RuntimeError, ErrorCode.MODEL_LOAD_CANCELED),
    ortx.ModelRequiresCompilation: (RuntimeError, ErrorCode.MODEL_REQUIRES_COMPILATION),
    ortx.NotFound: (LookupError, ErrorCode.NOT_FOUND),
    ortx.DeviceReset: (RuntimeError, ErrorCode.DEVICE_RESET),
    ortx.InvalidType: (TypeError, ErrorCode.INVALID_ARGUMENT),
    ortx.OptionError: (ValueError, ErrorCode.INVALID_ARGUMENT),
    ortx.OptionTypeError: (TypeError, ErrorCode.INVALID_ARGUMENT),
    ortx.CallError: (ValueError, ErrorCode.INVALID_ARGUMENT),
    ortx.FileError: (OSError, ErrorCode.FAIL),
    ortx.ExternalDataRefused: (PermissionError, ErrorCode.FAIL),
    ortx.SessionClosed: (RuntimeError, ErrorCode.FAIL),
    ortx.ForkedSession: (RuntimeError, ErrorCode.FAIL),
    ortx.NotPicklable: (pickle.PicklingError, ErrorCode.FAIL),
    ortx.RunCancelled: (RuntimeError, ErrorCode.FAIL),
    ortx.RunTimeout: (TimeoutError, ErrorCode.FAIL),
    ortx.OutOfMemory: (MemoryError, ErrorCode.FAIL),
    ortx.LibraryError: (OSError, ErrorCode.FAIL),
    ortx.LibraryNotFound: (FileNotFoundError, ErrorCode.NO_SUCHFILE),
    ortx.LibraryTooOld: (NotImplementedError, ErrorCode.NOT_IMPLEMENTED),
}
WARNINGS = [ortx.ProviderFallbackWarning, ortx.UnknownConfigKeyWarning]
CLASSES = [pytest.param(cls, id=cls.__name__) for cls in FAMILY]
FAILURES = [code for code in ErrorCode if code != ErrorCode.OK]


# --- the family


def test_every_exception_class_is_known_to_this_test():
    defined = {value for value in vars(_core).values() if isinstance(value, type) and issubclass(value, BaseException)}
    # A Refusal is what readers of options say to the table; it never reaches a user.
    assert {cls for cls in defined if cls.__module__.startswith("ortx")} - {_core.Refusal} == {*FAMILY, *WARNINGS}


@pytest.mark.parametrize("cls", [*FAMILY, *WARNINGS])
def test_every_class_is_exported_by_ortx(cls):
    assert getattr(ortx, cls.__name__) is cls
    assert cls.__name__ in ortx.__all__


@pytest.mark.parametrize("cls", CLASSES)
def test_a_class_is_an_ortx_error_and_the_built_in_that_fits(cls):
    built_in, code = FAMILY[cls]
    error = cls("what happened")
    assert isinstance(error, ortx.Error)
    assert isinstance(error, built_in)
    assert error.code is code
    assert str(error) == "what happened"


@pytest.mark.parametrize("cls", [pytest.param(cls, id=cls.__name__) for cls in FAMILY if issubclass(cls, OSError)])
def test_what_is_an_os_error_is_made_like_one(cls):
    error = cls(errno.EIO, "the disk is gone", "model.onnx")
    assert (error.errno, error.strerror, error.filename) == (errno.EIO, "the disk is gone", "model.onnx")
    assert pickle.loads(pickle.dumps(error)).errno == errno.EIO
    assert cls("one message").errno is None


@pytest.mark.parametrize("cls", CLASSES)
def test_a_class_is_one_like_any_other(cls):
    assert (cls.__module__, cls.__qualname__, type(cls)) == ("ortx", cls.__name__, type)
    assert cls.__doc__
    child = type("Child", (cls,), {"__str__": lambda self: "child"})
    assert str(child("text")) == "child"
    with pytest.raises(TypeError, match="keyword"):
        cls("text", name="x")
    error = cls("text")
    error.note = ["kept"]
    assert pickle.loads(pickle.dumps(error)).note == ["kept"]
    gc.collect()
    assert cls in cls.__mro__[1].__subclasses__()


@pytest.mark.parametrize("category", WARNINGS)
def test_a_warning_is_for_users_and_is_no_error(category):
    assert category.__bases__ == (UserWarning,)
    with pytest.warns(category, match="what happened") as caught:
        _core.warn(category, "what happened")
    assert [warning.filename for warning in caught] == [__file__]


# --- the code table


@pytest.mark.parametrize("code", FAILURES)
def test_every_code_has_a_class_of_its_own(code):
    error = _core.error_from_status(code, "what happened")
    assert type(error) is not ortx.Error
    assert type(error).code is code
    assert (error.code, str(error)) == (code, "what happened")
    assert [type(_core.error_from_status(other, "")) for other in FAILURES].count(type(error)) == 1


def test_the_codes_are_those_of_the_c_api():
    if not ENUMERATIONS.is_file():
        pytest.skip(f"needs {ENUMERATIONS.name}, the C API's enumerations, in tests/data")
    with ENUMERATIONS.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["enum"] == "OrtErrorCode"]
    declared = {row["enumerator"].removeprefix("ORT_"): int(row["value"]) for row in rows}
    assert declared == {code.name: code.value for code in ErrorCode}


@pytest.mark.parametrize("code", [16, 99, -1])
def test_a_code_newer_than_ortx_gives_a_plain_error_with_that_code(code):
    error = _core.error_from_status(code, "something new")
    assert type(error) is ortx.Error
    assert (error.code, str(error)) == (code, "something new")
    assert ortx.Error.code is ErrorCode.FAIL


# --- copies


@pytest.mark.parametrize(
    "again",
    [copy.copy, copy.deepcopy]
    + [lambda error, p=p: pickle.loads(pickle.dumps(error, p)) for p in range(pickle.HIGHEST_PROTOCOL + 1)],
    ids=["copy", "deepcopy"] + [f"pickle {p}" for p in range(pickle.HIGHEST_PROTOCOL + 1)],
)
class TestCopies:
    @pytest.mark.parametrize("cls", CLASSES)
    def test_message_and_code_are_kept(self, again, cls):
        twin = again(cls("what happened"))
        assert type(twin) is cls
        assert (str(twin), twin.code) == ("what happened", FAMILY[cls][1])

    def test_a_code_that_only_this_object_has_is_kept(self, again):
        assert again(_core.error_from_status(99, "something new")).code == 99

    def test_the_list_of_problems_is_kept(self, again):
        twin = again(ortx.CallError("run: 2 problems", ["first", "second"]))
        assert (str(twin), twin.problems) == ("run: 2 problems", ("first", "second"))


def test_problems_are_a_tuple_and_empty_by_default():
    assert ortx.CallError("what happened").problems == ()
    assert ortx.CallError("what happened", iter(["first"])).problems == ("first",)


# --- the hint at the nearest name


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("outputs", "; did you mean 'output'?"),
        ("inptu", "; did you mean 'input'?"),
        ("zzz", ""),
        ("", ""),
        (3, ""),
        (None, ""),
    ],
)
def test_the_nearest_name_is_suggested_only_if_it_is_near(name, hint):
    assert _core.nearest(name, ("input", "output")) == hint


def test_without_valid_names_nothing_is_suggested():
    assert _core.nearest("input", iter(())) == ""


# --- values in messages


class Unprintable:
    def __repr__(self) -> str:
        raise ZeroDivisionError


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (3, "3 (int)"),
        ("it's", '"it\'s" (str)'),
        (None, "None (NoneType)"),
        ("\ud800\0\n", r"'\ud800\x00\n' (str)"),
        (10**5000, "an unprintable int"),
        ([Unprintable()], "[<Unprintable instance at 0x"),
    ],
    ids=["int", "str", "None", "str of odd characters", "int too long to print", "object without repr"],
)
def test_a_value_is_shown_with_its_type_whatever_it_is(value, expected):
    assert _core.shown(value).startswith(expected)


@pytest.mark.parametrize(
    "value",
    ["x" * 10_000, [["x" * 10_000]] * 10_000, {"x" * 10_000: b"x" * 10_000}, 10**4000, np.ones((1000, 1000))],
    ids=lambda value: type(value).__name__,
)
def test_a_long_value_is_shown_in_part(value):
    assert 10 < len(_core.shown(value)) < 500
    assert _core.shown(value).endswith(f" ({type(value).__name__})")


def test_a_quoted_value_is_shown_without_its_type():
    assert _core.shown("log_id", quote=True) == "'log_id'"


# --- real failures


def add_of_wrong_types() -> bytes:
    node = helper.make_node("Add", ["x", "b"], ["y"])
    return models.build([node], [models.tensor("x"), models.tensor("b", "int64")], [models.tensor("y")])


def of_operator(operator: str, dtype: str = "float32") -> bytes:
    node = helper.make_node(operator, ["x", "x"], ["y"])
    return models.build([node], [models.tensor("x", dtype, (1, 1, 3, 3))], [models.tensor("y", dtype, None)])


def with_a_dangling_input() -> bytes:
    return models.build([helper.make_node("Add", ["x", "nowhere"], ["y"])], [models.tensor("x")], [models.tensor("y")])


@pytest.mark.parametrize(
    ("model", "cls"),
    [
        pytest.param(b"no model at all", ortx.InvalidProtobuf, id="garbage"),
        pytest.param(models.square()[:-10], ortx.InvalidProtobuf, id="cut off"),
        pytest.param(b"", ortx.InvalidProtobuf, id="empty"),
        pytest.param(of_operator("NoSuchOperator"), ortx.InvalidGraph, id="unknown operator"),
        pytest.param(of_operator("Conv", "float64"), ortx.NotSupported, id="no kernel for the type"),
        pytest.param(with_a_dangling_input(), ortx.InvalidArgument, id="dangling input"),
        pytest.param(add_of_wrong_types(), ortx.Fail, id="types that do not go together"),
    ],
)
@pytest.mark.parametrize("opened_from", ["file", "bytes"])
def test_a_model_that_cannot_be_loaded_raises_the_class_and_the_built_in_of_its_code(tmp_path, model, cls, opened_from):
    path = tmp_path / "model.onnx"
    path.write_bytes(model)
    built_in, code = FAMILY[cls]
    with pytest.raises(built_in) as caught:
        ortx.session(path) if opened_from == "file" else ortx.session_from_bytes(model)
    assert type(caught.value) is cls
    assert caught.value.code == code
    assert str(caught.value)


def test_a_missing_file_is_caught_as_file_not_found_error(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nothing\.onnx") as caught:
        ortx.session(tmp_path / "nothing.onnx")
    assert type(caught.value) is ortx.NoSuchFile


@pytest.mark.parametrize("path", [None, 3, b"model.onnx", ["model.onnx"]])
def test_what_is_no_path_is_caught_as_type_error(path):
    with pytest.raises(TypeError, match="expected a path") as caught:
        ortx.session(path)
    assert type(caught.value) is ortx.InvalidType


@pytest.mark.parametrize("path", ["", "model\0.onnx"], ids=["empty", "NUL"])
def test_a_path_that_cannot_be_one_is_caught_as_value_error(path):
    with pytest.raises(ValueError, match="expected a path") as caught:
        ortx.session(path)
    assert type(caught.value) is ortx.InvalidArgument


def test_a_folder_is_caught_as_value_error(tmp_path):
    with pytest.raises(ValueError, match="is a folder") as caught:
        ortx.session(tmp_path)
    assert type(caught.value) is ortx.InvalidArgument


@pytest.fixture
def failing_session():
    with ortx.session_from_bytes(models.failing()) as session:
        yield session


def test_a_model_that_fails_while_it_runs_is_caught_as_runtime_error(failing_session):
    with pytest.raises(RuntimeError, match="Reshape") as caught:
        failing_session.run({"x": np.ones(4, np.float32)})
    assert type(caught.value) in (ortx.Fail, ortx.RuntimeException)  # the latter up to ONNX Runtime 1.26


def test_the_code_of_a_native_error_is_an_error_code(failing_session):
    with pytest.raises(ortx.Error) as caught:
        failing_session.run({"x": np.ones(4, np.float32)})
    assert isinstance(caught.value.code, ErrorCode)


def test_a_closed_session_is_caught_as_runtime_error(failing_session):
    failing_session.close()
    with pytest.raises(RuntimeError, match="is closed") as caught:
        failing_session.run({"x": np.ones(15, np.float32)})
    assert type(caught.value) is ortx.SessionClosed
    assert caught.value.code is ErrorCode.FAIL


def test_an_error_does_not_spoil_the_session(failing_session):
    with pytest.raises(ortx.Error, match="Reshape"):
        failing_session.run({"x": np.ones(4, np.float32)})
    assert failing_session.run({"x": np.ones(15, np.float32)})["y"].shape == (3, 5)


# --- a process that can open no more files


def test_errors_are_the_same_where_no_file_can_be_opened(tmp_path, run_python):
    """What they need is imported by then, or they do without it."""
    pytest.importorskip("resource", reason="needs a limit of open files that a process can set for itself")
    (tmp_path / "square.onnx").write_bytes(models.square())
    done = run_python(
        """
import os, resource, sys
import ortx
session = ortx.session(sys.argv[1])
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
files = []
try:
    while True:
        files.append(os.open(os.devnull, os.O_RDONLY))
except OSError:
    pass
found = []
for call in (
    lambda: session.run({"z": 1}), lambda: session.run({"x": "abc"}), lambda: ortx.session_from_bytes(b"abc"),
    lambda: ortx.session(sys.argv[1], intra_op_num_thread=1), lambda: ortx.session(sys.argv[1]),
):
    try:
        call()
    except ortx.Error as error:
        found.append(f"{type(error).__name__} {error.code:d} {getattr(error, 'errno', None)} {error}")
for file in files:
    os.close(file)
print(*found, sep="\\n")
""",
        tmp_path / "square.onnx",
    )
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    for start in (
        "CallError 2 None run: 2 problems:",
        "CallError 2 None run: input 'x': got 'abc' (str), which is no array",
        "InvalidProtobuf 7 None 3 bytes is no ONNX model",
        "OptionError 2 None ortx.session: unknown option 'intra_op_num_thread' (valid: ",
        f"FileError 1 {errno.EMFILE} ortx.session: model_path: cannot read '{tmp_path / 'square.onnx'}': Too many open",
    ):
        assert any(line.startswith(start) for line in lines), (start, lines)


# --- tracebacks


def test_a_traceback_names_the_file_the_line_and_the_function_in_which_it_was_raised(run_python):
    """Cython remembers traceback entries by line number, and the parts of the core have the same numbers."""
    done = run_python("""
import traceback, ortx
def place(call, *arguments):
    try:
        call(*arguments)
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        return last.filename.replace("\\\\", "/").rpartition("/")[2], last.lineno, last.name.partition(" ")[0]
for call, *arguments in [
    (ortx.load_custom_op_library, "nothing.so"), (ortx.session, "nothing.onnx"), (ortx.tensor, "x"),
    (ortx.optional, 1, 1), (ortx.session, 3), (ortx.run_options, 3), (ortx.Outputs,), (ortx.Session,),
]:
    print(*place(call, *arguments))
""")
    parts = Path(ortx.__file__).parent / "_core.src"
    for entry in done.stdout.splitlines():
        file, line, function = entry.split()
        folder = parts if file.endswith(".pxi") else parts.parent
        lines = (folder / file).read_text(encoding="utf-8").splitlines()
        assert "raise " in "".join(lines[int(line) - 2 : int(line)]), entry
        above = [text for text in lines[: int(line)] if f" {function.rpartition('.')[2]}(" in text]
        assert above, entry
    assert len(done.stdout.splitlines()) == 8
