/* SPDX-License-Identifier: Apache-2.0
 *
 * The difference of two heap profiles of one process, as `?seconds=N` asks for it. Both sides are
 * estimated first and subtracted then, row by row; rows that did not change are left out. Values
 * may be negative: memory that was live before and is not now.
 */
#include "view/heap.h"

#include "view/view.h"

/* Never 0: a difference has a duration, and pprof shows none for 0. */
static int64_t duration_of(const struct mal_snapshot *before, const struct mal_snapshot *after) {
    if (after->taken_unix_ns <= before->taken_unix_ns)
        return 1;
    uint64_t duration_ns = after->taken_unix_ns - before->taken_unix_ns;
    return duration_ns <= INT64_MAX ? (int64_t)duration_ns : INT64_MAX;
}

int view_heap_delta_proto(const struct mal_snapshot *before, const struct mal_snapshot *after,
                          struct view_symbols *symbols, enum view_heap_kind kind,
                          struct view_buffer *out) {
    struct heap_rows rows = {0};
    const struct heap_document document = {.snapshot = after,
                                           .symbols = symbols,
                                           .flags = kind & VIEW_CAPPED,
                                           .mappings = VIEW_MAPPINGS_USED,
                                           .effort = VIEW_EFFORT_DEFAULT,
                                           .duration_ns = duration_of(before, after)};
    int error = heap_rows_add(&rows, after, 1);
    if (!error)
        error = heap_rows_add(&rows, before, -1);
    heap_rows_drop_zeros(&rows);
    if (!error)
        error = heap_encode(&document, &rows, out);
    heap_rows_free(&rows);
    return error;
}
