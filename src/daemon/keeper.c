/* SPDX-License-Identifier: Apache-2.0
 *
 * The keeper's thread.
 *
 * Holds: a queue of orders, a list of answers, and how much the store weighs, by what it weighed
 * when it was last trimmed and what was written since. Before something is written that would take
 * it over its limit it is trimmed, to a little below, so that walking the folder is rare; and every
 * ten minutes, since profiles grow old.
 *
 * A profile is kept when samples came or went since the one before, a row of statistics when
 * anything did. The first profile comes soon after a process was found: then the names of its code
 * are resolved and kept, while the binary is still the one that runs.
 *
 * What cannot be read from a box is left out of what is kept: a hostile box is its owner's loss.
 * What cannot be written is said once and tried again later.
 *
 * SYNCHRONIZATION
 *   1. `lock` guards the queue, the answers, the limits and `stopping`.
 *   2. The store, the symbols' attachment and `keep` of processes are this thread's alone, `weight`
 *      is written by it and read by others, atomically.
 *   3. process->loop.verdict is not changed by the loop between keeper_bury and the answer.
 */
#include "daemon/keeper.h"

#include "daemon/say.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define TRIM_EVERY_NS (600ull * 1000000000u)
#define FILE_OVERHEAD_BYTES 4096u
#define PROFILE_ROOM_BYTES (64u << 10) /* a usual profile, its folder, facts and names */

enum order { ORDER_PROFILE, ORDER_BURY, ORDER_DISCARD, ORDER_SETTLE };

struct job {
    struct job *next;
    enum order order;
    struct process *process; /* a reference; NULL for ORDER_SETTLE */
    int error;               /* as an answer */
};

struct queue {
    struct job *first, **end;
};

struct keeper {
    struct keeper_options options; /* keep_bytes and keep_for_ns: lock */
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct queue orders, answers; /* lock */
    bool stopping;                /* lock */
    int answer_fd;
    _Atomic uint64_t weight; /* rule 2 */
    uint64_t trimmed_ns;
};

static uint64_t clock_ns(clockid_t id) {
    struct timespec now;
    clock_gettime(id, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* ---- the queue ---- */

static void queue_put(struct queue *queue, struct job *job) {
    job->next = NULL;
    *queue->end = job;
    queue->end = &job->next;
}

static struct job *queue_take(struct queue *queue) {
    struct job *job = queue->first;
    if (job == NULL)
        return NULL;
    queue->first = job->next;
    if (queue->first == NULL)
        queue->end = &queue->first;
    return job;
}

static void job_free(struct keeper *keeper, struct job *job) {
    if (job->process != NULL)
        table_unref(keeper->options.table, job->process);
    free(job);
}

/* False when there is no memory for it. */
static bool order(struct keeper *keeper, enum order what, struct process *process) {
    struct job *job = calloc(1, sizeof *job);
    if (job == NULL)
        return false;
    job->order = what;
    job->process = process != NULL ? table_ref(keeper->options.table, process) : NULL;
    pthread_mutex_lock(&keeper->lock);
    queue_put(&keeper->orders, job);
    pthread_cond_signal(&keeper->changed);
    pthread_mutex_unlock(&keeper->lock);
    return true;
}

void keeper_profile(struct keeper *keeper, struct process *process) {
    if (atomic_exchange(&process->queued, true))
        return;
    if (!order(keeper, ORDER_PROFILE, process))
        atomic_store(&process->queued, false);
}

void keeper_bury(struct keeper *keeper, struct process *process) {
    order(keeper, ORDER_BURY, process);
}

void keeper_discard(struct keeper *keeper, struct process *process) {
    order(keeper, ORDER_DISCARD, process);
}

void keeper_settle(struct keeper *keeper) {
    order(keeper, ORDER_SETTLE, NULL);
}

int keeper_fd(const struct keeper *keeper) {
    return keeper->answer_fd;
}

struct process *keeper_done(struct keeper *keeper, int *ret_error) {
    eventfd_t rings;
    pthread_mutex_lock(&keeper->lock);
    struct job *job = queue_take(&keeper->answers);
    if (job == NULL)
        eventfd_read(keeper->answer_fd, &rings);
    pthread_mutex_unlock(&keeper->lock);
    if (job == NULL)
        return NULL;
    struct process *process = job->process;
    *ret_error = job->error;
    free(job);
    return process;
}

/* The job becomes the answer. */
static void answer(struct keeper *keeper, struct job *job, int error) {
    job->error = error;
    pthread_mutex_lock(&keeper->lock);
    queue_put(&keeper->answers, job);
    eventfd_write(keeper->answer_fd, 1);
    pthread_mutex_unlock(&keeper->lock);
}

/* ---- room ---- */

static void weigh(struct keeper *keeper, uint64_t bytes) {
    atomic_fetch_add(&keeper->weight,
                     (bytes + 2 * FILE_OVERHEAD_BYTES - 1) & ~(uint64_t)(FILE_OVERHEAD_BYTES - 1));
}

static bool is_missing(const struct process *process, enum process_state state,
                       const void *context) {
    (void)process;
    (void)context;
    return state == PROCESS_DEAD;
}

/* Dead processes whose folders are gone are gone from the table too. */
static void forget_trimmed(struct keeper *keeper) {
    struct table_list list;
    if (table_list(keeper->options.table, is_missing, NULL, &list) < 0)
        return;
    for (size_t i = 0; i < list.count; i++)
        if (access(list.items[i].folder, F_OK) != 0)
            table_remove(keeper->options.table, list.items[i].process);
    table_list_free(keeper->options.table, &list);
}

/* Leaves room for as many more bytes. */
static void trim(struct keeper *keeper, uint64_t room_bytes) {
    struct keep_trimmed trimmed = {0};
    pthread_mutex_lock(&keeper->lock);
    uint64_t limit = keeper->options.keep_bytes;
    uint64_t keep_for_ns = keeper->options.keep_for_ns;
    pthread_mutex_unlock(&keeper->lock);
    uint64_t now = clock_ns(CLOCK_REALTIME);
    uint64_t taken = limit / 16 + room_bytes;
    keep_store_trim(keeper->options.store, limit > taken ? limit - taken : 0,
                    now > keep_for_ns ? now - keep_for_ns : 0, &trimmed);
    daemon_count(&keeper->options.counters->profiles_trimmed, trimmed.profiles);
    daemon_count(&keeper->options.counters->processes_trimmed, trimmed.folders);
    keeper->trimmed_ns = clock_ns(CLOCK_MONOTONIC);
    atomic_store(&keeper->weight, keep_store_bytes(keeper->options.store));
    if (trimmed.folders > 0)
        forget_trimmed(keeper);
}

/* Before as many bytes are written. */
static void make_room(struct keeper *keeper, uint64_t bytes) {
    if (atomic_load(&keeper->weight) + bytes > keeper_limit(keeper) ||
        clock_ns(CLOCK_MONOTONIC) > keeper->trimmed_ns + TRIM_EVERY_NS)
        trim(keeper, bytes);
}

/* ---- writing ---- */

/* Errors of the folder and its disk, as opposed to those of one box. */
static bool is_of_the_store(int error) {
    return error != 0 && error != -EBADMSG && error != -EFBIG && error != -EINVAL &&
           error != -EAGAIN && error != -EPROTO && error != -ENODATA;
}

static int note(struct keeper *keeper, int error) {
    if (!is_of_the_store(error))
        return 0;
    daemon_count(&keeper->options.counters->keep_errors, 1);
    daemon_complain(DAEMON_COMPLAINT_KEEP, "cannot write to %s: %s",
                    keep_store_path(keeper->options.store), strerror(-error));
    return error;
}

static int begin(struct keeper *keeper, struct process *process, const struct keep_facts *facts) {
    if (process->keep.entry != NULL)
        return 0;
    int error = keep_entry_begin(keeper->options.store, facts, &process->keep.entry);
    if (error < 0)
        return error;
    weigh(keeper, FILE_OVERHEAD_BYTES);
    char *folder = strdup(keep_entry_path(process->keep.entry));
    if (folder != NULL)
        table_set_folder(keeper->options.table, process, folder);
    return 0;
}

/* What was not readable is no error: -EBADMSG and its like are for the caller to pass over. */
static int write_profile(struct keeper *keeper, struct process *process) {
    struct mal_snapshot *snapshot;
    struct view_buffer profile = {0};
    int error = mal_reader_snapshot(process->reader, &snapshot);
    if (error < 0)
        return error;
    error = view_heap_proto(snapshot, keeper->options.symbols, VIEW_HEAP, &profile);
    mal_snapshot_free(snapshot);
    if (error == 0)
        error = keep_entry_add_profile(process->keep.entry, clock_ns(CLOCK_REALTIME), profile.data,
                                       profile.bytes);
    if (error == 0) {
        weigh(keeper, profile.bytes);
        daemon_count(&keeper->options.counters->profiles_written, 1);
        process->keep.has_profile = true;
    }
    view_buffer_free(&profile);
    return error;
}

static int write_row(struct keeper *keeper, struct process *process) {
    struct mal_box_history_row row;
    long count = mal_reader_history(process->reader, &row, 1);
    if (count <= 0)
        return (int)count;
    int error = keep_entry_add_rows(process->keep.entry, &row, 1);
    if (error == 0)
        atomic_fetch_add(&keeper->weight, sizeof row);
    return error;
}

/* ---- one living process ---- */

static int write_living(struct keeper *keeper, struct process *process, const uint64_t *now) {
    struct process_kept *kept = &process->keep;
    make_room(keeper, PROFILE_ROOM_BYTES);
    int error = begin(keeper, process, &process->facts);
    if (error < 0)
        return error;
    if (!kept->has_profile || now[MAL_STAT_SAMPLES] != kept->samples ||
        now[MAL_STAT_SAMPLES_LIVE] != kept->live)
        error = write_profile(keeper, process);
    else
        daemon_count(&keeper->options.counters->profiles_skipped, 1);
    if (!is_of_the_store(error))
        error = write_row(keeper, process);
    if (!is_of_the_store(error)) {
        kept->samples = now[MAL_STAT_SAMPLES];
        kept->live = now[MAL_STAT_SAMPLES_LIVE];
        kept->mallocs = now[MAL_STAT_MALLOCS];
        kept->frees = now[MAL_STAT_FREES];
        daemon_content(DAEMON_COMPLAINT_KEEP);
    }
    return error;
}

static void profile(struct keeper *keeper, struct process *process) {
    const struct process_kept *kept = &process->keep;
    struct mal_box_stats *stats = malloc(sizeof *stats);
    int error = stats != NULL ? mal_reader_stats(process->reader, stats) : -ENOMEM;
    const uint64_t *now = stats != NULL ? stats->value : NULL;
    bool unchanged = error == 0 && kept->has_profile && now[MAL_STAT_MALLOCS] == kept->mallocs &&
                     now[MAL_STAT_FREES] == kept->frees;
    if (unchanged)
        daemon_count(&keeper->options.counters->profiles_skipped, 1);
    else if (error == 0)
        note(keeper, write_living(keeper, process, now));
    free(stats);
    atomic_store(&process->queued, false);
}

/* ---- one dead process ---- */

/* What the box takes of memory, which its copy takes of the disk at most. */
static uint64_t box_bytes(const struct process *process) {
    struct stat status;
    if (fstat(mal_reader_fd(process->reader), &status) != 0)
        return 0;
    return (uint64_t)status.st_blocks * 512u;
}

static int write_dead(struct keeper *keeper, struct process *process) {
    const struct keep_facts *facts = &process->loop.verdict;
    int error = begin(keeper, process, facts);
    if (error < 0)
        return error;
    error = write_profile(keeper, process);
    if (!is_of_the_store(error))
        error = write_row(keeper, process);
    if (!is_of_the_store(error)) {
        error = keep_entry_add_box(process->keep.entry, process->reader);
        weigh(keeper, box_bytes(process));
    }
    /* Last: a folder whose facts tell of an end is whole. */
    return is_of_the_store(error) ? error : keep_entry_set_facts(process->keep.entry, facts);
}

static struct process *make_dead(const struct process *process) {
    struct process *dead = process_new();
    if (dead == NULL)
        return NULL;
    dead->folder = strdup(keep_entry_path(process->keep.entry));
    if (dead->folder != NULL && process_copy_facts(&process->loop.verdict, &dead->facts) == 0)
        return dead;
    process_free(dead);
    return NULL;
}

/* Takes its place in the table. */
static int enshrine(struct keeper *keeper, struct process *process) {
    struct process *dead = make_dead(process);
    if (dead == NULL)
        return -ENOMEM;
    table_replace(keeper->options.table, process, dead, PROCESS_DEAD);
    table_unref(keeper->options.table, dead);
    keep_entry_end(process->keep.entry);
    process->keep.entry = NULL;
    return 0;
}

static int bury(struct keeper *keeper, struct process *process) {
    make_room(keeper, box_bytes(process) + PROFILE_ROOM_BYTES);
    int error = write_dead(keeper, process);
    if (error == -ENOSPC) {
        trim(keeper, box_bytes(process) + PROFILE_ROOM_BYTES);
        error = write_dead(keeper, process);
    }
    if (!is_of_the_store(error))
        error = enshrine(keeper, process);
    if (is_of_the_store(error))
        return note(keeper, error);
    daemon_content(DAEMON_COMPLAINT_KEEP);
    daemon_count(&keeper->options.counters->processes_kept, 1);
    return 0;
}

static void discard(struct process *process) {
    keep_entry_discard(process->keep.entry);
    process->keep.entry = NULL;
}

/* ---- those whose end nobody saw ---- */

struct settling {
    struct keeper *keeper;
    struct table_list known;
    struct keep_facts *items;
    size_t count, capacity;
};

static bool is_known(const struct settling *settling, const struct keep_facts *facts) {
    for (size_t i = 0; i < settling->known.count; i++) {
        const struct keep_facts *known = &settling->known.items[i].process->facts;
        if (known->pid == facts->pid && known->start_ticks == facts->start_ticks &&
            strcmp(known->boot, facts->boot) == 0)
            return true;
    }
    return false;
}

static int find_unsettled(const struct keep_facts *facts, const char *folder, void *context) {
    struct settling *settling = context;
    (void)folder;
    if (facts->death != KEEP_DEATH_NONE || is_known(settling, facts))
        return 0;
    if (settling->count == settling->capacity) {
        size_t capacity = settling->capacity > 0 ? settling->capacity * 2 : 16;
        struct keep_facts *items = reallocarray(settling->items, capacity, sizeof *items);
        if (items == NULL)
            return -ENOMEM;
        settling->items = items;
        settling->capacity = capacity;
    }
    return process_copy_facts(facts, &settling->items[settling->count]) == 0
               ? (settling->count++, 0)
               : -ENOMEM;
}

static void settle_one(struct keeper *keeper, struct keep_facts *facts) {
    struct keep_entry *entry;
    char *sentence = strdup("its end was not seen: mallardd or the machine was not running");
    if (sentence == NULL)
        return;
    free(facts->sentence);
    facts->sentence = sentence;
    facts->death = KEEP_DEATH_UNKNOWN;
    if (note(keeper, keep_entry_begin(keeper->options.store, facts, &entry)) == 0)
        keep_entry_end(entry);
}

static void settle(struct keeper *keeper) {
    struct settling settling = {.keeper = keeper};
    if (table_list(keeper->options.table, NULL, NULL, &settling.known) < 0)
        return;
    keep_each(keeper->options.store, find_unsettled, &settling);
    for (size_t i = 0; i < settling.count; i++) {
        settle_one(keeper, &settling.items[i]);
        keep_facts_free(&settling.items[i]);
    }
    free(settling.items);
    table_list_free(keeper->options.table, &settling.known);
}

/* ---- the thread ---- */

static void obey(struct keeper *keeper, struct job *job) {
    switch (job->order) {
    case ORDER_PROFILE:
        profile(keeper, job->process);
        break;
    case ORDER_BURY:
        answer(keeper, job, bury(keeper, job->process));
        return;
    case ORDER_DISCARD:
        discard(job->process);
        break;
    case ORDER_SETTLE:
        settle(keeper);
        break;
    }
    job_free(keeper, job);
}

static struct job *next_job(struct keeper *keeper) {
    pthread_mutex_lock(&keeper->lock);
    while (!keeper->stopping && keeper->orders.first == NULL)
        pthread_cond_wait(&keeper->changed, &keeper->lock);
    struct job *job = keeper->stopping ? NULL : queue_take(&keeper->orders);
    pthread_mutex_unlock(&keeper->lock);
    return job;
}

static void *keeper_main(void *argument) {
    struct keeper *keeper = argument;
    struct job *job;
    prctl(PR_SET_NAME, (unsigned long)"mallardd-keeper", 0, 0, 0);
    trim(keeper, 0);
    while ((job = next_job(keeper)) != NULL)
        obey(keeper, job);
    return NULL;
}

/* ---- life ---- */

static int load_dead(const struct keep_facts *facts, const char *folder, void *context) {
    struct keeper *keeper = context;
    if (facts->death == KEEP_DEATH_NONE)
        return 0;
    struct process *dead = process_new();
    if (dead == NULL)
        return -ENOMEM;
    dead->folder = strdup(folder);
    int error = dead->folder != NULL ? process_copy_facts(facts, &dead->facts) : -ENOMEM;
    if (error == 0)
        error = table_add(keeper->options.table, dead, PROCESS_DEAD);
    table_unref(keeper->options.table, dead);
    return error;
}

int keeper_start(const struct keeper_options *options, struct keeper **ret_keeper) {
    struct keeper *keeper = calloc(1, sizeof *keeper);
    if (keeper == NULL)
        return -ENOMEM;
    keeper->options = *options;
    keeper->orders.end = &keeper->orders.first;
    keeper->answers.end = &keeper->answers.first;
    keeper->answer_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    pthread_mutex_init(&keeper->lock, NULL);
    pthread_cond_init(&keeper->changed, NULL);
    keep_each(options->store, load_dead, keeper);
    int error = keeper->answer_fd < 0 ? -errno : 0;
    if (error == 0)
        error = -pthread_create(&keeper->thread, NULL, keeper_main, keeper);
    if (error < 0) {
        if (keeper->answer_fd >= 0)
            close(keeper->answer_fd);
        free(keeper);
        return error;
    }
    *ret_keeper = keeper;
    return 0;
}

void keeper_stop(struct keeper *keeper) {
    struct job *job;
    pthread_mutex_lock(&keeper->lock);
    keeper->stopping = true;
    pthread_cond_signal(&keeper->changed);
    pthread_mutex_unlock(&keeper->lock);
    pthread_join(keeper->thread, NULL);
    while ((job = queue_take(&keeper->orders)) != NULL)
        job_free(keeper, job);
    while ((job = queue_take(&keeper->answers)) != NULL)
        job_free(keeper, job);
    close(keeper->answer_fd);
    pthread_cond_destroy(&keeper->changed);
    pthread_mutex_destroy(&keeper->lock);
    free(keeper);
}

void keeper_set_limits(struct keeper *keeper, uint64_t keep_bytes, uint64_t keep_for_ns) {
    pthread_mutex_lock(&keeper->lock);
    keeper->options.keep_bytes = keep_bytes;
    keeper->options.keep_for_ns = keep_for_ns;
    pthread_mutex_unlock(&keeper->lock);
}

uint64_t keeper_bytes(struct keeper *keeper) {
    return atomic_load(&keeper->weight);
}

uint64_t keeper_limit(struct keeper *keeper) {
    pthread_mutex_lock(&keeper->lock);
    uint64_t limit = keeper->options.keep_bytes;
    pthread_mutex_unlock(&keeper->lock);
    return limit;
}
