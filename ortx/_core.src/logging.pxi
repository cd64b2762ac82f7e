# ORT's messages. ORT calls `receive_message` on whatever thread has something to say, with locks of its own held, so
# the callback takes no GIL: it puts the message at the end of a bounded list. The list is emptied into
# `logging.getLogger("ortx")` by the thread that made the call, as soon as the call is over, or by a thread for the
# moment that the main thread starts between two bytecodes, whichever comes first. (The main thread cannot do that
# itself: it may be in the middle of what the handler needs, such as the lock of a queue.) One thread at a time has its
# turn, with all that is there by then, so the order is kept.

cdef extern from *:
    """
    #include <stdint.h>
    #ifdef _MSC_VER
    static __declspec(thread) uint64_t ortx_own_sequence = 0;
    #else
    static _Thread_local uint64_t ortx_own_sequence = 0;
    #endif
    """
    uint64_t own_sequence "ortx_own_sequence"   # of the last message that came on this thread

cdef extern from "Python.h":
    int Py_AddPendingCall(int (*function)(void*) noexcept, void* argument) nogil
    void PyErr_SetObject(object type, object value)
    void PyErr_WriteUnraisable(object context)

cdef extern from "pythread.h":
    unsigned long PyThread_get_thread_ident() nogil

cdef struct LogRecord:
    LogRecord* next
    uint64_t sequence
    int severity
    char* category       # these four point behind the struct, into the same block
    char* log_id
    char* code_location
    char* message

cdef enum:
    MAXIMUM_WAITING_RECORDS = 4096

cdef PyThread_type_lock log_lock = PyThread_allocate_lock()  # guards these:
cdef LogRecord* first_record = NULL
cdef LogRecord* last_record = NULL
cdef Py_ssize_t waiting_records = 0
cdef Py_ssize_t dropped_records = 0
cdef uint64_t last_sequence = 0
cdef bint log_is_busy = False   # something waits, or is being handed over; a hint without the lock

# Guarded by the GIL:
cdef object log_turn = _thread.allocate_lock()     # held by the thread that hands messages over
cdef unsigned long emitter = 0              # that thread; 0: none
cdef bint emitter_was_asked = False         # by its own handler, which uses ortx
cdef bint delivery_is_starting = False
cdef uint64_t delivered_sequence = 0        # of the last message that was handed over
cdef object python_logger = None

# A call waits so long for another thread to hand over the messages of that call. A handler may be waiting for the call.
cdef double LONGEST_WAIT_FOR_TURN = 1.0  # seconds

# OrtLoggingLevel -> level of the logging module
cdef tuple PYTHON_LEVELS = (10, 20, 30, 40, 50)


def _renew_log() -> None:
    """Begin anew in a forked child: what waits is the parent's, whose threads may have been at it."""
    global log_lock, first_record, last_record, waiting_records, dropped_records, log_is_busy
    global log_turn, emitter, delivery_is_starting
    log_lock = PyThread_allocate_lock()
    log_turn = _thread.allocate_lock()
    first_record = last_record = NULL
    waiting_records = dropped_records = 0
    log_is_busy = delivery_is_starting = False
    emitter = 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_log)


cdef void receive_message(
        void* param, OrtLoggingLevel severity, const char* category, const char* logid, const char* code_location,
        const char* message) noexcept nogil:
    global first_record, last_record, waiting_records, dropped_records, last_sequence, log_is_busy, own_sequence
    cdef LogRecord* record
    cdef bint first = False
    record = make_record(severity, category, logid, code_location, message)
    PyThread_acquire_lock(log_lock, WAIT_LOCK)
    log_is_busy = True
    if record == NULL or waiting_records >= MAXIMUM_WAITING_RECORDS:
        dropped_records += 1
        free(record)
    else:
        first = first_record == NULL
        if first:
            first_record = record
        else:
            last_record.next = record
        last_record = record
        waiting_records += 1
        last_sequence += 1
        record.sequence = own_sequence = last_sequence
    PyThread_release_lock(log_lock)
    if first and not finalizing:
        # If its queue is full the message waits for the end of the call.
        Py_AddPendingCall(deliver_from_main_thread, NULL)


cdef LogRecord* make_record(
        int severity, const char* category, const char* log_id, const char* code_location,
        const char* message) noexcept nogil:
    cdef const char* texts[4]
    cdef char* copies[4]
    cdef size_t sizes[4]
    cdef size_t total = sizeof(LogRecord)
    cdef int i
    texts[0], texts[1], texts[2], texts[3] = category, log_id, code_location, message
    for i in range(4):
        if texts[i] == NULL:
            texts[i] = ""
        sizes[i] = strlen(texts[i]) + 1
        total += sizes[i]
    cdef LogRecord* record = <LogRecord*>malloc(total)
    if record == NULL:
        return NULL
    cdef char* at = <char*>(record + 1)
    for i in range(4):
        memcpy(at, texts[i], sizes[i])
        copies[i] = at
        at += sizes[i]
    record.next = NULL
    record.severity = severity
    record.category, record.log_id, record.code_location, record.message = copies[0], copies[1], copies[2], copies[3]
    return record


cdef int deliver_from_main_thread(void* argument) noexcept with gil:
    deliver_elsewhere()
    return 0


cdef void deliver_elsewhere() noexcept:
    """Let a thread of its own hand over what waits."""
    global delivery_is_starting
    if first_record == NULL or delivery_is_starting or finalizing:
        return
    delivery_is_starting = True
    try:
        _thread.start_new_thread(_deliver, ())
    except RuntimeError:  # no more threads; the end of the next call hands it over, or that of the process
        delivery_is_starting = False


def _deliver() -> None:
    global delivery_is_starting
    delivery_is_starting = False
    emit_messages(waits=True)


@atexit.register
def _deliver_at_exit() -> None:
    """Hand over what no call has, while Python can still do that."""
    cdef uint64_t last = last_sequence, before = last + 1
    while log_is_busy and delivered_sequence < last and delivered_sequence != before:
        before = delivered_sequence
        emit_messages(waits=True)


cdef inline int emit_waiting_messages() except -1:
    """Hand over what the call that just ended has left. Costs one comparison if there is nothing."""
    return emit_messages(waits=False) if log_is_busy else 0


cdef int emit_messages(bint waits, bint may_wait=True) except -1:
    """Hand over all that waits.

    If another thread is at it, wait until it has done so if messages that came on this thread are among it, or may be
    (`waits`), so that they are out when a call returns. Errors of handlers go to `sys.unraisablehook`; what is no
    error, such as KeyboardInterrupt, is raised in the end.
    """
    global emitter, emitter_was_asked
    if emitter == PyThread_get_thread_ident():  # a handler that uses ortx: this comes after what it is at
        emitter_was_asked = True
        return 0
    turn = log_turn
    if not turn.acquire(False):
        waits |= own_sequence > delivered_sequence
        if not (waits and may_wait and turn.acquire(True, LONGEST_WAIT_FOR_TURN)):
            return 0
    interruption = None
    emitter, emitter_was_asked = PyThread_get_thread_ident(), True
    while emitter_was_asked:
        emitter_was_asked = False
        interruption = emit_batch() or interruption
    emitter = 0
    turn.release()
    note_emptiness()
    if interruption is not None:
        raise interruption
    return 0


cdef void note_emptiness() noexcept:
    """Note whether anything waits; what does was left by others who did not wait for their turn."""
    global log_is_busy
    PyThread_acquire_lock(log_lock, WAIT_LOCK)
    log_is_busy = first_record != NULL or dropped_records > 0
    PyThread_release_lock(log_lock)
    deliver_elsewhere()


cdef object emit_batch():
    """Empty the list once. Return what interrupted that, if it was no error."""
    global first_record, last_record, waiting_records, dropped_records, delivered_sequence
    cdef LogRecord* record
    cdef LogRecord* following
    cdef Py_ssize_t dropped
    PyThread_acquire_lock(log_lock, WAIT_LOCK)
    record, dropped = first_record, dropped_records
    first_record = last_record = NULL
    waiting_records = dropped_records = 0
    PyThread_release_lock(log_lock)
    interruption = None
    while record != NULL:
        following = record.next
        interruption = emit_message(record, 0) or interruption
        delivered_sequence = record.sequence
        free(record)
        record = following
    if dropped:  # since the list was full: after all of these, and before whatever comes now
        interruption = emit_message(NULL, dropped) or interruption
    return interruption


cdef object emit_message(LogRecord* record, Py_ssize_t dropped):
    """Give one message to the logging module, or how many were dropped. Return what interrupted that, if no error."""
    try:
        if record != NULL:
            hand_over(record.severity, decoded(record.message).rstrip(), decoded(record.category),
                      decoded(record.log_id), decoded(record.code_location), 0)
        else:
            hand_over(ORT_LOGGING_LEVEL_WARNING, f"{dropped} messages of ONNX Runtime were dropped: more than "
                      f"{MAXIMUM_WAITING_RECORDS} were waiting", "ortx", "", "", dropped)
    except Exception as error:
        PyErr_SetObject(type(error), error)
        PyErr_WriteUnraisable(python_logger)
    except BaseException as interruption:
        return interruption
    return None


cdef object decoded(const char* text):
    return text.decode("utf-8", "backslashreplace")


cdef int hand_over(int severity, message, category, log_id, code_location, dropped) except -1:
    global python_logger
    if python_logger is None:
        import logging  # costs a few milliseconds, so only when there is something to log
        python_logger = logging.getLogger("ortx")
        python_logger.addHandler(logging.NullHandler())
    level = PYTHON_LEVELS[min(max(severity, 0), 4)]  # a library of custom operators may pass any number
    if python_logger.isEnabledFor(level):
        file, _, line_and_function = code_location.partition(":")
        line, _, function = line_and_function.partition(" ")
        python_logger.handle(python_logger.makeRecord(
            "ortx", level, file, int(line) if line.isdecimal() else 0, "%s", (message,), None, function or None,
            {"category": category, "logid": log_id, "code_location": code_location, "dropped": dropped}))
    return 0
