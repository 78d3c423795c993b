/* SPDX-License-Identifier: Apache-2.0
 *
 * The lock of libc's list of open files, which fork takes before it takes libc's own malloc locks.
 */
#ifndef MAL_OS_STDIO_LIST_H
#define MAL_OS_STDIO_LIST_H

/* The thread that forks, before it takes the first lock of ours. */
void mal_stdio_list_before_fork(void);

/* The same thread in the parent, after it gave the last one back. */
void mal_stdio_list_after_fork_in_parent(void);

/* The only thread of the child. */
void mal_stdio_list_after_fork_in_child(void);

#endif
