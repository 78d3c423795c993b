/* SPDX-License-Identifier: Apache-2.0
 *
 * A compiler's bursts: per function an arena of chunks, small nodes beside it, tables that double;
 * then everything of the function goes at once, and a little stays until the end.
 */
#include "load.h"

enum { FUNCTIONS = 9000, NODES_MOST = 6000, CHUNK = 32 * 1024, CHUNKS_MOST = 64, KEPT_ONE_IN = 40 };

struct arena {
    char *chunk[CHUNKS_MOST];
    size_t chunks, used;
};

struct name {
    struct name *next;
    char *text;
};

static struct name *kept;

static char *arena_take(struct arena *arena, size_t bytes) {
    if (!arena->chunks || arena->used + bytes >= CHUNK) {
        if (arena->chunks == CHUNKS_MOST)
            fail("the arena is full");
        arena->chunk[arena->chunks++] = take(CHUNK);
        arena->used = 16;
    }
    char *node = arena->chunk[arena->chunks - 1] + arena->used;
    arena->used += bytes;
    return node;
}

static uint64_t arena_end(struct arena *arena) {
    uint64_t sum = 0;
    while (arena->chunks)
        sum += drop(arena->chunk[--arena->chunks]);
    return sum;
}

static void keep(char *text) {
    struct name *name = not_null(malloc(sizeof *name));
    *name = (struct name){kept, text};
    kept = name;
}

/* Parses, so to speak: nodes in the arena, operands on the heap, a symbol table by realloc. */
static uint64_t translate(uint64_t *seed) {
    struct arena arena = {0};
    size_t nodes = 200 + random_below(seed, NODES_MOST - 200), room = 0;
    char **table = NULL;
    uint64_t sum = 0;
    for (size_t i = 0; i < nodes; i++) {
        memset(arena_take(&arena, 48 + random_below(seed, 10) * 16), 0, 48);
        if (i >= room)
            table = not_null(realloc(table, (room = 2 * room + 64) * sizeof *table));
        table[i] = take(16 + random_below(seed, 8) * 16);
    }
    for (size_t i = 0; i < nodes; i++) {
        if (i % KEPT_ONE_IN == 0)
            keep(table[i]);
        else
            sum += drop(table[i]);
    }
    free(table);
    return sum + arena_end(&arena);
}

int main(int argc, char **argv) {
    uint64_t seed = 2718, sum = 0;
    size_t functions = scaled(argc, argv, FUNCTIONS);
    for (size_t i = 0; i < functions; i++)
        sum += translate(&seed);
    while (kept) {
        struct name *name = kept;
        kept = name->next;
        sum += drop(name->text);
        free(name);
    }
    return result(sum);
}
