/* SPDX-License-Identifier: Apache-2.0
 *
 * Cycles of collection: started by the heap's growth, by request, or by time.
 */
#ifndef MAL_GC_CYCLE_H
#define MAL_GC_CYCLE_H

#include "base/attr.h"
#include "box/layout.h"

#include <stdbool.h>
#include <stdint.h>

/* What is to be found out about the collector; keys of MALLARD_DEBUG. */
enum mal_gc_debug {
    MAL_GC_DEBUG_CHECKMARK = 1u << 0,    /* the oracle after each cycle */
    MAL_GC_DEBUG_POISON = 1u << 1,       /* freed slots are filled */
    MAL_GC_DEBUG_NO_DIRTY = 1u << 2,     /* dirty pages are not tracked: the world is stopped */
    MAL_GC_DEBUG_MALLOC_ROOTS = 1u << 3, /* live malloc objects are roots */
    MAL_GC_DEBUG_PACER_TRACE = 1u << 4,
    MAL_GC_DEBUG_BESIDE = 1u << 5, /* small heaps too are marked beside the program */
};

/* What the tier above says; it may not be asked. */
struct mal_gc_config {
    int percent;              /* GOGC; negative: off */
    uint32_t debug;           /* enum mal_gc_debug */
    uint32_t trace;           /* 0 none, 1 Go's line, 2 our own line too */
    uint32_t signal;          /* that stops threads; 0: one that is free */
    uint32_t stress_refills;  /* a cycle at every so many'th refill; 0 off */
    bool (*bring_up)(void);   /* the malloc side, idempotent */
    void (*become_own)(void); /* marks the calling thread as Mallard's */
};
/* Once, before main. */
void mal_gc_configure(const struct mal_gc_config *config);

/* Brings the collected heap up; idempotent, any thread. 0 or a negative errno. */
int mal_gc_ensure(void);
bool mal_gc_is_up(void);

/* A whole cycle, and its sweep: returns when it is done. */
void mal_gc_collect(void);
/* GOGC, below 0: off. Setting returns what was in force before. */
int mal_gc_percent(void);
int mal_gc_set_percent(int percent);
/* The memory limit (pageheap/limit.h) is another one now. */
void mal_gc_limit_changed(void);

/* Adds the collector's numbers to a row of statistics. */
void mal_gc_add_stats(struct mal_box_stats *stats);

/* How many threads of its own the collector has. */
unsigned mal_gc_threads(void);

/* fork. First of all, no lock held, and last of all: */
void mal_gc_hold_for_fork(void);
void mal_gc_let_go_after_fork(bool child);
/* and between BOX and CPU_CACHE in the order of locks: */
void mal_gc_before_fork(void);
void mal_gc_after_fork(bool child);

#endif
