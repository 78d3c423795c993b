/* SPDX-License-Identifier: Apache-2.0
 *
 * How a process ended, and what is done with what it left.
 *
 *   its box says EXITED, or its status is 0      a clean exit: nothing is kept
 *   anything else                                its box, its last profile and why are kept
 *
 * The control group is read at once, in the loop: whoever made it may remove it as soon as it is
 * empty. For the status there are three places: the box, where `mallard run` waited for it; the
 * descriptor, once anybody has; /proc while it is a zombie. A parent that does not wait at once is
 * given two seconds, then the end is kept without its reason.
 *
 * Of a SIGKILL the kernel's log is asked whether it was the OOM killer's. Its record may come a
 * moment after the end: where the group counted a kill, it is waited for. Where the log says
 * nothing the count decides, and each kill of it explains one death: it is taken off the counts
 * that other processes of the group were last seen with.
 *
 * An end that cannot be kept (the disk is full) stays in the table, its box open and in its folder,
 * and is offered again each period; beyond a bound the oldest of those are given up.
 *
 * SYNCHRONIZATION  Loop's thread. `verdict` belongs to the keeper between keeper_bury and its
 * answer.
 */
#include "daemon/follow.h"

#include "daemon/death.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define VERDICT_PATIENCE_NS 2000000000ull
#define VERDICT_RETRY_NS 20000000ull
#define LOG_PATIENCE_NS 300000000ull /* of the two seconds */
#define UNKEPT_MAX 256u

void follow_ended(struct follower *follower, struct process *process, uint64_t ended_unix_ns) {
    uint64_t now_ns = follow_now_ns();
    if (process->loop.pidfd >= 0)
        epoll_ctl(follower->epoll_fd, EPOLL_CTL_DEL, process->loop.pidfd, NULL);
    process->loop.at_end = process->loop.memory;
    process->loop.memory.oom_kills = kill_count_before(&process->loop.kills, now_ns);
    if (ended_unix_ns != 0)
        cgroup_memory_read(&process->loop.cgroup, &process->loop.at_end);
    process->loop.ended_unix_ns = ended_unix_ns;
    process->loop.keep_ns = PROCESS_NEVER;
    process->loop.verdict_ns = now_ns + VERDICT_PATIENCE_NS;
    table_set_state(follower->table, process, PROCESS_ENDED);
    follow_decide(follower, process, now_ns);
}

void follow_unlink(const struct process *process) {
    const struct process_watch *watch = &process->loop;
    struct stat status;
    if (fstatat(watch->folder->fd, watch->name, &status, AT_SYMLINK_NOFOLLOW) == 0 &&
        status.st_ino == watch->inode && status.st_dev == watch->device)
        unlinkat(watch->folder->fd, watch->name, 0);
}

/* ---- the status ---- */

/* Of a zombie. A status of 0 may also mean that we may not see it: it counts for root alone. */
static bool status_of_zombie(const struct process *process, int *ret_wait_status) {
    struct proc_stat stat;
    if (process->host_pid == 0 || proc_stat_read(process->host_pid, &stat) < 0 || !stat.zombie ||
        stat.start_ticks != process->facts.start_ticks)
        return false;
    if (stat.wait_status == 0 && geteuid() != 0)
        return false;
    *ret_wait_status = stat.wait_status;
    return true;
}

static bool find_status(const struct process *process, const struct mal_status *status,
                        int *ret_wait_status) {
    if (status->reaped) {
        *ret_wait_status = status->wait_status;
        return true;
    }
    if (process->loop.pidfd < 0)
        return false;
    return death_of_pidfd(process->loop.pidfd, ret_wait_status) == 0 ||
           status_of_zombie(process, ret_wait_status);
}

/* ---- the verdict ---- */

static uint64_t end_time(const struct process *process, const struct mal_status *status) {
    if (process->loop.ended_unix_ns != 0)
        return process->loop.ended_unix_ns;
    if (status->reaped)
        return status->reaped_unix_ns;
    uint64_t published = discover_published_ns(process->reader);
    return published != PROCESS_NEVER ? published : 0;
}

static int write_verdict(struct process *process, const struct death *death,
                         uint64_t ended_unix_ns) {
    struct keep_facts facts;
    int error = process_copy_facts(&process->facts, &facts);
    if (error < 0)
        return error;
    error = death_judge(death, &facts);
    if (error < 0) {
        keep_facts_free(&facts);
        return error;
    }
    facts.ended_unix_ns = ended_unix_ns;
    keep_facts_free(&process->loop.verdict);
    process->loop.verdict = facts;
    return 0;
}

/* ---- whose kill it was ---- */

static bool shares_group(const struct process *a, const struct process *b) {
    const char *folder = a->loop.cgroup.folder, *other = b->loop.cgroup.folder;
    return a != b && folder != NULL && other != NULL && strcmp(folder, other) == 0;
}

static bool may_still_count(const struct process *process) {
    return process->state == PROCESS_LIVING ||
           (process->state == PROCESS_ENDED && process->loop.verdict_ns != PROCESS_NEVER);
}

static void take_kill_off(struct process *process, uint64_t counted, uint64_t now_ns) {
    uint64_t *before = &process->loop.memory.oom_kills;
    if (process->state == PROCESS_LIVING)
        kill_count_take_off(&process->loop.kills, counted, now_ns);
    else if (counted != CGROUP_UNKNOWN && *before < counted)
        ++*before;
}

static void take_kill_off_others(struct follower *follower, const struct process *victim,
                                 uint64_t now_ns) {
    for (size_t i = 0; i < follower->count; i++) {
        struct process *other = follower->items[i];
        if (shares_group(victim, other) && may_still_count(other))
            take_kill_off(other, victim->loop.at_end.oom_kills, now_ns);
    }
}

/* False when the log may be about to name the process. */
static bool ask_log(struct follower *follower, const struct process *process, struct death *death,
                    uint64_t now_ns) {
    uint64_t seen_ns = process->loop.verdict_ns - VERDICT_PATIENCE_NS;
    if (process->loop.ended_unix_ns == 0) /* it ended before the log was opened, perhaps */
        return true;
    death->log = kernel_log_ask(&follower->log, process->host_pid, process->facts.start_ticks);
    if (death->log == KERNEL_LOG_BEHIND && now_ns < process->loop.verdict_ns)
        return false;
    if (death->log == KERNEL_LOG_BEHIND)
        death->log = KERNEL_LOG_SILENT;
    return death->log != KERNEL_LOG_SPARED || !death_may_be_oom(death) ||
           now_ns > seen_ns + LOG_PATIENCE_NS;
}

static size_t unkept(const struct follower *follower, struct process **ret_oldest) {
    size_t count = 0;
    *ret_oldest = NULL;
    for (size_t i = 0; i < follower->count; i++) {
        struct process *process = follower->items[i];
        if (process->state != PROCESS_ENDED || process->loop.keep_ns == PROCESS_NEVER)
            continue;
        count++;
        if (*ret_oldest == NULL || process->loop.ended_unix_ns < (*ret_oldest)->loop.ended_unix_ns)
            *ret_oldest = process;
    }
    return count;
}

static void give_up_oldest(struct follower *follower) {
    struct process *oldest;
    if (unkept(follower, &oldest) <= UNKEPT_MAX)
        return;
    follow_unlink(oldest);
    follow_forget(follower, oldest, FOLLOW_LOST);
}

/* Decided before and not kept yet: again, when it is time. */
static uint64_t offer_again(struct follower *follower, struct process *process, uint64_t now_ns) {
    if (process->loop.keep_ns > now_ns)
        return process->loop.keep_ns;
    process->loop.keep_ns = PROCESS_NEVER;
    keeper_bury(follower->keeper, process);
    return FOLLOW_IDLE;
}

static uint64_t sentence(struct follower *follower, struct process *process,
                         const struct death *death, const struct mal_status *status) {
    if (death->known && WIFEXITED(death->wait_status) && WEXITSTATUS(death->wait_status) == 0) {
        follow_unlink(process);
        follow_forget(follower, process, FOLLOW_EXITED);
        return FOLLOW_IDLE;
    }
    process->loop.verdict_ns = PROCESS_NEVER;
    if (write_verdict(process, death, end_time(process, status)) < 0) {
        follow_forget(follower, process, FOLLOW_LOST);
        return FOLLOW_IDLE;
    }
    keeper_bury(follower->keeper, process);
    return FOLLOW_IDLE;
}

uint64_t follow_decide(struct follower *follower, struct process *process, uint64_t now_ns) {
    struct mal_status status = {.life = MAL_LIFE_GONE};
    struct death death = {.cgroup = &process->loop.cgroup,
                          .before = process->loop.memory,
                          .after = process->loop.at_end};
    if (process->loop.verdict_ns == PROCESS_NEVER)
        return offer_again(follower, process, now_ns);
    mal_reader_status(process->reader, &status);
    if (status.life == MAL_LIFE_EXITED) { /* a box that is still there was asked for */
        follow_forget(follower, process, FOLLOW_EXITED);
        return FOLLOW_IDLE;
    }
    death.known = find_status(process, &status, &death.wait_status);
    bool seen = process->loop.pidfd >= 0;
    if (!death.known && seen && now_ns < process->loop.verdict_ns)
        return now_ns + VERDICT_RETRY_NS;
    if (!ask_log(follower, process, &death, now_ns))
        return now_ns + VERDICT_RETRY_NS;
    if (death_is_oom(&death))
        take_kill_off_others(follower, process, now_ns);
    return sentence(follower, process, &death, &status);
}

/* ---- the keeper's answers ---- */

void follower_kept(struct follower *follower) {
    struct process *process;
    int error;
    while ((process = keeper_done(follower->keeper, &error)) != NULL) {
        if (error == 0) {
            follow_unlink(process);
            follow_forget(follower, process, FOLLOW_KEPT);
        } else {
            process->loop.keep_ns = follow_now_ns() + follower->keep_every_ns;
            give_up_oldest(follower);
        }
        table_unref(follower->table, process);
    }
}
