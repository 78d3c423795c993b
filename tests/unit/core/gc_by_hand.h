/* SPDX-License-Identifier: Apache-2.0
 *
 * The collected heap for tests that collect by hand: brought up, with no cycles but theirs.
 */
#ifndef MAL_TESTS_GC_BY_HAND_H
#define MAL_TESTS_GC_BY_HAND_H

#include "gc/collector.h"
#include "gc/heap.h"
#include "mallard/gc.h"
#include "mallard/mallard.h"

#include <stddef.h>

/* A group's set-up for cmocka. 0 or a negative errno. */
static inline int gc_by_hand(void **state) {
    (void)state;
    mallard_free(mallard_malloc(1));
    int error = mal_gc_ensure();
    mallard_gc_set_percent(-1); /* nobody to pay for cycles */
    mal_gc_heap_set_hooks(&(struct mal_gc_heap_hooks){NULL});
    return error;
}

#endif
