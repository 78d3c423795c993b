/* SPDX-License-Identifier: Apache-2.0
 *
 * The registry of threads that use the collected heap.
 *
 * Holds one record per thread, in a list and by thread id. Path up: a thread takes a record for
 * itself (thread_self.c), or a stop finds it in /proc/self/task: then the collector makes the
 * record ("adopts" the thread), which claims it in its signal handler. Path down: the thread says
 * that it leaves. From then on it runs libc's code only, which blocks all signals and takes locks
 * that a stopped thread may hold: no stop may wait for it. Its record is dropped when its id is
 * gone, as is that of a thread that ended in another way. A thread that the kernel gave the id of
 * one that left is told by its taking signals: it gets the record.
 *
 * SYNCHRONIZATION
 *   1. `registry_lock` (rank GC_THREADS) guards the list, the chains by id and the pool of records.
 *   2. A stop walks the list under the lock, but never waits under it: a thread that waits for the
 *      lock is in a critical section and cannot be stopped.
 *   3. `meetings` are appended by the stopping thread, count last (release), and read by handlers
 *      without a lock; entries do not move and stay until the world goes on. A record that is taken
 *      off meanwhile loses its id, so that its thread does not claim it: only that thread takes it
 *      off, or nobody has its id any more.
 *   4. mal_gc_self is set by its thread only: in a critical section, or in the handler, which runs
 *      outside them. So a thread never gets two records: registration looks, under the lock, for
 *      the record that adoption may have made meanwhile.
 *   5. Records are never unmapped.
 *
 * Must never call libc under the lock: a stopped thread may hold any of libc's.
 */
#include "gc/thread.h"

#include "base/atomic.h"
#include "gc/thread_private.h"
#include "meta/memory.h"
#include "os/clock.h"
#include "os/lock.h"
#include "os/tasks.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#define BUCKETS 1024u
#define MEETINGS_MAX (1u << 16) /* threads that one stop can adopt; the next stop goes on */
#define LEAVING_MOST 64u        /* records of threads that may be gone */

struct meeting {
    pid_t tid;
    struct mal_gc_thread *thread;
};

MAL_THREAD struct mal_gc_thread *mal_gc_self;

static struct mal_lock registry_lock = MAL_LOCK_INIT(MAL_RANK_GC_THREADS);
static struct mal_gc_thread *registry;        /* rule 1 */
static struct mal_gc_thread *by_tid[BUCKETS]; /* rule 1 */
static uint32_t generation;    /* rule 1 to write, before `registered`; release/acquire */
static uint32_t leaving_count; /* rule 1 */
static uint32_t registered;    /* rule 1 to write; release/acquire */
static struct mal_pool pool = MAL_POOL_INIT(sizeof(struct mal_gc_thread), MAL_META_OTHER);
static struct mal_table meeting_table;                  /* stopping thread */
static uint32_t meeting_count;                          /* rule 3 */
static void (*exit_hook)(struct mal_gc_thread *thread); /* constant once set */

static struct mal_gc_thread **bucket_of(pid_t tid) {
    return &by_tid[(uint32_t)tid % BUCKETS];
}

static struct mal_gc_thread *find_locked(pid_t tid) {
    struct mal_gc_thread *thread = *bucket_of(tid);
    while (thread && thread->tid != tid)
        thread = thread->next_of_tid;
    return thread;
}

static void link_locked(struct mal_gc_thread *thread) {
    thread->next = registry;
    thread->previous = NULL;
    if (registry)
        registry->previous = thread;
    registry = thread;
    thread->next_of_tid = *bucket_of(thread->tid);
    *bucket_of(thread->tid) = thread;
    mal_store_release(&generation, generation + 1);
    mal_store_release(&registered, registered + 1);
}

/* A leaving thread that comes back, or whose id another one has got. */
static void revive_locked(struct mal_gc_thread *thread) {
    thread->leaving = false;
    thread->exit_rounds = 0;
    leaving_count--;
    mal_store_release(&generation, generation + 1);
    mal_store_release(&registered, registered + 1);
}

static void unlink_locked(struct mal_gc_thread *thread) {
    struct mal_gc_thread **at = bucket_of(thread->tid);
    while (*at != thread)
        at = &(*at)->next_of_tid;
    *at = thread->next_of_tid;
    if (thread->previous)
        thread->previous->next = thread->next;
    else
        registry = thread->next;
    if (thread->next)
        thread->next->previous = thread->previous;
    if (thread->leaving)
        leaving_count--;
    else
        mal_store_release(&registered, registered - 1);
    thread->tid = 0;
}

static struct mal_gc_thread *make_locked(pid_t tid) {
    struct mal_gc_thread *thread = mal_pool_take(&pool);
    if (!thread)
        return NULL;
    memset(thread, 0, sizeof *thread);
    thread->tid = tid;
    link_locked(thread);
    return thread;
}

static void run_exit_hook(struct mal_gc_thread *thread) {
    if (exit_hook)
        exit_hook(thread);
}

void mal_gc_thread_on_exit(void (*hook)(struct mal_gc_thread *thread)) {
    exit_hook = hook;
}

/* Without stops nobody else drops those that are gone. */
static void drop_gone_locked(void) {
    struct mal_gc_thread *next;
    for (struct mal_gc_thread *thread = registry; thread; thread = next) {
        next = thread->next;
        if (!thread->leaving || mal_task_signal(thread->tid, 0) != -ESRCH)
            continue;
        unlink_locked(thread);
        mal_pool_give(&pool, thread);
    }
}

/* The hook first: a stop must find the thread's cache until it is empty. */
void mal_gc_thread_note_leaving(struct mal_gc_thread *thread) {
    run_exit_hook(thread);
    mal_lock(&registry_lock);
    if (leaving_count >= LEAVING_MOST)
        drop_gone_locked();
    thread->leaving = true;
    thread->left_ns = mal_clock_mono_ns();
    leaving_count++;
    mal_store_release(&registered, registered - 1);
    mal_gc_self = NULL;
    mal_unlock(&registry_lock);
}

void mal_gc_thread_drop(struct mal_gc_thread *thread) {
    run_exit_hook(thread);
    mal_lock(&registry_lock);
    unlink_locked(thread);
    mal_pool_give(&pool, thread);
    mal_gc_self = NULL;
    mal_unlock(&registry_lock);
}

/* The calling thread's record may be that of another one which had its id before and ended without
 * a word: only the cache of that one is left. */
static void begin_anew(struct mal_gc_thread *thread, uintptr_t thread_pointer) {
    thread->stack_low = thread->stack_high = 0;
    thread->critical = NULL;
    thread->thread_pointer = thread_pointer;
    thread->blocking_depth = thread->exit_rounds = 0;
    thread->seen_table = NULL;
    mal_store_seq_cst(&thread->state, (uint32_t)MAL_GC_RUNNING);
}

static struct mal_gc_thread *find_own_locked(pid_t tid) {
    struct mal_gc_thread *thread = find_locked(tid);
    if (!thread)
        return make_locked(tid);
    if (thread->leaving)
        revive_locked(thread);
    begin_anew(thread, mal_thread_pointer());
    return thread;
}

struct mal_gc_thread *mal_gc_thread_take_record(uintptr_t stack_low, uintptr_t stack_high) {
    mal_lock(&registry_lock);
    struct mal_gc_thread *thread = mal_gc_self ? mal_gc_self : find_own_locked(gettid());
    if (thread) {
        thread->stack_low = stack_low;
        thread->stack_high = stack_high;
        thread->thread_pointer = mal_thread_pointer();
        thread->critical = &mal_critical;
        mal_gc_self = thread;
    }
    mal_unlock(&registry_lock);
    return thread;
}

void mal_gc_thread_each(void (*visit)(struct mal_gc_thread *thread, void *context), void *context) {
    mal_lock(&registry_lock);
    for (struct mal_gc_thread *thread = registry; thread; thread = thread->next)
        if (!thread->leaving)
            visit(thread, context);
    mal_unlock(&registry_lock);
}

uint32_t mal_gc_thread_count(void) {
    return mal_load_acquire(&registered);
}

uint32_t mal_gc_thread_generation(void) {
    return mal_load_acquire(&generation);
}

void mal_gc_thread_sift(bool (*visit)(struct mal_gc_thread *thread, void *context), void *context) {
    struct mal_gc_thread *dropped = NULL;
    struct mal_gc_thread *next;
    mal_lock(&registry_lock);
    for (struct mal_gc_thread *thread = registry; thread; thread = next) {
        next = thread->next;
        if (!visit(thread, context))
            continue;
        unlink_locked(thread);
        thread->next = dropped;
        dropped = thread;
    }
    mal_unlock(&registry_lock);
    for (; dropped; dropped = next) {
        next = dropped->next;
        if (!dropped->leaving)
            run_exit_hook(dropped);
        mal_lock(&registry_lock);
        mal_pool_give(&pool, dropped);
        mal_unlock(&registry_lock);
    }
}

static bool note_meeting(struct mal_gc_thread *thread) {
    uint32_t at = meeting_count;
    if (!meeting_table.base &&
        mal_table_reserve(&meeting_table, MEETINGS_MAX * sizeof(struct meeting), MAL_META_OTHER) !=
            0)
        return false;
    if (at == MEETINGS_MAX ||
        mal_table_commit(&meeting_table, (at + 1) * sizeof(struct meeting)) != 0)
        return false;
    ((struct meeting *)(void *)meeting_table.base)[at] = (struct meeting){thread->tid, thread};
    mal_store_release(&meeting_count, at + 1);
    return true;
}

bool mal_gc_thread_is_known(pid_t tid) {
    mal_lock(&registry_lock);
    bool known = find_locked(tid) != NULL;
    mal_unlock(&registry_lock);
    return known;
}

enum mal_gc_meeting mal_gc_thread_meet(pid_t tid) {
    enum mal_gc_meeting met = MAL_GC_MET;
    mal_lock(&registry_lock);
    if (!find_locked(tid)) {
        struct mal_gc_thread *thread = make_locked(tid);
        met = thread ? MAL_GC_ADOPTED : MAL_GC_UNMET;
        if (thread && !note_meeting(thread)) {
            unlink_locked(thread);
            mal_pool_give(&pool, thread);
            met = MAL_GC_UNMET;
        }
    }
    mal_unlock(&registry_lock);
    return met;
}

void mal_gc_thread_introduce(struct mal_gc_thread *thread) {
    note_meeting(thread);
}

/* It claims the record in its handler, or when it registers. */
void mal_gc_thread_replace(struct mal_gc_thread *thread) {
    revive_locked(thread);
    begin_anew(thread, 0);
}

struct mal_gc_thread *mal_gc_thread_claim(void) {
    pid_t tid = gettid();
    uint32_t count = mal_load_acquire(&meeting_count); /* before the table, which it publishes */
    const struct meeting *meetings = (const void *)meeting_table.base;
    for (uint32_t i = count; i-- > 0;) {
        if (meetings[i].tid != tid || meetings[i].thread->tid != tid)
            continue;
        begin_anew(meetings[i].thread, mal_thread_pointer());
        meetings[i].thread->critical = &mal_critical;
        mal_gc_self = meetings[i].thread;
        return mal_gc_self;
    }
    return NULL;
}

void mal_gc_thread_end_meetings(void) {
    mal_store_release(&meeting_count, 0u);
}

void mal_gc_threads_before_fork(void) {
    mal_lock(&registry_lock);
}

/* Records of threads that are no more go back to the pool without the hook: what they cached is the
 * business of the child's heap. */
static void forget_others_locked(void) {
    struct mal_gc_thread *self = mal_gc_self;
    struct mal_gc_thread *next;
    for (struct mal_gc_thread *thread = registry; thread; thread = next) {
        next = thread->next;
        if (thread == self)
            continue;
        unlink_locked(thread);
        mal_pool_give(&pool, thread);
    }
    if (!self)
        return;
    unlink_locked(self);
    self->tid = gettid();
    link_locked(self);
}

void mal_gc_threads_after_fork(bool child) {
    if (child)
        forget_others_locked();
    mal_unlock(&registry_lock);
}
