# Ctrl-C while the main thread is in a run: the run is ended between two kernels, and KeyboardInterrupt is raised.
#
# Python's own handler of SIGINT only notes the signal; what it means is looked at once the run is over. So ortx's
# stands before it, passes the signal on, and has the run ended. It is put there only while Python's
# `default_int_handler` is what the signal means, and gone as soon as anybody calls `signal.signal`: whoever has another
# meaning for the signal may want the run to go on. Other threads' runs go on, unless they have the same run options.

cdef extern from *:
    """
    #ifdef _WIN32
    static OrtRunOptions* volatile ortx_options_in_run;
    static volatile int ortx_is_stopped;
    static int ortx_pass_interrupts_on(void (*stop)(void)) { (void)stop; return 0; }
    #else
    #include <errno.h>
    #include <pthread.h>
    #include <signal.h>
    static OrtRunOptions* volatile ortx_options_in_run;
    static volatile sig_atomic_t ortx_is_stopped;
    static void (*ortx_stop)(void);
    static struct sigaction ortx_pythons;  /* what was there before */
    static pthread_t ortx_main_thread;
    static void ortx_interrupted(int number, siginfo_t* info, void* context) {
        const int error = errno;
        if (ortx_pythons.sa_flags & SA_SIGINFO) ortx_pythons.sa_sigaction(number, info, context);
        else ortx_pythons.sa_handler(number);
        /* The system gives the signal to the main thread unless that blocks it. Elsewhere its run may just be over. */
        if (pthread_equal(pthread_self(), ortx_main_thread) && ortx_options_in_run != NULL) ortx_stop();
        errno = error;
    }
    static int ortx_pass_interrupts_on(void (*stop)(void)) {
        struct sigaction now;
        ortx_main_thread = pthread_self();
        if (sigaction(SIGINT, NULL, &now) != 0) return -1;
        if ((now.sa_flags & SA_SIGINFO) && now.sa_sigaction == ortx_interrupted) return 0;
        if (!(now.sa_flags & SA_SIGINFO) && (now.sa_handler == SIG_DFL || now.sa_handler == SIG_IGN)) return 0;
        ortx_stop = stop;
        ortx_pythons = now;
        now.sa_flags |= SA_SIGINFO;
        now.sa_sigaction = ortx_interrupted;
        return sigaction(SIGINT, &now, NULL);
    }
    #endif
    """
    OrtRunOptions* options_in_run "ortx_options_in_run"     # of the main thread's run; NULL: there is none
    int is_stopped "ortx_is_stopped"                        # by the handler
    int pass_interrupts_on "ortx_pass_interrupts_on"(void (*stop)() noexcept nogil) nogil

cdef int64_t LONG_RUN = 5000000     # nanoseconds; after such a run it is worth a system call to look at the handler
cdef unsigned long main_thread = threading.main_thread().ident


cdef void stop_main_run() noexcept nogil:
    """End the main thread's run. In a signal's handler: ORT sets a flag there, and nothing else."""
    global is_stopped
    cdef OrtStatus* status
    is_stopped = True
    status = api.RunOptionsSetTerminate(options_in_run)
    discard(status)


cdef void listen_for_interrupts() noexcept:
    """See that Ctrl-C ends runs of the main thread, if that is what it means at this moment."""
    if PyThread_get_thread_ident() == main_thread and _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
        pass_interrupts_on(stop_main_run)


cdef inline const OrtRunOptions* begin_interruptible(const OrtRunOptions* options, const RunCounts* counts) noexcept:
    """Return what to run with in place of `options`; `end_interruptible` has to follow."""
    global options_in_run
    if PyThread_get_thread_ident() != main_thread:
        return options
    if counts.last >= LONG_RUN:
        listen_for_interrupts()
    if options == default_run_options:
        options = main_run_options
    options_in_run = <OrtRunOptions*>options
    return options


cdef inline void end_interruptible(const OrtRunOptions* options) noexcept:
    global options_in_run, is_stopped
    cdef OrtStatus* status
    if PyThread_get_thread_ident() == main_thread:
        options_in_run = NULL
        if is_stopped:
            is_stopped = False
            status = api.RunOptionsUnsetTerminate(<OrtRunOptions*>options)
            discard(status)


def _note_main_thread() -> None:
    """Note, in a forked child, which thread is the main one: that which has forked."""
    global main_thread, options_in_run
    main_thread = threading.main_thread().ident
    options_in_run = NULL


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_note_main_thread)
