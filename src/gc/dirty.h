/* SPDX-License-Identifier: Apache-2.0
 *
 * Which pages were written to: what stands in for a write barrier.
 *
 * A backend clears "written" marks and reports them later. The order that everything rests on:
 * clear before scan; and once objects are allocated black, nothing reported is thrown away.
 *
 * Ranges may begin and end anywhere: they are widened to whole OS pages for the kernel, and what is
 * reported is cut back to the range. What is reported is a set: it may hold a page twice, and it is
 * not in order. Threads: add, clear, look and release may be called by every thread that shares the
 * opener's table of file descriptors, at once; the rest only while nothing else is going on.
 */
#ifndef MAL_GC_DIRTY_H
#define MAL_GC_DIRTY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef void mal_gc_dirty_visit(uintptr_t low, uintptr_t high, void *context);

struct mal_gc_dirty {
    const char *name; /* "uffd", "none" */
    /* Called by the thread that will make all other calls, or start those that do. 0 or a negative
     * errno. For tracking that survives closefrom(3) and stays out of the program's table of
     * descriptors, that thread calls mal_fds_become_private (os/written.h) before. */
    int (*open)(void);
    void (*close)(void);
    /* A range whose writes shall be seen from the next clear on. Idempotent. 0 or -errno. */
    int (*add)(uintptr_t low, uintptr_t high);
    /* Clears the marks of a range; with a visit, reports what was written before, atomically with
     * the clearing. 0, or -errno: then everything in the range counts as written, and what is
     * mapped of it must be scanned again: part of the marks may be gone. Parts that nothing is
     * mapped at are passed over. Clearing pages that were never touched costs page tables (2 MiB
     * per GiB): only ranges in use. */
    int (*clear)(uintptr_t low, uintptr_t high, mal_gc_dirty_visit *visit, void *context);
    /* Reports without clearing. World stopped. */
    int (*look)(uintptr_t low, uintptr_t high, mal_gc_dirty_visit *visit, void *context);
    /* Writes cost nothing until the next clear; the whole range counts as written. Still watched.
     */
    void (*unprotect)(uintptr_t low, uintptr_t high);
    /* No longer watched: writes are free again, and add comes before the next clear. Not needed
     * before an unmap, nor between cycles: clearing anew costs for pages written meanwhile only,
     * and releasing a part of a mapping splits it. */
    void (*release)(uintptr_t low, uintptr_t high);
    /* In the child, where nothing is watched: closed afterwards, may be opened anew. */
    void (*forget_in_child)(void);
};

/* The best backend that passes its self-test here, opened; `none` where there is none (or
 * MALLARD_DEBUG=gcdirty=none). By the thread that will use it. A few ms. */
const struct mal_gc_dirty *mal_gc_dirty_choose(void);
extern const struct mal_gc_dirty mal_gc_dirty_uffd, mal_gc_dirty_none;

/* Before choose: only this backend, or none where it does not work. NULL: the best. Returns false
 * for a name that there is not; nothing is changed then. */
bool mal_gc_dirty_force(const char *name);

/* Writes, clears and looks in memory of its own until it is sure that an opened backend misses
 * nothing. 0 or a negative errno (-EILSEQ: it misses writes, or invents them). */
int mal_gc_dirty_self_test(const struct mal_gc_dirty *dirty);

#endif
