/* SPDX-License-Identifier: Apache-2.0
 *
 *     replaced SEED FOLDER      FOLDER holds libalpha.so and libdelta.so
 *
 * Loads and unloads two libraries of the same shape in turn, so that each often lies where the
 * other one was and its functions return to the same addresses; another thread and forked children
 * do the same beside it. Says what was allocated through which:
 *
 *     NAME ALLOCATED LIVE       objects, of this process
 *     moved N                   how often a library lay where the other one had been
 *     ready
 *
 * and ends when its input does. See replaced.py.
 */
#include "support/program.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define ROUNDS 200
#define KEPT 64

static const char *const names[] = {"alpha", "delta"};
static const char *folder;
static atomic_ulong allocated[2], live[2];
static atomic_ulong moved;
static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;
static uintptr_t last_place[2];

static void *open_library(unsigned which) {
    char path[4096];
    snprintf(path, sizeof path, "%s/lib%s.so", folder, names[which]);
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        fprintf(stderr, "%s\n", dlerror());
        exit(1);
    }
    return library;
}

struct kept {
    void *object;
    unsigned which;
};

static void swap(struct kept *kept, void *object, unsigned which) {
    if (kept->object)
        atomic_fetch_sub(&live[kept->which], 1);
    free(kept->object);
    *kept = (struct kept){object, which};
}

static void use(void *library, unsigned which, struct kept *kept, uint64_t *random) {
    void *(*allocate)(size_t) = (void *(*)(size_t))dlsym(library, names[which]);
    atomic_fetch_add(&moved, last_place[!which] == (uintptr_t)allocate);
    last_place[which] = (uintptr_t)allocate;
    for (uint64_t i = random_next(random) % 8; i > 0; i--) {
        void *object = allocate(3000 + random_next(random) % 8 * 1000);
        atomic_fetch_add(&allocated[which], 1);
        atomic_fetch_add(&live[which], 1);
        swap(&kept[random_next(random) % KEPT], object, which);
    }
}

/* The two threads take turns with the place, not with what they keep. */
static void run(uint64_t random, unsigned rounds, struct kept *kept) {
    for (unsigned i = 0; i < rounds; i++) {
        unsigned which = random_next(&random) % 2;
        pthread_mutex_lock(&turn);
        void *library = open_library(which);
        use(library, which, kept, &random);
        dlclose(library);
        pthread_mutex_unlock(&turn);
    }
}

static struct kept of_thread[KEPT], of_main[KEPT];

static void *run_in_thread(void *seed) {
    run((uintptr_t)seed ^ 0x5eed, ROUNDS, of_thread);
    return NULL;
}

/* What a child does must not show in its parent. */
static void fork_one(uint64_t seed) {
    pthread_mutex_lock(&turn);
    pid_t child = fork();
    if (child == 0) {
        pthread_mutex_init(&turn, NULL);
        run(seed, 20, of_main);
        _exit(0);
    }
    pthread_mutex_unlock(&turn);
    waitpid(child, NULL, 0);
}

int main(int count, char **arguments) {
    pthread_t thread;
    if (count < 3)
        return 2;
    uint64_t seed = strtoull(arguments[1], NULL, 0) | 1;
    folder = arguments[2];
    if (pthread_create(&thread, NULL, run_in_thread, (void *)(uintptr_t)seed) != 0)
        return 2;
    for (unsigned i = 0; i < 10; i++) {
        run(seed + i, ROUNDS / 10, of_main);
        fork_one(seed ^ i << 8);
    }
    pthread_join(thread, NULL);
    for (unsigned i = 0; i < 2; i++)
        printf("%s %lu %lu\n", names[i], atomic_load(&allocated[i]), atomic_load(&live[i]));
    printf("moved %lu\nready\n", atomic_load(&moved));
    fflush(stdout);
    return getchar() == 'x';
}
