/* SPDX-License-Identifier: Apache-2.0
 *
 * /debug/gctrace and /debug/scavtrace: the lines of one kind that the box still holds, oldest
 * first. The ring keeps the newest MAL_BOX_TRACE_BYTES of all kinds.
 *
 * SYNCHRONIZATION  Runs on workers; everything is the request's own.
 */
#include "http/routes.h"

#include <stdlib.h>
#include <string.h>

#define CHUNK_BYTES 65536

static int read_all(struct mal_box_reader *reader, struct view_buffer *out) {
    char *chunk = malloc(CHUNK_BYTES);
    uint64_t cursor = 0;
    long bytes = chunk != NULL ? 1 : -1;
    while (bytes > 0 && out->bytes < MAL_BOX_TRACE_BYTES) {
        bytes = mal_reader_trace(reader, &cursor, chunk, CHUNK_BYTES);
        if (bytes > 0)
            view_buffer_append(out, chunk, (size_t)bytes);
    }
    free(chunk);
    return bytes < 0 ? -1 : 0;
}

/* Appends the whole lines of `text` that begin with `prefix`. */
static void keep_lines(const struct view_buffer *text, const char *prefix,
                       struct view_buffer *out) {
    size_t prefix_bytes = strlen(prefix);
    const char *line = text->data;
    const char *end = line + text->bytes;
    for (const char *newline; line < end; line = newline + 1) {
        newline = memchr(line, '\n', (size_t)(end - line));
        if (newline == NULL)
            return;
        size_t bytes = (size_t)(newline - line) + 1;
        if (bytes > prefix_bytes && memcmp(line, prefix, prefix_bytes) == 0)
            view_buffer_append(out, line, bytes);
    }
}

void http_trace_lines(struct http_request *request, struct http_reply *reply) {
    struct view_buffer text = {0};
    if (http_request_open(request, reply) < 0)
        return;
    reply->type = HTTP_TYPE_TEXT;
    if (read_all(request->reader, &text) < 0)
        http_reply_error(reply, 500, "the trace cannot be read");
    else if (text.data != NULL)
        keep_lines(&text, request->route->argument, &reply->body);
    view_buffer_free(&text);
}
