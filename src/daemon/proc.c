/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading /proc. Its texts are written by the kernel, but names in them are chosen by users: a
 * process may be called ") Z 0" or hold newlines, so stat is read from its last ')' on and status
 * by lines that the kernel itself begins (it escapes newlines in Name).
 *
 * SYNCHRONIZATION  None; everything is the caller's.
 */
#include "daemon/proc.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FIRST_PID_NAMESPACE "pid:[4026531836]" /* PROC_PID_INIT_INO, part of the kernel's ABI */
#define LISTED_MAX (1u << 22)

long proc_read(uint32_t pid, const char *name, char *ret_text, size_t bytes) {
    char path[64];
    size_t used = 0;
    snprintf(path, sizeof path, "/proc/%u/%s", pid, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    ssize_t got = 0;
    while (used < bytes - 1 && (got = read(fd, ret_text + used, bytes - 1 - used)) > 0)
        used += (size_t)got;
    int error = -errno;
    close(fd);
    if (got < 0)
        return error;
    ret_text[used] = '\0';
    return (long)used;
}

int proc_stat_parse(const char *text, struct proc_stat *ret_stat) {
    unsigned long long start;
    char state;
    int used = 0;
    const char *at = strrchr(text, ')');
    if (at == NULL ||
        sscanf(at,
               ") %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d "
               "%*d %llu %n",
               &state, &start, &used) != 2 ||
        used == 0)
        return -EBADMSG;
    struct proc_stat stat = {.start_ticks = start, .zombie = state == 'Z' || state == 'X'};
    const char *last = strrchr(at + used, ' '); /* field 52, the last one since Linux 3.5 */
    if (last != NULL)
        stat.wait_status = atoi(last + 1);
    *ret_stat = stat;
    return 0;
}

int proc_stat_read(uint32_t pid, struct proc_stat *ret_stat) {
    char text[2048];
    long bytes = proc_read(pid, "stat", text, sizeof text);
    return bytes < 0 ? (int)bytes : proc_stat_parse(text, ret_stat);
}

int proc_status_parse(const char *text, struct proc_status *ret_status) {
    struct proc_status status = {.inner_pid = 0};
    const char *uid = strstr(text, "\nUid:\t");
    const char *pids = strstr(text, "\nNSpid:\t");
    if (uid == NULL || sscanf(uid, "\nUid: %u %u %u %u", &status.uid[0], &status.uid[1],
                              &status.uid[2], &status.uid[3]) != PROC_UIDS)
        return -EBADMSG;
    if (pids != NULL) {
        const char *end = strchr(pids + 1, '\n');
        const char *last = end != NULL ? memrchr(pids, '\t', (size_t)(end - pids)) : NULL;
        status.inner_pid = last != NULL ? (uint32_t)strtoul(last + 1, NULL, 10) : 0;
    }
    *ret_status = status;
    return 0;
}

int proc_status_read(uint32_t pid, struct proc_status *ret_status) {
    char text[4096];
    long bytes = proc_read(pid, "status", text, sizeof text);
    return bytes < 0 ? (int)bytes : proc_status_parse(text, ret_status);
}

/* ---- all of them ---- */

static int list_add(struct proc_list *list, const struct proc_known *known) {
    if (list->count == list->capacity) {
        size_t capacity = list->capacity > 0 ? list->capacity * 2 : 256;
        struct proc_known *items =
            capacity <= LISTED_MAX ? reallocarray(list->items, capacity, sizeof *items) : NULL;
        if (items == NULL)
            return -ENOMEM;
        list->items = items;
        list->capacity = capacity;
    }
    list->items[list->count++] = *known;
    return 0;
}

static int list_process(struct proc_list *list, uint32_t pid) {
    struct proc_stat stat;
    struct proc_status status;
    if (proc_stat_read(pid, &stat) < 0 || proc_status_read(pid, &status) < 0)
        return 0;
    return list_add(list, &(struct proc_known){pid, status.inner_pid, stat.start_ticks});
}

int proc_list_read(struct proc_list *ret_list) {
    struct proc_list list = {0};
    const struct dirent *entry;
    int error = 0;
    DIR *folder = opendir("/proc");
    if (folder == NULL)
        return -errno;
    while (error == 0 && (entry = readdir(folder)) != NULL) {
        unsigned long pid = strtoul(entry->d_name, NULL, 10);
        if (pid > 0 && pid <= INT_MAX)
            error = list_process(&list, (uint32_t)pid);
    }
    closedir(folder);
    if (error < 0)
        proc_list_free(&list);
    else
        *ret_list = list;
    return error;
}

void proc_list_free(struct proc_list *list) {
    free(list->items);
    *list = (struct proc_list){0};
}

uint32_t proc_list_find(const struct proc_list *list, uint32_t inner_pid, uint64_t start_ticks) {
    for (size_t i = 0; i < list->count; i++)
        if (list->items[i].inner_pid == inner_pid && list->items[i].start_ticks == start_ticks)
            return list->items[i].pid;
    return 0;
}

/* ---- single questions ---- */

bool proc_sees_all(void) {
    char text[64] = "";
    ssize_t bytes = readlink("/proc/self/ns/pid", text, sizeof text - 1);
    return bytes > 0 && strcmp(text, FIRST_PID_NAMESPACE) == 0;
}

bool proc_maps_file(uint32_t pid, uint64_t inode) {
    char path[64];
    char line[PATH_MAX + 128];
    unsigned long long number;
    bool found = false;
    snprintf(path, sizeof path, "/proc/%u/maps", pid);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return true;
    bool any = false;
    while (!found && fgets(line, sizeof line, file) != NULL) {
        any = true;
        found = sscanf(line, "%*s %*s %*s %*s %llu", &number) == 1 && number == inode;
    }
    fclose(file);
    return found || !any;
}

bool proc_has_own_root(uint32_t pid) {
    char path[64];
    struct stat theirs, ours;
    snprintf(path, sizeof path, "/proc/%u/root", pid);
    if (stat(path, &theirs) != 0 || stat("/", &ours) != 0)
        return false;
    return theirs.st_dev != ours.st_dev || theirs.st_ino != ours.st_ino;
}
