/* SPDX-License-Identifier: Apache-2.0
 *
 * Cycles of collection: started by the heap's growth, by request, or by time.
 */
#ifndef MAL_GC_CYCLE_H
#define MAL_GC_CYCLE_H

#include "box/layout.h"

#include <stdbool.h>
#include <stdint.h>

/* Brings the collected heap up; idempotent, any thread. 0 or a negative errno. */
int mal_gc_ensure(void);
bool mal_gc_is_up(void);

/* A whole cycle, and its sweep: returns when it is done. */
void mal_gc_collect(void);
int mal_gc_set_percent(int percent);
void mal_gc_set_memory_limit(int64_t bytes);

/* Adds the collector's numbers to a row of statistics. */
void mal_gc_add_stats(struct mal_box_stats *stats);

void mal_gc_before_fork(void);
void mal_gc_after_fork(bool child);

#endif
