"""What watches memory (`tools/memcheck.py`): it looks at what it should, says why it passes something over, and finds.

To build with sanitizers takes minutes, so the tests that need such a build use the one that ``make sanitize`` has left.
"""

from __future__ import annotations

import importlib
import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

if not (ROOT / "tools").is_dir():
    pytest.skip("needs the source tree: tools/ is not here", allow_module_level=True)

with pytest.MonkeyPatch.context() as patch:
    patch.syspath_prepend(str(ROOT))
    memcheck = importlib.import_module("tools.memcheck")

SUPPRESSIONS = sorted(Path(__file__).parent.glob("*.supp"))


# --- what is passed over


@pytest.mark.parametrize("file", SUPPRESSIONS, ids=lambda file: file.name)
def test_each_suppression_has_its_reason_above_it(file):
    text = re.sub(r"^\{.*?^\}", "{}", file.read_text(), flags=re.DOTALL | re.MULTILINE)
    blocks = [block for block in text.split("\n\n")[1:] if not all(line.startswith("#") for line in block.splitlines())]
    for block in blocks:
        assert block.startswith("# "), f"{file.name}: no reason for {block!r}"
    entries = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert len(blocks) == len(entries), f"{file.name}: a reason for each"


@pytest.mark.parametrize("file", SUPPRESSIONS, ids=lambda file: file.name)
def test_no_suppression_names_ortx(file):
    entries = [line for line in file.read_text().splitlines() if not line.startswith("#")]
    assert not [line for line in entries if "ortx" in line or ("_core" in line and "_dl_" not in line)]


def test_the_files_of_suppressions_are_those_that_are_used():
    assert {file.name for file in SUPPRESSIONS} == {
        "asan.supp",
        "lsan.supp",
        "tsan.supp",
        "ubsan.supp",
        "valgrind.supp",
    }
    text = Path(memcheck.__file__).read_text()
    assert all(name in text for name in ("asan.supp", "lsan.supp", "ubsan.supp", "valgrind.supp"))


def test_what_is_left_out_exists_and_has_a_reason():
    for name, reason in memcheck.NOT_SANITIZED.items():
        assert (ROOT / "tests" / name).is_file()
        assert reason
    for name, reason in memcheck.DESELECTED.items():
        file, _, function = name.partition("::")
        assert f"def {function.partition('[')[0]}(" in (ROOT / "tests" / file).read_text(encoding="utf-8")
        assert reason


def test_of_what_is_left_out_every_single_case_exists():
    cases = [f"tests/{name}" for name in memcheck.DESELECTED if "[" in name]
    command = [sys.executable, "-m", "pytest", "--collect-only", "--quiet", "-p", "no:cacheprovider", *cases]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert set(cases) <= set(done.stdout.splitlines())


# --- valgrind's errors

ERROR = """
<valgrindoutput><error><kind>InvalidRead</kind><what>Invalid read of size 8</what><stack>
  <frame><obj>/lib/libc.so.6</obj><fn>memcpy</fn></frame>
  <frame><obj>{obj}</obj><fn>fits</fn><file>admit.pxi</file><line>7</line></frame>
</stack></error></valgrindoutput>
"""


@pytest.mark.parametrize(
    ("obj", "ours"),
    [
        ("/site-packages/ortx/_core.cpython-313-x86_64-linux-gnu.so", True),
        ("/ortx/_core.abi3.so", True),
        ("/site-packages/numpy/_core/_multiarray_umath.so", False),
        ("/lib/libonnxruntime.so.1.31.1", False),
    ],
)
def test_an_error_is_ours_if_the_compiled_module_is_on_its_stack(obj, ours):
    (error,) = ElementTree.fromstring(ERROR.format(obj=obj)).findall("error")
    assert memcheck.is_ours(error) is ours
    assert memcheck.described(error).splitlines()[0] == "Invalid read of size 8"
    assert "    fits (admit.pxi:7)" in memcheck.described(error)
    error.find("kind").text = "Leak_PossiblyLost"
    assert not memcheck.is_ours(error)


@pytest.mark.skipif("ORTX_VALGRIND" not in os.environ, reason="needs ORTX_VALGRIND=1, since it takes minutes")
@pytest.mark.skipif(shutil.which("valgrind") is None, reason="needs valgrind, not installed here")
def test_valgrind_finds_nothing_in_a_short_session_and_a_mistake_in_a_wrong_one(tmp_path, capfd):
    assert memcheck.run_valgrind() == 0
    wrong = tmp_path / "wrong.py"
    # A pointer to memory that is not there, which ortx hands on to numpy and ONNX Runtime.
    wrong.write_text(WRONG_POINTER)
    assert memcheck.run_valgrind(wrong) == 1
    assert "Invalid read" in capfd.readouterr().out


WRONG_POINTER = """
import ctypes, numpy as np, ortx
from ortx import modelwriter
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
block = libc.malloc(4096)
array = np.frombuffer((ctypes.c_float * 1024).from_address(block), np.float32)
session = ortx.session_from_bytes(modelwriter.concatenation_model(1), intra_op_num_threads=1)
session.run([[array, array]])
libc.free(block)
session.run([[array, array]])
"""

# --- sanitizers

with_sanitized_build = pytest.mark.skipif(
    not [*(memcheck.SANITIZED / "ortx").glob("_core.*.so")], reason="needs the build that `make sanitize` leaves"
)
SESSION = """
import ctypes, gc, numpy as np, ortx
from ortx import modelwriter
session = ortx.session_from_bytes(modelwriter.concatenation_model(1), intra_op_num_threads=1)
session.run([[np.ones(2, np.float32)]])
"""
# Takes memory that is lent over, and never gives it back. (A Python object that is never released is no leak for LSan:
# the collector has it in its lists. The tests count the live handles for that.)
LEAK = f"""{SESSION}
session.close()
del session
rename = ctypes.pythonapi.PyCapsule_SetName
rename.argtypes = ctypes.py_object, ctypes.c_char_p
for _ in range(3):
    capsule = ortx.tensor(np.ones(2, np.float32)).__dlpack__()
    rename(capsule, b"used_dltensor")
    del capsule
"""


@with_sanitized_build
def test_memory_that_is_never_given_back_is_a_leak(tmp_path, capfd):
    (tmp_path / "sound.py").write_text(f"{SESSION}session.close()\ndel session\n")
    assert memcheck.run_leaks(tmp_path / "sound.py") == 0
    (tmp_path / "leak.py").write_text(LEAK)
    assert memcheck.run_leaks(tmp_path / "leak.py") == 1
    said = capfd.readouterr().out
    assert "LeakSanitizer" in said
    assert "__pyx_f_4ortx_5_core_lend" in said


@with_sanitized_build
def test_a_read_of_freed_memory_is_reported(tmp_path, capfd):
    (tmp_path / "wrong.py").write_text(WRONG_POINTER)
    assert memcheck.run_leaks(tmp_path / "wrong.py") == 1
    assert "heap-use-after-free" in capfd.readouterr().out
