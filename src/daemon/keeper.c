/* SPDX-License-Identifier: Apache-2.0
 *
 * The keeper's threads.
 *
 *   keeper.c         orders, answers, threads
 *   keeper_write.c   what is written of a process
 *   keeper_settle.c  processes whose end nobody saw
 *   keeper_room.c    what the keep folder weighs, and its bound
 *
 * There are a few threads because most of their time is waiting for the disk to confirm, and a disk
 * confirms several writes as fast as one. A process always goes to the same thread: its orders are
 * obeyed one after the other, in the order they were given.
 *
 * SYNCHRONIZATION
 *   1. `lock` guards the queues, the answers, the limits and `stopping`.
 *   2. `keep` of a process belongs to the thread that the process goes to.
 *   3. process->loop.verdict is not changed by the loop between keeper_bury and the answer.
 *   4. The store has its own lock, and so have the symbols.
 */
#include "daemon/keeper_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <unistd.h>

/* ---- the queues ---- */

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

/* The one that a process goes to. */
static struct keeper_hand *hand_of(struct keeper *keeper, const struct process *process) {
    return &keeper->hand[process != NULL ? process->facts.pid % KEEPER_THREADS : 0];
}

/* False when there is no memory for it. */
static bool order(struct keeper *keeper, enum order what, struct process *process) {
    struct keeper_hand *hand = hand_of(keeper, process);
    struct job *job = calloc(1, sizeof *job);
    if (job == NULL)
        return false;
    job->order = what;
    job->process = process != NULL ? table_ref(keeper->options.table, process) : NULL;
    pthread_mutex_lock(&keeper->lock);
    queue_put(&hand->orders, job);
    pthread_cond_signal(&hand->changed);
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

/* ---- the threads ---- */

static void obey(struct keeper *keeper, struct job *job) {
    switch (job->order) {
    case ORDER_PROFILE:
        keeper_do_profile(keeper, job->process);
        break;
    case ORDER_BURY:
        answer(keeper, job, keeper_do_bury(keeper, job->process));
        return;
    case ORDER_DISCARD:
        keeper_do_discard(job->process);
        break;
    case ORDER_SETTLE:
        keeper_do_settle(keeper);
        break;
    }
    job_free(keeper, job);
}

static struct job *next_job(struct keeper_hand *hand) {
    struct keeper *keeper = hand->keeper;
    pthread_mutex_lock(&keeper->lock);
    while (!keeper->stopping && hand->orders.first == NULL)
        pthread_cond_wait(&hand->changed, &keeper->lock);
    struct job *job = keeper->stopping ? NULL : queue_take(&hand->orders);
    pthread_mutex_unlock(&keeper->lock);
    return job;
}

static void *hand_main(void *argument) {
    struct keeper_hand *hand = argument;
    struct job *job;
    prctl(PR_SET_NAME, (unsigned long)"mallardd-keeper", 0, 0, 0);
    keeper_make_room(hand->keeper, 0);
    while ((job = next_job(hand)) != NULL)
        obey(hand->keeper, job);
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

static struct keeper *keeper_new(const struct keeper_options *options) {
    struct keeper *keeper = calloc(1, sizeof *keeper);
    if (keeper == NULL)
        return NULL;
    keeper->options = *options;
    keeper->answers.end = &keeper->answers.first;
    keeper->answer_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    pthread_mutex_init(&keeper->lock, NULL);
    pthread_mutex_init(&keeper->room_lock, NULL);
    for (unsigned i = 0; i < KEEPER_THREADS; i++) {
        keeper->hand[i].keeper = keeper;
        keeper->hand[i].orders.end = &keeper->hand[i].orders.first;
        pthread_cond_init(&keeper->hand[i].changed, NULL);
    }
    return keeper;
}

static void keeper_free(struct keeper *keeper) {
    struct job *job;
    for (unsigned i = 0; i < KEEPER_THREADS; i++) {
        while ((job = queue_take(&keeper->hand[i].orders)) != NULL)
            job_free(keeper, job);
        pthread_cond_destroy(&keeper->hand[i].changed);
    }
    while ((job = queue_take(&keeper->answers)) != NULL)
        job_free(keeper, job);
    if (keeper->answer_fd >= 0)
        close(keeper->answer_fd);
    pthread_mutex_destroy(&keeper->room_lock);
    pthread_mutex_destroy(&keeper->lock);
    free(keeper);
}

static void stop_hands(struct keeper *keeper, unsigned count) {
    pthread_mutex_lock(&keeper->lock);
    keeper->stopping = true;
    for (unsigned i = 0; i < count; i++)
        pthread_cond_signal(&keeper->hand[i].changed);
    pthread_mutex_unlock(&keeper->lock);
    for (unsigned i = 0; i < count; i++)
        pthread_join(keeper->hand[i].thread, NULL);
}

static int start_hands(struct keeper *keeper) {
    int error = 0;
    for (unsigned i = 0; error == 0 && i < KEEPER_THREADS; i++) {
        error = -pthread_create(&keeper->hand[i].thread, NULL, hand_main, &keeper->hand[i]);
        if (error < 0)
            stop_hands(keeper, i);
    }
    return error;
}

int keeper_start(const struct keeper_options *options, struct keeper **ret_keeper) {
    struct keeper *keeper = keeper_new(options);
    if (keeper == NULL)
        return -ENOMEM;
    keep_each(options->store, load_dead, keeper);
    int error = keeper->answer_fd < 0 ? -EMFILE : start_hands(keeper);
    if (error < 0) {
        keeper_free(keeper);
        return error;
    }
    *ret_keeper = keeper;
    return 0;
}

void keeper_stop(struct keeper *keeper) {
    stop_hands(keeper, KEEPER_THREADS);
    keeper_free(keeper);
}
