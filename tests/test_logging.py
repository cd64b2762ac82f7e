"""ONNX Runtime's messages in the logging module (`ortx/_core.src/logging.pxi`)."""

from __future__ import annotations

import contextlib
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
from test_async import wait_until
from test_custom_ops import chain, library_source

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
    assert [record.dropped for record in handler.records] == [0] * MOST_WAITING + [dropped]

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
    open_and_close(model, log_id="afterwards")
    place = [record.dropped > 0 for record in handler.records].index(True)
    assert {record.logid for record in handler.records[place + 1 :]} == {"afterwards"}
    # What was said first is logged first, although it was being logged while the rest was said.
    assert {record.logid for record in handler.records[:per_session]} == {"first"}


# --- what custom operators say: any severity, any bytes, any thread

LOG = """
#include <pthread.h>
#define SAY(severity, text) TRY(Logger_LogMessage, logger, severity, text, "talk.cc", 7, "compute")
"""
GET_LOGGER = "void* logger; TRY(KernelContext_GetLogger, context, &logger);"


@pytest.fixture
def talking(compile_shared):
    """Return an open session of one operator whose kernel does what it is told to, in C, and run it once."""
    with contextlib.ExitStack() as stack:

        def talking(code: str, helpers: str = "", **options) -> ortx.Session:
            source = library_source("Double", in_compute=GET_LOGGER + code)
            source = source.replace("static const OrtApi* api;", "static const OrtApi* api;" + LOG + helpers)
            library = compile_shared(source, "talking")
            session = ortx.session_from_bytes(
                chain("Double"), {"session_log_severity_level": 0} | options, custom_op_libraries=[library]
            )
            return stack.enter_context(session)

        yield talking


def said_by_the_kernel(handler: Handler) -> list[logging.LogRecord]:
    return [record for record in handler.records if record.funcName == "compute"]


def test_each_severity_has_its_level_up_to_fatal_and_beyond(attach, talking):
    session = talking('for (int i = -1; i < 8; i++) if (i >= 0) SAY(i, "as severe as can be");')
    handler = attach()
    session.run([np.ones((1, 2), np.float32)])
    levels = [record.levelname for record in said_by_the_kernel(handler)]
    assert levels == ["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL", "CRITICAL", "CRITICAL", "CRITICAL"]
    assert {record.code_location for record in said_by_the_kernel(handler)} == {"talk.cc:7 compute"}


@pytest.mark.parametrize("severity", range(5))
def test_a_run_can_have_a_severity_of_its_own(attach, severity):
    handler = attach()
    options = ortx.run_options(log_severity_level=severity)
    for of_the_session, expected in ((4, []), (2, ["ERROR"])):
        with ortx.session_from_bytes(models.failing(), session_log_severity_level=of_the_session) as session:
            handler.records.clear()
            with pytest.raises(ortx.Error):
                session.run([FOUR])
            assert handler.levels() == expected
            handler.records.clear()
            with pytest.raises(ortx.Error):
                session.run([FOUR], None, options)
            assert handler.levels() == (["ERROR"] if severity <= 3 else [])


def test_bytes_that_are_no_utf8_stay_readable(attach, talking):
    session = talking(r'SAY(2, "caf\xe9 \xf0\x9f");')
    handler = attach()
    session.run([np.ones((1, 2), np.float32)])
    assert [record.getMessage() for record in said_by_the_kernel(handler)] == ["caf\\xe9 \\xf0\\x9f"]


def test_a_long_message_arrives_whole(attach, talking):
    session = talking(
        "static char text[3000001]; for (int i = 0; i < 3000000; i++) text[i] = 'a' + i % 26; SAY(2, text);"
    )
    handler = attach()
    session.run([np.ones((1, 2), np.float32)])
    (record,) = said_by_the_kernel(handler)
    alphabet = "abcdefghijklmnopqrstuvwxyz"
    assert record.getMessage() == (alphabet * 115385)[:3000000]


def test_messages_of_threads_that_python_does_not_know_all_arrive_each_threads_in_order(attach, talking):
    helpers = """
    static void* logger_of_threads;
    static void* say(void* number) {
      char text[32];
      for (int i = 0; i < 200; i++) {
        snprintf(text, sizeof text, "%ld %d", (long)number, i);
        ((OrtStatus* (*)())api->Logger_LogMessage)(logger_of_threads, 2, text, "talk.cc", 7, "compute");
      }
      return NULL;
    }
    """
    session = talking(
        """
        pthread_t threads[16];
        logger_of_threads = logger;
        for (long i = 0; i < 16; i++) pthread_create(&threads[i], NULL, say, (void*)i);
        for (long i = 0; i < 16; i++) pthread_join(threads[i], NULL);
        """,
        "#include <stdio.h>\n" + helpers,
    )
    handler = attach()
    session.run([np.ones((1, 2), np.float32)])
    said: dict[str, list[int]] = {}
    for record in said_by_the_kernel(handler):
        thread, number = record.getMessage().split()
        said.setdefault(thread, []).append(int(number))
    assert said == {str(thread): list(range(200)) for thread in range(16)}


# --- handlers that take long, or wait


def test_a_failing_run_returns_after_its_message_is_out_though_another_threads_handler_is_at_work(
    attach, failing_session
):
    entered, go_on, seen = threading.Event(), threading.Event(), []

    def wait(record: logging.LogRecord) -> None:
        if not entered.is_set():
            entered.set()
            go_on.wait(10)

    handler = attach(wait)

    def work(number: int) -> None:
        if number == 1:
            entered.wait(10)
            threading.Timer(0.1, go_on.set).start()
        with pytest.raises(ortx.Error):
            failing_session.run([FOUR])
        if number == 1:
            seen.append(len(handler.records))

    in_threads(2, work)
    assert seen == [2]


def test_runs_that_say_nothing_do_not_wait_for_another_threads_handler(attach, failing_session):
    entered, done = threading.Event(), threading.Event()

    def wait(record: logging.LogRecord) -> None:
        entered.set()
        waited.append(done.wait(10))

    waited: list[bool] = []
    attach(wait)

    def work(number: int) -> None:
        if number == 0:
            with pytest.raises(ortx.Error):
                failing_session.run([FOUR])
        else:
            entered.wait(10)
            failing_session.run([np.ones(15, np.float32)])
            done.set()

    in_threads(2, work)
    assert waited == [True]


@pytest.mark.parametrize("way", ["a run in another thread", "a submitted run", "a run with a timeout"])
def test_a_handler_may_wait_for_a_run_that_fails(attach, failing_session, way):
    def wait(record: logging.LogRecord) -> None:
        if len(handler.records) > 1:
            return
        if way == "a submitted run":
            with pytest.raises(ortx.Error):
                failing_session.submit([FOUR]).result(10)
        elif way == "a run with a timeout":
            with pytest.raises(ortx.Error):
                failing_session.run([FOUR], timeout=10)
        else:
            in_threads(1, fail)
        ended.append(True)

    def fail(number: int) -> None:
        with pytest.raises(ortx.Error):
            failing_session.run([FOUR])

    ended: list[bool] = []
    handler = attach(wait)
    fail(0)
    assert ended == [True]
    # What it caused comes after what it was called for, and before the call that began it all returns; only what the
    # thread that completes futures has left may come a moment later.
    assert wait_until(lambda: len(handler.records) == 2)
    assert handler.levels() == ["ERROR"] * 2


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


def test_a_handler_may_use_a_queue_that_the_main_thread_is_using(in_new_process):
    # A queue's lock cannot be taken twice by one thread: a handler must not be called while the main thread has it.
    assert in_new_process("""
        import faulthandler, logging, logging.handlers, queue, threading
        faulthandler.dump_traceback_later(30, exit=True)
        shared = queue.Queue()
        logging.getLogger("ortx").addHandler(logging.handlers.QueueHandler(shared))
        thread = threading.Thread(target=lambda: [fail() for _ in range(100)])
        thread.start()
        records = 0
        while thread.is_alive():
            shared.put(None)
            records += shared.get() is not None
        while not shared.empty():
            records += shared.get() is not None
        print(json.dumps(records))
    """) == (100, "")


def test_what_no_call_has_handed_over_is_handed_over_at_exit(in_new_process, compile_shared):
    # The message comes while the main thread sleeps and the call that it belongs to goes on.
    library = compile_shared(
        library_source("Double", in_compute=GET_LOGGER + 'SAY(2, "one moment"); sleep(2);').replace(
            "static const OrtApi* api;", "static const OrtApi* api;" + LOG
        ),
        "sleeping",
    )
    answer, printed = in_new_process(f"""
        import logging, threading, time
        sys.setswitchinterval(10)  # so that no other thread gets a turn by chance
        logging.basicConfig(format="%(levelname)s %(message)s")
        session = ortx.session_from_bytes({chain("Double")!r}, custom_op_libraries=[{str(library)!r}])
        x = np.ones((1, 2), np.float32)
        threading.Thread(target=session.run, args=([x],), daemon=True).start()
        print("true")
        time.sleep(1)
    """)
    assert (answer, printed) == (True, "WARNING one moment\n")


def test_a_forked_child_logs_what_happens_in_it_and_nothing_of_its_parents(in_new_process):
    assert in_new_process("""
        import faulthandler, logging, os, threading, time, warnings
        warnings.simplefilter("ignore", DeprecationWarning)  # that there are threads, where Python looks
        faulthandler.dump_traceback_later(30, exit=True)
        pid = os.getpid()
        said = []

        class Handler(logging.Handler):
            def emit(self, record):
                said.append(os.getpid() == pid)
                if len(said) == 1:  # others wait meanwhile, and a child is made
                    thread = threading.Thread(target=fail)
                    thread.start()
                    child = os.fork()
                    if child == 0:
                        os._exit(10 if fail() and said == [True, False] else 20)
                    thread.join()
                    answers.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))

        answers = []
        logging.getLogger("ortx").addHandler(Handler())
        fail()
        while not answers or len(said) < 2:  # on a slow machine a thread of ortx's own is at it
            time.sleep(0.01)
        print(json.dumps([answers, said]))
    """) == ([[10], [True, True]], "")


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


def test_the_message_with_the_tag_of_a_run_follows_the_sessions_severity(caplog):
    caplog.set_level(logging.DEBUG, "ortx")
    for of_session, of_run, is_told in ((2, 0, False), (1, 4, True)):
        caplog.clear()
        with ortx.session_from_bytes(models.square(), session_log_severity_level=of_session) as session:
            session.run(
                [np.ones((1, 2), np.float32)],
                run_options=ortx.run_options(tag="tag-of-a-run", log_severity_level=of_run),
            )
        assert any("tag-of-a-run" in record.getMessage() for record in caplog.records) == is_told
