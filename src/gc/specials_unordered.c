/* SPDX-License-Identifier: Apache-2.0
 *
 * Finalizers without an order, as programs written for Boehm's collector have them: of objects that
 * lead to each other, in a ring too, all are finalized in the same cycle. Asked for by
 * libmallard-bdwgc.so alone (bdwgc/engine.h).
 *
 * Such a finalizer keeps nothing alive while marking goes on: neither its object nor what that
 * leads to. So when all that is reachable is marked, with the world stopped, an object that is not
 * marked is dead whatever leads to it from other dead ones. Then
 *
 *     1. links that disappear are emptied where their object is not marked (gc/links.c)
 *     2. all such objects are judged, weak references to them emptied, their finalizers queued
 *     3. they are marked, and with them what they lead to: whole when the finalizer runs
 *
 * in this order: marking one of a ring would hide the others' death. What was judged stays so when
 * the stop is given up afterwards: no thread has a way to the object but its finalizer, which is in
 * the queue, a root.
 *
 * INVARIANT: world stopped, marking complete and judged  =>  no record of this kind hangs on an
 * unmarked object. So sweeping never meets one that is due.
 *
 * SYNCHRONIZATION: records are under their shard's lock (gc/specials_table.c). `had_any` is written
 * before the first record, in the critical section that adds it: no stop comes between.
 *
 * Must never run a finalizer, and never allocate.
 */
#include "base/atomic.h"
#include "gc/callbacks.h"
#include "gc/collector.h"
#include "gc/links.h"
#include "gc/specials.h"
#include "gc/specials_table.h"

struct judging {
    const struct mal_gc_collector *collector;
    struct mal_gc_worker *worker;
    bool any;
};

static bool had_any; /* relaxed atomic */

void mal_gc_specials_note_unordered(void) {
    mal_store_relaxed(&had_any, true);
}

/* ---- in the stop ---- */

static void revive_object(struct mal_special *special, uintptr_t object) {
    for (; special; special = special->next)
        if (special->object == object && special->kind != MAL_SPECIAL_CLEANUP)
            special->fate = MAL_FATE_REVIVED;
}

/* All before any is marked: records of one object lie in one chain. */
static bool judge_chain(const struct judging *judging, struct mal_special *chain) {
    bool any = false;
    for (struct mal_special *special = chain; special; special = special->next)
        special->fate = MAL_FATE_ALIVE;
    for (struct mal_special *special = chain; special; special = special->next)
        if (special->kind == MAL_SPECIAL_UNORDERED &&
            !judging->collector->is_marked(special->object)) {
            revive_object(chain, special->object);
            any = true;
        }
    return any;
}

static void carry_out_chain(const struct judging *judging, struct mal_special_shard *shard,
                            struct mal_special **link) {
    while (*link) {
        if ((*link)->fate != MAL_FATE_REVIVED) {
            link = &(*link)->next;
            continue;
        }
        struct mal_special *special = mal_special_unlink(shard, link);
        judging->collector->mark_word(judging->worker, special->object);
        mal_special_carry_out(shard, special);
    }
}

/* What is marked here is not looked into before all chains are through. */
static void visit_chain(struct mal_special_shard *shard, struct mal_special **chain,
                        void *context) {
    struct judging *judging = context;
    if (!judge_chain(judging, *chain))
        return;
    judging->any = true;
    carry_out_chain(judging, shard, chain);
}

bool mal_gc_specials_judge_unordered(struct mal_gc_worker *worker) {
    struct judging judging = {mal_gc_collector_get(), worker, false};
    if (!mal_load_relaxed(&had_any))
        return false;
    mal_gc_links_empty_short();
    mal_special_each_chain(visit_chain, &judging);
    return judging.any;
}
