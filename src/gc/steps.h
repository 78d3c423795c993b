/* SPDX-License-Identifier: Apache-2.0
 *
 * Where the collector's own threads can be held for a fork: between two steps of theirs.
 */
#ifndef MAL_GC_STEPS_H
#define MAL_GC_STEPS_H

#include <stdbool.h>

/* A step: something that must not be cut in two by a fork. Steps are short and do not nest. */
void mal_gc_step_begin(void);
void mal_gc_step_end(void);
/* Whether the calling thread is inside one, as a signal handler finds it. */
bool mal_gc_step_is_mine(void);

/* No step is under way, and none begins, until opened. By the thread that forks. */
void mal_gc_steps_hold(void);
void mal_gc_steps_resume(void);

#endif
