/* SPDX-License-Identifier: Apache-2.0
 *
 * mallard trace: the trace lines that a process's box still holds.
 *
 * SYNCHRONIZATION  One thread.
 */
#include "cli/cli.h"
#include "cli/processes.h"

#include <time.h>

#define CHUNK_BYTES 16384
#define FOLLOW_NS 200000000

enum { FOLLOW = 1u << 0 };

/* The library writes lines of ASCII. What else is in a box was put there by whoever owns it, and
 * a terminal might obey it. */
static void make_printable(char *text, size_t bytes) {
    for (size_t i = 0; i < bytes; i++)
        if (text[i] != '\n' && (text[i] < ' ' || text[i] > '~'))
            text[i] = '?';
}

/* Prints what is new since the cursor, at most a whole ring of it. */
static long print_new(struct mal_box_reader *reader, uint64_t *cursor, uint64_t *ret_printed) {
    char chunk[CHUNK_BYTES];
    uint64_t printed = 0;
    long bytes = 1;
    while (bytes > 0 && printed < MAL_BOX_TRACE_BYTES) {
        bytes = mal_reader_trace(reader, cursor, chunk, sizeof chunk);
        make_printable(chunk, bytes > 0 ? (size_t)bytes : 0);
        if (bytes > 0 && cli_write(NULL, chunk, (size_t)bytes) < 0)
            return -1;
        printed += bytes > 0 ? (uint64_t)bytes : 0;
    }
    if (bytes < 0)
        cli_say("the trace cannot be read");
    *ret_printed += printed;
    return bytes < 0 ? bytes : 0;
}

static bool is_alive(struct mal_box_reader *reader) {
    struct mal_status status;
    return mal_reader_status(reader, &status) == 0 && status.life == MAL_LIFE_ALIVE;
}

/* Life is asked before the last look, so that the lines of a process's end are printed too. */
static long print_all(struct mal_box_reader *reader, const char *text, unsigned flags) {
    uint64_t cursor = 0, printed = 0;
    for (;;) {
        bool goes_on = flags & FOLLOW && is_alive(reader);
        long error = print_new(reader, &cursor, &printed);
        if (error == 0 && !goes_on && printed == 0)
            cli_say("%s has written no lines", text);
        if (error < 0 || !goes_on)
            return error;
        nanosleep(&(struct timespec){.tv_nsec = FOLLOW_NS}, NULL);
    }
}

static int run_trace(const struct cli_command *command, int count, char **arguments) {
    const char *keep = NULL;
    const struct cli_option known[] = {{"--keep", NULL, &keep, 0},
                                       {"--follow", "-f", NULL, FOLLOW}};
    struct cli_options options = {known, MAL_COUNT_OF(known), 0};
    struct mal_box_reader *reader;
    const char *pid;
    int parsed = cli_parse_one(command, &options, count, arguments, &pid);
    if (parsed < 0)
        return cli_parse_status(parsed);
    if (pid == NULL)
        return cli_usage(command, "trace needs a process id");
    if (cli_open(keep, pid, &reader) < 0)
        return CLI_FAILED;
    long result = print_all(reader, pid, options.flags);
    mal_reader_close(reader);
    return result < 0 ? CLI_FAILED : CLI_OK;
}

const struct cli_command cli_trace = {
    .name = "trace",
    .summary = "print one process's trace lines",
    .help = "usage: mallard trace PID|BOX [-f] [--keep DIR]\n\n"
            "Prints the newest lines of the collector, the scavenger and other events that the\n"
            "process wrote into its box, oldest first. Works for a process that was killed.\n\n"
            "  -f, --follow   go on printing until the process ends\n"
            "  --keep DIR     look for dead processes in DIR; see 'mallard help ps'\n",
    .run = run_trace,
};
