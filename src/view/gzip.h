/* SPDX-License-Identifier: Apache-2.0
 *
 * gzip, both ways. Both append to `out` on success only and return 0 or a negative errno.
 */
#ifndef MAL_VIEW_GZIP_H
#define MAL_VIEW_GZIP_H

#include "view/buffer.h"

#include <stddef.h>

/* How hard it tries. Go uses speed for profiles and the default for differences. */
enum view_effort { VIEW_EFFORT_SPEED, VIEW_EFFORT_DEFAULT };

/* One member with Go's header: no time, OS "unknown". -EFBIG from 4 GiB on. */
int view_gzip(const void *data, size_t bytes, enum view_effort effort, struct view_buffer *out);

/* Takes exactly one whole member apart. -EBADMSG: it is none; -EFBIG: there is more in it than
 * `max_bytes`, which nothing is allocated for. */
int view_gunzip(const void *data, size_t bytes, size_t max_bytes, struct view_buffer *out);

#endif
