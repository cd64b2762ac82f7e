"""Models with mistakes: ONNX Runtime refuses or runs them, and if it dies of one, that is seen and kept.

A process opens and runs them; see `worker.py`. A model that ends it is written into build/fuzz. What to do with it then
says crashes/README.md.
"""

from __future__ import annotations

import contextlib
import hashlib
import os

import pytest
from fuzzing import FOUND, SEED, rounds
from known import is_known
from models_worker import Worker
from mutations import bases, mutated

LEVELS = ["all", "disable", "basic", "extended"]


def test_models_with_mistakes_are_refused_or_run():
    found = []
    with contextlib.closing(Worker()) as worker:
        for seed in rounds("models"):
            for number in range(20):
                name = f"{seed}-{number}"
                how, model = mutated(name)
                options = {"intra_op_num_threads": 1, "graph_optimization_level": LEVELS[number % len(LEVELS)]}
                outcome = worker.use(model, options, seed=number)
                if not outcome.is_sound and not is_known(outcome, model):
                    file = FOUND / f"{hashlib.sha256(model).hexdigest()[:16]}.onnx"
                    file.write_bytes(model)
                    found.append(f"{name} ({how}): {outcome.end} while {outcome.phase}; {options}; kept as {file}")
    assert not found, "\n".join([f"FUZZ_SEED={SEED}, ONNX Runtime {worker.version}:", *found])


def test_the_worker_says_of_each_end_what_it_was():
    sound, garbage = bases()["square"], b"no model"
    with contextlib.closing(Worker(seconds=5)) as worker:
        assert worker.use(sound, {}).end == "ok"
        assert worker.use(garbage, {}).end == "InvalidProtobuf"
        assert worker.use(sound, {"no": 1}).end == "OptionError"
        assert worker.use(sound, {}, seed="no number").end.startswith("untyped")
        process = worker.process
        process.kill()
        ended = worker.use(sound, {})
        killed = "exit 1" if os.name == "nt" else "signal 9"
        assert (ended.end, ended.phase, ended.is_sound) == (killed, "open", False)
        assert worker.use(sound, {}).end == "ok"  # in a new one


@pytest.mark.skipif("os.name == 'nt'", reason="needs SIGSTOP, which Windows does not have")
def test_a_worker_that_does_not_answer_is_ended():
    import signal

    with contextlib.closing(Worker(seconds=1)) as worker:
        worker.use(bases()["square"], {})
        worker.process.send_signal(signal.SIGSTOP)
        assert worker.use(bases()["square"], {}).end == "hang"
        assert worker.process is None


def test_the_same_seed_makes_the_same_model():
    made = [mutated(f"{seed}") for seed in range(40)]
    assert made == [mutated(f"{seed}") for seed in range(40)]
    assert len({model for _, model in made}) > 35
