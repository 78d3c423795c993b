/* SPDX-License-Identifier: Apache-2.0
 *
 * What the subcommands of `mallard` share.
 *
 * Exit statuses: 0 done, 1 failed, 2 called wrongly. `run` exits as its program does: with its
 * status, or 128 + N when signal N ended it; 126 when it cannot be executed, 127 when it is not found.
 */
#ifndef MAL_CLI_CLI_H
#define MAL_CLI_CLI_H

#include "base/attr.h"
#include "box/reader.h"

#include <stdbool.h>
#include <stddef.h>

enum cli_status { CLI_OK = 0, CLI_FAILED = 1, CLI_USAGE = 2 };

struct cli_command {
    const char *name;
    int (*run)(int argc, char **argv); /* argv[0] is the command's own name */
    const char *summary;               /* one line for the list */
    const char *help;                  /* the whole text of --help */
};

extern const struct cli_command cli_run, cli_ps, cli_stat, cli_heap, cli_allocs, cli_trace, cli_check;

/* "mallard: <sentence>\n" to standard error; returns CLI_FAILED. */
int cli_fail(const char *format, ...) MAL_PRINTF(1, 2);
/* The same, followed by a hint at --help; returns CLI_USAGE. */
int cli_misuse(const char *command, const char *format, ...) MAL_PRINTF(2, 3);

/* True when the argument asks for help; then the command's text has been printed. */
bool cli_help_asked(const struct cli_command *command, int argc, char **argv);

/* A decimal pid, or -1. */
long cli_parse_pid(const char *text);

/* Opens the newest box of a pid, alive or dead, or the file that `what` names. 0, or the status of
 * the sentence it has printed. */
int cli_open(const char *what, struct mal_box_reader **ret_reader);

/* Calls for every box that can be found from here: the folder of this environment and, below it,
 * those of running `mallard run`s. */
void cli_each_box(int (*visit)(const char *path, void *context), void *context);

/* Asks a living process to publish its statistics now; the dead and the deaf stay as they are. */
void cli_refresh(struct mal_box_reader *reader);

#endif
