/* SPDX-License-Identifier: Apache-2.0
 *
 * Whether the program has put a seccomp filter upon itself.
 *
 * Such a program may be ended for any system call that its author did not think of. What libc's own
 * malloc would do stays allowed to us: to map, unmap and release memory, to ask for our pid and to
 * wait for locks. All else has to ask here first and do without.
 *
 * SYNCHRONIZATION: one flag, set once and never cleared; relaxed. It is set before the program's
 * next call of ours by the thread that is confined.
 */
#ifndef MAL_OS_CONFINED_H
#define MAL_OS_CONFINED_H

#include <stdbool.h>

/* For good, and for all children. */
void mal_confine(void);

/* True also on a thread that is not: nobody can tell which of a program's threads are. Never on one
 * of Mallard's own, which began before. */
bool mal_is_confined(void);

/* Of the process, whoever asks. */
bool mal_process_is_confined(void);

#endif
