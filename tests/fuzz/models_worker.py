"""A process that opens models for the fuzzer, and is started again when one of them ends it."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import ortx

PROGRAM = Path(__file__).with_name("worker.py")


@dataclass(frozen=True)
class Outcome:
    """What became of a model: how it ended, in which phase, and what the process said if it died."""

    end: str  # "ok", an error's name, "untyped ...", "signal 11", "exit 1" or "hang"
    phase: str
    said: str = ""

    @property
    def is_sound(self) -> bool:
        return self.end == "ok" or isinstance(getattr(ortx, self.end, None), type)


class Worker:
    """Opens one model after another, each with a limit of time."""

    def __init__(self, seconds: float = 60, environment: dict[str, str] | None = None) -> None:
        self.seconds = seconds
        self.environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)} | (environment or {})
        self.process: subprocess.Popen[bytes] | None = None

    def use(self, model: bytes, options: dict[str, object], seed: int = 0) -> Outcome:
        """Open a model, and run it with inputs that the seed decides."""
        if self.process is None:
            self._start()
        assert self.process is not None
        phase = "open"
        header = json.dumps({"size": len(model), "options": options, "seed": seed}).encode() + b"\n"
        with contextlib.suppress(BrokenPipeError):  # it has died: what it wrote says so
            self.process.stdin.write(header + model)
            self.process.stdin.flush()
        while True:
            try:
                line = self.lines.get(timeout=self.seconds)
            except queue.Empty:
                return self._dead("hang", phase)
            if line is None:
                status = self.process.wait()
                return self._dead(f"signal {-status}" if status < 0 else f"exit {status}", phase)
            words = json.loads(line)
            phase = words.get("phase", phase)
            if "outcome" in words:
                return Outcome(f"{words['outcome']} {words.get('what', '')}".strip(), phase)

    def _start(self) -> None:
        self.errors = tempfile.TemporaryFile()  # noqa: SIM115  (until the process ends)
        command = [sys.executable, "-X", "faulthandler", str(PROGRAM)]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=self.errors, env=self.environment)
        self.lines: queue.Queue[bytes | None] = queue.Queue()
        threading.Thread(target=self._read, args=(self.process.stdout, self.lines), daemon=True).start()
        first = self.lines.get(timeout=120)
        if first is None:
            raise RuntimeError(f"the worker does not start: {self._dead('', '').said}")
        self.version = json.loads(first)["ready"]

    @staticmethod
    def _read(pipe: IO[bytes], lines: queue.Queue[bytes | None]) -> None:
        for line in pipe:
            lines.put(line)
        lines.put(None)

    def _dead(self, end: str, phase: str) -> Outcome:
        self.close()
        return Outcome(end, phase, self.said)

    def close(self) -> None:
        if self.process is None:
            return
        self.process.kill()
        self.process.wait()
        with contextlib.suppress(BrokenPipeError):  # of what it has not read it gets no more
            self.process.stdin.close()
        self.process.stdout.close()
        self.errors.seek(0)
        self.said = self.errors.read()[-20_000:].decode("utf-8", "replace")
        self.errors.close()
        self.process = None
