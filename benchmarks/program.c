/* What a whole process costs in C: load the library, make a session, run the model once. And what sessions cost in
 * memory.
 *
 *   program LIBRARY API_VERSION MODEL SESSIONS NAME:TYPE:DIMxDIM [another input ...] OUTPUT
 *
 * Every run is fed zeros. With 0 SESSIONS it makes one, runs it and prints the nanoseconds of its three steps. With
 * more it makes that many, runs each once, and closes them all; it prints a line after each step and goes on when it
 * has read one, so that whoever started it can look at its memory.
 *
 * SPDX-License-Identifier: MIT
 */
#if !defined(_GNU_SOURCE)
#define _GNU_SOURCE
#endif

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ortx_capi.h"

enum { MOST_INPUTS = 8, MOST_DIMENSIONS = 8, MOST_SESSIONS = 64, MOST_TEXT = 128 };

typedef OrtStatus*(ORTX_CALL * CreateEnvFunction)(OrtLoggingLevel severity, const char* log_id, OrtEnv** out);

static const OrtApi* api;

static int64_t now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

static void fail(const char* what, const char* why) {
  fprintf(stderr, "program.c: %s: %s\n", what, why);
  exit(1);
}

static void check(const char* what, OrtStatus* status) {
  if (status != NULL) fail(what, api->GetErrorMessage(status));
}

static void load(const char* path, uint32_t version) {
  void* library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (library == NULL) fail("dlopen", dlerror());
  OrtGetApiBaseFunction get_api_base = NULL;
  *(void**)&get_api_base = dlsym(library, "OrtGetApiBase");
  api = get_api_base == NULL ? NULL : get_api_base()->GetApi(version);
  if (api == NULL) fail(path, "no OrtApi of this version");
}

static OrtEnv* make_env(void) {
  OrtEnv* env = NULL;
  check("CreateEnv", ((CreateEnvFunction)api->CreateEnv)(ORT_LOGGING_LEVEL_WARNING, "program", &env));
  return env;
}

static OrtSession* make_session(OrtEnv* env, const char* path) {
  OrtSession* session = NULL;
  OrtSessionOptions* options = NULL;
  check("CreateSessionOptions", api->CreateSessionOptions(&options));
  check("SetIntraOpNumThreads", api->SetIntraOpNumThreads(options, 1));
  check("CreateSession", api->CreateSession(env, path, options, &session));
  api->ReleaseSessionOptions(options);
  return session;
}

/* Make zeros as NAME:TYPE:DIMxDIM says; cut the text after the name. */
static OrtValue* make_input(OrtAllocator* allocator, char* text, const char** name) {
  int64_t shape[MOST_DIMENSIONS], elements = 1;
  size_t rank = 0;
  *name = strtok(text, ":");
  const char* type = strtok(NULL, ":");
  for (const char* size = strtok(NULL, "x"); size != NULL && rank < MOST_DIMENSIONS; size = strtok(NULL, "x")) {
    shape[rank] = atoll(size);
    elements *= shape[rank++];
  }
  if (type == NULL) fail(text, "expected NAME:TYPE:DIMxDIM");
  const ONNXTensorElementDataType element_type = (ONNXTensorElementDataType)atoi(type);
  OrtValue* value = NULL;
  void* data = NULL;
  check("CreateTensor", api->CreateTensorAsOrtValue(allocator, shape, rank, element_type, &value));
  check("GetTensorMutableData", api->GetTensorMutableData(value, &data));
  memset(data, 0, (size_t)elements * (element_type == ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64 ? 8 : 4));
  return value;
}

static void run(OrtSession* session, int count, char** arguments) {
  const char* names[MOST_INPUTS];
  char texts[MOST_INPUTS][MOST_TEXT]; /* strtok cuts them */
  OrtValue *inputs[MOST_INPUTS], *output = NULL;
  OrtAllocator* allocator = NULL;
  void* data = NULL;
  if (count < 2 || count - 1 > MOST_INPUTS) fail("run", "expected 1 to 8 inputs and an output");
  check("GetAllocator", api->GetAllocatorWithDefaultOptions(&allocator));
  for (int i = 0; i < count - 1; i++) {
    snprintf(texts[i], sizeof texts[i], "%s", arguments[i]);
    inputs[i] = make_input(allocator, texts[i], &names[i]);
  }
  const char* output_names[] = {arguments[count - 1]};
  check("Run", api->Run(session, NULL, names, (const OrtValue* const*)inputs, (size_t)count - 1, output_names, 1,
                        &output));
  check("GetTensorMutableData", api->GetTensorMutableData(output, &data));
  api->ReleaseValue(output);
  for (int i = 0; i < count - 1; i++) api->ReleaseValue(inputs[i]);
}

/* Say that a step is done, and wait until somebody has looked. */
static void pause_for_a_look(void) {
  puts("done");
  fflush(stdout);
  if (getchar() == EOF) exit(1); /* nobody is there any more */
}

static void open_and_close(const char* path, int count, int argument_count, char** arguments) {
  OrtSession* sessions[MOST_SESSIONS];
  if (count > MOST_SESSIONS) fail("sessions", "expected at most 64");
  OrtEnv* env = make_env();
  pause_for_a_look();
  for (int i = 0; i < count; i++) {
    sessions[i] = make_session(env, path);
    run(sessions[i], argument_count, arguments);
    pause_for_a_look();
  }
  for (int i = 0; i < count; i++) api->ReleaseSession(sessions[i]);
  pause_for_a_look();
}

int main(int argc, char** argv) {
  if (argc < 7) fail("arguments", "expected LIBRARY API_VERSION MODEL SESSIONS INPUT... OUTPUT");
  const int64_t start = now();
  load(argv[1], (uint32_t)atoi(argv[2]));
  if (atoi(argv[4]) > 0) {
    open_and_close(argv[3], atoi(argv[4]), argc - 5, argv + 5);
    return 0;
  }
  const int64_t loaded = now();
  OrtSession* session = make_session(make_env(), argv[3]);
  const int64_t opened = now();
  run(session, argc - 5, argv + 5);
  const int64_t end = now();
  api->ReleaseSession(session);
  printf("[%lld, %lld, %lld]\n", (long long)(loaded - start), (long long)(opened - loaded), (long long)(end - opened));
  return 0;
}
