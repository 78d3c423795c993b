/* SPDX-License-Identifier: Apache-2.0
 *
 * Torture: threads, sizes, frees in other threads, fork, realloc, wandering over CPUs, signals. A
 * model owns every object: its size, its alignment, and a pattern over its whole length that only
 * its owner could have written.
 *
 * Runs under LD_PRELOAD of libmallard.so.0, in both cache modes (MALLARD_CPU_CACHE=lock). Seconds
 * (10), threads (8), seed (1) and the largest size (1 MiB) come from MAL_STRESS_SECONDS,
 * MAL_STRESS_THREADS, MAL_STRESS_SEED and MAL_STRESS_MAX_SIZE. MAL_STRESS_SIGNALS=1 adds a storm of
 * signals, whose handlers do not allocate, and interrupt whatever is half done.
 *
 * The schedule of threads is not the seed's to decide: a failure repeats with the seed or not at
 * all. Exit status 0 and "1 passed, 0 failed" when the model was never contradicted.
 */
#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define THREADS_MAX 64
#define OWN_SLOTS 512
#define SHARED_SLOTS 4096
#define FORK_EVERY 400000
#define HOP_EVERY 4096
#define FORK_STEPS 3000

struct object {
    unsigned char *bytes;
    size_t count;
    uint64_t pattern;
};

/* A slot whose owner is whoever holds its lock bit. */
struct shared_slot {
    uint32_t locked;
    struct object object;
};

struct worker {
    pthread_t thread;
    uint64_t random;
    uint64_t steps;
    struct object own[OWN_SLOTS];
};

static struct shared_slot shared[SHARED_SLOTS];
static struct worker workers[THREADS_MAX];
static uint64_t seed, max_size;
static int stop;
static uint64_t signals_seen;

static uint64_t next_random(uint64_t *state) {
    uint64_t x = *state += 0x9e3779b97f4a7c15ull;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
    return x ^ (x >> 31);
}

static void contradicted(const char *what, const struct object *object) {
    printf("FAIL %s: object %p of %zu bytes; again: MAL_STRESS_SEED=%lu\n0 passed, 1 failed\n",
           what, (void *)object->bytes, object->count, (unsigned long)seed);
    fflush(stdout);
    abort();
}

/* ---- the model ---- */

static unsigned char byte_at(const struct object *object, size_t at) {
    return (unsigned char)(object->pattern >> (at % 8 * 8));
}

/* Small objects are painted whole; of large ones the ends and a byte a page. */
static size_t stride(const struct object *object) {
    return object->count <= 4096 ? 1 : 1021;
}

static void paint(const struct object *object) {
    for (size_t at = 0; at < object->count; at += stride(object))
        object->bytes[at] = byte_at(object, at);
    if (object->count)
        object->bytes[object->count - 1] = byte_at(object, object->count - 1);
}

static void check_paint(const struct object *object, size_t count) {
    size_t step = stride(object);
    for (size_t at = 0; at < count; at += step)
        if (object->bytes[at] != byte_at(object, at))
            contradicted("somebody wrote into an object", object);
    if (count == object->count && count > 0 &&
        object->bytes[count - 1] != byte_at(object, count - 1))
        contradicted("somebody wrote to the end of an object", object);
}

static size_t pick_size(uint64_t *random) {
    uint64_t draw = next_random(random);
    unsigned bits = (unsigned)(draw % (64 - (unsigned)__builtin_clzll(max_size | 1)));
    if (draw >> 32 & 15) /* mostly small */
        bits %= 12;
    return (size_t)(next_random(random) & ((2ull << bits) - 1)) % (max_size + 1);
}

static void *allocate(uint64_t *random, size_t bytes) {
    uint64_t draw = next_random(random) % 16;
    if (draw == 0)
        return aligned_alloc((size_t)16 << next_random(random) % 10, bytes);
    if (draw > 2)
        return malloc(bytes);
    unsigned char *clean = calloc(1, bytes);
    for (size_t at = 0; clean && at < bytes; at += 509)
        if (clean[at])
            contradicted("calloc gave dirt", &(struct object){clean, bytes, 0});
    return clean;
}

static void make(struct object *object, uint64_t *random) {
    object->count = pick_size(random);
    object->pattern = next_random(random);
    object->bytes = allocate(random, object->count);
    if (!object->bytes)
        contradicted("no memory", object);
    if ((uintptr_t)object->bytes % 16 || malloc_usable_size(object->bytes) < object->count)
        contradicted("misaligned or too short", object);
    paint(object);
}

static void destroy(struct object *object) {
    check_paint(object, object->count);
    free(object->bytes);
    object->bytes = NULL;
}

/* The common part must have survived; where the strides differ only the start is compared. */
static void resize(struct object *object, uint64_t *random) {
    struct object before = *object;
    check_paint(object, object->count);
    object->count = 1 + pick_size(random);
    object->bytes = realloc(object->bytes, object->count);
    if (!object->bytes)
        contradicted("no memory to grow", &before);
    before.bytes = object->bytes;
    size_t common = before.count < object->count ? before.count : object->count;
    if (common > 0)
        check_paint(&before, common == before.count ? common : common - 1);
    object->pattern = next_random(random);
    paint(object);
}

static void use(struct object *object, uint64_t *random) {
    if (!object->bytes)
        make(object, random);
    else if (next_random(random) % 4 == 0)
        resize(object, random);
    else
        destroy(object);
}

/* ---- what threads do ---- */

static void use_shared(uint64_t *random) {
    struct shared_slot *slot = &shared[next_random(random) % SHARED_SLOTS];
    if (__atomic_exchange_n(&slot->locked, 1u, __ATOMIC_ACQUIRE))
        return;
    use(&slot->object, random);
    __atomic_store_n(&slot->locked, 0u, __ATOMIC_RELEASE);
}

static void hop(uint64_t *random) {
    cpu_set_t all, one;
    if (sched_getaffinity(0, sizeof all, &all) != 0)
        return;
    int cpu = (int)(next_random(random) % (uint64_t)CPU_COUNT(&all));
    CPU_ZERO(&one);
    for (int i = 0; i < CPU_SETSIZE; i++)
        if (CPU_ISSET(i, &all) && cpu-- == 0)
            CPU_SET(i, &one);
    sched_setaffinity(0, sizeof one, &one);
    sched_setaffinity(0, sizeof all, &all);
}

static void step(struct worker *worker) {
    if (next_random(&worker->random) % 3 == 0)
        use_shared(&worker->random);
    else
        use(&worker->own[next_random(&worker->random) % OWN_SLOTS], &worker->random);
    if (++worker->steps % HOP_EVERY == 0)
        hop(&worker->random);
}

/* A child owns a copy of what its parent's thread owned, and only that. */
static void live_as_child(struct worker *worker) {
    for (int i = 0; i < FORK_STEPS; i++)
        use(&worker->own[next_random(&worker->random) % OWN_SLOTS], &worker->random);
    for (int i = 0; i < OWN_SLOTS; i++)
        if (worker->own[i].bytes)
            destroy(&worker->own[i]);
    _exit(0);
}

static void fork_once(struct worker *worker) {
    int status;
    pid_t child = fork();
    if (child == 0)
        live_as_child(worker);
    while (child > 0 && waitpid(child, &status, 0) < 0)
        ;
    if (child > 0 && status != 0)
        contradicted("a forked child died", &worker->own[0]);
}

static void *work(void *argument) {
    struct worker *worker = argument;
    while (!__atomic_load_n(&stop, __ATOMIC_ACQUIRE)) {
        step(worker);
        if (worker->steps % FORK_EVERY == 0)
            fork_once(worker);
    }
    return NULL;
}

/* ---- signals ---- */

static void note_signal(int number) {
    (void)number;
    __atomic_fetch_add(&signals_seen, 1, __ATOMIC_RELAXED);
}

static void send_signals(long threads, uint64_t *random) {
    pthread_kill(workers[next_random(random) % (uint64_t)threads].thread, SIGUSR1);
}

/* ---- the run ---- */

static long knob(const char *name, long otherwise) {
    const char *value = getenv(name);
    return value ? atol(value) : otherwise;
}

static double seconds_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static uint64_t clean_up(long threads) {
    uint64_t steps = 0;
    for (long i = 0; i < threads; i++) {
        pthread_join(workers[i].thread, NULL);
        steps += workers[i].steps;
        for (int at = 0; at < OWN_SLOTS; at++)
            if (workers[i].own[at].bytes)
                destroy(&workers[i].own[at]);
    }
    for (int at = 0; at < SHARED_SLOTS; at++)
        if (shared[at].object.bytes)
            destroy(&shared[at].object);
    return steps;
}

int main(void) {
    long seconds = knob("MAL_STRESS_SECONDS", 10), threads = knob("MAL_STRESS_THREADS", 8);
    bool storm = knob("MAL_STRESS_SIGNALS", 0) != 0;
    seed = (uint64_t)knob("MAL_STRESS_SEED", 1);
    max_size = (uint64_t)knob("MAL_STRESS_MAX_SIZE", 1 << 20);
    threads = threads < 1 ? 1 : threads > THREADS_MAX ? THREADS_MAX : threads;
    printf("torture: %ld seconds, %ld threads, seed %lu, sizes up to %lu, signals %s\n", seconds,
           threads, (unsigned long)seed, (unsigned long)max_size, storm ? "on" : "off");
    fflush(stdout);
    sigaction(SIGUSR1, &(struct sigaction){.sa_handler = note_signal, .sa_flags = SA_RESTART},
              NULL);
    for (long i = 0; i < threads; i++) {
        workers[i].random = seed * 1000 + (uint64_t)i;
        if (pthread_create(&workers[i].thread, NULL, work, &workers[i]) != 0)
            return 2;
    }
    uint64_t random = seed;
    for (double end = seconds_now() + (double)seconds; seconds_now() < end;) {
        if (storm)
            send_signals(threads, &random);
        usleep(storm ? 50 : 20000);
    }
    __atomic_store_n(&stop, 1, __ATOMIC_RELEASE);
    uint64_t steps = clean_up(threads);
    printf("ok   %lu steps, %lu signals\n1 passed, 0 failed\n", (unsigned long)steps,
           (unsigned long)signals_seen);
    return 0;
}
