/* SPDX-License-Identifier: Apache-2.0
 *
 * Files of the keep folder, opened and replaced without trust.
 *
 * Every open is relative to a descriptor, follows no link, waits for nobody (a FIFO in the place of
 * a file must not hold up a daemon) and is then checked on the descriptor. A file is replaced by
 * writing a new one beside it, bringing that to the disk, and renaming: after a crash there is the
 * old file or the new one, and at worst a leftover whose name says that it is one.
 *
 * It must never: follow a link, read a file that is larger than a writer makes it, or leave a file
 * under its final name half written.
 */
#include "keep/keep_private.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define READ_FLAGS (O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)

mode_t keep_folder_mode(void) {
    return geteuid() == 0 ? 0755 : 0700;
}

/* ----------------------------------------------------------------------------------- reading */

static int require_own_folder(int fd) {
    struct stat status;
    if (fstat(fd, &status) != 0)
        return -errno;
    if (!S_ISDIR(status.st_mode))
        return -ENOTDIR;
    bool own = status.st_uid == 0 || status.st_uid == geteuid();
    return own && !(status.st_mode & (S_IWGRP | S_IWOTH)) ? 0 : -EPERM;
}

int keep_open_folder(int at, const char *name) {
    int fd = openat(at, name, READ_FLAGS | O_DIRECTORY);
    if (fd < 0)
        return -errno;
    int error = require_own_folder(fd);
    if (error) {
        close(fd);
        return error;
    }
    return fd;
}

static int require_file(int fd, uint64_t max_bytes, struct stat *ret_status) {
    if (fstat(fd, ret_status) != 0)
        return -errno;
    if (!S_ISREG(ret_status->st_mode))
        return -EBADMSG;
    return (uint64_t)ret_status->st_size <= max_bytes ? 0 : -EFBIG;
}

int keep_open_file(int at, const char *name, uint64_t max_bytes, struct stat *ret_status) {
    int fd = openat(at, name, READ_FLAGS);
    if (fd < 0)
        return -errno;
    int error = require_file(fd, max_bytes, ret_status);
    if (error) {
        close(fd);
        return error;
    }
    return fd;
}

/* Up to `bytes` from the begin of the file; fewer when it has been cut meanwhile. */
static ssize_t read_begin(int fd, char *data, size_t bytes) {
    size_t done = 0;
    while (done < bytes) {
        ssize_t got = pread(fd, data + done, bytes - done, (off_t)done);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -errno;
        if (got == 0)
            break;
        done += (size_t)got;
    }
    return (ssize_t)done;
}

int keep_load(int at, const char *name, uint64_t max_bytes, char **ret_data,
              struct stat *ret_status) {
    int fd = keep_open_file(at, name, max_bytes, ret_status);
    if (fd < 0)
        return fd;
    char *data = malloc((size_t)ret_status->st_size + 1);
    ssize_t got = data ? read_begin(fd, data, (size_t)ret_status->st_size) : -ENOMEM;
    close(fd);
    if (got < 0) {
        free(data);
        return (int)got;
    }
    data[got] = '\0';
    ret_status->st_size = got;
    *ret_data = data;
    return 0;
}

int keep_names(int folder, int (*visit)(int folder, const char *name, void *context),
               void *context) {
    int fd = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *stream = fd >= 0 ? fdopendir(fd) : NULL;
    if (!stream) {
        int error = -errno;
        if (fd >= 0)
            close(fd);
        return error;
    }
    int result = 0;
    const struct dirent *entry;
    while (result == 0 && (entry = readdir(stream)) != NULL) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            result = visit(folder, entry->d_name, context);
    }
    closedir(stream);
    return result;
}

/* ----------------------------------------------------------------------------------- writing */

static int visit_remove(int folder, const char *name, void *context) {
    (void)context;
    unlinkat(folder, name, 0);
    return 0;
}

int keep_folder_remove(int store, const char *name) {
    int folder = keep_open_folder(store, name);
    if (folder < 0)
        return folder;
    int error = keep_names(folder, visit_remove, NULL);
    close(folder);
    if (!error && unlinkat(store, name, AT_REMOVEDIR) != 0)
        error = -errno;
    return error;
}

int keep_write_all(int fd, const void *data, size_t bytes) {
    const char *at = data;
    while (bytes > 0) {
        ssize_t done = write(fd, at, bytes);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return -errno;
        at += done;
        bytes -= (size_t)done;
    }
    return 0;
}

/* Where the kernel refuses to give files away (a user namespace, a daemon without the right), they
 * stay root's, and only root reads them. */
int keep_hand_over(int fd, uint32_t uid) {
    if (geteuid() != 0)
        return 0;
    if (fchmod(fd, 0400) != 0) /* while it is ours: afterwards it takes one more right */
        return -errno;
    return fchown(fd, uid, (gid_t)-1) == 0 || errno == EPERM || errno == EINVAL ? 0 : -errno;
}

static void new_name(const char *name, char ret_name[KEEP_FILE_NAME_BYTES]) {
    snprintf(ret_name, KEEP_FILE_NAME_BYTES, KEEP_NEW "%s", name);
}

int keep_new_open(int at, const char *name) {
    char path[KEEP_FILE_NAME_BYTES];
    new_name(name, path);
    unlinkat(at, path, 0);
    int fd = openat(at, path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    return fd < 0 ? -errno : fd;
}

int keep_new_commit(int at, const char *name, int fd, uint32_t uid) {
    char path[KEEP_FILE_NAME_BYTES];
    new_name(name, path);
    int error = fsync(fd) == 0 ? keep_hand_over(fd, uid) : -errno;
    if (!error && renameat(at, path, at, name) != 0)
        error = -errno;
    if (error)
        unlinkat(at, path, 0);
    close(fd);
    return error;
}

void keep_new_abandon(int at, const char *name, int fd) {
    char path[KEEP_FILE_NAME_BYTES];
    new_name(name, path);
    unlinkat(at, path, 0);
    close(fd);
}
