"""What ortx itself reads of models: any bytes are read, or refused with a ValueError, and nothing takes long."""

from __future__ import annotations

import contextlib

import numpy as np
import onnx
import pytest
from fuzzing import rounds
from google.protobuf.message import DecodeError
from mutations import mutated

import ortx
from ortx import _core, externalfiles, hazards, modelfile, zipmaps


def read_all(model: memoryview) -> None:
    for name, weights in modelfile.weights(model).items():
        assert isinstance(name, str)
        with contextlib.suppress(ValueError, OverflowError):
            weights.differs_from(np.zeros(2, np.float32), "")


def names(model: memoryview) -> None:
    for tensor, location in externalfiles.locations(model):
        assert isinstance(tensor, str)
        assert isinstance(location, str)


def refuse(model: memoryview) -> None:
    for check in (
        lambda: externalfiles.check("f", model, path=None),
        lambda: hazards.check("f", _core.looked_through(model)[0], "all"),
    ):
        with contextlib.suppress(ortx.ExternalDataRefused, ortx.InvalidGraph):
            check()


def lay(model: memoryview) -> None:
    memory = bytearray(len(model))

    def lay(start: int, end: int) -> None:
        assert 0 <= start < end <= len(model)
        memory[start:end] = model[start:end]

    _core.lay_all_but_elements(memory, lay)


READERS = [
    lay,
    read_all,
    names,
    refuse,
    zipmaps.without_zip_maps,
    modelfile.is_ort_format,
    _core.predictions,
]


def test_any_bytes_are_read_or_refused():
    for seed in rounds("modelfile"):
        for number in range(5):
            how, model = mutated(f"{seed}-{number}")
            if how.startswith("magika"):  # large: there are enough others
                continue
            for reader in READERS:
                try:
                    reader(memoryview(model))
                except ValueError:
                    continue
                except Exception as error:
                    error.add_note(f"{seed}-{number}: {how}, read by {reader}")
                    raise


def test_what_python_finds_is_found_by_the_core_or_the_model_is_none():
    """`modelwalk` and the core's own way agree about every model that protobuf reads."""
    for seed in rounds("walk"):
        for number in range(5):
            how, model = mutated(f"{seed}-{number}")
            if how.startswith("magika"):
                continue
            try:
                named = any(True for _ in externalfiles.locations(memoryview(model)))
            except ValueError:
                continue
            if named and not _core.looked_through(model)[1]:
                with pytest.raises(DecodeError):
                    onnx.ModelProto.FromString(model)
