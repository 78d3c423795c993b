/* SPDX-License-Identifier: Apache-2.0
 *
 * Actors: many threads with a mailbox each; a message makes its receiver allocate the next one.
 *
 * Eight threads on the CPUs there are, each message freed by another thread than allocated it, in
 * an order that no cache can guess. A run ends when every message has made its hops.
 */
#include "load.h"

enum { ACTORS = 8, MESSAGES = 400, HOPS = 17000 };

struct message {
    struct message *next;
    uint64_t seed;
    size_t hops;
    char *body;
};

struct actor {
    pthread_mutex_t lock;
    pthread_cond_t arrived;
    struct message *inbox;
    uint64_t sum;
};

static struct actor actors[ACTORS];
static size_t left = MESSAGES;

static void post(struct actor *to, struct message *message) {
    pthread_mutex_lock(&to->lock);
    if (!to->inbox)
        pthread_cond_signal(&to->arrived);
    message->next = to->inbox;
    to->inbox = message;
    pthread_mutex_unlock(&to->lock);
}

static struct message *new_message(uint64_t seed, size_t hops) {
    struct message *message = not_null(malloc(sizeof *message));
    *message = (struct message){NULL, seed, hops, NULL};
    message->body = take(random_size(&message->seed, 16, 2048));
    return message;
}

static void wake_all(void) {
    for (int i = 0; i < ACTORS; i++) {
        pthread_mutex_lock(&actors[i].lock);
        pthread_cond_signal(&actors[i].arrived);
        pthread_mutex_unlock(&actors[i].lock);
    }
}

static void handle(struct actor *self, struct message *message) {
    self->sum += drop(message->body);
    uint64_t seed = message->seed;
    size_t hops = message->hops - 1;
    free(message);
    if (hops)
        post(&actors[random_below(&seed, ACTORS)], new_message(seed, hops));
    else if (__atomic_sub_fetch(&left, 1, __ATOMIC_ACQ_REL) == 0)
        wake_all();
}

/* All that waits, or NULL when nothing will ever come again. */
static struct message *receive(struct actor *self) {
    pthread_mutex_lock(&self->lock);
    while (!self->inbox && __atomic_load_n(&left, __ATOMIC_ACQUIRE))
        pthread_cond_wait(&self->arrived, &self->lock);
    struct message *all = self->inbox;
    self->inbox = NULL;
    pthread_mutex_unlock(&self->lock);
    return all;
}

static void *body(void *argument) {
    struct actor *self = argument;
    struct message *message;
    while ((message = receive(self))) {
        while (message) {
            struct message *next = message->next;
            handle(self, message);
            message = next;
        }
    }
    return NULL;
}

int main(int argc, char **argv) {
    uint64_t sum = 0;
    size_t hops = scaled(argc, argv, HOPS);
    for (int i = 0; i < ACTORS; i++) {
        pthread_mutex_init(&actors[i].lock, NULL);
        pthread_cond_init(&actors[i].arrived, NULL);
    }
    for (size_t i = 0; i < MESSAGES; i++)
        post(&actors[i % ACTORS], new_message(i * 7919 + 1, hops));
    run_threads(ACTORS, body, actors, sizeof actors[0]);
    for (int i = 0; i < ACTORS; i++)
        sum += actors[i].sum;
    return result(sum);
}
