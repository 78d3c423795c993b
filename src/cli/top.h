/* SPDX-License-Identifier: Apache-2.0
 *
 * mallard top: what it shows, and how that is drawn.
 *
 *   top.c            the command: options, rounds, keys
 *   top_state.c      which row is selected, which page is open: what a key changes
 *   top_screen.c     a page as a screen or as plain text
 *   top_processes.c  the page of all processes
 *   top_sites.c      the page of one process's call sites
 */
#ifndef MAL_CLI_TOP_H
#define MAL_CLI_TOP_H

#include "cli/table.h"
#include "cli/terminal.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What is shown at one time. */
struct top_page {
    char title[320]; /* the first line; harmless for a terminal */
    struct cli_table table;
    size_t sort;         /* column */
    const char *nothing; /* said where there are no rows */
};

/* ---- the page of all processes ---- */

struct mal_box_reader;
void top_processes_page(struct top_page *ret_page);
/* Fills the page anew; rates are those of the last `window_s` seconds. */
void top_processes_collect(struct top_page *page, double window_s);
/* Opens the box of the process with that row id. -ENOENT when it is not there any more. */
int top_processes_open(uint64_t id, struct mal_box_reader **ret_reader);

/* ---- the page of one process ---- */

struct top_sites;
struct cli_keeps;
/* Takes the reader over, also when it fails. NULL when it fails. */
struct top_sites *top_sites_new(struct mal_box_reader *reader, const struct cli_keeps *keeps);
void top_sites_free(struct top_sites *sites); /* accepts NULL */
void top_sites_page(struct top_page *ret_page);
/* 0 or -errno when the box cannot be read any more; the page then stays as it was. */
int top_sites_collect(struct top_sites *sites, struct top_page *page);

/* ---- the screen ---- */

enum top_flags {
    TOP_PAUSED = 1u << 0,
    TOP_HELP = 1u << 1, /* the list of keys instead of rows */
    TOP_COLOURS = 1u << 2,
    TOP_HAS_PARENT = 1u << 3, /* Esc leads somewhere */
    TOP_CHOSEN = 1u << 4      /* the user selected a row; until then it is the first one */
};

struct top_state {
    struct top_page *page;
    unsigned flags;    /* enum top_flags */
    uint64_t selected; /* row id */
    size_t at;         /* where that row was drawn last; it takes over when the row is gone */
    size_t first;      /* first row shown */
    double delay_s;
};

/* Finds the selected row again after the rows changed, and scrolls so that it is seen. */
void top_state_settle(struct top_state *state, size_t visible_rows);

enum top_order { TOP_STAY, TOP_QUIT, TOP_OPEN, TOP_BACK };
/* What a key means; changes selection, order and flags. */
enum top_order top_state_key(struct top_state *state, int key, size_t visible_rows);

/* How many rows fit below the head. */
size_t top_screen_rows(struct cli_size size);
/* The whole screen, to be written at once. */
void top_screen_draw(const struct top_state *state, struct cli_size size, struct view_buffer *out);

#endif
