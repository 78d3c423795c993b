/* SPDX-License-Identifier: Apache-2.0
 *
 * Sampling of the collected heap: the same Poisson process by bytes as malloc's (sample/sampler.c),
 * at no cost to the fast path.
 *
 * A window is charged when it is opened, not object by object. When the next sample falls into it,
 * the window ends in front of the object that the sample hits; that object is the first of `rest`
 * and is handed out by the slow path, which knows by that. The next gap is drawn when `rest` is
 * opened in its turn. What is charged and then not handed out takes the samples with it that fell
 * there: the process has no memory, so what is handed out gets its share whatever lay between.
 *
 * Path down: a span remembers which of its objects may be known to the profiler, as 64 bits by
 * object number; of those that die it asks.
 *
 * SYNCHRONIZATION: the counters belong to the cache's owner; a span's bits are relaxed atomics, set
 * before the profiler learns of the object.
 *
 * Must never draw inside the fast path.
 */
#include "gc/alloc.h"

#include "base/bits.h"
#include "meta/pagemap.h"
#include "os/env.h"
#include "sample/profile.h"
#include "sample/sampler.h"

static void draw(struct mal_gc_cache *cache) {
    if (cache->sample_random == 0)
        cache->sample_random = mal_random_seed() | 1;
    cache->sample_rate = mal_profile_rate();
    cache->sample_bytes = mal_sampler_draw(&cache->sample_random, cache->sample_rate) - 1;
}

/* A rate that was changed counts from the next window on. */
static void follow_rate(struct mal_gc_cache *cache) {
    if (cache->sample_random == 0 || cache->sample_rate != mal_profile_rate())
        draw(cache);
}

static uint64_t lowest_bits(uint64_t bits, uint64_t count) {
    uint64_t left = bits;
    for (; count > 0 && left; count--)
        left &= left - 1;
    return bits & ~left;
}

uint64_t mal_gc_sample_split(struct mal_gc_cache *cache, uint64_t free, uint64_t bytes) {
    follow_rate(cache);
    int64_t all = (int64_t)((uint64_t)mal_popcount(free) * bytes);
    if (cache->sample_bytes >= all) {
        cache->sample_bytes -= all;
        return free;
    }
    uint64_t before = (uint64_t)cache->sample_bytes / bytes;
    draw(cache);
    return lowest_bits(free, before);
}

bool mal_gc_sample_due(struct mal_gc_cache *cache, uint64_t bytes, uint64_t *ret_rate) {
    follow_rate(cache);
    *ret_rate = cache->sample_rate;
    cache->sample_bytes -= (int64_t)bytes;
    if (cache->sample_bytes >= 0)
        return false;
    draw(cache);
    return *ret_rate != 0;
}

/* ---- recording ---- */

static uint64_t sampled_bit(const struct mal_span *span, uint64_t offset) {
    uint64_t inside = offset - mal_gc_span_offset(span);
    unsigned class = span->gc.span_class >> 1;
    if (class == MAL_GC_CLASS_LARGE)
        return 1;
    return 1ull << (inside * mal_gc_class[class].divide_magic >> MAL_GC_DIVIDE_SHIFT & 63);
}

void mal_gc_sample_record(uintptr_t object, uint64_t bytes, uint64_t rate) {
    struct mal_span *span = mal_pagemap_span_at((void *)object);
    mal_or_relaxed(&span->gc.sampled, sampled_bit(span, mal_gc_offset(object)));
    mal_profile_alloc(object, bytes, rate, MAL_BOX_KIND_GC);
}

void mal_gc_sample_died(struct mal_span *span, uint64_t offset, uint64_t objects) {
    uint64_t sampled = mal_load_relaxed(&span->gc.sampled);
    for (; sampled && objects; objects &= objects - 1) {
        uint64_t object = offset + ((uint64_t)__builtin_ctzll(objects) << MAL_GRANULE_SHIFT);
        if (sampled & sampled_bit(span, object))
            mal_profile_free(mal_gc_tables.base + object, span->gc.object_bytes);
    }
}
