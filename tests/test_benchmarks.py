"""The benchmarks run to their end, and their ratios are what their raw numbers say.

No time is ever judged here.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
import shutil
import statistics
import subprocess
import sys
import sysconfig
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import ortx

for package in ("matplotlib", "onnx", "onnxruntime", "rich"):
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"needs the package {package}, not installed here", allow_module_level=True)
if sys.platform == "win32":
    pytest.skip("the floor is written for POSIX systems", allow_module_level=True)
COMPILER = shlex.split(os.environ.get("CC", "")) or ["cc"]
if shutil.which(COMPILER[0]) is None:
    pytest.skip(f"needs a C compiler; there is no {COMPILER[0]!r}", allow_module_level=True)

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "benchmarks"
ROUNDS, CALLS, IMPORTS = 4, 10, 2

RUN = {"floor-run": "C", "ortx-run-dict": "ortx", "ortx-run-list": "ortx", "official-run": "onnxruntime"}
LEAST_RUN = {"least-run": "Python"}
RUN_INTO = {
    "floor-run-into": "C",
    "least-run-into": "Python",
    "ortx-run-into-dict": "ortx",
    "ortx-run-into-made": "ortx",
    "ortx-run-into-list": "ortx",
    "official-bind-and-run": "onnxruntime",
}
BOUND = {
    "floor-bound": "C",
    "least-bound": "Python",
    "ortx-bound": "ortx",
    "ortx-binding-run": "ortx",
    "official-bound": "onnxruntime",
}
ONLY_TINY = {
    "ortx-run-made": "ortx",
    "floor-run-again": "C",
    "floor-prepared": "C",
    "floor-allocated": "C",
    "floor-prepared-null": "C",
    "floor-bound-null": "C",
    "empty-loop": "Python",
}
CONTAINERS = {"floor-run": "C", "ortx-run-dict": "ortx", "official-run": "onnxruntime"}
CALLERS = {f"{key}-by-{count}": who for key, who in CONTAINERS.items() for count in (1, 2, 4)}
ROWS = {
    "tiny": RUN | LEAST_RUN | RUN_INTO | BOUND | ONLY_TINY,
    "wide": RUN | LEAST_RUN | RUN_INTO | BOUND,
    "mlp": RUN | LEAST_RUN | RUN_INTO | BOUND,
    "large": RUN | RUN_INTO,
    "minilm": RUN,
    "resnet": RUN,
    "strings-6": CONTAINERS,
    "strings-18": CONTAINERS,
    "sequence": CONTAINERS,
    "zip-map": CONTAINERS,
    "threads-tiny": CALLERS,
    "threads-mlp": CALLERS,
}
IMPORT_ROWS = {"import-numpy", "import-ortx", "import-onnxruntime"}
STARTS, STARTING = {"start-tiny", "start-minilm"}, {"C", "bare", "Python", "ortx", "onnxruntime"}
SIDES = {"C", "ortx", "onnxruntime"}
SWEEPS = {
    "inputs": (1, 200),
    "outputs": (1, 200),
    "size": (4, 64 << 20),
    "callers": (1, 8),
    "sessions": (1, 16),
}


def python(folder, *arguments, environment=None):
    """Run Python in a folder without an ortx, so that it finds the one tested here."""
    search_path = os.pathsep.join([str(Path(ortx.__file__).parents[1]), str(ROOT)])
    return subprocess.run(
        [sys.executable, *arguments],
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
    process = python(
        folder, "-m", "benchmarks", "--quick", *counts, "--json", "made/result.json", "--plot", "made/result.svg"
    )
    assert process.returncode == 0, process.stderr
    return folder, process


@pytest.fixture(scope="module")
def result(finished):
    folder, _ = finished
    return json.loads((folder / "made/result.json").read_text("utf-8"))


@pytest.fixture(scope="module")
def grown(tmp_path_factory):
    folder = tmp_path_factory.mktemp("growth")
    process = python(folder, "-m", "benchmarks.growth", "--quick", "--json", "growth.json", "--plot", "growth.svg")
    assert process.returncode == 0, process.stderr
    assert process.stderr == ""
    return folder, process.stdout, json.loads((folder / "growth.json").read_text("utf-8"))


def by_name(result):
    return {(row["case"], row["key"]): row for row in result["calls"]}


# --- the rows ---------------------------------------------------------------------------------------------------------


def test_every_row_is_there(result):
    rows = {case: {} for case in ROWS}
    for row in result["calls"]:
        rows[row["case"]][row["key"]] = row["who"]
    assert rows == ROWS
    assert [case["key"] for case in result["cases"]] == list(ROWS)
    assert {row["key"] for row in result["imports"]} == IMPORT_ROWS
    assert {(row["start"], row["who"]) for row in result["starts"]} == {(s, who) for s in STARTS for who in STARTING}
    assert {row["who"] for row in result["memory"]} == SIDES


def test_every_number_is_positive(result):
    for row in result["calls"]:
        name = row["case"], row["key"]
        assert 2 <= len(row["raw_ns"]) <= ROUNDS, name
        assert 1 <= row["raw_calls"] <= CALLS * (50 if "threads" in row["case"] else 1), name
        assert min(row["median_ns"], *row["quartiles_ns"], *row["raw_ns"]) > 0, name
        assert row["p99_ns"] is None or row["p99_ns"] > 0, name
    for row in result["imports"]:
        assert len(row["raw_ns"]) == IMPORTS
        assert min(row["median_ns"], *row["quartiles_ns"], *row["raw_ns"]) > 0, row["key"]
    for row in result["starts"]:
        assert min(row["median_ns"], *row["raw_ns"], *row["phases_ns"].values()) > 0, row["who"]
        assert sum(row["phases_ns"].values()) < 2 * max(row["raw_ns"]), "the phases are within the whole"
    for row in result["memory"]:
        assert min(row["before_bytes"], row["first_bytes"], row["further_bytes"]) > 0, row["who"]


def test_every_round_of_a_case_has_all_its_rows(result):
    rounds = {case["key"]: case["rounds"] for case in result["cases"]}
    assert all(len(row["raw_ns"]) == rounds[row["case"]] for row in result["calls"])


def test_medians_and_ratios_are_what_the_raw_numbers_say(result):
    rows = by_name(result)
    for row in rows.values():
        assert row["median_ns"] == pytest.approx(statistics.median(per_call(row)))
        for ratio in filter(None, (row["to_floor"], row["to_official"])):
            check_ratio(ratio, per_call(row), per_call(rows[row["case"], ratio["row"]]))
    imports = {row["key"]: row for row in result["imports"]}
    for row in imports.values():
        assert row["median_ns"] == pytest.approx(statistics.median(row["raw_ns"]))
        check_ratio(row["to_first"], row["raw_ns"], imports[row["to_first"]["row"]]["raw_ns"])


def per_call(row):
    return [time / (row["raw_calls"] * row["callers"]) for time in row["raw_ns"]]


def check_ratio(ratio, raw, reference):
    in_each_round = [mine / other for mine, other in zip(raw, reference, strict=True)]
    assert ratio["median"] == pytest.approx(statistics.median(in_each_round))
    low, high = ratio["quartiles"]
    assert low <= ratio["median"] <= high


def test_every_row_is_compared_with_the_same_work(result):
    rows = by_name(result)
    for row in rows.values():
        has_floor = row["who"] != "C" and row["key"] != "empty-loop"
        assert (row["to_floor"] is not None) == has_floor, row["key"]
        assert (row["to_official"] is not None) == (row["who"] == "ortx"), row["key"]
        for ratio, who in ((row["to_floor"], "C"), (row["to_official"], "onnxruntime")):
            if ratio is not None:
                other = rows[row["case"], ratio["row"]]
                assert (other["who"], other["work"]) == (who, row["work"])


def test_scaling_is_the_throughput_of_several_in_multiples_of_one(result):
    rows = by_name(result)
    for row in rows.values():
        assert (row["scaling"] is not None) == (row["callers"] > 1), row["key"]
        assert (row["scaling_to_floor"] is not None) == (row["callers"] > 1 and row["who"] != "C"), row["key"]
        if row["callers"] > 1:
            mine = scaling(rows, row)
            assert row["scaling"]["median"] == pytest.approx(statistics.median(mine))
        if row["scaling_to_floor"]:
            check_ratio(row["scaling_to_floor"], mine, scaling(rows, rows[row["case"], row["to_floor"]["row"]]))


def scaling(rows, row):
    alone = rows[row["case"], row["key"].replace(f"-by-{row['callers']}", "-by-1")]
    return [one / several for one, several in zip(per_call(alone), per_call(row), strict=True)]


def test_a_process_is_compared_with_c_and_by_what_it_takes_longer_than_a_bare_python(result):
    for start in STARTS:
        rows = {row["who"]: row for row in result["starts"] if row["start"] == start}
        raw = {who: row["raw_ns"] for who, row in rows.items()}
        floor = [c + bare for c, bare in zip(raw["C"], raw["bare"], strict=True)]
        more = {who: [a - b for a, b in zip(raw[who], raw["bare"], strict=True)] for who in ("ortx", "onnxruntime")}
        for who, times in more.items():
            check_ratio(rows[who]["to_floor"], raw[who], floor)
            assert rows[who]["excess_ns"] == pytest.approx(statistics.median(times))
            above = [whole - least for whole, least in zip(raw[who], floor, strict=True)]
            assert rows[who]["above_floor_ns"] == pytest.approx(statistics.median(above))
        assert rows["bare"]["excess_ns"] is None


def test_memory_is_what_each_step_added(result):
    for row in result["memory"]:
        (steps,) = row["raw_bytes"]  # one process
        assert len(steps) == row["sessions"] + 2
        assert row["first_bytes"] == steps[1] - steps[0]
        further = [after - before for before, after in pairwise(steps[1:-1])]
        assert row["further_bytes"] == statistics.median(further)
        assert row["left_bytes"] == steps[-1] - steps[0]
        assert row["model_bytes"] > 25e6


# --- what is said -----------------------------------------------------------------------------------------------------


def test_the_result_tells_versions_machine_and_noise(finished, result):
    _, process = finished
    assert result["machine"]["ortx"] == ortx.__version__
    assert result["machine"]["ONNX Runtime"] == ortx.load_library().version
    assert all(result["machine"].values())
    assert all(case["noise"]["relative_iqr"] >= 0 for case in result["cases"])
    assert set(result["load"]) == {"before", "after"}
    rows = by_name(result)
    again, floor = rows["tiny", "floor-run-again"], rows["tiny", "floor-run"]
    check_ratio(result["cases"][0]["noise"]["again"], per_call(again), per_call(floor))
    assert "Noise: " in process.stdout


def test_the_table_shows_every_case_and_nothing_goes_to_stderr(finished, result):
    _, process = finished
    assert process.stderr == ""
    text = " ".join(process.stdout.split())
    for shown in (
        'session.run({"x": x})',
        "session.run([x])",
        'session.run_into({"x": x}, {"y": y})',
        'session.run({"x0": x0, ..., "x99": x99})',
        "binding.run()",
        "RunWithBinding",
        "bare Python",
        *(case["title"] for case in result["cases"]),
        *(row["statement"] for row in result["imports"]),
    ):
        assert shown in text


def test_the_picture_shows_every_case(finished, result):
    folder, _ = finished
    picture = (folder / "made/result.svg").read_text("utf-8")
    assert "<svg" in picture
    for case in result["cases"]:
        assert case["title"].replace("'", "&#39;") in picture.replace("&apos;", "&#39;").replace("'", "&#39;")


def test_one_case_alone_writes_nothing_unless_asked(tmp_path):
    process = python(tmp_path, "-m", "benchmarks", "--quick", "--rounds=2", "--calls=2", "--case", "tiny")
    assert process.returncode == 0, process.stderr
    assert "y = x * x, float32" in process.stdout
    assert "import numpy" not in process.stdout
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_case_is_refused_with_those_that_there_are(tmp_path):
    process = python(tmp_path, "-m", "benchmarks", "--case", "huge")
    assert process.returncode == 2
    assert "no case huge; there are tiny, " in process.stderr


def test_without_a_compiler_it_says_so(tmp_path):
    process = python(tmp_path, "-m", "benchmarks", "--quick", environment={"CC": "no-such-compiler"})
    assert process.returncode == 1
    assert "C compiler" in process.stderr
    assert "Traceback" not in process.stderr


# --- that the rows do what they say -----------------------------------------------------------------------------------


@pytest.mark.parametrize("source", sorted(FOLDER.glob("*.c")), ids=lambda path: path.name)
def test_the_floor_compiles_without_warnings(source, tmp_path):
    flags = ["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", f"-I{ortx.get_include()}"]
    flags += ["-isystem", sysconfig.get_path("include"), "-isystem", np.get_include()]
    done = subprocess.run(
        [*COMPILER, *flags, "-c", "-o", str(tmp_path / "x.o"), str(source)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_a_row_that_computes_something_else_ends_the_run(tmp_path):
    program = """
import dataclasses
from benchmarks import models, suite, ways
right = models.tiny()
wrong = dataclasses.replace(right, expected={"y": right.expected["y"] + 1})
with ways.opened(suite.CASES[0], wrong):
    pass
"""
    process = python(tmp_path, "-c", program)
    assert process.returncode != 0
    assert re.search(r"AssertionError: least-run: output 'y' is .*; expected ", process.stderr, re.DOTALL)


def test_the_networks_compute_what_the_reference_evaluator_computes(tmp_path):
    program = """
import json
import numpy as np
import onnx.reference
from benchmarks import networks
small = {
    "transformer": networks.transformer(layers=2, hidden=32, heads=4, inner=64, vocabulary=50, length=8),
    "resnet": networks.resnet(widths=(8, 16), blocks=2, side=32, classes=10),
}
found = {}
for name, model in small.items():
    (y,) = onnx.reference.ReferenceEvaluator(model.proto).run(None, dict(model.inputs))
    expected = model.expected["y"]
    found[name] = [float(np.abs(y - expected).max()), float(expected.std()), list(expected.shape)]
print(json.dumps(found))
"""
    process = python(tmp_path, "-c", program)
    assert process.returncode == 0, process.stderr
    found = json.loads(process.stdout)
    assert {name: shape for name, (_, _, shape) in found.items()} == {"transformer": [1, 8, 32], "resnet": [1, 10]}
    for name, (error, deviation, _) in found.items():
        assert deviation > 0.05, name  # not all the same
        assert error < 1e-3 * deviation, name


# --- growth -----------------------------------------------------------------------------------------------------------


def test_every_curve_has_its_points_on_every_side(grown):
    _, _, result = grown
    assert {sweep["key"]: (sweep["points"][0], sweep["points"][-1]) for sweep in result["sweeps"]} == SWEEPS
    for sweep in result["sweeps"]:
        assert set(sweep["sides"]) == SIDES
        by_callers = sweep["key"] == "callers"
        for who, side in sweep["sides"].items():
            assert len(side["median_ns"]) == len(sweep["points"])
            assert min(side["median_ns"]) > 0
            assert (side["to_floor"] is None) == (who == "C")
            assert (side["slope_ns"] is None) == by_callers
            assert side["slope_to_floor"] is None or not (by_callers or who == "C")
            if sweep["key"] in ("inputs", "outputs", "size") and who != "C":
                assert side["slope_to_floor"] is not None
            assert (side["scaling"] is not None) == by_callers
            assert not by_callers or side["scaling"][0]["median"] == 1.0


def test_every_curve_has_a_statement_in_the_table(grown):
    folder, shown, _ = grown
    for start in (
        "each further input: C ",
        "each further output: C ",
        "each further MiB: C ",
        "each further session: C ",
    ):
        assert start in shown
    assert "throughput with 2 threads, with 1 being 1: C " in shown
    assert "<svg" in (folder / "growth.svg").read_text("utf-8")


def test_a_slope_is_found_again(tmp_path):
    program = """
import numpy as np
from benchmarks import growth
for sweep in growth.sweeps():
    points = np.array(sweep.points)[:, None] / sweep.unit_size
    print(growth.slopes(sweep, 1000 + points * np.array([20, 30])).round(6).tolist())
"""
    process = python(tmp_path, "-c", program)
    assert process.returncode == 0, process.stderr
    assert Counter(process.stdout.splitlines()) == {"[20.0, 30.0]": len(SWEEPS)}


# --- what is published ------------------------------------------------------------------------------------------------

BLOCKS = {"README.md": ["calls"], "docs/performance.md": ["all calls", "threads", "processes", "growth", "machine"]}
BLOCK = re.compile(
    r"\[//\]: # \((?P<name>[\w ]+): written by `python -m benchmarks\.publish`, do not edit\)\n\n"
    r"(?P<text>.*?)\n\n\[//\]: # \(end of (?P=name)\)",
    re.DOTALL,
)


def blocks_of(page):
    return {match["name"]: match["text"] for match in BLOCK.finditer(page)}


def check_tables(text):
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert lines
    columns = 0
    for before, line in zip(["", *text.splitlines()], text.splitlines(), strict=False):
        if line.startswith("|"):
            columns = columns if before.startswith("|") else line.count("|")
            assert line.count("|") == columns, line
            assert line.endswith("|")


@pytest.mark.parametrize("page", BLOCKS)
def test_what_is_published_is_well_formed(page, result):
    blocks = blocks_of((ROOT / page).read_text("utf-8"))
    assert list(blocks) == BLOCKS[page]
    for name, text in blocks.items():
        if name != "machine":
            check_tables(text)
    for case in result["cases"]:
        assert case["title"] in "".join(blocks.values()), "publish anew: `make bench bench-growth publish`"
    assert "onnxruntime 1." in "".join(blocks.values())


@pytest.mark.parametrize("name", ["benchmark.svg", "growth.svg"])
def test_the_published_pictures_are_small(name):
    assert (ROOT / "docs/images" / name).stat().st_size < 150_000


def test_publishing_changes_what_is_between_the_markers_only(tmp_path, finished, grown):
    for page in BLOCKS:
        (tmp_path / page).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / page, tmp_path / page)
    result, growth = finished[0] / "made/result.json", grown[0] / "growth.json"
    process = python(
        tmp_path, "-m", "benchmarks.publish", str(result), "--growth", str(growth), "--root", str(tmp_path)
    )
    assert process.returncode == 0, process.stderr
    assert sorted(process.stdout.split()) == sorted([*BLOCKS, "docs/images/benchmark.svg", "docs/images/growth.svg"])
    for page, names in BLOCKS.items():
        before, after = ((root / page).read_text("utf-8") for root in (ROOT, tmp_path))
        assert BLOCK.sub("", before) == BLOCK.sub("", after)
        assert before != after
        assert list(blocks_of(after)) == names
    for text in blocks_of((tmp_path / "docs/performance.md").read_text("utf-8")).values():
        assert not {"None", "nan", "inf"} & set(text.split())
    assert "<svg" in (tmp_path / "docs/images/benchmark.svg").read_text("utf-8")


def test_publishing_into_a_page_without_markers_changes_nothing(tmp_path, finished):
    (tmp_path / "docs").mkdir()
    shutil.copy(ROOT / "README.md", tmp_path)
    (tmp_path / "docs/performance.md").write_text("# Performance\n", "utf-8")
    result = finished[0] / "made/result.json"
    process = python(tmp_path, "-m", "benchmarks.publish", str(result), "--root", str(tmp_path))
    assert process.returncode == 1
    assert "expected once, in this order: [//]: # (all calls: written by" in process.stderr
    assert (tmp_path / "README.md").read_bytes() == (ROOT / "README.md").read_bytes()


def test_a_result_of_another_format_is_refused(tmp_path):
    (tmp_path / "old.json").write_text('{"format": 1}', "utf-8")
    process = python(tmp_path, "-m", "benchmarks.publish", "old.json", "--root", str(tmp_path))
    assert process.returncode == 1
    assert "format 1; expected 2: measure anew" in process.stderr
