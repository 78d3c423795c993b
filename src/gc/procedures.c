/* SPDX-License-Identifier: Apache-2.0
 *
 * Mark procedures.
 *
 * Programs written for Boehm's collector may say of an object: do not look into it, call this, it
 * marks what the object leads to. The procedure then skips words (a weak table), or goes on in
 * memory that is none of the heap's (the stack of a virtual machine). It was written for a world
 * that stands still: it reads stacks that their threads push to, without a lock. So it is called in
 * a stop, by the thread that owns the cycle, one after the other.
 *
 *     an object with a procedure has no pointer bits: the marker marks it and goes no further
 *     a procedure is due when its object is marked, or kept for a finalizer
 *     marking is complete  =>  every procedure that is due was called in this same stop
 *
 * WHY THAT IS ENOUGH. What lies behind procedures is found by the last stop at the latest, whose
 * answers hold, since nobody runs before marking is over. What an earlier stop was told, before it
 * was given up, may be out of date; it kept objects for one cycle too long and lost none. That stop
 * is also why a pause stays short with much behind a procedure: the first one finds it, runs out of
 * time and is given up, it is marked beside the program, and the next one finds most of it marked.
 *
 * One that was called may make another due, through any number of objects between them; so passes
 * over the list go on until one finds nothing. They alternate in direction, and drain a little
 * after each call, so that a chain in the order in which it was made, or the reverse, is one pass.
 *
 * The procedure of the roots has no object, and is always due.
 *
 * SYNCHRONIZATION: `lock` (rank GC_PROCEDURES) guards table and list; who holds it is in a critical
 * section, so it is free while the world is stopped, when only the owner of the cycle looks here.
 *
 * Must never call a procedure while a thread of the program may run.
 */
#include "gc/procedures.h"

#include "base/atomic.h"
#include "base/attr.h"
#include "base/bits.h"
#include "gc/heap.h"
#include "gc/mark.h"
#include "gc/specials_table.h"
#include "meta/memory.h"
#include "os/clock.h"
#include "os/critical.h"
#include "os/lock.h"

#include <errno.h>

#define BUCKETS (1u << 14)
#define DRAIN_BYTES (64u << 10)

/* For libmallard-bdwgc.so: see bdwgc/engine.h. A marker is a worker. */
typedef void mallard_gc_procedure(struct mal_gc_worker *marker, void *object, uintptr_t data);
MAL_PUBLIC int mallard_gc_procedure_add(void *object, mallard_gc_procedure *function,
                                        uintptr_t data);
MAL_PUBLIC int mallard_gc_procedure_move(const void *object, void *to);
MAL_PUBLIC int mallard_gc_procedure_remove(const void *object);
MAL_PUBLIC void mallard_gc_procedure_of_roots(mallard_gc_procedure *function);
MAL_PUBLIC void mallard_gc_marker_word(struct mal_gc_worker *marker, uintptr_t word);
MAL_PUBLIC void mallard_gc_marker_range(struct mal_gc_worker *marker, uintptr_t low,
                                        uintptr_t high);

struct procedure {
    struct procedure *next_of_bucket;
    struct procedure *next, *previous; /* of all */
    uintptr_t object;
    mallard_gc_procedure *function;
    uintptr_t data;
    uint32_t called; /* in the stop of this number; the owner's */
};

static struct mal_lock lock = MAL_LOCK_INIT(MAL_RANK_GC_PROCEDURES);
static struct procedure *first, *last; /* lock; whether there is a first one is read without */
static struct mal_table bucket;        /* lock; struct procedure * */
static struct mal_pool procedures = MAL_POOL_INIT(sizeof(struct procedure), MAL_META_GC);

static mallard_gc_procedure *of_roots; /* atomic; NULL: none */
static uint32_t stop = 1;              /* its number; the owner's */
static uint32_t roots_called;          /* the owner's */
static bool backwards;                 /* the next pass; the owner's */

/* ---- the table ---- */

static struct procedure **bucket_of_locked(uintptr_t object) {
    size_t bytes = BUCKETS * sizeof(struct procedure *);
    if (!bucket.base && mal_table_reserve(&bucket, bytes, MAL_META_GC) != 0)
        return NULL;
    if (mal_table_commit(&bucket, bytes) != 0)
        return NULL;
    return (struct procedure **)(void *)bucket.base + mal_mix(object) % BUCKETS;
}

/* Where the procedure hangs, or the end of its chain; NULL without memory for a table. */
static struct procedure **find_locked(uintptr_t object) {
    struct procedure **at = bucket_of_locked(object);
    while (at && *at && (*at)->object != object)
        at = &(*at)->next_of_bucket;
    return at;
}

static void link_locked(struct procedure *procedure) {
    procedure->next = first;
    if (first)
        first->previous = procedure;
    else
        last = procedure;
    mal_store_relaxed(&first, procedure);
}

static void remove_locked(struct procedure **at) {
    struct procedure *procedure = *at;
    *at = procedure->next_of_bucket;
    *(procedure->previous ? &procedure->previous->next : &first) = procedure->next;
    *(procedure->next ? &procedure->next->previous : &last) = procedure->previous;
    mal_pool_give(&procedures, procedure);
}

static int add_locked(uintptr_t object, mallard_gc_procedure *function, uintptr_t data) {
    struct procedure **at = find_locked(object);
    struct procedure *procedure = at ? *at : NULL;
    if (procedure) {
        procedure->function = function;
        procedure->data = data;
        return 0;
    }
    procedure = at ? mal_pool_take(&procedures) : NULL;
    if (!procedure)
        return -ENOMEM;
    *procedure = (struct procedure){.object = object, .function = function, .data = data};
    *at = procedure;
    link_locked(procedure);
    return 0;
}

int mallard_gc_procedure_add(void *object, mallard_gc_procedure *function, uintptr_t data) {
    mal_lock(&lock);
    int result = add_locked((uintptr_t)object, function, data);
    mal_unlock(&lock);
    return result;
}

/* -ENOENT: there is none, which takes no lock where there has never been one. */
int mallard_gc_procedure_remove(const void *object) {
    if (!mal_load_relaxed(&first))
        return -ENOENT;
    mal_lock(&lock);
    struct procedure **at = find_locked((uintptr_t)object);
    int result = at && *at ? 0 : -ENOENT;
    if (result == 0)
        remove_locked(at);
    mal_unlock(&lock);
    return result;
}

static int move_locked(uintptr_t object, uintptr_t to) {
    struct procedure **at = find_locked(object);
    if (!at || !*at)
        return -ENOENT;
    int result = add_locked(to, (*at)->function, (*at)->data);
    if (result == 0)
        remove_locked(find_locked(object));
    return result;
}

int mallard_gc_procedure_move(const void *object, void *to) {
    if (!mal_load_relaxed(&first))
        return -ENOENT;
    mal_lock(&lock);
    int result = move_locked((uintptr_t)object, (uintptr_t)to);
    mal_unlock(&lock);
    return result;
}

void mallard_gc_procedure_of_roots(mallard_gc_procedure *function) {
    mal_store_release(&of_roots, function);
}

/* ---- what procedures call ---- */

void mallard_gc_marker_word(struct mal_gc_worker *marker, uintptr_t word) {
    mal_gc_mark_word(marker, word);
}

void mallard_gc_marker_range(struct mal_gc_worker *marker, uintptr_t low, uintptr_t high) {
    mal_gc_mark_range(marker, low, high);
}

/* ---- in the stop ---- */

void mal_gc_procedures_begin(void) {
    stop++;
}

static bool is_due(const struct procedure *procedure) {
    return mal_gc_heap_is_marked(procedure->object) || mal_special_has_finalizer(procedure->object);
}

static void call(struct mal_gc_worker *worker, const struct procedure *procedure) {
    procedure->function(worker, (void *)procedure->object, procedure->data);
}

/* It is told the number of the cycle. */
static bool call_roots(struct mal_gc_worker *worker) {
    mallard_gc_procedure *function = mal_load_acquire(&of_roots);
    if (function)
        function(worker, NULL, mal_gc_cycle);
    return function != NULL;
}

static bool call_roots_once(struct mal_gc_worker *worker) {
    if (roots_called == stop)
        return false;
    roots_called = stop;
    return call_roots(worker);
}

static bool call_if_due(struct mal_gc_worker *worker, struct procedure *procedure) {
    if (procedure->called == stop || !is_due(procedure))
        return false;
    procedure->called = stop;
    call(worker, procedure);
    mal_gc_drain(worker, DRAIN_BYTES, NULL);
    return true;
}

bool mal_gc_procedures_call(struct mal_gc_worker *worker, uint64_t deadline_ns) {
    bool any = call_roots_once(worker);
    struct procedure *procedure = backwards ? last : first;
    for (; procedure; procedure = backwards ? procedure->previous : procedure->next)
        if (call_if_due(worker, procedure)) {
            any = true;
            if (mal_clock_mono_ns() > deadline_ns)
                break;
        }
    backwards = !backwards;
    return any;
}

void mal_gc_procedures_call_again(struct mal_gc_worker *worker) {
    if (roots_called == stop)
        call_roots(worker);
    for (const struct procedure *procedure = first; procedure; procedure = procedure->next)
        if (procedure->called == stop)
            call(worker, procedure);
}

void mal_gc_procedures_end_mark(void) {
    struct procedure *next;
    mal_lock(&lock);
    for (struct procedure *procedure = first; procedure; procedure = next) {
        next = procedure->next;
        if (!is_due(procedure))
            remove_locked(find_locked(procedure->object));
    }
    mal_unlock(&lock);
}

void mal_gc_procedures_before_fork(void) {
    mal_lock(&lock);
    mal_lock_note_released(&lock);
}

void mal_gc_procedures_after_fork(void) {
    mal_unlock(&lock);
}
