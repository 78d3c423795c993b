/* SPDX-License-Identifier: Apache-2.0
 *
 * The text form of the heap profile, its alignment against lines that Go printed, the index page,
 * the profiles without data, and the buffer that everything is rendered into.
 */
#include "base/attr.h"
#include "box/reader.h"
#include "support/box_fixture.h"
#include "support/gunzip.h"
#include "support/pprof_wire.h"
#include "view/align.h"
#include "view/number.h"
#include "view/view.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "support/box_snapshot.h"

/* The text form of a box, to be freed. */
static char *text_of(struct box_fixture *box) {
    struct mal_snapshot *snapshot = snapshot_of(box);
    struct view_symbols *symbols;
    struct view_buffer out = {0};
    assert_int_equal(view_symbols_create(&symbols), 0);
    assert_int_equal(view_heap_text(snapshot, box_fixture_stats(box), symbols, &out), 0);
    view_symbols_destroy(symbols);
    mal_snapshot_free(snapshot);
    return out.data;
}

static void assert_begins(const char *text, const char *expected) {
    if (strncmp(text, expected, strlen(expected)) != 0)
        fail_msg("expected\n%s\ngot\n%.*s", expected, (int)strlen(expected) + 40, text);
}

/* --------------------------------------------------------------------------------- alignment */

static void align_line(struct view_align *align, const char *line, size_t bytes) {
    char copy[512];
    assert_true(bytes < sizeof(copy));
    memcpy(copy, line, bytes);
    copy[bytes] = 0;
    view_align_row(align);
    char *rest;
    for (char *cell = strtok_r(copy, "\t", &rest); cell; cell = strtok_r(NULL, "\t", &rest))
        view_align_cell(align, cell);
}

/* Takes apart what Go printed, puts it together again, and wants the same bytes. */
static void check_alignment(const char *golden) {
    struct view_align align = {0};
    struct view_buffer out = {0};
    for (const char *line = golden; *line; line = strchr(line, '\n') + 1)
        align_line(&align, line, (size_t)(strchr(line, '\n') - line));
    view_align_flush(&align, &out);
    assert_string_equal(out.data, golden);
    view_buffer_free(&out);
    view_align_free(&align);
}

/* A program may call its functions anything; a terminal must not obey them. */
static void test_printable(void **state) {
    (void)state;
    struct view_buffer out = {0};
    struct view_align align = {0};
    static const char evil[] = "a\033[31m\x7f\xc2\x9b\xc2\xa0\xc3\xa9\x9b\n\xe2\x82\xac";
    view_buffer_printable(&out, evil, strlen(evil));
    assert_string_equal(out.data, "a?[31m??\xc2\xa0\xc3\xa9??\xe2\x82\xac");
    view_buffer_reset(&out);
    view_align_row(&align);
    view_align_cell(&align, "\033]0;x\007");
    view_align_cell(&align, "y");
    view_align_row(&align);
    view_align_cell(&align, "1234567");
    view_align_cell(&align, "z\nforged");
    view_align_flush(&align, &out);
    assert_string_equal(out.data, "?]0;x?\ty\n1234567\tz?forged\n");
    view_buffer_free(&out);
    view_align_free(&align);
}

static void test_alignment(void **state) {
    (void)state;
    check_alignment("#\t0x670a6e\tmain.retainBig+0x2e\t/home/dev/main.go:27\n"
                    "#\t0x67119c\tmain.main+0xfc\t\t/home/dev/main.go:83\n"
                    "#\t0x43aff1\truntime.main+0x211\t/usr/lib/proc.go:250\n");
    check_alignment("#\t0x5d7f64\tcompress/flate.(*compressor).init+0x4a4\t\tdeflate.go:586\n"
                    "#\t0x5d86c7\tcompress/flate.NewWriter+0x47\t\t\tdeflate.go:667\n"
                    "#\t0x667084\truntime/pprof.(*profileBuilder).build+0x364\tproto.go:390\n"
                    "#\t0x66f8dd\tnet/http/pprof.Index+0x13d\t\t\tpprof.go:371\n");
    /* A row that ends early splits the column. */
    check_alignment("#\t0x1\tlong_function_name+0x1\ta.c:1\n"
                    "#\t0x2\n"
                    "#\t0x3\tf+0x1\tb.c:2\n");
}

/* ------------------------------------------------------------------------------ the heap text */

static void test_rows(void **state) {
    (void)state;
    struct box_fixture *box = box_fixture_new();
    const uint64_t pcs[] = {0x1001, 0xabc2};
    const struct mal_box_module module = {.start = 0xa000, .limit = 0xb000};
    box_fixture_add_module(box, &module, "/opt/program");
    uint32_t stack = box_fixture_add_stack(box, pcs, 2);
    box_fixture_add_bucket(box, stack, 16, 524288, 3, 3);
    box_fixture_add_bucket(box, stack, 64, 524288, 10, 4);
    box_fixture_add_bucket(box, stack, 1024, 524288, 2, 1);
    char *text = text_of(box);
    assert_begins(text, "heap profile: 7: 1408 [15: 2736] @ heap/1048576\n"
                        "1: 1024 [2: 2048] @ 0x1001 0xabc2\n"
                        "#\t0x1000\n"
                        "#\t0xabc1\tprogram+0xabc1\n"
                        "\n"
                        "6: 384 [10: 640] @ 0x1001 0xabc2\n"
                        "#\t0x1000\n"
                        "#\t0xabc1\tprogram+0xabc1\n"
                        "\n"
                        "0: 0 [3: 48] @ 0x1001 0xabc2\n"
                        "#\t0x1000\n"
                        "#\t0xabc1\tprogram+0xabc1\n"
                        "\n"
                        "\n"
                        "# runtime.MemStats\n");
    free(text);
    box_fixture_free(box);
}

static void test_empty_heap(void **state) {
    (void)state;
    struct box_fixture *box = box_fixture_new();
    box_fixture_header(box)->mem_profile_rate = 1;
    char *text = text_of(box);
    assert_begins(text, "heap profile: 0: 0 [0: 1] @ heap/2\n\n# runtime.MemStats\n");
    free(text);
    box_fixture_free(box);
}

static void test_memstats_block(void **state) {
    (void)state;
    struct box_fixture *box = box_fixture_new();
    box_fixture_fill_stats(box);
    char *text = text_of(box);
    static const char *const lines[] = {
        "# Alloc = 43012344\n",
        "# TotalAlloc = 2045673208\n",
        "# Lookups = 0\n",
        "# Mallocs = 1592266\n",
        "# HeapObjects = 82872\n",
        "# Stack = 327680 / 327680\n",
        "# MSpan = 397584 / 667152\n",
        "# MCache = 2400 / 15600\n",
        "# NextGC = 54894288\n",
        "# PauseNs = [97481 220349 0 0 ",
        " 0 0]\n# PauseEnd = [",
        "# NumGC = 2\n# NumForcedGC = 1\n# GCCPUFraction = 0.027474219\n# DebugGC = false\n",
        "# MaxRSS = 89165824\n",
    };
    const char *at = strstr(text, "# runtime.MemStats\n");
    for (size_t i = 0; i < MAL_COUNT_OF(lines); i++) {
        at = at ? strstr(at, lines[i]) : NULL;
        if (!at)
            fail_msg("missing or out of order: %s", lines[i]);
    }
    assert_string_equal(text + strlen(text) - 11, "= 89165824\n");
    free(text);
    box_fixture_free(box);
}

static void test_names(void **state) {
    (void)state;
    struct box_fixture *box = box_fixture_typical();
    char *text = text_of(box), expected[128];
    snprintf(expected, sizeof(expected), "\t0x%llx\tbox_fixture_typical+0x",
             (unsigned long long)(uintptr_t)&box_fixture_typical + 15);
    assert_non_null(strstr(text, expected));
    assert_non_null(strstr(text, "box_fixture.c:"));
    free(text);
    box_fixture_free(box);
}

/* pprof takes the text form too, and unsamples it itself. */
static void test_go_tool_pprof(void **state) {
    (void)state;
    if (system("go version >/dev/null 2>&1") != 0) {
        print_message("skipped: go is not installed\n");
        skip();
    }
    struct box_fixture *box = box_fixture_new();
    const uint64_t pcs[] = {0x1001, 0xabc2};
    box_fixture_add_bucket(box, box_fixture_add_stack(box, pcs, 2), 64, 524288, 1, 0);
    char *text = text_of(box), path[] = "/tmp/mallard-test-XXXXXX", command[256], line[256];
    int fd = mkstemp(path);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
    snprintf(command, sizeof(command),
             "HOME=/tmp go tool pprof -raw -symbolize=none %s 2>/dev/null", path);
    FILE *pipe = popen(command, "r");
    bool found = false;
    while (fgets(line, sizeof(line), pipe))
        found |= strstr(line, "8192     524320       8192     524320") != NULL;
    assert_int_equal(pclose(pipe), 0);
    assert_true(found);
    unlink(path);
    free(text);
    box_fixture_free(box);
}

/* ---------------------------------------------------------------------------- no data, the index
 */

static struct pprof *decode(const struct view_buffer *out) {
    size_t bytes;
    void *plain = gunzip(out->data, out->bytes, &bytes);
    assert_non_null(plain);
    struct pprof *profile = pprof_decode(plain, bytes);
    free(plain);
    return profile;
}

static void test_no_data(void **state) {
    (void)state;
    static const struct {
        const char *name, *last_type, *last_unit, *period_type;
        size_t types;
        int64_t period;
    } known[] = {
        {"goroutine", "goroutine", "count", "goroutine", 1, 1},
        {"threadcreate", "threadcreate", "count", "threadcreate", 1, 1},
        {"block", "delay", "nanoseconds", "contentions", 2, 1},
        {"mutex", "delay", "nanoseconds", "contentions", 2, 1},
        {"profile", "cpu", "nanoseconds", "cpu", 2, 10000000},
    };
    struct box_fixture *box = box_fixture_typical();
    struct mal_snapshot *snapshot = snapshot_of(box);
    struct view_buffer out = {0};
    for (size_t i = 0; i < MAL_COUNT_OF(known); i++) {
        view_buffer_reset(&out);
        assert_int_equal(view_empty_proto(known[i].name, i % 2 ? snapshot : NULL, &out), 0);
        struct pprof *profile = decode(&out);
        assert_int_equal(profile->type_count, known[i].types);
        assert_string_equal(profile->types[known[i].types - 1].type, known[i].last_type);
        assert_string_equal(profile->types[known[i].types - 1].unit, known[i].last_unit);
        assert_string_equal(profile->period_type.type, known[i].period_type);
        assert_int_equal(profile->period, known[i].period);
        assert_int_equal(profile->sample_count, 0);
        assert_int_equal(profile->mapping_count, i % 2 ? snapshot->module_count : 0);
        assert_int_equal(profile->duration_ns, 0);
        pprof_free(profile);
        view_buffer_reset(&out);
        assert_int_equal(view_empty_delta_proto(known[i].name, 1234, NULL, &out), 0);
        profile = decode(&out);
        assert_int_equal(profile->duration_ns, 1234);
        pprof_free(profile);
    }
    view_buffer_reset(&out);
    assert_int_equal(view_empty_proto("heap", snapshot, &out), -ENOENT);
    assert_int_equal(view_empty_text("profile", &out), -ENOENT);
    assert_int_equal(out.bytes, 0);
    assert_int_equal(view_empty_text("goroutine", &out), 0);
    assert_string_equal(out.data, "goroutine profile: total 0\n");
    view_buffer_free(&out);
    mal_snapshot_free(snapshot);
    box_fixture_free(box);
}

static void test_index(void **state) {
    (void)state;
    struct box_fixture *box = box_fixture_typical();
    struct mal_snapshot *snapshot = snapshot_of(box);
    struct view_buffer out = {0};
    assert_int_equal(view_index_html(snapshot, &out), 0);
    assert_begins(out.data, "<html>\n<head>\n<title>/debug/pprof/</title>\n");
    assert_non_null(
        strstr(out.data, "<tr><td>4</td><td><a href='heap?debug=1'>heap</a></td></tr>\n"));
    assert_non_null(
        strstr(out.data, "<tr><td>0</td><td><a href='trace?debug=1'>trace</a></td></tr>\n"));
    assert_string_equal(out.data + out.bytes - 7, "</html>");
    view_buffer_free(&out);
    mal_snapshot_free(snapshot);
    box_fixture_free(box);
}

/* ------------------------------------------------------------------------------ small pieces */

static void test_buffer(void **state) {
    (void)state;
    struct view_buffer out = {0};
    view_buffer_text(&out, "ab");
    view_buffer_printf(&out, "%d-%s", 12, "x");
    assert_string_equal(out.data, "ab12-x");
    for (int i = 0; i < 10000; i++)
        view_buffer_printf(&out, "%04d", i);
    assert_int_equal(out.bytes, 6 + 40000);
    assert_int_equal(strlen(out.data), out.bytes);
    view_buffer_reset(&out);
    static const char odd[] = "a\"\\\n\t\x01<\xc3\xa9\xff\xc0\x80\xed\xa0\x80\xf0\x9f\xa6\x86";
    view_buffer_json(&out, odd, sizeof(odd) - 1);
    assert_string_equal(out.data,
                        "a\\\"\\\\\\n\\t\\u0001\\u003c\xc3\xa9\\ufffd\\ufffd\\ufffd\\ufffd"
                        "\\ufffd\\ufffd\xf0\x9f\xa6\x86");
    view_buffer_free(&out);
    assert_null(out.data);
}

static void test_shortest(void **state) {
    (void)state;
    static const struct {
        double value;
        const char *text;
    } known[] = {{0, "0"},
                 {0.027474219490490868, "0.027474219490490868"},
                 {0.1, "0.1"},
                 {1, "1"},
                 {0.000027, "2.7e-05"},
                 {0.25, "0.25"}};
    char text[VIEW_NUMBER_BYTES];
    for (size_t i = 0; i < MAL_COUNT_OF(known); i++) {
        view_shortest(known[i].value, text);
        assert_string_equal(text, known[i].text);
    }
}

static void test_human_bytes(void **state) {
    (void)state;
    static const struct {
        uint64_t bytes;
        const char *text;
    } known[] = {{0, "0 B"},
                 {512, "512 B"},
                 {1023, "1023 B"},
                 {1024, "1 KiB"},
                 {37 * 1024, "37 KiB"},
                 {1299227607, "1.21 GiB"},
                 {1023 * 1024, "1023 KiB"},
                 {UINT64_MAX, "16 EiB"}};
    char text[16];
    for (size_t i = 0; i < MAL_COUNT_OF(known); i++) {
        view_human_bytes(known[i].bytes, text);
        assert_string_equal(text, known[i].text);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_alignment),      cmocka_unit_test(test_printable),
        cmocka_unit_test(test_rows),           cmocka_unit_test(test_empty_heap),
        cmocka_unit_test(test_memstats_block), cmocka_unit_test(test_names),
        cmocka_unit_test(test_go_tool_pprof),  cmocka_unit_test(test_no_data),
        cmocka_unit_test(test_index),          cmocka_unit_test(test_buffer),
        cmocka_unit_test(test_shortest),       cmocka_unit_test(test_human_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
