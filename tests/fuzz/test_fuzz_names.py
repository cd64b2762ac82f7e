"""Any garbage as names, positions or containers of inputs and outputs ends in an `ortx.Error`; nothing else."""

from __future__ import annotations

import asyncio
import enum
from collections import UserDict, UserList
from types import MappingProxyType

import models
import numpy as np
from fuzzing import fuzz
from hypothesis import strategies as st

import ortx

X = np.ones((3, 2), np.float32)


class Name(str):
    """Hashes like "x" and is equal to nothing, or the other way round."""

    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        return False


class Word(enum.StrEnum):
    A = "a"
    SUM = "sum"


class Plain(str):
    """Like any string."""

    __slots__ = ()


# Of the model: whoever writes these means the names.
SAME_NAMES = [Word.A, Word.SUM, np.str_("b"), np.str_("difference"), Plain("sum"), Plain("a")]

NAMES = st.one_of(
    st.sampled_from(SAME_NAMES),
    st.sampled_from(["a", "b", "sum", "difference", "", "A", "a\0", "\ud800", "größe", "a" * 5000, Name("a")]),
    st.text(max_size=6),
    st.integers(),
    st.none(),
    st.sampled_from([b"a", 1.5, True, np.int64(0), np.str_("a"), object(), (), float("nan")]),
)
VALUES = st.sampled_from([X, X, X, X[:2], None, 3, "a", X.tolist(), object()])
PAIRS = st.lists(st.tuples(NAMES, VALUES), max_size=4)


def hashable(pairs: list) -> dict:
    return {name: value for name, value in pairs if getattr(name, "__hash__", None)}


CONTAINERS = st.one_of(
    PAIRS.map(hashable),
    PAIRS.map(hashable).map(UserDict),
    PAIRS.map(hashable).map(MappingProxyType),
    st.lists(VALUES, max_size=4),
    st.lists(VALUES, max_size=3).map(tuple),
    st.lists(VALUES, max_size=3).map(UserList),
    NAMES,
    VALUES,
)
ARRAYS_OF_NAMES = st.sampled_from([np.array(["sum"]), np.array("sum"), np.array([["sum"]]), np.array([1.5])])
LISTS_OF_NAMES = st.one_of(
    st.lists(NAMES, max_size=3), st.lists(NAMES, max_size=3).map(tuple), NAMES, st.just({"sum"}), ARRAYS_OF_NAMES
)
SESSION = {}


def session() -> ortx.Session:
    if "it" not in SESSION:
        SESSION["it"] = ortx.session_from_bytes(models.sum_and_difference())
    return SESSION["it"]


def bind(case: tuple) -> None:
    binding = session().create_io_binding()
    inputs, outputs, name = case
    for bound, call in ((inputs, binding.bind_input), (outputs, binding.bind_output)):
        for key, value in bound:
            try:
                call(key, value)
            except ortx.Error:
                continue
    binding.bound_inputs() if hasattr(binding, "bound_inputs") else None
    binding.run()[name]


def run(case: tuple) -> None:
    outputs = session().run(*case[:2], case[2] if isinstance(case[2], ortx.RunOptions) else None)
    outputs[0]
    assert all(type(name) is str for name in outputs.keys())  # noqa: SIM118


def run_into(case: tuple) -> None:
    session().run_into(case[0], case[1])


def submit(case: tuple) -> None:
    session().submit(*case).result()


def await_it(case: tuple) -> None:
    async def run() -> None:
        await session().run_async(*case)

    asyncio.run(run())


def look(name: object) -> None:
    session().input_info(name)
    session().output_info(name)


def pick(name: object) -> None:
    session().run([X, X])[name]


RUN_OPTIONS = st.sampled_from([None, None, 3, "x", object()])
CASES = st.one_of(
    st.tuples(st.just(run), st.tuples(CONTAINERS, LISTS_OF_NAMES | st.none(), RUN_OPTIONS)),
    st.tuples(st.just(run_into), st.tuples(CONTAINERS, CONTAINERS)),
    st.tuples(st.just(submit), st.tuples(CONTAINERS, LISTS_OF_NAMES | st.none())),
    st.tuples(st.just(await_it), st.tuples(CONTAINERS, LISTS_OF_NAMES | st.none())),
    st.tuples(st.just(bind), st.tuples(PAIRS, PAIRS, NAMES)),
    st.tuples(st.just(look), NAMES),
    st.tuples(st.just(pick), NAMES),
)


def ends_well(case: tuple) -> None:
    call, arguments = case
    try:
        call(arguments)
    except ortx.Error:
        return
    except (KeyError, IndexError, TypeError) as error:
        # What a tuple raises for a position, and a dict for a key: outputs are looked up as in these.
        assert call in (pick, bind), error  # noqa: PT017


def test_any_garbage_as_names_is_an_error_of_ortx():
    try:
        fuzz("names", CASES, ends_well)
    finally:
        SESSION.pop("it").close()
