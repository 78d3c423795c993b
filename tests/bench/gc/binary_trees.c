/* SPDX-License-Identifier: Apache-2.0
 *
 * binary-trees of the benchmarks game on the collected heap.
 *
 *     binary_trees DEPTH [THREADS]
 *
 * Prints the game's lines on standard output, and on standard error wall time and the collector's
 * numbers.
 */
#include "mallard/gc.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

struct node {
    struct node *left, *right;
};
MALLARD_GC_TYPE(node_type, struct node, left, right);

static struct node *make(unsigned depth) {
    struct node *node = mallard_gc_new(&node_type);
    if (depth > 0) {
        node->left = make(depth - 1);
        node->right = make(depth - 1);
    }
    return node;
}

static unsigned long count(const struct node *node) {
    return node->left ? 1 + count(node->left) + count(node->right) : 1;
}

struct job {
    unsigned depth;
    unsigned long trees, nodes;
};

static void *work(void *argument) {
    struct job *job = argument;
    for (unsigned long i = 0; i < job->trees; i++)
        job->nodes += count(make(job->depth));
    return NULL;
}

/* One depth, shared out. */
static unsigned long run(unsigned depth, unsigned long trees, unsigned threads) {
    struct job job[64];
    pthread_t thread[64];
    unsigned long nodes = 0;
    for (unsigned i = 0; i < threads; i++)
        job[i] = (struct job){depth, trees / threads + (i < trees % threads), 0};
    for (unsigned i = 1; i < threads; i++)
        pthread_create(&thread[i], NULL, work, &job[i]);
    work(&job[0]);
    for (unsigned i = 1; i < threads; i++)
        pthread_join(thread[i], NULL);
    for (unsigned i = 0; i < threads; i++)
        nodes += job[i].nodes;
    return nodes;
}

static double seconds(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static int by_value(const void *a, const void *b) {
    const unsigned long long *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static void report(double wall) {
    static struct mallard_gc_stats stats = {.size = sizeof stats};
    unsigned long long pause[256];
    struct rusage usage;
    mallard_gc_read_stats(&stats);
    getrusage(RUSAGE_SELF, &usage);
    unsigned known = stats.num_gc < 256 ? (unsigned)stats.num_gc : 256;
    for (unsigned i = 0; i < known; i++)
        pause[i] = stats.pause_ns[i];
    qsort(pause, known, sizeof pause[0], by_value);
    fprintf(
        stderr,
        "wall %.2f s, cpu %.2f s, %llu cycles, GC %.1f %% of CPU, pause p50 %llu us p99 %llu us "
        "max %llu us (last %u), max RSS %ld MiB\n",
        wall, seconds(CLOCK_PROCESS_CPUTIME_ID), (unsigned long long)stats.num_gc,
        stats.gc_cpu_fraction * 100, known ? pause[known / 2] / 1000 : 0,
        known ? pause[known * 99 / 100] / 1000 : 0, known ? pause[known - 1] / 1000 : 0, known,
        usage.ru_maxrss / 1024);
}

int main(int count_arguments, char **argument) {
    unsigned most = count_arguments > 1 ? (unsigned)atoi(argument[1]) : 16;
    unsigned threads = count_arguments > 2 ? (unsigned)atoi(argument[2]) : 1;
    threads = threads < 1 ? 1 : threads > 64 ? 64 : threads;
    most = most < 6 ? 6 : most;
    double start = seconds(CLOCK_MONOTONIC);
    printf("stretch tree of depth %u\t check: %lu\n", most + 1, count(make(most + 1)));
    struct node *volatile long_lived = make(most);
    for (unsigned depth = 4; depth <= most; depth += 2) {
        unsigned long trees = 1ul << (most - depth + 4);
        printf("%lu\t trees of depth %u\t check: %lu\n", trees, depth, run(depth, trees, threads));
    }
    printf("long lived tree of depth %u\t check: %lu\n", most, count(long_lived));
    report(seconds(CLOCK_MONOTONIC) - start);
    return 0;
}
