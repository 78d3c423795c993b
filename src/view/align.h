/* SPDX-License-Identifier: Apache-2.0
 *
 * Tab-aligned rows, as Go's profiles have them: a cell that a tab ends is padded with tabs up to
 * the width of its column, which is the widest such cell of the rows around it without a gap,
 * plus one, rounded up to 8. The last cell of a row is never padded.
 */
#ifndef MAL_VIEW_ALIGN_H
#define MAL_VIEW_ALIGN_H

#include "view/buffer.h"

#include <stddef.h>

#define VIEW_ALIGN_CELLS 4

struct view_align_cell {
    size_t offset, bytes, width; /* in `text`; width in code points */
};
struct view_align_row {
    struct view_align_cell cells[VIEW_ALIGN_CELLS];
    size_t count;
};
struct view_align {
    struct view_buffer text;
    struct view_align_row *rows;
    size_t count, capacity;
    bool failed;
};

void view_align_row(struct view_align *align);                    /* begins a row */
void view_align_cell(struct view_align *align, const char *text); /* at most VIEW_ALIGN_CELLS */
/* Appends all rows to `out`, each ended by a newline, and forgets them. */
void view_align_flush(struct view_align *align, struct view_buffer *out);
void view_align_free(struct view_align *align);

#endif
