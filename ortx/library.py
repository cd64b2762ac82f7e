"""Where the shared library of ONNX Runtime is looked for, and how it is opened.

Nothing here is native code of ours: the operating system's loader is reached through ctypes, which knows every
platform. The core turns the address that `open_library` returns into the function table.
"""

from __future__ import annotations

import ctypes
import errno
import importlib.util
import os
import sys
from collections.abc import Iterator

from .errors import LibraryError, LibraryNotFound, LibraryTooOld, NoSuchFile, OutOfMemory

__all__ = ["Candidate", "address_of", "api_version_of", "candidates", "open_first", "open_library"]

ENVIRONMENT_VARIABLE = "ORTX_LIBRARY"

# How the file inside the wheel begins and ends (Linux and macOS put the version into its name), and what to ask the
# system for.
_FILE_BEGINS, _FILE_ENDS, _SYSTEM_NAMES = {
    "win32": ("onnxruntime.dll", "onnxruntime.dll", ("onnxruntime.dll",)),
    "darwin": ("libonnxruntime.", "dylib", ("libonnxruntime.1.dylib", "libonnxruntime.dylib")),
}.get(sys.platform, ("libonnxruntime.so", "", ("libonnxruntime.so.1", "libonnxruntime.so")))

# What the loader says where there is not enough memory. For another reason it would go on after the second one.
_NO_MEMORY = (os.strerror(errno.ENOMEM), "failed to map segment from shared object")

_HOW_TO_INSTALL = (
    "Install one with `pip install ortx[cpu]` (or `ortx[gpu]`), set the environment variable "
    f"{ENVIRONMENT_VARIABLE} to the path of the library file, or call ortx.load_library(path)."
)


class Candidate:
    """One place to look at; `binding` means that a failure there is final, since somebody named it."""

    __slots__ = ("binding", "origin", "path")

    def __init__(self, path: str, origin: str, *, binding: bool) -> None:
        self.path, self.origin, self.binding = path, origin, binding

    def __str__(self) -> str:
        return f"{self.path!r} (from {self.origin})"


def candidates(path: str | os.PathLike[str] | None) -> Iterator[Candidate]:
    """Yield the places to look at, best first.

    A path that somebody named is made absolute, since the loader takes a bare file name for one to look up.
    """
    if path is not None:
        yield _named(path, "the argument of ortx.load_library")
        return
    from_environment = os.environ.get(ENVIRONMENT_VARIABLE)
    if from_environment:
        yield _named(from_environment, f"the environment variable {ENVIRONMENT_VARIABLE}")
        return
    for file in _files_of_installed_package():
        yield Candidate(file, "the installed package onnxruntime", binding=True)
    for name in _SYSTEM_NAMES:
        yield Candidate(name, "the system's loader", binding=False)


def _named(path: str | os.PathLike[str], origin: str) -> Candidate:
    try:
        return Candidate(os.path.abspath(path), origin, binding=True)
    except OSError:
        raise NoSuchFile(
            f"the ONNX Runtime library {os.fspath(path)!r} (from {origin}) is in the current folder, which is gone"
        ) from None


def _files_of_installed_package() -> list[str]:
    """Find the library of the package ``onnxruntime`` (any flavour) without importing it."""
    try:
        spec = importlib.util.find_spec("onnxruntime")
    except (ImportError, ValueError):  # an import hook forbids it; a module without a spec is in sys.modules
        return []
    files = []
    for folder in (spec.submodule_search_locations if spec is not None else None) or ():
        capi = os.path.join(folder, "capi")
        names = os.listdir(capi) if os.path.isdir(capi) else []
        ours = sorted(name for name in names if name.startswith(_FILE_BEGINS) and name.endswith(_FILE_ENDS))
        files += [os.path.join(capi, name) for name in ours]
    return files


def open_library(candidate: Candidate) -> int:
    """Open a library and return the address of its ``OrtGetApiBase``.

    Raises
    ------
    NoSuchFile, LibraryError, OutOfMemory
        With the loader's own reason. The library stays open for the life of the process.
    """
    if candidate.binding and not os.path.isfile(candidate.path):
        kind = "is a pipe, a device or a socket" if os.path.exists(candidate.path) else "does not exist"
        if os.path.isdir(candidate.path):
            kind = "is a folder, not a file"
        raise NoSuchFile(f"the ONNX Runtime library {candidate} {kind}; expected the path of the library file itself")
    try:
        library = ctypes.CDLL(candidate.path)
    except OSError as error:
        message = f"cannot load the ONNX Runtime library {candidate}: {error}"
        if message.endswith(_NO_MEMORY):
            raise OutOfMemory(message) from None
        raise LibraryError(message) from None
    try:
        function = library.OrtGetApiBase
    except AttributeError:
        raise LibraryError(
            f"{candidate} is a shared library, but not ONNX Runtime: it does not export OrtGetApiBase"
        ) from None
    address = ctypes.cast(function, ctypes.c_void_p).value
    assert address is not None
    return address


def address_of(path: str, function: str) -> int:
    """Return the address of a function that a library (which is open already) exports, or 0."""
    try:
        exported = getattr(ctypes.CDLL(path), function)
    except AttributeError:
        return 0
    return ctypes.cast(exported, ctypes.c_void_p).value or 0


def open_first(path: str | os.PathLike[str] | None) -> tuple[Candidate, int]:
    """Open the first library that there is; see `candidates` for the order.

    Raises
    ------
    LibraryNotFound
        If there is none; the message lists every place and why it was no use.
    NoSuchFile, LibraryError
        If a place that somebody named has no usable library.
    """
    tried = []
    for candidate in candidates(path):
        try:
            return candidate, open_library(candidate)
        except LibraryError as error:
            if candidate.binding:
                raise
            tried.append(str(error))
    places = [
        f"the environment variable {ENVIRONMENT_VARIABLE}: not set",
        "the installed package onnxruntime: not installed, or without a library file",
        *tried,
    ]
    listed = "".join(f"\n  - {place}" for place in places)
    raise LibraryNotFound(f"no ONNX Runtime library was found. {_HOW_TO_INSTALL} Looked at:{listed}")


def api_version_of(version: str, newest_known: int, oldest_known: int, candidate: Candidate) -> int:
    """Return the version of the function table to ask for: ``1.31.1`` gives ``min(31, newest_known)``.

    ``GetApi`` prints to stderr when it is asked for a version it does not know, hence this check before it.

    Raises
    ------
    LibraryTooOld, LibraryError
        If the library is older than `oldest_known`, or its version makes no sense.
    """
    try:
        major, minor = map(int, version.split(".")[:2])
    except ValueError:
        raise LibraryError(
            f"the ONNX Runtime library {candidate} says its version is {version!r}; expected such as '1.31.1'"
        ) from None
    if (major, minor) < (1, oldest_known):
        raise LibraryTooOld(
            f"the ONNX Runtime library {candidate} is version {version}; ortx needs 1.{oldest_known} or newer: "
            "upgrade it with `pip install --upgrade onnxruntime`, or point "
            f"{ENVIRONMENT_VARIABLE} at a newer library"
        )
    if major != 1:
        raise LibraryError(
            f"the ONNX Runtime library {candidate} is version {version}; ortx knows the interface of version 1 only"
        )
    return min(minor, newest_known)
