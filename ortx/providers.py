"""Execution providers: what they are called, in which order they are asked, and the options of each.

The order of the list is the order of preference, and it is kept as it was given. ``"cpu"`` belongs at its end: the CPU
provider takes every node that it has a kernel for, so that what stands behind it has nothing left to do. ONNX Runtime
puts the CPU last by itself, which is why it need not be listed at all.

A provider is written as its short word (``"coreml"``), as the name that the C API takes (``"CoreML"``) or as its full
name (``"CoreMLExecutionProvider"``), in any case, with or without ``_`` and ``-``; with options as a tuple
``("coreml", {"ModelFormat": "MLProgram"})``. A tuple of two strings is two providers.
"""

from __future__ import annotations

import operator
import os
from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple

from ._core import OptionTypeError, Refusal, nearest, shown

__all__ = ["CPU", "Provider", "names", "read_providers"]


class Provider(NamedTuple):
    """One execution provider of a session, with its options as ONNX Runtime takes them.

    Attributes
    ----------
    name : str
        ONNX Runtime's full name, such as ``"CoreMLExecutionProvider"``.
    append_name : str
        What ``SessionOptionsAppendExecutionProvider`` takes in every version that has the provider; empty where the
        provider has functions of its own.
    kind : str
        Which functions append it: ``"generic"``, ``"cuda"``, ``"tensorrt"``, or ``"cpu"``, which is always there
        and needs none.
    options : tuple of (str, str)
        Keys and values; none of them empty.
    """

    name: str
    append_name: str
    kind: Literal["generic", "cuda", "tensorrt", "cpu"] = "generic"
    options: tuple[tuple[str, str], ...] = ()


CPU = Provider("CPUExecutionProvider", "CPU", "cpu")

# By the word that messages show; this is also the order in which they show it.
_PROVIDERS: dict[str, Provider] = {
    "cpu": CPU,
    "coreml": Provider("CoreMLExecutionProvider", "CoreML"),
    "cuda": Provider("CUDAExecutionProvider", "", "cuda"),
    "tensorrt": Provider("TensorrtExecutionProvider", "", "tensorrt"),
    "nvtensorrtrtx": Provider("NvTensorRTRTXExecutionProvider", "NvTensorRtRtx"),
    "migraphx": Provider("MIGraphXExecutionProvider", "MIGraphX"),
    "dml": Provider("DmlExecutionProvider", "DML"),
    "openvino": Provider("OpenVINOExecutionProvider", "OpenVINO"),
    "qnn": Provider("QNNExecutionProvider", "QNN"),
    "vitisai": Provider("VitisAIExecutionProvider", "VitisAI"),
    "xnnpack": Provider("XnnpackExecutionProvider", "XNNPACK"),
    "webgpu": Provider("WebGpuExecutionProvider", "WebGPU"),
    "webnn": Provider("WebNNExecutionProvider", "WEBNN"),
    "azure": Provider("AzureExecutionProvider", "AZURE"),
    "snpe": Provider("SNPEExecutionProvider", "SNPE"),
    "js": Provider("JsExecutionProvider", "JS"),
}

# Names that ONNX Runtime has, of providers that ortx does not append, and what to do instead.
_BY_ITS_OWN_FUNCTION = "it can only be appended by a C function of its own, which ortx does not call"
_NOT_APPENDED = {
    "rocm": "it was removed from ONNX Runtime; use 'migraphx'",
    "cann": _BY_ITS_OWN_FUNCTION,
    "dnnl": f"{_BY_ITS_OWN_FUNCTION}; on Intel hardware use 'openvino'",
    "nnapi": f"{_BY_ITS_OWN_FUNCTION}; on Android use 'qnn' or 'xnnpack'",
    "acl": f"{_BY_ITS_OWN_FUNCTION}; on Arm use 'cpu' or 'xnnpack'",
    "armnn": f"{_BY_ITS_OWN_FUNCTION}; on Arm use 'cpu' or 'xnnpack'",
    "rknpu": _BY_ITS_OWN_FUNCTION,
    "vsinpu": _BY_ITS_OWN_FUNCTION,
}

# Providers of which ONNX Runtime, or who makes them, says that runs of one session may not be concurrent: with which of
# their options (none: always), and why.
_ONE_RUN_AT_A_TIME: dict[str, tuple[tuple[str, ...], str]] = {
    "dml": ((), "a session's commands are recorded and executed by one thread at a time"),
    "webgpu": ((), "runs of a session share state of the device, such as the commands that wait to be submitted"),
    "webnn": ((), "kernels may not be executed concurrently"),
    "js": ((), "runs of a session share state of the device"),
    "xnnpack": ((), "kernels may not be executed concurrently"),
    "cuda": (("enable_cuda_graph",), "a captured graph is replayed by one thread at a time, on fixed addresses"),
    "tensorrt": (("trt_cuda_graph_enable",), "as CUDA"),
    "nvtensorrtrtx": (("enable_cuda_graph", "nv_cuda_graph_enable"), "as CUDA"),
}

# Words under which some providers are known as well.
_OTHER_WORDS = {"directml": "dml", "tensorrtrtx": "nvtensorrtrtx", "onednn": "dnnl"}

_ONE_PROVIDER = "the name of a provider or a tuple (name, {option: value})"


def read_providers(value: object) -> tuple[Provider, ...]:
    """Read what a user gave as ``providers``.

    Parameters
    ----------
    value
        A name, a tuple ``(name, options)``, a `Provider`, or a list or tuple of these. An empty one is the CPU alone.

    Returns
    -------
    tuple of Provider
        In the order given.

    Raises
    ------
    Refusal
        For a name that is not known or that ortx does not append, for a provider that is listed twice, and for
        options that ONNX Runtime would not take.
    """
    if isinstance(value, (str, Provider)) or _is_pair(value):
        return (_read_provider(value, ""),)
    if not isinstance(value, (list, tuple)):
        raise Refusal(f"{_ONE_PROVIDER}, or a list of these", OptionTypeError)
    position_of: dict[str, int] = {}
    providers = []
    for position, item in enumerate(value):
        provider = _read_provider(item, f"[{position}]")
        first = position_of.setdefault(provider.name, position)
        if first != position:
            raise Refusal(
                f"every provider once, and {provider.name} is already at [{first}]", where=f"[{position}]", got=item
            )
        providers.append(provider)
    return tuple(providers) or (CPU,)


def names(providers: Iterable[Provider], *, with_cpu: bool = False) -> tuple[str, ...]:
    """Return the full names of the providers, in order.

    Parameters
    ----------
    providers
        As `read_providers` returned them.
    with_cpu
        Whether to add the CPU provider at the end where it is missing, as ONNX Runtime does.
    """
    result = tuple(provider.name for provider in providers)
    return (*result, CPU.name) if with_cpu and CPU.name not in result else result


def may_run_concurrently(providers: Iterable[Provider]) -> bool:
    """Whether runs of a session with these providers may be in progress at the same time."""
    for provider in providers:
        options, _ = _ONE_RUN_AT_A_TIME.get(_word_of(provider), (None, ""))
        given = dict(provider.options)
        if options == () or any(given.get(option, "0").lower() not in ("0", "false") for option in options or ()):
            return False
    return True


def _word_of(provider: Provider) -> str:
    return next((word for word, known in _PROVIDERS.items() if known.name == provider.name), "")


def _is_pair(value: object) -> bool:
    """Tell a provider with options from a tuple of two providers."""
    return isinstance(value, tuple) and len(value) == 2 and isinstance(value[1], Mapping)


def _read_provider(item: object, where: str) -> Provider:
    if isinstance(item, Provider):
        return item
    if isinstance(item, str):
        return _find(item, where)
    if isinstance(item, tuple) and _is_pair(item):
        name, options = item
        if not isinstance(name, str):
            raise Refusal("the name of a provider", OptionTypeError, where=f"{where}[0]", got=name)
        return _with_options(_find(name, f"{where}[0]"), options, f"{where}[1]")
    in_a_tuple = isinstance(item, (list, Mapping))
    hint = "; a provider and its options stand together in a tuple" if in_a_tuple else ""
    raise Refusal(_ONE_PROVIDER, OptionTypeError, where=where, got=item, hint=hint)


def _find(name: str, where: str) -> Provider:
    word = name.lower().replace("_", "").replace("-", "").removesuffix("executionprovider")
    word = _OTHER_WORDS.get(word, word)
    provider = _PROVIDERS.get(word)
    if provider is None:
        expected = "one of " + ", ".join(map(repr, _PROVIDERS))
        if word in _NOT_APPENDED:
            hint = f" (ONNX Runtime knows {name!r}, but ortx cannot append it: {_NOT_APPENDED[word]})"
        else:
            full_names = [known.name for known in _PROVIDERS.values()]
            hint = nearest(name, [*_PROVIDERS, *full_names]) or nearest(word, _PROVIDERS)
        raise Refusal(expected, where=where, got=name, hint=hint)
    return provider


def _with_options(provider: Provider, options: Mapping[object, object], where: str) -> Provider:
    if provider is CPU and options:
        raise Refusal(
            "no options: the CPU provider has none; session options such as enable_cpu_mem_arena and "
            "intra_op_num_threads say what it does",
            where=where,
            got=options,
        )
    read = {}
    for key, value in options.items():
        if not isinstance(key, str):
            raise Refusal("options with strings as keys", OptionTypeError, where=where, got=key)
        place = f"{where}[{shown(key, quote=True)}]"
        read[_checked(key, "a key", place, key)] = _checked(_as_text(value, place), "a value", place, value)
    return provider._replace(options=tuple(read.items()))


def _as_text(value: object, where: str) -> str:
    """Write an option's value as ONNX Runtime reads it."""
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, str):
        return str.__str__(value)  # str() of an enumeration's member would be the member's name
    if isinstance(value, float):
        return str(float(value))
    if isinstance(value, os.PathLike):
        path = os.fspath(value)
        if isinstance(path, str):
            return path
    try:
        return str(operator.index(value))  # type: ignore[arg-type]
    except TypeError:
        pass
    raise Refusal("a string, a number, True, False or a path", OptionTypeError, where=where, got=value)


def _checked(text: str, what: str, where: str, got: object) -> str:
    if not text or "\0" in text:
        raise Refusal(f"{what} that is not empty and has no NUL character", where=where, got=got)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise Refusal(
            f"{what} that can be encoded as UTF-8 (it holds a lone surrogate)", where=where, got=got
        ) from None
    return str.__str__(text)
