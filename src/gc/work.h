/* SPDX-License-Identifier: Apache-2.0
 *
 * Inside of marking: items, buffers and workers.
 *
 * An item is the offset of an object in the heap, with its span class in the highest byte and flags
 * in the bits that its alignment leaves.
 *
 *     no flag   an object that something points to; marked or not
 *     GREY      an object that is marked and not scanned yet; each is queued once
 *     OBLET     a piece of a large marked object, from the offset on
 *     PIECE     a stretch of memory that was written to: marked objects on it are scanned again
 *
 * Buffers that all workers share hold items with flags only, so all queued memory is bounded by the
 * number of objects (and oblets, and pieces), however many pointers there are.
 */
#ifndef MAL_GC_WORK_H
#define MAL_GC_WORK_H

#include "base/attr.h"
#include "gc/tables.h"
#include "os/vm.h"

#include <stdbool.h>
#include <stdint.h>

#define MAL_GC_ITEM_GREY 1u
#define MAL_GC_ITEM_OBLET 2u
#define MAL_GC_ITEM_PIECE 4u
#define MAL_GC_ITEM_FLAGS 15u
#define MAL_GC_OBLET_BYTES (128u << 10)
#define MAL_GC_PIECE_BYTES MAL_VM_PAGE_BYTES_LEAST

#define MAL_GC_BUFFER_ITEMS 254u /* with the header: 2 KiB */
#define MAL_GC_AHEAD_ITEMS 16u

struct mal_gc_buffer {
    uint32_t next;  /* index + 1 of the buffer below it on its list; relaxed atomic */
    uint32_t count; /* of items; the owner's, while on no list */
    uint64_t reserved;
    uint64_t item[MAL_GC_BUFFER_ITEMS];
};

/* The span class of an object is known when its item is made, and stays: no span goes away while
 * marking. */
#define MAL_GC_ITEM_CLASS_SHIFT 56

MAL_FAST uint64_t mal_gc_item(uint64_t offset, uint32_t page) {
    return offset | (uint64_t)mal_gc_page_span_class(page) << MAL_GC_ITEM_CLASS_SHIFT;
}
MAL_FAST unsigned mal_gc_item_span_class(uint64_t item) {
    return (unsigned)(item >> MAL_GC_ITEM_CLASS_SHIFT);
}
MAL_FAST uint64_t mal_gc_item_offset(uint64_t item) {
    return item & ((1ull << MAL_GC_ITEM_CLASS_SHIFT) - 1) & ~(uint64_t)MAL_GC_ITEM_FLAGS;
}

MAL_FAST struct mal_gc_line *mal_gc_item_line(uint64_t item) {
    return mal_gc_line_at(mal_gc_item_offset(item));
}

struct mal_gc_check;

/* By whoever took it. */
struct mal_gc_worker {
    struct mal_gc_buffer *buffer;       /* never NULL while taken */
    uint64_t ahead[MAL_GC_AHEAD_ITEMS]; /* prefetched */
    uint32_t ahead_count;
    uint32_t window_bytes;      /* what the last window had to be scanned */
    uint32_t cycle;             /* that it was taken in: it marks in no other one */
    bool holds_work;            /* counted in `holders` */
    struct mal_gc_check *check; /* not a marker's but the oracle's: words are checked */
    uint64_t scanned_bytes, rescanned_bytes;  /* since last published; those again are in both */
    uint64_t marked_bytes, marked_scan_bytes; /* since last published */
    uint64_t drained_again_bytes;             /* by the last drain */
    struct mal_gc_worker *next;               /* free list; WORK lock */
    struct mal_gc_buffer own;                 /* what it has when memory is short */
};

/* gc/check.c: the words the oracle's worker is given. */
void mal_gc_check_range(struct mal_gc_check *check, uintptr_t low, uintptr_t high);
void mal_gc_check_word(struct mal_gc_check *check, uintptr_t word);
/* Those of an object in [from, to), offsets of whole words. */
void mal_gc_check_contents(struct mal_gc_check *check, uint64_t from, uint64_t to);

/* The shared buffers. 0 or -ENOMEM. */
int mal_gc_work_init(void);
/* A full buffer, or NULL. */
struct mal_gc_buffer *mal_gc_work_get_full(void);
void mal_gc_work_put_full(struct mal_gc_buffer *buffer);
/* An empty buffer, or NULL when memory is short. */
struct mal_gc_buffer *mal_gc_work_get_empty(void);
void mal_gc_work_put_empty(struct mal_gc_buffer *buffer);
/* The head of the list of full buffers: equal values mean that nothing was put or taken between. */
uint64_t mal_gc_work_full_head(void);
bool mal_gc_work_is_empty(uint64_t head);
/* World stopped: full buffers are emptied. */
void mal_gc_work_discard(void);
void mal_gc_work_before_fork(void);
void mal_gc_work_after_fork(void);

#endif
