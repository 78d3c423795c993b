/* SPDX-License-Identifier: Apache-2.0
 *
 * Nanoseconds per malloc+free pair, by pattern and size, of whatever malloc is preloaded.
 *
 *     micro [scale = 1] [pattern [size]]
 *
 * pair: free follows malloc at once. batch: 100 blocks, freed in order. random: 1000 blocks, freed
 * in random order. cross: one thread allocates batches, another frees them. Sizes are the powers of
 * two from 16 bytes to 64 KiB. One byte of each block is written, as nobody allocates for less.
 *
 * Each figure is the least of ROUNDS medians over SHOTS measurements; a measurement repeats the
 * pattern until it takes SHOT_NS. The same loops run over an allocator that does nothing, in the
 * same process: its lines are what the loop, the call and the write cost. Lines: "pattern size
 * nanoseconds nanoseconds-of-nothing".
 */
#include "workloads/load.h"

#include <sched.h>
#include <stdatomic.h>
#include <time.h>

enum { ROUNDS = 5, SHOTS = 11, BATCH = 100, SHUFFLED = 1000, LEAST = 16, MOST = 65536 };

static double shot_ns = 1e6;

struct allocator {
    void *(*take)(size_t);
    void (*give)(void *);
};

static char nothing[MOST];

__attribute__((noinline)) static void *take_nothing(size_t bytes) {
    __asm__ volatile("" : : "r"(bytes));
    return nothing;
}

__attribute__((noinline)) static void give_nothing(void *block) {
    __asm__ volatile("" : : "r"(block));
}

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Volatile, so that no pair is optimised away. */
static void *touched(void *block) {
    *(volatile char *)block = 1;
    return block;
}

static void pairs(const struct allocator *allocator, size_t size, size_t count) {
    for (size_t i = 0; i < count; i++)
        allocator->give(touched(allocator->take(size)));
}

static void batches(const struct allocator *allocator, size_t size, size_t count) {
    void *block[BATCH];
    for (size_t done = 0; done < count; done += BATCH) {
        for (int i = 0; i < BATCH; i++)
            block[i] = touched(allocator->take(size));
        for (int i = 0; i < BATCH; i++)
            allocator->give(block[i]);
    }
}

static size_t order[SHUFFLED];

static void shuffle(void) {
    uint64_t seed = 4711;
    for (size_t i = 0; i < SHUFFLED; i++) {
        size_t j = random_below(&seed, i + 1);
        order[i] = order[j];
        order[j] = i;
    }
}

static void shuffled(const struct allocator *allocator, size_t size, size_t count) {
    static void *block[SHUFFLED];
    for (size_t done = 0; done < count; done += SHUFFLED) {
        for (int i = 0; i < SHUFFLED; i++)
            block[i] = touched(allocator->take(size));
        for (int i = 0; i < SHUFFLED; i++)
            allocator->give(block[order[i]]);
    }
}

/* The batch being freed, and with what; NULL again once that is done. Meanwhile the next one is
 * allocated. A batch whose first block is NULL ends the freeing thread. */
static _Atomic(void **) mail;
static const struct allocator *mail_allocator;

static void *free_batches(void *argument) {
    for (;;) {
        void **batch;
        while (!(batch = atomic_load_explicit(&mail, memory_order_acquire)))
            sched_yield();
        if (!batch[0])
            return argument;
        for (int i = 0; i < BATCH; i++)
            mail_allocator->give(batch[i]);
        atomic_store_explicit(&mail, NULL, memory_order_release);
    }
}

static void send(const struct allocator *allocator, void **batch) {
    while (atomic_load_explicit(&mail, memory_order_acquire))
        sched_yield();
    mail_allocator = allocator;
    atomic_store_explicit(&mail, batch, memory_order_release);
}

static void exchange(const struct allocator *allocator, size_t size, size_t count) {
    static void *batch[2][BATCH];
    for (size_t done = 0, turn = 0; done < count; done += BATCH, turn = !turn) {
        for (int i = 0; i < BATCH; i++)
            batch[turn][i] = touched(allocator->take(size));
        send(allocator, batch[turn]);
    }
}

static void pin(size_t cpu) {
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(cpu % CPU_SETSIZE, &one);
    sched_setaffinity(0, sizeof one, &one); /* may fail where CPUs are few: then it floats */
}

static void *free_elsewhere(void *argument) {
    pin(1);
    return free_batches(argument);
}

/* Each of the two has a CPU of its own, or the figure would tell where the scheduler put them. The
 * other thread exists for this pattern only: alone, a program is faster in some allocators. */
static void cross(const struct allocator *allocator, size_t size, size_t count) {
    static void *end[1];
    pthread_t freer;
    cpu_set_t before;
    sched_getaffinity(0, sizeof before, &before);
    pin(0);
    if (pthread_create(&freer, NULL, free_elsewhere, NULL) != 0)
        fail("no thread");
    exchange(allocator, size, count);
    send(allocator, end);
    pthread_join(freer, NULL);
    atomic_store(&mail, NULL);
    sched_setaffinity(0, sizeof before, &before);
}

struct pattern {
    const char *name;
    void (*run)(const struct allocator *allocator, size_t size, size_t count);
};

static const struct pattern patterns[] = {
    {"pair", pairs}, {"batch", batches}, {"random", shuffled}, {"cross", cross}};

/* ---- measuring ---- */

static double shot(const struct pattern *pattern, const struct allocator *allocator, size_t size,
                   size_t count) {
    uint64_t start = now_ns();
    pattern->run(allocator, size, count);
    return (double)(now_ns() - start);
}

static size_t calibrated(const struct pattern *pattern, const struct allocator *allocator,
                         size_t size) {
    size_t count = SHUFFLED;
    shot(pattern, allocator, size, count);
    while (shot(pattern, allocator, size, count) < shot_ns)
        count *= 2;
    return count;
}

static int by_value(const void *a, const void *b) {
    double left = *(const double *)a, right = *(const double *)b;
    return (left > right) - (left < right);
}

static double least_median(const struct pattern *pattern, const struct allocator *allocator,
                           size_t size) {
    size_t count = calibrated(pattern, allocator, size);
    double least = 0, each[SHOTS];
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < SHOTS; i++)
            each[i] = shot(pattern, allocator, size, count) / (double)count;
        qsort(each, SHOTS, sizeof each[0], by_value);
        least = round == 0 || each[SHOTS / 2] < least ? each[SHOTS / 2] : least;
    }
    return least;
}

static void measure(const struct pattern *pattern, size_t size) {
    static const struct allocator real = {malloc, free}, none = {take_nothing, give_nothing};
    double nanoseconds = least_median(pattern, &real, size);
    printf("%s %zu %.3f %.3f\n", pattern->name, size, nanoseconds,
           least_median(pattern, &none, size));
    fflush(stdout);
}

int main(int argc, char **argv) {
    shot_ns *= argc > 1 ? atof(argv[1]) : 1;
    shuffle();
    for (size_t p = 0; p < sizeof patterns / sizeof *patterns; p++)
        for (size_t size = LEAST; size <= MOST; size *= 2)
            if (argc < 3 || (strcmp(argv[2], patterns[p].name) == 0 &&
                             (argc < 4 || strtoul(argv[3], NULL, 10) == size)))
                measure(&patterns[p], size);
    return 0;
}
