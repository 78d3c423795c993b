/* SPDX-License-Identifier: Apache-2.0
 *
 * How the allocator comes up, forks and goes down.
 */
#ifndef MAL_FRONT_INIT_H
#define MAL_FRONT_INIT_H

#include "base/attr.h"

#include "base/atomic.h"

#include <stdbool.h>
#include <stdint.h>

extern MAL_HIDDEN uint32_t mal_init_done; /* 1 after init; acquire/release */

static inline bool mal_is_initialised(void) {
    return mal_load_acquire(&mal_init_done) != 0;
}

/* Brings the heap up; false when the OS has no memory (it may be called again). Any thread. */
bool mal_init(void);

/* Around a fork, by the thread that forks. */
void mal_init_before_fork(void);
void mal_init_after_fork_in_parent(void);
void mal_init_after_fork_in_child(void);

/* Notices a fork that went past libc (a raw system call) and does what its handlers would have
 * done. Slow paths that touch the box call it. */
void mal_init_check_fork(void);

/* False in a child that shares this memory and is another process: vfork's. */
bool mal_init_is_own_process(void);

/* Whether a pointer from outside our heap came from libc's own allocator and can be let be. */
bool mal_init_tolerates_foreign(const void *pointer);

/* Marks this process's box as a clean exit. Harmless when called twice or in a child. */
void mal_init_end(int exit_code);

/* The API locks of front/api.c and front/compat.c, for fork. */
void mal_api_before_fork(void);
void mal_api_after_fork(void);
void mal_compat_before_fork(void);
void mal_compat_after_fork(void);

#endif
