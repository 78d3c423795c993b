/* SPDX-License-Identifier: Apache-2.0
 *
 * futex and the pause hint. Waits may return early for any reason: callers loop.
 */
#ifndef MAL_OS_FUTEX_H
#define MAL_OS_FUTEX_H

#include <stdint.h>

#define MAL_FUTEX_FOREVER UINT64_MAX

/* Sleeps while *word == expected, at most timeout_ns. Private to this process. */
void mal_futex_wait(const uint32_t *word, uint32_t expected, uint64_t timeout_ns);
void mal_futex_wake(const uint32_t *word, int waiters);

/* Sleeps that long, unless a signal arrives: for callers that look again and again at what nobody
 * will wake them for. Like a wait it keeps errno, and is no cancellation point. */
void mal_futex_nap(uint64_t ns);

/* The same across processes, for words in shared mappings. */
void mal_futex_wait_shared(const uint32_t *word, uint32_t expected, uint64_t timeout_ns);
void mal_futex_wake_shared(const uint32_t *word, int waiters);

#if defined(__x86_64__)
static inline void mal_cpu_relax(void) {
    __builtin_ia32_pause();
}
#else
static inline void mal_cpu_relax(void) {
    __asm__ volatile("yield" ::: "memory");
}
#endif

#endif
