/* SPDX-License-Identifier: Apache-2.0
 *
 * What the subcommands share: messages, options, finding boxes and programs.
 *
 * Options are few and all long ones have the same shape, so they are a table per command and one
 * loop here. Parsing stops at the first argument that is no option: what follows belongs to the
 * program that `run` starts.
 *
 * SYNCHRONIZATION  One thread.
 */
#include "cli/cli.h"

#include "http/heap_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LINE_BYTES 1024

static void say(const char *format, va_list arguments, const char *tail) {
    char line[LINE_BYTES] = "mallard: ";
    size_t used = strlen(line);
    vsnprintf(line + used, sizeof line - used - strlen(tail) - 2, format, arguments);
    used = strlen(line);
    snprintf(line + used, sizeof line - used, "%s\n", tail);
    http_write_all(STDERR_FILENO, line, strlen(line));
}

void cli_say(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    say(format, arguments, "");
    va_end(arguments);
}

const char *cli_words(int error) {
    switch (error) {
    case -EBADMSG:
        return "it is no box, or only a part of one";
    case -EPROTO:
        return "it was written by another version of Mallard";
    default:
        return strerror(-error);
    }
}

int cli_usage(const struct cli_command *command, const char *format, ...) {
    char tail[64];
    va_list arguments;
    snprintf(tail, sizeof tail, "; see 'mallard help %s'", command->name);
    va_start(arguments, format);
    say(format, arguments, tail);
    va_end(arguments);
    return CLI_USAGE;
}

/* ---- options ---- */

/* "-n5": a letter that takes a value, and the value. */
static bool has_value_attached(const struct cli_option *option, const char *argument) {
    return option->letter != NULL && strlen(option->letter) == 2 && option->value != NULL &&
           strncmp(option->letter, argument, 2) == 0 && argument[2] != '\0';
}

/* The option that `argument` is, with the text behind '=' or the letter in *ret_value (NULL for
 * none). */
static const struct cli_option *option_find(const struct cli_options *options, const char *argument,
                                            const char **ret_value) {
    const char *equals = strncmp(argument, "--", 2) == 0 ? strchr(argument, '=') : NULL;
    size_t bytes = equals != NULL ? (size_t)(equals - argument) : strlen(argument);
    *ret_value = equals != NULL ? equals + 1 : NULL;
    for (size_t i = 0; i < options->count; i++) {
        const struct cli_option *option = &options->option[i];
        if (strlen(option->name) == bytes && strncmp(option->name, argument, bytes) == 0)
            return option;
        if (option->letter != NULL && strcmp(option->letter, argument) == 0)
            return option;
    }
    for (size_t i = 0; i < options->count; i++) {
        if (!has_value_attached(&options->option[i], argument))
            continue;
        *ret_value = argument + 2;
        return &options->option[i];
    }
    return NULL;
}

/* Takes one option and what belongs to it. Returns how many arguments that were, or CLI_BAD. */
static int option_take(const struct cli_command *command, struct cli_options *options,
                       const char *argument, const char *next) {
    const char *value;
    const struct cli_option *option = option_find(options, argument, &value);
    if (option == NULL) {
        cli_usage(command, "%s does not know the option %s", command->name, argument);
        return CLI_BAD;
    }
    if (option->value == NULL && value == NULL) {
        options->flags |= option->flag;
        return 1;
    }
    if (option->value == NULL || (value == NULL && next == NULL)) {
        cli_usage(command, option->value == NULL ? "%s takes no value" : "%s needs a value",
                  option->name);
        return CLI_BAD;
    }
    *option->value = value != NULL ? value : next;
    return value != NULL ? 1 : 2;
}

static bool is_option(const char *argument) {
    return argument[0] == '-' && argument[1] != '\0';
}

int cli_parse(const struct cli_command *command, struct cli_options *options, int count,
              char **arguments) {
    int at = 1;
    while (at < count && is_option(arguments[at])) {
        if (strcmp(arguments[at], "--") == 0)
            return at + 1;
        if (strcmp(arguments[at], "--help") == 0 || strcmp(arguments[at], "-h") == 0) {
            fputs(command->help, stdout);
            return CLI_HELP;
        }
        int taken =
            option_take(command, options, arguments[at], at + 1 < count ? arguments[at + 1] : NULL);
        if (taken < 0)
            return taken;
        at += taken;
    }
    return at;
}

int cli_parse_all(const struct cli_command *command, struct cli_options *options, int count,
                  char **arguments, const char **ret_arguments, int most) {
    int found = 0;
    for (int i = 0; i < most; i++)
        ret_arguments[i] = NULL;
    for (;;) {
        int at = cli_parse(command, options, count, arguments);
        if (at < 0 || at >= count)
            return at < 0 ? at : found;
        if (found == most) {
            cli_usage(command, "%s takes %s, not also '%s'", command->name,
                      most == 1 ? "one argument" : "two arguments", arguments[at]);
            return CLI_BAD;
        }
        ret_arguments[found++] = arguments[at];
        count -= at;
        arguments += at;
    }
}

int cli_parse_one(const struct cli_command *command, struct cli_options *options, int count,
                  char **arguments, const char **ret_argument) {
    int found = cli_parse_all(command, options, count, arguments, ret_argument, 1);
    return found < 0 ? found : CLI_OK;
}

int cli_parse_status(int parsed) {
    return parsed == CLI_HELP ? CLI_OK : CLI_USAGE;
}

/* ---- boxes ---- */

int cli_boxes_find(struct cli_boxes *ret_boxes) {
    int error = mal_box_folder(ret_boxes->folder, sizeof ret_boxes->folder);
    ret_boxes->source =
        (struct http_folder_source){.folder = ret_boxes->folder, .flags = HTTP_FOLDER_NESTED};
    return error;
}

int cli_parse_pid(const char *text, uint32_t *ret_pid) {
    size_t digits = strspn(text, "0123456789");
    unsigned long long value = strtoull(text, NULL, 10);
    if (digits == 0 || digits > 10 || text[digits] != '\0' || value == 0 || value > INT32_MAX)
        return -EINVAL;
    *ret_pid = (uint32_t)value;
    return 0;
}

/* ---- files ---- */

int cli_write(const char *path, const void *data, size_t bytes) {
    int fd =
        path != NULL ? open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600) : STDOUT_FILENO;
    int error = fd < 0 ? -errno : http_write_all(fd, data, bytes);
    if (path != NULL && fd >= 0 && close(fd) < 0 && error == 0)
        error = -errno;
    if (error < 0)
        cli_say("cannot write %s: %s", path != NULL ? path : "to standard output",
                strerror(-error));
    return error;
}

static bool is_program(const char *path) {
    struct stat info;
    return stat(path, &info) == 0 && S_ISREG(info.st_mode) && access(path, X_OK) == 0;
}

int cli_find_program(const char *name, char ret_path[PATH_MAX]) {
    const char *folders = getenv("PATH");
    if (strchr(name, '/') != NULL) {
        snprintf(ret_path, PATH_MAX, "%s", name);
        return access(name, F_OK) == 0 ? 0 : -ENOENT;
    }
    for (const char *at = folders != NULL ? folders : "/usr/bin:/bin"; *name != '\0';) {
        size_t bytes = strcspn(at, ":");
        snprintf(ret_path, PATH_MAX, "%.*s/%s", bytes > 0 ? (int)bytes : 1, bytes > 0 ? at : ".",
                 name);
        if (is_program(ret_path))
            return 0;
        if (at[bytes] == '\0')
            break;
        at += bytes + 1;
    }
    return -ENOENT;
}
