# What a call returns: the outputs, by position and by name.

@cython.final
@cython.freelist(8)
@cython.binding(True)
cdef class Outputs:
    """The outputs of one call, by position and by name.

    ``outputs[0]`` and ``outputs["y"]`` give one value, ``len``, iteration and unpacking go over the values in the order
    they were asked for, and `keys`, `values`, `items` and `asdict` are those of a dictionary. Immutable; the arrays in
    it are not, and outlive both this object and the session.
    """

    def __init__(self):
        raise TypeError("Outputs cannot be made directly; Session.run returns them")

    def __len__(self):
        return len(self._values)

    def __iter__(self):
        return iter(self._values)

    def __getitem__(self, key: int | str | slice):
        """Return one output by position or name, or a tuple of them for a slice."""
        if isinstance(key, str):
            try:
                return self._values[self._names.index(key)]
            except ValueError:
                raise KeyError(
                    f"no output {key!r}{nearest(key, self._names)} (outputs: {', '.join(self._names)})") from None
        try:
            return self._values[key]
        except IndexError:
            raise IndexError(f"no output {key}: there are {len(self._values)} ({', '.join(self._names)})") from None
        except TypeError:
            raise TypeError(f"outputs are found by int, str or slice, not {type(key).__name__}") from None

    def __contains__(self, name):
        return name in self._names if isinstance(name, str) else False

    def keys(self) -> tuple[str, ...]:
        """Return the names, in the order of the values."""
        return self._names

    def values(self) -> tuple[Any, ...]:
        """Return the values."""
        return self._values

    def items(self) -> list[tuple[str, Any]]:
        """Return pairs of name and value."""
        return list(zip(self._names, self._values))

    def asdict(self) -> dict[str, Any]:
        """Return a dictionary from names to values."""
        return dict(zip(self._names, self._values))

    def _rows(self, Py_ssize_t start, Py_ssize_t stop) -> Outputs:
        """Return the outputs of some rows, for `ortx.Batcher`: views of arrays, parts of lists."""
        return make_outputs(self._names, tuple([value[start:stop] for value in self._values]))

    def __repr__(self):
        shown_items = [
            f"{name}: {array_words(value) if isinstance(value, numpy.ndarray) else type(value).__name__}"
            for name, value in zip(self._names, self._values)]
        return f"<ortx.Outputs {'; '.join(shown_items)}>"


cdef inline Outputs make_outputs(tuple names, tuple values):
    cdef Outputs outputs = Outputs.__new__(Outputs)
    outputs._names = names
    outputs._values = values
    return outputs


cdef int64_t bytes_of(item) except -1:
    """Return how many bytes of numbers an output has, as numpy has them; strings and maps have none."""
    if isinstance(item, numpy.ndarray):
        return 0 if cnp.PyArray_TYPE(item) == cnp.NPY_OBJECT else cnp.PyArray_NBYTES(item)
    if isinstance(item, list):
        return sum([bytes_of(element) for element in item])
    values = getattr(item, "values", None)  # of a sparse tensor; a dict's is a method
    return bytes_of(values) if isinstance(values, numpy.ndarray) else 0
