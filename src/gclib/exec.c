/* SPDX-License-Identifier: Apache-2.0
 *
 * exec: the signal that stops threads must not reach the next program.
 *
 * A signal that is pending when a process image is replaced stays pending, but its handler does not
 * stay: the default action of ours ends the process. So a thread that calls exec does it in a
 * blocking region: nobody signals it there, and what was sent before it entered has been taken. A
 * call that fails leaves the region like any other.
 *
 * The child of vfork runs in its parent's memory until it calls exec, and the parent is the one
 * that the thread's record belongs to: it must not be left in a region. Such a child has another
 * process id than this library's process, and no collector to be afraid of.
 *
 * libc's own variants with a list of arguments do not call the others by name, so they are here
 * too.
 *
 * SYNCHRONIZATION: `process` is written before main and by fork's child, which is alone.
 *
 * Must never allocate: exec may be called where malloc may not.
 */
#include "gclib/next.h"

#include <pthread.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/types.h>
#include <unistd.h>

static pid_t process;

#define EXEC(name, parameters, arguments)                                                          \
    GCLIB_PUBLIC int name parameters {                                                             \
        int result;                                                                                \
        if (getpid() != process)                                                                   \
            return NEXT(name) arguments;                                                           \
        IN_REGION(result, NEXT(name) arguments);                                                   \
        return result;                                                                             \
    }

EXEC(execve, (const char *path, char *const arguments[], char *const environment[]),
     (path, arguments, environment))
EXEC(execv, (const char *path, char *const arguments[]), (path, arguments))
EXEC(execvp, (const char *file, char *const arguments[]), (file, arguments))
EXEC(execvpe, (const char *file, char *const arguments[], char *const environment[]),
     (file, arguments, environment))
EXEC(fexecve, (int fd, char *const arguments[], char *const environment[]),
     (fd, arguments, environment))
EXEC(execveat,
     (int fd, const char *path, char *const arguments[], char *const environment[], int flags),
     (fd, path, arguments, environment, flags))

/* How many arguments there are, with the NULL at their end. */
static size_t count(const char *first, va_list list) {
    size_t counted = 1;
    for (; first; first = va_arg(list, const char *))
        counted++;
    return counted;
}

/* Copies them; returns with the list behind the NULL. */
#define TAKE(ret_arguments, first, list)                                                           \
    do {                                                                                           \
        size_t taken = 0;                                                                          \
        (ret_arguments)[taken] = (char *)(first);                                                  \
        while ((ret_arguments)[taken])                                                             \
            (ret_arguments)[++taken] = va_arg(list, char *);                                       \
    } while (0)

static size_t count_list(const char *first, va_list list) {
    va_list again;
    va_copy(again, list);
    size_t counted = count(first, again);
    va_end(again);
    return counted;
}

GCLIB_PUBLIC int execl(const char *path, const char *first, ...) {
    va_list list;
    va_start(list, first);
    char **arguments = __builtin_alloca(count_list(first, list) * sizeof *arguments);
    TAKE(arguments, first, list);
    va_end(list);
    return execv(path, arguments);
}

GCLIB_PUBLIC int execlp(const char *file, const char *first, ...) {
    va_list list;
    va_start(list, first);
    char **arguments = __builtin_alloca(count_list(first, list) * sizeof *arguments);
    TAKE(arguments, first, list);
    va_end(list);
    return execvp(file, arguments);
}

GCLIB_PUBLIC int execle(const char *path, const char *first, ...) {
    va_list list;
    va_start(list, first);
    char **arguments = __builtin_alloca(count_list(first, list) * sizeof *arguments);
    TAKE(arguments, first, list);
    char *const *environment = va_arg(list, char *const *);
    va_end(list);
    return execve(path, arguments, environment);
}

static void note_process(void) {
    process = getpid();
}

__attribute__((constructor(102))) static void come_up(void) {
    note_process();
    pthread_atfork(NULL, NULL, note_process);
}
