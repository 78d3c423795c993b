/* SPDX-License-Identifier: Apache-2.0
 *
 * Reads /sys/fs/cgroup below the group that /proc/PID/cgroup names. A group outside of our view of
 * the tree has a path with "..", and tells nothing.
 */
#include "view/limits.h"

#include <inttypes.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define TREE "/sys/fs/cgroup"

/* The path of the group below TREE, "" for the root. */
static bool group_of(uint32_t pid, char ret_path[PATH_MAX]) {
    char name[64], line[PATH_MAX];
    bool found = false;
    snprintf(name, sizeof(name), "/proc/%" PRIu32 "/cgroup", pid);
    FILE *file = fopen(name, "re");
    if (!file)
        return false;
    while (!found && fgets(line, sizeof(line), file))
        found = strncmp(line, "0::/", 4) == 0;
    fclose(file);
    line[strcspn(line, "\n")] = '\0';
    if (!found || strstr(line, "/.."))
        return false;
    snprintf(ret_path, PATH_MAX, "%s", line[4] ? line + 3 : "");
    return true;
}

static FILE *open_in(const char *group, const char *name) {
    char path[PATH_MAX];
    int bytes = snprintf(path, sizeof(path), TREE "%s/%s", group, name);
    return bytes < (int)sizeof(path) ? fopen(path, "re") : NULL;
}

/* "max" and what is no number give VIEW_NO_LIMIT. */
static uint64_t number_in(const char *group, const char *name) {
    uint64_t value;
    FILE *file = open_in(group, name);
    if (!file)
        return VIEW_NO_LIMIT;
    if (fscanf(file, "%" SCNu64, &value) != 1)
        value = VIEW_NO_LIMIT;
    fclose(file);
    return value;
}

static uint64_t oom_kills_in(const char *group) {
    char line[128];
    uint64_t count = VIEW_NO_LIMIT;
    FILE *file = open_in(group, "memory.events");
    while (file && fgets(line, sizeof(line), file)) {
        if (sscanf(line, "oom_kill %" SCNu64, &count) == 1)
            break;
    }
    if (file)
        fclose(file);
    return count;
}

void view_limits_read(uint32_t pid, struct view_limits *ret_limits) {
    char group[PATH_MAX];
    memset(ret_limits, 0xff, sizeof(*ret_limits));
    if (pid == 0 || !group_of(pid, group))
        return;
    ret_limits->current_bytes = number_in(group, "memory.current");
    ret_limits->peak_bytes = number_in(group, "memory.peak");
    ret_limits->oom_kills = oom_kills_in(group);
    for (char *slash = group; slash; *slash = '\0') {
        uint64_t max_bytes = number_in(group, "memory.max");
        if (max_bytes < ret_limits->max_bytes)
            ret_limits->max_bytes = max_bytes;
        slash = strrchr(group, '/');
        if (!slash)
            break;
    }
}
