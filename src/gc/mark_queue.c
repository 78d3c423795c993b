/* SPDX-License-Identifier: Apache-2.0
 *
 * Marking: what a worker's buffer does when it is full, or others have nothing.
 *
 * Path up: a full buffer is sifted: its objects are marked at once, those that were marked before
 * are dropped, so that what remains is queued once per object. Half of a full buffer goes to the
 * shared list. Where no buffer can be had, marked objects that do not fit are dropped from the
 * queue and `mal_gc_mark_overflowed` is set.
 *
 * Path down: whoever takes a buffer from the shared list scans what is grey in it (mark_scan.c).
 *
 * SYNCHRONIZATION
 *   1. A worker belongs to whoever took it, inside a critical section, and counts as a holder.
 *   2. Mark bits: a relaxed load, then a compare-and-swap; the one that set the bit keeps the item.
 *
 * Must never read the words of an object, and never allocate but buffers.
 */
#include "gc/mark_private.h"

#include "base/bits.h"
#include "base/check.h"

#include <string.h>

uint32_t mal_gc_mark_overflowed;

/* ---- marking ---- */

/* Keeps those of `count` items of one window that are in `set`, the bits that this worker has set.
 * The grey ones go to `kept`; returns how many. All are of one span. */
static inline uint32_t keep_marked(struct mal_gc_worker *worker, const uint64_t *item,
                                   uint32_t count, uint64_t set, uint64_t *kept) {
    uint64_t any = item[0];
    uint32_t mine = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint64_t now = item[i];
        kept[mine] = now | MAL_GC_ITEM_GREY;
        mine += (set & mal_gc_bit_at(mal_gc_item_offset(now))) != 0;
    }
    if (mine == 0) /* somebody else was first, and counts them */
        return 0;
    mal_gc_count_marked(worker, mal_gc_item_offset(any), mal_gc_item_span_class(any), mine);
    return mal_gc_item_span_class(any) & MAL_GC_PAGE_NOSCAN ? 0 : mine;
}

/* Marks what is unmarked, neighbours in one window by one atomic operation. What is then to be
 * scanned remains; returns how many. */
static uint32_t mark_items(struct mal_gc_worker *worker, uint64_t *item, uint32_t count) {
    uint32_t kept = 0;
    for (uint32_t i = 0; i < count;) {
        if (item[i] & MAL_GC_ITEM_FLAGS) {
            item[kept++] = item[i++];
            continue;
        }
        struct mal_gc_line *line = mal_gc_item_line(item[i]);
        uint64_t seen = mal_load_relaxed(&line->mark), alloc = mal_load_relaxed(&line->alloc);
        uint64_t bits = 0;
        uint32_t white = kept;
        do {
            uint64_t now = item[i++];
            uint64_t bit = mal_gc_bit_at(mal_gc_item_offset(now));
            item[white] = now;
            white += (alloc & ~seen & ~bits & bit) != 0;
            bits |= alloc & ~seen & bit;
        } while (i < count && !(item[i] & MAL_GC_ITEM_FLAGS) && mal_gc_item_line(item[i]) == line);
        MAL_ASSERT(!bits || mal_gc_may_mark(worker));
        if (bits)
            kept += keep_marked(worker, item + kept, white - kept,
                                mal_gc_set_marks(line, seen, bits), item + kept);
    }
    return kept;
}

/* ---- the queue ---- */

/* Marks what is queued unmarked; what remains is grey. */
void mal_gc_mark_sift(struct mal_gc_worker *worker) {
    struct mal_gc_buffer *buffer = worker->buffer;
    for (uint32_t i = 0; i < buffer->count; i++)
        __builtin_prefetch(mal_gc_item_line(buffer->item[i]), 1);
    buffer->count = mark_items(worker, buffer->item, buffer->count);
}

/* Half of a sifted buffer goes to the others. False: no memory. */
bool mal_gc_mark_share(struct mal_gc_worker *worker) {
    struct mal_gc_buffer *mine = worker->buffer;
    struct mal_gc_buffer *theirs = mal_gc_work_get_empty();
    if (!theirs)
        return false;
    uint32_t half = mine->count / 2;
    memcpy(theirs->item, mine->item, half * sizeof *mine->item);
    memmove(mine->item, mine->item + half, (mine->count - half) * sizeof *mine->item);
    theirs->count = half;
    mine->count -= half;
    mal_gc_work_put_full(theirs);
    return true;
}

MAL_SLOW void mal_gc_mark_make_room(struct mal_gc_worker *worker) {
    mal_gc_mark_sift(worker);
    if (worker->buffer->count < MAL_GC_BUFFER_ITEMS / 2 || mal_gc_mark_share(worker))
        return;
    if (worker->buffer->count == MAL_GC_BUFFER_ITEMS) {
        mal_store_relaxed(&mal_gc_mark_overflowed, 1u);
        worker->buffer->count /= 2;
    }
}
