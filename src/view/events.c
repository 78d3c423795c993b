/* SPDX-License-Identifier: Apache-2.0
 *
 * What happened when, for the marks of a time line:
 *
 *   gc      a collector's line, "gc 12 @3.204s 0%: …": 3.204 s after the program began
 *   scav    a row of the history in which more memory had gone back to the OS than in the row
 * before; the scavenger's own lines do not say when they were written
 *
 * The text is a program's own and may be anything: a line of another kind is no event.
 */
#include "view/history.h"

#include "view/view.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define LINE_MAX_BYTES 512
#define SCAVENGE_MIN_BYTES (1u << 20) /* less than this is no event */

struct line {
    const char *text;
    size_t bytes; /* without the newline */
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

static void put(struct view_json *json, uint64_t unix_ns, const char *kind,
                const struct line *line) {
    view_json_object(json, NULL);
    view_json_unsigned(json, "unix_ns", unix_ns);
    view_json_text(json, "kind", kind);
    view_json_bytes(json, "text", line->text, line->bytes);
    view_json_object_end(json);
}

static bool is_within(const struct view_event_window *window, uint64_t unix_ns) {
    return unix_ns >= window->from_unix_ns && unix_ns <= window->to_unix_ns;
}

static void put_collections(const char *text, size_t bytes, const struct view_event_window *window,
                            struct view_json *json) {
    struct line line;
    const char *at = text;
    while (bytes > 0 && next_line(&at, text + bytes, &line)) {
        uint64_t unix_ns =
            begins(&line, "gc ") ? collection_unix_ns(&line, window->started_unix_ns) : 0;
        if (unix_ns != 0 && is_within(window, unix_ns))
            put(json, unix_ns, "gc", &line);
    }
}

static void put_scavenges(const struct view_event_rows *rows,
                          const struct view_event_window *window, struct view_json *json) {
    char human[16], text[48];
    for (size_t i = 1; i < rows->count; i++) {
        uint64_t before = rows->row[i - 1].scavenged_bytes;
        uint64_t after = rows->row[i].scavenged_bytes;
        if (after < before || after - before < SCAVENGE_MIN_BYTES ||
            !is_within(window, rows->row[i].unix_ns))
            continue;
        view_human_bytes(after - before, human);
        int bytes = snprintf(text, sizeof(text), "%s returned to the OS", human);
        put(json, rows->row[i].unix_ns, "scav", &(struct line){text, (size_t)bytes});
    }
}

void view_events_json(const struct view_event_text *text, const struct view_event_rows *rows,
                      const struct view_event_window *window, struct view_json *json) {
    view_json_array(json, "events");
    put_collections(text->data, text->bytes, window, json);
    put_scavenges(rows, window, json);
    view_json_array_end(json);
}
