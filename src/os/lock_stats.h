/* SPDX-License-Identifier: Apache-2.0
 *
 * Who waits for which lock: `make VARIANT=lockstats`. In every other build nothing is counted and
 * nothing is compiled in.
 */
#ifndef MAL_OS_LOCK_STATS_H
#define MAL_OS_LOCK_STATS_H

#include <stdint.h>

#ifndef MAL_LOCK_STATS
#define MAL_LOCK_STATS 0
#endif

/* One more acquisition of the lock of that rank. `waited_ns` is 0 where nobody was in the way. */
void mal_lock_stats_count(const void *lock, uint32_t rank, uint64_t waited_ns);

#endif
