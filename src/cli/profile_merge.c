/* SPDX-License-Identifier: Apache-2.0
 *
 * Merging profiles.
 *
 * Numbers of strings, functions, mappings and locations belong to one profile, and addresses to one
 * process: the same program is mapped elsewhere in the next one. So two things are the same when
 * they say the same: mappings by build-id (else file) and place in the file, locations by mapping,
 * address relative to it and lines, samples by locations and labels. pprof's -base does likewise.
 *
 * For each profile that is added there is a list from its numbers to those of the result, filled
 * as samples ask, so what no sample uses is left out. The program's own mapping is the first one of
 * a profile and is kept first.
 *
 * Figures come from files: sums saturate, and numbers that refer to nothing are left out.
 *
 * SYNCHRONIZATION  One thread.
 */
#include "cli/profile_merge.h"

#include "base/attr.h"
#include "cli/functions.h"
#include "view/number.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct profile_merge {
    struct view_profile *result;
    struct view_table mappings, locations, samples; /* of the result, by hash of what they say */
    bool started;                                   /* types and period are there */
};

/* One profile being added. */
struct adding {
    struct profile_merge *merge;
    const struct view_profile *from;
    uint32_t *mapping, *location; /* by number there: number in the result, 0 not yet */
};

/* ---- strings and functions ---- */

static const char *text_at(const struct view_profile *profile, uint32_t number) {
    return number < profile->string_count ? profile->strings[number] : "";
}

static uint32_t string_of(const struct adding *adding, uint32_t number) {
    return view_profile_string(adding->merge->result, text_at(adding->from, number));
}

static uint32_t function_of(const struct adding *adding, uint32_t id) {
    if (id == 0 || id > adding->from->function_count)
        return 0;
    const struct view_function *theirs = &adding->from->functions[id - 1];
    struct view_function ours = {.name = string_of(adding, theirs->name),
                                 .system_name = string_of(adding, theirs->system_name),
                                 .filename = string_of(adding, theirs->filename),
                                 .start_line = theirs->start_line};
    return view_profile_function(adding->merge->result, &ours);
}

/* ---- mappings ---- */

static bool same_mapping(const struct view_mapping *a, const struct view_mapping *b) {
    bool same_file = a->build_id != 0 || b->build_id != 0 ? a->build_id == b->build_id
                                                          : a->filename == b->filename;
    return same_file && a->file_offset == b->file_offset &&
           a->limit - a->start == b->limit - b->start;
}

static uint32_t add_mapping(struct profile_merge *merge, const struct view_mapping *mapping) {
    struct view_profile *result = merge->result;
    uint64_t hash = view_hash_word(view_hash_word(0, mapping->file_offset),
                                   mapping->build_id != 0 ? mapping->build_id : mapping->filename);
    size_t probe = 0;
    uint32_t id;
    while ((id = view_table_next(&merge->mappings, hash, &probe)) != VIEW_TABLE_END) {
        struct view_mapping *known = &result->mappings[id - 1];
        if (!same_mapping(known, mapping))
            continue;
        known->has_functions &= mapping->has_functions;
        known->has_filenames &= mapping->has_filenames;
        known->has_line_numbers &= mapping->has_line_numbers;
        known->has_inline_frames &= mapping->has_inline_frames;
        return id;
    }
    id = view_profile_add_mapping(result, mapping);
    if (id != 0 && view_table_add(&merge->mappings, hash, id) != 0)
        result->failed = true;
    return id;
}

static uint32_t mapping_of(const struct adding *adding, uint32_t id) {
    if (id == 0 || id > adding->from->mapping_count)
        return 0;
    if (adding->mapping[id - 1] == 0) {
        struct view_mapping mapping = adding->from->mappings[id - 1];
        mapping.filename = string_of(adding, mapping.filename);
        mapping.build_id = string_of(adding, mapping.build_id);
        adding->mapping[id - 1] = add_mapping(adding->merge, &mapping);
    }
    return adding->mapping[id - 1];
}

/* ---- locations ---- */

static bool same_location(const struct view_location *a, const struct view_location *b) {
    if (a->mapping != b->mapping || a->address != b->address || a->line_count != b->line_count)
        return false;
    for (uint32_t i = 0; i < a->line_count; i++)
        if (a->lines[i].function != b->lines[i].function || a->lines[i].line != b->lines[i].line)
            return false;
    return true;
}

static uint64_t location_hash(const struct view_location *location) {
    uint64_t hash = view_hash_word(location->mapping, location->address);
    for (uint32_t i = 0; i < location->line_count; i++)
        hash = view_hash_word(view_hash_word(hash, location->lines[i].function),
                              (uint64_t)location->lines[i].line);
    return hash;
}

static uint32_t add_location(struct profile_merge *merge, const struct view_location *location) {
    uint64_t hash = location_hash(location);
    size_t probe = 0;
    uint32_t id;
    while ((id = view_table_next(&merge->locations, hash, &probe)) != VIEW_TABLE_END)
        if (same_location(&merge->result->locations[id - 1], location))
            return id;
    id = view_profile_add_location(merge->result, location);
    if (id != 0 && view_table_add(&merge->locations, hash, id) != 0)
        merge->result->failed = true;
    return id;
}

/* Where the address is in the result's mapping of the same file. */
static uint64_t moved(const struct adding *adding, const struct view_location *location,
                      uint32_t mapping) {
    if (mapping == 0)
        return location->address;
    return location->address - adding->from->mappings[location->mapping - 1].start +
           adding->merge->result->mappings[mapping - 1].start;
}

static uint32_t copy_location(const struct adding *adding, const struct view_location *theirs) {
    struct view_line *lines = calloc(theirs->line_count + 1, sizeof *lines);
    if (lines == NULL) {
        adding->merge->result->failed = true;
        return 0;
    }
    uint32_t count = 0;
    for (uint32_t i = 0; i < theirs->line_count; i++) {
        lines[count].function = function_of(adding, theirs->lines[i].function);
        lines[count].line = theirs->lines[i].line;
        count += lines[count].function != 0;
    }
    uint32_t mapping = mapping_of(adding, theirs->mapping);
    struct view_location ours = {.address = moved(adding, theirs, mapping),
                                 .mapping = mapping,
                                 .line_count = count,
                                 .lines = lines};
    uint32_t id = add_location(adding->merge, &ours);
    free(lines);
    return id;
}

static uint64_t location_of(const struct adding *adding, uint64_t id) {
    if (id == 0 || id > adding->from->location_count)
        return 0;
    if (adding->location[id - 1] == 0)
        adding->location[id - 1] = copy_location(adding, &adding->from->locations[id - 1]);
    return adding->location[id - 1];
}

/* ---- samples ---- */

static bool same_sample(const struct view_sample *a, const struct view_sample *b) {
    if (a->depth != b->depth || a->label_count != b->label_count)
        return false;
    for (uint32_t i = 0; i < a->label_count; i++)
        if (a->labels[i].key != b->labels[i].key || a->labels[i].text != b->labels[i].text ||
            a->labels[i].number != b->labels[i].number)
            return false;
    return a->depth == 0 ||
           memcmp(a->locations, b->locations, a->depth * sizeof *a->locations) == 0;
}

static uint64_t sample_hash(const struct view_sample *sample) {
    uint64_t hash = view_hash_word(sample->depth, sample->label_count);
    for (uint32_t i = 0; i < sample->label_count; i++)
        hash = view_hash_word(view_hash_word(hash, sample->labels[i].text),
                              (uint64_t)sample->labels[i].number);
    return view_hash_bytes(hash, sample->locations, sample->depth * sizeof *sample->locations);
}

/* The sample of the result that says the same, made with zero values when it is new. */
static struct view_sample *find_sample(struct profile_merge *merge,
                                       const struct view_sample *sample) {
    struct view_profile *result = merge->result;
    uint64_t hash = sample_hash(sample);
    size_t probe = 0;
    uint32_t number;
    while ((number = view_table_next(&merge->samples, hash, &probe)) != VIEW_TABLE_END)
        if (same_sample(&result->samples[number], sample))
            return &result->samples[number];
    size_t before = result->sample_count;
    view_profile_add_sample(result, sample);
    if (result->sample_count == before ||
        view_table_add(&merge->samples, hash, (uint32_t)before) != 0) {
        result->failed = true;
        return NULL;
    }
    return &result->samples[before];
}

static int64_t negated(int64_t value) {
    return value == INT64_MIN ? INT64_MAX : -value;
}

static void add_sample(const struct adding *adding, const struct view_sample *theirs, int sign,
                       uint64_t *locations) {
    struct view_sample ours = {.locations = locations};
    for (uint32_t i = 0; i < theirs->depth; i++) {
        locations[ours.depth] = location_of(adding, theirs->locations[i]);
        ours.depth += locations[ours.depth] != 0;
    }
    for (uint32_t i = 0; i < theirs->label_count && i < MAL_COUNT_OF(ours.labels); i++) {
        const struct view_label *label = &theirs->labels[i];
        ours.labels[ours.label_count++] =
            (struct view_label){.key = string_of(adding, label->key),
                                .text = label->text != 0 ? string_of(adding, label->text) : 0,
                                .number = label->number};
    }
    struct view_sample *sum = find_sample(adding->merge, &ours);
    for (size_t i = 0; sum != NULL && i < adding->from->type_count; i++)
        sum->values[i] =
            view_sum(sum->values[i], sign < 0 ? negated(theirs->values[i]) : theirs->values[i]);
}

static int add_samples(const struct adding *adding, int sign) {
    uint32_t deepest = 0;
    for (size_t i = 0; i < adding->from->sample_count; i++)
        if (adding->from->samples[i].depth > deepest)
            deepest = adding->from->samples[i].depth;
    uint64_t *locations = calloc((size_t)deepest + 1, sizeof *locations);
    if (locations == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < adding->from->sample_count; i++)
        add_sample(adding, &adding->from->samples[i], sign, locations);
    free(locations);
    return 0;
}

/* ---- the whole ---- */

static void copy_types(struct view_profile *result, const struct view_profile *from) {
    for (size_t i = 0; i < from->type_count; i++)
        view_profile_add_type(result, text_at(from, from->types[i].type),
                              text_at(from, from->types[i].unit));
    view_profile_set_period(result, text_at(from, from->period_type.type),
                            text_at(from, from->period_type.unit), from->period);
}

static bool same_types(const struct view_profile *result, const struct view_profile *from) {
    bool same = result->type_count == from->type_count;
    for (size_t i = 0; same && i < from->type_count; i++)
        same =
            strcmp(text_at(result, result->types[i].type), text_at(from, from->types[i].type)) ==
                0 &&
            strcmp(text_at(result, result->types[i].unit), text_at(from, from->types[i].unit)) == 0;
    return same;
}

struct profile_merge *profile_merge_begin(struct view_profile *result) {
    struct profile_merge *merge = calloc(1, sizeof *merge);
    if (merge != NULL)
        merge->result = result;
    return merge;
}

int profile_merge_add(struct profile_merge *merge, const struct view_profile *from, int sign) {
    struct adding adding = {.merge = merge,
                            .from = from,
                            .mapping = calloc(from->mapping_count + 1, sizeof *adding.mapping),
                            .location = calloc(from->location_count + 1, sizeof *adding.location)};
    int error = -ENOMEM;
    if (adding.mapping != NULL && adding.location != NULL) {
        if (!merge->started)
            copy_types(merge->result, from);
        merge->started = true;
        if (from->mapping_count > 0)
            mapping_of(&adding, 1);
        error = same_types(merge->result, from) ? add_samples(&adding, sign) : -EINVAL;
    }
    free(adding.mapping);
    free(adding.location);
    return error == 0 && merge->result->failed ? -ENOMEM : error;
}

static bool is_nothing(const struct view_sample *sample) {
    for (size_t i = 0; i < MAL_COUNT_OF(sample->values); i++)
        if (sample->values[i] != 0)
            return false;
    return true;
}

void profile_merge_end(struct profile_merge *merge) {
    if (merge == NULL)
        return;
    struct view_profile *result = merge->result;
    size_t kept = 0;
    for (size_t i = 0; i < result->sample_count; i++)
        if (!is_nothing(&result->samples[i]))
            result->samples[kept++] = result->samples[i];
    result->sample_count = kept;
    view_table_free(&merge->mappings);
    view_table_free(&merge->locations);
    view_table_free(&merge->samples);
    free(merge);
}
