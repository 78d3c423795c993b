/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading what is kept of a process: rows and profiles, each bounded by what its writer makes.
 *
 * SYNCHRONIZATION  None: everything is the caller's own.
 */
#include "http/kept.h"

#include "view/profile.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#define PROFILES_MAX 4096

size_t http_kept_profiles(const char *folder, struct keep_profile **ret_profiles) {
    struct keep_profile *profiles = NULL;
    long count = 0;
    if (*folder != '\0')
        profiles = malloc(PROFILES_MAX * sizeof *profiles);
    if (profiles != NULL)
        count = keep_profiles(folder, profiles, PROFILES_MAX);
    if (count <= 0) {
        free(profiles);
        profiles = NULL;
        count = 0;
    }
    *ret_profiles = profiles;
    return (size_t)count;
}

static int read_all(int fd, struct view_buffer *out) {
    char piece[16384];
    ssize_t bytes;
    while ((bytes = read(fd, piece, sizeof piece)) != 0) {
        if (bytes < 0 && errno == EINTR)
            continue;
        if (bytes < 0)
            return -errno;
        if (out->bytes + (size_t)bytes > VIEW_PROFILE_READ_MAX_BYTES)
            return -EFBIG;
        view_buffer_append(out, piece, (size_t)bytes);
    }
    return out->failed ? -ENOMEM : 0;
}

int http_kept_profile(const char *folder, uint64_t unix_s, struct view_buffer *out) {
    if (*folder == '\0')
        return -ENOENT;
    int fd = keep_profile_open(folder, unix_s);
    if (fd < 0)
        return fd;
    int error = read_all(fd, out);
    close(fd);
    return error;
}

size_t http_kept_rows(const char *folder, uint64_t from_unix_ns, uint64_t to_unix_ns,
                      struct mal_box_history_row **ret_rows) {
    struct mal_box_history_row *rows = NULL;
    long count = 0;
    if (*folder != '\0' && from_unix_ns <= to_unix_ns)
        rows = malloc(KEEP_ROWS_MAX * sizeof *rows);
    if (rows != NULL)
        count = keep_rows(folder, from_unix_ns, to_unix_ns, rows, KEEP_ROWS_MAX);
    if (count <= 0) {
        free(rows);
        rows = NULL;
        count = 0;
    }
    *ret_rows = rows;
    return (size_t)count;
}
