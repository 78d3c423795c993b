/* SPDX-License-Identifier: Apache-2.0
 *
 * The `mallard` command: one table of subcommands, one file each, and what they share.
 */
#ifndef MAL_CLI_CLI_H
#define MAL_CLI_CLI_H

#include "base/attr.h"
#include "box/reader.h"
#include "http/source.h"

#include <limits.h>
#include <stddef.h>

/* Exit statuses. `run` gives the program's own instead. */
enum cli_exit {
    CLI_OK = 0,
    CLI_FAILED = 1,
    CLI_USAGE = 2,
    CLI_CANNOT_EXECUTE = 126,
    CLI_NOT_FOUND = 127,
    CLI_SIGNALLED = 128 /* plus the number of the signal */
};

struct cli_command {
    const char *name;
    const char *summary; /* one line, for the list of commands */
    const char *help;    /* everything, for --help */
    /* arguments[0] is the command's name. */
    int (*run)(const struct cli_command *command, int count, char **arguments);
};

extern const struct cli_command cli_run, cli_ps, cli_stat, cli_heap, cli_allocs, cli_trace,
    cli_check, cli_top, cli_diff, cli_report;

/* "mallard: <text>\n" on standard error, in one write. */
void cli_say(const char *format, ...) MAL_PRINTF(1, 2);

/* A negative errno in words: of a box and its reader where strerror would speak of messages. */
const char *cli_words(int error);

/* For wrong arguments: the sentence and where to read more. Returns CLI_USAGE. */
int cli_usage(const struct cli_command *command, const char *format, ...) MAL_PRINTF(2, 3);

/* One long option. Values are taken as "--name VALUE" or "--name=VALUE". */
struct cli_option {
    const char *name;   /* "--http" */
    const char *letter; /* "-a", or NULL; a value may follow it at once: "-n5" */
    const char **value; /* where to put the value; NULL: takes none */
    unsigned flag;      /* set in *flags when there is no value */
};
struct cli_options {
    const struct cli_option *option;
    size_t count;
    unsigned flags;
};

/* Reads options up to the first argument that is none, or "--". Returns the index of the next
 * argument, CLI_HELP after --help was answered, or CLI_BAD after the complaint. */
enum { CLI_HELP = -1, CLI_BAD = -2 };
int cli_parse(const struct cli_command *command, struct cli_options *options, int count,
              char **arguments);

/* The same for commands whose options may also follow their one argument: "heap PID -o FILE".
 * Returns CLI_OK and the argument (NULL when there was none), CLI_HELP or CLI_BAD. */
int cli_parse_one(const struct cli_command *command, struct cli_options *options, int count,
                  char **arguments, const char **ret_argument);

/* The same for commands with up to `most` arguments. Returns how many there were; the others are
 * NULL. */
int cli_parse_all(const struct cli_command *command, struct cli_options *options, int count,
                  char **arguments, const char **ret_arguments, int most);

/* What a finished parse means as an exit status. */
int cli_parse_status(int parsed);

/* The boxes of this environment: the folder and the private folders of `mallard run` in it.
 * -ENOENT when there is no folder. */
struct cli_boxes {
    char folder[PATH_MAX];
    struct http_folder_source source;
};
int cli_boxes_find(struct cli_boxes *ret_boxes);

/* A pid from text: -EINVAL for anything but a positive number. */
int cli_parse_pid(const char *text, uint32_t *ret_pid);

/* A line on a terminal's standard error while something takes its time, and away with it. */
void cli_progress(const char *format, ...) MAL_PRINTF(1, 2);
void cli_progress_end(void);

/* Writes a rendered document to `path`, or to standard output for NULL. Complains on failure. */
int cli_write(const char *path, const void *data, size_t bytes);

/* Finds a program as the shell would. -ENOENT. */
int cli_find_program(const char *name, char ret_path[PATH_MAX]);

#endif
