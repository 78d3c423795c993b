/* SPDX-License-Identifier: Apache-2.0
 *
 * Rows of a heap profile: what was sampled at one stack in one size, as estimates of the truth.
 */
#ifndef MAL_VIEW_HEAP_H
#define MAL_VIEW_HEAP_H

#include "box/reader.h"
#include "view/places.h"
#include "view/profile.h"

#include <stddef.h>
#include <stdint.h>

enum heap_value { HEAP_ALLOC_OBJECTS, HEAP_ALLOC_SPACE, HEAP_INUSE_OBJECTS, HEAP_INUSE_SPACE };
#define HEAP_VALUES 4

struct heap_row {
    const uint64_t *pcs; /* of the snapshot that the row came from */
    uint32_t depth, kind;
    uint64_t size;
    int64_t values[HEAP_VALUES];
};

struct heap_rows {
    struct heap_row *items; /* newest bucket first */
    size_t count, capacity;
    struct view_table table;
};

/* The factor by which sampled objects of this size stand for all: 1 / (1 - e^(-size/rate)). */
double heap_factor(uint64_t size, uint64_t rate);

/* Adds `sign` (1 or -1) times every bucket, merging those of one stack, size and kind whatever
 * rate they were drawn at. Returns 0 or -ENOMEM. */
int heap_rows_add(struct heap_rows *rows, const struct mal_snapshot *snapshot, int sign);
void heap_rows_free(struct heap_rows *rows);

/* The head of every heap profile: types, period, time, comments. */
void heap_profile_head(struct view_profile *profile, const struct mal_snapshot *snapshot);
/* Adds one row as a sample. */
void heap_profile_sample(struct view_profile *profile, struct view_places *places,
                         const struct heap_row *row);

/* The whole heap profile of a snapshot in memory. Free with view_profile_free after success. */
int heap_profile_build(struct view_profile *profile, const struct mal_snapshot *snapshot,
                       struct view_symbols *symbols);

#endif
