/* SPDX-License-Identifier: Apache-2.0
 *
 * The background thread's body and where a thread may run.
 */
#ifndef MAL_OS_THREAD_H
#define MAL_OS_THREAD_H

/* Starts a detached thread named `name` with every signal blocked. 0 or a negative errno. Must not
 * be called with any lock held: creating a thread allocates. */
int mal_thread_start(const char *name, void (*body)(void));

/* Moves the calling thread to one CPU; 0 or a negative errno. */
int mal_thread_move_to(unsigned cpu);

/* Lets it run anywhere again that `mal_thread_remember_cpus` saw. */
void mal_thread_remember_cpus(void);
void mal_thread_restore_cpus(void);

/* The calling thread's number, as ps and the kernel call it. */
int mal_thread_kernel_id(void);

/* A cancellation must not end a thread inside malloc: what lies between these has calls that are
 * cancellation points. */
int mal_thread_forbid_cancel(void);
void mal_thread_restore_cancel(int before);

#endif
