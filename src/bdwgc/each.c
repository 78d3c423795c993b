/* SPDX-License-Identifier: Apache-2.0
 *
 * A walk over all objects for the program, inside GC_call_with_alloc_lock. The engine walks
 * (gc/each.c); here are Boehm's names.
 */
#include "bdwgc/engine.h"
#include "bdwgc/private.h"

#include "mallard/bdwgc/gc/gc_mark.h"

BDWGC_PUBLIC void GC_enumerate_reachable_objects_inner(GC_reachable_object_proc procedure,
                                                       void *data) {
    mallard_gc_each_object(procedure, data);
}
