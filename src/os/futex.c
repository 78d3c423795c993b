/* SPDX-License-Identifier: Apache-2.0
 *
 * The futex system call, private and shared. errno stays as it was: a program's malloc must not
 * change it.
 *
 * SYNCHRONIZATION. None of its own; the word is the caller's and is accessed atomically.
 */
#include "os/futex.h"

#include "os/kernel.h"

#include <linux/futex.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static void futex(const uint32_t *word, int operation, uint32_t value,
                  const struct timespec *timeout) {
    mal_syscall(SYS_futex, word, operation, value, timeout, NULL, 0);
}

static void wait_with(const uint32_t *word, int operation, uint32_t expected, uint64_t timeout_ns) {
    struct timespec timeout = {(time_t)(timeout_ns / 1000000000), (long)(timeout_ns % 1000000000)};
    futex(word, operation, expected, timeout_ns == MAL_FUTEX_FOREVER ? NULL : &timeout);
}

void mal_futex_wait(const uint32_t *word, uint32_t expected, uint64_t timeout_ns) {
    wait_with(word, FUTEX_WAIT_PRIVATE, expected, timeout_ns);
}

void mal_futex_nap(uint64_t ns) {
    static const uint32_t never_woken;
    mal_futex_wait(&never_woken, 0, ns);
}

void mal_futex_wake(const uint32_t *word, int waiters) {
    futex(word, FUTEX_WAKE_PRIVATE, (uint32_t)waiters, NULL);
}

void mal_futex_wait_shared(const uint32_t *word, uint32_t expected, uint64_t timeout_ns) {
    wait_with(word, FUTEX_WAIT, expected, timeout_ns);
}

void mal_futex_wake_shared(const uint32_t *word, int waiters) {
    futex(word, FUTEX_WAKE, (uint32_t)waiters, NULL);
}
