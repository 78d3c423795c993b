/* SPDX-License-Identifier: Apache-2.0
 *
 * exit_group, as libc's _exit calls it.
 *
 * SYNCHRONIZATION. None.
 */
#include "os/exit.h"

#include "os/kernel.h"

#include <sys/syscall.h>
#include <unistd.h>

void mal_exit_group(int status) {
    for (;;)
        mal_syscall(SYS_exit_group, status);
}
