/* SPDX-License-Identifier: Apache-2.0
 *
 * The resident set taken apart: which mapping counts as what, parts that add up whatever is put in,
 * and the sentence. And the history: its slope, its thinning, its events.
 */
#include "support/seeded.h"
#include "view/history.h"
#include "view/rss.h"
#include "view/rss_maps.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define KIB 1024ull
#define MIB (1024 * KIB)

/* ---------------------------------------------------------------------------------- mappings */

static void parse(const char *text, const struct rss_question *question, struct rss_maps *maps) {
    FILE *file = fmemopen((void *)(uintptr_t)text, strlen(text), "r");
    assert_non_null(file);
    assert_int_equal(rss_maps_parse(file, question, maps), 0);
    fclose(file);
}

static const char scene[] =
    "100000000000-100000400000 rw-p 00000000 00:00 0 \nSize: 4096 kB\nRss:     3000 kB\nPss: 1 kB\n"
    "100000800000-100000c00000 rw-p 00000000 00:00 0 \nRss:     1000 kB\n"
    "100000c00000-100001000000 rw-p 00000000 00:00 0 \nRss:     7 kB\n"
    "555500000000-555500001000 r-xp 00000000 fe:00 18624  /usr/bin/program\nRss:  4 kB\n"
    "555500001000-555500002000 rw-p 00001000 fe:00 18624  /usr/bin/program\nRss:  8 kB\n"
    "555500002000-555500009000 rw-p 00000000 00:00 0 \nRss:  16 kB\n"
    "555500010000-555500020000 rw-p 00000000 00:00 0  [heap]\nRss:  32 kB\n"
    "7f0000000000-7f0000040000 rw-p 00000000 00:00 0 \nRss:  64 kB\n"
    "7f0000040000-7f0010000000 ---p 00000000 00:00 0 \nRss:  0 kB\n"
    "7f0020000000-7f0020001000 ---p 00000000 00:00 0 \nRss:  0 kB\n"
    "7f0020001000-7f0020801000 rw-p 00000000 00:00 0 \nRss:  128 kB\n"
    "7f0030000000-7f0030001000 rw-p 00000000 00:00 0 \nRss:  256 kB\n"
    "7f0040000000-7f0040001000 rw-p 00000000 00:00 0 \nRss:  512 kB\n"
    "7f0050000000-7f0050100000 rw-s 00000000 00:15 77  /run/mallard/12.34.mallard (deleted)\n"
    "Rss:  1024 kB\n"
    "7f0060000000-7f0060100000 rw-s 00000000 00:15 78  /memfd:pool (deleted)\nRss:  2048 kB\n"
    "7ffc00000000-7ffc00021000 rw-p 00000000 00:00 0  [stack]\nRss:  4096 kB\n"
    "7ffc00100000-7ffc00102000 r-xp 00000000 00:00 0  [vdso]\nRss:  1 kB\n";

static void test_what_each_mapping_counts_as(void **state) {
    const uint64_t points[] = {0x7f0030000800};
    const struct rss_question question = {.box_name = "12.34.mallard",
                                          .heap_bytes = 8 * MIB,
                                          .stack_points = points,
                                          .stack_point_count = 1};
    struct rss_maps maps;
    (void)state;
    parse(scene, &question, &maps);
    assert_int_equal(maps.resident_bytes[RSS_USE_HEAP], 4000 * KIB); /* two: that is 8 MiB */
    assert_int_equal(maps.resident_bytes[RSS_USE_FILE], (4 + 8 + 16 + 1) * KIB);
    assert_int_equal(maps.resident_bytes[RSS_USE_TABLE], 64 * KIB);
    assert_int_equal(maps.resident_bytes[RSS_USE_STACK], (128 + 256 + 4096) * KIB);
    assert_int_equal(maps.resident_bytes[RSS_USE_BOX], 1024 * KIB);
    assert_int_equal(maps.resident_bytes[RSS_USE_OTHER], (7 + 32 + 512 + 2048) * KIB);
}

static void test_no_heap_and_no_box_known(void **state) {
    struct rss_maps maps;
    (void)state;
    parse(scene, &(struct rss_question){.box_name = ""}, &maps);
    assert_int_equal(maps.resident_bytes[RSS_USE_HEAP], 0);
    assert_int_equal(maps.resident_bytes[RSS_USE_BOX], 0);
}

static void test_a_zombie_has_nothing(void **state) {
    struct rss_maps maps;
    (void)state;
    FILE *file = fopen("/dev/null", "r");
    assert_non_null(file);
    assert_int_equal(rss_maps_parse(file, &(struct rss_question){.box_name = ""}, &maps), -ESRCH);
    fclose(file);
}

/* ------------------------------------------------------------------------------------- parts */

static uint64_t sum_of(const struct view_rss *rss) {
    uint64_t sum = 0;
    for (int part = 0; part < VIEW_RSS_PARTS; part++) {
        assert_true(rss->part[part] <= rss->resident_bytes);
        sum += rss->part[part];
    }
    return sum;
}

/* This very process, whatever the statistics claim. */
static void test_measured_parts_add_up(void **state) {
    static struct mal_box_stats stats;
    struct view_rss rss;
    uint64_t random = seeded_start(5);
    (void)state;
    for (int round = 0; round < 40; round++) {
        for (int id = 0; id < MAL_STAT_COUNT; id++)
            stats.value[id] = round == 0   ? 0
                              : round == 1 ? UINT64_MAX
                                           : seeded_next(&random) >> seeded_below(&random, 64);
        assert_int_equal(view_rss_measure((uint32_t)getpid(), "none", &stats, &rss), 0);
        assert_true(rss.measured);
        assert_true(rss.resident_bytes > 100 * KIB);
        assert_seeded(sum_of(&rss) == rss.resident_bytes);
        assert_true(rss.part[VIEW_RSS_CODE_FILES] > 0);
        assert_true(rss.part[VIEW_RSS_STACKS] > 0);
    }
    assert_true(view_rss_measure(0, "", &stats, &rss) < 0);
}

static void test_estimated_parts_add_up(void **state) {
    static struct mal_box_stats stats;
    struct view_rss rss;
    uint64_t random = seeded_start(6);
    (void)state;
    for (int round = 0; round < 2000; round++) {
        for (int id = 0; id < MAL_STAT_COUNT; id++)
            stats.value[id] =
                round == 1 ? UINT64_MAX : seeded_next(&random) >> seeded_below(&random, 64);
        view_rss_estimate(&stats, &rss);
        assert_false(rss.measured);
        assert_seeded(rss.resident_bytes == stats.value[MAL_STAT_RSS]);
        assert_seeded(sum_of(&rss) == rss.resident_bytes);
    }
}

static void typical(struct mal_box_stats *stats) {
    *stats = (struct mal_box_stats){0};
    stats->value[MAL_STAT_RSS] = 100 * MIB;
    stats->value[MAL_STAT_HEAP_ALLOC] = 40 * MIB;
    stats->value[MAL_STAT_CPU_CACHE] = 2 * MIB;
    stats->value[MAL_STAT_TRANSFER_CACHE] = 1 * MIB;
    stats->value[MAL_STAT_HEAP_INUSE] = 50 * MIB;
    stats->value[MAL_STAT_HEAP_IDLE] = 30 * MIB;
    stats->value[MAL_STAT_HEAP_RELEASED] = 20 * MIB;
    stats->value[MAL_STAT_HEAP_SYS] = 80 * MIB;
    stats->value[MAL_STAT_SPAN_SYS] = 3 * MIB;
    stats->value[MAL_STAT_BUCKET_SYS] = 1 * MIB;
}

static void test_the_heap_is_divided(void **state) {
    static struct mal_box_stats stats;
    struct view_rss rss;
    (void)state;
    typical(&stats);
    view_rss_estimate(&stats, &rss);
    assert_int_equal(rss.part[VIEW_RSS_LIVE], 40 * MIB);
    assert_int_equal(rss.part[VIEW_RSS_CPU_CACHES], 3 * MIB);
    assert_int_equal(rss.part[VIEW_RSS_FREE_IN_SPANS], 7 * MIB);
    assert_int_equal(rss.part[VIEW_RSS_FREE_PAGES], 10 * MIB);
    assert_int_equal(rss.part[VIEW_RSS_TABLES], 3 * MIB);
    assert_int_equal(rss.part[VIEW_RSS_PROFILER], 1 * MIB);
    assert_int_equal(rss.part[VIEW_RSS_REST], 36 * MIB);
    assert_true(view_rss_is_unknown(&rss, VIEW_RSS_STACKS));
    assert_true(view_rss_is_unknown(&rss, VIEW_RSS_CODE_FILES));
    assert_false(view_rss_is_unknown(&rss, VIEW_RSS_REST));
    assert_false(view_rss_is_unknown(&rss, VIEW_RSS_LIVE));
    rss.measured = true;
    assert_false(view_rss_is_unknown(&rss, VIEW_RSS_STACKS));
}

/* Holes in spans are known; what else is not resident are live bytes that nobody touched. */
static void test_untouched_bytes(void **state) {
    static struct mal_box_stats stats;
    struct view_rss rss;
    (void)state;
    typical(&stats);
    stats.value[MAL_STAT_SPAN_HOLES] = 5 * MIB;
    stats.value[MAL_STAT_RSS] =
        34 * MIB; /* 4 are tables: the heap has 30, 10 + 3 + 2 of them free */
    view_rss_estimate(&stats, &rss);
    assert_int_equal(rss.part[VIEW_RSS_FREE_IN_SPANS], 2 * MIB);
    assert_int_equal(rss.part[VIEW_RSS_FREE_PAGES], 10 * MIB);
    assert_int_equal(rss.part[VIEW_RSS_LIVE], 15 * MIB);
    assert_int_equal(rss.part[VIEW_RSS_REST], 0);
    stats.value[MAL_STAT_RSS] = 12 * MIB;
    view_rss_estimate(&stats, &rss);
    assert_int_equal(rss.part[VIEW_RSS_LIVE], 0);
    assert_int_equal(rss.part[VIEW_RSS_FREE_PAGES], 3 * MIB);
    assert_int_equal(rss.part[VIEW_RSS_FREE_IN_SPANS], 2 * MIB);
    assert_int_equal(rss.part[VIEW_RSS_CPU_CACHES], 3 * MIB);
}

static void assert_sentence(const struct view_rss *rss, double spread, const char *expected) {
    struct view_buffer out = {0};
    view_rss_sentence(rss, spread, &out);
    assert_string_equal(out.data, expected);
    view_buffer_free(&out);
}

static void test_sentence(void **state) {
    struct view_rss rss = {.resident_bytes = 3 * MIB, .measured = true};
    (void)state;
    rss.part[VIEW_RSS_LIVE] = 2 * MIB;
    rss.part[VIEW_RSS_REST] = 1 * MIB;
    assert_sentence(&rss, -1, "RSS 3 MiB = 2 MiB live objects + 1 MiB the rest");
    assert_sentence(&rss, 0.021,
                    "RSS 3 MiB = 2 MiB live objects (call sites known to ±2 %) + "
                    "1 MiB the rest");
    assert_sentence(&rss, 0,
                    "RSS 3 MiB = 2 MiB live objects (call sites known exactly) + "
                    "1 MiB the rest");
    rss.measured = false;
    assert_sentence(&rss, -1,
                    "RSS 3 MiB = 2 MiB live objects + 1 MiB the rest (from the last "
                    "statistics: the process cannot be measured)");
}

/* 100 live samples of 64 bytes at a rate of 512 KiB: 10 %, as 1/√n for small p. */
static void test_spread(void **state) {
    struct mal_snapshot_bucket bucket = {.size = 64, .rate = 524288, .allocs = 130, .frees = 30};
    struct mal_snapshot snapshot = {.bucket_count = 1, .buckets = &bucket};
    (void)state;
    assert_true(view_live_spread(&snapshot) > 0.0999 && view_live_spread(&snapshot) < 0.1001);
    bucket.rate = 1;
    assert_true(view_live_spread(&snapshot) == 0);
    bucket.frees = 130;
    assert_true(view_live_spread(&snapshot) < 0);
    bucket.size = 0;
    bucket.rate = 524288;
    assert_true(view_live_spread(&snapshot) < 0);
}

/* ----------------------------------------------------------------------------------- history */

#define ROWS 4000
static struct mal_box_history_row rows[ROWS];
static const uint64_t second_ns = 1000000000u, begin_ns = 1795000000u * 1000000000ull;

static void make_rows(size_t count, int64_t bytes_per_second) {
    for (size_t i = 0; i < count; i++)
        rows[i] = (struct mal_box_history_row){
            .unix_ns = begin_ns + i * second_ns,
            .rss_bytes = 1000 + i,
            .heap_alloc_bytes = (uint64_t)((int64_t)(100 * MIB) + bytes_per_second * (int64_t)i)};
}

static void test_growth(void **state) {
    int64_t slope = 1;
    (void)state;
    make_rows(ROWS, 1000);
    assert_true(view_history_growth(rows, 61, &slope));
    assert_true(labs((long)(slope - 3600000)) <= 1);
    assert_false(view_history_growth(rows, 60, &slope)); /* 59 seconds */
    assert_false(view_history_growth(rows, 0, &slope));
    make_rows(ROWS, -10);
    assert_true(view_history_growth(rows, ROWS, &slope));
    assert_true(labs((long)(slope + 36000)) <= 1);
    for (size_t i = 0; i < 300; i++) /* older than an hour: does not count */
        rows[i].heap_alloc_bytes = 1ull << 50;
    assert_true(view_history_growth(rows, ROWS, &slope));
    assert_true(labs((long)(slope + 36000)) <= 1);
    for (size_t i = 0; i < ROWS; i++) /* a box that lies about time */
        rows[i].unix_ns = begin_ns;
    assert_false(view_history_growth(rows, ROWS, &slope));
}

static void test_thinning_keeps_ends_and_peaks(void **state) {
    (void)state;
    make_rows(ROWS, 1);
    rows[1777].rss_bytes = 99999999;
    const struct mal_box_history_row first = rows[0], peak = rows[1777], last = rows[ROWS - 1];
    size_t count = view_history_thin(rows, ROWS, 100);
    assert_true(count <= 100 && count > 90);
    assert_memory_equal(&rows[0], &first, sizeof(first));
    assert_memory_equal(&rows[count - 1], &last, sizeof(last));
    size_t found = 0;
    for (size_t i = 1; i < count; i++) {
        assert_true(rows[i].unix_ns > rows[i - 1].unix_ns);
        found += memcmp(&rows[i], &peak, sizeof(peak)) == 0;
    }
    assert_int_equal(found, 1);
}

static void test_thinning_of_little_and_of_nonsense(void **state) {
    uint64_t random = seeded_start(8);
    (void)state;
    make_rows(10, 1);
    assert_int_equal(view_history_thin(rows, 10, 10), 10);
    assert_int_equal(view_history_thin(rows, 10, 0), 2);
    assert_int_equal(rows[1].unix_ns, begin_ns + 9 * second_ns);
    assert_int_equal(view_history_thin(rows, 0, 5), 0);
    for (size_t i = 0; i < ROWS; i++)
        rows[i].unix_ns = seeded_next(&random);
    assert_true(view_history_thin(rows, ROWS, 50) <= 50);
}

/* 3 MiB went back in the second row, too little to tell in the third. */
static const struct mal_box_history_row scavenges[] = {
    {.unix_ns = 1000000000000, .scavenged_bytes = 1 << 20},
    {.unix_ns = 1001000000000, .scavenged_bytes = 4 << 20},
    {.unix_ns = 1002000000000, .scavenged_bytes = (4 << 20) + 100},
    {.unix_ns = 1003000000000, .scavenged_bytes = 5}, /* cannot be */
};

static void assert_events(const char *text, const struct view_event_window *window,
                          const char *expected) {
    struct view_buffer out = {0};
    struct view_json json = {.out = &out};
    struct view_event_rows history = {scavenges, sizeof(scavenges) / sizeof(scavenges[0])};
    view_events_json(&(struct view_event_text){text, strlen(text)}, &history, window, &json);
    assert_string_equal(out.data, expected);
    view_buffer_free(&out);
}

static void test_events(void **state) {
    static const struct view_event_window all = {1000 * 1000000000ull, 0, UINT64_MAX};
    static const struct view_event_window late = {1000 * 1000000000ull, 1002 * 1000000000ull,
                                                  UINT64_MAX};
    static const char text[] = "scav 1 KiB work\ngc 1 @1.250s 0%: x\nnonsense\ngc 2 @y\n"
                               "gc 3 @3.000s 1%: \"q\"\ngc 4 @4.000s cut";
#define RETURNED                                                                                   \
    "{\"unix_ns\":1001000000000,\"kind\":\"scav\",\"text\":\"3 MiB returned to the OS\"}"
    (void)state;
    assert_events(text, &all,
                  "\"events\":[{\"unix_ns\":1001250000000,\"kind\":\"gc\",\"text\":\"gc 1 @1.250s "
                  "0%: x\"},{\"unix_ns\":1003000000000,\"kind\":\"gc\",\"text\":\"gc 3 @3.000s 1%: "
                  "\\\"q\\\"\"}," RETURNED "]");
    assert_events(text, &late,
                  "\"events\":[{\"unix_ns\":1003000000000,\"kind\":\"gc\",\"text\":\"gc 3 @3.000s "
                  "1%: \\\"q\\\"\"}]");
    assert_events("", &all, "\"events\":[" RETURNED "]");
    assert_events("gc 1 @99999999999999.000s\n", &late, "\"events\":[]");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_each_mapping_counts_as),
        cmocka_unit_test(test_no_heap_and_no_box_known),
        cmocka_unit_test(test_a_zombie_has_nothing),
        cmocka_unit_test(test_measured_parts_add_up),
        cmocka_unit_test(test_estimated_parts_add_up),
        cmocka_unit_test(test_the_heap_is_divided),
        cmocka_unit_test(test_untouched_bytes),
        cmocka_unit_test(test_sentence),
        cmocka_unit_test(test_spread),
        cmocka_unit_test(test_growth),
        cmocka_unit_test(test_thinning_keeps_ends_and_peaks),
        cmocka_unit_test(test_thinning_of_little_and_of_nonsense),
        cmocka_unit_test(test_events),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
