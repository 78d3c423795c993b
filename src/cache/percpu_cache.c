/* SPDX-License-Identifier: Apache-2.0
 *
 * Per-CPU caches: the slow half.
 *
 * Holds one slab per CPU (os/percpu.h has the layout and the proof of the fast half). Here are the
 * control words of a slab: which capacity each class has been granted, out of one budget of bytes
 * per CPU, and what each class's header was when it was last looked at for being idle.
 *
 * Path up, after a pop failed: fetch a batch from the central list, hand out its first object, push
 * the rest. Path down, after a push failed: grant the class more capacity if the budget allows, or
 * take some from a class that does not use it; else pop a batch, return it to the central list, and
 * push again. So the number of cached bytes is bounded by CPUs times the budget, however many
 * threads there are. Capacity that went unused for a whole tick is taken back.
 *
 * SYNCHRONIZATION
 *   1. Headers and slots: restartable sequences of threads on that CPU, or `lock` in lock mode.
 *   2. `limit`, `granted_bytes`, `seen`, `hand`, `touched`, `populated`: the slab's lock (rank
 * CPU_CACHE), in both modes. A push that races with a smaller limit may overshoot it by what was in
 * flight on another CPU (fit_capacity_locked); limits are bounds of policy, and the slots up to the
 *      class's end always exist.
 *   3. The per-class counters are relaxed atomics.
 *
 * Must never touch an object, and never hold a slab's lock while asking the central list.
 */
#include "cache/percpu_cache.h"

#include "base/atomic.h"
#include "base/bits.h"
#include "base/check.h"
#include "central/central.h"
#include "meta/classes.h"
#include "meta/memory.h"
#include "os/lock.h"
#include "os/vm.h"

#include <errno.h>

#define FIRST_BYTES 4096u /* a class's first capacity */
#define STEAL_TRIES 8u
#define CPUS_MAX 8192u         /* the kernel's own limit */
#define SHARED_SLABS 4u        /* where there is no room for one per CPU */
#define PAGE_BYTES_LEAST 4096u /* of an OS page */

struct slab {
    uint64_t header[MAL_SLAB_CLASSES]; /* rule 1 */
    uint16_t limit[MAL_SLAB_CLASSES];  /* rule 2; read by the fast path */
    struct mal_lock lock;
    uint32_t populated;
    uint32_t hand; /* next class to look at for unused capacity */
    uint64_t touched[MAL_SLAB_BYTES / PAGE_BYTES_LEAST / 64]; /* bit i: OS page i may be resident */
    uint64_t granted_bytes;
    uint64_t seen[MAL_DRAIN_ALL][MAL_SLAB_CLASSES]; /* headers at the last drain of each kind */
    /* slots follow */
};

_Static_assert(offsetof(struct slab, limit) == MAL_SLAB_LIMIT_OFFSET, "the fast path relies on it");
_Static_assert(MAL_CLASS_COUNT <= MAL_SLAB_CLASSES, "every class has a header");

struct class_counters {
    MAL_LINE_ALIGNED uint64_t direct_allocs; /* objects that went past the cache to the program */
    uint64_t direct_frees;                   /* objects that came back past the cache */
    uint64_t filled;                         /* pushes that were not frees */
    uint64_t drained;                        /* pops that were not mallocs */
};

static struct {
    enum mal_percpu_mode mode;             /* constant after init */
    unsigned cpus;                         /* constant after init */
    uint16_t first_slot[MAL_SLAB_CLASSES]; /* the zero word below each class's slots; constant */
} cache;
static struct class_counters counters[MAL_CLASS_COUNT]; /* rule 3 */

/* Lays the classes' slots out one behind the other. */
static void lay_out_slots(void) {
    uint32_t next = sizeof(struct slab) / sizeof(uint64_t);
    for (uint32_t class = 1; class < MAL_CLASS_COUNT; class ++) {
        cache.first_slot[class] = (uint16_t)next;
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
    cache.mode = mode;
    cache.cpus = mal_percpu_possible_cpus();
    lay_out_slots();
    char *slabs = NULL;
    if (bytes_of_slabs(cache.cpus) <= mal_vm_address_limit_bytes() / 4)
        slabs = map_slabs(cache.cpus);
    if (!slabs) {
        cache.mode = MAL_PERCPU_LOCK;
        cache.cpus = (unsigned)mal_min(cache.cpus, SHARED_SLABS);
        slabs = map_slabs(cache.cpus);
    }
    if (!slabs)
        return -ENOMEM;
    mal_percpu_init(slabs, cache.mode);
    return 0;
}

enum mal_percpu_mode mal_cache_mode(void) {
    return cache.mode;
}

unsigned mal_cache_cpus(void) {
    return cache.cpus;
}

static struct slab *slab_of(unsigned cpu) {
    return (struct slab *)(void *)(mal_percpu_slabs + (size_t)cpu * MAL_SLAB_BYTES);
}

/* The slot at a word index. */
static void **slot_at(struct slab *slab, uint64_t word) {
    return (void **)(void *)slab + word;
}

bool mal_cache_cpu_is_populated(unsigned cpu) {
    return mal_load_acquire(&slab_of(cpu)->populated) != 0;
}

/* Words from `first` to before `end` are going to be written. */
static void touch_locked(struct slab *slab, uint64_t first, uint64_t end) {
    uint64_t page = first * sizeof(uint64_t) / mal_vm_page_bytes();
    uint64_t last = (end * sizeof(uint64_t) - 1) / mal_vm_page_bytes();
    for (; page <= last; page++)
        mal_store_relaxed(&slab->touched[page / 64], slab->touched[page / 64] | 1ull << page % 64);
}

/* Nothing is resident but what lies below the first slot, and in its page. */
static void untouch_locked(struct slab *slab) {
    for (unsigned word = 0; word < MAL_COUNT_OF(slab->touched); word++)
        mal_store_relaxed(&slab->touched[word], 0);
    touch_locked(slab, 0, cache.first_slot[1]);
}

/* Headers before limits: the proof in os/percpu.h needs that order. */
static void populate_locked(struct slab *slab) {
    untouch_locked(slab);
    for (uint32_t class = 1; class < MAL_CLASS_COUNT; class ++)
        mal_store_relaxed(&slab->header[class], (uint64_t)cache.first_slot[class]);
    for (uint32_t class = 1; class < MAL_CLASS_COUNT; class ++)
        mal_store_release(&slab->limit[class], cache.first_slot[class]);
    mal_store_release(&slab->populated, 1u);
}

static struct slab *lock_slab(unsigned cpu) {
    struct slab *slab = slab_of(cpu);
    mal_store_relaxed(&slab->lock.rank, (uint16_t)MAL_RANK_CPU_CACHE); /* zero pages know none */
    mal_lock(&slab->lock);
    if (!slab->populated)
        populate_locked(slab);
    return slab;
}

static uint32_t capacity_of(const struct slab *slab, uint32_t class) {
    return (uint32_t)slab->limit[class] - cache.first_slot[class];
}

static uint64_t header_top(uint64_t header) {
    return header & MAL_SLAB_TOP_MASK;
}

static uint32_t objects_below(uint64_t header, uint32_t class) {
    return (uint32_t)header_top(header) - cache.first_slot[class];
}

static void set_capacity_locked(struct slab *slab, uint32_t class, uint32_t capacity) {
    slab->granted_bytes -= (uint64_t)capacity_of(slab, class) * mal_class[class].size_bytes;
    slab->granted_bytes += (uint64_t)capacity * mal_class[class].size_bytes;
    mal_store_release(&slab->limit[class], (uint16_t)(cache.first_slot[class] + capacity));
}

static uint32_t objects_in(struct slab *slab, uint32_t class) {
    return objects_below(mal_load_relaxed(&slab->header[class]), class);
}

/* Makes the capacity what the class holds. It may have grown between the look and the new limit,
 * without bound where this thread was preempted there: whoever comes after the new limit is held by
 * it, so a second look knows all but an operation that is under way on another CPU. Objects above
 * the limit, from an earlier one of these, are granted what they take. */
static void fit_capacity_locked(struct slab *slab, uint32_t class) {
    uint32_t held = objects_in(slab, class);
    if (held == capacity_of(slab, class))
        return;
    set_capacity_locked(slab, class, held);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (objects_in(slab, class) > held)
        set_capacity_locked(slab, class, objects_in(slab, class));
}

/* Takes capacity that holds no object from the next few classes other than `taker`, until `bytes`
 * fit the budget. */
static void steal_locked(struct slab *slab, uint32_t taker, uint64_t bytes) {
    for (unsigned tries = 0; tries < STEAL_TRIES; tries++) {
        if (slab->granted_bytes + bytes <= mal_central_share(MAL_CACHE_BUDGET_BYTES))
            return;
        slab->hand = slab->hand % (MAL_CLASS_COUNT - 1) + 1;
        if (slab->hand != taker)
            fit_capacity_locked(slab, slab->hand);
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
static bool grow_locked(struct slab *slab, uint32_t class) {
    const struct mal_class_info *info = &mal_class[class];
    uint32_t capacity = capacity_of(slab, class);
    uint32_t more = growth_of(info, capacity);
    uint64_t bytes = (uint64_t)more * info->size_bytes;
    if (more == 0)
        return false;
    steal_locked(slab, class, bytes);
    if (slab->granted_bytes + bytes > mal_central_share(MAL_CACHE_BUDGET_BYTES))
        return false;
    uint64_t first = cache.first_slot[class];
    touch_locked(slab, first, first + 1u + capacity + more);
    set_capacity_locked(slab, class, capacity + more);
    return true;
}

static void *pop_locked(struct slab *slab, uint32_t class) {
    uint64_t header = slab->header[class];
    void *object = *slot_at(slab, header_top(header));
    if (object)
        mal_store_relaxed(&slab->header[class], header - 1 + MAL_SLAB_POP_UNIT);
    return object;
}

static bool push_locked(struct slab *slab, uint32_t class, void *object) {
    uint64_t header = slab->header[class];
    if (header_top(header) >= slab->limit[class])
        return false;
    *slot_at(slab, header_top(header) + 1) = object;
    mal_store_relaxed(&slab->header[class], header + 1);
    return true;
}

/* A top of 0 belongs to a slab that is not set up yet, whose word 0 is 0 as well. */
static void *pop_anyhow(uint32_t class) {
    if (cache.mode == MAL_PERCPU_RSEQ)
        return mal_percpu_pop(class);
    struct slab *slab = lock_slab(mal_percpu_ask_kernel(cache.cpus));
    void *object = pop_locked(slab, class);
    mal_unlock(&slab->lock);
    return object;
}

static bool push_anyhow(uint32_t class, void *object) {
    if (cache.mode == MAL_PERCPU_RSEQ)
        return mal_percpu_push(class, object);
    struct slab *slab = lock_slab(mal_percpu_ask_kernel(cache.cpus));
    bool pushed = push_locked(slab, class, object);
    mal_unlock(&slab->lock);
    return pushed;
}

static size_t pop_many_locked(struct slab *slab, uint32_t class, void **ret_objects, size_t most) {
    uint64_t header = slab->header[class];
    size_t count = mal_min(most, objects_below(header, class));
    for (size_t i = 0; i < count; i++)
        ret_objects[i] = *slot_at(slab, header_top(header) - i);
    mal_store_relaxed(&slab->header[class], header + count * (MAL_SLAB_POP_UNIT - 1));
    return count;
}

static size_t pop_many_anyhow(uint32_t class, void **ret_objects, size_t most) {
    if (cache.mode == MAL_PERCPU_RSEQ)
        return mal_percpu_pop_many(class, cache.first_slot[class], ret_objects, most);
    struct slab *slab = lock_slab(mal_percpu_ask_kernel(cache.cpus));
    size_t count = pop_many_locked(slab, class, ret_objects, most);
    mal_unlock(&slab->lock);
    return count;
}

/* Pushes so that the first object is on top. Returns how many did not go in: the first ones. */
static size_t push_many_anyhow(uint32_t class, void *const *objects, size_t count) {
    if (cache.mode == MAL_PERCPU_RSEQ && mal_percpu_push_many(class, objects, count))
        return 0;
    while (count > 0 && push_anyhow(class, objects[count - 1]))
        count--;
    return count;
}

/* The CPU whose slab serves this thread; -1 for a thread that libc did not register. */
static int my_cpu(void) {
    return cache.mode == MAL_PERCPU_RSEQ ? mal_percpu_current()
                                         : (int)mal_percpu_ask_kernel(cache.cpus);
}

/* What a class has been granted here, without the lock: a hint, 0 for a slab that is not set up. */
static uint32_t capacity_hint(int cpu, uint32_t class) {
    uint32_t limit = mal_load_relaxed(&slab_of((unsigned)cpu)->limit[class]);
    return limit == 0 ? 0 : limit - cache.first_slot[class];
}

static bool grow_here(uint32_t class) {
    int cpu = my_cpu();
    if (cpu < 0 || capacity_hint(cpu, class) >= mal_class[class].cache_limit)
        return false;
    struct slab *slab = lock_slab((unsigned)cpu);
    bool grown = grow_locked(slab, class);
    mal_unlock(&slab->lock);
    return grown;
}

/* How many objects to move at once: as many as the class has capacity for, at most a batch. An
 * empty cache grows first, so that what is fetched can be kept. */
static size_t objects_to_fetch(uint32_t class) {
    int cpu = my_cpu();
    if (cpu < 0)
        return 1;
    uint32_t capacity = capacity_hint(cpu, class);
    if (capacity < mal_class[class].batch && grow_here(class))
        capacity = capacity_hint(cpu, class);
    return mal_clamp(capacity, 1, mal_class[class].batch);
}

static size_t objects_to_drain(uint32_t class) {
    int cpu = my_cpu();
    uint64_t half = cpu < 0 ? 0 : (capacity_hint(cpu, class) + 1) / 2;
    return mal_clamp(half, 1, mal_class[class].batch);
}

/* What is about to move is counted as moved before it moves, and set right afterwards: a reader
 * between the two sees too few mallocs or frees, never too many (see mal_cache_stats). */
static void announce(uint64_t *counter, size_t count) {
    mal_add_relaxed(counter, count);
    __atomic_thread_fence(__ATOMIC_RELEASE);
}

/* The first on top: a stack hands them out in the order they came in, which is that of addresses
 * for a new span and that of their frees for used ones. Programs walk memory in that order. */
static void push_rest(uint32_t class, void **objects, size_t count) {
    announce(&counters[class].filled, count);
    size_t left = push_many_anyhow(class, objects, count);
    if (left == 0)
        return;
    mal_sub_relaxed(&counters[class].filled, left);
    mal_central_give(class, objects, left);
}

/* A batch from the central list; the first object is the caller's. */
static MAL_SLOW void *fetch(uint32_t class) {
    void *batch[MAL_CENTRAL_BATCH_MAX];
    size_t got = mal_central_take(class, batch, objects_to_fetch(class));
    if (got == 0)
        return NULL;
    mal_add_relaxed(&counters[class].direct_allocs, 1);
    mal_cache_keep_limit();
    if (got > 1)
        push_rest(class, batch + 1, got - 1);
    return batch[0];
}

void *mal_cache_alloc_slow(uint32_t class) {
    void *object = cache.mode == MAL_PERCPU_LOCK ? pop_anyhow(class) : NULL;
    return object ? object : fetch(class);
}

static void drain_batch(uint32_t class) {
    void *objects[MAL_CENTRAL_BATCH_MAX];
    size_t wanted = objects_to_drain(class);
    announce(&counters[class].drained, wanted);
    size_t count = pop_many_anyhow(class, objects, wanted);
    if (count < wanted)
        mal_sub_relaxed(&counters[class].drained, wanted - count);
    if (count > 0)
        mal_central_give(class, objects, count);
}

void mal_cache_free_slow(uint32_t class, void *object) {
    if (cache.mode == MAL_PERCPU_LOCK && push_anyhow(class, object))
        return;
    if (!grow_here(class))
        drain_batch(class);
    if (push_anyhow(class, object))
        return;
    mal_add_relaxed(&counters[class].direct_frees, 1);
    mal_central_give(class, &object, 1);
}

/* Objects of the slab of `cpu`; none once the thread has been moved elsewhere. */
static size_t pop_many_of(struct slab *slab, unsigned cpu, uint32_t class, void **ret_objects,
                          size_t most) {
    if (cache.mode == MAL_PERCPU_RSEQ)
        return mal_percpu_current() == (int)cpu
                   ? mal_percpu_pop_many(class, cache.first_slot[class], ret_objects, most)
                   : 0;
    mal_lock(&slab->lock);
    size_t count = pop_many_locked(slab, class, ret_objects, most);
    mal_unlock(&slab->lock);
    return count;
}

static void drain_class(struct slab *slab, unsigned cpu, uint32_t class) {
    void *objects[MAL_CENTRAL_BATCH_MAX];
    size_t count;
    do {
        announce(&counters[class].drained, MAL_CENTRAL_BATCH_MAX);
        count = pop_many_of(slab, cpu, class, objects, MAL_CENTRAL_BATCH_MAX);
        mal_sub_relaxed(&counters[class].drained, MAL_CENTRAL_BATCH_MAX - count);
        if (count > 0)
            mal_central_give(class, objects, count);
    } while (count == MAL_CENTRAL_BATCH_MAX);
}

/* Notes the class's header; true when nothing has happened since it was last noted. */
static bool note_idle_locked(struct slab *slab, uint32_t class, enum mal_drain drain) {
    uint64_t header = mal_load_relaxed(&slab->header[class]);
    bool idle = slab->seen[drain][class] == header;
    slab->seen[drain][class] = header;
    return idle;
}

/* Whether no class may hold anything here, nor does. */
static bool is_empty_locked(struct slab *slab) {
    for (uint32_t class = 1; class < MAL_CLASS_COUNT; class ++)
        if (capacity_of(slab, class) > 0 || objects_in(slab, class) > 0)
            return false;
    return true;
}

static uint64_t resident_bytes(const struct slab *slab) {
    uint64_t pages = 0;
    for (unsigned word = 0; word < MAL_COUNT_OF(slab->touched); word++)
        pages += (uint64_t)__builtin_popcountll(mal_load_relaxed(&slab->touched[word]));
    return pages * mal_vm_page_bytes();
}

/* Gives back the slots of a slab that lies idle. They are dead storage, and a bottom word that
 * reads as zero is what it was: nothing can be lost while nothing is pushed. Whoever begins a push
 * finds no capacity, and gets none without the lock; whoever had begun one before the limits fell
 * was on this CPU, and is restarted since this thread runs here now. Elsewhere this must not be
 * done. */
static void release_slots(struct slab *slab, unsigned cpu) {
    size_t first = mal_round_up(cache.first_slot[1] * sizeof(uint64_t), mal_vm_page_bytes());
    mal_lock(&slab->lock);
    bool here = cache.mode == MAL_PERCPU_LOCK || mal_percpu_current() == (int)cpu;
    if (here && resident_bytes(slab) > first && is_empty_locked(slab) &&
        mal_vm_release((char *)slab + first, MAL_SLAB_BYTES - first) == 0)
        untouch_locked(slab);
    mal_unlock(&slab->lock);
}

void mal_cache_drain_cpu(unsigned cpu, enum mal_drain drain) {
    struct slab *slab = slab_of(cpu);
    if (!mal_cache_cpu_is_populated(cpu))
        return;
    for (uint32_t class = 1; class < MAL_CLASS_COUNT; class ++) {
        mal_lock(&slab->lock);
        bool due = drain == MAL_DRAIN_ALL || note_idle_locked(slab, class, drain);
        bool holds = capacity_of(slab, class) > 0 || objects_in(slab, class) > 0;
        bool wanted = holds && due;
        if (wanted)
            set_capacity_locked(slab, class, 0);
        mal_unlock(&slab->lock);
        if (wanted)
            drain_class(slab, cpu, class);
    }
    if (drain == MAL_DRAIN_IDLE)
        release_slots(slab, cpu);
}

static void drain_my_cpu(enum mal_drain drain) {
    int cpu = my_cpu();
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

static uint64_t not_negative(uint64_t difference) {
    return (int64_t)difference < 0 ? 0 : difference;
}

/* Headers first, what is subtracted last: the result is what was true, or too small by what was on
 * its way. Too large would stay for ever with a caller who never lets a counter go back. */
struct mal_cache_stats mal_cache_stats(uint32_t class) {
    struct class_counters *c = &counters[class];
    uint64_t pops = 0;
    uint64_t cached = 0;
    for (unsigned cpu = 0; cpu < cache.cpus; cpu++) {
        if (!mal_cache_cpu_is_populated(cpu))
            continue;
        uint64_t header = mal_load_relaxed(&slab_of(cpu)->header[class]);
        pops += header / MAL_SLAB_POP_UNIT;
        cached += objects_below(header, class);
    }
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    uint64_t allocs = pops + mal_load_relaxed(&c->direct_allocs);
    uint64_t frees = cached + pops + mal_load_relaxed(&c->direct_frees);
    return (struct mal_cache_stats){
        .mallocs = not_negative(allocs - mal_load_relaxed(&c->drained)),
        .frees = not_negative(frees - mal_load_relaxed(&c->filled)),
        .cached = cached,
    };
}

uint64_t mal_cache_slab_bytes(void) {
    uint64_t bytes = 0;
    for (unsigned cpu = 0; cpu < cache.cpus; cpu++)
        bytes += mal_cache_cpu_is_populated(cpu) ? MAL_SLAB_BYTES : 0;
    return bytes;
}

uint64_t mal_cache_resident_bytes(void) {
    uint64_t bytes = 0;
    for (unsigned cpu = 0; cpu < cache.cpus; cpu++)
        bytes += mal_cache_cpu_is_populated(cpu) ? resident_bytes(slab_of(cpu)) : 0;
    return bytes;
}

/* fork holds the lock of every slab in use; nobody else ever holds two. A slab that is being set up
 * by another thread at that instant is not in use yet: the child sets it up anew. */
static uint64_t held_by_fork[(CPUS_MAX + 63) / 64]; /* guarded by fork's own order */

void mal_cache_before_fork(void) {
    for (unsigned cpu = 0; cpu < cache.cpus; cpu++) {
        if (!mal_cache_cpu_is_populated(cpu))
            continue;
        mal_lock(&slab_of(cpu)->lock);
        mal_lock_note_released(&slab_of(cpu)->lock);
        held_by_fork[cpu / 64] |= 1ull << (cpu % 64);
    }
}

void mal_cache_after_fork(enum mal_fork_side side) {
    for (unsigned cpu = 0; cpu < cache.cpus; cpu++) {
        struct slab *slab = slab_of(cpu);
        if (held_by_fork[cpu / 64] >> (cpu % 64) & 1)
            mal_unlock(&slab->lock);
        else if (side == MAL_FORK_CHILD && mal_load_relaxed(&slab->lock.state) != 0)
            mal_lock_init(&slab->lock, MAL_RANK_CPU_CACHE);
    }
    for (unsigned word = 0; word < MAL_COUNT_OF(held_by_fork); word++)
        held_by_fork[word] = 0;
}
