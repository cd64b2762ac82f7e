"""The futures of submitted runs: those of `concurrent.futures`, and what becomes of them in a forked child."""

from __future__ import annotations

import os
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from .errors import ForkedSession

if TYPE_CHECKING:
    from ._core import Outputs

__all__ = ["RunFuture"]


class RunFuture(Future["Outputs"]):
    """A future that knows which process its run is in.

    A child that was forked has copies of its parent's futures: nothing will ever complete them there, and a thread that
    does not exist in the child may hold their locks. So they are asked without these, and only for what was there
    already.
    """

    def __init__(self) -> None:
        super().__init__()
        self._process = os.getpid()
        self._end: tuple[Any, BaseException | None] | None = None  # the result and the error

    def set_result(self, result: Any) -> None:
        self._end = result, None
        super().set_result(result)

    def set_exception(self, exception: BaseException | None) -> None:
        self._end = None, exception
        super().set_exception(exception)

    def result(self, timeout: float | None = None) -> Outputs:
        if self._process == os.getpid():
            return super().result(timeout)
        result, error = self._inherited()
        if error is not None:
            raise error
        return result  # type: ignore[no-any-return]

    def exception(self, timeout: float | None = None) -> BaseException | None:
        return super().exception(timeout) if self._process == os.getpid() else self._inherited()[1]

    def done(self) -> bool:
        return super().done() if self._process == os.getpid() else self._end is not None

    def running(self) -> bool:
        return super().running() if self._process == os.getpid() else self._end is None

    def cancelled(self) -> bool:
        return False  # nor can it be: it runs from the beginning

    def cancel(self) -> bool:
        return False

    def _inherited(self) -> tuple[Any, BaseException | None]:
        if self._end is None:
            raise ForkedSession(
                f"this run was submitted in process {self._process}, before this one ({os.getpid()}) was forked from "
                "it, and goes on there; submit it anew, with a session that was opened here"
            )
        return self._end
