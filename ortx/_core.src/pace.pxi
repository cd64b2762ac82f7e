# Which runs keep the GIL: those that are over before another thread could take it.
#
# To let go of the GIL and take it again costs 40 ns while nobody wants it. When two threads run a tiny model, it
# changes hands at each run, which costs several microseconds each time: together they are slower than one alone. So a
# run keeps it if the model's cost follows from the shapes of its inputs (predict.pxi), these are those of the last
# runs, and those took less than `brief_limit`. Every TIMED_EVERY-th run lets go of it nevertheless, and is timed again.
# A run that is not timed counts as long as the last one that was: two looks at the clock cost 50 ns, or 300 where the
# clock is a system call.
#
# A run that takes up to `short_limit` keeps it while there is no other thread that could want it. What is behind a run
# lies in no cache then, and to let go of the GIL, take it again and be ready for Ctrl-C costs not 70 ns but 3 us. Such
# runs are all timed.

cdef extern from "Python.h":
    ctypedef struct PyThreadState
    ctypedef struct PyInterpreterState
    PyThreadState* PyThreadState_Get()
    PyThreadState* PyThreadState_Next(PyThreadState* thread)
    PyInterpreterState* PyInterpreterState_Get()
    PyInterpreterState* PyInterpreterState_Head()
    PyInterpreterState* PyInterpreterState_Next(PyInterpreterState* interpreter)
    PyThreadState* PyInterpreterState_ThreadHead(PyInterpreterState* interpreter)

cdef int64_t brief_limit = 20_000  # nanoseconds
cdef int64_t short_limit = 1_000_000  # a fifth of what a thread that runs Python code may keep the GIL for

cdef enum:
    RUNS_ENOUGH = 8     # so many in a row
    TIMED_EVERY = 64


cdef inline bint is_known_brief(Pace* pace) noexcept:
    """Whether the next run is known to be brief. If not, it is to be timed, and `note_run` told."""
    if pace.brief_runs < RUNS_ENOUGH:
        return False
    pace.until_timed -= 1
    return pace.until_timed > 0


cdef inline bint may_keep_gil(const Pace* pace, const OrtRunOptions* run_options) noexcept:
    """Whether the next run, which is to be timed, is known to be short, and nobody could want the GIL meanwhile."""
    return pace.short_runs == RUNS_ENOUGH and run_options == default_run_options and is_alone()


cdef inline bint is_alone() noexcept:
    """Whether there is no thread but this one, in any interpreter. New ones come first, and are not looked into."""
    cdef PyInterpreterState* interpreter = PyInterpreterState_Get()
    cdef PyThreadState* thread = PyThreadState_Get()
    return (
        PyInterpreterState_ThreadHead(interpreter) == thread and PyThreadState_Next(thread) == NULL
        and PyInterpreterState_Head() == interpreter and PyInterpreterState_Next(interpreter) == NULL)


cdef inline void note_run(Pace* pace, RunCounts* counts, int64_t nanoseconds, OrtStatus* status) noexcept:
    count_time(counts, nanoseconds)
    pace.last = nanoseconds
    pace.until_timed = TIMED_EVERY
    if status != NULL or nanoseconds >= short_limit:  # the next one may not fail, or not be terminated, and take longer
        forget(pace)
        return
    pace.short_runs = min(pace.short_runs + 1, <int>RUNS_ENOUGH)
    pace.brief_runs = min(pace.brief_runs + 1, <int>RUNS_ENOUGH) if nanoseconds < brief_limit else 0


cdef inline void forget(Pace* pace) noexcept:
    pace.brief_runs = pace.short_runs = 0


cdef inline void forget_both(Pace* pace, Pace* other) noexcept:
    forget(pace)
    forget(other)


cdef inline void count_time(RunCounts* counts, int64_t nanoseconds) noexcept:
    counts.timed += 1
    counts.nanoseconds += nanoseconds
    if nanoseconds > counts.longest:
        counts.longest = nanoseconds


cdef inline OrtStatus* run_at_pace(
        Pace* pace, RunCounts* counts, Frame* frame, OrtSession* session, const OrtRunOptions* run_options) noexcept:
    """Run a frame, with the GIL if nobody can miss it and the run has no options of its own."""
    cdef OrtStatus* status
    cdef int64_t time
    if is_known_brief(pace):
        counts.nanoseconds += pace.last
        if run_options == default_run_options:
            return frame_run(frame, session, run_options)
        with nogil:
            status = frame_run(frame, session, run_options)
        return status
    time = clock_ns()
    if may_keep_gil(pace, run_options):
        status = frame_run(frame, session, run_options)
        time = clock_ns() - time
    else:
        run_options = begin_interruptible(run_options, time)
        with nogil:
            status = frame_run(frame, session, run_options)
            time = clock_ns() - time
        end_interruptible(run_options)
    note_run(pace, counts, time, status)
    return status


def _brief_limit(nanoseconds: int) -> int:
    """Set how long brief runs take at most, and return what it was. For tests, and for counting instructions."""
    global brief_limit
    previous, brief_limit = brief_limit, nanoseconds
    return previous


def _short_limit(nanoseconds: int) -> int:
    """Set how long short runs take at most, and return what it was. For tests, and for counting instructions."""
    global short_limit
    previous, short_limit = short_limit, nanoseconds
    return previous


def _brief_runs(session_or_binding: Session | IOBinding) -> int:
    """Return how many runs in a row were brief, counted up to the number from which they keep the GIL. For tests."""
    if isinstance(session_or_binding, IOBinding):
        return (<IOBinding>session_or_binding).pace.brief_runs
    return (<Session>session_or_binding).pace.brief_runs
