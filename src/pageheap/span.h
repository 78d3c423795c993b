/* SPDX-License-Identifier: Apache-2.0
 *
 * A span: a run of pages that holds objects of one class, or one large object.
 *
 * The page heap makes and destroys spans. In between each has one owner, and its pages are free
 * before and afterwards:
 *     CENTRAL   lists, counts and bits belong to the lock of its class (central/)
 *     LARGE     all of it belongs to whoever owns the object (front/large.c)
 *     GC        the collected heap's, one object or many: gc/spans.h
 *
 *     free_count = number of set bits in free_bits = object_count - objects handed out,
 *     where "handed out" includes objects in transfer caches, on slabs and on shelves.
 *     a unit with its hole bit set lies under free objects only
 */
#ifndef MAL_PAGEHEAP_SPAN_H
#define MAL_PAGEHEAP_SPAN_H

#include "meta/classes.h"

#include <stddef.h>
#include <stdint.h>

#define MAL_SPAN_OBJECTS_MAX 512u
#define MAL_SPAN_HOLES_MAX 64u /* units of MAL_VM_PAGE_BYTES_LEAST in the longest class span */

enum mal_span_state { MAL_SPAN_CENTRAL = 1, MAL_SPAN_LARGE = 2, MAL_SPAN_GC = 3 };

enum mal_span_flags {
    MAL_SPAN_ZEROED = 1u << 0,   /* every byte is zero: the pages came fresh from the OS */
    MAL_SPAN_HOLED = 1u << 1,    /* CENTRAL: some bit of `holes` is set */
    MAL_SPAN_BUSY = 1u << 2,     /* CENTRAL: on no list while its pages are being released */
    MAL_SPAN_FRESH = 1u << 3,    /* at least half of its pages had no memory */
    MAL_SPAN_MOVED = 1u << 4,    /* LARGE: its memory came from elsewhere: a mapping of its own */
    MAL_SPAN_GONE = 1u << 5,     /* LARGE: its memory went elsewhere: nothing is resident */
    MAL_SPAN_ARENA = 1u << 6,    /* a chunk of an arena, gc/arena.c */
    MAL_SPAN_UNMARKED = 1u << 7, /* CENTRAL: free objects may lack their marks, meta/freed.h */
    MAL_SPAN_LOST = 1u << 7,     /* LARGE: nothing is mapped there any more */
};

/* What the collected heap keeps of a span. Its owner is whoever took it off the lists of its class;
 * while listed, the class's lock guards it. */
struct mal_span_gc {
    uint64_t object_bytes;  /* of one object; constant */
    uint64_t sampled;       /* bit i: the profiler may know object i modulo 64; relaxed atomic */
    uint32_t free_count;    /* objects that are not allocated, while listed; relaxed readers */
    uint32_t handed_count;  /* objects handed out since the span was cached; owner */
    uint32_t charged_count; /* that were free when it was cached; owner, relaxed readers */
    uint16_t next_window;   /* windows below it have been looked at since; owner */
    uint8_t span_class;     /* size class << 1 | noscan; constant */
};

struct mal_span {
    /* constant while the span lasts, but for `pages` and `flags`: the owner's */
    char *base;
    uint32_t pages;  /* LARGE: under the page heap's lock as well, when it changes */
    uint8_t class;   /* size class, MAL_CLASS_LARGE or MAL_CLASS_GC */
    uint8_t state;   /* enum mal_span_state */
    uint8_t flags;   /* enum mal_span_flags */
    uint8_t sampled; /* LARGE: its free is to be noticed; owner of the object */
    uint16_t object_count;

    /* CENTRAL, under the class's lock, but for what says otherwise */
    uint16_t free_count;  /* relaxed: pageheap/view.c reads it without that lock */
    uint16_t first_word;  /* no free bit lies in a word before it */
    uint16_t state_units; /* of `states`, 0 while shared; like it, but released: see states.c */
    uint8_t list;         /* enum mal_span_list, while listed */
    uint8_t touched_tick; /* low bits of the tick in which an object was last taken or put */
    struct mal_span *next;
    struct mal_span *previous;
    uint8_t *states; /* of its objects, pageheap/states.c; under the page heap's lock */
    union {
        uint64_t free_bits[MAL_SPAN_OBJECTS_MAX / 64]; /* CENTRAL */
        struct mal_span_gc gc;                         /* GC */
    };
    uint64_t holes[MAL_SPAN_HOLES_MAX / 64]; /* bit i: unit i was given back and not used since */
};

static inline uint64_t mal_span_bytes(const struct mal_span *span) {
    return (uint64_t)span->pages << MAL_PAGE_SHIFT;
}

#endif
