/* SPDX-License-Identifier: Apache-2.0
 *
 * The page map: from any address to what lies there, in one load.
 *
 * The heap grows inside one window of addresses, [base, base + window). Page n is the 8 KiB at
 * base + n * MAL_PAGE_BYTES. Two flat tables are indexed by page:
 *
 *     entry[n]   states << 16 | class << 8 | shift
 *                class   class byte of the page (meta/classes.h)
 *                shift   granules per state byte, as a power of two
 *                states  address of the state byte of the page's first granule, less the number of
 *                        that granule >> shift; 48 bits. It is never negative: tables lie far
 *                        above the number of any granule
 *     span[n]    the span descriptor, for all pages of a span but those INSIDE a large object;
 *                of no use where the class is NONE or INSIDE
 *
 * So the state byte of an object is at states + (its granule >> shift):
 *     0                     not the start of an object; or of a free one that has lost its mark
 *     START | g             the start of one; g = low seven bits of the start's granule
 *     SAMPLED | g           one known to the profiler, or that was (cache/shelf.c); g = its low
 *                           three bits
 * Bytes of one class are never shared by two objects, and g tells apart the starts within one
 * byte's reach, so one comparison proves that a pointer is the start of an object: an interior
 * pointer and a sampled object fail it. Pages without state bytes (of no span, of large objects, of
 * the collected heap) all share one byte that is 0 for ever, so every pointer into them fails it
 * too. Whether an object is in use, its first word tells (meta/freed.h).
 *
 * SYNCHRONIZATION
 *   1. Entries of a page change under the page heap's lock, and only while the page belongs to no
 *      live object or to another array that says the same (pageheap/states.c).
 *   2. `extent_granules` grows by store-release after the tables behind it are committed and
 *      filled. free reads it relaxed: whoever handed the object over to the freeing thread has
 *      handed over what lies below with it. A wild pointer may find it too small, or find an entry
 *      that is only being filled, and fault.
 *   3. A state byte is written by whoever owns the object at that moment: in use, when it becomes
 *      sampled and when it ceases to be; free in its span, by the holder of its class's lock,
 *      before its mark goes with its memory and when it is taken again (central/holes.c).
 *   4. Relaxed atomics throughout; handing the object over is the program's own synchronization, or
 *      that lock.
 */
#ifndef MAL_META_PAGEMAP_H
#define MAL_META_PAGEMAP_H

#include "base/atomic.h"
#include "base/attr.h"
#include "base/bits.h"
#include "base/check.h"
#include "meta/classes.h"
#include "meta/memory.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MAL_STATE_START 0x80u
#define MAL_STATE_SAMPLED 0x40u
#define MAL_STATE_SAMPLED_TAG 0x07u
#define MAL_ENTRY_NO_STATES_SHIFT 63u /* every granule >> 63 is 0 */

struct mal_span;

struct mal_pagemap {
    uintptr_t base;               /* constant after init */
    uint64_t extent_granules;     /* tables are valid below this; release, relaxed on free's path */
    uint64_t *entry;              /* constant after init */
    struct mal_span **span;       /* constant after init */
    size_t window_bytes;          /* constant after init */
    struct mal_table entry_table; /* commits under the page heap's lock */
    struct mal_table span_table;
};

extern MAL_HIDDEN struct mal_pagemap mal_pagemap;

/* Chooses the window and reserves the tables. 0 or -ENOMEM. Once. */
int mal_pagemap_init(uint64_t random);

/* Makes the tables valid up to page `pages`. Under the page heap's lock. 0 or -ENOMEM. */
int mal_pagemap_extend(size_t pages);

/* Where an address lies: its granule, huge when it is not 16-byte aligned or not in the window. */
MAL_FAST uint64_t mal_pagemap_granule(const void *address) {
    return mal_rotate_right((uintptr_t)address - mal_pagemap.base, MAL_GRANULE_SHIFT);
}

MAL_FAST bool mal_pagemap_covers(uint64_t granule) {
    return granule < mal_load_relaxed(&mal_pagemap.extent_granules);
}

#define MAL_GRANULES_PER_PAGE_SHIFT (MAL_PAGE_SHIFT - MAL_GRANULE_SHIFT)

MAL_FAST uint64_t mal_pagemap_entry(uint64_t granule) {
    return mal_load_relaxed(&mal_pagemap.entry[granule >> MAL_GRANULES_PER_PAGE_SHIFT]);
}

MAL_FAST uint32_t mal_entry_class(uint64_t entry) {
    return (uint8_t)(entry >> 8);
}

MAL_FAST uint8_t *mal_entry_state(uint64_t entry, uint64_t granule) {
    uint8_t *state = (uint8_t *)(uintptr_t)(entry >> 16) + (granule >> (entry & 63));
    MAL_ONE_REGISTER(state);
    return state;
}

MAL_FAST uint8_t mal_state_start(uint64_t granule) {
    return (uint8_t)(MAL_STATE_START | granule);
}

static inline uint8_t mal_state_sampled(uint64_t granule) {
    return (uint8_t)(MAL_STATE_SAMPLED | (granule & MAL_STATE_SAMPLED_TAG));
}

static inline bool mal_state_is_start(uint8_t state) {
    return state & MAL_STATE_START;
}

static inline bool mal_state_is_sampled(uint8_t state) {
    return !mal_state_is_start(state) && state & MAL_STATE_SAMPLED;
}

/* The entry of a page whose state bytes begin at `states`. */
static inline uint64_t mal_entry_make(uint32_t class, unsigned shift, const uint8_t *states,
                                      size_t page) {
    uint64_t first_granule = (uint64_t)page << MAL_GRANULES_PER_PAGE_SHIFT;
    MAL_CHECK((uintptr_t)states >= first_granule >> shift, "the object states lie too low");
    uint64_t bias = (uint64_t)(uintptr_t)states - (first_granule >> shift);
    return bias << 16 | (uint64_t) class << 8 | shift;
}

/* The entry of a page without state bytes: class NONE, LARGE, INSIDE or GC. */
uint64_t mal_entry_without_states(uint32_t class);

static inline size_t mal_pagemap_page(const void *address) {
    return ((uintptr_t)address - mal_pagemap.base) >> MAL_PAGE_SHIFT;
}

static inline char *mal_pagemap_address(size_t page) {
    return (char *)(mal_pagemap.base + ((uintptr_t)page << MAL_PAGE_SHIFT));
}

/* Where the state byte of an object is; of pages without state bytes, the shared one. */
static inline uint8_t *mal_pagemap_state(const void *object) {
    uint64_t granule = mal_pagemap_granule(object);
    return mal_entry_state(mal_pagemap_entry(granule), granule);
}

/* By whoever owns the object, or for a free one holds its class's lock; in a span whose states are
 * its own (pageheap/states.c). */
static inline void mal_pagemap_set_state(void *object, uint8_t state) {
    mal_store_relaxed(mal_pagemap_state(object), state);
}

static inline void mal_pagemap_say_start(void *object) {
    mal_pagemap_set_state(object, mal_state_start(mal_pagemap_granule(object)));
}

/* The span that holds the address, NULL when none does. Any pointer, even a wild one. Walks back
 * over the pages of a large object: for diagnostics and slow paths. */
struct mal_span *mal_pagemap_span_of(const void *address);

/* Of an address that is known to be the start of an object in a live span. */
static inline struct mal_span *mal_pagemap_span_at(const void *address) {
    return mal_load_relaxed(&mal_pagemap.span[mal_pagemap_page(address)]);
}

#endif
