/* SPDX-License-Identifier: Apache-2.0
 *
 * Who may ask, and whether there is such a route: the order of the refusals.
 *
 *   Host        before all else: a page that got here by rebinding learns nothing
 *   token       before a missing route is told: only who has the token may try out paths
 *   route       404, or where the path leads
 *   method, site, length, the user behind the connection
 *
 * The rules themselves are pure functions (guard.c).
 *
 * SYNCHRONIZATION  Loop thread: headers are the library's.
 */
#include "http/admit.h"

#include "http/guard.h"
#include "http/routes.h"

#include <stdlib.h>
#include <string.h>

/* What is being judged. */
struct hearing {
    const struct http_admission *admission;
    const struct http_head *head;
    struct http_request *request;
    struct http_reply *reply;
    bool trusted;      /* the client has shown the token */
    bool unidentified; /* it could not be looked up now who the client is */
};

const char *http_header_of(struct MHD_Connection *connection, const char *name) {
    return MHD_lookup_connection_value(connection, MHD_HEADER_KIND, name);
}

void http_refuse_body(struct http_reply *reply) {
    http_reply_error(reply, 413, "the request body is larger than 1 MiB");
}

static const char *header_of(const struct hearing *hearing, const char *name) {
    return http_header_of(hearing->head->connection, name);
}

static bool refuse_host(const struct hearing *hearing) {
    const char *host = hearing->request->host;
    bool checks = hearing->admission->rules & HTTP_RULE_HOST && !hearing->trusted;
    if (host == NULL && strcmp(hearing->head->version, "HTTP/1.0") != 0)
        http_reply_error(hearing->reply, 400, "400 Bad Request: missing required Host header");
    else if (host != NULL && checks && !http_host_is_loopback(host))
        http_reply_error(hearing->reply, 403,
                         "this server answers only to localhost, 127.0.0.1 and [::1]; "
                         "the Host header names something else");
    else
        return false;
    return true;
}

static bool is_open(const struct hearing *hearing) {
    const struct http_route *route = hearing->request->route;
    return route != NULL && route->flags & HTTP_ROUTE_OPEN;
}

/* Where the token is optional only a wrong one is refused: who shows one means to be trusted. */
static bool refuse_token(const struct hearing *hearing) {
    const struct http_admission *admission = hearing->admission;
    bool absent = header_of(hearing, "Authorization") == NULL;
    if (admission->token == NULL || hearing->trusted || is_open(hearing) ||
        (absent && admission->rules & HTTP_RULE_TOKEN_OPTIONAL))
        return false;
    http_reply_pprof_error(hearing->reply, 401,
                           "this server needs its token: Authorization: Bearer TOKEN, or "
                           "http://x:TOKEN@host/");
    hearing->reply->flags |= HTTP_REPLY_AUTH;
    return true;
}

/* What the headers say of the client, and what the kernel does. */
static void identify(struct hearing *hearing) {
    const struct http_admission *admission = hearing->admission;
    struct http_request *request = hearing->request;
    request->host = header_of(hearing, "Host");
    hearing->trusted = admission->token != NULL &&
                       http_token_matches(header_of(hearing, "Authorization"), admission->token);
    if (hearing->trusted || !(admission->rules & HTTP_RULE_PEER))
        request->viewer_uid = HTTP_VIEWER_ALL;
    else
        hearing->unidentified =
            http_connection_viewer(hearing->head->entry, &request->viewer_uid) < 0;
}

static bool refuse_unidentified(const struct hearing *hearing) {
    if (!hearing->unidentified || is_open(hearing))
        return false;
    http_reply_error(hearing->reply, 503, "out of descriptors: it cannot be told who asks");
    return true;
}

static bool refuse_site(const struct hearing *hearing) {
    struct http_site site = {hearing->request->host, header_of(hearing, "Origin"),
                             header_of(hearing, "Sec-Fetch-Site")};
    if (!(hearing->request->route->flags & HTTP_ROUTE_CHANGES) || http_site_is_own(&site))
        return false;
    http_reply_error(hearing->reply, 403, "another site's page may not change this process");
    return true;
}

static bool refuse_length(const struct hearing *hearing) {
    const char *length = header_of(hearing, "Content-Length");
    if (length == NULL || strtoull(length, NULL, 10) <= HTTP_BODY_MAX)
        return false;
    http_refuse_body(hearing->reply);
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

bool http_admit(const struct http_admission *admission, const struct http_head *head,
                struct http_request *request, struct http_reply *reply) {
    struct hearing hearing = {admission, head, request, reply, false, false};
    struct http_reply not_found = {0};
    request->method = method_bit(head->method);
    identify(&hearing);
    if (refuse_host(&hearing))
        return false;
    int found = http_route_find(request, head->target, &not_found);
    if (refuse_token(&hearing)) {
        http_reply_free(&not_found);
        return false;
    }
    if (found < 0) {
        *reply = not_found;
        return false;
    }
    return http_route_admit(request, reply) == 0 && !refuse_site(&hearing) &&
           !refuse_length(&hearing) && !refuse_unidentified(&hearing);
}
