/* SPDX-License-Identifier: Apache-2.0
 *
 * Listing threads through /proc/self/task.
 *
 * The folder's link count is two more than the number of threads: one system call says whether
 * there is anything new, whereas listing thousands of them takes milliseconds.
 *
 * SYNCHRONIZATION. None: no state.
 *
 * Must never call what may be a cancellation point or takes a lock: callers have threads stopped.
 */
#include "os/tasks.h"

#include "base/format.h"
#include "os/kernel.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FOLDER "/proc/self/task"

unsigned mal_tasks_count(void) {
    struct stat facts;
    bool known = mal_file_stat(FOLDER, &facts, 0) == 0 && facts.st_nlink > 2;
    return known ? (unsigned)facts.st_nlink - 2 : 0;
}

/* 0 for "." and "..". */
static pid_t parse_tid(const char *name) {
    pid_t tid = 0;
    for (; *name >= '0' && *name <= '9'; name++)
        tid = tid * 10 + (*name - '0');
    return tid;
}

static void visit_entries(const char *buffer, long bytes, void (*visit)(pid_t tid, void *context),
                          void *context) {
    for (long at = 0; at < bytes;) {
        const struct dirent64 *entry = (const void *)(buffer + at);
        pid_t tid = parse_tid(entry->d_name);
        if (tid > 0)
            visit(tid, context);
        at += entry->d_reclen;
    }
}

int mal_tasks_each(char *buffer, size_t bytes, void (*visit)(pid_t tid, void *context),
                   void *context) {
    int fd = mal_file_open(FOLDER, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    long got;
    if (fd < 0)
        return fd;
    while ((got = mal_syscall(SYS_getdents64, fd, buffer, bytes)) > 0)
        visit_entries(buffer, got, visit, context);
    mal_file_close(fd);
    return (int)got;
}

#define STATUS_BYTES 4096

/* What the file of the thread says, ended by a zero. Bytes, or a negative errno. */
static long read_text(pid_t tid, const char *file, char text[STATUS_BYTES]) {
    char path[64];
    mal_format(path, sizeof path, FOLDER "/%d/%s", tid, file);
    int fd = mal_file_open(path, O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return fd;
    long got = mal_syscall(SYS_read, fd, text, STATUS_BYTES - 1);
    if (got >= 0)
        text[got] = '\0';
    mal_file_close(fd);
    return got;
}

/* What follows a line's name, or NULL. */
static const char *field(const char *text, const char *name) {
    const char *at = strstr(text, name);
    return at ? at + strlen(name) : NULL;
}

static uint64_t parse_mask(const char *text) {
    uint64_t mask = 0;
    for (; text && *text; text++) {
        int digit = *text >= '0' && *text <= '9'   ? *text - '0'
                    : *text >= 'a' && *text <= 'f' ? *text - 'a' + 10
                                                   : -1;
        if (digit < 0)
            break;
        mask = mask << 4 | (uint64_t)digit;
    }
    return mask;
}

struct mal_task mal_task_look(pid_t tid) {
    char text[STATUS_BYTES];
    struct mal_task task = {.state = MAL_TASK_UNKNOWN};
    long got = read_text(tid, "status", text);
    if (got == -ENOENT || got == -ESRCH)
        task.state = MAL_TASK_GONE;
    if (got <= 0)
        return task;
    const char *letter = field(text, "\nState:\t");
    task.letter = letter ? *letter : '?';
    task.blocked = parse_mask(field(text, "\nSigBlk:\t"));
    task.pending = parse_mask(field(text, "\nSigPnd:\t"));
    task.state = task.letter == 'Z' || task.letter == 'X' ? MAL_TASK_GONE : MAL_TASK_RUNS;
    return task;
}

/* Flags of /proc/PID/stat: the kernel's PF_IO_WORKER, and PF_USER_WORKER of vhost's. */
#define KERNELS_FLAGS (0x10u | 0x4000u)
#define FIELDS_BEFORE_FLAGS                                                                        \
    7u /* from the end of the name on: state to tpgid and the space before */

/* The name stands in parentheses and may hold any, so what counts begins behind the last one. */
static unsigned parse_flags(const char *text) {
    const char *at = strrchr(text, ')');
    for (unsigned i = 0; at && i < FIELDS_BEFORE_FLAGS; i++)
        at = strchr(at + 1, ' ');
    unsigned flags = 0;
    for (at = at ? at + 1 : ""; *at >= '0' && *at <= '9'; at++)
        flags = flags * 10 + (unsigned)(*at - '0');
    return flags;
}

bool mal_task_is_kernels(pid_t tid) {
    char text[STATUS_BYTES];
    long got = read_text(tid, "stat", text);
    return got > 0 && parse_flags(text) & KERNELS_FLAGS;
}

int mal_task_signal(pid_t tid, int signal_number) {
    return (int)mal_syscall(SYS_tgkill, mal_own_pid(), tid, signal_number);
}
