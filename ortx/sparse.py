"""Sparse tensors: the elements that are not zero, and where they stand."""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass
from typing import Any

import numpy
import numpy.typing

from ._core import InvalidArgument, InvalidType, NotSupported, shown

__all__ = ["SparseTensor", "sparse_tensor"]

_FORMATS = ("coo", "csr", "block_sparse")
_MOST_DIMENSIONS = 32
Array = numpy.typing.NDArray[Any]


@dataclass(frozen=True, eq=False, slots=True)
class SparseTensor:
    """A sparse tensor; make one with `ortx.sparse_tensor`, which looks at its parts, or get one as an output.

    Attributes
    ----------
    format : str
        ``"coo"``, ``"csr"`` or ``"block_sparse"``.
    shape : tuple of int
        Dimensions, zeros included.
    values : numpy.ndarray
        The elements that are not zero, one-dimensional; for block_sparse the blocks, of shape (blocks, rows, columns)
        as in scipy's bsr. Strings are objects, all of them `str`; what is not there is ``""``.
    indices : numpy.ndarray or tuple of two
        Where they stand. For coo int64, of shape (elements, 2), or (elements,) counting through the rows; for csr the
        column of each element and, with one entry more than rows, where each row begins, both int64; for block_sparse
        int32 of shape (2, blocks): row and column, counted in blocks.

    Notes
    -----
    The arrays go into a model without being copied, and an output's arrays lie over ONNX Runtime's memory. Two kinds
    are copied, each way: strings, and the values of block_sparse, which ONNX Runtime wants in the shape (rows, columns,
    blocks). The operators of ONNX Runtime 1.31 take neither of the two; it passes such values on from an input to an
    output.

    Without elements, a csr tensor goes in and comes back as coo, since no kernel takes it otherwise, and block_sparse
    comes back with blocks of one row and one column, since ONNX Runtime keeps no other shape.
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
        """Return an array with all the zeros; of strings, with all the empty ones.

        Numbers that stand at one place add up, as ONNX Runtime has it; of strings the last one stays.
        """
        dense = numpy.full(self.shape, "", object) if self.dtype == object else numpy.zeros(self.shape, self.dtype)
        if isinstance(self.indices, tuple):
            columns, begins = self.indices
            rows = numpy.repeat(numpy.arange(len(begins) - 1), numpy.diff(begins))
            _put(dense, (rows, columns), self.values)
        elif self.format == "block_sparse":
            _, rows, columns = self.values.shape
            for block, (row, column) in zip(self.values, self.indices.T, strict=True):
                place = dense[row * rows : (row + 1) * rows, column * columns : (column + 1) * columns]
                _put(place, ..., block)
        elif self.indices.ndim == 1:
            _put(dense.reshape(-1), self.indices, self.values)
        else:
            _put(dense, tuple(self.indices.T), self.values)
        return dense

    def to_scipy(self) -> Any:
        """Return a ``scipy.sparse`` array: ``coo_array``, ``csr_array`` or, for block_sparse, ``bsr_array``.

        Raises ImportError if scipy is not installed, and NotSupported for strings, which scipy.sparse does not have.
        """
        import scipy.sparse  # type: ignore[import-untyped,unused-ignore]

        if self.dtype == object:
            raise NotSupported("SparseTensor.to_scipy: scipy.sparse has no strings; use to_dense(), or the parts")
        if isinstance(self.indices, tuple):
            columns, begins = self.indices
            return scipy.sparse.csr_array((self.values, columns, begins), shape=self.shape)
        if self.format == "block_sparse":
            order = numpy.lexsort((self.indices[1], self.indices[0]))
            begins = numpy.searchsorted(self.indices[0][order], range(self.shape[0] // self.values.shape[1] + 1))
            return scipy.sparse.bsr_array((self.values[order], self.indices[1][order], begins), shape=self.shape)
        pairs = self.indices.T if self.indices.ndim == 2 else numpy.unravel_index(self.indices, self.shape)
        return scipy.sparse.coo_array((self.values, tuple(pairs)), shape=self.shape)

    def __repr__(self) -> str:
        """Say what it is without its elements."""
        count = f"{len(self.values)} values"
        if self.format == "block_sparse":
            count = f"{len(self.values)} blocks of shape {self.values.shape[1:]}"
        word = "string" if self.dtype == object else self.dtype.name
        return f"<ortx.SparseTensor {self.format} {word} of shape {self.shape}, {count}>"


def _put(dense: Array, places: Any, values: Array) -> None:
    if dense.dtype == object:
        dense[places] = values
    else:
        numpy.add.at(dense, places, values)


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
        Over the memory of `data`, where that has the form that a `SparseTensor` has.

    Raises
    ------
    InvalidArgument
        If an index is out of bounds or the parts do not fit each other: ONNX Runtime does not look. If a string holds a
        NUL, where ONNX Runtime would cut it off, or cannot be written as UTF-8.
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
    sparse = SparseTensor(format or "coo", _dimensions(shape), *_parts(format or "coo", data, indices))
    problem = problem_of(sparse)
    if problem:
        raise InvalidArgument(f"sparse_tensor: {problem}")
    return sparse


def _dimensions(shape: object) -> tuple[int, ...]:
    try:
        return tuple(operator.index(size) for size in shape)  # type: ignore[attr-defined]
    except TypeError:
        raise InvalidType(f"sparse_tensor: shape: got {shown(shape)}; expected a tuple of integers") from None


def _of_scipy(data: Any, format: str | None) -> SparseTensor:
    wanted = format or {"csr": "csr", "bsr": "block_sparse"}.get(data.format, "coo")
    if getattr(data, "ndim", 2) != 2:
        raise InvalidArgument(f"sparse_tensor: got {data.ndim} dimensions; expected two of what scipy.sparse has")
    if wanted == "csr":
        rows = _canonical(data.tocsr(), data)
        return sparse_tensor(rows.data, (rows.indices, rows.indptr), rows.shape, format=wanted)
    if wanted == "block_sparse":
        blocks = _canonical(data.tobsr(), data)
        row_of = numpy.repeat(numpy.arange(len(blocks.indptr) - 1), numpy.diff(blocks.indptr))
        return sparse_tensor(blocks.data, numpy.stack([row_of, blocks.indices]), blocks.shape, format=wanted)
    whole = data.tocoo(copy=True)
    whole.sum_duplicates()
    order = numpy.lexsort((whole.col, whole.row))
    pairs = numpy.stack([whole.row[order], whole.col[order]], axis=1)
    return sparse_tensor(whole.data[order], pairs, whole.shape, format=wanted)


def _canonical(converted: Any, given: Any) -> Any:
    """Return a matrix with sorted indices and without duplicates; never the caller's own, changed."""
    if converted.has_canonical_format:
        return converted
    changed = converted.copy() if converted is given else converted
    changed.sum_duplicates()
    return changed


def _parts(format: str, values: object, indices: object) -> tuple[Array, Array | tuple[Array, Array]]:
    if isinstance(values, numpy.ma.MaskedArray):
        raise InvalidType("sparse_tensor: values: got a masked array; choose what masked elements mean with .filled()")
    try:
        array = numpy.ascontiguousarray(values)
        if array.dtype.kind in "OUST":
            array = _strings(values, array)
    except (TypeError, ValueError) as error:
        raise InvalidType(f"sparse_tensor: values: got {shown(values)}; expected an array ({error})") from None
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    if format != "csr":
        return array, _whole_numbers(indices, numpy.int32 if format == "block_sparse" else numpy.int64)
    if not isinstance(indices, (tuple, list)) or len(indices) != 2:
        raise InvalidType(f"sparse_tensor: indices: got {shown(indices)}; expected a pair: columns, row beginnings")
    return array, (_whole_numbers(indices[0], numpy.int64), _whole_numbers(indices[1], numpy.int64))


def _strings(values: object, array: Array) -> Array:
    """Return an array of objects, with bytes decoded."""
    if not isinstance(values, numpy.ndarray):
        array = numpy.ascontiguousarray(values, object)  # numpy's own strings drop NULs at the end
    array = numpy.ascontiguousarray(array, object)
    if not any(isinstance(item, bytes) for item in array.ravel()):
        return array
    decoded = [item.decode() if isinstance(item, bytes) else item for item in array.ravel()]
    return numpy.array(decoded, object).reshape(array.shape)


def _whole_numbers(indices: object, wanted: type[numpy.integer[Any]]) -> Array:
    """Return indices as ONNX Runtime wants them, if that loses nothing."""
    try:
        given: Array = numpy.asarray(indices if not isinstance(indices, numpy.ma.MaskedArray) else None)
    except (OverflowError, TypeError, ValueError):
        given = numpy.array(None)
    if given.size == 0:
        return numpy.zeros(given.shape, wanted)
    if given.dtype.kind in "iu" and (given.astype(wanted) == given).all():
        return numpy.ascontiguousarray(given, wanted)
    raise InvalidType(
        f"sparse_tensor: indices: got {shown(indices)}; expected integers that fit into {wanted.__name__}"
    )


def problem_of(sparse: SparseTensor) -> str | None:
    """Say in which respect a sparse tensor is none that ONNX Runtime could read, or return None."""
    shape, values, indices = sparse.shape, sparse.values, sparse.indices
    problem = _problem_of_layout(sparse)
    if problem:
        return problem
    if not shape or any(size < 0 for size in shape) or (len(shape) != 2 and sparse.format != "coo"):
        return f"shape: got {shape}; expected {'dimensions' if sparse.format == 'coo' else '(rows, columns)'}"
    if isinstance(indices, tuple):
        return _problem_of_csr(shape, values, *indices)
    if sparse.format == "block_sparse":
        return _problem_of_blocks(shape, values, indices)
    if values.ndim != 1:
        return f"values: got the shape {values.shape}; expected one dimension"
    if indices.shape == (len(values),):
        limits = numpy.array([math.prod(shape)])
    elif indices.shape == (len(values), 2) and len(shape) == 2:
        limits = numpy.array(shape)
    else:
        pairs = f"{(len(values), 2)} or " if len(shape) == 2 else ""
        return f"indices: got the shape {indices.shape}; expected {pairs}{(len(values),)}"
    return _problem_of_indices(indices, limits)


def _problem_of_layout(sparse: SparseTensor) -> str | None:
    pair = isinstance(sparse.indices, tuple) and len(sparse.indices) == 2
    if sparse.format not in _FORMATS or pair != (sparse.format == "csr"):
        return f"format: got {shown(sparse.format)}; expected one of {', '.join(_FORMATS)}, and indices of that form"
    if not _is_shape(sparse.shape):
        return f"shape: got {shown(sparse.shape)}; expected a tuple of at most {_MOST_DIMENSIONS} integers"
    wanted = numpy.int32 if sparse.format == "block_sparse" else numpy.int64
    for indices in sparse.indices if isinstance(sparse.indices, tuple) else (sparse.indices,):
        if not isinstance(indices, numpy.ndarray) or indices.dtype != wanted or not _in_order(indices):
            return f"indices: got {shown(indices)}; expected C-contiguous arrays of {wanted.__name__}"
    values = sparse.values
    if not isinstance(values, numpy.ndarray) or not values.dtype.isnative or not _in_order(values):
        return f"values: got {shown(values)}; expected a C-contiguous array in native byte order"
    if values.dtype.kind in "UST":
        return f"values: got {values.dtype}; expected strings as an array of objects, all of them str"
    return _problem_of_strings(values) if values.dtype == object else None


def _problem_of_strings(values: Array) -> str | None:
    for item in values.ravel():
        if not isinstance(item, str):
            return f"values: got {shown(item)} among the objects; expected strings"
        if "\0" in item:
            return f"values: got {shown(item)}; ONNX Runtime would end it at the NUL"
        try:
            item.encode()
        except UnicodeEncodeError as error:
            return f"values: got {shown(item)}, which cannot be written as UTF-8 ({error.reason})"
    return None


def _is_shape(shape: object) -> bool:
    """Whether ONNX Runtime can count the elements."""
    if not isinstance(shape, tuple) or len(shape) > _MOST_DIMENSIONS:
        return False
    return all(type(size) is int for size in shape) and math.prod(max(size, 1) for size in shape) < 2**63


def _in_order(array: Array) -> bool:
    return array.flags.c_contiguous and array.flags.aligned


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
