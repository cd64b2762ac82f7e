# Which runs keep the GIL: those that are over before another thread could take it.
#
# To let go of the GIL and take it again costs 40 ns while nobody wants it. When two threads run a tiny model, it
# changes hands at each run, which costs several microseconds each time: together they are slower than one alone. So a
# run keeps it if the model's cost follows from the shapes of its inputs (operators.py), these are those of the last
# runs, and those took less than `brief_limit`. Every TIMED_EVERY-th run lets go of it nevertheless, and is timed again.
# A run that is not timed counts as long as the last one that was: two looks at the clock cost 50 ns, or 300 where the
# clock is a system call.

cdef int64_t brief_limit = 20000  # nanoseconds

cdef enum:
    BRIEF_ENOUGH = 8    # so many in a row
    TIMED_EVERY = 64
    MOST_NODES = 128    # of a model that is looked at


cdef inline bint is_known_brief(Pace* pace) noexcept:
    """Whether the next run is known to be brief. If not, it is to be timed, and `note_run` told."""
    if pace.brief_runs < BRIEF_ENOUGH:
        return False
    pace.until_timed -= 1
    return pace.until_timed > 0


cdef inline void note_run(Pace* pace, RunCounts* counts, int64_t nanoseconds, OrtStatus* status) noexcept:
    count_time(counts, nanoseconds)
    pace.last = nanoseconds
    if status != NULL or nanoseconds >= brief_limit:  # the next one may not fail, or not be terminated, and take longer
        pace.brief_runs = 0
    elif pace.brief_runs < BRIEF_ENOUGH:
        pace.brief_runs += 1
    pace.until_timed = TIMED_EVERY


cdef inline void count_time(RunCounts* counts, int64_t nanoseconds) noexcept:
    counts.timed += 1
    counts.nanoseconds += nanoseconds
    if nanoseconds > counts.longest:
        counts.longest = nanoseconds


cdef inline OrtStatus* run_at_pace(
        Pace* pace, RunCounts* counts, Frame* frame, OrtSession* session, const OrtRunOptions* run_options) noexcept:
    """Run a frame, with the GIL if the run is known to be brief and has no options of its own."""
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
    run_options = begin_interruptible(run_options, time)
    with nogil:
        status = frame_run(frame, session, run_options)
        time = clock_ns() - time
    end_interruptible(run_options)
    note_run(pace, counts, time, status)
    return status


cdef tuple predictions(content):
    """Return whether the shapes of a model's inputs tell what it costs, and whether they tell the outputs' shapes."""
    from . import operators
    if content is None:
        return False, False
    view = memoryview(content)
    try:
        if not operators.consists_of(view, operators.COST_FOLLOWS_FROM_SHAPES, MOST_NODES):
            return False, False
        return True, operators.has_constant_shapes(view, operators.SHAPED_BY_VALUES)
    except ValueError:
        return False, False  # of another format


def _brief_limit(nanoseconds: int) -> int:
    """Set how long brief runs take at most, and return what it was. For tests, and for counting instructions."""
    global brief_limit
    previous, brief_limit = brief_limit, nanoseconds
    return previous


def _brief_runs(session_or_binding: Session | IOBinding) -> int:
    """Return how many runs in a row were brief, counted up to the number from which they keep the GIL. For tests."""
    if isinstance(session_or_binding, IOBinding):
        return (<IOBinding>session_or_binding).pace.brief_runs
    return (<Session>session_or_binding).pace.brief_runs
