# A session's table of options: as it is opened with, in effect, and once it is closed.

cdef object with_threads(table):
    """Return the options with each number of threads that a session starts with in place of a 0."""
    if table.intra_op_num_threads and (table.inter_op_num_threads or table.execution_mode != "parallel"):
        return table  # to count the CPUs takes half as long as to import ortx
    return with_all_numbers(table)


cdef object with_all_numbers(table):
    """Return the options with numbers of threads in place of 0, the same table if there is none."""
    if table.intra_op_num_threads and table.inter_op_num_threads and table.max_concurrency:
        return table
    count = threads_or_default(0)
    intra = table.intra_op_num_threads or count
    of_a_run = intra
    if table.disable_per_session_threads:
        of_a_run = current_configuration().global_intra_op_num_threads or count
    return table.replace(
        intra_op_num_threads=intra, inter_op_num_threads=table.inter_op_num_threads or count,
        max_concurrency=table.max_concurrency or max(1, count // of_a_run))


cdef object table_in_effect(Session session):
    """Return the options of a session as it really runs: what was left open is made out when somebody asks."""
    table = session.table
    if session.table_is_in_effect:
        return table
    from . import options_in_effect
    complete = with_all_numbers(table)
    intra, inter, severity = (
        complete.intra_op_num_threads, complete.inter_op_num_threads, complete.session_log_severity_level)
    if table.disable_per_session_threads:
        process = current_configuration()
        intra = threads_or_default(process.global_intra_op_num_threads)
        inter = threads_or_default(process.global_inter_op_num_threads)
    made = options_in_effect.effective(
        complete, session.provider_names, intra_op_num_threads=intra, inter_op_num_threads=inter,
        session_log_severity_level=session.log_severity_level if severity is None else severity)
    if session.table is table:  # not opened anew meanwhile
        session.table, session.table_is_in_effect = made, True
    return made


cdef object without_what_was_for_opening(table, tuple libraries):
    """Return the options of a session that could be opened; what only opening it needed is let go of."""
    if table.external_data and not table.keep_model and not is_read_in_place(table):
        table = table.replace(external_data=())
    return table if libraries == table.custom_op_libraries else table.replace(custom_op_libraries=libraries)


cdef bint runs_concurrently(table, list appended) except -1:
    """Whether runs may overlap, with the providers that could be appended."""
    if table.concurrent_runs is None and not appended:
        return True
    from . import options_in_effect
    return options_in_effect.runs_concurrently(table, appended)


cdef object without_weights(table):
    """Return the options of a closed session: they are no reason to keep weights in memory."""
    if not table.initializers and table.prepacked_weights is None and not table.external_data:
        return table
    return table.replace(initializers=(), prepacked_weights=None, external_data=())
