/* SPDX-License-Identifier: Apache-2.0
 *
 * A program to scrape: ten thousand stacks in its profile, every CPU busy allocating.
 *
 *     scraped [scale = 1]
 *
 * It first allocates once from each of STACKS stacks, in blocks so large that a sampler with a mean
 * of 512 KiB sees practically each; says "ready"; and upon a line on standard input does a fixed
 * amount of work, one thread per CPU. Its last line is "worked NANOSECONDS".
 */
#include "workloads/load.h"

#include <time.h>
#include <unistd.h>

enum { STACKS = 10000, DEPTH = 14, SAMPLED_BYTES = 4 << 20, LIVE = 4000, OPERATIONS = 160000000 };

static size_t operations;

static void left(unsigned path, unsigned depth);
static void right(unsigned path, unsigned depth);

/* Each number takes its own way through two functions: 2^DEPTH stacks. */
static void descend(unsigned path, unsigned depth) {
    if (depth)
        (path & 1 ? right : left)(path >> 1, depth - 1);
    else
        free(not_null(malloc(SAMPLED_BYTES)));
}

/* The empty statements after the calls keep them from becoming jumps: frames must stay. */
__attribute__((noinline)) static void left(unsigned path, unsigned depth) {
    descend(path, depth);
    __asm__ volatile("" ::: "memory");
}

__attribute__((noinline)) static void right(unsigned path, unsigned depth) {
    descend(path, depth);
    __asm__ volatile("# not the same" ::: "memory");
}

static void *work(void *argument) {
    uint64_t seed = 1 + *(size_t *)argument;
    static __thread char *live[LIVE];
    for (size_t i = 0; i < operations; i++) {
        char **slot = &live[random_below(&seed, LIVE)];
        drop(*slot);
        *slot = take(16 + random_below(&seed, 1000));
    }
    for (int i = 0; i < LIVE; i++)
        drop(live[i]);
    return NULL;
}

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

int main(int argc, char **argv) {
    static size_t number[THREADS_MAX];
    size_t cpus = (size_t)sysconf(_SC_NPROCESSORS_ONLN);
    cpus = cpus < THREADS_MAX ? cpus : THREADS_MAX;
    operations = scaled(argc, argv, OPERATIONS);
    for (unsigned i = 0; i < STACKS; i++)
        descend(i, DEPTH);
    for (size_t i = 0; i < cpus; i++)
        number[i] = i;
    puts("ready");
    fflush(stdout);
    if (getchar() == EOF)
        return 1;
    uint64_t start = now_ns();
    run_threads(cpus, work, number, sizeof number[0]);
    printf("worked %llu\n", (unsigned long long)(now_ns() - start));
    return 0;
}
