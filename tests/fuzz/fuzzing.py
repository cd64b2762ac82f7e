"""How long the fuzzers go on, where they begin, and what they leave behind.

``FUZZ_SECONDS`` (30 by default) is the time for all targets together, ``FUZZ_SEED`` (0 by default) where they begin. A
failure names the seed that gives it again at once. What was being tried when a process died is in build/fuzz.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

SECONDS = float(os.environ.get("FUZZ_SECONDS") or 30)
SEED = int(os.environ.get("FUZZ_SEED") or 0)
FOUND = Path(__file__).parents[2] / "build" / "fuzz"

# Of 30 seconds.
SHARES = {"options": 4, "names": 3, "inputs": 5, "dlpack": 3, "modelfile": 3, "walk": 2, "models": 10}
EXAMPLES = 50  # in a round, which is of one seed

SETTINGS = settings(
    max_examples=EXAMPLES,
    database=None,  # a round is to be what its seed says
    print_blob=True,
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
    suppress_health_check=[*HealthCheck],
)


def rounds(target: str) -> Iterator[int]:
    """Yield seeds as long as the target's time lasts, one at least."""
    end = time.monotonic() + SECONDS * SHARES[target] / sum(SHARES.values())
    seed = SEED << 32
    while True:
        FOUND.mkdir(parents=True, exist_ok=True)
        (FOUND / f"{target}.seed").write_text(f"FUZZ_SEED={seed >> 32} round {seed & 0xFFFFFFFF}\n")
        yield seed
        seed += 1
        if time.monotonic() >= end:
            return


def fuzz(target: str, examples: st.SearchStrategy, check: Callable[[object], None]) -> None:
    """Call `check` with examples, for as long as the target has time."""
    for seed in rounds(target):
        attempt = hypothesis.seed(seed)(SETTINGS(hypothesis.given(examples)(check)))
        try:
            attempt()
        except BaseException as error:
            error.add_note(f"fuzzing {target}: FUZZ_SEED={SEED}, round {seed - (SEED << 32)}")
            raise
