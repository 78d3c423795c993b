/* SPDX-License-Identifier: Apache-2.0
 *
 * The writer of JSON, gzip both ways, profiles read back from bytes, and their compact form: the
 * same document whether a profile comes from the box or from its file, and nothing worse than an
 * error for bytes that an enemy made.
 */
#include "support/box_fixture.h"
#include "support/seeded.h"
#include "view/gzip.h"
#include "view/heap.h"
#include "view/profile_json.h"
#include "view/view.h"

#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "support/box_snapshot.h"

/* ------------------------------------------------------------------------------------ writer */

static void test_commas_and_nesting(void **state) {
    struct view_buffer out = {0};
    struct view_json json = {.out = &out};
    (void)state;
    view_json_object(&json, NULL);
    view_json_array(&json, "a");
    view_json_array_end(&json);
    view_json_array(&json, "b");
    view_json_unsigned(&json, NULL, 1);
    view_json_object(&json, NULL);
    view_json_object_end(&json);
    view_json_null(&json, NULL);
    view_json_array_end(&json);
    view_json_bool(&json, "c", true);
    view_json_object_end(&json);
    assert_string_equal(out.data, "{\"a\":[],\"b\":[1,{},null],\"c\":true}");
    view_buffer_free(&out);
}

static void test_numbers(void **state) {
    struct view_buffer out = {0};
    struct view_json json = {.out = &out};
    (void)state;
    view_json_array(&json, NULL);
    view_json_unsigned(&json, NULL, 0);
    view_json_unsigned(&json, NULL, UINT64_MAX);
    view_json_signed(&json, NULL, INT64_MIN);
    view_json_signed(&json, NULL, -7);
    view_json_real(&json, NULL, 0.25);
    view_json_real(&json, NULL, INFINITY);
    view_json_real(&json, NULL, NAN);
    view_json_known(&json, NULL, 5, 5);
    view_json_known(&json, NULL, 6, 5);
    view_json_array_end(&json);
    assert_string_equal(out.data, "[0,18446744073709551615,-9223372036854775808,-7,0.25,null,null,"
                                  "null,6]");
    view_buffer_free(&out);
}

static void test_texts_are_escaped(void **state) {
    struct view_buffer out = {0};
    struct view_json json = {.out = &out};
    (void)state;
    view_json_object(&json, NULL);
    view_json_text(&json, "t", "a\"\\\n</script>\x01\xff\xc3\xa9");
    view_json_bytes(&json, "b", "x\0y", 3);
    view_json_object_end(&json);
    assert_string_equal(out.data,
                        "{\"t\":\"a\\\"\\\\\\n\\u003c/script\\u003e\\u0001\\ufffd\xc3\xa9\","
                        "\"b\":\"x\\u0000y\"}");
    view_buffer_free(&out);
}

/* -------------------------------------------------------------------------------------- gzip */

static void test_gzip_round_trip_and_bound(void **state) {
    struct view_buffer packed = {0}, plain = {0};
    char text[5000];
    (void)state;
    memset(text, 'm', sizeof(text));
    assert_int_equal(view_gzip(text, sizeof(text), VIEW_EFFORT_SPEED, &packed), 0);
    assert_true(packed.bytes < 200);
    assert_int_equal(view_gunzip(packed.data, packed.bytes, sizeof(text), &plain), 0);
    assert_int_equal(plain.bytes, sizeof(text));
    assert_memory_equal(plain.data, text, sizeof(text));
    assert_int_equal(view_gunzip(packed.data, packed.bytes, sizeof(text) - 1, &plain), -EFBIG);
    assert_int_equal(view_gunzip(packed.data, packed.bytes - 1, sizeof(text), &plain), -EBADMSG);
    assert_int_equal(view_gunzip("not gzip", 8, 100, &plain), -EBADMSG);
    assert_int_equal(plain.bytes, sizeof(text)); /* failures leave what was there */
    view_buffer_free(&packed);
    view_buffer_free(&plain);
}

/* ---------------------------------------------------------------------------------- profiles */

/* The compact form of a profile; `profile` is freed. */
static char *json_of(struct view_profile *profile) {
    struct view_buffer out = {0};
    struct view_json json = {.out = &out};
    view_json_object(&json, NULL);
    assert_int_equal(view_profile_json(profile, &json), 0);
    view_json_object_end(&json);
    view_profile_free(profile);
    return out.data;
}

/* A box and its heap profile as a file. */
struct scene {
    struct box_fixture *box;
    struct mal_snapshot *snapshot;
    struct view_symbols *symbols;
    struct view_buffer file;
};

static void scene_open(struct scene *scene, struct box_fixture *box) {
    *scene = (struct scene){.box = box, .snapshot = snapshot_of(box)};
    assert_int_equal(view_symbols_create(&scene->symbols), 0);
    assert_int_equal(view_heap_proto(scene->snapshot, scene->symbols, VIEW_HEAP, &scene->file), 0);
}

static void scene_close(struct scene *scene) {
    view_buffer_free(&scene->file);
    view_symbols_destroy(scene->symbols);
    mal_snapshot_free(scene->snapshot);
    box_fixture_free(scene->box);
}

static void test_a_file_reads_as_the_box(void **state) {
    struct scene scene;
    struct view_profile live, stored;
    (void)state;
    scene_open(&scene, box_fixture_typical());
    assert_int_equal(heap_profile_build(&live, scene.snapshot, scene.symbols), 0);
    assert_int_equal(view_profile_read(scene.file.data, scene.file.bytes, &stored), 0);
    assert_int_equal(stored.sample_count, live.sample_count);
    char *from_box = json_of(&live), *from_file = json_of(&stored);
    assert_string_equal(from_box, from_file);
    assert_non_null(strstr(from_box, "\"values\":[\"alloc_objects\",\"alloc_space\","
                                     "\"inuse_objects\",\"inuse_space\"]"));
    assert_non_null(strstr(from_box, "box_fixture_typical"));
    assert_non_null(strstr(from_box, "\"rate_bytes\":524288"));
    free(from_box);
    free(from_file);
    scene_close(&scene);
}

/* Two addresses of one line give one frame, and their samples of one size one sample. */
static void test_what_looks_the_same_is_summed(void **state) {
    struct view_profile profile;
    (void)state;
    view_profile_init(&profile);
    view_profile_add_type(&profile, "alloc_objects", "count");
    view_profile_add_type(&profile, "alloc_space", "bytes");
    view_profile_add_type(&profile, "inuse_objects", "count");
    view_profile_add_type(&profile, "inuse_space", "bytes");
    uint32_t function = view_profile_function(
        &profile, &(struct view_function){.name = view_profile_string(&profile, "make"),
                                          .filename = view_profile_string(&profile, "m.c"),
                                          .start_line = 3});
    const struct view_line lines[] = {{function, 5}};
    for (uint64_t i = 1; i <= 2; i++) {
        view_profile_add_location(
            &profile, &(struct view_location){.address = i, .line_count = 1, .lines = lines});
        view_profile_add_sample(
            &profile,
            &(struct view_sample){
                .locations = &i,
                .depth = 1,
                .label_count = 1,
                .values = {1, 16, (int64_t)i, 16 * (int64_t)i},
                .labels = {{.key = view_profile_string(&profile, "bytes"), .number = 16}}});
    }
    char *text = json_of(&profile);
    assert_non_null(strstr(text, "\"functions\":[[\"make\",\"m.c\",3]],\"frames\":[[0,5]],"
                                 "\"stacks\":[[0]],\"samples\":[[0,16,2,32,3,48]],"
                                 "\"dropped_samples\":0,\"other\":null"));
    free(text);
}

static void test_dropped_samples_are_told(void **state) {
    struct scene scene;
    struct view_profile stored;
    struct box_fixture *box = box_fixture_typical();
    (void)state;
    box_fixture_header(box)->dropped_samples = 17;
    box_fixture_header(box)->dropped_bytes = 1700;
    scene_open(&scene, box);
    assert_int_equal(view_profile_read(scene.file.data, scene.file.bytes, &stored), 0);
    char *text = json_of(&stored);
    assert_non_null(strstr(text, "\"dropped_samples\":17"));
    free(text);
    scene_close(&scene);
}

static void test_a_profile_of_something_else_is_refused(void **state) {
    struct box_fixture *box = box_fixture_typical();
    struct mal_snapshot *snapshot = snapshot_of(box);
    struct view_buffer file = {0}, out = {0};
    struct view_json json = {.out = &out};
    struct view_profile profile;
    (void)state;
    assert_int_equal(view_empty_proto("goroutine", snapshot, &file), 0);
    assert_int_equal(view_profile_read(file.data, file.bytes, &profile), 0);
    assert_int_equal(view_profile_json(&profile, &json), -EBADMSG);
    view_profile_free(&profile);
    view_buffer_free(&file);
    view_buffer_free(&out);
    mal_snapshot_free(snapshot);
    box_fixture_free(box);
}

/* ----------------------------------------------------------------------------------- enemies */

/* Reads bytes as the content of a profile; what is read must be writable too. */
static int read_plain(const void *data, size_t bytes) {
    struct view_buffer packed = {0}, out = {0};
    struct view_json json = {.out = &out};
    struct view_profile profile;
    assert_int_equal(view_gzip(data, bytes, VIEW_EFFORT_SPEED, &packed), 0);
    int error = view_profile_read(packed.data, packed.bytes, &profile);
    if (!error) {
        view_profile_json(&profile, &json);
        view_profile_free(&profile);
    }
    view_buffer_free(&packed);
    view_buffer_free(&out);
    return error;
}

static void test_cut_and_changed_bytes(void **state) {
    struct scene scene;
    struct view_buffer plain = {0};
    uint64_t random = seeded_start(11), refused = 0;
    (void)state;
    scene_open(&scene, box_fixture_typical());
    assert_int_equal(
        view_gunzip(scene.file.data, scene.file.bytes, VIEW_PROFILE_READ_MAX_BYTES, &plain), 0);
    for (size_t cut = 0; cut < plain.bytes; cut += 1 + plain.bytes / 400)
        read_plain(plain.data, cut);
    for (int round = 0; round < 3000; round++) {
        char *copy = malloc(plain.bytes);
        memcpy(copy, plain.data, plain.bytes);
        for (int k = 0; k < 4; k++)
            copy[seeded_below(&random, plain.bytes)] = (char)seeded_next(&random);
        refused += read_plain(copy, plain.bytes) != 0;
        free(copy);
    }
    assert_true(refused > 100);
    view_buffer_free(&plain);
    scene_close(&scene);
}

/* Small files that would become gigabytes. */
static void test_bombs(void **state) {
    (void)state;
    const size_t bytes = 65u << 20;
    char *zeros = calloc(1, bytes);
    assert_non_null(zeros);
    assert_int_equal(read_plain(zeros, bytes), -EFBIG);
    for (size_t i = 0; i + 1 < bytes / 4; i += 2) /* samples without anything in them */
        zeros[i] = 0x12;
    assert_int_equal(read_plain(zeros, bytes / 4), -EBADMSG);
    free(zeros);
    assert_int_equal(read_plain("", 0), -EBADMSG);
}

/* One location of 200 inlined lines, 4000 times in each of 100 samples: 80 million frames. */
static void test_inlining_that_explodes(void **state) {
    struct view_buffer out = {0};
    struct view_json json = {.out = &out};
    struct view_profile profile;
    static struct view_line lines[200];
    static uint64_t ids[4000];
    (void)state;
    view_profile_init(&profile);
    const char *const types[] = {"alloc_objects", "alloc_space", "inuse_objects", "inuse_space"};
    for (size_t i = 0; i < 4; i++)
        view_profile_add_type(&profile, types[i], "count");
    for (int64_t i = 0; i < 100; i++) {
        for (size_t k = 0; k < 200; k++)
            lines[k].line = 200 * i + (int64_t)k;
        view_profile_add_location(&profile,
                                  &(struct view_location){.line_count = 200, .lines = lines});
        for (size_t k = 0; k < 4000; k++)
            ids[k] = 1 + (k + (size_t)i) % 90;
        ids[0] = (uint64_t)i + 1;
        view_profile_add_sample(&profile, &(struct view_sample){.locations = ids, .depth = 4000});
    }
    assert_int_equal(view_profile_json(&profile, &json), -EFBIG);
    view_profile_free(&profile);
    view_buffer_free(&out);
}

/* ------------------------------------------------------------------------------------- speed */

static void test_ten_thousand_stacks(void **state) {
    struct view_profile profile;
    (void)state;
    view_profile_init(&profile);
    const char *const types[] = {"alloc_objects", "alloc_space", "inuse_objects", "inuse_space"};
    for (size_t i = 0; i < 4; i++)
        view_profile_add_type(&profile, types[i], "count");
    for (int64_t i = 0; i < 3000; i++) {
        char name[40];
        snprintf(name, sizeof(name), "function_%lld", (long long)i);
        uint32_t function = view_profile_function(
            &profile, &(struct view_function){.name = view_profile_string(&profile, name)});
        const struct view_line line = {function, i % 100};
        view_profile_add_location(&profile,
                                  &(struct view_location){.line_count = 1, .lines = &line});
    }
    for (uint64_t i = 0; i < 10000; i++) {
        uint64_t ids[30];
        for (uint64_t k = 0; k < 30; k++)
            ids[k] = 1 + (k < 2 ? (k == 0 ? i % 3000 : i / 3000) : i * 7919 + k * k * 31) % 3000;
        view_profile_add_sample(
            &profile, &(struct view_sample){.locations = ids, .depth = 30, .values = {1, 2, 3, 4}});
    }
    clock_t before = clock(); /* CPU time: the machine may be busy */
    char *text = json_of(&profile);
    double took = (double)(clock() - before) / CLOCKS_PER_SEC;
    assert_non_null(strstr(text, ",[9999,0,1,2,3,4]]"));
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    assert_true(took < 1.0);
#endif
    (void)took;
    free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_commas_and_nesting),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_texts_are_escaped),
        cmocka_unit_test(test_gzip_round_trip_and_bound),
        cmocka_unit_test(test_a_file_reads_as_the_box),
        cmocka_unit_test(test_what_looks_the_same_is_summed),
        cmocka_unit_test(test_dropped_samples_are_told),
        cmocka_unit_test(test_a_profile_of_something_else_is_refused),
        cmocka_unit_test(test_cut_and_changed_bytes),
        cmocka_unit_test(test_bombs),
        cmocka_unit_test(test_inlining_that_explodes),
        cmocka_unit_test(test_ten_thousand_stacks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
