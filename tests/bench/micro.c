/* SPDX-License-Identifier: Apache-2.0
 *
 * Nanoseconds per malloc+free pair, by pattern and size, of whatever malloc is preloaded.
 *
 *     micro [scale in percent = 100]
 *
 * pair: free follows malloc at once. batch: 100 blocks, freed in order. random: 1000 blocks, freed
 * in random order. cross: one thread allocates batches, another frees them. The fastest of ROUNDS
 * rounds counts: the rest is what else the machine was doing. One line per figure:
 * "pattern size nanoseconds".
 */
#include "workloads/load.h"

#include <sched.h>
#include <stdatomic.h>
#include <time.h>

enum { ROUNDS = 5, BATCH = 100, SHUFFLED = 1000, PAIRS = 2000000 };

static const size_t sizes[] = {16, 64, 256, 1024, 4096, 16384, 32768, 65536};

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Hides from the compiler what the block is used for, so that no pair is optimised away. */
static void use(char *block) {
    __asm__ volatile("" : : "r"(block) : "memory");
}

static void pairs(size_t size, size_t count) {
    for (size_t i = 0; i < count; i++) {
        char *block = malloc(size);
        use(block);
        free(block);
    }
}

static void batches(size_t size, size_t count) {
    char *block[BATCH];
    for (size_t done = 0; done < count; done += BATCH) {
        for (int i = 0; i < BATCH; i++) {
            block[i] = malloc(size);
            use(block[i]);
        }
        for (int i = 0; i < BATCH; i++)
            free(block[i]);
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

static void shuffled(size_t size, size_t count) {
    char *block[SHUFFLED];
    for (size_t done = 0; done < count; done += SHUFFLED) {
        for (int i = 0; i < SHUFFLED; i++) {
            block[i] = malloc(size);
            use(block[i]);
        }
        for (int i = 0; i < SHUFFLED; i++)
            free(block[order[i]]);
    }
}

/* The batch being freed; NULL again once that is done. Meanwhile the next one is allocated. */
static _Atomic(char **) mail;

struct crossing {
    size_t size, count;
};

static void *free_batches(void *argument) {
    struct crossing *crossing = argument;
    for (size_t done = 0; done < crossing->count; done += BATCH) {
        char **batch;
        while (!(batch = atomic_load_explicit(&mail, memory_order_acquire)))
            sched_yield();
        for (int i = 0; i < BATCH; i++)
            free(batch[i]);
        atomic_store_explicit(&mail, NULL, memory_order_release);
    }
    return NULL;
}

static void cross(size_t size, size_t count) {
    static char *batch[2][BATCH];
    struct crossing crossing = {size, count};
    pthread_t freer;
    if (pthread_create(&freer, NULL, free_batches, &crossing) != 0)
        fail("no thread");
    for (size_t done = 0, turn = 0; done < count; done += BATCH, turn = !turn) {
        for (int i = 0; i < BATCH; i++) {
            batch[turn][i] = malloc(size);
            use(batch[turn][i]);
        }
        while (atomic_load_explicit(&mail, memory_order_acquire))
            sched_yield();
        atomic_store_explicit(&mail, batch[turn], memory_order_release);
    }
    pthread_join(freer, NULL);
}

struct pattern {
    const char *name;
    void (*run)(size_t size, size_t count);
};

static const struct pattern patterns[] = {
    {"pair", pairs}, {"batch", batches}, {"random", shuffled}, {"cross", cross}};

static double fastest(const struct pattern *pattern, size_t size, size_t count) {
    double best = 0;
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t start = now_ns();
        pattern->run(size, count);
        double each = (double)(now_ns() - start) / (double)count;
        best = round == 0 || each < best ? each : best;
    }
    return best;
}

int main(int argc, char **argv) {
    size_t count = scaled(argc, argv, PAIRS);
    shuffle();
    for (size_t p = 0; p < sizeof patterns / sizeof *patterns; p++) {
        for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
            size_t fewer = sizes[s] > 4096 ? 10 : 1; /* some allocators make system calls here */
            size_t rounded = (count / fewer + SHUFFLED - 1) / SHUFFLED * SHUFFLED;
            printf("%s %zu %.2f\n", patterns[p].name, sizes[s],
                   fastest(&patterns[p], sizes[s], rounded));
            fflush(stdout);
        }
    }
    return 0;
}
