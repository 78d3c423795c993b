/* SPDX-License-Identifier: Apache-2.0
 *
 * The table of everything that the server answers to. Providers are in one file per subject and
 * appear only here.
 */
#ifndef MAL_HTTP_ROUTES_H
#define MAL_HTTP_ROUTES_H

#include "http/request.h"

enum http_route_flags {
    HTTP_ROUTE_HEAVY = 1u << 0,   /* may symbolize, wait or ask the process: runs on a worker */
    HTTP_ROUTE_CHANGES = 1u << 1, /* changes the process: refused when another site sent it */
    HTTP_ROUTE_OPEN = 1u << 2,    /* needs no token */
    HTTP_ROUTE_PREFIX = 1u << 3,  /* answers for every path that begins with this one */
    HTTP_ROUTE_PPROF = 1u << 4,   /* its errors carry X-Go-Pprof */
    HTTP_ROUTE_RAW = 1u << 5,     /* takes its input raw: a POST body is not a form */
    HTTP_ROUTE_JSON = 1u << 6,    /* its errors are JSON; nothing of it may be cached */
    HTTP_ROUTE_GZIP = 1u << 7,    /* its answers are compressed for clients that accept it */
    HTTP_ROUTE_ASKS = 1u << 8     /* asks the process, which may take seconds to answer */
};

typedef void http_handler(struct http_request *request, struct http_reply *reply);

struct http_route {
    const char *path;
    unsigned methods; /* enum http_method */
    unsigned flags;   /* enum http_route_flags */
    http_handler *handle;
    const char *argument; /* which of the things that the handler knows */
};

/* Fills route, path, query and key of a request from the target of its request line, such as
 * "/p/12/debug/pprof/heap?debug=1". On failure the reply is the error and the result -EINVAL. */
int http_route_find(struct http_request *request, const char *target, struct http_reply *reply);

/* Checks the method; fills `form`, and the key from ?proc=, once the body is complete. Same result.
 */
int http_route_admit(struct http_request *request, struct http_reply *reply);
int http_route_parameters(struct http_request *request, const char *body_type,
                          struct http_reply *reply);

/* True when the answer may have to wait for seconds for the process that it is about: the route
 * asks it always, or is asked to by ?gc=1. */
bool http_route_asks(const struct http_request *request);

/* Runs the provider and turns a failed body into an error. */
void http_route_run(struct http_request *request, struct http_reply *reply);

/* pprof.c */
http_handler http_pprof_redirect, http_pprof_index, http_pprof_named, http_pprof_unknown;
http_handler http_pprof_cmdline, http_pprof_profile, http_pprof_symbol, http_pprof_trace;
http_handler http_pprof_delta_heap;
/* stored.c */
http_handler http_stored_heap;
/* stats.c */
http_handler http_stats_memstats, http_stats_metrics;
/* api_processes.c, api_history.c, api_profile.c */
http_handler http_api_processes, http_api_process, http_api_history, http_api_profile;
http_handler http_api_trace, http_api_spans;
/* page.c; assets.c */
http_handler http_page, http_asset;
/* knobs.c; health.c; trace.c; discovery.c */
http_handler http_knob, http_health, http_trace_lines, http_discovery;

#endif
