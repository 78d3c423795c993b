/* SPDX-License-Identifier: Apache-2.0
 *
 * Stopping the world, seen by the thread that asks for it.
 *
 * Path down: take the stop lock, then the dynamic linker's (by running inside a callback of
 * dl_iterate_phdr), take the signal back if the program has given it another handler (signal.c),
 * make the epoch odd, ask every registered thread and wait for them (world_ask.c), then ask the
 * kernel whether there are threads that nobody knows, adopt these and ask again, until there are
 * none (world_tasks.c). Path up: make the epoch even and wake all.
 *
 *     the world is stopped  <=>  every registered thread is stopped (park.c) and every thread that
 *                                the kernel lists is registered, leaving, Mallard's own, its own,
 *                                or ended
 *
 * The second half is checked after the first holds: stopped threads start none. Whoever was started
 * before is listed by then, since clone lists it before it returns. A thread may register itself
 * after the last look at the registry and before the kernel's number is compared with ours: then
 * the registry's generation has changed since that look, and all is looked at again.
 *
 * Running inside the callback means that no stopped thread is in the middle of changing the list of
 * loaded objects, and that a walk over it inside needs no lock that somebody may hold: it is the
 * same thread's, and recursive.
 *
 * SYNCHRONIZATION: `stop_lock` is held from before the first signal until the last thread may go
 * on. It is no mal_lock: its waiters are outside critical sections, so they can be stopped
 * themselves. No Mallard lock is held while threads are waited for.
 *
 * Must never call malloc, stdio or a cancellation point between begin_stop and end_stop.
 */
#include "gc/world.h"

#include "base/atomic.h"
#include "base/check.h"
#include "base/format.h"
#include "gc/handles.h"
#include "gc/roots.h"
#include "gc/thread.h"
#include "gc/world_private.h"
#include "meta/memory.h"
#include "os/clock.h"
#include "os/critical.h"
#include "os/futex.h"
#include "os/lock.h"
#include "os/say.h"
#include "os/tasks.h"
#include "os/thread.h"

#include <errno.h>
#include <link.h>
#include <stddef.h>
#include <unistd.h>

/* A lock whose waiters and holders can be stopped: 0 free, 1 held, 2 held and somebody may sleep.
 */
static uint32_t stop_lock;

void mal_gc_stop_lock_take(void) {
    uint32_t free_state = 0;
    if (mal_cas_acquire(&stop_lock, &free_state, 1u))
        return;
    while (mal_exchange_acquire(&stop_lock, 2u) != 0)
        mal_futex_wait(&stop_lock, 2, MAL_FUTEX_FOREVER);
}

void mal_gc_stop_lock_give(void) {
    if (mal_exchange_release(&stop_lock, 0u) == 2)
        mal_futex_wake(&stop_lock, 1);
}

static void begin_stop(struct mal_gc_round *round) {
    round->epoch = mal_gc_stop_epoch + 1;
    mal_gc_signal_defend();
    mal_store_seq_cst(&mal_gc_stop_epoch, round->epoch);
    uint32_t generation;
    do {
        generation = mal_gc_thread_generation();
        mal_gc_round_stop_known(round);
    } while (mal_gc_round_adopt_unknown(round) || mal_gc_thread_generation() != generation);
}

/* In a critical section a thread may hold a lock, or an object that it has not made to the end. One
 * in a blocking region goes on, and may be in malloc; it makes no collected objects. */
static bool is_outside_sections(const struct mal_gc_thread *thread) {
    return mal_load_relaxed(&thread->state) == MAL_GC_BLOCKED || !thread->critical ||
           mal_load_relaxed(&thread->critical->depth) == 0;
}

/* A thread that was stopped in a region may just have left it and not have looked at the epoch yet:
 * it is RUNNING for these two instructions of park.c, then BLOCKED again. */
static bool is_held(const struct mal_gc_thread *thread, uint32_t epoch) {
    return mal_gc_thread_is_stopped(thread, epoch) || mal_load_relaxed(&thread->blocking_depth) > 0;
}

static void assert_stopped(struct mal_gc_thread *thread, void *context) {
    const struct mal_gc_round *round = context;
    if (thread == round->self)
        return;
    MAL_ASSERT(is_held(thread, round->epoch));
    MAL_ASSERT(is_outside_sections(thread));
}

/* Where the stop begins and where it ends: whoever has come or gone on between is found too. */
static void assert_world_stopped(struct mal_gc_round *round) {
    if (MAL_DEBUG > 0)
        mal_gc_thread_each(assert_stopped, round);
}

static void end_stop(struct mal_gc_round *round) {
    assert_world_stopped(round);
    mal_gc_thread_end_meetings();
    mal_store_seq_cst(&mal_gc_stop_epoch, round->epoch + 1);
    mal_futex_wake(&mal_gc_stop_epoch, INT32_MAX);
}

struct request {
    void (*body)(void *context);
    void *context;
    struct mal_gc_stop *ret_stop;
    struct mal_gc_thread *self;
};

static int stop_and_run(struct dl_phdr_info *object, size_t bytes, void *context) {
    (void)object;
    (void)bytes;
    struct request *request = context;
    struct mal_gc_round round = {.self = request->self};
    begin_stop(&round);
    assert_world_stopped(&round);
    if (request->ret_stop) {
        request->ret_stop->stopped_ns = mal_clock_mono_ns();
        request->ret_stop->threads = mal_gc_thread_count();
        request->ret_stop->signalled = round.signalled;
    }
    request->body(request->context);
    if (request->ret_stop)
        request->ret_stop->ended_ns = mal_clock_mono_ns();
    end_stop(&round);
    return 1; /* no more objects */
}

/* The caller's own registers and stack are roots too, unless it is the collector's. */
static struct mal_gc_thread *publish_self(uintptr_t sp) {
    if (mal_thread_is_own(gettid()))
        return NULL;
    struct mal_gc_thread *self = mal_gc_thread_register();
    if (self)
        self->sp = sp;
    return self;
}

void mal_gc_world_stopped(void (*body)(void *context), void *context,
                          struct mal_gc_stop *ret_stop) {
    uintptr_t registers[MAL_SAVED_REGISTERS];
    MAL_ASSERT(mal_lock_holds_none()); /* whom it waits for may need any of ours */
    int cancel = mal_thread_forbid_cancel();
    mal_registers_save(registers);
    struct request request = {body, context, ret_stop, publish_self(mal_stack_pointer())};
    mal_gc_stop_lock_take();
    mal_critical_enter(); /* its own calls must not wait in a blocking region for the end of its
                             stop */
    if (ret_stop)
        ret_stop->asked_ns = mal_clock_mono_ns();
    dl_iterate_phdr(stop_and_run, &request);
    mal_gc_stop_lock_give();
    mal_critical_leave();
    __asm__ volatile("" : : "r"(registers) : "memory");
    mal_thread_restore_cancel(cancel);
}

int mal_gc_world_init(void) {
    mal_critical_park = mal_gc_park_deferred;
    return mal_gc_signal_install(mal_gc_park_on_signal);
}

void mal_gc_world_become_own(void) {
    mal_gc_thread_leave();
    mal_thread_note_own();
}

/* What it touches afterwards it must not touch while the world is stopped, and nobody waits for it
 * who has counted it as an own one. */
void mal_gc_world_become_program(void) {
    mal_gc_stop_lock_take();
    mal_thread_forget_own();
    mal_gc_thread_register();
    mal_gc_stop_lock_give();
    mal_gc_signal_unblock();
}

static bool held_for_fork; /* stop lock */

/* A process without the collected heap forks as ever. */
void mal_gc_world_before_fork(void) {
    if (mal_gc_thread_generation() == 0)
        return;
    mal_gc_stop_lock_take();
    mal_gc_threads_before_fork();
    mal_gc_roots_before_fork();
    mal_gc_handles_before_fork();
    held_for_fork = true;
}

void mal_gc_world_after_fork(bool child) {
    if (child)
        mal_thread_forget_all_own();
    if (!held_for_fork)
        return;
    held_for_fork = false;
    if (child)
        mal_gc_world_forget_tasks();
    mal_gc_handles_after_fork();
    mal_gc_roots_after_fork(child);
    mal_gc_threads_after_fork(child);
    if (child)
        mal_store_release(&stop_lock, 0u);
    else
        mal_gc_stop_lock_give();
}
