/* SPDX-License-Identifier: Apache-2.0
 *
 * /debug/pprof/: what net/http/pprof of Go 1.19 answers, for a C program.
 *
 * heap and allocs are real. block, mutex, goroutine and threadcreate have no counterpart in what
 * an allocator knows and answer with a valid profile that holds no samples, so that scrapers which
 * ask for all of them stay green. profile (CPU) does the same, and at once: there is nothing to
 * wait for, and a client that asked for 30 seconds of nothing has no use for the delay. trace has
 * no empty form that Go's tools accept and says 501.
 *
 * ?at= gives a stored heap profile instead (stored.c). What is made here for machines stays within
 * the bounds of view/cap.c unless ?full=1 asks for everything.
 *
 * The checks of `seconds`, their order and their sentences are Go's. A delta runs in two calls: the
 * first keeps the values of each stack and asks to be called again in N seconds, the second
 * subtracts. The box stays open in between, so a process that ends meanwhile still gives its delta.
 * N is bounded, with the sentence that Go has for a server with a write timeout, and so is what all
 * that wait keep.
 *
 * SYNCHRONIZATION  Runs on workers; everything is the request's own except the symbol cache, which
 * has its own lock.
 */
#include "http/routes.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECONDS_MAX 3600
#define COLLECT_TIMEOUT_MS 10000

static const char collect_failed[] = "failed to collect profile";

static void attach(struct http_reply *reply, const char *name, const char *suffix) {
    reply->type = HTTP_TYPE_BINARY;
    snprintf(reply->disposition, sizeof reply->disposition, "attachment; filename=\"%s%s\"", name,
             suffix);
}

/* The asked process's buckets; on failure the reply is the error. */
static int open_snapshot(struct http_request *request, struct http_reply *reply,
                         struct mal_snapshot **ret_snapshot) {
    int error = http_request_open(request, reply);
    if (error < 0)
        return error;
    error = mal_reader_snapshot(request->reader, ret_snapshot);
    if (error < 0)
        http_reply_pprof_error(reply, 500, collect_failed);
    return error;
}

/* Go's mux keeps the query and, for the body, escapes the address. */
void http_pprof_redirect(struct http_request *request, struct http_reply *reply) {
    const char *separator = *request->query != '\0' ? "?" : "";
    char id[HTTP_ID_BYTES] = "";
    if (request->key.pid != 0 && *http_form_get(&request->form, "proc") == '\0')
        http_key_text(&request->key, id);
    char *location;
    if (asprintf(&location, "%s%s/debug/pprof/%s%s", *id != '\0' ? "/p/" : "", id, separator,
                 request->query) < 0)
        location = NULL;
    http_reply_moved(reply, location);
}

void http_pprof_index(struct http_request *request, struct http_reply *reply) {
    struct mal_snapshot *snapshot;
    if (open_snapshot(request, reply, &snapshot) < 0)
        return;
    reply->type = HTTP_TYPE_HTML;
    reply->flags |= HTTP_REPLY_PAGE;
    if (view_index_html(snapshot, &reply->body) < 0)
        http_reply_pprof_error(reply, 500, collect_failed);
    mal_snapshot_free(snapshot);
}

void http_pprof_unknown(struct http_request *request, struct http_reply *reply) {
    (void)request;
    http_reply_pprof_error(reply, 404, "Unknown profile");
}

/* Back ends refuse what is too large for them; people may ask for everything. */
static unsigned cap_of(const struct http_request *request) {
    int64_t full;
    http_parse_int(http_form_get(&request->form, "full"), &full);
    return full > 0 ? 0 : VIEW_CAPPED;
}

static bool is_heap(const char *name) {
    return strcmp(name, "heap") == 0 || strcmp(name, "allocs") == 0;
}

/* `seconds` in Go's order: the number, then the bound, then `debug`. */
static int64_t delta_seconds(const struct http_request *request, struct http_reply *reply) {
    int64_t seconds;
    int64_t debug;
    const char *problem = NULL;
    int error = http_parse_int(http_form_get(&request->form, "seconds"), &seconds);
    http_parse_int(http_form_get(&request->form, "debug"), &debug);
    if (error < 0 || seconds <= 0)
        problem = "invalid value for \"seconds\" - must be a positive integer";
    else if (seconds > SECONDS_MAX)
        problem = "profile duration exceeds server's WriteTimeout";
    else if (debug != 0)
        problem = "seconds and debug params are incompatible";
    if (problem == NULL)
        return seconds;
    http_reply_pprof_error(reply, 400, problem);
    return -EINVAL;
}

/* What the second call needs of this moment; NULL when out of memory. */
static struct view_base *base_of(const struct http_request *request,
                                 const struct mal_snapshot *snapshot) {
    struct view_base *base = NULL;
    if (!is_heap(request->route->argument))
        return view_empty_base(snapshot);
    return view_heap_base(snapshot, &base) == 0 ? base : NULL;
}

static void delta_begin(struct http_request *request, struct http_reply *reply) {
    struct mal_snapshot *snapshot;
    int64_t seconds = delta_seconds(request, reply);
    if (seconds < 0 || open_snapshot(request, reply, &snapshot) < 0)
        return;
    struct view_base *base = base_of(request, snapshot);
    mal_snapshot_free(snapshot);
    if (base == NULL)
        http_reply_pprof_error(reply, 500, collect_failed);
    else if (http_request_hold(request, base, reply) == 0)
        reply->wait_ms = (uint64_t)seconds * 1000;
}

static int delta_render(const struct http_request *request, const struct mal_snapshot *after,
                        struct view_buffer *out) {
    const char *name = request->route->argument;
    uint64_t duration_ns = after->taken_unix_ns - request->before->taken_unix_ns;
    if (is_heap(name))
        return view_heap_delta_proto(request->before, after, request->context->symbols,
                                     cap_of(request), out);
    return view_empty_delta_proto(name, duration_ns, after, out);
}

static void delta_finish(struct http_request *request, struct http_reply *reply) {
    struct mal_snapshot *after;
    if (mal_reader_snapshot(request->reader, &after) < 0) {
        http_reply_pprof_error(reply, 500, collect_failed);
        return;
    }
    if (delta_render(request, after, &reply->body) < 0)
        http_reply_pprof_error(reply, 500, "failed to compute delta");
    else
        attach(reply, request->route->argument, "-delta");
    mal_snapshot_free(after);
}

/* `gc` above zero, and only for heap, collects first. A box that cannot be asked gives the profile
 * as it is, with a note. */
static void collect_if_asked(const struct http_request *request, struct http_reply *reply) {
    int64_t gc;
    int64_t result;
    http_parse_int(http_form_get(&request->form, "gc"), &gc);
    if (gc <= 0 || strcmp(request->route->argument, "heap") != 0)
        return;
    if (mal_reader_command(request->reader, MAL_BOX_CMD_COLLECT, 0, COLLECT_TIMEOUT_MS, &result) <
        0)
        reply->note = "no collection: the process does not answer";
}

static int heap_text(const struct http_request *request, struct view_buffer *out) {
    struct mal_snapshot *snapshot;
    struct mal_box_stats *stats = malloc(sizeof *stats);
    int error = stats != NULL ? mal_reader_stats(request->reader, stats) : -ENOMEM;
    if (error < 0)
        goto out;
    error = mal_reader_snapshot(request->reader, &snapshot);
    if (error < 0)
        goto out;
    error = view_heap_text(snapshot, stats, request->context->symbols, out);
    mal_snapshot_free(snapshot);
out:
    free(stats);
    return error;
}

static int named_proto(const struct http_request *request, struct view_buffer *out) {
    const char *name = request->route->argument;
    struct mal_snapshot *snapshot;
    int error = mal_reader_snapshot(request->reader, &snapshot);
    if (error < 0)
        return error;
    if (is_heap(name))
        error = view_heap_proto(
            snapshot, request->context->symbols,
            (strcmp(name, "heap") == 0 ? VIEW_HEAP : VIEW_ALLOCS) | cap_of(request), out);
    else
        error = view_empty_proto(name, snapshot, out);
    mal_snapshot_free(snapshot);
    return error;
}

/* Any debug but 0 is text for the heap; the count profiles take a negative one as binary, and
 * label it as text all the same. */
static int named_render(const struct http_request *request, int64_t debug,
                        struct view_buffer *out) {
    const char *name = request->route->argument;
    if (is_heap(name))
        return debug != 0 ? heap_text(request, out) : named_proto(request, out);
    return debug > 0 ? view_empty_text(name, out) : named_proto(request, out);
}

static void named_now(struct http_request *request, struct http_reply *reply) {
    int64_t debug;
    http_parse_int(http_form_get(&request->form, "debug"), &debug);
    if (http_request_open(request, reply) < 0)
        return;
    collect_if_asked(request, reply);
    if (debug != 0)
        reply->type = HTTP_TYPE_TEXT;
    else
        attach(reply, request->route->argument, "");
    if (named_render(request, debug, &reply->body) < 0)
        http_reply_pprof_error(reply, 500, collect_failed);
}

void http_pprof_named(struct http_request *request, struct http_reply *reply) {
    if (request->before != NULL)
        delta_finish(request, reply);
    else if (is_heap(request->route->argument) && *http_form_get(&request->form, "at") != '\0')
        http_stored_heap(request, reply);
    else if (*http_form_get(&request->form, "seconds") != '\0')
        delta_begin(request, reply);
    else
        named_now(request, reply);
}

void http_pprof_cmdline(struct http_request *request, struct http_reply *reply) {
    struct mal_identity identity;
    if (http_request_open(request, reply) < 0)
        return;
    if (mal_reader_identity(request->reader, &identity) < 0) {
        http_reply_pprof_error(reply, 500, collect_failed);
        return;
    }
    reply->type = HTTP_TYPE_TEXT;
    view_buffer_append(&reply->body, identity.cmdline, identity.cmdline_bytes);
    mal_identity_free(&identity);
}

void http_pprof_profile(struct http_request *request, struct http_reply *reply) {
    struct mal_snapshot *snapshot;
    if (open_snapshot(request, reply, &snapshot) < 0)
        return;
    attach(reply, "profile", "");
    if (view_empty_proto("profile", snapshot, &reply->body) < 0)
        http_reply_pprof_error(reply, 500, collect_failed);
    mal_snapshot_free(snapshot);
}

/* Go has this one in a module of its own, godeltaprof. `seconds` is not for it: some scrapers send
 * theirs to every path. */
void http_pprof_delta_heap(struct http_request *request, struct http_reply *reply) {
    struct mal_snapshot *snapshot;
    struct http_scraper scraper = {.viewer_uid = request->viewer_uid};
    struct http_scrapers *scrapers = request->context->scrapers;
    struct view_marks *after = NULL;
    if (open_snapshot(request, reply, &snapshot) < 0)
        return;
    memcpy(scraper.id, request->facts.id, sizeof scraper.id);
    snprintf(scraper.name, sizeof scraper.name, "%s", http_form_get(&request->form, "scraper"));
    struct view_marks *before = http_scrapers_take(scrapers, &scraper);
    const struct view_scrape scrape = {before, &after};
    attach(reply, "delta_heap", "");
    if (view_heap_scrape_proto(snapshot, request->context->symbols, cap_of(request), &scrape,
                               &reply->body) < 0)
        http_reply_pprof_error(reply, 500, collect_failed);
    if (after != NULL)
        free(before);
    http_scrapers_put(scrapers, &scraper, after != NULL ? after : before);
    mal_snapshot_free(snapshot);
}

void http_pprof_symbol(struct http_request *request, struct http_reply *reply) {
    bool posted = request->method == HTTP_POST;
    const char *text = posted ? request->body.data : request->query;
    size_t bytes = posted ? request->body.bytes : strlen(request->query);
    struct mal_snapshot *snapshot;
    if (open_snapshot(request, reply, &snapshot) < 0)
        return;
    reply->type = HTTP_TYPE_TEXT;
    if (view_symbol_text(snapshot, request->context->symbols, text != NULL ? text : "", bytes,
                         &reply->body) < 0)
        http_reply_pprof_error(reply, 500, collect_failed);
    mal_snapshot_free(snapshot);
}

void http_pprof_trace(struct http_request *request, struct http_reply *reply) {
    (void)request;
    http_reply_pprof_error(reply, 501,
                           "Could not enable tracing: a C program has no Go execution trace; "
                           "/debug/gctrace and /debug/scavtrace have the lines of the collector");
}
