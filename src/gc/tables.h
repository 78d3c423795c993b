/* SPDX-License-Identifier: Apache-2.0
 *
 * What marking and allocation read of the collected heap: two flat tables, by address.
 *
 * An address of the heap is handled as its offset from the page map's base.
 *
 *     page[offset / 8 KiB]   what the page is: valid, size class, noscan, and how many pages lie
 *                            between it and its span's first; 0: not of the collected heap
 *     line[offset / 1 KiB]   the bits of a window of 64 granules of 16 bytes:
 *         alloc, mark        one bit per granule, set at starts of objects only
 *         pointers           one bit per word: it may hold a pointer; scan spans only
 *
 * So all that is known of a small object lies in one cache line, and a span's descriptor is never
 * touched while marking.
 *
 *     mark bit set     =>  alloc bit set, until the sweep
 *     phase == OFF     =>  no mark bit is set in a span that is swept
 *     a span's pages are valid  <=>  it belongs to the collected heap; then its line entries exist
 *
 * SYNCHRONIZATION
 *   page      written by whoever makes or frees the span, which nobody else knows then; release,
 *             before any pointer into the span escapes; relaxed by readers, which have the pointer
 *   alloc     atomic: set by the thread that caches the span, one window at a time; cleared by the
 *             same when it hands the rest back, by mallard_gc_free under the class's lock, and by
 *             the one who sweeps
 *   mark      atomic OR by anybody who marks, only while phase == MARK; cleared by the one who
 *             sweeps the span
 *   pointers  relaxed: by the thread that caches the span, for objects that it hands out; no two
 *             spans share a word
 *   limit     grows by release after the tables behind it are committed; TABLES lock
 */
#ifndef MAL_GC_TABLES_H
#define MAL_GC_TABLES_H

#include "base/atomic.h"
#include "base/attr.h"
#include "meta/classes.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MAL_GC_WINDOW_BYTES 1024u
#define MAL_GC_MASK_BYTES 512u /* what one word of pointer bits describes */
#define MAL_GC_WINDOWS_PER_PAGE (MAL_PAGE_BYTES / MAL_GC_WINDOW_BYTES)

#define MAL_GC_PAGE_NOSCAN 1u
#define MAL_GC_PAGE_VALID 0x100u
#define MAL_GC_PAGE_OFFSET_SHIFT 9
#define MAL_GC_PAGE_OFFSET_MAX ((1u << 23) - 1) /* in pages; farther ones are found in steps */

/* The class of objects that own their span. */
#define MAL_GC_CLASS_LARGE 0u
/* Size classes 1 .. MAL_GC_CLASS_COUNT - 1 are mal_class's up to MAL_SMALL_MAX_BYTES. */
#define MAL_GC_CLASS_COUNT MAL_SMALL_CLASS_COUNT
/* A span class is size class << 1 | noscan. */
#define MAL_GC_SPAN_CLASSES (2 * MAL_GC_CLASS_COUNT)

struct mal_gc_line {
    uint64_t alloc;
    uint64_t mark;
    uint64_t pointers[2];
};

/* With e = magic * size - 2^SHIFT < size, the quotient is right while offset * e < 2^SHIFT: sizes
 * are at most 2^15, spans at most 2^20. The smallest size, 2^4, fits 32 bits. */
#define MAL_GC_DIVIDE_SHIFT 35

struct mal_gc_class {
    uint32_t size_bytes;
    uint32_t divide_magic; /* offset / size == offset * magic >> SHIFT for offsets in one span */
    uint32_t span_pages;
    uint32_t objects;
    const uint64_t *starts; /* per window of the span: the granules where objects begin */
};

struct mal_gc_tables {
    uintptr_t base;
    uint64_t limit; /* offsets below it have tables */
    uint32_t *page;
    struct mal_gc_line *line;
};

extern MAL_HIDDEN struct mal_gc_tables mal_gc_tables;
extern MAL_HIDDEN struct mal_gc_class mal_gc_class[MAL_GC_CLASS_COUNT];

/* Reserves the tables and describes the classes. 0 or -ENOMEM, then it may be tried again. Once,
 * under the collector's start lock, after the page map. */
int mal_gc_tables_init(void);

/* Makes the tables valid for everything below `offset`. 0 or -ENOMEM. */
int mal_gc_tables_extend(uint64_t offset);

/* Enters or removes a span of `pages` at `offset`; its lines are clear before and after. */
void mal_gc_tables_enter(uint64_t offset, size_t pages, unsigned span_class);
void mal_gc_tables_remove(uint64_t offset, size_t pages);

/* Gives back the memory of lines that no span needs, once much was removed. */
void mal_gc_tables_trim(void);

void mal_gc_tables_before_fork(void);
void mal_gc_tables_after_fork(void);

MAL_FAST uint64_t mal_gc_offset(uintptr_t address) {
    return address - mal_gc_tables.base;
}

MAL_FAST bool mal_gc_covers(uint64_t offset) {
    return offset < mal_load_relaxed(&mal_gc_tables.limit);
}

MAL_FAST uint32_t mal_gc_page_at(uint64_t offset) {
    return mal_load_relaxed(&mal_gc_tables.page[offset >> MAL_PAGE_SHIFT]);
}

MAL_FAST unsigned mal_gc_page_span_class(uint32_t page) {
    return (uint8_t)page;
}

MAL_FAST struct mal_gc_line *mal_gc_line_at(uint64_t offset) {
    return &mal_gc_tables.line[offset / MAL_GC_WINDOW_BYTES];
}

MAL_FAST uint64_t mal_gc_bit_at(uint64_t offset) {
    return 1ull << (offset >> MAL_GRANULE_SHIFT & 63);
}

/* The pointer bits of the 64 words from offset (a multiple of 512) on. */
MAL_FAST uint64_t *mal_gc_pointer_word(uint64_t offset) {
    return &mal_gc_line_at(offset)->pointers[offset >> 9 & 1];
}

/* From a bit per granule to a bit for the first word of each. */
static inline uint64_t mal_gc_spread(uint32_t granules) {
    uint64_t bits = granules;
    bits = (bits | bits << 16) & 0x0000ffff0000ffffull;
    bits = (bits | bits << 8) & 0x00ff00ff00ff00ffull;
    bits = (bits | bits << 4) & 0x0f0f0f0f0f0f0f0full;
    bits = (bits | bits << 2) & 0x3333333333333333ull;
    return (bits | bits << 1) & 0x5555555555555555ull;
}

/* First page of a span too long for the page's own distance: in steps. */
uint64_t mal_gc_span_start_far(uint64_t page_number);

/* Where the span begins whose page entry is `page`. */
MAL_FAST uint64_t mal_gc_span_start(uint64_t offset, uint32_t page) {
    uint32_t distance = page >> MAL_GC_PAGE_OFFSET_SHIFT;
    if (MAL_UNLIKELY(distance == MAL_GC_PAGE_OFFSET_MAX))
        return mal_gc_span_start_far(offset >> MAL_PAGE_SHIFT) << MAL_PAGE_SHIFT;
    return ((offset >> MAL_PAGE_SHIFT) - distance) << MAL_PAGE_SHIFT;
}

/* Where the slot begins that holds the offset, allocated or not; `page` is its entry, not 0. In the
 * tail of a span that no slot fills, the offset of a granule at which no object begins. */
MAL_FAST uint64_t mal_gc_slot_start(uint64_t offset, uint32_t page) {
    uint64_t start = mal_gc_span_start(offset, page);
    unsigned class = mal_gc_page_span_class(page) >> 1;
    if (class == MAL_GC_CLASS_LARGE)
        return start;
    uint64_t index = (offset - start) * mal_gc_class[class].divide_magic >> MAL_GC_DIVIDE_SHIFT;
    return start + index * mal_gc_class[class].size_bytes;
}

/* The offset of the allocated object that holds the address. False: there is none. */
static inline bool mal_gc_resolve(uintptr_t address, uint64_t *ret_offset, uint32_t *ret_page) {
    uint64_t offset = mal_gc_offset(address);
    uint32_t page = mal_gc_covers(offset) ? mal_gc_page_at(offset) : 0;
    if (page == 0)
        return false;
    *ret_page = page;
    *ret_offset = mal_gc_slot_start(offset, page);
    return mal_load_relaxed(&mal_gc_line_at(*ret_offset)->alloc) & mal_gc_bit_at(*ret_offset);
}

#endif
