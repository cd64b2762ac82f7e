/* The floor: what a call costs in C, with nothing around it. A binding cannot be faster; how much slower is its
 * quality.
 *
 * `floor.py` compiles the floor's files into a shared library and loads it into the process that measures the Python
 * rows too, so that all rows share one machine, one moment and one ONNX Runtime environment. This file opens sessions
 * and times; the calls that are timed are in `floor_rows.c`.
 *
 * SPDX-License-Identifier: MIT
 */
#include "floor.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Slots that ortx_capi.h leaves untyped because ortx does not call them: the type is given at the call. */
typedef OrtStatus*(ORTX_CALL * CreateEnvFunction)(OrtLoggingLevel severity, const char* log_id, OrtEnv** out);
typedef void(ORTX_CALL * ReleaseMemoryInfoFunction)(OrtMemoryInfo* info);

int64_t now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

int succeeded(Floor* floor, const char* step, OrtStatus* status) {
  if (status == NULL) return 0;
  snprintf(floor->message, sizeof floor->message, "%s: %s", step, floor->api->GetErrorMessage(status));
  floor->api->ReleaseStatus(status);
  return -1;
}

/* --- what Python calls; -1 means that floor_message tells what went wrong --- */

const char* floor_message(const Floor* floor) { return floor->message; }

/* Make `calls` calls, on the floors in turn, and return how many nanoseconds they took together. */
int64_t floor_batch(Floor* const* floors, size_t count, const char* name, int64_t calls) {
  const Row row = find_row(floors[0], name);
  if (row == NULL) return -1;
  OrtStatus* status = NULL;
  size_t turn = 0;
  const int64_t start = now();
  for (int64_t i = 0; i < calls && status == NULL; i++) {
    status = row(floors[turn], &floors[turn]->scratch);
    if (++turn == count) turn = 0;
  }
  const int64_t elapsed = now() - start;
  return succeeded(floors[0], name, status) == 0 ? elapsed : -1;
}

/* Make `calls` calls and fill `stamps`, which has room for calls + 1, with the time before each and after the last. */
int floor_stamps(Floor* const* floors, size_t count, const char* name, int64_t calls, int64_t* stamps) {
  const Row row = find_row(floors[0], name);
  if (row == NULL) return -1;
  OrtStatus* status = NULL;
  size_t turn = 0;
  stamps[0] = now();
  for (int64_t i = 0; i < calls && status == NULL; i++) {
    status = row(floors[turn], &floors[turn]->scratch);
    if (++turn == count) turn = 0;
    stamps[i + 1] = now();
  }
  return succeeded(floors[0], name, status);
}

/* How many tensors and bytes of strings one call of a row reads. */
int floor_reads(Floor* floor, const char* name, int64_t* tensors, int64_t* characters) {
  Scratch* scratch = &floor->scratch;
  scratch->tensors = scratch->characters = 0;
  const int64_t elapsed = floor_batch(&floor, 1, name, 1);
  *tensors = (int64_t)scratch->tensors;
  *characters = (int64_t)scratch->characters;
  return elapsed < 0 ? -1 : 0;
}

void floor_close(Floor* floor) {
  const OrtApi* api = floor->api;
  if (api != NULL) {
    if (floor->input_values != NULL) release_values(floor, floor->input_values, floor->input_count);
    if (floor->output_values != NULL) release_values(floor, floor->output_values, floor->output_count);
    if (floor->binding != NULL) api->ReleaseIoBinding(floor->binding);
    if (floor->session != NULL) api->ReleaseSession(floor->session);
    if (floor->run_options != NULL) api->ReleaseRunOptions(floor->run_options);
    if (floor->memory != NULL) ((ReleaseMemoryInfoFunction)api->ReleaseMemoryInfo)(floor->memory);
  }
  close_scratch(&floor->scratch);
  free(floor->input_names);
  free(floor->output_names);
  free(floor->input_values);
  free(floor->output_values);
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
  OrtStatus* status = ((CreateEnvFunction)api->CreateEnv)(ORT_LOGGING_LEVEL_WARNING, "floor", &floor->env);
  if (status == NULL) status = api->CreateRunOptions(&floor->run_options);
  if (status == NULL) status = api->CreateCpuMemoryInfo(OrtArenaAllocator, OrtMemTypeDefault, &floor->memory);
  if (status == NULL) status = api->GetAllocatorWithDefaultOptions(&floor->allocator);
  if (status == NULL) status = api->CreateSessionOptions(&options);
  if (status == NULL) status = api->SetIntraOpNumThreads(options, threads);
  if (status == NULL) status = api->CreateSession(floor->env, model_path, options, &floor->session);
  if (options != NULL) api->ReleaseSessionOptions(options);
  return succeeded(floor, "opening the session", status);
}

static int allocate(Floor* floor) {
  floor->input_names = calloc(floor->input_count + 1, sizeof(char*));
  floor->output_names = calloc(floor->output_count + 1, sizeof(char*));
  floor->input_values = calloc(floor->input_count + 1, sizeof(OrtValue*));
  floor->output_values = calloc(floor->output_count + 1, sizeof(OrtValue*));
  if (floor->input_names != NULL && floor->output_names != NULL && floor->input_values != NULL &&
      floor->output_values != NULL && open_scratch(floor, &floor->scratch) == 0)
    return 0;
  snprintf(floor->message, sizeof floor->message, "no memory");
  return -1;
}

/* Make the values that are made once and, where all are tensors, bind them. */
static int prepare(Floor* floor) {
  const OrtApi* api = floor->api;
  bool tensors = true;
  for (size_t i = 0; i < floor->input_count; i++) {
    floor->input_names[i] = floor->inputs[i].name;
    tensors = tensors && floor->inputs[i].kind == KIND_TENSOR;
  }
  for (size_t i = 0; i < floor->output_count; i++) {
    floor->output_names[i] = floor->outputs[i].name;
    tensors = tensors && floor->outputs[i].kind == KIND_TENSOR;
  }
  OrtStatus* status = make_values(floor, &floor->scratch, floor->inputs, floor->input_count, floor->input_values);
  if (tensors) {
    if (status == NULL)
      status = make_values(floor, &floor->scratch, floor->outputs, floor->output_count, floor->output_values);
    if (status == NULL) status = api->CreateIoBinding(floor->session, &floor->binding);
    for (size_t i = 0; status == NULL && i < floor->input_count; i++)
      status = api->BindInput(floor->binding, floor->input_names[i], floor->input_values[i]);
    for (size_t i = 0; status == NULL && i < floor->output_count; i++)
      status = api->BindOutput(floor->binding, floor->output_names[i], floor->output_values[i]);
  }
  return succeeded(floor, "preparing the values", status);
}

/* Open a session. The result always needs floor_close, unless it is NULL (no memory); whether it can be used is what
 * floor_message says: an empty message is a success. */
Floor* floor_open(const char* library_path, uint32_t api_version, const char* model_path, int threads,
                  const Slot* inputs, size_t input_count, const Slot* outputs, size_t output_count) {
  Floor* floor = calloc(1, sizeof *floor);
  if (floor == NULL) return NULL;
  floor->api_version = api_version;
  floor->inputs = inputs;
  floor->outputs = outputs;
  floor->input_count = input_count;
  floor->output_count = output_count;
  if (allocate(floor) == 0 && open_library(floor, library_path) == 0 &&
      open_session(floor, model_path, threads) == 0)
    (void)prepare(floor);
  return floor;
}
