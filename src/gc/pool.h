/* SPDX-License-Identifier: Apache-2.0
 *
 * Pools in the life of the collector and of the background thread.
 */
#ifndef MAL_GC_POOL_H
#define MAL_GC_POOL_H

#include <stdbool.h>
#include <stdint.h>

struct mal_gc_worker;

/* Drops what was not fetched since the flip before the last, in every pool. World stopped, at the
 * start of every cycle; harmless beside the program too. */
void mal_gc_pools_flip(void);

/* Flips when the last flip is two minutes ago, so that pools become empty without a collector. By
 * the background thread, now and then: it also starts the thread that runs callbacks where there
 * is none, as in a child of fork. */
void mal_gc_pools_tick(uint64_t now_ns);

/* Marks all items. After the flip; beside the program, or stopped. */
void mal_gc_pools_mark_roots(struct mal_gc_worker *worker);

void mal_gc_pools_before_fork(void);
void mal_gc_pools_after_fork(bool child);

#endif
