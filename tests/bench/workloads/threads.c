/* SPDX-License-Identifier: Apache-2.0
 *
 * Many threads, far more than CPUs, most of them idle, in generations.
 *
 * Shows what a thread costs an allocator: in time (set-up and tear-down of its cache) and in
 * memory (what each cache holds back: look at the peak).
 */
#include "load.h"

#include <unistd.h>

enum { THREADS = 200, GENERATIONS = 12, BLOCKS = 2000, TURNS = 4 };

struct worker {
    uint64_t seed, sum;
    char *block[BLOCKS];
};

static struct worker workers[THREADS];

static void *body(void *argument) {
    struct worker *worker = argument;
    for (int turn = 0; turn < TURNS; turn++) {
        for (int i = 0; i < BLOCKS; i++)
            worker->block[i] = take(random_size(&worker->seed, 16, 2048));
        for (int i = 0; i < BLOCKS; i++)
            worker->sum += drop(worker->block[i]);
        usleep(100);
    }
    return NULL;
}

int main(int argc, char **argv) {
    size_t generations = scaled(argc, argv, GENERATIONS);
    for (size_t i = 0; i < THREADS; i++)
        workers[i].seed = 99 + i;
    for (size_t i = 0; i < generations; i++)
        run_threads(THREADS, body, workers, sizeof workers[0]);
    for (size_t i = 1; i < THREADS; i++)
        workers[0].sum += workers[i].sum;
    return result(workers[0].sum);
}
