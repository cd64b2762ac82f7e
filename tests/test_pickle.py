"""Copy, pickle, spawn (`_core.src/recipe.pxi`, `recipe.py`): a session goes elsewhere as what it was made of."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import models
import numpy as np
import onnx
import pytest
from onnx import helper

import ortx
from ortx import _core, recipe

X = np.array([[1, 2], [3, 4]], np.float32)
SQUARES = X * X
PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)
SECONDS = 60  # more than anything here takes


@pytest.fixture
def path(tmp_path) -> Path:
    (tmp_path / "square.onnx").write_bytes(models.square())
    return tmp_path / "square.onnx"


def pickled(thing: Any, protocol: int = pickle.DEFAULT_PROTOCOL) -> Any:
    return pickle.loads(pickle.dumps(thing, protocol))


COPIES: dict[str, Callable[[Any], Any]] = {"pickle": pickled, "copy": copy.copy, "deepcopy": copy.deepcopy}
every_way = pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)


def works(session: ortx.Session) -> bool:
    with session:
        return bool((session.run([X])["y"] == SQUARES).all())


# --- a session is its recipe


@every_way
def test_a_copy_of_a_session_is_opened_anew_from_the_same_file_with_the_same_options(copied, path):
    given = {
        "preset": "throughput",
        "providers": ["cpu"],
        "graph_optimization_level": "basic",
        "free_dimension_overrides": [{"by": "name", "key": "n", "value": 2}],
        "config_entries": {"session.intra_op.allow_spinning": "0"},
        "log_id": "original",
        "concurrent_runs": False,
    }
    with ortx.session(path, given) as session:
        other = copied(session)
        assert other is not session
        assert other.options() == session.options()
        assert other.input_info(0).shape == (2, 2)
        assert works(other)
        assert (session.run([X])["y"] == SQUARES).all()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_session_goes_through_every_protocol(protocol, path):
    with ortx.session(path) as of_file, ortx.session_from_bytes(models.square(), keep_model=True) as of_bytes:
        for session in (of_file, of_bytes):
            with pickled(session, protocol) as other:
                assert works(pickled(other, protocol))  # a copy of a copy


def test_the_path_is_absolute_and_so_are_those_of_the_options(path, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with ortx.session("square.onnx", optimized_model_path="optimized.onnx") as session:
        (tmp_path / "optimized.onnx").unlink()
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path / "elsewhere")
        assert works(pickled(session))
    assert (tmp_path / "optimized.onnx").exists()
    assert list((tmp_path / "elsewhere").iterdir()) == []


FOLDER = "session.model_external_initializers_file_folder_path"


@pytest.fixture
def in_a_folder(tmp_path, monkeypatch) -> bytes:
    """A model that adds 1 from "weights/w.bin"; there is another such file, with 5, in "elsewhere"."""
    weights = onnx.TensorProto(name="w", data_type=1, dims=[1], data_location=onnx.TensorProto.EXTERNAL)
    weights.external_data.add(key="location", value="w.bin")
    for folder, value in (("weights", 1), ("elsewhere/weights", 5)):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "w.bin").write_bytes(np.float32(value).tobytes())
    monkeypatch.chdir(tmp_path)
    add = helper.make_node("Add", ["x", "w"], ["y"])
    return models.build([add], [models.tensor("x", shape=(1,))], [models.tensor("y", shape=(1,))], [weights])


def needs_folder_entry() -> None:
    if ortx.load_library().api_version < 21:
        pytest.skip("needs ONNX Runtime 1.21, the first that has such an entry")


def test_a_folder_among_the_configuration_entries_is_the_same_one_wherever_a_copy_is_opened(
    in_a_folder, monkeypatch, tmp_path
):
    needs_folder_entry()
    zero = [np.zeros(1, np.float32)]
    with ortx.session_from_bytes(in_a_folder, keep_model=True, config_entries={FOLDER: "weights"}) as session:
        assert session.run(zero)[0] == [1]
        content = pickle.dumps(session)
        monkeypatch.chdir(tmp_path / "elsewhere")
        for other in (copy.copy(session), copy.deepcopy(session), pickle.loads(content), pickled(session)):
            with other:
                assert other.run(zero)[0] == [1]


def test_it_is_the_same_one_when_a_library_of_operators_is_added(in_a_folder, monkeypatch, tmp_path, compile_shared):
    needs_folder_entry()
    library = compile_shared("void *RegisterCustomOps(void *options, const void *base) { return 0; }", "nothing")
    with ortx.session_from_bytes(in_a_folder, keep_model=True, config_entries={FOLDER: "weights"}) as session:
        monkeypatch.chdir(tmp_path / "elsewhere")
        session.register_custom_op_library(library)
        assert session.run([np.zeros(1, np.float32)])[0] == [1]


def test_names_that_are_relative_to_the_models_folder_stay_as_they_are(path, monkeypatch, tmp_path):
    needs_folder_entry()
    entries = {"session.collect_node_memory_stats_to_file": "stats.csv"}
    monkeypatch.chdir(tmp_path)
    with ortx.session(path, config_entries=entries) as session, pickled(session) as other:
        assert dict(other.options()["config_entries"]) == entries


def test_what_was_changed_since_the_session_was_opened_is_part_of_its_recipe(path, compile_shared):
    library = compile_shared("void *RegisterCustomOps(void *options, const void *base) { return 0; }", "nothing")
    with ortx.session(path) as session:
        session.register_custom_op_library(library)
        session.set_ep_dynamic_options({"ep.dynamic.workload_type": "Efficient"})
        with pickled(session) as other:
            assert other.options()["custom_op_libraries"] == [str(library)]
            with pickled(other) as third:
                assert third.options() == session.options()


def test_numbers_that_were_left_to_ortx_are_chosen_where_the_session_is_opened(path, monkeypatch):
    from ortx import cpus

    with ortx.session(path) as session:
        monkeypatch.setattr(cpus, "available", lambda: 1)
        with pickled(session) as other:
            assert other.options()["intra_op_num_threads"] == 1


def test_a_session_of_bytes_needs_keep_model(path):
    with ortx.session_from_bytes(models.square()) as session:
        for copied in COPIES.values():
            with pytest.raises(
                ortx.NotPicklable, match=r"of \d+ bytes cannot .* open it with keep_model=True, or from a"
            ):
                copied(session)


@pytest.mark.parametrize("exporter", [bytes, bytearray, memoryview, lambda b: np.frombuffer(b, np.uint8)])
def test_a_model_in_memory_travels_from_any_buffer_and_copies_share_it(exporter):
    model = exporter(models.square())
    with ortx.session_from_bytes(model, keep_model=True) as session:
        for copied in COPIES.values():
            assert works(copied(session))
        buffers: list[pickle.PickleBuffer] = []
        small = pickle.dumps(session, 5, buffer_callback=buffers.append)
        assert models.square() not in small
        assert np.shares_memory(np.frombuffer(buffers[0], np.uint8), np.frombuffer(model, np.uint8))
        assert works(pickle.loads(small, buffers=buffers))
        buffers.clear()


def test_a_closed_session_is_refused(path):
    session = ortx.session(path)
    session.close()
    for copied in COPIES.values():
        with pytest.raises(ortx.SessionClosed):
            copied(session)


def test_a_session_whose_file_is_gone_says_so_where_it_is_opened(path):
    with ortx.session(path) as session:
        pickle_of_it = pickle.dumps(session)
    path.unlink()
    with pytest.raises(ortx.NoSuchFile, match="square"):
        pickle.loads(pickle_of_it)


# --- options that cannot travel


@pytest.fixture
def shared(tmp_path):
    """A session that shares its weights, and those."""
    weights = np.array([[1, 2], [3, 4]], np.float32)
    model = models.build(
        [models.helper.make_node("MatMul", ["x", "w"], ["y"])],
        [models.tensor("x")],
        [models.tensor("y")],
        [models.constant("w", weights)],
    )
    (tmp_path / "weights.onnx").write_bytes(model)
    return tmp_path / "weights.onnx", weights


@pytest.mark.parametrize("option", ["initializers", "prepacked_weights"])
def test_an_option_that_is_bound_to_the_process_is_refused_by_name_but_copies_share_it(shared, option):
    path, weights = shared
    value = {"w": weights} if option == "initializers" else ortx.PrepackedWeights()
    with ortx.session(path, {option: value}) as session:
        with pytest.raises(ortx.NotPicklable, match=f"option '{option}': .* shared by sessions of one process; open"):
            pickle.dumps(session)
        for copied in (copy.copy, copy.deepcopy):
            with copied(session) as other:
                held = other.options()[option]
                assert held["w"] is weights if option == "initializers" else held is value
                assert other.run([X])[0].tolist() == (X @ weights).tolist()
        value = held = None


@pytest.mark.parametrize("key", ["user_compute_stream", "gpu_external_alloc"])
def test_options_of_providers_that_are_addresses_are_refused_by_name(key):
    given = _core.read_session_options("ortx.session", {"providers": [("cuda", {key: "1234"})]}, {})
    table = recipe.as_recipe("'model.onnx'", given)
    assert recipe.as_given(table)["providers"] == [("CUDAExecutionProvider", {key: "1234"})]
    assert recipe.as_given(copy.deepcopy(table)) == recipe.as_given(table)
    with pytest.raises(
        ortx.NotPicklable, match=f"'model.onnx' cannot .* 'providers': '{key}' of CUDAEx.* is an address"
    ):
        pickle.dumps(table)


def test_every_option_has_been_decided_upon():
    """Whoever adds an option decides whether it travels: values of these types do."""
    plain = {"bool", "int", "str", "str | None", "bool | None", "int | None", "tuple[tuple[str, str], ...]"}
    plain |= {"tuple[str, ...]", "tuple[tuple[str, str, int], ...]"}
    others = {name for name, type_ in _core.SessionOptions.__annotations__.items() if type_ not in plain}
    assert others == {"providers", "provider", "initializers", "prepacked_weights", "external_data"}


def test_the_call_in_a_message_has_what_differs_from_the_defaults():
    given = _core.read_session_options(
        "ortx.session",
        {"intra_op_num_threads": 3, "log_id": "x" * 1000, "initializers": {"w": X}, "providers": "cpu"},
        {},
    )
    text = recipe.opening_call("/model.onnx", given)
    assert text.startswith(
        "ortx.session('/model.onnx', providers=['CPUExecutionProvider'], intra_op_num_threads=3, log_"
    )
    assert text.endswith(", initializers=...)")
    assert recipe.opening_call(None, _core.SessionOptions()) == "ortx.session_from_bytes(model)"


# --- what belongs to a session, or goes into one


@every_way
def test_values_travel_as_their_elements(copied, path):
    strings = ortx.tensor("string", (2,), ["a", "ß"])
    with ortx.session(path) as session:
        outputs = copied(session.run([X]))
        assert outputs.keys() == ("y",)
        assert (outputs["y"] == SQUARES).all()
        assert copied(session.input_info("x")) == session.input_info("x")
        assert copied(session.metadata()) == session.metadata()
        assert copied(session.memory_info_for_inputs())[0] == session.memory_info_for_inputs()[0]
    assert copied(ortx.tensor(X)).tolist() == X.tolist()
    assert (copied(strings).tolist(), copied(strings).data_type) == (["a", "ß"], "string")
    optional = copied(ortx.optional(X, "optional(tensor(float))"))
    assert (optional.value.tolist(), optional.type_info) == (X.tolist(), "optional(tensor(float))")
    assert copied(ortx.load_library()) == ortx.load_library()


def test_a_shallow_copy_of_a_tensor_shares_its_memory_and_a_deep_one_does_not():
    tensor = ortx.tensor(X.copy())
    assert copy.copy(tensor).numpy() is tensor.numpy()
    assert not np.shares_memory(copy.deepcopy(tensor).numpy(), tensor.numpy())


@every_way
def test_run_options_travel_with_their_entries_and_their_state(copied, path):
    original = ortx.run_options(tag="t", log_severity_level=3, log_verbosity_level=1)
    original.add_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
    other = copied(original)
    assert repr(other) == repr(original)
    with ortx.session(path) as session:
        original.terminate()
        assert works_with(session, other)
        with pytest.raises(ortx.RunCancelled):
            session.run([X], run_options=copied(original))
        wrong = ortx.run_options()
        wrong.add_config_entry("memory.enable_memory_arena_shrinkage", "gpu:7")
        with pytest.raises(ortx.Error, match="gpu:7"):  # so entries are really there
            session.run([X], run_options=copied(wrong))


def works_with(session: ortx.Session, run_options: ortx.RunOptions) -> bool:
    return bool((session.run([X], run_options=run_options)["y"] == SQUARES).all())


@every_way
def test_a_library_of_custom_operators_travels_as_its_path(copied, compile_shared):
    library = compile_shared("void *RegisterCustomOps(void *options, const void *base) { return 0; }", "nothing")
    assert copied(ortx.load_custom_op_library(library)).path == str(library)


@every_way
def test_a_pool_travels_as_its_recipe(copied, shared):
    path, weights = shared
    with ortx.SessionPool(path, 2, log_id="pool") as pool, copied(pool) as other:
        assert len(other) == 2
        assert other.sessions[0].options()["log_id"] == "pool"
        assert other.run([X])[0].tolist() == (X @ weights).tolist()
        assert other.sessions[0].options()["prepacked_weights"] is not pool.sessions[0].options()["prepacked_weights"]
    with pytest.raises(ortx.SessionClosed):
        copied(pool)
    with ortx.SessionPool(path.read_bytes(), 2, keep_model=True) as pool, copied(pool) as other:
        assert len(other) == 2
    with ortx.SessionPool(path.read_bytes(), 2) as pool, pytest.raises(ortx.NotPicklable, match="keep_model=True"):
        copied(pool)


@every_way
def test_what_is_bound_to_the_process_is_refused_and_says_what_to_do(copied, path):
    with ortx.session(path) as session:
        with pytest.raises(ortx.NotPicklable, match="IOBinding cannot .* make another one with create_io_binding()"):
            copied(session.create_io_binding())
        refused = pytest.raises(ortx.NotPicklable, match="Batcher cannot .*its session can be pickled")
        with ortx.Batcher(session) as batcher, refused:
            copied(batcher)
    with pytest.raises(ortx.NotPicklable, match="PrepackedWeights cannot .* make another one there"):
        copied(ortx.PrepackedWeights())


# --- other processes

WORK = """
import ortx

def run(session, x):
    with session:
        return session.run([x])

def name_of_error(session):
    try:
        session.run([])
    except ortx.CallError as error:
        raise error
"""


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_the_pools_of_the_standard_library_take_sessions_and_give_outputs(method, run_python, path):
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"needs the start method {method}, which this system does not have")
    (path.parent / "pickled_work.py").write_text(WORK)
    done = run_python(
        f"""
import multiprocessing, sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
import numpy as np
import ortx, pickled_work
x = np.array([[1, 2], [3, 4]], np.float32)
context = multiprocessing.get_context({method!r})
model = Path(sys.argv[1]).read_bytes()
of_bytes = ortx.session_from_bytes(model, keep_model=True, intra_op_num_threads=1)
with ortx.session(sys.argv[1], intra_op_num_threads=2) as session, context.Pool(1) as pool:
    print([outputs["y"].tolist() for outputs in pool.starmap_async(
        pickled_work.run, [(session, x), (of_bytes, ortx.tensor(x))]).get({SECONDS})])
    process = context.Process(target=pickled_work.run, args=(session, x))
    process.start()
    process.join({SECONDS})
    print(process.exitcode)
    with ProcessPoolExecutor(1, context) as pool:
        print(pool.submit(pickled_work.run, session, x).result({SECONDS})["y"].tolist())
        for refused in (session.create_io_binding(), ortx.session_from_bytes(model)):
            print(type(pool.submit(pickled_work.run, refused, x).exception({SECONDS})).__name__)
        print(type(pool.submit(pickled_work.name_of_error, session).exception({SECONDS})).__name__)
""",
        path,
        PYTHONPATH=path.parent,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        str([SQUARES.tolist()] * 2),
        "0",
        str(SQUARES.tolist()),
        "NotPicklable",
        "NotPicklable",
        "CallError",
    ]


def test_joblib_and_loky_take_sessions_and_lambdas_around_them(run_python, path):
    pytest.importorskip("joblib", reason="needs the package joblib (dependency group test)")
    done = run_python(
        """
import sys, warnings
import numpy as np
import ortx
from joblib import Parallel, delayed
x = np.array([[1, 2], [3, 4]], np.float32)
session = ortx.session(sys.argv[1], intra_op_num_threads=1)
results = Parallel(2, timeout=60)(delayed(lambda x: session.run([x])["y"])(part) for part in (x, x[:1]))
print([y.tolist() for y in results])
pools = [ortx.SessionPool(sys.argv[1], 2) for _ in "ab"]
outputs = Parallel(2, timeout=60)(delayed(lambda pool, x: pool.run([x]))(pool, x) for pool in pools)
print([output["y"].tolist() for output in outputs])
try:
    Parallel(2, timeout=60)(delayed(lambda binding: binding.run())(session.create_io_binding()) for _ in "ab")
except Exception as error:
    print(type(error.__cause__ or error).__name__, "NotPicklable" in repr(error.__cause__) + repr(error))
from joblib.externals.loky import get_reusable_executor
get_reusable_executor().shutdown()
""",
        path,
    )
    assert done.returncode == 0
    # loky's own tracker may find a semaphore removed already, and its warning, here an error, ends the tracker.
    assert not done.stderr or "UserWarning: resource_tracker: /loky-" in done.stderr, done.stderr
    lines = done.stdout.splitlines()
    assert lines[:2] == [str([SQUARES.tolist(), SQUARES[:1].tolist()]), str([SQUARES.tolist()] * 2)]
    assert lines[2].endswith("True")
