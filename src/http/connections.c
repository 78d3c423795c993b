/* SPDX-License-Identifier: Apache-2.0
 *
 * Connections: who is kept, who is cut.
 *
 * Every phase has a limit on its whole length, not on the silence between two bytes: a client that
 * sends or takes one byte a second is cut like one that does nothing. Only a request that is with a
 * worker has none, since the time is then ours.
 *
 * When all places are taken, the connection that has idled for the longest gives way to the new
 * one. So any number of idle connections leaves the server open for a client that has something to
 * ask.
 *
 * The library waits on edges: when the end of a client arrives together with its last bytes, it
 * reads those and is never told of the end. So ends are watched here as well, by level. While a
 * request is with a worker the library does not look at its client at all; an end is told once,
 * since the level stays until the worker is done.
 *
 * To cut is to shut the socket down: the library then sees its end and closes it in its own time.
 *
 * SYNCHRONIZATION  Loop thread only.
 */
#include "http/connections.h"

#include "http/peer.h"
#include "http/worker.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/socket.h>

#define NS_PER_MS 1000000u

static const uint64_t phase_limit_ms[] = {
    [HTTP_PHASE_READING] = 10000, [HTTP_PHASE_WORKING] = 0, [HTTP_PHASE_WRITING] = 60000,
    [HTTP_PHASE_RESTING] = 30000, [HTTP_PHASE_CUT] = 0,
};

struct http_connection *http_connections_add(struct http_connections *all, int fd) {
    if (all->count == HTTP_CONNECTION_SLOTS)
        return NULL;
    struct http_connection *one = malloc(sizeof *one);
    if (one == NULL)
        return NULL;
    *one =
        (struct http_connection){.fd = fd, .phase = HTTP_PHASE_READING, .since_ns = http_now_ns()};
    all->slot[all->count++] = one;
    return one;
}

void http_connections_remove(struct http_connections *all, struct http_connection *one) {
    for (size_t i = 0; i < all->count; i++)
        if (all->slot[i] == one) {
            all->slot[i] = all->slot[--all->count];
            break;
        }
    free(one);
}

int http_connection_viewer(struct http_connection *one, uint32_t *ret_uid) {
    int error = one->viewer_known ? 0 : http_peer_uid(one->fd, &one->viewer_uid);
    one->viewer_known = error == 0;
    *ret_uid = one->viewer_uid;
    return error;
}

void http_connection_enter(struct http_connection *one, enum http_phase phase) {
    if (one->phase == HTTP_PHASE_CUT)
        return;
    one->phase = phase;
    one->gone = false;
    one->since_ns = http_now_ns();
}

static void cut(struct http_connection *one) {
    shutdown(one->fd, SHUT_RDWR);
    one->phase = HTTP_PHASE_CUT;
}

static bool gives_way(const struct http_connection *one) {
    return one->phase == HTTP_PHASE_READING || one->phase == HTTP_PHASE_RESTING;
}

int http_connections_make_room(struct http_connections *all) {
    struct http_connection *oldest = NULL;
    size_t kept = 0;
    for (size_t i = 0; i < all->count; i++) {
        struct http_connection *one = all->slot[i];
        kept += one->phase != HTTP_PHASE_CUT;
        if (gives_way(one) && (oldest == NULL || one->since_ns < oldest->since_ns))
            oldest = one;
    }
    if (kept < HTTP_CONNECTIONS_MAX)
        return 0;
    if (oldest == NULL)
        return -EBUSY;
    cut(oldest);
    return 0;
}

int http_connections_expire(struct http_connections *all) {
    uint64_t now_ns = http_now_ns();
    uint64_t next_ms = UINT64_MAX;
    for (size_t i = 0; i < all->count; i++) {
        struct http_connection *one = all->slot[i];
        uint64_t limit_ms = phase_limit_ms[one->phase];
        uint64_t age_ms = (now_ns - one->since_ns) / NS_PER_MS;
        if (limit_ms == 0)
            continue;
        if (age_ms >= limit_ms)
            cut(one);
        else if (limit_ms - age_ms < next_ms)
            next_ms = limit_ms - age_ms;
    }
    return next_ms == UINT64_MAX ? -1 : (int)next_ms + 1;
}

static bool may_leave(const struct http_connection *one) {
    return one->phase == HTTP_PHASE_WORKING && !one->gone;
}

size_t http_connections_watch(const struct http_connections *all,
                              struct pollfd fds[HTTP_CONNECTION_SLOTS]) {
    size_t count = 0;
    for (size_t i = 0; i < all->count; i++)
        if (gives_way(all->slot[i]) || may_leave(all->slot[i]))
            fds[count++] = (struct pollfd){.fd = all->slot[i]->fd, .events = POLLRDHUP};
    return count;
}

void http_connections_cut_ended(struct http_connections *all) {
    char byte;
    for (size_t i = 0; i < all->count; i++)
        if (gives_way(all->slot[i]) &&
            recv(all->slot[i]->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0)
            cut(all->slot[i]);
}

struct http_connection *http_connections_next_gone(struct http_connections *all) {
    for (size_t i = 0; i < all->count; i++) {
        struct http_connection *one = all->slot[i];
        struct pollfd end = {.fd = one->fd, .events = POLLRDHUP};
        if (!may_leave(one) || poll(&end, 1, 0) != 1)
            continue;
        one->gone = true;
        return one;
    }
    return NULL;
}

void http_connections_cut_all(struct http_connections *all) {
    for (size_t i = 0; i < all->count; i++)
        if (all->slot[i]->phase != HTTP_PHASE_CUT)
            cut(all->slot[i]);
}
