"""ONNX Runtime's messages in the logging module (`ortx/_core.src/logging.pxi`)."""

from __future__ import annotations

import json
import logging
import re
import sys
import textwrap
import threading

import models
import numpy as np
import onnx
import pytest
from onnx import helper

import ortx

MOST_WAITING = 4096  # MAXIMUM_WAITING_RECORDS
FOUR = np.ones(4, np.float32)  # what models.failing() fails with


def talkative() -> bytes:
    """Make a model with something to say of every severity but the highest: it warns when loaded and fails when run."""
    model = onnx.load_model_from_string(models.failing())
    model.graph.initializer.append(models.constant("unused", [1.0]))
    return model.SerializeToString()


class Handler(logging.Handler):
    """Keeps the records, and does with each what it was told to."""

    def __init__(self, do=lambda record: None) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []
        self.do = do

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)
        self.do(record)

    def messages(self) -> list[str]:
        return [record.getMessage() for record in self.records]

    def levels(self) -> list[str]:
        return [record.levelname for record in self.records]


@pytest.fixture
def attach():
    """Attach a handler to the logger for the time of the test: `attach()`, `attach(do)`."""
    logger = logging.getLogger("ortx")
    level, handlers = logger.level, []

    def attach(do=lambda record: None) -> Handler:
        handlers.append(Handler(do))
        logger.addHandler(handlers[-1])
        logger.setLevel(logging.DEBUG)
        return handlers[-1]

    yield attach
    logger.setLevel(level)
    for handler in handlers:
        logger.removeHandler(handler)


@pytest.fixture
def failing_session():
    with ortx.session_from_bytes(models.failing()) as session:
        yield session


def open_and_close(model: bytes, **options) -> None:
    ortx.session_from_bytes(model, {"session_log_severity_level": 0} | options).close()


# --- what a record says


@pytest.mark.parametrize("severity", range(5))
def test_a_severity_arrives_as_the_level_of_the_same_meaning(attach, severity):
    handler = attach()
    with (
        ortx.session_from_bytes(talkative(), session_log_severity_level=severity) as session,
        pytest.raises(ortx.Error),
    ):
        session.run([FOUR])
    levels = [logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR]
    assert {record.levelno for record in handler.records} == set(levels[severity:])


@pytest.mark.parametrize(
    ("message", "level"),
    [
        (r"Applying graph transformer ConstantFolding ", "DEBUG"),
        (r"^Session Options \{", "INFO"),
        (r"^Removing initializer 'unused'", "WARNING"),
        (r"^Non-zero status code returned while running Reshape node", "ERROR"),
    ],
)
def test_known_messages_have_their_level(attach, message, level):
    handler = attach()
    with (
        ortx.session_from_bytes(talkative(), session_log_severity_level=0) as session,
        pytest.raises(ortx.Error),
    ):
        session.run([FOUR])
    assert {r.levelname for r in handler.records if re.search(message, r.getMessage())} == {level}


def test_a_record_says_where_in_onnx_runtime_it_comes_from(attach):
    handler = attach()
    open_and_close(models.square(), log_id="größe")
    assert handler.records
    for record in handler.records:
        assert record.name == "ortx"
        assert record.category == "onnxruntime"
        assert record.logid == "größe"
        assert re.fullmatch(r"\S+\.(cc|h):\d+ \S.*", record.code_location)
        assert record.code_location == f"{record.filename}:{record.lineno} {record.funcName}"


def test_a_message_with_percent_signs_is_not_formatted(attach):
    handler = attach()
    open_and_close(models.square(), log_id="100 %s %d")
    (line,) = (message for message in handler.messages() if message.startswith("Session Options"))
    assert "session_logid:100 %s %d " in line


def test_records_reach_the_root_logger_as_any_others(caplog):
    with caplog.at_level(logging.DEBUG, logger="ortx"):
        open_and_close(models.square(), log_id="sess")
    assert {record.logid for record in caplog.records if record.name == "ortx"} == {"sess"}


def test_the_loggers_own_level_and_filters_hold(attach):
    handler = attach()
    logger = logging.getLogger("ortx")
    logger.setLevel(logging.INFO)
    open_and_close(models.square())
    assert set(handler.levels()) == {"INFO"}
    handler.records.clear()

    def no_options(record: logging.LogRecord) -> bool:
        return not record.getMessage().startswith("Session Options")

    logger.addFilter(no_options)
    try:
        open_and_close(models.square())
    finally:
        logger.removeFilter(no_options)
    assert handler.records
    assert all(no_options(record) for record in handler.records)


# --- when records arrive, and in which order


def test_a_failure_is_logged_before_it_is_raised(attach, failing_session):
    handler = attach()
    with pytest.raises(ortx.Error) as caught:
        failing_session.run([FOUR])
    assert handler.levels() == ["ERROR"]
    assert handler.messages()[0].strip() == str(caught.value).strip()


def test_what_a_run_says_arrives_before_it_returns(attach):
    with ortx.session_from_bytes(models.square(), session_log_severity_level=1) as session:
        handler = attach()
        session.run([np.ones((1, 2), np.float32)], None, ortx.run_options(tag="demo"))
        assert handler.messages() == ["Running with tag: demo"]


def test_what_loading_says_arrives_before_the_session_is_there(attach):
    handler = attach()
    with ortx.session_from_bytes(models.square(), session_log_severity_level=0):
        assert handler.messages()[0].startswith("Session Options")
        assert handler.messages()[-1] == "Session successfully initialized."


def test_a_model_that_cannot_be_loaded_is_logged_before_the_error_is_raised(attach):
    handler = attach()
    with pytest.raises(ortx.NotSupported):
        ortx.session_from_bytes(
            models.build(
                [helper.make_node("Conv", ["x", "x"], ["y"])],
                [models.tensor("x", "float64", (1, 1, 3, 3))],
                [models.tensor("y", "float64", None)],
            ),
            session_log_severity_level=0,
        )
    assert handler.messages()[0].startswith("Session Options")


def in_threads(count: int, work) -> None:
    """Call `work(number)` in that many threads and wait for them."""
    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_nothing_is_lost_and_the_order_is_kept_while_many_threads_log(attach):
    handler = attach()
    model = models.square()

    def locations_of(log_id: str) -> list[str]:
        return [record.code_location for record in handler.records if record.logid == log_id]

    def work(number: int) -> None:
        for time in range(8):
            open_and_close(model, log_id=f"{number} {time}")

    open_and_close(model, log_id="alone")
    assert len(locations_of("alone")) > 50
    in_threads(4, work)
    for number in range(4):
        for time in range(8):
            assert locations_of(f"{number} {time}") == locations_of("alone")


def test_failures_in_many_threads_are_all_logged(attach, failing_session):
    handler = attach()

    def work(number: int) -> None:
        for _ in range(20):
            with pytest.raises(ortx.Error):
                failing_session.run([FOUR])

    in_threads(4, work)
    assert handler.levels() == ["ERROR"] * 80


@pytest.mark.parametrize("threads", [2, 3])
def test_messages_from_onnx_runtimes_own_threads_arrive(attach, threads):
    # A parallel session runs every node on a thread of its inter-op pool, so that is where the failure is reported.
    handler = attach()
    with ortx.session_from_bytes(
        talkative(),
        execution_mode="parallel",
        inter_op_num_threads=threads,
        intra_op_num_threads=threads,
        session_log_severity_level=3,
    ) as session:
        for _ in range(20):
            with pytest.raises(ortx.Error):
                session.run([FOUR])
    assert handler.levels() == ["ERROR"] * 20
    assert all("running Reshape node" in message for message in handler.messages())


def test_a_busy_main_thread_logs_what_other_threads_have_to_say_in_their_order(attach):
    # The main thread computes in Python meanwhile, and is asked to empty the list between two bytecodes.
    handler = attach()
    model = models.square()
    thread = threading.Thread(target=lambda: [open_and_close(model, log_id=str(number)) for number in range(10)])
    thread.start()
    while thread.is_alive():
        sum(range(100))
    of_sessions = {}
    for record in handler.records:
        of_sessions.setdefault(record.logid, []).append(record.code_location)
    assert list(of_sessions) == [str(number) for number in range(10)]
    assert all(locations == of_sessions["0"] for locations in of_sessions.values())


# --- too many messages


def test_more_messages_than_the_list_holds_are_dropped_and_counted(attach):
    """One native call says more than fits; nobody can empty the list meanwhile, since the call is the main thread's.

    Loading a model says one thing per node and a fixed number of others, which two smaller models tell.
    """
    assert threading.current_thread() is threading.main_thread()
    handler = attach()

    def said(nodes: int) -> list[str]:
        handler.records.clear()
        open_and_close(models.slow(nodes, 4))
        return handler.messages()

    few, more = len(said(500)), len(said(1000))
    per_node, fixed = divmod(more - few, 500)
    assert (per_node >= 1, fixed) == (True, 0)
    total = more + 4000 * per_node
    assert total > MOST_WAITING

    messages = said(5000)
    dropped = total - MOST_WAITING
    assert messages[0].startswith("Session Options")
    assert len(messages) == MOST_WAITING + 1
    assert messages[-1] == f"{dropped} messages of ONNX Runtime were dropped: more than {MOST_WAITING} were waiting"
    assert (handler.records[-1].levelname, handler.records[-1].category) == ("WARNING", "ortx")

    assert len(said(500)) == few  # afterwards there is room again


def test_what_is_said_while_a_handler_works_waits_for_it_and_is_dropped_if_it_is_too_much(attach):
    model = models.slow(500, 4)

    def open_many_more(record: logging.LogRecord) -> None:
        if record.logid == "first" and not opened:
            for number in range(9):
                opened.append(number)
                open_and_close(model, log_id="inside")

    opened = []
    handler = attach(open_many_more)
    open_and_close(model, log_id="first")
    per_session = sum(record.logid == "first" for record in handler.records)
    inside = sum(record.logid == "inside" for record in handler.records)
    assert per_session > 500
    assert inside == MOST_WAITING
    assert handler.messages()[-1].startswith(f"{9 * per_session - MOST_WAITING} messages of ONNX Runtime were dropped")
    # What was said first is logged first, although it was being logged while the rest was said.
    assert {record.logid for record in handler.records[:per_session]} == {"first"}


# --- handlers that do not behave


def test_a_handler_that_raises_harms_neither_the_run_nor_its_error(attach, failing_session, monkeypatch):
    def fail(record: logging.LogRecord) -> None:
        raise ZeroDivisionError("in the handler")

    unraisable = []
    monkeypatch.setattr(sys, "unraisablehook", lambda hook: unraisable.append(repr(hook.exc_value)))
    handler = attach(fail)
    for _ in range(2):
        with pytest.raises(ortx.Error, match="Reshape"):
            failing_session.run([FOUR])
    assert failing_session.run([np.ones(15, np.float32)])["y"].shape == (3, 5)
    assert handler.levels() == ["ERROR", "ERROR"]
    assert unraisable == ["ZeroDivisionError('in the handler')"] * 2


def test_after_a_handler_has_raised_the_other_messages_still_arrive(attach, monkeypatch):
    def fail_once(record: logging.LogRecord) -> None:
        if len(handler.records) == 1:
            raise ZeroDivisionError("in the handler")

    unraisable = []
    monkeypatch.setattr(sys, "unraisablehook", lambda hook: unraisable.append(repr(hook.exc_value)))
    handler = attach(fail_once)
    open_and_close(models.square())
    assert len(unraisable) == 1
    assert handler.messages()[-1] == "Session successfully initialized."


def test_a_handler_may_run_models_itself(attach, failing_session):
    def run(record: logging.LogRecord) -> None:
        if len(handler.records) < 5:
            with pytest.raises(ortx.Error):
                failing_session.run([FOUR])
            failing_session.run([np.ones(15, np.float32)])

    handler = attach(run)
    with pytest.raises(ortx.Error):
        failing_session.run([FOUR])
    assert handler.levels() == ["ERROR"] * 5


# --- what a process prints

PRELUDE = """
import json, sys
import numpy as np
import ortx

square, failing = sys.argv[1:]

def fail(**options):
    with ortx.session(failing, **options) as session:
        try:
            session.run([np.ones(4, np.float32)])
        except ortx.Error:
            return True
"""


@pytest.fixture
def in_new_process(run_python, tmp_path):
    """Run code after the prelude above; return its answer, a line of JSON, and what it printed to stderr."""
    paths = tmp_path / "square.onnx", tmp_path / "failing.onnx"
    for path, content in zip(paths, (models.square(), models.failing()), strict=True):
        path.write_bytes(content)

    def in_new_process(code: str) -> tuple:
        done = run_python(PRELUDE + textwrap.dedent(code), *paths)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout), done.stderr

    return in_new_process


def test_nothing_is_printed_where_nobody_configured_logging(in_new_process):
    # The exception says what is wrong; a message that ONNX Runtime logs as well would say it twice.
    assert in_new_process("""
        print(json.dumps([fail(), fail(session_log_severity_level=0)]))
    """) == ([True, True], "")


def test_nothing_is_printed_at_the_end_with_a_verbose_session_still_open(in_new_process):
    assert in_new_process("""
        ortx.configure(log_severity_level=0)
        session = ortx.session(square)
        session.run([np.ones((1, 2), np.float32)])
        print("true")
    """) == (True, "")


def test_what_a_handler_raises_is_reported_once(in_new_process):
    answer, printed = in_new_process("""
        import logging

        class Handler(logging.Handler):
            def emit(self, record):
                raise ZeroDivisionError("in the handler")

        logging.getLogger("ortx").addHandler(Handler())
        uncaught = []
        sys.excepthook = lambda *error: uncaught.append(str(error))
        fail()
        print(json.dumps(uncaught))
    """)
    assert answer == []  # it is not an exception that nobody caught
    assert printed.count("ZeroDivisionError: in the handler") == 1


def test_a_handler_may_close_the_session(in_new_process):
    # In a process of its own that gives up: what goes wrong here is that close() waits for the very call it is part of.
    assert in_new_process("""
        import faulthandler, logging
        faulthandler.dump_traceback_later(10, exit=True)

        class Handler(logging.Handler):
            def emit(self, record):
                session.close()

        logging.getLogger("ortx").addHandler(Handler())
        closed = []
        for _ in range(20):
            session = ortx.session(failing)
            try:
                session.run([np.ones(4, np.float32)])
            except ortx.Error:
                closed.append(session.closed)
        print(json.dumps(closed))
    """) == ([True] * 20, "")


def test_with_basic_config_an_error_is_printed_once(in_new_process):
    answer, printed = in_new_process("""
        import logging
        logging.basicConfig()
        print(json.dumps(fail()))
    """)
    assert answer is True
    assert printed.startswith("ERROR:ortx:Non-zero status code returned while running Reshape node")
    assert printed.count("Non-zero status code") == 1


def test_a_broken_stream_is_reported_as_the_logging_module_does(in_new_process):
    answer, printed = in_new_process("""
        import io, logging
        stream = io.StringIO()
        logging.getLogger("ortx").addHandler(logging.StreamHandler(stream))
        stream.close()
        print(json.dumps(fail()))
    """)
    assert answer is True
    assert "--- Logging error ---" in printed
    assert "ValueError: I/O operation on closed file" in printed


def test_the_logging_module_is_imported_when_there_is_something_to_log(in_new_process):
    answer, printed = in_new_process("""
        loaded = ["logging" in sys.modules]
        with ortx.session(square) as session:
            session.run([np.ones((1, 2), np.float32)])
        loaded.append("logging" in sys.modules)
        fail()
        loaded.append("logging" in sys.modules)
        print(json.dumps(loaded))
    """)
    assert (answer, printed) == ([False, False, True], "")
