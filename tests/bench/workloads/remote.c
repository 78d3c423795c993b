/* SPDX-License-Identifier: Apache-2.0
 *
 * Remote frees through a shared stack: two threads only allocate, two only free, in no fixed pairs.
 *
 * Batches go through one lock-protected list, so any freer meets blocks of any allocating thread.
 * Memory flows one way; what comes back must find its way to the threads that allocate.
 */
#include "load.h"

enum { SIDES = 2, BATCH = 120, BATCHES = 60000, WAITING_MOST = 64 };

struct batch {
    struct batch *next;
    char *block[BATCH];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static struct batch *waiting;
static size_t waiting_count, batches;
static uint64_t sum;

static void put(struct batch *batch) {
    pthread_mutex_lock(&lock);
    while (waiting_count == WAITING_MOST)
        pthread_cond_wait(&changed, &lock);
    batch->next = waiting;
    waiting = batch;
    waiting_count++;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static struct batch *get(uint64_t freed) {
    pthread_mutex_lock(&lock);
    sum += freed;
    while (!waiting)
        pthread_cond_wait(&changed, &lock);
    struct batch *batch = waiting;
    waiting = batch->next;
    waiting_count--;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
    return batch;
}

static void allocate_all(uint64_t seed) {
    for (size_t i = 0; i < batches; i++) {
        struct batch *batch = not_null(malloc(sizeof *batch));
        for (int j = 0; j < BATCH; j++)
            batch->block[j] = take(random_size(&seed, 16, 512));
        put(batch);
    }
}

static void free_all(void) {
    uint64_t freed = 0;
    for (size_t i = 0; i < batches; i++) {
        struct batch *batch = get(freed);
        freed = 0;
        for (int j = 0; j < BATCH; j++)
            freed += drop(batch->block[j]);
        free(batch);
    }
    pthread_mutex_lock(&lock);
    sum += freed;
    pthread_mutex_unlock(&lock);
}

static void *body(void *argument) {
    size_t number = *(size_t *)argument;
    if (number < SIDES)
        allocate_all(1000 + number);
    else
        free_all();
    return NULL;
}

int main(int argc, char **argv) {
    size_t number[2 * SIDES];
    batches = scaled(argc, argv, BATCHES);
    for (size_t i = 0; i < 2 * SIDES; i++)
        number[i] = i;
    run_threads(2 * SIDES, body, number, sizeof number[0]);
    return result(sum);
}
