/* SPDX-License-Identifier: Apache-2.0
 *
 * The pacer and the CPU limiter in the running process.
 *
 * Both are arithmetic on plain data. Here is the lock that guards it, the numbers of the process
 * that go in, and the few results that allocating threads look at without the lock.
 *
 * SYNCHRONIZATION: `pace_lock` (rank GC_PACE) guards `pacer`, `limiter` and `plan`. The snapshots
 * are relaxed atomics, written under the lock: each is used by itself.
 */
#include "gc/cycle_private.h"

#include "base/atomic.h"
#include "base/bits.h"
#include "base/check.h"
#include "gc/arena.h"
#include "gc/assist.h"
#include "gc/heap.h"
#include "gc/limiter.h"
#include "gc/mark.h"
#include "gc/workers.h"
#include "meta/pagemap.h"
#include "os/clock.h"
#include "os/lock.h"
#include "pageheap/limit.h"
#include "pageheap/pageheap.h"

#include <string.h>

static struct mal_lock pace_lock = MAL_LOCK_INIT(MAL_RANK_GC_PACE);
static struct mal_gc_pacer pacer;
static struct mal_gc_limiter limiter;
static struct mal_gc_plan plan;
static uint64_t stack_bytes, globals_bytes; /* as last scanned; pace_lock */
static uint64_t arena_bytes;                /* to be scanned, as a cycle last saw them; pace_lock */

static uint64_t trigger = UINT64_MAX, goal = UINT64_MAX; /* snapshots */
static uint64_t work_per_byte, bytes_per_work;           /* bits of doubles */

/* ---- numbers in ---- */

static struct mal_gc_pacer_heap heap_now(void) {
    struct mal_gc_heap_counters heap = mal_gc_heap_levels();
    struct mal_pageheap_stats pages = mal_pageheap_stats();
    return (struct mal_gc_pacer_heap){
        .live_bytes = heap.live_bytes,
        .scan_bytes = heap.scan_bytes + arena_bytes,
        .stack_bytes = stack_bytes,
        .globals_bytes = globals_bytes,
        .mapped_ready_bytes = mal_limit_ready_bytes(),
        .free_bytes = pages.free_pages << MAL_PAGE_SHIFT,
        .object_bytes = heap.live_bytes,
        .unswept_pages = heap.unswept_pages,
    };
}

/* ---- snapshots out ---- */

static uint64_t bits_of(double value) {
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static double double_of(uint64_t bits) {
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static void publish_locked(void) {
    mal_store_relaxed(&goal, mal_gc_pacer_goal(&pacer));
    mal_store_relaxed(&trigger, mal_gc_pacer_trigger(&pacer));
    MAL_ASSERT(trigger <= goal);
}

/* The limit's own place is the page heap; here it is looked at whenever it matters. */
static void commit_locked(void) {
    struct mal_gc_pacer_heap heap = heap_now();
    pacer.memory_limit_bytes = (int64_t)mal_limit_bytes();
    mal_gc_pacer_commit(&pacer, &heap);
    publish_locked();
}

uint64_t mal_gc_pace_trigger(void) {
    return mal_load_relaxed(&trigger);
}

uint64_t mal_gc_pace_goal(void) {
    return mal_load_relaxed(&goal);
}

struct mal_gc_assist_ratio mal_gc_pace_ratio(void) {
    return (struct mal_gc_assist_ratio){double_of(mal_load_relaxed(&work_per_byte)),
                                        double_of(mal_load_relaxed(&bytes_per_work))};
}

/* ---- knobs ---- */

void mal_gc_pace_init(void) {
    mal_lock(&pace_lock);
    mal_gc_pacer_init(&pacer, mal_gc_config.percent, (int64_t)mal_limit_bytes(), mal_gc_cpus());
    mal_gc_limiter_init(&limiter, mal_gc_cpus());
    commit_locked();
    mal_unlock(&pace_lock);
}

int mal_gc_pace_percent(void) {
    mal_lock(&pace_lock);
    int percent = pacer.percent;
    mal_unlock(&pace_lock);
    return percent;
}

int mal_gc_pace_set_percent(int percent) {
    mal_lock(&pace_lock);
    int before = pacer.percent;
    mal_gc_pacer_set(&pacer, percent, pacer.memory_limit_bytes);
    commit_locked();
    mal_unlock(&pace_lock);
    return before;
}

void mal_gc_pace_commit(void) {
    mal_lock(&pace_lock);
    commit_locked();
    mal_unlock(&pace_lock);
}

/* Under a limit the goal follows what the rest of the process takes. */
void mal_gc_pace_observe(void) {
    if (mal_limit_bytes() == MAL_LIMIT_OFF)
        return;
    mal_lock(&pace_lock);
    struct mal_gc_pacer_heap heap = heap_now();
    mal_gc_pacer_observe(&pacer, &heap);
    publish_locked();
    mal_unlock(&pace_lock);
}

/* ---- a cycle ---- */

static void revise_locked(const struct mal_gc_pacer_heap *heap) {
    struct mal_gc_assist_ratio ratio =
        mal_gc_pacer_revise(&pacer, heap, mal_gc_mark_scanned_bytes());
    mal_store_relaxed(&work_per_byte, bits_of(ratio.work_per_byte));
    mal_store_relaxed(&bytes_per_work, bits_of(ratio.bytes_per_work));
    publish_locked();
}

static enum mal_gc_start_reason reason_of(const struct mal_gc_run *run) {
    if (run->reasons & MAL_GC_REASON_FORCED)
        return MAL_GC_START_FORCED;
    return run->reasons & MAL_GC_REASON_HEAP ? MAL_GC_START_HEAP : MAL_GC_START_TIME;
}

void mal_gc_pace_start(struct mal_gc_run *run) {
    uint64_t arenas = mal_gc_arenas_bytes().scan_bytes;
    mal_lock(&pace_lock);
    arena_bytes = arenas;
    struct mal_gc_pacer_heap heap = heap_now();
    plan = mal_gc_pacer_start(&pacer, &heap, reason_of(run));
    revise_locked(&heap);
    run->planned = (struct mal_gc_trace_start){
        .assist_ratio = double_of(work_per_byte),
        .scan_bytes = heap.scan_bytes,
        .live_bytes = heap.live_bytes,
        .goal_bytes = goal,
        .dedicated = plan.dedicated,
        .fractional = plan.fractional,
    };
    mal_unlock(&pace_lock);
}

struct mal_gc_plan mal_gc_pace_plan(void) {
    mal_lock(&pace_lock);
    struct mal_gc_plan copy = plan;
    mal_unlock(&pace_lock);
    return copy;
}

void mal_gc_pace_revise(void) {
    mal_lock(&pace_lock);
    struct mal_gc_pacer_heap heap = heap_now();
    revise_locked(&heap);
    mal_unlock(&pace_lock);
}

static void set_sweep_locked(void) {
    struct mal_gc_heap_counters heap = mal_gc_heap_levels();
    double ratio = mal_gc_pacer_sweep_ratio(&pacer, heap.live_bytes, heap.unswept_pages, 0);
    mal_gc_assist_set_sweep(ratio, heap.unswept_pages, heap.live_bytes);
}

/* The heap has ended marking already: what was live while marking is in the run. */
void mal_gc_pace_end(struct mal_gc_run *run) {
    mal_lock(&pace_lock);
    stack_bytes = run->stack_bytes;
    globals_bytes = run->globals_bytes;
    struct mal_gc_pacer_heap heap = heap_now();
    MAL_ASSERT(run->marked_bytes <= heap.mapped_ready_bytes);
    heap.live_bytes = run->live_end_bytes;
    uint64_t again = mal_min(run->rescanned_bytes, run->scanned_bytes);
    struct mal_gc_pacer_end end = {
        .marked_bytes = run->marked_bytes,
        .scanned_heap_bytes = run->scanned_bytes - again,
        .scanned_stack_bytes = run->stack_bytes,
        .globals_bytes = run->globals_bytes,
        .rescanned_bytes = again,
        .protect_bytes =
            run->live_start_bytes - mal_min(run->asked_live_bytes, run->live_start_bytes),
        .mark_ns = run->end_ns - run->mark_ns,
        .assist_ns = run->assist_ns,
        .idle_ns = run->idle_ns,
        .background_ns = mal_gc_workers_cpu().background_ns + run->own_ns,
        .program_ns = mal_gc_cpu_program_ns(),
    };
    run->outcome = mal_gc_pacer_end_cycle(&pacer, &heap, &end);
    run->goal_bytes = run->outcome.goal_bytes;
    commit_locked();
    set_sweep_locked();
    mal_unlock(&pace_lock);
}

/* ---- the limiter ---- */

static uint64_t settled_ns; /* the owner's */

void mal_gc_pace_before_stop(void) {
    struct mal_gc_cpu_shares cpu = mal_gc_cpu_settle();
    settled_ns = mal_clock_mono_ns();
    mal_lock(&pace_lock);
    mal_gc_limiter_update(&limiter, cpu.program_ns, cpu.background_ns);
    mal_unlock(&pace_lock);
}

void mal_gc_pace_settle(void) {
    if (mal_clock_mono_ns() - settled_ns >= MAL_GC_LIMITER_PERIOD_NS)
        mal_gc_pace_before_stop();
}

void mal_gc_pace_after_stop(void) {
    uint64_t stop_ns = mal_gc_cpu_settle_stop_ns();
    mal_lock(&pace_lock);
    mal_gc_limiter_charge_stop(&limiter, stop_ns);
    mal_unlock(&pace_lock);
}

void mal_gc_pace_add_assist(uint64_t ns) {
    mal_gc_limiter_add_assist(&limiter, ns);
}

bool mal_gc_pace_is_limiting(void) {
    return mal_gc_limiter_is_limiting(&limiter);
}

/* ---- fork ---- */

void mal_gc_pace_before_fork(void) {
    mal_lock(&pace_lock);
}

void mal_gc_pace_after_fork(bool child) {
    if (child) {
        pacer.triggered_bytes = UINT64_MAX;
        mal_gc_limiter_init(&limiter, mal_gc_cpus());
    }
    mal_unlock(&pace_lock);
}
