/* SPDX-License-Identifier: Apache-2.0
 *
 * libc's clocks in nanoseconds, for what reads boxes. What runs inside programs uses os/clock.h: a
 * program may have replaced these.
 */
#ifndef MAL_BASE_NOW_H
#define MAL_BASE_NOW_H

#include <stdint.h>
#include <time.h>

static inline uint64_t mal_now_ns(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

#endif
