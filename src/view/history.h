/* SPDX-License-Identifier: Apache-2.0
 *
 * The history of a process: rows of statistics over time, and what happened in between.
 */
#ifndef MAL_VIEW_HISTORY_H
#define MAL_VIEW_HISTORY_H

#include "box/layout.h"
#include "view/json.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The slope of the live bytes over the newest hour of `rows` (oldest first), in bytes per hour, by
 * least squares. False for less than a minute of rows: there is nothing to say yet. */
bool view_history_growth(const struct mal_box_history_row *rows, size_t count, int64_t *ret_slope);

/* Keeps at most `points` rows, evenly over time, the first and the last among them; of those that
 * fall together the one with the largest resident set, so that no peak is lost. At least 2 points.
 * Returns how many are left. */
size_t view_history_thin(struct mal_box_history_row *rows, size_t count, size_t points);

/* "step_ns", "columns" and "rows". */
void view_history_json(const struct mal_box_history_row *rows, size_t count,
                       struct view_json *json);

/* What happened within [from, to] as "events": collections by the lines of the trace, which count
 * from the program's start, and memory given back by the rows of the history, oldest first. */
struct view_event_window {
    uint64_t started_unix_ns; /* of the program */
    uint64_t from_unix_ns, to_unix_ns;
};
struct view_event_text {
    const char *data; /* whole lines */
    size_t bytes;
};
struct view_event_rows {
    const struct mal_box_history_row *row;
    size_t count;
};
void view_events_json(const struct view_event_text *text, const struct view_event_rows *rows,
                      const struct view_event_window *window, struct view_json *json);

#endif
