/* SPDX-License-Identifier: Apache-2.0
 *
 * Large blocks, 64 KiB to 4 MiB: images, network buffers, matrices; two threads.
 *
 * Each block has one byte in every page touched, so it shows who maps and unmaps memory for every
 * block and who keeps it; a few blocks are grown in place or moved by realloc.
 */
#include "load.h"

enum {
    WORKERS = 2,
    HELD = 24,
    OPERATIONS = 160000,
    PAGE = 4096,
    LEAST = 64 * 1024,
    MOST = 4 << 20
};

struct worker {
    uint64_t seed;
    size_t operations;
    uint64_t sum;
    char *held[HELD];
};

static void touch(char *memory, size_t bytes) {
    for (size_t at = 0; at < bytes; at += PAGE)
        memory[at] = 1;
}

static void *body(void *argument) {
    struct worker *worker = argument;
    for (size_t i = 0; i < worker->operations; i++) {
        char **slot = &worker->held[random_below(&worker->seed, HELD)];
        size_t bytes = random_size(&worker->seed, LEAST, MOST / 4);
        if (i % 50 == 0)
            bytes = MOST;
        if (i % 16 == 0 && *slot) {
            worker->sum += inspect(*slot);
            *slot = realloc(*slot, bytes);
        } else {
            worker->sum += drop(*slot);
            *slot = malloc(bytes);
        }
        touch(not_null(*slot), bytes);
        stamp(*slot, bytes);
    }
    for (int i = 0; i < HELD; i++)
        worker->sum += drop(worker->held[i]);
    return NULL;
}

int main(int argc, char **argv) {
    static struct worker workers[WORKERS];
    for (size_t i = 0; i < WORKERS; i++) {
        workers[i].seed = 777 + i;
        workers[i].operations = scaled(argc, argv, OPERATIONS);
    }
    run_threads(WORKERS, body, workers, sizeof workers[0]);
    return result(workers[0].sum + workers[1].sum);
}
