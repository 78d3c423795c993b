/* SPDX-License-Identifier: Apache-2.0
 *
 * What programs say while the collector marks: procedures that look into objects for it, and roots
 * that they push. See gc/gc_mark.h for what is promised, gc/procedures.c for how.
 *
 * Path down: the collector calls, with the world stopped, `push_roots` once in each stop and
 * bdwgc_mark_object for each object of a kind with a procedure. Path up: what the program then
 * calls marks with the marker that is current.
 *
 * SYNCHRONIZATION: `marker` is the one thread's that runs while the world is stopped. Procedures
 * are numbered by an atomic counter; each is written before anybody can know its number.
 */
#include "bdwgc/marking.h"

#include "mallard/bdwgc/gc/gc_mark.h"

#define ENTRIES 64 /* room that procedures may ask for; nothing is written there */

BDWGC_PUBLIC void *GC_least_plausible_heap_addr = (void *)4096;
BDWGC_PUBLIC void *GC_greatest_plausible_heap_addr = (void *)UINTPTR_MAX;

static GC_mark_proc procedures[GC_MAX_MARK_PROCS];
static unsigned next_procedure = GC_RESERVED_MARK_PROCS; /* atomic */

static struct mallard_gc_marker *marker; /* NULL: nobody marks */
GC_word bdwgc_cycle, bdwgc_cycle_told;

/* ---- procedures ---- */

/* One too many has the number of no procedure, whose objects are scanned word by word. */
BDWGC_PUBLIC unsigned GC_new_proc(GC_mark_proc procedure) {
    unsigned index = __atomic_fetch_add(&next_procedure, 1, __ATOMIC_RELAXED);
    if (index >= GC_MAX_MARK_PROCS)
        return GC_GCJ_RESERVED_MARK_PROC_INDEX;
    procedures[index] = procedure;
    return index;
}

BDWGC_PUBLIC unsigned GC_new_proc_inner(GC_mark_proc procedure) {
    return GC_new_proc(procedure);
}

GC_mark_proc bdwgc_procedure_of(GC_word descriptor) {
    if ((descriptor & GC_DS_TAGS) != GC_DS_PROC)
        return NULL;
    return procedures[descriptor >> GC_DS_TAG_BITS & (GC_MAX_MARK_PROCS - 1)];
}

void bdwgc_mark_object(struct mallard_gc_marker *with, void *object, uintptr_t descriptor) {
    static struct GC_ms_entry entries[ENTRIES];
    GC_word environment = descriptor >> (GC_DS_TAG_BITS + GC_LOG_MAX_MARK_PROCS);
    marker = with;
    bdwgc_procedure_of(descriptor)(object, entries, entries + ENTRIES, environment);
    marker = NULL;
}

BDWGC_PUBLIC struct GC_ms_entry *GC_mark_and_push(void *object, struct GC_ms_entry *top,
                                                  struct GC_ms_entry *limit, void **source) {
    (void)limit;
    (void)source;
    GC_set_mark_bit(object);
    return top;
}

/* ---- roots ---- */

static void push_nothing(void) {}

BDWGC_PUBLIC GC_push_other_roots_proc GC_push_other_roots = push_nothing;

BDWGC_PUBLIC void GC_set_push_other_roots(GC_push_other_roots_proc procedure) {
    GC_push_other_roots = procedure;
}

BDWGC_PUBLIC GC_push_other_roots_proc GC_get_push_other_roots(void) {
    return GC_push_other_roots;
}

static void push_roots(struct mallard_gc_marker *with, void *none, uintptr_t cycle) {
    (void)none;
    __atomic_store_n(&bdwgc_cycle, cycle, __ATOMIC_RELAXED);
    marker = with;
    if (GC_push_other_roots)
        GC_push_other_roots();
    marker = NULL;
}

static __attribute__((constructor)) void set_up(void) {
    mallard_gc_procedure_of_roots(push_roots);
}

BDWGC_PUBLIC void GC_push_all(void *low, void *above) {
    if (marker)
        mallard_gc_marker_range(marker, (uintptr_t)low, (uintptr_t)above);
}

BDWGC_PUBLIC void GC_push_all_eager(void *low, void *above) {
    GC_push_all(low, above);
}

BDWGC_PUBLIC void GC_push_conditional(void *low, void *above, int all) {
    (void)all;
    GC_push_all(low, above);
}

BDWGC_PUBLIC void GC_set_mark_bit(const void *object) {
    if (marker)
        mallard_gc_marker_word(marker, (uintptr_t)object);
}
