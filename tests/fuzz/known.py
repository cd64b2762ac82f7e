"""Crashes of ONNX Runtime that ortx cannot see coming, so that the fuzzer, which finds them again, stays quiet."""

from __future__ import annotations

from dataclasses import dataclass

from models_worker import Outcome


@dataclass(frozen=True)
class Crash:
    """How a process ends, in a model with such a node; `file` is the one in crashes/."""

    file: str
    end: str
    op_type: str

    def explains(self, outcome: Outcome, model: bytes) -> bool:
        return outcome.end == self.end and self.op_type.encode() in model


KNOWN = [
    Crash("one-hot-of-no-depth", "signal 6", "OneHot"),
    Crash("unique-along-an-axis-of-nothing", "signal 6", "Unique"),
]


def is_known(outcome: Outcome, model: bytes) -> bool:
    return any(crash.explains(outcome, model) for crash in KNOWN)
