/* SPDX-License-Identifier: Apache-2.0
 *
 * `mallard stat PID`: the statistics of one process.
 */
#include "cli/cli.h"
#include "view/view.h"

#include <stdio.h>
#include <string.h>

static const char help_text[] =
    "Usage: mallard stat [--json] PID|FILE\n\n"
    "Prints where the memory of a process is, in human units.\n\n"
    "  --json   as JSON with the field names of Go's runtime.MemStats, in bytes\n\n"
    "FILE is a box, as a killed process leaves it. Exit status: 0, 1 no such box, 2 usage.\n";

static int load(struct mal_box_reader *reader, struct view_process *process) {
    cli_refresh(reader);
    int error = mal_reader_status(reader, &process->status);
    if (!error)
        error = mal_reader_stats(reader, &process->stats);
    if (!error)
        error = mal_reader_identity(reader, &process->identity);
    return error;
}

static int print(struct mal_box_reader *reader, bool as_json) {
    static struct view_process process;
    struct view_buffer out = {0};
    int error = load(reader, &process);
    if (error)
        return cli_fail("%s cannot be read: %s", mal_reader_path(reader), strerror(-error));
    error = as_json ? view_memstats_json(&process.stats, &out) : view_stat_text(&process, &out);
    if (!error)
        fwrite(out.data, 1, out.bytes, stdout);
    view_buffer_free(&out);
    mal_identity_free(&process.identity);
    return error ? cli_fail("out of memory") : CLI_OK;
}

static int run(int argc, char **argv) {
    const char *what = NULL;
    bool as_json = false;
    if (cli_help_asked(&cli_stat, argc, argv))
        return CLI_OK;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--json") == 0)
            as_json = true;
        else if (argv[i][0] == '-' || what)
            return cli_misuse("stat", "unexpected argument '%s'", argv[i]);
        else
            what = argv[i];
    }
    if (!what)
        return cli_misuse("stat", "which process?");
    struct mal_box_reader *reader;
    int status = cli_open(what, &reader);
    if (status != CLI_OK)
        return status;
    status = print(reader, as_json);
    mal_reader_close(reader);
    return status;
}

const struct cli_command cli_stat = {"stat", run, "where the memory of a process is", help_text};
