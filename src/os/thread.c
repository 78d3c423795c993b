/* SPDX-License-Identifier: Apache-2.0
 *
 * Threads of our own.
 *
 * Signals are blocked in the creating thread around pthread_create, so that the new thread never
 * has one unblocked, not even for an instant, and the program's handlers never run on it. The
 * stack is small but above what any libc needs for its own static thread data.
 */
#include "os/thread.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define STACK_BYTES (256u << 10)

struct start {
    void (*body)(void);
    const char *name;
};

static struct start start_request; /* one thread is started at a time; guarded by the caller */
static cpu_set_t remembered_cpus;  /* background thread only */

static void *run(void *argument) {
    const struct start *start = argument;
    prctl(PR_SET_NAME, (unsigned long)start->name, 0, 0, 0);
    start->body();
    return NULL;
}

static int create(const pthread_attr_t *attributes) {
    sigset_t all;
    sigset_t before;
    pthread_t thread;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&thread, attributes, run, &start_request);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return -error;
}

int mal_thread_start(const char *name, void (*body)(void)) {
    int saved_errno = errno;
    pthread_attr_t attributes;
    start_request = (struct start){body, name};
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    int error = create(&attributes);
    pthread_attr_destroy(&attributes);
    errno = saved_errno;
    return error;
}

int mal_thread_move_to(unsigned cpu) {
    cpu_set_t one;
    if (cpu >= CPU_SETSIZE)
        return -EINVAL;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    return sched_setaffinity(0, sizeof one, &one) == 0 ? 0 : -errno;
}

void mal_thread_remember_cpus(void) {
    sched_getaffinity(0, sizeof remembered_cpus, &remembered_cpus);
}

void mal_thread_restore_cpus(void) {
    sched_setaffinity(0, sizeof remembered_cpus, &remembered_cpus);
}

int mal_thread_kernel_id(void) {
    return (int)syscall(SYS_gettid);
}

int mal_thread_forbid_cancel(void) {
    int before;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before);
    return before;
}

void mal_thread_restore_cancel(int before) {
    pthread_setcancelstate(before, NULL);
}
