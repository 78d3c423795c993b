/* SPDX-License-Identifier: Apache-2.0
 *
 * The fast path: what nearly every malloc and free is made of. One screen.
 *
 *     malloc   size -> class (one load), charge the countdown (one instruction), pop this CPU's
 *              stack, set the object's state byte
 *     free     page map entry (one load) -> class and state byte; the byte must say LIVE; clear it,
 *              push on this CPU's stack
 *
 * Each has exactly one way out, into slow.c.
 */
#ifndef MAL_FRONT_FAST_H
#define MAL_FRONT_FAST_H

#include "cache/percpu_cache.h"
#include "front/slow.h"
#include "front/thread.h"
#include "meta/pagemap.h"
#include "os/countdown.h"

/* The granule's low bits are those of the address: the window begins at a page. */
MAL_FAST void mal_mark_live(struct mal_slot slot) {
    uint64_t granule = (uintptr_t)slot.object >> MAL_GRANULE_SHIFT;
    mal_store_relaxed(slot.state, mal_state_live(granule));
}

MAL_FAST void *mal_alloc(size_t bytes) {
    if (MAL_UNLIKELY(bytes > MAL_SMALL_MAX_BYTES))
        return mal_alloc_big(bytes);
    uint32_t small = mal_small[(bytes + 15) >> 4];
    if (MAL_UNLIKELY(mal_countdown_charge(&mal_thread.countdown, small >> 8)))
        return mal_alloc_due(bytes);
    struct mal_slot slot = mal_percpu_pop((uint8_t)small);
    if (MAL_UNLIKELY(!slot.object))
        return mal_alloc_miss((uint8_t)small);
    mal_mark_live(slot);
    return slot.object;
}

MAL_FAST void mal_release(void *object) {
    uint64_t granule = mal_pagemap_granule(object);
    if (MAL_UNLIKELY(!mal_pagemap_covers(granule)))
        return mal_free_unusual(object);
    uint64_t entry = mal_pagemap_entry(granule);
    struct mal_slot slot = {object, mal_entry_state(entry, granule)};
    if (MAL_UNLIKELY(mal_load_relaxed(slot.state) != mal_state_live(granule)))
        return mal_free_unusual(object);
    mal_store_relaxed(slot.state, (uint8_t)0);
    if (MAL_UNLIKELY(!mal_percpu_push(mal_entry_class(entry), slot)))
        mal_free_full(object);
}

#endif
