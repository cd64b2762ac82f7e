"""Values of an optional type: `ortx.optional`, inputs that may be left out, outputs without a value."""

from __future__ import annotations

import gc
import weakref

import models
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import ortx

TYPE = "optional(tensor(float))"
FLOATS = helper.make_tensor_type_proto(TensorProto.FLOAT, [2])
OPTIONAL = helper.make_optional_type_proto(FLOATS)
Z = np.array([10, 20], np.float32)
X = np.array([1, 2], np.float32)


def optional_value(name: str) -> onnx.ValueInfoProto:
    return helper.make_value_info(name, OPTIONAL)


def branch(name: str, node: onnx.NodeProto, output: onnx.ValueInfoProto) -> onnx.GraphProto:
    return helper.make_graph([node], name, [], [output])


def taking() -> bytes:
    """y = z + x if x is given, else z; given = whether it is; x may be left out, z may not"""
    float_pair = models.tensor("zeros", shape=(2,))
    return models.build(
        [
            helper.make_node("OptionalHasElement", ["x"], ["given"]),
            helper.make_node(
                "If",
                ["given"],
                ["addend"],
                then_branch=branch(
                    "then", helper.make_node("OptionalGetElement", ["x"], ["element"]), models.tensor("element")
                ),
                else_branch=branch(
                    "else", helper.make_node("Constant", [], ["zeros"], value_floats=[0.0, 0.0]), float_pair
                ),
            ),
            helper.make_node("Add", ["z", "addend"], ["y"]),
        ],
        [optional_value("x"), models.tensor("z", shape=(2,))],
        [models.tensor("y", shape=(2,)), models.tensor("given", "bool", ())],
    )


def giving() -> bytes:
    """maybe = x if c, else nothing; always = x"""
    return models.build(
        [
            helper.make_node(
                "If",
                ["c"],
                ["maybe"],
                then_branch=branch("then", helper.make_node("Optional", ["x"], ["full"]), optional_value("full")),
                else_branch=branch(
                    "else", helper.make_node("Optional", [], ["empty"], type=FLOATS), optional_value("empty")
                ),
            ),
            helper.make_node("Identity", ["x"], ["always"]),
        ],
        [models.tensor("x", shape=(2,)), models.tensor("c", "bool", ())],
        [optional_value("maybe"), models.tensor("always", shape=(2,))],
    )


@pytest.fixture(scope="module")
def session():
    with ortx.session_from_bytes(taking(), intra_op_num_threads=2) as session:
        yield session


@pytest.fixture(scope="module")
def giver():
    with ortx.session_from_bytes(giving(), intra_op_num_threads=2) as session:
        yield session


def run_into(session: ortx.Session, inputs: object) -> ortx.Outputs:
    y, given = np.full(2, -1, np.float32), np.array(0, bool)
    outputs = session.run_into(inputs, {"y": y, "given": given})
    assert outputs["y"] is y
    return outputs


WAYS = {
    "run": lambda session, inputs: session.run(inputs),
    "run_into": run_into,
    "submit": lambda session, inputs: session.submit(inputs).result(timeout=60),
}
EACH_WAY = pytest.mark.parametrize("way", WAYS)
BY = {"name": lambda x, z: {"x": x, "z": z}, "position": lambda x, z: [x, z], "tuple": lambda x, z: (x, z)}
EACH_FORM = pytest.mark.parametrize("by", BY)


# --- ortx.optional


def test_the_model_declares_what_this_test_thinks(session, giver):
    assert session.input_names() == ("x", "z")
    assert session.input_info("x").type == giver.output_info("maybe").type == TYPE


@pytest.mark.parametrize("arguments", [(), (None,), (None, None)], ids=len)
def test_an_optional_of_nothing_is_empty(arguments):
    optional = ortx.optional(*arguments)
    assert isinstance(optional, ortx.Optional)
    assert (optional.has_value, optional.value, optional.type_info) == (False, None, None)
    assert repr(optional) == "<ortx.Optional empty>"


@pytest.mark.parametrize("value", [0, 0.0, False, "", [], {}, np.zeros(0), X, object()], ids=repr)
def test_an_optional_of_something_has_that_very_object_as_value(value):
    optional = ortx.optional(value)
    assert optional.has_value is True
    assert optional.value is value
    assert optional.type_info is None
    assert ortx.optional(value=value).value is value


@pytest.mark.parametrize("value", [None, [1.0]], ids=["empty", "full"])
def test_the_type_is_kept_as_it_was_given(session, value):
    info = session.input_info("x")
    assert ortx.optional(value, info).type_info is info
    assert ortx.optional(value, TYPE).type_info == TYPE
    assert ortx.optional(value=value, type_info="anything at all").type_info == "anything at all"


@pytest.mark.parametrize("value", [None, X], ids=["empty", "full"])
def test_an_optional_of_an_optional_is_one_of_its_value(value):
    outer = ortx.optional(ortx.optional(ortx.optional(value)), TYPE)
    assert outer.value is value
    assert outer.has_value is (value is not None)
    assert outer.type_info == TYPE


@pytest.mark.parametrize("value", [None, X], ids=["empty", "full"])
def test_an_optional_of_an_optional_keeps_its_type_unless_another_one_is_given(session, value):
    info = session.input_info("x")
    assert ortx.optional(ortx.optional(value, info)).type_info is info
    assert ortx.optional(ortx.optional(ortx.optional(value, info))).type_info is info
    assert ortx.optional(ortx.optional(value, info), TYPE).type_info == TYPE
    assert ortx.optional(ortx.optional(value, "tensor(int8)"), info).type_info is info
    assert ortx.optional(ortx.optional(value)).type_info is None
    with pytest.raises(ortx.CallError, match=r"input 'x': got an ortx.Optional of tensor\(int8\)"):
        session.run([ortx.optional(ortx.optional(value, "tensor(int8)")), Z])


@pytest.mark.parametrize("wrong", [1, b"tensor(float)", np.float32, ["tensor(float)"], X.dtype, {}], ids=repr)
def test_a_type_that_is_neither_text_nor_info_is_refused(wrong):
    with pytest.raises(ortx.InvalidType) as caught:
        ortx.optional(None, wrong)
    assert isinstance(caught.value, TypeError)
    assert str(caught.value).startswith("optional: type_info: got ")
    assert str(caught.value).endswith(
        f"({type(wrong).__name__}); expected what session.input_info(name) returns, or ONNX's spelling of a type"
    )


@pytest.mark.parametrize(
    ("value", "type_info", "expected"),
    [
        (None, None, "<ortx.Optional empty>"),
        (None, TYPE, f"<ortx.Optional empty of {TYPE}>"),
        (1.5, None, "<ortx.Optional 1.5>"),
        ("", None, "<ortx.Optional ''>"),
        ([1.0, 2.0], TYPE, f"<ortx.Optional [1.0, 2.0] of {TYPE}>"),
        (X, "tensor(float)", "<ortx.Optional array([1., 2.], dtype=float32) of tensor(float)>"),
    ],
    ids=str,
)
def test_repr_says_what_is_in_it_and_of_which_type(value, type_info, expected):
    assert repr(ortx.optional(value, type_info)) == expected


def test_repr_shows_the_type_of_an_info_and_cuts_what_is_long(session):
    text = repr(ortx.optional("x" * 10_000, session.input_info("x")))
    assert text.startswith("<ortx.Optional 'xxx")
    assert text.endswith(f" of {TYPE}>")
    assert len(text) < 200


def test_repr_survives_a_value_that_has_none():
    class Unprintable:
        def __repr__(self) -> str:
            raise ZeroDivisionError

    assert "Unprintable" in repr(ortx.optional(Unprintable(), TYPE))


@pytest.mark.parametrize(
    "call",
    [
        lambda: ortx.Optional(),
        lambda: ortx.Optional(1.0),
        lambda: ortx.Optional(None, TYPE),
        lambda: ortx.Optional(value=1.0),
    ],
    ids=["nothing", "value", "both", "keyword"],
)
def test_the_class_is_not_called(call):
    with pytest.raises(TypeError):
        call()


def test_the_class_says_what_to_call():
    with pytest.raises(TypeError) as caught:
        ortx.Optional()
    assert str(caught.value) == "Optional cannot be made directly; use ortx.optional(value, type_info)"


def test_the_class_has_no_subclasses():
    with pytest.raises(TypeError):
        type("Mine", (ortx.Optional,), {})


@pytest.mark.parametrize("name", ["value", "type_info", "has_value", "content", "declared", "other"])
def test_an_optional_does_not_change(name):
    optional = ortx.optional(1.0, TYPE)
    with pytest.raises(AttributeError):
        setattr(optional, name, 2.0)
    with pytest.raises(AttributeError):
        delattr(optional, name)
    assert (optional.value, optional.type_info, optional.has_value) == (1.0, TYPE, True)


def test_an_optional_keeps_its_value_and_drops_it_with_itself():
    x = X.copy()
    alive = weakref.ref(x)
    optional = ortx.optional(x)
    del x
    gc.collect()
    assert alive() is not None
    del optional
    gc.collect()
    assert alive() is None


# --- an input that may be left out

EMPTY = {
    "None": lambda _: None,
    "optional()": lambda _: ortx.optional(),
    "optional(None, info)": lambda info: ortx.optional(None, info),
    "optional(None, info.element)": lambda info: ortx.optional(None, info.element),
    "optional(None, text)": lambda _: ortx.optional(None, TYPE),
    "optional(None, element's text)": lambda _: ortx.optional(None, "tensor(float)"),
    "optional(optional(), info)": lambda info: ortx.optional(ortx.optional(), info),
}
FULL = {
    "array": lambda _: X,
    "list": lambda _: [1.0, 2.0],
    "tensor": lambda _: ortx.tensor(X),
    "array with gaps": lambda _: np.repeat(X, 2)[::2],
    "optional(array)": lambda _: ortx.optional(X),
    "optional(list)": lambda _: ortx.optional([1, 2]),
    "optional(tensor)": lambda _: ortx.optional(ortx.tensor(X)),
    "optional(array, info)": lambda info: ortx.optional(X, info),
    "optional(array, info.element)": lambda info: ortx.optional(X, info.element),
    "optional(array, text)": lambda _: ortx.optional(X, TYPE),
    "optional(array, element's text)": lambda _: ortx.optional(X, "tensor(float)"),
    "optional(optional(array))": lambda _: ortx.optional(ortx.optional(X)),
    "optional(array with gaps)": lambda _: ortx.optional(np.repeat(X, 2)[::2]),
}


@EACH_WAY
@EACH_FORM
@pytest.mark.parametrize("empty", EMPTY)
def test_an_empty_value_leaves_the_input_out(session, way, by, empty):
    outputs = WAYS[way](session, BY[by](EMPTY[empty](session.input_info("x")), Z))
    assert (outputs["y"].tolist(), outputs["given"].item()) == ([10, 20], False)


@EACH_WAY
def test_an_input_that_is_not_mentioned_is_left_out(session, way):
    outputs = WAYS[way](session, {"z": Z})
    assert (outputs["y"].tolist(), outputs["given"].item()) == ([10, 20], False)


@EACH_WAY
@EACH_FORM
@pytest.mark.parametrize("full", FULL)
def test_a_value_reaches_the_model_whether_it_is_wrapped_or_not(session, way, by, full):
    outputs = WAYS[way](session, BY[by](FULL[full](session.input_info("x")), Z))
    assert (outputs["y"].tolist(), outputs["given"].item()) == ([11, 22], True)


def test_one_call_says_nothing_of_the_next(session):
    for x, expected in [(X, [11, 22]), (None, [10, 20]), (ortx.optional(X), [11, 22]), (ortx.optional(), [10, 20])]:
        assert session.run({"x": x, "z": Z})["y"].tolist() == expected


@EACH_WAY
def test_an_optional_with_a_value_goes_where_a_plain_input_is_declared(session, way):
    for z in (ortx.optional(Z), ortx.optional(Z, session.input_info("z")), ortx.optional([10, 20], "tensor(float)")):
        assert WAYS[way](session, [None, z])["y"].tolist() == [10, 20]


WRONG_TYPES = ["optional(tensor(double))", "tensor(double)", "optional(seq(tensor(float)))", "float32", ""]


@EACH_WAY
@EACH_FORM
@pytest.mark.parametrize("value", [None, X], ids=["empty", "full"])
@pytest.mark.parametrize("wrong", WRONG_TYPES)
def test_another_type_than_the_declared_one_is_refused(session, way, by, value, wrong):
    with pytest.raises(ortx.CallError) as caught:
        WAYS[way](session, BY[by](ortx.optional(value, wrong), Z))
    assert str(caught.value) == f"{way}: input 'x': got an ortx.Optional of {wrong}; expected {TYPE}"


@EACH_WAY
@pytest.mark.parametrize("value", [None, X], ids=["empty", "full"])
def test_an_info_of_another_type_is_refused(session, way, value):
    with pytest.raises(ortx.CallError) as caught:
        WAYS[way](session, {"x": ortx.optional(value, session.output_info("given")), "z": Z})
    assert str(caught.value) == f"{way}: input 'x': got an ortx.Optional of tensor(bool); expected {TYPE}"


@EACH_WAY
@EACH_FORM
@pytest.mark.parametrize(
    ("empty", "word"),
    [
        (None, "None"),
        (ortx.optional(), "an empty ortx.Optional"),
        (ortx.optional(None, "tensor(float)"), "an empty ortx.Optional"),
    ],
    ids=["None", "optional()", "optional(None, text)"],
)
def test_nothing_for_an_input_that_is_required_is_refused(session, way, by, empty, word):
    with pytest.raises(ortx.CallError) as caught:
        WAYS[way](session, BY[by](X, empty))
    assert str(caught.value) == f"{way}: input 'z': got {word}; expected float32 of shape (2,)"


def test_an_optional_type_for_an_input_that_is_required_is_refused(session):
    with pytest.raises(ortx.CallError) as caught:
        session.run([X, ortx.optional(Z, TYPE)])
    assert str(caught.value) == f"run: input 'z': got an ortx.Optional of {TYPE}; expected tensor(float)"


@EACH_WAY
@pytest.mark.parametrize("wrap", [lambda value: value, ortx.optional], ids=["plain", "wrapped"])
@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (
            X.astype(np.float64),
            "got float64 of shape (2,); expected float32 of shape (2,): convert it with array.astype('float32')",
        ),
        (X.reshape(1, 2), "got float32 of shape (1, 2); expected float32 of shape (2,): 1 dimension, not 2"),
        (
            np.ones(3, np.float32),
            "got float32 of shape (3,); expected float32 of shape (2,): dimension 0 must be 2, not 3",
        ),
        ("text", "got 'text' (str), which is no array, buffer, list or number; expected float32 of shape (2,)"),
    ],
    ids=["type", "rank", "dimension", "text"],
)
def test_a_value_that_does_not_fit_is_refused_as_a_plain_one_is(session, way, wrap, value, problem):
    with pytest.raises(ortx.CallError) as caught:
        WAYS[way](session, {"x": wrap(value), "z": Z})
    assert str(caught.value) == f"{way}: input 'x': {problem}"


def test_everything_that_is_wrong_is_said_at_once(session):
    with pytest.raises(ortx.CallError) as caught:
        session.run({"x": ortx.optional(None, "tensor(int8)"), "z": ortx.optional(), "q": ortx.optional()})
    assert sorted(problem.partition(":")[0] for problem in caught.value.problems) == [
        "input 'q'",
        "input 'x'",
        "input 'z'",
    ]


@EACH_WAY
@pytest.mark.parametrize("empty", [None, ortx.optional(), ortx.optional(None, "tensor(float)")], ids=str)
def test_an_empty_overridable_initializer_keeps_its_default(way, empty):
    x = np.array([[1, 2]], np.float32)
    ways = WAYS | {"run_into": lambda session, inputs: session.run_into(inputs, [np.empty_like(x)])}
    with ortx.session_from_bytes(models.overridable(), intra_op_num_threads=2) as session:
        for inputs in ({"x": x, "scale": empty}, [x, empty], {"x": x}):
            assert ways[way](session, inputs)["y"].tolist() == [[10, 20]]
        for scale in ([3.0], ortx.optional([3.0]), ortx.optional([3.0], session.overridable_initializer_info("scale"))):
            assert ways[way](session, [x, scale])["y"].tolist() == [[3, 6]]
        with pytest.raises(ortx.CallError, match="input 'scale': got an ortx.Optional of tensor"):
            ways[way](session, [x, ortx.optional(None, "tensor(int8)")])


# --- a binding


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("x", None, f"got None; expected {TYPE} (or leave the input out)"),
        ("x", ortx.optional(), f"got an empty ortx.Optional; expected {TYPE} (or leave the input out)"),
        ("x", ortx.optional(None, TYPE), f"got an empty ortx.Optional; expected {TYPE} (or leave the input out)"),
        ("x", ortx.optional(X, "tensor(int8)"), f"got an ortx.Optional of tensor(int8); expected {TYPE}"),
        ("z", None, "got None; expected float32 of shape (2,)"),
        ("z", ortx.optional(), "got an empty ortx.Optional; expected float32 of shape (2,)"),
    ],
    ids=str,
)
def test_a_binding_refuses_what_is_empty_and_keeps_what_it_has(session, name, value, problem):
    binding = session.create_io_binding()
    binding.bind_input("x", X)
    binding.bind_input("z", Z)
    binding.bind_output("y")
    with pytest.raises(ortx.CallError) as caught:
        binding.bind_input(name, value)
    assert str(caught.value) == f"bind_input: input {name!r}: {problem}"
    assert binding.run()["y"].tolist() == [11, 22]


def test_a_binding_refuses_an_empty_overridable_initializer():
    with ortx.session_from_bytes(models.overridable()) as session:
        binding = session.create_io_binding()
        with pytest.raises(ortx.CallError, match=r"input 'scale': got an empty .* \(or leave the input out\)"):
            binding.bind_input("scale", ortx.optional())
        binding.bind_input("x", [[1.0, 2.0]])
        binding.bind_output("y")
        assert binding.run()["y"].tolist() == [[10, 20]]


@pytest.mark.parametrize("full", [form for form in FULL if "gaps" not in form])
def test_a_binding_takes_an_optional_with_a_value(session, full):
    binding = session.create_io_binding()
    binding.bind_input("z", ortx.optional(Z))
    binding.bind_output("y")
    binding.bind_output("given")
    outputs = binding.run()
    assert (outputs["y"].tolist(), outputs["given"].item()) == ([10, 20], False)
    binding.bind_input("x", FULL[full](session.input_info("x")))
    outputs = binding.run()
    assert (outputs["y"].tolist(), outputs["given"].item()) == ([11, 22], True)
    binding.clear_inputs()
    binding.bind_input("z", Z)
    assert binding.run()["y"].tolist() == [10, 20]


def test_what_is_bound_in_an_optional_is_not_copied(session):
    x = X.copy()
    binding = session.create_io_binding()
    binding.bind_input("x", ortx.optional(x))
    binding.bind_input("z", Z)
    binding.bind_output("y")
    assert binding.run()["y"].tolist() == [11, 22]
    x *= 5
    assert binding.run()["y"].tolist() == [15, 30]


def test_what_is_bound_in_an_optional_may_not_be_a_copy_either(session):
    gaps = np.repeat(X, 2)[::2]
    swapped_layout = np.array([[1, 2]], np.float32).T[:, 0][::-1]
    for array in (gaps, swapped_layout):
        messages = []
        for value in (
            array,
            ortx.optional(array),
            ortx.optional(array, session.input_info("x")),
            ortx.optional(ortx.optional(array)),
        ):
            with pytest.raises(ortx.CallError) as caught:
                session.create_io_binding().bind_input("x", value)
            messages.append(str(caught.value))
        expected = (
            "bind_input: input 'x': got an array that is not C-contiguous and aligned; bind "
            "numpy.ascontiguousarray(array)"
        )
        assert messages == [expected] * 4


# --- an output that may be without a value

TAKERS = {
    "run": lambda session, inputs: session.run(inputs),
    "run, by name": lambda session, inputs: session.run(inputs, ["always", "maybe"]),
    "run_into": lambda session, inputs: session.run_into(inputs, {"maybe": None, "always": np.empty(2, np.float32)}),
    "submit": lambda session, inputs: session.submit(inputs).result(timeout=60),
}


def bound_run(session: ortx.Session, inputs: list) -> ortx.Outputs:
    binding = session.create_io_binding()
    for name, value in zip(session.input_names(), inputs, strict=True):
        binding.bind_input(name, value)
    for name in session.output_names():
        binding.bind_output(name)
    return binding.run()


@pytest.mark.parametrize("taker", [*TAKERS, "binding"])
def test_an_optional_output_is_an_array_or_none(giver, taker):
    take = TAKERS.get(taker, bound_run)
    for c in (True, False, True):
        outputs = take(giver, [X, np.array(c)])
        assert outputs["always"].tolist() == [1, 2]
        if c:
            np.testing.assert_array_equal(outputs["maybe"], X, strict=True)
        else:
            assert outputs["maybe"] is None
            assert "maybe: NoneType" in repr(outputs)


def test_an_optional_output_outlives_the_session():
    with ortx.session_from_bytes(giving()) as session:
        outputs = session.run([X, True])
    gc.collect()
    assert outputs["maybe"].tolist() == [1, 2]


def test_an_optional_output_with_a_value_goes_into_a_buffer(giver):
    maybe = np.zeros(2, np.float32)
    assert giver.run_into([X, True], {"maybe": maybe})["maybe"] is maybe
    assert maybe.tolist() == [1, 2]


def buffers() -> dict[str, object]:
    memory = np.full(2, -7, np.float32)
    return {"array": memory, "tensor": ortx.tensor(np.full(2, -7, np.float32)), "view": np.full(5, -7, np.float32)[1:3]}


@pytest.mark.parametrize("form", buffers())
def test_an_optional_output_without_a_value_leaves_the_buffer_as_it_is(giver, form):
    buffer = buffers()[form]
    array = buffer.numpy() if isinstance(buffer, ortx.Tensor) else buffer
    words = r"output 'maybe': got float32 of shape \(2,\); the optional result has no value"
    always = np.zeros(2, np.float32)
    with pytest.raises(ortx.InvalidArgument, match=words):
        giver.run_into([X, False], {"maybe": buffer, "always": always})
    assert array.tolist() == [-7, -7]
    binding = giver.create_io_binding()
    binding.bind_input("x", X)
    binding.bind_input("c", False)
    binding.bind_output("maybe", buffer)
    with pytest.raises(ortx.InvalidArgument, match=words):
        binding.run()
    assert array.tolist() == [-7, -7]
    binding.bind_input("c", True)
    assert binding.run()["maybe"] is buffer
    assert array.tolist() == [1, 2]
    array[:] = -7
    assert giver.run_into([X, True], {"maybe": buffer})["maybe"] is buffer
    assert array.tolist() == [1, 2]


def test_an_output_may_be_given_as_an_input_again(giver, session):
    for c, expected in ((True, [11, 22]), (False, [10, 20])):
        maybe = giver.run([X, c])["maybe"]
        assert session.run({"x": maybe, "z": Z})["y"].tolist() == expected
        assert session.run({"x": ortx.optional(maybe, giver.output_info("maybe")), "z": Z})["y"].tolist() == expected
