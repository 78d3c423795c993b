/* SPDX-License-Identifier: Apache-2.0
 *
 * A cycle's workers, what allocation owes while it runs, and what is learned from it.
 *
 * Workers: a quarter of the CPUs, in whole ones as far as that comes within 30 % of the quarter;
 * the rest is a fraction of every CPU's time. Assists: scan work left over bytes left to the goal.
 * More work than expected means that the heap grows: the goal is stretched in proportion to the
 * most that there can be to scan, to GOGC % more of itself at most, so that allocation is not
 * punished for growing. Beyond that, 10 % more. Learned: cons_mark, the ratio of two rates, each
 * per CPU time that was measured:
 *
 *     allocated / program's time  over  scanned / (assists' + workers' + idle workers' time)
 *
 * Go takes the quarter that its workers are promised for the one that they had, and what is left of
 * all CPUs for the program's. Its workers are scheduled by itself; ours get what the kernel gives
 * them beside threads that do not yield. Where assists did nearly all, next to nothing was left by
 * that sum, the rate came out a hundred times too high, and the next trigger at the goal.
 *
 * SYNCHRONIZATION: plain data under the owner's lock.
 */
#include "gc/pacer.h"
#include "gc/pacer_private.h"

#define MOST_ERROR 0.3         /* of whole workers against the quarter */
#define WORK_LEFT_LEAST 1000.0 /* bytes; the ratio never falls to nothing */
#define MOST_OVERSHOOT 1.1
#define FORCED_PERCENT 100000 /* collection is off, and this one was asked for */

#define GAIN 0.9
#define INTEGRAL_CYCLES 4.0
#define RESET_CYCLES 1000.0
#define OUTPUT_MOST 1000.0

/* Of marking's CPU time: the clocks are not read all at once, and a program that was left no time
 * has no rate. */
#define PROGRAM_LEAST 0.01

static struct mal_gc_plan plan_for(unsigned cpus) {
    double goal = cpus * MAL_GC_UTILIZATION;
    struct mal_gc_plan plan = {.dedicated = (unsigned)(goal + 0.5)};
    double error = plan.dedicated / goal - 1;
    if (error < -MOST_ERROR || error > MOST_ERROR) {
        plan.dedicated -= plan.dedicated > goal;
        plan.fractional = (goal - plan.dedicated) / cpus;
    }
    return plan;
}

struct mal_gc_plan mal_gc_pacer_start(struct mal_gc_pacer *pacer,
                                      const struct mal_gc_pacer_heap *heap,
                                      enum mal_gc_start_reason reason) {
    struct mal_gc_plan plan = plan_for(pacer->cpus);
    mal_gc_pacer_observe(pacer, heap);
    pacer->triggered_bytes = heap->live_bytes;
    if (reason == MAL_GC_START_TIME)
        plan.idle_most = plan.dedicated == 0;
    else
        plan.idle_most = pacer->cpus - plan.dedicated;
    return plan;
}

/* What the running cycle aims at: where the heap shall end, and work until then. */
struct aim {
    double goal_bytes, scan_bytes;
};

static double most_scan(const struct mal_gc_pacer_heap *heap, const struct mal_gc_pacer *pacer) {
    return (double)(heap->scan_bytes + heap->stack_bytes + heap->globals_bytes +
                    pacer->rescan_bytes);
}

/* More was scanned than expected. */
static struct aim stretch(const struct mal_gc_pacer *pacer, struct aim aim) {
    double percent = pacer->percent < 0 ? FORCED_PERCENT : pacer->percent;
    double triggered = (double)pacer->triggered_bytes;
    double most_goal = (1 + percent / 100) * aim.goal_bytes;
    double most_work = most_scan(&pacer->heap, pacer);
    double goal = most_goal;
    if (aim.scan_bytes > 0)
        goal = (aim.goal_bytes - triggered) / aim.scan_bytes * most_work + triggered;
    return (struct aim){goal < most_goal ? goal : most_goal, most_work};
}

struct mal_gc_assist_ratio mal_gc_pacer_revise(struct mal_gc_pacer *pacer,
                                               const struct mal_gc_pacer_heap *heap,
                                               uint64_t scanned_bytes) {
    mal_gc_pacer_observe(pacer, heap);
    double live = (double)heap->live_bytes;
    struct aim aim = {(double)mal_gc_pacer_goal(pacer), (double)mal_gc_pacer_expected_scan(pacer)};
    if ((double)scanned_bytes > aim.scan_bytes)
        aim = stretch(pacer, aim);
    if (live > aim.goal_bytes)
        aim = (struct aim){aim.goal_bytes * MOST_OVERSHOOT, most_scan(heap, pacer)};
    double work_left = aim.scan_bytes - (double)scanned_bytes;
    double heap_left = aim.goal_bytes - live;
    work_left = work_left < WORK_LEFT_LEAST ? WORK_LEFT_LEAST : work_left;
    heap_left = heap_left < 1 ? 1 : heap_left;
    return (struct mal_gc_assist_ratio){work_left / heap_left, heap_left / work_left};
}

static bool is_finite(double value) {
    return value - value == 0;
}

/* Returns false, and starts anew, when a value overflowed. */
static bool control(struct mal_gc_controller *controller, double *value, double measured) {
    double error = measured - *value;
    double raw = GAIN * error + controller->integral;
    double out = raw < -OUTPUT_MOST ? -OUTPUT_MOST : raw > OUTPUT_MOST ? OUTPUT_MOST : raw;
    double integral =
        controller->integral + GAIN / INTEGRAL_CYCLES * error + (out - raw) / RESET_CYCLES;
    bool is_good = is_finite(raw) && is_finite(integral);
    controller->integral = is_good ? integral : 0;
    *value = is_good ? out : 0;
    return is_good;
}

/* A CPU time as a share of all CPUs' time while marking. */
static double share(const struct mal_gc_pacer *pacer, uint64_t cpu_ns, uint64_t mark_ns) {
    return mark_ns ? (double)cpu_ns / ((double)mark_ns * pacer->cpus) : 0;
}

/* The rates of a cycle that the program allocated in. Returns false when smoothing overflowed. */
static bool learn(struct mal_gc_pacer *pacer, uint64_t allocated_bytes,
                  const struct mal_gc_pacer_end *end) {
    double marking_ns = (double)(end->assist_ns + end->background_ns + end->idle_ns);
    double program_ns = (double)end->program_ns;
    double scanned = (double)(end->scanned_heap_bytes + end->scanned_stack_bytes +
                              end->globals_bytes + end->rescanned_bytes);
    if (program_ns < marking_ns * PROGRAM_LEAST)
        program_ns = marking_ns * PROGRAM_LEAST;
    double measured = (double)allocated_bytes / program_ns / (scanned / marking_ns);
    return control(&pacer->controller, &pacer->cons_mark, measured);
}

/* The mean of what was and what is, so that one odd cycle counts for a few. */
static uint64_t smoothed(uint64_t before, uint64_t now) {
    return before / 2 + now / 2 + (before & now & 1);
}

static void remember(struct mal_gc_pacer *pacer, const struct mal_gc_pacer_end *end) {
    pacer->marked_bytes = end->marked_bytes;
    pacer->last_heap_scan_bytes = end->scanned_heap_bytes;
    pacer->last_stack_scan_bytes = end->scanned_stack_bytes;
    pacer->rescan_bytes = smoothed(pacer->rescan_bytes, end->rescanned_bytes);
    pacer->protect_bytes = smoothed(pacer->protect_bytes, end->protect_bytes);
    pacer->triggered_bytes = UINT64_MAX;
}

struct mal_gc_pacer_outcome mal_gc_pacer_end_cycle(struct mal_gc_pacer *pacer,
                                                   const struct mal_gc_pacer_heap *heap,
                                                   const struct mal_gc_pacer_end *end) {
    mal_gc_pacer_observe(pacer, heap);
    struct mal_gc_pacer_outcome outcome = {
        .goal_bytes = mal_gc_pacer_goal(pacer),
        .triggered_bytes = pacer->triggered_bytes,
        .live_bytes = heap->live_bytes,
        .expected_scan_bytes = mal_gc_pacer_expected_scan(pacer),
        .utilization = share(pacer, end->background_ns + end->assist_ns, end->mark_ns),
        .cons_mark_before = pacer->cons_mark,
    };
    if (heap->live_bytes > pacer->triggered_bytes)
        outcome.was_reset = !learn(pacer, heap->live_bytes - pacer->triggered_bytes, end);
    remember(pacer, end);
    return outcome;
}
