/* SPDX-License-Identifier: Apache-2.0
 *
 * Worker threads: jobs that would hold up the loop. A job may ask to be run again later, which is
 * how delta profiles wait without a thread waiting for them.
 */
#ifndef MAL_HTTP_WORKER_H
#define MAL_HTTP_WORKER_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Why a job ends before it is over. */
enum http_cancel {
    HTTP_CANCEL_STOPPING,  /* the workers stop */
    HTTP_CANCEL_ABANDONED, /* it would wait, and nobody waits for it */
    HTTP_CANCEL_CROWDED    /* it would wait, and too many do */
};

struct http_job {
    /* Runs on a worker. Returns 0 when the job is over, else in how many milliseconds to run
     * again. When it returns 0 the job may already be freed. */
    uint64_t (*run)(struct http_job *job);
    /* Instead of a run. Called on any thread, without the workers' lock. The same holds after it.
     */
    void (*cancel)(struct http_job *job, enum http_cancel why);
    struct http_job *next; /* workers' lock */
    uint64_t due_ns;       /* workers' lock */
    bool waits;            /* workers' lock; in the list to be run again */
    bool abandoned;        /* workers' lock */
};

struct http_workers;

/* What each thread calls first and last, and what one of them calls when no job has run for some
 * seconds after the last one. Each may be NULL. */
struct http_worker_hooks {
    void (*begin)(void *context);
    void (*end)(void *context);
    void (*idle)(void *context);
    void *context;
};
int http_workers_start(size_t threads, const struct http_worker_hooks *hooks,
                       struct http_workers **ret_workers);

/* Takes the job. -EBUSY when there are too many already. */
int http_workers_submit(struct http_workers *workers, struct http_job *job);

/* Nobody will wait for this job: it is cancelled instead of being run again, here or as soon as it
 * asks for that. A run that it has not had yet it gets. The job was submitted and is not freed. */
void http_workers_abandon(struct http_workers *workers, struct http_job *job);

/* Tells the threads to end after the job that they run. Any thread may call it. */
void http_workers_ask_stop(struct http_workers *workers);

/* Asks, joins the threads, then cancels what was left, on the caller's thread. Accepts NULL. */
void http_workers_stop(struct http_workers *workers);

/* A thread of ours: named, all signals blocked. 0 or -errno. */
int http_thread_create(pthread_t *ret_thread, void *(*body)(void *), void *argument);

/* CLOCK_MONOTONIC in nanoseconds. */
uint64_t http_now_ns(void);

#endif
