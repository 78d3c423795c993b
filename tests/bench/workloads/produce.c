/* SPDX-License-Identifier: Apache-2.0
 *
 * Producer and consumer: what one thread allocates, another frees.
 *
 * Two pairs of threads, each with a bounded queue of batches. Allocators whose caches belong to
 * threads see all their memory drift to one side; this is where a remote-free protocol costs.
 */
#include "load.h"

enum { PAIRS = 2, BATCH = 64, SLOTS = 64, BATCHES = 200000 };

struct batch {
    char *item[BATCH];
};

struct queue {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct batch slot[SLOTS];
    size_t put, got, total;
    uint64_t sum;
};

static struct queue queues[PAIRS];

static void produce(struct queue *queue) {
    uint64_t seed = 88172645463325252u;
    for (size_t i = 0; i < queue->total; i++) {
        struct batch batch;
        for (int j = 0; j < BATCH; j++)
            batch.item[j] = take(random_size(&seed, 16, 1024));
        pthread_mutex_lock(&queue->lock);
        while (queue->put - queue->got == SLOTS)
            pthread_cond_wait(&queue->changed, &queue->lock);
        queue->slot[queue->put++ % SLOTS] = batch;
        pthread_cond_broadcast(&queue->changed);
        pthread_mutex_unlock(&queue->lock);
    }
}

static void consume(struct queue *queue) {
    for (size_t i = 0; i < queue->total; i++) {
        pthread_mutex_lock(&queue->lock);
        while (queue->put == queue->got)
            pthread_cond_wait(&queue->changed, &queue->lock);
        struct batch batch = queue->slot[queue->got++ % SLOTS];
        pthread_cond_broadcast(&queue->changed);
        pthread_mutex_unlock(&queue->lock);
        for (int j = 0; j < BATCH; j++)
            queue->sum += drop(batch.item[j]);
    }
}

static void *body(void *argument) {
    size_t number = *(size_t *)argument;
    (number % 2 ? consume : produce)(&queues[number / 2]);
    return NULL;
}

int main(int argc, char **argv) {
    size_t number[2 * PAIRS];
    for (size_t i = 0; i < PAIRS; i++) {
        pthread_mutex_init(&queues[i].lock, NULL);
        pthread_cond_init(&queues[i].changed, NULL);
        queues[i].total = scaled(argc, argv, BATCHES);
    }
    for (size_t i = 0; i < 2 * PAIRS; i++)
        number[i] = i;
    run_threads(2 * PAIRS, body, number, sizeof number[0]);
    return result(queues[0].sum + queues[PAIRS - 1].sum);
}
