/* SPDX-License-Identifier: Apache-2.0
 *
 * A stop, seen by a thread of the program: parking, putting off, and blocking regions.
 *
 * Path down: the stop signal's handler parks the thread, or, in a critical section, leaves a note
 * that makes the end of the section park it. Where that end is no place to stop at either, since
 * the section's caller has still to write down what it was told, the end puts the stop off: it says
 * so in the thread's record, and the stopping thread sends the signal once more; and so does the
 * handler, when such a section has just ended. A thread in a
 * blocking region (a call that may sleep for long) needs no signal: it has said beforehand where
 * its pointers are, and does not come back from the region while a stop is on. Path up: the epoch
 * changes, and all go on.
 *
 * THE PROTOCOL. `epoch` is odd while a stop is on. For each thread T:
 *
 *     T enters a region    E1 saved, sp := ...     E2 state := BLOCKED   E3 look at epoch;
 *                          odd: acknowledge and sleep until it changes, still BLOCKED
 *     T leaves a region    L1 state := RUNNING     L2 look at epoch; odd: state := BLOCKED, sleep
 *                          until it changes, again from L1
 *     T parks              P1 sp := ...            P2 state := PARKED    P3 parked_epoch := epoch
 *                          P4 sleep until epoch changes                  P5 state := RUNNING
 *     the stop             S1 epoch := odd         S2 look at each T: T is stopped when
 *                          parked_epoch == epoch or state == BLOCKED; else signal T, look again
 *
 * Claim 1: once S2 has found T stopped, T runs no code of the program until epoch changes.
 *   parked_epoch == epoch: T is at P4 (or in E3 or L2, acknowledging) and stays for this epoch.
 *   state == BLOCKED: T is between E2 and L1, or looping in L2. E2, L1, S1 and the looks E3, L2, S2
 *   are all sequentially consistent. S2 read E2's (or L2's) value, so L1 comes after S2 in the one
 *   order, hence after S1, and L2 sees an odd epoch: T goes back to BLOCKED and sleeps. Between L1
 *   and L2 it runs nothing but this file.
 *
 * Claim 2: sp and saved are valid whenever S2 has found T stopped.
 *   P1 before P3 (release) before S2 (acquire); E1 before E2 likewise. Meanwhile they change only
 * when a signal handler parks T between L1 and L2; both the old and the new sp are then good, since
 *   all between them is dead. `saved` counts while blocking_depth > 0, from before E1 until after
 *   the last L2.
 *
 * Claim 3: a blocking call in a region is never interrupted by our signal. The signal is sent only
 *   after S2 found T neither parked nor BLOCKED, so before T's E2 in the one order, or for its L1.
 *     Before E2: S1 precedes S2 precedes E2 precedes E3, so E3 sees this stop's odd epoch and T
 *   sleeps until it is over. tgkill returns before the epoch changes, and T makes one system call
 *   after it has seen that change: the signal is taken no later than there, before the region
 *   begins.
 *     For L1: the blocking call has returned.
 *
 * Claim 4: a stop ends. A thread outside critical sections takes the signal and parks; one inside
 *   leaves its section without waiting for anybody who is stopped (locks are only held in critical
 *   sections); one that has ended has no id any more. A thread that keeps the signal blocked is
 *   waited for; the stop says so after a second. One that puts the stop off is sent the signal
 *   again, and puts off no stop twice:
 *
 * Claim 5: a thread that puts stops off is found parked neither inside of such a section nor, but
 *   for what is said below, before its caller has gone on from the section's end.
 *     Inside: the handler leaves a note (depth > 0). At its end: a note makes it put off, which is
 *   no parking. In front of the next one: park_first parks it if it has put off the stop that is
 *   on. So the stop that a section's end puts off is one that the thread has not put off before.
 *     After the end: the first signal finds no note when it comes after the last instruction
 *   inside. The thread has noted before that when the section ended; within JUST_LEFT_NS the
 *   handler puts the stop off itself. Any later signal was sent after the stopping thread had seen,
 *   one look earlier, that the stop was put off. Between two looks lie ASK_AGAIN_NS at least, which
 *   like JUST_LEFT_NS is time for thousands of instructions; the caller needs a few. A thread that
 *   the kernel takes the CPU from within these few and keeps it from for all that time is the rest
 *   of the risk: nobody tells a handler how long its thread has run.
 *
 * A handler may run at any point of T's own code here. If it finds BLOCKED, it acknowledges and
 * returns at once (Claim 1 holds T). Else it parks, even if T is at P4: T may not have woken yet
 * from the stop before. T may store PARKED or an old epoch afterwards; neither makes S2 find it
 * stopped in a later stop, since that one has another epoch.
 *
 * While T is in a region the kernel may write into collected objects on its behalf (read(2) into
 * one), world stopped or not. Such a write is seen by dirty-page tracking like any other; but the
 * collector must not assume that the bytes of a reachable object stand still while the world is
 * stopped. It may assume that pointers do: nobody lets the kernel write those, or whoever does
 * keeps them where they came from until the call, or the completion of io_uring's, has said that
 * they are there.
 *
 * Must never allocate, take a lock or change errno: this runs in a signal handler.
 */
#include "base/atomic.h"
#include "gc/world.h"
#include "gc/world_private.h"
#include "mallard/gc.h"
#include "os/clock.h"
#include "os/critical.h"
#include "os/futex.h"
#include "os/registers.h"
#include "os/tasks.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#define JUST_LEFT_NS 50000u /* Claim 5 */

uint32_t mal_gc_stop_epoch;
uint32_t mal_gc_acks_missing = MAL_GC_ACKS_MANY;

static bool is_on(uint32_t epoch) {
    return epoch & 1;
}

bool mal_gc_thread_is_stopped(const struct mal_gc_thread *thread, uint32_t epoch) {
    return mal_load_acquire(&thread->parked_epoch) == epoch ||
           mal_load_seq_cst(&thread->state) == MAL_GC_BLOCKED;
}

/* Once per thread and stop. */
static void acknowledge(struct mal_gc_thread *self, uint32_t epoch) {
    if (__atomic_exchange_n(&self->parked_epoch, epoch, __ATOMIC_ACQ_REL) == epoch)
        return;
    if (__atomic_sub_fetch(&mal_gc_acks_missing, 1, __ATOMIC_ACQ_REL) == 0)
        mal_futex_wake(&mal_gc_acks_missing, 1);
}

static void sleep_through(uint32_t epoch) {
    while (mal_load_acquire(&mal_gc_stop_epoch) == epoch)
        mal_futex_wait(&mal_gc_stop_epoch, epoch, MAL_FUTEX_FOREVER);
}

static void park(struct mal_gc_thread *self, uintptr_t sp) {
    uint32_t before = mal_load_relaxed(&self->state);
    uint32_t epoch = mal_load_acquire(&mal_gc_stop_epoch);
    if (!is_on(epoch))
        return;
    self->sp = sp;
    mal_store_seq_cst(&self->state, (uint32_t)MAL_GC_PARKED);
    acknowledge(self, epoch);
    sleep_through(epoch);
    mal_store_seq_cst(&self->state, before);
}

/* Whose caller has not written down yet what it was told, maybe; no stop is put off twice. */
static bool puts_off(struct mal_gc_thread *self, uint32_t epoch) {
    if (self->section_end_ns == 0 || mal_load_relaxed(&self->put_off_epoch) == epoch ||
        mal_load_relaxed(&self->state) != MAL_GC_RUNNING ||
        mal_clock_mono_ns() - self->section_end_ns > JUST_LEFT_NS)
        return false;
    mal_store_release(&self->put_off_epoch, epoch);
    return true;
}

/* The frame's address is below the signal frame, which holds all registers. A thread that is PARKED
 * may still have to wake from an earlier stop, so it parks once more, in the handler. */
static void park_in_handler(struct mal_gc_thread *self) {
    uint32_t epoch = mal_load_acquire(&mal_gc_stop_epoch);
    if (!self || !is_on(epoch) || puts_off(self, epoch))
        return;
    if (mal_load_relaxed(&self->state) == MAL_GC_BLOCKED)
        acknowledge(self, epoch);
    else
        park(self, mal_stack_pointer());
}

void mal_gc_park_on_signal(int signal_number) {
    (void)signal_number;
    int saved_errno = errno;
    if (mal_critical.depth > 0)
        mal_critical.stop_pending = 1;
    else
        park_in_handler(mal_gc_self ? mal_gc_self : mal_gc_thread_claim());
    errno = saved_errno;
}

/* The thread sends itself what it has put off, so that it parks in the handler like everybody:
 * registers in the signal frame, the program's handlers kept off. Where no signal would come, it
 * does as the handler does, with its registers on its stack. */
static void stop_here(void) {
    uintptr_t registers[MAL_SAVED_REGISTERS];
    if (!MAL_STOPS_BY_NOTE) {
        mal_task_signal(gettid(), mal_gc_signal());
        return;
    }
    mal_registers_save(registers);
    park_in_handler(mal_gc_self);
    __asm__ volatile("" : : "r"(registers) : "memory");
}

static void forget_note(void) {
    mal_store_relaxed(&mal_critical.stop_pending, 0u);
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
}

/* The end of a critical section. */
void mal_gc_park_deferred(void) {
    forget_note();
    if (is_on(mal_load_acquire(&mal_gc_stop_epoch)))
        stop_here();
}

/* ---- sections whose end is no place to stop at ---- */

void mal_gc_park_first(void) {
    const struct mal_gc_thread *self = mal_gc_thread_register();
    uint32_t epoch = mal_load_acquire(&mal_gc_stop_epoch);
    if (self && is_on(epoch) && mal_load_relaxed(&self->put_off_epoch) == epoch)
        stop_here();
}

void mal_gc_park_note_end(void) {
    if (mal_gc_self)
        mal_gc_self->section_end_ns = mal_clock_mono_ns();
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
}

/* No system call: the thread is to be gone from here when the signal comes. */
void mal_gc_park_later(void) {
    struct mal_gc_thread *self = mal_gc_self;
    if (!self) {
        mal_gc_park_deferred();
        return;
    }
    forget_note();
    mal_store_release(&self->put_off_epoch, mal_load_acquire(&mal_gc_stop_epoch));
}

/* Any system call lets a pending signal in on its way back; this one does nothing else. */
static void let_signals_in(void) {
    static const uint32_t zero;
    mal_futex_wait(&zero, 1, MAL_FUTEX_FOREVER);
}

static void enter_region(struct mal_gc_thread *self, const uintptr_t *registers, uintptr_t sp) {
    uint32_t epoch;
    memcpy(self->saved, registers, sizeof self->saved);
    self->sp = sp;
    mal_exchange_seq_cst(&self->state, (uint32_t)MAL_GC_BLOCKED);
    while (is_on(epoch = mal_load_seq_cst(&mal_gc_stop_epoch))) {
        acknowledge(self, epoch);
        sleep_through(epoch);
        let_signals_in();
    }
}

static void leave_region(struct mal_gc_thread *self) {
    uint32_t epoch;
    mal_exchange_seq_cst(&self->state, (uint32_t)MAL_GC_RUNNING);
    while (is_on(epoch = mal_load_seq_cst(&mal_gc_stop_epoch))) {
        mal_exchange_seq_cst(&self->state, (uint32_t)MAL_GC_BLOCKED);
        sleep_through(epoch);
        mal_exchange_seq_cst(&self->state, (uint32_t)MAL_GC_RUNNING);
    }
}

/* Nothing is begun in a critical section: its thread counts as running until it is out of it.
 * Regions nest, also through a signal handler that interrupts any line here: only the outermost one
 * changes the state, and the depth is positive for all of its time. */
int mal_gc_blocking_enter(const uintptr_t *registers, uintptr_t sp);
int mal_gc_blocking_enter(const uintptr_t *registers, uintptr_t sp) {
    struct mal_gc_thread *self = mal_gc_self;
    if (!self || mal_critical.depth > 0)
        return 0;
    uint32_t depth = self->blocking_depth++;
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    if (depth == 0)
        enter_region(self, registers, sp);
    return 1;
}

MAL_DEFINE_WITH_REGISTERS(mallard_gc_blocking_try, mal_gc_blocking_enter);
MAL_DEFINE_WITH_REGISTERS(mallard_gc_blocking_begin, mal_gc_blocking_enter);

/* For libmallard-gc.so: see gclib/engine.h. */
MAL_PUBLIC unsigned mallard_gc_blocking_depth(void);
unsigned mallard_gc_blocking_depth(void) {
    return mal_gc_self ? mal_gc_self->blocking_depth : 0;
}

/* What lies between sp and the stack pointer is read while the state is BLOCKED, and a caller that
 * ends with the end of its region may have taken its frame down already: the registers that it
 * restored lie there and nowhere else. */
void mal_gc_blocking_leave(void);
void mal_gc_blocking_leave(void) {
    struct mal_gc_thread *self = mal_gc_self;
    if (self->blocking_depth == 0)
        return;
    int saved_errno = errno;
    if (self->blocking_depth == 1)
        leave_region(self);
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    self->blocking_depth--;
    errno = saved_errno;
}

_Static_assert(offsetof(struct mal_gc_thread, sp) == 16, "the code below says 16");
MAL_DEFINE_BELOW(mallard_gc_blocking_end, mal_gc_blocking_leave, mal_gc_self, 16);
