"""ortx: ONNX Runtime from Python, through its C API.

``ortx.session("model.onnx")`` loads a model, ``session.run({"x": x})`` runs it.
"""

from importlib import import_module
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
    """Import what nobody needs before the first session."""
    module = {"LibraryInfo": "library", "ValueInfo": "valueinfo"}.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{module}", __name__), name)
