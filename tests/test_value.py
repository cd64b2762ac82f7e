"""Whose memory it is: zero-copy in and out, and who keeps what alive (`_core.src/value.pxi`)."""

from __future__ import annotations

import gc
import sys
import threading
import weakref

import models
import numpy as np
import pytest

import ortx
from ortx import _core

X = np.array([[1, 2], [3, 4]], np.float32)


def address(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]


def test_an_output_is_writable_aligned_contiguous_and_not_a_copy():
    with ortx.session_from_bytes(models.square()) as session:
        y = session.run([X])[0]
    assert type(y) is np.ndarray
    assert y.flags.c_contiguous
    assert y.flags.aligned
    assert y.flags.writeable
    assert not y.flags.owndata
    assert type(y.base).__name__ == "Value"
    y += 1
    assert y[0, 0] == 2


def test_an_input_is_not_copied():
    """The model reads the array's own memory: what it sees of a large array costs no second one."""
    x = np.ones((1 << 20, 2), np.float32)
    with ortx.session_from_bytes(models.square()) as session:
        y = np.empty_like(x)
        before = sys.getrefcount(x)
        session.run_into([x], [y])
        assert sys.getrefcount(x) == before
        x[:] = 3
        session.run_into([x], [y])
        assert (y == 9).all()


def test_each_run_has_an_output_of_its_own():
    with ortx.session_from_bytes(models.square()) as session:
        first, second = session.run([X])[0], session.run([X + 1])[0]
        assert not np.shares_memory(first, second)
        assert first.tolist() == (X * X).tolist()


def test_an_output_outlives_its_session_and_the_outputs_object():
    session = ortx.session_from_bytes(models.square())
    outputs = session.run([X])
    y = outputs["y"]
    session.close()
    del session, outputs
    gc.collect()
    np.testing.assert_array_equal(y, X * X)


def test_a_view_keeps_the_output_alive():
    with ortx.session_from_bytes(models.square()) as session:
        view = session.run([X])[0][1:, ::-1]
    gc.collect()
    [np.zeros(4) for _ in range(100)]
    assert view.tolist() == [[16, 9]]


def test_the_value_is_released_with_the_last_array():
    before = _core._live_handles()["value"]
    with ortx.session_from_bytes(models.square()) as session:
        y = session.run([X])[0]
        view = y[0]
        assert _core._live_handles()["value"] == before + 1
        del y
        assert _core._live_handles()["value"] == before + 1
        del view
        assert _core._live_handles()["value"] == before


def test_a_large_output_may_be_dropped_by_another_thread():
    with ortx.session_from_bytes(models.square()) as session:
        outputs = [session.run([np.ones((1 << 18, 2), np.float32)])[0] for _ in range(8)]
    threads = [threading.Thread(target=outputs.pop) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not outputs


def test_an_input_that_is_an_output_is_copied():
    """ORT hands the caller's buffer back; nothing would keep it alive."""
    x = X.copy()
    with ortx.session_from_bytes(models.passed_through()) as session:
        same, y = session.run({"x": x})
        assert not np.shares_memory(same, x)
        into = np.zeros_like(X)
        results = session.run_into({"x": x}, {"x": into})
        assert results["x"] is into
        with pytest.raises(ortx.InvalidArgument, match=r"output 'x': .* of shape \(3, 2\); .* of shape \(2, 2\)"):
            session.run_into({"x": x}, {"x": np.zeros((3, 2), np.float32)})
    del x
    gc.collect()
    assert same.tolist() == into.tolist() == X.tolist()
    assert y.tolist() == (X * X).tolist()


def test_a_temporary_input_is_kept_alive_during_the_call():
    with ortx.session_from_bytes(models.slow(steps=20, size=128), intra_op_num_threads=1) as session:
        for scale in range(5):
            y = session.run({"x": np.asfortranarray(np.eye(128, dtype=np.float32) * (scale == 1))})["y"]
            assert y[0, 0] == (scale == 1)


def test_containers_may_change_while_the_model_runs():
    """The call holds its inputs itself: emptying the dict that they came in does not free them."""
    x = np.eye(256, dtype=np.float32)
    inputs = {"x": x}
    reference = weakref.ref(x)
    with ortx.session_from_bytes(models.slow(steps=1000), intra_op_num_threads=1) as session:
        results = []
        thread = threading.Thread(target=lambda: results.append(session.run(inputs)[0]))
        thread.start()
        while not session.running and thread.is_alive():
            pass
        inputs.clear()
        del x
        alive, running = reference() is not None, session.running
        thread.join()
    assert running, "the model was done before anybody could look; make it slower"
    assert alive
    assert reference() is None
    np.testing.assert_array_equal(results[0], np.eye(256, dtype=np.float32))


def test_an_empty_output_is_an_array_of_its_own():
    with ortx.session_from_bytes(models.square()) as session:
        y = session.run([np.zeros((0, 2), np.float32)])[0]
    assert y.shape == (0, 2)
    assert y.dtype == np.float32
