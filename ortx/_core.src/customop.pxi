# Custom-op libraries: shared libraries that ORT loads itself, into the options of a session.

@cython.final
@cython.binding(True)
cdef class CustomOpLibrary:
    """A shared library with operators of its own; load one with `ortx.load_custom_op_library`.

    It can be given wherever the path of such a library can: in the option ``custom_op_libraries`` and to
    `Session.register_custom_op_library`, any number of times. It owns an ``OrtSessionOptions`` that keeps the library
    loaded; sessions keep it loaded on their own account, so this object need not outlive them.
    """

    def __cinit__(self):
        self.handle = NULL
        self.born = fork_generation

    def __init__(self):
        raise TypeError("CustomOpLibrary cannot be made directly; use ortx.load_custom_op_library(path)")

    def __dealloc__(self):
        if self.handle != NULL and self.born == releasing_generation:
            live_handles.custom_op_library -= 1
            with nogil:  # may unload the library
                api.ReleaseSessionOptions(self.handle)

    @property
    def path(self) -> str:
        """Absolute path of the library's file."""
        return self.file

    def __fspath__(self):
        return self.file

    def __repr__(self):
        return f"<ortx.CustomOpLibrary {self.file!r}>"


@cython.binding(True)
def load_custom_op_library(path: str | os.PathLike[str]) -> CustomOpLibrary:
    """Load a library of custom operators.

    ONNX Runtime calls the library's ``RegisterCustomOps`` at once, so that a library that cannot be used is refused
    here and not with the first session.

    Parameters
    ----------
    path : str or os.PathLike
        The library's file.

    Returns
    -------
    CustomOpLibrary

    Raises
    ------
    NoSuchFile
        If there is no such file.
    InvalidType, InvalidArgument
        If `path` is no path, or that of a folder.
    Error
        If the system's loader or the library itself refuses; with the reason.

    Notes
    -----
    The library's code runs in this process: load only what you trust. Safe to call from any thread. Stands for
    ``RegisterCustomOpsLibrary_V2``.
    """
    cdef CustomOpLibrary library = CustomOpLibrary.__new__(CustomOpLibrary)
    library.file = absolute_path(
        "load_custom_op_library", "path", path_argument("load_custom_op_library", "path", path))
    check_library_file("load_custom_op_library: path", library.file)
    begin_opening()
    try:
        ensure_env()
        check(api.CreateSessionOptions(&library.handle))
        live_handles.custom_op_library += 1
        register_custom_ops(library.handle, "load_custom_op_library", library.file)
    finally:
        end_opening()
    emit_waiting_messages()
    return library


cdef int register_custom_ops(OrtSessionOptions* native, str function, str path) except -1:
    encoded = native_path(path)
    characters = path_characters(encoded)
    begin_opening()
    try:
        with nogil:  # loads the library, and runs its code
            check(api.RegisterCustomOpsLibrary_V2(native, characters))
    except Error as error:
        emit_waiting_messages()
        raise type(error)(f"{function}: the custom-op library {path!r} cannot be used: {error}") from None
    finally:
        end_opening()
    return 0


cdef int check_library_file(str where, str path) except -1:
    if os.path.isdir(path):
        raise InvalidArgument(f"{where}: {path!r} is a folder; expected a custom-op library")
    if not os.path.exists(path):
        raise NoSuchFile(f"{where}: there is no file {path!r}; expected a custom-op library")
    if not os.path.isfile(path):
        raise InvalidArgument(f"{where}: {path!r} is a pipe, a device or a socket; expected a custom-op library")
    return 0


cdef tuple unique_libraries(str function, paths):
    """Return the paths without those of files that came before: ORT fails to register one twice."""
    seen, unique = set(), []
    for path in paths:
        check_library_file(f"{function}: option 'custom_op_libraries'", path)
        status = os.stat(path)
        file = (status.st_dev, status.st_ino)
        if file not in seen:
            seen.add(file)
            unique.append(path)
    return tuple(unique)
