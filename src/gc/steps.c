/* SPDX-License-Identifier: Apache-2.0
 *
 * The gate between the collector's threads and fork.
 *
 * The collector's threads work in steps: a quantum of marking, a batch of sweeping, one stop of the
 * world. A fork waits until nobody is inside a step and lets none begin, so the child finds the
 * collected heap as it lies between two steps, whatever threads it has lost.
 *
 * SYNCHRONIZATION: one word: the number of steps under way, and CLOSED. Sequentially consistent:
 * either the closer sees the step, or the step sees the closing.
 *
 * A thread of the program may be inside too, where no coordinating thread could be started. If a
 * signal handler interrupts it there and forks, nobody is waited for: see front/init.c.
 *
 * Must never be entered by a thread that waits inside for one that may fork.
 */
#include "gc/steps.h"

#include "base/atomic.h"
#include "base/attr.h"
#include "os/futex.h"

#include <stdint.h>

#define CLOSED (1u << 31)

static uint32_t gate;             /* CLOSED | steps under way */
static MAL_THREAD bool is_inside; /* from before the calling thread is counted until after that */

static uint32_t wait_until_open(void) {
    uint32_t now;
    while ((now = mal_load_acquire(&gate)) & CLOSED)
        mal_futex_wait(&gate, now, MAL_FUTEX_FOREVER);
    return now;
}

void mal_gc_step_begin(void) {
    is_inside = true;
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    uint32_t now = wait_until_open();
    while (
        !__atomic_compare_exchange_n(&gate, &now, now + 1, 0, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
        if (now & CLOSED)
            now = wait_until_open();
}

void mal_gc_step_end(void) {
    if (__atomic_sub_fetch(&gate, 1u, __ATOMIC_SEQ_CST) == CLOSED)
        mal_futex_wake(&gate, INT32_MAX);
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    is_inside = false;
}

bool mal_gc_step_is_mine(void) {
    return is_inside;
}

void mal_gc_steps_hold(void) {
    uint32_t now = __atomic_or_fetch(&gate, CLOSED, __ATOMIC_SEQ_CST);
    for (; now != CLOSED; now = mal_load_acquire(&gate))
        mal_futex_wait(&gate, now, MAL_FUTEX_FOREVER);
}

void mal_gc_steps_resume(void) {
    mal_store_release(&gate, 0u);
    mal_futex_wake(&gate, INT32_MAX);
}
