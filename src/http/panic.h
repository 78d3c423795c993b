/* SPDX-License-Identifier: Apache-2.0
 *
 * libmicrohttpd finding itself broken: what ends then.
 */
#ifndef MAL_HTTP_PANIC_H
#define MAL_HTTP_PANIC_H

/* From now on such a find on the calling thread, which is one of ours, is one line on standard
 * error and the end of the thread, after `end`. */
void http_panic_guard(void (*end)(void *context), void *context);

/* Takes the library's handler, once in a process, unless the library is the program's own. Any
 * thread. */
void http_panic_install(void);

#endif
