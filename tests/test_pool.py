"""Pools of sessions that share weights (`ortx/pool.py`)."""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import threading
from pathlib import Path

import models
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from test_async import ENDLESS, SECONDS, counting, in_threads, wait_until
from test_deadlines import interrupt_soon, needs_signals

import ortx
from ortx import _core, cpus, pool

W = np.arange(64 * 64, dtype=np.float32).reshape(64, 64) / 4096
X = np.eye(64, dtype=np.float32)[:3]


@pytest.fixture(autouse=True)
def _completed_runs_are_put_away_before_handles_are_counted():
    before = _core._live_handles()
    yield
    wait_until(lambda: _core._live_handles() == before, 1)


def weighted(weights: np.ndarray = W, operator: str = "MatMul") -> bytes:
    """y = x `operator` w"""
    return models.build(
        [helper.make_node(operator, ["x", "w"], ["y"])],
        [models.tensor("x", shape=("n", 64))],
        [models.tensor("y", shape=("n", 64))],
        [models.constant("w", weights)],
    )


def saved(folder: Path, model: bytes, external: bool) -> Path:
    path = folder / "model.onnx"
    proto = onnx.load_from_string(model)
    onnx.save(proto, path, save_as_external_data=external, location="model.data" if external else None)
    return path


@pytest.fixture(params=["path", "path, external", "bytes", "bytearray"])
def model(request, tmp_path) -> object:
    if request.param.startswith("path"):
        return saved(tmp_path, weighted(), "external" in request.param)
    return {"bytes": bytes, "bytearray": bytearray}[request.param](weighted())


# --- what it is


def test_every_session_of_a_pool_computes_what_one_session_does(model):
    with ortx.SessionPool(model, 3) as sessions:
        assert len(sessions) == 3
        assert [type(session) for session in sessions] == [ortx.Session] * 3
        for session in sessions.sessions:
            np.testing.assert_array_equal(session.run([X])["y"], W[:3])
        np.testing.assert_array_equal(sessions.run({"x": X}, ["y"], ortx.run_options())["y"], W[:3])
        y = np.empty_like(X)
        assert sessions.run_into([X], [y])[0] is y
        np.testing.assert_array_equal(y, W[:3])
        assert repr(sessions).startswith("<ortx.SessionPool of 3: <ortx.Session of ")


def test_the_sessions_of_a_pool_have_the_same_weights_in_the_same_place(model):
    with ortx.SessionPool(model, 3) as sessions:
        first, *others = [session.options() for session in sessions]
        assert list(first["initializers"]) == ["w"]
        for other in others:
            assert other["initializers"]["w"] is first["initializers"]["w"]
            assert other["prepacked_weights"] is first["prepacked_weights"]
        assert type(first["prepacked_weights"]) is ortx.PrepackedWeights


def test_a_buffer_may_change_once_the_pool_is_open():
    model = bytearray(weighted(operator="Mul"))
    with ortx.SessionPool(model, 2) as sessions:
        model[:] = bytes(len(model))
        x = np.ones((64, 64), np.float32)
        for session in sessions:
            np.testing.assert_array_equal(session.run([x])["y"], W)


def test_mapped_weights_are_pages_of_the_file(tmp_path):
    path = saved(tmp_path, weighted(operator="Mul"), external=True)
    with ortx.SessionPool(path, 2, share="mapped") as sessions:
        options = [session.options() for session in sessions]
        assert [option["config_entries"] for option in options] == [{"session.disable_prepacking": "1"}] * 2
        assert [option["prepacked_weights"] for option in options] == [None] * 2
        assert options[0]["initializers"]["w"] is options[1]["initializers"]["w"]
        x = np.ones((64, 64), np.float32)
        with (tmp_path / "model.data").open("r+b") as data:  # what nobody should do
            data.write(np.float32(7).tobytes())
        assert [session.run([x])["y"][0, 0] for session in sessions] == [7, 7]


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc/self/statm, which only Linux has")
@pytest.mark.parametrize(("share", "external"), [("prepacked", False), ("prepacked", True), ("mapped", True)])
def test_a_further_session_of_100_mb_costs_at_most_a_tenth_of_the_first(run_python, tmp_path, share, external):
    weights = np.random.default_rng(0).standard_normal((5120, 5120), dtype=np.float32)
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    x, y = (models.tensor(name, shape=("n", 5120)) for name in "xy")
    path = saved(tmp_path, models.build([node], [x], [y], [models.constant("w", weights)]), external)
    code = """
import json, os, sys
import numpy as np, ortx
from ortx import pool
path, share = sys.argv[1:]
x = np.ones((1, 5120), np.float32)
def resident():
    ortx.trim_memory()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
with ortx.session(path) as session:  # what a process needs but once
    session.run([x])
del session
sizes = [resident()]
opened = pool._opened
def measured(*arguments):
    session = opened(*arguments)
    session.run([x])
    sizes.append(resident())
    return session
pool._opened = measured
with ortx.SessionPool(path, 8, share=share) as sessions:
    pass
del sessions
sizes.append(resident())
print(json.dumps(sizes))
"""
    done = run_python(code, path, share)
    assert (done.returncode, done.stderr) == (0, "")
    before, first, *_, eighth, after = json.loads(done.stdout)
    assert first - before > 100e6, "the weights are in memory"
    assert eighth - first <= 7 * 0.1 * (first - before)
    assert after - before < 0.1 * (first - before), "and go with the pool"


# --- options


def test_options_are_those_of_every_session():
    options = {"graph_optimization_level": "basic", "log_id": "a"}
    with ortx.SessionPool(weighted(), 2, options, log_id="b") as sessions:
        for session in sessions:
            found = session.options()
            assert (found["graph_optimization_level"], found["log_id"]) == ("basic", "b")
    assert options == {"graph_optimization_level": "basic", "log_id": "a"}


@pytest.mark.parametrize("count", [1, 2, 3, 1000])
def test_the_sessions_divide_the_cpus_that_the_process_may_use(monkeypatch, count):
    monkeypatch.setattr(cpus, "available", lambda: 6)
    assert pool._given(None, {}, count)["intra_op_num_threads"] == {1: 6, 2: 3, 3: 2, 1000: 1}[count]
    assert pool._given(None, {"intra_op_num_threads": 5}, count)["intra_op_num_threads"] == 5
    assert "intra_op_num_threads" not in pool._given(None, {"disable_per_session_threads": True}, count)


@pytest.mark.parametrize("name", ["initializers", "prepacked_weights"])
def test_what_the_pool_does_itself_is_no_option(name):
    with pytest.raises(ortx.OptionError, match=f"option '{name}': the pool shares all weights itself"):
        ortx.SessionPool(weighted(), 2, **{name: {"w": W}})


def test_an_unknown_option_is_refused_and_nothing_stays_open():
    with pytest.raises(ortx.OptionError, match="did you mean 'log_id'"):
        ortx.SessionPool(weighted(), 2, log_ids="a")


# --- refusals


@pytest.mark.parametrize(
    ("count", "error"),
    [
        (0, ortx.InvalidArgument),
        (-1, ortx.InvalidArgument),
        (True, ortx.InvalidType),
        (2.0, ortx.InvalidType),
        ("2", ortx.InvalidType),
        (None, ortx.InvalidType),
    ],
)
def test_a_count_that_is_none_is_refused(count, error):
    with pytest.raises(error, match="count: got .*; expected a number of sessions, 1 or more"):
        ortx.SessionPool(weighted(), count)


@pytest.mark.parametrize("share", ["", "no", None, 1])
def test_a_way_of_sharing_that_is_none_is_refused(share):
    with pytest.raises(ortx.InvalidArgument, match="share: got .*; expected 'prepacked' or 'mapped'"):
        ortx.SessionPool(weighted(), 2, share=share)


@pytest.mark.parametrize("options", [1, [("log_id", "a")], "log_id"])
def test_options_that_are_no_mapping_are_refused(options):
    with pytest.raises(ortx.InvalidType, match="options: got"):
        ortx.SessionPool(weighted(), 2, options)


def test_a_model_in_onnx_runtimes_own_format_is_refused(tmp_path):
    path = tmp_path / "model.ort"
    entries = {"session.save_model_format": "ORT"}
    ortx.session_from_bytes(weighted(), optimized_model_path=path, config_entries=entries).close()
    for share in ("prepacked", "mapped"):
        with pytest.raises(ortx.NotSupported, match=r"own format \(.ort\)"):
            ortx.SessionPool(path, 2, share=share)


@pytest.mark.parametrize(("model", "error"), [(b"", ortx.InvalidProtobuf), (b"\xff" * 99, ortx.InvalidProtobuf)])
def test_what_is_no_model_is_refused(tmp_path, model, error):
    with pytest.raises(error):
        ortx.SessionPool(model, 2)
    (tmp_path / "model.onnx").write_bytes(model)
    with pytest.raises(error):
        ortx.SessionPool(tmp_path / "model.onnx", 2)


def test_what_is_neither_a_file_nor_a_buffer_is_refused(tmp_path):
    with pytest.raises(ortx.NoSuchFile):
        ortx.SessionPool(tmp_path / "model.onnx", 2)
    with pytest.raises(ortx.InvalidArgument, match="is a folder"):
        ortx.SessionPool(tmp_path, 2)
    with pytest.raises(ortx.InvalidType):
        ortx.SessionPool(None, 2)
    with pytest.raises(ortx.InvalidArgument, match="contiguous"):
        ortx.SessionPool(memoryview(weighted())[::2], 2)


def test_weights_that_no_sessions_can_share_are_refused_by_name():
    int4 = helper.make_tensor("w", TensorProto.INT4, (64, 64), bytes(2048), raw=True)
    model = models.build(
        [helper.make_node("Cast", ["w"], ["y"], to=TensorProto.FLOAT)], [], [models.tensor("y", shape=(64, 64))], [int4]
    )
    proto = onnx.load_from_string(model)
    proto.ir_version, proto.opset_import[0].version = 10, 21
    with pytest.raises(ortx.NotSupported, match=r"'w' \(element type 22 of TensorProto, shape \(64, 64\)\)"):
        ortx.SessionPool(proto.SerializeToString(), 2)


def test_weights_in_the_model_cannot_be_mapped():
    with pytest.raises(ortx.InvalidArgument, match=r"16384 bytes of weights \(1 of them\) are in the model itself"):
        ortx.SessionPool(weighted(), 2, share="mapped")


def test_kernels_that_pack_cannot_use_mapped_weights(tmp_path):
    path = saved(tmp_path, weighted(), external=True)
    with pytest.raises(ortx.OptionError, match="expected '1', or nothing, with share='mapped'"):
        ortx.SessionPool(path, 2, share="mapped", config_entries={"session.disable_prepacking": "0"})
    with pytest.raises(ortx.OptionTypeError, match="config_entries"):
        ortx.SessionPool(path, 2, share="mapped", config_entries=1)


def test_a_provider_with_weights_of_its_own_is_refused(monkeypatch):
    class Elsewhere:
        closed = False

        def providers(self):
            return ("CUDAExecutionProvider", "CPUExecutionProvider")

        def close(self):
            Elsewhere.closed = True

    monkeypatch.setattr(_core, "session_from_bytes", lambda *_: Elsewhere())
    with pytest.raises(ortx.NotSupported, match="CUDAExecutionProvider copies the weights for each session"):
        ortx.SessionPool(weighted(), 2)
    assert Elsewhere.closed


def test_if_one_session_cannot_be_opened_the_others_are_closed(monkeypatch):
    opened, real = [], _core.session_from_bytes

    def third_fails(model, options):
        if len(opened) == 2:
            raise ortx.Error("no more")
        opened.append(real(model, options))
        return opened[-1]

    monkeypatch.setattr(_core, "session_from_bytes", third_fails)
    with pytest.raises(ortx.Error, match="no more"):
        ortx.SessionPool(weighted(), 3)
    assert [session.closed for session in opened] == [True, True]


# --- which session


def test_calls_go_to_sessions_that_are_free_and_then_to_the_least_busy():
    with ortx.SessionPool(counting(), 3, intra_op_num_threads=2) as sessions:
        stop = ortx.run_options()
        futures = [sessions.submit([[0.0], 1 << 40], run_options=stop) for _ in range(3)]
        assert [session.running for session in sessions] == [1, 1, 1]
        futures.append(sessions.sessions[0].submit([[0.0], 1 << 40], run_options=stop))
        futures.append(sessions.submit([[0.0], 1 << 40], run_options=stop))
        assert sorted(session.running for session in sessions) == [1, 2, 2]
        stop.terminate()
        assert all(isinstance(future.exception(SECONDS), ortx.Error) for future in futures)
        assert wait_until(lambda: len(sessions._free) == 3)
        assert set(map(id, sessions._free)) == set(map(id, sessions.sessions))
        assert sessions.run([[0.0], 2])["y"].tolist() == [2.0]


def test_a_call_that_fails_gives_its_session_back():
    with ortx.SessionPool(weighted(), 2, intra_op_num_threads=2) as sessions:
        for call in (sessions.run, sessions.submit, lambda x: sessions.run_into(x, [])):
            with pytest.raises(ortx.CallError):
                call([])
            assert len(sessions._free) == 2


@needs_signals
@pytest.mark.parametrize("into", [False, True], ids=["run", "run_into"])
def test_ctrl_c_ends_a_run_of_the_main_thread_and_gives_its_session_back(into):
    def run(count: int) -> ortx.Outputs:
        inputs = [np.zeros(1, np.float32), count]
        return sessions.run_into(inputs, [np.zeros(1, np.float32)]) if into else sessions.run(inputs)

    with ortx.SessionPool(counting(), 2) as sessions:
        timer = interrupt_soon()
        with pytest.raises(KeyboardInterrupt):
            run(ENDLESS)
        timer.join()
        assert [session.running for session in sessions] == [0, 0]
        assert len(sessions._free) == 2
        assert run(3)["y"].tolist() == [3]


@pytest.mark.parametrize("options", [{}, {"concurrent_runs": False}], ids=str)
def test_calls_with_a_timeout_end_in_time_and_give_their_session_back(options):
    with ortx.SessionPool(counting(), 2, intra_op_num_threads=1, **options) as sessions:
        stop = ortx.run_options()
        futures = [sessions.submit([[0.0], 1 << 40], run_options=stop) for _ in range(2)]  # none is free
        y = np.zeros(1, np.float32)
        for call in (
            lambda count, timeout: sessions.run([[0.0], count], timeout=timeout),
            lambda count, timeout: sessions.run_into([[0.0], count], {"y": y}, timeout=timeout),
        ):
            with pytest.raises(ortx.RunTimeout):
                call(1 << 40, 0.02)
            with pytest.raises(ortx.InvalidType, match="timeout"):
                call(1, "1")
        assert len(sessions._free) == 0
        stop.terminate()
        assert all(isinstance(future.exception(SECONDS), ortx.RunCancelled) for future in futures)
        assert wait_until(lambda: len(sessions._free) == 2)
        assert sessions.run([[0.0], 2], timeout=SECONDS)["y"].tolist() == [2.0]
        assert sessions.run_into([[0.0], 3], {"y": y}, timeout=SECONDS)["y"] is y
        assert len(sessions._free) == 2


def test_run_async_awaits_that_of_a_session_and_gives_it_back():
    class Standin:
        def __init__(self) -> None:
            self.calls = []

        async def run_async(self, *arguments, **keywords):
            self.calls.append((arguments, keywords))
            await asyncio.sleep(0)
            if arguments == ("fails",):
                raise ortx.Error("failed")
            return "outputs"

    async def work() -> list:
        return await asyncio.gather(*(sessions.run_async("x", timeout=i) for i in range(2)))

    with ortx.SessionPool(weighted(), 2) as sessions:
        standins = [Standin(), Standin()]
        sessions._free.clear()
        sessions._free.extend(standins)
        assert asyncio.run(work()) == ["outputs"] * 2
        assert [len(standin.calls) for standin in standins] == [1, 1]
        assert standins[1].calls == [(("x",), {"timeout": 0})]
        with pytest.raises(ortx.Error, match="failed"):
            asyncio.run(sessions.run_async("fails"))
        assert set(map(id, sessions._free)) == set(map(id, standins))


def test_many_threads_on_one_pool_never_see_a_wrong_value():
    wrong = []

    def work(number: int) -> None:
        x = np.full((number + 1, 64), number, np.float32)
        for _ in range(50):
            (y,) = sessions.run([x])
            (z,) = sessions.submit([x]).result(SECONDS)
            if (y != x * W[0]).any() or (z != y).any():
                wrong.append(number)

    with ortx.SessionPool(weighted(W[0], "Mul"), 4, intra_op_num_threads=2) as sessions:
        in_threads(16, work)
        assert wait_until(lambda: len(sessions._free) == 4)
    assert not wrong


# --- the end


def test_a_closed_pool_refuses_calls_and_lets_the_weights_go():
    before = _core._live_handles()
    sessions = ortx.SessionPool(weighted(), 2)
    (y,) = sessions.run([X])
    assert not sessions.closed
    sessions.close()
    sessions.close()
    assert sessions.closed
    for call in (sessions.run, sessions.submit):
        with pytest.raises(ortx.SessionClosed):
            call([X])
    with pytest.raises(ortx.SessionClosed), sessions:
        pass
    gc.collect()
    assert _core._live_handles() == before | {"value": before["value"] + 1}
    np.testing.assert_array_equal(y, W[:3])


def test_close_waits_for_calls_of_other_threads():
    sessions = ortx.SessionPool(counting(), 2)
    results = []
    threads = [threading.Thread(target=lambda: results.append(sessions.run([[0.0], 20_000]))) for _ in range(4)]
    for thread in threads:
        thread.start()
    assert wait_until(lambda: sum(session.running for session in sessions) == 4 or len(results) > 0)
    running = sum(session.running for session in sessions) + len(results)
    sessions.close()
    for thread in threads:
        thread.join()
    assert len(results) >= running > 0
    assert all(outputs["y"].tolist() == [20_000.0] for outputs in results)
