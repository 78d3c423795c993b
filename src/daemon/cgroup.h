/* SPDX-License-Identifier: Apache-2.0
 *
 * The memory control group of a process: its limit, its use, and whether the OOM killer was there.
 * Version 2, and version 1 with its other names.
 */
#ifndef MAL_DAEMON_CGROUP_H
#define MAL_DAEMON_CGROUP_H

#include "daemon/labels.h"

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#define CGROUP_UNKNOWN UINT64_MAX

/* Where the controllers are mounted; read once at start. */
struct cgroup_mounts {
    char unified[PATH_MAX];      /* version 2, "" none */
    char memory[PATH_MAX];       /* version 1's memory controller, "" none */
    char memory_root[PATH_MAX];  /* the group that is mounted there */
    char unified_root[PATH_MAX]; /* likewise */
};
void cgroup_mounts_read(struct cgroup_mounts *ret_mounts);
/* The parsing alone: the text of /proc/self/mountinfo. */
void cgroup_mounts_parse(const char *mountinfo, struct cgroup_mounts *ret_mounts);

/* The group of one process. Texts are owned; NULL where unknown. */
struct cgroup {
    char *path;   /* as people write it: /system.slice/x.service */
    char *folder; /* where its files are */
    bool version_1;
    struct labels labels;
};
/* From the text of /proc/PID/cgroup. */
void cgroup_parse(const struct cgroup_mounts *mounts, const char *text, struct cgroup *ret_cgroup);
void cgroup_read(const struct cgroup_mounts *mounts, uint32_t pid, struct cgroup *ret_cgroup);
void cgroup_free(struct cgroup *cgroup); /* accepts a zeroed one */

/* What the group's files say now. Each is CGROUP_UNKNOWN where it is not known; a limit that is
 * not set is CGROUP_UNKNOWN too. The limit is the tightest one on the way to the root, and use and
 * peak are those of the group that has it; `oom_kills` is the group's own. */
struct cgroup_memory {
    uint64_t oom_kills;
    uint64_t max_bytes, current_bytes, peak_bytes;
    unsigned levels_up; /* from the process's group to the one that has the limit */
};
void cgroup_memory_read(const struct cgroup *cgroup, struct cgroup_memory *ret_memory);

/* The group that many levels above. */
void cgroup_path_above(const struct cgroup *cgroup, unsigned levels_up, char ret_path[PATH_MAX]);

#endif
