/* SPDX-License-Identifier: Apache-2.0
 *
 * Statistics as JSON, as Prometheus text and for people. The JSON is checked for Go's names and
 * identities, the metrics by promtool where that is installed.
 */
#include "base/attr.h"
#include "box/reader.h"
#include "support/box_fixture.h"
#include "view/collector.h"
#include "view/view.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

/* ---------------------------------------------------------------------------------- memstats */

static uint64_t field(const char *json, const char *name) {
    char key[64];
    snprintf(key, sizeof(key), "\"%s\":", name);
    const char *at = strstr(json, key);
    if (!at)
        fail_msg("no field %s", name);
    return strtoull(at + strlen(key), NULL, 10);
}

static size_t count_of(const char *text, const char *part) {
    size_t count = 0;
    for (; (text = strstr(text, part)) != NULL; text += strlen(part))
        count++;
    return count;
}

static void test_memstats(void **state) {
    (void)state;
    struct box_fixture *box = box_fixture_typical();
    struct view_buffer out = {0};
    assert_int_equal(view_memstats_json(box_fixture_stats(box), &out), 0);
    const char *json = out.data;
    assert_int_equal(field(json, "Sys"), field(json, "HeapSys") + field(json, "StackSys") +
                                             field(json, "MSpanSys") + field(json, "MCacheSys") +
                                             field(json, "BuckHashSys") + field(json, "GCSys") +
                                             field(json, "OtherSys"));
    assert_int_equal(field(json, "HeapSys"), field(json, "HeapIdle") + field(json, "HeapInuse"));
    assert_int_equal(field(json, "Alloc"), field(json, "HeapAlloc"));
    assert_int_equal(field(json, "HeapObjects"), field(json, "Mallocs") - field(json, "Frees"));
    assert_int_equal(field(json, "Lookups"), 0);
    assert_int_equal(field(json, "NumGC"), 2);
    assert_non_null(strstr(json, "\"EnableGC\":true,\"DebugGC\":false,\"BySize\":["));
    assert_non_null(strstr(json, "\"GCCPUFraction\":0.027474219,"));
    assert_int_equal(count_of(json, "{\"Size\":"), 61);
    assert_non_null(strstr(json, "[{\"Size\":0,\"Mallocs\":0,\"Frees\":0},"
                                 "{\"Size\":16,\"Mallocs\":2000,\"Frees\":1800},"));
    assert_null(strstr(json, "\"Size\":32768"));
    assert_non_null(strstr(json, "\"Mallard\":{\"total_alloc_bytes\":2045673208,"));
    assert_non_null(strstr(json, "\"max_resident_bytes\":89165824}}\n"));
    view_buffer_free(&out);
    box_fixture_free(box);
}

static void test_memstats_is_json(void **state) {
    (void)state;
    if (system("python3 -c '' >/dev/null 2>&1") != 0) {
        print_message("skipped: no python3\n");
        skip();
    }
    struct box_fixture *box = box_fixture_typical();
    struct view_buffer out = {0};
    assert_int_equal(view_memstats_json(box_fixture_stats(box), &out), 0);
    FILE *pipe = popen("python3 -c 'import json,sys\n"
                       "stats = json.load(sys.stdin)\n"
                       "assert len(stats[\"BySize\"]) == 61\n"
                       "assert len(stats[\"PauseNs\"]) == len(stats[\"PauseEnd\"]) == 256\n"
                       "assert len(stats) == 33, len(stats)'",
                       "w");
    assert_non_null(pipe);
    assert_int_equal(fwrite(out.data, 1, out.bytes, pipe), out.bytes);
    assert_int_equal(pclose(pipe), 0);
    view_buffer_free(&out);
    box_fixture_free(box);
}

/* ----------------------------------------------------------------------------------- metrics */

static struct view_process process_of(struct box_fixture *box) {
    struct view_process process;
    struct mal_box_reader *reader;
    assert_int_equal(mal_reader_from_memory(box_fixture_base(box), box_fixture_bytes(box), &reader),
                     0);
    assert_int_equal(mal_reader_identity(reader, &process.identity), 0);
    assert_int_equal(mal_reader_status(reader, &process.status), 0);
    assert_int_equal(mal_reader_stats(reader, &process.stats), 0);
    mal_reader_close(reader);
    process.host_pid = process.status.life == MAL_LIFE_ALIVE ? process.identity.pid : 0;
    return process;
}

/* This process, its double, and one that is gone and has an awkward name. */
static void three_processes(struct view_process ret_processes[3]) {
    struct box_fixture *box = box_fixture_typical();
    ret_processes[0] = process_of(box);
    box_fixture_stats(box)->value[MAL_STAT_GOGC] = UINT64_MAX;
    ret_processes[1] = process_of(box);
    ret_processes[1].identity.start_ticks++;
    box_fixture_set_process(box, 4194399, 9);
    box_fixture_set_exe(box, "/opt/a \"b\"\\c\nd\xff");
    ret_processes[2] = process_of(box);
    box_fixture_free(box);
}

static void free_processes(struct view_process *processes, size_t count) {
    for (size_t i = 0; i < count; i++)
        mal_identity_free(&processes[i].identity);
}

static void test_metrics(void **state) {
    (void)state;
    struct view_process processes[3];
    struct view_buffer out = {0};
    char labels[256], line[512];
    three_processes(processes);
    assert_int_equal(view_metrics_text(processes, 3, &out), 0);
    snprintf(labels, sizeof(labels), "{pid=\"%d\",exe=\"/usr/bin/example\",start=\"%llu\"}",
             getpid(), (unsigned long long)processes[0].identity.start_ticks);
    static const char *const expected[] = {
        "mallard_heap_alloc_bytes%s 43012344\n",
        "mallard_alloc_bytes_total%s 2045673208\n",
        "mallard_mallocs_total%s 1592266\n",
        "mallard_gc_pause_seconds_total%s 0.000317830\n",
        "mallard_gc_last_pause_seconds%s 0.000220349\n",
        "mallard_gc_cycles_total%s 2\n",
        "mallard_gc_forced_cycles_total%s 1\n",
        "mallard_gc_cpu_ratio%s 0.027474219\n",
        "mallard_next_gc_bytes%s 54894288\n",
        "mallard_gc_live_bytes%s 27447144\n",
        "mallard_gc_heap_bytes%s 31000000\n",
        "mallard_gogc_ratio%s 1\n",
        "mallard_process_alive%s 1\n",
        "mallard_profile_rate_bytes%s 524288\n",
        "process_max_fds%s ",
        "process_resident_memory_bytes%s ",
    };
    for (size_t i = 0; i < MAL_COUNT_OF(expected); i++) {
        snprintf(line, sizeof(line), expected[i], labels);
        if (!strstr(out.data, line))
            fail_msg("no line %s", line);
    }
    assert_non_null(strstr(out.data, "mallard_process_alive{pid=\"4194399\",exe=\"/opt/a "
                                     "\\\"b\\\"\\\\c\\nd?\",start=\"9\"} 0\n"));
    assert_int_equal(count_of(out.data, "4194399"), 1);
    assert_non_null(strstr(out.data, "} +Inf\n"));
    assert_int_equal(count_of(out.data, "# TYPE mallard_heap_alloc_bytes gauge\n"), 1);
    assert_int_equal(count_of(out.data, "# HELP "), count_of(out.data, "# TYPE "));
    assert_int_equal(count_of(out.data, "# HELP "), MAL_STAT_COUNT + 10);
    view_buffer_free(&out);
    free_processes(processes, 3);
}

/* What a process has in its statistics whose program never uses the collected heap. */
static void forget_collector(struct mal_box_stats *stats) {
    static const enum mal_stat_id gone[] = {
        MAL_STAT_GC_HEAP,     MAL_STAT_GC_LIVE, MAL_STAT_NUM_GC,     MAL_STAT_NUM_FORCED_GC,
        MAL_STAT_PAUSE_TOTAL, MAL_STAT_LAST_GC, MAL_STAT_GC_CPU_PPB, MAL_STAT_GC_SYS,
    };
    for (size_t i = 0; i < MAL_COUNT_OF(gone); i++)
        stats->value[gone[i]] = 0;
    stats->value[MAL_STAT_NEXT_GC] = INT64_MAX;
    memset(stats->pause_ns, 0, sizeof stats->pause_ns);
}

static const char *const collector_families[] = {
    "mallard_gc_heap_bytes",          "mallard_gc_live_bytes",   "mallard_next_gc_bytes",
    "mallard_last_gc_time_seconds",   "mallard_gc_cycles_total", "mallard_gc_forced_cycles_total",
    "mallard_gc_pause_seconds_total", "mallard_gc_cpu_ratio",    "mallard_gc_last_pause_seconds",
};

static void assert_collector_lines(const char *text, size_t lines) {
    char part[128];
    for (size_t i = 0; i < MAL_COUNT_OF(collector_families); i++) {
        snprintf(part, sizeof part, "\n%s{", collector_families[i]);
        if (count_of(text, part) != lines)
            fail_msg("%zu lines of %s", count_of(text, part), part);
    }
}

/* Of two processes one collects: its lines are there, and none of the other. */
static void test_metrics_without_collector(void **state) {
    (void)state;
    struct view_process processes[3];
    struct view_buffer out = {0};
    three_processes(processes);
    assert_int_equal(view_metrics_text(processes, 2, &out), 0);
    assert_collector_lines(out.data, 2);
    forget_collector(&processes[0].stats);
    view_buffer_reset(&out);
    assert_int_equal(view_metrics_text(processes, 2, &out), 0);
    assert_collector_lines(out.data, 1);
    assert_int_equal(count_of(out.data, "\nmallard_heap_alloc_bytes{"), 2);
    view_buffer_free(&out);
    free_processes(processes, 3);
}

/* Two boxes of one process must not make the page invalid. */
static void test_metrics_double(void **state) {
    (void)state;
    struct view_process processes[3];
    struct view_buffer once = {0}, twice = {0};
    three_processes(processes);
    struct view_process same[2] = {processes[0], processes[0]};
    same[1].stats.value[MAL_STAT_GOGC] = 7;
    assert_int_equal(view_metrics_text(same, 1, &once), 0);
    assert_int_equal(view_metrics_text(same, 2, &twice), 0);
    assert_int_equal(count_of(twice.data, "mallard_gogc_ratio{"), 1);
    assert_int_equal(count_of(once.data, "\n"), count_of(twice.data, "\n"));
    view_buffer_free(&once);
    view_buffer_free(&twice);
    free_processes(processes, 3);
}

static void test_metrics_promtool(void **state) {
    (void)state;
    if (system("promtool --version >/dev/null 2>&1") != 0) {
        print_message("skipped: promtool is not installed\n");
        skip();
    }
    struct view_process processes[3];
    struct view_buffer out = {0};
    three_processes(processes);
    assert_int_equal(view_metrics_text(processes, 3, &out), 0);
    FILE *pipe = popen("promtool check metrics", "w");
    assert_non_null(pipe);
    assert_int_equal(fwrite(out.data, 1, out.bytes, pipe), out.bytes);
    assert_int_equal(pclose(pipe), 0);
    view_buffer_free(&out);
    free_processes(processes, 3);
}

static double metric_of(const char *text, const char *name) {
    char line[64];
    snprintf(line, sizeof(line), "\n%s{", name);
    const char *at = strstr(text, line);
    return at ? strtod(strchr(at, '}') + 2, NULL) : -1;
}

static void test_what_is_of_the_process(void **state) {
    (void)state;
    struct view_process processes[3];
    struct view_buffer out = {0};
    three_processes(processes);
    while (clock() < CLOCKS_PER_SEC / 5)
        ;
    processes[0].status.dropped_samples = 77;
    processes[0].identity.started_unix_ns = 1700000000123456789ull;
    assert_int_equal(view_metrics_text(processes, 1, &out), 0);
    double cpu_s = (double)clock() / CLOCKS_PER_SEC;
    assert_true(metric_of(out.data, "process_cpu_seconds_total") > 0.1);
    assert_true(metric_of(out.data, "process_cpu_seconds_total") < cpu_s + 0.1);
    assert_true(metric_of(out.data, "mallard_dropped_samples_total") == 77);
    assert_non_null(strstr(out.data, "} 1700000000.123456789\n"));
    /* In another pid namespace: whoever has that pid here is another process. */
    view_buffer_reset(&out);
    processes[0].host_pid = 0;
    assert_int_equal(view_metrics_text(processes, 1, &out), 0);
    assert_null(strstr(out.data, "\nprocess_open_fds{"));
    assert_null(strstr(out.data, "\nprocess_cpu_seconds_total{"));
    assert_non_null(strstr(out.data, "\nprocess_start_time_seconds{"));
    view_buffer_free(&out);
    free_processes(processes, 3);
}

static void test_stat_text(void **state) {
    (void)state;
    struct view_process processes[3];
    struct view_buffer out = {0};
    three_processes(processes);
    assert_int_equal(view_stat_text(&processes[0], NULL, &out), 0);
    assert_non_null(strstr(out.data, "/usr/bin/example  running, up 1h2m"));
    processes[0].identity.started_unix_ns -= (2 * 86400 + 3 * 3600) * 1000000000ull;
    view_buffer_reset(&out);
    assert_int_equal(view_stat_text(&processes[0], NULL, &out), 0);
    assert_non_null(strstr(out.data, "/usr/bin/example  running, up 2d4h2m"));
    assert_non_null(strstr(out.data, "live objects                   41 MiB\n"));
    view_buffer_reset(&out);
    assert_int_equal(view_stat_text(&processes[2], NULL, &out), 0);
    assert_non_null(strstr(out.data, "/opt/a \"b\"\\c?d"));
    assert_non_null(strstr(out.data, "gone without an exit, last seen after"));
    view_buffer_reset(&out);
    assert_int_equal(view_stat_text(&processes[2], "killed by SIGKILL", &out), 0);
    assert_null(strstr(out.data, "gone without an exit"));
    assert_non_null(strstr(out.data, "killed by SIGKILL, last seen after"));
    processes[0].stats = (struct mal_box_stats){0};
    view_buffer_reset(&out);
    assert_int_equal(view_stat_text(&processes[0], NULL, &out), 0);
    assert_non_null(strstr(out.data, "nothing was published yet"));
    assert_null(strstr(out.data, "memory limit"));
    view_buffer_free(&out);
    free_processes(processes, 3);
}

/* The ring of pauses goes round: cycle 257's is where cycle 1's was. */
static void test_collector(void **state) {
    (void)state;
    static struct mal_box_stats stats;
    struct view_collector collector;
    assert_false(view_collector_of(&stats, &collector));
    stats.value[MAL_STAT_GC_HEAP] = 16;
    stats.value[MAL_STAT_NEXT_GC] = INT64_MAX;
    assert_true(view_collector_of(&stats, &collector));
    assert_int_equal(collector.last_pause_ns, 0);
    assert_int_equal(collector.goal_bytes, VIEW_NO_GOAL);
    stats.value[MAL_STAT_NUM_GC] = MAL_BOX_PAUSES + 1;
    stats.pause_ns[0] = 5;
    stats.pause_ns[1] = 6;
    stats.pause_ns[MAL_BOX_PAUSES - 1] = 7;
    assert_true(view_collector_of(&stats, &collector));
    assert_int_equal(collector.last_pause_ns, 5);
    stats.value[MAL_STAT_NUM_GC] = MAL_BOX_PAUSES;
    assert_true(view_collector_of(&stats, &collector));
    assert_int_equal(collector.last_pause_ns, 7);
}

static void assert_lines(const char *text, const char *const *lines) {
    for (; *lines != NULL; lines++)
        if (strstr(text, *lines) == NULL)
            fail_msg("no line %s in\n%s", *lines, text);
}

static void test_stat_collector(void **state) {
    (void)state;
    static const char *const lines[] = {
        "  collected heap               29.6 MiB\n",
        "  next collection at           52.4 MiB\n",
        "  collections                         2 (1 forced)\n",
        "  live at the last one         26.2 MiB\n",
        "  last pause                   0.220 ms\n",
        "  all pauses                   0.318 ms (0.159 ms on average)\n",
        "  CPU time for collecting         2.7 %\n",
        "  collector tables             11.1 MiB\n",
        NULL};
    struct view_process processes[3];
    struct view_buffer out = {0};
    three_processes(processes);
    assert_int_equal(view_stat_text(&processes[0], NULL, &out), 0);
    assert_lines(out.data, lines);
    processes[0].stats.value[MAL_STAT_NUM_GC] = 0;
    processes[0].stats.value[MAL_STAT_NEXT_GC] = INT64_MAX;
    view_buffer_reset(&out);
    assert_int_equal(view_stat_text(&processes[0], NULL, &out), 0);
    assert_non_null(strstr(out.data, "  next collection at            no size\n"));
    assert_null(strstr(out.data, "pause"));
    forget_collector(&processes[0].stats);
    view_buffer_reset(&out);
    assert_int_equal(view_stat_text(&processes[0], NULL, &out), 0);
    assert_null(strstr(out.data, "collect"));
    assert_null(strstr(out.data, "forced"));
    view_buffer_free(&out);
    free_processes(processes, 3);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memstats),         cmocka_unit_test(test_memstats_is_json),
        cmocka_unit_test(test_metrics),          cmocka_unit_test(test_metrics_double),
        cmocka_unit_test(test_metrics_promtool), cmocka_unit_test(test_what_is_of_the_process),
        cmocka_unit_test(test_stat_text),        cmocka_unit_test(test_metrics_without_collector),
        cmocka_unit_test(test_collector),        cmocka_unit_test(test_stat_collector),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
