/* SPDX-License-Identifier: Apache-2.0
 *
 * Starting a program and standing in for it.
 *
 * The parent blocks all signals and takes them with sigwaitinfo, so no handler exists and none can
 * be lost. A signal that somebody sent to the parent is sent on to the program; one that the
 * terminal sent (the kernel, to the whole foreground group) has reached the program already. When
 * the program is stopped the parent stops itself too, so that the shell sees a stopped job, and a
 * SIGCONT wakes both.
 *
 * exec's errno comes back through a pipe that closes on success: "not found" is known before
 * anything is said to be running.
 */
#include "cli/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static sigset_t signals_before; /* what the program is to have blocked: as we were started */

static void fill_passed_on(sigset_t *set) {
    static const int synchronous[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS};
    sigfillset(set);
    for (size_t i = 0; i < sizeof synchronous / sizeof *synchronous; i++)
        sigdelset(set, synchronous[i]);
}

void cli_child_block_signals(void) {
    sigset_t passed_on;
    fill_passed_on(&passed_on);
    sigprocmask(SIG_BLOCK, &passed_on, &signals_before);
}

/* Ours in front of what was there. */
static void set_preload(const char *library) {
    const char *before = getenv("LD_PRELOAD");
    char *value;
    if (!before || !*before)
        setenv("LD_PRELOAD", library, 1);
    else if (asprintf(&value, "%s:%s", library, before) >= 0) {
        setenv("LD_PRELOAD", value, 1);
        free(value);
    }
}

static _Noreturn void become(const struct cli_child_options *options, int report_fd) {
    set_preload(options->library);
    setenv("MALLARD_DIR", options->folder, 1);
    setenv("MALLARD_EAGER", "1", 1);
    sigprocmask(SIG_SETMASK, &signals_before, NULL);
    execvp(options->argv[0], options->argv);
    int error = errno;
    ssize_t ignored = write(report_fd, &error, sizeof error);
    (void)ignored;
    _exit(127);
}

/* 0 once the program runs, or the errno of exec. */
static int await_exec(int report_fd) {
    int error = 0;
    ssize_t got;
    do
        got = read(report_fd, &error, sizeof error);
    while (got < 0 && errno == EINTR);
    return got == sizeof error ? error : 0;
}

pid_t cli_child_start(const struct cli_child_options *options) {
    int report[2];
    if (pipe2(report, O_CLOEXEC) != 0)
        return -errno;
    pid_t pid = fork();
    int error = errno;
    if (pid == 0)
        become(options, report[1]);
    close(report[1]);
    if (pid > 0) {
        error = await_exec(report[0]);
        if (error)
            waitpid(pid, NULL, 0);
    }
    close(report[0]);
    return pid < 0 || error ? -error : pid;
}

static void stop_with_child(pid_t pid) {
    raise(SIGSTOP);
    /* Somebody continued us: the program goes on as well. */
    kill(pid, SIGCONT);
}

/* Looks at every change of the program; true once it has ended. */
static int has_ended(pid_t pid, int *ret_status) {
    int status;
    while (waitpid(pid, &status, WNOHANG | WUNTRACED) == pid) {
        if (!WIFSTOPPED(status)) {
            *ret_status = status;
            return 1;
        }
        stop_with_child(pid);
    }
    return 0;
}

static void pass_on(pid_t pid, const siginfo_t *info) {
    if (info->si_signo != SIGCHLD && info->si_code != SI_KERNEL)
        kill(pid, info->si_signo);
}

int cli_child_wait(pid_t pid) {
    sigset_t passed_on;
    int status = 0;
    fill_passed_on(&passed_on);
    while (!has_ended(pid, &status)) {
        siginfo_t info;
        if (sigwaitinfo(&passed_on, &info) > 0)
            pass_on(pid, &info);
    }
    return status;
}
