/* SPDX-License-Identifier: Apache-2.0
 *
 * A request and its reply as the providers see them: no socket, no libmicrohttpd. A provider is a
 * function from a request to a reply and runs on whichever thread the routes say, so it keeps
 * nothing in statics. Everything a request points to lives until the reply was sent.
 */
#ifndef MAL_HTTP_REQUEST_H
#define MAL_HTTP_REQUEST_H

#include "http/form.h"
#include "http/scrapers.h"
#include "http/source.h"
#include "view/view.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

enum http_method { HTTP_GET = 1u << 0, HTTP_HEAD = 1u << 1, HTTP_POST = 1u << 2 };

/* What all requests of one server share. The source and the symbols are safe for any thread. */
struct http_context {
    const struct http_source *source;
    struct view_symbols *symbols;
    struct http_scrapers *scrapers; /* NULL: each scrape is a first one */
    const char *address;            /* where the server listens */
    const char *scheme;             /* "http" or "https" */
    bool is_daemon;                 /* serves the whole host, and keeps what outlives processes */
    void (*more_metrics)(void *more_context, struct view_buffer *out); /* may be NULL */
    void *more_context;
    _Atomic size_t *waiting_bytes; /* held by requests that wait; NULL: nobody counts */
};

/* What all requests that wait for their second profile may hold of their first ones: 400 000
 * stacks, six times as many as one process can have. */
#define HTTP_WAITING_BYTES_MAX ((size_t)16 << 20)

struct http_request {
    const struct http_context *context;
    const struct http_route *route;
    unsigned method;     /* one of enum http_method */
    char *path;          /* decoded, without the /p/ID in front */
    const char *query;   /* as sent, behind the '?', or "" */
    struct http_key key; /* of /p/ID or ?proc=; pid 0 means the default process */
    uint32_t viewer_uid; /* for whom the answer is */
    bool accepts_gzip;   /* the client said so */
    const char *host;    /* the Host header: whom the client believes to ask; NULL for none */
    struct http_form form;
    struct view_buffer body;

    /* The process, once http_request_open found it. */
    struct mal_box_reader *reader;
    struct http_facts facts; /* `kept` is NULL: it lives only during a visit */
    char *facts_text;        /* owned: what `facts` points into */

    /* Kept by a provider between its two calls when it asked to wait; set by http_request_hold. */
    struct view_base *before;
};

enum http_reply_flags {
    HTTP_REPLY_GO_PPROF = 1u << 0, /* an error that `go tool pprof` should print */
    HTTP_REPLY_PAGE = 1u << 1,     /* HTML of ours: gets a Content-Security-Policy */
    HTTP_REPLY_AUTH = 1u << 2,     /* asks for credentials */
    HTTP_REPLY_CLOSE = 1u << 3,    /* the connection is of no further use */
    HTTP_REPLY_APP = 1u << 4       /* with PAGE: loads its own script and style, posts to us */
};

struct http_reply {
    unsigned status;      /* 200 unless set */
    unsigned flags;       /* enum http_reply_flags */
    const char *type;     /* Content-Type */
    const char *encoding; /* Content-Encoding, or NULL; with it, and with `varies`, Vary */
    bool varies;          /* another client may get it in another encoding */
    const char *cache;    /* Cache-Control, or NULL */
    const char *allow;    /* Allow, or NULL */
    const char *note;     /* X-Mallard-Note: why the answer is less than asked for, or NULL */
    char disposition[80]; /* Content-Disposition, or "" */
    char *location;       /* Location, or NULL; owned */
    uint64_t wait_ms;     /* not 0: nothing to send yet, call again that much later */
    struct view_buffer body;
};

#define HTTP_TYPE_TEXT "text/plain; charset=utf-8"
#define HTTP_TYPE_HTML "text/html; charset=utf-8"
#define HTTP_TYPE_JSON "application/json"
#define HTTP_TYPE_BINARY "application/octet-stream"

void http_request_free(struct http_request *request);
void http_reply_free(struct http_reply *reply);

/* Replaces whatever the reply held by a status and one line of text. */
void http_reply_error(struct http_reply *reply, unsigned status, const char *text);
/* The same with X-Go-Pprof: `go tool pprof` shows the text to its user. */
void http_reply_pprof_error(struct http_reply *reply, unsigned status, const char *text);

/* Sends the client to `location`, which the reply takes over; NULL: there was no memory for it. The
 * body is Go's. */
void http_reply_moved(struct http_reply *reply, char *location);

/* For routes whose errors are JSON: makes {"error":"text"} of an error. */
void http_reply_error_json(struct http_reply *reply);

/* Compresses the body of a good reply when the client accepts that and it is worth it. */
void http_reply_compress(const struct http_request *request, struct http_reply *reply);

/* Appends text with the five characters of HTML escaped; control characters become spaces. */
void http_html_text(struct view_buffer *out, const char *text, size_t bytes);

/* Lets `visit` see the process that the request is about; the source's rules hold. On failure,
 * which is any negative result, the reply is already the error. */
int http_request_visit(const struct http_request *request, struct http_reply *reply,
                       http_process_visit *visit, void *visit_context);

/* Opens its box: fills `reader` and `facts` of the request. Same failures. */
int http_request_open(struct http_request *request, struct http_reply *reply);

/* Takes over `before` for the second call of the provider. When the requests that wait hold too
 * much already it is freed, the reply is a 503 and the result -EBUSY. */
int http_request_hold(struct http_request *request, struct view_base *before,
                      struct http_reply *reply);

#endif
