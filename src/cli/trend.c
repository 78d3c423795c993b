/* SPDX-License-Identifier: Apache-2.0
 *
 * Trends of a history.
 *
 * Rows come from a file that may lie: times that go backwards and counters that shrink give no
 * rate, never a huge one.
 *
 * SYNCHRONIZATION  None needed.
 */
#include "cli/trend.h"

#include "view/history.h"

#include <math.h>
#include <stddef.h>
#include <stdint.h>

#define PRESENT_S 5.0

/* Seconds from a to b; negative when b is earlier. */
static double seconds_between(uint64_t a_ns, uint64_t b_ns) {
    return b_ns >= a_ns ? (double)(b_ns - a_ns) / 1e9 : -((double)(a_ns - b_ns) / 1e9);
}

static double growth(const struct mal_box_history_row *rows, size_t count) {
    int64_t slope;
    return view_history_growth(rows, count, &slope) ? (double)slope : NAN;
}

/* The row that the window before the newest one begins with; the one before it at least. */
static const struct mal_box_history_row *window_begin(const struct mal_box_history_row *rows,
                                                      size_t count, double window_s) {
    size_t at = count - 1;
    while (at > 0 && (at == count - 1 ||
                      seconds_between(rows[at - 1].unix_ns, rows[count - 1].unix_ns) <= window_s))
        at--;
    return &rows[at];
}

static double rate(uint64_t before, uint64_t after, double seconds) {
    return after >= before && seconds > 0 ? (double)(after - before) / seconds : NAN;
}

struct trend trend_of(const struct mal_box_history_row *rows, size_t count, uint64_t now_unix_ns,
                      double window_s) {
    struct trend trend = {NAN, NAN, NAN};
    if (count < 2)
        return trend;
    const struct mal_box_history_row *newest = &rows[count - 1];
    const struct mal_box_history_row *before = window_begin(rows, count, window_s);
    double seconds = seconds_between(before->unix_ns, newest->unix_ns);
    trend.growth_bytes_per_hour = growth(rows, count);
    if (seconds_between(newest->unix_ns, now_unix_ns) > PRESENT_S)
        return trend;
    trend.alloc_bytes_per_s = rate(before->total_alloc_bytes, newest->total_alloc_bytes, seconds);
    trend.allocs_per_s = rate(before->mallocs, newest->mallocs, seconds);
    return trend;
}
