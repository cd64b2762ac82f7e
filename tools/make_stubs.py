"""Write `ortx/_core.pyi` from the built module, or check that it is up to date.

    python -m tools.make_stubs            # write
    python -m tools.make_stubs --check    # exit with 1 if writing would change it

Cython keeps the signatures and annotations of the source, so nothing is guessed here: of what is public in functions
that can be asked for them, of the rest, which would take each process 60 us, in docstrings. stubgen, which looks at a
module without running it, cannot see into a compiled one's functions.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import inspect
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, NoneType

from ortx import _core

STUBS = Path(__file__).parents[1] / "ortx" / "_core.pyi"

HEADER = '''"""Types of the compiled core. Written by tools/make_stubs.py; do not edit."""

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from pickle import PicklingError
from types import TracebackType
from typing import Any, ClassVar, Never, Self, final

import numpy as np
import numpy.typing as npt
from typing_extensions import Buffer

from .libraryinfo import LibraryInfo
from .modelinfo import MemoryInfo, Metadata
from .stats import Stats
from .valueinfo import ValueInfo
'''

# What Python's data model says of a special method; Cython's slot wrappers say nothing.
SPECIAL_METHODS = {
    "__array__": "(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> npt.NDArray[Any]",
    "__dlpack__": (
        "(self, *, stream: Any = None, max_version: tuple[int, int] | None = None, "
        "dl_device: tuple[int, int] | None = None, copy: bool | None = None) -> Any"
    ),
    "__dlpack_device__": "(self) -> tuple[int, int]",
    "__call__": "(self, *args: Any, **keywords: Any) -> Any",
    "__contains__": "(self, name: object, /) -> bool",
    "__enter__": "(self) -> Self",
    "__fspath__": "(self) -> str",
    "__exit__": (
        "(self, type: type[BaseException] | None = None, value: BaseException | None = None, "
        "traceback: TracebackType | None = None) -> None"
    ),
    "__init__": "(self, *args: Never, **keywords: Never) -> None",  # made by functions only
    "__getitem__": "(self, key: int | str | slice) -> Any",
    "__iter__": "(self) -> Iterator[Any]",
    "__len__": "(self) -> int",
}

CONSTANTS = {
    "COST_FOLLOWS_FROM_SHAPES": "dict[bytes, frozenset[bytes]]",
    "EXECUTION_MODES": "dict[str, int]",
    "GRAPH_OPTIMIZATION_LEVELS": "dict[str, int]",
    "HAZARDOUS": "frozenset[bytes]",
    "HAZARDOUS_IF_EMPTY": "frozenset[bytes]",
    "PRESETS": "tuple[str, ...]",
    "SHAPED_BY_VALUES": "frozenset[bytes]",
}

# All others are made by functions.
PUBLIC_CLASSES = [_core.PrepackedWeights]


def signature(function: object) -> str:
    """Return a function's signature with its annotations as they stand in the source."""
    try:
        shown = inspect.signature(function)  # type: ignore[arg-type]
    except ValueError:  # it is not public, and has its signature in its docstring only
        return signature_in_docstring(inspect.getdoc(function) or "")
    parameters = [
        parameter.replace(
            annotation="Any" if bare(parameter) else parameter.annotation,
            default=parameter.default if is_plain(parameter.default) else ...,
        )
        for parameter in shown.parameters.values()
    ]
    text = str(shown.replace(parameters=parameters)).replace("Ellipsis", "...")
    return text.replace("'", "").replace(": Any = None", "=None")


def word(function: object) -> str:
    return "async def" if inspect.iscoroutinefunction(function) else "def"


def signature_in_docstring(docstring: str) -> str:
    function = ast.parse(f"def {docstring.partition(chr(10))[0]}: ...").body[0]
    assert isinstance(function, ast.FunctionDef)
    for argument in (*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs):
        if argument.annotation is None and argument.arg != "self":
            argument.annotation = ast.Name("Any")
    assert function.returns is not None, docstring
    return f"({ast.unparse(function.args)}) -> {ast.unparse(function.returns)}"


def is_plain(default: object) -> bool:
    """Return whether a default can stand in the stubs as it is; another, which is no constant, is written as dots."""
    return default is inspect.Parameter.empty or isinstance(default, (NoneType, bool, int, tuple))


def bare(parameter: inspect.Parameter) -> bool:
    return parameter.annotation is inspect.Parameter.empty and parameter.name != "self"


def class_lines(class_: type) -> Iterator[str]:
    yield "@final"
    yield f"class {class_.__name__}:"
    members = list(member_lines(class_))
    yield from members or ["    ..."]


def python_class_lines(class_: type) -> Iterator[str]:
    """Yield a class of errors or a table of options: its fields are what the source annotates."""
    bases = ", ".join(base.__name__ for base in class_.__bases__ if base is not object)
    yield f"class {class_.__name__}({bases}):"
    fields = [f"    {name}: {annotation}" for name, annotation in vars(class_).get("__annotations__", {}).items()]
    methods = [(name, member) for name, member in vars(class_).items() if callable(member)]
    members = [*fields, *(f"    def {name}{signature(member)}: ..." for name, member in methods)]
    yield from members or ["    ..."]


def member_lines(class_: type) -> Iterator[str]:
    for name, member in vars(class_).items():
        if name == "__init__" and class_ in PUBLIC_CLASSES:
            yield "    def __init__(self) -> None: ..."
        elif name in SPECIAL_METHODS:
            yield f"    def {name}{SPECIAL_METHODS[name]}: ..."
        elif name.startswith("_"):
            continue
        elif inspect.isgetsetdescriptor(member):
            first_line = (member.__doc__ or "").partition("\n")[0]
            annotation = first_line.removeprefix(f"{name}: ") or "Any"  # of a plain field Cython says nothing
            yield "    @property"
            yield f"    def {name}(self) -> {annotation}: ..."
            if settable(name, class_):
                yield f"    @{name}.setter"
                yield f"    def {name}(self, value: {annotation}) -> None: ..."
        else:
            yield f"    {word(member)} {name}{signature(member)}: ..."


def settable(name: str, class_: type) -> bool:
    """Try to set a property to what it is; only the classes below have any that can be set."""
    examples = {_core.RunOptions: _core.run_options}
    if class_ not in examples:
        return False
    example = examples[class_]()
    try:
        setattr(example, name, getattr(example, name))
    except AttributeError:
        return False
    return True


def formatted(source: str) -> str:
    command = [sys.executable, "-m", "ruff", "format", "--stdin-filename", str(STUBS), "-"]
    return subprocess.run(command, input=source, capture_output=True, text=True, check=True, encoding="utf-8").stdout


def stub_lines(module: ModuleType) -> Iterator[str]:
    yield HEADER
    yield from (f"{name}: {annotation}" for name, annotation in CONSTANTS.items())
    for name, member in sorted(vars(module).items()):
        ours = getattr(member, "__module__", None) in (module.__name__, "ortx")  # the latter of public errors
        if name.startswith("__") or not ours:
            continue
        if inspect.isclass(member) and issubclass(member, (BaseException, _core.Table)):
            yield from python_class_lines(member)
        elif inspect.isclass(member):
            yield from class_lines(member)
        elif callable(member):
            yield f"{word(member)} {name}{signature(member)}: ..."


def main() -> int:
    """Write or check the stubs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="only say whether they are up to date")
    arguments = parser.parse_args()
    wanted = formatted("\n".join(stub_lines(_core)) + "\n")
    if not arguments.check:
        STUBS.write_text(wanted, encoding="utf-8")
        return 0
    present = STUBS.read_text(encoding="utf-8")
    difference = difflib.unified_diff(
        present.splitlines(), wanted.splitlines(), str(STUBS), "built module", lineterm=""
    )
    print("\n".join(difference))
    return int(present != wanted)


if __name__ == "__main__":
    sys.exit(main())
