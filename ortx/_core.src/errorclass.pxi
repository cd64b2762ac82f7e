# How `errors.py` makes its classes. `type` looks for a hundred methods in all ancestors of each, which takes 10 us a
# class, and half a millisecond of every process that imports ortx. Made of a PyType_Spec, a class inherits them as
# they are, since it has none of its own.

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


def error_class(name: str, bases: tuple[type, ...], namespace: dict[str, object]) -> type:
    """Make a class of errors that has attributes, but no methods; a metaclass for `errors.py`."""
    cdef bytes full_name = f"{namespace['__module__']}.{name}".encode()
    cdef PyType_Slot none = PyType_Slot(0, NULL)
    cdef PyType_Spec spec = PyType_Spec(full_name, 0, 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, &none)
    made = PyType_FromSpecWithBases(&spec, bases)
    for attribute, value in namespace.items():
        if attribute not in ("__module__", "__qualname__"):
            setattr(made, attribute, value)
    return made
