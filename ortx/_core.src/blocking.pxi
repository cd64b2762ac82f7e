# Calls that wait for their run, but not for ever: those with a timeout.
#
# ONNX Runtime can only be told to stop, so the caller's thread waits for the run's return either way. The main thread
# has it run by another one, since the handlers of signals run in the main thread only, and Ctrl-C has to reach it.

cdef RunQueue* helper_queue = NULL  # never full; more than one worker only if a signal's handler makes such calls, too


cdef Outputs run_with_timeout(Session session, inputs, output_names, run_options, timeout):
    cdef PendingRun run = new_run("run", session, None, run_options, timeout, True)
    try:
        marshal_pending(run, inputs, output_names)
        return run_and_wait(run)
    finally:
        put_away(run)


cdef Outputs run_into_with_timeout(Session session, inputs, outputs, run_options, timeout):
    cdef PendingRun run = new_run("run_into", session, None, run_options, timeout, True)
    try:
        frame_open(&run.frame, session.inputs.count, session.outputs.count)
        run.is_marshalled = True
        run.outputs = marshal_run_into(&run.frame, session.inputs, session.outputs, inputs, outputs)
        run.job.frame = &run.frame
        return run_and_wait(run)
    finally:
        put_away(run)


cdef Outputs run_bound_with_timeout(IOBinding binding, run_options, timeout):
    cdef PendingRun run = new_run("run_with_iobinding", binding.session, binding, run_options, timeout, True)
    try:
        marshal_pending(run, None, None)
        return run_and_wait(run)
    finally:
        put_away(run)


cdef Outputs run_and_wait(PendingRun run):
    if PyThread_get_thread_ident() == main_thread:
        run_elsewhere(run)
    else:
        run_here(run)
    return outcome(run)


cdef int run_here(PendingRun run) except -1:
    cdef NativeSession native
    refuse_late(run)
    native = run.session.start_call() if run.binding is None else counted_call(run)
    enter_session(run, native)
    run.job.state = JOB_RUNNING
    heed_options(run)
    with nogil:
        run_job(&run.job)
        clear_deadline(&run.job)  # it has ended: nobody may stop it any more
    native = None
    run.session.end_call()
    return 0


cdef inline NativeSession counted_call(PendingRun run):
    run.session.start_call()
    return run.binding.held


cdef int run_elsewhere(PendingRun run) except -1:
    """Run on a thread of ortx's own, and wait for it; if a signal's handler raises, stop the run and wait on."""
    global helper_queue
    if helper_queue == NULL or helper_queue.generation != fork_generation:
        helper_queue = make_queue(most_workers=1 << 20, most_queued=1 << 40)
    run.job.queue = helper_queue
    run.job.waiter = closed_lock()
    reserve_room(helper_queue, &run.job)
    try:
        ensure_worker(helper_queue, "ortx-helper")
        queue_run(run)
    except BaseException:
        return_room(helper_queue)
        free_waiter(&run.job)
        raise
    try:
        wait_interruptibly(run.job.waiter)
    except BaseException:
        lock_runs()
        stop_job(&run.job, STOPPED_BY_CALLER)
        unlock_runs()
        with nogil:
            PyThread_acquire_lock(run.job.waiter, WAIT_LOCK)
        raise
    finally:
        free_waiter(&run.job)
        run.native = None
    return 0
