/* SPDX-License-Identifier: Apache-2.0
 *
 * Spans of the collected heap.
 *
 * Path up: pages from the page heap, where room between spans is tried first, then what spans of
 * malloc can give up, then growth; the tables are extended, then the span is entered in them. Path
 * down: a span without objects is removed from the tables and its pages go back.
 *
 * SYNCHRONIZATION
 *   1. A listed span belongs to its class's lock, one that is on no list to whoever took it off.
 *   2. Whoever takes a span off a list puts it back, or into a thread's cache, inside a structural
 *      section. The gate counts them: adding to the count and finding it shut means leaving again
 *      and waiting, so once the one who shut it has read 0 nobody is inside, and none gets in. All
 *      of the gate is sequentially consistent: two variables would not do with less, but it is one.
 *
 * Must never give pages back while phase == MARK: a queued pointer may lead into them.
 */
#include "gc/spans.h"

#include "base/bits.h"
#include "base/check.h"
#include "central/central.h"
#include "meta/pagemap.h"
#include "os/futex.h"
#include "pageheap/pageheap.h"

struct mal_gc_central mal_gc_central[MAL_GC_SPAN_CLASSES] = {
    [0 ... MAL_GC_SPAN_CLASSES - 1] = {.lock = MAL_LOCK_INIT(MAL_RANK_GC_SPANS)}};
struct mal_gc_totals mal_gc_totals;
uint32_t mal_gc_turn;

/* ---- the gate ---- */

#define GATE_SHUT 0x80000000u

static uint32_t gate; /* atomic: threads inside, and GATE_SHUT */

static void gate_leave(void) {
    if (__atomic_sub_fetch(&gate, 1, __ATOMIC_SEQ_CST) == GATE_SHUT)
        mal_futex_wake(&gate, INT32_MAX);
}

void mal_gc_gate_enter(void) {
    if (mal_lock_holds_all)
        return;
    while (__atomic_add_fetch(&gate, 1, __ATOMIC_SEQ_CST) & GATE_SHUT) {
        gate_leave();
        uint32_t seen = mal_load_relaxed(&gate);
        if (seen & GATE_SHUT)
            mal_futex_wait(&gate, seen, MAL_FUTEX_FOREVER);
    }
}

void mal_gc_gate_leave(void) {
    if (!mal_lock_holds_all)
        gate_leave();
}

void mal_gc_gate_shut(void) {
    uint32_t seen = __atomic_or_fetch(&gate, GATE_SHUT, __ATOMIC_SEQ_CST);
    while (seen != GATE_SHUT) {
        mal_futex_wait(&gate, seen, MAL_FUTEX_FOREVER);
        seen = __atomic_load_n(&gate, __ATOMIC_SEQ_CST);
    }
}

void mal_gc_gate_open(void) {
    __atomic_and_fetch(&gate, ~GATE_SHUT, __ATOMIC_SEQ_CST);
    mal_futex_wake(&gate, INT32_MAX);
}

void mal_gc_gate_forget(void) {
    mal_store_relaxed(&gate, 0u);
}

/* ---- lists ---- */

void mal_gc_list_put(struct mal_gc_central *central, struct mal_span *span, enum mal_gc_list list) {
    unsigned at = list + (mal_gc_turn & 1);
    struct mal_span **head = &central->list[at];
    MAL_ASSERT(span->list == MAL_GC_NONE && list != MAL_GC_NONE);
    span->previous = NULL;
    span->next = *head;
    if (*head)
        (*head)->previous = span;
    *head = span;
    span->list = (uint8_t)at;
}

void mal_gc_list_remove(struct mal_gc_central *central, struct mal_span *span) {
    MAL_ASSERT(span->list != MAL_GC_NONE);
    if (span->previous)
        span->previous->next = span->next;
    else
        central->list[span->list] = span->next;
    if (span->next)
        span->next->previous = span->previous;
    span->next = span->previous = NULL;
    span->list = MAL_GC_NONE;
}

static struct mal_span *pop(struct mal_gc_central *central, unsigned at) {
    struct mal_span *span = central->list[at];
    if (span)
        mal_gc_list_remove(central, span);
    return span;
}

struct mal_span *mal_gc_list_pop_partial(struct mal_gc_central *central) {
    return pop(central, MAL_GC_PARTIAL + (mal_gc_turn & 1));
}

struct mal_span *mal_gc_list_pop_unswept(struct mal_gc_central *central) {
    unsigned other = ~mal_gc_turn & 1;
    struct mal_span *span = pop(central, MAL_GC_PARTIAL + other);
    return span ? span : pop(central, MAL_GC_FULL + other);
}

bool mal_gc_span_is_unswept(const struct mal_span *span) {
    return span->list != MAL_GC_NONE && ((span->list - MAL_GC_PARTIAL) & 1) != (mal_gc_turn & 1);
}

/* ---- spans ---- */

static struct mal_span *obtain(size_t pages) {
    if (!mal_pageheap_could_hold((uint64_t)pages << MAL_PAGE_SHIFT, MAL_PAGE_BYTES))
        return NULL;
    struct mal_span *span = mal_pageheap_new_gc_span(pages, MAL_GROWTH_REFUSED);
    for (unsigned step = 0; !span && step < MAL_CENTRAL_ROOM_STEPS; step++)
        span = mal_pageheap_new_gc_span(
            pages, mal_central_make_room(step, (uint64_t)pages << MAL_PAGE_SHIFT));
    return span;
}

static void describe(struct mal_span *span, unsigned span_class, uint64_t bytes) {
    const struct mal_gc_class *info = &mal_gc_class[span_class >> 1];
    bool large = span_class >> 1 == MAL_GC_CLASS_LARGE;
    span->object_count = large ? 1 : (uint16_t)info->objects;
    span->list = MAL_GC_NONE;
    span->gc = (struct mal_span_gc){
        .object_bytes = large ? bytes : info->size_bytes,
        .free_count = span->object_count,
        .span_class = (uint8_t)span_class,
    };
}

struct mal_span *mal_gc_span_new(unsigned span_class, uint64_t bytes) {
    bool large = span_class >> 1 == MAL_GC_CLASS_LARGE;
    size_t pages =
        large ? mal_ceil_div(bytes, MAL_PAGE_BYTES) : mal_gc_class[span_class >> 1].span_pages;
    struct mal_span *span = obtain(pages);
    if (!span)
        return NULL;
    if (mal_gc_tables_extend(mal_gc_span_offset(span) + mal_span_bytes(span)) != 0) {
        mal_pageheap_free_span(span);
        return NULL;
    }
    describe(span, span_class, mal_span_bytes(span));
    mal_gc_tables_enter(mal_gc_span_offset(span), pages, span_class);
    mal_add_relaxed(&mal_gc_totals.inuse_pages, pages);
    return span;
}

void mal_gc_span_free(struct mal_span *span) {
    MAL_CHECK(mal_gc_phase == MAL_GC_OFF, "a collected span was freed while marking");
    MAL_ASSERT(mal_gc_span_count(span) == 0 && span->list == MAL_GC_NONE);
    mal_sub_relaxed(&mal_gc_totals.inuse_pages, span->pages);
    mal_gc_tables_remove(mal_gc_span_offset(span), span->pages);
    mal_pageheap_free_span(span);
}

uint32_t mal_gc_span_count(const struct mal_span *span) {
    const struct mal_gc_line *line = mal_gc_line_at(mal_gc_span_offset(span));
    if (span->gc.span_class >> 1 == MAL_GC_CLASS_LARGE)
        return mal_load_relaxed(&line->alloc) & 1;
    uint32_t count = 0;
    for (size_t i = 0; i < span->pages * MAL_GC_WINDOWS_PER_PAGE; i++)
        count += mal_popcount(mal_load_relaxed(&line[i].alloc));
    return count;
}

void mal_gc_span_put_back(struct mal_span *span) {
    struct mal_gc_central *central = &mal_gc_central[span->gc.span_class];
    mal_lock(&central->lock);
    mal_store_relaxed(&span->gc.free_count, span->object_count - mal_gc_span_count(span));
    bool empty = span->gc.free_count == span->object_count && mal_gc_phase == MAL_GC_OFF;
    if (!empty)
        mal_gc_list_put(central, span, span->gc.free_count > 0 ? MAL_GC_PARTIAL : MAL_GC_FULL);
    mal_unlock(&central->lock);
    if (empty)
        mal_gc_span_free(span);
}
