/* SPDX-License-Identifier: Apache-2.0
 *
 * The reader of boxes. See reader.h for the contract and layout.h for what it reads.
 *
 *   reader.c           opening and closing; how bytes are copied
 *   reader_identity.c  who wrote it
 *   reader_life.c      whether its process lives, how it ended
 *   reader_stats.c     statistics; waiting for a writer
 *   reader_snapshot.c  all that a profile needs
 *   reader_unloaded.c  where one address meant two things
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
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

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
    return header->stripes >= 1 && header->stripes <= MAL_BOX_STRIPES_MAX &&
           header->modules_used <= MAL_BOX_MODULES_MAX &&
           header->modules_used <= section[MAL_BOX_MODULES].bytes / sizeof(struct mal_box_module) &&
           header->strings_used <= MAL_BOX_STRINGS_BYTES &&
           header->strings_used <= section[MAL_BOX_STRINGS].bytes &&
           header->stacks_used <= MAL_BOX_STACK_WORDS &&
           header->stacks_used <= section[MAL_BOX_STACKS].bytes / sizeof(uint64_t) &&
           header->buckets_used <= MAL_BOX_BUCKETS_MAX &&
           header->buckets_used <= section[MAL_BOX_BUCKETS].bytes / sizeof(struct mal_box_bucket) &&
           mal_box_counts_bytes(header->buckets_used, header->stripes) <=
               section[MAL_BOX_COUNTS].bytes;
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

/* What a box of any version begins with. Its writer fills it in no order: there is no version 0. */
static bool begins_like_a_box(const struct mal_box_header *header) {
    return memcmp(header->magic, MAL_BOX_MAGIC, sizeof(header->magic)) == 0 && header->version != 0;
}

static int header_check(struct mal_box_reader *reader) {
    struct mal_box_header header;
    int error = box_copy(reader, 0, &header, sizeof(header));
    if (error)
        return error;
    if (!begins_like_a_box(&header))
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
    if (reader->fd < 0)
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

int mal_box_version(const char *path, uint32_t *ret_version) {
    struct mal_box_reader *reader;
    struct mal_box_header header;
    int error = reader_new(path, &reader);
    if (error)
        return error;
    error = open_file(reader);
    if (!error)
        error = box_copy(reader, 0, &header, offsetof(struct mal_box_header, header_bytes));
    if (!error && !begins_like_a_box(&header))
        error = -EBADMSG;
    if (!error)
        *ret_version = header.version;
    mal_reader_close(reader);
    return error;
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
