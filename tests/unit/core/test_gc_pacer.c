/* SPDX-License-Identifier: Apache-2.0
 *
 * The pacer's formulas as a table of cases worked out by hand, and its behaviour in a simulated
 * program: a loop of allocation, marking by workers and assists in small steps of time.
 *
 * The simulated program allocates and scans at constant rates per CPU time. A cycle's marking ends
 * when what is reachable was scanned; what was allocated meanwhile stays until the next cycle. Its
 * random part has a fixed seed: the bounds below are about the controller, not about luck.
 */
#include "base/attr.h"
#include "gc/limiter.h"
#include "gc/pacer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#define KIB UINT64_C(1024)
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)

/* ---- formulas ---- */

static struct mal_gc_pacer pacer_with(int percent, int64_t limit) {
    struct mal_gc_pacer pacer;
    mal_gc_pacer_init(&pacer, percent, limit, 4);
    return pacer;
}

static void the_first_cycle_starts_where_gos_does(void **state) {
    (void)state;
    struct mal_gc_pacer pacer = pacer_with(100, MAL_GC_NO_LIMIT);
    assert_int_equal(mal_gc_pacer_goal(&pacer), 4194304);
    assert_int_equal(mal_gc_pacer_trigger(&pacer), 3997696);
}

static void the_heaps_minimum_scales_with_gogc(void **state) {
    static const struct {
        int percent;
        uint64_t goal;
    } table[] = {{100, 4 * MIB}, {200, 8 * MIB}, {50, 2 * MIB},   {25, MIB},
                 {0, 0},         {1, 41943},     {400, 16 * MIB}, {-1, UINT64_MAX}};
    (void)state;
    for (size_t i = 0; i < MAL_COUNT_OF(table); i++) {
        struct mal_gc_pacer pacer = pacer_with(table[i].percent, MAL_GC_NO_LIMIT);
        assert_int_equal(mal_gc_pacer_goal(&pacer), table[i].goal);
        assert_true(mal_gc_pacer_trigger(&pacer) <= table[i].goal);
    }
}

/* A cycle that marked so much, without assists. */
static void finish(struct mal_gc_pacer *pacer, uint64_t marked, uint64_t heap, uint64_t stack,
                   uint64_t globals) {
    struct mal_gc_pacer_heap now = {.live_bytes = marked, .globals_bytes = globals};
    struct mal_gc_pacer_end end = {.marked_bytes = marked,
                                   .scanned_heap_bytes = heap,
                                   .scanned_stack_bytes = stack,
                                   .globals_bytes = globals,
                                   .mark_ns = 1000000};
    mal_gc_pacer_start(pacer, &now, MAL_GC_START_FORCED);
    mal_gc_pacer_end_cycle(pacer, &now, &end);
    mal_gc_pacer_commit(pacer, &now);
}

static void stacks_and_globals_count_towards_the_goal(void **state) {
    (void)state;
    struct mal_gc_pacer pacer = pacer_with(100, MAL_GC_NO_LIMIT);
    finish(&pacer, 100 * MIB, 80 * MIB, 3 * MIB, 7 * MIB);
    assert_int_equal(mal_gc_pacer_goal(&pacer), 210 * MIB);
    mal_gc_pacer_set(&pacer, 50, MAL_GC_NO_LIMIT);
    struct mal_gc_pacer_heap heap = {.live_bytes = 100 * MIB, .globals_bytes = 7 * MIB};
    mal_gc_pacer_commit(&pacer, &heap);
    assert_int_equal(mal_gc_pacer_goal(&pacer), 155 * MIB);
    mal_gc_pacer_set(&pacer, -7, MAL_GC_NO_LIMIT);
    mal_gc_pacer_commit(&pacer, &heap);
    assert_int_equal(mal_gc_pacer_goal(&pacer), UINT64_MAX);
}

static void the_trigger_keeps_within_its_bounds(void **state) {
    (void)state;
    struct mal_gc_pacer pacer = pacer_with(100, MAL_GC_NO_LIMIT);
    finish(&pacer, 256 * MIB, 256 * MIB, 0, 0);
    /* Nothing learned: as late as allowed, which for large heaps is 4 MiB before the goal. */
    assert_int_equal(mal_gc_pacer_trigger(&pacer), 508 * MIB);
    finish(&pacer, 64 * MIB, 64 * MIB, 0, 0);
    assert_int_equal(mal_gc_pacer_trigger(&pacer), (64 + 61) * MIB);
    pacer.cons_mark = 1000;
    struct mal_gc_pacer_heap heap = {.live_bytes = 64 * MIB};
    mal_gc_pacer_commit(&pacer, &heap);
    assert_int_equal(mal_gc_pacer_trigger(&pacer), (64 + 60) * MIB);
    /* Marking, not the request for it, begins there. */
    pacer.protect_bytes = 8 * MIB;
    mal_gc_pacer_commit(&pacer, &heap);
    assert_int_equal(mal_gc_pacer_trigger(&pacer), (64 + 60 - 8) * MIB);
    pacer.protect_bytes = 0;
    /* In between: 3 * 0.05 * 64 MiB before the goal. */
    pacer.cons_mark = 0.05;
    mal_gc_pacer_commit(&pacer, &heap);
    uint64_t runway = 128 * MIB - mal_gc_pacer_trigger(&pacer);
    assert_in_range(runway, (uint64_t)(9.59 * MIB), (uint64_t)(9.61 * MIB));
    /* Beyond 30 % it shrinks: of 3 * 0.15 * 64 MiB = 28.8 MiB, 9.8 are beyond. */
    pacer.cons_mark = 0.15;
    mal_gc_pacer_commit(&pacer, &heap);
    runway = 128 * MIB - mal_gc_pacer_trigger(&pacer);
    assert_in_range(runway, (uint64_t)(14.09 * MIB), (uint64_t)(14.11 * MIB));
    finish(&pacer, 6 * MIB, 0, 0, 0);
    assert_int_equal(mal_gc_pacer_trigger(&pacer), 6 * MIB + 6 * MIB / 64 * 61);
}

static void an_unfinished_sweep_pushes_goal_and_trigger(void **state) {
    (void)state;
    struct mal_gc_pacer pacer = pacer_with(10, MAL_GC_NO_LIMIT);
    struct mal_gc_pacer_heap heap = {.live_bytes = 30 * MIB, .unswept_pages = 1};
    mal_gc_pacer_commit(&pacer, &heap);
    assert_int_equal(mal_gc_pacer_goal(&pacer), 31 * MIB);
    assert_int_equal(mal_gc_pacer_trigger(&pacer), 31 * MIB);
    heap.unswept_pages = 0;
    mal_gc_pacer_commit(&pacer, &heap);
    assert_int_equal(mal_gc_pacer_goal(&pacer), 4 * MIB * 10 / 100);
}

static void a_running_cycle_has_some_runway(void **state) {
    (void)state;
    struct mal_gc_pacer pacer = pacer_with(100, MAL_GC_NO_LIMIT);
    struct mal_gc_pacer_heap heap = {.live_bytes = 9 * MIB};
    mal_gc_pacer_start(&pacer, &heap, MAL_GC_START_HEAP);
    assert_int_equal(mal_gc_pacer_goal(&pacer), 9 * MIB + 64 * KIB);
}

static void the_goal_of_a_memory_limit(void **state) {
    static const struct {
        uint64_t limit, ready, free, object, marked, goal;
    } table[] = {
        /* limit - (ready - free - object) - 1 MiB */
        {100 * MIB, 50 * MIB, 5 * MIB, 30 * MIB, 10 * MIB, 84 * MIB},
        /* Malloc's memory is not the collector's, and is paid first. */
        {100 * MIB, 90 * MIB, 0, 10 * MIB, 10 * MIB, 19 * MIB},
        /* Over the limit: the excess is taken off again. */
        {100 * MIB, 110 * MIB, 20 * MIB, 80 * MIB, 10 * MIB, 79 * MIB},
        /* Nothing left for the collected heap. */
        {100 * MIB, 100 * MIB, 0, 0, 7 * MIB, 7 * MIB},
        {0, MIB, 0, 0, 3 * MIB, 3 * MIB},
        /* Never below what is live. */
        {100 * MIB, 50 * MIB, 0, 50 * MIB, 99 * MIB + 512 * KIB, 99 * MIB + 512 * KIB},
        /* Less than two headrooms: one. */
        {100 * MIB, 98 * MIB + 512 * KIB, 0, 0, 0, MIB},
        {100 * MIB, 98 * MIB, 0, 0, 0, MIB},
        {100 * MIB, 97 * MIB, 0, 0, 0, 2 * MIB},
        /* Numbers that do not fit together: nothing but objects. */
        {100 * MIB, 10 * MIB, 20 * MIB, 20 * MIB, 0, 99 * MIB},
    };
    (void)state;
    for (size_t i = 0; i < MAL_COUNT_OF(table); i++) {
        struct mal_gc_pacer pacer = pacer_with(-1, (int64_t)table[i].limit);
        finish(&pacer, table[i].marked, 0, 0, 0);
        struct mal_gc_pacer_heap heap = {.live_bytes = table[i].marked,
                                         .mapped_ready_bytes = table[i].ready,
                                         .free_bytes = table[i].free,
                                         .object_bytes = table[i].object};
        mal_gc_pacer_observe(&pacer, &heap);
        assert_int_equal(mal_gc_pacer_goal(&pacer), table[i].goal);
        assert_true(mal_gc_pacer_trigger(&pacer) <= table[i].goal);
    }
}

static void the_smaller_goal_counts(void **state) {
    (void)state;
    struct mal_gc_pacer pacer = pacer_with(100, (int64_t)GIB);
    struct mal_gc_pacer_heap heap = {.live_bytes = 10 * MIB,
                                     .mapped_ready_bytes = 10 * MIB,
                                     .object_bytes = 10 * MIB,
                                     .unswept_pages = 5};
    finish(&pacer, 10 * MIB, 0, 0, 0);
    mal_gc_pacer_commit(&pacer, &heap);
    assert_int_equal(mal_gc_pacer_goal(&pacer), 20 * MIB);
    /* Neither the sweep nor the running cycle may push a goal that the limit set. */
    mal_gc_pacer_set(&pacer, 100, 12 * (int64_t)MIB);
    heap.live_bytes = 13 * MIB;
    mal_gc_pacer_commit(&pacer, &heap);
    assert_int_equal(mal_gc_pacer_goal(&pacer), 11 * MIB);
    mal_gc_pacer_start(&pacer, &heap, MAL_GC_START_HEAP);
    assert_int_equal(mal_gc_pacer_goal(&pacer), 11 * MIB);
}

static void workers_are_a_quarter(void **state) {
    static const struct {
        unsigned cpus, dedicated;
        double fractional;
    } table[] = {{1, 0, 0.25},    {2, 0, 0.25}, {3, 0, 0.25}, {4, 1, 0},   {5, 1, 0},
                 {6, 1, 0.5 / 6}, {7, 2, 0},    {8, 2, 0},    {64, 16, 0}, {10, 3, 0}};
    (void)state;
    for (size_t i = 0; i < MAL_COUNT_OF(table); i++) {
        struct mal_gc_pacer pacer;
        struct mal_gc_pacer_heap heap = {0};
        mal_gc_pacer_init(&pacer, 100, MAL_GC_NO_LIMIT, table[i].cpus);
        struct mal_gc_plan plan = mal_gc_pacer_start(&pacer, &heap, MAL_GC_START_HEAP);
        assert_int_equal(plan.dedicated, table[i].dedicated);
        assert_true(plan.fractional - table[i].fractional < 1e-9);
        assert_true(table[i].fractional - plan.fractional < 1e-9);
        assert_int_equal(plan.idle_most, table[i].cpus - table[i].dedicated);
        plan = mal_gc_pacer_start(&pacer, &heap, MAL_GC_START_TIME);
        assert_int_equal(plan.idle_most, table[i].dedicated ? 0 : 1);
    }
}

static double ratio_at(struct mal_gc_pacer *pacer, uint64_t live, uint64_t scan, uint64_t scanned) {
    struct mal_gc_pacer_heap heap = {.live_bytes = live, .scan_bytes = scan};
    return mal_gc_pacer_revise(pacer, &heap, scanned).work_per_byte;
}

static void near(double value, double expected) {
    if (value < expected * 0.999999 || value > expected * 1.000001)
        fail_msg("%g is not %g", value, expected);
}

static void assists_owe_what_is_left(void **state) {
    (void)state;
    struct mal_gc_pacer pacer = pacer_with(100, MAL_GC_NO_LIMIT);
    finish(&pacer, 100 * MIB, 80 * MIB, 0, 0);
    struct mal_gc_pacer_heap heap = {.live_bytes = 180 * MIB, .scan_bytes = 150 * MIB};
    mal_gc_pacer_start(&pacer, &heap, MAL_GC_START_HEAP);
    near(ratio_at(&pacer, 180 * MIB, 150 * MIB, 0), 80.0 / 20);
    near(ratio_at(&pacer, 190 * MIB, 150 * MIB, 60 * MIB), 20.0 / 10);
    near(ratio_at(&pacer, 190 * MIB, 150 * MIB, 80 * MIB), 1000.0 / (10 * MIB));
    /* More than expected: the runway of 20 MiB for 80 becomes 37.5 for 150. */
    near(ratio_at(&pacer, 190 * MIB, 150 * MIB, 100 * MIB), 50.0 / 27.5);
    /* But not more than GOGC % more goal. */
    near(ratio_at(&pacer, 190 * MIB, 4000 * MIB, 100 * MIB), 3900.0 / 210);
    /* Beyond the goal: 10 % more, and all there may be to scan. */
    near(ratio_at(&pacer, 210 * MIB, 150 * MIB, 60 * MIB), 90.0 / 10);
    near(ratio_at(&pacer, 230 * MIB, 150 * MIB, 60 * MIB), 90.0 * MIB);
    /* Inverse of each other. */
    heap.live_bytes = 190 * MIB;
    struct mal_gc_assist_ratio ratio = mal_gc_pacer_revise(&pacer, &heap, 60 * MIB);
    near(ratio.work_per_byte * ratio.bytes_per_work, 1);
}

static void a_forced_cycle_without_gogc_is_no_burden(void **state) {
    (void)state;
    struct mal_gc_pacer pacer = pacer_with(-1, MAL_GC_NO_LIMIT);
    finish(&pacer, 100 * MIB, 80 * MIB, 0, 0);
    struct mal_gc_pacer_heap heap = {.live_bytes = 150 * MIB};
    mal_gc_pacer_start(&pacer, &heap, MAL_GC_START_FORCED);
    assert_true(ratio_at(&pacer, 150 * MIB, 150 * MIB, 0) < 1e-9);
    assert_true(ratio_at(&pacer, 150 * MIB, 150 * MIB, 100 * MIB) < 1e-9);
}

static void the_sweep_ends_before_the_trigger(void **state) {
    (void)state;
    struct mal_gc_pacer pacer = pacer_with(100, MAL_GC_NO_LIMIT);
    finish(&pacer, 64 * MIB, 64 * MIB, 0, 0);
    near(mal_gc_pacer_sweep_ratio(&pacer, 64 * MIB, 10000, 0), 10000.0 / (60 * MIB));
    near(mal_gc_pacer_sweep_ratio(&pacer, 64 * MIB, 10000, 9000), 1000.0 / (60 * MIB));
    near(mal_gc_pacer_sweep_ratio(&pacer, 124 * MIB, 10, 0), 10.0 / 8192);
    assert_true(mal_gc_pacer_sweep_ratio(&pacer, 64 * MIB, 10000, 10000) == 0);
    assert_true(mal_gc_pacer_sweep_ratio(&pacer, 64 * MIB, 10000, 10001) == 0);
}

static void a_measurement_without_meaning_starts_anew(void **state) {
    (void)state;
    struct mal_gc_pacer pacer = pacer_with(100, MAL_GC_NO_LIMIT);
    struct mal_gc_pacer_heap heap = {.live_bytes = 4 * MIB};
    mal_gc_pacer_start(&pacer, &heap, MAL_GC_START_HEAP);
    heap.live_bytes = 5 * MIB;
    struct mal_gc_pacer_end end = {.marked_bytes = MIB, .mark_ns = 1000};
    struct mal_gc_pacer_outcome outcome = mal_gc_pacer_end_cycle(&pacer, &heap, &end);
    assert_true(outcome.was_reset);
    assert_true(pacer.cons_mark == 0);
    assert_int_equal(outcome.goal_bytes, 4 * MIB + 64 * KIB);
    assert_int_equal(outcome.triggered_bytes, 4 * MIB);
    /* Nothing was left to the program. */
    mal_gc_pacer_start(&pacer, &heap, MAL_GC_START_HEAP);
    heap.live_bytes = 6 * MIB;
    end = (struct mal_gc_pacer_end){
        .marked_bytes = MIB, .scanned_heap_bytes = MIB, .mark_ns = 1000, .assist_ns = 50000};
    assert_false(mal_gc_pacer_end_cycle(&pacer, &heap, &end).was_reset);
    mal_gc_pacer_commit(&pacer, &heap);
    assert_true(pacer.cons_mark > 0);
    assert_true(mal_gc_pacer_trigger(&pacer) <= mal_gc_pacer_goal(&pacer));
}

/* Nothing overflows or leaves its bounds, whatever is put in. */
static void any_input_keeps_the_invariants(void **state) {
    uint64_t random = 88172645463325252;
    struct mal_gc_pacer pacer = pacer_with(100, MAL_GC_NO_LIMIT);
    (void)state;
    for (unsigned i = 0; i < 200000; i++) {
        uint64_t r[12];
        for (unsigned k = 0; k < MAL_COUNT_OF(r); k++) {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            r[k] = random >> (20 + random % 40);
        }
        struct mal_gc_pacer_heap heap = {r[0], r[1], r[2], r[3], r[4], r[5], r[6], r[7] % 3};
        struct mal_gc_pacer_end end = {r[8],      r[9], r[10], r[3], r[11], r[7],
                                       r[0] % 99, r[1], r[2],  r[5], r[6]};
        mal_gc_pacer_set(&pacer, (int)(r[4] % 100000) - 2,
                         r[5] % 2 ? MAL_GC_NO_LIMIT : (int64_t)r[6]);
        pacer.cpus = 1 + (unsigned)(r[8] % 256);
        mal_gc_pacer_start(&pacer, &heap, r[9] % 3);
        heap.live_bytes += r[7];
        struct mal_gc_assist_ratio ratio = mal_gc_pacer_revise(&pacer, &heap, r[10]);
        assert_true(ratio.work_per_byte > 0 && ratio.work_per_byte < 1e18);
        assert_true(ratio.bytes_per_work > 0 && ratio.bytes_per_work < 1e20);
        mal_gc_pacer_end_cycle(&pacer, &heap, &end);
        mal_gc_pacer_commit(&pacer, &heap);
        uint64_t goal = mal_gc_pacer_goal(&pacer);
        uint64_t trigger = mal_gc_pacer_trigger(&pacer);
        assert_true(trigger <= goal);
        if (end.marked_bytes < goal)
            assert_true(trigger >= end.marked_bytes);
        assert_true(pacer.cons_mark >= -1000 && pacer.cons_mark <= 1000);
    }
}

/* ---- simulation ---- */

/* The program at one cycle; rates in bytes per ns of one CPU. */
struct load {
    double alloc_rate, scan_rate;
    double live_bytes; /* reachable, or all there is while there is less */
    double scannable;  /* share of it that holds pointers */
    double rescan_bytes;
};

struct world {
    struct mal_gc_pacer pacer;
    struct mal_gc_limiter limiter;
    unsigned cpus;
    double stack_bytes, globals_bytes, malloc_bytes;
    double live, scan;        /* of the heap, now */
    double mutator_ns, gc_ns; /* CPU since the beginning */
    double now_ns, settled_ns;
    unsigned limited_steps;
    uint64_t random;
};

/* What a cycle came to. */
struct cycle {
    double trigger, goal, peak;
    double overshoot;   /* peak over goal */
    double utilization; /* of the CPUs while marking: workers and assists */
    double work_per_byte;
};

static struct world world_with(int percent, int64_t limit, unsigned cpus) {
    struct world world = {.cpus = cpus, .random = 1234567};
    mal_gc_pacer_init(&world.pacer, percent, limit, cpus);
    mal_gc_limiter_init(&world.limiter, cpus);
    return world;
}

/* Everybody had all of their CPUs since the last time: workers their share, the program the rest.
 */
static void settle(struct world *world, double workers_share) {
    double cpu_ns = (world->now_ns - world->settled_ns) * world->cpus;
    world->settled_ns = world->now_ns;
    mal_gc_limiter_update(&world->limiter, (uint64_t)(cpu_ns * (1 - workers_share)),
                          (uint64_t)(cpu_ns * workers_share));
}

static struct mal_gc_pacer_heap snapshot(const struct world *world) {
    return (struct mal_gc_pacer_heap){
        .live_bytes = (uint64_t)world->live,
        .scan_bytes = (uint64_t)world->scan,
        .stack_bytes = (uint64_t)world->stack_bytes,
        .globals_bytes = (uint64_t)world->globals_bytes,
        .mapped_ready_bytes = (uint64_t)(world->live + world->malloc_bytes),
        .object_bytes = (uint64_t)world->live,
    };
}

static void grow(struct world *world, const struct load *load, double bytes) {
    world->live += bytes;
    world->scan += bytes * load->scannable;
}

static void allocate_to_the_trigger(struct world *world, const struct load *load) {
    /* A limit's trigger moves as memory does. */
    for (;;) {
        struct mal_gc_pacer_heap heap = snapshot(world);
        mal_gc_pacer_observe(&world->pacer, &heap);
        double left = (double)mal_gc_pacer_trigger(&world->pacer) - world->live;
        if (left <= 0)
            break;
        double bytes = left > 8 * KIB ? left / 2 : 8 * KIB;
        grow(world, load, bytes);
        double cpu_ns = bytes / load->alloc_rate;
        world->mutator_ns += cpu_ns;
        world->now_ns += cpu_ns / world->cpus;
        settle(world, 0);
    }
    /* Starting takes a span or so, and a thread that gets there late. */
    grow(world, load, 8 * KIB);
}

struct marking {
    double work, done, credit; /* bytes */
    double assist_ns, wall_ns;
    double work_per_byte_first;
};

/* One step of time: workers scan on a quarter of the CPUs, the rest allocates and pays for it. */
static void mark_step(struct world *world, const struct load *load, struct marking *marking,
                      double step_ns) {
    struct mal_gc_pacer_heap heap = snapshot(world);
    double ratio = mal_gc_pacer_revise(&world->pacer, &heap, (uint64_t)marking->done).work_per_byte;
    if (marking->wall_ns == 0)
        marking->work_per_byte_first = ratio;
    double cpu_ns = step_ns * world->cpus;
    double background = load->scan_rate * cpu_ns * 0.25;
    marking->credit += background;
    bool is_limited = mal_gc_limiter_is_limiting(&world->limiter);
    double bytes = load->alloc_rate * cpu_ns * 0.75;
    double assist = 0;
    if (!is_limited && bytes * ratio > marking->credit) {
        /* bytes / alloc + (bytes * ratio - credit) / scan = time */
        bytes = (cpu_ns * 0.75 + marking->credit / load->scan_rate) /
                (1 / load->alloc_rate + ratio / load->scan_rate);
        double most = load->alloc_rate * cpu_ns * 0.75;
        bytes = bytes > most ? most : bytes;
        assist = bytes * ratio - marking->credit;
        assist = assist < 0 ? 0 : assist;
    }
    double paid = bytes * ratio < marking->credit ? bytes * ratio : marking->credit;
    marking->credit -= paid;
    marking->done += background + assist;
    marking->assist_ns += assist / load->scan_rate;
    marking->wall_ns += step_ns;
    world->limited_steps += is_limited;
    world->gc_ns += cpu_ns * 0.25 + assist / load->scan_rate;
    world->mutator_ns += cpu_ns * 0.75 - assist / load->scan_rate;
    world->now_ns += step_ns;
    mal_gc_limiter_add_assist(&world->limiter, (uint64_t)(assist / load->scan_rate));
    /* Assists settle the account one by one; without them it is done by the period. */
    if (!is_limited || world->now_ns - world->settled_ns > MAL_GC_LIMITER_PERIOD_NS)
        settle(world, 0.25);
    grow(world, load, bytes);
}

static struct cycle run_cycle(struct world *world, struct load load) {
    allocate_to_the_trigger(world, &load);
    struct cycle cycle = {.trigger = world->live};
    struct mal_gc_pacer_heap heap = snapshot(world);
    mal_gc_pacer_start(&world->pacer, &heap, MAL_GC_START_HEAP);
    if (load.live_bytes > world->live)
        load.live_bytes = world->live;
    settle(world, 0);
    double heap_work = load.live_bytes * load.scannable;
    struct marking marking = {.work = heap_work + world->stack_bytes + world->globals_bytes +
                                      load.rescan_bytes};
    double step_ns = marking.work / load.scan_rate / world->cpus / 1000 + 10;
    while (marking.done < marking.work)
        mark_step(world, &load, &marking, step_ns);
    heap = snapshot(world);
    struct mal_gc_pacer_end end = {
        .marked_bytes = (uint64_t)(load.live_bytes + world->live - cycle.trigger),
        .scanned_heap_bytes = (uint64_t)heap_work,
        .scanned_stack_bytes = (uint64_t)world->stack_bytes,
        .globals_bytes = (uint64_t)world->globals_bytes,
        .rescanned_bytes = (uint64_t)load.rescan_bytes,
        .mark_ns = (uint64_t)marking.wall_ns,
        .assist_ns = (uint64_t)marking.assist_ns,
        .background_ns = (uint64_t)(marking.wall_ns * world->cpus * 0.25) + 1,
        .program_ns = (uint64_t)(marking.wall_ns * world->cpus * 0.75 - marking.assist_ns),
    };
    struct mal_gc_pacer_outcome outcome = mal_gc_pacer_end_cycle(&world->pacer, &heap, &end);
    settle(world, 0.25);
    cycle.goal = (double)outcome.goal_bytes;
    cycle.peak = world->live;
    cycle.overshoot = cycle.peak / cycle.goal;
    cycle.utilization = outcome.utilization;
    cycle.work_per_byte = marking.work_per_byte_first;
    world->live = (double)end.marked_bytes;
    world->scan = heap_work;
    heap = snapshot(world);
    mal_gc_pacer_commit(&world->pacer, &heap);
    return cycle;
}

static double jitter(struct world *world) {
    world->random ^= world->random << 13;
    world->random ^= world->random >> 7;
    world->random ^= world->random << 17;
    return (double)(world->random % 2001) / 1000 - 1;
}

static void say(unsigned n, const struct cycle *cycle) {
    if (getenv("MAL_PACER_TABLE"))
        print_message("%3u trigger %.2f goal %.2f peak %.2f MiB over %.3f cpu %.3f\n", n,
                      cycle->trigger / MIB, cycle->goal / MIB, cycle->peak / MIB, cycle->overshoot,
                      cycle->utilization);
}

/* What is asserted of a run from cycle `settled` on. */
struct bounds {
    unsigned settled;
    double overshoot_least, overshoot_most, utilization_most;
};

static const struct load steady_load = {
    .alloc_rate = 0.05, .scan_rate = 1.0, .live_bytes = 256.0 * MIB, .scannable = 1.0};

typedef struct load load_at(struct world *world, unsigned n);

static void run_many(struct world *world, load_at *at, unsigned cycles, struct bounds bounds) {
    for (unsigned n = 0; n < cycles; n++) {
        struct cycle cycle = run_cycle(world, at(world, n));
        say(n, &cycle);
        assert_true(cycle.utilization >= 0.25);
        if (n < bounds.settled)
            continue;
        assert_true(cycle.overshoot <= bounds.overshoot_most);
        assert_true(cycle.overshoot >= bounds.overshoot_least);
        assert_true(cycle.utilization <= bounds.utilization_most);
    }
}

static struct load at_steady(struct world *world, unsigned n) {
    (void)world;
    (void)n;
    return steady_load;
}

static void steady_state_settles_at_goal_and_a_quarter(void **state) {
    static const unsigned cpus[] = {1, 2, 4, 64};
    (void)state;
    for (size_t i = 0; i < MAL_COUNT_OF(cpus); i++) {
        struct world world = world_with(100, MAL_GC_NO_LIMIT, cpus[i]);
        run_many(&world, at_steady, 60, (struct bounds){30, 0.97, 1.03, 0.27});
    }
}

static void stacks_and_globals_are_paced_too(void **state) {
    (void)state;
    struct world world = world_with(100, MAL_GC_NO_LIMIT, 8);
    world.stack_bytes = 64.0 * MIB;
    world.globals_bytes = 128.0 * MIB;
    run_many(&world, at_steady, 60, (struct bounds){30, 0.97, 1.03, 0.27});
}

static struct load at_rescan(struct world *world, unsigned n) {
    struct load load = at_steady(world, n);
    load.rescan_bytes = 64.0 * MIB;
    return load;
}

static void scanning_again_is_expected_work(void **state) {
    (void)state;
    struct world world = world_with(100, MAL_GC_NO_LIMIT, 8);
    run_many(&world, at_rescan, 60, (struct bounds){15, 0.97, 1.03, 0.27});
    assert_in_range(world.pacer.rescan_bytes, 63 * MIB, 64 * MIB);
}

static struct load at_alloc_step(struct world *world, unsigned n) {
    (void)world;
    struct load load = steady_load;
    load.alloc_rate *= n < 40 ? 1 : 2;
    return load;
}

static void a_step_in_allocation_rate_is_followed(void **state) {
    (void)state;
    struct world world = world_with(100, MAL_GC_NO_LIMIT, 8);
    run_many(&world, at_alloc_step, 40, (struct bounds){30, 0.97, 1.03, 0.27});
    struct cycle first = run_cycle(&world, at_alloc_step(&world, 40));
    assert_true(first.overshoot < 1.1);
    assert_true(first.utilization > 0.26);
    for (unsigned n = 41; n < 80; n++) {
        struct cycle cycle = run_cycle(&world, at_alloc_step(&world, n));
        say(n, &cycle);
        assert_true(cycle.overshoot < 1.05);
        if (n >= 65)
            assert_true(cycle.utilization < 0.27);
    }
}

static struct load at_scan_step(struct world *world, unsigned n) {
    (void)world;
    struct load load = steady_load;
    load.scannable = n < 30 ? 0.2 : 1.0;
    return load;
}

static void a_step_in_the_scannable_share_is_followed(void **state) {
    (void)state;
    struct world world = world_with(100, MAL_GC_NO_LIMIT, 8);
    for (unsigned n = 0; n < 60; n++) {
        struct cycle cycle = run_cycle(&world, at_scan_step(&world, n));
        say(n, &cycle);
        if (n >= 12 && (n < 30 || n >= 42)) {
            assert_true(cycle.overshoot > 0.95 && cycle.overshoot < 1.05);
            assert_true(cycle.utilization < 0.3);
        }
        assert_true(cycle.overshoot < 1.8);
    }
}

static struct load at_live_step(struct world *world, unsigned n) {
    (void)world;
    struct load load = steady_load;
    load.live_bytes *= n < 30 ? 1 : n < 60 ? 3 : 0.5;
    return load;
}

static void a_step_in_the_live_heap_is_followed(void **state) {
    (void)state;
    struct world world = world_with(100, MAL_GC_NO_LIMIT, 8);
    for (unsigned n = 0; n < 90; n++) {
        struct cycle cycle = run_cycle(&world, at_live_step(&world, n));
        say(n, &cycle);
        /* The goal is stretched by GOGC % at most, and by 10 % beyond. */
        assert_true(cycle.overshoot < 2.2);
        if (n % 30 >= 15) {
            assert_true(cycle.overshoot > 0.95 && cycle.overshoot < 1.05);
            assert_true(cycle.utilization < 0.27);
        }
    }
}

static struct load at_oscillation(struct world *world, unsigned n) {
    struct load load = steady_load;
    load.alloc_rate *= n % 8 < 4 ? 1.3 : 0.7;
    load.live_bytes *= 1 + 0.05 * jitter(world);
    return load;
}

static void oscillation_is_damped(void **state) {
    (void)state;
    struct world world = world_with(100, MAL_GC_NO_LIMIT, 8);
    run_many(&world, at_oscillation, 100, (struct bounds){16, 0.8, 1.1, 0.4});
}

static struct load at_jitter(struct world *world, unsigned n) {
    (void)n;
    struct load load = steady_load;
    load.alloc_rate *= 1 + 0.2 * jitter(world);
    load.scan_rate *= 1 + 0.2 * jitter(world);
    load.scannable *= 0.8 + 0.1 * jitter(world);
    return load;
}

static void noise_does_not_grow(void **state) {
    (void)state;
    struct world world = world_with(100, MAL_GC_NO_LIMIT, 8);
    run_many(&world, at_jitter, 200, (struct bounds){16, 0.85, 1.15, 0.5});
}

/* Allocation too fast for a quarter: assists keep the heap at the goal all the same. */
static struct load at_heavy(struct world *world, unsigned n) {
    struct load load = at_steady(world, n);
    load.alloc_rate = 0.8;
    return load;
}

static void heavy_allocation_is_held_by_assists(void **state) {
    (void)state;
    struct world world = world_with(100, MAL_GC_NO_LIMIT, 8);
    run_many(&world, at_heavy, 60, (struct bounds){10, 0.9, 1.05, 0.95});
    struct cycle cycle = run_cycle(&world, at_heavy(&world, 60));
    assert_true(cycle.utilization > 0.4);
}

static void extreme_gogc_keeps_its_goals(void **state) {
    static const int percents[] = {2, 10, 400, 1500};
    (void)state;
    for (size_t i = 0; i < MAL_COUNT_OF(percents); i++) {
        struct world world = world_with(percents[i], MAL_GC_NO_LIMIT, 8);
        for (unsigned n = 0; n < 60; n++) {
            struct cycle cycle = run_cycle(&world, steady_load);
            say(n, &cycle);
            if (n >= 15)
                assert_true(cycle.overshoot < 1.05);
            if (n >= 15 && percents[i] >= 100)
                assert_true(cycle.utilization < 0.27);
        }
    }
}

static struct load at_small(struct world *world, unsigned n) {
    struct load load = at_steady(world, n);
    load.live_bytes = 100.0 * KIB;
    return load;
}

static void a_tiny_heap_collects_at_four_mib(void **state) {
    (void)state;
    struct world world = world_with(100, MAL_GC_NO_LIMIT, 4);
    for (unsigned n = 0; n < 40; n++) {
        struct cycle cycle = run_cycle(&world, at_small(&world, n));
        assert_true(cycle.goal == 4.0 * MIB);
        assert_true(cycle.trigger >= 0.7 * cycle.goal);
        assert_true(cycle.overshoot <= 1.02);
    }
}

static struct load at_half_of_the_limit(struct world *world, unsigned n) {
    struct load load = at_steady(world, n);
    load.live_bytes = 100.0 * MIB;
    return load;
}

static void a_limit_alone_collects_only_near_it(void **state) {
    (void)state;
    struct world world = world_with(-1, 300 * (int64_t)MIB, 8);
    world.malloc_bytes = 100.0 * MIB;
    for (unsigned n = 0; n < 60; n++) {
        struct cycle cycle = run_cycle(&world, at_half_of_the_limit(&world, n));
        say(n, &cycle);
        assert_true(cycle.trigger > 0.7 * 200 * MIB);
        if (n >= 10) {
            assert_true(cycle.peak + world.malloc_bytes <= 300.0 * MIB);
            assert_true(cycle.peak > 195.0 * MIB);
        }
    }
    assert_int_equal(world.limited_steps, 0);
    /* Malloc takes more: the collected heap makes room. */
    world.malloc_bytes = 150.0 * MIB;
    for (unsigned n = 0; n < 40; n++) {
        struct cycle cycle = run_cycle(&world, at_half_of_the_limit(&world, n));
        if (n >= 12)
            assert_true(cycle.peak + world.malloc_bytes <= 303.0 * MIB);
    }
}

/* More is live than the limit allows: collection never ends, and gets half of the CPUs. */
static struct load at_spiral(struct world *world, unsigned n) {
    struct load load = at_heavy(world, n);
    load.live_bytes = 100.0 * MIB;
    return load;
}

static void a_death_spiral_is_limited_to_half(void **state) {
    static const unsigned cpus[] = {1, 4, 16};
    (void)state;
    for (size_t i = 0; i < MAL_COUNT_OF(cpus); i++) {
        struct world world = world_with(-1, 60 * (int64_t)MIB, cpus[i]);
        while (world.now_ns < 20e9)
            run_cycle(&world, at_spiral(&world, 0));
        double share = world.gc_ns / (world.gc_ns + world.mutator_ns);
        if (getenv("MAL_PACER_TABLE"))
            print_message("cpus %u: %.3f of the CPU, %u limited steps, %.1f s\n", cpus[i], share,
                          world.limited_steps, world.now_ns / 1e9);
        double bucket = 1e9 * cpus[i] / (world.gc_ns + world.mutator_ns);
        assert_true(share <= 0.51 + bucket);
        assert_true(share >= 0.25);
        assert_true(world.limited_steps > 0);
    }
}

static void time_alone_asks_after_two_minutes(void **state) {
    (void)state;
    const uint64_t end = UINT64_C(7000000000), period = UINT64_C(120000000000);
    assert_int_equal(mal_gc_period_left_ns(end, end, 100), period);
    assert_int_equal(mal_gc_period_left_ns(end - 1, end, 100), period);
    assert_int_equal(mal_gc_period_left_ns(end + period - 1, end, 0), 1);
    assert_int_equal(mal_gc_period_left_ns(end + period, end, 100), 0);
    assert_int_equal(mal_gc_period_left_ns(UINT64_MAX, end, 100), 0);
    assert_int_equal(mal_gc_period_left_ns(end + 2 * period, end, -1), UINT64_MAX);
    assert_int_equal(mal_gc_period_left_ns(end + 2 * period, 0, 100), UINT64_MAX);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(time_alone_asks_after_two_minutes),
        cmocka_unit_test(the_first_cycle_starts_where_gos_does),
        cmocka_unit_test(the_heaps_minimum_scales_with_gogc),
        cmocka_unit_test(stacks_and_globals_count_towards_the_goal),
        cmocka_unit_test(the_trigger_keeps_within_its_bounds),
        cmocka_unit_test(an_unfinished_sweep_pushes_goal_and_trigger),
        cmocka_unit_test(a_running_cycle_has_some_runway),
        cmocka_unit_test(the_goal_of_a_memory_limit),
        cmocka_unit_test(the_smaller_goal_counts),
        cmocka_unit_test(workers_are_a_quarter),
        cmocka_unit_test(assists_owe_what_is_left),
        cmocka_unit_test(a_forced_cycle_without_gogc_is_no_burden),
        cmocka_unit_test(the_sweep_ends_before_the_trigger),
        cmocka_unit_test(a_measurement_without_meaning_starts_anew),
        cmocka_unit_test(any_input_keeps_the_invariants),
        cmocka_unit_test(steady_state_settles_at_goal_and_a_quarter),
        cmocka_unit_test(stacks_and_globals_are_paced_too),
        cmocka_unit_test(scanning_again_is_expected_work),
        cmocka_unit_test(a_step_in_allocation_rate_is_followed),
        cmocka_unit_test(a_step_in_the_scannable_share_is_followed),
        cmocka_unit_test(a_step_in_the_live_heap_is_followed),
        cmocka_unit_test(oscillation_is_damped),
        cmocka_unit_test(noise_does_not_grow),
        cmocka_unit_test(heavy_allocation_is_held_by_assists),
        cmocka_unit_test(extreme_gogc_keeps_its_goals),
        cmocka_unit_test(a_tiny_heap_collects_at_four_mib),
        cmocka_unit_test(a_limit_alone_collects_only_near_it),
        cmocka_unit_test(a_death_spiral_is_limited_to_half),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
