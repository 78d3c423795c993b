/* SPDX-License-Identifier: Apache-2.0
 *
 * The HTTP server: one thread for all connections, two workers for what takes time. It never
 * creates a thread, writes a byte or ends anything in the program around it beyond that.
 */
#ifndef MAL_HTTP_SERVER_H
#define MAL_HTTP_SERVER_H

#include "http/listen.h"
#include "http/source.h"
#include "view/view.h"

enum http_server_flags {
    HTTP_ALLOW_INSECURE = 1u << 0, /* any address without a token */
    HTTP_GUEST = 1u << 1,          /* inside somebody else's program: keep its descriptors apart */
    HTTP_CHECK_PEER = 1u << 2,     /* each client sees what its user may see */
    HTTP_DAEMON = 1u << 3          /* it knows the whole host: said to the page */
};

/* WHO SEES WHAT. Without HTTP_CHECK_PEER whoever may ask at all sees every process of the source.
 * With it a connection has a viewer: the user of the client's process, as the kernel tells it
 * (peer.h). Root, and whoever shows the token, sees all; everybody else sees the processes of
 * their own user, the one that the server runs as included; who cannot be told sees none. On
 * loopback and Unix sockets the token is then not needed, only a wrong one is refused. */

struct http_options {
    const char *address;
    const char *token;          /* NULL: none */
    unsigned flags;             /* enum http_server_flags */
    struct http_source source;  /* its context must outlive the server */
    void (*thread_begin)(void); /* called first in each of the server's threads; may be NULL */

    /* How many threads the server has, kept up to date; outlives them. NULL: nobody asks. A server
     * that lost its descriptors comes down to 0 by itself. */
    _Atomic unsigned *threads;

    struct view_symbols *symbols; /* shared by several servers, outlives them; NULL: its own */
    unsigned socket_mode;         /* of a Unix socket's file; 0: 0600 */
    const char *certificate_pem;  /* with key_pem: TLS; texts, used during the start alone */
    const char *key_pem;

    /* Appends further families to /metrics of all processes, for every viewer; on a worker. NULL:
     * none. */
    void (*more_metrics)(void *more_context, struct view_buffer *out);
    void *more_context;
};

struct http_server;

/* Listens, then serves. On failure -errno (-EADDRINUSE where the port is taken, -EACCES where the
 * address needs a token, -EINVAL for options that contradict each other or a certificate that
 * cannot be used, -ENOTSUP where the library has no TLS) and one sentence. */
int http_server_start(const struct http_options *options, struct http_server **ret_server,
                      char ret_problem[HTTP_PROBLEM_BYTES]);

/* Cuts all connections, joins the threads. Accepts NULL. */
void http_server_stop(struct http_server *server);

/* The same, but waits no longer than that. -ETIMEDOUT when a thread is still at work: the server
 * ends as soon as that is over, answers nobody new, and is to be stopped again, by this or the
 * above. */
int http_server_stop_within(struct http_server *server, uint64_t patience_ns);

/* In a forked child: lets go of the parent's server without touching what is the parent's. */
void http_server_forget(struct http_server *server);

/* Where it listens, with the real port: "127.0.0.1:6060", "[::1]:6060", "unix:/path". */
const char *http_server_address(const struct http_server *server);

/* "http" or "https". */
const char *http_server_scheme(const struct http_server *server);

/* Whether these options can be served at this endpoint: outside this machine only with a token, or
 * on one's own word. On failure the error of http_server_start and a sentence. */
int http_options_check(const struct http_options *options, const struct http_endpoint *endpoint,
                       char ret_problem[HTTP_PROBLEM_BYTES]);

/* Reads a token from the first line of a file. -EINVAL and a sentence when it is empty. */
#define HTTP_TOKEN_BYTES 512
int http_token_read(const char *path, char ret_token[HTTP_TOKEN_BYTES],
                    char ret_problem[HTTP_PROBLEM_BYTES]);

#endif
