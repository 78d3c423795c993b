/* SPDX-License-Identifier: Apache-2.0
 *
 * Critical sections against being stopped.
 *
 * The collector stops threads with a signal. A thread inside a critical section defers the stop to
 * the section's end: its depth says so to the handler, which leaves a note instead of stopping.
 * Every Mallard lock is held inside one, and so is every allocation from the collected heap, hence
 *
 *     the world is stopped  =>  no thread holds a Mallard lock or a half-made collected object
 *
 * SYNCHRONIZATION: both fields belong to the thread and its own signal handler; compiler fences are
 * all the order there must be. (Stops by note: `stop_pending` is a relaxed atomic.)
 */
#ifndef MAL_OS_CRITICAL_H
#define MAL_OS_CRITICAL_H

#include "base/attr.h"

#include <stdbool.h>
#include <stdint.h>

struct mal_critical {
    uint32_t depth;        /* sections entered and not left; thread writes, handler reads */
    uint32_t stop_pending; /* the handler deferred a stop; handler sets, thread clears */
};

/* ThreadSanitizer keeps signals back until a thread calls libc, and its own thread takes none at
 * all. Under it nobody is signalled: the stopping thread itself notes in `stop_pending` of each
 * thread in the registry that a stop is due, and the thread stops at the end of its next section.
 * Who is not in the registry goes on. */
#ifndef MAL_STOPS_BY_NOTE
#define MAL_STOPS_BY_NOTE 0
#endif

extern MAL_HIDDEN MAL_THREAD struct mal_critical mal_critical;

/* Stops here until the world goes on; depth is 0. Set by the collector when it comes up. */
extern MAL_HIDDEN void (*mal_critical_park)(void);

static inline void mal_critical_enter(void) {
    mal_critical.depth++;
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
}

/* A collected object's address that is in a register or on the stack from here on. Before the end
 * of the section that made the object: the compiler might leave the last step of computing the
 * address for later, and the end of a section may be a stop. */
#define MAL_CRITICAL_PIN(address) __asm__ volatile("" : "+r"(address) : : "memory")

/* Plain where no other thread writes it: an atomic load is one more instruction. */
static inline bool mal_critical_stop_is_pending(void) {
    if (MAL_STOPS_BY_NOTE)
        return __atomic_load_n(&mal_critical.stop_pending, __ATOMIC_RELAXED) != 0;
    return mal_critical.stop_pending != 0;
}

/* The section's end for paths that must end in no call: true means that mal_critical_park is due
 * now. */
static inline bool mal_critical_leave_is_due(void) {
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    return --mal_critical.depth == 0 && __builtin_expect(mal_critical_stop_is_pending(), 0);
}

static inline void mal_critical_leave(void) {
    if (mal_critical_leave_is_due())
        mal_critical_park();
}

#endif
