/* SPDX-License-Identifier: Apache-2.0
 *
 * A folder of boxes. The folder is read anew for each request: it holds a handful of files, a
 * process that has just started is seen at once, and there is no list that could be stale.
 *
 * Two boxes may carry one pid: the kernel reuses pids, and exec keeps them. The living one counts,
 * and among equals the younger. The default process is the one that `mallard run` started; where
 * nobody said so it is the oldest living one, and when all are dead the oldest.
 *
 * A box that cannot be read (another user's, half made, hostile) is passed over: one bad file must
 * not hide the others.
 *
 * SYNCHRONIZATION  `main_pid` is atomic; everything else is constant. Each call has its own
 * handles.
 */
#include "http/source.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

struct walk {
    http_process_visit *visit;
    void *visit_context;
};

static int visit_path(const char *path, void *context) {
    const struct walk *walk = context;
    struct mal_box_reader *reader;
    struct mal_identity identity;
    struct mal_status status;
    int result = 0;
    if (mal_reader_open(path, &reader) < 0)
        return 0;
    if (mal_reader_identity(reader, &identity) < 0)
        goto out;
    if (mal_reader_status(reader, &status) == 0)
        result =
            walk->visit(&(struct http_process){reader, &identity, &status}, walk->visit_context);
    mal_identity_free(&identity);
out:
    mal_reader_close(reader);
    return result;
}

static int each_nested(const char *folder, struct walk *walk) {
    char path[PATH_MAX];
    int result = 0;
    DIR *dir = opendir(folder);
    if (dir == NULL)
        return 0;
    for (struct dirent *entry; result == 0 && (entry = readdir(dir)) != NULL;) {
        if (strncmp(entry->d_name, "run.", 4) != 0)
            continue;
        int bytes = snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        struct stat info;
        if (bytes < (int)sizeof path && lstat(path, &info) == 0 && S_ISDIR(info.st_mode))
            result = mal_box_each(path, visit_path, walk);
        if (result < 0)
            result = 0;
    }
    closedir(dir);
    return result;
}

static int folder_each(void *context, http_process_visit *visit, void *visit_context) {
    const struct http_folder_source *folder = context;
    struct walk walk = {visit, visit_context};
    int result = mal_box_each(folder->folder, visit_path, &walk);
    if (result == 0 && folder->flags & HTTP_FOLDER_NESTED)
        result = each_nested(folder->folder, &walk);
    return result;
}

/* What `find` looks for and the best it has seen. */
struct choice {
    uint32_t pid; /* 0: any */
    bool found, alive;
    uint64_t started_unix_ns;
    char path[PATH_MAX];
};

/* Of one pid the younger box counts; without a pid the oldest process does. */
static bool better(const struct choice *choice, const struct http_process *process) {
    bool alive = process->status->life == MAL_LIFE_ALIVE;
    uint64_t started = process->identity->started_unix_ns;
    if (!choice->found || alive != choice->alive)
        return !choice->found || alive;
    return choice->pid != 0 ? started > choice->started_unix_ns : started < choice->started_unix_ns;
}

static int choose(const struct http_process *process, void *visit_context) {
    struct choice *choice = visit_context;
    const char *path = mal_reader_path(process->reader);
    if (choice->pid != 0 && choice->pid != process->identity->pid)
        return 0;
    if (!better(choice, process) || strlen(path) >= sizeof choice->path)
        return 0;
    choice->found = true;
    choice->alive = process->status->life == MAL_LIFE_ALIVE;
    choice->started_unix_ns = process->identity->started_unix_ns;
    memcpy(choice->path, path, strlen(path) + 1);
    return 0;
}

static int folder_open(void *context, uint32_t pid, struct mal_box_reader **ret_reader) {
    struct http_folder_source *folder = context;
    struct choice choice = {.pid = pid != 0 ? pid : atomic_load(&folder->main_pid)};
    folder_each(folder, choose, &choice);
    if (!choice.found && pid == 0 && choice.pid != 0) {
        choice.pid = 0;
        folder_each(folder, choose, &choice);
    }
    if (!choice.found)
        return -ENOENT;
    return mal_reader_open(choice.path, ret_reader);
}

struct http_source http_folder_source(struct http_folder_source *folder) {
    return (struct http_source){folder_open, folder_each, folder};
}
