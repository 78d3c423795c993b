/* SPDX-License-Identifier: Apache-2.0
 *
 * Per-CPU caches: the slabs.
 *
 * Holds one slab per CPU (os/percpu.h has the layout and the proof of the fast half). Here are the
 * control words of a slab: which capacity each class has been granted, out of one budget of bytes
 * per CPU, and which of its pages may be resident.
 *
 * Path up: a class that finds its stack empty, or full, is granted more capacity if the budget
 * allows, or takes some from a class that does not use it. So the number of cached bytes is bounded
 * by CPUs times the budget, however many threads there are.
 *
 * Path down: capacity is taken from classes that hold less than they may, here for another class,
 * in drain.c for nobody.
 *
 * SYNCHRONIZATION
 *   1. Headers and slots: restartable sequences of threads on that CPU, or `lock` in lock mode.
 *   2. Everything else in a slab: its lock (rank CPU_CACHE), in both modes. A push that races with
 *      a smaller limit may overshoot it by what was in flight on another CPU
 *      (mal_slab_fit_capacity_locked); limits are bounds of policy, and the slots up to the class's
 *      end always exist.
 *   3. Which slabs are in use: `setup_lock` (rank CPU_SLABS). A slab is set up, and its lock taken
 *      for the first time, once its bit says so; the others' pages are not even read, since that
 *      would cost page tables for all CPUs that the kernel may ever have.
 *   4. fork holds `setup_lock` and the lock of every slab in use; nobody else ever holds two.
 *
 * Must never touch an object or a slot, and never ask the central list for one.
 */
#include "cache/cache_private.h"

#include "base/bits.h"
#include "base/check.h"
#include "central/central.h"
#include "os/vm.h"

#include <errno.h>

#define FIRST_BYTES 4096u /* a class's first capacity */
#define STEAL_TRIES 8u
#define SHARED_SLABS 4u /* where there is no room for one per CPU */

struct mal_slabs mal_slabs;

static struct mal_lock setup_lock = MAL_LOCK_INIT(MAL_RANK_CPU_SLABS);
static uint64_t populated[MAL_PERCPU_CPUS_MAX / 64]; /* rule 3; acquire readers */

/* Lays the classes' slots out one behind the other. */
static void lay_out_slots(void) {
    uint32_t next = sizeof(struct mal_slab) / sizeof(uint64_t);
    for (uint32_t class = 1; class < MAL_CLASS_COUNT; class ++) {
        mal_slabs.first_slot[class] = (uint16_t)next;
        next += 1u + mal_class[class].cache_limit;
    }
    MAL_CHECK(next <= MAL_SLAB_BYTES / sizeof(uint64_t), "the classes' slots fit one slab");
}

/* Slabs -1 and -2, the CPUs of threads without registration, stay zero for ever: os/percpu.h. */
static size_t bytes_of_slabs(unsigned cpus) {
    return (size_t)(cpus + 2) * MAL_SLAB_BYTES;
}

static char *map_slabs(unsigned cpus) {
    char *slabs = mal_vm_map(bytes_of_slabs(cpus));
    return slabs ? slabs + 2 * MAL_SLAB_BYTES : NULL;
}

/* Where a slab per CPU would take more than a quarter of a limited address space, a few are shared
 * by all CPUs under their locks. */
int mal_cache_init(enum mal_percpu_mode mode) {
    mal_slabs.mode = mode;
    mal_slabs.cpus = mal_percpu_possible_cpus();
    lay_out_slots();
    char *slabs = NULL;
    if (bytes_of_slabs(mal_slabs.cpus) <= mal_vm_address_limit_bytes() / 4)
        slabs = map_slabs(mal_slabs.cpus);
    if (!slabs) {
        mal_slabs.mode = MAL_PERCPU_LOCK;
        mal_slabs.cpus = (unsigned)mal_min(mal_slabs.cpus, SHARED_SLABS);
        slabs = map_slabs(mal_slabs.cpus);
    }
    if (!slabs)
        return -ENOMEM;
    mal_percpu_init(slabs, mal_slabs.mode);
    return 0;
}

enum mal_percpu_mode mal_cache_mode(void) {
    return mal_slabs.mode;
}

unsigned mal_cache_cpus(void) {
    return mal_slabs.cpus;
}

bool mal_cache_cpu_is_populated(unsigned cpu) {
    return mal_load_acquire(&populated[cpu / 64]) >> cpu % 64 & 1;
}

unsigned mal_cache_next_cpu(unsigned cpu) {
    while (cpu < mal_slabs.cpus) {
        uint64_t bits = mal_load_acquire(&populated[cpu / 64]) >> cpu % 64;
        if (bits != 0)
            return cpu + (unsigned)__builtin_ctzll(bits);
        cpu = (cpu | 63) + 1;
    }
    return mal_slabs.cpus;
}

/* Words from `first` to before `end` are going to be written. */
static void touch_locked(struct mal_slab *slab, uint64_t first, uint64_t end) {
    uint64_t page = first * sizeof(uint64_t) / mal_vm_page_bytes();
    uint64_t last = (end * sizeof(uint64_t) - 1) / mal_vm_page_bytes();
    for (; page <= last; page++)
        mal_store_relaxed(&slab->touched[page / 64], slab->touched[page / 64] | 1ull << page % 64);
}

/* Nothing is resident but what lies below the first slot, and in its page. */
void mal_slab_untouch_locked(struct mal_slab *slab) {
    for (unsigned word = 0; word < MAL_COUNT_OF(slab->touched); word++)
        mal_store_relaxed(&slab->touched[word], 0);
    touch_locked(slab, 0, mal_slabs.first_slot[1]);
}

/* Headers before limits: the proof in os/percpu.h needs that order. */
static void lay_out(struct mal_slab *slab) {
    mal_lock_init(&slab->lock, MAL_RANK_CPU_CACHE);
    mal_slab_untouch_locked(slab);
    for (uint32_t class = 1; class < MAL_CLASS_COUNT; class ++)
        mal_store_relaxed(&slab->header[class], (uint64_t)mal_slabs.first_slot[class]);
    for (uint32_t class = 1; class < MAL_CLASS_COUNT; class ++)
        mal_store_release(&slab->limit[class], mal_slabs.first_slot[class]);
}

static void populate(struct mal_slab *slab, unsigned cpu) {
    mal_lock(&setup_lock);
    if (!slab->populated) {
        lay_out(slab);
        mal_store_release(&slab->populated, 1u);
        mal_store_release(&populated[cpu / 64], populated[cpu / 64] | 1ull << cpu % 64);
    }
    mal_unlock(&setup_lock);
}

static MAL_SLOW struct mal_slab *lock_new(unsigned cpu) {
    populate(mal_slab_of(cpu), cpu);
    return mal_slab_lock(cpu);
}

MAL_SLOW struct mal_slab *mal_slab_lock(unsigned cpu) {
    struct mal_slab *slab = mal_slab_of(cpu);
    if (MAL_UNLIKELY(!mal_load_acquire(&slab->populated)))
        return lock_new(cpu);
    mal_lock(&slab->lock);
    return slab;
}

void mal_slab_set_capacity_locked(struct mal_slab *slab, uint32_t class, uint32_t capacity) {
    slab->granted_bytes -= (uint64_t)mal_slab_capacity(slab, class) * mal_class[class].size_bytes;
    slab->granted_bytes += (uint64_t)capacity * mal_class[class].size_bytes;
    mal_store_release(&slab->limit[class], (uint16_t)(mal_slabs.first_slot[class] + capacity));
}

/* Makes the capacity what the class holds. It may have grown between the look and the new limit,
 * without bound where this thread was preempted there: whoever comes after the new limit is held by
 * it, so a second look knows all but an operation that is under way on another CPU. Objects above
 * the limit, from an earlier one of these, are granted what they take. */
void mal_slab_fit_capacity_locked(struct mal_slab *slab, uint32_t class) {
    uint32_t held = mal_slab_objects_in(slab, class);
    if (held == mal_slab_capacity(slab, class))
        return;
    mal_slab_set_capacity_locked(slab, class, held);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (mal_slab_objects_in(slab, class) > held)
        mal_slab_set_capacity_locked(slab, class, mal_slab_objects_in(slab, class));
}

static bool fits_budget(const struct mal_slab *slab, uint64_t bytes) {
    return slab->granted_bytes + bytes <= mal_central_share(MAL_CACHE_BUDGET_BYTES);
}

/* Takes capacity that holds no object from the next few classes other than `taker`, until `bytes`
 * fit the budget. */
static void steal_locked(struct mal_slab *slab, uint32_t taker, uint64_t bytes) {
    for (unsigned tries = 0; tries < STEAL_TRIES && !fits_budget(slab, bytes); tries++) {
        slab->hand = slab->hand % (MAL_CLASS_COUNT - 1) + 1;
        if (slab->hand != taker)
            mal_slab_fit_capacity_locked(slab, slab->hand);
    }
}

/* A class starts with FIRST_BYTES worth of objects and doubles up to steps of a whole batch: one
 * that is used a little holds a little. */
static uint32_t growth_of(const struct mal_class_info *info, uint32_t capacity) {
    uint64_t first = mal_max(FIRST_BYTES / info->size_bytes, 2);
    uint64_t step = mal_min(mal_max(capacity, first), info->batch);
    return (uint32_t)mal_min(step, info->cache_limit - capacity);
}

/* Grants a class more where its own limit and the budget allow. */
MAL_SLOW bool mal_slab_grow_locked(struct mal_slab *slab, uint32_t class) {
    const struct mal_class_info *info = &mal_class[class];
    uint32_t capacity = mal_slab_capacity(slab, class);
    uint32_t more = growth_of(info, capacity);
    uint64_t bytes = (uint64_t)more * info->size_bytes;
    if (more == 0)
        return false;
    steal_locked(slab, class, bytes);
    if (!fits_budget(slab, bytes))
        return false;
    uint64_t first = mal_slabs.first_slot[class];
    touch_locked(slab, first, first + 1u + capacity + more);
    mal_slab_set_capacity_locked(slab, class, capacity + more);
    return true;
}

static uint64_t held_by_fork[MAL_PERCPU_CPUS_MAX / 64]; /* guarded by fork's own order */

void mal_cache_before_fork(void) {
    mal_lock(&setup_lock);
    MAL_FOR_EACH_CACHE (cpu) {
        mal_lock(&mal_slab_of(cpu)->lock);
        mal_lock_note_released(&mal_slab_of(cpu)->lock);
        held_by_fork[cpu / 64] |= 1ull << (cpu % 64);
    }
}

/* Other libraries' handlers may have set up a slab meanwhile, which nobody locked. */
void mal_cache_after_fork(void) {
    for (unsigned word = 0; word < MAL_COUNT_OF(held_by_fork); word++) {
        for (uint64_t bits = held_by_fork[word]; bits != 0; bits &= bits - 1)
            mal_unlock(&mal_slab_of(word * 64 + (unsigned)__builtin_ctzll(bits))->lock);
        held_by_fork[word] = 0;
    }
    mal_unlock(&setup_lock);
}
