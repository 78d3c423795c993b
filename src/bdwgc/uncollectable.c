/* SPDX-License-Identifier: Apache-2.0
 *
 * Objects that stay until they are freed by hand.
 *
 * Each has a handle, which is a root; the table here finds the handle of an object, by open
 * addressing, at most half full. It lies in malloc's memory, which the collector does not look at.
 *
 * SYNCHRONIZATION: the lock UNCOLLECTABLE guards the table.
 */
#include "bdwgc/private.h"

#include "mallard/gc.h"

#include <stdlib.h>

struct entry {
    void *object; /* NULL: free */
    struct mallard_gc_handle *handle;
};

static struct entry *table; /* UNCOLLECTABLE */
static size_t room, used;   /* UNCOLLECTABLE; room is a power of two */

static size_t slot_of(const void *object) {
    return (size_t)(((uintptr_t)object >> 4) * 0x9E3779B97F4A7C15u >> 20) & (room - 1);
}

/* The entry of the object, or the free one where it belongs. */
static struct entry *find_locked(const void *object) {
    size_t at = slot_of(object);
    while (table[at].object && table[at].object != object)
        at = (at + 1) & (room - 1);
    return &table[at];
}

static int make_room_locked(void) {
    if (used * 2 < room)
        return 1;
    struct entry *before = table;
    size_t before_room = room;
    struct entry *larger = calloc(room ? room * 2 : 1024, sizeof *larger);
    if (!larger)
        return 0;
    table = larger;
    room = room ? room * 2 : 1024;
    for (size_t i = 0; i < before_room; i++)
        if (before[i].object)
            *find_locked(before[i].object) = before[i];
    free(before);
    return 1;
}

/* Moves later entries of the same run forward, so that no gap hides one. */
static void close_gap_locked(size_t gap) {
    for (size_t at = (gap + 1) & (room - 1); table[at].object; at = (at + 1) & (room - 1)) {
        size_t home = slot_of(table[at].object);
        if (((at - home) & (room - 1)) < ((at - gap) & (room - 1)))
            continue;
        table[gap] = table[at];
        table[at].object = NULL;
        gap = at;
    }
}

static int remember(void *object) {
    struct mallard_gc_handle *handle = mallard_gc_handle_new(object);
    if (!handle)
        return 0;
    bdwgc_lock(BDWGC_UNCOLLECTABLE);
    int kept = make_room_locked();
    if (kept) {
        *find_locked(object) = (struct entry){object, handle};
        used++;
    }
    bdwgc_unlock(BDWGC_UNCOLLECTABLE);
    if (!kept)
        mallard_gc_handle_free(handle);
    return kept;
}

int bdwgc_forget_uncollectable(void *object) {
    struct mallard_gc_handle *handle = NULL;
    bdwgc_lock(BDWGC_UNCOLLECTABLE);
    struct entry *entry = room && object ? find_locked(object) : NULL;
    if (entry && entry->object) {
        handle = entry->handle;
        entry->object = NULL;
        used--;
        close_gap_locked((size_t)(entry - table));
    }
    bdwgc_unlock(BDWGC_UNCOLLECTABLE);
    if (handle)
        mallard_gc_handle_free(handle);
    return handle != NULL;
}

static void *keep(void *object, size_t bytes) {
    return !object || remember(object) ? object : bdwgc_no_memory(bytes);
}

BDWGC_PUBLIC void *GC_malloc_uncollectable(size_t bytes) {
    return keep(GC_malloc(bytes), bytes);
}

BDWGC_PUBLIC void *GC_malloc_atomic_uncollectable(size_t bytes) {
    return keep(GC_malloc_atomic(bytes), bytes);
}
