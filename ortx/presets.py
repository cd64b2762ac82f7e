"""Presets of session options: what ``preset="latency"`` and its like stand for.

A preset says what holds where the user says nothing: every option and every configuration entry that is given wins
over it. What each is worth is measured by `benchmarks.options` and stands in docs/tuning.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

__all__ = ["PRESETS", "besides"]

_SPINNING: Final = ("session.intra_op.allow_spinning", "session.inter_op.allow_spinning")

# The words are those of `ortx.session`; 0 threads are as many as the process may use.
PRESETS: Final[Mapping[str, Mapping[str, Any]]] = {
    # One call at a time, as fast as can be: all CPUs help, and wait for the next call without sleeping.
    "latency": {
        "intra_op_num_threads": 0,
        "enable_cpu_mem_arena": True,
        "enable_mem_pattern": True,
        "config_entries": dict.fromkeys(_SPINNING, "1"),
    },
    # Callers in as many threads as there are CPUs: each runs its call alone, and none waits for another.
    "throughput": {
        "intra_op_num_threads": 1,
        "enable_cpu_mem_arena": True,
        "enable_mem_pattern": True,
        "config_entries": dict.fromkeys(_SPINNING, "0"),
    },
    # A process that waits most of the time, for requests of all shapes: all CPUs help, and sleep as soon as there is
    # nothing to do; no layout of memory is kept for every shape that ever came.
    "service": {
        "intra_op_num_threads": 0,
        "enable_cpu_mem_arena": True,
        "enable_mem_pattern": False,
        "config_entries": dict.fromkeys(_SPINNING, "0"),
    },
}

# What a session has no say in that runs on the global thread pools.
_OF_THE_POOLS: Final = {"intra_op_num_threads", "config_entries"}


def besides(
    preset: str, given: Iterable[str], entries: Iterable[tuple[str, str]], in_global_pools: bool
) -> dict[str, Any]:
    """Return what a preset sets besides what the user said, as `SessionOptions` has it.

    Parameters
    ----------
    preset
        A name in `PRESETS`.
    given
        The names of the options that were given.
    entries
        The configuration entries that were given. Who says anything about how a pool spins says all about it.
    in_global_pools
        Whether the session has no threads of its own, so that it is not for a preset to say how they are.
    """
    said = set(given) - {"config_entries"}
    if in_global_pools:
        said |= _OF_THE_POOLS
    settings = {name: value for name, value in PRESETS[preset].items() if name not in said}
    entries = tuple(entries)
    pools = {_pool(key) for key, _ in entries}
    own = settings.pop("config_entries", {}).items()
    return settings | {"config_entries": (*((key, text) for key, text in own if _pool(key) not in pools), *entries)}


def _pool(key: str) -> str:
    return key.rpartition(".")[0]
