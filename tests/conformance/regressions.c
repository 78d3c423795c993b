/* SPDX-License-Identifier: Apache-2.0
 *
 * What once went wrong around malloc: ends, forks, cancellations, limits.
 *
 *     LD_PRELOAD=libmallard.so.0 regressions          runs every case in a process of its own
 *     LD_PRELOAD=libmallard.so.0 regressions CASE     runs one in this process
 *
 * A case passes when its process ends with status 0 within LIMIT_SECONDS: most of these faults were
 * deadlocks.
 */
#include "support/cases.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LIMIT_SECONDS 20
#define MIB ((size_t)1 << 20)
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void *volatile sink;

static void work(size_t rounds, size_t bytes) {
    for (size_t i = 0; i < rounds; i++) {
        sink = malloc(bytes + i % 5000);
        free(sink);
    }
}

static void end_here(int signal) {
    (void)signal;
    _exit(0);
}

/* _exit is allowed in a handler that interrupted malloc: it must not wait for malloc's locks. */
static int exit_in_a_handler(void) {
    struct itimerval soon = {.it_value = {.tv_usec = 40000 + getpid() % 5000}};
    signal(SIGALRM, end_here);
    setitimer(ITIMER_REAL, &soon, NULL);
    static volatile bool for_ever = true;
    while (for_ever) {
        void *kept[300];
        for (size_t i = 0; i < COUNT(kept); i++)
            kept[i] = malloc(40000 + i);
        for (size_t i = 0; i < COUNT(kept); i++)
            free(kept[i]);
    }
    return 1;
}

static void *work_a_while(void *unused) {
    work(200000, 100);
    return unused;
}

/* A process whose first thread leaves by pthread_exit ends with its last thread, ours not counted.
 */
static int main_leaves_by_pthread_exit(void) {
    pthread_t thread;
    work_a_while(NULL);
    usleep(50000);
    work_a_while(NULL);
    if (pthread_create(&thread, NULL, work_a_while, NULL) != 0)
        return 1;
    pthread_exit(NULL);
}

static void *allocate_cancelled(void *unused) {
    pthread_cancel(pthread_self());
    work(2000, 5000);
    return unused;
}

/* malloc is no cancellation point: a thread must not end while it holds malloc's locks. */
static int cancelled_inside_malloc(void) {
    pthread_t thread;
    void *result;
    if (pthread_create(&thread, NULL, allocate_cancelled, NULL) != 0)
        return 1;
    pthread_join(thread, &result);
    work(200000, 1000);
    return result == PTHREAD_CANCELED;
}

static void *ask_for_ever(void *unused) {
    for (;;)
        sink = (void *)(size_t)mallinfo2().uordblks;
    return unused;
}

/* A child of a fork beside a thread that reads statistics can read them too. */
static int fork_beside_statistics(void) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, ask_for_ever, NULL) != 0)
        return 1;
    for (time_t end = time(NULL) + 2; time(NULL) <= end;) {
        int status;
        pid_t child = fork();
        if (child == 0)
            _exit(mallinfo2().arena == 0);
        if (waitpid(child, &status, 0) != child || status != 0)
            return 1;
    }
    return 0;
}

/* ---- fork beside threads that read files, and one that writes all of them out ---- */

static uint32_t forks_are_over; /* relaxed atomic */

static void *read_long_lines(void *name) {
    FILE *file = fopen(name, "r");
    while (file && !__atomic_load_n(&forks_are_over, __ATOMIC_RELAXED)) {
        char *line = NULL;
        size_t capacity = 0;
        rewind(file);
        if (getline(&line, &capacity, file) < 0)
            break;
        free(line);
    }
    if (file)
        fclose(file);
    return NULL;
}

static void *write_all_out(void *unused) {
    while (!__atomic_load_n(&forks_are_over, __ATOMIC_RELAXED)) {
        fflush(NULL);
        sched_yield(); /* libc's lock is not fair */
    }
    return unused;
}

static bool write_long_line(const char *name) {
    FILE *file = fopen(name, "w");
    for (int i = 0; file && i < 50000; i++)
        fputc('x', file);
    return file && fputc('\n', file) == '\n' && fclose(file) == 0;
}

static bool fork_and_use_files(const char *name) {
    int status;
    pid_t child = fork();
    if (child == 0) {
        FILE *file = fopen(name, "r");
        _exit(!file || fclose(file) != 0);
    }
    return waitpid(child, &status, 0) == child && status == 0;
}

/* One thread grows a line while its file is locked, one waits for that file with libc's list of
 * files locked, and one forks, for which libc locks the list after the handlers have run. */
static int fork_beside_files(void) {
    char name[] = "/tmp/mallard-line-XXXXXX";
    pthread_t threads[5];
    int made = mkstemp(name), faults = made < 0 || close(made) != 0 || !write_long_line(name);
    for (size_t i = 0; i < COUNT(threads); i++)
        faults +=
            pthread_create(&threads[i], NULL, i == 0 ? write_all_out : read_long_lines, name) != 0;
    for (time_t end = time(NULL) + 2; time(NULL) <= end && faults == 0;)
        faults += !fork_and_use_files(name);
    __atomic_store_n(&forks_are_over, 1, __ATOMIC_RELAXED);
    for (size_t i = 0; i < COUNT(threads); i++)
        pthread_join(threads[i], NULL);
    return unlink(name) != 0 || faults != 0;
}

/* ---- fork in a signal handler that has interrupted malloc ---- */

static volatile sig_atomic_t forks_in_handler, bad_forks_in_handler;
static bool handlers_may_not_allocate; /* those below, in a fork that is inside malloc */

static void fork_in_handler(int unused) {
    int status;
    pid_t child = fork();
    (void)unused;
    if (child == 0)
        _exit(0);
    if (waitpid(child, &status, 0) != child || status != 0)
        bad_forks_in_handler = 1;
    forks_in_handler++;
}

/* Sizes that take the page heap's lock, too. */
static int fork_inside_malloc(void) {
    static void *kept[4096];
    const struct itimerval often = {{0, 1000}, {0, 1000}}, never = {{0, 0}, {0, 0}};
    uint32_t random = 1;
    handlers_may_not_allocate = true;
    signal(SIGPROF, fork_in_handler);
    setitimer(ITIMER_PROF, &often, NULL);
    while (forks_in_handler < 300) {
        random = random * 1103515245u + 12345u;
        free(kept[random >> 20]);
        kept[random >> 20] = malloc((random >> 8) % 70000);
    }
    setitimer(ITIMER_PROF, &never, NULL);
    return bad_forks_in_handler;
}

/* ---- timers whose functions run in threads ---- */

static sem_t timer_rang;

static void ring(union sigval unused) {
    (void)unused;
    sem_post(&timer_rang);
}

/* libc's thread that starts the functions may be the one that starts our background thread, and has
 * to have its mask back afterwards, with the signal by which it learns of timers. */
static int timers_start_threads(void) {
    struct sigevent event = {.sigev_notify = SIGEV_THREAD, .sigev_notify_function = ring};
    struct itimerspec soon = {.it_interval.tv_nsec = 2000000, .it_value.tv_nsec = 100000000};
    timer_t timer;
    sem_init(&timer_rang, 0, 0);
    if (timer_create(CLOCK_MONOTONIC, &event, &timer) != 0 ||
        timer_settime(timer, 0, &soon, NULL) != 0)
        return 1;
    for (int i = 0; i < 100; i++)
        while (sem_wait(&timer_rang) != 0)
            continue;
    return timer_delete(timer) != 0;
}

static void allocate_before_fork(void) {
    void *kept[3000];
    if (handlers_may_not_allocate)
        return;
    for (size_t i = 0; i < COUNT(kept); i++)
        kept[i] = malloc(2000);
    for (size_t i = 0; i < COUNT(kept); i++)
        free(kept[i]);
}

/* Handlers that were registered before ours run while ours holds every lock: before the constructor
 * of a library that is preloaded there is this array only. */
static void register_early(void) {
    pthread_atfork(allocate_before_fork, NULL, allocate_before_fork);
}

__attribute__((section(".preinit_array"),
               used)) static void (*const before_all)(void) = register_early;

static int handlers_of_fork_may_allocate(void) {
    int status;
    pid_t child = fork();
    if (child == 0) {
        work(1000, 3000);
        _exit(0);
    }
    return waitpid(child, &status, 0) != child || status != 0;
}

static bool has_box(const char *folder) {
    bool found = false;
    DIR *stream = opendir(folder);
    for (struct dirent *entry; stream && (entry = readdir(stream)) != NULL;)
        found |= strstr(entry->d_name, ".mallard") != NULL;
    if (stream)
        closedir(stream);
    return found;
}

/* In the second image: the environment is gone before there is a box, and the box is to be where
 * the environment said. */
static int lose_environment(const char *folder) {
    char expected[64];
    snprintf(expected, sizeof expected, "%s", folder);
    clearenv();
    for (int tries = 0; tries < 1000 && !has_box(expected); tries++) {
        work(1000, 3000);
        usleep(5000);
    }
    return !has_box(expected);
}

/* Runs a case once more, where boxes go to a folder of its own, which is empty at the end. */
static int in_a_folder(const char *name, int (*run)(const char *folder)) {
    char folder[] = "/tmp/mallard-place-XXXXXX";
    const char *given = getenv("REGRESSION_FOLDER");
    if (given)
        return run(given);
    if (!mkdtemp(folder))
        return 1;
    setenv("MALLARD_DIR", folder, 1);
    setenv("REGRESSION_FOLDER", folder, 1);
    int status = -1;
    pid_t child = fork();
    if (child == 0) {
        execl("/proc/self/exe", "regressions", name, (char *)NULL);
        _exit(127);
    }
    waitpid(child, &status, 0);
    return rmdir(folder) != 0 || status != 0;
}

/* Servers that set their title move or clear their environment, while the background thread comes
 * to make the box. */
static int box_is_where_the_environment_said(void) {
    return in_a_folder(__func__, lose_environment);
}

/* A process near its address-space limit: what one thread gives back, the other takes. */
static uint32_t stop; /* relaxed atomic */

static void *take_address_space(void *unused) {
    void *taken[64];
    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
        size_t count = 0;
        for (; count < COUNT(taken); count++) {
            taken[count] =
                mmap(NULL, MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            if (taken[count] == MAP_FAILED)
                break;
        }
        while (count-- > 0)
            munmap(taken[count], MIB);
    }
    return unused;
}

/* The first two numbers of /proc/self/statm. */
struct sizes {
    uint64_t mapped_bytes, resident_bytes;
};

static struct sizes sizes_now(void) {
    char text[64] = "", *end;
    uint64_t page_bytes = (uint64_t)sysconf(_SC_PAGESIZE);
    int fd = open("/proc/self/statm", O_RDONLY);
    if (fd < 0 || read(fd, text, sizeof text - 1) < 0)
        exit(2);
    close(fd);
    uint64_t mapped = strtoull(text, &end, 10), resident = strtoull(end, NULL, 10);
    return (struct sizes){mapped * page_bytes, resident * page_bytes};
}

/* Something may lie behind an object, so that it cannot grow where it is. False when it lost what
 * it held. Being refused memory is allowed. */
static bool grow_step_by_step(void) {
    void *behind[8] = {0};
    size_t bytes = MIB;
    char *grown = malloc(bytes);
    bool good = true;
    for (size_t i = 0; grown && i < COUNT(behind); i++) {
        memset(grown, (int)i + 1, bytes);
        behind[i] = malloc(100000);
        char *larger = realloc(grown, bytes + bytes / 3);
        if (!larger)
            break;
        good &= larger[0] == (char)(i + 1) && larger[bytes - 1] == (char)(i + 1);
        grown = larger;
        bytes += bytes / 3;
    }
    free(grown);
    for (size_t i = 0; i < COUNT(behind); i++)
        free(behind[i]);
    return good;
}

/* There is memory without limit, but nothing of it is resident. */
static void make_room(void) {
    free(malloc(64 * MIB));
    malloc_trim(0);
}

static bool limit_address_space(uint64_t bytes) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_AS, &limit) != 0)
        return false;
    limit.rlim_cur = bytes;
    return setrlimit(RLIMIT_AS, &limit) == 0;
}

static int realloc_near_an_address_space_limit(void) {
    pthread_t thread;
    bool good = true;
    make_room();
    if (pthread_create(&thread, NULL, take_address_space, NULL) != 0 ||
        !limit_address_space(sizes_now().mapped_bytes + 40 * MIB))
        return 1;
    for (int round = 0; round < 200; round++)
        good &= grow_step_by_step();
    __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
    pthread_join(thread, NULL);
    return !good;
}

/* The limit is below what the process has already: nothing can be put where something was. Nothing
 * is left of that in the end. */
static int realloc_above_an_address_space_limit(void) {
    bool good = true;
    make_room();
    size_t before_bytes = mallinfo2().hblkhd;
    if (!limit_address_space(10 * MIB))
        return 1;
    for (int round = 0; round < 100; round++)
        good &= grow_step_by_step();
    return !good || mallinfo2().hblkhd > before_bytes;
}

/* A page that was locked and freed with all around it must not keep the rest. */
static bool goes_back_with_one_page_locked(size_t count, size_t bytes) {
    char **object = malloc(count * sizeof *object);
    for (size_t i = 0; i < count; i++)
        memset(object[i] = malloc(bytes), 1, bytes);
    if (mlock(object[count - 1], 1) != 0)
        puts("skip nothing can be locked");
    uint64_t full_bytes = sizes_now().resident_bytes;
    for (size_t i = 0; i < count; i++)
        free(object[i]);
    free(object);
    malloc_trim(0);
    return sizes_now().resident_bytes < full_bytes / 3;
}

static int locked_memory_goes_back(void) {
    bool good = goes_back_with_one_page_locked(64, MIB);
    good &= goes_back_with_one_page_locked(65536, 1024);
    return !good;
}

static size_t tasks(void) {
    size_t count = 0;
    DIR *stream = opendir("/proc/self/task");
    for (struct dirent *entry; stream && (entry = readdir(stream)) != NULL;)
        count += entry->d_name[0] != '.';
    if (stream)
        closedir(stream);
    return count;
}

/* Works until what is waited for has come, for so long at most. */
static bool comes_within(int seconds, bool (*has_come)(void)) {
    for (int waited_ms = 0; waited_ms < 1000 * seconds; waited_ms += 10) {
        if (has_come())
            return true;
        work(100, 3000);
        usleep(10000);
    }
    return false;
}

static bool never(void) {
    return false;
}

static bool has_background_thread(void) {
    return tasks() > 1;
}

/* The address space is short at the moment when the thread is due. */
static int background_thread_comes_late(void) {
    make_room();
    if (!limit_address_space(sizes_now().mapped_bytes))
        return 1;
    comes_within(1, never);
    return !limit_address_space(RLIM_INFINITY) || !comes_within(10, has_background_thread);
}

static uint64_t few_bytes;

static bool is_small(void) {
    return sizes_now().resident_bytes < few_bytes;
}

/* There is address space for a little heap, but not for a box. */
static int memory_goes_back_without_a_box(void) {
    enum { OBJECTS = 12000 };
    static void *object[OBJECTS];
    few_bytes = sizes_now().resident_bytes + 6 * MIB;
    if (!limit_address_space(sizes_now().mapped_bytes + 20 * MIB))
        return 1;
    for (int i = 0; i < OBJECTS; i++)
        memset(object[i] = malloc(1000), 1, 1000);
    if (is_small())
        return 1;
    for (int i = 0; i < OBJECTS; i++)
        free(object[i]);
    return !comes_within(15, is_small);
}

static const char *box_folder;

static bool box_has_come(void) {
    return has_box(box_folder);
}

static size_t lines_in(FILE *file) {
    size_t lines = 0;
    rewind(file);
    for (int c; (c = getc(file)) != EOF;)
        lines += c == '\n';
    return lines;
}

/* Whether a box comes when there is address space for it, after so many lines on standard error. */
static int complain_once(const char *folder) {
    FILE *said = tmpfile();
    box_folder = folder;
    if (!said || dup2(fileno(said), STDERR_FILENO) < 0 ||
        !limit_address_space(sizes_now().mapped_bytes + 20 * MIB))
        return 1;
    work(3000, 200000);
    comes_within(2, never);
    size_t lines = lines_in(said);
    return lines != 1 || !limit_address_space(RLIM_INFINITY) || !comes_within(10, box_has_come);
}

static int box_comes_late_and_one_line_says_so(void) {
    return in_a_folder(__func__, complain_once);
}

static bool has_box_and_thread(void) {
    char prefix[16];
    bool found = false;
    snprintf(prefix, sizeof prefix, "%d.", (int)getpid());
    DIR *stream = opendir(box_folder);
    for (struct dirent *entry; stream && (entry = readdir(stream)) != NULL;)
        found |= strncmp(entry->d_name, prefix, strlen(prefix)) == 0;
    if (stream)
        closedir(stream);
    return found && has_background_thread();
}

static int become_whole(const char *folder) {
    int status = -1;
    box_folder = folder;
    if (!comes_within(10, has_box_and_thread))
        return 1;
    pid_t child = fork();
    if (child == 0)
        _exit(!comes_within(10, has_box_and_thread));
    return waitpid(child, &status, 0) != child || status != 0 || !has_box_and_thread();
}

/* A child gets a thread and a box of its own, and takes its box away when it ends. */
static int child_is_whole(void) {
    return in_a_folder(__func__, become_whole);
}

/* ---- ends that run no exit handlers ---- */

static int leave_quickly(const char *folder) {
    box_folder = folder;
    if (!comes_within(10, box_has_come))
        return 1;
    quick_exit(0);
}

static int quick_exit_leaves_no_box(void) {
    return in_a_folder(__func__, leave_quickly);
}

#define STACK_BYTES MIB
#define CLONED_STATUS 42

/* Long enough for the background thread to come, and to be at work. */
static int work_as_clone(void *unused) {
    return unused || !comes_within(10, has_background_thread) ? 1 : CLONED_STATUS;
}

static int clone_and_wait(int flags) {
    int status = -1;
    char *stack =
        mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    pid_t child = clone(work_as_clone, stack + STACK_BYTES, flags | SIGCHLD, NULL);
    waitpid(child, &status, 0);
    munmap(stack, STACK_BYTES);
    return status;
}

/* What the function of a clone returns is the status of the process, and its box goes with it. */
static int make_clones(const char *folder) {
    static const int flags[] = {0, CLONE_FILES, CLONE_FS | CLONE_IO, CLONE_VFORK};
    (void)folder;
    for (size_t i = 0; i < 3 * COUNT(flags); i++)
        if (clone_and_wait(flags[i % COUNT(flags)]) != CLONED_STATUS << 8)
            return 1;
    return 0;
}

static int clones_end_with_their_status(void) {
    return in_a_folder(__func__, make_clones);
}

static int return_at_once(void *unused) {
    work(3, 200000);
    return unused != NULL;
}

static void *work_for_ever(void *unused) {
    for (;;)
        work(3, 200000);
    return unused;
}

/* Another thread, ours or the program's, may hold a lock of the heap when a clone is made. */
static int clone_beside(const char *folder) {
    pthread_t thread;
    char *stack =
        mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    (void)folder;
    if (pthread_create(&thread, NULL, work_for_ever, NULL) != 0)
        return 1;
    for (int i = 0; i < 50; i++) {
        int status = -1;
        waitpid(clone(return_at_once, stack + STACK_BYTES, SIGCHLD, NULL), &status, 0);
        if (status != 0)
            return 1;
    }
    return 0;
}

/* With locked caches that is most of the time. Without samples there are no boxes to be made. */
static int clones_find_no_lock_taken(void) {
    setenv("MALLARD_CPU_CACHE", "lock", 1);
    setenv("MALLARD_MEMPROFILERATE", "0", 1);
    return in_a_folder(__func__, clone_beside);
}

/* ---- confined by the bare system call, or to nearly nothing ---- */

/* Who opens a file is ended. */
static bool forbid_files(void) {
    struct sock_filter program[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog filter = {COUNT(program), program};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter) == 0;
}

static int box_is_there_before_a_filter(void) {
    if (!forbid_files())
        return 1;
    work(3000, 200000);
    return 0;
}

/* malloc works on what there is, as libc's does. */
static void work_strictly(void) {
    enum { OBJECTS = 100 };
    void *object[OBJECTS];
    comes_within(1, has_background_thread);
    for (int round = 0; round < 20000; round++) {
        for (int i = 0; i < OBJECTS; i++)
            object[i] = malloc(900);
        for (int i = 0; i < OBJECTS; i++)
            free(object[i]);
        if (round == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) != 0)
            _exit(1);
    }
    syscall(SYS_exit, CLONED_STATUS);
}

static int strict_mode_is_survived(void) {
    int status = -1;
    pid_t child = fork();
    if (child == 0)
        work_strictly();
    waitpid(child, &status, 0);
    return status != CLONED_STATUS << 8;
}

static const struct test_case all[] = {
    {"exit_in_a_handler", exit_in_a_handler},
    {"main_leaves_by_pthread_exit", main_leaves_by_pthread_exit},
    {"cancelled_inside_malloc", cancelled_inside_malloc},
    {"fork_beside_statistics", fork_beside_statistics},
    {"fork_beside_files", fork_beside_files},
    {"fork_inside_malloc", fork_inside_malloc},
    {"timers_start_threads", timers_start_threads},
    {"handlers_of_fork_may_allocate", handlers_of_fork_may_allocate},
    {"box_is_where_the_environment_said", box_is_where_the_environment_said},
    {"realloc_near_an_address_space_limit", realloc_near_an_address_space_limit},
    {"realloc_above_an_address_space_limit", realloc_above_an_address_space_limit},
    {"locked_memory_goes_back", locked_memory_goes_back},
    {"background_thread_comes_late", background_thread_comes_late},
    {"memory_goes_back_without_a_box", memory_goes_back_without_a_box},
    {"box_comes_late_and_one_line_says_so", box_comes_late_and_one_line_says_so},
    {"child_is_whole", child_is_whole},
    {"quick_exit_leaves_no_box", quick_exit_leaves_no_box},
    {"clones_end_with_their_status", clones_end_with_their_status},
    {"clones_find_no_lock_taken", clones_find_no_lock_taken},
    {"box_is_there_before_a_filter", box_is_there_before_a_filter},
    {"strict_mode_is_survived", strict_mode_is_survived},
};

static bool passes(const char *program, const char *name) {
    char *const arguments[] = {(char *)program, (char *)name, NULL};
    return case_passes(name, arguments, LIMIT_SECONDS);
}

int main(int count, char **arguments) {
    size_t passed = 0;
    const struct test_case *wanted = count > 1 ? case_named(all, COUNT(all), arguments[1]) : NULL;
    if (wanted)
        return wanted->run();
    for (size_t i = 0; i < COUNT(all); i++)
        passed += passes(arguments[0], all[i].name);
    printf("%zu passed, %zu failed\n", passed, COUNT(all) - passed);
    return passed != COUNT(all);
}
