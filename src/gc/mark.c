/* SPDX-License-Identifier: Apache-2.0
 *
 * Marking: the workers, what they are given, and when all is done.
 *
 * Path up: a worker is taken, and given words and ranges. It looks up which object each word may
 * point to and queues it in its buffer. Then it drains: the kernel (mark_scan.c) marks and scans,
 * a critical section's worth at a time. A worker that has nothing left takes a buffer from the
 * shared list; half of one goes there while others have nothing.
 *
 * Path down: a worker that is given back finishes or shares what it holds. Pages that were written
 * to are scanned again in pieces (mark_rescan.c).
 *
 * Where items were lost, because no buffer could be had, `mal_gc_mark_overflowed` is set: whoever
 * runs out of work then scans all marked objects again. Each such round marks something new or is
 * the last one.
 *
 * SYNCHRONIZATION
 *   1. A worker belongs to whoever took it. It is used inside critical sections only.
 *   2. Workers that nobody took: `workers_lock` (rank GC_WORK).
 *   3. Termination. `holders` counts workers that may have items of their own; it is raised before
 *      an item is made or taken from the shared list, and lowered when there is none left. Done is:
 *      the list's head is read, empty; holders is read, 0; the head is read again, unchanged. As
 *      every put and take changes the head, the list was empty while holders was 0: nobody had an
 *      item then, and only one who has an item, or takes new words, makes another.
 *
 * Must never touch a mark bit, never read the program's words outside of a critical section, and
 * never allocate but workers and buffers.
 */
#include "gc/mark.h"

#include "base/bits.h"
#include "base/check.h"
#include "gc/heap.h"
#include "gc/mark_private.h"
#include "meta/memory.h"
#include "os/critical.h"
#include "os/futex.h"
#include "os/lock.h"

#include <errno.h>

#define WORKERS_AT_START 4
#define WORKER_WAIT_NS 100000u

static struct mal_lock workers_lock = MAL_LOCK_INIT(MAL_RANK_GC_WORK);
static struct mal_gc_worker *free_workers; /* workers_lock */
static uint32_t taken_workers;             /* workers_lock; relaxed readers */
static uint32_t holders;                   /* rule 3; sequentially consistent */
static uint64_t scanned_bytes;             /* relaxed atomic */
static uint64_t rescanned_bytes;           /* relaxed atomic; of these */

/* ---- workers ---- */

static struct mal_gc_worker *new_worker(void) {
    return mal_meta_alloc(sizeof(struct mal_gc_worker), MAL_META_GC);
}

int mal_gc_mark_init(void) {
    if (mal_gc_work_init() != 0)
        return -ENOMEM;
    for (int i = 0; i < WORKERS_AT_START; i++) {
        struct mal_gc_worker *worker = new_worker();
        if (!worker)
            return -ENOMEM;
        worker->next = free_workers;
        free_workers = worker;
    }
    return 0;
}

void mal_gc_mark_begin(void) {
    MAL_ASSERT(mal_gc_work_is_empty(mal_gc_work_full_head()));
    mal_store_relaxed(&scanned_bytes, 0ull);
    mal_store_relaxed(&rescanned_bytes, 0ull);
    mal_store_relaxed(&mal_gc_mark_overflowed, 0u);
}

static struct mal_gc_worker *try_take(void) {
    mal_lock(&workers_lock);
    struct mal_gc_worker *worker = free_workers;
    if (worker)
        free_workers = worker->next;
    else
        worker = new_worker();
    if (worker)
        mal_add_relaxed(&taken_workers, 1);
    mal_unlock(&workers_lock);
    return worker;
}

void mal_gc_worker_hold(struct mal_gc_worker *worker) {
    if (worker->holds_work)
        return;
    worker->holds_work = true;
    __atomic_add_fetch(&holders, 1, __ATOMIC_SEQ_CST);
}

static void unhold(struct mal_gc_worker *worker) {
    if (!worker->holds_work)
        return;
    worker->holds_work = false;
    __atomic_sub_fetch(&holders, 1, __ATOMIC_SEQ_CST);
}

/* Memory short and all workers out: one will come back. */
struct mal_gc_worker *mal_gc_worker_take(void) {
    mal_critical_enter();
    struct mal_gc_worker *worker;
    while (!(worker = try_take()))
        mal_futex_nap(WORKER_WAIT_NS);
    worker->cycle = mal_load_relaxed(&mal_gc_cycle);
    worker->buffer = mal_gc_work_get_empty();
    if (!worker->buffer)
        worker->buffer = &worker->own;
    mal_gc_worker_hold(worker);
    mal_critical_leave();
    return worker;
}

static void publish_counts(struct mal_gc_worker *worker) {
    mal_add_relaxed(&scanned_bytes, worker->scanned_bytes);
    mal_add_relaxed(&rescanned_bytes, worker->rescanned_bytes);
    mal_add_relaxed(&mal_gc_totals.marked_bytes, worker->marked_bytes);
    mal_add_relaxed(&mal_gc_totals.marked_scan_bytes, worker->marked_scan_bytes);
    worker->scanned_bytes = worker->rescanned_bytes = 0;
    worker->marked_bytes = worker->marked_scan_bytes = 0;
}

/* ---- draining ---- */

static bool take_shared(struct mal_gc_worker *worker) {
    mal_gc_worker_hold(worker);
    struct mal_gc_buffer *buffer = mal_gc_work_get_full();
    if (!buffer)
        return false;
    if (worker->buffer != &worker->own)
        mal_gc_work_put_empty(worker->buffer);
    worker->buffer = buffer;
    return true;
}

static bool others_starve(const struct mal_gc_worker *worker) {
    return mal_load_relaxed(&taken_workers) > 1 && worker->buffer->count > MAL_GC_AHEAD_ITEMS &&
           mal_gc_work_is_empty(mal_gc_work_full_head());
}

/* Scans all that is marked once more, because items were lost. */
static void recover(struct mal_gc_worker *worker) {
    uint32_t lost = 1;
    if (mal_cas_relaxed(&mal_gc_mark_overflowed, &lost, 0u))
        mal_gc_mark_rescan(worker, mal_gc_tables.base,
                           mal_gc_tables.base + mal_load_acquire(&mal_gc_tables.limit));
}

static bool is_budget_left(const struct mal_gc_worker *worker, uint64_t bytes,
                           const uint32_t *stop) {
    return worker->scanned_bytes < bytes && !(stop && mal_load_relaxed(stop));
}

static void balance(struct mal_gc_worker *worker) {
    if (!others_starve(worker))
        return;
    mal_gc_mark_sift(worker);
    if (worker->buffer->count > 1)
        mal_gc_mark_share(worker);
}

/* One critical section's worth of work; false when nothing is to be had. */
static bool drain_some(struct mal_gc_worker *worker) {
    mal_critical_enter();
    bool more = mal_gc_mark_process(worker);
    if (more)
        balance(worker);
    else
        more = take_shared(worker);
    if (!more && mal_load_relaxed(&mal_gc_mark_overflowed)) {
        recover(worker);
        more = true;
    }
    mal_critical_leave();
    return more;
}

uint64_t mal_gc_drain(struct mal_gc_worker *worker, uint64_t bytes, const uint32_t *stop) {
    publish_counts(worker);
    bool more = true;
    while (more && is_budget_left(worker, bytes, stop))
        more = drain_some(worker);
    if (!more)
        unhold(worker);
    uint64_t done = worker->scanned_bytes;
    worker->drained_again_bytes = worker->rescanned_bytes;
    publish_counts(worker);
    return done;
}

uint64_t mal_gc_drained_again(const struct mal_gc_worker *worker) {
    return worker->drained_again_bytes;
}

/* ---- giving back ---- */

static void put_back_ahead(struct mal_gc_worker *worker) {
    uint32_t count = worker->ahead_count;
    worker->ahead_count = 0;
    for (uint32_t i = 0; i < count; i++)
        mal_gc_mark_push(worker, worker->ahead[i]);
}

/* A worker for which there was no shared buffer can only finish what it holds. */
static void finish_own(struct mal_gc_worker *worker) {
    while (mal_gc_mark_process(worker))
        ;
}

static void publish_buffer(struct mal_gc_worker *worker) {
    if (worker->buffer == &worker->own)
        finish_own(worker);
    else if (worker->buffer->count > 0)
        mal_gc_work_put_full(worker->buffer);
    else
        mal_gc_work_put_empty(worker->buffer);
    worker->buffer = NULL;
}

void mal_gc_worker_give(struct mal_gc_worker *worker) {
    mal_critical_enter();
    put_back_ahead(worker);
    mal_gc_mark_sift(worker);
    publish_buffer(worker);
    publish_counts(worker);
    unhold(worker);
    mal_lock(&workers_lock);
    worker->next = free_workers;
    free_workers = worker;
    mal_sub_relaxed(&taken_workers, 1);
    mal_unlock(&workers_lock);
    mal_critical_leave();
}

bool mal_gc_mark_is_done(void) {
    uint64_t head = mal_gc_work_full_head();
    return mal_gc_work_is_empty(head) && __atomic_load_n(&holders, __ATOMIC_SEQ_CST) == 0 &&
           mal_gc_work_full_head() == head && !mal_load_relaxed(&mal_gc_mark_overflowed);
}

void mal_gc_mark_note_scanned(uint64_t bytes) {
    mal_add_relaxed(&scanned_bytes, bytes);
}

uint64_t mal_gc_mark_scanned_bytes(void) {
    return mal_load_relaxed(&scanned_bytes);
}

uint64_t mal_gc_mark_rescanned_bytes(void) {
    return mal_load_relaxed(&rescanned_bytes);
}

/* ---- words ---- */

void mal_gc_mark_word(struct mal_gc_worker *worker, uintptr_t word) {
    if (worker->check) {
        mal_gc_check_word(worker->check, word);
        return;
    }
    mal_critical_enter();
    mal_gc_worker_hold(worker);
    mal_gc_mark_consider(worker, word);
    mal_critical_leave();
}

MAL_READS_ANYTHING uintptr_t mal_gc_mark_peek(const uintptr_t *word) {
    return *(const volatile uintptr_t *)word;
}

MAL_READS_ANYTHING void mal_gc_mark_range(struct mal_gc_worker *worker, uintptr_t low,
                                          uintptr_t high) {
    if (worker->check) {
        mal_gc_check_range(worker->check, low, high);
        return;
    }
    mal_critical_enter();
    mal_gc_worker_hold(worker);
    low = mal_round_up(low, MAL_GC_WORD_BYTES);
    for (; low < high && high - low >= MAL_GC_WORD_BYTES; low += MAL_GC_WORD_BYTES)
        mal_gc_mark_consider(worker, mal_gc_mark_load((const uintptr_t *)low));
    mal_critical_leave();
}

void mal_gc_shade(const void *pointer) {
    struct mal_gc_worker *worker = mal_gc_worker_take();
    mal_gc_mark_word(worker, (uintptr_t)pointer);
    mal_gc_worker_give(worker);
}

void mal_gc_mark_contents(struct mal_gc_worker *worker, uintptr_t object, uintptr_t low,
                          uintptr_t high) {
    uint64_t offset = mal_gc_offset(object);
    uint64_t end = mal_gc_mark_object_end(offset);
    uint64_t from = mal_max(mal_gc_offset(low), offset);
    uint64_t to = mal_min(mal_gc_offset(high), end);
    if (mal_gc_page_at(offset) & MAL_GC_PAGE_NOSCAN || from >= to)
        return;
    from = mal_round_down(from, MAL_GC_WORD_BYTES);
    to = mal_round_up(to, MAL_GC_WORD_BYTES);
    if (worker->check) {
        mal_gc_check_contents(worker->check, from, to);
        return;
    }
    mal_critical_enter();
    mal_gc_worker_hold(worker);
    mal_gc_mark_scan(worker, from, to);
    mal_critical_leave();
}

/* ---- fork ---- */

void mal_gc_mark_before_fork(void) {
    mal_gc_work_before_fork();
    mal_lock(&workers_lock);
}

void mal_gc_mark_after_fork(void) {
    mal_unlock(&workers_lock);
    mal_gc_work_after_fork();
}

/* Workers and buffers that the other threads had in their hands are lost. */
void mal_gc_mark_forget_in_child(void) {
    mal_gc_work_discard();
    holders = taken_workers = mal_gc_mark_overflowed = 0;
}
