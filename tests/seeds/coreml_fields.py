"""The page of the session module: the fields for CoreML."""

from __future__ import annotations

import functools

import models
import pytest

import ortx
from ortx import _core, coreml

from .shared import COREML, CPU, MODULE, appended, opened, proves, running

# --- CoreML provider fields

fields_of_coreml = functools.partial(proves, MODULE, "CoreML provider fields")


def told_to_coreml(**fields: object) -> dict[str, str]:
    """Return the options that CoreML is appended with for these fields; see that such a session runs, if on the CPU."""
    (name, told), cpu = appended(providers=["coreml", "cpu"], **fields)
    assert (name, cpu) == (COREML, (CPU, {}))
    used, warning = running(providers=["coreml", "cpu"], **fields)
    assert (used, COREML in warning) in [((COREML, CPU), False), ((CPU,), True)]
    return told


def old_flags(**fields: object) -> int:
    """Return the flags that stand for these fields in an ONNX Runtime that has no provider options for CoreML."""
    read = _core.read_session_options("ortx.session", {"provider": "coreml"} | fields, {})
    return coreml.flags(coreml.resolve(_core.coreml_options(read)))


def compute_units_become(expected: str, flags: int, *words: str) -> None:
    for word in words:
        for given in (word, word.upper(), word.lower()):
            assert appended(provider="coreml", coreml_compute_units=given) == [(COREML, {"MLComputeUnits": expected})]
            assert old_flags(coreml_compute_units=given) == flags
    assert told_to_coreml(coreml_compute_units=words[0]) == {"MLComputeUnits": expected}


@fields_of_coreml("coreml_compute_units")
def compute_units_without_coreml_or_of_an_unknown_name_are_refused():
    with pytest.raises(ortx.OptionError, match="coreml_compute_units.*would do nothing"):
        opened(models.square(), providers="cpu", coreml_compute_units="all")
    with pytest.raises(ortx.OptionError, match="coreml_compute_units.*'all', 'cpu_only', 'cpu_and_gpu', 'cpu_and_ne"):
        opened(models.square(), providers="coreml", coreml_compute_units="gpu_only")


for page_name, told_units, told_flags in (
    ("all", "ALL", 0x000),
    ("cpu_only", "CPUOnly", 0x001),
    ("cpu_and_gpu", "CPUAndGPU", 0x020),
    ("cpu_and_neural_engine", "CPUAndNeuralEngine", 0x004),
):
    fields_of_coreml(f'coreml_compute_units = "{page_name}"')(
        functools.partial(compute_units_become, told_units, told_flags, page_name)
    )
    if told_units != "ALL":
        fields_of_coreml(told_units)(functools.partial(compute_units_become, told_units, told_flags, told_units))


@fields_of_coreml("MLComputeUnits...")
def core_ml_s_own_names_are_taken():
    for units in ("All", "CPUOnly", "CPUAndGPU", "CPUAndNeuralEngine"):
        alias = f"MLComputeUnits{units}"
        told = told_to_coreml(coreml_compute_units=alias)
        assert told == told_to_coreml(coreml_compute_units=units)
        assert told["MLComputeUnits"].lower() == units.lower()


@fields_of_coreml("coreml_create_mlprogram")
def the_format_of_the_model_is_chosen():
    assert told_to_coreml(coreml_create_mlprogram=True) == {"ModelFormat": "MLProgram"}
    assert told_to_coreml(coreml_create_mlprogram=False) == {"ModelFormat": "NeuralNetwork"}
    assert (old_flags(coreml_create_mlprogram=True), old_flags(coreml_create_mlprogram=False)) == (0x010, 0)


@fields_of_coreml("coreml_require_static_input_shapes")
def static_input_shapes_are_required():
    assert told_to_coreml(coreml_require_static_input_shapes=True) == {"RequireStaticInputShapes": "1"}
    assert told_to_coreml(coreml_require_static_input_shapes=False) == {"RequireStaticInputShapes": "0"}
    assert old_flags(coreml_require_static_input_shapes=True) == 0x008


@fields_of_coreml("coreml_enable_on_subgraph")
def subgraphs_are_enabled():
    assert told_to_coreml(coreml_enable_on_subgraph=True) == {"EnableOnSubgraphs": "1"}
    assert told_to_coreml(coreml_enable_on_subgraph=False) == {"EnableOnSubgraphs": "0"}
    assert old_flags(coreml_enable_on_subgraph=True) == 0x002


@fields_of_coreml("coreml_flags")
def each_bit_of_the_flags_is_an_option():
    for flags, expected in {
        0x001: {"MLComputeUnits": "CPUOnly"},
        0x002: {"EnableOnSubgraphs": "1"},
        0x004: {"MLComputeUnits": "CPUAndNeuralEngine"},
        0x008: {"RequireStaticInputShapes": "1"},
        0x010: {"ModelFormat": "MLProgram"},
        0x020: {"MLComputeUnits": "CPUAndGPU"},
        0x019: {"MLComputeUnits": "CPUOnly", "RequireStaticInputShapes": "1", "ModelFormat": "MLProgram"},
        0x000: {},
    }.items():
        assert (told_to_coreml(coreml_flags=flags), old_flags(coreml_flags=flags)) == (expected, flags)
    with pytest.raises(ortx.OptionError, match=r"coreml_flags.*0x40 is unknown"):
        appended(provider="coreml", coreml_flags=0x040)


@fields_of_coreml("coreml_use_cpu_only")
def the_old_switch_for_the_cpu_alone_works():
    assert told_to_coreml(coreml_use_cpu_only=True) == {"MLComputeUnits": "CPUOnly"}
    assert told_to_coreml(coreml_use_cpu_only=False) == {}
    assert old_flags(coreml_use_cpu_only=True) == 0x001


@fields_of_coreml("coreml_use_cpu_and_gpu")
def the_old_switch_for_cpu_and_gpu_works():
    assert told_to_coreml(coreml_use_cpu_and_gpu=True) == {"MLComputeUnits": "CPUAndGPU"}
    assert told_to_coreml(coreml_use_cpu_and_gpu=False) == {}
    assert old_flags(coreml_use_cpu_and_gpu=True) == 0x020


@fields_of_coreml("coreml_only_enable_device_with_ane")
def the_old_switch_for_a_neural_engine_works():
    given = {"coreml_only_enable_device_with_ane": True}
    assert told_to_coreml(**given) == {"MLComputeUnits": "CPUAndNeuralEngine"}
    assert old_flags(**given) == 0x004
    if not coreml.has_neural_engine():
        assert running(provider="coreml", **given)[1].endswith("this device has no Apple Neural Engine")
        with pytest.raises(ortx.EpFail, match="this device has no Apple Neural Engine"):
            opened(models.square(), provider="coreml", fallback_to_cpu=False, **given)


# --- additional notes

noted_of_coreml = functools.partial(proves, MODULE, "CoreML: additional notes")


@noted_of_coreml("legacy compatibility fields")
def a_legacy_field_says_what_a_new_one_says():
    for legacy, new in (
        ({"coreml_flags": 0x012}, {"coreml_create_mlprogram": True, "coreml_enable_on_subgraph": True}),
        ({"coreml_use_cpu_only": True}, {"coreml_compute_units": "cpu_only"}),
        ({"coreml_use_cpu_and_gpu": True}, {"coreml_compute_units": "cpu_and_gpu"}),
        ({"coreml_only_enable_device_with_ane": True}, {"coreml_compute_units": "cpu_and_neural_engine"}),
    ):
        assert dict(appended(provider="coreml", **legacy)) == dict(appended(provider="coreml", **new))
        assert old_flags(**legacy) == old_flags(**new) != 0


@noted_of_coreml("new and legacy fields mixed")
def fields_that_agree_can_be_mixed():
    mixed = {
        "coreml_compute_units": "cpu_and_gpu",
        "coreml_use_cpu_and_gpu": True,
        "coreml_use_cpu_only": False,
        "coreml_flags": 0x020 | 0x010,
        "coreml_create_mlprogram": True,
        "coreml_require_static_input_shapes": False,
    }
    expected = {"MLComputeUnits": "CPUAndGPU", "ModelFormat": "MLProgram", "RequireStaticInputShapes": "0"}
    assert (told_to_coreml(**mixed), old_flags(**mixed)) == (expected, 0x030)


def refused_together(**fields: object) -> None:
    """See that two fields contradict each other, which is said at once: before the model is looked at, or a warning."""
    with pytest.raises(ortx.OptionError, match="contradicts") as caught:
        ortx.session("no such file.onnx", providers=["coreml", "cpu"], fallback_to_cpu=True, **fields)
    assert all(f"'{name}'" in str(caught.value) for name in fields)


@noted_of_coreml("conflicting meanings")
def fields_that_contradict_each_other_are_refused_at_once():
    refused_together(coreml_compute_units="all", coreml_use_cpu_only=True)
    refused_together(coreml_compute_units="cpu_only", coreml_use_cpu_only=False)
    refused_together(coreml_compute_units="cpu_only", coreml_flags=0x020)
    refused_together(coreml_use_cpu_only=True, coreml_use_cpu_and_gpu=True)
    refused_together(coreml_create_mlprogram=False, coreml_flags=0x010)
    refused_together(coreml_enable_on_subgraph=False, coreml_flags=0x002)
    refused_together(coreml_require_static_input_shapes=False, coreml_flags=0x008)


@noted_of_coreml('coreml_only_enable_device_with_ane with "cpu_only"')
def a_neural_engine_and_the_cpu_alone_exclude_each_other():
    refused_together(coreml_only_enable_device_with_ane=True, coreml_compute_units="cpu_only")
    refused_together(coreml_only_enable_device_with_ane=True, coreml_use_cpu_only=True)
    refused_together(coreml_only_enable_device_with_ane=True, coreml_flags=0x001)


@noted_of_coreml('coreml_only_enable_device_with_ane with "cpu_and_gpu"')
def a_neural_engine_and_cpu_and_gpu_exclude_each_other():
    refused_together(coreml_only_enable_device_with_ane=True, coreml_compute_units="cpu_and_gpu")
    refused_together(coreml_only_enable_device_with_ane=True, coreml_use_cpu_and_gpu=True)
    refused_together(coreml_only_enable_device_with_ane=True, coreml_flags=0x020)
