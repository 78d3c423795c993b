/* SPDX-License-Identifier: Apache-2.0
 *
 * When cycles run, and who runs them.
 *
 * Whoever needs a cycle notes the reason and rings the bell of the coordinating thread, which is
 * started by the first request (and again by the first one in a forked child). Where no thread is
 * to be had, the requesting thread owns the cycle and runs it with the world stopped. The
 * coordinating thread also wakes by itself when no cycle ended for MAL_GC_PERIOD_NS.
 *
 * A forced request takes a ticket. A cycle serves all tickets that were out when it began; they are
 * done when its sweep is.
 *
 * SYNCHRONIZATION: all words are atomics. `owned` is held by whoever runs a cycle. A ticket is
 * taken before its reason is noted, and a cycle takes the reasons before it looks at the tickets,
 * so a ticket whose reason was taken is served. `stage` is bumped when marking has begun.
 *
 * Must never hold a lock: threads are created here, and the world is stopped.
 */
#include "gc/cycle_private.h"

#include "base/atomic.h"
#include "gc/heap.h"
#include "gc/workers.h"
#include "mallard/gc.h"
#include "os/clock.h"
#include "os/futex.h"
#include "os/say.h"
#include "os/thread.h"
#include "os/written.h"

#define START_PATIENCE_NS 5000000u
#define DONE_PATIENCE_NS 100000000u

enum coordinator { NONE, STARTING, RUNNING };

static uint32_t coordinator; /* enum coordinator */
static uint32_t bell, wanted, asked, done, stage;
static uint32_t owned;    /* somebody runs a cycle */
static uint32_t in_cycle; /* from its beginning to the end of its marking */

/* ---- running ---- */

static bool try_own(void) {
    uint32_t nobody = 0;
    return mal_cas_acquire(&owned, &nobody, 1u);
}

static void disown(void) {
    mal_store_release(&owned, 0u);
    mal_futex_wake(&owned, INT32_MAX);
}

/* The goal may have moved since the heap asked. Looked at by the owner: whoever turned collecting
 * off and then found no owner has seen the last cycle. */
static bool is_due(uint32_t reasons) {
    return reasons != MAL_GC_REASON_HEAP || mal_gc_config.stress_refills > 0 ||
           mal_gc_heap_levels().live_bytes >= mal_gc_pace_trigger();
}

static void run(uint32_t reasons, const struct mal_gc_dirty *dirty) {
    if (!is_due(reasons)) {
        disown();
        return;
    }
    uint32_t ticket = mal_load_acquire(&asked);
    mal_store_release(&in_cycle, 1u);
    mal_gc_cycle_run(reasons, ticket, dirty);
    disown();
}

/* Without a coordinating thread. Whoever finds a cycle under way lets it do. */
static void run_here(void) {
    if (!try_own())
        return;
    uint32_t reasons = mal_exchange_acquire(&wanted, 0u);
    if (reasons)
        run(reasons, NULL);
    else
        disown();
}

/* ---- the coordinating thread ---- */

/* In MAL_FUTEX_FOREVER's terms. */
static uint64_t period_left_ns(void) {
    _Static_assert(MAL_FUTEX_FOREVER == UINT64_MAX, "never is for ever");
    return mal_gc_period_left_ns(mal_clock_mono_ns(), mal_gc_stats_last_end_ns(),
                                 mal_gc_pace_percent());
}

/* Go's words for a cycle that only time asked for. */
static void say_periodic(void) {
    static const char line[] = "GC forced\n";
    if (mal_gc_config.trace > 0)
        mal_gc_sweeper_say(line, sizeof line - 1);
}

/* Once: pauses are as long as marking is, for a reason that may be the container's. */
static void say_untracked(void) {
    static const char line[] = "mallard: written pages cannot be told here (userfaultfd), so "
                               "collections mark with the world stopped\n";
    if (mal_gc_config.trace > 0)
        mal_gc_sweeper_say(line, sizeof line - 1);
}

/* Sleeps until there is a reason, and takes it. */
static uint32_t await_reason(void) {
    for (;;) {
        uint32_t seen = mal_load_acquire(&bell);
        uint32_t reasons = mal_exchange_acquire(&wanted, 0u);
        if (reasons)
            return reasons;
        uint64_t left_ns = period_left_ns();
        if (left_ns == 0) {
            say_periodic();
            return MAL_GC_REASON_PERIODIC;
        }
        mal_futex_wait(&bell, seen, left_ns);
    }
}

static void body(void) {
    mal_gc_become_own();
    mal_gc_sweeper_start();
    if (mal_gc_wants(MAL_GC_DEBUG_NO_DIRTY))
        mal_gc_dirty_force("none");
    mal_fds_become_private(-1);
    const struct mal_gc_dirty *dirty = mal_gc_dirty_choose();
    if (dirty == &mal_gc_dirty_none && !mal_gc_wants(MAL_GC_DEBUG_NO_DIRTY))
        say_untracked();
    for (;;) {
        uint32_t reasons = await_reason();
        while (!try_own())
            mal_futex_wait(&owned, 1, MAL_FUTEX_FOREVER);
        run(reasons, dirty);
    }
}

/* Starts it if there is none; false where that cannot be. */
static bool have_coordinator(void) {
    static const struct mal_own_thread thread = {"mallard-gc", body, 0};
    uint32_t none = NONE;
    if (mal_load_acquire(&coordinator) != NONE ||
        !mal_cas_acquire(&coordinator, &none, (uint32_t)STARTING))
        return true;
    bool started = mal_thread_start(&thread) == 0;
    mal_store_release(&coordinator, (uint32_t)(started ? RUNNING : NONE));
    return started;
}

/* ---- asking ---- */

void mal_gc_request(enum mal_gc_reason reason) {
    if (reason == MAL_GC_REASON_HEAP && mal_load_acquire(&in_cycle))
        return;
    uint32_t before = __atomic_fetch_or(&wanted, (uint32_t)reason, __ATOMIC_ACQ_REL);
    if (!have_coordinator()) {
        run_here();
        return;
    }
    if (before & (uint32_t)reason)
        return;
    mal_add_relaxed(&bell, 1u);
    mal_futex_wake(&bell, 1);
}

static bool is_done(uint32_t ticket) {
    return (int32_t)(mal_load_acquire(&done) - ticket) >= 0;
}

/* Nobody else may be there to run it, or whoever runs one now took its tickets earlier. */
static void run_until_done(uint32_t ticket) {
    while (!is_done(ticket) && mal_load_acquire(&coordinator) == NONE) {
        __atomic_fetch_or(&wanted, (uint32_t)MAL_GC_REASON_FORCED, __ATOMIC_ACQ_REL);
        run_here();
        if (!is_done(ticket))
            mal_futex_wait(&owned, 1, START_PATIENCE_NS);
    }
}

static void await_done(uint32_t ticket) {
    mallard_gc_blocking_begin();
    uint32_t now = mal_load_acquire(&done);
    if ((int32_t)(now - ticket) < 0)
        mal_futex_wait(&done, now, DONE_PATIENCE_NS);
    mallard_gc_blocking_end();
}

/* Looks again now and then: another thread may have failed to start the coordinating one after it
 * was counted on. */
void mal_gc_request_and_wait(void) {
    uint32_t ticket = __atomic_add_fetch(&asked, 1u, __ATOMIC_ACQ_REL);
    mal_gc_request(MAL_GC_REASON_FORCED);
    while (!is_done(ticket)) {
        run_until_done(ticket);
        await_done(ticket);
    }
}

void mal_gc_request_await_idle(void) {
    mallard_gc_blocking_begin();
    while (mal_load_acquire(&owned))
        mal_futex_wait(&owned, 1, MAL_FUTEX_FOREVER);
    mallard_gc_blocking_end();
}

/* ---- what the owner says ---- */

void mal_gc_request_note_marking(void) {
    mal_add_relaxed(&stage, 1u);
    mal_futex_wake(&stage, INT32_MAX);
}

void mal_gc_request_note_marked(void) {
    mal_store_release(&in_cycle, 0u);
}

void mal_gc_request_note_swept(uint32_t ticket) {
    mal_store_release(&done, ticket);
    mal_futex_wake(&done, INT32_MAX);
}

static bool is_to_begin(void) {
    return mal_load_acquire(&mal_gc_phase) == MAL_GC_OFF &&
           (mal_load_acquire(&in_cycle) || mal_load_relaxed(&wanted));
}

void mal_gc_request_await_start(void) {
    uint32_t seen = mal_load_acquire(&stage);
    if (!is_to_begin())
        return;
    mallard_gc_blocking_begin();
    mal_futex_wait(&stage, seen, START_PATIENCE_NS);
    mallard_gc_blocking_end();
}

unsigned mal_gc_request_threads(void) {
    return mal_load_relaxed(&coordinator) == NONE ? 0 : 1;
}

void mal_gc_request_forget_in_child(void) {
    coordinator = NONE;
    wanted = owned = in_cycle = 0;
    done = asked;
}
