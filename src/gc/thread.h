/* SPDX-License-Identifier: Apache-2.0
 *
 * What a thread carries for the collected heap. Made from our own memory when the thread first
 * allocates from it (or the collector first meets it); NULL until then.
 */
#ifndef MAL_GC_THREAD_H
#define MAL_GC_THREAD_H

#include "base/attr.h"
#include "gc/heap.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum mal_gc_thread_state {
    MAL_GC_RUNNING, /* runs the program; is stopped by a signal */
    MAL_GC_BLOCKED, /* in a blocking region: `sp` and `saved` are valid, never signalled */
    MAL_GC_PARKED,  /* stopped: `sp` is valid, the registers lie above it on the stack */
};

#define MAL_GC_SAVED_REGISTERS 16

struct mal_gc_thread {
    uint32_t state; /* enum mal_gc_thread_state; release by the thread, acquire by the collector */
    uint32_t parked_epoch; /* of the stop that it has acknowledged; atomic */
    uintptr_t sp;
    uintptr_t saved[MAL_GC_SAVED_REGISTERS]; /* callee-saved registers while BLOCKED */
    uintptr_t stack_low, stack_high;         /* home stack; constant after registration */
    pid_t tid;
    bool own; /* one of the collector's: never stopped, never scanned */
    struct mal_gc_cache cache; /* gc/heap.h; owner, or the collector while the world is stopped */
    int64_t assist_debt_bytes; /* owner: bytes allocated in this cycle and not yet paid for */
    struct mal_gc_thread *next, *previous; /* registry lock */
};

extern MAL_HIDDEN MAL_THREAD struct mal_gc_thread *mal_gc_self;

/* Registers the calling thread; NULL when memory is short. Idempotent. */
struct mal_gc_thread *mal_gc_thread_register(void);

/* Visits all registered threads. The world is stopped, or the registry lock is held. */
void mal_gc_thread_each(void (*visit)(struct mal_gc_thread *thread, void *context), void *context);

#endif
