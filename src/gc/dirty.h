/* SPDX-License-Identifier: Apache-2.0
 *
 * Which pages were written to: what stands in for a write barrier.
 *
 * A backend clears "written" marks and reports them later. The order that everything rests on:
 * clear before scan; and once objects are allocated black, nothing reported is thrown away.
 */
#ifndef MAL_GC_DIRTY_H
#define MAL_GC_DIRTY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef void mal_gc_dirty_visit(uintptr_t low, uintptr_t high, void *context);

struct mal_gc_dirty {
    const char *name; /* "uffd", "none" */
    /* Called by the thread that will make all other calls. 0 or a negative errno. */
    int (*open)(void);
    void (*close)(void);
    /* A range whose writes shall be seen from the next clear on. Idempotent. 0 or -errno. */
    int (*add)(uintptr_t low, uintptr_t high);
    /* Clears the marks of a range; with a visit, reports what was written before, atomically with
     * the clearing. 0, or -errno: then everything in the range counts as written. */
    int (*clear)(uintptr_t low, uintptr_t high, mal_gc_dirty_visit *visit, void *context);
    /* Reports without clearing. World stopped. */
    int (*look)(uintptr_t low, uintptr_t high, mal_gc_dirty_visit *visit, void *context);
    /* No longer watched: writes are free again. */
    void (*release)(uintptr_t low, uintptr_t high);
    void (*forget_in_child)(void);
};

/* The best backend that passes its self-test here, opened; `none` where there is none (or
 * MALLARD_DEBUG=gcdirty=none). By the thread that will use it. */
const struct mal_gc_dirty *mal_gc_dirty_choose(void);
extern const struct mal_gc_dirty mal_gc_dirty_uffd, mal_gc_dirty_none;

#endif
