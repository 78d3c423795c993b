/* SPDX-License-Identifier: Apache-2.0
 *
 * Stops the world thousands of times while threads compute, allocate, fight over locks, come and
 * go, fork, and load libraries. While it is stopped nobody may move; afterwards everybody must.
 *
 *     gc_world [SECONDS of each part, 1]
 */
#include "gc_world.h"

#include "mallard/mallard.h"

#include "os/tasks.h"
#include "os/thread.h"

#include <dlfcn.h>
#include <limits.h>
#include <link.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>

#define WORKERS 6
#define STOPS_LEAST 10u
#define LATEST_NS 30000000000ull /* of what takes an instant on an idle machine */

static double seconds = 1;
static uint32_t ending;
static char library[PATH_MAX];

static uint64_t progress[WORKERS]; /* written by one thread each, read while the world is stopped */

static void *compute(void *argument) {
    volatile uint64_t *mine = argument;
    while (!mal_load_relaxed(&ending))
        ++*mine;
    return NULL;
}

static void *allocate(void *argument) {
    volatile uint64_t *mine = argument;
    unsigned seed = 7;
    void *blocks[64] = {NULL};
    while (!mal_load_relaxed(&ending)) {
        void **block = &blocks[rand_r(&seed) % 64];
        mallard_free(*block);
        *block = mallard_malloc((size_t)(rand_r(&seed) % 100000));
        ++*mine;
    }
    for (int i = 0; i < 64; i++)
        mallard_free(blocks[i]);
    return NULL;
}

static pthread_mutex_t contended = PTHREAD_MUTEX_INITIALIZER;
static void *contend(void *argument) {
    volatile uint64_t *mine = argument;
    while (!mal_load_relaxed(&ending)) {
        pthread_mutex_lock(&contended);
        ++*mine;
        pthread_mutex_unlock(&contended);
    }
    return NULL;
}

struct look {
    uint64_t before[WORKERS];
    unsigned moved;
};

static void look_twice(void *context) {
    struct look *look = context;
    memcpy(look->before, progress, sizeof progress);
    for (volatile int i = 0; i < 3000; i++)
        ;
    look->moved += memcmp(look->before, progress, sizeof progress) != 0;
}

static pthread_t start(void *(*body)(void *), void *argument) {
    pthread_t thread;
    int error = pthread_create(&thread, NULL, body, argument);
    errno = error;
    must(error == 0, "pthread_create");
    return thread;
}

static uint64_t now_ns(void) {
    return mal_clock_mono_ns();
}

static bool moves_on(volatile uint64_t *number) {
    uint64_t before = *number;
    uint64_t end_ns = now_ns() + 5000000000ull;
    while (*number == before && now_ns() < end_ns)
        sched_yield();
    return *number != before;
}

static void test_nobody_moves(const char *what) {
    static void *(*const bodies[])(void *) = {compute, allocate, contend};
    pthread_t threads[WORKERS];
    struct look look = {.moved = 0};
    uint64_t end_ns = now_ns() + (uint64_t)(seconds * 1e9);
    unsigned stops = 0;
    unsigned stuck = 0;
    mal_store_relaxed(&ending, 0u);
    for (int i = 0; i < WORKERS; i++)
        threads[i] = start(bodies[i % 3], &progress[i]);
    /* A loaded machine stops threads rarely: so often at least. */
    for (; now_ns() < end_ns || stops <= STOPS_LEAST; stops++) {
        stop_once(look_twice, &look);
        if (stops % 64 == 63)
            sched_yield();
    }
    for (int i = 0; i < WORKERS; i++)
        stuck += !moves_on(&progress[i]);
    mal_store_relaxed(&ending, 1u);
    for (int i = 0; i < WORKERS; i++)
        pthread_join(threads[i], NULL);
    printf("   %s: %u stops, %u with movement, %u threads stuck\n", what, stops, look.moved, stuck);
    judge(look.moved == 0 && stuck == 0, what);
}

static uint64_t alarms;
static void on_alarm(int number) {
    (void)number;
    mal_add_relaxed(&alarms, 1);
}

static void test_signals(void) {
    struct sigaction action = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
    struct itimerval often = {{0, 100}, {0, 100}};
    struct itimerval never = {{0, 0}, {0, 0}};
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &often, NULL);
    test_nobody_moves("nobody moves, with 10 000 signals a second");
    setitimer(ITIMER_REAL, &never, NULL);
    judge(mal_load_relaxed(&alarms) > 100, "the program's signals arrive");
}

/* ---- threads that come and go ---- */

static void *short_life(void *argument) {
    free(malloc(1000));
    return argument;
}

/* Detached: at its end it takes a lock of libc's with all signals blocked. */
static void start_detached(void) {
    pthread_t thread;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    if (pthread_create(&thread, &attributes, short_life, NULL) != 0)
        abort();
    pthread_attr_destroy(&attributes);
}

static void *start_many(void *ret_started) {
    uint64_t *started = ret_started;
    while (!mal_load_relaxed(&ending)) {
        pthread_t threads[8];
        for (int i = 0; i < 8; i++)
            threads[i] = start(short_life, &threads[i]);
        for (int i = 0; i < 8; i++) {
            void *value = NULL;
            pthread_join(threads[i], &value);
            must(value == &threads[i], "a thread's result");
        }
        start_detached();
        *started += 9;
    }
    return NULL;
}

/* What libmallard-gc.so does not see: it is met in /proc. */
static void *start_strangers(void *argument) {
    int (*create)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    *(void **)&create = dlsym(RTLD_NEXT, "pthread_create");
    while (!mal_load_relaxed(&ending)) {
        pthread_t thread;
        if (create(&thread, NULL, short_life, NULL) == 0)
            pthread_join(thread, NULL);
        ++*(uint64_t *)argument;
    }
    return NULL;
}

static void *load_and_unload(void *argument) {
    while (!mal_load_relaxed(&ending)) {
        void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
        must(handle != NULL, "dlopen");
        uintptr_t *(*word)(void);
        *(void **)&word = dlsym(handle, "gc_tls_word");
        *word() = 1;
        dlclose(handle);
        ++*(uint64_t *)argument;
    }
    return NULL;
}

static void count_range(uintptr_t low, uintptr_t high, enum mal_gc_root_kind kind, void *context) {
    (void)kind;
    uint64_t *sum = context;
    for (; low + sizeof(uintptr_t) <= high; low += sizeof(uintptr_t))
        *sum += *(volatile uintptr_t *)low;
}

static void read_all_roots(void *ret_sum) {
    mal_gc_world_each_stack(count_range, ret_sum);
    mal_gc_world_each_segment(count_range, ret_sum);
    mal_gc_world_each_explicit(count_range, ret_sum);
}

static void *fork_often(void *ret_bad) {
    uint64_t *counts = ret_bad; /* forks, bad ones */
    while (!mal_load_relaxed(&ending)) {
        pid_t pid = fork();
        if (pid == 0) {
            uint64_t sum = 0;
            struct mal_gc_stop stop;
            uint64_t word = 0;
            alarm(20);
            mal_gc_world_stopped(read_all_roots, &sum, &stop);
            if (stop.threads != 1)
                _exit(3);
            mal_store_relaxed(&ending, 0u);
            pthread_t thread = start(compute, &word);
            mal_gc_world_stopped(read_all_roots, &sum, &stop);
            mal_store_relaxed(&ending, 1u);
            pthread_join(thread, NULL);
            _exit(stop.threads == 2 ? 0 : 4);
        }
        int status = -1;
        must(pid > 0 && waitpid(pid, &status, 0) == pid, "fork");
        counts[0]++;
        if (status != 0)
            printf("   child: status 0x%x\n", status);
        counts[1] += status != 0;
    }
    return NULL;
}

/* A thread that does something until the end, and counts how often. */
struct part {
    void *(*body)(void *done);
    uint64_t done[2]; /* the second one: how often wrongly */
    uint64_t least;
};

static bool have_done_enough(const struct part *parts, unsigned count) {
    bool enough = true;
    for (unsigned i = 0; i < count; i++)
        enough = enough && *(volatile const uint64_t *)&parts[i].done[0] >= parts[i].least;
    return enough;
}

/* Stops the world and reads all roots while the parts go on: for the time that was asked for, and
 * on a loaded machine until there was something to see. */
static unsigned stop_while(struct part *parts, unsigned count) {
    pthread_t threads[4];
    uint64_t sum = 0;
    unsigned stops = 0;
    uint64_t end_ns = now_ns() + (uint64_t)(seconds * 1e9);
    uint64_t latest_ns = end_ns + LATEST_NS;
    mal_store_relaxed(&ending, 0u);
    for (unsigned i = 0; i < count; i++)
        threads[i] = start(parts[i].body, parts[i].done);
    for (; now_ns() < end_ns ||
           ((stops <= STOPS_LEAST || !have_done_enough(parts, count)) && now_ns() < latest_ns);
         stops++) {
        stop_once(read_all_roots, &sum);
        usleep(200);
    }
    mal_store_relaxed(&ending, 1u);
    for (unsigned i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
    return stops;
}

/* Detached threads go when they like, and one that was joined is listed until the kernel is done
 * with it: a stop meets either. */
static bool is_alone(void) {
    return mal_tasks_count() == 1 + mal_thread_own_count();
}

static bool await_being_alone(void) {
    uint64_t latest_ns = now_ns() + LATEST_NS;
    while (!is_alone() && now_ns() < latest_ns)
        usleep(1000);
    return is_alone();
}

static void test_churn(void) {
    struct part parts[] = {
        {start_many, {0, 0}, 21}, {start_strangers, {0, 0}, 6}, {load_and_unload, {0, 0}, 6}};
    unsigned stops = stop_while(parts, 3);
    printf("   %u stops, %lu threads, %lu strangers, %lu loads\n", stops,
           (unsigned long)parts[0].done[0], (unsigned long)parts[1].done[0],
           (unsigned long)parts[2].done[0]);
    judge(stops > STOPS_LEAST && have_done_enough(parts, 3),
          "threads come and go, libraries are loaded and unloaded");
    bool alone = await_being_alone();
    stop_once(nothing, NULL);
    judge(alone && mal_gc_thread_count() == 1, "nobody is left in the registry");
}

/* Not while libraries are loaded: glibc's child may then inherit the loader's lock for ever. */
static void test_fork(void) {
    struct part parts[] = {{start_many, {0, 0}, 9}, {fork_often, {0, 0}, 3}};
    const uint64_t *forks = parts[1].done;
    unsigned stops = stop_while(parts, 2);
    printf("   %u stops, %lu threads, %lu forks\n", stops, (unsigned long)parts[0].done[0],
           (unsigned long)forks[0]);
    judge(forks[0] > 2 && forks[1] == 0, "a forked child has one thread, and stops others later");
}

/* ---- many idle threads ---- */

#define IDLE 2000

static pthread_cond_t bell = PTHREAD_COND_INITIALIZER;
static pthread_mutex_t bell_lock = PTHREAD_MUTEX_INITIALIZER;
static bool rung;
static uint32_t waiting;
static void *wait_for_bell(void *unused) {
    (void)unused;
    pthread_mutex_lock(&bell_lock);
    mal_add_relaxed(&waiting, 1);
    while (!rung)
        pthread_cond_wait(&bell, &bell_lock);
    pthread_mutex_unlock(&bell_lock);
    return NULL;
}

static int by_number(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void test_idle(void) {
    static pthread_t threads[IDLE];
    static uint64_t took_ns[200];
    unsigned made = 0;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 64 << 10);
    while (made < IDLE && pthread_create(&threads[made], &attributes, wait_for_bell, NULL) == 0)
        made++;
    while (mal_load_relaxed(&waiting) < made)
        usleep(1000);
    struct mal_gc_stop stop = {0};
    for (int i = 0; i < 200; i++) {
        mal_gc_world_stopped(nothing, NULL, &stop);
        took_ns[i] = stop.stopped_ns - stop.asked_ns;
    }
    qsort(took_ns, 200, sizeof took_ns[0], by_number);
    printf("   %u idle threads, %u of them signalled: p50 %lu us, p99 %lu us\n", made,
           stop.signalled, (unsigned long)(took_ns[100] / 1000),
           (unsigned long)(took_ns[198] / 1000));
    pthread_mutex_lock(&bell_lock);
    rung = true;
    pthread_cond_broadcast(&bell);
    pthread_mutex_unlock(&bell_lock);
    for (unsigned i = 0; i < made; i++)
        pthread_join(threads[i], NULL);
    judge(made > 100 && stop.signalled == 0, "idle threads are not signalled");
}

/* ---- threads that do not come ---- */

static uint32_t blocks_signal;
static void *block_by_system_call(void *unused) {
    (void)unused;
    uint64_t all = ~0ull;
    uint64_t before;
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, &before, sizeof all);
    mal_store_release(&blocks_signal, 1u);
    uint64_t end_ns = now_ns() + 1300000000ull;
    while (now_ns() < end_ns)
        ;
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &before, NULL, sizeof all);
    return NULL;
}

static void test_watchdog(void) {
    char said[512] = "";
    int ends[2];
    int saved = dup(2);
    must(pipe(ends) == 0, "pipe");
    pthread_t thread = start(block_by_system_call, NULL);
    while (!mal_load_acquire(&blocks_signal))
        ;
    dup2(ends[1], 2);
    uint64_t took_ns = stop_once(nothing, NULL);
    dup2(saved, 2);
    close(ends[1]);
    ssize_t got = read(ends[0], said, sizeof said - 1);
    pthread_join(thread, NULL);
    printf("   after %lu ms: %s", (unsigned long)(took_ns / 1000000), got > 0 ? said : "nothing\n");
    judge(took_ns > 900000000 && strstr(said, "blocks the signal") != NULL,
          "a thread that keeps the signal blocked is waited for, and named after a second");
}

static void *end_by_system_call(void *unused) {
    (void)unused;
    mal_gc_thread_register();
    syscall(SYS_exit, 0);
    return NULL;
}

static void test_silent_end(void) {
    int (*create)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    *(void **)&create = dlsym(RTLD_NEXT, "pthread_create");
    pthread_t thread;
    await_being_alone();
    stop_once(nothing, NULL);
    create(&thread, NULL, end_by_system_call, NULL);
    pthread_join(thread, NULL);
    judge(mal_gc_thread_count() == 2, "a thread that ends without a word stays registered");
    stop_once(nothing, NULL);
    judge(mal_gc_thread_count() == 1, "and is dropped by the next stop");
}

/* ---- threads that have something to write down first ---- */

void *mallard_gc_link_call(void *(*function)(void *data), void *data);

static void spin(uint64_t ns) {
    for (uint64_t end_ns = now_ns() + ns; now_ns() < end_ns;)
        ;
}

#define LISTENER_STOPS 1000

static uint32_t told; /* and not written down yet */
static void *tell(void *section_ns) {
    spin(*(const uint64_t *)section_ns);
    mal_store_relaxed(&told, 1u);
    return NULL;
}

/* Is told something on and on, and in between computes. */
struct listener {
    uint64_t section_ns, between_ns;
    uint64_t calls;
};

static void *listen_on_and_on(void *argument) {
    struct listener *listener = argument;
    while (!mal_load_relaxed(&ending)) {
        mallard_gc_link_call(tell, &listener->section_ns);
        mal_store_relaxed(&told, 0u);
        listener->calls++;
        spin(listener->between_ns);
    }
    return NULL;
}

static void look_at_told(void *ret_unwritten) {
    *(unsigned *)ret_unwritten += mal_load_relaxed(&told);
}

/* A thread may be kept from its CPU right behind the section's last instruction. */
#define UNWRITTEN_MOST 4u

static void stop_a_listener(uint64_t section_ns, uint64_t between_ns, const char *what) {
    struct listener listener = {section_ns, between_ns, 0};
    unsigned unwritten = 0;
    uint64_t took_ns = 0;
    mal_store_relaxed(&ending, 0u);
    pthread_t thread = start(listen_on_and_on, &listener);
    must(moves_on(&listener.calls), "a listener");
    for (int i = 0; i < LISTENER_STOPS; i++) {
        took_ns += stop_once(look_at_told, &unwritten);
        usleep(100 + (unsigned)i % 7);
    }
    mal_store_relaxed(&ending, 1u);
    pthread_join(thread, NULL);
    printf("   %lu calls, %u not written down, %lu us to stop\n", (unsigned long)listener.calls,
           unwritten, (unsigned long)(took_ns / LISTENER_STOPS / 1000));
    judge(unwritten <= UNWRITTEN_MOST, what);
}

static void test_listeners(void) {
    stop_a_listener(200000, 0,
                    "a thread that puts stops off on and on has written down what it was told");
    stop_a_listener(0, 0, "so has one that is mostly right behind them");
    stop_a_listener(200000, 3000000,
                    "one that then does something else is stopped in the middle of it");
}

/* ---- what has to wait until the world goes on ---- */

/* Of one of Mallard's own threads, which no stop concerns, or of one in a region. */
static uint32_t born, may_try, trying, done;

static void try_when_told(void (*what)(void)) {
    mal_store_release(&born, 1u);
    while (!mal_load_acquire(&may_try))
        poll(NULL, 0, 1);
    mal_store_release(&trying, 1u);
    what();
    mal_store_release(&done, 1u);
}

static void try_to_join(void) {
    try_when_told(mal_gc_world_become_program);
}

static int look_at_one(struct dl_phdr_info *object, size_t bytes, void *unused) {
    (void)object;
    (void)bytes;
    (void)unused;
    return 1;
}

static void walk_objects(void) {
    dl_iterate_phdr(look_at_one, NULL);
}

static void try_to_walk(void) {
    try_when_told(walk_objects);
}

static void watch_it_wait(void *ret_waits) {
    uint64_t end_ns = now_ns() + 5000000000ull;
    mal_store_release(&may_try, 1u);
    while (!mal_load_acquire(&trying) && now_ns() < end_ns)
        ;
    for (end_ns = now_ns() + 30000000u; now_ns() < end_ns;)
        ;
    *(bool *)ret_waits = mal_load_acquire(&trying) && !mal_load_acquire(&done);
}

static void test_waits(void (*body)(void), const char *what) {
    const struct mal_own_thread own = {"own", body, 1 << 20};
    bool waits = false;
    born = may_try = trying = done = 0;
    must(mal_thread_start(&own) == 0, "mal_thread_start");
    while (!mal_load_acquire(&born))
        poll(NULL, 0, 1);
    stop_once(watch_it_wait, &waits);
    uint64_t end_ns = now_ns() + 5000000000ull;
    while (!mal_load_acquire(&done) && now_ns() < end_ns)
        poll(NULL, 0, 1);
    judge(waits && mal_load_acquire(&done), what);
}

static void *leave_a_region(void *unused) {
    (void)unused;
    mal_gc_thread_register();
    mallard_gc_blocking_begin();
    mal_store_release(&born, 1u);
    try_when_told(mallard_gc_blocking_end);
    return NULL;
}

/* Who sleeps in a call is not signalled; it may not go on from there meanwhile. */
static void test_leaving(void) {
    pthread_t thread;
    bool waits = false;
    born = may_try = trying = done = 0;
    must(pthread_create(&thread, NULL, leave_a_region, NULL) == 0, "pthread_create");
    while (!mal_load_acquire(&born))
        poll(NULL, 0, 1);
    stop_once(watch_it_wait, &waits);
    pthread_join(thread, NULL);
    judge(waits, "a region is not left while the world is stopped");
}

static void *stop_after_first(void *first) {
    uint64_t sum = 0;
    uint64_t took_ns = 0;
    pthread_join(*(pthread_t *)first, NULL);
    for (int i = 0; i < 20; i++)
        took_ns += stop_once(read_all_roots, &sum);
    _exit(took_ns < 200000000 ? 0 : 5);
}

static void test_first_thread_leaves(void) {
    pid_t pid = fork();
    if (pid == 0) {
        static pthread_t self; /* its stack goes on to be used */
        self = pthread_self();
        signal(SIGALRM, SIG_DFL);
        alarm(20);
        start(stop_after_first, &self);
        pthread_exit(NULL);
    }
    int status = -1;
    waitpid(pid, &status, 0);
    if (status)
        printf("   status 0x%x\n", status);
    judge(status == 0, "the world is stopped after the first thread has left");
}

int main(int argc, char **argv) {
    if (argc > 1)
        seconds = atof(argv[1]);
    snprintf(library, sizeof library, "%s", argv[0]);
    char *slash = strrchr(library, '/');
    snprintf(slash ? slash + 1 : library, 32, "lib/gc_tls.so");
    must(mal_gc_world_init() == 0, "mal_gc_world_init");
    test_nobody_moves("nobody moves while the world is stopped");
    test_signals();
    test_churn();
    test_fork();
    test_silent_end();
    test_idle();
    test_watchdog();
    test_listeners();
    test_waits(try_to_join, "one of Mallard's threads joins the program between stops only");
    test_waits(try_to_walk, "the list of loaded objects is locked while the world is stopped");
    test_leaving();
    test_first_thread_leaves();
    return end_of_tests();
}
