/* SPDX-License-Identifier: Apache-2.0
 *
 * Objects that say where their pointers are.
 *
 * A descriptor is the address of a type made from the bitmap; equal bitmaps share one. Words behind
 * the bitmap's end hold no pointers, so the type is used as if it were as long as the object.
 * What is no descriptor of ours means that any word may be a pointer.
 *
 * SYNCHRONIZATION: the lock TYPES is for making a type; one that is made never changes, and is
 * found through the descriptor that its maker got.
 */
#include "bdwgc/private.h"

#include "mallard/gc.h"
#include "mallard/gc_type.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define TYPES_MAX 256u
#define WORD_BYTES sizeof(GC_word)
#define MASK_WORDS 64u

enum { DESCRIPTOR_ATOMIC = 1, DESCRIPTOR_SCANNED = 2 };

static struct mallard_gc_type types[TYPES_MAX]; /* TYPES */
static unsigned type_count;                     /* TYPES */

/* ---- descriptors ---- */

/* The words from `at` on whose bits are all set; runs are separated by at least one that is not. */
static size_t run_length(const GC_word *bitmap, size_t at, size_t words) {
    size_t length = 0;
    while (at + length < words && GC_get_bit(bitmap, at + length))
        length++;
    return length;
}

static uint32_t write_runs(struct mallard_gc_run *ret_runs, const GC_word *bitmap, size_t words) {
    uint32_t count = 0;
    for (size_t at = 0, length; at < words; at += length + 1) {
        length = run_length(bitmap, at, words);
        if (length > 0)
            ret_runs[count++] = (struct mallard_gc_run){at * WORD_BYTES, length * WORD_BYTES};
    }
    return count;
}

static uint64_t mask_of(const GC_word *bitmap, size_t words) {
    uint64_t mask = 0;
    for (size_t i = 0; i < words && i < MASK_WORDS; i++)
        mask |= (uint64_t)GC_get_bit(bitmap, i) << i;
    return mask;
}

static struct mallard_gc_type *find_locked(const struct mallard_gc_type *like) {
    for (unsigned i = 0; i < type_count; i++)
        if (types[i].bytes == like->bytes && types[i].run_count == like->run_count &&
            memcmp(types[i].runs, like->runs, like->run_count * sizeof *like->runs) == 0)
            return &types[i];
    return NULL;
}

static GC_descr descriptor_of_locked(const struct mallard_gc_type *type) {
    struct mallard_gc_type *known = find_locked(type);
    if (known) {
        free((void *)(uintptr_t)type->runs);
        return (GC_descr)known;
    }
    if (type_count == TYPES_MAX) {
        free((void *)(uintptr_t)type->runs);
        return DESCRIPTOR_SCANNED;
    }
    types[type_count] = *type;
    return (GC_descr)&types[type_count++];
}

BDWGC_PUBLIC GC_descr GC_make_descriptor(const GC_word *bitmap, size_t words) {
    struct mallard_gc_run *runs = malloc((words / 2 + 1) * sizeof *runs);
    if (!runs)
        return DESCRIPTOR_SCANNED;
    struct mallard_gc_type type = {.bytes = words * WORD_BYTES, .runs = runs, .name = "typed"};
    type.run_count = write_runs(runs, bitmap, words);
    type.mask = mask_of(bitmap, words);
    if (type.run_count == 0) {
        free(runs);
        return DESCRIPTOR_ATOMIC;
    }
    bdwgc_lock(BDWGC_TYPES);
    GC_descr descriptor = descriptor_of_locked(&type);
    bdwgc_unlock(BDWGC_TYPES);
    return descriptor;
}

static const struct mallard_gc_type *type_of(GC_descr descriptor) {
    uintptr_t offset = descriptor - (uintptr_t)types;
    return offset < sizeof types && offset % sizeof *types == 0 ? &types[offset / sizeof *types]
                                                                : NULL;
}

/* ---- allocation ---- */

/* `count` elements of `bytes` each, which is not below what the bitmap speaks of. */
static void *allocate(size_t total, size_t bytes, const struct mallard_gc_type *type) {
    struct mallard_gc_type longer = *type;
    longer.bytes = bytes;
    bdwgc_before_allocating();
    void *object = mallard_gc_alloc(total, &longer);
    return object ? object : bdwgc_no_memory(total);
}

static void *allocate_elements(size_t total, size_t bytes, GC_descr descriptor) {
    const struct mallard_gc_type *type = type_of(descriptor);
    if (descriptor == DESCRIPTOR_ATOMIC)
        return GC_malloc_atomic(total);
    return type && bytes >= type->bytes ? allocate(total, bytes, type) : GC_malloc(total);
}

BDWGC_PUBLIC void *GC_malloc_explicitly_typed(size_t bytes, GC_descr descriptor) {
    return allocate_elements(bytes, bytes, descriptor);
}

BDWGC_PUBLIC void *GC_malloc_explicitly_typed_ignore_off_page(size_t bytes, GC_descr descriptor) {
    return GC_malloc_explicitly_typed(bytes, descriptor);
}

/* Elements that no word fits into a whole number of times have pointers anywhere. */
BDWGC_PUBLIC void *GC_calloc_explicitly_typed(size_t count, size_t bytes, GC_descr descriptor) {
    size_t total;
    if (__builtin_mul_overflow(count, bytes, &total))
        return bdwgc_no_memory(SIZE_MAX);
    if (bytes % WORD_BYTES != 0 && descriptor != DESCRIPTOR_ATOMIC)
        return GC_malloc(total);
    return allocate_elements(total, bytes, descriptor);
}
