/* SPDX-License-Identifier: Apache-2.0
 *
 * What the parts of marking share: mark.c has the workers and the end, mark_scan.c the kernel,
 * mark_queue.c what happens to a full buffer, mark_rescan.c what is scanned again. What all of them
 * do with each word is inline.
 */
#ifndef MAL_GC_MARK_PRIVATE_H
#define MAL_GC_MARK_PRIVATE_H

#include "base/attr.h"
#include "gc/heap.h"
#include "gc/spans.h"
#include "gc/tables.h"
#include "gc/work.h"
#include "meta/pagemap.h"
#include "os/critical.h"

#include <stdbool.h>
#include <stdint.h>

#define MAL_GC_WORD_BYTES sizeof(uintptr_t)

/* Nonzero: marked objects were dropped from a queue, so that all marked ones are to be scanned
 * again. Set by mark_queue.c, cleared by mark.c; relaxed atomic. */
extern MAL_HIDDEN uint32_t mal_gc_mark_overflowed;

/* mark.c. From here on the worker counts as one that may have items: before it makes one. Inside a
 * critical section, as all below. */
void mal_gc_worker_hold(struct mal_gc_worker *worker);

/* mark_queue.c. Marks what is queued unmarked; what remains is grey. */
void mal_gc_mark_sift(struct mal_gc_worker *worker);
/* Half of a sifted buffer goes to the others. False: no memory. */
bool mal_gc_mark_share(struct mal_gc_worker *worker);
/* Room for at least one item in a buffer that is full. */
MAL_SLOW void mal_gc_mark_make_room(struct mal_gc_worker *worker);
/* mark_scan.c. The words of [from, to) that may be pointers, by the bits of their object. */
void mal_gc_mark_scan(struct mal_gc_worker *worker, uint64_t from, uint64_t to);
/* A few dozen items, fewer where they are large; false when the worker has none left. */
bool mal_gc_mark_process(struct mal_gc_worker *worker);

/* mark_rescan.c. The words of marked objects in [low, high), which lies in one page. */
void mal_gc_mark_rescan_in_page(struct mal_gc_worker *worker, uint64_t low, uint64_t high);

MAL_FAST void mal_gc_mark_push(struct mal_gc_worker *worker, uint64_t item) {
    struct mal_gc_buffer *buffer = worker->buffer;
    if (MAL_UNLIKELY(buffer->count == MAL_GC_BUFFER_ITEMS))
        mal_gc_mark_make_room(worker);
    buffer->item[buffer->count++] = item;
}

/* An offset below the tables' limit. */
MAL_FAST void mal_gc_mark_consider_offset(struct mal_gc_worker *worker, uint64_t offset) {
    uint32_t page = mal_gc_page_at(offset);
    if (page != 0)
        mal_gc_mark_push(worker, mal_gc_item(mal_gc_slot_start(offset, page), page));
}

/* A word that may be a pointer. */
MAL_FAST void mal_gc_mark_consider(struct mal_gc_worker *worker, uintptr_t word) {
    uint64_t offset = mal_gc_offset(word);
    if (mal_gc_covers(offset))
        mal_gc_mark_consider_offset(worker, offset);
}

/* A word of the program's, which may be writing it: that is what written pages are looked at again
 * for. ThreadSanitizer takes note of atomic loads wherever they are, so there it is a plain one. */
uintptr_t mal_gc_mark_peek(const uintptr_t *word);
MAL_FAST uintptr_t mal_gc_mark_load(const uintptr_t *word) {
    return MAL_STOPS_BY_NOTE ? mal_gc_mark_peek(word) : mal_load_relaxed(word);
}

MAL_FAST uintptr_t mal_gc_mark_load_word(uint64_t offset) {
    return mal_gc_mark_load((const uintptr_t *)(mal_gc_tables.base + offset));
}

/* The pointer bits of [from, to), which lie in one word. */
MAL_FAST uint64_t mal_gc_mark_pointer_bits(uint64_t from, uint64_t to) {
    uint64_t bits = mal_load_relaxed(mal_gc_pointer_word(from)) >> (from / MAL_GC_WORD_BYTES & 63);
    return bits & ~0ull >> (64 - (to - from) / MAL_GC_WORD_BYTES);
}

/* Of a large object whose alloc bit was seen: what the span said before that. */
MAL_FAST const struct mal_span *mal_gc_mark_large_span(uint64_t offset) {
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    return mal_load_relaxed(&mal_pagemap.span[offset >> MAL_PAGE_SHIFT]);
}

/* ThreadSanitizer does not know what a fence orders, so there it is not to look. */
MAL_FAST uint64_t mal_gc_mark_large_bytes(const struct mal_span *span) {
    return mal_gc_mark_load(&span->gc.object_bytes);
}

MAL_FAST uint64_t mal_gc_mark_large_end(uint64_t offset) {
    return mal_gc_span_start(offset, mal_gc_page_at(offset)) +
           mal_gc_mark_large_bytes(mal_gc_mark_large_span(offset));
}

/* Of an object of any size. */
MAL_FAST uint64_t mal_gc_mark_object_end(uint64_t object) {
    unsigned class = mal_gc_page_span_class(mal_gc_page_at(object)) >> 1;
    return class == MAL_GC_CLASS_LARGE ? mal_gc_mark_large_end(object)
                                       : object + mal_gc_class[class].size_bytes;
}

/* A mark that is set in another cycle would outlive its object. */
MAL_FAST bool mal_gc_may_mark(const struct mal_gc_worker *worker) {
    return worker->cycle == mal_load_relaxed(&mal_gc_cycle) &&
           mal_load_relaxed(&mal_gc_phase) == MAL_GC_MARK;
}

/* `count` objects of the span that `offset` lies in. */
MAL_FAST void mal_gc_count_marked(struct mal_gc_worker *worker, uint64_t offset,
                                  unsigned span_class, uint64_t count) {
    uint64_t bytes = span_class >> 1 == MAL_GC_CLASS_LARGE
                         ? mal_gc_mark_large_bytes(mal_gc_mark_large_span(offset))
                         : mal_gc_class[span_class >> 1].size_bytes * count;
    worker->marked_bytes += bytes;
    if (!(span_class & MAL_GC_PAGE_NOSCAN))
        worker->marked_scan_bytes += bytes;
}

/* The bits that this worker sets, and nobody else. */
MAL_FAST uint64_t mal_gc_set_marks(struct mal_gc_line *line, uint64_t seen, uint64_t bits) {
    while (!mal_cas_relaxed(&line->mark, &seen, seen | bits))
        ;
    return bits & ~seen;
}

#endif
