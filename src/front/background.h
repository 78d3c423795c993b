/* SPDX-License-Identifier: Apache-2.0
 *
 * The background thread: publishes, scavenges, drains, answers the mailbox.
 */
#ifndef MAL_FRONT_BACKGROUND_H
#define MAL_FRONT_BACKGROUND_H

#include <stdbool.h>
#include <stdint.h>

/* False while slow paths should look at the clock, to start the thread when it is time. */
bool mal_background_is_settled(void);

/* Called now and then from slow paths without locks: starts the thread once the process is old
 * enough to be worth one. Cheap. */
void mal_background_tick(void);

/* Starts it now; used where somebody has asked to watch this process. */
void mal_background_start(void);

/* The process's age does not matter any more: the next tick starts the thread. */
void mal_background_hurry(void);

/* From here on the thread may be started: main's constructors are done. */
void mal_background_allow(void);

/* Asks the thread to end soon; false when there is none. Whoever asked calls take_back, and wakes
 * it again and again until it has gone, or no longer waits for that. The program has no other
 * thread. */
bool mal_background_ask_to_leave(void);
void mal_background_wake(void);
enum mal_background_return { MAL_BACKGROUND_AT_ONCE, MAL_BACKGROUND_LATER };
void mal_background_take_back(enum mal_background_return when);

/* Whether it has, once asked. The kernel may count it for a moment longer. */
bool mal_background_has_left(void);

/* From here on no thread is started, in this process and its children: the program has put a
 * seccomp filter upon itself. One that runs stays. */
void mal_background_renounce(void);

/* What the thread sees of this process. It looks in place of the caller, whose filters may end the
 * program for a look at a file. False where it has not answered in time. */
struct mal_background_view {
    unsigned threads;     /* ended ones included; 0 without /proc */
    bool has_new_filters; /* the program's first thread has others than ours had in the beginning */
};
bool mal_background_look(uint64_t patience_ns, struct mal_background_view *ret_view);

/* In a forked child there is no such thread. */
void mal_background_forget_in_child(void);

#endif
