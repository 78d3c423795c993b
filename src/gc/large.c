/* SPDX-License-Identifier: Apache-2.0
 *
 * Objects of the collected heap that own their span: above 32 KiB.
 *
 * Path up: a span, its one object allocated and (while phase == MARK) marked inside a critical
 * section; then, outside, its memory is zeroed where it is not fresh, and its pointer bits are
 * written: both may take long, and the object is held by this stack meanwhile. Path down: the sweep
 * or mallard_gc_free.
 *
 * SYNCHRONIZATION: the pointer bits are clear when the object becomes visible, so that a marker
 * does not take what lay there before for pointers.
 */
#include "gc/alloc.h"

#include "base/bits.h"
#include "os/critical.h"

#include <string.h>

static void count(const struct mal_span *span, bool black) {
    uint64_t bytes = span->gc.object_bytes;
    mal_add_relaxed(&mal_gc_totals.live_bytes, bytes);
    if (black)
        mal_add_relaxed(&mal_gc_totals.marked_bytes, bytes);
    if (mal_gc_span_is_noscan(span))
        return;
    mal_add_relaxed(&mal_gc_totals.scan_bytes, bytes);
    if (black)
        mal_add_relaxed(&mal_gc_totals.marked_scan_bytes, bytes);
}

/* The object is there from here on. */
static void publish(struct mal_span *span) {
    struct mal_gc_line *line = mal_gc_line_at(mal_gc_span_offset(span));
    struct mal_gc_central *central = &mal_gc_central[span->gc.span_class];
    count(span, mal_gc_begin_black(line, 1) != 0);
    mal_gc_allocate_slots(line, 1);
    mal_lock(&central->lock);
    mal_store_relaxed(&span->gc.free_count, 0u);
    central->mallocs++;
    central->malloc_bytes += span->gc.object_bytes;
    mal_gc_list_put(central, span, MAL_GC_FULL);
    mal_unlock(&central->lock);
}

struct fresh {
    uintptr_t object; /* 0: memory is short */
    uint64_t bytes;
    bool zeroed; /* already */
};

/* The address is taken inside: at the end of the section the thread may be stopped, and a span's
 * descriptor keeps no object alive. */
static struct fresh make(const struct mal_gc_request *request) {
    bool noscan = request->layout == MAL_GC_LAYOUT_NOSCAN;
    struct fresh fresh = {0, 0, false};
    mal_critical_enter();
    mal_gc_gate_enter();
    struct mal_span *span = mal_gc_span_new(MAL_GC_CLASS_LARGE << 1 | noscan, request->bytes);
    if (span) {
        fresh = (struct fresh){(uintptr_t)span->base, span->gc.object_bytes,
                               span->flags & MAL_SPAN_ZEROED};
        if (!noscan)
            mal_gc_layout_clear_span(mal_gc_span_offset(span), mal_span_bytes(span));
        publish(span);
    }
    mal_gc_gate_leave();
    MAL_CRITICAL_PIN(fresh.object);
    mal_critical_leave();
    return fresh;
}

uintptr_t mal_gc_alloc_large(struct mal_gc_thread *thread, const struct mal_gc_request *request) {
    uint64_t rate;
    struct fresh fresh = make(request);
    uintptr_t object = fresh.object;
    uint64_t bytes = fresh.bytes;
    if (object == 0)
        return 0;
    if (!fresh.zeroed)
        memset((void *)object, 0, bytes);
    if (request->layout != MAL_GC_LAYOUT_NOSCAN)
        mal_gc_layout_write(mal_gc_offset(object), bytes, request);
    if (mal_gc_sample_due(&thread->cache, bytes, &rate))
        mal_gc_sample_record(object, bytes, rate);
    if (mal_gc_hooks.charge)
        mal_gc_hooks.charge(bytes);
    return object;
}
