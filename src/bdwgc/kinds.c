/* SPDX-License-Identifier: Apache-2.0
 *
 * Kinds of objects that the program makes, see gc/gc_mark.h: each is scanned word by word, or not
 * at all.
 *
 * SYNCHRONIZATION: kinds are numbered by an atomic counter; what a kind is, is written by who made
 * it, before anybody else can know its number.
 */
#include "bdwgc/private.h"

#include "mallard/bdwgc/gc/gc_inline.h"
#include "mallard/bdwgc/gc/gc_mark.h"

#include <limits.h>

#define FREE_LISTS 2049 /* pointers, in the longest of Boehm's */

enum { PTRFREE, NORMAL, UNCOLLECTABLE, ATOMIC_UNCOLLECTABLE, FIRST_KIND, KINDS_MAX = 64 };

static unsigned char is_atomic[KINDS_MAX];
static unsigned next_kind = FIRST_KIND; /* atomic */

BDWGC_PUBLIC void **GC_new_free_list(void) {
    static void *empty[FREE_LISTS];
    return empty;
}

BDWGC_PUBLIC unsigned GC_new_kind(void **free_list, GC_word descriptor, int add_size, int clear) {
    (void)free_list;
    (void)clear;
    unsigned kind = __atomic_fetch_add(&next_kind, 1, __ATOMIC_RELAXED);
    if (kind >= KINDS_MAX)
        return UINT_MAX;
    is_atomic[kind] = descriptor == GC_DS_LENGTH && !add_size;
    return kind;
}

BDWGC_PUBLIC void *GC_generic_malloc(size_t bytes, int kind) {
    if (kind < 0 || kind >= KINDS_MAX)
        return NULL;
    if (kind == UNCOLLECTABLE)
        return GC_malloc_uncollectable(bytes);
    if (kind == ATOMIC_UNCOLLECTABLE)
        return GC_malloc_atomic_uncollectable(bytes);
    return kind == PTRFREE || is_atomic[kind] ? GC_malloc_atomic(bytes) : GC_malloc(bytes);
}

BDWGC_PUBLIC void *GC_generic_malloc_ignore_off_page(size_t bytes, int kind) {
    return GC_generic_malloc(bytes, kind);
}

/* A list of objects that are not scanned would be held by its first one only: it has that one. */
BDWGC_PUBLIC void GC_generic_malloc_many(size_t bytes, int kind, void **ret_list) {
    int listed = kind == NORMAL || (kind >= FIRST_KIND && kind < KINDS_MAX && !is_atomic[kind]);
    *ret_list = listed ? GC_malloc_many(bytes) : GC_generic_malloc(bytes, kind);
}
