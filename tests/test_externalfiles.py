"""External data: which files a model names (`ortx/externalfiles.py`), and which of them it may read."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import models
import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

import ortx
from ortx import externalfiles

X = np.ones(4, np.float32)
W = np.arange(4, dtype=np.float32)
READ = [1.0, 2.0, 3.0, 4.0]  # what a run gives that has read the file
OPTION = "allow_external_data_outside_model_folder"
FOLDER = "session.model_external_initializers_file_folder_path"
READS_ANYTHING = "1.23.2"  # the last that we know of to read whatever a model names

needs_links = pytest.mark.skipif(not hasattr(os, "symlink") or os.name == "nt", reason="needs symbolic links")


# --- models with a tensor in another file, each in its own place ------------------------------------------------------


def outside(location: str, name: str = "w", shape: tuple[int, ...] = (4,)) -> TensorProto:
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=shape, data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value=location)
    return tensor


def graph_of(nodes, **others) -> onnx.GraphProto:
    ends = [models.tensor("x", shape=(4,))], [models.tensor("y", shape=(4,))]
    return helper.make_graph(nodes, "graph", *ends, **others)


def model_of(graph: onnx.GraphProto, functions=(), domains=()) -> bytes:
    opsets = [helper.make_opsetid("", models.OPSET), *(helper.make_opsetid(domain, 1) for domain in domains)]
    made = helper.make_model(graph, opset_imports=opsets, ir_version=models.IR_VERSION, functions=functions)
    return made.SerializeToString()


ADD = helper.make_node("Add", ["x", "w"], ["y"])


def in_initializer(location: str) -> bytes:
    return model_of(graph_of([ADD], initializer=[outside(location)]))


def in_constant(location: str) -> bytes:
    return model_of(graph_of([helper.make_node("Constant", [], ["w"], value=outside(location)), ADD]))


def in_list_of_tensors(location: str) -> bytes:
    node = helper.make_node("Constant", [], ["w"])
    node.attribute.add(name="value", type=onnx.AttributeProto.TENSORS).tensors.append(outside(location))
    return model_of(graph_of([node, ADD]))


def in_subgraph(location: str) -> bytes:
    ends = [[models.tensor("then", shape=(4,))], [models.tensor("else", shape=(4,))]]
    add = helper.make_node("Add", ["x", "w"], ["then"])
    then = helper.make_graph([add], "a", [], ends[0], initializer=[outside(location)])
    other = helper.make_graph([helper.make_node("Identity", ["x"], ["else"])], "b", [], ends[1])
    nodes = [
        helper.make_node("ReduceSum", ["x"], ["sum"], keepdims=0),
        helper.make_node("Cast", ["sum"], ["condition"], to=TensorProto.BOOL),
        helper.make_node("If", ["condition"], ["y"], then_branch=then, else_branch=other),
    ]
    return model_of(graph_of(nodes))


def in_sparse_initializer(location: str) -> bytes:
    sparse = helper.make_sparse_tensor(
        outside(location), helper.make_tensor("at", TensorProto.INT64, [4], range(4)), [4]
    )
    return model_of(graph_of([ADD], sparse_initializer=[sparse]))


def in_indices_of_a_sparse_initializer(location: str) -> bytes:
    indices = outside(location)
    indices.data_type = TensorProto.INT64
    sparse = helper.make_sparse_tensor(helper.make_tensor("w", TensorProto.FLOAT, [4], W), indices, [4])
    return model_of(graph_of([ADD], sparse_initializer=[sparse]))


def in_sparse_attribute(location: str) -> bytes:
    sparse = helper.make_sparse_tensor(
        outside(location), helper.make_tensor("at", TensorProto.INT64, [4], range(4)), [4]
    )
    return model_of(graph_of([helper.make_node("Constant", [], ["w"], sparse_value=sparse), ADD]))


def in_function(location: str) -> bytes:
    nodes = [
        helper.make_node("Constant", [], ["w"], value=outside(location)),
        helper.make_node("Add", ["a", "w"], ["b"]),
    ]
    function = helper.make_function("d", "F", ["a"], ["b"], nodes, [helper.make_opsetid("", models.OPSET)])
    return model_of(graph_of([helper.make_node("F", ["x"], ["y"], domain="d")]), [function], ["d"])


def in_default_of_a_function(location: str) -> bytes:
    constant = helper.make_node("Constant", [], ["w"])
    constant.attribute.add(name="value", ref_attr_name="v", type=onnx.AttributeProto.TENSOR)
    nodes = [constant, helper.make_node("Add", ["a", "w"], ["b"])]
    function = helper.make_function("d", "F", ["a"], ["b"], nodes, [helper.make_opsetid("", models.OPSET)])
    function.attribute_proto.append(helper.make_attribute("v", outside(location)))
    return model_of(graph_of([helper.make_node("F", ["x"], ["y"], domain="d")]), [function], ["d"])


def in_training(location: str) -> bytes:
    model = onnx.ModelProto.FromString(models.square())
    model.training_info.add().initialization.initializer.append(outside(location))
    return model.SerializeToString()


PLACES = [
    in_initializer,
    in_constant,
    in_list_of_tensors,
    in_subgraph,
    in_sparse_initializer,
    in_indices_of_a_sparse_initializer,
    in_sparse_attribute,
    in_function,
    in_default_of_a_function,
    in_training,
]
EACH_PLACE = pytest.mark.parametrize("place", PLACES, ids=lambda place: place.__name__)


def found(model: bytes) -> list[tuple[str, str]]:
    return sorted(externalfiles.locations(memoryview(model)))


# --- what a model names -----------------------------------------------------------------------------------------------


@EACH_PLACE
def test_a_location_is_found_wherever_it_stands(place):
    assert found(place("a/b.bin")) == [("w", "a/b.bin")]


@EACH_PLACE
def test_a_location_is_found_in_a_model_whose_weights_are_jumped_over(place):
    model = onnx.ModelProto.FromString(place("a/b.bin"))
    large = models.constant("large", np.zeros(1 << 18, np.float32))
    model.graph.initializer.extend([large, large])
    model.graph.node.insert(0, helper.make_node("Constant", [], ["c"], value=large))
    assert found(model.SerializeToString()) == [("w", "a/b.bin")]


def test_weights_are_not_searched():
    # The word, as a tensor would have it, is no name of a file if it stands among the elements.
    entry = helper.make_tensor("x", TensorProto.FLOAT, [], [0])
    entry.external_data.add(key="location", value="a.bin")
    text = np.frombuffer(entry.SerializeToString().ljust(1 << 17, b"\0"), np.uint8)
    assert found(models.build([], [], [], [models.constant("w", text, "uint8")])) == []


def all_tensors(message) -> Iterator[TensorProto]:
    """Yield the tensors of a message, by the word of protobuf's own reflection."""
    if isinstance(message, TensorProto):
        yield message
    for field, value in message.ListFields():
        if field.message_type is not None:
            for part in value if field.is_repeated else [value]:
                yield from all_tensors(part)


@settings(max_examples=100)
@given(places=st.lists(st.sampled_from(PLACES), min_size=1, max_size=4), name=st.text(max_size=9), data=st.data())
def test_what_is_found_is_what_protobuf_finds(places, name, data):
    model = onnx.ModelProto()
    for place in places:
        model.MergeFromString(place(data.draw(st.text(max_size=70))))
    for tensor in all_tensors(model):
        tensor.name = name
    expected = [
        (tensor.name, entry.value)
        for tensor in all_tensors(model)
        for entry in tensor.external_data
        if entry.key == "location"
    ]
    assert found(model.SerializeToString()) == sorted(expected)


# A tensor, written as protobuf would not write it but reads it.
ENTRY = b"\x0a\x08location\x12\x05a.bin"


def field(number: int, content: bytes) -> bytes:
    assert number < 16
    assert len(content) < 128
    return bytes([number << 3 | 2, len(content)]) + content


def model_around(tensor: bytes) -> bytes:
    return field(7, field(5, tensor))


FORMS = {
    "plain": model_around(field(13, ENTRY)),
    "lengths with more digits than they need": b"\x3a\x9a\x80\x00"
    + b"\x2a\x96\x80\x00"
    + b"\x6a\x91\x80\x80\x00"
    + ENTRY,
    "tags with more digits than they need": model_around(b"\xea\x80\x00\x11" + ENTRY),
    "the value before the key": model_around(field(13, b"\x12\x05a.bin\x0a\x08location")),
    "another key and value before": model_around(field(13, b"\x0a\x01k\x12\x01v" + ENTRY)),
    "fields that nobody knows": model_around(
        b"\xc8\x3e\x01" + b"\xc9\x3e12345678" + b"\xcd\x3e1234" + field(13, ENTRY)
    ),
    "a group beside it": model_around(b"\xc3\x3e\xc8\x3e\x01\xc4\x3e" + field(13, ENTRY)),
    "a model in two pieces": field(7, b"") + model_around(field(13, ENTRY)),
    "an attribute's tensor in two pieces": field(
        7, field(1, field(5, field(5, b"\x70\x01") + field(5, field(13, ENTRY))))
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_location_is_found_in_whatever_form_protobuf_reads_it(form):
    read = onnx.ModelProto.FromString(FORMS[form])
    assert [entry.value for tensor in all_tensors(read) for entry in tensor.external_data] == ["a.bin"]
    assert [location for _, location in found(FORMS[form])] == ["a.bin"]


def test_digits_of_a_tag_beyond_32_bits_are_dropped_as_protobuf_in_c_does():
    assert found(model_around(b"\xea\x80\x80\x80\x70\x11" + ENTRY)) == [("", "a.bin")]


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (field(7, b"\x2a\x7flocation"), "longer than its message"),
        (field(7, b"\x0a\x08location\x3d"), "longer than its message"),
        (b"\x0a\x08location\x39", "longer than its message"),
        (b"\x3f" + b"location", "unknown kind 7"),
        (b"\x00" + b"location", "without a number"),
        (b"\xff" * 11 + b"location", "does not end"),
        (b"\x0a\x08location\x08", "does not end"),
    ],
)
def test_a_damaged_model_is_a_value_error_and_protobuf_refuses_it(model, message):
    with pytest.raises(ValueError, match=message):
        found(model)
    with pytest.raises(ortx.InvalidProtobuf):
        ortx.session_from_bytes(model)


@pytest.mark.parametrize("depth", [34, 2000])
def test_a_model_deeper_than_protobuf_reads_is_refused_at_once(depth):
    content = ENTRY
    for _ in range(depth):  # a graph in an attribute of a node
        for number in (6, 5, 1):
            size, digits = len(content), b""
            while size > 127:
                digits, size = digits + bytes([size & 127 | 128]), size >> 7
            content = bytes([number << 3 | 2]) + digits + bytes([size]) + content
    size = len(content)
    digits = bytes([size & 127 | 128, size >> 7 & 127 | 128, size >> 14])
    with pytest.raises(ValueError, match="deeper"):
        found(b"\x3a" + digits + content)
    with pytest.raises(ortx.InvalidProtobuf):
        ortx.session_from_bytes(b"\x3a" + digits + content)


@settings(max_examples=300)
@given(data=st.data(), place=st.sampled_from(PLACES))
def test_any_bytes_are_refused_or_read(data, place):
    model = bytearray(place("a/b.bin"))
    for _ in range(data.draw(st.integers(1, 8))):
        model[data.draw(st.integers(0, len(model) - 1))] = data.draw(st.integers(0, 255))
    try:
        names = found(bytes(model))
    except ValueError:
        with pytest.raises(Exception, match=r"."):  # protobuf has classes of its own
            onnx.ModelProto.FromString(bytes(model))
        return
    try:
        read = onnx.ModelProto.FromString(bytes(model))
    except Exception:
        return  # more is read here than there, never less
    # A text that is no UTF-8 comes from there as bytes.
    reference = {
        entry.value if isinstance(entry.value, str) else entry.value.decode("utf-8", "surrogateescape")
        for tensor in all_tensors(read)
        for entry in tensor.external_data
        if entry.key == "location"
    }
    assert reference <= {location for _, location in names}


# --- what a model may read --------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path) -> Path:
    """A folder for models, with a file of weights in it and others around it."""
    folder = tmp_path / "models"
    (folder / "sub").mkdir(parents=True)
    (tmp_path / "elsewhere" / "deep").mkdir(parents=True)
    for file in ("models/in.bin", "models/sub/in.bin", "elsewhere/w.bin", "up.bin"):
        W.tofile(tmp_path / file)
    return folder


def opened(folder: Path, model: bytes, **keywords: object) -> list[float]:
    (folder / "model.onnx").write_bytes(model)
    with ortx.session(folder / "model.onnx", **keywords) as session:
        return session.run([X])[0].tolist()


@pytest.mark.parametrize("location", ["in.bin", "./in.bin", "sub/in.bin", "sub/../in.bin", "../models/in.bin"])
def test_a_file_in_the_models_folder_is_read(folder, location):
    assert opened(folder, in_initializer(location)) == READ


def test_the_folder_of_a_relative_path_is_meant(folder, monkeypatch):
    (folder / "model.onnx").write_bytes(in_initializer("in.bin"))
    (folder / "up.onnx").write_bytes(in_initializer("../up.bin"))
    for place, path in ((folder, "model.onnx"), (folder.parent, "models/model.onnx")):
        monkeypatch.chdir(place)
        with ortx.session(path) as session:
            assert session.run([X])[0].tolist() == READ
    with pytest.raises(ortx.ExternalDataRefused):
        ortx.session("models/up.onnx")


@EACH_PLACE
def test_a_file_outside_is_refused_wherever_its_name_stands(folder, place):
    with pytest.raises(ortx.ExternalDataRefused, match=r"^ortx\.session: the model has tensor 'w' in '\.\./up\.bin'"):
        opened(folder, place("../up.bin"))


def test_the_refusal_names_all_there_is_to_know(folder):
    with pytest.raises(PermissionError) as caught:
        opened(folder, in_initializer("../up.bin"))
    for word in ("ortx.session", "'w'", "'../up.bin'", repr(str(folder)), f"{OPTION}=True"):
        assert word in str(caught.value)
    assert isinstance(caught.value, ortx.ExternalDataRefused)
    assert caught.value.code == ortx.ErrorCode.FAIL


def test_a_tensor_without_a_name_is_refused_in_words(folder):
    with pytest.raises(ortx.ExternalDataRefused, match="the model has a tensor in '/etc/passwd'"):
        opened(folder, models.build([], [], [], [outside("/etc/passwd", name="")]))


@pytest.mark.parametrize("location", ["../elsewhere/w.bin", "sub/../../up.bin", "../models2/in.bin", "in.bin\0x", "\0"])
def test_a_path_that_leads_out_is_refused(folder, location):
    (folder.parent / "models2").mkdir()
    W.tofile(folder.parent / "models2" / "in.bin")
    with pytest.raises(ortx.ExternalDataRefused):
        opened(folder, in_initializer(location))


def test_a_path_from_the_root_is_refused(folder):
    with pytest.raises(ortx.ExternalDataRefused):
        opened(folder, in_initializer(str(folder.parent / "up.bin")))


@needs_links
@pytest.mark.parametrize("location", ["link.bin", "linked/w.bin", "deep/../w.bin", "twice.bin"])
def test_a_link_that_leads_out_is_refused(folder, location):
    (folder / "link.bin").symlink_to("../up.bin")
    (folder / "twice.bin").symlink_to("link.bin")
    (folder / "linked").symlink_to(folder.parent / "elsewhere")
    (folder / "deep").symlink_to("../elsewhere/deep")  # the system takes deep/.. for ../elsewhere
    with pytest.raises(ortx.ExternalDataRefused):
        opened(folder, in_initializer(location))


@needs_links
def test_a_link_to_a_file_beside_it_is_followed(folder):
    (folder / "link.bin").symlink_to("sub/in.bin")
    assert opened(folder, in_initializer("link.bin")) == READ


@needs_links
def test_links_of_a_models_cache_are_followed(tmp_path):
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / "0123"
    blobs.mkdir()
    snapshot.mkdir(parents=True)
    (blobs / "aa").write_bytes(in_initializer("model.onnx_data"))
    W.tofile(blobs / "bb")
    W.tofile(tmp_path / "other")
    (snapshot / "model.onnx").symlink_to("../../blobs/aa")
    (snapshot / "model.onnx_data").symlink_to("../../blobs/bb")
    with ortx.session(snapshot / "model.onnx") as session:
        assert session.run([X])[0].tolist() == READ
    (snapshot / "model.onnx_data").unlink()
    (snapshot / "model.onnx_data").symlink_to("../../other")
    with pytest.raises(ortx.ExternalDataRefused):
        ortx.session(snapshot / "model.onnx")


@needs_links
def test_the_folder_is_the_one_that_the_system_opens(folder):
    # "linked/.." is not the folder that "linked" stands in.
    (folder / "linked").symlink_to("../elsewhere/deep")
    (folder.parent / "elsewhere" / "model.onnx").write_bytes(in_initializer("w.bin"))
    (folder.parent / "elsewhere" / "up.onnx").write_bytes(in_initializer("../models/in.bin"))
    with ortx.session(f"{folder}/linked/../model.onnx") as session:
        assert session.run([X])[0].tolist() == READ
    with pytest.raises(ortx.ExternalDataRefused):
        ortx.session(f"{folder}/linked/../up.onnx")


@pytest.mark.parametrize("location", ["no.bin", "sub", "", "."])
def test_what_is_wrong_with_a_file_inside_is_onnx_runtimes_to_say(folder, location):
    with pytest.raises(ortx.Error) as caught:
        opened(folder, in_initializer(location))
    assert not isinstance(caught.value, ortx.ExternalDataRefused)


def test_a_model_in_memory_has_no_folder(folder, monkeypatch):
    monkeypatch.chdir(folder)
    for location in ("in.bin", "../up.bin", str(folder / "in.bin")):
        with pytest.raises(ortx.ExternalDataRefused, match="a model in memory has no folder") as caught:
            ortx.session_from_bytes(in_initializer(location), graph_optimization_level="disable")
        assert FOLDER in str(caught.value)
        assert f"{OPTION}=True" in str(caught.value)


def test_a_model_in_memory_may_be_given_a_folder(folder):
    entries = {FOLDER: str(folder)}
    with ortx.session_from_bytes(in_initializer("in.bin"), config_entries=entries) as session:
        assert session.run([X])[0].tolist() == READ
    with pytest.raises(ortx.ExternalDataRefused, match="outside of its folder"):
        ortx.session_from_bytes(in_initializer("../up.bin"), config_entries=entries)


def test_a_model_in_a_file_may_be_given_another_folder_besides(folder):
    # Whether ONNX Runtime looks there or beside the model depends on its version, so both have to be safe.
    (folder / "sub" / "model.onnx").write_bytes(in_initializer("../in.bin"))
    for other in (folder, folder.parent):
        with pytest.raises(ortx.ExternalDataRefused):
            ortx.session(folder / "sub" / "model.onnx", config_entries={FOLDER: str(other)})


def test_the_option_leaves_it_to_onnx_runtime(folder, monkeypatch):
    monkeypatch.chdir(folder)
    with ortx.session_from_bytes(
        in_initializer("in.bin"), graph_optimization_level="disable", **{OPTION: True}
    ) as session:
        assert session.run([X])[0].tolist() == READ


@pytest.mark.parametrize("allowed", [False, True])
@pytest.mark.parametrize("tag", ["*/_ORT_MEM_ADDR_/*", "*/_ORT_NATIVE_ENDIAN_MEM_ADDR_/*"])
def test_an_address_in_memory_is_refused_always(folder, tag, allowed):
    for call in (opened, lambda _, model, **keywords: ortx.session_from_bytes(model, **keywords)):
        with pytest.raises(ortx.ExternalDataRefused, match="stands for an address in memory"):
            call(folder, in_initializer(tag), **{OPTION: allowed})


def test_a_refusal_says_how_to_hand_a_trusted_file_over_and_that_works(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "up.bin").write_bytes(W.tobytes())
    (folder / "model.onnx").write_bytes(in_initializer("../up.bin"))
    with pytest.raises(ortx.ExternalDataRefused, match=r"external_data=\{'\.\./up\.bin': its content\} in any"):
        ortx.session(folder / "model.onnx")
    content = (tmp_path / "up.bin").read_bytes()
    with ortx.session(folder / "model.onnx", external_data={"../up.bin": content}) as session:
        assert session.run([X])["y"].tolist() == READ


def test_locations_that_are_served_from_memory_are_no_files():
    model = memoryview(in_initializer("../up.bin"))
    externalfiles.check("f", model, path=None, served={"../up.bin"})
    with pytest.raises(ortx.ExternalDataRefused):
        externalfiles.check("f", model, path=None, served={"other.bin"})


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs a pipe with a name, a file that cannot be mapped")
def test_a_file_that_cannot_be_looked_into_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe.onnx")
    end = os.open(tmp_path / "pipe.onnx", os.O_RDWR)
    try:
        with pytest.raises(ortx.InvalidArgument, match=r"pipe.onnx' is a pipe, a device or a socket"):
            ortx.session(tmp_path / "pipe.onnx")
    finally:
        os.close(end)


# --- the other doors --------------------------------------------------------------------------------------------------


def test_a_pool_refuses_before_it_reads(folder, monkeypatch):
    (folder / "model.onnx").write_bytes(in_initializer("../up.bin"))
    monkeypatch.setattr(np, "memmap", None)  # what would read the file
    with pytest.raises(ortx.ExternalDataRefused, match=r"^ortx\.SessionPool: "):
        ortx.SessionPool(folder / "model.onnx", 2)
    with pytest.raises(ortx.ExternalDataRefused, match=r"^ortx\.SessionPool: .* no folder"):
        ortx.SessionPool(in_initializer("in.bin"), 2)


def test_a_pool_reads_from_the_folder_that_a_model_in_memory_was_given(folder):
    weights = np.arange(512, dtype=np.float32)
    weights.tofile(folder / "large.bin")
    graph = helper.make_graph(
        [ADD],
        "graph",
        [models.tensor("x", shape=(512,))],
        [models.tensor("y", shape=(512,))],
        [outside("large.bin", shape=(512,))],
    )
    with ortx.SessionPool(model_of(graph), 2, config_entries={FOLDER: str(folder)}) as pool:
        assert pool.run([np.zeros(512, np.float32)])[0].tolist() == weights.tolist()
        shared = [session.options()["initializers"]["w"] for session in pool]
        assert shared[0].tolist() == weights.tolist()
        assert np.shares_memory(*shared)


def test_a_model_that_is_opened_anew_is_looked_at_anew(folder, compile_shared):
    library = compile_shared("void *RegisterCustomOps(void *options, const void *base) { return 0; }", "none")
    (folder / "link.bin").write_bytes((folder / "in.bin").read_bytes())
    (folder / "model.onnx").write_bytes(in_initializer("link.bin"))
    with ortx.session(folder / "model.onnx") as session:
        (folder / "link.bin").unlink()
        (folder / "link.bin").symlink_to("../up.bin")
        with pytest.raises(ortx.ExternalDataRefused, match="^register_custom_op_library: "):
            session.register_custom_op_library(library)
        assert session.run([X])[0].tolist() == READ


def test_weights_that_are_given_do_not_excuse_the_name_of_a_file(folder):
    with pytest.raises(ortx.ExternalDataRefused):
        opened(folder, in_initializer("../up.bin"), initializers={"w": W})


# --- with a library that reads anything -------------------------------------------------------------------------------

OPEN = """
import json, sys, numpy as np, ortx
path, options = sys.argv[1], json.loads(sys.argv[2])
try:
    print(ortx.session(path, options).run([np.ones(4, np.float32)])[0].tolist())
except ortx.Error as error:
    print(type(error).__name__)
"""


@pytest.fixture
def with_old_library(run_python, runtime_wheel) -> Callable[..., str]:
    def run(path: Path, **options: object) -> str:
        done = run_python(OPEN, path, json.dumps(options), ORTX_LIBRARY=runtime_wheel(READS_ANYTHING))
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return run


@needs_links
def test_without_this_an_older_library_reads_what_it_is_told_to(folder, with_old_library):
    (folder / "link.bin").symlink_to("../up.bin")
    for location in ("../up.bin", "link.bin", str(folder.parent / "up.bin")):
        (folder / "model.onnx").write_bytes(in_initializer(location))
        assert with_old_library(folder / "model.onnx", **{OPTION: True}) == str(READ)
        assert with_old_library(folder / "model.onnx") == "ExternalDataRefused"


def test_an_older_library_does_not_get_to_see_an_address(folder, with_old_library):
    model = onnx.ModelProto.FromString(in_initializer("*/_ORT_MEM_ADDR_/*"))
    for key, value in (("offset", "4096"), ("length", "16")):  # given to it, that ends the process
        model.graph.initializer[0].external_data.add(key=key, value=value)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    for allowed in (False, True):
        assert with_old_library(folder / "model.onnx", **{OPTION: allowed}) == "ExternalDataRefused"
