/* SPDX-License-Identifier: Apache-2.0
 *
 * Requests and replies: their ends, and the few answers that every provider needs.
 *
 * An error reply forgets everything that was prepared for a good one: the partly rendered body,
 * the attachment's name, the flags. So a provider may render first and fail late, and a client
 * never sees half a profile under status 500.
 *
 * SYNCHRONIZATION  None: a request belongs to the loop until it is handed to a worker, to that
 * worker until it is handed back.
 */
#include "http/request.h"

#include "view/gzip.h"
#include "view/json.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define COMPRESS_MIN_BYTES 1024

static bool take_waiting(const struct http_context *context, size_t bytes) {
    if (context->waiting_bytes == NULL)
        return true;
    size_t held = atomic_fetch_add(context->waiting_bytes, bytes);
    if (held + bytes <= HTTP_WAITING_BYTES_MAX)
        return true;
    atomic_fetch_sub(context->waiting_bytes, bytes);
    return false;
}

static void give_waiting(const struct http_context *context, size_t bytes) {
    if (context->waiting_bytes != NULL)
        atomic_fetch_sub(context->waiting_bytes, bytes);
}

int http_request_hold(struct http_request *request, struct view_base *before,
                      struct http_reply *reply) {
    if (!take_waiting(request->context, view_base_bytes(before))) {
        free(before);
        http_reply_pprof_error(reply, 503,
                               "too many requests with \"seconds\" are waiting: what they began "
                               "with takes 16 MiB");
        return -EBUSY;
    }
    request->before = before;
    return 0;
}

static void release(struct http_request *request) {
    if (request->before != NULL)
        give_waiting(request->context, view_base_bytes(request->before));
    free(request->before);
    request->before = NULL;
}

void http_request_free(struct http_request *request) {
    release(request);
    mal_reader_close(request->reader);
    http_form_free(&request->form);
    view_buffer_free(&request->body);
    free(request->facts_text);
    free(request->path);
}

void http_reply_free(struct http_reply *reply) {
    view_buffer_free(&reply->body);
    free(reply->location);
}

void http_reply_error(struct http_reply *reply, unsigned status, const char *text) {
    http_reply_free(reply);
    *reply = (struct http_reply){.status = status, .type = HTTP_TYPE_TEXT};
    view_buffer_printf(&reply->body, "%s\n", text);
}

void http_reply_pprof_error(struct http_reply *reply, unsigned status, const char *text) {
    http_reply_error(reply, status, text);
    reply->flags |= HTTP_REPLY_GO_PPROF;
}

void http_reply_moved(struct http_reply *reply, char *location) {
    http_reply_free(reply);
    if (location == NULL) {
        http_reply_error(reply, 500, "not enough memory for the answer");
        return;
    }
    *reply = (struct http_reply){.status = 301, .type = HTTP_TYPE_HTML, .location = location};
    view_buffer_text(&reply->body, "<a href=\"");
    http_html_text(&reply->body, location, strlen(location));
    view_buffer_text(&reply->body, "\">Moved Permanently</a>.\n\n");
}

void http_reply_error_json(struct http_reply *reply) {
    struct view_buffer body = {0};
    struct view_json json = {.out = &body};
    size_t bytes = reply->body.bytes;
    while (bytes > 0 && reply->body.data[bytes - 1] == '\n')
        bytes--;
    view_json_object(&json, NULL);
    view_json_bytes(&json, "error", reply->body.data != NULL ? reply->body.data : "", bytes);
    view_json_object_end(&json);
    view_buffer_text(&body, "\n");
    view_buffer_free(&reply->body);
    reply->body = body;
    reply->type = HTTP_TYPE_JSON;
    reply->flags &= ~(unsigned)HTTP_REPLY_GO_PPROF;
}

void http_reply_compress(const struct http_request *request, struct http_reply *reply) {
    struct view_buffer compressed = {0};
    if ((reply->status != 0 && reply->status != 200) || reply->encoding != NULL)
        return;
    reply->varies = true;
    if (!request->accepts_gzip || reply->body.bytes < COMPRESS_MIN_BYTES ||
        view_gzip(reply->body.data, reply->body.bytes, VIEW_EFFORT_SPEED, &compressed) < 0)
        return;
    view_buffer_free(&reply->body);
    reply->body = compressed;
    reply->encoding = "gzip";
}

static const char *html_entity(char c) {
    switch (c) {
    case '&':
        return "&amp;";
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '"':
        return "&#34;";
    case '\'':
        return "&#39;";
    default:
        return (unsigned char)c < ' ' ? " " : NULL;
    }
}

void http_html_text(struct view_buffer *out, const char *text, size_t bytes) {
    for (size_t i = 0; i < bytes; i++) {
        const char *entity = html_entity(text[i]);
        if (entity != NULL)
            view_buffer_text(out, entity);
        else
            view_buffer_append(out, &text[i], 1);
    }
}

int http_request_visit(const struct http_request *request, struct http_reply *reply,
                       http_process_visit *visit, void *visit_context) {
    const struct http_source *source = request->context->source;
    const struct http_ask ask = {request->key, request->viewer_uid};
    int error = source->open(source->context, &ask, visit, visit_context);
    if (error == -ENOENT && request->key.pid == 0)
        http_reply_pprof_error(
            reply, 503, "no box yet: the program has just begun, or does not run on Mallard");
    else if (error == -ENOENT)
        http_reply_pprof_error(reply, 404, "no such process");
    else if (error < 0)
        http_reply_pprof_error(reply, 500, "the process's box cannot be read");
    return error;
}

static int keep_open(struct http_process *process, void *visit_context) {
    struct http_request *request = visit_context;
    const struct http_facts *facts = process->facts;
    size_t folder_bytes = strlen(facts->folder) + 1;
    size_t root_bytes = strlen(facts->root) + 1;
    request->facts_text = malloc(folder_bytes + root_bytes);
    if (request->facts_text == NULL)
        return -ENOMEM;
    memcpy(request->facts_text, facts->folder, folder_bytes);
    memcpy(request->facts_text + folder_bytes, facts->root, root_bytes);
    request->facts = *facts;
    request->facts.folder = request->facts_text;
    request->facts.root = request->facts_text + folder_bytes;
    request->facts.kept = NULL;
    request->reader = process->reader;
    process->taken = true;
    return 0;
}

int http_request_open(struct http_request *request, struct http_reply *reply) {
    return http_request_visit(request, reply, keep_open, request);
}
