/* SPDX-License-Identifier: Apache-2.0
 *
 * Passive false sharing: one thread allocates neighbours, others get one each, write, free, and
 * allocate again.
 *
 * At the start the objects share cache lines and nobody can help it. An allocator that lets a
 * thread reuse the piece of a shared line which it was given makes that last for ever.
 */
#include "load.h"

enum { WORKERS = 2, ROUNDS = 2000, TURNS = 700, WRITES = 1000, BYTES = 8 };

struct worker {
    volatile uint64_t *counter;
    uint64_t sum;
    char apart[112];
};

static void *body(void *argument) {
    struct worker *worker = argument;
    for (int turn = 0; turn < TURNS; turn++) {
        *worker->counter = 0;
        for (int i = 0; i < WRITES; i++)
            ++*worker->counter;
        worker->sum += *worker->counter;
        free((void *)worker->counter);
        worker->counter = not_null(malloc(BYTES));
    }
    free((void *)worker->counter);
    return NULL;
}

int main(int argc, char **argv) {
    static struct worker workers[WORKERS];
    size_t rounds = scaled(argc, argv, ROUNDS);
    for (size_t round = 0; round < rounds; round++) {
        for (int i = 0; i < WORKERS; i++)
            workers[i].counter = not_null(malloc(BYTES));
        run_threads(WORKERS, body, workers, sizeof workers[0]);
    }
    return result(workers[0].sum + workers[1].sum);
}
