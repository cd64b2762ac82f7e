# Copy and pickle. What has a native handle goes elsewhere as what it was made of, and is made anew there; what only
# looks into memory goes as that memory; what has a meaning in this process only is refused.
#
# `copyreg` is told how, and `pickle`, `copy` and what builds upon them (multiprocessing, joblib, cloudpickle) ask it.

def _open_again(path, content, options, dynamic_options) -> Session:
    """Open a session from its recipe."""
    from . import recipe
    table = recipe.as_given(options)
    made = session(path, table) if content is None else session_from_bytes(content.buffer, table)
    if dynamic_options:
        made.set_ep_dynamic_options(dynamic_options)
    return made


def _recipe_of_session(Session session) -> tuple[object, ...]:
    """Return how a session is made anew; an inherited one may well be asked."""
    if session.is_closed and not session.is_forked:
        refuse_call(session)
    from . import recipe
    content = None
    if session.had_external_data and not session.given.external_data:
        raise NotPicklable(
            f"the session of {session.source} cannot be copied or pickled: its external_data was let go when the "
            "session had been opened; open it with keep_model=True, or with the files")
    if session.path is None:
        if session.model is None:
            raise NotPicklable(
                f"the session of {session.source} cannot be copied or pickled: its model was let go when the session "
                "had been opened; open it with keep_model=True, or from a file")
        content = recipe.Content(session.model)
    return _open_again, (
        session.path, content, recipe.as_recipe(session.source, session.given), session.dynamic_options)


def _run_options_again(tag, log_severity_level, log_verbosity_level, entries, is_terminated) -> RunOptions:
    """Make run options from their recipe. Its entries were checked, and warned of, when they were added."""
    cdef RunOptions made = run_options(
        tag=tag, log_severity_level=log_severity_level, log_verbosity_level=log_verbosity_level)
    add_entries(made.handle, entries)
    made.entries = entries
    if is_terminated:
        made.terminate()
    return made


def _recipe_of_run_options(RunOptions options) -> tuple[object, ...]:
    return _run_options_again, (
        options.tag, options.log_severity_level, options.log_verbosity_level, options.entries,
        options.is_terminated())


def _outputs_again(names, values) -> Outputs:
    return make_outputs(names, values)


def _recipe_of_outputs(Outputs outputs) -> tuple[object, ...]:
    return _outputs_again, (outputs._names, outputs._values)


def _recipe_of_tensor(Tensor of) -> tuple[object, ...]:
    return tensor, (of.array,)


def _recipe_of_optional(Optional of) -> tuple[object, ...]:
    return optional, (of.content, of.declared)


def _recipe_of_library(CustomOpLibrary library) -> tuple[object, ...]:
    return load_custom_op_library, (library.file,)


def _refuse_binding(binding) -> Never:
    raise NotPicklable(
        "an ortx.IOBinding cannot be copied or pickled: what is bound is memory of this process; make another one with "
        "create_io_binding() of the session there")


def _refuse_weights(weights) -> Never:
    raise NotPicklable(
        "an ortx.PrepackedWeights cannot be copied or pickled: it is memory that sessions of this process share; make "
        "another one there")


for class_, recipe_of in {
        Session: _recipe_of_session, RunOptions: _recipe_of_run_options, Outputs: _recipe_of_outputs,
        Tensor: _recipe_of_tensor, Optional: _recipe_of_optional, CustomOpLibrary: _recipe_of_library,
        IOBinding: _refuse_binding, PrepackedWeights: _refuse_weights}.items():
    copyreg.pickle(class_, recipe_of)
del class_, recipe_of
