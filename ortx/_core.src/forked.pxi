# Fork. The child has the parent's memory, but none of its threads, and any lock may be held by one of those for ever.
# So what was made before the fork is dead there: nothing of it is released, no lock of its is taken, and who uses it is
# told. Sessions are marked as closed ones are, so a call tests nothing more; everything else compares `born`.
#
# The environment is used on, since ORT has one per process. A child of a process in which another thread is making it,
# or a session, or loads a library, would wait for ever for ORT's own locks; so a fork waits until that is done.
#
# Locks and threads of other parts are made anew by hooks of these. A fork by C code that does not tell Python is not
# seen; Python itself does not work in such a child.

cdef extern from "pythread.h":
    PyLockStatus PyThread_acquire_lock_timed(PyThread_type_lock lock, long long microseconds, int intr_flag) nogil

cdef list process_ids = [os.getpid()]           # of this process, at the end, and of those that it descends from
cdef dict forking_threads = {}                  # thread -> whether it holds `setup_lock` for the fork, too
cdef PyObject* first_session = NULL             # all there are; changed under the GIL
cdef dict openings = {}                         # thread -> how many sessions and libraries it is opening
cdef object openings_allowed = _thread.allocate_lock()  # held while a thread forks
cdef PyThread_type_lock openings_ended = NULL   # what a fork waits on, if it has to
cdef object waiting_to_fork = None              # the thread that does
cdef double longest_wait = 10                   # seconds: then rather a child that cannot open sessions than no child


cdef PyThread_type_lock closed_lock() except NULL:
    """Make a lock that somebody will wait on until it is released."""
    cdef PyThread_type_lock lock = PyThread_allocate_lock()
    if lock == NULL:
        raise MemoryError()
    PyThread_acquire_lock(lock, WAIT_LOCK)
    return lock


cdef int begin_opening() except -1:
    """Let no other thread fork until `end_opening`, or not soon. It includes imports, whose locks are held as well."""
    thread = _thread.get_ident()
    if thread not in openings and thread not in forking_threads:
        with openings_allowed:
            openings[thread] = 0
    openings[thread] = openings.get(thread, 0) + 1
    return 0


cdef int end_opening() except -1:
    global waiting_to_fork
    thread = _thread.get_ident()
    openings[thread] -= 1
    if not openings[thread]:
        del openings[thread]
    if waiting_to_fork is not None and are_others_done(waiting_to_fork):
        waiting_to_fork = None
        PyThread_release_lock(openings_ended)
    return 0


cdef bint are_others_done(thread) except -1:
    return len(openings) == (thread in openings)


def _wait_for_openings() -> None:
    """Before a fork, wait until nothing is half opened; until the fork is done nothing more is opened."""
    global openings_ended, waiting_to_fork
    cdef PyLockStatus status
    thread = _thread.get_ident()
    if not openings_allowed.acquire(timeout=longest_wait):  # another thread forks
        return
    forking_threads[thread] = False
    if not are_others_done(thread):
        if openings_ended == NULL:
            openings_ended = closed_lock()
        waiting_to_fork = thread
        with nogil:
            status = PyThread_acquire_lock_timed(openings_ended, <long long>(longest_wait * 1e6), 0)
        if status != PY_LOCK_ACQUIRED and waiting_to_fork is None:
            PyThread_acquire_lock(openings_ended, WAIT_LOCK)  # it was opened a moment too late: close it again
        waiting_to_fork = None
    forking_threads[thread] = setup_lock.acquire(timeout=longest_wait)


def _longest_wait_of_a_fork(seconds: float) -> float:
    """Set how long a fork waits at most, and return what it was. For tests."""
    global longest_wait
    previous, longest_wait = longest_wait, seconds
    return previous


def _let_others_open() -> None:
    """Undo, in the parent, what was done before the fork."""
    has_setup_lock = forking_threads.pop(_thread.get_ident(), None)
    if has_setup_lock:
        setup_lock.release()
    if has_setup_lock is not None:
        openings_allowed.release()


def _mark_inherited() -> None:
    """Begin anew in the child: what there is belongs to the parent."""
    global fork_generation, releasing_generation, setup_lock, open_sessions
    global openings_allowed, openings_ended, waiting_to_fork
    cdef PyObject* place = first_session
    cdef Session session
    fork_generation += 1
    if not finalizing:
        releasing_generation = fork_generation
    process_ids.append(os.getpid())
    setup_lock = _thread.RLock()
    openings_allowed = _thread.allocate_lock()
    openings_ended = NULL
    waiting_to_fork = None
    forking_threads.clear()
    openings.clear()
    open_sessions = 0
    memset(&live_handles, 0, sizeof(HandleCounts))
    while place != NULL:
        session = <Session>place
        if not session.is_closed:
            session.is_closed = session.is_forked = True
        session.running_calls = 0
        session.drained = NULL
        place = session.next_session


if hasattr(os, "register_at_fork"):
    # When this is imported, and before all other parts do: the locks are there from then on.
    os.register_at_fork(
        before=_wait_for_openings, after_in_parent=_let_others_open, after_in_child=_mark_inherited)


cdef void enlist(Session session) noexcept:
    """Add a session to those that a forked child marks."""
    global first_session
    session.previous_session = NULL
    session.next_session = first_session
    if first_session != NULL:
        (<Session>first_session).previous_session = <PyObject*>session
    first_session = <PyObject*>session


cdef void delist(Session session) noexcept:
    global first_session
    if session.next_session != NULL:
        (<Session>session.next_session).previous_session = session.previous_session
    if session.previous_session != NULL:
        (<Session>session.previous_session).next_session = session.next_session
    else:
        first_session = session.next_session


cdef int refuse_inherited(str what, int born, str advice) except -1:
    """Raise the error for something that was made before a fork."""
    raise ForkedSession(
        f"{what} was made in process {process_ids[born]}, before this one ({process_ids[fork_generation]}) was forked "
        f"from it, and cannot be used here; {advice}")


cdef int refuse_call(Session session) except -1:
    """Raise the error for a session that takes no calls any more."""
    if not session.is_forked:
        raise SessionClosed(f"the session of {session.source} is closed; make a new one to run the model again")
    from . import recipe
    refuse_inherited(
        f"the session of {session.source}", session.born,
        recipe.how_to_open_again(session.path, session.given))
    return 0
