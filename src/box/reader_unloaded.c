/* SPDX-License-Identifier: Apache-2.0
 *
 * Code that was unloaded.
 *
 * A library is often loaded where another one was before. Then one address means two things, and
 * which of the two only the stack tells by its age (box/layout.h). Whoever shows a profile wants
 * one place for one address. So in a snapshot a module that was unloaded lies APART_BYTES times its
 * number higher, its load bias with it, and so do the pcs of the stacks that passed through it: no
 * two modules overlap, and what a module's file says of an address less the bias is as it was.
 *
 * SYNCHRONIZATION. Private copies only.
 *
 * Must never trust a range: a damaged one gives a wrong name, not an access outside of the copies.
 */
#include "box/reader.h"

#include "box/reader_private.h"

#include <stdlib.h>

#define APART_BYTES (1ull << 48) /* above every address of a program */

/* Numbers of the modules that were unloaded. */
struct unloaded {
    size_t count;
    size_t number[MAL_BOX_MODULES_MAX];
};

static bool may_hold(const struct mal_snapshot_module *module, uint64_t pc, uint64_t stack) {
    return pc - module->start < module->limit - module->start && module->first_stack <= stack;
}

static bool is_in_unloaded(const struct mal_snapshot *snapshot, const struct unloaded *unloaded,
                           uint64_t pc, uint64_t stack) {
    for (size_t i = 0; i < unloaded->count; i++)
        if (may_hold(&snapshot->modules[unloaded->number[i]], pc, stack))
            return true;
    return false;
}

static uint64_t distance_of(const struct mal_snapshot *snapshot, size_t module) {
    return snapshot->modules[module].unloaded && module > 0 ? (module + 1) * APART_BYTES : 0;
}

/* How far the pc of the stack at that word has to move. */
static uint64_t distance(const struct mal_snapshot *snapshot, uint64_t pc, uint64_t stack) {
    for (size_t i = snapshot->module_count; i-- > 0;)
        if (may_hold(&snapshot->modules[i], pc, stack))
            return distance_of(snapshot, i);
    return 0;
}

/* Buckets may share a stack: what was moved already is in no range any more. */
static void move_stack(const struct mal_snapshot *snapshot, const struct unloaded *unloaded,
                       uint64_t *stacks, const struct mal_snapshot_bucket *bucket) {
    uint64_t stack = (uint64_t)(bucket->pcs - 1 - stacks);
    for (uint64_t *pc = stacks + stack + 1; pc < stacks + stack + 1 + bucket->depth; pc++)
        if (is_in_unloaded(snapshot, unloaded, *pc, stack))
            *pc += distance(snapshot, *pc, stack);
}

static void move_module(const struct mal_snapshot *snapshot, size_t number) {
    struct mal_snapshot_module *module = &snapshot->modules[number];
    uint64_t bytes = distance_of(snapshot, number);
    module->start += bytes;
    module->limit += bytes;
    module->load_bias += bytes;
}

void mal_reader_set_unloaded_apart(struct mal_snapshot *snapshot, uint64_t *stacks) {
    struct unloaded unloaded = {0};
    for (size_t i = 1; i < snapshot->module_count; i++)
        if (snapshot->modules[i].unloaded)
            unloaded.number[unloaded.count++] = i;
    for (size_t i = 0; unloaded.count > 0 && i < snapshot->bucket_count; i++)
        move_stack(snapshot, &unloaded, stacks, &snapshot->buckets[i]);
    for (size_t i = 0; i < unloaded.count; i++)
        move_module(snapshot, unloaded.number[i]);
}
