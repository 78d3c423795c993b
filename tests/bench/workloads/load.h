/* SPDX-License-Identifier: Apache-2.0
 *
 * What every workload needs: a scale from the command line (percent of the default work), a seeded
 * generator per thread, memory that is really touched, threads that all must succeed.
 */
#ifndef BENCH_LOAD_H
#define BENCH_LOAD_H

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define THREADS_MAX 64

static inline size_t scaled(int argc, char **argv, size_t work) {
    double percent = argc > 1 ? atof(argv[1]) : 100;
    size_t result = (size_t)((double)work * percent / 100);
    return result ? result : 1;
}

static inline uint64_t next_random(uint64_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state * 0x2545f4914f6cdd1d;
}

/* Below `limit`, evenly. */
static inline size_t random_below(uint64_t *state, size_t limit) {
    return (size_t)(next_random(state) >> 33) % limit;
}

/* Sizes as programs ask for them: mostly small, halving in number as they double in size. */
static inline size_t random_size(uint64_t *state, size_t least, size_t most) {
    size_t size = least;
    while (size < most && (next_random(state) >> 40 & 3) != 0)
        size *= 2;
    size_t result = size + random_below(state, size);
    return result < most ? result : most;
}

static inline void fail(const char *what) {
    fprintf(stderr, "workload: %s\n", what);
    exit(1);
}

/* Memory whose first and last byte were written, as a program would. */
static inline char *take(size_t bytes) {
    char *memory = malloc(bytes);
    if (!memory)
        fail("no memory");
    memory[0] = 1;
    memory[bytes - 1] = 1;
    return memory;
}

static inline void run_threads(size_t count, void *(*body)(void *), void *arguments,
                               size_t stride) {
    pthread_t threads[THREADS_MAX];
    for (size_t i = 0; i < count; i++)
        if (pthread_create(&threads[i], NULL, body, (char *)arguments + i * stride) != 0)
            fail("no thread");
    for (size_t i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
}

#endif
