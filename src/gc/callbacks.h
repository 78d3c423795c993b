/* SPDX-License-Identifier: Apache-2.0
 *
 * Functions of the program that are due: finalizers, cleanups, the ends of pooled items. They run
 * one after the other, in the order in which they became due, on a thread of their own.
 */
#ifndef MAL_GC_CALLBACKS_H
#define MAL_GC_CALLBACKS_H

#include <stdbool.h>
#include <stdint.h>

struct mal_gc_worker;

/* Part of what it stands for. Queued at most once at a time. */
struct mal_gc_callback {
    struct mal_gc_callback *next; /* queue lock */
    void (*function)(void *argument);
    void *argument; /* a root while queued */
    /* Called before the function, without locks: the callback may be forgotten or queued again. */
    void (*retire)(struct mal_gc_callback *callback);
};

/* Makes it due. Any thread, under locks below GC_CALLBACKS, and while the world is stopped. */
void mal_gc_callbacks_push(struct mal_gc_callback *callback);

/* Makes the thread look around. */
void mal_gc_callbacks_wake(void);

/* Makes sure that there is a thread to run what becomes due, or tries to: without one callbacks
 * wait. Called by threads of the program, no lock held, outside allocations: it allocates. Never by
 * the collector's own, whose descriptors and signal mask a new thread would inherit. */
void mal_gc_callbacks_need_thread(void);
/* The same, but only if something is due. One load when a thread is there. */
void mal_gc_callbacks_kick(void);

/* Marks the arguments of what is queued. */
void mal_gc_callbacks_mark_roots(struct mal_gc_worker *worker);

/* Go: /gc/finalizers/queued:finalizers and executed. What `executed` counts has happened before, in
 * this process or, for what was running at a fork, in its parent. */
struct mal_gc_callbacks_counts {
    uint64_t queued, executed; /* since the process began; queued >= executed */
};
struct mal_gc_callbacks_counts mal_gc_callbacks_counts(void);

/* How many threads of ours run here: 0 or 1. They must not keep the process alive. */
unsigned mal_gc_callbacks_threads(void);

void mal_gc_callbacks_before_fork(void);
void mal_gc_callbacks_after_fork(bool child);

#endif
