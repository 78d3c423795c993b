/* SPDX-License-Identifier: Apache-2.0
 *
 * The keep folder as a whole: where it is, opening it, which processes it holds, what it weighs.
 *
 * Holds: a descriptor of the folder, through which all else is reached, and the entries that are
 * being written.
 *
 * The folder must belong to root or to the user who opens it, and nobody else may write to it; a
 * link in its place is followed only when it is as trustworthy. A writer must own it and holds a
 * lock on it, since two daemons would remove each other's unfinished files.
 *
 * SYNCHRONIZATION: the lock of the store guards the list of entries.
 */
#include "keep/keep_private.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#define ROOTS_PLACE "/var/lib/mallard"
#define LOCK_NAME ".lock"

int keep_default_path(char *ret_path, size_t bytes) {
    const char *state = secure_getenv("XDG_STATE_HOME"), *home = secure_getenv("HOME");
    int length;
    if (geteuid() == 0)
        length = snprintf(ret_path, bytes, ROOTS_PLACE);
    else if (state && state[0] == '/')
        length = snprintf(ret_path, bytes, "%s/mallard", state);
    else if (home && home[0] == '/')
        length = snprintf(ret_path, bytes, "%s/.local/state/mallard", home);
    else
        return -ENOENT;
    return (size_t)length < bytes ? 0 : -ENAMETOOLONG;
}

/* ----------------------------------------------------------------------------------- opening */

static int problem(char ret_problem[KEEP_PROBLEM_BYTES], int error, const char *format, ...)
    MAL_PRINTF(3, 4);
static int problem(char ret_problem[KEEP_PROBLEM_BYTES], int error, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    if (ret_problem)
        vsnprintf(ret_problem, KEEP_PROBLEM_BYTES, format, arguments);
    va_end(arguments);
    return error;
}

/* Makes the folder and those above it. Returns 1 when the folder was missing, else 0 or -errno. */
static int make_path(const char *path) {
    char part[PATH_MAX];
    size_t bytes = strlen(path);
    int made = 0;
    if (bytes == 0 || bytes >= sizeof(part))
        return bytes ? -ENAMETOOLONG : -ENOENT;
    for (size_t at = 1; at <= bytes; at++) {
        if (path[at] != '/' && path[at] != '\0')
            continue;
        memcpy(part, path, at);
        part[at] = '\0';
        made = mkdir(part, keep_folder_mode()) == 0;
        if (!made && errno != EEXIST)
            return -errno;
    }
    return made;
}

static bool link_is_trusted(const char *path) {
    struct stat status;
    return lstat(path, &status) == 0 && S_ISLNK(status.st_mode) &&
           (status.st_uid == 0 || status.st_uid == geteuid());
}

static int open_root(const char *path, char ret_problem[KEEP_PROBLEM_BYTES]) {
    int fd = keep_open_folder(AT_FDCWD, path);
    if ((fd == -ELOOP || fd == -ENOTDIR) && link_is_trusted(path)) {
        char behind[PATH_MAX];
        fd = snprintf(behind, sizeof(behind), "%s/.", path) < (int)sizeof(behind)
                 ? keep_open_folder(AT_FDCWD, behind)
                 : -ENAMETOOLONG;
    }
    if (fd == -EPERM)
        return problem(ret_problem, fd,
                       "%s belongs to another user, or other users may write to it", path);
    if (fd < 0)
        return problem(ret_problem, fd, "%s cannot be opened: %s", path, strerror(-fd));
    return fd;
}

static int visit_leftover(int folder, const char *name, void *context) {
    (void)context;
    if (keep_is_new(name))
        unlinkat(folder, name, 0);
    return 0;
}

/* What an earlier writer did not finish: files under temporary names, folders without anything. */
static int visit_unfinished(int store, const char *name, void *context) {
    struct keep_facts key;
    if (!keep_folder_parse(name, &key) && strcmp(name, KEEP_NAMES) != 0)
        return 0;
    int folder = keep_open_folder(store, name);
    if (folder < 0)
        return 0;
    keep_names(folder, visit_leftover, context);
    close(folder);
    unlinkat(store, name, AT_REMOVEDIR);
    return 0;
}

/* The lock is on a file that only its owner can open: everybody may open the folder itself, and so
 * could hold a lock on it. */
static int lock_writing(struct keep_store *store) {
    const int flags = O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK;
    store->lock_fd = openat(store->fd, LOCK_NAME, flags, 0600);
    if (store->lock_fd < 0)
        return -errno;
    if (flock(store->lock_fd, LOCK_EX | LOCK_NB) == 0)
        return 0;
    return errno == EWOULDBLOCK ? -EBUSY : -errno;
}

static int begin_writing(struct keep_store *store, char ret_problem[KEEP_PROBLEM_BYTES]) {
    struct stat status;
    if (fstat(store->fd, &status) != 0 || status.st_uid != geteuid())
        return problem(ret_problem, -EPERM, "%s belongs to another user", store->path);
    if (faccessat(store->fd, ".", W_OK | X_OK, AT_EACCESS) != 0)
        return problem(ret_problem, -errno, "%s cannot be written: %s", store->path,
                       strerror(errno));
    int error = lock_writing(store);
    if (error == -EBUSY)
        return problem(ret_problem, error, "another daemon writes to %s", store->path);
    if (error)
        return problem(ret_problem, error, "%s cannot be locked: %s", store->path,
                       strerror(-error));
    store->writable = true;
    return keep_names(store->fd, visit_unfinished, NULL);
}

static int store_new(const char *path, struct keep_store **ret_store) {
    struct keep_store *store = calloc(1, sizeof(*store));
    if (!store)
        return -ENOMEM;
    store->fd = -1;
    store->lock_fd = -1;
    store->path = strdup(path);
    int error = store->path ? -pthread_mutex_init(&store->lock, NULL) : -ENOMEM;
    if (error) {
        free(store->path);
        free(store);
        return error;
    }
    *ret_store = store;
    return 0;
}

int keep_store_open(const char *path, unsigned flags, struct keep_store **ret_store,
                    char ret_problem[KEEP_PROBLEM_BYTES]) {
    struct keep_store *store = NULL;
    int made = flags & KEEP_WRITE ? make_path(path) : 0;
    if (made < 0)
        return problem(ret_problem, made, "%s cannot be made: %s", path, strerror(-made));
    int error = store_new(path, &store);
    if (error)
        return problem(ret_problem, error, "%s: out of memory", path);
    store->fd = open_root(path, ret_problem);
    error = store->fd < 0 ? store->fd : 0;
    if (!error && made)
        fchmod(store->fd, keep_folder_mode()); /* whatever the umask */
    if (!error && flags & KEEP_WRITE)
        error = begin_writing(store, ret_problem);
    if (error) {
        keep_store_close(store);
        return error;
    }
    *ret_store = store;
    return 0;
}

void keep_store_close(struct keep_store *store) {
    if (!store)
        return;
    if (store->lock_fd >= 0)
        close(store->lock_fd);
    if (store->fd >= 0)
        close(store->fd);
    pthread_mutex_destroy(&store->lock);
    free(store->path);
    free(store);
}

const char *keep_store_path(const struct keep_store *store) {
    return store->path;
}

/* --------------------------------------------------------------------------------- processes */

struct each {
    const struct keep_store *store;
    int (*visit)(const struct keep_facts *facts, const char *folder_path, void *context);
    void *context;
};

static int visit_process(int store, const char *name, void *context) {
    const struct each *each = context;
    struct keep_facts facts;
    char path[PATH_MAX];
    int folder = keep_folder_parse(name, &facts) ? keep_open_folder(store, name) : -ENOENT;
    if (folder < 0)
        return 0;
    int error = keep_facts_of(folder, name, &facts);
    close(folder);
    if (error)
        return 0;
    int length = snprintf(path, sizeof(path), "%s/%s", each->store->path, name);
    int result = (size_t)length < sizeof(path) ? each->visit(&facts, path, each->context) : 0;
    keep_facts_free(&facts);
    return result;
}

int keep_each(struct keep_store *store,
              int (*visit)(const struct keep_facts *facts, const char *folder_path, void *context),
              void *context) {
    struct each each = {store, visit, context};
    return keep_names(store->fd, visit_process, &each);
}

/* ------------------------------------------------------------------------------------ weight */

static int visit_weight(int folder, const char *name, void *context) {
    struct stat status;
    if (fstatat(folder, name, &status, AT_SYMLINK_NOFOLLOW) == 0)
        *(uint64_t *)context += (uint64_t)status.st_blocks * 512;
    return 0;
}

static int visit_folder_weight(int store, const char *name, void *context) {
    visit_weight(store, name, context);
    int folder = keep_open_folder(store, name);
    if (folder < 0)
        return 0;
    keep_names(folder, visit_weight, context);
    close(folder);
    return 0;
}

uint64_t keep_store_bytes(struct keep_store *store) {
    uint64_t bytes = 0;
    keep_names(store->fd, visit_folder_weight, &bytes);
    return bytes;
}
