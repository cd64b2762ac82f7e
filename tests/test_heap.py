"""Memory that goes back to the system (`_core.src/heap.pxi`), and sessions that come and go without leaving any."""

from __future__ import annotations

import json
import platform
import sys

import models
import numpy as np
import onnx
import pytest
from onnx import helper

import ortx

IS_GLIBC = platform.libc_ver()[0] == "glibc"
needs_glibc = pytest.mark.skipif(not IS_GLIBC, reason="needs glibc: other C libraries have no function for it")
needs_proc = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc/self/statm, which only Linux has")

RESIDENT = """
import gc, json, os, sys
import numpy as np, ortx
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
"""


def many_weights(count: int = 160, size: int = 160) -> bytes:
    """y = x times many matrices: memory that is given back block by block, and stays with glibc"""
    random = np.random.default_rng(0)
    names = [f"t{i}" for i in range(count + 1)]
    return models.build(
        [helper.make_node("MatMul", [names[i], f"w{i}"], [names[i + 1]]) for i in range(count)],
        [models.tensor(names[0], shape=("n", size))],
        [models.tensor(names[-1], shape=("n", size))],
        [models.constant(f"w{i}", random.standard_normal((size, size)) / size) for i in range(count)],
    )


@needs_glibc
def test_trimming_gives_back_what_was_freed_between_blocks_in_use(run_python):
    code = """
import ctypes, ortx
libc = ctypes.CDLL(None)
libc.malloc.restype = libc.free.argtypes = None
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
blocks = [libc.malloc(50_000) for _ in range(200)]
for block in blocks:
    ctypes.memset(block, 1, 50_000)
for block in blocks[::2]:
    libc.free(block)
print(ortx.trim_memory(), ortx._core._live_handles()["session"])
"""
    done = run_python(code, ORTX_LIBRARY="/there/is/none")
    assert (done.returncode, done.stdout, done.stderr) == (0, "True 0\n", ""), "and needs no ONNX Runtime"


@pytest.mark.skipif(IS_GLIBC, reason="needs a C library other than glibc")
def test_trimming_does_nothing_where_it_cannot():
    assert ortx.trim_memory() is False


@needs_glibc
@needs_proc
@pytest.mark.parametrize("external", [False, True])
@pytest.mark.parametrize("end", ["session.close()", "del session"])
def test_the_memory_of_a_large_model_goes_back_when_its_session_ends(run_python, tmp_path, external, end):
    path = tmp_path / "model.onnx"
    onnx.save(onnx.load_from_string(many_weights()), path, save_as_external_data=external, location="model.data")
    code = f"""{RESIDENT}
x = np.ones((1, 160), np.float32)
before = []
for _ in range(3):  # the first one makes what stays
    ortx.trim_memory()
    before.append(resident())
    session = ortx.session(sys.argv[1], intra_op_num_threads=1)
    session.run([x])
    opened = resident()
    {end}
    closed = resident()
print(json.dumps([before[-1], opened, closed]))
"""
    done = run_python(code, path)
    assert (done.returncode, done.stderr) == (0, "")
    before, opened, closed = json.loads(done.stdout)
    assert opened - before > 10e6
    assert closed - before < 0.2 * (opened - before)


@needs_proc
def test_ten_thousand_sessions_one_after_another_leave_the_process_as_large_as_it_was(run_python):
    code = f"""{RESIDENT}
x = np.ones((1, 2), np.float32)
model = bytes.fromhex(sys.argv[1])
def cycles(count):
    for i in range(count):
        session = ortx.session_from_bytes(model, intra_op_num_threads=1, inter_op_num_threads=1)
        session.run([x])
        session.close()
    gc.collect()
    return resident()
print(json.dumps([cycles(500), cycles(10_000)]))
"""
    done = run_python(code, models.square().hex())
    assert (done.returncode, done.stderr) == (0, "")
    before, after = json.loads(done.stdout)
    assert after - before < 2e6, "200 bytes for each would be too many"
