/* SPDX-License-Identifier: Apache-2.0
 *
 * Links that disappear. The collector keeps and empties them (gc/links.c); here are Boehm's names
 * and answers.
 */
#include "bdwgc/engine.h"
#include "bdwgc/private.h"

#include "mallard/gc.h"

#include <errno.h>

/* One that hangs on nothing collected stays as it is. */
static int add(void **link, const void *object, enum mallard_gc_link_kind kind) {
    void *start = mallard_gc_base((void *)(uintptr_t)object);
    if (!start)
        return GC_SUCCESS;
    int result = mallard_gc_link_add(link, start, kind);
    return result < 0 ? GC_NO_MEMORY : result ? GC_DUPLICATE : GC_SUCCESS;
}

static int move(void **link, void **to, enum mallard_gc_link_kind kind) {
    int result = mallard_gc_link_move(link, to, kind);
    if (result == -ENOENT)
        return GC_NOT_FOUND;
    return result < 0 ? GC_NO_MEMORY : result ? GC_DUPLICATE : GC_SUCCESS;
}

BDWGC_PUBLIC int GC_register_disappearing_link(void **link) {
    return add(link, link, MALLARD_GC_LINK_SHORT);
}

BDWGC_PUBLIC int GC_general_register_disappearing_link(void **link, const void *object) {
    return add(link, object, MALLARD_GC_LINK_SHORT);
}

BDWGC_PUBLIC int GC_move_disappearing_link(void **link, void **to) {
    return move(link, to, MALLARD_GC_LINK_SHORT);
}

BDWGC_PUBLIC int GC_unregister_disappearing_link(void **link) {
    return mallard_gc_link_remove(link, MALLARD_GC_LINK_SHORT);
}

BDWGC_PUBLIC int GC_register_long_link(void **link, const void *object) {
    return add(link, object, MALLARD_GC_LINK_LONG);
}

BDWGC_PUBLIC int GC_move_long_link(void **link, void **to) {
    return move(link, to, MALLARD_GC_LINK_LONG);
}

BDWGC_PUBLIC int GC_unregister_long_link(void **link) {
    return mallard_gc_link_remove(link, MALLARD_GC_LINK_LONG);
}
