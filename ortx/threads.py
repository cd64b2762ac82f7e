"""Threads that the system refuses to start: which limit is in the way."""

from __future__ import annotations

import mmap

from ._core import Error, OutOfMemory

__all__ = ["thread_refused"]

_STACK_OF_A_THREAD = 8 << 20  # bytes, where nobody says otherwise


def thread_refused(what: str, reason: object, count: int = 1) -> Error:
    """Make the exception for threads that the system does not start. It gives the same reason whatever it lacks."""
    message = f"{what} ({reason}): "
    try:
        mmap.mmap(-1, (count + 1) * _STACK_OF_A_THREAD).close()
    except OSError:
        return OutOfMemory(message + "there is no memory for them; use fewer threads, or raise the limit (ulimit -v)")
    return Error(
        message + "the process, the user or the container may have no more threads; use fewer, or raise the limit "
        "(ulimit -u, pids.max)"
    )
