/* SPDX-License-Identifier: Apache-2.0
 *
 * The heap profile: buckets become rows, rows become samples.
 *
 * UNSAMPLING. An object of size s is sampled with probability 1 - e^(-s/rate), so each sampled one
 * stands for k = 1 / (1 - e^(-s/rate)) of them. As in Go, objects and bytes are each multiplied
 * and truncated; a rate of at most 1 means that everything was recorded. Each bucket is scaled by
 * the rate it was drawn at, before buckets of one stack and size are summed: after a change of
 * the rate the old samples keep their weight.
 *
 * Numbers come from a file that may lie, so every conversion and sum saturates.
 */
#include "view/heap.h"

#include "view/number.h"
#include "view/view.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---------------------------------------------------------------------------------- values */

double heap_factor(uint64_t size, uint64_t rate) {
    if (rate <= 1)
        return 1;
    return 1 / (1 - exp(-(double)size / (double)rate));
}

/* Truncates; beyond the range of int64_t the end of it. */
static int64_t truncated(double value) {
    return value < 9223372036854775807.0 ? (int64_t)value : INT64_MAX;
}

static int64_t clamped(uint64_t value) {
    return value <= INT64_MAX ? (int64_t)value : INT64_MAX;
}

/* Estimates objects and bytes from `count` sampled objects. A factor of 1 is exact. */
static void estimate(uint64_t count, uint64_t size, double factor, int64_t ret_values[2]) {
    uint64_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes))
        bytes = UINT64_MAX;
    ret_values[0] = factor == 1 ? clamped(count) : truncated((double)count * factor);
    ret_values[1] = factor == 1 ? clamped(bytes) : truncated((double)bytes * factor);
}

/* ------------------------------------------------------------------------------------ rows */

uint64_t heap_row_hash(const struct heap_row *row) {
    uint64_t hash = view_hash_word(view_hash_word(row->size, row->kind), row->depth);
    for (uint32_t i = 0; i < row->depth; i++)
        hash = view_hash_word(hash, row->pcs[i]);
    return hash;
}

int heap_by_hash(const void *left, const void *right) {
    const uint64_t *a = left, *b = right;
    return (*a > *b) - (*a < *b);
}

static bool same_row(const struct heap_row *a, const struct heap_row *b) {
    return a->size == b->size && a->kind == b->kind && a->depth == b->depth &&
           memcmp(a->pcs, b->pcs, a->depth * sizeof(*a->pcs)) == 0;
}

/* The row of this bucket's stack, size and kind, made when there is none yet. */
static struct heap_row *row_of(struct heap_rows *rows, const struct mal_snapshot_bucket *bucket) {
    const struct heap_row wanted = {
        .pcs = bucket->pcs, .depth = bucket->depth, .kind = bucket->kind, .size = bucket->size};
    uint64_t hash = heap_row_hash(&wanted);
    size_t probe = 0;
    uint32_t number;
    while ((number = view_table_next(&rows->table, hash, &probe)) != VIEW_TABLE_END) {
        if (same_row(&rows->items[number], &wanted))
            return &rows->items[number];
    }
    struct heap_row *items =
        view_array_grow(rows->items, rows->count, &rows->capacity, sizeof(*items));
    if (!items)
        return NULL;
    rows->items = items;
    if (view_table_add(&rows->table, hash, (uint32_t)rows->count) != 0)
        return NULL;
    items[rows->count] = wanted;
    return &items[rows->count++];
}

/* Room for as many rows as there are buckets. */
static int rows_reserve(struct heap_rows *rows, size_t buckets) {
    struct heap_row *items =
        view_array_reserve(rows->items, &rows->capacity, buckets, sizeof(*items));
    if (!items && buckets > 0)
        return -ENOMEM;
    rows->items = items;
    return view_table_reserve(&rows->table, buckets);
}

int heap_rows_add(struct heap_rows *rows, const struct mal_snapshot *snapshot) {
    int error = rows_reserve(rows, snapshot->bucket_count);
    if (error)
        return error;
    for (size_t i = snapshot->bucket_count; i-- > 0;) {
        const struct mal_snapshot_bucket *bucket = &snapshot->buckets[i];
        struct heap_row *row = row_of(rows, bucket);
        int64_t values[HEAP_VALUES];
        double factor = heap_factor(bucket->size, bucket->rate);
        if (!row)
            return -ENOMEM;
        estimate(bucket->allocs, bucket->size, factor, values + HEAP_ALLOC_OBJECTS);
        estimate(bucket->allocs - bucket->frees, bucket->size, factor, values + HEAP_INUSE_OBJECTS);
        for (int k = 0; k < HEAP_VALUES; k++)
            row->values[k] = view_sum(row->values[k], values[k]);
    }
    return 0;
}

static bool is_zero(const struct heap_row *row) {
    for (int k = 0; k < HEAP_VALUES; k++) {
        if (row->values[k] != 0)
            return false;
    }
    return true;
}

void heap_rows_drop_zeros(struct heap_rows *rows) {
    size_t kept = 0;
    for (size_t i = 0; i < rows->count; i++) {
        if (!is_zero(&rows->items[i]))
            rows->items[kept++] = rows->items[i];
    }
    rows->count = kept;
}

void heap_rows_free(struct heap_rows *rows) {
    free(rows->items);
    view_table_free(&rows->table);
    *rows = (struct heap_rows){0};
}

/* --------------------------------------------------------------------------------- profile */

static void comment_dropped(struct view_profile *profile, const struct mal_snapshot *snapshot) {
    char text[160];
    if (snapshot->dropped_samples > 0) {
        snprintf(text, sizeof(text),
                 "mallard: %llu samples (%llu bytes) found the tables full and are not included",
                 (unsigned long long)snapshot->dropped_samples,
                 (unsigned long long)snapshot->dropped_bytes);
        view_profile_add_comment(profile, text);
    }
    if (snapshot->rejected > 0) {
        snprintf(text, sizeof(text), "mallard: %zu damaged entries of the box were left out",
                 snapshot->rejected);
        view_profile_add_comment(profile, text);
    }
}

void heap_profile_head(struct view_profile *profile, const struct mal_snapshot *snapshot) {
    view_profile_set_period(profile, "space", "bytes", clamped(snapshot->mem_profile_rate));
    view_profile_add_type(profile, "alloc_objects", "count");
    view_profile_add_type(profile, "alloc_space", "bytes");
    view_profile_add_type(profile, "inuse_objects", "count");
    view_profile_add_type(profile, "inuse_space", "bytes");
    profile->time_ns = clamped(snapshot->taken_unix_ns);
    comment_dropped(profile, snapshot);
}

static void add_labels(struct view_profile *profile, const struct heap_row *row,
                       struct view_sample *sample) {
    if (row->values[HEAP_ALLOC_OBJECTS] != 0)
        sample->labels[sample->label_count++] = (struct view_label){
            .key = view_profile_string(profile, "bytes"), .number = clamped(row->size)};
    if (row->kind == MAL_BOX_KIND_GC)
        sample->labels[sample->label_count++] =
            (struct view_label){.key = view_profile_string(profile, "heap"),
                                .text = view_profile_string(profile, "gc")};
}

void heap_profile_sample(struct view_profile *profile, struct view_places *places,
                         const struct heap_row *row) {
    uint64_t locations[MAL_BOX_DEPTH_MAX];
    for (uint32_t i = 0; i < row->depth; i++)
        locations[i] = view_places_location(places, row->pcs[i]);
    struct view_sample sample = {.locations = locations, .depth = row->depth};
    memcpy(sample.values, row->values, sizeof(row->values));
    add_labels(profile, row, &sample);
    view_profile_add_sample(profile, &sample);
}

int view_heap_proto(const struct mal_snapshot *snapshot, struct view_symbols *symbols,
                    enum view_heap_kind kind, struct view_buffer *out) {
    struct heap_rows rows = {0};
    const struct heap_document document = {.snapshot = snapshot,
                                           .symbols = symbols,
                                           .flags = kind,
                                           .mappings = VIEW_MAPPINGS_ALL,
                                           .effort = VIEW_EFFORT_SPEED};
    int error = heap_rows_add(&rows, snapshot);
    if (!error)
        error = heap_encode(&document, &rows, out);
    heap_rows_free(&rows);
    return error;
}

static int add_rows(struct view_profile *profile, const struct mal_snapshot *snapshot,
                    const struct heap_rows *rows, struct view_symbols *symbols) {
    struct view_places places;
    int error = view_places_begin(&places, profile, snapshot, symbols, VIEW_MAPPINGS_USED);
    if (error)
        return error;
    for (size_t i = 0; i < rows->count; i++)
        heap_profile_sample(profile, &places, &rows->items[i]);
    view_places_end(&places);
    return profile->failed ? -ENOMEM : 0;
}

int heap_profile_build(struct view_profile *profile, const struct mal_snapshot *snapshot,
                       struct view_symbols *symbols) {
    struct heap_rows rows = {0};
    view_profile_init(profile);
    heap_profile_head(profile, snapshot);
    int error = heap_rows_add(&rows, snapshot);
    if (!error)
        error = add_rows(profile, snapshot, &rows, symbols);
    heap_rows_free(&rows);
    if (error)
        view_profile_free(profile);
    return error;
}
