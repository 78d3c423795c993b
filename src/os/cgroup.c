/* SPDX-License-Identifier: Apache-2.0
 *
 * Finding the limit of the control group.
 *
 * /proc/self/cgroup has one line a hierarchy, ID:CONTROLLERS:PATH; the unified one has ID 0 and no
 * controllers. A limit binds all groups below it, so the group's own file and those of its
 * ancestors are read, from the inside out. A path that is not there (the file names it as the host
 * sees it, the mount shows what a container may see) is passed over, and so in the end the root is
 * read, which in a container is its own group.
 *
 * No state. Files are read whole by one read each.
 *
 * SYNCHRONIZATION. None: everything is on the caller's stack.
 */
#include "os/cgroup.h"

#include "base/bits.h"
#include "base/format.h"
#include "os/env.h"
#include "os/vm.h"

#include <stdbool.h>
#include <string.h>

#define TEXT_BYTES (8u << 10)
#define PATH_BYTES (6u << 10)
#define HUGE_BYTES (1ull << 60) /* the older hierarchy has no word for "none" */

/* Too large for a stack that may be anybody's. */
struct scratch {
    char text[TEXT_BYTES];
    char path[PATH_BYTES];
};

struct hierarchy {
    const char *root;
    const char *folder; /* below the root */
    const char *file;
};

static uint64_t parse_limit(const char *text) {
    uint64_t bytes = 0;
    if (*text < '0' || *text > '9')
        return MAL_CGROUP_NO_LIMIT;
    for (; *text >= '0' && *text <= '9'; text++) {
        bytes = bytes * 10 + (uint64_t)(*text - '0');
        if (bytes >= HUGE_BYTES)
            return MAL_CGROUP_NO_LIMIT;
    }
    return bytes;
}

static uint64_t read_limit(const struct hierarchy *hierarchy, const char *group,
                           char path[PATH_BYTES]) {
    char number[32];
    mal_format(path, PATH_BYTES, "%s%s%s/%s", hierarchy->root, hierarchy->folder, group,
               hierarchy->file);
    long got = mal_read_file(path, number, sizeof number - 1);
    if (got <= 0)
        return MAL_CGROUP_NO_LIMIT;
    number[got] = '\0';
    return parse_limit(number);
}

/* Cuts the group's path shorter as it goes up. A path out of what is mounted cannot be followed. */
static uint64_t smallest_up_from(const struct hierarchy *hierarchy, char *group,
                                 char path[PATH_BYTES]) {
    uint64_t least = MAL_CGROUP_NO_LIMIT;
    if (strstr(group, "/.."))
        *group = '\0';
    for (;;) {
        uint64_t here = read_limit(hierarchy, group, path);
        least = mal_min(least, here);
        char *slash = strrchr(group, '/');
        if (!slash)
            return least;
        *slash = '\0';
    }
}

static bool lists_memory(const char *controllers) {
    for (const char *name = controllers; *name; name += strcspn(name, ",")) {
        name += *name == ',';
        if (strncmp(name, "memory", 6) == 0 && (name[6] == ',' || name[6] == '\0'))
            return true;
    }
    return false;
}

/* The limit that one line leads to; the line is taken apart. */
static uint64_t limit_of_line(char *line, const char *root, char path[PATH_BYTES]) {
    struct hierarchy unified = {root, "", "memory.max"};
    struct hierarchy older = {root, "/memory", "memory.limit_in_bytes"};
    char *controllers = strchr(line, ':');
    char *group = controllers ? strchr(controllers + 1, ':') : NULL;
    if (!group)
        return MAL_CGROUP_NO_LIMIT;
    *controllers++ = '\0';
    *group++ = '\0';
    if (strcmp(line, "0") == 0 && !*controllers)
        return smallest_up_from(&unified, group, path);
    return lists_memory(controllers) ? smallest_up_from(&older, group, path) : MAL_CGROUP_NO_LIMIT;
}

static uint64_t limit_of_text(char *text, const char *root, char path[PATH_BYTES]) {
    uint64_t least = MAL_CGROUP_NO_LIMIT;
    for (char *line = text, *next; *line; line = next) {
        size_t bytes = strcspn(line, "\n");
        next = line + bytes + (line[bytes] == '\n');
        line[bytes] = '\0';
        uint64_t here = limit_of_line(line, root, path);
        least = mal_min(least, here);
    }
    return least;
}

/* What is left of a path that was cut off may be another group's. */
static void drop_partial_line(char *text) {
    char *newline = strrchr(text, '\n');
    if (newline)
        newline[1] = '\0';
}

uint64_t mal_cgroup_memory_limit_bytes(const char *membership, const char *root) {
    size_t bytes = mal_round_up(sizeof(struct scratch), mal_vm_page_bytes());
    struct scratch *scratch = mal_vm_map(bytes);
    if (!scratch)
        return MAL_CGROUP_NO_LIMIT;
    uint64_t limit = MAL_CGROUP_NO_LIMIT;
    long got = mal_read_file(membership, scratch->text, TEXT_BYTES - 1);
    if (got == TEXT_BYTES - 1)
        drop_partial_line(scratch->text);
    if (got > 0)
        limit = limit_of_text(scratch->text, root, scratch->path);
    mal_vm_unmap(scratch, bytes);
    return limit;
}
