/* SPDX-License-Identifier: Apache-2.0
 *
 * The collected heap: spans of objects with bits for "allocated" and "marked".
 *
 *     allocated object   its alloc bit is set
 *     phase == MARK      every new object is marked before its critical section ends (black)
 *     sweep of a span    alloc bits = mark bits; what was allocated and not marked is free
 */
#ifndef MAL_GC_HEAP_H
#define MAL_GC_HEAP_H

#include "base/attr.h"
#include "mallard/gc.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum mal_gc_phase { MAL_GC_OFF, MAL_GC_MARK };

/* Changed only while the world is stopped; read by anybody. */
extern MAL_HIDDEN uint32_t mal_gc_phase; /* enum mal_gc_phase */
extern MAL_HIDDEN uint32_t mal_gc_cycle; /* number of the running or last cycle */

/* Free slots a thread may hand out without looking at a span; HEAP fills it in. */
struct mal_gc_cache {
    void *none_yet;
};

/* Brings the tables up. 0 or -ENOMEM. Once, under the collector's start lock. */
int mal_gc_heap_init(void);

/* What the pacer needs. Relaxed atomics unless said. */
struct mal_gc_heap_counters {
    uint64_t
        live_bytes; /* heapLive: marked by the last cycle + allocated since (by spans refilled) */
    uint64_t marked_bytes; /* by the last finished cycle */
    uint64_t scan_bytes;   /* of live_bytes, what must be scanned */
    uint64_t inuse_pages;  /* pages of GC spans */
    uint64_t unswept_pages;
    uint64_t total_alloc_bytes, total_free_bytes, mallocs, frees; /* exact as of the last flush */
};
struct mal_gc_heap_counters mal_gc_heap_counters(void);

/* Hooks that CYCLE sets before the first allocation. Called with no lock held, outside critical
 * sections, by allocating threads: `charge` at every refill and large object with the bytes that
 * became allocatable (assist, proportional sweep, trigger). */
struct mal_gc_heap_hooks {
    void (*charge)(uint64_t bytes);
};
void mal_gc_heap_set_hooks(const struct mal_gc_heap_hooks *hooks);

/* ---- a cycle, in this order ---- */

/* Sweeps what is left of the last cycle and clears the mark bits. Concurrent with allocation. */
void mal_gc_heap_before_mark(void);
/* World stopped: takes back every thread's cache, allocation is black from here. */
void mal_gc_heap_start_mark(void);
/* World stopped, marking complete: allocation is white again, all spans are unswept. */
void mal_gc_heap_end_mark(void);
/* Sweeps up to `pages` pages of spans; returns how many, 0 when all is swept. Any thread. */
size_t mal_gc_heap_sweep(size_t pages);

/* Address ranges that hold scan objects, for dirty-page tracking: whole OS pages, in order. */
void mal_gc_heap_each_scan_range(void (*visit)(uintptr_t low, uintptr_t high, void *context),
                                 void *context);

/* The object that holds the address: its start and size. False when there is none. Any pointer. */
bool mal_gc_heap_find(uintptr_t address, uintptr_t *ret_object, size_t *ret_bytes);

void mal_gc_heap_before_fork(void);
void mal_gc_heap_after_fork(bool child);

#endif
