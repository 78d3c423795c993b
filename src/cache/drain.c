/* SPDX-License-Identifier: Apache-2.0
 *
 * Per-CPU caches: what goes back.
 *
 * Holds the ways down that no free takes: of a CPU that lies idle, before the heap grows, and under
 * the memory limit. Path up: none. Path down: a class's capacity is taken back, then its objects go
 * to the central list, a batch at a time; when nothing is left in an idle slab, its slots go back
 * to the OS. Capacity that went unused for a whole tick is taken back: a class's header counts its
 * pops, so one that is what it was at the last look was not used.
 *
 * SYNCHRONIZATION
 *   1. Headers and slots: restartable sequences, hence by threads on that CPU only, or the slab's
 *      lock in lock mode. Whoever is moved elsewhere pops nothing more, releases nothing, and
 *      leaves every class the capacity for what it holds.
 *   2. `limit`, `seen`, `touched`: the slab's lock (rank CPU_CACHE), in both modes.
 *   3. The per-class counters are relaxed atomics.
 *
 * Must never touch an object, and never hold a slab's lock while giving to the central list.
 */
#include "cache/cache_private.h"

#include "base/bits.h"
#include "central/central.h"
#include "os/vm.h"

/* False once the thread has been moved elsewhere. */
static bool reaches(unsigned cpu) {
    return mal_slabs.mode == MAL_PERCPU_LOCK || mal_percpu_current() == (int)cpu;
}

/* Objects of the slab of `cpu`; none once it is out of reach. */
static size_t pop_many_of(struct mal_slab *slab, unsigned cpu, uint32_t class, void **ret_objects,
                          size_t most) {
    if (!reaches(cpu))
        return 0;
    if (mal_slabs.mode == MAL_PERCPU_RSEQ)
        return mal_percpu_pop_many(class, mal_slabs.first_slot[class], ret_objects, most);
    mal_lock(&slab->lock);
    size_t count = mal_cache_pop_many_locked(slab, class, ret_objects, most);
    mal_unlock(&slab->lock);
    return count;
}

static void drain_class(struct mal_slab *slab, unsigned cpu, uint32_t class) {
    void *objects[MAL_CENTRAL_BATCH_MAX];
    size_t count;
    do {
        mal_cache_announce(&mal_cache_counters[class].drained, MAL_CENTRAL_BATCH_MAX);
        count = pop_many_of(slab, cpu, class, objects, MAL_CENTRAL_BATCH_MAX);
        mal_sub_relaxed(&mal_cache_counters[class].drained, MAL_CENTRAL_BATCH_MAX - count);
        if (count > 0)
            mal_central_give(class, objects, count);
    } while (count == MAL_CENTRAL_BATCH_MAX);
}

/* Whether the class holds something here, or may. */
static bool holds_locked(struct mal_slab *slab, uint32_t class) {
    return mal_slab_capacity(slab, class) > 0 || mal_slab_objects_in(slab, class) > 0;
}

/* Takes the class's capacity; false where its objects could not be taken then. */
static bool forbid_locked(struct mal_slab *slab, unsigned cpu, uint32_t class) {
    if (!reaches(cpu) || !holds_locked(slab, class))
        return false;
    mal_slab_set_capacity_locked(slab, class, 0);
    return true;
}

/* What a thread that was moved away in the middle left behind counts as granted again; else others
 * would be granted its bytes too. */
static void settle_rest(struct mal_slab *slab, unsigned cpu, uint32_t class) {
    if (reaches(cpu))
        return;
    mal_lock(&slab->lock);
    mal_slab_fit_capacity_locked(slab, class);
    mal_unlock(&slab->lock);
}

/* Notes the class's header; true when nothing has happened since it was last noted. */
static bool note_idle_locked(struct mal_slab *slab, uint32_t class, enum mal_drain drain) {
    uint64_t header = mal_load_relaxed(&slab->header[class]);
    bool idle = slab->seen[drain][class] == header;
    slab->seen[drain][class] = header;
    return idle;
}

static bool is_empty_locked(struct mal_slab *slab) {
    for (uint32_t class = 1; class < MAL_CLASS_COUNT; class ++)
        if (holds_locked(slab, class))
            return false;
    return true;
}

/* Gives back the slots of a slab that lies idle. They are dead storage, and a bottom word that
 * reads as zero is what it was: nothing can be lost while nothing is pushed. Whoever begins a push
 * finds no capacity, and gets none without the lock; whoever had begun one before the limits fell
 * was on this CPU, and is restarted since this thread runs here now. Elsewhere this must not be
 * done. */
static void release_slots(struct mal_slab *slab, unsigned cpu) {
    size_t first = mal_round_up(mal_slabs.first_slot[1] * sizeof(uint64_t), mal_vm_page_bytes());
    mal_lock(&slab->lock);
    if (reaches(cpu) && mal_slab_resident_bytes(slab) > first && is_empty_locked(slab) &&
        mal_vm_release((char *)slab + first, MAL_SLAB_BYTES - first) == 0)
        mal_slab_untouch_locked(slab);
    mal_unlock(&slab->lock);
}

void mal_cache_drain_cpu(unsigned cpu, enum mal_drain drain) {
    struct mal_slab *slab = mal_slab_of(cpu);
    if (!mal_cache_cpu_is_populated(cpu))
        return;
    for (uint32_t class = 1; class < MAL_CLASS_COUNT; class ++) {
        mal_shelf_drain(cpu, class, drain);
        mal_lock(&slab->lock);
        bool due = drain == MAL_DRAIN_ALL || note_idle_locked(slab, class, drain);
        bool wanted = due && forbid_locked(slab, cpu, class);
        mal_unlock(&slab->lock);
        if (!wanted)
            continue;
        drain_class(slab, cpu, class);
        settle_rest(slab, cpu, class);
    }
    if (drain == MAL_DRAIN_IDLE)
        release_slots(slab, cpu);
}

static void drain_my_cpu(enum mal_drain drain) {
    int cpu = mal_cache_my_cpu();
    if (cpu >= 0)
        mal_cache_drain_cpu((unsigned)cpu, drain);
}

void mal_cache_drain_here(void) {
    drain_my_cpu(MAL_DRAIN_ALL);
}

void mal_cache_drain_for_growth(void) {
    drain_my_cpu(MAL_DRAIN_FOR_GROWTH);
}

void mal_cache_keep_limit(void) {
    if (mal_central_is_over_limit())
        mal_central_relieve(mal_cache_drain_here);
}
