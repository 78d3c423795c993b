/* SPDX-License-Identifier: Apache-2.0
 *
 * Arrays, arena and hash table of the views. The table probes linearly and is at most half full;
 * nothing is ever removed from it, so a probe ends at the first unused slot.
 */
#include "view/table.h"

#include <errno.h>
#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

/* The first block of an arena, and all further ones. The latter are so large that Mallard keeps
 * none of them in its per-CPU caches: where the arena is that of a server inside the program,
 * dozens of smaller ones would take the room there from what the program itself allocates. */
#define ARENA_FIRST_BYTES (8000u)
#define ARENA_BLOCK_BYTES (512u << 10)
#define TABLE_SMALLEST 64u

void *view_array_grow(void *items, size_t count, size_t *capacity, size_t item_bytes) {
    if (count < *capacity)
        return items;
    return view_array_reserve(items, capacity, *capacity ? *capacity * 2 : 16, item_bytes);
}

void *view_array_reserve(void *items, size_t *capacity, size_t wanted, size_t item_bytes) {
    if (wanted <= *capacity)
        return items;
    void *larger = reallocarray(items, wanted, item_bytes);
    if (larger)
        *capacity = wanted;
    return larger;
}

struct view_arena_block {
    struct view_arena_block *next;
    size_t used_bytes, room_bytes;
    alignas(max_align_t) unsigned char room[];
};

static struct view_arena_block *arena_block(struct view_arena *arena, size_t bytes) {
    size_t least = arena->blocks ? ARENA_BLOCK_BYTES : ARENA_FIRST_BYTES;
    size_t room = bytes > least ? bytes : least;
    size_t total;
    if (__builtin_add_overflow(room, sizeof(struct view_arena_block), &total))
        return NULL;
    struct view_arena_block *block = calloc(1, total);
    if (!block)
        return NULL;
    block->room_bytes = room;
    block->next = arena->blocks;
    arena->blocks = block;
    arena->total_bytes += total;
    return block;
}

void *view_arena_alloc(struct view_arena *arena, size_t count, size_t item_bytes) {
    size_t bytes;
    if (__builtin_mul_overflow(count, item_bytes, &bytes) || bytes > PTRDIFF_MAX / 2)
        return NULL;
    bytes = (bytes + alignof(max_align_t) - 1) & ~(alignof(max_align_t) - 1);
    struct view_arena_block *block = arena->blocks;
    if (!block || block->room_bytes - block->used_bytes < bytes)
        block = arena_block(arena, bytes);
    if (!block)
        return NULL;
    void *result = block->room + block->used_bytes;
    block->used_bytes += bytes;
    return result;
}

char *view_arena_text(struct view_arena *arena, const char *text, size_t bytes) {
    char *copy = view_arena_alloc(arena, bytes + 1, 1);
    if (copy)
        memcpy(copy, text, bytes);
    return copy;
}

void view_arena_free(struct view_arena *arena) {
    while (arena->blocks) {
        struct view_arena_block *next = arena->blocks->next;
        free(arena->blocks);
        arena->blocks = next;
    }
    arena->total_bytes = 0;
}

uint32_t view_table_next(const struct view_table *table, uint64_t hash, size_t *probe) {
    while (*probe < table->capacity) {
        const struct view_table_slot *slot = &table->slots[(hash + *probe) & (table->capacity - 1)];
        ++*probe;
        if (!slot->used)
            return VIEW_TABLE_END;
        if (slot->hash == hash)
            return slot->item;
    }
    return VIEW_TABLE_END;
}

static void table_put(struct view_table *table, uint64_t hash, uint32_t item) {
    size_t at = hash & (table->capacity - 1);
    while (table->slots[at].used)
        at = (at + 1) & (table->capacity - 1);
    table->slots[at] = (struct view_table_slot){hash, item, 1};
}

static int table_resize(struct view_table *table, size_t capacity) {
    struct view_table larger = {.capacity = capacity, .count = table->count};
    larger.slots = calloc(larger.capacity, sizeof(*larger.slots));
    if (!larger.slots)
        return -ENOMEM;
    for (size_t i = 0; i < table->capacity; i++) {
        if (table->slots[i].used)
            table_put(&larger, table->slots[i].hash, table->slots[i].item);
    }
    free(table->slots);
    *table = larger;
    return 0;
}

int view_table_reserve(struct view_table *table, size_t items) {
    size_t capacity = table->capacity ? table->capacity : TABLE_SMALLEST;
    while (capacity / 2 < items)
        capacity *= 2;
    return capacity > table->capacity ? table_resize(table, capacity) : 0;
}

int view_table_add(struct view_table *table, uint64_t hash, uint32_t item) {
    int error = view_table_reserve(table, table->count + 1);
    if (error)
        return error;
    table_put(table, hash, item);
    table->count++;
    return 0;
}

void view_table_free(struct view_table *table) {
    free(table->slots);
    *table = (struct view_table){0};
}

uint64_t view_hash_bytes(uint64_t hash, const void *data, size_t bytes) {
    const unsigned char *at = data;
    for (size_t i = 0; i < bytes; i++)
        hash = (hash ^ at[i]) * 0x100000001b3u;
    return view_hash_word(hash, bytes);
}
