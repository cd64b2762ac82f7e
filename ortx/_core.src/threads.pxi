# Threads that the system may refuse to start: for lack of memory (`ulimit -v`), or of room (`ulimit -u`, a container's
# limit of processes).

cdef extern from *:
    """
    #ifdef _WIN32
    static int ortx_try_threads(int count) { (void)count; return 0; }
    #else
    #include <errno.h>
    #include <pthread.h>

    static void* ortx_pass_gate(void* gate) {
        pthread_mutex_lock((pthread_mutex_t*)gate);
        pthread_mutex_unlock((pthread_mutex_t*)gate);
        return NULL;
    }

    /* Have so many threads at once, for a moment; return why that is not possible, or 0. */
    static int ortx_try_threads(int count) {
        pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;  /* each call has its own: a fork may come meanwhile */
        pthread_t* threads = (pthread_t*)malloc((size_t)count * sizeof(pthread_t));
        int error = threads == NULL ? ENOMEM : 0, started = 0;
        pthread_mutex_lock(&gate);
        while (error == 0 && started < count) {
            error = pthread_create(&threads[started], NULL, ortx_pass_gate, &gate);
            started += error == 0;
        }
        pthread_mutex_unlock(&gate);
        while (started > 0) pthread_join(threads[--started], NULL);
        free(threads);
        return error;
    }
    #endif
    """
    int ortx_try_threads(int count) noexcept nogil


cdef int require_threads(str function, long long count, str option) except -1:
    """Raise if the threads of a pool cannot be started: ONNX Runtime would wait for ever for the first of them to end.

    Twenty microseconds for each of them, as much as ONNX Runtime takes then.
    """
    cdef int error = 0
    cdef int tried = <int>min(count, 1 << 20)
    if tried <= 0:
        return 0
    with nogil:
        error = ortx_try_threads(tried)
    if error:
        from .threads import thread_refused
        raise thread_refused(f"{function}: {count} threads ({option}) cannot be started", os.strerror(error), tried)
    return 0


cdef object start_thread(target, str name, tuple arguments=()):
    """Start a daemon thread of ortx's own."""
    import threading
    thread = threading.Thread(target=target, name=name, args=arguments, daemon=True)
    try:
        thread.start()
    except RuntimeError as error:
        from .threads import thread_refused
        raise thread_refused(f"the thread {name!r} cannot be started", error) from error
    return thread
