/* SPDX-License-Identifier: Apache-2.0
 *
 * The scavenger: gives the memory of idle pages back to the OS.
 */
#ifndef MAL_PAGEHEAP_SCAVENGER_H
#define MAL_PAGEHEAP_SCAVENGER_H

#include <stdint.h>

/* Bytes and nanoseconds since start, relaxed snapshots. */
struct mal_scavenger_stats {
    uint64_t background_bytes; /* returned at the scavenger's own pace */
    uint64_t eager_bytes;      /* returned by a thread that needed memory */
    uint64_t forced_bytes;     /* returned because somebody asked */
    uint64_t calls;
    uint64_t cpu_ns;
};

/* One step of background work: returns idle memory above the goal, and as much as the heap is above
 * what its limit allows (`over_bytes`), highest addresses first, for at most about `budget_ns`.
 * Background thread only. */
void mal_scavenger_tick(uint64_t now_ns, uint64_t budget_ns, uint64_t over_bytes);

enum mal_scavenge_reason { MAL_SCAVENGE_BACKGROUND, MAL_SCAVENGE_EAGER, MAL_SCAVENGE_FORCED };

/* Returns idle pages, highest addresses first, until `most_bytes` were given back, `end_ns`
 * (monotonic) has passed or none is left. Returns the bytes. Any thread, no lock held. */
uint64_t mal_scavenger_release(uint64_t most_bytes, uint64_t end_ns,
                               enum mal_scavenge_reason reason);

/* Gives idle memory back for what the heap just took, where that would make it larger than it must
 * be: mal_pageheap_surplus_pages. Any thread, no lock held. */
void mal_scavenger_swap(void);

/* Returns every idle page now. Returns the bytes given back. Any thread. */
uint64_t mal_scavenger_release_all(void);

/* What the heap may keep, in pages: the largest use in the last few ticks, and for growth as much
 * as the use has moved meanwhile, 10 % at most. Pure. */
uint64_t mal_scavenger_goal_pages(uint64_t recent_peak_pages, uint64_t recent_low_pages);

/* Counts what another tier returned. Any thread. */
void mal_scavenger_count(enum mal_scavenge_reason reason, uint64_t bytes, uint64_t cpu_ns);

struct mal_scavenger_stats mal_scavenger_stats(void);

#endif
