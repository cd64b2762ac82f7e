"""What looks at the sources without running them: linters, the Cython compiler's warnings, types, stubs."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CYTHON_FILES = [str(path) for path in sorted(ROOT.glob("ortx/*.pxd")) + sorted(ROOT.glob("ortx/_core.src/*.pxi"))]

CHECKS = {
    "ruff check": ["ruff", "check", "."],
    "ruff format": ["ruff", "format", "--check", "."],
    # It does not see what the includes of _core.pyx use; the compiler, below, does.
    "cython-lint": ["cython_lint.cython_lint", *CYTHON_FILES],
    "cython": ["cython", "-Wextra", "-Werror", "-o", "{tmp_path}/_core.c", "ortx/_core.pyx"],
    "mypy": ["mypy", "--cache-dir", "build/mypy"],
    "stubtest": ["mypy.stubtest", "ortx"],
    "stubs": ["tools.make_stubs", "--check"],
}


@pytest.mark.parametrize("check", CHECKS)
def test_this_finds_nothing(check, tmp_path):
    module, *arguments = CHECKS[check]
    if importlib.util.find_spec(module.partition(".")[0]) is None:
        pytest.skip(f"needs the package {module.partition('.')[0]} (dependency groups lint and type)")
    command = [sys.executable, "-m", module, *(a.format(tmp_path=tmp_path) for a in arguments)]
    # cython-lint calls pycodestyle by its name.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, encoding="utf-8", env=os.environ | {"PATH": path}
    )
    assert done.returncode == 0, done.stdout + done.stderr
