"""Strings in and out: what is taken for one, what is refused, what is kept (`_core.src/strings.pxi`)."""

from __future__ import annotations

import gc
import os
import sys
import threading
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from onnx import TensorProto, helper

import ortx
from ortx import _core

STRING = TensorProto.STRING


def build(nodes, inputs, outputs, initializers=()) -> bytes:
    graph = helper.make_graph(list(nodes), "graph", inputs, outputs, list(initializers))
    opsets = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()


def strings(name: str, shape=None) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, STRING, shape)


def identity(shape=None) -> bytes:
    return build([helper.make_node("Identity", ["x"], ["y"])], [strings("x", shape)], [strings("y", shape)])


def containing(*items: bytes) -> bytes:
    """y = a copy of an initializer with these bytes"""
    made = TensorProto(name="w", data_type=STRING, dims=[len(items)], string_data=items)
    return build([helper.make_node("Identity", ["w"], ["y"])], [], [strings("y", [len(items)])], [made])


@pytest.fixture(scope="module", autouse=True, params=[True, False], ids=["in place", "copied"])
def sharing(request):
    """All of this holds whether ortx knows how the library's strings lie in memory, or not."""
    was_shared = _core._share_strings(request.param)
    yield request.param
    _core._share_strings(was_shared)


@pytest.fixture(scope="module")
def session(sharing):
    with ortx.session_from_bytes(identity(), intra_op_num_threads=2) as session:
        yield session


def objects(items: object) -> np.ndarray:
    return np.array(items, object)


def shape_of(x: object) -> tuple[int, ...]:
    return x.shape if isinstance(x, (np.ndarray, ortx.Tensor)) else objects(x).shape


def run_into(session, x):
    y = np.full(shape_of(x), "blank", object)
    assert session.run_into([x], {"y": y})["y"] is y
    return y


def bound(session, x, spec=None):
    binding = session.create_io_binding()
    binding.bind_input("x", x)
    made = binding.bind_output("y", spec)
    y = binding.run()["y"]
    assert made is None or y is made
    return y.numpy() if isinstance(y, ortx.Tensor) else y


def bound_to_array(session, x):
    y = np.full(shape_of(x), "blank", object)
    assert bound(session, x, y) is y
    return y


WAYS = {
    "run": lambda session, x: session.run([x])[0],
    "run_into": run_into,
    "submit": lambda session, x: session.submit([x]).result(timeout=60)[0],
    "binding": bound,
    "binding to an array": bound_to_array,
    "binding to a type and shape": lambda session, x: bound(session, x, {"type": "string", "shape": shape_of(x)}),
}


def assert_strings(got: object, wanted: object, shape: tuple[int, ...] | None = None) -> None:
    assert isinstance(got, np.ndarray)
    assert got.dtype == object
    assert got.tolist() == wanted
    assert shape is None or got.shape == shape
    assert all(type(item) is str for item in got.flat)


# --- what is taken for strings

TEXTS = ["", "a", "NUL\0inside", "NULs at the end\0\0", "\0", "ü", "中文", "𝄞 clef", "a\tb\r\n", "\ufeffBOM", "\uffff"]


@pytest.mark.parametrize("way", WAYS)
def test_every_way_of_running_keeps_every_character(session, way):
    assert_strings(WAYS[way](session, objects(TEXTS)), TEXTS)


FORMS = {
    "object array": (lambda: objects([["a", "ü"], ["", "d\0"]]), [["a", "ü"], ["", "d\0"]]),
    "array of str": (lambda: np.array([["a", "ü"], ["", "n\0ul"]]), [["a", "ü"], ["", "n\0ul"]]),
    "array of bytes": (lambda: np.array([["a", "ü".encode()], [b"", b"n\0ul"]], "S4"), [["a", "ü"], ["", "n\0ul"]]),
    "big-endian array of str": (lambda: np.array(["ab", "ü"]).astype(">U2"), ["ab", "ü"]),
    "list": (lambda: ["a", "NUL\0"], ["a", "NUL\0"]),
    "tuple": (lambda: ("a", "b"), ["a", "b"]),
    "nested list": (lambda: [["a", "b"], ("c", "d")], [["a", "b"], ["c", "d"]]),
    "list of arrays": (lambda: [np.array(["a", "b"]), objects(["c", "d"])], [["a", "b"], ["c", "d"]]),
    "list of numpy strings": (lambda: [np.str_("a"), np.bytes_(b"b")], ["a", "b"]),
    "str": (lambda: "a\0", "a\0"),
    "bytes": (lambda: b"a\xc3\xbc\0", "aü\0"),
    "numpy string": (lambda: np.str_("ü"), "ü"),
    "numpy bytes": (lambda: np.bytes_(b"a"), "a"),
    "bytes among str": (lambda: ["a", "ü".encode(), b"n\0ul\0"], ["a", "ü", "n\0ul\0"]),
    "bytes in an object array": (lambda: objects([[b"a"], ["b"]]), [["a"], ["b"]]),
    "subclass of str": (lambda: [type("Text", (str,), {})("a")], ["a"]),
    "array of no dimensions": (lambda: objects("a\0"), "a\0"),
    "empty list": (list, []),
    "nested empty list": (lambda: [[], []], [[], []]),
    "empty array of str": (lambda: np.zeros((2, 0), "U3"), [[], []]),
    "Tensor": (lambda: ortx.tensor(np.array(["a", "b"])), ["a", "b"]),
    "new Tensor": (lambda: ortx.tensor("string", (2,), ["a\0", "b"]), ["a\0", "b"]),
    "Fortran": (lambda: np.asfortranarray(objects([["a", "b"], ["c", "d"]])), [["a", "b"], ["c", "d"]]),
    "strided": (lambda: objects(["a", "x", "b", "x"])[::2], ["a", "b"]),
    "negative": (lambda: objects(["b", "a"])[::-1], ["a", "b"]),
    "broadcast": (lambda: np.broadcast_to(objects(["a", "b"]), (2, 2)), [["a", "b"], ["a", "b"]]),
    "transposed array of str": (lambda: np.array([["a", "b"], ["c", "d"]]).T, [["a", "c"], ["b", "d"]]),
    "strided array of str": (lambda: np.array(["a", "x", "b"])[::2], ["a", "b"]),
}
if hasattr(np.dtypes, "StringDType"):
    FORMS["StringDType"] = (
        lambda: np.array([["a", "n\0ul\0"], ["", "𝄞" * 30]], np.dtypes.StringDType()),
        [["a", "n\0ul\0"], ["", "𝄞" * 30]],
    )
    FORMS["strided StringDType"] = (lambda: np.array(["a", "x", "b"], np.dtypes.StringDType())[::2], ["a", "b"])


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("form", FORMS)
def test_strings_come_in_many_forms(session, form, way):
    make, wanted = FORMS[form]
    value = make()
    assert_strings(WAYS[way](session, value), wanted, np.shape(objects(wanted)))


@pytest.mark.parametrize("shape", [(), (0,), (1,), (2, 0, 3), (1, 1), (2, 3), (2, 1, 1, 2, 1, 1, 1, 2)], ids=str)
@pytest.mark.parametrize("way", WAYS)
def test_strings_have_every_shape(session, way, shape):
    x = objects([f"{i}é" for i in range(int(np.prod(shape)))]).reshape(shape)
    assert_strings(WAYS[way](session, x), x.tolist(), shape)


@pytest.mark.parametrize("way", WAYS)
def test_very_long_strings_work(session, way):
    long = ["x" * 2**20, "é" * 2**19, "", "𝄞" * 2**18]
    assert_strings(WAYS[way](session, long), long)


def test_an_input_is_not_changed(session):
    array = objects([["a", b"b"], ["c", "d"]])
    before = [id(item) for item in array.flat]
    for way in WAYS.values():
        way(session, array)
        way(session, np.asfortranarray(array))
    assert [id(item) for item in array.flat] == before
    assert array.tolist() == [["a", b"b"], ["c", "d"]]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("items", [["a", "ü"], ["a", b"b\xc3\xbc"]], ids=["str", "bytes"])
def test_an_array_that_cannot_be_written_is_read(session, way, items):
    array = objects(items)
    array.flags.writeable = False
    wanted = ["a", "ü"] if items[1] == "ü" else ["a", "bü"]
    assert_strings(WAYS[way](session, array), wanted)
    assert_strings(WAYS[way](session, ortx.tensor(array)), wanted)
    assert array.tolist() == items


def test_a_tensor_over_objects_that_cannot_be_written_is_no_copy_and_cannot_be_written():
    array = objects(["a", "b"])
    array.flags.writeable = False
    tensor = ortx.tensor(array)
    assert tensor.numpy() is array
    assert not tensor.numpy().flags.writeable


# --- ortx.tensor


@pytest.mark.parametrize(
    ("array", "wanted"),
    [
        (np.array([b"ab", "ü".encode()]), ["ab", "ü"]),
        (np.array([[b"ab"], [b"n\0ul"]]), [["ab"], ["n\0ul"]]),
        (np.frombuffer(b"abcd", "S2"), ["ab", "cd"]),
        (np.bytes_(b"ab"), "ab"),
        (objects(["a", "ü".encode()]), ["a", "ü"]),
        (np.array(["ab", "ü"]).astype(">U2"), ["ab", "ü"]),
        (np.array([b"ab", b"x", b"c"])[::2], ["ab", "c"]),
    ],
    ids=["S", "two dimensions", "read-only", "scalar", "among str", "big-endian", "strided"],
)
def test_a_tensor_of_bytes_that_are_utf8_is_one_of_strings(session, array, wanted):
    tensor = ortx.tensor(array)
    assert (tensor.data_type, tensor.shape) == ("string", array.shape)
    assert_strings(tensor.numpy(), wanted, array.shape)
    assert_strings(session.run([tensor])[0], wanted, array.shape)


def test_a_tensor_is_made_of_bytes_as_values():
    assert_strings(ortx.tensor("string", (2,), [b"a\0", "ü".encode()]).numpy(), ["a\0", "ü"])
    assert_strings(ortx.tensor("string", (), b"a\0").numpy(), "a\0", ())


@pytest.mark.parametrize("buffer", [b"abcd", bytearray(b"abcd"), memoryview(b"abcd")], ids=type)
def test_a_buffer_is_a_tensor_of_its_bytes_and_no_string(buffer):
    array = ortx.tensor(buffer).numpy()
    assert (array.dtype, array.tolist()) == (np.uint8, [97, 98, 99, 100])
    assert np.shares_memory(array, np.frombuffer(buffer, np.uint8))


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.array([b"ab", b"\xff"]), r"got b'\xff' (bytes) at (1,), which is no UTF-8 (invalid start byte)"),
        (objects([["a", b"caf\xc3"]]), r"got b'caf\xc3' (bytes) at (0, 1), which is no UTF-8 (unexpected end of data)"),
        (objects(["a", 1]), "got 1 (int) at (1,) among the strings"),
        (objects([None]), "got None (NoneType) at (0,) among the strings"),
    ],
    ids=["S", "bytes", "int", "None"],
)
def test_a_tensor_of_what_is_no_string_is_refused(array, words):
    with pytest.raises(ortx.InvalidArgument) as caught:
        ortx.tensor(array)
    assert str(caught.value) == f"tensor: {words}; expected str only"


@given(st.lists(st.text(), max_size=20))
def test_any_text_goes_through(session, texts):
    array = objects(texts)
    assert_strings(session.run([texts])[0], texts)
    assert_strings(run_into(session, array), texts)
    assert_strings(session.run([[text.encode() for text in texts]])[0], texts)


@given(hnp.arrays(object, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=3), elements=st.text()))
def test_any_array_of_str_goes_through(session, array):
    for x in (array, array.astype("U"), array.T):  # the second without NULs at the end
        assert_strings(session.run([x])[0], x.tolist(), x.shape)


# --- what is refused


class Unprintable:
    def __repr__(self) -> str:
        raise RuntimeError("no repr")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (["a", "\ud800"], r"'\ud800' (str), which cannot be written as UTF-8 (surrogates not allowed)"),
        (np.array(["a", "\udfff"]), r"'\udfff' (str), which cannot be written as UTF-8"),
        ("\udc80", r"'\udc80' (str), which cannot be written as UTF-8"),
        (["a", b"\xff"], r"b'\xff' (bytes) at (1,), which is no UTF-8 (invalid start byte)"),
        (["a", b"\xed\xa0\x80"], r"(bytes) at (1,), which is no UTF-8"),
        ([b"\xc0\x80"], r"b'\xc0\x80' (bytes) at (0,), which is no UTF-8"),
        (np.array([b"caf\xc3"]), r"b'caf\xc3' (bytes) at (0,), which is no UTF-8 (unexpected end of data)"),
        (["a", None], "None (NoneType) at (1,) among the strings"),
        (["a", float("nan")], "nan (float) at (1,) among the strings"),
        (["a", 3], "got 3 (int) at (1,) among the strings"),
        ([3], "got 3 (int) at (0,) among the strings"),
        ([["a", "b"], ["c", 3]], "got 3 (int) at (1, 1) among the strings"),
        (objects(["a", ["b"]]), "['b'] (list) at (1,) among the strings"),
        (["a", bytearray(b"b")], "bytearray(b'b') (bytearray) at (1,) among the strings"),
        ([["a"], ["b", "c"]], "['a'] (list) at (0,) among the strings"),
        (objects(["a", True]), "True (bool) at (1,) among the strings"),
        (objects([Unprintable()]), "(Unprintable) at (0,) among the strings"),
        (3, "3 (int) at () among the strings"),
        (np.array([1, 2]), "int64 of shape (2,)"),
        (np.zeros(2, "datetime64[s]"), "datetime64[s] of shape (2,)"),
        (None, "None; expected string"),
        ({"a": "b"}, "{'a': 'b'} (dict) at () among the strings"),
    ],
)
@pytest.mark.parametrize("way", ["run", "submit", "binding"])
def test_what_is_no_string_is_refused(session, way, value, words):
    with pytest.raises(ortx.CallError) as caught:
        WAYS[way](session, value)
    assert "input 'x': got " in str(caught.value)
    assert words in str(caught.value)
    assert "expected string of any shape" in str(caught.value)


@pytest.mark.skipif(not hasattr(np.dtypes, "StringDType"), reason="needs numpy's StringDType")
def test_a_missing_string_of_numpy_is_refused(session):
    array = np.array(["a", np.nan], np.dtypes.StringDType(na_object=np.nan))
    with pytest.raises(ortx.CallError, match=r"input 'x': got nan \(float\) at \(1,\) among the strings"):
        session.run([array])


def test_the_shape_of_strings_is_checked():
    with ortx.session_from_bytes(identity((2, None))) as session:
        expected = r"expected string of shape \(2, any\)"
        with pytest.raises(ortx.CallError, match=rf"got strings of shape \(2,\); {expected}: 2 dimensions, not 1"):
            session.run([["a", "b"]])
        with pytest.raises(ortx.CallError, match=rf"{expected}: dimension 0 must be 2, not 1"):
            session.run([[["a", "b"]]])
        assert_strings(session.run([[["a"], ["b"]]])[0], [["a"], ["b"]])


@pytest.mark.parametrize(
    ("buffer", "words"),
    [
        (np.zeros(2, "U5"), r"got str160 of shape \(2,\); expected string of any shape$"),
        (np.zeros(2, "S5"), r"got bytes40 of shape \(2,\); expected string of any shape$"),
        (np.zeros(2), r"got float64 of shape \(2,\); expected string of any shape$"),
        (["", ""], "expected a writable array or buffer"),
        ("", "expected a writable array or buffer"),
    ],
    ids=["U", "S", "float64", "list", "str"],
)
def test_only_an_array_of_objects_takes_strings(session, buffer, words):
    with pytest.raises(ortx.CallError, match=f"output 'y': .*{words}"):
        session.run_into([["a", "b"]], [buffer])
    with pytest.raises(ortx.CallError, match=f"output 'y': .*{words}"):
        session.create_io_binding().bind_output("y", buffer)


def test_a_buffer_for_strings_has_to_be_writable_and_of_the_right_shape(session):
    fixed = objects(["x", "y"])
    fixed.flags.writeable = False
    with pytest.raises(ortx.CallError, match="got a read-only array"):
        session.run_into([["a", "b"]], [fixed])
    with pytest.raises(ortx.CallError, match="not C-contiguous"):
        session.run_into([["a", "b"]], [objects(["x"] * 4)[::2]])
    buffer = objects(["x", "y", "z"])
    with pytest.raises(ortx.InvalidArgument, match=r"output 'y': got object of shape \(3,\); the result is object of"):
        session.run_into([["a", "b"]], [buffer])
    with pytest.raises(ortx.InvalidArgument, match=r"output 'y': got object of shape \(3,\)"):
        bound(session, ["a", "b"], buffer)
    with pytest.raises(ortx.InvalidArgument, match=r"output 'y': got object of shape \(1,\)"):
        bound(session, ["a", "b"], objects(["x"]))  # numpy would not even notice, if it were the other way round
    with pytest.raises(ortx.InvalidArgument, match=r"output 'y': got object of shape \(2,\)"):
        bound(session, ["a"], objects(["x", "y"]))  # numpy would broadcast
    assert buffer.tolist() == ["x", "y", "z"]


def test_the_input_may_be_the_output_since_strings_are_copied(session):
    array = objects(["a", "b"])
    assert session.run_into([array], [array])["y"] is array
    assert array.tolist() == ["a", "b"]


def test_two_outputs_of_strings_need_a_buffer_each():
    node = helper.make_node("Identity", ["x"], ["y"])
    model = build([node, helper.make_node("Identity", ["x"], ["z"])], [strings("x")], [strings("y"), strings("z")])
    with ortx.session_from_bytes(model) as session:
        buffer = objects(["blank"] * 3)
        for outputs in (
            {"y": buffer[:2], "z": buffer[:2]},
            {"y": buffer[:2], "z": buffer[1:]},
            [buffer[:2], ortx.tensor(buffer[:2])],
        ):
            with pytest.raises(ortx.CallError) as caught:
                session.run_into([["a", "b"]], outputs)
            (problem,) = caught.value.problems
            assert problem == "output 'z': shares memory with output 'y'; give each a buffer of its own"
        assert buffer.tolist() == ["blank"] * 3
        first, second = objects(["", ""]), objects(["", ""])
        session.run_into([["a", "b"]], [first, second])
        assert first.tolist() == second.tolist() == ["a", "b"]
        both = objects([""] * 4)
        session.run_into([["a", "b"]], [both[:2], both[2:]])
        assert both.tolist() == ["a", "b", "a", "b"]


# --- what a binding sees


def test_a_bound_string_input_is_a_copy(session):
    array = objects(["a", "b"])
    binding = session.create_io_binding()
    binding.bind_input("x", array)
    binding.bind_output("y")
    array[0] = "changed"
    assert binding.run()["y"].tolist() == ["a", "b"]
    binding.bind_input("x", array)
    assert binding.run()["y"].tolist() == ["changed", "b"]


def test_each_run_of_a_binding_returns_strings_of_its_own(session):
    binding = session.create_io_binding()
    binding.bind_input("x", ["a", "b"])
    binding.bind_output("y")
    first = binding.run()["y"]
    binding.bind_input("x", ["c"])
    second = binding.run()["y"]
    first[0] = "changed"
    assert (first.tolist(), second.tolist()) == (["changed", "b"], ["c"])


def test_a_bound_array_gets_the_strings_of_each_run(session):
    buffer = objects(["x", "y"])
    binding = session.create_io_binding()
    binding.bind_output("y", buffer)
    for texts in (["a", "b"], ["c", "d"]):
        binding.bind_input("x", texts)
        assert binding.run()["y"] is buffer
        assert buffer.tolist() == texts


# --- what is no UTF-8 inside a model


@pytest.mark.parametrize("items", [(b"\xff\xfe", b"ok\0", b"caf\xc3"), (b"\x80",), (b"\xed\xa0\x80", b"")])
def test_bytes_of_a_model_that_are_no_utf8_are_kept_as_surrogates(items):
    with ortx.session_from_bytes(containing(*items)) as session:
        into, binding = objects([""] * len(items)), session.create_io_binding()
        binding.bind_output("y")
        for got in (session.run([])[0], session.run_into([], [into])[0], binding.run()[0]):
            assert [item.encode("utf-8", "surrogateescape") for item in got] == list(items)
            assert all(type(item) is str for item in got)
    with ortx.session_from_bytes(identity()) as other, pytest.raises(ortx.CallError, match="cannot be written as UTF"):
        other.run([got])


# --- references and memory


def test_no_reference_to_a_string_is_kept_or_lost(session):
    text = "".join(["sentinel ", "é"])  # of its own
    array, mixed = objects([text] * 5), [text, b"bytes"]
    gc.collect()
    before = sys.getrefcount(text)
    for _ in range(20):
        for way in WAYS.values():
            way(session, array)
            way(session, mixed)
        with pytest.raises(ortx.CallError):
            session.run([[text, "\ud800"]])
        with pytest.raises(ortx.CallError):
            session.run([[text, 3]])
    gc.collect()
    assert sys.getrefcount(text) == before


def test_what_a_buffer_held_before_is_let_go(session):
    old = "".join(["what stood", " there"])
    gc.collect()
    before = sys.getrefcount(old)
    buffer = objects([old] * 4)
    assert sys.getrefcount(old) == before + 4
    session.run_into([["a", "b", "c", "d"]], [buffer])
    assert sys.getrefcount(old) == before


def test_returned_strings_belong_to_the_array_alone(session):
    y = session.run([["one of a kind", "é" * 100]])[0]
    references = [sys.getrefcount(item) for item in y]
    fresh = objects(["".join(["one of", " a kind"]), "".join(["é"] * 100)])
    assert references == [sys.getrefcount(item) for item in fresh]


def test_no_reference_to_none_is_lost(session):
    array = objects(["a"] * 1000)
    before = sys.getrefcount(None)  # always the same from Python 3.12 on
    for _ in range(5):
        session.run([array])
        session.run_into([array], [array])
    assert abs(sys.getrefcount(None) - before) < 1000


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux's /proc")
def test_two_hundred_runs_of_ten_thousand_strings_leave_no_memory_behind(session):
    texts = [f"a string that is long enough to be allocated, number {i} é" for i in range(10_000)]
    array, buffer = objects(texts), objects(texts)

    def run_some(times: int) -> None:
        for _ in range(times):
            session.run([array])
            session.run_into([array], [buffer])
            bound(session, array)

    run_some(10)
    handles, before = _core._live_handles(), resident_bytes()
    run_some(67)
    grown = resident_bytes() - before
    assert _core._live_handles() == handles
    assert grown < 6e6  # one lost copy of the strings a run would be 100 MB
    assert buffer.tolist() == texts


# --- strings are not copied on the way in: what becomes of the caller's array does not matter ---


@pytest.mark.skipif(sys.platform != "linux", reason="another std::string than libstdc++'s is always copied")
def test_strings_are_read_in_place_where_the_library_is_linked_with_libstdcxx(sharing):
    assert _core._share_strings(sharing) == sharing


def test_an_array_of_strings_may_be_changed_and_deleted_while_it_is_bound(session):
    x = objects([f"a string that is long enough not to fit into its object: {i}" for i in range(100)])
    expected = x.copy()
    binding = session.create_io_binding()
    binding.bind_input("x", x)
    binding.bind_output("y")
    x[:] = "gone"
    del x
    gc.collect()
    for _ in range(2):
        assert np.array_equal(session.run_with_iobinding(binding)["y"], expected)


def test_an_array_of_strings_may_be_changed_by_another_thread_while_a_model_runs(session):
    x = np.empty(2000, object)
    stop = threading.Event()

    def change():
        number = 0
        while not stop.is_set():
            number += 1
            x[:] = [f"string of round {number} that is longer than its object: {i}" for i in range(len(x))]

    x[:] = "string of round 0 that is longer than its object: 0"
    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(50):
            assert all(text.startswith("string of round ") for text in session.run([x])["y"].tolist())
    finally:
        stop.set()
        thread.join()


def test_strings_that_were_returned_stay_when_all_else_is_gone():
    with ortx.session_from_bytes(identity(), intra_op_num_threads=1) as session:
        y = session.run([objects(["long enough to be on the heap, not in the object", "short"])])["y"]
    gc.collect()
    assert y.tolist() == ["long enough to be on the heap, not in the object", "short"]


@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 15, 16, 17, 127, 128, 129, 5000])
@pytest.mark.parametrize("character", ["a", "\0", "é", "ÿ", "Ā", "☃", "\uffff", "\U00010000", "\U0010ffff"])
def test_a_string_comes_back_whatever_its_length_and_width(session, size, character):
    text = character * size
    for x in (objects([text, "a" + text, text + "z"]), objects([text * 2, ""])):
        assert session.run([x])["y"].tolist() == x.tolist()


@pytest.mark.parametrize(
    "item",
    [
        b"\x80", b"\xbf", b"\xc0\xaf", b"\xc1\xbf", b"\xc2", b"\xc2a", b"\xe0\x9f\xbf", b"\xe2\x98", b"\xed\xa0\x80",
        b"\xf0\x8f\xbf\xbf", b"\xf4\x90\x80\x80", b"\xf5\x80\x80\x80", b"\xff", b"ok\xe2\x98", b"\xe2\x28\xa1",
    ],
)  # fmt: skip
def test_what_is_no_utf8_is_read_as_python_reads_it(item):
    with ortx.session_from_bytes(containing(item, b"\xc3\xa9"), intra_op_num_threads=1) as session:
        assert session.run([])["y"].tolist() == [item.decode("utf-8", "surrogateescape"), "é"]


def test_empty_lists_of_strings_take_the_dimensions_that_the_model_declares():
    with ortx.session_from_bytes(identity([2, None, 4]), intra_op_num_threads=1) as session:
        assert session.run([[[], []]])["y"].shape == (2, 0, 4)
    with (
        ortx.session_from_bytes(identity([2, None, None]), intra_op_num_threads=1) as session,
        pytest.raises(ortx.CallError, match="do not say how large dimension 2 is; pass an array"),
    ):
        session.run([[[], []]])
