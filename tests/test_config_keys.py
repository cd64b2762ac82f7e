"""Entries of ONNX Runtime's configuration: the table of keys (`ortx/config_keys.py`) and how entries are read.

That the table is right is read off the libraries themselves: a key that a library has is a string in its file.
"""

from __future__ import annotations

import contextlib
import enum
import pathlib
import platform
import re
import sys
import warnings
from collections import UserDict

import models
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ortx
from ortx import _core, config_keys
from ortx._core import Refusal, UnknownConfigKeyWarning
from ortx.config_keys import (
    DYNAMIC_KEYS,
    OPTION_OF_KEY,
    RUN_KEYS,
    SESSION_KEYS,
    check_run_version,
    check_versions,
    read_dynamic_options,
    read_run_entry,
)

SPINNING = "session.intra_op.allow_spinning"
PARALLEL_PREPACKING = "session.prepack.enable_parallel"
SHRINK = "memory.enable_memory_arena_shrinkage"
WORKLOAD = "ep.dynamic.workload_type"
CONTEXT = "ep.context_file_path"


class Entries(_core.Table):
    """Stands for the options of a session."""

    config_entries: tuple[tuple[str, str], ...] = _core.option(config_keys.read_session_entries, ())


def read(entries: object) -> tuple[tuple[str, str], ...]:
    return _core.read_table(Entries, "ortx.session", {"config_entries": entries}, {}).config_entries


# What each kind of value takes, and what it does not.
INT_MAX, INT64_MAX = 2**31 - 1, 2**63 - 1
NO_NUMBERS = ["", "banana", "1.5", "+1", " 1", "1 ", "0x10", "1_000", "--1", "-", "\u0661", "9" * 5000]
WRONG_QNN_MODES = ["", "Burst", "high performance", "banana"]
KINDS = {
    "FLAG": (["0", "1"], ["", "banana", "true", "True", "2", "-1", "01", " 1", "1 ", "\u0661"]),
    "FORMAT": (["ONNX", "ORT"], ["", "onnx", "ort", ".ort"]),
    "FRACTION": (
        ["0", "1", "0.5", ".5", "1e-3", "1.0"],
        ["", "banana", "-0.1", "1.1", "inf", "nan", "+1", "1,0", "1."],
    ),
    "MICROSECONDS": (["-1", "0", "100", str(INT_MAX)], ["-2", str(INT_MAX + 1), *NO_NUMBERS]),
    "BYTES": (["0", "1024", str(INT64_MAX)], ["-1", str(INT64_MAX + 1), *NO_NUMBERS]),
    "QNN_MODE": (["burst", "default", "sustained_high_performance"], WRONG_QNN_MODES),
    "SEMICOLONS": (["", "ConstantFolding", "ConstantFolding;MatMulAddFusion"], ["ConstantFolding,MatMulAddFusion"]),
    "COMMAS": (["", "Conv", "Conv,Gemm"], ["Conv;Gemm"]),
    "AFFINITIES": (["1", "1,2;3-4", "1-8;9-16"], ["", "0", "1;0", "1, 2", "1;", "a", "-1", "1-", "0-1"]),
    "ARENAS": (
        ["", "cpu", "cpu:0", "cpu:0;gpu:0", "gpu:1;"],
        ["banana", "CPU:0", "cpu: 0", "cpu:a", ";cpu:0", "npu:0", "cpu,gpu"],
    ),
    "SHAPES": (["", "x:[8,4096]", "x:[8, 2]", "in:[8,4096];mask:[8,4096]"], ["banana", "x:8,2", "x=[8]", "x:[-1,2]"]),
    "LIMIT_AND_FILE": (["1000000,stats.csv", ",stats.csv", "1000,"], ["", "banana", "1000", "a,stats.csv"]),
    "TEXT": (["", "0", "/a/path", "caf\u00e9", "x" * 8192], []),
    "PATH": (["", "0", "/a/path", "caf\u00e9", "x" * 8192], []),
}
# Kinds that only one key has, or two.
KINDS_OF_KEYS = {
    **dict.fromkeys(
        ["session.intra_op.spin_backoff_max", "session.inter_op.spin_backoff_max"],
        (["1", str(INT_MAX)], ["0", "-1", str(INT_MAX + 1), *NO_NUMBERS]),
    ),
    "session.dynamic_block_base": (["0", "4"], ["-1", str(INT_MAX + 1), *NO_NUMBERS]),
    "session.qdq_matmulnbits_accuracy_level": (["0", "4"], ["5", "-1", "", "04"]),
    "session.qdq_matmulnbits_block_size": (["-1", "0", "16", "32", "256"], ["-2", "1", "8", "48", "512", ""]),
    "session.gqa_value_layout": (["BNSH", "BNHS"], ["", "bnsh", "NHWC"]),
    **dict.fromkeys(
        ["session.function_expansion_node_limit", "session.function_expansion_byte_limit"],
        (["1", str(INT64_MAX)], ["0", "-1", *NO_NUMBERS]),
    ),
    "session.graph_optimizations_loop_level": (["0", "1", "2"], ["3", "-1", ""]),
    "optimization.minimal_build_optimizations": (["save", "apply", ""], ["Save", "banana"]),
    "ep.cuda.fpa_intb_profile_m": (["0", "64"], ["-1", *NO_NUMBERS]),
    "ep.cuda.gqa_workspace_max_total_sequence_length": (["0", "4096"], ["-1", str(INT64_MAX + 1), *NO_NUMBERS]),
    "gpu_graph_id": (["-1", "0", "7"], ["-2", str(INT_MAX + 1), *NO_NUMBERS]),
    "qnn.rpc_control_latency": (["0", "100"], ["-1", *NO_NUMBERS]),
    "ep.dynamic.workload_type": (["Default", "Efficient"], ["", "efficient", "banana"]),
}


def values_of(key: str, keys: dict) -> tuple[list[str], list[str]]:
    """Return what a key takes and what it refuses, by this file."""
    if key in KINDS_OF_KEYS:
        return KINDS_OF_KEYS[key]
    (values,) = [values for name, values in KINDS.items() if getattr(config_keys, name) is keys[key].kind]
    return values


def read_run(key: str, value: object) -> tuple[tuple[str, str], ...]:
    return (read_run_entry(key, value),)


def read_dynamic(key: str, value: object) -> tuple[tuple[str, str], ...]:
    return read_dynamic_options({key: value})


def read_session(key: str, value: object) -> tuple[tuple[str, str], ...]:
    return read({key: value})


# Three ways in, each with its own keys.
READERS = {
    "session": (read_session, SESSION_KEYS),
    "run": (read_run, RUN_KEYS),
    "dynamic": (read_dynamic, DYNAMIC_KEYS),
}
EVERY_KEY = pytest.mark.parametrize(("way", "key"), [(way, key) for way, (_, keys) in READERS.items() for key in keys])
EVERY_WAY = pytest.mark.parametrize("way", READERS)


# --- values of known keys


@EVERY_KEY
def test_a_known_key_takes_what_is_documented(way, key):
    reader, keys = READERS[way]
    right, _ = values_of(key, keys)
    assert [reader(key, value) for value in right] == [((key, value),) for value in right]


@EVERY_KEY
def test_a_known_key_refuses_everything_else(way, key):
    reader, keys = READERS[way]
    _, wrong = values_of(key, keys)
    assert wrong or keys[key].kind in (config_keys.TEXT, config_keys.PATH)
    for value in wrong:
        with pytest.raises(ortx.OptionError) as caught:
            reader(key, value)
        assert type(caught.value) is ortx.OptionError, value
        assert key in str(caught.value)
        assert f"expected {keys[key].kind.expected}" in str(caught.value)


def test_a_refusal_names_the_place_the_value_and_what_is_allowed():
    with pytest.raises(ortx.OptionError) as caught:
        read({SPINNING: "banana"})
    assert str(caught.value) == (
        "ortx.session: option 'config_entries'['session.intra_op.allow_spinning']: got 'banana' (str); "
        "expected one of '0', '1'"
    )
    with pytest.raises(ortx.OptionError) as caught:
        read_run_entry("gpu_graph_id", "banana")
    assert str(caught.value) == (
        "add_config_entry: value: got 'banana' (str); expected an integer from -1 to 2147483647 "
        "(-1: capture nothing), as a string for the key 'gpu_graph_id'"
    )
    with pytest.raises(ortx.OptionError) as caught:
        read_dynamic_options({WORKLOAD: "fast"})
    assert str(caught.value) == (
        "set_ep_dynamic_options: options['ep.dynamic.workload_type']: got 'fast' (str); "
        "expected one of 'Default', 'Efficient'"
    )


def test_a_long_known_key_is_named_in_full():
    key = max(SESSION_KEYS, key=len)
    with pytest.raises(ortx.OptionError, match=re.escape(f"[{key!r}]")):
        read({key: "banana"})


# --- strings


class Key(enum.StrEnum):
    SPINNING = SPINNING


class Mode(str, enum.Enum):  # noqa: UP042 - its str() is not its text
    OFF = "0"


def test_entries_keep_the_order_of_the_mapping_and_are_plain_strings():
    given_entries = UserDict({"session.disable_prepacking": np.str_("1"), Key.SPINNING: Mode.OFF, CONTEXT: ""})
    entries = read(given_entries)
    assert entries == (("session.disable_prepacking", "1"), (SPINNING, "0"), (CONTEXT, ""))
    assert {type(text) for entry in entries for text in entry} == {str}
    assert read({}) == ()


@pytest.mark.parametrize("wrong", [[(SPINNING, "0")], SPINNING, 1, {SPINNING}, (("a", "b"),)], ids=repr)
def test_entries_that_are_no_mapping_are_refused(wrong):
    with pytest.raises(
        ortx.OptionTypeError, match="'config_entries': got .*; expected a mapping from strings to strings"
    ):
        read(wrong)
    with pytest.raises(ortx.OptionTypeError, match="options: got .*; expected a mapping with at least one entry"):
        read_dynamic_options(wrong)


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        *((True, "; write '1'"), (False, "; write '0'"), (0, "; write '0'"), (4, "; write '4'")),
        *((2**70, ""), (None, ""), (b"1", ""), (1.0, ""), (np.True_, ""), (["1"], "")),
    ],
    ids=repr,
)
def test_a_value_that_is_no_string_is_refused_with_what_to_write(wrong, hint):
    for way in ("session", "run"):
        reader, _ = READERS[way]
        for key in ("my.own_key", SPINNING if way == "session" else SHRINK):
            with pytest.raises(ortx.OptionTypeError, match="expected a string") as caught:
                reader(key, wrong)
            assert re.search(rf"expected a string{hint}( for the key '[\w.]+')?$", str(caught.value))


@pytest.mark.parametrize("wrong", [1, True, None, b"session.disable_prepacking", ("a",)], ids=repr)
def test_a_key_that_is_no_string_is_refused(wrong):
    for way in ("session", "run"):
        with pytest.raises(ortx.OptionTypeError, match=r"got .*; expected a string as key$"):
            READERS[way][0](wrong, "1")


@EVERY_WAY
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a\0b", "without a NUL character"),
        ("\ud800", "lone surrogate"),
        ("x" * 8193, "of at most "),
        ("\u00e9" * 4097, r"of at most \d+ bytes \(it has 8194\)"),
    ],
    ids=["NUL", "surrogate", "long", "long in UTF-8"],
)
def test_what_onnx_runtime_cannot_take_is_refused(way, text, reason):
    reader, _ = READERS[way]
    for key, value in ((text, "1"), ("my.own_key", text), (CONTEXT, text)):
        with pytest.raises(ortx.OptionError, match=reason) as caught:
            reader(key, value)
        assert type(caught.value) is ortx.OptionError
        assert len(str(caught.value)) < 400


@EVERY_WAY
def test_an_empty_key_is_refused(way):
    with pytest.raises(ortx.OptionError, match="expected a key that is not empty"):
        READERS[way][0]("", "1")


def test_the_longest_key_and_value_are_the_longest_that_onnx_runtime_takes():
    if library_minor() < 25:
        pytest.skip("needs ONNX Runtime 1.25, which takes longer ones than before")
    native = ortx.run_options()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnknownConfigKeyWarning)
        native.add_config_entry("k" * config_keys.LONGEST_KEY, "v" * config_keys.LONGEST_VALUE)
        for key, value in (("k" * (config_keys.LONGEST_KEY + 1), ""), ("k", "v" * (config_keys.LONGEST_VALUE + 1))):
            with pytest.raises(ortx.InvalidArgument):
                native.add_config_entry(key, value)


# --- keys in the wrong place


@pytest.mark.parametrize("key", OPTION_OF_KEY)
@pytest.mark.parametrize("value", ["1", 1, None])
def test_a_key_with_an_option_of_its_own_is_refused_with_the_name_of_the_option(key, value):
    expected = f"expected the option {OPTION_OF_KEY[key]!r} in its place"
    with pytest.raises(ortx.OptionError, match=expected) as caught:
        read({SPINNING: "0", key: value})
    assert f"'config_entries'[{key!r}]: got {value!r}" in str(caught.value)


def test_the_options_named_in_place_of_keys_exist():
    assert not OPTION_OF_KEY.keys() & SESSION_KEYS.keys()
    known = set(_core.SessionOptions.fields)
    assert set(OPTION_OF_KEY.values()) - known <= {"profile_file_prefix"}


@pytest.mark.parametrize(
    ("way", "key", "value", "where"),
    [
        ("session", SHRINK, "cpu:0", "concerns runs, not sessions; use RunOptions.add_config_entry"),
        ("session", WORKLOAD, "Default", "use Session.set_ep_dynamic_options"),
        ("run", SPINNING, "0", "concerns sessions, not runs; use the option 'config_entries' of ortx.session"),
        ("run", "session.log_id", "x", "concerns sessions, not runs; use the option 'log_id' of ortx.session"),
    ],
)
def test_a_key_in_the_wrong_place_is_kept_with_a_warning_that_says_where_it_belongs(way, key, value, where):
    with pytest.warns(UnknownConfigKeyWarning, match=re.escape(where)):
        assert READERS[way][0](key, value) == ((key, value),)


# --- unknown keys


@pytest.mark.parametrize(
    ("way", "key", "nearest"),
    [
        ("session", "session.intra_op.allow_spining", "; did you mean 'session.intra_op.allow_spinning'?"),
        ("session", "session.intra_op_num_thread", "; did you mean 'session.intra_op_num_threads'?"),
        ("session", "ep.context_enabled", "; did you mean 'ep.context_enable'?"),
        ("session", "something else entirely", ""),
        ("run", "memory.enable_arena_shrinkage", "; did you mean 'memory.enable_memory_arena_shrinkage'?"),
        ("run", "zzz", ""),
        ("dynamic", "ep.dynamic.workload", "; did you mean 'ep.dynamic.workload_type'?"),
        ("dynamic", "ep.dynamic.\u00fc" + 20 * "x", ""),
    ],
)
def test_an_unknown_key_is_kept_with_a_warning_that_names_the_nearest(way, key, nearest):
    with pytest.warns(UnknownConfigKeyWarning) as caught:
        assert READERS[way][0](key, "banana") == ((key, "banana"),)
    (warning,) = caught
    assert str(warning.message) == (
        f"config entry {key!r} is unknown{nearest} "
        "(it is handed on to ONNX Runtime, which ignores what it does not know)"
    )


def test_every_unknown_key_is_warned_about_but_none_if_an_entry_is_refused():
    with pytest.warns(UnknownConfigKeyWarning) as caught:
        read({"my.first": "", SPINNING: "0", "my.second": ""})
    assert [re.search(r"my\.\w+", str(warning.message))[0] for warning in caught] == ["my.first", "my.second"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ortx.OptionError):
            read({"my.first": "", SPINNING: "banana"})


@EVERY_WAY
def test_a_warning_points_at_the_caller_of_ortx(way):
    def call():
        return _core.read_table(Entries, "f", {"config_entries": {"ep.dynamic.x": ""}}, {})  # here

    calls = {
        "session": call,
        "run": lambda: read_run_entry("ep.dynamic.x", ""),
        "dynamic": lambda: read_dynamic_options({"ep.dynamic.x": ""}),
    }
    with pytest.warns(UnknownConfigKeyWarning) as caught:
        calls[way]()
    assert caught[0].filename == __file__
    assert caught[0].lineno == calls[way].__code__.co_firstlineno + (way == "session")


def test_without_a_caller_outside_of_ortx_the_warning_points_at_the_outermost_frame(run_python):
    code = """
import warnings
from ortx import config_keys
__name__ = "ortx.__main__"
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    config_keys.read_run_entry("my.own_key", "1")
print(caught[0].filename, caught[0].lineno)
"""
    done = run_python(code)
    assert (done.stdout, done.stderr) == ("<string> 7\n", "")


@pytest.mark.parametrize("way", ["session", "run"])
@pytest.mark.parametrize(
    "key", ["ep.qnn.backend_path", "ep.webgpuexecutionprovider.storageBufferCacheMode", "ep.cuda.my.option"]
)
def test_an_option_of_a_known_provider_is_taken_without_a_warning(way, key):
    assert READERS[way][0](key, "anything") == ((key, "anything"),)


@pytest.mark.parametrize(
    "key", ["ep.QNN.backend_path", "ep.qnn.", "ep.qnn", "ep.qn.backend_path", "xep.qnn.backend_path"]
)
def test_what_only_resembles_an_option_of_a_provider_is_warned_about(key):
    with pytest.warns(UnknownConfigKeyWarning):
        read({key: "anything"})


# --- dynamic options


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "1"),
        (False, "0"),
        (np.True_, "1"),
        (np.array(False), "0"),
        (1, "1"),
        (-2.5, "-2.5"),
        (np.float32(0.5), "0.5"),
        (2**100, str(2**100)),
        (pathlib.PurePosixPath("a/b"), "a/b"),
        ("True", "True"),
        (Mode.OFF, "0"),
        ([1, 2], "[1, 2]"),
    ],
    ids=repr,
)
def test_values_of_dynamic_options_become_strings(value, text):
    assert read_dynamic_options({"my.own_key": value}) == (("my.own_key", text),)


def test_keys_of_dynamic_options_become_strings():
    entries = read_dynamic_options(UserDict({1: "a", 2.5: "b", np.str_("c"): "c"}))
    assert entries == (("1", "a"), ("2.5", "b"), ("c", "c"))
    assert {type(text) for entry in entries for text in entry} == {str}


def test_keys_of_dynamic_options_that_become_the_same_string_are_refused():
    with pytest.raises(ortx.OptionError, match=r"got 1 \(int\); expected keys that differ as strings"):
        read_dynamic_options({"1": "a", 1: "b"})


@pytest.mark.parametrize("wrong", [None, b"1", bytearray(b"1"), memoryview(b"1")], ids=repr)
def test_what_has_no_useful_text_is_refused_as_a_dynamic_option(wrong):
    with pytest.raises(ortx.OptionTypeError, match=r"options\['my.own_key'\]: got "):
        read_dynamic_options({"my.own_key": wrong})
    if not isinstance(wrong, bytearray):
        with pytest.raises(ortx.OptionTypeError, match="options: got "):
            read_dynamic_options({wrong: "1"})


@pytest.mark.parametrize("empty", [{}, UserDict()], ids=repr)
def test_no_dynamic_options_are_refused(empty):
    with pytest.raises(ortx.OptionError, match="expected a mapping with at least one entry") as caught:
        read_dynamic_options(empty)
    assert type(caught.value) is ortx.OptionError


# --- any text

TEXT = st.text(st.characters(exclude_categories=()), max_size=30)
ANY_KEY = TEXT | st.sampled_from([*SESSION_KEYS, *RUN_KEYS, *DYNAMIC_KEYS, *OPTION_OF_KEY])
ANY_VALUE = TEXT | st.from_regex(r"-?[0-9]{0,25}(\.[0-9]+)?(e-?[0-9]+)?", fullmatch=True)
ANYTHING = TEXT | st.none() | st.integers() | st.floats() | st.binary() | st.booleans() | st.tuples()


@given(st.dictionaries(ANY_KEY, ANY_VALUE) | st.dictionaries(ANYTHING, ANYTHING))
def test_any_mapping_gives_its_entries_or_an_option_error(mapping):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnknownConfigKeyWarning)
        with contextlib.suppress(ortx.OptionError):
            assert read(mapping) == tuple(mapping.items())
        try:
            entries = read_dynamic_options(mapping)
        except ortx.OptionError:
            pass
        else:
            assert len(entries) == len(mapping)
            assert {type(text) for entry in entries for text in entry} == {str}
        for key, value in mapping.items():
            with contextlib.suppress(ortx.OptionError):
                assert read_run_entry(key, value) == (key, value)


# --- versions


@pytest.mark.parametrize("key", SESSION_KEYS)
def test_a_key_is_refused_with_a_library_that_is_older(key):
    since = SESSION_KEYS[key].since
    entries = ((SPINNING, "0"), ("my.own_key", ""), (key, ""))
    check_versions(entries, since or 20, f"1.{since or 20}.0")
    check_versions(entries, 20, "1.45.0-dev+abc")
    if since is None or since == 20:
        check_versions(entries, 20, "1.20.1")
        return
    with pytest.raises(ortx.NotSupported) as caught:
        check_versions(entries, 45, f"1.{since - 1}.2")
    assert str(caught.value) == (
        f"ortx.session: option 'config_entries'[{key!r}] needs ONNX Runtime 1.{since} or newer; "
        f"1.{since - 1}.2, which is loaded, would ignore it"
    )


def test_the_api_version_decides_where_the_library_version_makes_no_sense():
    check_versions([(PARALLEL_PREPACKING, "1")], 31, "nightly")
    with pytest.raises(ortx.NotSupported, match="needs ONNX Runtime 1.31 or newer; nightly"):
        check_versions([(PARALLEL_PREPACKING, "1")], 30, "nightly")


def test_a_key_of_a_run_is_refused_with_a_library_that_is_older(monkeypatch):
    for key in [*RUN_KEYS, "my.own_key"]:
        check_run_version(key, 20, "1.20.0")  # so far nothing is newer
    flag = config_keys.FLAG
    monkeypatch.setattr(config_keys, "RUN_KEYS", {"new": config_keys.Key(flag, 32)})
    check_run_version("new", 31, "1.32.0")
    with pytest.raises(ortx.NotSupported, match="add_config_entry: 'new' needs ONNX Runtime 1.32 or newer; 1.31.1"):
        check_run_version("new", 31, "1.31.1")


# --- the library's own strings


def library_minor() -> int:
    return int(ortx.load_library().version.split(".")[1])


KEYS = {key: known.since for key, known in (SESSION_KEYS | RUN_KEYS | DYNAMIC_KEYS).items()} | dict.fromkeys(
    OPTION_OF_KEY, 28
)
# The compiler turned these into instructions: their characters are in the file, but not all together.
SCATTERED = {
    31: {
        "session.use_ort_model_bytes_directly",
        "session.model_external_initializers_file_folder_path",
        "session.enable_cpu_fp16",
        "session.allow_released_opsets_only",
        "mlas.disable_kleidiai",
    },
    20: {"session.load_model_format"},
}
NOT_IN_THE_CPU_BUILD = {20: {"ep.context_embed_mode"}, 31: set()}
needs_linux = pytest.mark.skipif(
    (sys.platform, platform.machine()) != ("linux", "x86_64"),
    reason="which strings stay whole was looked up in the libraries for Linux on x86-64",
)


@needs_linux
@pytest.mark.parametrize(("version", "minor"), [("1.20.1", 20), ("1.31.1", 31)])
def test_a_library_has_the_keys_of_its_version_and_no_newer_ones(version, minor, runtime_wheel):
    contents = runtime_wheel(version).read_bytes()
    present = {key for key in KEYS if key.encode() in contents}
    expected = {key for key, since in KEYS.items() if since is not None and since <= minor}
    assert present == expected - SCATTERED[minor] - NOT_IN_THE_CPU_BUILD[minor]
    for key in SCATTERED[minor]:  # a load of 16 bytes takes the beginning from the data
        assert key[:16].encode() in contents


@needs_linux
def test_the_loaded_library_has_every_key_that_the_table_gives_it():
    info = ortx.load_library()
    if library_minor() != 31:
        pytest.skip(f"needs ONNX Runtime 1.31, not {info.version}: which strings stay whole differs")
    contents = pathlib.Path(info.path).read_bytes()
    missing = {key for key, since in KEYS.items() if since is not None and key.encode() not in contents}
    assert missing == SCATTERED[31]


def test_onnx_runtime_finds_no_fault_with_what_the_table_allows(run_python, tmp_path):
    if library_minor() != 31:
        pytest.skip("needs ONNX Runtime 1.31, with which the values were tried")
    pytest.importorskip("onnxruntime")
    # What depends on the model, the machine or other entries is left out, and what sets out to refuse a session.
    kinds = ["TEXT", "PATH", "SHAPES", "AFFINITIES", "FRACTION", "LIMIT_AND_FILE"]
    left_out = {
        key for key, known in SESSION_KEYS.items() for name in kinds if known.kind is getattr(config_keys, name)
    }
    left_out |= {"session.load_model_format", "session.disable_cpu_ep_fallback", "ep.context_enable"}
    left_out |= {"optimization.minimal_build_optimizations", "session.compile_only"}
    entries = [(key, value) for key in SESSION_KEYS if key not in left_out for value in values_of(key, SESSION_KEYS)[0]]
    assert len(entries) > 100
    model = tmp_path / "model.onnx"
    model.write_bytes(models.square())
    done = run_python(
        """
import ast, os, sys
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
import onnxruntime
for key, value in ast.literal_eval(sys.argv[1]):
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry(key, value)
    try:
        onnxruntime.InferenceSession(sys.argv[2], options, providers=["CPUExecutionProvider"])
    except Exception as error:
        print(key, repr(value), error)
""",
        entries,
        model,
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_the_readers_raise_only_what_their_callers_expect():
    # The reader of an option refuses; the two others are called directly, so they raise what the user sees.
    with pytest.raises(Refusal):
        config_keys.read_session_entries(None)
    assert issubclass(ortx.OptionTypeError, ortx.InvalidType)
    assert issubclass(UnknownConfigKeyWarning, UserWarning)
