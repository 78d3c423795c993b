/* SPDX-License-Identifier: Apache-2.0
 *
 * Programs in adverse conditions; faults.py runs them under LD_PRELOAD and makes the conditions.
 *
 *     works            allocates every kind of thing and says "works"; "refused" when the very
 * first malloc failed with ENOMEM closed FILE      closes every descriptor, goes on, and finds
 * descriptor 0 free for FILE exhaust          allocates until nothing is left, frees everything,
 * then behaves as works churn SEED       allocates in several threads for ever threads COUNT    as
 * many threads, one generation after the other, each allocating and freeing fork, vfork, daemon
 * FILE, rawfork
 *
 * FAIL_MAP=n makes the n-th anonymous mmap of the process fail, FAIL_MAP_FROM=n every one from the
 * n-th on: the program's own mmap takes the place of libc's. Exit status 0 is success.
 */
#include "support/seeded.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- failing mappings ---- */

static long wanted_failure(const char *name) {
    const char *value = environ ? getenv(name) : NULL;
    return value ? atol(value) : 0;
}

void *mmap(void *address, size_t bytes, int protection, int flags, int fd, off_t offset) {
    static long count;
    if (flags & MAP_ANONYMOUS) {
        long nth = __atomic_add_fetch(&count, 1, __ATOMIC_RELAXED);
        long once = wanted_failure("FAIL_MAP"), from = wanted_failure("FAIL_MAP_FROM");
        if (nth == once || (from && nth >= from)) {
            errno = ENOMEM;
            return MAP_FAILED;
        }
    }
    return (void *)syscall(SYS_mmap, address, bytes, protection, flags, fd, offset);
}

/* ---- work ---- */

static void say(const char *text) {
    if (write(STDOUT_FILENO, text, strlen(text)) < 0)
        _exit(9);
}

static size_t pick_size(uint64_t *random) {
    uint64_t draw = seeded_next(random);
    unsigned bits = draw % 32 == 0 ? 20 : draw % 8 == 0 ? 16 : 9;
    return (draw >> 8) & ((1u << bits) - 1);
}

struct block {
    unsigned char *bytes;
    size_t count;
};

/* One step of a program that checks what it stored. False when something was overwritten, or was
 * refused with another errno than ENOMEM. */
static bool step(struct block *block, uint64_t *random) {
    if (block->bytes) {
        unsigned char first = block->bytes[0], last = block->bytes[block->count - 1];
        unsigned char wanted = (unsigned char)block->count;
        free(block->bytes);
        block->bytes = NULL;
        return first == wanted && last == wanted;
    }
    block->count = 1 + pick_size(random);
    errno = 0;
    block->bytes = malloc(block->count);
    if (!block->bytes)
        return errno == ENOMEM;
    block->bytes[0] = block->bytes[block->count - 1] = (unsigned char)block->count;
    return true;
}

static bool work(uint64_t seed, long steps) {
    struct block blocks[200] = {{0}};
    uint64_t random = seed;
    bool good = true;
    for (long i = 0; i < steps; i++)
        good &= step(&blocks[seeded_next(&random) % 200], &random);
    for (int i = 0; i < 200; i++)
        free(blocks[i].bytes);
    return good;
}

static int works(void) {
    errno = 0;
    void *first = malloc(100);
    if (!first) {
        say("refused\n");
        return errno != ENOMEM;
    }
    free(first);
    if (!work(1, 20000))
        return 1;
    say("works\n");
    return 0;
}

/* ---- conditions ---- */

static int closed(const char *path) {
    char text[16] = {0};
    closefrom(0);
    bool good = work(2, 20000);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    good &= fd == 0 && write(fd, "mine", 4) == 4;
    good &= work(3, 20000);
    good &= pread(fd, text, sizeof text, 0) == 4 && strcmp(text, "mine") == 0;
    return !good;
}

static int exhaust(void) {
    static void *held[1 << 18];
    static const size_t sizes[] = {16u << 20, 1u << 20, 100000, 5000, 100};
    size_t count = 0;
    for (size_t i = 0; i < 5; i++)
        for (; count < 1 << 18; count++) {
            errno = 0;
            held[count] = malloc(sizes[i]);
            if (!held[count] && errno != ENOMEM)
                return 1;
            if (!held[count])
                break;
            memset(held[count], 1, sizes[i] < 100 ? sizes[i] : 100);
        }
    while (count-- > 0)
        free(held[count]);
    return works();
}

static void *churn(void *argument) {
    uint64_t seed = (uint64_t)(uintptr_t)argument;
    while (work(seed++, 100000))
        ;
    abort();
}

static void *short_life(void *argument) {
    return (void *)(uintptr_t)!work((uint64_t)(uintptr_t)argument, 2000);
}

/* Twenty at a time: each generation's caches must serve the next. */
static int threads(long count) {
    char byte;
    for (long first = 0; first < count; first += 20) {
        pthread_t thread[20];
        for (long i = 0; i < 20; i++)
            if (pthread_create(&thread[i], NULL, short_life, (void *)(first + i)) != 0)
                return 2;
        for (long i = 0; i < 20; i++) {
            void *wrong;
            pthread_join(thread[i], &wrong);
            if (wrong)
                return 1;
        }
    }
    usleep(1500000); /* the next row of statistics */
    say("ready\n");
    return read(STDIN_FILENO, &byte, 1) < 0;
}

static int end_of(pid_t child) {
    int status;
    if (child < 0 || waitpid(child, &status, 0) != child)
        return 100;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* Children of children, each freeing what its parent allocated, while other threads allocate. */
static int descend(int depth) {
    void *inherited[100];
    for (int i = 0; i < 100; i++)
        inherited[i] = malloc((size_t)i * 4000);
    pid_t child = fork();
    if (child == 0) {
        for (int i = 0; i < 100; i++)
            free(inherited[i]);
        _exit(!work((uint64_t)depth, 5000) || (depth > 0 && descend(depth - 1)));
    }
    for (int i = 0; i < 100; i++)
        free(inherited[i]);
    return end_of(child);
}

static int forks(void) {
    pthread_t thread;
    for (uintptr_t i = 0; i < 3; i++)
        pthread_create(&thread, NULL, churn, (void *)i);
    for (int i = 0; i < 20; i++)
        if (descend(3) != 0)
            return 1;
    return works();
}

/* Each child says "works" too. */
static int vforks(const char *self) {
    for (int i = 0; i < 50; i++) {
        pid_t child = vfork();
        if (child == 0) {
            execl(self, self, "works", (char *)NULL);
            _exit(127);
        }
        if (end_of(child) != 0 || !work((uint64_t)i, 1000))
            return 1;
    }
    return works();
}

static int daemonise(const char *path) {
    if (fork() > 0)
        exit(works());
    setsid();
    if (fork() > 0)
        _exit(0);
    closefrom(0);
    if (chdir("/") != 0 || !work(5, 20000))
        return 1;
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    return write(fd, "works\n", 6) != 6;
}

/* Past libc: no handler of fork runs. Objects of 77 bytes are the child's alone. */
static int raw_fork(void) {
    char byte;
    free(malloc(10));
    pid_t child = (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);
    if (child == 0) {
        for (int i = 0; i < 10000; i++)
            free(malloc(77));
        syscall(SYS_exit_group, !work(6, 5000));
    }
    if (end_of(child) != 0)
        return 1;
    int result = works();
    say("ready\n");
    return result || read(STDIN_FILENO, &byte, 1) < 0;
}

int main(int count, char **arguments) {
    const char *role = count > 1 ? arguments[1] : "works";
    const char *argument = count > 2 ? arguments[2] : "";
    if (strcmp(role, "closed") == 0)
        return closed(argument);
    if (strcmp(role, "exhaust") == 0)
        return exhaust();
    if (strcmp(role, "threads") == 0)
        return threads(atol(argument));
    if (strcmp(role, "fork") == 0)
        return forks();
    if (strcmp(role, "vfork") == 0)
        return vforks(arguments[0]);
    if (strcmp(role, "daemon") == 0)
        return daemonise(argument);
    if (strcmp(role, "rawfork") == 0)
        return raw_fork();
    if (strcmp(role, "churn") == 0) {
        pthread_t thread;
        for (uintptr_t i = 0; i < 2; i++)
            pthread_create(&thread, NULL, churn, (void *)(strtoull(argument, NULL, 0) * 7 + i));
        churn((void *)99);
    }
    return works();
}
