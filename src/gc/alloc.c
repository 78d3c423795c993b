/* SPDX-License-Identifier: Apache-2.0
 *
 * Allocation from the collected heap.
 *
 * Fast path: inside a critical section, take the lowest bit of the thread's window. Everything
 * else was done when the window was opened (gc/refill.c), and the pointer bits need to be written
 * only where they were guessed wrong. Slow path: the next window, another span (charged for outside
 * critical sections, because paying may mean to mark), a sample, a tiny block (gc/tiny.c), an
 * object with a span of its own (gc/large.c), or the very first allocation of the thread or the
 * process.
 *
 * SYNCHRONIZATION: gc/refill.c. Between a critical section's end and the return the new object is
 * held by this stack alone, which is a root.
 *
 * Must never leave a critical section with a slot taken and not yet marked while phase == MARK.
 */
#include "gc/alloc.h"

#include "base/bits.h"
#include "base/check.h"
#include "base/no_memory.h"
#include "gc/cycle.h"
#include "mallard/gc_type.h"
#include "os/critical.h"

#include <string.h>

#define WORD_BYTES sizeof(uintptr_t)

/* What holds of an object when its critical section ends: a marker that meets a pointer to it finds
 * it, and does not have to while there is a mark. */
static bool is_ready(uintptr_t object) {
    uint64_t offset;
    uint32_t page;
    return mal_gc_resolve(object, &offset, &page) && offset == mal_gc_offset(object) &&
           (mal_gc_phase == MAL_GC_OFF || mal_gc_heap_is_marked(object));
}

/* ---- slow ---- */

/* A thread may be registered before there is a heap: libmallard-gc.so does so as soon as it is
 * loaded. */
static struct mal_gc_thread *bring_up(void) {
    if (mal_gc_self && mal_gc_is_up())
        return mal_gc_self;
    return mal_gc_ensure() == 0 ? mal_gc_thread_register() : NULL;
}

static unsigned span_class_of(const struct mal_gc_request *request) {
    return mal_class_for_small(request->bytes) << 1 | (request->layout == MAL_GC_LAYOUT_NOSCAN);
}

static uintptr_t take_lowest(const struct mal_gc_bin *bin, uint64_t *bits) {
    unsigned bit = (unsigned)__builtin_ctzll(*bits);
    *bits &= *bits - 1;
    return bin->base + ((uintptr_t)bit << MAL_GRANULE_SHIFT);
}

/* The first of `rest` is the one the sample falls on; what follows is a window of its own. */
static uintptr_t take_sampled(struct mal_gc_cache *cache, struct mal_gc_bin *bin) {
    uint64_t rest = bin->rest;
    uintptr_t object = take_lowest(bin, &rest);
    bin->window = mal_gc_sample_split(cache, rest, bin->span->gc.object_bytes);
    bin->rest = rest & ~bin->window;
    return object;
}

/* A slot of the cached span; 0 when it has no more. In a critical section. */
static uintptr_t take_slot(struct mal_gc_cache *cache, struct mal_gc_bin *bin, uint64_t *ret_rate) {
    *ret_rate = 0;
    while (!bin->window) {
        if (bin->rest) {
            *ret_rate = cache->sample_rate;
            return take_sampled(cache, bin);
        }
        if (!bin->span || !mal_gc_bin_advance(cache, bin))
            return 0;
    }
    return take_lowest(bin, &bin->window);
}

/* ---- pointer bits ---- */

/* Replaces the pointer bits of a slot, in at most two words, and guesses that there will be more
 * like it. */
static void replace_mask(struct mal_gc_bin *bin, uintptr_t object, uint64_t mask) {
    uint64_t offset = mal_gc_offset(object);
    unsigned words = (unsigned)(bin->span->gc.object_bytes / WORD_BYTES);
    bin->next_mask = mask;
    uint64_t *word = mal_gc_pointer_word(offset);
    unsigned shift = (offset / WORD_BYTES) & 63;
    uint64_t all = ~0ull >> (64 - words);
    mal_store_relaxed(word, (mal_load_relaxed(word) & ~(all << shift)) | mask << shift);
    if (shift + words <= 64)
        return;
    word = mal_gc_pointer_word(offset + MAL_GC_MASK_BYTES);
    shift = 64 - shift;
    mal_store_relaxed(word, (mal_load_relaxed(word) & ~(all >> shift)) | mask >> shift);
}

/* Whether a mask is all there is to the slot's bits. */
static bool has_mask(const struct mal_gc_request *request, uint64_t slot_bytes) {
    if (slot_bytes > MAL_GC_MASK_BYTES)
        return false;
    return request->layout == MAL_GC_LAYOUT_CONSERVATIVE ||
           (request->layout == MAL_GC_LAYOUT_TYPE && request->bytes == request->type->bytes);
}

static uint64_t mask_of(const struct mal_gc_request *request, uint64_t slot_bytes) {
    return request->layout == MAL_GC_LAYOUT_TYPE ? request->type->mask
                                                 : ~0ull >> (64 - slot_bytes / WORD_BYTES);
}

static void write_bits(struct mal_gc_bin *bin, uintptr_t object,
                       const struct mal_gc_request *request) {
    uint64_t bytes = bin->span->gc.object_bytes;
    if (!has_mask(request, bytes)) {
        mal_gc_layout_clear(mal_gc_offset(object), bytes);
        mal_gc_layout_write(mal_gc_offset(object), bytes, request);
    } else if (mask_of(request, bytes) != bin->mask)
        replace_mask(bin, object, mask_of(request, bytes));
}

/* Takes a slot and gives it its pointer bits. */
static uintptr_t take_object(struct mal_gc_thread *thread, const struct mal_gc_request *request,
                             uint64_t *ret_rate) {
    struct mal_gc_bin *bin = &thread->cache.bin[span_class_of(request)];
    mal_critical_enter();
    uintptr_t object = take_slot(&thread->cache, bin, ret_rate);
    if (object && request->layout != MAL_GC_LAYOUT_NOSCAN)
        write_bits(bin, object, request);
    MAL_ASSERT(!object || is_ready(object));
    MAL_CRITICAL_PIN(object);
    mal_critical_leave();
    return object;
}

static bool refill(struct mal_gc_thread *thread, unsigned span_class) {
    mal_critical_enter();
    uint64_t bytes = mal_gc_bin_refill(&thread->cache.bin[span_class], span_class);
    mal_critical_leave();
    if (bytes > 0 && mal_gc_hooks.charge)
        mal_gc_hooks.charge(bytes);
    return bytes > 0;
}

static void *alloc_small(struct mal_gc_thread *thread, const struct mal_gc_request *request) {
    unsigned span_class = span_class_of(request);
    uint64_t rate;
    uintptr_t object;
    /* Paying may end a cycle, which takes the span away again. */
    while (!(object = take_object(thread, request, &rate)))
        if (!refill(thread, span_class))
            return mal_no_memory();
    if (rate)
        mal_gc_sample_record(object, mal_gc_class[span_class >> 1].size_bytes, rate);
    return (void *)object;
}

void *mal_gc_alloc_slow(const struct mal_gc_request *request) {
    struct mal_gc_thread *thread = bring_up();
    if (!thread || request->bytes > PTRDIFF_MAX)
        return mal_no_memory();
    if (request->bytes <= MAL_SMALL_MAX_BYTES)
        return alloc_small(thread, request);
    uintptr_t object = mal_gc_alloc_large(thread, request);
    return object ? (void *)object : mal_no_memory();
}

/* ---- fast ---- */

/* A slot of the bin's window; 0 where it is used up. In a critical section. */
MAL_FAST uintptr_t take_fast(struct mal_gc_bin *bin) {
    uint64_t window = bin->window;
    if (MAL_UNLIKELY(window == 0))
        return 0;
    bin->window = window & (window - 1);
    return bin->base + ((uintptr_t)(unsigned)__builtin_ctzll(window) << MAL_GRANULE_SHIFT);
}

/* The stack holds the object while the thread is parked. */
static MAL_SLOW void *park_with(void *object) {
    mal_critical_park();
    mallard_gc_keepalive(object);
    return object;
}

MAL_FAST void *leave_with(uintptr_t object) {
    MAL_ASSERT(is_ready(object));
    MAL_CRITICAL_PIN(object);
    return MAL_UNLIKELY(mal_critical_leave_is_due()) ? park_with((void *)object) : (void *)object;
}

/* An end of the fast path: the slot was expected to hold another type. In its critical section. */
static __attribute__((noinline)) void *leave_with_mask(uintptr_t object, struct mal_gc_bin *bin,
                                                       uint64_t mask) {
    replace_mask(bin, object, mask);
    return leave_with(object);
}

/* The ends of the fast path when there is no slot; in its critical section. */
static MAL_SLOW void *miss(size_t bytes, enum mal_gc_layout layout,
                           const struct mallard_gc_type *type) {
    struct mal_gc_request request = {bytes, layout, type};
    mal_critical_leave();
    return mal_gc_alloc_slow(&request);
}

static bool is_noscan(const struct mallard_gc_type *type) {
    return (type->run_count | type->element_run_count) == 0;
}

MAL_SLOW void *mal_gc_alloc_typed(size_t bytes, const struct mallard_gc_type *type,
                                  enum mal_gc_layout layout) {
    struct mal_gc_request request = {bytes, is_noscan(type) ? MAL_GC_LAYOUT_NOSCAN : layout, type};
    return mal_gc_alloc_slow(&request);
}

MAL_FAST void *new_noscan(struct mal_gc_thread *thread, size_t bytes) {
    unsigned class = (uint8_t)mal_small[(bytes + 15) >> 4];
    mal_critical_enter();
    uintptr_t object = take_fast(&thread->cache.bin[class << 1 | MAL_GC_PAGE_NOSCAN]);
    if (MAL_UNLIKELY(object == 0))
        return miss(bytes, MAL_GC_LAYOUT_NOSCAN, NULL);
    return leave_with(object);
}

MAL_FAST void *new_scan(struct mal_gc_thread *thread, size_t bytes, uint64_t mask,
                        enum mal_gc_layout layout, const struct mallard_gc_type *type) {
    unsigned class = (uint8_t)mal_small[(bytes + 15) >> 4];
    mal_critical_enter();
    struct mal_gc_bin *bin = &thread->cache.bin[class << 1];
    uintptr_t object = take_fast(bin);
    if (MAL_UNLIKELY(object == 0))
        return miss(bytes, layout, type);
    if (bin->mask != mask)
        return leave_with_mask(object, bin, mask);
    return leave_with(object);
}

MAL_PUBLIC void *mallard_gc_new(const struct mallard_gc_type *type) {
    struct mal_gc_thread *thread = mal_gc_self;
    size_t bytes = type->bytes;
    if (MAL_UNLIKELY(!thread || bytes > MAL_GC_MASK_BYTES))
        return mal_gc_alloc_typed(bytes, type, MAL_GC_LAYOUT_TYPE);
    if (is_noscan(type))
        return new_noscan(thread, bytes);
    return new_scan(thread, bytes, type->mask, MAL_GC_LAYOUT_TYPE, type);
}

/* ---- the other ways in ---- */

static MAL_SLOW void *alloc_noscan_slow(size_t bytes) {
    struct mal_gc_request request = {bytes, MAL_GC_LAYOUT_NOSCAN, NULL};
    if (bytes >= MAL_GC_TINY_BYTES)
        return mal_gc_alloc_slow(&request);
    struct mal_gc_thread *thread = bring_up();
    return thread ? mal_gc_alloc_tiny(thread, mal_max(bytes, 1)) : mal_no_memory();
}

MAL_PUBLIC void *mallard_gc_alloc_noscan(size_t bytes) {
    struct mal_gc_thread *thread = mal_gc_self;
    if (MAL_UNLIKELY(!thread ||
                     bytes - MAL_GC_TINY_BYTES > MAL_SMALL_MAX_BYTES - MAL_GC_TINY_BYTES))
        return alloc_noscan_slow(bytes);
    return new_noscan(thread, bytes);
}

/* All words of the slot may be pointers. */
static void *alloc_conservative(size_t bytes) {
    struct mal_gc_thread *thread = mal_gc_self;
    struct mal_gc_request request = {mal_gc_with_end(bytes), MAL_GC_LAYOUT_CONSERVATIVE, NULL};
    if (MAL_UNLIKELY(!thread || request.bytes > MAL_GC_MASK_BYTES))
        return mal_gc_alloc_slow(&request);
    uint64_t words = (mal_small[(request.bytes + 15) >> 4] >> 8) / WORD_BYTES;
    return new_scan(thread, request.bytes, ~0ull >> (64 - words), MAL_GC_LAYOUT_CONSERVATIVE, NULL);
}

MAL_PUBLIC void *mallard_gc_alloc(size_t bytes, const struct mallard_gc_type *type) {
    if (bytes >= PTRDIFF_MAX)
        return mal_no_memory();
    if (!type)
        return alloc_conservative(bytes);
    if (bytes == type->bytes)
        return mallard_gc_new(type);
    return mal_gc_alloc_typed(mal_gc_with_end(bytes), type,
                              type->element_bytes ? MAL_GC_LAYOUT_FLEX : MAL_GC_LAYOUT_TYPE);
}
