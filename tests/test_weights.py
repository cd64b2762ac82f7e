"""Weights that sessions share (`_core.src/weights.pxi`): the options ``initializers`` and ``prepacked_weights``."""

from __future__ import annotations

import gc
import json
import os
import sys
import threading
import weakref
from pathlib import Path

import models
import numpy as np
import onnx
import pytest
from onnx import helper

import ortx
from ortx import _core

X = np.eye(2, dtype=np.float32)
W = np.array([[1, 2], [3, 4]], np.float32)
UNPACKED = {"session.disable_prepacking": "1"}  # kernels then read the very weights, not what they made of them


def weighted(operator: str = "MatMul", weights: np.ndarray = W, overridable: bool = False) -> bytes:
    """y = x `operator` w, with w an initializer, or one that an input may override"""
    inputs = [models.tensor("x"), models.tensor("w", shape=weights.shape)]
    return models.build(
        [helper.make_node(operator, ["x", "w"], ["y"])],
        inputs if overridable else inputs[:1],
        [models.tensor("y")],
        [models.constant("w", weights)],
    )


def appended(weights: np.ndarray) -> bytes:
    """y = w and then x, both of any type"""
    dtype, shape = weights.dtype.name, (None, *weights.shape[1:])
    return models.build(
        [helper.make_node("Concat", ["w", "x"], ["y"], axis=0)],
        [models.tensor("x", dtype, shape)],
        [models.tensor("y", dtype, shape)],
        [models.constant("w", weights, dtype)],
    )


def several(**weights: np.ndarray) -> bytes:
    """y = x times each of these"""
    names = ["x", *(f"t{i}" for i in range(1, len(weights))), "y"]
    return models.build(
        [helper.make_node("Mul", [names[i], name], [names[i + 1]]) for i, name in enumerate(weights)],
        [models.tensor("x")],
        [models.tensor("y")],
        [models.constant(name, value, value.dtype.name) for name, value in weights.items()],
    )


def opened(form: str, model: bytes, folder: Path, **options) -> ortx.Session:
    if form == "bytes":
        return ortx.session_from_bytes(model, **options)
    (folder / "model.onnx").write_bytes(model)
    return ortx.session(folder / "model.onnx", **options)


EACH_FORM = pytest.mark.parametrize("form", ["path", "bytes"])
FUNCTION = {"path": "ortx.session", "bytes": "ortx.session_from_bytes"}


# --- the caller's array is the one that is used


@EACH_FORM
@pytest.mark.parametrize(
    ("operator", "options"),
    [("MatMul", {"config_entries": UNPACKED}), ("Mul", {}), ("Mul", {"prepacked_weights": ortx.PrepackedWeights})],
    ids=["MatMul, not packed", "Mul", "Mul, with a container"],
)
def test_an_initializer_is_used_where_it_is(tmp_path, form, operator, options):
    options = {name: option() if callable(option) else option for name, option in options.items()}
    w = W.copy()
    with opened(form, weighted(operator), tmp_path, initializers={"w": w}, **options) as session:
        expected = X @ W if operator == "MatMul" else X * W
        np.testing.assert_array_equal(session.run([X])["y"], expected)
        w *= 10
        np.testing.assert_array_equal(session.run([X])["y"], expected * 10)
        w[0, 0] = -1
        assert session.run([X])["y"][0, 0] == -1


def test_two_sessions_use_one_array():
    w = W.copy()
    with (
        ortx.session_from_bytes(weighted("Mul"), initializers={"w": w}) as first,
        ortx.session_from_bytes(weighted("Add"), initializers={"w": w}) as second,
    ):
        w += 1
        np.testing.assert_array_equal(first.run([X])["y"], X * (W + 1))
        np.testing.assert_array_equal(second.run([X])["y"], X + (W + 1))


def test_only_the_initializers_that_were_given_are_replaced():
    a, b = W.copy(), W.copy()
    with ortx.session_from_bytes(several(a=a, b=b), initializers={"b": b}) as session:
        a *= 10
        np.testing.assert_array_equal(session.run([X])["y"], X * W * W)
        b *= 10
        np.testing.assert_array_equal(session.run([X])["y"], X * W * W * 10)


@pytest.mark.parametrize("dtype", models.NUMPY_TYPES)
def test_initializers_of_every_element_type_are_used_where_they_are(dtype):
    w = np.array([[0, 1], [1, 1]], dtype)
    with ortx.session_from_bytes(appended(w), initializers={"w": w}) as session:
        x = np.zeros((1, 2), dtype)
        np.testing.assert_array_equal(session.run([x])["y"], np.concatenate([w, x]), strict=True)
        w[0, 0], w[1, 1] = 1, 0
        np.testing.assert_array_equal(session.run([x])["y"], np.concatenate([w, x]), strict=True)


def test_an_initializer_without_dimensions_is_used_where_it_is():
    w = np.array(3, np.float32)
    with ortx.session_from_bytes(weighted("Mul", w), initializers={"w": w}) as session:
        np.testing.assert_array_equal(session.run([X])["y"], X * 3)
        w[...] = 5
        np.testing.assert_array_equal(session.run([X])["y"], X * 5)


@pytest.mark.parametrize("shape", [(0, 2), (0, 0, 3)])
def test_an_initializer_without_elements_is_taken(shape):
    w = np.empty(shape, np.float32)
    x = np.ones((1, *shape[1:]), np.float32)
    with ortx.session_from_bytes(appended(w), initializers={"w": w}) as session:
        assert session.run([x])["y"].shape == x.shape


def test_not_a_number_is_equal_to_itself_here():
    w = np.array([[np.nan, np.inf], [-np.inf, -0.0]], np.float32)
    with ortx.session_from_bytes(weighted("Add", w), initializers={"w": w}) as session:
        np.testing.assert_array_equal(session.run([X * 0])["y"], w)


class OnlyDlpack:
    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def __dlpack__(self, **keywords):
        return self.array.__dlpack__(**keywords)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


# What exports the memory of an array that is in a file and here.
EXPORTERS = {
    "an array": lambda array, _: array,
    "a view of a part": lambda array, _: array[:],
    "a read-only array": lambda array, _: read_only(array),
    "a subclass": lambda array, _: array.view(type("Weights", (np.ndarray,), {})),
    "a tensor": lambda array, _: ortx.tensor(array),
    "a memoryview": lambda array, _: memoryview(array),
    "a read-only memoryview": lambda array, _: memoryview(read_only(array)),
    "DLPack": lambda array, _: OnlyDlpack(array),
    "DLPack alone": lambda array, _: type("Exporter", (), {"__dlpack__": lambda _, **k: array.__dlpack__(**k)})(),
    "numpy.memmap": lambda array, path: np.memmap(path, np.float32, "r", path.stat().st_size - 16, (2, 2)),
    "numpy.load, mapped": lambda array, path: np.load(path, mmap_mode="r"),
}


def read_only(array: np.ndarray) -> np.ndarray:
    view = array.view()
    view.flags.writeable = False
    return view


@pytest.mark.parametrize("exporter", EXPORTERS)
def test_whatever_exports_memory_is_used_without_a_copy(tmp_path, exporter):
    path = tmp_path / "w.npy"
    np.save(path, W)
    array = np.load(path, mmap_mode="r+")
    value = EXPORTERS[exporter](array, path)
    with ortx.session_from_bytes(weighted("Mul"), initializers={"w": value}) as session:
        np.testing.assert_array_equal(session.run([X])["y"], X * W)
        array[...] = 7  # also in the file, and wherever that is mapped
        np.testing.assert_array_equal(session.run([X])["y"], X * 7)


# --- and lives as long as the session


@EACH_FORM
def test_the_session_keeps_the_array_and_drops_it_with_itself(tmp_path, form):
    before = _core._live_handles()
    w = W.copy()
    alive = weakref.ref(w)
    session = opened(form, weighted("Mul"), tmp_path, initializers={"w": w})
    assert _core._live_handles() == before | {"session": before["session"] + 1}, "the value was for opening only"
    del w
    gc.collect()
    assert alive() is not None
    np.testing.assert_array_equal(session.run([X])["y"], X * W)
    del session
    gc.collect()
    assert alive() is None
    assert _core._live_handles() == before


def test_a_memory_map_that_only_the_session_holds_stays_mapped(tmp_path):
    path = tmp_path / "w.npy"
    np.save(path, W)
    with ortx.session_from_bytes(
        weighted(), initializers={"w": np.load(path, mmap_mode="r")}, config_entries=UNPACKED
    ) as session:
        gc.collect()
        np.testing.assert_array_equal(session.run([X])["y"], W)


def test_an_output_keeps_its_own_memory_when_the_session_and_the_array_go():
    w = W.copy()
    session = ortx.session_from_bytes(weighted("Mul"), initializers={"w": w})
    y = session.run([np.ones((2, 2), np.float32)])["y"]
    session.close()
    del session, w
    gc.collect()
    np.testing.assert_array_equal(y, W)


def test_the_callers_mapping_may_change_afterwards():
    w, given = W.copy(), {}
    given["w"] = w
    with ortx.session_from_bytes(weighted("Mul"), initializers=given) as session:
        given["w"] = None
        given.clear()
        gc.collect()
        np.testing.assert_array_equal(session.run([X])["y"], X * W)


# --- refusals

NO_SUCH = "the model has no such initializer"
EXPECTED = "expected float32 of shape (2, 2), as the model has it"
OTHER_VALUES = "holds other values than the model; initializers are for sharing what the model holds"
NO_COPY = f"got an array that is not C-contiguous and aligned, and a copy would not be shared; {EXPECTED}"
ONE_BIT = W.copy()
ONE_BIT.view(np.uint8).flat[-4] ^= 1


def misaligned() -> np.ndarray:
    array = np.frombuffer(bytearray(17), np.uint8)[1:].view(np.float32).reshape(2, 2)
    array[...] = W
    return array


REFUSED = {
    "float64": (W.astype(np.float64), f"got float64 of shape (2, 2); {EXPECTED}"),
    "int32": (W.view(np.int32), f"got int32 of shape (2, 2); {EXPECTED}"),
    "objects": (W.astype(object), f"got object of shape (2, 2); {EXPECTED}"),
    "structure": (W.view([("a", np.float32)]), f"of shape (2, 2); {EXPECTED}"),
    "another rank": (W.reshape(4), f"got float32 of shape (4,); {EXPECTED}"),
    "another shape": (np.ones((2, 3), np.float32), f"got float32 of shape (2, 3); {EXPECTED}"),
    "no dimensions": (np.array(1, np.float32), f"got float32 of shape (); {EXPECTED}"),
    "byte order": (
        W.astype(W.dtype.newbyteorder()),
        f"got {'big' if sys.byteorder == 'little' else 'little'}-endian float32 of shape (2, 2); {EXPECTED}",
    ),
    "Fortran order": (np.asfortranarray(W), NO_COPY),
    "with gaps": (np.repeat(W, 2, axis=1)[:, ::2], NO_COPY),
    "backwards": (W[::-1].copy()[::-1], NO_COPY),
    "misaligned": (misaligned(), NO_COPY),
    "list": (W.tolist(), f"got [[1.0, 2.0], [3.0, 4.0]] (list); {EXPECTED}, in an array or buffer"),
    "string": ("w", f"got 'w' (str); {EXPECTED}, in an array or buffer"),
    "number": (1.5, f"got 1.5 (float); {EXPECTED}, in an array or buffer"),
    "numpy's number": (np.float32(1.5), f"(float32); {EXPECTED}, in an array or buffer"),
    "None": (None, f"got None (NoneType); {EXPECTED}, in an array or buffer"),
    "__array__ alone": (type("Copies", (), {"__array__": lambda *_, **__: W})(), f"{EXPECTED}, in an array or buffer"),
    "optional": (ortx.optional(W), f"{EXPECTED}, in an array or buffer"),
    "bytes": (W.tobytes(), f"got uint8 of shape (16,); {EXPECTED}"),
    "other values": (W + 1, OTHER_VALUES),
    "one other bit": (ONE_BIT, OTHER_VALUES),
    "tensor of other values": (ortx.tensor(W + 1), OTHER_VALUES),
    "transposed": (W.T.copy(), OTHER_VALUES),
}


@EACH_FORM
@pytest.mark.parametrize("case", REFUSED)
def test_an_array_that_does_not_fit_the_model_is_refused(tmp_path, form, case):
    value, problem = REFUSED[case]
    before = _core._live_handles()
    written = tmp_path / "optimized.onnx"
    with pytest.raises(ortx.OptionError) as caught:
        opened(form, weighted(), tmp_path, initializers={"w": value}, optimized_model_path=written)
    message = str(caught.value)
    assert message.startswith(f"{FUNCTION[form]}: option 'initializers'['w']: ")
    assert message.endswith(problem)
    assert "\n" not in message
    assert _core._live_handles() == before
    assert not written.exists()


@pytest.mark.parametrize(
    ("name", "weights", "problem"),
    [
        ("weight", ["weights", "bias"], f"{NO_SUCH}; did you mean 'weights'? (it has weights, bias)"),
        ("q", ["weights", "bias"], f"{NO_SUCH} (it has weights, bias)"),
        ("Weights", ["weights"], f"{NO_SUCH}; did you mean 'weights'? (it has weights)"),
        ("x", ["weights"], f"{NO_SUCH} (it has weights)"),
        ("", ["w"], f"{NO_SUCH} (it has w)"),
        ("w\0", ["v"], f"{NO_SUCH} (it has v)"),
        ("\ud800", ["w"], f"{NO_SUCH} (it has w)"),
        ("w", [], f"{NO_SUCH} (it has none)"),
        ("zz", [f"w{i}" for i in range(20)], f"{NO_SUCH} (it has {', '.join(f'w{i}' for i in range(20))})"),
        ("zz", [f"w{i}" for i in range(21)], f"{NO_SUCH} (it has 21)"),
        ("ww20", [f"w{i}" for i in range(21)], f"{NO_SUCH}; did you mean 'w20'? (it has 21)"),
    ],
)
def test_a_name_that_the_model_does_not_have_is_refused_with_the_nearest(name, weights, problem):
    model = several(**dict.fromkeys(weights, W)) if weights else models.square()
    with pytest.raises(ortx.OptionError) as caught:
        ortx.session_from_bytes(model, initializers={name: W})
    assert str(caught.value) == f"ortx.session_from_bytes: option 'initializers'[{name!r}]: {problem}"


def test_an_initializer_of_a_subgraph_is_none_of_the_model():
    graph = helper.make_graph([], "then", [], [models.tensor("inner", shape=(2, 2))], [models.constant("inner", W)])
    model = models.build(
        [helper.make_node("If", ["c"], ["y"], then_branch=graph, else_branch=graph)],
        [models.tensor("c", "bool", ())],
        [models.tensor("y", shape=(2, 2))],
    )
    with pytest.raises(ortx.OptionError, match=r"\['inner'\]: the model has no such initializer \(it has none\)"):
        ortx.session_from_bytes(model, initializers={"inner": W})


def test_an_initializer_of_a_type_that_numpy_has_not_is_refused():
    strings = helper.make_tensor("w", onnx.TensorProto.STRING, [1], [b"a"])
    value = helper.make_tensor_value_info("y", onnx.TensorProto.STRING, [1])
    model = models.build([helper.make_node("Identity", ["w"], ["y"])], [], [value], [strings])
    with pytest.raises(ortx.OptionError) as caught:
        ortx.session_from_bytes(model, initializers={"w": np.array(["a"])})
    assert str(caught.value) == (
        "ortx.session_from_bytes: option 'initializers'['w']: is of an element type that cannot be shared"
    )


@EACH_FORM
def test_everything_that_is_wrong_is_in_one_message(tmp_path, form):
    given = {"a": W + 1, "b": W, "nothing": W, "c": W.astype(np.int8), "d": "d", "e": W.T}
    with pytest.raises(ortx.OptionError) as caught:
        opened(form, several(a=W, b=W, c=W, d=W, e=W), tmp_path, initializers=given)
    begin = f"{FUNCTION[form]}: option 'initializers'"
    assert str(caught.value).split("\n") == [
        f"{begin}['a']: {OTHER_VALUES}",
        f"{begin}['nothing']: {NO_SUCH} (it has a, b, c, d, e)",
        f"{begin}['c']: got int8 of shape (2, 2); {EXPECTED}",
        f"{begin}['d']: got 'd' (str); {EXPECTED}, in an array or buffer",
        f"{begin}['e']: {NO_COPY}",
    ]


def test_what_was_refused_is_not_kept():
    good, bad = W.copy(), W + 1
    alive = weakref.ref(good), weakref.ref(bad)
    with pytest.raises(ortx.OptionError):
        ortx.session_from_bytes(several(a=W, b=W), initializers={"a": good, "b": bad})
    del good, bad
    gc.collect()
    assert [reference() for reference in alive] == [None, None]


def test_nothing_is_kept_if_onnx_runtime_refuses_the_model():
    before = _core._live_handles()
    w = W.copy()
    alive = weakref.ref(w)
    with pytest.raises(ortx.Error):
        ortx.session_from_bytes(weighted("NoSuchOperator"), initializers={"w": w})
    del w
    gc.collect()
    assert alive() is None
    assert _core._live_handles() == before


@EACH_FORM
def test_a_model_in_onnx_runtimes_own_format_is_refused(tmp_path, form):
    path = tmp_path / "model.ort"
    with ortx.session_from_bytes(
        weighted(), optimized_model_path=path, config_entries={"session.save_model_format": "ORT"}
    ) as session:
        np.testing.assert_array_equal(session.run([X])["y"], W)
    call, model = (ortx.session, path) if form == "path" else (ortx.session_from_bytes, path.read_bytes())
    with call(model) as session:
        np.testing.assert_array_equal(session.run([X])["y"], W)
    with pytest.raises(ortx.NotSupported) as caught:
        call(model, initializers={"w": W})
    assert str(caught.value) == (
        f"{FUNCTION[form]}: option 'initializers': needs an .onnx model; this one is in ORT's own format"
    )


@EACH_FORM
@pytest.mark.parametrize("content", [b"This is no model.\n" * 20, weighted()[:-3], b"\xff"], ids=len)
def test_what_is_no_model_is_refused_as_one(tmp_path, form, content):
    with pytest.raises(ortx.InvalidProtobuf, match="no ONNX model, or a damaged one"):
        opened(form, content, tmp_path, initializers={"w": W})


# --- weights in another file


def outside(folder: Path, weights: np.ndarray = W) -> Path:
    """Write a model whose weights stand in a file next to it, behind some others; return the model's path."""
    folder.mkdir(exist_ok=True)
    (folder / "model.bin").write_bytes(bytes(64) + weights.tobytes() + b"and more")
    model = onnx.load_model_from_string(weighted("Mul", weights))
    (tensor,) = model.graph.initializer
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in {"location": "model.bin", "offset": 64, "length": weights.nbytes}.items():
        tensor.external_data.add(key=key, value=str(value))
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    return folder / "model.onnx"


# Where the model is, seen from the working directory.
PLACES = {
    "absolute": lambda path: (path.parents[1], path),
    "relative": lambda path: (path.parents[1], Path("folder/model.onnx")),
    "from a folder beside it": lambda path: (path.parents[1] / "beside", Path("../folder/model.onnx")),
    "in its folder": lambda path: (path.parent, Path("model.onnx")),
}


@pytest.mark.parametrize("place", PLACES)
def test_weights_in_a_file_next_to_the_model_are_compared_and_replaced(tmp_path, monkeypatch, place):
    (tmp_path / "beside").mkdir()
    folder, path = PLACES[place](outside(tmp_path / "folder"))
    monkeypatch.chdir(folder)
    w = W.copy()
    with ortx.session(path, initializers={"w": w}) as session:
        np.testing.assert_array_equal(session.run([X])["y"], X * W)
        w *= 10
        np.testing.assert_array_equal(session.run([X])["y"], X * W * 10)
    with pytest.raises(ortx.OptionError, match=r"'initializers'\['w'\]: holds other values than the model"):
        ortx.session(path, initializers={"w": w})


def test_weights_of_a_model_from_memory_are_looked_for_in_the_folder_that_is_allowed(tmp_path, monkeypatch):
    content = outside(tmp_path / "folder").read_bytes()
    folder = {"config_entries": {"session.model_external_initializers_file_folder_path": str(tmp_path / "folder")}}
    anywhere = {"allow_external_data_outside_model_folder": True}  # then it is the working directory
    for options, directory in ((folder, tmp_path), (anywhere, tmp_path / "folder")):
        monkeypatch.chdir(directory)
        with ortx.session_from_bytes(content, options, initializers={"w": W}) as session:
            np.testing.assert_array_equal(session.run([X])["y"], X * W)
        with pytest.raises(ortx.OptionError, match="holds other values"):
            ortx.session_from_bytes(content, options, initializers={"w": W + 1})


def test_a_view_of_the_very_file_takes_the_place_of_the_weights_in_it(tmp_path):
    path = outside(tmp_path / "folder")
    w = np.memmap(path.with_suffix(".bin"), np.float32, "r+", 64, (2, 2))
    with ortx.session(path, initializers={"w": w}) as session:
        w[0, 0] = 9
        assert session.run([X])["y"][0, 0] == 9


def test_a_missing_file_of_weights_is_what_onnx_runtime_makes_of_it(tmp_path):
    path = outside(tmp_path / "folder")
    path.with_suffix(".bin").unlink()
    with pytest.raises(ortx.Error) as without:
        ortx.session(path)
    assert "model.bin" in str(without.value)
    try:
        session = ortx.session(path, initializers={"w": W})  # it does not look for what it was given
    except ortx.Error as error:
        assert not isinstance(error, ortx.OptionError)  # noqa: PT017 - one of two good ends
    else:
        with session:
            np.testing.assert_array_equal(session.run([X])["y"], X * W)


# --- initializers that a call may override


@EACH_FORM
def test_an_overridable_initializer_is_shared_and_still_overridden(tmp_path, form):
    w = W.copy()
    with opened(form, weighted("Mul", overridable=True), tmp_path, initializers={"w": w}) as session:
        assert session.overridable_initializer_names() == ("w",)
        w *= 10
        np.testing.assert_array_equal(session.run([X])["y"], X * W * 10)
        np.testing.assert_array_equal(session.run({"x": X, "w": W})["y"], X * W)
        np.testing.assert_array_equal(session.run([X])["y"], X * W * 10)


# --- the container


@EACH_FORM
@pytest.mark.parametrize(
    "wrong", [0, "shared", W, object(), ortx.PrepackedWeights, {"w": W}], ids=lambda wrong: type(wrong).__name__
)
def test_anything_but_a_container_is_refused(tmp_path, form, wrong):
    with pytest.raises(ortx.OptionTypeError) as caught:
        opened(form, weighted(), tmp_path, prepacked_weights=wrong)
    assert str(caught.value).startswith(f"{FUNCTION[form]}: option 'prepacked_weights': got ")
    assert str(caught.value).endswith(f"({type(wrong).__name__}); expected an ortx.PrepackedWeights()")


@pytest.mark.parametrize("call", [lambda make: make(1), lambda make: make(w=1), lambda make: make(None)], ids=range(3))
def test_a_container_takes_no_arguments(call):
    before = _core._live_handles()
    with pytest.raises(TypeError):
        call(ortx.PrepackedWeights)
    gc.collect()
    assert _core._live_handles() == before


def test_containers_are_counted():
    before = _core._live_handles()
    containers = [ortx.PrepackedWeights() for _ in range(3)]
    assert _core._live_handles() == before | {"prepacked_weights": before["prepacked_weights"] + 3}
    del containers[:2]
    assert _core._live_handles()["prepacked_weights"] == before["prepacked_weights"] + 1
    del containers
    assert _core._live_handles() == before


LARGE = np.random.default_rng(7).integers(-4, 5, (160, 160)).astype(np.float32)  # exact in any order of summation
ROW = np.arange(160, dtype=np.float32).reshape(1, 160)


def large() -> bytes:
    return models.build(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        [models.tensor("x", shape=(1, 160))],
        [models.tensor("y", shape=(1, 160))],
        [models.constant("w", LARGE)],
    )


@EACH_FORM
def test_the_container_lives_as_long_as_a_session_that_uses_it(tmp_path, form):
    before = _core._live_handles()["prepacked_weights"]
    container = ortx.PrepackedWeights()
    options = {"initializers": {"w": LARGE}, "prepacked_weights": container}
    first, second = (opened(form, large(), tmp_path, **options) for _ in range(2))
    del container, options
    gc.collect()
    assert _core._live_handles()["prepacked_weights"] == before + 1
    np.testing.assert_array_equal(first.run([ROW])["y"], ROW @ LARGE)
    del first
    gc.collect()
    assert _core._live_handles()["prepacked_weights"] == before + 1
    np.testing.assert_array_equal(second.run([ROW])["y"], ROW @ LARGE)
    del second
    gc.collect()
    assert _core._live_handles()["prepacked_weights"] == before


@EACH_FORM
def test_a_closed_session_keeps_neither_its_initializers_nor_its_container(tmp_path, form):
    before = _core._live_handles()
    w = LARGE.copy()
    alive = weakref.ref(w)
    session = opened(form, large(), tmp_path, initializers={"w": w}, prepacked_weights=ortx.PrepackedWeights())
    del w
    gc.collect()
    assert alive() is not None
    assert _core._live_handles()["prepacked_weights"] == before["prepacked_weights"] + 1
    outputs = session.run([ROW])
    session.close()
    gc.collect()
    assert alive() is None
    assert _core._live_handles()["prepacked_weights"] == before["prepacked_weights"]
    assert session.closed
    assert session.options()["initializers"] == {}
    assert session.options()["prepacked_weights"] is None
    np.testing.assert_array_equal(outputs["y"], ROW @ LARGE)


@EACH_FORM
def test_results_are_right_right_after_other_sessions_were_closed(tmp_path, form):
    options = {"initializers": {"w": LARGE}, "prepacked_weights": ortx.PrepackedWeights()}
    sessions = [opened(form, large(), tmp_path, **options) for _ in range(4)]
    options.clear()
    while sessions:
        sessions.pop(0).close()
        gc.collect()
        filler = [np.full((160, 160), np.nan, np.float32) for _ in range(8)]  # where freed memory would be
        for session in sessions:
            np.testing.assert_array_equal(session.run([ROW])["y"], ROW @ LARGE)
        del filler


def test_a_container_is_used_by_models_of_different_weights():
    container = ortx.PrepackedWeights()
    arrays = [LARGE, LARGE.T.copy(), LARGE * 2]
    contents = []
    for array in arrays:
        model = onnx.load_model_from_string(large())
        model.graph.initializer[0].CopyFrom(models.constant("w", array))
        contents.append(model.SerializeToString())
    sessions = [
        ortx.session_from_bytes(content, initializers={"w": array}, prepacked_weights=container)
        for content, array in zip(contents, arrays, strict=True)
    ]
    for session, array in zip(sessions, arrays, strict=True):
        np.testing.assert_array_equal(session.run([ROW])["y"], ROW @ array)


@pytest.mark.parametrize("options", [{}, {"config_entries": UNPACKED}], ids=["packed", "not packed"])
def test_a_container_without_initializers_changes_no_result(options):
    container = ortx.PrepackedWeights()
    for _ in range(2):
        with ortx.session_from_bytes(large(), prepacked_weights=container, **options) as session:
            np.testing.assert_array_equal(session.run([ROW])["y"], ROW @ LARGE)


def test_threads_open_run_and_close_sessions_with_one_container():
    content, results, errors = large(), [], []
    options = {"initializers": {"w": LARGE}, "prepacked_weights": ortx.PrepackedWeights(), "intra_op_num_threads": 1}
    start = threading.Barrier(6)

    def work() -> None:
        try:
            start.wait()
            for _ in range(8):
                with ortx.session_from_bytes(content, **options) as session:
                    results.append(session.run([ROW])["y"])
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(results) == 48
    assert all((result == ROW @ LARGE).all() for result in results)


# --- what it saves

MEASURE = """
import json, sys
import numpy as np
import ortx

def anonymous():  # memory that is no file's
    with open("/proc/self/smaps_rollup") as file:
        return sum(int(line.split()[1]) for line in file if line.startswith("Anonymous:"))

tiny, model, weights, kind = sys.argv[1:]
options = {"intra_op_num_threads": 1}
first = ortx.session(tiny, options)  # with it comes the environment
first.run([[[1.0, 2.0]]])
if kind != "neither":
    options["prepacked_weights"] = ortx.PrepackedWeights()
if kind == "both":
    options["initializers"] = {"w": np.load(weights, mmap_mode="r")}
sessions, growth = [], []
for _ in range(2):
    before = anonymous()
    sessions.append(ortx.session(model, options))
    growth.append(anonymous() - before)
x = np.ones((1, 3200), np.float32)
assert (sessions[0].run([x])["y"] == sessions[1].run([x])["y"]).all()
print(json.dumps(growth))
"""


@pytest.mark.skipif(
    not os.access("/proc/self/smaps_rollup", os.R_OK), reason="needs /proc/self/smaps_rollup (Linux), to measure memory"
)
@pytest.mark.parametrize(
    ("kind", "least", "most"), [("both", -0.15, 0.15), ("container", 0.6, 1.6), ("neither", 0.6, 1.6)]
)
def test_a_second_session_takes_memory_for_weights_only_if_they_are_not_shared(tmp_path, run_python, kind, least, most):
    weights = np.random.default_rng(3).random((3200, 3200), np.float32)
    np.save(tmp_path / "w.npy", weights)
    content = models.build(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        [models.tensor("x", shape=("n", 3200))],
        [models.tensor("y", shape=("n", 3200))],
        [models.constant("w", weights)],
    )
    (tmp_path / "model.onnx").write_bytes(content)
    (tmp_path / "tiny.onnx").write_bytes(models.square())
    files = (tmp_path / name for name in ("tiny.onnx", "model.onnx", "w.npy"))
    done = run_python(MEASURE, *files, kind)
    assert done.returncode == 0, done.stderr
    first, second = json.loads(done.stdout)
    assert first > 0.8 * weights.nbytes / 1024, "the weights are packed once at least"
    assert least * first < second < most * first
