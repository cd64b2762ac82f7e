# OrtIoBinding: inputs and outputs bound once, run often.

@cython.final
@cython.binding(True)
cdef class IOBinding:
    """Inputs and outputs bound to a session; make one with `Session.create_io_binding`.

    What is bound stays bound, and is not copied: change an input in place and the next run sees it. It owns an
    ``OrtIoBinding`` and keeps the session and everything bound alive. One thread at a time may use it; another one that
    comes meanwhile gets an `Error`. An output may be bound to the memory of an input, which `Session.run_into` refuses:
    whether the model reads the one before it writes the other is for you to know.
    """

    def __cinit__(self):
        self.handle = NULL
        self.born = fork_generation
        self.busy = False

    def __init__(self):
        raise TypeError("IOBinding cannot be made directly; use Session.create_io_binding()")

    def __dealloc__(self):
        if self.handle != NULL and self.born == releasing_generation:
            live_handles.io_binding -= 1
            api.ReleaseIoBinding(self.handle)

    def bind_input(self, name: str, value: object) -> None:
        """Bind an input.

        Parameters
        ----------
        name : str
            Name of an input or overridable initializer.
        value : array, buffer, Tensor, list or scalar
            As for `Session.run`, but an array has to be C-contiguous and aligned: a copy would not see later changes.

        Raises
        ------
        CallError
            If the model has no such input or `value` does not fit it. What was bound before stays bound.

        Notes
        -----
        Stands for ``BindInput``.
        """
        self.session.opened()
        cdef Signature signature = self.session.inputs
        cdef int index = signature.find(plain_text(name)) if isinstance(name, str) else -1
        if index < 0:  # ORT would not only refuse it, but be unable to bind anything after it
            raise CallError(f"bind_input: {no_such_name(signature, name)}")
        admitted = admit_value(signature, index, value)
        if isinstance(admitted, str):
            raise CallError(f"bind_input: input {name!r}: {admitted}")
        if isinstance(admitted, numpy.ndarray) and is_copy_of_array(
                admitted, value.value if isinstance(value, Optional) else value):
            raise CallError(f"bind_input: input {name!r}: got an array that is not C-contiguous and aligned; bind "
                            "numpy.ascontiguousarray(array)")
        self.enter()
        try:
            bound = feed_of(admitted, signature.slots[index].element_type)
            check(api.BindInput(self.handle, signature.slots[index].name, bound.handle))
            self.bound_inputs[signature.names[index]] = bound
            self.changed_inputs()
        finally:
            self.leave()

    def bind_output(self, name: str, spec: object | None = None) -> Tensor | None:
        """Bind an output.

        Parameters
        ----------
        name : str
            Name of an output.
        spec : optional
            Where it goes. Nothing: ONNX Runtime allocates it in CPU memory, anew in every run. An array, buffer or
            `Tensor`: into that, as for `Session.run_into`. ``{"type": "float32", "shape": (1, 2)}``: into a new
            `Tensor`, which is returned. ``{"mode": "device"}``: ONNX Runtime allocates it where the model leaves it.

        Returns
        -------
        Tensor or None
            The new tensor, if one was made.

        Raises
        ------
        CallError
            If the model has no such output or the buffer does not fit it. What was bound before stays bound.
        InvalidArgument, InvalidType
            If `spec` is none of these.

        Notes
        -----
        Stands for ``BindOutput`` and ``BindOutputToDevice``.
        """
        self.session.opened()
        cdef Signature signature = self.session.outputs
        cdef int index = signature.find(plain_text(name)) if isinstance(name, str) else -1
        made = None
        if index < 0:
            raise CallError(f"bind_output: {no_such_name(signature, name)}")
        if self.session.passed_through is not None and self.session.inputs.find(signature.names[index]) >= 0:
            raise CallError(
                f"bind_output: output {signature.names[index]!r}: is an input that the model passes on; take it from "
                "there")
        if isinstance(spec, Mapping):
            if set(spec) == {"type", "shape"}:
                spec = made = make_tensor(new_array("bind_output", spec["type"], spec["shape"], None))
            elif dict(spec) == {"mode": "device"}:
                spec = None  # every provider that ortx appends so far leaves its outputs in CPU memory
            else:
                raise InvalidArgument(
                    f"bind_output: output {name!r}: got {shown(dict(spec))}; expected {{'type': ..., 'shape': ...}} or "
                    "{'mode': 'device'}")
        array = admit_output(signature, index, spec)
        if isinstance(array, str):
            raise CallError(f"bind_output: {array}")
        self.enter()
        try:
            buffer = self.bind_buffer(&signature.slots[index], array)
            # ORT keeps the place of a name that is bound again, and so does a dict.
            self.bound_outputs[signature.names[index]] = (spec, buffer)
            self.changed()
        finally:
            self.leave()
        return made

    def run(self, run_options: RunOptions | None = None, *, timeout: float | None = None) -> Outputs:
        """Run the session on what is bound; takes `run_options` and `timeout` as `Session.run_with_iobinding`."""
        if timeout is not None:
            return run_bound_with_timeout(self, run_options, timeout)
        return self.run_bound(run_options)

    async def run_async(
            self, run_options: RunOptions | None = None, *, timeout: float | None = None) -> Outputs:
        """Run the session on what is bound while the event loop does other things.

        Takes `run_options` and `timeout` as `Session.run_async`. The binding is in use until the run has ended.
        """
        return await _run_awaited(self.session, self, None, None, run_options, timeout)

    cdef Outputs run_bound(self, run_options):
        cdef OrtStatus* status
        cdef const OrtRunOptions* native_options = native_run_options(run_options)
        cdef Session session = self.session
        cdef NativeSession native
        if (self.busy or not self.complete or self.results is None or self.allocates or session.is_closed
                or self.generation != session.generation):
            return self.run_and_fetch(native_options)
        # As run_and_fetch, with nothing to fetch and nothing on the way that raises or runs Python code.
        self.busy = True
        native = session.start_call()
        status = self.call(native, native_options)
        native = None
        session.end_call()
        self.busy = False
        if status != NULL or log_is_busy:
            finish_run(session, status)
        session.counts.bytes_out += <int64_t>self.bytes_out
        return self.results

    cdef Outputs run_and_fetch(self, const OrtRunOptions* native_options):
        cdef OrtStatus* status
        self.session.opened()
        self.enter()
        try:
            if not self.complete:
                self.require_complete()
            if self.allocates:
                self.rebind_allocated()
            self.session.start_call()
            status = self.call(self.held, native_options)
            self.session.end_call()
            if status != NULL or log_is_busy:
                finish_run(self.session, status)
            return self.fetch_results()
        finally:
            self.leave()

    cdef inline OrtStatus* call(self, NativeSession native, const OrtRunOptions* native_options) noexcept:
        cdef OrtStatus* status
        cdef RunCounts* counts = &self.session.counts
        if native.may_be_brief and native_options == default_run_options and is_known_brief(&self.pace):
            counts.nanoseconds += self.pace.last
            status = api.RunWithBinding(native.handle, native_options, self.handle)
        else:
            status = self.call_not_brief(native, native_options)
        counts.runs += 1
        counts.bytes_in += <int64_t>self.bytes_in
        return status

    cdef OrtStatus* call_not_brief(self, NativeSession native, const OrtRunOptions* native_options) noexcept:
        cdef OrtStatus* status
        cdef int64_t time
        cdef RunCounts* counts = &self.session.counts
        cdef Pace* pace = &self.pace if native_options == default_run_options else &self.other_pace
        if native.may_be_brief and pace == &self.other_pace and is_known_brief(pace):
            counts.nanoseconds += pace.last
            with nogil:
                status = api.RunWithBinding(native.handle, native_options, self.handle)
            return status
        time = clock_ns()
        if native.may_be_brief and may_keep_gil(pace, native_options):
            status = api.RunWithBinding(native.handle, native_options, self.handle)
            note_run(pace, counts, clock_ns() - time, status)
            return status
        native_options = begin_interruptible(native_options, time)
        with nogil:
            if native.run_lock != NULL:
                status = binding_run_alone(native.run_lock, native.handle, native_options, self.handle, &time)
            else:
                status = api.RunWithBinding(native.handle, native_options, self.handle)
                time = clock_ns() - time
        end_interruptible(native_options)
        note_run(pace, counts, time, status)
        return status

    cdef Outputs fetch_results(self):
        """Return the outputs of a run that has just succeeded."""
        cdef bint is_done = False
        if self.results is None or self.allocates:
            try:
                self.results = self.fetch()
                is_done = True
            finally:  # as in `counted_outputs`
                if not is_done:
                    count_error(self.session, sys.exc_info()[1])
        self.session.counts.bytes_out += <int64_t>self.bytes_out
        return self.results

    def get_outputs(self) -> Outputs:
        """Return the outputs of the last run, as `run` did.

        Raises `Error` if there was none since the outputs were bound. Stands for ``GetBoundOutputValues``.
        """
        if self.results is None:
            raise Error("get_outputs: nothing was run since the outputs were bound; call session.run_with_iobinding")
        return self.results

    def clear_inputs(self) -> None:
        """Unbind all inputs. Stands for ``ClearBoundInputs``."""
        self.enter(must_be_open=False)
        api.ClearBoundInputs(self.handle)
        self.bound_inputs.clear()
        self.changed_inputs()
        self.leave()

    def clear_outputs(self) -> None:
        """Unbind all outputs; those that were returned stay valid. Stands for ``ClearBoundOutputs``."""
        self.enter(must_be_open=False)
        api.ClearBoundOutputs(self.handle)
        self.bound_outputs.clear()
        self.changed()
        self.leave()

    def synchronize_inputs(self) -> None:
        """Wait until copies of inputs to a device are done. Stands for ``SynchronizeBoundInputs``."""
        self.enter()
        try:
            with nogil:
                check(api.SynchronizeBoundInputs(self.handle))
        finally:
            self.leave()

    def synchronize_outputs(self) -> None:
        """Wait until copies of outputs from a device are done. Stands for ``SynchronizeBoundOutputs``."""
        self.enter()
        try:
            with nogil:
                check(api.SynchronizeBoundOutputs(self.handle))
        finally:
            self.leave()

    def __repr__(self):
        return (f"<ortx.IOBinding of {self.session.source}: {', '.join(self.bound_inputs) or 'nothing'} -> "
                f"{', '.join(self.bound_outputs) or 'nothing'}>")

    cdef int enter(self, bint must_be_open=True) except -1:
        """Begin to use the binding: alone, and with the session alive, since ORT looks into it to bind."""
        if self.born != fork_generation:
            refuse_inherited(
                f"the binding of {self.session.source}", self.born,
                "open the session anew, and make a binding of that with create_io_binding()")
        if self.busy:
            raise Error("this binding is in use by another thread; make one binding per thread")
        if must_be_open:
            self.held = self.session.opened()
        self.busy = True
        if must_be_open and self.generation != self.session.generation:
            try:
                self.renew()
            except BaseException:
                self.leave()
                raise
        return 0

    cdef void leave(self) noexcept:
        self.held = None
        self.busy = False

    cdef int renew(self) except -1:
        """Bind everything anew, to the native session that has replaced the one the handle was made of."""
        cdef Signature inputs = self.session.inputs, outputs = self.session.outputs
        cdef OrtIoBinding* handle = NULL
        cdef int generation = self.session.generation
        check(api.CreateIoBinding(self.held.handle, &handle))
        api.ReleaseIoBinding(self.handle)
        self.handle = handle
        for name, bound in self.bound_inputs.items():
            check(api.BindInput(handle, inputs.slots[inputs.find(name)].name, (<Feed>bound).handle))
        for name, (_, buffer) in self.bound_outputs.items():
            self.bind_buffer(&outputs.slots[outputs.find(name)], None if buffer is None else (<Feed>buffer).kept)
        self.generation = generation
        forget_both(&self.pace, &self.other_pace)
        return 0

    cdef Feed bind_buffer(self, const Slot* slot, cnp.ndarray array):
        """Bind an output to a buffer; without one, or with one that elements have to be copied into, ORT allocates it.

        Return what was bound, which is to be kept, or None.
        """
        cdef Feed buffer
        if array is None or not is_written_in_place(slot):
            check(api.BindOutputToDevice(self.handle, slot.name, cpu_memory_info))
            return None
        buffer = feed_over(array, slot.element_type)
        check(api.BindOutput(self.handle, slot.name, buffer.handle))
        return buffer

    cdef inline void changed_inputs(self) noexcept:
        self.complete = False
        forget_both(&self.pace, &self.other_pace)

    cdef int changed(self) except -1:
        """Forget what was known of the outputs."""
        self.changed_inputs()
        self.results = None
        self.allocates = any([buffer is None for _, buffer in self.bound_outputs.values()])
        return 0

    cdef int require_complete(self) except -1:
        """Refuse to run with inputs missing: ORT does not look, and its kernels fail in their own ways."""
        cdef Signature signature = self.session.inputs
        problems = [
            f"input {signature.names[i]!r}: not bound; expected {signature.facts[i]}"
            for i in range(signature.count)
            if signature.slots[i].required and signature.names[i] not in self.bound_inputs]
        if not self.bound_outputs:
            problems.append(f"outputs: none bound; the model has {', '.join(self.session.outputs.names)}")
        refuse(signature, "run_with_iobinding", problems)
        self.bytes_in = sum([(<Feed>bound).size for bound in self.bound_inputs.values()])
        self.bytes_out = sum([(<Feed>buffer).size for _, buffer in self.bound_outputs.values() if buffer is not None])
        self.complete = True
        return 0

    cdef int rebind_allocated(self) except -1:
        """Bind outputs that ORT allocates once more: otherwise it would write into those of the last run."""
        for name, (_, buffer) in self.bound_outputs.items():
            if buffer is None:
                check(api.BindOutputToDevice(
                    self.handle, self.session.outputs.slots[self.session.outputs.find(name)].name, cpu_memory_info))
        return 0

    cdef Outputs fetch(self):
        """Return what was bound, and arrays over what ORT has allocated."""
        cdef OrtValue** values = NULL
        cdef size_t count = 0, i
        names = tuple(self.bound_outputs)
        if not self.allocates:
            return make_outputs(names, tuple([spec for spec, _ in self.bound_outputs.values()]))
        check(api.GetBoundOutputValues(self.handle, default_allocator, &values, &count))
        found = []
        try:
            for i, (spec, buffer) in enumerate(self.bound_outputs.values()):
                if buffer is None:
                    value, values[i] = values[i], NULL
                    item = python_value(value, names[i])
                    self.session.counts.bytes_out += bytes_of(item)
                    if self.session.zip_maps is not None:
                        item = zipped(item, names[i], self.session.zip_maps)
                    found.append(item if spec is None else copied_into(spec, item, names[i]))
                else:
                    found.append(spec)
        finally:
            for i in range(count):
                if values[i] != NULL:
                    api.ReleaseValue(values[i])
            check(api.AllocatorFree(default_allocator, values))
        return make_outputs(names, tuple(found))


cdef bint is_copy_of_array(cnp.ndarray admitted, value) except -1:
    """Whether an array, or what exports one, was copied, so that later changes would not be seen."""
    if isinstance(value, (list, tuple, int, float, complex, numpy.generic)):
        return False  # cannot be changed, or is no memory at all
    exported = array_of_exporter(value)
    if isinstance(exported, str) or cnp.PyArray_SIZE(admitted) == 0:
        return False
    return not numpy.may_share_memory(exported, admitted) and not cnp.PyArray_ISCARRAY_RO(exported)


cdef IOBinding make_io_binding(Session session):
    cdef IOBinding binding = IOBinding.__new__(IOBinding)
    cdef NativeSession native = session.opened()
    check(api.CreateIoBinding(native.handle, &binding.handle))
    live_handles.io_binding += 1
    binding.session = session
    binding.generation = session.generation
    binding.bound_inputs = {}
    binding.bound_outputs = {}
    return binding


cdef Outputs run_binding(Session session, binding, run_options, timeout):
    if not isinstance(binding, IOBinding):
        raise InvalidType(
            f"run_with_iobinding: got {shown(binding)}; expected an ortx.IOBinding, as create_io_binding() returns")
    if (<IOBinding>binding).session is not session:
        raise InvalidArgument(
            "run_with_iobinding: got a binding of another session; a binding belongs to the one that made it")
    if timeout is not None:
        return run_bound_with_timeout(binding, run_options, timeout)
    return (<IOBinding>binding).run_bound(run_options)
