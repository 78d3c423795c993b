/* SPDX-License-Identifier: Apache-2.0
 *
 * Folders and files of `mallard run`.
 */
#include "cli/place.h"

#include "box/place.h"
#include "box/reader.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LIBRARY "libmallard.so.0"

void cli_find_library(char *ret_path, size_t bytes) {
    static const char *const beside[] = {"", "../lib/", "../lib/x86_64-linux-gnu/",
                                         "../lib/aarch64-linux-gnu/"};
    char self[PATH_MAX] = "";
    ssize_t got = readlink("/proc/self/exe", self, sizeof self - 1);
    char *slash = got > 0 ? strrchr(self, '/') : NULL;
    if (slash)
        slash[1] = '\0';
    for (size_t i = 0; slash && i < sizeof beside / sizeof *beside; i++)
        if ((size_t)snprintf(ret_path, bytes, "%s%s" LIBRARY, self, beside[i]) < bytes &&
            access(ret_path, R_OK) == 0)
            return;
    snprintf(ret_path, bytes, LIBRARY);
}

static int make_kept(const char *keep, char *ret_path, size_t bytes) {
    char resolved[PATH_MAX];
    if (mkdir(keep, 0700) != 0 && errno != EEXIST)
        return -errno;
    if (!realpath(keep, resolved))
        return -errno;
    return (size_t)snprintf(ret_path, bytes, "%s", resolved) < bytes ? 0 : -ENAMETOOLONG;
}

int cli_make_folder(const char *keep, char *ret_path, size_t bytes) {
    char base[MAL_BOX_FOLDER_BYTES];
    if (keep)
        return make_kept(keep, ret_path, bytes);
    int error = mal_box_folder_make(base, sizeof base);
    if (error)
        return error;
    if ((size_t)snprintf(ret_path, bytes, "%s/run.%d", base, getpid()) >= bytes)
        return -ENAMETOOLONG;
    return mkdir(ret_path, 0700) == 0 || errno == EEXIST ? 0 : -errno;
}

void cli_remove_folder(const char *folder) {
    mal_box_collect_stale(folder, 0);
    rmdir(folder);
}
