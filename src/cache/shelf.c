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
 * A shelf is one cache line for each class and CPU: SLOTS places for an object. Which CPU it is, is
 * a hint; beyond SHELVES they share, and the first of them that is in use looks after the shelf.
 *
 * Path up: the next sample. Path down: the drains of the CPU's cache, which say START again and
 * give to the central list.
 *
 *     taken = given - objects there now - drained        of each class
 *     for every class: limit_of(class) * size adds up to no more than MAL_SHELF_BUDGET_BYTES a CPU
 *
 * SYNCHRONIZATION
 *   1. A slot is NULL, an object or BUSY. Whoever makes it BUSY by compare-and-swap (acquire) owns
 *      it, and the object that was there, and gives it up by a store (release). Nobody waits for a
 *      BUSY slot. A thread that never comes back to its own costs that slot; to those that exist in
 *      a forked child's parent only the child does not wait, and takes their slots back.
 *   2. `given` is written by the owner of the slot (release); `drained` is counted (release) before
 *      the slot is given up. Who reads `given`, then the slot, then `drained` (acquire) finds
 *      `taken` as it was, or too small. Who reads `given` before the stacks, and what gives `taken`
 *      after them, sees no free without its malloc (cache/stats.c).
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
#define SLOTS 4u
#define CLASS_BYTES 4096u
#define BUSY ((void *)1)

struct slot {
    void *object;   /* rule 1 */
    uint64_t given; /* objects that were ever put here; rule 2 */
};
struct shelf {
    MAL_LINE_ALIGNED struct slot slot[SLOTS];
};

static struct shelf shelves[SHELVES][MAL_CLASS_COUNT];
static uint64_t drained[MAL_CLASS_COUNT]; /* rule 2 */

/* All that was given at the last drain of each kind; rule 3. */
static uint64_t seen[MAL_DRAIN_ALL][SHELVES][MAL_CLASS_COUNT];

/* SLOTS, or 0 for a thread that has no CPU. */
static unsigned slots_here(uint32_t class, struct slot **ret_slots) {
    int cpu = mal_cache_my_cpu();
    *ret_slots = shelves[(unsigned)cpu % SHELVES][class].slot;
    return cpu < 0 ? 0 : SLOTS;
}

/* Larger objects are few to a line of state bytes. */
static unsigned limit_of(uint32_t class) {
    return (unsigned)mal_min(CLASS_BYTES / mal_class[class].size_bytes, SLOTS);
}

/* The first slot that holds an object, or that holds nothing; `count` where none does. Without a
 * branch: no processor foretells which it is. */
static unsigned first_full(const struct slot *slots, unsigned count) {
    unsigned first = count;
    for (unsigned i = count; i-- > 0;)
        first = (uintptr_t)mal_load_relaxed(&slots[i].object) > (uintptr_t)BUSY ? i : first;
    return first;
}
static unsigned first_empty(const struct slot *slots, unsigned count) {
    unsigned first = count;
    for (unsigned i = count; i-- > 0;)
        first = mal_load_relaxed(&slots[i].object) ? first : i;
    return first;
}

/* The object that was there, if there was one. The slot is the caller's then. */
static void *open(struct slot *slot) {
    void *object = mal_load_relaxed(&slot->object);
    bool opened = object && object != BUSY && mal_cas_acquire(&slot->object, &object, BUSY);
    return opened ? object : NULL;
}

void *mal_shelf_take(uint32_t class) {
    struct slot *slots;
    unsigned count = slots_here(class, &slots);
    unsigned at = first_full(slots, count);
    void *object = at < count ? open(&slots[at]) : NULL;
    if (object)
        mal_store_release(&slots[at].object, NULL);
    return object;
}

/* Drains come only by CPUs whose slab is in use. */
static bool is_visited(const struct slot *slot) {
    int cpu = mal_cache_my_cpu();
    return mal_load_relaxed(&slot->given) > 0 ||
           (cpu >= 0 && mal_cache_cpu_is_populated((unsigned)cpu));
}

static bool put(struct slot *slot, void *object) {
    void *empty = NULL;
    if (!is_visited(slot) || !mal_cas_acquire(&slot->object, &empty, BUSY))
        return false;
    mal_store_release(&slot->given, mal_load_relaxed(&slot->given) + 1);
    mal_store_release(&slot->object, object);
    return true;
}

bool mal_shelf_give(uint32_t class, void *object) {
    struct slot *slots;
    unsigned count = (unsigned)mal_min(slots_here(class, &slots), limit_of(class));
    unsigned at = first_empty(slots, count);
    return at < count && put(&slots[at], object);
}

static uint64_t given_to(const struct shelf *shelf) {
    uint64_t given = 0;
    for (unsigned i = 0; i < SLOTS; i++)
        given += mal_load_acquire(&shelf->slot[i].given);
    return given;
}

static void clear(struct shelf *shelf, uint32_t class) {
    for (unsigned i = 0; i < SLOTS; i++) {
        void *object = open(&shelf->slot[i]);
        if (!object)
            continue;
        mal_add_release(&drained[class], 1);
        mal_store_release(&shelf->slot[i].object, NULL);
        mal_pagemap_say_start(object);
        mal_central_give(class, &object, 1);
    }
}

/* Once a round is enough: who came second would find nothing new, and the shelf idle. */
static bool looks_after_shelf(unsigned cpu) {
    for (unsigned sharer = cpu % SHELVES; sharer < cpu; sharer += SHELVES)
        if (mal_cache_cpu_is_populated(sharer))
            return false;
    return true;
}

/* Notes what was given; true when that is what it was when it was last noted. */
static bool note_idle(uint64_t *noted, uint64_t given) {
    bool idle = mal_load_relaxed(noted) == given;
    mal_store_relaxed(noted, given);
    return idle;
}

void mal_shelf_drain(unsigned cpu, uint32_t class, enum mal_drain drain) {
    struct shelf *shelf = &shelves[cpu % SHELVES][class];
    uint64_t given = given_to(shelf);
    if (given == 0 || (drain != MAL_DRAIN_ALL && !looks_after_shelf(cpu)))
        return;
    if (drain == MAL_DRAIN_ALL || note_idle(&seen[drain][cpu % SHELVES][class], given))
        clear(shelf, class);
}

uint64_t mal_shelf_given(uint32_t class) {
    uint64_t given = 0;
    for (unsigned i = 0; i < SHELVES; i++)
        given += given_to(&shelves[i][class]);
    return given;
}

uint64_t mal_shelf_objects(uint32_t class) {
    uint64_t objects = 0;
    for (unsigned i = 0; i < SHELVES; i++)
        for (unsigned slot = 0; slot < SLOTS; slot++)
            objects += mal_load_acquire(&shelves[i][class].slot[slot].object) != NULL;
    return objects;
}

uint64_t mal_shelf_taken(uint32_t class) {
    uint64_t given = mal_shelf_given(class);
    uint64_t gone = mal_shelf_objects(class);
    gone += mal_load_acquire(&drained[class]); /* after the slots; operands of + have no order */
    return given > gone ? given - gone : 0;
}

/* Who had them is in the parent, and so are the objects: they count as taken here. Where it is the
 * forking thread, in a signal handler, that goes on with its slot afterwards, what was put there
 * meanwhile is lost: one object of at most CLASS_BYTES. Slots are used only where a slab is. */
static void take_back(struct shelf *shelf) {
    for (unsigned i = 0; i < SLOTS; i++)
        if (mal_load_relaxed(&shelf->slot[i].object) == BUSY)
            mal_store_release(&shelf->slot[i].object, NULL);
}

void mal_shelf_forget_in_child(void) {
    MAL_FOR_EACH_CACHE (cpu)
        for (uint32_t class = 1; class < MAL_CLASS_COUNT && looks_after_shelf(cpu); class ++)
            take_back(&shelves[cpu % SHELVES][class]);
}
