"""What is read of a model's file (`ortx/modelsource.py`): all but the weights, whatever others do with the file."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import models
import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

import ortx
from ortx import _core, externalfiles, hazards, modelfile, modelsource

ROWS = 1024  # of weights: 4 MB each
EXTERNAL = TensorProto(name="e", data_type=1, dims=[2], data_location=TensorProto.EXTERNAL)
EXTERNAL.external_data.add(key="location", value="far/away.bin")


def large(count: int = 1, others: list[TensorProto] = ()) -> bytes:
    """A model that adds weights of 4 MB each to its input."""
    names = ["x", *(f"v{i}" for i in range(1, count)), "y"]
    nodes = [helper.make_node("Add", [names[i], f"w{i}"], [names[i + 1]]) for i in range(count)]
    weights = [models.constant(f"w{i}", np.full((ROWS, ROWS), i + 1.0)) for i in range(count)]
    ends = [models.tensor("x", shape=(ROWS, ROWS))], [models.tensor("y", shape=(ROWS, ROWS))]
    return models.build(nodes, *ends, [*weights, *others])


def read(path: Path, whole: bool = False) -> memoryview:
    return modelsource.read("ortx.session", str(path), whole=whole)


@pytest.fixture
def laid(monkeypatch) -> list[int]:
    """How many bytes each reading of a piece of a file took."""
    sizes = []
    lay = modelsource._Content.lay

    def counted(content, start, end):
        sizes.append(end - start)
        lay(content, start, end)

    monkeypatch.setattr(modelsource._Content, "lay", counted)
    return sizes


def test_a_small_file_is_read_as_a_whole(tmp_path):
    (tmp_path / "model.onnx").write_bytes(models.square())
    assert read(tmp_path / "model.onnx") == models.square()


def test_of_a_large_file_the_weights_are_not_read(tmp_path, laid):
    model = large(4)
    (tmp_path / "model.onnx").write_bytes(model)
    content = np.frombuffer(read(tmp_path / "model.onnx"), np.uint8)
    expected = np.frombuffer(model, np.uint8)
    assert len(content) == len(expected)
    assert sum(laid) < len(model) / 10
    assert not content[content != expected].any()  # zeros stand there


def test_all_of_it_is_read_if_that_is_asked_for(tmp_path):
    (tmp_path / "model.onnx").write_bytes(large())
    assert read(tmp_path / "model.onnx", whole=True) == large()


def test_what_lies_between_weights_and_behind_them_is_found(tmp_path):
    (tmp_path / "model.onnx").write_bytes(large(3, [EXTERNAL]))
    content = read(tmp_path / "model.onnx")
    assert list(externalfiles.locations(content)) == [("e", "far/away.bin")]
    assert list(modelfile.weights(content)) == ["w0", "w1", "w2", "e"]


@settings(max_examples=40, deadline=None)
@given(
    sizes=st.lists(st.sampled_from([0, 3, 65_000, 65_536, 65_600, 300_000, 1_500_000]), min_size=1, max_size=7),
    in_node=st.lists(st.booleans(), min_size=7, max_size=7),
    in_graph=st.lists(st.booleans(), min_size=7, max_size=7),
)
def test_the_same_is_found_as_in_the_whole_file(tmp_path_factory, sizes, in_node, in_graph):
    path = tmp_path_factory.mktemp("model") / "model.onnx"
    path.write_bytes(scattered(sizes, in_node, in_graph))
    content, whole = read(path), memoryview(path.read_bytes())
    assert list(externalfiles.locations(content)) == list(externalfiles.locations(whole))
    assert [problem_of(content)] == [problem_of(whole)]
    assert [len(found.data or b"") for found in modelfile.weights(content).values()] == [
        len(found.data or b"") for found in modelfile.weights(whole).values()
    ]


def scattered(sizes: list[int], in_node: list[bool], in_graph: list[bool]) -> bytes:
    """A model with tensors of so many bytes and small ones in other files, as initializers or in nodes, one by one."""
    graph = onnx.GraphProto(name="g")
    for number, size in enumerate(sizes):
        stored = TensorProto(name=f"w{number}", data_type=TensorProto.INT8, dims=[size], raw_data=b"\x0b" * size)
        elsewhere = TensorProto(name=f"e{number}", data_type=1, dims=[2], data_location=TensorProto.EXTERNAL)
        elsewhere.external_data.add(key="location", value=f"{number}.bin")
        inner = onnx.GraphProto(name="inner", initializer=[stored, elsewhere])
        if in_graph[number]:
            graph.node.append(helper.make_node("If", ["c"], [f"i{number}"], then_branch=inner, else_branch=inner))
        elif in_node[number]:
            graph.node.append(helper.make_node("Constant", [], [f"c{number}"], value=stored))
            graph.node.append(helper.make_node("Split", ["x"], ["a", "b"], name=f"n{number}", num_outputs=number + 1))
        else:
            graph.initializer.extend([stored, elsewhere])
    return onnx.ModelProto(ir_version=8, graph=graph).SerializeToString()


def problem_of(model: memoryview) -> str:
    try:
        hazards.check("f", _core.looked_through(model)[0], "all")
    except ortx.InvalidGraph as error:
        return str(error)
    return ""


@pytest.mark.parametrize("damage", [b"\0" * 50, b"\xff" * 50, b"\x0a\xff\xff\xff\xff\x7f"])
def test_a_damaged_file_is_read_as_a_whole(tmp_path, damage):
    (tmp_path / "model.onnx").write_bytes(large() + damage)
    assert read(tmp_path / "model.onnx") == large() + damage


def test_of_a_file_in_onnx_runtimes_own_format_the_beginning_is_enough(tmp_path, laid):
    path = tmp_path / "model.ort"
    ortx.session_from_bytes(
        large(2), optimized_model_path=path, config_entries={"session.save_model_format": "ORT"}
    ).close()
    assert modelfile.is_ort_format(read(path))
    assert sum(laid) < path.stat().st_size / 4
    with ortx.session(path) as session:
        assert session.run([np.zeros((ROWS, ROWS), np.float32)])[0].max() == 3


def test_a_model_whose_nodes_may_be_taken_out_is_read_as_a_whole(tmp_path):
    model = onnx.load_from_string(large())
    model.opset_import.append(helper.make_opsetid("ai.onnx.ml", 1))
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    assert read(tmp_path / "model.onnx") != model.SerializeToString()  # zeros for weights: there are no such nodes
    model.graph.node.append(helper.make_node("ZipMap", ["y"], ["z"], domain="ai.onnx.ml", classlabels_int64s=[0]))
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    assert read(tmp_path / "model.onnx") == model.SerializeToString()


def test_arrays_in_place_of_large_weights_are_compared_with_what_the_file_holds(tmp_path):
    (tmp_path / "model.onnx").write_bytes(large())
    ones, x = np.ones((ROWS, ROWS), np.float32), np.zeros((ROWS, ROWS), np.float32)
    with ortx.session(tmp_path / "model.onnx", initializers={"w0": ones}) as session:
        assert session.run([x])[0].max() == 1
    ones[-1, -1] = 2
    with pytest.raises(ortx.OptionError, match="holds other values"):
        ortx.session(tmp_path / "model.onnx", initializers={"w0": ones})


@pytest.mark.parametrize("left", [0, 10, 4096, 3 << 20])
def test_a_file_that_is_cut_while_it_is_read_is_refused(tmp_path, monkeypatch, left):
    path = tmp_path / "model.onnx"
    path.write_bytes(large(2))
    read_content = modelsource._Content.read

    def cut_and_read(content, whole):
        os.truncate(path, left)
        return read_content(content, whole)

    monkeypatch.setattr(modelsource._Content, "read", cut_and_read)
    with pytest.raises(ortx.InvalidProtobuf, match=r"became shorter while it was read: it had \d+ bytes"):
        ortx.session(path)


def test_external_data_that_is_cut_while_it_is_compared_differs_from_nothing(tmp_path, monkeypatch):
    path = tmp_path / "w.bin"
    path.write_bytes(bytes(4096))
    monkeypatch.setattr(modelsource.os.path, "getsize", lambda path: 4096)
    os.truncate(path, 100)
    assert modelsource.differs_from_file({"location": "w.bin"}, str(tmp_path), np.ones(1024, np.float32)) is False


@pytest.mark.skipif(sys.platform == "win32", reason="Windows lets nobody cut a file that is open")
def test_a_process_that_opens_a_file_while_another_rewrites_it_lives(run_python, tmp_path):
    model = models.slow(200, 16)
    (tmp_path / "model.onnx").write_bytes(model)
    (tmp_path / "whole.onnx").write_bytes(model)
    done = run_python(
        """
import os, subprocess, sys, time, ortx
writing = '''
import sys, time
model = open("whole.onnx", "rb").read()
end = time.monotonic() + 4
while time.monotonic() < end:
    with open("model.onnx", "r+b", buffering=0) as file:
        file.truncate(0)
        file.write(model)
'''
os.chdir(sys.argv[1])
writer = subprocess.Popen([sys.executable, "-c", writing])
opened = refused = 0
options = {"intra_op_num_threads": 1, "inter_op_num_threads": 1, "graph_optimization_level": "disable"}
while writer.poll() is None:
    try:
        ortx.session("model.onnx", options).close()
        opened += 1
    except ortx.Error:
        refused += 1
print(opened > 0, refused > 0)
""",
        tmp_path,
    )
    assert (done.returncode, done.stdout.split()) == (0, ["True", "True"]), done.stderr
