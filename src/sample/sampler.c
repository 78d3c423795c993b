/* SPDX-License-Identifier: Apache-2.0
 *
 * The mathematics of sampling.
 *
 * Think of the bytes a thread allocates as a line, and of samples as points of a Poisson process on
 * it with one point per R bytes on average (R = the rate). An allocation of S bytes is sampled when
 * at least one point falls into it:
 *
 *     P(sampled) = p = 1 - e^(-S/R)
 *
 * whatever was allocated before, because the process has no memory. So c sampled objects of S bytes
 * stand for c/p real ones: E[c] = n p. That is what readers multiply by, and it needs exactly S,
 * the number of bytes the countdown was charged with, and R, the rate of the draw: both are part of
 * a bucket's key. The variance of c/p is n (1-p)/p, for small objects about n R/S: the relative
 * error of a call site with L live bytes is about sqrt(R/L).
 *
 * A gap between points is exponential: -ln(U) R with U uniform in (0, 1]. Drawn once per sample.
 *
 * The random numbers are xorshift64*: 64 bits of state per thread, seeded from the kernel. log2 is
 * a short series because libm is not ours to load.
 */
#include "sample/sampler.h"

#include "base/bits.h"

#include <string.h>

#define LN2 0.693147180559945309417
#define UNIFORM_BITS 53u

static uint64_t next_random(uint64_t *state) {
    uint64_t x = *state;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    *state = x;
    return x * 0x2545f4914f6cdd1dull;
}

/* x = 2^e m with m in [3/4, 3/2); ln(m) = 2 atanh(t), t = (m-1)/(m+1), and |t| <= 1/5, so that
 * seven odd terms leave an error below 5^-15. The coefficients are constants and the sum is split
 * in two, which are computed side by side: no division waits for another. */
double mal_sampler_log2(double x) {
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    uint64_t is_upper = bits >> 51 & 1; /* 3/2 and more: halved */
    int exponent = (int)(bits >> 52) - 1023 + (int)is_upper;
    bits = (bits & ((1ull << 52) - 1)) | (1023 - is_upper) << 52;
    double mantissa;
    memcpy(&mantissa, &bits, sizeof mantissa);
    double t = (mantissa - 1) / (mantissa + 1);
    double s = t * t;
    double s2 = s * s;
    double even = 1.0 + s2 * (1.0 / 5 + s2 * (1.0 / 9 + s2 * (1.0 / 13)));
    double odd = 1.0 / 3 + s2 * (1.0 / 7 + s2 * (1.0 / 11));
    return exponent + 2 / LN2 * t * (even + s * odd);
}

int64_t mal_sampler_draw(uint64_t *state, uint64_t rate_bytes) {
    if (rate_bytes == 0)
        return INT64_MAX;
    if (rate_bytes == 1)
        return 1;
    double uniform = (double)((next_random(state) >> (64 - UNIFORM_BITS)) + 1); /* 1 .. 2^53 */
    double nats = (UNIFORM_BITS - mal_sampler_log2(uniform)) * LN2;
    return (int64_t)(nats * (double)mal_min(rate_bytes, MAL_RATE_MAX_BYTES)) + 1;
}
