/* SPDX-License-Identifier: Apache-2.0
 *
 * Who made this box?
 *
 * A box says "I am of process P that started at T". Any user may write such a file, so it is
 * believed only as far as it can be checked:
 *
 *   1. There is a process P with start time T, or, from inside a container, one whose innermost pid
 *      is P and whose start time is T. A descriptor of it is taken, and the start time read again:
 *      now it cannot be another one.
 *   2. The file belongs to a user that the process runs as, or to root (a server that was started
 *      by root and then gave up its rights). If not, it is somebody's invention about a process of
 *      somebody else: DOUBTFUL, for root's eyes only, and never kept.
 *   3. No such process: it has ended. Where other namespaces hide processes from us that is not
 *      sure: one whose box is still mapped by somebody counts as living, without a descriptor, or,
 *      where the kernel does not let us ask for that, one that publishes.
 *
 * A file is opened by the folder's descriptor and never by following a link; a FIFO or a device is
 * opened without waiting and then refused by the reader, as is everything that is not a box.
 *
 * SYNCHRONIZATION  Loop's thread.
 */
#include "daemon/discover.h"

#include "base/now.h"

#include "daemon/labels.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define FRESH_NS 5000000000ull

void discoverer_init(struct discoverer *discoverer) {
    memset(discoverer, 0, sizeof *discoverer);
    cgroup_mounts_read(&discoverer->mounts);
    keep_boot(discoverer->boot);
    discoverer->sees_all = proc_sees_all();
}

void discoverer_end_batch(struct discoverer *discoverer) {
    proc_list_free(&discoverer->list);
    discoverer->listed = (struct timespec){0};
}

/* ---- the file ---- */

static int open_at(const struct folder *folder, const char *name) {
    const int flags = O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
    struct stat status;
    if (fstatat(folder->fd, name, &status, AT_SYMLINK_NOFOLLOW) != 0)
        return -errno;
    if (!S_ISREG(status.st_mode))
        return -ELOOP;
    int fd = openat(folder->fd, name, O_RDWR | flags);
    if (fd < 0 && (errno == EACCES || errno == EPERM || errno == EROFS))
        fd = openat(folder->fd, name, O_RDONLY | flags);
    return fd < 0 ? -errno : fd;
}

static int open_box(const struct folder *folder, const char *name, struct mal_box_reader **ret) {
    int fd = open_at(folder, name);
    return fd < 0 ? fd : mal_reader_from_fd(fd, name, ret);
}

/* ---- the process ---- */

static bool has_started(uint32_t pid, uint64_t start_ticks) {
    struct proc_stat stat;
    return proc_stat_read(pid, &stat) == 0 && (start_ticks == 0 || stat.start_ticks == start_ticks);
}

/* Reads the list of processes unless it was read after the box was made. */
static void refresh_list(struct discoverer *discoverer, const struct timespec *made) {
    const struct timespec *listed = &discoverer->listed;
    if (listed->tv_sec > made->tv_sec ||
        (listed->tv_sec == made->tv_sec && listed->tv_nsec > made->tv_nsec))
        return;
    proc_list_free(&discoverer->list);
    clock_gettime(CLOCK_REALTIME_COARSE, &discoverer->listed);
    proc_list_read(&discoverer->list);
}

/* The pid here of the process that the box speaks of, or 0. */
static uint32_t find_pid(struct discoverer *discoverer, uint32_t pid, uint64_t start_ticks,
                         const struct timespec *made) {
    if (has_started(pid, start_ticks))
        return pid;
    if (start_ticks == 0)
        return 0;
    refresh_list(discoverer, made);
    return proc_list_find(&discoverer->list, pid, start_ticks);
}

static bool may_have_made(uint32_t pid, uint32_t owner_uid, uint32_t *ret_uid) {
    struct proc_status status;
    if (proc_status_read(pid, &status) < 0)
        return false;
    *ret_uid = status.uid[0];
    for (int i = 0; i < PROC_UIDS; i++)
        if (status.uid[i] == owner_uid)
            return true;
    return owner_uid == 0;
}

static int descriptor_of(uint32_t pid, uint64_t start_ticks) {
    int pidfd = pidfd_open((pid_t)pid, 0);
    if (pidfd < 0)
        return -errno;
    if (has_started(pid, start_ticks))
        return pidfd;
    close(pidfd);
    return -ESRCH;
}

uint64_t discover_published_ns(struct mal_box_reader *reader) {
    struct mal_box_stats *stats = malloc(sizeof *stats);
    uint64_t published = PROCESS_NEVER;
    if (stats != NULL && mal_reader_stats(reader, stats) == 0)
        published = stats->published_unix_ns;
    free(stats);
    return published;
}

/* Of a box that nobody here has open for writing: whether a process still maps it, in whatever
 * namespace. A lease for reading is granted only where nobody could write. 1, 0, or -errno where
 * we may not ask. */
static int is_mapped(const struct mal_box_reader *reader) {
    int fd = mal_reader_fd(reader);
    if (fcntl(fd, F_SETLEASE, F_RDLCK) != 0)
        return errno == EAGAIN ? 1 : -errno;
    fcntl(fd, F_SETLEASE, F_UNLCK);
    return 0;
}

static bool published_of_late(uint64_t published_ns) {
    uint64_t now_ns = mal_now_ns(CLOCK_REALTIME);
    return published_ns != PROCESS_NEVER && published_ns + FRESH_NS > now_ns &&
           published_ns < now_ns + FRESH_NS;
}

bool discover_still_lives(struct process *process) {
    int mapped = is_mapped(process->reader);
    uint64_t before = process->loop.published_ns;
    process->loop.published_ns = discover_published_ns(process->reader);
    if (mapped >= 0)
        return mapped == 1;
    return process->loop.published_ns != before || published_of_late(before);
}

/* ---- what is known of it ---- */

static char *copy_of(const char *text) {
    return strdup(text != NULL ? text : "");
}

static int fill_labels(struct process *process) {
    struct keep_facts *facts = &process->facts;
    const struct labels *labels = &process->loop.cgroup.labels;
    char service[LABEL_BYTES];
    labels_service(labels, facts->exe, service);
    facts->unit = copy_of(labels->unit);
    facts->container = copy_of(labels->container);
    facts->pod = copy_of(labels->pod);
    facts->service = copy_of(service);
    facts->cgroup = copy_of(process->loop.cgroup.path);
    facts->sentence = copy_of("");
    return facts->unit != NULL && facts->container != NULL && facts->pod != NULL &&
                   facts->service != NULL && facts->cgroup != NULL && facts->sentence != NULL
               ? 0
               : -ENOMEM;
}

/* Moves the texts out of the identity. */
static void fill_facts(const struct discoverer *discoverer, struct process *process,
                       struct mal_identity *identity) {
    struct keep_facts *facts = &process->facts;
    memcpy(facts->boot, discoverer->boot, sizeof facts->boot);
    facts->pid = process->host_pid != 0 ? process->host_pid : identity->pid;
    facts->start_ticks = identity->start_ticks;
    process->box_pid = identity->pid;
    facts->uid = mal_reader_owner(process->reader);
    facts->started_unix_ns = identity->started_unix_ns;
    facts->exe = identity->exe;
    facts->cmdline = identity->cmdline;
    facts->cmdline_bytes = identity->cmdline_bytes;
    facts->oom_kills = facts->memory_max_bytes = KEEP_UNKNOWN;
    facts->memory_peak_bytes = facts->memory_current_bytes = KEEP_UNKNOWN;
    identity->exe = identity->cmdline = NULL;
}

static void look_around(const struct discoverer *discoverer, struct process *process,
                        const struct mal_identity *identity) {
    if (process->host_pid == 0) {
        cgroup_parse(&discoverer->mounts, identity->cgroup, &process->loop.cgroup);
    } else {
        cgroup_read(&discoverer->mounts, process->host_pid, &process->loop.cgroup);
        if (proc_has_own_root(process->host_pid))
            snprintf(process->root, sizeof process->root, "/proc/%u/root", process->host_pid);
        if (process->root[0] != '\0')
            mal_reader_set_root(process->reader, process->root);
    }
    cgroup_memory_read(&process->loop.cgroup, &process->loop.memory);
    kill_count_begin(&process->loop.kills, process->loop.memory.oom_kills);
}

static enum discovery doubt(struct process *process, uint32_t process_uid) {
    free(process->facts.sentence);
    process->facts.sentence = NULL;
    process->host_pid = 0;
    process->facts.death = KEEP_DEATH_UNKNOWN;
    if (asprintf(&process->facts.sentence,
                 "the box belongs to user %u, and the process it speaks of to user %u",
                 process->facts.uid, process_uid) < 0)
        process->facts.sentence = NULL;
    return process->facts.sentence != NULL ? DISCOVERED_DOUBTFUL : DISCOVERED_NOTHING;
}

/* Without write access, so that whoever has it is the process. */
static void reopen_for_reading(struct process *process) {
    char path[32];
    struct mal_box_reader *reader;
    snprintf(path, sizeof path, "/proc/self/fd/%d", mal_reader_fd(process->reader));
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || mal_reader_from_fd(fd, mal_reader_path(process->reader), &reader) < 0)
        return;
    mal_reader_close(process->reader);
    process->reader = reader;
}

/* Nobody by that name: over, or out of sight. */
static enum discovery judge_absent(const struct discoverer *discoverer, struct process *process) {
    if (discoverer->sees_all)
        return DISCOVERED_ENDED;
    reopen_for_reading(process);
    process->loop.published_ns = discover_published_ns(process->reader);
    return discover_still_lives(process) ? DISCOVERED_LIVING : DISCOVERED_ENDED;
}

static enum discovery judge(const struct discoverer *discoverer, struct process *process) {
    uint32_t process_uid = UINT32_MAX;
    if (process->host_pid == 0)
        return judge_absent(discoverer, process);
    int pidfd = descriptor_of(process->host_pid, process->facts.start_ticks);
    if (pidfd < 0)
        return pidfd == -ESRCH ? DISCOVERED_ENDED : DISCOVERED_UNFINISHED;
    if (!may_have_made(process->host_pid, process->facts.uid, &process_uid)) {
        close(pidfd);
        return doubt(process, process_uid);
    }
    process->loop.pidfd = pidfd;
    return DISCOVERED_LIVING;
}

static enum discovery examine(struct discoverer *discoverer, struct process *process) {
    struct mal_identity identity;
    struct mal_status status;
    struct stat file;
    if (mal_reader_status(process->reader, &status) < 0 ||
        fstat(mal_reader_fd(process->reader), &file) != 0 ||
        mal_reader_identity(process->reader, &identity) < 0)
        return DISCOVERED_UNFINISHED;
    process->loop.device = file.st_dev;
    process->loop.inode = file.st_ino;
    enum discovery found = DISCOVERED_NOTHING;
    if (status.life != MAL_LIFE_EXITED) {
        process->host_pid = find_pid(discoverer, identity.pid, identity.start_ticks, &file.st_ctim);
        fill_facts(discoverer, process, &identity);
        look_around(discoverer, process, &identity);
        found = fill_labels(process) == 0 ? judge(discoverer, process) : DISCOVERED_UNFINISHED;
    }
    mal_identity_free(&identity);
    return found;
}

enum discovery discover(struct discoverer *discoverer, struct folder *folder, const char *name,
                        struct process **ret_process) {
    struct process *process = process_new();
    if (process == NULL)
        return DISCOVERED_UNFINISHED;
    int error = open_box(folder, name, &process->reader);
    enum discovery found =
        error == 0         ? examine(discoverer, process)
        : error == -EPROTO ? DISCOVERED_FOREIGN
        : error == -EBADMSG || error == -EMFILE || error == -ENFILE || error == -ENOMEM
            ? DISCOVERED_UNFINISHED
            : DISCOVERED_NOTHING;
    if (found == DISCOVERED_FOREIGN || found == DISCOVERED_UNFINISHED ||
        found == DISCOVERED_NOTHING) {
        process_free(process);
        return found;
    }
    process->loop.folder = folder_ref(folder);
    snprintf(process->loop.name, sizeof process->loop.name, "%s", name);
    *ret_process = process;
    return found;
}

bool discover_foreign(struct discoverer *discoverer, const struct folder *folder, const char *name,
                      struct discovered_foreign *ret_foreign) {
    struct discovered_foreign foreign;
    char path[32 + FOLDER_NAME_BYTES];
    struct stat file;
    uint32_t inner_pid, uid;
    snprintf(path, sizeof path, "/proc/self/fd/%d/%s", folder->fd, name);
    if (!mal_box_name_parse(name, &inner_pid, &foreign.start_ticks) || lstat(path, &file) != 0 ||
        mal_box_version(path, &foreign.version) < 0)
        return false;
    foreign.pid = find_pid(discoverer, inner_pid, foreign.start_ticks, &file.st_ctim);
    if (foreign.pid == 0 || !may_have_made(foreign.pid, file.st_uid, &uid))
        return false;
    *ret_foreign = foreign;
    return true;
}

bool discover_is_wreck(const struct discoverer *discoverer, const struct folder *folder,
                       const char *name) {
    struct stat status;
    uint32_t pid;
    uint64_t start_ticks;
    return discoverer->sees_all && mal_box_name_parse(name, &pid, &start_ticks) &&
           fstatat(folder->fd, name, &status, AT_SYMLINK_NOFOLLOW) == 0 &&
           S_ISREG(status.st_mode) && !has_started(pid, start_ticks);
}
