/* SPDX-License-Identifier: Apache-2.0
 *
 * Processes come and go.
 *
 * A box appears: it is opened and its process looked for (discover.c). What runs gets a descriptor
 * in the loop's epoll set; nobody is ever polled, except where there is no descriptor. A box whose
 * process is gone already is treated as an end that was just seen.
 *
 * One process has one box. An image that is replaced by exec leaves its box to the next one, which
 * removes it and makes its own under the same name: then the object is replaced, without an end. A
 * box that is removed while its process maps it stays open and is followed on.
 *
 * Profiles are asked for when a process has lived for a moment, and then at its own time within the
 * period: what two hundred processes cost is spread evenly, whenever they were started.
 *
 * SYNCHRONIZATION  Loop's thread. See process.h for what is shared.
 */
#include "daemon/follow.h"

#include "base/now.h"

#include "daemon/say.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <time.h>

#define FIRST_KEEP_NS 1500000000ull
#define FIRST_KEEP_SPREAD_NS 1000000000ull

uint64_t follow_now_ns(void) {
    return mal_now_ns(CLOCK_MONOTONIC);
}

/* ---- the list ---- */

static int add_item(struct follower *follower, struct process *process) {
    if (follower->count == follower->capacity) {
        size_t capacity = follower->capacity > 0 ? follower->capacity * 2 : 64;
        struct process **items = reallocarray(follower->items, capacity, sizeof *items);
        if (items == NULL)
            return -ENOMEM;
        follower->items = items;
        follower->capacity = capacity;
    }
    follower->items[follower->count++] = table_ref(follower->table, process);
    return 0;
}

static struct process *find_file(const struct follower *follower, dev_t device, ino_t inode) {
    for (size_t i = 0; i < follower->count; i++) {
        const struct process_watch *watch = &follower->items[i]->loop;
        if (watch->inode == inode && watch->device == device)
            return follower->items[i];
    }
    return NULL;
}

static struct process *find_name(const struct follower *follower, const struct folder *folder,
                                 const char *name) {
    for (size_t i = 0; i < follower->count; i++) {
        const struct process_watch *watch = &follower->items[i]->loop;
        if (watch->folder == folder && strcmp(watch->name, name) == 0)
            return follower->items[i];
    }
    return NULL;
}

/* True when both are one process: by its descriptor's pid, or by name where there is none. */
static bool is_same_process(const struct process *a, const struct process *b) {
    return a->facts.pid == b->facts.pid && a->facts.start_ticks == b->facts.start_ticks &&
           a->host_pid == b->host_pid;
}

static struct process *find_living(const struct follower *follower, const struct process *like) {
    for (size_t i = 0; i < follower->count; i++)
        if (follower->items[i]->state == PROCESS_LIVING &&
            is_same_process(follower->items[i], like))
            return follower->items[i];
    return NULL;
}

void follow_forget(struct follower *follower, struct process *process, enum follow_why why) {
    size_t i = 0;
    while (i < follower->count && follower->items[i] != process)
        i++;
    if (i == follower->count)
        return;
    follower->items[i] = follower->items[--follower->count];
    if (process->loop.pidfd >= 0)
        epoll_ctl(follower->epoll_fd, EPOLL_CTL_DEL, process->loop.pidfd, NULL);
    table_remove(follower->table, process);
    if (why == FOLLOW_EXITED)
        daemon_count(&follower->counters->processes_exited, 1);
    if (why == FOLLOW_LOST)
        daemon_count(&follower->counters->processes_lost, 1);
    if (why != FOLLOW_KEPT)
        keeper_discard(follower->keeper, process);
    table_unref(follower->table, process);
}

/* ---- a process is found ---- */

/* Different for different processes, the same for one. */
static uint64_t phase_ns(const struct process *process, uint64_t period_ns) {
    uint64_t mixed = (process->facts.start_ticks << 22 ^ process->facts.pid) * 0x9e3779b97f4a7c15u;
    return (mixed >> 16) % period_ns;
}

static int watch_process(struct follower *follower, struct process *process) {
    struct epoll_event event = {.events = EPOLLIN, .data.fd = process->loop.pidfd};
    process->loop.keep_ns =
        follow_now_ns() + FIRST_KEEP_NS + phase_ns(process, FIRST_KEEP_SPREAD_NS);
    if (process->loop.pidfd < 0)
        return 0;
    return epoll_ctl(follower->epoll_fd, EPOLL_CTL_ADD, process->loop.pidfd, &event) == 0 ? 0
                                                                                          : -errno;
}

static void refuse(struct follower *follower, int error) {
    daemon_count(&follower->counters->processes_refused, 1);
    daemon_complain(DAEMON_COMPLAINT_TABLE, "processes are left alone: %s",
                    error == -ENOSPC ? "more than can be followed" : strerror(-error));
}

static bool enter(struct follower *follower, struct process *process, enum process_state state) {
    int error = table_add(follower->table, process, state);
    if (error == 0) {
        error = add_item(follower, process);
        if (error < 0)
            table_remove(follower->table, process);
    }
    if (error < 0)
        refuse(follower, error);
    return error == 0;
}

static bool is_of_key(const struct process *process, enum process_state state,
                      const void *context) {
    const struct keep_facts *facts = context;
    return state == PROCESS_DEAD && process->facts.pid == facts->pid &&
           process->facts.start_ticks == facts->start_ticks &&
           strcmp(process->facts.boot, facts->boot) == 0;
}

/* True when that process is among the kept ones already; a living one takes their place. */
static bool was_kept(struct follower *follower, const struct process *process, bool lives) {
    struct table_list list;
    if (table_list(follower->table, is_of_key, &process->facts, &list) < 0)
        return false;
    bool found = list.count > 0;
    for (size_t i = 0; lives && i < list.count; i++)
        table_remove(follower->table, list.items[i].process);
    table_list_free(follower->table, &list);
    return found;
}

/* These two return false when there is no room: it is tried again. */
static bool follow_living(struct follower *follower, struct process *process) {
    struct process *before = find_living(follower, process);
    if (before != NULL)
        follow_forget(follower, before, FOLLOW_REPLACED);
    was_kept(follower, process, true);
    if (!enter(follower, process, PROCESS_LIVING))
        return false;
    daemon_count(&follower->counters->processes_found, 1);
    if (watch_process(follower, process) < 0)
        follow_forget(follower, process, FOLLOW_LOST);
    return true;
}

/* True when an earlier image of that very process, which exec replaced, is followed: the process
 * ended before we looked at the new image's box. One process ends once, and its end is that of the
 * image we followed; where that one still counts as living, its descriptor is about to tell. */
static bool has_followed_image(const struct follower *follower, const struct process *process) {
    for (size_t i = 0; i < follower->count; i++) {
        const struct process *other = follower->items[i];
        if ((other->state == PROCESS_LIVING || other->state == PROCESS_ENDED) &&
            other->facts.pid == process->facts.pid &&
            other->facts.start_ticks == process->facts.start_ticks &&
            strcmp(other->facts.boot, process->facts.boot) == 0)
            return true;
    }
    return false;
}

static bool follow_dead(struct follower *follower, struct process *process) {
    if (has_followed_image(follower, process) || was_kept(follower, process, false)) {
        follow_unlink(process);
        return true;
    }
    if (!enter(follower, process, PROCESS_ENDED))
        return false;
    daemon_count(&follower->counters->processes_found, 1);
    follow_ended(follower, process, 0);
    return true;
}

static bool is_followed(const struct follower *follower, const struct folder *folder,
                        const char *name) {
    struct stat status;
    return fstatat(folder->fd, name, &status, AT_SYMLINK_NOFOLLOW) != 0 ||
           find_file(follower, status.st_dev, status.st_ino) != NULL;
}

bool follow_look(struct follower *follower, struct folder *folder, const char *name) {
    struct process *process;
    bool settled = true;
    if (is_followed(follower, folder, name))
        return true;
    switch (discover(&follower->discoverer, folder, name, &process)) {
    case DISCOVERED_LIVING:
        settled = follow_living(follower, process);
        break;
    case DISCOVERED_ENDED:
        settled = follow_dead(follower, process);
        break;
    case DISCOVERED_DOUBTFUL:
        enter(follower, process, PROCESS_DOUBTFUL);
        break;
    case DISCOVERED_FOREIGN:
        follow_foreign(follower, folder, name);
        return true;
    case DISCOVERED_UNFINISHED:
        return false;
    case DISCOVERED_NOTHING:
        return true;
    }
    table_unref(follower->table, process);
    return settled;
}

/* ---- files come and go ---- */

void follower_appeared(void *context, struct folder *folder, const char *name) {
    struct follower *follower = context;
    if (!follow_look(follower, folder, name))
        follow_pend(follower, folder, name);
}

static bool is_over(const struct process *process) {
    struct mal_status status;
    return mal_reader_status(process->reader, &status) == 0 && status.life == MAL_LIFE_EXITED;
}

static bool has_ended(int pidfd) {
    struct pollfd fd = {.fd = pidfd, .events = POLLIN};
    return pidfd >= 0 && poll(&fd, 1, 0) > 0;
}

void follower_vanished(void *context, struct folder *folder, const char *name) {
    struct follower *follower = context;
    struct process *process = find_name(follower, folder, name);
    if (process == NULL)
        return;
    if (process->state == PROCESS_DOUBTFUL)
        follow_forget(follower, process, FOLLOW_REPLACED);
    else if (process->state != PROCESS_LIVING || has_ended(process->loop.pidfd))
        return; /* its end is told by its descriptor */
    else if (is_over(process))
        follow_forget(follower, process, FOLLOW_EXITED);
    else if (process->host_pid != 0 && !proc_maps_file(process->host_pid, process->loop.inode))
        follow_forget(follower, process, FOLLOW_REPLACED);
}

void follower_exit(struct follower *follower, int pidfd) {
    uint64_t now_unix_ns = mal_now_ns(CLOCK_REALTIME);
    for (size_t i = 0; i < follower->count; i++) {
        struct process *process = follower->items[i];
        if (process->loop.pidfd != pidfd || process->state != PROCESS_LIVING)
            continue;
        if (has_ended(pidfd))
            follow_ended(follower, process, now_unix_ns);
        return;
    }
}

/* ---- time ---- */

void follower_after_scan(struct follower *follower) {
    for (size_t i = follower->count; i-- > 0;) {
        struct process *process = follower->items[i];
        if (process->state != PROCESS_LIVING || process->loop.pidfd >= 0)
            continue;
        if (is_over(process))
            follow_forget(follower, process, FOLLOW_EXITED);
        else if (!discover_still_lives(process))
            follow_ended(follower, process, 0);
    }
    discoverer_end_batch(&follower->discoverer);
}

static void keep_now(struct follower *follower, struct process *process, uint64_t now_ns) {
    uint64_t every_ns = follower->keep_every_ns;
    cgroup_memory_read(&process->loop.cgroup, &process->loop.memory);
    kill_count_look(&process->loop.kills, process->loop.memory.oom_kills, now_ns);
    keeper_profile(follower->keeper, process);
    process->loop.keep_ns =
        now_ns + (process->loop.spread ? every_ns : phase_ns(process, every_ns));
    process->loop.spread = true;
}

void follower_set_period(struct follower *follower, uint64_t every_ns) {
    uint64_t now_ns = follow_now_ns();
    follower->keep_every_ns = every_ns;
    for (size_t i = 0; i < follower->count; i++) {
        struct process *process = follower->items[i];
        if (process->state == PROCESS_LIVING && process->loop.keep_ns > now_ns + every_ns)
            process->loop.keep_ns = now_ns + phase_ns(process, every_ns);
    }
}

/* Returns when this one is due again. */
static uint64_t turn_one(struct follower *follower, struct process *process, uint64_t now_ns) {
    if (process->state == PROCESS_ENDED)
        return follow_decide(follower, process, now_ns);
    if (process->state != PROCESS_LIVING)
        return FOLLOW_IDLE;
    if (process->loop.keep_ns <= now_ns)
        keep_now(follower, process, now_ns);
    return process->loop.keep_ns;
}

uint64_t follower_turn(struct follower *follower, uint64_t now_ns) {
    kernel_log_turn(&follower->log);
    uint64_t next_ns = follow_pending_turn(follower, now_ns);
    for (size_t i = follower->count; i-- > 0;) {
        uint64_t one_ns = turn_one(follower, follower->items[i], now_ns);
        next_ns = one_ns < next_ns ? one_ns : next_ns;
    }
    discoverer_end_batch(&follower->discoverer);
    return next_ns;
}

void follower_close(struct follower *follower) {
    kernel_log_close(&follower->log);
    while (follower->pending_count > 0)
        follow_pending_drop(follower, follower->pending_count - 1);
    for (size_t i = 0; i < follower->count; i++)
        table_unref(follower->table, follower->items[i]);
    discoverer_end_batch(&follower->discoverer);
    free(follower->items);
    free(follower->pending);
}
