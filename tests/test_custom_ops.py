"""Custom-op libraries: an option, a handle, one more for an open session (`_core.src/customop.pxi`, `native.pxi`)."""

from __future__ import annotations

import _ctypes
import gc
import importlib.machinery
import importlib.util
import json
import mmap
import os
import pickle
import re
import select
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import models
import numpy as np
import onnx
import pytest
from onnx import helper

import ortx
from ortx import _core

X = np.array([[1, 2], [3, 4]], np.float32)
SECONDS = 10  # after which a test gives up waiting for another thread

# The operators of the libraries that are built here, one each; y = factor * x.
FACTORS = {"Double": 2, "Triple": 3, "Fivefold": 5, "Sevenfold": 7}

LIBRARY = r"""
#include <poll.h>
#include <unistd.h>
#include "ortx_capi.h"

/* Slots that ortx_capi.h leaves untyped are called as what they are: functions that return a status. */
#define TRY(slot, ...) \
  do { OrtStatus* status = ((OrtStatus* (*)())api->slot)(__VA_ARGS__); if (status != NULL) return status; } while (0)

/* Tell the test that this point was reached, and wait for its word; not for ever, so that a test fails and does not
 * hang. */
#define GATE \
  do { \
    char byte = '!'; \
    struct pollfd word = {@WORD@, POLLIN}; \
    write(@REACHED@, &byte, 1); \
    if (poll(&word, 1, 5000) == 1) read(@WORD@, &byte, 1); \
  } while (0)

/* OrtCustomOp, as far as ONNX Runtime looks at one that says it is of version 16. */
typedef struct Op {
  uint32_t version;
  void* (*CreateKernel)(const struct Op*, const OrtApi*, const void* info);
  const char* (*GetName)(const struct Op*);
  const char* (*GetExecutionProviderType)(const struct Op*);
  ONNXTensorElementDataType (*GetInputType)(const struct Op*, size_t);
  size_t (*GetInputTypeCount)(const struct Op*);
  ONNXTensorElementDataType (*GetOutputType)(const struct Op*, size_t);
  size_t (*GetOutputTypeCount)(const struct Op*);
  void (*KernelCompute)(void* kernel, void* context);
  void (*KernelDestroy)(void* kernel);
  int (*GetInputCharacteristic)(const struct Op*, size_t);
  int (*GetOutputCharacteristic)(const struct Op*, size_t);
  OrtMemType (*GetInputMemoryType)(const struct Op*, size_t);
  int (*variadic[4])(const struct Op*);
  OrtStatus* (*CreateKernelV2)(const struct Op*, const OrtApi*, const void* info, void** kernel);
  OrtStatus* (*KernelComputeV2)(void* kernel, void* context);
} Op;

static const OrtApi* api;

static const char* name(const Op* op) { return "@OP@"; }
static const char* any_provider(const Op* op) { return NULL; }
static size_t one(const Op* op) { return 1; }
static ONNXTensorElementDataType float32(const Op* op, size_t index) { return ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT; }
static int required(const Op* op, size_t index) { return 0; }
static OrtMemType default_memory(const Op* op, size_t index) { return OrtMemTypeDefault; }
static void destroy(void* kernel) {}

static OrtStatus* create(const Op* op, const OrtApi* table, const void* info, void** kernel) {
  *kernel = &api;
  return NULL;
}

static OrtStatus* compute(void* kernel, void* context) {
  OrtValue *input, *output;
  OrtTensorTypeAndShapeInfo* info;
  float *x, *y;
  int64_t shape[8], count = 1;
  size_t rank;
  @IN_COMPUTE@;
  TRY(KernelContext_GetInput, context, (size_t)0, &input);
  TRY(GetTensorTypeAndShape, input, &info);
  TRY(GetDimensionsCount, info, &rank);
  TRY(GetDimensions, info, shape, rank);
  api->ReleaseTensorTypeAndShapeInfo(info);
  TRY(KernelContext_GetOutput, context, (size_t)0, shape, rank, &output);
  TRY(GetTensorMutableData, input, (void**)&x);
  TRY(GetTensorMutableData, output, (void**)&y);
  for (size_t i = 0; i < rank; i++) count *= shape[i];
  for (int64_t i = 0; i < count; i++) y[i] = @FACTOR@ * x[i];
  return NULL;
}

static const Op op = {
  .version = 16, .GetName = name, .GetExecutionProviderType = any_provider, .GetInputType = float32,
  .GetInputTypeCount = one, .GetOutputType = float32, .GetOutputTypeCount = one, .KernelDestroy = destroy,
  .GetInputCharacteristic = required, .GetOutputCharacteristic = required, .GetInputMemoryType = default_memory,
  .CreateKernelV2 = create, .KernelComputeV2 = compute,
};

/* ONNX Runtime keeps the address of the domain for as long as the options or a session live; nobody frees it here. */
OrtStatus* RegisterCustomOps(OrtSessionOptions* options, const OrtApiBase* base) {
  void* domain;
  api = base->GetApi(16);
  @IN_REGISTER@;
  TRY(CreateCustomOpDomain, "@DOMAIN@", &domain);
  TRY(CustomOpDomain_Add, domain, &op);
  TRY(AddCustomOpDomain, options, domain);
  return NULL;
}
"""

REFUSES = 'TRY(CreateStatus, ORT_NOT_IMPLEMENTED, "the licence has expired")'


def domain_of(op: str) -> str:
    return f"ortx.test.{op.lower()}"


def library_source(op: str, **code: str) -> str:
    """Return the source of a library; `in_register` and `in_compute` are C statements, `reached`, `word` are pipes."""
    code = {"in_register": "", "in_compute": "", "reached": "1", "word": "0"} | code
    source = LIBRARY.replace("@OP@", op).replace("@DOMAIN@", domain_of(op)).replace("@FACTOR@", str(FACTORS[op]))
    for place, text in code.items():
        source = source.replace(f"@{place.upper()}@", text)
    return source


def with_opsets(model: bytes, *domains: str) -> bytes:
    proto = onnx.load_model_from_string(model)
    proto.opset_import.extend(helper.make_opsetid(domain, 1) for domain in domains)
    return proto.SerializeToString()


def chain(*ops: str, x: str = "x") -> bytes:
    """y = x, multiplied by the factor of each operator in turn"""
    names = [x, *(f"t{number}" for number in range(1, len(ops))), "y"]
    nodes = [
        helper.make_node(op, [names[number]], [names[number + 1]], domain=domain_of(op))
        for number, op in enumerate(ops)
    ]
    return with_opsets(models.build(nodes, [models.tensor(x)], [models.tensor("y")]), *map(domain_of, ops))


def is_loaded(library: Path | str) -> bool:
    """Ask the system's loader, without loading anything."""
    try:
        handle = _ctypes.dlopen(os.fspath(library), os.RTLD_NOLOAD | os.RTLD_LAZY)
    except OSError:
        return False
    _ctypes.dlclose(handle)
    return True


@pytest.fixture(scope="module")
def built() -> dict[str, tuple[str, bytes]]:
    """What the compiler made of a source: file name and content."""
    return {}


@pytest.fixture
def library(compile_shared, built, tmp_path) -> Callable[..., Path]:
    """Return a library with one operator: a file of this test's own."""

    def library(op: str, **code: str) -> Path:
        source = library_source(op, **code)
        if source not in built:
            file = compile_shared(source, op)
            built[source] = (file.name, file.read_bytes())
            return file
        name, content = built[source]
        (tmp_path / name).write_bytes(content)
        return tmp_path / name

    return library


@pytest.fixture
def triple(library) -> Path:
    return library("Triple")


@pytest.fixture
def fivefold(library) -> Path:
    return library("Fivefold")


@pytest.fixture
def model_path(tmp_path) -> Path:
    path = tmp_path / "triple.onnx"
    path.write_bytes(chain("Triple"))
    return path


@pytest.fixture
def session(model_path, triple) -> Iterator[ortx.Session]:
    """y = 3 * x, by an operator of a library"""
    with ortx.session(model_path, custom_op_libraries=triple, intra_op_num_threads=2) as session:
        yield session


def libraries_of(session: ortx.Session) -> list[str]:
    return session.options()["custom_op_libraries"]


# --- a model with an operator of a library


@pytest.mark.parametrize("rows", [1, 2, 1000])
def test_an_operator_of_a_library_computes(triple, rows):
    x = np.arange(2 * rows, dtype=np.float32).reshape(rows, 2)
    with ortx.session_from_bytes(chain("Triple"), custom_op_libraries=triple) as session:
        np.testing.assert_array_equal(session.run({"x": x})["y"], 3 * x)


def test_every_way_to_run_a_model_runs_operators_of_a_library(session):
    y = np.zeros_like(X)
    binding = session.create_io_binding()
    binding.bind_input("x", X)
    binding.bind_output("y")
    assert session.run([X])[0].tolist() == (3 * X).tolist()
    assert session.run_into([X], [y])[0] is y
    assert y.tolist() == (3 * X).tolist()
    assert binding.run()["y"].tolist() == (3 * X).tolist()
    assert session.submit([X]).result(SECONDS)["y"].tolist() == (3 * X).tolist()


def test_a_model_with_an_operator_of_a_library_needs_it(triple):
    with pytest.raises(ortx.Error, match=re.escape("ortx.test.triple:Triple")):
        ortx.session_from_bytes(chain("Triple"))
    with ortx.session_from_bytes(chain("Triple"), custom_op_libraries=triple) as session:
        assert session.run([X])[0][0, 0] == 3
    with pytest.raises(ortx.Error, match=re.escape("ortx.test.triple:Triple")):
        ortx.session_from_bytes(chain("Triple"))


def test_two_libraries_work_in_one_model(triple, fivefold):
    with ortx.session_from_bytes(chain("Triple", "Fivefold"), custom_op_libraries=[triple, fivefold]) as session:
        assert session.run([X])[0].tolist() == (15 * X).tolist()
        assert libraries_of(session) == [str(triple), str(fivefold)]


@pytest.mark.parametrize("version", ["1.20.1", "1.31.1"])
def test_libraries_work_with_the_oldest_and_the_newest_runtime(
    run_python, runtime_wheel, model_path, triple, fivefold, version
):
    code = """
import sys, numpy, ortx
model, triple, fivefold = sys.argv[1:]
x = numpy.array([[1, 2]], "float32")
with ortx.session(model, custom_op_libraries=ortx.load_custom_op_library(triple)) as session:
    print(session.run([x])[0].tolist())
    session.register_custom_op_library(fivefold)
    print(session.run([x])[0].tolist())
"""
    done = run_python(code, model_path, triple, fivefold, ORTX_LIBRARY=runtime_wheel(version))
    assert (done.returncode, done.stdout, done.stderr) == (0, "[[3.0, 6.0]]\n" * 2, "")


def test_a_process_that_exits_with_everything_alive_prints_nothing(run_python, model_path, triple, fivefold):
    code = """
import sys, ortx
handle = ortx.load_custom_op_library(sys.argv[2])
session = ortx.session(sys.argv[1], custom_op_libraries=handle)
session.register_custom_op_library(sys.argv[3])
binding = session.create_io_binding()
"""
    done = run_python(code, model_path, triple, fivefold)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


# --- the library of onnxruntime-extensions


@pytest.fixture(scope="module")
def extensions() -> Path:
    """Return the library in the wheel of onnxruntime-extensions, without importing the package."""
    spec = importlib.util.find_spec("onnxruntime_extensions")
    if spec is None:
        pytest.skip(
            "needs the package onnxruntime-extensions, which has no wheel for every Python, or is not installed"
        )
    for suffix in importlib.machinery.EXTENSION_SUFFIXES:
        file = Path(spec.origin).with_name(f"_extensions_pydll{suffix}")
        if file.exists():
            return file
    pytest.skip("needs the library of the package onnxruntime-extensions, which is not where it used to be")


def contrib(op: str, x: onnx.ValueInfoProto, *outputs: onnx.ValueInfoProto) -> bytes:
    node = helper.make_node(op, ["x"], [output.name for output in outputs], domain="ai.onnx.contrib")
    return with_opsets(models.build([node], [x], outputs), "ai.onnx.contrib")


def test_inverse_of_onnxruntime_extensions_agrees_with_numpy(extensions):
    model = contrib("Inverse", models.tensor("x", shape=("n", "n")), models.tensor("y", shape=("n", "n")))
    x = np.array([[2, 1, 0], [1, 3, 1], [0, 1, 4]], np.float32)
    with ortx.session_from_bytes(model, custom_op_libraries=extensions) as session:
        np.testing.assert_allclose(session.run([x])["y"], np.linalg.inv(x), rtol=1e-5, atol=1e-6)


def test_negpos_of_onnxruntime_extensions_agrees_with_numpy(extensions):
    model = contrib("NegPos", models.tensor("x"), models.tensor("negative"), models.tensor("positive"))
    x = np.array([[-1, 2], [0.5, -4]], np.float32)
    with ortx.session_from_bytes(model, custom_op_libraries=extensions) as session:
        outputs = session.run([x])
        np.testing.assert_array_equal(outputs["negative"], np.minimum(x, 0))
        np.testing.assert_array_equal(outputs["positive"], np.maximum(x, 0))


def test_segment_extraction_of_onnxruntime_extensions_agrees_with_numpy(extensions):
    """It finds runs of equal numbers that are not 0."""
    model = contrib(
        "SegmentExtraction",
        models.tensor("x", "int64", ("n",)),
        models.tensor("position", "int64", ("m", 2)),
        models.tensor("value", "int64", ("m",)),
    )
    x = np.array([0, 0, 3, 3, 3, 0, 7, 0, 2, 2], np.int64)
    starts = np.flatnonzero(np.diff(x, prepend=0))
    ends = np.append(starts[1:], len(x))
    kept = x[starts] != 0
    with ortx.session_from_bytes(model, custom_op_libraries=extensions) as session:
        outputs = session.run([x])
        assert outputs["value"].tolist() == x[starts][kept].tolist() == [3, 7, 2]
        assert outputs["position"].tolist() == np.stack([starts, ends], axis=1)[kept].tolist()


def test_onnxruntime_extensions_can_be_added_to_an_open_session(extensions, session):
    session.register_custom_op_library(ortx.load_custom_op_library(extensions))
    assert session.run([X])[0].tolist() == (3 * X).tolist()
    assert libraries_of(session)[1:] == [str(extensions)]


# --- the option custom_op_libraries


class PathLike:
    """The least that is path-like."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __fspath__(self) -> str:
        return str(self.path)


def linked(link: Callable[[Path, Path], object]) -> Callable[[Path], Path]:
    """Return what makes another name of a file, in another folder."""

    def make(file: Path) -> Path:
        (file.parent / "linked").mkdir(exist_ok=True)
        other = file.parent / "linked" / f"link_to_{file.name}"
        if not other.exists():
            link(file, other)
        return other

    return make


symlink, hard_link = linked(os.symlink), linked(os.link)

FORMS = {
    "str": str,
    "Path": Path,
    "path-like": PathLike,
    "handle": ortx.load_custom_op_library,
    "relative": os.path.relpath,
    "symbolic link": symlink,
    "hard link": hard_link,
    "through a folder and back": lambda file: f"{file.parent}/../{file.parent.name}/./{file.name}",
}
LISTS = {
    "list": lambda file: [str(file)],
    "tuple": lambda file: (file,),
    "the same twice": lambda file: [file, file],
    "str, Path and handle": lambda file: [str(file), file, ortx.load_custom_op_library(file)],
    "handle and path": lambda file: (ortx.load_custom_op_library(file), str(file)),
    "two handles": lambda file: [ortx.load_custom_op_library(file), ortx.load_custom_op_library(file)],
    "file and symbolic link": lambda file: [file, symlink(file)],
    "symbolic link and handle": lambda file: [symlink(file), ortx.load_custom_op_library(file)],
    "hard link and file": lambda file: [hard_link(file), file],
    "relative and absolute": lambda file: [os.path.relpath(file), file],
}


@pytest.fixture(params=["session", "session_from_bytes"])
def open_triple(request, model_path) -> Callable[..., ortx.Session]:
    """Open `triple.onnx` as a file, or from memory."""
    if request.param == "session":
        return lambda *options, **keywords: ortx.session(model_path, *options, **keywords)
    return lambda *options, **keywords: ortx.session_from_bytes(model_path.read_bytes(), *options, **keywords)


@pytest.mark.parametrize("form", FORMS)
def test_the_option_takes_a_library_in_any_form(open_triple, triple, monkeypatch, form):
    monkeypatch.chdir(triple.parent.parent)
    given = FORMS[form](triple)
    with open_triple(custom_op_libraries=given) as session:
        assert session.run([X])[0].tolist() == (3 * X).tolist()
        assert libraries_of(session) == [os.path.abspath(given)]


@pytest.mark.parametrize("form", LISTS)
def test_the_option_takes_a_list_and_counts_a_file_once(open_triple, triple, monkeypatch, form):
    monkeypatch.chdir(triple.parent.parent)
    given = LISTS[form](triple)
    with open_triple({"custom_op_libraries": given}) as session:
        assert session.run([X])[0].tolist() == (3 * X).tolist()
        assert libraries_of(session) == [os.path.abspath(given[0])]


def test_two_libraries_in_many_forms_count_once_each_in_the_order_they_come(open_triple, triple, fivefold):
    given = [symlink(triple), fivefold, ortx.load_custom_op_library(triple), str(fivefold), symlink(fivefold), triple]
    with open_triple(custom_op_libraries=given) as session:
        assert session.run([X])[0].tolist() == (3 * X).tolist()
        assert libraries_of(session) == [str(symlink(triple)), str(fivefold)]


@pytest.mark.parametrize("none", [[], ()])
def test_an_empty_list_is_no_library(none):
    with ortx.session_from_bytes(models.square(), custom_op_libraries=none) as session:
        assert libraries_of(session) == []


def test_a_session_without_libraries_says_so():
    with ortx.session_from_bytes(models.square()) as session:
        assert libraries_of(session) == []


def test_the_options_of_a_session_make_another_one(model_path, session):
    with ortx.session(model_path, session.options()) as other:
        assert other.run([X])[0].tolist() == (3 * X).tolist()


@pytest.mark.parametrize("name", ["with space", "größe-模型", "a" * 200])
def test_unusual_names_of_libraries_work(open_triple, triple, name):
    file = triple.with_name(name + triple.suffix)
    triple.rename(file)
    with open_triple(custom_op_libraries=file) as session:
        assert session.run([X])[0][1, 1] == 12
        session.register_custom_op_library(symlink(file))
        assert libraries_of(session) == [str(file)]


def test_a_relative_path_means_the_folder_of_the_time_it_was_given(triple, fivefold, model_path, monkeypatch, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(tmp_path)
    handle = ortx.load_custom_op_library(fivefold.name)
    session = ortx.session(model_path.name, custom_op_libraries=triple.name)
    monkeypatch.chdir(elsewhere)
    assert handle.path == str(fivefold)
    with session:
        session.register_custom_op_library(handle)
        assert session.run([X])[0].tolist() == (3 * X).tolist()
        assert libraries_of(session) == [str(triple), str(fivefold)]
        with ortx.session(model_path, session.options()) as other:
            assert other.run([X])[0][1, 1] == 12
        with pytest.raises(ortx.NoSuchFile, match=re.escape(str(elsewhere / fivefold.name))):
            session.register_custom_op_library(fivefold.name)


# --- refusals


NO_PATHS = [None, 3, b"bytes", {"a": "b"}, object()]  # for the option itself, None means that it was not given
BAD_TEXTS = ["", "a\0b", *([] if os.name == "nt" else ["a\ud800b"])]  # Windows has files of such names


def make_bad(kind: str, tmp_path: Path, compile_shared: Callable[..., Path], library: Callable[..., Path]) -> Path:
    file = tmp_path / f"bad_{kind.replace(' ', '_')}.so"
    if kind == "folder":
        file.mkdir()
    elif kind == "text file":
        file.write_text("I am not a library.\n")
    elif kind == "empty file":
        file.write_bytes(b"")
    elif kind == "link to nothing":
        file.symlink_to(tmp_path / "nothing")
    elif kind == "library of something else":
        return compile_shared("int answer(void) { return 42; }", "something_else")
    elif kind == "library that refuses":
        return library("Double", in_register=REFUSES)
    return file


# What makes a library useless, the error it brings, and what the message says of it.
BAD = {
    "missing": (ortx.NoSuchFile, "there is no file"),
    "link to nothing": (ortx.NoSuchFile, "there is no file"),
    "folder": (ortx.InvalidArgument, "is a folder"),
    "text file": (ortx.Error, "Failed to load library"),
    "empty file": (ortx.Error, "Failed to load library"),
    "library of something else": (ortx.Error, "RegisterCustomOps"),
    "library that refuses": (ortx.NotSupported, "the licence has expired"),
}
DOORS = {
    "load_custom_op_library": lambda path, model: ortx.load_custom_op_library(path),
    "ortx.session:": lambda path, model: ortx.session(model, custom_op_libraries=path),
    "ortx.session_from_bytes": lambda path, model: ortx.session_from_bytes(models.square(), custom_op_libraries=[path]),
}


@pytest.fixture(params=BAD)
def bad(request, tmp_path, compile_shared, library) -> tuple[Path, type[ortx.Error], str]:
    return make_bad(request.param, tmp_path, compile_shared, library), *BAD[request.param]


@pytest.mark.parametrize("door", DOORS)
def test_a_library_that_cannot_be_used_is_refused_and_leaves_nothing_behind(model_path, bad, door):
    path, error, words = bad
    before = _core._live_handles()
    with pytest.raises(error) as caught:
        DOORS[door](path, model_path)
    assert _core._live_handles() == before
    message = str(caught.value)
    assert message.startswith(door)
    assert repr(str(path)) in message
    assert words in message
    assert "custom-op library" in message
    if "licence" in words:  # ONNX Runtime itself does not let go of one without RegisterCustomOps
        assert not is_loaded(path)
    if "no file" in words:
        assert isinstance(caught.value, FileNotFoundError)


@pytest.mark.parametrize("door", list(DOORS)[1:])
@pytest.mark.parametrize("kind", ["missing", "folder"])
def test_a_file_that_is_not_there_is_refused_with_the_options_name(tmp_path, model_path, door, kind):
    path = make_bad(kind, tmp_path, None, None)
    with pytest.raises(BAD[kind][0], match="option 'custom_op_libraries'"):
        DOORS[door](path, model_path)


def test_a_library_that_cannot_be_used_is_refused_behind_a_good_one(open_triple, triple, bad):
    path, error, words = bad
    before = _core._live_handles()
    with pytest.raises(error, match=words) as caught:
        open_triple(custom_op_libraries=[triple, path])
    assert _core._live_handles() == before
    assert str(path) in str(caught.value)
    assert not is_loaded(triple)


@pytest.mark.parametrize("wrong", NO_PATHS)
def test_an_option_that_is_no_path_is_refused(open_triple, triple, wrong):
    for given in (*([] if wrong is None else [wrong]), [wrong], (triple, wrong)):
        with pytest.raises(ortx.OptionTypeError) as caught:
            open_triple(custom_op_libraries=given)
        for word in ("ortx.session", "'custom_op_libraries'", "a path as str or os.PathLike", type(wrong).__name__):
            assert word in str(caught.value)
    assert "[1]" in str(caught.value), "the place in the list"


@pytest.mark.parametrize("wrong", BAD_TEXTS)
def test_an_option_that_no_file_can_be_called_is_refused(open_triple, wrong):
    with pytest.raises(ortx.OptionError, match=r"custom_op_libraries'\[0\]: got .*expected a path that"):
        open_triple(custom_op_libraries=[wrong])


@pytest.mark.parametrize(
    "call",
    [
        lambda session, path: ortx.load_custom_op_library(path),
        lambda session, path: session.register_custom_op_library(path),
    ],
    ids=["load_custom_op_library: path", "register_custom_op_library: path_or_library"],
)
def test_an_argument_that_is_no_path_is_refused(request, session, call):
    where = request.node.callspec.id
    for wrong in (*NO_PATHS, ["a list"]):
        with pytest.raises(ortx.InvalidType, match=f"^{where}: got {type(wrong).__name__}; expected a path"):
            call(session, wrong)
    for wrong in BAD_TEXTS:
        with pytest.raises(ortx.InvalidArgument, match=f"^{where}: got "):
            call(session, wrong)
    assert session.run([X])[0][1, 1] == 12


# --- handles


@pytest.mark.parametrize(
    "make",
    [
        ortx.CustomOpLibrary,
        lambda: ortx.CustomOpLibrary("triple.so"),
        lambda: ortx.CustomOpLibrary.__new__(ortx.CustomOpLibrary),
        lambda: object.__new__(ortx.CustomOpLibrary),
    ],
    ids=["call", "call with a path", "__new__", "object.__new__"],
)
def test_a_handle_cannot_be_made_directly(make):
    with pytest.raises(TypeError):
        make()


def test_the_class_of_handles_says_how_to_get_one():
    with pytest.raises(TypeError, match=re.escape("use ortx.load_custom_op_library(path)")):
        ortx.CustomOpLibrary()


def test_a_handle_travels_as_its_path_and_cannot_be_changed(triple):
    handle = ortx.load_custom_op_library(triple)
    assert os.fspath(pickle.loads(pickle.dumps(handle))) == os.fspath(handle) == str(triple)
    with pytest.raises(AttributeError):
        handle.path = "other.so"
    with pytest.raises(AttributeError):
        handle.other = 1


@pytest.mark.parametrize("form", FORMS)
def test_a_handle_knows_its_absolute_path(triple, monkeypatch, form):
    monkeypatch.chdir(triple.parent.parent)
    given = FORMS[form](triple)
    handle = ortx.load_custom_op_library(given)
    assert isinstance(handle, ortx.CustomOpLibrary)
    assert isinstance(handle, os.PathLike)
    assert handle.path == os.fspath(handle) == os.path.abspath(given)
    assert type(handle.path) is str
    assert repr(handle) == f"<ortx.CustomOpLibrary {handle.path!r}>"
    assert Path(handle).exists()


def test_a_handle_serves_several_sessions(triple):
    handle = ortx.load_custom_op_library(triple)
    sessions = [ortx.session_from_bytes(chain("Triple"), custom_op_libraries=handle) for _ in range(3)]
    for session in sessions:
        assert session.run([X])[0].tolist() == (3 * X).tolist()
        session.close()
    with ortx.session_from_bytes(chain("Triple"), custom_op_libraries=[handle]) as session:
        assert session.run([X])[0].tolist() == (3 * X).tolist()


def test_a_library_stays_loaded_for_a_session_when_its_handle_goes(triple):
    handle = ortx.load_custom_op_library(triple)
    session = ortx.session_from_bytes(chain("Triple"), custom_op_libraries=handle)
    del handle
    gc.collect()
    assert _core._live_handles()["custom_op_library"] == 0
    assert is_loaded(triple)
    assert session.run([X])[0].tolist() == (3 * X).tolist()
    session.close()
    assert not is_loaded(triple)


def test_a_library_stays_loaded_for_its_handle_when_its_sessions_go(triple):
    assert not is_loaded(triple)
    handle = ortx.load_custom_op_library(triple)
    ortx.session_from_bytes(chain("Triple"), custom_op_libraries=handle).close()
    assert is_loaded(triple)
    del handle
    assert not is_loaded(triple)


def test_a_library_may_be_loaded_twice_and_each_handle_counts(triple):
    first, second = ortx.load_custom_op_library(triple), ortx.load_custom_op_library(triple)
    assert first is not second
    assert _core._live_handles()["custom_op_library"] == 2
    del first
    assert is_loaded(triple)
    with ortx.session_from_bytes(chain("Triple"), custom_op_libraries=second) as session:
        assert session.run([X])[0][0, 1] == 6
    del second
    assert not is_loaded(triple)


def test_outputs_outlive_the_library(triple):
    with ortx.session_from_bytes(chain("Triple"), custom_op_libraries=triple) as session:
        y = session.run([X])[0]
    del session
    assert not is_loaded(triple)
    assert y.tolist() == (3 * X).tolist()


def test_many_threads_may_load_one_library(triple):
    results, barrier = [], threading.Barrier(8)

    def work() -> None:
        barrier.wait(SECONDS)
        handle = ortx.load_custom_op_library(triple)
        with ortx.session_from_bytes(chain("Triple"), custom_op_libraries=handle) as session:
            results.append(session.run([X])[0].tolist())

    join(*(start(work) for _ in range(8)))
    assert results == [(3 * X).tolist()] * 8
    assert not is_loaded(triple)


# --- add a library to an open session


@pytest.mark.parametrize("form", FORMS)
def test_a_library_is_added_to_a_session_in_any_form(session, triple, fivefold, monkeypatch, form):
    monkeypatch.chdir(triple.parent.parent)
    given = FORMS[form](fivefold)
    assert session.register_custom_op_library(given) is None
    assert libraries_of(session) == [str(triple), os.path.abspath(given)]
    assert session.run([X])[0].tolist() == (3 * X).tolist()
    del given
    assert is_loaded(fivefold)
    session.close()
    assert not is_loaded(fivefold)
    assert not is_loaded(triple)


def test_adding_a_library_changes_no_other_option_and_nothing_that_a_session_tells(session, triple, fivefold):
    def told() -> tuple[object, ...]:
        return (
            session.options() | {"custom_op_libraries": None},
            session.providers(),
            session.input_names(),
            session.output_names(),
            [repr(info) for info in (*session.memory_info_for_inputs(), *session.memory_info_for_outputs())],
            session.input_info(0),
            session.metadata(),
            repr(session),
            _core._live_handles(),
        )

    before = told()
    session.register_custom_op_library(fivefold)
    assert told() == before


@pytest.mark.parametrize("form", FORMS)
def test_adding_a_library_that_is_there_changes_nothing(session, triple, fivefold, model_path, monkeypatch, form):
    monkeypatch.chdir(triple.parent.parent)
    session.register_custom_op_library(fivefold)
    model_path.unlink()  # what would open it again fails now
    for file in (triple, fivefold):
        session.register_custom_op_library(FORMS[form](file))
    assert libraries_of(session) == [str(triple), str(fivefold)]
    assert session.run([X])[0].tolist() == (3 * X).tolist()
    other = shutil.copy(fivefold, model_path.with_name("copy.so"))
    with pytest.raises(ortx.NoSuchFile, match=r"model_path: there is no file"):
        session.register_custom_op_library(other)


def test_outputs_from_before_a_library_was_added_stay_valid(session, fivefold):
    ys = [session.run([X + number])[0] for number in range(5)]
    session.register_custom_op_library(fivefold)
    gc.collect()
    session.run([X])
    for number, y in enumerate(ys):
        assert y.tolist() == (3 * (X + number)).tolist()


def test_a_binding_with_allocated_outputs_goes_on_with_a_session_that_got_a_library(session, fivefold):
    x = X.copy()
    binding = session.create_io_binding()
    binding.bind_input("x", x)
    binding.bind_output("y")
    first = binding.run()["y"]
    session.register_custom_op_library(fivefold)
    assert binding.get_outputs()["y"] is first
    x[:] = 7
    second = session.run_with_iobinding(binding)["y"]
    assert second.tolist() == (3 * x).tolist()
    assert first.tolist() == (3 * X).tolist()
    assert binding.get_outputs()["y"] is second
    x[:] = 8
    assert binding.run()["y"].tolist() == (3 * x).tolist()


@pytest.mark.parametrize("spec", ["array", "Tensor", "type and shape"])
def test_a_binding_with_buffers_goes_on_with_the_same_ones_with_a_session_that_got_a_library(session, fivefold, spec):
    x, y = X.copy(), np.zeros_like(X)
    binding = session.create_io_binding()
    binding.bind_input("x", x)
    target = {"array": y, "Tensor": ortx.tensor(y), "type and shape": {"type": "float32", "shape": (2, 2)}}[spec]
    target = binding.bind_output("y", target) or target
    binding.run()
    session.register_custom_op_library(fivefold)
    x[:] = 7
    assert binding.run()["y"] is target
    assert np.asarray(target).tolist() == (3 * x).tolist()
    assert binding.get_outputs()[0] is target
    if spec != "type and shape":
        assert y.tolist() == (3 * x).tolist()


@pytest.mark.parametrize("ran", [False, True])
def test_a_binding_that_was_not_run_yet_or_is_bound_anew_works_with_a_session_that_got_a_library(
    session, library, fivefold, ran
):
    binding = session.create_io_binding()
    binding.bind_input("x", X)
    session.register_custom_op_library(fivefold)
    binding.bind_output("y")
    if ran:
        binding.run()
    session.register_custom_op_library(library("Sevenfold"))
    binding.clear_inputs()
    binding.clear_outputs()
    with pytest.raises(ortx.CallError) as caught:
        binding.run()
    assert len(caught.value.problems) == 2
    binding.bind_input("x", X + 1)
    binding.bind_output("y")
    assert binding.run()["y"].tolist() == (3 * (X + 1)).tolist()


def test_bindings_of_a_session_that_got_a_library_do_not_need_the_old_one(session, fivefold):
    """The binding is all that is left of it, and everything that was bound is read again."""
    bindings = []
    for number in range(3):
        binding = session.create_io_binding()
        binding.bind_input("x", X + number)
        binding.bind_output("y")
        bindings.append(binding)
    session.register_custom_op_library(fivefold)
    assert _core._live_handles()["session"] == 1
    assert _core._live_handles()["io_binding"] == 3
    gc.collect()
    for number, binding in enumerate(bindings):
        binding.synchronize_inputs()
        assert binding.run()["y"].tolist() == (3 * (X + number)).tolist()
        binding.synchronize_outputs()
    assert _core._live_handles()["io_binding"] == 3


def test_run_options_go_on_with_a_session_that_got_a_library(session, fivefold):
    options = ortx.run_options(tag="mine")
    session.run([X], run_options=options)
    session.register_custom_op_library(fivefold)
    assert session.run([X], run_options=options)[0].tolist() == (3 * X).tolist()
    options.terminate()
    with pytest.raises(ortx.Error, match="terminate"):
        session.run([X], run_options=options)
    options.reset_terminate()
    assert session.submit([X], run_options=options).result(SECONDS)[0].tolist() == (3 * X).tolist()


def test_a_session_that_got_a_library_is_profiled_on(model_path, triple, fivefold, tmp_path):
    with ortx.session(model_path, custom_op_libraries=triple, profile_file_prefix=tmp_path / "profile") as session:
        before = session.profiling_start_time_ns()
        session.run([X])
        session.register_custom_op_library(fivefold)
        assert session.profiling_start_time_ns() > before > 0
        for _ in range(3):
            session.run([X])
        file = Path(session.end_profiling())
        assert file.name.startswith("profile")
        events = [event["name"] for event in json.loads(file.read_text())]
        assert events.count("model_run") == 3
        assert session.run([X])[0][0, 0] == 3


def test_a_session_with_initializers_and_overrides_keeps_them_when_it_gets_a_library(fivefold, tmp_path):
    scale = np.array([10], np.float32)
    path = tmp_path / "scaled.onnx"
    nodes = [helper.make_node("Mul", ["x", "scale"], ["y"])]
    x, y = models.tensor("x"), models.tensor("y")
    path.write_bytes(models.build(nodes, [x], [y], [models.constant("scale", [10.0])]))
    overrides = [{"by": "name", "key": "n", "value": 2}]
    with ortx.session(path, initializers={"scale": scale}, free_dimension_overrides=overrides) as session:
        session.register_custom_op_library(fivefold)
        assert session.options()["initializers"]["scale"] is scale
        assert session.options()["free_dimension_overrides"] == overrides
        assert session.input_info(0).shape == (2, 2)
        assert session.run([X])[0].tolist() == (10 * X).tolist()


SHIM = r"""
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include "ortx_capi.h"

static const OrtApiBase* real_base;
static const OrtApi* real;
static int calls;

static OrtStatus* SetEpDynamicOptions(
    OrtSession* session, const char* const* keys, const char* const* values, size_t count) {
  for (size_t i = 0; i < count; i++) printf("%d %s=%s\n", calls, keys[i], values[i]);
  fflush(stdout);
  calls++;
  if (getenv("SHIM_REFUSES") != NULL && atoi(getenv("SHIM_REFUSES")) < calls)
    return ((OrtStatus* (*)(OrtErrorCode, const char*))real->CreateStatus)(ORT_FAIL, "not this time");
  return real->SetEpDynamicOptions(session, keys, values, count);
}

static const OrtApi* GetApi(uint32_t version) {
  static OrtApi table;
  table = *(real = real_base->GetApi(version));
  table.SetEpDynamicOptions = SetEpDynamicOptions;
  return &table;
}

static const char* GetVersionString(void) { return real_base->GetVersionString(); }

const OrtApiBase* OrtGetApiBase(void) {
  static const OrtApiBase base = {GetApi, GetVersionString};
  void* library = dlopen(getenv("SHIM_LIBRARY"), RTLD_NOW | RTLD_LOCAL);
  if (library == NULL) fputs(dlerror(), stderr), abort();
  real_base = ((OrtGetApiBaseFunction)dlsym(library, "OrtGetApiBase"))();
  return &base;
}
"""

DYNAMIC_OPTIONS = """
import sys, numpy, ortx
from ortx import _core
with ortx.session(sys.argv[1]) as session:
    session.set_ep_dynamic_options({"ep.dynamic.workload_type": "Efficient", "my.key": 1})
    session.set_ep_dynamic_options({"my.key": 2})
    try:
        session.register_custom_op_library(sys.argv[2])
    except ortx.Error as error:
        print(error)
    print(len(session.options()["custom_op_libraries"]), _core._live_handles()["session"], flush=True)
    print(session.run([numpy.array([[1, 2]], "float32")])[0].tolist(), flush=True)
"""


@pytest.mark.parametrize("refuses", [False, True])
def test_dynamic_options_are_set_again_with_a_library_or_the_session_stays_as_it_was(
    compile_shared, run_python, library, tmp_path, refuses
):
    (tmp_path / "square.onnx").write_bytes(models.square())
    shim, double = compile_shared(SHIM, "shim"), library("Double")
    variables = {"SHIM_LIBRARY": ortx.load_library().path, "SHIM_REFUSES": 2 if refuses else None}
    done = run_python(DYNAMIC_OPTIONS, tmp_path / "square.onnx", double, ORTX_LIBRARY=shim, **variables)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "0 ep.dynamic.workload_type=Efficient",
        "0 my.key=1",
        "1 my.key=2",
        "2 ep.dynamic.workload_type=Efficient",
        "2 my.key=2",
        *(["not this time", "0 1"] if refuses else ["1 1"]),
        "[[1.0, 4.0]]",
    ]


def test_a_classifier_makes_its_dictionaries_on_when_it_gets_a_library(fivefold, tmp_path):
    floats = helper.make_tensor_type_proto(onnx.TensorProto.FLOAT, None)
    y_type = helper.make_sequence_type_proto(helper.make_map_type_proto(onnx.TensorProto.INT64, floats))
    graph = helper.make_graph(
        [
            helper.make_node("Add", ["x", "x"], ["t"]),
            helper.make_node("ZipMap", ["t"], ["y"], domain="ai.onnx.ml", classlabels_int64s=[7, -1]),
        ],
        "graph",
        [models.tensor("x")],
        [helper.make_value_info("y", y_type)],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 1)]
    content = helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()
    (tmp_path / "classifier.onnx").write_bytes(content)
    for session in (
        ortx.session(tmp_path / "classifier.onnx"),
        ortx.session_from_bytes(content, keep_model=True),
        ortx.session_from_bytes(content, keep_model=True, fast_zip_map=False),
    ):
        with session:
            binding = session.create_io_binding()
            binding.bind_input("x", np.array([[1, 2]], np.float32))
            binding.bind_output("y")
            for _ in range(2):
                for made in (session.run([np.array([[1, 2]], np.float32)])["y"], binding.run()["y"]):
                    assert [list(row.items()) for row in made] == [[(-1, 4.0), (7, 2.0)]]
                session.register_custom_op_library(fivefold)
            assert libraries_of(session) == [str(fivefold)]


# --- a library that cannot be added


@pytest.fixture
def goes_on(session, triple) -> Iterator[None]:
    """See that a session, its bindings and its options are what they were before the test."""
    x, y = X.copy(), np.zeros_like(X)
    allocated, preallocated = session.create_io_binding(), session.create_io_binding()
    for binding, spec in ((allocated, None), (preallocated, y)):
        binding.bind_input("x", x)
        binding.bind_output("y", spec)
        binding.run()
    before = session.options(), session.providers(), _core._live_handles()
    yield
    assert (session.options(), session.providers(), _core._live_handles()) == before
    assert libraries_of(session) == [str(triple)]
    x[:] = 9
    assert session.run([x])[0].tolist() == (3 * x).tolist()
    assert allocated.run()["y"].tolist() == (3 * x).tolist()
    assert preallocated.run()["y"] is y
    assert y.tolist() == (3 * x).tolist()


@pytest.mark.usefixtures("goes_on")
def test_a_session_goes_on_as_before_if_a_library_cannot_be_added(session, bad):
    path, error, words = bad
    for _ in range(2):
        with pytest.raises(error) as caught:
            session.register_custom_op_library(path)
        assert str(caught.value).startswith("register_custom_op_library: ")
        assert repr(str(path)) in str(caught.value)
        assert words in str(caught.value)


@pytest.mark.usefixtures("goes_on")
def test_a_session_goes_on_as_before_if_a_library_has_operators_that_it_has_already(session, triple):
    copy = triple.with_name(f"copy_of_{triple.name}")
    shutil.copy(triple, copy)
    with pytest.raises(ortx.Error):
        session.register_custom_op_library(copy)
    assert not is_loaded(copy)


def test_a_session_goes_on_as_before_if_a_library_of_its_own_is_gone(session, triple, fivefold):
    triple.rename(triple.with_name("renamed"))
    with pytest.raises(ortx.NoSuchFile, match=re.escape(repr(str(triple)))) as caught:
        session.register_custom_op_library(fivefold)
    assert "register_custom_op_library" in str(caught.value)
    assert libraries_of(session) == [str(triple)]
    assert session.run([X])[0].tolist() == (3 * X).tolist()
    triple.with_name("renamed").rename(triple)
    session.register_custom_op_library(fivefold)
    assert libraries_of(session) == [str(triple), str(fivefold)]


def test_after_a_failure_another_library_can_be_added(session, triple, fivefold, library):
    with pytest.raises(ortx.NotSupported):
        session.register_custom_op_library(library("Double", in_register=REFUSES))
    session.register_custom_op_library(fivefold)
    assert libraries_of(session) == [str(triple), str(fivefold)]
    assert session.run([X])[0].tolist() == (3 * X).tolist()


def test_nothing_can_be_added_to_a_closed_session(session, triple, fivefold):
    session.close()
    for file in (triple, fivefold):
        with pytest.raises(ortx.SessionClosed):
            session.register_custom_op_library(file)
    assert libraries_of(session) == [str(triple)]
    assert _core._live_handles()["session"] == 0
    assert not is_loaded(fivefold)


# --- the model of a session that gets a library


def rewrite(path: Path) -> None:
    """Another model of the same length, in the same file."""
    path.write_bytes(path.read_bytes().replace(b"graph", b"grape"))
    os.utime(path, ns=(1, 1))  # file systems may count time coarsely


def replace(path: Path) -> None:
    """The same model in another file of the same name."""
    copy = path.with_name("copy.onnx")
    shutil.copy2(path, copy)
    copy.replace(path)


def become_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (Path.unlink, ortx.NoSuchFile, "there is no file"),
        (rewrite, ortx.Error, "was changed since the session was opened"),
        (replace, ortx.Error, "was changed since the session was opened"),
        (lambda path: path.write_bytes(models.add()), ortx.Error, "was changed since the session was opened"),
        (lambda path: path.write_bytes(b""), ortx.InvalidProtobuf, "is empty"),
        (become_a_folder, ortx.InvalidArgument, "is a folder"),
    ],
    ids=["removed", "rewritten", "replaced", "another model", "emptied", "folder"],
)
@pytest.mark.usefixtures("goes_on")
def test_a_session_goes_on_as_before_if_the_file_of_its_model_was_changed(
    session, model_path, fivefold, change, error, words
):
    change(model_path)
    with pytest.raises(error, match=words) as caught:
        session.register_custom_op_library(fivefold)
    assert str(caught.value).startswith("register_custom_op_library: ")
    assert repr(str(model_path)) in str(caught.value)
    assert not is_loaded(fivefold)


@pytest.mark.parametrize("given", [{}, {"keep_model": False}])
def test_a_model_from_memory_that_was_not_kept_cannot_be_opened_again(triple, fivefold, given):
    with ortx.session_from_bytes(chain("Triple"), custom_op_libraries=triple, **given) as session:
        with pytest.raises(ortx.Error, match=r"^register_custom_op_library: .*keep_model=True"):
            session.register_custom_op_library(fivefold)
        assert libraries_of(session) == [str(triple)]
        assert session.run([X])[0].tolist() == (3 * X).tolist()
        session.register_custom_op_library(triple)  # nothing to do


def mapped(content: bytes) -> mmap.mmap:
    memory = mmap.mmap(-1, len(content))
    memory.write(content)
    return memory


BUFFERS = {
    "bytes": bytes,
    "bytearray": bytearray,
    "memoryview": memoryview,
    "mmap": mapped,
    "numpy": lambda content: np.frombuffer(content, np.uint8),
    "part of a memoryview": lambda content: memoryview(b"..." + content + b".")[3:-1],
}


@pytest.mark.parametrize("buffer", BUFFERS)
def test_a_model_from_memory_that_was_kept_is_opened_again(triple, fivefold, buffer):
    model = BUFFERS[buffer](bytes(bytearray(chain("Triple"))))
    with ortx.session_from_bytes(model, custom_op_libraries=triple, keep_model=True) as session:
        del model
        gc.collect()
        [bytes(range(256)) * 4 for _ in range(100)]
        session.register_custom_op_library(fivefold)
        assert libraries_of(session) == [str(triple), str(fivefold)]
        assert session.options()["keep_model"] is True
        assert session.run([X])[0].tolist() == (3 * X).tolist()


@pytest.mark.parametrize("changed", [chain("Triple", x="z"), models.add(), b"no model", b""])
def test_a_session_goes_on_as_before_if_its_buffer_was_changed(triple, fivefold, changed):
    model = bytearray(chain("Triple"))
    with ortx.session_from_bytes(model, custom_op_libraries=triple, keep_model=True) as session:
        before = _core._live_handles()
        model[:] = changed
        with pytest.raises(ortx.Error):
            session.register_custom_op_library(fivefold)
        assert _core._live_handles() == before
        assert libraries_of(session) == [str(triple)]
        assert session.run({"x": X})["y"].tolist() == (3 * X).tolist()


@pytest.mark.parametrize("form", ["memoryview", "mmap"])
def test_a_session_goes_on_as_before_if_its_buffer_is_gone(triple, fivefold, form):
    content = chain("Triple")
    buffer = memoryview(content) if form == "memoryview" else mapped(content)
    with ortx.session_from_bytes(buffer, custom_op_libraries=triple, keep_model=True) as session:
        buffer.release() if form == "memoryview" else buffer.close()
        for _ in range(2):
            with pytest.raises(
                ortx.Error, match=r"register_custom_op_library: the buffer that .* loaded from is gone \("
            ):
                session.register_custom_op_library(fivefold)
        assert libraries_of(session) == [str(triple)]
        assert session.run([X])[0].tolist() == (3 * X).tolist()


def test_a_model_with_other_inputs_by_now_is_refused_with_the_reason(triple, fivefold):
    model = bytearray(chain("Triple"))
    with ortx.session_from_bytes(model, custom_op_libraries=triple, keep_model=True) as session:
        model[:] = chain("Triple", x="z")
        with pytest.raises(ortx.Error, match=r"^register_custom_op_library: .* has other inputs or outputs"):
            session.register_custom_op_library(fivefold)


# --- stories with threads


def start(work: Callable[..., object], *arguments: object) -> threading.Thread:
    thread = threading.Thread(target=work, args=arguments, daemon=True)
    thread.start()
    return thread


def join(*threads: threading.Thread) -> None:
    for thread in threads:
        thread.join(SECONDS)
        assert not thread.is_alive()


class Gate:
    """A point in the code of a library where a thread waits for the test's word."""

    def __init__(self) -> None:
        self.pipes = [*os.pipe(), *os.pipe()]
        self.reached_here, self.reached_there, self.word_there, self.word_here = self.pipes

    def code(self, where: str) -> dict[str, str]:
        return {where: "GATE", "reached": str(self.reached_there), "word": str(self.word_there)}

    def wait(self) -> None:
        """Wait until a thread has come."""
        assert select.select([self.reached_here], [], [], SECONDS)[0], "no thread came"
        os.read(self.reached_here, 1)

    def open(self, times: int = 1) -> None:
        os.write(self.word_here, b"!" * times)

    def close(self) -> None:
        for pipe in self.pipes:
            os.close(pipe)


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.close()


def attempt(outcomes: list[object], call: Callable[..., object], *arguments: object) -> None:
    try:
        outcomes.append(call(*arguments))
    except ortx.Error as error:
        outcomes.append(type(error))


def test_a_session_can_be_used_while_it_gets_a_library(session, triple, library, gate):
    slow, outcomes = library("Fivefold", **gate.code("in_register")), []
    binding = session.create_io_binding()
    binding.bind_input("x", X)
    binding.bind_output("y")
    thread = start(attempt, outcomes, session.register_custom_op_library, slow)
    gate.wait()
    assert session.run([X])[0].tolist() == (3 * X).tolist()
    assert binding.run()["y"].tolist() == (3 * X).tolist()
    assert session.submit([X]).result(SECONDS)[0].tolist() == (3 * X).tolist()
    session.set_ep_dynamic_options({"my.key": "1"})
    assert libraries_of(session) == [str(triple)]
    assert thread.is_alive()
    gate.open()
    join(thread)
    assert outcomes == [None]
    assert libraries_of(session) == [str(triple), str(slow)]
    assert binding.run()["y"].tolist() == (3 * X).tolist()


def test_a_session_that_is_closed_while_it_gets_a_library_is_closed(session, triple, library, gate):
    slow, outcomes = library("Fivefold", **gate.code("in_register")), []
    thread = start(attempt, outcomes, session.register_custom_op_library, slow)
    gate.wait()
    session.close()
    assert thread.is_alive()
    gate.open()
    join(thread)
    assert outcomes == [ortx.SessionClosed]
    assert session.closed
    assert libraries_of(session) == [str(triple)]
    assert _core._live_handles()["session"] == 0
    assert not is_loaded(slow)
    assert not is_loaded(triple)


@pytest.mark.parametrize("second", ["another library", "the same library"])
def test_what_another_thread_adds_meanwhile_is_kept(session, triple, library, fivefold, gate, second):
    slow, outcomes = library("Sevenfold", **gate.code("in_register")), []
    thread = start(attempt, outcomes, session.register_custom_op_library, slow)
    gate.wait()
    gate.open(3)  # for the first try, the second one, and the other thread
    faster = fivefold if second == "another library" else slow
    other = start(attempt, outcomes, session.register_custom_op_library, faster)
    join(thread, other)
    assert outcomes == [None, None]
    assert sorted(libraries_of(session)) == sorted({str(triple), str(slow), str(faster)})
    assert session.run([X])[0].tolist() == (3 * X).tolist()
    assert _core._live_handles()["session"] == 1


def test_a_faster_thread_wins_and_the_slower_one_adds_to_it(session, triple, library, fivefold, gate):
    slow, outcomes = library("Sevenfold", **gate.code("in_register")), []
    thread = start(attempt, outcomes, session.register_custom_op_library, slow)
    gate.wait()
    session.register_custom_op_library(fivefold)
    assert libraries_of(session) == [str(triple), str(fivefold)]
    gate.open()
    gate.wait()  # it has seen that it has to do it again
    assert libraries_of(session) == [str(triple), str(fivefold)]
    gate.open()
    join(thread)
    assert outcomes == [None]
    assert libraries_of(session) == [str(triple), str(fivefold), str(slow)]


@pytest.fixture
def slow_session(model_path, library, gate) -> Iterator[ortx.Session]:
    """y = 3 * x, as soon as the gate is open"""
    with ortx.session(
        model_path, custom_op_libraries=library("Triple", **gate.code("in_compute")), intra_op_num_threads=2
    ) as session:
        yield session


def run_bound(session: ortx.Session) -> list[list[float]]:
    binding = session.create_io_binding()
    binding.bind_input("x", X)
    binding.bind_output("y")
    return binding.run()["y"].tolist()


RUNS = {
    "run": lambda session: session.run([X])[0].tolist(),
    "run_into": lambda session: session.run_into([X], [np.zeros_like(X)])[0].tolist(),
    "binding": run_bound,
    "submit": lambda session: session.submit([X]).result(SECONDS)[0].tolist(),
}


@pytest.mark.parametrize("run", RUNS)
def test_a_run_in_progress_ends_on_what_was_opened_before(slow_session, fivefold, gate, run):
    outcomes = []
    thread = start(attempt, outcomes, RUNS[run], slow_session)
    gate.wait()
    assert slow_session.running == 1
    slow_session.register_custom_op_library(fivefold)
    assert slow_session.running == 1
    assert _core._live_handles()["session"] == 2
    gate.open()
    join(thread)
    assert outcomes == [(3 * X).tolist()]
    assert slow_session.running == 0
    assert _core._live_handles()["session"] == 1
    gate.open()
    assert RUNS[run](slow_session) == (3 * X).tolist()


@pytest.mark.parametrize("run", RUNS)
def test_close_waits_for_a_run_that_goes_on_on_what_was_opened_before(slow_session, fivefold, gate, run):
    outcomes = []
    thread = start(attempt, outcomes, RUNS[run], slow_session)
    gate.wait()
    slow_session.register_custom_op_library(fivefold)
    closing = start(slow_session.close)
    while not slow_session.closed:
        pass
    closing.join(0.01)
    assert closing.is_alive()
    assert slow_session.running == 1
    gate.open()
    join(thread, closing)
    assert outcomes == [(3 * X).tolist()]
    assert _core._live_handles()["session"] == 0


def test_a_binding_in_use_goes_on_with_the_library_from_its_next_run_on(slow_session, fivefold, gate):
    x, y, outcomes = X.copy(), np.zeros_like(X), []
    binding = slow_session.create_io_binding()
    binding.bind_input("x", x)
    binding.bind_output("y", y)
    thread = start(attempt, outcomes, binding.run)
    gate.wait()
    slow_session.register_custom_op_library(fivefold)
    with pytest.raises(ortx.Error, match="in use by another thread"):
        binding.run()
    gate.open()
    join(thread)
    assert y.tolist() == (3 * x).tolist()
    x[:] = 5
    gate.open()
    assert binding.run()["y"] is y
    assert y.tolist() == (3 * x).tolist()
    assert _core._live_handles()["session"] == 1


def test_four_threads_that_run_all_the_time_never_see_that_a_session_gets_libraries(session, triple, library):
    files = [library(op) for op in ("Double", "Fivefold", "Sevenfold")]
    stop, wrong = threading.Event(), []
    turned = {way: threading.Event() for way in RUNS}

    def runner(way: str) -> Callable[[np.ndarray], np.ndarray]:
        """Return what runs the session once, with something of the thread's own if the way is such."""
        binding, x_bound, y = session.create_io_binding(), np.zeros_like(X), np.zeros_like(X)
        binding.bind_input("x", x_bound)
        binding.bind_output("y", y)

        def run_binding(x: np.ndarray) -> np.ndarray:
            x_bound[:] = x
            return binding.run()["y"]

        return {
            "run": lambda x: session.run({"x": x})["y"],
            "run_into": lambda x: session.run_into([x], [y])[0],
            "binding": run_binding,
            "submit": lambda x: session.submit([x]).result(SECONDS)["y"],
        }[way]

    def work(way: str) -> None:
        try:
            run, number = runner(way), 0
            while not stop.is_set():
                number = (number + 1) % 1000
                y = run(X + number)
                if (y != 3 * (X + number)).any():
                    wrong.append((way, number, y.copy()))
                turned[way].set()
        except BaseException as error:
            wrong.append((way, repr(error)))
            turned[way].set()

    def wait_for_a_turn_of_each() -> None:
        for event in turned.values():
            event.clear()
        for event in turned.values():
            assert event.wait(SECONDS)

    threads = [start(work, way) for way in RUNS]
    try:
        for file in files:
            wait_for_a_turn_of_each()
            session.register_custom_op_library(file)
        wait_for_a_turn_of_each()
    finally:
        stop.set()
        join(*threads)
    assert not wrong
    assert libraries_of(session) == [str(triple), *map(str, files)]
    assert session.running == 0
    assert _core._live_handles()["session"] == 1


def test_two_threads_that_add_libraries_at_the_same_time_keep_both(model_path, triple, fivefold, library):
    sevenfold, outcomes = library("Sevenfold"), []
    for _ in range(20):
        barrier = threading.Barrier(2)
        with ortx.session(model_path, custom_op_libraries=triple) as session:

            def work(file: Path, session: ortx.Session = session, barrier: threading.Barrier = barrier) -> None:
                barrier.wait(SECONDS)
                attempt(outcomes, session.register_custom_op_library, file)

            join(start(work, fivefold), start(work, sevenfold))
            assert sorted(libraries_of(session)) == sorted(map(str, (triple, fivefold, sevenfold)))
            assert session.run([X])[0].tolist() == (3 * X).tolist()
    assert outcomes == [None] * 40


def test_close_at_any_moment_of_adding_a_library_ends_in_a_closed_session(model_path, triple, fivefold):
    outcomes, longest = [], 0.0
    for number in range(40):
        session, barrier = ortx.session(model_path, custom_op_libraries=triple), threading.Barrier(2)

        def work(session: ortx.Session = session, barrier: threading.Barrier = barrier) -> None:
            barrier.wait(SECONDS)
            attempt(outcomes, session.register_custom_op_library, fivefold)

        thread = start(work)
        barrier.wait(SECONDS)
        began = time.perf_counter()
        # First it is seen how long it takes, then the moment moves from the beginning to the end.
        thread.join(SECONDS if number < 3 else longest * number / 40)
        longest = longest if number >= 3 else time.perf_counter() - began
        session.close()
        join(thread)
        with pytest.raises(ortx.SessionClosed):
            session.run([X])
        assert _core._live_handles()["session"] == 0
    assert len(outcomes) == 40
    assert set(outcomes) <= {None, ortx.SessionClosed}
    assert not is_loaded(fivefold)
