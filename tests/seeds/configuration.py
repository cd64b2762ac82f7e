"""The page of the session module: the process, and how a session is made."""

from __future__ import annotations

import functools

import models
import numpy as np
import pytest

import ortx

from .shared import MODULE, X, proves, threads

# --- runtime configuration

configuration = functools.partial(proves, MODULE, "Runtime configuration")


@configuration("configure(opts)")
def all_fields_go_together_in_one_table(new_process):
    table = {
        "log_severity_level": 2,
        "log_id": "my-runtime",
        "use_global_thread_pools": False,
        "global_intra_op_num_threads": 0,
        "global_inter_op_num_threads": 0,
    }
    assert new_process(f"""
ortx.configure({table!r})
fail()
print(*{{(record.logid, record.levelname) for record in records}})
with ortx.session_from_bytes(square) as session:
    print(session.run([[[3, 4]]])["y"].tolist())
""").splitlines() == ["('', 'ERROR')", "[[9.0, 16.0]]"]


@configuration("log_severity_level")
def the_severity_of_the_process_limits_what_is_said(new_process):
    assert new_process("""
for level in range(5):
    ortx.configure(log_severity_level=level)
    records.clear()
    fail()
    print(level, *sorted({record.levelname for record in records}))
""").splitlines() == ["0 DEBUG ERROR INFO", "1 ERROR INFO", "2 ERROR", "3 ERROR", "4"]


@configuration("log_id")
def the_environment_s_messages_carry_its_id(new_process):
    code = "ortx.configure(log_id='größe', log_severity_level=0)\nfail()\nprint(*{record.logid for record in records})"
    assert "größe" in new_process(code).split()


@configuration("use_global_thread_pools")
def sessions_on_the_global_pools_share_their_threads(new_process):
    threads()  # or skip
    assert new_process("""
ortx.configure(use_global_thread_pools=True, global_intra_op_num_threads=3, global_inter_op_num_threads=1)
first = ortx.session_from_bytes(square, disable_per_session_threads=True)
before = threads()
more = [ortx.session_from_bytes(square, disable_per_session_threads=True, intra_op_num_threads=8) for _ in range(4)]
print(threads() - before)
own = ortx.session_from_bytes(square, intra_op_num_threads=8)
print(threads() - before, [session.run([[[3, 4]]])["y"].tolist() for session in (*more, own)] == [[[9, 16]]] * 5)
""").splitlines() == ["0", "7 True"]


@configuration("global_intra_op_num_threads")
def the_global_pool_inside_operators_has_that_size(new_process):
    threads()
    assert new_process("""
ortx.configure(use_global_thread_pools=True, global_intra_op_num_threads=5, global_inter_op_num_threads=1)
print(added_by_shared_session())
""") == str(5 - 1)


@configuration("global_inter_op_num_threads")
def the_global_pool_across_operators_has_that_size(new_process):
    threads()
    assert new_process("""
ortx.configure(use_global_thread_pools=True, global_intra_op_num_threads=1, global_inter_op_num_threads=4)
print(added_by_shared_session())
""") == str(4 - 1)


@configuration("before any session")
def what_is_configured_before_the_first_session_holds_for_all(new_process):
    assert new_process("""
ortx.configure(log_severity_level=4)
fail()
fail()
print(len(records))
try:
    ortx.configure(log_id="late")
except ortx.Error as error:
    print("made with the first session" in str(error))
""").splitlines() == ["0", "True"]


@configuration("again with an active session")
def configuring_while_a_session_is_alive_is_an_error_and_changes_nothing(new_process):
    assert new_process("""
ortx.configure(log_severity_level=4)
with ortx.session_from_bytes(square):
    try:
        ortx.configure(log_severity_level=0)
    except RuntimeError as error:
        print(type(error).__name__, "1 session(s) are open" in str(error))
fail()
print(len(records))
""").splitlines() == ["Error True", "0"]


# --- create a session

creation = functools.partial(proves, MODULE, "Create a session")


@creation("session(model_path)")
def a_model_is_loaded_from_a_path(tmp_path):
    path = tmp_path / "square.onnx"
    path.write_bytes(models.square())
    for given in (path, str(path)):
        assert ortx.session(given).run([X])["y"].tolist() == (X * X).tolist()


@creation("session(model_path, opts)")
def a_table_of_options_goes_behind_the_path(tmp_path):
    path = tmp_path / "square.onnx"
    path.write_bytes(models.square())
    session = ortx.session(path, {"intra_op_num_threads": 3, "log_id": "table"}, log_id="keyword")
    assert session.run([X])["y"].tolist() == (X * X).tolist()
    in_effect = session.options()
    assert (in_effect["intra_op_num_threads"], in_effect["log_id"]) == (3, "keyword")


@creation("session_from_bytes(model_bytes)")
def a_model_is_loaded_from_bytes():
    content = bytearray(models.square())
    for given in (bytes(content), memoryview(content), np.frombuffer(content, np.uint8)):
        session = ortx.session_from_bytes(given)
        assert session.run([X])["y"].tolist() == (X * X).tolist()
    content[:] = bytes(len(content))  # it is not needed any more
    assert session.run([X])["y"].tolist() == (X * X).tolist()


@creation("session_from_bytes(model_bytes, opts)")
def a_table_of_options_goes_behind_the_bytes():
    session = ortx.session_from_bytes(models.square(), {"enable_cpu_mem_arena": False})
    assert session.memory_info_for_inputs()["x"].allocator_type == "device"


@creation("session, err")
def what_the_page_returns_as_err_is_raised_with_a_code(tmp_path):
    with pytest.raises(ortx.Error) as caught:
        ortx.session(tmp_path / "missing.onnx")
    assert isinstance(caught.value, FileNotFoundError)
    assert (caught.value.code, "missing.onnx" in str(caught.value)) == (ortx.ErrorCode.NO_SUCHFILE, True)
    with pytest.raises(ortx.InvalidProtobuf):
        ortx.session_from_bytes(b"no model")
