/* SPDX-License-Identifier: Apache-2.0
 *
 * Handles: slots that keep one object alive from anywhere, memory of malloc included.
 *
 * Slots lie in chunks that are never given back; a chunk is a root as a whole. A free slot holds
 * the inverted address of the next free one: no program's object lies in the upper half of the
 * addresses, so what a slot says tells whether it is free, and a handle that is used or freed after
 * its end is found out.
 *
 * SYNCHRONIZATION: `lock` (rank GC_HANDLES) guards the lists. The word of a slot in use is written
 * once, before the handle is given out (release), and read without the lock. The list of chunks
 * only grows at its head (release), so a walk over it needs no lock.
 */
#include "gc/handles.h"

#include "base/atomic.h"
#include "base/check.h"
#include "meta/memory.h"
#include "os/lock.h"

#include <errno.h>
#include <mallard/gc.h>
#include <stdbool.h>
#include <stddef.h>

struct mallard_gc_handle {
    uintptr_t word; /* the object, or ~(the next free slot) */
};

static uintptr_t link_to(const struct mallard_gc_handle *next_free) {
    return ~(uintptr_t)next_free;
}

static bool is_free(uintptr_t word) {
    return (intptr_t)word < 0;
}

#define CHUNK_BYTES (64u << 10)
#define SLOTS ((CHUNK_BYTES - sizeof(void *)) / sizeof(struct mallard_gc_handle))

struct chunk {
    struct chunk *next; /* constant */
    struct mallard_gc_handle slot[SLOTS];
};

static struct mal_lock lock = MAL_LOCK_INIT(MAL_RANK_GC_HANDLES);
static struct mallard_gc_handle *first_free; /* lock */
static struct chunk *chunks;                 /* lock to write, acquire to read */

static void add_chunk_locked(void) {
    struct chunk *chunk = mal_meta_map(sizeof *chunk, MAL_META_OTHER);
    if (!chunk)
        return;
    for (size_t i = SLOTS; i-- > 0;) {
        chunk->slot[i].word = link_to(first_free);
        first_free = &chunk->slot[i];
    }
    chunk->next = chunks;
    mal_store_release(&chunks, chunk);
}

static struct mallard_gc_handle *take_slot_locked(void *object) {
    if (!first_free)
        add_chunk_locked();
    struct mallard_gc_handle *slot = first_free;
    if (!slot)
        return NULL;
    first_free = (struct mallard_gc_handle *)~slot->word;
    mal_store_release(&slot->word, (uintptr_t)object);
    return slot;
}

MAL_PUBLIC struct mallard_gc_handle *mallard_gc_handle_new(void *object) {
    mal_lock(&lock);
    struct mallard_gc_handle *handle = take_slot_locked(object);
    mal_unlock(&lock);
    if (!handle)
        errno = ENOMEM;
    return handle;
}

MAL_PUBLIC void *mallard_gc_handle_get(const struct mallard_gc_handle *handle) {
    uintptr_t word = handle ? mal_load_acquire(&handle->word) : 0;
    if (is_free(word))
        mal_die("mallard_gc_handle_get(%p): the handle was freed", (const void *)handle);
    return (void *)word;
}

MAL_PUBLIC void mallard_gc_handle_free(struct mallard_gc_handle *handle) {
    if (!handle)
        return;
    mal_lock(&lock);
    bool was_free = is_free(handle->word);
    if (!was_free) {
        mal_store_release(&handle->word, link_to(first_free));
        first_free = handle;
    }
    mal_unlock(&lock);
    if (was_free)
        mal_die("mallard_gc_handle_free(%p): the handle was freed before", (void *)handle);
}

void mal_gc_handles_each_range(void (*visit)(uintptr_t low, uintptr_t high, void *context),
                               void *context) {
    for (struct chunk *chunk = mal_load_acquire(&chunks); chunk; chunk = chunk->next)
        visit((uintptr_t)chunk->slot, (uintptr_t)(chunk->slot + SLOTS), context);
}

void mal_gc_handles_before_fork(void) {
    mal_lock(&lock);
}

void mal_gc_handles_after_fork(void) {
    mal_unlock(&lock);
}
