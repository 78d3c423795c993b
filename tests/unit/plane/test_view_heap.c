/* SPDX-License-Identifier: Apache-2.0
 *
 * The heap profile and its difference: values against Go's own numbers, the form against an
 * independent decoder, and the whole against `go tool pprof` where that is installed.
 */
#include "box/reader.h"
#include "support/box_fixture.h"
#include "support/gunzip.h"
#include "support/pprof_wire.h"
#include "view/heap.h"
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

static struct pprof *decode(const struct view_buffer *out) {
    size_t bytes;
    void *plain = gunzip(out->data, out->bytes, &bytes);
    assert_non_null(plain);
    struct pprof *profile = pprof_decode(plain, bytes);
    free(plain);
    return profile;
}

static int delta_of(const struct mal_snapshot *before, const struct mal_snapshot *after,
                    struct view_symbols *symbols, struct view_buffer *out) {
    struct view_base *base;
    assert_int_equal(view_heap_base(before, &base), 0);
    int error = view_heap_delta_proto(base, after, symbols, VIEW_HEAP, out);
    free(base);
    return error;
}

static struct pprof *heap_of(struct box_fixture *box, enum view_heap_kind kind) {
    struct mal_snapshot *snapshot = snapshot_of(box);
    struct view_symbols *symbols;
    struct view_buffer out = {0};
    assert_int_equal(view_symbols_create(&symbols), 0);
    assert_int_equal(view_heap_proto(snapshot, symbols, kind, &out), 0);
    struct pprof *profile = decode(&out);
    view_buffer_free(&out);
    view_symbols_destroy(symbols);
    mal_snapshot_free(snapshot);
    return profile;
}

static struct box_fixture *box_with(uint64_t size, uint64_t rate, uint64_t allocs, uint64_t frees) {
    struct box_fixture *box = box_fixture_new();
    const uint64_t pcs[] = {0x1001, 0x2001};
    uint32_t stack = box_fixture_add_stack(box, pcs, 2);
    box_fixture_add_bucket(box, stack, size, rate, allocs, frees);
    return box;
}

static void check_values(const struct pprof_sample *sample, int64_t alloc_objects,
                         int64_t alloc_space, int64_t inuse_objects, int64_t inuse_space) {
    assert_int_equal(sample->values[0], alloc_objects);
    assert_int_equal(sample->values[1], alloc_space);
    assert_int_equal(sample->values[2], inuse_objects);
    assert_int_equal(sample->values[3], inuse_space);
}

/* ------------------------------------------------------------------------------- unsampling */

/* Numbers that a Go 1.19 program printed. */
static void test_estimates(void **state) {
    (void)state;
    static const struct {
        uint64_t count, size;
        int64_t objects, bytes;
    } known[] = {
        {1, 64, 8192, 524320},      {1, 112, 4681, 524344}, {1, 2048, 256, 525312},
        {27, 262144, 68, 17988410}, {1, 524288, 1, 829411},
    };
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        struct box_fixture *box = box_with(known[i].size, 524288, known[i].count, 0);
        struct pprof *profile = heap_of(box, VIEW_HEAP);
        check_values(&profile->samples[0], known[i].objects, known[i].bytes, known[i].objects,
                     known[i].bytes);
        pprof_free(profile);
        box_fixture_free(box);
    }
}

static void test_exact_rates(void **state) {
    (void)state;
    for (uint64_t rate = 0; rate <= 1; rate++) {
        struct box_fixture *box = box_with(48, rate, 1000, 400);
        struct pprof *profile = heap_of(box, VIEW_HEAP);
        check_values(&profile->samples[0], 1000, 48000, 600, 28800);
        pprof_free(profile);
        box_fixture_free(box);
        const uint64_t many = (1ull << 60) + 1; /* more than a double holds exactly */
        box = box_with(1, rate, many, 1);
        profile = heap_of(box, VIEW_HEAP);
        check_values(&profile->samples[0], (int64_t)many, (int64_t)many, (int64_t)many - 1,
                     (int64_t)many - 1);
        pprof_free(profile);
        box_fixture_free(box);
    }
}

static void test_rates_merge(void **state) {
    (void)state;
    struct box_fixture *box = box_with(64, 524288, 1, 0);
    box_fixture_add_bucket(box, 0, 64, 1, 10, 4);
    box_fixture_add_bucket(box, 0, 128, 1, 10, 4);
    struct pprof *profile = heap_of(box, VIEW_HEAP);
    assert_int_equal(profile->sample_count, 2);
    /* Newest first: the row of 128 bytes, then that of 64. */
    check_values(&profile->samples[0], 10, 1280, 6, 768);
    check_values(&profile->samples[1], 8192 + 10, 524320 + 640, 8192 + 6, 524320 + 384);
    assert_int_equal(profile->samples[1].labels[0].number, 64);
    pprof_free(profile);
    box_fixture_free(box);
}

static void test_hostile_numbers(void **state) {
    (void)state;
    static const uint64_t sizes[] = {1, 1ull << 40, UINT64_MAX};
    static const uint64_t rates[] = {0, 2, 1ull << 62, UINT64_MAX};
    static const uint64_t counts[] = {1, 1ull << 62, UINT64_MAX};
    for (int s = 0; s < 3; s++) {
        for (int r = 0; r < 4; r++) {
            for (int c = 0; c < 3; c++) {
                struct box_fixture *box = box_with(sizes[s], rates[r], counts[c], 0);
                box_fixture_add_bucket(box, 0, sizes[s], 1, counts[c], 0);
                struct pprof *profile = heap_of(box, VIEW_HEAP);
                for (int k = 0; k < 4; k++)
                    assert_true(profile->samples[0].values[k] > 0);
                pprof_free(profile);
                box_fixture_free(box);
            }
        }
    }
}

/* ----------------------------------------------------------------------------------- the form */

static void test_head(void **state) {
    (void)state;
    struct box_fixture *box = box_with(64, 524288, 1, 0);
    struct pprof *profile = heap_of(box, VIEW_HEAP);
    static const char *const types[] = {"alloc_objects", "alloc_space", "inuse_objects",
                                        "inuse_space"};
    assert_int_equal(profile->type_count, 4);
    for (int i = 0; i < 4; i++) {
        assert_string_equal(profile->types[i].type, types[i]);
        assert_string_equal(profile->types[i].unit, i % 2 ? "bytes" : "count");
    }
    assert_string_equal(profile->period_type.type, "space");
    assert_string_equal(profile->period_type.unit, "bytes");
    assert_int_equal(profile->period, 524288);
    assert_string_equal(profile->default_type, "");
    assert_int_equal(profile->duration_ns, 0);
    assert_int_equal(profile->comment_count, 0);
    assert_true(profile->time_ns > 1700000000000000000);
    pprof_free(profile);
    profile = heap_of(box, VIEW_ALLOCS);
    assert_string_equal(profile->default_type, "alloc_space");
    pprof_free(profile);
    box_fixture_free(box);
}

static void test_gzip_header(void **state) {
    (void)state;
    static const unsigned char speed[] = {0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 4, 0xff};
    struct box_fixture *box = box_fixture_typical();
    struct mal_snapshot *snapshot = snapshot_of(box);
    struct view_symbols *symbols;
    struct view_buffer out = {0};
    assert_int_equal(view_symbols_create(&symbols), 0);
    assert_int_equal(view_heap_proto(snapshot, symbols, VIEW_HEAP, &out), 0);
    assert_memory_equal(out.data, speed, sizeof(speed));
    view_buffer_reset(&out);
    assert_int_equal(delta_of(snapshot, snapshot, symbols, &out), 0);
    assert_int_equal(out.data[8], 0);
    view_buffer_free(&out);
    view_symbols_destroy(symbols);
    mal_snapshot_free(snapshot);
    box_fixture_free(box);
}

static void test_labels(void **state) {
    (void)state;
    struct box_fixture *box = box_with(64, 524288, 0, 0);
    box_fixture_add_bucket(box, 0, 112, 524288, 3, 3)->kind = MAL_BOX_KIND_GC;
    struct pprof *profile = heap_of(box, VIEW_HEAP);
    assert_int_equal(profile->sample_count, 2);
    const struct pprof_sample *freed = &profile->samples[0], *zero = &profile->samples[1];
    assert_int_equal(freed->label_count, 2);
    assert_string_equal(freed->labels[0].key, "bytes");
    assert_int_equal(freed->labels[0].number, 112);
    assert_string_equal(freed->labels[1].key, "heap");
    assert_string_equal(freed->labels[1].text, "gc");
    assert_int_equal(freed->values[2], 0);
    assert_int_not_equal(freed->values[0], 0);
    assert_int_equal(zero->label_count, 0);
    check_values(zero, 0, 0, 0, 0);
    pprof_free(profile);
    box_fixture_free(box);
}

static void test_comments(void **state) {
    (void)state;
    struct box_fixture *box = box_with(64, 524288, 1, 2);
    box_fixture_header(box)->dropped_samples = 7;
    box_fixture_header(box)->dropped_bytes = 4096;
    struct pprof *profile = heap_of(box, VIEW_HEAP);
    assert_int_equal(profile->comment_count, 2);
    assert_non_null(strstr(profile->comments[0], "7 samples (4096 bytes)"));
    assert_non_null(strstr(profile->comments[1], "1 damaged"));
    pprof_free(profile);
    box_fixture_free(box);
}

static void test_places(void **state) {
    (void)state;
    struct box_fixture *box = box_fixture_new();
    const struct mal_box_module program = {.start = 0x1000,
                                           .limit = 0x2000,
                                           .file_offset = 0x100,
                                           .load_bias = 0x800,
                                           .build_id = {0xab, 0x01},
                                           .build_id_bytes = 2};
    const struct mal_box_module library = {.start = 0x5000, .limit = 0x6000};
    struct mal_box_module old = {.start = 0x5000, .limit = 0x7000, .unloaded = 1};
    box_fixture_add_module(box, &program, "/opt/no such/program");
    box_fixture_add_module(box, &old, "/opt/old.so");
    box_fixture_add_module(box, &library, "/opt/lib\xff.so");
    const uint64_t pcs[] = {0x5001, 0x5000, 0x6001, 0x9001};
    box_fixture_add_bucket(box, box_fixture_add_stack(box, pcs, 4), 64, 1, 1, 0);
    struct pprof *profile = heap_of(box, VIEW_HEAP);
    const struct pprof_sample *sample = &profile->samples[0];
    assert_int_equal(profile->mapping_count, 3);
    assert_string_equal(profile->mappings[0].filename, "/opt/no such/program");
    assert_string_equal(profile->mappings[0].build_id, "ab01");
    assert_int_equal(profile->mappings[0].start, 0x1000);
    assert_int_equal(profile->mappings[0].limit, 0x2000);
    assert_int_equal(profile->mappings[0].offset, 0x100);
    assert_false(profile->mappings[0].has_functions);
    assert_string_equal(profile->mappings[1].filename, "/opt/lib?.so");
    assert_true(profile->mappings[1].has_functions);
    assert_false(profile->mappings[1].has_filenames);
    assert_string_equal(profile->mappings[2].filename, "/opt/old.so");
    assert_int_equal(pprof_location(profile, sample->locations[0])->address, 0x5000);
    assert_string_equal(pprof_name(profile, sample, 0, 0), "lib?.so+0x5000");
    /* The mapping is that of the return address, the call may lie before it. */
    assert_int_equal(pprof_location(profile, sample->locations[1])->mapping, 2);
    assert_string_equal(pprof_name(profile, sample, 1, 0), "lib?.so+0x4fff");
    assert_string_equal(pprof_name(profile, sample, 2, 0), "old.so+0x6000");
    assert_string_equal(pprof_name(profile, sample, 3, 0), "[unmapped]+0x9000");
    assert_int_equal(pprof_location(profile, sample->locations[3])->mapping, 0);
    pprof_free(profile);
    box_fixture_free(box);
}

/* Where one library follows another, a stack is of the one that was there when it was taken. */
static void test_places_of_what_was_unloaded(void **state) {
    (void)state;
    struct box_fixture *box = box_fixture_new();
    const struct mal_box_module program = {.start = 0x1000, .limit = 0x2000};
    struct mal_box_module library = {.start = 0x5000, .limit = 0x7000, .load_bias = 0x4000};
    const uint64_t pcs[] = {0x5801, 0x1101};
    box_fixture_add_module(box, &program, "/opt/program");
    for (int i = 0; i < 3; i++) {
        char path[] = "/opt/0.so";
        path[5] += i;
        library.unloaded = i < 2;
        library.first_stack = (uint32_t)i * 3;
        box_fixture_add_module(box, &library, path);
        box_fixture_add_bucket(box, box_fixture_add_stack(box, pcs, 2), 64, 1, 1 + i, 0);
    }
    /* Another size at the first stack. */
    box_fixture_add_bucket(box, 0, 128, 1, 9, 0);
    struct pprof *profile = heap_of(box, VIEW_HEAP);
    assert_int_equal(profile->sample_count, 4);
    const char *expected[] = {"0.so+0x1800", "1.so+0x1800", "2.so+0x1800"};
    for (size_t i = 0; i < profile->sample_count; i++) {
        const struct pprof_sample *sample = &profile->samples[i];
        size_t which = sample->values[0] == 9 ? 0 : (size_t)sample->values[0] - 1;
        assert_string_equal(pprof_name(profile, sample, 0, 0), expected[which]);
        assert_string_equal(pprof_name(profile, sample, 1, 0), "program+0x1100");
    }
    pprof_free(profile);
    box_fixture_free(box);
}

static void test_empty(void **state) {
    (void)state;
    struct box_fixture *box = box_fixture_new();
    box_fixture_header(box)->mem_profile_rate = 0;
    struct pprof *profile = heap_of(box, VIEW_HEAP);
    assert_int_equal(profile->sample_count, 0);
    assert_int_equal(profile->period, 0);
    assert_int_equal(profile->type_count, 4);
    pprof_free(profile);
    box_fixture_free(box);
}

/* --------------------------------------------------------------------------------- difference */

static void test_delta(void **state) {
    (void)state;
    struct box_fixture *box = box_with(64, 524288, 2, 0);
    const struct mal_box_module module = {.start = 0x1000, .limit = 0x3000};
    box_fixture_add_module(box, &module, "/opt/program");
    const struct mal_box_module unused = {.start = 0x8000, .limit = 0x9000};
    box_fixture_add_module(box, &unused, "/opt/unused.so");
    box_fixture_add_bucket(box, 0, 128, 524288, 5, 1);
    struct mal_snapshot *before = snapshot_of(box);
    *box_fixture_allocs(box, 0) = 3;
    *box_fixture_frees(box, 0) = 3;
    box_fixture_add_bucket(box, 0, 256, 1, 4, 0);
    struct mal_snapshot *after = snapshot_of(box);
    before->taken_unix_ns = 1000;
    after->taken_unix_ns = 5000;
    struct view_symbols *symbols;
    struct view_buffer out = {0};
    assert_int_equal(view_symbols_create(&symbols), 0);
    assert_int_equal(delta_of(before, after, symbols, &out), 0);
    struct pprof *profile = decode(&out);
    assert_int_equal(profile->sample_count, 2);
    check_values(&profile->samples[0], 4, 1024, 4, 1024);
    check_values(&profile->samples[1], 24577 - 16385, 1572960 - 1048640, -16385, -1048640);
    assert_int_equal(profile->duration_ns, 4000);
    assert_int_equal(profile->time_ns, 5000);
    assert_string_equal(profile->default_type, "");
    assert_int_equal(profile->mapping_count, 1);
    pprof_free(profile);
    view_buffer_reset(&out);
    assert_int_equal(delta_of(after, after, symbols, &out), 0);
    profile = decode(&out);
    assert_int_equal(profile->sample_count, 0);
    assert_true(profile->duration_ns > 0);
    pprof_free(profile);
    view_buffer_free(&out);
    view_symbols_destroy(symbols);
    mal_snapshot_free(before);
    mal_snapshot_free(after);
    box_fixture_free(box);
}

/* One stack, one size, two heaps: two samples, and each has its own difference. */
static void test_delta_of_two_heaps(void **state) {
    (void)state;
    struct box_fixture *box = box_with(64, 1, 10, 0);
    box_fixture_add_bucket(box, 0, 64, 1, 1000, 0)->kind = MAL_BOX_KIND_GC;
    struct mal_snapshot *before = snapshot_of(box);
    *box_fixture_allocs(box, 0) = 13;
    *box_fixture_allocs(box, 1) = 1500;
    struct mal_snapshot *after = snapshot_of(box);
    struct view_symbols *symbols;
    struct view_buffer out = {0};
    assert_int_equal(view_symbols_create(&symbols), 0);
    assert_int_equal(delta_of(before, after, symbols, &out), 0);
    struct pprof *profile = decode(&out);
    assert_int_equal(profile->sample_count, 2);
    check_values(&profile->samples[0], 500, 500 * 64, 500, 500 * 64);
    check_values(&profile->samples[1], 3, 3 * 64, 3, 3 * 64);
    assert_string_equal(profile->samples[0].labels[1].text, "gc");
    assert_int_equal(profile->samples[1].label_count, 1);
    pprof_free(profile);
    view_buffer_free(&out);
    view_symbols_destroy(symbols);
    mal_snapshot_free(before);
    mal_snapshot_free(after);
    box_fixture_free(box);
}

/* ---------------------------------------------------------------------------------- go's tool */

static char *run_pprof(const char *arguments, const struct view_buffer *profile) {
    char path[] = "/tmp/mallard-test-XXXXXX", command[512];
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, profile->data, profile->bytes), profile->bytes);
    close(fd);
    snprintf(command, sizeof(command),
             "PPROF_BINARY_PATH=/nonexistent HOME=/tmp go tool pprof %s %s 2>&1", arguments, path);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    char *text = calloc(1, 1 << 20);
    assert_non_null(text);
    size_t bytes = fread(text, 1, (1 << 20) - 1, pipe);
    text[bytes] = 0;
    int status = pclose(pipe);
    unlink(path);
    if (status != 0)
        print_error("%s", text);
    assert_int_equal(status, 0);
    return text;
}

static void test_go_tool_pprof(void **state) {
    (void)state;
    if (system("go version >/dev/null 2>&1") != 0) {
        print_message("skipped: go is not installed\n");
        skip();
    }
    struct box_fixture *box = box_fixture_typical();
    struct mal_snapshot *snapshot = snapshot_of(box);
    struct view_symbols *symbols;
    struct view_buffer out = {0};
    assert_int_equal(view_symbols_create(&symbols), 0);
    assert_int_equal(view_heap_proto(snapshot, symbols, VIEW_ALLOCS, &out), 0);
    char *text = run_pprof("-raw", &out);
    assert_non_null(strstr(text, "PeriodType: space bytes\nPeriod: 524288\n"));
    assert_non_null(strstr(text, "alloc_objects/count alloc_space/bytes[dflt] inuse_objects/count "
                                 "inuse_space/bytes"));
    assert_non_null(strstr(text, "bytes:[4096]"));
    assert_non_null(strstr(text, "box_fixture_typical"));
    assert_non_null(strstr(text, "[FN]"));
    free(text);
    text = run_pprof("-top -inuse_space", &out);
    assert_non_null(strstr(text, "File: test_view_heap\n"));
    assert_non_null(strstr(text, "Type: inuse_space\n"));
    assert_non_null(strstr(text, "box_fixture_typical"));
    assert_null(strstr(text, "symbolization failed"));
    free(text);
    view_buffer_free(&out);
    view_symbols_destroy(symbols);
    mal_snapshot_free(snapshot);
    box_fixture_free(box);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_estimates),
        cmocka_unit_test(test_exact_rates),
        cmocka_unit_test(test_rates_merge),
        cmocka_unit_test(test_hostile_numbers),
        cmocka_unit_test(test_head),
        cmocka_unit_test(test_gzip_header),
        cmocka_unit_test(test_labels),
        cmocka_unit_test(test_comments),
        cmocka_unit_test(test_places),
        cmocka_unit_test(test_places_of_what_was_unloaded),
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_delta),
        cmocka_unit_test(test_delta_of_two_heaps),
        cmocka_unit_test(test_go_tool_pprof),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
