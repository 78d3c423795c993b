/* SPDX-License-Identifier: Apache-2.0
 *
 * The queue of what is due, and the thread that runs it.
 *
 * Path up: sweeping and the pools push; nothing is allocated there, the callback is part of the
 * record it stands for. Path down: the thread takes one callback after the other, gives its record
 * back, and runs the function. The thread is started when the first finalizer, cleanup or pool
 * that needs it is made, by the program's thread that makes it: never by a thread of the
 * collector, whose file descriptors it would share.
 *
 * The thread runs the program's code, so it is one of the program's: it is stopped and scanned, it
 * may allocate, it is sampled. Only signals that ask for nobody in particular never reach it.
 *
 * A child of fork has the queue but no thread: one is started when it is next asked for. A callback
 * that was running at the fork goes on in the parent only. One that forks itself goes on in both:
 * the child's one thread is then the thread that runs callbacks, and counts as that.
 *
 * SYNCHRONIZATION: `queue_lock` (rank GC_CALLBACKS) guards the list. `events` grows with every push
 * after the list was changed; the thread reads it before it looks at the list, so a push between
 * that look and the sleep is seen by the futex. `thread_state` goes NONE -> STARTED by
 * compare-and-swap and back where no thread can be had, and in a child.
 *
 * Must never run a callback with a lock held, or inside an allocation.
 */
#include "gc/callbacks.h"

#include "base/atomic.h"
#include "base/attr.h"
#include "gc/collector.h"
#include "os/clock.h"
#include "os/critical.h"
#include "os/futex.h"
#include "os/lock.h"
#include "os/thread.h"

#include <stddef.h>

#define STACK_BYTES (1u << 20)
#define AWAIT_NAP_NS 50000u

/* For libmallard-bdwgc.so: see bdwgc/engine.h. */
MAL_PUBLIC void mallard_gc_callbacks_await(uint64_t most_ns);

enum thread_state { NONE, STARTED };

static struct mal_lock queue_lock = MAL_LOCK_INIT(MAL_RANK_GC_CALLBACKS);
static struct mal_gc_callback *first, *last; /* queue_lock */
static uint64_t pushed, executed;            /* queue_lock; the thread, release; read by counts */
static uint32_t events;                      /* atomic */
static uint32_t thread_state;                /* enum thread_state; atomic */
static MAL_THREAD bool is_runner;            /* the thread that runs callbacks */

void mal_gc_callbacks_wake(void) {
    __atomic_fetch_add(&events, 1u, __ATOMIC_RELEASE);
    mal_futex_wake(&events, 1);
}

void mal_gc_callbacks_push(struct mal_gc_callback *callback) {
    callback->next = NULL;
    mal_lock(&queue_lock);
    if (first)
        last->next = callback;
    else
        mal_store_relaxed(&first, callback);
    last = callback;
    mal_store_relaxed(&pushed, pushed + 1);
    mal_unlock(&queue_lock);
    mal_gc_callbacks_wake();
}

static struct mal_gc_callback *take(void) {
    mal_lock(&queue_lock);
    struct mal_gc_callback *callback = first;
    if (callback)
        mal_store_relaxed(&first, callback->next);
    mal_unlock(&queue_lock);
    return callback;
}

/* What leaves the queue while marking goes to a stack that may have been scanned. In a frame of its
 * own: the stack of a waiting thread holds no argument. */
static __attribute__((noinline)) bool run_one(void) {
    mal_critical_enter();
    struct mal_gc_callback *callback = take();
    void *argument = callback ? callback->argument : NULL;
    mal_gc_collector_shade(argument);
    mal_critical_leave();
    if (!callback)
        return false;
    void (*function)(void *) = callback->function;
    callback->retire(callback);
    function(argument);
    mal_store_release(&executed, executed + 1);
    return true;
}

/* A collector that comes up wakes the thread. If it wants to stop it before, its signal waits until
 * the thread has joined. */
static const struct mal_gc_collector *join_program(const struct mal_gc_collector *known) {
    const struct mal_gc_collector *collector = mal_gc_collector_get();
    if (collector && !known)
        collector->become_program();
    return collector;
}

static void wait_for_more(const struct mal_gc_collector *collector, uint32_t seen) {
    if (collector)
        collector->blocking_begin();
    mal_futex_wait(&events, seen, MAL_FUTEX_FOREVER);
    if (collector)
        collector->blocking_end();
}

static void body(void) {
    const struct mal_gc_collector *collector = NULL;
    is_runner = true;
    for (;;) {
        uint32_t seen = mal_load_acquire(&events);
        collector = join_program(collector);
        if (!run_one())
            wait_for_more(collector, seen);
    }
}

void mal_gc_callbacks_need_thread(void) {
    static const struct mal_own_thread thread = {"mallard-gc-fin", body, STACK_BYTES};
    uint32_t none = NONE;
    if (!mal_cas_acquire(&thread_state, &none, (uint32_t)STARTED))
        return;
    if (mal_thread_start(&thread) != 0)
        mal_store_release(&thread_state, (uint32_t)NONE);
}

void mal_gc_callbacks_kick(void) {
    if (mal_load_relaxed(&thread_state) == NONE && mal_load_relaxed(&first))
        mal_gc_callbacks_need_thread();
}

void mal_gc_callbacks_mark_roots(struct mal_gc_worker *worker) {
    const struct mal_gc_collector *collector = mal_gc_collector_get();
    mal_lock(&queue_lock);
    for (const struct mal_gc_callback *callback = first; callback; callback = callback->next)
        collector->mark_word(worker, (uintptr_t)callback->argument);
    mal_unlock(&queue_lock);
}

struct mal_gc_callbacks_counts mal_gc_callbacks_counts(void) {
    uint64_t done = mal_load_acquire(&executed);
    return (struct mal_gc_callbacks_counts){mal_load_relaxed(&pushed), done};
}

void mallard_gc_callbacks_await(uint64_t most_ns) {
    uint64_t from_ns = mal_clock_mono_ns(), due = mal_load_relaxed(&pushed);
    mal_gc_callbacks_kick();
    while (!is_runner && mal_load_acquire(&executed) < due &&
           mal_clock_mono_ns() - from_ns < most_ns)
        mal_futex_nap(AWAIT_NAP_NS);
}

unsigned mal_gc_callbacks_threads(void) {
    return mal_load_relaxed(&thread_state) == STARTED;
}

void mal_gc_callbacks_before_fork(void) {
    mal_lock(&queue_lock);
}

/* The one that was running is over, for the child. Unless it was that one which forked: it goes on,
 * and with it the thread that runs them. */
static void recount_in_child(void) {
    uint64_t unfinished = is_runner;
    for (const struct mal_gc_callback *callback = first; callback; callback = callback->next)
        unfinished++;
    mal_store_release(&executed, pushed - unfinished);
    mal_store_release(&thread_state, (uint32_t)(is_runner ? STARTED : NONE));
}

void mal_gc_callbacks_after_fork(bool child) {
    if (child)
        recount_in_child();
    mal_unlock(&queue_lock);
}
