/* SPDX-License-Identifier: Apache-2.0
 *
 * Opening files that a box names. A box may name anything, and who reads it may be root: a device
 * whose opening does something, a FIFO that nobody writes to. So the name is resolved first without
 * opening what it leads to, and only a plain file is opened then, through the descriptor that was
 * looked at.
 *
 * Below the root of another mount namespace, links are resolved as its processes would.
 */
#include "view/symbol_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

/* -ENOSYS before Linux 5.6. */
static int find_below(int root, const char *path) {
    struct open_how how = {.flags = O_PATH | O_CLOEXEC,
                           .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
    return (int)syscall(SYS_openat2, root, path, &how, sizeof(how));
}

/* The file, not opened for anything: a descriptor or -errno. */
static int find(const char *root, const char *path) {
    if (path[0] != '/')
        return -ENOENT;
    int top = root[0] ? open(root, O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
    if (root[0] && top < 0)
        return -errno;
    int fd = root[0] ? find_below(top, path) : open(path, O_PATH | O_CLOEXEC);
    int error = -errno;
    if (top >= 0)
        close(top);
    return fd < 0 ? error : fd;
}

static int find_plain(const char *root, const char *path, struct stat *ret_status) {
    int fd = find(root, path);
    if (fd < 0)
        return fd;
    int error = fstat(fd, ret_status) != 0 ? -errno : S_ISREG(ret_status->st_mode) ? 0 : -ENOENT;
    if (error) {
        close(fd);
        return error;
    }
    return fd;
}

int symbol_path_stat(const char *root, const char *path, struct stat *ret_status) {
    int fd = find_plain(root, path, ret_status);
    if (fd < 0)
        return fd;
    close(fd);
    return 0;
}

int symbol_path_open(const char *root, const char *path) {
    const int flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
    char found[32];
    struct stat status;
    int fd = find_plain(root, path, &status);
    if (fd < 0)
        return fd;
    snprintf(found, sizeof(found), "/proc/self/fd/%d", fd);
    int file = open(found, flags);
    if (file < 0 && errno == ENOENT && !root[0])
        file = open(path, flags | O_NOFOLLOW); /* a program that closed itself off from /proc */
    int error = -errno;
    close(fd);
    return file < 0 ? error : file;
}
