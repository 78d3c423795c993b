/* SPDX-License-Identifier: Apache-2.0
 *
 * mallard stat: one process's statistics, for people or as JSON.
 *
 * SYNCHRONIZATION  One thread.
 */
#include "cli/cli.h"

#include "view/view.h"

enum { JSON = 1u << 0 };

/* A process that answers publishes first, so that the figures are of this moment. */
#define PUBLISH_TIMEOUT_MS 200

static int render(struct mal_box_reader *reader, unsigned flags, struct view_buffer *out) {
    struct view_process process = {0};
    int64_t result;
    mal_reader_command(reader, MAL_BOX_CMD_PUBLISH, 0, PUBLISH_TIMEOUT_MS, &result);
    int error = mal_reader_stats(reader, &process.stats);
    if (error < 0 || flags & JSON)
        return error < 0 ? error : view_memstats_json(&process.stats, out);
    error = mal_reader_status(reader, &process.status);
    if (error == 0)
        error = mal_reader_identity(reader, &process.identity);
    if (error < 0)
        return error;
    error = view_stat_text(&process, out);
    mal_identity_free(&process.identity);
    return error;
}

static int run_stat(const struct cli_command *command, int count, char **arguments) {
    static const struct cli_option known[] = {{"--json", NULL, NULL, JSON}};
    struct cli_options options = {known, MAL_COUNT_OF(known), 0};
    struct view_buffer out = {0};
    struct mal_box_reader *reader;
    const char *pid;
    int parsed = cli_parse_one(command, &options, count, arguments, &pid);
    if (parsed < 0)
        return cli_parse_status(parsed);
    if (pid == NULL)
        return cli_usage(command, "stat needs a process id or the path of a box");
    if (cli_open(pid, &reader) < 0)
        return CLI_FAILED;
    int error = render(reader, options.flags, &out);
    if (error < 0)
        cli_say("the statistics of process %s cannot be read", pid);
    else
        error = cli_write(NULL, out.data, out.bytes);
    view_buffer_free(&out);
    mal_reader_close(reader);
    return error < 0 ? CLI_FAILED : CLI_OK;
}

const struct cli_command cli_stat = {
    .name = "stat",
    .summary = "where one process's memory is",
    .help = "usage: mallard stat PID|BOX [--json]\n\n"
            "Prints who the process is, what is resident, and where the bytes obtained from the\n"
            "system are. Works for a process that was killed, too.\n\n"
            "  --json   Go's MemStats and every figure of Mallard's, as JSON\n",
    .run = run_stat,
};
