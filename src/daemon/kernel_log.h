/* SPDX-License-Identifier: Apache-2.0
 *
 * Whom the OOM killer killed, from the kernel's log: the only place that names its victims.
 */
#ifndef MAL_DAEMON_KERNEL_LOG_H
#define MAL_DAEMON_KERNEL_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KERNEL_LOG_VICTIMS 128u

struct kernel_log_victim {
    uint32_t pid;
    uint64_t boot_ns; /* since the boot, sleep included, as start times are */
};

struct kernel_log {
    int fd;        /* -1: it cannot be read, or its pids are not ours */
    bool has_gaps; /* records were overwritten before they were read */
    unsigned left; /* records that may be read before the next turn */
    struct kernel_log_victim victims[KERNEL_LOG_VICTIMS]; /* a ring */
    uint64_t count;                                       /* ever entered */
};

enum kernel_log_answer {
    KERNEL_LOG_SILENT, /* it cannot tell */
    KERNEL_LOG_KILLED, /* it names the process */
    KERNEL_LOG_SPARED, /* it is complete since it was opened, and does not name it */
    KERNEL_LOG_BEHIND  /* there is more in it than one turn may read: ask in the next one */
};

/* From now on; what was logged before is not looked at. */
void kernel_log_open(struct kernel_log *ret_log);
void kernel_log_close(struct kernel_log *log);

/* The loop begins a turn: so much may be read again. */
void kernel_log_turn(struct kernel_log *log);

/* About the process `pid` of our pid namespace, 0 unknown, that began so many clock ticks after
 * the boot. Reads what was logged meanwhile. */
enum kernel_log_answer kernel_log_ask(struct kernel_log *log, uint32_t pid, uint64_t start_ticks);

/* The parsing alone: enters the victim of one record of /dev/kmsg, if it is about one. `sleep_ns`
 * is how much longer the machine is up than it was awake. */
void kernel_log_note(struct kernel_log *log, const char *record, uint64_t sleep_ns);

#endif
