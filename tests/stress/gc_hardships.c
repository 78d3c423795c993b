/* SPDX-License-Identifier: Apache-2.0
 *
 * The collected heap where life is hard: pointers in odd places, kernels and limits that refuse,
 * signals, forks, threads without end. One process each, under every way of marking.
 *
 *     gc_hardships            all of them; GC_HARDSHIPS_WAYS=1 for the first way of marking only
 *     gc_hardships NAME       this one, in this process
 */
#include "mallard/gc.h"
#include "mallard/mallard.h"

#include <dlfcn.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#define DEADLINE_SECONDS 120
#define LENGTH 200

struct cell {
    struct cell *next;
    uint64_t number, check;
};
MALLARD_GC_TYPE(cell_type, struct cell, next);

#define REQUIRE(condition)                                                                         \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                        \
            _exit(1);                                                                              \
        }                                                                                          \
    } while (0)

static uint64_t mix(uint64_t x) {
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static struct cell *new_cell(uint64_t number, struct cell *next) {
    struct cell *cell = mallard_gc_new(&cell_type);
    REQUIRE(cell && !cell->next && !cell->number);
    cell->next = next;
    cell->number = number;
    cell->check = mix(number);
    return cell;
}

static __attribute__((noinline)) struct cell *new_list(unsigned length) {
    struct cell *list = NULL;
    for (unsigned i = length; i > 0; i--)
        list = new_cell(i, list);
    return list;
}

static void check_list(const struct cell *list, unsigned length) {
    for (unsigned i = 1; i <= length; i++, list = list->next)
        REQUIRE(list && list->number == i && list->check == mix(i));
    REQUIRE(!list);
}

static uint64_t cycles(void) {
    static __thread struct mallard_gc_stats stats = {.size = sizeof stats};
    mallard_gc_read_stats(&stats);
    return stats.num_gc;
}

/* Memory that was freed has other contents afterwards. */
static __attribute__((noinline)) void make_garbage(unsigned mib) {
    for (unsigned i = 0; i < mib << 20; i += 4096 + 40)
        for (unsigned k = 0; k < 100; k++)
            memset(mallard_gc_alloc_noscan(40), 0xee, 40);
}

static void churn(unsigned rounds) {
    for (unsigned i = 0; i < rounds; i++) {
        struct cell *list = new_list(LENGTH);
        make_garbage(1);
        check_list(list, LENGTH);
    }
}

/* ---- pointers in odd places ---- */

static _Atomic(int) stage;

static void await_stage(int wanted) {
    while (atomic_load(&stage) < wanted)
        usleep(200);
}

static void collect_and_reuse(void) {
    for (int i = 0; i < 3; i++) {
        mallard_gc_collect();
        make_garbage(1);
    }
}

static __attribute__((noinline)) void clear_stack(void) {
    volatile char old[4096];
    memset((char *)old, 0, sizeof old);
}

static void hold_and_collect(void *(*hold)(void *)) {
    pthread_t thread;
    pthread_create(&thread, NULL, hold, NULL);
    await_stage(1);
    collect_and_reuse();
    atomic_store(&stage, 2);
    pthread_join(thread, NULL);
}

#if defined(__x86_64__)
static uintptr_t hidden; /* complemented: no pointer */

static __attribute__((noinline)) void hide_list(void) {
    hidden = ~(uintptr_t)new_list(LENGTH);
}

/* The pointer is in the one register until the stage is 2. */
#define HOLD_IN(register_)                                                                         \
    __asm__ volatile("movq %[hidden], %%rax\n\t"                                                   \
                     "notq %%rax\n\t"                                                              \
                     "movq %%rax, %%" register_ "\n\t"                                             \
                     "movq $0, %[hidden]\n\t"                                                      \
                     "xorl %%eax, %%eax\n\t"                                                       \
                     "movl $1, %[stage]\n"                                                         \
                     "1: pause\n\t"                                                                \
                     "cmpl $2, %[stage]\n\t"                                                       \
                     "jne 1b\n\t"                                                                  \
                     "movq %%" register_ ", %%rax\n\t"                                             \
                     "notq %%rax\n\t"                                                              \
                     "movq %%rax, %[hidden]\n\t"                                                   \
                     : [hidden] "+m"(hidden), [stage] "+m"(stage)                                  \
                     :                                                                             \
                     : "rax", register_, "memory", "cc")

static void *hold_in_vector_register(void *unused) {
    (void)unused;
    hide_list();
    clear_stack();
    HOLD_IN("xmm15");
    check_list((struct cell *)~hidden, LENGTH);
    return NULL;
}

static void *hold_in_register(void *unused) {
    (void)unused;
    hide_list();
    clear_stack();
    HOLD_IN("r13");
    check_list((struct cell *)~hidden, LENGTH);
    return NULL;
}

static void in_register(void) {
    hold_and_collect(hold_in_register);
}

static void in_vector_register(void) {
    hold_and_collect(hold_in_vector_register);
}
#else
static void in_register(void) {}
static void in_vector_register(void) {}
#endif

static __thread struct cell *in_block;
static void *hold_in_tls(void *unused) {
    (void)unused;
    in_block = new_list(LENGTH);
    atomic_store(&stage, 1);
    await_stage(2);
    check_list(in_block, LENGTH);
    return NULL;
}

static void in_tls(void) {
    pthread_t thread;
    in_block = new_list(LENGTH);
    pthread_create(&thread, NULL, hold_in_tls, NULL);
    await_stage(1);
    collect_and_reuse();
    check_list(in_block, LENGTH);
    atomic_store(&stage, 2);
    pthread_join(thread, NULL);
}

/* Of a library that is loaded while the thread runs: its block is allocated at the first use. */
static void **dynamic_block(void) {
    static void *library;
    char path[512];
    ssize_t bytes = readlink("/proc/self/exe", path, sizeof path - 32);
    REQUIRE(bytes > 0);
    path[bytes] = 0;
    memcpy(strrchr(path, '/'), "/lib/gc_tls.so", sizeof "/lib/gc_tls.so");
    if (!library)
        library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    REQUIRE(library);
    void *(*word)(void) = (void *(*)(void))dlsym(library, "gc_tls_word");
    REQUIRE(word);
    return word();
}

static void *hold_in_dynamic_tls(void *unused) {
    (void)unused;
    void **place = dynamic_block();
    *place = new_list(LENGTH);
    clear_stack();
    atomic_store(&stage, 1);
    await_stage(2);
    check_list(*place, LENGTH);
    return NULL;
}

static void in_dynamic_tls(void) {
    *dynamic_block() = new_list(LENGTH);
    clear_stack();
    hold_and_collect(hold_in_dynamic_tls);
    check_list(*dynamic_block(), LENGTH);
}

static void hold_in_handler(int number) {
    (void)number;
    struct cell *volatile list = new_list(LENGTH);
    atomic_store(&stage, 1);
    await_stage(2);
    check_list(list, LENGTH);
}

static void *hold_on_altstack(void *unused) {
    static char stack[1 << 16];
    struct cell *volatile home = new_list(LENGTH);
    stack_t other = {.ss_sp = stack, .ss_size = sizeof stack};
    (void)unused;
    REQUIRE(sigaltstack(&other, NULL) == 0);
    REQUIRE(raise(SIGUSR1) == 0);
    check_list(home, LENGTH);
    return NULL;
}

static void on_altstack(void) {
    pthread_t thread;
    struct sigaction action = {.sa_handler = hold_in_handler, .sa_flags = SA_ONSTACK};
    sigaction(SIGUSR1, &action, NULL);
    pthread_create(&thread, NULL, hold_on_altstack, NULL);
    await_stage(1);
    collect_and_reuse();
    atomic_store(&stage, 2);
    pthread_join(thread, NULL);
}

static ucontext_t coroutine, caller;
static void run_coroutine(void) {
    struct cell *volatile list = new_list(LENGTH);
    swapcontext(&coroutine, &caller);
    check_list(list, LENGTH);
    collect_and_reuse();
    check_list(list, LENGTH);
    atomic_store(&stage, 3);
}

static void in_coroutine(void) {
    size_t bytes = 256 << 10;
    char *stack = malloc(bytes);
    struct cell *volatile home = new_list(LENGTH);
    REQUIRE(mallard_gc_stack_add(stack, bytes) == 0);
    getcontext(&coroutine);
    coroutine.uc_stack.ss_sp = stack;
    coroutine.uc_stack.ss_size = bytes;
    coroutine.uc_link = &caller;
    makecontext(&coroutine, run_coroutine, 0);
    swapcontext(&caller, &coroutine);
    collect_and_reuse();
    swapcontext(&caller, &coroutine);
    REQUIRE(atomic_load(&stage) == 3);
    REQUIRE(mallard_gc_stack_remove(stack) == 0);
    check_list(home, LENGTH);
    free(stack);
}

static struct cell *in_bss;
static struct cell *in_data = (struct cell *)1;
static void in_segments(void) {
    in_bss = new_list(LENGTH);
    in_data = new_list(LENGTH);
    struct cell **outside = malloc(sizeof *outside);
    *outside = new_list(LENGTH);
    REQUIRE(mallard_gc_root_add(outside, sizeof *outside) == 0);
    collect_and_reuse();
    check_list(in_bss, LENGTH);
    check_list(in_data, LENGTH);
    check_list(*outside, LENGTH);
    free(outside);
}

/* ---- writes that no store instruction makes ---- */

static void *collect_for_ever(void *unused) {
    (void)unused;
    while (atomic_load(&stage) == 0)
        mallard_gc_collect();
    return NULL;
}

static void with_collector(void (*body)(void)) {
    pthread_t thread;
    pthread_create(&thread, NULL, collect_for_ever, NULL);
    body();
    atomic_store(&stage, 1);
    pthread_join(thread, NULL);
}

struct slots {
    struct cell *slot[512];
};
MALLARD_GC_TYPE(slots_type, struct slots, slot);

static void fill(struct slots *slots) {
    for (unsigned i = 0; i < 512; i++)
        slots->slot[i] = new_cell(i, NULL);
}

static void check(const struct slots *slots) {
    for (unsigned i = 0; i < 512; i++)
        REQUIRE(slots->slot[i]->number == i && slots->slot[i]->check == mix(i));
}

/* The kernel writes the pointers; the old object forgets them at once. */
static void read_pointers(void) {
    int ends[2];
    REQUIRE(pipe(ends) == 0);
    struct slots *from = mallard_gc_new(&slots_type);
    fill(from);
    for (int i = 0; i < 3000; i++) {
        struct slots *to = mallard_gc_new(&slots_type);
        REQUIRE(write(ends[1], from, sizeof *from) == sizeof *from);
        REQUIRE(read(ends[0], to, sizeof *to) == sizeof *to);
        memset(from, 0, sizeof *from);
        from = to;
        if (i % 100 == 0)
            check(from);
    }
    check(from);
}

static void read_from_kernel(void) {
    with_collector(read_pointers);
}

static void move_pointers(void) {
    struct slots *from = mallard_gc_new(&slots_type);
    fill(from);
    for (int i = 0; i < 20000; i++) {
        struct slots *to = mallard_gc_new(&slots_type);
        memcpy(to, from, sizeof *to);
        memset(from, 0, sizeof *from);
        from = to;
        if (i % 1000 == 0)
            check(from);
    }
    check(from);
}

static void copied_by_memcpy(void) {
    with_collector(move_pointers);
}

struct row {
    uint64_t count;
    struct cell *cell[];
};
MALLARD_GC_TYPE_POINTERS(row_type, struct row, (), cell);

/* From one size class to the next and to spans of its own: each step copies, the old one dies. */
static struct row *grow_row(struct row *row, size_t most) {
    for (size_t count = row->count + 1; count < most; count += 1 + count / 3) {
        row = mallard_gc_resize_flex(row, &row_type, count);
        REQUIRE(row);
        for (; row->count < count; row->count++)
            row->cell[row->count] = new_cell(row->count, NULL);
    }
    return row;
}

static void resize_often(void) {
    for (size_t i = 0; i < 300; i++) {
        struct row *row = grow_row(mallard_gc_new_flex(&row_type, 0), 100 + i * 37 % 9000);
        for (uint64_t k = 0; k < row->count; k++)
            REQUIRE(row->cell[k]->number == k && row->cell[k]->check == mix(k));
    }
}

static void resized_meanwhile(void) {
    with_collector(resize_often);
}

/* ---- threads, forks, libraries, signals ---- */

static void *live_briefly(void *unused) {
    (void)unused;
    check_list(new_list(LENGTH), LENGTH);
    return NULL;
}

static void start_and_end(void) {
    for (int i = 0; i < 500; i++) {
        pthread_t thread[4];
        for (int k = 0; k < 4; k++)
            REQUIRE(pthread_create(&thread[k], NULL, live_briefly, NULL) == 0);
        for (int k = 0; k < 4; k++)
            pthread_join(thread[k], NULL);
    }
}

static void threads_that_end(void) {
    with_collector(start_and_end);
}

static void fork_often(void) {
    struct cell *list = new_list(LENGTH);
    for (int i = 0; i < 150; i++) {
        pid_t child = fork();
        REQUIRE(child >= 0);
        if (child == 0) {
            alarm(DEADLINE_SECONDS);
            check_list(list, LENGTH);
            churn(2);
            mallard_gc_collect();
            check_list(list, LENGTH);
            _exit(0);
        }
        make_garbage(1);
        int status;
        REQUIRE(waitpid(child, &status, 0) == child && status == 0);
    }
    check_list(list, LENGTH);
}

static void fork_storm(void) {
    with_collector(fork_often);
}

static void spawn_often(void) {
    for (int i = 0; i < 60; i++) {
        REQUIRE(system("true") == 0);
        churn(1);
    }
}

static void spawned_programs(void) {
    with_collector(spawn_often);
}

static void load_often(void) {
    static const char *const names[] = {"libresolv.so.2", "libz.so.1", "libutil.so.1",
                                        "libnsl.so.1"};
    for (int i = 0; i < 600; i++) {
        void *library = dlopen(names[i % 4], RTLD_NOW | RTLD_LOCAL);
        if (i % 20 == 0)
            churn(1);
        if (library)
            dlclose(library);
    }
}

static void libraries(void) {
    with_collector(load_often);
}

static _Atomic(uint64_t) ticks;
static void tick(int number) {
    (void)number;
    atomic_fetch_add(&ticks, 1);
}

static void signals(void) {
    struct sigaction action = {.sa_handler = tick, .sa_flags = SA_RESTART};
    struct itimerval period = {{0, 100}, {0, 100}};
    struct cell *list = new_list(LENGTH);
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &period, NULL);
    for (int i = 0; i < 10; i++) {
        churn(10);
        mallard_gc_collect();
    }
    setitimer(ITIMER_REAL, &(struct itimerval){{0, 0}, {0, 0}}, NULL);
    REQUIRE(ticks > 100);
    check_list(list, LENGTH);
}

static void closed_descriptors(void) {
    struct cell *list = new_list(20000);
    for (int i = 0; i < 20; i++) {
        mallard_gc_collect();
        syscall(SYS_close_range, 3u, ~0u, 0u);
        make_garbage(2);
    }
    check_list(list, 20000);
}

static void *idle(void *argument) {
    struct cell *volatile list = new_list(3);
    pthread_barrier_wait(argument);
    while (atomic_load(&stage) == 0)
        poll(NULL, 0, 60000);
    check_list(list, 3);
    return NULL;
}

static void wake_all(pthread_t *thread, int count) {
    signal(SIGUSR1, tick);
    atomic_store(&stage, 1);
    for (int i = 0; i < count; i++)
        pthread_kill(thread[i], SIGUSR1);
    for (int i = 0; i < count; i++)
        pthread_join(thread[i], NULL);
}

static void many_threads(void) {
    static pthread_t thread[2000];
    static pthread_barrier_t all;
    pthread_attr_t small;
    int count = 0;
    signal(SIGUSR1, tick);
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 64 << 10);
    pthread_barrier_init(&all, NULL, 2001);
    while (count < 2000 && pthread_create(&thread[count], &small, idle, &all) == 0)
        count++;
    REQUIRE(count == 2000);
    pthread_barrier_wait(&all);
    for (int i = 0; i < 5; i++) {
        mallard_gc_collect();
        churn(2);
    }
    wake_all(thread, count);
}

/* ---- kernels and limits that refuse ---- */

static void no_userfaultfd(void) {
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_userfaultfd, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {4, code};
    REQUIRE(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    REQUIRE(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
    churn(50);
    mallard_gc_collect();
    REQUIRE(cycles() > 0);
}

static void not_dumpable(void) {
    prctl(PR_SET_DUMPABLE, 0);
    churn(50);
    mallard_gc_collect();
    REQUIRE(cycles() > 0);
}

/* The limit is set in the parent, since tables are reserved at the start. */
static void little_address_space(void) {
    struct rlimit limit;
    REQUIRE(getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY);
    churn(50);
    mallard_gc_collect();
    struct cell *list = new_list(LENGTH);
    void *volatile kept[128] = {NULL};
    unsigned count = 0;
    while (count < 128 && (kept[count] = mallard_gc_alloc_noscan(8 << 20)))
        count++;
    REQUIRE(count < 128 && errno == ENOMEM);
    check_list(list, LENGTH);
}

/* Neither may threads be had; memory is collected all the same. */
static void no_threads(void) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, live_briefly, NULL) == 0) {
        pthread_join(thread, NULL);
        return; /* who may do everything is not refused */
    }
    churn(100);
    REQUIRE(cycles() > 0);
    uint64_t before = cycles();
    mallard_gc_collect();
    REQUIRE(cycles() > before);
}

static void exit_in_between(void) {
    for (int i = 0; i < 20; i++) {
        pid_t child = fork();
        if (child == 0) {
            pthread_t thread;
            pthread_create(&thread, NULL, collect_for_ever, NULL);
            churn((unsigned)(1 + i % 4));
            exit(0);
        }
        int status;
        REQUIRE(waitpid(child, &status, 0) == child && status == 0);
    }
}

static struct mallard_gc_weak *weak;
static struct cell **outside;
static __attribute__((noinline)) void put_outside(void) {
    outside = malloc(sizeof *outside);
    *outside = new_list(LENGTH);
    weak = mallard_gc_weak_new(*outside);
}

/* With mallocroots=1 in the environment what lies in malloc's memory lives, without it does not. */
static void malloc_as_root(void) {
    const char *debug = getenv("MALLARD_DEBUG");
    put_outside();
    make_garbage(1);
    collect_and_reuse();
    bool lives = mallard_gc_weak_get(weak) != NULL;
    REQUIRE(lives == (debug && strstr(debug, "mallocroots=1")));
    if (lives)
        check_list(*outside, LENGTH);
}

/* ---- all of them ---- */

enum condition { PLAIN, ADDRESS_SPACE, NOBODY };

static const struct hardship {
    const char *name;
    void (*run)(void);
    enum condition condition;
} hardships[] = {
    {"register", in_register, PLAIN},
    {"vector register", in_vector_register, PLAIN},
    {"thread-local", in_tls, PLAIN},
    {"dynamic thread-local", in_dynamic_tls, PLAIN},
    {"alternate stack", on_altstack, PLAIN},
    {"coroutine", in_coroutine, PLAIN},
    {"segments and roots", in_segments, PLAIN},
    {"read(2)", read_from_kernel, PLAIN},
    {"memcpy", copied_by_memcpy, PLAIN},
    {"realloc", resized_meanwhile, PLAIN},
    {"threads that end", threads_that_end, PLAIN},
    {"fork storm", fork_storm, PLAIN},
    {"spawned programs", spawned_programs, PLAIN},
    {"dlopen and dlclose", libraries, PLAIN},
    {"10 kHz of signals", signals, PLAIN},
    {"closefrom(3)", closed_descriptors, PLAIN},
    {"2000 idle threads", many_threads, PLAIN},
    {"seccomp without userfaultfd", no_userfaultfd, PLAIN},
    {"not dumpable", not_dumpable, PLAIN},
    {"1 GiB of addresses", little_address_space, ADDRESS_SPACE},
    {"no threads", no_threads, NOBODY},
    {"exit meanwhile", exit_in_between, PLAIN},
    {"malloc as root", malloc_as_root, PLAIN},
};
#define COUNT (sizeof hardships / sizeof hardships[0])

static void set_up(enum condition condition) {
    struct rlimit addresses = {1ul << 30, 1ul << 30};
    struct rlimit one = {1, 1};
    if (condition == ADDRESS_SPACE)
        setrlimit(RLIMIT_AS, &addresses);
    if (condition == NOBODY && setrlimit(RLIMIT_NPROC, &one) == 0 && getuid() == 0 &&
        setresgid(65534, 65534, 65534) == 0 && setresuid(65534, 65534, 65534) != 0)
        _exit(4);
}

static bool run_in_child(const struct hardship *hardship, const char *debug) {
    pid_t child = fork();
    if (child == 0) {
        setenv("MALLARD_DEBUG", debug, 1);
        set_up(hardship->condition);
        alarm(DEADLINE_SECONDS);
        execl("/proc/self/exe", "gc_hardships", hardship->name, (char *)NULL);
        _exit(5);
    }
    int status = -1;
    bool passed = waitpid(child, &status, 0) == child && status == 0;
    printf("%s %s (%s)", passed ? "ok  " : "FAIL", hardship->name, debug);
    if (!passed)
        printf(": %s %d", WIFSIGNALED(status) ? "signal" : "exit",
               WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    puts("");
    fflush(stdout);
    return passed;
}

static int run_named(const char *name) {
    for (size_t i = 0; i < COUNT; i++)
        if (strcmp(hardships[i].name, name) == 0) {
            hardships[i].run();
            return 0;
        }
    return 2;
}

int main(int arguments, char **argument) {
    static const char *const ways[] = {"gccheckmark=1,gcdirty=uffd", "gccheckmark=1,gcdirty=none",
                                       "gccheckmark=1,gcdirty=uffd,gcstress=50,mallocroots=1"};
    const char *most = getenv("GC_HARDSHIPS_WAYS");
    size_t count = most ? (size_t)atoi(most) : sizeof ways / sizeof ways[0];
    unsigned passed = 0, failed = 0;
    if (arguments > 1)
        return run_named(argument[1]);
    for (size_t way = 0; way < count && way < sizeof ways / sizeof ways[0]; way++)
        for (size_t i = 0; i < COUNT; i++)
            *(run_in_child(&hardships[i], ways[way]) ? &passed : &failed) += 1;
    printf("%u passed, %u failed\n", passed, failed);
    return failed > 0;
}
