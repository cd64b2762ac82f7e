"""A story: sixteen threads, every public method of one session, for as long as is asked for.

``ORTX_STRESS_SECONDS`` says how long; 10 by default, 60 before a release.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable

import models
import numpy as np
import pytest
from onnx import helper
from test_async import SECONDS, counting, in_threads, wait_until

import ortx
from ortx import _core

STRESS_SECONDS = float(os.environ.get("ORTX_STRESS_SECONDS", "10"))
THREADS = 16
SHARED = np.arange(8, dtype=np.float32).reshape(4, 2)  # every thread reads it


@pytest.fixture(autouse=True)
def _completed_runs_are_put_away_before_handles_are_counted():
    before = _core._live_handles()
    yield
    wait_until(lambda: _core._live_handles() == before, 1)


def sum_scaled() -> bytes:
    """sum = (a + b) * scale, with an overridable initializer, and items, a sequence of a and b"""
    return models.build(
        [
            helper.make_node("Add", ["a", "b"], ["t"]),
            helper.make_node("Mul", ["t", "scale"], ["sum"]),
            helper.make_node("SequenceConstruct", ["a", "b"], ["items"]),
        ],
        [models.tensor("a"), models.tensor("b"), models.tensor("scale", shape=(1,))],
        [models.tensor("sum"), helper.make_tensor_sequence_value_info("items", models.NUMPY_TYPES["float32"], None)],
        [models.constant("scale", [1.0])],
    )


class Worker:
    """One thread's calls. Each method is one way to use the session, and says whether all was right."""

    def __init__(self, session: ortx.Session, number: int) -> None:
        self.session, self.number = session, number
        self.own = np.full((4, 2), number, np.float32)
        self.expected = SHARED + self.own
        self.shared_tensor = SHARED_TENSOR
        self.options = ortx.run_options(tag=str(number))
        self.target = np.empty_like(SHARED)
        self.binding = session.create_io_binding()
        self.binding.bind_input("a", self.shared_tensor)
        self.binding.bind_input("b", self.own)

    def is_sum(self, array: np.ndarray) -> bool:
        return array.shape == self.expected.shape and bool((array == self.expected).all())

    def run_of_arrays(self) -> bool:
        outputs = self.session.run({"a": SHARED, "b": self.own}, ["sum"], self.options)
        return self.is_sum(outputs["sum"])

    def run_of_a_shared_tensor(self) -> bool:
        total, items = self.session.run([self.shared_tensor, self.own.tolist()])
        return self.is_sum(total) and (items[0] == SHARED).all() and (items[1] == self.number).all()

    def run_with_an_initializer_of_its_own(self) -> bool:
        scale = np.array([self.number], np.float32)
        outputs = self.session.run({"b": self.own, "a": SHARED, "scale": scale}, ["sum"])
        return bool((outputs[0] == self.expected * self.number).all())

    def run_into(self) -> bool:
        self.target.fill(-1)
        outputs = self.session.run_into([SHARED, self.own], {"sum": self.target}, self.options)
        return outputs[0] is self.target and self.is_sum(self.target)

    def submit(self) -> bool:
        return self.is_sum(self.session.submit([SHARED, self.own], ["sum"]).result(SECONDS)["sum"])

    def run_async(self) -> bool:
        async def both() -> bool:
            outputs = await self.session.run_async([SHARED, self.own], ["sum"], timeout=SECONDS)
            self.binding.bind_output("sum")
            return self.is_sum(outputs[0]) and self.is_sum((await self.binding.run_async())["sum"])

        return asyncio.run(both())

    def run_with_a_timeout(self) -> bool:
        return self.is_sum(self.session.run([SHARED, self.own], ["sum"], timeout=SECONDS)[0])

    def binding_that_allocates(self) -> bool:
        self.binding.bind_output("sum")
        first, second = self.binding.run()["sum"], self.session.run_with_iobinding(self.binding)["sum"]
        return first is not second and self.is_sum(first) and self.is_sum(second)

    def binding_to_a_buffer(self) -> bool:
        self.target.fill(-1)
        self.binding.clear_outputs()
        self.binding.bind_output("sum", self.target)
        self.binding.run(self.options)
        self.binding.synchronize_outputs()
        return self.binding.get_outputs()[0] is self.target and self.is_sum(self.target)

    def a_binding_of_the_moment(self) -> bool:
        binding = self.session.create_io_binding()
        binding.bind_input("a", self.own)
        binding.bind_input("b", self.shared_tensor)
        made = binding.bind_output("sum", {"type": "float32", "shape": (4, 2)})
        binding.synchronize_inputs()
        binding.run()
        binding.clear_inputs()
        return self.is_sum(made.numpy())

    def a_call_that_is_refused(self) -> bool:
        with pytest.raises(ortx.CallError, match="'b': missing"):
            self.session.run({"a": SHARED})
        return True

    def a_run_that_fails(self) -> bool:
        options = ortx.run_options()
        options.terminate()
        with pytest.raises(ortx.Error, match="terminate"):
            self.session.run([SHARED, self.own], run_options=options)
        return True

    def a_look_at_names(self) -> bool:
        session = self.session
        return (
            session.input_names() == ("a", "b")
            and session.output_names() == ("sum", "items")
            and session.overridable_initializer_names() == ("scale",)
            and (session.input_count(), session.output_count(), session.overridable_initializer_count()) == (2, 2, 1)
            and session.input_info("a").shape == (-1, 2)
            and session.output_info(1).onnx_type == "sequence"
            and session.overridable_initializer_info("scale").shape == (1,)
            and "sum" in repr(session) + repr(self.binding)
        )

    def a_look_at_the_session(self) -> bool:
        session = self.session
        return (
            session.providers() == ("CPUExecutionProvider",)
            and session.options()["intra_op_num_threads"] == 2
            and session.metadata().graph_name == "graph"
            and session.running >= 0
            and (stats := session.stats()).runs >= stats.timed_runs >= 0  # of one moment
            and not session.closed
            and session.profiling_start_time_ns() == 0
            and len(session.memory_info_for_inputs()) == 2
            and len(session.memory_info_for_outputs()) == 2
            and session.allocator_stats()["cpu:0"]["TotalAllocated"] >= 0
        )

    def options_of_the_provider(self) -> bool:
        self.session.set_ep_dynamic_options({"ep.dynamic.workload_type": "Default"})
        with pytest.raises(ortx.Error, match="is not profiled"):
            self.session.end_profiling()
        return True

    def the_process(self) -> bool:
        return isinstance(ortx.trim_memory(), bool) and "CPUExecutionProvider" in ortx.available_providers()


WAYS = [name for name in vars(Worker) if not name.startswith("_") and name != "is_sum"]
SHARED_TENSOR = ortx.tensor(SHARED)


@pytest.mark.parametrize("options", [{}, {"concurrent_runs": False}], ids=["concurrent", "one at a time"])
def test_sixteen_threads_that_use_every_method_of_one_session_never_see_a_wrong_value(options):
    end = time.monotonic() + STRESS_SECONDS / 2
    wrong: list[object] = []
    counts = dict.fromkeys(WAYS, 0)

    def work(number: int) -> None:
        try:
            worker = Worker(session, number)
            at = number
            while time.monotonic() < end and not wrong:
                way = WAYS[at % len(WAYS)]
                if not getattr(worker, way)():
                    wrong.append((number, way))
                counts[way] += 1
                at += 1 + number % 3
        except BaseException as error:
            wrong.append(error)

    with ortx.session_from_bytes(sum_scaled(), intra_op_num_threads=2, **options) as session:
        in_threads(THREADS, work)
    assert wrong == []
    assert min(counts.values()) > 0


def test_every_public_method_of_a_session_is_part_of_the_story():
    with open(__file__, encoding="utf-8") as file:
        story = file.read()
    elsewhere = {"close", "register_custom_op_library"}  # test_story_threads.py, test_custom_ops.py
    names = {name for kind in (ortx.Session, ortx.IOBinding) for name in vars(kind) if not name.startswith("_")}
    assert {name for name in names - elsewhere if f".{name}" not in story} == set()


def test_a_binding_that_a_thread_is_using_is_refused_to_all_others_and_keeps_its_result():
    options = ortx.run_options()
    with ortx.session_from_bytes(counting(), intra_op_num_threads=1) as session:
        binding = session.create_io_binding()
        binding.bind_input("x", np.zeros(1, np.float32))
        binding.bind_input("count", np.array(1 << 40))
        binding.bind_output("y")
        failed: list[BaseException] = []

        def run() -> None:
            try:
                binding.run(options)
            except ortx.Error as error:
                failed.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        assert wait_until(lambda: session.running == 1)
        uses: list[Callable[[], object]] = [
            binding.run,
            lambda: session.run_with_iobinding(binding),
            lambda: binding.bind_input("count", np.array(3)),
            lambda: binding.bind_output("y"),
            binding.clear_inputs,
            binding.clear_outputs,
            binding.synchronize_inputs,
            binding.synchronize_outputs,
        ]
        for use in uses:
            with pytest.raises(ortx.Error, match="in use by another thread; make one binding per thread"):
                use()
        options.terminate()
        thread.join()
        assert len(failed) == 1
        binding.bind_input("count", np.array(3))
        assert binding.run()["y"].tolist() == [3.0]


def test_a_binding_that_many_threads_fight_for_computes_or_refuses():
    end = time.monotonic() + STRESS_SECONDS / 10
    results, refused, wrong = [0], [0], []
    x = np.arange(8, dtype=np.float32).reshape(4, 2)

    def work(number: int) -> None:
        while time.monotonic() < end:
            try:
                if number % 4 == 0:
                    binding.bind_output("y")
                outputs = binding.run()
                results[0] += 1
                if (outputs["y"] != x * x).any():
                    wrong.append(outputs)
            except ortx.Error as error:
                if "in use by another thread" not in str(error):
                    wrong.append(error)
                refused[0] += 1

    with ortx.session_from_bytes(models.square(), intra_op_num_threads=1) as session:
        binding = session.create_io_binding()
        binding.bind_input("x", x)
        binding.bind_output("y")
        in_threads(8, work)
    assert wrong == []
    assert results[0] > 0
