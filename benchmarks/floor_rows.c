/* The rows: each is one call. To add one, write a function, put it into `rows`, and name it in `suite.py`.
 *
 * SPDX-License-Identifier: MIT
 */
#include "floor.h"

#include <stdio.h>
#include <string.h>

static OrtStatus* run(const Floor* floor, OrtValue* const* inputs, OrtValue** outputs) {
  return floor->api->Run(floor->session, floor->run_options, floor->input_names, (const OrtValue* const*)inputs,
                         floor->input_count, floor->output_names, floor->output_count, outputs);
}

/* Values made once, outputs in the caller's buffers. */
static OrtStatus* prepared(const Floor* floor, Scratch* scratch) {
  (void)scratch;
  return run(floor, floor->input_values, floor->output_values);
}

/* Inputs made once; ONNX Runtime allocates the outputs. */
static OrtStatus* allocated(const Floor* floor, Scratch* scratch) {
  for (size_t i = 0; i < floor->output_count; i++) scratch->outputs[i] = NULL;
  OrtStatus* status = run(floor, floor->input_values, scratch->outputs);
  release_values(floor, scratch->outputs, floor->output_count);
  return status;
}

/* All that `session.run` has to do: inputs over the caller's memory, and what it takes to look at the outputs. */
static OrtStatus* fresh_allocated(const Floor* floor, Scratch* scratch) {
  OrtValue** outputs = scratch->outputs;
  for (size_t i = 0; i < floor->output_count; i++) outputs[i] = NULL;
  OrtStatus* status = make_values(floor, scratch, floor->inputs, floor->input_count, scratch->inputs);
  if (status == NULL) status = run(floor, scratch->inputs, outputs);
  for (size_t i = 0; status == NULL && i < floor->output_count; i++)
    status = read_value(floor, scratch, &floor->outputs[i], outputs[i]);
  release_values(floor, outputs, floor->output_count);
  release_values(floor, scratch->inputs, floor->input_count);
  return status;
}

/* All that `session.run_into` has to do: inputs and outputs over the caller's memory. */
static OrtStatus* fresh_into(const Floor* floor, Scratch* scratch) {
  for (size_t i = 0; i < floor->output_count; i++) scratch->outputs[i] = NULL;
  OrtStatus* status = make_values(floor, scratch, floor->inputs, floor->input_count, scratch->inputs);
  if (status == NULL) status = make_values(floor, scratch, floor->outputs, floor->output_count, scratch->outputs);
  if (status == NULL) status = run(floor, scratch->inputs, scratch->outputs);
  release_values(floor, scratch->outputs, floor->output_count);
  release_values(floor, scratch->inputs, floor->input_count);
  return status;
}

/* Inputs and outputs bound once. */
static OrtStatus* bound(const Floor* floor, Scratch* scratch) {
  (void)scratch;
  return floor->api->RunWithBinding(floor->session, floor->run_options, floor->binding);
}

/* The same without run options: ONNX Runtime makes some in each call. */
static OrtStatus* bound_without_options(const Floor* floor, Scratch* scratch) {
  (void)scratch;
  return floor->api->RunWithBinding(floor->session, NULL, floor->binding);
}

/* And `prepared` without them, as the examples of the C API have it. */
static OrtStatus* prepared_without_options(const Floor* floor, Scratch* scratch) {
  (void)scratch;
  return floor->api->Run(floor->session, NULL, floor->input_names, (const OrtValue* const*)floor->input_values,
                         floor->input_count, floor->output_names, floor->output_count, floor->output_values);
}

static const struct {
  const char* name;
  Row row;
} rows[] = {
    {"prepared", prepared},     {"allocated", allocated}, {"fresh_allocated", fresh_allocated},
    {"fresh_into", fresh_into}, {"bound", bound},         {"bound_without_options", bound_without_options},
    {"prepared_without_options", prepared_without_options},
};

Row find_row(Floor* floor, const char* name) {
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
    if (strcmp(rows[i].name, name) == 0) return rows[i].row;
  snprintf(floor->message, sizeof floor->message, "floor_rows.c has no row '%s'", name);
  return NULL;
}
