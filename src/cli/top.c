/* SPDX-License-Identifier: Apache-2.0
 *
 * mallard top: rounds of a page, on a terminal with keys, elsewhere as plain tables.
 *
 * Two pages exist at most: that of all processes and that of one process above it. On a terminal a
 * round ends after the delay or when nothing but a key happened, which draws the page again without
 * collecting.
 *
 * SYNCHRONIZATION  One thread; the terminal is given back by whatever ends us (cli/terminal.h).
 */
#include "cli/top.h"
#include "cli/cli.h"
#include "cli/key.h"
#include "cli/processes.h"
#include "cli/table.h"

#include "http/heap_file.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define DELAY_S 2.0
#define DELAY_LEAST_S 0.1
#define DELAY_MOST_S 86400.0
#define FIRST_LOOK_S 0.3 /* the first round of rates comes sooner */

struct top {
    const char *process, *rounds_text, *delay_text, *sort, *keep;
    struct cli_keeps keeps;
    unsigned long rounds; /* 0: until somebody quits */
    double delay_s;
    struct top_sites *sites; /* NULL: the page of all processes is open */
    struct top_page all, one;
    struct top_state states[2]; /* of the two pages */
    struct top_state *state;    /* of the open page */
};

/* ---- pages ---- */

static void open_page(struct top *top, bool is_one) {
    unsigned kept = top->state != NULL ? top->state->flags & (TOP_COLOURS | TOP_PAUSED) : 0;
    top->state = &top->states[is_one];
    top->state->page = is_one ? &top->one : &top->all;
    top->state->delay_s = top->delay_s;
    top->state->flags |= kept;
    if (is_one && top->process == NULL)
        top->state->flags |= TOP_HAS_PARENT;
}

static int open_sites(struct top *top, struct mal_box_reader *reader) {
    top->sites = top_sites_new(reader, &top->keeps);
    if (top->sites == NULL)
        return -ENOMEM;
    top->states[1] = (struct top_state){0};
    open_page(top, true);
    return 0;
}

static int collect(struct top *top) {
    if (top->sites != NULL)
        return top_sites_collect(top->sites, &top->one);
    top_processes_collect(&top->all, top->delay_s);
    return 0;
}

static void open_selected(struct top *top) {
    struct mal_box_reader *reader;
    if (top->sites != NULL || top_processes_open(top->state->selected, &reader) < 0)
        return;
    if (open_sites(top, reader) == 0)
        collect(top);
}

static void go_back(struct top *top) {
    if (top->sites == NULL || top->process != NULL)
        return;
    top_sites_free(top->sites);
    top->sites = NULL;
    cli_table_clear(&top->one.table);
    open_page(top, false);
    collect(top);
}

/* ---- plain output ---- */

static int write_plain(const struct top_page *page, bool is_first) {
    struct view_buffer out = {0};
    view_buffer_printf(&out, "%s%s\n", is_first ? "" : "\n", page->title);
    cli_table_put(&page->table, SIZE_MAX, &out);
    int error = out.failed ? -ENOMEM : cli_write(NULL, out.data, out.bytes);
    view_buffer_free(&out);
    return error;
}

static void wait_s(double seconds) {
    struct timespec left = {(time_t)seconds, (long)((seconds - floor(seconds)) * 1e9)};
    while (nanosleep(&left, &left) < 0 && errno == EINTR)
        continue;
}

static int run_plain(struct top *top) {
    unsigned long rounds = top->rounds > 0 ? top->rounds : 1;
    for (unsigned long i = 0; i < rounds; i++) {
        if (i > 0)
            wait_s(top->delay_s);
        int error = collect(top);
        if (error == 0)
            error = write_plain(top->state->page, i == 0);
        else
            cli_say("process %s cannot be read: %s", top->process, cli_words(error));
        if (error < 0)
            return CLI_FAILED;
    }
    return CLI_OK;
}

/* ---- on a terminal ---- */

static double monotonic_s(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static int draw(struct top *top) {
    struct cli_size size = cli_terminal_size();
    struct view_buffer out = {0};
    top_state_settle(top->state, top_screen_rows(size));
    top_screen_draw(top->state, size, &out);
    int error = out.failed ? -ENOMEM : http_write_all(STDOUT_FILENO, out.data, out.bytes);
    view_buffer_free(&out);
    return error;
}

/* Answers keys until the round is over. False when the user quits or the terminal is gone. */
static bool take_keys(struct top *top, double until_s) {
    for (;;) {
        if (draw(top) < 0)
            return false;
        double left_s = fmax(until_s - monotonic_s(), 0);
        int key = cli_terminal_key((int)ceil(left_s * 1000));
        size_t rows = top_screen_rows(cli_terminal_size());
        enum top_order order = top_state_key(top->state, key, rows);
        if (order == TOP_QUIT)
            return false;
        if (order == TOP_OPEN)
            open_selected(top);
        else if (order == TOP_BACK)
            go_back(top);
        if (monotonic_s() >= until_s)
            return true;
    }
}

static int run_terminal(struct top *top) {
    int error = cli_terminal_open();
    if (error < 0) {
        cli_say("the terminal cannot be used: %s", strerror(-error));
        return CLI_FAILED;
    }
    top->state->flags |= cli_colours() ? TOP_COLOURS : 0;
    double until_s = monotonic_s() + fmin(FIRST_LOOK_S + 1, top->delay_s);
    bool goes_on = true;
    for (unsigned long i = 0; goes_on && (top->rounds == 0 || i < top->rounds); i++) {
        if (!(top->state->flags & TOP_PAUSED))
            collect(top);
        goes_on = take_keys(top, until_s);
        until_s = monotonic_s() + top->delay_s;
    }
    cli_terminal_close();
    return CLI_OK;
}

/* ---- the command ---- */

static int parse_numbers(const struct cli_command *command, struct top *top) {
    char *end = NULL;
    top->delay_s = DELAY_S;
    if (top->rounds_text != NULL) {
        size_t digits = strspn(top->rounds_text, "0123456789");
        top->rounds = strtoul(top->rounds_text, NULL, 10);
        if (digits == 0 || digits > 9 || top->rounds_text[digits] != '\0' || top->rounds == 0)
            return cli_usage(command, "-n needs a number of rounds, not '%s'", top->rounds_text);
    }
    if (top->delay_text != NULL) {
        top->delay_s = strtod(top->delay_text, &end);
        bool good = end != top->delay_text && *end == '\0' && top->delay_s >= DELAY_LEAST_S &&
                    top->delay_s <= DELAY_MOST_S;
        if (!good)
            return cli_usage(command, "-d needs seconds, at least 0.1, not '%s'", top->delay_text);
    }
    return CLI_OK;
}

static int parse_sort(const struct cli_command *command, struct top *top) {
    struct top_page *page = top->process != NULL ? &top->one : &top->all;
    if (top->sort == NULL)
        return CLI_OK;
    size_t column = cli_table_column(page->table.columns, page->table.column_count, top->sort);
    if (column == SIZE_MAX)
        return cli_usage(command, "there is no column '%s' to sort by", top->sort);
    page->sort = column;
    return CLI_OK;
}

static int open_first(struct top *top) {
    struct cli_process process;
    int error = cli_keeps_open(top->keep, &top->keeps);
    open_page(top, false);
    if (error < 0 || top->process == NULL)
        return error;
    error = cli_find_box(&top->keeps, top->process, &process);
    return error < 0 ? error : open_sites(top, process.reader);
}

static int run_pages(struct top *top) {
    int status = CLI_FAILED;
    if (open_first(top) == 0)
        status = cli_terminal_usable() ? run_terminal(top) : run_plain(top);
    top_sites_free(top->sites);
    cli_keeps_close(&top->keeps);
    cli_table_free(&top->one.table);
    cli_table_free(&top->all.table);
    return status;
}

static int run_top(const struct cli_command *command, int count, char **arguments) {
    struct top top = {0};
    const struct cli_option known[] = {{"--rounds", "-n", &top.rounds_text, 0},
                                       {"--delay", "-d", &top.delay_text, 0},
                                       {"--sort", NULL, &top.sort, 0},
                                       {"--keep", NULL, &top.keep, 0}};
    struct cli_options options = {known, MAL_COUNT_OF(known), 0};
    int parsed = cli_parse_one(command, &options, count, arguments, &top.process);
    if (parsed < 0)
        return cli_parse_status(parsed);
    top_processes_page(&top.all);
    top_sites_page(&top.one);
    parsed = parse_numbers(command, &top);
    if (parsed == CLI_OK)
        parsed = parse_sort(command, &top);
    return parsed == CLI_OK ? run_pages(&top) : parsed;
}

const struct cli_command cli_top = {
    .name = "top",
    .summary = "watch all processes, or one process's call sites",
    .help =
        "usage: mallard top [PID|BOX] [-n ROUNDS] [-d SECONDS] [--sort KEY]\n"
        "                   [--keep DIR]\n\n"
        "Without a process: every process that runs on Mallard, with its resident set, live\n"
        "objects, their growth per hour, what it allocates per second (bytes, objects), free\n"
        "objects in caches, and free pages not returned to the system. With one: its functions\n"
        "by the bytes they hold (FLAT), hold with what they called (CUM), live objects, and\n"
        "bytes allocated per second, all estimated from samples; the first round's rates are\n"
        "means since the process began.\n\n"
        "  -n, --rounds ROUNDS    end after that many rounds\n"
        "  -d, --delay SECONDS    between two rounds (2)\n"
        "  --sort KEY             pid rss live growth alloc objects caches free command; of one\n"
        "                         process: flat cum objects alloc function\n"
        "  --keep DIR             look for a dead process in DIR; see 'mallard help ps'\n\n"
        "Keys: j k and arrows select, Enter opens the process's call sites, Esc goes back, s\n"
        "orders by the next column, p pauses, ? lists all keys, q quits. When input or output\n"
        "is no terminal one plain table is printed a round, one round unless -n says more.\n"
        "NO_COLOR=1 turns colours off.\n",
    .run = run_top,
};
