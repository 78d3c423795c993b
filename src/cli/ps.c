/* SPDX-License-Identifier: Apache-2.0
 *
 * `mallard ps`: one line for each process that has a box.
 */
#include "cli/cli.h"
#include "view/view.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char help_text[] =
    "Usage: mallard ps [-a]\n\n"
    "Lists the processes that run under Mallard.\n\n"
    "  -a   also those that ended without removing their box: killed ones, mostly\n\n"
    "Columns: pid; state; resident bytes; live heap bytes; samples; sampling rate; command line.\n"
    "Exit status: 0, also when there are none.\n";

static const char *state_name(enum mal_life life) {
    static const char *const names[] = {
        [MAL_LIFE_ALIVE] = "alive", [MAL_LIFE_EXITED] = "exited", [MAL_LIFE_GONE] = "killed"};
    return names[life];
}

static void print_command(const struct mal_identity *identity) {
    for (size_t i = 0; i < identity->cmdline_bytes; i++) {
        unsigned char c = (unsigned char)identity->cmdline[i];
        putchar(c == '\0' ? ' ' : c < ' ' || c == 127 ? '?' : c);
    }
    putchar('\n');
}

static void print_row(const struct mal_identity *identity, const struct mal_status *status,
                      const struct mal_box_stats *stats) {
    char rss[16], live[16];
    view_human_bytes(stats->value[MAL_STAT_RSS], rss);
    view_human_bytes(stats->value[MAL_STAT_HEAP_ALLOC], live);
    printf("%8" PRIu32 " %-6s %10s %10s %8" PRIu64 " %8" PRIu64 " ", identity->pid,
           state_name(status->life), rss, live, stats->value[MAL_STAT_SAMPLES],
           status->mem_profile_rate);
    print_command(identity);
}

static void show(struct mal_box_reader *reader, bool with_dead) {
    static struct mal_box_stats stats;
    struct mal_identity identity;
    struct mal_status status;
    if (mal_reader_status(reader, &status) != 0 || mal_reader_identity(reader, &identity) != 0)
        return;
    if (status.life == MAL_LIFE_ALIVE)
        cli_refresh(reader);
    if (mal_reader_stats(reader, &stats) != 0)
        memset(&stats, 0, sizeof stats);
    if (with_dead || status.life == MAL_LIFE_ALIVE)
        print_row(&identity, &status, &stats);
    mal_identity_free(&identity);
}

static int visit(const char *path, void *context) {
    struct mal_box_reader *reader;
    if (mal_reader_open(path, &reader) == 0) {
        show(reader, *(bool *)context);
        mal_reader_close(reader);
    }
    return 0;
}

static int run(int argc, char **argv) {
    bool with_dead = false;
    if (cli_help_asked(&cli_ps, argc, argv))
        return CLI_OK;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "-a") != 0)
            return cli_misuse("ps", "unexpected argument '%s'", argv[i]);
        with_dead = true;
    }
    printf("%8s %-6s %10s %10s %8s %8s %s\n", "PID", "STATE", "RSS", "HEAP", "SAMPLES", "RATE",
           "COMMAND");
    cli_each_box(visit, &with_dead);
    return CLI_OK;
}

const struct cli_command cli_ps = {"ps", run, "list the processes that run under Mallard", help_text};
