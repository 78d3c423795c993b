/* SPDX-License-Identifier: Apache-2.0
 *
 * The bucket fills with the collector's CPU time and leaks at the rate of the program's:
 *
 *     gc   = assists + the plan's share + stops
 *     fill += gc - program
 *
 * so it rises only while the collector gets more than half of the time that either took. When it is
 * full assists stop, which lets the program allocate beyond its limit rather than stand still. Its
 * capacity is what a burst may take before that.
 *
 * All of it is CPU time that was measured. Go takes time for all CPUs: a quarter of it while
 * marking, and all of it in a stop. That is the same where CPUs are to be had. Where other programs
 * have them, or a quota froze the process in the middle of a stop, such time passes without anybody
 * working: a process with a third of a CPU was found to collect too much, at 10 % of its time, and
 * grew to four times its goal.
 *
 * Beyond the plan's share idle workers are on neither side: they have what nobody wanted. So is a
 * thread that waits for the mark.
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

void mal_gc_limiter_init(struct mal_gc_limiter *limiter, unsigned cpus) {
    *limiter = (struct mal_gc_limiter){.capacity_ns = cpus * CAPACITY_PER_CPU_NS};
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

void mal_gc_limiter_update(struct mal_gc_limiter *limiter, uint64_t program_ns,
                           uint64_t background_ns) {
    uint64_t assist_ns = __atomic_exchange_n(&limiter->assist_ns, 0, __ATOMIC_RELAXED);
    settle(limiter, program_ns - mal_min(assist_ns, program_ns), assist_ns + background_ns);
}

void mal_gc_limiter_charge_stop(struct mal_gc_limiter *limiter, uint64_t cpu_ns) {
    settle(limiter, 0, cpu_ns);
}

bool mal_gc_limiter_is_limiting(const struct mal_gc_limiter *limiter) {
    return mal_load_relaxed(&limiter->is_limiting) != 0;
}
