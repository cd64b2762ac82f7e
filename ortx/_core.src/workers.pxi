# The threads that run what was submitted, and the queue that they take it from.
#
# A worker spends its life without the GIL: it takes a job, runs it, hands it on to whoever waits for it, and sleeps on
# a lock of its own while there is nothing to do. Each session has a queue, made with its first submitted run, and as
# many workers as its option `max_concurrency` says, each started when it is first needed. One lock, `runs_lock`,
# guards all that is in this file; nobody waits for anything else while holding it.

# Microseconds. A signal ends the wait for a lock, unless it comes in the moment before that, or on Windows.
cdef long long LONGEST_DEAF_WAIT = 50_000 if sys.platform == "win32" else 500_000

cdef PyThread_type_lock runs_lock = PyThread_allocate_lock()
cdef Py_ssize_t native_runs = 0             # accepted and not ended, over all queues: the process does not exit before
cdef PyThread_type_lock runs_drained = NULL  # what the exit waits on; the last run to end releases it

# Where jobs go when they have ended: each is a list, and a lock that is closed unless there is something new in it.
cdef HandOver ended_jobs                    # of futures: for the thread that completes them
cdef HandOver waiting_inboxes               # of event loops: for the thread that wakes them


cdef inline void lock_runs() noexcept nogil:
    PyThread_acquire_lock(runs_lock, WAIT_LOCK)


cdef inline void unlock_runs() noexcept nogil:
    PyThread_release_lock(runs_lock)


cdef int wait_interruptibly(PyThread_type_lock lock) except -1:
    """Wait until a lock is released; in the main thread, run the handlers of signals meanwhile, which may raise."""
    cdef PyLockStatus status = PY_LOCK_INTR
    while status != PY_LOCK_ACQUIRED:
        PyErr_CheckSignals()
        with nogil:
            status = PyThread_acquire_lock_timed(lock, LONGEST_DEAF_WAIT, 1)
    return 0


cdef void free_waiter(Job* job) noexcept:
    lock_runs()  # whoever has released it does so while holding this
    unlock_runs()
    PyThread_free_lock(job.waiter)
    job.waiter = NULL


cdef int renew_hand_over(HandOver* hand_over) except -1:
    hand_over.first_job = hand_over.last_job = NULL
    hand_over.first_inbox = NULL
    hand_over.is_open = False
    hand_over.wake = closed_lock()
    return 0


cdef inline void wake_up(HandOver* hand_over) noexcept nogil:
    """Let the thread look; `runs_lock` is held."""
    if not hand_over.is_open:
        hand_over.is_open = True
        PyThread_release_lock(hand_over.wake)


renew_hand_over(&ended_jobs)
renew_hand_over(&waiting_inboxes)


# --- the queue ------------------------------------------------------------------------------------------------------

cdef RunQueue* make_queue(int most_workers, Py_ssize_t most_queued) except NULL:
    cdef RunQueue* queue = <RunQueue*>malloc(sizeof(RunQueue))
    if queue == NULL:
        raise MemoryError()
    memset(queue, 0, sizeof(RunQueue))
    queue.most_workers, queue.most_queued = most_workers, most_queued
    queue.generation = fork_generation
    return queue


cdef void end_workers(RunQueue* queue) noexcept:
    """Let the queue's workers end as soon as nothing is queued."""
    cdef Worker* worker
    cdef Worker* following
    lock_runs()
    queue.should_end = True
    worker, queue.idle = queue.idle, NULL
    while worker != NULL:
        following = worker.next  # it may be gone as soon as it is woken
        PyThread_release_lock(worker.wake)
        worker = following
    unlock_runs()


cdef void abandon_queue(RunQueue* queue) noexcept:
    """Give a queue up, in which nothing is left; the last of its workers frees it."""
    cdef bint is_alone
    if queue == NULL:
        return
    if queue.generation != fork_generation:  # its workers are the parent's
        free(queue)
        return
    end_workers(queue)
    lock_runs()
    queue.is_abandoned = True
    is_alone = queue.workers == 0
    unlock_runs()
    if is_alone:
        free_queue(queue)


cdef void free_queue(RunQueue* queue) noexcept:
    if queue.drained != NULL:
        PyThread_free_lock(queue.drained)
    free(queue)


cdef inline void append_job(JobList* jobs, Job* job) noexcept nogil:
    job.before, job.after = jobs.last, NULL
    if jobs.last == NULL:
        jobs.first = job
    else:
        jobs.last.after = job
    jobs.last = job
    jobs.count += 1


cdef inline void remove_job(JobList* jobs, Job* job) noexcept nogil:
    if job.before == NULL:
        jobs.first = job.after
    else:
        job.before.after = job.after
    if job.after == NULL:
        jobs.last = job.before
    else:
        job.after.before = job.before
    jobs.count -= 1


cdef inline bint reserve_room(RunQueue* queue, Job* job) noexcept nogil:
    """Take a place in the queue; if there is none, let the job wait for one, and return False."""
    lock_runs()
    cdef bint has_room = queue.queued < queue.most_queued  # while others wait for room, there is none
    if has_room:
        queue.queued += 1
        job.state = JOB_ADMITTED
    else:
        job.state = JOB_OUTSIDE
        append_job(&queue.outside, job)
    unlock_runs()
    return has_room


cdef void free_room(RunQueue* queue) noexcept nogil:
    """Give a place in the queue to the first who waits for one; `runs_lock` is held."""
    cdef Job* job = queue.outside.first
    if job == NULL:
        queue.queued -= 1
        return
    remove_job(&queue.outside, job)
    job.state = JOB_ADMITTED
    pass_on(job)


cdef inline void return_room(RunQueue* queue) noexcept nogil:
    """Give back a place that is not needed after all."""
    lock_runs()
    free_room(queue)
    unlock_runs()


cdef inline void enqueue(RunQueue* queue, Job* job) noexcept nogil:
    """Queue a job that has its place, and wake a worker if one sleeps."""
    cdef Worker* worker
    lock_runs()
    account_run(job)
    job.state = JOB_QUEUED
    append_job(&queue.jobs, job)
    worker = queue.idle
    if worker != NULL:
        queue.idle = worker.next
    unlock_runs()
    if worker != NULL:
        PyThread_release_lock(worker.wake)


cdef inline void account_run(Job* job) noexcept nogil:
    global native_runs
    native_runs += 1
    job.home.pending += 1


cdef void end_job(Job* job) noexcept nogil:
    """Hand on a job that will not look into its buffers any more; `runs_lock` is held."""
    global native_runs
    job.state = JOB_ENDED
    native_runs -= 1
    if native_runs == 0 and runs_drained != NULL:
        PyThread_release_lock(runs_drained)
    job.home.pending -= 1
    if job.home.pending == 0 and job.home.drained != NULL:
        PyThread_release_lock(job.home.drained)
    pass_on(job)


cdef void pass_on(Job* job) noexcept nogil:
    """Tell whoever waits for the job: a thread, an event loop, or the thread that completes futures."""
    if job.waiter != NULL:
        PyThread_release_lock(job.waiter)
        return
    job.after = NULL
    if job.inbox == NULL:
        if ended_jobs.first_job == NULL:
            ended_jobs.first_job = job
        else:
            ended_jobs.last_job.after = job
        ended_jobs.last_job = job
        wake_up(&ended_jobs)
        return
    if job.inbox.first == NULL:
        job.inbox.first = job
    else:
        job.inbox.last.after = job
    job.inbox.last = job
    if not job.inbox.is_scheduled:  # else the loop has been told already, and will find this job, too
        job.inbox.is_scheduled = True
        job.inbox.next = waiting_inboxes.first_inbox
        waiting_inboxes.first_inbox = job.inbox
        wake_up(&waiting_inboxes)


cdef void take_back(Job* job) noexcept nogil:
    """End a job that no worker has taken yet; `runs_lock` is held."""
    remove_job(&job.queue.jobs, job)
    free_room(job.queue)
    job.session = NULL  # says that it has not run
    end_job(job)


# --- the workers ----------------------------------------------------------------------------------------------------

cdef inline void run_job(Job* job) noexcept nogil:
    cdef int64_t start
    cdef int turn
    if job.run_lock != NULL:
        turn = take_turn(job.run_lock, job.options, &job.stopped_by)
        if turn == TURN_STOPPED:
            job.session = NULL  # says that it has not run
            return
        if turn == TURN_LACKS_MEMORY:
            job.status = status_without_turn(turn)
            return
    start = clock_ns() if job.is_timed else 0
    if job.binding != NULL:
        job.status = api.RunWithBinding(job.session, job.options, job.binding)
    else:
        job.status = frame_run(job.frame, job.session, job.options)
    if job.is_timed:
        job.nanoseconds = clock_ns() - start
    if job.run_lock != NULL:
        pass_turn(job.run_lock)


cdef bint work(RunQueue* queue, Worker* me) noexcept nogil:
    """Run what is queued until the workers are to end; return whether nobody looks at the queue any more."""
    cdef Job* job
    cdef bint is_last
    lock_runs()
    while True:
        job = queue.jobs.first
        if job != NULL:
            remove_job(&queue.jobs, job)
            job.state = JOB_RUNNING
            queue.busy_workers += 1
            free_room(queue)
            unlock_runs()
            run_job(job)
            lock_runs()
            queue.busy_workers -= 1
            end_job(job)
        elif queue.should_end:
            break
        else:
            me.next = queue.idle
            queue.idle = me
            unlock_runs()
            PyThread_acquire_lock(me.wake, WAIT_LOCK)
            lock_runs()
    queue.workers -= 1
    is_last = queue.workers == 0 and queue.is_abandoned
    unlock_runs()
    return is_last


def _work(address: int) -> None:
    """Be a worker of the queue at an address."""
    cdef RunQueue* queue = <RunQueue*><uintptr_t>address
    cdef Worker me
    cdef bint is_last
    me.wake = closed_lock()
    with nogil:
        is_last = work(queue, &me)
    PyThread_free_lock(me.wake)
    if is_last:
        free_queue(queue)


cdef int ensure_worker(RunQueue* queue, str name) except -1:
    """Start one more worker if there may be more, and the others have enough to do; the caller has its place."""
    lock_runs()
    is_needed = queue.workers - queue.busy_workers < queue.queued and queue.workers < queue.most_workers
    queue.workers += is_needed
    unlock_runs()
    if is_needed:
        try:
            start_thread(_work, name, (<uintptr_t>queue,))
        except Error:
            lock_runs()
            queue.workers -= 1
            is_lost = queue.workers == 0
            unlock_runs()
            if is_lost:
                raise
    return 0
