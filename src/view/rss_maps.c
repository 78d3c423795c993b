/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading smaps: which mapping is what.
 *
 *   heap     The heap grows upwards from a place of its own, far above any program image and far
 *            below libraries and stacks, on a large alignment: see mal_vm_window_hint in os/vm.c.
 *            The first anonymous mapping there begins it, and those behind it belong to it until
 *            as much address space is found as the statistics say that the heap has.
 *   box      The file's name; its path may be another one in the process's mount namespace.
 *   stacks   [stack], every mapping that some thread's stack pointer lies in, and what looks as
 *            the C library makes stacks: a small mapping without access rights below a large one.
 *            A thread that runs at the moment shows no stack pointer, so both are needed.
 *   files    What has a path, but for memory that is shared by a made-up one; and an anonymous
 *            mapping right behind a writable one of a file, which is zeroed static data.
 *   tables   Mallard reserves address space for the largest size that a table may ever have and
 *            makes the beginning usable as it grows. So an anonymous mapping right below a large
 *            one without access rights is a table; that is known once the latter is read.
 *   other    The rest: our other structures, the program's own mappings, brk.
 *
 * Reading smaps makes the kernel walk the page tables of the process, which can take milliseconds
 * for each gigabyte: only for one process, and only when somebody asks.
 */
#include "view/rss_maps.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define HEAP_LOWEST (1ull << 36)
#define HEAP_HIGHEST (1ull << 45)
#define HEAP_ALIGNMENT (1ull << 26)
#define WINDOW_BYTES (1ull << 44)
#define GUARD_MAX_BYTES (64u << 10)
#define STACK_MIN_BYTES (512u << 10)
#define STACK_POINTS_MAX 4096
#define RESERVE_MIN_BYTES (1u << 20)

struct mapping {
    uint64_t start, end;
    char access[5];
    char path[256]; /* its beginning; "" anonymous */
};

struct walk {
    const struct rss_question *question;
    struct rss_maps *maps;
    struct mapping previous;
    enum rss_use previous_use;
    enum rss_use use;        /* of the mapping whose lines are being read */
    uint64_t resident_bytes; /* of that mapping */
    bool any;
    uint64_t heap_start, heap_found_bytes;
};

static bool is_anonymous(const struct mapping *mapping) {
    return mapping->path[0] == '\0' || strncmp(mapping->path, "[anon", 5) == 0;
}

static bool is_writable(const struct mapping *mapping) {
    return mapping->access[1] == 'w';
}

/* Takes note of a heap mapping when it is one. */
static bool is_heap(struct walk *walk, const struct mapping *mapping) {
    if (!is_anonymous(mapping) || !is_writable(mapping))
        return false;
    if (walk->heap_start == 0 && mapping->start >= HEAP_LOWEST && mapping->start < HEAP_HIGHEST &&
        mapping->start % HEAP_ALIGNMENT == 0 && walk->question->heap_bytes > 0)
        walk->heap_start = mapping->start;
    if (walk->heap_start == 0 || mapping->start - walk->heap_start >= WINDOW_BYTES ||
        walk->heap_found_bytes >= walk->question->heap_bytes)
        return false;
    walk->heap_found_bytes += mapping->end - mapping->start;
    return true;
}

static bool holds_stack_point(const struct rss_question *question, const struct mapping *mapping) {
    for (size_t i = 0; i < question->stack_point_count; i++) {
        if (question->stack_points[i] >= mapping->start && question->stack_points[i] < mapping->end)
            return true;
    }
    return false;
}

static bool follows(const struct walk *walk, const struct mapping *mapping) {
    return walk->any && walk->previous.end == mapping->start;
}

static bool is_above_guard(const struct walk *walk, const struct mapping *mapping) {
    const struct mapping *below = &walk->previous;
    return follows(walk, mapping) && is_anonymous(below) && strcmp(below->access, "---p") == 0 &&
           below->end - below->start <= GUARD_MAX_BYTES &&
           mapping->end - mapping->start >= STACK_MIN_BYTES;
}

static bool is_box(const struct rss_question *question, const struct mapping *mapping) {
    size_t bytes = strlen(question->box_name);
    const char *slash = strrchr(mapping->path, '/');
    return bytes > 0 && slash && strncmp(slash + 1, question->box_name, bytes) == 0 &&
           (slash[1 + bytes] == '\0' || strcmp(slash + 1 + bytes, " (deleted)") == 0);
}

static enum rss_use use_of_path(const struct walk *walk, const struct mapping *mapping) {
    static const char *const made_up[] = {"/memfd:", "/SYSV", "/dev/zero", "[heap]"};
    if (strncmp(mapping->path, "[stack", 6) == 0)
        return RSS_USE_STACK;
    if (is_box(walk->question, mapping))
        return RSS_USE_BOX;
    for (size_t i = 0; i < sizeof(made_up) / sizeof(made_up[0]); i++) {
        if (strncmp(mapping->path, made_up[i], strlen(made_up[i])) == 0)
            return RSS_USE_OTHER;
    }
    return RSS_USE_FILE;
}

static enum rss_use use_of(struct walk *walk, const struct mapping *mapping) {
    if (!is_anonymous(mapping))
        return use_of_path(walk, mapping);
    if (holds_stack_point(walk->question, mapping))
        return RSS_USE_STACK;
    if (is_heap(walk, mapping))
        return RSS_USE_HEAP;
    if (is_writable(mapping) && is_above_guard(walk, mapping))
        return RSS_USE_STACK;
    bool behind_data = follows(walk, mapping) && walk->previous_use == RSS_USE_FILE &&
                       walk->previous.path[0] == '/' && is_writable(&walk->previous);
    return behind_data && is_writable(mapping) ? RSS_USE_FILE : RSS_USE_OTHER;
}

/* The mapping before this one turns out to be a table. */
static void note_table(struct walk *walk, const struct mapping *mapping) {
    if (!follows(walk, mapping) || walk->use != RSS_USE_OTHER || !is_anonymous(&walk->previous) ||
        !is_writable(&walk->previous) || !is_anonymous(mapping) ||
        strcmp(mapping->access, "---p") != 0 || mapping->end - mapping->start < RESERVE_MIN_BYTES)
        return;
    walk->maps->resident_bytes[RSS_USE_OTHER] -= walk->resident_bytes;
    walk->maps->resident_bytes[RSS_USE_TABLE] += walk->resident_bytes;
}

/* "start-end access offset device inode   path"; other lines are "Name:   number kB". */
static bool parse_mapping(const char *line, struct mapping *ret_mapping) {
    int path_at = 0;
    if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s %*x %*s %*u %n", &ret_mapping->start,
               &ret_mapping->end, ret_mapping->access, &path_at) != 3 ||
        path_at == 0)
        return false;
    snprintf(ret_mapping->path, sizeof(ret_mapping->path), "%s", line + path_at);
    ret_mapping->path[strcspn(ret_mapping->path, "\n")] = '\0';
    return true;
}

static void take_line(struct walk *walk, const char *line) {
    struct mapping mapping;
    uint64_t kib;
    if (sscanf(line, "Rss: %" SCNu64 " kB", &kib) == 1) {
        walk->resident_bytes = walk->any && kib < UINT64_MAX / 2048 ? kib << 10 : 0;
        walk->maps->resident_bytes[walk->use] += walk->resident_bytes;
        return;
    }
    if (!parse_mapping(line, &mapping))
        return;
    note_table(walk, &mapping);
    walk->use = use_of(walk, &mapping);
    walk->resident_bytes = 0;
    walk->previous = mapping;
    walk->previous_use = walk->use;
    walk->any = true;
}

int rss_maps_parse(FILE *smaps, const struct rss_question *question, struct rss_maps *ret_maps) {
    struct rss_maps maps = {0};
    struct walk walk = {.question = question, .maps = &maps};
    char *line = NULL;
    size_t capacity = 0;
    while (getline(&line, &capacity, smaps) >= 0)
        take_line(&walk, line);
    free(line);
    if (ferror(smaps))
        return -EIO;
    if (!walk.any)
        return -ESRCH; /* of a zombie and of kernel threads there is nothing */
    *ret_maps = maps;
    return 0;
}

/* ---- the files of a process */

static FILE *open_of(uint32_t pid, const char *name) {
    char path[96];
    snprintf(path, sizeof(path), "/proc/%" PRIu32 "/%s", pid, name);
    return fopen(path, "re");
}

/* "number argument… stack-pointer program-counter"; "running" of a thread that runs. */
static uint64_t stack_point_of(uint32_t pid, const char *thread) {
    char name[64], text[256] = "";
    snprintf(name, sizeof(name), "task/%.20s/syscall", thread);
    FILE *file = open_of(pid, name);
    if (!file)
        return 0;
    const char *got = fgets(text, sizeof(text), file);
    fclose(file);
    const char *last = got ? strrchr(text, ' ') : NULL;
    while (last && last > text && last[-1] != ' ')
        last--;
    return last ? strtoull(last, NULL, 16) : 0;
}

static size_t stack_points_of(uint32_t pid, uint64_t ret_points[STACK_POINTS_MAX]) {
    char path[64];
    size_t count = 0;
    snprintf(path, sizeof(path), "/proc/%" PRIu32 "/task", pid);
    DIR *folder = opendir(path);
    if (!folder)
        return 0;
    const struct dirent *entry;
    while (count < STACK_POINTS_MAX && (entry = readdir(folder)) != NULL) {
        uint64_t point = entry->d_name[0] != '.' ? stack_point_of(pid, entry->d_name) : 0;
        if (point != 0)
            ret_points[count++] = point;
    }
    closedir(folder);
    return count;
}

int rss_maps_read(uint32_t pid, const struct rss_question *question, struct rss_maps *ret_maps) {
    FILE *smaps = open_of(pid, "smaps");
    if (!smaps)
        return -errno;
    uint64_t *points = malloc(STACK_POINTS_MAX * sizeof(*points));
    struct rss_question whole = *question;
    if (points) {
        whole.stack_points = points;
        whole.stack_point_count = stack_points_of(pid, points);
    }
    int error = rss_maps_parse(smaps, &whole, ret_maps);
    free(points);
    fclose(smaps);
    return error;
}

int rss_total_read(uint32_t pid, uint64_t *ret_bytes) {
    char line[256];
    uint64_t kib;
    int error = -ESRCH;
    FILE *status = open_of(pid, "status");
    if (!status)
        return -errno;
    while (error && fgets(line, sizeof(line), status)) {
        if (sscanf(line, "VmRSS: %" SCNu64 " kB", &kib) != 1)
            continue;
        *ret_bytes = kib << 10;
        error = 0;
    }
    fclose(status);
    return error;
}
