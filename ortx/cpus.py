"""How many CPUs this process may use: the scheduler's affinity mask and the container's quota, whichever is less.

ONNX Runtime's own default looks at neither; it counts the host's cores and pins its threads to them.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator

__all__ = ["available"]


def available() -> int:
    """Return the number of CPUs that this process may keep busy, at least 1."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.ceil(min(allowed, cgroup_quota())))


def cgroup_quota(root: str | os.PathLike[str] = "") -> float:
    """Return the CPU quota of this process's control groups (version 1 or 2) in CPUs; infinity if there is none."""
    return min((quota for quota in _quotas(os.fspath(root))), default=math.inf)


def _quotas(root: str) -> Iterator[float]:
    for line in _words_of(f"{root}/proc/self/cgroup", "\n"):
        _, _, controllers_and_path = line.partition(":")
        controllers, _, path = controllers_and_path.partition(":")
        if not controllers:  # version 2
            for folder in _upwards(f"{root}/sys/fs/cgroup", path):
                yield _quota(_words_of(f"{folder}/cpu.max"))
        elif "cpu" in controllers.split(","):
            for folder in _upwards(f"{root}/sys/fs/cgroup/cpu", path):
                yield _quota(_words_of(f"{folder}/cpu.cfs_quota_us") + _words_of(f"{folder}/cpu.cfs_period_us"))


def _upwards(mount: str, path: str) -> Iterator[str]:
    """Yield the group's folder and all above it: each may set a limit. Inside a container only the last one exists."""
    parts = [part for part in path.split("/") if part not in ("", "..")]
    for depth in range(len(parts), -1, -1):
        yield "/".join([mount, *parts[:depth]])


def _words_of(file: str, separator: str | None = None) -> list[str]:
    try:
        with open(file, encoding="utf-8", errors="surrogateescape") as opened:
            return opened.read().split(separator)
    except OSError:  # not Linux, or no such controller
        return []


def _quota(words: list[str]) -> float:
    """Turn ``quota period`` in microseconds into CPUs; ``max`` and -1 mean unlimited."""
    if len(words) != 2 or not words[0].isdecimal() or not words[1].isdecimal() or int(words[1]) == 0:
        return math.inf
    return int(words[0]) / int(words[1])
