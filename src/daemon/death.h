/* SPDX-License-Identifier: Apache-2.0
 *
 * Why a process ended, as far as can be known, in numbers and in one sentence.
 */
#ifndef MAL_DAEMON_DEATH_H
#define MAL_DAEMON_DEATH_H

#include "daemon/cgroup.h"
#include "daemon/kernel_log.h"
#include "keep/keep.h"

#include <stdbool.h>
#include <stddef.h>

/* How a process that a descriptor stands for ended, as wait(2) would give it. -EAGAIN: it has, but
 * its parent has not waited for it yet; -ENOTSUP: this kernel does not tell (before Linux 6.15). */
int death_of_pidfd(int pidfd, int *ret_wait_status);

/* What is known about an end. */
struct death {
    bool known; /* the wait status is */
    int wait_status;
    const struct cgroup *cgroup;
    struct cgroup_memory before; /* when the process was last looked at */
    struct cgroup_memory after;  /* when its end was seen */
    enum kernel_log_answer log;  /* whether the OOM killer says so */
};

/* Whether it is a SIGKILL that the group's counts do not deny, whatever the log says. */
bool death_may_be_oom(const struct death *death);
/* The judgement. */
bool death_is_oom(const struct death *death);

/* Judges, and fills death, signal, exit_code, oom_kills, memory_* and `sentence` of the facts; the
 * sentence before it is freed. Returns 0 or -ENOMEM. */
int death_judge(const struct death *death, struct keep_facts *facts);

#endif
