/* SPDX-License-Identifier: Apache-2.0
 *
 * What the scenarios share: a clock, memory as the kernel sees it, and figures as lines "KEY
 * VALUE".
 */
#ifndef SCENARIOS_SCENE_H
#define SCENARIOS_SCENE_H

#include "../support/program.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static inline void sleep_ms(unsigned ms) {
    struct timespec t = {ms / 1000, (long)(ms % 1000) * 1000000};
    nanosleep(&t, NULL);
}

static inline double resident_mib(void) {
    long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (!file || fscanf(file, "%*d %ld", &pages) != 1)
        exit(1);
    fclose(file);
    return (double)pages * (double)sysconf(_SC_PAGESIZE) / (1 << 20);
}

static inline void figure(const char *key, double value) {
    printf("%s %.3f\n", key, value);
    fflush(stdout);
}

static int by_size(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* Median, 99th percentile and maximum of latencies, in milliseconds. */
static inline void latencies(uint64_t *ns, size_t count) {
    qsort(ns, count, sizeof *ns, by_size);
    figure("p50_ms", (double)ns[count / 2] / 1e6);
    figure("p99_ms", (double)ns[count * 99 / 100] / 1e6);
    figure("max_ms", (double)ns[count - 1] / 1e6);
}

#endif
