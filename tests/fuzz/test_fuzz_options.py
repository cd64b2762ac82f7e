"""Any garbage as options ends in an `ortx.Error`, or in what was asked for; nothing else."""

from __future__ import annotations

import enum
import os
import warnings
from types import MappingProxyType

import models
import numpy as np
import pytest
from fuzzing import fuzz
from hypothesis import strategies as st

import ortx
from ortx import _core, config_keys, presets, providers

MODEL = models.overridable()


class OwnError(Exception):
    """Raised by an object of the caller's: it may come through."""


class Raising:
    """Raises whatever is asked of it."""

    def _raise(self, *arguments: object) -> object:
        raise OwnError

    __str__ = __repr__ = __index__ = __int__ = __float__ = __fspath__ = __len__ = __iter__ = __bool__ = _raise
    __eq__ = __contains__ = __getitem__ = keys = items = _raise
    __hash__ = object.__hash__


class Lying(dict):
    """A mapping that says to have what it has not."""

    def keys(self):
        return ["by", "key", "value"]

    def items(self):
        return [("intra_op_num_threads", "x"), (1, 2)]


class Word(enum.StrEnum):
    N = "n"
    CPU = "cpu"
    FILE = "no/such/folder/file"


SMALL = st.integers(-3, 9)  # a number of threads is taken at its word
NUMBERS = st.one_of(SMALL, st.integers(max_value=-1), st.integers(min_value=2**31), st.floats(), st.booleans())
TEXTS = st.one_of(
    st.text(max_size=12),
    st.sampled_from(["", "cpu", "0", "1", "a\0b", "\ud800", "all", "no/such/folder/file", "ORT", "größe", "x" * 3000]),
    st.sampled_from([np.str_("n"), np.str_("cpu"), np.str_("all"), np.str_("name"), Word.N, Word.CPU, Word.FILE]),
    st.sampled_from([*presets.PRESETS, *_core.GRAPH_OPTIMIZATION_LEVELS, *_core.EXECUTION_MODES, "name", "n"]),
)
ODDITIES = [
    Raising(),
    Lying(),
    object(),
    type,
    ortx.session,
    np.float32(1),
    np.int64(3),
    np.ones(2),
    b"bytes",
    1j,
    {1},
    ...,
]
OBJECTS = st.integers(0, len(ODDITIES) - 1).map(lambda at: ODDITIES[at])  # their names would be asked for otherwise
GARBAGE = st.recursive(
    st.one_of(st.none(), NUMBERS, TEXTS, OBJECTS, st.binary(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.tuples(inner, inner),
        st.dictionaries(st.one_of(TEXTS, SMALL), inner, max_size=3),
        st.fixed_dictionaries({"by": inner, "key": inner, "value": inner}),
        st.dictionaries(TEXTS, inner, max_size=2).map(MappingProxyType),
    ),
    max_leaves=6,
)
ENTRIES = st.dictionaries(st.one_of(st.sampled_from([*config_keys.SESSION_KEYS, *config_keys.RUN_KEYS]), TEXTS), TEXTS)
NAMES = list(_core.SessionOptions.fields)
PROVIDERS = [*providers.ALIASES, *ortx.available_providers()] if hasattr(providers, "ALIASES") else ["cpu", "coreml"]


def table(names: list[str]) -> st.SearchStrategy:
    pairs = st.tuples(st.one_of(st.sampled_from(names), TEXTS), GARBAGE)
    return st.lists(pairs, max_size=4).map(dict)


SESSION_TABLES = st.one_of(
    table(NAMES),
    st.fixed_dictionaries({"config_entries": ENTRIES}),
    st.fixed_dictionaries({"providers": st.tuples(st.sampled_from(PROVIDERS), st.dictionaries(TEXTS, GARBAGE))}),
    st.fixed_dictionaries({"free_dimension_overrides": GARBAGE, "initializers": GARBAGE}),
    GARBAGE,
)


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # options name files that are written


def ends_well(call, *arguments: object, **keywords: object) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            call(*arguments, **keywords)
        except (ortx.Error, OwnError):
            pass
        except TypeError as error:
            # Python's own refusal of keywords that are no strings.
            assert "keyword" in str(error)  # noqa: PT017


def open_and_close(given: object) -> None:
    with ortx.session_from_bytes(MODEL, given) as session:
        repr(session.options())


def use_run_options(given: object) -> None:
    made = ortx.run_options(given)
    repr(made)


def use_key_and_value(pair: tuple[object, object]) -> None:
    ortx.run_options().add_config_entry(*pair)


def use_dynamic_options(given: object) -> None:
    with ortx.session_from_bytes(MODEL) as session:
        session.set_ep_dynamic_options(given)


RUN_TABLES = st.one_of(table(["tag", "log_severity_level", "log_verbosity_level"]), GARBAGE)
CONFIGURATIONS = st.one_of(table(list(_core.RuntimeConfiguration.fields)), GARBAGE)
CASES = st.one_of(
    st.tuples(st.just(open_and_close), SESSION_TABLES),
    st.tuples(st.just(open_and_close), SESSION_TABLES),
    st.tuples(st.just(use_run_options), RUN_TABLES),
    st.tuples(st.just(use_key_and_value), st.tuples(GARBAGE, GARBAGE)),
    st.tuples(st.just(use_dynamic_options), GARBAGE),
    st.tuples(st.just(ortx.configure), CONFIGURATIONS),
    st.tuples(st.just(ortx.load_library), GARBAGE),
    st.tuples(st.just(ortx.load_custom_op_library), GARBAGE),
    st.tuples(st.just(ortx.session), GARBAGE),
    st.tuples(st.just(ortx.session_from_bytes), GARBAGE),
)


def test_any_garbage_as_options_is_an_error_of_ortx():
    ortx.session_from_bytes(
        MODEL
    ).close()  # what the process is configured for is settled, so `configure` changes nothing
    before = set(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else set()
    fuzz("options", CASES, lambda case: ends_well(*case))
    if before:
        assert len(os.listdir("/proc/self/fd")) <= len(before) + 3, "files were left open"
