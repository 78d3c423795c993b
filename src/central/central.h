/* SPDX-License-Identifier: Apache-2.0
 *
 * Objects of one class, shared by all CPUs: the transfer cache in front, spans behind.
 *
 * All functions are thread-safe and take the class's lock. Objects passed in or out are free: their
 * state bytes are 0.
 */
#ifndef MAL_CENTRAL_CENTRAL_H
#define MAL_CENTRAL_CENTRAL_H

#include <stddef.h>
#include <stdint.h>

#define MAL_CENTRAL_BATCH_MAX 64u

/* Fills `ret_objects` with up to `count` objects (1 .. MAL_CENTRAL_BATCH_MAX). Returns how many:
 * fewer, even 0, only when memory is short. */
size_t mal_central_take(uint32_t class, void **ret_objects, size_t count);

/* Takes back `count` objects (1 .. MAL_CENTRAL_BATCH_MAX). */
void mal_central_give(uint32_t class, void **objects, size_t count);

/* Moves everything in transfer caches back to its spans; empty spans go to the page heap. */
void mal_central_flush(uint32_t class);

/* Gives all spans without an object out to the page heap, so that others can use their pages. */
void mal_central_release_empty(void);

/* Bytes of such spans; any thread, a relaxed snapshot. */
uint64_t mal_central_empty_bytes(void);

/* The same as flush, if nothing was taken since the last call for this class. */
void mal_central_trim_idle(uint32_t class);

/* A snapshot of one class. */
struct mal_central_stats {
    uint64_t taken; /* objects ever handed out */
    uint64_t given; /* objects ever taken back */
    uint64_t spans;
    uint64_t span_free;        /* objects free in spans */
    uint64_t transfer_objects; /* objects in the transfer cache */
};
struct mal_central_stats mal_central_stats(uint32_t class);

void mal_central_before_fork(void);
void mal_central_after_fork(void);

#endif
