/* SPDX-License-Identifier: Apache-2.0
 *
 * The program under `mallard run`.
 *
 * The program stays in our process group: it has the terminal as if we were not there. So what the
 * terminal sends (Ctrl-C, Ctrl-Z, a hang-up, a resize) reaches both of us from the kernel, and
 * only signals that some process sent to us alone are passed on. They are told apart by who sent
 * them. A signal sent by the program itself is not returned to it.
 *
 * Job control: when the program stops because of the terminal we stop too, so that the shell sees
 * the job stopped; its fg or bg continues the group. A program stopped by SIGSTOP is somebody's
 * debugging and leaves us running, so that the server still answers.
 *
 * posix_spawn starts the program with the signal mask that we had; dispositions were never
 * touched. It reports a failing exec as its own result.
 *
 * SYNCHRONIZATION  The waited-for signals are blocked in every thread, so sigwaitinfo here is the
 * only receiver.
 */
#include "cli/run_child.h"

#include <errno.h>
#include <spawn.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/wait.h>

extern char **environ;

/* Never blocked: faults of our own, and what cannot be. SIGPIPE is our own output's. */
static const int left_alone[] = {SIGSEGV, SIGBUS, SIGFPE,  SIGILL,  SIGTRAP,
                                 SIGABRT, SIGSYS, SIGKILL, SIGSTOP, SIGPIPE};

void run_child_prepare(struct run_child *child) {
    sigfillset(&child->waited);
    for (size_t i = 0; i < sizeof left_alone / sizeof left_alone[0]; i++)
        sigdelset(&child->waited, left_alone[i]);
    sigprocmask(SIG_BLOCK, &child->waited, &child->before);
}

int run_child_start(struct run_child *child, char **arguments) {
    posix_spawnattr_t attributes;
    int error = posix_spawnattr_init(&attributes);
    if (error != 0)
        return -error;
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
    posix_spawnattr_setsigmask(&attributes, &child->before);
    error = posix_spawnp(&child->pid, arguments[0], NULL, &attributes, arguments, environ);
    posix_spawnattr_destroy(&attributes);
    return -error;
}

static bool is_job_control(int signal) {
    return signal == SIGTSTP || signal == SIGTTIN || signal == SIGTTOU;
}

/* Collects the program's changes. True when it has ended. */
static bool reap(const struct run_child *child, int *ret_status) {
    int status;
    while (waitpid(child->pid, &status, WNOHANG | WUNTRACED) == child->pid) {
        if (!WIFSTOPPED(status)) {
            *ret_status = status;
            return true;
        }
        if (is_job_control(WSTOPSIG(status)))
            raise(SIGSTOP);
    }
    return false;
}

static void pass_on(const struct run_child *child, const siginfo_t *info) {
    bool from_process = info->si_code <= 0;
    if (!from_process || info->si_pid == child->pid)
        return;
    if (info->si_code == SI_QUEUE)
        sigqueue(child->pid, info->si_signo, info->si_value);
    else
        kill(child->pid, info->si_signo);
}

int run_child_wait(struct run_child *child) {
    siginfo_t info;
    int status;
    while (!reap(child, &status)) {
        int signal = sigwaitinfo(&child->waited, &info);
        if (signal > 0 && signal != SIGCHLD)
            pass_on(child, &info);
    }
    return status;
}
