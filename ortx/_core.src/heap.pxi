# Memory that is free again, given back to the system.

cdef extern from *:
    """
    #if defined(__GLIBC__)
    #include <malloc.h>
    static int ortx_trim_heap(void) { return malloc_trim(0); }
    #else
    static int ortx_trim_heap(void) { return 0; }
    #endif
    """
    int ortx_trim_heap() noexcept nogil

cdef enum:
    # Bytes of a model's file. To give its memory back takes a thirtieth of the time that loading it took (10 ms of 280
    # for 100 MB); a smaller model's is used again by what comes next, and must not wait for a large heap to be gone
    # through (3 to 9 ms with tens of thousands of free blocks).
    LARGE_MODEL = 1 << 20


@cython.binding(True)
def trim_memory() -> bool:
    """Give memory that was freed back to the system, where the C library keeps it for later.

    glibc, the C library of most Linux systems, keeps blocks that are released between others that are in use: after a
    model of many weights is gone, about as much as it took still counts for the process. `Session.close` does the same
    by itself for models of 1 MB and more. Call this after dropping large outputs, or after many small sessions.

    Returns
    -------
    bool
        Whether anything was given back. Always False, and nothing is done, where the C library is not glibc (macOS,
        Windows, musl): those give memory back by themselves, or have no function for it.

    Notes
    -----
    Runs without the GIL, but other threads that allocate at the same time may wait. It takes some microseconds in a
    small process, about 0.1 ms for each megabyte that is given back, and milliseconds where tens of thousands of free
    blocks have to be looked at. Needs no ONNX Runtime. Stands for ``malloc_trim`` of the C library.
    """
    cdef int is_given_back
    with nogil:
        is_given_back = ortx_trim_heap()
    return is_given_back != 0
