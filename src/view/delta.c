/* SPDX-License-Identifier: Apache-2.0
 *
 * The difference of two heap profiles of one process, as `?seconds=N` asks for it. Both sides are
 * estimated first and subtracted then, row by row; rows that did not change are left out. Values
 * may be negative: memory that was live before and is not now.
 */
#include "view/heap.h"

#include "view/view.h"

static bool is_zero(const struct heap_row *row) {
    for (int k = 0; k < HEAP_VALUES; k++) {
        if (row->values[k] != 0)
            return false;
    }
    return true;
}

static int build(struct view_profile *profile, const struct heap_rows *rows,
                 const struct mal_snapshot *after, struct view_symbols *symbols) {
    struct view_places places;
    int error = view_places_begin(&places, profile, after, symbols, VIEW_MAPPINGS_USED);
    if (error)
        return error;
    for (size_t i = 0; i < rows->count; i++) {
        if (!is_zero(&rows->items[i]))
            heap_profile_sample(profile, &places, &rows->items[i]);
    }
    view_places_end(&places);
    return 0;
}

/* Never 0: a difference has a duration, and pprof shows none for 0. */
static int64_t duration_of(const struct mal_snapshot *before, const struct mal_snapshot *after) {
    if (after->taken_unix_ns <= before->taken_unix_ns)
        return 1;
    uint64_t duration_ns = after->taken_unix_ns - before->taken_unix_ns;
    return duration_ns <= INT64_MAX ? (int64_t)duration_ns : INT64_MAX;
}

int view_heap_delta_proto(const struct mal_snapshot *before, const struct mal_snapshot *after,
                          struct view_symbols *symbols, struct view_buffer *out) {
    struct heap_rows rows = {0};
    struct view_profile profile;
    view_profile_init(&profile);
    heap_profile_head(&profile, after);
    profile.duration_ns = duration_of(before, after);
    int error = heap_rows_add(&rows, after, 1);
    if (!error)
        error = heap_rows_add(&rows, before, -1);
    if (!error)
        error = build(&profile, &rows, after, symbols);
    if (!error)
        error = view_profile_encode(&profile, VIEW_EFFORT_DEFAULT, out);
    heap_rows_free(&rows);
    view_profile_free(&profile);
    return error;
}
