/* SPDX-License-Identifier: Apache-2.0
 *
 * The shelves of freed samples.
 *
 * An object is sampled when its state byte says so (meta/pagemap.h). Neighbours' bytes share that
 * byte's cache line, and every free on every CPU reads them: to write it costs all of them a miss,
 * once when the object becomes a sample and again when it ceases to be one. So a sample that was
 * freed keeps its byte and waits here for the next one of its class. Spans that never held a sample
 * keep sharing their class's table, too (pageheap/states.c).
 *
 * A shelf is one cache line for each class and CPU: up to SLOTS objects, and what was taken and
 * given. Which CPU it is, is a hint; beyond SHELVES they share.
 *
 * Path up: the next sample. Path down: the drains of the CPU's cache, which say START again and
 * give to the central list.
 *
 *     objects on a shelf = given - taken - drained
 *     for every class: limit_of(class) * size adds up to no more than MAL_SHELF_BUDGET_BYTES a CPU
 *
 * SYNCHRONIZATION
 *   1. A slot goes from NULL to an object by compare-and-swap (release), and from an object to NULL
 *      by exchange (acquire): whoever gets it from there owns it, and sees what was written to it.
 *   2. `taken` (relaxed) and `given` (release) are counted after the object has moved: a reader
 *      between the two sees too few mallocs or frees, never too many. Who reads `given` (acquire),
 *      then the stacks, then `taken`, sees no free without its malloc.
 *   3. `seen` is relaxed: two drains at once may both find a shelf idle, or neither.
 *
 * Must never hold an object whose state byte does not say SAMPLED.
 */
#include "cache/shelf.h"

#include "base/bits.h"
#include "cache/cache_private.h"
#include "central/central.h"
#include "meta/pagemap.h"

#define SHELVES 16u
#define SLOTS 5u
#define CLASS_BYTES 8192u

struct shelf {
    MAL_LINE_ALIGNED void *slot[SLOTS]; /* rule 1 */
    uint64_t taken;                     /* rule 2 */
    uint64_t given;                     /* rule 2 */
    uint64_t seen;                      /* taken + given at the last look; rule 3 */
};

static struct shelf shelves[SHELVES][MAL_CLASS_COUNT];

/* NULL where nobody would ever look for what lies there. */
static struct shelf *shelf_here(uint32_t class) {
    int cpu = mal_cache_my_cpu();
    return cpu >= 0 && mal_cache_cpu_is_populated((unsigned)cpu)
               ? &shelves[(unsigned)cpu % SHELVES][class]
               : NULL;
}

static unsigned limit_of(uint32_t class) {
    return (unsigned)mal_clamp(CLASS_BYTES / mal_class[class].size_bytes, 1, SLOTS);
}

void *mal_shelf_take(uint32_t class) {
    struct shelf *shelf = shelf_here(class);
    for (unsigned i = 0; shelf && i < SLOTS; i++) {
        void *object = mal_load_relaxed(&shelf->slot[i]);
        if (object && (object = mal_exchange_acquire(&shelf->slot[i], NULL))) {
            mal_add_relaxed(&shelf->taken, 1);
            return object;
        }
    }
    return NULL;
}

bool mal_shelf_give(uint32_t class, void *object) {
    struct shelf *shelf = shelf_here(class);
    for (unsigned i = 0; shelf && i < limit_of(class); i++) {
        void *empty = NULL;
        if (!mal_load_relaxed(&shelf->slot[i]) &&
            mal_cas_release(&shelf->slot[i], &empty, object)) {
            mal_add_release(&shelf->given, 1);
            return true;
        }
    }
    return false;
}

static bool is_idle(struct shelf *shelf) {
    uint64_t moved = mal_load_relaxed(&shelf->taken) + mal_load_relaxed(&shelf->given);
    bool idle = mal_load_relaxed(&shelf->seen) == moved;
    mal_store_relaxed(&shelf->seen, moved);
    return idle;
}

static void clear(struct shelf *shelf, uint32_t class) {
    for (unsigned i = 0; i < SLOTS; i++) {
        void *object =
            mal_load_relaxed(&shelf->slot[i]) ? mal_exchange_acquire(&shelf->slot[i], NULL) : NULL;
        if (!object)
            continue;
        mal_pagemap_say_start(object);
        mal_central_give(class, &object, 1);
    }
}

void mal_shelf_drain(unsigned cpu, uint32_t class, enum mal_drain drain) {
    struct shelf *shelf = &shelves[cpu % SHELVES][class];
    if (mal_load_relaxed(&shelf->given) > 0 && (drain == MAL_DRAIN_ALL || is_idle(shelf)))
        clear(shelf, class);
}

uint64_t mal_shelf_taken(uint32_t class) {
    uint64_t taken = 0;
    for (unsigned i = 0; i < SHELVES; i++)
        taken += mal_load_relaxed(&shelves[i][class].taken);
    return taken;
}

uint64_t mal_shelf_given(uint32_t class) {
    uint64_t given = 0;
    for (unsigned i = 0; i < SHELVES; i++)
        given += mal_load_acquire(&shelves[i][class].given);
    return given;
}

uint64_t mal_shelf_objects(uint32_t class) {
    uint64_t objects = 0;
    for (unsigned i = 0; i < SHELVES; i++)
        for (unsigned slot = 0; slot < SLOTS; slot++)
            objects += mal_load_relaxed(&shelves[i][class].slot[slot]) != NULL;
    return objects;
}
