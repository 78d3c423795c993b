/* SPDX-License-Identifier: Apache-2.0
 *
 * What hangs on single objects: finalizers, cleanups, weak references. Kept in tables of their own,
 * found by the object's place.
 */
#ifndef MAL_GC_SPECIALS_H
#define MAL_GC_SPECIALS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mal_gc_worker;

/* Marks everything that an object with a finalizer leads to (not the object itself), arguments of
 * cleanups, weak words, and the queue of what is due. Beside the program, or stopped: again and
 * again if need be. */
void mal_gc_specials_mark_roots(struct mal_gc_worker *worker);

/* Memory in [low, high) was written to since mark_roots: looks again at what objects with
 * finalizers hold there. Marked objects are seen again by mal_gc_mark_rescan; these are not marked
 * and would be missed. For every dirty range that mal_gc_mark_rescan is called for. */
void mal_gc_specials_rescan(struct mal_gc_worker *worker, uintptr_t low, uintptr_t high);

/* World stopped, all that is reachable marked: finalizers without an order of objects that are not
 * are queued, and these are marked with what they lead to. True when there was one: what it leads
 * to is to be drained. */
bool mal_gc_specials_judge_unordered(struct mal_gc_worker *worker);
/* Before the first of them is added, in the same critical section. */
void mal_gc_specials_note_unordered(void);

/* Sweep of one span, before its bits are swapped: `is_marked`/`mark` look at and set the mark of an
 * object. An unmarked object with a finalizer is marked and its finalizer queued; cleanups are
 * queued and weak references cleared for those that stay unmarked. Outside locks of spans. */
struct mal_gc_sweep_view {
    uintptr_t low, high; /* the span */
    bool (*is_marked)(uintptr_t object);
    void (*mark)(uintptr_t object);
};
void mal_gc_specials_sweep(const struct mal_gc_sweep_view *view);

/* Whether any object of the pages may have a special: a look at some words of a bit map. */
bool mal_gc_specials_on_pages(uintptr_t low, uintptr_t high);

/* The object is about to be freed by hand: its finalizer never runs, its cleanups are due, weak
 * references to it are empty. Before the memory can be handed out again. No lock held. */
void mal_gc_specials_forget(uintptr_t object);

void mal_gc_specials_before_fork(void);
void mal_gc_specials_after_fork(bool child);

#endif
