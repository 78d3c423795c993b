/* SPDX-License-Identifier: Apache-2.0
 *
 * A program to scrape: ten thousand stacks in its profile, and threads that do nothing but
 * allocate.
 *
 *     scraped THREADS
 *
 * It first allocates once from each of STACKS stacks, in blocks so large that a sampler with a mean
 * of 512 KiB sees practically each; says "ready"; upon a line on standard input starts its threads,
 * which allocate and free without end; and answers each further line by "OPERATIONS NANOSECONDS":
 * what all threads have done until that moment of the monotonic clock. At the end of its input it
 * ends.
 */
#include "workloads/load.h"

#include <time.h>

enum { STACKS = 10000, DEPTH = 14, SAMPLED_BYTES = 4 << 20, LIVE = 4000, NOTE_EVERY = 64 };

/* One thread's; apart by more than a prefetched pair of cache lines. */
struct progress {
    size_t number;
    uint64_t operations; /* relaxed atomic: written by the thread, read by main */
    char apart[256];
};
static struct progress progress[THREADS_MAX];

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
    struct progress *mine = argument;
    uint64_t seed = 1 + mine->number;
    static __thread char *live[LIVE];
    for (uint64_t done = 1;; done++) {
        char **slot = &live[random_below(&seed, LIVE)];
        drop(*slot);
        *slot = take(16 + random_below(&seed, 1000));
        if (done % NOTE_EVERY == 0)
            __atomic_store_n(&mine->operations, done, __ATOMIC_RELAXED);
    }
    return NULL;
}

static void start_threads(size_t count) {
    pthread_t thread;
    for (size_t i = 0; i < count; i++) {
        progress[i].number = i;
        if (pthread_create(&thread, NULL, work, &progress[i]) != 0)
            fail("no thread");
    }
}

static void answer(size_t threads) {
    struct timespec t;
    uint64_t operations = 0;
    for (size_t i = 0; i < threads; i++)
        operations += __atomic_load_n(&progress[i].operations, __ATOMIC_RELAXED);
    clock_gettime(CLOCK_MONOTONIC, &t);
    printf("%llu %llu\n", (unsigned long long)operations,
           (unsigned long long)t.tv_sec * 1000000000u + (unsigned long long)t.tv_nsec);
    fflush(stdout);
}

int main(int argc, char **argv) {
    char line[16];
    size_t threads = argc > 1 ? strtoul(argv[1], NULL, 10) : 0;
    if (threads < 1 || threads > THREADS_MAX)
        fail("how many threads?");
    for (unsigned i = 0; i < STACKS; i++)
        descend(i, DEPTH);
    puts("ready");
    fflush(stdout);
    if (!fgets(line, sizeof line, stdin))
        return 1;
    start_threads(threads);
    while (fgets(line, sizeof line, stdin))
        answer(threads);
    return 0;
}
