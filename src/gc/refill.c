/* SPDX-License-Identifier: Apache-2.0
 *
 * What lies between the fast path and the lists of spans: windows and cached spans.
 *
 * A thread caches one span per span class and hands out its free slots one window of 1 KiB after
 * the other. Taking a window makes all its free slots allocated at once: their memory and pointer
 * bits are zeroed, as it is about to be used anyway, while phase == MARK their mark bits are set,
 * and then their alloc bits, so that the fast path has nothing left to do but take a bit. Path
 * up: window used up -> next one; span used up -> back to the lists, and another one: swept with
 * room, or swept now, or new. Path down: a flush makes the slots of the window that were not handed
 * out free again; where markers run meanwhile, which is when a thread ends, they stay allocated and
 * die with the next cycle.
 *
 *     phase == MARK  =>  every slot in a window is marked before it is allocated: windows of
 *                        before were taken back while the world was stopped
 *     marked_bytes    =  of all slots whose mark is set, counted by whoever set it
 *
 * SYNCHRONIZATION: a cache belongs to its thread inside critical sections, and to the collector
 * while the world is stopped. Spans change hands in structural sections (gc/spans.h).
 *
 * Must never hand out a slot of a span that is not swept.
 */
#include "gc/alloc.h"

#include "base/bits.h"
#include "base/check.h"
#include "os/critical.h"

#include <string.h>

#define SWEEPS_AT_ONCE 100u /* full spans a refill sweeps before it takes a new one */

static bool is_empty_memory(const struct mal_span *span) {
    return span->flags & MAL_SPAN_ZEROED;
}

static bool fits_mask(const struct mal_span *span) {
    return span->gc.object_bytes <= MAL_GC_MASK_BYTES;
}

/* Slots side by side, which may reach behind their window: zero, and without pointer bits. */
static void clear_run(const struct mal_span *span, uintptr_t from, size_t bytes) {
    if (!is_empty_memory(span))
        memset((void *)from, 0, bytes);
    if (!mal_gc_span_is_noscan(span) && !fits_mask(span))
        mal_gc_layout_clear(mal_gc_offset(from), bytes);
}

/* Bits that are set from the lowest one of `bits` on; bits is not 0. */
static unsigned run_length(uint64_t bits) {
    uint64_t gap = ~(bits >> __builtin_ctzll(bits));
    return gap ? (unsigned)__builtin_ctzll(gap) : 64;
}

/* Slots do not overlap, so the product of where they begin and the granules of one of them is the
 * granules of all of them; but of the last one those behind the window, which has no bit for them.
 */
static void clear_slots(const struct mal_span *span, uintptr_t base, uint64_t slots) {
    size_t granules = span->gc.object_bytes >> MAL_GRANULE_SHIFT;
    size_t end = mal_log2_floor(slots) + granules;
    uint64_t covered = slots * (~0ull >> (granules < 64 ? 64 - granules : 0));
    while (covered) {
        size_t first = (unsigned)__builtin_ctzll(covered);
        size_t behind = first + run_length(covered);
        covered = behind < 64 ? covered >> behind << behind : 0;
        if (behind == 64)
            behind = end;
        clear_run(span, base + (first << MAL_GRANULE_SHIFT), (behind - first) << MAL_GRANULE_SHIFT);
    }
}

static void count_scan(const struct mal_span *span, int64_t bytes) {
    mal_add_relaxed(&mal_gc_totals.live_bytes, (uint64_t)bytes);
    if (!mal_gc_span_is_noscan(span))
        mal_add_relaxed(&mal_gc_totals.scan_bytes, (uint64_t)bytes);
}

/* Marks of new objects are counted in bytes like any other. */
static void count_black(const struct mal_span *span, int64_t bytes) {
    mal_add_relaxed(&mal_gc_totals.marked_bytes, (uint64_t)bytes);
    if (!mal_gc_span_is_noscan(span))
        mal_add_relaxed(&mal_gc_totals.marked_scan_bytes, (uint64_t)bytes);
}

static void blacken(const struct mal_span *span, struct mal_gc_line *line, uint64_t slots) {
    uint64_t black = mal_gc_begin_black(line, slots);
    if (black)
        count_black(span, (int64_t)(mal_popcount(black) * span->gc.object_bytes));
}

/* What their pointer bits will be, most likely. */
static void guess_bits(struct mal_gc_bin *bin, uint64_t slots) {
    const struct mal_span *span = bin->span;
    if (mal_gc_span_is_noscan(span) || !fits_mask(span))
        return;
    bin->mask = bin->next_mask;
    mal_gc_layout_fill(mal_gc_offset(bin->base), slots, span->gc.object_bytes, bin->mask);
}

static void open_window(struct mal_gc_cache *cache, struct mal_gc_bin *bin, size_t window,
                        uint64_t free) {
    struct mal_span *span = bin->span;
    bin->base = (uintptr_t)span->base + window * MAL_GC_WINDOW_BYTES;
    struct mal_gc_line *line = mal_gc_line_at(mal_gc_offset(bin->base));
    clear_slots(span, bin->base, free);
    guess_bits(bin, free);
    blacken(span, line, free);
    mal_gc_allocate_slots(line, free);
    span->gc.handed_count += mal_popcount(free);
    bin->window = mal_gc_sample_split(cache, free, span->gc.object_bytes);
    bin->rest = free & ~bin->window;
}

bool mal_gc_bin_advance(struct mal_gc_cache *cache, struct mal_gc_bin *bin) {
    struct mal_span *span = bin->span;
    const uint64_t *starts = mal_gc_class[span->gc.span_class >> 1].starts;
    struct mal_gc_line *line = mal_gc_line_at(mal_gc_span_offset(span));
    size_t windows = span->pages * MAL_GC_WINDOWS_PER_PAGE;
    for (size_t at = span->gc.next_window; at < windows; at++) {
        uint64_t free = starts[at] & ~mal_load_relaxed(&line[at].alloc);
        if (free == 0)
            continue;
        span->gc.next_window = (uint16_t)(at + 1);
        open_window(cache, bin, at, free);
        return true;
    }
    span->gc.next_window = (uint16_t)windows;
    return false;
}

/* ---- back ---- */

static void close_window(struct mal_gc_bin *bin) {
    uint64_t unused = bin->window | bin->rest;
    struct mal_span *span = bin->span;
    if (unused == 0)
        return;
    struct mal_gc_line *line = mal_gc_line_at(mal_gc_offset(bin->base));
    int64_t count = mal_popcount(unused);
    mal_and_relaxed(&line->alloc, ~unused);
    span->gc.handed_count -= (uint32_t)count;
    if (mal_gc_phase == MAL_GC_MARK) {
        mal_and_relaxed(&line->mark, ~unused);
        count_black(span, -count * (int64_t)span->gc.object_bytes);
    }
    bin->window = bin->rest = 0;
}

static void settle_counts(struct mal_gc_central *central, struct mal_span *span) {
    uint64_t handed = span->gc.handed_count;
    int64_t unused = (int64_t)span->gc.charged_count - (int64_t)handed;
    count_scan(span, -unused * (int64_t)span->gc.object_bytes);
    mal_lock(&central->lock);
    central->mallocs += handed;
    central->malloc_bytes += handed * span->gc.object_bytes;
    mal_unlock(&central->lock);
    /* What was handed out has been written to, and the rest is not told apart from it. */
    span->flags &= (uint8_t)~MAL_SPAN_ZEROED;
    span->gc.handed_count = 0;
    mal_store_relaxed(&span->gc.charged_count, 0u);
    span->gc.next_window = 0;
}

/* Hands the bin's span back. In a structural section. */
static void bin_flush(struct mal_gc_bin *bin) {
    struct mal_span *span = bin->span;
    if (!span)
        return;
    close_window(bin);
    settle_counts(&mal_gc_central[span->gc.span_class], span);
    *bin = (struct mal_gc_bin){.next_mask = bin->next_mask};
    mal_gc_span_put_back(span);
}

void mal_gc_heap_flush(struct mal_gc_cache *cache) {
    mal_gc_gate_enter();
    for (unsigned i = 0; i < MAL_GC_SPAN_CLASSES; i++)
        if (cache->bin[i].span)
            bin_flush(&cache->bin[i]);
    cache->tiny = cache->tiny_bytes = 0;
    mal_gc_gate_leave();
}

static void keep_window(struct mal_gc_bin *bin) {
    bin->window = bin->rest = 0;
}

/* While marking, a marker that was led to a slot of a window may have seen that it is allocated and
 * not have marked it yet: taken back now, the slot would be marked and free. So none is. */
void mal_gc_heap_abandon(struct mal_gc_cache *cache) {
    for (unsigned i = 0; mal_gc_phase == MAL_GC_MARK && i < MAL_GC_SPAN_CLASSES; i++)
        keep_window(&cache->bin[i]);
    mal_gc_heap_flush(cache);
}

/* ---- forth ---- */

static struct mal_span *pop(struct mal_gc_central *central,
                            struct mal_span *take(struct mal_gc_central *)) {
    mal_lock(&central->lock);
    struct mal_span *span = take(central);
    mal_unlock(&central->lock);
    return span;
}

/* Sweeps spans of the class until one has room. */
static struct mal_span *sweep_one_with_room(struct mal_gc_central *central) {
    for (unsigned i = 0; i < SWEEPS_AT_ONCE; i++) {
        struct mal_span *span = pop(central, mal_gc_list_pop_unswept);
        if (!span)
            break;
        size_t pages = span->pages;
        mal_gc_sweep_span(span);
        bool has_room = span->gc.free_count > 0;
        if (!has_room)
            mal_gc_span_put_back(span);
        mal_gc_sweep_note_done(pages);
        if (has_room)
            return span;
    }
    return NULL;
}

static struct mal_span *find_span(unsigned span_class) {
    struct mal_gc_central *central = &mal_gc_central[span_class];
    struct mal_span *span = pop(central, mal_gc_list_pop_partial);
    if (!span)
        span = sweep_one_with_room(central);
    return span ? span : mal_gc_span_new(span_class, 0);
}

static bool has_marks(const struct mal_span *span) {
    const struct mal_gc_line *line = mal_gc_line_at(mal_gc_span_offset(span));
    for (size_t i = 0; i < span->pages * MAL_GC_WINDOWS_PER_PAGE; i++)
        if (mal_load_relaxed(&line[i].mark))
            return true;
    return false;
}

uint64_t mal_gc_bin_refill(struct mal_gc_bin *bin, unsigned span_class) {
    uint64_t bytes = 0;
    mal_gc_gate_enter();
    bin_flush(bin);
    struct mal_span *span = find_span(span_class);
    if (span) {
        MAL_SLOW_ASSERT(mal_gc_phase == MAL_GC_MARK || !has_marks(span));
        bytes = span->gc.free_count * span->gc.object_bytes;
        mal_store_relaxed(&span->gc.charged_count, span->gc.free_count);
        span->gc.handed_count = 0;
        span->gc.next_window = 0;
        bin->span = span;
        count_scan(span, (int64_t)bytes);
    }
    mal_gc_gate_leave();
    return bytes;
}
