"""What a session says of its model and of the memory that its inputs and outputs lie in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["MemoryInfo", "Metadata"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """What the model's author wrote into it; a text is empty where nothing was said.

    Attributes
    ----------
    producer_name : str
        What wrote the model.
    graph_name : str
        Name of the graph.
    graph_description : str
        What the graph is for.
    description : str
        What the model is for.
    domain : str
        The model's namespace, in reverse-DNS form.
    version : int or None
        The model's own version; None if it has none.
    custom_metadata : mapping from str to str
        The model's own keys; ``custom_metadata.get(key)`` is None for a missing one.
    """

    producer_name: str
    graph_name: str
    graph_description: str
    description: str
    domain: str
    version: int | None
    custom_metadata: Mapping[str, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryInfo:
    """Where an input is expected, or an output is put. Stands for ``OrtMemoryInfo``.

    Attributes
    ----------
    name : str
        Name of the allocator, such as ``"Cpu"``.
    id : int
        Number of the device.
    mem_type : str
        ``"default"``, ``"cpu_input"`` or ``"cpu_output"``.
    allocator_type : str
        ``"device"``, ``"arena"``, ``"read_only"`` or ``"invalid"``.
    device_type : str
        ``"cpu"``, ``"gpu"``, ``"fpga"`` or ``"npu"``.
    device_mem_type : str
        ``"default"`` or ``"host_accessible"``.
    vendor_id : int
        PCI number of the device's vendor; 0 if none is meant.
    """

    name: str
    id: int
    mem_type: str
    allocator_type: str
    device_type: str
    device_mem_type: str
    vendor_id: int
