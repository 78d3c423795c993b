/* SPDX-License-Identifier: Apache-2.0
 *
 * clock_gettime, folded to 64-bit nanoseconds. Stateless.
 *
 * SYNCHRONIZATION. None.
 */
#include "os/clock.h"

#include <errno.h>
#include <time.h>

static uint64_t read_clock(clockid_t id) {
    struct timespec now = {0, 0}; /* for a process that may not ask for this clock */
    int saved_errno = errno;
    if (clock_gettime(id, &now) != 0)
        errno = saved_errno;
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t mal_clock_mono_ns(void) {
    return read_clock(CLOCK_MONOTONIC);
}

uint64_t mal_clock_coarse_ns(void) {
    return read_clock(CLOCK_MONOTONIC_COARSE);
}

uint64_t mal_clock_unix_ns(void) {
    return read_clock(CLOCK_REALTIME);
}

uint64_t mal_clock_thread_ns(void) {
    uint64_t spent_ns = read_clock(CLOCK_THREAD_CPUTIME_ID);
    return spent_ns > 0 ? spent_ns : mal_clock_mono_ns();
}

uint64_t mal_clock_process_ns(void) {
    return read_clock(CLOCK_PROCESS_CPUTIME_ID);
}
