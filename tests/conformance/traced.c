/* SPDX-License-Identifier: Apache-2.0
 *
 * A program whose every object is known: it says on standard output what allocfreetrace must say on
 * standard error, one line an event, "alloc|free ADDRESS BYTES THREAD".
 *
 *     traced THREADS ROUNDS
 *
 * Every way to get an object is among them: malloc, calloc, realloc in its kinds, memalign, large
 * ones, operator new if there is one; in threads, in a thread whose objects another one frees, in a
 * forked child, and in a signal handler.
 */
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { THREADS_MAX = 16 };
static long rounds;
static void *handed_over[THREADS_MAX];

/* Past stdio, which would allocate. */
static void say(const char *event, const void *object, size_t bytes) {
    char line[80];
    int length = snprintf(line, sizeof line, "%s %p 0x%lx %ld\n", event, object,
                          (unsigned long)bytes, (long)syscall(SYS_gettid));
    if (write(STDOUT_FILENO, line, (size_t)length) != length)
        _exit(3);
}

static void *born(void *object) {
    if (!object)
        _exit(4);
    say("alloc", object, malloc_usable_size(object));
    return object;
}

static void drop(void *object) {
    say("free", object, malloc_usable_size(object));
    free(object);
    __asm__ volatile("" ::: "memory"); /* no tail call: the caller is on the stack */
}

/* What a realloc does shows in the address and the size of what comes of it. */
static void *resize(void *object, size_t bytes) {
    uintptr_t before = (uintptr_t)object;
    size_t had = malloc_usable_size(object);
    void *after = realloc(object, bytes);
    if (!after)
        _exit(4);
    if ((uintptr_t)after == before && malloc_usable_size(after) == had)
        return after;
    born(after);
    say("free", (void *)before, had);
    return after;
}

static void use_all_kinds(long round) {
    size_t bytes = 1 + (size_t)round * 613 % 3000;
    drop(born(malloc(bytes)));
    drop(born(calloc(3, bytes)));
    drop(born(aligned_alloc(128, bytes)));
    drop(born(aligned_alloc(65536, bytes)));
    drop(born(malloc(bytes * 40)));
    drop(born(malloc(300000 + bytes)));
    drop(born(calloc(1, 300000 + bytes)));
    void *object = born(malloc(100));
    object = resize(object, 90);
    object = resize(object, 2000);
    object = resize(object, 400000);
    object = resize(object, 900000);
    drop(resize(object, 600000));
}

static void *work(void *argument) {
    void **place = argument;
    for (long round = 0; round < rounds; round++)
        use_all_kinds(round);
    *place = born(malloc(777));
    return NULL;
}

static void on_signal(int number) {
    (void)number;
    drop(born(malloc(333)));
}

static void run_threads(long count) {
    pthread_t thread[THREADS_MAX];
    for (long i = 0; i < count; i++)
        if (pthread_create(&thread[i], NULL, work, &handed_over[i]) != 0)
            _exit(5);
    for (long i = 0; i < count; i++) {
        pthread_join(thread[i], NULL);
        drop(handed_over[i]);
    }
}

static void run_child(void *inherited) {
    pid_t child = fork();
    int status = 1;
    if (child == 0) {
        use_all_kinds(1);
        drop(inherited);
        _exit(0);
    }
    if (child < 0 || waitpid(child, &status, 0) != child || status != 0)
        _exit(6);
    drop(inherited);
}

int main(int argc, char **argv) {
    long threads = argc > 1 ? atol(argv[1]) : 4;
    rounds = argc > 2 ? atol(argv[2]) : 3;
    if (threads < 1 || threads > THREADS_MAX)
        return 2;
    use_all_kinds(0);
    signal(SIGUSR1, on_signal);
    raise(SIGUSR1);
    run_threads(threads);
    run_child(born(malloc(555)));
    return 0;
}
