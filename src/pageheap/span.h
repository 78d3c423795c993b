/* SPDX-License-Identifier: Apache-2.0
 *
 * A span: a run of pages that holds objects of one class, or one large object.
 *
 * One owner at a time:
 *     FREE -> (page heap) -> CENTRAL or LARGE -> (page heap) -> FREE
 * The page heap makes and destroys spans. While CENTRAL, the lists, counts and bits belong to the
 * class's central lock; while LARGE, everything belongs to whoever owns the object.
 *
 *     free_count = number of set bits in free_bits = object_count - objects handed out,
 *     where "handed out" includes objects in CPU and transfer caches.
 */
#ifndef MAL_PAGEHEAP_SPAN_H
#define MAL_PAGEHEAP_SPAN_H

#include <stddef.h>
#include <stdint.h>

#define MAL_SPAN_OBJECTS_MAX 512u

enum mal_span_state { MAL_SPAN_CENTRAL = 1, MAL_SPAN_LARGE = 2 };

enum mal_span_flags {
    MAL_SPAN_ZEROED = 1u << 0, /* every byte is zero: the pages came fresh from the OS */
};

struct mal_span {
    char *base;
    uint32_t pages;
    uint8_t class;   /* size class, or MAL_CLASS_LARGE */
    uint8_t state;   /* enum mal_span_state */
    uint8_t flags;   /* enum mal_span_flags */
    uint8_t sampled; /* LARGE: the profiler knows the object; owner of the object */

    /* CENTRAL, under the class's lock */
    uint16_t object_count;
    uint16_t free_count;
    uint16_t first_word;  /* no free bit lies in a word before it */
    uint16_t state_units; /* 64-byte units of `states` */
    struct mal_span *next;
    struct mal_span *previous;
    uint8_t *states; /* one byte per state unit of the whole span; see meta/pagemap.h */
    uint64_t free_bits[MAL_SPAN_OBJECTS_MAX / 64];
};

#endif
