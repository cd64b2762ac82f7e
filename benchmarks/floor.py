"""Compile and call ``floor.c``."""

from __future__ import annotations

import ctypes
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx

import ortx

SOURCE = Path(__file__).with_name("floor.c")
FLAGS = ("-O3", "-std=gnu11", "-Wall", "-Wextra", "-shared", "-fPIC")


class FloorError(Exception):
    """The C side cannot be built, or ONNX Runtime refused something there."""


class Tensor(ctypes.Structure):
    """As in ``floor.c``."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("data", ctypes.c_void_p),
        ("size", ctypes.c_size_t),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("rank", ctypes.c_size_t),
        ("type", ctypes.c_int32),
    )


class Floor:
    """A session of its own in C, over arrays that it shares with the other sides."""

    def __init__(
        self,
        model_path: Path,
        threads: int,
        inputs: dict[str, npt.NDArray[np.float32]],
        outputs: dict[str, npt.NDArray[np.float32]],
    ) -> None:
        self._code = compiled()
        # What the C side points to, for as long as it does.
        self._kept = (_tensors(inputs), _tensors(outputs), inputs, outputs)
        library = ortx.load_library()
        self._handle = self._code.floor_open(
            os.fsencode(library.path),
            library.api_version,
            os.fsencode(model_path),
            threads,
            self._kept[0],
            len(inputs),
            self._kept[1],
            len(outputs),
        )
        if not self._handle:
            raise MemoryError
        if message := self._message():
            self.close()
            raise FloorError(f"floor.c: {message}")

    def close(self) -> None:
        """Release all that belongs to the C side."""
        handle, self._handle = self._handle, None
        if handle:
            self._code.floor_close(handle)

    def batch(self, row: str, calls: int) -> int:
        """Return the nanoseconds that this many calls take together."""
        elapsed: int = self._code.floor_batch(self._handle, row.encode(), calls)
        if elapsed < 0:
            raise FloorError(f"floor.c: {self._message()}")
        return elapsed

    def stamps(self, row: str, calls: int) -> npt.NDArray[np.int64]:
        """Return the time before the first call and after each."""
        stamps = np.empty(calls + 1, np.int64)
        if self._code.floor_stamps(self._handle, row.encode(), calls, stamps.ctypes.data) != 0:
            raise FloorError(f"floor.c: {self._message()}")
        return stamps

    def _message(self) -> str:
        message: bytes = self._code.floor_message(self._handle)
        return message.decode(errors="replace")


def _tensors(arrays: dict[str, npt.NDArray[np.float32]]) -> ctypes.Array[Tensor]:
    return (Tensor * len(arrays))(
        *(
            Tensor(
                name.encode(),
                array.ctypes.data,
                array.nbytes,
                (ctypes.c_int64 * array.ndim)(*array.shape),
                array.ndim,
                # The numbers of ONNX and of the C API are the same for the types that numpy has.
                onnx.helper.np_dtype_to_tensor_dtype(array.dtype),
            )
            for name, array in arrays.items()
        )
    )


def compiler() -> list[str] | None:
    """Return the command of the C compiler, or None if there is none."""
    command = shlex.split(os.environ.get("CC", "")) or ["cc"]
    return command if shutil.which(command[0]) else None


@cache
def compiled() -> ctypes.CDLL:
    """Compile ``floor.c`` and load it, once per process."""
    if sys.platform == "win32":
        raise FloorError("floor.c is written for POSIX systems; it does not build on Windows")
    command = compiler()
    if command is None:
        raise FloorError("there is no C compiler: neither $CC nor `cc` can be found")
    with tempfile.TemporaryDirectory(prefix="ortx-benchmark-") as folder:
        target = Path(folder, "floor.so")
        libraries = ["-ldl"] if sys.platform == "linux" else []
        arguments = [
            *command,
            *FLAGS,
            f"-I{ortx.get_include()}",
            "-o",
            str(target),
            str(SOURCE),
            *libraries,
        ]
        finished = subprocess.run(arguments, capture_output=True, text=True, check=False)
        if finished.returncode != 0:
            raise FloorError(f"`{shlex.join(arguments)}` failed:\n{finished.stderr}")
        code = ctypes.CDLL(str(target))  # stays mapped after the file is gone
    code.floor_open.restype = ctypes.c_void_p
    code.floor_open.argtypes = (
        ctypes.c_char_p,
        ctypes.c_uint32,
        ctypes.c_char_p,
        ctypes.c_int,
        ctypes.POINTER(Tensor),
        ctypes.c_size_t,
        ctypes.POINTER(Tensor),
        ctypes.c_size_t,
    )
    code.floor_close.restype = None
    code.floor_close.argtypes = (ctypes.c_void_p,)
    code.floor_message.restype = ctypes.c_char_p
    code.floor_message.argtypes = (ctypes.c_void_p,)
    code.floor_batch.restype = ctypes.c_int64
    code.floor_batch.argtypes = (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int64)
    code.floor_stamps.restype = ctypes.c_int
    code.floor_stamps.argtypes = (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int64, ctypes.c_void_p)
    return code
