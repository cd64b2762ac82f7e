# Every cdef class of the core: its native pointer, and what each field keeps alive and for whom.

from cpython.object cimport PyObject
from cpython.pythread cimport PyThread_type_lock
from libc.stdint cimport int64_t

cimport numpy as cnp

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
    cdef Py_ssize_t index(self, name_or_index, str function, Py_ssize_t first, Py_ssize_t end) except -1


cdef class Value:
    # The base object of an output array: keeps the memory alive that the array looks into, for the array and its views.
    cdef OrtValue* handle
    cdef size_t size                # bytes


cdef class Tensor:
    cdef cnp.ndarray array          # whose memory this is; native byte order, C-contiguous, aligned


cdef class RunOptions:
    cdef OrtRunOptions* handle


cdef class OptionTexts:
    cdef size_t count
    cdef const char** keys          # point into `encoded`; freed with this object
    cdef const char** values
    cdef list encoded               # (key, value) as bytes: keeps the characters alive


cdef class Outputs:
    cdef tuple _names               # str per value
    cdef tuple _values


cdef class NativeSession:
    # The one owner of an OrtSession; whoever looks at it without running it holds a reference meanwhile.
    cdef OrtSession* handle


cdef class Session:
    cdef NativeSession native       # None once closed
    cdef Signature inputs
    cdef Signature outputs
    cdef Signature passed_through   # the inputs again, if the model names one of them as an output; else None
    cdef object table               # options.SessionOptions: what the session was opened with
    cdef tuple provider_names       # what the session was made with, the CPU last
    cdef str source                 # the model's path, or how many bytes it was made of; for messages
    cdef Py_ssize_t running_calls   # native calls in progress: close() waits for them
    cdef bint is_closed             # set by close(): no new call may start
    cdef PyThread_type_lock drained  # what close() waits on, made when it has to; the last call to end releases it

    cdef int call(self, Frame* frame, const OrtRunOptions* native_options) except -1
    cdef OrtSession* start_call(self) except NULL
    cdef NativeSession opened(self)
    cdef void end_call(self) noexcept
    cdef int wait_until_drained(self) except -1


cdef class IOBinding:
    cdef OrtIoBinding* handle
    cdef Session session            # what it was made of; kept open for the binding's methods
    cdef dict bound_inputs          # name -> the array that the bound value looks into
    cdef dict bound_outputs         # name -> (what was bound, the array its value looks into); None: ORT allocates
    cdef bint allocates             # whether ORT allocates any output
    cdef bint complete              # whether everything that a run needs is known to be bound
    cdef bint busy                  # a thread is using it
    cdef NativeSession held         # while busy: the native session, which ORT looks into
    cdef Outputs results            # of the last run

    cdef Outputs run_bound(self, run_options)
    cdef int enter(self, bint must_be_open=*) except -1
    cdef void leave(self) noexcept
    cdef int changed(self) except -1
    cdef int require_complete(self) except -1
    cdef int rebind_allocated(self) except -1
    cdef Outputs fetch(self)
