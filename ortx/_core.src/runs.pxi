# A run with everything that it needs, from its beginning to its end, whoever waits for it.
#
# It is made (`new_run`), gets a place in the queue, is marshalled and queued (`begin_run`), is run by a worker
# (`workers.pxi`), received from it (`received`), turned into outputs or an error (`outcome`), and put away
# (`put_away`), whatever has happened. Only the worker's part is without the GIL.

@cython.final
cdef class PendingRun:
    """A run that ORT works on, with everything that it looks into."""

    def __cinit__(self):
        self.is_marshalled = self.is_given_up = False
        self.born = fork_generation
        memset(&self.job, 0, sizeof(Job))
        self.job.place = -1

    def __init__(self):
        raise TypeError("PendingRun cannot be made directly; use Session.submit(inputs)")


cdef PendingRun new_run(
        str function, Session session, IOBinding binding, run_options, timeout, bint can_be_stopped_alone):
    """Make a run with nothing in it yet; `put_away` has to follow."""
    cdef PendingRun run = PendingRun.__new__(PendingRun)
    refuse_when_finalized(function)
    session.opened()
    run.function, run.session, run.binding = function, session, None
    run.job.options = native_run_options(run_options)
    run.timeout = NEVER if timeout is None else timeout_argument(function, timeout)
    run.job.deadline = monotonic_seconds() + run.timeout
    run.run_options = run_options
    run.job.home = run.job.queue = session_queue(session)
    if can_be_stopped_alone:
        run.job.options = run.job.own_options = own_run_options(run_options)
    if run.run_options is not None:
        if run.run_options.runs is None:
            run.run_options.runs = set()
        run.run_options.runs.add(run)
    try:
        set_deadline(&run.job, run.job.deadline)
        if binding is not None:
            binding.enter()
            run.binding = binding
    except BaseException:
        put_away(run)
        raise
    return run


cdef RunQueue* session_queue(Session session) except NULL:
    if session.queue != NULL and session.queue.generation != fork_generation:
        abandon_queue(session.queue)
        session.queue = NULL
    if session.queue == NULL:
        table = table_in_effect(session)
        session.queue = make_queue(table.max_concurrency, table.max_queued_runs)
        session.pending_runs = set()
    return session.queue


cdef int marshal_pending(PendingRun run, inputs, output_names) except -1:
    """Fill in what the run is given."""
    cdef Session session = run.session
    cdef IOBinding binding = run.binding
    if binding is not None:
        if not binding.complete:
            binding.require_complete()
        if binding.allocates:
            binding.rebind_allocated()
        run.job.binding = binding.handle
        return 0
    names = None if output_names is None else names_argument(session.inputs, output_names)
    frame_open(&run.frame, session.inputs.count, session.outputs.count if names is None else len(names))
    run.is_marshalled = True
    run.outputs = marshal_run(run.function, &run.frame, session, inputs, names)
    run.job.frame = &run.frame
    return 0


cdef int begin_run(PendingRun run) except -1:
    """Queue a run that has a place in the queue, and let go of it until it comes back."""
    hold(run)
    try:
        queue_run(run)
    except BaseException:
        received(&run.job)
        raise
    return 0


cdef int queue_run(PendingRun run) except -1:
    """Queue a run that has a place in the queue. No Python code runs here, or the session might be closed."""
    refuse_late(run)
    run.native = run.session.opened() if run.binding is None else run.binding.held
    run.session.opened()
    enter_session(run, run.native)
    run.session.pending_runs.add(run)
    enqueue(run.job.queue, &run.job)  # with the GIL: `close` either forbids the run or waits for it
    heed_options(run)
    return 0


cdef inline void enter_session(PendingRun run, NativeSession native) noexcept:
    """Say where the job is to run, and whether it is to be timed."""
    run.job.session, run.job.run_lock = native.handle, native.run_lock
    if run.binding is None and not run.frame.known_shapes:
        forget_both(&run.session.pace, &run.session.other_pace)
    run.job.is_timed = not (native.may_be_brief and is_known_brief(pace_of(run)))


cdef inline Pace* pace_of(PendingRun run) noexcept:
    return &run.session.other_pace if run.binding is None else &run.binding.other_pace


cdef int refuse_late(PendingRun run) except -1:
    if run.job.deadline <= monotonic_seconds():
        problem = timeout_error(run, " before it began")
        count_error(run.session, problem)
        raise problem
    return 0


cdef inline void heed_options(PendingRun run) noexcept:
    """Stop a run whose options were terminated before it could be stopped by them."""
    if run.run_options is not None and run.run_options.is_terminated():
        lock_runs()
        stop_job(&run.job, STOPPED_BY_OPTIONS)
        unlock_runs()


cdef inline int hold(PendingRun run) except -1:
    """Keep a run until it comes back: from now on others hold its address."""
    run.job.run = <PyObject*>run
    Py_INCREF(run)
    return 0


cdef inline PendingRun received(Job* job):
    """Take back what `hold` has let go."""
    cdef PendingRun run = <PendingRun>job.run
    Py_XDECREF(job.run)  # `run` holds one now
    job.run = NULL
    run.native = None  # before any Python code: `wait_for_pending_runs` relies on it
    return run


cdef Outputs outcome(PendingRun run):
    """Return the outputs of a run that has ended, or raise what it ended with."""
    cdef IOBinding binding = run.binding
    if run.born != fork_generation:
        refuse_inherited(f"the run of {run.session.source}", run.born, "open a session here and run that")
    if run.is_marshalled:
        frame_release_inputs(&run.frame)
    problem = failure_of(run)
    if log_is_busy:
        # Neither the thread that completes futures nor one with an event loop may wait: a handler may wait for them.
        emit_messages(waits=problem is not None and run.future is None, may_wait=run.future is None)
    if problem is not None:
        raise problem
    if binding is not None:
        return binding.fetch_results()
    return counted_outputs(&run.frame, run.outputs, run.session)


cdef object failure_of(PendingRun run):
    """Return the error that a run has ended with, or None; it is counted."""
    cdef OrtStatus* status = run.job.status
    run.job.status = NULL
    if status != NULL:
        problem = error_of(status)
        if isinstance(problem, RunCancelled) and run.job.stopped_by == STOPPED_BY_DEADLINE:
            problem = timeout_error(run, "")
    elif run.job.session == NULL:
        if run.job.stopped_by == STOPPED_BY_DEADLINE:
            problem = timeout_error(run, " before it began")
        elif run.job.stopped_by == STOPPED_BY_CALLER:  # nobody will see it
            problem = RunCancelled(f"{run.function}: cancelled before it began")
        else:
            problem = RunCancelled(f"{run.function}: the terminate flag of its run options was set before it began")
    else:
        return None
    forget(pace_of(run))  # the next one may not be stopped, and take longer
    count_error(run.session, problem)
    return problem


cdef object timeout_error(PendingRun run, str what):
    return RunTimeout(f"{run.function}: ended by its timeout of {run.timeout:g} s{what}")


cdef inline void count_ended(PendingRun run) noexcept:
    cdef RunCounts* counts = &run.session.counts
    counts.runs += 1
    counts.bytes_in += <int64_t>(run.frame.bytes_in if run.binding is None else run.binding.bytes_in)
    if run.job.is_timed:
        note_run(pace_of(run), counts, run.job.nanoseconds, NULL)
    else:
        counts.nanoseconds += pace_of(run).last


cdef int put_away(PendingRun run) except -1:
    """Let go of everything that a run needed; twice does no harm."""
    cdef LoopInbox inbox
    if run.born != fork_generation:  # all of it is the parent's
        return 0
    clear_deadline(&run.job)
    if run.job.status != NULL:  # of a run whose outcome nobody wants any more
        failure_of(run)
    if run.job.session != NULL:
        count_ended(run)
        run.job.session = NULL
    if run.session.pending_runs is not None:
        run.session.pending_runs.discard(run)
    if run.run_options is not None and run.run_options.runs is not None:
        run.run_options.runs.discard(run)
    if run.job.own_options != NULL:
        release_own_run_options(run.job.own_options)
        run.job.options = run.job.own_options = NULL
    if run.binding is not None:
        run.binding.leave()
        run.binding = None
    if run.is_marshalled:
        run.is_marshalled = False
        frame_close(&run.frame)
    if run.inbox is not None:
        inbox, run.inbox = run.inbox, None
        inbox.leave(run)
    return 0


cdef int settle(PendingRun run) except -1:
    """Hand a run's outputs, or its error, to the future that waits for them."""
    result = problem = None
    cdef bint is_awaited = run.inbox is not None
    if run.job.stopped_by == STOPPED_BY_EXIT:  # of a daemon thread, which would only print what it cannot help
        return put_away(run)
    try:
        result = outcome(run)
    except BaseException as error:
        problem = error
    put_away(run)
    future, run.future = run.future, None
    if is_awaited and future.done():  # it was cancelled
        return 0
    if problem is None or run.is_given_up:
        future.set_result(result)
    else:
        future.set_exception(problem)
    return 0
