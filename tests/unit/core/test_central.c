/* SPDX-License-Identifier: Apache-2.0
 *
 * The central lists: every object is in one place at a time, the counters add up, empty spans go
 * back, several threads share a class, running out of memory loses nothing, and what the OS does
 * not take back is left alone.
 */
#include "base/bits.h"
#include "central/central.h"
#include "meta/classes.h"
#include "meta/pagemap.h"
#include "os/clock.h"
#include "os/vm.h"
#include "pageheap/pageheap.h"
#include "pageheap/scavenger.h"
#include "pageheap/span.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "support/emulated.h"
#include "support/seeded.h"

#define HELD_MAX 20000u

static void *held[HELD_MAX];
static size_t held_count;

/* A held object carries its class in its first bytes; were it handed out twice, the second owner
 * would find it there. */
static void paint(void *object, uint32_t class) {
    memset(object, (int)(0x80 | class), 16);
}

static void take_some(uint32_t class, size_t count) {
    void *batch[MAL_CENTRAL_BATCH_MAX];
    size_t got = mal_central_take(class, batch, count);
    assert_seeded(got >= 1 && got <= count);
    for (size_t i = 0; i < got; i++) {
        struct mal_span *span = mal_pagemap_span_of(batch[i]);
        assert_seeded(span && span->class == class);
        assert_seeded((size_t)((char *)batch[i] - span->base) % mal_class[class].size_bytes == 0);
        assert_seeded(*(uint8_t *)batch[i] != (0x80 | class));
        paint(batch[i], class);
        held[held_count++] = batch[i];
    }
}

static void give_some(uint32_t class, size_t count, uint64_t *random) {
    void *batch[MAL_CENTRAL_BATCH_MAX];
    for (size_t i = 0; i < count; i++) {
        size_t at = seeded_below(random, held_count);
        batch[i] = held[at];
        assert_seeded(*(uint8_t *)batch[i] == (0x80 | class));
        memset(batch[i], 0, 16);
        held[at] = held[--held_count];
    }
    mal_central_give(class, batch, count);
}

static void check_numbers(uint32_t class, uint64_t out_before) {
    struct mal_central_stats stats = mal_central_stats(class);
    uint64_t out = stats.taken - stats.given;
    assert_seeded(out == out_before + held_count);
    assert_seeded(stats.spans * mal_class[class].span_objects ==
                  out + stats.span_free + stats.transfer_objects);
}

static void random_traffic(uint32_t class, uint64_t *random) {
    size_t most = class < 40 ? 2000 : 60;
    held_count = 0;
    for (int step = 0; step < 600; step++) {
        size_t count = 1 + seeded_below(random, MAL_CENTRAL_BATCH_MAX);
        if (held_count + MAL_CENTRAL_BATCH_MAX < most && seeded_below(random, 5) < 3)
            take_some(class, count);
        else if (held_count > 0)
            give_some(class, count < held_count ? count : held_count, random);
        else
            take_some(class, 1);
        check_numbers(class, 0);
    }
    while (held_count > 0)
        give_some(class, held_count < 64 ? held_count : 64, random);
}

static void objects_are_in_one_place_at_a_time(void **state) {
    (void)state;
    uint64_t random = seeded_start(8);
    for (uint32_t class = 1; class < MAL_CLASS_COUNT; class += 4)
        random_traffic(class, &random);
}

static void a_flush_returns_every_span(void **state) {
    (void)state;
    for (uint32_t class = 1; class < MAL_CLASS_COUNT; class ++) {
        mal_central_flush(class);
        struct mal_central_stats stats = mal_central_stats(class);
        assert_int_equal(stats.spans, 0);
        assert_int_equal(stats.span_free, 0);
        assert_int_equal(stats.transfer_objects, 0);
    }
    assert_int_equal(mal_pageheap_stats().inuse_pages, 0);
}

/* Newest first, without spans being asked. */
static void the_transfer_cache_is_last_in_first_out(void **state) {
    (void)state;
    void *batch[4], *again[4];
    assert_int_equal(mal_central_take(5, batch, 4), 4);
    mal_central_give(5, batch, 4);
    assert_int_equal(mal_central_take(5, again, 4), 4);
    for (int i = 0; i < 4; i++)
        assert_ptr_equal(again[i], batch[3 - i]);
    mal_central_give(5, again, 4);
    mal_central_flush(5);
}

/* Of objects above 64 KiB only what the transfer cache has room for stays with the class. */
static void spans_of_large_objects_are_not_kept(void **state) {
    (void)state;
    uint32_t small = mal_class_for(64u << 10), large = mal_class_for(96u << 10);
    void *batch[8];
    for (uint32_t class = small; class <= large; class ++) {
        for (int i = 0; i < 8; i++)
            assert_int_equal(mal_central_take(class, &batch[i], 1), 1);
        mal_central_give(class, batch, 8);
        struct mal_central_stats stats = mal_central_stats(class);
        assert_int_equal(stats.spans, class == small ? 8 : stats.transfer_objects);
        assert_in_range(stats.transfer_objects, 1, 4);
        mal_central_flush(class);
    }
}

static void spans_hand_out_their_lowest_objects(void **state) {
    (void)state;
    void *batch[64];
    assert_int_equal(mal_central_take(9, batch, 8), 8);
    for (int i = 1; i < 8; i++)
        assert_ptr_equal(batch[i], (char *)batch[0] + i * mal_class[9].size_bytes);
    mal_central_give(9, batch, 8);
    mal_central_flush(9);
}

/* Batches begin and end within words of a span's bits, and go on in the next span. */
static void whole_spans_hand_out_every_object_in_order(void **state) {
    (void)state;
    const uint32_t class = 4;
    const size_t in_a_span = mal_class[class].span_objects;
    size_t taken = 0;
    for (size_t count = 1; taken < 2 * in_a_span; count = count % 100 + 21) {
        size_t got = mal_central_take(class, held + taken, count);
        assert_int_equal(got, count);
        taken += got;
    }
    for (size_t i = 0; i < taken; i++) {
        struct mal_span *span = mal_pagemap_span_of(held[i]);
        assert_ptr_equal(held[i], span->base + i % in_a_span * mal_class[class].size_bytes);
    }
    for (size_t i = 0; i < taken; i++)
        mal_central_give(class, &held[i], 1);
    mal_central_flush(class);
    assert_int_equal(mal_central_stats(class).spans, 0);
}

/* Of objects that are a span each, as many as the transfer cache holds come back first. */
static void spans_without_an_object_out_are_counted(void **state) {
    (void)state;
    const uint32_t class = MAL_SMALL_CLASS_COUNT;
    const uint64_t bytes = (uint64_t)mal_class[class].span_pages << MAL_PAGE_SHIFT;
    assert_int_equal(mal_central_empty_bytes(), 0);
    assert_int_equal(mal_central_take(class, held, 20), 20);
    for (size_t i = 0; i < 20; i++) {
        mal_central_give(class, &held[i], 1);
        uint64_t in_transfer = mal_central_stats(class).transfer_objects;
        assert_int_equal(mal_central_empty_bytes(), (i + 1 - in_transfer) * bytes);
    }
    assert_true(mal_central_empty_bytes() > 0);
    mal_central_release_empty();
    assert_int_equal(mal_central_empty_bytes(), 0);
    mal_central_flush(class);
}

static void *share_a_class(void *argument) {
    uint64_t random = *(uint64_t *)argument;
    void *mine[256];
    size_t count = 0;
    for (int step = 0; step < 20000; step++) {
        size_t batch = 1 + seeded_below(&random, 32);
        if (count + batch <= 256 && seeded_below(&random, 2) == 0) {
            count += mal_central_take(20, mine + count, batch);
        } else if (count >= batch) {
            count -= batch;
            for (size_t i = 0; i < batch; i++)
                *(uint64_t *)mine[count + i] = random;
            mal_central_give(20, mine + count, batch);
        }
    }
    for (; count > 0; count--)
        mal_central_give(20, &mine[count - 1], 1);
    return NULL;
}

static void threads_share_a_class(void **state) {
    (void)state;
    pthread_t thread[4];
    uint64_t seed[4];
    seeded_start(9);
    for (int i = 0; i < 4; i++) {
        seed[i] = seeded_seed + (uint64_t)i;
        assert_int_equal(pthread_create(&thread[i], NULL, share_a_class, &seed[i]), 0);
    }
    for (int i = 0; i < 4; i++)
        pthread_join(thread[i], NULL);
    struct mal_central_stats stats = mal_central_stats(20);
    assert_int_equal(stats.taken, stats.given);
    mal_central_flush(20);
    assert_int_equal(mal_central_stats(20).spans, 0);
}

/* Takes until memory is refused, gives all back, and everything is as before. */
static void running_dry_loses_nothing(void **state) {
    (void)state;
    static void *taken[100000];
    size_t count = 0, got;
    uint32_t class = mal_class_for(32768);
    mal_vm_inject_fault(20, MAL_VM_FAULT_FROM);
    while ((got = mal_central_take(class, taken + count, 8)) > 0)
        count += got;
    assert_int_equal(mal_central_take(class, taken + count, 1), 0);
    mal_vm_inject_fault(0, MAL_VM_FAULT_ONCE);
    assert_true(count > 0 && count < 100000 - 64);
    for (size_t i = 0; i < count; i++)
        mal_central_give(class, &taken[i], 1);
    assert_int_equal(mal_central_stats(class).taken, mal_central_stats(class).given);
    mal_central_flush(class);
    assert_int_equal(mal_pageheap_stats().inuse_pages, 0);
}

enum { LOCKED_SPANS = 32 };

static struct mal_span *locked[LOCKED_SPANS];
static void *kept[LOCKED_SPANS];

/* Spans of which the first object stays out. */
static void make_spans(uint32_t class) {
    size_t per_span = mal_class[class].span_objects;
    held_count = 0;
    while (held_count < LOCKED_SPANS * per_span) {
        size_t wanted = mal_min(LOCKED_SPANS * per_span - held_count, MAL_CENTRAL_BATCH_MAX);
        held_count += mal_central_take(class, held + held_count, wanted);
    }
    for (size_t i = 0; i < held_count; i++)
        if (i % per_span == 0) {
            kept[i / per_span] = held[i];
            locked[i / per_span] = mal_pagemap_span_of(held[i]);
            assert_ptr_equal(locked[i / per_span]->base, held[i]);
        } else {
            mal_central_give(class, &held[i], 1);
        }
    mal_central_flush(class);
}

static void lock_spans(long call) {
    for (int i = 0; i < LOCKED_SPANS; i++)
        if (is_emulated() ||
            syscall(call, locked[i]->base, (size_t)locked[i]->pages * MAL_PAGE_BYTES) != 0)
            skip();
}

static unsigned spans_with_own_states(void) {
    unsigned count = 0;
    for (int i = 0; i < LOCKED_SPANS; i++)
        count += locked[i]->state_units > 0;
    return count;
}

static uint64_t make_holes(void) {
    size_t cursor = 0;
    struct mal_hole_request request = {UINT64_MAX, UINT64_MAX, 0, MAL_SCAVENGE_BACKGROUND};
    return mal_central_make_holes(&request, &cursor);
}

static void pass_ticks(int ticks) {
    while (ticks-- > 0)
        mal_central_tick();
}

/* Objects in a page that stayed fill nothing, the first one behind it fills one page. */
static void check_filling(uint32_t class) {
    size_t in_page = mal_vm_page_bytes() / mal_class[class].size_bytes;
    void *object[64];
    struct mal_central_stats before = mal_central_stats(class);
    assert_in_range(in_page, 1, 64);
    assert_int_equal(mal_central_take(class, object, in_page - 1), in_page - 1);
    assert_int_equal(mal_central_stats(class).holes_bytes, before.holes_bytes);
    assert_int_equal(mal_central_take(class, object + in_page - 1, 1), 1);
    struct mal_central_stats after = mal_central_stats(class);
    assert_int_equal(after.holes_bytes, before.holes_bytes - mal_vm_page_bytes());
    assert_int_equal(after.refilled_bytes, before.refilled_bytes + mal_vm_page_bytes());
    mal_central_give(class, object, in_page);
}

/* Locked memory does not go back. That is found out at a few spans, not at all of them. */
static void what_the_system_refuses_is_not_asked_for_again_and_again(void **state) {
    (void)state;
    uint32_t class = mal_class_for(1024);
    make_spans(class);
    lock_spans(SYS_mlock);
    assert_int_equal(make_holes(), 0);
    assert_in_range(spans_with_own_states(), 1, 4);
    uint64_t calls = mal_vm_release_calls;
    assert_int_equal(make_holes(), 0);
    assert_int_equal(mal_vm_release_calls, calls);
    pass_ticks(10);
    assert_int_equal(make_holes(), 0);
    assert_true(mal_vm_release_calls > calls);
    assert_in_range(spans_with_own_states(), 1, 5);
    lock_spans(SYS_munlock);
    assert_int_equal(make_holes(), 0);
    pass_ticks(10);
    uint64_t cpu_ns = mal_scavenger_stats().cpu_ns, start_ns = mal_clock_thread_ns();
    assert_true(make_holes() > LOCKED_SPANS * MAL_PAGE_BYTES);
    assert_in_range(mal_scavenger_stats().cpu_ns - cpu_ns, 1, mal_clock_thread_ns() - start_ns);
    check_filling(class);
    for (int i = 0; i < LOCKED_SPANS; i++)
        mal_central_give(class, &kept[i], 1);
    mal_central_flush(class);
    assert_int_equal(mal_pageheap_stats().inuse_pages, 0);
    assert_int_equal(mal_pageheap_stats().span_bytes, 0); /* with the states that were their own */
}

static void leave_in_transfer(uint32_t class) {
    void *object[8];
    size_t count = mal_central_take(class, object, 8);
    assert_int_not_equal(count, 0);
    mal_central_give(class, object, count);
    assert_int_not_equal(mal_central_stats(class).transfer_objects, 0);
}

/* Of a class nothing of which was taken since the last call of that kind all goes back. */
static void what_lay_idle_goes_back(void **state) {
    (void)state;
    static void (*const trim[])(uint32_t) = {mal_central_trim_idle, mal_central_trim_for_growth};
    uint32_t class = mal_class_for(48);
    for (int i = 0; i < 2; i++) {
        leave_in_transfer(class);
        trim[i](class);
        assert_int_not_equal(mal_central_stats(class).transfer_objects, 0);
        trim[i](class);
        assert_int_equal(mal_central_stats(class).transfer_objects, 0);
    }
    assert_int_equal(mal_pageheap_stats().inuse_pages, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(objects_are_in_one_place_at_a_time),
        cmocka_unit_test(a_flush_returns_every_span),
        cmocka_unit_test(the_transfer_cache_is_last_in_first_out),
        cmocka_unit_test(spans_of_large_objects_are_not_kept),
        cmocka_unit_test(spans_hand_out_their_lowest_objects),
        cmocka_unit_test(whole_spans_hand_out_every_object_in_order),
        cmocka_unit_test(spans_without_an_object_out_are_counted),
        cmocka_unit_test(threads_share_a_class),
        cmocka_unit_test(running_dry_loses_nothing),
        cmocka_unit_test(what_lay_idle_goes_back),
        cmocka_unit_test(what_the_system_refuses_is_not_asked_for_again_and_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
