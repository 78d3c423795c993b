/* SPDX-License-Identifier: Apache-2.0
 *
 * Keeps the collector from eating more than half of the CPU when memory is short: Go 1.19's leaky
 * bucket, but with CPU time that was measured. Arithmetic only; times are arguments.
 *
 *     0 <= fill_ns <= capacity_ns = 1 s * cpus
 *     limiting  <=>  the bucket was full at the last update and has not lost anything since
 */
#ifndef MAL_GC_LIMITER_H
#define MAL_GC_LIMITER_H

#include <stdbool.h>
#include <stdint.h>

/* How old the account may get while a cycle runs. */
#define MAL_GC_LIMITER_PERIOD_NS UINT64_C(10000000)

struct mal_gc_limiter {
    uint64_t fill_ns, capacity_ns; /* owner's lock, like all that says nothing else */
    uint64_t overflow_ns;          /* what did not fit, since the beginning */
    uint64_t limited_cycles;       /* times that limiting began */
    uint32_t is_limiting;          /* relaxed atomic; owner writes, anybody reads */
    uint64_t assist_ns;            /* relaxed atomic; added by anybody, taken by update */
};

void mal_gc_limiter_init(struct mal_gc_limiter *limiter, unsigned cpus);

/* Time of the program's threads spent on assists and on giving memory back for the limit. */
void mal_gc_limiter_add_assist(struct mal_gc_limiter *limiter, uint64_t ns);
/* Settles the account: before each stop of the world, and at least every MAL_GC_LIMITER_PERIOD_NS
 * while marking, for what overflows between two updates is beyond the half. Both are CPU time since
 * the last settlement: of the program's threads, assists included, and the plan's share while
 * marking. */
void mal_gc_limiter_update(struct mal_gc_limiter *limiter, uint64_t program_ns,
                           uint64_t background_ns);
/* After each stop: what it took, and took away, of all CPUs' time. */
void mal_gc_limiter_charge_stop(struct mal_gc_limiter *limiter, uint64_t cpu_ns);

/* No assists, and no giving back of memory for the sake of the limit. Any thread. */
bool mal_gc_limiter_is_limiting(const struct mal_gc_limiter *limiter);

#endif
