# One run at a time, for sessions of providers that cannot do more: a lock that is taken without the GIL.

cdef RunLock* make_run_lock() except NULL:
    cdef RunLock* lock = <RunLock*>malloc(sizeof(RunLock))
    if lock != NULL:
        lock.held = PyThread_allocate_lock()
    if lock == NULL or lock.held == NULL:
        free(lock)
        raise MemoryError()
    return lock


cdef void free_run_lock(RunLock* lock) noexcept:
    """Free a lock that nobody holds or waits for; NULL is none."""
    if lock != NULL:
        PyThread_free_lock(lock.held)
        free(lock)


cdef OrtStatus* frame_run_alone(
        RunLock* lock, Frame* frame, OrtSession* session, const OrtRunOptions* run_options,
        int64_t* nanoseconds) noexcept nogil:
    """Do what `frame_run` does, while no other run of the session is in progress, and say how long that took."""
    PyThread_acquire_lock(lock.held, WAIT_LOCK)
    nanoseconds[0] = clock_ns()
    cdef OrtStatus* status = frame_run(frame, session, run_options)
    nanoseconds[0] = clock_ns() - nanoseconds[0]
    PyThread_release_lock(lock.held)
    return status


cdef OrtStatus* binding_run_alone(
        RunLock* lock, OrtSession* session, const OrtRunOptions* run_options, OrtIoBinding* binding,
        int64_t* nanoseconds) noexcept nogil:
    """Run what is bound, while no other run of the session is in progress, and say how long that took."""
    PyThread_acquire_lock(lock.held, WAIT_LOCK)
    nanoseconds[0] = clock_ns()
    cdef OrtStatus* status = api.RunWithBinding(session, run_options, binding)
    nanoseconds[0] = clock_ns() - nanoseconds[0]
    PyThread_release_lock(lock.held)
    return status
