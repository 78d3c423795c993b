/* SPDX-License-Identifier: Apache-2.0
 *
 * What specials, pools and arenas need of the heap, the marker and the world: one table, so that
 * they work before there is a collector (pools of malloc'd items never start one) and can be run
 * against a model of it.
 */
#ifndef MAL_GC_COLLECTOR_H
#define MAL_GC_COLLECTOR_H

#include "base/atomic.h"
#include "base/attr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mal_gc_worker;
struct mal_span;

struct mal_gc_collector {
    /* The object that holds the address; see gc/heap.h. */
    bool (*find)(uintptr_t address, uintptr_t *ret_object, size_t *ret_bytes);
    /* A zeroed object without pointers, or NULL. No lock held. */
    void *(*new_noscan)(size_t bytes);
    /* Grows when a mark ends, with the world stopped. */
    uint32_t (*turn)(void);
    /* The object's mark, which is set for what lives on until its span is swept. */
    bool (*is_marked)(uintptr_t object);

    /* Constant inside a critical section. */
    bool (*is_marking)(void);
    void (*shade)(const void *pointer); /* while marking, from a thread of the program */
    struct mal_gc_worker *(*worker_take)(void);
    void (*worker_give)(struct mal_gc_worker *worker);
    void (*mark_word)(struct mal_gc_worker *worker, uintptr_t word);
    void (*mark_range)(struct mal_gc_worker *worker, uintptr_t low, uintptr_t high);
    /* A range of so many bytes was marked that counts as the heap's, and not as globals. */
    void (*note_scanned)(uint64_t bytes);
    /* Marks what the object's pointers within [low, high) lead to, and not the object. */
    void (*mark_contents)(struct mal_gc_worker *worker, uintptr_t object, uintptr_t low,
                          uintptr_t high);

    /* A chunk of an arena: a span with one object without pointers, allocated for ever, that the
     * sweeper never meets. NULL when memory is short. Then whether a word led into it in this
     * cycle, and the next begins anew. No lock of a rank above GC_ARENAS held. */
    struct mal_span *(*chunk_new)(size_t bytes);
    bool (*chunk_take_mark)(struct mal_span *span);
    void (*chunk_free)(struct mal_span *span);
    /* A new chunk counts as live from chunk_new on. Then, once it is on a list, it is sampled and
     * paid for: outside critical sections, no lock held. */
    void (*chunk_charge)(struct mal_span *span);
    /* The program has given it up: it counts no longer. In a critical section, no lock held. */
    void (*chunk_end)(struct mal_span *span);
    /* World stopped, marking complete: nor does a mark that a word into a given-up chunk has set.
     * The mark stays. */
    void (*chunk_discount)(struct mal_span *span);

    /* The calling thread, born with all signals blocked, is one of the program's from here on:
     * registered, and the stop signal unblocked. */
    void (*become_program)(void);
    void (*blocking_begin)(void);
    void (*blocking_end)(void);
};

/* Written once, with release, before the first object of the collected heap is handed out. NULL
 * until then: nothing is marked, nothing is a collected object. */
extern MAL_HIDDEN const struct mal_gc_collector *mal_gc_collector;

void mal_gc_collector_install(const struct mal_gc_collector *collector);

static inline const struct mal_gc_collector *mal_gc_collector_get(void) {
    return mal_load_acquire(&mal_gc_collector);
}

/* Inside a critical section. */
static inline bool mal_gc_collector_is_marking(void) {
    const struct mal_gc_collector *collector = mal_gc_collector_get();
    return collector && collector->is_marking();
}

/* While marking, keeps alive what is about to be stored where nobody looks again. Inside a critical
 * section that the store lies in too. */
static inline void mal_gc_collector_shade(const void *pointer) {
    if (mal_gc_collector_is_marking())
        mal_gc_collector_get()->shade(pointer);
}

#endif
