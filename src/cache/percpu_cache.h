/* SPDX-License-Identifier: Apache-2.0
 *
 * Per-CPU caches: objects of each class private to one CPU.
 *
 * The hits are inline in os/percpu.h. Here is what happens on a miss, and the numbers.
 */
#ifndef MAL_CACHE_PERCPU_CACHE_H
#define MAL_CACHE_PERCPU_CACHE_H

#include "os/percpu.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* 0 or -ENOMEM. Once, after mal_classes_init. */
int mal_cache_init(enum mal_percpu_mode mode);
enum mal_percpu_mode mal_cache_mode(void);

/* What a CPU may cost, whatever threads do:
 *     slab tables      MAL_SLAB_BYTES, of which those pages are resident that its classes use; an
 *                      idle CPU's slots go back
 *     cached objects   the sum over classes of limit * size <= MAL_CACHE_BUDGET_BYTES
 *     freed samples    MAL_SHELF_BUDGET_BYTES, cache/shelf.h
 * beyond which may lie what was on its way while a limit shrank: at most a batch of one class for
 * each thread inside free. A thread costs nothing here. */
#define MAL_CACHE_BUDGET_BYTES (4u << 20)

/* An object of the class, whose pop just failed; NULL when memory is short. */
MAL_SLOW void *mal_cache_alloc_slow(uint32_t class);

/* Takes an object whose push just failed. */
MAL_SLOW void mal_cache_free_slow(uint32_t class, void *object);

/* Gives back what one CPU caches: all of it, or only the classes that went unused since the last
 * call of the same kind: that of the background's tick, that of a heap about to grow. The calling
 * thread must be running on that CPU and stay there, unless the caches are in lock mode. */
enum mal_drain { MAL_DRAIN_IDLE, MAL_DRAIN_FOR_GROWTH, MAL_DRAIN_ALL };
void mal_cache_drain_cpu(unsigned cpu, enum mal_drain drain);

/* The same, all of it, of the CPU that the caller is on, as far as it stays there. */
void mal_cache_drain_here(void);

/* The same, what lay idle since the heap last grew from this CPU. */
void mal_cache_drain_for_growth(void);

/* To be called where memory was taken and not yet touched: gives back what is beyond the memory
 * limit, if anything is. No lock held. */
void mal_cache_keep_limit(void);

unsigned mal_cache_cpus(void);
/* True once the CPU's slab was ever used. */
bool mal_cache_cpu_is_populated(unsigned cpu);
/* The first such CPU from `cpu` on; mal_cache_cpus() when there is none. */
unsigned mal_cache_next_cpu(unsigned cpu);
#define MAL_FOR_EACH_CACHE(cpu)                                                                    \
    for (unsigned cpu = mal_cache_next_cpu(0); cpu < mal_cache_cpus();                             \
         cpu = mal_cache_next_cpu(cpu + 1))

/* Numbers of one class over all CPUs. The program's mallocs and frees, exactly:
 *     mallocs = pops - drained + direct_allocs + taken from shelves
 *     frees   = in stacks + pops - filled + direct_frees + given to shelves
 * read from one header each, so mallocs - frees is consistent even while they move. */
struct mal_cache_stats {
    uint64_t mallocs;
    uint64_t frees;
    uint64_t cached; /* objects in CPU caches now: stacks and shelves */
};
struct mal_cache_stats mal_cache_stats(uint32_t class);

/* Bytes of slabs that are populated. */
uint64_t mal_cache_slab_bytes(void);

/* What of them may be resident, an upper bound: their pages that something was ever granted in
 * since they were last given back. Any thread. */
uint64_t mal_cache_resident_bytes(void);

void mal_cache_before_fork(void);
void mal_cache_after_fork(void);

#endif
