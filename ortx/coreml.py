"""The fields for CoreML, new and legacy: what each of them says, and when two of them contradict each other.

What can be said are five things. Each field allows some values of some of them:

==================================================  =================================  ==============================
field and value                                     compute units                      the other four
==================================================  =================================  ==============================
``coreml_compute_units=U``                          U
``coreml_use_cpu_only=True``                        cpu_only
``coreml_use_cpu_only=False``                       any but cpu_only
``coreml_use_cpu_and_gpu=True``                     cpu_and_gpu
``coreml_use_cpu_and_gpu=False``                    any but cpu_and_gpu
``coreml_only_enable_device_with_ane=True``         all or cpu_and_neural_engine       only_device_with_ane True
``coreml_only_enable_device_with_ane=False``        any                                only_device_with_ane False
``coreml_create_mlprogram=B``                       any                                create_mlprogram B
``coreml_require_static_input_shapes=B``            any                                require_static_input_shapes B
``coreml_enable_on_subgraph=B``                     any                                enable_on_subgraph B
a bit that is set in ``coreml_flags``               as the field of that name is True  as the field of that name is True
a bit that is not set in ``coreml_flags``           any                                any
==================================================  =================================  ==============================

Two fields contradict each other when what they allow has nothing in common; nothing else is a contradiction. A bit that
is not set says nothing because otherwise a mask could not be mixed with any other field.

Where the compute units are left open, ONNX Runtime's default holds, which is all of them, with one exception:
``coreml_only_enable_device_with_ane`` alone gives cpu_and_neural_engine. ONNX Runtime documents that flag as "CoreML
only on devices with an Apple Neural Engine", but what it does with it, since it has compute units, is both: it refuses
other devices, and it takes CPUAndNeuralEngine. A legacy field has to do what the legacy flag does. Who wants the
device and all compute units says both, with ``coreml_compute_units="all"``. The other way round nothing follows: the
compute units cpu_and_neural_engine do not refuse a device, and without a Neural Engine Core ML uses the CPU; so they go
with ``coreml_only_enable_device_with_ane=False``.

ONNX Runtime can be told all this in two ways. The provider options (from version 1.21 on) have no word for the device,
so ortx asks `has_neural_engine` itself. The bit flags (all that 1.20 has) have one bit for the device and
cpu_and_neural_engine together.
"""

from __future__ import annotations

import enum
import operator
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from ._core import NotSupported, OptionError, OptionTypeError, Refusal, nearest, shown

__all__ = [
    "FIELDS",
    "CoreMLFlag",
    "CoreMLSettings",
    "check_used",
    "flags",
    "has_neural_engine",
    "merge",
    "provider_options",
    "read_compute_units",
    "read_flags",
    "resolve",
]

# In the order in which contradictions are looked for, so that the order in which a user writes them does not matter.
FIELDS = (
    "coreml_compute_units",
    "coreml_create_mlprogram",
    "coreml_require_static_input_shapes",
    "coreml_enable_on_subgraph",
    "coreml_flags",
    "coreml_use_cpu_only",
    "coreml_use_cpu_and_gpu",
    "coreml_only_enable_device_with_ane",
)


class CoreMLFlag(enum.IntFlag):
    """The bits of ``COREMLFlags``."""

    USE_CPU_ONLY = 0x001
    ENABLE_ON_SUBGRAPH = 0x002
    ONLY_ENABLE_DEVICE_WITH_ANE = 0x004
    ONLY_ALLOW_STATIC_INPUT_SHAPES = 0x008
    CREATE_MLPROGRAM = 0x010
    USE_CPU_AND_GPU = 0x020


_PROVIDER = "CoreMLExecutionProvider"
_COMPUTE_UNITS = {
    "all": "ALL",
    "cpu_only": "CPUOnly",
    "cpu_and_gpu": "CPUAndGPU",
    "cpu_and_neural_engine": "CPUAndNeuralEngine",
}
_ALIASES = {
    alias.lower(): unit
    for unit, option in _COMPUTE_UNITS.items()
    for alias in (unit, option, f"MLComputeUnits{option}")
}
_UNIT_BITS = {
    "all": CoreMLFlag(0),
    "cpu_only": CoreMLFlag.USE_CPU_ONLY,
    "cpu_and_gpu": CoreMLFlag.USE_CPU_AND_GPU,
    "cpu_and_neural_engine": CoreMLFlag.ONLY_ENABLE_DEVICE_WITH_ANE,
}
_ONE_OF_THESE = CoreMLFlag.USE_CPU_ONLY | CoreMLFlag.USE_CPU_AND_GPU | CoreMLFlag.ONLY_ENABLE_DEVICE_WITH_ANE

# What each provider option that a field stands for means by each of its values.
_SWITCH: dict[str, str | bool] = {"1": True, "0": False}
_OPTIONS: dict[str, tuple[str, dict[str, str | bool]]] = {
    "ModelFormat": ("create_mlprogram", {"MLProgram": True, "NeuralNetwork": False}),
    "MLComputeUnits": ("compute_units", {option: unit for unit, option in _COMPUTE_UNITS.items()}),
    "RequireStaticInputShapes": ("require_static_input_shapes", _SWITCH),
    "EnableOnSubgraphs": ("enable_on_subgraph", _SWITCH),
}
# Those that no field stands for. ONNX Runtime takes any value but "1" for 0 without a word, so they are checked here.
_OTHER_OPTIONS = {
    "SpecializationStrategy": ("Default", "FastPrediction"),
    "ProfileComputePlan": ("1", "0"),
    "AllowLowPrecisionAccumulationOnGPU": ("1", "0"),
}


# --- readers --------------------------------------------------------------------------------------------------------


def read_compute_units(value: object) -> str:
    """Read ``coreml_compute_units``: one of four words, or the name that ONNX Runtime or Core ML has for it."""
    expected = "one of " + ", ".join(map(repr, _COMPUTE_UNITS))
    if not isinstance(value, str):
        raise Refusal(expected, OptionTypeError)
    unit = _ALIASES.get(value.lower())
    if unit is None:
        raise Refusal(expected, hint=nearest(value.lower(), _COMPUTE_UNITS))
    return unit


def read_flags(value: object) -> int:
    """Read ``coreml_flags``: a mask of `CoreMLFlag`."""
    expected = "an integer with bits of " + ", ".join(f"0x{bit:03x} {bit.name}" for bit in CoreMLFlag)
    if isinstance(value, bool):
        raise Refusal(expected, OptionTypeError)
    try:
        mask = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise Refusal(expected, OptionTypeError) from None
    unknown = mask & ~sum(CoreMLFlag)
    if unknown:  # as every negative number has
        raise Refusal(expected, hint="" if mask < 0 else f" (0x{unknown:x} is unknown)")
    if (mask & _ONE_OF_THESE).bit_count() > 1:
        # ONNX Runtime throws here, through a C function that must not throw: the process would end.
        names = ", ".join(str(bit.name) for bit in _ONE_OF_THESE)
        raise Refusal(f"at most one of {names}", hint=f" (0x{mask:03x} is {_names_of(mask)})")
    return mask


# --- what is said, and by which option ------------------------------------------------------------------------------


class _Claim(NamedTuple):
    """One option allows some values of one thing."""

    option: str  # a field, or a key of the provider options
    value: object
    thing: str
    allowed: frozenset[str | bool]


_ANY_UNIT: frozenset[str | bool] = frozenset(_COMPUTE_UNITS)
_Said = tuple[tuple[str, frozenset[str | bool]], ...]

# The table at the top of this file.
_SAID: dict[tuple[str, object], _Said] = {
    **{("coreml_compute_units", unit): (("compute_units", frozenset({unit})),) for unit in _COMPUTE_UNITS},
    ("coreml_use_cpu_only", True): (("compute_units", frozenset({"cpu_only"})),),
    ("coreml_use_cpu_only", False): (("compute_units", _ANY_UNIT - {"cpu_only"}),),
    ("coreml_use_cpu_and_gpu", True): (("compute_units", frozenset({"cpu_and_gpu"})),),
    ("coreml_use_cpu_and_gpu", False): (("compute_units", _ANY_UNIT - {"cpu_and_gpu"}),),
    ("coreml_only_enable_device_with_ane", True): (
        ("only_device_with_ane", frozenset({True})),
        ("compute_units", frozenset({"all", "cpu_and_neural_engine"})),
    ),
    ("coreml_only_enable_device_with_ane", False): (("only_device_with_ane", frozenset({False})),),
    **{
        (f"coreml_{thing}", switch): ((thing, frozenset({switch})),)
        for thing in ("create_mlprogram", "require_static_input_shapes", "enable_on_subgraph")
        for switch in (True, False)
    },
}
_FIELD_OF_BIT = {
    0x001: "coreml_use_cpu_only",
    0x002: "coreml_enable_on_subgraph",
    0x004: "coreml_only_enable_device_with_ane",
    0x008: "coreml_require_static_input_shapes",
    0x010: "coreml_create_mlprogram",
    0x020: "coreml_use_cpu_and_gpu",
}


def _said_by(name: str, value: object) -> _Said:
    """Return what a field says about which things."""
    if name == "coreml_flags" and isinstance(value, int):
        return tuple(said for bit, same in _FIELD_OF_BIT.items() if value & bit for said in _SAID[same, True])
    return _SAID[name, value]


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreMLSettings:
    """What the CoreML fields of a session say together; made by `resolve`. None where nothing was said.

    Attributes
    ----------
    compute_units : str or None
        ``"all"``, ``"cpu_only"``, ``"cpu_and_gpu"`` or ``"cpu_and_neural_engine"``.
    create_mlprogram : bool or None
        Whether to make an ML Program rather than a NeuralNetwork.
    require_static_input_shapes : bool or None
        Whether to take only nodes whose inputs have static shapes.
    enable_on_subgraph : bool or None
        Whether to run in the bodies of control flow operators too.
    only_device_with_ane : bool or None
        Whether the provider must not be used on a device without a Neural Engine (see `has_neural_engine`).
    claims : tuple
        Who said what, for `merge`.
    """

    compute_units: str | None
    create_mlprogram: bool | None
    require_static_input_shapes: bool | None
    enable_on_subgraph: bool | None
    only_device_with_ane: bool | None
    claims: tuple[_Claim, ...] = field(repr=False, compare=False)


def resolve(fields: Mapping[str, object], *, function: str = "ortx.session") -> CoreMLSettings:
    """Put together what the CoreML fields say.

    Parameters
    ----------
    fields
        The values as their readers returned them, by the names in `FIELDS`. None is a field that was not given;
        other names are passed over.
    function
        Whose options these are, for messages.

    Raises
    ------
    OptionError
        If two fields contradict each other; both are named.
    """
    claims = [
        _Claim(name, value, thing, allowed)
        for name in FIELDS
        if (value := fields.get(name)) is not None
        for thing, allowed in _said_by(name, value)
    ]
    return _settle(tuple(claims), function)


def _settle(claims: tuple[_Claim, ...], function: str) -> CoreMLSettings:
    """Find what all claims allow, or name two of them that have nothing in common."""
    agreed: dict[str, frozenset[str | bool]] = {}
    for claim in claims:
        agreed[claim.thing] = agreed.get(claim.thing, claim.allowed) & claim.allowed
        if not agreed[claim.thing]:
            # There always is one claim that is to blame: all sets that leave a choice of compute units hold "all".
            other = next(c for c in claims if c.thing == claim.thing and not c.allowed & claim.allowed)
            raise OptionError(
                f"{function}: {_shown_option(other.option, other.value)} contradicts "
                f"{_shown_option(claim.option, claim.value)}: the one asks for {_wish(other)}, the other for "
                f"{_wish(claim)}; leave one of them out"
            )

    def said(thing: str) -> str | bool | None:
        allowed = agreed.get(thing, ())
        return next(iter(allowed)) if len(allowed) == 1 else None

    compute_units = said("compute_units")
    if compute_units is None and True in agreed.get("only_device_with_ane", ()):
        compute_units = "cpu_and_neural_engine"
    return CoreMLSettings(
        compute_units=compute_units,  # type: ignore[arg-type] # a str, as all claims about it are
        create_mlprogram=said("create_mlprogram"),  # type: ignore[arg-type] # a bool, and so below
        require_static_input_shapes=said("require_static_input_shapes"),  # type: ignore[arg-type]
        enable_on_subgraph=said("enable_on_subgraph"),  # type: ignore[arg-type]
        only_device_with_ane=said("only_device_with_ane"),  # type: ignore[arg-type]
        claims=claims,
    )


# --- what ONNX Runtime is told --------------------------------------------------------------------------------------


def provider_options(settings: CoreMLSettings) -> dict[str, str]:
    """Return CoreML's provider options for what was said, and nothing else.

    They have no word for ``only_device_with_ane``: whoever appends the provider asks `has_neural_engine`.
    """
    return {
        key: value
        for key, (thing, meanings) in _OPTIONS.items()
        for value, meaning in meanings.items()
        if meaning == getattr(settings, thing)
    }


def merge(explicit: Mapping[str, str], settings: CoreMLSettings, *, function: str = "ortx.session") -> dict[str, str]:
    """Return the provider options that a user gave along with ``"coreml"``, and those for the fields.

    Parameters
    ----------
    explicit
        What was given with the provider, already strings. Keys that ortx does not know are for ONNX Runtime to judge.
    settings
        What was given as fields.
    function
        Whose options these are, for messages.

    Raises
    ------
    OptionError
        If an option contradicts a field, and both are named; or if it has a value that it does not take, because
        ONNX Runtime would either pass it over or fail so late that the session would fall back to the CPU.
    """
    return dict(explicit) | provider_options(_with_explicit(explicit, settings, function))


def flags(
    settings: CoreMLSettings, explicit: Mapping[str, str] | None = None, *, function: str = "ortx.session"
) -> int:
    """Return the legacy bit flags, which are all that ONNX Runtime 1.20 takes.

    One bit stands for the compute units cpu_and_neural_engine and for a device with a Neural Engine. It is set for the
    compute units only, and must not be passed where `has_neural_engine` is false: ONNX Runtime throws there, through
    a C function that must not throw, and the process ends. ``only_device_with_ane`` is asked of `has_neural_engine`,
    as with provider options.

    Parameters
    ----------
    settings
        What was given as fields.
    explicit
        What was given with the provider, as for `merge`.
    function
        Whose options these are, for messages.

    Raises
    ------
    OptionError
        As from `merge`.
    NotSupported
        If a provider option has no flag.
    """
    explicit = explicit or {}
    settings = _with_explicit(explicit, settings, function)
    for key in explicit:
        if key not in _OPTIONS:
            raise NotSupported(
                f"{function}: option 'providers': CoreML's option {key!r} needs ONNX Runtime 1.21; the flags of "
                "older versions have no word for it"
            )
    mask = _UNIT_BITS[settings.compute_units or "all"]
    if settings.create_mlprogram:
        mask |= CoreMLFlag.CREATE_MLPROGRAM
    if settings.require_static_input_shapes:
        mask |= CoreMLFlag.ONLY_ALLOW_STATIC_INPUT_SHAPES
    if settings.enable_on_subgraph:
        mask |= CoreMLFlag.ENABLE_ON_SUBGRAPH
    return int(mask)


def check_used(fields: Mapping[str, object], provider_names: Iterable[str], *, function: str = "ortx.session") -> None:
    """Refuse CoreML fields where CoreML is not among the providers.

    Parameters
    ----------
    fields
        As for `resolve`.
    provider_names
        The full names of the providers.
    function
        Whose options these are, for messages.

    Raises
    ------
    OptionError
        Naming the first field that would do nothing.
    """
    provider_names = tuple(provider_names)
    if _PROVIDER in provider_names:
        return
    for name in FIELDS:
        value = fields.get(name)
        if value is not None:
            listed = ", ".join(provider_names)
            raise OptionError(
                f"{function}: {_shown_option(name, value)} would do nothing, because CoreML is not "
                f"among the providers ({listed}); add 'coreml' to providers or leave it out"
            )


def has_neural_engine() -> bool:
    """Say whether this device has an Apple Neural Engine, as ONNX Runtime sees it: on a Mac, if built for arm64."""
    return sys.platform == "darwin" and os.uname().machine == "arm64"


def _with_explicit(explicit: Mapping[str, str], settings: CoreMLSettings, function: str) -> CoreMLSettings:
    claims = []
    for key, value in explicit.items():
        valid = _OPTIONS[key][1] if key in _OPTIONS else _OTHER_OPTIONS.get(key, (value,))
        if value not in valid:
            raise OptionError(
                f"{function}: option 'providers': CoreML's option {key!r}: got {shown(value)}; expected one of "
                + ", ".join(map(repr, valid))
                + nearest(value, valid)
            )
        if key in _OPTIONS:
            thing, meanings = _OPTIONS[key]
            claims.append(_Claim(key, value, thing, frozenset({meanings[value]})))
    return _settle((*settings.claims, *claims), function)


# --- for messages ---------------------------------------------------------------------------------------------------


def _names_of(mask: int) -> str:
    return " | ".join(str(bit.name) for bit in CoreMLFlag if mask & bit) or "no flag"


def _shown_option(name: str, value: object) -> str:
    if name not in FIELDS:
        return f"CoreML's own option {name!r} = {value!r} in 'providers'"
    if name == "coreml_flags" and isinstance(value, int):
        return f"option {name!r} = 0x{value:03x} ({_names_of(value)})"
    return f"option {name!r} = {value!r}"


def _wish(claim: _Claim) -> str:
    allowed = claim.allowed
    if claim.thing == "compute_units" and len(allowed) == len(_ANY_UNIT) - 1:
        return f"compute units other than {next(iter(_ANY_UNIT - allowed))}"
    values = " or ".join(sorted(map(str, allowed)))
    return f"{claim.thing.replace('_', ' ')} {values}"
