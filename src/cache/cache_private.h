/* SPDX-License-Identifier: Apache-2.0
 *
 * What the parts of the per-CPU caches share: slab.c grants capacity, percpu_cache.c moves objects
 * when a stack is empty or full, shelf.c keeps freed samples, drain.c gives back, stats.c adds up.
 */
#ifndef MAL_CACHE_PRIVATE_H
#define MAL_CACHE_PRIVATE_H

#include "base/atomic.h"
#include "base/attr.h"
#include "cache/percpu_cache.h"
#include "meta/classes.h"
#include "os/lock.h"
#include "os/vm.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One CPU's slab; os/percpu.h has the layout and the proof of the fast half.
 *     granted_bytes = the sum over classes of (limit - first_slot) * size
 * Rule 1: restartable sequences of threads on that CPU, or `lock` in lock mode. Rule 2: `lock`
 * (rank CPU_CACHE), in both modes. */
struct mal_slab {
    uint64_t header[MAL_SLAB_CLASSES]; /* rule 1 */
    uint16_t limit[MAL_SLAB_CLASSES];  /* rule 2, as all below; read by the fast path */
    struct mal_lock lock;
    uint32_t populated; /* its CPU's bit once more, where lock mode's every call has it at hand;
                           slab.c, rule 3; acquire readers */
    uint32_t hand;      /* next class to look at for unused capacity */
    /* Bit i: OS page i may be resident. Relaxed readers. */
    uint64_t touched[MAL_SLAB_BYTES / MAL_VM_PAGE_BYTES_LEAST / 64];
    uint64_t granted_bytes;
    uint64_t seen[MAL_DRAIN_ALL][MAL_SLAB_CLASSES]; /* headers at the last drain of each kind */
    /* slots follow */
};

_Static_assert(offsetof(struct mal_slab, limit) == MAL_SLAB_LIMIT_OFFSET,
               "the fast path relies on it");
_Static_assert(MAL_CLASS_COUNT <= MAL_SLAB_CLASSES, "every class has a header");

struct mal_slabs {
    enum mal_percpu_mode mode;             /* constant after init */
    unsigned cpus;                         /* constant after init */
    uint16_t first_slot[MAL_SLAB_CLASSES]; /* the zero word below each class's slots; constant */
};
extern MAL_HIDDEN struct mal_slabs mal_slabs;

static inline struct mal_slab *mal_slab_of(unsigned cpu) {
    return (struct mal_slab *)(void *)(mal_percpu_slabs + (size_t)cpu * MAL_SLAB_BYTES);
}

static inline uint32_t mal_slab_capacity(const struct mal_slab *slab, uint32_t class) {
    return (uint32_t)slab->limit[class] - mal_slabs.first_slot[class];
}

static inline uint64_t mal_slab_header_top(uint64_t header) {
    return header & MAL_SLAB_TOP_MASK;
}

static inline uint32_t mal_slab_objects_below(uint64_t header, uint32_t class) {
    return (uint32_t)mal_slab_header_top(header) - mal_slabs.first_slot[class];
}

static inline uint32_t mal_slab_objects_in(struct mal_slab *slab, uint32_t class) {
    return mal_slab_objects_below(mal_load_relaxed(&slab->header[class]), class);
}

/* The CPU whose slab serves this thread; -1 for a thread that libc did not register. */
static inline int mal_cache_my_cpu(void) {
    return mal_slabs.mode == MAL_PERCPU_RSEQ ? mal_percpu_current()
                                             : (int)mal_percpu_ask_kernel(mal_slabs.cpus);
}

/* ---- slab.c ---- */

/* The slab of a CPU, locked, and set up if it was not. No lock above CPU_SLABS may be held. */
MAL_SLOW struct mal_slab *mal_slab_lock(unsigned cpu);
void mal_slab_set_capacity_locked(struct mal_slab *slab, uint32_t class, uint32_t capacity);

/* Makes it what the class holds. */
void mal_slab_fit_capacity_locked(struct mal_slab *slab, uint32_t class);
/* Grants a class more where its own limit and the budget allow. */
MAL_SLOW bool mal_slab_grow_locked(struct mal_slab *slab, uint32_t class);
/* Its slots are zero pages again: nothing is resident but what lies below the first of them, and in
 * its page. */
void mal_slab_untouch_locked(struct mal_slab *slab);

/* ---- percpu_cache.c ---- */

/* Lock mode: up to `most` objects off the top; returns how many. */
size_t mal_cache_pop_many_locked(struct mal_slab *slab, uint32_t class, void **ret_objects,
                                 size_t most);

/* ---- stats.c ---- */

/* Of one class; relaxed atomics. mal_cache_stats has the equations. */
struct mal_cache_counters {
    MAL_LINE_ALIGNED uint64_t direct_allocs; /* objects that went past the cache to the program */
    uint64_t direct_frees;                   /* objects that came back past the cache */
    uint64_t filled;                         /* pushes that were not frees */
    uint64_t drained;                        /* pops that were not mallocs */
};
extern MAL_HIDDEN struct mal_cache_counters mal_cache_counters[MAL_CLASS_COUNT];

/* What is about to move is counted as moved before it moves, and set right afterwards: a reader
 * between the two sees too few mallocs or frees, never too many (see mal_cache_stats). */
static inline void mal_cache_announce(uint64_t *counter, size_t count) {
    mal_add_relaxed(counter, count);
    __atomic_thread_fence(__ATOMIC_RELEASE);
}

/* ---- shelf.c ---- */

/* Gives back what lies on the CPU's shelf of the class, or only if the shelf was not used since the
 * last call of that kind. Any thread. */
void mal_shelf_drain(unsigned cpu, uint32_t class, enum mal_drain drain);

/* Of one class over all CPUs: ever taken, ever given, there now. Any thread. */
uint64_t mal_shelf_taken(uint32_t class);
uint64_t mal_shelf_given(uint32_t class);
uint64_t mal_shelf_objects(uint32_t class);

/* What of a slab may be resident. Any thread. */
uint64_t mal_slab_resident_bytes(const struct mal_slab *slab);

#endif
