"""Opening a session from a file or a buffer, looking at it, closing it (`_core.src/session.pxi`)."""

from __future__ import annotations

import array
import asyncio
import enum
import errno
import mmap
import os
import threading
import time
from pathlib import Path

import models
import numpy as np
import pytest

import ortx
from ortx import _core

X = np.array([[1, 2], [3, 4]], np.float32)


@pytest.fixture
def model_path(tmp_path: Path) -> Path:
    path = tmp_path / "square.onnx"
    path.write_bytes(models.square())
    return path


# --- open a file


@pytest.mark.parametrize("as_given", [str, Path, os.fspath], ids=["str", "Path", "fspath"])
def test_a_file_is_opened_by_str_or_path(model_path, as_given):
    with ortx.session(as_given(model_path)) as session:
        np.testing.assert_array_equal(session.run({"x": X})["y"], X * X)


@pytest.mark.parametrize("name", ["with space.onnx", "größe-模型.onnx", "a" * 240 + ".onnx"])
def test_unusual_file_names_work(tmp_path, name):
    (tmp_path / name).write_bytes(models.square())
    with ortx.session(tmp_path / name) as session:
        assert session.run([X])[0][1, 1] == 16


@pytest.mark.skipif(os.name == "nt", reason="Windows has no file names that are not Unicode")
def test_a_file_name_that_is_no_utf8_works(tmp_path):
    path = os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe.onnx")
    try:
        Path(path).write_bytes(models.square())
    except OSError:
        pytest.skip("this file system has no file names that are not Unicode")
    with ortx.session(path) as session:
        assert session.run([X])[0][0, 1] == 4
        assert "\\udcff" in repr(session)


def test_a_missing_file_is_a_file_not_found_error(tmp_path):
    with pytest.raises(ortx.NoSuchFile, match=r"there is no file .*nothing\.onnx") as caught:
        ortx.session(tmp_path / "nothing.onnx")
    assert isinstance(caught.value, FileNotFoundError)
    assert caught.value.code == ortx.ErrorCode.NO_SUCHFILE


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(ortx.InvalidArgument, match="is a folder; expected a model file"):
        ortx.session(tmp_path)


def test_an_empty_file_is_refused(tmp_path):
    (tmp_path / "empty.onnx").touch()
    with pytest.raises(ortx.InvalidProtobuf, match=r"empty\.onnx' is empty"):
        ortx.session(tmp_path / "empty.onnx")


@pytest.mark.parametrize("content", [b"This is no model.\n" * 20, b"\x00" * 64, os.urandom(1000)])
def test_a_file_that_is_no_model_is_refused(tmp_path, content):
    path = tmp_path / "text.onnx"
    path.write_bytes(content)
    with pytest.raises(ortx.Error, match=r"text\.onnx") as caught:
        ortx.session(path)
    assert isinstance(caught.value, (ortx.InvalidProtobuf, ortx.Fail, ortx.InvalidGraph, ortx.InvalidArgument))


def test_a_truncated_model_is_refused_at_every_length(tmp_path):
    model = models.add()
    path = tmp_path / "truncated.onnx"
    for length in range(1, len(model) - 1, 7):
        path.write_bytes(model[:length])
        with pytest.raises(ortx.Error):
            ortx.session(path)
        with pytest.raises(ortx.Error):
            ortx.session_from_bytes(model[:length])


@pytest.mark.parametrize("path", [None, 3, b"model.onnx", ["model.onnx"], 1.5])
def test_a_path_of_the_wrong_type_is_a_type_error(path):
    with pytest.raises(ortx.InvalidType, match=f"model_path: got {type(path).__name__}; expected a path") as caught:
        ortx.session(path)
    assert isinstance(caught.value, TypeError)


@pytest.mark.parametrize("path", ["", "a\0b"])
def test_an_impossible_path_is_a_value_error(path):
    with pytest.raises(ortx.InvalidArgument, match="expected a path that is not empty and has no NUL"):
        ortx.session(path)


def test_a_very_long_path_is_refused_with_the_systems_reason(tmp_path):
    with pytest.raises(ortx.InvalidArgument, match="cannot look at"):
        ortx.session(tmp_path / ("x" * 5000))


@pytest.mark.skipif(os.name == "nt", reason="Windows says that there is no such file")
def test_a_path_through_a_file_is_a_file_error_with_the_systems_number(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ortx.FileError, match="cannot look at .*: Not a directory$") as caught:
        ortx.session(tmp_path / "file" / "model.onnx")
    assert caught.value.errno == errno.ENOTDIR


# --- open a buffer


def memory_map(model: bytes, folder: Path) -> mmap.mmap:
    (folder / "mapped.onnx").write_bytes(model)
    with (folder / "mapped.onnx").open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


@pytest.mark.parametrize(
    "exporter",
    [
        lambda model, _: model,
        lambda model, _: bytearray(model),
        lambda model, _: memoryview(model),
        lambda model, _: np.frombuffer(model, np.uint8),
        lambda model, _: np.frombuffer(model, np.int8),
        lambda model, _: array.array("B", model),
        memory_map,
    ],
    ids=["bytes", "bytearray", "memoryview", "uint8 array", "int8 array", "array.array", "mmap"],
)
def test_any_contiguous_buffer_is_a_model(tmp_path, exporter):
    buffer = exporter(models.square(), tmp_path)
    with ortx.session_from_bytes(buffer) as session:
        np.testing.assert_array_equal(session.run([X])[0], X * X)


def test_the_buffer_is_not_needed_after_loading():
    buffer = bytearray(models.square())
    with ortx.session_from_bytes(buffer) as session:
        buffer[:] = b"\xff" * len(buffer)
        buffer.clear()  # refused (BufferError) as long as somebody holds the buffer
        assert session.run([X])[0][1, 0] == 9


@pytest.mark.parametrize("model", [b"", bytearray(), memoryview(b"")])
def test_an_empty_buffer_is_refused(model):
    with pytest.raises(ortx.InvalidProtobuf, match="got an empty buffer"):
        ortx.session_from_bytes(model)


def test_a_buffer_with_gaps_is_refused():
    with pytest.raises(ortx.InvalidArgument, match="expected a contiguous buffer"):
        ortx.session_from_bytes(memoryview(models.square())[::2])


def test_a_path_given_for_a_buffer_is_refused_with_the_right_function(model_path):
    with pytest.raises(ortx.InvalidType, match=r"to load a file use ortx\.session\(path\)"):
        ortx.session_from_bytes(str(model_path))
    with pytest.raises(ortx.InvalidType, match="expected bytes or another buffer"):
        ortx.session_from_bytes(7)


def test_options_are_given_as_mapping_as_keywords_or_both(model_path):
    with (
        ortx.session(model_path, {"intra_op_num_threads": 1}, log_id="here") as first,
        ortx.session_from_bytes(models.square(), graph_optimization_level="all") as second,
    ):
        assert first.run([X])[0].tolist() == second.run([X])[0].tolist()


def test_an_unknown_option_is_refused_before_the_file_is_looked_at():
    with pytest.raises(ortx.OptionError, match="did you mean 'intra_op_num_threads'"):
        ortx.session("no such file", intra_op_threads=1)


def test_a_failed_opening_leaves_no_handle(tmp_path):
    before = _core._live_handles()
    for options in (
        {"intra_op_num_threads": "x"},
        {"optimized_model_path": str(tmp_path / "no/folder/m.onnx")},
    ):
        with pytest.raises(ortx.Error):
            ortx.session_from_bytes(models.square(), options)
    assert _core._live_handles() == before


# --- look at


def test_names_and_counts():
    with ortx.session_from_bytes(models.overridable()) as session:
        assert session.input_names() == ("x",)
        assert session.output_names() == ("y",)
        assert session.overridable_initializer_names() == ("scale",)
        assert session.input_count() == 1
        assert session.output_count() == 1
        assert session.overridable_initializer_count() == 1


def test_repr_says_what_it_is_and_whether_it_is_closed(model_path):
    with ortx.session(model_path) as session:
        assert repr(session) == f"<ortx.Session of {str(model_path)!r}: x -> y>"
    assert "(closed)" in repr(session)
    with ortx.session_from_bytes(models.square()) as session:
        assert f"{len(models.square())} bytes" in repr(session)


@pytest.mark.parametrize("class_", [ortx.Session, ortx.Outputs, ortx.RunOptions])
def test_classes_that_are_not_made_directly_say_what_to_use(class_):
    with pytest.raises(TypeError, match=r"cannot be made directly; .*(ortx\.|Session\.run)"):
        class_()


# --- close


def test_closing_twice_is_allowed_and_names_stay():
    session = ortx.session_from_bytes(models.square())
    assert not session.closed
    session.close()
    session.close()
    assert session.closed
    assert session.input_names() == ("x",)


def test_a_closed_session_refuses_to_run():
    session = ortx.session_from_bytes(models.square())
    session.close()
    for call in (lambda: session.run([X]), lambda: session.run_into([X], [np.empty_like(X)])):
        with pytest.raises(ortx.SessionClosed, match="is closed; make a new one"):
            call()


def test_with_closes_also_after_an_error():
    with pytest.raises(ZeroDivisionError), ortx.session_from_bytes(models.square()) as session:
        raise ZeroDivisionError
    assert session.closed


def test_close_waits_for_a_running_call_and_lets_it_finish():
    session = ortx.session_from_bytes(models.slow(), intra_op_num_threads=1)
    x = np.eye(256, dtype=np.float32)
    started, results = threading.Event(), []

    def work() -> None:
        started.set()
        results.append(session.run([x])[0])

    thread = threading.Thread(target=work)
    thread.start()
    started.wait()
    while not session.running and thread.is_alive():
        time.sleep(0.0001)
    assert session.running == 1
    session.close()
    assert session.running == 0
    thread.join()
    np.testing.assert_array_equal(results[0], x)
    with pytest.raises(ortx.SessionClosed):
        session.run([x])


def test_many_threads_may_close_while_many_run():
    x = np.eye(64, dtype=np.float32)
    for _ in range(10):
        session = ortx.session_from_bytes(models.slow(steps=40, size=64), intra_op_num_threads=1)
        outcomes = []

        def work(session=session, outcomes=outcomes) -> None:
            try:
                for _ in range(1000):
                    outcomes.append(session.run([x])[0][0, 0] == 1)
            except ortx.SessionClosed:
                outcomes.append(True)

        threads = [threading.Thread(target=work) for _ in range(8)]
        closers = [threading.Thread(target=session.close) for _ in range(3)]
        for thread in threads:
            thread.start()
        time.sleep(0.005)
        for thread in closers:
            thread.start()
        for thread in threads + closers:
            thread.join()
        assert session.closed
        assert all(outcomes)


# --- names that are strings of a subclass


class Ends(enum.StrEnum):
    X = "x"
    Y = "y"


STRINGS = pytest.mark.parametrize(("x", "y"), [(np.str_("x"), np.str_("y")), (Ends.X, Ends.Y)], ids=["numpy", "enum"])


@STRINGS
def test_a_name_may_be_a_string_of_a_subclass_wherever_a_name_is_taken(x, y):
    array, expected = np.full((1, 2), 3, np.float32), [[9, 9]]
    with ortx.session_from_bytes(models.square()) as session:
        binding = session.create_io_binding()
        binding.bind_input(x, array)
        binding.bind_output(y)
        results = [
            session.run({x: array}, [y]),
            session.run([array], np.array(["y"])),
            session.run([array], (y,), timeout=20),
            session.run_into({x: array}, {y: np.empty_like(array)}),
            session.submit({x: array}, [y]).result(20),
            asyncio.run(session.run_async({x: array}, [y])),
            binding.run(),
        ]
        assert [result[y].tolist() for result in results] == [expected] * len(results)
        assert {type(name) for result in results for name in result.keys()} == {str}  # noqa: SIM118
        assert session.input_info(x).name == "x"
        assert session.output_info(y).name == "y"


@STRINGS
def test_such_names_are_no_way_to_ask_for_an_output_twice(x, y):
    with ortx.session_from_bytes(models.square()) as session:
        for names in ([y, "y"], ["y", y], [y, y]):
            with pytest.raises(ortx.CallError, match="'y' is asked for twice"):
                session.run([np.ones((1, 2), np.float32)], names)


def test_an_array_without_dimensions_is_no_list_of_names():
    with (
        ortx.session_from_bytes(models.square()) as session,
        pytest.raises(ortx.InvalidType, match="output_names: got .*expected a list of names"),
    ):
        session.run([np.ones((1, 2), np.float32)], np.array("y"))


def test_a_path_may_be_a_string_of_a_subclass(tmp_path):
    (tmp_path / "model.onnx").write_bytes(models.square())
    optimized = np.str_(tmp_path / "optimized.onnx")
    with ortx.session(np.str_(tmp_path / "model.onnx"), optimized_model_path=optimized) as session:
        assert type(session.options()["optimized_model_path"]) is str
    assert Path(optimized).exists()


@pytest.mark.parametrize("call", [ortx.session, ortx.load_custom_op_library, ortx.load_library])
def test_a_path_that_is_longer_than_any_is_refused_in_a_few_words(call):
    with pytest.raises(ortx.InvalidArgument, match="too long: 1000000 characters") as caught:
        call("a/" * 500_000)
    assert len(str(caught.value)) < 300
