/* SPDX-License-Identifier: Apache-2.0
 *
 * One cycle.
 *
 *     finish the last sweep, clear the marks
 *     protect: from here on every write to a page is seen              beside the program
 *     STOP     objects are allocated black; stacks are taken as roots
 *     mark     globals, what hangs on objects, all that they reach     beside the program
 *     rounds   pages written since: clear, then scan again; mark       beside the program
 *     STOP     pages written since the last round, stacks, globals, what mark procedures of the
 *              program's find (procedures.c); mark to the end; finalizers without an order are
 *              judged; allocation is white; goal and trigger anew
 *     sweep                                                            beside the program
 *
 * The order of the first three is what correctness rests on. An object that is allocated black is
 * never scanned because it is new: its page is scanned again because it was written to. So when
 * allocation turns black every page must be watched already, and from then on nothing that a look
 * at the pages reported may be dropped: a round clears first and then scans what it was told.
 *
 * Let W be the words written after their page was last cleared. At the second stop, an edge from a
 * scanned object to an unmarked one lies in W, in a stack, in a register or in a global: a word not
 * in W has been scanned after its last write. All four are scanned while nobody runs.
 *
 * Marking that would be over within the pause target is done in one stop, and so is all marking
 * where pages cannot be watched. A second stop that takes too long is given up, at most
 * RESTARTS_MAX times: what it found stays queued and another round follows.
 *
 * SYNCHRONIZATION: the owner of the cycle runs all of this; see cycle_private.h. `run` is the
 * owner's. Bodies of stops run on the owner's thread while nobody else runs but the workers.
 *
 * Must never allocate through malloc: libc's locks may be held by stopped threads.
 */
#include "gc/cycle_private.h"

#include "base/atomic.h"
#include "base/bits.h"
#include "base/check.h"
#include "gc/arena.h"
#include "gc/assist.h"
#include "gc/heap.h"
#include "gc/malloc_roots.h"
#include "gc/mark.h"
#include "gc/pool.h"
#include "gc/procedures.h"
#include "gc/specials.h"
#include "gc/steps.h"
#include "gc/workers.h"
#include "os/clock.h"
#include "os/futex.h"

#include <string.h>

#define RESTARTS_MAX 2u
#define STOP_BUDGET_NS (3u * MAL_GC_PAUSE_TARGET_NS)
#define RESCAN_PAGE_NS 2500u /* of one page full of small objects, on one CPU */
#define STOP_RESCAN_NS (MAL_GC_PAUSE_TARGET_NS / 3) /* so much is left to a stop */
#define LEARN_BYTES (64u << 10)                     /* less tells nothing of the speed */
#define STALE_NS 1000000u                           /* is_round_stale */
#define STALE_ROUNDS_MAX 4u
#define NAP_NS 1000000u /* between two looks at how marking goes */
#define OWN_QUANTUM_BYTES (1u << 20)

static struct mal_gc_run run; /* the owner's */
static struct mal_gc_worker *own;
static bool drained;               /* the last second stop marked to the end */
static uint64_t ns_per_kib = 1000; /* of scanning, on one CPU; the owner's */

/* ---- marking beside the program ---- */

static void take_own(void) {
    mal_gc_step_begin();
    own = mal_gc_worker_take();
    mal_gc_step_end();
}

static void give_own(void) {
    mal_gc_step_begin();
    mal_gc_worker_give(own);
    own = NULL;
    mal_gc_step_end();
}

/* Without threads that mark, the owner does. */
static void pass_time(uint32_t lulls_seen) {
    static const uint32_t never_changes;
    if (mal_gc_workers_threads() > 0) {
        mal_gc_workers_await_lull(lulls_seen, NAP_NS);
        return;
    }
    take_own();
    mal_gc_step_begin();
    uint64_t scanned = mal_gc_drain(own, OWN_QUANTUM_BYTES, &never_changes);
    mal_gc_assist_credit(scanned - mal_gc_drained_again(own));
    mal_gc_step_end();
    give_own();
}

static bool seems_drained(void) {
    return !mal_gc_workers_are_busy() && mal_gc_mark_is_done();
}

/* A guess is good enough: the second stop finds what is left. A worker that is taken counts as one
 * that may have work, so the owner's is given back meanwhile. */
static void wait_until_drained(void) {
    give_own();
    mal_gc_workers_kick();
    mal_gc_assist_ring();
    for (uint32_t lulls; lulls = mal_gc_workers_lulls(), !seems_drained();) {
        pass_time(lulls);
        mal_gc_workers_set_idle(mal_gc_cpu_idle_permille());
        mal_gc_pace_revise();
        mal_gc_pace_settle();
    }
    take_own();
}

/* Threads that can scan at once. */
static uint64_t hands(void) {
    return mal_gc_workers_threads() > 0 ? mal_min(mal_gc_cpus(), MAL_GC_WORKERS_MAX) : 1;
}

static bool is_another_round_worth(uint64_t pages, uint64_t before) {
    bool is_little = pages * RESCAN_PAGE_NS / hands() <= STOP_RESCAN_NS;
    return !is_little && pages <= before / 4 * 3 && run.rounds < MAL_GC_ROUNDS_MAX;
}

/* What was written since the round began is left to the stop: it is little after a short one only.
 * Where the program keeps all rounds long, more of them do not help. */
static bool is_round_stale(uint64_t began_ns) {
    return run.rounds < STALE_ROUNDS_MAX && mal_clock_mono_ns() - began_ns > STALE_NS;
}

static void mark_rounds(void) {
    uint64_t before = UINT64_MAX;
    for (bool more = run.rounds < MAL_GC_ROUNDS_MAX; more;) {
        uint64_t began_ns = mal_clock_mono_ns();
        uint64_t pages = mal_gc_dirty_round(&run, own);
        wait_until_drained();
        run.round_pages[run.rounds++] = pages;
        more = is_another_round_worth(pages, before) || (pages > 0 && is_round_stale(began_ns));
        before = pages;
    }
}

static void mark_first_time(void) {
    mal_gc_step_begin();
    run.globals_bytes = mal_gc_roots_mark_globals(own);
    mal_gc_roots_mark_others(own);
    mal_gc_step_end();
    wait_until_drained();
}

static void mark_beside(bool first_time) {
    uint64_t start_ns = mal_clock_thread_ns();
    take_own();
    struct mal_gc_plan plan = mal_gc_pace_plan();
    mal_gc_workers_mark_beside(&plan, mal_gc_cpu_idle_permille());
    if (first_time)
        mark_first_time();
    mark_rounds();
    mal_gc_workers_halt();
    run.own_ns += mal_clock_thread_ns() - start_ns;
}

/* ---- stops ---- */

static void take_stacks(void) {
    struct mal_gc_root_bytes bytes = mal_gc_roots_mark_stacks(own);
    run.stack_bytes = bytes.stack;
}

static void begin_marking(void) {
    mal_gc_heap_start_mark();
    run.live_start_bytes = mal_gc_heap_levels().live_bytes;
    mal_gc_cpu_begin_marking();
    mal_gc_pools_flip();
    mal_gc_pace_start(&run);
    mal_gc_assist_begin();
}

static void first_stop(void *unused) {
    (void)unused;
    begin_marking();
    own = mal_gc_worker_take();
    take_stacks();
    mal_gc_worker_give(own);
}

/* Procedures of the program's mark what may lead to objects with procedures. */
static bool drain_stopped(uint64_t deadline_ns) {
    mal_gc_procedures_begin();
    do
        if (!mal_gc_workers_finish(own, mal_gc_dirty_share, deadline_ns))
            return false;
    while (mal_gc_procedures_call(own, deadline_ns) || mal_gc_specials_judge_unordered(own));
    return true;
}

/* Marks what is left; false when the time was up before all was done. */
static bool mark_stopped(uint64_t deadline_ns) {
    if (mal_gc_wants(MAL_GC_DEBUG_MALLOC_ROOTS))
        mal_gc_malloc_roots_mark(own);
    take_stacks();
    run.globals_bytes = mal_gc_roots_mark_globals(own);
    if (run.beside)
        mal_gc_roots_mark_moving(own);
    else
        mal_gc_roots_mark_others(own);
    return drain_stopped(deadline_ns);
}

static uint64_t deadline(uint64_t from_ns) {
    return run.restarts < RESTARTS_MAX ? from_ns + STOP_BUDGET_NS : UINT64_MAX;
}

static void end_marking(void) {
    run.scanned_bytes = mal_gc_mark_scanned_bytes(); /* not what the oracle scans */
    run.rescanned_bytes = mal_gc_mark_rescanned_bytes();
    if (mal_gc_wants(MAL_GC_DEBUG_CHECKMARK))
        mal_gc_checkmark(mal_gc_roots_mark_all);
    mal_gc_heap_end_mark();
    mal_gc_arenas_end_mark();
    run.marked_bytes = mal_gc_heap_levels().marked_bytes;
    mal_gc_assist_end();
    run.assist_ns = mal_gc_assist_ns();
    run.idle_ns = mal_gc_workers_cpu().idle_ns;
    run.end_ns = mal_clock_mono_ns(); /* shares of CPU time are by this */
    mal_gc_pace_end(&run);
    run.end_ns = mal_clock_mono_ns();
    mal_gc_request_note_marked();
}

static void second_stop(void *unused) {
    (void)unused;
    uint64_t until_ns = deadline(mal_clock_mono_ns());
    run.live_end_bytes = mal_gc_heap_levels().live_bytes;
    run.final_pages = mal_gc_dirty_look(&run, own);
    uint64_t rescan_ns = run.final_pages * RESCAN_PAGE_NS / hands();
    drained =
        (run.restarts == RESTARTS_MAX || rescan_ns <= STOP_BUDGET_NS) && mark_stopped(until_ns);
    mal_gc_worker_give(own);
    if (drained)
        end_marking();
}

static void only_stop(void *unused) {
    (void)unused;
    begin_marking();
    run.mark_ns = run.mark_term_ns = mal_clock_mono_ns();
    own = mal_gc_worker_take();
    run.live_end_bytes = run.live_start_bytes;
    drained = mark_stopped(UINT64_MAX);
    mal_gc_worker_give(own);
    MAL_ASSERT(drained);
    end_marking();
}

static void stop(void (*body)(void *context), struct mal_gc_stop *ret_stop) {
    mal_gc_step_begin();
    mal_gc_pace_before_stop();
    mal_gc_world_stopped(body, NULL, ret_stop);
    mal_gc_pace_after_stop();
    mal_gc_step_end();
}

/* ---- the cycle ---- */

/* What one CPU would scan of so much heap while the others scan theirs; arenas are the owner's. */
static uint64_t share_kib(uint64_t heap_bytes, uint64_t arenas_bytes) {
    return (heap_bytes / hands() + arenas_bytes) >> 10;
}

static bool would_be_over_at_once(void) {
    uint64_t kib = share_kib(mal_gc_heap_levels().scan_bytes, mal_gc_arenas_bytes().scan_bytes);
    return kib * ns_per_kib <= MAL_GC_PAUSE_TARGET_NS;
}

static bool can_mark_beside(void) {
    if (!run.dirty || (would_be_over_at_once() && !mal_gc_wants(MAL_GC_DEBUG_BESIDE)))
        return false;
    return mal_gc_dirty_protect(&run);
}

static void run_beside(void) {
    stop(first_stop, &run.first_stop);
    run.sweep_term_ns = run.first_stop.asked_ns;
    run.mark_ns = run.first_stop.ended_ns;
    mal_gc_request_note_marking();
    for (bool first_time = true;; first_time = false, run.restarts++) {
        mark_beside(first_time);
        stop(second_stop, &run.last_stop);
        run.mark_term_ns = run.last_stop.asked_ns;
        if (drained)
            break;
        run.given_up_ns += run.last_stop.ended_ns - run.mark_term_ns;
        run.rounds = (unsigned)mal_min(run.rounds, MAL_GC_ROUNDS_MAX - 1);
    }
}

static void run_stopped(void) {
    stop(only_stop, &run.last_stop);
    run.first_stop = run.last_stop;
    run.sweep_term_ns = run.first_stop.asked_ns;
    mal_gc_request_note_marking();
}

/* How fast scanning is here, for the next cycle's decision. */
static void learn_speed(void) {
    uint64_t bytes = mal_gc_mark_scanned_bytes();
    uint64_t arenas_bytes = mal_min(mal_gc_arenas_bytes().scan_bytes, bytes);
    uint64_t kib = share_kib(bytes - arenas_bytes, arenas_bytes);
    if (run.beside || bytes < LEARN_BYTES)
        return;
    uint64_t now = (run.end_ns - run.mark_ns) / mal_max(kib, 1);
    ns_per_kib = (3 * ns_per_kib + now) / 4;
}

static void prepare(void) {
    mal_gc_step_begin();
    mal_gc_heap_before_mark();
    mal_gc_step_end();
    mal_gc_cpu_begin_cycle();
}

/* Pages that are protected cannot be joined to huge ones. A program that collects by hand, again
 * and again, would never get any: it waits for them, and the heap does not. */
static void await_huge_pages(void) {
    while ((run.reasons & MAL_GC_REASON_HEAP) == 0 &&
           mal_gc_heap_levels().live_bytes < mal_gc_pace_trigger() && !mal_gc_sweeper_await(NAP_NS))
        ;
}

void mal_gc_cycle_run(uint32_t reasons, uint32_t ticket, const struct mal_gc_dirty *dirty) {
    memset(&run, 0, sizeof run);
    run.reasons = reasons;
    run.ticket = ticket;
    await_huge_pages();
    run.asked_live_bytes = mal_gc_heap_levels().live_bytes;
    run.dirty = dirty == &mal_gc_dirty_none ? NULL : dirty;
    if (dirty)
        mal_gc_workers_start(mal_gc_cpus());
    prepare();
    uint64_t start_ns = mal_clock_thread_ns();
    run.beside = can_mark_beside();
    run.protect_ns = mal_clock_thread_ns() - start_ns;
    if (run.beside)
        run_beside();
    else
        run_stopped();
    /* At once: the program writes to its pages again, and a fault for each costs more. */
    if (run.beside)
        mal_gc_dirty_unprotect(&run);
    mal_gc_arenas_after_mark();
    learn_speed();
    mal_gc_cycle_report(&run);
}
