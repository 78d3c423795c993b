/* SPDX-License-Identifier: Apache-2.0
 *
 * Folders by descriptor, and inotify over them.
 *
 * Each folder is opened without following a link and used by its descriptor from then on, so a user
 * who owns a run.PID folder, or puts something else in its place, leads nobody elsewhere.
 *
 * A scan repeats what events may have missed. A file whose status has not changed since before the
 * scan before that has been looked at already and is passed over, so a folder full of garbage
 * costs one stat a file.
 *
 * The folder of boxes may not be there yet, or be removed and made again: then its parent is
 * watched.
 *
 * SYNCHRONIZATION  Loop's thread. References of folders are counted atomically, since processes
 * that hold one may be freed by any thread.
 */
#include "daemon/folders.h"

#include "box/reader.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#define RUN_PREFIX "run."
#define FOLDERS_MAX 1024
#define EVENT_BYTES 65536
#define TURNS_MAX 16 /* of reading events before something else gets its turn */
/* Files' times have the grain of the kernel's tick. */
#define SCAN_OVERLAP_SECONDS 2

/* Not IN_CLOSE_WRITE: closing our own handles would tell it of every box, each time. */
#define FOLDER_EVENTS                                                                              \
    (IN_CREATE | IN_MOVED_TO | IN_DELETE | IN_MOVED_FROM | IN_DELETE_SELF | IN_MOVE_SELF |         \
     IN_ONLYDIR | IN_EXCL_UNLINK)

/* ---- one folder ---- */

struct folder *folder_ref(struct folder *folder) {
    __atomic_fetch_add(&folder->references, 1, __ATOMIC_RELAXED);
    return folder;
}

void folder_unref(struct folder *folder) {
    if (folder == NULL || __atomic_sub_fetch(&folder->references, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    close(folder->fd);
    free(folder);
}

static int folder_open(int at, const char *path, const char *name, struct folder **ret_folder) {
    struct folder *folder = calloc(1, sizeof *folder);
    if (folder == NULL)
        return -ENOMEM;
    /* The name that was given may be a link, those inside may not. */
    int flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC | (*name != '\0' ? O_NOFOLLOW : 0);
    folder->fd = openat(at, path, flags);
    if (folder->fd < 0) {
        int error = -errno;
        free(folder);
        return error;
    }
    folder->references = 1;
    folder->watch = -1;
    snprintf(folder->name, sizeof folder->name, "%s", name);
    *ret_folder = folder;
    return 0;
}

/* By descriptor, so that it is this very folder that is watched. */
static void folder_watch(struct folders *folders, struct folder *folder) {
    char path[32];
    snprintf(path, sizeof path, "/proc/self/fd/%d", folder->fd);
    folder->watch = inotify_add_watch(folders->inotify_fd, path, FOLDER_EVENTS);
}

/* ---- the set ---- */

static int add_folder(struct folders *folders, struct folder *folder) {
    if (folders->count == folders->capacity) {
        size_t capacity = folders->capacity > 0 ? folders->capacity * 2 : 8;
        struct folder **items = reallocarray(folders->items, capacity, sizeof *items);
        if (items == NULL)
            return -ENOMEM;
        folders->items = items;
        folders->capacity = capacity;
    }
    folder_watch(folders, folder);
    folders->items[folders->count++] = folder;
    return 0;
}

static void drop_folder(struct folders *folders, size_t i) {
    struct folder *folder = folders->items[i];
    if (folder->watch >= 0)
        inotify_rm_watch(folders->inotify_fd, folder->watch);
    folders->items[i] = folders->items[--folders->count];
    folder_unref(folder);
}

static void drop_all(struct folders *folders) {
    while (folders->count > 0)
        drop_folder(folders, folders->count - 1);
    folders->scanned = (struct timespec){0};
}

static struct folder *find_watch(const struct folders *folders, int watch) {
    for (size_t i = 0; i < folders->count; i++)
        if (folders->items[i]->watch == watch)
            return folders->items[i];
    return NULL;
}

static bool is_run_name(const char *name) {
    size_t prefix = strlen(RUN_PREFIX);
    return strncmp(name, RUN_PREFIX, prefix) == 0 && strlen(name) < FOLDER_NAME_BYTES &&
           name[prefix] != '\0' && name[prefix + strspn(name + prefix, "0123456789")] == '\0';
}

static bool is_box_name(const char *name) {
    uint32_t pid;
    uint64_t start_ticks;
    return strlen(name) < FOLDER_NAME_BYTES && mal_box_name_parse(name, &pid, &start_ticks);
}

static bool same_place(int fd, int at, const char *path, int flags) {
    struct stat ours, theirs;
    return fstat(fd, &ours) == 0 && ours.st_nlink > 0 && fstatat(at, path, &theirs, flags) == 0 &&
           ours.st_dev == theirs.st_dev && ours.st_ino == theirs.st_ino;
}

static struct folder *find_run(const struct folders *folders, const char *name) {
    for (size_t i = 1; i < folders->count; i++)
        if (strcmp(folders->items[i]->name, name) == 0)
            return folders->items[i];
    return NULL;
}

/* Forgets run folders that are gone or are others by now. */
static void drop_stale(struct folders *folders) {
    for (size_t i = folders->count; i-- > 1;)
        if (!same_place(folders->items[i]->fd, folders->items[0]->fd, folders->items[i]->name,
                        AT_SYMLINK_NOFOLLOW))
            drop_folder(folders, i);
}

/* ---- scanning ---- */

static bool is_older(const struct timespec *a, const struct timespec *b) {
    return a->tv_sec + SCAN_OVERLAP_SECONDS < b->tv_sec;
}

static void scan_file(struct folders *folders, struct folder *folder, const char *name,
                      const struct timespec *since) {
    struct stat status;
    if (!is_box_name(name) || fstatat(folder->fd, name, &status, AT_SYMLINK_NOFOLLOW) != 0)
        return;
    if (!is_older(&status.st_ctim, since))
        folders->listener.appeared(folders->listener.context, folder, name);
}

static int scan_folder(struct folders *folders, struct folder *folder,
                       const struct timespec *since);

static void enter_run(struct folders *folders, const char *name) {
    struct folder *folder;
    if (find_run(folders, name) != NULL || folders->count >= FOLDERS_MAX)
        return;
    if (folder_open(folders->items[0]->fd, name, name, &folder) < 0)
        return;
    if (add_folder(folders, folder) < 0) {
        folder_unref(folder);
        return;
    }
    const struct timespec never = {0};
    scan_folder(folders, folder, &never);
}

static int scan_folder(struct folders *folders, struct folder *folder,
                       const struct timespec *since) {
    const struct dirent *entry;
    int fd = openat(folder->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *stream = fd >= 0 ? fdopendir(fd) : NULL;
    if (stream == NULL) {
        int error = -errno;
        if (fd >= 0)
            close(fd);
        return error;
    }
    while ((entry = readdir(stream)) != NULL) {
        if (folder == folders->items[0] && is_run_name(entry->d_name))
            enter_run(folders, entry->d_name);
        else
            scan_file(folders, folder, entry->d_name, since);
    }
    closedir(stream);
    return 0;
}

/* The clock that files' times come from. */
static struct timespec file_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME_COARSE, &now);
    return now;
}

/* Cuts the last word of a path; false where there is none. */
static bool go_up(char path[PATH_MAX]) {
    char *slash = strrchr(path, '/');
    if (path[0] == '\0' || strcmp(path, "/") == 0 || strcmp(path, ".") == 0)
        return false;
    if (slash == NULL)
        memcpy(path, ".", 2);
    else
        slash[slash == path] = '\0';
    return true;
}

/* The nearest folder above that is there: something will come into being in it. */
static void watch_parent(struct folders *folders) {
    char parent[PATH_MAX];
    int watch = -1;
    snprintf(parent, sizeof parent, "%s", folders->path);
    while (watch < 0 && go_up(parent))
        watch =
            inotify_add_watch(folders->inotify_fd, parent, IN_CREATE | IN_MOVED_TO | IN_ONLYDIR);
    if (folders->parent_watch >= 0 && folders->parent_watch != watch)
        inotify_rm_watch(folders->inotify_fd, folders->parent_watch);
    folders->parent_watch = watch;
}

/* Makes items[0] the folder that the path names now. */
static int find_root(struct folders *folders) {
    struct folder *root;
    if (folders->count > 0 && same_place(folders->items[0]->fd, AT_FDCWD, folders->path, 0))
        return 0;
    drop_all(folders);
    int error = folder_open(AT_FDCWD, folders->path, "", &root);
    if (error < 0) {
        watch_parent(folders);
        return error;
    }
    if (folders->parent_watch >= 0)
        inotify_rm_watch(folders->inotify_fd, folders->parent_watch);
    folders->parent_watch = -1;
    error = add_folder(folders, root);
    if (error < 0)
        folder_unref(root);
    return error;
}

int folders_scan(struct folders *folders) {
    int error = find_root(folders);
    if (error < 0)
        return error;
    struct timespec since = folders->scanned;
    folders->scanned = file_now();
    drop_stale(folders);
    for (size_t i = 0; i < folders->count; i++) {
        int failed = scan_folder(folders, folders->items[i], &since);
        error = i == 0 ? failed : error;
    }
    return error;
}

/* ---- events ---- */

static int take_event(struct folders *folders, const struct inotify_event *event) {
    struct folder *folder = find_watch(folders, event->wd);
    if (event->mask & IN_Q_OVERFLOW || event->wd == folders->parent_watch)
        return 1;
    if (folder == NULL || event->mask & IN_IGNORED)
        return 0;
    if (event->mask & (IN_DELETE_SELF | IN_MOVE_SELF))
        return 1;
    if (event->len == 0)
        return 0;
    if (event->mask & IN_ISDIR) {
        if (folder == folders->items[0] && event->mask & (IN_CREATE | IN_MOVED_TO) &&
            is_run_name(event->name))
            enter_run(folders, event->name);
        return 0;
    }
    if (!is_box_name(event->name))
        return 0;
    if (event->mask & (IN_DELETE | IN_MOVED_FROM))
        folders->listener.vanished(folders->listener.context, folder, event->name);
    else
        folders->listener.appeared(folders->listener.context, folder, event->name);
    return 0;
}

int folders_read_events(struct folders *folders) {
    static char buffer[EVENT_BYTES]
        __attribute__((aligned(__alignof__(struct inotify_event)))); /* the loop's */
    int scan = 0;
    ssize_t got = 1;
    for (int turn = 0; turn < TURNS_MAX && got > 0; turn++) {
        got = read(folders->inotify_fd, buffer, sizeof buffer);
        for (ssize_t at = 0; at < got;) {
            const struct inotify_event *event = (const void *)(buffer + at);
            scan |= take_event(folders, event);
            at += (ssize_t)(sizeof *event + event->len);
        }
    }
    return scan;
}

/* ---- life ---- */

int folders_open(struct folders *folders, const char *path,
                 const struct folders_listener *listener) {
    *folders = (struct folders){.parent_watch = -1, .listener = *listener};
    if (strlen(path) >= sizeof folders->path)
        return -ENAMETOOLONG;
    memcpy(folders->path, path, strlen(path) + 1);
    folders->inotify_fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    return folders->inotify_fd < 0 ? -errno : 0;
}

void folders_close(struct folders *folders) {
    drop_all(folders);
    free(folders->items);
    close(folders->inotify_fd);
}
