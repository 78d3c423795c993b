/* SPDX-License-Identifier: Apache-2.0
 *
 * Sums by function, and profiles added to and taken from each other.
 */
#include "base/attr.h"
#include "cli/functions.h"
#include "cli/profile_merge.h"
#include "view/number.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { OBJECTS, BYTES };

/* A profile with the program mapped at `start`; its functions are at start + 16 * (letter - 'a').
 */
static void profile_begin(struct view_profile *profile, uint64_t start) {
    view_profile_init(profile);
    view_profile_add_type(profile, "objects", "count");
    view_profile_add_type(profile, "space", "bytes");
    view_profile_set_period(profile, "space", "bytes", 512);
    struct view_mapping mapping = {.start = start,
                                   .limit = start + 4096,
                                   .filename = view_profile_string(profile, "/bin/program"),
                                   .build_id = view_profile_string(profile, "0123"),
                                   .has_functions = true};
    view_profile_add_mapping(profile, &mapping);
}

static struct view_line line_of(struct view_profile *profile, char letter, int64_t line) {
    const char name[] = {letter, '\0'};
    struct view_function function = {.name = view_profile_string(profile, name),
                                     .system_name = view_profile_string(profile, name),
                                     .filename = view_profile_string(profile, "file.c")};
    return (struct view_line){view_profile_function(profile, &function), line};
}

/* Stacks are words of letters, leaf first; "(ab)c" has a inlined into b. */
static void add(struct view_profile *profile, const char *stack, int64_t objects, int64_t bytes) {
    uint64_t locations[16];
    struct view_sample sample = {.locations = locations, .values = {objects, bytes}};
    for (const char *at = stack; *at != '\0'; at++) {
        struct view_line lines[4];
        struct view_location location = {.address = profile->mappings[0].start +
                                                    16 * (uint64_t)(*at - '('),
                                         .mapping = 1,
                                         .lines = lines};
        if (*at == '(')
            for (at++; *at != ')'; at++)
                lines[location.line_count++] = line_of(profile, *at, 7);
        else
            lines[location.line_count++] = line_of(profile, *at, 7);
        locations[sample.depth++] = view_profile_add_location(profile, &location);
    }
    sample.labels[sample.label_count++] =
        (struct view_label){.key = view_profile_string(profile, "bytes"), .number = 64};
    view_profile_add_sample(profile, &sample);
}

static const struct cli_function *find(const struct cli_functions *functions, const char *name) {
    for (size_t i = 0; i < functions->count; i++)
        if (strcmp(functions->items[i].name, name) == 0)
            return &functions->items[i];
    return NULL;
}

static void check_function(const struct cli_functions *functions, const char *name, int64_t flat,
                           int64_t cum) {
    const struct cli_function *function = find(functions, name);
    assert_non_null(function);
    assert_int_equal(function->flat[BYTES], flat);
    assert_int_equal(function->cum[BYTES], cum);
}

static void functions_are_summed(void **state) {
    struct view_profile profile;
    struct cli_functions functions;
    (void)state;
    profile_begin(&profile, 0x1000);
    add(&profile, "abm", 1, 10);
    add(&profile, "bm", 1, 100);
    add(&profile, "ababm", 1, 1000); /* recursion counts once */
    add(&profile, "(ca)m", 1, 5);    /* the inlined function is the leaf */
    assert_int_equal(cli_functions_sum(&profile, &functions), 0);
    check_function(&functions, "a", 1010, 1015);
    check_function(&functions, "b", 100, 1110);
    check_function(&functions, "c", 5, 5);
    check_function(&functions, "m", 0, 1115);
    assert_int_equal(functions.total[BYTES], 1115);
    assert_int_equal(functions.total[OBJECTS], 4);
    assert_int_equal(functions.count, 4);
    cli_functions_free(&functions);
    view_profile_free(&profile);
}

static void sums_saturate(void **state) {
    struct view_profile profile;
    struct cli_functions functions;
    (void)state;
    profile_begin(&profile, 0x1000);
    add(&profile, "a", 1, INT64_MAX);
    add(&profile, "a", 1, INT64_MAX);
    assert_int_equal(cli_functions_sum(&profile, &functions), 0);
    check_function(&functions, "a", INT64_MAX, INT64_MAX);
    assert_true(view_sum(INT64_MIN, -1) == INT64_MIN);
    cli_functions_free(&functions);
    view_profile_free(&profile);
}

/* References to nothing are left out, wherever they are. */
static void bad_numbers_are_left_out(void **state) {
    struct view_profile profile;
    struct view_profile result;
    struct cli_functions functions;
    uint64_t locations[] = {0, 99, 1};
    struct view_line line = {77, 1};
    struct view_location location = {.address = 5, .mapping = 66, .line_count = 1, .lines = &line};
    struct view_sample sample = {.locations = locations, .depth = 3, .values = {1, 2}};
    (void)state;
    profile_begin(&profile, 0x1000);
    view_profile_add_location(&profile, &location);
    view_profile_add_sample(&profile, &sample);
    assert_int_equal(cli_functions_sum(&profile, &functions), 0);
    assert_int_equal(functions.count, 0);
    view_profile_init(&result);
    struct profile_merge *merge = profile_merge_begin(&result);
    assert_int_equal(profile_merge_add(merge, &profile, 1), 0);
    profile_merge_end(merge);
    assert_int_equal(result.sample_count, 1);
    assert_int_equal(result.samples[0].depth, 1);
    assert_int_equal(result.locations[0].line_count, 0);
    assert_int_equal(result.locations[0].mapping, 0);
    cli_functions_free(&functions);
    view_profile_free(&profile);
    view_profile_free(&result);
}

static int subtract(const struct view_profile *before, const struct view_profile *after,
                    struct view_profile *ret_result) {
    view_profile_init(ret_result);
    struct profile_merge *merge = profile_merge_begin(ret_result);
    int error = profile_merge_add(merge, after, 1);
    if (error == 0)
        error = profile_merge_add(merge, before, -1);
    profile_merge_end(merge);
    return error;
}

/* The same program mapped elsewhere: equal stacks meet, and what came to nothing is gone. */
static void differences_meet_across_processes(void **state) {
    struct view_profile before;
    struct view_profile after;
    struct view_profile result;
    struct cli_functions functions;
    (void)state;
    profile_begin(&before, 0x1000);
    add(&before, "am", 1, 64);
    add(&before, "bm", 2, 128);
    add(&before, "cm", 1, 64);
    profile_begin(&after, 0x7000);
    add(&after, "bm", 2, 128);
    add(&after, "am", 5, 320);
    add(&after, "dm", 1, 64);
    assert_int_equal(subtract(&before, &after, &result), 0);
    assert_int_equal(result.sample_count, 3);
    assert_int_equal(result.mapping_count, 1);
    assert_int_equal(result.location_count, 5);
    assert_int_equal(result.samples[0].label_count, 1);
    assert_int_equal(result.samples[0].labels[0].number, 64);
    for (size_t i = 0; i < result.location_count; i++)
        assert_true(result.locations[i].address >= result.mappings[0].start &&
                    result.locations[i].address < result.mappings[0].limit);
    assert_int_equal(cli_functions_sum(&result, &functions), 0);
    check_function(&functions, "a", 256, 256);
    check_function(&functions, "c", -64, -64);
    check_function(&functions, "d", 64, 64);
    check_function(&functions, "m", 0, 256);
    cli_functions_free(&functions);
    view_profile_free(&result);
    view_profile_free(&before);
    view_profile_free(&after);
}

/* The difference goes through the encoder and comes back the same. */
static void differences_are_profiles(void **state) {
    struct view_profile before;
    struct view_profile after;
    struct view_profile result;
    struct view_profile read;
    struct view_buffer data = {0};
    (void)state;
    profile_begin(&before, 0x1000);
    add(&before, "(ab)m", 3, 192);
    profile_begin(&after, 0x1000);
    add(&after, "(ab)m", 1, 64);
    assert_int_equal(subtract(&before, &after, &result), 0);
    assert_int_equal(view_profile_encode(&result, VIEW_EFFORT_DEFAULT, &data), 0);
    assert_int_equal(view_profile_read(data.data, data.bytes, &read), 0);
    assert_int_equal(read.sample_count, 1);
    assert_int_equal(read.samples[0].values[BYTES], -128);
    assert_int_equal(read.period, 512);
    assert_int_equal(read.locations[0].line_count, 2);
    view_buffer_free(&data);
    view_profile_free(&read);
    view_profile_free(&result);
    view_profile_free(&before);
    view_profile_free(&after);
}

static void other_types_are_refused(void **state) {
    struct view_profile before;
    struct view_profile after;
    struct view_profile result;
    (void)state;
    profile_begin(&before, 0x1000);
    view_profile_init(&after);
    view_profile_add_type(&after, "cpu", "nanoseconds");
    assert_int_equal(subtract(&before, &after, &result), -EINVAL);
    view_profile_free(&result);
    view_profile_free(&before);
    view_profile_free(&after);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(functions_are_summed),
        cmocka_unit_test(sums_saturate),
        cmocka_unit_test(bad_numbers_are_left_out),
        cmocka_unit_test(differences_meet_across_processes),
        cmocka_unit_test(differences_are_profiles),
        cmocka_unit_test(other_types_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
