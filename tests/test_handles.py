"""That every native handle is counted: the tables of the C API against what the core says of its own (`api.pxi`)."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from test_abi import PARTS, ROW_OF, TYPED, function_around

from ortx import _core

# What each function that releases something releases, in the words of `_core._live_handles`.
KIND_OF_RELEASE = {
    "ReleaseSession": {"session"},
    "ReleaseValue": {"value"},
    "ReleaseRunOptions": {"run_options"},
    "ReleaseIoBinding": {"io_binding"},
    "ReleasePrepackedWeightsContainer": {"prepacked_weights"},
    "ReleaseSessionOptions": {"session_options", "custom_op_library"},
    "ReleaseTypeInfo": {"type_info"},
    "ReleaseTensorTypeAndShapeInfo": {"tensor_info"},
    "ReleaseModelMetadata": {"model_metadata"},
    "ReleaseCUDAProviderOptions": {"provider_options"},
    "ReleaseTensorRTProviderOptions": {"provider_options"},
    "ReleaseThreadingOptions": {"threading_options"},
    "ReleaseArenaCfg": {"arena_config"},
    "ReleaseMemoryInfo": {"memory_info"},
    "ReleaseAllocator": {"allocator"},
    "ReleaseKeyValuePairs": {"key_value_pairs"},
}
NOT_COUNTED = {
    "ReleaseStatus": "nobody but check() and discard() ever has one, and they release it",
    "ReleaseAvailableProviders": "an array of names, given back by the function that asked for it",
}

# Functions that release without counting, and why that is right.
COUNTED_ELSEWHERE = {
    ("binding.pxi", "renew"): "one handle is exchanged for another",
    ("binding.pxi", "fetch"): "values of ORT's that were never handed on to an owner",
    ("frame.pxi", "frame_release_inputs"): "frame_clear counts all inputs of a frame",
    ("frame.pxi", "renew_value"): "exchanged for another: kept values belong to their slot, and go with it",
    ("frame.pxi", "drop_value"): "frame_clear counts them",
    ("typeinfo.pxi", "release_kept"): "kept values belong to their slot, and go with it",
    ("strings.pxi", "library_has_our_layout"): "made and released in this function, once per process",
}

# What a function calls that makes the owner, who counts, of the handle that it got.
OWNERS = r"\b(?:own_value|make_feed|python_value|take_shape|take_type_info)\("
# Of those that live as long as the process there is nothing to count.
FOR_GOOD = {
    ("library.pxi", "CreateCpuMemoryInfo"),
    ("library.pxi", "GetAllocatorWithDefaultOptions"),
    ("env.pxi", "CreateRunOptions"),
    ("env.pxi", "CreateEnvWithCustomLogger"),
    ("env.pxi", "CreateEnvWithCustomLoggerAndGlobalThreadPools"),
}
HANDED_ON = {
    ("binding.pxi", "CreateIoBinding", "renew"): "one handle is exchanged for another",
    **{
        (
            "env.pxi",
            slot,
            "create_session",
        ): "create_native counts it, make_empty_sequence too; joining ones are for good"
        for slot in (
            "CreateSession",
            "CreateSessionFromArray",
            "CreateSessionWithPrepackedWeightsContainer",
            "CreateSessionFromArrayWithPrepackedWeightsContainer",
        )
    },
    ("container.pxi", "Run", "joined_items"): "writes into a value that has its owner",
    ("typeinfo.pxi", "SessionGetInputTypeInfo", "input_signature"): "session_infos counts what it gets",
    ("typeinfo.pxi", "SessionGetOutputTypeInfo", "output_signature"): "session_infos counts what it gets",
    ("typeinfo.pxi", "SessionGetOverridableInitializerTypeInfo", "input_signature"): "session_infos counts them, too",
    ("frame.pxi", "Run", "frame_run"): "unmarshal makes their owners; frame_clear releases what is left",
    ("strings.pxi", "CreateTensorAsOrtValue", "library_has_our_layout"): "released there",
    ("strings.pxi", "CreateTensorWithDataAsOrtValue", "library_has_our_layout"): "released there",
}


def name_of(function: str) -> str:
    heading = re.search(r"(\w+)\(", function)
    assert heading
    return heading[1]


def uses(slots: set[str]) -> Iterator[tuple[str, str, str]]:
    """Yield (part, slot, text of the function around) for every use of these slots."""
    for part, lines in PARTS.items():
        for number, line in enumerate(lines):
            for match in re.finditer(r"\bapi\.(\w+)", line):
                if match[1] in slots:
                    yield part, match[1], function_around(lines, number)


RELEASES = {name for name in TYPED if name.startswith("Release")}


def test_every_function_that_releases_a_handle_has_a_kind_that_is_counted():
    assert {*KIND_OF_RELEASE, *NOT_COUNTED} == RELEASES
    assert set().union(*KIND_OF_RELEASE.values()) == set(_core._live_handles())


def test_whoever_releases_a_handle_counts_it():
    uncounted = {
        (part, name_of(function), slot)
        for part, slot, function in uses(RELEASES - set(NOT_COUNTED))
        if not any(f"live_handles.{kind} -= " in function for kind in KIND_OF_RELEASE[slot])
    }
    assert {(part, name) for part, name, _ in uncounted} == set(COUNTED_ELSEWHERE)


def gives_handle(name: str) -> str:
    """Return the kind of handle that a function of the C API gives to its caller, who has to release it; or nothing."""
    row = ROW_OF[name]
    released = {re.sub(r"\W", "", ROW_OF[release].parameters.split()[0]): release for release in KIND_OF_RELEASE}
    for parameter in row.parameters.split(", "):
        match = re.fullmatch(r"(const )?(Ort\w+)\*\*\*? (\w+)", parameter)
        if match and not match[1] and match[2] in released and not name.startswith("Cast"):
            return match[2]
    return ""


GIVING = {name for name in TYPED if gives_handle(name)}


def test_the_functions_that_give_a_handle_are_recognised():
    assert {
        "CreateSession",
        "Run",
        "GetValue",
        "SessionGetModelMetadata",
        "AllocatorGetStats",
        "CreateAllocator",
    } <= GIVING
    assert {"GetMapValueType", "GetTensorTypeAndShape", "GetBoundOutputValues"} <= GIVING
    assert not {"GetTensorMutableData", "CastTypeInfoToTensorInfo", "SessionGetMemoryInfoForInputs"} & GIVING


def test_whoever_gets_a_handle_counts_it_or_gives_it_to_an_owner():
    uncounted = {
        (part, slot, name_of(function))
        for part, slot, function in uses(GIVING)
        if (part, slot) not in FOR_GOOD
        and not re.search(r"\blive_handles\.\w+ \+= ", function)
        and not re.search(OWNERS, function)
    }
    accepted = {key for key in HANDED_ON if key in uncounted}
    assert uncounted - accepted == set()
    assert accepted == set(HANDED_ON), "an exception that is not needed any more"


@pytest.mark.parametrize("kind", sorted(_core._live_handles()))
def test_each_kind_goes_up_and_down(kind):
    text = "\n".join(line for lines in PARTS.values() for line in lines)
    assert re.search(rf"live_handles\.{kind} \+= ", text)
    assert re.search(rf"live_handles\.{kind} -= ", text)
