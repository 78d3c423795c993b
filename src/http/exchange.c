/* SPDX-License-Identifier: Apache-2.0
 *
 * Exchanges: from libmicrohttpd's callbacks to a provider and back.
 *
 * The library calls `handle` several times for one request: when the headers are complete, for
 * each piece of the body, when the body is complete, and once more after a resume. The stage says
 * which of them it is:
 *
 *   BEGUN     headers complete: who may ask, is there such a route, is the method right. A refusal
 *             is sent here, before any of the body is read.
 *   BODY      collect the body; at its end read the parameters, then run the provider: at once on
 *             the loop when it is light, else suspend the connection and give it to a worker.
 *   ANSWERED  a worker has filled the reply and resumed the connection: send it.
 *
 * The reply's buffer is handed to the library, which sends from it as fast as the client reads;
 * nothing waits for a client.
 *
 * SYNCHRONIZATION  Loop thread, except that a worker owns the exchange from submit to resume. The
 * library's lock in MHD_resume_connection orders the two. In external polling mode a resume does
 * not end the loop's wait, so the worker does.
 *
 * It must never write to a descriptor after they were lost: the number may be the program's by
 * then.
 */
#include "http/exchange.h"

#include "http/guard.h"
#include "http/routes.h"

#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#define ASK_AGAIN_MS 50

enum stage { STAGE_BEGUN, STAGE_BODY, STAGE_ANSWERED };

struct exchange {
    struct http_job job; /* first: a job is its exchange */
    struct http_service *service;
    struct MHD_Connection *connection;
    char *target;
    enum stage stage;
    bool too_large;
    bool trusted;      /* the client has shown the token */
    bool unidentified; /* it could not be looked up now who the client is */
    struct http_request request;
    struct http_reply reply;
};

static struct http_connection *entry_of(struct MHD_Connection *connection) {
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info != NULL ? info->socket_context : NULL;
}

static void destroy(struct exchange *exchange) {
    if (exchange == NULL)
        return;
    http_request_free(&exchange->request);
    http_reply_free(&exchange->reply);
    free(exchange->target);
    free(exchange);
}

/* The library tells of the end of a request only if it was whole enough to be handled. One that was
 * not is remembered with its connection, and goes when the next one begins or the connection ends.
 */
static void remember(struct MHD_Connection *connection, struct exchange *exchange) {
    struct http_connection *entry = entry_of(connection);
    if (entry == NULL)
        return;
    destroy(entry->begun);
    entry->begun = exchange;
}

void *http_exchange_begin(void *context, const char *target, struct MHD_Connection *connection) {
    struct exchange *exchange = calloc(1, sizeof *exchange);
    if (exchange == NULL)
        return NULL;
    exchange->target = strdup(target);
    if (exchange->target == NULL) {
        free(exchange);
        return NULL;
    }
    exchange->service = context;
    exchange->connection = connection;
    exchange->request.context = &exchange->service->context;
    exchange->request.viewer_uid = HTTP_VIEWER_NOBODY;
    remember(connection, exchange);
    return exchange;
}

static void enter(struct MHD_Connection *connection, enum http_phase phase) {
    struct http_connection *entry = entry_of(connection);
    if (entry != NULL)
        http_connection_enter(entry, phase);
}

void http_exchange_end(void *context, struct MHD_Connection *connection, void **exchange_slot,
                       enum MHD_RequestTerminationCode code) {
    struct http_connection *entry = entry_of(connection);
    (void)context;
    if (entry != NULL && entry->begun == *exchange_slot)
        entry->begun = NULL;
    if (code == MHD_REQUEST_TERMINATED_COMPLETED_OK)
        enter(connection, HTTP_PHASE_RESTING);
    destroy(*exchange_slot);
    *exchange_slot = NULL;
}

void http_exchange_connection(void *context, struct MHD_Connection *connection, void **entry,
                              enum MHD_ConnectionNotificationCode code) {
    struct http_service *service = context;
    const union MHD_ConnectionInfo *info;
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
        *entry =
            info != NULL ? http_connections_add(&service->connections, info->connect_fd) : NULL;
    } else if (*entry != NULL) {
        destroy(((struct http_connection *)*entry)->begun);
        http_connections_remove(&service->connections, *entry);
        *entry = NULL;
    }
}

/* ---- sending ---- */

struct header {
    const char *name;
    const char *value;
};

static const char page_policy[] = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; "
                                  "form-action 'none'; frame-ancestors 'none'";

/* The page with our script: nothing but our own files, and nobody may frame it. */
static const char app_policy[] =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

static const char *policy_of(const struct http_reply *reply) {
    if (!(reply->flags & HTTP_REPLY_PAGE))
        return NULL;
    return reply->flags & HTTP_REPLY_APP ? app_policy : page_policy;
}

/* The headers of a reply; those that do not apply have no value. */
static void add_headers(struct MHD_Response *response, const struct http_reply *reply) {
    bool page = reply->flags & HTTP_REPLY_PAGE;
    bool auth = reply->flags & HTTP_REPLY_AUTH;
    const struct header headers[] = {
        {"Content-Type", reply->type},
        {"Content-Encoding", reply->encoding},
        {"Vary", reply->varies ? "Accept-Encoding" : NULL},
        {"Cache-Control", reply->cache},
        {"X-Content-Type-Options", "nosniff"},
        {"X-Go-Pprof", reply->flags & HTTP_REPLY_GO_PPROF ? "1" : NULL},
        {"Content-Disposition", *reply->disposition != '\0' ? reply->disposition : NULL},
        {"Location", reply->location},
        {"Allow", reply->allow},
        {"X-Mallard-Note", reply->note},
        {"Content-Security-Policy", policy_of(reply)},
        {"X-Frame-Options", page ? "DENY" : NULL},
        {"Referrer-Policy", page ? "no-referrer" : NULL},
        {"WWW-Authenticate", auth ? "Basic realm=\"mallard\", charset=\"UTF-8\"" : NULL},
        {"Connection", reply->flags & HTTP_REPLY_CLOSE ? "close" : NULL},
    };
    for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++)
        if (headers[i].value != NULL)
            MHD_add_response_header(response, headers[i].name, headers[i].value);
}

/* Hands the reply to the library, which takes over the memory of the body. */
static enum MHD_Result send_reply(struct exchange *exchange) {
    struct http_reply *reply = &exchange->reply;
    struct MHD_Response *response =
        MHD_create_response_from_buffer(reply->body.bytes, reply->body.data, MHD_RESPMEM_MUST_FREE);
    if (response == NULL)
        return MHD_NO;
    reply->body = (struct view_buffer){0};
    add_headers(response, reply);
    enter(exchange->connection, HTTP_PHASE_WRITING);
    enum MHD_Result queued = MHD_queue_response(exchange->connection,
                                                reply->status != 0 ? reply->status : 200, response);
    MHD_destroy_response(response);
    return queued;
}

/* ---- who may ask ---- */

static const char *header_of(const struct exchange *exchange, const char *name) {
    return MHD_lookup_connection_value(exchange->connection, MHD_HEADER_KIND, name);
}

static bool refuse_host(struct exchange *exchange, const char *version) {
    const char *host = exchange->request.host;
    bool checks = exchange->service->rules & HTTP_RULE_HOST && !exchange->trusted;
    if (host == NULL && strcmp(version, "HTTP/1.0") != 0)
        http_reply_error(&exchange->reply, 400, "400 Bad Request: missing required Host header");
    else if (host != NULL && checks && !http_host_is_loopback(host))
        http_reply_error(&exchange->reply, 403,
                         "this server answers only to localhost, 127.0.0.1 and [::1]; "
                         "the Host header names something else");
    else
        return false;
    return true;
}

/* Where the token is optional only a wrong one is refused: who shows one means to be trusted. */
static bool refuse_token(struct exchange *exchange) {
    const struct http_route *route = exchange->request.route;
    const struct http_service *service = exchange->service;
    bool absent = header_of(exchange, "Authorization") == NULL;
    if (service->token == NULL || exchange->trusted ||
        (route != NULL && route->flags & HTTP_ROUTE_OPEN) ||
        (absent && service->rules & HTTP_RULE_TOKEN_OPTIONAL))
        return false;
    http_reply_pprof_error(&exchange->reply, 401,
                           "this server needs its token: Authorization: Bearer TOKEN, or "
                           "http://x:TOKEN@host/");
    exchange->reply.flags |= HTTP_REPLY_AUTH;
    return true;
}

/* What the headers say of the client, and what the kernel does. */
static void identify(struct exchange *exchange) {
    const struct http_service *service = exchange->service;
    struct http_connection *entry = entry_of(exchange->connection);
    exchange->request.host = header_of(exchange, "Host");
    exchange->trusted = service->token != NULL &&
                        http_token_matches(header_of(exchange, "Authorization"), service->token);
    if (exchange->trusted || !(service->rules & HTTP_RULE_PEER))
        exchange->request.viewer_uid = HTTP_VIEWER_ALL;
    else if (entry != NULL)
        exchange->unidentified = http_connection_viewer(entry, &exchange->request.viewer_uid) < 0;
}

static bool refuse_unidentified(struct exchange *exchange) {
    if (!exchange->unidentified || exchange->request.route->flags & HTTP_ROUTE_OPEN)
        return false;
    http_reply_error(&exchange->reply, 503, "out of descriptors: it cannot be told who asks");
    return true;
}

static bool refuse_site(struct exchange *exchange) {
    struct http_site site = {header_of(exchange, "Host"), header_of(exchange, "Origin"),
                             header_of(exchange, "Sec-Fetch-Site")};
    if (!(exchange->request.route->flags & HTTP_ROUTE_CHANGES) || http_site_is_own(&site))
        return false;
    http_reply_error(&exchange->reply, 403, "another site's page may not change this process");
    return true;
}

static bool refuse_length(struct exchange *exchange) {
    const char *length = header_of(exchange, "Content-Length");
    if (length == NULL || strtoull(length, NULL, 10) <= HTTP_BODY_MAX)
        return false;
    http_reply_error(&exchange->reply, 413, "the request body is larger than 1 MiB");
    return true;
}

static unsigned method_bit(const char *method) {
    static const struct {
        const char *name;
        enum http_method bit;
    } methods[] = {{"GET", HTTP_GET}, {"HEAD", HTTP_HEAD}, {"POST", HTTP_POST}};
    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++)
        if (strcmp(methods[i].name, method) == 0)
            return methods[i].bit;
    return 0;
}

/* True when the reply is a refusal. A missing route is told only to those who have the token. */
static bool refused(struct exchange *exchange, const char *method, const char *version) {
    struct http_reply not_found = {0};
    exchange->request.method = method_bit(method);
    identify(exchange);
    if (refuse_host(exchange, version))
        return true;
    int found = http_route_find(&exchange->request, exchange->target, &not_found);
    if (refuse_token(exchange)) {
        http_reply_free(&not_found);
        return true;
    }
    if (found < 0) {
        exchange->reply = not_found;
        return true;
    }
    return http_route_admit(&exchange->request, &exchange->reply) < 0 || refuse_site(exchange) ||
           refuse_length(exchange) || refuse_unidentified(exchange);
}

/* ---- running ---- */

void http_service_wake(struct http_service *service) {
    if (!atomic_load(&service->lost))
        eventfd_write(service->wake_fd, 1);
}

static void answer_from_worker(struct exchange *exchange) {
    struct http_service *service = exchange->service;
    exchange->stage = STAGE_ANSWERED;
    MHD_resume_connection(exchange->connection);
    http_service_wake(service);
}

/* Runs the provider, which may ask a process that does not answer for seconds, as a stopped one.
 * One worker at a time does, so that one is left for everybody else. False: not now. */
static bool run_route(struct exchange *exchange) {
    struct http_service *service = exchange->service;
    bool asks = http_route_asks(&exchange->request);
    if (asks && atomic_exchange(&service->asking, true))
        return false;
    http_route_run(&exchange->request, &exchange->reply);
    if (asks)
        atomic_store(&service->asking, false);
    return true;
}

static uint64_t job_run(struct http_job *job) {
    struct exchange *exchange = (struct exchange *)job;
    if (!run_route(exchange))
        return ASK_AGAIN_MS;
    uint64_t again_ms = exchange->reply.wait_ms;
    exchange->reply.wait_ms = 0;
    if (again_ms == 0)
        answer_from_worker(exchange);
    return again_ms;
}

/* A client that is gone gets Go's answer: it may have ended only its own side. */
static void job_cancel(struct http_job *job, enum http_cancel why) {
    static const struct {
        unsigned status;
        const char *sentence;
    } answers[] = {[HTTP_CANCEL_STOPPING] = {503, "the server is stopping"},
                   [HTTP_CANCEL_ABANDONED] = {500, "context canceled"},
                   [HTTP_CANCEL_CROWDED] = {503, "too many requests are waiting"}};
    struct exchange *exchange = (struct exchange *)job;
    http_reply_pprof_error(&exchange->reply, answers[why].status, answers[why].sentence);
    answer_from_worker(exchange);
}

void http_exchange_abandon(struct http_service *service, struct http_connection *connection) {
    struct exchange *exchange = connection->begun;
    if (exchange != NULL)
        http_workers_abandon(service->workers, &exchange->job);
}

/* Suspends first: the worker may be done before submit returns. */
static enum MHD_Result run_on_worker(struct exchange *exchange) {
    exchange->job = (struct http_job){.run = job_run, .cancel = job_cancel};
    enter(exchange->connection, HTTP_PHASE_WORKING);
    MHD_suspend_connection(exchange->connection);
    if (http_workers_submit(exchange->service->workers, &exchange->job) < 0) {
        http_reply_pprof_error(&exchange->reply, 503, "too many requests are waiting");
        answer_from_worker(exchange);
    }
    return MHD_YES;
}

static enum MHD_Result body_complete(struct exchange *exchange) {
    struct http_request *request = &exchange->request;
    if (exchange->too_large || request->body.failed) {
        http_reply_error(&exchange->reply, 413, "the request body is larger than 1 MiB");
        exchange->reply.flags |= HTTP_REPLY_CLOSE;
        return send_reply(exchange);
    }
    if (http_route_parameters(request, header_of(exchange, "Content-Type"), &exchange->reply) < 0)
        return send_reply(exchange);
    if (request->route->flags & HTTP_ROUTE_HEAVY)
        return run_on_worker(exchange);
    http_route_run(request, &exchange->reply);
    return send_reply(exchange);
}

/* What is beyond the limit is read and forgotten: the library sends nothing before the end. */
static void body_piece(struct exchange *exchange, const char *upload, size_t bytes) {
    exchange->too_large |= exchange->request.body.bytes + bytes > HTTP_BODY_MAX;
    if (!exchange->too_large)
        view_buffer_append(&exchange->request.body, upload, bytes);
}

enum MHD_Result http_exchange_handle(void *context, struct MHD_Connection *connection,
                                     const char *url, const char *method, const char *version,
                                     const char *upload, size_t *upload_bytes,
                                     void **exchange_slot) {
    struct exchange *exchange = *exchange_slot;
    (void)context;
    (void)connection;
    (void)url;
    if (exchange == NULL)
        return MHD_NO;
    if (exchange->stage == STAGE_ANSWERED)
        return send_reply(exchange);
    if (exchange->stage == STAGE_BEGUN) {
        exchange->stage = STAGE_BODY;
        exchange->request.accepts_gzip = http_accepts_gzip(header_of(exchange, "Accept-Encoding"));
        return refused(exchange, method, version) ? send_reply(exchange) : MHD_YES;
    }
    if (*upload_bytes == 0)
        return body_complete(exchange);
    body_piece(exchange, upload, *upload_bytes);
    *upload_bytes = 0;
    return MHD_YES;
}
