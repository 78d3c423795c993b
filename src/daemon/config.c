/* SPDX-License-Identifier: Apache-2.0
 *
 * The file of settings: lines of `name = value`. Blanks around both are dropped, # begins a comment
 * at the start of a line or behind a blank, an empty value is the default. A name may come once.
 *
 * The first thing wrong ends the reading with "FILE:LINE: sentence", so that nobody runs on half of
 * what they wrote.
 *
 * SYNCHRONIZATION  None; the main thread's.
 */
#include "daemon/settings.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define FILE_MAX_BYTES (1 << 20)

struct parser {
    struct settings *settings;
    unsigned line_of[SETTINGS]; /* where each was set; 0 nowhere */
    unsigned line;
    char *problem; /* SETTINGS_PROBLEM_BYTES */
};

__attribute__((__format__(__printf__, 2, 3))) static int fault(const struct parser *parser,
                                                               const char *format, ...) {
    va_list arguments;
    int head = snprintf(parser->problem, SETTINGS_PROBLEM_BYTES,
                        "%.250s:%u: ", parser->settings->config, parser->line);
    va_start(arguments, format);
    vsnprintf(parser->problem + head, SETTINGS_PROBLEM_BYTES - (size_t)head, format, arguments);
    va_end(arguments);
    return -EINVAL;
}

/* Cuts the comment and the blanks at both ends. */
static char *trimmed(char *text) {
    for (char *at = text; *at != '\0'; at++)
        if (*at == '#' && (at == text || isspace((unsigned char)at[-1]))) {
            *at = '\0';
            break;
        }
    while (isspace((unsigned char)*text))
        text++;
    char *end = text + strlen(text);
    while (end > text && isspace((unsigned char)end[-1]))
        *--end = '\0';
    return text;
}

static int apply(struct parser *parser, enum setting_id id, const char *value) {
    char problem[SETTINGS_PROBLEM_BYTES];
    struct settings checked;
    if (parser->line_of[id] != 0)
        return fault(parser, "%s was set on line %u already", settings_name(id),
                     parser->line_of[id]);
    parser->line_of[id] = parser->line;
    if (*value == '\0')
        return fault(parser, "%s has no value", settings_name(id));
    /* A value that a flag overrules must make sense all the same. */
    struct settings *target = parser->settings->value[id].from_flag ? &checked : parser->settings;
    if (settings_set(target, id, value, problem) < 0)
        return fault(parser, "%.350s", problem);
    return 0;
}

static int parse_line(struct parser *parser, char *line) {
    char *text = trimmed(line);
    if (*text == '\0')
        return 0;
    char *equals = strchr(text, '=');
    if (equals == NULL)
        return fault(parser, "a setting is written as name = value, not '%.100s'", text);
    *equals = '\0';
    char *name = trimmed(text);
    enum setting_id id = settings_find(name, strlen(name));
    if (id == SETTINGS)
        return fault(parser, "there is no setting '%.100s'", name);
    return apply(parser, id, trimmed(equals + 1));
}

static int parse_file(struct parser *parser, FILE *file) {
    char *line = NULL;
    size_t capacity = 0;
    ssize_t bytes;
    int error = 0;
    while (error == 0 && (bytes = getline(&line, &capacity, file)) >= 0) {
        parser->line++;
        if (strlen(line) != (size_t)bytes)
            error = fault(parser, "there is a NUL in this line");
        else
            error = parse_line(parser, line);
    }
    free(line);
    return error;
}

static int cannot_read(const struct settings *settings, int error, char *problem) {
    snprintf(problem, SETTINGS_PROBLEM_BYTES, "cannot read the settings in %.300s: %s",
             settings->config, strerror(-error));
    return error;
}

static int read_file(struct settings *settings, char ret_problem[SETTINGS_PROBLEM_BYTES]) {
    struct parser parser = {.settings = settings, .problem = ret_problem};
    struct stat status;
    if (stat(settings->config, &status) != 0)
        return cannot_read(settings, -errno, ret_problem);
    if (!S_ISREG(status.st_mode) || status.st_size > FILE_MAX_BYTES)
        return cannot_read(settings, S_ISDIR(status.st_mode) ? -EISDIR : -EINVAL, ret_problem);
    FILE *file = fopen(settings->config, "re");
    if (file == NULL)
        return cannot_read(settings, -errno, ret_problem);
    int error = parse_file(&parser, file);
    fclose(file);
    return error;
}

/* What no single value can tell. */
static int check_whole(const struct settings *settings, char ret_problem[SETTINGS_PROBLEM_BYTES]) {
    bool cert = settings->value[SETTING_TLS_CERT].text[0] != '\0';
    bool key = settings->value[SETTING_TLS_KEY].text[0] != '\0';
    bool http = strcmp(settings->value[SETTING_HTTP].text, "off") != 0;
    const char *sentence = NULL;
    if (cert != key)
        sentence = cert ? "tls-cert needs tls-key too" : "tls-key needs tls-cert too";
    else if (!http && settings->value[SETTING_SOCKET].text[0] == '\0')
        sentence = "http is off and there is no socket: nobody could ask";
    if (sentence == NULL)
        return 0;
    snprintf(ret_problem, SETTINGS_PROBLEM_BYTES, "%s", sentence);
    return -EINVAL;
}

int settings_file(struct settings *settings, char ret_problem[SETTINGS_PROBLEM_BYTES]) {
    int error = settings->config[0] != '\0' ? read_file(settings, ret_problem) : 0;
    return error == 0 ? check_whole(settings, ret_problem) : error;
}
