# Sparse tensors: an OrtValue over the arrays of a SparseTensor (sparse.py), and a SparseTensor over an OrtValue.
#
# ORT wants the blocks of block_sparse in the shape (rows, columns, blocks), where ours is scipy's (blocks, rows,
# columns); so they are copied, each way. If there are none, it wants (0,) for the blocks and for their indices.

cdef ONNXTensorElementDataType sparse_element_type(sparse):
    """Return the element type of a `SparseTensor` for ORT, or UNDEFINED if it can make none of it."""
    if sparse.values.dtype == object:
        return ONNX_TENSOR_ELEMENT_DATA_TYPE_STRING
    number = element_type_of(sparse.values)
    return number if bits_of(number) >= 8 else ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED


cdef Feed make_sparse_value(sparse, ONNXTensorElementDataType element_type):
    """Make a sparse tensor of a `SparseTensor`, which is checked already: over its arrays, but strings are copied."""
    cdef OrtValue* made = NULL
    cdef cnp.ndarray values = sparse.values, indices, begins = None
    cdef int64_t dense_shape[cnp.NPY_MAXDIMS]
    cdef size_t i, rank = len(sparse.shape)
    cdef OrtSparseFormat sparse_format = ORT_SPARSE_COO
    for i in range(rank):
        dense_shape[i] = sparse.shape[i]
    if sparse.format == "csr":
        indices, begins = sparse.indices
        if cnp.PyArray_SIZE(values):  # ORT knows csr without elements, but no kernel takes it: so it goes in as coo
            sparse_format = ORT_SPARSE_CSRC
    else:
        indices = sparse.indices
    if sparse.format == "block_sparse":
        sparse_format = ORT_SPARSE_BLOCK_SPARSE
        values = values.transpose(1, 2, 0).copy()
        if cnp.PyArray_SIZE(values) == 0:
            values, indices = values.reshape(0), indices.reshape(0)
    if element_type == ONNX_TENSOR_ELEMENT_DATA_TYPE_STRING:
        check(api.CreateSparseTensorAsOrtValue(default_allocator, dense_shape, rank, element_type, &made))
        feed = make_feed(made, None)
        fill_sparse_strings(made, sparse_format, values, indices, begins)
        return feed
    check(api.CreateSparseTensorWithValuesAsOrtValue(
        cpu_memory_info, cnp.PyArray_DATA(values), dense_shape, rank, <const int64_t*>cnp.PyArray_DIMS(values),
        <size_t>cnp.PyArray_NDIM(values), number_to_create(element_type), &made))
    feed = make_feed(made, (values, indices, begins))
    feed.size = <size_t>cnp.PyArray_NBYTES(values)
    if sparse_format == ORT_SPARSE_COO:
        check(api.UseCooIndices(made, <int64_t*>cnp.PyArray_DATA(indices), <size_t>cnp.PyArray_SIZE(indices)))
    elif sparse_format == ORT_SPARSE_CSRC:
        check(api.UseCsrIndices(
            made, <int64_t*>cnp.PyArray_DATA(indices), <size_t>cnp.PyArray_SIZE(indices),
            <int64_t*>cnp.PyArray_DATA(begins), <size_t>cnp.PyArray_SIZE(begins)))
    else:
        check(api.UseBlockSparseIndices(
            made, <const int64_t*>cnp.PyArray_DIMS(indices), <size_t>cnp.PyArray_NDIM(indices),
            <int32_t*>cnp.PyArray_DATA(indices)))
    return feed


cdef int fill_sparse_strings(
        OrtValue* value, OrtSparseFormat sparse_format, cnp.ndarray values, cnp.ndarray indices,
        cnp.ndarray begins) except -1:
    """Copy strings and their indices into a sparse tensor. ORT takes them up to their first NUL."""
    cdef const int64_t* shape = <const int64_t*>cnp.PyArray_DIMS(values)
    cdef size_t rank = <size_t>cnp.PyArray_NDIM(values)
    cdef Py_ssize_t i, size = 0
    cdef list items = values.ravel().tolist()  # whose UTF-8 lives as long as they do
    cdef const char** texts = <const char**>malloc((len(items) + 1) * sizeof(char*))
    if texts == NULL:
        raise MemoryError()
    try:
        for i in range(len(items)):
            texts[i] = PyUnicode_AsUTF8AndSize(items[i], &size)
        if sparse_format == ORT_SPARSE_COO:
            check(api.FillSparseTensorCoo(
                value, cpu_memory_info, shape, rank, texts,
                <const int64_t*>cnp.PyArray_DATA(indices), <size_t>cnp.PyArray_SIZE(indices)))
        elif sparse_format == ORT_SPARSE_CSRC:
            check(api.FillSparseTensorCsr(
                value, cpu_memory_info, shape, rank, texts,
                <const int64_t*>cnp.PyArray_DATA(indices), <size_t>cnp.PyArray_SIZE(indices),
                <const int64_t*>cnp.PyArray_DATA(begins), <size_t>cnp.PyArray_SIZE(begins)))
        else:
            check(api.FillSparseTensorBlockSparse(
                value, cpu_memory_info, shape, rank, texts,
                <const int64_t*>cnp.PyArray_DIMS(indices), <size_t>cnp.PyArray_NDIM(indices),
                <const int32_t*>cnp.PyArray_DATA(indices)))
    finally:
        free(texts)
    return 0


cdef object sparse_tensor_of(Value owner, str name):
    """Return a `SparseTensor` over the memory of a value."""
    from .sparse import SparseTensor
    cdef OrtSparseFormat sparse_format = ORT_SPARSE_UNDEFINED
    cdef OrtTensorTypeAndShapeInfo* info = NULL
    check(api.GetSparseTensorFormat(owner.handle, &sparse_format))
    check(api.GetTensorTypeAndShape(owner.handle, &info))
    live_handles.tensor_info += 1
    shape, _ = take_shape(info)
    values = sparse_values(owner, name)
    if sparse_format == ORT_SPARSE_COO:
        return SparseTensor("coo", shape, values, sparse_indices(owner, ORT_SPARSE_COO_INDICES))
    if sparse_format == ORT_SPARSE_CSRC:
        begins = sparse_indices(owner, ORT_SPARSE_CSR_OUTER_INDICES)
        if begins.size == 0:  # as ORT has it where nothing is in it
            begins = numpy.zeros(shape[0] + 1, numpy.int64)
        return SparseTensor("csr", shape, values, (sparse_indices(owner, ORT_SPARSE_CSR_INNER_INDICES), begins))
    if sparse_format != ORT_SPARSE_BLOCK_SPARSE:
        raise NotSupported(f"output {name!r} is a sparse tensor of the unknown format {<int>sparse_format}")
    indices = sparse_indices(owner, ORT_SPARSE_BLOCK_SPARSE_INDICES)
    if values.size == 0:
        return SparseTensor("block_sparse", shape, values.reshape(0, 1, 1), indices.reshape(2, 0))
    if values.ndim != 3:
        raise NotSupported(
            f"output {name!r} is a block-sparse tensor with values of the shape {values.shape}, which ortx cannot read")
    return SparseTensor("block_sparse", shape, values.transpose(2, 0, 1).copy(), indices)


cdef object sparse_values(Value owner, str name):
    """Return the elements that are not zero, in the shape that ORT has them in; strings are copied."""
    cdef OrtTensorTypeAndShapeInfo* info = NULL
    cdef const void* data = NULL
    check(api.GetSparseTensorValuesTypeAndShape(owner.handle, &info))
    live_handles.tensor_info += 1
    shape, element_type = take_shape(info)
    if element_type == ONNX_TENSOR_ELEMENT_DATA_TYPE_STRING:
        strings = numpy.empty(shape, object)
        fill_with_copied_strings(strings, owner.handle)
        return strings
    dtype = dtype_of(element_type)
    if bits_of(element_type) < 8:
        raise NotSupported(f"output {name!r} is sparse_tensor({onnx_word(element_type)}), which ortx cannot read")
    check(api.GetSparseTensorValues(owner.handle, &data))
    return sparse_part(owner, <void*>data, dtype, shape)


cdef object sparse_indices(Value owner, OrtSparseIndicesFormat indices_format):
    cdef OrtTensorTypeAndShapeInfo* info = NULL
    cdef const void* indices = NULL
    cdef size_t count = 0
    check(api.GetSparseTensorIndicesTypeShape(owner.handle, indices_format, &info))
    live_handles.tensor_info += 1
    shape, element_type = take_shape(info)
    check(api.GetSparseTensorIndices(owner.handle, indices_format, &count, &indices))
    return sparse_part(owner, <void*>indices, dtype_of(element_type), shape)


cdef object sparse_part(Value owner, void* data, dtype, tuple shape):
    cdef int64_t dims[cnp.NPY_MAXDIMS]
    cdef int i, rank = <int>len(shape)
    for i in range(rank):
        dims[i] = shape[i]
    return array_at(owner, data, dtype, dims, <size_t>rank)


cdef tuple take_shape(OrtTensorTypeAndShapeInfo* info):
    """Return the shape and the element type that an information object tells, and release it."""
    cdef ONNXTensorElementDataType element_type = ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED
    cdef int64_t dims[cnp.NPY_MAXDIMS]
    cdef size_t rank = 0
    try:
        check(api.GetTensorElementType(info, &element_type))
        check(api.GetDimensionsCount(info, &rank))
        if rank > cnp.NPY_MAXDIMS:
            raise NotSupported(f"a tensor of {rank} dimensions; numpy arrays have at most {cnp.NPY_MAXDIMS}")
        check(api.GetDimensions(info, dims, rank))
    finally:
        live_handles.tensor_info -= 1
        api.ReleaseTensorTypeAndShapeInfo(info)
    return tuple([dims[i] for i in range(rank)]), <int>element_type
