"""Memory of others and for others: DLPack, buffers, `__array__` (`_core.src/dlpack.pxi`, `_core.src/tensor.pxi`).

`Lender` is a DLPack library of its own, of ctypes: it makes every capsule that one can make, right or wrong, counts how
often each is given back, and spoils the memory with the last one, so that who looks into it later sees that.
"""

from __future__ import annotations

import array
import ctypes
import gc
import sys
import threading
import tracemalloc
import warnings
import weakref
from typing import ClassVar

import ml_dtypes
import models
import numpy as np
import pytest
from onnx import TensorProto, helper

import ortx

READ_ONLY, IS_COPIED = 1, 2
CPU, CUDA, CUDA_HOST, EXT_DEV = 1, 2, 3, 12
SPOILED = 0xA5

CODES = {
    **{f"int{bits}": (0, bits) for bits in (8, 16, 32, 64)},
    **{f"uint{bits}": (1, bits) for bits in (8, 16, 32, 64)},
    **{f"float{bits}": (2, bits) for bits in (16, 32, 64)},
    "bool": (6, 8),
}
ML_CODES = {
    "bfloat16": (4, 16),
    "float8_e4m3fn": (10, 8),
    "float8_e4m3fnuz": (11, 8),
    "float8_e5m2": (12, 8),
    "float8_e5m2fnuz": (13, 8),
    "float8_e8m0fnu": (14, 8),
}
WITHOUT_CODE = ["int4", "uint4", "int2", "uint2", "float4_e2m1fn"]

with_numpy_2_1 = pytest.mark.skipif(
    np.lib.NumpyVersion(np.__version__) < "2.1.0", reason="needs DLPack 1.0 in numpy, which it has since 2.1"
)


def dtype_of(word: str) -> np.dtype:
    return np.dtype(getattr(ml_dtypes, word) if hasattr(ml_dtypes, word) else word)


# --- the structs of DLPack


class DLTensor(ctypes.Structure):
    _fields_: ClassVar = [
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    ]


DELETER = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


class Legacy(ctypes.Structure):
    _fields_: ClassVar = [("tensor", DLTensor), ("manager_ctx", ctypes.c_void_p), ("deleter", DELETER)]


class Versioned(ctypes.Structure):
    _fields_: ClassVar = [
        ("major", ctypes.c_uint32),
        ("minor", ctypes.c_uint32),
        ("manager_ctx", ctypes.c_void_p),
        ("deleter", DELETER),
        ("flags", ctypes.c_uint64),
        ("tensor", DLTensor),
    ]


NAMES = {Legacy: b"dltensor", Versioned: b"dltensor_versioned"}
USED = {Legacy: b"used_dltensor", Versioned: b"used_dltensor_versioned"}

capsule_new = ctypes.pythonapi.PyCapsule_New
capsule_new.restype, capsule_new.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
capsule_is_valid = ctypes.pythonapi.PyCapsule_IsValid
capsule_is_valid.restype, capsule_is_valid.argtypes = ctypes.c_int, [ctypes.py_object, ctypes.c_char_p]
capsule_pointer = ctypes.pythonapi.PyCapsule_GetPointer
capsule_pointer.restype, capsule_pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
capsule_rename = ctypes.pythonapi.PyCapsule_SetName
capsule_rename.restype, capsule_rename.argtypes = ctypes.c_int, [ctypes.py_object, ctypes.c_char_p]


LENT: set[Loan] = set()  # whoever has taken one over looks into its structs until it gives it back


class Loan:
    """One capsule, with the structs and the memory behind it."""

    def __init__(self, lender: Lender, struct: type) -> None:
        self.given_back = 0
        self.lender = lender
        memory, self.keep = lender.memory, lender.keep
        self.struct = struct()
        if struct is Versioned:
            self.struct.major, self.struct.minor, self.struct.flags = lender.major, 1, lender.flags
        tensor = self.struct.tensor
        tensor.data, tensor.byte_offset = memory.ctypes.data - lender.offset, lender.offset
        tensor.device_type, tensor.device_id = lender.device
        tensor.code, tensor.bits, tensor.lanes = lender.element
        tensor.ndim = memory.ndim
        self.shape = (ctypes.c_int64 * max(memory.ndim, 1))(*memory.shape)
        tensor.shape = ctypes.cast(self.shape, ctypes.POINTER(ctypes.c_int64))
        if lender.strides:
            self.strides = (ctypes.c_int64 * max(memory.ndim, 1))(*(s // memory.itemsize for s in memory.strides))
            tensor.strides = ctypes.cast(self.strides, ctypes.POINTER(ctypes.c_int64))
        if lender.has_deleter:
            self.deleter = DELETER(self.give_back)
            self.struct.deleter = self.deleter

    def capsule(self) -> object:
        LENT.add(self)
        return capsule_new(ctypes.addressof(self.struct), NAMES[type(self.struct)], None)

    def give_back(self, address: int) -> None:
        assert address == ctypes.addressof(self.struct)
        LENT.discard(self)
        self.given_back += 1
        memory = self.lender.memory
        if all(loan.given_back for loan in self.lender.loans):
            memory[...] = np.frombuffer(bytes([SPOILED] * memory.itemsize), memory.dtype)[0]


class Lender:
    """Has nothing but `__dlpack__` and `__dlpack_device__`; speaks of versions if it is asked to."""

    def __init__(
        self, memory, *, element=None, strides=True, offset=0, flags=0, major=1, device=(CPU, 0), has_deleter=True
    ) -> None:
        code = (CODES | ML_CODES).get(memory.dtype.name, (0, 8))
        self.memory, self.element, self.strides, self.offset = memory, element or (*code, 1), strides, offset
        self.flags, self.major, self.device, self.has_deleter = flags, major, device, has_deleter
        self.keep, self.loans, self.capsules, self.asked = memory, [], [], []

    def __dlpack__(self, *, max_version: tuple[int, int] | None = None) -> object:
        self.asked.append(max_version)
        return self.lend(Legacy if max_version is None else Versioned)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.device

    def lend(self, struct: type) -> object:
        self.loans.append(Loan(self, struct))
        self.capsules.append(self.loans[-1].capsule())
        return self.capsules[-1]

    def given_back(self) -> list[int]:
        """How often each loan was; one that nobody has taken over is given back by its capsule, as in any library."""
        for loan, capsule in zip(self.loans, self.capsules, strict=True):
            if capsule_is_valid(capsule, NAMES[type(loan.struct)]) and self.has_deleter:
                capsule_rename(capsule, USED[type(loan.struct)])
                loan.give_back(ctypes.addressof(loan.struct))
        return [loan.given_back for loan in self.loans]


class OldLender(Lender):
    """From before DLPack 1.0: knows nothing of versions."""

    def __dlpack__(self, stream: object = None) -> object:
        self.asked.append("old")
        return self.lend(Legacy)


LENDERS = [Lender, OldLender]


class Wrapped:
    """A numpy array of which only DLPack is left."""

    def __init__(self, memory: np.ndarray) -> None:
        self.memory = memory

    def __dlpack__(self, **keywords: object) -> object:
        return self.memory.__dlpack__(**keywords)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.memory.__dlpack_device__()


# --- sessions


def identity(word: str) -> bytes:
    number = {"bfloat16": TensorProto.BFLOAT16, "string": TensorProto.STRING}.get(word) or models.NUMPY_TYPES[word]
    x, y = (helper.make_tensor_value_info(name, number, None) for name in "xy")
    return models.build([helper.make_node("Identity", ["x"], ["y"])], [x], [y])


@pytest.fixture(scope="module")
def session():
    """y = x of float32, of any shape"""
    with ortx.session_from_bytes(identity("float32")) as session:
        yield session


@pytest.fixture(scope="module")
def strings():
    with ortx.session_from_bytes(identity("string")) as session:
        yield session


def floats(*shape: int) -> np.ndarray:
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


def address(memory: np.ndarray) -> int:
    return memory.__array_interface__["data"][0]


def most_memory_during(call) -> int:
    """How many bytes numpy has more in use at any time during a call."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


# --- a tensor for others: DLPack


def sample(word: str) -> np.ndarray:
    return np.array([[0, 1, 1], [1, 0, 1]], dtype_of(word))


@pytest.mark.parametrize("word", CODES)
def test_numpy_takes_a_tensor_of_every_element_type_that_it_knows_by_dlpack(word):
    x = sample(word)
    taken = np.from_dlpack(ortx.tensor(x))
    assert (taken.dtype, taken.shape, taken.strides) == (x.dtype, x.shape, x.strides)
    assert address(taken) == address(x)
    assert np.shares_memory(taken, x)
    np.testing.assert_array_equal(taken, x)


def read_capsule(capsule: object) -> tuple[Legacy | Versioned, type]:
    struct = Versioned if capsule_is_valid(capsule, NAMES[Versioned]) else Legacy
    return struct.from_address(capsule_pointer(capsule, NAMES[struct])), struct


@pytest.mark.parametrize("word", [*CODES, *ML_CODES])
@pytest.mark.parametrize("version", [None, (0, 8), (1, 0), (1, 1), (2, 0)])
def test_a_capsule_says_what_the_tensor_is(word, version):
    x = sample(word)
    capsule = ortx.tensor(x).__dlpack__(max_version=version)
    lent, struct = read_capsule(capsule)
    assert struct is (Versioned if version is not None and version[0] >= 1 else Legacy)
    if struct is Versioned:
        assert (lent.major, lent.flags) == (1, 0)
    tensor = lent.tensor
    assert (tensor.code, tensor.bits, tensor.lanes) == (*(CODES | ML_CODES)[word], 1)
    assert (tensor.device_type, tensor.device_id, tensor.ndim) == (CPU, 0, 2)
    assert (tensor.data + tensor.byte_offset, tensor.shape[:2], tensor.strides[:2]) == (address(x), [2, 3], [3, 1])


def test_the_device_of_a_tensor_is_the_cpu():
    assert ortx.tensor(floats(2)).__dlpack_device__() == (CPU, 0)


@pytest.mark.parametrize("shape", [(), (0,), (0, 3), (2, 0, 2), (1,) * 8, (1,) * 32])
def test_any_shape_goes_through_dlpack(shape):
    x = floats(*shape)
    taken = np.from_dlpack(ortx.tensor(x))
    assert taken.shape == shape
    assert taken.tolist() == x.tolist()
    again = ortx.tensor(Lender(x, strides=False)).numpy()
    assert again.shape == shape
    assert again.tolist() == x.tolist()
    assert x.size == 0 or (address(taken) == address(x) == address(again))


@pytest.mark.parametrize("word", WITHOUT_CODE)
def test_an_element_type_that_dlpack_has_none_for_is_refused(word):
    with pytest.raises(BufferError, match=rf"DLPack has no element type for {word}"):
        ortx.tensor(word, (2,)).__dlpack__(max_version=(1, 1))


def test_strings_are_not_lent_by_dlpack():
    with pytest.raises(BufferError, match="DLPack has no element type for object"):
        ortx.tensor("string", (2,), ["a", "b"]).__dlpack__()


@with_numpy_2_1
def test_a_read_only_tensor_is_read_only_to_who_knows_of_that():
    x = floats(4)
    assert np.from_dlpack(ortx.tensor(x)).flags.writeable
    x.flags.writeable = False
    tensor = ortx.tensor(x)
    taken = np.from_dlpack(tensor)
    assert not taken.flags.writeable
    assert np.shares_memory(taken, x)
    assert read_capsule(tensor.__dlpack__(max_version=(1, 0)))[0].flags == READ_ONLY


@pytest.mark.parametrize("version", [None, (0, 8)])
def test_a_read_only_tensor_is_refused_to_who_knows_nothing_of_that(version):
    x = floats(4)
    x.flags.writeable = False
    with pytest.raises(BufferError, match=r"a read-only tensor .* max_version=\(1, 0\)"):
        ortx.tensor(x).__dlpack__(max_version=version)
    lent, struct = read_capsule(ortx.tensor(x).__dlpack__(max_version=version, copy=True))
    assert struct is Legacy
    assert lent.tensor.data != address(x)


@with_numpy_2_1
def test_a_copy_is_other_memory_and_says_so():
    x = floats(4)
    tensor = ortx.tensor(x)
    capsule = tensor.__dlpack__(max_version=(1, 0), copy=True)
    lent, _ = read_capsule(capsule)
    assert lent.flags == IS_COPIED
    copy = np.from_dlpack(tensor, copy=True)
    assert not np.shares_memory(copy, x)
    x[:] = 9
    assert copy.tolist() == [0, 1, 2, 3]
    assert (ctypes.c_float * 4).from_address(lent.tensor.data)[:] == [0, 1, 2, 3]
    for never in (False, None):
        assert read_capsule(tensor.__dlpack__(max_version=(1, 0), copy=never))[0].tensor.data == address(x)


@with_numpy_2_1
def test_a_copy_of_a_read_only_tensor_can_be_written():
    x = floats(4)
    x.flags.writeable = False
    copy = np.from_dlpack(ortx.tensor(x), copy=True)
    copy += 1
    assert (copy.tolist(), x.tolist()) == ([1, 2, 3, 4], [0, 1, 2, 3])


@pytest.mark.parametrize("stream", [-1, 0, 1, 2, "main"])
def test_a_stream_is_refused(stream):
    with pytest.raises(BufferError, match="stream: got .* expected None"):
        ortx.tensor(floats(2)).__dlpack__(stream=stream)


@pytest.mark.parametrize("device", [(CUDA, 0), (CPU, 1), (CUDA_HOST, 0), ()])
def test_another_device_is_refused(device):
    with pytest.raises(BufferError, match=r"dl_device: got .* expected \(1, 0\)"):
        ortx.tensor(floats(2)).__dlpack__(dl_device=device)


@with_numpy_2_1
def test_the_cpu_may_be_asked_for():
    x = floats(2)
    capsule = ortx.tensor(x).__dlpack__(dl_device=(CPU, 0), max_version=(1, 0))
    assert read_capsule(capsule)[0].tensor.data == address(x)
    assert np.shares_memory(np.from_dlpack(ortx.tensor(x), device="cpu"), x)


def test_what_is_positional_elsewhere_is_not_taken():
    with pytest.raises(TypeError):
        ortx.tensor(floats(2)).__dlpack__(None)


class Owned(np.ndarray):
    """An array that weak references can be made to."""


def owned(*shape: int) -> tuple[np.ndarray, weakref.ref]:
    x = floats(*shape).view(Owned)
    return x, weakref.ref(x)


@pytest.mark.parametrize("version", [None, (1, 0)])
def test_a_capsule_that_nobody_took_over_lets_its_owner_go(version):
    x, owner = owned(4)
    capsule = ortx.tensor(x).__dlpack__(max_version=version)
    del x
    assert owner() is not None
    del capsule
    assert owner() is None


@pytest.mark.parametrize("version", [None, (1, 0)])
def test_a_capsule_is_taken_over_once(version):
    capsule = ortx.tensor(floats(4)).__dlpack__(max_version=version)

    class Again:
        def __dlpack__(self, **keywords: object) -> object:
            return capsule

        def __dlpack_device__(self) -> tuple[int, int]:
            return (CPU, 0)

    taken = np.from_dlpack(Again())
    with pytest.raises((BufferError, ValueError)):
        np.from_dlpack(Again())
    with pytest.raises(ortx.InvalidType, match="which is no DLPack capsule"):
        ortx.tensor(Again())
    assert taken.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("order", ["tensor first", "array first"])
def test_the_memory_lives_as_long_as_either_side(order):
    x, owner = owned(4)
    tensor = ortx.tensor(x)
    taken = np.from_dlpack(tensor)
    del x
    if order == "tensor first":
        del tensor
        gc.collect()
        assert taken.tolist() == [0, 1, 2, 3]
        assert owner() is not None
        del taken
    else:
        del taken
        gc.collect()
        assert tensor.tolist() == [0, 1, 2, 3]
        assert owner() is not None
        del tensor
    assert owner() is None


def test_many_loans_of_one_tensor_hold_it_together():
    x, owner = owned(4)
    tensor = ortx.tensor(x)
    taken = [np.from_dlpack(tensor) for _ in range(10)]
    del x, tensor
    while taken:
        assert owner() is not None
        assert taken.pop().tolist() == [0, 1, 2, 3]
    assert owner() is None


def take_over(capsule: object) -> tuple[Legacy | Versioned, int]:
    """Take a capsule's content over as a C library does: the struct, and its address for the deleter."""
    lent, struct = read_capsule(capsule)
    capsule_rename(capsule, USED[struct])
    return lent, ctypes.addressof(lent)


@pytest.mark.parametrize("version", [None, (1, 0)])
def test_the_deleter_may_be_called_without_the_gil(version):
    x, owner = owned(4)
    lent, where = take_over(ortx.tensor(x).__dlpack__(max_version=version))
    del x
    gc.collect()
    assert owner() is not None
    lent.deleter(where)  # ctypes lets go of the GIL meanwhile
    assert owner() is None


@pytest.mark.parametrize("version", [None, (1, 0)])
def test_the_deleter_may_be_called_by_another_thread(version):
    loans, owners = [], []
    for _ in range(8):
        x, owner = owned(4)
        loans.append(take_over(ortx.tensor(x).__dlpack__(max_version=version)))
        owners.append(owner)
    del x
    assert all(owner() is not None for owner in owners)
    barrier = threading.Barrier(8)

    def work(lent: Legacy | Versioned, where: int) -> None:
        barrier.wait()
        lent.deleter(where)

    threads = [threading.Thread(target=work, args=loan) for loan in loans]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [owner() for owner in owners] == [None] * 8


@pytest.mark.skipif(sys.platform == "win32", reason="needs pthread_create, which Windows does not have")
@pytest.mark.parametrize("version", [None, (1, 0)])
def test_the_deleter_may_be_called_by_a_thread_that_python_knows_nothing_of(version):
    x, owner = owned(4)
    lent, where = take_over(ortx.tensor(x).__dlpack__(max_version=version))
    del x
    assert owner() is not None
    library, thread = ctypes.CDLL(None), ctypes.c_void_p()
    begin = ctypes.cast(lent.deleter, ctypes.c_void_p)
    assert library.pthread_create(ctypes.byref(thread), None, begin, ctypes.c_void_p(where)) == 0
    assert library.pthread_join(thread, None) == 0
    assert owner() is None


# --- a tensor for others: buffers, __array__, and the rest


def test_a_memoryview_looks_into_the_tensor_and_writes():
    x = floats(2, 3)
    view = memoryview(ortx.tensor(x))
    assert (view.shape, view.format, view.itemsize, view.readonly) == ((2, 3), "f", 4, False)
    assert view.c_contiguous
    view[1, 2] = 42.0
    assert x[1, 2] == 42
    assert np.shares_memory(np.asarray(view), x)


def test_a_memoryview_of_a_read_only_tensor_is_read_only():
    x = floats(3)
    x.flags.writeable = False
    view = memoryview(ortx.tensor(x))
    assert view.readonly
    with pytest.raises(TypeError, match="read-only"):
        view[0] = 1.0
    with pytest.raises((BufferError, TypeError), match=r"read-only|not writable"):
        (ctypes.c_float * 3).from_buffer(ortx.tensor(x))
    x.flags.writeable = True
    (ctypes.c_float * 3).from_buffer(ortx.tensor(x))[1] = 7.0
    assert x[1] == 7


@pytest.mark.parametrize("shape", [(), (0,), (0, 2), (2, 0), (1, 1)])
def test_a_memoryview_has_the_tensors_shape(shape):
    view = memoryview(ortx.tensor("float32", shape))
    assert (view.shape, view.ndim, view.nbytes) == (shape, len(shape), 4 * int(np.prod(shape)))
    assert view.tolist() == np.zeros(shape).tolist()


@pytest.mark.parametrize("word", CODES)
def test_a_memoryview_has_the_tensors_element_type(word):
    x = sample(word)
    view = memoryview(ortx.tensor(x))
    assert np.asarray(view).dtype == x.dtype
    assert view.tobytes() == x.tobytes()


@pytest.mark.parametrize("word", [*ML_CODES, *WITHOUT_CODE])
def test_a_type_that_buffers_have_no_letter_for_is_refused(word):
    with pytest.raises((ValueError, BufferError), match="cannot include dtype"):
        memoryview(ortx.tensor(word, (2,)))


def test_a_memoryview_keeps_the_memory():
    x, owner = owned(4)
    view = memoryview(ortx.tensor(x))
    del x
    gc.collect()
    assert owner() is not None
    assert view.tolist() == [0, 1, 2, 3]
    view.release()
    assert owner() is None


@with_numpy_2_1
def test_array_protocol_copies_only_where_it_is_asked_to():
    x = floats(4)
    tensor = ortx.tensor(x)
    assert tensor.numpy() is tensor.__array__() is tensor.__array__("float32", copy=False) is x
    for same in (np.asarray(tensor), np.array(tensor, copy=None), np.array(tensor, copy=False)):
        assert address(same) == address(x)
    for copy in (np.array(tensor), tensor.__array__(copy=True), tensor.__array__("float64", copy=True)):
        assert not np.shares_memory(copy, x)
        assert copy.tolist() == [0, 1, 2, 3]
    assert np.asarray(tensor, "int8").dtype == np.int8
    with pytest.raises(ValueError, match="cannot be an array of float64 without a copy"):
        tensor.__array__("float64", copy=False)
    with pytest.raises(ValueError, match="avoid copy"):
        np.array(tensor, "float64", copy=False)


def test_a_tensor_is_in_the_cpus_memory_and_stays_there():
    tensor = ortx.tensor(floats(4))
    assert (tensor.memory_info.device_type, tensor.memory_info.id, tensor.device) == ("cpu", 0, "cpu")
    assert tensor.to("cpu") is tensor.to("CPU:0") is tensor
    with pytest.raises(ortx.NotSupported, match="to: device: got 'cuda'"):
        tensor.to("cuda")
    with pytest.raises(ortx.InvalidType, match="to: device: got 3"):
        tensor.to(3)


# --- memory of others: DLPack


@pytest.mark.parametrize("lender_of", LENDERS)
def test_a_loan_is_not_copied_and_given_back_once(lender_of):
    x = floats(2, 3)
    lender = lender_of(x)
    tensor = ortx.tensor(lender)
    assert np.shares_memory(tensor.numpy(), x)
    assert tensor.tolist() == [[0, 1, 2], [3, 4, 5]]
    view = tensor.numpy()[1:]
    del tensor
    gc.collect()
    assert lender.loans[0].given_back == 0
    assert view.tolist() == [[3, 4, 5]]
    del view
    assert lender.loans[0].given_back == 1
    assert lender.given_back() == [1]
    assert lender.asked == [(1, 1) if lender_of is Lender else "old"]


@pytest.mark.parametrize("lender_of", LENDERS)
@pytest.mark.parametrize("word", [*CODES, *ML_CODES])
def test_every_element_type_that_dlpack_and_onnx_have_is_taken(word, lender_of):
    x = sample(word)
    wanted = x.tobytes()
    lender = lender_of(x)
    tensor = ortx.tensor(lender)
    assert tensor.dtype == x.dtype
    assert address(tensor.numpy()) == address(x)
    assert tensor.numpy().tobytes() == wanted
    del tensor
    assert lender.given_back() == [1]


@pytest.mark.parametrize("lender_of", LENDERS)
@pytest.mark.parametrize("word", [*CODES, "bfloat16"])
def test_every_way_of_running_takes_a_loan(word, lender_of):
    wanted = sample(word).tobytes()
    with ortx.session_from_bytes(identity(word)) as session:
        lender = lender_of(sample(word))
        assert session.run([lender])[0].tobytes() == wanted
        assert lender.given_back() == [1]
        source, target = lender_of(sample(word)), lender_of(np.zeros_like(sample(word)), has_deleter=False)
        results = session.run_into({"x": source}, {"y": target})
        assert results["y"] is target
        assert target.memory.tobytes() == wanted
        binding = session.create_io_binding()
        bound, target = lender_of(sample(word)), lender_of(np.zeros_like(sample(word)))
        binding.bind_input("x", bound)
        binding.bind_output("y", target)
        binding.run()
        assert target.memory.tobytes() == wanted
        del binding, results
        gc.collect()
        assert source.given_back() == [1]
        for lender in (bound, target):
            assert set(lender.given_back()) == {1}


def test_an_output_is_written_into_a_loan(session):
    y = np.zeros(4, np.float32)
    lender = Lender(y, has_deleter=False)  # nothing spoils it
    results = session.run_into([floats(4)], [lender])
    assert results[0] is lender
    assert y.tolist() == [0, 1, 2, 3]


def test_neither_input_nor_output_is_copied_in_a_run(session):
    x, y = np.ones((1 << 20,), np.float32), np.zeros((1 << 20,), np.float32)
    source, target = Lender(x, has_deleter=False), Lender(y, has_deleter=False)
    assert most_memory_during(lambda: session.run_into([source], [target])) < x.nbytes // 4
    assert (y == 1).all()
    strided = Lender(np.ones((1 << 20, 2), np.float32)[:, 0], has_deleter=False)
    assert most_memory_during(lambda: session.run_into([strided], [y])) >= x.nbytes  # so this sees copies


def test_a_bound_loan_is_looked_into_in_every_run(session):
    x = floats(4)
    lender = Lender(x)
    binding = session.create_io_binding()
    binding.bind_input("x", lender)
    binding.bind_output("y")
    for value in range(3):
        x[:] = value
        assert binding.run()["y"].tolist() == [value] * 4
    assert lender.loans[0].given_back == 0
    binding.clear_inputs()
    assert set(lender.given_back()) == {1}


LAYOUTS = {
    "no strides": (lambda x: x, {"strides": False}),
    "an offset": (lambda x: x[1:], {"offset": 12}),
    "an offset and no strides": (lambda x: x[1:], {"offset": 12, "strides": False}),
    "an offset of less than an element": (
        lambda x: np.frombuffer(bytearray(b"\0\0" + x.tobytes()), np.float32, offset=2),
        {"offset": 2, "strides": False},
    ),
    "a transposition": (lambda x: x.T, {}),
    "a stride": (lambda x: np.repeat(x, 2, axis=1)[:, ::2], {}),
    "a negative stride": (lambda x: x[:, ::-1], {}),
    "a stride of zero": (lambda x: np.broadcast_to(x[0], (4, 3)), {}),
    "no element": (lambda x: x[:0], {}),
    "no dimension": (lambda x: np.array(5, np.float32), {}),
    "no dimension and no strides": (lambda x: np.array(5, np.float32), {"strides": False}),
}


@pytest.mark.parametrize("lender_of", LENDERS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_layout_is_read_right(session, layout, lender_of):
    change, keywords = LAYOUTS[layout]
    x = change(floats(3, 3))
    wanted = x.tolist()
    lender = lender_of(x, has_deleter=False, **keywords)
    assert session.run([lender])[0].tolist() == wanted
    assert ortx.tensor(lender).tolist() == wanted
    if x.flags.c_contiguous and x.flags.aligned and x.size:
        assert address(ortx.tensor(lender).numpy()) == address(x)


def test_a_loan_that_has_to_be_copied_is_given_back_at_once():
    lender = Lender(np.ascontiguousarray(floats(3, 2)).T)
    tensor = ortx.tensor(lender)
    assert lender.loans[0].given_back == 1
    assert (lender.memory != tensor.numpy()).all()
    assert tensor.tolist() == [[0, 2, 4], [1, 3, 5]]


def test_the_read_only_flag_is_honoured(session):
    x = floats(4)
    lender = Lender(x, flags=READ_ONLY)
    tensor = ortx.tensor(lender)
    assert not tensor.numpy().flags.writeable
    assert np.shares_memory(tensor.numpy(), x)
    with pytest.raises(ValueError, match="read-only"):
        tensor.numpy()[0] = 1
    with pytest.raises(ValueError, match="WRITEABLE"):
        tensor.numpy().flags.writeable = True
    with pytest.raises(ortx.CallError, match="read-only"):
        session.run_into([np.ones(4, np.float32)], [Lender(x.copy(), flags=READ_ONLY)])
    assert session.run([Lender(x.copy(), flags=READ_ONLY)])[0].tolist() == [0, 1, 2, 3]
    assert ortx.tensor(Lender(x.copy())).numpy().flags.writeable
    assert ortx.tensor(OldLender(x.copy(), flags=READ_ONLY)).numpy().flags.writeable


@with_numpy_2_1
def test_a_read_only_array_of_numpy_comes_as_read_only():
    x = floats(4)
    x.flags.writeable = False
    tensor = ortx.tensor(Wrapped(x))
    assert np.shares_memory(tensor.numpy(), x)
    assert not tensor.numpy().flags.writeable
    x = floats(4)
    assert ortx.tensor(Wrapped(x)).numpy().flags.writeable


@pytest.mark.parametrize("word", CODES)
def test_arrays_of_which_only_dlpack_is_left_are_not_copied(word):
    x = sample(word)
    assert address(ortx.tensor(Wrapped(x)).numpy()) == address(x)
    with ortx.session_from_bytes(identity(word)) as session:
        y = np.zeros_like(x)
        assert session.run([Wrapped(x)])[0].tolist() == x.tolist()
        session.run_into([Wrapped(x)], [Wrapped(y)])
        assert y.tolist() == x.tolist()


@pytest.mark.parametrize("lender_of", LENDERS)
def test_a_loan_without_deleter_is_taken(lender_of):
    x = floats(4)
    lender = lender_of(x, has_deleter=False)
    assert ortx.tensor(lender).tolist() == [0, 1, 2, 3]
    assert x.tolist() == [0, 1, 2, 3]
    assert lender.given_back() == [0]


REFUSED = {
    "two lanes": ({"element": (2, 32, 2)}, r"DLPack type \(2, 32, 2\)"),
    "no lanes": ({"element": (2, 32, 0)}, r"DLPack type \(2, 32, 0\)"),
    "an integer of 128 bits": ({"element": (0, 128, 1)}, r"DLPack type \(0, 128, 1\)"),
    "a bool of 1 bit": ({"element": (6, 1, 1)}, r"DLPack type \(6, 1, 1\)"),
    "a handle": ({"element": (3, 64, 1)}, r"DLPack type \(3, 64, 1\)"),
    "a complex number": ({"element": (5, 64, 1)}, r"DLPack type \(5, 64, 1\)"),
    "half a byte": ({"element": (17, 4, 1)}, r"DLPack type \(17, 4, 1\)"),
    "a type that nobody knows": ({"element": (200, 8, 1)}, r"DLPack type \(200, 8, 1\)"),
    "version 2": ({"major": 2}, "it speaks DLPack 2, and ortx DLPack 1"),
    "version 0": ({"major": 0}, "it speaks DLPack 0, and ortx DLPack 1"),
}


@pytest.mark.parametrize("has_deleter", [True, False])
@pytest.mark.parametrize("what", REFUSED)
def test_a_loan_that_cannot_be_used_is_refused_and_given_back_once(session, what, has_deleter):
    keywords, words = REFUSED[what]
    binding = session.create_io_binding()
    for use in (
        ortx.tensor,
        lambda lender: session.run([lender]),
        lambda lender: binding.bind_input("x", lender),
        lambda lender: binding.bind_output("y", lender),
        lambda lender: session.run_into([floats(4)], [lender]),
    ):
        lender = Lender(floats(4), has_deleter=has_deleter, **keywords)
        with pytest.raises((ortx.InvalidType, ortx.CallError), match=words) as caught:
            use(lender)
        assert "cannot be read as an array" in str(caught.value)
        assert lender.given_back() == [1 if has_deleter else 0]


@pytest.mark.parametrize("lender_of", LENDERS)
def test_a_loan_of_the_wrong_type_for_the_model_is_given_back_once(session, lender_of):
    lender = lender_of(np.arange(4, dtype=np.int32))
    with pytest.raises(ortx.CallError, match=r"got int32 of shape \(4,\); expected float32"):
        session.run([lender])
    assert lender.given_back() == [1]


BROKEN = {
    "fewer than no dimensions": lambda tensor: setattr(tensor, "ndim", -1),
    "a dimension of less than nothing": lambda tensor: tensor.shape.__setitem__(0, -2),
    "more elements than there is memory": lambda tensor: tensor.shape.__setitem__(0, 1 << 62),
}


@pytest.mark.parametrize("strides", [True, False])
@pytest.mark.parametrize("what", BROKEN)
def test_a_loan_that_makes_no_sense_is_refused_and_given_back_once(session, what, strides):
    class Broken(Lender):
        def lend(self, struct: type) -> object:
            capsule = super().lend(struct)
            BROKEN[what](self.loans[-1].struct.tensor)
            return capsule

    lender = Broken(floats(2, 3), strides=strides)
    with pytest.raises(
        ortx.CallError, match=r"input 'x': got .*Broken.* cannot be read as an array \(.*dimension|too big"
    ):
        session.run([lender])
    assert lender.given_back() == [1]


@pytest.mark.parametrize("answer", [None, 3, (1,), (1, 0, 0), "cpu", (None, 0), ([], 0)])
def test_a_device_that_is_none_is_refused_and_nothing_is_asked_for(session, answer):
    lender = Lender(floats(4), device=answer)
    with pytest.raises(ortx.CallError, match=r"input 'x': got .*Lender.* cannot be read as an array"):
        session.run([lender])
    assert lender.asked == []


def test_more_dimensions_than_numpy_has_are_refused():
    lender = Lender(floats(2))
    capsule = lender.__dlpack__(max_version=(1, 0))
    sizes = (ctypes.c_int64 * 65)(*[1] * 65)
    lender.loans[0].struct.tensor.ndim = 65
    lender.loans[0].struct.tensor.shape = lender.loans[0].struct.tensor.strides = ctypes.cast(
        sizes, ctypes.POINTER(ctypes.c_int64)
    )
    lender.lend = lambda struct: capsule
    with pytest.raises(ortx.InvalidType, match="it has 65 dimensions; numpy arrays have at most"):
        ortx.tensor(lender)
    assert lender.given_back() == [1]


@pytest.mark.parametrize(
    ("device", "words"),
    [((CUDA, 0), "cuda:0"), ((CUDA, 3), "cuda:3"), ((10, 1), "rocm:1"), ((EXT_DEV, 0), "ext_dev:0"), ((99, 7), "99:7")],
)
def test_memory_of_a_device_is_refused_by_its_name_and_not_asked_for(session, device, words):
    lender = Lender(floats(4), device=device)
    with pytest.raises(ortx.InvalidType, match=rf"{words}, and has to be copied to the CPU's first"):
        ortx.tensor(lender)
    with pytest.raises(ortx.CallError, match=rf"input 'x': .*{words}, and has to be copied"):
        session.run([lender])
    assert lender.asked == lender.loans == []


@pytest.mark.parametrize("device", [CUDA_HOST, 11, 13])
def test_memory_that_a_device_shares_with_the_cpu_is_taken(session, device):
    x = floats(4)
    lender = Lender(x, device=(device, 0))
    tensor = ortx.tensor(lender)
    assert np.shares_memory(tensor.numpy(), x)
    assert session.run([tensor])[0].tolist() == [0, 1, 2, 3]
    del tensor
    assert lender.given_back() == [1]


def test_what_can_bring_itself_to_the_cpu_is_asked_to(session):
    class OnDevice(Lender):
        def __array__(self, dtype: object = None, copy: bool | None = None) -> np.ndarray:
            return self.memory

    lender = OnDevice(floats(4), device=(CUDA, 0))
    assert session.run([lender])[0].tolist() == [0, 1, 2, 3]
    assert lender.loans == []


@pytest.mark.parametrize("error", [BufferError, RuntimeError, TypeError, ValueError, NotImplementedError])
@pytest.mark.parametrize("method", ["__dlpack__", "__dlpack_device__"])
def test_what_a_lender_raises_is_said(session, error, method):
    def fail(self, **keywords: object) -> object:
        raise error("no memory to lend today")

    lender = type("Broken", (Lender,), {method: fail})(floats(4))
    with pytest.raises(ortx.CallError, match=r"input 'x': got .*Broken.* \(no memory to lend today\)"):
        session.run([lender])
    with pytest.raises(ortx.InvalidType, match="no memory to lend today"):
        ortx.tensor(lender)


@pytest.mark.parametrize("answer", [None, 3, "dltensor", b"capsule"])
def test_what_is_no_capsule_is_refused(answer):
    class Wrong(Lender):
        def __dlpack__(self, **keywords: object) -> object:
            return answer

    with pytest.raises(ortx.InvalidType, match="its __dlpack__ returned .*, which is no DLPack capsule"):
        ortx.tensor(Wrong(floats(4)))


def test_a_capsule_of_something_else_is_refused():
    class Wrong(Lender):
        def __dlpack__(self, **keywords: object) -> object:
            return capsule_new(ctypes.addressof(number), b"something", None)

    number = ctypes.c_int(3)
    with pytest.raises(ortx.InvalidType, match="which is no DLPack capsule"):
        ortx.tensor(Wrong(floats(4)))


@pytest.mark.parametrize("lender_of", LENDERS)
def test_a_loan_is_passed_on_and_given_back_when_the_last_one_is_done(lender_of):
    lender = lender_of(floats(4))
    taken = np.from_dlpack(ortx.tensor(np.from_dlpack(ortx.tensor(lender))))
    gc.collect()
    assert np.shares_memory(taken, lender.memory)
    assert lender.loans[0].given_back == 0
    assert taken.tolist() == [0, 1, 2, 3]
    del taken
    assert lender.given_back() == [1]


def test_loans_are_given_back_by_whichever_thread_lets_go():
    lenders = [Lender(floats(4)) for _ in range(8)]
    tensors = [ortx.tensor(lender) for lender in lenders]
    barrier = threading.Barrier(8)

    def work() -> None:
        barrier.wait()
        tensors.pop()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [lender.given_back() for lender in lenders] == [[1]] * 8


def test_an_output_of_a_run_is_lent_without_a_copy(session):
    y = session.run([floats(4)])[0]
    taken = np.from_dlpack(ortx.tensor(y))
    assert np.shares_memory(taken, y)
    del y
    gc.collect()
    assert taken.tolist() == [0, 1, 2, 3]


# --- memory of others: buffers


BUFFERS = {
    "memoryview": lambda: memoryview(floats(4)),
    "array.array": lambda: array.array("f", [0, 1, 2, 3]),
    "bytes as floats": lambda: memoryview(floats(4).tobytes()).cast("f"),
    "bytearray as floats": lambda: memoryview(bytearray(floats(4).tobytes())).cast("f"),
    "ctypes": lambda: (ctypes.c_float * 4)(0, 1, 2, 3),
    "two dimensions of ctypes": lambda: ((ctypes.c_float * 2) * 2)((0, 1), (2, 3)),
    "a buffer of a tensor": lambda: memoryview(ortx.tensor(floats(4))),
}


@pytest.mark.parametrize("kind", BUFFERS)
def test_a_buffer_is_looked_into(session, kind):
    buffer = BUFFERS[kind]()
    seen = np.asarray(memoryview(buffer))
    tensor = ortx.tensor(buffer)
    assert np.shares_memory(tensor.numpy(), seen)
    assert tensor.numpy().flags.writeable is not memoryview(buffer).readonly
    assert session.run([buffer])[0].ravel().tolist() == [0, 1, 2, 3]
    if not memoryview(buffer).readonly:
        results = session.run_into([seen + 1], [buffer])
        assert results[0] is buffer
        assert np.asarray(memoryview(buffer)).ravel().tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize("make", [bytes, bytearray])
def test_bytes_are_not_copied(make):
    buffer = make(b"\1\2\3")
    tensor = ortx.tensor(buffer)
    assert (tensor.dtype, tensor.tolist()) == (np.uint8, [1, 2, 3])
    assert np.shares_memory(tensor.numpy(), np.frombuffer(buffer, np.uint8))
    assert tensor.numpy().flags.writeable is (make is bytearray)
    with ortx.session_from_bytes(identity("uint8")) as session:
        assert session.run([buffer])[0].tolist() == [1, 2, 3]


def test_no_buffer_is_copied_in_a_run(session):
    size = 1 << 20
    y = (ctypes.c_float * size)()
    for buffer in (array.array("f", bytes(4 * size)), (ctypes.c_float * size)(), memoryview(bytes(4 * size)).cast("f")):
        assert most_memory_during(lambda buffer=buffer: session.run_into([buffer], [y])) < size


def test_bytes_take_no_output():
    with (
        ortx.session_from_bytes(identity("uint8")) as session,
        pytest.raises(ortx.CallError, match="output 'y': got a read-only array"),
    ):
        session.run_into([b"abc"], [b"xyz"])


# --- memory of others: Arrow


@pytest.fixture(scope="module")
def arrow():
    try:
        import pyarrow
    except ImportError:
        pytest.skip("needs pyarrow")
    return pyarrow


@pytest.mark.parametrize("word", [word for word in CODES if word != "bool"])
def test_an_arrow_array_is_not_copied(arrow, word):
    column = arrow.array(np.arange(5, dtype=word))
    memory = np.frombuffer(column.buffers()[1], word)
    tensor = ortx.tensor(column[1:])
    assert np.shares_memory(tensor.numpy(), memory)
    assert tensor.numpy().dtype == word
    assert tensor.tolist() == [1, 2, 3, 4]
    with ortx.session_from_bytes(identity(word)) as session:
        assert session.run([column])[0].tolist() == [0, 1, 2, 3, 4]


def test_an_arrow_array_may_be_dropped(arrow):
    column = arrow.array(np.arange(1000, dtype=np.float32))
    tensor = ortx.tensor(column)
    del column
    gc.collect()
    arrow.array(np.full(1000, 7, np.float32))
    assert tensor.tolist() == list(range(1000))


def test_an_arrow_array_of_strings_is_one(arrow, strings):
    texts = ["a", "", "ü", "NUL\0inside"]
    for kind in (arrow.string(), arrow.large_string()):
        assert strings.run([arrow.array(texts, kind)])[0].tolist() == texts
        assert strings.run([arrow.array(texts, kind)[1:3]])[0].tolist() == texts[1:3]


def test_an_arrow_array_of_strings_with_nulls_is_refused(arrow, strings):
    with pytest.raises(ortx.CallError, match=r"input 'x': got None \(NoneType\) at \(1,\) among the strings"):
        strings.run([arrow.array(["a", None])])


# --- memory of others: torch


@pytest.fixture(scope="module")
def torch():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            import torch
        except ImportError:
            pytest.skip("needs torch, which the group test has where its wheel is without CUDA: macOS and Windows")
    return torch


def test_torch_takes_a_tensor_without_copying(torch):
    for word in ("float32", "float64", "float16", "int8", "int16", "int32", "int64", "uint8", "bool"):
        x = sample(word)
        taken = torch.from_dlpack(ortx.tensor(x))
        assert taken.data_ptr() == address(x)
        assert taken.tolist() == x.tolist()
    x, owner = owned(4)
    taken = torch.from_dlpack(ortx.tensor(x))
    del x
    gc.collect()
    assert owner() is not None
    assert taken.tolist() == [0, 1, 2, 3]
    del taken
    assert owner() is None


def test_torch_takes_bfloat16_without_copying(torch):
    x = sample("bfloat16")
    taken = torch.from_dlpack(ortx.tensor(x))
    assert taken.dtype == torch.bfloat16
    assert taken.data_ptr() == address(x)
    assert taken.tolist() == x.astype(np.float32).tolist()


@pytest.mark.parametrize("word", ["float32", "float64", "float16", "int32", "int64", "uint8", "bool", "bfloat16"])
def test_a_torch_tensor_is_not_copied(torch, word):
    x = torch.tensor([[0, 1, 1], [1, 0, 1]], dtype=getattr(torch, word))
    tensor = ortx.tensor(x)
    assert address(tensor.numpy()) == x.data_ptr()
    assert tensor.dtype == dtype_of(word)
    with ortx.session_from_bytes(identity(word)) as session:
        y = torch.zeros_like(x)
        assert session.run([x])[0].tolist() == x.tolist()
        assert session.run_into([x], [y])[0] is y
        assert torch.equal(y, x)
        binding = session.create_io_binding()
        binding.bind_input("x", x)
        target = torch.zeros_like(x)
        binding.bind_output("y", target)
        x.fill_(1)
        binding.run()
        assert torch.equal(target, x)


def test_a_torch_tensor_outlives_its_name(torch):
    tensor = ortx.tensor(torch.arange(1000, dtype=torch.float32))
    gc.collect()
    torch.full((1000,), 7, dtype=torch.float32)
    assert tensor.tolist() == list(range(1000))


def test_a_torch_tensor_of_any_layout_is_read_right(torch, session):
    x = torch.arange(12, dtype=torch.float32).reshape(3, 4)
    for view in (x.T, x[:, ::2], x[1:], x[0].expand(3, 4), x[:0], x[1, 2]):
        assert session.run([view])[0].tolist() == view.tolist()
    with pytest.raises(ortx.CallError, match="not C-contiguous"):
        session.run_into([floats(4, 3)], [x.T])


def test_a_torch_tensor_that_has_a_gradient_is_refused_with_advice(torch, session):
    x = torch.ones(2, requires_grad=True)
    with pytest.raises(ortx.CallError, match=r"input 'x': got .*Tensor.* cannot be read as an array .*detach\(\)"):
        session.run([x])
    with pytest.raises(ortx.InvalidType, match=r"detach\(\)"):
        ortx.tensor(x)
    with pytest.raises(ortx.CallError, match=r"output 'y': got .*"):
        session.run_into([floats(2)], [x])
    assert session.run([x.detach()])[0].tolist() == [1, 1]


def test_a_torch_tensor_of_no_device_is_refused_by_the_devices_name(torch, session):
    with pytest.raises(ortx.CallError, match=r"input 'x': got .*Tensor.* cannot be read as an array .*meta"):
        session.run([torch.ones(2, device="meta")])


@pytest.mark.parametrize("version", [(), (1,), "1", 1, (1, 0, 0), ("1", "0"), [1, 0]], ids=repr)
def test_a_version_that_is_no_pair_of_integers_is_refused(version):
    with pytest.raises(BufferError, match="max_version: got .* expected a pair of integers"):
        ortx.tensor("float32", (2,)).__dlpack__(max_version=version)


@pytest.mark.parametrize("error", [KeyError, OSError, AttributeError, IndexError, OverflowError, RuntimeWarning])
@pytest.mark.parametrize("way", ["__dlpack__", "__array__"])
def test_whatever_an_exporter_raises_is_told_as_the_reason(error, way):
    def refuse(*_, **__):
        raise error("out of order")

    exporter = type("Exporter", (), {way: refuse})()
    with pytest.raises(ortx.InvalidType, match="cannot be read as an array .*out of order"):
        ortx.tensor(exporter)


def test_a_type_error_of_the_exporter_itself_is_no_reason_to_ask_again():
    class Exporter:
        asked = 0

        def __dlpack__(self, max_version=None):
            self.asked += 1
            raise TypeError("this one has nulls")

    exporter = Exporter()
    with pytest.raises(ortx.InvalidType, match="this one has nulls"):
        ortx.tensor(exporter)
    assert exporter.asked == 1


def test_arrow_arrays_with_nulls_are_refused_as_masked_arrays_are():
    pyarrow = pytest.importorskip("pyarrow", reason="needs pyarrow, which has no wheel for this Python")
    for with_nulls in (pyarrow.array([1, None, 3], pyarrow.float32()), pyarrow.array([1, None], pyarrow.int32())):
        with pytest.raises(ortx.InvalidType, match="which holds nulls"):
            ortx.tensor(with_nulls)
