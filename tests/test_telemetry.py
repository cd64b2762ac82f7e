"""Telemetry and the network: none, unless `ortx.configure(telemetry=True)` says so. Each in a process of its own."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import models
import pytest

import ortx

# Where one of these is set, ONNX Runtime is on a machine of a CI service, as it thinks, and has no telemetry anyway.
CI_VARIABLES = (
    *("CI", "TF_BUILD", "GITHUB_ACTIONS", "GITLAB_CI", "CIRCLECI", "TRAVIS", "JENKINS_URL", "CODEBUILD_BUILD_ID"),
    *("BUILDKITE", "TEAMCITY_VERSION", "APPVEYOR", "BITBUCKET_BUILD_NUMBER"),
)

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="needs /proc/self, to see threads and sockets, which only Linux has"
)

# What a process is seen to have and to do: its threads, sockets and open files, and through Python's audit hook also
# what Python itself is asked for.
WATCH = """
import json, os, sys, time
events = []

def note(event, arguments):
    if event.startswith(("socket.", "urllib.", "http.")):
        events.append(event)

sys.addaudithook(note)

def targets():
    "Return what the process has open, but for what it was given."
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            found.append(os.readlink(f"/proc/self/fd/{name}"))
        except FileNotFoundError:  # the listing's own
            continue
    return found

def state():
    return {
        "threads": len(os.listdir("/proc/self/task")),
        "sockets": [target for target in targets() if target.startswith("socket:")],
        "files in HOME": [target for target in targets() if os.environ["HOME"] in target],
        "variable": os.environ.get("ORT_DISABLE_TELEMETRY"),
    }

def tell(*answers):
    print(json.dumps([*answers, events]))

import numpy as np
x, path = np.ones((1, 2), np.float32), sys.argv[1]
"""

WHOLE_LIFE = """
import ortx
{configure}
states = [state()]
session = ortx.session(path, intra_op_num_threads=1)
states.append(state())
for _ in range(100):
    session.run([x])
try:
    ortx.session_from_bytes(b"no model")
except ortx.Error:
    pass
until = time.monotonic() + 5  # a thread that hands over what ONNX Runtime said of the model is gone in a moment
while len(os.listdir("/proc/self/task")) > states[1]["threads"] and time.monotonic() < until:
    time.sleep(0.001)
states.append(state())
session.close()
time.sleep({wait})  # for what happens in the background
states.append(state())
tell(*states)
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


@pytest.fixture
def live(run_python: Callable[..., Any], tmp_path: Path, home: Path) -> Callable[..., Any]:
    """Run code in a process whose HOME is empty, and return what it tells."""
    (tmp_path / "square.onnx").write_bytes(models.square())
    nowhere = dict.fromkeys(("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", *CI_VARIABLES))

    def live(code: str, **variables: object) -> Any:
        done = run_python(WATCH + code, tmp_path / "square.onnx", HOME=home, **(nowhere | variables))
        assert (done.returncode, done.stderr) == (0, "")
        return json.loads(done.stdout)

    return live


@pytest.mark.parametrize("configure", ["", "ortx.configure(telemetry=False)"])
@pytest.mark.parametrize("users_own", [None, "0"])
def test_by_default_there_is_no_file_no_socket_no_thread(live, home, configure, users_own):
    *states, events = live(WHOLE_LIFE.format(configure=configure, wait=0.5), ORT_DISABLE_TELEMETRY=users_own)
    assert [state["threads"] for state in states] == [states[0]["threads"]] * 4
    assert [state["sockets"] + state["files in HOME"] for state in states] == [[]] * 4
    assert [state["variable"] for state in states] == [users_own, "1", "1", "1"]
    assert events == []
    assert list(home.rglob("*")) == []


def test_importing_and_asking_leaves_the_environment_as_it_was(live, home):
    states = live("import ortx; ortx.configure(log_severity_level=3); from ortx import Batcher; tell(state())")
    assert states[0]["variable"] is None
    assert list(home.rglob("*")) == []


@pytest.mark.skipif(
    tuple(int(part) for part in ortx.load_library().version.split(".")[:2]) < (1, 29),
    reason="needs ONNX Runtime 1.29 or newer: before, it has no telemetry on Linux",
)
def test_telemetry_that_is_asked_for_is_on(live, home):
    # Its files and its thread say so. What it would send stays here where there is no network, and is ORT's business.
    *states, events = live(WHOLE_LIFE.format(configure="ortx.configure(telemetry=True)", wait=0))
    before, opened, *_ = states
    assert opened["variable"] is None
    assert opened["threads"] == before["threads"] + 1
    assert opened["files in HOME"]
    assert [file for file in home.rglob("*") if file.is_file()]
    assert events == []


# --- somebody else was there before

needs_official = pytest.mark.skipif(
    importlib.util.find_spec("onnxruntime") is None, reason="needs the package onnxruntime, not installed here"
)


@needs_official
def test_a_library_that_somebody_else_has_loaded_already_is_silenced_as_well(live, home):
    *states, _ = live("""
import ctypes, ortx
for candidate in ortx._core.candidates(None):
    library = ctypes.CDLL(candidate.path)
    break
states = [state()]
session = ortx.session(path, intra_op_num_threads=1)
session.run([x])
tell(*states, state())
""")
    before, after = states
    assert (after["threads"], after["sockets"]) == (before["threads"], [])
    assert list(home.rglob("*")) == []


@needs_official
def test_the_official_package_imported_afterwards_is_silenced_too(live, home):
    *states, _ = live("""
import ortx
session = ortx.session(path, intra_op_num_threads=1)
states = [state()]
import onnxruntime
tell(*states, state())
""")
    before, after = states
    assert (after["threads"], after["sockets"]) == (before["threads"], [])
    assert list(home.rglob("*")) == []


@needs_official
def test_what_the_official_package_did_before_is_its_own_and_ortx_adds_nothing(live):
    *states, _ = live("""
import onnxruntime
states = [state()]
import ortx
session = ortx.session(path, intra_op_num_threads=1)
session.run([x])
tell(*states, state())
""")
    before, after = states
    assert after["threads"] == before["threads"]
    assert sorted(after["files in HOME"]) == sorted(before["files in HOME"])
    assert (before["variable"], after["variable"]) == (None, "1")
