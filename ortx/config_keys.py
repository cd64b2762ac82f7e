"""The entries of ONNX Runtime's configuration: which there are, what they take, which version has them.

ONNX Runtime takes every key in silence and nearly every value. A misspelt key does nothing, ``"True"`` switches nothing
on, a key from a newer version is ignored, and some values that are no numbers end the process. So all is checked here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Final, NamedTuple

from ._core import NotSupported, OptionError, OptionTypeError, Refusal, UnknownConfigKeyWarning, nearest, shown, warn

__all__ = [
    "check_run_version",
    "check_versions",
    "read_dynamic_options",
    "read_run_entry",
    "read_session_entries",
]


# --- kinds of values ------------------------------------------------------------------------------------------------


class Kind(NamedTuple):
    """What a key takes: in words, to stand behind "expected", and as a test of the string."""

    expected: str
    accepts: Callable[[str], object]


_INT_MAX = 2**31 - 1
_INT64_MAX = 2**63 - 1  # a size_t could be more; nothing has that many bytes


def one_of(*words: str) -> Kind:
    return Kind("one of " + ", ".join(map(repr, words)), words.__contains__)


def number(minimum: int, maximum: int = _INT64_MAX, meaning: str = "") -> Kind:
    # At most 19 digits: Python refuses to read very long ones, with an exception of its own.
    digits = re.compile(r"-?[0-9]{1,19}")

    def accepts(text: str) -> bool:
        return digits.fullmatch(text) is not None and minimum <= int(text) <= maximum

    return Kind(f"an integer from {minimum} to {maximum}{meaning}, as a string", accepts)


def matching(pattern: str, expected: str) -> Kind:
    return Kind(expected, re.compile(pattern, re.DOTALL).fullmatch)


def _is_fraction(text: str) -> bool:
    return re.fullmatch(r"[0-9]*\.?[0-9]+([eE][-+]?[0-9]+)?", text) is not None and 0 <= float(text) <= 1


FLAG = one_of("0", "1")
FORMAT = one_of("ONNX", "ORT")
FRACTION = Kind("a number from 0 to 1, as a string", _is_fraction)
MICROSECONDS = number(-1, _INT_MAX, " (-1: built-in)")
BYTES = number(0)
QNN_MODE = one_of(
    *("burst", "balanced", "default", "high_performance", "high_power_saver", "low_balanced"),
    *("extreme_power_saver", "low_power_saver", "power_saver", "sustained_high_performance"),
)
# ONNX Runtime would take the commas for parts of a name, and skip nothing.
SEMICOLONS = matching(r"[^,]*", "names separated by ';', without ','")
COMMAS = matching(r"[^;]*", "names separated by ',', without ';'")
AFFINITIES = matching(
    r"[1-9][0-9]*(-[1-9][0-9]*)?([,;][1-9][0-9]*(-[1-9][0-9]*)?)*",
    "CPUs counted from 1, as in '1,2;3-4': one group for each thread but the first, separated by ';'",
)
ARENAS = matching(r"(((cpu|gpu)(:[0-9]{1,9})?)(;(cpu|gpu)(:[0-9]{1,9})?)*;?)?", "devices as in 'cpu:0;gpu:0'")
SHAPES = matching(r"(.+:\[[0-9, ]*\])?", "shapes as in 'x:[8,4096];mask:[8,4096]'")
LIMIT_AND_FILE = matching(r"[0-9]*,.*", "a limit in kilobytes and a file, as in '1000000,stats.csv'")
TEXT = Kind("a string", lambda text: True)
PATH = Kind("a string", lambda text: True)  # of a file or folder; relative to the current folder
NAME = TEXT  # of a file, relative to the model's folder, or to that of the model that is written


# --- the keys -------------------------------------------------------------------------------------------------------


class Key(NamedTuple):
    """What a key takes, and the minor version of ONNX Runtime that has it first.

    20 also stands for what is older: nothing below 1.20 is supported. None is for keys that other builds than the CPU's
    read, from a version that is not known.
    """

    kind: Kind
    since: int | None


SESSION_KEYS: Final[Mapping[str, Key]] = {
    # weights and memory
    "session.disable_prepacking": Key(FLAG, 20),
    "session.prepack.enable_parallel": Key(FLAG, 31),
    "session.save_external_prepacked_constant_initializers": Key(FLAG, 21),
    "session.use_env_allocators": Key(FLAG, 20),
    "session.use_device_allocator_for_initializers": Key(FLAG, 20),
    "session.collect_node_memory_stats_to_file": Key(NAME, 21),
    "session.max_shape_override": Key(SHAPES, 29),
    "session.strict_workspace_verification": Key(FLAG, 31),
    # files
    "session.load_model_format": Key(FORMAT, 20),
    "session.save_model_format": Key(FORMAT, 20),
    "session.use_ort_model_bytes_directly": Key(FLAG, 20),
    "session.use_ort_model_bytes_for_initializers": Key(FLAG, 20),
    "session.use_memory_mapped_ort_model": Key(FLAG, 26),
    "session.model_external_initializers_file_folder_path": Key(PATH, 21),
    "session.use_external_initializer_file_buffers_directly": Key(FLAG, 31),
    "session.optimized_model_external_initializers_file_name": Key(NAME, 20),
    "session.optimized_model_external_initializers_min_size_in_bytes": Key(BYTES, 20),
    "session.enable_saved_runtime_optimizations": Key(FLAG, 30),
    # threads
    "session.set_denormal_as_zero": Key(FLAG, 20),
    "session.intra_op.allow_spinning": Key(FLAG, 20),
    "session.inter_op.allow_spinning": Key(FLAG, 20),
    "session.intra_op.spin_duration_us": Key(MICROSECONDS, 26),
    "session.inter_op.spin_duration_us": Key(MICROSECONDS, 26),
    "session.intra_op.spin_backoff_max": Key(number(1, _INT_MAX), 26),
    "session.inter_op.spin_backoff_max": Key(number(1, _INT_MAX), 26),
    "session.force_spinning_stop": Key(FLAG, 20),
    "session.dynamic_block_base": Key(number(0, _INT_MAX, " (0: off)"), 20),
    "session.intra_op_thread_affinities": Key(AFFINITIES, 20),
    # quantised models
    "session.disable_quant_qdq": Key(FLAG, 20),
    "session.disable_double_qdq_remover": Key(FLAG, 20),
    "session.enable_quant_qdq_cleanup": Key(FLAG, 20),
    "session.disable_qdq_constant_folding": Key(FLAG, 26),
    "session.qdqisint8allowed": Key(FLAG, 20),
    "session.x64quantprecision": Key(FLAG, 20),
    "session.qdq_matmulnbits_accuracy_level": Key(one_of("0", "1", "2", "3", "4"), 20),
    "session.qdq_matmulnbits_block_size": Key(one_of("-1", "0", "16", "32", "64", "128", "256"), 25),
    "session.enable_dq_matmulnbits_fusion": Key(FLAG, 25),
    # the graph and its kernels
    "session.gqa_value_layout": Key(one_of("BNSH", "BNHS"), 30),
    "session.enable_cpu_fp16": Key(FLAG, 28),
    "session.disable_aot_function_inlining": Key(FLAG, 20),
    "session.function_expansion_node_limit": Key(number(1), 31),
    "session.function_expansion_byte_limit": Key(number(1), 31),
    "session.graph_optimizations_loop_level": Key(one_of("0", "1", "2"), 23),
    "session.strict_shape_type_inference": Key(FLAG, 20),
    "session.allow_released_opsets_only": Key(FLAG, 20),
    "session.debug_layout_transformation": Key(FLAG, 20),
    "session.enable_moe_expert_statistics": Key(FLAG, 31),
    "session.enable_moe_expert_counting": Key(FLAG, 31),
    "session.moe_expert_counter_state_file": Key(PATH, 31),
    "session.moe_expert_counter_alpha": Key(FRACTION, 31),
    "session.moe_expert_counter_beta": Key(FRACTION, 31),
    "optimization.enable_gelu_approximation": Key(FLAG, 20),
    "optimization.enable_cast_chain_elimination": Key(FLAG, 23),
    "optimization.disable_specified_optimizers": Key(SEMICOLONS, 20),
    "optimization.minimal_build_optimizations": Key(one_of("save", "apply", ""), 20),
    "optimization.constant_folding_max_output_size_in_bytes": Key(BYTES, 27),
    "optimization.memory_optimizer_config": Key(TEXT, None),
    "optimization.enable_memory_probe_recompute_config": Key(TEXT, None),
    "mlas.enable_gemm_fastmath_arm64_bfloat16": Key(FLAG, None),
    "mlas.use_lut_gemm": Key(FLAG, 24),
    "mlas.disable_kleidiai": Key(FLAG, 25),
    "mlas.kleidiai.conv_igemm_max_work": Key(BYTES, 28),  # anything else than a number ends the process
    "mlas.nchwc_depthwise_sliding": Key(FLAG, 31),
    "mlas.nchwc_pointwise_conv_max_input_channel_batch": Key(BYTES, 30),  # idem
    "mlas.qnbit.force_fp32": Key(FLAG, 31),
    # which provider gets which node
    "session.disable_cpu_ep_fallback": Key(FLAG, 20),
    "session.node_partition_config_file": Key(PATH, 20),
    "session.record_ep_graph_assignment_info": Key(FLAG, 24),
    "session.resource_cuda_partitioning_settings": Key(LIMIT_AND_FILE, 21),
    "session.layer_assignment_settings": Key(TEXT, 25),
    "session.name_based_layer_assignment": Key(TEXT, 28),
    # compiled models
    "session.disable_model_compile": Key(FLAG, 22),
    "session.fail_on_suboptimal_compiled_model": Key(FLAG, 23),
    "session.compile_only": Key(FLAG, 27),
    "ep.context_enable": Key(FLAG, 20),
    "ep.context_file_path": Key(PATH, 20),
    "ep.context_embed_mode": Key(FLAG, 20),  # the CPU build has it from 1.22 on, others had it before
    "ep.context_node_name_prefix": Key(TEXT, None),
    "ep.context_model_external_initializers_file_name": Key(NAME, 21),
    "ep.context_source_model_path": Key(TEXT, None),
    "ep.enable_weightless": Key(FLAG, 29),
    "ep.share_ep_contexts": Key(FLAG, None),
    "ep.stop_share_ep_contexts": Key(FLAG, None),
    # providers
    "ep.nnapi.partitioning_stop_ops": Key(COMMAS, None),
    "ep.cuda.fpa_intb_gemm": Key(FLAG, 31),
    "ep.cuda.fpa_intb_profile_m": Key(number(0), 31),
    "ep.cuda.gqa_workspace_max_total_sequence_length": Key(number(0), 31),
}

# Keys that do what a function of the C API does, from 1.28 on; before, ONNX Runtime ignores them. The options do the
# same with every version.
OPTION_OF_KEY: Final[Mapping[str, str]] = {
    "session.intra_op_num_threads": "intra_op_num_threads",
    "session.inter_op_num_threads": "inter_op_num_threads",
    "session.graph_optimization_level": "graph_optimization_level",
    "session.execution_mode": "execution_mode",
    "session.enable_mem_pattern": "enable_mem_pattern",
    "session.enable_cpu_mem_arena": "enable_cpu_mem_arena",
    "session.use_per_session_threads": "disable_per_session_threads",
    "session.use_deterministic_compute": "deterministic_compute",
    "session.enable_profiling": "profile_file_prefix",
    "session.optimized_model_filepath": "optimized_model_path",
    "session.log_id": "log_id",
    "session.log_severity_level": "session_log_severity_level",
    "session.log_verbosity_level": "session_log_verbosity_level",
}

RUN_KEYS: Final[Mapping[str, Key]] = {
    "memory.enable_memory_arena_shrinkage": Key(ARENAS, 20),
    "disable_synchronize_execution_providers": Key(FLAG, 20),
    "gpu_graph_id": Key(number(-1, _INT_MAX, " (-1: capture nothing)"), 20),
    "qnn.htp_perf_mode": Key(QNN_MODE, None),
    "qnn.htp_perf_mode_post_run": Key(QNN_MODE, None),
    "qnn.rpc_control_latency": Key(number(0), None),
    "qnn.lora_config": Key(PATH, None),
}

DYNAMIC_KEYS: Final[Mapping[str, Key]] = {
    "ep.dynamic.workload_type": Key(one_of("Default", "Efficient"), None),
    "ep.dynamic.qnn_htp_performance_mode": Key(QNN_MODE, None),
}

# Options of these providers have keys such as "ep.qnn.backend_path"; the full names are allowed as well.
PROVIDERS: Final = (
    *("acl", "armnn", "azure", "cann", "coreml", "cpu", "cuda", "dml", "dnnl", "js", "migraphx", "nnapi"),
    *("nvtensorrtrtx", "openvino", "qnn", "rknpu", "rocm", "snpe", "tensorrt", "vitisai", "vsinpu", "webgpu"),
    *("webnn", "xnnpack"),
)
_PROVIDER_OPTION = re.compile(rf"ep\.({'|'.join(PROVIDERS)})(executionprovider)?\..+", re.DOTALL)

# In bytes, as of 1.31; ONNX Runtime says so itself where an older version takes less.
LONGEST_KEY = 1024
LONGEST_VALUE = 8192


# --- entries of a session -------------------------------------------------------------------------------------------


def read_session_entries(value: object) -> tuple[tuple[str, str], ...]:
    """Read the option `config_entries` of a session, a mapping from strings to strings, and keep its order.

    An unknown key is kept, with an `UnknownConfigKeyWarning` at the caller of ortx; an option of a known provider is
    kept without one.

    Raises
    ------
    Refusal
        For what is no such mapping, for a known key with a value that it does not take, and for a key that does what
        an option of its own does.
    """
    if not isinstance(value, Mapping):
        raise Refusal("a mapping from strings to strings", OptionTypeError)
    entries = []
    for given_key, given_text in value.items():
        key = _read_key(given_key)
        if key in OPTION_OF_KEY:
            expected = f"the option {OPTION_OF_KEY[key]!r} in its place (before 1.28, ONNX Runtime ignores this entry)"
            raise Refusal(expected, where=f"{[key]!r}", got=given_text)
        entries.append((key, _read_text(given_text, key, SESSION_KEYS)))
    for key, _ in entries:  # once it is certain that nothing is refused
        if key in RUN_KEYS:
            warn(
                UnknownConfigKeyWarning,
                f"config entry {key!r} concerns runs, not sessions; use RunOptions.add_config_entry",
            )
        elif key in DYNAMIC_KEYS:
            warn(
                UnknownConfigKeyWarning,
                f"config entry {key!r} is for a session that exists; use Session.set_ep_dynamic_options",
            )
        elif key not in SESSION_KEYS and not _PROVIDER_OPTION.fullmatch(key):
            _warn_unknown(key, [*SESSION_KEYS, *OPTION_OF_KEY])
    return tuple(entries)


def check_versions(
    entries: Iterable[tuple[str, str]], api_version: int, library_version: str, function: str = "ortx.session"
) -> None:
    """Refuse entries of a session that the loaded library is too old for; it would ignore them in silence.

    Parameters
    ----------
    entries
        What `read_session_entries` returned.
    api_version, library_version
        As in `ortx.LibraryInfo`. A library has the keys of its own version even if ortx knows only an older function
        table, so `library_version` decides; `api_version` does where that makes no sense.
    function
        Whose option it is, for messages.

    Raises
    ------
    NotSupported
        For the first such key, with the version that it needs.
    """
    for key, _ in entries:
        what = f"{function}: option 'config_entries'{[key]!r}"
        _check_version(SESSION_KEYS.get(key), what, api_version, library_version)


# --- entries of a run -----------------------------------------------------------------------------------------------


def read_run_entry(key: object, value: object) -> tuple[str, str]:
    """Read an entry of run options; an unknown key is kept, with an `UnknownConfigKeyWarning`.

    Raises
    ------
    OptionError, OptionTypeError
        Unless both are strings that ONNX Runtime can take, and the value one that a known key takes.
    """
    try:
        checked_key = _read_key(key)
        text = _read_text(value, checked_key, RUN_KEYS)
    except Refusal as refusal:
        if refusal.where:
            refusal.hint += f" for the key {shown(key, quote=True)}"
        raise _refused(f"add_config_entry: {'value' if refusal.where else 'key'}", refusal) from None
    if checked_key in SESSION_KEYS or checked_key in OPTION_OF_KEY:
        option = OPTION_OF_KEY.get(checked_key, "config_entries")
        warn(
            UnknownConfigKeyWarning,
            f"config entry {checked_key!r} concerns sessions, not runs; use the option {option!r} of ortx.session",
        )
    elif checked_key not in RUN_KEYS and not _PROVIDER_OPTION.fullmatch(checked_key):
        _warn_unknown(checked_key, RUN_KEYS)
    return checked_key, text


def check_run_version(key: str, api_version: int, library_version: str) -> None:
    """Refuse a key of a run that the loaded library is too old for; see `check_versions`."""
    _check_version(RUN_KEYS.get(key), f"add_config_entry: {key!r}", api_version, library_version)


# --- dynamic options ------------------------------------------------------------------------------------------------


def read_dynamic_options(options: object) -> tuple[tuple[str, str], ...]:
    """Read the argument of `Session.set_ep_dynamic_options`, a mapping that is not empty, and keep its order.

    Keys and values become what `str` makes of them, except that Python's and NumPy's True and False become ``"1"``
    and ``"0"``, as ONNX Runtime writes them everywhere. Providers have keys of their own, so there is an
    `UnknownConfigKeyWarning` for keys below ``"ep.dynamic."`` only.

    Raises
    ------
    OptionError, OptionTypeError
        For what is no such mapping, for two keys that become one, for None and bytes, whose text nobody means, for
        what C cannot have, and for a known key with a value that it does not take.
    """
    entries: dict[str, str] = {}
    try:
        if not isinstance(options, Mapping) or not options:
            wrong_type = not isinstance(options, Mapping)
            raise Refusal(
                "a mapping with at least one entry", OptionTypeError if wrong_type else OptionError, got=options
            )
        for given_key, given_value in options.items():
            key = _read_key(_stringified(given_key))
            if key in entries:
                raise Refusal(f"keys that differ as strings (there is another {key!r})", got=given_key)
            entries[key] = _read_text(_stringified(given_value, f"[{shown(key, quote=True)}]"), key, DYNAMIC_KEYS)
    except Refusal as refusal:
        raise _refused(f"set_ep_dynamic_options: options{refusal.where}", refusal) from None
    for key in entries:
        if key.startswith("ep.dynamic.") and key not in DYNAMIC_KEYS:
            _warn_unknown(key, DYNAMIC_KEYS)
    return tuple(entries.items())


def _stringified(value: object, where: str = "") -> str:
    if isinstance(value, str):
        return value
    if value is None or isinstance(value, bytes | bytearray | memoryview):
        raise Refusal("a string, or what can be written as one", OptionTypeError, where=where, got=value)
    text = str(value)
    return {"True": "1", "False": "0"}.get(text, text)


# --- what they share ------------------------------------------------------------------------------------------------


def _read_key(key: object) -> str:
    """Return a key as a plain string; a `Refusal` without a place is about a key."""
    text = _read_string(key, "a string as key", "", LONGEST_KEY)
    if not text:
        raise Refusal("a key that is not empty", got=key)
    return text


def _read_text(value: object, key: str, keys: Mapping[str, Key]) -> str:
    """Return the value of a key as a plain string."""
    known = keys.get(key)
    where = f"{[key]!r}" if known else f"[{shown(key, quote=True)}]"
    text = _read_string(value, "a string", where, LONGEST_VALUE)
    if known and not known.kind.accepts(text):
        raise Refusal(known.kind.expected, where=where, got=text)
    return text


def _read_string(value: object, what: str, where: str, longest: int) -> str:
    if not isinstance(value, str):
        # True, False, 0 and 1 are what people write for a switch.
        hint = f"; write {str(int(value))!r}" if where and isinstance(value, int) and abs(value) < 10**9 else ""
        raise Refusal(what, OptionTypeError, where=where, got=value, hint=hint)
    text = str.__str__(value)  # of a subclass, such as an enumeration's member, the text itself
    if "\0" in text:
        raise Refusal(f"{what} without a NUL character", where=where, got=text)
    try:
        length = len(text.encode())
    except UnicodeEncodeError:
        expected = f"{what} that can be encoded as UTF-8 (it holds a lone surrogate)"
        raise Refusal(expected, where=where, got=text) from None
    if length > longest:
        raise Refusal(f"{what} of at most {longest} bytes (it has {length})", where=where, got=text)
    return text


def _refused(what: str, refusal: Refusal) -> OptionError:
    return refusal.error(f"{what}: got {shown(refusal.got)}; expected {refusal.expected}{refusal.hint}")


def _check_version(known: Key | None, what: str, api_version: int, library_version: str) -> None:
    if known is None or known.since is None:
        return
    match = re.match(r"1\.([0-9]+)", library_version)
    if known.since > (int(match[1]) if match else api_version):
        raise NotSupported(
            f"{what} needs ONNX Runtime 1.{known.since} or newer; {library_version}, which is loaded, would ignore it"
        )


def _warn_unknown(key: str, known: Iterable[str]) -> None:
    warn(
        UnknownConfigKeyWarning,
        f"config entry {shown(key, quote=True)} is unknown{nearest(key, known)} "
        "(it is handed on to ONNX Runtime, which ignores what it does not know)",
    )
