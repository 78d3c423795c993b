/* SPDX-License-Identifier: Apache-2.0
 *
 * The fast path: what nearly every malloc and free is made of. One screen.
 *
 *     malloc   size -> class (one load), charge the countdown (one instruction), pop this CPU's
 *              stack, clear the object's first word
 *     free     page map entry (one load) -> class and state byte, which must say that an object
 *              starts here, and a plain one; it must not begin as a freed one does; its first
 *              word says that it is freed; push on this CPU's stack
 *
 * An aligned request is a malloc of a size whose class keeps the alignment. Every way out of these
 * leads into slow.c, by a tail call.
 */
#ifndef MAL_FRONT_FAST_H
#define MAL_FRONT_FAST_H

#include "cache/percpu_cache.h"
#include "front/slow.h"
#include "front/thread.h"
#include "meta/freed.h"
#include "meta/pagemap.h"
#include "os/countdown.h"

MAL_FAST void *mal_alloc(size_t bytes) {
    if (MAL_UNLIKELY(bytes > MAL_SMALL_MAX_BYTES))
        return mal_alloc_big(bytes);
    uint32_t small = mal_small[(bytes + 15) >> 4];
    if (MAL_UNLIKELY(mal_countdown_charge(&mal_thread.countdown, small >> 8)))
        return mal_alloc_due(bytes);
    void *object = mal_percpu_pop((uint8_t)small);
    if (MAL_UNLIKELY(!object))
        return mal_alloc_miss((uint8_t)small);
    mal_unmark_freed(object);
    return object;
}

/* `alignment` is a power of two above 16. Where the class that the size falls into has all its
 * objects so aligned, which is nearly always, an aligned object is a plain one. No bytes at all are
 * unusual, too: as the process's first request they would fit a table that is not filled yet. */
MAL_FAST void *mal_alloc_aligned(size_t bytes, size_t alignment) {
    if (MAL_UNLIKELY(bytes - 1 > MAL_SMALL_MAX_BYTES - MAL_PAGE_BYTES - 1 ||
                     alignment > MAL_PAGE_BYTES))
        return mal_alloc_aligned_unusual(bytes, alignment);
    size_t rounded = (bytes - 1 + alignment) & -alignment; /* never 0 */
    size_t size = mal_small[rounded >> 4] >> 8;            /* 0 before the tables are filled */
    if (MAL_UNLIKELY(size < rounded || size & (alignment - 1)))
        return mal_alloc_aligned_unusual(bytes, alignment);
    return mal_alloc(rounded);
}

/* `unusual` is a constant: mal_free_unusual, or one of delete's. */
MAL_FAST void mal_release_or(void *object, void (*unusual)(void *)) {
    uint64_t granule = mal_pagemap_granule(object);
    if (MAL_UNLIKELY(!mal_pagemap_covers(granule)))
        return unusual(object);
    uint64_t entry = mal_pagemap_entry(granule);
    uint8_t state = mal_load_relaxed(mal_entry_state(entry, granule));
    if (MAL_UNLIKELY(state != mal_state_start(granule) || mal_may_be_freed(object)))
        return unusual(object);
    mal_mark_freed(object);
    if (MAL_UNLIKELY(!mal_percpu_push(mal_entry_class(entry), object)))
        mal_free_full(object);
}

MAL_FAST void mal_release(void *object) {
    mal_release_or(object, mal_free_unusual);
}

MAL_FAST void mal_delete(void *object) {
    mal_release_or(object, mal_delete_unusual);
}

MAL_FAST void mal_delete_shape(void *object) {
    mal_release_or(object, mal_delete_shape_unusual);
}

MAL_FAST void mal_delete_array_shape(void *object) {
    mal_release_or(object, mal_delete_array_shape_unusual);
}

#endif
