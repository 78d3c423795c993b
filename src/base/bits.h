/* SPDX-License-Identifier: Apache-2.0
 *
 * Arithmetic on powers of two and words. All pure; sizes must not overflow unless said.
 */
#ifndef MAL_BASE_BITS_H
#define MAL_BASE_BITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline bool mal_is_pow2(uint64_t x) {
    return x != 0 && (x & (x - 1)) == 0;
}

/* `unit` is a power of two; x + unit - 1 must not overflow. */
static inline uint64_t mal_round_up(uint64_t x, uint64_t unit) {
    return (x + unit - 1) & ~(unit - 1);
}

static inline uint64_t mal_round_down(uint64_t x, uint64_t unit) {
    return x & ~(unit - 1);
}

static inline uint64_t mal_ceil_div(uint64_t x, uint64_t by) {
    return (x + by - 1) / by;
}

/* Set bits. The builtin is a call where the processor is not known to have an instruction for it.
 */
static inline unsigned mal_popcount(uint64_t x) {
    x -= x >> 1 & 0x5555555555555555ull;
    x = (x & 0x3333333333333333ull) + (x >> 2 & 0x3333333333333333ull);
    x = (x + (x >> 4)) & 0x0f0f0f0f0f0f0f0full;
    return (unsigned)(x * 0x0101010101010101ull >> 56);
}

/* Position of the highest set bit; x is not 0. */
static inline unsigned mal_log2_floor(uint64_t x) {
    return 63u - (unsigned)__builtin_clzll(x);
}

static inline uint64_t mal_pow2_ceil(uint64_t x) {
    return x <= 1 ? 1 : 1ull << (mal_log2_floor(x - 1) + 1);
}

static inline uint64_t mal_min(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

static inline uint64_t mal_max(uint64_t a, uint64_t b) {
    return a > b ? a : b;
}

static inline uint64_t mal_clamp(uint64_t x, uint64_t low, uint64_t high) {
    return mal_min(mal_max(x, low), high);
}

/* A difference of counts that were read one after the other: 0 where it came out negative. */
static inline uint64_t mal_not_negative(uint64_t difference) {
    return (int64_t)difference < 0 ? 0 : difference;
}

static inline uint64_t mal_rotate_right(uint64_t x, unsigned by) {
    return (x >> by) | (x << (64 - by));
}

/* A word with bits [from, from + count) set; from < 64, 1 <= count <= 64 - from. */
static inline uint64_t mal_mask(unsigned from, unsigned count) {
    return (~0ull >> (64 - count)) << from;
}

/* Stafford's mix of splitmix64: every input bit reaches every output bit. */
static inline uint64_t mal_mix(uint64_t x) {
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
    return x ^ (x >> 31);
}

#endif
