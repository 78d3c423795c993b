/* SPDX-License-Identifier: Apache-2.0
 *
 * File descriptors of a guest: the server may live in somebody else's program.
 */
#ifndef MAL_HTTP_FDS_H
#define MAL_HTTP_FDS_H

/* Gives the calling thread, and the threads it creates afterwards, a descriptor table of their
 * own that holds only 0, 1 and 2 of the program's. 0, or -errno where the kernel cannot. */
int http_fds_make_private(void);

/* Moves a descriptor to a high number, so that programs which count on low ones are not
 * surprised; where there is no room it stays. Takes `fd`, returns the one to use. */
int http_fd_move_high(int fd);

#endif
