# ortx.Optional: a value that may be missing, with its type.

@cython.final
@cython.binding(True)
cdef class Optional:
    """A value for an input of an optional type, or the lack of one; make one with `ortx.optional`.

    In `Session.run` and `Session.run_into` an empty one counts as if the input were left out, and one with a value as
    that value. Immutable.
    """

    def __init__(self):
        raise TypeError("Optional cannot be made directly; use ortx.optional(value, type_info)")

    @property
    def value(self) -> object:
        """The value; None if there is none."""
        return self.content

    @property
    def type_info(self) -> ValueInfo | str | None:
        """What the type was given as."""
        return self.declared

    @property
    def has_value(self) -> bool:
        """Whether there is a value."""
        return self.content is not None

    def __repr__(self):
        content = "empty" if self.content is None else shown(self.content, quote=True)
        return f"<ortx.Optional {content}{'' if self.declared is None else f' of {self.type_word()}'}>"

    cdef str type_word(self):
        return self.declared if isinstance(self.declared, str) else self.declared.type


@cython.binding(True)
def optional(value: object | None = None, type_info: ValueInfo | str | None = None) -> Optional:
    """Make a value for an input of an optional type, or an empty one.

    Parameters
    ----------
    value : object, optional
        What the input takes otherwise; None for no value.
    type_info : ValueInfo or str, optional
        The type of the input, such as ``session.input_info("x")`` or ``"optional(tensor(float))"``. If given, a run
        sees that it is the one that the model declares.

    Returns
    -------
    Optional

    Raises
    ------
    InvalidType
        If `type_info` is none of these.

    Notes
    -----
    Nothing native is made: ONNX Runtime takes an optional input that is left out for an empty one.
    """
    from .valueinfo import ValueInfo
    if type_info is not None and not isinstance(type_info, (str, ValueInfo)):
        raise InvalidType(
            f"optional: type_info: got {shown(type_info)}; expected what session.input_info(name) returns, or ONNX's "
            "spelling of a type")
    cdef Optional made = Optional.__new__(Optional)
    made.content, made.declared = value, type_info
    if isinstance(value, Optional):
        made.content = value.value
        made.declared = value.type_info if type_info is None else type_info
    return made


cdef str optional_problem(Optional optional, TypeFacts info):
    """Say why an optional does not go with an input of that type, or return None."""
    if optional.declared is None or optional.type_word() == info.type:
        return None
    if info.onnx_type == "optional" and optional.type_word() == info.element.type:
        return None
    return f"got an ortx.Optional of {optional.type_word()}; expected {info.type}"


cdef bint is_left_out(value, TypeFacts info) except -1:
    """Whether an input that need not be given is given as None, or as an empty optional of its type."""
    if isinstance(value, Optional):
        return (<Optional>value).content is None and optional_problem(value, info) is None
    return value is None
