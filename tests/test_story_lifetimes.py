"""A story: of two things that belong together one goes first. Nothing is read after it was freed, and nothing leaks.

Memory that was given back is filled with other numbers where that can be (`disturb`), so who still looks there sees it.
"""

from __future__ import annotations

import array
import copy
import gc
import itertools
import logging
import mmap
import sys
import threading
import time
import weakref

import models
import numpy as np
import pytest
from onnx import TensorProto, helper

import ortx
from ortx import _core

SMALL, LARGE = 3, 1 << 17  # rows; the large ones have memory of their own from the system
SIZES = pytest.mark.parametrize("rows", [SMALL, LARGE])
THREADS = 8


class Owned(np.ndarray):
    """An array that weak references and attributes can be given to."""


def filled(rows: int, value: float = 3) -> Owned:
    return np.full((rows, 2), value, np.float32).view(Owned)


def disturb(rows: int) -> None:
    """Use up, and fill, memory of this size that was given back."""
    gc.collect()
    others = [np.full((rows, 2), -7, np.float32) for _ in range(6)]
    with open_session() as session:
        for _ in range(3):
            session.run([others[0]])
            others.append(session.run([others[1]])[0])


def open_session(model: bytes | None = None, **options: object) -> ortx.Session:
    return ortx.session_from_bytes(models.square() if model is None else model, **options)


def live(kind: str) -> int:
    return _core._live_handles()[kind]


def run_in_threads(work) -> None:
    """Call `work(number)` in several threads that begin at once."""
    barrier, errors = threading.Barrier(THREADS), []

    def body(number: int) -> None:
        barrier.wait()
        try:
            work(number)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=body, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors


# --- an output and what it came from


def owners_of_an_output(way: str, rows: int) -> dict[str, object]:
    """Make an output, with everything that it came from."""
    session, x, options = open_session(intra_op_num_threads=2), filled(rows), ortx.run_options(tag="story")
    owners = {"session": session, "input": x, "run options": options}
    if way == "run":
        owners["outputs"] = session.run({"x": x}, None, options)
    elif way == "submit":
        owners["outputs"] = session.submit({"x": x}, None, options).result(60)
    else:
        owners["binding"] = binding = session.create_io_binding()
        binding.bind_input("x", x)
        binding.bind_output("y")
        owners["outputs"] = binding.run(options)
    return owners


@SIZES
@pytest.mark.parametrize("way", ["run", "submit", "binding"])
@pytest.mark.parametrize("gone", ["session", "input", "run options", "outputs", "binding", "everything"])
def test_an_output_outlives(gone, way, rows):
    owners = owners_of_an_output(way, rows)
    y = owners["outputs"]["y"]
    if gone == "everything":
        owners.clear()
    else:
        owners.pop(gone, None)
    disturb(rows)
    assert y.shape == (rows, 2)
    assert (y == 9).all()
    y += 1
    assert (y == 10).all()


@SIZES
@pytest.mark.parametrize("way", ["run", "submit", "binding"])
def test_an_output_outlives_all_that_it_came_from_in_whatever_order_that_goes(way, rows):
    names = list(owners_of_an_output(way, 1))
    for order in itertools.islice(itertools.permutations(names), 0, None, 5):
        owners = owners_of_an_output(way, rows)
        y = owners["outputs"]["y"]
        for name in order:
            del owners[name]
            gc.collect(0)
            assert (y[:: max(rows // 3, 1)] == 9).all()
    disturb(rows)
    assert (y == 9).all()


@SIZES
@pytest.mark.parametrize("way", ["run", "submit", "binding"])
def test_an_output_outlives_its_closed_session(way, rows):
    owners = owners_of_an_output(way, rows)
    owners["session"].close()
    disturb(rows)
    assert (owners["outputs"]["y"] == 9).all()
    with pytest.raises(ortx.SessionClosed):
        owners["session"].run([filled(rows)])


def test_an_output_goes_before_its_session_and_the_session_works_on():
    with open_session() as session:
        before = live("value")
        for _ in range(50):
            y = session.run([filled(LARGE)])[0]
            assert (y == 9).all()
            del y
            assert live("value") == before


# --- an output and its views

VIEWS = {
    "a slice": lambda y: y[1:, ::-1],
    "one row": lambda y: y[1],
    "another shape": lambda y: y.reshape(-1),
    "a transposition": lambda y: y.T,
    "an array of bytes": lambda y: y.view(np.uint8),
    "a subclass": lambda y: y.view(Owned),
    "a slice of a slice of a slice": lambda y: y[1:][:, 1:][:1],
    "an iterator": lambda y: y.flat,
    "a memoryview": memoryview,
    "a memoryview as bytes": lambda y: memoryview(y).cast("B"),
    "an array of a buffer": lambda y: np.frombuffer(y, np.float32),
    "a DLPack export": np.from_dlpack,
    "a tensor": ortx.tensor,
    "a memoryview of a tensor": lambda y: memoryview(ortx.tensor(y)),
    "a DLPack export of a tensor": lambda y: np.from_dlpack(ortx.tensor(y)),
    "a capsule": lambda y: ortx.tensor(y).__dlpack__(max_version=(1, 0)),
}


def bytes_of(view: object) -> bytes:
    if isinstance(view, np.flatiter):
        return np.array(view).tobytes()
    if type(view).__name__ == "PyCapsule":

        class Holder:
            def __dlpack__(self, **keywords: object) -> object:
                return view

            def __dlpack_device__(self) -> tuple[int, int]:
                return (1, 0)

        return np.from_dlpack(Holder()).tobytes()
    return np.asarray(view).tobytes()


@SIZES
@pytest.mark.parametrize("kind", VIEWS)
def test_a_view_keeps_the_output(kind, rows):
    session, before = open_session(), live("value")
    y = session.run([filled(rows)])[0]
    view = VIEWS[kind](y)
    session.close()
    del session, y
    disturb(rows)
    assert live("value") == before + 1
    content = bytes_of(view)
    assert len(content) >= 4
    assert content == np.full(len(content) // 4, 9, np.float32).tobytes()
    del view
    assert live("value") == before


# --- an input and what it is bound to


def binding_with(session: ortx.Session, x: object) -> ortx.IOBinding:
    binding = session.create_io_binding()
    binding.bind_input("x", x)
    binding.bind_output("y")
    return binding


@pytest.fixture
def session():
    with open_session() as session:
        yield session


@SIZES
def test_a_bound_input_may_be_dropped(session, rows):
    x = filled(rows)
    binding, reference = binding_with(session, x), weakref.ref(x)
    del x
    disturb(rows)
    assert reference() is not None
    assert (binding.run()["y"] == 9).all()
    del binding
    assert reference() is None


@SIZES
def test_a_bound_output_may_be_dropped(session, rows):
    y = filled(rows, 0)
    binding, reference = binding_with(session, filled(rows)), weakref.ref(y)
    binding.bind_output("y", y)
    del y
    disturb(rows)
    binding.run()
    assert (reference() == 9).all()
    del binding
    assert reference() is None


EXPORTS = {
    "memoryview": memoryview,
    "tensor": ortx.tensor,
    "slice": lambda x: x[:],
    "DLPack": lambda x: np.from_dlpack(x),
    "buffer of a tensor": lambda x: memoryview(ortx.tensor(x)),
}


@pytest.mark.parametrize("kind", EXPORTS)
def test_what_a_bound_export_looks_into_may_be_dropped(session, kind):
    x = filled(SMALL)
    binding, reference = binding_with(session, EXPORTS[kind](x)), weakref.ref(x)
    del x
    disturb(SMALL)
    assert reference() is not None
    assert (binding.run()["y"] == 9).all()
    del binding
    assert reference() is None


def test_clearing_the_inputs_lets_them_go(session):
    x = filled(SMALL)
    binding, reference = binding_with(session, x), weakref.ref(x)
    del x
    assert reference() is not None
    binding.clear_inputs()
    assert reference() is None
    with pytest.raises(ortx.CallError, match="input 'x': not bound"):
        binding.run()


def test_clearing_the_outputs_lets_them_go(session):
    y = filled(SMALL, 0)
    binding, reference = binding_with(session, filled(SMALL)), weakref.ref(y)
    binding.bind_output("y", y)
    del y
    binding.run()
    assert reference() is not None
    binding.clear_outputs()
    assert reference() is None


def test_binding_something_else_lets_the_earlier_one_go(session):
    x, y = filled(SMALL), filled(SMALL, 0)
    binding, references = binding_with(session, x), [weakref.ref(x), weakref.ref(y)]
    binding.bind_output("y", y)
    del x, y
    binding.run()
    assert all(reference() is not None for reference in references)
    binding.bind_input("x", filled(SMALL, 2))
    assert references[0]() is None
    binding.bind_output("y")
    assert references[1]() is None
    assert (binding.run()["y"] == 4).all()


def test_an_input_that_is_refused_leaves_the_earlier_one_bound_and_is_let_go(session):
    x, wrong = filled(SMALL), np.ones(3).view(Owned)
    binding, references = binding_with(session, x), [weakref.ref(x), weakref.ref(wrong)]
    del x
    with pytest.raises(ortx.CallError):
        binding.bind_input("x", wrong)
    del wrong
    gc.collect()
    assert references[0]() is not None
    assert references[1]() is None
    disturb(SMALL)
    assert (binding.run()["y"] == 9).all()


def test_closing_the_session_does_not_free_what_a_binding_holds():
    session = open_session()
    x, y = filled(SMALL), filled(SMALL, 0)
    binding, references = binding_with(session, x), [weakref.ref(x), weakref.ref(y)]
    binding.bind_output("y", y)
    binding.run()
    del x, y
    session.close()
    assert [(reference() is None) for reference in references] == [False, False]
    with pytest.raises(ortx.SessionClosed):
        binding.run()
    binding.clear_inputs()
    assert references[0]() is None
    del binding
    assert references[1]() is None


@pytest.mark.parametrize("make", [bytearray, lambda data: array.array("B", data)], ids=["bytearray", "array.array"])
def test_a_bound_buffer_cannot_grow_or_shrink(make):
    x = make(b"\1\2\3\4")
    with open_session(models.identity("uint8")) as session:
        binding = binding_with(session, x)
        with pytest.raises(BufferError):
            x.append(5)
        with pytest.raises(BufferError):
            del x[1:]
        x[0] = 9
        assert binding.run()["y"].tolist() == [9, 2, 3, 4]
        binding.clear_inputs()
        x.append(5)
        assert list(x) == [9, 2, 3, 4, 5]


def test_a_bound_array_cannot_be_resized_until_it_is_unbound(session):
    x = np.full((SMALL, 2), 3, np.float32)
    binding = binding_with(session, x)
    with pytest.raises(ValueError, match="cannot resize"):
        x.resize((LARGE, 2))
    assert (binding.run()["y"] == 9).all()
    binding.clear_inputs()
    x.resize((SMALL + 1, 2))
    assert x.shape == (SMALL + 1, 2)


def test_the_memory_of_a_bound_memoryview_stays_when_that_is_released(session):
    x = bytearray(np.full((SMALL, 2), 3, np.float32).tobytes())
    view = memoryview(x).cast("f", (SMALL, 2))
    binding = binding_with(session, view)
    view.release()
    with pytest.raises(BufferError):
        x.clear()
    disturb(SMALL)
    assert (binding.run()["y"] == 9).all()


def test_a_list_that_was_bound_may_change_since_it_was_copied(session):
    values = [[3.0, 3.0]]
    binding = binding_with(session, values)
    values[0][0] = 100.0
    del values
    disturb(1)
    assert binding.run()["y"].tolist() == [[9, 9]]


def test_an_input_of_a_submitted_run_may_be_dropped_and_is_let_go_when_it_ends():
    x = np.eye(256, dtype=np.float32).view(Owned)
    reference = weakref.ref(x)
    with open_session(models.slow(steps=200), intra_op_num_threads=2) as session:
        future = session.submit([x])
        del x
        disturb(1 << 15)
        np.testing.assert_array_equal(future.result(60)["y"], np.eye(256))
        end = time.monotonic() + 10
        while reference() is not None and time.monotonic() < end:
            time.sleep(0.001)
        assert reference() is None


# --- cycles that the collector has to find


def collected(make) -> dict[str, int]:
    """Return the handles that are left when what `make` makes was dropped and collected: there should be no more."""
    gc.collect()
    before = _core._live_handles()
    kept = make()
    during = _core._live_handles()
    assert during != before  # there is something to collect
    reference = weakref.ref(kept)
    del kept
    gc.collect()
    assert reference() is None
    assert _core._live_handles() == before
    return during


def test_a_session_and_the_model_that_it_was_loaded_from_may_refer_to_each_other():
    def make() -> Owned:
        model = np.frombuffer(models.square(), np.uint8).view(Owned)
        model.session = ortx.session_from_bytes(model, keep_model=True)
        assert (model.session.run([filled(SMALL)])[0] == 9).all()
        return model

    collected(make)


def test_a_binding_and_what_is_bound_may_refer_to_each_other(session):
    def make() -> Owned:
        x, y = filled(SMALL), filled(SMALL, 0)
        x.binding = y.binding = binding_with(session, x)
        y.binding.bind_output("y", y)
        assert (y.binding.run()["y"] == 9).all()
        return x

    collected(make)


def test_an_output_and_its_session_may_refer_to_each_other():
    def make() -> Owned:
        session = open_session()
        y = session.run([filled(SMALL)])[0].view(Owned)
        y.binding = binding_with(session, y)
        y.outputs = y.binding.run()
        return y

    collected(make)


def test_a_cycle_through_a_tensor_is_found(session):
    def make() -> Owned:
        x = filled(SMALL)
        x.tensor = ortx.tensor(x)
        x.binding = binding_with(session, x.tensor)
        return x

    collected(make)


def test_a_cycle_through_the_base_of_an_array_ends_when_it_is_unbound(session):
    """The collector of Python does not see the base of an array; who wants to end it can."""
    x = filled(SMALL)
    view = np.asarray(memoryview(x))[1:]
    x.binding = binding = binding_with(session, view)
    reference = weakref.ref(x)
    del x, view
    gc.collect()
    assert reference() is not None
    assert (binding.run()["y"] == 9).all()
    binding.clear_inputs()
    assert reference() is None


def test_a_session_and_a_logging_handler_may_refer_to_each_other():
    class Handler(logging.Handler):
        session = None

        def emit(self, record: logging.LogRecord) -> None:
            heard.append(None if self.session is None else self.session.input_names())

    def make() -> Owned:
        handler, model = Handler(), np.frombuffer(failing, np.uint8).view(Owned)
        logger.addHandler(handler)
        model.handler = handler
        handler.session = ortx.session_from_bytes(model, keep_model=True)
        with pytest.raises(ortx.Error):
            handler.session.run([np.ones(4, np.float32)])
        logger.removeHandler(handler)
        return model

    failing, heard, logger = models.failing(), [], logging.getLogger("ortx")
    collected(make)
    assert ("x",) in heard


def test_a_future_may_hold_the_session_that_completes_it():
    class Holder:
        pass

    def make() -> Holder:
        holder = Holder()
        holder.session = open_session(intra_op_num_threads=2)
        holder.future = holder.session.submit([filled(SMALL)])
        called = threading.Event()

        def call(future: object) -> None:
            holder.session.input_names()
            called.set()

        holder.future.add_done_callback(call)
        assert called.wait(60)
        assert (holder.future.result()["y"] == 9).all()
        while sys.getrefcount(holder.future) > 2:  # the thread that called us lets go of it
            time.sleep(0.001)
        return holder

    collected(make)


def test_a_finalizer_in_a_cycle_finds_the_session_and_the_binding_in_order():
    seen = []

    class Last(Owned):
        def __del__(self) -> None:
            if hasattr(self, "binding"):
                seen.append(self.binding.run()["y"].tolist())
                seen.append(self.session.run([np.asarray(self)])[0].tolist())

    session = open_session()
    x = filled(1).view(Last)
    x.session, x.binding = session, binding_with(session, x)
    del session, x
    assert seen == []
    gc.collect()
    assert seen == [[[9, 9]], [[9, 9]]]


# --- threads that drop the last reference

DROPPED = {
    "sessions": open_session,
    "sessions that have run": lambda: (session := open_session(), session.run([filled(SMALL)]))[:1],
    "small outputs": lambda: open_session().run([filled(SMALL)]),
    "large outputs": lambda: open_session().run([filled(LARGE)]),
    "bindings": lambda: binding_with(open_session(), filled(LARGE)),
    "bindings that have run": lambda: (binding := binding_with(open_session(), filled(SMALL)), binding.run())[:1],
    "tensors over outputs": lambda: ortx.tensor(open_session().run([filled(LARGE)])[0]),
    "run options": lambda: ortx.run_options(tag="story"),
    "views": lambda: memoryview(open_session().run([filled(LARGE)])[0])[1:],
}


@pytest.mark.parametrize("kind", DROPPED)
def test_threads_may_drop_the_last_references_to(kind):
    gc.collect()
    before = _core._live_handles()
    for _ in range(3):
        things = [[DROPPED[kind]()] for _ in range(THREADS)]
        assert _core._live_handles() != before
        run_in_threads(lambda number, things=things: things[number].clear())
        assert _core._live_handles() == before


@pytest.mark.parametrize("kind", DROPPED)
def test_threads_may_drop_one_thing_together_when_it_is(kind):
    gc.collect()
    before = _core._live_handles()
    for _ in range(5):
        thing = DROPPED[kind]()
        references = [[thing] for _ in range(THREADS)]
        del thing
        assert _core._live_handles() != before
        run_in_threads(lambda number, references=references: references[number].clear())
        assert _core._live_handles() == before


def test_threads_may_drop_outputs_while_others_run_and_the_session_is_closed():
    for _ in range(5):
        session = open_session()
        outputs, wrong = [session.run([filled(LARGE)])[0] for _ in range(THREADS)], []

        def work(number: int, session=session, outputs=outputs, wrong=wrong) -> None:
            if number == 0:
                session.close()
                return
            y = outputs[number]
            outputs[number] = None
            for _ in range(3):
                try:
                    y = session.run([filled(LARGE)])[0]
                except ortx.SessionClosed:
                    break
            if (y != 9).any():
                wrong.append(number)

        run_in_threads(work)
        assert not wrong
        assert (outputs[0] == 9).all()


# --- outputs that become inputs or take outputs


@SIZES
def test_an_output_is_fed_back_again_and_again(rows):
    with open_session(models.add()) as session:
        x, bias = np.zeros((rows, 2), np.float32), np.ones((1, 2), np.float32)
        for _ in range(50):
            x = session.run([x, bias])[0]
        assert (x == 50).all()


@SIZES
def test_an_output_is_bound_again_and_again(rows):
    with open_session(models.add()) as session:
        binding = session.create_io_binding()
        binding.bind_input("x", np.zeros((rows, 2), np.float32))
        binding.bind_input("bias", np.ones((1, 2), np.float32))
        binding.bind_output("y")
        for count in range(1, 31):
            y = binding.run()["y"]
            assert (y == count).all()
            binding.bind_input("x", y)
        reference = y
        del y
        disturb(rows)
        assert (reference == 30).all()


@SIZES
def test_two_outputs_take_turns(rows):
    with open_session(models.add()) as session:
        bias = np.ones((1, 2), np.float32)
        a, b = (session.run([np.zeros((rows, 2), np.float32), bias * 0])[0] for _ in range(2))
        assert not np.shares_memory(a, b)
        for count in range(1, 31):
            session.run_into([a, bias], [b])
            assert (b == count).all()
            a, b = b, a


@SIZES
def test_an_output_of_a_closed_session_goes_into_another_one(rows):
    with open_session() as session:
        y = session.run([filled(rows)])[0]
    del session
    disturb(rows)
    with open_session() as other:
        assert (other.run([y])[0] == 81).all()
        binding = binding_with(other, y)
        del y
        disturb(rows)
        assert (binding.run()["y"] == 81).all()


@SIZES
def test_an_output_of_a_closed_session_takes_the_output_of_another_one(rows):
    with open_session() as session:
        y = session.run([filled(rows)])[0]
    del session
    with open_session() as other:
        outputs = other.run_into([filled(rows, 5)], [y])
        assert outputs["y"] is y
        assert (y == 25).all()
        binding = binding_with(other, filled(rows, 6))
        binding.bind_output("y", y)
        binding.run()
        assert (y == 36).all()
    del other, binding, outputs
    disturb(rows)
    assert (y == 36).all()


def test_an_output_over_an_input_of_its_own_session_is_refused_and_nothing_changes(session):
    y = session.run([filled(SMALL)])[0]
    with pytest.raises(ortx.CallError, match="shares memory"):
        session.run_into([y], [y])
    assert (y == 9).all()


# --- what is inside a sequence


@SIZES
def test_an_element_of_a_sequence_outlives_everything(rows):
    session, before = open_session(models.sequence_output()), live("value")
    outputs = session.run([filled(rows)])
    first, (kept, other) = outputs
    session.close()
    del session, outputs, first, other
    disturb(rows)
    assert (kept == 3).all()
    view = kept[1:]
    del kept
    disturb(rows)
    assert (view == 3).all()
    del view
    assert live("value") == before


def test_strings_outlive_everything():
    x, y = (helper.make_tensor_value_info(name, TensorProto.STRING, None) for name in "xy")
    texts = ["a" * 100, "ü" * 50]
    session = open_session(models.build([helper.make_node("Identity", ["x"], ["y"])], [x], [y]))
    found = session.run([texts])[0]
    session.close()
    del session
    disturb(SMALL)
    assert found.tolist() == texts


# --- nothing stays behind


def resident() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc/self/statm, which Linux has")
@pytest.mark.parametrize("way", ["run", "submit", "binding", "views", "run and close"])
def test_memory_stays_flat_over_many_runs_with_large_outputs(way):
    x = filled(10 * (1 << 20) // 8)
    assert x.nbytes == 10 * (1 << 20)
    model = models.square()
    with open_session(model, intra_op_num_threads=2) as session:
        binding = binding_with(session, x)

        def once() -> object:
            if way == "run":
                return session.run([x])[0]
            if way == "submit":
                return session.submit([x]).result(60)["y"]
            if way == "binding":
                return binding.run()["y"]
            if way == "views":
                return np.from_dlpack(ortx.tensor(session.run([x])[0][1:]))
            with open_session(model) as other:
                return other.run([x])[0]

        for _ in range(10):
            assert once()[1, 1] == 9
        before = resident()
        for _ in range(200 if way != "run and close" else 50):
            once()
        assert resident() - before < 4 * x.nbytes


# --- with an allocator that spoils what is freed

SPOILED = """
import array, ctypes, gc, sys
import numpy as np
import ortx

libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
block = libc.malloc(5000)
assert (ctypes.c_ubyte * 5000).from_address(block)[0] == 0x5A, "the allocator does not spoil memory"

def full(value, rows):
    return np.full((rows, 2), value, np.float32)

def check(found, value):
    gc.collect()
    found = np.asarray(found)
    assert found.size and (found == value).all(), (found, value)

def no_arena(path):
    return ortx.session(path, enable_cpu_mem_arena=False)

square, both = sys.argv[1:]
for rows in (2, 600, 70000):
    session = no_arena(square)
    outputs = session.run([full(3, rows)])
    y = outputs[0]
    row, tensor, view, lent = y[1:, ::-1], ortx.tensor(y[:1]), memoryview(y), np.from_dlpack(y)
    del outputs, y
    session.close()
    del session
    for look in (row, tensor, view, lent):
        check(look, 9)
    del row, tensor, view
    check(lent, 9)

    session = no_arena(square)
    binding = session.create_io_binding()
    binding.bind_input("x", full(3, rows))
    binding.bind_output("y")
    check(binding.run()["y"], 9)
    kept = binding.run()["y"]
    binding.bind_input("x", memoryview(bytearray(full(2, rows).tobytes())).cast("B").cast("f", (rows, 2)))
    check(binding.run()["y"], 4)
    check(kept, 9)
    binding.bind_input("x", binding.run()["y"])
    check(binding.run()["y"], 16)
    binding.clear_outputs()
    target = binding.bind_output("y", {"type": "float32", "shape": (rows, 2)})
    binding.run()
    del binding, session
    check(target, 16)
    check(kept, 9)

    other = no_arena(square)
    assert other.run_into([target], [kept])[0] is kept
    del other, target
    check(kept, 256)

    session = no_arena(both)
    first, (one, two) = session.run([full(3, rows)])
    session.close()
    del session, first, one
    check(two, 3)
    x = full(1, rows)
    with ortx.session(square, enable_cpu_mem_arena=False, intra_op_num_threads=2) as session:
        future = session.submit([full(5, rows)])
        check(future.result(60)["y"], 25)
        for _ in range(20):
            x = session.run([x])[0]
    check(x, 1)
print("fine")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs MALLOC_PERTURB_, which the C library of Linux has")
def test_nothing_is_read_after_it_was_freed_where_freeing_spoils_it(run_python, tmp_path):
    (tmp_path / "square.onnx").write_bytes(models.square())
    (tmp_path / "both.onnx").write_bytes(models.sequence_output())
    environment = {"MALLOC_PERTURB_": "165", "PYTHONMALLOC": "malloc"}
    done = run_python(SPOILED, tmp_path / "square.onnx", tmp_path / "both.onnx", **environment)
    assert (done.returncode, done.stdout, done.stderr) == (0, "fine\n", "")


# --- an .ort model whose weights are read in the caller's buffer


IN_PLACE = {"session.use_ort_model_bytes_directly": "1", "session.use_ort_model_bytes_for_initializers": "1"}


@pytest.fixture
def ort_file(tmp_path):
    """A model in ONNX Runtime's own format whose weights, 64 KB of ones, are added to the input."""
    weights = models.constant("w", np.ones((128, 128)))
    inputs, outputs = [models.tensor("x", shape=("n", 128))], [models.tensor("y", shape=("n", 128))]
    model = models.build([helper.make_node("Add", ["x", "w"], ["y"])], inputs, outputs, [weights])
    path = tmp_path / "model.ort"
    entries = {"session.save_model_format": "ORT"}
    ortx.session_from_bytes(model, optimized_model_path=path, config_entries=entries).close()
    return path


def sum_of_weights(session: ortx.Session) -> float:
    return float(session.run([np.zeros((128, 128), np.float32)])[0].sum())


def is_held(buffer: bytearray) -> bool:
    """Whether somebody looks into it: it cannot be resized then."""
    try:
        buffer.append(0)
    except BufferError:
        return True
    return False


@pytest.mark.parametrize("keep_model", [False, True])
def test_a_buffer_that_weights_are_read_in_is_held_until_the_session_is_closed(ort_file, keep_model):
    buffer = bytearray(ort_file.read_bytes())
    session = ortx.session_from_bytes(buffer, keep_model=keep_model, config_entries=IN_PLACE)
    assert is_held(buffer)
    assert sum_of_weights(session) == 128 * 128
    session.close()
    assert not is_held(buffer)


def test_a_map_that_weights_are_read_in_cannot_be_closed_under_the_session(ort_file):
    with ort_file.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    session = ortx.session_from_bytes(mapped, config_entries=IN_PLACE)
    with pytest.raises(BufferError):
        mapped.close()
    assert sum_of_weights(session) == 128 * 128
    session.close()
    mapped.close()


@pytest.mark.parametrize("left_out", IN_PLACE)
def test_with_one_of_the_two_entries_alone_the_buffer_is_let_go_and_may_change(ort_file, left_out):
    buffer = bytearray(ort_file.read_bytes())
    entries = {key: value for key, value in IN_PLACE.items() if key != left_out}
    with ortx.session_from_bytes(buffer, config_entries=entries) as session:
        assert not is_held(buffer)
        buffer[:] = bytes(len(buffer))
        assert sum_of_weights(session) == 128 * 128


def test_an_onnx_model_is_not_held_whatever_the_entries_say():
    buffer = bytearray(models.square())
    with ortx.session_from_bytes(buffer, config_entries=IN_PLACE):
        assert not is_held(buffer)


def test_who_opens_such_a_model_anew_holds_its_buffer_too(ort_file, compile_shared):
    library = compile_shared("void* RegisterCustomOps(void* options, const void* base) { return 0; }", "empty")
    buffer = bytearray(ort_file.read_bytes())
    session = ortx.session_from_bytes(buffer, keep_model=True, config_entries=IN_PLACE)
    other = copy.copy(session)
    session.register_custom_op_library(library)
    assert sum_of_weights(session) == sum_of_weights(other) == 128 * 128
    session.close()
    assert is_held(buffer)
    other.close()
    assert not is_held(buffer)


def test_outputs_outlive_the_buffer_that_weights_were_read_in(ort_file):
    buffer = bytearray(ort_file.read_bytes())
    session = ortx.session_from_bytes(buffer, config_entries=IN_PLACE)
    result = session.run([np.zeros((128, 128), np.float32)])[0]
    session.close()
    buffer[:] = bytes(len(buffer))
    del buffer
    disturb(SMALL)
    assert result.sum() == 128 * 128
