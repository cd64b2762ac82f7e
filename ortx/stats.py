"""What a session has done, in numbers."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Stats"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """What a session has done since it was opened, at one moment; from `Session.stats`.

    All numbers but `in_flight`, `queued` and `maximum_seconds` only grow, so what happened between two moments is the
    difference of two of these. Every way of running counts: `Session.run`, `Session.run_into`, bindings,
    `Session.submit`, awaited runs, the runs of a `Batcher` (one for each batch).

    Attributes
    ----------
    runs : int
        Runs of the model that ended, whether they failed or not.
    errors : mapping from str to int
        How many of them failed, by the name of the `ErrorCode`, also those whose outputs could not be handed over;
        ``"OUT_OF_MEMORY"`` where memory was short, whatever the code. Without those that were stopped.
    timeouts : int
        Runs that were stopped by their ``timeout``, also before they began.
    cancelled : int
        Runs that were stopped by `RunOptions.terminate`, Ctrl-C or the end of their task, also before they began.
    refused : int
        Calls whose inputs or outputs do not fit the model, so that nothing was run.
    in_flight : int
        Runs in progress at that moment.
    queued : int
        Submitted and awaited runs that had not begun.
    total_seconds : float
        How long the runs took, one after another; marshalling and waiting in a queue are not part of it.
    maximum_seconds : float
        How long the longest run took, of those that were timed.
    timed_runs : int
        How many runs were timed. Of runs that take some microseconds and follow one another, one in 64 is; each other
        one counts as long as the one that was timed before it. All other runs are timed.
    bytes_in : int
        Size of the inputs of all runs: the ``nbytes`` of arrays, of arrays in sequences, and of the values of sparse
        tensors. Strings and maps do not count.
    bytes_out : int
        Size of the outputs of all runs that succeeded, likewise.
    since : float
        When the session was opened, as `time.time` has it.
    seconds : float
        How long ago that was, by a clock that is never set.
    """

    runs: int
    errors: Mapping[str, int] = field(hash=False)
    timeouts: int
    cancelled: int
    refused: int
    in_flight: int
    queued: int
    total_seconds: float
    maximum_seconds: float
    timed_runs: int
    bytes_in: int
    bytes_out: int
    since: float
    seconds: float

    @property
    def mean_seconds(self) -> float:
        """How long a run took on average; 0 if there was none."""
        return self.total_seconds / self.runs if self.runs else 0.0

    def asdict(self) -> dict[str, Any]:
        """Return the attributes as a new dictionary of numbers, in which only ``errors`` is a dictionary itself."""
        return dataclasses.asdict(self)


def total(all_stats: Iterable[Stats]) -> Stats:
    """Return the stats of several sessions as if they were one: sums, the longest run, the first to be opened."""
    several = [stats.asdict() for stats in all_stats]
    sums: dict[str, Any] = {name: sum(stats[name] for stats in several) for name in several[0] if name != "errors"}
    sums["errors"] = {
        name: sum(stats["errors"].get(name, 0) for stats in several)
        for name in dict.fromkeys(name for stats in several for name in stats["errors"])
    }
    sums["maximum_seconds"] = max(stats["maximum_seconds"] for stats in several)
    sums["since"] = min(stats["since"] for stats in several)
    sums["seconds"] = max(stats["seconds"] for stats in several)
    return Stats(**sums)
