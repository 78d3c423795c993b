/* SPDX-License-Identifier: Apache-2.0
 *
 * Tables of figures.
 *
 * A figure that nobody knows is NAN, printed as "-" and sorted last: "unknown" and "nothing" are
 * different answers.
 *
 * SYNCHRONIZATION  One thread.
 */
#include "cli/table.h"

#include "cli/clip.h"
#include "view/table.h"
#include "view/view.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CELL_BYTES 40
#define GAP "  "

/* ---- rows ---- */

struct cli_row *cli_table_add(struct cli_table *table, uint64_t id, char *text) {
    struct cli_row *rows =
        view_array_grow(table->rows, table->count, &table->capacity, sizeof *table->rows);
    if (rows == NULL) {
        free(text);
        return NULL;
    }
    table->rows = rows;
    rows[table->count] = (struct cli_row){.id = id, .text = text};
    return &rows[table->count++];
}

void cli_table_clear(struct cli_table *table) {
    for (size_t i = 0; i < table->count; i++)
        free(table->rows[i].text);
    table->count = 0;
}

void cli_table_free(struct cli_table *table) {
    cli_table_clear(table);
    free(table->rows);
    table->rows = NULL;
    table->capacity = 0;
}

size_t cli_table_column(const struct cli_column *columns, size_t count, const char *key) {
    for (size_t i = 0; i < count; i++)
        if (strcmp(columns[i].key, key) == 0)
            return i;
    return SIZE_MAX;
}

/* ---- order ---- */

struct order {
    const struct cli_table *table;
    size_t column;
};

static const char *text_of(const struct cli_row *row) {
    return row->text != NULL ? row->text : "";
}

static int by_number(double left, double right) {
    if (isnan(left) || isnan(right))
        return isnan(left) - isnan(right);
    return (left < right) - (left > right);
}

static int by_column(const struct cli_row *left, const struct cli_row *right, size_t column,
                     enum cli_kind kind) {
    if (kind == CLI_TEXT)
        return strcmp(text_of(left), text_of(right));
    if (kind == CLI_ID)
        return by_number(right->value[column], left->value[column]);
    return by_number(left->value[column], right->value[column]);
}

/* Where the wanted column does not tell two rows apart, the others do, from the left. */
static int compare(const void *a, const void *b, void *context) {
    const struct cli_row *left = a;
    const struct cli_row *right = b;
    const struct order *order = context;
    const struct cli_table *table = order->table;
    int result = by_column(left, right, order->column, table->columns[order->column].kind);
    for (size_t i = 0; result == 0 && i < table->column_count; i++)
        result = by_column(left, right, i, table->columns[i].kind);
    return result != 0 ? result : (left->id > right->id) - (left->id < right->id);
}

void cli_table_sort(struct cli_table *table, size_t column) {
    struct order order = {table, column};
    if (table->count > 0)
        qsort_r(table->rows, table->count, sizeof *table->rows, compare, &order);
}

/* ---- text ---- */

static void count_text(double value, const char *sign, char text[CELL_BYTES]) {
    static const char units[] = {0, 'k', 'M', 'G', 'T', 'P', 'E'};
    size_t unit = 0;
    if (fabs(value) < 9999999.5) {
        snprintf(text, CELL_BYTES, "%s%.0f", value >= 0.5 ? sign : "", value);
        return;
    }
    while (fabs(value) >= 999.5 && unit + 1 < sizeof units) {
        value /= 1000;
        unit++;
    }
    snprintf(text, CELL_BYTES, "%s%.3g%c", value > 0 ? sign : "", value, units[unit]);
}

static void bytes_text(double value, const char *sign, char text[CELL_BYTES]) {
    char human[16];
    double size = fabs(value) < 0.5 ? 0 : fabs(value);
    view_human_bytes(size < 18446744073709549568.0 ? (uint64_t)(size + 0.5) : UINT64_MAX, human);
    snprintf(text, CELL_BYTES, "%s%s", size == 0 ? "" : value < 0 ? "-" : sign, human);
}

static void cell_text(enum cli_kind kind, double value, char text[CELL_BYTES]) {
    if (isnan(value))
        snprintf(text, CELL_BYTES, "-");
    else if (kind == CLI_BYTES || kind == CLI_CHANGE)
        bytes_text(value, kind == CLI_CHANGE ? "+" : "", text);
    else
        count_text(value, kind == CLI_GAIN ? "+" : "", text);
}

/* A line being put together: cells that do not fit any more are cut. */
struct line {
    struct view_buffer *out;
    size_t left;
};

static void line_put(struct line *line, const char *text) {
    line->left -= clip_put(line->out, text, line->left);
}

static void line_cell(struct line *line, const struct cli_column *column, const char *text) {
    char padded[CELL_BYTES + 64];
    if (column->kind == CLI_TEXT) {
        line_put(line, text);
        return;
    }
    snprintf(padded, sizeof padded, "%*s" GAP, (int)column->width, text);
    line_put(line, padded);
}

void cli_table_put_head(const struct cli_table *table, size_t width, struct view_buffer *out) {
    struct line line = {out, width};
    for (size_t i = 0; i < table->column_count; i++)
        line_cell(&line, &table->columns[i], table->columns[i].title);
}

void cli_table_put_row(const struct cli_table *table, const struct cli_row *row, size_t width,
                       struct view_buffer *out) {
    struct line line = {out, width};
    char text[CELL_BYTES];
    for (size_t i = 0; i < table->column_count; i++) {
        const struct cli_column *column = &table->columns[i];
        if (column->kind != CLI_TEXT)
            cell_text(column->kind, row->value[i], text);
        line_cell(&line, column, column->kind == CLI_TEXT ? text_of(row) : text);
    }
}

void cli_table_put(const struct cli_table *table, size_t max, struct view_buffer *out) {
    cli_table_put_head(table, CLI_WIDTH_ALL, out);
    view_buffer_text(out, "\n");
    for (size_t i = 0; i < table->count && i < max; i++) {
        cli_table_put_row(table, &table->rows[i], CLI_WIDTH_ALL, out);
        view_buffer_text(out, "\n");
    }
}
