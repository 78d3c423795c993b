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

/* The trace lines that happened within [from, to] as "events". `text` holds whole lines. A line of
 * the collector says when it was, counted from the program's start; a line of the scavenger has no
 * time of its own and belongs to the collector's line before it, else to the one behind it. */
struct view_event_window {
    uint64_t started_unix_ns; /* of the program */
    uint64_t from_unix_ns, to_unix_ns;
};
void view_events_json(const char *text, size_t bytes, const struct view_event_window *window,
                      struct view_json *json);

#endif
