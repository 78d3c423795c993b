/* SPDX-License-Identifier: Apache-2.0
 *
 * Routes: from the target of a request line to the provider that answers.
 *
 *   /debug/pprof/heap?debug=1             the default process
 *   /debug/pprof/heap?proc=12&debug=1     process 12, as scrapers can be told by discovery
 *   /p/12/debug/pprof/heap?debug=1        process 12, as people and `go tool pprof` write it
 *   /p/12.3456/debug/pprof/heap           that process 12 which started at tick 3456
 *
 * A path is decoded once, compared whole with the table and never used as a file name. Everything
 * that is not in the table is 404. The steps of a request are: find (the target), admit (the
 * method), parameters (query and form), run (the provider, on the loop or on a worker).
 *
 * SYNCHRONIZATION  The table is constant. A request belongs to one thread at a time.
 */
#include "http/routes.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define READ (HTTP_GET | HTTP_HEAD)
#define PPROF (HTTP_ROUTE_PPROF)
#define HEAVY (HTTP_ROUTE_PPROF | HTTP_ROUTE_HEAVY)
#define SYMBOL (HEAVY | HTTP_ROUTE_RAW)
#define KNOB (HTTP_ROUTE_HEAVY | HTTP_ROUTE_CHANGES | HTTP_ROUTE_ASKS)
#define TREE (HTTP_ROUTE_PPROF | HTTP_ROUTE_PREFIX)
#define API (HTTP_ROUTE_HEAVY | HTTP_ROUTE_JSON | HTTP_ROUTE_GZIP)
#define PAGE (HTTP_ROUTE_HEAVY | HTTP_ROUTE_GZIP)

/* More exact paths first. The knobs' last column names an entry of the table in knobs.c. */
static const struct http_route routes[] = {
    {"/", READ, PAGE, http_page, NULL},
    {"/assets/", READ, HTTP_ROUTE_PREFIX, http_asset, NULL},
    {"/api/processes", READ, API, http_api_processes, NULL},
    {"/api/process", READ, API, http_api_process, NULL},
    {"/api/history", READ, API, http_api_history, NULL},
    {"/api/profile", READ, API, http_api_profile, NULL},
    {"/api/spans", READ, API | HTTP_ROUTE_ASKS, http_api_spans, NULL},
    {"/api/trace", READ, API, http_api_trace, NULL},
    {"/healthz", READ, HTTP_ROUTE_OPEN, http_health, NULL},
    {"/metrics", READ, HTTP_ROUTE_HEAVY, http_stats_metrics, NULL},
    {"/sd", READ, HTTP_ROUTE_HEAVY, http_discovery, NULL},
    {"/debug/memstats", READ, HTTP_ROUTE_HEAVY, http_stats_memstats, NULL},
    {"/debug/gctrace", READ, HTTP_ROUTE_HEAVY, http_trace_lines, "gc "},
    {"/debug/scavtrace", READ, HTTP_ROUTE_HEAVY, http_trace_lines, "scav "},
    {"/debug/pprof", READ | HTTP_POST, PPROF, http_pprof_redirect, NULL},
    {"/debug/pprof/", READ | HTTP_POST, HEAVY, http_pprof_index, NULL},
    {"/debug/pprof/allocs", READ | HTTP_POST, HEAVY, http_pprof_named, "allocs"},
    {"/debug/pprof/block", READ | HTTP_POST, HEAVY, http_pprof_named, "block"},
    {"/debug/pprof/cmdline", READ | HTTP_POST, HEAVY, http_pprof_cmdline, NULL},
    {"/debug/pprof/delta_block", READ | HTTP_POST, HEAVY, http_pprof_named, "block"},
    {"/debug/pprof/delta_heap", READ | HTTP_POST, HEAVY, http_pprof_delta_heap, NULL},
    {"/debug/pprof/delta_mutex", READ | HTTP_POST, HEAVY, http_pprof_named, "mutex"},
    {"/debug/pprof/goroutine", READ | HTTP_POST, HEAVY, http_pprof_named, "goroutine"},
    {"/debug/pprof/heap", READ | HTTP_POST, HEAVY, http_pprof_named, "heap"},
    {"/debug/pprof/mutex", READ | HTTP_POST, HEAVY, http_pprof_named, "mutex"},
    {"/debug/pprof/profile", READ | HTTP_POST, HEAVY, http_pprof_profile, NULL},
    {"/debug/pprof/symbol", READ | HTTP_POST, SYMBOL, http_pprof_symbol, NULL},
    {"/debug/pprof/threadcreate", READ | HTTP_POST, HEAVY, http_pprof_named, "threadcreate"},
    {"/debug/pprof/trace", READ | HTTP_POST, PPROF, http_pprof_trace, NULL},
    {"/debug/pprof/", READ | HTTP_POST, TREE, http_pprof_unknown, NULL},
    {"/debug/mallard/rate", HTTP_POST, KNOB, http_knob, "rate"},
    {"/debug/mallard/gogc", HTTP_POST, KNOB, http_knob, "gogc"},
    {"/debug/mallard/memory-limit", HTTP_POST, KNOB, http_knob, "memory-limit"},
    {"/debug/mallard/free-os-memory", HTTP_POST, KNOB, http_knob, "free-os-memory"},
    {"/debug/mallard/gc", HTTP_POST, KNOB, http_knob, "gc"},
};

static const struct http_route *route_lookup(const char *path) {
    for (size_t i = 0; i < sizeof routes / sizeof routes[0]; i++) {
        const struct http_route *route = &routes[i];
        int differs = route->flags & HTTP_ROUTE_PREFIX
                          ? strncmp(path, route->path, strlen(route->path))
                          : strcmp(path, route->path);
        if (differs == 0)
            return route;
    }
    return NULL;
}

/* The target without the scheme and authority that a proxy's form of it begins with. */
static const char *origin_form(const char *target) {
    static const char *const schemes[] = {"http://", "https://"};
    for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++) {
        size_t bytes = strlen(schemes[i]);
        if (strncasecmp(target, schemes[i], bytes) != 0)
            continue;
        const char *slash = strchr(target + bytes, '/');
        return slash != NULL ? slash : "/";
    }
    return target;
}

/* Takes "/p/ID" off the front of the path. What is not of that form stays and finds no route. */
static void take_process(struct http_request *request) {
    struct http_key key;
    if (strncmp(request->path, "/p/", 3) != 0)
        return;
    const char *rest = http_key_parse(request->path + 3, &key);
    if (rest == NULL || *rest != '/')
        return;
    request->key = key;
    memmove(request->path, rest, strlen(rest) + 1);
}

/* Fills path, query, key and route, which stays NULL where there is none. -EINVAL when the path
 * cannot be read. */
static int read_target(struct http_request *request, const char *target) {
    const char *question = strchr(target, '?');
    size_t path_bytes = question != NULL ? (size_t)(question - target) : strlen(target);
    request->query = question != NULL ? question + 1 : "";
    request->path = strndup(target, path_bytes);
    long decoded =
        request->path != NULL ? http_decode(request->path, path_bytes, HTTP_DECODE_PATH) : -ENOMEM;
    if (decoded < 0)
        return -EINVAL;
    request->path[decoded] = '\0';
    take_process(request);
    request->route = route_lookup(request->path);
    return 0;
}

/* The target with one slash in its path wherever there are several in a row. */
static char *without_empty_names(const char *target) {
    char *text = strdup(target);
    if (text == NULL)
        return NULL;
    char *to = text;
    for (const char *from = text; *from != '\0' && *from != '?'; from++)
        if (*from != '/' || from[1] != '/')
            *to++ = *from;
    const char *query = target + strcspn(target, "?");
    memcpy(to, query, strlen(query) + 1);
    return text;
}

/* Go sends a client to the clean form of a path. Here only if it leads somewhere, and only for
 * slashes: they come from an address that ends in one and a path that begins with one. */
static bool is_elsewhere(const char *target, struct http_reply *reply) {
    struct http_request clean = {0};
    char *text = without_empty_names(target);
    bool leads = text != NULL && strcmp(text, target) != 0 && read_target(&clean, text) == 0 &&
                 clean.route != NULL && !(clean.route->flags & HTTP_ROUTE_PREFIX);
    http_request_free(&clean);
    if (leads)
        http_reply_moved(reply, text);
    else
        free(text);
    return leads;
}

int http_route_find(struct http_request *request, const char *target, struct http_reply *reply) {
    target = origin_form(target);
    if (read_target(request, target) < 0) {
        http_reply_error(reply, 400, "400 Bad Request: the path cannot be read");
        return -EINVAL;
    }
    if (request->route != NULL && !(request->route->flags & HTTP_ROUTE_PREFIX))
        return 0;
    if (is_elsewhere(target, reply))
        return -EINVAL;
    if (request->route != NULL)
        return 0;
    http_reply_error(reply, 404, "404 page not found");
    return -EINVAL;
}

static const char *allowed_methods(unsigned methods) {
    if (methods == HTTP_POST)
        return "POST";
    return methods & HTTP_POST ? "GET, HEAD, POST" : "GET, HEAD";
}

int http_route_admit(struct http_request *request, struct http_reply *reply) {
    if (request->route->methods & request->method)
        return 0;
    http_reply_error(reply, 405, "Method Not Allowed");
    if (request->route->flags & HTTP_ROUTE_JSON)
        http_reply_error_json(reply);
    reply->allow = allowed_methods(request->route->methods);
    return -EINVAL;
}

static int take_proc_parameter(struct http_request *request, struct http_reply *reply) {
    const char *proc = http_form_get(&request->form, "proc");
    struct http_key key;
    if (*proc == '\0' || request->key.pid != 0)
        return 0;
    const char *end = http_key_parse(proc, &key);
    if (end != NULL && *end == '\0') {
        request->key = key;
        return 0;
    }
    http_reply_pprof_error(reply, 400, "invalid value for \"proc\" - must be a process id");
    if (request->route->flags & HTTP_ROUTE_JSON)
        http_reply_error_json(reply);
    return -EINVAL;
}

int http_route_parameters(struct http_request *request, const char *body_type,
                          struct http_reply *reply) {
    static const char form_type[] = "application/x-www-form-urlencoded";
    bool is_form = body_type != NULL &&
                   strncasecmp(body_type, form_type, sizeof form_type - 1) == 0 &&
                   !(request->route->flags & HTTP_ROUTE_RAW);
    if (is_form && request->body.bytes > 0)
        http_form_parse(&request->form, request->body.data, request->body.bytes);
    http_form_parse(&request->form, request->query, strlen(request->query));
    return take_proc_parameter(request, reply);
}

bool http_route_asks(const struct http_request *request) {
    int64_t gc;
    http_parse_int(http_form_get(&request->form, "gc"), &gc);
    return gc > 0 || request->route->flags & HTTP_ROUTE_ASKS;
}

static void finish_json(struct http_reply *reply) {
    if (reply->status >= 400)
        http_reply_error_json(reply);
    reply->cache = "no-store";
}

void http_route_run(struct http_request *request, struct http_reply *reply) {
    request->route->handle(request, reply);
    if (reply->body.failed)
        http_reply_error(reply, 500, "not enough memory for the answer");
    if (request->route->flags & HTTP_ROUTE_JSON)
        finish_json(reply);
    if (request->route->flags & HTTP_ROUTE_GZIP)
        http_reply_compress(request, reply);
}
