/* SPDX-License-Identifier: Apache-2.0
 *
 * The compact form of a heap profile. Samples of one stack and size are summed, whatever kind of
 * memory they were of; sums saturate, because the profile may be an enemy's.
 */
#include "view/profile_json.h"

#include "view/heap.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const value_names[HEAP_VALUES] = {
    [HEAP_ALLOC_OBJECTS] = "alloc_objects",
    [HEAP_ALLOC_SPACE] = "alloc_space",
    [HEAP_INUSE_OBJECTS] = "inuse_objects",
    [HEAP_INUSE_SPACE] = "inuse_space",
};

struct sum {
    uint32_t stack;
    int64_t size_bytes;
    int64_t values[HEAP_VALUES];
};

struct sums {
    struct sum *items;
    size_t count, capacity;
    struct view_table table;
};

/* Which of the profile's values is which of ours. */
static int find_columns(const struct view_profile *profile, size_t ret_column[HEAP_VALUES]) {
    for (int value = 0; value < HEAP_VALUES; value++) {
        size_t column = 0;
        while (column < profile->type_count &&
               strcmp(profile->strings[profile->types[column].type], value_names[value]) != 0)
            column++;
        if (column == profile->type_count)
            return -EBADMSG;
        ret_column[value] = column;
    }
    return 0;
}

static int64_t size_of(const struct view_profile *profile, const struct view_sample *sample) {
    for (uint32_t i = 0; i < sample->label_count; i++) {
        if (strcmp(profile->strings[sample->labels[i].key], "bytes") == 0)
            return sample->labels[i].number;
    }
    return 0;
}

static struct sum *sum_of(struct sums *sums, uint32_t stack, int64_t size_bytes) {
    uint64_t hash = view_hash_word(view_hash_word((uintptr_t)sums, stack), (uint64_t)size_bytes);
    size_t probe = 0;
    uint32_t number;
    while ((number = view_table_next(&sums->table, hash, &probe)) != VIEW_TABLE_END) {
        if (sums->items[number].stack == stack && sums->items[number].size_bytes == size_bytes)
            return &sums->items[number];
    }
    struct sum *items = view_array_grow(sums->items, sums->count, &sums->capacity, sizeof(*items));
    if (!items)
        return NULL;
    sums->items = items;
    if (view_table_add(&sums->table, hash, (uint32_t)sums->count) != 0)
        return NULL;
    items[sums->count] = (struct sum){.stack = stack, .size_bytes = size_bytes};
    return &items[sums->count++];
}

static void add_saturating(int64_t *sum, int64_t value) {
    if (__builtin_add_overflow(*sum, value, sum))
        *sum = value < 0 ? INT64_MIN : INT64_MAX;
}

static int add_sample(const struct view_profile *profile, const struct view_sample *sample,
                      struct view_stacks *stacks, struct sums *sums) {
    size_t column[HEAP_VALUES];
    uint32_t stack;
    int error = find_columns(profile, column);
    if (!error)
        error = view_stacks_add(stacks, sample->locations, sample->depth, &stack);
    if (error)
        return error;
    struct sum *sum = sum_of(sums, stack, size_of(profile, sample));
    if (!sum)
        return -ENOMEM;
    for (int value = 0; value < HEAP_VALUES; value++)
        add_saturating(&sum->values[value], sample->values[column[value]]);
    return 0;
}

/* Samples that found a table full are told of in a comment, see heap.c. */
static uint64_t dropped_samples(const struct view_profile *profile) {
    unsigned long long dropped;
    for (size_t i = 0; i < profile->comment_count; i++) {
        if (sscanf(profile->strings[profile->comments[i]], "mallard: %llu samples (", &dropped) ==
            1)
            return dropped;
    }
    return 0;
}

static void sums_json(const struct sums *sums, struct view_json *json) {
    view_json_array(json, "samples");
    for (size_t i = 0; i < sums->count; i++) {
        const struct sum *sum = &sums->items[i];
        view_json_array(json, NULL);
        view_json_unsigned(json, NULL, sum->stack);
        view_json_signed(json, NULL, sum->size_bytes);
        for (int value = 0; value < HEAP_VALUES; value++)
            view_json_signed(json, NULL, sum->values[value]);
        view_json_array_end(json);
    }
    view_json_array_end(json);
}

static void document(const struct view_profile *profile, const struct view_stacks *stacks,
                     const struct sums *sums, struct view_json *json) {
    view_json_signed(json, "time_unix_ns", profile->time_ns);
    view_json_signed(json, "rate_bytes", profile->period);
    view_json_array(json, "values");
    for (int value = 0; value < HEAP_VALUES; value++)
        view_json_text(json, NULL, value_names[value]);
    view_json_array_end(json);
    view_stacks_json(stacks, json);
    sums_json(sums, json);
    view_json_unsigned(json, "dropped_samples", dropped_samples(profile));
    view_json_null(json, "other");
}

int view_profile_json(const struct view_profile *profile, struct view_json *json) {
    struct view_stacks *stacks;
    struct sums sums = {0};
    size_t column[HEAP_VALUES];
    int error = profile->failed ? -ENOMEM : find_columns(profile, column);
    if (!error)
        error = view_stacks_new(profile, &stacks);
    if (error)
        return error;
    for (size_t i = 0; !error && i < profile->sample_count; i++)
        error = add_sample(profile, &profile->samples[i], stacks, &sums);
    if (!error)
        document(profile, stacks, &sums, json);
    free(sums.items);
    view_table_free(&sums.table);
    view_stacks_free(stacks);
    return error ? error : json->out->failed ? -ENOMEM : 0;
}
