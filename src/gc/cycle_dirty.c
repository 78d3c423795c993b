/* SPDX-License-Identifier: Apache-2.0
 *
 * Pages that were written to while marking went on.
 *
 * Before the first stop every page of scan objects is protected: what was written before does not
 * matter, for nothing is black. A round clears a stretch of pages and then queues those that had
 * been written to: whoever marks scans the marked objects on them again. The last look, in the
 * second stop, clears nothing; its pages go into a list that all workers take from. Spans that came
 * after protecting are asked about like all others: pages that were never cleared count as written.
 *
 * Whatever the backend cannot tell counts as written.
 *
 * SYNCHRONIZATION: the owner's; while the world is stopped `taken` is an atomic that workers take
 * stretches of the list by.
 *
 * Must never drop what a clear reported, once protecting is over.
 */
#include "gc/cycle_private.h"

#include "base/atomic.h"
#include "base/bits.h"
#include "base/check.h"
#include "gc/arena.h"
#include "gc/heap.h"
#include "gc/mark.h"
#include "gc/specials.h"
#include "gc/steps.h"
#include "meta/memory.h"
#include "meta/pagemap.h"
#include "os/vm.h"
#include "pageheap/pageheap.h"

#define CHUNK_BYTES (32ull << 20)

/* Each range is a system call, and if it protects anything, an interruption of all CPUs. A page
 * between two ranges that is protected without need costs a fault, if somebody writes to it; one
 * that is not protected any more without need costs nothing. */
#define PROTECTED_GAP_PAGES 4u
#define FREED_GAP_PAGES 256u

#define LIST_MOST 65536u
#define TAKE_MOST 16u

enum where { HEAP, ARENAS };

struct stretch {
    uintptr_t low, high;
    enum where where;
};

struct pass {
    struct mal_gc_run *run;
    struct mal_gc_worker *worker;
    enum where where;
    uint64_t bytes;
    int error;
};

static struct stretch *list;   /* LIST_MOST entries; NULL until needed */
static uint32_t listed;        /* the owner's */
static uint32_t taken;         /* atomic */
static uintptr_t watched_high; /* the heap is watched up to here; the owner's */
static uint32_t cleared_for;   /* the cycle for whose mark all pages were cleared; the owner's */

static void each_range(uint64_t gap_most_pages, mal_gc_dirty_visit *visit, struct pass *pass) {
    pass->where = HEAP;
    mal_gc_heap_each_scan_range(gap_most_pages, visit, pass);
    pass->where = ARENAS;
    mal_gc_arenas_each_scan_range(visit, pass);
}

/* ---- protecting ---- */

/* The heap is one mapping and grows at its end: watched as a whole, it stays one. */
static int watch_heap(const struct mal_gc_dirty *dirty) {
    uintptr_t low = (uintptr_t)mal_pagemap_address(0);
    uintptr_t high = (uintptr_t)mal_pagemap_address(mal_pageheap_end_page());
    if (high <= watched_high)
        return 0;
    int error = dirty->add(low, high);
    if (error == 0)
        watched_high = high;
    return error;
}

/* Parts of the heap are mapped anew at times, and are watched no more then. */
static int clear_or_watch(const struct mal_gc_dirty *dirty, uintptr_t low, uintptr_t high) {
    MAL_ASSERT(mal_load_relaxed(&mal_gc_phase) == MAL_GC_OFF); /* what was written is dropped */
    if (dirty->clear(low, high, NULL, NULL) == 0)
        return 0;
    int error = dirty->add(low, high);
    return error ? error : dirty->clear(low, high, NULL, NULL);
}

static void protect(uintptr_t low, uintptr_t high, void *context) {
    struct pass *pass = context;
    for (; low < high && pass->error == 0; low += mal_min(high - low, CHUNK_BYTES)) {
        mal_gc_step_begin();
        uintptr_t end = low + mal_min(high - low, CHUNK_BYTES);
        pass->error = clear_or_watch(pass->run->dirty, low, end);
        mal_gc_step_end();
    }
}

bool mal_gc_dirty_protect(struct mal_gc_run *run) {
    struct pass pass = {.run = run};
    pass.error = watch_heap(run->dirty);
    if (pass.error == 0)
        each_range(PROTECTED_GAP_PAGES, protect, &pass);
    cleared_for = pass.error == 0 ? mal_gc_cycle + 1 : 0;
    return pass.error == 0;
}

/* Every page was cleared before the first object of this mark was scanned or black. */
static bool is_cleared_for_this_mark(void) {
    return mal_gc_phase == MAL_GC_MARK && cleared_for == mal_gc_cycle;
}

/* ---- rounds ---- */

/* Objects with finalizers are not marked, what they lead to is. */
static void scan_again(struct mal_gc_worker *worker, struct stretch stretch) {
    if (stretch.where == ARENAS) {
        mal_gc_mark_range(worker, stretch.low, stretch.high);
        return;
    }
    mal_gc_mark_rescan_by_many(worker, stretch.low, stretch.high);
    mal_gc_specials_rescan(worker, stretch.low, stretch.high);
}

static void rescan(uintptr_t low, uintptr_t high, void *context) {
    struct pass *pass = context;
    pass->bytes += high - low;
    scan_again(pass->worker, (struct stretch){low, high, pass->where});
}

/* What the round reports is for all workers, at once. */
static void rescan_later(uintptr_t low, uintptr_t high, void *context) {
    struct pass *pass = context;
    if (pass->where != HEAP) {
        rescan(low, high, pass);
        return;
    }
    pass->bytes += high - low;
    mal_gc_mark_rescan_later(pass->worker, low, high);
    mal_gc_specials_rescan(pass->worker, low, high);
}

static void clear_and_rescan(uintptr_t low, uintptr_t high, void *context) {
    struct pass *pass = context;
    for (; low < high; low += mal_min(high - low, CHUNK_BYTES)) {
        uintptr_t end = low + mal_min(high - low, CHUNK_BYTES);
        mal_gc_step_begin();
        if (pass->run->dirty->clear(low, end, rescan_later, pass) != 0)
            rescan_later(low, end, pass);
        mal_gc_step_end();
    }
}

uint64_t mal_gc_dirty_round(struct mal_gc_run *run, struct mal_gc_worker *worker) {
    struct pass pass = {.run = run, .worker = worker};
    MAL_ASSERT(is_cleared_for_this_mark());
    watch_heap(run->dirty);
    each_range(PROTECTED_GAP_PAGES, clear_and_rescan, &pass);
    return pass.bytes / mal_vm_page_bytes();
}

/* ---- the last look ---- */

static void put(uintptr_t low, uintptr_t high, void *context) {
    struct pass *pass = context;
    if (!list || listed == LIST_MOST) {
        rescan(low, high, pass);
        return;
    }
    pass->bytes += high - low;
    list[listed++] = (struct stretch){low, high, pass->where};
}

/* Whether a page that was not reported is one that was not written to. */
static bool is_watched(const struct pass *pass, uintptr_t high) {
    return pass->where == ARENAS || high <= watched_high;
}

static void look(uintptr_t low, uintptr_t high, void *context) {
    struct pass *pass = context;
    for (; low < high; low += mal_min(high - low, CHUNK_BYTES)) {
        uintptr_t end = low + mal_min(high - low, CHUNK_BYTES);
        if (pass->run->dirty->look(low, end, put, pass) != 0)
            put(low, end, pass);
        else
            MAL_ASSERT(is_watched(pass, end));
    }
}

uint64_t mal_gc_dirty_look(struct mal_gc_run *run, struct mal_gc_worker *worker) {
    struct pass pass = {.run = run, .worker = worker};
    MAL_ASSERT(is_cleared_for_this_mark());
    if (!list)
        list = mal_meta_map(LIST_MOST * sizeof *list, MAL_META_GC);
    listed = 0;
    each_range(PROTECTED_GAP_PAGES, look, &pass);
    mal_store_release(&taken, 0u);
    return pass.bytes / mal_vm_page_bytes();
}

void mal_gc_dirty_share(struct mal_gc_worker *worker) {
    for (uint32_t at; (at = mal_add_relaxed(&taken, TAKE_MOST)) < listed;)
        for (uint32_t i = at; i < mal_min(at + TAKE_MOST, listed); i++)
            scan_again(worker, list[i]);
}

/* ---- afterwards ---- */

static void unprotect(uintptr_t low, uintptr_t high, void *context) {
    struct pass *pass = context;
    for (; low < high; low += mal_min(high - low, CHUNK_BYTES)) {
        mal_gc_step_begin();
        pass->run->dirty->unprotect(low, low + mal_min(high - low, CHUNK_BYTES));
        mal_gc_step_end();
    }
}

void mal_gc_dirty_unprotect(struct mal_gc_run *run) {
    struct pass pass = {.run = run};
    MAL_ASSERT(mal_load_relaxed(&mal_gc_phase) == MAL_GC_OFF); /* what was written is dropped */
    each_range(FREED_GAP_PAGES, unprotect, &pass);
}

void mal_gc_dirty_forget_in_child(void) {
    mal_gc_dirty_uffd.forget_in_child();
    watched_high = 0;
    listed = 0;
}
