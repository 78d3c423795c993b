/* SPDX-License-Identifier: Apache-2.0
 *
 * The collector's figures out of the statistics. What belongs to malloc too (GOGC as it stands, the
 * bytes of all tables) is not among them.
 */
#include "view/collector.h"

static bool is_used(const uint64_t *value) {
    return value[MAL_STAT_NUM_GC] > 0 || value[MAL_STAT_GC_HEAP] > 0;
}

/* The entry of cycle N is at (N + 255) % 256. */
static uint64_t last_pause_ns(const struct mal_box_stats *stats) {
    uint64_t cycles = stats->value[MAL_STAT_NUM_GC];
    return cycles > 0 ? stats->pause_ns[(cycles + MAL_BOX_PAUSES - 1) % MAL_BOX_PAUSES] : 0;
}

bool view_collector_of(const struct mal_box_stats *stats, struct view_collector *ret_collector) {
    const uint64_t *value = stats->value;
    *ret_collector = (struct view_collector){
        .cycles = value[MAL_STAT_NUM_GC],
        .forced_cycles = value[MAL_STAT_NUM_FORCED_GC],
        .last_pause_ns = last_pause_ns(stats),
        .total_pause_ns = value[MAL_STAT_PAUSE_TOTAL],
        .last_unix_ns = value[MAL_STAT_LAST_GC],
        .goal_bytes = value[MAL_STAT_NEXT_GC] < INT64_MAX ? value[MAL_STAT_NEXT_GC] : VIEW_NO_GOAL,
        .live_bytes = value[MAL_STAT_GC_LIVE],
        .heap_bytes = value[MAL_STAT_GC_HEAP],
        .cpu_ppb = value[MAL_STAT_GC_CPU_PPB],
    };
    return is_used(value);
}

bool view_collector_has(int stat_id) {
    switch (stat_id) {
    case MAL_STAT_GC_HEAP:
    case MAL_STAT_GC_LIVE:
    case MAL_STAT_NEXT_GC:
    case MAL_STAT_LAST_GC:
    case MAL_STAT_PAUSE_TOTAL:
    case MAL_STAT_NUM_GC:
    case MAL_STAT_NUM_FORCED_GC:
    case MAL_STAT_GC_CPU_PPB:
        return true;
    default:
        return false;
    }
}
