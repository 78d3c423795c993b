/* SPDX-License-Identifier: Apache-2.0
 *
 * Marking: from words that may be pointers to all objects they reach.
 *
 * A worker is one thread's hands in it: a queue of prefetched objects and a work buffer. Full
 * buffers go to a lock-free list that all workers share.
 */
#ifndef MAL_GC_MARK_H
#define MAL_GC_MARK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mal_gc_worker;

/* Memory for workers. 0 or -ENOMEM; may be tried again. Once, by mal_gc_heap_init. */
int mal_gc_mark_init(void);
void mal_gc_mark_before_fork(void);
void mal_gc_mark_after_fork(void);
/* Nothing is queued, and no worker taken but by threads that do not exist here. */
void mal_gc_mark_forget_in_child(void);
/* World stopped, no worker taken: a new count, nothing queued. By mal_gc_heap_start_mark. */
void mal_gc_mark_begin(void);

/* A worker to mark with, and back. Never NULL: memory is set aside before the cycle. Any thread. */
struct mal_gc_worker *mal_gc_worker_take(void);
void mal_gc_worker_give(struct mal_gc_worker *worker); /* publishes what it still holds */

/* Takes every aligned word of a range as a pointer that may be. */
void mal_gc_mark_range(struct mal_gc_worker *worker, uintptr_t low, uintptr_t high);
/* One word. */
void mal_gc_mark_word(struct mal_gc_worker *worker, uintptr_t word);
/* What the object's pointers within [low, high) lead to, and not the object. */
void mal_gc_mark_contents(struct mal_gc_worker *worker, uintptr_t object, uintptr_t low,
                          uintptr_t high);
/* From a thread of the program while phase == MARK: what it stores somewhere we do not look again.
 */
void mal_gc_shade(const void *pointer);
/* Scans again every marked scan object that touches [low, high): pages that were written to. */
void mal_gc_mark_rescan(struct mal_gc_worker *worker, uintptr_t low, uintptr_t high);
/* Queues that instead, for whoever drains. */
void mal_gc_mark_rescan_later(struct mal_gc_worker *worker, uintptr_t low, uintptr_t high);
/* The one where the range is short, the other where it is long. */
void mal_gc_mark_rescan_by_many(struct mal_gc_worker *worker, uintptr_t low, uintptr_t high);

/* Scans queued objects until about `bytes` of scan work are done, *stop becomes nonzero, or nothing
 * is to be had. Returns the bytes scanned. */
uint64_t mal_gc_drain(struct mal_gc_worker *worker, uint64_t bytes, const uint32_t *stop);
/* How many of those that the last drain returned had been scanned before: written pages. */
uint64_t mal_gc_drained_again(const struct mal_gc_worker *worker);
/* No worker holds work and no buffer is queued. Exact while no worker runs. */
bool mal_gc_mark_is_done(void);
/* Work that was done by mal_gc_mark_range, where it is to count as scanned. */
void mal_gc_mark_note_scanned(uint64_t bytes);
/* Bytes scanned since the cycle began, by all. */
uint64_t mal_gc_mark_scanned_bytes(void);
uint64_t mal_gc_mark_rescanned_bytes(void); /* of these */

/* World stopped, after the last drain: traces everything again on its own bits and dies with a
 * sentence when it reaches an object that is not marked. Roots come through `push_roots`. */
void mal_gc_checkmark(void (*push_roots)(struct mal_gc_worker *worker));
/* The sum over all mark bits of their objects' bytes: what the totals must say once caches are
 * taken back. World stopped, marking complete. */
uint64_t mal_gc_check_marked_bytes(void);

#endif
