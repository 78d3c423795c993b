/* SPDX-License-Identifier: Apache-2.0
 *
 * Trace lines as events with a time:
 *
 *   gc 12 @3.204s 0%: …           3.204 s after the program began
 *   scav 960 KiB work (bg), …     when the collection before it was
 *
 * The text is a program's own and may be anything: a line that is neither is no event.
 */
#include "view/history.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define LINE_MAX_BYTES 512

struct line {
    const char *text;
    size_t bytes; /* without the newline */
};

struct events {
    const struct view_event_window *window;
    struct view_json *json;
    uint64_t now_unix_ns; /* of the newest collection; 0 none yet */
    const char *waiting;  /* the first scavenger's line that has no collection before it */
};

/* False at the end of the text. */
static bool next_line(const char **at, const char *end, struct line *ret_line) {
    const char *newline = memchr(*at, '\n', (size_t)(end - *at));
    if (!newline)
        return false;
    *ret_line = (struct line){*at, (size_t)(newline - *at)};
    *at = newline + 1;
    return true;
}

static bool begins(const struct line *line, const char *prefix) {
    size_t bytes = strlen(prefix);
    return line->bytes > bytes && memcmp(line->text, prefix, bytes) == 0;
}

/* The time of a collector's line; 0 when it says none. */
static uint64_t collection_unix_ns(const struct line *line, uint64_t started_unix_ns) {
    char text[LINE_MAX_BYTES];
    uint64_t number, seconds, milliseconds;
    snprintf(text, sizeof(text), "%.*s", (int)line->bytes, line->text);
    if (line->bytes >= sizeof(text) ||
        sscanf(text, "gc %" SCNu64 " @%" SCNu64 ".%3" SCNu64 "s", &number, &seconds,
               &milliseconds) != 3 ||
        seconds > UINT32_MAX)
        return 0;
    return started_unix_ns + seconds * 1000000000u + milliseconds * 1000000u;
}

static void put(const struct events *events, const char *kind, const struct line *line) {
    const struct view_event_window *window = events->window;
    if (events->now_unix_ns < window->from_unix_ns || events->now_unix_ns > window->to_unix_ns)
        return;
    view_json_object(events->json, NULL);
    view_json_unsigned(events->json, "unix_ns", events->now_unix_ns);
    view_json_text(events->json, "kind", kind);
    view_json_bytes(events->json, "text", line->text, line->bytes);
    view_json_object_end(events->json);
}

/* The scavenger's lines from `waiting` up to `limit` happened at the first collection. */
static void put_waiting(struct events *events, const char *limit) {
    struct line line;
    const char *at = events->waiting;
    events->waiting = NULL;
    while (at && at < limit && next_line(&at, limit, &line)) {
        if (begins(&line, "scav "))
            put(events, "scav", &line);
    }
}

static void take_collection(struct events *events, const struct line *line) {
    uint64_t unix_ns = collection_unix_ns(line, events->window->started_unix_ns);
    if (unix_ns == 0)
        return;
    events->now_unix_ns = unix_ns;
    put_waiting(events, line->text);
    put(events, "gc", line);
}

static void take_scavenge(struct events *events, const struct line *line) {
    if (events->now_unix_ns != 0)
        put(events, "scav", line);
    else if (!events->waiting)
        events->waiting = line->text;
}

void view_events_json(const char *text, size_t bytes, const struct view_event_window *window,
                      struct view_json *json) {
    struct events events = {.window = window, .json = json};
    struct line line;
    const char *at = text;
    view_json_array(json, "events");
    while (bytes > 0 && next_line(&at, text + bytes, &line)) {
        if (begins(&line, "gc "))
            take_collection(&events, &line);
        else if (begins(&line, "scav "))
            take_scavenge(&events, &line);
    }
    view_json_array_end(json);
}
