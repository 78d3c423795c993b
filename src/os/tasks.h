/* SPDX-License-Identifier: Apache-2.0
 *
 * The threads of this process as the kernel lists them. Plain system calls: nothing here allocates,
 * takes a lock of libc's or is a cancellation point. errno is kept.
 */
#ifndef MAL_OS_TASKS_H
#define MAL_OS_TASKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* How many there are, ended ones that nobody has reaped included; 0 where /proc is missing. */
unsigned mal_tasks_count(void);

/* Visits all. `buffer` should hold 32 bytes per thread: then one call of the kernel lists them, and
 * none that lives all the time is missed. 0 or a negative errno. */
int mal_tasks_each(char *buffer, size_t bytes, void (*visit)(pid_t tid, void *context),
                   void *context);

/* What /proc/self/task/TID/status says. */
enum mal_task_state {
    MAL_TASK_GONE, /* no such thread, or ended */
    MAL_TASK_RUNS, /* or sleeps */
    MAL_TASK_UNKNOWN,
};
struct mal_task {
    enum mal_task_state state;
    char letter;      /* R S D T t Z X */
    uint64_t blocked; /* bit n - 1: signal n is blocked */
    uint64_t pending; /* sent to this thread and not taken yet */
};
struct mal_task mal_task_look(pid_t tid);

/* Whether the thread never leaves the kernel: one that io_uring or vhost started in this process.
 * It takes no signals and has no stack of the program's. */
bool mal_task_is_kernels(pid_t tid);

/* Sends to one thread of this process. 0 or a negative errno: -ESRCH when it is gone. */
int mal_task_signal(pid_t tid, int signal_number);

#endif
