/* SPDX-License-Identifier: Apache-2.0
 *
 * A program of the collected heap as it is linked: with libmallard-gc.so.
 *
 *     first    the first object of a thread that is in the registry before there is a heap
 *     exec     exec while another thread collects all the time: the next program lives
 *     vfork    a child of vfork fails to exec, and then does: its parent is stopped and scanned
 *     region   threads that end inside a blocking region
 *     jump     siglongjmp out of a waiting call, at any line of its wrapper
 */
#include "mallard/gc.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CHILDREN 60
#define PROGRAM "/proc/self/exe"

static unsigned passed, failed;
static _Atomic(unsigned) collections;
static _Atomic(bool) ending;

static void judge(bool good, const char *what) {
    printf("%s %s\n", good ? "ok" : "FAIL", what);
    fflush(stdout);
    *(good ? &passed : &failed) += 1;
}

static void *collect(void *unused) {
    (void)unused;
    while (!ending) {
        mallard_gc_collect();
        collections++;
    }
    return NULL;
}

static void test_first(void) {
    unsigned char *object = mallard_gc_alloc(100, NULL);
    judge(object && object[99] == 0 && mallard_gc_size(object) >= 100,
          "the first object of a registered thread");
}

/* ---- exec ---- */

static void run_next(int way) {
    char *arguments[] = {"next", "--next", NULL};
    char *none[] = {NULL};
    if (way % 4 == 0)
        execv(PROGRAM, arguments);
    if (way % 4 == 1)
        execl(PROGRAM, "next", "--next", (char *)NULL);
    if (way % 4 == 2)
        execvp(PROGRAM, arguments);
    execle(PROGRAM, "next", "--next", (char *)NULL, environ);
    execve(PROGRAM, arguments, none);
}

/* Does not sleep before: a call that sleeps would let the signal in. */
static void collect_and_exec(int way) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, collect, NULL) != 0)
        _exit(2);
    while (collections < 2 + (unsigned)way % 5)
        ;
    run_next(way);
    _exit(3);
}

static void test_exec(void) {
    int bad = 0;
    for (int i = 0; i < CHILDREN; i++) {
        int status = 0;
        pid_t child = fork();
        if (child == 0)
            collect_and_exec(i);
        if (waitpid(child, &status, 0) != child || status != 0)
            bad++;
    }
    judge(bad == 0, "exec while another thread collects");
}

/* ---- vfork ---- */

struct node {
    struct node *next;
    uint64_t number;
};
MALLARD_GC_TYPE(node_type, struct node, next);

static bool spawn(void) {
    static char *arguments[] = {"next", "--next", NULL};
    int status = -1;
    pid_t child = vfork();
    if (child == 0) {
        execv("/no such program", arguments);
        execv(PROGRAM, arguments);
        _exit(4);
    }
    return waitpid(child, &status, 0) == child && status == 0;
}

/* The list is on the stack alone. */
static void test_vfork(void) {
    pthread_t thread;
    bool good = pthread_create(&thread, NULL, collect, NULL) == 0;
    struct node *list = NULL;
    for (uint64_t i = 0; i < 40 && good; i++) {
        good = spawn();
        for (uint64_t k = 0; k < 100; k++) {
            struct node *node = mallard_gc_new(&node_type);
            *node = (struct node){list, i * 100 + k};
            list = node;
        }
        unsigned seen = collections;
        while (collections < seen + 2)
            ;
        uint64_t expected = i * 100 + 99;
        for (struct node *node = list; node && good; node = node->next)
            good = node->number == expected--;
    }
    ending = true;
    pthread_join(thread, NULL);
    ending = false;
    judge(good, "a parent of vfork's children is scanned like any thread");
}

/* ---- regions that do not end ---- */

static void *end_inside(void *depth) {
    mallard_gc_new(&node_type);
    for (intptr_t i = 0; i < (intptr_t)depth; i++)
        mallard_gc_blocking_begin();
    pthread_exit(NULL);
}

static void test_region(void) {
    for (intptr_t i = 0; i < 200; i++) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, end_inside, (void *)(i % 3)) == 0)
            pthread_join(thread, NULL);
        if (i % 10 == 0)
            mallard_gc_collect();
    }
    judge(true, "threads that end inside a region");
}

/* ---- jumps ---- */

#define JUMPS 1500

static sigjmp_buf back;
static volatile sig_atomic_t armed;
static _Atomic(unsigned) jumps;

static void jump(int number) {
    (void)number;
    if (!armed)
        return;
    armed = 0;
    jumps++;
    siglongjmp(back, 1);
}

/* A thread that counted as asleep after a jump would lose what is on its stack. */
static void *sleep_and_jump(void *ret_good) {
    bool *good = ret_good;
    while (!ending) {
        struct node *volatile list = NULL;
        struct timespec time = {0, 200000};
        if (sigsetjmp(back, 1) == 0) {
            armed = 1;
            nanosleep(&time, NULL);
            armed = 0;
        }
        for (uint64_t i = 0; i < 300; i++) {
            struct node *node = mallard_gc_new(&node_type);
            *node = (struct node){list, i};
            list = node;
        }
        uint64_t expected = 299;
        for (struct node *node = list; node; node = node->next)
            *good &= node->number == expected--;
    }
    return NULL;
}

static void test_jump(void) {
    pthread_t collector, jumper;
    bool good = true;
    struct sigaction action = {.sa_handler = jump};
    sigaction(SIGUSR1, &action, NULL);
    if (pthread_create(&collector, NULL, collect, NULL) != 0 ||
        pthread_create(&jumper, NULL, sleep_and_jump, &good) != 0)
        exit(1);
    while (jumps < JUMPS)
        pthread_kill(jumper, SIGUSR1);
    ending = true;
    pthread_join(jumper, NULL);
    pthread_join(collector, NULL);
    ending = false;
    judge(good, "jumps out of a waiting call");
}

int main(int count, char **arguments) {
    alarm(120);
    if (count > 1 && strcmp(arguments[1], "--next") == 0)
        return 0;
    test_first();
    test_exec();
    test_vfork();
    test_region();
    test_jump();
    printf("%u passed, %u failed\n", passed, failed);
    return failed != 0;
}
