/* SPDX-License-Identifier: Apache-2.0
 *
 * Per-CPU caches: the slow half of malloc and free.
 *
 * Holds what happens when a class's stack is empty or full; the stacks themselves are in slabs
 * (cache_private.h).
 *
 * Path up, after a pop failed: fetch a batch from the central list, hand out its first object, push
 * the rest. Path down, after a push failed: have the class granted more capacity; else pop a batch,
 * return it to the central list, and push again.
 *
 * SYNCHRONIZATION
 *   1. Headers and slots: restartable sequences of threads on that CPU, or the slab's lock in lock
 *      mode. Nothing here relies on staying on a CPU: which one it is, is a hint.
 *   2. The slab's lock (rank CPU_CACHE) where a class grows.
 *   3. The per-class counters are relaxed atomics.
 *
 * Must never touch an object, and never hold a slab's lock while asking the central list.
 */
#include "cache/cache_private.h"

#include "base/bits.h"
#include "central/central.h"

/* The slot at a word index. */
static void **slot_at(struct mal_slab *slab, uint64_t word) {
    return (void **)(void *)slab + word;
}

static void *pop_locked(struct mal_slab *slab, uint32_t class) {
    uint64_t header = slab->header[class];
    void *object = *slot_at(slab, mal_slab_header_top(header));
    if (object)
        mal_store_relaxed(&slab->header[class], header - 1 + MAL_SLAB_POP_UNIT);
    return object;
}

static bool push_locked(struct mal_slab *slab, uint32_t class, void *object) {
    uint64_t header = slab->header[class];
    if (mal_slab_header_top(header) >= slab->limit[class])
        return false;
    *slot_at(slab, mal_slab_header_top(header) + 1) = object;
    mal_store_relaxed(&slab->header[class], header + 1);
    return true;
}

/* A top of 0 belongs to a slab that is not set up yet, whose word 0 is 0 as well. */
static void *pop_anyhow(uint32_t class) {
    if (mal_slabs.mode == MAL_PERCPU_RSEQ)
        return mal_percpu_pop(class);
    struct mal_slab *slab = mal_slab_lock(mal_percpu_ask_kernel(mal_slabs.cpus));
    void *object = pop_locked(slab, class);
    mal_unlock(&slab->lock);
    return object;
}

static bool push_anyhow(uint32_t class, void *object) {
    if (mal_slabs.mode == MAL_PERCPU_RSEQ)
        return mal_percpu_push(class, object);
    struct mal_slab *slab = mal_slab_lock(mal_percpu_ask_kernel(mal_slabs.cpus));
    bool pushed = push_locked(slab, class, object);
    mal_unlock(&slab->lock);
    return pushed;
}

size_t mal_cache_pop_many_locked(struct mal_slab *slab, uint32_t class, void **ret_objects,
                                 size_t most) {
    uint64_t header = slab->header[class];
    size_t count = mal_min(most, mal_slab_objects_below(header, class));
    for (size_t i = 0; i < count; i++)
        ret_objects[i] = *slot_at(slab, mal_slab_header_top(header) - i);
    mal_store_relaxed(&slab->header[class], header + count * (MAL_SLAB_POP_UNIT - 1));
    return count;
}

static size_t pop_many_anyhow(uint32_t class, void **ret_objects, size_t most) {
    if (mal_slabs.mode == MAL_PERCPU_RSEQ)
        return mal_percpu_pop_many(class, mal_slabs.first_slot[class], ret_objects, most);
    struct mal_slab *slab = mal_slab_lock(mal_percpu_ask_kernel(mal_slabs.cpus));
    size_t count = mal_cache_pop_many_locked(slab, class, ret_objects, most);
    mal_unlock(&slab->lock);
    return count;
}

/* Pushes so that the first object is on top. Returns how many did not go in: the first ones. */
static size_t push_many_anyhow(uint32_t class, void *const *objects, size_t count) {
    if (mal_slabs.mode == MAL_PERCPU_RSEQ && mal_percpu_push_many(class, objects, count))
        return 0;
    while (count > 0 && push_anyhow(class, objects[count - 1]))
        count--;
    return count;
}

/* What a class has been granted here, without the lock: a hint, 0 for a slab that is not set up. */
static uint32_t capacity_hint(int cpu, uint32_t class) {
    uint32_t limit = mal_load_relaxed(&mal_slab_of((unsigned)cpu)->limit[class]);
    return limit == 0 ? 0 : limit - mal_slabs.first_slot[class];
}

static bool grow_here(uint32_t class) {
    int cpu = mal_cache_my_cpu();
    if (cpu < 0 || capacity_hint(cpu, class) >= mal_class[class].cache_limit)
        return false;
    struct mal_slab *slab = mal_slab_lock((unsigned)cpu);
    bool grown = mal_slab_grow_locked(slab, class);
    mal_unlock(&slab->lock);
    return grown;
}

/* How many objects to move at once: as many as the class has capacity for, at most a batch. An
 * empty cache grows first, so that what is fetched can be kept. */
static size_t objects_to_fetch(uint32_t class) {
    int cpu = mal_cache_my_cpu();
    if (cpu < 0)
        return 1;
    uint32_t capacity = capacity_hint(cpu, class);
    if (capacity < mal_class[class].batch && grow_here(class))
        capacity = capacity_hint(cpu, class);
    return mal_clamp(capacity, 1, mal_class[class].batch);
}

static size_t objects_to_drain(uint32_t class) {
    int cpu = mal_cache_my_cpu();
    uint64_t half = cpu < 0 ? 0 : (capacity_hint(cpu, class) + 1) / 2;
    return mal_clamp(half, 1, mal_class[class].batch);
}

/* The first on top: a stack hands them out in the order they came in, which is that of addresses
 * for a new span and that of their frees for used ones. Programs walk memory in that order. */
static void push_rest(uint32_t class, void **objects, size_t count) {
    mal_cache_announce(&mal_cache_counters[class].filled, count);
    size_t left = push_many_anyhow(class, objects, count);
    if (left == 0)
        return;
    mal_sub_relaxed(&mal_cache_counters[class].filled, left);
    mal_central_give(class, objects, left);
}

/* A batch from the central list; the first object is the caller's. */
static MAL_SLOW void *fetch(uint32_t class) {
    void *batch[MAL_CENTRAL_BATCH_MAX];
    size_t got = mal_central_take(class, batch, objects_to_fetch(class));
    if (got == 0)
        return NULL;
    mal_add_relaxed(&mal_cache_counters[class].direct_allocs, 1);
    mal_cache_keep_limit();
    if (got > 1)
        push_rest(class, batch + 1, got - 1);
    return batch[0];
}

void *mal_cache_alloc_slow(uint32_t class) {
    void *object = mal_slabs.mode == MAL_PERCPU_LOCK ? pop_anyhow(class) : NULL;
    return object ? object : fetch(class);
}

static void drain_batch(uint32_t class) {
    void *objects[MAL_CENTRAL_BATCH_MAX];
    size_t wanted = objects_to_drain(class);
    mal_cache_announce(&mal_cache_counters[class].drained, wanted);
    size_t count = pop_many_anyhow(class, objects, wanted);
    if (count < wanted)
        mal_sub_relaxed(&mal_cache_counters[class].drained, wanted - count);
    if (count > 0)
        mal_central_give(class, objects, count);
}

void mal_cache_free_slow(uint32_t class, void *object) {
    if (mal_slabs.mode == MAL_PERCPU_LOCK && push_anyhow(class, object))
        return;
    if (!grow_here(class))
        drain_batch(class);
    if (push_anyhow(class, object))
        return;
    mal_add_relaxed(&mal_cache_counters[class].direct_frees, 1);
    mal_central_give(class, &object, 1);
}
