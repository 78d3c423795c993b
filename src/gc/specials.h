/* SPDX-License-Identifier: Apache-2.0
 *
 * What hangs on single objects: finalizers, cleanups, weak references. Kept in tables of their own,
 * found by the object's page.
 */
#ifndef MAL_GC_SPECIALS_H
#define MAL_GC_SPECIALS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mal_gc_worker;

/* Concurrent marking: everything reachable from an object with a finalizer (not the object itself),
 * closures and arguments, the queue of what is to be run. */
void mal_gc_specials_mark_roots(struct mal_gc_worker *worker);

/* Sweep of one span, before its bits are swapped: `is_marked`/`mark` look at and set the mark of an
 * object. An unmarked object with a finalizer is marked and its finalizer queued; cleanups are
 * queued and weak references cleared for those that stay unmarked. Outside locks of spans. */
struct mal_gc_sweep_view {
    uintptr_t low, high; /* the span */
    bool (*is_marked)(uintptr_t object);
    void (*mark)(uintptr_t object);
};
void mal_gc_specials_sweep(const struct mal_gc_sweep_view *view);

/* Whether any object of the page may have a special: cheap. */
bool mal_gc_specials_on_pages(uintptr_t low, uintptr_t high);

/* The object was freed by hand. */
void mal_gc_specials_forget(uintptr_t object);

#endif
