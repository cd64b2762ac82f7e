"""Where ONNX Runtime is looked for, what is refused, and what loading it does not do (`search.pxi`, `library.pxi`).

A process loads one library and keeps it, so almost every test asks an interpreter of its own. Most use a stub: a
library that has the C interface of any version one likes, and that says on stderr what `GetApi` was asked for.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import models
import pytest

import ortx
from ortx import libraryinfo

# What the file is called inside a wheel, what the system's loader is asked for, and which variable tells it a folder.
FILE_IN_PACKAGE, SYSTEM_NAME, LOADER_PATH = {
    "win32": ("onnxruntime.dll", "onnxruntime.dll", "PATH"),
    "darwin": ("libonnxruntime.1.23.0.dylib", "libonnxruntime.1.dylib", "DYLD_LIBRARY_PATH"),
}.get(sys.platform, ("libonnxruntime.so.1.23.0", "libonnxruntime.so.1", "LD_LIBRARY_PATH"))

ORIGINS = {
    "argument": "the argument of ortx.load_library",
    "environment": "the environment variable ORTX_LIBRARY",
    "package": "the installed package onnxruntime",
    "system": "the system's loader",
}

STUB = """
#include <stdio.h>
#include "ortx_capi.h"

static union {
  OrtStatus* (*functions[sizeof(OrtApi) / sizeof(void*)])(void);
  OrtApi api;
} table;

static OrtStatus* succeed(void) { return NULL; }
static const char* build_info(void) { return "a stub"; }
static const char* version(void) { return "@VERSION@"; }

static const OrtApi* get_api(uint32_t number) {
  fprintf(stderr, "GetApi(%u)\\n", (unsigned)number);
  return @OFFERED@;
}

static const OrtApiBase base = {get_api, version};

const OrtApiBase* OrtGetApiBase(void) {
  for (size_t i = 0; i < sizeof(OrtApi) / sizeof(void*); i++) table.functions[i] = succeed;
  table.api.GetBuildInfoString = build_info;
  return &base;
}
"""

# What every child begins with.
PROLOGUE = """
import dataclasses, json, os, sys
import ortx

def attempt(function, *arguments):
    try:
        return dataclasses.asdict(function(*arguments))
    except Exception as error:
        return {"classes": [each.__name__ for each in type(error).__mro__], "message": str(error)}

def load(*arguments):
    return attempt(ortx.load_library, *arguments)

def tell(answer):
    print(json.dumps(answer))

arguments = sys.argv[1:]
"""

NO_PACKAGE = 'sys.modules["onnxruntime"] = None\n'
NO_SYSTEM = 'ortx._core._SYSTEM_NAMES = ("libortx_test_has_no_such_library.so",)\n'

RUN_A_MODEL = """
import numpy
with ortx.session(arguments[0], intra_op_num_threads=1) as session:
    y = session.run({"x": numpy.array([[1, 2], [3, 4]], numpy.float32)})["y"].tolist()
"""


@dataclasses.dataclass(frozen=True)
class Answer:
    """What a child had to say."""

    told: Any
    stderr: str


@pytest.fixture
def ask(run_python) -> Callable[..., Answer]:
    """Run code in a fresh interpreter, where it calls `tell` with something that JSON can carry."""

    def ask(code: str, *arguments: object, **environment: object) -> Answer:
        done = run_python(PROLOGUE + code, *arguments, **environment)
        assert done.returncode == 0, done.stderr
        return Answer(json.loads(done.stdout), done.stderr)

    return ask


@pytest.fixture
def stub(compile_shared) -> Callable[..., Path]:
    """Build a library that says it is of some version, and offers its table or does not."""

    def stub(version: str, name: str = "stub", offers: bool = True) -> Path:
        offered = "&table.api" if offers else "NULL"
        return compile_shared(STUB.replace("@VERSION@", version).replace("@OFFERED@", offered), name)

    return stub


@pytest.fixture
def model_path(tmp_path: Path) -> Path:
    path = tmp_path / "square.onnx"
    path.write_bytes(models.square())
    return path


@pytest.fixture(scope="module")
def installed() -> None:
    """Skip where there is no ONNX Runtime to try things with."""
    if importlib.util.find_spec("onnxruntime") is None:
        pytest.skip("needs the package onnxruntime, not installed here")


def install(library: Path, folder: Path) -> Path:
    """Make a package onnxruntime that cannot be imported, with a library in it; return what to put on sys.path."""
    capi = folder / "site" / "onnxruntime" / "capi"
    capi.mkdir(parents=True)
    capi.with_name("__init__.py").write_text("raise AssertionError('the package was imported')\n")
    shutil.copy(library, capi / FILE_IN_PACKAGE)
    return folder / "site"


# --- nothing there


@pytest.mark.parametrize(
    "call",
    [
        "load()",
        "attempt(ortx.session_from_bytes, b'no model')",
        "attempt(ortx.run_options)",
    ],
)
def test_without_any_library_the_error_lists_every_place_and_says_what_to_install(ask, call):
    answer = ask(NO_PACKAGE + NO_SYSTEM + f"tell({call})")
    assert answer.told["classes"][0] == "LibraryNotFound"
    assert {"Error", "OSError", "FileNotFoundError"} <= set(answer.told["classes"])
    for words in (
        "pip install ortx[cpu]",
        "ortx.load_library(path)",
        "ORTX_LIBRARY: not set",
        "package onnxruntime: not installed",
        "libortx_test_has_no_such_library.so",
    ):
        assert words in answer.told["message"]
    assert answer.stderr == ""


@pytest.mark.parametrize(
    "package",
    [
        'sys.modules["onnxruntime"] = types.ModuleType("onnxruntime")',
        'sys.modules["onnxruntime"] = types.SimpleNamespace(__spec__=None)',
        "sys.meta_path.insert(0, Forbid)",
    ],
    ids=["module made by hand", "module without a spec", "import hook that forbids it"],
)
def test_a_package_that_cannot_be_found_in_the_usual_way_counts_as_none(ask, package):
    code = """
import types

class Forbid:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == "onnxruntime":
            raise ImportError("not in this house")
"""
    answer = ask(code + package + "\n" + NO_SYSTEM + "tell(load())")
    assert answer.told["classes"][0] == "LibraryNotFound"


# --- something there that cannot be used


@pytest.fixture(params=["argument", "environment"])
def load_named(request, ask) -> Callable[[object], Answer]:
    """Load a bad library that is named in one of the two ways; the message says in which."""

    def load_named(path: object) -> Answer:
        if request.param == "argument":
            answer = ask("tell(load(arguments[0]))", path)
        else:
            answer = ask("tell(load())", ORTX_LIBRARY=path)
        assert ORIGINS[request.param] in answer.told["message"]
        return answer

    return load_named


def test_a_path_that_does_not_exist_is_refused(load_named, tmp_path):
    answer = load_named(tmp_path / "missing.so")
    assert answer.told["classes"][0] == "NoSuchFile"
    assert "FileNotFoundError" in answer.told["classes"]
    assert str(tmp_path / "missing.so") in answer.told["message"]
    assert "does not exist" in answer.told["message"]


def test_a_folder_is_refused_and_called_one(load_named, tmp_path):
    answer = load_named(tmp_path)
    assert answer.told["classes"][0] == "NoSuchFile"
    assert str(tmp_path) in answer.told["message"]
    assert "folder" in answer.told["message"]


def test_a_file_that_is_no_library_is_refused_with_the_loaders_reason(load_named, tmp_path):
    file = tmp_path / "libonnxruntime.so"
    file.write_text("I am not a library.\n" * 100)
    answer = load_named(file)
    assert answer.told["classes"][0] == "LibraryError"
    assert "OSError" in answer.told["classes"]
    head, _, reason = answer.told["message"].rpartition("): ")
    assert str(file) in head
    assert len(reason) > 10
    assert answer.stderr == ""


def test_a_library_of_something_else_is_refused(load_named, compile_shared):
    file = compile_shared("int answer(void) { return 42; }", "something_else")
    answer = load_named(file)
    assert answer.told["classes"][0] == "LibraryError"
    assert str(file) in answer.told["message"]
    assert "does not export OrtGetApiBase" in answer.told["message"]


@pytest.mark.parametrize("version", ["1.19.2", "1.9.0", "0.5.0"])
def test_a_library_that_is_too_old_is_refused_with_both_versions(ask, stub, version):
    file = stub(version)
    answer = ask("tell(load(arguments[0]))", file)
    assert answer.told["classes"][0] == "LibraryTooOld"
    assert {"LibraryError", "NotSupported", "NotImplementedError"} <= set(answer.told["classes"])
    for words in (str(file), version, "1.20", "upgrade"):
        assert words in answer.told["message"]
    assert answer.stderr == "", "GetApi was asked, which prints for a version it does not know"


@pytest.mark.parametrize("version", ["", "banana", "1", "1.x", "v1.31.1", r"\377\376"])
def test_a_version_that_makes_no_sense_is_refused(ask, stub, version):
    answer = ask("tell(load(arguments[0]))", stub(version))
    assert answer.told["classes"][0] == "LibraryError"
    assert "version" in answer.told["message"]
    assert answer.stderr == ""


@pytest.mark.parametrize("version", ["2.0.0", "10.31.1"])
def test_another_major_version_is_refused(ask, stub, version):
    answer = ask("tell(load(arguments[0]))", stub(version))
    assert answer.told["classes"][0] == "LibraryError"
    assert f"version {version}" in answer.told["message"]
    assert answer.stderr == ""


def test_a_library_that_does_not_offer_its_table_is_refused(ask, stub):
    file = stub("1.99.0", offers=False)
    answer = ask("tell(load(arguments[0]))", file)
    assert answer.told["classes"][0] == "LibraryError"
    for words in (str(file), "1.99.0", "29"):
        assert words in answer.told["message"]
    assert answer.stderr == "GetApi(29)\n"


@pytest.mark.parametrize("kind", ["no library", "too old"])
def test_a_bad_library_in_the_installed_package_is_an_error_and_not_passed_over(ask, stub, tmp_path, kind):
    if kind == "no library":
        file = tmp_path / "text"
        file.write_text("I am not a library.\n")
    else:
        file = stub("1.19.2", "old")
    system = tmp_path / "system"
    system.mkdir()
    shutil.copy(stub("1.24.0", "good"), system / SYSTEM_NAME)
    environment = {LOADER_PATH: system, "PYTHONPATH": install(file, tmp_path)}
    answer = ask("tell(load())", **environment)
    assert answer.told["classes"][0] == ("LibraryError" if kind == "no library" else "LibraryTooOld")
    assert ORIGINS["package"] in answer.told["message"]
    assert FILE_IN_PACKAGE in answer.told["message"]


def test_after_a_refusal_another_library_can_be_loaded(ask, stub, tmp_path):
    code = "tell([load(path) for path in arguments])"
    missing, old, refusing, good = (
        tmp_path / "missing.so",
        stub("1.19.2", "old"),
        stub("1.99.0", "refusing", offers=False),
        stub("1.23.2", "good"),
    )
    first, second, third, fourth = ask(code, missing, old, refusing, good).told
    assert [each["classes"][0] for each in (first, second, third)] == ["NoSuchFile", "LibraryTooOld", "LibraryError"]
    assert fourth["version"] == "1.23.2"


# --- which version of the interface is used


@pytest.mark.parametrize(
    ("version", "api_version"),
    [("1.20.0", 20), ("1.23.2", 23), ("1.24.0-dev+abc", 24), ("1.29.0", 29), ("1.30.0", 29), ("1.99.0", 29)],
)
def test_the_newest_interface_that_both_know_is_asked_for_once(ask, stub, version, api_version):
    file = stub(version)
    answer = ask("tell([load(arguments[0]), load(arguments[0])])", file)
    assert answer.told[0] == {
        "path": str(file),
        "origin": ORIGINS["argument"],
        "version": version,
        "api_version": api_version,
        "build_info": "a stub",
    }
    assert answer.told[1] == answer.told[0]
    assert answer.stderr == f"GetApi({api_version})\n"


@pytest.mark.parametrize(("version", "api_version"), [("1.20.1", 20), ("1.31.1", 29)])
def test_the_oldest_and_the_newest_version_run_a_model(ask, runtime_wheel, model_path, version, api_version):
    file = runtime_wheel(version)
    answer = ask(RUN_A_MODEL + "tell([y, load()])", model_path, ORTX_LIBRARY=file)
    y, info = answer.told
    assert y == [[1, 4], [9, 16]]
    assert info["path"] == str(file)
    assert info["origin"] == ORIGINS["environment"]
    assert (info["version"], info["api_version"]) == (version, api_version)
    assert info["build_info"].startswith("ORT Build Info")
    assert answer.stderr == ""


# --- which one of several


@pytest.mark.parametrize("best", range(4), ids=ORIGINS)
def test_argument_before_environment_before_package_before_system(ask, stub, tmp_path, best):
    versions = dict(zip(ORIGINS, ("1.21.0", "1.22.0", "1.23.0", "1.24.0"), strict=True))
    system = tmp_path / "system"
    system.mkdir()
    shutil.copy(stub(versions["system"], "system"), system / SYSTEM_NAME)
    ways = {
        "environment": {"ORTX_LIBRARY": stub(versions["environment"], "environment")},
        "package": {"PYTHONPATH": install(stub(versions["package"], "package"), tmp_path)},
        "system": {LOADER_PATH: system},
    }
    code, arguments, environment = "", [], {}
    for kind in list(ORIGINS)[best:]:
        if kind == "argument":
            arguments.append(stub(versions["argument"], "argument"))
        else:
            environment.update(ways[kind])
    if "PYTHONPATH" not in environment:
        code = NO_PACKAGE  # the real one, if it is installed
    answer = ask(code + "tell(load(*arguments))", *arguments, **environment)
    winner = list(ORIGINS)[best]
    assert (answer.told["origin"], answer.told["version"]) == (ORIGINS[winner], versions[winner])


def test_a_package_without_a_library_is_passed_over(ask, stub, tmp_path):
    site = install(stub("1.23.0", "package"), tmp_path)
    (site / "onnxruntime" / "capi" / FILE_IN_PACKAGE).unlink()
    system = tmp_path / "system"
    system.mkdir()
    shutil.copy(stub("1.24.0", "system"), system / SYSTEM_NAME)
    answer = ask("tell(load())", **{"PYTHONPATH": site, LOADER_PATH: system})
    assert answer.told["origin"] == ORIGINS["system"]
    assert answer.told["path"] == SYSTEM_NAME


def test_an_empty_environment_variable_counts_as_unset(ask, stub, tmp_path):
    site = install(stub("1.23.0", "package"), tmp_path)
    answer = ask("tell(load())", ORTX_LIBRARY="", PYTHONPATH=site)
    assert answer.told["origin"] == ORIGINS["package"]


def test_the_installed_package_is_found_without_being_imported(ask, installed, model_path):
    code = RUN_A_MODEL + 'tell([y, load(), [name for name in sys.modules if name.startswith("onnxruntime")]])'
    y, info, modules = ask(code, model_path).told
    assert y == [[1, 4], [9, 16]]
    assert info["origin"] == ORIGINS["package"]
    assert Path(info["path"]).parent.name == "capi"
    assert modules == []


@pytest.mark.parametrize("named_by", ["argument", "environment"])
def test_a_bare_file_name_is_a_file_in_the_current_folder(ask, stub, named_by):
    file = stub("1.22.0")
    name_it = "os.environ['ORTX_LIBRARY'] = name; names = []" if named_by == "environment" else "names = [name]"
    code = f"folder, name = os.path.split(arguments[0]); os.chdir(folder); {name_it}; tell(load(*names))"
    assert Path(ask(code, file).told["path"]).samefile(file)


# --- loading again


def test_loading_twice_gives_the_same_answer(ask, stub):
    code = """
first = ortx.load_library(arguments[0])
tell([ortx.load_library(*again) is first for again in ((), (arguments[0],))])
"""
    assert ask(code, stub("1.22.0")).told == [True, True]


@pytest.mark.parametrize("other_path", ["link", "relative", "dots"])
def test_the_same_file_by_another_path_is_no_other_library(ask, stub, tmp_path, other_path):
    file = stub("1.22.0")
    other: object = tmp_path / "somewhere" / ".." / file.name
    if other_path == "link":
        other = tmp_path / "link.so"
        os.symlink(file, other)
    elif other_path == "relative":
        other = os.path.relpath(file)
    else:
        (tmp_path / "somewhere").mkdir()
    first, second = ask("tell([load(path) for path in arguments])", file, other).told
    assert second == first


@pytest.mark.parametrize("other", ["library", "missing file", "text file"])
def test_another_library_after_loading_is_refused_and_changes_nothing(ask, stub, tmp_path, other):
    loaded = stub("1.22.0", "loaded")
    path = tmp_path / "other.so"
    if other == "library":
        path = stub("1.23.0", "other")
    elif other == "text file":
        path.write_text("I am not a library.\n")
    answer = ask("tell([load(path) for path in arguments] + [load()])", loaded, path)
    before, refused, after = answer.told
    assert refused["classes"][0] == "Error"
    for words in (str(path), str(loaded), "already", ORIGINS["argument"]):
        assert words in refused["message"]
    assert after == before
    assert answer.stderr == "GetApi(22)\n"


def test_after_the_first_session_the_library_stays(ask, installed, stub, model_path):
    code = RUN_A_MODEL + "tell([load(), load(arguments[1]), load()])"
    before, refused, after = ask(code, model_path, stub("1.22.0")).told
    assert refused["classes"][0] == "Error"
    assert after == before
    assert after["origin"] == ORIGINS["package"]


def test_threads_that_load_at_the_same_time_get_the_same_library(ask, stub):
    code = """
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

barrier = Barrier(8)

def load_with_the_others(_):
    barrier.wait()
    return ortx.load_library(arguments[0])

with ThreadPoolExecutor(8) as pool:
    infos = list(pool.map(load_with_the_others, range(8)))
tell([info is infos[0] for info in infos])
"""
    answer = ask(code, stub("1.22.0"))
    assert answer.told == [True] * 8
    assert answer.stderr == "GetApi(22)\n"


# --- the argument


@pytest.mark.parametrize("path", [3, 1.5, b"libonnxruntime.so", ["libonnxruntime.so"], object()], ids=repr)
def test_what_is_no_path_is_refused_with_its_type(path):
    with pytest.raises(ortx.InvalidType, match=f"load_library: path: got {type(path).__name__}; expected a path"):
        ortx.load_library(path)


@pytest.mark.parametrize("path", ["", "a\0b"])
def test_a_path_that_cannot_exist_is_refused(path):
    with pytest.raises(ortx.InvalidArgument, match="load_library: path: "):
        ortx.load_library(path)


def test_a_path_object_is_as_good_as_a_str(ask, stub):
    code = "import pathlib; tell(load(pathlib.Path(arguments[0])))"
    assert ask(code, stub("1.22.0")).told["version"] == "1.22.0"


def test_the_answer_cannot_be_changed():
    info = libraryinfo.LibraryInfo("path", "origin", "1.31.1", 29, "build")
    with pytest.raises(dataclasses.FrozenInstanceError):
        info.version = "1.20.0"  # type: ignore[misc]


# --- what does not happen


def test_import_loads_no_native_code_of_onnx_runtime(ask, installed):
    if not Path("/proc/self/maps").exists():
        pytest.skip("needs /proc/self/maps, which only Linux has")
    code = """
def mapped():
    with open("/proc/self/maps") as maps:
        return sorted({os.path.basename(line.rstrip()) for line in maps if "libonnxruntime" in line})

before = mapped()
ortx.load_library()
tell([before, mapped(), "onnxruntime" in sys.modules])
"""
    before, after, imported = ask(code).told
    assert before == []
    assert len(after) == 1
    assert not imported


ENVIRONMENT = """
import ctypes

getenv = ctypes.CDLL("ucrtbase" if sys.platform == "win32" else None).getenv
getenv.restype = ctypes.c_char_p

def telemetry_variable():
    seen_from_c = getenv(b"ORT_DISABLE_TELEMETRY")
    return [os.environ.get("ORT_DISABLE_TELEMETRY"), seen_from_c and seen_from_c.decode()]
"""


@pytest.mark.parametrize("users_own", [None, "0", "1"])
def test_loading_switches_telemetry_off_before_the_first_environment(ask, stub, users_own):
    code = ENVIRONMENT + "before = telemetry_variable(); load(arguments[0]); tell([before, telemetry_variable()])"
    before, after = ask(code, stub("1.31.1"), ORT_DISABLE_TELEMETRY=users_own).told
    assert before == [users_own, users_own]
    assert after == ["1", "1"]


@pytest.mark.parametrize("users_own", [None, "1"])
def test_telemetry_that_was_asked_for_is_left_to_the_environment(ask, stub, users_own):
    code = ENVIRONMENT + "ortx.configure(telemetry=True); load(arguments[0]); tell(telemetry_variable())"
    answer = ask(code, stub("1.31.1"), ORT_DISABLE_TELEMETRY=users_own)
    assert answer.told == [users_own, users_own]


def test_telemetry_can_be_asked_for_after_a_library_was_refused(ask, stub):
    code = (
        ENVIRONMENT
        + """
refused = load(arguments[0])
ortx.configure(telemetry=True)
load(arguments[1])
tell([refused["classes"][0], telemetry_variable()])
"""
    )
    assert ask(code, stub("1.19.2", "old"), stub("1.31.1", "good")).told == ["LibraryTooOld", [None, None]]


def test_telemetry_cannot_be_asked_for_when_it_is_too_late(ask, stub):
    code = "load(arguments[0]); tell(attempt(lambda: ortx.configure(telemetry=True)))"
    answer = ask(code, stub("1.31.1"))
    assert answer.told["classes"][0] == "Error"
    assert "telemetry" in answer.told["message"]


def test_a_session_leaves_no_file_and_no_thread_behind(ask, installed, model_path, tmp_path):
    if not Path("/proc/self/task").exists():
        pytest.skip("needs /proc/self/task, which only Linux has")
    home = tmp_path / "home"
    home.mkdir()
    code = """
import numpy
threads = lambda: len(os.listdir("/proc/self/task"))
before = threads()
session = ortx.session(arguments[0], intra_op_num_threads=1)
session.run({"x": numpy.ones((1, 2), numpy.float32)})
during = threads()
session.close()
tell([before, during, threads()])
"""
    nowhere = dict.fromkeys(("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME"))
    answer = ask(code, model_path, HOME=home, **nowhere)
    before, during, after = answer.told
    assert (during, after) == (before, before)
    assert list(home.rglob("*")) == []
    assert answer.stderr == ""
