/* SPDX-License-Identifier: Apache-2.0
 *
 * The `mallard` command: the table of subcommands, --help and --version.
 *
 * Exit statuses of every command but `run`: 0 it worked, 1 it failed, 2 the arguments were wrong.
 *
 * SYNCHRONIZATION  One thread, except that `run` starts a server.
 */
#include "cli/cli.h"

#include <stdio.h>
#include <string.h>

static const struct cli_command *const commands[] = {
    &cli_run,    &cli_ps,   &cli_top,    &cli_stat,  &cli_heap,
    &cli_allocs, &cli_diff, &cli_report, &cli_trace, &cli_check,
};

static const struct cli_command *command_find(const char *name) {
    for (size_t i = 0; i < MAL_COUNT_OF(commands); i++)
        if (strcmp(commands[i]->name, name) == 0)
            return commands[i];
    return NULL;
}

static void print_overview(FILE *out) {
    fputs("mallard - ask any Linux program where its memory went\n\nusage: mallard COMMAND ...\n\n",
          out);
    for (size_t i = 0; i < MAL_COUNT_OF(commands); i++)
        fprintf(out, "  %-8s %s\n", commands[i]->name, commands[i]->summary);
    fputs("\n'mallard COMMAND --help' or 'mallard help COMMAND' tells the rest.\n"
          "Exit status: 0 it worked, 1 it failed, 2 wrong arguments; see 'mallard help run' for "
          "run.\n",
          out);
}

static int unknown_command(const char *name) {
    cli_say("'%s' is no command; 'mallard --help' lists them", name);
    return CLI_USAGE;
}

static int help(const char *name) {
    const struct cli_command *command;
    if (name == NULL) {
        print_overview(stdout);
        return CLI_OK;
    }
    command = command_find(name);
    if (command == NULL)
        return unknown_command(name);
    fputs(command->help, stdout);
    return CLI_OK;
}

static int version(void) {
    puts("mallard " MAL_VERSION);
    return CLI_OK;
}

static int dispatch(int count, char **arguments) {
    const char *name = arguments[1];
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0)
        return help(count > 2 ? arguments[2] : NULL);
    if (strcmp(name, "--version") == 0)
        return version();
    const struct cli_command *command = command_find(name);
    if (command == NULL)
        return unknown_command(name);
    return command->run(command, count - 1, arguments + 1);
}

int main(int count, char **arguments) {
    if (count < 2) {
        print_overview(stderr);
        return CLI_USAGE;
    }
    int status = dispatch(count, arguments);
    if (fflush(stdout) != 0 && status == CLI_OK) {
        cli_say("cannot write to standard output");
        return CLI_FAILED;
    }
    return status;
}
