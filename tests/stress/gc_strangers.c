/* SPDX-License-Identifier: Apache-2.0
 *
 * Threads that the collector only learns of from the kernel, without libmallard-gc.so: they never
 * allocate from the collected heap, yet hold its objects.
 *
 *     id       such a thread ends, and another one gets its id before the next collection
 *     up       the collector comes up in one thread while another one forks; parent and child then
 *              use it
 */
#include "mallard/gc.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define ROUNDS 5
#define TRIES 100
#define SECONDS_MOST 60

static unsigned passed, failed;
static _Atomic(bool) ending;
static _Atomic(pid_t) stranger;
static _Atomic(uintptr_t) offered; /* hidden by a flip of all bits */
static _Atomic(uint64_t) found;

static void judge(bool good, const char *what) {
    printf("%s %s\n", good ? "ok" : "FAIL", what);
    fflush(stdout);
    *(good ? &passed : &failed) += 1;
}

/* Holds an object on its stack alone, or in a register. */
static void *hold(void *unused) {
    (void)unused;
    uint64_t *object = (uint64_t *)~offered;
    offered = 0;
    stranger = gettid();
    while (!ending)
        ;
    found = *object;
    mallard_gc_keepalive(object);
    return NULL;
}

static __attribute__((noinline)) void offer(uint64_t number) {
    uint64_t *object = mallard_gc_alloc_noscan(4096);
    *object = number;
    offered = ~(uintptr_t)object;
}

/* Of a stack on which the caller's callees have left pointers. */
static __attribute__((noinline)) void wipe(void) {
    volatile char dead[4096];
    memset((char *)dead, 0, sizeof dead);
}

static pthread_t start(uint64_t number) {
    pthread_t thread;
    ending = false;
    stranger = 0;
    offer(number);
    wipe();
    if (pthread_create(&thread, NULL, hold, NULL) != 0)
        exit(1);
    while (!stranger)
        ;
    return thread;
}

static void end(pthread_t thread) {
    ending = true;
    pthread_join(thread, NULL);
}

/* The kernel gives the next id to the next thread; false where it may not be told so. */
static bool ask_for_id(pid_t id) {
    char text[16];
    int fd = open("/proc/sys/kernel/ns_last_pid", O_WRONLY | O_CLOEXEC);
    int bytes = snprintf(text, sizeof text, "%d", id - 1);
    bool good = fd >= 0 && write(fd, text, (size_t)bytes) == bytes;
    if (fd >= 0)
        close(fd);
    return good;
}

/* 1 when it came to it, 0 when it did not, -1 when it cannot. */
static int reuse_id(pid_t id, uint64_t number, pthread_t *ret_thread) {
    for (int i = 0; i < TRIES; i++) {
        if (!ask_for_id(id))
            return -1;
        *ret_thread = start(number);
        if (stranger == id)
            return 1;
        end(*ret_thread);
    }
    return 0;
}

static void test_ids(void) {
    bool good = true;
    int reused = 0;
    for (uint64_t round = 0; round < ROUNDS && reused >= 0; round++) {
        pthread_t thread = start(round);
        pid_t id = stranger;
        mallard_gc_collect();
        end(thread);
        good &= found == round;
        reused = reuse_id(id, round + 1000, &thread);
        if (reused <= 0)
            continue;
        mallard_gc_collect();
        mallard_gc_collect();
        for (int i = 0; i < 1000; i++)
            memset(mallard_gc_alloc_noscan(4096), 0xff, 4096);
        end(thread);
        good &= found == round + 1000;
    }
    judge(good, reused < 0 ? "held by strangers (ids cannot be chosen here)"
                           : "held by a stranger with the id of another one");
}

/* ---- coming up ---- */

#define PROCESSES 30
#define FORKS 8

static _Atomic(unsigned) forks_begun;

static bool use_heap(void) {
    uint64_t *object = mallard_gc_alloc_noscan(64);
    if (!object)
        return false;
    *object = 7;
    mallard_gc_collect();
    return *object == 7;
}

static void *come_up(void *moment) {
    while (forks_begun < 1)
        ;
    for (volatile intptr_t i = 0; i < (intptr_t)moment; i++)
        ;
    return use_heap() ? moment : NULL;
}

static bool ended_well(pid_t process) {
    int status = -1;
    return waitpid(process, &status, 0) == process && status == 0;
}

/* A process in which there is no collector yet; in it, and in each child, all must be well in time.
 */
static void fork_while_coming_up(intptr_t moment) {
    pthread_t thread;
    bool good = pthread_create(&thread, NULL, come_up, (void *)moment) == 0;
    alarm(SECONDS_MOST / 4);
    for (int i = 0; i < FORKS; i++) {
        forks_begun++;
        pid_t child = fork();
        if (child == 0) {
            alarm(SECONDS_MOST / 4);
            _exit(!use_heap());
        }
        good &= ended_well(child);
    }
    void *result;
    pthread_join(thread, &result);
    _exit(!(good && result && use_heap()));
}

static void test_up(void) {
    int bad = 0;
    for (intptr_t i = 0; i < PROCESSES; i++) {
        pid_t process = fork();
        if (process == 0)
            fork_while_coming_up(i * 5000 + 1);
        bad += !ended_well(process);
    }
    judge(bad == 0, "the collector comes up while the program forks");
}

int main(void) {
    alarm(SECONDS_MOST);
    test_up();
    mallard_gc_collect();
    test_ids();
    printf("%u passed, %u failed\n", passed, failed);
    return failed != 0;
}
