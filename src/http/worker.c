/* SPDX-License-Identifier: Apache-2.0
 *
 * Worker threads: one list of jobs in the order in which they are due, a few threads that take
 * from its front. A job that is due now has the time of its submission, so the list is also the
 * queue. It is bounded: what waits holds a connection and one side of a difference. Those that wait
 * may not take all places, so that any number of them leaves room for those that do not.
 *
 * Path: submit -> list -> run -> (again in N ms: back into the list) or over.
 *
 * Who has run a job waits no longer than until it is time to be idle, once; then for a job alone.
 *
 * SYNCHRONIZATION  `lock` guards the list, the counts, `stopping` and the jobs' own fields; it is
 * never held while a job runs or is cancelled. `changed` is signalled when the front may have
 * changed.
 *
 * It must never run a job on the caller's thread, nor drop one without run or cancel.
 */
#include "http/worker.h"

#include "base/now.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <time.h>

#define THREADS_MAX 4
#define JOBS_MAX 64
#define WAITING_MAX 48
#define STACK_BYTES (4u << 20)
#define IDLE_NS (5u * (uint64_t)NS_PER_S)
#define NEVER_NS UINT64_MAX
#define NS_PER_MS 1000000u
#define NS_PER_S 1000000000u

struct http_workers {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct http_job *first;         /* lock; by due_ns */
    size_t jobs;                    /* lock; in the list or running */
    size_t waiting;                 /* lock; in the list to be run again */
    uint64_t idle_ns;               /* lock; when to call `idle`, or NEVER_NS */
    bool stopping;                  /* lock */
    struct http_worker_hooks hooks; /* constant */
    size_t thread_count;            /* starter only */
    pthread_t thread[THREADS_MAX];
};

uint64_t http_now_ns(void) {
    return mal_now_ns(CLOCK_MONOTONIC);
}

/* Signals are blocked around the creation, so that the new thread never has one unblocked. */
int http_thread_create(pthread_t *ret_thread, void *(*body)(void *), void *argument) {
    sigset_t all;
    sigset_t before;
    pthread_attr_t attributes;
    if (pthread_attr_init(&attributes) != 0)
        return -ENOMEM;
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(ret_thread, &attributes, body, argument);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return -error;
}

static void insert_locked(struct http_workers *workers, struct http_job *job, uint64_t due_ns) {
    struct http_job **at = &workers->first;
    while (*at != NULL && (*at)->due_ns <= due_ns)
        at = &(*at)->next;
    job->due_ns = due_ns;
    job->next = *at;
    *at = job;
    pthread_cond_signal(&workers->changed);
}

/* Takes the job at `at` out of the list. */
static struct http_job *remove_locked(struct http_workers *workers, struct http_job **at) {
    struct http_job *job = *at;
    *at = job->next;
    workers->waiting -= job->waits;
    job->waits = false;
    return job;
}

/* Waits until something is due or the front may have changed. */
static void wait_for_due_locked(struct http_workers *workers) {
    uint64_t due_ns = workers->first != NULL ? workers->first->due_ns : NEVER_NS;
    if (workers->idle_ns < due_ns)
        due_ns = workers->idle_ns;
    struct timespec due = {(time_t)(due_ns / NS_PER_S), (long)(due_ns % NS_PER_S)};
    if (due_ns == NEVER_NS)
        pthread_cond_wait(&workers->changed, &workers->lock);
    else
        pthread_cond_timedwait(&workers->changed, &workers->lock, &due);
}

/* Locks: `lock` is held on entry and on return, not during the call. */
static void be_idle_locked(struct http_workers *workers) {
    workers->idle_ns = NEVER_NS;
    if (workers->hooks.idle == NULL)
        return;
    pthread_mutex_unlock(&workers->lock);
    workers->hooks.idle(workers->hooks.context);
    pthread_mutex_lock(&workers->lock);
}

/* Waits until a job is due and takes it; NULL when stopping. */
static struct http_job *take_locked(struct http_workers *workers) {
    while (!workers->stopping) {
        uint64_t now_ns = http_now_ns();
        if (workers->first != NULL && workers->first->due_ns <= now_ns)
            return remove_locked(workers, &workers->first);
        if (workers->idle_ns <= now_ns)
            be_idle_locked(workers);
        else
            wait_for_due_locked(workers);
    }
    return NULL;
}

/* Locks: `lock` is held on entry and on return, not while the job is cancelled. */
static void cancel_locked(struct http_workers *workers, struct http_job *job,
                          enum http_cancel why) {
    workers->jobs--;
    pthread_mutex_unlock(&workers->lock);
    job->cancel(job, why);
    pthread_mutex_lock(&workers->lock);
}

static void wait_locked(struct http_workers *workers, struct http_job *job, uint64_t again_ms) {
    if (job->abandoned) {
        cancel_locked(workers, job, HTTP_CANCEL_ABANDONED);
    } else if (workers->waiting == WAITING_MAX) {
        cancel_locked(workers, job, HTTP_CANCEL_CROWDED);
    } else {
        job->waits = true;
        workers->waiting++;
        insert_locked(workers, job, http_now_ns() + again_ms * NS_PER_MS);
    }
}

/* Locks: `lock` is held on entry and on return, not while the job runs. */
static void run_locked(struct http_workers *workers, struct http_job *job) {
    pthread_mutex_unlock(&workers->lock);
    uint64_t again_ms = job->run(job);
    pthread_mutex_lock(&workers->lock);
    workers->idle_ns = http_now_ns() + IDLE_NS;
    if (again_ms > 0)
        wait_locked(workers, job, again_ms);
    else
        workers->jobs--;
}

static void *worker_main(void *argument) {
    struct http_workers *workers = argument;
    struct http_job *job;
    const struct http_worker_hooks *hooks = &workers->hooks;
    if (hooks->begin != NULL)
        hooks->begin(hooks->context);
    prctl(PR_SET_NAME, (unsigned long)"mallard-http", 0, 0, 0);
    pthread_mutex_lock(&workers->lock);
    while ((job = take_locked(workers)) != NULL)
        run_locked(workers, job);
    pthread_mutex_unlock(&workers->lock);
    if (hooks->end != NULL)
        hooks->end(hooks->context);
    return NULL;
}

static void workers_init(struct http_workers *workers) {
    pthread_condattr_t attributes;
    pthread_mutex_init(&workers->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&workers->changed, &attributes);
    pthread_condattr_destroy(&attributes);
}

int http_workers_start(size_t threads, const struct http_worker_hooks *hooks,
                       struct http_workers **ret_workers) {
    struct http_workers *workers = calloc(1, sizeof *workers);
    if (workers == NULL)
        return -ENOMEM;
    workers_init(workers);
    workers->hooks = *hooks;
    workers->idle_ns = NEVER_NS;
    for (size_t i = 0; i < threads && i < THREADS_MAX; i++) {
        int error = http_thread_create(&workers->thread[i], worker_main, workers);
        if (error < 0) {
            http_workers_stop(workers);
            return error;
        }
        workers->thread_count++;
    }
    *ret_workers = workers;
    return 0;
}

int http_workers_submit(struct http_workers *workers, struct http_job *job) {
    int error = -EBUSY;
    pthread_mutex_lock(&workers->lock);
    if (workers->jobs < JOBS_MAX && !workers->stopping) {
        workers->jobs++;
        insert_locked(workers, job, http_now_ns());
        error = 0;
    }
    pthread_mutex_unlock(&workers->lock);
    return error;
}

void http_workers_abandon(struct http_workers *workers, struct http_job *job) {
    pthread_mutex_lock(&workers->lock);
    job->abandoned = true;
    if (job->waits) {
        struct http_job **at = &workers->first;
        while (*at != job)
            at = &(*at)->next;
        cancel_locked(workers, remove_locked(workers, at), HTTP_CANCEL_ABANDONED);
    }
    pthread_mutex_unlock(&workers->lock);
}

void http_workers_ask_stop(struct http_workers *workers) {
    pthread_mutex_lock(&workers->lock);
    workers->stopping = true;
    pthread_cond_broadcast(&workers->changed);
    pthread_mutex_unlock(&workers->lock);
}

void http_workers_stop(struct http_workers *workers) {
    if (workers == NULL)
        return;
    http_workers_ask_stop(workers);
    for (size_t i = 0; i < workers->thread_count; i++)
        pthread_join(workers->thread[i], NULL);
    while (workers->first != NULL) {
        struct http_job *job = workers->first;
        workers->first = job->next;
        job->cancel(job, HTTP_CANCEL_STOPPING);
    }
    pthread_cond_destroy(&workers->changed);
    pthread_mutex_destroy(&workers->lock);
    free(workers);
}
