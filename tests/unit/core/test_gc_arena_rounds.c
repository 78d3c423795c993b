/* SPDX-License-Identifier: Apache-2.0
 *
 * Pages of arenas that are written to while marking goes on, looked at again beside the program: no
 * stop comes between the write and the look. What only such a page leads to is found, wherever the
 * page lies, whenever its chunk came, whoever takes it, and with every way to tell which pages were
 * written.
 */
#include "base/atomic.h"
#include "gc/arena.h"
#include "gc/cycle_private.h"
#include "gc/dirty.h"
#include "gc/heap.h"
#include "gc/mark.h"
#include "gc_by_hand.h"
#include "mallard/arena.h"
#include "mallard/gc.h"
#include "os/critical.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "support/emulated.h"

#define CELLS ((1u << 20) / sizeof(void *)) /* of one arena object: many stretches of a round */
#define WHITE 200u

/* ---- ways to tell ---- */

/* Reports all that it is asked about: a program that writes to every page. */
static int all_is_well(uintptr_t low, uintptr_t high) {
    (void)low;
    (void)high;
    return 0;
}

static int report_all(uintptr_t low, uintptr_t high, mal_gc_dirty_visit *visit, void *context) {
    if (visit)
        visit(low, high, context);
    return 0;
}

static void leave_all(uintptr_t low, uintptr_t high) {
    (void)low;
    (void)high;
}

static const struct mal_gc_dirty every = {.name = "every",
                                          .add = all_is_well,
                                          .clear = report_all,
                                          .look = report_all,
                                          .unprotect = leave_all};

/* Works while pages are protected, and then for nobody. */
static int report_error(uintptr_t low, uintptr_t high, mal_gc_dirty_visit *visit, void *context) {
    (void)low;
    (void)high;
    (void)context;
    return visit ? -EPERM : 0;
}

static const struct mal_gc_dirty failing = {.name = "failing",
                                            .add = all_is_well,
                                            .clear = report_error,
                                            .look = report_error,
                                            .unprotect = leave_all};

/* ---- a cycle by hand ---- */

static struct mal_gc_run run;
static struct mal_gc_worker *own;
static struct mallard_arena *arena; /* a root, and the only one but what arenas hold */
static uintptr_t hidden[WHITE];     /* no root */

static void drain(void) {
    while (!mal_gc_mark_is_done())
        mal_gc_drain(own, UINT64_MAX, NULL);
}

static void make_white(void) {
    for (unsigned i = 0; i < WHITE; i++) {
        hidden[i] = (uintptr_t)mallard_gc_alloc_noscan(64);
        assert_true(hidden[i] != 0);
    }
}

static void begin(const struct mal_gc_dirty *dirty) {
    run = (struct mal_gc_run){.dirty = dirty, .beside = true};
    mal_gc_heap_before_mark();
    assert_true(mal_gc_dirty_protect(&run));
    mal_gc_heap_start_mark();
    own = mal_gc_worker_take();
    mal_gc_mark_word(own, (uintptr_t)arena);
    mal_gc_arenas_mark_roots(own);
    drain();
    for (unsigned i = 0; i < WHITE; i++)
        assert_false(mal_gc_heap_is_marked(hidden[i]));
}

static void end(void) {
    mal_gc_worker_give(own);
    mal_gc_heap_end_mark();
    mal_gc_arenas_end_mark();
    mal_gc_dirty_unprotect(&run);
    mal_gc_arenas_after_mark();
    mal_gc_heap_before_mark();
}

static uint64_t look_beside(void) {
    uint64_t pages = mal_gc_dirty_round(&run, own);
    drain();
    return pages;
}

static unsigned marked(unsigned from, unsigned to) {
    unsigned count = 0;
    for (unsigned i = from; i < to; i++)
        count += mal_gc_heap_is_marked(hidden[i]);
    return count;
}

/* ---- the cases, with each way ---- */

/* Cells of their own pages, the first and the last one of the object among them. */
static size_t cell_of(unsigned i) {
    return i * (CELLS - 1) / (WHITE - 1);
}

static void store(void **cells, unsigned from, unsigned to) {
    for (unsigned i = from; i < to; i++)
        cells[cell_of(i)] = (void *)hidden[i];
}

static void rounds_find_it(const struct mal_gc_dirty *dirty) {
    arena = mallard_arena_new();
    void **cells = mallard_arena_alloc(arena, CELLS * sizeof *cells, NULL);
    make_white();
    begin(dirty);
    store(cells, 0, WHITE / 2);
    uint64_t pages = look_beside();
    assert_int_equal(marked(0, WHITE / 2), WHITE / 2);
    assert_int_equal(marked(WHITE / 2, WHITE), 0);
    store(cells, WHITE / 2, WHITE); /* to pages that were looked at, too */
    look_beside();
    assert_int_equal(marked(0, WHITE), WHITE);
    if (dirty == &mal_gc_dirty_uffd)
        assert_in_range(pages, 1, 2 * WHITE);
    end();
    mallard_arena_free(arena);
}

/* An object that is cut from a chunk behind what was scanned, and one of a chunk that is new. */
static void rounds_find_what_is_new(const struct mal_gc_dirty *dirty) {
    arena = mallard_arena_new();
    mallard_arena_alloc(arena, 100, NULL);
    make_white();
    begin(dirty);
    void **small = mallard_arena_alloc(arena, 100 * sizeof *small, NULL);
    void **large = mallard_arena_alloc(arena, CELLS * sizeof *large, NULL);
    for (unsigned i = 0; i < 100; i++)
        small[i] = (void *)hidden[i];
    store(large, 100, WHITE);
    look_beside();
    assert_int_equal(marked(0, WHITE), WHITE);
    end();
    mallard_arena_free(arena);
}

/* The last look takes what no round did. */
static void the_last_look_finds_it(const struct mal_gc_dirty *dirty) {
    arena = mallard_arena_new();
    void **cells = mallard_arena_alloc(arena, CELLS * sizeof *cells, NULL);
    make_white();
    begin(dirty);
    look_beside();
    store(cells, 0, WHITE);
    mal_gc_dirty_look(&run, own);
    mal_gc_dirty_share(own);
    drain();
    assert_int_equal(marked(0, WHITE), WHITE);
    end();
    mallard_arena_free(arena);
}

static uint32_t helped_enough;

static void *help(void *unused) {
    struct mal_gc_worker *worker = mal_gc_worker_take();
    while (!mal_load_acquire(&helped_enough)) {
        if (!mal_gc_dirty_help(worker))
            sched_yield();
        mal_gc_drain(worker, UINT64_MAX, NULL);
    }
    mal_gc_worker_give(worker);
    return unused;
}

/* What a helper has taken is scanned before it counts itself off: the next round may begin. */
static void helpers_lose_none(const struct mal_gc_dirty *dirty) {
    pthread_t helper;
    arena = mallard_arena_new();
    void **cells = mallard_arena_alloc(arena, CELLS * sizeof *cells, NULL);
    make_white();
    begin(dirty);
    mal_store_relaxed(&helped_enough, 0u);
    assert_int_equal(pthread_create(&helper, NULL, help, NULL), 0);
    for (unsigned i = 0; i < WHITE; i++) {
        store(cells, i, i + 1);
        mal_gc_dirty_round(&run, own);
    }
    mal_store_release(&helped_enough, 1u);
    pthread_join(helper, NULL);
    drain();
    assert_int_equal(marked(0, WHITE), WHITE);
    end();
    mallard_arena_free(arena);
}

#define TAKES (((uint64_t)1 << 32) / 16) /* as many as it takes to count to where one began */

/* A process that marks in stops only goes on asking for its share of the last list that there was,
 * whose arenas are gone. */
static void a_list_is_over_for_ever(const struct mal_gc_dirty *dirty) {
    arena = mallard_arena_new();
    void **cells = mallard_arena_alloc(arena, CELLS * sizeof *cells, NULL);
    make_white();
    begin(dirty);
    store(cells, 0, WHITE);
    mal_gc_dirty_look(&run, own);
    mal_gc_dirty_share(own);
    drain();
    end();
    mallard_arena_free(arena);
    own = mal_gc_worker_take();
    for (uint64_t i = 0; i < TAKES; i++)
        mal_gc_dirty_share(own);
    mal_gc_worker_give(own);
}

static void (*const cases[])(const struct mal_gc_dirty *dirty) = {
    rounds_find_it, rounds_find_what_is_new, the_last_look_finds_it, helpers_lose_none};

/* The phase changes by hand, beside the thread that runs callbacks. */
static void all_cases(const struct mal_gc_dirty *dirty) {
    if (MAL_STOPS_BY_NOTE)
        skip();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        cases[i](dirty);
}

static void where_the_kernel_tells(void **state) {
    (void)state;
    if (mal_gc_dirty_uffd.open() != 0) {
        print_message("skip: no asynchronous write protection here\n");
        skip();
    }
    all_cases(&mal_gc_dirty_uffd);
    mal_gc_dirty_uffd.close();
}

static void where_everything_is_written(void **state) {
    (void)state;
    all_cases(&every);
}

static void where_nothing_is_listed_any_more(void **state) {
    (void)state;
    if (is_emulated() || MAL_STOPS_BY_NOTE)
        skip();
    a_list_is_over_for_ever(&every);
}

static void where_telling_fails_on_the_way(void **state) {
    (void)state;
    all_cases(&failing);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(where_the_kernel_tells), /* before others say what is watched */
        cmocka_unit_test(where_everything_is_written),
        cmocka_unit_test(where_telling_fails_on_the_way),
        cmocka_unit_test(where_nothing_is_listed_any_more),
    };
    return cmocka_run_group_tests(tests, gc_by_hand, NULL);
}
