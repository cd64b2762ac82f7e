"""ortx: ONNX Runtime from Python, through its C API.

``ortx.session("model.onnx")`` loads a model, ``session.run({"x": x})`` runs it.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from ._core import (
    CallError,
    CustomOpLibrary,
    DeviceReset,
    EngineError,
    EpFail,
    Error,
    ExternalDataRefused,
    Fail,
    FileError,
    ForkedSession,
    InvalidArgument,
    InvalidGraph,
    InvalidProtobuf,
    InvalidType,
    IOBinding,
    LibraryError,
    LibraryNotFound,
    LibraryTooOld,
    ModelLoadCanceled,
    ModelLoaded,
    ModelRequiresCompilation,
    NoModel,
    NoSuchFile,
    NotFound,
    NotPicklable,
    NotSupported,
    Optional,
    OptionError,
    OptionTypeError,
    OutOfMemory,
    Outputs,
    PrepackedWeights,
    ProviderFallbackWarning,
    RunCancelled,
    RunOptions,
    RuntimeException,
    RunTimeout,
    Session,
    SessionClosed,
    Tensor,
    UnknownConfigKeyWarning,
    available_providers,
    configure,
    get_include,
    load_custom_op_library,
    load_library,
    optional,
    run_options,
    session,
    session_from_bytes,
    tensor,
    trim_memory,
)

if TYPE_CHECKING:
    from . import profiling as profiling
    from .batcher import Batcher
    from .errorcodes import ErrorCode
    from .libraryinfo import LibraryInfo
    from .modelinfo import MemoryInfo, Metadata
    from .pool import SessionPool
    from .sparse import SparseTensor, sparse_tensor
    from .stats import Stats
    from .valueinfo import ValueInfo

__version__ = "0.1.0"

__all__ = [
    "Batcher",
    "CallError",
    "CustomOpLibrary",
    "DeviceReset",
    "EngineError",
    "EpFail",
    "Error",
    "ErrorCode",
    "ExternalDataRefused",
    "Fail",
    "FileError",
    "ForkedSession",
    "IOBinding",
    "InvalidArgument",
    "InvalidGraph",
    "InvalidProtobuf",
    "InvalidType",
    "LibraryError",
    "LibraryInfo",
    "LibraryNotFound",
    "LibraryTooOld",
    "MemoryInfo",
    "Metadata",
    "ModelLoadCanceled",
    "ModelLoaded",
    "ModelRequiresCompilation",
    "NoModel",
    "NoSuchFile",
    "NotFound",
    "NotPicklable",
    "NotSupported",
    "Optional",
    "OptionError",
    "OptionTypeError",
    "OutOfMemory",
    "Outputs",
    "PrepackedWeights",
    "ProviderFallbackWarning",
    "RunCancelled",
    "RunOptions",
    "RunTimeout",
    "RuntimeException",
    "Session",
    "SessionClosed",
    "SessionPool",
    "SparseTensor",
    "Stats",
    "Tensor",
    "UnknownConfigKeyWarning",
    "ValueInfo",
    "available_providers",
    "configure",
    "get_include",
    "load_custom_op_library",
    "load_library",
    "optional",
    "run_options",
    "session",
    "session_from_bytes",
    "sparse_tensor",
    "tensor",
    "trim_memory",
]


def __getattr__(name: str) -> object:
    """Import what nobody needs before the first session."""
    if name == "profiling":
        return import_module(".profiling", __name__)
    module = {
        "Batcher": "batcher",
        "ErrorCode": "errorcodes",
        "LibraryInfo": "libraryinfo",
        "MemoryInfo": "modelinfo",
        "Metadata": "modelinfo",
        "SessionPool": "pool",
        "SparseTensor": "sparse",
        "sparse_tensor": "sparse",
        "Stats": "stats",
        "ValueInfo": "valueinfo",
    }.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{module}", __name__), name)
