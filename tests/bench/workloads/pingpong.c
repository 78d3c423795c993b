/* SPDX-License-Identifier: Apache-2.0
 *
 * Ping-pong: two threads pass single objects back and forth, each freeing what it is given.
 *
 * Every free is of another thread's memory and every answer is newly allocated, so nothing is ever
 * reused where it was freed unless caches are shared. Handing over is by one atomic pointer each
 * way, several objects in flight.
 */
#include "load.h"

#include <sched.h>
#include <stdatomic.h>

enum { LANES = 64, MESSAGES = 5000000, SPINS = 50 };

struct lane {
    _Atomic(char *) ball;
    char apart[56];
};

struct side {
    size_t messages;
    unsigned self;
    uint64_t sum;
};

static struct lane lanes[2][LANES];

static void play(struct side *side) {
    uint64_t seed = 12345 + side->self;
    unsigned idle = 0;
    for (size_t i = 0; i < side->messages;) {
        struct lane *in = &lanes[side->self][i % LANES], *out = &lanes[!side->self][i % LANES];
        char *ball = atomic_exchange_explicit(&in->ball, NULL, memory_order_acquire);
        if (!ball) {
            if (++idle % SPINS == 0)
                sched_yield();
            continue;
        }
        side->sum += drop(ball);
        char *answer = take(16 + random_below(&seed, 240));
        while (atomic_load_explicit(&out->ball, memory_order_relaxed))
            sched_yield();
        atomic_store_explicit(&out->ball, answer, memory_order_release);
        i++;
    }
}

static void *body(void *argument) {
    play(argument);
    return NULL;
}

int main(int argc, char **argv) {
    size_t messages = scaled(argc, argv, MESSAGES);
    struct side sides[2] = {{messages, 0, 0}, {messages, 1, 0}};
    for (int i = 0; i < LANES; i++)
        atomic_store(&lanes[0][i].ball, take(32));
    run_threads(2, body, sides, sizeof sides[0]);
    return result(sides[0].sum + sides[1].sum);
}
