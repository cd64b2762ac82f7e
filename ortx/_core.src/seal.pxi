# Classes that only ortx itself makes. `__init__` of such a class names the public constructor; `hide_new` takes away
# the way around it.

cdef extern from *:
    """
    static int ortx_hide_new(PyTypeObject* type) {
        int result = PyDict_DelItemString(type->tp_dict, "__new__");
        PyType_Modified(type);
        return result;
    }
    """
    int ortx_hide_new(type class_) except -1


cdef int hide_new(type class_) except -1:
    """Leave only `object.__new__`, which refuses extension types. Cython's own construction does not look it up."""
    return ortx_hide_new(class_)
