/* SPDX-License-Identifier: Apache-2.0
 *
 * Children of vfork, and of clone as vfork makes them, that allocate, in programs with threads.
 *
 *     LD_PRELOAD=libmallard.so.0 vfork [SEED]      runs every case in a process of its own
 *     LD_PRELOAD=libmallard.so.0 vfork SEED CASE   runs one in this process
 *
 * Such a child shares its parent's memory and its thread pointer, and the kernel does not watch
 * over its restartable sequences. Each case has other threads at work on the same size classes;
 * every object carries its owner's number from its first word to its last while it is owned.
 */
#include "support/cases.h"
#include "support/program.h"

#include <dirent.h>
#include <errno.h>
#include <execinfo.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/rseq.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LIMIT_SECONDS 60
#define THREADS 3
#define CHILDREN 150
#define OWNED 64
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static uint64_t seed;
static atomic_bool stop;
static atomic_uint corrupted;

struct owned {
    uint64_t *words;
    size_t count;
};

static void fill(struct owned *object, uint64_t mark, size_t words) {
    object->count = words;
    object->words = malloc(words * sizeof *object->words);
    for (size_t i = 0; i < words; i++)
        object->words[i] = mark;
}

static void check_and_free(struct owned *object, uint64_t mark) {
    for (size_t i = 0; i < object->count; i++)
        if (object->words[i] != mark)
            atomic_fetch_add(&corrupted, 1);
    free(object->words);
    *object = (struct owned){0};
}

/* `mark` is nobody else's. */
static void churn(uint64_t mark, size_t rounds) {
    struct owned owned[OWNED] = {0};
    uint64_t state = seed * 0x9e3779b97f4a7c15 ^ mark;
    for (size_t round = 0; round < rounds; round++) {
        struct owned *object = &owned[random_next(&state) % OWNED];
        if (object->words)
            check_and_free(object, mark);
        else
            fill(object, mark, 2 + random_next(&state) % 6);
    }
    for (size_t i = 0; i < OWNED; i++)
        check_and_free(&owned[i], mark);
}

static void *churn_till_stopped(void *mark) {
    while (!atomic_load(&stop))
        churn((uintptr_t)mark, 1000);
    return NULL;
}

static pthread_t threads[THREADS];

static void start_threads(void) {
    for (uintptr_t i = 0; i < THREADS; i++)
        if (pthread_create(&threads[i], NULL, churn_till_stopped, (void *)(i + 1)) != 0)
            abort();
}

static int stop_threads(void) {
    atomic_store(&stop, true);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    return atomic_load(&corrupted) != 0;
}

static int end_of(pid_t child) {
    int status;
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR)
            return -1;
    return status;
}

#define CHILDS_MARK 1000

static bool is_preloaded(void) {
    const char *library = getenv("LD_PRELOAD");
    return library && *library;
}

/* ---- the cases ---- */

static int child_allocates(void) {
    start_threads();
    for (int i = 0; i < CHILDREN; i++) {
        pid_t child = vfork();
        if (child == 0) {
            churn(CHILDS_MARK, 5000);
            _exit(7);
        }
        if (WEXITSTATUS(end_of(child)) != 7)
            return 1;
        churn(CHILDS_MARK + 1, 500);
    }
    return stop_threads();
}

static int allocate_as_clone(void *unused) {
    (void)unused;
    churn(CHILDS_MARK, 5000);
    return 7;
}

/* clone with vfork's flags, and a stack of its own. */
static int clone_allocates(void) {
    enum { STACK_BYTES = 1 << 16 };
    _Alignas(16) static char stack[STACK_BYTES];
    start_threads();
    for (int i = 0; i < CHILDREN; i++) {
        pid_t child =
            clone(allocate_as_clone, stack + STACK_BYTES, CLONE_VM | CLONE_VFORK | SIGCHLD, NULL);
        if (WEXITSTATUS(end_of(child)) != 7)
            return 1;
        churn(CHILDS_MARK + 1, 500);
    }
    return stop_threads();
}

/* Objects cross over: what one has allocated the other frees. */
static int objects_cross_over(void) {
    static struct owned shared[OWNED];
    start_threads();
    for (int i = 0; i < CHILDREN; i++) {
        for (int k = 0; k < OWNED / 2; k++)
            fill(&shared[k], CHILDS_MARK, 4);
        pid_t child = vfork();
        if (child == 0) {
            for (int k = 0; k < OWNED / 2; k++)
                check_and_free(&shared[k], CHILDS_MARK);
            for (int k = OWNED / 2; k < OWNED; k++)
                fill(&shared[k], CHILDS_MARK, 4);
            _exit(0);
        }
        end_of(child);
        for (int k = OWNED / 2; k < OWNED; k++)
            check_and_free(&shared[k], CHILDS_MARK);
    }
    return stop_threads();
}

static int exec_fails(void) {
    start_threads();
    for (int i = 0; i < CHILDREN; i++) {
        static volatile int error;
        pid_t child = vfork();
        if (child == 0) {
            execl("/nowhere/at/all", "all", (char *)NULL);
            error = errno;
            churn(CHILDS_MARK, 1000);
            _exit(3);
        }
        if (WEXITSTATUS(end_of(child)) != 3 || error != ENOENT)
            return 1;
    }
    return stop_threads();
}

static int exec_succeeds(void) {
    start_threads();
    for (int i = 0; i < 30; i++) {
        pid_t child = vfork();
        if (child == 0) {
            churn(CHILDS_MARK, 1000);
            execl("/bin/true", "true", (char *)NULL);
            _exit(127);
        }
        if (end_of(child) != 0)
            return 1;
    }
    return stop_threads();
}

/* Its memory is a copy, its rseq area the vfork child's. */
static int fork_in_the_child(void) {
    start_threads();
    for (int i = 0; i < 30; i++) {
        pid_t child = vfork();
        if (child == 0) {
            pid_t grandchild = fork();
            churn(CHILDS_MARK, 2000);
            _exit(grandchild == 0 ? 5 : WEXITSTATUS(end_of(grandchild)));
        }
        if (WEXITSTATUS(end_of(child)) != 5)
            return 1;
    }
    return stop_threads();
}

static int vfork_in_the_child(void) {
    start_threads();
    for (int i = 0; i < CHILDREN / 2; i++) {
        pid_t child = vfork();
        if (child == 0) {
            pid_t grandchild = vfork();
            churn(CHILDS_MARK, 1000);
            _exit(grandchild == 0 ? 5 : WEXITSTATUS(end_of(grandchild)));
        }
        if (WEXITSTATUS(end_of(child)) != 5)
            return 1;
        churn(CHILDS_MARK, 500);
    }
    return stop_threads();
}

static volatile sig_atomic_t handled;

/* Nothing that takes a lock is called: the handler may have interrupted malloc. */
static void vfork_here(int signal) {
    int saved_errno = errno;
    pid_t child = vfork();
    if (child == 0)
        _exit(signal == SIGALRM ? 9 : 1);
    handled += WEXITSTATUS(end_of(child)) == 9;
    errno = saved_errno;
}

static int handler_calls_vfork(void) {
    struct sigaction action = {.sa_handler = vfork_here, .sa_flags = SA_RESTART};
    struct itimerspec often = {.it_interval.tv_nsec = 700000, .it_value.tv_nsec = 700000};
    struct sigevent self = {
        .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGALRM, ._sigev_un._tid = gettid()};
    timer_t timer;
    start_threads();
    if (sigaction(SIGALRM, &action, NULL) != 0 ||
        timer_create(CLOCK_MONOTONIC, &self, &timer) != 0 ||
        timer_settime(timer, 0, &often, NULL) != 0)
        return 1;
    while (handled < CHILDREN)
        churn(CHILDS_MARK, 300);
    timer_delete(timer);
    return stop_threads();
}

static int32_t number_in_area(void) {
    const struct rseq *area =
        (const void *)((const char *)__builtin_thread_pointer() + __rseq_offset);
    return (int32_t) * (const volatile uint32_t *)&area->cpu_id;
}

/* The child has no number, the parent has its own again at once. */
static int number_comes_back(void) {
    if (__rseq_size == 0 || number_in_area() < 0)
        return 0;
    free(malloc(10));
    for (volatile int i = 0; i < CHILDREN; i++) {
        static volatile int32_t seen;
        pid_t child = vfork();
        if (child == 0) {
            seen = number_in_area();
            _exit(sched_getcpu() < 0);
        }
        if (number_in_area() < 0 || end_of(child) != 0)
            return 1;
        if (seen >= 0 && is_preloaded())
            return 2;
    }
    return 0;
}

static volatile int32_t seen_by_handler;

static void look_at_number(int signal) {
    (void)signal;
    seen_by_handler = number_in_area();
}

static int vfork_traced(void) {
    free(malloc(10));
    signal(SIGUSR1, look_at_number);
    seen_by_handler = INT32_MIN;
    if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0 || raise(SIGSTOP) != 0)
        return 3;
    pid_t child = vfork();
    if (child == 0)
        _exit(0);
    if (seen_by_handler == INT32_MIN || number_in_area() < 0)
        return 4;
    return seen_by_handler >= 0 && is_preloaded() ? 5 : 0;
}

/* Lets both go on, the child with a signal in the place of the stop that it begins with. */
static int trace(pid_t parent) {
    bool has_begun = false;
    int status;
    for (pid_t stopped; (stopped = waitpid(-1, &status, __WALL)) > 0;) {
        if (stopped == parent && (WIFEXITED(status) || WIFSIGNALED(status)))
            return status;
        if (!WIFSTOPPED(status))
            continue;
        bool begins = stopped != parent && !has_begun;
        has_begun |= begins;
        if (stopped == parent && WSTOPSIG(status) == SIGSTOP)
            ptrace(PTRACE_SETOPTIONS, parent, NULL, PTRACE_O_TRACEVFORK | PTRACE_O_EXITKILL);
        ptrace(PTRACE_CONT, stopped, NULL, begins ? SIGUSR1 : 0);
    }
    return -1;
}

/* A handler that runs before the child's first instruction finds no number. */
static int signal_comes_first(void) {
    if (__rseq_size == 0 || number_in_area() < 0)
        return 0;
    for (int i = 0; i < 20; i++) {
        pid_t traced = fork();
        if (traced == 0)
            _exit(vfork_traced());
        if (trace(traced) != 0)
            return 1;
    }
    return 0;
}

/* What cannot be had is said as libc says it, and the number is there all the same. */
static int refusal_is_libcs(void) {
    const rlim_t one = 1;
    struct rlimit none = {one, one};
    if (setrlimit(RLIMIT_NPROC, &none) != 0 || setuid(65534) != 0)
        return getuid() == 0;
    pid_t child = vfork();
    if (child == 0)
        _exit(0);
    return child != -1 || errno != EAGAIN || number_in_area() < (__rseq_size == 0 ? INT32_MIN : 0);
}

/* Frames are found from inside of the child and after it. */
__attribute__((noinline)) static int depth(void) {
    void *frames[64];
    return backtrace(frames, COUNT(frames));
}

static int stacks_are_walked(void) {
    int before = depth();
    static volatile int inside;
    pid_t child = vfork();
    if (child == 0) {
        inside = depth();
        _exit(0);
    }
    return end_of(child) != 0 || inside != before || depth() != before;
}

static int tasks_of(const char *path) {
    struct stat facts;
    return stat(path, &facts) == 0 ? (int)facts.st_nlink - 2 : -1;
}

/* Whether there is a box of that process. */
static bool is_there(pid_t owner) {
    char prefix[24];
    bool found = false;
    DIR *open = opendir(getenv("MALLARD_DIR"));
    snprintf(prefix, sizeof prefix, "%d.", (int)owner);
    for (struct dirent *entry; open && (entry = readdir(open));)
        found |= strncmp(entry->d_name, prefix, strlen(prefix)) == 0;
    if (open)
        closedir(open);
    return found;
}

/* The first sample of the process is due while a child runs in it. */
static int box_is_the_parents(void) {
    char *large[100];
    pid_t child = vfork();
    if (child == 0) {
        for (size_t i = 0; i < COUNT(large); i++)
            *(large[i] = malloc(1 << 20)) = 1;
        for (size_t i = 0; i < COUNT(large); i++)
            free(large[i]);
        _exit(0);
    }
    if (end_of(child) != 0 || is_there(child))
        return 1;
    for (size_t i = 0; i < COUNT(large); i++)
        *(large[i] = malloc(1 << 20)) = 1;
    for (size_t i = 0; i < COUNT(large); i++)
        free(large[i]);
    return is_preloaded() && !is_there(getpid());
}

/* The library's own thread belongs to the program, never to a child that is gone soon. */
static int no_thread_in_the_child(void) {
    static volatile int inside;
    pid_t child = vfork();
    if (child == 0) {
        struct timespec age = {.tv_nsec = 60000000};
        nanosleep(&age, NULL);
        churn(CHILDS_MARK, 100000);
        inside = tasks_of("/proc/self/task");
        _exit(0);
    }
    if (end_of(child) != 0 || inside != 1)
        return 1;
    churn(CHILDS_MARK, 100000);
    return is_preloaded() && tasks_of("/proc/self/task") != 2;
}

static const struct test_case all[] = {
    {"child_allocates", child_allocates},
    {"clone_allocates", clone_allocates},
    {"objects_cross_over", objects_cross_over},
    {"exec_fails", exec_fails},
    {"exec_succeeds", exec_succeeds},
    {"fork_in_the_child", fork_in_the_child},
    {"vfork_in_the_child", vfork_in_the_child},
    {"handler_calls_vfork", handler_calls_vfork},
    {"number_comes_back", number_comes_back},
    {"signal_comes_first", signal_comes_first},
    {"refusal_is_libcs", refusal_is_libcs},
    {"stacks_are_walked", stacks_are_walked},
    {"no_thread_in_the_child", no_thread_in_the_child},
    {"box_is_the_parents", box_is_the_parents},
};

static bool passes(const char *program, const char *name) {
    char text[24];
    snprintf(text, sizeof text, "%lu", seed);
    char *const arguments[] = {(char *)program, text, (char *)name, NULL};
    return case_passes(name, arguments, LIMIT_SECONDS);
}

int main(int count, char **arguments) {
    size_t passed = 0;
    seed = count > 1 ? strtoull(arguments[1], NULL, 0) : (uint64_t)time(NULL) * 1000 + getpid();
    const struct test_case *wanted = count > 2 ? case_named(all, COUNT(all), arguments[2]) : NULL;
    if (wanted)
        return wanted->run();
    char folder[] = "/dev/shm/mallard-vfork.XXXXXX";
    if (!mkdtemp(folder) || setenv("MALLARD_DIR", folder, 1) != 0)
        return 2;
    printf("seed %lu\n", seed);
    fflush(stdout);
    for (size_t i = 0; i < COUNT(all); i++)
        passed += passes(arguments[0], all[i].name);
    rmdir(folder); /* boxes of the dead, if there are any, tell of a failure */
    printf("%zu passed, %zu failed\n", passed, COUNT(all) - passed);
    return passed != COUNT(all);
}
