# ortx.Tensor: an array that remembers how ORT calls its type and where it lies, and can be bound.

@cython.final
@cython.binding(True)
cdef class Tensor:
    """A tensor in CPU memory; make one with `ortx.tensor`.

    It looks into a numpy array's memory, which it keeps alive: `numpy` returns that array, without copying, and changes
    on either side are seen on the other. It is accepted wherever an input or an output buffer is, and by whatever takes
    a buffer (``memoryview``), ``__array__`` or ``__dlpack__`` (DLPack 1.1 and before 1.0), none of which copies.
    """

    def __init__(self):
        raise TypeError("Tensor cannot be made directly; use ortx.tensor(...)")

    @property
    def shape(self) -> tuple[int, ...]:
        """Dimensions."""
        return (<object>self.array).shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Element type, as numpy has it."""
        return self.array.dtype

    @property
    def data_type(self) -> str:
        """Element type, as ONNX calls it: ``"float"``, ``"int64"``."""
        if self.array.dtype == object:
            return "string"
        return onnx_word(element_type_of(self.array))

    @property
    def device(self) -> str:
        """Where the memory is: always ``"cpu"``."""
        return "cpu"

    def numpy(self) -> npt.NDArray[Any]:
        """Return the array; no copy."""
        return self.array

    @property
    def memory_info(self) -> MemoryInfo:
        """Where the memory is, in ONNX Runtime's words. Raises `NotSupported` before ONNX Runtime 1.23."""
        ensure_library()
        return memory_info(cpu_memory_info)

    def to(self, device: str) -> Tensor:
        """Return the tensor in the memory of a device; itself if it is there already.

        Raises `NotSupported` for every device but ``"cpu"``.
        """
        if not isinstance(device, str):
            raise InvalidType(f"to: device: got {shown(device)}; expected a str such as 'cpu'")
        if device.lower() not in ("cpu", "cpu:0"):
            raise NotSupported(f"to: device: got {device!r}; ortx has tensors in the CPU's memory only: 'cpu'")
        return self

    def tolist(self) -> Any:
        """Return the elements as nested lists, or as a number if there are no dimensions."""
        return self.array.tolist()

    def __array__(self, dtype=None, copy=None):
        array = numpy.asarray(self.array, dtype)
        if array is not self.array:
            if copy is False:
                raise ValueError(f"a tensor of {self.array.dtype} cannot be an array of {array.dtype} without a copy")
            return array
        return array.copy() if copy else array

    def __dlpack__(self, *, stream=None, max_version=None, dl_device=None, copy=None):
        return lend(self.array, stream, max_version, dl_device, copy)

    def __dlpack_device__(self):
        return (1, 0)  # the CPU

    def __getbuffer__(self, Py_buffer* view, int flags):
        PyObject_GetBuffer(self.array, view, flags)

    def __len__(self):
        return len(self.array)

    def __repr__(self):
        return f"<ortx.Tensor {array_words(self.array)}>"


cdef inline Tensor make_tensor(cnp.ndarray array):
    cdef Tensor tensor = Tensor.__new__(Tensor)
    tensor.array = array
    return tensor


@cython.binding(True)
def tensor(
        data: object, shape: Sequence[int] | None = None, values: object | None = None) -> Tensor:
    """Make a tensor over an array's memory, or of an element type, a shape and values.

    ``ortx.tensor(array)`` copies nothing, unless the array is not C-contiguous or not aligned: then once.
    ``ortx.tensor("float32", (1, 2), [1.0, 2.0])`` makes a new one.

    Parameters
    ----------
    data : array, buffer, or str
        What exports an array; or the name of an element type, such as ``"float32"``.
    shape : sequence of int, optional
        Dimensions of a new tensor.
    values : list or scalar, optional
        Its elements, in C order, nested or not; zeros by default. They take the element type if that loses nothing.

    Returns
    -------
    Tensor

    Raises
    ------
    InvalidType
        If `data` is neither an array nor the name of an element type, or `shape` is no sequence of integers.
    InvalidArgument
        If ORT has no such element type, or `values` do not fit.
    """
    if isinstance(data, str):
        return make_tensor(new_array("tensor", data, shape, values))
    if shape is not None or values is not None:
        raise InvalidType(f"tensor: got {shown(data)} with a shape or values; they go with the name of an element type")
    array = array_of_exporter(data)
    if isinstance(array, str):
        raise InvalidType(f"tensor: {array}; expected one, or the name of an element type with a shape")
    learn_ml_dtypes(import_it=False)
    if array.dtype.kind in "OUST":
        return make_tensor(string_array("tensor", array))
    if element_type_of(array) == ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED or not cnp.PyArray_ISNOTSWAPPED(array):
        raise InvalidArgument(f"tensor: got {array_words(array)}, which ORT has no element type for")
    return make_tensor(cnp.PyArray_FROM_OF(array, cnp.NPY_ARRAY_CARRAY_RO))


cdef object string_array(str function, values):
    """Return a C-contiguous array of objects, all of them str."""
    array = cnp.PyArray_FROM_OF(numpy.asarray(values, object), cnp.NPY_ARRAY_CARRAY_RO)
    if not all_are_str(array):
        array = with_decoded_bytes(array)
        if isinstance(array, str):
            raise InvalidArgument(f"{function}: {array}; expected str only")
    return array


cdef object new_array(str function, type_name, shape, values):
    """Make an array of a named element type."""
    if type_name not in ELEMENT_TYPE_OF_ANY_WORD:
        raise InvalidArgument(
            f"{function}: got the element type {shown(type_name, True)}{nearest(type_name, ELEMENT_TYPE_OF_WORD)}; "
            f"expected one of {', '.join(ELEMENT_TYPE_OF_WORD)}")
    dtype = dtype_of(ELEMENT_TYPE_OF_ANY_WORD[type_name])
    try:
        dimensions = tuple([operator.index(size) for size in shape])
    except TypeError:
        raise InvalidType(f"{function}: shape: got {shown(shape)}; expected a sequence of integers") from None
    if any([size < 0 for size in dimensions]):
        raise InvalidArgument(f"{function}: shape: got {shown(shape)}; expected no negative dimension")
    try:
        empty = numpy.broadcast_to(numpy.zeros((), dtype), dimensions)  # takes no memory, and numpy's own limits hold
    except ValueError as error:
        raise InvalidArgument(f"{function}: shape: got {shown(shape)}, which numpy cannot have: {error}") from None
    if values is None:
        return numpy.full(dimensions, "", object) if dtype == object else numpy.zeros(dimensions, dtype)
    array = string_array(function, values) if dtype == object else array_of_literal(values, dtype)
    if isinstance(array, str):
        raise InvalidArgument(f"{function}: values: {array}")
    if array.size != empty.size:
        raise InvalidArgument(
            f"{function}: values: got {array.size}; expected {empty.size} for the shape {dimensions}")
    return array.reshape(dimensions)
