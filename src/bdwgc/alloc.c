/* SPDX-License-Identifier: Apache-2.0
 *
 * Allocation.
 *
 * Path up: every request becomes one of the collected heap, scanned word by word or not at all; a
 * request that fails asks the program's out-of-memory procedure. Finalizers that wait run first, in
 * the calling thread, as programs written for Boehm's collector expect. Path down: GC_free is a
 * hint; an interior pointer (aligned memory) is led back to its object.
 *
 * Must never hand out parts of a block, as mallard_gc_alloc_noscan does below 16 bytes; nor memory
 * that is not zeroed: old programs rely on it even for atomic objects.
 */
#include "bdwgc/engine.h"
#include "bdwgc/private.h"

#include "mallard/gc.h"

#include <errno.h>
#include <string.h>

#define MANY_BYTES 4096u /* that a list of objects is about as long as */
#define ALIGNED_ALWAYS 16u
#define ALIGNMENT_MAX 4096u

enum kind { SCANNED, ATOMIC };

void bdwgc_before_allocating(void) {
    if (__atomic_load_n(&bdwgc_finalizers_wait, __ATOMIC_RELAXED))
        bdwgc_finalize_some();
    if (__atomic_load_n(&bdwgc_cycle, __ATOMIC_RELAXED) !=
        __atomic_load_n(&bdwgc_cycle_told, __ATOMIC_RELAXED))
        bdwgc_tell_cycle();
}

/* A block of its own, however small: it can be freed, moved and finalized without its neighbours.
 * And a byte more, so that a pointer behind the last one keeps the object alive. */
static void *allocate_atomic(size_t bytes) {
    size_t with_end = bytes < SIZE_MAX ? bytes + 1 : bytes;
    return mallard_gc_alloc_noscan(with_end < ALIGNED_ALWAYS ? ALIGNED_ALWAYS : with_end);
}

static void *allocate(size_t bytes, enum kind kind) {
    bdwgc_before_allocating();
    void *object = kind == ATOMIC ? allocate_atomic(bytes) : mallard_gc_alloc(bytes, NULL);
    return object ? object : bdwgc_no_memory(bytes);
}

BDWGC_PUBLIC void *GC_malloc(size_t bytes) {
    return allocate(bytes, SCANNED);
}

BDWGC_PUBLIC void *GC_malloc_atomic(size_t bytes) {
    return allocate(bytes, ATOMIC);
}

BDWGC_PUBLIC void *GC_malloc_ignore_off_page(size_t bytes) {
    return allocate(bytes, SCANNED);
}

BDWGC_PUBLIC void *GC_malloc_atomic_ignore_off_page(size_t bytes) {
    return allocate(bytes, ATOMIC);
}

BDWGC_PUBLIC void *GC_malloc_stubborn(size_t bytes) {
    return allocate(bytes, SCANNED);
}

BDWGC_PUBLIC void *GC_memalign(size_t alignment, size_t bytes) {
    if (alignment <= ALIGNED_ALWAYS)
        return GC_malloc(bytes);
    if (alignment > ALIGNMENT_MAX || (alignment & (alignment - 1)) != 0)
        return bdwgc_no_memory(bytes);
    uintptr_t object = (uintptr_t)GC_malloc(bytes + alignment);
    return object ? (void *)((object + alignment - 1) & ~(uintptr_t)(alignment - 1)) : NULL;
}

BDWGC_PUBLIC int GC_posix_memalign(void **ret, size_t alignment, size_t bytes) {
    if (alignment == 0 || (alignment & (alignment - 1)) != 0 || alignment % sizeof(void *) != 0)
        return EINVAL;
    void *object = GC_memalign(alignment, bytes);
    if (!object)
        return ENOMEM;
    *ret = object;
    return 0;
}

BDWGC_PUBLIC void GC_free(void *object) {
    if (!object)
        return;
    void *start = mallard_gc_base(object);
    bdwgc_forget_uncollectable(start);
    mallard_gc_procedure_remove(start);
    mallard_gc_free(start);
}

/* What an object is scanned for stays what it was; one with a mark procedure shares no block. */
static void *allocate_like(const void *object, size_t bytes) {
    return mallard_gc_is_noscan(object) ? GC_malloc_atomic(bytes) : GC_malloc(bytes);
}

BDWGC_PUBLIC void *GC_realloc(void *object, size_t bytes) {
    if (!object)
        return GC_malloc(bytes);
    if (bytes == 0) {
        GC_free(object);
        return NULL;
    }
    size_t had_bytes = mallard_gc_size(object);
    if (bytes <= had_bytes && bytes >= had_bytes / 2)
        return object;
    int uncollectable = bdwgc_forget_uncollectable(object);
    void *moved = uncollectable ? GC_malloc_uncollectable(bytes) : allocate_like(object, bytes);
    if (!moved)
        return NULL;
    memcpy(moved, object, bytes < had_bytes ? bytes : had_bytes);
    if (mallard_gc_procedure_move(object, moved) == -ENOMEM)
        return bdwgc_no_memory(bytes);
    mallard_gc_free(object);
    return moved;
}

BDWGC_PUBLIC char *GC_strndup(const char *text, size_t bytes) {
    size_t length = strnlen(text, bytes);
    char *copy = GC_malloc_atomic(length + 1);
    if (copy)
        memcpy(copy, text, length);
    return copy;
}

BDWGC_PUBLIC char *GC_strdup(const char *text) {
    return text ? GC_strndup(text, strlen(text)) : NULL;
}

/* The newest object leads to those before it, so the list is alive as long as its head is. */
BDWGC_PUBLIC void *GC_malloc_many(size_t bytes) {
    void *list = NULL;
    size_t count = bytes < MANY_BYTES ? MANY_BYTES / (bytes | 15) : 1;
    for (size_t i = 0; i < count; i++) {
        void *object = GC_malloc(bytes);
        if (!object)
            break;
        GC_NEXT(object) = list;
        list = object;
    }
    return list;
}

BDWGC_PUBLIC void *GC_base(void *pointer) {
    return mallard_gc_base(pointer);
}

BDWGC_PUBLIC size_t GC_size(const void *object) {
    return mallard_gc_size(object);
}

BDWGC_PUBLIC int GC_is_heap_ptr(const void *pointer) {
    return mallard_gc_base(pointer) != NULL;
}

BDWGC_PUBLIC void *GC_is_visible(void *pointer) {
    return pointer;
}

BDWGC_PUBLIC void *GC_is_valid_displacement(void *pointer) {
    return pointer;
}

BDWGC_PUBLIC void GC_register_displacement(size_t offset) {
    (void)offset;
}

BDWGC_PUBLIC void GC_end_stubborn_change(const void *object) {
    (void)object;
}

BDWGC_PUBLIC void GC_reachable_here(const void *object) {
    mallard_gc_keepalive(object);
}
