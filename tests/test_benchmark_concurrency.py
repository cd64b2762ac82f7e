"""The benchmark of many callers runs to its end, and says what it measured. No time is judged here."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import pytest

for package in ("onnx", "onnxruntime", "rich"):
    pytest.importorskip(package, reason=f"needs the package {package}")


@pytest.fixture(scope="module")
def concurrency():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parents[1]))
        yield importlib.import_module("benchmarks.concurrency")


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_it_measures_each_way_in_every_round_and_writes_it_down(concurrency, tmp_path, capsys, loop):
    if loop == "uvloop":
        if sys.platform == "win32":
            pytest.skip("needs uvloop, which Windows does not have")
        pytest.importorskip("uvloop", reason="needs the package uvloop")
    file = tmp_path / "result.json"
    arguments = ["--callers", "3", "--seconds", "0.06", "--rounds", "2", "--json", str(file)]
    concurrency.main(arguments + (["--uvloop"] if loop == "uvloop" else []))
    assert "ortx is faster by" in capsys.readouterr().out
    result = json.loads(file.read_text())
    assert (result["callers"], result["loop"]) == (3, loop)
    assert {name: len(rates) for name, rates in result["rounds"].items()} == dict.fromkeys(
        (concurrency.OURS, concurrency.EXECUTOR, concurrency.DEFAULT), 2
    )
    assert all(rate > 0 for rates in result["rounds"].values() for rate in rates)
    assert set(result["times_the_official"]) == {concurrency.EXECUTOR, concurrency.DEFAULT}
