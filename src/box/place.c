/* SPDX-License-Identifier: Apache-2.0
 *
 * Picks the folder of boxes. Linked into the core and into whatever reads boxes, so it may only
 * use what both have: no malloc, no stdio, no other file of either.
 *
 * The folder decides who may plant a box where others look, hence the checks: a private folder
 * must be a real directory (not a symbolic link) of the effective user that nobody else can write
 * to; /run/mallard is shared by all users and must then be sticky. Only $MALLARD_DIR is taken on
 * trust, and a program that gained privileges by exec ignores the environment altogether.
 *
 * SYNCHRONIZATION. None: all is the caller's.
 */
#include "box/place.h"

#include "box/reader.h"
#include "os/kernel.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SHARED_FOLDER "/run/mallard"
#define PRIVATE_NAME "/mallard"
#define PRIVATE_PREFIX "/dev/shm/mallard."

/* A path under construction; `failed` once something did not fit. */
struct path {
    char text[MAL_BOX_FOLDER_BYTES];
    size_t bytes;
    bool failed;
};

static void path_add(struct path *path, const char *text) {
    size_t bytes = strlen(text);
    if (path->failed || bytes >= sizeof(path->text) - path->bytes) {
        path->failed = true;
        return;
    }
    memcpy(path->text + path->bytes, text, bytes + 1);
    path->bytes += bytes;
}

static void path_add_decimal(struct path *path, unsigned long value) {
    char digits[24];
    size_t at = sizeof(digits) - 1;
    digits[at] = 0;
    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    path_add(path, digits + at);
}

static int path_give(const struct path *path, char *ret_path, size_t bytes) {
    if (path->failed || path->bytes >= bytes)
        return -ENAMETOOLONG;
    memcpy(ret_path, path->text, path->bytes + 1);
    return 0;
}

static int require_folder(const char *path) {
    struct stat status;
    if (mal_file_stat(path, &status, 0) != 0)
        return -ENOENT;
    return S_ISDIR(status.st_mode) ? 0 : -ENOENT;
}

/* Everybody may write here, but not remove or rename what others made. */
static int require_shared(const char *path) {
    struct stat status;
    if (mal_file_stat(path, &status, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISDIR(status.st_mode))
        return -ENOENT;
    bool open_to_others = status.st_mode & (S_IWGRP | S_IWOTH);
    return open_to_others && !(status.st_mode & S_ISVTX) ? -EPERM : 0;
}

static int require_private(const char *path) {
    struct stat status;
    if (mal_file_stat(path, &status, AT_SYMLINK_NOFOLLOW) != 0)
        return -ENOENT;
    if (!S_ISDIR(status.st_mode) || status.st_uid != mal_effective_uid())
        return -EPERM;
    return status.st_mode & (S_IWGRP | S_IWOTH) ? -EPERM : 0;
}

static int make_private(const char *path) {
    int error = mal_file_mkdir(path, 0700);
    if (error != 0 && error != -EEXIST)
        return error;
    return require_private(path);
}

static void copy_variable(const char *name, char ret_value[MAL_BOX_FOLDER_BYTES]) {
    const char *value = secure_getenv(name);
    size_t bytes = value ? strnlen(value, MAL_BOX_FOLDER_BYTES - 1) : 0;
    if (bytes > 0)
        memcpy(ret_value, value, bytes);
    ret_value[bytes] = '\0';
}

void mal_box_place_read(struct mal_box_place *ret_place) {
    copy_variable("MALLARD_DIR", ret_place->named);
    copy_variable("XDG_RUNTIME_DIR", ret_place->runtime);
}

/* The order of places. `check_private` decides about the two that belong to one user. */
static int find_folder(const struct mal_box_place *place, struct path *path,
                       int (*check_private)(const char *path)) {
    if (place->named[0]) {
        path_add(path, place->named);
        return path->bytes + 1 == sizeof path->text ? -ENAMETOOLONG : require_folder(path->text);
    }
    if (require_shared(SHARED_FOLDER) == 0) {
        path_add(path, SHARED_FOLDER);
        return 0;
    }
    if (place->runtime[0] == '/') {
        path_add(path, place->runtime);
        path_add(path, PRIVATE_NAME);
        if (!path->failed && check_private(path->text) == 0)
            return 0;
    }
    *path = (struct path){0};
    path_add(path, PRIVATE_PREFIX);
    path_add_decimal(path, mal_effective_uid());
    return check_private(path->text);
}

static int give_folder(const struct mal_box_place *place, char *ret_path, size_t bytes,
                       int (*check_private)(const char *path)) {
    struct path path = {0};
    int saved_errno = errno;
    int error = find_folder(place, &path, check_private);
    errno = saved_errno;
    return error ? error : path_give(&path, ret_path, bytes);
}

int mal_box_folder_find(const struct mal_box_place *place, char *ret_path, size_t bytes) {
    return give_folder(place, ret_path, bytes, require_private);
}

int mal_box_folder_make(const struct mal_box_place *place, char *ret_path, size_t bytes) {
    return give_folder(place, ret_path, bytes, make_private);
}

int mal_box_folder(char *ret_path, size_t bytes) {
    struct mal_box_place place;
    mal_box_place_read(&place);
    return mal_box_folder_find(&place, ret_path, bytes);
}
