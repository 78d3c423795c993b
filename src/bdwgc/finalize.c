/* SPDX-License-Identifier: Apache-2.0
 *
 * Finalizers as Boehm's collector runs them: in a thread of the program, inside a later call of
 * this library, or when the program asks.
 *
 * Our collector calls finalizers on a thread of its own, for which such programs are not made. So
 * what it calls is `arrive`, which moves the object's record from the table to the queue; the
 * program's threads take records from the queue. Records, table and queue are collected objects
 * that hang on one handle; a record hides its object while that is alive, and holds it once it has
 * arrived.
 *
 * SYNCHRONIZATION: the lock FINALIZERS guards table and queue. Procedures run without it.
 *
 * Must never run a procedure inside another one, nor on the collector's thread.
 */
#include "bdwgc/engine.h"
#include "bdwgc/private.h"

#include "mallard/gc.h"

#include <stdlib.h>

#define BUCKETS 4096u

/* Self-pointers never count for the collector, so there are two of Boehm's four. */
enum order { ORDERED, UNORDERED };

struct record {
    struct record *next;
    uintptr_t hidden; /* ~ the object's start */
    size_t offset;    /* of the pointer that was registered: some have a tag */
    void *object;     /* that pointer, once it has arrived */
    GC_finalization_proc function;
    void *data;
    enum order order;
};

struct tables {
    struct record *bucket[BUCKETS];
    struct record *first_waiting, *last_waiting;
};

static struct mallard_gc_handle *handle;    /* of the tables; FINALIZERS */
static GC_finalizer_notifier_proc notifier; /* set before there are threads, as with Boehm's */
static __thread int running;                /* a procedure, on this thread */

int bdwgc_finalizers_wait;              /* relaxed atomic */
BDWGC_PUBLIC int GC_finalize_on_demand; /* set before there are threads */

/* NULL when no finalizer was ever registered. */
static struct tables *tables_locked(void) {
    return handle ? mallard_gc_handle_get(handle) : NULL;
}

static struct tables *make_tables_locked(void) {
    if (!handle) {
        struct tables *made = mallard_gc_alloc(sizeof *made, NULL);
        handle = made ? mallard_gc_handle_new(made) : NULL;
    }
    return tables_locked();
}

static struct record **place_locked(struct tables *tables, const void *object) {
    struct record **place = &tables->bucket[((uintptr_t)object >> 4) % BUCKETS];
    while (*place && (*place)->hidden != ~(uintptr_t)object)
        place = &(*place)->next;
    return place;
}

/* Called by the collector: the object is dead but for us. */
static void arrive(void *object) {
    bdwgc_lock(BDWGC_FINALIZERS);
    struct tables *tables = tables_locked();
    struct record **place = tables ? place_locked(tables, object) : NULL;
    struct record *record = place ? *place : NULL;
    if (record) {
        *place = record->next;
        record->next = NULL;
        record->object = (char *)object + record->offset;
        *(tables->last_waiting ? &tables->last_waiting->next : &tables->first_waiting) = record;
        tables->last_waiting = record;
        __atomic_store_n(&bdwgc_finalizers_wait, 1, __ATOMIC_RELAXED);
    }
    GC_finalizer_notifier_proc notify = record && GC_finalize_on_demand ? notifier : NULL;
    bdwgc_unlock(BDWGC_FINALIZERS);
    if (notify)
        notify();
}

static struct record *next_waiting(void) {
    bdwgc_lock(BDWGC_FINALIZERS);
    struct tables *tables = tables_locked();
    struct record *record = tables ? tables->first_waiting : NULL;
    if (record) {
        tables->first_waiting = record->next;
        if (!record->next)
            tables->last_waiting = NULL;
    }
    if (!record || !record->next)
        __atomic_store_n(&bdwgc_finalizers_wait, 0, __ATOMIC_RELAXED);
    bdwgc_unlock(BDWGC_FINALIZERS);
    return record;
}

BDWGC_PUBLIC int GC_invoke_finalizers(void) {
    int count = 0;
    if (running)
        return 0;
    running = 1;
    for (struct record *record; (record = next_waiting()) != NULL; count++)
        record->function(record->object, record->data);
    running = 0;
    return count;
}

int bdwgc_is_finalizing(void) {
    return running;
}

void bdwgc_finalize_some(void) {
    if (!GC_finalize_on_demand && !running)
        GC_invoke_finalizers();
}

/* Takes the record of an object out of the table, or makes one. */
static struct record *exchange(void *object, struct record *fresh) {
    bdwgc_lock(BDWGC_FINALIZERS);
    struct tables *tables = fresh ? make_tables_locked() : tables_locked();
    struct record *before = NULL;
    if (tables) {
        struct record **place = place_locked(tables, object);
        before = *place;
        if (before)
            *place = before->next;
        if (fresh) {
            place = place_locked(tables, object);
            fresh->next = *place;
            *place = fresh;
        }
    }
    bdwgc_unlock(BDWGC_FINALIZERS);
    return before;
}

/* The hook of the collector's that leads to the record. */
static void tell_collector(void *start, const struct record *record, const struct record *before) {
    if (before && (!record || before->order != record->order))
        mallard_gc_finalizer_set(start, NULL);
    else if (before)
        return;
    if (record && record->order == UNORDERED)
        mallard_gc_finalizer_set_unordered(start, arrive);
    else if (record)
        mallard_gc_finalizer_set(start, arrive);
}

/* The record that the object had. */
static const struct record *set_record(void *object, const struct record *wanted) {
    void *start = mallard_gc_base(object);
    struct record *record =
        start && wanted->function ? mallard_gc_alloc(sizeof *record, NULL) : NULL;
    if (!start)
        return NULL;
    if (record) {
        *record = *wanted;
        record->hidden = ~(uintptr_t)start;
        record->offset = (uintptr_t)object - (uintptr_t)start;
    }
    const struct record *before = exchange(start, record);
    tell_collector(start, record, before);
    return before;
}

static void answer(const struct record *before, GC_finalization_proc *ret_function,
                   void **ret_data) {
    if (ret_function)
        *ret_function = before ? before->function : NULL;
    if (ret_data)
        *ret_data = before ? before->data : NULL;
}

BDWGC_PUBLIC void GC_register_finalizer(void *object, GC_finalization_proc function, void *data,
                                        GC_finalization_proc *ret_function, void **ret_data) {
    struct record wanted = {.function = function, .data = data, .order = ORDERED};
    answer(set_record(object, &wanted), ret_function, ret_data);
}

BDWGC_PUBLIC void GC_register_finalizer_ignore_self(void *object, GC_finalization_proc function,
                                                    void *data, GC_finalization_proc *ret_function,
                                                    void **ret_data) {
    GC_register_finalizer(object, function, data, ret_function, ret_data);
}

BDWGC_PUBLIC void GC_register_finalizer_no_order(void *object, GC_finalization_proc function,
                                                 void *data, GC_finalization_proc *ret_function,
                                                 void **ret_data) {
    struct record wanted = {.function = function, .data = data, .order = UNORDERED};
    answer(set_record(object, &wanted), ret_function, ret_data);
}

BDWGC_PUBLIC void GC_register_finalizer_unreachable(void *object, GC_finalization_proc function,
                                                    void *data, GC_finalization_proc *ret_function,
                                                    void **ret_data) {
    GC_register_finalizer(object, function, data, ret_function, ret_data);
}

BDWGC_PUBLIC int GC_should_invoke_finalizers(void) {
    return __atomic_load_n(&bdwgc_finalizers_wait, __ATOMIC_RELAXED);
}

BDWGC_PUBLIC void GC_set_finalize_on_demand(int value) {
    GC_finalize_on_demand = value;
}

BDWGC_PUBLIC int GC_get_finalize_on_demand(void) {
    return GC_finalize_on_demand;
}

BDWGC_PUBLIC GC_finalizer_notifier_proc GC_get_finalizer_notifier(void) {
    return notifier;
}

BDWGC_PUBLIC void GC_set_finalizer_notifier(GC_finalizer_notifier_proc procedure) {
    notifier = procedure;
}
