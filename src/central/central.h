/* SPDX-License-Identifier: Apache-2.0
 *
 * Objects of one class, shared by all CPUs: the transfer cache in front, spans behind.
 *
 * All functions are thread-safe and take the class's lock. Objects passed in or out are free; what
 * their words say does not matter.
 */
#ifndef MAL_CENTRAL_CENTRAL_H
#define MAL_CENTRAL_CENTRAL_H

#include "pageheap/pageheap.h"
#include "pageheap/scavenger.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MAL_CENTRAL_BATCH_MAX 128u

/* Fills `ret_objects` with up to `count` objects (1 .. MAL_CENTRAL_BATCH_MAX). Returns how many:
 * fewer, even 0, only when memory is short. */
size_t mal_central_take(uint32_t class, void **ret_objects, size_t count);

/* Takes back `count` objects (1 .. MAL_CENTRAL_BATCH_MAX). */
void mal_central_give(uint32_t class, void **objects, size_t count);

/* Moves everything in transfer caches back to its spans; empty spans go to the page heap. */
void mal_central_flush(uint32_t class);

/* Gives all spans without an object out to the page heap, so that others can use their pages. */
void mal_central_release_empty(void);

/* Nothing in the heap fits a span of `bytes`: makes room for it, in steps, until one helps. Returns
 * what to ask the page heap for after the step. No lock held.
 *     0   what classes did not use lately, in this CPU's cache too, goes back into its spans, and
 *         spans that hold nothing give up their pages; the heap stays as large as it is
 *     1   the heap is about to grow: where much lies free inside spans that stay, as much of it
 *         goes back to the OS as the heap grows by */
#define MAL_CENTRAL_ROOM_STEPS 2u
enum mal_growth mal_central_make_room(unsigned step, uint64_t bytes);

/* Who gives back the idle part of the CPU's cache in step 0. Once, before there is a second thread.
 */
void mal_central_drain_before_growth(void (*drain_cpu)(void));

/* Bytes of spans without an object out; any thread, a relaxed snapshot. */
uint64_t mal_central_empty_bytes(void);

/* The same as flush, if nothing was taken since the last call for this class: of the background
 * thread, and of those whom the heap grows for. */
void mal_central_trim_idle(uint32_t class);
void mal_central_trim_for_growth(uint32_t class);

/* Gives whole OS pages that hold no object back, inside spans that stay: of spans from page
 * *cursor_page on which nothing was taken from or put into for `idle_ticks` ticks. Goes on until
 * `most_bytes` were released, `end_ns` (monotonic) has passed or the heap ends; the cursor is
 * then 0. Returns the bytes released. One caller at a time does the work, others get 0. */
struct mal_hole_request {
    uint64_t most_bytes;
    uint64_t end_ns;
    uint32_t idle_ticks;
    enum mal_scavenge_reason reason; /* that it is counted under */
};
uint64_t mal_central_make_holes(const struct mal_hole_request *request, size_t *cursor_page);

/* Free bytes in spans that no hole covers yet: the most that making holes could give. All classes.
 */
uint64_t mal_central_reclaimable_bytes(void);

/* The memory limit is passed, as far as slow paths of allocation care: cheap. */
bool mal_central_is_over_limit(void);

/* Gives back what brings the heap within its memory limit again, as far as there is something: idle
 * pages, spans that hold nothing, what transfer caches and, through `drain_cpu`, the CPU's cache
 * hold, then holes. Bounded in time, and skipped while another thread is at it or the last time is
 * too recent: pageheap/limit.h. Called after memory was taken and before it is touched. No lock
 * held. */
void mal_central_relieve(void (*drain_cpu)(void));

/* Of `most_bytes` that a cache may hold without a memory limit, what it may hold now. */
uint64_t mal_central_share(uint64_t most_bytes);

/* One more tick, of which idle_ticks counts. Background thread. */
void mal_central_tick(void);

/* A snapshot of one class. */
struct mal_central_stats {
    uint64_t taken; /* objects ever handed out */
    uint64_t given; /* objects ever taken back */
    uint64_t spans;
    uint64_t span_free;        /* objects free in spans */
    uint64_t transfer_objects; /* objects in the transfer cache */
    uint64_t holes_bytes;      /* of spans: free, and given back to the OS */
    uint64_t refilled_bytes;   /* of those, ever taken into use again */
};
struct mal_central_stats mal_central_stats(uint32_t class);

void mal_central_before_fork(void);
void mal_central_after_fork(void);
void mal_central_forget_in_child(void);

#endif
