"""The option ``fast_zip_map``: dictionaries that ortx makes of a tensor, and those that ONNX Runtime's ZipMap makes."""

from __future__ import annotations

import json
import random
import struct
from pathlib import Path

import models
import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

import ortx
from ortx import modelfile, zipmaps

FLOAT, INT64, STRING = TensorProto.FLOAT, TensorProto.INT64, TensorProto.STRING
ML = "ai.onnx.ml"
INTEGERS, STRINGS = {"classlabels_int64s": [3, 1, 2]}, {"classlabels_strings": ["c", "a", "b"]}
X = np.array([[0.5, 0.25, 0.125], [1, 2, 3]], np.float32)


# --- models


def build(nodes, inputs, outputs, initializers=(), **parts) -> bytes:
    graph = helper.make_graph(list(nodes), "graph", inputs, outputs, list(initializers), **parts)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid(ML, 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()


def tensor(name: str, shape=None, element_type: int = FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, element_type, shape)


def dictionaries(name: str, key_type: int = INT64) -> onnx.ValueInfoProto:
    of_floats = helper.make_tensor_type_proto(FLOAT, None)
    return helper.make_value_info(
        name, helper.make_sequence_type_proto(helper.make_map_type_proto(key_type, of_floats))
    )


def node(op: str, inputs: str, outputs: str, **attributes) -> onnx.NodeProto:
    return helper.make_node(op, inputs.split(), outputs.split(), **attributes)


def zip_map(source: str, target: str, **labels) -> onnx.NodeProto:
    return node("ZipMap", source, target, domain=ML, **(labels or INTEGERS))


def key_type_of(labels: dict) -> int:
    return STRING if "classlabels_strings" in labels else INT64


def classifier(labels: dict = INTEGERS) -> bytes:
    """y = the dictionaries of x"""
    nodes = [node("Identity", "x", "t"), zip_map("t", "y", **labels)]
    return build(nodes, [tensor("x")], [dictionaries("y", key_type_of(labels))])


def label_and_probabilities() -> bytes:
    """label = where x is largest; y = the dictionaries of x; doubled = 2 x; words = the dictionaries of that"""
    nodes = [
        node("Identity", "x", "t"),
        node("ArgMax", "x", "label", axis=1, keepdims=0),
        zip_map("t", "y"),
        node("Add", "t t", "doubled"),
        node("Identity", "doubled", "u"),
        zip_map("u", "words", **STRINGS),
    ]
    outputs = [
        tensor("label", element_type=INT64),
        dictionaries("y"),
        tensor("doubled"),
        dictionaries("words", STRING),
    ]
    return build(nodes, [tensor("x")], outputs)


def removed(model: bytes) -> list[str]:
    """Return the outputs whose ZipMap is left out."""
    _, found = zipmaps.without_zip_maps(memoryview(model))
    return [made.output for made in found]


def pair(model: bytes, **options) -> tuple[ortx.Session, ortx.Session]:
    """Open a model with ortx making the dictionaries, and with ONNX Runtime making them."""
    return tuple(
        ortx.session_from_bytes(model, fast_zip_map=fast, intra_op_num_threads=2, **options) for fast in (True, False)
    )


@pytest.fixture(scope="module")
def both():
    fast, slow = pair(label_and_probabilities())
    with fast, slow:
        yield fast, slow


# --- what is the same


def facts(value: object) -> object:
    """Return what equal values have in common, order and bits included."""
    if isinstance(value, np.ndarray):
        return value.dtype, value.shape, value.tobytes()
    if isinstance(value, list):
        return [facts(item) for item in value]
    if isinstance(value, dict):
        return [(type(key), key, facts(item)) for key, item in value.items()]
    if isinstance(value, float):
        return type(value), struct.pack("d", value)
    return type(value), value


def facts_of(outputs: ortx.Outputs) -> list[tuple[str, object]]:
    return [(name, facts(value)) for name, value in outputs.items()]


def assert_same(model: bytes, x: np.ndarray) -> list[dict]:
    """Run a model both ways; return its first output."""
    fast, slow = pair(model)
    with fast, slow:
        ours, theirs = fast.run([x]), slow.run([x])
        assert facts_of(ours) == facts_of(theirs)
        assert [fast.output_info(i) for i in range(fast.output_count())] == [
            slow.output_info(i) for i in range(slow.output_count())
        ]
        return ours[0]


def opened(model: bytes | Path, **options) -> ortx.Session:
    return (ortx.session if isinstance(model, Path) else ortx.session_from_bytes)(model, **options)


def ran_zip_map(model: bytes | Path, folder: Path, x: np.ndarray = X, **options) -> bool:
    """Whether a run of the model has a ZipMap node, by ONNX Runtime's own profile."""
    options["profile_file_prefix"] = folder / "profile"
    with opened(model, **options) as session:
        session.run([x])
        events = json.loads(Path(session.end_profiling()).read_text())
    nodes = {event["args"]["op_name"] for event in events if "op_name" in event.get("args", {})}
    assert nodes, "the profile has no nodes"
    return "ZipMap" in nodes


LABELS = {
    "integers": INTEGERS,
    "strings": STRINGS,
    "negative integers": {"classlabels_int64s": [0, -1, 5, -(2**63), 2**63 - 1, -7]},
    "one integer": {"classlabels_int64s": [9]},
    "one string": {"classlabels_strings": ["only"]},
    "an empty string": {"classlabels_strings": ["b", "", "a"]},
    "only an empty string": {"classlabels_strings": [""]},
    "not ASCII": {"classlabels_strings": ["z", "é", "ü", "中文", "𝄞", "\uffff", "a", "Z"]},
    "NULs": {"classlabels_strings": ["b\0", "b", "\0", "a"]},
    "no UTF-8": {"classlabels_strings": [b"b\xff", b"\x80", b"a"]},
    "duplicate integers": {"classlabels_int64s": [3, 1, 3, 1, 2]},
    "duplicate strings": {"classlabels_strings": ["b", "", "b", "a", ""]},
    "sorted integers": {"classlabels_int64s": list(range(20))},
    "integers in the order of strings": {"classlabels_int64s": [10, 9, 100, 1]},
    "numerals": {"classlabels_strings": ["10", "9", "100", "-1"]},
}


@pytest.mark.parametrize("rows", [0, 1, 2, 1000])
@pytest.mark.parametrize("kind", LABELS)
def test_the_dictionaries_are_the_ones_that_onnx_runtime_makes(kind, rows):
    ((_, labels),) = LABELS[kind].items()
    model, width = classifier(LABELS[kind]), len(labels)
    assert removed(model) == ["y"]
    x = np.random.default_rng(0).standard_normal((rows, width)).astype(np.float32)
    made = assert_same(model, x)
    assert len(made) == rows
    column_of = {label: column for column, label in enumerate(labels)}
    for row, dictionary in zip(x, made, strict=True):
        assert list(dictionary.values()) == [
            row[column_of[key if key in column_of else key.encode("utf-8", "surrogateescape")]] for key in dictionary
        ]
        assert len(dictionary) == len(column_of)


@pytest.mark.parametrize("kind", LABELS)
def test_a_tensor_of_one_dimension_is_one_row(kind):
    ((_, labels),) = LABELS[kind].items()
    (made,) = assert_same(classifier(LABELS[kind]), np.arange(len(labels), dtype=np.float32))
    assert len(made) == len(set(labels))


def test_every_float_keeps_its_bits():
    limits = np.finfo(np.float32)
    x = np.array(
        [
            [np.nan, np.inf, -np.inf],
            [0.0, -0.0, 1e-45],
            [limits.max, limits.min, limits.tiny],
            [0.1, 1 / 3, -np.nan],
        ],
        np.float32,
    )
    made = assert_same(classifier(), x)
    assert [list(row) for row in made] == [[1, 2, 3]] * 4
    assert facts([row[3] for row in made]) == facts([float(value) for value in x[:, 0]])


def test_the_order_of_the_keys_is_that_of_their_bytes():
    labels = ["\uffff", "𝄞", "a", "B", "", "é"]
    (made,) = assert_same(classifier({"classlabels_strings": labels}), np.zeros((1, 6), np.float32))
    assert list(made) == sorted(labels, key=str.encode) != sorted(labels)[::-1]
    assert list(made)[-2:] == ["\uffff", "𝄞"]
    (made,) = assert_same(classifier({"classlabels_int64s": [10, -1, 9]}), np.zeros((1, 3), np.float32))
    assert list(made) == [-1, 9, 10]


def test_of_equal_labels_one_column_counts_and_it_is_the_same_one():
    labels = {"classlabels_int64s": [3, 1, 3, 1]}
    assert assert_same(classifier(labels), np.array([[1, 2, 3, 4]], np.float32)) == [{1: 4.0, 3: 3.0}]


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=4)


@settings(max_examples=100)
@given(
    st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(-3, 3), min_size=1, max_size=8)
    | st.lists(texts, min_size=1, max_size=8),
    st.integers(0, 3),
)
def test_any_labels_make_the_same_dictionaries(labels, rows):
    kind = "classlabels_strings" if isinstance(labels[0], str) else "classlabels_int64s"
    model = classifier({kind: labels})
    assert removed(model) == ["y"]
    made = assert_same(model, np.arange(rows * len(labels), dtype=np.float32).reshape(rows, len(labels)))
    assert [set(row) for row in made] == [set(labels)] * rows


@pytest.mark.parametrize("shape", [(2, 2), (2, 4), (1, 6), (3, 1), (2, 0), (0, 5), (0, 0), (2,), (6,), (0,), (1, 2, 3)])
def test_another_number_of_columns_or_dimensions_is_an_error_both_ways(shape):
    x = np.zeros(shape, np.float32)
    fast, slow = pair(classifier())
    with fast, slow:
        for session in (fast, slow):
            binding = session.create_io_binding()
            binding.bind_input("x", x)
            binding.bind_output("y")
            for run in (
                lambda session=session: session.run([x]),
                lambda session=session: session.run_into([x], [None]),
                lambda session=session: session.submit([x]).result(timeout=60),
                binding.run,
            ):
                with pytest.raises(ortx.Error):
                    run()
            assert session.run([X])["y"] == [{1: 0.25, 2: 0.125, 3: 0.5}, {1: 2.0, 2: 3.0, 3: 1.0}]


def test_the_error_about_columns_says_which_output():
    with (
        ortx.session_from_bytes(classifier()) as session,
        pytest.raises(ortx.InvalidArgument, match=r"output 'y': the model computes the shape \(2, 2\) for 3 labels"),
    ):
        session.run([X[:, :2]])


# --- what a session tells


def test_a_session_tells_the_same_of_itself(both):
    fast, slow = both
    assert removed(label_and_probabilities()) == ["y", "words"]
    assert fast.input_names() == slow.input_names() == ("x",)
    assert fast.output_names() == slow.output_names() == ("label", "y", "doubled", "words")
    assert fast.output_count() == slow.output_count() == 4
    for name in fast.output_names():
        assert fast.output_info(name) == slow.output_info(name)
        assert repr(fast.output_info(name)) == repr(slow.output_info(name))
    assert fast.output_info("y").type == "seq(map(int64,tensor(float)))"
    assert fast.output_info("words").type == "seq(map(string,tensor(float)))"
    assert fast.input_info("x") == slow.input_info("x")
    assert fast.options() == slow.options() | {"fast_zip_map": True}
    assert fast.metadata() == slow.metadata()


def test_the_option_is_on_by_default(tmp_path):
    with ortx.session_from_bytes(classifier()) as session:
        assert session.options()["fast_zip_map"] is True
    assert ran_zip_map(classifier(), tmp_path) is False
    assert ran_zip_map(classifier(), tmp_path, fast_zip_map=True) is False
    assert ran_zip_map(classifier(), tmp_path, fast_zip_map=False) is True


# --- every way to run


def bound(session: ortx.Session, names: list[str]) -> list[ortx.Outputs]:
    binding = session.create_io_binding()
    binding.bind_input("x", X)
    for name in names:
        binding.bind_output(name)
    first = binding.run()
    binding.bind_input("x", X * 3)
    second = binding.run()
    assert binding.get_outputs() is second
    binding.bind_input("x", X[:1])
    return [first, second, binding.run()]


ALL = ["label", "y", "doubled", "words"]
WAYS = {
    "by name": lambda session: [session.run({"x": X})],
    "by position": lambda session: [session.run([X]), session.run((X[:1],))],
    "all names": lambda session: [session.run([X], ALL)],
    "subset": lambda session: [session.run([X], ["words"]), session.run([X], ["y"]), session.run([X], ["label"])],
    "reordered": lambda session: [session.run([X], ["words", "label", "y"]), session.run([X], ALL[::-1])],
    "list": lambda session: [session.run([X.tolist()])],
    "run_into": lambda session: [session.run_into([X], dict.fromkeys(ALL)), session.run_into([X], [None, None])],
    "run_into, reordered": lambda session: [session.run_into([X], {"words": None, "doubled": None, "y": None})],
    "run_into a buffer": lambda session: [
        session.run_into([X], {"words": None, "doubled": np.zeros((2, 3), np.float32), "y": None})
    ],
    "submit": lambda session: [session.submit([X]).result(timeout=60) for _ in range(2)],
    "submit, by name": lambda session: [session.submit({"x": X}, ["words", "y"]).result(timeout=60)],
    "binding": lambda session: bound(session, ALL),
    "binding, reordered": lambda session: bound(session, ["words", "label", "y"]),
    "binding of one": lambda session: bound(session, ["words"]),
    "run options": lambda session: [session.run([X], None, ortx.run_options())],
}


@pytest.mark.parametrize("way", WAYS)
def test_every_way_of_running_gives_the_same(both, way):
    ours, theirs = (WAYS[way](session) for session in both)
    assert [facts_of(outputs) for outputs in ours] == [facts_of(outputs) for outputs in theirs]
    for outputs in ours:
        for name in {"y", "words"} & set(outputs.keys()):
            assert type(outputs[name]) is list
            assert all(type(row) is dict for row in outputs[name])
            assert list(outputs[name][0]) == ([1, 2, 3] if name == "y" else ["a", "b", "c"])


def test_the_outputs_are_lists_of_their_own_each_time(both):
    for session in both:
        first = session.run([X])["y"]
        first[0][1] = "changed"
        first.pop()
        assert session.run([X])["y"] == [{1: 0.25, 2: 0.125, 3: 0.5}, {1: 2.0, 2: 3.0, 3: 1.0}]


@pytest.mark.parametrize("buffer", [np.zeros((2, 3), np.float32), [], {}], ids=type)
def test_the_output_takes_no_buffer(both, buffer):
    messages = []
    for session in both:
        with pytest.raises(ortx.CallError, match="(?s)output 'y': got .*; expected None, since ") as caught:
            session.run_into([X], {"y": buffer})
        messages.append(str(caught.value))
        if not isinstance(buffer, dict):
            with pytest.raises(
                ortx.CallError, match="(?s)bind_output: output 'y': got .*; expected None, since "
            ) as caught:
                session.create_io_binding().bind_output("y", buffer)
            messages.append(str(caught.value))
    assert messages[: len(messages) // 2] == messages[len(messages) // 2 :]


def test_a_binding_binds_the_output_to_a_device(both):
    for session in both:
        binding = session.create_io_binding()
        binding.bind_input("x", X)
        binding.bind_output("words", {"mode": "device"})
        assert binding.run()["words"][0] == {"a": 0.5, "b": 0.25, "c": 1.0}


def test_the_outputs_outlive_the_session():
    with ortx.session_from_bytes(classifier()) as session:
        made = session.run([X])["y"]
    assert made == [{1: 0.25, 2: 0.125, 3: 0.5}, {1: 2.0, 2: 3.0, 3: 1.0}]


@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_model_may_have_several(count):
    nodes, outputs = [], []
    for i in range(count):
        labels = {"classlabels_int64s": [i, -i, 7]} if i % 2 else {"classlabels_strings": [f"b{i}", "", f"a{i}"]}
        nodes += [node("Add", "x c", f"t{i}"), zip_map(f"t{i}", f"y{i}", **labels)]
        outputs.append(dictionaries(f"y{i}", key_type_of(labels)))
    model = build(nodes, [tensor("x")], outputs, [models.constant("c", [1.0])])
    assert removed(model) == [f"y{i}" for i in range(count)]
    assert assert_same(model, X)[1] == {"b0": 2.0, "": 3.0, "a0": 4.0}


# --- from a file, and from memory


@pytest.mark.parametrize("options", [{}, {"keep_model": True}, {"graph_optimization_level": "disable"}], ids=str)
def test_a_file_gives_the_same(tmp_path, options):
    path = tmp_path / "größe 模型.onnx"
    path.write_bytes(label_and_probabilities())
    with (
        ortx.session(path, **options) as fast,
        ortx.session(path, fast_zip_map=False, **options) as slow,
        ortx.session_from_bytes(path.read_bytes(), **options) as from_bytes,
    ):
        for way in ("by name", "reordered", "binding"):
            wanted = [facts_of(outputs) for outputs in WAYS[way](slow)]
            assert [facts_of(outputs) for outputs in WAYS[way](fast)] == wanted
            assert [facts_of(outputs) for outputs in WAYS[way](from_bytes)] == wanted
        assert repr(fast) == repr(slow)
    assert ran_zip_map(path, tmp_path) is False
    assert ran_zip_map(path, tmp_path, fast_zip_map=False) is True
    assert path.read_bytes() == label_and_probabilities()


@pytest.mark.parametrize("form", [bytes, bytearray, memoryview, lambda model: np.frombuffer(model, np.uint8)])
def test_any_buffer_gives_the_same_and_is_not_changed(form):
    buffer = form(classifier())
    with ortx.session_from_bytes(buffer) as session:
        assert session.run([X])["y"][0] == {1: 0.25, 2: 0.125, 3: 0.5}
    assert bytes(buffer) == classifier()


# --- when the node stays


def initializer() -> TensorProto:
    return numpy_helper.from_array(X, "w")


def with_subgraph() -> bytes:
    branches = {
        f"{word}_branch": helper.make_graph([node("Identity", "t", f"{word}_out")], word, [], [tensor(f"{word}_out")])
        for word in ("then", "else")
    }
    nodes = [
        node("Identity", "x", "t"),
        node("Constant", "", "c", value=numpy_helper.from_array(np.array(True))),
        node("If", "c", "u", **branches),
        zip_map("t", "y"),
    ]
    return build(nodes, [tensor("x")], [dictionaries("y"), tensor("u")])


COPY = node("Identity", "x", "t")
STAYING = {
    "of an input": build([zip_map("x", "y")], [tensor("x")], [dictionaries("y")]),
    "of an initializer": build(
        [zip_map("w", "y"), node("Identity", "x", "z")],
        [tensor("x")],
        [dictionaries("y"), tensor("z")],
        [initializer()],
    ),
    "of a tensor that is also an output": build(
        [COPY, zip_map("t", "y")], [tensor("x")], [dictionaries("y"), tensor("t")]
    ),
    "of a tensor that is also the first output": build(
        [COPY, zip_map("t", "y")], [tensor("x")], [tensor("t"), dictionaries("y")]
    ),
    "of a tensor that two read": build(
        [COPY, zip_map("t", "y"), zip_map("t", "z", **STRINGS)],
        [tensor("x")],
        [dictionaries("y"), dictionaries("z", STRING)],
    ),
    "of which another node reads the output": build(
        [COPY, zip_map("t", "y"), node("Identity", "y", "z")],
        [tensor("x")],
        [dictionaries("y"), dictionaries("z")],
    ),
    "whose output is none of the model's": build(
        [COPY, zip_map("t", "unused"), zip_map("x", "y")], [tensor("x")], [dictionaries("y")]
    ),
    "in a model with a subgraph": with_subgraph(),
}


@pytest.mark.parametrize("case", [case for case in STAYING if "another node" not in case])
def test_the_node_stays_where_leaving_it_out_would_not_do(tmp_path, case):
    model = STAYING[case]
    assert zipmaps.without_zip_maps(memoryview(model)) == (b"", ())
    assert_same(model, X)
    with ortx.session_from_bytes(model) as session:
        assert session.run([X])["y"] == [{1: 0.25, 2: 0.125, 3: 0.5}, {1: 2.0, 2: 3.0, 3: 1.0}]
    if "initializer" not in case:  # which is computed before the first run
        assert ran_zip_map(model, tmp_path) is True


def test_the_node_stays_where_another_node_reads_its_output():
    model = STAYING["of which another node reads the output"]
    assert zipmaps.without_zip_maps(memoryview(model)) == (b"", ())
    errors = []
    for fast in (True, False):  # ONNX Runtime has no kernel that would read it
        with pytest.raises(ortx.Error) as caught:
            ortx.session_from_bytes(model, fast_zip_map=fast)
        errors.append((type(caught.value), str(caught.value)))
    assert errors[0] == errors[1]


def test_of_two_only_the_one_goes_that_can(tmp_path):
    nodes = [COPY, zip_map("t", "y"), zip_map("x", "z", **STRINGS)]
    model = build(nodes, [tensor("x")], [dictionaries("y"), dictionaries("z", STRING)])
    assert removed(model) == ["y"]
    assert_same(model, X)
    assert ran_zip_map(model, tmp_path) is True


def test_a_tensor_that_other_nodes_read_too_is_no_reason_to_stay():
    nodes = [COPY, zip_map("t", "y"), node("Neg", "t", "n")]
    model = build(nodes, [tensor("x")], [dictionaries("y"), tensor("n")])
    assert removed(model) == ["y"]
    assert_same(model, X)


def test_what_the_model_says_of_shapes_inside_does_not_matter():
    for shape in (None, (None, 3), (2, 3), ("n", "labels")):
        nodes = [COPY, zip_map("t", "y")]
        infos = [tensor("t", shape), dictionaries("y")]
        model = build(nodes, [tensor("x", (None, 3))], [dictionaries("y")], value_info=infos)
        assert removed(model) == ["y"]
        assert_same(model, X)


def outside(folder: Path) -> Path:
    """Write a model whose weight stands in another file: y = the dictionaries of x w"""
    w = np.array([1, 2, 4], np.float32)
    (folder / "w.bin").write_bytes(w.tobytes())
    weight = TensorProto(name="w", data_type=FLOAT, dims=[3], data_location=TensorProto.EXTERNAL)
    weight.external_data.add(key="location", value="w.bin")
    path = folder / "outside.onnx"
    nodes = [node("Mul", "x w", "t"), zip_map("t", "y")]
    path.write_bytes(build(nodes, [tensor("x")], [dictionaries("y")], [weight]))
    return path


def test_the_node_stays_in_a_model_with_weights_in_another_file(tmp_path):
    path = outside(tmp_path)
    assert zipmaps.without_zip_maps(memoryview(path.read_bytes())) == (b"", ())
    for fast in (True, False):
        with ortx.session(path, fast_zip_map=fast) as session:
            assert session.run([X])["y"][0] == {1: 0.5, 2: 0.5, 3: 0.5}
    assert ran_zip_map(path, tmp_path) is True


@pytest.mark.parametrize("form", ["path", "bytes"])
def test_the_node_stays_in_a_model_that_is_written(tmp_path, form):
    source, written = tmp_path / "model.onnx", tmp_path / "optimized.onnx"
    source.write_bytes(classifier())
    model = source if form == "path" else classifier()
    assert ran_zip_map(model, tmp_path, optimized_model_path=written) is True
    proto = onnx.load(written)
    assert [made.op_type for made in proto.graph.node].count("ZipMap") == 1
    assert proto.graph.output[0] == dictionaries("y")
    assert ran_zip_map(written, tmp_path) is (proto.graph.node[0].op_type == "ZipMap")
    with ortx.session(written) as session:
        assert session.run([X])["y"][0] == {1: 0.25, 2: 0.125, 3: 0.5}


@pytest.mark.parametrize("form", ["path", "bytes"])
def test_the_node_stays_in_a_model_of_onnx_runtimes_own_format(tmp_path, form):
    path = tmp_path / "model.ort"
    entries = {"session.save_model_format": "ORT"}
    with ortx.session_from_bytes(classifier(), optimized_model_path=path, config_entries=entries):
        pass
    assert modelfile.is_ort_format(memoryview(path.read_bytes()))
    model = path if form == "path" else path.read_bytes()
    assert ran_zip_map(model, tmp_path) is True
    with opened(model) as session:
        assert session.output_info("y").type == "seq(map(int64,tensor(float)))"
        assert session.run([X])["y"] == [{1: 0.25, 2: 0.125, 3: 0.5}, {1: 2.0, 2: 3.0, 3: 1.0}]


# --- zipmaps.without_zip_maps


def test_what_is_left_of_a_model_gives_the_tensor():
    content, (made,) = zipmaps.without_zip_maps(memoryview(classifier()))
    assert (made.output, made.tensor, made.labels) == ("y", "t", (3, 1, 2))
    proto = onnx.load_model_from_string(content)
    assert [each.op_type for each in proto.graph.node] == ["Identity"]
    assert [output.name for output in proto.graph.output] == ["t"]
    assert proto.graph.output[0].type.tensor_type.elem_type == FLOAT
    whole = onnx.load_model_from_string(classifier())
    assert proto.graph.input == whole.graph.input
    assert proto.opset_import == whole.opset_import
    with ortx.session_from_bytes(content) as session:
        np.testing.assert_array_equal(session.run([X])["t"], X, strict=True)


def test_everything_else_of_a_model_stays_as_it_is():
    proto = onnx.load_model_from_string(label_and_probabilities())
    helper.set_model_props(proto, {"author": "nobody", "größe": "模型"})
    proto.doc_string, proto.producer_name, proto.model_version = "doc", "producer", 7
    proto.graph.initializer.append(models.constant("unused", [1.0, 2.0]))
    proto.graph.doc_string = "doc of the graph"
    content, _ = zipmaps.without_zip_maps(memoryview(proto.SerializeToString()))
    found = onnx.load_model_from_string(content)
    for model in (found, proto):
        del model.graph.output[:]
        kept = [each for each in model.graph.node if each.op_type != "ZipMap"]
        del model.graph.node[:]
        model.graph.node.extend(kept)
    assert found == proto
    assert len(found.graph.node) == 4


MODELS_WITHOUT = [
    models.square(),
    models.overridable(),
    models.sequence_output(),
    models.passed_through(),
    models.sum_and_difference(),
    models.identity(),
    b"",
]


@pytest.mark.parametrize("model", MODELS_WITHOUT, ids=len)
def test_a_model_without_the_domain_of_machine_learning_is_not_touched(model):
    assert zipmaps.without_zip_maps(memoryview(model)) == (b"", ())


def test_a_model_that_only_names_the_domain_is_not_touched():
    model = build([node("Identity", "x", "y")], [tensor("x")], [tensor("y")])
    assert ML.encode() in model
    assert zipmaps.without_zip_maps(memoryview(model)) == (b"", ())
    with ortx.session_from_bytes(model) as session:
        np.testing.assert_array_equal(session.run([X])["y"], X)


def test_a_zip_map_of_another_domain_is_not_touched():
    other = node("ZipMap", "t", "y", domain="com.example", **INTEGERS)
    model = build([COPY, other], [tensor("x")], [dictionaries("y")])
    assert zipmaps.without_zip_maps(memoryview(model)) == (b"", ())


# --- damaged models


@pytest.mark.parametrize("form", ["path", "bytes"])
@pytest.mark.parametrize("length", [1, 20, 50, -1, -5, -20])
def test_a_model_that_is_cut_off_is_no_model_both_ways(tmp_path, form, length):
    content = label_and_probabilities()[:length]
    (tmp_path / "model.onnx").write_bytes(content)
    messages = []
    for fast in (True, False):
        with pytest.raises(ortx.InvalidProtobuf) as caught:
            opened(tmp_path / "model.onnx" if form == "path" else content, fast_zip_map=fast)
        messages.append(str(caught.value))
    assert messages[0] == messages[1]


@pytest.mark.parametrize("seed", range(40))
def test_a_model_of_random_bytes_is_an_error_of_the_same_kind_both_ways(seed):
    content = random.Random(seed).randbytes(200) + ML.encode()
    kinds = []
    for fast in (True, False):
        with pytest.raises(ortx.Error) as caught:
            ortx.session_from_bytes(content, fast_zip_map=fast)
        kinds.append(type(caught.value))
    assert kinds[0] is kinds[1]


def test_a_cut_off_model_is_a_value_error_or_has_less():
    content = label_and_probabilities()
    outcomes = []
    for length in range(len(content)):
        try:
            outcomes.append(zipmaps.without_zip_maps(memoryview(content[:length]))[1])
        except ValueError:
            outcomes.append(None)
    assert None in outcomes
    assert set(outcomes) <= {None, ()}  # what the model uses stands at its end


def test_a_tensor_without_dimensions_is_refused():
    with (
        ortx.session_from_bytes(classifier()) as session,
        pytest.raises(ortx.InvalidArgument, match=r"the model computes the shape \(\) for 3 labels"),
    ):
        session.run([np.float32(0)])


@pytest.mark.parametrize(
    "make",
    [
        lambda: node("ZipMap", "", "y", domain=ML, **INTEGERS),
        lambda: node("ZipMap", "t t", "y", domain=ML, **INTEGERS),
        lambda: node("ZipMap", "t", "y", domain=ML, **INTEGERS, **STRINGS),
        lambda: node("ZipMap", "t", "y", domain=ML, **INTEGERS, other=1),
        lambda: node("ZipMap", "t", "y", domain=ML, **STRINGS),  # the output is declared with integers
    ],
    ids=["no input", "two inputs", "two kinds of labels", "an unknown attribute", "keys of another type"],
)
def test_a_node_that_onnx_runtime_refuses_is_left_for_it_to_refuse(make):
    model = build([node("Identity", "x", "t"), make()], [tensor("x")], [dictionaries("y")])
    assert zipmaps.without_zip_maps(memoryview(model)) == (b"", ())
    errors = []
    for fast in (True, False):
        with pytest.raises(ortx.Error) as caught:
            ortx.session_from_bytes(model, fast_zip_map=fast)
        errors.append((type(caught.value), str(caught.value)))
    assert errors[0] == errors[1]
