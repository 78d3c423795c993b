/* SPDX-License-Identifier: Apache-2.0
 *
 * A chunk: 512 pages, 4 MiB, as two bitmaps. The unit in which the heap grows and the leaf of the
 * radix tree.
 *
 * Invariants: released[i] implies !used[i]. A chunk that was never mapped has no leaf summary and
 * is never looked at. All functions run under the page heap's lock.
 */
#ifndef MAL_PAGEHEAP_CHUNK_H
#define MAL_PAGEHEAP_CHUNK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MAL_CHUNK_PAGES 512u
#define MAL_CHUNK_WORDS (MAL_CHUNK_PAGES / 64)

struct mal_chunk {
    uint64_t used[MAL_CHUNK_WORDS];     /* bit i: page i belongs to a span or is being released */
    uint64_t released[MAL_CHUNK_WORDS]; /* bit i: page i is free and the OS has its memory */
};

/* Free pages at the low end, the longest free run, free pages at the high end; 0..512 each. */
struct mal_chunk_runs {
    uint32_t start, longest, end;
};

struct mal_chunk_runs mal_chunk_measure(const struct mal_chunk *chunk);

/* The first page of the first run of `pages` free pages, MAL_CHUNK_PAGES when there is none. */
uint32_t mal_chunk_find(const struct mal_chunk *chunk, uint32_t pages);

/* Goes on over a chunk from a run of pages that ended with the one before it, until a run of free
 * pages that have memory is long enough. True when one is; the run may reach into the next chunk
 * otherwise. */
struct mal_chunk_run {
    size_t first, pages;
};
bool mal_chunk_find_with_memory(const struct mal_chunk *chunk, size_t first_page, size_t wanted,
                                struct mal_chunk_run *run);

/* The length of the run of free pages that have memory at a chunk's end. */
uint32_t mal_chunk_memory_at_end(const struct mal_chunk *chunk);

/* Of a range those pages that were released. */
uint32_t mal_chunk_count_released(const struct mal_chunk *chunk, uint32_t first, uint32_t pages);

/* Ranges lie inside the chunk and are not empty. `take` returns how many of the pages had been
 * released; it clears those marks. */
uint32_t mal_chunk_take(struct mal_chunk *chunk, uint32_t first, uint32_t pages);
void mal_chunk_give(struct mal_chunk *chunk, uint32_t first, uint32_t pages);
void mal_chunk_mark_released(struct mal_chunk *chunk, uint32_t first, uint32_t pages);

/* The highest run of pages that are free and not released, in groups of `unit` pages (a power of
 * two, at most 64) that begin at multiples of it; at most `most` pages long, rounded up to whole
 * groups. Returns its length, 0 when there is none. A whole free 2 MiB block is not split: the run
 * is extended down to the block's start. */
uint32_t mal_chunk_find_resident(const struct mal_chunk *chunk, uint32_t most, uint32_t unit,
                                 uint32_t *ret_first);

#endif
