"""What a session says of its model and of itself (`_core.src/modelinfo.pxi`, `ortx/modelinfo.py`).

Types, metadata, memory, profiles, and the options that can change while it is open.
"""

from __future__ import annotations

import dataclasses
import json
import threading
from pathlib import Path

import models
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import ortx

X = np.array([[1, 2]], np.float32)
INFOS = ["input_info", "output_info", "overridable_initializer_info"]


@pytest.fixture
def session():
    with ortx.session_from_bytes(models.square()) as session:
        yield session


def is_tensor(name: str, data_type: str, onnx_name: str, shape: tuple, symbols: tuple, **others) -> dict:
    """Return what `asdict` says of a tensor whose shape is known."""
    return {
        "name": name,
        "onnx_type": "tensor",
        "type": f"tensor({onnx_name})",
        "is_sparse": False,
        "data_type": data_type,
        "has_shape": True,
        "shape": shape,
        "symbolic_shape": symbols,
    } | others


FLOATS = is_tensor("", "float32", "float", (-1, 2), ("n", ""))
FLOAT_TYPE = helper.make_tensor_type_proto(TensorProto.FLOAT, ["n", 2])


def nested(name: str, onnx_type: str, spelling: str, **others) -> dict:
    return {"name": name, "onnx_type": onnx_type, "type": spelling, "is_sparse": False, "has_shape": False} | others


def identity_of(type_proto: onnx.TypeProto) -> bytes:
    """y = x, both of this type"""
    values = [helper.make_value_info(name, type_proto) for name in "xy"]
    return models.build([helper.make_node("Identity", ["x"], ["y"])], values[:1], values[1:])


def from_domain(domain: str, node: onnx.NodeProto, inputs: list, outputs: list) -> bytes:
    """A node of another domain than ONNX's own"""
    opsets = [helper.make_opsetid("", models.OPSET), helper.make_opsetid(domain, 1)]
    graph = helper.make_graph([node], "graph", inputs, outputs)
    return helper.make_model(graph, opset_imports=opsets, ir_version=models.IR_VERSION).SerializeToString()


def zip_map(**labels) -> bytes:
    """Probabilities as classifiers return them: a sequence of maps from labels to numbers"""
    key_type = TensorProto.STRING if "classlabels_strings" in labels else TensorProto.INT64
    map_type = helper.make_map_type_proto(key_type, helper.make_tensor_type_proto(TensorProto.FLOAT, []))
    output = helper.make_value_info("z", helper.make_sequence_type_proto(map_type))
    node = helper.make_node("ZipMap", ["x"], ["z"], domain="ai.onnx.ml", **labels)
    return from_domain("ai.onnx.ml", node, [models.tensor("x")], [output])


def sparse_product() -> bytes:
    """y = a @ b with a sparse"""
    a = helper.make_value_info("a", helper.make_sparse_tensor_type_proto(TensorProto.FLOAT, ["n", 3]))
    node = helper.make_node("SparseToDenseMatMul", ["a", "b"], ["y"], domain="com.microsoft")
    return from_domain("com.microsoft", node, [a, models.tensor("b", shape=(3, 2))], [models.tensor("y")])


# --- the types of inputs and outputs


@pytest.mark.parametrize(
    ("dtype", "shape", "expected"),
    [
        ("float32", ("n", 2), is_tensor("x", "float32", "float", (-1, 2), ("n", ""))),
        ("float64", (1, 2, 3), is_tensor("x", "float64", "double", (1, 2, 3), ("", "", ""))),
        ("int64", ("größe", None, "größe"), is_tensor("x", "int64", "int64", (-1, -1, -1), ("größe", "", "größe"))),
        ("float16", (0,), is_tensor("x", "float16", "float16", (0,), ("",))),
        ("uint8", (), is_tensor("x", "uint8", "uint8", (), ())),
        ("bool", (None,), is_tensor("x", "bool", "bool", (-1,), ("",))),
    ],
    ids=str,
)
def test_a_tensor_is_described_with_its_type_and_its_dimensions(dtype, shape, expected):
    with ortx.session_from_bytes(models.identity(dtype, shape)) as session:
        assert session.input_info("x").asdict() == expected
        assert session.output_info("y").asdict() == expected | {"name": "y"}


def test_a_tensor_of_unknown_rank_has_no_shape():
    with ortx.session_from_bytes(models.identity("float32", None)) as session:
        info = session.input_info(0)
    assert (info.has_shape, info.shape, info.symbolic_shape) == (False, None, None)
    assert (info.onnx_type, info.data_type) == ("tensor", "float32")


@pytest.mark.parametrize(
    ("type_proto", "onnx_type", "spelling", "element"),
    [
        (helper.make_sequence_type_proto(FLOAT_TYPE), "sequence", "seq(tensor(float))", FLOATS),
        (helper.make_optional_type_proto(FLOAT_TYPE), "optional", "optional(tensor(float))", FLOATS),
        (
            helper.make_optional_type_proto(helper.make_sequence_type_proto(FLOAT_TYPE)),
            "optional",
            "optional(seq(tensor(float)))",
            nested("", "sequence", "seq(tensor(float))", element=FLOATS),
        ),
    ],
    ids=["sequence", "optional tensor", "optional sequence"],
)
def test_a_nested_type_is_described_down_to_its_tensors(type_proto, onnx_type, spelling, element):
    with ortx.session_from_bytes(identity_of(type_proto)) as session:
        assert session.input_info("x").asdict() == nested("x", onnx_type, spelling, element=element)
        assert session.output_info("y").asdict() == nested("y", onnx_type, spelling, element=element)


@pytest.mark.parametrize(
    ("labels", "key_type"),
    [({"classlabels_int64s": [1, 2]}, "int64"), ({"classlabels_strings": ["a", "b"]}, "string")],
    ids=["numbers", "strings"],
)
def test_a_map_is_described_with_its_keys_and_values(labels, key_type):
    spelling = f"map({key_type},tensor(float))"
    value = is_tensor("", "float32", "float", (), ())
    element = nested("", "map", spelling, key_type=key_type, value=value)
    with ortx.session_from_bytes(zip_map(**labels)) as session:
        assert session.output_info("z").asdict() == nested("z", "sequence", f"seq({spelling})", element=element)


def test_a_sparse_tensor_is_described_as_one():
    with ortx.session_from_bytes(sparse_product()) as session:
        expected = {"onnx_type": "sparse_tensor", "type": "sparse_tensor(float)", "is_sparse": True}
        assert session.input_info("a").asdict() == is_tensor("a", "float32", "float", (-1, 3), ("n", ""), **expected)
        assert not session.input_info("b").is_sparse


@pytest.mark.parametrize("integer", [int, np.int64, np.uint8], ids=lambda integer: integer.__name__)
def test_positions_and_names_find_the_same(integer):
    with ortx.session_from_bytes(models.sum_and_difference()) as session:
        for names, info in (
            (session.input_names(), session.input_info),
            (session.output_names(), session.output_info),
        ):
            assert [info(integer(i)).name for i in range(2)] == list(names)
            assert [info(integer(i)) for i in range(2)] == [info(name) for name in names]


def test_overridable_initializers_are_counted_apart_from_inputs():
    with ortx.session_from_bytes(models.overridable()) as session:
        scale = is_tensor("scale", "float32", "float", (1,), ("",))
        assert session.overridable_initializer_info("scale").asdict() == scale
        assert session.overridable_initializer_info(0).asdict() == scale
        assert (session.input_count(), session.overridable_initializer_count()) == (1, 1)


@pytest.mark.parametrize(
    ("function", "wrong", "message"),
    [
        (
            "input_info",
            "bais",
            "input_info: got 'bais' (str); expected a position below 2 or one of x, bias; did you mean 'bias'?",
        ),
        ("input_info", "X", "input_info: got 'X' (str); expected a position below 2 or one of x, bias"),
        ("input_info", "", "input_info: got '' (str); expected a position below 2 or one of x, bias"),
        ("input_info", "y", "input_info: got 'y' (str); expected a position below 2 or one of x, bias"),
        ("input_info", 2, "input_info: got 2 (int); expected a position below 2 or one of x, bias"),
        ("input_info", -1, "input_info: got -1 (int); expected a position below 2 or one of x, bias"),
        ("input_info", 2**70, f"input_info: got {2**70} (int); expected a position below 2 or one of x, bias"),
        ("output_info", "x", "output_info: got 'x' (str); expected a position below 1 or one of y"),
        ("output_info", 1, "output_info: got 1 (int); expected a position below 1 or one of y"),
        (
            "overridable_initializer_info",
            "x",
            "overridable_initializer_info: got 'x' (str), but the model has none of these",
        ),
        (
            "overridable_initializer_info",
            0,
            "overridable_initializer_info: got 0 (int), but the model has none of these",
        ),
    ],
)
def test_what_the_model_does_not_have_is_refused_with_what_it_has(function, wrong, message):
    with ortx.session_from_bytes(models.add()) as session:
        with pytest.raises(ortx.InvalidArgument) as caught:
            getattr(session, function)(wrong)
        assert type(caught.value) is ortx.InvalidArgument
        assert str(caught.value).startswith(message)
        bias = np.ones((1, 2), np.float32)
        np.testing.assert_array_equal(session.run([X, bias])[0], X + bias)


@pytest.mark.parametrize("wrong", [1.0, None, b"x", ["x"], slice(1)], ids=repr)
@pytest.mark.parametrize("function", INFOS)
def test_what_is_neither_name_nor_position_is_refused(session, function, wrong):
    with pytest.raises(ortx.InvalidType, match=f"{function}: got .*; expected a name or a position"):
        getattr(session, function)(wrong)


def test_types_can_be_asked_for_after_the_session_is_closed(session):
    before = session.input_info("x"), session.output_info(0)
    session.close()
    assert (session.input_info("x"), session.output_info(0)) == before


# --- metadata


def with_metadata(graph_description: str = "", custom: dict | None = None, **fields) -> bytes:
    """y = x * x, by an author who says more"""
    model = onnx.load_from_string(models.square())
    for name, value in fields.items():
        setattr(model, name, value)
    model.graph.doc_string = graph_description
    helper.set_model_props(model, custom or {})
    return model.SerializeToString()


def metadata_of(model: bytes) -> ortx.Metadata:
    with ortx.session_from_bytes(model) as session:
        return session.metadata()


def test_a_model_without_metadata_says_nothing():
    assert metadata_of(models.square()) == ortx.Metadata(
        producer_name="",
        graph_name="graph",
        graph_description="",
        description="",
        domain="",
        version=None,
        custom_metadata={},
    )


def test_everything_that_the_author_said_is_read():
    custom = {"größe": "模型", "empty": "", "": "no key", "long": "x" * 100_000, "json": '{"a": [1]}'}
    metadata = metadata_of(
        with_metadata(
            "for tests",
            custom,
            producer_name="Müller",
            domain="org.example",
            doc_string="Squares\nnumbers.",
            model_version=7,
        )
    )
    assert metadata == ortx.Metadata(
        producer_name="Müller",
        graph_name="graph",
        graph_description="for tests",
        description="Squares\nnumbers.",
        domain="org.example",
        version=7,
        custom_metadata=custom,
    )
    assert metadata.custom_metadata.get("empty") == ""
    assert metadata.custom_metadata.get("missing") is None


@pytest.mark.parametrize("version", [0, 1, -5, 2**63 - 2, -(2**63)])
def test_every_version_is_a_version_but_a_missing_one(version):
    assert metadata_of(with_metadata(model_version=version)).version == version


def test_bytes_that_are_no_utf8_are_kept():
    model = with_metadata(producer_name="abcd", custom={"wxyz": "stuv"})
    for old, new in ((b"abcd", b"ab\xff\xfe"), (b"wxyz", b"\xffxyz"), (b"stuv", b"stu\xff")):
        model = model.replace(old, new)
    metadata = metadata_of(model)
    assert metadata.producer_name.encode(errors="surrogateescape") == b"ab\xff\xfe"
    assert metadata.custom_metadata == {"\udcffxyz": "stu\udcff"}


def test_metadata_outlives_its_session_and_cannot_be_changed():
    metadata = metadata_of(with_metadata(producer_name="Müller"))
    with pytest.raises(dataclasses.FrozenInstanceError):
        metadata.producer_name = "Meier"
    assert metadata.producer_name == "Müller"


def test_any_number_of_threads_may_ask_for_metadata():
    custom = {f"key {i}": "x" * i for i in range(50)}
    answers = []

    def ask() -> None:
        answers.extend((session.metadata(), session.memory_info_for_inputs()[0]) for _ in range(50))

    with ortx.session_from_bytes(with_metadata(custom=custom)) as session:
        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        expected = session.metadata(), session.memory_info_for_inputs()[0]
    assert expected[0].custom_metadata == custom
    assert answers == [expected] * 200


# --- where inputs and outputs lie

CPU = {
    "name": "Cpu",
    "id": 0,
    "mem_type": "default",
    "allocator_type": "arena",
    "device_type": "cpu",
    "device_mem_type": "default",
    "vendor_id": 0,
}


@pytest.mark.parametrize(("arena", "allocator_type"), [(True, "arena"), (False, "device")])
def test_the_memory_of_inputs_and_outputs_is_described(arena, allocator_type):
    with ortx.session_from_bytes(models.square(), enable_cpu_mem_arena=arena) as session:
        for infos in (session.memory_info_for_inputs(), session.memory_info_for_outputs()):
            (info,) = infos
            assert type(info) is ortx.MemoryInfo
            assert dataclasses.asdict(info) == CPU | {"allocator_type": allocator_type}


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(models.many(5), id="many"),
        pytest.param(models.sum_and_difference(), id="two"),
        pytest.param(models.overridable(), id="overridable"),
        pytest.param(models.sequence_output(), id="sequence"),
        pytest.param(models.passed_through(), id="passed through"),
        pytest.param(zip_map(classlabels_int64s=[1, 2]), id="maps"),
        pytest.param(sparse_product(), id="sparse"),
        pytest.param(identity_of(helper.make_optional_type_proto(FLOAT_TYPE)), id="optional"),
    ],
)
def test_there_is_one_description_of_memory_for_each_by_position_and_name(model):
    with ortx.session_from_bytes(model) as session:
        for infos, names in (
            (session.memory_info_for_inputs(), session.input_names()),
            (session.memory_info_for_outputs(), session.output_names()),
        ):
            assert infos.keys() == names
            assert len(infos) == len(names)
            assert all(infos[i] is infos[name] for i, name in enumerate(names))
            assert {info.device_type for info in infos} == {"cpu"}


def test_descriptions_of_memory_outlive_the_session():
    with ortx.session_from_bytes(models.square()) as session:
        infos = session.memory_info_for_inputs()
    assert infos["x"].name == "Cpu"
    with pytest.raises(KeyError, match="z"):
        infos["z"]


def test_an_older_library_has_no_description_of_memory_but_all_else(run_python, runtime_wheel, tmp_path):
    path = tmp_path / "square.onnx"
    path.write_bytes(with_metadata(producer_name="Müller", custom={"key": "value"}))
    code = """
import json, sys, ortx
path, prefix = sys.argv[1:]
refused = []
with ortx.session(path, profile_file_prefix=prefix) as session:
    for ask in (session.memory_info_for_inputs, session.memory_info_for_outputs):
        try:
            ask()
        except ortx.NotSupported as error:
            refused.append(str(error))
    metadata = session.metadata()
    session.set_ep_dynamic_options({"ep.dynamic.workload_type": "Efficient"})
    profile = session.end_profiling()
answer = refused, metadata.producer_name, metadata.version, metadata.custom_metadata, profile
json.dump(answer, sys.stdout)
"""
    done = run_python(code, path, tmp_path / "profile", ORTX_LIBRARY=runtime_wheel("1.20.1"))
    assert (done.returncode, done.stderr) == (0, "")
    refused, producer_name, version, custom, profile = json.loads(done.stdout)
    assert [message.partition(" ")[0] for message in refused] == ["memory_info_for_inputs", "memory_info_for_outputs"]
    assert all("1.23" in message for message in refused)
    assert (producer_name, version, custom) == ("Müller", None, {"key": "value"})
    assert json.loads(Path(profile).read_text())


# --- profiles


@pytest.mark.parametrize("as_given", [str, Path])
@pytest.mark.parametrize("name", ["profile", "größe 模型"])
def test_a_profile_is_a_file_whose_name_begins_with_the_prefix(tmp_path, name, as_given):
    with ortx.session_from_bytes(models.square(), profile_file_prefix=as_given(tmp_path / name)) as session:
        session.run([X])
        file = session.end_profiling()
        np.testing.assert_array_equal(session.run([X])[0], X * X)
    assert file.startswith(str(tmp_path / name))
    assert [str(path) for path in tmp_path.iterdir()] == [file]
    events = json.loads(Path(file).read_text(encoding="utf-8"))
    assert {"Session", "Node"} <= {event["cat"] for event in events}


def test_a_profile_ends_once(tmp_path):
    with ortx.session_from_bytes(models.square(), profile_file_prefix=tmp_path / "profile") as session:
        content = Path(session.end_profiling()).read_bytes()
        with pytest.raises(ortx.Error, match=r"end_profiling: .* is not profiled \(any more\)"):
            session.end_profiling()
    (file,) = tmp_path.iterdir()
    assert file.read_bytes() == content


def test_without_a_prefix_there_is_no_profile_to_end(session):
    with pytest.raises(ortx.Error, match="profile_file_prefix"):
        session.end_profiling()
    np.testing.assert_array_equal(session.run([X])[0], X * X)


def test_a_profile_that_nobody_ends_is_written_when_the_session_closes(tmp_path):
    with ortx.session_from_bytes(models.square(), profile_file_prefix=tmp_path / "profile") as session:
        session.run([X])
    (file,) = tmp_path.iterdir()
    assert json.loads(file.read_text())


def test_sessions_with_the_same_prefix_write_files_of_their_own(tmp_path):
    count = 8
    barrier, files = threading.Barrier(count), []

    def profile(steps: int) -> None:
        x = np.eye(8, dtype=np.float32)
        barrier.wait()
        with ortx.session_from_bytes(
            models.slow(steps, 8), profile_file_prefix=tmp_path / "same", graph_optimization_level="disable"
        ) as session:
            session.run([x])
            files.append((steps, session.end_profiling()))

    threads = [threading.Thread(target=profile, args=[steps]) for steps in range(1, count + 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({file for _, file in files}) == len(list(tmp_path.iterdir())) == count
    for steps, file in files:
        events = json.loads(Path(file).read_text())
        products = [event for event in events if event["args"].get("op_name") == "MatMul"]
        assert len(products) == steps


def test_the_start_of_a_profile_is_known_only_where_there_is_one(session, tmp_path):
    assert session.profiling_start_time_ns() == 0
    with ortx.session_from_bytes(models.square(), profile_file_prefix=tmp_path / "profile") as profiled:
        start = profiled.profiling_start_time_ns()
        with ortx.session_from_bytes(models.square(), profile_file_prefix=tmp_path / "profile") as later:
            assert later.profiling_start_time_ns() > start > 0
        profiled.end_profiling()
        assert profiled.profiling_start_time_ns() == start


# --- dynamic options


@pytest.mark.parametrize(
    "given",
    [
        {"ep.dynamic.workload_type": "Efficient"},
        {"ep.dynamic.workload_type": "Default"},
        {"switch": True, "other switch": False, "number": 3, "fraction": 0.5, 1: 2},
        {"größe": "模型", "empty": "", "long": "x" * 1000},
        {f"key {i}": i for i in range(100)},
    ],
    ids=["efficient", "default", "no strings", "texts", "many"],
)
def test_the_cpu_takes_any_dynamic_options(session, given):
    assert session.set_ep_dynamic_options(given) is None
    np.testing.assert_array_equal(session.run([X])[0], X * X)


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({}, ortx.OptionError, "options: got {} (dict); expected a mapping with at least one entry"),
        ([], ortx.OptionTypeError, "options: got [] (list); expected a mapping with at least one entry"),
        ([("a", "b")], ortx.OptionTypeError, "options: got [('a', 'b')] (list); expected a mapping"),
        ("a=b", ortx.OptionTypeError, "options: got 'a=b' (str); expected a mapping"),
        (None, ortx.OptionTypeError, "options: got None (NoneType); expected a mapping"),
        ({"a": None}, ortx.OptionTypeError, "options['a']: got None (NoneType); expected a string"),
        ({"a": "b\0"}, ortx.OptionError, "options['a']: got 'b\\x00' (str); expected a string without a NUL"),
        ({"": "b"}, ortx.OptionError, "options: got '' (str); expected a key that is not empty"),
        (
            {"ep.dynamic.workload_type": "efficient"},
            ortx.OptionError,
            "options['ep.dynamic.workload_type']: got 'efficient' (str); expected one of 'Default', 'Efficient'",
        ),
    ],
    ids=lambda value: repr(value) if isinstance(value, dict | list | None) else "",
)
def test_wrong_dynamic_options_are_refused(session, wrong, error, message):
    with pytest.raises(ortx.OptionError) as caught:
        session.set_ep_dynamic_options(wrong)
    assert type(caught.value) is error
    assert str(caught.value).startswith(f"set_ep_dynamic_options: {message}")
    np.testing.assert_array_equal(session.run([X])[0], X * X)


def test_an_unknown_dynamic_option_is_warned_about_at_the_caller(session):
    with pytest.warns(ortx.UnknownConfigKeyWarning, match=r"did you mean 'ep\.dynamic\.workload_type'") as caught:
        session.set_ep_dynamic_options({"ep.dynamic.workload": "Efficient"})
    assert [warning.filename for warning in caught] == [__file__]


# --- a closed session

NEED_A_SESSION = {
    "metadata": lambda session: session.metadata(),
    "memory_info_for_inputs": lambda session: session.memory_info_for_inputs(),
    "memory_info_for_outputs": lambda session: session.memory_info_for_outputs(),
    "end_profiling": lambda session: session.end_profiling(),
    "profiling_start_time_ns": lambda session: session.profiling_start_time_ns(),
    "set_ep_dynamic_options": lambda session: session.set_ep_dynamic_options({"a": "b"}),
}


@pytest.mark.parametrize("function", NEED_A_SESSION)
def test_a_closed_session_is_asked_in_vain(session, function):
    session.close()
    with pytest.raises(ortx.SessionClosed, match="closed"):
        NEED_A_SESSION[function](session)
