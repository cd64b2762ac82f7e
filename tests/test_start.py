"""The first session of a process: what is imported when, and on which thread."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import models
import pytest

# What `import ortx` needs is there already; of each other module of ours: the thread that imported it.
WATCH = """
import json, sys, threading

class Watch:
    threads = {}

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name.startswith("ortx."):
            cls.threads.setdefault(name.removeprefix("ortx."), threading.get_ident())

import ortx
sys.meta_path.insert(0, Watch)
main = threading.get_ident()

def tell():
    print(json.dumps({name: "main" if thread == main else "other" for name, thread in Watch.threads.items()}))
"""

MEANWHILE = {"cpus", "externalfiles", "hazards", "modelfile", "operators", "providers", "valueinfo"}


@pytest.fixture
def start(run_python: Callable[..., Any], tmp_path: Path) -> Callable[[str], dict[str, str]]:
    """Run code in a fresh process; return which thread imported what."""
    (tmp_path / "square.onnx").write_bytes(models.square())

    def start(code: str, before: str = "") -> dict[str, str]:
        done = run_python(before + WATCH + code + "\ntell()", tmp_path / "square.onnx")
        assert (done.returncode, done.stderr) == (0, "")
        answer: dict[str, str] = json.loads(done.stdout)
        return answer

    return start


OPEN_AND_RUN = """
session = ortx.session(sys.argv[1], intra_op_num_threads=1)
assert session.run([[[2, 3]]])["y"].tolist() == [[4, 9]]
"""


def test_what_a_session_needs_is_imported_while_the_environment_is_made(start):
    threads = start(OPEN_AND_RUN)
    assert {name for name, thread in threads.items() if thread == "other"} >= MEANWHILE
    assert threads["options"] == threads["library"] == "main"  # before: they say what environment it is to be


def test_where_no_thread_can_be_started_it_is_imported_when_it_is_needed(start):
    refuse = """
import _thread

def refused(*arguments):
    raise RuntimeError("can't start new thread")

_thread.start_new_thread = refused
"""
    threads = start(OPEN_AND_RUN, before=refuse)
    assert set(threads.values()) == {"main"}
    assert threads.keys() >= MEANWHILE


def test_a_failure_to_import_is_told_by_who_needs_the_module(start):
    threads = start(
        """
real = sys.meta_path[:]

class Broken:
    broken = True

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name == "ortx.valueinfo" and cls.broken:
            raise ImportError("the disk is gone")

sys.meta_path.insert(0, Broken)
try:
    ortx.session(sys.argv[1])
except ImportError as error:
    assert "the disk is gone" in str(error)
else:
    raise AssertionError("nothing was told")
Broken.broken = False
"""
        + OPEN_AND_RUN
    )
    assert threads["valueinfo"] == "main"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork, which Windows does not have")
def test_a_thread_that_forks_during_the_first_opening_has_a_child_that_can_import_and_open(run_python, tmp_path):
    (tmp_path / "square.onnx").write_bytes(models.square())
    done = run_python(
        """
import os, sys, threading, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # that there are threads is the point
import ortx
opening = threading.Thread(target=ortx.session, args=(sys.argv[1],))
opening.start()
child = os.fork()
if child == 0:
    os._exit(0 if ortx.session(sys.argv[1]).run([[[2, 3]]])["y"].tolist() == [[4, 9]] else 1)
opening.join()
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
""",
        tmp_path / "square.onnx",
    )
    assert (done.returncode, done.stderr) == (0, "")
