/* SPDX-License-Identifier: Apache-2.0
 *
 * Arenas in the life of the collector: live ones are roots, freed ones wait until no pointer leads
 * to them.
 */
#ifndef MAL_GC_ARENA_H
#define MAL_GC_ARENA_H

#include <stdbool.h>
#include <stdint.h>

struct mal_gc_worker;

/* Marks all words of live arenas that may be pointers. Beside the program, or stopped; by one
 * thread at a time, as is each_scan_range. */
void mal_gc_arenas_mark_roots(struct mal_gc_worker *worker);

/* Ranges of live arenas that hold words to be scanned: whole OS pages, for dirty-page tracking.
 * What was written there is scanned again by mal_gc_mark_range. While marking they stay readable.
 * Ranges of arenas that came since marking began are among them from the first call on. */
void mal_gc_arenas_each_scan_range(void (*visit)(uintptr_t low, uintptr_t high, void *context),
                                   void *context);

/* World stopped, marking complete. A few stores. */
void mal_gc_arenas_end_mark(void);
/* After it, beside the program and before the next cycle: addresses that no pointer led to are
 * free, arenas that were freed while marking cannot be touched any more. */
void mal_gc_arenas_after_mark(void);

/* Whether the address lies in an arena, live or freed and not yet forgotten. */
bool mal_gc_arena_holds(uintptr_t address);

/* Relaxed snapshot. */
struct mal_gc_arena_bytes {
    uint64_t live_bytes;       /* in chunks of live arenas */
    uint64_t scan_bytes;       /* of them, to be scanned in each cycle */
    uint64_t quarantine_bytes; /* addresses without memory */
};
struct mal_gc_arena_bytes mal_gc_arenas_bytes(void);

void mal_gc_arenas_before_fork(void);
void mal_gc_arenas_after_fork(bool child);

#endif
