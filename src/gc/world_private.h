/* SPDX-License-Identifier: Apache-2.0
 *
 * What the sides of a stop share: world.c begins and ends it, world_ask.c asks and waits,
 * world_tasks.c finds whom nobody knows, park.c acknowledges and sleeps, signal.c has the signal.
 */
#ifndef MAL_GC_WORLD_PRIVATE_H
#define MAL_GC_WORLD_PRIVATE_H

#include "base/attr.h"
#include "gc/thread.h"

#include <stdbool.h>
#include <stdint.h>

/* Odd while a stop is on. Changed by the stopping thread, under the stop lock; seq_cst. */
extern MAL_HIDDEN uint32_t mal_gc_stop_epoch;

/* Acknowledgements still missing, plus ACKS_MANY while nobody waits for them. Each thread subtracts
 * one per stop that it acknowledges; whoever reaches 0 wakes the stopping thread. A hint: what
 * counts are the records. */
extern MAL_HIDDEN uint32_t mal_gc_acks_missing;
#define MAL_GC_ACKS_MANY (1u << 30)

/* Whether the thread touches nothing of the program's until the stop `epoch` is over. Acquire: what
 * it did before is seen. */
bool mal_gc_thread_is_stopped(const struct mal_gc_thread *thread, uint32_t epoch);

/* Held by whoever stops the world, or keeps it from being stopped or forked. No mal_lock: waiters
 * and holders can be stopped. */
void mal_gc_stop_lock_take(void);
void mal_gc_stop_lock_give(void);

/* One stop, on the stopping thread's stack; its alone. */
struct mal_gc_round {
    struct mal_gc_thread *self; /* NULL: one of the collector's own */
    uint32_t epoch;
    uint32_t signalled;                /* signals sent */
    uint32_t unstopped;                /* found running by the last look */
    uint32_t adopted, ghosts, kernels; /* by the last listing */
    uint64_t waited_ns;                /* since the last adoption */
    bool warned;
};

/* Until every registered thread is stopped. Stop lock, as below. */
void mal_gc_round_stop_known(struct mal_gc_round *round);
/* True when there were threads that nobody knew: they are registered now. */
bool mal_gc_round_adopt_unknown(struct mal_gc_round *round);
/* In fork's child: what was listed last is no more. */
void mal_gc_world_forget_tasks(void);

/* The number of the signal that stops threads: chosen at the first call. 0 when there is none. */
int mal_gc_signal(void);
/* Makes `handler` its handler. 0 or a negative errno. */
int mal_gc_signal_install(void (*handler)(int));

/* The calling thread takes it from here on. */
void mal_gc_signal_unblock(void);

/* Takes the signal back if the program gave it another handler. Before a stop; stop lock. */
void mal_gc_signal_defend(void);

/* The handler; threads' half of mal_gc_world_init. */
void mal_gc_park_on_signal(int signal_number);
void mal_gc_park_deferred(void);

#endif
