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
 * not hide the others. One that cannot be opened because we are out of descriptors is told of at
 * the end: a scraper that took its process for gone would forget it. Whose a box is, and so who may
 * see it, is what its file says, not what is written in it.
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
    uint32_t viewer_uid;
    http_process_visit *visit;
    void *visit_context;
    int shortage;                /* what kept us from looking at some box, or 0 */
    http_foreign_visit *foreign; /* not NULL: these boxes are visited, and no others */
};

static void note_shortage(struct walk *walk, int error) {
    if (http_is_shortage(error))
        walk->shortage = error;
}

static int show(const char *path, struct walk *walk) {
    struct http_facts facts = {.folder = "", .root = ""};
    struct mal_box_reader *reader;
    int error = mal_reader_open(path, &reader);
    note_shortage(walk, error);
    if (error < 0)
        return HTTP_UNREADABLE;
    facts.uid = mal_reader_owner(reader);
    if (http_viewer_sees(walk->viewer_uid, facts.uid))
        return http_source_visit(reader, &facts, walk->visit, walk->visit_context);
    mal_reader_close(reader);
    return HTTP_UNREADABLE;
}

static int show_foreign(const char *path, const struct walk *walk) {
    uint32_t version;
    if (mal_box_version(path, &version) < 0 || version == MAL_BOX_VERSION)
        return HTTP_UNREADABLE;
    return walk->foreign(path, version, walk->visit_context);
}

static int visit_path(const char *path, void *context) {
    struct walk *walk = context;
    int result = walk->foreign != NULL ? show_foreign(path, walk) : show(path, walk);
    return result == HTTP_UNREADABLE ? 0 : result;
}

static int each_nested(const char *folder, struct walk *walk) {
    char path[PATH_MAX];
    int result = 0;
    DIR *dir = opendir(folder);
    if (dir == NULL) {
        note_shortage(walk, -errno);
        return 0;
    }
    for (struct dirent *entry; result == 0 && (entry = readdir(dir)) != NULL;) {
        if (strncmp(entry->d_name, "run.", 4) != 0)
            continue;
        int bytes = snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        struct stat info;
        if (bytes < (int)sizeof path && lstat(path, &info) == 0 && S_ISDIR(info.st_mode))
            result = mal_box_each(path, visit_path, walk);
        note_shortage(walk, result);
        if (result < 0)
            result = 0;
    }
    closedir(dir);
    return result;
}

static int folder_walk(const struct http_folder_source *folder, struct walk *walk) {
    int result = mal_box_each(folder->folder, visit_path, walk);
    if (result == 0 && folder->flags & HTTP_FOLDER_NESTED)
        result = each_nested(folder->folder, walk);
    note_shortage(walk, result);
    return result == 0 ? walk->shortage : result;
}

static int folder_each(void *context, uint32_t viewer_uid, http_process_visit *visit,
                       void *visit_context) {
    return folder_walk(context, &(struct walk){viewer_uid, visit, visit_context, 0, NULL});
}

/* What `open` looks for and the best it has seen. */
struct choice {
    struct http_key key;
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
    return choice->key.pid != 0 ? started > choice->started_unix_ns
                                : started < choice->started_unix_ns;
}

static int choose(struct http_process *process, void *visit_context) {
    struct choice *choice = visit_context;
    const char *path = mal_reader_path(process->reader);
    if (!http_key_matches(&choice->key, process->identity))
        return 0;
    if (!better(choice, process) || strlen(path) >= sizeof choice->path)
        return 0;
    choice->found = true;
    choice->alive = process->status->life == MAL_LIFE_ALIVE;
    choice->started_unix_ns = process->identity->started_unix_ns;
    memcpy(choice->path, path, strlen(path) + 1);
    return 0;
}

static int folder_open(void *context, const struct http_ask *ask, http_process_visit *visit,
                       void *visit_context) {
    struct http_folder_source *folder = context;
    struct choice choice = {.key = ask->key};
    struct walk walk = {ask->viewer_uid, choose, &choice, 0, NULL};
    bool is_default = ask->key.pid == 0;
    if (is_default)
        choice.key.pid = atomic_load(&folder->main_pid);
    folder_walk(folder, &walk);
    if (!choice.found && is_default && choice.key.pid != 0) {
        choice.key.pid = 0;
        folder_walk(folder, &walk);
    }
    struct walk chosen = {ask->viewer_uid, visit, visit_context, walk.shortage, NULL};
    int result = choice.found ? show(choice.path, &chosen) : HTTP_UNREADABLE;
    if (result != HTTP_UNREADABLE)
        return result;
    return chosen.shortage < 0 ? chosen.shortage : -ENOENT;
}

int http_folder_foreign(const struct http_folder_source *folder, http_foreign_visit *visit,
                        void *visit_context) {
    struct walk walk = {.visit_context = visit_context, .foreign = visit};
    return folder_walk(folder, &walk);
}

struct http_source http_folder_source(struct http_folder_source *folder) {
    return (struct http_source){folder_open, folder_each, folder};
}
