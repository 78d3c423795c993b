/* SPDX-License-Identifier: Apache-2.0
 *
 * The background thread.
 *
 * One per process, started when a slow path first finds the process older than START_AGE_NS, so
 * that short-lived programs never have one; or at once when somebody asked to watch. Every second,
 * or when a request comes through the mailbox, it wakes and does its rounds:
 *
 *     answer requests - give memory back (front/scavenge.c) - publish statistics
 *
 * Where no thread can be had, one is tried again after RETRY_NS. Where no box can be had, there are
 * no requests to answer, and the rounds are the same without.
 *
 * The thread leaves when it is asked to, for calls that a process of several threads may not make
 * (front/alone.c), and comes back afterwards.
 *
 * A program that puts a seccomp filter upon itself may be ended for the next thread that it makes
 * or file that it opens. So once it is known to have done so none is started any more, not in its
 * children either; and what has to be looked up before the thread may leave, the thread looks up.
 *
 * SYNCHRONIZATION: `run_state` changes by compare-and-swap:
 *     FORBIDDEN -> ALLOWED -> RUNNING -> ASKED_TO_LEAVE -> LEFT -> ALLOWED
 * and back from RUNNING to ALLOWED where no thread can be had, and in a forked child. Instead of
 * ALLOWED it becomes RENOUNCED, for good, once the process is confined. Whoever asked
 * the thread to leave takes it back, by ASKED_TO_LEAVE -> RUNNING where it has not left yet: the
 * thread leaves by ASKED_TO_LEAVE -> LEFT, so just one of the two happens. It may miss a wake
 * between its look at the state and its sleep: it is woken again and again until it has left.
 *
 * `look_state` goes NOT_ASKED -> ASKED by whoever asks, so one at a time; ASKED -> LOOKING ->
 * ANSWERED by the thread, which releases `looked` so; and back by the asker, from ANSWERED, or from
 * ASKED when out of patience. So an answer is always to the question that is open.
 *
 * Must never hold a lock while it sleeps, and never run the program's code. Must never start a
 * thread in a child of vfork: that one would belong to the child and end with it.
 */
#include "front/background.h"

#include "base/atomic.h"
#include "base/bits.h"
#include "box/writer.h"
#include "front/http.h"
#include "front/init.h"
#include "front/memory.h"
#include "front/scavenge.h"
#include "front/span_map.h"
#include "front/stats.h"
#include "front/thread.h"
#include "front/trace.h"
#include "gc/cycle.h"
#include "gc/pool.h"
#include "os/clock.h"
#include "os/confined.h"
#include "os/env.h"
#include "os/futex.h"
#include "os/tasks.h"
#include "os/thread.h"
#include "sample/profile.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#define START_AGE_NS (20u * 1000 * 1000)
#define RETRY_NS 1000000000ull
#define ROUND_NS 1000000000ull
#define LOOK_NAP_NS 1000000u

enum run_state { FORBIDDEN, ALLOWED, RENOUNCED, RUNNING, ASKED_TO_LEAVE, LEFT };
static uint32_t run_state;   /* enum run_state; atomic */
static uint64_t start_at_ns; /* not before it; relaxed atomic, written before ALLOWED */

enum look_state { NOT_ASKED, ASKED, LOOKING, ANSWERED };
static uint32_t look_state;               /* enum look_state; atomic, a futex */
static struct mal_background_view looked; /* the thread's while LOOKING, then the asker's */

bool mal_background_is_settled(void) {
    return mal_load_relaxed(&run_state) == RUNNING;
}

static void allow_in(uint64_t wait_ns) {
    mal_store_relaxed(&start_at_ns, mal_clock_coarse_ns() + wait_ns);
    mal_store_release(&run_state, (uint32_t)(mal_process_is_confined() ? RENOUNCED : ALLOWED));
}

void mal_background_allow(void) {
    allow_in(START_AGE_NS);
}

void mal_background_hurry(void) {
    mal_store_relaxed(&start_at_ns, 0);
}

void mal_background_forget_in_child(void) {
    mal_store_relaxed(&look_state, (uint32_t)NOT_ASKED);
    if (mal_load_relaxed(&run_state) >= RUNNING)
        mal_background_allow();
}

static int64_t obey(enum mal_box_command command, int64_t argument, int *ret_error) {
    *ret_error = 0;
    switch (command) {
    case MAL_BOX_CMD_PUBLISH:
        return 0;
    case MAL_BOX_CMD_COLLECT: /* without a collected heap what is asked for is exactness */
        if (mal_gc_is_up())
            mal_gc_collect();
        return 0;
    case MAL_BOX_CMD_FREE_OS_MEMORY:
        return (int64_t)mal_memory_release();
    case MAL_BOX_CMD_SET_RATE:
        return (int64_t)mal_memory_set_rate((uint64_t)argument);
    case MAL_BOX_CMD_SET_MEM_LIMIT:
        return mal_memory_set_limit(argument);
    case MAL_BOX_CMD_SET_GOGC:
        return mal_memory_set_gogc(argument);
    case MAL_BOX_CMD_MAP_SPANS:
        return (int64_t)mal_span_map_draw();
    default:
        *ret_error = -ENOSYS;
        return -1;
    }
}

static void answer_requests(uint64_t wait_ns) {
    enum mal_box_command command;
    int64_t argument;
    for (; mal_writer_await_request(wait_ns, &command, &argument); wait_ns = 0) {
        int error;
        int64_t result = obey(command, argument, &error);
        mal_stats_publish();
        mal_writer_answer(result, error);
    }
}

static const uint32_t never; /* changes */

static void sleep_for(uint64_t wait_ns) {
    mal_futex_wait(&never, 0, wait_ns);
}

/* libc ends a process when its last thread ends, and counts this one. */
static void end_with_the_program(void) {
    if (mal_process_is_deserted(1 + mal_http_threads() + mal_gc_threads()))
        exit(0);
}

static void do_round(void) {
    end_with_the_program();
    mal_http_follow_process();
    mal_scavenge_round(ROUND_NS);
    mal_gc_pools_tick(mal_clock_mono_ns());
    mal_trace_scavenge();
    mal_stats_publish();
}

static bool change_state(enum run_state from, enum run_state to) {
    uint32_t expected = from;
    return mal_cas_acquire(&run_state, &expected, (uint32_t)to);
}

static bool leaves(void) {
    return mal_load_relaxed(&run_state) == ASKED_TO_LEAVE && change_state(ASKED_TO_LEAVE, LEFT);
}

/* The program's first thread: all it has, where this matters. */
static void look_if_asked(unsigned own_filters) {
    uint32_t state = ASKED;
    if (mal_load_relaxed(&look_state) != ASKED ||
        !mal_cas_acquire(&look_state, &state, (uint32_t)LOOKING))
        return;
    looked.threads = mal_tasks_count();
    looked.has_new_filters = mal_process_filters("self") != own_filters;
    mal_store_release(&look_state, (uint32_t)ANSWERED);
    mal_futex_wake(&look_state, 1);
}

static void body(void) {
    mal_thread_become_own();
    mal_thread_remember_cpus();
    unsigned own_filters = mal_process_filters("thread-self");
    uint64_t next_round_ns = mal_clock_mono_ns();
    while (!leaves()) {
        look_if_asked(own_filters);
        uint64_t now_ns = mal_clock_mono_ns();
        if (now_ns >= next_round_ns) {
            do_round();
            next_round_ns = now_ns + ROUND_NS;
        } else if (mal_profile_ensure_box_in_time()) {
            answer_requests(next_round_ns - now_ns);
        } else {
            sleep_for(next_round_ns - now_ns);
        }
    }
}

void mal_background_start(void) {
    static const struct mal_own_thread thread = {"mallard", body, 0};
    mal_init_check_fork();
    if (!mal_init_is_own_process() || !change_state(ALLOWED, RUNNING))
        return;
    /* No thread to be had: the process does without for a while. */
    if (mal_thread_start(&thread) != 0)
        allow_in(RETRY_NS);
}

void mal_background_tick(void) {
    if (mal_load_acquire(&run_state) != ALLOWED)
        return;
    if (mal_clock_coarse_ns() >= mal_load_relaxed(&start_at_ns))
        mal_background_start();
}

bool mal_background_ask_to_leave(void) {
    return change_state(RUNNING, ASKED_TO_LEAVE);
}

void mal_background_wake(void) {
    mal_writer_wake();
    mal_futex_wake(&never, 1);
}

void mal_background_take_back(enum mal_background_return when) {
    if (change_state(ASKED_TO_LEAVE, RUNNING))
        return;
    mal_background_allow();
    if (when == MAL_BACKGROUND_AT_ONCE)
        mal_background_start();
}

bool mal_background_has_left(void) {
    return mal_load_acquire(&run_state) == LEFT;
}

void mal_background_renounce(void) {
    mal_confine();
    change_state(ALLOWED, RENOUNCED);
}

/* False when the thread has begun to look. */
static bool gives_up_asking(void) {
    uint32_t state = ASKED;
    return mal_cas_acquire(&look_state, &state, (uint32_t)NOT_ASKED);
}

bool mal_background_look(uint64_t patience_ns, struct mal_background_view *ret_view) {
    uint32_t state = NOT_ASKED;
    uint64_t until_ns = mal_clock_mono_ns() + patience_ns;
    if (!mal_cas_acquire(&look_state, &state, (uint32_t)ASKED))
        return false;
    while ((state = mal_load_acquire(&look_state)) != ANSWERED) {
        if (mal_clock_mono_ns() >= until_ns && gives_up_asking())
            return false;
        mal_background_wake();
        mal_futex_wait(&look_state, state, LOOK_NAP_NS);
    }
    *ret_view = looked;
    mal_store_release(&look_state, (uint32_t)NOT_ASKED);
    return true;
}
