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
#include "gc/tables.h"
#include "mallard/gc.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum mal_gc_phase { MAL_GC_OFF, MAL_GC_MARK };

/* Changed only while the world is stopped, so whoever is stopped with it reads them plainly. Who is
 * not, or may have slept in between: the phase stored (release), loaded (acquire); the cycle
 * relaxed. */
extern MAL_HIDDEN uint32_t mal_gc_phase; /* enum mal_gc_phase */
extern MAL_HIDDEN uint32_t mal_gc_cycle; /* number of the running or last cycle */

/* Slots of one span class that a thread may hand out without looking at a span: those of one window
 * of 1 KiB. Their alloc bits are set already, their memory is zero, and while phase == MARK their
 * mark bits are set: so handing one out is taking a bit.
 *
 *     slots handed out of the span since it was cached = span->gc.handed_count - bits set in
 *     `window` and `rest`
 *     the pointer bits of a slot in `window` or `rest` = `mask`
 *
 * The mask is a guess, that the next object will be of the same type as the last one; whoever hands
 * out a slot for another one writes its bits, and guesses that type from the next window on. */
struct mal_gc_bin {
    uint64_t window; /* granules where free slots begin */
    uintptr_t base;  /* address of the window's first granule */
    uint64_t rest; /* free slots behind the window's end for now: the first one is to be sampled */
    struct mal_span *span; /* on no list; NULL: none */
    uint64_t mask;         /* 0 where a slot has more words than that */
    uint64_t next_mask;
};

/* A thread's. The owner inside a critical section, or the collector while the world is stopped.
 * All zero is a valid empty cache. */
struct mal_gc_cache {
    struct mal_gc_bin bin[MAL_GC_SPAN_CLASSES];
    uintptr_t tiny;         /* where the next object below 16 bytes may begin */
    uint32_t tiny_bytes;    /* that are left there */
    int64_t sample_bytes;   /* until the next sample */
    uint64_t sample_rate;   /* that the gap was drawn at */
    uint64_t sample_random; /* never 0 once set up */
};

/* Brings the tables up. 0 or -ENOMEM. Once, under the collector's start lock. */
int mal_gc_heap_init(void);

/* Freed objects are filled with 0xdb, so that whoever uses one notices. Constant once up. */
extern MAL_HIDDEN uint32_t mal_gc_heap_poisons;

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
/* The same, the last four 0: no lock, for every refill. */
struct mal_gc_heap_counters mal_gc_heap_levels(void);

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

/* Address ranges that hold scan objects, for dirty-page tracking: whole OS pages, in order. Up to
 * `gap_most_pages` pages side by side that are not the collected heap's do not end a range. */
void mal_gc_heap_each_scan_range(uint64_t gap_most_pages,
                                 void (*visit)(uintptr_t low, uintptr_t high, void *context),
                                 void *context);

/* The object that holds the address: its start and size. False when there is none. Any pointer. */
bool mal_gc_heap_find(uintptr_t address, uintptr_t *ret_object, size_t *ret_bytes);

/* The object's mark, which is set for what lives on until its span is swept. */
bool mal_gc_heap_is_marked(uintptr_t object);

/* Takes a cache back: its slots are free again, its spans on lists. While phase == MARK only with
 * the world stopped, when nobody marks. In a critical section. */
void mal_gc_heap_flush(struct mal_gc_cache *cache);
/* The same beside markers, by the owner: while phase == MARK slots of its windows count as handed
 * out. In a critical section. */
void mal_gc_heap_abandon(struct mal_gc_cache *cache);

/* fork: from before_fork on no span changes hands. In the child, before the registry forgets the
 * other threads: their caches are taken back and a mark that was going on is given up. */
void mal_gc_heap_before_fork(void);
void mal_gc_heap_after_fork(bool child);

#endif
