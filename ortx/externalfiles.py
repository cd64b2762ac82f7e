"""Which other files a model reads its weights from, and the refusal of those outside of its folder.

A model may name any file for any tensor. Whoever loads a model of a stranger's would have that file read, and ONNX
Runtime before 1.24 reads it. What is looked at here is all that protobuf's own parser would take for a tensor, and
perhaps more, so that a model cannot be written in some unusual form to get around it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator

from . import modelwalk
from ._core import ExternalDataRefused, shown

__all__ = ["ALLOWING", "FOLDER_KEY", "check", "folders", "locations"]

FOLDER_KEY = "session.model_external_initializers_file_folder_path"
ALLOWING = "allow_external_data_outside_model_folder"

_NAME, _EXTERNAL_DATA = 8, 13  # fields of TensorProto
_WORD = re.compile(b"location")

# Stands for an address in memory in models that ONNX Runtime makes itself. Before 1.24 it believes a file that says so.
_ADDRESS = "*/_ORT_"


# --- what a model names ---------------------------------------------------------------------------------------------


def locations(model: memoryview) -> Iterator[tuple[str, str]]:
    """Yield the name of each tensor whose elements are in another file, and which file that is: its location.

    Tensors anywhere in the model: initializers, sparse ones, attributes of nodes, in subgraphs and in functions. A name
    may be empty. Raises ValueError where the model is damaged; protobuf refuses it then, too.
    """
    for _, start, end in modelwalk.walk(model, modelwalk.TENSORS, {modelwalk.TENSOR}, _WORD):
        yield from _of_tensor(model, start, end)


def _of_tensor(model: memoryview, start: int, end: int) -> Iterator[tuple[str, str]]:
    name, found = "", []
    for number, at, to in modelwalk.fields(model, start, end, {_NAME, _EXTERNAL_DATA}):
        if number == _NAME:
            name = modelwalk.text(model, at, to)
            continue
        key = value = ""
        for part, text_at, text_to in modelwalk.fields(model, at, to, {1, 2}):
            if part == 1:
                key = modelwalk.text(model, text_at, text_to)
            else:
                value = modelwalk.text(model, text_at, text_to)
        if key == "location":
            found.append(value)
    # Of several, some versions of ONNX Runtime take the last. Whether the tensor says that it has its elements itself
    # is not asked: that may stand in another part of it, or mean different things to different versions.
    for location in found:
        yield name, location


# --- what a model may name ------------------------------------------------------------------------------------------


def folders(path: str | None, entries: Collection[tuple[str, str]]) -> list[str]:
    """Return the folders that locations may be relative to: which one it is depends on ONNX Runtime's version.

    Parameters
    ----------
    path
        The model's file, or None for a model in memory.
    entries
        Configuration entries of the session.
    """
    named = [value for key, value in entries if key == FOLDER_KEY and value]
    # Not `abspath`, which would take "link/.." for ".": the system does not. The current folder may be gone.
    return [
        folder if os.path.isabs(folder) else os.path.join(os.getcwd(), folder)
        for folder in (*named, *(() if path is None else [os.path.dirname(path)]))
    ]


def check(
    function: str,
    model: memoryview,
    *,
    path: str | None,
    entries: Collection[tuple[str, str]] = (),
    allowed: bool = False,
    served: Collection[str] = (),
) -> None:
    """Refuse a model that has tensors in files outside of its folder.

    Parameters
    ----------
    function
        Who opens it, for the message.
    model, path, entries
        Its content, its file (None: it is in memory) and the session's configuration entries.
    allowed
        Whether the caller allows such files.
    served
        Locations that are no files, since the caller hands their content over.

    Raises
    ------
    ExternalDataRefused
        It names the tensor, the location, the folder and the option. A location that stands for an address in this
        process's memory is refused even if `allowed`.
    """
    seen = set(served)
    try:
        for tensor, location in locations(model):
            if location not in seen:
                seen.add(location)
                _check_location(function, tensor, location, path, folders(path, entries), allowed)
    except ValueError:
        return  # damaged, or no .onnx file: ONNX Runtime says so, and reads no other file


def _check_location(
    function: str, tensor: str, location: str, path: str | None, bases: list[str], allowed: bool
) -> None:
    what = (
        f"{function}: the model has {f'tensor {tensor!r}' if tensor else 'a tensor'} in {shown(location, quote=True)}"
    )
    if location.startswith(_ADDRESS):
        raise ExternalDataRefused(f"{what}, which stands for an address in memory; no model in a file may hold one")
    if allowed:
        return
    option = (
        f"for a model that you trust, {ALLOWING}=True allows it before ONNX Runtime 1.24, and "
        f"external_data={{{shown(location, quote=True)}: its content}} in any"
    )
    if not bases:
        raise ExternalDataRefused(
            f"{what}, and a model in memory has no folder; open it by its path, or name the folder by "
            f"config_entries={{{FOLDER_KEY!r}: ...}}; {option}"
        )
    # A model's file may be a link, as in the cache of a hub, into a folder where links to its data lead, too.
    beside = [] if path is None else [os.path.dirname(os.path.realpath(path))]
    for base in bases:
        real = _real(os.path.join(base, location))
        if not any(_is_inside(real, folder) for folder in [base, *beside]):
            raise ExternalDataRefused(f"{what}, outside of its folder {base!r}; {option}")


def _real(path: str) -> str:
    """Return where a path leads, links followed; nowhere if the system cannot have such a path."""
    try:
        return os.path.realpath(path)
    except (OSError, ValueError):
        return ""


def _is_inside(real: str, folder: str) -> bool:
    real, folder = os.path.normcase(real), os.path.normcase(os.path.realpath(folder))
    return real == folder or real.startswith(folder.rstrip(os.sep) + os.sep)
