/* SPDX-License-Identifier: Apache-2.0
 *
 * Programs whose memory should go back to the OS, and when it should.
 *
 *     memory SCENARIO [scale = 1 [time scale = 1]]
 *
 * runs      1 GiB of blocks of 100 B to 4 KiB; 90 % freed in contiguous runs; idle; then a low load
 * random    the same, 90 % freed at random; idle
 * threads   256 threads with 1 MiB each, all freed; the threads wait
 * limit     up to 900 MiB, down to 200 MiB: to be run under a limit of 512 MiB
 * incident  a server's day: a cache of 100 MiB, a load spike of 700 MiB in sessions while the cache
 *           turns over, low load, then a batch job of 500 MiB in large blocks. Memory that stays
 * with the holes of the spike and memory for the job add up; whoever judges by resident memory (an
 * OOM killer at 1 GiB) ends the program during the job, long after the spike.
 *
 * Each phase is announced by a line "phase NAME live-bytes" on standard output, for memory.py,
 * which watches from outside. At the end every block is inspected. Exit status 0: all of it was
 * there.
 */
#include "workloads/load.h"

#include <time.h>
#include <unistd.h>

enum { RUN_BLOCKS = 4096, SESSION_BLOCKS = 64, LEAST = 100, MOST = 4096, THREADS = 256 };

#define MIB ((size_t)1 << 20)

static double time_scale = 1;

/* A set of blocks that grows to a size in bytes and shrinks by some rule. */
struct herd {
    char **block;
    size_t count, room, live;
    uint64_t seed;
};

static void phase(const char *name, size_t live) {
    printf("phase %s %zu\n", name, live);
    fflush(stdout);
}

static void idle(double seconds) {
    seconds *= time_scale;
    struct timespec t = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};
    nanosleep(&t, NULL);
}

static void add(struct herd *herd, size_t bytes) {
    if (herd->count == herd->room) {
        herd->room = herd->room ? 2 * herd->room : 1 << 16;
        herd->block = not_null(realloc(herd->block, herd->room * sizeof *herd->block));
    }
    char *block = take(bytes);
    memset(block + 8, 1, bytes - 9);
    herd->block[herd->count++] = block;
    herd->live += bytes;
}

static void grow(struct herd *herd, size_t bytes) {
    while (herd->live < bytes)
        add(herd, LEAST + random_below(&herd->seed, MOST - LEAST));
}

/* Keeps `keep` of `of` stretches of `stretch` blocks each, in the order of allocation: the first
 * ones; single blocks are chosen at random. */
static void thin(struct herd *herd, size_t stretch, size_t keep, size_t of) {
    size_t kept = 0;
    for (size_t start = 0; start < herd->count; start += stretch) {
        size_t end = start + stretch < herd->count ? start + stretch : herd->count;
        size_t number = stretch == 1 ? random_below(&herd->seed, of) : start / stretch % of;
        for (size_t i = start; i < end; i++) {
            if (number < keep)
                herd->block[kept++] = herd->block[i];
            else
                herd->live -= drop(herd->block[i]);
        }
    }
    herd->count = kept;
}

static void end(struct herd *herd) {
    for (size_t i = 0; i < herd->count; i++)
        drop(herd->block[i]);
    free(herd->block);
    *herd = (struct herd){0};
}

/* Some thousand blocks a second, short-lived, nothing that needs more memory. */
static void low_load(double seconds) {
    static char *ring[256];
    uint64_t seed = 3;
    for (int i = 0; i < (int)(seconds * 100); i++) {
        for (int j = 0; j < 50; j++) {
            char **slot = &ring[random_below(&seed, 256)];
            drop(*slot);
            *slot = take(LEAST + random_below(&seed, 900));
        }
        idle(0.01);
    }
    for (int i = 0; i < 256; i++) {
        drop(ring[i]);
        ring[i] = NULL;
    }
}

static void runs(double scale) {
    struct herd herd = {.seed = 11};
    phase("build", 0);
    grow(&herd, (size_t)(1024 * MIB * scale));
    thin(&herd, RUN_BLOCKS, 1, 10);
    phase("idle", herd.live);
    idle(10);
    phase("load", herd.live);
    low_load(10);
    end(&herd);
}

static void at_random(double scale) {
    struct herd herd = {.seed = 12};
    phase("build", 0);
    grow(&herd, (size_t)(1024 * MIB * scale));
    thin(&herd, 1, 1, 10);
    phase("idle", herd.live);
    idle(30);
    end(&herd);
}

static pthread_barrier_t stage;

static void *hold_and_wait(void *argument) {
    struct herd herd = {.seed = 13 + *(size_t *)argument};
    grow(&herd, MIB);
    pthread_barrier_wait(&stage);
    end(&herd);
    pthread_barrier_wait(&stage);
    pthread_barrier_wait(&stage);
    return NULL;
}

static void threads(double scale) {
    static size_t number[THREADS];
    static pthread_t thread[THREADS];
    size_t count = (size_t)(THREADS * scale) ? (size_t)(THREADS * scale) : 1;
    pthread_barrier_init(&stage, NULL, (unsigned)count + 1);
    phase("build", 0);
    for (size_t i = 0; i < count; i++) {
        number[i] = i;
        if (pthread_create(&thread[i], NULL, hold_and_wait, &number[i]) != 0)
            fail("no thread");
    }
    pthread_barrier_wait(&stage);
    pthread_barrier_wait(&stage);
    phase("idle", 0);
    idle(10);
    pthread_barrier_wait(&stage);
    for (size_t i = 0; i < count; i++)
        pthread_join(thread[i], NULL);
}

static void limit(double scale) {
    struct herd herd = {.seed = 14};
    phase("build", 0);
    grow(&herd, (size_t)(900 * MIB * scale));
    thin(&herd, SESSION_BLOCKS, 2, 9);
    phase("idle", herd.live);
    idle(10);
    phase("load", herd.live);
    low_load(5);
    end(&herd);
}

/* A block of the cache is replaced: it moves to where memory is handed out just now. */
static void turn_over(struct herd *cache, size_t blocks) {
    for (size_t i = 0; i < blocks; i++) {
        char **slot = &cache->block[random_below(&cache->seed, cache->count)];
        cache->live -= drop(*slot);
        size_t bytes = LEAST + random_below(&cache->seed, 1900);
        cache->live += bytes;
        *slot = take(bytes);
    }
}

static void batch_job(size_t bytes, uint64_t seed) {
    struct herd job = {.seed = seed};
    while (job.live < bytes)
        add(&job, MIB + random_below(&job.seed, 3 * MIB));
    idle(1);
    end(&job);
}

static void incident(double scale) {
    struct herd cache = {.seed = 15}, sessions = {.seed = 16};
    phase("build", 0);
    while (cache.live < (size_t)(100 * MIB * scale))
        add(&cache, LEAST + random_below(&cache.seed, 1900));
    while (sessions.live < (size_t)(700 * MIB * scale)) {
        grow(&sessions, sessions.live + 100 * 1024);
        turn_over(&cache, 15);
    }
    phase("spike", cache.live + sessions.live);
    idle(1);
    end(&sessions);
    phase("idle", cache.live);
    low_load(20);
    phase("job", cache.live);
    batch_job((size_t)(500 * MIB * scale), 17);
    phase("after", cache.live);
    low_load(5);
    end(&cache);
}

struct scenario {
    const char *name;
    void (*run)(double scale);
};

static const struct scenario scenarios[] = {{"runs", runs},
                                            {"random", at_random},
                                            {"threads", threads},
                                            {"limit", limit},
                                            {"incident", incident}};

int main(int argc, char **argv) {
    time_scale = argc > 3 ? atof(argv[3]) : 1;
    for (size_t i = 0; i < sizeof scenarios / sizeof *scenarios; i++) {
        if (argc > 1 && strcmp(argv[1], scenarios[i].name) == 0) {
            scenarios[i].run(argc > 2 ? atof(argv[2]) : 1);
            phase("end", 0);
            return 0;
        }
    }
    fail("a scenario: runs random threads limit incident");
}
