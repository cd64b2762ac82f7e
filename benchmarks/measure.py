"""Measure the rows of a case in turns."""

from __future__ import annotations

import gc
import random
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from . import suite, ways

SEED = 1  # of the order within the rounds; fixed, so that a strange result can be looked at again


@dataclass(frozen=True)
class Measurement:
    """The raw numbers of one row."""

    case: suite.Case
    work: suite.Work
    row: suite.Row
    calls: int  # in each round
    batches: npt.NDArray[np.int64]  # of each round: the nanoseconds of all its calls together
    singles: npt.NDArray[np.int64]  # of each call, made apart from those: nanoseconds and one reading of the clock

    @property
    def per_call(self) -> npt.NDArray[np.float64]:
        """Nanoseconds per call in each round."""
        return self.batches / self.calls


def measure_case(case: suite.Case, rounds: int, calls: int) -> list[Measurement]:
    """Measure every row of a case once in every round, in an order that changes.

    A round is short (milliseconds), so that its rows see the same machine. The garbage collector
    runs between the rounds, never within. A row's turn is: some calls to fill the caches that the
    row before it used, a batch timed as a whole, and the same number of calls timed one by one.
    """
    order = [(work, row) for work in case.works for row in work.rows]
    batches: dict[suite.Row, list[int]] = {row: [] for _, row in order}
    singles: dict[suite.Row, list[npt.NDArray[np.int64]]] = {row: [] for _, row in order}
    shuffled = random.Random(SEED)
    turns = [row for _, row in order]
    with ways.opened(case) as samplers:
        was_enabled = gc.isenabled()
        gc.collect()
        gc.disable()
        try:
            for _ in range(rounds):
                gc.collect(0)  # what this round made; a full collection would take longer than the round
                shuffled.shuffle(turns)
                for row in turns:
                    sampler = samplers[row]
                    sampler.batch(max(calls // 10, 1))
                    batches[row].append(sampler.batch(calls))
                    singles[row].append(np.diff(sampler.stamps(calls)))
        finally:
            if was_enabled:
                gc.enable()
    return [
        Measurement(case, work, row, calls, np.array(batches[row]), np.concatenate(singles[row])) for work, row in order
    ]
