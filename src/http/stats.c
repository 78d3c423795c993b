/* SPDX-License-Identifier: Apache-2.0
 *
 * Published statistics: /debug/memstats (one process, Go's MemStats as JSON) and /metrics (all
 * processes, Prometheus text; one process under /p/ID or ?proc=).
 *
 * A process whose statistics cannot be read (torn for too long, damaged) is left out of /metrics:
 * a scrape of the others is worth more than an error about one. Reading copies; the processes
 * notice nothing. /metrics takes what was published last, at most a second ago; /debug/memstats
 * first asks the process to publish, as Go's ReadMemStats is exact too, and does not wait long.
 *
 * SYNCHRONIZATION  Runs on workers; everything is the request's own.
 */
#include "http/routes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PROCESSES_MAX 4096
#define PUBLISH_TIMEOUT_MS 100

static int current_stats(struct mal_box_reader *reader, struct mal_box_stats *ret_stats) {
    int64_t result;
    mal_reader_command(reader, MAL_BOX_CMD_PUBLISH, 0, PUBLISH_TIMEOUT_MS, &result);
    return mal_reader_stats(reader, ret_stats);
}

void http_stats_memstats(struct http_request *request, struct http_reply *reply) {
    struct mal_box_stats *stats = malloc(sizeof *stats);
    if (stats == NULL) {
        http_reply_error(reply, 500, "not enough memory for the answer");
        return;
    }
    if (http_request_open(request, reply) < 0)
        goto out;
    reply->type = HTTP_TYPE_JSON;
    if (current_stats(request->reader, stats) < 0 || view_memstats_json(stats, &reply->body) < 0)
        http_reply_error(reply, 500, "the statistics cannot be read");
out:
    free(stats);
}

struct gathering {
    struct view_process *processes;
    size_t count, capacity;
};

static int grow(struct gathering *all) {
    if (all->count < all->capacity)
        return 0;
    size_t capacity = all->capacity > 0 ? all->capacity * 2 : 8;
    struct view_process *larger = reallocarray(all->processes, capacity, sizeof *larger);
    if (larger == NULL || capacity > PROCESSES_MAX) {
        all->processes = larger != NULL ? larger : all->processes;
        return -ENOMEM;
    }
    all->processes = larger;
    all->capacity = capacity;
    return 0;
}

static int gather(struct http_process *process, void *visit_context) {
    struct gathering *all = visit_context;
    int error = grow(all);
    if (error < 0)
        return error;
    struct view_process *entry = &all->processes[all->count];
    if (mal_reader_stats(process->reader, &entry->stats) < 0 ||
        mal_reader_identity(process->reader, &entry->identity) < 0)
        return 0;
    entry->status = *process->status;
    entry->host_pid = process->facts->host_pid;
    all->count++;
    return 0;
}

static void gathering_free(struct gathering *all) {
    for (size_t i = 0; i < all->count; i++)
        mal_identity_free(&all->processes[i].identity);
    free(all->processes);
}

static int gather_asked(const struct http_request *request, struct http_reply *reply,
                        struct gathering *all) {
    const struct http_source *source = request->context->source;
    if (request->key.pid != 0)
        return http_request_visit(request, reply, gather, all);
    int error = source->each(source->context, request->viewer_uid, gather, all);
    if (!http_is_shortage(error))
        return 0;
    http_reply_error(reply, 503, "out of descriptors or memory: not every process can be read");
    return error;
}

static int render_metrics(const struct http_request *request, const struct gathering *all,
                          struct view_buffer *out) {
    const struct http_context *context = request->context;
    if (request->key.pid != 0 && all->count == 0)
        return -EAGAIN;
    int error = view_metrics_text(all->processes, all->count, out);
    if (error == 0 && request->key.pid == 0 && context->more_metrics != NULL)
        context->more_metrics(context->more_context, out);
    return error;
}

void http_stats_metrics(struct http_request *request, struct http_reply *reply) {
    struct gathering all = {0};
    if (gather_asked(request, reply, &all) == 0) {
        reply->type = "text/plain; version=0.0.4; charset=utf-8";
        if (render_metrics(request, &all, &reply->body) < 0)
            http_reply_error(reply, 500, "the statistics cannot be read");
    }
    gathering_free(&all);
}
