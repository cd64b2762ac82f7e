"""Sparse tensors: the elements that are not zero, and where they stand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy
import numpy.typing

from .errors import InvalidArgument, InvalidType, shown

__all__ = ["SparseTensor", "sparse_tensor"]

_FORMATS = ("coo", "csr", "block_sparse")
Array = numpy.typing.NDArray[Any]


@dataclass(frozen=True, eq=False, slots=True)
class SparseTensor:
    """A sparse tensor; make one with `ortx.sparse_tensor`, or get one as an output.

    Attributes
    ----------
    format : str
        ``"coo"``, ``"csr"`` or ``"block_sparse"``.
    shape : tuple of int
        Dimensions, zeros included.
    values : numpy.ndarray
        The elements that are not zero, one-dimensional; for block_sparse the blocks, of shape (blocks, rows, columns).
    indices : numpy.ndarray or tuple of two
        Where they stand. For coo int64, of shape (elements, 2), or (elements,) counting through the rows; for csr the
        column of each element and, with one entry more than rows, where each row begins, both int64; for block_sparse
        int32 of shape (2, blocks): row and column, in blocks.
    """

    format: str
    shape: tuple[int, ...]
    values: Array
    indices: Array | tuple[Array, Array]

    @property
    def dtype(self) -> numpy.dtype[Any]:
        """Element type, as numpy has it."""
        return self.values.dtype

    def to_dense(self) -> Array:
        """Return an array with all the zeros."""
        dense = numpy.zeros(self.shape, self.dtype)
        if isinstance(self.indices, tuple):
            columns, begins = self.indices
            dense[numpy.repeat(numpy.arange(len(begins) - 1), numpy.diff(begins)), columns] = self.values
        elif self.format == "block_sparse":
            _, rows, columns = self.values.shape
            for block, (row, column) in zip(self.values, self.indices.T, strict=True):
                dense[row * rows : (row + 1) * rows, column * columns : (column + 1) * columns] = block
        elif self.indices.ndim == 1:
            dense.reshape(-1)[self.indices] = self.values
        else:
            dense[tuple(self.indices.T)] = self.values
        return dense

    def to_scipy(self) -> Any:
        """Return a ``scipy.sparse`` array: ``coo_array``, ``csr_array`` or, for block_sparse, ``bsr_array``.

        Raises ImportError if scipy is not installed.
        """
        import scipy.sparse  # type: ignore[import-untyped,unused-ignore]

        if isinstance(self.indices, tuple):
            columns, begins = self.indices
            return scipy.sparse.csr_array((self.values, columns, begins), shape=self.shape)
        if self.format == "block_sparse":
            _, rows, columns = self.values.shape
            return scipy.sparse.bsr_array(self.to_dense(), blocksize=(rows, columns))
        pairs = self.indices.T if self.indices.ndim == 2 else numpy.unravel_index(self.indices, self.shape)
        return scipy.sparse.coo_array((self.values, tuple(pairs)), shape=self.shape)

    def __repr__(self) -> str:
        """Say what it is without its elements."""
        return f"<ortx.SparseTensor {self.format} {self.dtype.name} of shape {self.shape}, {len(self.values)} values>"


def sparse_tensor(
    data: object, indices: object = None, shape: tuple[int, ...] | None = None, *, format: str | None = None
) -> SparseTensor:
    """Make a sparse tensor of its parts, or of what ``scipy.sparse`` has.

    Parameters
    ----------
    data : array or scipy.sparse array or matrix
        The values (see `SparseTensor` for all parts), or the whole.
    indices : array or pair of arrays, optional
        Where the values stand.
    shape : tuple of int, optional
        Dimensions, zeros included.
    format : str, optional
        ``"coo"``, ``"csr"`` or ``"block_sparse"``. If not given, values are coo; of the whole, csr stays csr, bsr
        becomes block_sparse and everything else coo.

    Returns
    -------
    SparseTensor
        Over the memory of `data`, where that has the form that ONNX Runtime wants.

    Raises
    ------
    InvalidArgument
        If an index is out of bounds or the parts do not fit each other: ONNX Runtime does not look.
    InvalidType
        If `data` is none of these, or a part is missing.
    """
    if format is not None and format not in _FORMATS:
        raise InvalidArgument(f"sparse_tensor: format: got {shown(format)}; expected one of {', '.join(_FORMATS)}")
    if hasattr(data, "tocoo") and indices is None and shape is None:
        return _of_scipy(data, format)
    if indices is None or shape is None:
        raise InvalidType(
            f"sparse_tensor: got {shown(data)}; expected what scipy.sparse has, or values with indices and a shape"
        )
    sparse = SparseTensor(format or "coo", tuple(shape), *_parts(format or "coo", data, indices))
    problem = problem_of(sparse)
    if problem:
        raise InvalidArgument(f"sparse_tensor: {problem}")
    return sparse


def _of_scipy(data: Any, format: str | None) -> SparseTensor:
    wanted = format or {"csr": "csr", "bsr": "block_sparse"}.get(data.format, "coo")
    if wanted == "csr":
        whole = data.tocsr()
        whole.sum_duplicates()
        return sparse_tensor(whole.data, (whole.indices, whole.indptr), whole.shape, format=wanted)
    if wanted == "block_sparse":
        whole = data.tobsr()
        whole.sum_duplicates()
        rows = numpy.repeat(numpy.arange(len(whole.indptr) - 1), numpy.diff(whole.indptr))
        return sparse_tensor(whole.data, numpy.stack([rows, whole.indices]), whole.shape, format=wanted)
    whole = data.tocoo(copy=True)
    whole.sum_duplicates()  # also sorts
    order = numpy.lexsort((whole.col, whole.row))
    pairs = numpy.stack([whole.row[order], whole.col[order]], axis=1)
    return sparse_tensor(whole.data[order], pairs, whole.shape, format=wanted)


def _parts(format: str, values: object, indices: object) -> tuple[Array, Array | tuple[Array, Array]]:
    try:
        array = numpy.ascontiguousarray(values)
        if format == "csr":
            pair: Any = indices
            columns, begins = pair
            return array, (numpy.ascontiguousarray(columns, numpy.int64), numpy.ascontiguousarray(begins, numpy.int64))
        wanted = numpy.int32 if format == "block_sparse" else numpy.int64
        whole: Any = indices
        return array, numpy.ascontiguousarray(whole, wanted)
    except (TypeError, ValueError) as error:
        raise InvalidType(
            f"sparse_tensor: values and indices of {format}: expected arrays of numbers ({error})"
        ) from None


def problem_of(sparse: SparseTensor) -> str | None:
    """Say in which respect the parts do not fit each other, or return None."""
    shape, values, indices = sparse.shape, sparse.values, sparse.indices
    if not shape or any(size < 0 for size in shape) or (len(shape) != 2 and sparse.format != "coo"):
        return f"shape: got {shape}; expected {'dimensions' if sparse.format == 'coo' else '(rows, columns)'}"
    if isinstance(indices, tuple):
        return _problem_of_csr(shape, values, *indices)
    if sparse.format == "block_sparse":
        return _problem_of_blocks(shape, values, indices)
    if values.ndim != 1:
        return f"values: got the shape {values.shape}; expected one dimension"
    if indices.shape == (len(values),):
        limits = numpy.array([numpy.prod(shape)])
    elif indices.shape == (len(values), 2) and len(shape) == 2:
        limits = numpy.array(shape)
    else:
        pairs = f"{(len(values), 2)} or " if len(shape) == 2 else ""
        return f"indices: got the shape {indices.shape}; expected {pairs}{(len(values),)}"
    return _problem_of_indices(indices, limits)


def _problem_of_csr(shape: tuple[int, ...], values: Array, columns: Array, begins: Array) -> str | None:
    if values.ndim != 1 or columns.shape != values.shape:
        return (
            f"values and columns: got the shapes {values.shape} and {columns.shape}; expected one dimension, the same"
        )
    if begins.shape != (shape[0] + 1,):
        return f"row beginnings: got the shape {begins.shape}; expected {(shape[0] + 1,)}"
    if begins[0] != 0 or begins[-1] != len(values) or (numpy.diff(begins) < 0).any():
        return f"row beginnings: expected numbers that go from 0 up to {len(values)}"
    return _problem_of_indices(columns, numpy.array([shape[1]]))


def _problem_of_blocks(shape: tuple[int, ...], values: Array, indices: Array) -> str | None:
    if values.ndim != 3 or 0 in values.shape[1:]:
        return f"values: got the shape {values.shape}; expected (blocks, rows, columns)"
    _, rows, columns = values.shape
    if shape[0] % rows or shape[1] % columns:
        return f"shape: got {shape}; expected multiples of the blocks' {(rows, columns)}"
    if indices.shape != (2, len(values)):
        return f"indices: got the shape {indices.shape}; expected {(2, len(values))}"
    return _problem_of_indices(indices.T, numpy.array([shape[0] // rows, shape[1] // columns]))


def _problem_of_indices(indices: Array, limits: Array) -> str | None:
    wrong = (indices < 0) | (indices >= limits)
    if wrong.any():
        return f"indices: {indices[wrong][0]} is out of bounds for the shape"
    return None
