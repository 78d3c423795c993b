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

static void marking_alone_never_limits(void **state) {
    struct mal_gc_limiter limiter;
    (void)state;
    mal_gc_limiter_init(&limiter, 4, 0);
    mal_gc_limiter_update(&limiter, 0, 0);
    mal_gc_limiter_after_stop(&limiter, true, 1);
    for (uint64_t now = 10 * MS; now < 100 * SECOND; now += 10 * MS) {
        mal_gc_limiter_update(&limiter, now, 0);
        assert_false(mal_gc_limiter_is_limiting(&limiter));
    }
    assert_int_equal(limiter.fill_ns, 0);
}

static void assists_fill_it_and_rest_empties_it(void **state) {
    struct mal_gc_limiter limiter;
    (void)state;
    mal_gc_limiter_init(&limiter, 2, 0);
    mal_gc_limiter_after_stop(&limiter, true, 0);
    uint64_t now = 0;
    while (!mal_gc_limiter_is_limiting(&limiter)) {
        now += 10 * MS;
        mal_gc_limiter_add_assist(&limiter, 15 * MS);
        mal_gc_limiter_update(&limiter, now, 0);
    }
    /* All of two CPUs is the collector's: the bucket of 2 s is full after 1 s. */
    assert_int_equal(now, SECOND);
    assert_int_equal(limiter.limited_cycles, 1);
    assert_int_equal(limiter.fill_ns, limiter.capacity_ns);
    mal_gc_limiter_add_assist(&limiter, 15 * MS);
    mal_gc_limiter_update(&limiter, now += 10 * MS, 0);
    assert_int_equal(limiter.overflow_ns, 20 * MS);
    mal_gc_limiter_update(&limiter, now += 10 * MS, 0);
    assert_false(mal_gc_limiter_is_limiting(&limiter));
    mal_gc_limiter_after_stop(&limiter, false, now);
    mal_gc_limiter_update(&limiter, now += 2 * SECOND, 0);
    assert_int_equal(limiter.fill_ns, 0);
}

static void exactly_half_changes_nothing(void **state) {
    struct mal_gc_limiter limiter;
    (void)state;
    mal_gc_limiter_init(&limiter, 2, 0);
    mal_gc_limiter_after_stop(&limiter, true, 0);
    limiter.fill_ns = 77;
    mal_gc_limiter_add_assist(&limiter, 5 * MS);
    mal_gc_limiter_update(&limiter, 10 * MS, 0);
    assert_int_equal(limiter.fill_ns, 77);
}

static void idle_time_is_on_neither_side(void **state) {
    struct mal_gc_limiter limiter;
    (void)state;
    mal_gc_limiter_init(&limiter, 4, 0);
    mal_gc_limiter_after_stop(&limiter, true, 0);
    mal_gc_limiter_update(&limiter, 10 * MS, 30 * MS);
    /* 40 in all, 30 unwanted, 10 the collector's: nothing was left to the program. */
    assert_int_equal(limiter.fill_ns, 10 * MS);
    mal_gc_limiter_update(&limiter, 20 * MS, 300 * MS);
    assert_int_equal(limiter.fill_ns, 20 * MS);
}

static void a_stop_is_charged_on_all_cpus(void **state) {
    struct mal_gc_limiter limiter;
    (void)state;
    mal_gc_limiter_init(&limiter, 8, 0);
    mal_gc_limiter_update(&limiter, 5 * MS, 0);
    mal_gc_limiter_after_stop(&limiter, true, 7 * MS);
    assert_int_equal(limiter.fill_ns, 16 * MS);
    assert_int_equal(limiter.is_marking, 1);
}

static void a_clock_that_steps_back_is_ignored(void **state) {
    struct mal_gc_limiter limiter;
    (void)state;
    mal_gc_limiter_init(&limiter, 2, 5 * SECOND);
    mal_gc_limiter_add_assist(&limiter, MS);
    mal_gc_limiter_update(&limiter, 4 * SECOND, 0);
    assert_int_equal(limiter.updated_ns, 5 * SECOND);
    assert_int_equal(limiter.assist_ns, MS);
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
        mal_gc_limiter_init(&limiter, cpus[i], 0);
        mal_gc_limiter_after_stop(&limiter, true, 0);
        while (now_ns < 100 * SECOND) {
            bool is_limiting = mal_gc_limiter_is_limiting(&limiter);
            uint64_t step_ns = is_limiting ? MAL_GC_LIMITER_PERIOD_NS : MS / 10;
            uint64_t assist_ns = is_limiting ? 0 : cpus[i] * step_ns * 3 / 4;
            mal_gc_limiter_add_assist(&limiter, assist_ns);
            mal_gc_limiter_update(&limiter, now_ns += step_ns, 0);
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
        cmocka_unit_test(marking_alone_never_limits),
        cmocka_unit_test(assists_fill_it_and_rest_empties_it),
        cmocka_unit_test(exactly_half_changes_nothing),
        cmocka_unit_test(idle_time_is_on_neither_side),
        cmocka_unit_test(a_stop_is_charged_on_all_cpus),
        cmocka_unit_test(a_clock_that_steps_back_is_ignored),
        cmocka_unit_test(a_death_spiral_is_held_at_half),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
