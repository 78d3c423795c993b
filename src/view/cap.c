/* SPDX-License-Identifier: Apache-2.0
 *
 * From rows to a document, within what back ends take.
 *
 * Pyroscope refuses a profile of more than 16 000 samples or 4 MiB before compression, and a
 * process may have 65 536 rows. Where VIEW_CAPPED asks for it and a bound is exceeded, the
 * smallest rows (by bytes allocated, then by bytes in use) become one sample with the one frame
 * "other". Its four values are the sums of theirs, so that every total of the profile stays what
 * it was; a comment says how many were merged.
 *
 * How many rows fit 4 MiB is only known when they are in the profile: names are shared, depths
 * differ. So the document is built, measured, and built again with fewer rows in proportion to
 * the excess; names are in the cache by then.
 *
 * SYNCHRONIZATION  None; everything is the caller's.
 */
#include "view/heap.h"

#include "view/number.h"
#include "view/view.h"

#include <stdio.h>
#include <stdlib.h>

#define SAMPLES_MAX 16000u
#define PLAIN_BYTES_MAX (4u << 20)
#define SHRINK_PARTS 10 /* each further try takes at least one of so many parts away */

/* ------------------------------------------------------------------------- the smallest rows */

static uint64_t magnitude(int64_t value) {
    return value < 0 ? -(uint64_t)value : (uint64_t)value;
}

static int compare(uint64_t a, uint64_t b) {
    return (a < b) - (a > b);
}

/* The largest first; differences count by their size, whatever their sign. Equals are told apart
 * by what does not change between two scrapes, so that a row does not flicker in and out. */
static int by_weight(const void *left, const void *right) {
    const struct heap_row *a = left, *b = right;
    int order =
        compare(magnitude(a->values[HEAP_ALLOC_SPACE]), magnitude(b->values[HEAP_ALLOC_SPACE]));
    if (order == 0)
        order =
            compare(magnitude(a->values[HEAP_INUSE_SPACE]), magnitude(b->values[HEAP_INUSE_SPACE]));
    return order != 0 ? order : compare(heap_row_hash(a), heap_row_hash(b));
}

static uint64_t other_location(struct view_profile *profile) {
    const struct view_function function = {.name = view_profile_string(profile, "other"),
                                           .system_name = view_profile_string(profile, "other")};
    const struct view_line line = {.function = view_profile_function(profile, &function)};
    return view_profile_add_location(profile,
                                     &(struct view_location){.line_count = 1, .lines = &line});
}

/* Adds the rows from `first` on as one sample. Locations of stacks must all be there by now. */
static void add_other(struct view_profile *profile, const struct heap_rows *rows, size_t first) {
    const uint64_t location = other_location(profile);
    struct view_sample sample = {.locations = &location, .depth = 1};
    char text[160];
    for (size_t i = first; i < rows->count; i++) {
        for (int k = 0; k < HEAP_VALUES; k++)
            sample.values[k] = view_sum(sample.values[k], rows->items[i].values[k]);
    }
    view_profile_add_sample(profile, &sample);
    snprintf(text, sizeof(text),
             "mallard: the %zu smallest of %zu stacks are merged into \"other\"; full=1 gives all",
             rows->count - first, rows->count);
    view_profile_add_comment(profile, text);
}

/* ---------------------------------------------------------------------------------- document */

/* The first `count` rows, and the others as one. */
static int build(const struct heap_document *document, const struct heap_rows *rows, size_t count,
                 struct view_profile *profile) {
    struct view_places places;
    view_profile_init(profile);
    heap_profile_head(profile, document->snapshot);
    profile->duration_ns = document->duration_ns;
    if (document->flags & VIEW_ALLOCS)
        profile->default_type = view_profile_string(profile, "alloc_space");
    int error = view_places_begin(&places, profile, document->snapshot, document->symbols,
                                  document->mappings);
    if (error)
        return error;
    view_profile_expect_samples(profile, count + 1); /* and the others */
    for (size_t i = 0; i < count; i++)
        heap_profile_sample(profile, &places, &rows->items[i]);
    view_places_end(&places);
    if (count < rows->count)
        add_other(profile, rows, count);
    return 0;
}

/* How many rows to try next when `count` of them make `bytes`; the same count when they fit. */
static size_t next_count(size_t count, size_t bytes) {
    if (bytes <= PLAIN_BYTES_MAX || count == 0)
        return count;
    size_t fitting = (size_t)((double)count * PLAIN_BYTES_MAX / (double)bytes);
    size_t fewer = count - count / SHRINK_PARTS - 1;
    return fitting < fewer ? fitting : fewer;
}

/* Appends the first `count` rows, and the others as one, before compression. */
static int pack(const struct heap_document *document, const struct heap_rows *rows, size_t count,
                struct view_buffer *plain) {
    struct view_profile profile = {0};
    int error = build(document, rows, count, &profile);
    if (!error)
        error = view_profile_pack(&profile, plain);
    view_profile_free(&profile);
    return error;
}

static int pack_within(const struct heap_document *document, struct heap_rows *rows,
                       struct view_buffer *plain) {
    size_t count = rows->count <= SAMPLES_MAX ? rows->count : SAMPLES_MAX - 1;
    size_t next = count;
    int error;
    do {
        count = next;
        if (count < rows->count)
            qsort(rows->items, rows->count, sizeof(*rows->items), by_weight);
        view_buffer_reset(plain);
        error = pack(document, rows, count, plain);
        next = next_count(count, plain->bytes);
    } while (!error && next < count);
    return error;
}

int heap_encode(const struct heap_document *document, struct heap_rows *rows,
                struct view_buffer *out) {
    struct view_buffer plain = {0};
    int error = document->flags & VIEW_CAPPED ? pack_within(document, rows, &plain)
                                              : pack(document, rows, rows->count, &plain);
    if (!error)
        error = view_gzip(plain.data, plain.bytes, document->effort, out);
    view_buffer_free(&plain);
    return error;
}
