/* SPDX-License-Identifier: Apache-2.0
 *
 * Which requests are answered at all, judged by their head before any of the body is read.
 */
#ifndef MAL_HTTP_ADMIT_H
#define MAL_HTTP_ADMIT_H

#include "http/connections.h"
#include "http/request.h"

#include <microhttpd.h>
#include <stdbool.h>

#define HTTP_BODY_MAX (1u << 20)

enum http_admission_rules {
    HTTP_RULE_HOST = 1u << 0,          /* the Host header must name loopback */
    HTTP_RULE_PEER = 1u << 1,          /* a client without the token sees what its user may see */
    HTTP_RULE_TOKEN_OPTIONAL = 1u << 2 /* a client may show the token, and need not */
};

/* Constant while the server runs. */
struct http_admission {
    const char *token; /* NULL: none needed */
    unsigned rules;    /* enum http_admission_rules */
};

/* A request whose headers are complete. */
struct http_head {
    struct MHD_Connection *connection;
    struct http_connection *entry; /* of the same connection */
    const char *target;            /* as sent: path and query */
    const char *method;
    const char *version; /* "HTTP/1.1" */
};

/* Finds the route and fills what the request knows of its client. False: the reply is a refusal. */
bool http_admit(const struct http_admission *admission, const struct http_head *head,
                struct http_request *request, struct http_reply *reply);

/* NULL: the client sent no such header. */
const char *http_header_of(struct MHD_Connection *connection, const char *name);

/* The reply to a body of more than HTTP_BODY_MAX. */
void http_refuse_body(struct http_reply *reply);

#endif
