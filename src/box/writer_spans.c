/* SPDX-License-Identifier: Apache-2.0
 *
 * The map of spans in a box: which part of the heap each span covers and what lives in it, taken
 * when somebody asks.
 *
 * Path up: begin, put each span in the order of addresses, name the stacks of some, end.
 *
 * SYNCHRONIZATION. Only the background thread writes. Readers take no lock: the map is under a
 * sequence lock, odd from begin to end.
 *
 * Must never allocate, never list a span beyond what the section can hold.
 */
#include "box/writer.h"

#include "box/writer_private.h"

#include "base/atomic.h"
#include "os/clock.h"

static struct mal_box_spans *span_map(void) {
    return mal_writer_section(MAL_BOX_SPANS);
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
    if (map->count >= MAL_BOX_SPANS_MAX || !mal_writer_ensure(MAL_BOX_SPANS, end))
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
