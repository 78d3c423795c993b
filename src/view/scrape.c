/* SPDX-License-Identifier: Apache-2.0
 *
 * The profile for scrapers that want differences computed here: what was allocated since they
 * asked last, and what is live now.
 *
 * Two counts for each stack and size are all that is remembered, and of the stack a hash. Two
 * stacks with one hash would share a mark: with 64 bits and 65 536 stacks that is once in ten
 * billion profiles, and costs one wrong difference.
 *
 * Without marks there is no difference: everything ever allocated counts as seen. It would
 * otherwise appear as one peak each time the server starts.
 *
 * SYNCHRONIZATION  None; everything is the caller's.
 */
#include "view/heap.h"

#include "view/view.h"

#include <errno.h>
#include <stdlib.h>

static struct view_marks *marks_of(const struct heap_rows *rows, uint64_t taken_unix_ns) {
    struct view_marks *marks = malloc(sizeof(*marks) + rows->count * sizeof(marks->mark[0]));
    if (!marks)
        return NULL;
    marks->taken_unix_ns = taken_unix_ns;
    marks->count = rows->count;
    for (size_t i = 0; i < rows->count; i++) {
        const struct heap_row *row = &rows->items[i];
        marks->mark[i] = (struct view_mark){heap_row_hash(row), row->values[HEAP_ALLOC_OBJECTS],
                                            row->values[HEAP_ALLOC_SPACE]};
    }
    qsort(marks->mark, marks->count, sizeof(marks->mark[0]), heap_by_hash);
    return marks;
}

/* Counts only grow, unless another process took the place of the one that was marked. */
static int64_t grown(int64_t now, int64_t before) {
    return now > before ? now - before : 0;
}

static void subtract(struct heap_rows *rows, const struct view_marks *before) {
    for (size_t i = 0; i < rows->count; i++) {
        int64_t *values = rows->items[i].values;
        const struct view_mark wanted = {.hash = heap_row_hash(&rows->items[i])};
        const struct view_mark *mark =
            bsearch(&wanted, before->mark, before->count, sizeof(wanted), heap_by_hash);
        if (!mark)
            continue;
        values[HEAP_ALLOC_OBJECTS] = grown(values[HEAP_ALLOC_OBJECTS], mark->alloc_objects);
        values[HEAP_ALLOC_SPACE] = grown(values[HEAP_ALLOC_SPACE], mark->alloc_bytes);
    }
}

static int64_t since(const struct view_marks *before, const struct mal_snapshot *snapshot) {
    return snapshot->taken_unix_ns > before->taken_unix_ns
               ? (int64_t)(snapshot->taken_unix_ns - before->taken_unix_ns)
               : 1;
}

int view_heap_scrape_proto(const struct mal_snapshot *snapshot, struct view_symbols *symbols,
                           enum view_heap_kind kind, const struct view_scrape *scrape,
                           struct view_buffer *out) {
    struct heap_rows rows = {0};
    struct view_marks *after = NULL;
    struct heap_document document = {.snapshot = snapshot,
                                     .symbols = symbols,
                                     .flags = kind & VIEW_CAPPED,
                                     .mappings = VIEW_MAPPINGS_ALL,
                                     .effort = VIEW_EFFORT_SPEED};
    int error = heap_rows_add(&rows, snapshot);
    if (!error)
        after = marks_of(&rows, snapshot->taken_unix_ns);
    if (!error && !after)
        error = -ENOMEM;
    if (!error) {
        const struct view_marks *before = scrape->before ? scrape->before : after;
        document.duration_ns = scrape->before ? since(before, snapshot) : 0;
        subtract(&rows, before);
        heap_rows_drop_zeros(&rows);
        error = heap_encode(&document, &rows, out);
    }
    heap_rows_free(&rows);
    if (error)
        free(after);
    else
        *scrape->ret_after = after;
    return error;
}
