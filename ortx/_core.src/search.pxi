# Where the shared library of ONNX Runtime is looked for, and how it is opened.
#
# Nothing here is native code of ours: the operating system's loader is reached through ctypes, which knows every
# platform. `library.pxi` turns the address that `open_library` returns into the function table.

cdef str ENVIRONMENT_VARIABLE = "ORTX_LIBRARY"

# How the file inside the wheel begins and ends (Linux and macOS put the version into its name), and what to ask the
# system for; a test asks for something else.
_FILE_BEGINS, _FILE_ENDS, _SYSTEM_NAMES = {
    "win32": ("onnxruntime.dll", "onnxruntime.dll", ("onnxruntime.dll",)),
    "darwin": ("libonnxruntime.", "dylib", ("libonnxruntime.1.dylib", "libonnxruntime.dylib")),
}.get(sys.platform, ("libonnxruntime.so", "", ("libonnxruntime.so.1", "libonnxruntime.so")))

# What the loader says where there is not enough memory. For another reason it would go on after the second one.
cdef tuple LOADERS_NO_MEMORY = (os.strerror(errno.ENOMEM), "failed to map segment from shared object")

cdef str HOW_TO_INSTALL = (
    "Install one with `pip install ortx[cpu]` (or `ortx[gpu]`), set the environment variable "
    f"{ENVIRONMENT_VARIABLE} to the path of the library file, or call ortx.load_library(path)."
)


@cython.final
cdef class Candidate:
    """One place to look at."""

    def __str__(self) -> str:
        return f"{self.path!r} (from {self.origin})"


cdef Candidate make_candidate(str path, str origin, bint binding):
    cdef Candidate made = Candidate.__new__(Candidate)
    made.path, made.origin, made.binding = path, origin, binding
    return made


def candidates(path: str | None) -> list[Candidate]:
    """Return the places to look at, best first.

    A path that somebody named is made absolute, since the loader takes a bare file name for one to look up.
    """
    if path is not None:
        return [named_candidate(path, "the argument of ortx.load_library")]
    from_environment = os.environ.get(ENVIRONMENT_VARIABLE)
    if from_environment:
        return [named_candidate(from_environment, f"the environment variable {ENVIRONMENT_VARIABLE}")]
    found = files_of_installed_package()
    installed = [make_candidate(file, "the installed package onnxruntime", True) for file in found]
    return installed + [make_candidate(name, "the system's loader", False) for name in _SYSTEM_NAMES]


cdef Candidate named_candidate(str path, str origin):
    try:
        return make_candidate(os.path.abspath(path), origin, True)
    except OSError:
        raise NoSuchFile(
            f"the ONNX Runtime library {path!r} (from {origin}) is in the current folder, which is gone") from None


cdef list files_of_installed_package():
    """Find the library of the package ``onnxruntime`` (any flavour) without importing it."""
    try:
        spec = importlib.util.find_spec("onnxruntime")
    except (ImportError, ValueError):  # an import hook forbids it; a module without a spec is in sys.modules
        return []
    files = []
    for folder in (spec.submodule_search_locations if spec is not None else None) or ():
        capi = os.path.join(folder, "capi")
        names = os.listdir(capi) if os.path.isdir(capi) else []
        ours = sorted([name for name in names if name.startswith(_FILE_BEGINS) and name.endswith(_FILE_ENDS)])
        files += [os.path.join(capi, name) for name in ours]
    return files


cdef uintptr_t open_library(Candidate candidate) except 0:
    """Open a library and return the address of its ``OrtGetApiBase``.

    Raises `NoSuchFile`, `LibraryError` or `OutOfMemory` with the loader's own reason. The library stays open for the
    life of the process.
    """
    if candidate.binding and not os.path.isfile(candidate.path):
        kind = "is a pipe, a device or a socket" if os.path.exists(candidate.path) else "does not exist"
        if os.path.isdir(candidate.path):
            kind = "is a folder, not a file"
        raise NoSuchFile(f"the ONNX Runtime library {candidate} {kind}; expected the path of the library file itself")
    try:
        library = ctypes.CDLL(candidate.path)
    except OSError as error:
        message = f"cannot load the ONNX Runtime library {candidate}: {error}"
        if message.endswith(LOADERS_NO_MEMORY):
            raise OutOfMemory(message) from None
        raise LibraryError(message) from None
    address = address_in(library, "OrtGetApiBase")
    if not address:
        raise LibraryError(
            f"{candidate} is a shared library, but not ONNX Runtime: it does not export OrtGetApiBase")
    return address


cdef uintptr_t address_in(library, str function) except? 0:
    """Return the address of a function that a library exports, or 0."""
    try:
        exported = getattr(library, function)
    except AttributeError:
        return 0
    return (<uintptr_t*><uintptr_t>ctypes.addressof(exported))[0]  # as `ctypes.cast` gives it, in a tenth of the time


cdef tuple open_first(str path):
    """Open the first library that there is, in the order of `candidates`; return its place and that address.

    Raises `LibraryNotFound` if there is none, with every place and why it was no use, and what `open_library` does if a
    place that somebody named has no usable library.
    """
    cdef Candidate candidate
    tried = []
    for candidate in candidates(path):
        try:
            return candidate, open_library(candidate)
        except LibraryError as error:
            if candidate.binding:
                raise
            tried.append(str(error))
    places = [
        f"the environment variable {ENVIRONMENT_VARIABLE}: not set",
        "the installed package onnxruntime: not installed, or without a library file",
        *tried,
    ]
    listed = "".join([f"\n  - {place}" for place in places])
    raise LibraryNotFound(f"no ONNX Runtime library was found. {HOW_TO_INSTALL} Looked at:{listed}")


cdef uint32_t api_version_of(str version, Candidate candidate) except 0:
    """Return the version of the function table to ask for: ``1.31.1`` gives 31, or the newest that ortx knows.

    ``GetApi`` prints to stderr when it is asked for a version it does not know, hence this check before it. Raises
    `LibraryTooOld` for a library that is older than ortx works with, `LibraryError` for a version that makes no sense.
    """
    try:
        major, minor = map(int, version.split(".")[:2])
    except ValueError:
        raise LibraryError(
            f"the ONNX Runtime library {candidate} says its version is {version!r}; expected such as '1.31.1'"
        ) from None
    if (major, minor) < (1, ORTX_OLDEST_API_VERSION):
        raise LibraryTooOld(
            f"the ONNX Runtime library {candidate} is version {version}; ortx needs 1.{ORTX_OLDEST_API_VERSION} or "
            "newer: upgrade it with `pip install --upgrade onnxruntime`, or point "
            f"{ENVIRONMENT_VARIABLE} at a newer library")
    if major != 1:
        raise LibraryError(
            f"the ONNX Runtime library {candidate} is version {version}; ortx knows the interface of version 1 only")
    return min(minor, ORTX_API_VERSION)
