/* SPDX-License-Identifier: Apache-2.0
 *
 * A growing byte buffer: what every view renders into. After a failed allocation it stays valid,
 * keeps what it held, ignores further appends and says so in `failed`.
 */
#ifndef MAL_VIEW_BUFFER_H
#define MAL_VIEW_BUFFER_H

#include "base/attr.h"

#include <stdbool.h>
#include <stddef.h>

struct view_buffer {
    char *data; /* terminated by a NUL that `bytes` does not count, see room; NULL while empty */
    size_t bytes;
    size_t capacity_bytes;
    bool failed;
};

void view_buffer_append(struct view_buffer *buffer, const void *data, size_t bytes);
/* Room for `bytes` bytes behind the content, whose writer adds what it wrote to `bytes` of the
 * buffer; no NUL is put behind that. NULL after a failure. */
char *view_buffer_room(struct view_buffer *buffer, size_t bytes);
void view_buffer_text(struct view_buffer *buffer, const char *text);
void view_buffer_printf(struct view_buffer *buffer, const char *format, ...) MAL_PRINTF(2, 3);
/* Appends `text` as the inside of a JSON string, without the quotes; bad UTF-8 becomes U+FFFD. */
void view_buffer_json(struct view_buffer *buffer, const char *text, size_t bytes);
/* Appends `text` such that a terminal shows it and obeys nothing in it: control characters, those
 * of 0x80 to 0x9f too, and bad UTF-8 become '?'. */
void view_buffer_printable(struct view_buffer *buffer, const char *text, size_t bytes);
/* The length of the UTF-8 sequence that begins at `text`, 0 when none does; `left` is not 0. */
size_t view_utf8_bytes(const char *text, size_t left);
void view_buffer_reset(struct view_buffer *buffer); /* empty, memory kept */
void view_buffer_free(struct view_buffer *buffer);

#endif
