/* SPDX-License-Identifier: Apache-2.0
 *
 * What the public API, the mailbox and libc's malloc_trim have in common.
 */
#ifndef MAL_FRONT_MEMORY_H
#define MAL_FRONT_MEMORY_H

#include <stdint.h>

/* Empties the caches that can be reached and returns all idle memory. Returns the bytes given to
 * the OS. */
uint64_t mal_memory_release(void);

/* Changes the memory limit: bytes, INT64_MAX none; a negative number changes nothing. Returns the
 * previous one. */
int64_t mal_memory_set_limit(int64_t bytes);

/* GOGC in force, in percent, or MAL_GOGC_OFF. Setting it returns the previous one; negative numbers
 * stand for off, as in Go's debug.SetGCPercent. */
uint64_t mal_memory_gogc(void);
int64_t mal_memory_set_gogc(int64_t percent);

/* Changes the sampling rate in all threads and in the box. Returns the previous rate. */
uint64_t mal_memory_set_rate(uint64_t rate_bytes);

#endif
