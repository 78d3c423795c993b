/* SPDX-License-Identifier: Apache-2.0
 *
 * The collected heap as the collector sees it: coming up, the turns of a cycle, numbers, fork.
 *
 *     before_mark   all spans are swept, hence all mark bits are 0
 *     start_mark    world stopped: caches are taken back, phase = MARK
 *     end_mark      world stopped: caches are taken back, phase = OFF, a new turn: all is unswept
 *
 * SYNCHRONIZATION: phase, cycle and turn change while the world is stopped, when nobody is inside a
 * critical section; whoever reads them inside one sees no change. Counters are relaxed.
 *
 * Must never flip the phase with a slot in a thread's cache: its colour would be wrong.
 */
#include "gc/heap.h"

#include "base/bits.h"
#include "base/check.h"
#include "gc/alloc.h"
#include "gc/links.h"
#include "gc/mark.h"
#include "gc/procedures.h"
#include "gc/spans.h"
#include "gc/thread.h"
#include "meta/pagemap.h"
#include "os/critical.h"
#include "os/futex.h"
#include "os/vm.h"

#include <errno.h>

#define SWEEP_STEP_PAGES 1024u
#define SWEEP_WAIT_NS 50000u

uint32_t mal_gc_phase;
uint32_t mal_gc_cycle;
struct mal_gc_heap_hooks mal_gc_hooks;

int mal_gc_heap_init(void) {
    return mal_gc_tables_init() == 0 && mal_gc_mark_init() == 0 ? 0 : -ENOMEM;
}

void mal_gc_heap_set_hooks(const struct mal_gc_heap_hooks *hooks) {
    mal_gc_hooks = *hooks;
}

/* ---- numbers ---- */

static void add_class(struct mal_gc_heap_counters *counters, struct mal_gc_central *central) {
    mal_lock(&central->lock);
    counters->mallocs += central->mallocs;
    counters->frees += central->frees;
    counters->total_alloc_bytes += central->malloc_bytes;
    counters->total_free_bytes += central->free_bytes;
    mal_unlock(&central->lock);
}

struct mal_gc_heap_counters mal_gc_heap_levels(void) {
    return (struct mal_gc_heap_counters){
        .live_bytes = mal_load_relaxed(&mal_gc_totals.live_bytes),
        .marked_bytes = mal_load_relaxed(&mal_gc_totals.last_marked_bytes),
        .scan_bytes = mal_load_relaxed(&mal_gc_totals.scan_bytes),
        .inuse_pages = mal_load_relaxed(&mal_gc_totals.inuse_pages),
        .unswept_pages = mal_load_relaxed(&mal_gc_totals.unswept_pages),
    };
}

struct mal_gc_heap_counters mal_gc_heap_counters(void) {
    struct mal_gc_heap_counters counters = mal_gc_heap_levels();
    for (unsigned i = 0; i < MAL_GC_SPAN_CLASSES; i++)
        add_class(&counters, &mal_gc_central[i]);
    return counters;
}

/* ---- a cycle ---- */

/* Spans that somebody else is just sweeping are waited for. */
void mal_gc_heap_before_mark(void) {
    while (mal_load_acquire(&mal_gc_totals.unswept_pages) > 0)
        if (mal_gc_heap_sweep(SWEEP_STEP_PAGES) == 0)
            mal_futex_nap(SWEEP_WAIT_NS);
}

static void flush_thread(struct mal_gc_thread *thread, void *context) {
    (void)context;
    mal_gc_heap_flush(&thread->cache);
}

/* Spans that marks are still to be turned into alloc bits of are on the other turn's lists. */
static bool are_all_swept(void) {
    unsigned other = ~mal_gc_turn & 1;
    for (unsigned i = 0; i < MAL_GC_SPAN_CLASSES; i++)
        if (mal_gc_central[i].list[MAL_GC_PARTIAL + other] ||
            mal_gc_central[i].list[MAL_GC_FULL + other])
            return false;
    return true;
}

void mal_gc_heap_start_mark(void) {
    MAL_CHECK(mal_gc_phase == MAL_GC_OFF && mal_load_relaxed(&mal_gc_totals.unswept_pages) == 0,
              "a mark began before the last sweep had ended");
    MAL_ASSERT(are_all_swept());
    mal_gc_thread_each(flush_thread, NULL);
    mal_store_relaxed(&mal_gc_totals.marked_bytes, 0ull);
    mal_store_relaxed(&mal_gc_totals.marked_scan_bytes, 0ull);
    mal_gc_mark_begin();
    mal_store_relaxed(&mal_gc_cycle, mal_gc_cycle + 1);
    mal_store_release(&mal_gc_phase, (uint32_t)MAL_GC_MARK);
}

/* Statistics are read meanwhile by threads of our own, which no stop concerns. */
static void settle_totals(void) {
    struct mal_gc_totals *totals = &mal_gc_totals;
    uint64_t marked_bytes = mal_load_relaxed(&totals->marked_bytes);
    mal_store_relaxed(&totals->unswept_pages, mal_load_relaxed(&totals->inuse_pages));
    mal_store_relaxed(&totals->last_marked_bytes, marked_bytes);
    mal_store_relaxed(&totals->live_bytes, marked_bytes);
    mal_store_relaxed(&totals->scan_bytes, mal_load_relaxed(&totals->marked_scan_bytes));
}

void mal_gc_heap_end_mark(void) {
    MAL_CHECK(mal_gc_phase == MAL_GC_MARK && mal_gc_mark_is_done(),
              "a mark ended before everything was marked");
    mal_gc_thread_each(flush_thread, NULL);
    mal_gc_links_end_mark();
    mal_gc_procedures_end_mark();
    MAL_SLOW_ASSERT(mal_gc_check_marked_bytes() == mal_load_relaxed(&mal_gc_totals.marked_bytes));
    mal_store_release(&mal_gc_phase, (uint32_t)MAL_GC_OFF);
    mal_gc_turn++;
    settle_totals();
}

/* ---- looking ---- */

bool mal_gc_heap_find(uintptr_t address, uintptr_t *ret_object, size_t *ret_bytes) {
    uint64_t offset;
    uint32_t page;
    if (!mal_gc_resolve(address, &offset, &page))
        return false;
    *ret_object = mal_gc_tables.base + offset;
    unsigned class = mal_gc_page_span_class(page) >> 1;
    *ret_bytes = class == MAL_GC_CLASS_LARGE
                     ? mal_pagemap_span_at((void *)*ret_object)->gc.object_bytes
                     : mal_gc_class[class].size_bytes;
    return true;
}

MAL_PUBLIC size_t mallard_gc_size(const void *object) {
    uintptr_t start;
    size_t bytes;
    bool found = mal_gc_heap_find((uintptr_t)object, &start, &bytes);
    return found && start == (uintptr_t)object ? bytes : 0;
}

MAL_PUBLIC int mallard_gc_is_noscan(const void *object) {
    return mallard_gc_size(object) > 0 &&
           (mal_gc_page_at(mal_gc_offset((uintptr_t)object)) & MAL_GC_PAGE_NOSCAN) != 0;
}

MAL_PUBLIC void *mallard_gc_base(const void *pointer) {
    uintptr_t start;
    size_t bytes;
    return mal_gc_heap_find((uintptr_t)pointer, &start, &bytes) ? (void *)start : NULL;
}

/* Of 64 pages a bit each. */
struct pages64 {
    uint64_t scan, noscan;
};

static struct pages64 look_at_pages(uint64_t first, uint64_t count) {
    const uint32_t *page = &mal_gc_tables.page[first];
    struct pages64 found = {0, 0};
    for (unsigned i = 0; i < count; i++) {
        uint32_t entry = mal_load_relaxed(&page[i]);
        found.noscan |= (uint64_t)(entry & MAL_GC_PAGE_NOSCAN) << i;
        found.scan |= (uint64_t)(entry != 0) << i;
    }
    found.scan &= ~found.noscan;
    return found;
}

/* The range that grows while runs of scan pages are found. In pages. */
struct scan_range {
    uint64_t low, high;   /* empty: none yet */
    uint64_t noscan_high; /* behind the last noscan page that was passed */
    uint64_t gap_most;
    void (*visit)(uintptr_t low, uintptr_t high, void *context);
    void *context;
};

/* Ranges are of whole OS pages. */
static void visit_range(const struct scan_range *range) {
    uintptr_t os_page = mal_vm_page_bytes();
    if (range->low < range->high)
        range->visit(mal_gc_tables.base + mal_round_down(range->low << MAL_PAGE_SHIFT, os_page),
                     mal_gc_tables.base + mal_round_up(range->high << MAL_PAGE_SHIFT, os_page),
                     range->context);
}

static void add_run(struct scan_range *range, uint64_t low, uint64_t high) {
    bool joins = low - range->high <= range->gap_most && range->noscan_high <= range->high;
    if (!joins || range->low == range->high) {
        visit_range(range);
        range->low = low;
    }
    range->high = high;
}

/* Bits of an unsigned word from the lowest to `end`, which is at most 64. */
static uint64_t bits_below(unsigned end) {
    return end < 64 ? (1ull << end) - 1 : ~0ull;
}

static unsigned first_bit(uint64_t bits) {
    return bits ? (unsigned)__builtin_ctzll(bits) : 64;
}

static void note_noscan(struct scan_range *range, uint64_t at, uint64_t noscan) {
    if (noscan)
        range->noscan_high = at + 64 - (unsigned)__builtin_clzll(noscan);
}

static void add_pages(struct scan_range *range, uint64_t at, struct pages64 pages) {
    while (pages.scan) {
        unsigned first = first_bit(pages.scan);
        unsigned end = first_bit(~(pages.scan | bits_below(first)));
        note_noscan(range, at, pages.noscan & bits_below(first));
        add_run(range, at + first, at + end);
        pages.scan &= ~bits_below(end);
    }
    note_noscan(range, at, pages.noscan);
}

void mal_gc_heap_each_scan_range(uint64_t gap_most_pages,
                                 void (*visit)(uintptr_t low, uintptr_t high, void *context),
                                 void *context) {
    struct scan_range range = {.gap_most = gap_most_pages, .visit = visit, .context = context};
    uint64_t limit = mal_load_acquire(&mal_gc_tables.limit) >> MAL_PAGE_SHIFT;
    for (uint64_t at = 0; at < limit; at += 64)
        add_pages(&range, at, look_at_pages(at, mal_min(limit - at, 64)));
    visit_range(&range);
}

/* ---- fork ---- */

/* The gate first, by mal_gc_hold_for_fork: whoever is inside may need locks of lower rank. */
void mal_gc_heap_before_fork(void) {
    for (unsigned i = 0; i < MAL_GC_SPAN_CLASSES; i++) {
        mal_lock(&mal_gc_central[i].lock);
        mal_lock_note_released(&mal_gc_central[i].lock); /* the rank is there once */
    }
    mal_gc_tables_before_fork();
    mal_gc_mark_before_fork();
}

/* Marks of a mark that will never end. */
static void clear_marks(void) {
    uint64_t limit = mal_gc_tables.limit;
    for (uint64_t at = 0; at < limit; at += MAL_PAGE_BYTES)
        if (mal_gc_page_at(at) != 0)
            for (unsigned i = 0; i < MAL_GC_WINDOWS_PER_PAGE; i++)
                mal_gc_line_at(at)[i].mark = 0;
}

/* Marks from before the last sweep are still needed; those of a mark that was going on are not: a
 * sweep by them would free what it had not reached. */
static void become_child(void) {
    mal_gc_gate_forget();
    /* The registry's lock is still held by the world, and this is the only thread. */
    mal_lock_holds_all = true;
    mal_gc_thread_each(flush_thread, NULL);
    mal_lock_holds_all = false;
    mal_gc_mark_forget_in_child();
    if (mal_gc_phase == MAL_GC_MARK)
        clear_marks();
    mal_gc_phase = MAL_GC_OFF;
}

void mal_gc_heap_after_fork(bool child) {
    mal_gc_mark_after_fork();
    mal_gc_tables_after_fork();
    for (unsigned i = 0; i < MAL_GC_SPAN_CLASSES; i++)
        mal_unlock(&mal_gc_central[i].lock);
    if (child)
        become_child();
    else
        mal_gc_gate_open();
}
