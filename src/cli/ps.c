/* SPDX-License-Identifier: Apache-2.0
 *
 * mallard ps: the processes that have a box here.
 *
 * SYNCHRONIZATION  One thread.
 */
#include "cli/cli.h"

#include "view/view.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { ALL = 1u << 0 };

struct row {
    uint32_t pid;
    enum mal_life life;
    uint64_t rate, rss_bytes, heap_bytes, samples;
    char *command;
};

struct table {
    unsigned flags;
    size_t count;
    struct row *rows;
};

/* The command line as one line: NULs become spaces, what would move the cursor becomes '?'. */
static char *printable(const struct mal_identity *identity) {
    const char *text = identity->cmdline_bytes > 0 ? identity->cmdline : identity->exe;
    size_t bytes = identity->cmdline_bytes > 0 ? identity->cmdline_bytes : strlen(text);
    char *copy = malloc(bytes + 1);
    if (copy == NULL)
        return NULL;
    for (size_t i = 0; i < bytes; i++) {
        unsigned char c = (unsigned char)text[i];
        copy[i] = c == '\0' ? ' ' : c < ' ' || c == 0x7f ? '?' : (char)c;
    }
    copy[bytes] = '\0';
    return copy;
}

static int add_row(struct http_process *process, void *visit_context) {
    struct table *table = visit_context;
    struct mal_box_stats stats;
    const struct mal_status *status = process->status;
    if (status->life != MAL_LIFE_ALIVE && !(table->flags & ALL))
        return 0;
    struct row *rows = reallocarray(table->rows, table->count + 1, sizeof *rows);
    if (rows == NULL)
        return 0;
    table->rows = rows;
    if (mal_reader_stats(process->reader, &stats) < 0)
        memset(&stats, 0, sizeof stats);
    rows[table->count++] = (struct row){
        .pid = process->identity->pid,
        .life = status->life,
        .rate = status->mem_profile_rate,
        .rss_bytes = stats.value[MAL_STAT_RSS],
        .heap_bytes = stats.value[MAL_STAT_HEAP_ALLOC],
        .samples = stats.value[MAL_STAT_SAMPLES],
        .command = printable(process->identity),
    };
    return 0;
}

static int by_pid(const void *a, const void *b) {
    uint32_t left = ((const struct row *)a)->pid;
    uint32_t right = ((const struct row *)b)->pid;
    return (left > right) - (left < right);
}

/* Columns that the command may take: the rest of a terminal's line, all elsewhere. */
static int command_width(void) {
    struct winsize size;
    const int before = 62;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0 || size.ws_col <= before)
        return INT_MAX;
    return size.ws_col - before;
}

static void print_row(const struct row *row, bool colours, int width) {
    static const char *const states[] = {
        [MAL_LIFE_ALIVE] = "running", [MAL_LIFE_EXITED] = "exited", [MAL_LIFE_GONE] = "killed"};
    bool dim = colours && row->life != MAL_LIFE_ALIVE;
    char rss[16];
    char heap[16];
    view_human_bytes(row->rss_bytes, rss);
    view_human_bytes(row->heap_bytes, heap);
    printf("%s%7" PRIu32 "  %-7s  %9s  %9s  %8" PRIu64 "  %8" PRIu64 "  %.*s%s\n",
           dim ? "\033[2m" : "", row->pid, states[row->life], rss, heap, row->samples, row->rate,
           width, row->command != NULL ? row->command : "", dim ? "\033[0m" : "");
}

static void print_table(const struct table *table) {
    bool colours = isatty(STDOUT_FILENO);
    int width = command_width();
    printf("%s%7s  %-7s  %9s  %9s  %8s  %8s  %s%s\n", colours ? "\033[1m" : "", "PID", "STATE",
           "RSS", "HEAP", "SAMPLES", "RATE", "COMMAND", colours ? "\033[0m" : "");
    for (size_t i = 0; i < table->count; i++)
        print_row(&table->rows[i], colours, width);
}

static int run_ps(const struct cli_command *command, int count, char **arguments) {
    static const struct cli_option known[] = {{"--all", "-a", NULL, ALL}};
    struct cli_options options = {known, MAL_COUNT_OF(known), 0};
    struct cli_boxes boxes;
    int at = cli_parse(command, &options, count, arguments);
    if (at < 0)
        return cli_parse_status(at);
    if (at < count)
        return cli_usage(command, "ps takes no argument, not '%s'", arguments[at]);
    struct table table = {.flags = options.flags};
    if (cli_boxes_find(&boxes) == 0) {
        struct http_source source = http_folder_source(&boxes.source);
        source.each(source.context, HTTP_VIEWER_ALL, add_row, &table);
    }
    if (table.count > 0)
        qsort(table.rows, table.count, sizeof *table.rows, by_pid);
    print_table(&table);
    for (size_t i = 0; i < table.count; i++)
        free(table.rows[i].command);
    free(table.rows);
    return CLI_OK;
}

const struct cli_command cli_ps = {
    .name = "ps",
    .summary = "list the processes that run on Mallard",
    .help = "usage: mallard ps [-a]\n\n"
            "Lists the processes that have a box in this environment's folder ($MALLARD_DIR,\n"
            "/run/mallard, $XDG_RUNTIME_DIR/mallard or /dev/shm/mallard.UID) and in the private\n"
            "folders of 'mallard run' in it.\n\n"
            "  -a, --all   also those that exited or were killed\n\n"
            "RSS is the resident set, HEAP the bytes of live objects, RATE the mean number of\n"
            "bytes between two samples.\n",
    .run = run_ps,
};
