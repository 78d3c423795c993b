/* SPDX-License-Identifier: Apache-2.0
 *
 * A collector small enough to be obviously right, behind the table of gc/collector.h: a slab of
 * slots, a list of roots, marking by recursion, sweeping in one go or not yet.
 */
#ifndef MAL_TESTS_GC_MODEL_H
#define MAL_TESTS_GC_MODEL_H

#include "gc/arena.h"
#include "gc/callbacks.h"
#include "gc/collector.h"
#include "gc/pool.h"
#include "gc/specials.h"
#include "mallard/gc.h"
#include "mallard/mallard.h"
#include "meta/classes.h"
#include "pageheap/pageheap.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MODEL_SLOT_BYTES 64u
#define MODEL_SLOTS 8192u
#define MODEL_ROOTS 64u

struct model_slot {
    bool allocated, marked, noscan;
};

static char *model_slab;
static struct model_slot model_slot[MODEL_SLOTS];
static void *model_root[MODEL_ROOTS]; /* what "stacks and globals" hold */
static bool model_marking;
static uint32_t model_turn;
static pthread_mutex_t model_lock;

static size_t model_index(uintptr_t address) {
    return (address - (uintptr_t)model_slab) / MODEL_SLOT_BYTES;
}

static uintptr_t model_address(size_t index) {
    return (uintptr_t)model_slab + index * MODEL_SLOT_BYTES;
}

static bool model_find(uintptr_t address, uintptr_t *ret_object, size_t *ret_bytes) {
    size_t index = model_index(address);
    if (index >= MODEL_SLOTS || !mal_load_relaxed(&model_slot[index].allocated))
        return false;
    *ret_object = model_address(index);
    *ret_bytes = MODEL_SLOT_BYTES;
    return true;
}

static void *model_new_kind(bool noscan) {
    pthread_mutex_lock(&model_lock);
    size_t index = 0;
    while (index < MODEL_SLOTS && model_slot[index].allocated)
        index++;
    void *object = NULL;
    if (index < MODEL_SLOTS) {
        object = (void *)model_address(index);
        memset(object, 0, MODEL_SLOT_BYTES);
        model_slot[index] = (struct model_slot){true, model_marking, noscan};
    }
    pthread_mutex_unlock(&model_lock);
    return object;
}

static void **model_new(void) {
    return model_new_kind(false);
}

static void *model_new_noscan(size_t bytes) {
    return bytes <= MODEL_SLOT_BYTES ? model_new_kind(true) : NULL;
}

static void model_mark_word(struct mal_gc_worker *worker, uintptr_t word);

static void model_mark_range(struct mal_gc_worker *worker, uintptr_t low, uintptr_t high) {
    for (; low + sizeof(void *) <= high; low += sizeof(void *))
        model_mark_word(worker, *(uintptr_t *)low);
}

static uint64_t model_scanned_bytes;

static void model_note_scanned(uint64_t bytes) {
    model_scanned_bytes += bytes;
}

static void model_mark_contents(struct mal_gc_worker *worker, uintptr_t object, uintptr_t low,
                                uintptr_t high) {
    if (!model_slot[model_index(object)].noscan)
        model_mark_range(worker, low, high);
}

/* Chunks of arenas: spans from the page heap with a mark beside them. */
#define MODEL_CHUNKS 4096u
static struct mal_span *model_chunk[MODEL_CHUNKS];
static bool model_chunk_mark[MODEL_CHUNKS];

static size_t model_chunk_index(const struct mal_span *span) {
    size_t i = 0;
    while (i < MODEL_CHUNKS && model_chunk[i] != span)
        i++;
    return i;
}

static void model_mark_chunk(uintptr_t word) {
    for (size_t i = 0; i < MODEL_CHUNKS; i++)
        if (model_chunk[i] &&
            word - (uintptr_t)model_chunk[i]->base < (size_t)model_chunk[i]->pages * MAL_PAGE_BYTES)
            model_chunk_mark[i] = true;
}

static struct mal_span *model_chunk_new(size_t bytes) {
    struct mal_span *span = mal_pageheap_new_large_span(bytes, MAL_PAGE_BYTES, MAL_GROWTH_ALLOWED);
    size_t i = model_chunk_index(NULL);
    if (span && i < MODEL_CHUNKS)
        model_chunk[i] = span;
    return span;
}

static bool model_chunk_take_mark(struct mal_span *span) {
    size_t i = model_chunk_index(span);
    bool marked = model_chunk_mark[i];
    model_chunk_mark[i] = false;
    return marked;
}

/* Bytes of chunks that count as live. */
static uint64_t model_chunk_live_bytes, model_chunk_charged_bytes, model_chunk_discounted_bytes;

static uint64_t model_chunk_bytes(const struct mal_span *span) {
    return (uint64_t)span->pages * MAL_PAGE_BYTES;
}

static void model_chunk_charge(struct mal_span *span) {
    model_chunk_live_bytes += model_chunk_bytes(span);
    model_chunk_charged_bytes += model_chunk_bytes(span);
}

static void model_chunk_end(struct mal_span *span) {
    model_chunk_live_bytes -= model_chunk_bytes(span);
}

static void model_chunk_discount(struct mal_span *span) {
    if (model_chunk_mark[model_chunk_index(span)])
        model_chunk_discounted_bytes += model_chunk_bytes(span);
}

static void model_chunk_free(struct mal_span *span) {
    model_chunk[model_chunk_index(span)] = NULL;
    mal_pageheap_free_span(span);
}

static void model_mark_word(struct mal_gc_worker *worker, uintptr_t word) {
    uintptr_t object;
    size_t bytes;
    model_mark_chunk(word);
    if (!model_find(word, &object, &bytes) || model_slot[model_index(object)].marked)
        return;
    model_slot[model_index(object)].marked = true;
    model_mark_contents(worker, object, object, object + bytes);
}

/* While it is held the world is stopped, as far as the thread that runs finalizers goes: what it
 * shades is marked before the end of marking, or not at all. */
static pthread_mutex_t model_stop = PTHREAD_MUTEX_INITIALIZER;

static void model_shade(const void *pointer) {
    pthread_mutex_lock(&model_stop);
    if (mal_load_relaxed(&model_marking))
        model_mark_word(NULL, (uintptr_t)pointer);
    pthread_mutex_unlock(&model_stop);
}

static bool model_is_marking(void) {
    return mal_load_relaxed(&model_marking);
}

static uint32_t model_turn_now(void) {
    return model_turn;
}

static bool model_is_marked(uintptr_t object) {
    return model_slot[model_index(object)].marked;
}

static void model_set_mark(uintptr_t object) {
    model_slot[model_index(object)].marked = true;
}

static struct mal_gc_worker *model_worker_take(void) {
    return NULL;
}

static void model_worker_give(struct mal_gc_worker *worker) {
    (void)worker;
}

static void model_nothing(void) {}

static const struct mal_gc_collector model_collector = {
    .find = model_find,
    .new_noscan = model_new_noscan,
    .turn = model_turn_now,
    .is_marked = model_is_marked,
    .is_marking = model_is_marking,
    .shade = model_shade,
    .worker_take = model_worker_take,
    .worker_give = model_worker_give,
    .mark_word = model_mark_word,
    .mark_range = model_mark_range,
    .note_scanned = model_note_scanned,
    .mark_contents = model_mark_contents,
    .chunk_new = model_chunk_new,
    .chunk_take_mark = model_chunk_take_mark,
    .chunk_free = model_chunk_free,
    .chunk_charge = model_chunk_charge,
    .chunk_end = model_chunk_end,
    .chunk_discount = model_chunk_discount,
    .become_program = model_nothing,
    .blocking_begin = model_nothing,
    .blocking_end = model_nothing,
};

static void model_begin_mark(void) {
    mal_gc_pools_flip();
    mal_store_relaxed(&model_marking, true);
    mal_gc_specials_mark_roots(NULL);
    mal_gc_pools_mark_roots(NULL);
}

/* The roots are looked at last, as stacks are. */
static void model_end_mark(void) {
    mal_gc_arenas_mark_roots(NULL);
    for (size_t i = 0; i < MODEL_ROOTS; i++)
        model_mark_word(NULL, (uintptr_t)model_root[i]);
    pthread_mutex_lock(&model_stop);
    while (mal_gc_specials_judge_unordered(NULL))
        ;
    mal_store_relaxed(&model_marking, false);
    pthread_mutex_unlock(&model_stop);
    model_turn++;
    mal_gc_arenas_end_mark();
    mal_gc_arenas_after_mark();
}

static MAL_UNUSED void model_sweep(void) {
    uintptr_t low = (uintptr_t)model_slab;
    struct mal_gc_sweep_view view = {low, low + MODEL_SLOTS * MODEL_SLOT_BYTES, model_is_marked,
                                     model_set_mark};
    mal_gc_specials_sweep(&view);
    for (size_t i = 0; i < MODEL_SLOTS; i++) {
        if (model_slot[i].allocated && !model_slot[i].marked)
            memset((void *)model_address(i), 0xdb, MODEL_SLOT_BYTES);
        mal_store_relaxed(&model_slot[i].allocated, model_slot[i].marked);
        model_slot[i].marked = false;
    }
}

static MAL_UNUSED void model_cycle(void) {
    model_begin_mark();
    model_end_mark();
    model_sweep();
}

static MAL_UNUSED bool model_lives(const void *object) {
    return model_slot[model_index((uintptr_t)object)].allocated;
}

/* Waits until all that is due has run. */
static MAL_UNUSED bool model_callbacks_done(void) {
    const struct timespec nap = {0, 1000000};
    for (int i = 0; i < 20000; i++) {
        struct mal_gc_callbacks_counts counts = mal_gc_callbacks_counts();
        if (counts.queued == counts.executed)
            return true;
        nanosleep(&nap, NULL);
    }
    return false;
}

/* The thread that runs callbacks is kept in one until it is let go. */
static uint32_t model_runner; /* atomic; 0: as ever, 1: is to be kept, 2: is kept */

static void model_keep_runner(void *unused) {
    const struct timespec nap = {0, 1000000};
    (void)unused;
    mal_store_release(&model_runner, 2u);
    while (mal_load_acquire(&model_runner) == 2)
        nanosleep(&nap, NULL);
}

static void model_retire_nothing(struct mal_gc_callback *callback) {
    (void)callback;
}

static MAL_UNUSED void model_hold_callbacks(void) {
    static struct mal_gc_callback callback;
    const struct timespec nap = {0, 1000000};
    callback = (struct mal_gc_callback){NULL, model_keep_runner, NULL, model_retire_nothing};
    mal_store_release(&model_runner, 1u);
    mal_gc_callbacks_push(&callback);
    mal_gc_callbacks_need_thread();
    while (mal_load_acquire(&model_runner) != 2)
        nanosleep(&nap, NULL);
}

static MAL_UNUSED void model_release_callbacks(void) {
    mal_store_release(&model_runner, 0u);
}

static void model_start(void) {
    pthread_mutex_init(&model_lock, NULL);
    model_slab = mallard_aligned_alloc(MAL_PAGE_BYTES, MODEL_SLOTS * MODEL_SLOT_BYTES);
    mal_gc_collector_install(&model_collector);
}

#endif
