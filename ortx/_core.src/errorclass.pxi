# How the classes of errors are made. `type` looks for a hundred methods in all ancestors of each, which takes 10 us a
# class, and half a millisecond of every process that imports ortx. Made of a PyType_Spec, a class inherits them all at
# once, and is told of its own.

cdef extern from "Python.h":
    ctypedef struct PyType_Slot:
        int slot
        void* pfunc
    ctypedef struct PyType_Spec:
        const char* name
        int basicsize
        int itemsize
        unsigned int flags
        PyType_Slot* slots
    enum:
        Py_TPFLAGS_DEFAULT
        Py_TPFLAGS_BASETYPE
    type PyType_FromSpecWithBases(PyType_Spec* spec, tuple bases)


cdef class CodeOfError:
    """The attribute `code` of a class of errors. Made when somebody asks: to make an enumeration takes long."""

    def __get__(self, error, owner):
        try:
            from .errorcodes import ErrorCode
        except OSError:  # no file can be opened any more, which may be what the error is about
            return self.number
        return ErrorCode(self.number)


def error_class(name: str, bases: tuple[type, ...], namespace: dict[str, object]) -> type:
    """Make a public class of errors; a metaclass. Methods may not use `super`; `code` becomes an `ErrorCode`."""
    cdef bytes full_name = f"ortx.{name}".encode()
    cdef PyType_Slot none = PyType_Slot(0, NULL)
    cdef PyType_Spec spec = PyType_Spec(full_name, 0, 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, &none)
    cdef CodeOfError code
    made = PyType_FromSpecWithBases(&spec, bases)
    for attribute, value in namespace.items():
        if attribute == "code":
            code = CodeOfError.__new__(CodeOfError)
            code.number, value = value, code
        if attribute not in ("__module__", "__qualname__"):
            setattr(made, attribute, value)
    return made
