# The exceptions of ortx: one root, one class per OrtErrorCode, and those that ortx raises before ORT is asked; and how
# messages name what came and what was expected.
#
# Every class also derives from the built-in exception that fits, so `except FileNotFoundError` does what it says. They
# stand in the core, since it needs them to say what is wrong where the process can open no more files.

class Error(RuntimeError, metaclass=error_class):
    """The root of everything that ortx raises.

    Attributes
    ----------
    code : int
        An `ErrorCode`; its plain number, if the process can open no more files. Errors that ortx raises itself carry
        the code that ORT would have used for the same mistake.
    """

    code: int = 1


# --- one class per OrtErrorCode -------------------------------------------------------------------------------------


class Fail(Error, metaclass=error_class):
    """``ORT_FAIL``: the general failure; from ONNX Runtime 1.27 on also that of a kernel during a run."""


class InvalidArgument(Error, ValueError, metaclass=error_class):
    """``ORT_INVALID_ARGUMENT``: a value that cannot be used."""

    code = 2


class NoSuchFile(Error, FileNotFoundError, metaclass=error_class):
    """``ORT_NO_SUCHFILE``: a file that is not there."""

    code = 3


class NoModel(Error, metaclass=error_class):
    """``ORT_NO_MODEL``: a session without a model."""

    code = 4


class EngineError(Error, metaclass=error_class):
    """``ORT_ENGINE_ERROR``: an engine underneath ONNX Runtime failed."""

    code = 5


class RuntimeException(Error, metaclass=error_class):
    """``ORT_RUNTIME_EXCEPTION``: an exception inside ONNX Runtime; up to 1.26 also that of a kernel during a run."""

    code = 6


class InvalidProtobuf(Error, ValueError, metaclass=error_class):
    """``ORT_INVALID_PROTOBUF``: the file or buffer is no ONNX model, or a damaged one."""

    code = 7


class ModelLoaded(Error, metaclass=error_class):
    """``ORT_MODEL_LOADED``: a model was loaded where there already is one."""

    code = 8


class NotSupported(Error, NotImplementedError, metaclass=error_class):
    """``ORT_NOT_IMPLEMENTED``: the model, the provider or the loaded version of ONNX Runtime cannot do this."""

    code = 9


class InvalidGraph(Error, ValueError, metaclass=error_class):
    """``ORT_INVALID_GRAPH``: the model was read, but its graph breaks a rule."""

    code = 10


class EpFail(Error, metaclass=error_class):
    """``ORT_EP_FAIL``: an execution provider failed."""

    code = 11


class ModelLoadCanceled(Error, metaclass=error_class):
    """``ORT_MODEL_LOAD_CANCELED``: loading was cancelled on request."""

    code = 12


class ModelRequiresCompilation(Error, metaclass=error_class):
    """``ORT_MODEL_REQUIRES_COMPILATION``: a provider would have to compile the model, which the options forbid."""

    code = 13


class NotFound(Error, LookupError, metaclass=error_class):
    """``ORT_NOT_FOUND``: ONNX Runtime has nothing under that name."""

    code = 14


class DeviceReset(Error, metaclass=error_class):
    """``ORT_DEVICE_RESET``: the device was reset underneath the session; make a new session."""

    code = 15


# --- raised by ortx itself ------------------------------------------------------------------------------------------


class InvalidType(InvalidArgument, TypeError, metaclass=error_class):
    """An argument is of a Python type that cannot be used there."""


class OptionError(InvalidArgument, metaclass=error_class):
    """An option has an unknown name or a value that is not allowed."""


class OptionTypeError(OptionError, InvalidType, metaclass=error_class):
    """An option's value is of the wrong Python type."""


class CallError(InvalidArgument, metaclass=error_class):
    """The inputs or outputs given to a call do not fit the model. Nothing was run.

    Attributes
    ----------
    problems : tuple of str
        One sentence for every input or output that does not fit; the message lists them all.
    """

    problems: tuple[str, ...]

    def __init__(self, message: str, problems: Iterable[str] = ()) -> None:
        InvalidArgument.__init__(self, message)
        self.problems = tuple(problems)


class OutOfMemory(Error, MemoryError, metaclass=error_class):
    """There is not enough memory to load a library or a model, to run a model, or for a thread that is needed.

    Or an arena was not allowed to take more (``max_mem``).
    A session goes on working when there is memory again. Where Python or numpy are those who ask for memory, it is a
    plain `MemoryError`, so ``except MemoryError`` is for both.
    """


class FileError(Error, OSError, metaclass=error_class):
    """The system refused to open, read or write a file: permission denied, a read-only file system, a full disk.

    `errno` is the system's number of the error; None where ONNX Runtime does not say it.
    """


class SessionClosed(Error, metaclass=error_class):
    """The session was closed; make a new one."""


class ForkedSession(Error, metaclass=error_class):
    """A session, or something that belongs to one, was made before this process was forked; make a new one here."""


class NotPicklable(Error, TypeError, pickle.PicklingError, metaclass=error_class):
    """Something that cannot be copied, or cannot go to another process; the message says what can instead."""


class ExternalDataRefused(Error, PermissionError, metaclass=error_class):
    """A model has tensors in a file outside of its folder, which was not allowed. Nothing was read."""


class RunCancelled(Error, metaclass=error_class):
    """A run was ended before it was done: by `RunOptions.terminate`."""


class RunTimeout(Error, TimeoutError, metaclass=error_class):
    """A run was ended by its ``timeout``. Nothing looks into its inputs and buffers any more."""


class LibraryError(Error, OSError, metaclass=error_class):
    """A shared library was found that cannot be used as ONNX Runtime."""


class LibraryNotFound(LibraryError, FileNotFoundError, metaclass=error_class):
    """No ONNX Runtime library was found; the message lists every place that was looked at."""

    code = 3


class LibraryTooOld(LibraryError, NotSupported, metaclass=error_class):
    """The ONNX Runtime that was found is older than the oldest that ortx works with."""

    code = 9


# --- warnings -------------------------------------------------------------------------------------------------------


class ProviderFallbackWarning(UserWarning, metaclass=error_class):
    """An execution provider that was asked for cannot be used; the session runs without it."""


class UnknownConfigKeyWarning(UserWarning, metaclass=error_class):
    """A config entry has a key that ortx does not know; it was handed on to ONNX Runtime."""


cdef dict CLASS_OF_CODE = dict(enumerate(
    (Fail, InvalidArgument, NoSuchFile, NoModel, EngineError, RuntimeException, InvalidProtobuf, ModelLoaded,
     NotSupported, InvalidGraph, EpFail, ModelLoadCanceled, ModelRequiresCompilation, NotFound, DeviceReset), start=1))

# How ONNX Runtime says that a run was terminated; a node with a graph inside adds words of its own, and its code.
cdef str TERMINATED = "terminate flag being set"

# How C++, the arenas of ONNX Runtime, the system and CUDA say that there is no memory, and the codes it comes with.
cdef str NO_MEMORY = (
    r"(?i)std::bad_alloc|bad allocation|failed to allocate memory|cannot allocate memory|out of memory"
    r"|is smaller than requested bytes of|available memory of \d+ is smaller than requested"
)
cdef str SYSTEM_ERROR = r"system error number (\d+)"
cdef tuple CODES_OF_NO_MEMORY = (1, 5, 6, 11)  # FAIL, ENGINE_ERROR, RUNTIME_EXCEPTION, EP_FAIL

# That a run cannot shrink an arena; the two texts are of different versions.
cdef str NO_ARENA = "memory arena shrink list|is not an arena based allocator"
cdef str NO_ARENA_HINT = (
    " (the run option 'shrink_memory_arena' names a device where this session has no arena: leave it out, or open the "
    "session with enable_cpu_mem_arena=True)"
)


def error_from_status(code: int, message: str) -> Error:
    """Make the exception for an ``OrtStatus``; a code that is newer than ortx gives a plain `Error`."""
    if number := number_of_system_error(code, message):
        return system_error(number, message)
    class_ = CLASS_OF_CODE.get(code, Error)
    if TERMINATED in message:
        class_ = RunCancelled
    elif code in CODES_OF_NO_MEMORY and re.search(NO_MEMORY, message):
        class_ = OutOfMemory
    elif re.search(NO_ARENA, message):
        message += NO_ARENA_HINT
    error = class_(message)
    if error.code != code:
        error.code = code
    return error


def code_name(code: int) -> str:
    """Return the name of an ``OrtErrorCode``; of one that is newer than ortx, its number."""
    from .errorcodes import ErrorCode
    try:
        return ErrorCode(code).name
    except ValueError:
        return str(int(code))


cdef int number_of_system_error(int code, str message) except? -1:
    """Return the system's number of an error with a file, or 0. It may stand where the ``OrtErrorCode`` should be."""
    if match := re.search(SYSTEM_ERROR, message):
        return int(match[1])
    return code if ' file "' in message and message.endswith(f": {os.strerror(code)}") else 0


cdef object system_error(int number, str message):
    reason = os.strerror(number)
    text = message if message.endswith(reason) else f"{message} ({reason})"
    if number == errno.ENOENT:
        return NoSuchFile(text)
    if number == errno.ENOMEM:
        return OutOfMemory(text)
    error = FileError(text)
    error.errno = number
    return error


def exiting(function: str) -> BaseException:
    """Make what a call raises that needs threads of ortx's when the interpreter is exiting and has ended them.

    A daemon thread, which has a moment to live, gets a `SystemExit`: an error would be printed.
    """
    threading = sys.modules.get("threading")  # who makes daemon threads has imported it
    if threading is not None and threading.current_thread().daemon:
        return SystemExit()
    return Error(f"{function}: the interpreter is exiting")


def warn(category: type[Warning], message: str) -> None:
    """Warn at the innermost caller outside of this package; what is compiled has no frame."""
    package = __name__.partition(".")[0]
    frame, level = sys._getframe(), 1
    while frame.f_back is not None and str(frame.f_globals.get("__name__")).partition(".")[0] == package:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


class Refusal(Exception):
    """What a reader of an option says about a value that it does not take; `read_table` adds the option.

    Parameters
    ----------
    expected
        What would have been taken, to stand behind "expected".
    error
        The class to raise.
    where
        Which part of the option's value is meant, such as ``"[1]['key']"``; the whole if empty.
    got
        That part. The option's value if not given.
    hint
        Added at the end, such as what `nearest` returns.
    """

    expected: str
    error: type[OptionError]
    where: str
    got: object
    hint: str

    _WHOLE = object()

    def __init__(
        self,
        expected: str,
        error: type[OptionError] = OptionError,
        *,
        where: str = "",
        got: object = _WHOLE,
        hint: str = "",
    ) -> None:
        Exception.__init__(self, expected)
        self.expected, self.error, self.where, self.hint = expected, error, where, hint
        self.got = got

    def raised_for(self, function: str, option: str, value: object) -> OptionError:
        """Make the exception for the user."""
        got = value if self.got is self._WHOLE else self.got
        return self.error(
            f"{function}: option {option!r}{self.where}: got {shown(got)}; expected {self.expected}{self.hint}"
        )


def shown(value: object, quote: bool = False) -> str:
    """Describe a value for a message: its beginning and its type, whatever its ``repr`` does."""
    short = reprlib.Repr()
    short.maxstring = short.maxother = short.maxlong = 60
    try:
        text = short.repr(value)
    except Exception:
        return f"an unprintable {type(value).__name__}"
    return text if quote else f"{text} ({type(value).__name__})"


def type_text(
    onnx_type: str, type_: str, data_type: str | None, shape: Sequence[int] | None, symbols: Sequence[str] | None
) -> str:
    """Describe the type of a value, by fields of `ValueInfo`: ``float32 of shape (batch, 3)``, or ONNX's spelling."""
    if onnx_type != "tensor":
        return type_
    if shape is None or symbols is None:
        return f"{data_type} of any shape"
    sizes = [str(size) if size >= 0 else symbol or "any" for size, symbol in zip(shape, symbols, strict=True)]
    return f"{data_type} of shape ({sizes[0]},)" if len(sizes) == 1 else f"{data_type} of shape ({', '.join(sizes)})"


def nearest(name: object, valid: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the valid name that is nearest to `name`, or an empty string."""
    if not isinstance(name, str):
        return ""
    try:
        import difflib  # only when something is already wrong
    except OSError:  # no file can be opened any more
        return ""
    close = difflib.get_close_matches(name, list(valid), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
