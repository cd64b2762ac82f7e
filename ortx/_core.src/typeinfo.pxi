# What a model takes and gives. A `Signature` holds it twice: as `TypeFacts` for messages and for what is no plain
# tensor, and as C arrays for the call path, which looks at nothing else. What users see is a `ValueInfo`, made of such
# facts when somebody asks for it.

cdef dict ONNX_TYPE_WORDS = {
    ONNX_TYPE_UNKNOWN: "unknown",
    ONNX_TYPE_TENSOR: "tensor",
    ONNX_TYPE_SEQUENCE: "sequence",
    ONNX_TYPE_MAP: "map",
    ONNX_TYPE_OPAQUE: "opaque",
    ONNX_TYPE_SPARSETENSOR: "sparse_tensor",
    ONNX_TYPE_OPTIONAL: "optional",
}


@cython.final
cdef class TypeFacts:
    """The type of a value, as a model declares it."""

    def __init__(self):
        raise TypeError("TypeFacts cannot be made directly; session.input_info(name) tells the same")

    def __str__(self):
        return type_text(self.onnx_type, self.type, self.data_type, self.shape, self.symbolic_shape)


cdef TypeFacts make_type_facts(str name, str onnx_type, str type, TypeFacts element=None):
    cdef TypeFacts facts = TypeFacts.__new__(TypeFacts)
    facts.name, facts.onnx_type, facts.type, facts.element = name, onnx_type, type, element
    return facts


cdef object value_info(TypeFacts facts):
    """Make a ValueInfo, for the user."""
    from .valueinfo import ValueInfo
    if facts is None:
        return None
    return ValueInfo(
        name=facts.name, onnx_type=facts.onnx_type, type=facts.type, is_sparse=facts.is_sparse,
        data_type=facts.data_type, has_shape=facts.has_shape, shape=facts.shape, symbolic_shape=facts.symbolic_shape,
        element=value_info(facts.element), key_type=facts.key_type, value=value_info(facts.value))


cdef TypeFacts type_facts(const OrtTypeInfo* type_info, str name):
    """Read an OrtTypeInfo, which stays the caller's."""
    cdef ONNXType onnx_type = ONNX_TYPE_UNKNOWN
    cdef TypeFacts element
    check(api.GetOnnxTypeFromTypeInfo(type_info, &onnx_type))
    word = ONNX_TYPE_WORDS.get(onnx_type, "unknown")
    if onnx_type == ONNX_TYPE_TENSOR or onnx_type == ONNX_TYPE_SPARSETENSOR:
        return facts_of_tensor(type_info, name, word)
    if onnx_type == ONNX_TYPE_SEQUENCE:
        element = facts_of_sequence_element(type_info)
        return make_type_facts(name, word, f"seq({element.type})", element)
    if onnx_type == ONNX_TYPE_OPTIONAL:
        element = facts_of_optional_element(type_info)
        return make_type_facts(name, word, f"optional({element.type})", element)
    if onnx_type == ONNX_TYPE_MAP:
        return facts_of_map(type_info, name, word)
    return make_type_facts(name, word, word)


cdef TypeFacts facts_of_tensor(const OrtTypeInfo* type_info, str name, str word):
    cdef const OrtTensorTypeAndShapeInfo* info = NULL
    cdef ONNXTensorElementDataType element_type = ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED
    cdef TypeFacts facts
    cdef size_t rank = 0
    cdef int64_t* dims = NULL
    cdef const char** symbols = NULL
    check(api.CastTypeInfoToTensorInfo(type_info, &info))
    check(api.GetTensorElementType(info, &element_type))
    check(api.GetDimensionsCount(info, &rank))
    facts = make_type_facts(name, word, f"{word}({onnx_word(element_type)})")
    facts.is_sparse, facts.data_type = word == "sparse_tensor", numpy_word(element_type)
    facts.has_shape = rank > 0 if api_version < 24 else bool(api.TensorTypeAndShape_HasShape(info))
    if facts.has_shape:
        dims = <int64_t*>malloc((rank + 1) * sizeof(int64_t))
        symbols = <const char**>malloc((rank + 1) * sizeof(char*))
        try:
            if dims == NULL or symbols == NULL:
                raise MemoryError()
            check(api.GetDimensions(info, dims, rank))
            check(api.GetSymbolicDimensions(info, symbols, rank))
            facts.shape = tuple([dims[i] for i in range(rank)])
            facts.symbolic_shape = tuple([symbols[i].decode("utf-8", "replace") for i in range(rank)])
        finally:
            free(dims)
            free(symbols)
    return facts


cdef TypeFacts facts_of_sequence_element(const OrtTypeInfo* type_info):
    cdef const OrtSequenceTypeInfo* sequence = NULL
    cdef OrtTypeInfo* element = NULL
    check(api.CastTypeInfoToSequenceTypeInfo(type_info, &sequence))
    check(api.GetSequenceElementType(sequence, &element))
    live_handles.type_info += 1
    return take_type_info(element)


cdef TypeFacts facts_of_optional_element(const OrtTypeInfo* type_info):
    cdef const OrtOptionalTypeInfo* contained = NULL
    cdef OrtTypeInfo* element = NULL
    check(api.CastTypeInfoToOptionalTypeInfo(type_info, &contained))
    check(api.GetOptionalContainedTypeInfo(contained, &element))
    live_handles.type_info += 1
    return take_type_info(element)


cdef TypeFacts facts_of_map(const OrtTypeInfo* type_info, str name, str word):
    cdef const OrtMapTypeInfo* map_info = NULL
    cdef ONNXTensorElementDataType key_type = ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED
    cdef OrtTypeInfo* type_of_value = NULL
    cdef TypeFacts facts, value
    check(api.CastTypeInfoToMapTypeInfo(type_info, &map_info))
    check(api.GetMapKeyType(map_info, &key_type))
    check(api.GetMapValueType(map_info, &type_of_value))
    live_handles.type_info += 1
    value = take_type_info(type_of_value)
    facts = make_type_facts(name, word, f"map({onnx_word(key_type)},{value.type})")
    facts.key_type, facts.value = numpy_word(key_type), value
    return facts


cdef TypeFacts take_type_info(OrtTypeInfo* type_info, str name=""):
    try:
        return type_facts(type_info, name)
    finally:
        live_handles.type_info -= 1
        api.ReleaseTypeInfo(type_info)


# --- what the call path reads ---------------------------------------------------------------------------------------

cdef enum:
    SMALL_OUTPUT = 16 << 10  # bytes


cdef int fill_slot(Slot* slot, bytes name, TypeFacts facts) except -1:
    """Fill one slot from its facts; `name` and the slot's dims stay with the Signature."""
    slot.name = PyBytes_AS_STRING(name)
    slot.element_type = slot.tensor_type = ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED
    cdef TypeFacts tensor
    slot.required = facts.onnx_type != "optional"
    slot.rank = -1
    slot.dims = NULL
    slot.is_small = False
    tensor = facts if slot.required else facts.element  # an optional input takes a plain tensor
    if tensor.onnx_type != "tensor":
        return 0
    for number, _, word, bits, _ in ELEMENT_TYPE_ROWS:
        if word == tensor.data_type:
            slot.tensor_type = <ONNXTensorElementDataType><int>number
            if bits >= 8:
                slot.element_type = slot.tensor_type
    shape = tensor.shape
    if shape is not None:
        slot.dims = <int64_t*>malloc((len(shape) + 1) * sizeof(int64_t))
        if slot.dims == NULL:
            raise MemoryError()
        slot.rank = <int>len(shape)
        for i, size in enumerate(shape):
            slot.dims[i] = size
        if has_fixed_shape(slot):
            size = element_types[<int>slot.element_type].item_size * math.prod(shape)
            slot.is_small = slot.required and 0 < size <= SMALL_OUTPUT
    return 0


cdef inline bint has_fixed_shape(const Slot* slot) noexcept:
    """Whether it is a tensor of one shape only, whose elements lie as in numpy."""
    cdef int i
    if slot.element_type == ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED or slot.rank < 0:
        return False
    for i in range(slot.rank):
        if slot.dims[i] < 0:
            return False
    return True


cdef void release_kept(KeptValue* kept) noexcept:
    if kept != NULL:
        if kept.handle != NULL:
            api.ReleaseValue(kept.handle)
        free(kept)


@cython.final
cdef class Signature:
    """The inputs (followed by the overridable initializers) or the outputs of a model."""

    def __cinit__(self):
        self.slots = NULL
        self.c_names = NULL
        self.count = 0
        self.apart = NULL
        self.apart_count = 0
        self.born = fork_generation

    def __dealloc__(self):
        cdef Py_ssize_t i
        for i in range(self.count):
            free(self.slots[i].dims)
            if self.born == releasing_generation:
                release_kept(self.slots[i].kept)
        free(self.slots)
        free(self.c_names)
        free(self.apart)

    cdef int find(self, object name) except -2:
        """Return the index of a name, or -1."""
        cdef PyObject* found = PyDict_GetItemWithError(self.index_of, name)
        return <int><object>found if found != NULL else -1

    cdef Py_ssize_t index(self, name_or_index, str function, Py_ssize_t first, Py_ssize_t end) except -1:
        """Return the index of one of the slots from `first` to `end`, by name or by position among these."""
        names = self.names[first:end]
        if isinstance(name_or_index, str):
            name_or_index = plain_text(name_or_index)
            if name_or_index in names:
                return self.index_of[name_or_index]
        else:
            try:
                position = operator.index(name_or_index)
            except TypeError:
                position = None
            if position is None or isinstance(name_or_index, bool):
                raise InvalidType(f"{function}: got {shown(name_or_index)}; expected a name or a position")
            if 0 <= position < end - first:
                return first + position
        if not names:
            raise InvalidArgument(f"{function}: got {shown(name_or_index)}, but the model has none of these")
        raise InvalidArgument(
            f"{function}: got {shown(name_or_index)}; expected a position below {end - first} or one of "
            f"{', '.join(names)}{nearest(name_or_index, names)}")

    def __repr__(self):
        return f"<Signature {', '.join(self.names)}>"


cdef Signature make_signature(list facts, Py_ssize_t initializers, str kind, list native_names=None):
    """Make a Signature of facts, the last `initializers` of which are overridable initializers.

    `native_names` are what ORT calls them, if that is something else.
    """
    cdef Signature signature = Signature.__new__(Signature)
    cdef TypeFacts held
    cdef Py_ssize_t i, count = len(facts)
    signature.kind = kind
    signature.facts = tuple(facts)
    signature.names = tuple([sys.intern((<TypeFacts>of_one).name) for of_one in facts])
    encoded = [name.encode("utf-8", "surrogateescape") for name in native_names or signature.names]
    signature.encoded_names = tuple(encoded)
    signature.index_of = {name: i for i, name in enumerate(signature.names)}
    signature.nested = {}
    signature.initializers = initializers
    signature.required = 0
    signature.slots = <Slot*>malloc((count + 1) * sizeof(Slot))
    signature.c_names = <const char**>malloc((count + 1) * sizeof(char*))
    if signature.slots == NULL or signature.c_names == NULL:
        raise MemoryError()
    for i in range(count):
        signature.slots[i].dims = NULL
        signature.slots[i].kept = NULL
        signature.count = i + 1  # __dealloc__ frees so many
        fill_slot(&signature.slots[i], signature.encoded_names[i], facts[i])
        if i >= count - initializers:
            signature.slots[i].required = False
        signature.required += signature.slots[i].required
        signature.c_names[i] = signature.slots[i].name
        held = facts[i]
        if held.onnx_type == "optional":
            held = held.element
        if held.onnx_type == "sequence":
            signature.nested[i] = make_signature([held.element], 0, kind)
    return signature


cdef list value_infos(Signature signature):
    return [value_info(facts) for facts in signature.facts]


ctypedef OrtStatus* (*CountFunction)(const OrtSession*, size_t*) noexcept nogil
ctypedef OrtStatus* (*NameFunction)(const OrtSession*, size_t, OrtAllocator*, char**) noexcept nogil
ctypedef OrtStatus* (*TypeInfoFunction)(const OrtSession*, size_t, OrtTypeInfo**) noexcept nogil


cdef list facts_of_session(
        const OrtSession* session, CountFunction get_count, NameFunction get_name, TypeInfoFunction get_type_info):
    cdef size_t count = 0, i
    cdef char* name = NULL
    cdef OrtTypeInfo* type_info = NULL
    facts = []
    check(get_count(session, &count))
    for i in range(count):
        check(get_name(session, i, default_allocator, &name))
        decoded_name = take_string(name)
        check(get_type_info(session, i, &type_info))
        live_handles.type_info += 1
        facts.append(take_type_info(type_info, decoded_name))
    return facts


cdef Signature input_signature(const OrtSession* session):
    inputs = facts_of_session(
        session, api.SessionGetInputCount, api.SessionGetInputName, api.SessionGetInputTypeInfo)
    initializers = facts_of_session(
        session, api.SessionGetOverridableInitializerCount, api.SessionGetOverridableInitializerName,
        api.SessionGetOverridableInitializerTypeInfo)
    return make_signature(inputs + initializers, len(initializers), "input")


cdef TypeFacts zip_map_facts(zip_map):
    """Return what the model declares of a ZipMap's output."""
    cdef TypeFacts value = make_type_facts("", "tensor", "tensor(float)"), element
    key_type = "string" if isinstance(zip_map.labels[0], str) else "int64"
    value.data_type = "float32"
    element = make_type_facts("", "map", f"map({key_type},tensor(float))")
    element.key_type, element.value = key_type, value
    return make_type_facts(zip_map.output, "sequence", f"seq({element.type})", element)


cdef Signature output_signature(const OrtSession* session, tuple zip_maps):
    """Read the outputs; in place of the tensors behind `zip_maps` stands what the user sees."""
    outputs = facts_of_session(
        session, api.SessionGetOutputCount, api.SessionGetOutputName, api.SessionGetOutputTypeInfo)
    replaced = {zip_map.tensor: zip_map_facts(zip_map) for zip_map in zip_maps}
    native_names = [(<TypeFacts>facts).name for facts in outputs]
    return make_signature(
        [replaced.get(name, facts) for name, facts in zip(native_names, outputs)], 0, "output", native_names)
