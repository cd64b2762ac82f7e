"""`python -m benchmarks.options` runs to its end, and its tables are what its raw numbers say.

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
from ortx.presets import PRESETS

for package in ("onnx", "onnxruntime", "rich"):
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"needs the package {package}, not installed here", allow_module_level=True)

ROOT = Path(__file__).parents[1]
if not (ROOT / "benchmarks").is_dir():
    pytest.skip("needs the source tree: this ortx was installed without it", allow_module_level=True)

MODELS = ["tiny", "perceptron", "transformer", "cnn"]
MARKER = "<!-- Below this line: written by python -m benchmarks.options --write-docs; do not edit. -->"


def run_benchmarks(folder, *arguments):
    """Run the benchmarks from a folder without an ortx, so that they find the one tested here."""
    search_path = os.pathsep.join([str(Path(ortx.__file__).parents[1]), str(ROOT)])
    return subprocess.run(
        [sys.executable, "-m", "benchmarks.options", *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": search_path, "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("benchmarks")
    (folder / "page.md").write_text(f"# Title\n\nby hand\n\n{MARKER}\n\nwhat was there before\n", "utf-8")
    process = run_benchmarks(folder, "--quick", "--json", "result.json", "--write-docs", "page.md")
    assert process.returncode == 0, process.stderr
    return folder, process


@pytest.fixture(scope="module")
def result(finished):
    folder, _ = finished
    return json.loads((folder / "result.json").read_text("utf-8"))


@pytest.fixture(scope="module")
def program():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT))
        yield importlib.import_module("benchmarks.options")


def test_every_option_is_measured_on_every_model(result, program):
    assert [model["key"] for model in result["models"]] == MODELS
    expected = [
        (model, group.key, option)
        for model in MODELS
        for group in program.GROUPS
        for option in (program.DEFAULT, *group.options)
        if option not in result["left_out"]
    ]
    assert [(row["model"], row["group"], row["option"]) for row in result["options"]] == expected
    assert set(result["left_out"]) < {option for group in program.GROUPS for option in group.options}


def test_an_option_is_named_as_a_user_writes_it(program):
    for group in program.GROUPS:
        for name, options in group.options.items():
            if name != "neither arena nor pattern":
                ((option, value),) = options.items()
                ((key, text),) = value.items() if option == "config_entries" else [(option, value)]
                assert name.replace('"', "") == f"{key}={text}"


def test_medians_and_ratios_are_what_the_raw_numbers_say(result):
    rows = {(row["model"], row["group"], row["option"]): row for row in result["options"]}
    for (model, group, _), row in rows.items():
        default = rows[model, group, "(defaults)"]
        for ratio, raw in (("ratio", "raw_seconds"), ("open_ratio", "raw_open_seconds")):
            assert min(row[raw]) > 0
            in_each_round = [mine / other for mine, other in zip(row[raw], default[raw], strict=True)]
            assert row[ratio] == pytest.approx(statistics.median(in_each_round))
        assert row["quartiles"][0] <= row["ratio"] <= row["quartiles"][1]
        assert row["median_us"] == pytest.approx(statistics.median(row["raw_seconds"]) / row["calls"] * 1e6)
        assert len(row["raw_seconds"]) == result["settings"]["rounds"]
    assert all(row["ratio"] == 1 for (_, _, option), row in rows.items() if option == "(defaults)")


def test_every_preset_is_compared_with_the_defaults(result):
    measured = [(row["model"], row["preset"]) for row in result["presets"]]
    assert measured == [(model, preset) for model in MODELS[:3] for preset in ("(defaults)", *PRESETS)]
    for row in result["presets"]:
        assert list(row["paced"]) == [str(pace) for pace in result["settings"]["paces"]]
        for latencies in (row["alone"], *row["paced"].values()):
            assert 0 < latencies["p50_us"] <= latencies["p99_us"]
        assert row["calls_per_second"] > 0
        assert all(paced["cpu"] >= 0 for paced in row["paced"].values())


def test_the_tables_are_printed_and_written_below_the_marker(finished, result):
    folder, process = finished
    above, marker, below = (folder / "page.md").read_text("utf-8").partition(MARKER)
    assert (above, marker) == ("# Title\n\nby hand\n\n", MARKER)
    assert "what was there before" not in below
    for row in result["options"]:
        assert row["option"] in process.stdout
        assert f"\n| {row['option']} | " in below
    for model in MODELS[:3]:
        assert f"The presets: {model}" in process.stdout
        assert f"\n### The presets: {model}\n" in below
    for name in ("ortx", "ONNX Runtime", "CPU"):
        assert f"{name} {result['machine'][name]}" in below
    assert process.stderr == ""


def test_a_page_without_the_marker_is_refused_before_anything_is_measured(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("by hand\n", "utf-8")
    process = run_benchmarks(tmp_path, "--write-docs", "page.md")
    assert process.returncode == 1
    assert "there is no line" in process.stderr
    assert page.read_text("utf-8") == "by hand\n"
    assert process.stdout == ""


@pytest.mark.parametrize(
    ("microseconds", "text"),
    [
        (0.5, "0.5 µs"),
        (5.123, "5.12 µs"),
        (999.4, "999 µs"),
        (999.6, "1 ms"),
        (1500, "1.5 ms"),
        (41_500, "41.5 ms"),
        (2e6, "2 s"),
    ],
)
def test_a_duration_is_written_with_three_digits(program, microseconds, text):
    assert importlib.import_module("benchmarks.options_report").duration(microseconds) == text
