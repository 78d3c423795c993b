/* SPDX-License-Identifier: Apache-2.0
 *
 * The loop, by turns: wait, accept, let the library read and write, see who has left.
 *
 * The loop accepts connections itself, so that it can make room when all places are taken
 * (connections.c) and keep descriptors where they disturb nobody. When there are none left it
 * accepts nothing for a moment: the listening socket stays ready, and a loop that waits for it
 * would spin.
 *
 * A guest whose table had to stay shared may lose its descriptors to a program that closes
 * everything. Each turn looks whether the listening socket is still the one that was opened; if
 * not the server is lost: it closes, writes to and otherwise touches no number that it held, since
 * they may be the program's by now.
 *
 * SYNCHRONIZATION  The loop's thread only, but for `lost` of the service, which is atomic.
 */
#include "http/loop.h"

#include "http/fds.h"

#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define ACCEPT_BATCH 64
#define ACCEPT_PAUSE_MS 100
#define LOSS_CHECK_MS 1000 /* a wait does not notice that its descriptors were closed */

int http_loop_keep_fd(const struct http_loop *loop, int fd) {
    return loop->exposed ? http_fd_move_high(fd) : fd;
}

static bool is_passing(int error) {
    return error == EAGAIN || error == EINTR || error == ECONNABORTED || error == EPROTO ||
           error == EPERM || error == ENETDOWN || error == EHOSTUNREACH || error == ENETUNREACH;
}

/* Accepts one connection. False when there is none, or none can be taken now. */
static bool accept_one(struct http_loop *loop) {
    struct sockaddr_storage peer = {0};
    socklen_t peer_bytes = sizeof peer;
    int fd = accept4(loop->listen_fd, (struct sockaddr *)&peer, &peer_bytes,
                     SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) {
        loop->accept_pauses = !is_passing(errno);
        return false;
    }
    fd = http_loop_keep_fd(loop, fd);
    if (http_connections_make_room(&loop->service->connections) < 0) {
        close(fd);
        return true;
    }
    /* The library closes the descriptor whether or not it takes the connection. */
    MHD_add_connection(loop->daemon, fd, (struct sockaddr *)&peer, peer_bytes);
    return true;
}

static void accept_batch(struct http_loop *loop) {
    loop->accept_pauses = false;
    for (int i = 0; i < ACCEPT_BATCH && accept_one(loop); i++)
        continue;
}

/* True while the listening socket is the one that was opened. */
static bool still_ours(const struct http_loop *loop, const struct pollfd *fds, size_t count) {
    struct stat info;
    for (size_t i = 0; i < count; i++)
        if (fds[i].revents & POLLNVAL)
            return false;
    if (!loop->exposed)
        return true;
    return fstat(loop->listen_fd, &info) == 0 && info.st_ino == loop->listen_inode;
}

static int sooner(int a, int b) {
    return a < 0 || (b >= 0 && b < a) ? b : a;
}

static int next_limit_ms(struct http_loop *loop) {
    MHD_UNSIGNED_LONG_LONG library_ms;
    int timeout = http_connections_expire(&loop->service->connections);
    if (MHD_get_timeout(loop->daemon, &library_ms) == MHD_YES)
        timeout = sooner(timeout, library_ms < 1000 ? (int)library_ms : 1000);
    if (loop->exposed)
        timeout = sooner(timeout, LOSS_CHECK_MS);
    return loop->accept_pauses ? sooner(timeout, ACCEPT_PAUSE_MS) : timeout;
}

/* What one turn waits for: our own three, then the clients that may end. */
enum { WAIT_WAKE, WAIT_LIBRARY, WAIT_LISTEN, WAIT_CLIENTS };
struct wait {
    struct pollfd fd[WAIT_CLIENTS + HTTP_CONNECTION_SLOTS];
    size_t count;
};

static void wait_for_events(struct http_loop *loop, struct wait *wait) {
    int timeout_ms = next_limit_ms(loop);
    wait->fd[WAIT_WAKE] = (struct pollfd){.fd = loop->service->wake_fd, .events = POLLIN};
    wait->fd[WAIT_LIBRARY] = (struct pollfd){.fd = loop->epoll_fd, .events = POLLIN};
    wait->fd[WAIT_LISTEN] =
        (struct pollfd){.fd = loop->accept_pauses ? -1 : loop->listen_fd, .events = POLLIN};
    wait->count =
        WAIT_CLIENTS + http_connections_watch(&loop->service->connections, wait->fd + WAIT_CLIENTS);
    if (poll(wait->fd, wait->count, timeout_ms) < 0)
        wait->count = 0;
}

/* After the library has had its turn: what it has read nothing more from, and who waits no more. */
static void see_ended(struct http_loop *loop, const struct wait *wait) {
    MHD_UNSIGNED_LONG_LONG library_ms;
    bool ended = false;
    for (size_t i = WAIT_CLIENTS; i < wait->count; i++)
        ended |= wait->fd[i].revents != 0;
    bool pending = MHD_get_timeout(loop->daemon, &library_ms) == MHD_YES && library_ms == 0;
    if (ended && !pending)
        http_connections_cut_ended(&loop->service->connections);
    for (struct http_connection *one;
         ended && (one = http_connections_next_gone(&loop->service->connections)) != NULL;)
        http_exchange_abandon(loop->service, one);
}

void http_loop_turn(struct http_loop *loop) {
    struct wait wait;
    eventfd_t rings;
    wait_for_events(loop, &wait);
    if (!still_ours(loop, wait.fd, wait.count)) {
        atomic_store(&loop->service->lost, true);
        return;
    }
    if (wait.count > 0 && wait.fd[WAIT_WAKE].revents != 0)
        eventfd_read(loop->service->wake_fd, &rings);
    if (loop->accept_pauses || (wait.count > 0 && wait.fd[WAIT_LISTEN].revents != 0))
        accept_batch(loop);
    MHD_run(loop->daemon);
    see_ended(loop, &wait);
}
