/* SPDX-License-Identifier: Apache-2.0
 *
 * Gathering the statistics of all tiers into one row that adds up.
 */
#ifndef MAL_FRONT_STATS_H
#define MAL_FRONT_STATS_H

#include "box/layout.h"

/* Fills every field except `sequence`. Any thread; takes each tier's lock for a moment. */
void mal_stats_collect(struct mal_box_stats *ret_stats);

/* Collects and publishes into the box, if there is one. */
void mal_stats_publish(void);

/* Counts a free of a pointer that is not ours. */
void mal_stats_count_foreign_free(void);

/* Live objects above the size classes: counts one in, one out. */
void mal_stats_count_large(uint64_t bytes);
void mal_stats_uncount_large(uint64_t bytes);

void mal_stats_before_fork(void);
void mal_stats_after_fork(void);

#endif
