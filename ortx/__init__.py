"""ortx: ONNX Runtime from Python, through its C API.

``ortx.session("model.onnx")`` loads a model, ``session.run({"x": x})`` runs it.
"""

from typing import TYPE_CHECKING

from ._core import (
    Outputs,
    RunOptions,
    Session,
    configure,
    get_include,
    load_library,
    run_options,
    session,
    session_from_bytes,
)
from .errors import (
    CallError,
    DeviceReset,
    EngineError,
    EpFail,
    Error,
    ErrorCode,
    Fail,
    InvalidArgument,
    InvalidGraph,
    InvalidProtobuf,
    InvalidType,
    LibraryError,
    LibraryNotFound,
    LibraryTooOld,
    ModelLoadCanceled,
    ModelLoaded,
    ModelRequiresCompilation,
    NoModel,
    NoSuchFile,
    NotFound,
    NotSupported,
    OptionError,
    OptionTypeError,
    RuntimeException,
    SessionClosed,
)

if TYPE_CHECKING:
    from .library import LibraryInfo
    from .valueinfo import ValueInfo

__version__ = "0.1.0"

__all__ = [
    "CallError",
    "DeviceReset",
    "EngineError",
    "EpFail",
    "Error",
    "ErrorCode",
    "Fail",
    "InvalidArgument",
    "InvalidGraph",
    "InvalidProtobuf",
    "InvalidType",
    "LibraryError",
    "LibraryInfo",
    "LibraryNotFound",
    "LibraryTooOld",
    "ModelLoadCanceled",
    "ModelLoaded",
    "ModelRequiresCompilation",
    "NoModel",
    "NoSuchFile",
    "NotFound",
    "NotSupported",
    "OptionError",
    "OptionTypeError",
    "Outputs",
    "RunOptions",
    "RuntimeException",
    "Session",
    "SessionClosed",
    "ValueInfo",
    "configure",
    "get_include",
    "load_library",
    "run_options",
    "session",
    "session_from_bytes",
]


def __getattr__(name: str) -> object:
    """Import the two modules that nobody needs before the first session."""
    if name == "LibraryInfo":
        from .library import LibraryInfo as value
    elif name == "ValueInfo":
        from .valueinfo import ValueInfo as value
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value
