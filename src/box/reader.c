/* SPDX-License-Identifier: Apache-2.0
 *
 * The reader of boxes. See reader.h for the contract and layout.h for what it reads.
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
 * Buckets are copied twice, frees from the first copy and allocs from the second, which keeps
 * frees <= allocs without stopping anybody. Own memory is read by relaxed atomic words.
 *
 * Commands are the only thing written. Readers of a file exclude each other by an OFD lock on the
 * mailbox's bytes; `owner` excludes a reader inside the process, looked at before the request and
 * again after the answer. The mailbox page of a file is mapped for the futex calls alone: the
 * kernel answers EFAULT for a page that is gone where a load would end in SIGBUS.
 *
 * It must never: map what it loads from, follow a link, block on a FIFO, trust a number, or
 * remove the box of a process that may be alive.
 */
#include "box/reader.h"

#include "base/attr.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define STRING_MAX_BYTES (128u << 10)
#define MODULE_PATH_MAX_BYTES 4096u
#define STATS_PATIENCE_NS 100000000u
#define STATS_RETRY_NS 100000u
#define COMMAND_TICK_NS 20000000u
#define TRACE_APPEND_MAX_BYTES 4096u /* a writer appends at most this much at once */
#define TRACE_ATTEMPTS 4

struct mal_box_reader {
    int fd;                       /* -1: memory */
    bool writable;                /* the descriptor is open for writing */
    const uint8_t *base;          /* memory only */
    uint64_t bytes;               /* length at open */
    struct mal_box_header header; /* as checked at open */
    char *path;
};

/* ------------------------------------------------------------------ copying and checking */

static uint64_t clock_ns(clockid_t id) {
    struct timespec now;
    clock_gettime(id, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void nap_ns(long ns) {
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

static int section_copy(const struct mal_box_reader *reader, enum mal_box_section_id id,
                        uint64_t at, void *to, size_t bytes) {
    const struct mal_box_section *section = &reader->header.section[id];
    if (bytes > section->bytes || at > section->bytes - bytes)
        return -EBADMSG;
    return box_copy(reader, section->offset + at, to, bytes);
}

static bool sections_are_sound(const struct mal_box_header *header, uint64_t bytes) {
    static const uint64_t least[MAL_BOX_SECTIONS] = {
        [MAL_BOX_STATS] = sizeof(struct mal_box_stats),
        [MAL_BOX_HISTORY] = sizeof(struct mal_box_history),
        [MAL_BOX_TRACE] = sizeof(struct mal_box_trace),
        [MAL_BOX_MAILBOX] = sizeof(struct mal_box_mailbox),
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

/* The header as it is now; its lengths fit the sections known from open. The fence orders the
 * lengths before the entries that the caller copies next. */
static int header_now(const struct mal_box_reader *reader, struct mal_box_header *ret_header) {
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
    return header_now(reader, &header);
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

/* For writing where allowed, since commands need it; else for reading. */
static int open_file(struct mal_box_reader *reader) {
    const int flags = O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
    reader->fd = open(reader->path, O_RDWR | flags);
    reader->writable = reader->fd >= 0;
    if (reader->fd < 0 && errno != ENOENT && errno != ELOOP)
        reader->fd = open(reader->path, O_RDONLY | flags);
    if (reader->fd < 0)
        return -errno;
    struct stat status;
    if (fstat(reader->fd, &status) != 0)
        return -errno;
    if (!S_ISREG(status.st_mode))
        return -EBADMSG;
    reader->bytes = (uint64_t)status.st_size;
    return 0;
}

int mal_reader_open(const char *path, struct mal_box_reader **ret_reader) {
    struct mal_box_reader *reader;
    int error = reader_new(path, &reader);
    if (error)
        return error;
    error = open_file(reader);
    if (!error)
        error = header_check(reader);
    if (error) {
        mal_reader_close(reader);
        return error;
    }
    *ret_reader = reader;
    return 0;
}

int mal_reader_from_memory(const void *base, size_t bytes, struct mal_box_reader **ret_reader) {
    struct mal_box_reader *reader;
    int error = reader_new("", &reader);
    if (error)
        return error;
    reader->base = base;
    reader->bytes = bytes;
    error = header_check(reader);
    if (error) {
        mal_reader_close(reader);
        return error;
    }
    *ret_reader = reader;
    return 0;
}

void mal_reader_close(struct mal_box_reader *reader) {
    if (!reader)
        return;
    if (reader->fd >= 0)
        close(reader->fd);
    free(reader->path);
    free(reader);
}

const char *mal_reader_path(const struct mal_box_reader *reader) {
    return reader->path;
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
    int error = section_copy(reader, MAL_BOX_STRINGS, string.offset, text, string.bytes);
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
    int error = header_now(reader, &header);
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

/* Whether this process still runs. Unknown ticks on either side leave the verdict to the pid. A
 * zombie is gone, unless it is only the first thread of a process that goes on without it. */
static bool process_is_alive(uint32_t pid, uint64_t start_ticks) {
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
    int error = header_now(reader, &header);
    if (error)
        return error;
    struct mal_status status = {.life = MAL_LIFE_GONE,
                                .mem_profile_rate = header.mem_profile_rate,
                                .dropped_samples = header.dropped_samples,
                                .dropped_bytes = header.dropped_bytes};
    if (header.state == MAL_BOX_EXITED) {
        status.life = MAL_LIFE_EXITED;
        status.exit_code = header.exit_code;
        status.ended_unix_ns = header.ended_unix_ns;
    } else if (process_is_alive(header.pid, header.start_ticks)) {
        status.life = MAL_LIFE_ALIVE;
    }
    *ret_status = status;
    return 0;
}

/* ------------------------------------------------------------------------------- statistics */

/* One attempt under the sequence lock; -EAGAIN when the writer was at it. */
static int stats_try(struct mal_box_reader *reader, struct mal_box_stats *stats) {
    uint64_t before, after;
    int error = section_copy(reader, MAL_BOX_STATS, 0, &before, sizeof(before));
    if (error)
        return error;
    if (before & 1)
        return -EAGAIN;
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    error = section_copy(reader, MAL_BOX_STATS, 0, stats, sizeof(*stats));
    if (error)
        return error;
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    error = section_copy(reader, MAL_BOX_STATS, 0, &after, sizeof(after));
    if (error)
        return error;
    return before == after && stats->sequence == before ? 0 : -EAGAIN;
}

int mal_reader_stats(struct mal_box_reader *reader, struct mal_box_stats *ret_stats) {
    struct mal_box_stats *stats = malloc(sizeof(*stats));
    if (!stats)
        return -ENOMEM;
    uint64_t deadline_ns = clock_ns(CLOCK_MONOTONIC) + STATS_PATIENCE_NS;
    int error;
    while ((error = stats_try(reader, stats)) == -EAGAIN) {
        if (clock_ns(CLOCK_MONOTONIC) >= deadline_ns)
            break;
        nap_ns(STATS_RETRY_NS);
    }
    if (!error && stats->class_count > MAL_BOX_CLASSES_MAX)
        error = -EBADMSG;
    if (!error)
        *ret_stats = *stats;
    free(stats);
    return error;
}

/* --------------------------------------------------------------------------------- snapshot */

/* Private copies of the append-only sections, as long as the header said. */
struct sections {
    struct mal_box_module *modules;
    char *strings;
    uint64_t *stacks;
    struct mal_box_bucket *buckets; /* frees as of the first copy */
    struct mal_box_bucket *later;   /* allocs as of the second */
};

/* What the pointers of a snapshot point into. */
struct storage {
    uint64_t *stacks;
    char *paths;
};

/* The first `bytes` of a section, to be freed; one spare byte keeps empty ones apart from NULL.
 * Does nothing once *error is set. */
static void *section_load(const struct mal_box_reader *reader, enum mal_box_section_id id,
                          size_t bytes, int *error) {
    if (*error)
        return NULL;
    void *copy = malloc(bytes + 1);
    *error = copy ? section_copy(reader, id, 0, copy, bytes) : -ENOMEM;
    if (*error) {
        free(copy);
        return NULL;
    }
    return copy;
}

static void sections_free(struct sections *sections) {
    free(sections->modules);
    free(sections->strings);
    free(sections->stacks);
    free(sections->buckets);
    free(sections->later);
}

/* Fills `sections` as far as it gets; the caller frees them either way. */
static int sections_load(const struct mal_box_reader *reader, const struct mal_box_header *header,
                         struct sections *sections) {
    size_t bucket_bytes = header->buckets_used * sizeof(struct mal_box_bucket);
    size_t stack_bytes = header->stacks_used * sizeof(uint64_t);
    size_t module_bytes = header->modules_used * sizeof(struct mal_box_module);
    int error = 0;
    sections->buckets = section_load(reader, MAL_BOX_BUCKETS, bucket_bytes, &error);
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    sections->later = section_load(reader, MAL_BOX_BUCKETS, bucket_bytes, &error);
    sections->stacks = section_load(reader, MAL_BOX_STACKS, stack_bytes, &error);
    sections->modules = section_load(reader, MAL_BOX_MODULES, module_bytes, &error);
    sections->strings = section_load(reader, MAL_BOX_STRINGS, header->strings_used, &error);
    return error;
}

static bool module_is_sound(const struct mal_box_module *module,
                            const struct mal_box_header *header) {
    return module->start < module->limit && module->build_id_bytes <= MAL_BOX_BUILD_ID_MAX &&
           module->path.bytes <= MODULE_PATH_MAX_BYTES &&
           module->path.bytes <= header->strings_used &&
           module->path.offset <= header->strings_used - module->path.bytes;
}

static size_t path_bytes(const struct mal_box_header *header, const struct sections *sections) {
    size_t bytes = 0;
    for (uint32_t i = 0; i < header->modules_used; i++) {
        if (module_is_sound(&sections->modules[i], header))
            bytes += sections->modules[i].path.bytes + 1;
    }
    return bytes;
}

static struct mal_snapshot_module module_copy(const struct mal_box_module *module,
                                              const char *path) {
    struct mal_snapshot_module copy = {.start = module->start,
                                       .limit = module->limit,
                                       .file_offset = module->file_offset,
                                       .load_bias = module->load_bias,
                                       .unloaded = module->unloaded != 0,
                                       .path = path,
                                       .build_id_bytes = module->build_id_bytes};
    memcpy(copy.build_id, module->build_id, sizeof(copy.build_id));
    return copy;
}

static void fill_modules(struct mal_snapshot *snapshot, const struct mal_box_header *header,
                         const struct sections *sections) {
    char *path = ((struct storage *)snapshot->storage)->paths;
    for (uint32_t i = 0; i < header->modules_used; i++) {
        const struct mal_box_module *module = &sections->modules[i];
        if (!module_is_sound(module, header)) {
            snapshot->rejected++;
            continue;
        }
        memcpy(path, sections->strings + module->path.offset, module->path.bytes);
        path[module->path.bytes] = 0;
        snapshot->modules[snapshot->module_count++] = module_copy(module, path);
        path += module->path.bytes + 1;
    }
}

static bool stack_is_sound(const uint64_t *stacks, uint32_t used, uint32_t at) {
    if (at >= used)
        return false;
    uint64_t depth = stacks[at];
    return depth >= 1 && depth <= MAL_BOX_DEPTH_MAX && depth < used - at;
}

static void fill_buckets(struct mal_snapshot *snapshot, const struct mal_box_header *header,
                         const struct sections *sections) {
    for (uint32_t i = 0; i < header->buckets_used; i++) {
        const struct mal_box_bucket *bucket = &sections->buckets[i];
        uint64_t allocs = sections->later[i].allocs;
        if (!stack_is_sound(sections->stacks, header->stacks_used, bucket->stack) ||
            bucket->frees > allocs || bucket->size == 0 || bucket->kind > MAL_BOX_KIND_GC) {
            snapshot->rejected++;
            continue;
        }
        snapshot->buckets[snapshot->bucket_count++] =
            (struct mal_snapshot_bucket){.pcs = sections->stacks + bucket->stack + 1,
                                         .depth = (uint32_t)sections->stacks[bucket->stack],
                                         .kind = bucket->kind,
                                         .size = bucket->size,
                                         .rate = bucket->rate,
                                         .allocs = allocs,
                                         .frees = bucket->frees,
                                         .first_unix_ns = bucket->first_unix_ns};
    }
}

/* Room for everything that the sections may hold; all counts still zero. */
static int snapshot_new(const struct mal_box_header *header, const struct sections *sections,
                        struct mal_snapshot **ret_snapshot) {
    struct mal_snapshot *snapshot = calloc(1, sizeof(*snapshot));
    if (!snapshot)
        return -ENOMEM;
    struct storage *storage = calloc(1, sizeof(*storage));
    snapshot->storage = storage;
    snapshot->modules = calloc((size_t)header->modules_used + 1, sizeof(*snapshot->modules));
    snapshot->buckets = calloc((size_t)header->buckets_used + 1, sizeof(*snapshot->buckets));
    if (storage)
        storage->paths = malloc(path_bytes(header, sections) + 1);
    if (!storage || !storage->paths || !snapshot->modules || !snapshot->buckets) {
        mal_snapshot_free(snapshot);
        return -ENOMEM;
    }
    snapshot->mem_profile_rate = header->mem_profile_rate;
    snapshot->dropped_samples = header->dropped_samples;
    snapshot->dropped_bytes = header->dropped_bytes;
    snapshot->pid = header->pid;
    *ret_snapshot = snapshot;
    return 0;
}

int mal_reader_snapshot(struct mal_box_reader *reader, struct mal_snapshot **ret_snapshot) {
    struct mal_box_header header;
    struct sections sections = {0};
    struct mal_snapshot *snapshot = NULL;
    uint64_t taken_unix_ns = clock_ns(CLOCK_REALTIME);
    int error = header_now(reader, &header);
    if (error)
        return error;
    error = sections_load(reader, &header, &sections);
    if (error)
        goto out;
    error = snapshot_new(&header, &sections, &snapshot);
    if (error)
        goto out;
    snapshot->taken_unix_ns = taken_unix_ns;
    fill_modules(snapshot, &header, &sections);
    fill_buckets(snapshot, &header, &sections);
    ((struct storage *)snapshot->storage)->stacks = sections.stacks;
    sections.stacks = NULL;
    *ret_snapshot = snapshot;
out:
    sections_free(&sections);
    return error;
}

void mal_snapshot_free(struct mal_snapshot *snapshot) {
    if (!snapshot)
        return;
    struct storage *storage = snapshot->storage;
    if (storage) {
        free(storage->stacks);
        free(storage->paths);
    }
    free(storage);
    free(snapshot->modules);
    free(snapshot->buckets);
    free(snapshot);
}

/* ------------------------------------------------------------------------ history and trace */

/* The running count of a ring, which is the first word of its section. */
static int written_now(const struct mal_box_reader *reader, enum mal_box_section_id id,
                       uint64_t *ret_written) {
    int error = section_copy(reader, id, 0, ret_written, sizeof(*ret_written));
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    return error;
}

/* The first row that nobody can be writing when the count is `written`. */
static uint64_t history_oldest(uint64_t written) {
    return written < MAL_BOX_HISTORY_ROWS ? 0 : written - MAL_BOX_HISTORY_ROWS + 1;
}

long mal_reader_history(struct mal_box_reader *reader, struct mal_box_history_row *ret_rows,
                        size_t max) {
    const size_t row_bytes = sizeof(*ret_rows);
    uint64_t written, later;
    int error = written_now(reader, MAL_BOX_HISTORY, &written);
    if (error)
        return error;
    uint64_t first = history_oldest(written);
    if (written - first > max)
        first = written - max;
    for (uint64_t n = first; n < written && !error; n++) {
        uint64_t at = offsetof(struct mal_box_history, row) + n % MAL_BOX_HISTORY_ROWS * row_bytes;
        error = section_copy(reader, MAL_BOX_HISTORY, at, &ret_rows[n - first], row_bytes);
    }
    if (!error)
        error = written_now(reader, MAL_BOX_HISTORY, &later);
    if (error)
        return error;
    if (later < written)
        return -EBADMSG;
    uint64_t oldest = history_oldest(later), count = written - first;
    uint64_t lost = oldest > first ? oldest - first : 0;
    if (lost >= count)
        return 0;
    memmove(ret_rows, ret_rows + lost, (size_t)(count - lost) * row_bytes);
    return (long)(count - lost);
}

/* The first byte that no append in progress can be writing over. */
static uint64_t trace_oldest(uint64_t written) {
    const uint64_t kept = MAL_BOX_TRACE_BYTES - TRACE_APPEND_MAX_BYTES;
    return written < kept ? 0 : written - kept;
}

static int trace_copy(const struct mal_box_reader *reader, uint64_t from, char *text,
                      size_t bytes) {
    uint64_t at = from % MAL_BOX_TRACE_BYTES;
    size_t head = MAL_BOX_TRACE_BYTES - at < bytes ? (size_t)(MAL_BOX_TRACE_BYTES - at) : bytes;
    const uint64_t base = offsetof(struct mal_box_trace, text);
    int error = section_copy(reader, MAL_BOX_TRACE, base + at, text, head);
    if (!error && head < bytes)
        error = section_copy(reader, MAL_BOX_TRACE, base, text + head, bytes - head);
    return error;
}

/* Cuts `text` to what begins a line. Returns how much was cut: all of it when no line begins. */
static size_t trace_cut(char *text, size_t bytes) {
    const char *end = memchr(text, '\n', bytes);
    size_t cut = end ? (size_t)(end - text) + 1 : bytes;
    memmove(text, text + cut, bytes - cut);
    return cut;
}

/* One attempt from *cursor on. -EAGAIN: overwritten while copying. */
static long trace_try(const struct mal_box_reader *reader, uint64_t *cursor, char *text,
                      size_t max) {
    uint64_t written, later, from = *cursor;
    int error = written_now(reader, MAL_BOX_TRACE, &written);
    if (error)
        return error;
    bool too_old = from < trace_oldest(written);
    if (too_old)
        from = trace_oldest(written);
    if (from >= written)
        return 0;
    size_t bytes = written - from < max ? (size_t)(written - from) : max;
    error = trace_copy(reader, from, text, bytes);
    if (!error)
        error = written_now(reader, MAL_BOX_TRACE, &later);
    if (error)
        return error;
    if (later < written)
        return -EBADMSG;
    if (from < trace_oldest(later))
        return -EAGAIN;
    *cursor = from + bytes;
    return too_old ? (long)(bytes - trace_cut(text, bytes)) : (long)bytes;
}

long mal_reader_trace(struct mal_box_reader *reader, uint64_t *cursor, char *ret_text, size_t max) {
    if (max > MAL_BOX_TRACE_BYTES)
        max = MAL_BOX_TRACE_BYTES;
    long got = -EAGAIN;
    for (int attempt = 0; attempt < TRACE_ATTEMPTS && got == -EAGAIN; attempt++)
        got = trace_try(reader, cursor, ret_text, max);
    return got;
}

/* --------------------------------------------------------------------------------- commands */

/* The mailbox of a reader: words are loaded and stored by system calls for a file, by atomics in
 * own memory. `page` is for futex calls only when the box is a file. */
struct post {
    struct mal_box_reader *reader;
    struct mal_box_mailbox *page; /* in memory: the mailbox itself */
    uint64_t offset;              /* in a file: of the mailbox */
    uint64_t deadline_ns;
    uint32_t me;
};

static int post_load(const struct post *post, struct mal_box_mailbox *ret_mailbox) {
    int error = section_copy(post->reader, MAL_BOX_MAILBOX, 0, ret_mailbox, sizeof(*ret_mailbox));
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    return error;
}

static int post_store(const struct post *post, size_t at, const void *data, size_t bytes) {
    ssize_t put = pwrite(post->reader->fd, data, bytes, (off_t)(post->offset + at));
    if (put < 0)
        return -errno;
    return (size_t)put == bytes ? 0 : -EIO;
}

static int post_store_word(const struct post *post, size_t at, uint32_t value) {
    if (post->reader->fd >= 0)
        return post_store(post, at, &value, sizeof(value));
    uint32_t *word = (uint32_t *)(void *)((char *)post->page + at);
    __atomic_store_n(word, value, __ATOMIC_RELEASE);
    return 0;
}

static int post_store_order(const struct post *post, uint32_t command, int64_t argument) {
    if (post->reader->fd < 0) {
        __atomic_store_n(&post->page->command, command, __ATOMIC_RELAXED);
        __atomic_store_n(&post->page->argument, argument, __ATOMIC_RELAXED);
        return 0;
    }
    int error = post_store_word(post, offsetof(struct mal_box_mailbox, command), command);
    if (error)
        return error;
    return post_store(post, offsetof(struct mal_box_mailbox, argument), &argument,
                      sizeof(argument));
}

static int post_expired(const struct post *post) {
    return clock_ns(CLOCK_MONOTONIC) >= post->deadline_ns ? -ETIMEDOUT : 0;
}

static int post_lock_file(const struct post *post, short type) {
    struct flock lock = {.l_type = type,
                         .l_whence = SEEK_SET,
                         .l_start = (off_t)post->offset,
                         .l_len = sizeof(struct mal_box_mailbox)};
    return fcntl(post->reader->fd, F_OFD_SETLK, &lock) == 0 ? 0 : -errno;
}

/* Whether the mailbox can be had from `owner`: nobody, or somebody who is gone. */
static bool owner_is_gone(uint32_t owner) {
    return owner == 0 || !process_is_alive(owner, 0);
}

/* One attempt to become the owner; -EAGAIN while somebody else is. Readers of the file are kept
 * out by the lock, so an owner that is not the box's own process is a leftover. */
static int post_take_file(const struct post *post) {
    int error = post_lock_file(post, F_WRLCK);
    if (error)
        return error == -EACCES ? -EAGAIN : error;
    struct mal_box_mailbox mailbox;
    error = post_load(post, &mailbox);
    if (!error && mailbox.owner == post->reader->header.pid && !owner_is_gone(mailbox.owner))
        error = -EAGAIN;
    if (!error)
        error = post_store_word(post, offsetof(struct mal_box_mailbox, owner), post->me);
    if (error)
        post_lock_file(post, F_UNLCK);
    return error;
}

static int post_take_memory(const struct post *post) {
    uint32_t owner = __atomic_load_n(&post->page->owner, __ATOMIC_RELAXED);
    if (!owner_is_gone(owner))
        return -EAGAIN;
    bool taken = __atomic_compare_exchange_n(&post->page->owner, &owner, post->me, false,
                                             __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
    return taken ? 0 : -EAGAIN;
}

static int post_take(const struct post *post) {
    int error;
    for (;;) {
        error = post->reader->fd >= 0 ? post_take_file(post) : post_take_memory(post);
        if (error != -EAGAIN)
            return error;
        error = post_expired(post);
        if (error)
            return error;
        nap_ns(1000000);
    }
}

static void post_release(const struct post *post) {
    post_store_word(post, offsetof(struct mal_box_mailbox, owner), 0);
    if (post->reader->fd >= 0)
        post_lock_file(post, F_UNLCK);
}

static void post_wake(const struct post *post) {
    syscall(SYS_futex, &post->page->request, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

/* Sleeps until `done` is no longer `seen`, at most one tick: a lost wake costs a tick. */
static void post_sleep(const struct post *post, uint32_t seen) {
    struct timespec tick = {.tv_nsec = COMMAND_TICK_NS};
    if (syscall(SYS_futex, &post->page->done, FUTEX_WAIT, seen, &tick, NULL, 0) != 0 &&
        errno == EFAULT)
        nap_ns(COMMAND_TICK_NS);
}

static int post_await(const struct post *post, uint32_t request,
                      struct mal_box_mailbox *ret_answer) {
    for (;;) {
        int error = post_load(post, ret_answer);
        if (error || ret_answer->done == request)
            return error;
        error = post_expired(post);
        if (error)
            return error;
        const struct mal_box_header *header = &post->reader->header;
        if (!process_is_alive(header->pid, header->start_ticks))
            return -ESRCH;
        post_sleep(post, ret_answer->done);
    }
}

/* Puts one order into a mailbox that is held. The order before it may still be worked on, given
 * up by a reader that ran out of time; its answer must not be taken for that of this one. */
static int post_order(const struct post *post, uint32_t command, int64_t argument,
                      uint32_t *ret_request) {
    struct mal_box_mailbox mailbox;
    int error = post_load(post, &mailbox);
    if (!error)
        error = post_await(post, mailbox.request, &mailbox);
    if (!error)
        error = post_store_order(post, command, argument);
    uint32_t request = mailbox.request + 1;
    if (!error)
        error = post_store_word(post, offsetof(struct mal_box_mailbox, request), request);
    if (!error)
        *ret_request = request;
    return error;
}

/* One order and its answer. -EBUSY: another reader wrote over it. */
static int post_exchange(const struct post *post, uint32_t command, int64_t argument,
                         int64_t *ret_result) {
    struct mal_box_mailbox mailbox;
    uint32_t request;
    int error = post_order(post, command, argument, &request);
    if (error)
        return error;
    post_wake(post);
    error = post_await(post, request, &mailbox);
    if (error)
        return error;
    if (mailbox.owner != post->me || mailbox.command != command || mailbox.argument != argument)
        return -EBUSY;
    if (mailbox.error > 0 || mailbox.error < -4095)
        return -EBADMSG;
    if (mailbox.error == 0)
        *ret_result = mailbox.result;
    return mailbox.error;
}

static int post_run(struct post *post, uint32_t command, int64_t argument, int64_t *ret_result) {
    struct mal_box_mailbox mailbox;
    int error = post_load(post, &mailbox);
    if (error)
        return error;
    if (mailbox.served != 1)
        return -ESRCH;
    error = post_take(post);
    if (error)
        return error;
    error = post_exchange(post, command, argument, ret_result);
    post_release(post);
    return error;
}

static int post_run_file(struct post *post, uint32_t command, int64_t argument,
                         int64_t *ret_result) {
    if (!post->reader->writable)
        return -EROFS;
    long os_page_bytes = sysconf(_SC_PAGESIZE);
    uint64_t page_offset = post->offset & ~(uint64_t)(os_page_bytes - 1);
    size_t bytes = (size_t)(post->offset - page_offset) + sizeof(struct mal_box_mailbox);
    char *map = mmap(NULL, bytes, PROT_READ, MAP_SHARED, post->reader->fd, (off_t)page_offset);
    if (map == MAP_FAILED)
        return -errno;
    post->page = (struct mal_box_mailbox *)(void *)(map + (post->offset - page_offset));
    int error = post_run(post, command, argument, ret_result);
    munmap(map, bytes);
    return error;
}

int mal_reader_command(struct mal_box_reader *reader, enum mal_box_command command,
                       int64_t argument, unsigned timeout_ms, int64_t *ret_result) {
    struct mal_status status;
    int error = mal_reader_status(reader, &status);
    if (error)
        return error;
    if (status.life != MAL_LIFE_ALIVE)
        return -ESRCH;
    struct post post = {.reader = reader,
                        .offset = reader->header.section[MAL_BOX_MAILBOX].offset,
                        .deadline_ns = clock_ns(CLOCK_MONOTONIC) + timeout_ms * 1000000ull,
                        .me = (uint32_t)getpid()};
    if (reader->fd >= 0)
        return post_run_file(&post, command, argument, ret_result);
    /* The handle promises not to write what is behind `base`, except this one section. */
    post.page = (struct mal_box_mailbox *)(void *)((uintptr_t)reader->base + post.offset);
    return post_run(&post, command, argument, ret_result);
}

/* ------------------------------------------------------------------------------- the folder */

/* Splits "<pid>.<start_ticks>.mallard". */
static bool parse_name(const char *name, uint32_t *ret_pid, uint64_t *ret_ticks) {
    char *end;
    if (name[0] < '0' || name[0] > '9')
        return false;
    unsigned long pid = strtoul(name, &end, 10);
    if (end[0] != '.' || end[1] < '0' || end[1] > '9' || pid > INT_MAX)
        return false;
    uint64_t ticks = strtoull(end + 1, &end, 10);
    if (strcmp(end, ".mallard") != 0)
        return false;
    *ret_pid = (uint32_t)pid;
    *ret_ticks = ticks;
    return true;
}

int mal_box_each(const char *folder, int (*visit)(const char *path, void *context), void *context) {
    DIR *stream = opendir(folder);
    if (!stream)
        return -errno;
    int result = 0;
    const struct dirent *entry;
    while (result == 0 && (entry = readdir(stream)) != NULL) {
        char path[PATH_MAX];
        uint32_t pid;
        uint64_t ticks;
        if (!parse_name(entry->d_name, &pid, &ticks))
            continue;
        int length = snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
        if (length > 0 && (size_t)length < sizeof(path))
            result = visit(path, context);
    }
    closedir(stream);
    return result;
}

struct stale {
    char *path;
    uint64_t started_unix_ns;
};

struct stale_list {
    struct stale *items;
    size_t count, capacity;
};

static int stale_add(struct stale_list *list, const char *path, uint64_t started_unix_ns) {
    if (list->count == list->capacity) {
        size_t capacity = list->capacity ? list->capacity * 2 : 16;
        struct stale *items = reallocarray(list->items, capacity, sizeof(*items));
        if (!items)
            return -ENOMEM;
        list->items = items;
        list->capacity = capacity;
    }
    char *copy = strdup(path);
    if (!copy)
        return -ENOMEM;
    list->items[list->count++] = (struct stale){copy, started_unix_ns};
    return 0;
}

/* Whether the process of the box is gone, by its header or, where that is unfinished or broken,
 * by its name. A box of another layout version is not ours to judge. */
static bool box_is_stale(const char *path, uint64_t *ret_started_unix_ns) {
    struct mal_box_reader *reader;
    uint32_t pid;
    uint64_t ticks;
    *ret_started_unix_ns = 0;
    int error = mal_reader_open(path, &reader);
    if (error)
        return error == -EBADMSG && parse_name(strrchr(path, '/') + 1, &pid, &ticks) &&
               !process_is_alive(pid, ticks);
    struct mal_status status;
    error = mal_reader_status(reader, &status);
    *ret_started_unix_ns = reader->header.started_unix_ns;
    mal_reader_close(reader);
    return !error && status.life != MAL_LIFE_ALIVE;
}

static int visit_stale(const char *path, void *context) {
    struct stat status;
    uint64_t started_unix_ns;
    if (lstat(path, &status) != 0 || !S_ISREG(status.st_mode) || status.st_uid != geteuid())
        return 0;
    if (!box_is_stale(path, &started_unix_ns))
        return 0;
    return stale_add(context, path, started_unix_ns);
}

static int compare_stale(const void *left, const void *right) {
    const struct stale *a = left, *b = right;
    return (a->started_unix_ns > b->started_unix_ns) - (a->started_unix_ns < b->started_unix_ns);
}

int mal_box_collect_stale(const char *folder, size_t keep) {
    struct stale_list list = {0};
    int removed = 0;
    int error = mal_box_each(folder, visit_stale, &list);
    if (list.count > 1)
        qsort(list.items, list.count, sizeof(*list.items), compare_stale);
    for (size_t i = 0; i < list.count; i++) {
        if (!error && i + keep < list.count && unlink(list.items[i].path) == 0)
            removed++;
        free(list.items[i].path);
    }
    free(list.items);
    return error ? error : removed;
}
