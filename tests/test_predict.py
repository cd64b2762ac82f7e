"""What a model's operators tell of its runs (`_core.src/predict.pxi`)."""

from __future__ import annotations

import models
import onnx
import onnx.defs
import pytest
from onnx import TensorProto, helper

from ortx import _core

# --- whose cost follows from shapes


def is_predictable(model: bytes) -> bool:
    return _core.predictions(model)[0]


@pytest.mark.parametrize("count", [1, 3, 128])
def test_a_model_of_known_operators_is_predictable(count):
    assert is_predictable(models.chain(*(["Relu", "Tanh", "Neg"] * count)[:count]))


def test_a_model_with_another_operator_or_of_another_domain_or_of_too_many_nodes_is_not():
    assert not is_predictable(models.loop())
    assert not is_predictable(models.chain("Relu", "NonZero"))
    assert not is_predictable(models.chain(*["Relu"] * 129))
    foreign = models.build(
        [helper.make_node("Relu", ["x"], ["y"], domain="com.example")], [models.tensor("x")], [models.tensor("y")]
    )
    assert not is_predictable(foreign)
    spelt_out = models.build(
        [helper.make_node("Relu", ["x"], ["y"], domain="ai.onnx")], [models.tensor("x")], [models.tensor("y")]
    )
    assert is_predictable(spelt_out)


@pytest.mark.parametrize("domain", _core.COST_FOLLOWS_FROM_SHAPES)
def test_every_known_operator_exists_and_has_no_subgraph(domain):
    for name in _core.COST_FOLLOWS_FROM_SHAPES[domain]:
        schema = onnx.defs.get_schema(name.decode(), domain=domain.decode())
        kinds = {attribute.type for attribute in schema.attributes.values()}
        assert not kinds & {onnx.defs.OpSchema.AttrType.GRAPH, onnx.defs.OpSchema.AttrType.GRAPHS}, name


# --- damaged models


def test_what_is_no_model_is_not_predictable():
    assert _core.predictions(None) == (False, False)
    for content in (b"", b"\xff" * 40, b"\x3a\x05\x0a", b"ORTM", b"\x00"):
        assert _core.predictions(content) == (False, False)


def test_a_model_that_is_cut_off_is_not_predictable():
    """Behind the graph comes the opset, without which it still is one for whoever counts nodes."""
    model = models.reshaped(models.constant("shape", (3, 2), "int64"))
    graph = onnx.load_from_string(model).graph.SerializeToString()
    graph_end = model.index(graph) + len(graph)
    for end in range(graph_end):
        assert _core.predictions(model[:end]) == (False, False)
    assert _core.predictions(model) == (True, True)


# --- which models do not let a call's values decide about shapes


def has_constant_shapes(model: bytes) -> bool:
    is_predictable, has_constant_shapes = _core.predictions(model)
    assert is_predictable
    return has_constant_shapes


def test_shapes_of_initializers_and_of_constants_are_the_models_own():
    assert has_constant_shapes(models.reshaped(models.constant("shape", (3, 2), "int64")))
    constant = helper.make_node("Constant", [], ["shape"], value=models.constant("", (3, 2), "int64"))
    other = models.build(
        [constant, helper.make_node("Reshape", ["x", "shape"], ["y"])], [models.tensor("x")], [models.tensor("y")]
    )
    assert has_constant_shapes(other)
    assert has_constant_shapes(models.square())


def test_shapes_that_a_call_brings_or_overrides_or_that_are_computed_are_not():
    shape = models.tensor("shape", "int64", (2,))
    assert not has_constant_shapes(models.reshaped(shape))
    overridden = models.build(
        [helper.make_node("Reshape", ["x", "shape"], ["y"])],
        [models.tensor("x"), shape],
        [models.tensor("y")],
        [models.constant("shape", (3, 2), "int64")],
    )
    assert not has_constant_shapes(overridden)
    computed = models.build(
        [
            helper.make_node("Cast", ["x"], ["shape"], to=TensorProto.INT64),
            helper.make_node("Reshape", ["x", "shape"], ["y"]),
        ],
        [models.tensor("x")],
        [models.tensor("y")],
    )
    assert not has_constant_shapes(computed)


def test_an_input_that_is_left_out_shapes_nothing():
    node = helper.make_node("ReduceSum", ["x", ""], ["y"])
    assert has_constant_shapes(models.build([node], [models.tensor("x")], [models.tensor("y")]))


def test_a_sparse_constant_and_a_function_of_the_models_own_are_looked_at_no_further():
    sparse = helper.make_sparse_tensor(models.constant("", [1.0]), models.constant("", [0], "int64"), [3])
    constant = helper.make_node("Constant", [], ["y"], sparse_value=sparse)
    assert not has_constant_shapes(models.build([constant], [], [models.tensor("y", shape=(3,))]))
    model = onnx.load_from_string(models.square())
    model.functions.append(
        helper.make_function("own", "Twice", ["x"], ["y"], [helper.make_node("Add", ["x", "x"], ["y"])], [])
    )
    assert not has_constant_shapes(model.SerializeToString())


def test_operators_that_values_shape_are_all_known():
    known, shaped_by_values = _core.COST_FOLLOWS_FROM_SHAPES[b""], _core.SHAPED_BY_VALUES
    assert known > shaped_by_values
    # Whatever takes a shape, axes, positions or sizes besides its first input, in any version.
    words = {"shape", "axes", "starts", "ends", "steps", "split", "sizes", "scales", "repeats", "pads", "k"}
    shaped = {
        schema.name.encode()
        for schema in onnx.defs.get_all_schemas_with_history()
        if schema.domain == "" and words & {parameter.name for parameter in schema.inputs[1:]}
    }
    assert shaped & known == shaped_by_values
