/* SPDX-License-Identifier: Apache-2.0
 *
 * A profile in memory, as profile.proto sees it: interned strings, functions, mappings, locations
 * and samples that refer to each other by number. Nothing here knows about heaps.
 *
 * Numbers: strings count from 0, and string 0 is ""; functions, mappings and locations are ids
 * from 1, 0 meaning none. After a failed allocation the profile keeps what it holds, gives out
 * number 0 and says so in `failed`; view_profile_encode then answers -ENOMEM.
 */
#ifndef MAL_VIEW_PROFILE_H
#define MAL_VIEW_PROFILE_H

#include "view/buffer.h"
#include "view/gzip.h"
#include "view/table.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VIEW_PROFILE_VALUES_MAX 4
#define VIEW_PROFILE_COMMENTS_MAX 4

struct view_value_type {
    uint32_t type, unit;
};

struct view_function {
    uint32_t name, system_name, filename;
    int64_t start_line;
};

struct view_mapping {
    uint64_t start, limit, file_offset;
    uint32_t filename, build_id;
    bool has_functions, has_filenames, has_line_numbers, has_inline_frames;
};

struct view_line {
    uint32_t function;
    int64_t line;
};

struct view_location {
    uint64_t address;
    uint32_t mapping;
    uint32_t line_count;
    const struct view_line *lines; /* innermost first */
};

struct view_label {
    uint32_t key, text;
    int64_t number; /* when `text` is 0 */
};

struct view_sample {
    const uint64_t *locations; /* ids, leaf first */
    uint32_t depth, label_count;
    int64_t values[VIEW_PROFILE_VALUES_MAX];
    struct view_label labels[2];
};

struct view_profile {
    struct view_value_type types[VIEW_PROFILE_VALUES_MAX];
    size_t type_count;
    struct view_value_type period_type;
    int64_t period, time_ns, duration_ns;
    uint32_t default_type; /* string; 0 none */
    uint32_t comments[VIEW_PROFILE_COMMENTS_MAX];
    size_t comment_count;

    const char **strings;
    size_t string_count, string_capacity;
    struct view_function *functions;
    size_t function_count, function_capacity;
    struct view_mapping *mappings;
    size_t mapping_count, mapping_capacity;
    struct view_location *locations;
    size_t location_count, location_capacity;
    struct view_sample *samples;
    size_t sample_count, sample_capacity;

    struct view_table string_table, function_table;
    struct view_arena arena;
    bool failed;
};

void view_profile_init(struct view_profile *profile);
void view_profile_free(struct view_profile *profile);

uint32_t view_profile_string(struct view_profile *profile, const char *text);
void view_profile_add_type(struct view_profile *profile, const char *type, const char *unit);
void view_profile_set_period(struct view_profile *profile, const char *type, const char *unit,
                             int64_t period);
void view_profile_add_comment(struct view_profile *profile, const char *text);
uint32_t view_profile_function(struct view_profile *profile, const struct view_function *function);
uint32_t view_profile_add_mapping(struct view_profile *profile, const struct view_mapping *mapping);
/* Copies the lines. */
uint32_t view_profile_add_location(struct view_profile *profile,
                                   const struct view_location *location);
/* Makes room for so many samples at once. */
void view_profile_expect_samples(struct view_profile *profile, size_t count);
/* Copies the location ids. */
void view_profile_add_sample(struct view_profile *profile, const struct view_sample *sample);

/* Appends the profile as profile.proto. Returns 0 or -ENOMEM. */
int view_profile_pack(const struct view_profile *profile, struct view_buffer *out);
/* The same, gzipped. */
int view_profile_encode(const struct view_profile *profile, enum view_effort effort,
                        struct view_buffer *out);

/* Reads gzipped profile.proto, whoever wrote it: every number that refers to something is checked,
 * what refers to nothing is dropped, and a file larger than PROFILE_READ_MAX_BYTES inflated, or
 * than its messages may be, is refused. -EBADMSG for what is no profile. Free the result with
 * view_profile_free, which is needed after success only. */
#define VIEW_PROFILE_READ_MAX_BYTES (64u << 20)
int view_profile_read(const void *data, size_t bytes, struct view_profile *ret_profile);

#endif
