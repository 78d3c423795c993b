/* SPDX-License-Identifier: Apache-2.0
 *
 * What hangs on objects, pools and arenas with the collector itself: threads, cycles that come when
 * they want, forks. Prints what it found, ends with 1 when something was wrong.
 *
 *     gc_extras [SECONDS [SEED]]
 */
#include "mallard/arena.h"
#include "mallard/gc.h"
#include "mallard/pool.h"
#include "support/program.h"

#include <errno.h>
#include <link.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define THREADS 4
#define STAMP 0x5afe5afe5afe5afeull

static unsigned passed, failed;
static uint64_t seed = 1;
static unsigned seconds = 2;

static void judge(bool ok, const char *what) {
    printf("%s %s\n", ok ? "ok  " : "FAIL", what);
    *(ok ? &passed : &failed) += 1;
    if (!ok)
        printf("     again with: gc_extras %u %llu\n", seconds, (unsigned long long)seed);
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* Polls for at most `most` seconds. */
static bool reaches(uint64_t *counter, uint64_t wanted, double most) {
    const struct timespec nap = {0, 1000000};
    double end = now() + most;
    while (__atomic_load_n(counter, __ATOMIC_RELAXED) < wanted && now() < end)
        nanosleep(&nap, NULL);
    return __atomic_load_n(counter, __ATOMIC_RELAXED) >= wanted;
}

struct node {
    struct node *next;
    struct node *child;
    uint64_t stamp;
};
MALLARD_GC_TYPE(node_type, struct node, next, child);

/* What this program ends for, told from what the library does. */
static _Noreturn void give_up(const char *what, int error) {
    fprintf(stderr, "gc_extras: %s: %s\n", what, strerror(error));
    abort();
}

static struct node *new_node(void) {
    struct node *node = mallard_gc_new(&node_type);
    if (!node)
        give_up("mallard_gc_new", errno);
    node->stamp = STAMP;
    return node;
}

/* Old frames must not hold what a test has dropped. */
static __attribute__((noinline)) void wipe_stack(void) {
    volatile char waste[16384];
    memset((void *)waste, 0, sizeof waste);
}

/* ---- finalizers and cleanups ---- */

#define OBJECTS 20000u

static uint64_t finalized, cleaned, broken;

static void finalize(void *object) {
    struct node *node = object;
    if (node->stamp != STAMP || !node->child || node->child->stamp != STAMP)
        broken++;
    node->stamp = 0;
    __atomic_fetch_add(&finalized, 1, __ATOMIC_RELAXED);
}

static void clean(void *argument) {
    struct node *node = argument;
    if (node->stamp != STAMP)
        broken++;
    __atomic_fetch_add(&cleaned, 1, __ATOMIC_RELAXED);
}

static void set_finalizer(struct node *node) {
    int error = mallard_gc_finalizer_set(node, finalize);
    if (error != 0)
        give_up("mallard_gc_finalizer_set", -error);
}

static __attribute__((noinline)) void make_mortal(void) {
    for (unsigned i = 0; i < OBJECTS; i++) {
        struct node *node = new_node();
        node->child = new_node();
        set_finalizer(node);
        int error = mallard_gc_cleanup_add(node, clean, new_node(), NULL);
        if (error != 0)
            give_up("mallard_gc_cleanup_add", -error);
    }
}

static void mortals_end_once(void) {
    make_mortal();
    wipe_stack();
    mallard_gc_collect();
    judge(reaches(&finalized, OBJECTS - 8, 20), "finalizers run, on whole objects");
    for (int i = 0; i < 3; i++)
        mallard_gc_collect();
    judge(reaches(&cleaned, OBJECTS - 16, 20), "cleanups run after the finalizers");
    judge(finalized <= OBJECTS && cleaned <= OBJECTS && broken == 0, "each once, nothing broken");
}

/* ---- weak references ---- */

#define WEAK_SLOTS 512

static double end_time;
static bool all_forked;
static uint64_t weak_gone, weak_there, weak_wrong;

struct cache {
    struct mallard_gc_weak *weak[WEAK_SLOTS];
    struct node *strong[WEAK_SLOTS / 4];
};

static void use_weak(struct cache *cache, uint64_t *random) {
    unsigned at = (unsigned)(random_next(random) % WEAK_SLOTS);
    struct node *node = mallard_gc_weak_get(cache->weak[at]);
    if (node && (node->stamp != STAMP || mallard_gc_weak_new(node) != cache->weak[at]))
        __atomic_fetch_add(&weak_wrong, 1, __ATOMIC_RELAXED);
    if (cache->weak[at])
        __atomic_fetch_add(node ? &weak_there : &weak_gone, 1, __ATOMIC_RELAXED);
    if (!node) {
        node = new_node();
        cache->weak[at] = mallard_gc_weak_new(node);
    }
    cache->strong[random_next(random) % (WEAK_SLOTS / 4)] = node;
}

static void *live_with_weak(void *argument) {
    uint64_t random = (uintptr_t)argument * 0x9e3779b97f4a7c15ull + seed;
    struct cache *cache = mallard_gc_alloc(sizeof *cache, NULL);
    while (now() < end_time)
        for (int i = 0; i < 100; i++)
            use_weak(cache, &random);
    return NULL;
}

static void *collect_all_the_time(void *argument) {
    while (now() < end_time)
        mallard_gc_collect();
    return argument;
}

static void run_threads(void *(*body)(void *argument)) {
    pthread_t thread[THREADS], collector;
    end_time = now() + seconds;
    for (uintptr_t i = 0; i < THREADS; i++)
        pthread_create(&thread[i], NULL, body, (void *)(i + 1));
    pthread_create(&collector, NULL, collect_all_the_time, NULL);
    for (int i = 0; i < THREADS; i++)
        pthread_join(thread[i], NULL);
    pthread_join(collector, NULL);
}

/* On a busy machine a collection may take longer than a run. */
#define WEAK_RUNS_MAX 20

static void weak_references_hold_or_are_empty(void) {
    for (int i = 0; i < WEAK_RUNS_MAX && weak_gone == 0; i++)
        run_threads(live_with_weak);
    judge(weak_wrong == 0, "weak references are empty or lead to whole objects");
    judge(weak_gone > 0 && weak_there > 0, "both happened");
    printf("     %llu times there, %llu times gone\n", (unsigned long long)weak_there,
           (unsigned long long)weak_gone);
}

/* ---- pools ---- */

static struct mallard_pool *pool;
static uint64_t pool_made, pool_wrong;

static void *new_pooled(void *context) {
    (void)context;
    struct node *node = new_node();
    node->child = new_node();
    __atomic_fetch_add(&pool_made, 1, __ATOMIC_RELAXED);
    return node;
}

static void *live_with_pool(void *argument) {
    uint64_t random = (uintptr_t)argument * 0x9e3779b97f4a7c15ull + seed;
    struct node *mine[8] = {0};
    while (now() < end_time)
        for (int i = 0; i < 100; i++) {
            struct node **slot = &mine[random_next(&random) % 8];
            if (*slot) {
                (*slot)->next = NULL;
                mallard_pool_put(pool, *slot);
                *slot = NULL;
                continue;
            }
            *slot = mallard_pool_get(pool);
            if ((*slot)->stamp != STAMP || (*slot)->child->stamp != STAMP || (*slot)->next)
                __atomic_fetch_add(&pool_wrong, 1, __ATOMIC_RELAXED);
            (*slot)->next = *slot;
        }
    return NULL;
}

static void pooled_objects_stay_whole(void) {
    struct mallard_pool_options options = {.size = sizeof options, .new_item = new_pooled};
    pool = mallard_pool_new(&options);
    run_threads(live_with_pool);
    judge(pool_wrong == 0 && pool_made > 0, "pooled objects stay whole and in one hand");
    mallard_gc_collect();
    mallard_gc_collect();
    struct mallard_pool_stats stats = {.size = sizeof stats};
    mallard_pool_read_stats(pool, &stats);
    judge(stats.kept_items == 0, "an idle pool is empty after two cycles");
    mallard_pool_free(pool);
}

/* ---- arenas ---- */

static uint64_t arena_wrong, arena_rounds;

/* A list through an arena: every arena object holds the only pointer to a collected one. */
static void use_arena(uint64_t *random) {
    struct mallard_arena *arena = mallard_arena_new();
    struct node *first = NULL;
    unsigned count = (unsigned)(random_next(random) % 3000);
    for (unsigned i = 0; i < count; i++) {
        struct node *node = mallard_arena_alloc(arena, sizeof *node, &node_type);
        node->next = first;
        node->child = new_node();
        node->child->child = node;
        node->stamp = STAMP;
        first = node;
    }
    for (struct node *node = first; node; node = node->next)
        if (node->stamp != STAMP || node->child->stamp != STAMP || node->child->child != node)
            __atomic_fetch_add(&arena_wrong, 1, __ATOMIC_RELAXED);
    if (random_next(random) % 8)
        mallard_arena_free(arena);
    __atomic_fetch_add(&arena_rounds, 1, __ATOMIC_RELAXED);
    mallard_gc_keepalive(arena);
}

static void *live_with_arenas(void *argument) {
    uint64_t random = (uintptr_t)argument * 0x9e3779b97f4a7c15ull + seed;
    while (now() < end_time)
        use_arena(&random);
    return NULL;
}

static void arenas_and_the_heap_hold_each_other(void) {
    run_threads(live_with_arenas);
    judge(arena_wrong == 0, "what arenas lead to is alive");
    judge(arena_rounds > THREADS, "arenas come and go");
    printf("     %llu arenas\n", (unsigned long long)arena_rounds);
}

static struct mallard_gc_stats stats_now(void) {
    struct mallard_gc_stats stats = {.size = sizeof stats};
    mallard_gc_read_stats(&stats);
    return stats;
}

static uint64_t marked_by_a_cycle(void) {
    mallard_gc_collect();
    return stats_now().marked_bytes;
}

/* The pointer into a freed arena stays on this stack. */
static void arenas_are_accounted_for(void) {
    enum { BYTES = 16 << 20 };
    uint64_t marked_bytes = marked_by_a_cycle();
    uint64_t live_bytes = stats_now().live_bytes, mallocs = stats_now().mallocs;
    struct mallard_arena *arena = mallard_arena_new();
    void *volatile object = mallard_arena_alloc_noscan(arena, BYTES);
    judge(stats_now().live_bytes >= live_bytes + BYTES, "what an arena takes is live");
    judge(stats_now().mallocs > mallocs, "and counted");
    judge(marked_by_a_cycle() >= marked_bytes + BYTES, "a cycle finds it marked");
    mallard_arena_free(arena);
    judge(stats_now().live_bytes < live_bytes + BYTES, "once freed it is not live");
    judge(marked_by_a_cycle() < marked_bytes + BYTES, "nor marked while pointers lead there");
    judge(object != NULL, "which were there");
}

static void arenas_bring_cycles_about(void) {
    uint32_t cycles = stats_now().num_gc;
    for (int i = 0; i < 300 && stats_now().num_gc == cycles; i++) {
        struct mallard_arena *arena = mallard_arena_new();
        mallard_arena_alloc_noscan(arena, 1 << 20);
        mallard_gc_keepalive(arena);
    }
    judge(stats_now().num_gc > cycles, "arenas that are forgotten bring a cycle about");
}

/* ---- fork ---- */

static __attribute__((noinline)) void make_mortal_again(void) {
    for (int i = 0; i < 100; i++) {
        struct node *node = new_node();
        node->child = new_node();
        set_finalizer(node);
    }
}

static int live_as_a_child(void) {
    finalized = broken = 0;
    make_mortal_again();
    wipe_stack();
    mallard_gc_collect();
    bool ok = reaches(&finalized, 90, 20) && broken == 0;
    struct mallard_arena *arena = mallard_arena_new();
    ok = ok && mallard_arena_alloc(arena, 100, NULL);
    mallard_arena_free(arena);
    return ok ? 0 : 1;
}

#define CHILD_SECONDS 60

static bool child_is_well(int (*live)(void)) {
    int status = -1;
    pid_t child = fork();
    if (child == 0) {
        alarm(CHILD_SECONDS);
        _exit(live());
    }
    pid_t ended = child > 0 ? waitpid(child, &status, 0) : -1;
    if (ended != child || status != 0)
        printf("     child %d: waitpid %d, status %x\n", (int)child, (int)ended, (unsigned)status);
    return ended == child && status == 0;
}

static void *fork_often(void *argument) {
    uint64_t *wrong = argument;
    for (int i = 0; i < 5; i++)
        if (!child_is_well(live_as_a_child))
            __atomic_fetch_add(wrong, 1, __ATOMIC_RELAXED);
    return NULL;
}

static void children_finalize_too(void) {
    pthread_t forker, user;
    uint64_t wrong = 0;
    struct mallard_pool_options options = {.size = sizeof options, .new_item = new_pooled};
    pool = mallard_pool_new(&options);
    end_time = now() + seconds;
    pthread_create(&user, NULL, live_with_pool, (void *)1);
    pthread_create(&forker, NULL, fork_often, &wrong);
    pthread_join(forker, NULL);
    pthread_join(user, NULL);
    judge(wrong == 0, "children have their own thread for callbacks");
}

/* Forks between any two lines of what other threads do to arenas, and of what the collector does
 * to those that were freed. */
#define ARENA_CHILDREN 24

static int collect_twice(void) {
    mallard_gc_collect();
    mallard_gc_collect();
    return 0;
}

static void *fork_beside_arenas(void *argument) {
    uint64_t *wrong = argument;
    for (int i = 0; i < ARENA_CHILDREN; i++)
        if (!child_is_well(collect_twice))
            __atomic_fetch_add(wrong, 1, __ATOMIC_RELAXED);
    __atomic_store_n(&all_forked, true, __ATOMIC_RELAXED);
    return NULL;
}

static void *make_arenas(void *argument) {
    uint64_t random = (uintptr_t)argument * 0x9e3779b97f4a7c15ull + seed;
    while (!__atomic_load_n(&all_forked, __ATOMIC_RELAXED))
        use_arena(&random);
    return NULL;
}

static void *collect_meanwhile(void *argument) {
    while (!__atomic_load_n(&all_forked, __ATOMIC_RELAXED))
        mallard_gc_collect();
    return argument;
}

static void children_find_arenas_whole(void) {
    pthread_t forker, user[2], collector;
    uint64_t wrong = 0;
    pthread_create(&forker, NULL, fork_beside_arenas, &wrong);
    for (uintptr_t i = 0; i < 2; i++)
        pthread_create(&user[i], NULL, make_arenas, (void *)(i + 1));
    pthread_create(&collector, NULL, collect_meanwhile, NULL);
    pthread_join(forker, NULL);
    for (int i = 0; i < 2; i++)
        pthread_join(user[i], NULL);
    pthread_join(collector, NULL);
    judge(wrong == 0, "children collect whatever became of arenas at the fork");
}

/* A stop of the world waits for the loader's lock, whoever has that for libc's list of files, and
 * fork takes the list's. */
#define FILE_CHILDREN 300

static bool all_forked_beside_files;

static int open_a_file(struct dl_phdr_info *object, size_t bytes, void *context) {
    FILE *file = fopen("/dev/null", "r");
    (void)object, (void)bytes, (void)context;
    return file ? fclose(file) : 0;
}

static void *open_files_under_the_loader(void *argument) {
    while (!__atomic_load_n(&all_forked_beside_files, __ATOMIC_RELAXED))
        dl_iterate_phdr(open_a_file, NULL);
    return argument;
}

static void *collect_beside_files(void *argument) {
    while (!__atomic_load_n(&all_forked_beside_files, __ATOMIC_RELAXED))
        mallard_gc_collect();
    return argument;
}

static int do_nothing(void) {
    return 0;
}

static void forks_pass_files_and_the_loader(void) {
    pthread_t opener, collector;
    unsigned wrong = 0;
    pthread_create(&opener, NULL, open_files_under_the_loader, NULL);
    pthread_create(&collector, NULL, collect_beside_files, NULL);
    for (int i = 0; i < FILE_CHILDREN; i++)
        wrong += !child_is_well(do_nothing);
    __atomic_store_n(&all_forked_beside_files, true, __ATOMIC_RELAXED);
    pthread_join(opener, NULL);
    pthread_join(collector, NULL);
    judge(wrong == 0, "forks pass who opens files under the loader's lock, beside the collector");
}

/* ---- keepalive ---- */

#define KEPT 16u
static struct mallard_gc_weak *of_kept[KEPT];

/* Nothing but the last line needs the object once its weak reference is made. */
static __attribute__((noinline)) bool is_kept(unsigned i) {
    struct node *node = new_node();
    of_kept[i] = mallard_gc_weak_new(node);
    wipe_stack();
    mallard_gc_collect();
    bool lives = mallard_gc_weak_get(of_kept[i]) != NULL;
    mallard_gc_keepalive(node);
    return lives;
}

static void objects_are_kept_so_far(void) {
    unsigned kept = 0, gone = 0;
    for (unsigned i = 0; i < KEPT; i++)
        kept += is_kept(i);
    judge(kept == KEPT, "up to keepalive an object lives");
    wipe_stack();
    mallard_gc_collect();
    for (unsigned i = 0; i < KEPT; i++)
        gone += mallard_gc_weak_get(of_kept[i]) == NULL;
    judge(gone >= KEPT - 2, "and not for longer");
}

int main(int count, char **arguments) {
    seconds = count > 1 ? (unsigned)atoi(arguments[1]) : 2;
    seed = count > 2 ? strtoull(arguments[2], NULL, 0) : 1;
    setvbuf(stdout, NULL, _IOLBF, 0);
    alarm(seconds * 10 + 120);
    arenas_are_accounted_for(); /* before there is other garbage */
    arenas_bring_cycles_about();
    mortals_end_once();
    weak_references_hold_or_are_empty();
    pooled_objects_stay_whole();
    arenas_and_the_heap_hold_each_other();
    children_finalize_too();
    children_find_arenas_whole();
    forks_pass_files_and_the_loader();
    objects_are_kept_so_far();
    printf("%u passed, %u failed\n", passed, failed);
    return failed > 0;
}
