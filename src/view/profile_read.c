/* SPDX-License-Identifier: Apache-2.0
 *
 * A profile from bytes: inflated, unpacked by protobuf-c, checked, and copied into the profile in
 * memory. The bytes may be an enemy's.
 *
 * BOUNDS. Inflating stops at VIEW_PROFILE_READ_MAX_BYTES. Two bytes of a packed message become a
 * hundred in memory, so unpacking allocates from an arena that refuses to grow beyond
 * UNPACKED_MAX_BYTES. Ids are used as indexes, not hashed: a crafted set of ids could make any hash
 * table of ours slow. They must lie densely, as every writer makes them.
 *
 * Strings, functions, locations and mappings keep the order they had, so numbers stay valid.
 * References to nothing become 0 (no string, no function, no mapping); a location that does not
 * exist is left out of its sample's stack; a sample with another number of values than there are
 * types, or with a stack deeper than DEPTH_MAX, makes the whole profile worthless.
 */
#include "profile.pb-c.h"
#include "view/profile.h"

#include <errno.h>
#include <string.h>

typedef Perftools__Profiles__Profile pb_profile;
typedef Perftools__Profiles__Sample pb_sample;
typedef Perftools__Profiles__Label pb_label;
typedef Perftools__Profiles__Location pb_location;

#define UNPACKED_MAX_BYTES (512u << 20)
#define DEPTH_MAX 4096u
#define LINES_MAX 256u

/* ---- unpacking */

static void *bounded_alloc(void *data, size_t bytes) {
    struct view_arena *arena = data;
    if (bytes > UNPACKED_MAX_BYTES || arena->total_bytes > UNPACKED_MAX_BYTES - bytes)
        return NULL;
    return view_arena_alloc(arena, 1, bytes);
}

static void no_free(void *data, void *pointer) {
    (void)data;
    (void)pointer;
}

/* ---- numbers by id */

struct ids {
    uint32_t *number; /* by id; 0 none */
    size_t count;
};

static bool ids_init(struct ids *ids, struct view_arena *arena, size_t items) {
    ids->count = 4 * items + 1024;
    ids->number = view_arena_alloc(arena, ids->count, sizeof(*ids->number));
    return ids->number != NULL;
}

static bool ids_set(struct ids *ids, uint64_t id, size_t number) {
    if (id == 0 || id >= ids->count || ids->number[id] != 0)
        return false;
    ids->number[id] = (uint32_t)number;
    return true;
}

static uint32_t ids_get(const struct ids *ids, uint64_t id) {
    return id < ids->count ? ids->number[id] : 0;
}

/* ---- copying */

struct reading {
    const pb_profile *message;
    struct view_profile *profile;
    struct view_arena arena; /* the message and the tables of ids */
    struct ids functions, mappings, locations;
};

static uint32_t string_number(const struct reading *reading, int64_t number) {
    return number > 0 && (uint64_t)number < reading->profile->string_count ? (uint32_t)number : 0;
}

static int64_t not_negative(int64_t value) {
    return value > 0 ? value : 0;
}

/* The first string is there already: it is "" in every profile. */
static int copy_strings(struct reading *reading) {
    const pb_profile *message = reading->message;
    struct view_profile *profile = reading->profile;
    for (size_t i = 1; i < message->n_string_table; i++) {
        const char **strings = view_array_grow(profile->strings, profile->string_count,
                                               &profile->string_capacity, sizeof(*strings));
        if (!strings)
            return -ENOMEM;
        profile->strings = strings;
        const char *text = message->string_table[i];
        strings[i] = view_arena_text(&profile->arena, text, strlen(text));
        if (!strings[i])
            return -ENOMEM;
        profile->string_count++;
    }
    return 0;
}

static int copy_types(struct reading *reading) {
    const pb_profile *message = reading->message;
    struct view_profile *profile = reading->profile;
    if (message->n_sample_type == 0 || message->n_sample_type > VIEW_PROFILE_VALUES_MAX)
        return -EBADMSG;
    for (size_t i = 0; i < message->n_sample_type; i++)
        profile->types[profile->type_count++] =
            (struct view_value_type){string_number(reading, message->sample_type[i]->type),
                                     string_number(reading, message->sample_type[i]->unit)};
    if (message->period_type)
        profile->period_type =
            (struct view_value_type){string_number(reading, message->period_type->type),
                                     string_number(reading, message->period_type->unit)};
    profile->period = not_negative(message->period);
    profile->time_ns = not_negative(message->time_nanos);
    profile->duration_ns = not_negative(message->duration_nanos);
    profile->default_type = string_number(reading, message->default_sample_type);
    for (size_t i = 0; i < message->n_comment && i < VIEW_PROFILE_COMMENTS_MAX; i++)
        profile->comments[profile->comment_count++] = string_number(reading, message->comment[i]);
    return 0;
}

static int copy_functions(struct reading *reading) {
    const pb_profile *message = reading->message;
    struct view_profile *profile = reading->profile;
    if (!ids_init(&reading->functions, &reading->arena, message->n_function))
        return -ENOMEM;
    for (size_t i = 0; i < message->n_function; i++) {
        const Perftools__Profiles__Function *function = message->function[i];
        struct view_function *functions =
            view_array_grow(profile->functions, profile->function_count,
                            &profile->function_capacity, sizeof(*functions));
        if (!functions)
            return -ENOMEM;
        profile->functions = functions;
        functions[profile->function_count++] = (struct view_function){
            string_number(reading, function->name), string_number(reading, function->system_name),
            string_number(reading, function->filename), not_negative(function->start_line)};
        if (!ids_set(&reading->functions, function->id, profile->function_count))
            return -EBADMSG;
    }
    return 0;
}

static int copy_mappings(struct reading *reading) {
    const pb_profile *message = reading->message;
    if (!ids_init(&reading->mappings, &reading->arena, message->n_mapping))
        return -ENOMEM;
    for (size_t i = 0; i < message->n_mapping; i++) {
        const Perftools__Profiles__Mapping *from = message->mapping[i];
        struct view_mapping mapping = {.start = from->memory_start,
                                       .limit = from->memory_limit,
                                       .file_offset = from->file_offset,
                                       .filename = string_number(reading, from->filename),
                                       .build_id = string_number(reading, from->build_id),
                                       .has_functions = from->has_functions,
                                       .has_filenames = from->has_filenames,
                                       .has_line_numbers = from->has_line_numbers,
                                       .has_inline_frames = from->has_inline_frames};
        uint32_t number = view_profile_add_mapping(reading->profile, &mapping);
        if (number == 0)
            return -ENOMEM;
        if (!ids_set(&reading->mappings, from->id, number))
            return -EBADMSG;
    }
    return 0;
}

static int copy_location(struct reading *reading, const pb_location *from) {
    struct view_line lines[LINES_MAX];
    struct view_location location = {.address = from->address,
                                     .mapping = ids_get(&reading->mappings, from->mapping_id),
                                     .lines = lines};
    if (from->n_line > LINES_MAX)
        return -EBADMSG;
    for (size_t i = 0; i < from->n_line; i++)
        lines[location.line_count++] =
            (struct view_line){ids_get(&reading->functions, from->line[i]->function_id),
                               not_negative(from->line[i]->line)};
    uint32_t number = view_profile_add_location(reading->profile, &location);
    if (number == 0)
        return -ENOMEM;
    return ids_set(&reading->locations, from->id, number) ? 0 : -EBADMSG;
}

static int copy_locations(struct reading *reading) {
    const pb_profile *message = reading->message;
    int error = ids_init(&reading->locations, &reading->arena, message->n_location) ? 0 : -ENOMEM;
    for (size_t i = 0; !error && i < message->n_location; i++)
        error = copy_location(reading, message->location[i]);
    return error;
}

static void copy_labels(const struct reading *reading, const pb_sample *from,
                        struct view_sample *sample) {
    const size_t most = sizeof(sample->labels) / sizeof(sample->labels[0]);
    for (size_t i = 0; i < from->n_label && sample->label_count < most; i++) {
        const pb_label *label = from->label[i];
        sample->labels[sample->label_count++] = (struct view_label){
            string_number(reading, label->key), string_number(reading, label->str), label->num};
    }
}

static int copy_sample(struct reading *reading, const pb_sample *from) {
    uint64_t locations[DEPTH_MAX];
    struct view_sample sample = {.locations = locations};
    if (from->n_value != reading->profile->type_count || from->n_location_id > DEPTH_MAX)
        return -EBADMSG;
    for (size_t i = 0; i < from->n_location_id; i++) {
        uint32_t number = ids_get(&reading->locations, from->location_id[i]);
        if (number != 0)
            locations[sample.depth++] = number;
    }
    memcpy(sample.values, from->value, from->n_value * sizeof(*from->value));
    copy_labels(reading, from, &sample);
    view_profile_add_sample(reading->profile, &sample);
    return reading->profile->failed ? -ENOMEM : 0;
}

static int copy_samples(struct reading *reading) {
    int error = 0;
    for (size_t i = 0; !error && i < reading->message->n_sample; i++)
        error = copy_sample(reading, reading->message->sample[i]);
    return error;
}

static int copy_all(struct reading *reading) {
    static int (*const steps[])(struct reading *) = {copy_strings,  copy_types,     copy_functions,
                                                     copy_mappings, copy_locations, copy_samples};
    int error = reading->profile->failed ? -ENOMEM : 0;
    for (size_t i = 0; !error && i < sizeof(steps) / sizeof(steps[0]); i++)
        error = steps[i](reading);
    return error;
}

static int unpack(const struct view_buffer *packed, struct view_profile *ret_profile) {
    struct reading reading = {.profile = ret_profile};
    ProtobufCAllocator allocator = {bounded_alloc, no_free, &reading.arena};
    reading.message = perftools__profiles__profile__unpack(&allocator, packed->bytes,
                                                           (const uint8_t *)packed->data);
    int error = -EBADMSG;
    if (reading.message) {
        view_profile_init(ret_profile);
        error = copy_all(&reading);
        if (error)
            view_profile_free(ret_profile);
    }
    view_arena_free(&reading.arena);
    return error;
}

int view_profile_read(const void *data, size_t bytes, struct view_profile *ret_profile) {
    struct view_buffer packed = {0};
    int error = view_gunzip(data, bytes, VIEW_PROFILE_READ_MAX_BYTES, &packed);
    if (!error)
        error = packed.bytes > 0 ? unpack(&packed, ret_profile) : -EBADMSG;
    view_buffer_free(&packed);
    return error;
}
