/* SPDX-License-Identifier: Apache-2.0
 *
 * The kernel's clocks, folded to 64-bit nanoseconds.
 *
 * Not by libc's clock_gettime: a library that is preloaded to show a program another time replaces
 * it, asks the loader for the real one at its first call, and so allocates. We ask for the time in
 * the middle of an allocation, with locks held. Besides, our rows and limits are about real time.
 * Tests that cannot wait define a clock of their own.
 *
 * SYNCHRONIZATION: `vdso_clock` has one value once it is known; every thread finds the same.
 */
#include "os/clock.h"

#include "base/atomic.h"
#include "os/kernel.h"
#include "os/vdso.h"

#include <stddef.h>
#include <sys/syscall.h>
#include <time.h>

#if defined(__aarch64__)
#define VDSO_NAME "__kernel_clock_gettime"
#else
#define VDSO_NAME "__vdso_clock_gettime"
#endif

typedef int clock_function(clockid_t id, struct timespec *ret_now);

clock_function mallard_test_clock __attribute__((weak));

static clock_function *vdso_clock; /* relaxed; NULL before the first call */

static int ask_kernel(clockid_t id, struct timespec *ret_now) {
    return (int)mal_syscall(SYS_clock_gettime, id, ret_now);
}

static clock_function *find_clock(void) {
    clock_function *found = mallard_test_clock;
    if (!found)
        found = (clock_function *)mal_vdso_find(VDSO_NAME);
    if (!found)
        found = ask_kernel;
    mal_store_relaxed(&vdso_clock, found);
    return found;
}

static uint64_t read_clock(clockid_t id) {
    struct timespec now = {0, 0}; /* for a process that may not ask for this clock */
    clock_function *clock = mal_load_relaxed(&vdso_clock);
    if (!clock)
        clock = find_clock();
    clock(id, &now);
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
