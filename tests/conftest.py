"""For every test: the leak check, a C compiler, other versions of ONNX Runtime, a fresh process, hypothesis."""

from __future__ import annotations

import gc
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest

import ortx
from ortx import _core

PACKAGE_FOLDER = Path(ortx.__file__).parents[1]
WHEEL_CACHE = Path(__file__).parents[1] / "build" / "wheels"
SHARED_LIBRARY_SUFFIX = {"win32": ".dll", "darwin": ".dylib"}.get(sys.platform, ".so")

# What is taken out of a wheel: the library itself and the one it loads for shared providers.
LIBRARY_IN_WHEEL = re.compile(
    r"onnxruntime/capi/(?P<name>(?:lib)?onnxruntime(?P<shared>_providers_shared)?"
    r"(?:\.so(?:\.\d+)*|(?:\.\d+)*\.dylib|\.dll))"
)

TEST_FAILED = pytest.StashKey[bool]()  # of a test: its body raised
LITTER = pytest.StashKey[bool]()  # of the whole run: a failed test may have left something to collect

# How fast examples are made and run says more of what else the machine does than of ortx.
hypothesis.settings.register_profile("ortx", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("ortx")


# --- the leak check


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    report = yield
    if call.when == "call":
        item.stash[TEST_FAILED] = call.excinfo is not None
    return report


@pytest.fixture(autouse=True)
def _every_test_ends_with_the_live_handle_count_it_began_with(
    request: pytest.FixtureRequest,
) -> Iterator[None]:
    if request.config.stash.get(LITTER, False):
        for name in ("last_exc", "last_type", "last_value", "last_traceback"):
            vars(sys).pop(name, None)
        gc.collect()
        request.config.stash[LITTER] = False
    before = _core._live_handles()
    if any(count for kind, count in before.items() if kind != "session"):
        # Nobody keeps those from test to test: it is garbage, which would go whenever the collector comes by.
        gc.collect()
        before = _core._live_handles()
    yield
    if request.node.stash.get(TEST_FAILED, False):
        # The traceback still refers to everything that the test had in its hands.
        request.config.stash[LITTER] = True
        return
    after = _core._live_handles()
    if after != before:  # collecting costs some 20 ms, so only where there may be something to collect
        request.node.funcargs.clear()  # pytest keeps the values of fixtures until the next test
        gc.collect()
        after = _core._live_handles()
    assert after == before, "the test left native handles behind (or released some of others)"


# --- a C compiler


@pytest.fixture(scope="session")
def c_compiler() -> list[str]:
    """Return the command of a C compiler that takes gcc's options, as a list of words."""
    if sys.platform == "win32":
        pytest.skip("needs a C compiler driver with gcc's options, which Windows does not have")
    for command in (os.environ.get("CC"), sysconfig.get_config_var("CC"), "cc", "gcc", "clang"):
        words = shlex.split(command or "")
        if words and shutil.which(words[0]):
            return words
    pytest.skip("needs a C compiler: none of $CC, Python's own, cc, gcc, clang is here")


@pytest.fixture
def compile_shared(c_compiler: list[str], tmp_path: Path) -> Callable[..., Path]:
    """Build a shared library from C source, which may include ortx_capi.h."""

    def compile_shared(source: str, name: str) -> Path:
        file, library = tmp_path / f"{name}.c", tmp_path / f"{name}{SHARED_LIBRARY_SUFFIX}"
        file.write_text(source)
        done = subprocess.run(
            [
                *c_compiler,
                "-shared",
                "-fPIC",
                "-O0",
                "-w",
                "-I",
                ortx.get_include(),
                "-o",
                library,
                file,
            ],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return library

    return compile_shared


# --- other versions of ONNX Runtime


@pytest.fixture(scope="session")
def runtime_wheel() -> Callable[[str], Path]:
    """Return the shared library of a version of ONNX Runtime, downloaded once and kept."""
    reasons: dict[str, str] = {}

    def runtime_wheel(version: str) -> Path:
        folder = WHEEL_CACHE / f"onnxruntime-{version}-{sysconfig.get_platform()}"
        if not folder.is_dir() and version not in reasons:
            reasons[version] = download_runtime(version, folder)
        if reasons.get(version):
            pytest.skip(reasons[version])
        (library,) = [
            file
            for file in folder.iterdir()
            if (match := LIBRARY_IN_WHEEL.fullmatch(f"onnxruntime/capi/{file.name}")) and not match["shared"]
        ]
        return library

    return runtime_wheel


def download_runtime(version: str, folder: Path) -> str:
    """Put the libraries of a wheel into `folder`; return why that did not work, else an empty text."""
    WHEEL_CACHE.mkdir(parents=True, exist_ok=True)
    # Another run may do the same now: each has a folder of its own, and the first to rename it wins.
    with tempfile.TemporaryDirectory(dir=WHEEL_CACHE, ignore_cleanup_errors=True) as work:
        command = [sys.executable, "-m", "pip", "download", f"onnxruntime=={version}", "--no-deps"]
        # Only the library inside is used, so any Python will do, and all versions have wheels for 3.12.
        command += [
            "--only-binary=:all:",
            "--implementation=cp",
            "--python-version=3.12",
            "--abi=cp312",
        ]
        command += [
            "--quiet",
            "--disable-pip-version-check",
            "--retries=1",
            "--timeout=15",
            "--dest",
            work,
        ]
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        wheels = list(Path(work).glob("*.whl"))
        if done.returncode != 0 or not wheels:
            (*_, reason) = ["pip said nothing", *done.stderr.strip().splitlines()]
            return f"needs the wheel of onnxruntime {version}, which pip cannot download: {reason}"
        unpacked = Path(work, "unpacked")
        unpacked.mkdir()
        with zipfile.ZipFile(wheels[0]) as wheel:
            for member in wheel.namelist():
                if match := LIBRARY_IN_WHEEL.fullmatch(member):
                    Path(unpacked, match["name"]).write_bytes(wheel.read(member))
        try:
            unpacked.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise
    return ""


# --- a fresh interpreter


@pytest.fixture(scope="session")
def run_python() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run code in an interpreter of its own: `run_python(code, *arguments, NAME="value")`.

    Its environment has nothing that steers ortx or ONNX Runtime but what is given as keywords; None
    removes a variable. Warnings are errors. `PYTHONPATH`, if given, comes before the folder of ortx.
    """

    def run_python(code: str, *arguments: object, **environment: object) -> subprocess.CompletedProcess[str]:
        variables = {
            name: value for name, value in os.environ.items() if not name.startswith(("ORT_", "ORTX_", "PYTHON"))
        }
        paths = [environment.pop("PYTHONPATH", None), PACKAGE_FOLDER, os.environ.get("PYTHONPATH")]
        variables["PYTHONPATH"] = os.pathsep.join(str(path) for path in paths if path)
        for name, value in environment.items():
            variables.pop(name, None)
            if value is not None:
                variables[name] = str(value)
        return subprocess.run(
            [sys.executable, "-W", "error", "-c", code, *map(str, arguments)],
            capture_output=True,
            text=True,
            encoding="utf-8",
            env=variables | {"PYTHONIOENCODING": "utf-8"},
            timeout=120,
            stdin=subprocess.DEVNULL,
        )

    return run_python
