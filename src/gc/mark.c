/* SPDX-License-Identifier: Apache-2.0
 *
 * Marking.
 *
 * A worker takes words, looks up which object each may point to, and queues it in its buffer. From
 * there items are taken 16 at a time. All 16 are marked, and those that were not marked before and
 * may hold pointers are scanned, one after the other; with each, the lines that one of the next 16
 * will need (its bits, its first words) are prefetched. So some are always on their way, and never
 * more than the CPU can wait for at once.
 * Neighbours in the queue often lie in one window of bits, since they were allocated one after the
 * other: those are marked by one atomic operation, which is what marking an object that is in the
 * cache costs most. An object is always marked before its words are read. Large objects are scanned
 * in oblets of 128 KiB, which other workers may take; pages that were written to in pieces, of
 * which the words of all marked objects are scanned again.
 *
 * A full buffer is sifted: its objects are marked at once, those that were marked before are
 * dropped, so that what remains is queued once per object. Half of a full buffer, or half of one
 * while others have nothing, goes to the shared list.
 *
 * Where no buffer can be had, marked objects that do not fit are dropped from the queue and
 * `overflowed` is set: whoever runs out of work then scans all marked objects again. Each such
 * round marks something new or is the last one.
 *
 * SYNCHRONIZATION
 *   1. A worker belongs to whoever took it. It is used inside critical sections only.
 *   2. Mark bits: a plain load, then a compare-and-swap; the one that set the bit scans the object.
 *      Against a page's writer: see settle in gc/dirty_uffd.c.
 *   3. Termination. `holders` counts workers that may have items of their own; it is raised before
 *      an item is made or taken from the shared list, and lowered when there is none left. Done is:
 *      the list's head is read, empty; holders is read, 0; the head is read again, unchanged. As
 *      every put and take changes the head, the list was empty while holders was 0: nobody had an
 *      item then, and only one who has an item, or takes new words, makes another.
 *
 * Must never touch a span's descriptor for a small object, and never allocate but buffers.
 */
#include "gc/mark.h"

#include "base/bits.h"
#include "base/check.h"
#include "gc/heap.h"
#include "gc/spans.h"
#include "gc/work.h"
#include "meta/memory.h"
#include "meta/pagemap.h"
#include "os/critical.h"
#include "os/futex.h"
#include "os/lock.h"

#include <errno.h>
#include <string.h>

#define WORD_BYTES sizeof(uintptr_t)
#define WORKERS_AT_START 4
#define WORKER_WAIT_NS 100000u
#define LOOKS_EVERY 64u /* items between two looks at `stop` and at whether others starve */
#define LOOKS_EVERY_BYTES (16u << 10)
#define BESIDE_BYTES (32u << 10)

static struct mal_lock workers_lock = MAL_LOCK_INIT(MAL_RANK_GC_WORK);
static struct mal_gc_worker *free_workers; /* workers_lock */
static uint32_t taken_workers;             /* workers_lock; relaxed readers */
static uint32_t holders;                   /* rule 3; sequentially consistent */
static uint32_t overflowed;                /* relaxed atomic */
static uint64_t scanned_bytes;             /* relaxed atomic */
static uint64_t rescanned_bytes;           /* relaxed atomic; of these */

/* ---- workers ---- */

static struct mal_gc_worker *new_worker(void) {
    return mal_meta_alloc(sizeof(struct mal_gc_worker), MAL_META_GC);
}

int mal_gc_mark_init(void) {
    if (mal_gc_work_init() != 0)
        return -ENOMEM;
    for (int i = 0; i < WORKERS_AT_START; i++) {
        struct mal_gc_worker *worker = new_worker();
        if (!worker)
            return -ENOMEM;
        worker->next = free_workers;
        free_workers = worker;
    }
    return 0;
}

void mal_gc_mark_begin(void) {
    MAL_ASSERT(mal_gc_work_is_empty(mal_gc_work_full_head()));
    mal_store_relaxed(&scanned_bytes, 0ull);
    mal_store_relaxed(&rescanned_bytes, 0ull);
    mal_store_relaxed(&overflowed, 0u);
}

static struct mal_gc_worker *try_take(void) {
    mal_lock(&workers_lock);
    struct mal_gc_worker *worker = free_workers;
    if (worker)
        free_workers = worker->next;
    else
        worker = new_worker();
    if (worker)
        mal_add_relaxed(&taken_workers, 1);
    mal_unlock(&workers_lock);
    return worker;
}

static void hold(struct mal_gc_worker *worker) {
    if (worker->holds_work)
        return;
    worker->holds_work = true;
    __atomic_add_fetch(&holders, 1, __ATOMIC_SEQ_CST);
}

static void unhold(struct mal_gc_worker *worker) {
    if (!worker->holds_work)
        return;
    worker->holds_work = false;
    __atomic_sub_fetch(&holders, 1, __ATOMIC_SEQ_CST);
}

/* Memory short and all workers out: one will come back. */
struct mal_gc_worker *mal_gc_worker_take(void) {
    static const uint32_t never_changes;
    mal_critical_enter();
    struct mal_gc_worker *worker;
    while (!(worker = try_take()))
        mal_futex_wait(&never_changes, 0, WORKER_WAIT_NS);
    worker->cycle = mal_load_relaxed(&mal_gc_cycle);
    worker->buffer = mal_gc_work_get_empty();
    if (!worker->buffer)
        worker->buffer = &worker->own;
    hold(worker);
    mal_critical_leave();
    return worker;
}

static void publish_counts(struct mal_gc_worker *worker) {
    mal_add_relaxed(&scanned_bytes, worker->scanned_bytes);
    mal_add_relaxed(&rescanned_bytes, worker->rescanned_bytes);
    mal_add_relaxed(&mal_gc_totals.marked_bytes, worker->marked_bytes);
    mal_add_relaxed(&mal_gc_totals.marked_scan_bytes, worker->marked_scan_bytes);
    worker->scanned_bytes = worker->rescanned_bytes = 0;
    worker->marked_bytes = worker->marked_scan_bytes = 0;
}

/* A mark that is set in another cycle would outlive its object. */
static inline bool may_mark(const struct mal_gc_worker *worker) {
    return worker->cycle == mal_load_relaxed(&mal_gc_cycle) &&
           mal_load_relaxed(&mal_gc_phase) == MAL_GC_MARK;
}

static inline bool holds_scan_objects(uint64_t offset) {
    uint32_t page = mal_gc_page_at(offset);
    return page != 0 && !(page & MAL_GC_PAGE_NOSCAN);
}

/* ---- items ---- */

/* Of a large object whose alloc bit was seen: what the span said before that. */
static const struct mal_span *large_span(uint64_t offset) {
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    return mal_load_relaxed(&mal_pagemap.span[offset >> MAL_PAGE_SHIFT]);
}

/* `count` objects as that of the item. */
static inline void count_marked(struct mal_gc_worker *worker, uint64_t item, uint64_t count) {
    unsigned span_class = mal_gc_item_span_class(item);
    uint64_t bytes = span_class >> 1 == MAL_GC_CLASS_LARGE
                         ? large_span(mal_gc_item_offset(item))->gc.object_bytes
                         : mal_gc_class[span_class >> 1].size_bytes * count;
    worker->marked_bytes += bytes;
    if (!(span_class & MAL_GC_PAGE_NOSCAN))
        worker->marked_scan_bytes += bytes;
}

/* The bits that this worker sets, and nobody else. */
static inline uint64_t set_marks(struct mal_gc_line *line, uint64_t seen, uint64_t bits) {
    while (!mal_cas_relaxed(&line->mark, &seen, seen | bits))
        ;
    return bits & ~seen;
}

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
    count_marked(worker, any, mine);
    return mal_gc_item_span_class(any) & MAL_GC_PAGE_NOSCAN ? 0 : mine;
}

static struct mal_gc_line *line_of(uint64_t item) {
    return mal_gc_line_at(mal_gc_item_offset(item));
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
        struct mal_gc_line *line = line_of(item[i]);
        uint64_t seen = mal_load_relaxed(&line->mark), alloc = mal_load_relaxed(&line->alloc);
        uint64_t bits = 0;
        uint32_t white = kept;
        do {
            uint64_t now = item[i++];
            uint64_t bit = mal_gc_bit_at(mal_gc_item_offset(now));
            item[white] = now;
            white += (alloc & ~seen & ~bits & bit) != 0;
            bits |= alloc & ~seen & bit;
        } while (i < count && !(item[i] & MAL_GC_ITEM_FLAGS) && line_of(item[i]) == line);
        MAL_ASSERT(!bits || may_mark(worker));
        if (bits)
            kept += keep_marked(worker, item + kept, white - kept, set_marks(line, seen, bits),
                                item + kept);
    }
    return kept;
}

/* Marks what is queued unmarked; what remains is grey. */
static void sift(struct mal_gc_worker *worker) {
    struct mal_gc_buffer *buffer = worker->buffer;
    for (uint32_t i = 0; i < buffer->count; i++)
        __builtin_prefetch(line_of(buffer->item[i]), 1);
    buffer->count = mark_items(worker, buffer->item, buffer->count);
}

/* Half of a sifted buffer goes to the others. False: no memory. */
static bool share(struct mal_gc_worker *worker) {
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

static MAL_SLOW void make_room(struct mal_gc_worker *worker) {
    sift(worker);
    if (worker->buffer->count < MAL_GC_BUFFER_ITEMS / 2 || share(worker))
        return;
    if (worker->buffer->count == MAL_GC_BUFFER_ITEMS) {
        mal_store_relaxed(&overflowed, 1u);
        worker->buffer->count /= 2;
    }
}

static inline void push(struct mal_gc_worker *worker, uint64_t item) {
    struct mal_gc_buffer *buffer = worker->buffer;
    if (MAL_UNLIKELY(buffer->count == MAL_GC_BUFFER_ITEMS))
        make_room(worker);
    buffer->item[buffer->count++] = item;
}

/* A word that may be a pointer. */
static inline void consider(struct mal_gc_worker *worker, uintptr_t word) {
    uint64_t offset = mal_gc_offset(word);
    if (!mal_gc_covers(offset))
        return;
    uint32_t page = mal_gc_page_at(offset);
    if (page != 0)
        push(worker, mal_gc_item(mal_gc_slot_start(offset, page), page));
}

static inline bool is_marked(uint64_t object) {
    return mal_load_relaxed(&mal_gc_line_at(object)->mark) & mal_gc_bit_at(object);
}

/* A word at `from`, which may have been considered before. What is new points to what is new and
 * lies beside it: such an object's bits are in the cache, and it was marked when it was made. Only
 * where objects begin are there bits. */
static inline void reconsider(struct mal_gc_worker *worker, uint64_t from, uintptr_t word) {
    uint64_t offset = mal_gc_offset(word);
    bool is_beside = offset - from + BESIDE_BYTES < 2 * BESIDE_BYTES;
    if (!is_beside || !mal_gc_covers(offset) || !is_marked(offset))
        consider(worker, word);
}

static inline uintptr_t load_word(uint64_t offset) {
    return mal_load_relaxed((uintptr_t *)(mal_gc_tables.base + offset));
}

/* Words from `from` on, by the bits of those that may be pointers. */
static inline void scan_words(struct mal_gc_worker *worker, uint64_t from, uint64_t bits) {
    for (; bits; bits &= bits - 1)
        consider(worker, load_word(from + (uint64_t)__builtin_ctzll(bits) * WORD_BYTES));
}

/* The pointer bits of [from, to), which lie in one word. */
static inline uint64_t pointer_bits(uint64_t from, uint64_t to) {
    uint64_t bits = mal_load_relaxed(mal_gc_pointer_word(from)) >> (from / WORD_BYTES & 63);
    return bits & ~0ull >> (64 - (to - from) / WORD_BYTES);
}

/* The words of [from, to) that may be pointers, by the bits of their object. */
static void scan(struct mal_gc_worker *worker, uint64_t from, uint64_t to) {
    MAL_ASSERT(from >= to || holds_scan_objects(from));
    worker->scanned_bytes += to - from;
    while (from < to) {
        uint64_t end = mal_min(to, (from | (MAL_GC_MASK_BYTES - 1)) + 1);
        scan_words(worker, from, pointer_bits(from, end));
        from = end;
    }
}

static inline void scan_small(struct mal_gc_worker *worker, uint64_t from, uint64_t bytes) {
    if (from % MAL_GC_MASK_BYTES + bytes > MAL_GC_MASK_BYTES) {
        scan(worker, from, from + bytes);
        return;
    }
    MAL_ASSERT(holds_scan_objects(from));
    worker->scanned_bytes += bytes;
    scan_words(worker, from, pointer_bits(from, from + bytes));
}

/* ---- large objects ---- */

static uint64_t large_end(uint64_t offset) {
    const struct mal_span *span = large_span(offset);
    return mal_gc_span_offset(span) + span->gc.object_bytes;
}

static void scan_oblet(struct mal_gc_worker *worker, uint64_t offset) {
    scan(worker, offset, mal_min(offset + MAL_GC_OBLET_BYTES, large_end(offset)));
}

/* The first oblet now, the others later, by anybody. */
static void scan_large(struct mal_gc_worker *worker, uint64_t offset) {
    uint64_t end = large_end(offset);
    for (uint64_t at = offset + MAL_GC_OBLET_BYTES; at < end; at += MAL_GC_OBLET_BYTES)
        push(worker, at | MAL_GC_ITEM_OBLET);
    scan_oblet(worker, offset);
}

/* ---- scanning again ---- */

static void count_again(struct mal_gc_worker *worker, uint64_t bytes) {
    worker->scanned_bytes += bytes;
    worker->rescanned_bytes += bytes;
}

/* As scan_words and scan, of what may have been scanned before. */
static inline void scan_words_again(struct mal_gc_worker *worker, uint64_t from, uint64_t bits) {
    for (; bits; bits &= bits - 1) {
        uint64_t at = from + (uint64_t)__builtin_ctzll(bits) * WORD_BYTES;
        reconsider(worker, at, load_word(at));
    }
}

static void scan_again(struct mal_gc_worker *worker, uint64_t from, uint64_t to) {
    count_again(worker, to - from);
    while (from < to) {
        uint64_t end = mal_min(to, (from | (MAL_GC_MASK_BYTES - 1)) + 1);
        scan_words_again(worker, from, pointer_bits(from, end));
        from = end;
    }
}

/* The part of a marked object that lies in [low, high). */
static void rescan_object(struct mal_gc_worker *worker, uint64_t object, uint64_t low,
                          uint64_t high) {
    struct mal_gc_line *line = mal_gc_line_at(object);
    uint64_t bit = mal_gc_bit_at(object);
    if (!(mal_load_relaxed(&line->mark) & mal_load_relaxed(&line->alloc) & bit))
        return;
    unsigned class = mal_gc_page_span_class(mal_gc_page_at(object)) >> 1;
    uint64_t end =
        class == MAL_GC_CLASS_LARGE ? large_end(object) : object + mal_gc_class[class].size_bytes;
    low = mal_max(low, object);
    high = mal_min(high, end);
    if (low < high)
        scan_again(worker, low, high);
}

/* Marked objects that begin in the window, as far as they lie in [low, high). */
static void rescan_window(struct mal_gc_worker *worker, uint64_t window, uint64_t low,
                          uint64_t high) {
    uint64_t marks = mal_load_relaxed(&mal_gc_line_at(window)->mark);
    for (; marks; marks &= marks - 1)
        rescan_object(worker, window + ((uint64_t)__builtin_ctzll(marks) << MAL_GRANULE_SHIFT), low,
                      high);
}

/* Words of 64 that begin at `block` and lie in [low, high). */
static uint64_t words_between(uint64_t block, uint64_t low, uint64_t high) {
    uint64_t bits = low < block + MAL_GC_MASK_BYTES ? ~0ull : 0;
    if (bits && low > block)
        bits <<= (low - block) / WORD_BYTES;
    if (high < block + MAL_GC_MASK_BYTES)
        bits &= (1ull << (high - block) / WORD_BYTES) - 1;
    return bits;
}

static uint32_t marked_in_block(uint64_t block) {
    const struct mal_gc_line *line = mal_gc_line_at(block);
    uint64_t marked = mal_load_relaxed(&line->mark) & mal_load_relaxed(&line->alloc);
    return (uint32_t)(marked >> (block >> MAL_GRANULE_SHIFT & 63));
}

/* A span of objects of at most one block. Objects do not overlap, so the product of where they
 * begin and the words of one of them is the words of all of them; the last may reach into the next
 * block. `first` is the object that holds `low`. */
static void rescan_blocks(struct mal_gc_worker *worker, uint64_t first, uint64_t bytes,
                          uint64_t low, uint64_t high) {
    uint64_t object = ~0ull >> (64 - bytes / WORD_BYTES);
    uint64_t reaches = 0;
    for (uint64_t block = mal_round_down(first, MAL_GC_MASK_BYTES); block < high;
         block += MAL_GC_MASK_BYTES) {
        unsigned __int128 all = (unsigned __int128)mal_gc_spread(marked_in_block(block)) * object;
        uint64_t words = ((uint64_t)all | reaches) & words_between(block, low, high);
        reaches = (uint64_t)(all >> 64);
        count_again(worker, mal_popcount(words) * WORD_BYTES);
        scan_words_again(worker, block, words & mal_load_relaxed(mal_gc_pointer_word(block)));
    }
}

/* All of one page that lies in [low, high): the object that reaches into it, and those that begin
 * in it. */
static void rescan_in_page(struct mal_gc_worker *worker, uint64_t low, uint64_t high) {
    uint32_t page = mal_gc_page_at(low);
    if (page == 0 || page & MAL_GC_PAGE_NOSCAN)
        return;
    uint64_t first = mal_gc_slot_start(low, page);
    uint64_t window = mal_round_down(low, MAL_GC_WINDOW_BYTES);
    unsigned class = mal_gc_page_span_class(page) >> 1;
    if (class != MAL_GC_CLASS_LARGE && mal_gc_class[class].size_bytes <= MAL_GC_MASK_BYTES) {
        rescan_blocks(worker, first, mal_gc_class[class].size_bytes, low, high);
        return;
    }
    if (first < window)
        rescan_object(worker, first, low, high);
    if (class == MAL_GC_CLASS_LARGE && first < window)
        return;
    for (; window < high; window += MAL_GC_WINDOW_BYTES)
        rescan_window(worker, window, low, high);
}

/* ---- items, processed ---- */

static inline void scan_object(struct mal_gc_worker *worker, uint64_t item) {
    uint64_t offset = mal_gc_item_offset(item);
    unsigned class = mal_gc_item_span_class(item) >> 1;
    if (MAL_UNLIKELY(class == MAL_GC_CLASS_LARGE))
        scan_large(worker, offset);
    else
        scan_small(worker, offset, mal_gc_class[class].size_bytes);
}

static MAL_SLOW void scan_part(struct mal_gc_worker *worker, uint64_t item) {
    uint64_t offset = mal_gc_item_offset(item);
    if (item & MAL_GC_ITEM_OBLET)
        scan_oblet(worker, offset);
    else
        rescan_in_page(worker, offset, offset + MAL_GC_PIECE_BYTES);
}

/* ---- the loop ---- */

/* Always inline: gcc drops calls of a function that does nothing but prefetch. */
MAL_FAST void prefetch(uint64_t item) {
    __builtin_prefetch(line_of(item), 1);
    __builtin_prefetch((const void *)(mal_gc_tables.base + mal_gc_item_offset(item)));
}

/* Takes the next items. */
static inline void look_ahead(struct mal_gc_worker *worker) {
    struct mal_gc_buffer *buffer = worker->buffer;
    uint32_t count = (uint32_t)mal_min(buffer->count, MAL_GC_AHEAD_ITEMS);
    buffer->count -= count;
    memcpy(worker->ahead, buffer->item + buffer->count, count * sizeof *worker->ahead);
    worker->ahead_count = count;
}

/* Marked all at once, then scanned. Meanwhile the lines of the next ones are sent for, two at a
 * time: so there are always some on their way and never more than the CPU can wait for. */
static inline void process(struct mal_gc_worker *worker, uint64_t *item, uint32_t count) {
    count = mark_items(worker, item, count);
    for (uint32_t i = 0; i < worker->ahead_count || i < count; i++) {
        if (i < worker->ahead_count)
            prefetch(worker->ahead[i]);
        if (i >= count)
            continue;
        if (MAL_UNLIKELY(item[i] & (MAL_GC_ITEM_OBLET | MAL_GC_ITEM_PIECE)))
            scan_part(worker, item[i]);
        else
            scan_object(worker, item[i]);
    }
}

static bool take_shared(struct mal_gc_worker *worker) {
    hold(worker);
    struct mal_gc_buffer *buffer = mal_gc_work_get_full();
    if (!buffer)
        return false;
    if (worker->buffer != &worker->own)
        mal_gc_work_put_empty(worker->buffer);
    worker->buffer = buffer;
    return true;
}

static bool others_starve(const struct mal_gc_worker *worker) {
    return mal_load_relaxed(&taken_workers) > 1 && worker->buffer->count > MAL_GC_AHEAD_ITEMS &&
           mal_gc_work_is_empty(mal_gc_work_full_head());
}

/* Up to LOOKS_EVERY items, fewer where they are large; false when the worker has none left. */
static bool process_some(struct mal_gc_worker *worker) {
    uint64_t until_bytes = worker->scanned_bytes + LOOKS_EVERY_BYTES;
    for (unsigned i = 0; i < LOOKS_EVERY && worker->scanned_bytes < until_bytes;
         i += MAL_GC_AHEAD_ITEMS) {
        uint64_t item[MAL_GC_AHEAD_ITEMS];
        uint32_t count = worker->ahead_count;
        memcpy(item, worker->ahead, sizeof item);
        look_ahead(worker);
        if (count == 0 && worker->ahead_count == 0)
            return false;
        process(worker, item, count);
    }
    return true;
}

/* Scans all that is marked once more, because items were lost. */
static void recover(struct mal_gc_worker *worker) {
    uint32_t lost = 1;
    if (mal_cas_relaxed(&overflowed, &lost, 0u))
        mal_gc_mark_rescan(worker, mal_gc_tables.base,
                           mal_gc_tables.base + mal_load_acquire(&mal_gc_tables.limit));
}

static bool is_budget_left(const struct mal_gc_worker *worker, uint64_t bytes,
                           const uint32_t *stop) {
    return worker->scanned_bytes < bytes && !(stop && mal_load_relaxed(stop));
}

static void balance(struct mal_gc_worker *worker) {
    if (!others_starve(worker))
        return;
    sift(worker);
    if (worker->buffer->count > 1)
        share(worker);
}

/* One critical section's worth of work; false when nothing is to be had. */
static bool drain_some(struct mal_gc_worker *worker) {
    mal_critical_enter();
    bool more = process_some(worker);
    if (more)
        balance(worker);
    else
        more = take_shared(worker);
    if (!more && mal_load_relaxed(&overflowed)) {
        recover(worker);
        more = true;
    }
    mal_critical_leave();
    return more;
}

uint64_t mal_gc_drain(struct mal_gc_worker *worker, uint64_t bytes, const uint32_t *stop) {
    publish_counts(worker);
    bool more = true;
    while (more && is_budget_left(worker, bytes, stop))
        more = drain_some(worker);
    if (!more)
        unhold(worker);
    uint64_t done = worker->scanned_bytes;
    worker->drained_again_bytes = worker->rescanned_bytes;
    publish_counts(worker);
    return done;
}

uint64_t mal_gc_drained_again(const struct mal_gc_worker *worker) {
    return worker->drained_again_bytes;
}

/* ---- giving back ---- */

static void put_back_ahead(struct mal_gc_worker *worker) {
    uint32_t count = worker->ahead_count;
    worker->ahead_count = 0;
    for (uint32_t i = 0; i < count; i++)
        push(worker, worker->ahead[i]);
}

/* A worker for which there was no shared buffer can only finish what it holds. */
static void finish_own(struct mal_gc_worker *worker) {
    while (process_some(worker))
        ;
}

static void publish_buffer(struct mal_gc_worker *worker) {
    if (worker->buffer == &worker->own)
        finish_own(worker);
    else if (worker->buffer->count > 0)
        mal_gc_work_put_full(worker->buffer);
    else
        mal_gc_work_put_empty(worker->buffer);
    worker->buffer = NULL;
}

void mal_gc_worker_give(struct mal_gc_worker *worker) {
    mal_critical_enter();
    put_back_ahead(worker);
    sift(worker);
    publish_buffer(worker);
    publish_counts(worker);
    unhold(worker);
    mal_lock(&workers_lock);
    worker->next = free_workers;
    free_workers = worker;
    mal_sub_relaxed(&taken_workers, 1);
    mal_unlock(&workers_lock);
    mal_critical_leave();
}

bool mal_gc_mark_is_done(void) {
    uint64_t head = mal_gc_work_full_head();
    return mal_gc_work_is_empty(head) && __atomic_load_n(&holders, __ATOMIC_SEQ_CST) == 0 &&
           mal_gc_work_full_head() == head && !mal_load_relaxed(&overflowed);
}

void mal_gc_mark_note_scanned(uint64_t bytes) {
    mal_add_relaxed(&scanned_bytes, bytes);
}

uint64_t mal_gc_mark_scanned_bytes(void) {
    return mal_load_relaxed(&scanned_bytes);
}

uint64_t mal_gc_mark_rescanned_bytes(void) {
    return mal_load_relaxed(&rescanned_bytes);
}

/* ---- words ---- */

void mal_gc_mark_word(struct mal_gc_worker *worker, uintptr_t word) {
    if (worker->check) {
        mal_gc_check_word(worker->check, word);
        return;
    }
    mal_critical_enter();
    hold(worker);
    consider(worker, word);
    mal_critical_leave();
}

MAL_READS_ANYTHING void mal_gc_mark_range(struct mal_gc_worker *worker, uintptr_t low,
                                          uintptr_t high) {
    if (worker->check) {
        mal_gc_check_range(worker->check, low, high);
        return;
    }
    mal_critical_enter();
    hold(worker);
    low = mal_round_up(low, WORD_BYTES);
    for (; low < high && high - low >= WORD_BYTES; low += WORD_BYTES)
        consider(worker, mal_load_relaxed((uintptr_t *)low));
    mal_critical_leave();
}

void mal_gc_shade(const void *pointer) {
    struct mal_gc_worker *worker = mal_gc_worker_take();
    mal_gc_mark_word(worker, (uintptr_t)pointer);
    mal_gc_worker_give(worker);
}

void mal_gc_mark_contents(struct mal_gc_worker *worker, uintptr_t object, uintptr_t low,
                          uintptr_t high) {
    uint64_t offset = mal_gc_offset(object);
    unsigned class = mal_gc_page_span_class(mal_gc_page_at(offset)) >> 1;
    uint64_t end =
        class == MAL_GC_CLASS_LARGE ? large_end(offset) : offset + mal_gc_class[class].size_bytes;
    uint64_t from = mal_max(mal_gc_offset(low), offset);
    uint64_t to = mal_min(mal_gc_offset(high), end);
    if (mal_gc_page_at(offset) & MAL_GC_PAGE_NOSCAN || from >= to)
        return;
    from = mal_round_down(from, WORD_BYTES);
    to = mal_round_up(to, WORD_BYTES);
    if (worker->check) {
        mal_gc_check_contents(worker->check, from, to);
        return;
    }
    mal_critical_enter();
    hold(worker);
    scan(worker, from, to);
    mal_critical_leave();
}

/* ---- scanning again ---- */

/* Offsets of whole words in the heap. */
struct part {
    uint64_t from, to;
};

static struct part part_of_heap(uintptr_t low, uintptr_t high) {
    uint64_t limit = mal_load_acquire(&mal_gc_tables.limit);
    uint64_t from = mal_gc_offset(mal_max(low, mal_gc_tables.base));
    uint64_t to = high > mal_gc_tables.base ? mal_min(mal_gc_offset(high), limit) : 0;
    return (struct part){mal_round_down(from, WORD_BYTES), mal_round_up(to, WORD_BYTES)};
}

void mal_gc_mark_rescan(struct mal_gc_worker *worker, uintptr_t low, uintptr_t high) {
    struct part part = part_of_heap(low, high);
    mal_critical_enter();
    hold(worker);
    while (part.from < part.to) {
        uint64_t end = mal_min(part.to, mal_round_down(part.from, MAL_PAGE_BYTES) + MAL_PAGE_BYTES);
        rescan_in_page(worker, part.from, end);
        part.from = end;
    }
    mal_critical_leave();
}

void mal_gc_mark_rescan_later(struct mal_gc_worker *worker, uintptr_t low, uintptr_t high) {
    struct part part = part_of_heap(mal_round_down(low, MAL_GC_PIECE_BYTES), high);
    mal_critical_enter();
    hold(worker);
    for (uint64_t at = part.from; at < part.to; at += MAL_GC_PIECE_BYTES)
        if (mal_gc_page_at(at) != 0)
            push(worker, at | MAL_GC_ITEM_PIECE);
    mal_critical_leave();
}

/* ---- fork ---- */

void mal_gc_mark_before_fork(void) {
    mal_gc_work_before_fork();
    mal_lock(&workers_lock);
}

void mal_gc_mark_after_fork(void) {
    mal_unlock(&workers_lock);
    mal_gc_work_after_fork();
}

/* Workers and buffers that the other threads had in their hands are lost. */
void mal_gc_mark_forget_in_child(void) {
    mal_gc_work_discard();
    holders = taken_workers = overflowed = 0;
}
