"""The futures of submitted runs: those of `concurrent.futures`, and what becomes of them in a forked child."""

from __future__ import annotations

import os
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from ._core import ForkedSession

if TYPE_CHECKING:
    from ._core import Outputs  # noqa: F401 - the base class names it

__all__ = ["RunFuture"]

_process = os.getpid()  # this one
_settling = threading.Lock()


def _begin_anew() -> None:
    """In a forked child, whoever held the lock is not there."""
    global _process, _settling
    _process, _settling = os.getpid(), threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)


class RunFuture(Future["Outputs"]):
    """A future that knows which process its run is in.

    A child that was forked has copies of its parent's futures: nothing will ever complete them there, and a thread that
    does not exist in the child may hold their locks. So whoever first looks at one there finds it settled: with what it
    had at the fork, or with a `ForkedSession`.
    """

    def __init__(self) -> None:
        self._submitted_in = self._lock_of = _process
        self._end: tuple[Any, BaseException | None] | None = None  # the result and the error
        super().__init__()

    def set_result(self, result: Any) -> None:
        self._end = result, None
        super().set_result(result)

    def set_exception(self, exception: BaseException | None) -> None:
        self._end = None, exception
        super().set_exception(exception)

    @property
    def _condition(self) -> threading.Condition:
        """What `Future`, `wait` and `as_completed` lock before they look at anything else of a future."""
        if self._lock_of != _process:
            self._settle()
        return self._lock

    @_condition.setter
    def _condition(self, condition: threading.Condition) -> None:
        self._lock = condition

    def _settle(self) -> None:
        """Give an inherited future a lock of this process, and an end; who waits for it is in the other one."""
        with _settling:
            if self._lock_of == _process:
                return
            if self._end is None:
                error = ForkedSession(
                    f"this run was submitted in process {self._submitted_in}, before this one ({_process}) was forked "
                    "from it, and goes on there; submit it anew, with a session that was opened here"
                )
                self._end = None, error
            self._result, self._exception = self._end
            self._state = "FINISHED"
            self._waiters: list[Any] = []
            self._done_callbacks: list[Any] = []
            self._lock = threading.Condition()
            self._lock_of = _process
