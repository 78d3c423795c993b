/* SPDX-License-Identifier: Apache-2.0
 *
 * Takes a gzip member apart, and a profile in one. In a header, as only tests that link zlib may
 * include it.
 */
#ifndef MAL_TESTS_SUPPORT_GUNZIP_H
#define MAL_TESTS_SUPPORT_GUNZIP_H

#include "support/pprof_wire.h"

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

/* The profile, to be freed with pprof_free; and the length of its plain form, unless NULL. */
static inline struct pprof *gunzip_profile(const void *data, size_t bytes,
                                           size_t *ret_plain_bytes) {
    size_t plain_bytes;
    void *plain = gunzip(data, bytes, &plain_bytes);
    if (!plain)
        abort();
    if (ret_plain_bytes)
        *ret_plain_bytes = plain_bytes;
    struct pprof *profile = pprof_decode(plain, plain_bytes);
    free(plain);
    return profile;
}

#endif
