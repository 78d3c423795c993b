/* SPDX-License-Identifier: Apache-2.0
 *
 * What one more CPU costs in memory.
 *
 *     cpus THREADS [IDLE_SECONDS]
 *
 * Run it with Mallard preloaded and MALLARD_DEBUG=cpus=N: threads are dealt to N simulated CPUs in
 * turn. The threads live one after the other, so nothing here depends on how many real CPUs there
 * are, and with N = 1 the same program is the measure of what is not the CPUs' doing. Three numbers
 * of resident KiB, one line each:
 *
 *     touched N      every thread has allocated and freed one object
 *     churned N      every thread has allocated and freed CHURN_BYTES of every size up to 256 KiB
 *     idle N         IDLE_SECONDS later
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CHURN_BYTES = 4 << 20, SIZE_MOST = 256 << 10, HELD_MOST = CHURN_BYTES / 16 };

static void *held[HELD_MOST]; /* one thread at a time */

static void die(const char *what) {
    fprintf(stderr, "cpus: %s\n", what);
    exit(1);
}

/* Exact, unlike /proc/self/statm; read past stdio, which would allocate. */
static long resident_kib(void) {
    char text[4096];
    int file = open("/proc/self/smaps_rollup", O_RDONLY | O_CLOEXEC);
    ssize_t bytes = file < 0 ? -1 : read(file, text, sizeof text - 1);
    if (bytes <= 0)
        die("no /proc/self/smaps_rollup");
    close(file);
    text[bytes] = 0;
    const char *line = strstr(text, "Rss:");
    return line ? atol(line + 4) : 0;
}

static void say(const char *what) {
    printf("%s %ld\n", what, resident_kib());
}

static void churn_size(size_t bytes) {
    size_t count = CHURN_BYTES / bytes;
    for (size_t i = 0; i < count; i++) {
        held[i] = malloc(bytes);
        if (!held[i])
            die("no memory");
        memset(held[i], (int)i, bytes);
    }
    for (size_t i = 0; i < count; i++)
        free(held[i]);
}

static void *touch(void *unused) {
    void *volatile object = malloc(64);
    free(object);
    return unused;
}

/* Steps of a quarter: nearly every size class. */
static void *churn(void *unused) {
    for (size_t bytes = 16; bytes <= SIZE_MOST; bytes += bytes / 4 < 16 ? 16 : bytes / 4)
        churn_size(bytes);
    return unused;
}

static void one_after_the_other(long threads, void *(*body)(void *)) {
    pthread_t thread;
    for (long i = 0; i < threads; i++)
        if (pthread_create(&thread, NULL, body, NULL) != 0 || pthread_join(thread, NULL) != 0)
            die("no thread");
}

int main(int argc, char **argv) {
    long threads = argc > 1 ? atol(argv[1]) : 1;
    unsigned idle_seconds = argc > 2 ? (unsigned)atoi(argv[2]) : 0;
    static char buffer[4096];
    setvbuf(stdout, buffer, _IOFBF, sizeof buffer);
    one_after_the_other(threads, touch);
    say("touched");
    one_after_the_other(threads, churn);
    say("churned");
    while (idle_seconds)
        idle_seconds = sleep(idle_seconds);
    say("idle");
    return 0;
}
