/* SPDX-License-Identifier: Apache-2.0
 *
 * Where the slots of handles lie, for the collector.
 */
#ifndef MAL_GC_HANDLES_H
#define MAL_GC_HANDLES_H

#include <stdint.h>

/* Visits all memory that holds slots, as words that may be pointers. Any time. */
void mal_gc_handles_each_range(void (*visit)(uintptr_t low, uintptr_t high, void *context),
                               void *context);

void mal_gc_handles_before_fork(void);
void mal_gc_handles_after_fork(void);

#endif
