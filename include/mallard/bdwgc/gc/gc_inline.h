/* SPDX-License-Identifier: Apache-2.0
 *
 * Lists of objects under the names of Boehm's collector. The macros that take objects off such
 * lists are not there: GC_malloc is as fast.
 */
#ifndef MALLARD_BDWGC_GC_INLINE_H
#define MALLARD_BDWGC_GC_INLINE_H

#include "gc.h"

#ifdef __cplusplus
extern "C" {
#endif

/* As GC_generic_malloc. */
void *GC_malloc_kind(size_t bytes, int kind);
void *GC_malloc_kind_global(size_t bytes, int kind);
/* Objects of a kind (gc/gc_mark.h), linked by GC_NEXT; one alone where they are not scanned. */
void GC_generic_malloc_many(size_t bytes, int kind, void **ret_list);

#ifdef __cplusplus
}
#endif

#endif
