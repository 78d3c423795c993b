/* SPDX-License-Identifier: Apache-2.0
 *
 * The writer of the black box.
 *
 *   writer.c           the life of a box: opening, what a child takes over, the end
 *   writer_map.c       its memory: file or not, name, which pages may be touched
 *   writer_append.c    strings, stacks, buckets, modules
 *   writer_live.c      statistics, history, trace lines
 *   writer_spans.c     the map of spans
 *   writer_mailbox.c   requests
 *
 * Holds the mapping of this process's box. Path up (facts come in): append to a section, publish
 * the count; or copy a whole record under its sequence lock. Path down: none; a box ends with the
 * process.
 *
 * SYNCHRONIZATION
 *   1. Appends happen under the caller's PROFILE lock; readers of this process use the published
 *      counts (acquire).
 *   2. The BOX lock (writer_live.c) guards publish, trace and history. The map of spans and the
 *      mailbox belong to the background thread.
 *   3. `base` is set once per process image and once per forked child, under the PROFILE lock;
 *      `announced` follows, by store-release, when everything that a child inherits is in place.
 *      Who does not hold the PROFILE lock looks at the box only when it is announced.
 *
 * Must never allocate, never fail the program, never write a parent's box.
 */
#include "box/writer.h"

#include "box/writer_private.h"

#include "base/atomic.h"
#include "base/bits.h"
#include "os/clock.h"
#include "os/env.h"
#include "os/kernel.h"
#include "os/vm.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define CMDLINE_MAX_BYTES (32u << 10)

struct mal_writer_box mal_writer_box;

bool mal_writer_is_open(void) {
    return mal_load_acquire(&mal_writer_box.announced) != 0;
}

void mal_writer_announce(void) {
    mal_store_release(&mal_writer_box.announced, 1u);
}

bool mal_writer_has_parent(void) {
    return mal_writer_box.parent_base != NULL;
}

const void *mal_writer_base(void) {
    return mal_load_acquire(&mal_writer_box.base);
}

static void fill_sections(struct mal_box_header *header) {
    for (unsigned i = 0; i < MAL_BOX_SECTIONS; i++)
        header->section[i] =
            (struct mal_box_section){mal_writer_section_offset(i), mal_writer_section_bytes[i]};
}

/* As many as CPUs, where they are few. */
static uint32_t stripes_for(unsigned cpus) {
    uint32_t stripes = 1;
    while (stripes < mal_min(cpus, MAL_BOX_STRIPES_MAX))
        stripes *= 2;
    return stripes;
}

static void fill_header(struct mal_box_header *header, uint64_t start_ticks, unsigned cpus) {
    memcpy(header->magic, MAL_BOX_MAGIC, sizeof header->magic);
    header->version = MAL_BOX_VERSION;
    header->header_bytes = sizeof *header;
    header->file_bytes = MAL_BOX_BYTES;
    fill_sections(header);
    header->pid = (uint32_t)mal_own_pid();
    header->parent_pid = (uint32_t)mal_parent_pid();
    header->uid = (uint32_t)mal_real_uid();
    header->start_ticks = start_ticks;
    header->started_unix_ns = mal_clock_unix_ns();
    header->started_mono_ns = mal_clock_mono_ns();
    header->cpus = cpus;
    header->os_page_bytes = (uint32_t)mal_vm_page_bytes();
    header->stripes = stripes_for(cpus);
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
    long got = mal_syscall(SYS_readlinkat, AT_FDCWD, "/proc/self/exe", path, sizeof path);
    return mal_writer_add_string(path, got > 0 ? (size_t)got : 0);
}

static void describe_process(struct mal_box_header *header, const char *options) {
    header->exe = add_exe();
    header->cmdline = add_file_text("/proc/self/cmdline", CMDLINE_MAX_BYTES);
    header->cgroup = add_file_text("/proc/self/cgroup", PATH_MAX);
    header->options = mal_writer_add_string(options, strlen(options));
}

static bool copy_section(enum mal_box_section_id section, uint64_t bytes) {
    if (!mal_writer_ensure(section, bytes))
        return false;
    memcpy(mal_writer_section(section),
           mal_writer_box.parent_base + mal_writer_section_offset(section), bytes);
    return true;
}

/* A parent that has ended may have given the pages of its box back (writer_map.c), in the order in
 * which they lie there: while the first module is there, all that was copied behind it was, too. */
static bool parent_is_whole(void) {
    const struct mal_box_module *program =
        (const void *)(mal_writer_box.parent_base + mal_writer_section_offset(MAL_BOX_MODULES));
    return mal_load_acquire(&program->limit) != 0;
}

/* A child knows its parent's stacks and buckets by the same numbers; the counts are its own. Where
 * they do not all fit, it starts empty. */
static void inherit(struct mal_box_header *header) {
    const struct mal_box_header *parent = (const void *)mal_writer_box.parent_base;
    uint32_t buckets = mal_load_acquire(&parent->buckets_used);
    uint32_t stacks = mal_load_acquire(&parent->stacks_used);
    uint32_t modules = mal_load_acquire(&parent->modules_used);
    uint32_t strings = mal_load_acquire(&parent->strings_used);
    if (!copy_section(MAL_BOX_STRINGS, strings) ||
        !copy_section(MAL_BOX_MODULES, modules * sizeof(struct mal_box_module)) ||
        !copy_section(MAL_BOX_STACKS, stacks * sizeof(uint64_t)) ||
        !copy_section(MAL_BOX_BUCKETS, buckets * sizeof(struct mal_box_bucket)) ||
        !mal_writer_ensure(MAL_BOX_COUNTS, mal_box_counts_bytes(buckets, header->stripes)) ||
        !parent_is_whole())
        return;
    header->flags |= MAL_BOX_INHERITED;
    header->mem_profile_rate = parent->mem_profile_rate;
    header->strings_used = strings;
    header->modules_used = modules;
    header->stacks_used = stacks;
    header->buckets_used = buckets;
}

static void drop_parent(void) {
    munmap(mal_writer_box.parent_base, MAL_BOX_BYTES);
    mal_writer_box.parent_base = NULL;
}

int mal_writer_open(const char *options, unsigned cpus) {
    int saved_errno = errno;
    uint64_t start_ticks = mal_process_start_ticks();
    char *base = mal_writer_map(start_ticks);
    if (!base) {
        errno = saved_errno;
        return -ENOMEM;
    }
    struct mal_box_header *header = (void *)base;
    fill_header(header, start_ticks, cpus);
    mal_store_release(&mal_writer_box.base, base);
    if (mal_writer_box.parent_base) {
        inherit(header);
        drop_parent();
    }
    describe_process(header, options);
    mal_store_release(&header->state, (uint32_t)MAL_BOX_RUNNING);
    errno = saved_errno;
    return 0;
}

void mal_writer_finish(int exit_code, enum mal_writer_end end) {
    int saved_errno = errno;
    struct mal_box_header *header = mal_writer_header();
    header->exit_code = exit_code;
    header->ended_unix_ns = mal_clock_unix_ns();
    mal_store_release(&header->state, (uint32_t)MAL_BOX_EXITED);
    if (end == MAL_WRITER_REMOVE)
        mal_writer_remove_file();
    errno = saved_errno;
}

void mal_writer_forget_in_child(void) {
    /* A child of a child that never opened its own still reads the first ancestor's. */
    if (mal_writer_box.base)
        mal_writer_box.parent_base = mal_writer_box.base;
    mal_writer_forget_file();
    mal_store_release(&mal_writer_box.announced, 0u);
    mal_store_release(&mal_writer_box.base, NULL);
}
