"""Readers of numbers that several functions take as arguments."""

from __future__ import annotations

import operator
from numbers import Number

import numpy

from ._core import InvalidArgument, InvalidType, OptionError, OptionTypeError, shown

_NO_NUMBERS = "bcOSUTMm"  # numpy's kinds of elements that are none, or no real ones


def timeout(function: str, value: object) -> float:
    """Read the argument ``timeout`` of a function, which was given; it may be infinite."""
    where, expected = f"{function}: timeout", "a number of seconds, at least 0, or None"
    return _seconds(where, value, expected, InvalidType, InvalidArgument)


def seconds_option(function: str, option: str, value: object) -> float:
    """Read an option that is a number of seconds; it may be infinite."""
    where, expected = f"{function}: option {option!r}", "a number of seconds, at least 0"
    return _seconds(where, value, expected, OptionTypeError, OptionError)


def count_option(function: str, option: str, value: object) -> int:
    """Read an option that says how many, at least one."""
    problem = f"{function}: option {option!r}: got {{}}; expected an integer, at least 1"
    try:
        count = None if isinstance(value, bool) else operator.index(value)  # type: ignore[arg-type]
    except Exception:  # of whatever class stands there
        count = None
    if count is None:
        raise OptionTypeError(problem.format(shown(value)))
    if count < 1:
        raise OptionError(problem.format(shown(value)))
    return count


def _seconds(
    where: str, value: object, expected: str, wrong_type: type[InvalidType], wrong_value: type[InvalidArgument]
) -> float:
    error: type[InvalidArgument] = wrong_type
    seconds, reason = None, ""
    if _is_number(value):
        try:
            seconds = float(value)  # type: ignore[arg-type]
        except OverflowError:
            error, reason = wrong_value, ", not too large for a float"
        except Exception as problem:  # of whatever class stands there
            if isinstance(value, Number):  # a signalling NaN
                error = wrong_value
            reason = f" ({shown(problem, quote=True)})"
    if seconds is None or not seconds >= 0:
        raise (error if seconds is None else wrong_value)(f"{where}: got {shown(value)}; expected {expected}{reason}")
    return abs(seconds)  # of -0.0


def _is_number(value: object) -> bool:
    """Whether a value is one number, as far as can be seen without asking it for that."""
    if isinstance(value, (numpy.ndarray, numpy.generic)):
        return value.ndim == 0 and value.dtype.kind not in _NO_NUMBERS
    return hasattr(type(value), "__float__") and not isinstance(value, bool)
