/* SPDX-License-Identifier: Apache-2.0
 *
 * Tiny objects.
 *
 * Objects without pointers below 16 bytes share blocks of 16, which live as long as any of them.
 * Path up: what is left of the thread's block, aligned as the size is; else a new block, of which
 * the larger of the two rests is kept. Path down: none, a block is swept like any object.
 *
 * SYNCHRONIZATION: the rest belongs to its thread, in critical sections: a cycle that begins takes
 * it away (gc/refill.c).
 *
 * Must never put a new object into a block that is white while phase == MARK.
 */
#include "base/bits.h"
#include "gc/alloc.h"
#include "os/critical.h"

static unsigned tiny_alignment(size_t bytes) {
    return (bytes & 7) == 0 ? 8 : (bytes & 3) == 0 ? 4 : (bytes & 1) == 0 ? 2 : 1;
}

/* From the thread's block; NULL where there is no room left. */
static void *take_tiny(struct mal_gc_cache *cache, size_t bytes) {
    uintptr_t at = mal_round_up(cache->tiny, tiny_alignment(bytes));
    if (at + bytes > cache->tiny + cache->tiny_bytes)
        return NULL;
    cache->tiny_bytes -= (uint32_t)(at + bytes - cache->tiny);
    cache->tiny = at + bytes;
    return (void *)at;
}

/* A block that was taken before the mark began is white: nothing new may be put into it. */
static bool may_share(uintptr_t block) {
    uint64_t offset = mal_gc_offset(block);
    return mal_gc_phase == MAL_GC_OFF ||
           mal_load_relaxed(&mal_gc_line_at(offset)->mark) & mal_gc_bit_at(offset);
}

static void keep_rest(struct mal_gc_thread *thread, uintptr_t block, size_t bytes) {
    mal_critical_enter();
    if (MAL_GC_TINY_BYTES - bytes > thread->cache.tiny_bytes && may_share(block)) {
        thread->cache.tiny = block + bytes;
        thread->cache.tiny_bytes = (uint32_t)(MAL_GC_TINY_BYTES - bytes);
    }
    mal_critical_leave();
}

void *mal_gc_alloc_tiny(struct mal_gc_thread *thread, size_t bytes) {
    mal_critical_enter();
    void *object = take_tiny(&thread->cache, bytes);
    MAL_CRITICAL_PIN(object);
    mal_critical_leave();
    if (object)
        return object;
    struct mal_gc_request request = {MAL_GC_TINY_BYTES, MAL_GC_LAYOUT_NOSCAN, NULL};
    object = mal_gc_alloc_slow(&request);
    if (object)
        keep_rest(thread, (uintptr_t)object, bytes);
    return object;
}
