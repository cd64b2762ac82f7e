# OrtSessionOptions, filled from an options table for the time it takes to make a session.

cdef int fill_session_options(OrtSessionOptions* native, str function, table) except -1:
    """Hand a `SessionOptions` table to ORT, option by option; `function` is whose options these are."""
    check(api.SetIntraOpNumThreads(native, threads_or_default(table.intra_op_num_threads)))
    if table.inter_op_num_threads or table.execution_mode == "parallel":
        check(api.SetInterOpNumThreads(native, threads_or_default(table.inter_op_num_threads)))
    if table.graph_optimization_level == "layout":
        require_version(23, "graph_optimization_level='layout'")
    level = GRAPH_OPTIMIZATION_LEVELS[table.graph_optimization_level]
    check(api.SetSessionGraphOptimizationLevel(native, <GraphOptimizationLevel><int>level))
    mode = EXECUTION_MODES[table.execution_mode]
    check(api.SetSessionExecutionMode(native, <ExecutionMode><int>mode))
    check(api.SetDeterministicCompute(native, table.deterministic_compute))
    if table.disable_per_session_threads:
        if not current_configuration().use_global_thread_pools:
            raise OptionError(
                f"{function}: option 'disable_per_session_threads': there are no global thread pools to use; make "
                "them with ortx.configure(use_global_thread_pools=True) before the first session")
        if env_born != fork_generation:  # with execution_mode="parallel" a run would wait for them for ever
            refuse_inherited(
                f"{function}: option 'disable_per_session_threads': the pair of global thread pools", env_born,
                "leave the option out, or fork before the first session is opened")
        check(api.DisablePerSessionThreads(native))
    check(api.EnableCpuMemArena(native) if table.enable_cpu_mem_arena else api.DisableCpuMemArena(native))
    if table.use_env_allocators:
        if current_configuration().cpu_arena is None:
            raise OptionError(
                f"{function}: option 'use_env_allocators': there is no arena to share; make it with "
                "ortx.configure(cpu_arena={}) before the first session")
        check(api.AddSessionConfigEntry(native, b"session.use_env_allocators", b"1"))
    refuse_inherited_arena(function, table)
    check(api.EnableMemPattern(native) if table.enable_mem_pattern else api.DisableMemPattern(native))
    log_id = table.log_id.encode()
    check(api.SetSessionLogId(native, PyBytes_AS_STRING(log_id)))
    if table.session_log_severity_level is not None:
        check(api.SetSessionLogSeverityLevel(native, table.session_log_severity_level))
    check(api.SetSessionLogVerbosityLevel(native, table.session_log_verbosity_level))
    if table.optimized_model_path is not None:
        path = native_path(table.optimized_model_path)
        check(api.SetOptimizedModelFilePath(native, path_characters(path)))
    if table.profile_file_prefix is not None:
        path = native_path(unique_prefix(table.profile_file_prefix))
        check(api.EnableProfiling(native, path_characters(path)))
    if table.config_entries:
        from . import config_keys
        config_keys.check_versions(table.config_entries, api_version, library_version, function=function)
        for key, value in table.config_entries:
            encoded_key, encoded_value = key.encode(), value.encode()
            check(api.AddSessionConfigEntry(
                native, PyBytes_AS_STRING(encoded_key), PyBytes_AS_STRING(encoded_value)))
    for by, key, size in table.free_dimension_overrides:
        encoded_key = key.encode()
        if by == "name":
            check(api.AddFreeDimensionOverrideByName(native, PyBytes_AS_STRING(encoded_key), size))
        else:
            check(api.AddFreeDimensionOverride(native, PyBytes_AS_STRING(encoded_key), size))
    return 0


cdef int refuse_inherited_arena(str function, table) except -1:
    """Refuse a shared arena that was made before a fork: a thread of the parent's may hold its lock for ever."""
    key = "session.use_env_allocators"
    by_entry = dict(table.config_entries).get(key) == "1" and current_configuration().cpu_arena is not None
    if (table.use_env_allocators or by_entry) and env_born != fork_generation:
        option = "'use_env_allocators'" if table.use_env_allocators else f"'config_entries'[{key!r}]"
        refuse_inherited(
            f"{function}: option {option}: the shared arena", env_born,
            "leave it out, or fork before the first session is opened")
    return 0


cdef dict uses_of_prefix = {}


cdef str unique_prefix(str prefix):
    """Return the prefix, with a number behind it from its second use on.

    ORT adds the time in milliseconds, which two sessions can have in common: they would write into one file.
    """
    uses_of_prefix[prefix] = uses_of_prefix.get(prefix, 0) + 1
    return prefix if uses_of_prefix[prefix] == 1 else f"{prefix}_{uses_of_prefix[prefix]}"


cdef int check_overrides(str function, overrides, model) except -1:
    """Refuse an override that the model has no dimension for; ORT says nothing about it.

    `model` is the content of the file. Looked for is how either format writes such a text, so a text that is something
    else in the model may be taken for it, but none that the model has is missed.
    """
    for position, (by, key, _) in enumerate(overrides):
        text = key.encode()
        tag = b"\x12" if by == "name" else b"\x1a"  # field 2 or 3 of TensorShapeProto.Dimension
        in_onnx = tag + varint(len(text)) + text
        in_ort = len(text).to_bytes(4, "little") + text + b"\0"
        if not re.search(re.escape(in_onnx) + b"|" + re.escape(in_ort), model):
            raise OptionError(
                f"{function}: option 'free_dimension_overrides'[{position}]['key']: the model has no dimension of the "
                f"{by} {key!r}")
    return 0


cdef bytes varint(Py_ssize_t number):
    """Write a number as protobuf does: seven bits a byte, the least first."""
    digits = bytearray()
    while number >= 0x80:
        digits.append(number & 0x7f | 0x80)
        number >>= 7
    digits.append(number)
    return bytes(digits)
