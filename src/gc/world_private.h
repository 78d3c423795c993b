/* SPDX-License-Identifier: Apache-2.0
 *
 * What the two sides of a stop share: world.c asks and waits, park.c acknowledges and sleeps.
 */
#ifndef MAL_GC_WORLD_PRIVATE_H
#define MAL_GC_WORLD_PRIVATE_H

#include "base/attr.h"
#include "gc/thread.h"

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
