/* SPDX-License-Identifier: Apache-2.0
 *
 * The HTTP server: one thread for all connections, two workers for what takes time. It never
 * creates a thread, writes a byte or ends anything in the program around it beyond that.
 */
#ifndef MAL_HTTP_SERVER_H
#define MAL_HTTP_SERVER_H

#include "http/listen.h"
#include "http/source.h"

enum http_server_flags {
    HTTP_ALLOW_INSECURE = 1u << 0, /* any address without a token */
    HTTP_GUEST = 1u << 1           /* inside somebody else's program: keep its descriptors apart */
};

struct http_options {
    const char *address;
    const char *token;          /* NULL: none */
    unsigned flags;             /* enum http_server_flags */
    struct http_source source;  /* its context must outlive the server */
    void (*thread_begin)(void); /* called first in each of the server's threads; may be NULL */
};

struct http_server;

/* Listens, then serves. On failure -errno (-EADDRINUSE where the port is taken, -EACCES where the
 * address needs a token) and one sentence. */
int http_server_start(const struct http_options *options, struct http_server **ret_server,
                      char ret_problem[HTTP_PROBLEM_BYTES]);

/* Cuts all connections, joins the threads. Accepts NULL. */
void http_server_stop(struct http_server *server);

/* In a forked child: lets go of the parent's server without touching what is the parent's. */
void http_server_forget(struct http_server *server);

/* Where it listens, with the real port: "127.0.0.1:6060", "[::1]:6060", "unix:/path". */
const char *http_server_address(const struct http_server *server);

/* Reads a token from the first line of a file. -EINVAL and a sentence when it is empty. */
#define HTTP_TOKEN_BYTES 512
int http_token_read(const char *path, char ret_token[HTTP_TOKEN_BYTES],
                    char ret_problem[HTTP_PROBLEM_BYTES]);

#endif
