/* SPDX-License-Identifier: Apache-2.0
 *
 * Exchanges: one request and its reply on one connection, between libmicrohttpd and the routes.
 */
#ifndef MAL_HTTP_EXCHANGE_H
#define MAL_HTTP_EXCHANGE_H

#include "http/admit.h"
#include "http/connections.h"
#include "http/request.h"
#include "http/worker.h"

#include <microhttpd.h>
#include <stdatomic.h>
#include <stdbool.h>

/* What the exchanges of one server share. */
struct http_service {
    struct http_context context;         /* constant */
    _Atomic size_t waiting_bytes;        /* of the context */
    struct http_workers *workers;        /* constant */
    struct http_admission admission;     /* constant */
    _Atomic bool asking;                 /* a worker may be waiting for a process */
    int wake_fd;                         /* constant; an eventfd that ends the loop's wait */
    _Atomic bool lost;                   /* our descriptors are not ours any more */
    struct http_connections connections; /* loop thread */
};

/* Ends the wait of the loop; from threads that share its table of descriptors. */
void http_service_wake(struct http_service *service);

/* The callbacks; `context` is the struct http_service. */
void *http_exchange_begin(void *context, const char *target, struct MHD_Connection *connection);
enum MHD_Result http_exchange_handle(void *context, struct MHD_Connection *connection,
                                     const char *url, const char *method, const char *version,
                                     const char *upload, size_t *upload_bytes, void **exchange);
void http_exchange_end(void *context, struct MHD_Connection *connection, void **exchange,
                       enum MHD_RequestTerminationCode code);
void http_exchange_connection(void *context, struct MHD_Connection *connection, void **entry,
                              enum MHD_ConnectionNotificationCode code);

/* The client of a connection in HTTP_PHASE_WORKING has ended its side: it is not waited for, as in
 * Go. Loop thread. */
void http_exchange_abandon(struct http_service *service, struct http_connection *connection);

#endif
