/* SPDX-License-Identifier: Apache-2.0
 *
 * Specials in the life of the collector: what they keep alive, and what happens when their object
 * dies.
 *
 * A finalizer needs its object whole when it runs, so everything the object leads to is marked, but
 * not the object: it dies if nothing else leads to it. Hence the order: of two dead objects with
 * finalizers, one leading to the other, the first dies now and the second is marked through it and
 * dies in a later cycle; a ring of them never dies. What an object says of itself counts for
 * nothing: C++ objects with virtual bases point into themselves. Finalizers without an order are
 * judged in the stop (gc/specials_unordered.c).
 *
 * The sweeper asks for each page of a span whether it has specials. Of an unmarked object
 *     with a finalizer     the object is marked again, weak references are emptied, the finalizer
 *                          is queued; cleanups wait until the object dies without one
 *     without              weak references are emptied, cleanups are queued
 * all in one hold of the shard's lock and before the span's bits are swapped: the memory cannot be
 * given out before, and whoever finds the span swept finds its weak words emptied.
 *
 * WHY RESCAN. An object with a finalizer is scanned here but not marked. When the program stores
 * into it and then drops it, the dirty page leads the marker to marked objects only, so what was
 * stored would be swept under the finalizer's hands. mal_gc_specials_rescan looks at just these.
 *
 * SYNCHRONIZATION: see gc/specials_table.c. Records leave the chains for the queue only in a sweep
 * and when an object is freed by hand; all sweeps end before marking begins. What is added while
 * marking is shaded by who adds it, in the critical section that adds it.
 *
 * Must never run a callback, and never allocate.
 */
#include "gc/specials.h"

#include "base/atomic.h"
#include "base/attr.h"
#include "base/bits.h"
#include "gc/callbacks.h"
#include "gc/collector.h"
#include "gc/specials_table.h"
#include "mallard/gc.h"
#include "meta/classes.h"

/* ---- marking ---- */

/* Part of memory, for those who look at what lies in it. */
struct part {
    const struct mal_gc_collector *collector;
    struct mal_gc_worker *worker;
    uintptr_t low, high;
};

/* The words of [low, high) up to the first that leads into the object they lie in. */
static MAL_READS_ANYTHING uintptr_t stretch_end(uintptr_t low, uintptr_t high, uintptr_t object,
                                                size_t bytes) {
    while (low < high && mal_load_relaxed((const uintptr_t *)low) - object >= bytes)
        low += sizeof low;
    return mal_min(low, high);
}

static void mark_contents(const struct part *part, uintptr_t object) {
    uintptr_t start;
    size_t bytes;
    if (!part->collector->find(object, &start, &bytes) || mallard_gc_is_noscan((void *)start))
        return;
    uintptr_t low = mal_max(start, part->low), high = mal_min(start + bytes, part->high);
    low = mal_round_down(low, sizeof low);
    while (low < high) {
        uintptr_t until = stretch_end(low, high, start, bytes);
        if (low < until)
            part->collector->mark_contents(part->worker, start, low, until);
        low = until + sizeof low;
    }
}

static void mark_special(struct mal_special *special, void *context) {
    const struct part *part = context;
    if (special->kind == MAL_SPECIAL_FINALIZER)
        mark_contents(part, special->object);
    else if (special->kind == MAL_SPECIAL_CLEANUP)
        part->collector->mark_word(part->worker, (uintptr_t)special->callback.argument);
    else if (special->kind == MAL_SPECIAL_WEAK)
        part->collector->mark_word(part->worker, (uintptr_t)special->weak);
}

void mal_gc_specials_mark_roots(struct mal_gc_worker *worker) {
    struct part all = {mal_gc_collector_get(), worker, 0, UINTPTR_MAX};
    mal_special_each(mark_special, &all);
    mal_gc_callbacks_mark_roots(worker);
}

static void rescan_finalizers(const struct part *part, struct mal_special *special, uintptr_t low,
                              uintptr_t high) {
    for (; special; special = special->next)
        if (special->kind == MAL_SPECIAL_FINALIZER && special->object >= low &&
            special->object < high)
            mark_contents(part, special->object);
}

/* Records of objects that start in [low, high), a part of one block. */
static void rescan_block(const struct part *part, uintptr_t low, uintptr_t high) {
    struct mal_special_shard *shard = mal_special_lock(low);
    struct mal_special **chain = mal_special_chain(shard, low);
    if (chain)
        rescan_finalizers(part, *chain, low, high);
    mal_special_unlock(shard);
}

static void rescan_page(const struct part *part, uintptr_t page) {
    for (uintptr_t block = page; block < page + MAL_PAGE_BYTES; block += MAL_SPECIAL_BLOCK_BYTES)
        rescan_block(part, block, block + MAL_SPECIAL_BLOCK_BYTES);
}

void mal_gc_specials_rescan(struct mal_gc_worker *worker, uintptr_t low, uintptr_t high) {
    struct part part = {mal_gc_collector_get(), worker, low, high};
    uintptr_t start;
    size_t bytes;
    if (!mal_special_have_any())
        return;
    /* An object that reaches into the range from before it. */
    if (part.collector->find(low, &start, &bytes) &&
        mal_round_down(start, MAL_PAGE_BYTES) < mal_round_down(low, MAL_PAGE_BYTES))
        rescan_block(&part, start, start + 1);
    uintptr_t page = mal_special_next_page(mal_round_down(low, MAL_PAGE_BYTES), high);
    for (; page < high; page = mal_special_next_page(page + MAL_PAGE_BYTES, high))
        rescan_page(&part, page);
}

/* ---- sweeping ---- */

static bool is_in_block(const struct mal_special *special, uintptr_t block) {
    return special->object - block < MAL_SPECIAL_BLOCK_BYTES;
}

/* DEAD or ALIVE for each record of the block; true when any is dead. */
static bool judge_block(struct mal_special *special, uintptr_t block,
                        const struct mal_gc_sweep_view *view) {
    uint32_t turn = mal_gc_collector_get()->turn();
    bool any = false;
    for (; special; special = special->next) {
        if (!is_in_block(special, block))
            continue;
        special->fate = view->is_marked(special->object) ? MAL_FATE_ALIVE : MAL_FATE_DEAD;
        any |= special->fate == MAL_FATE_DEAD;
        if (special->kind == MAL_SPECIAL_WEAK)
            special->weak->turn = turn;
    }
    return any;
}

static void set_fate(struct mal_special *special, uintptr_t object, enum mal_special_fate fate) {
    for (; special; special = special->next)
        if (special->object == object)
            special->fate = (uint8_t)fate;
}

static void revive_block(struct mal_special *chain, uintptr_t block,
                         const struct mal_gc_sweep_view *view) {
    for (struct mal_special *special = chain; special; special = special->next)
        if (is_in_block(special, block) && special->fate == MAL_FATE_DEAD &&
            special->kind == MAL_SPECIAL_FINALIZER) {
            view->mark(special->object);
            set_fate(chain, special->object, MAL_FATE_REVIVED);
        }
}

/* An object that lives on for its finalizer keeps its cleanups. */
static bool is_due(const struct mal_special *special) {
    return special->fate == MAL_FATE_DEAD ||
           (special->fate == MAL_FATE_REVIVED && special->kind != MAL_SPECIAL_CLEANUP);
}

static void carry_out_block(struct mal_special_shard *shard, struct mal_special **link,
                            uintptr_t block) {
    while (*link)
        if (is_in_block(*link, block) && is_due(*link))
            mal_special_carry_out(shard, mal_special_unlink(shard, link));
        else
            link = &(*link)->next;
}

static bool has_any(const struct mal_special *special, uintptr_t block) {
    for (; special; special = special->next)
        if (is_in_block(special, block))
            return true;
    return false;
}

/* True when a record is left. */
static bool sweep_block(struct mal_special_shard *shard, uintptr_t block,
                        const struct mal_gc_sweep_view *view) {
    struct mal_special **chain = mal_special_chain(shard, block);
    if (!chain)
        return false;
    if (judge_block(*chain, block, view)) {
        revive_block(*chain, block, view);
        carry_out_block(shard, chain, block);
    }
    return has_any(*chain, block);
}

/* A page belongs to one shard and one span. */
static void sweep_page(uintptr_t page, const struct mal_gc_sweep_view *view) {
    struct mal_special_shard *shard = mal_special_lock(page);
    bool any = false;
    for (uintptr_t block = page; block < page + MAL_PAGE_BYTES; block += MAL_SPECIAL_BLOCK_BYTES)
        any |= sweep_block(shard, block, view);
    if (!any)
        mal_special_clear_page(shard, page);
    mal_special_unlock(shard);
}

void mal_gc_specials_sweep(const struct mal_gc_sweep_view *view) {
    uintptr_t page = mal_special_next_page(view->low, view->high);
    for (; page < view->high; page = mal_special_next_page(page + MAL_PAGE_BYTES, view->high))
        sweep_page(page, view);
}

bool mal_gc_specials_on_pages(uintptr_t low, uintptr_t high) {
    return mal_special_next_page(low, high) < high;
}

/* ---- freed by hand ---- */

static void forget_in_chain(struct mal_special_shard *shard, struct mal_special **link,
                            uintptr_t object) {
    while (*link) {
        if ((*link)->object != object) {
            link = &(*link)->next;
            continue;
        }
        struct mal_special *special = mal_special_unlink(shard, link);
        if (mal_special_is_finalizer(special))
            mal_special_recycle(shard, special);
        else
            mal_special_carry_out(shard, special);
    }
}

void mal_gc_specials_forget(uintptr_t object) {
    if (!mal_gc_specials_on_pages(object, object + 1))
        return;
    struct mal_special_shard *shard = mal_special_lock(object);
    struct mal_special **chain = mal_special_chain(shard, object);
    if (chain)
        forget_in_chain(shard, chain, object);
    mal_special_unlock(shard);
}

void mal_gc_specials_before_fork(void) {
    mal_special_lock_all();
}

void mal_gc_specials_after_fork(bool child) {
    (void)child;
    mal_special_unlock_all();
}
