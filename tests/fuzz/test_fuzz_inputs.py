"""Anything as an input: the result is that of numpy, or an `ortx.Error`; nothing else."""

from __future__ import annotations

import array
import ctypes
import datetime
import decimal
import fractions
import mmap
import warnings
from collections import UserList

import models
import numpy as np
from fuzzing import fuzz
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

import ortx


class OwnError(Exception):
    """Raised by an exporter of the caller's."""


class Exporter:
    """Has one of the ways to be read as an array, which returns something, or raises it."""

    def __init__(self, way: str, result: object) -> None:
        self.way, self.result, self.asked = way, result, 0

    def __getattr__(self, name: str) -> object:
        if name == vars(self).get("way"):
            return self.answer
        raise AttributeError(name)

    def answer(self, *arguments: object, **keywords: object) -> object:
        self.asked += 1
        if isinstance(self.result, BaseException):
            raise self.result
        return self.result


class Answering:
    """The same, where Python looks for the method in the class."""

    def __init__(self, result: object) -> None:
        self.result = result

    def __array__(self, dtype=None, copy=None):
        if isinstance(self.result, BaseException):
            raise self.result
        return self.result


class Number:
    """A number that says something else each time it is asked."""

    asked = 0

    def __float__(self) -> float:
        self.asked += 1
        if self.asked % 3 == 0:
            raise OwnError
        return float(self.asked)

    __index__ = None


class Shrinking(list):
    """Has fewer items each time that somebody looks."""

    def __len__(self) -> int:
        if list.__len__(self):
            self.pop()
        return list.__len__(self)

    def __getitem__(self, index):
        if list.__len__(self):
            self.pop()
        return list.__getitem__(self, index)


class Subclass(np.ndarray):
    """Says nothing true of itself."""

    def __array_finalize__(self, other):
        pass

    def __len__(self) -> int:
        return 10**9

    def __array__(self, dtype=None, copy=None):
        raise OwnError

    def __eq__(self, other: object) -> bool:
        raise OwnError

    __hash__ = None


def closed_map() -> mmap.mmap:
    made = mmap.mmap(-1, 24)
    made.close()
    return made


def released_view() -> memoryview:
    view = memoryview(bytes(24))
    view.release()
    return view


def in_itself() -> list:
    made: list = [1.0]
    made.append(made)
    return made


def deep(levels: int) -> object:
    made: object = 1.0
    for _ in range(levels):
        made = [made]
    return made


class Record(ctypes.Structure):
    _fields_ = (("a", ctypes.c_float), ("b", ctypes.c_double))


X = np.arange(6, dtype=np.float32).reshape(3, 2)
ODDITIES = {
    "an exporter that raises": lambda: Answering(OwnError("no")),
    "an exporter that returns a list": lambda: Answering([1, 2]),
    "an exporter that returns itself": lambda: (lambda made: made.__setattr__("result", made) or made)(Answering(0)),
    "dlpack that raises": lambda: Exporter("__dlpack__", BufferError("no")),
    "dlpack that returns nonsense": lambda: Exporter("__dlpack__", 3),
    "an array interface that is none": lambda: Exporter("__array_interface__", {"shape": (2,), "typestr": "what"}),
    "a struct that raises": lambda: Exporter("__array_struct__", OwnError("no")),
    "numbers that change": lambda: [[Number(), 1.0]],
    "a list that shrinks": lambda: Shrinking([[1.0, 2.0]] * 9),
    "a list in itself": in_itself,
    "lists, 60 deep": lambda: deep(60),
    "lists, 70 deep": lambda: deep(70),
    "lists, 2000 deep": lambda: deep(2000),
    "ragged lists": lambda: [[1, 2], [3]],
    "lists of everything": lambda: [[1, "a"], [None, 1j]],
    "a user's list": lambda: UserList([[1.0, 2.0]]),
    "a subclass": lambda: X.copy().view(Subclass),
    "a matrix": lambda: np.asmatrix(X),
    "a masked array": lambda: np.ma.masked_array(X, X > 2),
    "a record array": lambda: np.rec.array([(1.0, 2)], dtype=[("a", "f4"), ("b", "i4")]),
    "an array of objects": lambda: np.array([[1.0, OwnError]], object),
    "dates": lambda: np.array([["2020-01-01", "NaT"]], "M8[s]"),
    "a date": lambda: datetime.datetime(2020, 1, 1),
    "decimals": lambda: [[decimal.Decimal("1.5"), fractions.Fraction(1, 3)]],
    "an integer that no type holds": lambda: [[10**400, 1]],
    "a map that is closed": closed_map,
    "a view that is released": released_view,
    "an array of the standard library": lambda: array.array("f", [1, 2]),
    "a ctypes array": lambda: ((ctypes.c_float * 2) * 3)(),
    "a ctypes structure": Record,
    "bytes": lambda: bytes(24),
    "a bytearray": lambda: bytearray(24),
    "a view of two dimensions": lambda: memoryview(bytes(24)).cast("f", (3, 2)),
    "a view that is not contiguous": lambda: memoryview(X.copy())[::2],
    "a generator": lambda: (x for x in X),
    "a range": lambda: range(4),
    "a set": lambda: {1.0, 2.0},
    "a dict": lambda: {0: [1.0, 2.0]},
    "a class": lambda: np.ndarray,
    "a text": lambda: "1.0",
    "nothing": lambda: None,
    "an optional": lambda: ortx.optional(X),
    "an empty optional": lambda: ortx.optional(),
    "a tensor": lambda: ortx.tensor(X),
    "a read-only array": lambda: np.frombuffer(bytes(24), np.float32).reshape(3, 2),
    "repeated rows": lambda: np.broadcast_to(X[0], (3, 2)),
    "a misaligned array": lambda: np.frombuffer(bytes(25), np.uint8)[1:].view(np.float32).reshape(3, 2),
    "overlapping windows": lambda: np.lib.stride_tricks.sliding_window_view(np.arange(4, dtype=np.float32), 2),
}
SHAPES = st.one_of(st.just((3, 2)), st_numpy.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=4))
DTYPES = st.one_of(
    st.sampled_from([np.dtype(np.float32)] * 4),
    st.sampled_from(
        [np.dtype(np.float32).newbyteorder(), np.dtype("c8"), np.dtype("V4"), np.dtype("S3"), np.dtype("U2")]
    ),
    st_numpy.scalar_dtypes(),
)


@st.composite
def arrays(draw) -> np.ndarray:
    """Draw an array in some layout."""
    dtype, shape = draw(DTYPES), draw(SHAPES)
    made = np.zeros(shape, dtype) if dtype.kind == "V" else draw(st_numpy.arrays(dtype, shape))
    match draw(st.integers(0, 5)):
        case 1:
            return np.asfortranarray(made)
        case 2 if made.ndim:
            return made[::-1]
        case 3:
            return made.T
        case 4:
            wide = np.zeros((*made.shape, 3), made.dtype)
            wide[..., 1] = made
            return wide[..., 1]
        case 5:
            made.flags.writeable = False
    return made


LEAVES = st.one_of(
    st.floats(width=32), st.integers(), st.booleans(), st.none(), st.text(max_size=2), st.complex_numbers()
)
NESTED = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.tuples(inner, inner), max_leaves=8)
MODELS = {
    "any shape": models.identity(),
    "(n, 2)": models.identity(shape=("n", 2)),
    "(3, 2)": models.identity(shape=(3, 2)),
    "int64": models.identity("int64"),
    "bool": models.identity("bool"),
    "float16": models.identity("float16"),
    "uint8": models.identity("uint8"),
}
VALUES = st.one_of(arrays(), arrays(), NESTED, st.sampled_from(sorted(ODDITIES)).map(lambda name: (name,)))
WAYS = ["run", "run_into", "bind", "tensor", "submit"]


def test_any_value_gives_what_numpy_says_or_an_error_of_ortx():
    sessions = {name: ortx.session_from_bytes(model, intra_op_num_threads=1) for name, model in MODELS.items()}

    def use(session: ortx.Session, way: str, value: object) -> object:
        if way == "run":
            return session.run([value])[0]
        if way == "submit":
            return session.submit([value]).result()[0]
        if way == "bind":
            binding = session.create_io_binding()
            binding.bind_input("x", value)
            return binding.run()["y"]
        if way == "tensor":
            return session.run([ortx.tensor(value)])[0]
        session.run_into({"x": X if session is sessions["(3, 2)"] else value}, {"y": value})
        return None

    def check(case: tuple[object, str, str]) -> None:
        value, name, way = case
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of numpy's, over values of no sense
            if isinstance(value, tuple) and len(value) == 1 and value[0] in ODDITIES:
                value = ODDITIES[value[0]]()
            try:
                result = use(sessions[name], way, value)
            except (ortx.Error, OwnError, MemoryError):
                return
        if type(value) is np.ndarray and result is not None:
            assert result.tobytes() == np.ascontiguousarray(value).tobytes()
            assert result.dtype == value.dtype

    try:
        fuzz("inputs", st.tuples(VALUES, st.sampled_from(sorted(MODELS)), st.sampled_from(WAYS)), check)
    finally:
        for session in sessions.values():
            session.close()
