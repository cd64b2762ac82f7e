# ortx.Session: run, look at, close.

@cython.final
@cython.binding(True)
cdef class Session:
    """A loaded model, ready to run; make one with `ortx.session` or `ortx.session_from_bytes`.

    It owns an ``OrtSession``. Any number of threads may use one session at the same time. It is closed by `close`, at
    the end of a ``with`` block, or when the last reference goes; outputs outlive it.
    """

    def __cinit__(self):
        self.is_closed = self.is_forked = False
        self.drained, self.queue = NULL, NULL
        self.born = fork_generation
        enlist(self)

    def __init__(self):
        raise TypeError("Session cannot be made directly; use ortx.session(path) or ortx.session_from_bytes(model)")

    def __dealloc__(self):
        delist(self)
        if self.drained != NULL:
            PyThread_free_lock(self.drained)
        abandon_queue(self.queue)

    # --- run ---

    def run(
            self, inputs: Mapping[str, object] | Sequence[object], output_names: Sequence[str] | None = None,
            run_options: RunOptions | None = None, *, timeout: float | None = None) -> Outputs:
        """Run the model and return the outputs.

        Parameters
        ----------
        inputs : mapping or sequence
            The inputs by name, or in the model's order, going on into overridable initializers. Each is a numpy array
            of exactly the declared element type, anything that exports a buffer, ``__array__`` or ``__dlpack__``, or a
            list or scalar, which takes the declared element type if that loses nothing. Arrays are not copied, unless
            they are not C-contiguous or not aligned: then once. They may not be changed while the model runs.
        output_names : sequence of str, optional
            Which outputs to compute, in which order; all by default.
        run_options : RunOptions, optional
            From `ortx.run_options`.
        timeout : float, optional
            Seconds after which the run is ended, between two kernels; ``math.inf``: never. In the main thread the
            handlers of signals are then called while it waits.

        Returns
        -------
        Outputs
            numpy arrays over the memory that ONNX Runtime has written into; no copy. They outlive the session. An
            optional output without a value is None.

        Raises
        ------
        CallError
            If inputs or outputs do not fit the model; it lists everything that is wrong, and nothing was run.
        SessionClosed
            If the session is closed.
        RunTimeout, RunCancelled
            If the run was ended by `timeout`, or by ``run_options.terminate()``.
        InvalidType, InvalidArgument
            If `timeout` is no number of seconds, or less than 0.
        KeyboardInterrupt
            If Ctrl-C has ended it, in the main thread.
        Error
            If the model fails while it runs.

        Notes
        -----
        The model runs without the GIL. Safe to call from any thread. Stands for ``Run``.
        """
        cdef Frame frame
        if timeout is not None:
            return run_with_timeout(self, inputs, output_names, run_options, timeout)
        if self.is_closed:
            self.opened()  # raises
        cdef const OrtRunOptions* native_options = native_run_options(run_options)
        cdef tuple names = None if output_names is None else names_argument(self.inputs, output_names)
        outputs_count = self.outputs.count if names is None else PyTuple_GET_SIZE(names)
        frame_open(&frame, self.inputs.count, outputs_count)
        try:
            outputs = marshal_run("run", &frame, self, inputs, names)
            run_frame(self, &frame, native_options)
            return counted_outputs(&frame, outputs, self)
        finally:
            frame_close(&frame)

    def run_into(
            self, inputs: Mapping[str, object] | Sequence[object], outputs: Mapping[str, object] | Sequence[object],
            run_options: RunOptions | None = None, *, timeout: float | None = None) -> Outputs:
        """Run the model and write the outputs into buffers of the caller's.

        Parameters
        ----------
        inputs : mapping or sequence
            As for `run`.
        outputs : mapping or sequence
            The buffers by output name, or in the model's order: writable, C-contiguous, aligned numpy arrays (or
            whatever exports such a buffer) of exactly the declared element type and the shape that the run produces;
            None where ONNX Runtime is to allocate. No two may share memory, nor an output with an input. Only these
            outputs are computed.
        run_options, timeout
            As for `run`.

        Returns
        -------
        Outputs
            The very objects that were given; arrays as from `run` in place of None.

        Raises
        ------
        CallError
            If inputs or outputs do not fit the model; it lists everything that is wrong, and nothing was run.
        SessionClosed, RunTimeout, RunCancelled
            As for `run`.
        Error
            If the model fails while it runs, for example because an output has another shape than its buffer.

        Notes
        -----
        The model runs without the GIL. Safe to call from any thread. Stands for ``Run`` with preallocated outputs.
        """
        cdef Frame frame
        if timeout is not None:
            return run_into_with_timeout(self, inputs, outputs, run_options, timeout)
        if self.is_closed:
            self.opened()  # raises
        cdef const OrtRunOptions* native_options = native_run_options(run_options)
        frame_open(&frame, self.inputs.count, self.outputs.count)
        try:
            results = marshal_run_into(&frame, self.inputs, self.outputs, inputs, outputs)
            run_frame(self, &frame, native_options)
            return counted_outputs(&frame, results, self)
        finally:
            frame_close(&frame)

    def run_with_iobinding(
            self, binding: IOBinding, run_options: RunOptions | None = None, *,
            timeout: float | None = None) -> Outputs:
        """Run the model on what is bound.

        Parameters
        ----------
        binding : IOBinding
            From `create_io_binding` of this session.
        run_options, timeout
            As for `run`.

        Returns
        -------
        Outputs
            In the order they were bound: the very objects that were bound; arrays as from `run` where ONNX Runtime
            allocates.

        Raises
        ------
        CallError
            If an input is missing, or no output is bound.
        InvalidType, InvalidArgument
            If `binding` is none, or one of another session.
        SessionClosed, RunTimeout, RunCancelled, Error
            As for `run`; `Error` also if another thread is using the binding.

        Notes
        -----
        The model runs without the GIL. Stands for ``RunWithBinding``.
        """
        return run_binding(self, binding, run_options, timeout)

    async def run_async(
            self, inputs: Mapping[str, object] | Sequence[object], output_names: Sequence[str] | None = None,
            run_options: RunOptions | None = None, *, timeout: float | None = None) -> Outputs:
        """Run the model while the event loop does other things.

        Takes `inputs`, `output_names`, `run_options` and `timeout`, returns and raises as `run` does. At most as many
        runs go on at once as the option ``max_concurrency`` says; the others wait for their turn, in order. `timeout`
        counts from the first step on. If the task is cancelled, the run is ended as by a timeout, and has ended when
        the task has. Inputs may not be changed until then. For asyncio and loops like it; any number of them, in any
        threads. Replaces ``RunAsync``.
        """
        return await _run_awaited(self, None, inputs, output_names, run_options, timeout)

    def submit(
            self, inputs: Mapping[str, object] | Sequence[object], output_names: Sequence[str] | None = None,
            run_options: RunOptions | None = None) -> Future[Outputs]:
        """Begin to run the model, and return at once.

        Parameters
        ----------
        inputs, output_names, run_options
            As for `run`. The inputs may not be changed until the run has ended.

        Returns
        -------
        concurrent.futures.Future
            Its result is the `Outputs`, or the `Error` with which the model failed. It cannot be cancelled;
            ``run_options.terminate()`` ends the run. What is given to ``add_done_callback`` is called on a thread of
            ortx's own, one after another: it should be short, and must not wait for another run's future.

        Raises
        ------
        CallError, SessionClosed
            As for `run`.

        Notes
        -----
        At most ``max_concurrency`` runs go on at once. If ``max_queued_runs`` others wait already, this waits, too.
        Safe to call from any thread. `close`, and the end of the process, wait for the run. Replaces ``RunAsync``.
        """
        return submit_run(self, inputs, output_names, run_options)

    def create_io_binding(self) -> IOBinding:
        """Make a binding, with nothing bound yet.

        Any number of bindings may be used at the same time, one per thread. Raises `SessionClosed` if the session is
        closed. Stands for ``CreateIoBinding``.
        """
        return make_io_binding(self)

    cdef inline NativeSession start_call(self):
        """Count a native call that `close` will wait for. No Python code may run until `end_call`."""
        if self.is_closed:
            self.opened()
        self.running_calls += 1
        return self.native

    cdef inline NativeSession opened(self):
        """Return the native session, which lives as long as the reference is held."""
        if self.is_closed:
            refuse_call(self)
        return self.native

    cdef inline void end_call(self) noexcept:
        self.running_calls -= 1
        if self.running_calls == 0 and self.drained != NULL:
            PyThread_release_lock(self.drained)

    # --- look at ---

    def input_names(self) -> tuple[str, ...]:
        """Return the names of the inputs, in the model's order. Stands for ``SessionGetInputName``."""
        return self.inputs.names[:self.input_count()]

    def output_names(self) -> tuple[str, ...]:
        """Return the names of the outputs, in the model's order. Stands for ``SessionGetOutputName``."""
        return self.outputs.names

    def overridable_initializer_names(self) -> tuple[str, ...]:
        """Return the names of the initializers that a call may override, in the model's order.

        Stands for ``SessionGetOverridableInitializerName``.
        """
        return self.inputs.names[self.input_count():]

    def input_count(self) -> int:
        """Return the number of inputs, overridable initializers not counted. Stands for ``SessionGetInputCount``."""
        return self.inputs.count - self.inputs.initializers

    def output_count(self) -> int:
        """Return the number of outputs. Stands for ``SessionGetOutputCount``."""
        return self.outputs.count

    def overridable_initializer_count(self) -> int:
        """Return the number of overridable initializers. Stands for ``SessionGetOverridableInitializerCount``."""
        return self.inputs.initializers

    def input_info(self, name_or_index: str | int) -> ValueInfo:
        """Return what the model declares of an input, found by name or position.

        Raises `InvalidArgument` for a `name_or_index` that the model does not have. Stands for
        ``SessionGetInputTypeInfo``.
        """
        return value_info(self.inputs.facts[self.inputs.index(name_or_index, "input_info", 0, self.input_count())])

    def output_info(self, name_or_index: str | int) -> ValueInfo:
        """Return what the model declares of an output, found by name or position.

        Raises `InvalidArgument` for a `name_or_index` that the model does not have. Stands for
        ``SessionGetOutputTypeInfo``.
        """
        return value_info(self.outputs.facts[self.outputs.index(name_or_index, "output_info", 0, self.outputs.count)])

    def overridable_initializer_info(self, name_or_index: str | int) -> ValueInfo:
        """Return what the model declares of an overridable initializer, found by name or position.

        Raises `InvalidArgument` for a `name_or_index` that the model does not have. Stands for
        ``SessionGetOverridableInitializerTypeInfo``.
        """
        first = self.input_count()
        index = self.inputs.index(name_or_index, "overridable_initializer_info", first, self.inputs.count)
        return value_info(self.inputs.facts[index])

    def memory_info_for_inputs(self) -> Outputs:
        """Return a `MemoryInfo` per input, by position and by name: where the session wants it.

        Raises `SessionClosed` if the session is closed, and `NotSupported` before ONNX Runtime 1.23. Stands for
        ``SessionGetMemoryInfoForInputs``.
        """
        require_version(23, "memory_info_for_inputs")
        return memory_infos(self.opened(), api.SessionGetMemoryInfoForInputs, self.input_names())

    def memory_info_for_outputs(self) -> Outputs:
        """Return a `MemoryInfo` per output, by position and by name: where the session puts it.

        Raises `SessionClosed` if the session is closed, and `NotSupported` before ONNX Runtime 1.23. Stands for
        ``SessionGetMemoryInfoForOutputs``.
        """
        require_version(23, "memory_info_for_outputs")
        return memory_infos(self.opened(), api.SessionGetMemoryInfoForOutputs, self.output_names())

    def allocator_stats(self) -> dict[str, dict[str, Any]]:
        """Return what the session's allocators say of themselves, by device: ``{"cpu:0": {"InUse": 0, ...}}``.

        Names and numbers are ONNX Runtime's: bytes, or how often something happened. Without an arena nobody counts,
        and there are none. Raises `SessionClosed` if the session is closed, and `NotSupported` before ONNX Runtime
        1.23. Safe to call from any thread. Stands for ``AllocatorGetStats``.
        """
        return allocator_stats(self.opened(), <size_t>self.input_count(), <size_t>self.outputs.count)

    def providers(self) -> tuple[str, ...]:
        """Return the execution providers that the session was made with, best first; the CPU is always last.

        It says what really runs: a provider that could not be used is not in it.
        """
        return self.provider_names

    def options(self) -> dict[str, Any]:
        """Return the options in effect: those of `ortx.session`, all of them, as they were resolved.

        Numbers of threads are real ones, providers are those of `providers` with their options, and what was left to
        its default is there. The result is a new dictionary, which `ortx.session` takes.
        """
        from . import options_in_effect
        return options_in_effect.as_table(options_in_effect.with_cpu(table_in_effect(self)))

    def stats(self) -> Stats:
        """Return what the session has done since it was opened, in whatever way it was run, as a `Stats`.

        Counting costs a run some ten instructions. Callable from any thread, also of a closed session.
        """
        return session_stats(self)

    def metadata(self) -> Metadata:
        """Return what the model's author wrote into it, as a `Metadata`.

        Raises `SessionClosed` if the session is closed. Stands for ``SessionGetModelMetadata``.
        """
        return model_metadata(self.opened())

    # --- profile and tune ---

    def end_profiling(self) -> str:
        """Stop profiling, write the file and return its name.

        Raises `Error` if the session was not opened with ``profile_file_prefix``, or profiling has ended already,
        `NoSuchFile` if there is no file, since the folder cannot be written, `FileError` if the file is cut off, since
        the disk is full, and `SessionClosed` if the session is closed. Stands for ``SessionEndProfiling``.
        """
        return end_profile(self.opened(), self.source)

    def profiling_start_time_ns(self) -> int:
        """Return when profiling began, in nanoseconds of ONNX Runtime's clock; 0 if the session is not profiled.

        Raises `SessionClosed` if the session is closed. Stands for ``SessionGetProfilingStartTimeNs``.
        """
        cdef uint64_t start = 0
        cdef NativeSession native = self.opened()
        check(api.SessionGetProfilingStartTimeNs(native.handle, &start))
        return start

    def set_ep_dynamic_options(self, options: Mapping[object, object]) -> None:
        """Change options of the execution providers while the session is open.

        `options` are such as ``{"ep.dynamic.workload_type": "Efficient"}``. Keys and values are turned into strings,
        True and False into ``"1"`` and ``"0"``. The CPU provider takes any and heeds none. Raises `OptionError` or
        `OptionTypeError` if they are no mapping, or an empty one, or have a value that its key does not have,
        `SessionClosed` if the session is closed, and `Error` if a provider refuses. Stands for
        ``SetEpDynamicOptions``.
        """
        change_dynamic_options(self, options)

    def register_custom_op_library(self, path_or_library: str | os.PathLike[str] | CustomOpLibrary) -> None:
        """Open the model anew, with the session's options and one more library of custom operators.

        `path_or_library` is the library's file, or what `ortx.load_custom_op_library` returned. Runs in progress end on
        what was opened before. Bindings, dynamic options and memory that was returned stay good. If it fails, the
        session goes on as it was. A library that the session has already changes nothing.

        Raises `NoSuchFile`, `InvalidType` or `InvalidArgument` if there is no such file, `SessionClosed` if the session
        is closed, and `Error` if the library cannot be used, or if the model cannot be opened again: its file has
        changed, or it was opened from memory without ``keep_model=True``. Safe to call from any thread. Stands for
        ``RegisterCustomOpsLibrary_V2`` and ``CreateSession``.
        """
        add_custom_op_library(self, path_or_library)

    def __repr__(self):
        state = " (inherited by a fork)" if self.is_forked else " (closed)" if self.is_closed else ""
        return (f"<ortx.Session of {self.source}{state}: {', '.join(self.input_names())} -> "
                f"{', '.join(self.output_names())}>")

    # --- close ---

    @property
    def closed(self) -> bool:
        """Whether it takes no more calls: `close` was called, or this is a forked child and it is the parent's."""
        return self.is_closed

    @property
    def running(self) -> int:
        """Number of runs in progress at this moment, over all threads."""
        return self.running_calls + count_pending_runs(self)

    def close(self) -> None:
        """Wait for running calls and submitted runs to end, then release the native session.

        Calls that have not started yet raise `SessionClosed`. Closing twice is allowed; arrays that the session
        returned stay valid; names and counts can still be asked for. After a model of 1 MB or more, memory is given
        back to the system, as `trim_memory` does it. If Ctrl-C ends the wait, in the main thread, the session takes no
        calls either, nothing is released, and closing again waits again. Callable from any thread. Stands for
        ``ReleaseSession``.
        """
        self.is_closed = True
        wait_for_running_calls(self)
        wait_for_pending_runs(self)
        self.native = None
        self.table, self.given = without_weights(self.table), without_weights(self.given)
        emit_waiting_messages()

    cdef int adopt(self, NativeSession native) except -1:
        """Use another native session, with its options, from the next call on."""
        self.table_is_in_effect = False
        self.log_severity_level = current_configuration().log_severity_level
        self.provider_names = native.provider_names
        self.table = native.table  # after what goes with it: to let go of the old one may let another thread run
        self.generation += 1
        forget_both(&self.pace, &self.other_pace)
        self.allocates_small = ORT_ALLOCATES
        self.native = native
        return 0

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()
