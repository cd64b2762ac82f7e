/* What `counted.py` tells callgrind, from inside the process that it watches.
 *
 * These requests act at the very instruction where they stand. The other ways do not, or need more: callgrind_control
 * acts from outside, some time later; two processes with K and 2K calls count twice all that Python does before, which
 * differs by more than a call costs; --toggle-collect goes by a function's name and cannot tell one batch from another.
 */

#include <valgrind/callgrind.h>

int counter_is_there(void) { return RUNNING_ON_VALGRIND != 0; }

/* Until then all runs some ten times as fast, and nothing is counted. */
void counter_start(void) { CALLGRIND_START_INSTRUMENTATION; }

void counter_zero(void) { CALLGRIND_ZERO_STATS; }

/* Write what was counted since the last zero into the next file, under this label. */
void counter_dump(const char* label) { CALLGRIND_DUMP_STATS_AT(label); }
