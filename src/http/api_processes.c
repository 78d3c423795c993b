/* SPDX-License-Identifier: Apache-2.0
 *
 * /api/processes: all processes that the viewer may see. /api/process: one of them, with its
 * resident set taken apart, its statistics, collector, size classes, knobs, limits and stored
 * profiles.
 *
 * A process whose box cannot be read is left out of the list: the others are worth more than an
 * error about one.
 *
 * SYNCHRONIZATION  Runs on workers; everything is the request's own.
 */
#include "http/api.h"

#include "base/now.h"

#include "http/entry.h"
#include "http/kept.h"
#include "http/routes.h"
#include "view/class.h"
#include "view/collector.h"
#include "view/limits.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char no_memory[] = "not enough memory for the answer";

/* ---- the list */

struct listing {
    struct http_entry_room *room;
    struct view_json *json;
};

static int list_process(struct http_process *process, void *visit_context) {
    const struct listing *listing = visit_context;
    struct http_entry entry;
    if (http_entry_fill(process, listing->room, &entry) < 0)
        return -ENOMEM;
    view_json_object(listing->json, NULL);
    http_entry_json(&entry, listing->json);
    view_json_object_end(listing->json);
    http_entry_free(&entry);
    return 0;
}

static void host_json(struct view_json *json, const struct http_context *context) {
    char name[256] = "";
    gethostname(name, sizeof name - 1);
    view_json_unsigned(json, "now_unix_ns", mal_now_ns(CLOCK_REALTIME));
    view_json_text(json, "host", name);
    view_json_text(json, "version", MAL_VERSION);
    view_json_bool(json, "daemon", context->is_daemon);
}

void http_api_processes(struct http_request *request, struct http_reply *reply) {
    const struct http_source *source = request->context->source;
    struct http_entry_room *room = malloc(sizeof *room);
    if (room == NULL) {
        http_reply_error(reply, 500, no_memory);
        return;
    }
    struct view_json json = http_api_begin(reply);
    host_json(&json, request->context);
    view_json_array(&json, "processes");
    int error = source->each(source->context, request->viewer_uid, list_process,
                             &(struct listing){room, &json});
    view_json_array_end(&json);
    http_api_end(&json);
    if (error == -ENOMEM)
        http_reply_error(reply, 500, no_memory);
    else if (http_is_shortage(error))
        http_reply_error(reply, 503, "out of descriptors: not every process can be read");
    free(room);
}

/* ---- one process */

static void rss_json(const struct http_request *request, const struct mal_box_stats *stats,
                     struct view_json *json) {
    struct view_buffer sentence = {0};
    struct view_rss rss;
    double spread = http_api_live_spread(request->reader);
    http_api_rss(request, stats, &rss);
    view_json_object(json, "rss");
    view_json_unsigned(json, "resident_bytes", rss.resident_bytes);
    view_json_bool(json, "measured", rss.measured);
    if (spread >= 0)
        view_json_real(json, "live_spread", spread);
    else
        view_json_null(json, "live_spread");
    view_json_array(json, "parts");
    for (int part = 0; part < VIEW_RSS_PARTS; part++) {
        view_json_object(json, NULL);
        view_json_text(json, "key", view_rss_key((enum view_rss_part)part));
        view_json_text(json, "label", view_rss_label((enum view_rss_part)part));
        view_json_unsigned(json, "bytes", rss.part[part]);
        view_json_object_end(json);
    }
    view_json_array_end(json);
    view_rss_sentence(&rss, spread, &sentence);
    view_json_bytes(json, "sentence", sentence.data != NULL ? sentence.data : "", sentence.bytes);
    view_json_object_end(json);
    view_buffer_free(&sentence);
}

static void stats_json(const struct mal_box_stats *stats, struct view_json *json) {
    static const char *const names[MAL_STAT_COUNT] = {
#define STAT_NAME(id, name, kind, help) name,
        MAL_STATS(STAT_NAME)
#undef STAT_NAME
    };
    view_json_object(json, "stats");
    for (int id = 0; id < MAL_STAT_COUNT; id++)
        view_json_unsigned(json, names[id], stats->value[id]);
    view_json_object_end(json);
}

/* null: the program never used its collected heap. */
static void collector_json(const struct mal_box_stats *stats, struct view_json *json) {
    struct view_collector collector;
    if (!view_collector_of(stats, &collector)) {
        view_json_null(json, "collector");
        return;
    }
    view_json_object(json, "collector");
    view_json_unsigned(json, "cycles", collector.cycles);
    view_json_unsigned(json, "forced_cycles", collector.forced_cycles);
    view_json_unsigned(json, "last_pause_ns", collector.last_pause_ns);
    view_json_unsigned(json, "total_pause_ns", collector.total_pause_ns);
    view_json_unsigned(json, "last_unix_ns", collector.last_unix_ns);
    view_json_known(json, "goal_bytes", collector.goal_bytes, VIEW_NO_GOAL);
    view_json_unsigned(json, "live_bytes", collector.live_bytes);
    view_json_unsigned(json, "heap_bytes", collector.heap_bytes);
    view_json_real(json, "cpu_share", (double)collector.cpu_ppb / 1e9);
    view_json_object_end(json);
}

static void classes_json(const struct mal_box_stats *stats, struct view_json *json) {
    view_json_array(json, "classes");
    for (size_t i = 0; i < stats->class_count && i < MAL_BOX_CLASSES_MAX; i++) {
        struct view_class class = view_class_of(stats, i);
        view_json_object(json, NULL);
        view_json_unsigned(json, "size_bytes", class.size_bytes);
        view_json_unsigned(json, "live_objects", class.live_objects);
        view_json_unsigned(json, "live_bytes", class.live_bytes);
        view_json_unsigned(json, "free_objects", class.free_objects);
        view_json_unsigned(json, "free_bytes", class.free_bytes);
        view_json_unsigned(json, "spans", class.spans);
        view_json_unsigned(json, "span_bytes", class.span_bytes);
        view_json_unsigned(json, "waste_bytes", class.waste_bytes);
        view_json_object_end(json);
    }
    view_json_array_end(json);
}

static void knobs_json(const struct http_entry *entry, const struct mal_box_stats *stats,
                       struct view_json *json) {
    view_json_object(json, "knobs");
    view_json_unsigned(json, "rate_bytes", entry->rate_bytes);
    view_json_known(json, "gogc", stats->value[MAL_STAT_GOGC], UINT64_MAX);
    uint64_t limit = stats->published_unix_ns ? stats->value[MAL_STAT_MEM_LIMIT] : INT64_MAX;
    view_json_known(json, "memory_limit_bytes", limit, INT64_MAX);
    view_json_object_end(json);
}

static void limits_json(const struct http_request *request, const struct http_entry *entry,
                        struct view_json *json) {
    struct view_limits limits;
    view_limits_read(entry->alive ? request->facts.host_pid : 0, &limits);
    if (!entry->alive)
        limits = (struct view_limits){entry->memory_max_bytes, entry->memory_current_bytes,
                                      entry->memory_peak_bytes, entry->oom_kills};
    view_json_object(json, "limits");
    view_json_known(json, "cgroup_max_bytes", limits.max_bytes, VIEW_NO_LIMIT);
    view_json_known(json, "cgroup_current_bytes", limits.current_bytes, VIEW_NO_LIMIT);
    view_json_known(json, "cgroup_peak_bytes", limits.peak_bytes, VIEW_NO_LIMIT);
    view_json_known(json, "oom_kills", limits.oom_kills, VIEW_NO_LIMIT);
    view_json_object_end(json);
}

static void profiles_json(const char *folder, struct view_json *json) {
    struct keep_profile *profiles;
    size_t count = http_kept_profiles(folder, &profiles);
    view_json_array(json, "profiles");
    for (size_t i = 0; i < count; i++) {
        view_json_object(json, NULL);
        view_json_unsigned(json, "unix_s", profiles[i].unix_s);
        view_json_unsigned(json, "bytes", profiles[i].bytes);
        view_json_object_end(json);
    }
    view_json_array_end(json);
    free(profiles);
}

static void process_json(struct http_request *request, const struct http_entry *entry,
                         struct http_reply *reply) {
    bool answers;
    struct mal_box_stats *stats = http_api_stats(request, reply, &answers);
    if (stats == NULL)
        return;
    struct view_json json = http_api_begin(reply);
    http_entry_json(entry, &json);
    rss_json(request, stats, &json);
    stats_json(stats, &json);
    collector_json(stats, &json);
    classes_json(stats, &json);
    knobs_json(entry, stats, &json);
    view_json_bool(&json, "can_command", answers);
    limits_json(request, entry, &json);
    profiles_json(request->facts.folder, &json);
    http_api_end(&json);
    free(stats);
}

void http_api_process(struct http_request *request, struct http_reply *reply) {
    struct http_entry entry;
    if (http_request_visit(request, reply, http_entry_of, &entry) < 0)
        return;
    if (http_request_open(request, reply) == 0)
        process_json(request, &entry, reply);
    http_entry_free(&entry);
}
