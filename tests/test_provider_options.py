"""What `ortx.session` does with execution providers, with dimensions that are fixed, and with config entries.

How these options are read is in `test_options.py`, `test_providers.py`, `test_coreml.py` and `test_config_keys.py`.
Here is what follows from them, with a build of ONNX Runtime that has no accelerator.
"""

from __future__ import annotations

import inspect
import json
import warnings
from collections import UserDict

import models
import numpy as np
import onnx
import pytest

import ortx
from ortx import _core, coreml, providers

X = np.array([[1, 2]], np.float32)
CPU, AZURE = "CPUExecutionProvider", "AzureExecutionProvider"

# Providers that the usual build does not have, and how ONNX Runtime calls them in its refusal.
MISSING = {
    "coreml": ("CoreMLExecutionProvider", "CoreML"),
    "cuda": ("CUDAExecutionProvider", "CUDA"),
    "tensorrt": ("TensorrtExecutionProvider", "TensorRT"),
    "xnnpack": ("XnnpackExecutionProvider", "XNNPACK"),
    "openvino": ("OpenVINOExecutionProvider", "OpenVINO"),
    "qnn": ("QNNExecutionProvider", "QNN"),
}


@pytest.fixture(params=MISSING)
def missing(request) -> str:
    return absent(request.param)


def absent(word: str) -> str:
    if MISSING[word][0] in ortx.available_providers():
        pytest.skip(f"needs a build of ONNX Runtime without {word}")
    return word


@pytest.fixture
def model_path(tmp_path):
    path = tmp_path / "square.onnx"
    path.write_bytes(models.square())
    return path


def providers_of(model: bytes | None = None, **given) -> tuple[str, ...]:
    """Return with which providers a session is made; it has to work with them."""
    with ortx.session_from_bytes(models.square() if model is None else model, **given) as session:
        np.testing.assert_array_equal(session.run([X])[0], X * X)
        return session.providers()


def places(caught: pytest.WarningsRecorder) -> list[tuple[str, int]]:
    return [(warning.filename, warning.lineno) for warning in caught]


# --- providers that are there


def test_the_available_providers_are_full_names_with_the_cpu_last():
    available = ortx.available_providers()
    assert available == ortx.available_providers()
    assert available[-1] == CPU
    assert all(type(name) is str and name.endswith("ExecutionProvider") for name in available)
    for name in available:
        assert providers.names(providers.read_providers(name)) == (name,)


@pytest.mark.parametrize(
    "given",
    [{}]
    + [
        {option: value}
        for option in ("providers", "provider")
        for value in (
            None,
            [],
            (),
            "cpu",
            "CPU",
            "CPUExecutionProvider",
            "Cpu_Execution-Provider",
            ["cpu"],
            ("cpu", {}),
        )
    ],
    ids=repr,
)
def test_by_default_and_by_any_of_its_names_it_is_the_cpu_alone(given):
    assert providers_of(**given) == (CPU,)
    assert providers_of(**given, fallback_to_cpu=False) == (CPU,)


@pytest.mark.parametrize(
    "value",
    [
        "azure",
        "AZURE",
        "AzureExecutionProvider",
        "azure_execution_provider",
        ["azure"],
        ("azure",),
        ("azure", "cpu"),
        ["azure", "cpu"],
        ("azure", {}),
        ("azure", UserDict(key="value")),
        [("azure", {"number": 1, "switch": True}), "cpu"],
        providers.read_providers("azure"),
    ],
    ids=repr,
)
@pytest.mark.parametrize("option", ["providers", "provider"])
def test_a_provider_that_is_there_is_appended_whatever_it_is_called(option, value):
    if AZURE not in ortx.available_providers():
        pytest.skip("needs a build of ONNX Runtime with the Azure provider")
    assert providers_of(**{option: value}) == (AZURE, CPU)
    assert providers_of(**{option: value}, fallback_to_cpu=False) == (AZURE, CPU)


@pytest.mark.parametrize("behind", ["azure", "coreml", "cuda"])
def test_what_stands_behind_the_cpu_is_not_appended_and_not_missed(behind):
    assert providers_of(providers=["cpu", behind]) == (CPU,)
    assert providers_of(providers=["cpu", behind], fallback_to_cpu=False) == (CPU,)


def test_a_closed_session_still_says_its_providers(model_path):
    session = ortx.session(model_path)
    session.close()
    assert session.providers() == (CPU,)


def test_the_two_names_of_the_option_may_say_the_same_thing():
    assert providers_of(provider="cpu", providers=["CPUExecutionProvider"]) == (CPU,)
    with pytest.raises(ortx.OptionError, match="'provider' and 'providers' are two names for one thing"):
        ortx.session_from_bytes(models.square(), provider="cpu", providers=["cuda"])


# --- providers that are missing


def test_a_missing_provider_is_left_out_with_a_warning(missing, model_path):
    full_name, name = MISSING[missing]
    with pytest.warns(ortx.ProviderFallbackWarning) as caught:
        session = ortx.session(model_path, providers=missing)
    with session:
        np.testing.assert_array_equal(session.run([X])[0], X * X)
        assert session.providers() == (CPU,)
    (message,) = (str(warning.message) for warning in caught)
    assert message.startswith(f"{full_name} cannot be used, so {str(model_path)!r} runs without it: {name} ")
    assert message.endswith(" in this build.")


def test_a_model_from_memory_is_named_by_its_size(missing):
    size = len(models.square())
    with pytest.warns(ortx.ProviderFallbackWarning, match=f"{MISSING[missing][0]} .*, so {size} bytes runs without it"):
        assert providers_of(providers=[missing]) == (CPU,)


def test_the_warning_points_at_the_line_that_makes_the_session(model_path):
    absent("coreml")
    with pytest.warns(ortx.ProviderFallbackWarning) as caught:
        ortx.session(model_path, providers="coreml").close()
    assert places(caught) == [(__file__, inspect.currentframe().f_lineno - 1)]
    with pytest.warns(ortx.ProviderFallbackWarning) as caught:
        ortx.session_from_bytes(models.square(), providers="coreml").close()
    assert places(caught) == [(__file__, inspect.currentframe().f_lineno - 1)]


def test_every_missing_provider_is_warned_about_and_the_others_keep_their_order():
    before_the_cpu = [absent("cuda"), absent("coreml")]
    given = [before_the_cpu[0], "azure", before_the_cpu[1], "cpu", absent("xnnpack")]
    with pytest.warns(ortx.ProviderFallbackWarning) as caught:
        used = providers_of(providers=given)
    named = [str(warning.message).partition(" ")[0] for warning in caught]
    assert named == [MISSING[word][0] for word in before_the_cpu]
    assert used == tuple(name for name in (AZURE, CPU) if name in ortx.available_providers())


def test_a_warning_that_is_an_error_leaves_no_session_behind(model_path):
    absent("coreml")
    before = _core._live_handles()
    with warnings.catch_warnings():
        warnings.simplefilter("error", ortx.ProviderFallbackWarning)
        with pytest.raises(ortx.ProviderFallbackWarning):
            ortx.session(model_path, providers="coreml")
    assert _core._live_handles() == before


def test_without_fallback_a_missing_provider_is_an_error_with_the_reason(missing, model_path):
    before = _core._live_handles()
    full_name, name = MISSING[missing]
    with pytest.raises(ortx.EpFail) as caught:
        ortx.session(model_path, providers=["azure", missing], fallback_to_cpu=False)
    reason = caught.value.__cause__
    assert isinstance(reason, ortx.Error)
    assert str(reason).startswith(f"{name} execution provider is not ")
    assert str(caught.value) == f"ortx.session: {full_name} cannot be used: {reason}"
    assert caught.value.code == ortx.ErrorCode.EP_FAIL
    assert _core._live_handles() == before


@pytest.mark.parametrize("fallback", [True, False])
@pytest.mark.parametrize("given", ["cpu", "azure"])
def test_a_damaged_model_is_no_matter_of_providers(given, fallback):
    with pytest.raises(ortx.InvalidProtobuf):
        ortx.session_from_bytes(b"\x08\x08damaged", providers=given, fallback_to_cpu=fallback)


def test_a_damaged_model_is_not_warned_about():
    # All warnings are errors here.
    with pytest.raises(ortx.InvalidProtobuf, match="9 bytes is no ONNX model"):
        ortx.session_from_bytes(b"\x08\x08damaged", providers=absent("coreml"))


def test_a_missing_file_is_not_warned_about(tmp_path):
    with pytest.raises(ortx.NoSuchFile):
        ortx.session(tmp_path / "nothing.onnx", providers="coreml")


def test_a_session_that_fails_with_and_without_its_providers_fails_for_the_latter_reason():
    if AZURE not in ortx.available_providers():
        pytest.skip("needs a build of ONNX Runtime with the Azure provider")
    given = {"providers": "azure", "config_entries": {"session.disable_cpu_ep_fallback": "1"}}
    before = _core._live_handles()
    with pytest.raises(ortx.Fail, match="fallback to CPU EP has been explicitly disabled"):
        ortx.session_from_bytes(models.square(), given)
    with pytest.raises(ortx.EpFail, match=f"a session with {AZURE} cannot be made: .*explicitly disabled") as caught:
        ortx.session_from_bytes(models.square(), given, fallback_to_cpu=False)
    assert isinstance(caught.value.__cause__, ortx.Fail)
    assert _core._live_handles() == before


# --- the CoreML fields


def coreml_options_of(**given) -> dict[str, str]:
    """Return the options with which CoreML would be appended."""
    table = _core.read_session_options("ortx.session", {"providers": ["coreml", "cpu"]} | given, {})
    first, *_ = table.providers
    assert (first.name, first.append_name) == ("CoreMLExecutionProvider", "CoreML")
    return dict(first.options)


WITH_OPTIONS = ("coreml", {"ModelFormat": "MLProgram", "SpecializationStrategy": "FastPrediction"})


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, {}),
        ({"coreml_compute_units": "all"}, {"MLComputeUnits": "ALL"}),
        ({"coreml_compute_units": "CPUAndGPU"}, {"MLComputeUnits": "CPUAndGPU"}),
        ({"coreml_create_mlprogram": True}, {"ModelFormat": "MLProgram"}),
        ({"coreml_create_mlprogram": False}, {"ModelFormat": "NeuralNetwork"}),
        ({"coreml_require_static_input_shapes": True}, {"RequireStaticInputShapes": "1"}),
        ({"coreml_enable_on_subgraph": False}, {"EnableOnSubgraphs": "0"}),
        ({"coreml_flags": 0}, {}),
        ({"coreml_flags": 0x011}, {"MLComputeUnits": "CPUOnly", "ModelFormat": "MLProgram"}),
        ({"coreml_use_cpu_only": True}, {"MLComputeUnits": "CPUOnly"}),
        ({"coreml_use_cpu_only": False}, {}),
        ({"coreml_use_cpu_and_gpu": True}, {"MLComputeUnits": "CPUAndGPU"}),
        ({"coreml_only_enable_device_with_ane": True}, {"MLComputeUnits": "CPUAndNeuralEngine"}),
        (
            {"coreml_only_enable_device_with_ane": True, "coreml_compute_units": "all"},
            {"MLComputeUnits": "ALL"},
        ),
        ({"providers": [WITH_OPTIONS]}, WITH_OPTIONS[1]),
        (
            {"providers": [WITH_OPTIONS], "coreml_use_cpu_only": True, "coreml_create_mlprogram": True},
            WITH_OPTIONS[1] | {"MLComputeUnits": "CPUOnly"},
        ),
    ],
    ids=lambda value: repr(value)[:80],
)
def test_the_coreml_fields_become_options_of_the_provider(given, expected):
    assert coreml_options_of(**given) == expected


def test_the_coreml_fields_concern_no_other_provider():
    given = {"providers": [("cuda", {"device_id": 1}), "coreml"], "coreml_use_cpu_only": True}
    cuda, _ = _core.read_session_options("ortx.session", given, {}).providers
    assert cuda.options == (("device_id", "1"),)


@pytest.mark.parametrize(
    ("given", "names"),
    [
        (
            {"coreml_compute_units": "all", "coreml_use_cpu_only": True},
            ("option 'coreml_compute_units' = 'all'", "option 'coreml_use_cpu_only' = True"),
        ),
        (
            {"coreml_use_cpu_only": True, "coreml_use_cpu_and_gpu": True},
            ("option 'coreml_use_cpu_only' = True", "option 'coreml_use_cpu_and_gpu' = True"),
        ),
        (
            {"coreml_flags": 0x010, "coreml_create_mlprogram": False},
            ("option 'coreml_create_mlprogram' = False", "option 'coreml_flags' = 0x010 (CREATE_MLPROGRAM)"),
        ),
        (
            {"providers": [WITH_OPTIONS], "coreml_create_mlprogram": False},
            ("option 'coreml_create_mlprogram' = False", "CoreML's own option 'ModelFormat' = 'MLProgram'"),
        ),
    ],
    ids=["units", "bits", "flags", "provider option"],
)
def test_coreml_fields_that_contradict_each_other_are_refused_with_both(given, names):
    before = _core._live_handles()
    with pytest.raises(ortx.OptionError, match="contradicts") as caught:
        ortx.session_from_bytes(models.square(), {"providers": "coreml"} | given)
    assert str(caught.value).startswith("ortx.session_from_bytes: ")
    assert all(name in str(caught.value) for name in names)
    assert _core._live_handles() == before


@pytest.mark.parametrize("given", [{}, {"providers": "cpu"}, {"provider": ["cuda", "cpu"]}], ids=repr)
@pytest.mark.parametrize("name", coreml.FIELDS)
def test_a_coreml_field_without_coreml_is_refused(name, given):
    value = {"coreml_compute_units": "all", "coreml_flags": 0}.get(name, False)
    with pytest.raises(ortx.OptionError, match=f"option '{name}' = .* would do nothing.*add 'coreml' to providers"):
        ortx.session_from_bytes(models.square(), {name: value}, **given)


def test_coreml_with_fields_falls_back_like_any_other(model_path):
    absent("coreml")
    given = {"providers": "coreml", "coreml_create_mlprogram": True, "coreml_use_cpu_only": True}
    with pytest.warns(ortx.ProviderFallbackWarning, match="CoreMLExecutionProvider cannot be used"):
        assert providers_of(**given) == (CPU,)
    with pytest.raises(ortx.EpFail, match="CoreMLExecutionProvider cannot be used"):
        ortx.session(model_path, given, fallback_to_cpu=False)


@pytest.mark.parametrize(
    ("neural_engine", "reason"),
    [(False, "this device has no Apple Neural Engine"), (True, "not supported in this build")],
)
def test_coreml_for_the_neural_engine_alone_needs_one(monkeypatch, neural_engine, reason):
    absent("coreml")
    monkeypatch.setattr(coreml, "has_neural_engine", lambda: neural_engine)
    given = {"providers": "coreml", "coreml_only_enable_device_with_ane": True}
    with pytest.warns(ortx.ProviderFallbackWarning, match=reason):
        assert providers_of(**given) == (CPU,)
    with pytest.raises(ortx.EpFail, match=reason):
        ortx.session_from_bytes(models.square(), given, fallback_to_cpu=False)


OLD_LIBRARY = """
import json, sys, warnings
import ortx

def outcome(**given):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            with ortx.session(sys.argv[1], **given) as session:
                return [list(session.providers()), *[str(warning.message) for warning in caught]]
        except ortx.Error as error:
            return [type(error).__name__, str(error)]
"""


@pytest.fixture
def with_old_library(run_python, runtime_wheel, model_path):
    """Return what becomes of sessions of `square` with ONNX Runtime 1.20.1, each made with options written as code."""

    def with_old_library(*given: str) -> list:
        calls = ", ".join(f"outcome({arguments})" for arguments in given)
        code = f"{OLD_LIBRARY}\njson.dump([{calls}], sys.stdout)"
        done = run_python(code, model_path, ORTX_LIBRARY=runtime_wheel("1.20.1"))
        assert (done.returncode, done.stderr) == (0, "")
        return json.loads(done.stdout)

    return with_old_library


def test_an_older_library_without_coreml_is_fallen_back_from_too(with_old_library):
    absent("coreml")
    fell_back, failed, flags = with_old_library(
        "provider='coreml'",
        "provider='coreml', fallback_to_cpu=False",
        "provider='coreml', coreml_flags=0x010, coreml_use_cpu_only=True, fallback_to_cpu=False",
    )
    used, message = fell_back
    assert used == [CPU]
    assert message.startswith("CoreMLExecutionProvider cannot be used")
    assert message.endswith("was built without CoreML")
    for kind, reason in (failed, flags):
        assert kind == "EpFail"
        assert reason.endswith("was built without CoreML")


# --- dimensions


def denoted() -> bytes:
    """y = x * x, with x of shape (batch, any), the second of which is a CHANNEL"""
    model = onnx.load_from_string(models.square(("batch", None)))
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].denotation = "DATA_BATCH"
        value.type.tensor_type.shape.dim[1].denotation = "DATA_CHANNEL"
    return model.SerializeToString()


def override(by: object, key: object, value: object) -> dict[str, object]:
    return {"by": by, "key": key, "value": value}


@pytest.mark.parametrize(
    ("overrides", "shape", "symbols"),
    [
        ([], (-1, -1), ("batch", "")),
        ([override("name", "batch", 3)], (3, -1), ("", "")),
        ([override("name", "batch", 0)], (0, -1), ("", "")),
        ([override("name", "batch", 2**63 - 1)], (2**63 - 1, -1), ("", "")),
        ([override("denotation", "DATA_BATCH", 3)], (3, -1), ("", "")),
        ([override("denotation", "DATA_CHANNEL", np.int32(4))], (-1, 4), ("batch", "")),
        ([override("name", "batch", 3), override("denotation", "DATA_CHANNEL", 4)], (3, 4), ("", "")),
        ((UserDict(override("name", "batch", 3)),), (3, -1), ("", "")),
    ],
    ids=lambda value: repr(value)[:60] if isinstance(value, list) else "",
)
def test_a_dimension_is_fixed_by_its_name_or_its_denotation(tmp_path, overrides, shape, symbols):
    path = tmp_path / "denoted.onnx"
    path.write_bytes(denoted())
    for session in (
        ortx.session(path, free_dimension_overrides=overrides),
        ortx.session_from_bytes(denoted(), free_dimension_overrides=overrides),
    ):
        with session:
            for info in (session.input_info("x"), session.output_info("y")):
                assert (info.shape, info.symbolic_shape) == (shape, symbols)


def test_a_fixed_dimension_is_held_to_by_every_run():
    with ortx.session_from_bytes(denoted(), free_dimension_overrides=[override("name", "batch", 1)]) as session:
        np.testing.assert_array_equal(session.run([X])[0], X * X)
        with pytest.raises(ortx.CallError, match="shape"):
            session.run([np.ones((2, 2), np.float32)])


@pytest.mark.parametrize("by", ["name", "denotation"])
def test_a_dimension_that_the_model_does_not_have_is_refused(tmp_path, by):
    path = tmp_path / "denoted.onnx"
    path.write_bytes(denoted())
    before = _core._live_handles()
    expected = (
        r"option 'free_dimension_overrides'\[1\]\['key'\]: "
        f"the model has no dimension of the {by} 'no_such_dimension'"
    )
    for model, make in ((path, ortx.session), (denoted(), ortx.session_from_bytes)):
        with pytest.raises(ortx.OptionError, match=expected):
            make(model, free_dimension_overrides=[override("name", "batch", 3), override(by, "no_such_dimension", 3)])
    assert _core._live_handles() == before


GOOD = override("name", "n", 1)
TABLE = "a table with exactly 'by', 'key' and 'value'"


@pytest.mark.parametrize(
    ("item", "where", "expected"),
    [
        ("batch", "", TABLE),
        (("name", "batch", 1), "", TABLE),
        ({}, "", TABLE),
        ({"by": "name", "key": "batch"}, "", TABLE),
        (GOOD | {"more": 1}, "", TABLE),
        (override("Name", "batch", 1), "['by']", "one of 'name', 'denotation'"),
        (override("nam", "batch", 1), "['by']", "one of 'name', 'denotation'; did you mean 'name'?"),
        (override(0, "batch", 1), "['by']", "one of 'name', 'denotation'"),
        (override("name", "", 1), "['key']", "a string that is not empty"),
        (override("name", b"batch", 1), "['key']", "a string"),
        (override("name", None, 1), "['key']", "a string"),
        (override("name", "ba\0tch", 1), "['key']", "a string without a NUL character"),
        (override("name", "\ud800", 1), "['key']", "a string that can be encoded as UTF-8"),
        (override("name", "batch", -1), "['value']", "an integer from 0 to 9223372036854775807"),
        (override("name", "batch", 2**63), "['value']", "an integer from 0 to 9223372036854775807"),
        (override("name", "batch", 1.0), "['value']", "an integer from 0 to 9223372036854775807"),
        (override("name", "batch", True), "['value']", "an integer from 0 to 9223372036854775807"),
        (override("name", "batch", "1"), "['value']", "an integer from 0 to 9223372036854775807"),
        (override("name", "n", 2), "", "every name once"),
        (GOOD, "", "every name once"),
    ],
    ids=repr,
)
def test_a_wrong_override_is_refused_with_its_place(item, where, expected):
    got = item[where[2:-2]] if where else item
    with pytest.raises(ortx.OptionError) as caught:
        ortx.session_from_bytes(models.square(), free_dimension_overrides=[GOOD, item])
    message = str(caught.value)
    assert message.startswith(f"ortx.session_from_bytes: option 'free_dimension_overrides'[1]{where}: got ")
    assert f" ({type(got).__name__}); expected {expected}" in message


def test_a_name_and_a_denotation_may_be_the_same_word():
    given = [override("name", "batch", 3), override("denotation", "batch", 4)]
    table = _core.read_session_options("ortx.session", {"free_dimension_overrides": given}, {})
    assert table.free_dimension_overrides == (("name", "batch", 3), ("denotation", "batch", 4))


# --- config entries


@pytest.mark.parametrize(
    "entries",
    [
        {},
        {"session.intra_op.allow_spinning": "0"},
        UserDict({"session.intra_op.allow_spinning": "0", "session.inter_op.allow_spinning": "0"}),
        {"optimization.disable_specified_optimizers": "ConstantFolding;MatMulAddFusion"},
        {"session.disable_prepacking": "1", "ep.cuda.some_option": "größe"},
    ],
    ids=repr,
)
def test_config_entries_are_accepted_without_a_warning(entries):
    assert providers_of(config_entries=entries) == (CPU,)


def test_a_config_entry_does_what_onnx_runtime_says_of_it():
    entries = {"session.disable_cpu_ep_fallback": "1"}
    with pytest.raises(ortx.Fail, match="fallback to CPU EP has been explicitly disabled"):
        ortx.session_from_bytes(models.square(), config_entries=entries)
    assert providers_of(config_entries={"session.disable_cpu_ep_fallback": "0"}) == (CPU,)


def test_a_model_is_read_in_the_format_that_an_entry_names(tmp_path):
    path = tmp_path / "square.ort"
    save = {"session.save_model_format": "ORT"}
    ortx.session_from_bytes(models.square(), optimized_model_path=path, config_entries=save).close()
    model = path.read_bytes()
    assert model[4:8] == b"ORTM"
    assert providers_of(model, config_entries={"session.load_model_format": "ORT"}) == (CPU,)
    with pytest.raises(ortx.InvalidProtobuf):
        ortx.session_from_bytes(model, config_entries={"session.load_model_format": "ONNX"})


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        (
            {"session.log_severity_level": "1"},
            "option 'config_entries'['session.log_severity_level']: got '1' (str); "
            "expected the option 'session_log_severity_level' in its place",
        ),
        (
            {"session.disable_prepacking": "True"},
            "option 'config_entries'['session.disable_prepacking']: got 'True' (str); expected one of '0', '1'",
        ),
        (
            {"session.disable_prepacking": True},
            "option 'config_entries'['session.disable_prepacking']: got True (bool); expected a string; write '1'",
        ),
        ({"": "1"}, "option 'config_entries': got '' (str); expected a key that is not empty"),
    ],
    ids=lambda value: repr(value) if isinstance(value, dict) else "",
)
def test_a_wrong_config_entry_is_refused_with_its_key(entries, message):
    before = _core._live_handles()
    with pytest.raises(ortx.OptionError) as caught:
        ortx.session_from_bytes(models.square(), config_entries=entries)
    assert str(caught.value).startswith(f"ortx.session_from_bytes: {message}")
    assert _core._live_handles() == before


def test_an_unknown_config_key_is_warned_about_once_at_the_line_that_makes_the_session(model_path):
    entries = {"session.disable_prepackin": "1"}
    with pytest.warns(ortx.UnknownConfigKeyWarning, match=r"did you mean 'session\.disable_prepacking'") as caught:
        ortx.session(model_path, config_entries=entries).close()
    assert places(caught) == [(__file__, inspect.currentframe().f_lineno - 1)]
    with pytest.warns(ortx.UnknownConfigKeyWarning, match=r"did you mean 'session\.disable_prepacking'") as caught:
        ortx.session_from_bytes(models.square(), {"config_entries": entries}).close()
    assert places(caught) == [(__file__, inspect.currentframe().f_lineno - 1)]


def test_an_older_library_refuses_a_newer_config_key_and_takes_its_own(with_old_library):
    newer, older = with_old_library(
        "config_entries={'session.intra_op.spin_duration_us': '0'}",
        "config_entries={'session.intra_op.allow_spinning': '0'}",
    )
    assert newer == [
        "NotSupported",
        "ortx.session: option 'config_entries'['session.intra_op.spin_duration_us'] needs ONNX Runtime 1.26 or newer; "
        "1.20.1, which is loaded, would ignore it",
    ]
    assert older == [[CPU]]
