/* SPDX-License-Identifier: Apache-2.0
 *
 * The decoder: one pass for the string table, one for everything else, one that checks
 * references. Field numbers are written out here on purpose, as in the format's description.
 */
#include "support/pprof_wire.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct wire {
    const uint8_t *at, *end;
};

struct field {
    unsigned number, type;
    uint64_t value;    /* varint */
    struct wire bytes; /* length delimited */
};

static void require(bool condition, const char *what) {
    if (condition)
        return;
    fprintf(stderr, "pprof_wire: %s\n", what);
    abort();
}

static uint64_t varint(struct wire *wire) {
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        require(wire->at < wire->end, "a number is cut off");
        uint8_t byte = *wire->at++;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80))
            return value;
    }
    require(false, "a number is too long");
    return 0;
}

static bool next_field(struct wire *wire, struct field *field) {
    if (wire->at == wire->end)
        return false;
    uint64_t key = varint(wire);
    *field = (struct field){.number = (unsigned)(key >> 3), .type = key & 7};
    require(field->number != 0 && (field->type == 0 || field->type == 2), "an odd field");
    field->value = varint(wire);
    if (field->type == 2) {
        require(field->value <= (uint64_t)(wire->end - wire->at), "a field is cut off");
        field->bytes = (struct wire){wire->at, wire->at + field->value};
        wire->at += field->value;
    }
    return true;
}

static const char *text(const struct pprof *profile, uint64_t index) {
    require(index < profile->string_count, "a string index is out of range");
    return profile->strings[index];
}

/* Calls `add` for each element of a repeated number, packed or not. */
static void each_number(const struct field *field, void *context,
                        void (*add)(void *context, uint64_t value)) {
    struct wire wire = field->bytes;
    if (field->type == 0)
        add(context, field->value);
    else
        while (wire.at < wire.end)
            add(context, varint(&wire));
}

/* Room for one more; moves only when the count is a power of two. */
static void *grown(void *items, size_t count, size_t item_bytes) {
    if ((count & (count - 1)) != 0)
        return items;
    void *larger = reallocarray(items, count > 0 ? count * 2 : 1, item_bytes);
    require(larger != NULL, "no memory");
    return larger;
}

static void decode_strings(struct pprof *profile, struct wire wire) {
    struct field field;
    while (next_field(&wire, &field)) {
        if (field.number != 6)
            continue;
        size_t bytes = (size_t)(field.bytes.end - field.bytes.at);
        profile->strings = grown(profile->strings, profile->string_count, sizeof(char *));
        profile->strings[profile->string_count++] = strndup((const char *)field.bytes.at, bytes);
    }
    require(profile->string_count > 0 && profile->strings[0][0] == 0, "string 0 is not empty");
}

static void decode_type(const struct pprof *profile, struct wire wire, const char **ret_type,
                        const char **ret_unit) {
    struct field field;
    *ret_type = *ret_unit = "";
    while (next_field(&wire, &field)) {
        if (field.number == 1)
            *ret_type = text(profile, field.value);
        else if (field.number == 2)
            *ret_unit = text(profile, field.value);
    }
}

static void decode_label(const struct pprof *profile, struct wire wire, struct pprof_label *label) {
    struct field field;
    *label = (struct pprof_label){"", "", 0};
    while (next_field(&wire, &field)) {
        if (field.number == 1)
            label->key = text(profile, field.value);
        else if (field.number == 2)
            label->text = text(profile, field.value);
        else if (field.number == 3)
            label->number = (int64_t)field.value;
    }
}

static void add_location_id(void *context, uint64_t value) {
    struct pprof_sample *sample = context;
    require(sample->depth < 256, "too deep");
    sample->locations[sample->depth++] = value;
}

static void add_value(void *context, uint64_t value) {
    struct pprof_sample *sample = context;
    require(sample->value_count < 8, "too many values");
    sample->values[sample->value_count++] = (int64_t)value;
}

static void decode_sample(struct pprof *profile, struct wire wire) {
    struct field field;
    profile->samples = grown(profile->samples, profile->sample_count, sizeof(*profile->samples));
    struct pprof_sample *sample = &profile->samples[profile->sample_count++];
    memset(sample, 0, sizeof(*sample));
    while (next_field(&wire, &field)) {
        if (field.number == 1)
            each_number(&field, sample, add_location_id);
        else if (field.number == 2)
            each_number(&field, sample, add_value);
        else if (field.number == 3 && sample->label_count < 4)
            decode_label(profile, field.bytes, &sample->labels[sample->label_count++]);
    }
}

static void decode_mapping(struct pprof *profile, struct wire wire) {
    struct field field;
    profile->mappings =
        grown(profile->mappings, profile->mapping_count, sizeof(*profile->mappings));
    struct pprof_mapping *mapping = &profile->mappings[profile->mapping_count++];
    *mapping = (struct pprof_mapping){.filename = "", .build_id = ""};
    while (next_field(&wire, &field)) {
        switch (field.number) {
        case 1:
            mapping->id = field.value;
            break;
        case 2:
            mapping->start = field.value;
            break;
        case 3:
            mapping->limit = field.value;
            break;
        case 4:
            mapping->offset = field.value;
            break;
        case 5:
            mapping->filename = text(profile, field.value);
            break;
        case 6:
            mapping->build_id = text(profile, field.value);
            break;
        case 7:
            mapping->has_functions = field.value;
            break;
        case 8:
            mapping->has_filenames = field.value;
            break;
        case 9:
            mapping->has_line_numbers = field.value;
            break;
        case 10:
            mapping->has_inline_frames = field.value;
            break;
        default:
            require(false, "an unknown field of Mapping");
        }
    }
}

static void decode_line(struct wire wire, struct pprof_line *line) {
    struct field field;
    *line = (struct pprof_line){0, 0};
    while (next_field(&wire, &field)) {
        if (field.number == 1)
            line->function = field.value;
        else if (field.number == 2)
            line->line = (int64_t)field.value;
    }
}

static void decode_location(struct pprof *profile, struct wire wire) {
    struct field field;
    profile->locations =
        grown(profile->locations, profile->location_count, sizeof(*profile->locations));
    struct pprof_location *location = &profile->locations[profile->location_count++];
    memset(location, 0, sizeof(*location));
    while (next_field(&wire, &field)) {
        if (field.number == 1)
            location->id = field.value;
        else if (field.number == 2)
            location->mapping = field.value;
        else if (field.number == 3)
            location->address = field.value;
        else if (field.number == 4 && location->line_count < 80)
            decode_line(field.bytes, &location->lines[location->line_count++]);
    }
}

static void decode_function(struct pprof *profile, struct wire wire) {
    struct field field;
    profile->functions =
        grown(profile->functions, profile->function_count, sizeof(*profile->functions));
    struct pprof_function *function = &profile->functions[profile->function_count++];
    *function = (struct pprof_function){0, "", "", ""};
    while (next_field(&wire, &field)) {
        if (field.number == 1)
            function->id = field.value;
        else if (field.number == 2)
            function->name = text(profile, field.value);
        else if (field.number == 3)
            function->system_name = text(profile, field.value);
        else if (field.number == 4)
            function->filename = text(profile, field.value);
    }
}

static void add_comment(void *context, uint64_t value) {
    struct pprof *profile = context;
    require(profile->comment_count < 8, "too many comments");
    profile->comments[profile->comment_count++] = text(profile, value);
}

static void decode_field(struct pprof *profile, const struct field *field) {
    switch (field->number) {
    case 1:
        require(profile->type_count < 8, "too many types");
        decode_type(profile, field->bytes, &profile->types[profile->type_count].type,
                    &profile->types[profile->type_count].unit);
        profile->type_count++;
        break;
    case 2:
        decode_sample(profile, field->bytes);
        break;
    case 3:
        decode_mapping(profile, field->bytes);
        break;
    case 4:
        decode_location(profile, field->bytes);
        break;
    case 5:
        decode_function(profile, field->bytes);
        break;
    case 6:
        break;
    case 9:
        profile->time_ns = (int64_t)field->value;
        break;
    case 10:
        profile->duration_ns = (int64_t)field->value;
        break;
    case 11:
        decode_type(profile, field->bytes, &profile->period_type.type, &profile->period_type.unit);
        break;
    case 12:
        profile->period = (int64_t)field->value;
        break;
    case 13:
        each_number(field, profile, add_comment);
        break;
    case 14:
        profile->default_type = text(profile, field->value);
        break;
    default:
        require(false, "an unknown field of Profile");
    }
}

const struct pprof_location *pprof_location(const struct pprof *profile, uint64_t id) {
    if (id >= 1 && id <= profile->location_count && profile->locations[id - 1].id == id)
        return &profile->locations[id - 1]; /* the usual numbering; the search would be quadratic */
    for (size_t i = 0; i < profile->location_count; i++) {
        if (profile->locations[i].id == id)
            return &profile->locations[i];
    }
    return NULL;
}

const struct pprof_function *pprof_function(const struct pprof *profile, uint64_t id) {
    if (id >= 1 && id <= profile->function_count && profile->functions[id - 1].id == id)
        return &profile->functions[id - 1]; /* the usual numbering; the search would be quadratic */
    for (size_t i = 0; i < profile->function_count; i++) {
        if (profile->functions[i].id == id)
            return &profile->functions[i];
    }
    return NULL;
}

const char *pprof_name(const struct pprof *profile, const struct pprof_sample *sample, size_t frame,
                       size_t line) {
    require(frame < sample->depth, "no such frame");
    const struct pprof_location *location = pprof_location(profile, sample->locations[frame]);
    require(line < location->line_count, "no such line");
    return pprof_function(profile, location->lines[line].function)->name;
}

static void check_ids(const struct pprof *profile) {
    for (size_t i = 0; i < profile->location_count; i++) {
        const struct pprof_location *location = &profile->locations[i];
        require(location->id != 0 && pprof_location(profile, location->id) == location,
                "a location's id is not its own");
        require(location->mapping <= profile->mapping_count, "a mapping id does not resolve");
        for (size_t k = 0; k < location->line_count; k++)
            require(pprof_function(profile, location->lines[k].function) != NULL,
                    "a function id does not resolve");
    }
    for (size_t i = 0; i < profile->function_count; i++)
        require(profile->functions[i].id != 0 &&
                    pprof_function(profile, profile->functions[i].id) == &profile->functions[i],
                "a function's id is not its own");
    for (size_t i = 0; i < profile->mapping_count; i++)
        require(profile->mappings[i].id == i + 1, "a mapping's id is not its place");
}

static void check_samples(const struct pprof *profile) {
    for (size_t i = 0; i < profile->sample_count; i++) {
        const struct pprof_sample *sample = &profile->samples[i];
        require(sample->value_count == profile->type_count, "not one value per type");
        for (size_t k = 0; k < sample->depth; k++)
            require(pprof_location(profile, sample->locations[k]) != NULL,
                    "a location id does not resolve");
    }
}

struct pprof *pprof_decode(const void *data, size_t bytes) {
    struct pprof *profile = calloc(1, sizeof(*profile));
    struct wire wire = {data, (const uint8_t *)data + bytes};
    struct field field;
    require(profile != NULL, "out of memory");
    profile->default_type = "";
    decode_strings(profile, wire);
    while (next_field(&wire, &field))
        decode_field(profile, &field);
    check_ids(profile);
    check_samples(profile);
    return profile;
}

void pprof_free(struct pprof *profile) {
    for (size_t i = 0; i < profile->string_count; i++)
        free((char *)(uintptr_t)profile->strings[i]);
    free(profile->strings);
    free(profile->samples);
    free(profile->mappings);
    free(profile->locations);
    free(profile->functions);
    free(profile);
}
