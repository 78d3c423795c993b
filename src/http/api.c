/* SPDX-License-Identifier: Apache-2.0
 *
 * What several documents need: fresh statistics, the resident set, the trace, a profile.
 *
 * SYNCHRONIZATION  Runs on workers; everything is the request's own.
 */
#include "http/api.h"

#include "http/kept.h"
#include "view/heap.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PUBLISH_TIMEOUT_MS 200
#define CHUNK_BYTES 65536

struct view_json http_api_begin(struct http_reply *reply) {
    struct view_json json = {.out = &reply->body};
    reply->type = HTTP_TYPE_JSON;
    view_json_object(&json, NULL);
    return json;
}

void http_api_end(struct view_json *json) {
    view_json_object_end(json);
    view_buffer_text(json->out, "\n");
}

uint64_t http_api_number(const struct http_request *request, const char *name, uint64_t absent) {
    const char *text = http_form_get(&request->form, name);
    int64_t value;
    return *text != '\0' && http_parse_int(text, &value) == 0 && value >= 0 ? (uint64_t)value
                                                                            : absent;
}

struct mal_box_stats *http_api_stats(const struct http_request *request, struct http_reply *reply,
                                     bool *ret_answers) {
    struct mal_box_stats *stats = malloc(sizeof *stats);
    int64_t result;
    *ret_answers = mal_reader_command(request->reader, MAL_BOX_CMD_PUBLISH, 0, PUBLISH_TIMEOUT_MS,
                                      &result) == 0;
    if (stats != NULL && mal_reader_stats(request->reader, stats) == 0)
        return stats;
    free(stats);
    http_reply_error(reply, 500, "the statistics cannot be read");
    return NULL;
}

void http_api_rss(const struct http_request *request, const struct mal_box_stats *stats,
                  struct view_rss *ret_rss) {
    const char *path = mal_reader_path(request->reader);
    const char *slash = strrchr(path, '/');
    uint32_t pid = request->facts.host_pid;
    if (pid == 0 || view_rss_measure(pid, slash != NULL ? slash + 1 : path, stats, ret_rss) < 0)
        view_rss_estimate(stats, ret_rss);
}

double http_api_live_spread(struct mal_box_reader *reader) {
    struct mal_snapshot *snapshot;
    if (mal_reader_snapshot(reader, &snapshot) < 0)
        return -1;
    double spread = view_live_spread(snapshot);
    mal_snapshot_free(snapshot);
    return spread;
}

/* Cuts what is behind the last newline. */
static size_t whole_lines(const char *text, size_t bytes) {
    const char *last = bytes > 0 ? memrchr(text, '\n', bytes) : NULL;
    return last != NULL ? (size_t)(last - text) + 1 : 0;
}

int http_api_trace_text(struct mal_box_reader *reader, uint64_t *cursor, struct view_buffer *out) {
    char *chunk = malloc(CHUNK_BYTES);
    long bytes = chunk != NULL ? 1 : -ENOMEM;
    while (bytes > 0 && out->bytes < MAL_BOX_TRACE_BYTES) {
        bytes = mal_reader_trace(reader, cursor, chunk, CHUNK_BYTES);
        if (bytes > 0)
            view_buffer_append(out, chunk, (size_t)bytes);
    }
    free(chunk);
    size_t whole = whole_lines(out->data, out->bytes);
    *cursor -= out->bytes - whole;
    out->bytes = whole;
    return bytes < 0 ? (int)bytes : 0;
}

static int stored_heap(const struct http_request *request, uint64_t at_unix_s,
                       struct view_profile *ret_profile) {
    struct view_buffer file = {0};
    int error = http_kept_profile(request->facts.folder, at_unix_s, &file);
    if (error == 0)
        error = view_profile_read(file.data, file.bytes, ret_profile);
    view_buffer_free(&file);
    return error;
}

int http_api_heap(const struct http_request *request, uint64_t at_unix_s,
                  struct view_profile *ret_profile) {
    struct mal_snapshot *snapshot;
    if (at_unix_s != 0)
        return stored_heap(request, at_unix_s, ret_profile);
    int error = mal_reader_snapshot(request->reader, &snapshot);
    if (error < 0)
        return error;
    error = heap_profile_build(ret_profile, snapshot, request->context->symbols);
    mal_snapshot_free(snapshot);
    return error;
}
