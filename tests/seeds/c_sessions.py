"""The C API's page: sessions, what they say of themselves, metadata, profiling."""

from __future__ import annotations

import functools
import gc
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import models
import numpy as np
import onnx
import pytest

import ortx
from ortx import _core

from .shared import (
    BIAS,
    OPTIONAL,
    C,
    X,
    described,
    live,
    megabytes,
    messages,
    opened,
    parsed,
    proves,
    session_line,
    threads,
)

# --- creating sessions

c_creation = functools.partial(proves, C, "Creating Sessions")


@c_creation("CreateSession")
def a_session_is_created_from_a_file(tmp_path):
    path, before = tmp_path / "add.onnx", live("session")
    path.write_bytes(models.add())
    session = ortx.session(path)
    assert live("session") == before + 1
    assert session.run([X, BIAS])["y"].tolist() == (X + BIAS).tolist()


@c_creation("CreateSession: env")
def one_environment_is_made_for_all_sessions(new_process):
    assert new_process("""
ortx.configure(log_id="the one", log_severity_level=0)
for _ in range(2):
    records.clear()
    ortx.session_from_bytes(square).close()
    print(bool(records))
try:
    ortx.configure(log_id="another")
except ortx.Error as error:
    print("the environment was made with the first session" in str(error))
""").splitlines() == ["True", "True", "True"]


@c_creation("CreateSession: model_path")
def the_path_may_hold_any_characters(tmp_path):
    path = tmp_path / "größe 模型.onnx"
    path.write_bytes(models.square())
    assert ortx.session(path).run([X])["y"].tolist() == (X * X).tolist()
    with pytest.raises(ortx.InvalidType):
        ortx.session(bytes(path))


@c_creation("CreateSession: options")
def options_can_be_left_out_or_used_for_several_sessions(tmp_path):
    path = tmp_path / "square.onnx"
    path.write_bytes(models.square())
    assert ortx.session(path).options() == ortx.session(path, None).options() == ortx.session(path, {}).options()
    table = {"enable_cpu_mem_arena": False, "log_id": "shared"}
    first, second = (ortx.session(path, table) for _ in range(2))
    assert first.options() == second.options() != ortx.session(path).options()
    assert table == {"enable_cpu_mem_arena": False, "log_id": "shared"}


@c_creation("CreateSession: NULL on success, error status otherwise")
def an_error_status_is_an_exception_with_its_code_and_leaves_nothing(tmp_path):
    before = _core._live_handles()
    (tmp_path / "garbage.onnx").write_bytes(b"garbage")
    for name, code in (("missing.onnx", "NO_SUCHFILE"), ("garbage.onnx", "INVALID_PROTOBUF")):
        with pytest.raises(ortx.Error, match=name) as caught:
            ortx.session(tmp_path / name)
        assert caught.value.code == ortx.ErrorCode[code]
    assert _core._live_handles() == before


@c_creation("CreateSessionFromArray")
def a_session_is_created_from_memory(tmp_path):
    path = tmp_path / "add.onnx"
    path.write_bytes(models.add())
    from_array, from_file = ortx.session_from_bytes(path.read_bytes()), ortx.session(path)
    assert from_array.input_names() == from_file.input_names()
    assert from_array.run([X, BIAS])["y"].tolist() == from_file.run([X, BIAS])["y"].tolist()


@c_creation("CreateSessionFromArray: model_data, model_data_length")
def exactly_the_bytes_of_the_buffer_are_read():
    content = b"before" + models.square() + b"behind"
    view = memoryview(content)[6:-6]
    assert ortx.session_from_bytes(view).run([X])["y"].tolist() == (X * X).tolist()
    for wrong in (content, view[:-1], b""):
        with pytest.raises(ortx.InvalidProtobuf):
            ortx.session_from_bytes(wrong)


def product(w: np.ndarray) -> bytes:
    """y = x @ w"""
    model = onnx.load_from_string(parsed("g (float[n,64] x) => (float[n,64] y) { y = MatMul(x, w) }"))
    model.graph.initializer.append(models.constant("w", w))
    return model.SerializeToString()


REUSED = "Using cached version of pre-packed weight for constant initializer: w"


def reused(create: Callable[..., ortx.Session], given: list[dict[str, Any]]) -> list[bool]:
    """Create one session after another, and say which of them reuse packed weights, as ONNX Runtime says itself."""
    answers, sessions = [], []
    for each in given:
        with messages() as said:
            sessions.append(create(session_log_severity_level=0, **each))
        answers.append(any(REUSED in record.getMessage() for record in said))
    x = np.eye(64, dtype=np.float32)
    first, *others = [session.run([x])["y"] for session in sessions]
    assert all((first == other).all() for other in others)
    return answers


@c_creation("CreateSessionWithPrepackedWeightsContainer")
def sessions_share_packed_weights_through_a_container(tmp_path):
    path, w = tmp_path / "product.onnx", np.random.default_rng(1).random((64, 64), np.float32)
    path.write_bytes(product(w))
    shared = {"prepacked_weights": ortx.PrepackedWeights(), "initializers": {"w": w}}
    other = {"prepacked_weights": ortx.PrepackedWeights(), "initializers": {"w": w}}
    create = functools.partial(ortx.session, path)
    assert reused(create, [shared, shared, shared, other, {}]) == [False, True, True, False, False]
    assert reused(functools.partial(ortx.session_from_bytes, path.read_bytes()), [shared]) == [True]


@c_creation("CreateSessionWithPrepackedWeightsContainer: prepacked_weights_container")
def a_session_keeps_its_container_alive():
    w = np.random.default_rng(1).random((64, 64), np.float32)
    before, container = live("prepacked_weights"), ortx.PrepackedWeights()
    session = opened(product(w), prepacked_weights=container, initializers={"w": w})
    del container
    assert live("prepacked_weights") == before + 1
    assert np.allclose(session.run([np.eye(64, dtype=np.float32)])["y"], w)
    session.close()
    del session
    assert live("prepacked_weights") == before
    with pytest.raises(ortx.OptionError, match=r"prepacked_weights.*expected an ortx\.PrepackedWeights"):
        opened(product(w), prepacked_weights={})


@c_creation("ReleaseSession")
def a_session_is_released_by_close_by_with_or_with_its_last_reference():
    before = live("session")
    sessions = [opened(models.square()) for _ in range(3)]
    assert live("session") == before + 3
    sessions[0].close()
    with sessions[1]:
        pass
    assert live("session") == before + 1
    del sessions
    assert live("session") == before


@c_creation("ReleaseSession: session can be NULL")
def closing_what_is_closed_does_nothing():
    session = opened(models.square())
    before = live("session")
    for _ in range(3):
        session.close()
        assert live("session") == before - 1


@c_creation("ReleaseSession: the session owns a thread pool")
def the_threads_of_a_session_end_with_it():
    before = threads()
    session = opened(models.square(), intra_op_num_threads=6)
    assert threads() == before + 5
    session.close()
    assert threads() == before


# --- querying session information

querying = functools.partial(proves, C, "Querying Session Information")


@querying("SessionGetInputCount")
def the_count_of_inputs_does_not_include_overridable_initializers():
    assert [opened(models.many(n)).input_count() for n in (1, 3, 40)] == [1, 3, 40]
    assert opened(models.overridable()).input_count() == 1


@querying("SessionGetOutputCount")
def the_count_of_outputs_is_the_model_s():
    assert [opened(models.many(n)).output_count() for n in (1, 3, 40)] == [1, 3, 40]


@querying("SessionGetInputName")
def each_input_has_its_name():
    assert opened(models.many(3)).input_names() == ("x0", "x1", "x2")


@querying("SessionGetInputName: index from 0 to num_inputs - 1")
def every_index_below_the_count_has_a_name_and_no_other():
    session = opened(models.many(5))
    assert [session.input_info(i).name for i in range(session.input_count())] == list(session.input_names())
    with pytest.raises(ortx.InvalidArgument):
        session.input_info(session.input_count())


def named(input_name: str, output_name: str) -> bytes:
    node = onnx.helper.make_node("Identity", [input_name], [output_name])
    return models.build([node], [models.tensor(input_name)], [models.tensor(output_name)])


@querying("SessionGetInputName: UTF-8")
def the_name_of_an_input_is_utf_8():
    session = opened(named("größe 模型", "y"))
    assert session.input_names() == ("größe 模型",)
    assert session.run({"größe 模型": X})["y"].tolist() == X.tolist()


def names_are_given_back(which: str) -> None:
    """Open a model whose name takes a megabyte, again and again: memory does not grow by the names."""
    name = "n" * 2**20
    model = named(name, "y") if which == "input_names" else named("x", name)
    for _ in range(3):
        assert getattr(opened(model), which)() == (name,)
    before = megabytes()
    for _ in range(25):
        assert len(getattr(opened(model), which)()[0]) == len(name)
    assert megabytes() - before < 12


querying("SessionGetInputName: freed with the allocator")(functools.partial(names_are_given_back, "input_names"))


@querying("SessionGetOutputName")
def each_output_has_its_name():
    assert opened(models.sum_and_difference()).output_names() == ("sum", "difference")


@querying("SessionGetOutputName: index from 0 to num_outputs - 1")
def every_index_below_the_count_of_outputs_has_a_name_and_no_other():
    session = opened(models.many(5))
    assert [session.output_info(i).name for i in range(session.output_count())] == list(session.output_names())
    with pytest.raises(ortx.InvalidArgument):
        session.output_info(session.output_count())


@querying("SessionGetOutputName: UTF-8")
def the_name_of_an_output_is_utf_8():
    session = opened(named("x", "größe 模型"))
    assert session.output_names() == ("größe 模型",)
    assert session.run({"x": X}, ["größe 模型"])["größe 模型"].tolist() == X.tolist()


querying("SessionGetOutputName: freed with the allocator")(functools.partial(names_are_given_back, "output_names"))


@querying("SessionGetInputTypeInfo")
def the_type_of_an_input_is_told_and_checked():
    session = opened(models.identity("int64", ("n", 3)))
    assert str(session.input_info(0)) == "int64 of shape (n, 3)"
    with pytest.raises(ortx.CallError, match=r"expected int64 of shape \(n, 3\)"):
        session.run([X])


@querying("SessionGetInputTypeInfo: freed with ReleaseTypeInfo")
def type_information_outlives_its_session():
    session = opened(OPTIONAL)
    info = session.input_info("x")
    session.close()
    del session
    gc.collect()
    assert (info.type, info.element.shape) == ("optional(tensor(float))", (2,))


@querying("SessionGetOutputTypeInfo")
def the_type_of_an_output_is_told_and_checked():
    session = opened(models.identity("int64", ("n", 3)))
    assert str(session.output_info("y")) == "int64 of shape (n, 3)"
    with pytest.raises(ortx.CallError, match="output 'y'.*expected int64"):
        session.run_into([np.zeros((1, 3), np.int64)], [np.zeros((1, 3), np.int32)])


@querying("SessionGetOverridableInitializerCount")
def the_count_of_overridable_initializers_is_the_model_s():
    two = "g (float[n,2] x, float[1] a = {1.0}, float[1] b = {2.0}) => (float[n,2] y) { t = Mul(x, a) y = Mul(t, b) }"
    counts = [
        opened(each).overridable_initializer_count() for each in (models.add(), models.overridable(), parsed(two))
    ]
    assert counts == [0, 1, 2]


# --- model metadata

c_metadata = functools.partial(proves, C, "Model Metadata")


@c_metadata("SessionGetModelMetadata")
def an_open_session_has_metadata():
    session = opened(described())
    assert (session.metadata().domain, session.metadata().description) == ("org.example", "Squares numbers.")
    session.close()
    with pytest.raises(ortx.SessionClosed):
        session.metadata()


@c_metadata("ModelMetadataGetProducerName")
def the_producer_is_named():
    assert [opened(model).metadata().producer_name for model in (described(), models.square())] == ["Müller", ""]


@c_metadata("ModelMetadataGetGraphName")
def the_graph_is_named():
    assert [opened(model).metadata().graph_name for model in (described(), models.square())] == ["squares", "graph"]


@c_metadata("ModelMetadataGetVersion")
def the_version_is_a_number_or_none():
    assert [opened(model).metadata().version for model in (described(), models.square())] == [7, None]


@c_metadata("ModelMetadataLookupCustomMetadataMap")
def a_key_of_the_author_s_is_looked_up():
    custom = opened(described()).metadata().custom_metadata
    assert (custom["author"], custom.get("größe"), len(custom)) == ("Ada", "模型", 2)


@c_metadata("ModelMetadataLookupCustomMetadataMap: NULL if key not found")
def a_key_that_is_missing_is_none():
    for model in (described(), models.square()):
        custom = opened(model).metadata().custom_metadata
        assert custom.get("missing") is None
        with pytest.raises(KeyError):
            custom["missing"]


@c_metadata("ModelMetadataLookupCustomMetadataMap: freed with the allocator")
def values_that_are_looked_up_are_given_back():
    model = onnx.load_from_string(models.square())
    onnx.helper.set_model_props(model, {"long": "x" * 2**20})
    session = opened(model.SerializeToString())
    for _ in range(3):
        assert len(session.metadata().custom_metadata["long"]) == 2**20
    before = megabytes()
    for _ in range(60):
        session.metadata()
    assert megabytes() - before < 30


@c_metadata("ReleaseModelMetadata")
def metadata_outlives_its_session():
    session = opened(described())
    metadata = session.metadata()
    session.close()
    del session
    gc.collect()
    assert (metadata.producer_name, metadata.custom_metadata["author"]) == ("Müller", "Ada")


# --- profiling

c_profiling = functools.partial(proves, C, "Profiling")


@c_profiling("SessionEndProfiling")
def the_profile_is_written_and_holds_the_nodes_that_ran(tmp_path):
    session = opened(models.sum_and_difference(), profile_file_prefix=tmp_path / "profile")
    session.run([X, X])
    events = json.loads(Path(session.end_profiling()).read_text())
    assert {"Add", "Sub"} <= {event["args"].get("op_name") for event in events}


@c_profiling("SessionEndProfiling: out")
def the_name_of_the_file_is_returned(tmp_path):
    sessions = [opened(models.square(), profile_file_prefix=tmp_path / "same") for _ in range(3)]
    names = [session.end_profiling() for session in sessions]
    assert sorted(names) == sorted(str(path) for path in tmp_path.iterdir())
    assert len(set(names)) == 3


@c_profiling("EnableProfiling")
def profiling_is_on_only_where_a_prefix_says_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert " enable_profiling:0 " in session_line()
    assert list(tmp_path.iterdir()) == []
    assert " enable_profiling:1 " in session_line(profile_file_prefix="profile")
    (file,) = tmp_path.iterdir()
    assert file.name.startswith("profile")
