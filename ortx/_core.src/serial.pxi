# One run at a time, for sessions of providers that cannot do more. Who comes meanwhile waits for a turn, without the
# GIL, in the order in which they came; a run that is stopped waits no longer. `stops_lock` guards all of it.

cdef extern from "pythread.h":
    PyThread_type_lock allocate_lock "PyThread_allocate_lock"() nogil
    void free_lock "PyThread_free_lock"(PyThread_type_lock lock) nogil

cdef enum:
    TURN_WAITS
    TURN_HAS_COME
    TURN_STOPPED        # the run is not to begin any more
    TURN_LACKS_MEMORY

# Microseconds. Ctrl-C ends the main thread's wait at once, unless it comes in the moment before that, or on macOS.
cdef long long LONGEST_DEAF_TURN = 100_000

cdef Turn* first_turn = NULL    # of those that wait, whatever session they wait for
cdef Turn* last_turn = NULL


cdef RunLock* make_run_lock() except NULL:
    cdef RunLock* lock = <RunLock*>malloc(sizeof(RunLock))
    if lock == NULL:
        raise MemoryError()
    lock.is_held = False
    return lock


cdef int take_turn(RunLock* lock, const OrtRunOptions* options, const int* stopped_by) noexcept nogil:
    """Wait until no other run of the session is in progress, or until this one is stopped: by the user's `options`, by
    what writes into `stopped_by`, or by Ctrl-C. If the turn has come, `pass_turn` has to follow."""
    cdef bint in_main = PyThread_get_thread_ident() == main_thread
    cdef Turn me
    lock_stops()
    me.state = TURN_HAS_COME if not lock.is_held else TURN_WAITS
    lock.is_held = True
    unlock_stops()
    if me.state == TURN_HAS_COME:
        return TURN_HAS_COME
    me.lock, me.options, me.wake = lock, options, allocate_lock()
    if me.wake == NULL:
        return TURN_LACKS_MEMORY
    PyThread_acquire_lock(me.wake, WAIT_LOCK)
    lock_stops()
    if not lock.is_held:
        lock.is_held, me.state = True, TURN_HAS_COME
    elif is_listed(options) or (stopped_by != NULL and stopped_by[0] != NOT_STOPPED):
        me.state = TURN_STOPPED
    else:
        append_turn(&me)
    while me.state == TURN_WAITS:
        if in_main and is_stopped:
            end_turn(&me, TURN_STOPPED)
            break
        unlock_stops()
        PyThread_acquire_lock_timed(me.wake, LONGEST_DEAF_TURN if in_main else -1, in_main)
        lock_stops()
    unlock_stops()
    free_lock(me.wake)  # whoever has released it held `stops_lock`
    return me.state


cdef void pass_turn(RunLock* lock) noexcept nogil:
    """Let the next run begin."""
    cdef Turn* turn
    lock_stops()
    turn = first_turn
    while turn != NULL and turn.lock != lock:
        turn = turn.after
    if turn == NULL:
        lock.is_held = False
    else:
        end_turn(turn, TURN_HAS_COME)
    unlock_stops()


cdef void end_waits(const OrtRunOptions* options) noexcept nogil:
    """Let nobody with these options wait any more; `stops_lock` is held."""
    cdef Turn* turn = first_turn
    cdef Turn* following
    while turn != NULL:
        following = turn.after  # it may be gone as soon as the lock is free
        if turn.options == options:
            end_turn(turn, TURN_STOPPED)
        turn = following


cdef void append_turn(Turn* turn) noexcept nogil:
    global first_turn, last_turn
    turn.before, turn.after = last_turn, NULL
    if last_turn == NULL:
        first_turn = turn
    else:
        last_turn.after = turn
    last_turn = turn


cdef void end_turn(Turn* turn, int state) noexcept nogil:
    """Take somebody out of the list, and say why."""
    global first_turn, last_turn
    if turn.before == NULL:
        first_turn = turn.after
    else:
        turn.before.after = turn.after
    if turn.after == NULL:
        last_turn = turn.before
    else:
        turn.after.before = turn.before
    turn.state = state
    PyThread_release_lock(turn.wake)


cdef OrtStatus* status_without_turn(int state) noexcept nogil:
    """Make the status of a run that has not begun, as ONNX Runtime would."""
    cdef const char* message = b"Not begun: there is no memory for a lock to wait on."
    if state == TURN_STOPPED:
        message = b"Not begun, due to terminate flag being set to true."
    cdef OrtStatus* status = api.CreateStatus(ORT_FAIL, message)
    return status


cdef OrtStatus* frame_run_alone(
        RunLock* lock, Frame* frame, OrtSession* session, const OrtRunOptions* run_options,
        int64_t* nanoseconds) noexcept nogil:
    """Do what `frame_run` does, while no other run of the session is in progress, and say how long that took."""
    cdef OrtStatus* status
    cdef int state = take_turn(lock, run_options, NULL)
    nanoseconds[0] = 0
    if state != TURN_HAS_COME:
        status = status_without_turn(state)
        return status
    nanoseconds[0] = clock_ns()
    status = frame_run(frame, session, run_options)
    nanoseconds[0] = clock_ns() - nanoseconds[0]
    pass_turn(lock)
    return status


cdef OrtStatus* binding_run_alone(
        RunLock* lock, OrtSession* session, const OrtRunOptions* run_options, OrtIoBinding* binding,
        int64_t* nanoseconds) noexcept nogil:
    """Run what is bound, while no other run of the session is in progress, and say how long that took."""
    cdef OrtStatus* status
    cdef int state = take_turn(lock, run_options, NULL)
    nanoseconds[0] = 0
    if state != TURN_HAS_COME:
        status = status_without_turn(state)
        return status
    nanoseconds[0] = clock_ns()
    status = api.RunWithBinding(session, run_options, binding)
    nanoseconds[0] = clock_ns() - nanoseconds[0]
    pass_turn(lock)
    return status


def _forget_turns() -> None:
    """Begin anew in a forked child: those who waited are threads of the parent."""
    global first_turn, last_turn
    first_turn = last_turn = NULL


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_turns)
