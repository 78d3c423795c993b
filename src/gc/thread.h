/* SPDX-License-Identifier: Apache-2.0
 *
 * What a thread carries for the collected heap. Made from our own memory when the thread first
 * allocates from it (or the collector first meets it); NULL until then.
 *
 *     in the registry  <=>  may hold collected pointers and has not ended, as far as is known
 *
 * The collector's own threads are in no registry: they are never stopped and never scanned.
 */
#ifndef MAL_GC_THREAD_H
#define MAL_GC_THREAD_H

#include "base/attr.h"
#include "gc/heap.h"
#include "os/critical.h"
#include "os/registers.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum mal_gc_thread_state {
    MAL_GC_RUNNING, /* runs the program; is stopped by a signal */
    MAL_GC_BLOCKED, /* in a blocking region: `sp` and `saved` are valid, never signalled */
    MAL_GC_PARKED,  /* stopped: `sp` is valid, the registers lie above it on the stack */
};

struct mal_gc_thread {
    /* The protocol of park.c. */
    uint32_t state;           /* enum mal_gc_thread_state; the thread writes; seq_cst */
    uint32_t parked_epoch;    /* last stop acknowledged; the thread exchanges, release/acquire */
    uint32_t blocking_depth;  /* regions entered and not left: `saved` counts; thread */
    uint32_t signalled_epoch; /* last stop it was sent the signal for; stopping thread */
    uintptr_t sp;             /* everything below is dead; the thread, before it acknowledges */
    uintptr_t saved[MAL_SAVED_REGISTERS]; /* callee-saved registers of the outermost region */

    /* Home stack, high end excluded; 0: the thread was adopted and has not said yet. The thread. */
    uintptr_t stack_low, stack_high;
    uintptr_t thread_pointer;      /* likewise; 0: not known yet */
    struct mal_critical *critical; /* likewise; NULL: not known yet */
    pid_t tid;                     /* constant while registered */

    /* A stop that came when the thread was not to be found: mal_gc_park_later. */
    uint64_t section_end_ns;      /* it last left such a section; CLOCK_MONOTONIC; owner */
    uint32_t put_off_epoch;       /* last stop that it put off, once; the thread, release */
    uint32_t known_put_off_epoch; /* that it was seen to have put off; stopping thread */
    uint32_t again_epoch;         /* and was sent the signal for again; likewise */

    struct mal_gc_cache cache; /* gc/heap.h; owner, or the collector while the world is stopped */
    int64_t assist_debt_bytes; /* owner: bytes allocated in this cycle and not yet paid for */
    uint32_t assist_cycle;     /* owner: which cycle the debt is of */

    const void *seen_table; /* of thread-local blocks, found to be mapped; the stopping thread */
    size_t seen_last;       /* likewise: its last entry */
    void *kept_table;       /* its former table of thread-local blocks; owner */
    uint32_t exit_rounds;   /* of the destructor that ends the registration; owner */
    uint64_t left_ns;       /* when, of one that is leaving; CLOCK_MONOTONIC; likewise */
    bool leaving;           /* past its destructors: neither stopped nor scanned; registry lock */
    struct mal_gc_thread *next, *previous, *next_of_tid; /* registry lock */
};

extern MAL_HIDDEN MAL_THREAD struct mal_gc_thread *mal_gc_self;

/* Registers the calling thread; NULL when memory is short. Idempotent. No Mallard lock held,
 * outside critical sections. */
struct mal_gc_thread *mal_gc_thread_register(void);

/* Takes the calling thread off; it must not touch collected memory until it registers again. */
void mal_gc_thread_leave(void);

/* For realloc, which has moved the calling thread's table of thread-local blocks (os/registers.h)
 * and was about to free the old one: the loader has not stored the new one's place, and a stop that
 * comes before it does reads the old one. Returns what is to be freed instead, or NULL. The
 * thread's last one goes with its registration; of one that is not registered yet it stays for
 * ever. */
void *mal_gc_thread_keep_table(void *table);

/* Called for every thread that leaves the registry, by itself or, when it ended without a word, by
 * whoever noticed; no lock held. The record is still valid, its cache is to be taken back. Set
 * once, before the first thread registers. */
void mal_gc_thread_on_exit(void (*hook)(struct mal_gc_thread *thread));

/* Visits all registered threads but those that are leaving, under the registry lock. */
void mal_gc_thread_each(void (*visit)(struct mal_gc_thread *thread, void *context), void *context);

/* How many are registered and not leaving. Acquire. */
uint32_t mal_gc_thread_count(void);
/* Another number after every registration. Acquire: read before a visit, and again after the count,
 * it tells whether somebody has registered whom the visit did not see. */
uint32_t mal_gc_thread_generation(void);

/* ---- for world.c ---- */

/* Visits all, leaving ones too, under the registry lock; a thread whose visit returns true has
 * ended and is dropped. */
void mal_gc_thread_sift(bool (*visit)(struct mal_gc_thread *thread, void *context), void *context);

/* Whether there is a record for the id, be its thread leaving. */
bool mal_gc_thread_is_known(pid_t tid);

enum mal_gc_meeting {
    MAL_GC_MET,     /* was registered */
    MAL_GC_ADOPTED, /* registered now: its next signal handler finds its record with `claim` */
    MAL_GC_UNMET,   /* memory is short */
};
/* A thread that the kernel lists. The stopping thread. */
enum mal_gc_meeting mal_gc_thread_meet(pid_t tid);
/* A registered thread that may not know its record: it was adopted, or another one with its id was.
 * Before it is sent the signal. The stopping thread, under the registry lock. */
void mal_gc_thread_introduce(struct mal_gc_thread *thread);
/* The record of a thread that left is now another one's, which has its id. Likewise. */
void mal_gc_thread_replace(struct mal_gc_thread *thread);
/* In a signal handler of a thread without a record, while a stop is on: the adopted one or NULL. */
struct mal_gc_thread *mal_gc_thread_claim(void);
/* The stop is over: adopted threads have claimed their records or are gone. */
void mal_gc_thread_end_meetings(void);

void mal_gc_threads_before_fork(void);
void mal_gc_threads_after_fork(bool child);

#endif
