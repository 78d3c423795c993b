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

/* Adds every bucket, merging those of one stack, size and kind whatever rate they were drawn at.
 * Returns 0 or -ENOMEM. */
int heap_rows_add(struct heap_rows *rows, const struct mal_snapshot *snapshot);
/* Takes out the rows whose values are all zero; nothing can be added any more then. */
void heap_rows_drop_zeros(struct heap_rows *rows);
void heap_rows_free(struct heap_rows *rows);

/* A number for the stack, size and kind of a row; different ones differ, as far as 64 bits go. */
uint64_t heap_row_hash(const struct heap_row *row);
/* For qsort and bsearch: orders what begins with such a number by it. */
int heap_by_hash(const void *left, const void *right);

/* The head of every heap profile: types, period, time, comments. */
void heap_profile_head(struct view_profile *profile, const struct mal_snapshot *snapshot);
/* Adds one row as a sample. */
void heap_profile_sample(struct view_profile *profile, struct view_places *places,
                         const struct heap_row *row);

/* The whole heap profile of a snapshot in memory. Free with view_profile_free after success. */
int heap_profile_build(struct view_profile *profile, const struct mal_snapshot *snapshot,
                       struct view_symbols *symbols);
/* What a heap profile is made of, beside its rows. */
struct heap_document {
    const struct mal_snapshot *snapshot;
    struct view_symbols *symbols;
    unsigned flags; /* enum view_heap_kind */
    enum view_mappings mappings;
    enum view_effort effort;
    int64_t duration_ns;
};

/* Appends the rows as gzipped profile.proto, with VIEW_CAPPED within the bounds of cap.c. The
 * order of the rows may change. Returns 0 or -errno. */
int heap_encode(const struct heap_document *document, struct heap_rows *rows,
                struct view_buffer *out);

#endif
