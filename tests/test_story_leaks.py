"""A story: every way of running, many times over, and the process stays as large as it was.

``ORTX_LEAK_RUNS`` says how often; 2,000 times by default, `make leaks` a million.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import ortx

RUNS = int(os.environ.get("ORTX_LEAK_RUNS", "2000"))
ROOT = Path(__file__).parents[1]
BENCHMARKS = ROOT / "benchmarks"
# By how much allocators, threads and caches may differ from one moment to another, however few runs there were.
NOISE = {"resident": 600_000, "allocated": 60_000, "blocks": 300}
# In the whole of a million runs.
MOST = {"resident": 1 << 20, "allocated": 1 << 20, "blocks": 10_000}

if not BENCHMARKS.is_dir():
    pytest.skip("needs the source tree: this ortx was installed without it", allow_module_level=True)
for package in ("onnx", "ml_dtypes"):
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"needs the package {package}, not installed here", allow_module_level=True)

sys.path.insert(0, str(ROOT))
from benchmarks import leak_ways, leaks  # noqa: E402

sys.path.remove(str(ROOT))


def limit(figure: str, runs: int) -> float:
    """Return by how much a figure may grow."""
    return max(NOISE[figure], MOST[figure] * min(1, runs / 1_000_000))


@pytest.fixture(scope="module")
def growths(tmp_path_factory) -> dict[str, dict]:
    """Run all ways in a process of their own, and return what has grown."""
    file = tmp_path_factory.mktemp("leaks") / "leaks.json"
    command = [sys.executable, "-m", "benchmarks.leaks", "--runs", str(RUNS), "--json", str(file)]
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)
    assert done.returncode == 0, done.stderr
    return {row["way"]: row for row in json.loads(file.read_text("utf-8"))["ways"]}


@pytest.mark.parametrize("title", leak_ways.WAYS)
def test_a_way_of_running_leaves_nothing_behind(growths, title):
    growth = growths[title]
    assert growth["runs"] >= RUNS // leak_ways.FRACTION[title] - leak_ways.PER_STEP[title]
    assert growth["handles"] == {}
    too_much = {
        figure: growth[figure]
        for figure in NOISE
        if growth[figure] is not None and growth[figure] > limit(figure, growth["runs"])
    }
    assert too_much == {}


def test_what_leaks_a_little_would_be_noticed():
    kept: list[object] = []
    before = leaks.read()
    for _ in range(3000):
        kept.append(ortx.run_options(tag="x" * 100))
    after = leaks.read()
    assert after.handles["run_options"] - before.handles["run_options"] == 3000
    assert after.blocks - before.blocks > NOISE["blocks"]
    if after.allocated is not None and before.allocated is not None:
        assert after.allocated - before.allocated > NOISE["allocated"]


def test_a_way_that_grows_is_a_problem():
    growth = leaks.Growth("way", 10, 0.1, leaks.MOST, 0, 0, {})
    assert leaks.problem(growth) == f"the process has grown by {leaks.MOST} bytes"
    assert leaks.problem(leaks.Growth("way", 10, 0.1, None, None, 0, {"value": 1})).startswith(
        "native handles are left"
    )
    assert leaks.problem(leaks.Growth("way", 10, 0.1, leaks.MOST - 1, 0, 0, {})) == ""
