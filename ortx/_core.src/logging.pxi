# ORT's messages. ORT calls `receive_message` on whatever thread has something to say, with locks of its own held, so
# the callback takes no GIL: it puts the message at the end of a bounded list. The list is emptied into
# `logging.getLogger("ortx")` by the thread that made the call, as soon as the call is over, or by the main thread
# between two bytecodes, whichever comes first. While one thread is at it, others leave theirs to that one.

cdef extern from "Python.h":
    int Py_AddPendingCall(int (*function)(void*) noexcept, void* argument) nogil
    void PyErr_SetObject(object type, object value)
    void PyErr_WriteUnraisable(object context)

cdef struct LogRecord:
    LogRecord* next
    int severity
    char* category       # these four point behind the struct, into the same block
    char* log_id
    char* code_location
    char* message

cdef enum:
    MAXIMUM_WAITING_RECORDS = 4096

cdef PyThread_type_lock log_lock = PyThread_allocate_lock()
cdef LogRecord* first_record = NULL
cdef LogRecord* last_record = NULL
cdef Py_ssize_t waiting_records = 0
cdef Py_ssize_t dropped_records = 0
cdef bint emitting = False      # guarded by the GIL: one thread at a time empties the list, so the order is kept
cdef object python_logger = None

# OrtLoggingLevel -> level of the logging module
cdef tuple PYTHON_LEVELS = (10, 20, 30, 40, 50)


def _renew_log_lock() -> None:
    """Forget, in a forked child, what the parent's threads were doing with the list, and what the parent hands over."""
    global log_lock, emitting, first_record, last_record, waiting_records, dropped_records
    log_lock = PyThread_allocate_lock()
    emitting = False
    first_record = last_record = NULL
    waiting_records = dropped_records = 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_log_lock)


cdef void receive_message(
        void* param, OrtLoggingLevel severity, const char* category, const char* logid, const char* code_location,
        const char* message) noexcept nogil:
    global first_record, last_record, waiting_records, dropped_records
    cdef LogRecord* record
    cdef bint first = False
    record = make_record(severity, category, logid, code_location, message)
    PyThread_acquire_lock(log_lock, WAIT_LOCK)
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
    PyThread_release_lock(log_lock)
    if first and not finalizing:
        # If its queue is full the message waits for the end of the call.
        Py_AddPendingCall(emit_from_main_thread, NULL)


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


cdef int emit_from_main_thread(void* argument) noexcept with gil:
    try:
        emit_messages()
    except BaseException as error:  # Ctrl-C in a handler
        PyErr_SetObject(type(error), error)
        return -1
    return 0


cdef inline int emit_waiting_messages() except -1:
    """Hand over what the call that just ended has left. Costs one comparison if there is nothing."""
    return emit_messages() if first_record != NULL else 0


cdef int emit_or_discard(OrtStatus* status) except -1:
    """Hand over ORT's messages; if that is interrupted, the status of the call is no longer asked for."""
    try:
        return emit_messages()
    except BaseException:
        discard(status)
        raise


cdef int emit_messages() except -1:
    """Empty the list, unless another thread is at it: that one goes on until nothing is left.

    Errors of handlers go to `sys.unraisablehook`; what is no error, such as KeyboardInterrupt, is raised in the end.
    """
    global first_record, last_record, waiting_records, dropped_records, emitting
    cdef LogRecord* record
    cdef LogRecord* following
    cdef Py_ssize_t dropped
    if emitting:
        return 0
    emitting = True
    interruption = None
    while True:
        PyThread_acquire_lock(log_lock, WAIT_LOCK)
        record, dropped = first_record, dropped_records
        first_record = last_record = NULL
        waiting_records = dropped_records = 0
        PyThread_release_lock(log_lock)
        if record == NULL and dropped == 0:
            break
        while record != NULL:
            following = record.next
            interruption = emit_message(
                record.severity, decoded(record.message).rstrip(), decoded(record.category), decoded(record.log_id),
                decoded(record.code_location)) or interruption
            free(record)
            record = following
        if dropped:
            interruption = emit_message(
                ORT_LOGGING_LEVEL_WARNING, f"{dropped} messages of ONNX Runtime were dropped: more than "
                f"{MAXIMUM_WAITING_RECORDS} were waiting", "ortx", "", "") or interruption
    emitting = False
    if interruption is not None:
        raise interruption
    return 0


cdef object decoded(const char* text):
    return text.decode("utf-8", "replace")


cdef object emit_message(int severity, message, category, log_id, code_location):
    """Give one message to the logging module. Return what interrupted that, if it was no error."""
    try:
        hand_over(severity, message, category, log_id, code_location)
    except Exception as error:
        PyErr_SetObject(type(error), error)
        PyErr_WriteUnraisable(python_logger)
    except BaseException as interruption:
        return interruption
    return None


cdef int hand_over(int severity, message, category, log_id, code_location) except -1:
    global python_logger
    if python_logger is None:
        import logging  # costs a few milliseconds, so only when there is something to log
        python_logger = logging.getLogger("ortx")
        python_logger.addHandler(logging.NullHandler())
    level = PYTHON_LEVELS[severity]
    if python_logger.isEnabledFor(level):
        file, _, line_and_function = code_location.partition(":")
        line, _, function = line_and_function.partition(" ")
        python_logger.handle(python_logger.makeRecord(
            "ortx", level, file, int(line) if line.isdecimal() else 0, "%s", (message,), None, function or None,
            {"category": category, "logid": log_id, "code_location": code_location}))
    return 0
