/* SPDX-License-Identifier: Apache-2.0
 *
 * The memory limit.
 *
 * Holds the limit and the parts of what counts against it, each written by the tier that knows it.
 * Path up: slow paths of allocation ask whether the limit is passed once they have taken memory and
 * before the program can touch it, so giving back then is giving back first. Path down: none; who
 * gives back does so in pageheap/scavenger.c and central/relief.c.
 *
 * SYNCHRONIZATION: all fields are relaxed atomics: a decision made on parts of different moments is
 * off by what moved meanwhile, and the next one makes up for it. `relieving` is taken by exchange
 * and given back with release.
 *
 * Must never keep an allocation from succeeding.
 */
#include "pageheap/limit.h"

#include "base/atomic.h"
#include "base/bits.h"
#include "meta/memory.h"
#include "meta/pagemap.h"

#define GOAL_DIVISOR 20u /* the goal is a twentieth below the limit */
#define AFTER_DIVISOR 2u /* and half of it below where it was passed lately */

/* A relief wants what is too much and a little more, so that it is not wanted again at once. */
#define MORE_DIVISOR 64u /* of the limit */
#define MORE_MOST_BYTES (1u << 20)

#define SHARE_DIVISOR 8u /* caches shrink over the last eighth */
#define SHARE_STEPS 64u

/* What one relief may take of the thread that allocates; and the pause after one that did not bring
 * what it wanted: nine times as long as it took, so a tenth of the time at most. */
#define RELIEF_NS 2000000u
#define RELIEF_NS_PER_BYTE 1u /* of what is new of the excess */
#define FRUITLESS_FACTOR 9u
#define FRUITLESS_LEAST_NS 5000000u

/* Shares of one CPU for the background. */
#define ROUND_SHARE 100u    /* one part in so many of a round */
#define SAVED_ROUNDS 10u    /* what is saved, at most */
#define HARD_ROUND_SHARE 4u /* above the limit */

static uint64_t limit_bytes = MAL_LIMIT_OFF;
static uint64_t page_bytes, hole_bytes, table_bytes; /* the parts that count, by mal_limit_note_* */
static uint32_t relieving;                           /* 1 while somebody is at it */
static uint64_t quiet_until_ns;                      /* monotonic */
static uint64_t standing_bytes;                      /* of the excess */

/* ---- arithmetic ---- */

uint64_t mal_limit_goal_of(uint64_t limit, enum mal_limit_goal goal) {
    if (limit >= MAL_LIMIT_OFF)
        return UINT64_MAX;
    return limit - limit / (goal == MAL_LIMIT_GOAL_USUAL ? GOAL_DIVISOR : AFTER_DIVISOR);
}

uint64_t mal_limit_relief_of(uint64_t limit, uint64_t ready) {
    if (ready <= limit)
        return 0;
    return ready - limit + mal_min(limit / MORE_DIVISOR, MORE_MOST_BYTES);
}

uint64_t mal_limit_share_of(uint64_t limit, uint64_t ready, uint64_t most) {
    uint64_t range = limit / SHARE_DIVISOR;
    if (ready >= limit)
        return 0;
    if (limit - ready >= range)
        return most;
    /* In steps of a range: no product overflows, whatever the limit is. */
    uint64_t steps = mal_min((limit - ready) / mal_max(range / SHARE_STEPS, 1), SHARE_STEPS);
    return most * steps / SHARE_STEPS;
}

uint64_t mal_limit_quiet_of(uint64_t spent_ns, uint64_t wanted, uint64_t released) {
    return released >= wanted ? spent_ns : mal_max(FRUITLESS_FACTOR * spent_ns, FRUITLESS_LEAST_NS);
}

uint64_t mal_limit_relief_ns_of(uint64_t wanted, uint64_t standing) {
    return RELIEF_NS + RELIEF_NS_PER_BYTE * (wanted - mal_min(wanted, standing));
}

uint64_t mal_limit_round_budget_of(uint64_t round_ns, uint64_t saved_ns, uint64_t over_bytes,
                                   uint64_t yield_bytes) {
    bool hard = over_bytes > 0 && yield_bytes >= MAL_LIMIT_YIELD_WORTH_BYTES;
    return hard ? mal_max(round_ns / HARD_ROUND_SHARE, saved_ns) : saved_ns;
}

uint64_t mal_limit_saved_of(uint64_t round_ns, uint64_t saved_ns, uint64_t spent_ns) {
    uint64_t left = saved_ns - mal_min(saved_ns, spent_ns);
    return mal_min(left + round_ns / ROUND_SHARE, SAVED_ROUNDS * (round_ns / ROUND_SHARE));
}

/* ---- what is in force ---- */

uint64_t mal_limit_set(uint64_t bytes) {
    bytes = mal_min(bytes, MAL_LIMIT_OFF);
    mal_store_relaxed(&standing_bytes, mal_limit_relief_of(bytes, mal_limit_ready_bytes()));
    return __atomic_exchange_n(&limit_bytes, bytes, __ATOMIC_RELAXED);
}

uint64_t mal_limit_bytes(void) {
    return mal_load_relaxed(&limit_bytes);
}

void mal_limit_note_pages(uint64_t resident_pages) {
    mal_store_relaxed(&page_bytes, resident_pages << MAL_PAGE_SHIFT);
}

void mal_limit_note_holes(int64_t change) {
    mal_add_relaxed(&hole_bytes, (uint64_t)change);
}

void mal_limit_note_tables(uint64_t bytes) {
    mal_store_relaxed(&table_bytes, bytes);
}

uint64_t mal_limit_holes_bytes(void) {
    return mal_load_relaxed(&hole_bytes);
}

uint64_t mal_limit_ready_bytes(void) {
    uint64_t pages = mal_load_relaxed(&page_bytes);
    uint64_t ready = pages - mal_min(mal_limit_holes_bytes(), pages);
    for (unsigned use = 0; use < MAL_META_USES; use++)
        ready += mal_meta_bytes((enum mal_meta_use)use);
    return ready + mal_load_relaxed(&table_bytes);
}

bool mal_limit_is_passed(void) {
    uint64_t limit = mal_limit_bytes();
    return limit < MAL_LIMIT_OFF && mal_limit_ready_bytes() > limit;
}

uint64_t mal_limit_over_goal_bytes(enum mal_limit_goal goal) {
    uint64_t goal_bytes = mal_limit_goal_of(mal_limit_bytes(), goal);
    uint64_t ready = mal_limit_ready_bytes();
    return ready > goal_bytes ? ready - goal_bytes : 0;
}

uint64_t mal_limit_share_now(uint64_t most_bytes) {
    uint64_t limit = mal_limit_bytes();
    if (limit >= MAL_LIMIT_OFF)
        return most_bytes;
    return mal_limit_share_of(limit, mal_limit_ready_bytes(), most_bytes);
}

/* ---- one at a time ---- */

bool mal_limit_begin_relief(uint64_t now_ns) {
    if (now_ns < mal_load_relaxed(&quiet_until_ns))
        return false;
    return mal_exchange_acquire(&relieving, 1u) == 0;
}

void mal_limit_end_relief(uint64_t end_ns, uint64_t quiet_ns, uint64_t left_bytes) {
    mal_store_relaxed(&standing_bytes, left_bytes);
    mal_store_relaxed(&quiet_until_ns, end_ns + quiet_ns);
    mal_store_release(&relieving, 0u);
}

uint64_t mal_limit_standing_bytes(void) {
    return mal_load_relaxed(&standing_bytes);
}

void mal_limit_forget_in_child(void) {
    mal_store_release(&relieving, 0u);
}
