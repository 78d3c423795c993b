/* SPDX-License-Identifier: Apache-2.0
 *
 * Bit arithmetic on one chunk.
 *
 * Measuring goes word by word, with shifts inside a word; finding walks edge by edge with
 * count-trailing-zeros. The shapes are those of Go's page allocator: first fit from low addresses
 * for allocation, from high addresses for release, so that the two meet in the middle and the
 * heap's top empties first.
 *
 * SYNCHRONIZATION: stateless; the caller holds the page heap's lock.
 */
#include "pageheap/chunk.h"

#include "base/bits.h"
#include "base/check.h"

#define HUGE_PAGES 256u /* pages of a 2 MiB block */

/* The first page at or after `from` whose bit differs from `flip`'s (0: first set bit, ~0: first
 * clear one), MAL_CHUNK_PAGES when none is left. */
static uint32_t next_edge(const uint64_t *words, uint32_t from, uint64_t flip) {
    if (from >= MAL_CHUNK_PAGES)
        return MAL_CHUNK_PAGES;
    uint32_t word = from / 64;
    uint64_t bits = (words[word] ^ flip) & (~0ull << (from % 64));
    while (bits == 0) {
        if (++word == MAL_CHUNK_WORDS)
            return MAL_CHUNK_PAGES;
        bits = words[word] ^ flip;
    }
    return word * 64 + (uint32_t)__builtin_ctzll(bits);
}

static uint32_t next_used(const struct mal_chunk *chunk, uint32_t from) {
    return next_edge(chunk->used, from, 0);
}

static uint32_t next_free(const struct mal_chunk *chunk, uint32_t from) {
    return next_edge(chunk->used, from, ~0ull);
}

/* Bit i of the result: pages i .. i + length of the word are all free. */
static uint64_t starts_of_runs(uint64_t free_bits, uint32_t length) {
    for (uint32_t have = 1, step; have < length; have += step) {
        step = (uint32_t)mal_min(have, length - have);
        free_bits &= free_bits >> step;
    }
    return free_bits;
}

/* The longest run inside one word, if it is longer than `longest`. */
static uint32_t longest_in_word(uint64_t free_bits, uint32_t longest) {
    if (longest >= 64)
        return longest;
    uint64_t starts = starts_of_runs(free_bits, longest + 1);
    for (; starts; starts &= starts >> 1)
        longest++;
    return longest;
}

/* Word by word: a run that crosses words is the high end of one and the low end of the next. */
struct mal_chunk_runs mal_chunk_measure(const struct mal_chunk *chunk) {
    struct mal_chunk_runs runs = {0, 0, 0};
    uint32_t all_before_free = 1;
    for (uint32_t word = 0; word < MAL_CHUNK_WORDS; word++) {
        uint64_t used = chunk->used[word];
        if (used == 0) {
            runs.end += 64;
            continue;
        }
        runs.end += (uint32_t)__builtin_ctzll(used);
        if (all_before_free)
            runs.start = runs.end;
        all_before_free = 0;
        runs.longest = longest_in_word(~used, (uint32_t)mal_max(runs.longest, runs.end));
        runs.end = (uint32_t)__builtin_clzll(used);
    }
    if (all_before_free)
        runs.start = runs.end;
    runs.longest = (uint32_t)mal_max(runs.longest, runs.end);
    return runs;
}

uint32_t mal_chunk_find(const struct mal_chunk *chunk, uint32_t pages) {
    uint32_t first = 0;
    while ((first = next_free(chunk, first)) < MAL_CHUNK_PAGES) {
        uint32_t limit = next_used(chunk, first);
        if (limit - first >= pages)
            return first;
        first = limit;
    }
    return MAL_CHUNK_PAGES;
}

static unsigned ones_at_low_end(uint64_t bits) {
    return ~bits ? (unsigned)__builtin_ctzll(~bits) : 64;
}

/* A run goes on over a word, whose bit i says that page i cannot be had. */
static bool extend_run(struct mal_chunk_run *run, size_t first_page, uint64_t taken,
                       size_t wanted) {
    for (unsigned at = 0; at < 64;) {
        uint64_t rest = taken >> at;
        unsigned clear = rest ? (unsigned)__builtin_ctzll(rest) : 64 - at;
        run->pages += clear;
        at += clear;
        if (run->pages >= wanted)
            return true;
        if (at < 64) {
            at += ones_at_low_end(taken >> at);
            *run = (struct mal_chunk_run){first_page + at, 0};
        }
    }
    return false;
}

bool mal_chunk_find_with_memory(const struct mal_chunk *chunk, size_t first_page, size_t wanted,
                                struct mal_chunk_run *run) {
    for (uint32_t word = 0; word < MAL_CHUNK_WORDS; word++)
        if (extend_run(run, first_page + word * 64, chunk->used[word] | chunk->released[word],
                       wanted))
            return true;
    return false;
}

uint32_t mal_chunk_memory_at_end(const struct mal_chunk *chunk) {
    for (uint32_t word = MAL_CHUNK_WORDS; word-- > 0;) {
        uint64_t taken = chunk->used[word] | chunk->released[word];
        if (taken != 0)
            return MAL_CHUNK_PAGES - (word * 64 + mal_log2_floor(taken) + 1);
    }
    return MAL_CHUNK_PAGES;
}

/* Calls for each word that [first, first + pages) touches, with the mask of its bits. */
#define FOR_EACH_MASK(first, pages, word, mask)                                                    \
    for (uint32_t at_ = (first), left_ = (pages), word, once_, step_;                              \
         left_ > 0 && (word = at_ / 64, step_ = (uint32_t)mal_min(64 - at_ % 64, left_), 1);       \
         at_ += step_, left_ -= step_)                                                             \
        for (uint64_t mask = (once_ = 1, mal_mask(at_ % 64, step_)); once_; once_ = 0)

uint32_t mal_chunk_count_released(const struct mal_chunk *chunk, uint32_t first, uint32_t pages) {
    uint32_t released = 0;
    FOR_EACH_MASK(first, pages, word, mask) {
        released += mal_popcount(chunk->released[word] & mask);
    }
    return released;
}

uint32_t mal_chunk_take(struct mal_chunk *chunk, uint32_t first, uint32_t pages) {
    uint32_t released = 0;
    FOR_EACH_MASK(first, pages, word, mask) {
        MAL_ASSERT((chunk->used[word] & mask) == 0);
        if (chunk->released[word] & mask)
            released += mal_popcount(chunk->released[word] & mask);
        chunk->used[word] |= mask;
        chunk->released[word] &= ~mask;
    }
    return released;
}

void mal_chunk_give(struct mal_chunk *chunk, uint32_t first, uint32_t pages) {
    FOR_EACH_MASK(first, pages, word, mask) {
        MAL_CHECK((chunk->used[word] & mask) == mask, "a free page was freed");
        chunk->used[word] &= ~mask;
    }
}

void mal_chunk_mark_released(struct mal_chunk *chunk, uint32_t first, uint32_t pages) {
    FOR_EACH_MASK(first, pages, word, mask) {
        MAL_ASSERT((chunk->used[word] & mask) == 0);
        chunk->released[word] |= mask;
    }
}

/* Of a word's bits those that belong to a whole group of `unit` set bits. */
static uint64_t whole_groups(uint64_t bits, uint32_t unit) {
    static const uint64_t first_of_group[] = {~0ull,
                                              0x5555555555555555ull,
                                              0x1111111111111111ull,
                                              0x0101010101010101ull,
                                              0x0001000100010001ull,
                                              0x0000000100000001ull,
                                              1};
    for (uint32_t step = 1; step < unit; step *= 2)
        bits &= bits >> step;
    bits &= first_of_group[mal_log2_floor(unit)];
    for (uint32_t step = 1; step < unit; step *= 2)
        bits |= bits << step;
    return bits;
}

static uint64_t resident_bits(const struct mal_chunk *chunk, uint32_t word, uint32_t unit) {
    return whole_groups(~(chunk->used[word] | chunk->released[word]), unit);
}

static uint32_t page_is_resident(const struct mal_chunk *chunk, uint32_t page, uint32_t unit) {
    return (uint32_t)(resident_bits(chunk, page / 64, unit) >> (page % 64)) & 1;
}

static uint32_t huge_block_is_free(const struct mal_chunk *chunk, uint32_t first) {
    for (uint32_t word = first / 64; word < (first + HUGE_PAGES) / 64; word++)
        if (resident_bits(chunk, word, 1) != ~0ull)
            return 0;
    return 1;
}

/* One past the highest resident free page; 0 when there is none. */
static uint32_t highest_resident_limit(const struct mal_chunk *chunk, uint32_t unit) {
    for (uint32_t word = MAL_CHUNK_WORDS; word-- > 0;) {
        uint64_t bits = resident_bits(chunk, word, unit);
        if (bits)
            return word * 64 + mal_log2_floor(bits) + 1;
    }
    return 0;
}

uint32_t mal_chunk_find_resident(const struct mal_chunk *chunk, uint32_t most, uint32_t unit,
                                 uint32_t *ret_first) {
    uint32_t limit = highest_resident_limit(chunk, unit);
    if (limit == 0)
        return 0;
    uint32_t first = limit - 1;
    while (first > 0 && limit - first < most && page_is_resident(chunk, first - 1, unit))
        first--;
    first = (uint32_t)mal_round_down(first, unit);
    uint32_t huge_first = (uint32_t)mal_round_down(first, HUGE_PAGES);
    if (huge_first + HUGE_PAGES <= limit && huge_block_is_free(chunk, huge_first))
        first = huge_first;
    *ret_first = first;
    return limit - first;
}
