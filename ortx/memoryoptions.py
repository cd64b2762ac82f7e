"""Options about memory: the arena that sessions share, arenas that shrink after a run, files that are in memory."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from ._core import OptionError, OptionTypeError, Refusal, choice_reader, integer_reader, nearest, read_path

__all__ = ["devices_of_entry", "matched_files", "read_cpu_arena", "read_external_data", "read_shrinking_devices"]

# How ONNX Runtime numbers them.
STRATEGIES: Final = {"power_of_two": 0, "same_as_requested": 1}

_INT_MAX, _INT64_MAX = 2**31 - 1, 2**63 - 1
# ONNX Runtime keeps these as int. With 0 it loops for ever, or writes where it must not.
_some_bytes = integer_reader(1, _INT_MAX, " (bytes)")

# The names are those of CreateArenaCfgV2.
_ARENA: Final[Mapping[str, Callable[[object], Any]]] = {
    "max_mem": integer_reader(1, _INT64_MAX, " (bytes)"),
    "arena_extend_strategy": choice_reader(STRATEGIES),
    "initial_chunk_size_bytes": _some_bytes,
    "max_dead_bytes_per_chunk": _some_bytes,
    "initial_growth_chunk_size_bytes": _some_bytes,
    "max_power_of_two_extend_bytes": integer_reader(1, _INT64_MAX, " (bytes)"),
}

_DEVICE: Final = re.compile(r"(cpu|gpu)(?::([0-9]{1,9}))?")


# --- the shared arena -----------------------------------------------------------------------------------------------


def read_cpu_arena(value: object) -> tuple[tuple[str, int], ...]:
    """Take a table of `_ARENA`; give its entries as numbers, in the order of that. None in it is the default."""
    if not isinstance(value, Mapping):
        raise Refusal("a table such as {'max_mem': 2**30}; {} for one with ONNX Runtime's defaults", OptionTypeError)
    for name in value:
        if name not in _ARENA:
            error = OptionError if isinstance(name, str) else OptionTypeError
            raise Refusal(f"keys among {', '.join(_ARENA)}", error, got=name, hint=nearest(name, _ARENA))
    numbers: list[tuple[str, int]] = []
    for name, reader in _ARENA.items():
        given = value.get(name)
        if given is None:
            continue
        try:
            read = reader(given)
        except Refusal as refusal:
            raise Refusal(refusal.expected, refusal.error, where=f"[{name!r}]", got=given, hint=refusal.hint) from None
        numbers.append((name, STRATEGIES.get(read, read)))
    return tuple(numbers)


# --- arenas that shrink ---------------------------------------------------------------------------------------------


def read_shrinking_devices(value: object) -> tuple[str, ...]:
    """Take True, False, ``"cpu:0;gpu:0"`` or a list of such; give the devices, each once and with its number."""
    if isinstance(value, bool):
        return ("cpu:0",) if value else ()
    if isinstance(value, str):
        return devices_of_entry(value)
    if not isinstance(value, (list, tuple)):
        raise Refusal("True, False, a text such as 'cpu:0;gpu:0', or a list of devices", OptionTypeError)
    devices: list[str] = []
    for position, item in enumerate(value):
        where = f"[{position}]"
        if not isinstance(item, str):
            raise Refusal("a device such as 'cpu:0'", OptionTypeError, where=where, got=item)
        devices.append(_device(item, where))
    return tuple(dict.fromkeys(devices))


def devices_of_entry(text: str) -> tuple[str, ...]:
    """Return the devices that a configuration entry of a run lists."""
    return tuple(dict.fromkeys(_device(device, "") for device in text.removesuffix(";").split(";"))) if text else ()


def _device(text: str, where: str) -> str:
    match = _DEVICE.fullmatch(text)
    if match is None:
        hint = nearest(text, ("cpu:0", "gpu:0"))
        if where:
            raise Refusal("a device: 'cpu' or 'gpu', ':' and its number", where=where, got=text, hint=hint)
        raise Refusal("devices as in 'cpu:0;gpu:0'", hint=hint)
    return f"{match[1]}:{int(match[2] or 0)}"


# --- files that are in memory ---------------------------------------------------------------------------------------


def read_external_data(value: object) -> tuple[tuple[str, object], ...]:
    """Take a mapping from names of files to their content, in contiguous buffers, which are kept as they came."""
    if not isinstance(value, Mapping):
        raise Refusal("a mapping from the names of files to buffers with their content", OptionTypeError)
    files: dict[str, object] = {}
    for given, buffer in value.items():
        try:
            name = read_path(given)
        except Refusal as refusal:
            raise Refusal(f"names of files as keys: {refusal.expected}", refusal.error, got=given) from None
        where = f"[{name!r}]"
        if same_file(name) in map(same_file, files):
            raise Refusal("every file once", where=where, got=given)
        expected = "bytes or another contiguous buffer"
        try:
            view = memoryview(buffer)
        except (TypeError, ValueError, BufferError):  # ValueError: one that is closed, or of a type without a format
            raise Refusal(expected, OptionTypeError, where=where, got=buffer) from None
        with view:
            if not view.c_contiguous:
                raise Refusal(expected, where=where, got=buffer)
        files[name] = buffer
    return tuple(files.items())


def same_file(name: str) -> str:
    """Return a name that two spellings of one have in common."""
    return posixpath.normpath(name.replace("\\", "/"))


def matched_files(function: str, sizes: Mapping[str, int], needed: Mapping[str, int]) -> dict[str, str]:
    """Return the name that was given for each file that a model names.

    ONNX Runtime says nothing about a file that no weight is in, and stops at the first that is missing.

    Parameters
    ----------
    function
        Whose option this is, for messages.
    sizes
        Bytes of each file that was given.
    needed
        What `modelfile.external_files` returned: bytes that each file of the model has at least.

    Raises
    ------
    OptionError
        If there is a file too many, one is missing, or too short; with a line for each.
    """
    given = {same_file(name): name for name in sizes}
    wanted = {same_file(name) for name in needed}
    listed = f"(it has {', '.join(needed)})" if needed else "(it has all its weights in itself)"
    problems = [
        f"[{name!r}]: the model has no weights in such a file{nearest(name, needed)} {listed}"
        for name in sizes
        if same_file(name) not in wanted
    ]
    for name, size in needed.items():
        ours = given.get(same_file(name))
        if ours is None:
            problems.append(f": {name!r} is missing; once one file is given, ONNX Runtime opens none itself")
        elif sizes[ours] < size:
            problems.append(f"[{ours!r}]: got {sizes[ours]} bytes; expected at least {size}, by the model")
    if problems:
        raise OptionError("\n".join(f"{function}: option 'external_data'{problem}" for problem in problems))
    return {name: given[same_file(name)] for name in needed}
