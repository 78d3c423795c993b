/* SPDX-License-Identifier: Apache-2.0
 *
 * Generations of threads that swap blocks through one shared table and then end.
 *
 * Most blocks are private and die young; some are exchanged, atomically, with whatever another
 * thread left in a slot of the table, and outlive the thread that made them. From small to 100 KiB.
 */
#include "load.h"

#include <stdatomic.h>

enum { WORKERS = 8, GENERATIONS = 50, OPERATIONS = 60000, PRIVATE = 400, SHARED = 2000 };

struct worker {
    uint64_t seed, sum;
    size_t operations;
    char *own[PRIVATE];
};

static _Atomic(char *) shared[SHARED];

static size_t size_of_turn(uint64_t *seed, size_t turn) {
    return turn % 200 == 0 ? 4096 + random_below(seed, 100000) : random_size(seed, 16, 2048);
}

static void *body(void *argument) {
    struct worker *worker = argument;
    for (size_t turn = 0; turn < worker->operations; turn++) {
        char *block = take(size_of_turn(&worker->seed, turn));
        worker->sum += inspect(block);
        char **slot = &worker->own[random_below(&worker->seed, PRIVATE)];
        if (turn % 4 == 0)
            block = atomic_exchange(&shared[random_below(&worker->seed, SHARED)], block);
        drop(*slot);
        *slot = block;
    }
    for (int i = 0; i < PRIVATE; i++) {
        drop(worker->own[i]);
        worker->own[i] = NULL;
    }
    return NULL;
}

int main(int argc, char **argv) {
    static struct worker workers[WORKERS];
    uint64_t sum = 0;
    size_t generations = scaled(argc, argv, GENERATIONS);
    for (size_t generation = 0; generation < generations; generation++) {
        for (int i = 0; i < WORKERS; i++) {
            workers[i].seed = 1 + generation * WORKERS + (size_t)i;
            workers[i].operations = OPERATIONS;
        }
        run_threads(WORKERS, body, workers, sizeof workers[0]);
    }
    for (int i = 0; i < SHARED; i++)
        drop(shared[i]);
    for (int i = 0; i < WORKERS; i++)
        sum += workers[i].sum;
    return result(sum);
}
