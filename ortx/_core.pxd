# Every cdef class of the core: its native pointer, and what each field keeps alive and for whom.

from cpython.object cimport PyObject
from cpython.pythread cimport PyThread_type_lock
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

cimport numpy as cnp

from ortx.capi cimport *


cdef struct KeptValue
cdef struct Slot:
    # What the call path needs to know of one input or output.
    const char* name                          # UTF-8; belongs to Signature.encoded_names
    ONNXTensorElementDataType element_type    # of tensors whose elements lie as in numpy; else UNDEFINED
    ONNXTensorElementDataType tensor_type     # of any tensor; UNDEFINED: it is none
    bint required                             # neither an overridable initializer nor of an optional type
    int rank                                  # -1: not known
    int64_t* dims                             # -1 where one is not fixed; belongs to the Signature
    bint is_small                             # a plain tensor of at most SMALL_OUTPUT bytes, whose shape is fixed
    KeptValue* kept                           # over the buffer of the last call; NULL while a call uses it

cdef struct KeptValue:
    # A value that the next call takes if it comes with the same buffer; its slot's, or a Frame's.
    Slot* slot
    OrtValue* handle                # owned; NULL: none could be made
    void* data                      # of the caller's, whose memory may be gone
    size_t size                     # bytes
    int64_t shape[0]                # slot.rank


cdef struct Span:
    # Where a caller's buffer lies. No padding, so that arrays of them can be compared as bytes.
    char* begin
    char* end
    Py_ssize_t is_output

cdef enum:                          # who allocates the small outputs of a session's runs
    ORT_ALLOCATES
    ORT_ALLOCATES_FIRST             # and is looked at whether it does as the model declares
    ORTX_ALLOCATES

cdef enum:
    FEW_BUFFERS = 8     # so many are compared each with each
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
    KeptValue** kept_inputs         # the slot's, of which `inputs` has the handle; NULL: the handle is the frame's own
    KeptValue** kept_outputs
    bint known_shapes               # each input has the shape that the call before had there
    size_t bytes_in                 # of numbers, in the caller's arrays
    size_t bytes_out
    void* block
    void* own_block[4 * FRAME_SLOTS]


cdef class CodeOfError:
    cdef int number                           # an OrtErrorCode


cdef class Candidate:
    # A place where the library may be.
    cdef readonly str path, origin
    cdef readonly bint binding                # somebody named it: a failure there is final


cdef class Field:
    cdef readonly object reader, default      # of what a user gives, and in its place


cdef class TypeFacts:
    # What a model declares of one input or output, or of what such a one holds; the fields are those of ValueInfo.
    cdef str name, onnx_type, type
    cdef bint is_sparse, has_shape
    cdef object data_type, shape, symbolic_shape, key_type  # or None
    cdef TypeFacts element, value                           # or None


cdef class Signature:
    cdef Slot* slots                # one per name; freed with this object
    cdef const char** c_names       # the slots' names once more, as the C API wants them; freed with this object
    cdef Py_ssize_t count
    cdef Py_ssize_t initializers    # how many of them, at the end, are overridable initializers
    cdef Py_ssize_t required        # how many slots a call must give
    cdef int64_t refused            # calls whose inputs or outputs did not fit; of inputs only
    cdef str kind          # "input" or "output"
    cdef tuple names       # interned, in the model's order
    cdef Span* apart                # of outputs: the buffers of a call, inputs too, that share nothing; freed with this
    cdef Py_ssize_t apart_count
    cdef tuple encoded_names        # keeps the characters alive that slots and c_names point to
    cdef dict index_of              # name -> index
    cdef tuple facts       # TypeFacts per name
    cdef dict nested       # index -> Signature of the one thing that a sequence holds
    cdef int born                   # fork_generation when it was made: `kept` values are of that process

    cdef int find(self, object name) except -2
    cdef Py_ssize_t index(self, name_or_index, str function, Py_ssize_t first, Py_ssize_t end) except -1


cdef class Value:
    # The base object of an output array: keeps the memory alive that the array looks into, for the array and its views.
    cdef OrtValue* handle
    cdef size_t size                # bytes
    cdef int born                   # fork_generation of the process that made it


cdef class Feed:
    # A value that is to go into a call or binding.
    cdef OrtValue* handle
    cdef object kept                # the arrays and values whose memory the handle's is; None: it has its own
    cdef int born                   # fork_generation of the process that made it
    cdef size_t size                # bytes of numbers, as numpy has them; of strings none


cdef struct DLDataType:
    uint8_t code
    uint8_t bits
    uint16_t lanes

cdef struct DLTensor:
    void* data
    int32_t device_type
    int32_t device_id
    int32_t ndim
    DLDataType dtype
    int64_t* shape
    int64_t* strides      # in elements; NULL before 1.2: C-contiguous
    uint64_t byte_offset

cdef struct DLManagedTensor:
    DLTensor tensor
    void* manager_ctx
    void (*deleter)(DLManagedTensor* self) noexcept

cdef struct DLManagedTensorVersioned:
    uint32_t major
    uint32_t minor
    void* manager_ctx
    void (*deleter)(DLManagedTensorVersioned* self) noexcept
    uint64_t flags
    DLTensor tensor

cdef class BorrowedMemory:
    # What another library lends by DLPack: one of the two, which its deleter is told about in the end.
    cdef DLManagedTensor* legacy
    cdef DLManagedTensorVersioned* versioned


cdef class Tensor:
    cdef cnp.ndarray array          # whose memory this is; native byte order, C-contiguous, aligned


cdef class Optional:
    cdef object content             # None: no value
    cdef object declared            # ValueInfo, str or None

    cdef str type_word(self)


cdef struct Terminated:
    # Of run options: their entry in the list of those that are terminated.
    const OrtRunOptions* options    # NULL: they are not
    Terminated* before
    Terminated* after


cdef class RunOptions:
    cdef OrtRunOptions* handle
    cdef Terminated terminated
    cdef dict entries               # config entries as bytes; None: none. They cannot be read back
    cdef set runs                   # PendingRun: those with these options, or a copy of them; None: never any
    cdef int born                   # fork_generation of the process that made it

    cdef int require_own(self) except -1
    cdef bint is_terminated(self) noexcept
    cdef void note_terminated(self, bint value) noexcept
    cdef int renew(self) except -1


cdef class OptionTexts:
    cdef size_t count
    cdef const char** keys          # point into `encoded`; freed with this object
    cdef const char** values
    cdef list encoded               # (key, value) as bytes: keeps the characters alive


cdef class Outputs:
    cdef tuple _names               # str per value
    cdef tuple _values


cdef class CustomOpLibrary:
    cdef OrtSessionOptions* handle  # no session's: they keep the library loaded
    cdef str file                   # its absolute path
    cdef int born                   # fork_generation of the process that made it


cdef class PrepackedWeights:
    cdef OrtPrepackedWeightsContainer* handle
    cdef int born                   # fork_generation of the process that made it


cdef struct RunLock:
    bint is_held                    # a run is in progress

cdef struct Turn:
    # Of a run that waits until the one in progress has ended; on the stack of its thread.
    RunLock* lock
    const OrtRunOptions* options
    PyThread_type_lock wake         # released when the state changes
    int state
    Turn* before
    Turn* after


cdef class ModelBuffer:
    # What a session was given as a model in memory; the exporter may neither move nor free it while this lives.
    cdef Py_buffer view
    cdef bint is_held               # whether it was exported


cdef class NativeSession:
    # The one owner of an OrtSession; whoever runs it or looks at it holds a reference meanwhile.
    cdef OrtSession* handle
    cdef RunLock* run_lock          # freed with this object; NULL: runs may be concurrent
    cdef bint is_large              # so memory is given back to the system with it
    cdef PrepackedWeights prepacked_weights     # the session reads from it
    cdef dict initializers          # name -> the array that the session reads in place of the model's
    cdef dict external_data         # file -> memoryview of the buffer that the session reads; None: it has read them
    cdef ModelBuffer model_buffer   # in which the session reads its weights; None: it looks at no buffer any more
    cdef object table               # SessionOptions that it was opened with
    cdef tuple zip_maps             # modelfile.ZipMap: nodes that the native model lacks, and ortx stands in for
    cdef tuple provider_names       # the CPU last
    cdef bint may_be_brief          # its runs are timed, and keep the GIL if they are short
    cdef bint has_constant_shapes   # what shapes its outputs have follows from those of its inputs
    cdef int born                   # fork_generation of the process that made it


cdef struct Pace:
    # Of the runs of a session or binding, if they may be brief.
    int brief_runs          # in a row, and of one shape: each took less than `brief_limit`
    int short_runs          # and less than `short_limit`
    int until_timed         # after so many more runs, one is timed again
    int64_t last            # nanoseconds that the last timed one took


cdef struct RunCounts:
    # What a session has done; changed under the GIL.
    int64_t runs            # that ended
    int64_t timed           # so many of them were timed; each other one counts as long as the one timed before it
    int64_t nanoseconds     # of all
    int64_t longest         # nanoseconds, of those that were timed
    int64_t timeouts
    int64_t cancelled
    int64_t bytes_in
    int64_t bytes_out


cdef class Session:
    cdef NativeSession native       # None once closed
    cdef Pace pace
    cdef Pace other_pace            # of runs that never keep the GIL: submitted, with options, with a timeout
    cdef RunCounts counts
    cdef dict error_counts          # name of an OrtErrorCode -> how many runs failed with it; None: none did
    cdef double opened_at           # `time.time()`
    cdef int64_t opened_at_ns       # of `clock_ns`
    cdef Signature inputs
    cdef Signature outputs
    cdef int allocates_small        # one of the three
    cdef Signature passed_through   # the inputs again, if the model names one of them as an output; else None
    cdef object table               # the native session's, or those in effect; also once it is closed
    cdef bint table_is_in_effect    # see `table_in_effect`
    cdef int log_severity_level     # of the process, when the session was opened
    cdef object given               # SessionOptions as they were read, for copies
    cdef tuple provider_names       # the native session's, also once it is closed
    cdef dict zip_maps              # output name -> how to make it of the native one; None: all are native
    cdef str source                 # the model's path, or how many bytes it was made of; for messages
    cdef str path                   # absolute path of the model, to open it anew; None if it came from memory
    cdef tuple file_state           # of that file when the session was opened: it must not have changed
    cdef bint had_external_data     # weights came from buffers, which may have been let go
    cdef object model               # the buffer that it came from, to open it anew; None unless that was asked for
    cdef dict dynamic_options       # what was set since it was opened; None: nothing
    cdef int generation             # how often it was opened: bindings are made anew for another native session
    cdef Py_ssize_t running_calls   # native calls in progress: close() waits for them
    cdef bint is_closed             # set by close(), and in a forked child: no new call may start
    cdef bint is_forked             # it was open when this process was forked
    cdef int born                   # fork_generation of the process that made it
    cdef PyObject* previous_session     # of all there are; borrowed
    cdef PyObject* next_session
    cdef PyThread_type_lock drained  # what close() waits on, made when it has to; the last call to end releases it
    cdef RunQueue* queue            # of submitted runs, made with the first one; owned
    cdef set pending_runs           # PendingRun: those that have not been put away

    cdef NativeSession start_call(self)
    cdef NativeSession opened(self)
    cdef void end_call(self) noexcept
    cdef int adopt(self, NativeSession native) except -1


cdef enum:                          # states of a Job
    JOB_NEW
    JOB_OUTSIDE                     # waits for room in the queue
    JOB_ADMITTED                    # has its place in the queue
    JOB_QUEUED
    JOB_RUNNING
    JOB_ENDED

cdef enum:                          # why a run was stopped
    NOT_STOPPED
    STOPPED_BY_DEADLINE
    STOPPED_BY_CALLER               # its task was cancelled, or a signal's handler raised
    STOPPED_BY_OPTIONS              # `RunOptions.terminate` was called
    STOPPED_BY_EXIT                 # of the interpreter, whose event loops do not look any more

cdef struct Job:
    # What a worker needs to know of a run.
    PyObject* run                   # PendingRun; an owned reference while the job is queued, runs or waits for its end
    Job* before                     # neighbours in the list that it is in
    Job* after
    OrtSession* session             # NULL: it has not run
    RunLock* run_lock               # the native session's; NULL: it need not wait for other runs
    OrtIoBinding* binding           # NULL: the frame
    Frame* frame
    const OrtRunOptions* options
    OrtRunOptions* own_options      # the same, if no other run has them: so it can be stopped alone
    OrtStatus* status               # owned
    bint is_timed
    int64_t nanoseconds             # that it took, if it is timed
    RunQueue* queue                 # whose workers run it
    RunQueue* home                  # the session's, which counts it
    Inbox* inbox                    # of the event loop that waits for it
    PyThread_type_lock waiter       # released when it has ended, if a thread waits for it; with neither, a future does
    int state
    int stopped_by
    double deadline                 # of `monotonic_seconds`
    Py_ssize_t place                # among the deadlines; -1: it has none

cdef struct JobList:
    Job* first
    Job* last
    Py_ssize_t count

cdef struct Worker:
    PyThread_type_lock wake         # released to wake it
    Worker* next                    # among those that have nothing to do

cdef struct RunQueue:
    JobList jobs                    # what no worker has taken yet
    JobList outside                 # what waits for room
    Worker* idle                    # the last to fall asleep first
    int workers                     # threads that look at this, started or about to be
    int busy_workers                # those that are running a job
    int most_workers
    Py_ssize_t queued               # places taken, by `jobs` or for what is about to come
    Py_ssize_t most_queued
    Py_ssize_t pending              # accepted and not ended
    PyThread_type_lock drained      # what close() waits on, made when it has to; the last run to end releases it
    bint should_end                 # the workers leave
    bint is_abandoned               # by the session: the last worker to leave frees this
    int generation                  # of the process: a forked child has none of its parent's threads

cdef struct Inbox:
    # The runs of one event loop that have ended and wait for it.
    PyObject* owner                 # LoopInbox; borrowed, kept alive by the runs
    Job* first
    Job* last
    bint is_scheduled               # whether the loop was told, or is about to be
    Inbox* next                     # among those whose loop is to be told

cdef struct HandOver:
    Job* first_job
    Job* last_job
    Inbox* first_inbox
    bint is_open                    # whether the lock is
    PyThread_type_lock wake


cdef class PendingRun

cdef class LoopInbox:
    cdef Inbox inbox
    cdef object loop                # kept while runs of its are in flight
    cdef set runs                   # of the loop; those that have not been put away

    cdef int leave(self, PendingRun run) except -1
    cdef PendingRun next_run(self)


cdef class LoopCall:
    cdef LoopInbox inbox            # None once the loop has called


cdef class PendingRun:
    cdef Frame frame                # what ORT reads and writes while it works
    cdef bint is_marshalled         # whether the frame is open
    cdef Job job
    cdef str function               # the method, for messages
    cdef double timeout             # seconds, for messages
    cdef Session session            # close() waits for the run
    cdef NativeSession native       # until the run has ended
    cdef IOBinding binding          # in use until the run has ended; None: the frame
    cdef RunOptions run_options     # the caller's, which ORT looks at or the run has a copy of
    cdef Outputs outputs            # the names; the values come when it has ended
    cdef LoopInbox inbox            # of the event loop that waits for it
    cdef object future              # of concurrent.futures or asyncio; None: a thread waits for it
    cdef bint is_given_up           # the future only tells that it has ended
    cdef int born                   # fork_generation of the process that made it


cdef class IOBinding:
    cdef OrtIoBinding* handle
    cdef Session session            # what it was made of; kept open for the binding's methods
    cdef int generation             # of the session when the handle was made
    cdef int born                   # fork_generation of the process that made it
    cdef dict bound_inputs          # name -> Feed
    cdef dict bound_outputs         # name -> (what the caller gave or None, Feed over that or None: ORT allocates)
    cdef bint allocates             # whether ORT allocates any output
    cdef Pace pace
    cdef Pace other_pace            # as the session's
    cdef bint complete              # whether everything that a run needs is known to be bound
    cdef size_t bytes_in            # of what is bound, once that is complete
    cdef size_t bytes_out           # of outputs that ORT does not allocate
    cdef bint busy                  # a thread is using it
    cdef NativeSession held         # while busy: the native session, which ORT looks into
    cdef Outputs results            # of the last run

    cdef Outputs run_bound(self, run_options)
    cdef Outputs run_and_fetch(self, const OrtRunOptions* native_options)
    cdef OrtStatus* call(self, NativeSession native, const OrtRunOptions* native_options) noexcept
    cdef OrtStatus* call_not_brief(self, NativeSession native, const OrtRunOptions* native_options) noexcept
    cdef void changed_inputs(self) noexcept
    cdef int enter(self, bint must_be_open=*) except -1
    cdef void leave(self) noexcept
    cdef int renew(self) except -1
    cdef Feed bind_buffer(self, const Slot* slot, cnp.ndarray array)
    cdef int changed(self) except -1
    cdef int require_complete(self) except -1
    cdef int rebind_allocated(self) except -1
    cdef Outputs fetch_results(self)
    cdef Outputs fetch(self)
