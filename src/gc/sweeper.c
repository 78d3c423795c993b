/* SPDX-License-Identifier: Apache-2.0
 *
 * After a cycle: its line in the trace, and its sweep.
 *
 * Done by a thread of its own, because the coordinating thread may have a table of descriptors to
 * itself, where standard error is not the program's. The owner of a cycle puts what is to be said
 * and done into one slot and goes on; the next cycle waits until the slot is free. Without a thread
 * the owner does it all itself. With nothing else to do the thread sees to huge pages.
 *
 * SYNCHRONIZATION: `state` says whose the slot is: the owner's when FREE, the thread's when FULL.
 *
 * Must never hold a lock while it prints.
 */
#include "gc/cycle_private.h"

#include "base/atomic.h"
#include "box/writer.h"
#include "gc/heap.h"
#include "gc/huge.h"
#include "gc/steps.h"
#include "gc/tables.h"
#include "os/futex.h"
#include "os/say.h"
#include "os/thread.h"

#include <string.h>

#define BATCH_PAGES 256u
#define TEXT_MOST (3 * MAL_GC_TRACE_BYTES)
/* Of the time the cycle took: they make the next one shorter. Less where they take it from the
 * program, which is where it allocates and no CPU was idle for half of the cycle. */
#define HUGE_PAGES_SHARE 2u
#define HUGE_PAGES_SHARE_BUSY 16u

enum state { FREE, FULL };

static uint32_t state;   /* enum state; futex */
static uint32_t threads; /* relaxed atomic; 0 or 1 */

/* The slot: whose it is, `state` says. */
static char text[TEXT_MOST];
static size_t text_bytes;
static uint32_t ticket;
static bool sweeps;

static uint64_t huge_pages_ns;    /* that the thread may take for them afterwards */
static uint32_t makes_huge_pages; /* futex; set before the slot is free again */

/* The box has each cycle's line, standard error what was asked for. */
static void put(const char *line, size_t bytes) {
    if (mal_gc_config.trace > 0 || mal_gc_wants(MAL_GC_DEBUG_PACER_TRACE))
        mal_write_error(line, bytes);
    if (mal_writer_is_open())
        mal_writer_trace(line, bytes);
}

static void sweep_all(void) {
    size_t swept;
    do {
        mal_gc_step_begin();
        swept = mal_gc_heap_sweep(BATCH_PAGES);
        mal_gc_step_end();
    } while (swept > 0);
}

static void do_slot(void) {
    put(text, text_bytes);
    if (!sweeps)
        return;
    sweep_all();
    mal_gc_tables_trim();
    mal_gc_pace_commit();
    mal_gc_request_note_swept(ticket);
}

/* Until that is done, or the slot is full. */
static void make_huge_pages(uint64_t most_ns) {
    bool more = most_ns > 0;
    mal_gc_huge_begin(most_ns);
    while (more && mal_load_acquire(&state) == FREE) {
        mal_gc_step_begin();
        more = mal_gc_huge_step();
        mal_gc_cpu_note_sweeper();
        mal_gc_step_end();
    }
}

static void body(void) {
    mal_gc_become_own();
    for (;;) {
        if (mal_load_acquire(&state) == FREE) {
            mal_futex_wait(&state, FREE, MAL_FUTEX_FOREVER);
            continue;
        }
        do_slot();
        mal_gc_cpu_note_sweeper();
        uint64_t most_ns = sweeps ? huge_pages_ns : 0;
        mal_store_relaxed(&makes_huge_pages, 1u);
        mal_store_release(&state, (uint32_t)FREE);
        mal_futex_wake(&state, INT32_MAX);
        make_huge_pages(most_ns);
        mal_store_release(&makes_huge_pages, 0u);
        mal_futex_wake(&makes_huge_pages, INT32_MAX);
    }
}

void mal_gc_sweeper_start(void) {
    static const struct mal_own_thread thread = {"mallard-sweep", body, 0};
    if (threads == 0 && mal_thread_start(&thread) == 0)
        mal_store_relaxed(&threads, 1u);
}

static void await_slot(void) {
    while (mal_load_acquire(&state) == FULL)
        mal_futex_wait(&state, FULL, MAL_FUTEX_FOREVER);
}

bool mal_gc_sweeper_await(uint64_t most_ns) {
    await_slot();
    if (mal_load_acquire(&makes_huge_pages))
        mal_futex_wait(&makes_huge_pages, 1, most_ns);
    return !mal_load_acquire(&makes_huge_pages);
}

static void hand_over(void) {
    if (mal_load_relaxed(&threads) == 0) {
        do_slot();
        return;
    }
    mal_store_release(&state, (uint32_t)FULL);
    mal_futex_wake(&state, INT32_MAX);
}

void mal_gc_sweeper_say(const char *line, size_t bytes) {
    await_slot();
    text_bytes = bytes < TEXT_MOST ? bytes : TEXT_MOST;
    memcpy(text, line, text_bytes);
    sweeps = false;
    hand_over();
}

static uint64_t huge_pages_time(const struct mal_gc_run *run) {
    uint64_t took_ns = run->end_ns - run->sweep_term_ns;
    bool has_time = (run->reasons & MAL_GC_REASON_HEAP) == 0 || run->idle_ns > took_ns / 2;
    return took_ns / (has_time ? HUGE_PAGES_SHARE : HUGE_PAGES_SHARE_BUSY);
}

void mal_gc_sweeper_finish(const struct mal_gc_run *run, const struct mal_gc_trace *trace) {
    await_slot();
    text_bytes = mal_gc_cycle_text(text, sizeof text, run, trace);
    ticket = run->ticket;
    sweeps = true;
    huge_pages_ns = huge_pages_time(run);
    hand_over();
}

unsigned mal_gc_sweeper_threads(void) {
    return mal_load_relaxed(&threads);
}

void mal_gc_sweeper_forget_in_child(void) {
    state = FREE;
    makes_huge_pages = 0;
    threads = 0;
}
