/* SPDX-License-Identifier: Apache-2.0
 *
 * Kinds of objects that the program makes, see gc/gc_mark.h: each is scanned word by word, or not
 * at all, or by a mark procedure of the program's. The last ones are objects without pointers for
 * the collector, which has a record of each (gc/procedures.c).
 *
 * SYNCHRONIZATION: kinds are numbered by an atomic counter; what a kind is, is written by who made
 * it, before anybody else can know its number.
 */
#include "bdwgc/marking.h"

#include "mallard/bdwgc/gc/gc_inline.h"

#include <limits.h>

#define FREE_LISTS 2049 /* pointers, in the longest of Boehm's */

enum { PTRFREE, NORMAL, UNCOLLECTABLE, ATOMIC_UNCOLLECTABLE, FIRST_KIND, KINDS_MAX = 64 };

enum how { BY_WORDS, NOT_AT_ALL, BY_PROCEDURE };

static struct kind {
    enum how how;
    GC_word descriptor; /* BY_PROCEDURE */
} kinds[KINDS_MAX] = {[PTRFREE] = {NOT_AT_ALL, 0}, [ATOMIC_UNCOLLECTABLE] = {NOT_AT_ALL, 0}};
static unsigned next_kind = FIRST_KIND; /* atomic */

BDWGC_PUBLIC void **GC_new_free_list(void) {
    static void *empty[FREE_LISTS];
    return empty;
}

BDWGC_PUBLIC void **GC_new_free_list_inner(void) {
    return GC_new_free_list();
}

static enum how how_to_scan(GC_word descriptor, int add_size) {
    if (descriptor == GC_DS_LENGTH && !add_size)
        return NOT_AT_ALL;
    return bdwgc_procedure_of(descriptor) ? BY_PROCEDURE : BY_WORDS;
}

BDWGC_PUBLIC unsigned GC_new_kind(void **free_list, GC_word descriptor, int add_size, int clear) {
    (void)free_list;
    (void)clear;
    unsigned kind = __atomic_fetch_add(&next_kind, 1, __ATOMIC_RELAXED);
    if (kind >= KINDS_MAX)
        return UINT_MAX;
    kinds[kind] = (struct kind){how_to_scan(descriptor, add_size), descriptor};
    return kind;
}

BDWGC_PUBLIC unsigned GC_new_kind_inner(void **free_list, GC_word descriptor, int add_size,
                                        int clear) {
    return GC_new_kind(free_list, descriptor, add_size, clear);
}

static void *allocate_marked(size_t bytes, GC_word descriptor) {
    void *object = GC_malloc_atomic(bytes);
    if (!object || mallard_gc_procedure_add(object, bdwgc_mark_object, descriptor) == 0)
        return object;
    return bdwgc_no_memory(bytes);
}

BDWGC_PUBLIC void *GC_generic_malloc(size_t bytes, int kind) {
    if (kind < 0 || kind >= KINDS_MAX)
        return NULL;
    if (kind == UNCOLLECTABLE)
        return GC_malloc_uncollectable(bytes);
    if (kind == ATOMIC_UNCOLLECTABLE)
        return GC_malloc_atomic_uncollectable(bytes);
    if (kinds[kind].how == BY_PROCEDURE)
        return allocate_marked(bytes, kinds[kind].descriptor);
    return kinds[kind].how == NOT_AT_ALL ? GC_malloc_atomic(bytes) : GC_malloc(bytes);
}

BDWGC_PUBLIC void *GC_malloc_kind(size_t bytes, int kind) {
    return GC_generic_malloc(bytes, kind);
}

BDWGC_PUBLIC void *GC_malloc_kind_global(size_t bytes, int kind) {
    return GC_generic_malloc(bytes, kind);
}

BDWGC_PUBLIC void *GC_generic_malloc_ignore_off_page(size_t bytes, int kind) {
    return GC_generic_malloc(bytes, kind);
}

/* A list of objects that are not scanned would be held by its first one only: it has that one. */
BDWGC_PUBLIC void GC_generic_malloc_many(size_t bytes, int kind, void **ret_list) {
    int is_listed =
        kind >= 0 && kind < KINDS_MAX && kind != UNCOLLECTABLE && kinds[kind].how == BY_WORDS;
    *ret_list = is_listed ? GC_malloc_many(bytes) : GC_generic_malloc(bytes, kind);
}
