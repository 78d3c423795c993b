/* SPDX-License-Identifier: Apache-2.0
 *
 * Reads /proc/PID. Another user's process shows its stat but not its descriptors; each fact
 * stands alone.
 */
#include "view/process.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Reads a small file as text. False when nothing could be read. */
static bool read_text(uint32_t pid, const char *name, char *ret_text, size_t bytes) {
    char path[64];
    snprintf(path, sizeof(path), "/proc/%u/%s", pid, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t got = read(fd, ret_text, bytes - 1);
    close(fd);
    if (got <= 0)
        return false;
    ret_text[got] = 0;
    return true;
}

static void read_stat(uint32_t pid, struct process_facts *facts) {
    char text[1024];
    unsigned long long user, system, virtual_bytes, resident_pages;
    if (!read_text(pid, "stat", text, sizeof(text)))
        return;
    const char *at = strrchr(text, ')'); /* the name before it may hold anything */
    if (!at || sscanf(at,
                      ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu %*d %*d %*d %*d "
                      "%*d %*d %*u %llu %llu",
                      &user, &system, &virtual_bytes, &resident_pages) != 4)
        return;
    facts->cpu_ticks = user + system;
    facts->virtual_bytes = virtual_bytes;
    facts->resident_bytes = resident_pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void read_max_fds(uint32_t pid, struct process_facts *facts) {
    char text[4096];
    unsigned long long soft;
    if (!read_text(pid, "limits", text, sizeof(text)))
        return;
    const char *line = strstr(text, "\nMax open files");
    if (line && sscanf(line, "\nMax open files %llu", &soft) == 1)
        facts->max_fds = soft;
}

static void count_fds(uint32_t pid, struct process_facts *facts) {
    char path[64];
    snprintf(path, sizeof(path), "/proc/%u/fd", pid);
    DIR *folder = opendir(path);
    if (!folder)
        return;
    uint64_t count = 0;
    const struct dirent *entry;
    while ((entry = readdir(folder)) != NULL)
        count += entry->d_name[0] != '.';
    closedir(folder);
    facts->open_fds = count;
}

void process_facts_read(uint32_t pid, struct process_facts *ret_facts) {
    memset(ret_facts, 0xff, sizeof(*ret_facts));
    if (pid == 0)
        return;
    read_stat(pid, ret_facts);
    read_max_fds(pid, ret_facts);
    count_fds(pid, ret_facts);
}
