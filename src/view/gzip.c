/* SPDX-License-Identifier: Apache-2.0
 *
 * gzip by zlib. What comes out of inflate is bounded while it comes out: a few kilobytes of a
 * hostile file can stand for gigabytes. What zlib needs for as long as it works (a quarter of a MiB
 * in five pieces) comes from one arena: see table.c for why.
 */
#include "view/gzip.h"

#include "view/table.h"

#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <zlib.h>

#define GZIP_WINDOW_BITS (MAX_WBITS + 16)
#define GZIP_MEMORY_LEVEL 8
#define GZIP_OS_UNKNOWN 255
#define PIECE_BYTES 16384

static voidpf arena_alloc(voidpf arena, uInt count, uInt bytes) {
    return view_arena_alloc(arena, count, bytes);
}

/* All at once, after the stream has ended. */
static void arena_free(voidpf arena, voidpf memory) {
    (void)arena;
    (void)memory;
}

static int deflate_all(z_stream *stream, struct view_buffer *out) {
    gz_header header = {.os = GZIP_OS_UNKNOWN};
    deflateSetHeader(stream, &header);
    unsigned char piece[PIECE_BYTES];
    int state;
    do {
        stream->next_out = piece;
        stream->avail_out = sizeof(piece);
        state = deflate(stream, Z_FINISH);
        view_buffer_append(out, piece, sizeof(piece) - stream->avail_out);
    } while (state == Z_OK);
    return state == Z_STREAM_END && !out->failed ? 0 : -ENOMEM;
}

int view_gzip(const void *data, size_t bytes, enum view_effort effort, struct view_buffer *out) {
    struct view_arena arena = {0};
    z_stream stream = {.next_in = (Bytef *)(uintptr_t)data,
                       .avail_in = (uInt)bytes,
                       .zalloc = arena_alloc,
                       .zfree = arena_free,
                       .opaque = &arena};
    int level = effort == VIEW_EFFORT_SPEED ? Z_BEST_SPEED : Z_DEFAULT_COMPRESSION;
    size_t before = out->bytes;
    if (bytes > UINT_MAX)
        return -EFBIG;
    int error = -ENOMEM;
    if (deflateInit2(&stream, level, Z_DEFLATED, GZIP_WINDOW_BITS, GZIP_MEMORY_LEVEL,
                     Z_DEFAULT_STRATEGY) == Z_OK) {
        error = deflate_all(&stream, out);
        deflateEnd(&stream);
    }
    view_arena_free(&arena);
    if (error)
        out->bytes = before;
    return error;
}

static int inflate_all(z_stream *stream, size_t max_bytes, struct view_buffer *out) {
    unsigned char piece[PIECE_BYTES];
    size_t total = 0;
    int state;
    do {
        stream->next_out = piece;
        stream->avail_out = sizeof(piece);
        state = inflate(stream, Z_NO_FLUSH);
        size_t got = sizeof(piece) - stream->avail_out;
        if (got > max_bytes - total)
            return -EFBIG;
        total += got;
        view_buffer_append(out, piece, got);
    } while (state == Z_OK && !out->failed);
    if (out->failed || state == Z_MEM_ERROR)
        return -ENOMEM;
    return state == Z_STREAM_END && stream->avail_in == 0 ? 0 : -EBADMSG;
}

int view_gunzip(const void *data, size_t bytes, size_t max_bytes, struct view_buffer *out) {
    z_stream stream = {.next_in = (Bytef *)(uintptr_t)data, .avail_in = (uInt)bytes};
    size_t before = out->bytes;
    if (bytes > UINT_MAX)
        return -EFBIG;
    if (inflateInit2(&stream, GZIP_WINDOW_BITS) != Z_OK)
        return -ENOMEM;
    int error = inflate_all(&stream, max_bytes, out);
    inflateEnd(&stream);
    if (error)
        out->bytes = before;
    return error;
}
