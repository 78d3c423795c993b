/* SPDX-License-Identifier: Apache-2.0
 *
 * The slow paths of malloc and free.
 *
 * Path up: a request whose countdown is due first finds out what for (set-up, tick, sample), is
 * then served like any other, and if it was sampled (or is traced, front/object_trace.c) its state
 * byte says so from then on. Medium sizes pass through the CPU caches, larger ones do not
 * (front/large.c). Path down: a pointer at which no plain object starts, or one that begins like a
 * freed one, is sampled, large, wrong (front/pointer.c), or plain after all; a sampled one is
 * reported and then freed like any other, or waits as it is for the next sample of its class
 * (cache/shelf.h). What a sample touches was pushed out of the processor's caches since the last
 * one, so both ways do without its span's descriptor where they can.
 *
 * SYNCHRONIZATION: an object's state belongs to whoever owns the object. No lock is held here.
 *
 * Must never write into an object but its first word (meta/freed.h).
 */
#include "front/slow.h"

#include "base/bits.h"
#include "base/no_memory.h"
#include "cache/percpu_cache.h"
#include "cache/shelf.h"
#include "front/fast.h"
#include "front/lacking.h"
#include "front/large.h"
#include "front/pointer.h"
#include "front/record.h"
#include "front/stats.h"
#include "meta/freed.h"
#include "meta/pagemap.h"
#include "pageheap/pageheap.h"
#include "pageheap/states.h"

/* ---- path up ---- */

/* One object of a class, found wherever there is one, in use. */
static void *take(uint32_t class) {
    void *object = mal_percpu_pop(class);
    if (!object)
        return mal_alloc_miss(class);
    mal_unmark_freed(object);
    return object;
}

/* Whether the object's state byte may be written, from now on at the latest. The span is looked at
 * only where the page map does not say it: most spans have had a sample before. Acquire: who made
 * the array has written it before. */
static bool has_own_state(void *object) {
    uint64_t granule = mal_pagemap_granule(object);
    uint64_t entry = mal_load_acquire(&mal_pagemap.entry[granule >> MAL_GRANULES_PER_PAGE_SHIFT]);
    return mal_states_are_own(mal_entry_state(entry, granule)) ||
           mal_pageheap_own_states(mal_pagemap_span_at(object));
}

/* One that was a sample before and says so still: nobody's line is written (cache/shelf.c). */
MAL_FAST void *record_former_sample(void *object, uint32_t class, enum mal_due due, uint64_t rate) {
    mal_unmark_freed(object);
    if (!mal_record_alloc(object, mal_class[class].size_bytes, due, rate))
        mal_pagemap_say_start(object);
    return object;
}

/* What could not be recognised when it is freed is not recorded either. */
MAL_FAST void *take_and_record(uint32_t class, enum mal_due due, uint64_t rate) {
    bool wanted = due != MAL_DUE_NOTHING || mal_object_trace_is_on();
    void *former = wanted ? mal_shelf_take(class) : NULL;
    if (former)
        return record_former_sample(former, class, due, rate);
    void *object = take(class);
    if (object && wanted && has_own_state(object) &&
        mal_record_alloc(object, mal_class[class].size_bytes, due, rate))
        mal_pagemap_set_state(object, mal_state_sampled(mal_pagemap_granule(object)));
    return object;
}

/* A request by class whose countdown is due. Apart from those that are not, which need no registers
 * saved for it. */
static __attribute__((noinline)) void *alloc_due(uint32_t class) {
    uint64_t rate = 0;
    enum mal_due due = mal_thread_due(mal_class[class].size_bytes, &rate);
    return take_and_record(class, due, rate);
}

/* One that has not been charged yet. */
static void *alloc_class(uint32_t class) {
    bool is_due = mal_countdown_charge(&mal_thread.countdown, mal_class[class].size_bytes);
    return is_due ? alloc_due(class) : take(class);
}

void *mal_alloc_due(size_t bytes) {
    if (mal_is_initialised())
        return alloc_due(mal_class_for_small(bytes));
    /* The tables did not exist when the fast path looked the size up: nothing was charged. */
    return mal_init() ? alloc_class(mal_class_for_small(bytes)) : mal_no_memory();
}

void *mal_alloc_miss(uint32_t class) {
    void *object = mal_cache_alloc_slow(class);
    if (!object)
        return mal_no_memory();
    mal_unmark_freed(object);
    return object;
}

void *mal_alloc_big(size_t bytes) {
    if (!mal_is_initialised() && !mal_init())
        return mal_no_memory();
    if (bytes <= MAL_MEDIUM_MAX_BYTES)
        return alloc_class(mal_class_for(bytes));
    return mal_large_alloc(bytes, MAL_PAGE_BYTES);
}

void *mal_alloc_aligned_unusual(size_t bytes, size_t alignment) {
    if (!mal_is_initialised() && !mal_init())
        return mal_no_memory();
    uint32_t class = mal_class_for_aligned(bytes, alignment);
    if (class != 0)
        return alloc_class(class);
    return mal_large_alloc(bytes, mal_max(alignment, MAL_PAGE_BYTES));
}

/* ---- path down ---- */

void mal_free_full(void *object) {
    mal_cache_free_slow(mal_entry_class(mal_pagemap_entry(mal_pagemap_granule(object))), object);
}

static void free_plain(void *pointer, uint32_t class) {
    mal_mark_freed(pointer);
    if (!mal_percpu_push(class, pointer))
        mal_cache_free_slow(class, pointer);
}

static void free_sampled(void *pointer, uint32_t class) {
    mal_pagemap_say_start(pointer);
    mal_record_free(pointer, mal_class[class].size_bytes);
    free_plain(pointer, class);
}

/* False when the profile does not know it. It waits for the next sample where there is room. */
static bool free_sample(void *pointer, uint32_t class, uint64_t granule, uint8_t *state) {
    mal_init_check_fork();
    if (!mal_profile_free((uintptr_t)pointer, mal_class[class].size_bytes))
        return false;
    mal_mark_freed(pointer);
    if (mal_shelf_give(class, pointer))
        return true;
    mal_store_relaxed(state, mal_state_start(granule));
    free_plain(pointer, class);
    return true;
}

/* A plain object only begins like a freed one: one of 256 does where programs write what they like.
 * Neither it nor a sample needs a look at its span: the state byte says that one begins hereabouts,
 * and for a sample the profile knows where exactly. */
static bool free_by_state(void *pointer) {
    uint64_t granule = mal_pagemap_granule(pointer);
    if (!mal_pagemap_covers(granule))
        return false;
    uint64_t entry = mal_pagemap_entry(granule);
    uint8_t *state = mal_entry_state(entry, granule);
    uint8_t now = mal_load_relaxed(state);
    if (now == mal_state_sampled(granule) && !mal_object_trace_is_on())
        return free_sample(pointer, mal_entry_class(entry), granule, state);
    if (now != mal_state_start(granule) || mal_is_freed(pointer))
        return false;
    free_plain(pointer, mal_entry_class(entry));
    return true;
}

/* False for a pointer that is wrong, or another allocator's. */
static bool free_by_span(void *pointer) {
    struct mal_pointer_facts facts = mal_pointer_facts(pointer);
    if (facts.kind == MAL_POINTER_FOREIGN && mal_init_tolerates_foreign(pointer)) {
        mal_stats_count_foreign_free();
        return true;
    }
    if (facts.kind != MAL_POINTER_SAMPLED && facts.kind != MAL_POINTER_LARGE)
        return false;
    mal_init_check_fork();
    if (facts.kind == MAL_POINTER_LARGE)
        mal_large_free(facts.span);
    else
        free_sampled(pointer, facts.class);
    return true;
}

static bool free_ours(void *pointer) {
    return free_by_state(pointer) || free_by_span(pointer);
}

void mal_free_unusual(void *pointer) {
    if (pointer && !free_ours(pointer))
        mal_pointer_die(pointer, "free");
}

static void free_others(void *pointer) {
    if (mal_pointer_is_in_heap(pointer) || !mal_first_free(pointer))
        mal_pointer_die(pointer, "free");
}

void mal_delete_unusual(void *pointer) {
    if (pointer && !free_ours(pointer))
        free_others(pointer);
}

void mal_delete_shape_unusual(void *pointer) {
    if (pointer && !free_ours(pointer) && !mal_first_delete(pointer))
        free_others(pointer);
}

void mal_delete_array_shape_unusual(void *pointer) {
    if (pointer && !free_ours(pointer) && !mal_first_delete_array(pointer))
        free_others(pointer);
}
