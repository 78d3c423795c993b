/* SPDX-License-Identifier: Apache-2.0
 *
 * Server churn: threads that replace random objects of a working set, and hand it on. Each round
 * has fresh threads working on the sets the previous ones left: objects outlive the threads that
 * made them, as sessions of a server outlive its workers.
 *
 * Whoever includes this defines WORKERS, ROUNDS, OBJECTS, REPLACEMENTS and object_bytes() before.
 */
#ifndef MALLARD_BENCH_CHURN_H
#define MALLARD_BENCH_CHURN_H

#include "load.h"

struct worker {
    char *object[OBJECTS];
    uint64_t seed, sum;
    size_t replacements;
};

static struct worker workers[WORKERS];

static void *serve(void *argument) {
    struct worker *worker = argument;
    for (size_t i = 0; i < worker->replacements; i++) {
        char **slot = &worker->object[random_below(&worker->seed, OBJECTS)];
        worker->sum += drop(*slot);
        *slot = take(object_bytes(&worker->seed));
    }
    return NULL;
}

/* The next round's worker continues with another one's objects. */
static void rotate(void) {
    static char *first[OBJECTS];
    memcpy(first, workers[0].object, sizeof first);
    for (size_t i = 0; i + 1 < WORKERS; i++)
        memcpy(workers[i].object, workers[i + 1].object, sizeof first);
    memcpy(workers[WORKERS - 1].object, first, sizeof first);
}

static int churn(int argc, char **argv) {
    uint64_t sum = 0;
    for (size_t i = 0; i < WORKERS; i++) {
        workers[i].seed = 0x9e3779b97f4a7c15u * (i + 1);
        workers[i].replacements = scaled(argc, argv, REPLACEMENTS);
    }
    for (int round = 0; round < ROUNDS; round++) {
        run_threads(WORKERS, serve, workers, sizeof workers[0]);
        rotate();
    }
    for (size_t i = 0; i < WORKERS; i++)
        sum += workers[i].sum;
    return result(sum);
}

#endif
