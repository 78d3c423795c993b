/* SPDX-License-Identifier: Apache-2.0
 *
 * The radix-tree page allocator.
 *
 * Holds the chunks' bitmaps and five levels of summaries. Path up: `find` descends from the root
 * to the lowest run that is long enough; runs that cross chunk borders are found at the level
 * where the border is inside one block. `take` and `give` flip bits and rebuild the summaries of
 * the chunks they touched, then of their ancestors. `low_page` is a lower bound of the lowest free
 * page: everything below it is in use, so a search may skip it.
 *
 * SYNCHRONIZATION. Everything under the page heap's lock.
 *
 * Must never touch the pages themselves.
 */
#include "pageheap/pages.h"

#include "base/bits.h"
#include "base/check.h"
#include "meta/memory.h"
#include "pageheap/chunk.h"

#include <errno.h>
#include <stdbool.h>

#define LEVELS 5u
#define FANOUT_BITS 3u
#define FANOUT (1u << FANOUT_BITS)
#define LEAF (LEVELS - 1)
#define FIELD_BITS 21u
#define FIELD_MAX (1ull << FIELD_BITS)

struct run {
    uint64_t start, longest, end;
};

static struct mal_table level_table[LEVELS];
static struct mal_table chunk_table;
static size_t chunk_count; /* one past the highest chunk added */
static size_t low_page;    /* no page below it is free */

static uint64_t *summaries(unsigned level) {
    return (uint64_t *)(void *)level_table[level].base;
}

static struct mal_chunk *chunk_at(size_t index) {
    return (struct mal_chunk *)(void *)chunk_table.base + index;
}

static uint64_t pack(struct run run) {
    if (run.longest == FIELD_MAX)
        return 1ull << 63;
    return run.start | run.longest << FIELD_BITS | run.end << (2 * FIELD_BITS);
}

static struct run unpack(uint64_t summary) {
    if (summary >> 63)
        return (struct run){FIELD_MAX, FIELD_MAX, FIELD_MAX};
    uint64_t mask = FIELD_MAX - 1;
    return (struct run){summary & mask, summary >> FIELD_BITS & mask,
                        summary >> (2 * FIELD_BITS) & mask};
}

/* log2 of the chunks that one summary of a level stands for. */
static unsigned level_chunk_bits(unsigned level) {
    return FANOUT_BITS * (LEAF - level);
}

static uint64_t level_pages(unsigned level) {
    return (uint64_t)MAL_CHUNK_PAGES << level_chunk_bits(level);
}

static size_t level_entries(unsigned level, size_t chunks) {
    return mal_ceil_div(chunks, 1ull << level_chunk_bits(level));
}

int mal_pages_init(size_t window_pages) {
    size_t chunks = window_pages / MAL_CHUNK_PAGES;
    for (unsigned level = 0; level < LEVELS; level++) {
        size_t bytes = level_entries(level, chunks) * sizeof(uint64_t);
        if (mal_table_reserve(&level_table[level], bytes, MAL_META_SPAN) != 0)
            return -ENOMEM;
    }
    return mal_table_reserve(&chunk_table, chunks * sizeof(struct mal_chunk), MAL_META_SPAN);
}

static int commit_tables(size_t chunks) {
    for (unsigned level = 0; level < LEVELS; level++) {
        size_t bytes = level_entries(level, chunks) * sizeof(uint64_t);
        if (mal_table_commit(&level_table[level], bytes) != 0)
            return -ENOMEM;
    }
    return mal_table_commit(&chunk_table, chunks * sizeof(struct mal_chunk));
}

static struct run merge_block(const uint64_t *block, uint64_t pages_each) {
    struct run all = {0, 0, 0};
    for (unsigned i = 0; i < FANOUT; i++) {
        struct run one = unpack(block[i]);
        if (all.start == i * pages_each)
            all.start += one.start;
        all.longest = mal_max(all.longest, mal_max(one.longest, all.end + one.start));
        all.end = one.end == pages_each ? all.end + pages_each : one.end;
    }
    return all;
}

static void rebuild_leaves(size_t first_chunk, size_t last_chunk) {
    for (size_t chunk = first_chunk; chunk <= last_chunk; chunk++) {
        struct mal_chunk_runs runs = mal_chunk_measure(chunk_at(chunk));
        summaries(LEAF)[chunk] = pack((struct run){runs.start, runs.longest, runs.end});
    }
}

/* Rebuilds the summaries above chunks [first, last], stopping early where nothing changes. */
static void rebuild(size_t first_chunk, size_t last_chunk) {
    rebuild_leaves(first_chunk, last_chunk);
    bool changed = true;
    for (unsigned level = LEAF; level-- > 0 && changed;) {
        changed = false;
        unsigned shift = level_chunk_bits(level);
        for (size_t i = first_chunk >> shift; i <= last_chunk >> shift; i++) {
            const uint64_t *children = &summaries(level + 1)[i << FANOUT_BITS];
            uint64_t merged = pack(merge_block(children, level_pages(level + 1)));
            changed |= summaries(level)[i] != merged;
            summaries(level)[i] = merged;
        }
    }
}

int mal_pages_add(size_t first_page, size_t pages) {
    size_t first = first_page / MAL_CHUNK_PAGES;
    size_t limit = first + pages / MAL_CHUNK_PAGES;
    if (commit_tables(limit) != 0)
        return -ENOMEM;
    for (size_t chunk = first; chunk < limit; chunk++)
        mal_chunk_mark_released(chunk_at(chunk), 0, MAL_CHUNK_PAGES);
    chunk_count = mal_max(chunk_count, limit);
    low_page = mal_min(low_page, first_page);
    rebuild(first, limit - 1);
    return 0;
}

/* What a scan of one block found. */
enum step { STEP_FOUND, STEP_DESCEND, STEP_NOTHING };
struct scan {
    uint64_t run_pages; /* free pages at the end of what was scanned so far */
    uint64_t page;      /* FOUND: the answer; DESCEND: unused */
    size_t index;       /* DESCEND: the entry to open */
};

/* Scans entries [first, limit) of a level in address order. */
static enum step scan_level(unsigned level, size_t first, size_t limit, uint64_t wanted,
                            struct scan *scan) {
    uint64_t each = level_pages(level);
    scan->run_pages = 0;
    for (size_t i = first; i < limit; i++) {
        struct run run = unpack(summaries(level)[i]);
        if (scan->run_pages + run.start >= wanted) {
            scan->page = i * each - scan->run_pages;
            return STEP_FOUND;
        }
        if (run.longest >= wanted) {
            scan->index = i;
            return STEP_DESCEND;
        }
        scan->run_pages = run.end == each ? scan->run_pages + each : run.end;
    }
    return STEP_NOTHING;
}

static size_t find_in_chunk(size_t chunk, size_t pages) {
    uint32_t first = mal_chunk_find(chunk_at(chunk), (uint32_t)pages);
    MAL_CHECK(first < MAL_CHUNK_PAGES, "a chunk's summary promised a run that is not there");
    return chunk * MAL_CHUNK_PAGES + first;
}

size_t mal_pages_find(size_t pages) {
    size_t first = low_page / level_pages(0);
    size_t limit = level_entries(0, chunk_count);
    struct scan scan;
    for (unsigned level = 0;; level++) {
        enum step step = scan_level(level, first, limit, pages, &scan);
        if (step == STEP_FOUND)
            return scan.page;
        if (step == STEP_NOTHING) {
            MAL_CHECK(level == 0, "a summary promised a run that is not there");
            return MAL_NO_PAGE;
        }
        if (level == LEAF)
            return find_in_chunk(scan.index, pages);
        first = scan.index << FANOUT_BITS;
        limit = first + FANOUT;
    }
}

#define NEAR_CHUNKS 64u /* that are looked through, in half a microsecond */

/* No run that is long enough ends in a chunk: what follows may begin at its end. */
static void pass_chunk(const struct mal_chunk *chunk, size_t first_page,
                       struct mal_chunk_run *run) {
    uint32_t pages = mal_chunk_memory_at_end(chunk);
    if (pages == MAL_CHUNK_PAGES)
        run->pages += pages;
    else
        *run = (struct mal_chunk_run){first_page + MAL_CHUNK_PAGES - pages, pages};
}

/* Among many gaps that are too short, each of which had to be looked at, the page heap's lock would
 * be held for 50 us: the summary tells. */
static bool may_end_in(size_t chunk, size_t pages, const struct mal_chunk_run *run) {
    struct run idle = unpack(summaries(LEAF)[chunk]);
    return idle.longest >= pages || run->pages + idle.start >= pages;
}

size_t mal_pages_find_with_memory(size_t pages, size_t chunk) {
    struct mal_chunk_run run = {chunk * MAL_CHUNK_PAGES, 0};
    size_t limit = mal_min(chunk_count, chunk + NEAR_CHUNKS);
    for (; chunk < limit; chunk++) {
        size_t first_page = chunk * MAL_CHUNK_PAGES;
        if (summaries(LEAF)[chunk] == 0)
            run = (struct mal_chunk_run){first_page + MAL_CHUNK_PAGES, 0};
        else if (!may_end_in(chunk, pages, &run))
            pass_chunk(chunk_at(chunk), first_page, &run);
        else if (mal_chunk_find_with_memory(chunk_at(chunk), first_page, pages, &run))
            return run.first;
    }
    return MAL_NO_PAGE;
}

/* Applies `apply` to each chunk's part of a range; returns the sum of what it returns. */
static size_t over_chunks(size_t first_page, size_t pages,
                          uint32_t (*apply)(struct mal_chunk *, uint32_t, uint32_t)) {
    size_t sum = 0;
    for (size_t page = first_page, left = pages; left > 0;) {
        uint32_t in_chunk = page % MAL_CHUNK_PAGES;
        uint32_t step = (uint32_t)mal_min(MAL_CHUNK_PAGES - in_chunk, left);
        sum += apply(chunk_at(page / MAL_CHUNK_PAGES), in_chunk, step);
        page += step;
        left -= step;
    }
    return sum;
}

static uint32_t give_part(struct mal_chunk *chunk, uint32_t first, uint32_t pages) {
    mal_chunk_give(chunk, first, pages);
    return 0;
}

static uint32_t count_part(struct mal_chunk *chunk, uint32_t first, uint32_t pages) {
    return mal_chunk_count_released(chunk, first, pages);
}

size_t mal_pages_released_in(size_t first_page, size_t pages) {
    return over_chunks(first_page, pages, count_part);
}

static uint32_t mark_part(struct mal_chunk *chunk, uint32_t first, uint32_t pages) {
    mal_chunk_mark_released(chunk, first, pages);
    return 0;
}

static void rebuild_range(size_t first_page, size_t pages) {
    rebuild(first_page / MAL_CHUNK_PAGES, (first_page + pages - 1) / MAL_CHUNK_PAGES);
}

size_t mal_pages_take(size_t first_page, size_t pages) {
    size_t released = over_chunks(first_page, pages, mal_chunk_take);
    rebuild_range(first_page, pages);
    if (first_page <= low_page)
        low_page = mal_max(low_page, first_page + pages);
    return released;
}

void mal_pages_give(size_t first_page, size_t pages) {
    over_chunks(first_page, pages, give_part);
    rebuild_range(first_page, pages);
    low_page = mal_min(low_page, first_page);
}

void mal_pages_mark_released(size_t first_page, size_t pages) {
    over_chunks(first_page, pages, mark_part);
}

static size_t free_run_in_chunk(size_t page) {
    const struct mal_chunk *chunk = chunk_at(page / MAL_CHUNK_PAGES);
    uint32_t at = page % MAL_CHUNK_PAGES;
    uint32_t limit = at;
    while (limit < MAL_CHUNK_PAGES && !(chunk->used[limit / 64] >> (limit % 64) & 1))
        limit++;
    return limit - at;
}

size_t mal_pages_free_behind(size_t page, size_t most) {
    size_t count = 0;
    while (count < most && page / MAL_CHUNK_PAGES < chunk_count &&
           summaries(LEAF)[page / MAL_CHUNK_PAGES] != 0) {
        size_t run = free_run_in_chunk(page);
        count += run;
        page += run;
        if (run == 0 || page % MAL_CHUNK_PAGES != 0)
            break;
    }
    return mal_min(count, most);
}

size_t mal_pages_find_resident(size_t most, uint32_t unit, size_t *cursor_chunk,
                               size_t *ret_first_page) {
    size_t chunk = mal_min(*cursor_chunk + 1, chunk_count);
    while (chunk-- > 0) {
        uint32_t first = 0;
        /* A leaf without free pages cannot hold resident free ones. */
        uint32_t pages =
            summaries(LEAF)[chunk] == 0
                ? 0
                : mal_chunk_find_resident(chunk_at(chunk), (uint32_t)most, unit, &first);
        *cursor_chunk = chunk;
        if (pages > 0) {
            *ret_first_page = chunk * MAL_CHUNK_PAGES + first;
            return pages;
        }
    }
    return 0;
}

bool mal_pages_chunk_is_released(size_t chunk) {
    uint64_t all = ~0ull;
    for (unsigned word = 0; word < MAL_CHUNK_WORDS; word++)
        all &= chunk_at(chunk)->released[word];
    return all == ~0ull;
}

size_t mal_pages_chunks(void) {
    return chunk_count;
}
