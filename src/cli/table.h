/* SPDX-License-Identifier: Apache-2.0
 *
 * Tables of figures: columns of one kind each, the last one of text, rows sorted by any of them.
 * What top and diff print; the same rows go to a terminal and to a file.
 */
#ifndef MAL_CLI_TABLE_H
#define MAL_CLI_TABLE_H

#include "view/buffer.h"

#include <stddef.h>
#include <stdint.h>

#define CLI_COLUMNS_MAX 10
#define CLI_WIDTH_ALL SIZE_MAX /* as a width: nothing is cut */

enum cli_kind {
    CLI_ID,     /* a whole number; sorted upwards */
    CLI_COUNT,  /* objects; sorted downwards, as all that follow */
    CLI_BYTES,  /* in human units */
    CLI_CHANGE, /* bytes with a sign */
    CLI_GAIN,   /* objects with a sign */
    CLI_TEXT    /* the rest of the line; sorted upwards */
};

struct cli_column {
    const char *key; /* for --sort */
    const char *title;
    unsigned width;
    enum cli_kind kind;
};

struct cli_row {
    uint64_t id;                   /* the same thing keeps it from round to round */
    double value[CLI_COLUMNS_MAX]; /* by column; NAN: unknown */
    char *text;                    /* owned; harmless for a terminal; NULL "" */
};

struct cli_table {
    const struct cli_column *columns;
    size_t column_count;
    struct cli_row *rows;
    size_t count, capacity;
};

/* A row of zeros behind the others, NULL when out of memory. Takes the text over in any case. */
struct cli_row *cli_table_add(struct cli_table *table, uint64_t id, char *text);
void cli_table_clear(struct cli_table *table);
void cli_table_free(struct cli_table *table);

/* Equal rows are ordered by the other columns, then by id: nothing jumps between two rounds. */
void cli_table_sort(struct cli_table *table, size_t column);

/* The column of that key, or SIZE_MAX. */
size_t cli_table_column(const struct cli_column *columns, size_t count, const char *key);

/* One line without its end, at most `width` columns. */
void cli_table_put_head(const struct cli_table *table, size_t width, struct view_buffer *out);
void cli_table_put_row(const struct cli_table *table, const struct cli_row *row, size_t width,
                       struct view_buffer *out);

/* The first `max` rows with the head above, for what is no terminal. */
void cli_table_put(const struct cli_table *table, size_t max, struct view_buffer *out);

#endif
