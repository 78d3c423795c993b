/* SPDX-License-Identifier: Apache-2.0
 *
 * How processes that are not our children ended.
 *
 * Since Linux 6.15 a descriptor of a process tells its exit status to anyone who holds it, once its
 * parent has waited for it. Before that moment, and on older kernels, the last field of
 * /proc/PID/stat has it (proc.c); `mallard run` notes it in the box. The constants are written out:
 * headers are often older than the kernel.
 *
 * An OOM kill is a SIGKILL like any other to all of them. Where the kernel's log can be read it
 * names the victims, and what it says decides. Elsewhere the count of such kills in the victim's
 * control group tells, which rises before the process is gone. It may have risen for another one of
 * the group since this one was last looked at: a kill that one of ours was found to have died of is
 * taken off the others' count (follow_end.c); one of a process that is not ours cannot be told.
 *
 * SYNCHRONIZATION  None; everything is the caller's.
 */
#include "daemon/death.h"

#include "view/view.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>

/* linux/pidfd.h */
struct pidfd_information {
    uint64_t mask;
    uint64_t cgroup_id;
    uint32_t pid, tgid, ppid;
    uint32_t uid[8];
    int32_t exit_code;
};
#define PIDFD_INFORMATION_EXIT (1ull << 3)
#define PIDFD_INFORMATION_GET _IOWR(0xff, 11, struct pidfd_information)

_Static_assert(sizeof(struct pidfd_information) == 64, "the kernel's first version of it");

int death_of_pidfd(int pidfd, int *ret_wait_status) {
    struct pidfd_information information = {.mask = PIDFD_INFORMATION_EXIT};
    if (ioctl(pidfd, PIDFD_INFORMATION_GET, &information) != 0)
        return errno == ESRCH || errno == EREMOTE ? -EAGAIN : -ENOTSUP;
    if (!(information.mask & PIDFD_INFORMATION_EXIT))
        return -EAGAIN;
    *ret_wait_status = information.exit_code;
    return 0;
}

/* ---- the sentence ---- */

static const char *signal_name(int signal, char ret_text[32]) {
    const char *name = sigabbrev_np(signal);
    if (name != NULL)
        snprintf(ret_text, 32, "SIG%s", name);
    else if (signal >= SIGRTMIN && signal <= SIGRTMAX)
        snprintf(ret_text, 32, "SIGRTMIN+%d", signal - SIGRTMIN);
    else
        snprintf(ret_text, 32, "signal %d", signal);
    return ret_text;
}

static const char *human(uint64_t bytes, char ret_text[16]) {
    if (bytes == CGROUP_UNKNOWN)
        return "an unknown amount";
    view_human_bytes(bytes, ret_text);
    return ret_text;
}

/* The group's numbers: of after the end, or of before where the group is gone already. */
static const struct cgroup_memory *numbers(const struct death *death) {
    return death->after.current_bytes != CGROUP_UNKNOWN ? &death->after : &death->before;
}

/* How often the OOM killer came; 0 when it did not, or the group was gone before it could tell. */
static uint64_t kills(const struct death *death) {
    if (death->before.oom_kills == CGROUP_UNKNOWN || death->after.oom_kills == CGROUP_UNKNOWN)
        return 0;
    if (death->after.oom_kills < death->before.oom_kills)
        return 0;
    return death->after.oom_kills - death->before.oom_kills;
}

static bool was_killed(const struct death *death) {
    return death->known && WIFSIGNALED(death->wait_status) &&
           WTERMSIG(death->wait_status) == SIGKILL;
}

static bool is_counted(const struct death *death) {
    return was_killed(death) && kills(death) > 0;
}

static bool group_vanished(const struct death *death) {
    return death->after.oom_kills == CGROUP_UNKNOWN && death->before.oom_kills != CGROUP_UNKNOWN &&
           death->before.max_bytes != CGROUP_UNKNOWN;
}

bool death_may_be_oom(const struct death *death) {
    return was_killed(death) && (is_counted(death) || group_vanished(death));
}

bool death_is_oom(const struct death *death) {
    return death->log == KERNEL_LOG_KILLED ? was_killed(death)
                                           : death->log == KERNEL_LOG_SILENT && is_counted(death);
}

/* What the group held when its limit was hit: the peak, or what is nearest to it. */
static uint64_t used_bytes(const struct death *death) {
    uint64_t before = death->before.current_bytes, after = death->after.current_bytes;
    uint64_t peak = numbers(death)->peak_bytes;
    if (peak != CGROUP_UNKNOWN)
        return peak;
    return after == CGROUP_UNKNOWN || (before != CGROUP_UNKNOWN && before > after) ? before : after;
}

static char *oom_sentence(const struct death *death) {
    const struct cgroup_memory *memory = numbers(death);
    char path[PATH_MAX], used[16], limit[16], source[64];
    char *text = NULL;
    int bytes;
    bool limited = memory->max_bytes != CGROUP_UNKNOWN;
    if (kills(death) > 0)
        snprintf(source, sizeof source, "oom_kill rose by %" PRIu64, kills(death));
    else
        snprintf(source, sizeof source, "says the kernel's log");
    cgroup_path_above(death->cgroup, limited ? memory->levels_up : 0, path);
    if (!limited)
        bytes = asprintf(&text,
                         "killed by SIGKILL; the OOM killer: the machine ran out of memory, and no "
                         "limit is set for cgroup %s (%s)",
                         path, source);
    else
        bytes =
            asprintf(&text,
                     "killed by SIGKILL; the OOM killer: cgroup %s was at %s of its limit of "
                     "%s (%s)",
                     path, human(used_bytes(death), used), human(memory->max_bytes, limit), source);
    return bytes < 0 ? NULL : text;
}

/* The OOM killer came, but another one of the group was its victim. */
static char *spared_sentence(const struct death *death) {
    char *text = NULL;
    int bytes = asprintf(&text,
                         "killed by SIGKILL; not by the OOM killer, which killed another process "
                         "of cgroup %s",
                         death->cgroup->path != NULL ? death->cgroup->path : "");
    return bytes < 0 ? NULL : text;
}

/* A SIGKILL in a group that is gone: nobody can say any more who sent it, but how full it was. */
static char *gone_sentence(const struct death *death) {
    char path[PATH_MAX], used[16], limit[16];
    char *text = NULL;
    cgroup_path_above(death->cgroup, death->before.levels_up, path);
    int bytes = asprintf(&text,
                         "killed by SIGKILL; its cgroup %s is gone, and was last seen at %s of its "
                         "limit of %s",
                         path, human(death->before.current_bytes, used),
                         human(death->before.max_bytes, limit));
    return bytes < 0 ? NULL : text;
}

static char *signal_sentence(const struct death *death) {
    char name[32];
    char *text = NULL;
    int signal = WTERMSIG(death->wait_status);
    if (death_is_oom(death))
        return oom_sentence(death);
    if (is_counted(death))
        return spared_sentence(death);
    if (signal == SIGKILL && death->log == KERNEL_LOG_SILENT && group_vanished(death))
        return gone_sentence(death);
    int bytes = asprintf(&text, "killed by %s%s", signal_name(signal, name),
                         WCOREDUMP(death->wait_status) ? " (core dumped)" : "");
    return bytes < 0 ? NULL : text;
}

static char *sentence(const struct death *death) {
    char *text = NULL;
    if (!death->known)
        return strdup("ended, and nobody could tell how");
    if (WIFSIGNALED(death->wait_status))
        return signal_sentence(death);
    int bytes = asprintf(&text, "exited with status %d", WEXITSTATUS(death->wait_status));
    return bytes < 0 ? NULL : text;
}

int death_judge(const struct death *death, struct keep_facts *facts) {
    const struct cgroup_memory *memory = numbers(death);
    char *text = sentence(death);
    if (text == NULL)
        return -ENOMEM;
    free(facts->sentence);
    facts->sentence = text;
    facts->death = !death->known                     ? KEEP_DEATH_UNKNOWN
                   : death_is_oom(death)             ? KEEP_DEATH_OOM
                   : WIFSIGNALED(death->wait_status) ? KEEP_DEATH_SIGNAL
                                                     : KEEP_DEATH_EXITED;
    facts->signal =
        death->known && WIFSIGNALED(death->wait_status) ? WTERMSIG(death->wait_status) : 0;
    facts->exit_code =
        death->known && WIFEXITED(death->wait_status) ? WEXITSTATUS(death->wait_status) : 0;
    facts->oom_kills = kills(death);
    facts->memory_max_bytes = memory->max_bytes;
    facts->memory_peak_bytes = memory->peak_bytes;
    facts->memory_current_bytes = memory->current_bytes;
    return 0;
}
