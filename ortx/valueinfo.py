"""What a model says of one of its inputs, outputs or initializers."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from ._core import type_text

__all__ = ["ValueInfo"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueInfo:
    """The declared type of one input, output or overridable initializer.

    Attributes
    ----------
    name : str
        Its name in the model; empty for a nested type.
    onnx_type : str
        One of ``tensor``, ``sparse_tensor``, ``sequence``, ``map``, ``optional``, ``opaque``, ``unknown``.
    type : str
        ONNX's own spelling, such as ``"tensor(float)"`` or ``"seq(map(int64,tensor(float)))"``.
    is_sparse : bool
        Whether it is a sparse tensor.
    data_type : str or None
        Element type of a tensor, as numpy would call it: ``"float32"``, ``"string"``, ``"bfloat16"``.
    has_shape : bool
        Whether the number of dimensions is known. (Before ONNX Runtime 1.24 a scalar cannot be told from an
        unknown shape, and counts as unknown.)
    shape : tuple of int or None
        Dimensions, -1 where one is not fixed.
    symbolic_shape : tuple of str or None
        The model's names for the dimensions that are not fixed; ``""`` where there is none.
    element : ValueInfo or None
        What a sequence or optional holds.
    key_type : str or None
        Type of a map's keys.
    value : ValueInfo or None
        What a map holds.
    """

    name: str
    onnx_type: str
    type: str
    is_sparse: bool = False
    data_type: str | None = None
    has_shape: bool = False
    shape: tuple[int, ...] | None = None
    symbolic_shape: tuple[str, ...] | None = None
    element: ValueInfo | None = None
    key_type: str | None = None
    value: ValueInfo | None = None

    def asdict(self) -> dict[str, Any]:
        """Return the fields as a dictionary, nested, without those that do not apply to this type."""
        fields = ((field.name, getattr(self, field.name)) for field in dataclasses.fields(self))
        return {
            name: value.asdict() if isinstance(value, ValueInfo) else value
            for name, value in fields
            if value is not None
        }

    def __str__(self) -> str:
        """Return the type as messages show it: ``float32 of shape (batch, 3)``, or ONNX's spelling if no tensor."""
        return type_text(self.onnx_type, self.type, self.data_type, self.shape, self.symbolic_shape)
