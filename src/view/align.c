/* SPDX-License-Identifier: Apache-2.0
 *
 * Tab alignment. Rows are collected first, since the width of a column is known only at its end;
 * the widths are worked out run by run while writing.
 */
#include "view/align.h"

#include "view/table.h"

#include <stdlib.h>
#include <string.h>

#define TAB_WIDTH 8

void view_align_row(struct view_align *align) {
    struct view_align_row *rows =
        view_array_grow(align->rows, align->count, &align->capacity, sizeof(*rows));
    if (!rows) {
        align->failed = true;
        return;
    }
    align->rows = rows;
    rows[align->count++].count = 0;
}

static size_t code_points(const char *text) {
    size_t count = 0;
    for (; *text; text++)
        count += ((unsigned char)*text & 0xc0) != 0x80;
    return count;
}

void view_align_cell(struct view_align *align, const char *text) {
    if (align->failed || align->count == 0)
        return;
    struct view_align_row *row = &align->rows[align->count - 1];
    if (row->count == VIEW_ALIGN_CELLS)
        return;
    size_t begin = align->text.bytes;
    view_buffer_printable(&align->text, text, strlen(text));
    if (align->text.failed)
        return;
    row->cells[row->count++] = (struct view_align_cell){begin, align->text.bytes - begin,
                                                        code_points(align->text.data + begin)};
}

/* Whether this row takes part in the column: its cell there is ended by a tab. */
static bool in_column(const struct view_align_row *row, size_t column) {
    return row->count > column + 1;
}

/* The padded width of the column's run that begins at `first`; `ret_end` is the row behind it. */
static size_t run_width(const struct view_align *align, size_t first, size_t column,
                        size_t *ret_end) {
    size_t widest = 0, row = first;
    for (; row < align->count && in_column(&align->rows[row], column); row++) {
        if (align->rows[row].cells[column].width > widest)
            widest = align->rows[row].cells[column].width;
    }
    *ret_end = row;
    return (widest + 1 + TAB_WIDTH - 1) / TAB_WIDTH * TAB_WIDTH;
}

static void write_row(const struct view_align *align, const struct view_align_row *row,
                      const size_t widths[VIEW_ALIGN_CELLS], struct view_buffer *out) {
    for (size_t column = 0; column < row->count; column++) {
        const struct view_align_cell *cell = &row->cells[column];
        view_buffer_append(out, align->text.data + cell->offset, cell->bytes);
        if (!in_column(row, column))
            break;
        for (size_t at = cell->width; at < widths[column]; at = (at / TAB_WIDTH + 1) * TAB_WIDTH)
            view_buffer_append(out, "\t", 1);
    }
    view_buffer_append(out, "\n", 1);
}

void view_align_flush(struct view_align *align, struct view_buffer *out) {
    size_t widths[VIEW_ALIGN_CELLS] = {0}, ends[VIEW_ALIGN_CELLS] = {0};
    if (align->failed || align->text.failed)
        out->failed = true;
    for (size_t row = 0; row < align->count && !out->failed; row++) {
        for (size_t column = 0; column < VIEW_ALIGN_CELLS; column++) {
            if (row >= ends[column] && in_column(&align->rows[row], column))
                widths[column] = run_width(align, row, column, &ends[column]);
        }
        write_row(align, &align->rows[row], widths, out);
    }
    align->count = 0;
    view_buffer_reset(&align->text);
}

void view_align_free(struct view_align *align) {
    view_buffer_free(&align->text);
    free(align->rows);
    *align = (struct view_align){0};
}
