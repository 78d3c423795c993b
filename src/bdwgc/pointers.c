/* SPDX-License-Identifier: Apache-2.0
 *
 * Arithmetic and stores that are checked, or told to the collector: it needs to be told nothing.
 */
#include "bdwgc/private.h"

#include "mallard/gc.h"

#include <stdio.h>
#include <stdlib.h>

/* Pointers that lead into no object are not judged. */
BDWGC_PUBLIC void *GC_same_obj(void *pointer, void *other) {
    if (mallard_gc_base(other) && mallard_gc_base(pointer) != mallard_gc_base(other)) {
        fprintf(stderr, "mallard: GC_same_obj(%p, %p): not in one object\n", pointer, other);
        abort();
    }
    return pointer;
}

BDWGC_PUBLIC void *GC_pre_incr(void **pointer, ptrdiff_t bytes) {
    *pointer = GC_same_obj((char *)*pointer + bytes, *pointer);
    return *pointer;
}

BDWGC_PUBLIC void *GC_post_incr(void **pointer, ptrdiff_t bytes) {
    void *before = *pointer;
    GC_pre_incr(pointer, bytes);
    return before;
}

BDWGC_PUBLIC void GC_ptr_store_and_dirty(void *place, const void *pointer) {
    *(const void **)place = pointer;
}

BDWGC_PUBLIC void GC_change_stubborn(const void *object) {
    (void)object;
}
