/* SPDX-License-Identifier: Apache-2.0
 *
 * `mallard trace PID`: the trace lines that a process has written.
 */
#include "cli/cli.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static const char help_text[] =
    "Usage: mallard trace [--follow] PID|FILE\n\n"
    "Prints the trace lines (gctrace, scavtrace and events) kept in the box of a process.\n\n"
    "  --follow   goes on printing as lines come, until the process ends\n\n"
    "Exit status: 0, 1 no such box, 2 usage.\n";

#define CHUNK_BYTES 65536
#define POLL_NS (200 * 1000 * 1000)

static long print_new(struct mal_box_reader *reader, uint64_t *cursor) {
    static char text[CHUNK_BYTES];
    long got;
    while ((got = mal_reader_trace(reader, cursor, text, sizeof text)) > 0)
        fwrite(text, 1, (size_t)got, stdout);
    fflush(stdout);
    return got;
}

static bool is_alive(struct mal_box_reader *reader) {
    struct mal_status status;
    return mal_reader_status(reader, &status) == 0 && status.life == MAL_LIFE_ALIVE;
}

static int print_all(struct mal_box_reader *reader, bool follow) {
    uint64_t cursor = 0;
    long error = print_new(reader, &cursor);
    while (follow && error == 0 && is_alive(reader)) {
        nanosleep(&(struct timespec){.tv_nsec = POLL_NS}, NULL);
        error = print_new(reader, &cursor);
    }
    return error < 0 ? cli_fail("%s cannot be read: %s", mal_reader_path(reader),
                                strerror((int)-error))
                     : CLI_OK;
}

static int run(int argc, char **argv) {
    const char *what = NULL;
    bool follow = false;
    if (cli_help_asked(&cli_trace, argc, argv))
        return CLI_OK;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--follow") == 0)
            follow = true;
        else if (argv[i][0] == '-' || what)
            return cli_misuse("trace", "unexpected argument '%s'", argv[i]);
        else
            what = argv[i];
    }
    if (!what)
        return cli_misuse("trace", "which process?");
    struct mal_box_reader *reader;
    int status = cli_open(what, &reader);
    if (status != CLI_OK)
        return status;
    status = print_all(reader, follow);
    mal_reader_close(reader);
    return status;
}

const struct cli_command cli_trace = {"trace", run, "print the trace lines of a process", help_text};
