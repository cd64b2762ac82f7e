"""What the README shows works as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

import models
import numpy as np
import pytest

import ortx

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def test_the_program_runs(tmp_path, monkeypatch):
    (program,) = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    (tmp_path / "model.onnx").write_bytes(models.add())
    monkeypatch.chdir(tmp_path)
    variables: dict[str, object] = {}
    exec(compile(program, "README.md", "exec"), variables)
    expected = [[1.5, 0.5]] * 3
    assert variables["outputs"]["y"].tolist() == expected
    assert variables["y"].tolist() == expected
    assert variables["session"].closed


def test_the_error_reads_as_shown():
    shown = re.search(r"^  ortx\.CallError: (.*?)^  ```", README, re.MULTILINE | re.DOTALL)
    assert shown is not None
    message = re.sub(r"^  ", "", shown[1], flags=re.MULTILINE).rstrip()
    with ortx.session_from_bytes(models.add()) as session, pytest.raises(ortx.CallError) as caught:
        session.run({"biass": np.ones((1, 2), np.float32), "x": np.ones((3, 2))})
    assert str(caught.value) == message


@pytest.mark.parametrize("target", re.findall(r"^make (\w+)", README, re.MULTILINE))
def test_the_commands_exist(target):
    makefile = (Path(__file__).parents[1] / "Makefile").read_text(encoding="utf-8")
    assert re.search(rf"^{target}:", makefile, re.MULTILINE)
