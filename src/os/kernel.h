/* SPDX-License-Identifier: Apache-2.0
 *
 * System calls, past libc's function `syscall`.
 *
 * Libraries that are preloaded beside us replace that one (wrappers of user ids and of sockets do),
 * and find out about it by dlsym when they are first called, which allocates. We call the kernel
 * with locks held, some of them in the middle of an allocation.
 *
 * errno is the program's: nothing here touches it. What fails returns the negative error.
 */
#ifndef MAL_OS_KERNEL_H
#define MAL_OS_KERNEL_H

#include "base/attr.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#if defined(__x86_64__)
MAL_FAST long mal_kernel_call(long number, long a, long b, long c, long d, long e, long f) {
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}
#elif defined(__aarch64__)
MAL_FAST long mal_kernel_call(long number, long a, long b, long c, long d, long e, long f) {
    register long x8 __asm__("x8") = number;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    register long x4 __asm__("x4") = e;
    register long x5 __asm__("x5") = f;
    __asm__ volatile("svc #0"
                     : "+r"(x0)
                     : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
                     : "memory");
    return x0;
}
#else
#error "Mallard knows x86-64 and aarch64"
#endif

#define MAL_SYSCALL_OF(number, a, b, c, d, e, f, ...)                                              \
    mal_kernel_call(number, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))

/* mal_syscall(SYS_…, up to six arguments). */
#define mal_syscall(...) MAL_SYSCALL_OF(__VA_ARGS__, 0, 0, 0, 0, 0, 0, 0)

/* The process, as the kernel numbers it, and its users: libc's functions are replaced by libraries
 * that show a program other ones. */
MAL_FAST int mal_own_pid(void) {
    return (int)mal_syscall(SYS_getpid);
}
MAL_FAST int mal_parent_pid(void) {
    return (int)mal_syscall(SYS_getppid);
}
MAL_FAST unsigned mal_real_uid(void) {
    return (unsigned)mal_syscall(SYS_getuid);
}
MAL_FAST unsigned mal_effective_uid(void) {
    return (unsigned)mal_syscall(SYS_geteuid);
}

/* Files, as libc's functions of these names, but for errors. */
MAL_FAST int mal_file_open(const char *path, int flags, unsigned mode) {
    return (int)mal_syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}
MAL_FAST int mal_file_close(int fd) {
    return (int)mal_syscall(SYS_close, fd);
}
MAL_FAST int mal_file_unlink(const char *path) {
    return (int)mal_syscall(SYS_unlinkat, AT_FDCWD, path, 0);
}
MAL_FAST int mal_file_mkdir(const char *path, unsigned mode) {
    return (int)mal_syscall(SYS_mkdirat, AT_FDCWD, path, mode);
}

/* On both machines libc's struct is the kernel's. `flags` as of fstatat. */
MAL_FAST int mal_file_stat(const char *path, struct stat *ret_facts, int flags) {
    return (int)mal_syscall(SYS_newfstatat, AT_FDCWD, path, ret_facts, flags);
}

#endif
