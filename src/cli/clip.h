/* SPDX-License-Identifier: Apache-2.0
 *
 * Text that others wrote (command lines, names of functions), made harmless for a terminal and cut
 * to the columns there are.
 */
#ifndef MAL_CLI_CLIP_H
#define MAL_CLI_CLIP_H

#include "view/buffer.h"

#include <stddef.h>

/* A copy on one line: NULs become spaces; what would move the cursor, is invisible or is no UTF-8
 * becomes '?'. To be freed; NULL when out of memory. */
char *clip_printable(const char *text, size_t bytes);

/* Appends as much of `text`, which clip_printable made, as fits into `columns`, never half a
 * character. Returns the columns taken. */
size_t clip_put(struct view_buffer *out, const char *text, size_t columns);

#endif
