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

size_t http_kept_profiles(const char *folder, struct keep_profile **ret_profiles) {
    (void)folder;
    *ret_profiles = NULL;
    return 0;
}

int http_kept_profile(const char *folder, uint64_t unix_s, struct view_buffer *out) {
    (void)folder;
    (void)unix_s;
    (void)out;
    return -ENOENT;
}

size_t http_kept_rows(const char *folder, uint64_t from_unix_ns, uint64_t to_unix_ns,
                      struct mal_box_history_row **ret_rows) {
    (void)folder;
    (void)from_unix_ns;
    (void)to_unix_ns;
    *ret_rows = NULL;
    return 0;
}
