/* SPDX-License-Identifier: Apache-2.0
 *
 * What /proc says about processes: who is who across pid namespaces, and how one ended.
 */
#ifndef MAL_DAEMON_PROC_H
#define MAL_DAEMON_PROC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What of /proc/PID/stat matters here. `wait_status` is as wait(2) gives it, and only of use when
 * `zombie`; it reads 0 where the kernel hides it. */
struct proc_stat {
    uint64_t start_ticks;
    bool zombie;
    int wait_status;
};
int proc_stat_read(uint32_t pid, struct proc_stat *ret_stat);
/* The parsing alone. -EBADMSG. */
int proc_stat_parse(const char *text, struct proc_stat *ret_stat);

/* The four uids of a process: real, effective, saved, of its files. */
#define PROC_UIDS 4
struct proc_status {
    uint32_t uid[PROC_UIDS];
    uint32_t inner_pid; /* in its innermost pid namespace */
};
int proc_status_read(uint32_t pid, struct proc_status *ret_status);
int proc_status_parse(const char *text, struct proc_status *ret_status);

/* All processes, as seen at one moment. For a search among many: read once, asked often. */
struct proc_list {
    struct proc_known {
        uint32_t pid, inner_pid;
        uint64_t start_ticks;
    } * items;
    size_t count, capacity;
};
int proc_list_read(struct proc_list *ret_list);
void proc_list_free(struct proc_list *list);
/* The process of that start time that calls itself `inner_pid`, or 0. */
uint32_t proc_list_find(const struct proc_list *list, uint32_t inner_pid, uint64_t start_ticks);

/* True when this process sees all processes of the machine: it is in the first pid namespace. */
bool proc_sees_all(void);

/* The text of /proc/PID/NAME; its length or -errno. */
long proc_read(uint32_t pid, const char *name, char *ret_text, size_t bytes);

/* True when the process maps that file; also when that cannot be told. */
bool proc_maps_file(uint32_t pid, uint64_t inode);

/* True when the file system root of the process is not ours: its paths need /proc/PID/root. */
bool proc_has_own_root(uint32_t pid);

#endif
