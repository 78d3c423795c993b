/* SPDX-License-Identifier: Apache-2.0
 *
 * Appending to the tables of a box.
 *
 * Path up: make room, write the entry, publish the count by store-release; a reader that loads the
 * count sees whole entries below it. An index, once given out, means the same for as long as the
 * box exists.
 *
 * SYNCHRONIZATION
 *   1. Appending wants the PROFILE lock held by the caller.
 *   2. Looking at what was appended needs none: an index below the published count.
 *   3. Counters of samples that found no room, and of a bucket, are relaxed atomics.
 *
 * Must never allocate, never change what was published but for those counters.
 */
#include "box/writer.h"

#include "box/writer_private.h"

#include "base/atomic.h"

#include <string.h>

struct mal_box_string mal_writer_add_string(const char *text, size_t bytes) {
    struct mal_box_header *header = mal_writer_header();
    struct mal_box_string string = {header->strings_used, 0};
    uint64_t end = (uint64_t)header->strings_used + bytes;
    if (end > MAL_BOX_STRINGS_BYTES || !mal_writer_ensure(MAL_BOX_STRINGS, end))
        return string;
    memcpy((char *)mal_writer_section(MAL_BOX_STRINGS) + string.offset, text, bytes);
    string.bytes = (uint32_t)bytes;
    mal_store_release(&header->strings_used, (uint32_t)end);
    return string;
}

uint32_t mal_writer_add_stack(const uintptr_t *pcs, size_t depth) {
    struct mal_box_header *header = mal_writer_header();
    uint64_t end = (uint64_t)header->stacks_used + depth + 1;
    if (end > MAL_BOX_STACK_WORDS || !mal_writer_ensure(MAL_BOX_STACKS, end * sizeof(uint64_t)))
        return MAL_BOX_NONE;
    uint32_t at = header->stacks_used;
    uint64_t *words = (uint64_t *)mal_writer_section(MAL_BOX_STACKS) + at;
    words[0] = depth;
    for (size_t i = 0; i < depth; i++)
        words[i + 1] = pcs[i];
    mal_store_release(&header->stacks_used, (uint32_t)end);
    return at;
}

uint32_t mal_writer_add_bucket(const struct mal_box_bucket *key) {
    struct mal_box_header *header = mal_writer_header();
    uint32_t at = header->buckets_used;
    if (at >= MAL_BOX_BUCKETS_MAX ||
        !mal_writer_ensure(MAL_BOX_BUCKETS, (at + 1ull) * sizeof *key) ||
        !mal_writer_ensure(MAL_BOX_COUNTS, mal_box_counts_bytes(at + 1, header->stripes)))
        return MAL_BOX_NONE;
    *mal_writer_bucket(at) = *key;
    mal_store_release(&header->buckets_used, at + 1);
    return at;
}

bool mal_writer_add_module(const struct mal_box_module *module) {
    struct mal_box_header *header = mal_writer_header();
    uint32_t at = header->modules_used;
    if (at >= MAL_BOX_MODULES_MAX ||
        !mal_writer_ensure(MAL_BOX_MODULES, (at + 1ull) * sizeof *module))
        return false;
    *mal_writer_module(at) = *module;
    mal_writer_module(at)->first_stack = header->stacks_used;
    mal_store_release(&header->modules_used, at + 1);
    return true;
}

struct mal_box_bucket *mal_writer_bucket(uint32_t index) {
    return (struct mal_box_bucket *)mal_writer_section(MAL_BOX_BUCKETS) + index;
}

struct mal_writer_counts mal_writer_counts(void) {
    return (struct mal_writer_counts){mal_writer_section(MAL_BOX_COUNTS),
                                      mal_writer_header()->stripes};
}

const uint64_t *mal_writer_stack(uint32_t word) {
    return (const uint64_t *)mal_writer_section(MAL_BOX_STACKS) + word;
}

uint32_t mal_writer_module_count(void) {
    return mal_load_acquire(&mal_writer_header()->modules_used);
}

struct mal_box_module *mal_writer_module(uint32_t index) {
    return (struct mal_box_module *)mal_writer_section(MAL_BOX_MODULES) + index;
}

void mal_writer_drop(uint64_t bytes) {
    mal_add_relaxed(&mal_writer_header()->dropped_samples, 1);
    mal_add_relaxed(&mal_writer_header()->dropped_bytes, bytes);
}

void mal_writer_set_rate(uint64_t rate_bytes) {
    if (mal_writer_is_open())
        mal_store_relaxed(&mal_writer_header()->mem_profile_rate, rate_bytes);
}
