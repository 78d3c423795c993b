/* SPDX-License-Identifier: Apache-2.0
 *
 * Finding what lies behind our names.
 *
 * Each wrapper has a slot. The constructor fills all; one that is called still earlier, by another
 * library's constructor, fills its own.
 *
 * Must never call one of the functions that this library defines before it is resolved.
 */
#include "gclib/next.h"

#include <dlfcn.h>
#include <errno.h>

static long missing(void) {
    errno = ENOSYS;
    return -1;
}

void *gclib_next(struct gclib_slot *slot) {
    int saved_errno = errno;
    void *found = dlsym(RTLD_NEXT, slot->name);
    if (!found)
        found = (void *)missing;
    __atomic_store_n(&slot->found, found, __ATOMIC_RELEASE);
    errno = saved_errno;
    return found;
}

/* The linker makes these names for the section. */
extern struct gclib_slot __start_gclib_slots[] __attribute__((visibility("hidden")));
extern struct gclib_slot __stop_gclib_slots[] __attribute__((visibility("hidden")));

__attribute__((constructor(101))) static void resolve_all(void) {
    for (struct gclib_slot *slot = __start_gclib_slots; slot < __stop_gclib_slots; slot++)
        gclib_next(slot);
}

void gclib_leave(void *depth) {
    while (mallard_gc_blocking_depth() > (uintptr_t)depth)
        mallard_gc_blocking_end();
}
