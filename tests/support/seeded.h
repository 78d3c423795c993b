/* SPDX-License-Identifier: Apache-2.0
 *
 * Random numbers that can be had again: every test draws from one seed, MAL_TEST_SEED or the
 * test's own, and a check that fails says which it was.
 */
#ifndef MAL_TESTS_SUPPORT_SEEDED_H
#define MAL_TESTS_SUPPORT_SEEDED_H

#include "base/bits.h"

#include <stdint.h>
#include <stdlib.h>

/* The seed in force; one per test program. */
static uint64_t seeded_seed;

/* Chooses the seed and returns the first state. */
static inline uint64_t seeded_start(uint64_t own_seed) {
    const char *wanted = getenv("MAL_TEST_SEED");
    seeded_seed = wanted ? strtoull(wanted, NULL, 0) : own_seed;
    return seeded_seed;
}

static inline uint64_t seeded_next(uint64_t *state) {
    *state += 0x9e3779b97f4a7c15ull;
    return mal_mix(*state);
}

/* 0 .. limit - 1 */
static inline uint64_t seeded_below(uint64_t *state, uint64_t limit) {
    return seeded_next(state) % limit;
}

/* Sizes as programs ask for them: every power of two as likely as the next, up to 2^bits. */
static inline uint64_t seeded_size(uint64_t *state, unsigned bits) {
    return seeded_next(state) & mal_mask(0, 1 + (unsigned)seeded_below(state, bits));
}

#define assert_seeded(condition)                                                                   \
    do {                                                                                           \
        if (!(condition))                                                                          \
            fail_msg("%s; again with MAL_TEST_SEED=%llu", #condition,                              \
                     (unsigned long long)seeded_seed);                                             \
    } while (0)

#endif
