/* SPDX-License-Identifier: Apache-2.0
 *
 * Chunks of arenas: made, scanned, freed, kept apart, forgotten.
 *
 * Path up: a span of the page heap that is entered in the collected heap's tables as one object
 * without pointers, in use for ever: the marker marks it when a word leads into it and never looks
 * inside. That mark is all that the quarantine needs to know. Path down: the pages go back to the
 * system and cannot be touched; the addresses stay until a cycle that began after that has found
 * no pointer to them.
 *
 * What is freed while the collector marks is PENDING until the marking ends: the marker may be
 * reading it.
 *
 * Fork may find any thread but the collector's own between two lines of this file; these stand
 * between two chunks, for each is a step (gc/steps.h). The child of a cycle whose mark has ended
 * and whose chunks are not all judged leaves those to its own first cycle.
 *
 *     on `live`  =>  readable, in children too: a chunk leaves the list before it is protected
 *
 * SYNCHRONIZATION: `lock` (rank GC_ARENAS) guards the lists. A walk over live chunks holds it only
 * from one chunk to the next; `cursor` is the chunk that comes next, moved on when that one leaves
 * the list. Chunks that come meanwhile are missed by the walk: what is written to them is dirty and
 * seen by a later one. The phase is constant inside a critical section, so a chunk is protected
 * before marking begins, or pending. end_mark runs with the world stopped.
 */
#include "gc/arena_chunk.h"

#include "base/atomic.h"
#include "base/bits.h"
#include "base/check.h"
#include "gc/arena.h"
#include "gc/arena_fault.h"
#include "gc/collector.h"
#include "gc/steps.h"
#include "meta/memory.h"
#include "meta/pagemap.h"
#include "os/critical.h"
#include "os/lock.h"
#include "os/vm.h"
#include "pageheap/span.h"

#define PATIENCE_NS 100000000u
#define PIECE_BYTES (1u << 20)

struct list {
    struct mal_arena_chunk *first;
};

static struct mal_lock lock = MAL_LOCK_INIT(MAL_RANK_GC_ARENAS);
static struct list live, pending, quarantine, judged; /* lock */
static struct mal_arena_chunk *cursor;                /* lock; next of a walk over `live` */
static struct mal_pool chunks = MAL_POOL_INIT(sizeof(struct mal_arena_chunk), MAL_META_GC);
static uint64_t live_bytes, quarantine_bytes; /* lock; read relaxed */

static size_t bytes_of(const struct mal_arena_chunk *chunk) {
    return chunk->high - chunk->low;
}

static void push(struct list *list, struct mal_arena_chunk *chunk) {
    chunk->previous = NULL;
    chunk->next = list->first;
    if (list->first)
        list->first->previous = chunk;
    list->first = chunk;
}

static void unlink_from(struct list *list, struct mal_arena_chunk *chunk) {
    if (cursor == chunk)
        cursor = chunk->next;
    if (chunk->previous)
        chunk->previous->next = chunk->next;
    else
        list->first = chunk->next;
    if (chunk->next)
        chunk->next->previous = chunk->previous;
}

static struct mal_arena_chunk *pop(struct list *list) {
    struct mal_arena_chunk *chunk = list->first;
    if (chunk)
        unlink_from(list, chunk);
    return chunk;
}

/* ---- making ---- */

static struct mal_arena_chunk *take_descriptor(void) {
    mal_lock(&lock);
    struct mal_arena_chunk *chunk = mal_pool_take(&chunks);
    mal_unlock(&lock);
    return chunk;
}

static void give_descriptor(struct mal_arena_chunk *chunk) {
    mal_lock(&lock);
    mal_pool_give(&chunks, chunk);
    mal_unlock(&lock);
}

static void fill_in(struct mal_arena_chunk *chunk, struct mal_span *span) {
    uintptr_t low = (uintptr_t)span->base;
    uintptr_t high = low + mal_span_bytes(span);
    span->flags |= MAL_SPAN_ARENA;
    *chunk = (struct mal_arena_chunk){
        .span = span,
        .low = low,
        .high = high,
        .scan_end = low + MAL_CHUNK_HEAD_BYTES,
        .noscan_low = high,
        .memory = span->flags & MAL_SPAN_ZEROED ? MAL_CHUNK_ZEROED : MAL_CHUNK_DIRTY,
    };
    mal_lock(&lock);
    push(&live, chunk);
    mal_store_relaxed(&live_bytes, live_bytes + bytes_of(chunk));
    mal_unlock(&lock);
}

struct mal_arena_chunk *mal_arena_chunk_new(size_t bytes) {
    struct mal_arena_chunk *chunk = take_descriptor();
    if (!chunk)
        return NULL;
    mal_critical_enter();
    struct mal_span *span = mal_gc_collector_get()->chunk_new(bytes + MAL_CHUNK_HEAD_BYTES);
    if (span)
        fill_in(chunk, span);
    mal_critical_leave();
    if (!span) {
        give_descriptor(chunk);
        return NULL;
    }
    mal_gc_collector_get()->chunk_charge(span);
    return chunk;
}

/* ---- scanning ---- */

static struct mal_arena_chunk *step(void) {
    struct mal_arena_chunk *chunk = cursor;
    if (chunk)
        cursor = chunk->next;
    return chunk;
}

/* Visits live chunks from their start to the end of what is to be scanned, without the lock. */
static void each_live(void (*visit)(uintptr_t low, uintptr_t high, void *context), void *context) {
    mal_lock(&lock);
    cursor = live.first;
    struct mal_arena_chunk *chunk;
    while ((chunk = step())) {
        uintptr_t low = chunk->low, end = mal_load_acquire(&chunk->scan_end);
        mal_unlock(&lock);
        visit(low, end, context);
        mal_lock(&lock);
    }
    mal_unlock(&lock);
}

static bool holds_scan_objects(uintptr_t low, uintptr_t end) {
    return end > low + MAL_CHUNK_HEAD_BYTES;
}

/* The chunk's own mark makes it count. Allocating threads may be waiting for what is scanned here:
 * they hear of it piece by piece. */
static void mark_live(uintptr_t low, uintptr_t high, void *worker) {
    const struct mal_gc_collector *collector = mal_gc_collector_get();
    collector->mark_word(worker, low);
    if (!holds_scan_objects(low, high))
        return;
    for (; low < high; low += mal_min(high - low, PIECE_BYTES)) {
        uintptr_t end = low + mal_min(high - low, PIECE_BYTES);
        collector->mark_range(worker, low, end);
        collector->note_scanned(end - low);
    }
}

void mal_gc_arenas_mark_roots(struct mal_gc_worker *worker) {
    each_live(mark_live, worker);
}

struct range_visit {
    void (*visit)(uintptr_t low, uintptr_t high, void *context);
    void *context;
};

static void visit_pages(uintptr_t low, uintptr_t high, void *argument) {
    const struct range_visit *range = argument;
    if (holds_scan_objects(low, high))
        range->visit(low, mal_round_up(high, mal_vm_page_bytes()), range->context);
}

void mal_gc_arenas_each_scan_range(void (*visit)(uintptr_t low, uintptr_t high, void *context),
                                   void *context) {
    struct range_visit range = {visit, context};
    each_live(visit_pages, &range);
}

/* ---- freeing ---- */

/* Where the system has no more room for maps, the memory goes back and reads as zero. */
static void protect(struct mal_arena_chunk *chunk) {
    mal_vm_forbid((void *)chunk->low, bytes_of(chunk));
}

static void free_locked(struct mal_arena_chunk *chunk, uintptr_t freed_at) {
    unlink_from(&live, chunk);
    chunk->freed_at = freed_at;
    mal_store_relaxed(&live_bytes, live_bytes - bytes_of(chunk));
    mal_store_relaxed(&quarantine_bytes, quarantine_bytes + bytes_of(chunk));
    push(mal_gc_collector_is_marking() ? &pending : &quarantine, chunk);
}

/* Nobody judges the chunk before the critical section is over. */
static void free_chunk(struct mal_arena_chunk *chunk, uintptr_t freed_at) {
    mal_critical_enter();
    mal_gc_collector_get()->chunk_end(chunk->span);
    mal_lock(&lock);
    free_locked(chunk, freed_at);
    mal_unlock(&lock);
    if (!mal_gc_collector_is_marking())
        protect(chunk);
    mal_critical_leave();
}

void mal_arena_chunks_free(struct mal_arena_chunk *chunk, uintptr_t freed_at) {
    mal_arena_fault_prepare();
    while (chunk) {
        struct mal_arena_chunk *next = chunk->next_of_arena;
        free_chunk(chunk, freed_at);
        chunk = next;
    }
}

/* ---- quarantine ---- */

static struct mal_arena_chunk *pop_locking(struct list *list) {
    mal_lock(&lock);
    struct mal_arena_chunk *chunk = pop(list);
    mal_unlock(&lock);
    return chunk;
}

static void push_locking(struct list *list, struct mal_arena_chunk *chunk) {
    mal_lock(&lock);
    push(list, chunk);
    mal_unlock(&lock);
}

/* Back to the page heap; false when the pages cannot be had again. */
static bool forget(struct mal_arena_chunk *chunk) {
    if (mal_vm_commit((void *)chunk->low, bytes_of(chunk)) != 0)
        return false;
    mal_gc_collector_get()->chunk_free(chunk->span);
    mal_lock(&lock);
    mal_store_relaxed(&quarantine_bytes, quarantine_bytes - bytes_of(chunk));
    mal_pool_give(&chunks, chunk);
    mal_unlock(&lock);
    return true;
}

/* Whoever forks meanwhile waits for it. */
static bool settle_one(struct list *list, void (*settle)(struct mal_arena_chunk *chunk)) {
    mal_gc_step_begin();
    struct mal_arena_chunk *chunk = pop_locking(list);
    if (chunk)
        settle(chunk);
    mal_gc_step_end();
    return chunk != NULL;
}

static void judge(struct mal_arena_chunk *chunk) {
    bool reached = mal_gc_collector_get()->chunk_take_mark(chunk->span);
    if (reached || !forget(chunk))
        push_locking(&quarantine, chunk);
}

static void take_marks(struct list *list) {
    for (struct mal_arena_chunk *chunk = list->first; chunk; chunk = chunk->next)
        mal_gc_collector_get()->chunk_take_mark(chunk->span);
}

/* What words into them have marked is not there. */
static void discount(const struct list *list) {
    for (const struct mal_arena_chunk *chunk = list->first; chunk; chunk = chunk->next)
        mal_gc_collector_get()->chunk_discount(chunk->span);
}

/* What was freed up to here, and not while marking, is judged by the marks; all others begin the
 * next cycle without any. */
void mal_gc_arenas_end_mark(void) {
    mal_lock(&lock);
    MAL_CHECK(!judged.first, "a mark ended before the last one's chunks were judged");
    discount(&quarantine);
    discount(&pending);
    judged = quarantine;
    quarantine.first = NULL;
    take_marks(&live);
    take_marks(&pending);
    mal_unlock(&lock);
}

static void protect_late(struct mal_arena_chunk *chunk) {
    protect(chunk);
    push_locking(&quarantine, chunk);
}

void mal_gc_arenas_after_mark(void) {
    while (settle_one(&judged, judge))
        ;
    while (settle_one(&pending, protect_late))
        ;
}

/* ---- asking ---- */

bool mal_gc_arena_holds(uintptr_t address) {
    const struct mal_span *span = mal_pagemap_span_of((const void *)address);
    return span && span->flags & MAL_SPAN_ARENA;
}

static uintptr_t look_locked(const struct list *list, uintptr_t address) {
    for (const struct mal_arena_chunk *chunk = list->first; chunk; chunk = chunk->next)
        if (address - chunk->low < bytes_of(chunk))
            return chunk->freed_at;
    return 0;
}

uintptr_t mal_arena_freed_at(uintptr_t address) {
    if (!mal_lock_try_for(&lock, PATIENCE_NS))
        return 0;
    uintptr_t freed_at = look_locked(&quarantine, address);
    if (!freed_at)
        freed_at = look_locked(&judged, address);
    mal_unlock(&lock);
    return freed_at;
}

static uint64_t scan_bytes_locked(void) {
    uint64_t bytes = 0;
    for (const struct mal_arena_chunk *chunk = live.first; chunk; chunk = chunk->next)
        if (holds_scan_objects(chunk->low, mal_load_relaxed(&chunk->scan_end)))
            bytes += mal_load_relaxed(&chunk->scan_end) - chunk->low;
    return bytes;
}

struct mal_gc_arena_bytes mal_gc_arenas_bytes(void) {
    mal_lock(&lock);
    struct mal_gc_arena_bytes bytes = {live_bytes, scan_bytes_locked(), quarantine_bytes};
    mal_unlock(&lock);
    return bytes;
}

void mal_arena_chunks_before_fork(void) {
    mal_lock(&lock);
    mal_lock_note_released(&lock);
}

/* What the parent has not judged yet waits for the child's own marks. */
static void put_off_judgement(void) {
    struct mal_arena_chunk *chunk;
    while ((chunk = pop(&judged))) {
        mal_gc_collector_get()->chunk_take_mark(chunk->span);
        push(&quarantine, chunk);
    }
}

void mal_arena_chunks_after_fork(bool child) {
    if (child)
        put_off_judgement();
    mal_unlock(&lock);
}
