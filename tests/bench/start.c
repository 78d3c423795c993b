/* SPDX-License-Identifier: Apache-2.0
 *
 * Start-up time and peak memory of one program under several preloaded libraries, interleaved.
 *
 *     start RUNS PROGRAM NAME=LIBRARY...
 *
 * LIBRARY may be empty. Each of the RUNS rounds starts the program once under each library, from
 * here, because a script's own weight would hide what is measured; three rounds before do not
 * count. One line per library: "name median-us tenth-us ninety-us peak-KiB"; the second and third
 * are the 10th and 90th of a hundred.
 */
#include <fcntl.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { WARM_UP = 3, LIBRARIES_MOST = 16, RUNS_MOST = 10000 };

static double took_us[LIBRARIES_MOST][RUNS_MOST];
static long peak_kib[LIBRARIES_MOST];

static double now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void fail(const char *what) {
    fprintf(stderr, "start: %s\n", what);
    exit(1);
}

/* Microseconds from before the spawn to after the end. */
static double run(char *program, const char *library, long *peak) {
    extern char **environ;
    char *argv[] = {program, NULL};
    posix_spawn_file_actions_t quiet;
    struct rusage used;
    pid_t pid;
    int status;
    if (*library)
        setenv("LD_PRELOAD", library, 1);
    else
        unsetenv("LD_PRELOAD");
    posix_spawn_file_actions_init(&quiet);
    posix_spawn_file_actions_addopen(&quiet, 1, "/dev/null", O_WRONLY, 0);
    double start = now_us();
    if (posix_spawn(&pid, program, &quiet, NULL, argv, environ) != 0)
        fail("the program does not start");
    if (wait4(pid, &status, 0, &used) != pid || status != 0)
        fail("the program fails");
    double took = now_us() - start;
    posix_spawn_file_actions_destroy(&quiet);
    *peak = used.ru_maxrss > *peak ? used.ru_maxrss : *peak;
    return took;
}

static int by_value(const void *a, const void *b) {
    double left = *(const double *)a, right = *(const double *)b;
    return (left > right) - (left < right);
}

int main(int argc, char **argv) {
    int runs = argc > 3 ? atoi(argv[1]) : 0, libraries = argc - 3;
    if (runs < 1 || runs > RUNS_MOST || libraries > LIBRARIES_MOST)
        return 2;
    for (int i = -WARM_UP; i < runs; i++) {
        for (int l = 0; l < libraries; l++) {
            const char *equals = strchr(argv[3 + l], '=');
            double took = run(argv[2], equals ? equals + 1 : "", &peak_kib[l]);
            if (i >= 0)
                took_us[l][i] = took;
        }
    }
    for (int l = 0; l < libraries; l++) {
        qsort(took_us[l], (size_t)runs, sizeof took_us[l][0], by_value);
        printf("%.*s %.1f %.1f %.1f %ld\n", (int)strcspn(argv[3 + l], "="), argv[3 + l],
               took_us[l][runs / 2], took_us[l][runs / 10], took_us[l][runs * 9 / 10], peak_kib[l]);
    }
    return 0;
}
