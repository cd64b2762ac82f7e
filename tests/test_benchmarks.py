"""The benchmarks run to their end, and their ratios are what their raw numbers say.

No time is ever judged here.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shlex
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

import ortx

for package in ("onnx", "onnxruntime", "rich"):
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"needs the package {package}, not installed here", allow_module_level=True)
if sys.platform == "win32":
    pytest.skip("the floor is written for POSIX systems", allow_module_level=True)
COMPILER = (shlex.split(os.environ.get("CC", "")) or ["cc"])[0]
if shutil.which(COMPILER) is None:
    pytest.skip(f"needs a C compiler; there is no {COMPILER!r}", allow_module_level=True)

ROOT = Path(__file__).parents[1]
ROUNDS, CALLS, IMPORTS = 5, 10, 2

CALL_ROWS = {
    "floor-run": "C",
    "ortx-run-dict": "ortx",
    "ortx-run-made": "ortx",
    "ortx-run-list": "ortx",
    "official-run": "onnxruntime",
    "floor-run-into": "C",
    "ortx-run-into-dict": "ortx",
    "ortx-run-into-made": "ortx",
    "ortx-run-into-list": "ortx",
    "ortx-bound": "ortx",
    "official-bind-and-run": "onnxruntime",
    "floor-bound": "C",
    "official-bound": "onnxruntime",
    "floor-prepared": "C",
    "floor-allocated": "C",
    "empty-loop": "Python",
}
IMPORT_ROWS = {"import-numpy", "import-ortx", "import-onnxruntime"}


def run_benchmarks(folder, *arguments, environment=None):
    """Run the benchmarks from a folder without an ortx, so that they find the one tested here."""
    search_path = os.pathsep.join([str(Path(ortx.__file__).parents[1]), str(ROOT)])
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": search_path, "PYTHONIOENCODING": "utf-8"} | (environment or {}),
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("benchmarks")
    counts = (f"--rounds={ROUNDS}", f"--calls={CALLS}", f"--imports={IMPORTS}")
    process = run_benchmarks(folder, "--quick", *counts, "--json", "result.json")
    assert process.returncode == 0, process.stderr
    return folder, process


@pytest.fixture(scope="module")
def result(finished):
    folder, _ = finished
    return json.loads((folder / "result.json").read_text("utf-8"))


def test_every_row_is_there(result):
    assert {row["key"]: row["who"] for row in result["calls"]} == CALL_ROWS
    assert {row["key"] for row in result["imports"]} == IMPORT_ROWS


def test_every_number_is_positive(result):
    for row in result["calls"]:
        assert len(row["raw_ns"]) == ROUNDS
        assert row["raw_calls"] == CALLS
        assert min(row["median_ns"], row["p99_ns"], *row["quartiles_ns"], *row["raw_ns"]) > 0, row["key"]
    for row in result["imports"]:
        assert len(row["raw_ns"]) == IMPORTS
        assert min(row["median_ns"], *row["quartiles_ns"], *row["raw_ns"]) > 0, row["key"]


def test_medians_and_ratios_are_what_the_raw_numbers_say(result):
    rows = {row["key"]: row for row in result["calls"]}
    for row in rows.values():
        assert row["median_ns"] == pytest.approx(statistics.median(row["raw_ns"]) / CALLS)
        for ratio in filter(None, (row["to_floor"], row["to_official"])):
            check_ratio(ratio, row["raw_ns"], rows[ratio["row"]]["raw_ns"])
    imports = {row["key"]: row for row in result["imports"]}
    for row in imports.values():
        assert row["median_ns"] == pytest.approx(statistics.median(row["raw_ns"]))
        check_ratio(row["to_first"], row["raw_ns"], imports[row["to_first"]["row"]]["raw_ns"])


def check_ratio(ratio, raw, reference):
    in_each_round = [mine / other for mine, other in zip(raw, reference, strict=True)]
    assert ratio["median"] == pytest.approx(statistics.median(in_each_round))
    low, high = ratio["quartiles"]
    assert low <= ratio["median"] <= high


def test_every_row_is_compared_with_the_same_work(result):
    rows = {row["key"]: row for row in result["calls"]}
    for row in rows.values():
        has_floor = row["who"] in ("ortx", "onnxruntime")
        assert (row["to_floor"] is not None) == has_floor, row["key"]
        assert (row["to_official"] is not None) == (row["who"] == "ortx"), row["key"]
        for ratio, who in ((row["to_floor"], "C"), (row["to_official"], "onnxruntime")):
            if ratio is not None:
                assert rows[ratio["row"]]["who"] == who
                assert rows[ratio["row"]]["work"] == row["work"]


def test_the_result_tells_versions_machine_and_noise(result):
    assert result["machine"]["ortx"] == ortx.__version__
    assert result["machine"]["ONNX Runtime"] == ortx.load_library().version
    assert all(result["machine"].values())
    assert all(case["noise"]["relative_iqr"] >= 0 for case in result["cases"])


def test_the_table_shows_every_call_and_nothing_goes_to_stderr(finished, result):
    _, process = finished
    assert process.stderr == ""
    for call in (
        'session.run({"x": x})',
        "session.run([x])",
        'session.run_into({"x": x}, {"y": y})',
        "RunWithBinding",
    ):
        assert call in process.stdout
    for row in result["imports"]:
        assert row["statement"] in process.stdout


def test_nothing_is_written_unless_asked(finished):
    folder, _ = finished
    assert [path.name for path in folder.iterdir()] == ["result.json"]


def test_without_a_compiler_it_says_so(tmp_path):
    process = run_benchmarks(tmp_path, "--quick", environment={"CC": "no-such-compiler"})
    assert process.returncode == 1
    assert "C compiler" in process.stderr
    assert "Traceback" not in process.stderr


def test_the_picture_is_drawn(tmp_path):
    pytest.importorskip("matplotlib", reason="needs the package matplotlib, not installed here")
    counts = ("--rounds=1", "--calls=1", "--imports=1")
    process = run_benchmarks(tmp_path, *counts, "--plot", "result.svg")
    assert process.returncode == 0, process.stderr
    assert "<svg" in (tmp_path / "result.svg").read_text("utf-8")
