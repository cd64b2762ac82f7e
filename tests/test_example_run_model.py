"""examples/run_model.py, the example of the session module's page, behaves as a program on the command line."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import models
import numpy as np
import onnx
import pytest

import ortx

PROGRAM = Path(__file__).parents[1] / "examples" / "run_model.py"

if not PROGRAM.is_file():
    pytest.skip("needs the source tree: this ortx was installed without it", allow_module_level=True)

ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith(("ORTX_", "PYTHON"))} | {
    "COLUMNS": "200",  # no folding of the help
    "NO_COLOR": "1",
    "PYTHONIOENCODING": "utf-8",
    # The ortx that is tested here, whether it is installed or built in place.
    "PYTHONPATH": os.fspath(Path(ortx.__file__).parents[1]),
}


@pytest.fixture
def run(tmp_path):
    """Run the program in a folder of its own: `run(argument, ..., python=[option, ...], NAME="value")`."""

    def run(*arguments: object, python: tuple[str, ...] = (), **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *python, PROGRAM, *map(str, arguments)],
            cwd=tmp_path,
            env=ENVIRONMENT | variables,
            capture_output=True,
            encoding="utf-8",
            timeout=120,
            stdin=subprocess.DEVNULL,
        )

    return run


@pytest.fixture
def model_path(tmp_path):
    path = tmp_path / "add.onnx"
    path.write_bytes(models.add())
    return path


def without_coreml() -> None:
    if "CoreMLExecutionProvider" in ortx.available_providers():
        pytest.skip("needs an ONNX Runtime without CoreML, to see the program fall back")


def refusal(done: subprocess.CompletedProcess[str]) -> str:
    """Return the line that says why the program has failed; there is nothing else but the fallback warning."""
    *warnings, line = done.stderr.splitlines()
    assert all("warning: CoreMLExecutionProvider cannot be used" in warning for warning in warnings)
    assert len(warnings) <= 1
    assert (done.returncode, done.stdout) == (1, "")
    assert line.startswith("run_model.py: ")
    return line.removeprefix("run_model.py: ")


def test_the_first_element_of_y_is_printed(run, model_path):
    done = run(model_path)
    assert (done.returncode, done.stdout) == (0, "1.5\n")


def test_what_cannot_be_used_is_said_once_in_one_line_with_the_reason(run, model_path):
    without_coreml()
    (line,) = run(model_path).stderr.splitlines()
    expected = r"run_model\.py: warning: CoreMLExecutionProvider cannot be used, so .*add\.onnx' runs without it: \S.*"
    assert re.fullmatch(expected, line)


def test_a_warning_that_is_to_be_an_error_ends_the_program_in_one_line(run, model_path):
    without_coreml()
    assert refusal(run(model_path, python=("-W", "error"))).startswith("CoreMLExecutionProvider cannot be used")


def test_warnings_can_be_switched_off(run, model_path):
    done = run(model_path, python=("-W", "ignore"))
    assert (done.returncode, done.stdout, done.stderr) == (0, "1.5\n", "")


def test_the_commands_of_its_documentation_work_in_their_order(run, tmp_path):
    documentation = PROGRAM.read_text(encoding="utf-8").split('"""')[1]
    commands = re.findall(r"(?m)^    python examples/run_model\.py (.+)$", documentation)
    assert commands == ["--make-model model.onnx", "model.onnx"]
    make, use = (run(*command.split()) for command in commands)
    assert (make.returncode, make.stdout, make.stderr) == (0, "", "")
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]
    assert (use.returncode, use.stdout) == (0, "1.5\n")


def test_the_model_that_it_makes_is_the_one_that_it_describes(run, tmp_path):
    run("--make-model", "größe.onnx", python=("-W", "error"))
    onnx.checker.check_model(tmp_path / "größe.onnx", full_check=True)
    with ortx.session(tmp_path / "größe.onnx") as session:
        assert (session.input_names(), session.output_names()) == (("x", "bias"), ("y",))
        assert {str(session.input_info(i)) for i in range(2)} == {"float32 of shape (1, 2)"}
        ones = np.ones((1, 2), np.float32)
        assert session.run([ones, ones])["y"].tolist() == [[2, 2]]


def test_a_file_that_is_there_already_is_not_overwritten(run, model_path):
    assert "File exists" in refusal(run("--make-model", model_path))
    assert model_path.read_bytes() == models.add()


def test_a_model_that_cannot_be_written_is_one_line(run):
    assert "No such file or directory" in refusal(run("--make-model", Path("no folder", "model.onnx")))


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (models.square(), r"run: input 'bias': the model has no such input.*"),
        (models.sum_and_difference(), r"run: 5 problems: - input 'x': .* - output 'y': the model has no such output.*"),
        (models.identity("float64"), r"run: .*input 'x': got .*float32.*; expected float64.*"),
        (models.add()[:-5], r".*wrong\.onnx' is no ONNX model, or a damaged one.*"),
        (b"no model", r".*wrong\.onnx' is no ONNX model, or a damaged one.*"),
        (b"", r".*wrong\.onnx.*"),
    ],
    ids=["one input", "other names", "other type", "truncated", "no model", "empty"],
)
def test_a_model_that_does_not_fit_is_one_line(run, tmp_path, model, expected):
    (tmp_path / "wrong.onnx").write_bytes(model)
    assert re.fullmatch(expected, refusal(run("wrong.onnx")))


@pytest.mark.parametrize(
    ("path", "expected"),
    [("missing.onnx", "there is no file 'missing.onnx'"), (".", "'.' is a folder; expected a model file")],
)
def test_a_path_without_a_model_is_one_line(run, path, expected):
    assert refusal(run(path)) == f"ortx.session: model_path: {expected}"


def test_a_missing_onnx_runtime_is_one_line(run, model_path, tmp_path):
    assert "missing.so" in refusal(run(model_path, ORTX_LIBRARY=str(tmp_path / "missing.so")))


def test_without_the_package_onnx_a_model_runs_but_cannot_be_made(run, model_path, tmp_path):
    (tmp_path / "path").mkdir()
    (tmp_path / "path" / "onnx.py").write_text("raise ModuleNotFoundError('No module named onnx')")
    paths = os.pathsep.join([str(tmp_path / "path"), ENVIRONMENT["PYTHONPATH"]])
    assert run(model_path, PYTHONPATH=paths).stdout == "1.5\n"
    assert refusal(run("--make-model", "new.onnx", PYTHONPATH=paths)) == "No module named onnx"
    assert not (tmp_path / "new.onnx").exists()


def test_help_says_what_it_takes_and_how_to_get_a_model(run):
    done = run("--help")
    assert (done.returncode, done.stderr) == (0, "")
    for words in ("usage: run_model.py [-h] [--make-model] MODEL", "x and bias, both float32 of shape (1, 2)", "onnx"):
        assert words in done.stdout


def test_without_a_model_the_usage_is_shown(run):
    done = run()
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("usage: run_model.py")
    assert "MODEL" in done.stderr.splitlines()[-1]
