# Names and paths, from Python to C and back.

cdef enum:
    LONGEST_PATH = 32767  # characters; Windows takes the longest

cdef inline str plain_text(text):
    """Return what a string holds that may be of a subclass, such as numpy's or a member of an enumeration."""
    return <str>text if PyUnicode_CheckExact(text) else PyUnicode_FromObject(text)


cdef tuple plain_names(names):
    """Do the same to all strings of a list; the others are refused by who looks them up."""
    return tuple([plain_text(name) if isinstance(name, str) else name for name in names])


cdef bytes native_path(str path):
    """Return the bytes of a NUL-terminated ORTCHAR_T string: UTF-16 on Windows, the file system's elsewhere."""
    if sys.platform == "win32":
        return path.encode("utf-16-le", "surrogatepass") + b"\0\0"
    return os.fsencode(path)


cdef inline const ORTCHAR_T* path_characters(bytes path):
    return <const ORTCHAR_T*><void*>PyBytes_AS_STRING(path)


cdef str path_argument(function, argument, path):
    """Return a path argument as str, or refuse it."""
    name = os.fspath(path) if isinstance(path, (str, os.PathLike)) else None
    if not isinstance(name, str):
        raise InvalidType(
            f"{function}: {argument}: got {type(path).__name__}; expected a path as str or os.PathLike")
    name = plain_text(name)
    if len(name) > LONGEST_PATH:
        raise InvalidArgument(
            f"{function}: {argument}: got {shown(name, quote=True)}, which is too long: {len(name)} characters; no "
            f"system takes more than {LONGEST_PATH}")
    if not name or "\0" in name:
        raise InvalidArgument(f"{function}: {argument}: got {name!r}; expected a path that is not empty and has no NUL")
    try:
        os.fsencode(name)
    except UnicodeEncodeError:
        raise InvalidArgument(f"{function}: {argument}: got {name!r}, which no file can be called") from None
    return name


cdef str absolute_path(function, argument, str path):
    """Return a path that holds in any folder; the current one may have been removed."""
    try:
        return os.path.abspath(path)
    except OSError as error:
        raise NoSuchFile(f"{function}: {argument}: got {path!r}, in a current folder that is gone ({error})") from None


cdef str take_string(char* text):
    """Decode a string that ORT allocated with the default allocator, and free it."""
    try:
        return text.decode("utf-8", "surrogateescape")
    finally:
        check(api.AllocatorFree(default_allocator, text))
