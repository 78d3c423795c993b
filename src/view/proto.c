/* SPDX-License-Identifier: Apache-2.0
 *
 * A profile as bytes: the messages of profile.proto, filled in from the profile in memory, packed
 * by protobuf-c and compressed into one gzip member.
 *
 * Samples are nearly all of a profile, so they are written straight (proto_samples.c). A message
 * may come in pieces, which a reader joins: the types, then the samples, then the rest, which is
 * the order of the fields' numbers.
 *
 * The messages live in an arena of their own for as long as packing takes; strings are borrowed
 * from the profile.
 */
#include "profile.pb-c.h"
#include "view/profile.h"
#include "view/proto_samples.h"

#include <errno.h>
#include <stdlib.h>

typedef Perftools__Profiles__Profile pb_profile;
typedef Perftools__Profiles__ValueType pb_value_type;
typedef Perftools__Profiles__Mapping pb_mapping;
typedef Perftools__Profiles__Location pb_location;
typedef Perftools__Profiles__Line pb_line;
typedef Perftools__Profiles__Function pb_function;

/* `count` zeroed messages and a list of pointers to them, as protobuf-c wants repeated fields.
 * Returns false when out of memory. */
static bool messages(struct view_arena *arena, size_t count, size_t bytes, void **ret_first,
                     void ***ret_list) {
    char *first = view_arena_alloc(arena, count, bytes);
    void **list = view_arena_alloc(arena, count, sizeof(*list));
    if (!first || !list)
        return false;
    for (size_t i = 0; i < count; i++)
        list[i] = first + i * bytes;
    *ret_first = first;
    *ret_list = list;
    return true;
}

static pb_value_type value_type(const struct view_value_type *type) {
    pb_value_type message = PERFTOOLS__PROFILES__VALUE_TYPE__INIT;
    message.type = type->type;
    message.unit = type->unit;
    return message;
}

static bool fill_types(const struct view_profile *profile, struct view_arena *arena,
                       pb_profile *message) {
    void *first, **list;
    if (!messages(arena, profile->type_count, sizeof(pb_value_type), &first, &list))
        return false;
    pb_value_type *types = first;
    for (size_t i = 0; i < profile->type_count; i++)
        types[i] = value_type(&profile->types[i]);
    message->n_sample_type = profile->type_count;
    message->sample_type = (pb_value_type **)list;
    return true;
}

static bool fill_mappings(const struct view_profile *profile, struct view_arena *arena,
                          pb_profile *message) {
    void *first, **list;
    if (!messages(arena, profile->mapping_count, sizeof(pb_mapping), &first, &list))
        return false;
    pb_mapping *mappings = first;
    for (size_t i = 0; i < profile->mapping_count; i++) {
        const struct view_mapping *mapping = &profile->mappings[i];
        perftools__profiles__mapping__init(&mappings[i]);
        mappings[i].id = i + 1;
        mappings[i].memory_start = mapping->start;
        mappings[i].memory_limit = mapping->limit;
        mappings[i].file_offset = mapping->file_offset;
        mappings[i].filename = mapping->filename;
        mappings[i].build_id = mapping->build_id;
        mappings[i].has_functions = mapping->has_functions;
        mappings[i].has_filenames = mapping->has_filenames;
        mappings[i].has_line_numbers = mapping->has_line_numbers;
        mappings[i].has_inline_frames = mapping->has_inline_frames;
    }
    message->n_mapping = profile->mapping_count;
    message->mapping = (pb_mapping **)list;
    return true;
}

static bool fill_lines(const struct view_location *location, struct view_arena *arena,
                       pb_location *message) {
    void *first, **list;
    if (!messages(arena, location->line_count, sizeof(pb_line), &first, &list))
        return false;
    pb_line *lines = first;
    for (uint32_t i = 0; i < location->line_count; i++) {
        perftools__profiles__line__init(&lines[i]);
        lines[i].function_id = location->lines[i].function;
        lines[i].line = location->lines[i].line;
    }
    message->n_line = location->line_count;
    message->line = (pb_line **)list;
    return true;
}

static bool fill_locations(const struct view_profile *profile, struct view_arena *arena,
                           pb_profile *message) {
    void *first, **list;
    if (!messages(arena, profile->location_count, sizeof(pb_location), &first, &list))
        return false;
    pb_location *locations = first;
    for (size_t i = 0; i < profile->location_count; i++) {
        perftools__profiles__location__init(&locations[i]);
        locations[i].id = i + 1;
        locations[i].mapping_id = profile->locations[i].mapping;
        locations[i].address = profile->locations[i].address;
        if (!fill_lines(&profile->locations[i], arena, &locations[i]))
            return false;
    }
    message->n_location = profile->location_count;
    message->location = (pb_location **)list;
    return true;
}

static bool fill_functions(const struct view_profile *profile, struct view_arena *arena,
                           pb_profile *message) {
    void *first, **list;
    if (!messages(arena, profile->function_count, sizeof(pb_function), &first, &list))
        return false;
    pb_function *functions = first;
    for (size_t i = 0; i < profile->function_count; i++) {
        perftools__profiles__function__init(&functions[i]);
        functions[i].id = i + 1;
        functions[i].name = profile->functions[i].name;
        functions[i].system_name = profile->functions[i].system_name;
        functions[i].filename = profile->functions[i].filename;
        functions[i].start_line = profile->functions[i].start_line;
    }
    message->n_function = profile->function_count;
    message->function = (pb_function **)list;
    return true;
}

static bool fill_comments(const struct view_profile *profile, struct view_arena *arena,
                          pb_profile *message) {
    int64_t *comments = view_arena_alloc(arena, profile->comment_count, sizeof(*comments));
    if (!comments)
        return false;
    for (size_t i = 0; i < profile->comment_count; i++)
        comments[i] = profile->comments[i];
    message->n_comment = profile->comment_count;
    message->comment = comments;
    return true;
}

static bool fill_period(const struct view_profile *profile, struct view_arena *arena,
                        pb_profile *message) {
    pb_value_type *type = view_arena_alloc(arena, 1, sizeof(*type));
    if (!type)
        return false;
    *type = value_type(&profile->period_type);
    message->period_type = type;
    message->period = profile->period;
    return true;
}

/* All but types and samples. */
static bool fill_rest(const struct view_profile *profile, struct view_arena *arena,
                      pb_profile *message) {
    message->time_nanos = profile->time_ns;
    message->duration_nanos = profile->duration_ns;
    message->default_sample_type = profile->default_type;
    message->n_string_table = profile->string_count;
    message->string_table = (char **)(uintptr_t)profile->strings;
    return fill_mappings(profile, arena, message) && fill_locations(profile, arena, message) &&
           fill_functions(profile, arena, message) && fill_period(profile, arena, message) &&
           fill_comments(profile, arena, message);
}

typedef bool fill_function(const struct view_profile *profile, struct view_arena *arena,
                           pb_profile *message);

/* Appends what `fill` fills in. Failures are noted in the buffer. */
static void append_piece(const struct view_profile *profile, fill_function *fill,
                         struct view_buffer *out) {
    struct view_arena arena = {0};
    pb_profile message = PERFTOOLS__PROFILES__PROFILE__INIT;
    char *room = NULL;
    if (fill(profile, &arena, &message))
        room = view_buffer_room(out, perftools__profiles__profile__get_packed_size(&message));
    else
        out->failed = true;
    if (room)
        out->bytes += perftools__profiles__profile__pack(&message, (uint8_t *)room);
    view_arena_free(&arena);
}

int view_profile_pack(const struct view_profile *profile, struct view_buffer *out) {
    if (profile->failed)
        return -ENOMEM;
    size_t before = out->bytes;
    append_piece(profile, fill_types, out);
    view_append_samples(profile, out);
    append_piece(profile, fill_rest, out);
    if (!out->failed)
        return 0;
    out->bytes = before;
    return -ENOMEM;
}

int view_profile_encode(const struct view_profile *profile, enum view_effort effort,
                        struct view_buffer *out) {
    struct view_buffer plain = {0};
    int error = view_profile_pack(profile, &plain);
    if (!error)
        error = view_gzip(plain.data, plain.bytes, effort, out);
    view_buffer_free(&plain);
    return error;
}
