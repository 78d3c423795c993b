/* SPDX-License-Identifier: Apache-2.0
 *
 * `mallard`: one table of subcommands, one file for each.
 */
#include "cli/cli.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct cli_command *const commands[] = {
    &cli_run, &cli_ps, &cli_stat, &cli_heap, &cli_allocs, &cli_trace, &cli_check,
};

static void print_list(FILE *out) {
    fputs("Usage: mallard COMMAND [ARGUMENTS]\n\nAsk programs where their memory went.\n\n", out);
    for (size_t i = 0; i < MAL_COUNT_OF(commands); i++)
        fprintf(out, "  %-8s %s\n", commands[i]->name, commands[i]->summary);
    fputs("\n'mallard COMMAND --help' tells more. Exit status: 0 done, 1 failed, 2 called wrongly.\n",
          out);
}

static const struct cli_command *find_command(const char *name) {
    for (size_t i = 0; i < MAL_COUNT_OF(commands); i++)
        if (strcmp(commands[i]->name, name) == 0)
            return commands[i];
    return NULL;
}

static void print_error(const char *format, va_list arguments) {
    fputs("mallard: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
}

int cli_fail(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    print_error(format, arguments);
    va_end(arguments);
    return CLI_FAILED;
}

int cli_misuse(const char *command, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    print_error(format, arguments);
    va_end(arguments);
    fprintf(stderr, "Try 'mallard %s --help'.\n", command);
    return CLI_USAGE;
}

/* Only before "--": what follows belongs to somebody else. */
bool cli_help_asked(const struct cli_command *command, int argc, char **argv) {
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            fputs(command->help, stdout);
            return true;
        }
    return false;
}

static int help(int argc, char **argv) {
    if (argc < 3) {
        print_list(stdout);
        return CLI_OK;
    }
    const struct cli_command *command = find_command(argv[2]);
    if (!command)
        return cli_misuse("help", "there is no command '%s'", argv[2]);
    fputs(command->help, stdout);
    return CLI_OK;
}

int main(int argc, char **argv) {
    if (argc < 2) {
        print_list(stderr);
        return CLI_USAGE;
    }
    if (strcmp(argv[1], "--version") == 0) {
        puts("mallard " MAL_VERSION);
        return CLI_OK;
    }
    if (strcmp(argv[1], "help") == 0 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
        return help(argc, argv);
    const struct cli_command *command = find_command(argv[1]);
    if (!command)
        return cli_misuse("help", "there is no command '%s'", argv[1]);
    return command->run(argc - 1, argv + 1);
}
