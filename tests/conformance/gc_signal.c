/* SPDX-License-Identifier: Apache-2.0
 *
 * A program with a use of its own for real-time signals.
 *
 *     gc_signal SIGNAL WAY      before: a handler before the collector comes up
 *                               after: one afterwards
 *                               behind: one by a system call of its own, then collections
 *
 * Prints errno of what installed the handler, and how often the handler ran for one signal raised.
 */
#include "mallard/gc.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static atomic_int handled, done;

static void handle(int number) {
    (void)number;
    atomic_fetch_add(&handled, 1);
}

static int install(int number) {
    struct sigaction action = {.sa_handler = handle, .sa_flags = SA_RESTART};
    return sigaction(number, &action, NULL) == 0 ? 0 : errno;
}

/* As the kernel has it: the handler of another signal, which libc installed, with all that libc
 * adds. */
static int install_behind(int number) {
    unsigned long action[16] = {0};
    if (install(SIGUSR1) != 0 || syscall(SYS_rt_sigaction, SIGUSR1, NULL, action, 8l) != 0 ||
        syscall(SYS_rt_sigaction, number, action, NULL, 8l) != 0)
        return errno;
    return 0;
}

static void *spin(void *unused) {
    while (!atomic_load(&done))
        continue;
    return unused;
}

static void collect_beside_a_thread(void) {
    pthread_t thread;
    pthread_create(&thread, NULL, spin, NULL);
    for (int i = 0; i < 5; i++) {
        mallard_gc_alloc(1000, NULL);
        mallard_gc_collect();
    }
    atomic_store(&done, 1);
    pthread_join(thread, NULL);
}

int main(int count, char **argument) {
    int number = count > 1 ? atoi(argument[1]) : 40, error = 0;
    const char *way = count > 2 ? argument[2] : "after";
    if (strcmp(way, "before") == 0)
        error = install(number);
    mallard_gc_collect();
    if (strcmp(way, "after") == 0)
        error = install(number);
    if (strcmp(way, "behind") == 0)
        error = install_behind(number);
    collect_beside_a_thread();
    int by_collections = atomic_load(&handled);
    if (error == 0 && strcmp(way, "behind") != 0)
        raise(number);
    printf("errno=%d collections=%d raised=%d\n", error, by_collections,
           atomic_load(&handled) - by_collections);
    return 0;
}
