/* SPDX-License-Identifier: Apache-2.0
 *
 * Marking: the kernel. It marks what is queued, scans it, and queues what that points to.
 *
 * Path up: words become items, which are queued in the worker's buffer (mark_private.h,
 * mark_queue.c). Words that point to objects of the window that is being scanned do not: objects
 * that were allocated one after the other often point to each other, and what is known of 1 KiB of
 * them fits three registers. So a window is scanned until nothing in it is grey, in rounds: what is
 * grey, then what of the window that led to and was white, and so on. Each round is one atomic
 * operation, and its words are those of all its objects, block by block.
 *
 * Path down: items are taken from the buffer 16 at a time. All 16 are marked, those in one window
 * by one atomic operation, before any is scanned: an atomic operation waits for the words that were
 * read before it. Then the windows of those that were white and may hold pointers are scanned;
 * with each, the lines that one of the next 16 will need (its bits, its first words) are
 * prefetched. So some are always on their way, and never more than the CPU can wait for at once.
 * Where the last window turned out to be full of what is reached, so will be the next one: then all
 * of it that lies behind its first object is prefetched while this one is scanned. An object is
 * always marked before its words are read. Large objects are scanned in oblets of 128 KiB, which
 * other workers may take.
 *
 * SYNCHRONIZATION
 *   1. A worker belongs to whoever took it, inside a critical section, and counts as a holder.
 *   2. Mark bits: a relaxed load, then a compare-and-swap; the one that set the bit scans the
 *      object. Against a page's writer: see settle in gc/dirty_uffd.c.
 *   3. Alloc bits are read anew before each compare-and-swap, after the mark bits. While marking
 *      they are set only for objects that are black, and cleared only for slots that nobody was
 *      given; so one that was read early can hide a black object, which then is looked up like any
 *      other, but not a white one.
 *   4. The tables' limit grows. What lies beyond one that was read in this critical section was
 *      allocated since, so it is black.
 *   5. A word may be read twice (scan_inner). The second value is as good as the first one: either
 *      it is the same, or the page was written to since and will be scanned again.
 *
 * Must never read the words of an object that is not marked, never touch a span's descriptor for a
 * small object, and never allocate.
 */
#include "gc/mark_private.h"

#include "base/bits.h"
#include "base/check.h"
#include "gc/heap.h"

#include <string.h>

#define LOOKS_EVERY 64u /* items between two looks at `stop` and at whether others starve */
#define LOOKS_EVERY_BYTES (16u << 10)
#define FULL_BYTES (MAL_GC_WINDOW_BYTES / 4) /* of a window that counts as full */

/* ---- scanning ---- */

static inline bool holds_scan_objects(uint64_t offset) {
    uint32_t page = mal_gc_page_at(offset);
    return page != 0 && !(page & MAL_GC_PAGE_NOSCAN);
}

/* Words from `from` on, by the bits of those that may be pointers. */
static inline void scan_words(struct mal_gc_worker *worker, uint64_t from, uint64_t bits) {
    for (; bits; bits &= bits - 1)
        mal_gc_mark_consider(worker, mal_gc_mark_load_word(from + (uint64_t)__builtin_ctzll(bits) *
                                                                      MAL_GC_WORD_BYTES));
}

/* The words of [from, to) that may be pointers, by the bits of their object. */
void mal_gc_mark_scan(struct mal_gc_worker *worker, uint64_t from, uint64_t to) {
    MAL_ASSERT(from >= to || holds_scan_objects(from));
    worker->scanned_bytes += to - from;
    while (from < to) {
        uint64_t end = mal_min(to, (from | (MAL_GC_MASK_BYTES - 1)) + 1);
        scan_words(worker, from, mal_gc_mark_pointer_bits(from, end));
        from = end;
    }
}

/* ---- large objects ---- */

static void scan_oblet(struct mal_gc_worker *worker, uint64_t offset) {
    mal_gc_mark_scan(worker, offset,
                     mal_min(offset + MAL_GC_OBLET_BYTES, mal_gc_mark_large_end(offset)));
}

/* The first oblet now, the others later, by anybody. */
static void scan_large(struct mal_gc_worker *worker, uint64_t offset) {
    uint64_t end = mal_gc_mark_large_end(offset);
    for (uint64_t at = offset + MAL_GC_OBLET_BYTES; at < end; at += MAL_GC_OBLET_BYTES)
        mal_gc_mark_push(worker, at | MAL_GC_ITEM_OBLET);
    scan_oblet(worker, offset);
}

/* ---- windows ---- */

/* A window, which is all of one span. */
struct window {
    struct mal_gc_line *line;
    uint64_t offset; /* where it begins */
    uint64_t alloc;  /* its objects, as last read */
    uint64_t object; /* a bit for each word of one that begins at the first */
};

/* Those words of a block that point into the window, but not to where an object begins. */
static MAL_SLOW void scan_inner(struct mal_gc_worker *worker, const struct window *window,
                                uint64_t block, uint64_t words) {
    for (; words; words &= words - 1) {
        uint64_t offset = mal_gc_offset(
            mal_gc_mark_load_word(block + (uint64_t)__builtin_ctzll(words) * MAL_GC_WORD_BYTES));
        if (offset - window->offset < MAL_GC_WINDOW_BYTES &&
            !(window->alloc & mal_gc_bit_at(offset)))
            mal_gc_mark_consider_offset(worker, offset);
    }
}

/* Words of a block by their bits. Those that point to where an object of the window begins are
 * returned, by its bit; all others go the usual way. Whether a word is a pointer cannot be
 * foretold, so that is no branch, and what is found elsewhere is looked up when all have been read.
 */
MAL_FAST uint64_t scan_block(struct mal_gc_worker *worker, const struct window *window,
                             uint64_t block, uint64_t words) {
    uint64_t base = mal_gc_tables.base, limit = mal_load_relaxed(&mal_gc_tables.limit);
    const uintptr_t *first = (const uintptr_t *)(base + block);
    uint64_t elsewhere[64];
    uint64_t wanted = 0;
    uint32_t count = 0;
    for (uint64_t left = words; left; left &= left - 1) {
        uint64_t offset = mal_gc_mark_load(first + __builtin_ctzll(left)) - base;
        uint64_t inside = offset - window->offset;
        uint64_t with = wanted | 1ull << (inside >> MAL_GRANULE_SHIFT & 63);
        elsewhere[count] = offset;
        count += offset < limit;
        count -= inside < MAL_GC_WINDOW_BYTES;
        wanted = inside < MAL_GC_WINDOW_BYTES ? with : wanted;
    }
    for (uint32_t i = 0; i < count; i++)
        mal_gc_mark_consider_offset(worker, elsewhere[i]);
    if (MAL_UNLIKELY(wanted & ~window->alloc))
        scan_inner(worker, window, block, words);
    return wanted;
}

/* All words of several grey objects. None overlap, so a product has the words of all of them. The
 * last may reach into the next block, and the next window. */
MAL_FAST uint64_t scan_many(struct mal_gc_worker *worker, const struct window *window,
                            uint64_t grey) {
    uint64_t wanted = 0, reaches = 0;
    for (uint64_t block = window->offset; grey | reaches; grey >>= 32, block += MAL_GC_MASK_BYTES) {
        unsigned __int128 all = (unsigned __int128)mal_gc_spread((uint32_t)grey) * window->object;
        uint64_t words = ((uint64_t)all | reaches) & mal_load_relaxed(mal_gc_pointer_word(block));
        reaches = (uint64_t)(all >> 64);
        wanted |= scan_block(worker, window, block, words);
    }
    return wanted;
}

/* The words of grey objects. Where it is one, no branch tells in which block it lies. */
MAL_FAST uint64_t scan_grey(struct mal_gc_worker *worker, const struct window *window,
                            uint64_t grey) {
    unsigned first = (unsigned)__builtin_ctzll(grey);
    unsigned shift = 2 * first & 63;
    if (grey & (grey - 1) || window->object << shift >> shift != window->object)
        return scan_many(worker, window, grey);
    uint64_t block = window->offset + (first & 32) * (MAL_GC_MASK_BYTES / 32);
    return scan_block(worker, window, block,
                      window->object << shift & mal_load_relaxed(mal_gc_pointer_word(block)));
}

/* Marks those of the wanted objects that are white; returns them. */
static inline uint64_t mark_wanted(struct mal_gc_worker *worker, struct window *window,
                                   uint64_t wanted) {
    uint64_t seen = mal_load_relaxed(&window->line->mark);
    window->alloc = mal_load_relaxed(&window->line->alloc);
    uint64_t bits = wanted & window->alloc & ~seen;
    MAL_ASSERT(!bits || mal_gc_may_mark(worker));
    return bits ? mal_gc_set_marks(window->line, seen, bits) : 0;
}

/* Scans what is grey in the item's window, and what that leads to there. Small objects are counted
 * here, as marked and as scanned. */
static inline void scan_window(struct mal_gc_worker *worker, uint64_t item, uint64_t grey,
                               uint64_t object_bytes) {
    uint64_t offset = mal_gc_item_offset(item);
    struct window window = {
        .line = mal_gc_line_at(offset),
        .offset = mal_round_down(offset, MAL_GC_WINDOW_BYTES),
        .object = ~0ull >> (64 - object_bytes / MAL_GC_WORD_BYTES),
    };
    uint64_t scanned = grey;
    window.alloc = mal_load_relaxed(&window.line->alloc);
    MAL_ASSERT(holds_scan_objects(offset));
    for (;;) {
        uint64_t wanted = scan_grey(worker, &window, grey);
        if (!wanted || !(grey = mark_wanted(worker, &window, wanted)))
            break;
        scanned |= grey;
    }
    uint64_t bytes = (scanned & (scanned - 1) ? mal_popcount(scanned) : 1) * object_bytes;
    worker->window_bytes = (uint32_t)bytes;
    worker->scanned_bytes += bytes;
    worker->marked_bytes += bytes;
    worker->marked_scan_bytes += bytes;
}

static MAL_SLOW void scan_each(struct mal_gc_worker *worker, uint64_t item, uint64_t grey,
                               uint64_t object_bytes) {
    unsigned span_class = mal_gc_item_span_class(item);
    uint64_t window = mal_round_down(mal_gc_item_offset(item), MAL_GC_WINDOW_BYTES);
    for (; grey; grey &= grey - 1) {
        uint64_t offset = window + ((uint64_t)__builtin_ctzll(grey) << MAL_GRANULE_SHIFT);
        mal_gc_count_marked(worker, offset, span_class, 1);
        if (span_class >> 1 == MAL_GC_CLASS_LARGE)
            scan_large(worker, offset);
        else
            mal_gc_mark_scan(worker, offset, offset + object_bytes);
    }
}

/* ---- items, processed ---- */

/* Objects of one window that are marked and to be scanned. */
struct visit {
    uint64_t item; /* one of them, or one beside them */
    uint64_t grey;
};

static inline void finish_visit(struct mal_gc_worker *worker, const struct visit *visit) {
    uint64_t bytes = mal_gc_class[mal_gc_item_span_class(visit->item) >> 1].size_bytes;
    if (MAL_UNLIKELY(bytes - 1 >= MAL_GC_MASK_BYTES)) /* 0 in class LARGE */
        scan_each(worker, visit->item, visit->grey, bytes);
    else
        scan_window(worker, visit->item, visit->grey, bytes);
}

/* A grey item was counted when it was marked, and its visit will count it once more. */
static MAL_SLOW uint32_t begin_grey(struct mal_gc_worker *worker, uint64_t item,
                                    struct visit *visit) {
    uint64_t marked = worker->marked_bytes;
    uint64_t offset = mal_gc_item_offset(item);
    mal_gc_count_marked(worker, offset, mal_gc_item_span_class(item), 1);
    uint64_t bytes = worker->marked_bytes - marked;
    worker->marked_bytes -= 2 * bytes;
    worker->marked_scan_bytes -= 2 * bytes;
    *visit = (struct visit){item, mal_gc_bit_at(offset)};
    return 1;
}

/* Part of an object or of memory, or an object that is marked. Returns how many visits it makes. */
static MAL_SLOW uint32_t begin_flagged(struct mal_gc_worker *worker, uint64_t item,
                                       struct visit *visit) {
    uint64_t offset = mal_gc_item_offset(item);
    if (item & MAL_GC_ITEM_GREY)
        return begin_grey(worker, item, visit);
    if (item & MAL_GC_ITEM_OBLET)
        scan_oblet(worker, offset);
    else
        mal_gc_mark_rescan_in_page(worker, offset, offset + MAL_GC_PIECE_BYTES);
    return 0;
}

/* Marks what the items say, neighbours in one window by one atomic operation. Returns how many
 * visits are to be made. */
static inline uint32_t begin_visits(struct mal_gc_worker *worker, const uint64_t *item,
                                    uint32_t count, struct visit *visits) {
    uint32_t begun = 0;
    for (uint32_t i = 0; i < count;) {
        uint64_t first = item[i];
        if (MAL_UNLIKELY(first & MAL_GC_ITEM_FLAGS)) {
            begun += begin_flagged(worker, item[i++], &visits[begun]);
            continue;
        }
        struct window window = {.line = mal_gc_item_line(first)};
        uint64_t wanted = 0;
        do {
            wanted |= mal_gc_bit_at(mal_gc_item_offset(item[i++]));
        } while (i < count && !(item[i] & MAL_GC_ITEM_FLAGS) &&
                 mal_gc_item_line(item[i]) == window.line);
        uint64_t grey = mark_wanted(worker, &window, wanted);
        visits[begun] = (struct visit){first, grey};
        if (!(mal_gc_item_span_class(first) & MAL_GC_PAGE_NOSCAN))
            begun += grey != 0;
        else if (grey)
            mal_gc_count_marked(worker, mal_gc_item_offset(first), mal_gc_item_span_class(first),
                                mal_popcount(grey));
    }
    return begun;
}

/* ---- the loop ---- */

/* Always inline: gcc drops calls of a function that does nothing but prefetch. */
MAL_FAST void prefetch(uint64_t item) {
    __builtin_prefetch(mal_gc_item_line(item), 1);
    __builtin_prefetch((const void *)(mal_gc_tables.base + mal_gc_item_offset(item)));
}

/* What lies behind an object in its window: the CPU notices by itself that it is read in order, but
 * not before it has waited for some lines of each window. */
MAL_FAST void prefetch_rest(uint64_t item) {
    const char *base = (const char *)mal_gc_tables.base;
    uint64_t offset = mal_gc_item_offset(item);
    uint64_t end = mal_round_up(offset + 1, MAL_GC_WINDOW_BYTES);
    for (uint64_t at = offset + MAL_CACHE_LINE_BYTES; at < end; at += MAL_CACHE_LINE_BYTES)
        __builtin_prefetch(base + at);
}

/* Takes the next items. */
static inline void look_ahead(struct mal_gc_worker *worker) {
    struct mal_gc_buffer *buffer = worker->buffer;
    uint32_t count = (uint32_t)mal_min(buffer->count, MAL_GC_AHEAD_ITEMS);
    buffer->count -= count;
    memcpy(worker->ahead, buffer->item + buffer->count, count * sizeof *worker->ahead);
    worker->ahead_count = count;
}

/* The window that is scanned after this one, if it promises to be full. Where objects are scattered
 * most of it would be for nothing. */
MAL_FAST void prefetch_next(const struct mal_gc_worker *worker, const struct visit *next) {
    if (worker->window_bytes >= FULL_BYTES)
        prefetch_rest(next ? next->item : worker->ahead[0]);
}

/* Marked all at once, then scanned. Meanwhile the lines of the next ones are sent for: so there are
 * always some on their way and never more than the CPU can wait for. */
static inline void process(struct mal_gc_worker *worker, const uint64_t *item, uint32_t count) {
    struct visit visits[MAL_GC_AHEAD_ITEMS];
    uint32_t begun = begin_visits(worker, item, count, visits);
    for (uint32_t i = 0; i < worker->ahead_count || i < begun; i++) {
        if (i < worker->ahead_count)
            prefetch(worker->ahead[i]);
        if (i < begun) {
            prefetch_next(worker, i + 1 < begun ? &visits[i + 1] : NULL);
            finish_visit(worker, &visits[i]);
        }
    }
}

/* Up to LOOKS_EVERY items, fewer where they are large; false when the worker has none left. */
bool mal_gc_mark_process(struct mal_gc_worker *worker) {
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
