# Every cdef class of the core: its native pointer, and what each field keeps alive and for whom.

from cpython.object cimport PyObject
from cpython.pythread cimport PyThread_type_lock
from libc.stdint cimport int64_t

from ortx.capi cimport *


cdef struct Slot:
    # What the call path needs to know of one input or output.
    const char* name                          # UTF-8; belongs to Signature.encoded_names
    ONNXTensorElementDataType element_type    # UNDEFINED: no tensor, or of a type that numpy has no word for
    bint required                             # neither an overridable initializer nor of an optional type
    int rank                                  # -1: not known
    int64_t* dims                             # -1 where one is not fixed; belongs to the Signature


cdef enum:
    FRAME_SLOTS = 16    # so many inputs plus outputs need no heap block

cdef struct Frame:
    Py_ssize_t inputs_count
    Py_ssize_t outputs_count
    Py_ssize_t required_count       # how many of the inputs so far are required ones
    const char** input_names
    OrtValue** inputs               # owned
    PyObject** input_arrays         # owned references
    const char** output_names       # the frame's own, or the signature's if all outputs are asked for
    OrtValue** outputs              # owned; NULL: ORT allocates
    PyObject** output_arrays        # owned references; NULL: ORT allocates
    void* block
    void* own_block[3 * FRAME_SLOTS]


cdef class Signature:
    cdef Slot* slots                # one per name; freed with this object
    cdef const char** c_names       # the slots' names once more, as the C API wants them; freed with this object
    cdef Py_ssize_t count
    cdef Py_ssize_t initializers    # how many of them, at the end, are overridable initializers
    cdef Py_ssize_t required        # how many slots a call must give
    cdef str kind          # "input" or "output"
    cdef tuple names       # interned, in the model's order
    cdef tuple encoded_names        # keeps the characters alive that slots and c_names point to
    cdef dict index_of              # name -> index
    cdef tuple infos       # ValueInfo per name

    cdef int find(self, object name) except -2


cdef class Value:
    # The base object of an output array: keeps the memory alive that the array looks into, for the array and its views.
    cdef OrtValue* handle
    cdef size_t size                # bytes


cdef class RunOptions:
    cdef OrtRunOptions* handle


cdef class Outputs:
    cdef tuple _names               # str per value
    cdef tuple _values


cdef class Session:
    cdef OrtSession* handle         # NULL once closed
    cdef Signature inputs
    cdef Signature outputs
    cdef Signature passed_through   # the inputs again, if the model names one of them as an output; else None
    cdef str source                 # the model's path, or how many bytes it was made of; for messages
    cdef Py_ssize_t running_calls   # native calls in progress: close() waits for them
    cdef bint is_closed             # set by close(): no new call may start
    cdef PyThread_type_lock drained  # what close() waits on, made when it has to; the last call to end releases it

    cdef int call(self, Frame* frame, const OrtRunOptions* native_options) except -1
    cdef int start_call(self) except -1
    cdef void end_call(self) noexcept
    cdef int wait_until_drained(self) except -1
