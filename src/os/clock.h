/* SPDX-License-Identifier: Apache-2.0
 *
 * Time, in nanoseconds. All but CPU time are vDSO reads; none changes errno.
 */
#ifndef MAL_OS_CLOCK_H
#define MAL_OS_CLOCK_H

#include <stdint.h>

uint64_t mal_clock_mono_ns(void);   /* exact */
uint64_t mal_clock_coarse_ns(void); /* monotonic, a few milliseconds old at most, cheap */
uint64_t mal_clock_unix_ns(void);   /* wall clock */

/* CPU time of the calling thread, and of all threads. System calls. Where the kernel does not tell,
 * time passes instead: loops that are bounded by the thread's end. */
uint64_t mal_clock_thread_ns(void);
uint64_t mal_clock_process_ns(void);

#endif
