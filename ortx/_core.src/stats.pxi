# What a session has done, for `Session.stats()`, and the run of a frame that is counted. All of it is plain numbers,
# changed with the GIL where a call has it anyway.

cdef inline int run_frame(Session session, Frame* frame, const OrtRunOptions* native_options) except -1:
    """Make the native call of `run` and `run_into`; `close` waits for it."""
    cdef OrtStatus* status
    cdef int64_t time
    if session.is_closed and session.is_forked:  # by what has converted an input
        frame_abandon(frame)
    cdef NativeSession native = session.start_call()
    if native.may_be_brief:
        if not frame.known_shapes:
            forget_both(&session.pace, &session.other_pace)
        status = run_at_pace(
            &session.pace if native_options == default_run_options else &session.other_pace, &session.counts, frame,
            native.handle, native_options)
    else:
        time = clock_ns()
        native_options = begin_interruptible(native_options, time)
        with nogil:
            if native.run_lock != NULL:
                status = frame_run_alone(native.run_lock, frame, native.handle, native_options, &time)
            else:
                status = frame_run(frame, native.handle, native_options)
                time = clock_ns() - time
        end_interruptible(native_options)
        count_time(&session.counts, time)
    native = None  # the last reference, if the session was opened anew meanwhile
    session.counts.runs += 1
    session.counts.bytes_in += <int64_t>frame.bytes_in
    session.end_call()
    # No Python code above: whatever runs from here on, a logging handler for one, may close this session.
    if status != NULL or log_is_busy:
        try:
            finish_run(session, status)
        finally:
            if session.is_forked:
                frame_abandon(frame)
    return 0


cdef int finish_run(Session session, OrtStatus* status) except -1:
    """Hand over ORT's messages, and raise the error of a run that has failed, which is counted."""
    problem = None
    if status != NULL:
        try:
            problem = error_of(status)
        except KeyboardInterrupt:
            session.counts.cancelled += 1  # by Ctrl-C, which Python has heard while it made the error
            raise
        count_error(session, problem)
    emit_messages(waits=status != NULL)
    if session.is_forked:  # by a logging handler
        session.opened()
    if problem is not None:
        if isinstance(problem, RunCancelled):
            PyErr_CheckSignals()  # if Ctrl-C has ended it, that is what is raised
        raise problem
    return 0


cdef int count_error(Session session, problem) except -1:
    """Count what a run was ended with."""
    if isinstance(problem, RunTimeout):
        session.counts.timeouts += 1
    elif isinstance(problem, (RunCancelled, KeyboardInterrupt)):
        session.counts.cancelled += 1
    else:
        # Memory has no code of its own: ONNX Runtime says FAIL, or one of some others, and Python has none at all.
        code = problem.code if isinstance(problem, Error) else Error.code
        name = "OUT_OF_MEMORY" if isinstance(problem, MemoryError) else code_name(code)
        if session.error_counts is None:
            session.error_counts = {}
        session.error_counts[name] = session.error_counts.get(name, 0) + 1
    return 0


cdef Outputs counted_outputs(Frame* frame, Outputs outputs, Session session):
    """Return the outputs of a run; if they cannot become Python's, it counts as failed after all."""
    cdef bint is_done = False
    try:
        unmarshal(frame, outputs, session)  # called nowhere else, so that the compiler puts it here
        is_done = True
    finally:  # which costs nothing if all goes well, unlike `except`
        if not is_done:
            count_error(session, sys.exc_info()[1])
    return outputs


cdef object session_stats(Session session):
    """Return a `Stats` of one moment: nothing here runs Python code before all is read."""
    cdef RunCounts counts = session.counts
    cdef RunQueue* queue = session.queue
    cdef Py_ssize_t in_flight = session.running_calls, queued = 0
    cdef int64_t refused = session.inputs.refused
    cdef int64_t age = clock_ns() - session.opened_at_ns
    errors = {} if session.error_counts is None else session.error_counts.copy()
    if queue != NULL and queue.generation == fork_generation:
        lock_runs()
        queued = queue.jobs.count + queue.outside.count
        in_flight += queue.pending - queue.jobs.count
        unlock_runs()
    from .stats import Stats
    return Stats(
        runs=counts.runs, errors=errors, timeouts=counts.timeouts, cancelled=counts.cancelled, refused=refused,
        in_flight=in_flight, queued=queued, total_seconds=counts.nanoseconds / 1e9,
        maximum_seconds=counts.longest / 1e9, timed_runs=counts.timed, bytes_in=counts.bytes_in,
        bytes_out=counts.bytes_out, since=session.opened_at, seconds=age / 1e9)
