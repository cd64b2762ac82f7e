"""DLPack capsules that lie: wherever the lie can be seen, it is an error of ortx's, and the memory is given back once.

A capsule is a pointer. Whoever makes one that points to the wrong place, or says that there is more memory than there
is, is believed, as everywhere; no such capsules are made here.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
from typing import ClassVar

import models
import numpy as np
from fuzzing import fuzz
from hypothesis import strategies as st

import ortx

INT64_MAX = 2**63 - 1
capsule_new = ctypes.pythonapi.PyCapsule_New
capsule_new.restype, capsule_new.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
DELETER = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


class DLTensor(ctypes.Structure):
    _fields_: ClassVar = [
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.c_void_p),
        ("strides", ctypes.c_void_p),
        ("byte_offset", ctypes.c_uint64),
    ]


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


SOUND = {
    "struct": Versioned,
    "major": 1,
    "flags": 0,
    "device": (1, 0),
    "element": (2, 32, 1),
    "ndim": 2,
    "shape": (3, 2),
    "strides": (2, 1),
    "offset": 0,
    "data": True,
    "name": None,
    "asked_device": (1, 0),
    "deleter": True,
}
# One thing or some are not as they should be. Every shape but (3, 2) is refused before a byte is read.
SIZES = st.one_of(st.integers(-2, 4), st.sampled_from([2**31, 2**62, INT64_MAX, -(2**63)]))
LIES = {
    "struct": st.sampled_from([Legacy, Versioned]),
    "major": st.integers(0, 2**32 - 1),
    "flags": st.integers(0, 2**64 - 1),
    "device": st.tuples(st.integers(-(2**31), 2**31 - 1), st.integers(-1, 2)),
    "element": st.tuples(st.integers(0, 255), st.integers(0, 255), st.integers(0, 9)),
    "ndim": st.sampled_from([0, 1, 3, -1, 65, 2**31 - 1, -(2**31)]),
    "shape": st.one_of(st.none(), st.tuples(SIZES, SIZES).filter(lambda shape: shape != (3, 2))),
    "strides": st.one_of(
        st.none(),
        st.tuples(st.integers(-8, 8), st.integers(-8, 8)),
        st.tuples(st.sampled_from([2**61, INT64_MAX, -(2**63), -(2**62)]), st.integers(-8, 8)),
    ),
    "offset": st.sampled_from([0, 4, 8, 1]),
    "data": st.just(False),
    "name": st.sampled_from([b"dltensor", b"dltensor_versioned", b"used_dltensor", b"", b"what", None]),
    "asked_device": st.one_of(
        st.tuples(st.integers(), st.integers()), st.sampled_from([None, 1, (1,), (1, 0, 0), "ab", (None, 0)])
    ),
    "deleter": st.just(False),
}
CASES = st.lists(st.sampled_from(sorted(LIES)), unique=True, max_size=3).flatmap(
    lambda names: st.fixed_dictionaries({name: LIES[name] for name in names})
)
NAMES = {Legacy: b"dltensor", Versioned: b"dltensor_versioned"}


class Exporter:
    """Lends some memory, with whatever is said of it."""

    def __init__(self, lies: dict[str, object]) -> None:
        said = {**SOUND, **lies}
        self.said, self.given_back, self.taken_over = said, 0, 0
        self.memory = np.arange(256, dtype=np.float32)
        self.numbers = (ctypes.c_int64 * 64)(*[1] * 64), (ctypes.c_int64 * 64)(*[0] * 64)
        self.struct = said["struct"]()
        if said["struct"] is Versioned:
            self.struct.major, self.struct.minor, self.struct.flags = said["major"], 1, said["flags"]
        tensor = self.struct.tensor
        # In the middle, so that strides of both signs stay inside.
        tensor.data = self.memory.ctypes.data + 512 if said["data"] else None
        tensor.device_type, tensor.device_id = said["device"]
        tensor.code, tensor.bits, tensor.lanes = said["element"]
        tensor.ndim, tensor.byte_offset = said["ndim"], said["offset"]
        for name, numbers in zip(("shape", "strides"), self.numbers, strict=True):
            if said[name] is not None:
                numbers[: len(said[name])] = said[name]
                setattr(tensor, name, ctypes.addressof(numbers))
        if said["deleter"]:
            self.keep = DELETER(self.give_back)
            self.struct.deleter = self.keep

    def give_back(self, address: int) -> None:
        self.given_back += 1

    def __dlpack_device__(self) -> object:
        return self.said["asked_device"]

    def __dlpack__(self, **keywords: object) -> object:
        name = NAMES[type(self.struct)] if self.said["name"] is None else self.said["name"]
        if name in NAMES.values() and name != NAMES[type(self.struct)]:
            name = b"what"  # the wrong one of the two structs would be a pointer to the wrong place
        is_taken_over = name in NAMES.values() and (self.said["struct"] is Legacy or self.said["major"] == 1)
        self.taken_over += is_taken_over and self.said["deleter"]
        return capsule_new(ctypes.addressof(self.struct), name, None)


def test_a_capsule_that_lies_is_refused_or_used_and_its_memory_given_back():
    # A value may be kept for the next call; what lends it has to live until it is given back.
    lenders: list[Exporter] = []
    opened = [ortx.session_from_bytes(models.identity(shape=(3, 2)))]

    def check(lies: dict[str, object]) -> None:
        exporter = Exporter(lies)
        lenders.append(exporter)
        if max(exporter.said["shape"] or (0,)) <= 4:  # otherwise it is believed, and what is not there is read
            with contextlib.suppress(ortx.Error):
                assert isinstance(ortx.tensor(exporter).shape, tuple)
        assert exporter.given_back == exporter.taken_over
        try:
            result = opened[0].run([exporter])[0]
        except ortx.Error:
            return
        if exporter.said["offset"] % 4 == 0:
            at = 128 + exporter.said["offset"] // 4
            steps = exporter.said["strides"] or (2, 1)
            expected = [[at + i * steps[0] + j * steps[1] for j in range(2)] for i in range(3)]
            assert result.tolist() == expected

    try:
        fuzz("dlpack", CASES, check)
    finally:
        opened.pop().close()
        gc.collect()
    assert [lender.said for lender in lenders if lender.given_back != lender.taken_over] == []
