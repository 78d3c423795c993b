/* SPDX-License-Identifier: Apache-2.0
 *
 * Cases that may crash or hang, each in a process of its own: the program executes itself with the
 * case's name as the last argument. A case passes when that process ends with status 0 in time.
 */
#ifndef TESTS_SUPPORT_CASES_H
#define TESTS_SUPPORT_CASES_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define CASE_POLL_MS 10

struct test_case {
    const char *name;
    int (*run)(void); /* returns the status of the process */
};

/* NULL when there is none of that name. */
static inline const struct test_case *case_named(const struct test_case *all, size_t count,
                                                 const char *name) {
    for (size_t i = 0; i < count; i++)
        if (strcmp(name, all[i].name) == 0)
            return &all[i];
    return NULL;
}

/* One that is late is killed. */
static inline bool case_ends_well(pid_t child, unsigned limit_seconds) {
    int status;
    for (unsigned waited_ms = 0; waited_ms < limit_seconds * 1000; waited_ms += CASE_POLL_MS) {
        if (waitpid(child, &status, WNOHANG) == child)
            return status == 0;
        usleep(CASE_POLL_MS * 1000);
    }
    kill(child, SIGKILL);
    waitpid(child, &status, 0);
    return false;
}

/* Runs this program again with these arguments, of which `name` is one, and says how it went. */
static inline bool case_passes(const char *name, char *const *arguments, unsigned limit_seconds) {
    pid_t child = fork();
    if (child == 0) {
        execv("/proc/self/exe", arguments);
        _exit(127);
    }
    bool well = child > 0 && case_ends_well(child, limit_seconds);
    printf("%s %s\n", well ? "ok  " : "FAIL", name);
    return well;
}

#endif
