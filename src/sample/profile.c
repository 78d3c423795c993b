/* SPDX-License-Identifier: Apache-2.0
 *
 * From a sampled allocation to a bucket in the box.
 *
 * Holds an index: open addressing from (stack, size, rate, kind) to bucket numbers. A bucket's key
 * is read back from the box itself, so the index is only numbers. All but one word of it: where
 * code was unloaded and other code lies now, the same pcs are another stack, and which objects they
 * were in is remembered beside the box. Before the index stands a page of recent buckets, of stacks
 * that the unwinder knows by number: such a stack need not be hashed or compared. Path up: capture
 * the stack, look for its bucket without a lock; when it is new, take the lock, look again, append
 * the stack (or find it under another bucket of the same stack), append the bucket, publish it in
 * the index. Then count the allocation and remember the object. Path down: look the object up,
 * count the free. Where no box can be had, there are no samples: it is tried again after a second,
 * then after twice as long each time.
 *
 * SYNCHRONIZATION
 *   1. `index` entries go from 0 to (bucket + 1) once, by store-release under `profile_lock`; a
 *      lookup loads them with acquire. Entries never change again, except in a forked child before
 *      it has a second thread.
 *   2. `profile_lock` (rank PROFILE) guards insertion, modules, making the box.
 *   3. The allocs counter is bumped before the live entry can be found, and frees with release, so
 *      whoever loads frees (acquire) and then allocs sees frees <= allocs.
 *   4. While there is no box, which in a forked child is a state with live samples, these end under
 *      `profile_lock`: whoever opens the box counts what is alive, and what ends is either gone by
 *      then, or was counted and is counted as freed.
 *   5. `buckets` is stored (release) when the box is announced; NULL again only in a forked child
 *      before it has a second thread. Who loads it (acquire) sees the whole box.
 *
 * Must never call malloc, and never hold the lock while capturing a stack.
 */
#include "sample/profile.h"

#include "base/atomic.h"
#include "base/bits.h"
#include "box/writer.h"
#include "meta/memory.h"
#include "os/clock.h"
#include "os/lock.h"
#include "os/percpu.h"
#include "os/thread.h"
#include "sample/live.h"
#include "sample/modules.h"
#include "sample/paths.h"
#include "sample/recent.h"
#include "sample/unwind.h"

#include <string.h>

#define END_PATIENCE_NS (50u * 1000 * 1000)
#define FIRST_PAUSE_NS (1000ull * 1000 * 1000)
#define LONGEST_PAUSE_NS (64 * FIRST_PAUSE_NS)
#define INDEX_SLOTS (2u * MAL_BOX_BUCKETS_MAX)

struct key {
    const uintptr_t *pcs;
    size_t depth;
    uint64_t size_bytes;
    uint64_t rate_bytes;
    enum mal_box_kind kind;
    struct mal_unwind_code code;
};

static struct mal_lock profile_lock = MAL_LOCK_INIT(MAL_RANK_PROFILE);
static struct mal_profile_config config; /* constant after init */
static uint32_t *bucket_index;           /* rule 1; set once under the lock */
static uint32_t *bucket_objects;         /* by bucket, constant once that is in the index; ditto */
static struct mal_box_bucket *buckets;   /* in the box, once that is announced; rule 5 */
static struct mal_writer_counts counts;  /* of `buckets`; rule 5 */
static uint32_t ended;                   /* 1: no box is opened any more; relaxed atomic */
static uint64_t pause_ns;                /* after the last failure to open a box; profile_lock */
static uint64_t next_attempt_ns;         /* relaxed atomic; coarse clock */
static uint64_t lost_count;              /* samples that are in no bucket; relaxed atomic */
static uint64_t own_bytes;               /* relaxed atomic */
static uint64_t own_count;               /* relaxed atomic */

void mal_profile_configure(const struct mal_profile_config *new_config) {
    config = *new_config;
}

uint64_t mal_profile_rate(void) {
    return config.current_rate ? config.current_rate() : 0;
}

static void recount(uintptr_t address, uint32_t bucket) {
    (void)address;
    if (bucket < MAL_BOX_BUCKETS_MAX)
        counts.count[mal_box_count_at(bucket, 0, counts.stripes)].allocs++;
}

/* What the parent's samples mean to a new box: its own inheritance, where the box could take over
 * the parent's tables; nothing at all where it could not. */
static void take_stock(bool had_parent) {
    if (((const struct mal_box_header *)mal_writer_base())->flags & MAL_BOX_INHERITED) {
        mal_live_each(recount);
    } else if (had_parent) {
        mal_live_clear();
        memset(bucket_index, 0, INDEX_SLOTS * sizeof *bucket_index);
        mal_recent_forget();
    }
}

static bool have_index_locked(void) {
    if (!bucket_objects)
        bucket_objects =
            mal_meta_map(MAL_BOX_BUCKETS_MAX * sizeof *bucket_objects, MAL_META_BUCKET);
    if (!bucket_index)
        bucket_index = mal_meta_map(INDEX_SLOTS * sizeof *bucket_index, MAL_META_BUCKET);
    return bucket_objects && bucket_index;
}

/* Until the box is announced, live samples end under the lock, so that none ends between being
 * counted and that (rule 4). */
static bool open_box_locked(void) {
    bool had_parent = mal_writer_has_parent();
    bool open = have_index_locked() && mal_writer_open(config.options, config.cpus) == 0;
    if (open) {
        counts = mal_writer_counts();
        take_stock(had_parent);
        if (mal_writer_module_count() == 0)
            mal_modules_note_program();
        mal_writer_announce();
        mal_store_release(&buckets, mal_writer_bucket(0));
        mal_writer_set_rate(config.current_rate());
    }
    return open;
}

/* An attempt makes a file, system calls and a lock held: not at each sample. */
static bool try_box_locked(void) {
    bool open = open_box_locked();
    if (!open) {
        pause_ns = mal_clamp(2 * pause_ns, FIRST_PAUSE_NS, LONGEST_PAUSE_NS);
        mal_store_relaxed(&next_attempt_ns, mal_clock_coarse_ns() + pause_ns);
    }
    return open;
}

/* A child of vfork would give its parent's box its own name and pid. */
bool mal_profile_ensure_box(void) {
    if (mal_load_acquire(&buckets))
        return true;
    if (!config.is_own_process() || !mal_writer_knows_place())
        return false;
    int cancel = mal_thread_forbid_cancel();
    mal_lock(&profile_lock);
    bool open = buckets || (!mal_load_relaxed(&ended) && try_box_locked());
    mal_unlock(&profile_lock);
    mal_thread_restore_cancel(cancel);
    return open;
}

bool mal_profile_ensure_box_in_time(void) {
    return mal_load_acquire(&buckets) ||
           (mal_clock_coarse_ns() >= mal_load_relaxed(&next_attempt_ns) &&
            mal_profile_ensure_box());
}

void mal_profile_end(int exit_code, enum mal_writer_end end) {
    bool locked = mal_lock_try_for(&profile_lock, END_PATIENCE_NS);
    mal_store_relaxed(&ended, 1u);
    if (mal_writer_is_open())
        mal_writer_finish(exit_code, end);
    if (locked)
        mal_unlock(&profile_lock);
}

void mal_profile_hide(void) {
    mal_lock(&profile_lock);
    if (mal_writer_is_open())
        mal_writer_hide();
    mal_unlock(&profile_lock);
}

static uint64_t hash_stack(const uintptr_t *pcs, size_t depth) {
    uint64_t hash = depth;
    for (size_t i = 0; i < depth; i++)
        hash = mal_mix(hash ^ pcs[i]) + i;
    return hash;
}

static uint64_t hash_rest(const struct key *key) {
    return key->size_bytes ^ key->rate_bytes << 32 ^ (uint64_t)key->kind << 63;
}

static uint64_t hash_key(const struct key *key) {
    uint64_t hash = hash_stack(key->pcs, key->depth) ^ key->code.objects;
    return mal_mix(hash ^ mal_mix(hash_rest(key)));
}

static bool same_stack(uint32_t bucket, const struct key *key) {
    const uint64_t *words = mal_writer_stack(mal_writer_bucket(bucket)->stack);
    return bucket_objects[bucket] == key->code.objects && words[0] == key->depth &&
           memcmp(words + 1, key->pcs, key->depth * sizeof *key->pcs) == 0;
}

static bool matches_but_for_stack(const struct mal_box_bucket *entry, const struct key *key) {
    return entry->size == key->size_bytes && entry->rate == key->rate_bytes &&
           entry->kind == key->kind;
}

static bool matches(uint32_t bucket, const struct key *key) {
    return matches_but_for_stack(mal_writer_bucket(bucket), key) && same_stack(bucket, key);
}

/* The key's bucket, or MAL_BOX_NONE and the empty slot where it belongs. */
static uint32_t look_up(const struct key *key, uint32_t *ret_slot) {
    uint32_t slot = (uint32_t)hash_key(key) % INDEX_SLOTS;
    for (uint32_t entry; (entry = mal_load_acquire(&bucket_index[slot])) != 0;
         slot = (slot + 1) % INDEX_SLOTS)
        if (matches(entry - 1, key))
            return entry - 1;
    *ret_slot = slot;
    return MAL_BOX_NONE;
}

/* Sizes of one call site usually arrive together: the newest buckets are worth a look before the
 * stack is stored a second time. */
#define STACK_SEARCH_BACK 16u

static uint32_t find_or_add_stack_locked(const struct key *key) {
    uint32_t used = ((const struct mal_box_header *)mal_writer_base())->buckets_used;
    for (uint32_t back = 1; back <= STACK_SEARCH_BACK && back <= used; back++) {
        if (same_stack(used - back, key))
            return mal_writer_bucket(used - back)->stack;
    }
    mal_modules_note(key->pcs, key->depth);
    return mal_writer_add_stack(key->pcs, key->depth);
}

static uint32_t insert_locked(const struct key *key) {
    uint32_t slot = 0;
    uint32_t bucket = look_up(key, &slot);
    if (bucket != MAL_BOX_NONE)
        return bucket;
    uint32_t stack = find_or_add_stack_locked(key);
    if (stack == MAL_BOX_NONE)
        return MAL_BOX_NONE;
    struct mal_box_bucket entry = {
        .stack = stack,
        .kind = key->kind,
        .size = key->size_bytes,
        .rate = key->rate_bytes,
        .first_unix_ns = mal_clock_unix_ns(),
    };
    bucket = mal_writer_add_bucket(&entry);
    if (bucket == MAL_BOX_NONE)
        return MAL_BOX_NONE;
    bucket_objects[bucket] = key->code.objects;
    mal_store_release(&bucket_index[slot], bucket + 1);
    return bucket;
}

static MAL_SLOW uint32_t find_or_insert(const struct key *key) {
    uint32_t slot;
    uint32_t bucket = look_up(key, &slot);
    if (bucket != MAL_BOX_NONE)
        return bucket;
    mal_lock(&profile_lock);
    bucket = insert_locked(key);
    mal_unlock(&profile_lock);
    return bucket;
}

/* What is recent is of the key's stack; the rest is looked at. */
static uint32_t bucket_for(const struct key *key) {
    uint64_t hash = hash_rest(key);
    uint32_t bucket = mal_recent_find(key->code.path, hash);
    if (MAL_LIKELY(bucket != MAL_RECENT_NONE && matches_but_for_stack(&buckets[bucket], key)))
        return bucket;
    bucket = find_or_insert(key);
    if (key->code.path != MAL_PATH_NONE && bucket != MAL_BOX_NONE)
        mal_recent_note(key->code.path, hash, bucket);
    return bucket;
}

/* What this CPU counts of the bucket; where it has no number, what the last one does. */
static struct mal_box_count *count_here(uint32_t bucket) {
    uint32_t stripe = (uint32_t)mal_percpu_current() & (counts.stripes - 1);
    return &counts.count[mal_box_count_at(bucket, stripe, counts.stripes)];
}

static bool count_alloc(uint32_t bucket, uintptr_t address) {
    mal_add_relaxed(&count_here(bucket)->allocs, 1);
    if (mal_live_insert(address, bucket))
        return true;
    /* Nobody will ever report its end: count it as ended. */
    mal_add_release(&count_here(bucket)->frees, 1);
    return false;
}

bool mal_profile_alloc(uintptr_t address, uint64_t size_bytes, uint64_t rate_bytes,
                       enum mal_box_kind kind) {
    uintptr_t pcs[MAL_BOX_DEPTH_MAX];
    if (!mal_profile_ensure_box_in_time())
        return false;
    mal_live_prefetch(address);
    struct mal_unwind_code code;
    size_t depth =
        mal_unwind_capture(pcs, MAL_BOX_DEPTH_MAX, config.skip_low, config.skip_high, &code);
    struct key key = {pcs, depth, size_bytes, rate_bytes, kind, code};
    uint32_t bucket = depth > 0 ? bucket_for(&key) : MAL_BOX_NONE;
    if (MAL_LIKELY(bucket != MAL_BOX_NONE))
        return count_alloc(bucket, address);
    mal_writer_drop(size_bytes);
    mal_add_relaxed(&lost_count, 1);
    return false;
}

bool mal_profile_own_alloc(uintptr_t address, uint64_t size_bytes) {
    if (!mal_live_insert(address, MAL_LIVE_OWN))
        return false;
    mal_add_relaxed(&own_bytes, size_bytes);
    mal_add_relaxed(&own_count, 1);
    return true;
}

static void count_own_free(uint64_t size_bytes) {
    mal_sub_relaxed(&own_bytes, size_bytes);
    mal_sub_relaxed(&own_count, 1);
}

static void count_free(uint32_t bucket, uint64_t size_bytes) {
    if (bucket == MAL_LIVE_OWN)
        count_own_free(size_bytes);
    else if (buckets)
        mal_add_release(&count_here(bucket)->frees, 1);
}

static bool end_sample(uintptr_t address, uint64_t size_bytes) {
    uint32_t bucket = mal_live_remove(address);
    if (bucket != MAL_LIVE_NONE)
        count_free(bucket, size_bytes);
    return bucket != MAL_LIVE_NONE;
}

/* Rule 4. */
static MAL_SLOW bool end_sample_without_box(uintptr_t address, uint64_t size_bytes) {
    mal_lock(&profile_lock);
    bool found = end_sample(address, size_bytes);
    mal_unlock(&profile_lock);
    return found;
}

bool mal_profile_free(uintptr_t address, uint64_t size_bytes) {
    return MAL_LIKELY(mal_load_acquire(&buckets)) ? end_sample(address, size_bytes)
                                                  : end_sample_without_box(address, size_bytes);
}

/* Rule 3 holds for the sums: all frees before any allocs. */
static void add_bucket(struct mal_profile_stats *stats, uint32_t bucket) {
    struct mal_box_count *count = &counts.count[mal_box_count_at(bucket, 0, counts.stripes)];
    uint64_t allocs = 0, frees = 0;
    for (uint32_t stripe = 0; stripe < counts.stripes; stripe++)
        frees += mal_load_acquire(&count[stripe * MAL_BOX_COUNTS_A_LINE].frees);
    for (uint32_t stripe = 0; stripe < counts.stripes; stripe++)
        allocs += mal_load_relaxed(&count[stripe * MAL_BOX_COUNTS_A_LINE].allocs);
    stats->samples += allocs;
    stats->live += allocs - frees;
}

struct mal_profile_stats mal_profile_stats(void) {
    struct mal_profile_stats stats = {
        .samples = mal_load_relaxed(&lost_count),
        .live = mal_load_relaxed(&own_count),
        .own_bytes = mal_load_relaxed(&own_bytes),
    };
    const struct mal_box_header *header = mal_load_acquire(&buckets) ? mal_writer_base() : NULL;
    uint32_t used = header ? mal_load_acquire(&header->buckets_used) : 0;
    for (uint32_t i = 0; i < used; i++)
        add_bucket(&stats, i);
    return stats;
}

void mal_profile_forget_in_child(void) {
    mal_store_relaxed(&ended, 0u);
    pause_ns = 0;
    buckets = NULL;
    mal_store_relaxed(&next_attempt_ns, 0);
    mal_writer_forget_in_child();
}

void mal_profile_before_fork(void) {
    mal_lock(&profile_lock);
    mal_live_before_fork();
}

void mal_profile_after_fork(void) {
    mal_live_after_fork();
    mal_unlock(&profile_lock);
}
