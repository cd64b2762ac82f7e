"""The one extension module, `ortx._core`. All else is in pyproject.toml.

Switches, as environment variables for a build from source:

ORTX_DEBUG=1
    No optimisation, debug symbols, C assertions.
ORTX_LINE_TRACE=1
    Line tracing, so that coverage.py sees the Cython files (slow; also set ``CYTHON_TRACE`` builds apart from others).
ORTX_CFLAGS, ORTX_LDFLAGS
    Added to the compiler's and the linker's flags, for example ``-fsanitize=address,undefined``.
"""

import os
import shlex
import sys
from pathlib import Path

import numpy
from Cython.Build import cythonize
from setuptools import Extension, setup


def switch(name: str) -> bool:
    """Return whether an environment variable is set to something other than 0."""
    return os.environ.get(name, "0") not in ("", "0")


debug, line_trace = switch("ORTX_DEBUG"), switch("ORTX_LINE_TRACE")
macros: list[tuple[str, str | None]] = [
    ("NPY_NO_DEPRECATED_API", "NPY_2_0_API_VERSION"),
    # Otherwise Cython takes two lines of the same number, in two of the included files, for one line in tracebacks.
    ("CYTHON_CLINE_IN_TRACEBACK", "1"),
    # The module has its texts as they are: each process would take 70 us to decompress 16 KB.
    ("CYTHON_COMPRESS_STRINGS", "0"),
]
if line_trace:
    macros += [
        ("CYTHON_TRACE", "1"),
        ("CYTHON_TRACE_NOGIL", "1"),
        ("CYTHON_USE_SYS_MONITORING", "0"),
    ]
if not debug:
    macros.append(("CYTHON_WITHOUT_ASSERTIONS", "1"))

if sys.platform == "win32":
    flags = ["/Od", "/Zi"] if debug else ["/O2"]
else:
    flags = ["-O0", "-g"] if debug else ["-O3", "-g0", "-fno-math-errno"]
    flags.append("-fvisibility=hidden")
    if sys.platform == "linux":
        flags.append("-fno-plt")  # a call to Python or the C library takes one cache line less

core = Extension(
    "ortx._core",
    ["ortx/_core.pyx"],
    depends=[str(path) for folder in ("ortx/_core.src", "ortx/include") for path in Path(folder).iterdir()]
    + ["ortx/_core.pxd", "ortx/capi.pxd"],
    include_dirs=["ortx/include", numpy.get_include()],
    define_macros=macros,
    extra_compile_args=flags + shlex.split(os.environ.get("ORTX_CFLAGS", "")),
    extra_link_args=shlex.split(os.environ.get("ORTX_LDFLAGS", "")),
)

setup(
    ext_modules=cythonize(
        [core],
        build_dir="build/cython",
        compiler_directives={"linetrace": line_trace},
    )
)
