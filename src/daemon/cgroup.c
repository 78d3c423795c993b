/* SPDX-License-Identifier: Apache-2.0
 *
 * Control groups. The kernel counts a kill of its OOM killer in the group of the victim, whoever's
 * limit was hit (version 2: and in all groups above). So the count to watch is that of the
 * process's own group, and the limit to name is the tightest one above it.
 *
 *   version 2   memory.max  memory.current  memory.peak  memory.events (oom_kill)
 *   version 1   memory.limit_in_bytes  memory.usage_in_bytes  memory.max_usage_in_bytes
 *               memory.oom_control (oom_kill)
 *
 * A path in /proc/PID/cgroup is relative to the reader's cgroup namespace, and a mount shows the
 * tree from its own root on (field 4 of mountinfo): what lies outside of it is unknown.
 *
 * SYNCHRONIZATION  None; everything is the caller's.
 */
#include "daemon/cgroup.h"

#include "base/attr.h"
#include "daemon/proc.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MOUNTINFO_BYTES (256u << 10)
#define CGROUP_TEXT_BYTES 16384
#define NO_LIMIT_V1 (1ull << 62) /* version 1 writes the largest multiple of a page */
#define LEVELS_MAX 64

/* ---- mounts ---- */

/* Undoes \040 and its like. */
static void unescape(const char *text, char ret_path[PATH_MAX]) {
    size_t used = 0;
    for (; *text != '\0' && used < PATH_MAX - 1; used++) {
        unsigned value;
        if (text[0] == '\\' && sscanf(text + 1, "%3o", &value) == 1 && strlen(text) >= 4) {
            ret_path[used] = (char)value;
            text += 4;
        } else {
            ret_path[used] = *text++;
        }
    }
    ret_path[used] = '\0';
}

static bool has_word(const char *list, const char *word) {
    size_t bytes = strlen(word);
    for (const char *at = list; (at = strstr(at, word)) != NULL; at += bytes)
        if ((at == list || at[-1] == ',') && (at[bytes] == ',' || at[bytes] == '\0'))
            return true;
    return false;
}

/* "36 35 98:0 /root /mount/point rw,noatime shared:1 - type source options" */
static void parse_mount(char *line, struct cgroup_mounts *mounts) {
    char root[PATH_MAX], point[PATH_MAX], type[32], options[256];
    char *dash = strstr(line, " - ");
    if (dash == NULL || sscanf(dash, " - %31s %*s %255s", type, options) != 2)
        return;
    *dash = '\0';
    if (strncmp(type, "cgroup", 6) != 0 ||
        sscanf(line, "%*s %*s %*s %4095s %4095s", root, point) != 2)
        return;
    if (strcmp(type, "cgroup2") == 0 && mounts->unified[0] == '\0') {
        unescape(root, mounts->unified_root);
        unescape(point, mounts->unified);
    } else if (strcmp(type, "cgroup") == 0 && has_word(options, "memory") &&
               mounts->memory[0] == '\0') {
        unescape(root, mounts->memory_root);
        unescape(point, mounts->memory);
    }
}

void cgroup_mounts_parse(const char *mountinfo, struct cgroup_mounts *ret_mounts) {
    char line[2 * PATH_MAX];
    memset(ret_mounts, 0, sizeof *ret_mounts);
    while (*mountinfo != '\0') {
        size_t bytes = strcspn(mountinfo, "\n");
        snprintf(line, sizeof line, "%.*s", (int)(bytes < sizeof line ? bytes : 0), mountinfo);
        parse_mount(line, ret_mounts);
        mountinfo += bytes + (mountinfo[bytes] == '\n');
    }
}

void cgroup_mounts_read(struct cgroup_mounts *ret_mounts) {
    char *text = malloc(MOUNTINFO_BYTES);
    memset(ret_mounts, 0, sizeof *ret_mounts);
    if (text != NULL && proc_read((uint32_t)getpid(), "mountinfo", text, MOUNTINFO_BYTES) > 0)
        cgroup_mounts_parse(text, ret_mounts);
    free(text);
}

/* ---- the group of a process ---- */

/* Where the files of the group `path` are, in a tree that is mounted from `root` on. */
static void place(const char *mount, const char *root, const char *path,
                  char ret_folder[PATH_MAX]) {
    size_t bytes = strcmp(root, "/") == 0 ? 0 : strlen(root);
    ret_folder[0] = '\0';
    if (mount[0] == '\0' || strncmp(path, root, bytes) != 0 || strstr(path, "/..") != NULL)
        return;
    if (bytes > 0 && path[bytes] != '/' && path[bytes] != '\0')
        return;
    if (snprintf(ret_folder, PATH_MAX, "%s%s", mount, path + bytes) >= PATH_MAX)
        ret_folder[0] = '\0';
}

/* One line, "4:memory:/docker/abc" or "0::/system.slice/x.service". */
static void parse_line(const struct cgroup_mounts *mounts, char *line, struct cgroup *cgroup) {
    char *controllers = strchr(line, ':');
    char *path = controllers != NULL ? strchr(controllers + 1, ':') : NULL;
    if (path == NULL || path[1] != '/')
        return;
    *path++ = '\0';
    controllers++;
    labels_of_cgroup(path, &cgroup->labels);
    bool unified = *controllers == '\0';
    if (!unified && !has_word(controllers, "memory"))
        return;
    if (unified && cgroup->version_1)
        return;
    char folder[PATH_MAX];
    place(unified ? mounts->unified : mounts->memory,
          unified ? mounts->unified_root : mounts->memory_root, path, folder);
    cgroup_free(cgroup);
    cgroup->version_1 = !unified;
    cgroup->path = strdup(path);
    cgroup->folder = folder[0] != '\0' ? strdup(folder) : NULL;
}

void cgroup_free(struct cgroup *cgroup) {
    free(cgroup->path);
    free(cgroup->folder);
    cgroup->path = cgroup->folder = NULL;
}

void cgroup_parse(const struct cgroup_mounts *mounts, const char *text, struct cgroup *ret_cgroup) {
    char line[PATH_MAX + 256];
    memset(ret_cgroup, 0, sizeof *ret_cgroup);
    while (*text != '\0') {
        size_t bytes = strcspn(text, "\n");
        snprintf(line, sizeof line, "%.*s", (int)(bytes < sizeof line ? bytes : 0), text);
        parse_line(mounts, line, ret_cgroup);
        text += bytes + (text[bytes] == '\n');
    }
}

void cgroup_read(const struct cgroup_mounts *mounts, uint32_t pid, struct cgroup *ret_cgroup) {
    char text[CGROUP_TEXT_BYTES];
    if (proc_read(pid, "cgroup", text, sizeof text) < 0)
        text[0] = '\0';
    cgroup_parse(mounts, text, ret_cgroup);
}

/* ---- its memory ---- */

/* A small file below `folder`; false when it cannot be read. */
static bool read_file(const char *folder, const char *name, char *ret_text, size_t bytes) {
    char path[PATH_MAX + 64];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return false;
    ssize_t got = read(fd, ret_text, bytes - 1);
    close(fd);
    ret_text[got > 0 ? got : 0] = '\0';
    return got > 0;
}

static uint64_t read_number(const char *folder, const char *name) {
    char text[64];
    unsigned long long number;
    if (!read_file(folder, name, text, sizeof text) || sscanf(text, "%llu", &number) != 1)
        return CGROUP_UNKNOWN;
    return number;
}

/* The number behind a word at the begin of a line. */
static uint64_t read_keyed(const char *folder, const char *name, const char *key) {
    char text[1024];
    unsigned long long number;
    size_t bytes = strlen(key);
    if (!read_file(folder, name, text, sizeof text))
        return CGROUP_UNKNOWN;
    for (const char *at = text; at != NULL; at = strchr(at, '\n')) {
        at += *at == '\n';
        if (strncmp(at, key, bytes) == 0 && sscanf(at + bytes, " %llu", &number) == 1)
            return number;
    }
    return CGROUP_UNKNOWN;
}

static const struct {
    const char *max, *current, *peak, *kills;
} files[] = {
    {"memory.max", "memory.current", "memory.peak", "memory.events"},
    {"memory.limit_in_bytes", "memory.usage_in_bytes", "memory.max_usage_in_bytes",
     "memory.oom_control"},
};

static uint64_t read_limit(const char *folder, bool version_1) {
    uint64_t limit = read_number(folder, files[version_1].max);
    return version_1 && limit >= NO_LIMIT_V1 ? CGROUP_UNKNOWN : limit;
}

/* Cuts the last word; false at the root. */
static bool go_up(char path[PATH_MAX]) {
    char *slash = strrchr(path, '/');
    if (slash == NULL || path[1] == '\0')
        return false;
    slash[slash == path ? 1 : 0] = '\0';
    return true;
}

void cgroup_path_above(const struct cgroup *cgroup, unsigned levels_up, char ret_path[PATH_MAX]) {
    snprintf(ret_path, PATH_MAX, "%s", cgroup->path != NULL ? cgroup->path : "");
    while (levels_up-- > 0)
        go_up(ret_path);
}

static unsigned depth_of(const char *path) {
    unsigned depth = 0;
    for (const char *at = path; *at != '\0'; at++)
        depth += *at == '/' && at[1] != '\0' && at[1] != '/';
    return depth < LEVELS_MAX ? depth : LEVELS_MAX;
}

/* Looks at one level; its limit counts when it is tighter than those below. */
static void read_level(const char *folder, bool version_1, unsigned level,
                       struct cgroup_memory *memory) {
    uint64_t limit = read_limit(folder, version_1);
    if (level > 0 && limit >= memory->max_bytes)
        return;
    memory->max_bytes = limit;
    memory->current_bytes = read_number(folder, files[version_1].current);
    memory->peak_bytes = read_number(folder, files[version_1].peak);
    memory->levels_up = level;
}

void cgroup_memory_read(const struct cgroup *cgroup, struct cgroup_memory *ret_memory) {
    struct cgroup_memory memory = {CGROUP_UNKNOWN, CGROUP_UNKNOWN, CGROUP_UNKNOWN, CGROUP_UNKNOWN,
                                   0};
    char folder[PATH_MAX];
    if (cgroup->folder != NULL) {
        unsigned depth = depth_of(cgroup->path);
        snprintf(folder, sizeof folder, "%s", cgroup->folder);
        memory.oom_kills = read_keyed(folder, files[cgroup->version_1].kills, "oom_kill ");
        for (unsigned level = 0; level <= depth; level++) {
            read_level(folder, cgroup->version_1, level, &memory);
            go_up(folder);
        }
    }
    *ret_memory = memory;
}
