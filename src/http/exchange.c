/* SPDX-License-Identifier: Apache-2.0
 *
 * Exchanges: from libmicrohttpd's callbacks to a provider and back.
 *
 * The library calls `handle` several times for one request: when the headers are complete, for
 * each piece of the body, when the body is complete, and once more after a resume. The stage says
 * which of them it is:
 *
 *   BEGUN     headers complete: may it be asked (admit.c). A refusal is sent here, before any of
 *             the body is read.
 *   BODY      collect the body; at its end read the parameters, then run the provider: at once on
 *             the loop when it is light, else suspend the connection and give it to a worker.
 *   ANSWERED  a worker has filled the reply and resumed the connection: send it.
 *
 * SYNCHRONIZATION  Loop thread, except that a worker owns the exchange from submit to resume. The
 * library's lock in MHD_resume_connection orders the two. In external polling mode a resume does
 * not end the loop's wait, so the worker does.
 *
 * It must never write to a descriptor after they were lost: the number may be the program's by
 * then.
 */
#include "http/exchange.h"

#include "http/admit.h"
#include "http/response.h"
#include "http/routes.h"

#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#define ASK_AGAIN_MS 50

enum stage { STAGE_BEGUN, STAGE_BODY, STAGE_ANSWERED };

struct exchange {
    struct http_job job; /* first: a job is its exchange */
    struct http_service *service;
    struct MHD_Connection *connection;
    struct http_connection *entry; /* of the connection; outlives the exchange */
    char *target;
    enum stage stage;
    bool too_large;
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
static void remember(struct http_connection *entry, struct exchange *exchange) {
    destroy(entry->begun);
    entry->begun = exchange;
}

void *http_exchange_begin(void *context, const char *target, struct MHD_Connection *connection) {
    struct http_connection *entry = entry_of(connection);
    struct exchange *exchange = entry != NULL ? calloc(1, sizeof *exchange) : NULL;
    if (exchange == NULL)
        return NULL;
    exchange->target = strdup(target);
    if (exchange->target == NULL) {
        free(exchange);
        return NULL;
    }
    exchange->service = context;
    exchange->connection = connection;
    exchange->entry = entry;
    exchange->request.context = &exchange->service->context;
    exchange->request.viewer_uid = HTTP_VIEWER_NOBODY;
    remember(entry, exchange);
    return exchange;
}

void http_exchange_end(void *context, struct MHD_Connection *connection, void **exchange_slot,
                       enum MHD_RequestTerminationCode code) {
    struct exchange *exchange = *exchange_slot;
    (void)context;
    (void)connection;
    if (exchange == NULL)
        return;
    if (exchange->entry->begun == exchange)
        exchange->entry->begun = NULL;
    if (code == MHD_REQUEST_TERMINATED_COMPLETED_OK)
        http_connection_enter(exchange->entry, HTTP_PHASE_RESTING);
    destroy(exchange);
    *exchange_slot = NULL;
}

/* A connection that there was no memory to remember is cut: it would have no limits. */
static void admit_connection(struct http_service *service, struct MHD_Connection *connection,
                             void **ret_entry) {
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    *ret_entry =
        info != NULL ? http_connections_add(&service->connections, info->connect_fd) : NULL;
    if (*ret_entry == NULL && info != NULL)
        shutdown(info->connect_fd, SHUT_RDWR);
}

void http_exchange_connection(void *context, struct MHD_Connection *connection, void **entry,
                              enum MHD_ConnectionNotificationCode code) {
    struct http_service *service = context;
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        admit_connection(service, connection, entry);
    } else if (*entry != NULL) {
        destroy(((struct http_connection *)*entry)->begun);
        http_connections_remove(&service->connections, *entry);
        *entry = NULL;
    }
}

static enum MHD_Result send_reply(struct exchange *exchange) {
    http_connection_enter(exchange->entry, HTTP_PHASE_WRITING);
    return http_response_queue(&exchange->reply, exchange->connection);
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
    http_connection_enter(exchange->entry, HTTP_PHASE_WORKING);
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
        http_refuse_body(&exchange->reply);
        exchange->reply.flags |= HTTP_REPLY_CLOSE;
        return send_reply(exchange);
    }
    const char *type = http_header_of(exchange->connection, "Content-Type");
    if (http_route_parameters(request, type, &exchange->reply) < 0)
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

static enum MHD_Result head_complete(struct exchange *exchange, const char *method,
                                     const char *version) {
    const struct http_head head = {.connection = exchange->connection,
                                   .entry = exchange->entry,
                                   .target = exchange->target,
                                   .method = method,
                                   .version = version};
    struct http_request *request = &exchange->request;
    exchange->stage = STAGE_BODY;
    request->accepts_gzip =
        http_accepts_gzip(http_header_of(exchange->connection, "Accept-Encoding"));
    bool admitted = http_admit(&exchange->service->admission, &head, request, &exchange->reply);
    return admitted ? MHD_YES : send_reply(exchange);
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
    if (exchange->stage == STAGE_BEGUN)
        return head_complete(exchange, method, version);
    if (*upload_bytes == 0)
        return body_complete(exchange);
    body_piece(exchange, upload, *upload_bytes);
    *upload_bytes = 0;
    return MHD_YES;
}
