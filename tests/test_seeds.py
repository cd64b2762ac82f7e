"""Everything on the two pages that ortx was made from works: one entry per item, each with a proof of its behaviour.

The pages are the sessions' page of a binding for Lua, and that of the C API. `LISTED`, below, has every item of theirs
under its own name. The proofs stand in the folder `seeds`, each below a decorator that enters it into the table.
"""

from __future__ import annotations

import importlib
import inspect
import os
import re
from collections.abc import Callable

import models
import pytest

pytest.register_assert_rewrite("seeds")
PROOFS = ["configuration", "session_options", "coreml_fields", "inspection", "running", "binding"]
PROOFS += ["c_sessions", "c_running"]
for proofs in PROOFS:
    importlib.import_module(f"seeds.{proofs}")
TABLE = importlib.import_module("seeds.shared").TABLE

LISTED = """
session module / Runtime configuration
    configure(opts); log_severity_level; log_id; use_global_thread_pools; global_intra_op_num_threads
    global_inter_op_num_threads; before any session; again with an active session
session module / Create a session
    session(model_path); session(model_path, opts); session_from_bytes(model_bytes)
    session_from_bytes(model_bytes, opts); session, err
session module / General fields
    providers; provider; providers: a string; providers: an array of strings; "cpu"; "coreml"; CPUExecutionProvider
    CoreMLExecutionProvider; fallback_to_cpu; fallback_to_cpu: default true; intra_op_num_threads; inter_op_num_threads
    log_id; session_log_severity_level; session_log_verbosity_level; optimized_model_path; profile_file_prefix
    free_dimension_overrides; config_entries; graph_optimization_level; graph_optimization_level = "disable"
    graph_optimization_level = "basic"; graph_optimization_level = "extended"; graph_optimization_level = "all"
    execution_mode; execution_mode = "sequential"; execution_mode = "parallel"; deterministic_compute
    disable_per_session_threads; enable_cpu_mem_arena; enable_mem_pattern; custom_op_libraries
session module / Session options: additional notes
    free_dimension_overrides: an array table; free_dimension_overrides: by = "name"
    free_dimension_overrides: by = "denotation"; free_dimension_overrides: key
    free_dimension_overrides: value = integer; config_entries: string to string; custom_op_libraries: a path
    custom_op_libraries: an array of paths; custom_op_libraries: a handle; custom_op_libraries: an array of handles
    custom_op_libraries: paths and handles mixed; load_custom_op_library(path); providers omitted; providers empty
    "coreml" with fallback_to_cpu = true; providers = {"coreml", "cpu"}
session module / CoreML provider fields
    coreml_compute_units; coreml_compute_units = "all"; coreml_compute_units = "cpu_only"
    coreml_compute_units = "cpu_and_gpu"; coreml_compute_units = "cpu_and_neural_engine"; CPUOnly; CPUAndGPU
    CPUAndNeuralEngine; MLComputeUnits...; coreml_create_mlprogram; coreml_require_static_input_shapes
    coreml_enable_on_subgraph; coreml_flags; coreml_use_cpu_only; coreml_use_cpu_and_gpu
    coreml_only_enable_device_with_ane
session module / CoreML: additional notes
    legacy compatibility fields; new and legacy fields mixed; conflicting meanings
    coreml_only_enable_device_with_ane with "cpu_only"; coreml_only_enable_device_with_ane with "cpu_and_gpu"
session module / Basic inspection
    session:input_names(); session:output_names(); session:overridable_initializer_names(); session:input_count()
    session:output_count(); session:overridable_initializer_count()
session module / Type information
    session:input_info(name); session:input_info(index); session:output_info(name); session:output_info(index)
    session:overridable_initializer_info(name); session:overridable_initializer_info(index); name; onnx_type; is_sparse
    data_type; type; has_shape; shape; symbolic_shape; element; key_type; value; tensor and sparse tensor entries
    sequence and optional entries; map entries
session module / Memory information
    session:memory_info_for_inputs(); session:memory_info_for_outputs(); access in numeric order; access by name; name
    id; mem_type; allocator_type; device_type; device_mem_type; vendor_id
session module / Metadata and lifecycle
    session:metadata(); session:close(); session:end_profiling(); session:profiling_start_time_ns()
    session:set_ep_dynamic_options(opts); session:register_custom_op_library(path_or_handle)
    end_profiling() returns the path; set_ep_dynamic_options() stringifies
    register_custom_op_library() rebuilds the session; path_or_handle: a path or a handle
session module / Run inference
    session:run(inputs); session:run(inputs, output_names); session:run(inputs, output_names, run_options)
    session:run_into(inputs, outputs); session:run_into(inputs, outputs, run_options)
    session:run_with_iobinding(binding); session:run_with_iobinding(binding, run_options); outputs, err
session module / Input rules
    a positional array or a dictionary; positional arrays follow model input order
    positional arrays continue with overridable initializers; dictionary keys: inputs or overridable initializers
    optional inputs omitted; optional(nil, type_info)
session module / Output rules
    the return value is a table; access by numeric index; access by output name; run_into() returns the same object
session module / Run options
    run_options(); run_options(opts); tag; log_severity_level; log_verbosity_level; run_options:tag([value])
    run_options:log_severity_level([value]); run_options:log_verbosity_level([value]); run_options:terminate()
    run_options:reset_terminate()
session module / IOBinding
    session:create_io_binding(); binding:bind_input(name, value); bind_input: empty optionals are not accepted
    binding:bind_output("y"); binding:bind_output("y", existing_tensor); binding:bind_output("y", {type, shape})
    binding:bind_output("y", {mode = "device"}); binding:clear_inputs(); binding:clear_outputs()
    binding:synchronize_inputs(); binding:synchronize_outputs(); binding:get_outputs()
session module / Example
    tensor(type, shape, values); tensor:to_table(); the example
C API / Creating Sessions
    CreateSession; CreateSession: env; CreateSession: model_path; CreateSession: options
    CreateSession: NULL on success, error status otherwise; CreateSessionFromArray
    CreateSessionFromArray: model_data, model_data_length; CreateSessionWithPrepackedWeightsContainer
    CreateSessionWithPrepackedWeightsContainer: prepacked_weights_container; ReleaseSession
    ReleaseSession: session can be NULL; ReleaseSession: the session owns a thread pool
C API / Querying Session Information
    SessionGetInputCount; SessionGetOutputCount; SessionGetInputName
    SessionGetInputName: index from 0 to num_inputs - 1; SessionGetInputName: UTF-8
    SessionGetInputName: freed with the allocator; SessionGetOutputName
    SessionGetOutputName: index from 0 to num_outputs - 1; SessionGetOutputName: UTF-8
    SessionGetOutputName: freed with the allocator; SessionGetInputTypeInfo
    SessionGetInputTypeInfo: freed with ReleaseTypeInfo; SessionGetOutputTypeInfo
    SessionGetOverridableInitializerCount
C API / Running Inference
    Run; Run: session; Run: run_options can be NULL; Run: input_names, inputs, input_len
    Run: output_names, output_names_len; Run: outputs pre-allocated or NULL
    Run: NULL on success, error status otherwise; RunAsync; RunAsync: callback; RunAsync: run_options
    RunAsync: everything stays valid until the callback
C API / Run Options
    CreateRunOptions; RunOptionsSetRunLogVerbosityLevel; RunOptionsSetRunLogSeverityLevel; RunOptionsSetRunTag
    RunOptionsSetTerminate; RunOptionsUnsetTerminate; AddRunConfigEntry; onnxruntime_run_options_config_keys.h
    ReleaseRunOptions
C API / IO Binding
    CreateIoBinding; BindInput: name; BindInput: val_ptr; BindOutput; BindOutputToDevice: name
    BindOutputToDevice: mem_info_ptr; RunWithBinding; ClearBoundInputs; ClearBoundOutputs; ReleaseIoBinding
C API / Model Metadata
    SessionGetModelMetadata; ModelMetadataGetProducerName; ModelMetadataGetGraphName; ModelMetadataGetVersion
    ModelMetadataLookupCustomMetadataMap; ModelMetadataLookupCustomMetadataMap: NULL if key not found
    ModelMetadataLookupCustomMetadataMap: freed with the allocator; ReleaseModelMetadata
C API / Profiling
    SessionEndProfiling; SessionEndProfiling: out; EnableProfiling
"""


def listed() -> list[tuple[str, str, str]]:
    """Return page, section and name of every item in the list above."""
    items = []
    for section_of_page in re.split(r"\n(?=\S)", LISTED.strip()):
        heading, *lines = section_of_page.splitlines()
        page, section = heading.split(" / ")
        items += [(page, section, name) for line in lines for name in line.strip().split("; ")]
    return items


def test_every_item_of_the_pages_is_in_the_table_once_and_the_table_has_no_other():
    entered = [(item.page, item.section, item.name) for item in TABLE]
    assert sorted(entered) == sorted(listed())
    assert len(set(entered)) == len(entered) > 150


@pytest.mark.parametrize("item", TABLE, ids=lambda item: f"{item.page} - {item.section} - {item.name}")
def test_an_item_of_the_pages_works(item, request):
    fixtures = [name for name, parameter in inspect.signature(item.proof).parameters.items() if needs_value(parameter)]
    item.proof(**{name: request.getfixturevalue(name) for name in fixtures})


def needs_value(parameter: inspect.Parameter) -> bool:
    return parameter.default is parameter.empty and parameter.kind is parameter.POSITIONAL_OR_KEYWORD


# --- fixtures of the proofs

IN_NEW_PROCESS = """
import logging, os, sys, time
import numpy as np
import ortx
square, failing = map(bytes.fromhex, sys.argv[1:])
records = []
handler = logging.Handler()
handler.emit = records.append
logging.getLogger("ortx").addHandler(handler)
logging.getLogger("ortx").setLevel(logging.DEBUG)

def fail():
    with ortx.session_from_bytes(failing) as session:
        try:
            session.run([np.ones(4, np.float32)])
        except ortx.Error:
            return

def threads():
    count = None
    while count != (count := len(os.listdir("/proc/self/task"))):
        time.sleep(0.02)
    return count

def added_by_shared_session(**given):
    "Count the threads that come with the environment and a session on its pools."
    ortx.load_library()
    before = threads()
    with ortx.session_from_bytes(square, given, disable_per_session_threads=True):
        return threads() - before
"""


@pytest.fixture
def new_process(run_python) -> Callable[[str], str]:
    """Run code behind the lines above in a process of its own; return what it prints."""

    def new_process(code: str) -> str:
        done = run_python(IN_NEW_PROCESS + code, models.square().hex(), models.failing().hex())
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout.rstrip("\n")

    return new_process


# A library with one operator: test.NAME, which multiplies a matrix by FACTOR. It counts how often it is registered.
CUSTOM_OPS = r"""
#include "ortx_capi.h"
#define CALL(SLOT) ((OrtStatus * (*)()) api->SLOT)

int registrations = 0;
static const OrtApi* api;

static void* create(const void* op) { return (void*)op; }
static void destroy(void* kernel) {}
static const char* name(const void* op) { return "NAME"; }
static const char* provider(const void* op) { return NULL; }
static int type(const void* op, size_t index) { return ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT; }
static int required(const void* op, size_t index) { return 0; }
static size_t count(const void* op) { return 1; }

static void compute(void* kernel, void* context) {
  OrtValue *x, *y;
  OrtTensorTypeAndShapeInfo* info;
  int64_t shape[2];
  float *from, *to;
  CALL(KernelContext_GetInput)(context, (size_t)0, &x);
  api->GetTensorTypeAndShape(x, &info);
  api->GetDimensions(info, shape, 2);
  api->ReleaseTensorTypeAndShapeInfo(info);
  CALL(KernelContext_GetOutput)(context, (size_t)0, shape, (size_t)2, &y);
  api->GetTensorMutableData(x, (void**)&from);
  api->GetTensorMutableData(y, (void**)&to);
  for (int64_t i = 0; i < shape[0] * shape[1]; i++) to[i] = FACTOR * from[i];
}

/* struct OrtCustomOp of version 8 */
static struct { uint32_t version; void* functions[25]; } op = {
  8, {create, name, provider, type, count, type, count, compute, destroy, required, required}
};

OrtStatus* RegisterCustomOps(OrtSessionOptions* options, const OrtApiBase* base) {
  static void* domain;
  registrations++;
  api = base->GetApi(ORTX_OLDEST_API_VERSION);
  if (domain == NULL) {
    CALL(CreateCustomOpDomain)("test.NAME", &domain);
    CALL(CustomOpDomain_Add)(domain, &op);
  }
  return CALL(AddCustomOpDomain)(options, domain);
}
"""


@pytest.fixture
def twice(compile_shared) -> str:
    return os.fspath(compile_shared(CUSTOM_OPS.replace("NAME", "Twice").replace("FACTOR", "2"), "twice"))


@pytest.fixture
def thrice(compile_shared) -> str:
    return os.fspath(compile_shared(CUSTOM_OPS.replace("NAME", "Thrice").replace("FACTOR", "3"), "thrice"))
