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

MAL_FAST void mal_mark_live(void *object) {
    uint64_t granule = ((uintptr_t)object - mal_pagemap.base) >> MAL_GRANULE_SHIFT;
    uint8_t *state = mal_entry_state(mal_pagemap_entry(granule), granule);
    mal_store_relaxed(state, mal_state_live(granule));
}

MAL_FAST void *mal_alloc(size_t bytes) {
    if (MAL_UNLIKELY(bytes > MAL_SMALL_MAX_BYTES))
        return mal_alloc_big(bytes);
    uint32_t class = mal_class_for_small(bytes);
    if (MAL_UNLIKELY(mal_countdown_charge(&mal_thread.countdown, mal_class[class].size_bytes)))
        return mal_alloc_due(bytes);
    void *object = mal_percpu_pop(class);
    if (MAL_UNLIKELY(!object))
        return mal_alloc_miss(class);
    mal_mark_live(object);
    return object;
}

MAL_FAST void mal_release(void *object) {
    uint64_t granule = mal_pagemap_granule(object);
    if (MAL_UNLIKELY(!mal_pagemap_covers(granule)))
        return mal_free_unusual(object);
    uint64_t entry = mal_pagemap_entry(granule);
    uint32_t class = mal_entry_class(entry);
    if (MAL_UNLIKELY(class - 1 >= MAL_CLASS_COUNT - 1))
        return mal_free_unusual(object);
    uint8_t *state = mal_entry_state(entry, granule);
    if (MAL_UNLIKELY(mal_load_relaxed(state) != mal_state_live(granule)))
        return mal_free_unusual(object);
    mal_store_relaxed(state, (uint8_t)0);
    if (MAL_UNLIKELY(!mal_percpu_push(class, object)))
        mal_cache_free_slow(class, object);
}

#endif
