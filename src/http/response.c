/* SPDX-License-Identifier: Apache-2.0
 *
 * From a reply to the library's response: its headers, among them what a browser may do with a
 * page of ours. The library sends the body as fast as the client reads; nothing waits for a client.
 *
 * SYNCHRONIZATION  None: everything is the caller's.
 */
#include "http/response.h"

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

enum MHD_Result http_response_queue(struct http_reply *reply, struct MHD_Connection *connection) {
    struct MHD_Response *response =
        MHD_create_response_from_buffer(reply->body.bytes, reply->body.data, MHD_RESPMEM_MUST_FREE);
    if (response == NULL)
        return MHD_NO;
    reply->body = (struct view_buffer){0};
    add_headers(response, reply);
    unsigned status = reply->status != 0 ? reply->status : 200;
    enum MHD_Result queued = MHD_queue_response(connection, status, response);
    MHD_destroy_response(response);
    return queued;
}
