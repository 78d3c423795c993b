/* SPDX-License-Identifier: Apache-2.0
 *
 * A heap profile to a file: snapshot, render with a symbol cache of its own, write.
 *
 * SYNCHRONIZATION  None; everything is the caller's.
 */
#include "http/heap_file.h"

#include <errno.h>
#include <unistd.h>

int http_write_all(int fd, const void *data, size_t bytes) {
    const char *at = data;
    while (bytes > 0) {
        ssize_t written = write(fd, at, bytes);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return -errno;
        at += written;
        bytes -= (size_t)written;
    }
    return 0;
}

int http_heap_write(struct mal_box_reader *reader, enum view_heap_kind kind, int fd) {
    struct mal_snapshot *snapshot;
    struct view_symbols *symbols;
    struct view_buffer profile = {0};
    int error = mal_reader_snapshot(reader, &snapshot);
    if (error < 0)
        return error;
    error = view_symbols_create(&symbols);
    if (error < 0)
        goto out_snapshot;
    error = view_heap_proto(snapshot, symbols, kind, &profile);
    if (error == 0)
        error = http_write_all(fd, profile.data, profile.bytes);
    view_buffer_free(&profile);
    view_symbols_destroy(symbols);
out_snapshot:
    mal_snapshot_free(snapshot);
    return error;
}
