/* SPDX-License-Identifier: Apache-2.0
 *
 * Heap profiles for machines: within the bounds of back ends with every total unchanged, and as
 * differences from scrape to scrape.
 */
#include "box/reader.h"
#include "support/box_fixture.h"
#include "support/gunzip.h"
#include "view/view.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support/box_snapshot.h"

#define SAMPLES_MAX 16000
#define PLAIN_BYTES_MAX (4u << 20)

static struct pprof *heap_of(const struct mal_snapshot *snapshot, enum view_heap_kind kind,
                             size_t *ret_bytes) {
    struct view_symbols *symbols;
    struct view_buffer out = {0};
    assert_int_equal(view_symbols_create(&symbols), 0);
    assert_int_equal(view_heap_proto(snapshot, symbols, kind, &out), 0);
    struct pprof *profile = gunzip_profile(out.data, out.bytes, ret_bytes);
    view_buffer_free(&out);
    view_symbols_destroy(symbols);
    return profile;
}

/* `count` buckets of exact counts, each with a stack of `depth` places nobody else has. Sizes grow
 * and shrink so that the order of the box says nothing about the order of weight. */
static struct mal_snapshot *snapshot_with(uint32_t count, uint32_t depth) {
    struct box_fixture *box = box_fixture_new();
    uint64_t pcs[MAL_BOX_DEPTH_MAX];
    for (uint32_t i = 0; i < count; i++) {
        for (uint32_t k = 0; k < depth; k++)
            pcs[k] = 0x10000 + ((uint64_t)i * depth + k) * 16;
        uint64_t size = 16 * (1 + (uint64_t)i * 7919 % count);
        box_fixture_add_bucket(box, box_fixture_add_stack(box, pcs, depth), size, 1, 1 + i % 5,
                               i % 2);
    }
    struct mal_snapshot *snapshot = snapshot_of(box);
    box_fixture_free(box);
    assert_int_equal(snapshot->bucket_count, count);
    return snapshot;
}

static void sum_buckets(const struct mal_snapshot *snapshot, int64_t ret_sums[4]) {
    memset(ret_sums, 0, 4 * sizeof(ret_sums[0]));
    for (size_t i = 0; i < snapshot->bucket_count; i++) {
        const struct mal_snapshot_bucket *bucket = &snapshot->buckets[i];
        uint64_t live = bucket->allocs - bucket->frees;
        ret_sums[0] += (int64_t)bucket->allocs;
        ret_sums[1] += (int64_t)(bucket->allocs * bucket->size);
        ret_sums[2] += (int64_t)live;
        ret_sums[3] += (int64_t)(live * bucket->size);
    }
}

static void check_sums(const struct pprof *profile, const int64_t wanted[4]) {
    for (int k = 0; k < 4; k++) {
        int64_t got = 0;
        for (size_t i = 0; i < profile->sample_count; i++)
            got += profile->samples[i].values[k];
        assert_int_equal(got, wanted[k]);
    }
}

/* The sample of the frame "other", NULL when there is none. */
static const struct pprof_sample *other_of(const struct pprof *profile) {
    for (size_t i = 0; i < profile->sample_count; i++) {
        const struct pprof_sample *sample = &profile->samples[i];
        if (sample->depth == 1 && strcmp(pprof_name(profile, sample, 0, 0), "other") == 0)
            return sample;
    }
    return NULL;
}

static void test_too_many_stacks_are_merged(void **state) {
    (void)state;
    const uint32_t count = 20000;
    struct mal_snapshot *snapshot = snapshot_with(count, 1);
    int64_t sums[4];
    size_t bytes;
    char comment[128];
    sum_buckets(snapshot, sums);
    struct pprof *profile = heap_of(snapshot, VIEW_ALLOCS | VIEW_CAPPED, &bytes);
    assert_int_equal(profile->sample_count, SAMPLES_MAX);
    assert_true(bytes <= PLAIN_BYTES_MAX);
    check_sums(profile, sums);
    assert_string_equal(profile->default_type, "alloc_space");
    const struct pprof_sample *other = other_of(profile);
    assert_non_null(other);
    assert_int_equal(other->label_count, 0);
    snprintf(comment, sizeof(comment),
             "mallard: the %u smallest of %u stacks are merged into \"other\"; full=1 gives all",
             count - SAMPLES_MAX + 1, count);
    assert_int_equal(profile->comment_count, 1);
    assert_string_equal(profile->comments[0], comment);
    /* Nothing that was kept is smaller than the smallest that could have been merged. */
    int64_t smallest = INT64_MAX;
    for (size_t i = 0; i < profile->sample_count; i++)
        if (&profile->samples[i] != other && profile->samples[i].values[1] < smallest)
            smallest = profile->samples[i].values[1];
    assert_true(other->values[1] <= smallest * (int64_t)(count - SAMPLES_MAX + 1));
    pprof_free(profile);
    profile = heap_of(snapshot, VIEW_ALLOCS, &bytes);
    assert_int_equal(profile->sample_count, count);
    assert_null(other_of(profile));
    assert_int_equal(profile->comment_count, 0);
    check_sums(profile, sums);
    pprof_free(profile);
    mal_snapshot_free(snapshot);
}

static void test_too_many_bytes_are_merged(void **state) {
    (void)state;
    struct mal_snapshot *snapshot = snapshot_with(6000, 20);
    int64_t sums[4];
    size_t bytes;
    sum_buckets(snapshot, sums);
    struct pprof *profile = heap_of(snapshot, VIEW_HEAP | VIEW_CAPPED, &bytes);
    assert_true(bytes <= PLAIN_BYTES_MAX);
    assert_true(bytes > PLAIN_BYTES_MAX / 2); /* no more than needed was merged */
    assert_non_null(other_of(profile));
    assert_int_equal(profile->comment_count, 1);
    check_sums(profile, sums);
    pprof_free(profile);
    mal_snapshot_free(snapshot);
}

static void test_what_fits_is_not_touched(void **state) {
    (void)state;
    struct mal_snapshot *snapshot = snapshot_with(SAMPLES_MAX, 1);
    struct view_symbols *symbols;
    struct view_buffer capped = {0}, full = {0};
    assert_int_equal(view_symbols_create(&symbols), 0);
    assert_int_equal(view_heap_proto(snapshot, symbols, VIEW_HEAP | VIEW_CAPPED, &capped), 0);
    assert_int_equal(view_heap_proto(snapshot, symbols, VIEW_HEAP, &full), 0);
    assert_int_equal(capped.bytes, full.bytes);
    assert_memory_equal(capped.data, full.data, full.bytes);
    view_buffer_free(&capped);
    view_buffer_free(&full);
    view_symbols_destroy(symbols);
    mal_snapshot_free(snapshot);
}

static void test_differences_are_merged_by_their_size(void **state) {
    (void)state;
    struct mal_snapshot *snapshot = snapshot_with(20000, 1); /* every tenth has nothing live */
    struct view_base *before;
    struct view_symbols *symbols;
    struct view_buffer out = {0};
    int64_t sums[4];
    size_t bytes;
    sum_buckets(snapshot, sums);
    for (int k = 0; k < 4; k++)
        sums[k] = k < 2 ? 0 : -sums[k];
    assert_int_equal(view_heap_base(snapshot, &before), 0);
    for (size_t i = 0; i < snapshot->bucket_count; i++)
        snapshot->buckets[i].frees = snapshot->buckets[i].allocs;
    assert_int_equal(view_symbols_create(&symbols), 0);
    assert_int_equal(view_heap_delta_proto(before, snapshot, symbols, VIEW_CAPPED, &out), 0);
    struct pprof *profile = gunzip_profile(out.data, out.bytes, &bytes);
    assert_int_equal(profile->sample_count, SAMPLES_MAX);
    check_sums(profile, sums);
    pprof_free(profile);
    view_buffer_free(&out);
    view_symbols_destroy(symbols);
    free(before);
    mal_snapshot_free(snapshot);
}

/* ---- scrapes ---- */

struct scraping {
    struct view_symbols *symbols;
    struct view_marks *marks;
};

static struct pprof *scrape(struct scraping *scraping, const struct mal_snapshot *snapshot) {
    struct view_buffer out = {0};
    struct view_marks *after = NULL;
    const struct view_scrape asked = {scraping->marks, &after};
    size_t bytes;
    assert_int_equal(view_heap_scrape_proto(snapshot, scraping->symbols, VIEW_CAPPED, &asked, &out),
                     0);
    assert_non_null(after);
    free(scraping->marks);
    scraping->marks = after;
    struct pprof *profile = gunzip_profile(out.data, out.bytes, &bytes);
    view_buffer_free(&out);
    return profile;
}

static void test_each_scrape_has_what_came_since_the_last(void **state) {
    (void)state;
    const int64_t first[4] = {0, 0, 4, 256};
    const int64_t second[4] = {3, 1064, 6, 1256};
    const int64_t third[4] = {0, 0, 6, 1256};
    const uint64_t pcs[] = {0x1001, 0x2001};
    struct box_fixture *box = box_fixture_new();
    struct scraping scraping = {0};
    assert_int_equal(view_symbols_create(&scraping.symbols), 0);
    box_fixture_add_bucket(box, box_fixture_add_stack(box, pcs, 2), 64, 1, 9, 5);
    struct mal_snapshot *snapshot = snapshot_of(box);
    struct pprof *profile = scrape(&scraping, snapshot);
    check_sums(profile, first); /* what came before the first scrape is not a difference */
    assert_int_equal(profile->duration_ns, 0);
    pprof_free(profile);
    uint64_t taken_unix_ns = snapshot->taken_unix_ns;
    mal_snapshot_free(snapshot);

    *box_fixture_allocs(box, 0) += 1;
    *box_fixture_frees(box, 0) += 1;
    box_fixture_add_bucket(box, box_fixture_add_stack(box, pcs, 1), 500, 1, 2, 0);
    snapshot = snapshot_of(box);
    snapshot->taken_unix_ns = taken_unix_ns + 7;
    profile = scrape(&scraping, snapshot);
    check_sums(profile, second);
    assert_int_equal(profile->duration_ns, 7);
    pprof_free(profile);
    profile = scrape(&scraping, snapshot);
    check_sums(profile, third);
    pprof_free(profile);
    mal_snapshot_free(snapshot);
    free(scraping.marks);
    view_symbols_destroy(scraping.symbols);
    box_fixture_free(box);
}

static void test_marks_of_another_process_give_no_negative_values(void **state) {
    (void)state;
    struct mal_snapshot *large = snapshot_with(5, 1);
    struct mal_snapshot *small = snapshot_with(5, 1);
    struct scraping scraping = {0};
    assert_int_equal(view_symbols_create(&scraping.symbols), 0);
    for (size_t i = 0; i < small->bucket_count; i++)
        small->buckets[i].allocs = small->buckets[i].frees = 0;
    pprof_free(scrape(&scraping, large));
    struct pprof *profile = scrape(&scraping, small);
    assert_int_equal(profile->sample_count, 0);
    assert_int_equal(profile->type_count, 4);
    pprof_free(profile);
    mal_snapshot_free(large);
    mal_snapshot_free(small);
    free(scraping.marks);
    view_symbols_destroy(scraping.symbols);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_too_many_stacks_are_merged),
        cmocka_unit_test(test_too_many_bytes_are_merged),
        cmocka_unit_test(test_what_fits_is_not_touched),
        cmocka_unit_test(test_differences_are_merged_by_their_size),
        cmocka_unit_test(test_each_scrape_has_what_came_since_the_last),
        cmocka_unit_test(test_marks_of_another_process_give_no_negative_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
