/* SPDX-License-Identifier: Apache-2.0
 *
 * The collected heap's tables by address. See the header for what they mean.
 *
 * Both are reserved for the page map's whole window when the collector comes up (address space
 * only, a thirtieth of the window), committed as far as collected spans reach, and touched only
 * where they lie. Path up: a span that lies above the limit extends the tables; its page entries
 * are stored last, with release. Path down: a freed span's entries are cleared; its lines were
 * clear already. After a spike their memory, a thirtieth of the heap's, goes back to the OS.
 *
 * SYNCHRONIZATION: the TABLES lock guards commits, and the entering of spans against trimming; see
 * the header for entries.
 *
 * Must never make an entry valid before its lines are there.
 */
#include "gc/tables.h"

#include "base/bits.h"
#include "base/check.h"
#include "meta/memory.h"
#include "meta/pagemap.h"
#include "os/lock.h"
#include "os/vm.h"

#include <errno.h>

#define SPAN_PAGES_MIN 2u /* a span is made under a lock: let it pay for more than a page */

#define TRIM_AFTER_PAGES 4096u /* of spans removed since the last time: 32 MiB */
#define TRIM_STEP_PAGES 1024u  /* under one hold of the lock */

struct mal_gc_tables mal_gc_tables;
struct mal_gc_class mal_gc_class[MAL_GC_CLASS_COUNT];

static struct mal_lock tables_lock = MAL_LOCK_INIT(MAL_RANK_GC_TABLES);
static struct mal_table page_table; /* tables_lock */
static struct mal_table line_table; /* tables_lock */
static uint64_t removed_pages;      /* since the last trim; relaxed atomic */

static void describe(unsigned class) {
    const struct mal_class_info *info = &mal_class[class];
    uint32_t pages = (uint32_t)mal_max(info->span_pages, SPAN_PAGES_MIN);
    mal_gc_class[class] = (struct mal_gc_class){
        .size_bytes = info->size_bytes,
        .divide_magic = (uint32_t)mal_ceil_div(1ull << MAL_GC_DIVIDE_SHIFT, info->size_bytes),
        .span_pages = pages,
        .objects = pages * MAL_PAGE_BYTES / info->size_bytes,
    };
}

static int make_starts(unsigned class) {
    struct mal_gc_class *info = &mal_gc_class[class];
    uint64_t *starts =
        mal_meta_alloc(info->span_pages * MAL_GC_WINDOWS_PER_PAGE * sizeof *starts, MAL_META_GC);
    if (!starts)
        return -ENOMEM;
    for (uint64_t i = 0; i < info->objects; i++) {
        uint64_t granule = i * info->size_bytes >> MAL_GRANULE_SHIFT;
        starts[granule / 64] |= 1ull << granule % 64;
    }
    info->starts = starts;
    return 0;
}

static int describe_classes(void) {
    for (unsigned class = 1; class < MAL_GC_CLASS_COUNT; class ++) {
        describe(class);
        if (make_starts(class) != 0)
            return -ENOMEM;
    }
    MAL_CHECK(mal_gc_class[MAL_GC_CLASS_COUNT - 1].size_bytes == MAL_SMALL_MAX_BYTES,
              "the last class of the collected heap is the largest small size");
    return 0;
}

static int reserve(void) {
    size_t pages = mal_pagemap.window_bytes >> MAL_PAGE_SHIFT;
    size_t windows = mal_pagemap.window_bytes / MAL_GC_WINDOW_BYTES;
    if (!page_table.base &&
        mal_table_reserve(&page_table, pages * sizeof *mal_gc_tables.page, MAL_META_GC) != 0)
        return -ENOMEM;
    if (!line_table.base &&
        mal_table_reserve(&line_table, windows * sizeof *mal_gc_tables.line, MAL_META_GC) != 0)
        return -ENOMEM;
    return 0;
}

int mal_gc_tables_init(void) {
    if (mal_pagemap.base == 0 || reserve() != 0 || describe_classes() != 0)
        return -ENOMEM;
    mal_gc_tables.base = mal_pagemap.base;
    mal_gc_tables.page = (uint32_t *)(void *)page_table.base;
    mal_gc_tables.line = (struct mal_gc_line *)(void *)line_table.base;
    return 0;
}

static int extend_locked(uint64_t offset) {
    size_t pages = offset >> MAL_PAGE_SHIFT;
    size_t windows = offset / MAL_GC_WINDOW_BYTES;
    if (mal_table_commit(&page_table, pages * sizeof *mal_gc_tables.page) != 0 ||
        mal_table_commit(&line_table, windows * sizeof *mal_gc_tables.line) != 0)
        return -ENOMEM;
    if (offset > mal_gc_tables.limit)
        mal_store_release(&mal_gc_tables.limit, offset);
    return 0;
}

int mal_gc_tables_extend(uint64_t offset) {
    if (offset <= mal_load_acquire(&mal_gc_tables.limit))
        return 0;
    mal_lock(&tables_lock);
    int error = extend_locked(offset);
    mal_unlock(&tables_lock);
    return error;
}

void mal_gc_tables_enter(uint64_t offset, size_t pages, unsigned span_class) {
    uint32_t *page = &mal_gc_tables.page[offset >> MAL_PAGE_SHIFT];
    mal_lock(&tables_lock);
    for (size_t i = 0; i < pages; i++) {
        uint32_t distance = (uint32_t)mal_min(i, MAL_GC_PAGE_OFFSET_MAX);
        MAL_ASSERT(mal_load_relaxed(&page[i]) == 0);
        mal_store_release(&page[i],
                          distance << MAL_GC_PAGE_OFFSET_SHIFT | MAL_GC_PAGE_VALID | span_class);
    }
    mal_unlock(&tables_lock);
}

void mal_gc_tables_remove(uint64_t offset, size_t pages) {
    uint32_t *page = &mal_gc_tables.page[offset >> MAL_PAGE_SHIFT];
    for (size_t i = 0; i < pages; i++)
        mal_store_relaxed(&page[i], 0u);
    mal_add_relaxed(&removed_pages, pages);
}

/* ---- trimming ---- */

static bool is_unused(size_t page, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (mal_load_relaxed(&mal_gc_tables.page[page + i]) != 0)
            return false;
    return true;
}

static void release_lines(size_t page, size_t end) {
    struct mal_gc_line *line = &mal_gc_tables.line[page * MAL_GC_WINDOWS_PER_PAGE];
    if (page < end)
        mal_vm_release(line, (end - page) * MAL_GC_WINDOWS_PER_PAGE * sizeof *line);
}

/* Lines of [page, end), in groups that fill an OS page each. */
static void trim_step(size_t page, size_t end, size_t group) {
    size_t unused = page;
    mal_lock(&tables_lock);
    for (; page + group <= end; page += group) {
        if (is_unused(page, group))
            continue;
        release_lines(unused, page);
        unused = page + group;
    }
    release_lines(unused, page);
    mal_unlock(&tables_lock);
}

void mal_gc_tables_trim(void) {
    if (mal_load_relaxed(&removed_pages) < TRIM_AFTER_PAGES)
        return;
    mal_store_relaxed(&removed_pages, 0u);
    size_t group =
        mal_max(mal_vm_page_bytes() / (sizeof(struct mal_gc_line) * MAL_GC_WINDOWS_PER_PAGE), 1u);
    size_t pages = mal_load_relaxed(&mal_gc_tables.limit) >> MAL_PAGE_SHIFT;
    for (size_t page = 0; page < pages; page += TRIM_STEP_PAGES)
        trim_step(page, mal_min(page + TRIM_STEP_PAGES, pages), group);
}

uint64_t mal_gc_span_start_far(uint64_t page_number) {
    for (;;) {
        uint32_t distance =
            mal_load_relaxed(&mal_gc_tables.page[page_number]) >> MAL_GC_PAGE_OFFSET_SHIFT;
        page_number -= distance;
        if (distance < MAL_GC_PAGE_OFFSET_MAX)
            return page_number;
    }
}

void mal_gc_tables_before_fork(void) {
    mal_lock(&tables_lock);
}

void mal_gc_tables_after_fork(void) {
    mal_unlock(&tables_lock);
}
