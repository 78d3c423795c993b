/* SPDX-License-Identifier: Apache-2.0
 *
 * The history of a process, longer than its box remembers: rows of one size, one behind the other,
 * oldest first.
 *
 * Rows are appended in place. A crash leaves at most a torn row at the end, which a reader passes
 * over and the next writer cuts off. Once the file has grown to twice what is kept, its newer half
 * takes its place.
 *
 * The file is read from its end, since what is asked for is mostly new. Times must fall on the way
 * back; a row that breaks this is no writer's and is left out.
 */
#include "keep/keep_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ROW_BYTES sizeof(struct mal_box_history_row)
#define PIECE_ROWS 64u
#define FULL_ROWS (2 * KEEP_ROWS_MAX)

/* ----------------------------------------------------------------------------------- writing */

/* The file for reading and appending, and how many whole rows are in it. */
static int open_history(const struct keep_entry *entry, uint64_t *ret_rows) {
    struct stat status;
    int fd = openat(entry->fd, KEEP_HISTORY,
                    O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0600);
    if (fd < 0)
        return -errno;
    int error = fstat(fd, &status) != 0 ? -errno : S_ISREG(status.st_mode) ? 0 : -EBADMSG;
    if (!error && status.st_size == 0)
        error = keep_hand_over(fd, entry->key.uid);
    if (error) {
        close(fd);
        return error;
    }
    *ret_rows = (uint64_t)status.st_size / ROW_BYTES;
    return fd;
}

static int read_rows(int fd, uint64_t first, size_t count, struct mal_box_history_row *ret_rows) {
    ssize_t got = pread(fd, ret_rows, count * ROW_BYTES, (off_t)(first * ROW_BYTES));
    if (got < 0)
        return -errno;
    return (size_t)got == count * ROW_BYTES ? 0 : -EBADMSG;
}

/* Puts the newer half of the full file in its place. */
static int halve(const struct keep_entry *entry, int old, uint64_t rows) {
    struct mal_box_history_row piece[PIECE_ROWS];
    int fd = keep_new_open(entry->fd, KEEP_HISTORY);
    int error = fd < 0 ? fd : 0;
    for (uint64_t at = rows - KEEP_ROWS_MAX; !error && at < rows; at += PIECE_ROWS) {
        size_t count = rows - at < PIECE_ROWS ? (size_t)(rows - at) : PIECE_ROWS;
        error = read_rows(old, at, count, piece);
        if (!error)
            error = keep_write_all(fd, piece, count * ROW_BYTES);
    }
    if (!error)
        return keep_new_commit(entry->fd, KEEP_HISTORY, fd, entry->key.uid);
    if (fd >= 0)
        keep_new_abandon(entry->fd, KEEP_HISTORY, fd);
    return error;
}

/* The same as open_history; the file is not full then. */
static int open_with_room(const struct keep_entry *entry, uint64_t *ret_rows) {
    int fd = open_history(entry, ret_rows);
    if (fd < 0 || *ret_rows < FULL_ROWS)
        return fd;
    int error = halve(entry, fd, *ret_rows);
    close(fd);
    return error ? error : open_history(entry, ret_rows);
}

/* The first of `rows` that is newer than the file's last. */
static int skip_known(int fd, uint64_t stored, const struct mal_box_history_row *rows, size_t count,
                      size_t *ret_first) {
    struct mal_box_history_row last = {0};
    int error = stored > 0 ? read_rows(fd, stored - 1, 1, &last) : 0;
    size_t first = 0;
    while (!error && first < count && rows[first].unix_ns <= last.unix_ns)
        first++;
    *ret_first = first;
    return error;
}

static int append(int fd, uint64_t stored, const struct mal_box_history_row *rows, size_t count) {
    off_t end = (off_t)(stored * ROW_BYTES);
    if (ftruncate(fd, end) != 0 || lseek(fd, end, SEEK_SET) != end)
        return -errno;
    return keep_write_all(fd, rows, count * ROW_BYTES);
}

int keep_entry_add_rows(struct keep_entry *entry, const struct mal_box_history_row *rows,
                        size_t count) {
    uint64_t stored;
    size_t first;
    size_t excess = count > KEEP_ROWS_MAX ? count - KEEP_ROWS_MAX : 0;
    rows += excess;
    count -= excess;
    int fd = open_with_room(entry, &stored);
    if (fd < 0)
        return fd;
    int error = skip_known(fd, stored, rows, count, &first);
    if (!error && first < count)
        error = append(fd, stored, rows + first, count - first);
    close(fd);
    return error;
}

/* ----------------------------------------------------------------------------------- reading */

/* Rows that fit, filled in from the end of `rows` on. */
struct gathering {
    uint64_t from_unix_ns, to_unix_ns;
    struct mal_box_history_row *rows;
    size_t free; /* places before the first one filled in */
};

/* Takes the rows of a piece, newest first. Returns false once no older ones are wanted. */
static bool gather(struct gathering *gathering, const struct mal_box_history_row *piece,
                   size_t count) {
    while (count-- > 0) {
        const struct mal_box_history_row *row = &piece[count];
        if (gathering->free == 0)
            return false;
        if (row->unix_ns > gathering->to_unix_ns)
            continue;
        if (row->unix_ns < gathering->from_unix_ns)
            return false;
        gathering->rows[--gathering->free] = *row;
        if (row->unix_ns == 0)
            return false;
        gathering->to_unix_ns = row->unix_ns - 1;
    }
    return true;
}

static int gather_file(int fd, uint64_t rows, struct gathering *gathering) {
    struct mal_box_history_row piece[PIECE_ROWS];
    bool more = gathering->free > 0;
    int error = 0;
    while (more && rows > 0 && !error) {
        size_t count = rows < PIECE_ROWS ? (size_t)rows : PIECE_ROWS;
        rows -= count;
        error = read_rows(fd, rows, count, piece);
        more = !error && gather(gathering, piece, count);
    }
    return error;
}

long keep_rows(const char *folder, uint64_t from_unix_ns, uint64_t to_unix_ns,
               struct mal_box_history_row *ret_rows, size_t max) {
    struct gathering gathering = {from_unix_ns, to_unix_ns, ret_rows, max};
    struct stat status;
    int at = keep_open_folder(AT_FDCWD, folder);
    if (at < 0)
        return at;
    int fd = keep_open_file(at, KEEP_HISTORY, KEEP_HISTORY_MAX_BYTES, &status);
    close(at);
    if (fd == -ENOENT)
        return 0;
    if (fd < 0)
        return fd;
    int error = gather_file(fd, (uint64_t)status.st_size / ROW_BYTES, &gathering);
    close(fd);
    if (error)
        return error;
    size_t count = max - gathering.free;
    memmove(ret_rows, ret_rows + gathering.free, count * ROW_BYTES);
    return (long)count;
}
