/* SPDX-License-Identifier: Apache-2.0
 *
 * The containers of the views: growing arrays, an arena, and a hash table of item numbers.
 *
 * The table holds numbers of items that live in somebody's array, under a hash of their key. A
 * caller walks the items of one hash and compares keys itself:
 *
 *     size_t probe = 0;
 *     uint32_t item;
 *     while ((item = view_table_next(&table, hash, &probe)) != VIEW_TABLE_END)
 *         if (same_key(item)) ...
 */
#ifndef MAL_VIEW_TABLE_H
#define MAL_VIEW_TABLE_H

#include <stddef.h>
#include <stdint.h>

/* Room for one more item behind `count` items; returns the array, or NULL when out of memory
 * (the old one stays valid). */
void *view_array_grow(void *items, size_t count, size_t *capacity, size_t item_bytes);

/* Room for `wanted` items in all, at once: for whoever knows how many there will be. The same
 * result as view_array_grow. */
void *view_array_reserve(void *items, size_t *capacity, size_t wanted, size_t item_bytes);

/* Memory that is only freed all at once. */
struct view_arena_block;
struct view_arena {
    struct view_arena_block *blocks; /* newest first */
    size_t total_bytes;
};

/* Zeroed and aligned for anything; NULL when out of memory. */
void *view_arena_alloc(struct view_arena *arena, size_t count, size_t item_bytes);
/* A terminated copy. */
char *view_arena_text(struct view_arena *arena, const char *text, size_t bytes);
void view_arena_free(struct view_arena *arena);

#define VIEW_TABLE_END UINT32_MAX

struct view_table_slot {
    uint64_t hash;
    uint32_t item;
    uint32_t used;
};

struct view_table {
    struct view_table_slot *slots;
    size_t capacity; /* a power of two, or 0 */
    size_t count;
};

uint32_t view_table_next(const struct view_table *table, uint64_t hash, size_t *probe);
/* Both return 0 or -ENOMEM. */
int view_table_reserve(struct view_table *table, size_t items);
int view_table_add(struct view_table *table, uint64_t hash, uint32_t item);
void view_table_free(struct view_table *table);

/* Hashes; start from 0 and chain. */
static inline uint64_t view_hash_word(uint64_t hash, uint64_t word) {
    hash = (hash ^ word) * 0x9e3779b97f4a7c15u;
    return hash ^ (hash >> 29);
}
uint64_t view_hash_bytes(uint64_t hash, const void *data, size_t bytes);

#endif
