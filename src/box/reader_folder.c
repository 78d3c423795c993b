/* SPDX-License-Identifier: Apache-2.0
 *
 * The folder of boxes: each file named like one, and removing those whose process is gone.
 *
 * SYNCHRONIZATION. None: other processes add and remove files meanwhile, and what is gone by the
 * time it is opened is passed over.
 *
 * It must never remove the box of a process that may be alive, nor what belongs to somebody else.
 */
#include "box/reader.h"

#include "box/reader_private.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

bool mal_box_name_parse(const char *name, uint32_t *ret_pid, uint64_t *ret_ticks) {
    char *end;
    if (name[0] < '0' || name[0] > '9')
        return false;
    unsigned long pid = strtoul(name, &end, 10);
    if (end[0] != '.' || end[1] < '0' || end[1] > '9' || pid > INT_MAX)
        return false;
    uint64_t ticks = strtoull(end + 1, &end, 10);
    if (strcmp(end, ".mallard") != 0)
        return false;
    *ret_pid = (uint32_t)pid;
    *ret_ticks = ticks;
    return true;
}

int mal_box_each(const char *folder, int (*visit)(const char *path, void *context), void *context) {
    DIR *stream = opendir(folder);
    if (!stream)
        return -errno;
    int result = 0;
    const struct dirent *entry;
    while (result == 0 && (entry = readdir(stream)) != NULL) {
        char path[PATH_MAX];
        uint32_t pid;
        uint64_t ticks;
        if (!mal_box_name_parse(entry->d_name, &pid, &ticks))
            continue;
        int length = snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
        if (length > 0 && (size_t)length < sizeof(path))
            result = visit(path, context);
    }
    closedir(stream);
    return result;
}

struct stale {
    char *path;
    uint64_t started_unix_ns;
};

struct stale_list {
    struct stale *items;
    size_t count, capacity;
};

static int stale_add(struct stale_list *list, const char *path, uint64_t started_unix_ns) {
    if (list->count == list->capacity) {
        size_t capacity = list->capacity ? list->capacity * 2 : 16;
        struct stale *items = reallocarray(list->items, capacity, sizeof(*items));
        if (!items)
            return -ENOMEM;
        list->items = items;
        list->capacity = capacity;
    }
    char *copy = strdup(path);
    if (!copy)
        return -ENOMEM;
    list->items[list->count++] = (struct stale){copy, started_unix_ns};
    return 0;
}

/* Whether the process of the box is gone, by its header or, where that is unfinished or broken,
 * by its name. A box of another layout version is not ours to judge. */
static bool box_is_stale(const char *path, uint64_t *ret_started_unix_ns) {
    struct mal_box_reader *reader;
    uint32_t pid;
    uint64_t ticks;
    *ret_started_unix_ns = 0;
    int error = mal_reader_open(path, &reader);
    if (error)
        return error == -EBADMSG && mal_box_name_parse(strrchr(path, '/') + 1, &pid, &ticks) &&
               !mal_reader_process_is_alive(pid, ticks);
    struct mal_status status;
    error = mal_reader_status(reader, &status);
    *ret_started_unix_ns = reader->header.started_unix_ns;
    mal_reader_close(reader);
    return !error && status.life != MAL_LIFE_ALIVE;
}

static int visit_stale(const char *path, void *context) {
    struct stat status;
    uint64_t started_unix_ns;
    if (lstat(path, &status) != 0 || !S_ISREG(status.st_mode) || status.st_uid != geteuid())
        return 0;
    if (!box_is_stale(path, &started_unix_ns))
        return 0;
    return stale_add(context, path, started_unix_ns);
}

static int compare_stale(const void *left, const void *right) {
    const struct stale *a = left, *b = right;
    return (a->started_unix_ns > b->started_unix_ns) - (a->started_unix_ns < b->started_unix_ns);
}

int mal_box_collect_stale(const char *folder, size_t keep) {
    struct stale_list list = {0};
    int removed = 0;
    int error = mal_box_each(folder, visit_stale, &list);
    if (list.count > 1)
        qsort(list.items, list.count, sizeof(*list.items), compare_stale);
    for (size_t i = 0; i < list.count; i++) {
        if (!error && i + keep < list.count && unlink(list.items[i].path) == 0)
            removed++;
        free(list.items[i].path);
    }
    free(list.items);
    return error ? error : removed;
}
