/* SPDX-License-Identifier: Apache-2.0
 *
 * Roots that the program adds. Those it does not know of (data segments, stacks) are there already.
 *
 * SYNCHRONIZATION: the lock ROOTS guards the list of what was added, which is kept for
 * GC_clear_roots.
 */
#include "bdwgc/private.h"

#include "mallard/gc.h"

#include <stdlib.h>

struct root {
    char *low, *above;
};

static struct root *roots; /* ROOTS */
static size_t root_count;  /* ROOTS */

BDWGC_PUBLIC void GC_add_roots(void *low, void *above) {
    char *from = low, *to = above;
    if (from >= to || mallard_gc_root_add(from, (size_t)(to - from)) != 0)
        return;
    bdwgc_lock(BDWGC_ROOTS);
    struct root *more = realloc(roots, (root_count + 1) * sizeof *roots);
    if (more) {
        roots = more;
        roots[root_count++] = (struct root){from, to};
    }
    bdwgc_unlock(BDWGC_ROOTS);
}

/* Those that lie in the range altogether. */
BDWGC_PUBLIC void GC_remove_roots(void *low, void *above) {
    size_t kept = 0;
    bdwgc_lock(BDWGC_ROOTS);
    for (size_t i = 0; i < root_count; i++) {
        if (roots[i].low >= (char *)low && roots[i].above <= (char *)above)
            mallard_gc_root_remove(roots[i].low, (size_t)(roots[i].above - roots[i].low));
        else
            roots[kept++] = roots[i];
    }
    root_count = kept;
    bdwgc_unlock(BDWGC_ROOTS);
}

BDWGC_PUBLIC void GC_clear_roots(void) {
    GC_remove_roots(NULL, (void *)UINTPTR_MAX);
}

BDWGC_PUBLIC void GC_exclude_static_roots(void *low, void *above) {
    (void)low;
    (void)above;
}
