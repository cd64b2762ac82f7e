"""Tell the type of files with Magika, Google's small neural network for that job.

    pip install "ortx[cpu]" magika rich
    python examples/identify_files.py README.md examples/

`main` and `Identifier` show the whole way of a model through ortx:

* `ortx.session(path, intra_op_num_threads=1)` loads it. Options are keyword arguments, and a `with`
  statement closes the session at its end.
* `session.run({"bytes": array})` takes numpy arrays by the names of the model's inputs. Each has to
  have the dtype that the model declares: another one is refused, never converted unasked.
* The outputs are numpy arrays, found by name, `outputs["target_label"]`, or position, `outputs[0]`.
* Whatever goes wrong in ortx is an `ortx.Error`.

The rest is what surrounds any model: `examine` turns a file into numbers, `Model.decide` turns the
model's scores into an answer. Both follow Magika's rules, so that labels and scores are Magika's.

The package `magika` is needed for its data only: the ONNX file, its settings, the facts about each
type. It is found but not imported, because that would load another binding to ONNX Runtime.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import stat
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

import ortx

SKIPPED_FOLDERS = {"build", "__pycache__"}  # and those whose name begins with a dot


@dataclass(frozen=True)
class Model:
    """The model's file, what has to go into it and what its scores mean."""

    path: Path
    labels: Sequence[str]  # what the model can answer, in the order of its scores
    text_labels: frozenset[str]  # the types whose files are text
    renamed: Mapping[str, str]  # answers that are reported under another name
    threshold: float  # the score from which an answer is believed
    thresholds: Mapping[str, float]  # the answers that need another score to be believed
    block_size: int  # bytes read from each end of a file
    head_size: int  # bytes of the first block that the model sees
    tail_size: int  # bytes of the last block that the model sees
    padding: int  # what the model sees where the file has no byte
    min_size: int  # the model is not asked about fewer bytes than this

    def decide(self, scores: npt.NDArray[np.float32]) -> tuple[str, float]:
        """Return the label to report for the model's scores, and the highest of the scores."""
        best = int(scores.argmax())
        answer, score = self.labels[best], float(scores[best])
        label = self.renamed.get(answer, answer)
        if score < self.thresholds.get(answer, self.threshold):
            # Not sure enough to name the type, but text and binary are hardly ever confused.
            label = "txt" if label in self.text_labels else "unknown"
        return label, score


@dataclass(frozen=True)
class Identified:
    """What was found out about one path."""

    path: Path
    label: str | None = None  # None if the path could not be read
    score: float = 0.0  # 1.0 if the label is certain without the model
    seconds: float = 0.0  # for reading the file and running the model
    error: str | None = None  # why the path could not be read


@dataclass(frozen=True)
class Identifier:
    """The model and the session that runs it. Any number of threads may share one."""

    model: Model
    session: ortx.Session

    def identify(self, paths: Iterable[Path]) -> list[Identified]:
        """Identify the paths, in the order given. One that cannot be read gives an `error`."""
        return [self.identify_path(path) for path in paths]

    def identify_path(self, path: Path) -> Identified:
        """Identify one path. A symbolic link counts as what it points to."""
        start = time.perf_counter()
        try:
            found = examine(path, self.model)
        except OSError as error:
            return Identified(path, error=error.strerror or str(error))
        if isinstance(found, str):
            label, score = found, 1.0
        else:
            # One file at a time: a batch takes this model as long as its files one by one.
            outputs = self.session.run({"bytes": found})
            label, score = self.model.decide(outputs["target_label"][0])
        return Identified(path, label, score, time.perf_counter() - start)


def load_model() -> Model:
    """Find the model in the installed package `magika` and read its rules.

    Raises ModuleNotFoundError if the package is not installed and NotImplementedError if its model
    wants to see more of a file than `examine` can show.
    """
    spec = importlib.util.find_spec("magika")  # finds the package, runs none of its code
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("the model is in the package magika: pip install magika")
    package = Path(spec.submodule_search_locations[0])
    path = max(package.glob("models/*/model.onnx"))  # there is one; of several, the newest
    types = json.loads((package / "config/content_types_kb.min.json").read_text("utf-8"))
    config = json.loads(path.with_name("config.min.json").read_text("utf-8"))
    if config["mid_size"] or config["use_inputs_at_offsets"]:
        raise NotImplementedError(f"{path.parent.name} wants more than the two ends of a file")
    return Model(
        path=path,
        labels=config["target_labels_space"],
        text_labels=frozenset(label for label, facts in types.items() if facts["is_text"]),
        renamed=config["overwrite_map"],
        threshold=config["medium_confidence_threshold"],
        thresholds=config["thresholds"],
        block_size=config["block_size"],
        head_size=config["beg_size"],
        tail_size=config["end_size"],
        padding=config["padding_token"],
        min_size=config["min_file_size_for_dl"],
    )


def examine(path: Path, model: Model) -> str | npt.NDArray[np.int32]:
    """Return the label of a path where it is certain without the model, else the model's input.

    The input is one row of numbers: the first bytes of the file after leading white space, then its
    last bytes before trailing white space. Raises OSError if the path cannot be read.
    """
    status = path.stat()
    if stat.S_ISDIR(status.st_mode):
        return "directory"
    if not stat.S_ISREG(status.st_mode):
        return "unknown"  # a pipe or a device, where opening could mean waiting for ever
    if status.st_size == 0:
        return "empty"

    with path.open("rb") as file:
        first = file.read(model.block_size)
        file.seek(max(0, status.st_size - model.block_size))
        last = file.read(model.block_size)
    head = first.lstrip()[: model.head_size]
    tail = last.rstrip()[-model.tail_size :]
    if len(head) < model.min_size:
        try:
            first.decode("utf-8")
        except UnicodeDecodeError:
            return "unknown"
        return "txt"

    row = np.full((1, model.head_size + model.tail_size), model.padding, dtype=np.int32)
    row[0, : len(head)] = np.frombuffer(head, np.uint8)  # padded on the right
    row[0, row.size - len(tail) :] = np.frombuffer(tail, np.uint8)  # padded on the left
    return row


def find_files(arguments: Iterable[str], failures: list[OSError]) -> Iterator[Path]:
    """Give each argument or, where it is a folder, the files below it in sorted order.

    The error of a folder that cannot be listed is added to `failures`.
    """
    for argument in arguments:
        # os.path, because Path.is_dir() and is_file() raise where a path cannot be looked up.
        if not os.path.isdir(argument):
            yield Path(argument)
            continue
        files = []
        for folder, subfolders, names in os.walk(argument, onerror=failures.append):
            subfolders[:] = {s for s in subfolders if not s.startswith(".")} - SKIPPED_FOLDERS
            files += [path for name in names if os.path.isfile(path := os.path.join(folder, name))]
        yield from sorted(map(Path, files))


def make_table(results: Iterable[Identified]) -> Table:
    """Lay out the results, one line per path."""
    table = Table("file", "type", box=box.SIMPLE_HEAD)
    table.add_column("score", justify="right", no_wrap=True)
    table.add_column("time", justify="right", no_wrap=True)
    for result in results:
        # A name can hold line breaks, escape sequences and bytes that are no text.
        printable = "".join(c if c.isprintable() else "?" for c in str(result.path))
        name = Text(printable, overflow="fold")  # rich takes brackets in a plain string for markup
        if result.label is None:
            table.add_row(name, Text(result.error or "", style="red"))
        else:
            milliseconds = f"{result.seconds * 1e3:.2f} ms"
            table.add_row(name, result.label, f"{result.score:.3f}", milliseconds)
    return table


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code: 1 if a path could not be read, else 0."""
    parser = argparse.ArgumentParser(description="Tell the type of files with the Magika model.")
    parser.add_argument("paths", nargs="+", metavar="PATH", help="a file, or a folder of files")
    paths = parser.parse_args(arguments).paths

    start = time.perf_counter()
    failures: list[OSError] = []
    try:
        model = load_model()
        with ortx.session(model.path, intra_op_num_threads=1) as session:
            results = Identifier(model, session).identify(find_files(paths, failures))
        runtime = ortx.load_library().version
    except (ModuleNotFoundError, ortx.Error) as error:
        parser.exit(1, f"{parser.prog}: {error}\n")
    results += [Identified(Path(f.filename), error=f.strerror) for f in failures]
    seconds = time.perf_counter() - start

    # In a terminal, long names are folded; into a pipe or a file, each goes on one line.
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 5000)
    console.print(make_table(results))
    files = "1 file" if len(results) == 1 else f"{len(results)} files"
    console.print(f"{files} in {seconds:.2f} s, ortx {ortx.__version__}, ONNX Runtime {runtime}")
    return 1 if any(result.label is None for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
