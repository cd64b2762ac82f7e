# Deadlines: one thread that stops runs when their time is over.
#
# The runs that have a deadline are a heap, guarded by `runs_lock` like everything about runs. The thread sleeps until
# the first of them, without the GIL, and is woken only by a deadline before the one it sleeps until: a call that ends
# in time leaves the heap and wakes nobody. ONNX Runtime looks at the flag that is set here between two kernels only.

cdef extern from *:
    """
    #ifdef _WIN32
    #include <windows.h>
    static double ortx_monotonic_seconds(void) {
        LARGE_INTEGER count, frequency;
        QueryPerformanceCounter(&count);
        QueryPerformanceFrequency(&frequency);
        return (double)count.QuadPart / (double)frequency.QuadPart;
    }
    #else
    #include <time.h>
    static double ortx_monotonic_seconds(void) {
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
    }
    #endif
    """
    double monotonic_seconds "ortx_monotonic_seconds"() nogil

cdef double NEVER = math.inf
cdef double LONGEST_SLEEP = 3600  # seconds; a thread cannot wait for any length of time at once

cdef Job** deadlines = NULL                 # a heap, the next deadline first; its memory is never given back
cdef Py_ssize_t deadlines_count = 0
cdef Py_ssize_t deadlines_room = 0
cdef double sleeps_until = 0                # of the thread, which looks at the heap then
cdef PyThread_type_lock deadline_wake = closed_lock()
cdef bint deadline_wake_is_open = False
cdef object deadline_thread = None


cdef double timeout_argument(str function, timeout) except -1:
    """Read a number of seconds."""
    if type(timeout) is float and timeout > 0:
        return timeout
    from . import arguments
    return arguments.timeout(function, timeout)


cdef int start_deadline_thread() except -1:
    global deadline_thread
    if deadline_thread is None:
        with setup_lock:
            if deadline_thread is None:
                deadline_thread = start_thread(_watch_deadlines, "ortx-deadlines")
    return 0


cdef int set_deadline(Job* job, double deadline) except -1:
    """Stop a run at a time of `monotonic_seconds`, unless it has ended by then; `clear_deadline` has to follow."""
    global deadlines, deadlines_count, deadlines_room, deadline_wake_is_open
    cdef Job** larger
    if deadline == NEVER:
        return 0
    start_deadline_thread()
    lock_runs()
    if deadlines_count == deadlines_room:
        larger = <Job**>realloc(deadlines, (2 * deadlines_room + 64) * sizeof(Job*))
        if larger == NULL:
            unlock_runs()
            raise MemoryError()
        deadlines = larger
        deadlines_room = 2 * deadlines_room + 64
    job.deadline = deadline
    deadlines_count += 1
    place_upwards(deadlines_count - 1, job)
    if deadline < sleeps_until and not deadline_wake_is_open:
        deadline_wake_is_open = True
        PyThread_release_lock(deadline_wake)
    unlock_runs()
    return 0


cdef void place_upwards(Py_ssize_t place, Job* job) noexcept nogil:
    """Put a job where it belongs, at a free place of the heap or above it."""
    cdef Py_ssize_t above
    while place > 0:
        above = (place - 1) // 2
        if deadlines[above].deadline <= job.deadline:
            break
        deadlines[place] = deadlines[above]
        deadlines[place].place = place
        place = above
    deadlines[place] = job
    job.place = place


cdef inline void clear_deadline(Job* job) noexcept nogil:
    if job.place >= 0:  # changed only under the lock; once it is negative it remains so
        lock_runs()
        remove_deadline(job)
        unlock_runs()


cdef void remove_deadline(Job* job) noexcept nogil:
    """Take a job out of the heap; `runs_lock` is held."""
    global deadlines_count
    cdef Py_ssize_t place = job.place, below
    cdef Job* moved
    if place < 0:
        return
    job.place = -1
    deadlines_count -= 1
    if place == deadlines_count:
        return
    moved = deadlines[deadlines_count]
    while True:
        below = 2 * place + 1
        if below + 1 < deadlines_count and deadlines[below + 1].deadline < deadlines[below].deadline:
            below += 1
        if below >= deadlines_count or deadlines[below].deadline >= moved.deadline:
            break
        deadlines[place] = deadlines[below]
        deadlines[place].place = place
        place = below
    place_upwards(place, moved)


cdef int forget_deadlines() except -1:
    """Begin anew in a forked child, which has no such thread."""
    global deadlines_count, sleeps_until, deadline_wake, deadline_wake_is_open, deadline_thread
    deadlines_count = 0
    sleeps_until = 0
    deadline_wake = closed_lock()
    deadline_wake_is_open = False
    deadline_thread = None
    return 0


cdef void stop_job(Job* job, int stopped_by) noexcept nogil:
    """End a run as soon as its current kernel is done, or at once if it has not begun; `runs_lock` is held."""
    cdef OrtStatus* status
    if job.state == JOB_ENDED or job.stopped_by != NOT_STOPPED:
        return
    if stopped_by == STOPPED_BY_OPTIONS and job.state in (JOB_NEW, JOB_ADMITTED):
        return  # its caller has it, and looks at the options when all is ready
    job.stopped_by = stopped_by
    if job.state == JOB_QUEUED:
        take_back(job)
    elif job.state == JOB_OUTSIDE:
        remove_job(&job.queue.outside, job)
        job.state = JOB_ENDED
        pass_on(job)
    elif job.own_options != NULL:
        status = api.RunOptionsSetTerminate(job.own_options)
        discard(status)
        lock_stops()
        end_waits(job.own_options)
        unlock_stops()


def _watch_deadlines() -> None:
    with nogil:
        watch_deadlines()


cdef void watch_deadlines() noexcept nogil:
    """Stop what is late, for ever."""
    global sleeps_until, deadline_wake_is_open
    cdef Job* job
    cdef double now, seconds
    lock_runs()
    while True:
        now = monotonic_seconds()
        while deadlines_count > 0 and deadlines[0].deadline <= now:
            job = deadlines[0]
            remove_deadline(job)
            stop_job(job, STOPPED_BY_DEADLINE)
        sleeps_until = deadlines[0].deadline if deadlines_count > 0 else NEVER
        seconds = min(sleeps_until - now, LONGEST_SLEEP)
        unlock_runs()
        # Rounded up: who wakes too early would find nothing to do.
        PyThread_acquire_lock_timed(
            deadline_wake, -1 if sleeps_until == NEVER else <long long>(seconds * 1e6) + 1, 0)
        lock_runs()
        if deadline_wake_is_open:
            # It was released by a new deadline: close it again, whether that or the time has woken this thread.
            deadline_wake_is_open = False
            PyThread_acquire_lock(deadline_wake, NOWAIT_LOCK)
