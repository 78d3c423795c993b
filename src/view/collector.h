/* SPDX-License-Identifier: Apache-2.0
 *
 * The collected heap of one process, as people ask for it.
 */
#ifndef MAL_VIEW_COLLECTOR_H
#define MAL_VIEW_COLLECTOR_H

#include "box/layout.h"

#include <stdbool.h>
#include <stdint.h>

#define VIEW_NO_GOAL UINT64_MAX

struct view_collector {
    uint64_t cycles;
    uint64_t forced_cycles;  /* of them, those that somebody asked for */
    uint64_t last_pause_ns;  /* 0 before the first cycle */
    uint64_t total_pause_ns; /* of all cycles */
    uint64_t last_unix_ns;   /* when the last cycle ended, 0 before the first */
    uint64_t goal_bytes;     /* VIEW_NO_GOAL: the heap's size begins no cycle */
    uint64_t live_bytes;     /* found alive by the last cycle */
    uint64_t heap_bytes;     /* the same, and what was allocated since */
    uint64_t cpu_ppb;        /* share of the CPU time that the process could have had */
};

/* False where the program never used its collected heap: then there is nothing to tell. The box may
 * lie, and forced_cycles be more than cycles. */
bool view_collector_of(const struct mal_box_stats *stats, struct view_collector *ret_collector);

/* Whether an entry of the statistics speaks of nothing but the collected heap. */
bool view_collector_has(int stat_id);

#endif
