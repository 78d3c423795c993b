/* SPDX-License-Identifier: Apache-2.0
 *
 * The table of specials.
 *
 * SHARDS independent hash tables of chains. A shard owns regions of 64 pages, so that one word of
 * the map of pages belongs to one shard. Within a shard the chain is chosen by the block of
 * MAL_SPECIAL_BLOCK_BYTES that the object starts in: all records of an object lie in one chain, a
 * page has few chains to look at, and the smallest objects make a chain of 64 at most for each
 * record per object. Chains double when there is more than one record per chain.
 *
 * The map of pages has a bit for each page of the page map's window; it is committed as far as
 * objects with specials lie. Sweeping asks it first, so a span without specials costs a load or
 * two.
 *
 * SYNCHRONIZATION: one lock per shard (rank GC_SPECIALS) guards its chains, its records and its
 * words of the map; those are read relaxed by anybody: who asks for a page races with additions
 * there only for objects that are alive. `bits_lock` (the same rank, never together) guards the
 * map's growth; `bit_words` is published with release after the commit.
 */
#include "gc/specials_table.h"

#include "base/atomic.h"
#include "base/attr.h"
#include "base/bits.h"
#include "meta/memory.h"
#include "meta/pagemap.h"

#include <string.h>

#define SHARDS 16u
#define FIRST_CHAINS 512u
#define CHAINS_PER_HOLD 64u /* that a walk over all looks at under one hold of the lock */

struct mal_special_shard {
    MAL_LINE_ALIGNED struct mal_lock lock;
    uint32_t chains; /* power of two, 0 before the first record */
    uint32_t used;   /* records in chains */
    struct mal_special **chain;
    struct mal_pool records;
};

static struct mal_special_shard shards[SHARDS] = {
    [0 ... SHARDS - 1] = {.lock = MAL_LOCK_INIT(MAL_RANK_GC_SPECIALS),
                          .records = MAL_POOL_INIT(sizeof(struct mal_special), MAL_META_GC)},
};

static struct mal_lock bits_lock = MAL_LOCK_INIT(MAL_RANK_GC_SPECIALS);
static struct mal_table bits_table; /* bits_lock */
static uint64_t *bits;              /* before bit_words > 0; word w: pages [64 w, 64 w + 64) */
static size_t bit_words;            /* words below it are valid; release/acquire */

static size_t word_of(uintptr_t address) {
    return mal_pagemap_page((const void *)address) / 64;
}

struct mal_special_shard *mal_special_lock(uintptr_t object) {
    struct mal_special_shard *shard = &shards[mal_mix(word_of(object)) % SHARDS];
    mal_lock(&shard->lock);
    return shard;
}

void mal_special_unlock(struct mal_special_shard *shard) {
    mal_unlock(&shard->lock);
}

static struct mal_special **chain_in(struct mal_special **chain, uint32_t chains,
                                     uintptr_t object) {
    return &chain[mal_mix(object >> MAL_SPECIAL_BLOCK_SHIFT) & (chains - 1)];
}

struct mal_special **mal_special_chain(struct mal_special_shard *shard, uintptr_t object) {
    return shard->chains ? chain_in(shard->chain, shard->chains, object) : NULL;
}

static void move_chain(struct mal_special *special, struct mal_special **to, uint32_t chains) {
    while (special) {
        struct mal_special *next = special->next;
        struct mal_special **head = chain_in(to, chains, special->object);
        special->next = *head;
        *head = special;
        special = next;
    }
}

static bool grow(struct mal_special_shard *shard) {
    uint32_t chains = shard->chains ? 2 * shard->chains : FIRST_CHAINS;
    struct mal_special **chain = mal_meta_map(chains * sizeof *chain, MAL_META_GC);
    if (!chain)
        return false;
    for (uint32_t i = 0; i < shard->chains; i++)
        move_chain(shard->chain[i], chain, chains);
    if (shard->chains)
        mal_meta_unmap(shard->chain, shard->chains * sizeof *chain, MAL_META_GC);
    shard->chain = chain;
    shard->chains = chains;
    return true;
}

/* ---- the map of pages ---- */

static bool extend_bits_locked(size_t words) {
    size_t most = (mal_pagemap.window_bytes >> MAL_PAGE_SHIFT) / 64 * sizeof *bits;
    if (!bits_table.base && mal_table_reserve(&bits_table, most, MAL_META_GC) != 0)
        return false;
    if (mal_table_commit(&bits_table, words * sizeof *bits) != 0)
        return false;
    bits = (uint64_t *)(void *)bits_table.base;
    mal_store_release(&bit_words, bits_table.committed_bytes / sizeof *bits);
    return true;
}

bool mal_special_prepare(uintptr_t object) {
    size_t word = word_of(object);
    if (word < mal_load_acquire(&bit_words))
        return true;
    mal_lock(&bits_lock);
    bool have = word < bit_words || extend_bits_locked(word + 1);
    mal_unlock(&bits_lock);
    return have;
}

static uint64_t bit_of(uintptr_t address) {
    return 1ull << mal_pagemap_page((const void *)address) % 64;
}

static void set_page(uintptr_t object) {
    uint64_t *word = &bits[word_of(object)];
    mal_store_relaxed(word, *word | bit_of(object));
}

void mal_special_clear_page(struct mal_special_shard *shard, uintptr_t page_address) {
    (void)shard;
    uint64_t *word = &bits[word_of(page_address)];
    mal_store_relaxed(word, *word & ~bit_of(page_address));
}

uintptr_t mal_special_next_page(uintptr_t low, uintptr_t high) {
    size_t words = mal_load_acquire(&bit_words);
    size_t page = mal_pagemap_page((const void *)low);
    size_t end = mal_pagemap_page((const void *)(high + MAL_PAGE_BYTES - 1));
    while (page < end && page / 64 < words) {
        uint64_t left = mal_load_relaxed(&bits[page / 64]) >> page % 64;
        if (left)
            return (uintptr_t)mal_pagemap_address(page + (size_t)__builtin_ctzll(left));
        page = (page / 64 + 1) * 64;
    }
    return high;
}

bool mal_special_have_any(void) {
    return mal_load_relaxed(&bit_words) > 0;
}

bool mal_special_has_finalizer(uintptr_t object) {
    if (!mal_special_have_any())
        return false;
    struct mal_special_shard *shard = mal_special_lock(object);
    struct mal_special **chain = mal_special_chain(shard, object);
    struct mal_special *special = chain ? *chain : NULL;
    while (special && (special->object != object || special->kind != MAL_SPECIAL_FINALIZER))
        special = special->next;
    mal_special_unlock(shard);
    return special != NULL;
}

/* ---- records ---- */

struct mal_special *mal_special_add(struct mal_special_shard *shard, uintptr_t object,
                                    enum mal_special_kind kind) {
    if (shard->used >= shard->chains && !grow(shard) && !shard->chains)
        return NULL;
    struct mal_special *special = mal_pool_take(&shard->records);
    if (!special)
        return NULL;
    struct mal_special **head = mal_special_chain(shard, object);
    memset(special, 0, sizeof *special);
    special->object = object;
    special->kind = (uint8_t)kind;
    special->next = *head;
    *head = special;
    shard->used++;
    set_page(object);
    return special;
}

struct mal_special *mal_special_unlink(struct mal_special_shard *shard, struct mal_special **link) {
    struct mal_special *special = *link;
    *link = special->next;
    shard->used--;
    return special;
}

void mal_special_recycle(struct mal_special_shard *shard, struct mal_special *special) {
    mal_pool_give(&shard->records, special);
}

void mal_special_carry_out(struct mal_special_shard *shard, struct mal_special *special) {
    if (special->kind == MAL_SPECIAL_WEAK) {
        mal_store_release(&special->weak->target, (uintptr_t)0);
        mal_special_recycle(shard, special);
    } else {
        mal_gc_callbacks_push(&special->callback);
    }
}

/* ---- walks ---- */

typedef void chain_visit(struct mal_special_shard *shard, struct mal_special **chain,
                         void *context);

/* A shard may double meanwhile: what lay in chain i of n lies in i or i + n then, so nothing of
 * what is still to be visited comes to lie before `next`. */
static void each_in_shard(struct mal_special_shard *shard, chain_visit *visit, void *context) {
    uint32_t next = 0, chains;
    do {
        mal_lock(&shard->lock);
        chains = shard->chains;
        for (uint32_t end = next + CHAINS_PER_HOLD; next < end && next < chains; next++)
            visit(shard, &shard->chain[next], context);
        mal_unlock(&shard->lock);
    } while (next < chains);
}

void mal_special_each_chain(chain_visit *visit, void *context) {
    for (unsigned i = 0; i < SHARDS; i++)
        each_in_shard(&shards[i], visit, context);
}

struct visitor {
    void (*visit)(struct mal_special *special, void *context);
    void *context;
};

static void visit_chain(struct mal_special_shard *shard, struct mal_special **chain,
                        void *context) {
    const struct visitor *visitor = context;
    (void)shard;
    for (struct mal_special *special = *chain; special; special = special->next)
        visitor->visit(special, visitor->context);
}

void mal_special_each(void (*visit)(struct mal_special *special, void *context), void *context) {
    struct visitor visitor = {visit, context};
    mal_special_each_chain(visit_chain, &visitor);
}

/* Locks of one rank: all but the last are taken out of the checker's sight. */
void mal_special_lock_all(void) {
    for (unsigned i = 0; i < SHARDS; i++) {
        mal_lock(&shards[i].lock);
        mal_lock_note_released(&shards[i].lock);
    }
    mal_lock(&bits_lock);
    mal_lock_note_released(&bits_lock);
}

void mal_special_unlock_all(void) {
    mal_unlock(&bits_lock);
    for (unsigned i = 0; i < SHARDS; i++)
        mal_unlock(&shards[i].lock);
}
