"""The benchmark of `ortx.Batcher` runs to its end, and its ratios are what its raw numbers say.

No time is ever judged here.
"""

from __future__ import annotations

import importlib.util
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

import ortx

for package in ("onnx", "onnxruntime", "rich", "matplotlib"):
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"needs the package {package}, not installed here", allow_module_level=True)

ROOT = Path(__file__).parents[1]
WAYS = {
    "onnxruntime behind run_in_executor",
    "the same, one intra-op thread",
    "ortx.Session.run behind run_in_executor",
    "ortx.Batcher",
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("batching")
    search_path = os.pathsep.join([str(Path(ortx.__file__).parents[1]), str(ROOT)])
    process = subprocess.run(
        [sys.executable, "-m", "benchmarks.batching", "--quick", "--json", "result.json", "--plot", "result.svg"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": search_path, "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    assert (process.returncode, process.stderr) == (0, "")
    return folder, process.stdout


@pytest.fixture(scope="module")
def result(finished):
    return json.loads((finished[0] / "result.json").read_text("utf-8"))


def test_every_way_is_measured_and_compared_with_the_official_package(result):
    rows = {row["way"]: row for row in result["throughput"]}
    assert set(rows) == WAYS
    official = rows["onnxruntime behind run_in_executor"]["raw_per_second"]
    for row in rows.values():
        raw = row["raw_per_second"]
        assert min(raw) > 0
        assert row["per_second"] == pytest.approx(statistics.median(raw))
        ratios = [mine / other for mine, other in zip(raw, official, strict=True)]
        assert row["ratio"] == pytest.approx(statistics.median(ratios))
        assert len(row["ratio_quartiles"]) == 2


def test_a_latency_belongs_to_a_way_and_a_rate_and_p99_is_not_below_p50(result):
    for row in result["latency"]:
        assert row["way"] in WAYS
        assert row["rate"] in (500, 1000)
        assert 0 < row["p50_ms"] <= row["p99_ms"]


def test_the_tables_show_every_way_and_the_picture_is_drawn(finished):
    folder, printed = finished
    for way in WAYS:
        assert way in printed
    assert "<svg" in (folder / "result.svg").read_text("utf-8")


def test_the_picture_in_the_docs_is_small_and_the_page_shows_it():
    assert "images/batching.svg" in (ROOT / "docs" / "batching.md").read_text("utf-8")
    assert (ROOT / "docs" / "images" / "batching.svg").stat().st_size < 150_000
