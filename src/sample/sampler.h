/* SPDX-License-Identifier: Apache-2.0
 *
 * Which allocations are sampled.
 */
#ifndef MAL_SAMPLE_SAMPLER_H
#define MAL_SAMPLE_SAMPLER_H

#include <stdint.h>

#define MAL_RATE_DEFAULT_BYTES 524288u
#define MAL_RATE_MAX_BYTES 0x70000000u

/* Bytes until the next sample at the given mean: exponential, at least 1. Rate 0 gives INT64_MAX,
 * rate 1 gives 1. Advances *state, which must not be 0. Pure otherwise. */
int64_t mal_sampler_draw(uint64_t *state, uint64_t rate_bytes);

/* log2(x) for x >= 1, within 2^-30 of the truth. Pure. */
double mal_sampler_log2(double x);

#endif
