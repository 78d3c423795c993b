/* SPDX-License-Identifier: Apache-2.0
 *
 * The trace lines: Go's rule for milliseconds as a table, thousands of random lines against the
 * pattern of Go's, and traces of Go itself, taken apart and made again.
 */
#include "base/attr.h"
#include "gc/trace.h"

#include <math.h>
#include <regex.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define T "(0|0\\.00[1-9]|0\\.0[1-9][0-9]|0\\.[1-9][0-9]|[1-9]\\.[0-9]|[1-9][0-9]+)"
#define N "([0-9]+)"
#define LINE                                                                                       \
    "^gc " N " @[0-9]+\\.[0-9]{3}s " N "%: " T "\\+" T "\\+" T " ms clock, " T "\\+" T "/" T "/" T \
    "\\+" T " ms cpu, " N "->" N "->" N " MB, " N " MB goal, " N " MB stacks, " N                  \
    " MB globals, " N " P( \\(forced\\))?\n$"

static uint64_t random_state = 0x9e3779b97f4a7c15;

/* Of every order of magnitude alike. */
static uint64_t next_random(void) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state >> random_state % 60;
}

static void milliseconds_are_cut_as_go_cuts_them(void **state) {
    static const struct {
        uint64_t ns;
        const char *text;
    } table[] = {
        {0, "0"},           {999, "0"},       {1000, "0.001"},  {41700, "0.041"},
        {99999, "0.099"},   {100000, "0.10"}, {999999, "0.99"}, {1000000, "1.0"},
        {1999999, "1.9"},   {9999999, "9.9"}, {10000000, "10"}, {12999999, "12"},
        {358400000, "358"}, {9999, "0.009"},  {10000, "0.010"}, {109999, "0.10"},
    };
    (void)state;
    for (size_t i = 0; i < MAL_COUNT_OF(table); i++) {
        char line[MAL_GC_TRACE_BYTES];
        char expected[64];
        struct mal_gc_trace trace = {.clock_ns = {table[i].ns}};
        mal_gc_trace_line(line, sizeof line, &trace);
        snprintf(expected, sizeof expected, "gc 0 @0.000s 0%%: %s+0+0 ms clock,", table[i].text);
        assert_memory_equal(line, expected, strlen(expected));
    }
}

static void random_lines_match_gos_pattern(void **state) {
    regex_t pattern;
    (void)state;
    assert_int_equal(regcomp(&pattern, LINE, REG_EXTENDED | REG_NOSUB), 0);
    for (unsigned i = 0; i < 20000; i++) {
        char line[MAL_GC_TRACE_BYTES];
        struct mal_gc_trace trace = {
            .number = next_random(),
            .since_start_ns = next_random(),
            .cpu_share = (double)(next_random() % 1001) / 1000,
            .clock_ns = {next_random(), next_random(), next_random()},
            .sweep_term_cpu_ns = next_random(),
            .assist_ns = next_random(),
            .background_ns = next_random(),
            .idle_ns = next_random(),
            .mark_term_cpu_ns = next_random(),
            .live_start_bytes = next_random(),
            .live_end_bytes = next_random(),
            .marked_bytes = next_random(),
            .goal_bytes = next_random(),
            .stack_bytes = next_random(),
            .globals_bytes = next_random(),
            .cpus = (unsigned)next_random(),
            .forced = next_random() % 2,
        };
        size_t length = mal_gc_trace_line(line, sizeof line, &trace);
        assert_int_equal(length, strlen(line));
        if (regexec(&pattern, line, 0, NULL, 0) != 0)
            fail_msg("not as Go writes it: %s", line);
    }
    regfree(&pattern);
}

static void one_line_to_the_byte(void **state) {
    char line[MAL_GC_TRACE_BYTES];
    (void)state;
    struct mal_gc_trace trace = {
        .number = 268,
        .since_start_ns = 2133999999,
        .cpu_share = 0.07999,
        .clock_ns = {22900, 203000, 4000},
        .sweep_term_cpu_ns = 44000,
        .background_ns = 100000,
        .idle_ns = 179999,
        .mark_term_cpu_ns = 9000,
        .goal_bytes = 4194304,
        .live_start_bytes = 1048575,
        .cpus = 2,
        .forced = true,
    };
    mal_gc_trace_line(line, sizeof line, &trace);
    assert_string_equal(line,
                        "gc 268 @2.133s 7%: 0.022+0.20+0.004 ms clock, 0.044+0/0.10/0.17+0.009 "
                        "ms cpu, 0->0->0 MB, 4 MB goal, 0 MB stacks, 0 MB globals, 2 P "
                        "(forced)\n");
}

static void a_short_buffer_cuts(void **state) {
    char line[16];
    struct mal_gc_trace trace = {.number = 12345};
    (void)state;
    assert_int_equal(mal_gc_trace_line(line, sizeof line, &trace), 15);
    assert_string_equal(line, "gc 12345 @0.000");
}

static uint64_t ns_of(const char *ms) {
    return (uint64_t)llround(strtod(ms, NULL) * 1e6);
}

/* A line of Go's, taken apart; what the fields cannot tell is their rounding, which is the test. */
static void remake(const char *golden) {
    char t[8][16];
    char line[MAL_GC_TRACE_BYTES];
    unsigned long n[7];
    unsigned long s, frac, percent, number;
    int end = 0;
    int found = sscanf(golden,
                       "gc %lu @%lu.%3lus %lu%%: %15[0-9.]+%15[0-9.]+%15[0-9.] ms clock, "
                       "%15[0-9.]+%15[0-9.]/%15[0-9.]/%15[0-9.]+%15[0-9.] ms cpu, %lu->%lu->%lu "
                       "MB, %lu MB goal, %lu MB stacks, %lu MB globals, %lu P%n",
                       &number, &s, &frac, &percent, t[0], t[1], t[2], t[3], t[4], t[5], t[6], t[7],
                       &n[0], &n[1], &n[2], &n[3], &n[4], &n[5], &n[6], &end);
    assert_int_equal(found, 19);
    struct mal_gc_trace trace = {
        .number = number,
        .since_start_ns = (s * 1000 + frac) * 1000000,
        .cpu_share = ((double)percent + 0.5) / 100,
        .clock_ns = {ns_of(t[0]), ns_of(t[1]), ns_of(t[2])},
        .sweep_term_cpu_ns = ns_of(t[3]),
        .assist_ns = ns_of(t[4]),
        .background_ns = ns_of(t[5]),
        .idle_ns = ns_of(t[6]),
        .mark_term_cpu_ns = ns_of(t[7]),
        .live_start_bytes = n[0] << 20,
        .live_end_bytes = n[1] << 20,
        .marked_bytes = n[2] << 20,
        .goal_bytes = n[3] << 20,
        .stack_bytes = n[4] << 20,
        .globals_bytes = n[5] << 20,
        .cpus = (unsigned)n[6],
        .forced = strstr(golden, "(forced)") != NULL,
    };
    mal_gc_trace_line(line, sizeof line, &trace);
    assert_string_equal(line, golden);
}

static void gos_own_traces_come_out_the_same(void **state) {
    char golden[1024];
    unsigned lines = 0;
    (void)state;
    FILE *file = fopen("tests/unit/core/gctrace_go1.19.txt", "r"); /* tests run at the root */
    assert_non_null(file);
    while (fgets(golden, sizeof golden, file)) {
        if (strncmp(golden, "gc ", 3) != 0)
            continue;
        remake(golden);
        lines++;
    }
    fclose(file);
    print_message("%u lines\n", lines);
    assert_true(lines > 0);
}

static void real_is(double value, const char *text) {
    char line[MAL_GC_TRACE_BYTES];
    char expected[128];
    mal_gc_trace_pacer_start(line, sizeof line, &(struct mal_gc_trace_start){.fractional = value});
    snprintf(expected, sizeof expected,
             "pacer: assist ratio=+0.000000e+000 (scan 0 MB in 0->0 MB) workers=0+%s\n", text);
    assert_string_equal(line, expected);
}

static void reals_are_printed_as_gos_runtime_does(void **state) {
    (void)state;
    real_is(0, "+0.000000e+000");
    real_is(-0.0, "-0.000000e+000");
    real_is(0.25, "+2.500000e-001");
    real_is(1.7331814, "+1.733181e+000");
    real_is(-1234567.8, "-1.234568e+006");
    real_is(9.9999999, "+1.000000e+001");
    real_is(10, "+1.000000e+001");
    real_is(INFINITY, "+Inf");
    real_is(-INFINITY, "-Inf");
    real_is(NAN, "NaN");
    real_is(1e-300, "+1.000000e-300");
    real_is(1.5e308, "+1.500000e+308");
}

/* Against libc, but for the last digit: Go's runtime scales by repeated division. */
static void random_reals_agree_with_libc(void **state) {
    (void)state;
    for (unsigned i = 0; i < 20000; i++) {
        char line[MAL_GC_TRACE_BYTES];
        double value = (double)(1 + next_random()) / (double)(1 + next_random());
        struct mal_gc_trace_start start = {.fractional = value};
        mal_gc_trace_pacer_start(line, sizeof line, &start);
        const char *text = strstr(line, "workers=0+") + strlen("workers=0+");
        assert_int_equal(strlen(text), strlen("+d.dddddde+ddd\n"));
        assert_true(fabs(strtod(text, NULL) - value) <= 1.51e-6 * value);
    }
}

static void pacer_lines(void **state) {
    char line[MAL_GC_TRACE_BYTES];
    (void)state;
    mal_gc_trace_pacer_end(line, sizeof line,
                           &(struct mal_gc_trace_end){.utilization = 0.259,
                                                      .heap_scan_bytes = 100,
                                                      .stack_scan_bytes = 20,
                                                      .globals_scan_bytes = 3,
                                                      .expected_scan_bytes = 99,
                                                      .triggered_bytes = 3997696,
                                                      .live_bytes = 4000000,
                                                      .goal_bytes = 4194304,
                                                      .cons_mark = 0.5});
    assert_string_equal(line,
                        "pacer: 25% CPU (25 exp.) for 100+20+3 B work (99 B exp.) in 3997696 B "
                        "-> 4000000 B (\xe2\x88\x86goal -194304, cons/mark "
                        "+5.000000e-001)\n");
    mal_gc_trace_pacer_end(line, sizeof line, &(struct mal_gc_trace_end){.was_reset = true});
    assert_non_null(strstr(line, ")[controller reset]\n"));
    mal_gc_trace_pacer_start(line, sizeof line,
                             &(struct mal_gc_trace_start){1.5, 2 << 20, 3 << 20, 4 << 20, 1, 0.25});
    assert_string_equal(line, "pacer: assist ratio=+1.500000e+000 (scan 2 MB in 3->4 MB) "
                              "workers=1++2.500000e-001\n");
}

static void the_line_about_written_pages(void **state) {
    char line[MAL_GC_TRACE_BYTES];
    (void)state;
    struct mal_gc_trace_dirty dirty = {.backend = "uffd",
                                       .rounds = 3,
                                       .round_pages = {45315, 17608, 310},
                                       .final_pages = 142,
                                       .stop_ns = {36999, 54000},
                                       .protect_ns = 1600000};
    mal_gc_trace_dirty_line(line, sizeof line, &dirty);
    assert_string_equal(line, "dirty backend=uffd rounds=3 dirty=45315/17608/310 final=142p "
                              "ttsp=36+54us wp=1.6ms restarts=0\n");
    dirty = (struct mal_gc_trace_dirty){.backend = "none", .rounds = 0};
    mal_gc_trace_dirty_line(line, sizeof line, &dirty);
    assert_string_equal(line, "dirty backend=none rounds=0 dirty=0 final=0p ttsp=0+0us wp=0ms "
                              "restarts=0\n");
    dirty.rounds = 20;
    memset(dirty.round_pages, 0xff, sizeof dirty.round_pages);
    assert_true(mal_gc_trace_dirty_line(line, sizeof line, &dirty) < sizeof line - 1);
    assert_int_equal(line[strlen(line) - 1], '\n');
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(milliseconds_are_cut_as_go_cuts_them),
        cmocka_unit_test(random_lines_match_gos_pattern),
        cmocka_unit_test(one_line_to_the_byte),
        cmocka_unit_test(a_short_buffer_cuts),
        cmocka_unit_test(gos_own_traces_come_out_the_same),
        cmocka_unit_test(reals_are_printed_as_gos_runtime_does),
        cmocka_unit_test(random_reals_agree_with_libc),
        cmocka_unit_test(pacer_lines),
        cmocka_unit_test(the_line_about_written_pages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
