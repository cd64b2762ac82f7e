"""Damaged models: where they begin, and what is done to them. The same seed gives the same model."""

from __future__ import annotations

import functools
import importlib.resources
import random
from collections.abc import Callable
from pathlib import Path

import models
import onnx
import onnx.defs
from onnx import AttributeProto, TensorProto, helper

NUMBERS = [0, 1, -1, 2, 3, 7, -7, 127, 128, 255, 65536, 2**31 - 1, -(2**31), 2**31, 2**32, 2**62, 2**63 - 1, -(2**63)]
LARGEST = 20_000  # bytes of a model that others are made of, the one real model aside


@functools.cache
def bases() -> dict[str, bytes]:
    """Return the models that others are made of, by name."""
    found = {
        name: made()
        for name, made in vars(models).items()
        if callable(made) and getattr(made, "__module__", "") == "models" and made.__code__.co_argcount == 0
    }
    found |= {
        "square": models.square(),
        "identity": models.identity(),
        "many": models.many(3),
        "slow": models.slow(9, 4),
    }
    folder = Path(onnx.__file__).parent / "backend" / "test" / "data"
    for file in sorted(folder.rglob("*.onnx")):
        # The "light" ones make weights of hundreds of megabytes while they are opened.
        if file.stat().st_size <= LARGEST and file.parent.name != "light":
            found[f"{file.parent.name}/{file.stem}"] = file.read_bytes()
    try:
        magika = importlib.resources.files("magika") / "models"
    except ModuleNotFoundError:  # not everywhere: the rest is enough to go on with
        return found
    return found | {f"magika/{folder.name}": (folder / "model.onnx").read_bytes() for folder in sorted_folders(magika)}


def sorted_folders(parent: object) -> list[Path]:
    return sorted(folder for folder in Path(str(parent)).iterdir() if (folder / "model.onnx").is_file())


# --- bytes ----------------------------------------------------------------------------------------------------------


def flip_bits(model: bytearray, rng: random.Random) -> None:
    for _ in range(rng.choice([1, 1, 2, 8, 64])):
        model[rng.randrange(len(model))] ^= 1 << rng.randrange(8)


def set_bytes(model: bytearray, rng: random.Random) -> None:
    for _ in range(rng.choice([1, 1, 2, 8])):
        model[rng.randrange(len(model))] = rng.choice([0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)])


def truncate(model: bytearray, rng: random.Random) -> None:
    del model[rng.randrange(len(model)) :]


def delete(model: bytearray, rng: random.Random) -> None:
    start = rng.randrange(len(model))
    del model[start : start + rng.choice([1, 2, 16, 256])]


def repeat(model: bytearray, rng: random.Random) -> None:
    start = rng.randrange(len(model))
    piece = model[start : start + rng.choice([1, 8, 64, 512])]
    model[start:start] = piece * rng.choice([1, 2, 50])


def splice(model: bytearray, rng: random.Random) -> None:
    other = rng.choice([*bases().values()])
    start, at = rng.randrange(len(other)), rng.randrange(len(model))
    model[at : at + rng.choice([0, 0, 16, 64])] = other[start : start + rng.choice([4, 64, 1024])]


BYTES = [flip_bits, set_bytes, truncate, delete, repeat, splice]


# --- messages -------------------------------------------------------------------------------------------------------


def parts(message: object, kind: type) -> list:
    """Return all messages of a kind inside a message."""
    found = [message] if isinstance(message, kind) else []
    for field, value in message.ListFields():
        if field.message_type is not None:
            for part in value if field.is_repeated else [value]:
                found += parts(part, kind)
    return found


def any_of(model: onnx.ModelProto, kind: type, rng: random.Random):
    found = parts(model, kind)
    return rng.choice(found) if found else kind()


def dimensions_of_a_tensor(model: onnx.ModelProto, rng: random.Random) -> None:
    tensor = any_of(model, TensorProto, rng)
    if tensor.dims and rng.random() < 0.7:
        tensor.dims[rng.randrange(len(tensor.dims))] = rng.choice(NUMBERS)
    else:
        tensor.dims.append(rng.choice(NUMBERS))


def type_of_a_tensor(model: onnx.ModelProto, rng: random.Random) -> None:
    any_of(model, TensorProto, rng).data_type = rng.choice([*range(30), -1, 999])


def elements_of_a_tensor(model: onnx.ModelProto, rng: random.Random) -> None:
    tensor = any_of(model, TensorProto, rng)
    if tensor.raw_data:
        tensor.raw_data = bytes(rng.randbytes(rng.choice([0, 1, len(tensor.raw_data)]) % 100_000))
    elif rng.random() < 0.5:
        tensor.raw_data = rng.randbytes(rng.randrange(32))
    else:
        tensor.int64_data.append(rng.choice(NUMBERS))


def tensor_in_another_file(model: onnx.ModelProto, rng: random.Random) -> None:
    tensor = any_of(model, TensorProto, rng)
    tensor.data_location = rng.choice([TensorProto.EXTERNAL, TensorProto.DEFAULT])
    for key in rng.sample(["location", "offset", "length", "checksum", "what"], rng.randrange(4)):
        tensor.external_data.add(key=key, value=rng.choice(["w.bin", "../w", "*/_ORT_MEM_ADDR_/*", "4096", "-1", "x"]))


def attribute(model: onnx.ModelProto, rng: random.Random) -> None:
    changed = any_of(model, AttributeProto, rng)
    match rng.randrange(5):
        case 0:
            changed.i = rng.choice(NUMBERS)
        case 1:
            if changed.ints and rng.random() < 0.7:
                changed.ints[rng.randrange(len(changed.ints))] = rng.choice(NUMBERS)
            else:
                changed.ints.extend(rng.choices(NUMBERS, k=rng.randrange(9)))
        case 2:
            changed.type = rng.choice(AttributeProto.AttributeType.values())
        case 3:
            changed.s = rng.choice([b"", b"SAME_UPPER", b"\xff", b"bilinear", b"ij,jk->ik", b"...", rng.randbytes(9)])
        case 4:
            changed.f = rng.choice([0.0, -1.0, 1e38, float("nan"), float("inf")])


def attribute_taken_away(model: onnx.ModelProto, rng: random.Random) -> None:
    node = any_of(model, onnx.NodeProto, rng)
    if node.attribute:
        del node.attribute[rng.randrange(len(node.attribute))]


def inputs_of_a_node(model: onnx.ModelProto, rng: random.Random) -> None:
    node = any_of(model, onnx.NodeProto, rng)
    names = [name for other in parts(model, onnx.NodeProto) for name in [*other.input, *other.output]]
    match rng.randrange(4):
        case 0:
            if node.input:
                node.input[rng.randrange(len(node.input))] = rng.choice([*names, "", "nothing"])
        case 1:
            node.input.append(rng.choice([*names, ""]))
        case 2:
            if node.input:
                del node.input[rng.randrange(len(node.input))]
        case 3:
            inputs = [*node.input]
            rng.shuffle(inputs)
            node.input[:] = inputs


def outputs_of_a_node(model: onnx.ModelProto, rng: random.Random) -> None:
    node = any_of(model, onnx.NodeProto, rng)
    names = [name for other in parts(model, onnx.NodeProto) for name in [*other.input, *other.output]]
    if node.output and rng.random() < 0.6:
        node.output[rng.randrange(len(node.output))] = rng.choice([*names, "", "new"])
    else:
        node.output.append(rng.choice([*names, "", "new"]))


def operator_of_a_node(model: onnx.ModelProto, rng: random.Random) -> None:
    node = any_of(model, onnx.NodeProto, rng)
    schema = rng.choice(schemas())
    node.op_type, node.domain = schema.name, schema.domain
    if rng.random() < 0.1:
        node.domain = rng.choice(["com.microsoft", "ai.onnx.ml", "", "nobody"])


def order_of_nodes(model: onnx.ModelProto, rng: random.Random) -> None:
    graph = any_of(model, onnx.GraphProto, rng)
    nodes = [*graph.node]
    rng.shuffle(nodes)
    del graph.node[:]
    graph.node.extend(nodes + rng.choices(nodes, k=rng.randrange(2)) if nodes else [])


def type_of_a_value(model: onnx.ModelProto, rng: random.Random) -> None:
    value = any_of(model, onnx.ValueInfoProto, rng)
    match rng.randrange(4):
        case 0:
            value.type.tensor_type.elem_type = rng.randrange(30)
        case 1:
            shape = value.type.tensor_type.shape
            if shape.dim and rng.random() < 0.7:
                shape.dim[rng.randrange(len(shape.dim))].dim_value = rng.choice(NUMBERS)
            else:
                shape.dim.add().dim_value = rng.choice(NUMBERS)
        case 2:
            value.ClearField("type")
        case 3:
            value.type.CopyFrom(
                rng.choice(
                    [
                        helper.make_sequence_type_proto(helper.make_tensor_type_proto(1, None)),
                        helper.make_optional_type_proto(helper.make_tensor_type_proto(1, None)),
                        helper.make_map_type_proto(7, helper.make_tensor_type_proto(1, None)),
                        helper.make_sparse_tensor_type_proto(1, (2, 2)),
                    ]
                )
            )


def name_of_a_value(model: onnx.ModelProto, rng: random.Random) -> None:
    value = any_of(model, onnx.ValueInfoProto, rng)
    value.name = rng.choice([*(other.name for other in parts(model, onnx.ValueInfoProto)), "", "\0", "w" * 300])


def values_of_a_graph(model: onnx.ModelProto, rng: random.Random) -> None:
    graph = any_of(model, onnx.GraphProto, rng)
    values = rng.choice([graph.input, graph.output, graph.value_info, graph.initializer])
    if values and rng.random() < 0.5:
        del values[rng.randrange(len(values))]
    elif values:
        values.append(rng.choice(values))


def versions(model: onnx.ModelProto, rng: random.Random) -> None:
    if model.opset_import and rng.random() < 0.7:
        rng.choice(model.opset_import).version = rng.choice([*range(30), *NUMBERS])
    else:
        model.ir_version = rng.choice([*range(16), *NUMBERS])


def graph_in_itself(model: onnx.ModelProto, rng: random.Random) -> None:
    graph = onnx.GraphProto.FromString(model.graph.SerializeToString())
    node = any_of(model, onnx.NodeProto, rng)
    node.attribute.append(helper.make_attribute(rng.choice(["body", "then_branch", "else_branch"]), graph))


MESSAGES: list[Callable[[onnx.ModelProto, random.Random], None]] = [
    dimensions_of_a_tensor,
    type_of_a_tensor,
    elements_of_a_tensor,
    tensor_in_another_file,
    attribute,
    attribute,
    attribute_taken_away,
    inputs_of_a_node,
    outputs_of_a_node,
    operator_of_a_node,
    order_of_nodes,
    type_of_a_value,
    name_of_a_value,
    values_of_a_graph,
    versions,
    graph_in_itself,
]


# --- models of one node ---------------------------------------------------------------------------------------------

ELEMENT_TYPES = [TensorProto.FLOAT] * 4 + [TensorProto.INT64] * 2 + [*range(1, 17)]


@functools.cache
def schemas() -> list:
    return sorted(onnx.defs.get_all_schemas(), key=lambda schema: (schema.domain, schema.name))


def one_node(rng: random.Random) -> bytes:
    """Return a model of one operator, with inputs, types, shapes and attributes that may or may not make sense."""
    schema = rng.choice(schemas())
    count = rng.randint(schema.min_input, min(schema.max_input, schema.min_input + 3))
    types = [rng.choice(ELEMENT_TYPES)] * count if rng.random() < 0.7 else rng.choices(ELEMENT_TYPES, k=count)
    names = [f"x{i}" if rng.random() < 0.95 else "" for i in range(count)]
    outputs = [f"y{i}" for i in range(rng.randint(max(schema.min_output, 1), min(max(schema.max_output, 1), 4)))]
    node = helper.make_node(schema.name, names, outputs, domain=schema.domain)
    for name, wanted in schema.attributes.items():
        if wanted.required or rng.random() < 0.4:
            node.attribute.append(AttributeProto(name=name, type=wanted.type.value, **some_attribute(wanted, rng)))
    ends: list[onnx.ValueInfoProto] = []
    constants: list[TensorProto] = []
    for name, type_ in zip(names, types, strict=True):
        shape = [rng.choice([0, 1, 2, 3, 3, 5]) for _ in range(rng.choice([0, 1, 2, 2, 3, 4, 5]))]
        if name and rng.random() < 0.3 and type_ == TensorProto.INT64:
            constants.append(helper.make_tensor(name, type_, [len(shape)], [rng.choice(NUMBERS) for _ in shape]))
        elif name:
            ends.append(helper.make_tensor_value_info(name, type_, shape))
    results = [onnx.ValueInfoProto(name=name) for name in outputs]
    graph = helper.make_graph([node], "graph", ends, results, constants)
    opsets = [helper.make_opsetid(domain, version) for domain, version in (("", 21), ("ai.onnx.ml", 5))]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString()


def some_attribute(wanted: object, rng: random.Random) -> dict[str, object]:
    small = [0, 1, 1, 2, 3, -1]
    match wanted.type.value:
        case AttributeProto.INT:
            return {"i": rng.choice([*small, rng.choice(NUMBERS)])}
        case AttributeProto.INTS:
            return {"ints": rng.choices([*small, rng.choice(NUMBERS)], k=rng.randrange(9))}
        case AttributeProto.FLOAT:
            return {"f": rng.choice([0.0, 1.0, -1.0, 1e30])}
        case AttributeProto.FLOATS:
            return {"floats": rng.choices([0.0, 1.0, -1.0, 1e30], k=rng.randrange(9))}
        case AttributeProto.STRING:
            return {"s": rng.choice([b"", b"a", b"NOTSET", b"linear", b"constant", b"ij->ji", b"SUM"])}
        case AttributeProto.STRINGS:
            return {"strings": rng.choices([b"", b"a", b"Tanh"], k=rng.randrange(4))}
        case AttributeProto.TENSOR:
            return {"t": helper.make_tensor("t", TensorProto.FLOAT, [2], [1.0, 2.0])}
        case AttributeProto.GRAPH:
            return {"g": onnx.ModelProto.FromString(models.square()).graph}
    return {}


# --- all of it ------------------------------------------------------------------------------------------------------


def mutated(seed: int | str) -> tuple[str, bytes]:
    """Return how a model was made, and the model."""
    rng = random.Random(seed)
    if rng.random() < 0.25:
        return "one node", one_node(rng)
    name = rng.choice([*bases()])
    if name.startswith("magika") and rng.random() < 0.8:  # it takes a hundred times as long as the others
        name = rng.choice([*bases()])
    steps: list[str] = []
    content = bases()[name]
    if rng.random() < 0.6:
        model = onnx.ModelProto.FromString(content)
        for step in rng.choices(MESSAGES, k=rng.choice([1, 1, 2, 3])):
            step(model, rng)
            steps.append(step.__name__)
        content = model.SerializeToString()
    if not steps or rng.random() < 0.1:
        changed = bytearray(content)
        for step in rng.choices(BYTES, k=rng.choice([1, 1, 2])):
            if changed:
                step(changed, rng)
                steps.append(step.__name__)
        content = bytes(changed)
    return f"{name}: {', '.join(steps)}", content
