/* SPDX-License-Identifier: Apache-2.0
 *
 * Programs that do odd things to their own process; hostile.py runs them under LD_PRELOAD, and
 * without it for what is to be the same.
 *
 *     large PROGRAM ARG…   touches 64 MiB and becomes PROGRAM by exec
 *     waits                allocates for 30 ms, says "ready", and ends at the end of its input
 *     early                has allocated in .preinit_array and in the first constructor
 *     late                 allocates in destructors: of a thread, at exit, of the program; and in a
 *                          signal handler while exit runs
 *     limits               lowers RLIMIT_AS, _DATA, _NOFILE and _STACK below what is in use
 *     locked               mlockall(MCL_FUTURE), then RLIMIT_MEMLOCK of 64 KiB
 *     mdwe                 forbids memory that is both written and executed
 *     personality          READ_IMPLIES_EXEC and no random addresses
 *     cancels              cancels threads in the middle of malloc, 2000 times
 *     fleeting, crowd      100 000 threads one after the other; 10 000 at once
 *     opens LIBRARY        dlopen, dlclose and dlmopen of LIBRARY, beside libc's malloc
 *
 * Each says "works" at its end. Exit status 0 is success, 77 that the kernel does not have it.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#ifndef PR_SET_MDWE
#define PR_SET_MDWE 65
#endif

#define COUNT_OF(array) (sizeof(array) / sizeof(array)[0])

static int says_late; /* the role is "late" */

static int use_heap(void) {
    static const size_t sizes[] = {1, 24, 100, 4000, 40000, 300000, 3000000};
    void *pointer[COUNT_OF(sizes)];
    int good = 1;
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        pointer[i] = malloc(sizes[i]);
        if (pointer[i])
            memset(pointer[i], (int)i, sizes[i]);
    }
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        good &= pointer[i] && ((char *)pointer[i])[sizes[i] - 1] == (char)i;
        free(pointer[i]);
    }
    return good;
}

/* ---- early and late ---- */

static int early_uses;

static void use_early(void) {
    early_uses += use_heap();
}

__attribute__((section(".preinit_array"), used)) static void (*const before_all)(void) = use_early;

__attribute__((constructor(101))) static void first_constructor(void) {
    use_early();
}

static void on_alarm(int signal) {
    (void)signal;
}

__attribute__((destructor(101))) static void last_destructor(void) {
    if (!says_late)
        return;
    for (int i = 0; i < 200; i++) {
        raise(SIGALRM);
        if (!use_heap())
            _exit(3);
    }
    if (write(STDOUT_FILENO, "works\n", 6) != 6)
        _exit(4);
}

static void end_of_thread(void *value) {
    free(value);
    use_heap();
}

static void at_exit(void) {
    use_heap();
}

static void *with_key(void *key) {
    pthread_setspecific(*(pthread_key_t *)key, malloc(100));
    return NULL;
}

static int late(void) {
    pthread_key_t key;
    pthread_t thread;
    says_late = 1;
    signal(SIGALRM, on_alarm);
    atexit(at_exit);
    pthread_key_create(&key, end_of_thread);
    for (int i = 0; i < 100; i++) {
        pthread_create(&thread, NULL, with_key, &key);
        pthread_join(thread, NULL);
    }
    with_key(&key);
    return 0;
}

/* ---- limits, locks, personalities ---- */

static int use_heap_or_be_refused(void) {
    for (int i = 0; i < 44; i++) {
        char *pointer = malloc((size_t)1 << (i % 22));
        if (pointer)
            memset(pointer, i, (size_t)1 << (i % 22));
        free(pointer);
    }
    return 1;
}

static int limits(void) {
    static const int resources[] = {RLIMIT_NOFILE, RLIMIT_STACK, RLIMIT_DATA, RLIMIT_AS};
    int good = use_heap();
    for (size_t i = 0; i < COUNT_OF(resources); i++) {
        struct rlimit old, low = {.rlim_cur = 0};
        getrlimit(resources[i], &old);
        low.rlim_max = old.rlim_max;
        low.rlim_cur = resources[i] == RLIMIT_STACK ? 65536 : 0;
        good &= setrlimit(resources[i], &low) == 0 && use_heap_or_be_refused();
        good &= setrlimit(resources[i], &old) == 0 && use_heap();
    }
    return good;
}

static int locked(void) {
    const struct rlimit low = {65536, 65536};
    if (mlockall(MCL_FUTURE) != 0)
        exit(77);
    return use_heap_or_be_refused() && setrlimit(RLIMIT_MEMLOCK, &low) == 0 &&
           use_heap_or_be_refused();
}

static int without_exec(void) {
    if (prctl(PR_SET_MDWE, 1, 0, 0, 0) != 0)
        exit(77);
    return use_heap();
}

static int odd_personality(void) {
    return personality(READ_IMPLIES_EXEC | ADDR_NO_RANDOMIZE) >= 0 && use_heap();
}

/* ---- threads ---- */

static void *use_for_ever(void *argument) {
    (void)argument;
    pthread_setcanceltype(PTHREAD_CANCEL_DEFERRED, NULL);
    for (;;) {
        use_heap_or_be_refused();
        pthread_testcancel();
    }
    return NULL;
}

static int cancels(void) {
    for (int i = 0; i < 2000; i++) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, use_for_ever, NULL) != 0)
            return 0;
        pthread_cancel(thread);
        pthread_join(thread, NULL);
    }
    return use_heap();
}

static void *use_once(void *argument) {
    free(malloc(100));
    return argument;
}

static int fleeting(void) {
    for (int i = 0; i < 100000; i++) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, use_once, NULL) != 0)
            return 0;
        pthread_join(thread, NULL);
    }
    return use_heap();
}

static void *use_and_wait(void *gate) {
    void *kept = malloc(100);
    pthread_mutex_lock(gate);
    pthread_mutex_unlock(gate);
    free(kept);
    return NULL;
}

static int crowd(void) {
    static pthread_t thread[10000];
    static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
    pthread_attr_t small;
    size_t made = 0;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, (size_t)sysconf(_SC_THREAD_STACK_MIN));
    pthread_mutex_lock(&gate);
    while (made < COUNT_OF(thread) &&
           pthread_create(&thread[made], &small, use_and_wait, &gate) == 0)
        made++;
    pthread_mutex_unlock(&gate);
    for (size_t i = 0; i < made; i++)
        pthread_join(thread[i], NULL);
    return made == COUNT_OF(thread) ? use_heap() : (exit(77), 0);
}

/* ---- the library as a guest ---- */

static int opens(const char *library) {
    void *before = malloc(1000);
    for (int i = 0; i < 3; i++) {
        void *handle = dlopen(library, RTLD_NOW | (i == 1 ? RTLD_GLOBAL : 0));
        void *(*take)(size_t) = handle ? (void *(*)(size_t))dlsym(handle, "malloc") : NULL;
        void (*give)(void *) = handle ? (void (*)(void *))dlsym(handle, "free") : NULL;
        if (!take || !give)
            return puts(dlerror()), 0;
        give(take(100));
        dlclose(handle);
    }
    void *other = dlmopen(LM_ID_NEWLM, library, RTLD_NOW);
    if (other)
        dlclose(other);
    free(before);
    return use_heap();
}

/* ---- life ---- */

static int waits(void) {
    struct timespec start, now;
    char byte;
    clock_gettime(CLOCK_MONOTONIC, &start);
    do {
        use_heap();
        clock_gettime(CLOCK_MONOTONIC, &now);
    } while ((now.tv_sec - start.tv_sec) * 1000 + (now.tv_nsec - start.tv_nsec) / 1000000 < 30);
    puts("ready");
    fflush(stdout);
    return read(STDIN_FILENO, &byte, 1) >= 0;
}

static int large(char **arguments) {
    volatile char *pointer = malloc(64u << 20);
    if (!pointer)
        return 0;
    for (size_t at = 0; at < 64u << 20; at += 4096)
        pointer[at] = 1;
    execv(arguments[0], arguments);
    return 0;
}

static int early(void) {
    return early_uses == 2;
}

int main(int count, char **arguments) {
    static const struct {
        const char *name;
        int (*play)(void);
    } roles[] = {{"waits", waits},     {"early", early},       {"limits", limits},
                 {"locked", locked},   {"mdwe", without_exec}, {"personality", odd_personality},
                 {"cancels", cancels}, {"fleeting", fleeting}, {"crowd", crowd}};
    const char *role = count > 1 ? arguments[1] : "early";
    if (strcmp(role, "late") == 0)
        return late();
    if (strcmp(role, "large") == 0 && count > 2)
        return !large(arguments + 2);
    int good = strcmp(role, "opens") == 0 && count > 2 && opens(arguments[2]);
    for (size_t i = 0; i < COUNT_OF(roles); i++)
        if (strcmp(role, roles[i].name) == 0)
            good = roles[i].play();
    if (good)
        puts("works");
    return !good;
}
