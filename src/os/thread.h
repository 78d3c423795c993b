/* SPDX-License-Identifier: Apache-2.0
 *
 * Threads of our own, and where a thread may run.
 */
#ifndef MAL_OS_THREAD_H
#define MAL_OS_THREAD_H

#include <stdbool.h>
#include <stddef.h>

struct mal_own_thread {
    const char *name; /* at most 15 characters */
    void (*body)(void);
    size_t stack_bytes; /* 0: enough for code of ours */
};

/* Starts a detached thread with every signal blocked. 0 or a negative errno. `what` stays where it
 * is for ever. Must not be called with any lock held: creating a thread allocates. */
int mal_thread_start(const struct mal_own_thread *what);

/* Threads started here are Mallard's own; others may be made so. Any thread may ask. */
void mal_thread_note_own(void);
void mal_thread_forget_own(void); /* the calling thread runs the program from now on, or ends */
bool mal_thread_is_own(int tid);
bool mal_thread_is_noted_own(void); /* the calling one */
/* The calling thread is inside mal_thread_start. */
bool mal_thread_is_starting_own(void);
unsigned mal_thread_own_count(void);
/* fork's child has none. */
void mal_thread_forget_all_own(void);

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
