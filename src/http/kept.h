/* SPDX-License-Identifier: Apache-2.0
 *
 * What is kept of a process on disk, for the providers. `folder` is that of its facts; of "" there
 * is nothing.
 */
#ifndef MAL_HTTP_KEPT_H
#define MAL_HTTP_KEPT_H

#include "keep/keep.h"
#include "view/buffer.h"

#include <stddef.h>
#include <stdint.h>

/* The stored profiles, oldest first, in memory to be freed; 0 and NULL when there is none. */
size_t http_kept_profiles(const char *folder, struct keep_profile **ret_profiles);

/* The bytes of the profile stored at `unix_s`. -ENOENT when there is none. */
int http_kept_profile(const char *folder, uint64_t unix_s, struct view_buffer *out);

/* The rows within [from, to], oldest first, in memory to be freed. */
size_t http_kept_rows(const char *folder, uint64_t from_unix_ns, uint64_t to_unix_ns,
                      struct mal_box_history_row **ret_rows);

#endif
