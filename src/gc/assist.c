/* SPDX-License-Identifier: Apache-2.0
 *
 * What allocating threads do for the collector.
 *
 * The heap calls mal_gc_assist_charge whenever a thread took a span's free slots or a large object.
 * While marking goes on, the bytes are a debt of scan work, at the pacer's ratio: the thread takes
 * over credit that the collector's threads earned, else scans itself, at least MIN_WORK_BYTES at a
 * time, else waits until there is credit or marking is over. Between cycles the bytes are a debt of
 * sweeping, so that sweeping ends before the next cycle begins. And when the heap has grown to the
 * trigger, the thread wants a cycle.
 *
 * A thread scans inside a critical section, or it could be stopped with work in hand; its scanning
 * ends as soon as a stop is pending, so nobody waits for it.
 *
 * SYNCHRONIZATION: `credit_bytes` is a relaxed atomic, taken by compare-and-swap. `credit_bell` is
 * bumped after credit was added while `waiting` is not zero: a waiter counts itself, reads the
 * bell, looks for credit, then sleeps on the value it read. Sweep figures are written while the
 * world is stopped. A thread's debt is its own.
 *
 * Must never wait inside a critical section, nor longer than WAIT_NS at a time.
 */
#include "gc/assist.h"

#include "base/atomic.h"
#include "base/bits.h"
#include "gc/cycle_private.h"
#include "gc/heap.h"
#include "gc/mark.h"
#include "gc/thread.h"
#include "gc/workers.h"
#include "os/clock.h"
#include "os/critical.h"
#include "os/futex.h"
#include "os/lock.h"

#define MIN_WORK_BYTES (256u << 10) /* a sixth of a millisecond where objects are small */
#define MOST_WORK_BYTES (1u << 20)  /* at a time, or for large requests as follows */
#define MOST_WORK_PER_BYTE 16
#define AHEAD_MOST_BYTES (4 << 20) /* that a thread has paid for and not allocated yet */
#define WAIT_NS 2000000u

static int64_t credit_bytes;          /* relaxed atomic; what others have scanned ahead */
static uint32_t credit_bell, waiting; /* relaxed atomics; the bell is a futex */
static uint64_t assist_ns;            /* relaxed atomic */
static uint32_t refills;              /* relaxed atomic, for stress */

static double sweep_pages_per_byte;                      /* written in a stopped world, as are */
static uint64_t sweep_from_live_bytes, sweep_from_pages; /* these, when the sweep begins */

/* ---- marking ---- */

static bool marking(void) {
    return mal_load_acquire(&mal_gc_phase) == MAL_GC_MARK;
}

/* Takes over at most `most` bytes of credit; returns how many. */
static int64_t take_credit(int64_t most) {
    int64_t there = mal_load_relaxed(&credit_bytes);
    while (there > 0) {
        int64_t taken = there < most ? there : most;
        if (mal_cas_relaxed(&credit_bytes, &there, there - taken))
            return taken;
    }
    return 0;
}

void mal_gc_assist_credit(uint64_t bytes) {
    if (bytes == 0)
        return;
    mal_add_relaxed(&credit_bytes, (int64_t)bytes);
    mal_gc_assist_ring();
}

void mal_gc_assist_ring(void) {
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (mal_load_relaxed(&waiting) == 0)
        return;
    mal_add_relaxed(&credit_bell, 1u);
    mal_futex_wake(&credit_bell, INT32_MAX);
}

static void count_assist(uint64_t ns) {
    mal_add_relaxed(&assist_ns, ns);
    mal_gc_pace_add_assist(ns);
}

/* Scans about so many bytes; 0 when there was nothing to scan. Stops come between the critical
 * sections, and waiting for credit is no work: neither counts as time of assists. */
static uint64_t scan(uint64_t bytes) {
    uint64_t scanned = 0;
    mal_critical_enter();
    if (marking()) {
        uint64_t start_ns = mal_clock_thread_ns();
        struct mal_gc_worker *worker = mal_gc_worker_take();
        scanned = mal_gc_drain(worker, bytes, &mal_critical.stop_pending);
        mal_gc_worker_give(worker);
        count_assist(mal_clock_thread_ns() - start_ns);
        mal_gc_workers_note_lull();
    }
    mal_critical_leave();
    return scanned;
}

/* Nothing to scan and no credit: somebody else holds the work. */
static void wait_for_credit(void) {
    mal_add_relaxed(&waiting, 1u);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    uint32_t bell = mal_load_relaxed(&credit_bell);
    if (mal_load_relaxed(&credit_bytes) <= 0 && marking()) {
        mallard_gc_blocking_begin();
        mal_futex_wait(&credit_bell, bell, WAIT_NS);
        mallard_gc_blocking_end();
    }
    mal_sub_relaxed(&waiting, 1u);
}

/* All is scanned: what is left of the cycle is none of the allocating thread's business, unless the
 * heap would outgrow its goal meanwhile. What is allocated then lives until the next cycle, whose
 * goal is the larger for it. */
static bool is_nothing_left(void) {
    return mal_gc_mark_is_done() && mal_gc_heap_levels().live_bytes <= mal_gc_pace_goal();
}

/* Beyond the goal each allocation looks anew. */
static int64_t ahead_most_bytes(void) {
    return mal_gc_heap_levels().live_bytes <= mal_gc_pace_goal() ? AHEAD_MOST_BYTES : 0;
}

static bool is_owed(void) {
    return marking() && !mal_gc_pace_is_limiting();
}

/* Does or finds at least `work` bytes of scanning, or less where assists end. Returns how many. */
static int64_t earn(int64_t work) {
    int64_t done = take_credit(work);
    if (done >= work)
        return done;
    while (done < work && is_owed()) {
        int64_t more = (int64_t)scan((uint64_t)(work - done));
        if (more == 0)
            more = take_credit(work - done);
        if (more == 0 && is_nothing_left())
            more = work - done;
        if (more == 0)
            wait_for_credit();
        done += more;
    }
    return done;
}

/* Near the goal all that is left would be owed by one allocation: it owes it, but pays by and by.
 * Large ones would be through before that came to anything. */
static int64_t most_work(uint64_t bytes) {
    return (int64_t)mal_max(MOST_WORK_BYTES, bytes * MOST_WORK_PER_BYTE);
}

/* The debt is in allocated bytes, negative when the thread paid ahead. When next to no work seems
 * to be left, the least that is done would pay for gigabytes; written pages may bring more work. */
static void pay(struct mal_gc_thread *thread, uint64_t bytes) {
    if (thread->assist_cycle != mal_load_relaxed(&mal_gc_cycle)) {
        thread->assist_cycle = mal_load_relaxed(&mal_gc_cycle);
        thread->assist_debt_bytes = 0;
    }
    thread->assist_debt_bytes += (int64_t)bytes;
    if (thread->assist_debt_bytes <= 0 || mal_gc_pace_is_limiting())
        return;
    struct mal_gc_assist_ratio ratio = mal_gc_pace_ratio();
    double owed = (double)thread->assist_debt_bytes * ratio.work_per_byte;
    int64_t most = most_work(bytes);
    int64_t work = owed < (double)most ? (int64_t)owed : most;
    int64_t earned = earn(work > MIN_WORK_BYTES ? work : (int64_t)MIN_WORK_BYTES);
    double left = (double)thread->assist_debt_bytes - (double)earned * ratio.bytes_per_work;
    int64_t ahead = ahead_most_bytes();
    thread->assist_debt_bytes = left > (double)-ahead ? (int64_t)left : -ahead;
}

void mal_gc_assist_begin(void) {
    mal_store_relaxed(&credit_bytes, 0);
    mal_store_relaxed(&assist_ns, 0u);
}

void mal_gc_assist_end(void) {
    mal_add_relaxed(&credit_bell, 1u);
    mal_futex_wake(&credit_bell, INT32_MAX);
}

uint64_t mal_gc_assist_ns(void) {
    return mal_load_relaxed(&assist_ns);
}

/* ---- sweeping ---- */

void mal_gc_assist_set_sweep(double pages_per_byte, uint64_t unswept_pages, uint64_t live_bytes) {
    sweep_pages_per_byte = pages_per_byte;
    sweep_from_pages = unswept_pages;
    sweep_from_live_bytes = live_bytes;
}

static void sweep_in_proportion(const struct mal_gc_heap_counters *heap) {
    if (heap->unswept_pages == 0 || heap->live_bytes <= sweep_from_live_bytes)
        return;
    double owed = (double)(heap->live_bytes - sweep_from_live_bytes) * sweep_pages_per_byte;
    double swept = (double)(sweep_from_pages - mal_min(heap->unswept_pages, sweep_from_pages));
    if (owed > swept)
        mal_gc_heap_sweep((size_t)(owed - swept) + 1);
}

/* ---- the trigger ---- */

static bool is_stress_due(void) {
    uint32_t every = mal_gc_config.stress_refills;
    return every > 0 && mal_add_relaxed(&refills, 1u) % every == every - 1;
}

static void look_at_trigger(const struct mal_gc_heap_counters *heap) {
    if (heap->live_bytes < mal_gc_pace_trigger() && !is_stress_due())
        return;
    mal_gc_request(MAL_GC_REASON_HEAP);
    if (heap->live_bytes >= mal_gc_pace_goal() && !mal_gc_pace_is_limiting())
        mal_gc_request_await_start();
}

/* A thread that holds all locks to fork owes nothing: who could pay it off waits for the fork. */
void mal_gc_assist_charge(uint64_t bytes) {
    if (mal_lock_holds_all)
        return;
    struct mal_gc_heap_counters heap = mal_gc_heap_levels();
    if (marking()) {
        if (heap.live_bytes > mal_gc_pace_goal())
            mal_gc_pace_revise();
        if (mal_gc_self)
            pay(mal_gc_self, bytes);
        return;
    }
    sweep_in_proportion(&heap);
    mal_gc_pace_observe();
    look_at_trigger(&heap);
}

void mal_gc_assist_forget_in_child(void) {
    credit_bytes = 0;
    waiting = 0;
}
