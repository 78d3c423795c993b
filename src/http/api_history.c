/* SPDX-License-Identifier: Apache-2.0
 *
 * /api/history: the rows of one process over time, thinned to what a screen can show, and what
 * the collector and the scavenger did as events. /api/trace: the lines themselves, from where
 * the last request ended.
 *
 * The box holds one row a second of the last hour; what is kept reaches further back in longer
 * steps. Both are one series here: kept rows up to the box's first, the box's from there on.
 *
 * SYNCHRONIZATION  Runs on workers; everything is the request's own.
 */
#include "view/history.h"

#include "http/api.h"
#include "http/kept.h"
#include "http/routes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define POINTS_DEFAULT 2000
#define POINTS_MAX 20000
#define SECOND_NS 1000000000ull

struct span {
    uint64_t from_unix_ns, to_unix_ns;
};

struct series {
    struct mal_box_history_row *rows; /* owned */
    size_t count;
    uint64_t oldest_unix_ns; /* of all that there is; 0 nothing */
};

static uint64_t parameter_ns(const struct http_request *request, const char *name,
                             uint64_t absent_ns) {
    uint64_t seconds = http_api_number(request, name, UINT64_MAX);
    return seconds <= UINT64_MAX / SECOND_NS ? seconds * SECOND_NS : absent_ns;
}

/* Keeps those within the span, in order. */
static size_t within(struct mal_box_history_row *rows, size_t count, const struct span *span) {
    size_t kept = 0;
    for (size_t i = 0; i < count; i++)
        if (rows[i].unix_ns >= span->from_unix_ns && rows[i].unix_ns <= span->to_unix_ns)
            rows[kept++] = rows[i];
    return kept;
}

/* Puts the kept rows that are older than the box's in front of those. */
static int join_kept(const char *folder, const struct span *span, uint64_t box_oldest_ns,
                     struct series *series) {
    struct mal_box_history_row *kept;
    size_t count = http_kept_rows(folder, 0, box_oldest_ns - (box_oldest_ns > 0), &kept);
    if (count > 0)
        series->oldest_unix_ns = kept[0].unix_ns;
    count = within(kept, count, span);
    struct mal_box_history_row *all = reallocarray(kept, count + series->count + 1, sizeof *all);
    if (all == NULL) {
        free(kept);
        return -ENOMEM;
    }
    if (series->count > 0)
        memcpy(all + count, series->rows, series->count * sizeof *all);
    free(series->rows);
    series->rows = all;
    series->count += count;
    return 0;
}

static int read_series(const struct http_request *request, const struct span *span,
                       struct series *ret_series) {
    struct series series = {.rows = malloc(MAL_BOX_HISTORY_ROWS * sizeof *series.rows)};
    if (series.rows == NULL)
        return -ENOMEM;
    long count = mal_reader_history(request->reader, series.rows, MAL_BOX_HISTORY_ROWS);
    if (count > 0)
        series.oldest_unix_ns = series.rows[0].unix_ns;
    uint64_t box_oldest_ns = count > 0 ? series.oldest_unix_ns : UINT64_MAX;
    series.count = within(series.rows, count > 0 ? (size_t)count : 0, span);
    if (*request->facts.folder != '\0' &&
        join_kept(request->facts.folder, span, box_oldest_ns, &series) < 0) {
        free(series.rows);
        return -ENOMEM;
    }
    *ret_series = series;
    return 0;
}

static void events_json(const struct http_request *request, const struct span *span,
                        const struct view_event_rows *rows, struct view_json *json) {
    struct view_event_window window = {0, span->from_unix_ns, span->to_unix_ns};
    struct view_buffer text = {0};
    struct mal_identity identity;
    uint64_t cursor = 0;
    if (mal_reader_identity(request->reader, &identity) == 0) {
        window.started_unix_ns = identity.started_unix_ns;
        mal_identity_free(&identity);
        http_api_trace_text(request->reader, &cursor, &text);
    }
    view_events_json(&(struct view_event_text){text.data, text.bytes}, rows, &window, json);
    view_buffer_free(&text);
}

void http_api_history(struct http_request *request, struct http_reply *reply) {
    const struct span span = {parameter_ns(request, "from", 0),
                              parameter_ns(request, "to", UINT64_MAX)};
    uint64_t points = http_api_number(request, "points", POINTS_DEFAULT);
    struct series series;
    if (http_request_open(request, reply) < 0)
        return;
    if (read_series(request, &span, &series) < 0) {
        http_reply_error(reply, 500, "not enough memory for the answer");
        return;
    }
    size_t count = view_history_thin(series.rows, series.count,
                                     points < POINTS_MAX ? (size_t)points : POINTS_MAX);
    struct view_json json = http_api_begin(reply);
    view_history_json(series.rows, count, &json);
    events_json(request, &span, &(struct view_event_rows){series.rows, count}, &json);
    view_json_unsigned(&json, "oldest_unix_s", series.oldest_unix_ns / SECOND_NS);
    http_api_end(&json);
    free(series.rows);
}

/* ---- the trace */

static void lines_json(const struct view_buffer *text, struct view_json *json) {
    const char *line = text->data;
    const char *end = line + text->bytes;
    view_json_array(json, "lines");
    while (text->bytes > 0 && line < end) {
        const char *newline = memchr(line, '\n', (size_t)(end - line));
        const char *stop = newline != NULL ? newline : end;
        view_json_bytes(json, NULL, line, (size_t)(stop - line));
        line = stop + 1;
    }
    view_json_array_end(json);
}

void http_api_trace(struct http_request *request, struct http_reply *reply) {
    uint64_t cursor = http_api_number(request, "cursor", 0);
    struct view_buffer text = {0};
    if (http_request_open(request, reply) < 0)
        return;
    if (http_api_trace_text(request->reader, &cursor, &text) < 0) {
        http_reply_error(reply, 500, "the trace cannot be read");
    } else {
        struct view_json json = http_api_begin(reply);
        view_json_unsigned(&json, "cursor", cursor);
        lines_json(&text, &json);
        http_api_end(&json);
    }
    view_buffer_free(&text);
}
