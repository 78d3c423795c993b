/* SPDX-License-Identifier: Apache-2.0
 *
 * Pages that were written to while marking went on.
 *
 * Before the first stop every page of scan objects is protected: what was written before does not
 * matter, for nothing is black. A round clears a stretch of pages and then queues those that had
 * been written to: whoever marks scans the marked objects on them again. The last look, in the
 * second stop, clears nothing; its pages go into a list that all workers take from. So do, of
 * rounds too, pages of arenas, which are no objects that could be queued: in stretches of
 * ARENA_STRETCH_BYTES at most. What is freed of an arena stays readable while marking. Spans that
 * came after protecting are asked about like all others: pages that were never cleared count as
 * written.
 *
 * Whatever the backend cannot tell counts as written.
 *
 * SYNCHRONIZATION: the owner's, but for the list, which workers take stretches from by adding to
 * `taken`. The owner closes the list, then waits until nobody is `helping`, makes it anew and opens
 * it; whoever helps counts itself first and then takes. All four are sequentially consistent, so
 * either the owner sees the helper or the helper finds the list closed: no entry is read while it
 * is written. A helper scans what it took before it counts itself off, and before it obeys the end
 * of marking (workers.c): so a list that was taken is scanned before the stop that follows.
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
#include "gc/workers.h"
#include "meta/memory.h"
#include "meta/pagemap.h"
#include "os/futex.h"
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
#define ARENA_STRETCH_BYTES (64ull << 10) /* a mebibyte is taken at once */
#define CLOSED (1u << 31)                 /* more than can be listed, and taken by all at once */
#define HELPERS_WAIT_NS 20000u

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

static struct stretch *list; /* LIST_MOST entries; NULL until needed */
static uint32_t listed;      /* the owner's while the list is closed, constant then */
static uint32_t taken = CLOSED;
static uint32_t helping;       /* atomic; workers beside the program that may read the list */
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

/* ---- the list ---- */

static void begin_list(void) {
    if (!list)
        list = mal_meta_map(LIST_MOST * sizeof *list, MAL_META_GC);
    mal_store_seq_cst(&taken, CLOSED);
    while (mal_load_seq_cst(&helping) != 0)
        mal_futex_nap(HELPERS_WAIT_NS);
    listed = 0;
}

static void end_list(void) {
    mal_store_seq_cst(&taken, 0u);
}

static void put(uintptr_t low, uintptr_t high, void *context) {
    struct pass *pass = context;
    if (!list || listed == LIST_MOST) {
        rescan(low, high, pass);
        return;
    }
    pass->bytes += high - low;
    list[listed++] = (struct stretch){low, high, pass->where};
}

/* Runs of the heap's pages are queued in pieces where they are long. */
static void put_cut(uintptr_t low, uintptr_t high, void *context) {
    const struct pass *pass = context;
    for (uintptr_t end; pass->where == ARENAS && high - low > ARENA_STRETCH_BYTES; low = end) {
        end = low + ARENA_STRETCH_BYTES;
        put(low, end, context);
    }
    put(low, high, context);
}

/* Who looks first adds only where there may be something: a closed list would else be counted open
 * again by as many looks as the word has room for. */
static bool may_be_left(void) {
    return mal_load_relaxed(&taken) < LIST_MOST;
}

/* False when all is taken. */
static bool share_some(struct mal_gc_worker *worker) {
    if (!may_be_left())
        return false;
    uint32_t at = __atomic_fetch_add(&taken, TAKE_MOST, __ATOMIC_SEQ_CST);
    if (at >= CLOSED || at >= listed)
        return false;
    for (uint32_t i = at; i < mal_min(at + TAKE_MOST, listed); i++)
        scan_again(worker, list[i]);
    return true;
}

void mal_gc_dirty_share(struct mal_gc_worker *worker) {
    while (share_some(worker))
        ;
}

bool mal_gc_dirty_help(struct mal_gc_worker *worker) {
    if (!may_be_left())
        return false;
    __atomic_add_fetch(&helping, 1u, __ATOMIC_SEQ_CST);
    bool helped = share_some(worker);
    __atomic_sub_fetch(&helping, 1u, __ATOMIC_SEQ_CST);
    return helped;
}

/* ---- rounds, made ---- */

/* What the round reports is for all workers, at once. */
static void rescan_later(uintptr_t low, uintptr_t high, void *context) {
    struct pass *pass = context;
    if (pass->where != HEAP) {
        put_cut(low, high, pass);
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

/* With the others; all of it, where they have no time. */
static void share_list(struct mal_gc_worker *worker) {
    bool more = listed > 0;
    if (more)
        mal_gc_workers_kick();
    while (more) {
        mal_gc_step_begin();
        more = share_some(worker);
        mal_gc_step_end();
    }
}

uint64_t mal_gc_dirty_round(struct mal_gc_run *run, struct mal_gc_worker *worker) {
    struct pass pass = {.run = run, .worker = worker};
    MAL_ASSERT(is_cleared_for_this_mark());
    watch_heap(run->dirty);
    begin_list();
    each_range(PROTECTED_GAP_PAGES, clear_and_rescan, &pass);
    end_list();
    share_list(worker);
    mal_store_seq_cst(&taken, CLOSED);
    return pass.bytes / mal_vm_page_bytes();
}

/* ---- the last look ---- */

/* Whether a page that was not reported is one that was not written to. */
static bool is_watched(const struct pass *pass, uintptr_t high) {
    return pass->where == ARENAS || high <= watched_high;
}

static void look(uintptr_t low, uintptr_t high, void *context) {
    struct pass *pass = context;
    for (; low < high; low += mal_min(high - low, CHUNK_BYTES)) {
        uintptr_t end = low + mal_min(high - low, CHUNK_BYTES);
        if (pass->run->dirty->look(low, end, put_cut, pass) != 0)
            put_cut(low, end, pass);
        else
            MAL_ASSERT(is_watched(pass, end));
    }
}

uint64_t mal_gc_dirty_look(struct mal_gc_run *run, struct mal_gc_worker *worker) {
    struct pass pass = {.run = run, .worker = worker};
    MAL_ASSERT(is_cleared_for_this_mark());
    begin_list();
    each_range(PROTECTED_GAP_PAGES, look, &pass);
    end_list();
    return pass.bytes / mal_vm_page_bytes();
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
    listed = helping = 0;
    taken = CLOSED;
}
