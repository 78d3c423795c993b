/* SPDX-License-Identifier: Apache-2.0
 *
 * Mark procedures, for kinds of objects that have one.
 */
#ifndef BDWGC_MARKING_H
#define BDWGC_MARKING_H

#include "bdwgc/engine.h"
#include "bdwgc/private.h"

#include "mallard/bdwgc/gc/gc_mark.h"

/* NULL: the descriptor asks for none. */
GC_mark_proc bdwgc_procedure_of(GC_word descriptor);
/* Calls the descriptor's; a mallard_gc_procedure. */
void bdwgc_mark_object(struct mallard_gc_marker *marker, void *object, uintptr_t descriptor);

#endif
