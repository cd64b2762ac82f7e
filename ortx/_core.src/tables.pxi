# Option tables: what a user writes, read into frozen objects that the rest of the core can trust.
#
# A table is given as a mapping, as keyword arguments, or both (keywords win). Each class of options lists its fields
# with a reader, which returns the value as the core wants it, or refuses it. Everything is read before anything native
# happens, so a refused option changes nothing. Readers of what few sessions are given are Python modules of their own.

# --- what the tables have in common ---------------------------------------------------------------------------------

@cython.final
cdef class Field:
    """What a class of tables says of one field: its `reader`, and the `default` that holds otherwise.

    A reader returns what a user gave as the core wants it, or raises `Refusal`.
    """

    def __get__(self, table, class_):
        return self.default  # nothing else was given, or the table's own dictionary would have had it


def option(reader: Callable[[object], Any], default: Any) -> Any:
    """Declare one field of a class of options. None, given as a value, stands for the default."""
    cdef Field made = Field.__new__(Field)
    made.reader, made.default = reader, default
    return made


# `dataclasses` would do, but writes and compiles methods anew for forty fields, in each process, which takes longer
# than opening a small session.

class Table:
    """A frozen object whose class lists its fields."""

    fields: ClassVar[dict[str, Field]] = {}

    @classmethod
    def __init_subclass__(cls) -> None:
        cls.fields = {name: value for name, value in vars(cls).items() if isinstance(value, Field)}

    def __init__(self, **values: Any) -> None:
        unknown = values.keys() - self.fields.keys()
        if unknown:
            raise TypeError(f"{type(self).__name__} has no field {', '.join(sorted(unknown))}")
        self.__dict__.update(values)

    def replace(self, **changes: Any) -> Self:
        """Return a table with other values in some fields."""
        return type(self)(**{**self.__dict__, **changes})

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"cannot assign to {name!r}: a {type(self).__name__} is frozen")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"cannot delete {name!r}: a {type(self).__name__} is frozen")

    def _values(self) -> tuple[object, ...]:
        return tuple([getattr(self, name) for name in self.fields])

    def __eq__(self, other: object) -> bool:
        return self._values() == other._values() if type(other) is type(self) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._values())

    def __repr__(self) -> str:
        shown_values = [f"{name}={getattr(self, name)!r}" for name in self.fields]
        return f"{type(self).__name__}({', '.join(shown_values)})"


# --- readers --------------------------------------------------------------------------------------------------------

def read_boolean(value: object) -> bool:
    if not isinstance(value, bool):
        raise Refusal("True or False", OptionTypeError)
    return value


def integer_reader(minimum: int, maximum: int, meaning: str = "") -> Callable[[object], int]:
    expected = f"an integer from {minimum} to {maximum}{meaning}"

    def read(value: object) -> int:
        if isinstance(value, bool):
            raise Refusal(expected, OptionTypeError)
        try:
            number = operator.index(value)
        except TypeError:
            raise Refusal(expected, OptionTypeError) from None
        if not minimum <= number <= maximum:
            raise Refusal(expected)
        return number

    return read


def read_text(value: object) -> str:
    if not isinstance(value, str):
        raise Refusal("a string", OptionTypeError)
    if "\0" in value:
        raise Refusal("a string without a NUL character")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise Refusal("a string that can be encoded as UTF-8 (it holds a lone surrogate)") from None
    return str.__str__(value)  # of a subclass, such as numpy's string, the plain text


def read_path(value: object) -> str:
    """Take a file name; unlike `read_text` it may hold what the file system allows."""
    try:
        name = os.fspath(value)
    except TypeError:
        name = None
    if not isinstance(name, str):
        raise Refusal("a path as str or os.PathLike", OptionTypeError)
    if not name or "\0" in name:
        raise Refusal("a path that is not empty and has no NUL character")
    try:
        os.fsencode(name)
    except UnicodeEncodeError:
        raise Refusal("a path that the file system can have (it holds a lone surrogate)") from None
    return str.__str__(name)


def choice_reader(words: Collection[str]) -> Callable[[object], str]:
    expected = "one of " + ", ".join(map(repr, words))

    def read(value: object) -> str:
        if not isinstance(value, str):
            raise Refusal(expected, OptionTypeError)
        if value not in words:
            raise Refusal(expected, hint=nearest(value, words))
        return str.__str__(value)  # of an enumeration's member, the plain text

    return read


def read_anything(value: object) -> object:
    """Take what the core has a class for, and looks at itself."""
    return value


def leaf_reader(module: str, function: str) -> Callable[[object], Any]:
    """Return a reader that stands in a Python module, which is imported when the option is first given."""

    def read(value: object) -> Any:
        return getattr(importlib.import_module(f"ortx.{module}"), function)(value)

    return read


# How ONNX Runtime numbers them.
GRAPH_OPTIMIZATION_LEVELS = {"disable": 0, "basic": 1, "extended": 2, "layout": 3, "all": 99}
EXECUTION_MODES = {"sequential": 0, "parallel": 1}
PRESETS = ("latency", "throughput", "service")  # what each stands for is in presets.py

cdef object read_severity = integer_reader(0, 4, " (0 verbose, 1 info, 2 warning, 3 error, 4 fatal)")
cdef object read_run_severity = integer_reader(
    -1, 4, " (-1 the session's, 0 verbose, 1 info, 2 warning, 3 error, 4 fatal)")
cdef object read_verbosity = integer_reader(0, INT_MAX)
cdef object read_thread_count = integer_reader(0, INT_MAX, " (0: as many as the process may use)")


# --- the tables -----------------------------------------------------------------------------------------------------


class RuntimeConfiguration(Table):
    """What `ortx.configure` sets for the whole process."""

    log_severity_level: int = option(read_severity, 2)
    log_id: str = option(read_text, "ortx")
    use_global_thread_pools: bool = option(read_boolean, False)
    global_intra_op_num_threads: int = option(read_thread_count, 0)
    global_inter_op_num_threads: int = option(read_thread_count, 0)
    telemetry: bool = option(read_boolean, False)
    cpu_arena: tuple[tuple[str, int], ...] | None = option(leaf_reader("memoryoptions", "read_cpu_arena"), None)


class SessionOptions(Table):
    """What `ortx.session` and `ortx.session_from_bytes` take."""

    providers: tuple[Any, ...] = option(leaf_reader("providers", "read_providers"), ())
    provider: tuple[Any, ...] = option(leaf_reader("providers", "read_providers"), ())
    fallback_to_cpu: bool = option(read_boolean, True)
    preset: str | None = option(choice_reader(PRESETS), None)
    intra_op_num_threads: int = option(read_thread_count, 0)
    inter_op_num_threads: int = option(read_thread_count, 0)
    graph_optimization_level: str = option(choice_reader(GRAPH_OPTIMIZATION_LEVELS), "all")
    execution_mode: str = option(choice_reader(EXECUTION_MODES), "sequential")
    deterministic_compute: bool = option(read_boolean, False)
    disable_per_session_threads: bool = option(read_boolean, False)
    enable_cpu_mem_arena: bool = option(read_boolean, True)
    enable_mem_pattern: bool = option(read_boolean, True)
    use_env_allocators: bool = option(read_boolean, False)
    log_id: str = option(read_text, "")
    session_log_severity_level: int | None = option(read_severity, None)
    session_log_verbosity_level: int = option(read_verbosity, 0)
    optimized_model_path: str | None = option(read_path, None)
    profile_file_prefix: str | None = option(read_path, None)
    free_dimension_overrides: tuple[tuple[str, str, int], ...] = option(
        leaf_reader("modeloptions", "read_free_dimensions"), ()
    )
    config_entries: tuple[tuple[str, str], ...] = option(leaf_reader("config_keys", "read_session_entries"), ())
    custom_op_libraries: tuple[str, ...] = option(leaf_reader("modeloptions", "read_custom_op_libraries"), ())
    initializers: tuple[tuple[str, object], ...] = option(leaf_reader("modeloptions", "read_initializers"), ())
    prepacked_weights: object | None = option(read_anything, None)
    external_data: tuple[tuple[str, object], ...] = option(leaf_reader("memoryoptions", "read_external_data"), ())
    allow_external_data_outside_model_folder: bool = option(read_boolean, False)
    keep_model: bool = option(read_boolean, False)
    concurrent_runs: bool | None = option(read_boolean, None)
    fast_zip_map: bool = option(read_boolean, True)
    brief_runs_keep_gil: bool = option(read_boolean, True)
    max_concurrency: int = option(integer_reader(0, 1024, " (0: by the number of CPUs)"), 0)
    max_queued_runs: int = option(integer_reader(1, 2**31 - 1), 1024)
    coreml_compute_units: str | None = option(leaf_reader("coreml", "read_compute_units"), None)
    coreml_create_mlprogram: bool | None = option(read_boolean, None)
    coreml_require_static_input_shapes: bool | None = option(read_boolean, None)
    coreml_enable_on_subgraph: bool | None = option(read_boolean, None)
    coreml_flags: int | None = option(leaf_reader("coreml", "read_flags"), None)
    coreml_use_cpu_only: bool | None = option(read_boolean, None)
    coreml_use_cpu_and_gpu: bool | None = option(read_boolean, None)
    coreml_only_enable_device_with_ane: bool | None = option(read_boolean, None)


class RunOptionsTable(Table):
    """What `ortx.run_options` takes."""

    tag: str = option(read_text, "")
    log_severity_level: int = option(read_run_severity, -1)
    log_verbosity_level: int = option(read_verbosity, 0)
    shrink_memory_arena: tuple[str, ...] = option(leaf_reader("memoryoptions", "read_shrinking_devices"), ())


# --- reading --------------------------------------------------------------------------------------------------------


def read_table(
    options_class: type[Table],
    function: str,
    table: Mapping[str, object] | None,
    keywords: Mapping[str, object],
    defaults: Table | None = None,
) -> Any:
    """Read one option table, given as a mapping, as keywords, or both.

    Parameters
    ----------
    options_class
        One of the classes above.
    function
        Whose options these are, for messages: ``"ortx.session"``.
    table, keywords
        The two forms; a keyword wins over the mapping's entry of the same name.
    defaults
        What holds where neither says anything; otherwise the class's own defaults do.

    Raises
    ------
    OptionError, OptionTypeError
        For an unknown name, with the nearest valid one, or a value that is not allowed. Nothing was changed.
    """
    read = read_fields(options_class.fields, function, together(function, table, keywords))
    return options_class(**read) if defaults is None else defaults.replace(**read)


def changed(before: Table, after: Table) -> list[str]:
    """Return the names of the options in which two tables of one class differ."""
    return [name for name in before.fields if getattr(before, name) != getattr(after, name)]


cdef dict together(function, table, keywords):
    """Return the two forms of a table as one."""
    if table is not None and not isinstance(table, Mapping):
        raise OptionTypeError(
            f"{function}: options: got {shown(table)}; expected a mapping from option names to values")
    return {**({} if table is None else table), **keywords}


cdef dict read_fields(dict fields, function, dict given):
    cdef Field field
    values = {}
    for name, value in given.items():
        field = fields.get(name)
        if field is None:
            valid = ", ".join(fields)
            raise OptionError(
                f"{function}: unknown option {shown(name, quote=True)}{nearest(name, fields)} (valid: {valid})")
        try:
            values[name] = field.default if value is None else field.reader(value)
        except Refusal as refusal:
            raise refusal.raised_for(function, name, value) from None
    return values


def read_session_options(
    function: str, table: Mapping[str, object] | None, keywords: Mapping[str, object]
) -> SessionOptions:
    """Read a table of session options, and see that they fit each other; the preset fills in what was not given."""
    given = together(function, table, keywords)
    options = read_table(SessionOptions, function, given, {})
    if options.preset is not None:
        from . import presets
        names = [name for name, value in given.items() if value is not None]
        filled = presets.besides(options.preset, names, options.config_entries, options.disable_per_session_threads)
        options = options.replace(**filled)
    if options.provider and options.providers and options.provider != options.providers:
        raise OptionError(f"{function}: options 'provider' and 'providers' are two names for one thing; give one")
    if options.provider:
        options = options.replace(providers=options.provider, provider=())
    if options.use_env_allocators and not options.enable_cpu_mem_arena:
        raise OptionError(
            f"{function}: options 'use_env_allocators' and enable_cpu_mem_arena=False contradict each other")
    if options.external_data and options.initializers:
        raise OptionError(
            f"{function}: options 'initializers' and 'external_data' cannot go together: an array in place of a weight "
            "has to be compared with what the model holds, in its file")
    coreml_fields = coreml_options(options)
    if coreml_fields or "CoreMLExecutionProvider" in [provider.name for provider in options.providers]:
        options = with_coreml_options(function, options, coreml_fields)
    return options


def coreml_options(options: SessionOptions) -> dict[str, object]:
    """Return the CoreML fields that were given."""
    given = vars(options).items()  # what is not there has its default, which is None for these
    return {name: value for name, value in given if name.startswith("coreml_") and value is not None}


cdef object with_coreml_options(function, options, dict fields):
    """Turn the CoreML fields into options of the CoreML provider."""
    from . import coreml, providers
    coreml.check_used(fields, providers.names(options.providers, with_cpu=True), function=function)
    settings = coreml.resolve(fields, function=function)
    changed_providers = []
    for provider in options.providers:
        if provider.name == "CoreMLExecutionProvider":
            merged = coreml.merge(dict(provider.options), settings, function=function)
            provider = provider._replace(options=tuple(merged.items()))
        changed_providers.append(provider)
    return options.replace(providers=tuple(changed_providers))
