/* SPDX-License-Identifier: Apache-2.0
 *
 * The copy of a box. A box is a sparse file of many MiB of which some hundred KiB are written, and
 * so is its copy: holes of the source are skipped where the file system tells, pages of zeros
 * always.
 *
 * The source is the file that a reader holds open, since by the time a process is dead its box may
 * have been unlinked. It may change or shrink meanwhile; the copy is then as torn as the box, which
 * readers of boxes bear.
 */
#include "keep/keep_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PIECE_BYTES (64u << 10)
#define PAGE_BYTES 4096u

static bool is_zero(const uint8_t *data, size_t bytes) {
    return bytes == 0 || (data[0] == 0 && memcmp(data, data + 1, bytes - 1) == 0);
}

static int write_at(int fd, const uint8_t *data, size_t bytes, off_t at) {
    while (bytes > 0) {
        ssize_t done = pwrite(fd, data, bytes, at);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return -errno;
        data += done;
        bytes -= (size_t)done;
        at += done;
    }
    return 0;
}

/* Writes what of the piece is not zero, page by page. */
static int write_pages(int to, const uint8_t *piece, size_t bytes, off_t at) {
    for (size_t begin = 0; begin < bytes; begin += PAGE_BYTES) {
        size_t page = bytes - begin < PAGE_BYTES ? bytes - begin : PAGE_BYTES;
        if (is_zero(piece + begin, page))
            continue;
        int error = write_at(to, piece + begin, page, at + (off_t)begin);
        if (error)
            return error;
    }
    return 0;
}

static int copy_range(int from, int to, off_t at, off_t end, uint8_t piece[PIECE_BYTES]) {
    while (at < end) {
        size_t wanted = end - at < (off_t)PIECE_BYTES ? (size_t)(end - at) : PIECE_BYTES;
        ssize_t got = pread(from, piece, wanted, at);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return got < 0 ? -errno : 0;
        int error = write_pages(to, piece, (size_t)got, at);
        if (error)
            return error;
        at += got;
    }
    return 0;
}

/* The next range of data at or behind *at; all the rest where holes cannot be told. Returns false
 * when there is only a hole left. */
static bool next_data(int from, off_t *at, off_t *end, off_t bytes) {
    *end = bytes;
    off_t data = lseek(from, *at, SEEK_DATA);
    if (data < 0)
        return errno != ENXIO;
    if (data >= bytes)
        return false;
    off_t hole = lseek(from, data, SEEK_HOLE);
    *at = data;
    *end = hole > data && hole < bytes ? hole : bytes;
    return true;
}

static int copy_sparse(int from, int to, off_t bytes) {
    uint8_t *piece = malloc(PIECE_BYTES);
    if (!piece)
        return -ENOMEM;
    int error = ftruncate(to, bytes) == 0 ? 0 : -errno;
    off_t at = 0, end;
    while (!error && at < bytes && next_data(from, &at, &end, bytes)) {
        error = copy_range(from, to, at, end, piece);
        at = end;
    }
    free(piece);
    return error;
}

int keep_entry_add_box(struct keep_entry *entry, struct mal_box_reader *reader) {
    struct stat status;
    int from = mal_reader_fd(reader);
    if (from < 0 || fstat(from, &status) != 0)
        return -EINVAL;
    if ((uint64_t)status.st_size > KEEP_BOX_MAX_BYTES)
        return -EFBIG;
    int to = keep_new_open(entry->fd, KEEP_BOX);
    if (to < 0)
        return to;
    int error = copy_sparse(from, to, status.st_size);
    if (error) {
        keep_new_abandon(entry->fd, KEEP_BOX, to);
        return error;
    }
    return keep_new_commit(entry->fd, KEEP_BOX, to, entry->key.uid);
}

int keep_box_open(const char *folder, struct mal_box_reader **ret_reader) {
    struct stat status;
    char *path;
    int at = keep_open_folder(AT_FDCWD, folder);
    if (at < 0)
        return at;
    int fd = keep_open_file(at, KEEP_BOX, KEEP_BOX_MAX_BYTES, &status);
    close(at);
    if (fd < 0)
        return fd;
    if (asprintf(&path, "%s/" KEEP_BOX, folder) < 0) {
        close(fd);
        return -ENOMEM;
    }
    int error = mal_reader_from_fd(fd, path, ret_reader);
    free(path);
    return error;
}
