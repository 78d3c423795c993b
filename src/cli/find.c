/* SPDX-License-Identifier: Apache-2.0
 *
 * Finding the box that a pid means.
 *
 * Boxes lie in the folder of this environment and in the folders that `mallard run` makes below it.
 * Several may carry the same pid over time: the one that began last is meant.
 */
#include "cli/cli.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REFRESH_TIMEOUT_MS 300u

long cli_parse_pid(const char *text) {
    char *end;
    errno = 0;
    long pid = strtol(text, &end, 10);
    return errno || *end || end == text || pid <= 0 || pid > INT_MAX ? -1 : pid;
}

struct walk {
    int (*visit)(const char *path, void *context);
    void *context;
};

static void each_in_runs(const char *folder, const struct walk *walk) {
    DIR *dir = opendir(folder);
    struct dirent *entry;
    while (dir && (entry = readdir(dir)) != NULL) {
        char path[PATH_MAX];
        if (strncmp(entry->d_name, "run.", 4) == 0 &&
            (size_t)snprintf(path, sizeof path, "%s/%s", folder, entry->d_name) < sizeof path)
            mal_box_each(path, walk->visit, walk->context);
    }
    if (dir)
        closedir(dir);
}

void cli_each_box(int (*visit)(const char *path, void *context), void *context) {
    char folder[PATH_MAX];
    struct walk walk = {visit, context};
    if (mal_box_folder(folder, sizeof folder) != 0)
        return;
    mal_box_each(folder, visit, context);
    each_in_runs(folder, &walk);
}

struct search {
    uint32_t pid;
    uint64_t started_unix_ns;
    struct mal_box_reader *best;
};

static int consider(const char *path, void *context) {
    struct search *search = context;
    struct mal_box_reader *reader;
    struct mal_identity identity;
    if (mal_reader_open(path, &reader) != 0)
        return 0;
    if (mal_reader_identity(reader, &identity) != 0) {
        mal_reader_close(reader);
        return 0;
    }
    bool better = identity.pid == search->pid && identity.started_unix_ns >= search->started_unix_ns;
    if (better) {
        mal_reader_close(search->best);
        search->best = reader;
        search->started_unix_ns = identity.started_unix_ns;
    } else {
        mal_reader_close(reader);
    }
    mal_identity_free(&identity);
    return 0;
}

static int open_file(const char *path, struct mal_box_reader **ret_reader) {
    int error = mal_reader_open(path, ret_reader);
    return error ? cli_fail("%s is not a readable box: %s", path, strerror(-error)) : CLI_OK;
}

int cli_open(const char *what, struct mal_box_reader **ret_reader) {
    long pid = cli_parse_pid(what);
    if (strchr(what, '/') || strstr(what, ".mallard"))
        return open_file(what, ret_reader);
    if (pid < 0)
        return cli_fail("'%s' is neither a pid nor a box file", what);
    struct search search = {.pid = (uint32_t)pid};
    cli_each_box(consider, &search);
    if (!search.best)
        return cli_fail("no box of process %ld: 'mallard check %ld' tells why", pid, pid);
    *ret_reader = search.best;
    return CLI_OK;
}

void cli_refresh(struct mal_box_reader *reader) {
    int64_t ignored;
    mal_reader_command(reader, MAL_BOX_CMD_PUBLISH, 0, REFRESH_TIMEOUT_MS, &ignored);
}
