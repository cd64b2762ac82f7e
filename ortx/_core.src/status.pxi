# One door for errors: every C call that returns a status is wrapped in `check(...)`, and nobody else reads or releases
# a status.

cdef inline int check(OrtStatus* status) except -1 nogil:
    if status != NULL:
        raise_status(status)
    return 0


cdef inline void discard(OrtStatus* status) noexcept nogil:
    """Release the status of a call that nobody asks about any more."""
    if status != NULL:
        api.ReleaseStatus(status)


cdef int raise_status(OrtStatus* status) except -1 with gil:
    """Raise the exception for `status`, which is released."""
    raise error_of(status)


cdef object error_of(OrtStatus* status):
    """Make the exception for `status`, which is released."""
    code = <int>api.GetErrorCode(status)
    message = api.GetErrorMessage(status).decode("utf-8", "replace").rstrip()
    api.ReleaseStatus(status)
    return error_from_status(code, message)
