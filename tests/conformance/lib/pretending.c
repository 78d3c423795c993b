/* SPDX-License-Identifier: Apache-2.0
 *
 * What libraries do that show a program another time or other users: functions of libc are
 * replaced, and each call looks for the next one and allocates meanwhile. Who calls them with locks
 * held that an allocation takes waits for itself. See beside.py.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* Large and small, so that it is not always served from a cache. */
static void *next(const char *name) {
    static size_t bytes = 100;
    void *volatile taken = malloc(bytes = bytes * 5 % 100003);
    free(taken);
    return dlsym(RTLD_NEXT, name);
}

int clock_gettime(clockid_t id, struct timespec *ret_now) {
    int result = ((int (*)(clockid_t, struct timespec *))next("clock_gettime"))(id, ret_now);
    ret_now->tv_sec += 86400;
    return result;
}

pid_t getpid(void) {
    return ((pid_t(*)(void))next("getpid"))();
}

pid_t getppid(void) {
    return ((pid_t(*)(void))next("getppid"))();
}

uid_t getuid(void) {
    return ((uid_t(*)(void))next("getuid"))();
}

uid_t geteuid(void) {
    return ((uid_t(*)(void))next("geteuid"))();
}

int open(const char *path, int flags, ...) {
    unsigned mode;
    __builtin_va_list list;
    __builtin_va_start(list, flags);
    mode = __builtin_va_arg(list, unsigned);
    __builtin_va_end(list);
    return ((int (*)(const char *, int, unsigned))next("open"))(path, flags, mode);
}

int close(int fd) {
    return ((int (*)(int))next("close"))(fd);
}

int unlink(const char *path) {
    return ((int (*)(const char *))next("unlink"))(path);
}

int lstat(const char *path, struct stat *ret_facts) {
    return ((int (*)(const char *, struct stat *))next("lstat"))(path, ret_facts);
}

long syscall(long number, ...) {
    long word[6];
    __builtin_va_list list;
    __builtin_va_start(list, number);
    for (int i = 0; i < 6; i++)
        word[i] = __builtin_va_arg(list, long);
    __builtin_va_end(list);
    return ((long (*)(long, long, long, long, long, long, long))next("syscall"))(
        number, word[0], word[1], word[2], word[3], word[4], word[5]);
}
