/* SPDX-License-Identifier: Apache-2.0
 *
 * Marking: what is scanned again, because it was written to or because items were lost.
 *
 * Path up: a range of the heap is scanned again at once, page by page, or queued in pieces of 4 KiB
 * that any worker may take: all of a round, and what is long of the last stop, where a run of
 * written pages would else be one worker's while all others wait. Either way only marked objects
 * are looked at, as far as they lie in the range: one that is not marked will be scanned when it
 * is. In spans of small objects the words of all marked ones come out of the mark bits by one
 * multiplication for each 64 words.
 *
 * Path down: each word that may be a pointer is queued as in a first scan (mark_private.h), but for
 * those whose object lies beside it and is marked.
 *
 * SYNCHRONIZATION
 *   1. A worker belongs to whoever took it. It is used inside critical sections only, and counts as
 *      a holder before it looks.
 *   2. Mark and alloc bits are only read here, relaxed: an object that is marked after the look is
 *      scanned by whoever marks it. Against a page's writer: see settle in gc/dirty_uffd.c.
 *
 * Must never set a mark by itself, never scan a word outside of its range, and never touch a span's
 * descriptor for a small object.
 */
#include "base/bits.h"
#include "gc/mark.h"
#include "gc/mark_private.h"
#include "os/critical.h"

#define BESIDE_BYTES (32u << 10)
#define ALONE_BYTES (16u << 10)

MAL_FAST bool is_marked(uint64_t object) {
    return mal_load_relaxed(&mal_gc_line_at(object)->mark) & mal_gc_bit_at(object);
}

/* A word at `from`, which may have been considered before. What is new points to what is new and
 * lies beside it: such an object's bits are in the cache, and it was marked when it was made. Only
 * where objects begin are there bits. */
MAL_FAST void reconsider(struct mal_gc_worker *worker, uint64_t from, uintptr_t word) {
    uint64_t offset = mal_gc_offset(word);
    bool is_beside = offset - from + BESIDE_BYTES < 2 * BESIDE_BYTES;
    if (!is_beside || !mal_gc_covers(offset) || !is_marked(offset))
        mal_gc_mark_consider(worker, word);
}

static void count_again(struct mal_gc_worker *worker, uint64_t bytes) {
    worker->scanned_bytes += bytes;
    worker->rescanned_bytes += bytes;
}

/* As scan_words and mal_gc_mark_scan, of what may have been scanned before. Always inline: gcc
 * would keep one copy for both callers. */
MAL_FAST void scan_words_again(struct mal_gc_worker *worker, uint64_t from, uint64_t bits) {
    for (; bits; bits &= bits - 1) {
        uint64_t at = from + (uint64_t)__builtin_ctzll(bits) * MAL_GC_WORD_BYTES;
        reconsider(worker, at, mal_gc_mark_load_word(at));
    }
}

static void scan_again(struct mal_gc_worker *worker, uint64_t from, uint64_t to) {
    count_again(worker, to - from);
    while (from < to) {
        uint64_t end = mal_min(to, (from | (MAL_GC_MASK_BYTES - 1)) + 1);
        scan_words_again(worker, from, mal_gc_mark_pointer_bits(from, end));
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
    low = mal_max(low, object);
    high = mal_min(high, mal_gc_mark_object_end(object));
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
        bits <<= (low - block) / MAL_GC_WORD_BYTES;
    if (high < block + MAL_GC_MASK_BYTES)
        bits &= (1ull << (high - block) / MAL_GC_WORD_BYTES) - 1;
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
    uint64_t object = ~0ull >> (64 - bytes / MAL_GC_WORD_BYTES);
    uint64_t reaches = 0;
    for (uint64_t block = mal_round_down(first, MAL_GC_MASK_BYTES); block < high;
         block += MAL_GC_MASK_BYTES) {
        unsigned __int128 all = (unsigned __int128)mal_gc_spread(marked_in_block(block)) * object;
        uint64_t words = ((uint64_t)all | reaches) & words_between(block, low, high);
        reaches = (uint64_t)(all >> 64);
        count_again(worker, mal_popcount(words) * MAL_GC_WORD_BYTES);
        scan_words_again(worker, block, words & mal_load_relaxed(mal_gc_pointer_word(block)));
    }
}

/* All of one page that lies in [low, high): the object that reaches into it, and those that begin
 * in it. */
void mal_gc_mark_rescan_in_page(struct mal_gc_worker *worker, uint64_t low, uint64_t high) {
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

/* Offsets of whole words in the heap. */
struct part {
    uint64_t from, to;
};

static struct part part_of_heap(uintptr_t low, uintptr_t high) {
    uint64_t limit = mal_load_acquire(&mal_gc_tables.limit);
    uint64_t from = mal_gc_offset(mal_max(low, mal_gc_tables.base));
    uint64_t to = high > mal_gc_tables.base ? mal_min(mal_gc_offset(high), limit) : 0;
    return (struct part){mal_round_down(from, MAL_GC_WORD_BYTES),
                         mal_round_up(to, MAL_GC_WORD_BYTES)};
}

void mal_gc_mark_rescan(struct mal_gc_worker *worker, uintptr_t low, uintptr_t high) {
    struct part part = part_of_heap(low, high);
    mal_critical_enter();
    mal_gc_worker_hold(worker);
    while (part.from < part.to) {
        uint64_t end = mal_min(part.to, mal_round_down(part.from, MAL_PAGE_BYTES) + MAL_PAGE_BYTES);
        mal_gc_mark_rescan_in_page(worker, part.from, end);
        part.from = end;
    }
    mal_critical_leave();
}

void mal_gc_mark_rescan_later(struct mal_gc_worker *worker, uintptr_t low, uintptr_t high) {
    struct part part = part_of_heap(mal_round_down(low, MAL_GC_PIECE_BYTES), high);
    mal_critical_enter();
    mal_gc_worker_hold(worker);
    for (uint64_t at = part.from; at < part.to; at += MAL_GC_PIECE_BYTES)
        if (mal_gc_page_at(at) != 0)
            mal_gc_mark_push(worker, at | MAL_GC_ITEM_PIECE);
    mal_critical_leave();
}

void mal_gc_mark_rescan_by_many(struct mal_gc_worker *worker, uintptr_t low, uintptr_t high) {
    if (high - low <= ALONE_BYTES)
        mal_gc_mark_rescan(worker, low, high);
    else
        mal_gc_mark_rescan_later(worker, low, high);
}
