/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading the profiles of a process: which there are, and one of them. What is in them is for the
 * reader of profiles to judge.
 */
#include "keep/keep_private.h"

#include "view/table.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct profile_list {
    struct keep_profile *items;
    size_t count, capacity;
};

static int visit_profile(int folder, const char *name, void *context) {
    struct profile_list *list = context;
    struct keep_profile profile;
    struct stat status;
    if (!keep_profile_parse(name, &profile.unix_s) ||
        fstatat(folder, name, &status, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(status.st_mode) ||
        (uint64_t)status.st_size > KEEP_PROFILE_MAX_BYTES)
        return 0;
    struct keep_profile *items =
        view_array_grow(list->items, list->count, &list->capacity, sizeof(*items));
    if (!items)
        return -ENOMEM;
    profile.bytes = (uint64_t)status.st_size;
    list->items = items;
    items[list->count++] = profile;
    return 0;
}

static int compare_profiles(const void *left, const void *right) {
    const struct keep_profile *a = left, *b = right;
    return (a->unix_s > b->unix_s) - (a->unix_s < b->unix_s);
}

long keep_profiles(const char *folder, struct keep_profile *ret_profiles, size_t max) {
    struct profile_list list = {0};
    int fd = keep_open_folder(AT_FDCWD, folder);
    if (fd < 0)
        return fd;
    int error = keep_names(fd, visit_profile, &list);
    close(fd);
    size_t given = list.count < max ? list.count : max;
    if (list.count > 0)
        qsort(list.items, list.count, sizeof(*list.items), compare_profiles);
    if (!error && given > 0)
        memcpy(ret_profiles, list.items + list.count - given, given * sizeof(*ret_profiles));
    free(list.items);
    return error ? error : (long)given;
}

int keep_profile_open(const char *folder, uint64_t unix_s) {
    char name[KEEP_FILE_NAME_BYTES];
    struct stat status;
    int at = keep_open_folder(AT_FDCWD, folder);
    if (at < 0)
        return at;
    keep_profile_name(unix_s, name);
    int fd = keep_open_file(at, name, KEEP_PROFILE_MAX_BYTES, &status);
    close(at);
    return fd;
}
