# Ctrl-C while the main thread is in a run: the run is ended between two kernels, and KeyboardInterrupt is raised.
#
# Python's own handler of SIGINT only notes the signal; what it means is looked at once the run is over. So ortx's
# stands in its place, notes the signal as Python's does, and has the run ended. It is put there only while Python's
# `default_int_handler` is what the signal means, and gone as soon as anybody calls `signal.signal`: whoever has another
# meaning for the signal may want the run to go on. Other threads' runs go on, unless they have the same run options.
#
# It takes the place of Python's own handler alone, never of another library's, and calls none: such a library may have
# saved ortx's handler in order to call it, and if that called the library's, neither would ever return.

cdef extern from *:
    """
    static OrtRunOptions* volatile ortx_options_in_run;
    static volatile int ortx_is_stopped;
    static volatile int ortx_is_noted;
    static unsigned long ortx_main_thread;
    #ifdef _WIN32
    static int ortx_is_listening(void) { return 0; }
    static void ortx_listen(void (*stop)(void), PyCFunction of_python) { (void)stop; (void)of_python; }
    #else
    #include <errno.h>
    #include <signal.h>
    #ifdef __linux__
    #include <link.h>
    static int ortx_is_in(const struct dl_phdr_info* object, uintptr_t address) {
        int i;
        for (i = 0; i < object->dlpi_phnum; i++) {
            const ElfW(Phdr)* part = &object->dlpi_phdr[i];
            if (part->p_type == PT_LOAD && address - (object->dlpi_addr + part->p_vaddr) < part->p_memsz) return 1;
        }
        return 0;
    }
    static int ortx_count_in(struct dl_phdr_info* object, size_t size, void* addresses) {
        (void)size;
        /* Goes on to the next object if it is 0. */
        return ortx_is_in(object, ((uintptr_t*)addresses)[0]) + ortx_is_in(object, ((uintptr_t*)addresses)[1]);
    }
    /* Whether two addresses are in one program or library. dladdr looks for their names, too, which takes 30 us. */
    static int ortx_are_together(uintptr_t first, uintptr_t second) {
        uintptr_t addresses[2] = {first, second};
        return dl_iterate_phdr(ortx_count_in, addresses) == 2;
    }
    #else
    #include <dlfcn.h>
    static int ortx_are_together(uintptr_t first, uintptr_t second) {
        Dl_info here, there;
        return dladdr((void*)first, &here) && dladdr((void*)second, &there) && here.dli_fbase == there.dli_fbase;
    }
    #endif
    static void (*ortx_stop)(void);
    static void (*ortx_pythons)(int);  /* Python's handler, once it is known; it never changes */
    static void (*ortx_foreign)(int);  /* the last one that was found not to be Python's */
    static void ortx_interrupted(int number) {
        const int error = errno;
        PyErr_SetInterruptEx(number);  /* all that Python's handler does */
        ortx_is_noted = 1;
        /* The system gives the signal to the main thread unless that blocks it. Elsewhere its run may just be over. */
        if (PyThread_get_thread_ident() == ortx_main_thread && ortx_options_in_run != NULL) ortx_stop();
        errno = error;
    }
    static int ortx_is_listening(void) {
        struct sigaction now;
        return sigaction(SIGINT, NULL, &now) == 0 && !(now.sa_flags & SA_SIGINFO) && now.sa_handler == ortx_interrupted;
    }
    /* Whether a handler is Python's own: it is part of the program or library that this function of Python's is in. */
    static int ortx_is_pythons(void (*handler)(int), PyCFunction of_python) {
        if (handler == SIG_DFL || handler == SIG_IGN || handler == ortx_foreign) return 0;
        if (ortx_pythons != NULL) return handler == ortx_pythons;
        ortx_foreign = handler;
        if (!ortx_are_together((uintptr_t)handler, (uintptr_t)of_python)) return 0;
        ortx_foreign = NULL;
        ortx_pythons = handler;
        return 1;
    }
    static void ortx_listen(void (*stop)(void), PyCFunction of_python) {
        struct sigaction now;
        if (sigaction(SIGINT, NULL, &now) != 0 || (now.sa_flags & SA_SIGINFO)) return;
        if (!ortx_is_pythons(now.sa_handler, of_python)) return;
        ortx_stop = stop;
        now.sa_handler = ortx_interrupted;
        (void)sigaction(SIGINT, &now, NULL);
    }
    #endif
    """
    ctypedef void* PyCFunction
    OrtRunOptions* options_in_run "ortx_options_in_run"     # of the main thread's run; NULL: there is none
    int is_stopped "ortx_is_stopped"                        # by the handler
    int is_noted "ortx_is_noted"                            # a signal that no run has looked at yet
    unsigned long main_thread "ortx_main_thread"
    int is_listening "ortx_is_listening"() noexcept
    void listen "ortx_listen"(void (*stop)() noexcept nogil, PyCFunction of_python) noexcept

cdef extern from "Python.h":
    PyCFunction PyCFunction_GetFunction(object function)
    int PyErr_SetInterruptEx(int number)
    int PyOS_InterruptOccurred()  # and not any more

# Nanoseconds. Between two runs, anybody may have set the handler: asyncio.run does, and sets Python's again. To look
# is a system call, so it is done no more often than this: a thousandth of the time at most.
cdef int64_t LOOK_EVERY = 200_000
cdef int64_t looked_at = 0


cdef unsigned long ident_of_main_thread() except? 0:
    """Return it without importing `threading`, which would take each process half a millisecond."""
    threading = sys.modules.get("threading")  # None: nobody has made threads, or none that Python knows to be others
    return PyThread_get_thread_ident() if threading is None else threading.main_thread().ident


main_thread = ident_of_main_thread()


cdef void stop_main_run() noexcept nogil:
    """End the main thread's run. In a signal's handler: ORT sets a flag there, and nothing else."""
    global is_stopped
    cdef OrtStatus* status
    is_stopped = True
    status = api.RunOptionsSetTerminate(options_in_run)
    discard(status)


cdef inline bint means_interrupt():
    return _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler


cdef void listen_for_interrupts() noexcept:
    """See that Ctrl-C ends runs of the main thread, if that is what it means at this moment."""
    if PyThread_get_thread_ident() == main_thread and not is_listening() and means_interrupt():
        listen(stop_main_run, PyCFunction_GetFunction(_signal.default_int_handler))


cdef void look_around() noexcept:
    """Listen again if somebody else had the signal, and stop the run that begins if Ctrl-C came before it."""
    global is_noted
    is_noted = False  # before looking: one that comes from now on finds `options_in_run`, and stops the run itself
    if not is_listening():
        if not means_interrupt():
            return
        listen(stop_main_run, PyCFunction_GetFunction(_signal.default_int_handler))
    if PyOS_InterruptOccurred():
        PyErr_SetInterruptEx(_signal.SIGINT)  # for Python to raise it
        stop_main_run()


cdef inline const OrtRunOptions* begin_interruptible(const OrtRunOptions* options, int64_t now) noexcept:
    """Return what to run with in place of `options`; `end_interruptible` has to follow."""
    global options_in_run, looked_at
    if PyThread_get_thread_ident() != main_thread:
        return options
    if options == default_run_options:
        options = main_run_options
    options_in_run = <OrtRunOptions*>options
    if is_noted or now - looked_at >= LOOK_EVERY:
        looked_at = now
        look_around()
    return options


cdef inline void end_interruptible(const OrtRunOptions* options) noexcept:
    global options_in_run
    if PyThread_get_thread_ident() == main_thread:
        options_in_run = NULL
        if is_stopped:
            allow_main_runs(options)


cdef void allow_main_runs(const OrtRunOptions* options) noexcept:
    """Undo what the handler has done; not what the user has, with `RunOptions.terminate`."""
    global is_stopped
    cdef OrtStatus* status
    is_stopped = False
    if not is_terminated(options):
        status = api.RunOptionsUnsetTerminate(<OrtRunOptions*>options)
        discard(status)


def _note_main_thread() -> None:
    """Note, in a forked child, which thread is the main one: that which has forked."""
    global main_thread, options_in_run, is_stopped
    main_thread = PyThread_get_thread_ident()
    options_in_run = NULL
    is_stopped = False


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_note_main_thread)
