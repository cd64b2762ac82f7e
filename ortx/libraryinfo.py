"""Which ONNX Runtime library a process uses."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["LibraryInfo"]


@dataclass(frozen=True, slots=True)
class LibraryInfo:
    """The ONNX Runtime library that this process uses.

    Attributes
    ----------
    path : str
        The file, or the bare name if the system's loader found it.
    origin : str
        What led to it: the argument, the environment variable, the installed package or the system.
    version : str
        ONNX Runtime's own version, such as ``"1.31.1"``.
    api_version : int
        Version of the function table in use: the newest that both the library and ortx know.
    build_info : str
        ONNX Runtime's description of its build.
    """

    path: str
    origin: str
    version: str
    api_version: int
    build_info: str
