/* SPDX-License-Identifier: Apache-2.0
 *
 * Where a server listens: "127.0.0.1:6060", "[::1]:0", "localhost:6060", ":6060" (all addresses),
 * "unix:/path". Only numbers are understood: a name may mean something else tomorrow.
 */
#ifndef MAL_HTTP_LISTEN_H
#define MAL_HTTP_LISTEN_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>

/* One sentence for people, without a final dot or newline. */
#define HTTP_PROBLEM_BYTES 256

struct http_endpoint {
    struct sockaddr_storage address;
    socklen_t address_bytes;
    bool local;           /* loopback or a Unix socket: nobody outside this machine gets there */
    unsigned socket_mode; /* of a Unix socket's file; 0: 0600 */
};

/* On failure -EINVAL and a sentence in `ret_problem`. */
int http_endpoint_parse(const char *text, struct http_endpoint *ret_endpoint,
                        char ret_problem[HTTP_PROBLEM_BYTES]);

/* A listening socket, non-blocking, close on exec, in *ret_fd; `endpoint` gets the port that was
 * chosen. On failure -errno and a sentence. */
int http_endpoint_listen(struct http_endpoint *endpoint, int *ret_fd,
                         char ret_problem[HTTP_PROBLEM_BYTES]);

/* The address as http_endpoint_parse reads it. */
void http_endpoint_text(const struct http_endpoint *endpoint, char *ret_text, size_t bytes);

/* Removes the file of a Unix socket. */
void http_endpoint_remove(const struct http_endpoint *endpoint);

#endif
