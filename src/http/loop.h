/* SPDX-License-Identifier: Apache-2.0
 *
 * The server's loop: accepting, waiting, letting the library work.
 */
#ifndef MAL_HTTP_LOOP_H
#define MAL_HTTP_LOOP_H

#include "http/exchange.h"

#include <stdbool.h>
#include <sys/types.h>

/* All fields: the loop's thread. Constant once serving, but for `accept_pauses`. */
struct http_loop {
    struct http_service *service;
    struct MHD_Daemon *daemon; /* NULL before it is started */
    int listen_fd;             /* -1 before it is opened */
    int epoll_fd;              /* the library's; -1 before it is started */
    ino_t listen_inode;        /* what listen_fd was when it was opened */
    bool exposed;              /* the descriptors are among those of somebody else's program */
    bool accept_pauses;        /* out of descriptors a moment ago */
};

/* A descriptor of ours where it disturbs the program least. Takes -1, too. */
int http_loop_keep_fd(const struct http_loop *loop, int fd);

/* Waits until there is something to do, at most until a limit is over, and does it. Sets `lost` of
 * the service when the listening socket is not the one that was opened. */
void http_loop_turn(struct http_loop *loop);

#endif
