/* SPDX-License-Identifier: Apache-2.0
 *
 * The reader of boxes. See reader.h for the contract and layout.h for what it reads.
 *
 *   reader.c           opening and closing, identity, status, statistics; how bytes are copied
 *   reader_snapshot.c  all that a profile needs
 *   reader_rings.c     history and trace
 *   reader_mailbox.c   commands
 *   reader_spans.c     the map of spans
 *   reader_folder.c    finding boxes, removing stale ones
 *
 * Holds: a descriptor (or a memory range), the length at open, and one checked copy of the header
 * whose section table is what all later accesses use. A header that changes its sections later
 * changes nothing for this handle.
 *
 * Every access goes through box_copy, which checks the range against the length at open and
 * copies by pread; a file cut short meanwhile gives a short read, -EBADMSG. What was copied is
 * checked after the copy, on the private bytes, so nothing can change between check and use.
 *
 * SYNCHRONIZATION with the writer: a counter is read first, then a fence, then what it covers.
 * Own memory is read by relaxed atomic words.
 *
 * It must never: map what it loads from, follow a link, block on a FIFO, or trust a number.
 */
#include "box/reader.h"

#include "box/reader_private.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define STRING_MAX_BYTES (128u << 10)
#define WRITER_PATIENCE_NS 100000000u
#define WRITER_RETRY_NS 100000u

/* ------------------------------------------------------------------ copying and checking */

uint64_t mal_reader_clock_ns(clockid_t id) {
    struct timespec now;
    clock_gettime(id, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void mal_reader_nap_ns(long ns) {
    struct timespec nap = {.tv_nsec = ns};
    nanosleep(&nap, NULL);
}

/* Copies memory that another thread may be writing, without tearing aligned words. */
static void copy_shared(void *to, const uint8_t *from, size_t bytes) {
    uint8_t *out = to;
    size_t at = 0;
    if (((uintptr_t)from & 7) == 0) {
        for (; at + 8 <= bytes; at += 8) {
            uint64_t word =
                __atomic_load_n((const uint64_t *)(const void *)(from + at), __ATOMIC_RELAXED);
            memcpy(out + at, &word, sizeof(word));
        }
    }
    for (; at < bytes; at++)
        out[at] = __atomic_load_n(from + at, __ATOMIC_RELAXED);
}

static int copy_file(int fd, uint64_t offset, uint8_t *to, size_t bytes) {
    while (bytes > 0) {
        ssize_t got = pread(fd, to, bytes, (off_t)offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -errno;
        if (got == 0)
            return -EBADMSG;
        to += got;
        offset += (uint64_t)got;
        bytes -= (size_t)got;
    }
    return 0;
}

/* The one way in. */
static int box_copy(const struct mal_box_reader *reader, uint64_t offset, void *to, size_t bytes) {
    if (bytes > reader->bytes || offset > reader->bytes - bytes)
        return -EBADMSG;
    if (reader->fd >= 0)
        return copy_file(reader->fd, offset, to, bytes);
    copy_shared(to, reader->base + offset, bytes);
    return 0;
}

int mal_reader_section(const struct mal_box_reader *reader, enum mal_box_section_id id, uint64_t at,
                       void *to, size_t bytes) {
    const struct mal_box_section *section = &reader->header.section[id];
    if (bytes > section->bytes || at > section->bytes - bytes)
        return -EBADMSG;
    return box_copy(reader, section->offset + at, to, bytes);
}

void *mal_reader_load(const struct mal_box_reader *reader, enum mal_box_section_id id, size_t bytes,
                      int *error) {
    if (*error)
        return NULL;
    void *copy = malloc(bytes + 1);
    *error = copy ? mal_reader_section(reader, id, 0, copy, bytes) : -ENOMEM;
    if (*error) {
        free(copy);
        return NULL;
    }
    return copy;
}

bool mal_reader_stack_is_sound(const uint64_t *stacks, uint32_t used, uint32_t at) {
    if (at >= used)
        return false;
    uint64_t depth = stacks[at];
    return depth >= 1 && depth <= MAL_BOX_DEPTH_MAX && depth < used - at;
}

static bool sections_are_sound(const struct mal_box_header *header, uint64_t bytes) {
    static const uint64_t least[MAL_BOX_SECTIONS] = {
        [MAL_BOX_STATS] = sizeof(struct mal_box_stats),
        [MAL_BOX_HISTORY] = sizeof(struct mal_box_history),
        [MAL_BOX_TRACE] = sizeof(struct mal_box_trace),
        [MAL_BOX_MAILBOX] = sizeof(struct mal_box_mailbox),
        [MAL_BOX_SPANS] = offsetof(struct mal_box_spans, span),
    };
    uint64_t end = MAL_BOX_PAGE_BYTES;
    for (int id = 0; id < MAL_BOX_SECTIONS; id++) {
        const struct mal_box_section *section = &header->section[id];
        if (section->offset % MAL_BOX_PAGE_BYTES != 0 || section->offset < end)
            return false;
        if (section->offset > bytes || section->bytes > bytes - section->offset)
            return false;
        if (section->bytes < least[id])
            return false;
        end = section->offset + section->bytes;
    }
    return true;
}

static bool lengths_are_sound(const struct mal_box_header *header,
                              const struct mal_box_section section[MAL_BOX_SECTIONS]) {
    return header->modules_used <= MAL_BOX_MODULES_MAX &&
           header->modules_used <= section[MAL_BOX_MODULES].bytes / sizeof(struct mal_box_module) &&
           header->strings_used <= MAL_BOX_STRINGS_BYTES &&
           header->strings_used <= section[MAL_BOX_STRINGS].bytes &&
           header->stacks_used <= MAL_BOX_STACK_WORDS &&
           header->stacks_used <= section[MAL_BOX_STACKS].bytes / sizeof(uint64_t) &&
           header->buckets_used <= MAL_BOX_BUCKETS_MAX &&
           header->buckets_used <= section[MAL_BOX_BUCKETS].bytes / sizeof(struct mal_box_bucket);
}

int mal_reader_header(const struct mal_box_reader *reader, struct mal_box_header *ret_header) {
    struct mal_box_header header;
    int error = box_copy(reader, 0, &header, sizeof(header));
    if (error)
        return error;
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    if (!lengths_are_sound(&header, reader->header.section))
        return -EBADMSG;
    if (header.state != MAL_BOX_RUNNING && header.state != MAL_BOX_EXITED)
        return -EBADMSG;
    *ret_header = header;
    return 0;
}

static int header_check(struct mal_box_reader *reader) {
    struct mal_box_header header;
    int error = box_copy(reader, 0, &header, sizeof(header));
    if (error)
        return error;
    if (memcmp(header.magic, MAL_BOX_MAGIC, sizeof(header.magic)) != 0)
        return -EBADMSG;
    if (header.version != MAL_BOX_VERSION)
        return -EPROTO;
    if (header.header_bytes != sizeof(header) || header.file_bytes > reader->bytes)
        return -EBADMSG;
    if (!sections_are_sound(&header, header.file_bytes))
        return -EBADMSG;
    reader->header = header;
    return mal_reader_header(reader, &header);
}

/* ------------------------------------------------------------------------- opening, closing */

static int reader_new(const char *path, struct mal_box_reader **ret_reader) {
    struct mal_box_reader *reader = calloc(1, sizeof(*reader));
    if (!reader)
        return -ENOMEM;
    reader->fd = -1;
    reader->path = strdup(path);
    if (!reader->path) {
        free(reader);
        return -ENOMEM;
    }
    *ret_reader = reader;
    return 0;
}

/* Takes in what the kernel says of the file. */
static int require_file(struct mal_box_reader *reader) {
    struct stat status;
    if (fstat(reader->fd, &status) != 0)
        return -errno;
    if (!S_ISREG(status.st_mode))
        return -EBADMSG;
    reader->bytes = (uint64_t)status.st_size;
    reader->owner_uid = status.st_uid;
    return 0;
}

/* For writing where allowed, since commands need it; else for reading. */
static int open_file(struct mal_box_reader *reader) {
    const int flags = O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
    reader->fd = open(reader->path, O_RDWR | flags);
    reader->writable = reader->fd >= 0;
    if (reader->fd < 0 && errno != ENOENT && errno != ELOOP)
        reader->fd = open(reader->path, O_RDONLY | flags);
    return reader->fd < 0 ? -errno : require_file(reader);
}

/* Gives out the reader if what it has open is a box, else closes it. */
static int reader_give(struct mal_box_reader *reader, int error,
                       struct mal_box_reader **ret_reader) {
    if (!error)
        error = header_check(reader);
    if (error) {
        mal_reader_close(reader);
        return error;
    }
    *ret_reader = reader;
    return 0;
}

int mal_reader_open(const char *path, struct mal_box_reader **ret_reader) {
    struct mal_box_reader *reader;
    int error = reader_new(path, &reader);
    return error ? error : reader_give(reader, open_file(reader), ret_reader);
}

int mal_reader_from_fd(int fd, const char *path, struct mal_box_reader **ret_reader) {
    struct mal_box_reader *reader;
    int error = reader_new(path, &reader);
    if (error) {
        close(fd);
        return error;
    }
    reader->fd = fd;
    reader->writable = (fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDWR;
    return reader_give(reader, require_file(reader), ret_reader);
}

int mal_reader_from_memory(const void *base, size_t bytes, struct mal_box_reader **ret_reader) {
    struct mal_box_reader *reader;
    int error = reader_new("", &reader);
    if (error)
        return error;
    reader->base = base;
    reader->bytes = bytes;
    reader->owner_uid = geteuid();
    return reader_give(reader, 0, ret_reader);
}

void mal_reader_close(struct mal_box_reader *reader) {
    if (!reader)
        return;
    if (reader->fd >= 0)
        close(reader->fd);
    free(reader->path);
    free(reader->root);
    free(reader);
}

const char *mal_reader_path(const struct mal_box_reader *reader) {
    return reader->path;
}

int mal_reader_fd(const struct mal_box_reader *reader) {
    return reader->fd;
}

uint32_t mal_reader_owner(const struct mal_box_reader *reader) {
    return reader->owner_uid;
}

int mal_reader_set_root(struct mal_box_reader *reader, const char *root) {
    char *copy = strdup(root);
    if (!copy)
        return -ENOMEM;
    free(reader->root);
    reader->root = copy;
    return 0;
}

void mal_reader_set_pid(struct mal_box_reader *reader, uint32_t pid) {
    reader->pid = pid;
}

uint32_t mal_reader_pid(const struct mal_box_reader *reader) {
    return reader->pid ? reader->pid : reader->header.pid;
}

/* ---------------------------------------------------------------------- identity and status */

/* A private, terminated copy of one string of the box. */
static int string_copy(const struct mal_box_reader *reader, const struct mal_box_header *header,
                       struct mal_box_string string, char **ret_text) {
    if (string.bytes > STRING_MAX_BYTES || string.bytes > header->strings_used ||
        string.offset > header->strings_used - string.bytes)
        return -EBADMSG;
    char *text = malloc((size_t)string.bytes + 1);
    if (!text)
        return -ENOMEM;
    int error = mal_reader_section(reader, MAL_BOX_STRINGS, string.offset, text, string.bytes);
    if (error) {
        free(text);
        return error;
    }
    text[string.bytes] = 0;
    *ret_text = text;
    return 0;
}

int mal_reader_identity(struct mal_box_reader *reader, struct mal_identity *ret_identity) {
    struct mal_box_header header;
    int error = mal_reader_header(reader, &header);
    if (error)
        return error;
    struct mal_identity identity = {.pid = header.pid,
                                    .parent_pid = header.parent_pid,
                                    .uid = header.uid,
                                    .flags = header.flags,
                                    .cpus = header.cpus,
                                    .start_ticks = header.start_ticks,
                                    .started_unix_ns = header.started_unix_ns,
                                    .started_mono_ns = header.started_mono_ns,
                                    .cmdline_bytes = header.cmdline.bytes};
    error = string_copy(reader, &header, header.exe, &identity.exe);
    if (!error)
        error = string_copy(reader, &header, header.cmdline, &identity.cmdline);
    if (!error)
        error = string_copy(reader, &header, header.options, &identity.options);
    if (!error)
        error = string_copy(reader, &header, header.cgroup, &identity.cgroup);
    if (error) {
        mal_identity_free(&identity);
        return error;
    }
    *ret_identity = identity;
    return 0;
}

void mal_identity_free(struct mal_identity *identity) {
    free(identity->exe);
    free(identity->cmdline);
    free(identity->options);
    free(identity->cgroup);
    identity->exe = identity->cmdline = identity->options = identity->cgroup = NULL;
}

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
    uint64_t now_ns = mal_reader_clock_ns(CLOCK_REALTIME);
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

/* ------------------------------------------------------------------------------- statistics */

/* One attempt under the sequence lock; -EAGAIN when the writer was at it. */
static int stats_try(struct mal_box_reader *reader, struct mal_box_stats *stats) {
    uint64_t before, after;
    int error = mal_reader_section(reader, MAL_BOX_STATS, 0, &before, sizeof(before));
    if (error)
        return error;
    if (before & 1)
        return -EAGAIN;
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    error = mal_reader_section(reader, MAL_BOX_STATS, 0, stats, sizeof(*stats));
    if (error)
        return error;
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    error = mal_reader_section(reader, MAL_BOX_STATS, 0, &after, sizeof(after));
    if (error)
        return error;
    return before == after && stats->sequence == before ? 0 : -EAGAIN;
}

uint64_t mal_reader_patience_ns(void) {
    return mal_reader_clock_ns(CLOCK_MONOTONIC) + WRITER_PATIENCE_NS;
}

int mal_reader_wait_for_writer(uint64_t deadline_ns) {
    if (mal_reader_clock_ns(CLOCK_MONOTONIC) >= deadline_ns)
        return -EAGAIN;
    mal_reader_nap_ns(WRITER_RETRY_NS);
    return 0;
}

int mal_reader_stats(struct mal_box_reader *reader, struct mal_box_stats *ret_stats) {
    struct mal_box_stats *stats = malloc(sizeof(*stats));
    if (!stats)
        return -ENOMEM;
    uint64_t deadline_ns = mal_reader_patience_ns();
    int error;
    while ((error = stats_try(reader, stats)) == -EAGAIN) {
        if (mal_reader_wait_for_writer(deadline_ns) != 0)
            break;
    }
    if (!error && stats->class_count > MAL_BOX_CLASSES_MAX)
        error = -EBADMSG;
    if (!error)
        *ret_stats = *stats;
    free(stats);
    return error;
}
