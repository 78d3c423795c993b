/* SPDX-License-Identifier: Apache-2.0
 *
 * The HTTP plug-in: loaded on request, never from inside malloc.
 */
#ifndef MAL_FRONT_HTTP_H
#define MAL_FRONT_HTTP_H

#include <stdbool.h>

/* Starts serving as MALLARD_HTTP says; one line on standard error when that fails. */
void mal_http_start_from_options(void);

/* A forked child gives up its parent's sockets; it serves itself once `parent_pid` is gone, which
 * may be so already. */
void mal_http_forget_in_child(int parent_pid);

/* How many threads of this process serve; 0 when it does not. */
unsigned mal_http_threads(void);

/* Ends the server's threads for a while; false when there are none, or nobody could say where to go
 * on, or one is at work for longer than a second: then it starts anew when that is over. Must not
 * be called by a thread that is inside of a call below. */
bool mal_http_pause(void);
/* Serves again where it did; one line on standard error when that fails. */
void mal_http_resume(void);

/* Background thread, every round: takes over the address of a parent that has ended, and starts
 * anew what a pause could not wait for. */
void mal_http_follow_process(void);

#endif
