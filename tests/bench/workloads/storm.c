/* SPDX-License-Identifier: Apache-2.0
 *
 * Thread-local storms: each thread takes bursts of one size and frees them, nothing is shared.
 *
 * Bursts are longer than any cache keeps, the size changes from burst to burst, and so does the
 * order of the frees: what one thread asks of an allocator's refill and flush, times two.
 */
#include "load.h"

enum { WORKERS = 2, BURST = 4000, BURSTS = 3000 };

static const size_t burst_bytes[] = {16, 32, 48, 96, 160, 320, 640, 1280, 24, 4000};

struct worker {
    size_t bursts;
    uint64_t sum;
    char *block[BURST];
};

static void *body(void *argument) {
    struct worker *worker = argument;
    for (size_t burst = 0; burst < worker->bursts; burst++) {
        size_t bytes = burst_bytes[burst % (sizeof burst_bytes / sizeof *burst_bytes)];
        for (int i = 0; i < BURST; i++)
            worker->block[i] = take(bytes);
        for (int i = 0; i < BURST; i++)
            worker->sum += drop(worker->block[burst % 2 ? i : BURST - 1 - i]);
    }
    return NULL;
}

int main(int argc, char **argv) {
    static struct worker workers[WORKERS];
    for (int i = 0; i < WORKERS; i++)
        workers[i].bursts = scaled(argc, argv, BURSTS);
    run_threads(WORKERS, body, workers, sizeof workers[0]);
    return result(workers[0].sum + workers[1].sum);
}
