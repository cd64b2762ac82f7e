/* Values made over the caller's memory, and what it takes to look at values that ONNX Runtime has made.
 *
 * SPDX-License-Identifier: MIT
 */
#include "floor.h"

#include <stdlib.h>
#include <string.h>

/* --- made --- */

static OrtStatus* make_tensor(const Floor* floor, const Slot* slot, void* data, size_t size, OrtValue** value) {
  return floor->api->CreateTensorWithDataAsOrtValue(floor->memory, data, size, slot->shape, slot->rank,
                                                    (ONNXTensorElementDataType)slot->type, value);
}

/* Writing each string where it is to be is much faster than FillStringTensor, and keeps a NUL. */
static OrtStatus* make_strings(const Floor* floor, const Slot* slot, OrtValue** value) {
  const OrtApi* api = floor->api;
  OrtStatus* status = api->CreateTensorAsOrtValue(floor->allocator, slot->shape, slot->rank,
                                                  (ONNXTensorElementDataType)slot->type, value);
  for (size_t i = 0; status == NULL && i < slot->count; i++) {
    const size_t length = (size_t)(slot->offsets[i + 1] - slot->offsets[i]);
    char* place = NULL;
    status = api->GetResizedStringTensorElementBuffer(*value, i, length, &place);
    if (status == NULL) memcpy(place, (const char*)slot->data + slot->offsets[i], length);
  }
  return status;
}

static OrtStatus* make_sequence(const Floor* floor, Scratch* scratch, const Slot* slot, OrtValue** value) {
  const size_t size = slot->size / slot->count;
  OrtStatus* status = NULL;
  size_t made = 0;
  while (status == NULL && made < slot->count) {
    scratch->elements[made] = NULL;
    status = make_tensor(floor, slot, (char*)slot->data + made * size, size, &scratch->elements[made]);
    made++;
  }
  if (status == NULL)
    status = floor->api->CreateValue((const OrtValue* const*)scratch->elements, made, ONNX_TYPE_SEQUENCE, value);
  release_values(floor, scratch->elements, made);
  return status;
}

/* Make a value for each slot. All that was made is in `values`, and NULL in the other places, also on failure. */
OrtStatus* make_values(const Floor* floor, Scratch* scratch, const Slot* slots, size_t count, OrtValue** values) {
  OrtStatus* status = NULL;
  for (size_t i = 0; i < count; i++) values[i] = NULL;
  for (size_t i = 0; status == NULL && i < count; i++) {
    const Slot* slot = &slots[i];
    if (slot->kind == KIND_TENSOR)
      status = make_tensor(floor, slot, slot->data, slot->size, &values[i]);
    else if (slot->kind == KIND_STRINGS)
      status = make_strings(floor, slot, &values[i]);
    else
      status = make_sequence(floor, scratch, slot, &values[i]);
  }
  return status;
}

void release_values(const Floor* floor, OrtValue** values, size_t count) {
  for (size_t i = 0; i < count; i++)
    if (values[i] != NULL) floor->api->ReleaseValue(values[i]);
}

/* --- read --- */

/* Before 1.24 there is no other way to a value's type and shape than an object that has to be released again. */
static OrtStatus* read_type_and_shape_before_24(const Floor* floor, Scratch* scratch, OrtValue* value) {
  const OrtApi* api = floor->api;
  OrtTensorTypeAndShapeInfo* info = NULL;
  size_t rank = 0;
  OrtStatus* status = api->GetTensorTypeAndShape(value, &info);
  if (status == NULL) status = api->GetTensorElementType(info, &scratch->type);
  if (status == NULL) status = api->GetDimensionsCount(info, &rank);
  if (rank > MOST_DIMENSIONS) rank = MOST_DIMENSIONS;
  if (status == NULL) status = api->GetDimensions(info, scratch->shape, rank);
  if (info != NULL) api->ReleaseTensorTypeAndShapeInfo(info);
  return status;
}

static OrtStatus* read_tensor(const Floor* floor, Scratch* scratch, OrtValue* value) {
  const OrtApi* api = floor->api;
  OrtStatus* status = NULL;
  if (floor->api_version >= 24) {
    const int64_t* shape = NULL;
    size_t rank = 0;
    status = api->GetTensorElementTypeAndShapeDataReference(value, &scratch->type, &shape, &rank);
    if (status == NULL)
      for (size_t i = 0; i < rank && i < MOST_DIMENSIONS; i++) scratch->shape[i] = shape[i];
  } else {
    status = read_type_and_shape_before_24(floor, scratch, value);
  }
  scratch->tensors++;
  return status == NULL ? api->GetTensorMutableData(value, &scratch->data) : status;
}

/* Return room for so many bytes. Without memory there is no status to return, and nothing to measure either. */
static void* more_room(void* old, size_t size) {
  free(old);
  void* room = malloc(size);
  if (room == NULL) abort();
  return room;
}

static OrtStatus* read_strings(const Floor* floor, Scratch* scratch, const Slot* slot, OrtValue* value) {
  const OrtApi* api = floor->api;
  size_t length = 0;
  OrtStatus* status = api->GetStringTensorDataLength(value, &length);
  if (status != NULL) return status;
  if (length > scratch->text_room) {
    scratch->text = more_room(scratch->text, length);
    scratch->text_room = length;
  }
  if (slot->count > scratch->offset_room) {
    scratch->offsets = more_room(scratch->offsets, slot->count * sizeof *scratch->offsets);
    scratch->offset_room = slot->count;
  }
  scratch->characters += length;
  return api->GetStringTensorContent(value, scratch->text, length, scratch->offsets, slot->count);
}

/* A map is fetched as two tensors, its keys and its values. */
static OrtStatus* read_map(const Floor* floor, Scratch* scratch, OrtValue* map) {
  OrtStatus* status = NULL;
  for (int part = 0; status == NULL && part < 2; part++) {
    OrtValue* tensor = NULL;
    status = floor->api->GetValue(map, part, floor->allocator, &tensor);
    if (status == NULL) status = read_tensor(floor, scratch, tensor);
    release_values(floor, &tensor, 1);
  }
  return status;
}

static OrtStatus* read_sequence(const Floor* floor, Scratch* scratch, const Slot* slot, OrtValue* value) {
  size_t count = 0;
  OrtStatus* status = floor->api->GetValueCount(value, &count);
  for (size_t i = 0; status == NULL && i < count; i++) {
    OrtValue* element = NULL;
    status = floor->api->GetValue(value, (int)i, floor->allocator, &element);
    if (status == NULL)
      status = slot->kind == KIND_MAPS ? read_map(floor, scratch, element) : read_tensor(floor, scratch, element);
    release_values(floor, &element, 1);
  }
  return status;
}

OrtStatus* read_value(const Floor* floor, Scratch* scratch, const Slot* slot, OrtValue* value) {
  if (slot->kind == KIND_TENSOR) return read_tensor(floor, scratch, value);
  if (slot->kind == KIND_STRINGS) return read_strings(floor, scratch, slot, value);
  return read_sequence(floor, scratch, slot, value);
}

/* --- a caller's own memory --- */

int open_scratch(const Floor* floor, Scratch* scratch) {
  memset(scratch, 0, sizeof *scratch);
  for (size_t i = 0; i < floor->input_count; i++)
    if (floor->inputs[i].kind == KIND_SEQUENCE && floor->inputs[i].count > scratch->element_room)
      scratch->element_room = floor->inputs[i].count;
  scratch->inputs = calloc(floor->input_count + 1, sizeof(OrtValue*));
  scratch->outputs = calloc(floor->output_count + 1, sizeof(OrtValue*));
  scratch->elements = calloc(scratch->element_room + 1, sizeof(OrtValue*));
  if (scratch->inputs != NULL && scratch->outputs != NULL && scratch->elements != NULL) return 0;
  close_scratch(scratch);
  return -1;
}

void close_scratch(Scratch* scratch) {
  free(scratch->inputs);
  free(scratch->outputs);
  free(scratch->elements);
  free(scratch->text);
  free(scratch->offsets);
  memset(scratch, 0, sizeof *scratch);
}
