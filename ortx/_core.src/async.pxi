# Runs that go on while their caller does something else: submitted ones, whose future a thread of ortx's completes, and
# awaited ones, whose event loop is woken once for all that have ended meanwhile.

cdef dict loop_inboxes = {}             # event loop -> LoopInbox, while runs of its are in flight
cdef object running_loop = None         # asyncio.get_running_loop, once it is needed
cdef object TaskCancelled = None        # asyncio.CancelledError, likewise
cdef Py_ssize_t unfinished_runs = 0     # submitted and not completed; changed under the GIL
cdef bint is_exiting = False
cdef object completion_thread = None
cdef object loops_thread = None


# --- submitted ------------------------------------------------------------------------------------------------------

cdef object submit_run(Session session, inputs, output_names, run_options):
    """Begin a run, and return its future."""
    global unfinished_runs
    cdef PendingRun run = new_run("submit", session, None, run_options, None, False)
    from .futures import RunFuture
    try:
        start_threads("submit", for_loops=False)
        wait_for_room(run)
        try:
            ensure_worker(run.job.queue, "ortx-worker")
            marshal_pending(run, inputs, output_names)
            run.future = future = RunFuture()
            future.set_running_or_notify_cancel()  # it can be terminated, but not taken back
            unfinished_runs += 1
            try:
                begin_run(run)
            except BaseException:
                unfinished_runs -= 1
                raise
        except BaseException:
            return_room(run.job.queue)
            raise
    except BaseException:
        put_away(run)
        raise
    return future


cdef int wait_for_room(PendingRun run) except -1:
    """Wait until the queue has a place for a run; with Ctrl-C, until nobody counts on it any more."""
    run.job.waiter = closed_lock()
    try:
        if not reserve_room(run.job.queue, &run.job):
            wait_interruptibly(run.job.waiter)
    except BaseException:
        lock_runs()
        if run.job.state == JOB_OUTSIDE:
            remove_job(&run.job.queue.outside, &run.job)
        elif run.job.state == JOB_ADMITTED:
            free_room(run.job.queue)
        run.job.state = JOB_ENDED
        unlock_runs()
        raise
    finally:
        free_waiter(&run.job)
    if run.job.state == JOB_ENDED:  # its options were terminated
        raise failure_of(run)
    return 0


cdef int start_threads(str function, bint for_loops) except -1:
    """Start the thread that tells event loops, or the one that completes futures, if there is none yet."""
    global completion_thread, loops_thread
    if is_exiting:
        raise exiting(function)
    if (loops_thread if for_loops else completion_thread) is not None:
        return 0
    with setup_lock:
        if for_loops and loops_thread is None:
            loops_thread = start_thread(_wake_loops, "ortx-loops")
        if not for_loops and completion_thread is None:
            completion_thread = start_thread(_complete_runs, "ortx-completion")
    return 0


def _complete_runs() -> None:
    """Complete what has ended, until the interpreter exits and nothing is left."""
    while not (is_exiting and unfinished_runs == 0):
        wait_for_news(&ended_jobs)
        complete_ended_runs()


cdef int wait_for_news(HandOver* hand_over) except -1:
    with nogil:
        PyThread_acquire_lock(hand_over.wake, WAIT_LOCK)
        lock_runs()
        hand_over.is_open = False
        unlock_runs()
    return 0


cdef int complete_ended_runs() except -1:
    global unfinished_runs
    cdef Job* job
    cdef PendingRun run
    while True:
        lock_runs()
        job = ended_jobs.first_job
        if job != NULL:
            ended_jobs.first_job = job.after
        unlock_runs()
        if job == NULL:
            return 0
        run = received(job)
        future = run.future
        try:
            settle(run)
        except BaseException as error:  # of a callback: errors are logged by the future, so this is SystemExit or such
            if not isinstance(error, SystemExit):  # which ends a thread without a word, but this one has more to do
                PyErr_SetObject(type(error), error)
                PyErr_WriteUnraisable(future)
        unfinished_runs -= 1
        run = future = None


# --- awaited --------------------------------------------------------------------------------------------------------

@cython.final
cdef class LoopInbox:
    """The runs of one event loop."""

    def __cinit__(self):
        memset(&self.inbox, 0, sizeof(Inbox))
        self.inbox.owner = <PyObject*>self

    def __init__(self):
        raise TypeError("LoopInbox cannot be made directly; use Session.run_async(inputs)")

    def drain(self) -> None:
        """Settle what has ended: called by the loop, in its thread."""
        cdef PendingRun run
        while True:
            run = self.next_run()
            if run is None:
                return
            if run.job.state == JOB_ENDED:
                settle(run)
                continue
            if run.is_given_up:  # it was about to be marshalled
                run.session.counts.cancelled += 1
                run.job.state = JOB_ENDED
                return_room(run.job.queue)
                put_away(run)
            if not run.future.done():
                run.future.set_result(None)

    def abandon(self) -> None:
        """Put away what has ended, after its loop was closed."""
        cdef PendingRun run
        while True:
            run = self.next_run()
            if run is None:
                return
            if run.job.state != JOB_ENDED:
                return_room(run.job.queue)
            put_away(run)

    cdef int leave(self, PendingRun run) except -1:
        """Forget a run that was put away; after the last one, the loop too."""
        self.runs.discard(run)
        if not self.runs:
            loop_inboxes.pop(self.loop, None)
        return 0

    cdef PendingRun next_run(self):
        lock_runs()
        cdef Job* job = self.inbox.first
        if job != NULL:
            self.inbox.first = job.after
        else:
            self.inbox.is_scheduled = False
        unlock_runs()
        return None if job == NULL else received(job)


@cython.final
@cython.no_gc_clear  # what is to be put away would be forgotten
cdef class LoopCall:
    """A call of `LoopInbox.drain` that an event loop is to make. If it never does, because it was closed before, what
    has ended is put away when the loop drops this."""

    def __init__(self):
        raise TypeError("LoopCall cannot be made directly; use Session.run_async(inputs)")

    def __call__(self):
        inbox, self.inbox = self.inbox, None
        try:
            inbox.drain()
        except BaseException:  # Ctrl-C, for one: the rest is for the next time
            self.inbox = inbox
            inbox.loop.call_soon(self)
            raise

    def __dealloc__(self):
        if self.inbox is not None and not finalizing:
            self.inbox.abandon()


cdef int join_loop(PendingRun run) except -1:
    """Let the running event loop wait for a run."""
    global running_loop, TaskCancelled
    cdef LoopInbox inbox
    if running_loop is None:
        import asyncio
        running_loop, TaskCancelled = asyncio.get_running_loop, asyncio.CancelledError
    loop = running_loop()
    start_threads("run_async", for_loops=True)
    inbox = loop_inboxes.get(loop)
    if inbox is None:
        inbox = LoopInbox.__new__(LoopInbox)
        inbox.loop, inbox.runs = loop, set()
        loop_inboxes[loop] = inbox
    inbox.runs.add(run)
    run.inbox = inbox
    run.job.inbox = &inbox.inbox
    run.future = loop.create_future()
    return 0


def _wake_loops() -> None:
    """Tell event loops that runs of theirs have ended: each once, however many these are."""
    cdef LoopInbox owner
    cdef LoopCall call
    while True:
        wait_for_news(&waiting_inboxes)
        while True:
            owner = next_inbox()
            if owner is None:
                break
            call = LoopCall.__new__(LoopCall)
            call.inbox = owner
            try:
                owner.loop.call_soon_threadsafe(call)
            except RuntimeError:  # the loop is closed
                owner.abandon()
                call.inbox = None
            owner = call = None


cdef LoopInbox next_inbox():
    cdef Inbox* inbox
    cdef LoopInbox owner = None
    lock_runs()
    inbox = waiting_inboxes.first_inbox
    if inbox != NULL:
        waiting_inboxes.first_inbox = inbox.next
        owner = <LoopInbox>inbox.owner
    unlock_runs()
    return owner


async def _run_awaited(Session session, IOBinding binding or None, inputs, output_names, run_options, timeout) -> Any:
    """Run a session, or a binding of it, on a worker: the coroutine behind both methods `run_async`."""
    cdef PendingRun run = new_run("run_async", session, binding, run_options, timeout, True)
    try:
        join_loop(run)
        if not reserve_room(run.job.queue, &run.job):
            hold(run)
            await _come_back(run)
            run.future = run.inbox.loop.create_future()
        try:
            ensure_worker(run.job.queue, "ortx-worker")
            marshal_pending(run, inputs, output_names)
            begin_run(run)
        except BaseException:
            return_room(run.job.queue)
            raise
        return await _come_back(run)
    except BaseException:
        if run.job.run == NULL:  # else it is put away when it comes back
            put_away(run)
        raise


async def _come_back(PendingRun run) -> Any:
    """Wait for a run that was let go: for its outputs, or for its place in the queue.

    If the task is cancelled, the run is stopped, and waited for until nothing looks into its buffers any more.
    """
    loop = run.inbox.loop
    try:
        return await run.future
    except BaseException as error:
        if run.job.run == NULL:  # it came back: this is its error, or the task was cancelled a moment too late
            if run.job.state == JOB_ADMITTED:
                return_room(run.job.queue)
            raise
        if run.born != fork_generation:  # in a forked child nothing of it ever comes back
            raise
        run.is_given_up = True
        lock_runs()
        stop_job(&run.job, STOPPED_BY_CALLER)
        unlock_runs()
        while run.job.run != NULL and not isinstance(error, GeneratorExit):
            run.future = loop.create_future()
            try:
                await run.future
            except TaskCancelled:
                continue  # once is enough
        raise


# --- close, fork, exit ----------------------------------------------------------------------------------------------

cdef inline Py_ssize_t count_pending_runs(Session session) noexcept:
    return 0 if session.queue == NULL or session.queue.generation != fork_generation else session.queue.pending


cdef int wait_for_running_calls(Session session) except -1:
    """Wait until no native call of the session is in progress; no new one may begin meanwhile."""
    if session.running_calls == 0:
        return 0
    if session.drained == NULL:
        session.drained = PyThread_allocate_lock()
        if session.drained == NULL:
            raise MemoryError()
        PyThread_acquire_lock(session.drained, WAIT_LOCK)  # free so far; end_call opens it
    wait_interruptibly(session.drained)
    PyThread_release_lock(session.drained)  # for the next one who waits
    return 0


cdef int wait_for_pending_runs(Session session) except -1:
    """Wait until ORT works on none of the session's submitted runs; no new one may begin meanwhile."""
    cdef RunQueue* queue = session.queue
    if queue == NULL or queue.generation != fork_generation:
        return 0
    lock_runs()
    waits = queue.pending > 0
    if waits and queue.drained == NULL:
        queue.drained = PyThread_allocate_lock()
        PyThread_acquire_lock(queue.drained, WAIT_LOCK)  # free so far; the last run to end opens it
    unlock_runs()
    if waits:
        wait_interruptibly(queue.drained)
        PyThread_release_lock(queue.drained)  # for the next one who waits
    end_workers(queue)
    # Those that still wait for their future keep the native session alive, which is to be released now.
    natives = []
    for run in session.pending_runs:  # no Python code runs here
        natives.append((<PendingRun>run).native)
        (<PendingRun>run).native = None
    return 0


def _forget_runs_of_the_parent() -> None:
    """Begin anew in a forked child, whose parent's threads do not exist there, whatever they were doing."""
    global runs_lock, native_runs, unfinished_runs, completion_thread, loops_thread
    runs_lock = PyThread_allocate_lock()
    renew_hand_over(&ended_jobs)
    renew_hand_over(&waiting_inboxes)
    native_runs = unfinished_runs = 0
    completion_thread = loops_thread = None
    loop_inboxes.clear()
    forget_deadlines()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_runs_of_the_parent)


cdef int stop_awaited_runs() except -1:
    """Stop the runs of event loops, which have ended, or are in daemon threads: who knows how long they would take."""
    for inbox in list(loop_inboxes.values()):
        for run in list((<LoopInbox>inbox).runs):
            lock_runs()
            stop_job(&(<PendingRun>run).job, STOPPED_BY_EXIT)
            unlock_runs()
    return 0


@atexit.register
def _complete_runs_at_exit() -> None:
    """Let runs end that the interpreter would otherwise leave without the memory that they look into."""
    global is_exiting, runs_drained
    is_exiting = True
    if completion_thread is not None:
        lock_runs()
        wake_up(&ended_jobs)
        unlock_runs()
        completion_thread.join()
    stop_awaited_runs()
    lock_runs()
    waits = native_runs > 0
    if waits:
        runs_drained = PyThread_allocate_lock()
        PyThread_acquire_lock(runs_drained, WAIT_LOCK)
    unlock_runs()
    if waits:
        with nogil:
            PyThread_acquire_lock(runs_drained, WAIT_LOCK)
