/* SPDX-License-Identifier: Apache-2.0
 *
 * Where the state bytes of a span's objects lie (meta/pagemap.h says what they mean).
 *
 * Spans begin at pages, so the granules of object starts have the same low bits in every span of a
 * class: what says "an object starts here" is one array per class, filled once and never written
 * again. All CPUs may keep its lines, however often objects come and go; a byte per object that
 * malloc and free write would make neighbours on other CPUs wait for each other. Only a span in
 * which an object is sampled, or whose free memory goes back to the OS (central/holes.c), gets an
 * array of its own, a copy in which bytes may differ; it keeps it until it ends.
 *
 *     bytes of a span's array = pages * (granules per page >> shift), in units of a cache line
 *
 * SYNCHRONIZATION: shared arrays are constant after mal_states_init. The pools and which array a
 * span has belong to the page heap's lock; `state_units` is stored (release) when all entries lead
 * to the span's own, so who finds it set (acquire) may write there. Who reads a page's entry while
 * the span moves to its own array finds the one or the other; both say the same of every object in
 * use but the one whose sampling is the reason, and that is not in anybody's hands yet. Of free
 * objects the span's own may say that nothing starts there, but only a wrong pointer leads to one.
 *
 * Must never change what a shared array says.
 */
#include "pageheap/states.h"

#include "base/atomic.h"
#include "base/bits.h"
#include "base/check.h"
#include "meta/classes.h"
#include "meta/memory.h"
#include "meta/pagemap.h"
#include "os/vm.h"

#include <errno.h>

#define UNIT_BYTES 64u
#define UNITS_MAX 32u

struct mal_states_shared mal_states_shared;
static uint8_t *shared[MAL_CLASS_COUNT];        /* constant after init */
static struct mal_pool own_pool[UNITS_MAX + 1]; /* by units; [0] unused; page heap's lock */

static unsigned units_of(uint32_t class) {
    unsigned per_page =
        (1u << MAL_GRANULES_PER_PAGE_SHIFT) >> mal_class_state_shift(mal_class[class].size_bytes);
    return (unsigned)mal_round_up(mal_class[class].span_pages * per_page, UNIT_BYTES) / UNIT_BYTES;
}

/* Every object's start, in a span that begins at granule 0. */
static void fill(uint8_t *states, const struct mal_class_info *info) {
    unsigned shift = mal_class_state_shift(info->size_bytes);
    uint64_t step = info->size_bytes >> MAL_GRANULE_SHIFT;
    for (uint64_t i = 0; i < info->span_objects; i++)
        states[i * step >> shift] = mal_state_start(i * step);
}

int mal_states_init(void) {
    size_t units = 0;
    for (uint32_t class = 1; class < MAL_CLASS_COUNT; class ++)
        units += units_of(class);
    uint8_t *next = mal_meta_alloc(units * UNIT_BYTES, MAL_META_SPAN);
    if (!next)
        return -ENOMEM;
    mal_states_shared = (struct mal_states_shared){(uintptr_t)next, units * UNIT_BYTES};
    for (uint32_t class = 1; class < MAL_CLASS_COUNT; class ++) {
        MAL_CHECK(mal_class[class].span_pages <=
                      MAL_SPAN_HOLES_MAX * MAL_VM_PAGE_BYTES_LEAST / MAL_PAGE_BYTES,
                  "a class span has a bit for each of its OS pages");
        shared[class] = next;
        fill(next, &mal_class[class]);
        next += units_of(class) * UNIT_BYTES;
    }
    for (unsigned i = 1; i <= UNITS_MAX; i++)
        own_pool[i] = (struct mal_pool)MAL_POOL_INIT(i * UNIT_BYTES, MAL_META_SPAN);
    return 0;
}

/* Atomic stores, because a reader may follow an entry here that it has loaded relaxed: it finds
 * what was stored before, since its second address comes from its first load. */
static void copy(uint8_t *to, const uint8_t *from, size_t bytes) {
    for (size_t at = 0; at < bytes; at++)
        mal_store_relaxed(&to[at], from[at]);
}

/* What an array says is complete before an entry leads to it. */
static void enter(struct mal_span *span, uint8_t *states) {
    size_t first = mal_pagemap_page(span->base);
    unsigned shift = mal_class_state_shift(mal_class[span->class].size_bytes);
    size_t page_bytes = (size_t)(1u << MAL_GRANULES_PER_PAGE_SHIFT) >> shift;
    span->states = states;
    for (size_t i = 0; i < span->pages; i++)
        mal_store_release(&mal_pagemap.entry[first + i],
                          mal_entry_make(span->class, shift, states + i * page_bytes, first + i));
}

void mal_states_share_locked(struct mal_span *span) {
    enter(span, shared[span->class]);
}

bool mal_states_own_locked(struct mal_span *span) {
    if (mal_states_own_bytes(span) > 0)
        return true;
    unsigned units = units_of(span->class);
    uint8_t *own = mal_pool_take(&own_pool[units]);
    if (!own)
        return false;
    copy(own, shared[span->class], units * UNIT_BYTES);
    enter(span, own);
    mal_store_release(&span->state_units, (uint16_t)units);
    return true;
}

void mal_states_drop_locked(struct mal_span *span) {
    if (mal_states_own_bytes(span) > 0)
        mal_pool_give(&own_pool[span->state_units], span->states);
}

size_t mal_states_own_bytes(const struct mal_span *span) {
    return (size_t)span->state_units * UNIT_BYTES;
}
