# RunAsync: ORT runs a call on a thread of the session's pool, and says there when it has ended.
#
# That thread must neither wait for the GIL nor run Python code: it belongs to the session that its code may want to
# close. So the callback does what `close` waits for, puts the run into a list, and wakes a thread of ortx's own, which
# makes arrays of the outputs and completes the future. That thread is started with the first run and lives on.

cdef PyThread_type_lock ended_lock = PyThread_allocate_lock()   # guards the list and every session's pending_runs
cdef PyThread_type_lock ended_wake = PyThread_allocate_lock()   # locked unless there is something new in the list
cdef EndedRun* first_ended = NULL
cdef EndedRun* last_ended = NULL
cdef bint wake_is_open = False
cdef Py_ssize_t unfinished_runs = 0     # submitted and not completed; changed under the GIL
cdef bint completion_should_end = False
cdef object completion_thread = None

PyThread_acquire_lock(ended_wake, WAIT_LOCK)


@cython.final
cdef class PendingRun:
    """A run that ORT works on, with everything that it looks into."""

    def __cinit__(self):
        self.is_marshalled = False

    def __init__(self):
        raise TypeError("PendingRun cannot be made directly; use Session.submit(inputs)")

    def __dealloc__(self):
        if self.is_marshalled:
            frame_close(&self.frame)


cdef object submit_run(Session session, inputs, output_names, run_options):
    """Begin a run, and return its future."""
    global unfinished_runs
    from concurrent.futures import Future
    cdef PendingRun run = PendingRun.__new__(PendingRun)
    cdef OrtStatus* status
    session.opened()
    cdef const OrtRunOptions* native_options = native_run_options(run_options)
    cdef tuple names = None if output_names is None else names_argument(output_names)
    require_worker(session)
    start_completion_thread()
    frame_open(&run.frame, session.inputs.count, session.outputs.count if names is None else len(names))
    run.is_marshalled = True
    run.outputs = marshal_run("submit", &run.frame, session.inputs, session.outputs, inputs, names)
    run.session, run.run_options, run.future = session, run_options, Future()
    run.future.set_running_or_notify_cancel()  # it can be terminated, but not taken back
    run.ended.run = <PyObject*>run
    run.ended.pending_runs = &session.pending_runs
    run.ended.drained = &session.pending_drained
    future = run.future
    run.native = session.opened()
    count_pending_run(session)  # no Python code since, so the session cannot have been closed
    Py_INCREF(run)  # for the callback, which hands it to the completion thread
    unfinished_runs += 1
    with nogil:
        status = api.RunAsync(
            run.native.handle, native_options, run.frame.input_names, <const OrtValue* const*>run.frame.inputs,
            <size_t>run.frame.inputs_count, run.frame.output_names, <size_t>run.frame.outputs_count, run.frame.outputs,
            run_has_ended, &run.ended)
        if status != NULL:
            run_has_ended(&run.ended, NULL, 0, status)
    return future


cdef int require_worker(Session session) except -1:
    if session.table.intra_op_num_threads < 2:
        advice = "open it with intra_op_num_threads=2 or more"
        if session.table.disable_per_session_threads:
            advice = "begin with ortx.configure(use_global_thread_pools=True, global_intra_op_num_threads=2) or more"
        raise NotSupported(
            "submit: ONNX Runtime runs it on a thread of the session's pool, and that of "
            f"{session.source} has none besides the caller's: {advice}")
    return 0


cdef inline void count_pending_run(Session session) noexcept:
    PyThread_acquire_lock(ended_lock, WAIT_LOCK)
    session.pending_runs += 1
    PyThread_release_lock(ended_lock)


cdef void run_has_ended(void* user_data, OrtValue** outputs, size_t num_outputs, OrtStatus* status) noexcept nogil:
    """Take over a run that has ended: on a thread of ORT's, or on the caller's if it could not even begin."""
    global first_ended, last_ended, wake_is_open
    cdef EndedRun* ended = <EndedRun*>user_data
    ended.status = status
    ended.next = NULL
    PyThread_acquire_lock(ended_lock, WAIT_LOCK)
    if first_ended == NULL:
        first_ended = ended
    else:
        last_ended.next = ended
    last_ended = ended
    ended.pending_runs[0] -= 1
    if ended.pending_runs[0] == 0 and ended.drained[0] != NULL:
        PyThread_release_lock(ended.drained[0])
    if not wake_is_open:
        wake_is_open = True
        PyThread_release_lock(ended_wake)
    PyThread_release_lock(ended_lock)


cdef int start_completion_thread() except -1:
    global completion_thread
    if completion_should_end:
        raise Error("submit: the interpreter is exiting")
    if completion_thread is None:
        with setup_lock:
            if completion_thread is None:
                thread = threading.Thread(target=_complete_runs, name="ortx-completion", daemon=True)
                thread.start()
                completion_thread = thread
    return 0


def _complete_runs() -> None:
    """Complete what has ended, until the interpreter exits and nothing is left."""
    global wake_is_open
    while not (completion_should_end and unfinished_runs == 0):
        with nogil:
            PyThread_acquire_lock(ended_wake, WAIT_LOCK)
            PyThread_acquire_lock(ended_lock, WAIT_LOCK)
            wake_is_open = False
            PyThread_release_lock(ended_lock)
        complete_ended_runs()


cdef int complete_ended_runs() except -1:
    global first_ended, unfinished_runs
    cdef EndedRun* ended
    cdef PendingRun run
    while True:
        PyThread_acquire_lock(ended_lock, WAIT_LOCK)
        ended = first_ended
        if ended != NULL:
            first_ended = ended.next
        PyThread_release_lock(ended_lock)
        if ended == NULL:
            return 0
        run = <PendingRun>ended.run
        Py_XDECREF(ended.run)  # the callback's; `run` holds one now
        run.native = None  # before any Python code: `wait_for_pending_runs` relies on it
        try:
            complete_run(run)
        except BaseException as error:  # of a callback: errors are logged by the future, so this is SystemExit or such
            PyErr_SetObject(type(error), error)
            PyErr_WriteUnraisable(run.future)
        unfinished_runs -= 1
        run = None


cdef int complete_run(PendingRun run) except -1:
    """Hand a run's outputs, or its error, to whoever waits for them."""
    frame_release_inputs(&run.frame)
    try:
        emit_or_discard(run.ended.status)
        check(run.ended.status)
        result = unmarshal(&run.frame, run.outputs, run.session.passed_through, run.session.zip_maps)
    except BaseException as error:
        run.future.set_exception(error)
    else:
        run.future.set_result(result)
    return 0


cdef int wait_for_pending_runs(Session session) except -1:
    """Wait until ORT works on none of the session's submitted runs; no new one may begin meanwhile."""
    cdef EndedRun* ended
    PyThread_acquire_lock(ended_lock, WAIT_LOCK)
    waits = session.pending_runs > 0
    if waits and session.pending_drained == NULL:
        session.pending_drained = PyThread_allocate_lock()
        PyThread_acquire_lock(session.pending_drained, WAIT_LOCK)  # free so far; the last run to end opens it
    PyThread_release_lock(ended_lock)
    if waits:
        with nogil:
            PyThread_acquire_lock(session.pending_drained, WAIT_LOCK)
        PyThread_release_lock(session.pending_drained)  # for the next one who waits
    # Those that wait for the completion thread keep the native session alive, which is to be released now.
    natives = []
    PyThread_acquire_lock(ended_lock, WAIT_LOCK)
    ended = first_ended
    while ended != NULL:
        if (<PendingRun>ended.run).session is session:
            natives.append((<PendingRun>ended.run).native)
            (<PendingRun>ended.run).native = None
        ended = ended.next
    PyThread_release_lock(ended_lock)
    return 0


def _forget_runs_of_the_parent() -> None:
    """Begin anew in a forked child, whose parent's threads do not exist there, whatever they were doing."""
    global ended_lock, ended_wake, first_ended, last_ended, wake_is_open, unfinished_runs, completion_thread
    ended_lock, ended_wake = PyThread_allocate_lock(), PyThread_allocate_lock()
    PyThread_acquire_lock(ended_wake, WAIT_LOCK)
    first_ended = last_ended = NULL
    wake_is_open = False
    unfinished_runs = 0
    completion_thread = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_runs_of_the_parent)


@atexit.register
def _complete_runs_at_exit() -> None:
    """Let runs end that the interpreter would otherwise leave without the memory that they look into."""
    global completion_should_end, wake_is_open
    completion_should_end = True
    if completion_thread is None:
        return
    PyThread_acquire_lock(ended_lock, WAIT_LOCK)
    if not wake_is_open:
        wake_is_open = True
        PyThread_release_lock(ended_wake)
    PyThread_release_lock(ended_lock)
    completion_thread.join()
