/* SPDX-License-Identifier: Apache-2.0
 *
 * Runs one command and reports what it used.
 *
 *     launch FD LIBRARY COMMAND [ARGUMENT...]
 *
 * The peak resident set that wait4 reports for a child is at least that of the process it was
 * forked from, so a script cannot measure small programs itself: this program is small. Preloads
 * LIBRARY ("" for none) into the command only. Writes two lines to descriptor FD: the pid at the
 * start, then "status peak-KiB cpu-microseconds wall-microseconds involuntary-switches"; status as
 * the shell counts it. The command ends when this program does.
 */
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static uint64_t now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000;
}

static uint64_t to_us(struct timeval t) {
    return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_usec;
}

static void become(int fd, const char *library, char **command) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    close(fd);
    if (*library)
        setenv("LD_PRELOAD", library, 1);
    execvp(command[0], command);
    perror(command[0]);
    _exit(127);
}

int main(int argc, char **argv) {
    if (argc < 4)
        return 2;
    int fd = atoi(argv[1]), status;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    uint64_t start_us = now_us();
    pid_t pid = fork();
    if (pid == 0)
        become(fd, argv[2], argv + 3);
    dprintf(fd, "%d\n", (int)pid);
    struct rusage used;
    if (pid < 0 || wait4(pid, &status, 0, &used) != pid)
        return 1;
    uint64_t wall_us = now_us() - start_us;
    int shell = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    dprintf(fd, "%d %ld %llu %llu %ld\n", shell, used.ru_maxrss,
            (unsigned long long)(to_us(used.ru_utime) + to_us(used.ru_stime)),
            (unsigned long long)wall_us, used.ru_nivcsw);
    return 0;
}
