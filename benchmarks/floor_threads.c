/* The same calls from several threads at once, on one session.
 *
 * SPDX-License-Identifier: MIT
 */
#include "floor.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct {
  atomic_int waiting; /* how many are ready */
  atomic_int go;
} Gate;

typedef struct {
  pthread_t thread;
  const Floor* floor;
  Gate* gate;
  Row row;
  int64_t calls, start, end;
  OrtStatus* status;
  Scratch* scratch; /* allocated by itself, so that no two callers write to one cache line */
} Caller;

static void* call(void* argument) {
  Caller* caller = argument;
  atomic_fetch_add(&caller->gate->waiting, 1);
  while (!atomic_load(&caller->gate->go)) sched_yield();
  OrtStatus* status = NULL;
  caller->start = now();
  for (int64_t i = 0; i < caller->calls && status == NULL; i++) status = caller->row(caller->floor, caller->scratch);
  caller->end = now();
  caller->status = status;
  return NULL;
}

static void close_callers(Caller* callers, int count) {
  for (int i = 0; i < count; i++) {
    if (callers[i].scratch != NULL) close_scratch(callers[i].scratch);
    free(callers[i].scratch);
  }
  free(callers);
}

static Caller* open_callers(const Floor* floor, Gate* gate, Row row, int count, int64_t calls) {
  Caller* callers = calloc((size_t)count, sizeof *callers);
  for (int i = 0; callers != NULL && i < count; i++) {
    callers[i].floor = floor;
    callers[i].gate = gate;
    callers[i].row = row;
    callers[i].calls = calls;
    callers[i].scratch = calloc(1, sizeof *callers[i].scratch + 128);
    if (callers[i].scratch == NULL || open_scratch(floor, callers[i].scratch) != 0) {
      close_callers(callers, i + 1);
      return NULL;
    }
  }
  return callers;
}

/* Let each of `count` threads make `calls` calls; return the nanoseconds from the first one's start to the last one's
 * end. Starting the threads is not contained. */
int64_t floor_together(Floor* floor, const char* name, int count, int64_t calls) {
  Gate gate = {0, 0};
  const Row row = find_row(floor, name);
  if (row == NULL) return -1;
  Caller* callers = open_callers(floor, &gate, row, count, calls);
  if (callers == NULL) {
    snprintf(floor->message, sizeof floor->message, "no memory for %d threads", count);
    return -1;
  }
  int started = 0;
  while (started < count && pthread_create(&callers[started].thread, NULL, call, &callers[started]) == 0) started++;
  while (atomic_load(&gate.waiting) < started) sched_yield();
  atomic_store(&gate.go, 1);
  for (int i = 0; i < started; i++) pthread_join(callers[i].thread, NULL);
  int64_t start = callers[0].start, end = callers[0].end;
  int result = 0;
  if (started < count) {
    snprintf(floor->message, sizeof floor->message, "only %d of %d threads could be started", started, count);
    result = -1;
  }
  for (int i = 0; i < started; i++) {
    if (callers[i].start < start) start = callers[i].start;
    if (callers[i].end > end) end = callers[i].end;
    if (succeeded(floor, name, callers[i].status) != 0) result = -1;
  }
  close_callers(callers, count);
  return result == 0 ? end - start : -1;
}
