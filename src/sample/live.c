/* SPDX-License-Identifier: Apache-2.0
 *
 * The table of live samples.
 *
 * SHARDS independent open-addressing tables, chosen by address hash. A slot with address 0 is
 * empty. Insertion probes linearly; a table more than 5/8 full doubles. Removal closes the gap by
 * moving back later entries of the same run, so there are no tombstones and a probe ends at the
 * first empty slot.
 *
 *     for every entry e: no empty slot lies between home(e) and e, going up cyclically
 *
 * Lookups happen only for objects whose state byte says SAMPLED, so a program that samples one
 * allocation in thousands touches this one time in thousands.
 *
 * SYNCHRONIZATION: one lock per shard (rank LIVE). Memory comes from the META tier as mappings, so
 * that an outgrown table is returned.
 */
#include "sample/live.h"

#include "base/atomic.h"
#include "base/bits.h"
#include "meta/memory.h"
#include "os/lock.h"

#include <stddef.h>

#define SHARDS 16u
#define FIRST_SLOTS 512u

struct shard {
    MAL_LINE_ALIGNED struct mal_lock lock;
    uint32_t slots; /* power of two, 0 before the first insertion */
    uint32_t used;  /* written under the lock, read relaxed by mal_live_count */
    struct mal_live *table;
    uint64_t samples; /* ever inserted, not those of own threads; as `used` */
};

static struct shard shards[SHARDS] = {
    [0 ... SHARDS - 1] = {.lock = MAL_LOCK_INIT(MAL_RANK_LIVE)},
};

static uint64_t hash(uintptr_t address) {
    return mal_mix(address >> 4);
}

static struct shard *lock_shard(uintptr_t address) {
    struct shard *shard = &shards[hash(address) % SHARDS];
    mal_lock(&shard->lock);
    return shard;
}

static uint32_t home_of(const struct shard *shard, uintptr_t address) {
    return (uint32_t)(hash(address) / SHARDS) & (shard->slots - 1);
}

static uint32_t find_slot(const struct shard *shard, uintptr_t address) {
    uint32_t slot = home_of(shard, address);
    while (shard->table[slot].address != 0 && shard->table[slot].address != address)
        slot = (slot + 1) & (shard->slots - 1);
    return slot;
}

static size_t table_bytes(uint32_t slots) {
    return slots * sizeof(struct mal_live);
}

static bool grow(struct shard *shard) {
    struct shard old = *shard;
    uint32_t slots = old.slots ? old.slots * 2 : FIRST_SLOTS;
    struct mal_live *table = mal_meta_map(table_bytes(slots), MAL_META_BUCKET);
    if (!table)
        return false;
    shard->table = table;
    shard->slots = slots;
    for (uint32_t i = 0; i < old.slots; i++)
        if (old.table[i].address != 0)
            table[find_slot(shard, old.table[i].address)] = old.table[i];
    if (old.slots)
        mal_meta_unmap(old.table, table_bytes(old.slots), MAL_META_BUCKET);
    return true;
}

bool mal_live_insert(const struct mal_live *live) {
    struct shard *shard = lock_shard(live->address);
    bool room = shard->used < shard->slots / 8 * 5 || grow(shard) || shard->used + 1 < shard->slots;
    if (room) {
        shard->table[find_slot(shard, live->address)] = *live;
        mal_store_relaxed(&shard->used, shard->used + 1);
        mal_store_relaxed(&shard->samples, shard->samples + (live->bucket != MAL_LIVE_OWN));
    }
    mal_unlock(&shard->lock);
    return room;
}

/* True when an entry whose home is `home` may move from `from` back to `gap`. */
static bool may_move(const struct shard *shard, uint32_t home, uint32_t gap, uint32_t from) {
    uint32_t mask = shard->slots - 1;
    return ((from - home) & mask) >= ((from - gap) & mask);
}

static void close_gap(struct shard *shard, uint32_t gap) {
    uint32_t mask = shard->slots - 1;
    for (uint32_t from = (gap + 1) & mask; shard->table[from].address != 0;
         from = (from + 1) & mask)
        if (may_move(shard, home_of(shard, shard->table[from].address), gap, from)) {
            shard->table[gap] = shard->table[from];
            gap = from;
        }
    shard->table[gap].address = 0;
}

bool mal_live_remove(uintptr_t address, void (*ended)(const struct mal_live *live)) {
    struct shard *shard = lock_shard(address);
    uint32_t slot = shard->slots ? find_slot(shard, address) : 0;
    bool found = shard->slots && shard->table[slot].address == address;
    if (found) {
        ended(&shard->table[slot]);
        close_gap(shard, slot);
        mal_store_relaxed(&shard->used, shard->used - 1);
    }
    mal_unlock(&shard->lock);
    return found;
}

void mal_live_each(void (*visit)(const struct mal_live *live)) {
    for (unsigned i = 0; i < SHARDS; i++)
        for (uint32_t slot = 0; slot < shards[i].slots; slot++)
            if (shards[i].table[slot].address != 0)
                visit(&shards[i].table[slot]);
}

void mal_live_clear(void) {
    for (unsigned i = 0; i < SHARDS; i++) {
        for (uint32_t slot = 0; slot < shards[i].slots; slot++)
            shards[i].table[slot].address = 0;
        shards[i].used = 0;
    }
}

uint64_t mal_live_count(void) {
    uint64_t count = 0;
    for (unsigned i = 0; i < SHARDS; i++)
        count += mal_load_relaxed(&shards[i].used);
    return count;
}

uint64_t mal_live_samples(void) {
    uint64_t samples = 0;
    for (unsigned i = 0; i < SHARDS; i++)
        samples += mal_load_relaxed(&shards[i].samples);
    return samples;
}

/* Nobody else ever holds two shards. */
void mal_live_lock_all(void) {
    for (unsigned i = 0; i < SHARDS; i++) {
        mal_lock(&shards[i].lock);
        mal_lock_note_released(&shards[i].lock);
    }
}

void mal_live_unlock_all(void) {
    for (unsigned i = 0; i < SHARDS; i++)
        mal_unlock(&shards[i].lock);
}
