/* SPDX-License-Identifier: Apache-2.0
 *
 * The open connections and how long each may take over what it is doing.
 */
#ifndef MAL_HTTP_CONNECTIONS_H
#define MAL_HTTP_CONNECTIONS_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HTTP_CONNECTIONS_MAX 128
#define HTTP_CONNECTION_SLOTS 256 /* room for those that are cut but not closed yet */

enum http_phase {
    HTTP_PHASE_READING, /* the request is not complete */
    HTTP_PHASE_WORKING, /* it is with a worker: the client waits for us */
    HTTP_PHASE_WRITING, /* the answer is on its way */
    HTTP_PHASE_RESTING, /* answered, kept for another request */
    HTTP_PHASE_CUT      /* shut down, to be closed by the library */
};

struct http_connection {
    int fd;
    enum http_phase phase;
    uint64_t since_ns; /* begin of the phase */
    bool gone;         /* in HTTP_PHASE_WORKING: known to have ended */
    void *begun;       /* the exchange begun last and not ended yet; exchange.c's, NULL for none */
    bool viewer_known;
    uint32_t viewer_uid; /* once known: the user at the other end */
};

/* All fields: loop thread only. */
struct http_connections {
    size_t count;
    struct http_connection *slot[HTTP_CONNECTION_SLOTS]; /* owned; the first `count` */
};

/* NULL when there is no room. */
struct http_connection *http_connections_add(struct http_connections *all, int fd);
void http_connections_remove(struct http_connections *all, struct http_connection *one);

/* The user at the other end; looked up when first asked for. 0, or the error of http_peer_uid: it
 * may be asked again. */
int http_connection_viewer(struct http_connection *one, uint32_t *ret_uid);

void http_connection_enter(struct http_connection *one, enum http_phase phase);

/* Cuts connections until one more fits in HTTP_CONNECTIONS_MAX: of those that have sent no whole
 * request, or rest, the one that has been so for the longest. Returns -EBUSY when none is. */
int http_connections_make_room(struct http_connections *all);

/* Cuts what has taken too long. Returns the milliseconds until the next may have, or -1. */
int http_connections_expire(struct http_connections *all);

/* Adds those from which nothing more is wanted than their end, for poll, as long as it is not
 * known. Returns how many. */
size_t http_connections_watch(const struct http_connections *all,
                              struct pollfd fds[HTTP_CONNECTION_SLOTS]);

/* Cuts those whose clients have ended their side and left nothing unread. */
void http_connections_cut_ended(struct http_connections *all);

/* One that is with a worker and whose client has ended its side, each once; NULL for none. */
struct http_connection *http_connections_next_gone(struct http_connections *all);

/* Cuts all of them. */
void http_connections_cut_all(struct http_connections *all);

#endif
