/* SPDX-License-Identifier: Apache-2.0
 *
 * The limiter of the collector's CPU time: its bucket, and what share a collector that would never
 * stop gets under it.
 */
#include "base/attr.h"
#include "gc/limiter.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define SECOND UINT64_C(1000000000)
#define MS UINT64_C(1000000)

/* A quarter of four CPUs, beside a program that has the rest of them. */
static void a_quarter_never_limits(void **state) {
    struct mal_gc_limiter limiter;
    (void)state;
    mal_gc_limiter_init(&limiter, 4);
    for (unsigned i = 0; i < 10000; i++) {
        mal_gc_limiter_update(&limiter, 30 * MS, 10 * MS);
        assert_false(mal_gc_limiter_is_limiting(&limiter));
    }
    assert_int_equal(limiter.fill_ns, 0);
}

static void assists_fill_it_and_rest_empties_it(void **state) {
    struct mal_gc_limiter limiter;
    unsigned updates = 0;
    (void)state;
    mal_gc_limiter_init(&limiter, 2);
    for (; !mal_gc_limiter_is_limiting(&limiter); updates++) {
        mal_gc_limiter_add_assist(&limiter, 15 * MS);
        mal_gc_limiter_update(&limiter, 15 * MS, 5 * MS);
    }
    /* All of two CPUs is the collector's: the bucket of 2 s is full after 1 s. */
    assert_int_equal(updates, 100);
    assert_int_equal(limiter.limited_cycles, 1);
    assert_int_equal(limiter.fill_ns, limiter.capacity_ns);
    mal_gc_limiter_add_assist(&limiter, 15 * MS);
    mal_gc_limiter_update(&limiter, 15 * MS, 5 * MS);
    assert_int_equal(limiter.overflow_ns, 20 * MS);
    mal_gc_limiter_update(&limiter, 15 * MS, 5 * MS);
    assert_false(mal_gc_limiter_is_limiting(&limiter));
    mal_gc_limiter_update(&limiter, 2 * SECOND, 0);
    assert_int_equal(limiter.fill_ns, 0);
}

static void exactly_half_changes_nothing(void **state) {
    struct mal_gc_limiter limiter;
    (void)state;
    mal_gc_limiter_init(&limiter, 2);
    limiter.fill_ns = 77;
    mal_gc_limiter_add_assist(&limiter, 5 * MS);
    mal_gc_limiter_update(&limiter, 15 * MS, 5 * MS);
    assert_int_equal(limiter.fill_ns, 77);
}

/* The clocks of assists and of the process are read at different times. */
static void assists_may_seem_to_be_all_and_more(void **state) {
    struct mal_gc_limiter limiter;
    (void)state;
    mal_gc_limiter_init(&limiter, 4);
    mal_gc_limiter_add_assist(&limiter, 11 * MS);
    mal_gc_limiter_update(&limiter, 10 * MS, 0);
    assert_int_equal(limiter.fill_ns, 11 * MS);
}

static void a_stop_is_charged(void **state) {
    struct mal_gc_limiter limiter;
    (void)state;
    mal_gc_limiter_init(&limiter, 8);
    mal_gc_limiter_charge_stop(&limiter, 16 * MS);
    assert_int_equal(limiter.fill_ns, 16 * MS);
}

/* A process that gets a tenth of a CPU collects for a tenth of what it gets. */
static void starving_is_not_collecting(void **state) {
    struct mal_gc_limiter limiter;
    (void)state;
    mal_gc_limiter_init(&limiter, 2);
    for (unsigned i = 0; i < 10000; i++) {
        mal_gc_limiter_update(&limiter, 9 * MS / 10, 0);
        mal_gc_limiter_update(&limiter, 0, MS / 20);
        mal_gc_limiter_charge_stop(&limiter, MS / 20);
    }
    assert_int_equal(limiter.limited_cycles, 0);
    assert_true(limiter.fill_ns <= MS);
}

/* Assists that take all the time they are allowed, accounted for one by one; while they are held
 * back, updates come at the period. Over a long time the collector gets half. */
static void a_death_spiral_is_held_at_half(void **state) {
    static const unsigned cpus[] = {1, 2, 4, 64};
    (void)state;
    for (unsigned i = 0; i < MAL_COUNT_OF(cpus); i++) {
        struct mal_gc_limiter limiter;
        uint64_t gc_ns = 0;
        uint64_t now_ns = 0;
        mal_gc_limiter_init(&limiter, cpus[i]);
        while (now_ns < 100 * SECOND) {
            bool is_limiting = mal_gc_limiter_is_limiting(&limiter);
            uint64_t step_ns = is_limiting ? MAL_GC_LIMITER_PERIOD_NS : MS / 10;
            uint64_t assist_ns = is_limiting ? 0 : cpus[i] * step_ns * 3 / 4;
            mal_gc_limiter_add_assist(&limiter, assist_ns);
            mal_gc_limiter_update(&limiter, cpus[i] * step_ns * 3 / 4, cpus[i] * step_ns / 4);
            now_ns += step_ns;
            gc_ns += cpus[i] * step_ns / 4 + assist_ns;
        }
        /* Half, and the bucket once. */
        assert_true(gc_ns <= cpus[i] * now_ns / 2 + limiter.capacity_ns);
        assert_true(gc_ns >= cpus[i] * now_ns * 45 / 100);
        assert_true(limiter.limited_cycles > 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_quarter_never_limits),
        cmocka_unit_test(assists_fill_it_and_rest_empties_it),
        cmocka_unit_test(exactly_half_changes_nothing),
        cmocka_unit_test(assists_may_seem_to_be_all_and_more),
        cmocka_unit_test(a_stop_is_charged),
        cmocka_unit_test(starving_is_not_collecting),
        cmocka_unit_test(a_death_spiral_is_held_at_half),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
