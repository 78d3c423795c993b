/* SPDX-License-Identifier: Apache-2.0
 *
 * Links that disappear, as programs written for Boehm's collector use them: a word, mostly a
 * disguised pointer to the object or one that lies in an object without pointers, is set to zero
 * when the object dies, and no thread ever sees it full after that.
 *
 * WHY IN THE STOP. Such programs read the word and have a pointer: nobody is asked in between, so
 * it must be empty before the program goes on after the marking that found the object dead. Before
 * that stop, whoever has read the word has the pointer on a stack, in a register or in memory that
 * was written to, all of which the last part of the marking looks at: the object lives. Only a
 * thread stopped between reading a disguised word and revealing it would escape; it does both
 * inside mallard_gc_link_call, which no stop interrupts.
 *
 *     a short link is emptied when its object is not marked
 *     a long link, when besides it has no finalizer to run: it may come back until then (objects
 *     with finalizers without an order are marked by then: gc/specials_unordered.c)
 *     a link that lies in an unmarked object itself is forgotten
 *
 * SYNCHRONIZATION: `lock` (rank GC_LINKS) guards the table; who holds it is in a critical section,
 * so it is free while the world is stopped.
 *
 * Must never look at marks outside that stop, and never allocate in it.
 */
#include "gc/links.h"

#include "base/attr.h"
#include "base/bits.h"
#include "gc/arena.h"
#include "gc/heap.h"
#include "gc/specials_table.h"
#include "gc/world.h"
#include "meta/memory.h"
#include "os/critical.h"
#include "os/lock.h"

#include <errno.h>

#define BUCKETS (1u << 16)

struct link {
    struct link *next_of_bucket;
    struct link *next, *previous; /* of all */
    void **place;
    uintptr_t object;
    unsigned kind; /* enum mallard_gc_link_kind */
};

/* For libmallard-bdwgc.so: see bdwgc/engine.h. */
enum mallard_gc_link_kind { LINK_SHORT, LINK_LONG };
MAL_PUBLIC int mallard_gc_link_add(void **place, const void *object, unsigned kind);
MAL_PUBLIC int mallard_gc_link_remove(void **place, unsigned kind);
MAL_PUBLIC int mallard_gc_link_move(void **place, void **to, unsigned kind);
MAL_PUBLIC void *mallard_gc_link_call(void *(*function)(void *data), void *data);

static struct mal_lock lock = MAL_LOCK_INIT(MAL_RANK_GC_LINKS);
static struct link *all;        /* lock */
static struct mal_table bucket; /* lock; struct link * */
static struct mal_pool links = MAL_POOL_INIT(sizeof(struct link), MAL_META_GC);

/* The bucket of a place; NULL while there is no table and no memory for one. */
static struct link **bucket_of_locked(void **place) {
    size_t bytes = BUCKETS * sizeof(struct link *);
    if (!bucket.base && mal_table_reserve(&bucket, bytes, MAL_META_GC) != 0)
        return NULL;
    if (mal_table_commit(&bucket, bytes) != 0)
        return NULL;
    return (struct link **)(void *)bucket.base + mal_mix((uintptr_t)place) % BUCKETS;
}

/* Where the link hangs, or the end of its chain. */
static struct link **find_locked(void **place, unsigned kind) {
    struct link **at = bucket_of_locked(place);
    while (at && *at && ((*at)->place != place || (*at)->kind != kind))
        at = &(*at)->next_of_bucket;
    return at;
}

/* Memory of an arena may be out of reach while its addresses still count as an object. */
static int add_locked(void **place, uintptr_t object, unsigned kind) {
    if (mal_gc_arena_holds((uintptr_t)place))
        return -EINVAL;
    struct link **at = find_locked(place, kind);
    if (at && *at) {
        (*at)->object = object;
        return 1;
    }
    struct link *link = at ? mal_pool_take(&links) : NULL;
    if (!link)
        return -ENOMEM;
    *link = (struct link){.next = all, .place = place, .object = object, .kind = kind};
    if (all)
        all->previous = link;
    all = *at = link;
    return 0;
}

static void remove_locked(struct link **at) {
    struct link *link = *at;
    *at = link->next_of_bucket;
    if (link->previous)
        link->previous->next = link->next;
    else
        all = link->next;
    if (link->next)
        link->next->previous = link->previous;
    mal_pool_give(&links, link);
}

/* 0, 1 when there was one at the place (it is the object's now), -ENOMEM, -EINVAL: in an
 * arena. */
int mallard_gc_link_add(void **place, const void *object, unsigned kind) {
    mal_lock(&lock);
    int result = add_locked(place, (uintptr_t)object, kind);
    mal_unlock(&lock);
    return result;
}

/* Whether there was one. */
int mallard_gc_link_remove(void **place, unsigned kind) {
    mal_lock(&lock);
    struct link **at = find_locked(place, kind);
    int found = at && *at;
    if (found)
        remove_locked(at);
    mal_unlock(&lock);
    return found;
}

static int move_locked(void **place, void **to, unsigned kind) {
    struct link **from = find_locked(place, kind);
    struct link **there = find_locked(to, kind);
    if (!from || !*from)
        return -ENOENT;
    if (place == to)
        return 0;
    if (there && *there)
        return 1;
    int result = add_locked(to, (*from)->object, kind);
    if (result == 0)
        remove_locked(find_locked(place, kind));
    return result;
}

/* 0, 1 when there is another one already, -ENOENT, -ENOMEM, -EINVAL. */
int mallard_gc_link_move(void **place, void **to, unsigned kind) {
    mal_lock(&lock);
    int result = move_locked(place, to, kind);
    mal_unlock(&lock);
    return result;
}

/* The function must be short, must not allocate, and must wait for nobody who can be stopped.
 * Callers that it tells something may have to write that down before they are stopped: Guile's
 * virtual machine, that its stack has moved. So this is no place to stop at. */
void *mallard_gc_link_call(void *(*function)(void *data), void *data) {
    mal_gc_park_first();
    mal_critical_enter();
    void *result = function(data);
    MAL_CRITICAL_PIN(result);
    mal_gc_park_note_end();
    if (mal_critical_leave_is_due())
        mal_gc_park_later();
    return result;
}

/* ---- in the stop ---- */

static bool is_dead(const struct link *link) {
    return !mal_gc_heap_is_marked(link->object) &&
           !(link->kind == LINK_LONG && mal_special_has_finalizer(link->object));
}

/* Whether the word lies in an object that dies too. */
static bool is_lost(const struct link *link) {
    uintptr_t start;
    size_t bytes;
    return mal_gc_heap_find((uintptr_t)link->place, &start, &bytes) &&
           !mal_gc_heap_is_marked(start);
}

void mal_gc_links_end_mark(void) {
    struct link *next;
    mal_lock(&lock);
    for (struct link *link = all; link; link = next) {
        next = link->next;
        bool lost = is_lost(link);
        if (!lost && !is_dead(link))
            continue;
        if (!lost)
            *link->place = NULL;
        remove_locked(find_locked(link->place, link->kind));
    }
    mal_unlock(&lock);
}

/* Those in objects that are not marked too: they may come back. */
void mal_gc_links_empty_short(void) {
    struct link *next;
    mal_lock(&lock);
    for (struct link *link = all; link; link = next) {
        next = link->next;
        if (link->kind != LINK_SHORT || mal_gc_heap_is_marked(link->object))
            continue;
        *link->place = NULL;
        remove_locked(find_locked(link->place, link->kind));
    }
    mal_unlock(&lock);
}

void mal_gc_links_before_fork(void) {
    mal_lock(&lock);
    mal_lock_note_released(&lock);
}

void mal_gc_links_after_fork(void) {
    mal_unlock(&lock);
}
