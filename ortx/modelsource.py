"""The content of a model's file, but for its weights, at which ortx does not look.

The file is read and not mapped: another process may cut it meanwhile, and who looks into a map of it then is ended by
the system (SIGBUS). What is read is laid into anonymous memory of the size of the file, each piece in its place. So all
find what they look for where it is in the file, and the places of weights, into which nothing is laid, cost no memory.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
from typing import TYPE_CHECKING

import numpy

from ._core import InvalidProtobuf, lay_all_but_elements, looked_through

if TYPE_CHECKING:
    import mmap

__all__ = ["differs_from_file", "read"]

_MOST = 1 << 18  # bytes that are compared at a time


def read(function: str, path: str, *, whole: bool) -> memoryview:
    """Return the content of a large model's file; elements of large tensors are zeros unless it is to be `whole`.

    That of a model with a ZipMap node is whole in any case: it may be written anew, without that node.

    Raises
    ------
    InvalidProtobuf
        If the file became shorter while it was read.
    OSError
        If it cannot be read, or there is not enough memory.
    """
    with open(path, "rb", buffering=0) as file:
        size = file.seek(0, io.SEEK_END)
        try:
            return _Content(file, size).read(whole)
        except EOFError:
            raise InvalidProtobuf(
                f"{function}: model_path: {path!r} became shorter while it was read: it had {size} bytes; open it when "
                "whoever writes it is done, or have the new model written beside it and renamed"
            ) from None


def differs_from_file(location: dict[str, str], folder: str, array: numpy.ndarray) -> bool:
    """Whether a file holds other bytes than an array, in the place that a model's external data names.

    What cannot be read differs from nothing.
    """
    ours = array.reshape(-1).view(numpy.uint8)
    try:
        path = os.path.join(folder, location.get("location", ""))
        offset, length = int(location.get("offset", 0)), int(location.get("length", array.nbytes))
        if length < 0 or offset + length > os.path.getsize(path):
            return False
        if length != len(ours):
            return True
        with open(path, "rb") as file:
            file.seek(offset)
            pieces = (ours[at : at + _MOST] for at in range(0, len(ours), _MOST))
            return any(
                len(theirs := file.read(len(piece))) == len(piece) and bytes(piece) != theirs for piece in pieces
            )
    except (OSError, OverflowError, ValueError):
        return False


class _Content:
    """Memory of the size of a file, and as much of the file in it as has been read."""

    def __init__(self, file: io.FileIO, size: int) -> None:
        self.file, self.size = file, size
        self.view = memoryview(_empty(size))

    def read(self, whole: bool) -> memoryview:
        if not whole:
            try:
                lay_all_but_elements(self.view, self.lay)
                _, _, whole = looked_through(self.view)  # with a ZipMap node
            except ValueError:  # damaged, or of another format: of ONNX Runtime's own no more than this is looked at
                whole = bytes(self.view[4:8]) != b"ORTM"
        if whole:
            self.lay(0, self.size)
        return self.view.toreadonly()

    def lay(self, start: int, end: int) -> None:
        """Read a piece of the file into its place."""
        self.file.seek(start)
        while start < end:
            count = self.file.readinto(self.view[start:end])
            if not count:
                raise EOFError
            start += count


def _empty(size: int) -> mmap.mmap:
    """Return memory of which only those pages are taken that are written into."""
    try:
        import mmap  # only for a model that is not small
    except ImportError as error:  # it is a part of Python, so there is no memory for it
        raise OSError(errno.ENOMEM, str(error)) from error
    if sys.platform == "win32":
        return mmap.mmap(-1, size)
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if sys.platform == "linux":
        with contextlib.suppress(OSError):  # a kernel that has no huge pages
            memory.madvise(mmap.MADV_NOHUGEPAGE)  # of which each in use would be 2 MB
    return memory
