"""Weights in files that are in memory (`externaldata.pxi`), and buffers of models: nothing stays in memory twice."""

from __future__ import annotations

import copy
import gc
import json
import mmap
import pickle
import sys
import weakref
from collections import UserDict
from pathlib import Path

import models
import numpy as np
import onnx
import pytest
from onnx import helper

import ortx
from ortx import _core, modelfile

IN_PLACE = {"session.use_external_initializer_file_buffers_directly": "1", "session.disable_prepacking": "1"}
W = np.arange(1, 5, dtype=np.float32).reshape(2, 2)
B = np.array([10, 20], np.float32)
X = np.array([[1, 2]], np.float32)
Y = X @ W + B

needs_in_place = pytest.mark.skipif(
    ortx.load_library().version.split(".")[:2] < ["1", "31"], reason="needs ONNX Runtime 1.31, to use buffers in place"
)
FUNCTION = {"path": "ortx.session", "bytes": "ortx.session_from_bytes"}
EACH_FORM = pytest.mark.parametrize("form", FUNCTION)


def proto() -> onnx.ModelProto:
    """y = x @ w + b"""
    nodes = [helper.make_node("MatMul", ["x", "w"], ["t"]), helper.make_node("Add", ["t", "b"], ["y"])]
    weights = [models.constant("w", W), models.constant("b", B)]
    return onnx.load_from_string(models.build(nodes, [models.tensor("x")], [models.tensor("y")], weights))


@pytest.fixture
def split(tmp_path) -> tuple[Path, bytes]:
    """Return a model's file and its weights, whose file is not there."""
    path = tmp_path / "model.onnx"
    onnx.save(proto(), path, save_as_external_data=True, location="model.data", size_threshold=0)
    data = tmp_path / "model.data"
    content = data.read_bytes()
    data.unlink()
    return path, content


def opened(form: str, path: Path, **given) -> ortx.Session:
    if form == "path":
        return ortx.session(path, given)
    return ortx.session_from_bytes(path.read_bytes(), given)


def relocated(path: Path, *locations: str) -> None:
    """Let the weights, one after another, be in other files."""
    model = onnx.load(path, load_external_data=False)
    for weight, location in zip(model.graph.initializer, locations, strict=True):
        for entry in weight.external_data:
            if entry.key == "location":
                entry.value = location
    path.write_bytes(model.SerializeToString())


# --- what is taken


def mapped(content: bytes, folder: Path) -> mmap.mmap:
    path = folder / "mapped"
    path.write_bytes(content)
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


BUFFERS = {
    "bytes": lambda content, _: content,
    "bytearray": lambda content, _: bytearray(content),
    "memoryview": lambda content, _: memoryview(bytearray(b"before" + content))[6:],
    "mmap": mapped,
    "numpy": lambda content, _: np.frombuffer(content, np.uint8),
    "numpy of floats": lambda content, _: np.frombuffer(content, np.float32).reshape(2, -1),
    "longer": lambda content, _: content + b"and more",
}


@EACH_FORM
@pytest.mark.parametrize("kind", BUFFERS)
def test_weights_come_from_any_buffer_and_the_file_is_not_needed(split, tmp_path, form, kind):
    path, content = split
    with pytest.raises(ortx.Error):
        opened(form, path, session_log_severity_level=4)
    buffer = BUFFERS[kind](content, tmp_path)
    with opened(form, path, external_data={"model.data": buffer}) as session:
        np.testing.assert_array_equal(session.run([X])["y"], Y)
    if kind == "mmap":
        buffer.close()


@EACH_FORM
def test_buffers_win_over_the_file(split, tmp_path, form, monkeypatch):
    path, content = split
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.data").write_bytes(bytes(len(content)))
    with opened(form, path, external_data=UserDict({Path("model.data"): content})) as session:
        np.testing.assert_array_equal(session.run([X])["y"], Y)


SPELLINGS = """
import sys, numpy as np, ortx
content = bytes.fromhex(sys.argv[2])
for given in sys.argv[3:]:
    try:
        with ortx.session(sys.argv[1], external_data={given: content}) as session:
            print(session.run([np.array([[1, 2]], np.float32)])["y"].tolist())
    except ortx.NotSupported as error:
        print(error)
"""


@pytest.mark.parametrize("in_model", ["model.data", "sub/model.data"])
@pytest.mark.parametrize("version", [None, "1.20.1", "1.30.0"])
def test_a_file_may_be_spelt_otherwise_than_in_the_model(split, run_python, runtime_wheel, in_model, version):
    path, content = split
    relocated(path, in_model, in_model)
    library = {} if version is None else {"ORTX_LIBRARY": runtime_wheel(version)}
    done = run_python(SPELLINGS, path, content.hex(), in_model, f"./{in_model}", f"a/..//{in_model}", **library)
    assert (done.returncode, done.stdout) == (0, f"{Y.tolist()}\n" * 3), done.stderr


@needs_in_place
@pytest.mark.parametrize("in_model", ["./model.data", "./sub/../model.data"])
def test_the_model_may_spell_it_otherwise(split, run_python, in_model):
    path, content = split
    relocated(path, in_model, in_model)
    done = run_python(SPELLINGS, path, content.hex(), "model.data", in_model)
    assert (done.returncode, done.stdout) == (0, f"{Y.tolist()}\n" * 2), done.stderr


def test_a_library_that_does_not_find_such_a_name_says_so(split, run_python, runtime_wheel):
    path, content = split
    relocated(path, "./model.data", "./model.data")
    done = run_python(SPELLINGS, path, content.hex(), "model.data", ORTX_LIBRARY=runtime_wheel("1.30.0"))
    assert (done.returncode, done.stderr) == (0, "")
    assert "the model calls a file './model.data'; ONNX Runtime 1.30.0 finds such a name only on disk" in done.stdout


def test_several_files_are_matched_by_their_names(split):
    path, content = split
    relocated(path, "w.data", "b.data")
    assert modelfile.external_files(memoryview(path.read_bytes())) == {"w.data": 16, "b.data": 24}
    given = {"b.data": content, "w.data": bytearray(content)}
    with ortx.session(path, external_data=given) as session:
        np.testing.assert_array_equal(session.run([X])["y"], Y)


# --- what is refused

PARTS = {"w.data": bytes(16), "b.data": bytes(24)}
REFUSED = {
    "too many": (
        PARTS | {"bb.data": b""},
        ["['bb.data']: the model has no weights in such a file; did you mean 'b.data'? (it has w.data, b.data)"],
    ),
    "missing": (
        {"w.data": bytes(16)},
        [": 'b.data' is missing; once one file is given, ONNX Runtime opens none itself"],
    ),
    "too short": (
        PARTS | {"w.data": bytes(15)},
        ["['w.data']: got 15 bytes; expected at least 16, by the model"],
    ),
    "all at once": (
        {"W.data": bytes(16), "./b.data": b""},
        [
            "['W.data']: the model has no weights in such a file; did you mean 'w.data'? (it has w.data, b.data)",
            ": 'w.data' is missing; once one file is given, ONNX Runtime opens none itself",
            "['./b.data']: got 0 bytes; expected at least 24, by the model",
        ],
    ),
}


@EACH_FORM
@pytest.mark.parametrize("case", REFUSED)
def test_files_that_are_not_those_of_the_model_are_refused_all_at_once(split, form, case):
    path, _ = split
    relocated(path, "w.data", "b.data")
    given, problems = REFUSED[case]
    before = _core._live_handles()
    with pytest.raises(ortx.OptionError) as caught:
        opened(form, path, external_data=given)
    assert str(caught.value).split("\n") == [f"{FUNCTION[form]}: option 'external_data'{line}" for line in problems]
    assert _core._live_handles() == before


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"a": "text"}, ortx.OptionTypeError, r"\['a'\]: got 'text' \(str\); expected bytes or another contiguous buf"),
        ({"a": None}, ortx.OptionTypeError, r"\['a'\]: got None"),
        ({"a": np.arange(4)[::2]}, ortx.OptionError, r"\['a'\]: got array.*expected bytes or another contiguous buf"),
        ({"a": memoryview(b"abcd")[::2]}, ortx.OptionError, r"\['a'\]: got <memory.*expected bytes or another contig"),
        ({"a": np.array(["2020"], "M8[Y]")}, ortx.OptionTypeError, r"\['a'\]: got array"),
        ({3: b""}, ortx.OptionTypeError, r": got 3 \(int\); expected names of files as keys: a path as str"),
        ({"": b""}, ortx.OptionError, r": got '' \(str\); expected names of files as keys: a path that is not empty"),
        ({"a\0": b""}, ortx.OptionError, r": got 'a\\x00'"),
        ({"a": b"", "./a": b""}, ortx.OptionError, r"\['./a'\]: got './a' \(str\); expected every file once$"),
    ],
)
def test_what_is_no_file_in_memory_is_refused(given, error, message):
    with pytest.raises(error, match="^ortx.session: option 'external_data'" + message) as caught:
        ortx.session("nothing.onnx", external_data=given)
    assert type(caught.value) is error


def test_a_buffer_that_is_closed_is_refused(tmp_path):
    closed = mapped(b"abcd", tmp_path)
    closed.close()
    with pytest.raises(ortx.OptionTypeError, match=r"\['a'\]: got "):
        ortx.session("nothing.onnx", external_data={"a": closed})


def test_a_model_with_all_its_weights_in_itself_takes_no_files():
    with pytest.raises(
        ortx.OptionError, match=r"\['a'\]: the model has no weights in such a file \(it has all its weig"
    ):
        ortx.session_from_bytes(models.square(), external_data={"a": b""})


def test_arrays_in_place_of_weights_in_memory_are_refused(split):
    path, content = split
    with pytest.raises(ortx.OptionError, match="'initializers' and 'external_data' cannot go together"):
        ortx.session(path, external_data={"model.data": content}, initializers={"w": W})


def test_a_model_in_onnx_runtimes_own_format_is_refused(tmp_path):
    path = tmp_path / "model.ort"
    ortx.session_from_bytes(
        models.square(), optimized_model_path=path, config_entries={"session.save_model_format": "ORT"}
    ).close()
    with pytest.raises(ortx.NotSupported, match="option 'external_data': needs an .onnx model"):
        ortx.session(path, external_data={"a": b""})


def test_a_damaged_model_is_refused_as_such():
    with pytest.raises(ortx.InvalidProtobuf):
        ortx.session_from_bytes(b"\xff" * 100, external_data={"a": b""})


def test_a_model_that_does_not_say_how_long_its_weights_are_is_asked_for_their_shape(split):
    path, content = split
    model = onnx.load(path, load_external_data=False)
    for weight in model.graph.initializer:
        kept = [entry for entry in weight.external_data if entry.key != "length"]
        del weight.external_data[:]
        weight.external_data.extend(kept)
    path.write_bytes(model.SerializeToString())
    assert modelfile.external_files(memoryview(path.read_bytes())) == {"model.data": 24}
    with ortx.session(path, external_data={"model.data": content}) as session:
        np.testing.assert_array_equal(session.run([X])["y"], Y)


# --- how long buffers are needed


@EACH_FORM
def test_buffers_are_let_go_when_the_session_is_open(split, form):
    path, content = split
    data = bytearray(content)
    array = np.frombuffer(content, np.uint8).copy()
    alive = weakref.ref(array)
    with opened(form, path, external_data={"model.data": data}) as session:
        assert session.options()["external_data"] == {}
        data[:] = bytes(len(data))
        data.append(1)  # a bytearray that is looked into cannot grow
        np.testing.assert_array_equal(session.run([X])["y"], Y)
    with opened(form, path, external_data={"model.data": array}) as session:
        del array
        gc.collect()
        assert alive() is None
        np.testing.assert_array_equal(session.run([X])["y"], Y)


def test_a_refused_buffer_is_let_go_too(split):
    path, content = split
    data = bytearray(content[:4])
    with pytest.raises(ortx.OptionError):
        ortx.session(path, external_data={"model.data": data})
    data.append(1)


@needs_in_place
@EACH_FORM
def test_a_session_that_uses_buffers_in_place_keeps_them_until_it_is_closed(split, tmp_path, form):
    path, content = split
    data = bytearray(content)
    with opened(form, path, external_data={"model.data": data}, config_entries=IN_PLACE) as session:
        assert session.options()["external_data"] == {"model.data": data}
        with pytest.raises(BufferError):
            data.append(1)
        np.testing.assert_array_equal(session.run([X])["y"], Y)
    data.append(1)
    assert session.options()["external_data"] == {}

    view = mapped(content, tmp_path)
    session = opened(form, path, external_data={"model.data": view}, config_entries=IN_PLACE)
    with pytest.raises(BufferError):
        view.close()
    del session
    gc.collect()
    view.close()


@needs_in_place
def test_weights_that_are_used_in_place_are_not_copied(tmp_path):
    size = 64  # a weight of some bytes would be
    w = np.eye(size, dtype=np.float32)
    nodes, shape = [helper.make_node("MatMul", ["x", "w"], ["y"])], (1, size)
    model = models.build(
        nodes, [models.tensor("x", shape=shape)], [models.tensor("y", shape=shape)], [models.constant("w", w)]
    )
    path = tmp_path / "model.onnx"
    onnx.save(onnx.load_from_string(model), path, save_as_external_data=True, location="w", size_threshold=0)
    x, data = np.ones(shape, np.float32), w.copy()
    with ortx.session(path, external_data={"w": data}, config_entries=IN_PLACE) as session:
        np.testing.assert_array_equal(session.run([x])["y"], x)
        data *= 3  # nobody should, but so it is seen
        np.testing.assert_array_equal(session.run([x])["y"], 3 * x)


def test_a_library_that_cannot_use_buffers_in_place_says_so(run_python, runtime_wheel, split):
    path, content = split
    code = """
import sys, ortx
entries = {"session.use_external_initializer_file_buffers_directly": "1"}
try:
    ortx.session(sys.argv[1], external_data={"model.data": bytes.fromhex(sys.argv[2])}, config_entries=entries)
except ortx.NotSupported as error:
    print(error)
"""
    done = run_python(code, path, content.hex(), ORTX_LIBRARY=runtime_wheel("1.20.1"))
    assert (done.returncode, done.stderr) == (0, "")
    assert "needs ONNX Runtime 1.31 or newer" in done.stdout


NO_OPERATORS = """
#ifdef __GNUC__
__attribute__((visibility("default")))
#endif
void *RegisterCustomOps(void *options, const void *base) { return 0; }
"""


@EACH_FORM
def test_to_open_the_model_anew_the_buffers_have_to_be_kept(split, compile_shared, form):
    path, content = split
    library, data = compile_shared(NO_OPERATORS, "no_operators"), bytearray(content)
    with opened(form, path, external_data={"model.data": data}) as session:
        with pytest.raises(ortx.Error, match="was let go when the session had been opened; open it with keep_model"):
            session.register_custom_op_library(library)
        np.testing.assert_array_equal(session.run([X])["y"], Y)
    with opened(form, path, external_data={"model.data": data}, keep_model=True) as session:
        assert session.options()["external_data"] == {"model.data": data}
        session.register_custom_op_library(library)
        np.testing.assert_array_equal(session.run([X])["y"], Y)


# --- the buffer that a model itself is loaded from

MODEL = models.square()
SOURCES = {
    "bytearray": bytearray,
    "memoryview": lambda content: memoryview(bytearray(content)),
    "numpy": lambda content: np.frombuffer(content, np.uint8).copy(),
}


def test_a_bytearray_can_grow_as_soon_as_the_session_is_open():
    model = bytearray(MODEL)
    with ortx.session_from_bytes(model) as session:
        model.append(0)
        model[:] = b""
        np.testing.assert_array_equal(session.run([X])["y"], X * X)


def test_a_memoryview_and_a_map_can_be_closed_as_soon_as_the_session_is_open(tmp_path):
    with memoryview(bytearray(MODEL)) as view, ortx.session_from_bytes(view) as session:
        view.release()
        np.testing.assert_array_equal(session.run([X])["y"], X * X)
    model = mapped(MODEL, tmp_path)
    with ortx.session_from_bytes(model) as session:
        model.close()
        np.testing.assert_array_equal(session.run([X])["y"], X * X)


def test_an_array_goes_as_soon_as_the_session_is_open():
    model = np.frombuffer(MODEL, np.uint8).copy()
    alive = weakref.ref(model)
    with ortx.session_from_bytes(model) as session:
        del model
        gc.collect()
        assert alive() is None
        np.testing.assert_array_equal(session.run([X])["y"], X * X)


def test_with_keep_model_the_buffer_stays_and_is_not_looked_into():
    model = np.frombuffer(MODEL, np.uint8).copy()
    alive = weakref.ref(model)
    session = ortx.session_from_bytes(model, keep_model=True)
    del model
    gc.collect()
    assert alive() is not None
    del session
    gc.collect()
    assert alive() is None


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc/self/status, which only Linux has")
@pytest.mark.parametrize("kind", ["path", "bytes", "mmap", "numpy.memmap", "external bytes"])
def test_a_loaded_model_lies_in_memory_once(run_python, tmp_path, kind):
    random = np.random.default_rng(0)
    size = 2048
    weight = models.constant("w", random.standard_normal((size, size)))
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    shape = ("n", size)
    model = models.build([node], [models.tensor("x", shape=shape)], [models.tensor("y", shape=shape)], [weight])
    (tmp_path / "whole.onnx").write_bytes(model)
    onnx.save(
        onnx.load_from_string(model),
        tmp_path / "split.onnx",
        save_as_external_data=True,
        location="model.data",
        size_threshold=0,
    )
    code = """
import gc, json, mmap, re, sys
import numpy, ortx
kind, folder, tiny = sys.argv[1:]
def memory(what):
    with open("/proc/self/status") as file:
        return int(re.search(what + r":\\s+(\\d+) kB", file.read())[1]) * 1024
ortx.session_from_bytes(bytes.fromhex(tiny)).close()
gc.collect()
ortx.trim_memory()
before = memory("RssAnon"), memory("VmRSS")
data = None
whole, options = folder + "/whole.onnx", {"intra_op_num_threads": 1}
if kind == "path":
    session = ortx.session(whole, options)
elif kind == "external bytes":
    with open(folder + "/model.data", "rb") as file:
        data = file.read()
    session = ortx.session(folder + "/split.onnx", options, external_data={"model.data": data})
else:
    with open(whole, "rb") as file:
        if kind == "bytes":
            data = file.read()
        elif kind == "mmap":
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        else:
            data = numpy.memmap(whole, numpy.uint8, "r")
    session = ortx.session_from_bytes(data, options)
peak = memory("VmHWM") - before[1]
del data
gc.collect()
print(json.dumps([memory("RssAnon") - before[0], memory("VmRSS") - before[1], peak]))
"""
    done = run_python(code, kind, tmp_path, models.square().hex())
    assert (done.returncode, done.stderr) == (0, "")
    private, resident, peak = json.loads(done.stdout)
    once = 4 * size * size
    assert 0.9 * once < private < 1.3 * once
    assert resident < 1.4 * once
    assert peak < (3.5 if kind != "path" else 2.5) * once  # another copy, for a moment only, would be one more


@EACH_FORM
def test_only_buffers_that_are_kept_can_be_copied_and_none_travels(split, form):
    path, content = split
    with opened(form, path, external_data={"model.data": content}) as session:
        for copied in (copy.copy, pickle.dumps):
            with pytest.raises(
                ortx.NotPicklable, match="external_data was let go .* keep_model=True, or with the files"
            ):
                copied(session)
    with opened(form, path, external_data={"model.data": content}, keep_model=True) as session:
        with pytest.raises(ortx.NotPicklable, match="option 'external_data': its buffers are memory of this process"):
            pickle.dumps(session)
        with copy.copy(session) as other:
            assert other.run([X])[0].tolist() == Y.tolist()
