/* SPDX-License-Identifier: Apache-2.0
 *
 * The sets of ranges that the program has registered.
 */
#ifndef MAL_GC_ROOTS_H
#define MAL_GC_ROOTS_H

#include "base/attr.h"
#include "gc/ranges.h"

extern MAL_HIDDEN struct mal_gc_ranges mal_gc_roots;  /* mallard_gc_root_add */
extern MAL_HIDDEN struct mal_gc_ranges mal_gc_stacks; /* mallard_gc_stack_add */

void mal_gc_roots_before_fork(void);
void mal_gc_roots_after_fork(bool child);

#endif
