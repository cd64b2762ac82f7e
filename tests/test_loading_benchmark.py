"""The benchmarks of memory run to their end, and say what they have measured. No time is judged."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

if not (ROOT / "benchmarks").is_dir():
    pytest.skip("needs the source tree: this ortx was installed without it", allow_module_level=True)
for package in ("onnx", "onnxruntime", "ml_dtypes"):
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"needs the package {package}, not installed here", allow_module_level=True)

sys.path.insert(0, str(ROOT))
from benchmarks import leaks, loading, publish  # noqa: E402

sys.path.remove(str(ROOT))


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc/self/status, which only Linux has")
def test_loading_a_small_model_is_measured_in_every_way(tmp_path, capsys, monkeypatch):
    page, file = tmp_path / "memory.md", tmp_path / "loading.json"
    first, last = publish.markers("loading", loading.COMMAND)
    page.write_text(f"before\n{first}\n{last}\nafter\n")
    monkeypatch.setattr(loading, "DOCS", page)
    monkeypatch.setattr(loading, "WAYS", {title: loading.WAYS[title] for title in ("bytes", "`external_data`, mmap")})
    assert loading.main(["--megabytes", "1", "--json", str(file), "--write-docs"]) == 0
    result = json.loads(file.read_text("utf-8"))
    assert [row["way"] for row in result["ways"]] == list(loading.WAYS)
    assert all(row["peak"] >= row["opened"] >= 0 < row["seconds"] for row in result["ways"])
    table = loading.as_markdown(result)
    assert table in capsys.readouterr().out
    assert page.read_text() == f"before\n{first}\n\n{table}\n\n{last}\nafter\n"


def test_the_figures_of_leaks_are_written_as_a_table(tmp_path, monkeypatch, capsys):
    page, file = tmp_path / "memory.md", tmp_path / "leaks.json"
    first, last = publish.markers("leaks", leaks.COMMAND)
    page.write_text(f"{first}\n{last}\n")
    monkeypatch.setattr(leaks, "DOCS", page)
    arguments = ["--runs", "10", "--way", "of a dict", "--json", str(file), "--write-docs"]
    assert leaks.main(arguments) == 0
    (row,) = json.loads(file.read_text("utf-8"))["ways"]
    assert (row["way"], row["runs"], row["handles"]) == ("`run`, of a dict", 10, {})
    assert json.loads(capsys.readouterr().out) == row
    assert "| `run`, of a dict | 10 | " in page.read_text()


@pytest.mark.parametrize(("name", "command"), [("loading", loading.COMMAND), ("leaks", leaks.COMMAND)])
def test_the_page_has_the_place_for_each_table_and_figures_in_it(name, command):
    text = (ROOT / "docs" / "memory.md").read_text("utf-8")
    first, last = publish.markers(name, command)
    assert text.count(first) == text.count(last) == 1
    assert re.search(r"\| .* \| .*\n", text[text.index(first) : text.index(last)])
