/* SPDX-License-Identifier: Apache-2.0
 *
 * Who is at the other end of a connection.
 */
#ifndef MAL_HTTP_PEER_H
#define MAL_HTTP_PEER_H

#include <stdint.h>

/* The uid of the user whose process holds the other end of this connected socket: from the
 * credentials of a Unix socket, or from the kernel's table of TCP sockets when the client is on
 * this machine and in our network namespace. HTTP_VIEWER_NOBODY where it cannot be told. Returns 0,
 * or an error that http_is_shortage: it could not be asked now; *ret_uid is nobody then too. */
int http_peer_uid(int fd, uint32_t *ret_uid);

#endif
