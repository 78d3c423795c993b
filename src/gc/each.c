/* SPDX-License-Identifier: Apache-2.0
 *
 * A walk over all objects, as programs written for Boehm's collector ask for it
 * (GC_enumerate_reachable_objects_inner).
 *
 * Once all spans are swept, the alloc bits are those that the last collection left, and those of
 * younger objects; marks are not asked, since the next collection may be clearing or setting them.
 * Slots that threads have set aside have their alloc bits too: those of the calling thread are
 * given back first, but for those that a marker may be at; they, and those of others, are told as
 * objects, all zero.
 *
 * SYNCHRONIZATION: the whole walk is one critical section. So no stop comes in between, and with it
 * no end of marking that would make spans unswept again: whatever is swept stays as it is, but for
 * objects that are made, and freed by hand.
 *
 * Must never visit memory that may be given back to the OS.
 */
#include "base/attr.h"
#include "gc/collector.h"
#include "gc/heap.h"
#include "gc/thread.h"
#include "os/critical.h"

/* For libmallard-bdwgc.so: see bdwgc/engine.h. */
typedef void mallard_gc_visit(void *object, size_t bytes, void *data);
MAL_PUBLIC void mallard_gc_each_object(mallard_gc_visit *visit, void *data);

struct visitor {
    mallard_gc_visit *visit;
    void *data;
};

static void visit_window(const struct visitor *visitor, uint64_t offset) {
    uint64_t alloc = mal_load_relaxed(&mal_gc_line_at(offset)->alloc);
    for (; alloc; alloc &= alloc - 1) {
        uint64_t at = offset + ((uint64_t)__builtin_ctzll(alloc) << MAL_GRANULE_SHIFT);
        uintptr_t object;
        size_t bytes;
        if (mal_gc_heap_find(mal_gc_tables.base + at, &object, &bytes))
            visitor->visit((void *)object, bytes, visitor->data);
    }
}

static void visit_all(const struct visitor *visitor) {
    uint64_t limit = mal_load_acquire(&mal_gc_tables.limit);
    for (uint64_t page = 0; page < limit; page += MAL_PAGE_BYTES) {
        if (mal_gc_page_at(page) == 0)
            continue;
        for (uint64_t at = page; at < page + MAL_PAGE_BYTES; at += MAL_GC_WINDOW_BYTES)
            visit_window(visitor, at);
    }
}

void mallard_gc_each_object(mallard_gc_visit *visit, void *data) {
    struct visitor visitor = {visit, data};
    if (!mal_gc_collector_get())
        return;
    mal_critical_enter();
    if (mal_gc_self)
        mal_gc_heap_abandon(&mal_gc_self->cache);
    mal_gc_heap_before_mark();
    visit_all(&visitor);
    mal_critical_leave();
}
