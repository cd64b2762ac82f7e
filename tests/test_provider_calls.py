"""Which calls `ortx.session` makes for execution providers that the usual build of ONNX Runtime does not have.

A shim stands between ortx and the real library. Functions about providers, session options and the making of sessions
are its own: they write down how they are called and then succeed, without appending anything, or fail with the reason
that a test wants. All others are the real ones, and so is every session, on the CPU.
"""

from __future__ import annotations

import itertools
import json
from collections import Counter
from pathlib import PurePosixPath
from types import SimpleNamespace

import models
import pytest

import ortx

CPU, COREML, CUDA, QNN, XNNPACK = (f"{name}ExecutionProvider" for name in ("CPU", "CoreML", "CUDA", "QNN", "Xnnpack"))
BY_NAME, BY_FLAGS = "SessionOptionsAppendExecutionProvider", "OrtSessionOptionsAppendExecutionProvider_CoreML"

# The two ways to open a session, and the function of ONNX Runtime behind each.
WAYS = {"session": "CreateSession", "session_from_bytes": "CreateSessionFromArray"}

# The functions that make a handle, and what it is called here.
MAKERS = {f"Create{name}ProviderOptions": name for name in ("CUDA", "TensorRT")} | {"CreateSessionOptions": "options"}

SHIM = r"""
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include "ortx_capi.h"

typedef const char* const* Texts;
static const OrtApiBase* real_base;
static const OrtApi* real;
static const OrtSessionOptions* with_providers;
static FILE* calls;

/* The log has calls, each behind \036, with the function and its arguments, each behind \037; @ marks a handle. */
#define note(...) fprintf(calls, __VA_ARGS__)

static void note_pairs(Texts keys, Texts values, size_t size) {
  for (size_t i = 0; i < size; i++) note("\037%s\037%s", keys[i], values[i]);
}

/* The environment says which step fails, with which code and message. */
static OrtStatus* attempt(const char* step) {
  char variable[200], *message;
  snprintf(variable, sizeof(variable), "SHIM_FAIL_%s", step);
  if (getenv(variable) == NULL) return NULL;
  int code = strtol(getenv(variable), &message, 10);
  return ((OrtStatus* (*)(OrtErrorCode, const char*))real->CreateStatus)(code, message + 1);
}

static OrtStatus* attempt_to_append(const OrtSessionOptions* options, const char* step) {
  OrtStatus* status = attempt(step);
  if (status == NULL) with_providers = options;
  return status;
}

static OrtStatus* CreateSessionOptions(OrtSessionOptions** out) {
  OrtStatus* status = real->CreateSessionOptions(out);
  with_providers = NULL;
  note("\036%s\037@%p", __func__, *out);
  return status;
}

static void ReleaseSessionOptions(OrtSessionOptions* options) {
  note("\036%s\037@%p", __func__, options);
  real->ReleaseSessionOptions(options);
}

static OrtStatus* CreateSession(const OrtEnv* env, const char* path, const OrtSessionOptions* with, OrtSession** out) {
  note("\036%s\037@%p\037%s", __func__, with, path);
  OrtStatus* status = attempt(with == with_providers ? "session_with_providers" : "session_alone");
  return status ? status : real->CreateSession(env, path, with, out);
}

static OrtStatus* CreateSessionFromArray(
    const OrtEnv* env, const void* data, size_t size, const OrtSessionOptions* with, OrtSession** out) {
  note("\036%s\037@%p\037%zu", __func__, with, size);
  OrtStatus* status = attempt(with == with_providers ? "session_with_providers" : "session_alone");
  return status ? status : real->CreateSessionFromArray(env, data, size, with, out);
}

static OrtStatus* SessionOptionsAppendExecutionProvider(
    OrtSessionOptions* options, const char* provider, Texts keys, Texts values, size_t size) {
  note("\036%s\037@%p\037%s", __func__, options, provider);
  note_pairs(keys, values, size);
  return attempt_to_append(options, provider);
}

OrtStatus* OrtSessionOptionsAppendExecutionProvider_CoreML(OrtSessionOptions* options, uint32_t flags) {
  note("\036%s\037@%p\0370x%03x", __func__, options, flags);
  return attempt_to_append(options, "CoreML");
}

/* These objects are never freed, so that no address comes twice. */
#define OPTIONS_OBJECT(NAME, Options) \
  static OrtStatus* Create##NAME##ProviderOptions(Options** out) { \
    OrtStatus* status = attempt(__func__); \
    if (status == NULL) note("\036%s\037@%p", __func__, *out = malloc(1)); \
    return status; \
  } \
  static OrtStatus* Update##NAME##ProviderOptions(Options* object, Texts keys, Texts values, size_t size) { \
    note("\036%s\037@%p", __func__, object); \
    note_pairs(keys, values, size); \
    return attempt(__func__); \
  } \
  static OrtStatus* SessionOptionsAppendExecutionProvider_##NAME##_V2(OrtSessionOptions* to, const Options* object) { \
    note("\036%s\037@%p\037@%p", __func__, to, object); \
    return attempt_to_append(to, __func__); \
  } \
  static void Release##NAME##ProviderOptions(Options* object) { note("\036%s\037@%p", __func__, object); }

OPTIONS_OBJECT(CUDA, OrtCUDAProviderOptionsV2)
OPTIONS_OBJECT(TensorRT, OrtTensorRTProviderOptionsV2)

#define REPLACE(SLOT) table.SLOT = SLOT

static const OrtApi* GetApi(uint32_t version) {
  static OrtApi table;
  table = *(real = real_base->GetApi(version));
  REPLACE(CreateSessionOptions), REPLACE(ReleaseSessionOptions), REPLACE(SessionOptionsAppendExecutionProvider);
  REPLACE(CreateSession), REPLACE(CreateSessionFromArray), REPLACE(CreateCUDAProviderOptions);
  REPLACE(CreateTensorRTProviderOptions), REPLACE(UpdateCUDAProviderOptions), REPLACE(UpdateTensorRTProviderOptions);
  REPLACE(SessionOptionsAppendExecutionProvider_CUDA_V2), REPLACE(SessionOptionsAppendExecutionProvider_TensorRT_V2);
  REPLACE(ReleaseCUDAProviderOptions), REPLACE(ReleaseTensorRTProviderOptions);
  return &table;
}

static const char* GetVersionString(void) {
  return getenv("SHIM_VERSION") ? getenv("SHIM_VERSION") : real_base->GetVersionString();
}

const OrtApiBase* OrtGetApiBase(void) {
  static const OrtApiBase base = {GetApi, GetVersionString};
  void* library = dlopen(getenv("SHIM_LIBRARY"), RTLD_NOW | RTLD_LOCAL);
  if (library == NULL) fputs(dlerror(), stderr), abort();
  calls = fopen(getenv("SHIM_LOG"), "a");
  setvbuf(calls, NULL, _IONBF, 0);
  real_base = ((OrtGetApiBaseFunction)dlsym(library, "OrtGetApiBase"))();
  return &base;
}
"""

CHILD = """
import json, os, sys, warnings
from pathlib import Path, PurePosixPath
from types import SimpleNamespace
import numpy as np
import ortx
from ortx import _core, coreml
model, log, cases = map(Path, sys.argv[1:])
X = np.array([[1, 2]], np.float32)

def outcome(function="session", fail={}, device=("linux", "x86_64"), **given):
    for name in [name for name in os.environ if name.startswith("SHIM_FAIL_")]:
        del os.environ[name]
    os.environ.update({f"SHIM_FAIL_{step}": reason for step, reason in fail.items()})
    coreml.sys = SimpleNamespace(platform=device[0])
    coreml.os = SimpleNamespace(uname=lambda: SimpleNamespace(machine=device[1]))
    log.write_text("")
    used = error = cause = None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            with getattr(ortx, function)(model if function == "session" else model.read_bytes(), **given) as session:
                np.testing.assert_array_equal(session.run([X])[0], X * X)
                used = session.providers()
        except ortx.Error as caught_error:
            error, cause = [type(caught_error).__name__, str(caught_error)], repr(caught_error.__cause__)
    said = [[each.category.__name__, str(each.message)] for each in caught]
    return dict(providers=used, error=error, cause=cause, warnings=said, log=log.read_text(encoding="utf-8"))

told = [outcome(**case) for case in eval(cases.read_text(encoding="utf-8"))]
assert not any(_core._live_handles().values()), _core._live_handles()
json.dump(told, sys.stdout)
"""


@pytest.fixture
def model_path(tmp_path):
    path = tmp_path / "square.onnx"
    path.write_bytes(models.square())
    return path


@pytest.fixture
def outcomes(compile_shared, run_python, model_path, tmp_path):
    """Return what becomes of sessions of `square` behind the shim, all of them in one fresh process."""
    library, log, cases_file = compile_shared(SHIM, "shim"), tmp_path / "log", tmp_path / "cases"

    def outcomes(cases: list[dict], version: str | None = None) -> list[SimpleNamespace]:
        cases_file.write_text(repr(cases), encoding="utf-8")
        variables = {"SHIM_LIBRARY": ortx.load_library().path, "SHIM_LOG": log, "SHIM_VERSION": version}
        done = run_python(CHILD, model_path, log, cases_file, ORTX_LIBRARY=library, **variables)
        assert (done.returncode, done.stderr) == (0, "")
        return [SimpleNamespace(**told, calls=read_calls(told["log"])) for told in json.loads(done.stdout)]

    return outcomes


@pytest.fixture(params=WAYS)
def way(request, outcomes, model_path) -> SimpleNamespace:
    """One way to open a session: what becomes of it, the function behind it, what that gets, what messages call it."""
    size, path = str(len(models.square())), str(model_path)

    def open_one(version: str | None = None, **case: object) -> SimpleNamespace:
        return outcomes([{"function": request.param} | case], version)[0]

    given, source = (path, repr(path)) if request.param == "session" else (size, f"{size} bytes")
    native = WAYS[request.param]
    return SimpleNamespace(open=open_one, name=f"ortx.{request.param}", native=native, given=given, source=source)


def read_calls(log: str) -> list[list[str]]:
    """Name each handle, and see to it that what is made is released once, and not used before or after."""
    alive: dict[str, str] = {}
    made, calls = Counter(), []
    for function, *arguments in (call.split("\037") for call in log.split("\036")[1:]):
        handles = [each for each in arguments if each.startswith("@")]
        if function in MAKERS:
            made[function] += 1
            assert not alive.keys() & handles, log
            alive[handles[0]] = f"{MAKERS[function]} {made[function]}"
        assert set() < set(handles) <= alive.keys(), log
        calls.append([function, *[alive.get(each, each) for each in arguments]])
        if function.startswith("Release"):
            del alive[handles[0]]
    assert (len(alive), bool(calls)) == (0, True), log
    return calls


def called(told: SimpleNamespace, *functions: str) -> list[list[str]]:
    """Return the arguments of the calls of these functions."""
    return [arguments for function, *arguments in told.calls if function in functions]


def fallback(name: str, source: object, reason: str) -> list[str]:
    return ["ProviderFallbackWarning", f"{name} cannot be used, so {source} runs without it: {reason}"]


# --- providers that are appended, and break the session

REASON = 'the driver is "too old"'
BREAKS = {"session_with_providers": f"6 {REASON}"}


def test_providers_that_break_the_session_are_left_out_of_a_second_attempt_with_the_reason(way):
    fail = BREAKS | {"XNNPACK": "1 not here"}
    told = way.open(providers=["qnn", "xnnpack", "webgpu", "cpu"], fail=fail)
    reasons = [(XNNPACK, "not here"), (QNN, REASON), ("WebGpuExecutionProvider", REASON)]
    assert told.warnings == [fallback(name, way.source, reason) for name, reason in reasons]
    assert (told.error, told.providers) == (None, [CPU])
    assert told.calls == [
        ["CreateSessionOptions", "options 1"],
        *([BY_NAME, "options 1", name] for name in ("QNN", "XNNPACK", "WebGPU")),
        [way.native, "options 1", way.given],
        ["ReleaseSessionOptions", "options 1"],
        ["CreateSessionOptions", "options 2"],
        [way.native, "options 2", way.given],
        ["ReleaseSessionOptions", "options 2"],
    ]


def test_a_file_that_a_provider_misses_is_not_taken_for_the_model(way):
    told = way.open(providers="qnn", fail={"session_with_providers": "3 no engine cache"})
    assert told.warnings == [fallback(QNN, way.source, "no engine cache")]
    assert (told.error, told.providers) == (None, [CPU])


def test_without_fallback_there_is_one_attempt_and_its_reason_is_raised(way):
    told = way.open(providers=["qnn", "xnnpack"], fallback_to_cpu=False, fail=BREAKS)
    what = f"{way.name}: a session with {QNN}, {XNNPACK} cannot be made"
    assert (told.error, told.cause) == (["EpFail", f"{what}: {REASON}"], f"RuntimeException({REASON!r})")
    assert (called(told, *WAYS.values()), told.warnings) == ([["options 1", way.given]], [])


@pytest.mark.parametrize(
    ("fail", "error", "attempts"),
    [
        (BREAKS | {"session_alone": "9 no kernel"}, ["NotSupported", "no kernel"], 2),
        ({"XNNPACK": "1 not here", "session_alone": "9 no kernel"}, ["NotSupported", "no kernel"], 1),
        ({"session_with_providers": "7 cut"}, ["InvalidProtobuf", "{} is no ONNX model, or a damaged one (cut)"], 1),
    ],
)
def test_the_error_of_the_last_attempt_is_raised_and_none_is_made_in_vain(way, fail, error, attempts):
    told = way.open(providers="xnnpack", fail=fail)
    assert (told.error, told.warnings) == ([text.format(way.source) for text in error], [])
    assert called(told, *WAYS.values()) == [[f"options {i + 1}", way.given] for i in range(attempts)]


# --- providers that work


def test_providers_are_appended_in_the_order_given_and_none_behind_the_cpu(way):
    given = ["xnnpack", "cuda", "dml", "coreml", "tensorrt", "qnn", "cpu", "webgpu", "migraphx"]
    told = way.open(providers=given, fail={"DML": "1 not here"})
    assert told.providers == [XNNPACK, CUDA, COREML, "TensorrtExecutionProvider", QNN, CPU]
    assert told.warnings == [fallback("DmlExecutionProvider", way.source, "not here")]
    assert [call for call in told.calls if BY_NAME in call[0]] == [
        [BY_NAME, "options 1", "XNNPACK"],
        [f"{BY_NAME}_CUDA_V2", "options 1", "CUDA 1"],
        [BY_NAME, "options 1", "DML"],
        [BY_NAME, "options 1", "CoreML"],
        [f"{BY_NAME}_TensorRT_V2", "options 1", "TensorRT 1"],
        [BY_NAME, "options 1", "QNN"],
    ]
    assert called(told, *WAYS.values()) == [["options 1", way.given]]


# Values of all types, and keys and values as they arrive. The order is that of the user.
GIVEN = {"z": "text", "a": True, "m": False, "n": -3, "f": 0.5, "path": PurePosixPath("a/b"), "ü\\": 'größe "1"\n'}
ARRIVING = ["z", "text", "a", "1", "m", "0", "n", "-3", "f", "0.5", "path", "a/b", "ü\\", 'größe "1"\n']
NAMES = ["XNNPACK", "OpenVINO", "QNN", "WebGPU", "DML", "MIGraphX", "NvTensorRtRtx", "VitisAI"]


def test_a_provider_gets_its_name_and_its_own_options(outcomes):
    numbers = {f"key{i}": i for i in range(100)}
    given = [[name.lower(), (name, GIVEN), [(name, numbers), "cpu"], [("azure", GIVEN), name]] for name in NAMES]
    told = outcomes([{"providers": each, "fallback_to_cpu": False} for each in itertools.chain(*given)])
    texts = list(itertools.chain(*((key, str(i)) for key, i in numbers.items())))
    expected = [[[name], [name, *ARRIVING], [name, *texts], ["AZURE", *ARRIVING], [name]] for name in NAMES]
    assert [each.providers[-2].lower() for each in told[::4]] == [f"{name}ExecutionProvider".lower() for name in NAMES]
    assert [each[1:] for session in told for each in called(session, BY_NAME)] == list(itertools.chain(*expected))


# --- CUDA and TensorRT

# Where it fails, and what happens then: without falling back, and with it.
WORKS = "begin create update append release open end"
COURSES = {
    "nothing": [WORKS, WORKS],
    "create": ["begin end", "begin open end"],
    "update": ["begin create update release end", "begin create update release open end"],
    "append": ["begin create update append release end", WORKS],
    "open": [WORKS, f"{WORKS} begin2 open2 end2"],
}


@pytest.mark.parametrize("fails", COURSES)
@pytest.mark.parametrize(("name", "word"), [("CUDA", "CUDA"), ("TensorRT", "Tensorrt")])
def test_an_options_object_is_filled_appended_and_released(outcomes, model_path, name, word, fails):
    full_name = f"{word}ExecutionProvider"
    calls = {
        "begin": ["CreateSessionOptions", "options 1"],
        "create": [f"Create{name}ProviderOptions", f"{name} 1"],
        "update": [f"Update{name}ProviderOptions", f"{name} 1", *ARRIVING],
        "append": [f"{BY_NAME}_{name}_V2", "options 1", f"{name} 1"],
        "release": [f"Release{name}ProviderOptions", f"{name} 1"],
        "open": ["CreateSession", "options 1", str(model_path)],
        "end": ["ReleaseSessionOptions", "options 1"],
    }
    calls |= {f"{each}2": [calls[each][0], "options 2", *calls[each][2:]] for each in ("begin", "open", "end")}
    step = {"nothing": "nothing", "open": "session_with_providers"}.get(fails) or calls[fails][0]
    case = {"providers": (word, GIVEN), "fail": {step: f"6 {REASON}"}}
    strict, lax = outcomes([case | {"fallback_to_cpu": False}, case])
    assert [strict.calls, lax.calls] == [[calls[each] for each in course.split()] for course in COURSES[fails]]

    if fails == "nothing":
        assert [(each.providers, each.warnings) for each in (strict, lax)] == [([full_name, CPU], [])] * 2
    else:
        what = f"a session with {full_name} cannot be made" if fails == "open" else f"{full_name} cannot be used"
        assert (strict.error, strict.warnings) == (["EpFail", f"ortx.session: {what}: {REASON}"], [])
        assert (lax.providers, lax.warnings) == ([CPU], [fallback(full_name, repr(str(model_path)), REASON)])


# --- CoreML

# What ONNX Runtime documents: fields, the value of MLComputeUnits, the bit of the old flags.
UNITS = [
    ({}, None, 0x000),
    ({"coreml_compute_units": "all"}, "ALL", 0x000),
    ({"coreml_compute_units": "cpu_only"}, "CPUOnly", 0x001),
    ({"coreml_compute_units": "CPUAndGPU"}, "CPUAndGPU", 0x020),
    ({"coreml_compute_units": "cpu_and_neural_engine"}, "CPUAndNeuralEngine", 0x004),
    ({"coreml_use_cpu_only": True}, "CPUOnly", 0x001),
    ({"coreml_use_cpu_and_gpu": True, "coreml_use_cpu_only": False}, "CPUAndGPU", 0x020),
    ({"coreml_only_enable_device_with_ane": True}, "CPUAndNeuralEngine", 0x004),
    ({"coreml_only_enable_device_with_ane": True, "coreml_compute_units": "all"}, "ALL", 0x000),
    ({"coreml_only_enable_device_with_ane": False, "coreml_use_cpu_only": False}, None, 0x000),
    ({"coreml_flags": 0x001}, "CPUOnly", 0x001),
    ({"coreml_flags": 0x004}, "CPUAndNeuralEngine", 0x004),
    ({"coreml_flags": 0x020, "coreml_compute_units": "cpu_and_gpu"}, "CPUAndGPU", 0x020),
    ({"providers": ("coreml", {"MLComputeUnits": "CPUOnly"})}, "CPUOnly", 0x001),
    ({"providers": ("coreml", {"MLComputeUnits": "ALL"}), "coreml_use_cpu_only": False}, "ALL", 0x000),
]
SWITCHES = [
    ("coreml_create_mlprogram", "ModelFormat", ("NeuralNetwork", "MLProgram"), 0x010),
    ("coreml_require_static_input_shapes", "RequireStaticInputShapes", ("0", "1"), 0x008),
    ("coreml_enable_on_subgraph", "EnableOnSubgraphs", ("0", "1"), 0x002),
]
WITH_ENGINE, WITHOUT_ENGINE = ("darwin", "arm64"), [("darwin", "x86_64"), ("linux", "arm64")]
OLD = "1.20.1"


def coreml_cases() -> list[tuple[dict, set, int]]:
    """Return fields, the keys and values that CoreML must get for them, and the flags."""
    cases = []
    for (fields, units, flags), *choices in itertools.product(UNITS, *[(None, False, True, "bit")] * 3):
        given, pairs = dict(fields), {("MLComputeUnits", units)} if units else set()
        for (field, key, values, bit), choice in zip(SWITCHES, choices, strict=True):
            if choice is not None:
                given |= {"coreml_flags": given.get("coreml_flags", 0) | bit} if choice == "bit" else {field: choice}
                pairs.add((key, values[bool(choice)]))
                flags |= bit * bool(choice)
        cases.append((given, pairs, flags))
    return cases


@pytest.mark.parametrize("version", [OLD, "1.21.0"])
def test_coreml_gets_exactly_what_its_fields_say_as_flags_or_as_options(outcomes, version):
    cases = coreml_cases()
    told = outcomes([{"providers": "coreml", "device": WITH_ENGINE} | fields for fields, *_ in cases], version)
    for (fields, pairs, flags), each in zip(cases, told, strict=True):
        assert (each.providers, each.warnings) == ([COREML, CPU], []), fields
        ((_, told_first, *texts),) = called(each, BY_NAME, BY_FLAGS)
        assert told_first == (f"0x{flags:03x}" if version == OLD else "CoreML"), fields
        assert sorted(zip(texts[::2], texts[1::2], strict=True)) == ([] if version == OLD else sorted(pairs)), fields


def test_coreml_s_other_options_have_no_flag(outcomes):
    given = {"ModelCacheDirectory": PurePosixPath("a b"), "ProfileComputePlan": True, "ModelFormat": "MLProgram"}
    case = {"providers": ("coreml", given), "coreml_use_cpu_only": True}
    (told,), (old,) = outcomes([case]), outcomes([case], OLD)
    texts = ["ModelCacheDirectory", "a b", "ProfileComputePlan", "1", "ModelFormat", "MLProgram"]
    assert called(told, BY_NAME, BY_FLAGS) == [["options 1", "CoreML", *texts, "MLComputeUnits", "CPUOnly"]]
    assert (called(old, BY_NAME, BY_FLAGS), old.providers) == ([], [CPU])
    assert "option 'ModelCacheDirectory' needs ONNX Runtime 1.21" in old.warnings[0][1]


@pytest.mark.parametrize("version", [OLD, None])
@pytest.mark.parametrize("fields", [{"coreml_only_enable_device_with_ane": True}, {"coreml_flags": 0x014}], ids=str)
def test_coreml_for_a_neural_engine_alone_is_not_appended_without_one(outcomes, model_path, fields, version):
    lax = [{"providers": "coreml", "device": device} | fields for device in (WITH_ENGINE, *WITHOUT_ENGINE)]
    told = outcomes([*lax, *(each | {"fallback_to_cpu": False} for each in lax)], version)
    reason = "coreml_only_enable_device_with_ane: this device has no Apple Neural Engine"
    assert [each.providers for each in told] == [[COREML, CPU], [CPU], [CPU], [COREML, CPU], None, None]
    assert [len(called(each, BY_NAME, BY_FLAGS)) for each in told] == [1, 0, 0, 1, 0, 0]
    assert [len(called(each, "CreateSession")) for each in told] == [1, 1, 1, 1, 0, 0]
    warned = [fallback(COREML, repr(str(model_path)), reason)]
    assert [each.warnings for each in told] == [[], warned, warned, [], [], []]
    assert [each.error for each in told[4:]] == [["EpFail", f"ortx.session: {COREML} cannot be used: {reason}"]] * 2


@pytest.mark.parametrize("step", ["CoreML", "session_with_providers"])
def test_flags_that_are_refused_or_break_the_session_are_fallen_back_from(way, step):
    told = way.open(OLD, providers="coreml", coreml_use_cpu_only=True, fail={step: f"1 {REASON}"})
    assert told.warnings == [fallback(COREML, way.source, REASON)]
    assert (told.providers, called(told, BY_FLAGS)) == ([CPU], [["options 1", "0x001"]])
    assert len(called(told, way.native)) == (2 if step == "session_with_providers" else 1)


@pytest.mark.parametrize(
    "fields",
    [
        {"providers": "coreml", "coreml_compute_units": "cpu_and_neural_engine"},
        {"providers": ("coreml", {"MLComputeUnits": "CPUAndNeuralEngine"})},
    ],
    ids=str,
)
def test_the_bit_for_a_neural_engine_does_not_reach_onnx_runtime_1_20_without_one(outcomes, fields):
    with_engine, *without_engine = outcomes([fields | {"device": d} for d in (WITH_ENGINE, *WITHOUT_ENGINE)], OLD)
    assert called(with_engine, BY_FLAGS) == [["options 1", "0x004"]]
    for told in without_engine:
        assert (called(told, BY_FLAGS), told.providers) == ([], [CPU])
        assert "this device has no Apple Neural Engine" in told.warnings[0][1]
