"""Numbers of seconds, and of things: read by one reader, whoever is given them (`ortx/arguments.py`)."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import ml_dtypes
import models
import numpy as np
import pytest

import ortx
from ortx import arguments

X = np.ones((1, 2), np.float32)


class Failing:
    """Something whose number nobody gets."""

    def __init__(self, error: type[BaseException]) -> None:
        self.error = error

    def __float__(self) -> float:
        raise self.error("no")

    __index__ = __float__


class Unprintable(Exception):
    def __repr__(self) -> str:
        raise self


NUMBERS = {
    "an int": 60,
    "a float": 60.0,
    "a large float": 1e300,
    "infinity": math.inf,
    "float32": np.float32(60),
    "int8": np.int8(60),
    "bfloat16": ml_dtypes.bfloat16(60),
    "an array without dimensions": np.array(60),
    "a Decimal": Decimal(60),
    "a Fraction": Fraction(121, 2),
}
WRONG_TYPES = {
    "True": True,
    "numpy's True": np.True_,
    "True in an array": np.array(True),
    "a string": "1",
    "numpy's string": np.str_("1"),
    "bytes": b"1",
    "complex": 1j,
    "numpy's complex": np.complex64(1),
    "a time": np.timedelta64(1, "s"),
    "a list": [1],
    "an array": np.array([1.0]),
    "a larger array": np.array([1, 2]),
    "a string in an array": np.array("a"),
    "an object in an array": np.array(1, object),
    "nothing but a name": object(),
    "what raises": Failing(ZeroDivisionError),
    "what raises an unprintable error": Failing(Unprintable),
    "what raises as float() does": Failing(ValueError),
}
WRONG_VALUES = {
    "NaN": math.nan,
    "numpy's NaN": np.float16("nan"),
    "NaN as a Decimal": Decimal("NaN"),
    "a signalling NaN": Decimal("sNaN"),
    "less than 0": -1,
    "much less": -math.inf,
    "a negative Fraction": Fraction(-1, 3),
    "an int too large for a float": 10**400,
    "a larger one": 10**5000,
    "a Fraction too large": Fraction(10**400),
}


@pytest.fixture
def ways() -> Any:
    """Return every function with a timeout, as one that takes nothing else."""
    with ortx.session_from_bytes(models.square(), intra_op_num_threads=1) as session, ortx.Batcher(session) as batcher:
        binding = session.create_io_binding()
        binding.bind_input("x", X)
        binding.bind_output("y")

        def awaited(function: Callable[..., Any], *given: object) -> Callable[..., Any]:
            async def main(**more: object) -> Any:
                return await function(*given, **more)

            return lambda **more: asyncio.run(main(**more))

        yield {
            "Session.run": lambda **more: session.run([X], **more),
            "Session.run_into": lambda **more: session.run_into([X], [np.zeros_like(X)], **more),
            "Session.run_with_iobinding": lambda **more: session.run_with_iobinding(binding, **more),
            "IOBinding.run": binding.run,
            "Session.run_async": awaited(session.run_async, [X]),
            "IOBinding.run_async": awaited(binding.run_async),
            "Batcher.run": awaited(batcher.run, [X]),
            "Batcher.run_blocking": lambda **more: batcher.run_blocking([X], **more),
        }


WAYS = ["Session.run", "Session.run_into", "Session.run_with_iobinding", "IOBinding.run", "Session.run_async"]
WAYS += ["IOBinding.run_async", "Batcher.run", "Batcher.run_blocking"]


@pytest.mark.parametrize("way", WAYS)
def test_every_kind_of_number_is_a_timeout(ways, way):
    for number in NUMBERS.values():
        assert ways[way](timeout=number)["y"].tolist() == [[1, 1]]


@pytest.mark.parametrize("way", WAYS)
def test_no_time_at_all_is_a_timeout_that_is_over(ways, way):
    for nothing in (0, -0.0, np.float32(0), Decimal(0)):
        with pytest.raises(ortx.RunTimeout, match=r"\b0 s"):
            ways[way](timeout=nothing)


@pytest.mark.parametrize("way", WAYS)
def test_what_is_no_timeout_is_refused_by_all_in_the_same_words(ways, way):
    for name, value in {**WRONG_TYPES, **WRONG_VALUES}.items():
        with pytest.raises(ortx.InvalidArgument) as caught:
            ways[way](timeout=value)
        assert type(caught.value) is (ortx.InvalidType if name in WRONG_TYPES else ortx.InvalidArgument)
        function, _, words = str(caught.value).partition(": ")
        assert function in ("run", "run_into", "run_with_iobinding", "run_async")
        got = ortx._core.shown(value)
        assert words.startswith(f"timeout: got {got}; expected a number of seconds, at least 0, or None")


@pytest.mark.parametrize("name", [*WRONG_TYPES, *WRONG_VALUES])
def test_a_delay_is_read_like_a_timeout(name):
    value = {**WRONG_TYPES, **WRONG_VALUES}[name]
    with pytest.raises(ortx.OptionError) as caught:
        arguments.seconds_option("Batcher", "max_delay", value)
    assert type(caught.value) is (ortx.OptionTypeError if name in WRONG_TYPES else ortx.OptionError)
    got = ortx._core.shown(value)
    assert str(caught.value).startswith(f"Batcher: option 'max_delay': got {got}; expected a number of seconds, at le")


@pytest.mark.parametrize("name", [*WRONG_TYPES, "a float", "a Decimal"])
def test_what_is_no_integer_is_no_count(name):
    with pytest.raises(ortx.OptionTypeError, match="^Batcher: option 'workers': got .*; expected an integer, at least"):
        arguments.count_option("Batcher", "workers", {**WRONG_TYPES, **NUMBERS}[name])


def test_a_count_is_at_least_one_and_may_be_numpy_s():
    assert arguments.count_option("Batcher", "workers", np.int64(3)) == 3
    assert type(arguments.count_option("Batcher", "workers", np.int64(3))) is int
    with pytest.raises(ortx.OptionError, match="got 0 .int.; expected an integer, at least 1"):
        arguments.count_option("Batcher", "workers", 0)


def test_what_ends_a_program_is_not_caught():
    with pytest.raises(KeyboardInterrupt):
        arguments.timeout("run", Failing(KeyboardInterrupt))
