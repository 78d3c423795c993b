/* SPDX-License-Identifier: Apache-2.0
 *
 * What the parts of the collector's control say to each other.
 *
 * A cycle has one owner: the coordinating thread, or where no thread is to be had, the thread of
 * the program that needs the cycle. Everything called "the owner's" is written by it alone.
 */
#ifndef MAL_GC_CYCLE_PRIVATE_H
#define MAL_GC_CYCLE_PRIVATE_H

#include "gc/cycle.h"
#include "gc/dirty.h"
#include "gc/pacer.h"
#include "gc/trace.h"
#include "gc/world.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- settings (init.c) ---- */

extern struct mal_gc_config mal_gc_config; /* constant once the collector is up */
static inline bool mal_gc_wants(enum mal_gc_debug what) {
    return (mal_gc_config.debug & (uint32_t)what) != 0;
}
/* The calling thread is one of ours: never stopped, never scanned, never sampled. */
void mal_gc_become_own(void);
unsigned mal_gc_cpus(void);
/* Pauses above it are to be avoided. */
#define MAL_GC_PAUSE_TARGET_NS 500000u

/* ---- when (cycle_request.c) ---- */

enum mal_gc_reason {
    MAL_GC_REASON_HEAP = 1u << 0,
    MAL_GC_REASON_FORCED = 1u << 1,
    MAL_GC_REASON_PERIODIC = 1u << 2,
};
/* Wants a cycle; returns at once unless there is no coordinating thread. No lock held. */
void mal_gc_request(enum mal_gc_reason reason);
/* A whole cycle that begins after the call, and its sweep. */
void mal_gc_request_and_wait(void);
/* The allocating thread is ahead of the collector: waits, not for long, until marking begins. */
void mal_gc_request_await_start(void);
/* Waits for the cycle that is under way, if any. No lock held. */
void mal_gc_request_await_idle(void);
/* The owner's: forced requests that are older than the cycle are done once its sweep is. */
void mal_gc_request_note_marking(void);
void mal_gc_request_note_marked(void);
void mal_gc_request_note_swept(uint32_t ticket);
unsigned mal_gc_request_threads(void);
void mal_gc_request_forget_in_child(void);

/* ---- the cycle (cycle.c) ---- */

#define MAL_GC_ROUNDS_MAX 8u

struct mal_gc_run {
    uint32_t reasons; /* enum mal_gc_reason */
    uint32_t ticket;  /* forced requests up to this one are served by the cycle */
    bool beside;      /* marks beside the program; else the world is stopped all through */
    const struct mal_gc_dirty *dirty;
    /* instants on CLOCK_MONOTONIC; phases as Go's line has them */
    uint64_t sweep_term_ns, mark_ns, mark_term_ns, end_ns;
    uint64_t given_up_ns;      /* of stops that were given up, between mark_ns and mark_term_ns */
    uint64_t asked_live_bytes; /* live when the cycle was begun, before protecting */
    uint64_t protect_ns;       /* CPU before the first stop */
    uint64_t own_ns;           /* CPU of the owner while marking beside the program */
    struct mal_gc_stop first_stop, last_stop;
    uint64_t live_start_bytes, live_end_bytes, marked_bytes, goal_bytes;
    uint64_t stack_bytes, globals_bytes;
    uint64_t scanned_bytes, rescanned_bytes; /* pages scanned again are in both */
    uint64_t assist_ns, idle_ns;
    struct mal_gc_pacer_outcome outcome;
    struct mal_gc_trace_start planned;
    unsigned rounds, restarts;
    uint64_t round_pages[MAL_GC_ROUNDS_MAX];
    uint64_t final_pages;
};

void mal_gc_cycle_run(uint32_t reasons, uint32_t ticket, const struct mal_gc_dirty *dirty);

/* ---- what it says of itself (cycle_report.c) ---- */

/* Marking is over: counts the cycle, and has its line printed and the heap swept. The owner. */
void mal_gc_cycle_report(const struct mal_gc_run *run);
/* The lines of the trace. Returns their length. */
size_t mal_gc_cycle_text(char *ret_text, size_t bytes, const struct mal_gc_run *run,
                         const struct mal_gc_trace *trace);

/* ---- CPU time (cycle_cpu.c) ---- */

/* The owner's, but for the sweeping thread's note of its own time. */
void mal_gc_cpu_begin_cycle(void);
void mal_gc_cpu_begin_marking(void);
/* Of the program since marking began, assists excluded. */
uint64_t mal_gc_cpu_program_ns(void);
/* How many CPUs, in thousandths, the program does not use. */
unsigned mal_gc_cpu_idle_permille(void);
/* CPU time since the last of these two calls: whose it was; and what a stop that is just over took,
 * of all CPUs. */
struct mal_gc_cpu_shares {
    uint64_t program_ns, background_ns;
};
struct mal_gc_cpu_shares mal_gc_cpu_settle(void);
uint64_t mal_gc_cpu_settle_stop_ns(void);
void mal_gc_cpu_note_sweeper(void);
void mal_gc_cpu_forget_in_child(void);

/* ---- roots (cycle_roots.c) ---- */

struct mal_gc_root_bytes {
    uint64_t stack, globals;
};
/* World stopped. */
struct mal_gc_root_bytes mal_gc_roots_mark_stacks(struct mal_gc_worker *worker);
/* At any time. */
uint64_t mal_gc_roots_mark_globals(struct mal_gc_worker *worker);
/* What hangs on objects, what is queued to be run, pools and arenas. At any time. */
void mal_gc_roots_mark_others(struct mal_gc_worker *worker);
/* Of these, what neither dirty pages nor shading follow: for the second stop. */
void mal_gc_roots_mark_moving(struct mal_gc_worker *worker);
/* World stopped: everything, for the oracle. */
void mal_gc_roots_mark_all(struct mal_gc_worker *worker);

/* ---- written pages (cycle_dirty.c) ---- */

/* Before anything is black: no write from here on goes unseen. False: cannot be had this time. */
bool mal_gc_dirty_protect(struct mal_gc_run *run);
/* Clears and scans again what was written since; returns how many pages. */
uint64_t mal_gc_dirty_round(struct mal_gc_run *run, struct mal_gc_worker *worker);
/* World stopped: finds what was written; every worker then takes its share of it. */
uint64_t mal_gc_dirty_look(struct mal_gc_run *run, struct mal_gc_worker *worker);
void mal_gc_dirty_share(struct mal_gc_worker *worker);
/* Beside the program: takes some of a round's pages that nobody has taken. False: there are none.
 */
bool mal_gc_dirty_help(struct mal_gc_worker *worker);
/* After the cycle: writes cost nothing again. */
void mal_gc_dirty_unprotect(struct mal_gc_run *run);
void mal_gc_dirty_forget_in_child(void);

/* ---- the pacer and the limiter behind their lock (cycle_pace.c) ---- */

void mal_gc_pace_init(void);
/* Snapshots for allocating threads. UINT64_MAX: never. */
uint64_t mal_gc_pace_trigger(void);
uint64_t mal_gc_pace_goal(void);
struct mal_gc_assist_ratio mal_gc_pace_ratio(void);
int mal_gc_pace_percent(void);
/* Returns what was in force before. */
int mal_gc_pace_set_percent(int percent);
/* The heap has grown: under a limit, goal and trigger anew. */
void mal_gc_pace_observe(void);

/* World stopped. */
void mal_gc_pace_start(struct mal_gc_run *run);
struct mal_gc_plan mal_gc_pace_plan(void); /* of the running cycle; the owner */
void mal_gc_pace_end(struct mal_gc_run *run);
/* While marking: the ratio anew. Any thread. */
void mal_gc_pace_revise(void);
/* The limiter's account is settled, if it is old. The owner, now and then while marking. */
void mal_gc_pace_settle(void);
/* The sweep is over, or memory numbers are to be looked at again. */
void mal_gc_pace_commit(void);

/* The owner's, around a stop. */
void mal_gc_pace_before_stop(void);
void mal_gc_pace_after_stop(void);
void mal_gc_pace_add_assist(uint64_t ns);
bool mal_gc_pace_is_limiting(void);

void mal_gc_pace_before_fork(void);
void mal_gc_pace_after_fork(bool child);

/* ---- after a cycle (sweeper.c) ---- */

void mal_gc_sweeper_start(void);
/* Prints the cycle's line, sweeps, and ends forced requests. Returns at once where there is a
 * thread for it. */
void mal_gc_sweeper_finish(const struct mal_gc_run *run, const struct mal_gc_trace *trace);
/* Standard error and the box: from a thread that has the program's descriptors, once there is. */
void mal_gc_sweeper_say(const char *text, size_t bytes);
/* Waits until that thread has nothing to do any more, for huge pages no longer than told. True when
 * it has nothing to do. */
bool mal_gc_sweeper_await(uint64_t most_ns);
unsigned mal_gc_sweeper_threads(void);
void mal_gc_sweeper_forget_in_child(void);

/* ---- numbers (stats.c) ---- */

/* Counts the cycle, in which the program stood still for `pause_ns`. Returns the share of CPU time
 * that collecting took since the start. */
double mal_gc_stats_count(const struct mal_gc_run *run, uint64_t pause_ns, uint64_t cpu_ns);
uint64_t mal_gc_stats_cycles(void);
uint64_t mal_gc_stats_since_start_ns(uint64_t mono_ns);
uint64_t mal_gc_stats_last_end_ns(void); /* CLOCK_MONOTONIC; 0: none yet */
void mal_gc_stats_init(void);
void mal_gc_stats_before_fork(void);
void mal_gc_stats_after_fork(void);

#endif
