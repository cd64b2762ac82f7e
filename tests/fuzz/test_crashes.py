"""The models of crashes/: ONNX Runtime dies of each, and ortx refuses those that it can tell."""

from __future__ import annotations

import contextlib
import platform
import sys
from pathlib import Path

import onnx
import pytest
from known import KNOWN, is_known
from make_crashes import FOLDER, MODELS, REFUSED
from models_worker import Worker

import ortx
from ortx import _core, hazards

SEEN_WITH = "1.31.1"
EACH_REFUSED = pytest.mark.parametrize("name", sorted(REFUSED))

# What opens a model without the check, and runs it with inputs of ones.
UNGUARDED = """
import sys, numpy as np, ortx
from ortx import hazards
hazards.check = lambda *arguments: None
ortx.configure(log_severity_level=4)
session = ortx.session(sys.argv[1], intra_op_num_threads=1)
infos = [session.input_info(name) for name in session.input_names()]
session.run([np.ones(info.shape, np.float32) for info in infos])
"""

where_they_were_seen = pytest.mark.skipif(
    (sys.platform, platform.machine(), ortx.load_library().version) != ("linux", "x86_64", SEEN_WITH),
    reason=f"needs Linux on x86-64 with ONNX Runtime {SEEN_WITH}, where the crashes were seen",
)


def file_of(name: str) -> Path:
    return FOLDER / f"{name}.onnx"


def test_the_folder_has_the_models_that_are_described():
    assert {file.stem for file in FOLDER.glob("*.onnx")} == set(MODELS)
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert all(f"| `{name}` |" in text for name in MODELS)
    assert [crash.file for crash in KNOWN] == sorted(set(MODELS) - set(REFUSED))


@pytest.mark.parametrize("name", sorted(MODELS))
def test_a_file_is_what_the_program_writes(name):
    assert onnx.load(file_of(name)) == onnx.ModelProto.FromString(MODELS[name]())


def test_the_operators_that_are_looked_for_are_those_of_the_models_that_are_refused():
    op_types = {onnx.load(file_of(name)).graph.node[0].op_type for name in REFUSED}
    assert sorted(_core.HAZARDOUS) == sorted(name.encode() for name in op_types)
    assert {name.decode() for name in _core.HAZARDOUS_IF_EMPTY} == set(hazards._NOT_EMPTY)


@EACH_REFUSED
def test_a_model_that_crashes_is_refused(name):
    op_type = onnx.load(file_of(name)).graph.node[0].op_type
    for call in (lambda: ortx.session(file_of(name)), lambda: ortx.session_from_bytes(file_of(name).read_bytes())):
        with pytest.raises(ortx.InvalidGraph, match=rf"node '' \({op_type}\): .*ONNX Runtime crashes on that"):
            call()


@EACH_REFUSED
@where_they_were_seen
def test_without_the_check_the_process_dies(name, run_python):
    assert run_python(UNGUARDED, file_of(name)).returncode < 0


@pytest.mark.parametrize("crash", KNOWN, ids=lambda crash: crash.file)
@where_they_were_seen
def test_a_known_crash_still_ends_the_process(crash):
    model = file_of(crash.file).read_bytes()
    with contextlib.closing(Worker()) as worker:
        outcome = worker.use(model, {"intra_op_num_threads": 1})
    assert outcome.end == crash.end
    assert is_known(outcome, model)
    assert not is_known(outcome, b"another model")


def check(model: bytes) -> None:
    nodes, _, _ = _core.looked_through(model)
    hazards.check("f", nodes, "all")


def test_a_hazard_is_found_in_subgraphs_and_functions():
    inner = onnx.load(file_of("min-empty-input")).graph
    outer = onnx.helper.make_node("If", ["c"], ["y"], name="outer", then_branch=inner, else_branch=inner)
    model = onnx.helper.make_model(onnx.helper.make_graph([outer], "g", [], []))
    function = onnx.helper.make_function("d", "F", ["x"], ["y"], [*inner.node], [])
    in_function = onnx.helper.make_model(onnx.helper.make_graph([], "g", [], []), functions=[function])
    for found in (model, in_function):
        with pytest.raises(ortx.InvalidGraph, match="Min"):
            check(found.SerializeToString())


SOUND = {
    "a split": ("Split", ["x"], ["a", "b"], {"num_outputs": 2}),
    "a split by sizes": ("Split", ["x", "sizes"], ["a", "b"], {}),
    "a convolution in groups": ("ConvTranspose", ["x", "w"], ["y"], {"group": 2}),
    "a convolution that says nothing of groups": ("ConvTranspose", ["x", "w"], ["y"], {}),
    "random numbers": ("RandomUniform", [], ["y"], {"shape": [2]}),
    "random numbers between equal bounds": ("RandomUniform", [], ["y"], {"shape": [2], "low": 1.0}),
    "normal numbers": ("RandomNormalLike", ["x"], ["y"], {"scale": 0.5}),
    "two inputs": ("Min", ["x", "x"], ["y"], {}),
    "no bias": ("LayerNormalization", ["x", "x"], ["y"], {}),
    "an axis": ("DFT", ["x", "", "axis"], ["y"], {}),
    "an operator that may leave inputs out": ("Clip", ["x", "", "max"], ["y"], {}),
}


@pytest.mark.parametrize("name", SOUND)
def test_what_is_sound_is_let_through(name):
    op_type, inputs, outputs, attributes = SOUND[name]
    node = onnx.helper.make_node(op_type, inputs, outputs, **attributes)
    model = onnx.helper.make_model(onnx.helper.make_graph([node], "g", [], []))
    check(model.SerializeToString())


def test_layer_normalization_without_bias_is_let_through_where_nothing_is_fused():
    for level in ("disable", "basic"):
        with ortx.session(file_of("layer-normalization-without-bias"), graph_optimization_level=level):
            pass
