/* SPDX-License-Identifier: Apache-2.0
 *
 * Server churn: threads that replace random objects of a working set, and hand it on.
 *
 * Each round has fresh threads working on the set the previous ones left: objects outlive the
 * threads that made them, as sessions of a server outlive its workers.
 */
#include "load.h"

enum { WORKERS = 4, ROUNDS = 12, OBJECTS = 5000, REPLACEMENTS = 2000000 };

struct worker {
    char *object[OBJECTS];
    uint64_t seed;
    size_t replacements;
    uint64_t sum;
};

static struct worker workers[WORKERS];

static void *serve(void *argument) {
    struct worker *worker = argument;
    for (size_t i = 0; i < worker->replacements; i++) {
        char **slot = &worker->object[random_below(&worker->seed, OBJECTS)];
        worker->sum += drop(*slot);
        *slot = take(16 + random_below(&worker->seed, 1000));
    }
    return NULL;
}

/* The next round's worker continues with another one's objects. */
static void rotate(void) {
    static char *kept[OBJECTS];
    memcpy(kept, workers[0].object, sizeof kept);
    for (size_t i = 0; i + 1 < WORKERS; i++)
        memcpy(workers[i].object, workers[i + 1].object, sizeof kept);
    memcpy(workers[WORKERS - 1].object, kept, sizeof kept);
}

int main(int argc, char **argv) {
    for (size_t i = 0; i < WORKERS; i++) {
        workers[i].seed = 0x9e3779b97f4a7c15u * (i + 1);
        workers[i].replacements = scaled(argc, argv, REPLACEMENTS);
    }
    for (int round = 0; round < ROUNDS; round++) {
        run_threads(WORKERS, serve, workers, sizeof workers[0]);
        rotate();
    }
    return result(workers[0].sum + workers[1].sum + workers[2].sum + workers[3].sum);
}
