"""The CoreML fields: how they are read, what they mean together, and when they contradict (`ortx/coreml.py`).

What is expected comes from a model of its own: a world is one setting of everything that CoreML can be told, a field
with a value is the set of worlds that it allows, fields contradict each other if there is no world that all of them
allow. What ONNX Runtime is told is read back as ONNX Runtime reads it.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Iterator, Mapping
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ortx import coreml
from ortx._core import NotSupported, OptionError, OptionTypeError, Refusal
from ortx.coreml import CoreMLFlag, CoreMLSettings

UNITS = ["all", "cpu_only", "cpu_and_gpu", "cpu_and_neural_engine"]
BIT_CPU_ONLY, BIT_SUBGRAPH, BIT_ANE, BIT_STATIC, BIT_MLPROGRAM, BIT_GPU = 1, 2, 4, 8, 16, 32
DEVICE_BITS = [0, BIT_CPU_ONLY, BIT_GPU, BIT_ANE]
MASKS = [
    device | sum(switches)
    for device in DEVICE_BITS
    for switches in itertools.product((0, BIT_SUBGRAPH), (0, BIT_STATIC), (0, BIT_MLPROGRAM))
]
SWITCH_FIELDS = ["coreml_create_mlprogram", "coreml_require_static_input_shapes", "coreml_enable_on_subgraph"]
LEGACY_FIELDS = ["coreml_use_cpu_only", "coreml_use_cpu_and_gpu", "coreml_only_enable_device_with_ane"]
DOMAINS: dict[str, list] = {
    "coreml_compute_units": UNITS,
    **{field: [True, False] for field in SWITCH_FIELDS},
    "coreml_flags": MASKS,
    **{field: [True, False] for field in LEGACY_FIELDS},
}


# --- the model

# (compute units, ML Program, static shapes, subgraphs, only devices with a Neural Engine)
World = tuple[str, bool, bool, bool, bool]
WORLDS: list[World] = list(itertools.product(UNITS, *[(False, True)] * 4))


def allows(field: str, value: object, world: World) -> bool:
    units, mlprogram, static, subgraph, ane = world
    able = units in ("all", "cpu_and_neural_engine")  # to run on a Neural Engine
    match field:
        case "coreml_compute_units":
            return units == value
        case "coreml_create_mlprogram":
            return mlprogram == value
        case "coreml_require_static_input_shapes":
            return static == value
        case "coreml_enable_on_subgraph":
            return subgraph == value
        case "coreml_use_cpu_only":
            return (units == "cpu_only") == value
        case "coreml_use_cpu_and_gpu":
            return (units == "cpu_and_gpu") == value
        case "coreml_only_enable_device_with_ane":
            return (ane and able) if value else not ane
        case "coreml_flags":
            return all(
                not value & bit or holds
                for bit, holds in [
                    (BIT_CPU_ONLY, units == "cpu_only"),
                    (BIT_SUBGRAPH, subgraph),
                    (BIT_ANE, ane and able),
                    (BIT_STATIC, static),
                    (BIT_MLPROGRAM, mlprogram),
                    (BIT_GPU, units == "cpu_and_gpu"),
                ]
            )
    raise AssertionError(field)


@functools.cache
def allowed(field: str, value: object) -> int:
    """Return the worlds that a field allows, one bit each."""
    return sum(1 << number for number, world in enumerate(WORLDS) if allows(field, value, world))


@functools.cache
def members(worlds: int) -> list[World]:
    return [world for number, world in enumerate(WORLDS) if worlds >> number & 1]


@functools.cache
def certain(worlds: int) -> World:
    """Return what is the same in all these worlds, and None for what is not."""
    return tuple(
        next(iter(values)) if len(values) == 1 else None for values in map(set, zip(*members(worlds), strict=True))
    )


def as_onnx_runtime_reads_options(options: Mapping[str, str]) -> tuple:
    """Read provider options: an unknown key or word is an error, a switch is on if it is "1"."""
    assert set(options) <= {"ModelFormat", "MLComputeUnits", "RequireStaticInputShapes", "EnableOnSubgraphs"}
    return (
        {
            "ALL": "all",
            "CPUOnly": "cpu_only",
            "CPUAndGPU": "cpu_and_gpu",
            "CPUAndNeuralEngine": "cpu_and_neural_engine",
        }[options.get("MLComputeUnits", "ALL")],
        {"NeuralNetwork": False, "MLProgram": True}[options.get("ModelFormat", "NeuralNetwork")],
        options.get("RequireStaticInputShapes") == "1",
        options.get("EnableOnSubgraphs") == "1",
    )


def as_onnx_runtime_reads_flags(flags: int) -> tuple:
    """Read flags: of the three bits for the device at most one, and that of the Neural Engine is compute units too."""
    units = {0: "all", 1: "cpu_only", 32: "cpu_and_gpu", 4: "cpu_and_neural_engine"}[flags & (1 | 4 | 32)]
    return units, bool(flags & BIT_MLPROGRAM), bool(flags & BIT_STATIC), bool(flags & BIT_SUBGRAPH)


def check_combination(given_fields: Mapping[str, object]) -> CoreMLSettings | None:
    """Hold what `resolve` says of these fields against the model."""
    worlds = -1 & (1 << len(WORLDS)) - 1
    for field, value in given_fields.items():
        worlds &= allowed(field, value)
    try:
        settings = coreml.resolve(given_fields)
    except OptionError as error:
        assert not worlds, given_fields
        one, other = blamed(error)
        assert not allowed(one, given_fields[one]) & allowed(other, given_fields[other])
        return None
    assert worlds, f"a contradiction was not seen: {given_fields}"

    units, mlprogram, static, subgraph, ane = certain(worlds)
    if units is None and ane:
        units = "cpu_and_neural_engine"
    assert settings == CoreMLSettings(
        compute_units=units,
        create_mlprogram=mlprogram,
        require_static_input_shapes=static,
        enable_on_subgraph=subgraph,
        only_device_with_ane=ane,
        claims=(),
    )
    # The device is not among what ONNX Runtime is told, so it may be any of the two here.
    for told in told_to_onnx_runtime(settings):
        assert any(world[:4] == told for world in members(worlds)), given_fields
    return settings


def told_to_onnx_runtime(settings: CoreMLSettings) -> list[tuple]:
    options = coreml.provider_options(settings)
    assert (
        len(options)
        == [
            settings.compute_units,
            settings.create_mlprogram,
            settings.require_static_input_shapes,
            settings.enable_on_subgraph,
        ].count(None)
        * -1
        + 4
    ), "only what was said is passed on"
    told = as_onnx_runtime_reads_options(options), as_onnx_runtime_reads_flags(coreml.flags(settings))
    assert told[0] == told[1]
    return list(told)


def blamed(error: OptionError) -> list[str]:
    """Return the two different fields that the message names, each with its value."""
    named = re.findall(r"option '(coreml_\w+)' = ", str(error))
    assert len(set(named)) == 2
    return named


def combinations(domains: Mapping[str, list]) -> Iterator[dict[str, object]]:
    """Go through everything that can be said with these fields."""
    for values in itertools.product(*[[None, *values] for values in domains.values()]):
        yield {name: value for name, value in zip(domains, values, strict=True) if value is not None}


# --- contradictions

PAIRS = [
    ((one, one_value), (other, other_value))
    for one, other in itertools.combinations(DOMAINS, 2)
    for one_value in DOMAINS[one]
    for other_value in DOMAINS[other]
]


def test_the_fields_are_those_of_the_model():
    assert set(coreml.FIELDS) == set(DOMAINS)


def test_every_pair_of_fields_is_refused_if_and_only_if_it_contradicts():
    refused = [pair for pair in PAIRS if check_combination(dict(pair)) is None]
    assert refused == [pair for pair in PAIRS if not allowed(*pair[0]) & allowed(*pair[1])]
    assert len(refused) > 100


def test_everything_that_can_be_said_agrees_with_the_model():
    # The bits for switches are all set or all unset here; the next test has every mask.
    masks = [device | switches for device in DEVICE_BITS for switches in (0, BIT_SUBGRAPH | BIT_STATIC | BIT_MLPROGRAM)]
    outcomes = [check_combination(fields) is None for fields in combinations(DOMAINS | {"coreml_flags": masks})]
    assert len(outcomes) == 5 * 9 * 3**6
    assert 0 < sum(outcomes) < len(outcomes)


@pytest.mark.parametrize("others", [["coreml_compute_units", *LEGACY_FIELDS], SWITCH_FIELDS])
def test_everything_that_can_be_said_with_every_mask_agrees_with_the_model(others):
    outcomes = [
        check_combination(fields) is None
        for fields in combinations({name: DOMAINS[name] for name in ("coreml_flags", *others)})
    ]
    assert 0 < sum(outcomes) < len(outcomes)


@given(
    st.fixed_dictionaries({}, optional={name: st.sampled_from(values) for name, values in DOMAINS.items()}),
    st.randoms(use_true_random=False),
)
def test_any_fields_agree_or_two_of_them_are_named_in_whichever_order_they_are_written(fields, shuffler):
    settings = check_combination(fields)
    shuffled = list(fields.items())
    shuffler.shuffle(shuffled)
    if settings is not None:
        assert coreml.resolve(dict(shuffled)) == settings
    else:
        messages = set()
        for order in (fields, dict(shuffled)):
            with pytest.raises(OptionError) as caught:
                coreml.resolve(order)
            messages.add(str(caught.value))
        assert len(messages) == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("coreml_compute_units", "cpu_only"), ("coreml_use_cpu_and_gpu", True)),
        (("coreml_compute_units", "all"), ("coreml_use_cpu_only", True)),
        (("coreml_compute_units", "cpu_only"), ("coreml_use_cpu_only", False)),
        (("coreml_compute_units", "cpu_and_gpu"), ("coreml_use_cpu_and_gpu", False)),
        (("coreml_compute_units", "cpu_only"), ("coreml_only_enable_device_with_ane", True)),
        (("coreml_compute_units", "cpu_and_gpu"), ("coreml_only_enable_device_with_ane", True)),
        (("coreml_compute_units", "cpu_and_neural_engine"), ("coreml_flags", 0x001)),
        (("coreml_create_mlprogram", False), ("coreml_flags", 0x010)),
        (("coreml_flags", 0x004), ("coreml_only_enable_device_with_ane", False)),
        (("coreml_use_cpu_only", True), ("coreml_only_enable_device_with_ane", True)),
        (("coreml_use_cpu_only", True), ("coreml_use_cpu_and_gpu", True)),
    ],
)
def test_a_contradiction_is_refused_with_both_fields_and_both_values(one, other):
    with pytest.raises(OptionError, match=r"^ortx\.session: option 'coreml_\w+' = .* contradicts option ") as caught:
        coreml.resolve(dict([one, other]))
    for name, value in (one, other):
        shown = f"0x{value:03x} (" if name == "coreml_flags" else repr(value)
        assert f"option {name!r} = {shown}" in str(caught.value)


def test_a_contradiction_is_told_of_the_function_that_was_called():
    with pytest.raises(OptionError, match=r"^ortx\.session_from_bytes: option 'coreml_use_cpu_only'"):
        coreml.resolve(
            {"coreml_use_cpu_only": True, "coreml_use_cpu_and_gpu": True}, function="ortx.session_from_bytes"
        )


@pytest.mark.parametrize(
    ("fields", "options", "flags"),
    [
        ({}, {}, 0),
        ({"coreml_flags": 0}, {}, 0),
        ({"coreml_compute_units": "all"}, {"MLComputeUnits": "ALL"}, 0),
        ({"coreml_use_cpu_only": True}, {"MLComputeUnits": "CPUOnly"}, 0x001),
        ({"coreml_use_cpu_only": False}, {}, 0),
        ({"coreml_create_mlprogram": False}, {"ModelFormat": "NeuralNetwork"}, 0),
        ({"coreml_only_enable_device_with_ane": True}, {"MLComputeUnits": "CPUAndNeuralEngine"}, 0x004),
        ({"coreml_only_enable_device_with_ane": False}, {}, 0),
        (
            {"coreml_only_enable_device_with_ane": False, "coreml_compute_units": "cpu_and_neural_engine"},
            {"MLComputeUnits": "CPUAndNeuralEngine"},
            0x004,
        ),
        ({"coreml_only_enable_device_with_ane": True, "coreml_compute_units": "all"}, {"MLComputeUnits": "ALL"}, 0),
        (
            {"coreml_flags": 0x020, "coreml_create_mlprogram": True, "coreml_use_cpu_only": False},
            {"ModelFormat": "MLProgram", "MLComputeUnits": "CPUAndGPU"},
            0x030,
        ),
        (
            {"coreml_require_static_input_shapes": True, "coreml_enable_on_subgraph": True},
            {"RequireStaticInputShapes": "1", "EnableOnSubgraphs": "1"},
            0x00A,
        ),
    ],
)
def test_what_was_said_is_passed_on_and_nothing_else(fields, options, flags):
    settings = coreml.resolve(fields)
    assert coreml.provider_options(settings) == options
    assert coreml.flags(settings) == flags


@pytest.mark.parametrize("mask", MASKS)
def test_flags_that_were_given_are_passed_on_as_they_were(mask):
    assert coreml.flags(coreml.resolve({"coreml_flags": mask})) == mask


def test_what_is_none_or_another_option_was_not_said():
    fields = dict.fromkeys(DOMAINS) | {"intra_op_num_threads": 2, "provider": "coreml"}
    assert coreml.resolve(fields) == coreml.resolve({})
    assert coreml.resolve({}) == CoreMLSettings(
        compute_units=None,
        create_mlprogram=None,
        require_static_input_shapes=None,
        enable_on_subgraph=None,
        only_device_with_ane=None,
        claims=(),
    )


# --- readers


@pytest.mark.parametrize(
    ("unit", "spellings"),
    [
        ("all", ["all", "ALL", "All", "MLComputeUnitsAll", "mlcomputeunitsall"]),
        ("cpu_only", ["cpu_only", "CPU_ONLY", "CPUOnly", "cpuonly", "MLComputeUnitsCPUOnly"]),
        ("cpu_and_gpu", ["cpu_and_gpu", "CPUAndGPU", "MLComputeUnitsCPUAndGPU", "mlComputeUnitsCpuAndGpu"]),
        ("cpu_and_neural_engine", ["cpu_and_neural_engine", "CPUAndNeuralEngine", "MLComputeUnitsCPUAndNeuralEngine"]),
    ],
)
def test_compute_units_are_read_in_every_spelling(unit, spellings):
    assert {coreml.read_compute_units(spelling) for spelling in spellings} == {unit}


@pytest.mark.parametrize(
    ("value", "error", "hint"),
    [
        ("cpu_onyl", OptionError, "; did you mean 'cpu_only'?"),
        ("CPU_AND_GPUS", OptionError, "; did you mean 'cpu_and_gpu'?"),
        ("", OptionError, ""),
        ("ane", OptionError, ""),
        ("MLComputeUnits", OptionError, ""),
        ("cpu_only ", OptionError, "; did you mean 'cpu_only'?"),
        (b"all", OptionTypeError, ""),
        (0, OptionTypeError, ""),
        (True, OptionTypeError, ""),
        (["all"], OptionTypeError, ""),
    ],
)
def test_other_compute_units_are_refused(value, error, hint):
    with pytest.raises(Refusal) as caught:
        coreml.read_compute_units(value)
    raised = caught.value.raised_for("ortx.session", "coreml_compute_units", value)
    assert type(raised) is error
    assert str(raised).endswith(f"one of 'all', 'cpu_only', 'cpu_and_gpu', 'cpu_and_neural_engine'{hint}")


@pytest.mark.parametrize("mask", [*MASKS, np.int64(0x010), np.uint8(0x20), CoreMLFlag.CREATE_MLPROGRAM])
def test_flags_are_read_from_any_integer(mask):
    assert coreml.read_flags(mask) == int(mask)
    assert type(coreml.read_flags(mask)) is int


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (True, OptionTypeError, "0x001 USE_CPU_ONLY, 0x002 ENABLE_ON_SUBGRAPH, "),
        (1.0, OptionTypeError, "0x020 USE_CPU_AND_GPU"),
        ("1", OptionTypeError, "an integer"),
        (-1, OptionError, "an integer"),
        (0x040, OptionError, "(0x40 is unknown)"),
        (0x111, OptionError, "(0x100 is unknown)"),
        (2**40, OptionError, "(0x10000000000 is unknown)"),
        (0x003 | 0x020, OptionError, "at most one of USE_CPU_ONLY, ONLY_ENABLE_DEVICE_WITH_ANE, USE_CPU_AND_GPU"),
        (0x005, OptionError, "(0x005 is USE_CPU_ONLY | ONLY_ENABLE_DEVICE_WITH_ANE)"),
        (0x024, OptionError, "at most one of"),
        (0x03F, OptionError, "at most one of"),
    ],
)
def test_other_flags_are_refused(value, error, message):
    with pytest.raises(Refusal) as caught:
        coreml.read_flags(value)
    raised = caught.value.raised_for("ortx.session", "coreml_flags", value)
    assert type(raised) is error
    assert message in str(raised)


# --- provider options that were given along with "coreml"

EXPLICIT = {
    "MLComputeUnits": dict(zip(["ALL", "CPUOnly", "CPUAndGPU", "CPUAndNeuralEngine"], UNITS, strict=True)),
    "ModelFormat": {"MLProgram": True, "NeuralNetwork": False},
    "RequireStaticInputShapes": {"1": True, "0": False},
    "EnableOnSubgraphs": {"1": True, "0": False},
}
FIELD_OF_OPTION = {
    "MLComputeUnits": "coreml_compute_units",
    "ModelFormat": "coreml_create_mlprogram",
    "RequireStaticInputShapes": "coreml_require_static_input_shapes",
    "EnableOnSubgraphs": "coreml_enable_on_subgraph",
}


def test_an_option_contradicts_a_field_exactly_where_its_own_field_would():
    for key, meanings in EXPLICIT.items():
        for option, meaning in meanings.items():
            for field, values in DOMAINS.items():
                for value in values:
                    settings = coreml.resolve({field: value})
                    worlds = allowed(FIELD_OF_OPTION[key], meaning) & allowed(field, value)
                    if worlds:
                        merged = coreml.merge({key: option}, settings)
                        assert merged[key] == option
                        told = as_onnx_runtime_reads_options(merged)
                        assert told == as_onnx_runtime_reads_flags(coreml.flags(settings, {key: option}))
                        assert any(world[:4] == told for world in members(worlds))
                    else:
                        for told_by in (coreml.merge, lambda explicit, said: coreml.flags(said, explicit)):
                            with pytest.raises(OptionError) as caught:
                                told_by({key: option}, settings)
                            assert f"option {field!r} = " in str(caught.value)
                            assert f"option {key!r} = {option!r} in 'providers'" in str(caught.value)


def test_options_and_fields_are_put_together():
    settings = coreml.resolve({"coreml_compute_units": "cpu_only", "coreml_create_mlprogram": True})
    explicit = {"ModelCacheDirectory": "cache", "MLComputeUnits": "CPUOnly", "SpecializationStrategy": "FastPrediction"}
    assert coreml.merge(explicit, settings) == explicit | {"ModelFormat": "MLProgram"}
    assert coreml.merge({}, settings) == coreml.provider_options(settings)
    assert "ModelFormat" not in explicit


def test_explicit_compute_units_go_before_those_of_the_neural_engine():
    settings = coreml.resolve({"coreml_only_enable_device_with_ane": True})
    assert coreml.merge({"MLComputeUnits": "ALL"}, settings) == {"MLComputeUnits": "ALL"}
    assert coreml.flags(settings, {"MLComputeUnits": "ALL"}) == 0


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("MLComputeUnits", "CPUOnyl", "expected one of 'ALL', 'CPUOnly', .*; did you mean 'CPUOnly'?"),
        ("MLComputeUnits", "cpu_only", "expected one of 'ALL'"),
        ("ModelFormat", "onnx", "expected one of 'MLProgram', 'NeuralNetwork'"),
        ("RequireStaticInputShapes", "true", "expected one of '1', '0'"),
        ("EnableOnSubgraphs", "True", "expected one of '1', '0'"),
        ("ProfileComputePlan", "yes", "expected one of '1', '0'"),
        ("SpecializationStrategy", "Fast", "expected one of 'Default', 'FastPrediction'"),
    ],
)
def test_a_value_that_onnx_runtime_would_misread_is_refused(key, value, message):
    with pytest.raises(OptionError, match=rf"^ortx\.session: option 'providers': CoreML's option '{key}'.*{message}"):
        coreml.merge({key: value}, coreml.resolve({}))


@pytest.mark.parametrize(
    ("key", "value"), [("SpecializationStrategy", "FastPrediction"), ("ModelCacheDirectory", "cache"), ("New", "x")]
)
def test_an_option_without_a_flag_needs_a_newer_onnx_runtime(key, value):
    assert coreml.merge({key: value}, coreml.resolve({})) == {key: value}
    with pytest.raises(NotSupported, match=rf"CoreML's option '{key}' needs ONNX Runtime 1\.21"):
        coreml.flags(coreml.resolve({}), {key: value})


# --- where CoreML is not used


@pytest.mark.parametrize(("field", "value"), [(field, value) for field, values in DOMAINS.items() for value in values])
def test_a_field_without_the_provider_is_refused(field, value):
    coreml.check_used({field: value}, ["CoreMLExecutionProvider", "CPUExecutionProvider"])
    with pytest.raises(OptionError, match=r"add 'coreml' to providers") as caught:
        coreml.check_used({field: value}, ["CPUExecutionProvider"])
    assert str(caught.value).startswith(f"ortx.session: option {field!r} = ")
    assert "(CPUExecutionProvider)" in str(caught.value)


def test_without_fields_the_provider_is_not_needed():
    coreml.check_used({}, ["CPUExecutionProvider"])
    coreml.check_used(dict.fromkeys(DOMAINS) | {"log_id": "x"}, [])


@pytest.mark.parametrize(
    ("platform", "machine", "expected"),
    [("darwin", "arm64", True), ("darwin", "x86_64", False), ("linux", "arm64", False), ("win32", None, False)],
)
def test_a_mac_for_arm64_has_a_neural_engine(platform, machine, expected, monkeypatch):
    monkeypatch.setattr(coreml, "sys", SimpleNamespace(platform=platform))
    monkeypatch.setattr(coreml, "os", SimpleNamespace(uname=lambda: SimpleNamespace(machine=machine)))
    assert coreml.has_neural_engine() is expected
