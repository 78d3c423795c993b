/* SPDX-License-Identifier: Apache-2.0
 *
 * MALLARD_DEBUG=mallocroots=1: memory from malloc is looked at like a stack.
 */
#ifndef MAL_GC_MALLOC_ROOTS_H
#define MAL_GC_MALLOC_ROOTS_H

struct mal_gc_worker;

/* World stopped. Takes every word of every live malloc object as a pointer that may be. */
void mal_gc_malloc_roots_mark(struct mal_gc_worker *worker);

#endif
