/* SPDX-License-Identifier: Apache-2.0
 *
 * Huge pages under the collected heap.
 *
 * A marker that follows pointers through a large heap needs another translation at almost every
 * object and at every line of bits; with pages of 4 KiB it waits for those more than for memory.
 * So after a sweep, beside the program, blocks of 2 MiB that are full of spans of small objects are
 * turned into huge pages, and so are the blocks of the line table that describe nothing else.
 *
 *     block is asked for  =>  each of its pages belongs to a span of small objects
 *
 * so next to nothing becomes resident that was not. Mappings get no flags: nothing is turned back
 * into huge pages behind our back after the scavenger took a part of it, and the address space
 * stays in one piece. Tracking written pages splits a huge page at its first write while marking,
 * so every block is asked for again after some passes; where nothing was split that costs little.
 *
 * Heaps below HEAP_MIN_PAGES are served by the TLB as they are. A pass takes no longer than it is
 * told; the next one goes on with what is left.
 *
 * SYNCHRONIZATION: `state` belongs to the thread that sweeps in the background. Page entries are
 * read while others change them: a block whose span goes away meanwhile may get its memory back
 * until the scavenger comes again.
 *
 * Must never be called by a thread of the program, and never looks at memory itself.
 */
#include "gc/huge.h"

#include "base/bits.h"
#include "gc/spans.h"
#include "gc/tables.h"
#include "meta/memory.h"
#include "meta/pagemap.h"
#include "os/clock.h"
#include "os/vm.h"

#include <errno.h>
#include <string.h>

#define BLOCK_BYTES ((uint64_t)MAL_VM_HUGE_BYTES)
#define BLOCK_PAGES (BLOCK_BYTES >> MAL_PAGE_SHIFT)
#define HEAP_MIN_PAGES ((64u << 20) >> MAL_PAGE_SHIFT)
#define STEP_BLOCKS 8u
#define LINES_BLOCK_BYTES (BLOCK_BYTES / sizeof(struct mal_gc_line) * MAL_GC_WINDOW_BYTES)
#define PASSES_BETWEEN 16u
#define PASSES_AFTER_REFUSAL 1u

static struct {
    enum { UNKNOWN, USABLE, UNUSABLE } usable;
    struct mal_table wait;       /* a byte per block: passes until it is asked for again */
    struct mal_table lines_wait; /* likewise, of blocks of the line table */
    uint64_t next;               /* block; where the pass is */
    uint64_t left_ns;            /* that the pass may take */
} state;

static bool set_up(void) {
    if (state.usable != UNKNOWN)
        return state.usable == USABLE;
    state.usable = UNUSABLE;
    if (!mal_vm_may_collapse() || mal_gc_tables.base % BLOCK_BYTES != 0 ||
        mal_table_reserve(&state.wait, mal_pagemap.window_bytes / BLOCK_BYTES, MAL_META_GC) != 0 ||
        mal_table_reserve(&state.lines_wait, mal_pagemap.window_bytes / LINES_BLOCK_BYTES + 1,
                          MAL_META_GC) != 0)
        return false;
    state.usable = USABLE;
    return true;
}

static bool is_worth_it(void) {
    return mal_load_relaxed(&mal_gc_totals.inuse_pages) >= HEAP_MIN_PAGES && set_up();
}

static uint64_t block_count(void) {
    return mal_load_acquire(&mal_gc_tables.limit) / BLOCK_BYTES;
}

static uint8_t *wait_of(uint64_t block) {
    return (uint8_t *)state.wait.base + block;
}

/* Large objects may never have been written to as a whole. What is not collected has their class
 * too: 0. */
static bool is_dense(uint64_t block) {
    for (uint64_t page = block * BLOCK_PAGES; page < (block + 1) * BLOCK_PAGES; page++)
        if (mal_gc_page_span_class(mal_gc_page_at(page << MAL_PAGE_SHIFT)) >> 1 ==
            MAL_GC_CLASS_LARGE)
            return false;
    return true;
}

static int collapse(uintptr_t low, uint64_t bytes) {
    uint64_t start_ns = mal_clock_mono_ns();
    int error = mal_vm_collapse((void *)low, bytes);
    state.left_ns -= mal_min(state.left_ns, mal_clock_mono_ns() - start_ns);
    return error;
}

static int collapse_blocks(uint64_t first, uint64_t blocks) {
    int error = collapse(mal_gc_tables.base + first * BLOCK_BYTES, blocks * BLOCK_BYTES);
    /* A page that is still protected, or where pages are watched one that was never touched, is
     * refused before anything costly is done. */
    bool is_refused = error == -EINVAL || error == -EBUSY;
    memset(wait_of(first), is_refused ? PASSES_AFTER_REFUSAL : PASSES_BETWEEN, blocks);
    return error;
}

/* What was never touched ends the call: the blocks behind it are asked for one by one. */
static void collapse_each(uint64_t first, uint64_t blocks) {
    if (collapse_blocks(first, blocks) != -EBUSY || blocks == 1)
        return;
    for (uint64_t block = first; block < first + blocks; block++)
        collapse_blocks(block, 1);
}

/* Blocks from `first` on, at most STEP_BLOCKS, that are dense and due. */
static uint64_t count_due(uint64_t first, uint64_t limit) {
    uint64_t block = first;
    limit = mal_min(limit, first + STEP_BLOCKS);
    while (block < limit && *wait_of(block) == 0 && is_dense(block))
        block++;
    return block - first;
}

/* The piece of the line table at `lines` describes the heap from `offset` on. */
static void collapse_lines(uintptr_t lines, uint64_t offset, uint8_t *wait) {
    uint64_t end = mal_ceil_div(offset + LINES_BLOCK_BYTES, BLOCK_BYTES);
    *wait -= *wait > 0;
    for (uint64_t block = offset / BLOCK_BYTES; block < end; block++)
        if (*wait > 0 || !is_dense(block))
            return;
    collapse(lines, BLOCK_BYTES);
    *wait = PASSES_BETWEEN;
}

/* First of all: there are few of them, every object needs one, and no write splits them. */
static void collapse_all_lines(uint64_t limit) {
    uint8_t *wait = (uint8_t *)state.lines_wait.base;
    uintptr_t table = (uintptr_t)mal_gc_tables.line;
    for (uintptr_t lines = mal_round_up(table, BLOCK_BYTES);; lines += BLOCK_BYTES) {
        uint64_t offset = (lines - table) / sizeof(struct mal_gc_line) * MAL_GC_WINDOW_BYTES;
        if (offset + LINES_BLOCK_BYTES > limit * BLOCK_BYTES || state.left_ns == 0)
            return;
        collapse_lines(lines, offset, wait++);
    }
}

void mal_gc_huge_begin(uint64_t most_ns) {
    state.next = 0;
    state.left_ns = most_ns;
    if (!is_worth_it() || mal_table_commit(&state.wait, block_count()) != 0 ||
        mal_table_commit(&state.lines_wait, block_count() * BLOCK_BYTES / LINES_BLOCK_BYTES + 1) !=
            0) {
        state.next = UINT64_MAX;
        return;
    }
    for (uint64_t block = 0; block < block_count(); block++)
        *wait_of(block) -= *wait_of(block) > 0;
}

bool mal_gc_huge_step(void) {
    uint64_t limit = mal_min(block_count(), state.wait.committed_bytes);
    if (state.next == 0)
        collapse_all_lines(limit);
    while (state.next < limit && state.left_ns > 0) {
        uint64_t first = state.next;
        uint64_t due = count_due(first, limit);
        state.next = first + mal_max(due, 1);
        if (due > 0) {
            collapse_each(first, due);
            return true;
        }
    }
    return false;
}
