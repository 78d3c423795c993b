/* SPDX-License-Identifier: Apache-2.0
 *
 * Which pages of the window are free: a radix tree of summaries over chunks.
 *
 * Level 4 has one summary per chunk (4 MiB); each level above summarises eight of the one below;
 * level 0 is scanned from its start. A summary packs three numbers of pages, as Go's page
 * allocator does:
 *
 *     bits  0..20  start    free pages at the low end of the range
 *     bits 21..41  longest  the longest free run inside it
 *     bits 42..62  end      free pages at its high end
 *     bit  63      alone    all three equal 2^21: a wholly free range of level 0
 *
 * A zero summary means "nothing free here", which is what an unmapped range looks like, so tables
 * of zero pages need no set-up. All functions run under the page heap's lock.
 */
#ifndef MAL_PAGEHEAP_PAGES_H
#define MAL_PAGEHEAP_PAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MAL_NO_PAGE SIZE_MAX

/* Reserves tables for a window of that many pages. 0 or -ENOMEM. */
int mal_pages_init(size_t window_pages);

/* Makes whole new chunks known, free and released. Chunk-aligned. 0 or -ENOMEM. */
int mal_pages_add(size_t first_page, size_t pages);

/* First fit by address; MAL_NO_PAGE when no run is long enough. Changes nothing. */
size_t mal_pages_find(size_t pages);

/* The first run at or behind a chunk's first page that is long enough and has its memory
 * altogether, of the next 256 MiB; MAL_NO_PAGE when there is none. Changes nothing. */
size_t mal_pages_find_with_memory(size_t pages, size_t chunk);

/* How many pages of a free range were released. */
size_t mal_pages_released_in(size_t first_page, size_t pages);

/* The range must be free. Returns how many of its pages had been released. */
size_t mal_pages_take(size_t first_page, size_t pages);
void mal_pages_give(size_t first_page, size_t pages);

/* How many free pages follow directly behind `page`, counted up to `most`. */
size_t mal_pages_free_behind(size_t page, size_t most);

/* The highest free run with memory, in whole groups of `unit` pages (chunk.h), at or below chunk
 * *cursor_chunk; moves the cursor down over chunks that have none. Returns the number of pages, 0
 * when none is left. */
size_t mal_pages_find_resident(size_t most, uint32_t unit, size_t *cursor_chunk,
                               size_t *ret_first_page);
void mal_pages_mark_released(size_t first_page, size_t pages);

/* Whether the OS has all pages of a chunk. */
bool mal_pages_chunk_is_released(size_t chunk);

/* One past the highest chunk ever added. */
size_t mal_pages_chunks(void);

#endif
