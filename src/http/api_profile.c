/* SPDX-License-Identifier: Apache-2.0
 *
 * /api/profile: the heap profile of one process for the page, of now or as it was stored.
 * /api/spans: the map of its spans, and for each that a sampled object pins the stack of it.
 *
 * The map is taken by the process when asked. One that cannot be asked (it is dead, or not ours to
 * change) shows the map that was taken last, when there is one.
 *
 * SYNCHRONIZATION  Runs on workers; everything is the request's own.
 */
#include "http/api.h"
#include "http/routes.h"
#include "view/places.h"
#include "view/profile_json.h"

#include <errno.h>
#include <stdlib.h>

#define COLLECT_TIMEOUT_MS 10000
#define MAP_TIMEOUT_MS 5000

/* ---- the profile */

static void reply_problem(struct http_reply *reply, int error) {
    if (error == -ENOENT)
        http_reply_error(reply, 404, "no profile is stored for that time");
    else if (error == -EBADMSG || error == -EFBIG)
        http_reply_error(reply, 500, "the stored profile is damaged");
    else
        http_reply_error(reply, 500, "the profile cannot be read");
}

static void profile_reply(const struct view_profile *profile, struct http_reply *reply) {
    struct view_json json = http_api_begin(reply);
    int error = view_profile_json(profile, &json);
    http_api_end(&json);
    if (error < 0)
        reply_problem(reply, error);
}

void http_api_profile(struct http_request *request, struct http_reply *reply) {
    uint64_t at_unix_s = http_api_number(request, "at", 0);
    struct view_profile profile;
    int64_t result;
    if (http_request_open(request, reply) < 0)
        return;
    if (at_unix_s == 0 && http_api_number(request, "gc", 0) > 0 &&
        mal_reader_command(request->reader, MAL_BOX_CMD_COLLECT, 0, COLLECT_TIMEOUT_MS, &result) <
            0)
        reply->note = "no collection: the process does not answer";
    int error = http_api_heap(request, at_unix_s, &profile);
    if (error < 0) {
        reply_problem(reply, error);
        return;
    }
    profile_reply(&profile, reply);
    view_profile_free(&profile);
}

/* ---- the map of spans */

/* Which stack pins which span. */
struct pins {
    struct view_profile profile; /* one sample a pinned span, in the order of the map */
    struct view_stacks *stacks;
    int64_t *stack; /* by span; -1 none */
};

static void pins_free(struct pins *pins) {
    view_stacks_free(pins->stacks);
    view_profile_free(&pins->profile);
    free(pins->stack);
}

static void add_pin(struct view_profile *profile, struct view_places *places,
                    const struct mal_mapped_span *span) {
    uint64_t locations[MAL_BOX_DEPTH_MAX];
    struct view_sample sample = {.locations = locations};
    for (; sample.depth < span->depth && sample.depth < MAL_BOX_DEPTH_MAX; sample.depth++)
        locations[sample.depth] = view_places_location(places, span->pcs[sample.depth]);
    view_profile_add_sample(profile, &sample);
}

static int resolve(struct pins *pins, const struct mal_span_map *map,
                   const struct mal_snapshot *snapshot, struct view_symbols *symbols) {
    struct view_places places;
    int error = view_places_begin(&places, &pins->profile, snapshot, symbols, VIEW_MAPPINGS_USED);
    if (error < 0)
        return error;
    for (size_t i = 0; i < map->count; i++)
        if (map->spans[i].depth > 0)
            add_pin(&pins->profile, &places, &map->spans[i]);
    view_places_end(&places);
    return pins->profile.failed ? -ENOMEM : 0;
}

static int number(struct pins *pins, const struct mal_span_map *map) {
    const struct view_sample *sample = pins->profile.samples;
    int error = view_stacks_new(&pins->profile, &pins->stacks);
    for (size_t i = 0; error == 0 && i < map->count; i++) {
        uint32_t stack;
        pins->stack[i] = -1;
        if (map->spans[i].depth == 0)
            continue;
        error = view_stacks_add(pins->stacks, sample->locations, sample->depth, &stack);
        pins->stack[i] = error == 0 ? (int64_t)stack : -1;
        sample++;
    }
    return error;
}

/* Empty pins are to be freed after a failure too. */
static int pins_fill(struct pins *pins, const struct mal_span_map *map,
                     struct mal_box_reader *reader, struct view_symbols *symbols) {
    struct mal_snapshot *snapshot;
    view_profile_init(&pins->profile);
    pins->stack = calloc(map->count + 1, sizeof *pins->stack);
    int error = pins->stack != NULL ? mal_reader_snapshot(reader, &snapshot) : -ENOMEM;
    if (error < 0)
        return error;
    error = resolve(pins, map, snapshot, symbols);
    mal_snapshot_free(snapshot);
    return error < 0 ? error : number(pins, map);
}

static void spans_json(const struct mal_span_map *map, const struct mal_box_stats *stats,
                       const struct pins *pins, struct view_json *json) {
    view_json_unsigned(json, "taken_unix_ns", map->taken_unix_ns);
    view_json_unsigned(json, "page_bytes", map->page_bytes);
    view_json_unsigned(json, "total", map->total);
    view_json_unsigned(json, "stride", map->stride);
    view_json_array(json, "classes");
    for (size_t i = 0; i < stats->class_count && i < MAL_BOX_CLASSES_MAX; i++)
        view_json_unsigned(json, NULL, stats->by_class[i].size_bytes);
    view_json_array_end(json);
    view_json_array(json, "spans");
    for (size_t i = 0; i < map->count; i++) {
        const struct mal_mapped_span *span = &map->spans[i];
        view_json_array(json, NULL);
        view_json_unsigned(json, NULL, map->page_bytes > 0 ? span->address / map->page_bytes : 0);
        view_json_unsigned(json, NULL, span->pages);
        view_json_unsigned(json, NULL, span->class);
        view_json_unsigned(json, NULL, span->live);
        view_json_unsigned(json, NULL, span->objects);
        view_json_signed(json, NULL, pins->stack[i]);
        view_json_array_end(json);
    }
    view_json_array_end(json);
    view_json_object(json, "pins");
    view_stacks_json(pins->stacks, json);
    view_json_object_end(json);
}

static void spans_reply(const struct http_request *request, const struct mal_span_map *map,
                        struct http_reply *reply) {
    struct pins pins = {0};
    struct mal_box_stats *stats = malloc(sizeof *stats);
    int error = stats != NULL ? mal_reader_stats(request->reader, stats) : -ENOMEM;
    if (error == 0)
        error = pins_fill(&pins, map, request->reader, request->context->symbols);
    if (error == 0) {
        struct view_json json = http_api_begin(reply);
        spans_json(map, stats, &pins, &json);
        http_api_end(&json);
    } else {
        http_reply_error(reply, 500, "the map of spans cannot be read");
    }
    pins_free(&pins);
    free(stats);
}

void http_api_spans(struct http_request *request, struct http_reply *reply) {
    struct mal_span_map *map;
    int64_t listed;
    if (http_request_open(request, reply) < 0)
        return;
    mal_reader_command(request->reader, MAL_BOX_CMD_MAP_SPANS, 0, MAP_TIMEOUT_MS, &listed);
    int error = mal_reader_spans(request->reader, &map);
    if (error == -ENODATA) {
        http_reply_error(reply, 409,
                         "the process cannot be asked for the map of its spans, and "
                         "none was taken before");
    } else if (error < 0) {
        http_reply_error(reply, 500, "the map of spans cannot be read");
    } else {
        spans_reply(request, map, reply);
        mal_span_map_free(map);
    }
}
