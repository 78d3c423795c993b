/* SPDX-License-Identifier: Apache-2.0
 *
 * The per-CPU caches, in both modes, and as on a machine of 64 CPUs: the program starts itself once
 * for each, because the mode is chosen before main. Under sanitizers, and where the kernel
 * registers nothing, both are lock mode.
 *
 * Exact counts of mallocs and frees against what threads really did, the budget, draining, what
 * goes back before the heap grows, shelves of freed samples.
 */
#include "cache/cache_private.h"
#include "cache/percpu_cache.h"
#include "cache/shelf.h"
#include "central/central.h"
#include "mallard/gc.h"
#include "mallard/mallard.h"
#include "meta/classes.h"
#include "meta/freed.h"
#include "meta/pagemap.h"
#include "os/vm.h"
#include "pageheap/pageheap.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "support/seeded.h"

#define THREADS 6
#define SIMULATED 64u

static bool simulated; /* the CPUs of this run */

/* Per class, what the program itself knows. */
struct truth {
    uint64_t mallocs[MAL_CLASS_COUNT];
    uint64_t frees[MAL_CLASS_COUNT];
};

static void check_exact(const struct truth *truth, const struct truth *before) {
    for (uint32_t class = 1; class < MAL_CLASS_COUNT; class ++) {
        struct mal_cache_stats stats = mal_cache_stats(class);
        if (stats.mallocs != before->mallocs[class] + truth->mallocs[class] ||
            stats.frees != before->frees[class] + truth->frees[class])
            fail_msg("class %u: %lu mallocs and %lu frees, not %lu and %lu; MAL_TEST_SEED=%lu",
                     class, (unsigned long)stats.mallocs, (unsigned long)stats.frees,
                     (unsigned long)(before->mallocs[class] + truth->mallocs[class]),
                     (unsigned long)(before->frees[class] + truth->frees[class]),
                     (unsigned long)seeded_seed);
    }
}

static struct truth counters_now(void) {
    struct truth truth = {0};
    for (uint32_t class = 1; class < MAL_CLASS_COUNT; class ++) {
        truth.mallocs[class] = mal_cache_stats(class).mallocs;
        truth.frees[class] = mal_cache_stats(class).frees;
    }
    return truth;
}

static uint64_t cached_bytes(void) {
    uint64_t bytes = 0;
    for (uint32_t class = 1; class < MAL_CLASS_COUNT; class ++)
        bytes += mal_cache_stats(class).cached * mal_class[class].size_bytes;
    return bytes;
}

static unsigned populated_cpus(void) {
    unsigned count = 0;
    for (unsigned cpu = 0; cpu < mal_cache_cpus(); cpu++)
        count += mal_cache_cpu_is_populated(cpu);
    return count;
}

/* With what was in flight in other threads while limits shrank. */
#define FLYING_BYTES (256u << 10)

static void *allocate(struct truth *truth, size_t bytes) {
    truth->mallocs[mal_class_for(bytes)]++;
    void *object = mallard_malloc(bytes);
    if (!object)
        abort();
    memset(object, 0xa5, bytes < 64 ? bytes : 64);
    return object;
}

static void release(struct truth *truth, void *object) {
    truth->frees[mal_class_for(mallard_malloc_usable_size(object))]++;
    mallard_free(object);
}

struct worker {
    uint64_t random;
    struct truth truth;
    pthread_t thread;
};

static void hop(uint64_t *random) {
    cpu_set_t all;
    if (sched_getaffinity(0, sizeof all, &all) != 0)
        return;
    int cpu = (int)seeded_below(random, (uint64_t)CPU_COUNT(&all));
    cpu_set_t one;
    CPU_ZERO(&one);
    for (int i = 0; i < CPU_SETSIZE; i++)
        if (CPU_ISSET(i, &all) && cpu-- == 0)
            CPU_SET(i, &one);
    sched_setaffinity(0, sizeof one, &one);
    sched_setaffinity(0, sizeof all, &all);
}

static void *work(void *argument) {
    struct worker *worker = argument;
    void *held[500] = {0};
    for (int step = 0; step < 40000; step++) {
        size_t at = seeded_below(&worker->random, 500);
        if (held[at])
            release(&worker->truth, held[at]);
        held[at] = seeded_below(&worker->random, 3) == 0
                       ? NULL
                       : allocate(&worker->truth, seeded_size(&worker->random, 17));
        if (step % 1000 == 0)
            hop(&worker->random);
    }
    for (size_t at = 0; at < 500; at++)
        if (held[at])
            release(&worker->truth, held[at]);
    return NULL;
}

static void add_truth(struct truth *sum, const struct truth *part) {
    for (uint32_t class = 0; class < MAL_CLASS_COUNT; class ++) {
        sum->mallocs[class] += part->mallocs[class];
        sum->frees[class] += part->frees[class];
    }
}

static void counters_are_exact_with_threads(void **state) {
    (void)state;
    static struct worker worker[THREADS];
    struct truth before = counters_now();
    struct truth sum = {0};
    uint64_t random = seeded_start(10);
    for (int i = 0; i < THREADS; i++) {
        worker[i] = (struct worker){.random = seeded_next(&random)};
        assert_int_equal(pthread_create(&worker[i].thread, NULL, work, &worker[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(worker[i].thread, NULL);
        add_truth(&sum, &worker[i].truth);
    }
    check_exact(&sum, &before);
    assert_true(cached_bytes() <= populated_cpus() * (MAL_CACHE_BUDGET_BYTES +
                                                      MAL_SHELF_BUDGET_BYTES + FLYING_BYTES));
}

/* ---- read while they move ---- */

static uint64_t begun_mallocs, begun_frees; /* of class 4, counted before each call */
static int reading_over;

/* What is on its way may be missing; what has not happened is never there. A caller who keeps the
 * largest value seen can therefore not be wrong for long. */
static void *read_all_the_time(void *argument) {
    const struct mal_cache_stats *before = argument;
    uintptr_t too_many = 0;
    while (!__atomic_load_n(&reading_over, __ATOMIC_ACQUIRE)) {
        struct mal_cache_stats now = mal_cache_stats(4);
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        too_many += (int64_t)(now.mallocs - before->mallocs) >
                    (int64_t)__atomic_load_n(&begun_mallocs, __ATOMIC_ACQUIRE);
        too_many += (int64_t)(now.frees - before->frees) >
                    (int64_t)__atomic_load_n(&begun_frees, __ATOMIC_ACQUIRE);
    }
    return (void *)too_many;
}

static void *flood_and_ebb(void *argument) {
    static _Thread_local void *held[3000];
    (void)argument;
    for (int round = 0; round < 60; round++) {
        for (int i = 0; i < 3000; i++) {
            __atomic_fetch_add(&begun_mallocs, 1, __ATOMIC_ACQ_REL);
            held[i] = mallard_malloc(mal_class[4].size_bytes);
        }
        for (int i = 0; i < 3000; i++) {
            __atomic_fetch_add(&begun_frees, 1, __ATOMIC_ACQ_REL);
            mallard_free(held[i]);
        }
    }
    return NULL;
}

static void counters_never_run_ahead_of_the_truth(void **state) {
    (void)state;
    struct mal_cache_stats before = mal_cache_stats(4);
    pthread_t reader, writer[2];
    void *too_many;
    assert_int_equal(pthread_create(&reader, NULL, read_all_the_time, &before), 0);
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&writer[i], NULL, flood_and_ebb, NULL), 0);
    for (int i = 0; i < 2; i++)
        pthread_join(writer[i], NULL);
    __atomic_store_n(&reading_over, 1, __ATOMIC_RELEASE);
    pthread_join(reader, &too_many);
    assert_int_equal((uintptr_t)too_many, 0);
    struct mal_cache_stats after = mal_cache_stats(4);
    assert_int_equal(after.mallocs - before.mallocs, begun_mallocs);
    assert_int_equal(after.frees - before.frees, begun_frees);
}

static void drain_here(unsigned cpu, enum mal_drain drain) {
    cpu_set_t all, one;
    if (!mal_cache_cpu_is_populated(cpu) || sched_getaffinity(0, sizeof all, &all) != 0)
        return;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    if (mal_cache_mode() == MAL_PERCPU_RSEQ && sched_setaffinity(0, sizeof one, &one) != 0)
        return;
    mal_cache_drain_cpu(cpu, drain);
    sched_setaffinity(0, sizeof all, &all);
}

static void drain_every_cpu(enum mal_drain drain) {
    for (unsigned cpu = 0; cpu < mal_cache_cpus(); cpu++)
        drain_here(cpu, drain);
}

static void drain_all_here(void) {
    drain_every_cpu(MAL_DRAIN_ALL);
}

/* A pair of calls after another is served by the CPU's own cache: nothing new is asked for. The
 * caches start empty, for a budget full of other classes' objects leaves no room. */
static void a_pair_stays_in_the_cache(void **state) {
    (void)state;
    for (uint32_t class = 1; class < MAL_CLASS_COUNT; class ++) {
        size_t bytes = mal_class[class].size_bytes;
        drain_all_here();
        mallard_free(mallard_malloc(bytes));
        uint64_t taken = mal_central_stats(class).taken;
        for (int i = 0; i < 100; i++)
            mallard_free(mallard_malloc(bytes));
        /* A change of CPU may cost a batch or two. */
        assert_true(mal_central_stats(class).taken - taken <= 4u * mal_class[class].batch + 4);
    }
}

/* A drain on another thread takes a class's capacity away a moment before its objects. */
static bool comes_within(uint64_t bytes_per_cpu) {
    for (int tries = 0; tries < 1000; tries++) {
        if (cached_bytes() <= populated_cpus() * bytes_per_cpu)
            return true;
        usleep(1000);
    }
    return false;
}

/* Floods every class in turn: capacity moves, and the sum stays within the budget. */
static void capacity_moves_within_the_budget(void **state) {
    (void)state;
    static void *held[4000];
    for (uint32_t class = 1; class < MAL_CLASS_COUNT; class ++) {
        size_t bytes = mal_class[class].size_bytes;
        size_t count = bytes > 8192 ? 40 : 4000;
        for (size_t i = 0; i < count; i++)
            assert_non_null(held[i] = mallard_malloc(bytes));
        for (size_t i = 0; i < count; i++)
            mallard_free(held[i]);
        if (!comes_within(MAL_CACHE_BUDGET_BYTES + MAL_SHELF_BUDGET_BYTES + FLYING_BYTES))
            fail_msg("%lu bytes in the caches of %u CPUs after class %u",
                     (unsigned long)cached_bytes(), populated_cpus(), class);
    }
}

static void *flood_some_classes(void *argument) {
    static _Thread_local void *held[2000];
    uint64_t random = (uintptr_t)argument;
    for (int round = 0; round < 12; round++) {
        size_t bytes = mal_class[1 + seeded_below(&random, MAL_CLASS_COUNT - 1)].size_bytes;
        size_t count = bytes > 8192 ? 20 : 2000;
        for (size_t i = 0; i < count; i++)
            held[i] = mallard_malloc(bytes);
        for (size_t i = 0; i < count; i++)
            mallard_free(held[i]);
    }
    return NULL;
}

/* Of what was only read the kernel says that it is resident as well, but it is zero. */
static bool is_written(char *page) {
    size_t bytes = mal_vm_page_bytes();
    unsigned char present = 0;
    if (mincore(page, bytes, &present) != 0 || !(present & 1))
        return false;
    return page[0] || memcmp(page, page + 1, bytes - 1) != 0;
}

static uint64_t written_bytes(void) {
    uint64_t bytes = 0;
    const char *end = mal_percpu_slabs + (size_t)mal_cache_cpus() * MAL_SLAB_BYTES;
    for (char *page = mal_percpu_slabs; page < end; page += mal_vm_page_bytes())
        bytes += is_written(page) ? mal_vm_page_bytes() : 0;
    return bytes;
}

/* A limit on memory must not count what is not there. */
static void little_is_resident_where_little_is_used(void **state) {
    (void)state;
    mallard_free(mallard_malloc(64));
    assert_true(mal_cache_resident_bytes() >= written_bytes());
    assert_in_range(mal_cache_resident_bytes(), 1, 8ull * populated_cpus() * mal_vm_page_bytes());
}

/* Threads, dealt to as many CPUs as there are: memory is bounded by CPUs, not by threads. They run
 * one after the other, so nothing is in flight and the bound is exact. */
static void every_cpu_keeps_its_budget(void **state) {
    (void)state;
    unsigned threads = simulated ? 2 * SIMULATED : 2 * THREADS;
    uint64_t random = seeded_start(11);
    for (unsigned i = 0; i < threads; i++) {
        pthread_t thread;
        void *seed = (void *)(uintptr_t)seeded_next(&random);
        assert_int_equal(pthread_create(&thread, NULL, flood_some_classes, seed), 0);
        pthread_join(thread, NULL);
        if (!comes_within(MAL_CACHE_BUDGET_BYTES + MAL_SHELF_BUDGET_BYTES))
            fail_msg("%lu bytes in the caches of %u CPUs; MAL_TEST_SEED=%lu",
                     (unsigned long)cached_bytes(), populated_cpus(), (unsigned long)seeded_seed);
    }
    assert_int_equal(mal_cache_slab_bytes(), (uint64_t)populated_cpus() * MAL_SLAB_BYTES);
    assert_in_range(mal_cache_resident_bytes(), written_bytes(), mal_cache_slab_bytes());
    if (simulated)
        assert_int_equal(populated_cpus(), SIMULATED);
}

/* ---- shelves of freed samples ---- */

static cpu_set_t stay_on_one_cpu(void) {
    cpu_set_t all, one;
    CPU_ZERO(&one);
    CPU_SET((unsigned)sched_getcpu(), &one);
    assert_int_equal(sched_getaffinity(0, sizeof all, &all), 0);
    assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
    return all;
}

/* The same with every object a sample. */
static void counters_are_exact_where_all_is_sampled(void **state) {
    uint64_t rate = mallard_set_mem_profile_rate(1);
    counters_are_exact_with_threads(state);
    mallard_set_mem_profile_rate(rate);
    drain_all_here();
    assert_int_equal(cached_bytes(), 0);
}

static uint8_t state_of(const void *object) {
    return *mal_pagemap_state(object);
}

/* Its state byte stays what it is until its shelf is emptied. */
static void a_freed_sample_waits_for_the_next(void **state) {
    (void)state;
    drain_all_here();
    cpu_set_t cpus = stay_on_one_cpu();
    uint64_t rate = mallard_set_mem_profile_rate(1);
    mallard_free(mallard_malloc(704)); /* a slab that is in use has a shelf */
    void *object = mallard_malloc(704);
    assert_true(mal_state_is_sampled(state_of(object)));
    uint64_t waiting = mal_cache_stats(mal_class_for(704)).cached;
    mallard_free(object);
    assert_true(mal_state_is_sampled(state_of(object)));
    assert_int_equal(mal_cache_stats(mal_class_for(704)).cached, waiting + 1);
    assert_ptr_equal(mallard_malloc(704), object);
    mallard_free(object);
    mallard_set_mem_profile_rate(rate);
    drain_all_here();
    assert_true(mal_state_is_start(state_of(object)));
    assert_int_equal(mal_cache_stats(mal_class_for(704)).cached, 0);
    sched_setaffinity(0, sizeof cpus, &cpus);
}

/* However many CPUs share a shelf, and whatever else looked at it in between. */
static void a_shelf_is_idle_after_a_whole_round(void **state) {
    (void)state;
    uint32_t class = mal_class_for(704);
    drain_all_here();
    cpu_set_t cpus = stay_on_one_cpu();
    uint64_t rate = mallard_set_mem_profile_rate(1);
    mallard_free(mallard_malloc(704)); /* a slab that is in use has a shelf */
    mallard_free(mallard_malloc(704));
    mallard_set_mem_profile_rate(rate);
    sched_setaffinity(0, sizeof cpus, &cpus);
    uint64_t waiting = mal_shelf_objects(class);
    assert_true(waiting > 0);
    drain_every_cpu(MAL_DRAIN_FOR_GROWTH);
    assert_int_equal(mal_shelf_objects(class), waiting);
    drain_every_cpu(MAL_DRAIN_IDLE);
    assert_int_equal(mal_shelf_objects(class), waiting);
    drain_every_cpu(MAL_DRAIN_IDLE);
    assert_int_equal(mal_shelf_objects(class), 0);
}

static void shelves_keep_their_budget(void **state) {
    (void)state;
    static void *held[16];
    uint64_t rate = mallard_set_mem_profile_rate(1);
    drain_all_here();
    for (uint32_t class = 1; class < MAL_CLASS_COUNT; class ++) {
        for (size_t i = 0; i < 16; i++)
            assert_non_null(held[i] = mallard_malloc(mal_class[class].size_bytes));
        for (size_t i = 0; i < 16; i++)
            mallard_free(held[i]);
    }
    uint64_t bytes = 0;
    for (uint32_t class = 1; class < MAL_CLASS_COUNT; class ++)
        bytes += mal_shelf_objects(class) * mal_class[class].size_bytes;
    mallard_set_mem_profile_rate(rate);
    assert_in_range(bytes, 1, (uint64_t)populated_cpus() * MAL_SHELF_BUDGET_BYTES);
}

/* ---- fork ---- */

static int sampling_over;

/* Has a slot in its hands more often than not. */
static void *give_and_take(void *argument) {
    uint32_t class = mal_class_for(704);
    (void)argument;
    for (int twice = 0; twice < 2; twice++)
        mallard_free(mallard_malloc(704)); /* a slab that is in use has a shelf */
    while (!__atomic_load_n(&sampling_over, __ATOMIC_ACQUIRE)) {
        void *object = mal_shelf_take(class);
        if (object && !mal_shelf_give(class, object)) {
            mal_unmark_freed(object); /* as whoever takes one does, or it would be freed twice */
            mallard_free(object);
        }
    }
    return NULL;
}

static bool child_finds_all_slots(void) {
    int status = 0;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        drain_all_here();
        _exit(mal_shelf_objects(mal_class_for(704)) != 0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    return status == 0;
}

static void slots_of_others_serve_again_in_a_child(void **state) {
    (void)state;
    pthread_t other;
    unsigned lost = 0;
    uint64_t rate = mallard_set_mem_profile_rate(1);
    assert_int_equal(pthread_create(&other, NULL, give_and_take, NULL), 0);
    for (int forks = 0; forks < 100; forks++)
        lost += !child_finds_all_slots();
    __atomic_store_n(&sampling_over, 1, __ATOMIC_RELEASE);
    pthread_join(other, NULL);
    mallard_set_mem_profile_rate(rate);
    drain_all_here();
    if (lost > 0)
        fail_msg("%u of 100 children lost a slot", lost);
}

static void a_drain_empties_everything(void **state) {
    (void)state;
    struct truth before = counters_now();
    drain_all_here();
    assert_int_equal(cached_bytes(), 0);
    struct truth nothing = {0};
    check_exact(&nothing, &before);
    for (uint32_t class = 1; class < MAL_CLASS_COUNT; class ++) {
        mal_central_flush(class);
        assert_int_equal(mal_central_stats(class).taken - mal_central_stats(class).given,
                         before.mallocs[class] - before.frees[class]);
    }
}

/* On one CPU: a thread that is moved between the grant and the push caches nothing. */
static void pair_that_is_not_moved(size_t bytes) {
    cpu_set_t all, one;
    assert_int_equal(sched_getaffinity(0, sizeof all, &all), 0);
    CPU_ZERO(&one);
    CPU_SET(sched_getcpu(), &one);
    assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
    mallard_free(mallard_malloc(bytes));
    sched_setaffinity(0, sizeof all, &all);
}

/* The second idle drain takes what was not used since the first; what was used stays. */
static void an_idle_drain_spares_what_is_in_use(void **state) {
    (void)state;
    unsigned cpus = mal_cache_cpus();
    drain_all_here();
    pair_that_is_not_moved(64);
    uint32_t class = mal_class_for(64);
    assert_true(mal_cache_stats(class).cached > 0);
    for (unsigned cpu = 0; cpu < cpus; cpu++)
        drain_here(cpu, MAL_DRAIN_IDLE);
    assert_true(mal_cache_stats(class).cached > 0);
    for (unsigned cpu = 0; cpu < cpus; cpu++)
        drain_here(cpu, MAL_DRAIN_IDLE);
    assert_int_equal(mal_cache_stats(class).cached, 0);
}

static uint64_t granted_bytes(unsigned cpu) {
    return mal_slab_of(cpu)->granted_bytes;
}

static void drain_from_elsewhere(unsigned cpu) {
    cpu_set_t all, others;
    assert_int_equal(sched_getaffinity(0, sizeof all, &all), 0);
    others = all;
    CPU_CLR(cpu, &others);
    if (CPU_COUNT(&others) == 0 || sched_setaffinity(0, sizeof others, &others) != 0)
        skip();
    mal_cache_drain_cpu(cpu, MAL_DRAIN_ALL);
    sched_setaffinity(0, sizeof all, &all);
}

/* As one is that was moved to another CPU: what it cannot take goes on counting. */
static void a_drain_that_was_moved_away_takes_no_capacity(void **state) {
    (void)state;
    bool reaches_all = mal_cache_mode() == MAL_PERCPU_LOCK;
    unsigned cpu = 0;
    drain_all_here();
    pair_that_is_not_moved(64);
    while (granted_bytes(cpu) == 0)
        cpu++;
    uint64_t granted = granted_bytes(cpu), cached = cached_bytes();
    assert_in_range(cached, 1, granted);
    drain_from_elsewhere(cpu);
    assert_int_equal(cached_bytes(), reaches_all ? 0 : cached);
    assert_int_equal(granted_bytes(cpu), reaches_all ? 0 : granted);
}

static unsigned resident_pages(unsigned cpu) {
    static unsigned char present[MAL_SLAB_BYTES / 4096];
    unsigned count = 0;
    char *slab = mal_percpu_slabs + (size_t)cpu * MAL_SLAB_BYTES;
    if (mincore(slab, MAL_SLAB_BYTES, present) != 0)
        return 0;
    for (size_t page = 0; page < MAL_SLAB_BYTES / mal_vm_page_bytes(); page++)
        count += present[page] & 1;
    return count;
}

/* What could be given up for a request: in this CPU's cache, in transfer caches, in empty spans. */
struct kept {
    uint64_t cached_bytes, transfer_bytes, empty_bytes;
};

static struct kept kept_now(void) {
    struct kept kept = {cached_bytes(), 0, mal_central_empty_bytes()};
    for (uint32_t class = 1; class < MAL_CLASS_COUNT; class ++)
        kept.transfer_bytes +=
            mal_central_stats(class).transfer_objects * mal_class[class].size_bytes;
    return kept;
}

static void keep_something(void) {
    static void *held[4000];
    for (size_t i = 0; i < 4000; i++)
        assert_non_null(held[i] = mallard_malloc(1024));
    for (size_t i = 0; i < 4000; i++)
        mallard_free(held[i]);
}

/* Twice, because the first time a class counts as in use. */
static void ask_for_the_impossible(void) {
    for (int twice = 0; twice < 2; twice++) {
        assert_null(mallard_malloc((size_t)1 << 55));
        assert_null(mallard_aligned_alloc((size_t)1 << 60, 64));
    }
}

/* The background may be at work between two looks, but not every time. */
static void what_can_never_be_served_costs_nothing(void **state) {
    (void)state;
    bool same = false;
    for (int tries = 0; tries < 5 && !same; tries++) {
        keep_something();
        struct kept before = kept_now();
        assert_true(before.cached_bytes > 0 && before.transfer_bytes > 0 && before.empty_bytes > 0);
        ask_for_the_impossible();
        struct kept after = kept_now();
        same = memcmp(&before, &after, sizeof before) == 0;
    }
    assert_true(same);
}

/* The tables of a CPU that nobody uses go back but for the first page, and serve again. */
static void an_idle_slab_is_given_back(void **state) {
    (void)state;
    (void)flood_some_classes((void *)4711);
    for (int twice = 0; twice < 2; twice++)
        for (unsigned cpu = 0; cpu < mal_cache_cpus(); cpu++)
            drain_here(cpu, MAL_DRAIN_IDLE);
    assert_int_equal(cached_bytes(), 0);
    for (unsigned cpu = 0; cpu < mal_cache_cpus(); cpu++)
        assert_true(resident_pages(cpu) <= 1);
    assert_int_equal(mal_cache_resident_bytes(), populated_cpus() * mal_vm_page_bytes());
    struct truth truth = {0}, before = counters_now();
    for (int i = 0; i < 1000; i++)
        release(&truth, allocate(&truth, (size_t)i * 37));
    check_exact(&truth, &before);
}

/* Instead of libc's, for the core as well. */
static bool cpu_is_refused;
int sched_getcpu(void) {
    unsigned cpu = 0;
    if (!cpu_is_refused && syscall(SYS_getcpu, &cpu, NULL, NULL) == 0)
        return (int)cpu;
    errno = EPERM;
    return -1;
}

/* As by a filter of system calls. */
static void a_cpu_that_is_not_told_leaves_errno_alone(void **state) {
    (void)state;
    cpu_is_refused = true;
    errno = EDOM;
    void *object = mallard_malloc(64);
    mallard_free(object);
    int said = errno;
    cpu_is_refused = false;
    assert_non_null(object);
    assert_int_equal(said, EDOM);
}

static void no_memory_is_null_and_errno(void **state) {
    (void)state;
    static void *held[200000];
    size_t count = 0;
    mal_vm_inject_fault(1, MAL_VM_FAULT_FROM);
    errno = 0;
    while (count < 200000 && (held[count] = mallard_malloc(32768)) != NULL)
        count++;
    assert_int_equal(errno, ENOMEM);
    assert_true(count < 200000);
    mal_vm_inject_fault(0, MAL_VM_FAULT_ONCE);
    while (count-- > 0)
        mallard_free(held[count]);
    void *again = mallard_malloc(32768);
    assert_non_null(again);
    mallard_free(again);
}

/* ---- before the heap grows ---- */

static void *filling[20000];
static size_t filling_count;

static size_t more_than_lies_idle(void) {
    struct mal_pageheap_stats stats = mal_pageheap_stats();
    return (size_t)(stats.free_pages + stats.released_pages + 1) << MAL_PAGE_SHIFT;
}

static void grow_by_a_class(void) {
    uint64_t mapped = mal_pageheap_stats().mapped_pages;
    while (mal_pageheap_stats().mapped_pages == mapped) {
        assert_true(filling_count < sizeof filling / sizeof *filling);
        filling[filling_count++] = mallard_malloc(MAL_MEDIUM_MAX_BYTES);
    }
}

static void grow_by_a_large_object(void) {
    void *object = mallard_malloc(more_than_lies_idle());
    assert_non_null(object);
    filling[filling_count++] = object;
}

/* Without a collection, for which some emulators and sanitizers have threads that never stop. */
static void grow_by_a_collected_object(void) {
    mallard_gc_set_percent(-1);
    assert_non_null(mallard_gc_alloc_noscan(more_than_lies_idle()));
}

static void make_room(void) {
    assert_int_equal(mal_central_make_room(0, MAL_PAGE_BYTES), MAL_GROWTH_REFUSED);
}

static void assert_all_went_back(uint32_t class) {
    assert_int_equal(mal_cache_stats(class).cached, 0);
    assert_int_equal(mal_central_stats(class).transfer_objects, 0);
    assert_int_equal(mal_central_stats(class).spans, 0);
}

/* What was used since room was last made stays. */
static void room_is_made_of_what_this_cpu_did_not_use(void **state) {
    (void)state;
    uint32_t class = mal_class_for(1024);
    drain_all_here();
    cpu_set_t cpus = stay_on_one_cpu();
    keep_something();
    make_room();
    assert_true(mal_cache_stats(class).cached > 0);
    make_room();
    assert_all_went_back(class);
    sched_setaffinity(0, sizeof cpus, &cpus);
}

/* Whoever the heap grows for; debug builds see whether he holds a lock that forbids it. */
static void every_growth_makes_room_first(void **state) {
    (void)state;
    static void (*const grow[])(void) = {grow_by_a_class, grow_by_a_large_object,
                                         grow_by_a_collected_object};
    uint32_t class = mal_class_for(1024);
    drain_all_here();
    cpu_set_t cpus = stay_on_one_cpu();
    for (size_t i = 0; i < sizeof grow / sizeof *grow; i++) {
        keep_something();
        grow[i]();
        grow[i]();
        assert_all_went_back(class);
    }
    sched_setaffinity(0, sizeof cpus, &cpus);
    while (filling_count > 0)
        mallard_free(filling[--filling_count]);
}

static int run_all(const char *mode) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(little_is_resident_where_little_is_used),
        cmocka_unit_test(counters_are_exact_with_threads),
        cmocka_unit_test(counters_never_run_ahead_of_the_truth),
        cmocka_unit_test(a_pair_stays_in_the_cache),
        cmocka_unit_test(capacity_moves_within_the_budget),
        cmocka_unit_test(every_cpu_keeps_its_budget),
        cmocka_unit_test(counters_are_exact_where_all_is_sampled),
        cmocka_unit_test(a_freed_sample_waits_for_the_next),
        cmocka_unit_test(a_shelf_is_idle_after_a_whole_round),
        cmocka_unit_test(shelves_keep_their_budget),
        cmocka_unit_test(slots_of_others_serve_again_in_a_child),
        cmocka_unit_test(a_drain_empties_everything),
        cmocka_unit_test(an_idle_drain_spares_what_is_in_use),
        cmocka_unit_test(a_drain_that_was_moved_away_takes_no_capacity),
        cmocka_unit_test(an_idle_slab_is_given_back),
        cmocka_unit_test(what_can_never_be_served_costs_nothing),
        cmocka_unit_test(a_cpu_that_is_not_told_leaves_errno_alone),
        cmocka_unit_test(no_memory_is_null_and_errno),
        cmocka_unit_test(room_is_made_of_what_this_cpu_did_not_use),
        cmocka_unit_test(every_growth_makes_room_first),
    };
    if (strcmp(mode, "rseq") != 0 && mal_cache_mode() != MAL_PERCPU_LOCK)
        return 1;
    simulated = strcmp(mode, "simulated") == 0;
    if (simulated && mal_cache_cpus() != SIMULATED)
        return 1;
    return cmocka_run_group_tests_name(mode, tests, NULL, NULL);
}

static int run_in_mode(const char *program, const char *mode) {
    int status = 0;
    pid_t child = fork();
    if (child == 0) {
        if (strcmp(mode, "simulated") == 0)
            setenv("MALLARD_DEBUG", "cpus=64", 1);
        else
            setenv("MALLARD_CPU_CACHE", mode, 1);
        execl("/proc/self/exe", program, mode, (char *)NULL);
        _exit(127);
    }
    return waitpid(child, &status, 0) == child && status == 0 ? 0 : 1;
}

int main(int count, char **arguments) {
    if (count > 1)
        return run_all(arguments[1]);
    /* Where there is one mode only, there is nothing to choose, and perhaps no way to exec. */
    if (mal_cache_mode() == MAL_PERCPU_LOCK)
        return run_all("lock");
    int failed = run_in_mode(arguments[0], "rseq");
    failed |= run_in_mode(arguments[0], "simulated");
    return run_in_mode(arguments[0], "lock") | failed;
}
