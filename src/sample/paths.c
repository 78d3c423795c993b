/* SPDX-License-Identifier: Apache-2.0
 *
 * The tree of paths.
 *
 * A node is one cache line, and nodes lie in the order in which they were made: the stack of a
 * program with few of them is found in a page or two. In the caches of rows (sample/unwind_rows.c)
 * it would be strewn over a page or two for each of its frames, and a sample comes so seldom that
 * what it costs is pages and lines which the program has pushed out since the last one.
 *
 * Most pcs were called from few places. The first BRANCHES ways from a node are noted in it,
 * further ones in a hash table. Nothing is ever removed: when all nodes are used, what has none
 * takes the way through the caches of rows, as it would without this.
 *
 * SYNCHRONIZATION. A node is filled by the thread that took its number, then made known by a
 * compare-and-swap with release, either in its parent or in the table; whoever finds its number
 * there (acquire) sees it whole. Two threads may make the same path at once: then both are noted,
 * and a stack may have two numbers, which only means that each is learnt once. A number whose path
 * could not be noted is lost.
 *
 * Must never hand out a number for pcs whose code may be unloaded: callers see to that.
 */
#include "sample/paths.h"

#include "base/bits.h"

#include <stdbool.h>
#include <stddef.h>

#define PATHS_MAX (1u << MAL_PATH_BITS)
#define OTHER_SLOTS 4096u
#define PROBES_MAX 16u

struct mal_path mal_paths[PATHS_MAX];
static uint32_t used = MAL_PATH_START + 1; /* relaxed; may pass PATHS_MAX */

/* parent:32 | number:32, by parent and pc; 0 is free. Written once, as branches are. */
static uint64_t others[OTHER_SLOTS];

static size_t other_slot(uint32_t path, uintptr_t pc, unsigned probe) {
    return (mal_mix(pc ^ (uint64_t)path << 48) + probe) % OTHER_SLOTS;
}

static bool leads(uint64_t other, uint32_t path, uintptr_t pc) {
    return other >> 32 == path && mal_paths[(uint32_t)other].pc == pc;
}

uint32_t mal_path_find_other(uint32_t path, uintptr_t pc) {
    if (mal_load_relaxed(&mal_paths[path].branch[MAL_PATH_BRANCHES - 1]) == 0)
        return MAL_PATH_NONE;
    for (unsigned i = 0; i < PROBES_MAX; i++) {
        uint64_t other = mal_load_acquire(&others[other_slot(path, pc, i)]);
        if (other == 0)
            return MAL_PATH_NONE;
        if (leads(other, path, pc))
            return (uint32_t)other;
    }
    return MAL_PATH_NONE;
}

/* Whether the free slot has become `word`. */
static bool note(uint64_t *slot, uint64_t word) {
    uint64_t empty = 0;
    return mal_load_relaxed(slot) == 0 && mal_cas_release(slot, &empty, word);
}

static bool note_branch(uint32_t path, uint32_t made) {
    for (unsigned i = 0; i < MAL_PATH_BRANCHES; i++)
        if (note(&mal_paths[path].branch[i], (uint64_t)(uint32_t)mal_paths[made].pc << 32 | made))
            return true;
    return false;
}

static bool note_other(uint32_t path, uint32_t made) {
    for (unsigned i = 0; i < PROBES_MAX; i++)
        if (note(&others[other_slot(path, mal_paths[made].pc, i)], (uint64_t)path << 32 | made))
            return true;
    return false;
}

static uint32_t make(uintptr_t pc, const struct mal_unwind_row *row) {
    if (mal_load_relaxed(&used) >= PATHS_MAX)
        return MAL_PATH_NONE;
    uint32_t made = mal_add_relaxed(&used, 1);
    if (made >= PATHS_MAX)
        return MAL_PATH_NONE;
    mal_paths[made].pc = pc;
    mal_paths[made].row = *row;
    return made;
}

uint32_t mal_path_extend(uint32_t path, uintptr_t pc, const struct mal_unwind_row *row) {
    uint32_t found = mal_path_find(path, pc);
    if (found != MAL_PATH_NONE)
        return found;
    uint32_t made = make(pc, row);
    if (made == MAL_PATH_NONE || !(note_branch(path, made) || note_other(path, made)))
        return MAL_PATH_NONE;
    return made;
}

void mal_paths_forget(void) {
    for (unsigned i = 0; i < MAL_PATH_BRANCHES; i++)
        mal_store_relaxed(&mal_paths[MAL_PATH_START].branch[i], 0);
    for (size_t i = 0; i < OTHER_SLOTS; i++)
        mal_store_relaxed(&others[i], 0);
}
