"""Execution providers: names and aliases, order, options, and what is refused (`ortx/providers.py`)."""

from __future__ import annotations

import enum
from collections import UserDict
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ortx import providers
from ortx._core import OptionError, OptionTypeError, Refusal
from ortx.providers import CPU, Provider, read_providers

# ONNX Runtime's own names: what the generic append takes and the full name of the same provider.
GENERIC = {
    "DML": "DmlExecutionProvider",
    "QNN": "QNNExecutionProvider",
    "OpenVINO": "OpenVINOExecutionProvider",
    "SNPE": "SNPEExecutionProvider",
    "XNNPACK": "XnnpackExecutionProvider",
    "WEBNN": "WebNNExecutionProvider",
    "WebGPU": "WebGpuExecutionProvider",
    "AZURE": "AzureExecutionProvider",
    "JS": "JsExecutionProvider",
    "VitisAI": "VitisAIExecutionProvider",
    "CoreML": "CoreMLExecutionProvider",
    "NvTensorRtRtx": "NvTensorRTRTXExecutionProvider",
    "MIGraphX": "MIGraphXExecutionProvider",
}
NOT_APPENDED = ["ROCM", "CANN", "Dnnl", "NNAPI", "ACL", "ArmNN", "RKNPU", "VSINPU"]
EVERY_NAME = [
    *((name, short, "generic", full) for short, full in GENERIC.items() for name in (short, full)),
    *((name, "CPU", "cpu", "CPUExecutionProvider") for name in ("CPU", "CPUExecutionProvider")),
    *((name, "", "cuda", "CUDAExecutionProvider") for name in ("CUDA", "CUDAExecutionProvider")),
    *((name, "", "tensorrt", "TensorrtExecutionProvider") for name in ("TensorRT", "TensorrtExecutionProvider")),
]
COREML = Provider("CoreMLExecutionProvider", "CoreML")
CUDA = Provider("CUDAExecutionProvider", "", "cuda")


class Device(str, enum.Enum):  # noqa: UP042 - what str() makes of it is the point
    GPU = "GPU.1"


def refusal(value: object) -> OptionError:
    """Read what must be refused; return what the user gets to see."""
    with pytest.raises(Refusal) as caught:
        read_providers(value)
    return caught.value.raised_for("ortx.session", "providers", value)


# --- names


@pytest.mark.parametrize(("name", "append_name", "kind", "full_name"), EVERY_NAME)
def test_every_name_of_onnx_runtime_is_known_in_any_case(name, append_name, kind, full_name):
    expected = (Provider(full_name, append_name, kind),)
    assert read_providers(name) == read_providers(name.lower()) == read_providers(name.upper()) == expected


@pytest.mark.parametrize(
    ("alias", "full_name"),
    [
        ("coreml", "CoreMLExecutionProvider"),
        ("core_ml", "CoreMLExecutionProvider"),
        ("Core-ML", "CoreMLExecutionProvider"),
        ("coreml_execution_provider", "CoreMLExecutionProvider"),
        ("directml", "DmlExecutionProvider"),
        ("DirectMLExecutionProvider", "DmlExecutionProvider"),
        ("tensor_rt", "TensorrtExecutionProvider"),
        ("TensorRTExecutionProvider", "TensorrtExecutionProvider"),
        ("tensorrt_rtx", "NvTensorRTRTXExecutionProvider"),
        ("nv_tensorrt_rtx", "NvTensorRTRTXExecutionProvider"),
        ("open-vino", "OpenVINOExecutionProvider"),
        ("web_gpu", "WebGpuExecutionProvider"),
    ],
)
def test_other_spellings_are_understood(alias, full_name):
    assert providers.names(read_providers(alias)) == (full_name,)


@pytest.mark.parametrize("name", NOT_APPENDED)
def test_a_provider_that_ortx_does_not_append_is_refused_with_what_is_possible(name):
    for spelling in (name, name.lower(), f"{name}ExecutionProvider"):
        message = str(refusal(["cpu", spelling]))
        assert message.startswith(f"ortx.session: option 'providers'[1]: got {spelling!r} (str); expected one of 'cpu'")
        assert f"ONNX Runtime knows {spelling!r}, but ortx cannot append it: it " in message
    assert isinstance(refusal(name), OptionError)


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("coremll", "coreml"),
        ("KUDA", "cuda"),
        ("CUDAExecutonProvider", "CUDAExecutionProvider"),
        ("tensor-r", "tensorrt"),
        ("xnpack", "xnnpack"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest_valid_one(name, suggestion):
    message = str(refusal(name))
    assert "expected one of 'cpu', 'coreml', 'cuda', 'tensorrt', " in message
    assert message.endswith(f"; did you mean {suggestion!r}?")


@pytest.mark.parametrize("name", ["", "ExecutionProvider", "_", " cpu", "quantum", "cpu\0", "\ud800"])
def test_a_name_that_is_like_none_is_refused(name):
    assert type(refusal(name)) is OptionError


@given(st.text())
def test_any_text_is_a_provider_or_refused(text):
    try:
        (provider,) = read_providers(text)
    except Refusal:
        return
    assert provider.name in {full_name for *_, full_name in EVERY_NAME}


# --- the list


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("coreml", (COREML,)),
        ([], (CPU,)),
        ((), (CPU,)),
        (["coreml", "cpu"], (COREML, CPU)),
        (("coreml", "cpu"), (COREML, CPU)),
        (["cpu", "coreml"], (CPU, COREML)),
        (["cuda", "coreml", "cpu"], (CUDA, COREML, CPU)),
        (("coreml", {}), (COREML,)),
        (("coreml", {"a": "b"}), (Provider("CoreMLExecutionProvider", "CoreML", "generic", (("a", "b"),)),)),
        ([("cuda", {"device_id": 1}), "cpu"], (Provider(CUDA.name, "", "cuda", (("device_id", "1"),)), CPU)),
        ((("cuda", {}), ("coreml", {})), (CUDA, COREML)),
        (COREML, (COREML,)),
        ([COREML, "cpu"], (COREML, CPU)),
        (("cpu", {}), (CPU,)),
    ],
)
def test_a_value_becomes_providers_in_the_order_given(value, expected):
    assert read_providers(value) == expected


def test_what_was_read_can_be_read_again():
    once = read_providers([("coreml", {"ModelFormat": "MLProgram"}), "cpu"])
    assert read_providers(once) == once
    assert hash(once) == hash(read_providers(once))


@pytest.mark.parametrize(
    ("value", "where", "expected"),
    [
        (["coreml", "cpu", "CoreMLExecutionProvider"], "[2]", "CoreMLExecutionProvider is already at [0]"),
        (["dml", "directml"], "[1]", "DmlExecutionProvider is already at [0]"),
        ([("cuda", {"device_id": 0}), ("cuda", {"device_id": 1})], "[1]", "CUDAExecutionProvider is already at [0]"),
        (["cpu", CPU], "[1]", "CPUExecutionProvider is already at [0]"),
    ],
)
def test_a_provider_that_is_listed_twice_is_refused(value, where, expected):
    message = str(refusal(value))
    assert message.startswith(f"ortx.session: option 'providers'{where}: got ")
    assert f"expected every provider once, and {expected}" in message


@pytest.mark.parametrize(
    ("value", "where"),
    [
        (1, ""),
        (True, ""),
        (b"cpu", ""),
        ({"cpu"}, ""),
        ({"coreml": {}}, ""),
        (iter(["cpu"]), ""),
        (["cpu", None], "[1]"),
        (["cpu", 1], "[1]"),
        (["cpu", ["coreml"]], "[1]"),
        (["coreml", {"ModelFormat": "MLProgram"}], "[1]"),
        ([["coreml", {"ModelFormat": "MLProgram"}]], "[0]"),
        (["cpu", ("coreml",)], "[1]"),
        (["cpu", ("coreml", None)], "[1]"),
        (["cpu", ("coreml", {}, {})], "[1]"),
        (["cpu", ("coreml", "cuda")], "[1]"),
        (("coreml", None), "[1]"),
        ((1, {}), "[0]"),
        (["cpu", (1, {})], "[1][0]"),
        (["cpu", (COREML, {})], "[1][0]"),
    ],
)
def test_a_wrong_type_is_refused_with_its_place(value, where):
    error = refusal(value)
    assert isinstance(error, OptionTypeError)
    assert str(error).startswith(f"ortx.session: option 'providers'{where}: got ")
    assert "expected the name of a provider" in str(error)


def test_options_in_a_list_are_pointed_to_a_tuple():
    assert str(refusal(["coreml", {"ModelFormat": "MLProgram"}])).endswith("stand together in a tuple")


@pytest.mark.parametrize(
    ("value", "without", "with_cpu"),
    [
        ("coreml", (COREML.name,), (COREML.name, CPU.name)),
        (["cpu", "coreml"], (CPU.name, COREML.name), (CPU.name, COREML.name)),
        ([], (CPU.name,), (CPU.name,)),
    ],
)
def test_the_cpu_is_added_to_the_names_where_asked_and_missing(value, without, with_cpu):
    read = read_providers(value)
    assert providers.names(read) == without
    assert providers.names(read, with_cpu=True) == with_cpu


# --- options


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "1"),
        (False, "0"),
        (0, "0"),
        (-7, "-7"),
        (2**40, "1099511627776"),
        (np.int64(3), "3"),
        (0.5, "0.5"),
        (np.float64(0.25), "0.25"),
        ("kSameAsRequested", "kSameAsRequested"),
        (" ", " "),
        ("größe", "größe"),
        (Device.GPU, "GPU.1"),
        (PurePosixPath("cache/model"), "cache/model"),
    ],
)
def test_the_value_of_an_option_becomes_text(value, text):
    (provider,) = read_providers(("qnn", {"key": value}))
    assert provider.options == (("key", text),)
    assert type(provider.options[0][1]) is str


def test_options_keep_their_order_and_may_be_any_mapping():
    (provider,) = read_providers(("cuda", UserDict({"b": 1, "a": True, "c": Path("x")})))
    assert provider.options == (("b", "1"), ("a", "1"), ("c", "x"))


@pytest.mark.parametrize("value", [None, b"1", [1], {}, 1j, np.float32(1), np.True_, object()])
def test_a_value_of_another_type_is_refused_by_its_key(value):
    error = refusal(["cpu", ("qnn", {"good": 1, "bad": value})])
    assert isinstance(error, OptionTypeError)
    assert str(error).startswith("ortx.session: option 'providers'[1][1]['bad']: got ")
    assert "expected a string, a number, True, False or a path" in str(error)


@pytest.mark.parametrize("value", ["", "a\0b", "\udc80"])
def test_a_value_that_onnx_runtime_would_not_take_is_refused_by_its_key(value):
    error = refusal(("qnn", {"good": 1, "bad": value}))
    assert type(error) is OptionError
    assert str(error).startswith("ortx.session: option 'providers'[1]['bad']: got ")


@pytest.mark.parametrize("key", ["", "a\0b", "\udc80"])
def test_a_key_that_onnx_runtime_would_not_take_is_refused(key):
    error = refusal(("qnn", {key: "1"}))
    assert type(error) is OptionError
    assert "expected a key " in str(error)


@pytest.mark.parametrize("key", [1, None, b"key", ("a", "b")])
def test_a_key_that_is_no_string_is_refused(key):
    error = refusal(("qnn", {key: "1"}))
    assert isinstance(error, OptionTypeError)
    assert str(error).startswith("ortx.session: option 'providers'[1]: got ")


def test_the_cpu_takes_no_options():
    message = str(refusal(["coreml", ("cpu", {"use_arena": 1})]))
    assert message.startswith(
        "ortx.session: option 'providers'[1][1]: got {'use_arena': 1} (dict); expected no options"
    )
    assert "enable_cpu_mem_arena" in message


# --- concurrent runs

GRAPH = {"cuda": "enable_cuda_graph", "tensorrt": "trt_cuda_graph_enable", "nvtensorrtrtx": "enable_cuda_graph"}


@pytest.mark.parametrize("name", ["dml", "webgpu", "webnn", "js", "xnnpack"])
def test_runs_wait_for_each_other_where_a_provider_cannot_do_more(name):
    assert not providers.may_run_concurrently(read_providers([name]))
    assert not providers.may_run_concurrently(read_providers(["coreml", name, "cpu"]))


@pytest.mark.parametrize("name", ["cpu", "coreml", "cuda", "tensorrt", "nvtensorrtrtx", "openvino", "qnn"])
def test_runs_are_concurrent_elsewhere(name):
    assert providers.may_run_concurrently(read_providers(name))
    assert providers.may_run_concurrently(())


@pytest.mark.parametrize(("name", "option"), GRAPH.items())
@pytest.mark.parametrize(
    ("value", "concurrent"), [(True, False), (1, False), ("True", False), (False, True), (0, True), ("False", True)]
)
def test_runs_wait_for_each_other_where_a_graph_is_captured(name, option, value, concurrent):
    assert providers.may_run_concurrently(read_providers([(name, {option: value})])) is concurrent


def test_every_provider_whose_runs_wait_is_one_that_ortx_appends():
    assert set(providers._ONE_RUN_AT_A_TIME) <= set(providers._PROVIDERS)
