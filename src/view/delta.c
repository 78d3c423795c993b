/* SPDX-License-Identifier: Apache-2.0
 *
 * The difference of two heap profiles of one process, as `?seconds=N` asks for it. Both sides are
 * estimated first and subtracted then, row by row; rows that did not change are left out. Values
 * may be negative: memory that was live before and is not now.
 *
 * Between the two sides lie N seconds in which a server holds the first one, for each client that
 * waits. So of the first side only the values are kept, each under the hash of its stack; the
 * stacks come from the second side, where every stack of the first is still. What two stacks
 * with one hash would cost is said in scrape.c.
 *
 * SYNCHRONIZATION  None; everything is the caller's.
 */
#include "view/heap.h"

#include "view/number.h"
#include "view/view.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(sizeof(((struct view_base_row *)0)->values) == HEAP_VALUES * sizeof(int64_t),
               "a base has the values of a row");

static struct view_base *base_new(size_t count, uint64_t taken_unix_ns) {
    struct view_base *base = malloc(sizeof(*base) + count * sizeof(base->row[0]));
    if (base)
        *base = (struct view_base){.taken_unix_ns = taken_unix_ns, .count = count};
    return base;
}

static struct view_base *base_of(const struct heap_rows *rows, uint64_t taken_unix_ns) {
    struct view_base *base = base_new(rows->count, taken_unix_ns);
    if (!base)
        return NULL;
    for (size_t i = 0; i < rows->count; i++) {
        base->row[i].hash = heap_row_hash(&rows->items[i]);
        memcpy(base->row[i].values, rows->items[i].values, sizeof(base->row[i].values));
    }
    qsort(base->row, base->count, sizeof(base->row[0]), heap_by_hash);
    return base;
}

int view_heap_base(const struct mal_snapshot *snapshot, struct view_base **ret_base) {
    struct heap_rows rows = {0};
    int error = heap_rows_add(&rows, snapshot);
    if (!error) {
        *ret_base = base_of(&rows, snapshot->taken_unix_ns);
        error = *ret_base ? 0 : -ENOMEM;
    }
    heap_rows_free(&rows);
    return error;
}

struct view_base *view_empty_base(const struct mal_snapshot *snapshot) {
    return base_new(0, snapshot->taken_unix_ns);
}

size_t view_base_bytes(const struct view_base *base) {
    return sizeof(*base) + base->count * sizeof(base->row[0]);
}

static void subtract(struct heap_rows *rows, const struct view_base *before) {
    for (size_t i = 0; i < rows->count; i++) {
        const uint64_t hash = heap_row_hash(&rows->items[i]);
        const struct view_base_row *row =
            bsearch(&hash, before->row, before->count, sizeof(*row), heap_by_hash);
        for (int k = 0; row && k < HEAP_VALUES; k++)
            rows->items[i].values[k] = view_sum(rows->items[i].values[k], -row->values[k]);
    }
}

/* Never 0: a difference has a duration, and pprof shows none for 0. */
static int64_t duration_of(const struct view_base *before, const struct mal_snapshot *after) {
    if (after->taken_unix_ns <= before->taken_unix_ns)
        return 1;
    uint64_t duration_ns = after->taken_unix_ns - before->taken_unix_ns;
    return duration_ns <= INT64_MAX ? (int64_t)duration_ns : INT64_MAX;
}

int view_heap_delta_proto(const struct view_base *before, const struct mal_snapshot *after,
                          struct view_symbols *symbols, enum view_heap_kind kind,
                          struct view_buffer *out) {
    struct heap_rows rows = {0};
    const struct heap_document document = {.snapshot = after,
                                           .symbols = symbols,
                                           .flags = kind & VIEW_CAPPED,
                                           .mappings = VIEW_MAPPINGS_USED,
                                           .effort = VIEW_EFFORT_DEFAULT,
                                           .duration_ns = duration_of(before, after)};
    int error = heap_rows_add(&rows, after);
    if (!error) {
        subtract(&rows, before);
        heap_rows_drop_zeros(&rows);
        error = heap_encode(&document, &rows, out);
    }
    heap_rows_free(&rows);
    return error;
}
