/* SPDX-License-Identifier: Apache-2.0
 *
 * Threads and their countdowns.
 *
 * Holds the registry of threads that allocate, and the sampling rate. Path up: a thread's first
 * allocation finds its countdown negative (it starts so) and registers; from then on the countdown
 * goes negative when a sample or a tick is due. Path down: a thread's end takes it off the
 * registry.
 *
 * SYNCHRONIZATION
 *   1. `registry_lock` (rank THREADS) guards the list and rate changes.
 *   2. `rate` and `generation` are written under the lock, generation last (release), and read
 *      without it (acquire).
 *   3. A rate change stores a negative countdown into every registered thread, then makes sure: a
 *      thread either still has it, or has taken over the new generation, or is poked again. A
 *      thread that registers meanwhile reads the new rate, since it registers under the lock.
 *
 * Must never register a thread that is past its destructors: its block is about to be unmapped.
 */
#include "front/thread.h"

#include "base/atomic.h"
#include "base/bits.h"
#include "front/background.h"
#include "front/object_trace.h"
#include "os/countdown.h"
#include "os/env.h"
#include "os/lock.h"
#include "os/thread.h"
#include "sample/sampler.h"

#include <pthread.h>
#include <stddef.h>

#define TICK_BYTES 4096 /* while nobody else looks at the clock */
#define POKED (INT64_MIN / 2)
#define POKE_ROUNDS 100

/* The first allocation of every thread takes the slow path, whatever its size. */
MAL_THREAD struct mal_thread mal_thread = {.countdown = -1};

static struct mal_lock registry_lock = MAL_LOCK_INIT(MAL_RANK_THREADS);
static struct mal_thread *registry;            /* rule 1 */
static uint64_t rate = MAL_RATE_DEFAULT_BYTES; /* rule 2 */
static uint32_t generation = 1;                /* rule 2 */
static pthread_key_t exit_key;                 /* constant after init */
static bool have_exit_key;                     /* constant after init */

static void unregister(void *argument) {
    struct mal_thread *thread = argument;
    mal_thread_forget_own();
    if (thread->state != MAL_THREAD_REGISTERED)
        return;
    mal_lock(&registry_lock);
    if (thread->previous)
        thread->previous->next = thread->next;
    else
        registry = thread->next;
    if (thread->next)
        thread->next->previous = thread->previous;
    mal_unlock(&registry_lock);
    thread->state = MAL_THREAD_ENDING;
}

void mal_thread_init(uint64_t rate_bytes) {
    have_exit_key = pthread_key_create(&exit_key, unregister) == 0;
    rate = rate_bytes;
}

static void link_in(struct mal_thread *thread) {
    mal_lock(&registry_lock);
    thread->previous = NULL;
    thread->next = registry;
    if (registry)
        registry->previous = thread;
    registry = thread;
    mal_unlock(&registry_lock);
}

/* Without a way to learn of its end a thread must not be registered: it then takes over a new rate
 * at its next sample or tick instead of at once. */
static void set_up(struct mal_thread *thread) {
    thread->random = mal_random_seed() | 1;
    if (thread->state != MAL_THREAD_NEW || !have_exit_key)
        return;
    thread->state = MAL_THREAD_ENDING;
    if (pthread_setspecific(exit_key, thread) == 0) {
        thread->state = MAL_THREAD_REGISTERED;
        link_in(thread);
    }
}

/* How much of the distance to the next sample the countdown shall hold. Where every allocation is
 * shown, none may pass: it is due always. */
static int64_t piece_of(int64_t distance) {
    if (mal_object_trace_is_on())
        return -1;
    return mal_background_is_settled() ? distance
                                       : (int64_t)mal_min((uint64_t)distance, TICK_BYTES);
}

/* Splits the distance, below INT64_MAX, into countdown and beyond. */
static void set_distance(struct mal_thread *thread, int64_t distance) {
    int64_t piece = piece_of(distance);
    thread->beyond = distance - piece;
    mal_store_relaxed(&thread->countdown, piece);
}

/* A fresh gap at the rate in force: sampled is whatever reaches its last byte. */
static void draw(struct mal_thread *thread) {
    mal_store_relaxed(&thread->generation, mal_load_acquire(&generation));
    thread->rate = mal_load_acquire(&rate);
    set_distance(thread, mal_sampler_draw(&thread->random, thread->rate) - 1);
}

/* Draws and charges: for an allocation that was charged to a gap which no longer counts. */
static bool redraw_hits(struct mal_thread *thread, uint64_t size_bytes) {
    draw(thread);
    int64_t left = mal_load_relaxed(&thread->countdown) + thread->beyond - (int64_t)size_bytes;
    if (left < 0)
        return true;
    set_distance(thread, left);
    return false;
}

/* True when the gap has ended; else the next piece of it has begun. */
static bool gap_has_ended(struct mal_thread *thread, uint64_t size_bytes) {
    if (thread->generation != mal_load_acquire(&generation))
        return redraw_hits(thread, size_bytes);
    int64_t left = mal_load_relaxed(&thread->countdown) + thread->beyond;
    if (left < 0)
        return true;
    set_distance(thread, left);
    return false;
}

static enum mal_due look(struct mal_thread *thread, uint64_t size_bytes, uint64_t *ret_rate) {
    enum mal_due due = MAL_DUE_NOTHING;
    if (thread->random == 0)
        set_up(thread);
    if (gap_has_ended(thread, size_bytes)) {
        *ret_rate = thread->rate;
        draw(thread);
        due = *ret_rate == 0 ? MAL_DUE_NOTHING : MAL_DUE_SAMPLE;
    }
    /* Last, because starting a thread allocates, and that charges the countdown. A thread in its
     * last destructors is no place to start another one from. */
    if (thread->state != MAL_THREAD_ENDING)
        mal_background_tick();
    return due;
}

enum mal_due mal_thread_due(uint64_t size_bytes, uint64_t *ret_rate) {
    struct mal_thread *thread = &mal_thread;
    if (thread->flags & MAL_THREAD_OWN) {
        mal_store_relaxed(&thread->countdown, -1);
        return MAL_DUE_OWN;
    }
    if (thread->flags & MAL_THREAD_BUSY) {
        /* The gap ends unseen; the next allocation that may be sampled draws a new one. */
        mal_thread_redraw();
        return MAL_DUE_NOTHING;
    }
    thread->flags |= MAL_THREAD_BUSY;
    enum mal_due due = look(thread, size_bytes, ret_rate);
    thread->flags &= (uint8_t)~MAL_THREAD_BUSY;
    return due;
}

void mal_thread_count_as_own(void) {
    mal_thread.flags |= MAL_THREAD_OWN;
    mal_store_relaxed(&mal_thread.countdown, -1);
}

/* The collector never stops such a thread; it has to know when the thread has ended. */
void mal_thread_become_own(void) {
    mal_thread_note_own();
    if (have_exit_key && mal_thread.state == MAL_THREAD_NEW)
        pthread_setspecific(exit_key, &mal_thread);
    mal_thread_count_as_own();
}

void mal_thread_redraw(void) {
    mal_store_relaxed(&mal_thread.generation, 0u);
    mal_store_relaxed(&mal_thread.countdown, -1);
}

void mal_thread_hurry(void) {
    mal_thread.beyond += mal_load_relaxed(&mal_thread.countdown);
    mal_store_relaxed(&mal_thread.countdown, 0);
}

/* Stores a negative countdown wherever it is still needed; true when it was nowhere. */
static bool poke_all_locked(void) {
    bool settled = true;
    for (struct mal_thread *thread = registry; thread; thread = thread->next) {
        if (mal_load_relaxed(&thread->countdown) < 0 ||
            mal_load_relaxed(&thread->generation) == generation)
            continue;
        mal_store_relaxed(&thread->countdown, POKED);
        settled = false;
    }
    return settled;
}

uint64_t mal_thread_set_rate(uint64_t rate_bytes) {
    mal_lock(&registry_lock);
    uint64_t before = rate;
    mal_store_release(&rate, mal_min(rate_bytes, MAL_RATE_MAX_BYTES));
    mal_store_release(&generation, generation + 1);
    for (int round = 0; round < POKE_ROUNDS && !poke_all_locked(); round++)
        mal_barrier_all_threads();
    mal_unlock(&registry_lock);
    return before;
}

uint64_t mal_thread_rate(void) {
    return mal_load_acquire(&rate);
}

void mal_thread_before_fork(void) {
    mal_lock(&registry_lock);
}

void mal_thread_after_fork(void) {
    mal_unlock(&registry_lock);
}

void mal_thread_forget_others(void) {
    struct mal_thread *self = &mal_thread;
    self->next = self->previous = NULL;
    registry = self->state == MAL_THREAD_REGISTERED ? self : NULL;
    /* The child has no background thread, and must not repeat its parent's random gaps. */
    self->random = self->random ? mal_mix(self->random ^ mal_random_seed()) | 1 : 0;
    int64_t left = self->countdown + self->beyond;
    set_distance(self, left > 0 ? left : 0);
}
