/* SPDX-License-Identifier: Apache-2.0
 *
 * Freed samples: objects whose state byte goes on saying SAMPLED, kept for the next sample.
 */
#ifndef MAL_CACHE_SHELF_H
#define MAL_CACHE_SHELF_H

#include "base/attr.h"
#include "cache/percpu_cache.h"

#include <stdbool.h>
#include <stdint.h>

/* What the shelves of one CPU hold at most, all classes together, beside MAL_CACHE_BUDGET_BYTES. */
#define MAL_SHELF_BUDGET_BYTES (256u << 10)

/* An object of the class that was put there: marked as freed, its state byte SAMPLED, and counted
 * as allocated. NULL when there is none. Any thread. */
void *mal_shelf_take(uint32_t class);

/* Takes such an object, which the program has freed. False when there is no room for it. */
bool mal_shelf_give(uint32_t class, void *object);

/* Slots that other threads of the parent were at work on serve again. */
void mal_shelf_forget_in_child(void);

#endif
