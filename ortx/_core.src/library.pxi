# Loading the shared library and asking it for the function table.

cdef object current_configuration():
    global configuration
    if configuration is None:
        configuration = RuntimeConfiguration()
    return configuration


@cython.binding(True)
def load_library(path: str | os.PathLike[str] | None = None) -> LibraryInfo:
    """Load ONNX Runtime's shared library, if that has not happened yet, and say which one it is.

    There is no need to call this: the first session does. Call it to choose a library, or to see which one is used.
    The order is: `path`, the environment variable ``ORTX_LIBRARY``, the installed package ``onnxruntime`` of any
    flavour (its file is loaded; the package is not imported), the system's loader.

    Parameters
    ----------
    path : str or os.PathLike, optional
        The library file.

    Returns
    -------
    LibraryInfo
        Path, origin, version, API version and build information. It stays loaded for the life of the process.

    Raises
    ------
    LibraryNotFound
        If there is none; the message lists every place that was looked at.
    NoSuchFile, LibraryError, LibraryTooOld
        If the library that was named or found cannot be used.
    OutOfMemory
        If there is not enough memory for it.
    InvalidType
        If `path` is not a path.
    Error
        If another library is loaded already.

    Notes
    -----
    Safe to call from any thread. Stands for ``OrtGetApiBase`` and ``OrtApiBase::GetApi``.
    """
    if path is not None:
        path = path_argument("load_library", "path", path)
    load(path)
    with setup_lock:
        return library_info()


cdef int load(str path) except -1:
    with setup_lock:
        if api == NULL:
            end_daemon_at_exit()
            open_api(path)
        elif path is not None and not same_file(path, loaded_from.path):
            raise Error(
                f"load_library: cannot load {path!r}: this process uses {loaded_from} already; "
                "choose a library before the first session is made")
    return 0


cdef object library_info():
    """Return the LibraryInfo of the library that is loaded."""
    global loaded_library
    if loaded_library is not None:
        return loaded_library
    from .libraryinfo import LibraryInfo
    loaded_library = LibraryInfo(
        path=loaded_from.path, origin=loaded_from.origin, version=library_version, api_version=api_version,
        build_info=api.GetBuildInfoString().decode("utf-8", "replace"))
    return loaded_library


cdef bint same_file(first, second) except -1:
    try:
        return os.path.samefile(first, second)
    except OSError:
        return False


cdef int open_api(str path) except -1:
    global api, api_version, library_minor, library_version, loaded_from
    cdef const OrtApiBase* base
    cdef const OrtApi* table
    cdef Candidate candidate
    cdef uintptr_t address
    cdef uint32_t version
    candidate, address = open_first(path)
    base = (<OrtGetApiBaseFunction>address)()
    runtime_version = base.GetVersionString().decode("utf-8", "replace")
    version = api_version_of(runtime_version, candidate)
    if not current_configuration().telemetry:
        # ORT reads it when the first environment is made, and starts a thread unless it is set.
        os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    table = base.GetApi(version)
    if table == NULL:
        raise LibraryError(
            f"the ONNX Runtime library {candidate.path!r} (version {runtime_version}) does not offer version "
            f"{version} of its C API")
    library_minor = int(runtime_version.split(".")[1])
    # From here on no Python code runs: whoever sees `api` without a lock finds the rest in place, too.
    loaded_from, library_version, api_version = candidate, runtime_version, version
    api = table
    try:
        check(api.GetAllocatorWithDefaultOptions(&default_allocator))
        check(api.CreateCpuMemoryInfo(OrtDeviceAllocator, OrtMemTypeDefault, &cpu_memory_info))
    except BaseException:
        api = NULL
        raise
    return 0


cdef inline int ensure_library() except -1:
    if api == NULL:
        load(None)
    return 0


cdef int require_version(uint32_t version, what) except -1:
    """Refuse to go on if the loaded library is too old for `what`: a slot it lacks reads as its neighbour, not NULL."""
    if api_version < version:
        raise NotSupported(
            f"{what} needs ONNX Runtime 1.{version} or newer; {loaded_from.path!r} is {library_version}")
    return 0


@cython.binding(True)
def get_include() -> str:
    """Return the folder of ``ortx_capi.h``, for extensions that want to call ONNX Runtime themselves."""
    return os.path.join(os.path.dirname(__file__), "include")
