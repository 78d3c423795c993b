/* SPDX-License-Identifier: Apache-2.0
 *
 * From samples to buckets: one for each stack, size, rate and kind, found again however many came
 * between; what has no room is counted as dropped; what ends without a box ends.
 */
#include "sample/profile.h"

#include "mallard/mallard.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define RATE 1u
#define SIZES 3000u /* far more than are remembered as recent */

static uintptr_t next_address = 1u << 20; /* of objects that nobody looks into */

static const struct mal_box_header *header(void) {
    return mal_writer_base();
}

/* Of all stripes. */
static struct mal_box_count count_of(uint32_t bucket) {
    struct mal_writer_counts counts = mal_writer_counts();
    struct mal_box_count sum = {0, 0};
    for (uint32_t stripe = 0; stripe < counts.stripes; stripe++) {
        struct mal_box_count *count =
            &counts.count[mal_box_count_at(bucket, stripe, counts.stripes)];
        sum.allocs += count->allocs;
        sum.frees += count->frees;
    }
    return sum;
}

static const struct mal_box_bucket *newest_bucket(void) {
    return mal_writer_bucket(header()->buckets_used - 1);
}

static struct mal_box_count newest_count(void) {
    return count_of(header()->buckets_used - 1);
}

static bool sample(uint64_t size_bytes, enum mal_box_kind kind) {
    next_address += 16;
    return mal_profile_alloc(next_address, size_bytes, RATE, kind);
}

static __attribute__((noinline)) bool sample_here(uint64_t size_bytes, enum mal_box_kind kind) {
    bool done = sample(size_bytes, kind);
    __asm__ volatile("" ::: "memory"); /* no tail call: a frame of its own */
    return done;
}

static __attribute__((noinline)) bool sample_there(uint64_t size_bytes, enum mal_box_kind kind) {
    bool done = sample(size_bytes, kind);
    __asm__ volatile("nop" ::: "memory");
    return done;
}

/* The first allocation sets up what samples need. */
static int start(void **state) {
    (void)state;
    mallard_free(mallard_malloc(1));
    return mal_profile_ensure_box() ? 0 : -1;
}

static void samples_of_one_kind_are_one_bucket(void **state) {
    (void)state;
    struct mal_profile_stats before = mal_profile_stats();
    uint32_t used = header()->buckets_used;
    for (int i = 0; i < 100; i++)
        assert_true(sample_here(48, MAL_BOX_KIND_MALLOC));
    assert_int_equal(header()->buckets_used, used + 1);
    assert_int_equal(newest_count().allocs, 100);
    for (int i = 0; i < 40; i++)
        assert_true(mal_profile_free(next_address - 16u * (unsigned)i, 48));
    assert_false(mal_profile_free(next_address, 48));
    assert_int_equal(newest_count().frees, 40);
    assert_int_equal(mal_profile_stats().samples, before.samples + 100);
    assert_int_equal(mal_profile_stats().live, before.live + 60);
}

/* One call each, so that nothing but its arguments differs. */
static void what_differs_has_a_bucket_of_its_own(void **state) {
    (void)state;
    static const struct {
        uint64_t size_bytes;
        enum mal_box_kind kind;
    } asked[] = {{64, MAL_BOX_KIND_MALLOC}, {80, MAL_BOX_KIND_MALLOC}, {80, MAL_BOX_KIND_GC}};
    volatile unsigned count = 3; /* a loop that stays one, with one call */
    uint32_t used = header()->buckets_used, stack = 0;
    for (unsigned i = 0; i < count; i++) {
        assert_true(sample_here(asked[i].size_bytes, asked[i].kind));
        assert_int_equal(header()->buckets_used, used + i + 1);
        assert_int_equal(newest_bucket()->size, asked[i].size_bytes);
        assert_int_equal(newest_bucket()->kind, asked[i].kind);
        stack = i == 0 ? newest_bucket()->stack : stack;
        assert_int_equal(newest_bucket()->stack, stack); /* stored once */
    }
    assert_true(sample_there(80, MAL_BOX_KIND_GC));
    assert_int_equal(header()->buckets_used, used + 4);
    const uint64_t *here = mal_writer_stack(stack);
    const uint64_t *there = mal_writer_stack(newest_bucket()->stack);
    assert_true(here[0] != there[0] || memcmp(here + 1, there + 1, here[0] * sizeof *here) != 0);
}

static void sample_each_size(void) {
    for (unsigned i = 0; i < SIZES; i++)
        assert_true(sample_here(1000 + 16 * i, MAL_BOX_KIND_MALLOC));
}

static void a_bucket_is_found_after_thousands_of_others(void **state) {
    (void)state;
    uint32_t first = header()->buckets_used;
    for (uint64_t turn = 1; turn <= 3; turn++) {
        sample_each_size();
        assert_int_equal(header()->buckets_used, first + SIZES);
        for (unsigned i = 0; i < SIZES; i++) {
            assert_int_equal(mal_writer_bucket(first + i)->size, 1000 + 16 * i);
            assert_int_equal(count_of(first + i).allocs, turn);
        }
    }
}

/* As in a child of fork: without a box there is nothing to count in, but nothing is left behind. */
static void without_a_box_samples_end_all_the_same(void **state) {
    (void)state;
    assert_true(sample_here(48, MAL_BOX_KIND_MALLOC) && sample_here(48, MAL_BOX_KIND_MALLOC));
    int status;
    pid_t child = fork();
    if (child == 0) {
        alarm(20);
        mal_profile_forget_in_child();
        bool ended = mal_profile_free(next_address, 48) && mal_profile_free(next_address - 16, 48);
        _exit(ended && !mal_profile_free(next_address, 48) ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static void what_has_no_room_is_dropped(void **state) {
    (void)state;
    struct mal_box_bucket other = {.size = 16};
    while (mal_writer_add_bucket(&other) != MAL_BOX_NONE)
        ;
    struct mal_profile_stats before = mal_profile_stats();
    uint64_t dropped = header()->dropped_samples, bytes = header()->dropped_bytes;
    for (int i = 0; i < 3; i++)
        assert_false(sample_here(7777, MAL_BOX_KIND_MALLOC));
    assert_int_equal(header()->dropped_samples, dropped + 3);
    assert_int_equal(header()->dropped_bytes, bytes + 3 * 7777);
    assert_int_equal(mal_profile_stats().samples, before.samples + 3);
    assert_int_equal(mal_profile_stats().live, before.live);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(samples_of_one_kind_are_one_bucket),
        cmocka_unit_test(what_differs_has_a_bucket_of_its_own),
        cmocka_unit_test(a_bucket_is_found_after_thousands_of_others),
        cmocka_unit_test(without_a_box_samples_end_all_the_same),
        cmocka_unit_test(what_has_no_room_is_dropped),
    };
    return cmocka_run_group_tests(tests, start, NULL);
}
