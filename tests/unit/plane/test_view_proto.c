/* SPDX-License-Identifier: Apache-2.0
 *
 * Profiles on the wire: samples are written by hand, so they are compared byte for byte with what
 * the general packer makes of the same samples.
 */
#include "profile.pb-c.h"
#include "support/seeded.h"
#include "view/gzip.h"
#include "view/profile.h"
#include "view/proto_samples.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define DEPTH_MAX 70
#define SAMPLES 400

typedef Perftools__Profiles__Sample pb_sample;
typedef Perftools__Profiles__Label pb_label;

/* One sample in the packer's terms. */
struct reference {
    pb_sample sample;
    pb_label label[2];
    pb_label *labels[2];
};

static void reference_of(const struct view_profile *profile, const struct view_sample *sample,
                         struct reference *ret_reference) {
    pb_sample *message = &ret_reference->sample;
    perftools__profiles__sample__init(message);
    message->n_location_id = sample->depth;
    message->location_id = (uint64_t *)(uintptr_t)sample->locations;
    message->n_value = profile->type_count;
    message->value = (int64_t *)(uintptr_t)sample->values;
    for (uint32_t i = 0; i < sample->label_count; i++) {
        pb_label *label = ret_reference->labels[i] = &ret_reference->label[i];
        perftools__profiles__label__init(label);
        label->key = sample->labels[i].key;
        label->str = sample->labels[i].text;
        label->num = sample->labels[i].number;
    }
    message->n_label = sample->label_count;
    message->label = ret_reference->labels;
}

/* The samples alone in a Profile, as the general packer writes it. */
static void pack_reference(const struct view_profile *profile, struct view_buffer *out) {
    Perftools__Profiles__Profile message = PERFTOOLS__PROFILES__PROFILE__INIT;
    struct reference *references = calloc(profile->sample_count + 1, sizeof(*references));
    message.sample = calloc(profile->sample_count + 1, sizeof(*message.sample));
    message.n_sample = profile->sample_count;
    for (size_t i = 0; i < profile->sample_count; i++) {
        reference_of(profile, &profile->samples[i], &references[i]);
        message.sample[i] = &references[i].sample;
    }
    char *room = view_buffer_room(out, perftools__profiles__profile__get_packed_size(&message));
    out->bytes += perftools__profiles__profile__pack(&message, (uint8_t *)room);
    free(message.sample);
    free(references);
}

static void assert_same_bytes(const struct view_profile *profile) {
    struct view_buffer ours = {0}, reference = {0};
    view_append_samples(profile, &ours);
    assert_false(profile->failed || ours.failed);
    pack_reference(profile, &reference);
    assert_int_equal(ours.bytes, reference.bytes);
    if (ours.bytes > 0)
        assert_memory_equal(ours.data, reference.data, ours.bytes);
    view_buffer_free(&ours);
    view_buffer_free(&reference);
}

static struct view_profile profile_with(size_t types) {
    struct view_profile profile;
    view_profile_init(&profile);
    for (size_t i = 0; i < types; i++)
        view_profile_add_type(&profile, "space", "bytes");
    return profile;
}

/* All lengths of a varint, from one byte to ten. */
static uint64_t number(uint64_t *seed) {
    return seeded_next(seed) >> seeded_next(seed) % 64;
}

static void add_random(struct view_profile *profile, uint64_t *seed) {
    uint64_t ids[DEPTH_MAX];
    struct view_sample sample = {.locations = ids,
                                 .depth = (uint32_t)(seeded_next(seed) % DEPTH_MAX),
                                 .label_count = (uint32_t)(seeded_next(seed) % 3)};
    for (uint32_t i = 0; i < sample.depth; i++)
        ids[i] = number(seed);
    for (size_t i = 0; i < VIEW_PROFILE_VALUES_MAX; i++)
        sample.values[i] = (int64_t)(seeded_next(seed) % 2 ? number(seed) : ~number(seed));
    for (uint32_t i = 0; i < sample.label_count; i++)
        sample.labels[i] = (struct view_label){(uint32_t)number(seed), (uint32_t)(number(seed) % 3),
                                               seeded_next(seed) % 2 ? 0 : (int64_t)number(seed)};
    view_profile_add_sample(profile, &sample);
}

static void test_random(void **state) {
    (void)state;
    uint64_t seed = seeded_start(7);
    for (size_t types = 0; types <= VIEW_PROFILE_VALUES_MAX; types++) {
        struct view_profile profile = profile_with(types);
        for (int i = 0; i < SAMPLES; i++)
            add_random(&profile, &seed);
        assert_same_bytes(&profile);
        view_profile_free(&profile);
    }
}

static void test_extremes(void **state) {
    (void)state;
    const uint64_t ids[] = {0, 1, 127, 128, UINT32_MAX, UINT64_MAX};
    const struct view_sample samples[] = {
        {.locations = ids, .depth = 0},
        {.locations = ids, .depth = 6, .values = {INT64_MIN, INT64_MAX, -1, 0}},
        {.locations = ids, .depth = 1, .label_count = 2, .labels = {{0}, {1, 2, INT64_MIN}}},
    };
    for (size_t types = 0; types <= VIEW_PROFILE_VALUES_MAX; types++) {
        struct view_profile profile = profile_with(types);
        assert_same_bytes(&profile);
        for (size_t i = 0; i < sizeof(samples) / sizeof(samples[0]); i++)
            view_profile_add_sample(&profile, &samples[i]);
        assert_same_bytes(&profile);
        view_profile_free(&profile);
    }
}

/* What is expected is only a guess: a profile behind other content, far beyond it. */
static void test_beyond_the_guess(void **state) {
    (void)state;
    uint64_t ids[DEPTH_MAX];
    memset(ids, 0xff, sizeof(ids));
    const struct view_sample sample = {.locations = ids, .depth = DEPTH_MAX, .values = {-1, -1}};
    struct view_profile profile = profile_with(2);
    struct view_buffer out = {0}, reference = {0};
    for (int i = 0; i < SAMPLES; i++)
        view_profile_add_sample(&profile, &sample);
    view_buffer_text(&out, "before");
    view_append_samples(&profile, &out);
    pack_reference(&profile, &reference);
    assert_int_equal(out.bytes, 6 + reference.bytes);
    assert_memory_equal(out.data, "before", 6);
    assert_memory_equal(out.data + 6, reference.data, reference.bytes);
    view_buffer_free(&out);
    view_buffer_free(&reference);
    view_profile_free(&profile);
}

/* The pieces are one message, in the order that one packer would have written. */
static void test_whole(void **state) {
    (void)state;
    uint64_t seed = seeded_start(7);
    struct view_profile profile = profile_with(VIEW_PROFILE_VALUES_MAX);
    struct view_buffer out = {0};
    view_profile_set_period(&profile, "space", "bytes", 524288);
    view_profile_add_comment(&profile, "a comment");
    for (int i = 0; i < SAMPLES; i++)
        add_random(&profile, &seed);
    assert_int_equal(view_profile_pack(&profile, &out), 0);
    Perftools__Profiles__Profile *message =
        perftools__profiles__profile__unpack(NULL, out.bytes, (uint8_t *)out.data);
    assert_non_null(message);
    assert_int_equal(message->n_sample_type, VIEW_PROFILE_VALUES_MAX);
    assert_int_equal(message->n_sample, SAMPLES);
    assert_int_equal(message->period, 524288);
    assert_int_equal(message->n_comment, 1);
    char *again = malloc(out.bytes);
    assert_int_equal(perftools__profiles__profile__pack(message, (uint8_t *)again), out.bytes);
    assert_memory_equal(again, out.data, out.bytes);
    free(again);
    perftools__profiles__profile__free_unpacked(message, NULL);
    view_buffer_free(&out);
    view_profile_free(&profile);
}

/* ---- reading what may be an enemy's ---- */

typedef Perftools__Profiles__Profile pb_profile;
typedef Perftools__Profiles__ValueType pb_value_type;
typedef Perftools__Profiles__Location pb_location;
typedef Perftools__Profiles__Line pb_line;
typedef Perftools__Profiles__Function pb_function;
typedef Perftools__Profiles__Mapping pb_mapping;

static int read_message(const pb_profile *message) {
    struct view_profile profile;
    struct view_buffer plain = {0}, packed = {0};
    char *room = view_buffer_room(&plain, perftools__profiles__profile__get_packed_size(message));
    plain.bytes += perftools__profiles__profile__pack(message, (uint8_t *)room);
    assert_int_equal(view_gzip(plain.data, plain.bytes, VIEW_EFFORT_SPEED, &packed), 0);
    int error = view_profile_read(packed.data, packed.bytes, &profile);
    if (error == 0)
        view_profile_free(&profile);
    view_buffer_free(&plain);
    view_buffer_free(&packed);
    return error;
}

#define MANY 300

/* Two of each, and one sample of one value. */
struct message {
    pb_profile profile;
    pb_value_type type;
    pb_value_type *types[VIEW_PROFILE_VALUES_MAX + 1];
    pb_function function[2], *functions[2];
    pb_mapping mapping[2], *mappings[2];
    pb_line line, *lines[MANY];
    pb_location location[2], *locations[2];
    pb_sample sample, *samples[1];
    uint64_t ids[2];
    int64_t value;
    char *strings[1];
};

static void message_init(struct message *m) {
    static char nothing[] = "";
    perftools__profiles__profile__init(&m->profile);
    perftools__profiles__value_type__init(&m->type);
    perftools__profiles__line__init(&m->line);
    perftools__profiles__sample__init(&m->sample);
    m->line.function_id = 1;
    m->value = 1;
    m->strings[0] = nothing;
    for (size_t i = 0; i <= VIEW_PROFILE_VALUES_MAX; i++)
        m->types[i] = &m->type;
    for (size_t i = 0; i < MANY; i++)
        m->lines[i] = &m->line;
    for (size_t i = 0; i < 2; i++) {
        perftools__profiles__function__init(m->functions[i] = &m->function[i]);
        perftools__profiles__mapping__init(m->mappings[i] = &m->mapping[i]);
        perftools__profiles__location__init(m->locations[i] = &m->location[i]);
        m->function[i].id = m->mapping[i].id = m->location[i].id = m->ids[i] = i + 1;
        m->location[i].mapping_id = i + 1;
        m->location[i].line = m->lines;
        m->location[i].n_line = 1;
    }
    m->samples[0] = &m->sample;
    m->sample.location_id = m->ids;
    m->sample.n_location_id = 2;
    m->sample.value = &m->value;
    m->sample.n_value = 1;
    pb_profile *profile = &m->profile;
    profile->sample_type = m->types;
    profile->function = m->functions;
    profile->mapping = m->mappings;
    profile->location = m->locations;
    profile->sample = m->samples;
    profile->string_table = m->strings;
    profile->n_sample_type = profile->n_sample = profile->n_string_table = 1;
    profile->n_function = profile->n_mapping = profile->n_location = 2;
}

static void test_read_bounds(void **state) {
    (void)state;
    static struct message m;
    message_init(&m);
    assert_int_equal(read_message(&m.profile), 0);
    m.profile.n_sample_type = VIEW_PROFILE_VALUES_MAX + 1;
    assert_int_equal(read_message(&m.profile), -EBADMSG);
    message_init(&m);
    m.location[0].n_line = 256;
    assert_int_equal(read_message(&m.profile), 0);
    m.location[0].n_line = MANY;
    assert_int_equal(read_message(&m.profile), -EBADMSG);
}

/* References to nothing are none; one number for two things makes the whole worthless. */
static void test_read_ids(void **state) {
    (void)state;
    static struct message m;
    message_init(&m);
    m.location[0].mapping_id = 1ull << 40;
    m.line.function_id = UINT64_MAX;
    m.ids[1] = 1ull << 50;
    assert_int_equal(read_message(&m.profile), 0);
    message_init(&m);
    m.function[1].id = 1;
    assert_int_equal(read_message(&m.profile), -EBADMSG);
    message_init(&m);
    m.mapping[1].id = 1;
    assert_int_equal(read_message(&m.profile), -EBADMSG);
    message_init(&m);
    m.location[1].id = 1;
    assert_int_equal(read_message(&m.profile), -EBADMSG);
    m.location[1].id = 1ull << 40;
    assert_int_equal(read_message(&m.profile), -EBADMSG);
}

/* Comments beyond the bound are left out; functions of one name in two files are two. */
static void test_what_is_noted(void **state) {
    (void)state;
    struct view_profile profile = profile_with(1);
    char text[16];
    for (int i = 0; i < VIEW_PROFILE_COMMENTS_MAX + 2; i++) {
        snprintf(text, sizeof(text), "comment %d", i);
        view_profile_add_comment(&profile, text);
    }
    assert_int_equal(profile.comment_count, VIEW_PROFILE_COMMENTS_MAX);
    struct view_function function = {.name = view_profile_string(&profile, "helper"),
                                     .system_name = view_profile_string(&profile, "helper"),
                                     .filename = view_profile_string(&profile, "a.c"),
                                     .start_line = 3};
    uint32_t first = view_profile_function(&profile, &function);
    assert_int_equal(view_profile_function(&profile, &function), first);
    function.filename = view_profile_string(&profile, "b.c");
    assert_int_not_equal(view_profile_function(&profile, &function), first);
    view_profile_free(&profile);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random),           cmocka_unit_test(test_extremes),
        cmocka_unit_test(test_beyond_the_guess), cmocka_unit_test(test_whole),
        cmocka_unit_test(test_read_bounds),      cmocka_unit_test(test_read_ids),
        cmocka_unit_test(test_what_is_noted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
