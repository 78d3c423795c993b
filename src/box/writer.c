/* SPDX-License-Identifier: Apache-2.0
 *
 * The writer of the black box.
 *
 * Holds the mapping of this process's box and how much of each section has memory behind it. Path
 * up (facts come in): append to a section, publish the count; or copy a whole record under its
 * sequence lock. Path down: none; a box ends with the process.
 *
 * A tmpfs may fill up at any time, and a store into a page that cannot be had is a SIGBUS. So no
 * page is touched before madvise(MADV_POPULATE_WRITE) has brought it in or has said that it cannot;
 * a section that cannot grow is a full table, and full tables are counted, not errors. A kernel
 * that does not know that call gets an anonymous box.
 *
 * No descriptor stays open: the file is opened, mapped and closed at once.
 *
 * SYNCHRONIZATION
 *   1. Appends happen under the caller's PROFILE lock; readers of this process use the published
 *      counts (acquire).
 *   2. `box_lock` (rank BOX) guards publish, trace and history.
 *   3. `box.base` is set once per process image and once per forked child, under the PROFILE lock;
 *      `announced` follows, by store-release, when everything that a child inherits is in place.
 *      Who does not hold the PROFILE lock looks at the box only when it is announced.
 *
 * Must never allocate, never fail the program, never write a parent's box.
 */
#include "box/writer.h"

#include "base/atomic.h"
#include "base/bits.h"
#include "base/check.h"
#include "base/format.h"
#include "box/place.h"
#include "box/reader.h"
#include "os/clock.h"
#include "os/env.h"
#include "os/futex.h"
#include "os/lock.h"
#include "os/say.h"
#include "os/vm.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define READY_STEP_BYTES (16u << 10)
#define TRACE_STEP_BYTES 4096u /* readers rely on it to know what may be half overwritten */
#define CMDLINE_MAX_BYTES (32u << 10)

static struct mal_lock box_lock = MAL_LOCK_INIT(MAL_RANK_BOX);

static struct {
    char *base;         /* rule 3 */
    uint32_t announced; /* rule 3; 1 once the box is complete */
    char *parent_base;  /* a forked child's view of its parent's box */
    uint32_t answering; /* number of the request being served; its server */
    uint64_t
        ready_bytes[MAL_BOX_SECTIONS]; /* of each section, from its start, that may be touched */
    char path[PATH_MAX];               /* "" for anonymous */
    bool complained;                   /* that no box could be had as it should be; PROFILE lock */
} box;

static struct mal_box_place place; /* written before a second thread exists */

static const uint64_t section_bytes[MAL_BOX_SECTIONS] = {
    [MAL_BOX_STATS] = sizeof(struct mal_box_stats),
    [MAL_BOX_MODULES] = MAL_BOX_MODULES_MAX * sizeof(struct mal_box_module),
    [MAL_BOX_STRINGS] = MAL_BOX_STRINGS_BYTES,
    [MAL_BOX_STACKS] = MAL_BOX_STACK_WORDS * sizeof(uint64_t),
    [MAL_BOX_BUCKETS] = MAL_BOX_BUCKETS_MAX * sizeof(struct mal_box_bucket),
    [MAL_BOX_HISTORY] = sizeof(struct mal_box_history),
    [MAL_BOX_TRACE] = sizeof(struct mal_box_trace),
    [MAL_BOX_MAILBOX] = sizeof(struct mal_box_mailbox),
    [MAL_BOX_SPANS] = sizeof(struct mal_box_spans),
};

static struct mal_box_header *header_of(char *base) {
    return (struct mal_box_header *)(void *)base;
}

static uint64_t section_offset(enum mal_box_section_id section) {
    uint64_t offset = MAL_BOX_PAGE_BYTES;
    for (unsigned i = 0; i < (unsigned)section; i++)
        offset += MAL_BOX_ROUND(section_bytes[i]);
    return offset;
}

static void *section_in(char *base, enum mal_box_section_id section) {
    return base + section_offset(section);
}

static void *section_of(enum mal_box_section_id section) {
    return section_in(box.base, section);
}

bool mal_writer_is_open(void) {
    return mal_load_acquire(&box.announced) != 0;
}

void mal_writer_announce(void) {
    mal_store_release(&box.announced, 1u);
}

bool mal_writer_has_parent(void) {
    return box.parent_base != NULL;
}

const void *mal_writer_base(void) {
    return mal_load_acquire(&box.base);
}

const char *mal_writer_path(void) {
    return box.path;
}

/* Brings pages in for writing, or says why that cannot be. */
static int populate(char *address, uint64_t bytes) {
    int saved_errno = errno;
    size_t into_page =
        (uintptr_t)address & (mal_vm_page_bytes() - 1); /* larger than a box's page */
    int error =
        madvise(address - into_page, bytes + into_page, MADV_POPULATE_WRITE) == 0 ? 0 : -errno;
    errno = saved_errno;
    return error;
}

/* Makes the first `bytes` of a section touchable. False: no memory, treat the section as full. */
static bool ensure_in(char *base, enum mal_box_section_id section, uint64_t bytes) {
    if (bytes <= box.ready_bytes[section])
        return true;
    uint64_t limit = MAL_BOX_ROUND(section_bytes[section]);
    uint64_t wanted = mal_min(mal_round_up(bytes, READY_STEP_BYTES), limit);
    if (bytes > limit)
        return false;
    char *start = (char *)section_in(base, section) + box.ready_bytes[section];
    if (populate(start, wanted - box.ready_bytes[section]) != 0)
        return false;
    box.ready_bytes[section] = wanted;
    return true;
}

static bool ensure(enum mal_box_section_id section, uint64_t bytes) {
    return ensure_in(box.base, section, bytes);
}

/* What every box needs from its first moment. */
static int populate_basics(char *base) {
    memset(box.ready_bytes, 0, sizeof box.ready_bytes);
    int error = populate(base, MAL_BOX_PAGE_BYTES);
    if (error)
        return error;
    bool complete = ensure_in(base, MAL_BOX_STATS, sizeof(struct mal_box_stats)) &&
                    ensure_in(base, MAL_BOX_MAILBOX, sizeof(struct mal_box_mailbox)) &&
                    ensure_in(base, MAL_BOX_MODULES, 1) && ensure_in(base, MAL_BOX_STRINGS, 1) &&
                    ensure_in(base, MAL_BOX_STACKS, 1) && ensure_in(base, MAL_BOX_BUCKETS, 1) &&
                    ensure_in(base, MAL_BOX_HISTORY, 1) && ensure_in(base, MAL_BOX_TRACE, 1) &&
                    ensure_in(base, MAL_BOX_SPANS, 1);
    return complete ? 0 : -ENOSPC;
}

static char *map_anonymous(void) {
    void *base = mmap(NULL, MAL_BOX_BYTES, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return base == MAP_FAILED ? NULL : base;
}

static char *map_file(int fd) {
    if (ftruncate(fd, (off_t)MAL_BOX_BYTES) != 0)
        return NULL;
    void *base = mmap(NULL, MAL_BOX_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    return base == MAP_FAILED ? NULL : base;
}

/* A file of that name can only be what an earlier image of this very process left behind an exec:
 * the name holds pid and start time. */
static int create_file(const char *path) {
    int flags = O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
    int fd = open(path, flags, 0600);
    if (fd < 0 && errno == EEXIST && unlink(path) == 0)
        fd = open(path, flags, 0600);
    return fd;
}

void mal_writer_remember_place(void) {
    mal_box_place_read(&place);
}

/* Every box's name holds the pid and the start time of its process. */
static void name_box(const char *folder, uint64_t start_ticks) {
    mal_format(box.path, sizeof box.path, "%s/%u.%lu.mallard", folder, (unsigned)getpid(),
               (unsigned long)start_ticks);
}

/* An image that is replaced by exec cannot remove its box; the next image does, box or no box of
 * its own. */
void mal_writer_remove_predecessor(void) {
    char folder[MAL_BOX_FOLDER_BYTES];
    int saved_errno = errno;
    if (mal_box_folder_find(&place, folder, sizeof folder) == 0) {
        name_box(folder, mal_process_start_ticks());
        unlink(box.path);
        box.path[0] = '\0';
    }
    errno = saved_errno;
}

static int give_up(char *base, const char *path, int error) {
    if (base)
        munmap(base, MAL_BOX_BYTES);
    unlink(path);
    return error;
}

static int open_file_box(const char *path, char **ret_base) {
    int fd = create_file(path);
    if (fd < 0)
        return -errno;
    char *base = map_file(fd);
    int error = base ? populate_basics(base) : -errno;
    close(fd);
    *ret_base = base;
    return error ? give_up(base, path, error) : 0;
}

/* Anonymous pages need no leave: whoever touches one gets it. */
static char *open_anonymous_box(void) {
    for (unsigned i = 0; i < MAL_BOX_SECTIONS; i++)
        box.ready_bytes[i] = MAL_BOX_ROUND(section_bytes[i]);
    return map_anonymous();
}

/* The first failure is worth a line, what comes of it at later attempts is not. */
static bool is_first_failure(void) {
    bool first = !box.complained;
    box.complained = true;
    return first;
}

static char *without_file(char *anonymous_base, const char *path, int error) {
    if (!is_first_failure())
        return anonymous_base;
    if (!anonymous_base)
        mal_warn("no memory for a box: nothing is sampled until there is");
    else if (path[0])
        mal_warn("no box at %s (error %d): profiles of this process end with it", path, -error);
    else
        mal_warn("MALLARD_DIR=%s cannot hold boxes: profiles of this process end with it",
                 place.named);
    return anonymous_base;
}

/* Where there is no folder for boxes at all, silence: nobody expected one. */
static char *without_folder(void) {
    char *base = open_anonymous_box();
    return base && !place.named[0] ? base : without_file(base, "", 0);
}

static char *map_box(uint64_t start_ticks) {
    char folder[PATH_MAX - 64];
    char *base = NULL;
    if (mal_box_folder_make(&place, folder, sizeof folder) != 0)
        return without_folder();
    name_box(folder, start_ticks);
    int error = open_file_box(box.path, &base);
    if (error == 0)
        return base;
    base = without_file(open_anonymous_box(), box.path, error);
    box.path[0] = '\0';
    return base;
}

static void fill_sections(struct mal_box_header *header) {
    for (unsigned i = 0; i < MAL_BOX_SECTIONS; i++)
        header->section[i] = (struct mal_box_section){section_offset(i), section_bytes[i]};
}

static void fill_header(struct mal_box_header *header, uint64_t start_ticks, unsigned cpus) {
    memcpy(header->magic, MAL_BOX_MAGIC, sizeof header->magic);
    header->version = MAL_BOX_VERSION;
    header->header_bytes = sizeof *header;
    header->file_bytes = MAL_BOX_BYTES;
    fill_sections(header);
    header->pid = (uint32_t)getpid();
    header->parent_pid = (uint32_t)getppid();
    header->uid = (uint32_t)getuid();
    header->start_ticks = start_ticks;
    header->started_unix_ns = mal_clock_unix_ns();
    header->started_mono_ns = mal_clock_mono_ns();
    header->cpus = cpus;
    header->os_page_bytes = (uint32_t)mal_vm_page_bytes();
}

struct mal_box_string mal_writer_add_string(const char *text, size_t bytes) {
    struct mal_box_header *header = header_of(box.base);
    struct mal_box_string string = {header->strings_used, 0};
    uint64_t end = (uint64_t)header->strings_used + bytes;
    if (end > MAL_BOX_STRINGS_BYTES || !ensure(MAL_BOX_STRINGS, end))
        return string;
    memcpy((char *)section_of(MAL_BOX_STRINGS) + string.offset, text, bytes);
    string.bytes = (uint32_t)bytes;
    mal_store_release(&header->strings_used, (uint32_t)end);
    return string;
}

static struct mal_box_string add_file_text(const char *path, size_t most) {
    static char text[CMDLINE_MAX_BYTES]; /* PROFILE lock held */
    long got = mal_read_file(path, text, mal_min(most, sizeof text));
    while (got > 0 && (text[got - 1] == '\0' || text[got - 1] == '\n'))
        got--;
    return mal_writer_add_string(text, got > 0 ? (size_t)got : 0);
}

static struct mal_box_string add_exe(void) {
    char path[PATH_MAX];
    int saved_errno = errno;
    ssize_t got = readlink("/proc/self/exe", path, sizeof path);
    errno = saved_errno;
    return mal_writer_add_string(path, got > 0 ? (size_t)got : 0);
}

static void describe_process(struct mal_box_header *header, const char *options) {
    header->exe = add_exe();
    header->cmdline = add_file_text("/proc/self/cmdline", CMDLINE_MAX_BYTES);
    header->cgroup = add_file_text("/proc/self/cgroup", PATH_MAX);
    header->options = mal_writer_add_string(options, strlen(options));
}

static bool copy_section(enum mal_box_section_id section, uint64_t bytes) {
    if (!ensure(section, bytes))
        return false;
    memcpy(section_of(section), section_in(box.parent_base, section), bytes);
    return true;
}

/* A child knows its parent's stacks and buckets by the same numbers; the counts are its own. Where
 * they do not all fit, it starts empty. */
static void inherit(struct mal_box_header *header) {
    const struct mal_box_header *parent = header_of(box.parent_base);
    uint32_t buckets = mal_load_acquire(&parent->buckets_used);
    uint32_t stacks = mal_load_acquire(&parent->stacks_used);
    uint32_t modules = mal_load_acquire(&parent->modules_used);
    uint32_t strings = mal_load_acquire(&parent->strings_used);
    if (!copy_section(MAL_BOX_STRINGS, strings) ||
        !copy_section(MAL_BOX_MODULES, modules * sizeof(struct mal_box_module)) ||
        !copy_section(MAL_BOX_STACKS, stacks * sizeof(uint64_t)) ||
        !copy_section(MAL_BOX_BUCKETS, buckets * sizeof(struct mal_box_bucket)))
        return;
    for (uint32_t i = 0; i < buckets; i++)
        mal_writer_bucket(i)->allocs = mal_writer_bucket(i)->frees = 0;
    header->flags |= MAL_BOX_INHERITED;
    header->mem_profile_rate = parent->mem_profile_rate;
    header->strings_used = strings;
    header->modules_used = modules;
    header->stacks_used = stacks;
    header->buckets_used = buckets;
}

static void drop_parent(void) {
    munmap(box.parent_base, MAL_BOX_BYTES);
    box.parent_base = NULL;
}

int mal_writer_open(const char *options, unsigned cpus) {
    int saved_errno = errno;
    uint64_t start_ticks = mal_process_start_ticks();
    char *base = map_box(start_ticks);
    if (!base) {
        errno = saved_errno;
        return -ENOMEM;
    }
    struct mal_box_header *header = header_of(base);
    fill_header(header, start_ticks, cpus);
    mal_store_release(&box.base, base);
    if (box.parent_base) {
        inherit(header);
        drop_parent();
    }
    describe_process(header, options);
    mal_store_release(&header->state, (uint32_t)MAL_BOX_RUNNING);
    errno = saved_errno;
    return 0;
}

uint32_t mal_writer_add_stack(const uintptr_t *pcs, size_t depth) {
    struct mal_box_header *header = header_of(box.base);
    uint64_t end = (uint64_t)header->stacks_used + depth + 1;
    if (end > MAL_BOX_STACK_WORDS || !ensure(MAL_BOX_STACKS, end * sizeof(uint64_t)))
        return MAL_BOX_NONE;
    uint32_t at = header->stacks_used;
    uint64_t *words = (uint64_t *)section_of(MAL_BOX_STACKS) + at;
    words[0] = depth;
    for (size_t i = 0; i < depth; i++)
        words[i + 1] = pcs[i];
    mal_store_release(&header->stacks_used, (uint32_t)end);
    return at;
}

uint32_t mal_writer_add_bucket(const struct mal_box_bucket *key) {
    struct mal_box_header *header = header_of(box.base);
    uint32_t at = header->buckets_used;
    if (at >= MAL_BOX_BUCKETS_MAX || !ensure(MAL_BOX_BUCKETS, (at + 1ull) * sizeof *key))
        return MAL_BOX_NONE;
    *mal_writer_bucket(at) = *key;
    mal_store_release(&header->buckets_used, at + 1);
    return at;
}

bool mal_writer_add_module(const struct mal_box_module *module) {
    struct mal_box_header *header = header_of(box.base);
    uint32_t at = header->modules_used;
    if (at >= MAL_BOX_MODULES_MAX || !ensure(MAL_BOX_MODULES, (at + 1ull) * sizeof *module))
        return false;
    *mal_writer_module(at) = *module;
    mal_store_release(&header->modules_used, at + 1);
    return true;
}

struct mal_box_bucket *mal_writer_bucket(uint32_t index) {
    return (struct mal_box_bucket *)section_of(MAL_BOX_BUCKETS) + index;
}

const uint64_t *mal_writer_stack(uint32_t word) {
    return (const uint64_t *)section_of(MAL_BOX_STACKS) + word;
}

uint32_t mal_writer_module_count(void) {
    return mal_load_acquire(&header_of(box.base)->modules_used);
}

struct mal_box_module *mal_writer_module(uint32_t index) {
    return (struct mal_box_module *)section_of(MAL_BOX_MODULES) + index;
}

void mal_writer_drop(uint64_t bytes) {
    mal_add_relaxed(&header_of(box.base)->dropped_samples, 1);
    mal_add_relaxed(&header_of(box.base)->dropped_bytes, bytes);
}

void mal_writer_set_rate(uint64_t rate_bytes) {
    if (mal_writer_is_open())
        mal_store_relaxed(&header_of(box.base)->mem_profile_rate, rate_bytes);
}

static struct mal_box_history_row row_of(const struct mal_box_stats *stats) {
    const uint64_t *v = stats->value;
    return (struct mal_box_history_row){
        .unix_ns = stats->published_unix_ns,
        .rss_bytes = v[MAL_STAT_RSS],
        .heap_alloc_bytes = v[MAL_STAT_HEAP_ALLOC],
        .heap_inuse_bytes = v[MAL_STAT_HEAP_INUSE],
        .heap_idle_bytes = v[MAL_STAT_HEAP_IDLE],
        .heap_released_bytes = v[MAL_STAT_HEAP_RELEASED],
        .cache_bytes = v[MAL_STAT_CPU_CACHE] + v[MAL_STAT_TRANSFER_CACHE],
        .span_free_bytes = v[MAL_STAT_SPAN_FREE],
        .tables_bytes = v[MAL_STAT_SPAN_SYS] + v[MAL_STAT_CACHE_SYS] + v[MAL_STAT_GC_SYS] +
                        v[MAL_STAT_OTHER_SYS],
        .profiler_bytes = v[MAL_STAT_BUCKET_SYS],
        .mallocs = v[MAL_STAT_MALLOCS],
        .frees = v[MAL_STAT_FREES],
        .total_alloc_bytes = v[MAL_STAT_TOTAL_ALLOC],
        .next_gc_bytes = v[MAL_STAT_NEXT_GC],
        .num_gc = v[MAL_STAT_NUM_GC],
        .scavenged_bytes =
            v[MAL_STAT_SCAV_BACKGROUND] + v[MAL_STAT_SCAV_EAGER] + v[MAL_STAT_SCAV_FORCED],
    };
}

/* At most one row a second, whoever publishes. */
static void append_history_locked(const struct mal_box_stats *stats) {
    struct mal_box_history *history = section_of(MAL_BOX_HISTORY);
    uint64_t slot = history->written % MAL_BOX_HISTORY_ROWS;
    uint64_t last = (history->written - 1) % MAL_BOX_HISTORY_ROWS;
    if (history->written > 0 &&
        stats->published_unix_ns - history->row[last].unix_ns < 900 * 1000 * 1000ull)
        return;
    if (!ensure(MAL_BOX_HISTORY, (uint64_t)((char *)&history->row[slot + 1] - (char *)history)))
        return;
    history->row[slot] = row_of(stats);
    mal_store_release(&history->written, history->written + 1);
}

void mal_writer_publish(const struct mal_box_stats *stats) {
    mal_lock(&box_lock);
    struct mal_box_stats *shared = section_of(MAL_BOX_STATS);
    uint64_t sequence = shared->sequence;
    mal_store_relaxed(&shared->sequence, sequence + 1);
    __atomic_thread_fence(__ATOMIC_RELEASE);
    size_t skip = sizeof shared->sequence;
    memcpy((char *)shared + skip, (const char *)stats + skip, sizeof *stats - skip);
    mal_store_release(&shared->sequence, sequence + 2);
    append_history_locked(stats);
    mal_unlock(&box_lock);
}

static void copy_into_ring(struct mal_box_trace *trace, const char *text, size_t bytes) {
    for (size_t i = 0; i < bytes; i++)
        trace->text[(trace->written + i) % MAL_BOX_TRACE_BYTES] = text[i];
}

void mal_writer_trace(const char *text, size_t bytes) {
    if (bytes > TRACE_STEP_BYTES)
        return;
    mal_lock(&box_lock);
    struct mal_box_trace *trace = section_of(MAL_BOX_TRACE);
    uint64_t reach = mal_min(trace->written + bytes, MAL_BOX_TRACE_BYTES);
    if (ensure(MAL_BOX_TRACE, offsetof(struct mal_box_trace, text) + reach)) {
        copy_into_ring(trace, text, bytes);
        mal_store_release(&trace->written, trace->written + bytes);
    }
    mal_unlock(&box_lock);
}

static struct mal_box_spans *span_map(void) {
    return section_of(MAL_BOX_SPANS);
}

/* The head is always there: the section's first step was made with the box. */
void mal_writer_spans_begin(uint64_t base_address, uint64_t page_bytes) {
    struct mal_box_spans *map = span_map();
    mal_store_relaxed(&map->sequence, map->sequence + 1);
    __atomic_thread_fence(__ATOMIC_RELEASE);
    map->base_address = base_address;
    map->page_bytes = page_bytes;
    map->taken_unix_ns = mal_clock_unix_ns();
    map->count = 0;
}

bool mal_writer_spans_put(const struct mal_box_span *span) {
    struct mal_box_spans *map = span_map();
    uint64_t end = offsetof(struct mal_box_spans, span) + (map->count + 1ull) * sizeof *span;
    if (map->count >= MAL_BOX_SPANS_MAX || !ensure(MAL_BOX_SPANS, end))
        return false;
    map->span[map->count++] = *span;
    return true;
}

struct mal_box_span *mal_writer_spans_find(uint64_t page) {
    struct mal_box_spans *map = span_map();
    uint32_t low = 0;
    uint32_t high = map->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        struct mal_box_span *span = &map->span[middle];
        if (page < span->page)
            high = middle;
        else if (page >= (uint64_t)span->page + span->pages)
            low = middle + 1;
        else
            return span;
    }
    return NULL;
}

uint32_t mal_writer_spans_end(uint64_t total, uint32_t stride) {
    struct mal_box_spans *map = span_map();
    map->total = total;
    map->stride = stride;
    mal_store_release(&map->sequence, map->sequence + 1);
    return map->count;
}

static struct mal_box_mailbox *mailbox(void) {
    return section_of(MAL_BOX_MAILBOX);
}

bool mal_writer_await_request(uint64_t timeout_ns, enum mal_box_command *ret_command,
                              int64_t *ret_argument) {
    struct mal_box_mailbox *mail = mailbox();
    mal_store_release(&mail->served, 1u);
    uint32_t done = mal_load_relaxed(&mail->done);
    if (mal_load_acquire(&mail->request) == done)
        mal_futex_wait_shared(&mail->request, done, timeout_ns);
    box.answering = mal_load_acquire(&mail->request);
    if (box.answering == done)
        return false;
    *ret_command = (enum mal_box_command)mal_load_relaxed(&mail->command);
    *ret_argument = mal_load_relaxed(&mail->argument);
    return true;
}

void mal_writer_wake(void) {
    if (mal_writer_is_open())
        mal_futex_wake_shared(&mailbox()->request, INT_MAX);
}

void mal_writer_answer(int64_t result, int error) {
    struct mal_box_mailbox *mail = mailbox();
    mal_store_relaxed(&mail->result, result);
    mal_store_relaxed(&mail->error, error);
    mal_store_release(&mail->done, box.answering);
    mal_futex_wake_shared(&mail->done, INT_MAX);
}

/* A process that gave up its rights may not remove its file: whoever collects boxes will. All but
 * the header's page goes back to the tmpfs at once. */
static void give_memory_back(void) {
    uint64_t kept = mal_round_up(MAL_BOX_PAGE_BYTES, mal_vm_page_bytes());
    madvise(box.base + kept, MAL_BOX_BYTES - kept, MADV_REMOVE);
}

void mal_writer_finish(int exit_code, enum mal_writer_end end) {
    int saved_errno = errno;
    struct mal_box_header *header = header_of(box.base);
    header->exit_code = exit_code;
    header->ended_unix_ns = mal_clock_unix_ns();
    mal_store_release(&header->state, (uint32_t)MAL_BOX_EXITED);
    if (end == MAL_WRITER_REMOVE && box.path[0] && unlink(box.path) != 0 && errno != ENOENT)
        give_memory_back();
    errno = saved_errno;
}

void mal_writer_forget_in_child(void) {
    /* A child of a child that never opened its own still reads the first ancestor's. */
    if (box.base)
        box.parent_base = box.base;
    box.path[0] = '\0';
    box.complained = false;
    mal_store_release(&box.announced, 0u);
    mal_store_release(&box.base, NULL);
}

void mal_writer_before_fork(void) {
    mal_lock(&box_lock);
}

void mal_writer_after_fork(void) {
    mal_unlock(&box_lock);
}
