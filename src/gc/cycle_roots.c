/* SPDX-License-Identifier: Apache-2.0
 *
 * Where a cycle starts from.
 *
 * Stacks, registers and thread-local storage are taken at both stops, everything else at any time.
 * Each range goes to the mark kernel as words that may be pointers; here only bytes are counted.
 *
 * SYNCHRONIZATION: the owner's, no state.
 */
#include "gc/cycle_private.h"

#include "gc/arena.h"
#include "gc/callbacks.h"
#include "gc/malloc_roots.h"
#include "gc/mark.h"
#include "gc/pool.h"
#include "gc/procedures.h"
#include "gc/specials.h"
#include "gc/world.h"

struct marking {
    struct mal_gc_worker *worker;
    struct mal_gc_root_bytes bytes;
};

static void mark(uintptr_t low, uintptr_t high, enum mal_gc_root_kind kind, void *context) {
    struct marking *marking = context;
    mal_gc_mark_range(marking->worker, low, high);
    uint64_t *bytes = kind == MAL_GC_ROOT_SEGMENT || kind == MAL_GC_ROOT_EXPLICIT
                          ? &marking->bytes.globals
                          : &marking->bytes.stack;
    *bytes += high - low;
}

struct mal_gc_root_bytes mal_gc_roots_mark_stacks(struct mal_gc_worker *worker) {
    struct marking marking = {worker, {0, 0}};
    mal_gc_world_each_stack(mark, &marking);
    return marking.bytes;
}

uint64_t mal_gc_roots_mark_globals(struct mal_gc_worker *worker) {
    struct marking marking = {worker, {0, 0}};
    mal_gc_world_each_segment(mark, &marking);
    mal_gc_world_each_explicit(mark, &marking);
    return marking.bytes.globals;
}

void mal_gc_roots_mark_moving(struct mal_gc_worker *worker) {
    mal_gc_callbacks_mark_roots(worker);
    mal_gc_pools_mark_roots(worker);
}

void mal_gc_roots_mark_others(struct mal_gc_worker *worker) {
    mal_gc_specials_mark_roots(worker);
    mal_gc_pools_mark_roots(worker);
    mal_gc_arenas_mark_roots(worker);
}

void mal_gc_roots_mark_all(struct mal_gc_worker *worker) {
    mal_gc_roots_mark_stacks(worker);
    mal_gc_roots_mark_globals(worker);
    mal_gc_roots_mark_others(worker);
    mal_gc_procedures_call_again(worker);
    if (mal_gc_wants(MAL_GC_DEBUG_MALLOC_ROOTS))
        mal_gc_malloc_roots_mark(worker);
}
