/* SPDX-License-Identifier: Apache-2.0
 *
 * What the rows of a history say about the present: how fast memory is allocated, and where live
 * memory is going. NAN where the rows say nothing.
 */
#ifndef MAL_CLI_TREND_H
#define MAL_CLI_TREND_H

#include "box/layout.h"

#include <stddef.h>

struct trend {
    double growth_bytes_per_hour; /* slope of live bytes over at most the last hour */
    double alloc_bytes_per_s, allocs_per_s;
};

/* Rates are those of the `window_s` before the newest row. `now_unix_ns` tells whether that row is
 * of the present: one of a process that stopped writing says nothing about rates. */
struct trend trend_of(const struct mal_box_history_row *rows, size_t count, uint64_t now_unix_ns,
                      double window_s);

#endif
