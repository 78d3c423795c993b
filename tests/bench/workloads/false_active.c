/* SPDX-License-Identifier: Apache-2.0
 *
 * Active false sharing: two threads each write into small objects they allocated themselves.
 *
 * An allocator that gives neighbours within one cache line to different threads makes the line
 * travel between CPUs with every write.
 */
#include "load.h"

enum { WORKERS = 2, TURNS = 2000000, WRITES = 1000, BYTES = 8 };

struct worker {
    size_t turns;
    uint64_t sum;
    char apart[112];
};

static void *body(void *argument) {
    struct worker *worker = argument;
    for (size_t turn = 0; turn < worker->turns; turn++) {
        volatile uint64_t *counter = not_null(malloc(BYTES));
        *counter = 0;
        for (int i = 0; i < WRITES; i++)
            ++*counter;
        worker->sum += *counter;
        free((void *)counter);
    }
    return NULL;
}

int main(int argc, char **argv) {
    static struct worker workers[WORKERS];
    for (int i = 0; i < WORKERS; i++)
        workers[i].turns = scaled(argc, argv, TURNS);
    run_threads(WORKERS, body, workers, sizeof workers[0]);
    return result(workers[0].sum + workers[1].sum);
}
