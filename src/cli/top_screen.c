/* SPDX-License-Identifier: Apache-2.0
 *
 * The screen of top, as one text of plain ANSI sequences.
 *
 *     title                      what this is about, and when
 *     status                     order, delay, paused; keys at the right moment
 *     (empty)
 *     head of the table
 *     rows                       the selected one marked by '>' and, with colours, in reverse
 *
 * Every line is cleared to its end and the rest of the screen too, so nothing of an older picture
 * stays; there is no clearing first, so nothing flickers. The selection is marked by a sign, not
 * by colour alone.
 *
 * SYNCHRONIZATION  None needed.
 */
#include "cli/clip.h"
#include "cli/top.h"

#include "base/attr.h"

#include <stdio.h>

#define HEAD_ROWS 4
#define MARK_COLUMNS 2

#define BOLD "\033[1m"
#define DIM "\033[2m"
#define REVERSE "\033[7m"
#define PLAIN "\033[0m"
#define TO_END_OF_LINE "\033[K"

static const char *const keys[] = {
    "j k, arrows      select a row",
    "g G, Home End    first and last row",
    "space, Page      a screenful further",
    "Enter            the call sites of the selected process",
    "Esc              back to the processes",
    "s                order by the next column",
    "p                pause, go on",
    "?                this list",
    "q                quit",
};

struct drawing {
    const struct top_state *state;
    struct cli_size size;
    struct view_buffer *out;
    size_t line;
};

size_t top_screen_rows(struct cli_size size) {
    return size.rows > HEAD_ROWS ? size.rows - HEAD_ROWS : 0;
}

static void style(const struct drawing *drawing, const char *sequence) {
    if (drawing->state->flags & TOP_COLOURS)
        view_buffer_text(drawing->out, sequence);
}

/* Lines below the screen's end are not drawn. True when there is room for one more. */
static bool line_begin(struct drawing *drawing) {
    if (drawing->line >= drawing->size.rows)
        return false;
    if (drawing->line++ > 0)
        view_buffer_text(drawing->out, "\r\n");
    return true;
}

static void line_end(struct drawing *drawing) {
    style(drawing, PLAIN);
    view_buffer_text(drawing->out, TO_END_OF_LINE);
}

static void draw_text(struct drawing *drawing, const char *sequence, const char *text) {
    if (!line_begin(drawing))
        return;
    style(drawing, sequence);
    clip_put(drawing->out, text, drawing->size.columns);
    line_end(drawing);
}

static void draw_status(struct drawing *drawing) {
    const struct top_state *state = drawing->state;
    const struct top_page *page = state->page;
    char text[160];
    snprintf(text, sizeof text, "order: %s   every %g s%s   ? keys   %sq quit",
             page->table.columns[page->sort].key, state->delay_s,
             state->flags & TOP_PAUSED ? " (PAUSED)" : "",
             state->flags & TOP_HAS_PARENT ? "Esc back   " : "");
    draw_text(drawing, DIM, text);
}

static size_t text_columns(const struct drawing *drawing) {
    return drawing->size.columns > MARK_COLUMNS ? drawing->size.columns - MARK_COLUMNS : 0;
}

static void draw_head(struct drawing *drawing) {
    if (!line_begin(drawing))
        return;
    style(drawing, BOLD);
    view_buffer_text(drawing->out, "  ");
    cli_table_put_head(&drawing->state->page->table, text_columns(drawing), drawing->out);
    line_end(drawing);
}

static void draw_row(struct drawing *drawing, size_t at) {
    const struct cli_table *table = &drawing->state->page->table;
    bool selected = at == drawing->state->at;
    if (!line_begin(drawing))
        return;
    if (selected)
        style(drawing, REVERSE);
    view_buffer_text(drawing->out, selected ? "> " : "  ");
    cli_table_put_row(table, &table->rows[at], text_columns(drawing), drawing->out);
    line_end(drawing);
}

static void draw_rows(struct drawing *drawing) {
    const struct top_page *page = drawing->state->page;
    draw_head(drawing);
    for (size_t i = drawing->state->first;
         i < page->table.count && drawing->line < drawing->size.rows; i++)
        draw_row(drawing, i);
    if (page->table.count == 0)
        draw_text(drawing, DIM, page->nothing);
}

static void draw_keys(struct drawing *drawing) {
    for (size_t i = 0; i < MAL_COUNT_OF(keys); i++)
        draw_text(drawing, "", keys[i]);
    draw_text(drawing, DIM, "any key: back to the figures");
}

void top_screen_draw(const struct top_state *state, struct cli_size size, struct view_buffer *out) {
    struct drawing drawing = {state, size, out, 0};
    view_buffer_text(out, "\033[H");
    draw_text(&drawing, BOLD, state->page->title);
    draw_status(&drawing);
    draw_text(&drawing, "", "");
    if (state->flags & TOP_HELP)
        draw_keys(&drawing);
    else
        draw_rows(&drawing);
    view_buffer_text(out, "\033[J");
}
