/* SPDX-License-Identifier: Apache-2.0
 *
 * Takes a gzip member apart. In a header, as only tests that link zlib may include it.
 */
#ifndef MAL_TESTS_SUPPORT_GUNZIP_H
#define MAL_TESTS_SUPPORT_GUNZIP_H

#include <stdint.h>
#include <stdlib.h>
#include <zlib.h>

/* Returns the content, to be freed; NULL when `data` is not exactly one whole gzip member. */
static inline void *gunzip(const void *data, size_t bytes, size_t *ret_bytes) {
    z_stream stream = {.next_in = (Bytef *)(uintptr_t)data, .avail_in = (uInt)bytes};
    size_t capacity = 4096;
    unsigned char *content = malloc(capacity);
    if (!content || inflateInit2(&stream, MAX_WBITS + 16) != Z_OK)
        abort();
    int state = Z_OK;
    while (state == Z_OK) {
        if (stream.total_out == capacity) {
            capacity *= 2;
            content = realloc(content, capacity);
            if (!content)
                abort();
        }
        stream.next_out = content + stream.total_out;
        stream.avail_out = (uInt)(capacity - stream.total_out);
        state = inflate(&stream, Z_NO_FLUSH);
    }
    *ret_bytes = stream.total_out;
    inflateEnd(&stream);
    if (state == Z_STREAM_END && stream.avail_in == 0)
        return content;
    free(content);
    return NULL;
}

#endif
