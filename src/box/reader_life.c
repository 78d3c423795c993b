/* SPDX-License-Identifier: Apache-2.0
 *
 * Whether a box's process lives, and how it ended.
 *
 * A process that exits says so in its box. One that is killed cannot: its box says RUNNING, and
 * whether it does is asked of the kernel, by pid and start time, since pids are used again. Who
 * waited for it may write into the box how it ended.
 *
 * SYNCHRONIZATION. `reaped` is written behind what it covers; status reads the header as one copy
 * and takes those fields only where `reaped` is set. A handle belongs to one thread at a time.
 *
 * It must never take a process of another start time for the box's, nor write into a box anything
 * but how its process ended.
 */
#include "box/reader.h"

#include "base/now.h"

#include "box/reader_private.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* What /proc/PID/stat says of a process. */
struct process_stat {
    char state;
    long threads;
    unsigned long long start_ticks;
};

/* Fields 3, 20 and 22. The name in field 2 may hold anything, so count from its end. */
static int process_stat(uint32_t pid, struct process_stat *ret_stat) {
    char path[32], text[1024];
    snprintf(path, sizeof(path), "/proc/%u/stat", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    ssize_t got = read(fd, text, sizeof(text) - 1);
    close(fd);
    if (got <= 0)
        return -ESRCH;
    text[got] = 0;
    const char *at = strrchr(text, ')');
    if (!at || sscanf(at,
                      ") %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %ld "
                      "%*d %llu",
                      &ret_stat->state, &ret_stat->threads, &ret_stat->start_ticks) != 3)
        return -EBADMSG;
    return 0;
}

bool mal_reader_process_is_alive(uint32_t pid, uint64_t start_ticks) {
    struct process_stat stat;
    if (pid == 0 || pid > INT_MAX)
        return false;
    if (kill((pid_t)pid, 0) != 0 && errno == ESRCH)
        return false;
    if (process_stat(pid, &stat) != 0)
        return true;
    if ((stat.state == 'Z' || stat.state == 'X') && stat.threads <= 1)
        return false;
    return start_ticks == 0 || stat.start_ticks == start_ticks;
}

int mal_reader_status(struct mal_box_reader *reader, struct mal_status *ret_status) {
    struct mal_box_header header;
    int error = mal_reader_header(reader, &header);
    if (error)
        return error;
    struct mal_status status = {.life = MAL_LIFE_GONE,
                                .mem_profile_rate = header.mem_profile_rate,
                                .dropped_samples = header.dropped_samples,
                                .dropped_bytes = header.dropped_bytes,
                                .reaped = header.reaped == 1,
                                .wait_status = header.wait_status,
                                .reaped_unix_ns = header.reaped_unix_ns};
    if (header.state == MAL_BOX_EXITED) {
        status.life = MAL_LIFE_EXITED;
        status.exit_code = header.exit_code;
        status.ended_unix_ns = header.ended_unix_ns;
    } else if (mal_reader_process_is_alive(mal_reader_pid(reader), header.start_ticks)) {
        status.life = MAL_LIFE_ALIVE;
    }
    *ret_status = status;
    return 0;
}

static int store_at(int fd, size_t offset, const void *data, size_t bytes) {
    ssize_t put = pwrite(fd, data, bytes, (off_t)offset);
    if (put < 0)
        return -errno;
    return (size_t)put == bytes ? 0 : -EIO;
}

int mal_box_set_wait_status(const char *path, int wait_status) {
    struct mal_box_reader *reader;
    uint64_t now_ns = mal_now_ns(CLOCK_REALTIME);
    const uint32_t reaped = 1;
    int error = mal_reader_open(path, &reader);
    if (error)
        return error;
    if (!reader->writable)
        error = -EROFS;
    if (!error)
        error = store_at(reader->fd, offsetof(struct mal_box_header, reaped_unix_ns), &now_ns,
                         sizeof(now_ns));
    if (!error)
        error = store_at(reader->fd, offsetof(struct mal_box_header, wait_status), &wait_status,
                         sizeof(wait_status));
    if (!error)
        error =
            store_at(reader->fd, offsetof(struct mal_box_header, reaped), &reaped, sizeof(reaped));
    mal_reader_close(reader);
    return error;
}
