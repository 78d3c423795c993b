/* SPDX-License-Identifier: Apache-2.0
 *
 * The process around us: environment, identity, randomness, small files of /proc. Nothing here
 * allocates; errno is kept.
 */
#ifndef MAL_OS_ENV_H
#define MAL_OS_ENV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* True once libc has set up the environment; before that no knob can be read. */
bool mal_env_ready(void);

/* The value of a variable or NULL. */
const char *mal_env(const char *name);

/* True when the parent process has the variable with that value too, as far as can be known: it was
 * inherited, not given to this process alone. */
bool mal_env_parent_has(const char *name, const char *value);

/* 64 bits that differ between processes: the kernel's AT_RANDOM mixed with time and pid. */
uint64_t mal_random_seed(void);

/* Reads at most `bytes` of a file into `ret_data`. Returns the count or a negative errno. */
long mal_read_file(const char *path, char *ret_data, size_t bytes);

/* Field 22 of /proc/self/stat, 0 where unknown. */
uint64_t mal_process_start_ticks(void);

/* True when the first thread has ended by pthread_exit and no more than `own` others are left. */
bool mal_process_is_deserted(unsigned own);

/* Resident bytes, now and at most; 0 where /proc is missing. */
uint64_t mal_process_resident_bytes(void);
uint64_t mal_process_max_resident_bytes(void);

/* Seccomp filters of a thread: "thread-self", or "self" for the first of this process; 0 where
 * unknown (before Linux 5.9). */
unsigned mal_process_filters(const char *who);

/* True in a program that runs with more rights than its caller: it must ignore the environment. */
bool mal_process_is_secure(void);

#endif
