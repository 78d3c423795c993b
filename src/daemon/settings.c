/* SPDX-License-Identifier: Apache-2.0
 *
 * One table says of each setting what its values are and whether a running daemon can change it;
 * flags, file, reload and the checks all follow it.
 *
 * SYNCHRONIZATION  None; the main thread's.
 */
#include "daemon/settings.h"

#include "base/attr.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum form { FORM_TEXT, FORM_BYTES, FORM_SECONDS, FORM_HOURS, FORM_SWITCH };
enum trait { CHANGES_LIVE = 1u << 0 };

static const struct {
    const char *name;
    enum form form;
    unsigned traits; /* enum trait */
    const char *text;
} table[SETTINGS] = {
    [SETTING_HTTP] = {"http", FORM_TEXT, 0, "127.0.0.1:6060"},
    [SETTING_SOCKET] = {"socket", FORM_TEXT, 0, ""},
    [SETTING_DIR] = {"dir", FORM_TEXT, 0, ""},
    [SETTING_KEEP] = {"keep", FORM_TEXT, 0, ""},
    [SETTING_KEEP_BYTES] = {"keep-bytes", FORM_BYTES, CHANGES_LIVE, "256MiB"},
    [SETTING_KEEP_EVERY] = {"keep-every", FORM_SECONDS, CHANGES_LIVE, "60"},
    [SETTING_KEEP_FOR] = {"keep-for", FORM_HOURS, CHANGES_LIVE, "24"},
    [SETTING_TOKEN_FILE] = {"token-file", FORM_TEXT, CHANGES_LIVE, ""},
    [SETTING_TLS_CERT] = {"tls-cert", FORM_TEXT, 0, ""},
    [SETTING_TLS_KEY] = {"tls-key", FORM_TEXT, 0, ""},
    [SETTING_INSECURE] = {"insecure", FORM_SWITCH, 0, "no"},
};

const char settings_help[] =
    "usage: mallardd [OPTIONS]\n\n"
    "Watches every process on this host that runs on Mallard, keeps what the dead ones left, and\n"
    "shows all of it over HTTP. Runs in the foreground and prints one line once it serves.\n\n"
    "  --http ADDRESS       listen there: 127.0.0.1:6060 (the default), [::1]:0, :6060, or off\n"
    "  --socket PATH        listen on this Unix socket too; its clients are known by their uid\n"
    "  --dir DIR            the folder of boxes; default: $MALLARD_DIR, /run/mallard,\n"
    "                       $XDG_RUNTIME_DIR/mallard, /dev/shm/mallard.UID\n"
    "  --keep DIR           where profiles and the dead are kept; default: /var/lib/mallard for\n"
    "                       root, else $XDG_STATE_HOME/mallard or ~/.local/state/mallard\n"
    "  --keep-bytes N       how much of the disk that may take, at least 1 MiB; default 256MiB.\n"
    "                       Units: B KiB MiB GiB\n"
    "  --keep-every SECONDS how often a profile of each process is kept, 1 to 86400; default 60\n"
    "  --keep-for HOURS     for how long profiles are kept, 1 to 8760; default 24\n"
    "  --token-file FILE    clients need the token in this file; other machines can be let in "
    "only\n"
    "                       with one\n"
    "  --tls-cert FILE      speak HTTPS with this certificate (PEM)\n"
    "  --tls-key FILE       and its key\n"
    "  --insecure           let other machines in without a token\n"
    "  --config FILE        read settings from FILE: lines of the same names without dashes in\n"
    "                       front, as in 'keep-bytes = 1GiB'; # begins a comment; flags win\n"
    "  --help, --version\n\n"
    "SIGHUP reads the file and the token again; SIGTERM and SIGINT end the daemon.\n"
    "Exit status: 0 it was told to end, 1 it could not serve, 2 wrong arguments or settings.\n";

enum setting_id settings_find(const char *name, size_t bytes) {
    unsigned id = 0;
    while (id < SETTINGS &&
           (strlen(table[id].name) != bytes || strncmp(table[id].name, name, bytes) != 0))
        id++;
    return (enum setting_id)id;
}

const char *settings_name(enum setting_id id) {
    return table[id].name;
}

bool settings_changes_live(enum setting_id id) {
    return table[id].traits & CHANGES_LIVE;
}

/* ---- values ---- */

/* A decimal number; what follows it, or NULL when there is none or it is too large. */
static const char *parse_number(const char *text, uint64_t *ret_number) {
    char *end;
    if (*text < '0' || *text > '9')
        return NULL;
    errno = 0;
    *ret_number = strtoull(text, &end, 10);
    return errno == 0 ? end : NULL;
}

int settings_parse_bytes(const char *text, uint64_t *ret_bytes) {
    static const struct {
        const char *name;
        unsigned shift;
    } units[] = {{"", 0}, {"B", 0}, {"KiB", 10}, {"MiB", 20}, {"GiB", 30}};
    uint64_t number;
    const char *unit = parse_number(text, &number);
    if (unit == NULL)
        return -EINVAL;
    unit += strspn(unit, " ");
    for (size_t i = 0; i < MAL_COUNT_OF(units); i++) {
        if (strcmp(unit, units[i].name) != 0)
            continue;
        if (number > UINT64_MAX >> units[i].shift)
            return -EINVAL;
        *ret_bytes = number << units[i].shift;
        return 0;
    }
    return -EINVAL;
}

static int parse_switch(const char *text, uint64_t *ret_number) {
    static const char *const words[] = {"no", "yes", "false", "true", "off", "on", "0", "1"};
    for (size_t i = 0; i < MAL_COUNT_OF(words); i++)
        if (strcasecmp(text, words[i]) == 0) {
            *ret_number = i & 1;
            return 0;
        }
    return -EINVAL;
}

static int parse_range(const char *text, uint64_t most, uint64_t *ret_number) {
    uint64_t number;
    const char *end = parse_number(text, &number);
    if (end == NULL || *end != '\0' || number < 1 || number > most)
        return -EINVAL;
    *ret_number = number;
    return 0;
}

#define KEEP_BYTES_LEAST (1u << 20)
#define SECONDS_MOST 86400u
#define HOURS_MOST 8760u

static int parse_value(enum form form, const char *text, uint64_t *ret_number) {
    switch (form) {
    case FORM_BYTES:
        if (settings_parse_bytes(text, ret_number) < 0 || *ret_number < KEEP_BYTES_LEAST)
            return -EINVAL;
        return 0;
    case FORM_SECONDS:
        return parse_range(text, SECONDS_MOST, ret_number);
    case FORM_HOURS:
        return parse_range(text, HOURS_MOST, ret_number);
    case FORM_SWITCH:
        return parse_switch(text, ret_number);
    case FORM_TEXT:
        break;
    }
    return 0;
}

static const char *wanted(enum form form) {
    static const char *const texts[] = {
        [FORM_TEXT] = "a text",
        [FORM_BYTES] = "a size of at least 1MiB, such as 256MiB",
        [FORM_SECONDS] = "seconds, 1 to 86400",
        [FORM_HOURS] = "hours, 1 to 8760",
        [FORM_SWITCH] = "yes or no",
    };
    return texts[form];
}

int settings_set(struct settings *settings, enum setting_id id, const char *text,
                 char ret_problem[SETTINGS_PROBLEM_BYTES]) {
    struct setting_value *value = &settings->value[id];
    uint64_t number = 0;
    if (strlen(text) >= sizeof value->text) {
        snprintf(ret_problem, SETTINGS_PROBLEM_BYTES, "the value of %s is too long",
                 table[id].name);
        return -EINVAL;
    }
    if (parse_value(table[id].form, text, &number) < 0) {
        snprintf(ret_problem, SETTINGS_PROBLEM_BYTES, "%s wants %s, not '%.100s'", table[id].name,
                 wanted(table[id].form), text);
        return -EINVAL;
    }
    memcpy(value->text, text, strlen(text) + 1);
    value->number = number;
    return 0;
}

void settings_default(struct settings *ret_settings) {
    char problem[SETTINGS_PROBLEM_BYTES];
    memset(ret_settings, 0, sizeof *ret_settings);
    for (unsigned id = 0; id < SETTINGS; id++)
        settings_set(ret_settings, (enum setting_id)id, table[id].text, problem);
}

/* ---- flags ---- */

struct flags {
    char **argument;
    int count, at;
};

static int complain(char ret_problem[SETTINGS_PROBLEM_BYTES], const char *what, const char *name) {
    snprintf(ret_problem, SETTINGS_PROBLEM_BYTES, "%s %.100s", what, name);
    return -EINVAL;
}

/* The value of the option at hand: behind '=' or the next argument. NULL when there is none. */
static const char *flag_value(struct flags *flags, const char *name, size_t name_bytes) {
    if (name[name_bytes] == '=')
        return name + name_bytes + 1;
    return ++flags->at < flags->count ? flags->argument[flags->at] : NULL;
}

static int take_config(struct settings *settings, const char *value,
                       char ret_problem[SETTINGS_PROBLEM_BYTES]) {
    if (*value == '\0' || strlen(value) >= sizeof settings->config)
        return complain(ret_problem, "--config needs the path of a file, not", value);
    memcpy(settings->config, value, strlen(value) + 1);
    return 0;
}

static int take_flag(struct settings *settings, struct flags *flags,
                     char ret_problem[SETTINGS_PROBLEM_BYTES]) {
    const char *argument = flags->argument[flags->at];
    if (strncmp(argument, "--", 2) != 0 || argument[2] == '\0')
        return complain(ret_problem, "mallardd takes options only, not", argument);
    const char *name = argument + 2;
    size_t bytes = strcspn(name, "=");
    bool is_config = bytes == 6 && strncmp(name, "config", bytes) == 0;
    enum setting_id id = settings_find(name, bytes);
    if (!is_config && id == SETTINGS)
        return complain(ret_problem, "there is no option", argument);
    bool is_bare_switch = !is_config && table[id].form == FORM_SWITCH && name[bytes] == '\0';
    const char *value = is_bare_switch ? "yes" : flag_value(flags, name, bytes);
    if (value == NULL)
        return complain(ret_problem, "a value is missing behind", argument);
    if (is_config)
        return take_config(settings, value, ret_problem);
    settings->value[id].from_flag = true;
    return settings_set(settings, id, value, ret_problem);
}

int settings_flags(struct settings *settings, int count, char **arguments,
                   enum settings_wish *ret_wish, char ret_problem[SETTINGS_PROBLEM_BYTES]) {
    struct flags flags = {.argument = arguments, .count = count};
    int error = 0;
    *ret_wish = SETTINGS_RUN;
    for (flags.at = 1; error == 0 && flags.at < count; flags.at++) {
        const char *argument = arguments[flags.at];
        if (strcmp(argument, "--help") == 0 || strcmp(argument, "-h") == 0) {
            *ret_wish = SETTINGS_HELP;
            return 0;
        }
        if (strcmp(argument, "--version") == 0) {
            *ret_wish = SETTINGS_VERSION;
            return 0;
        }
        error = take_flag(settings, &flags, ret_problem);
    }
    return error;
}
