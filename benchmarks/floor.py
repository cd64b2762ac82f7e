"""Compile and call the floor, which is written in C: ``floor.c`` and its parts, ``program.c``."""

from __future__ import annotations

import ctypes
import enum
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

import ortx

FOLDER = Path(__file__).parent
SOURCES = tuple(
    FOLDER / name for name in ("floor.c", "floor_rows.c", "floor_values.c", "floor_threads.c", "floor_python.c")
)
PROGRAM = FOLDER / "program.c"
FLAGS = ("-O3", "-std=gnu11", "-Wall", "-Wextra")


class FloorError(Exception):
    """The C side cannot be built, or ONNX Runtime refused something there."""


class Kind(enum.IntEnum):
    """How a value is made and read; as in ``floor.h``."""

    TENSOR = 0
    STRINGS = 1
    SEQUENCE = 2
    MAPS = 3


class Slot(ctypes.Structure):
    """An input or output, as in ``floor.h``."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("data", ctypes.c_void_p),
        ("size", ctypes.c_size_t),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("rank", ctypes.c_size_t),
        ("type", ctypes.c_int32),
        ("kind", ctypes.c_int32),
        ("count", ctypes.c_size_t),
        ("offsets", ctypes.POINTER(ctypes.c_int64)),
    )


class Slots:
    """The inputs or outputs of a floor, and whatever they point to."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._kept: list[Any] = []
        self.array = (Slot * len(values))(*(self._slot(name, value) for name, value in values.items()))

    def _slot(self, name: str, value: Any) -> Slot:
        match kind_of(value):
            case Kind.TENSOR:
                # Not a copy: the other sides use the same memory.
                data, shape, count, offsets = value, value.shape, 1, None
                # The numbers of ONNX and of the C API are the same for the types that numpy has.
                element_type = onnx.helper.np_dtype_to_tensor_dtype(value.dtype)
            case Kind.STRINGS:
                texts = [text.encode() for text in value.ravel()]
                ends = np.cumsum([0, *map(len, texts)])
                data = np.frombuffer(b"".join(texts), np.uint8)
                shape, count, offsets = value.shape, len(texts), (ctypes.c_int64 * len(ends))(*ends.tolist())
                element_type = onnx.TensorProto.STRING
            case Kind.SEQUENCE:
                data, shape, count, offsets = np.stack(value), value[0].shape, len(value), None
                element_type = onnx.helper.np_dtype_to_tensor_dtype(data.dtype)
            case Kind.MAPS:  # is only read, and that needs no more than its kind
                return Slot(name=name.encode(), kind=Kind.MAPS)
        self._kept.append((data, offsets))
        return Slot(
            name=name.encode(),
            data=data.ctypes.data,
            size=data.nbytes,
            shape=(ctypes.c_int64 * len(shape))(*shape),
            rank=len(shape),
            type=element_type,
            kind=kind_of(value),
            count=count,
            offsets=offsets,
        )


def kind_of(value: Any) -> Kind:
    """Return what kind of value a Python object stands for."""
    if isinstance(value, np.ndarray):
        return Kind.STRINGS if value.dtype == object else Kind.TENSOR
    return Kind.MAPS if isinstance(value[0], dict) else Kind.SEQUENCE


class Floor:
    """A session of its own in C, over arrays that it shares with the other sides."""

    def __init__(self, model_path: Path, threads: int, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> None:
        self._code = compiled()
        # What the C side points to, for as long as it does.
        self._kept = (Slots(inputs), Slots(outputs), inputs, outputs)
        library = ortx.load_library()
        self._handle = self._code.floor_open(
            os.fsencode(library.path),
            library.api_version,
            os.fsencode(model_path),
            threads,
            self._kept[0].array,
            len(inputs),
            self._kept[1].array,
            len(outputs),
        )
        if not self._handle:
            raise MemoryError
        self._alone = (ctypes.c_void_p * 1)(self._handle)
        if message := self._message():
            self.close()
            raise FloorError(f"floor.c: {message}")

    def close(self) -> None:
        """Release all that belongs to the C side."""
        handle, self._handle = self._handle, None
        if handle:
            self._code.floor_close(handle)

    def batch(self, row: str, calls: int, others: Sequence[Floor] = ()) -> int:
        """Return the nanoseconds that this many calls take together, on this floor and the others in turn."""
        handles = self._handles(others)
        elapsed: int = self._code.floor_batch(handles, len(handles), row.encode(), calls)
        if elapsed < 0:
            raise FloorError(f"floor.c: {self._message()}")
        return elapsed

    def stamps(self, row: str, calls: int, others: Sequence[Floor] = ()) -> npt.NDArray[np.int64]:
        """Return the time before the first call and after each."""
        stamps = np.empty(calls + 1, np.int64)
        handles = self._handles(others)
        if self._code.floor_stamps(handles, len(handles), row.encode(), calls, stamps.ctypes.data) != 0:
            raise FloorError(f"floor.c: {self._message()}")
        return stamps

    def together(self, row: str, callers: int, calls: int) -> int:
        """Return the nanoseconds that it takes if so many threads make so many calls each."""
        elapsed: int = self._code.floor_together(self._handle, row.encode(), callers, calls)
        if elapsed < 0:
            raise FloorError(f"floor.c: {self._message()}")
        return elapsed

    def reads(self, row: str) -> tuple[int, int]:
        """Make one call; return how many tensors and how many bytes of strings it reads."""
        tensors, characters = ctypes.c_int64(), ctypes.c_int64()
        if self._code.floor_reads(self._handle, row.encode(), ctypes.byref(tensors), ctypes.byref(characters)) != 0:
            raise FloorError(f"floor.c: {self._message()}")
        return tensors.value, characters.value

    def python_functions(self) -> dict[str, Callable[..., Any]]:
        """Return the least functions of C's that Python can call: ``run``, ``run_into`` and ``run_with_binding``.

        For models with tensors alone and outputs of float32. They look at nothing that they are given.
        """
        create = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p)(("floor_python_functions", self._code))
        functions: dict[str, Callable[..., Any]] = create(self._handle)
        return functions

    def _handles(self, others: Sequence[Floor]) -> ctypes.Array[ctypes.c_void_p]:
        if not others:
            return self._alone
        return (ctypes.c_void_p * (1 + len(others)))(self._handle, *(other._handle for other in others))

    def _message(self) -> str:
        message: bytes = self._code.floor_message(self._handle)
        return message.decode(errors="replace")


def compiler() -> list[str] | None:
    """Return the command of the C compiler, or None if there is none."""
    command = shlex.split(os.environ.get("CC", "")) or ["cc"]
    return command if shutil.which(command[0]) else None


def compile_program(target: Path, *, shared: bool = False) -> None:
    """Compile ``program.c``, or a library of it, whose ``main`` Python can call."""
    _compile([PROGRAM], target, *(("-shared", "-fPIC") if shared else ()))


def _compile(sources: Sequence[Path], target: Path, *flags: str) -> None:
    if sys.platform == "win32":
        raise FloorError("floor.c is written for POSIX systems; it does not build on Windows")
    command = compiler()
    if command is None:
        raise FloorError("there is no C compiler: neither $CC nor `cc` can be found")
    libraries = ["-ldl", "-pthread"] if sys.platform == "linux" else []
    includes = (ortx.get_include(), sysconfig.get_path("include"), np.get_include())
    places = [*(f"-I{folder}" for folder in includes), "-o", str(target), *map(str, sources)]
    arguments = [*command, *FLAGS, *flags, *places, *libraries]
    finished = subprocess.run(arguments, capture_output=True, text=True, check=False)
    if finished.returncode != 0:
        raise FloorError(f"`{shlex.join(arguments)}` failed:\n{finished.stderr}")


@cache
def compiled() -> ctypes.CDLL:
    """Compile the floor and load it, once per process."""
    with tempfile.TemporaryDirectory(prefix="ortx-benchmark-") as folder:
        target = Path(folder, "floor.so")
        _compile(SOURCES, target, "-shared", "-fPIC")
        code = ctypes.CDLL(str(target))  # stays mapped after the file is gone
    handle, text, number = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int64
    handles, slots, size = ctypes.POINTER(ctypes.c_void_p), ctypes.POINTER(Slot), ctypes.c_size_t
    for name, result, arguments in (
        ("floor_open", handle, (text, ctypes.c_uint32, text, ctypes.c_int, slots, size, slots, size)),
        ("floor_close", None, (handle,)),
        ("floor_message", text, (handle,)),
        ("floor_batch", number, (handles, size, text, number)),
        ("floor_stamps", ctypes.c_int, (handles, size, text, number, handle)),
        ("floor_reads", ctypes.c_int, (handle, text, handle, handle)),
        ("floor_together", number, (handle, text, ctypes.c_int, number)),
    ):
        function = getattr(code, name)
        function.restype, function.argtypes = result, arguments
    return code
