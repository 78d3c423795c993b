/* SPDX-License-Identifier: Apache-2.0
 *
 * Samples on the wire: by hand, since a profile may have tens of thousands and a scrape takes CPU
 * time from the program that it looks at. The general packer measures each message once for itself
 * and once for each message around it, and wants all of them in memory first.
 *
 * A field is its key (number * 8 + type), then a varint (type 0), or a length and so many bytes
 * (type 2). A varint has seven bits a byte, the lowest first; all but the last byte have the
 * highest bit set. What is zero or empty is left out, but not inside a list.
 *
 *     Profile.sample = 2    Sample: location_id = 1, value = 2, label = 3    Label: key = 1,
 *     str = 2, num = 3
 *
 * Each sample is measured first, so that its length can be written before it, then written into
 * room that is just as large.
 */
#include "view/proto_samples.h"

#include <string.h>

enum wire_type { WIRE_VARINT = 0, WIRE_BYTES = 2 };
#define KEY(number, type) ((unsigned char)((number)*8 + (type)))

#define EXPECTED_SAMPLE_BYTES 40u /* four values, a label, the heads */
#define EXPECTED_ID_BYTES 2u

/* ------------------------------------------------------------------------------- measuring */

static size_t varint_bytes(uint64_t value) {
    return (70u - (unsigned)__builtin_clzll(value | 1)) / 7;
}

static size_t list_bytes(const uint64_t *values, size_t count) {
    size_t bytes = 0;
    for (size_t i = 0; i < count; i++)
        bytes += varint_bytes(values[i]);
    return bytes;
}

/* Of a field with `inside` bytes. */
static size_t block_bytes(size_t inside) {
    return 1 + varint_bytes(inside) + inside;
}

static size_t number_bytes(uint64_t value) {
    return value ? 1 + varint_bytes(value) : 0;
}

static size_t label_bytes(const struct view_label *label) {
    return number_bytes(label->key) + number_bytes(label->text) +
           number_bytes((uint64_t)label->number);
}

/* The lengths that stand before a sample and its lists. */
struct lengths {
    size_t locations, values, sample;
};

static struct lengths measure(const struct view_sample *sample, const uint64_t *values,
                              size_t value_count) {
    struct lengths is = {.locations = list_bytes(sample->locations, sample->depth),
                         .values = list_bytes(values, value_count)};
    is.sample =
        (is.locations ? block_bytes(is.locations) : 0) + (is.values ? block_bytes(is.values) : 0);
    for (uint32_t i = 0; i < sample->label_count; i++)
        is.sample += block_bytes(label_bytes(&sample->labels[i]));
    return is;
}

/* --------------------------------------------------------------------------------- writing */

static unsigned char *put_varint(unsigned char *at, uint64_t value) {
    for (; value >= 0x80; value >>= 7)
        *at++ = (unsigned char)(value | 0x80);
    *at++ = (unsigned char)value;
    return at;
}

static unsigned char *put_head(unsigned char *at, unsigned char key, size_t inside) {
    *at++ = key;
    return put_varint(at, inside);
}

static unsigned char *put_list(unsigned char *at, unsigned number, const uint64_t *values,
                               size_t count, size_t bytes) {
    if (count == 0)
        return at;
    at = put_head(at, KEY(number, WIRE_BYTES), bytes);
    for (size_t i = 0; i < count; i++)
        at = put_varint(at, values[i]);
    return at;
}

static unsigned char *put_number(unsigned char *at, unsigned number, uint64_t value) {
    if (value == 0)
        return at;
    *at++ = KEY(number, WIRE_VARINT);
    return put_varint(at, value);
}

static unsigned char *put_label(unsigned char *at, const struct view_label *label) {
    at = put_head(at, KEY(3, WIRE_BYTES), label_bytes(label));
    at = put_number(at, 1, label->key);
    at = put_number(at, 2, label->text);
    return put_number(at, 3, (uint64_t)label->number);
}

static bool append(const struct view_sample *sample, size_t value_count, struct view_buffer *out) {
    uint64_t values[VIEW_PROFILE_VALUES_MAX];
    memcpy(values, sample->values, sizeof(values));
    const struct lengths is = measure(sample, values, value_count);
    unsigned char *at = (unsigned char *)view_buffer_room(out, block_bytes(is.sample));
    if (!at)
        return false;
    at = put_head(at, KEY(2, WIRE_BYTES), is.sample);
    at = put_list(at, 1, sample->locations, sample->depth, is.locations);
    at = put_list(at, 2, values, value_count, is.values);
    for (uint32_t i = 0; i < sample->label_count; i++)
        at = put_label(at, &sample->labels[i]);
    out->bytes = (size_t)((char *)at - out->data);
    return true;
}

/* What they take, about: a buffer that grows is copied, or its pages are moved. */
static size_t expected_bytes(const struct view_profile *profile) {
    size_t bytes = 0;
    for (size_t i = 0; i < profile->sample_count; i++)
        bytes += EXPECTED_SAMPLE_BYTES + EXPECTED_ID_BYTES * profile->samples[i].depth;
    return bytes;
}

void view_append_samples(const struct view_profile *profile, struct view_buffer *out) {
    view_buffer_room(out, expected_bytes(profile));
    for (size_t i = 0; i < profile->sample_count; i++)
        if (!append(&profile->samples[i], profile->type_count, out))
            return;
}
