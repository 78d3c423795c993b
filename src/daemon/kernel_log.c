/* SPDX-License-Identifier: Apache-2.0
 *
 * The kernel's log, as far as it is about the OOM killer. Each of its kills is one record,
 *
 *     3,1042,83646854475,-;Memory cgroup out of memory: Killed process 4981 (leak) total-vm:...
 *
 * level and facility, number, microseconds awake since the boot, flags; and the text, in which the
 * pid is that of the first pid namespace: inside another one the log says nothing to us. Programs
 * may write records of their own, with another facility.
 *
 * It is read only when somebody has died, from where it was read last: until then the kernel keeps
 * it. When its ring went round meanwhile, what it does not name may still have been named.
 *
 * Who writes records as fast as they are read must not hold the loop: a turn reads RECORDS_A_TURN
 * of them at most, and who asks meanwhile is told to ask again. The next turn goes on behind them,
 * so all of the ring is read after a few.
 *
 * The kernel sends the signal first and writes the record then, so the death may be seen before
 * it: who asks early asks again (follow_end.c).
 *
 * SYNCHRONIZATION  None; everything is the loop's.
 */
#include "daemon/kernel_log.h"

#include "base/now.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#define RECORD_BYTES 8192                      /* the kernel's own bound */
#define RECORDS_A_TURN 1024u                   /* a few milliseconds */
#define FIRST_PID_NAMESPACE "pid:[4026531836]" /* a constant of the kernel: PROC_PID_INIT_INO */
#define KERNEL_FACILITY_END 8u                 /* levels are the low three bits */
#define CLOCKS_APART_NS 2000000000ull
#define LOG_MAJOR 1
#define LOG_MINOR 11
#define KILLED "Killed process "

static bool is_first_pid_namespace(void) {
    char name[sizeof FIRST_PID_NAMESPACE];
    ssize_t bytes = readlink("/proc/self/ns/pid", name, sizeof name);
    return bytes == (ssize_t)strlen(FIRST_PID_NAMESPACE) &&
           memcmp(name, FIRST_PID_NAMESPACE, (size_t)bytes) == 0;
}

/* Containers have other things under its name. */
static bool is_the_log(int fd) {
    struct stat status;
    return fstat(fd, &status) == 0 && S_ISCHR(status.st_mode) &&
           status.st_rdev == makedev(LOG_MAJOR, LOG_MINOR);
}

void kernel_log_open(struct kernel_log *ret_log) {
    *ret_log = (struct kernel_log){.fd = -1, .left = RECORDS_A_TURN};
    if (!is_first_pid_namespace())
        return;
    ret_log->fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (ret_log->fd >= 0 && (!is_the_log(ret_log->fd) || lseek(ret_log->fd, 0, SEEK_END) < 0))
        kernel_log_close(ret_log);
}

void kernel_log_close(struct kernel_log *log) {
    if (log->fd >= 0)
        close(log->fd);
    log->fd = -1;
}

/* ---- reading ---- */

/* Behind what the kernel says, else NULL. It says so at the text's begin: names that others chose,
 * of control groups and of programs, stand further behind in records of the same facility. */
static const char *behind_killed(const char *record) {
    static const char *const kills[] = {
        ";" KILLED,
        ";Out of memory: " KILLED,
        ";Out of memory (oom_kill_allocating_task): " KILLED,
        ";Memory cgroup out of memory: " KILLED,
    };
    const char *text = strchr(record, ';');
    for (size_t i = 0; text != NULL && i < sizeof kills / sizeof *kills; i++)
        if (strncmp(text, kills[i], strlen(kills[i])) == 0)
            return text + strlen(kills[i]);
    return NULL;
}

void kernel_log_note(struct kernel_log *log, const char *record, uint64_t sleep_ns) {
    unsigned facility_level;
    uint64_t awake_us;
    uint32_t pid;
    const char *killed = behind_killed(record);
    if (killed == NULL || sscanf(killed, "%" SCNu32 " (", &pid) != 1 ||
        sscanf(record, "%u,%*u,%" SCNu64, &facility_level, &awake_us) != 2 ||
        facility_level >= KERNEL_FACILITY_END)
        return;
    log->victims[log->count++ % KERNEL_LOG_VICTIMS] =
        (struct kernel_log_victim){pid, awake_us * 1000 + sleep_ns};
}

/* What was logged meanwhile, as far as this turn may; false: there may be more. */
static bool read_on(struct kernel_log *log) {
    char record[RECORD_BYTES + 1];
    uint64_t awake_ns = mal_now_ns(CLOCK_MONOTONIC);
    uint64_t boot_ns = mal_now_ns(CLOCK_BOOTTIME);
    uint64_t sleep_ns = boot_ns > awake_ns ? boot_ns - awake_ns : 0;
    for (; log->left > 0; log->left--) {
        ssize_t bytes = read(log->fd, record, RECORD_BYTES);
        if (bytes > 0) {
            record[bytes] = '\0';
            kernel_log_note(log, record, sleep_ns);
        } else if (bytes < 0 && errno == EPIPE) {
            log->has_gaps = true;
        } else if (bytes == 0 || errno != EINTR) {
            return true;
        }
    }
    return false;
}

void kernel_log_turn(struct kernel_log *log) {
    log->left = RECORDS_A_TURN;
}

/* ---- asking ---- */

/* Later than its start: a pid of one that was killed may be given out again. */
static bool is_victim(const struct kernel_log *log, uint32_t pid, uint64_t start_ns) {
    uint64_t entered = log->count < KERNEL_LOG_VICTIMS ? log->count : KERNEL_LOG_VICTIMS;
    for (uint64_t i = 0; i < entered; i++)
        if (log->victims[i].pid == pid && log->victims[i].boot_ns + CLOCKS_APART_NS > start_ns)
            return true;
    return false;
}

enum kernel_log_answer kernel_log_ask(struct kernel_log *log, uint32_t pid, uint64_t start_ticks) {
    uint64_t tick_ns = 1000000000u / (uint64_t)sysconf(_SC_CLK_TCK);
    if (log->fd < 0 || pid == 0)
        return KERNEL_LOG_SILENT;
    bool is_complete = read_on(log);
    if (is_victim(log, pid, start_ticks * tick_ns))
        return KERNEL_LOG_KILLED;
    if (!is_complete)
        return KERNEL_LOG_BEHIND;
    return log->has_gaps ? KERNEL_LOG_SILENT : KERNEL_LOG_SPARED;
}
