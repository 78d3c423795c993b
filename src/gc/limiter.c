/* SPDX-License-Identifier: Apache-2.0
 *
 * The bucket fills with the collector's CPU time and leaks at the rate of the program's:
 *
 *     total = (now - updated) * cpus
 *     gc    = assists + 25 % of total while marking, or all of total while the world is stopped
 *     fill += gc - (total - idle - gc)
 *
 * so it rises only while the collector gets more than half of the time that anybody wanted. When it
 * is full assists stop, which lets the program allocate beyond its limit rather than stand still.
 * Its capacity is what a burst may take before that.
 *
 * Idle is what nobody wanted, and what is the collector's by leave of that: a program whose only
 * thread waits for the mark while a worker has its CPU to itself got nothing of the other one.
 *
 * SYNCHRONIZATION: the owner's lock guards all but the pool of assists, which anybody adds to and
 * update takes from with a relaxed exchange, and is_limiting, which is advice: a reader may be
 * late.
 *
 * It must never read a clock.
 */
#include "gc/limiter.h"

#include "base/atomic.h"
#include "base/bits.h"

#define CAPACITY_PER_CPU_NS UINT64_C(1000000000)

void mal_gc_limiter_init(struct mal_gc_limiter *limiter, unsigned cpus, uint64_t now_ns) {
    *limiter = (struct mal_gc_limiter){
        .capacity_ns = cpus * CAPACITY_PER_CPU_NS, .cpus = cpus, .updated_ns = now_ns};
}

void mal_gc_limiter_add_assist(struct mal_gc_limiter *limiter, uint64_t ns) {
    mal_add_relaxed(&limiter->assist_ns, ns);
}

static void fill(struct mal_gc_limiter *limiter, uint64_t ns) {
    uint64_t room_ns = limiter->capacity_ns - limiter->fill_ns;
    if (ns < room_ns) {
        limiter->fill_ns += ns;
        return;
    }
    limiter->overflow_ns += ns - room_ns;
    limiter->fill_ns = limiter->capacity_ns;
    limiter->limited_cycles += !limiter->is_limiting;
    mal_store_relaxed(&limiter->is_limiting, 1);
}

static void leak(struct mal_gc_limiter *limiter, uint64_t ns) {
    limiter->fill_ns -= mal_min(ns, limiter->fill_ns);
    mal_store_relaxed(&limiter->is_limiting, 0);
}

static void settle(struct mal_gc_limiter *limiter, uint64_t program_ns, uint64_t gc_ns) {
    if (gc_ns > program_ns)
        fill(limiter, gc_ns - program_ns);
    else if (gc_ns < program_ns)
        leak(limiter, program_ns - gc_ns);
}

/* All CPU time since the last update; the clock may stand still or step back between threads. */
static uint64_t take_total_ns(struct mal_gc_limiter *limiter, uint64_t now_ns) {
    if (now_ns <= limiter->updated_ns)
        return 0;
    uint64_t total_ns = (now_ns - limiter->updated_ns) * limiter->cpus;
    limiter->updated_ns = now_ns;
    return total_ns;
}

void mal_gc_limiter_update(struct mal_gc_limiter *limiter, uint64_t now_ns, uint64_t idle_ns) {
    uint64_t total_ns = take_total_ns(limiter, now_ns);
    if (total_ns == 0)
        return;
    uint64_t gc_ns = __atomic_exchange_n(&limiter->assist_ns, 0, __ATOMIC_RELAXED);
    if (limiter->is_marking)
        gc_ns += total_ns / 4;
    uint64_t wanted_ns = total_ns - mal_min(idle_ns, total_ns);
    settle(limiter, wanted_ns - mal_min(gc_ns, wanted_ns), gc_ns);
}

void mal_gc_limiter_after_stop(struct mal_gc_limiter *limiter, bool is_marking, uint64_t now_ns) {
    limiter->is_marking = is_marking;
    settle(limiter, 0, take_total_ns(limiter, now_ns));
}

bool mal_gc_limiter_is_limiting(const struct mal_gc_limiter *limiter) {
    return mal_load_relaxed(&limiter->is_limiting) != 0;
}
