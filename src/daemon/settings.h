/* SPDX-License-Identifier: Apache-2.0
 *
 * What the daemon is told: flags, and a file of the same names. Flags win.
 *
 *   settings.c   the table of settings, reading one value, flags, --help
 *   config.c     the file
 */
#ifndef MAL_DAEMON_SETTINGS_H
#define MAL_DAEMON_SETTINGS_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SETTINGS_PROBLEM_BYTES 512
#define SETTINGS_TEXT_BYTES PATH_MAX

enum setting_id {
    SETTING_HTTP,
    SETTING_SOCKET,
    SETTING_DIR,
    SETTING_KEEP,
    SETTING_KEEP_BYTES,
    SETTING_KEEP_EVERY,
    SETTING_KEEP_FOR,
    SETTING_TOKEN_FILE,
    SETTING_TLS_CERT,
    SETTING_TLS_KEY,
    SETTING_INSECURE,
    SETTINGS
};

struct setting_value {
    char text[SETTINGS_TEXT_BYTES]; /* as written; "" is not set */
    uint64_t number;                /* bytes, seconds, hours, or 0 and 1 */
    bool from_flag;
};

struct settings {
    struct setting_value value[SETTINGS];
    char config[PATH_MAX]; /* of --config, "" none */
};

/* Everything at its default. */
void settings_default(struct settings *ret_settings);

/* Sets one value from its text. -EINVAL and a sentence, without a place, when it does not fit. */
int settings_set(struct settings *settings, enum setting_id id, const char *text,
                 char ret_problem[SETTINGS_PROBLEM_BYTES]);

/* The setting of that name ("keep-bytes"), or SETTINGS. */
enum setting_id settings_find(const char *name, size_t bytes);
const char *settings_name(enum setting_id id);
/* True when the daemon can change it without being started anew. */
bool settings_changes_live(enum setting_id id);

/* What the flags ask for besides the settings. */
enum settings_wish { SETTINGS_RUN, SETTINGS_HELP, SETTINGS_VERSION };

/* Reads the flags. -EINVAL and a sentence. */
int settings_flags(struct settings *settings, int count, char **arguments,
                   enum settings_wish *ret_wish, char ret_problem[SETTINGS_PROBLEM_BYTES]);

/* Reads the file that `settings->config` names, if any, into what flags did not set, then checks
 * the whole. -EINVAL (or why the file cannot be read) and a sentence with file and line. */
int settings_file(struct settings *settings, char ret_problem[SETTINGS_PROBLEM_BYTES]);

extern const char settings_help[];

/* "512", "64KiB", "256 MiB", "1GiB". */
int settings_parse_bytes(const char *text, uint64_t *ret_bytes);

#endif
