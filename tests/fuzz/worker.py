"""Open and run whatever models come in on standard input, in a process that may die of it; see `models_worker.py`.

Each model is a line of JSON (``size``, ``options``, ``seed``) and that many bytes. What is written are lines of JSON:
the phase that begins ("open", "run"), and at the end the outcome: "ok", the name of an error of ortx's, or "untyped"
with what was raised.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from typing import Any

import numpy as np

import ortx

MOST_ELEMENTS = 1 << 16
DTYPES = {
    **{name: name for name in ("bool", "float16", "float32", "float64")},
    **{f"{sign}int{bits}": f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)},
}


def limit_memory() -> None:
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    if "LD_PRELOAD" not in os.environ:  # sanitizers reserve more address space than there is memory
        resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def say(**words: object) -> None:
    sys.stdout.write(json.dumps(words) + "\n")
    sys.stdout.flush()


def array_for(info: ortx.ValueInfo, random: np.random.Generator) -> Any:
    """Return something that an input takes, if it is a plain tensor of a moderate size."""
    if info.onnx_type != "tensor" or info.data_type not in {*DTYPES, "string"}:
        raise ortx.NotSupported("no input is made for this")
    shape = [size if size >= 0 else int(random.integers(0, 4)) for size in info.shape or (2, 3)]
    if np.prod(shape, dtype=float) > MOST_ELEMENTS:
        raise ortx.NotSupported("no input so large is made")
    if info.data_type == "string":
        return np.full(shape, "ab", object)
    numbers = random.integers(-3, 9, shape) if random.random() < 0.8 else random.integers(-(2**40), 2**40, shape)
    return numbers.astype(DTYPES[info.data_type])


def use(model: bytes, options: dict[str, object], seed: int) -> str:
    say(phase="open")
    try:
        with ortx.session_from_bytes(model, options) as session:
            random = np.random.default_rng(seed)
            inputs = {name: array_for(session.input_info(name), random) for name in session.input_names()}
            session.metadata(), repr(session)
            say(phase="run")
            for output in session.run(inputs, timeout=20):
                repr(output)[:100]
    except ortx.Error as error:
        return type(error).__name__
    return "ok"


def main() -> None:
    limit_memory()
    warnings.simplefilter("ignore")
    ortx.configure(log_severity_level=4)
    say(ready=ortx.load_library().version)
    while line := sys.stdin.buffer.readline():
        case = json.loads(line)
        model = sys.stdin.buffer.read(case["size"])
        try:
            outcome = use(model, case["options"], case["seed"])
        except BaseException as error:
            say(outcome="untyped", what=f"{type(error).__name__}: {error}")
            continue
        say(outcome=outcome)


main()
