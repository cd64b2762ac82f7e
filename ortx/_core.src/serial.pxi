# One run at a time, for sessions of providers that cannot do more: a lock that is taken without the GIL.

cdef RunLock* first_run_lock = NULL     # all there are, for a forked child; changed under the GIL


cdef RunLock* make_run_lock() except NULL:
    global first_run_lock
    cdef RunLock* lock = <RunLock*>malloc(sizeof(RunLock))
    if lock != NULL:
        lock.held = PyThread_allocate_lock()
    if lock == NULL or lock.held == NULL:
        free(lock)
        raise MemoryError()
    lock.previous = NULL
    lock.next = first_run_lock
    if first_run_lock != NULL:
        first_run_lock.previous = lock
    first_run_lock = lock
    return lock


cdef void free_run_lock(RunLock* lock) noexcept:
    """Free a lock that nobody holds or waits for; NULL is none."""
    global first_run_lock
    if lock == NULL:
        return
    if lock.next != NULL:
        lock.next.previous = lock.previous
    if lock.previous != NULL:
        lock.previous.next = lock.next
    else:
        first_run_lock = lock.next
    PyThread_free_lock(lock.held)
    free(lock)


def _renew_run_locks() -> None:
    """Forget, in a forked child, which runs of the parent's were at it: their threads do not exist there."""
    cdef RunLock* lock = first_run_lock
    while lock != NULL:
        lock.held = PyThread_allocate_lock()  # the old one may be locked, and cannot be freed then
        lock = lock.next


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_run_locks)


cdef OrtStatus* frame_run_alone(
        RunLock* lock, Frame* frame, OrtSession* session, const OrtRunOptions* run_options) noexcept nogil:
    """Do what `frame_run` does, while no other run of the session is in progress."""
    PyThread_acquire_lock(lock.held, WAIT_LOCK)
    cdef OrtStatus* status = frame_run(frame, session, run_options)
    PyThread_release_lock(lock.held)
    return status


cdef OrtStatus* binding_run_alone(
        RunLock* lock, OrtSession* session, const OrtRunOptions* run_options, OrtIoBinding* binding) noexcept nogil:
    """Run what is bound, while no other run of the session is in progress."""
    PyThread_acquire_lock(lock.held, WAIT_LOCK)
    cdef OrtStatus* status = api.RunWithBinding(session, run_options, binding)
    PyThread_release_lock(lock.held)
    return status
