/* What the parts of the floor share: `floor.c` opens sessions and times, `floor_values.c` makes and reads values,
 * `floor_rows.c` has the calls that are timed, `floor_threads.c` makes them from several threads.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef FLOOR_H
#define FLOOR_H

#if !defined(_GNU_SOURCE)
#define _GNU_SOURCE /* clock_gettime and dlfcn.h, whatever the compiler's default standard is */
#endif

#include "ortx_capi.h"

enum { MOST_DIMENSIONS = 8 };

/* How a value is made and read; the same numbers as `floor.Kind` in Python. */
enum { KIND_TENSOR = 0, KIND_STRINGS = 1, KIND_SEQUENCE = 2, KIND_MAPS = 3 };

/* One input or output. The same as `floor.Slot` in Python, which owns what this points to and outlives the Floor. */
typedef struct {
  const char* name;
  void* data; /* KIND_STRINGS: all strings' bytes, one after another; KIND_SEQUENCE: all elements', likewise */
  size_t size; /* of the data, in bytes */
  const int64_t* shape; /* KIND_SEQUENCE: of one element */
  size_t rank;
  int32_t type;
  int32_t kind;
  size_t count; /* of strings, or of the sequence's elements */
  const int64_t* offsets; /* KIND_STRINGS: count + 1 places in the data */
} Slot;

/* What one caller writes to. Every thread has its own, so that callers share the session and the input, no more. */
typedef struct {
  OrtValue **inputs, **outputs;
  OrtValue** elements; /* of the sequence that is being made */
  size_t element_room;
  /* Where the rows put what they have read, so that the compiler cannot leave the reading out. */
  void* data;
  ONNXTensorElementDataType type;
  int64_t shape[MOST_DIMENSIONS];
  char* text;
  size_t text_room;
  size_t* offsets;
  size_t offset_room;
  size_t tensors, characters; /* how many were read since the last reset */
} Scratch;

typedef struct {
  const OrtApi* api;
  uint32_t api_version;
  OrtEnv* env; /* never released: it is the one that ortx and its sessions use as well */
  OrtSession* session;
  OrtRunOptions* run_options; /* made once: without one, ONNX Runtime makes one in every call */
  OrtMemoryInfo* memory;
  OrtAllocator* allocator; /* the process's own; not to be released */
  OrtIoBinding* binding; /* NULL where something is no tensor */
  size_t input_count, output_count;
  const Slot *inputs, *outputs;
  const char **input_names, **output_names;
  OrtValue **input_values, **output_values; /* made once, over the slots' data; no outputs where there is no binding */
  Scratch scratch; /* of the thread that opened this */
  char message[1024];
} Floor;

typedef OrtStatus* (*Row)(const Floor*, Scratch*);

/* floor_values.c */
OrtStatus* make_values(const Floor* floor, Scratch* scratch, const Slot* slots, size_t count, OrtValue** values);
OrtStatus* read_value(const Floor* floor, Scratch* scratch, const Slot* slot, OrtValue* value);
void release_values(const Floor* floor, OrtValue** values, size_t count);
int open_scratch(const Floor* floor, Scratch* scratch); /* 0, or -1 if there is no memory */
void close_scratch(Scratch* scratch);

/* floor_rows.c */
Row find_row(Floor* floor, const char* name); /* NULL with a message if there is none */

/* floor.c */
int64_t now(void);
int succeeded(Floor* floor, const char* step, OrtStatus* status); /* 0, or -1 with a message; takes the status over */

#endif
