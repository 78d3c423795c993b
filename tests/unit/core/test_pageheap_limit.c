/* SPDX-License-Identifier: Apache-2.0
 *
 * The memory limit: what follows from numbers, what counts against it, and that one thread at a
 * time gives back, with pauses. Then the page heap under a limit, and what MADV_FREE leaves behind.
 */
#include "meta/pagemap.h"
#include "os/vm.h"
#include "pageheap/limit.h"
#include "pageheap/pageheap.h"
#include "pageheap/scavenger.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define MIB ((uint64_t)1 << 20)
#define MS ((uint64_t)1000000)

static void the_goal_is_below_the_limit(void **state) {
    (void)state;
    assert_int_equal(mal_limit_goal_of(1000, MAL_LIMIT_GOAL_USUAL), 950);
    assert_int_equal(mal_limit_goal_of(1000, MAL_LIMIT_GOAL_AFTER_PASSING), 500);
    assert_int_equal(mal_limit_goal_of(0, MAL_LIMIT_GOAL_USUAL), 0);
    assert_true(mal_limit_goal_of(MAL_LIMIT_OFF, MAL_LIMIT_GOAL_USUAL) == UINT64_MAX);
    assert_true(mal_limit_goal_of(MAL_LIMIT_OFF, MAL_LIMIT_GOAL_AFTER_PASSING) == UINT64_MAX);
    assert_true(mal_limit_goal_of(MAL_LIMIT_OFF - 1, MAL_LIMIT_GOAL_USUAL) < MAL_LIMIT_OFF);
}

static void relief_is_the_excess_and_a_little_more(void **state) {
    (void)state;
    assert_int_equal(mal_limit_relief_of(64 * MIB, 64 * MIB), 0);
    assert_int_equal(mal_limit_relief_of(64 * MIB, 65 * MIB), 2 * MIB);
    assert_int_equal(mal_limit_relief_of(6400, 6401), 101);
    assert_int_equal(mal_limit_relief_of(4096 * MIB, 4097 * MIB), 2 * MIB);
    assert_int_equal(mal_limit_relief_of(0, 5), 5);
    assert_int_equal(mal_limit_relief_of(MAL_LIMIT_OFF, 5), 0);
}

struct share {
    uint64_t limit, ready, most, wanted;
};

static void caches_shrink_over_the_last_eighth(void **state) {
    (void)state;
    static const struct share shares[] = {
        {800, 0, 64, 64},
        {800, 700, 64, 64}, /* 7/8: all of it */
        {800, 750, 64, 50}, /* half of the range of 100 bytes in 64 steps of 1 */
        {800, 799, 64, 1},
        {800, 800, 64, 0},
        {800, 900, 64, 0},
        {0, 0, 64, 0},
        {512 * MIB, 480 * MIB, 32 * MIB, 16 * MIB},
        {512 * MIB, 448 * MIB, 32 * MIB, 32 * MIB},
        {512 * MIB, 512 * MIB - 1, 32 * MIB, 0},
        {MAL_LIMIT_OFF - 1, MAL_LIMIT_OFF - 2, 1ull << 57, 0},
        {MAL_LIMIT_OFF - 1, 0, 1ull << 57, 1ull << 57},
    };
    for (size_t i = 0; i < sizeof shares / sizeof *shares; i++)
        assert_int_equal(mal_limit_share_of(shares[i].limit, shares[i].ready, shares[i].most),
                         shares[i].wanted);
    uint64_t before = UINT64_MAX;
    for (uint64_t ready = 0; ready <= 100 * MIB; ready += MIB / 3) {
        uint64_t share = mal_limit_share_of(97 * MIB, ready, 2 * MIB);
        assert_true(share <= before && share <= 2 * MIB);
        before = share;
    }
    assert_int_equal(before, 0);
}

/* At most half of the time where it helps, a tenth where it does not. */
static void pauses_follow_what_was_spent(void **state) {
    (void)state;
    assert_int_equal(mal_limit_quiet_of(MS, MIB, MIB), MS);
    assert_int_equal(mal_limit_quiet_of(MS, MIB, MIB - 1), 9 * MS);
    assert_int_equal(mal_limit_quiet_of(1, MIB, 0), 5 * MS);
}

/* What nobody can give back is not waited for again and again. */
static void time_grows_with_what_is_new(void **state) {
    (void)state;
    assert_int_equal(mal_limit_relief_ns_of(64 * MIB, 0), 2 * MS + 64 * MIB);
    assert_int_equal(mal_limit_relief_ns_of(64 * MIB, 63 * MIB), 2 * MS + MIB);
    assert_int_equal(mal_limit_relief_ns_of(MIB, 64 * MIB), 2 * MS);
}

static void what_a_relief_leaves_stands(void **state) {
    (void)state;
    uint64_t before = mal_limit_set(MAL_LIMIT_OFF);
    assert_int_equal(mal_limit_standing_bytes(), 0);
    mal_limit_note_tables(3 * MIB);
    mal_limit_set(0);
    assert_in_range(mal_limit_standing_bytes(), 3 * MIB, mal_limit_ready_bytes());
    mal_limit_note_tables(0);
    assert_true(mal_limit_begin_relief(UINT64_MAX));
    mal_limit_end_relief(0, 0, 5 * MIB);
    assert_int_equal(mal_limit_standing_bytes(), 5 * MIB);
    mal_limit_set(before);
}

static void a_round_takes_more_while_it_helps(void **state) {
    (void)state;
    assert_int_equal(mal_limit_round_budget_of(1000 * MS, 7 * MS, 0, UINT64_MAX), 7 * MS);
    assert_int_equal(mal_limit_round_budget_of(1000 * MS, 7 * MS, 1, UINT64_MAX), 250 * MS);
    assert_int_equal(mal_limit_round_budget_of(1000 * MS, 7 * MS, 1, MIB), 250 * MS);
    assert_int_equal(mal_limit_round_budget_of(1000 * MS, 7 * MS, 1, MIB - 1), 7 * MS);
}

/* One part in a hundred over ten rounds, whatever is spent when. */
static void what_is_not_spent_is_saved_for_ten_rounds(void **state) {
    (void)state;
    uint64_t saved = 0, spent = 0;
    assert_int_equal(mal_limit_saved_of(1000 * MS, 0, 0), 10 * MS);
    assert_int_equal(mal_limit_saved_of(1000 * MS, 95 * MS, 0), 100 * MS);
    assert_int_equal(mal_limit_saved_of(1000 * MS, 50 * MS, 250 * MS), 10 * MS);
    for (int round = 0; round < 200; round++) {
        uint64_t now = round % 17 == 0 ? saved : saved / 3;
        spent += now;
        saved = mal_limit_saved_of(1000 * MS, saved, now);
        assert_true(saved <= 100 * MS && spent <= (uint64_t)(round + 1) * 10 * MS);
    }
}

static void setting_tells_what_was(void **state) {
    (void)state;
    assert_true(mal_limit_bytes() == MAL_LIMIT_OFF);
    assert_true(mal_limit_set(7) == MAL_LIMIT_OFF);
    assert_int_equal(mal_limit_set(UINT64_MAX), 7);
    assert_true(mal_limit_bytes() == MAL_LIMIT_OFF);
    assert_false(mal_limit_is_passed());
}

static void one_relieves_at_a_time(void **state) {
    (void)state;
    assert_true(mal_limit_begin_relief(100));
    assert_false(mal_limit_begin_relief(100));
    mal_limit_end_relief(150, 50, 0);
    assert_false(mal_limit_begin_relief(199));
    assert_true(mal_limit_begin_relief(200));
    assert_false(mal_limit_begin_relief(500));
    mal_limit_forget_in_child();
    assert_true(mal_limit_begin_relief(500));
    mal_limit_end_relief(500, 0, 0);
}

static void all_parts_count(void **state) {
    (void)state;
    uint64_t before = mal_limit_ready_bytes();
    mal_limit_note_tables(3 * MIB);
    assert_int_equal(mal_limit_ready_bytes(), before + 3 * MIB);
    struct mal_span *span =
        mal_pageheap_new_large_span(8 * MIB, MAL_PAGE_BYTES, MAL_GROWTH_ALLOWED);
    uint64_t with_span = mal_limit_ready_bytes();
    assert_true(with_span >= before + 11 * MIB && with_span < before + 12 * MIB);
    mal_limit_note_holes(2 * MIB);
    assert_int_equal(mal_limit_ready_bytes(), with_span - 2 * MIB);
    assert_int_equal(mal_limit_holes_bytes(), 2 * MIB);
    mal_limit_note_holes(-(int64_t)(2 * MIB));
    mal_limit_note_tables(0);
    mal_pageheap_free_span(span);
    assert_int_equal(mal_limit_ready_bytes(), with_span - 3 * MIB);
    assert_true(mal_scavenger_release_all() >= 8 * MIB);
    assert_int_equal(mal_limit_ready_bytes(), with_span - 11 * MIB);
}

static void releasing_stops_at_what_was_asked(void **state) {
    (void)state;
    struct mal_span *span =
        mal_pageheap_new_large_span(64 * MIB, MAL_PAGE_BYTES, MAL_GROWTH_ALLOWED);
    mal_pageheap_free_span(span);
    uint64_t before = mal_limit_ready_bytes();
    uint64_t released = mal_scavenger_release(10 * MIB, UINT64_MAX, MAL_SCAVENGE_EAGER);
    assert_true(released >= 10 * MIB && released < 13 * MIB);
    assert_int_equal(mal_limit_ready_bytes(), before - released);
    /* Time is up at once: one step is still made. */
    released = mal_scavenger_release(40 * MIB, 0, MAL_SCAVENGE_EAGER);
    assert_true(released > 0 && released <= 4 * MIB);
    mal_scavenger_release_all();
}

/* The window of recent uses keeps idle pages; a limit does not care. */
static void the_background_ignores_recent_use_beyond_the_limit(void **state) {
    (void)state;
    struct mal_span *span =
        mal_pageheap_new_large_span(32 * MIB, MAL_PAGE_BYTES, MAL_GROWTH_ALLOWED);
    mal_scavenger_tick(0, UINT64_MAX, 0);
    mal_pageheap_free_span(span);
    uint64_t before = mal_pageheap_stats().free_pages;
    mal_scavenger_tick(0, UINT64_MAX, 0);
    assert_int_equal(mal_pageheap_stats().free_pages, before);
    mal_scavenger_tick(0, UINT64_MAX, 5 * MIB);
    uint64_t given = before - mal_pageheap_stats().free_pages;
    assert_true(given >= 5 * MIB / MAL_PAGE_BYTES && given <= 8 * MIB / MAL_PAGE_BYTES);
    mal_scavenger_release_all();
}

static void is_zero(const struct mal_span *span) {
    for (size_t at = 0; at < (size_t)span->pages * MAL_PAGE_BYTES; at += 64)
        assert_int_equal(span->base[at], 0);
}

static struct mal_span *painted_span(void) {
    struct mal_span *span =
        mal_pageheap_new_large_span(4 * MIB, MAL_PAGE_BYTES, MAL_GROWTH_ALLOWED);
    assert_non_null(span);
    memset(span->base, 0x5a, 4 * MIB);
    return span;
}

/* What was given back to be taken when the machine is short still holds what it held, so spans made
 * of it do not count as zeroed; spans of pages never used do. Last: it stays like that. */
static void pages_given_back_lazily_are_not_zeroed(void **state) {
    (void)state;
    mal_pageheap_free_span(painted_span());
    mal_scavenger_release_all();
    struct mal_span *span =
        mal_pageheap_new_large_span(4 * MIB, MAL_PAGE_BYTES, MAL_GROWTH_ALLOWED);
    assert_true(span->flags & MAL_SPAN_ZEROED);
    is_zero(span);
    mal_pageheap_free_span(span);
    mal_scavenger_release_all();

    assert_true(mal_vm_released_is_zero());
    mal_vm_set_release(MAL_VM_RELEASE_WHEN_SHORT);
    mal_pageheap_free_span(painted_span());
    assert_true(mal_scavenger_release_all() >= 4 * MIB);
    assert_false(mal_vm_released_is_zero());
    span = mal_pageheap_new_large_span(4 * MIB, MAL_PAGE_BYTES, MAL_GROWTH_ALLOWED);
    assert_false(span->flags & MAL_SPAN_ZEROED);
    struct mal_span *partly =
        mal_pageheap_new_large_span(64 * MIB, MAL_PAGE_BYTES, MAL_GROWTH_ALLOWED);
    assert_false(partly->flags & MAL_SPAN_ZEROED);
    struct mal_span *fresh =
        mal_pageheap_new_large_span(64 * MIB, MAL_PAGE_BYTES, MAL_GROWTH_ALLOWED);
    assert_true(fresh->flags & MAL_SPAN_ZEROED);
    is_zero(fresh);
    mal_pageheap_free_span(span);
    mal_pageheap_free_span(partly);
    mal_pageheap_free_span(fresh);
    mal_vm_set_release(MAL_VM_RELEASE_AT_ONCE);
    mal_scavenger_release_all();
    assert_false(mal_vm_released_is_zero());
}

static int bring_up(void **state) {
    (void)state;
    mal_classes_init();
    return mal_pagemap_init(1) || mal_pageheap_init();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_goal_is_below_the_limit),
        cmocka_unit_test(relief_is_the_excess_and_a_little_more),
        cmocka_unit_test(caches_shrink_over_the_last_eighth),
        cmocka_unit_test(pauses_follow_what_was_spent),
        cmocka_unit_test(time_grows_with_what_is_new),
        cmocka_unit_test(what_a_relief_leaves_stands),
        cmocka_unit_test(a_round_takes_more_while_it_helps),
        cmocka_unit_test(what_is_not_spent_is_saved_for_ten_rounds),
        cmocka_unit_test(setting_tells_what_was),
        cmocka_unit_test(one_relieves_at_a_time),
        cmocka_unit_test(all_parts_count),
        cmocka_unit_test(releasing_stops_at_what_was_asked),
        cmocka_unit_test(the_background_ignores_recent_use_beyond_the_limit),
        cmocka_unit_test(pages_given_back_lazily_are_not_zeroed),
    };
    return cmocka_run_group_tests(tests, bring_up, NULL);
}
