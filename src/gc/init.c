/* SPDX-License-Identifier: Apache-2.0
 *
 * How the collector comes up, forks, and what it is told.
 *
 * Up: the first call of any mallard_gc_ function that needs a heap. Tables, then the stop signal,
 * then pacing; no thread yet, the first cycle starts them. What fails is tried again by the next
 * call. Nothing here runs in a process that never makes such a call.
 *
 * Fork: the collector's threads are held between two of their steps and every lock is taken, so the
 * child finds whole structures. It gives up the cycle that may have been under way: partial marks
 * say nothing about what is dead. Its threads are started by its first cycle.
 *
 * SYNCHRONIZATION: `stage` goes DOWN -> COMING -> UP, or back to DOWN, by compare-and-swap, and
 * DOWN -> FORKING -> DOWN; threads that come meanwhile wait. No lock: bringing up takes locks of
 * all tiers.
 */
#include "gc/cycle_private.h"

#include "base/atomic.h"
#include "gc/arena.h"
#include "gc/assist.h"
#include "gc/callbacks.h"
#include "gc/chunks.h"
#include "gc/collector.h"
#include "gc/heap.h"
#include "gc/links.h"
#include "gc/mark.h"
#include "gc/pool.h"
#include "gc/procedures.h"
#include "gc/spans.h"
#include "gc/specials.h"
#include "gc/steps.h"
#include "gc/thread.h"
#include "gc/workers.h"
#include "mallard/gc.h"
#include "os/critical.h"
#include "os/futex.h"
#include "os/lock.h"

#include <errno.h>
#include <sched.h>
#include <unistd.h>

enum stage { DOWN, COMING, FORKING, UP };
static uint32_t stage; /* enum stage */
static uint32_t cpus;  /* relaxed atomic; 0: not counted yet */

struct mal_gc_config mal_gc_config = {.percent = 100};

void mal_gc_configure(const struct mal_gc_config *config) {
    mal_gc_config = *config;
    mal_gc_stats_init();
}

static unsigned count_cpus(void) {
    cpu_set_t allowed;
    int saved_errno = errno;
    long count = sched_getaffinity(0, sizeof allowed, &allowed) == 0
                     ? CPU_COUNT(&allowed)
                     : sysconf(_SC_NPROCESSORS_ONLN);
    errno = saved_errno;
    return count > 0 ? (unsigned)count : 1;
}

unsigned mal_gc_cpus(void) {
    if (mal_load_relaxed(&cpus) == 0)
        mal_store_relaxed(&cpus, count_cpus());
    return mal_load_relaxed(&cpus);
}

void mal_gc_become_own(void) {
    mal_gc_world_become_own();
    if (mal_gc_config.become_own)
        mal_gc_config.become_own();
}

/* ---- what the parts need of each other ---- */

static void take_cache_back(struct mal_gc_thread *thread) {
    mal_critical_enter();
    mal_gc_heap_abandon(&thread->cache);
    mal_critical_leave();
}

static bool is_marking(void) {
    return mal_gc_phase == MAL_GC_MARK;
}

static void note_scanned(uint64_t bytes) {
    mal_gc_mark_note_scanned(bytes);
    mal_gc_assist_credit(bytes);
}

static uint32_t turn(void) {
    return mal_gc_turn;
}

static const struct mal_gc_collector collector = {
    .find = mal_gc_heap_find,
    .new_noscan = mallard_gc_alloc_noscan,
    .turn = turn,
    .is_marked = mal_gc_heap_is_marked,
    .is_marking = is_marking,
    .shade = mal_gc_shade,
    .worker_take = mal_gc_worker_take,
    .worker_give = mal_gc_worker_give,
    .mark_word = mal_gc_mark_word,
    .mark_range = mal_gc_mark_range,
    .note_scanned = note_scanned,
    .mark_contents = mal_gc_mark_contents,
    .chunk_new = mal_gc_chunk_new,
    .chunk_take_mark = mal_gc_chunk_take_mark,
    .chunk_free = mal_gc_chunk_free,
    .chunk_charge = mal_gc_chunk_charge,
    .chunk_end = mal_gc_chunk_end,
    .chunk_discount = mal_gc_chunk_discount,
    .become_program = mal_gc_world_become_program,
    .blocking_begin = mallard_gc_blocking_begin,
    .blocking_end = mallard_gc_blocking_end,
};

/* ---- up ---- */

bool mal_gc_is_up(void) {
    return mal_load_acquire(&stage) == UP;
}

static int bring_up(void) {
    static const struct mal_gc_heap_hooks hooks = {mal_gc_assist_charge};
    static bool have_heap;
    if (mal_gc_config.bring_up && !mal_gc_config.bring_up())
        return -ENOMEM;
    int error = have_heap ? 0 : mal_gc_heap_init();
    have_heap = error == 0;
    if (error == 0)
        error = mal_gc_world_init();
    if (error != 0)
        return error;
    mal_gc_pace_init();
    mal_gc_heap_poisons = mal_gc_wants(MAL_GC_DEBUG_POISON);
    mal_gc_heap_set_hooks(&hooks);
    mal_gc_thread_on_exit(take_cache_back);
    mal_gc_collector_install(&collector);
    return 0;
}

/* A fork handler of the program's, run by the thread that forks, finds the collector as it is. */
int mal_gc_ensure(void) {
    uint32_t now;
    if (mal_lock_holds_all)
        return mal_gc_is_up() ? 0 : -EAGAIN;
    while ((now = mal_load_acquire(&stage)) != UP) {
        uint32_t down = DOWN;
        if (now != DOWN)
            mal_futex_wait(&stage, now, MAL_FUTEX_FOREVER);
        else if (mal_cas_acquire(&stage, &down, (uint32_t)COMING)) {
            int error = bring_up();
            mal_store_release(&stage, (uint32_t)(error ? DOWN : UP));
            mal_futex_wake(&stage, INT32_MAX);
            if (error)
                return error;
        }
    }
    return 0;
}

unsigned mal_gc_threads(void) {
    return mal_gc_request_threads() + mal_gc_workers_threads() + mal_gc_sweeper_threads() +
           mal_gc_callbacks_threads();
}

/* ---- requests from inside and outside ---- */

void mal_gc_collect(void) {
    if (mal_gc_ensure() == 0)
        mal_gc_request_and_wait();
}

MAL_PUBLIC void mallard_gc_collect(void) {
    mal_gc_collect();
}

int mal_gc_set_percent(int percent) {
    if (mal_gc_is_up())
        return mal_gc_pace_set_percent(percent);
    int before = mal_gc_config.percent;
    mal_gc_config.percent = percent < 0 ? -1 : percent;
    return before;
}

int mal_gc_percent(void) {
    return mal_gc_is_up() ? mal_gc_pace_percent() : mal_gc_config.percent;
}

void mal_gc_limit_changed(void) {
    if (mal_gc_is_up())
        mal_gc_pace_commit();
}

MAL_PUBLIC int mallard_gc_set_percent(int percent) {
    if (mal_gc_ensure() != 0)
        return mal_gc_set_percent(percent);
    int before = mal_gc_pace_set_percent(percent);
    if (percent < 0)
        mal_gc_request_await_idle();
    return before;
}

/* ---- fork ---- */

/* Two forks at once pass here one after the other, and a collector that is just coming up comes up
 * first: both sides of a fork find what was decided before it. */
static uint32_t fork_lock; /* 0 free, 1 held */
static bool held;          /* fork_lock: the collector is up */

static void take_fork_lock(void) {
    uint32_t free_state = 0;
    while (!mal_cas_acquire(&fork_lock, &free_state, 1u)) {
        mal_futex_wait(&fork_lock, 1, MAL_FUTEX_FOREVER);
        free_state = 0;
    }
}

static void give_fork_lock(void) {
    mal_store_release(&fork_lock, 0u);
    mal_futex_wake(&fork_lock, INT32_MAX);
}

/* DOWN becomes FORKING, so that nobody begins to come up meanwhile. */
static bool settle(void) {
    for (;;) {
        uint32_t now = DOWN;
        if (mal_cas_acquire(&stage, &now, (uint32_t)FORKING))
            return false;
        if (now == UP)
            return true;
        mal_futex_wait(&stage, now, MAL_FUTEX_FOREVER);
    }
}

void mal_gc_hold_for_fork(void) {
    take_fork_lock();
    held = settle();
    if (held) {
        mal_gc_steps_hold();
        mal_gc_gate_shut();
    }
    mal_gc_world_before_fork(); /* threads and handles are known before there is a collector */
}

static void lock_collector(void) {
    mal_gc_pace_before_fork();
    mal_gc_stats_before_fork();
    mal_gc_arenas_before_fork();
    mal_gc_links_before_fork();
    mal_gc_procedures_before_fork();
    mal_gc_specials_before_fork();
}

static void unlock_collector(bool child) {
    mal_gc_specials_after_fork(child);
    mal_gc_procedures_after_fork();
    mal_gc_links_after_fork();
    mal_gc_arenas_after_fork(child);
    mal_gc_stats_after_fork();
    mal_gc_pace_after_fork(child);
}

/* Pools, and what runs their callbacks, are in use without a collector too. */
void mal_gc_before_fork(void) {
    if (held)
        lock_collector();
    mal_gc_pools_before_fork();
    mal_gc_callbacks_before_fork();
    if (held)
        mal_gc_heap_before_fork();
}

void mal_gc_after_fork(bool child) {
    if (held)
        mal_gc_heap_after_fork(child);
    mal_gc_callbacks_after_fork(child);
    mal_gc_pools_after_fork(child);
    if (held)
        unlock_collector(child);
}

static void forget_in_child(void) {
    mal_gc_workers_forget_in_child();
    mal_gc_cpu_forget_in_child();
    mal_gc_sweeper_forget_in_child();
    mal_gc_assist_forget_in_child();
    mal_gc_dirty_forget_in_child();
    mal_gc_request_forget_in_child();
}

void mal_gc_let_go_after_fork(bool child) {
    mal_gc_world_after_fork(child);
    if (held) {
        if (child)
            forget_in_child();
        mal_gc_steps_resume();
    } else {
        mal_store_release(&stage, (uint32_t)DOWN);
        mal_futex_wake(&stage, INT32_MAX);
    }
    give_fork_lock();
}
