/* SPDX-License-Identifier: Apache-2.0
 *
 * Profiles that a C program has no data for. They are valid and carry Go's types and period, so
 * that a scraper configured for Go stays green and shows nothing instead of an error.
 */
#include "view/places.h"
#include "view/view.h"

#include "base/attr.h"
#include "base/now.h"

#include <errno.h>
#include <string.h>
#include <time.h>

struct empty_kind {
    const char *name;
    const char *types[2], *units[2];
    const char *text; /* the form of ?debug=1; NULL: none */
};

static const struct empty_kind kinds[] = {
    {"goroutine", {"goroutine"}, {"count"}, "goroutine profile: total 0\n"},
    {"threadcreate", {"threadcreate"}, {"count"}, "threadcreate profile: total 0\n"},
    {"block",
     {"contentions", "delay"},
     {"count", "nanoseconds"},
     "--- contention:\ncycles/second=1000000000\n"},
    {"mutex",
     {"contentions", "delay"},
     {"count", "nanoseconds"},
     "--- mutex:\ncycles/second=1000000000\nsampling period=1\n"},
    {"profile", {"samples", "cpu"}, {"count", "nanoseconds"}, NULL},
};

#define CPU_PERIOD_NS 10000000

static const struct empty_kind *find_kind(const char *name) {
    for (size_t i = 0; i < MAL_COUNT_OF(kinds); i++) {
        if (strcmp(kinds[i].name, name) == 0)
            return &kinds[i];
    }
    return NULL;
}

static void set_period(struct view_profile *profile, const struct empty_kind *kind) {
    if (strcmp(kind->name, "profile") == 0)
        view_profile_set_period(profile, kind->types[1], kind->units[1], CPU_PERIOD_NS);
    else
        view_profile_set_period(profile, kind->types[0], kind->units[0], 1);
}

static int encode(const char *name, int64_t duration_ns, const struct mal_snapshot *snapshot,
                  enum view_effort effort, struct view_buffer *out) {
    const struct empty_kind *kind = find_kind(name);
    if (!kind)
        return -ENOENT;
    struct view_profile profile;
    view_profile_init(&profile);
    set_period(&profile, kind);
    for (size_t i = 0; i < MAL_COUNT_OF(kind->types) && kind->types[i]; i++)
        view_profile_add_type(&profile, kind->types[i], kind->units[i]);
    profile.time_ns = (int64_t)mal_now_ns(CLOCK_REALTIME);
    profile.duration_ns = duration_ns;
    if (snapshot)
        view_places_map_all(&profile, snapshot);
    int error = view_profile_encode(&profile, effort, out);
    view_profile_free(&profile);
    return error;
}

int view_empty_proto(const char *name, const struct mal_snapshot *snapshot,
                     struct view_buffer *out) {
    return encode(name, 0, snapshot, VIEW_EFFORT_SPEED, out);
}

int view_empty_delta_proto(const char *name, uint64_t duration_ns,
                           const struct mal_snapshot *snapshot, struct view_buffer *out) {
    int64_t duration = duration_ns <= INT64_MAX ? (int64_t)duration_ns : INT64_MAX;
    return encode(name, duration, snapshot, VIEW_EFFORT_DEFAULT, out);
}

int view_empty_text(const char *name, struct view_buffer *out) {
    const struct empty_kind *kind = find_kind(name);
    if (!kind || !kind->text)
        return -ENOENT;
    view_buffer_text(out, kind->text);
    return out->failed ? -ENOMEM : 0;
}
