/* SPDX-License-Identifier: Apache-2.0
 *
 * A barrier in all threads of the process at once: membarrier where the kernel has it. Where it has
 * not, and where the program confined itself, nothing: callers repeat until they see what they
 * want. No state.
 */
#include "os/confined.h"
#include "os/countdown.h"
#include "os/kernel.h"

#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

void mal_barrier_all_threads(void) {
    if (mal_is_confined())
        return;
    mal_syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0);
    mal_syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0);
}
