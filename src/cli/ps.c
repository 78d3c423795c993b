/* SPDX-License-Identifier: Apache-2.0
 *
 * mallard ps: the processes that have a box here and, with -a, those that a daemon kept.
 *
 * A dead process may be found twice, by a box that nobody removed and by its folder: it is listed
 * once, with the figures of the box and the death of the folder, which tells more. A folder of a
 * process that still runs is no news. Whose box another version wrote is named behind the table.
 *
 * SYNCHRONIZATION  One thread.
 */
#include "cli/cli.h"
#include "cli/clip.h"
#include "cli/death.h"
#include "cli/foreign.h"
#include "cli/processes.h"
#include "cli/terminal.h"
#include "cli/when.h"

#include "view/table.h"
#include "view/view.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ALL = 1u << 0 };

struct row {
    struct http_key key;
    uint64_t started_unix_ns, ended_unix_ns;
    bool alive;
    char state[DEATH_BYTES];
    bool has_figures;
    uint64_t rate, rss_bytes, heap_bytes, samples;
    char *command;
};

struct table {
    unsigned flags;
    size_t count, capacity;
    struct row *rows;
};

/* ---- collecting ---- */

static char *command_of(const char *cmdline, size_t bytes, const char *exe) {
    return bytes > 0 ? clip_printable(cmdline, bytes) : clip_printable(exe, strlen(exe));
}

/* The figures that the box was left with; none when it cannot be read, or nothing was published in
 * the little time that there was. */
static void read_figures(struct mal_box_reader *reader, struct row *row) {
    struct mal_box_stats stats;
    struct mal_status status;
    if (mal_reader_status(reader, &status) == 0)
        row->rate = status.mem_profile_rate;
    if (mal_reader_stats(reader, &stats) < 0 || stats.published_unix_ns == 0)
        return;
    row->has_figures = true;
    row->rss_bytes = stats.value[MAL_STAT_RSS];
    row->heap_bytes = stats.value[MAL_STAT_HEAP_ALLOC];
    row->samples = stats.value[MAL_STAT_SAMPLES];
    if (row->ended_unix_ns == 0 && !row->alive)
        row->ended_unix_ns = stats.published_unix_ns;
}

/* Takes the row's text over. */
static struct row *add_row(struct table *table, const struct row *row) {
    struct row *rows =
        view_array_grow(table->rows, table->count, &table->capacity, sizeof *table->rows);
    if (rows == NULL) {
        free(row->command);
        return NULL;
    }
    table->rows = rows;
    rows[table->count] = *row;
    return &rows[table->count++];
}

static uint64_t ended_at(const struct mal_status *status) {
    if (status->life == MAL_LIFE_EXITED)
        return status->ended_unix_ns;
    return status->life == MAL_LIFE_GONE && status->reaped ? status->reaped_unix_ns : 0;
}

static int add_box(struct http_process *process, void *visit_context) {
    struct table *table = visit_context;
    const struct mal_identity *identity = process->identity;
    struct row row = {.key = {identity->pid, identity->start_ticks},
                      .started_unix_ns = identity->started_unix_ns,
                      .ended_unix_ns = ended_at(process->status),
                      .alive = process->status->life == MAL_LIFE_ALIVE};
    if (!row.alive && !(table->flags & ALL))
        return 0;
    death_of_status(process->status, row.state);
    row.command = command_of(identity->cmdline, identity->cmdline_bytes, identity->exe);
    struct row *added = add_row(table, &row);
    if (added != NULL)
        read_figures(process->reader, added);
    return 0;
}

static struct row *find_row(const struct table *table, const struct keep_facts *facts) {
    for (size_t i = 0; i < table->count; i++) {
        struct row *row = &table->rows[i];
        if (row->key.pid == facts->pid && row->key.start_ticks == facts->start_ticks &&
            cli_same_start(row->started_unix_ns, facts->started_unix_ns))
            return row;
    }
    return NULL;
}

static struct row *add_folder(struct table *table, const struct keep_facts *facts,
                              const char *folder) {
    struct mal_box_reader *reader;
    struct row row = {.key = {facts->pid, facts->start_ticks},
                      .started_unix_ns = facts->started_unix_ns,
                      .ended_unix_ns = facts->ended_unix_ns,
                      .command = command_of(facts->cmdline, facts->cmdline_bytes, facts->exe)};
    struct row *added = add_row(table, &row);
    if (added != NULL && keep_box_open(folder, &reader) == 0) {
        read_figures(reader, added);
        mal_reader_close(reader);
    }
    return added;
}

static bool still_runs(const struct keep_facts *facts) {
    char boot[KEEP_BOOT_BYTES];
    keep_boot(boot);
    return facts->death == KEEP_DEATH_NONE && strcmp(boot, facts->boot) == 0 &&
           mal_reader_process_is_alive(facts->pid, facts->start_ticks);
}

static int add_kept(const struct keep_facts *facts, const char *folder, void *context) {
    struct table *table = context;
    struct row *row = find_row(table, facts);
    if ((row != NULL && row->alive) || still_runs(facts))
        return 0;
    if (row == NULL)
        row = add_folder(table, facts, folder);
    if (row == NULL)
        return 0;
    if (facts->ended_unix_ns != 0)
        row->ended_unix_ns = facts->ended_unix_ns;
    if (facts->death > KEEP_DEATH_UNKNOWN || *row->state == '\0')
        death_of_facts(facts, row->state);
    return 0;
}

static int by_pid(const void *a, const void *b) {
    const struct row *left = a;
    const struct row *right = b;
    if (left->key.pid != right->key.pid)
        return left->key.pid > right->key.pid ? 1 : -1;
    return (left->started_unix_ns > right->started_unix_ns) -
           (left->started_unix_ns < right->started_unix_ns);
}

static int collect(struct table *table, const char *keep) {
    struct cli_keeps keeps;
    int error = cli_keeps_open(keep, &keeps);
    if (error < 0)
        return error;
    cli_each(add_box, table);
    if (table->flags & ALL)
        cli_keeps_each(&keeps, add_kept, table);
    cli_keeps_close(&keeps);
    if (table->count > 0)
        qsort(table->rows, table->count, sizeof *table->rows, by_pid);
    return 0;
}

/* ---- printing ---- */

static void put_figures(const struct row *row, struct view_buffer *out) {
    char rss[16];
    char heap[16];
    if (!row->has_figures) {
        view_buffer_printf(out, "%9s  %9s  %8s  %8s  ", "-", "-", "-", "-");
        return;
    }
    view_human_bytes(row->rss_bytes, rss);
    view_human_bytes(row->heap_bytes, heap);
    view_buffer_printf(out, "%9s  %9s  %8" PRIu64 "  %8" PRIu64 "  ", rss, heap, row->samples,
                       row->rate);
}

/* The row as text; the command at the end gets what is left of `columns`. */
static void put_row(const struct table *table, const struct row *row, size_t columns,
                    struct view_buffer *out) {
    char ended[CLI_CLOCK_BYTES] = "-";
    size_t before = out->bytes;
    view_buffer_printf(out, "%7" PRIu32 "  %-9s  ", row->key.pid, row->state);
    put_figures(row, out);
    if (row->ended_unix_ns != 0)
        cli_clock_text(row->ended_unix_ns / 1000000000u, time(NULL), ended);
    if (table->flags & ALL)
        view_buffer_printf(out, "%12s  ", ended);
    size_t used = out->bytes - before;
    clip_put(out, row->command != NULL ? row->command : "", columns > used ? columns - used : 1);
}

static void put_head(const struct table *table, struct view_buffer *out) {
    view_buffer_printf(out, "%7s  %-9s  %9s  %9s  %8s  %8s  ", "PID", "STATE", "RSS", "HEAP",
                       "SAMPLES", "RATE");
    if (table->flags & ALL)
        view_buffer_printf(out, "%12s  ", "ENDED");
    view_buffer_text(out, "COMMAND");
}

static int print_table(const struct table *table) {
    struct view_buffer out = {0};
    bool colours = cli_colours();
    size_t columns = isatty(STDOUT_FILENO) ? cli_terminal_size().columns : SIZE_MAX;
    view_buffer_text(&out, colours ? "\033[1m" : "");
    put_head(table, &out);
    view_buffer_text(&out, colours ? "\033[0m\n" : "\n");
    for (size_t i = 0; i < table->count; i++) {
        bool dim = colours && !table->rows[i].alive;
        view_buffer_text(&out, dim ? "\033[2m" : "");
        put_row(table, &table->rows[i], columns, &out);
        view_buffer_text(&out, dim ? "\033[0m\n" : "\n");
    }
    int error = out.failed ? -ENOMEM : cli_write(NULL, out.data, out.bytes);
    view_buffer_free(&out);
    return error;
}

/* ---- the command ---- */

/* What is left out of the table although it is there. */
static int say_foreign(const struct foreign_box *box, void *context) {
    const struct table *table = context;
    if (box->alive || table->flags & ALL)
        foreign_say(box);
    return 0;
}

/* An empty table does not tell where it was looked: users and root have folders of their own. */
static void say_where(void) {
    struct cli_boxes boxes;
    if (cli_boxes_find(&boxes) == 0)
        cli_say("nothing to list in %s", boxes.folder);
    else
        cli_say("nothing to list: there is no folder of boxes");
}

static int run_ps(const struct cli_command *command, int count, char **arguments) {
    const char *keep = NULL;
    const struct cli_option known[] = {{"--all", "-a", NULL, ALL}, {"--keep", NULL, &keep, 0}};
    struct cli_options options = {known, MAL_COUNT_OF(known), 0};
    int at = cli_parse(command, &options, count, arguments);
    if (at < 0)
        return cli_parse_status(at);
    if (at < count)
        return cli_usage(command, "ps takes no argument, not '%s'", arguments[at]);
    struct table table = {.flags = options.flags};
    int error = collect(&table, keep);
    if (error == 0)
        error = print_table(&table);
    if (error == 0 && table.count == 0)
        say_where();
    if (error == 0)
        foreign_each(say_foreign, &table);
    for (size_t i = 0; i < table.count; i++)
        free(table.rows[i].command);
    free(table.rows);
    return error < 0 ? CLI_FAILED : CLI_OK;
}

const struct cli_command cli_ps = {
    .name = "ps",
    .summary = "list the processes that run on Mallard",
    .help =
        "usage: mallard ps [-a] [--keep DIR]\n\n"
        "Lists the processes that have a box in this environment's folder ($MALLARD_DIR,\n"
        "/run/mallard, $XDG_RUNTIME_DIR/mallard or /dev/shm/mallard.UID) and in the private\n"
        "folders of 'mallard run' in it.\n\n"
        "  -a, --all    also those that exited or were killed: by the boxes they left, and those\n"
        "               that mallardd kept; how each one ended, and when\n"
        "  --keep DIR   where mallardd keeps them; without it $MALLARD_KEEP_DIR, else\n"
        "               /var/lib/mallard, $XDG_STATE_HOME/mallard and ~/.local/state/mallard\n\n"
        "RSS is the resident set, HEAP the bytes of live objects, RATE the mean number of\n"
        "bytes between two samples. STATE is 'killed' where nobody knows the signal.\n",
    .run = run_ps,
};
