/* SPDX-License-Identifier: Apache-2.0
 *
 * The memory limit: how much is in force, how much counts against it, and what follows from the
 * two.
 *
 *     ready = resident pages of the heap - holes + tables
 *
 * is everything that Mallard has from the OS and has not given back: spans, free pages that are
 * still there, caches, descriptors, the page map, the profiler's tables. The same as Go's
 * mappedReady. What the program maps itself is not in it.
 */
#ifndef MAL_PAGEHEAP_LIMIT_H
#define MAL_PAGEHEAP_LIMIT_H

#include "base/attr.h"

#include <stdbool.h>
#include <stdint.h>

#define MAL_LIMIT_OFF ((uint64_t)INT64_MAX)
#define MAL_LIMIT_YIELD_WORTH_BYTES (1u << 20) /* that make working harder worth while */

/* Bytes, at most MAL_LIMIT_OFF. Any thread; relaxed. `set` returns the previous one. */
uint64_t mal_limit_set(uint64_t bytes);
uint64_t mal_limit_bytes(void);

/* What counts against the limit now. Any thread, relaxed: parts may be of different moments. */
uint64_t mal_limit_ready_bytes(void);
bool mal_limit_is_passed(void);

/* The parts, from those who know: pages of the heap that are there (the page heap, under its lock),
 * a change of the bytes in holes (central lists), bytes of tables that mal_meta_bytes does not know
 * (the background thread). */
void mal_limit_note_pages(uint64_t resident_pages);
void mal_limit_note_holes(int64_t change_bytes);
void mal_limit_note_tables(uint64_t bytes);
uint64_t mal_limit_holes_bytes(void);

/* Bytes above what the background works to, 0 none: 95 % of the limit; for a while after the limit
 * was passed half of it, so that the next spike finds room. */
enum mal_limit_goal { MAL_LIMIT_GOAL_USUAL, MAL_LIMIT_GOAL_AFTER_PASSING };
uint64_t mal_limit_over_goal_bytes(enum mal_limit_goal goal);

/* Of `most_bytes` that a cache may hold without a limit, what it may hold now. */
uint64_t mal_limit_share_now(uint64_t most_bytes);

/* ---- the arithmetic; pure ---- */

/* No limit has no goal. */
uint64_t mal_limit_goal_of(uint64_t limit_bytes, enum mal_limit_goal goal);

/* What an allocating thread is to give back: what is beyond the limit, and a little more (1/64 of
 * the limit, at most 1 MiB), so that the next one need not begin anew. 0 while the limit is kept.
 */
uint64_t mal_limit_relief_of(uint64_t limit_bytes, uint64_t ready_bytes);

/* All of `most_bytes` up to 7/8 of the limit, nothing from the limit on, evenly less between, in 64
 * steps. At most 2^57 bytes, or of whatever else a cache is counted in. */
uint64_t mal_limit_share_of(uint64_t limit_bytes, uint64_t ready_bytes, uint64_t most_bytes);

/* How long allocating threads leave it after a relief that took `spent_ns`: as long, when it
 * brought what was wanted, so that at most half of the time goes there; else nine times as long and
 * 5 ms at least, so that a program that simply needs more than its limit loses a tenth at most. */
uint64_t mal_limit_quiet_of(uint64_t spent_ns, uint64_t wanted_bytes, uint64_t released_bytes);

/* What a relief may take: 2 ms, and a nanosecond for each byte wanted that is new, which is what
 * its first touch costs. What was in excess before was paid for then, and is the background's. */
uint64_t mal_limit_relief_ns_of(uint64_t wanted_bytes, uint64_t standing_bytes);

/* What the background may spend of a round, in nanoseconds: what it has saved, or above the limit a
 * quarter of the round, as much as Go's collector takes, while that brings something: `yield_bytes`
 * is what the round before brought, UINT64_MAX if that one was within the limit. */
uint64_t mal_limit_round_budget_of(uint64_t round_ns, uint64_t saved_ns, uint64_t over_bytes,
                                   uint64_t yield_bytes);

/* What is saved after a round of which `spent_ns` were used: one part in a hundred of each round,
 * up to ten rounds' worth. */
uint64_t mal_limit_saved_of(uint64_t round_ns, uint64_t saved_ns, uint64_t spent_ns);

/* ---- one relief at a time ---- */

/* True for the one thread that may give memory back now: nobody else is at it, and the last time is
 * long enough ago. It ends what it began. */
bool mal_limit_begin_relief(uint64_t now_ns);
void mal_limit_end_relief(uint64_t end_ns, uint64_t quiet_ns, uint64_t left_bytes);

/* What a relief did not bring, or what a new limit found beyond itself: of the excess there is now,
 * so much is old. Relaxed. */
uint64_t mal_limit_standing_bytes(void);

/* In a forked child nobody is at it. */
void mal_limit_forget_in_child(void);

#endif
