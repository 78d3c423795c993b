/* SPDX-License-Identifier: Apache-2.0
 *
 * Threads of our own.
 *
 * Signals are blocked in the creating thread around pthread_create, so that the new thread never
 * has one unblocked, not even for an instant, and the program's handlers never run on it. The
 * stack is small but above what any libc needs for its own static thread data.
 *
 * The creating thread may be one of libc's, which waits with a signal blocked that libc keeps to
 * itself: the one that starts the functions of timers (SIGEV_THREAD). libc's pthread_sigmask takes
 * such signals out of a mask that it is to set, and the next timer would end the process. So they
 * are only added to, and given back by the system call.
 *
 * SYNCHRONIZATION: the table of our threads' ids is taken by compare-and-swap; what is remembered
 * of CPUs belongs to the background thread.
 */
#include "os/thread.h"

#include "base/atomic.h"
#include "base/attr.h"
#include "os/kernel.h"
#include "os/percpu.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define STACK_BYTES (256u << 10)
#define KERNEL_MASK_BYTES (64 / 8) /* of its 64 signals; the beginning of libc's sigset_t */

/* libc's cpu_set_t ends at 1024 CPUs, and a kernel that knows more refuses it. */
#define CPU_WORDS (MAL_PERCPU_CPUS_MAX / 64)
static uint64_t remembered_cpus[CPU_WORDS]; /* background thread only */
static long remembered_bytes;               /* of them, as the kernel's own; the same */

#define OWN_MOST 62u               /* more than a process ever has; others count as the program's */
static int32_t own_tids[OWN_MOST]; /* 0: free; owner by compare-and-swap; atomic */
static uint32_t own_count;         /* entries in use; relaxed */
static MAL_THREAD int32_t *own_tid_at; /* the calling thread's entry */

static MAL_THREAD bool
    starting_own; /* libmallard-gc.so must leave this thread and its mask alone */

bool mal_thread_is_starting_own(void) {
    return starting_own;
}

void mal_thread_note_own(void) {
    for (unsigned i = 0; i < OWN_MOST && !own_tid_at; i++) {
        int32_t none = 0;
        if (!mal_cas_acquire(&own_tids[i], &none, gettid()))
            continue;
        own_tid_at = &own_tids[i];
        mal_add_relaxed(&own_count, 1);
    }
}

void mal_thread_forget_own(void) {
    if (!own_tid_at)
        return;
    mal_store_release(own_tid_at, 0);
    own_tid_at = NULL;
    mal_sub_relaxed(&own_count, 1);
}

bool mal_thread_is_noted_own(void) {
    return own_tid_at != NULL;
}

bool mal_thread_is_own(int tid) {
    for (unsigned i = 0; i < OWN_MOST; i++)
        if (mal_load_acquire(&own_tids[i]) == tid)
            return true;
    return false;
}

unsigned mal_thread_own_count(void) {
    return mal_load_relaxed(&own_count);
}

void mal_thread_forget_all_own(void) {
    for (unsigned i = 0; i < OWN_MOST; i++)
        mal_store_relaxed(&own_tids[i], 0);
    mal_store_relaxed(&own_count, 0u);
    own_tid_at = NULL;
}

static void *run(void *argument) {
    const struct mal_own_thread *thread = argument;
    prctl(PR_SET_NAME, (unsigned long)thread->name, 0, 0, 0);
    mal_thread_note_own();
    thread->body();
    mal_thread_forget_own();
    return NULL;
}

/* As it was, with the signals that libc keeps to itself. */
static void restore_mask(const sigset_t *mask) {
    mal_syscall(SYS_rt_sigprocmask, SIG_SETMASK, mask, NULL, KERNEL_MASK_BYTES);
}

static int create(const pthread_attr_t *attributes, const struct mal_own_thread *what) {
    sigset_t all;
    sigset_t before;
    pthread_t thread;
    sigfillset(&all);
    starting_own = true;
    pthread_sigmask(SIG_BLOCK, &all, &before);
    int error = pthread_create(&thread, attributes, run, (void *)(uintptr_t)what);
    restore_mask(&before);
    starting_own = false;
    return -error;
}

int mal_thread_start(const struct mal_own_thread *what) {
    int saved_errno = errno;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, what->stack_bytes ? what->stack_bytes : STACK_BYTES);
    int error = create(&attributes, what);
    pthread_attr_destroy(&attributes);
    errno = saved_errno;
    return error;
}

int mal_thread_move_to(unsigned cpu) {
    uint64_t one[CPU_WORDS] = {0};
    if (cpu >= MAL_PERCPU_CPUS_MAX)
        return -EINVAL;
    one[cpu / 64] = 1ull << cpu % 64;
    return (int)mal_syscall(SYS_sched_setaffinity, 0, sizeof one, one);
}

void mal_thread_remember_cpus(void) {
    remembered_bytes =
        mal_syscall(SYS_sched_getaffinity, 0, sizeof remembered_cpus, remembered_cpus);
}

void mal_thread_restore_cpus(void) {
    if (remembered_bytes > 0)
        mal_syscall(SYS_sched_setaffinity, 0, (size_t)remembered_bytes, remembered_cpus);
}

int mal_thread_kernel_id(void) {
    return (int)mal_syscall(SYS_gettid);
}

int mal_thread_forbid_cancel(void) {
    int before;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before);
    return before;
}

void mal_thread_restore_cancel(int before) {
    pthread_setcancelstate(before, NULL);
}
