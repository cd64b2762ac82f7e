"""Count the instructions of a call, and compare them with the recorded ones: ``python -m benchmarks.instructions``.

Valgrind's callgrind counts every instruction that the processor is told to execute, so the figures are the same on a
busy machine and on an idle one, and a growth of some percent is seen where a clock sees nothing. They say nothing of
caches or of waiting. They hold for one compiler, Python, ONNX Runtime and so on: see the keys in instructions.json.

The exit status is 0 if nothing grew, 1 if something grew by more than 3 %, and 2 if nothing could be said: there is no
valgrind, this ortx is not one to measure, or nothing is recorded for what is here.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .callgrind import GUARDED, OBJECTS, CountError, Counts, counts_per_call, read_dump

RECORDS = Path(__file__).with_name("instructions.json")
COUNTED = Path(__file__).with_name("counted.py")
COUNTER = Path(__file__).with_name("callgrind.c")
COMMAND = "python -m benchmarks.instructions"
RE_RECORD = f"{COMMAND} --record"
BUILD = "python setup.py build_ext --inplace"
HOW_TO_BUILD = f"Build it there: `{BUILD}`"

LIMIT = 0.03  # what may be added to a recorded figure

Key = dict[str, str]
Record = dict[str, Any]  # {"key": Key, "counts": Counts, "floor": Counts}


# --- measuring --------------------------------------------------------------------------------------------------------


def describe(package: Path) -> dict[str, Any]:
    """Return the key of the ortx in a folder, the folder it came from, and why it should not be measured.

    Raises
    ------
    CountError
        If there is no valgrind, or this ortx cannot be imported.
    """
    try:
        described: dict[str, Any] = json.loads(_run([sys.executable, "-P", str(COUNTED), "describe"], package))
    except CountError as error:
        reason = str(error).splitlines()[-1]
        raise CountError(f"the ortx in {package} cannot be imported: {reason}. {HOW_TO_BUILD}") from error
    if Path(described["folder"]).resolve() != package.resolve():
        raise CountError(f"there is no ortx in {package}, only one in {described['folder']}. {HOW_TO_BUILD}")
    described["key"]["valgrind"] = _run([_valgrind(), "--version"], package).strip()
    return described


def measure(package: Path, floor: bool = True) -> Record:
    """Count what calls of the ortx in a folder cost, and unless told otherwise the same work in C.

    Raises
    ------
    CountError
        If that cannot be done, or would not tell anything.
    """
    described = describe(package)
    if described["unfit"]:
        raise CountError(
            f"the ortx in {package} cannot be measured: {described['unfit']}. "
            f"Build it anew without that: `{BUILD} --force`"
        )
    with tempfile.TemporaryDirectory(prefix="ortx-instructions-") as folder:
        arguments = _prepare(Path(folder))
        return {
            "key": described["key"],
            "counts": _count("ortx", arguments, package, Path(folder)),
            "floor": _count("floor", arguments, package, Path(folder)) if floor else {},
        }


def _prepare(folder: Path) -> list[str]:
    """Put what the counted process needs into a folder, so that it need not import onnx; return the paths."""
    import numpy as np
    import onnx

    from .models import tiny

    model = tiny()
    onnx.save(model.proto, folder / "model.onnx")
    arrays: dict[str, Any] = {f"in_{name}": array for name, array in model.inputs.items()}
    arrays |= {f"out_{name}": array for name, array in model.expected.items()}
    np.savez(folder / "arrays.npz", **arrays)
    compiler = shlex.split(os.environ.get("CC", "")) or ["cc"]
    if shutil.which(compiler[0]) is None:
        raise CountError(f"there is no C compiler {compiler[0]!r}: install one, or say with $CC which there is")
    # The header is part of valgrind's package, or of its -devel package.
    _run([*compiler, "-O2", "-shared", "-fPIC", "-o", str(folder / "callgrind.so"), str(COUNTER)], folder)
    return [str(folder / name) for name in ("callgrind.so", "model.onnx", "arrays.npz")]


def _count(task: str, arguments: list[str], package: Path, folder: Path) -> Counts:
    dumps = folder / f"{task}.dump"
    valgrind = [_valgrind(), "--tool=callgrind", "--quiet", "--instr-atstart=no", f"--callgrind-out-file={dumps}"]
    # Whole names and positions in every line, so that there is nothing to be put together when they are read.
    valgrind += ["--compress-strings=no", "--compress-pos=no", "--dump-line=no"]
    said = _run([*valgrind, sys.executable, "-P", str(COUNTED), task, *arguments], package)
    files = folder.glob(f"{dumps.name}*")
    return counts_per_call((read_dump(file.read_text("utf-8", "replace")) for file in files), json.loads(said))


def _valgrind() -> str:
    path = shutil.which("valgrind")
    if path is None:
        raise CountError("valgrind is not installed: `apt-get install valgrind`, or your system's like of it")
    return path


def _run(command: Sequence[str], package: Path) -> str:
    """Run a program in an environment that is the same for everybody; return its output."""
    kept = ("CC", "HOME", "LD_LIBRARY_PATH", "ORTX_LIBRARY", "PATH", "TMPDIR")
    environment = {name: os.environ[name] for name in kept if name in os.environ}
    environment |= {"PYTHONPATH": str(package), "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}
    environment |= {"ORT_DISABLE_TELEMETRY": "1", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "LC_ALL": "C"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode != 0:
        raise CountError(f"`{shlex.join(command)}` failed ({done.returncode}):\n{done.stderr.strip()}")
    return done.stdout


# --- comparing --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Comparison:
    """What a measurement has to say about an earlier one: what grew too far, and what else is worth knowing."""

    grown: list[str]
    notes: list[str]


def compare(now: Counts, before: Counts) -> Comparison:
    """Compare what is guarded, and say what grew or fell by more than the limit."""
    grown, notes = [], []
    for name, count in now.items():
        if name not in before:
            notes.append(f"{name} is new: nothing is recorded for it")
            continue
        for which, words in GUARDED.items():
            new, old = count[which], before[name][which]
            text = f"{name}: {old} -> {new} instructions {words} ({new / old - 1:+.1%})"
            if new > old * (1 + LIMIT):
                grown.append(f"{text}; at most {LIMIT:+.0%} is allowed")
            elif new < old * (1 - LIMIT):
                notes.append(f"{text}: re-record, so that the gain is kept")
    notes += [f"{name} was recorded, and is not measured any more" for name in before if name not in now]
    return Comparison(grown, notes)


def read_records(file: Path) -> list[Record]:
    """Read what ``--record`` or ``--json`` wrote.

    Raises
    ------
    CountError
        If the file is missing or something else.
    """
    try:
        records: list[Record] = json.loads(file.read_text("utf-8"))
        if not all(isinstance(record["key"], dict) and isinstance(record["counts"], dict) for record in records):
            raise TypeError
    except OSError as error:
        raise CountError(f"cannot read {file}: {error.strerror}") from None
    except (ValueError, TypeError, KeyError):
        raise CountError(f"{file} is not what `{COMMAND} --json FILE` writes") from None
    return records


def find_record(records: Sequence[Record], key: Key) -> Record | None:
    """Return the record of a key, or None."""
    return next((record for record in records if record["key"] == key), None)


def why_there_is_none(records: Sequence[Record], key: Key, source: str) -> str:
    """Say what is different in the record that is nearest to a key."""
    if not records:
        return f"{source} has no record at all"

    def differing(record: Record) -> list[str]:
        return [name for name in {**key, **record["key"]} if key.get(name) != record["key"].get(name)]

    nearest = min(records, key=lambda record: len(differing(record)))
    lines = [
        f"  {name}: {nearest['key'].get(name, 'unknown')!r} there, {key.get(name, 'unknown')!r} here"
        for name in differing(nearest)
    ]
    return "\n".join([f"{source} has no record for what is here; the nearest differs in", *lines])


def put_record(records: Sequence[Record], record: Record) -> list[Record]:
    """Return the records with one put in, in place of that with the same key."""
    others = [other for other in records if other["key"] != record["key"]]
    return sorted([*others, record], key=lambda one: json.dumps(one["key"], sort_keys=True))


def write_records(file: Path, records: Sequence[Record]) -> None:
    """Write records as `read_records` reads them."""
    file.write_text(json.dumps(records, indent=1, ensure_ascii=False) + "\n", "utf-8")


# --- the command line -------------------------------------------------------------------------------------------------


def print_table(record: Record) -> None:
    """Print a measurement."""
    from rich.console import Console
    from rich.table import Table

    everything = record["counts"] | record["floor"]
    owners = [owner for owner in [*OBJECTS, "other"] if any(owner in one["objects"] for one in everything.values())]
    table = Table(
        caption="\n".join(f"{name}: {value}" for name, value in record["key"].items()), caption_justify="left"
    )
    table.add_column("instructions per call", no_wrap=True)
    for title in (*GUARDED.values(), *(f"in {owner}" for owner in owners)):
        table.add_column(title, justify="right")
    for name, count in everything.items():
        numbers = [*(count[which] for which in GUARDED), *(count["objects"].get(owner, 0) for owner in owners)]
        table.add_row(name, *(f"{number:,}" for number in numbers))
    Console(width=None if sys.stdout.isatty() else 150, markup=False, highlight=False).print(table)


def default_package() -> Path:
    """Return the folder whose ortx `import ortx` would import."""
    spec = importlib.util.find_spec("ortx")
    if spec is None or spec.origin is None:
        raise CountError("there is no ortx: install it, or say with --package where it is")
    return Path(spec.origin).parents[1]


def check(record: Record, against: Path) -> int:
    """Compare with a file, print what there is to say, and return the exit status."""
    records = read_records(against)
    before = find_record(records, record["key"])
    if before is None:
        print(why_there_is_none(records, record["key"], against.name))
        print(f"To record it: `{RE_RECORD}`" if against == RECORDS else "Measure both with the same.")
        return 2
    comparison = compare(record["counts"], before["counts"])
    for line in comparison.grown:
        print(f"GREW: {line}")
    for line in comparison.notes:
        print(f"note: {line}")
    if comparison.grown:
        print(f"If that is meant, re-record with `{RE_RECORD}`, and commit {RECORDS.name} with what it is for.")
    elif comparison.notes:
        print(f"To re-record: `{RE_RECORD}`")
    else:
        print(f"Nothing grew or fell by more than {LIMIT:.0%} against {against.name}.")
    return 1 if comparison.grown else 0


def read_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog=COMMAND, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--record", action="store_true", help=f"write the figures into {RECORDS.name}, and compare not")
    choice.add_argument(
        "--against", type=Path, metavar="FILE", default=RECORDS, help="compare with what --json wrote, not the records"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures, for --against, and compare not")
    parser.add_argument("--package", type=Path, metavar="FOLDER", help="measure the ortx that was built in this folder")
    parser.add_argument("--quick", action="store_true", help="count only what is compared, not the same work in C")
    parser.add_argument("--meant", action="store_true", help="say what grew, but do not fail: the growth is meant")
    options = parser.parse_args(arguments)
    if options.record and options.quick:
        parser.error("--record needs all figures, so not with --quick")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    options = read_arguments(arguments)
    try:
        record = measure((options.package or default_package()).resolve(), floor=not options.quick)
        print_table(record)
        if options.json:
            write_records(options.json, [record])
        if options.record:
            write_records(RECORDS, put_record(read_records(RECORDS) if RECORDS.is_file() else [], record))
            print(f"Recorded in {RECORDS}")
            return 0
        if options.json and options.against == RECORDS:
            return 0
        status = check(record, options.against)
    except CountError as error:
        print(f"{COMMAND}: {error}", file=sys.stderr)
        return 2
    return 0 if options.meant and status == 1 else status


if __name__ == "__main__":
    sys.exit(main())
