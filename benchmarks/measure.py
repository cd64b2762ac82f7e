"""Measure rows in turns."""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import random
import time
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from . import suite, ways

SEED = 1  # of the order within the rounds; fixed, so that a strange result can be looked at again
MILLISECOND = 1_000_000
# Nanoseconds. Against this, a reading of the clock is nothing: some 40 usually, but up to 4,000 in Python, behind a
# call that has emptied the caches of the processor.
LONG_CALL = MILLISECOND

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Limits:
    """How much is measured at most."""

    rounds: int
    calls: int  # of a row in a round; fewer where they take long
    seconds: float
    least: int = 3  # rounds that are made however long they take
    longest: int = 25 * MILLISECOND  # a batch: a round's rows are to see the same machine


@dataclass(frozen=True)
class Series:
    """The raw numbers of one row."""

    calls: int  # in each round, of each caller
    callers: int
    batches: npt.NDArray[np.int64]  # of each round: the nanoseconds of all its calls together
    singles: npt.NDArray[np.int64]  # of each call by itself: nanoseconds, with one reading of the clock; may be empty

    @property
    def per_call(self) -> npt.NDArray[np.float64]:
        """Nanoseconds per call in each round; with several callers, of all their calls together."""
        return self.batches / (self.calls * self.callers)


@dataclass(frozen=True)
class Measurement:
    """A row of the suite, as it is shown, and its raw numbers."""

    case: suite.Case
    work: suite.Work
    row: suite.Row
    shown: str  # the call with the model's names in it
    series: Series


def measure_case(case: suite.Case, pace: suite.Pace) -> list[Measurement]:
    """Open the case's model on every side, and measure every row once in every round.

    The rounds are divided among several openings: each side has a session of its own, and where in memory that comes
    to lie makes a model whose weights just fill a cache faster or slower by some percent.
    """
    model = case.model()
    series: dict[suite.Row, Series] = {}
    for turn, part in enumerate(divide(pace)):
        with ways.opened(case, model, turn) as samplers:
            limits = Limits(part.rounds, part.calls * case.patience, part.seconds, part.least)
            more = measure(samplers, limits, series)
            series = {row: joined(series[row], more[row]) if series else more[row] for row in more}
    return [
        Measurement(case, work, row, ways.shown(row, model), series[row]) for work in case.works for row in work.rows
    ]


def divide(pace: suite.Pace) -> list[suite.Pace]:
    """Return a pace for each opening."""
    openings = min(pace.openings, pace.rounds)
    return [
        dataclasses.replace(
            pace,
            rounds=pace.rounds // openings + (opening < pace.rounds % openings),
            seconds=pace.seconds / openings,
            least=-(-pace.least // openings),
        )
        for opening in range(openings)
    ]


def joined(first: Series, second: Series) -> Series:
    """Return the rounds of both."""
    return dataclasses.replace(
        first,
        batches=np.concatenate([first.batches, second.batches]),
        singles=np.concatenate([first.singles, second.singles]),
    )


def measure(
    samplers: Mapping[Key, ways.Sampler], limits: Limits, earlier: Mapping[Key, Series] | None = None
) -> dict[Key, Series]:
    """Measure every row once in every round, in an order that changes, until the rounds or the time are over.

    A round is short (milliseconds), so that its rows see the same machine. The garbage collector
    runs between the rounds, never within. A row's turn is: some calls to fill the caches that the
    row before it used, a batch timed as a whole, and the same number of calls timed one by one.
    Where a call takes long, one batch serves for both. A batch has as many calls as one of an earlier measurement of
    the same rows, if there is one.
    """
    batches: dict[Key, list[int]] = {key: [] for key in samplers}
    singles: dict[Key, list[npt.NDArray[np.int64]]] = {key: [] for key in samplers}
    turns = list(samplers)
    shuffled = random.Random(SEED)
    with _without_collector():
        if earlier:
            counts = {key: earlier[key].calls for key in turns}
            estimates = {key: int(np.median(earlier[key].batches)) // counts[key] for key in turns}
        else:
            estimates = {key: _estimate(sampler, limits) for key, sampler in samplers.items()}
            counts = {key: int(np.clip(limits.longest // estimates[key], 1, limits.calls)) for key in turns}
        end = time.monotonic() + limits.seconds
        for done in range(limits.rounds):
            if done >= limits.least and time.monotonic() > end:
                break
            gc.collect(0)  # what this round made; a full collection would take longer than the round
            shuffled.shuffle(turns)
            for key in turns:
                sampler, count = samplers[key], counts[key]
                sampler.batch(max(count // 10, 1))
                if sampler.callers > 1:
                    batches[key].append(sampler.batch(count))
                    continue
                if estimates[key] < LONG_CALL:
                    batches[key].append(sampler.batch(count))
                stamps = sampler.stamps(count)
                if estimates[key] >= LONG_CALL:
                    batches[key].append(int(stamps[-1] - stamps[0]))
                singles[key].append(np.diff(stamps))
    return {
        key: Series(
            counts[key],
            sampler.callers,
            np.array(batches[key]),
            np.concatenate(singles[key]) if singles[key] else np.empty(0, np.int64),
        )
        for key, sampler in samplers.items()
    }


def _estimate(sampler: ways.Sampler, limits: Limits) -> int:
    """Return about how many nanoseconds one call of each caller takes."""
    calls = 1
    while True:
        elapsed = max(min(sampler.batch(calls), sampler.batch(calls)), 1)  # one of two may have been disturbed
        if elapsed >= MILLISECOND or calls >= limits.calls:
            return max(elapsed // calls, 1)
        calls = min(calls * 4, limits.calls)


@contextlib.contextmanager
def _without_collector() -> Iterator[None]:
    was_enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
