/* SPDX-License-Identifier: Apache-2.0
 *
 * The profile in memory. Strings and functions are found again by hash, so that each exists once;
 * locations and samples are added by callers that know themselves which they have seen. Whatever
 * is variable in length lies in the arena.
 */
#include "view/profile.h"

#include <stdlib.h>
#include <string.h>

void view_profile_init(struct view_profile *profile) {
    *profile = (struct view_profile){0};
    view_profile_string(profile, "");
}

void view_profile_free(struct view_profile *profile) {
    free(profile->strings);
    free(profile->functions);
    free(profile->mappings);
    free(profile->locations);
    free(profile->samples);
    view_table_free(&profile->string_table);
    view_table_free(&profile->function_table);
    view_arena_free(&profile->arena);
    *profile = (struct view_profile){0};
}

/* Notes the failure; returns the number that means none. */
static uint32_t fail(struct view_profile *profile) {
    profile->failed = true;
    return 0;
}

/* A copy that every reader of profiles accepts: what is no UTF-8 becomes '?'. */
static char *clean_copy(struct view_profile *profile, const char *text) {
    size_t bytes = strlen(text);
    char *copy = view_arena_text(&profile->arena, text, bytes);
    for (size_t at = 0; copy && at < bytes;) {
        size_t length = view_utf8_bytes(copy + at, bytes - at);
        if (length == 0)
            copy[at] = '?';
        at += length ? length : 1;
    }
    return copy;
}

static uint32_t add_string(struct view_profile *profile, uint64_t hash, const char *text) {
    const char *copy = clean_copy(profile, text);
    const char **strings = view_array_grow(profile->strings, profile->string_count,
                                           &profile->string_capacity, sizeof(*strings));
    if (!copy || !strings)
        return fail(profile);
    profile->strings = strings;
    uint32_t number = (uint32_t)profile->string_count;
    if (view_table_add(&profile->string_table, hash, number) != 0)
        return fail(profile);
    strings[profile->string_count++] = copy;
    return number;
}

uint32_t view_profile_string(struct view_profile *profile, const char *text) {
    uint64_t hash = view_hash_bytes(0, text, strlen(text));
    size_t probe = 0;
    uint32_t number;
    while ((number = view_table_next(&profile->string_table, hash, &probe)) != VIEW_TABLE_END) {
        if (strcmp(profile->strings[number], text) == 0)
            return number;
    }
    return add_string(profile, hash, text);
}

void view_profile_add_type(struct view_profile *profile, const char *type, const char *unit) {
    struct view_value_type *entry = &profile->types[profile->type_count++];
    entry->type = view_profile_string(profile, type);
    entry->unit = view_profile_string(profile, unit);
}

void view_profile_set_period(struct view_profile *profile, const char *type, const char *unit,
                             int64_t period) {
    profile->period_type.type = view_profile_string(profile, type);
    profile->period_type.unit = view_profile_string(profile, unit);
    profile->period = period;
}

void view_profile_add_comment(struct view_profile *profile, const char *text) {
    if (profile->comment_count < VIEW_PROFILE_COMMENTS_MAX)
        profile->comments[profile->comment_count++] = view_profile_string(profile, text);
}

static bool same_function(const struct view_function *a, const struct view_function *b) {
    return a->name == b->name && a->system_name == b->system_name && a->filename == b->filename &&
           a->start_line == b->start_line;
}

static uint32_t add_function(struct view_profile *profile, uint64_t hash,
                             const struct view_function *function) {
    struct view_function *functions =
        view_array_grow(profile->functions, profile->function_count, &profile->function_capacity,
                        sizeof(*functions));
    if (!functions)
        return fail(profile);
    profile->functions = functions;
    uint32_t id = (uint32_t)profile->function_count + 1;
    if (view_table_add(&profile->function_table, hash, id) != 0)
        return fail(profile);
    functions[profile->function_count++] = *function;
    return id;
}

uint32_t view_profile_function(struct view_profile *profile, const struct view_function *function) {
    uint64_t hash = view_hash_word(view_hash_word(0, function->name), function->system_name);
    hash = view_hash_word(view_hash_word(hash, function->filename), (uint64_t)function->start_line);
    size_t probe = 0;
    uint32_t id;
    while ((id = view_table_next(&profile->function_table, hash, &probe)) != VIEW_TABLE_END) {
        if (same_function(&profile->functions[id - 1], function))
            return id;
    }
    return add_function(profile, hash, function);
}

uint32_t view_profile_add_mapping(struct view_profile *profile,
                                  const struct view_mapping *mapping) {
    struct view_mapping *mappings = view_array_grow(profile->mappings, profile->mapping_count,
                                                    &profile->mapping_capacity, sizeof(*mappings));
    if (!mappings)
        return fail(profile);
    profile->mappings = mappings;
    mappings[profile->mapping_count++] = *mapping;
    return (uint32_t)profile->mapping_count;
}

uint32_t view_profile_add_location(struct view_profile *profile,
                                   const struct view_location *location) {
    struct view_location *locations =
        view_array_grow(profile->locations, profile->location_count, &profile->location_capacity,
                        sizeof(*locations));
    struct view_line *lines =
        view_arena_alloc(&profile->arena, location->line_count, sizeof(*lines));
    if (locations)
        profile->locations = locations;
    if (!locations || !lines)
        return fail(profile);
    if (location->line_count > 0)
        memcpy(lines, location->lines, location->line_count * sizeof(*lines));
    locations[profile->location_count] = *location;
    locations[profile->location_count].lines = lines;
    return (uint32_t)++profile->location_count;
}

void view_profile_expect_samples(struct view_profile *profile, size_t count) {
    struct view_sample *samples =
        view_array_reserve(profile->samples, &profile->sample_capacity, count, sizeof(*samples));
    if (samples)
        profile->samples = samples;
    else if (count > 0)
        fail(profile);
}

void view_profile_add_sample(struct view_profile *profile, const struct view_sample *sample) {
    struct view_sample *samples = view_array_grow(profile->samples, profile->sample_count,
                                                  &profile->sample_capacity, sizeof(*samples));
    uint64_t *ids = view_arena_alloc(&profile->arena, sample->depth, sizeof(*ids));
    if (samples)
        profile->samples = samples;
    if (!samples || !ids) {
        fail(profile);
        return;
    }
    if (sample->depth > 0)
        memcpy(ids, sample->locations, sample->depth * sizeof(*ids));
    samples[profile->sample_count] = *sample;
    samples[profile->sample_count++].locations = ids;
}
