/* SPDX-License-Identifier: Apache-2.0
 *
 * The slow paths of malloc and free.
 *
 * Path up: a request whose countdown is due first finds out what for (set-up, tick, sample), is
 * then served like any other, and if it was sampled (or is traced, front/object_trace.c) its state
 * byte says so from then on. Medium sizes pass through the CPU caches; above that an object is a
 * span of its own. Path down: a pointer at which no plain object starts, or one that begins like a
 * freed one, is sampled, large, wrong, or plain after all; a sampled one is reported and then freed
 * like any other, or waits as it is for the next sample of its class (cache/shelf.h). What a sample
 * touches was pushed out of the processor's caches since the last one, so both ways do without its
 * span's descriptor where they can.
 *
 * A large object's `sampled` mark lies in its span, because it has no state byte.
 *
 * SYNCHRONIZATION: an object's state belongs to whoever owns the object. No lock is held here.
 *
 * Must never write into an object but its first word (meta/freed.h), and never let a wrong pointer
 * pass: corruption that stops the program with a sentence is better than corruption that does not.
 */
#include "front/slow.h"
#include "front/lacking.h"

#include "base/bits.h"
#include "base/check.h"
#include "cache/percpu_cache.h"
#include "cache/shelf.h"
#include "central/central.h"
#include "front/fast.h"
#include "front/init.h"
#include "front/object_trace.h"
#include "front/stats.h"
#include "front/thread.h"
#include "meta/freed.h"
#include "meta/pagemap.h"
#include "pageheap/pageheap.h"
#include "pageheap/scavenger.h"
#include "pageheap/states.h"
#include "sample/profile.h"

#include <errno.h>
#include <string.h>

/* ---- path up ---- */

static bool record(void *object, uint64_t size_bytes, enum mal_due due, uint64_t rate) {
    mal_init_check_fork();
    if (due == MAL_DUE_OWN)
        return mal_profile_own_alloc((uintptr_t)object, size_bytes);
    mal_thread.flags |= MAL_THREAD_BUSY;
    bool recorded = mal_profile_alloc((uintptr_t)object, size_bytes, rate, MAL_BOX_KIND_MALLOC);
    mal_thread.flags &= (uint8_t)~MAL_THREAD_BUSY;
    return recorded;
}

static void *fail(void) {
    errno = ENOMEM;
    return NULL;
}

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

/* Whether the object's free is to be noticed. */
static bool record_or_show(void *object, uint64_t size_bytes, enum mal_due due, uint64_t rate) {
    bool sampled = due != MAL_DUE_NOTHING && record(object, size_bytes, due, rate);
    return mal_object_trace_alloc(object, size_bytes) || sampled;
}

/* One that was a sample before and says so still: nobody's line is written (cache/shelf.c). */
static void *record_former_sample(void *object, uint32_t class, enum mal_due due, uint64_t rate) {
    mal_unmark_freed(object);
    if (!record_or_show(object, mal_class[class].size_bytes, due, rate))
        mal_pagemap_say_start(object);
    return object;
}

/* What could not be recognised when it is freed is not recorded either. */
static void *take_and_record(uint32_t class, enum mal_due due, uint64_t rate) {
    bool wanted = due != MAL_DUE_NOTHING || mal_object_trace_is_on();
    void *former = wanted ? mal_shelf_take(class) : NULL;
    if (former)
        return record_former_sample(former, class, due, rate);
    void *object = take(class);
    if (object && wanted && has_own_state(object) &&
        record_or_show(object, mal_class[class].size_bytes, due, rate))
        mal_pagemap_set_state(object, mal_state_sampled(mal_pagemap_granule(object)));
    return object;
}

/* A request by class that has not been charged yet. */
static void *alloc_class(uint32_t class) {
    uint64_t size = mal_class[class].size_bytes;
    uint64_t rate = 0;
    if (!mal_countdown_charge(&mal_thread.countdown, size))
        return take(class);
    enum mal_due due = mal_thread_due(size, &rate);
    return take_and_record(class, due, rate);
}

void *mal_alloc_due(size_t bytes) {
    uint64_t rate = 0;
    if (!mal_is_initialised()) {
        if (!mal_init())
            return fail();
        /* The tables did not exist when the fast path looked the size up: nothing was charged. */
        return alloc_class(mal_class_for_small(bytes));
    }
    uint32_t class = mal_class_for_small(bytes);
    enum mal_due due = mal_thread_due(mal_class[class].size_bytes, &rate);
    return take_and_record(class, due, rate);
}

void *mal_alloc_miss(uint32_t class) {
    void *object = mal_cache_alloc_slow(class);
    if (!object)
        return fail();
    mal_unmark_freed(object);
    return object;
}

/* A large object has come to be, or has changed its size: counts and charges it as it is now. */
static void count_and_charge_large(struct mal_span *span) {
    uint64_t rate = 0;
    enum mal_due due = MAL_DUE_NOTHING;
    uint64_t size = (uint64_t)span->pages << MAL_PAGE_SHIFT;
    mal_stats_count_large(size);
    if (mal_countdown_charge(&mal_thread.countdown, size))
        due = mal_thread_due(size, &rate);
    bool sampled = due != MAL_DUE_NOTHING && record(span->base, size, due, rate);
    span->sampled = mal_object_trace_alloc(span->base, size) || sampled;
}

/* Before the heap grows for a large object, spans that hold nothing make room; then what lies free
 * in others. A request that can never be served costs nobody his memory. */
static struct mal_span *new_large(size_t bytes, size_t alignment) {
    if (!mal_pageheap_could_hold(bytes, alignment))
        return NULL;
    struct mal_span *span = mal_pageheap_new_large_span(bytes, alignment, MAL_GROWTH_REFUSED);
    for (unsigned step = 0; !span && step < MAL_CENTRAL_ROOM_STEPS; step++)
        span = mal_pageheap_new_large_span(bytes, alignment, mal_central_make_room(step, bytes));
    return span;
}

static void *alloc_large(size_t bytes, size_t alignment) {
    struct mal_span *span = new_large(bytes, alignment);
    if (!span)
        return fail();
    mal_scavenger_swap();
    mal_cache_keep_limit();
    count_and_charge_large(span);
    return span->base;
}

void *mal_alloc_big(size_t bytes) {
    if (bytes > PTRDIFF_MAX || (!mal_is_initialised() && !mal_init()))
        return fail();
    if (bytes <= MAL_MEDIUM_MAX_BYTES)
        return alloc_class(mal_class_for(bytes));
    return alloc_large(bytes, MAL_PAGE_BYTES);
}

void *mal_alloc_aligned_unusual(size_t bytes, size_t alignment) {
    if (bytes > PTRDIFF_MAX || alignment > PTRDIFF_MAX || (!mal_is_initialised() && !mal_init()))
        return fail();
    uint32_t class = mal_class_for_aligned(bytes, alignment);
    if (class != 0)
        return alloc_class(class);
    return alloc_large(bytes, mal_max(alignment, MAL_PAGE_BYTES));
}

bool mal_alloc_is_zeroed(const void *object) {
    uint64_t granule = mal_pagemap_granule(object);
    if (mal_entry_class(mal_pagemap_entry(granule)) != MAL_CLASS_LARGE)
        return false;
    return mal_pagemap_span_at(object)->flags & MAL_SPAN_ZEROED;
}

/* ---- what a pointer is ---- */

/* What the page map knows of a pointer. */
enum pointer_kind { FOREIGN, INTERIOR, FREED, LIVE, SAMPLED, LARGE, COLLECTED };
struct pointer_facts {
    enum pointer_kind kind;
    struct mal_span *span; /* NULL when FOREIGN */
    uint32_t class;
};

static enum pointer_kind kind_in_class_span(const void *pointer, const struct mal_span *span) {
    uint64_t offset = (uint64_t)((const char *)pointer - span->base);
    uint32_t size = mal_class[span->class].size_bytes;
    if (offset % size != 0 || offset / size >= span->object_count)
        return INTERIOR;
    uint8_t state = mal_load_relaxed(mal_pagemap_state(pointer));
    if ((!mal_state_is_start(state) && !mal_state_is_sampled(state)) || mal_is_freed(pointer))
        return FREED;
    return mal_state_is_sampled(state) ? SAMPLED : LIVE;
}

static struct pointer_facts facts_of(const void *pointer) {
    struct mal_span *span = mal_is_initialised() ? mal_pagemap_span_of(pointer) : NULL;
    if (!span)
        return (struct pointer_facts){FOREIGN, NULL, 0};
    if (span->class == MAL_CLASS_GC)
        return (struct pointer_facts){COLLECTED, span, MAL_CLASS_GC};
    if (span->class != MAL_CLASS_LARGE)
        return (struct pointer_facts){kind_in_class_span(pointer, span), span, span->class};
    enum pointer_kind kind = pointer == span->base ? LARGE : INTERIOR;
    return (struct pointer_facts){kind, span, MAL_CLASS_LARGE};
}

static bool lies_in_heap(const void *pointer) {
    return (uintptr_t)pointer - mal_pagemap.base < mal_pagemap.extent_granules << MAL_GRANULE_SHIFT;
}

/* What it is called when a freed object is handed in again. */
static const char *fault_of_freed(const char *what) {
    return strcmp(what, "free") == 0 ? "double free" : "use after free";
}

/* Pages that hold no span were given out once, or never: a pointer there was freed long ago. A
 * pointer outside the heap may come from an allocator that was there before us. */
static void misuse_outside_spans(const void *pointer, const char *what) {
    if (lies_in_heap(pointer))
        mal_die("%s(%p): %s: no object is there any more", what, pointer, fault_of_freed(what));
    mal_die("%s(%p): foreign pointer: Mallard never gave it out", what, pointer);
}

/* Ends the process with the sentence for what is wrong with the pointer. */
MAL_SLOW static void misuse(const void *pointer, const char *what) {
    struct pointer_facts facts = facts_of(pointer);
    const struct mal_span *span = facts.span;
    if (!span)
        misuse_outside_spans(pointer, what);
    if (facts.kind == COLLECTED)
        mal_die("%s(%p): object of the collected heap: use mallard_gc_free", what, pointer);
    if (facts.class == MAL_CLASS_LARGE)
        mal_die("%s(%p): interior pointer: %zu bytes into an object of %zu bytes", what, pointer,
                (size_t)((const char *)pointer - span->base),
                (size_t)span->pages << MAL_PAGE_SHIFT);
    uint32_t size = mal_class[facts.class].size_bytes;
    if (facts.kind == INTERIOR)
        mal_die("%s(%p): interior pointer: %zu bytes into an object of size class %u", what,
                pointer, (size_t)((const char *)pointer - span->base) % size, size);
    mal_die("%s(%p): %s of an object of size class %u", what, pointer, fault_of_freed(what), size);
}

/* ---- path down ---- */

/* An object that is only marked because it is traced is not known to the profile. */
static void report_free(void *object, uint64_t size_bytes) {
    mal_object_trace_free(object, size_bytes);
    mal_profile_free((uintptr_t)object, size_bytes);
}

static void free_large(struct mal_span *span) {
    uint64_t size = (uint64_t)span->pages << MAL_PAGE_SHIFT;
    if (span->sampled)
        report_free(span->base, size);
    mal_stats_uncount_large(size);
    mal_pageheap_free_span(span);
    mal_scavenger_swap();
}

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
    report_free(pointer, mal_class[class].size_bytes);
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
    struct pointer_facts facts = facts_of(pointer);
    if (facts.kind == FOREIGN && mal_init_tolerates_foreign(pointer)) {
        mal_stats_count_foreign_free();
        return true;
    }
    if (facts.kind != SAMPLED && facts.kind != LARGE)
        return false;
    mal_init_check_fork();
    facts.kind == LARGE ? free_large(facts.span) : free_sampled(pointer, facts.class);
    return true;
}

void mal_free_unusual(void *pointer) {
    if (pointer && !free_by_state(pointer) && !free_by_span(pointer))
        misuse(pointer, "free");
}

void mal_delete_unusual(void *pointer) {
    if (pointer && !free_by_state(pointer) && !free_by_span(pointer) &&
        (lies_in_heap(pointer) || !mal_first_free(pointer)))
        misuse(pointer, "free");
}

/* Size of a plain object in use; 0 for any other pointer. */
static size_t size_if_live(const void *pointer) {
    uint64_t granule = mal_pagemap_granule(pointer);
    if (!mal_pagemap_covers(granule))
        return 0;
    uint64_t entry = mal_pagemap_entry(granule);
    bool starts = mal_load_relaxed(mal_entry_state(entry, granule)) == mal_state_start(granule);
    return starts && !mal_is_freed(pointer) ? mal_class[mal_entry_class(entry)].size_bytes : 0;
}

size_t mal_usable_bytes(const void *pointer, const char *what) {
    size_t size_bytes = size_if_live(pointer);
    if (size_bytes > 0 || !pointer)
        return size_bytes;
    struct pointer_facts facts = facts_of(pointer);
    if (facts.kind == LIVE || facts.kind == SAMPLED)
        return mal_class[facts.class].size_bytes;
    if (facts.kind != LARGE)
        misuse(pointer, what);
    return (size_t)facts.span->pages << MAL_PAGE_SHIFT;
}

/* Counts as freed and allocated anew: a sampled object's size is part of its bucket, and what grows
 * in place would otherwise never be sampled. */
bool mal_resize_in_place(void *pointer, size_t bytes) {
    struct pointer_facts facts = facts_of(pointer);
    if (facts.kind != LARGE || bytes <= MAL_MEDIUM_MAX_BYTES)
        return false;
    uint64_t before = (uint64_t)facts.span->pages << MAL_PAGE_SHIFT;
    if (!mal_pageheap_resize_large(facts.span, bytes))
        return false;
    mal_cache_keep_limit();
    if ((uint64_t)facts.span->pages << MAL_PAGE_SHIFT != before) {
        if (facts.span->sampled)
            report_free(pointer, before);
        count_and_charge_large(facts.span);
        mal_stats_uncount_large(before);
        mal_scavenger_swap();
    }
    return true;
}

enum mal_move mal_move_pages(void *to, void *from) {
    struct pointer_facts source = facts_of(from);
    struct pointer_facts target = facts_of(to);
    if (source.kind != LARGE || target.kind != LARGE)
        return MAL_MOVE_REFUSED;
    return mal_move_large(source.span, target.span);
}
