# ZipMap, with which scikit-learn's converters end a classifier: it makes a dictionary of each row of a tensor. Through
# the C API such an output costs three calls a row, so the session gives the tensor instead (see zipmaps.py), and the
# dictionaries are made here: the same ones, keys in the same order.

cdef dict zip_map_columns(zip_maps):
    """Return, for each output that a node of the model would make, its keys in ORT's order and their columns."""
    columns = {}
    for zip_map in zip_maps:
        column_of = {label: column for column, label in enumerate(zip_map.labels)}  # the last of equal ones counts
        ordered = sorted(column_of, key=utf8_order)
        columns[zip_map.output] = (ordered, [column_of[label] for label in ordered], len(zip_map.labels))
    return columns


def utf8_order(label: str | int) -> bytes | int:
    """Return what a std::map compares: the bytes of a string, or the number."""
    return label.encode("utf-8", "surrogateescape") if isinstance(label, str) else label


cdef list zip_map_dicts(cnp.ndarray array, tuple columns, str name):
    """Make a dictionary of each row of a float32 array; of one dimension, it is one row."""
    cdef list keys = columns[0]
    cdef Py_ssize_t count = len(keys), k, rows, width = -1
    cdef const float* at = <const float*>cnp.PyArray_DATA(array)
    cdef Py_ssize_t* column = NULL
    cdef dict made
    if cnp.PyArray_NDIM(array) > 0:
        width = cnp.PyArray_DIMS(array)[cnp.PyArray_NDIM(array) - 1]
    if cnp.PyArray_NDIM(array) not in (1, 2) or width != columns[2]:
        shape = (<object>array).shape
        raise InvalidArgument(f"output {name!r}: the model computes the shape {shape} for {columns[2]} labels")
    rows = cnp.PyArray_SIZE(array) // width if width else 0
    column = <Py_ssize_t*>malloc((count + 1) * sizeof(Py_ssize_t))
    if column == NULL:
        raise MemoryError()
    try:
        for k in range(count):
            column[k] = columns[1][k]
        dicts = []
        for _ in range(rows):
            made = {}
            for k in range(count):
                made[keys[k]] = PyFloat_FromDouble(at[column[k]])
            dicts.append(made)
            at += width
    finally:
        free(column)
    return dicts
