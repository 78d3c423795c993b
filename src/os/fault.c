/* SPDX-License-Identifier: Apache-2.0
 *
 * The handler of SIGSEGV for those who want to say something first.
 *
 * It puts the default action back and returns: the instruction faults again, and the core dump
 * shows it with all its registers. A SIGSEGV that somebody sent is sent again, since no instruction
 * would repeat it. The handler runs on the alternate stack where the thread has one; where the
 * fault is an overflow of the stack and there is none, the kernel ends the process as it would have
 * without us.
 *
 * Never installed over a handler. One that is installed later replaces this one, and the program
 * that puts the old action back puts this one back.
 */
#include "os/fault.h"

#include "base/atomic.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>

static void (*say_first)(uintptr_t address); /* atomic: stored before the handler is installed */

static void handle(int signal_number, siginfo_t *info, void *context) {
    int saved_errno = errno;
    (void)context;
    struct sigaction action = {.sa_handler = SIG_DFL};
    sigaction(signal_number, &action, NULL);
    if (info->si_code > 0)
        mal_load_acquire (&say_first)((uintptr_t)info->si_addr);
    else
        raise(signal_number);
    errno = saved_errno;
}

void mal_fault_announce(void (*say)(uintptr_t address)) {
    int saved_errno = errno;
    struct sigaction now;
    struct sigaction ours = {.sa_sigaction = handle, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    mal_store_release(&say_first, say);
    if (sigaction(SIGSEGV, NULL, &now) == 0 && !(now.sa_flags & SA_SIGINFO) &&
        now.sa_handler == SIG_DFL)
        sigaction(SIGSEGV, &ours, NULL);
    errno = saved_errno;
}
