/* The floor: what a call costs in C, with nothing around it. A binding cannot be faster; how much slower is its quality.
 *
 * `floor.py` compiles this file into a shared library and loads it into the process that measures the Python rows too,
 * so that all rows share one machine, one moment and one ONNX Runtime environment. A row is one entry of `rows`; to add
 * one, write a function that makes one call, put it there, and name it in `suite.py`.
 *
 * SPDX-License-Identifier: MIT
 */
#if !defined(_GNU_SOURCE)
#define _GNU_SOURCE /* clock_gettime and dlfcn.h, whatever the compiler's default standard is */
#endif

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ortx_capi.h"

enum { MOST_TENSORS = 8, MOST_DIMENSIONS = 8 };

/* Slots that ortx_capi.h leaves untyped because ortx does not call them (yet): the type is given at the call. */
typedef struct OrtIoBinding OrtIoBinding;
typedef OrtStatus*(ORTX_CALL * CreateEnvFunction)(OrtLoggingLevel severity, const char* log_id, OrtEnv** out);
typedef void(ORTX_CALL * ReleaseMemoryInfoFunction)(OrtMemoryInfo* info);
typedef OrtStatus*(ORTX_CALL * RunWithBindingFunction)(OrtSession* session, const OrtRunOptions* run_options,
                                                       const OrtIoBinding* binding);
typedef OrtStatus*(ORTX_CALL * CreateIoBindingFunction)(OrtSession* session, OrtIoBinding** out);
typedef void(ORTX_CALL * ReleaseIoBindingFunction)(OrtIoBinding* binding);
typedef OrtStatus*(ORTX_CALL * BindFunction)(OrtIoBinding* binding, const char* name, const OrtValue* value);

/* The same as `floor.Tensor` in Python, which owns all that this points to and outlives the Floor. */
typedef struct {
  const char* name;
  void* data;
  size_t size; /* in bytes */
  const int64_t* shape;
  size_t rank;
  int32_t type;
} Tensor;

typedef struct Floor {
  const OrtApi* api;
  uint32_t api_version;
  OrtEnv* env; /* never released: it is the one that ortx and its sessions use as well */
  OrtSession* session;
  OrtRunOptions* run_options; /* made once: without one, ONNX Runtime makes one in every call */
  OrtMemoryInfo* memory;
  OrtIoBinding* binding;
  RunWithBindingFunction run_with_binding;
  size_t inputs, outputs;
  Tensor input[MOST_TENSORS], output[MOST_TENSORS];
  const char *input_names[MOST_TENSORS], *output_names[MOST_TENSORS];
  OrtValue *input_values[MOST_TENSORS], *output_values[MOST_TENSORS]; /* made once, over the buffers above */
  /* Where the rows put what they have read, so that the compiler cannot leave the reading out. */
  void* data;
  ONNXTensorElementDataType type;
  int64_t shape[MOST_DIMENSIONS];
  char message[1024];
} Floor;

/* --- parts of a call --- */

static OrtStatus* make_values(Floor* floor, const Tensor* tensors, size_t count, OrtValue** values) {
  for (size_t i = 0; i < count; i++) {
    const Tensor* tensor = &tensors[i];
    OrtStatus* status = floor->api->CreateTensorWithDataAsOrtValue(
        floor->memory, tensor->data, tensor->size, tensor->shape, tensor->rank, (ONNXTensorElementDataType)tensor->type,
        &values[i]);
    if (status != NULL) return status;
  }
  return NULL;
}

static void release_values(Floor* floor, OrtValue** values, size_t count) {
  for (size_t i = 0; i < count; i++)
    if (values[i] != NULL) floor->api->ReleaseValue(values[i]);
}

static OrtStatus* run(Floor* floor, OrtValue* const* inputs, OrtValue** outputs) {
  return floor->api->Run(floor->session, floor->run_options, floor->input_names, (const OrtValue* const*)inputs,
                         floor->inputs, floor->output_names, floor->outputs, outputs);
}

/* Before 1.24 there is no other way to a value's type and shape than an object that has to be released again. */
static OrtStatus* read_type_and_shape_before_24(Floor* floor, OrtValue* value) {
  const OrtApi* api = floor->api;
  OrtTensorTypeAndShapeInfo* info = NULL;
  size_t rank = 0;
  OrtStatus* status = api->GetTensorTypeAndShape(value, &info);
  if (status == NULL) status = api->GetTensorElementType(info, &floor->type);
  if (status == NULL) status = api->GetDimensionsCount(info, &rank);
  if (status == NULL) status = api->GetDimensions(info, floor->shape, rank < MOST_DIMENSIONS ? rank : MOST_DIMENSIONS);
  if (info != NULL) api->ReleaseTensorTypeAndShapeInfo(info);
  return status;
}

static OrtStatus* read_value(Floor* floor, OrtValue* value) {
  const OrtApi* api = floor->api;
  OrtStatus* status = NULL;
  if (floor->api_version >= 24) {
    const int64_t* shape = NULL;
    size_t rank = 0;
    status = api->GetTensorElementTypeAndShapeDataReference(value, &floor->type, &shape, &rank);
    if (status == NULL)
      for (size_t i = 0; i < rank && i < MOST_DIMENSIONS; i++) floor->shape[i] = shape[i];
  } else {
    status = read_type_and_shape_before_24(floor, value);
  }
  return status == NULL ? api->GetTensorMutableData(value, &floor->data) : status;
}

/* --- the rows: one call each --- */

/* Values made once, outputs in the caller's buffers. */
static OrtStatus* prepared(Floor* floor) { return run(floor, floor->input_values, floor->output_values); }

/* Inputs made once; ONNX Runtime allocates the outputs. */
static OrtStatus* allocated(Floor* floor) {
  OrtValue* outputs[MOST_TENSORS] = {NULL};
  OrtStatus* status = run(floor, floor->input_values, outputs);
  release_values(floor, outputs, floor->outputs);
  return status;
}

/* All that `session.run` has to do: inputs over the caller's memory, and what it takes to look at the outputs. */
static OrtStatus* fresh_allocated(Floor* floor) {
  OrtValue *inputs[MOST_TENSORS] = {NULL}, *outputs[MOST_TENSORS] = {NULL};
  OrtStatus* status = make_values(floor, floor->input, floor->inputs, inputs);
  if (status == NULL) status = run(floor, inputs, outputs);
  for (size_t i = 0; status == NULL && i < floor->outputs; i++) status = read_value(floor, outputs[i]);
  release_values(floor, outputs, floor->outputs);
  release_values(floor, inputs, floor->inputs);
  return status;
}

/* All that `session.run_into` has to do: inputs and outputs over the caller's memory. */
static OrtStatus* fresh_into(Floor* floor) {
  OrtValue *inputs[MOST_TENSORS] = {NULL}, *outputs[MOST_TENSORS] = {NULL};
  OrtStatus* status = make_values(floor, floor->input, floor->inputs, inputs);
  if (status == NULL) status = make_values(floor, floor->output, floor->outputs, outputs);
  if (status == NULL) status = run(floor, inputs, outputs);
  release_values(floor, outputs, floor->outputs);
  release_values(floor, inputs, floor->inputs);
  return status;
}

/* Inputs and outputs bound once. */
static OrtStatus* bound(Floor* floor) {
  return floor->run_with_binding(floor->session, floor->run_options, floor->binding);
}

typedef OrtStatus* (*Row)(Floor*);

static const struct {
  const char* name;
  Row row;
} rows[] = {
    {"prepared", prepared},     {"allocated", allocated}, {"fresh_allocated", fresh_allocated},
    {"fresh_into", fresh_into}, {"bound", bound},
};

static Row find_row(Floor* floor, const char* name) {
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
    if (strcmp(rows[i].name, name) == 0) return rows[i].row;
  snprintf(floor->message, sizeof floor->message, "floor.c has no row '%s'", name);
  return NULL;
}

/* --- what Python calls; -1 means that floor_message tells what went wrong --- */

static int64_t now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

/* Take over a status; return 0 if it stands for success, else -1. */
static int succeeded(Floor* floor, const char* step, OrtStatus* status) {
  if (status == NULL) return 0;
  snprintf(floor->message, sizeof floor->message, "%s: %s", step, floor->api->GetErrorMessage(status));
  floor->api->ReleaseStatus(status);
  return -1;
}

const char* floor_message(const Floor* floor) { return floor->message; }

/* Make `calls` calls and return how many nanoseconds they took together. */
int64_t floor_batch(Floor* floor, const char* name, int64_t calls) {
  const Row row = find_row(floor, name);
  if (row == NULL) return -1;
  OrtStatus* status = NULL;
  const int64_t start = now();
  for (int64_t i = 0; i < calls && status == NULL; i++) status = row(floor);
  const int64_t elapsed = now() - start;
  return succeeded(floor, name, status) == 0 ? elapsed : -1;
}

/* Make `calls` calls and fill `stamps`, which has room for calls + 1, with the time before each and after the last. */
int64_t floor_stamps(Floor* floor, const char* name, int64_t calls, int64_t* stamps) {
  const Row row = find_row(floor, name);
  if (row == NULL) return -1;
  OrtStatus* status = NULL;
  stamps[0] = now();
  for (int64_t i = 0; i < calls && status == NULL; i++) {
    status = row(floor);
    stamps[i + 1] = now();
  }
  return succeeded(floor, name, status);
}

void floor_close(Floor* floor) {
  const OrtApi* api = floor->api;
  if (api != NULL) {
    release_values(floor, floor->input_values, floor->inputs);
    release_values(floor, floor->output_values, floor->outputs);
    if (floor->binding != NULL) ((ReleaseIoBindingFunction)api->ReleaseIoBinding)(floor->binding);
    if (floor->session != NULL) api->ReleaseSession(floor->session);
    if (floor->run_options != NULL) api->ReleaseRunOptions(floor->run_options);
    if (floor->memory != NULL) ((ReleaseMemoryInfoFunction)api->ReleaseMemoryInfo)(floor->memory);
  }
  free(floor);
}

static int open_library(Floor* floor, const char* path) {
  void* library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (library == NULL) {
    snprintf(floor->message, sizeof floor->message, "dlopen: %s", dlerror());
    return -1;
  }
  OrtGetApiBaseFunction get_api_base = NULL;
  *(void**)&get_api_base = dlsym(library, "OrtGetApiBase"); /* ISO C has no cast from an object to a function pointer */
  floor->api = get_api_base == NULL ? NULL : get_api_base()->GetApi(floor->api_version);
  if (floor->api == NULL) {
    snprintf(floor->message, sizeof floor->message, "%s has no OrtApi of version %u", path,
             (unsigned)floor->api_version);
    return -1;
  }
  return 0;
}

static int open_session(Floor* floor, const char* model_path, int threads) {
  const OrtApi* api = floor->api;
  OrtSessionOptions* options = NULL;
  OrtStatus* status =
      ((CreateEnvFunction)api->CreateEnv)(ORT_LOGGING_LEVEL_WARNING, "floor", &floor->env);
  if (status == NULL) status = api->CreateRunOptions(&floor->run_options);
  if (status == NULL) status = api->CreateCpuMemoryInfo(OrtArenaAllocator, OrtMemTypeDefault, &floor->memory);
  if (status == NULL) status = api->CreateSessionOptions(&options);
  if (status == NULL) status = api->SetIntraOpNumThreads(options, threads);
  if (status == NULL) status = api->CreateSession(floor->env, model_path, options, &floor->session);
  if (options != NULL) api->ReleaseSessionOptions(options);
  return succeeded(floor, "opening the session", status);
}

static int prepare(Floor* floor) {
  const OrtApi* api = floor->api;
  const BindFunction bind_input = (BindFunction)api->BindInput, bind_output = (BindFunction)api->BindOutput;
  floor->run_with_binding = (RunWithBindingFunction)api->RunWithBinding;
  for (size_t i = 0; i < floor->inputs; i++) floor->input_names[i] = floor->input[i].name;
  for (size_t i = 0; i < floor->outputs; i++) floor->output_names[i] = floor->output[i].name;
  OrtStatus* status = make_values(floor, floor->input, floor->inputs, floor->input_values);
  if (status == NULL) status = make_values(floor, floor->output, floor->outputs, floor->output_values);
  if (status == NULL) status = ((CreateIoBindingFunction)api->CreateIoBinding)(floor->session, &floor->binding);
  for (size_t i = 0; status == NULL && i < floor->inputs; i++)
    status = bind_input(floor->binding, floor->input_names[i], floor->input_values[i]);
  for (size_t i = 0; status == NULL && i < floor->outputs; i++)
    status = bind_output(floor->binding, floor->output_names[i], floor->output_values[i]);
  return succeeded(floor, "preparing the values", status);
}

/* Open a session. The result always needs floor_close, unless it is NULL (no memory); whether it can be used is what
 * floor_message says: an empty message is a success. */
Floor* floor_open(const char* library_path, uint32_t api_version, const char* model_path, int threads,
                  const Tensor* inputs, size_t input_count, const Tensor* outputs, size_t output_count) {
  Floor* floor = calloc(1, sizeof *floor);
  if (floor == NULL) return NULL;
  if (input_count > MOST_TENSORS || output_count > MOST_TENSORS) {
    snprintf(floor->message, sizeof floor->message, "more than %d inputs or outputs", (int)MOST_TENSORS);
    return floor;
  }
  floor->api_version = api_version;
  floor->inputs = input_count;
  floor->outputs = output_count;
  memcpy(floor->input, inputs, input_count * sizeof *inputs);
  memcpy(floor->output, outputs, output_count * sizeof *outputs);
  if (open_library(floor, library_path) == 0 && open_session(floor, model_path, threads) == 0) (void)prepare(floor);
  return floor;
}
