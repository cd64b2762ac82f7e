"""What a profile's tables consist of: operators, nodes, calls, and spans of time."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Call", "Node", "Operator", "Span"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """All calls of one operator on one execution provider.

    Attributes
    ----------
    name : str
        The operator, such as ``"MatMul"``.
    provider : str
        The execution provider.
    nodes : int
        How many nodes of the model those are.
    calls : int
        How often they ran.
    seconds : float
        How long they took, including the nodes inside of a ``Loop``, ``Scan`` or ``If``.
    own_seconds : float
        The same without these: the sum over all operators counts nothing twice.
    share : float
        `own_seconds` as a part of that sum, from 0 to 1.
    mean_seconds, minimum_seconds, maximum_seconds : float
        Of `seconds`, for a call.
    """

    name: str
    provider: str
    nodes: int
    calls: int
    seconds: float
    own_seconds: float
    share: float
    mean_seconds: float
    minimum_seconds: float
    maximum_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """All calls of one node of the model, as ONNX Runtime has optimised it.

    Attributes
    ----------
    name : str
        The node's name; ONNX Runtime makes one up where the model has none.
    operator : str
        Its operator, such as ``"MatMul"``.
    provider : str
        The execution provider.
    index : int
        Its number in its graph; -1 if it is not known.
    calls, seconds, own_seconds, share, mean_seconds, minimum_seconds, maximum_seconds
        As those of an `Operator`.
    inputs, outputs : tuple of str
        Types and shapes of its first call, such as ``"float (3, 2)"``.
    has_varied : bool
        Whether other calls had others.
    output_bytes, activation_bytes, parameter_bytes : int
        Size of its outputs, of its inputs from other nodes, and of its weights, unless these are packed for the
        kernel; the largest of all calls.
    threads : tuple of int
        Which threads it ran on, by the system's numbers.
    """

    name: str
    operator: str
    provider: str
    index: int
    calls: int
    seconds: float
    own_seconds: float
    share: float
    mean_seconds: float
    minimum_seconds: float
    maximum_seconds: float
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    has_varied: bool
    output_bytes: int
    activation_bytes: int
    parameter_bytes: int
    threads: tuple[int, ...]


@dataclass(slots=True)
class Call:
    """One call of a node.

    Attributes
    ----------
    start : float
        When it began, in seconds since profiling did.
    seconds : float
        How long it took.
    own_seconds : float
        The same without the nodes inside of it.
    depth : int
        How many nodes it is inside of.
    thread : int
        The thread it ran on, by the system's number.
    node, operator : str
        Name of the node, and its operator.
    """

    start: float
    seconds: float
    own_seconds: float
    depth: int
    thread: int
    node: str
    operator: str


@dataclass(frozen=True, slots=True)
class Span:
    """A time in which something happened: a run, the opening of the session, a part of that.

    Attributes
    ----------
    name : str
        ONNX Runtime's word for it, such as ``"model_run"``.
    start, seconds : float
        When it began, in seconds since profiling did, and how long it took.
    thread : int
        The thread it happened on, by the system's number.
    """

    name: str
    start: float
    seconds: float
    thread: int
