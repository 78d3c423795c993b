/* SPDX-License-Identifier: Apache-2.0
 *
 * The API in one small program: serve the endpoints, allocate, ask, give back, write a profile.
 *
 *     cc example.c -o example $(pkg-config --cflags --libs mallard)
 *     ./example profile.pb.gz && go tool pprof -top profile.pb.gz
 */
#include <mallard/mallard.h>

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BLOCKS 1000

static char *keep[BLOCKS];

static void allocate_some(void) {
    for (int i = 0; i < BLOCKS; i++) {
        keep[i] = malloc(64 << 10);
        if (keep[i])
            memset(keep[i], i, 64 << 10);
    }
}

static int print_statistics(void) {
    struct mallard_memstats stats = {.size = sizeof stats};
    int error = mallard_read_memstats(&stats);
    if (error)
        return error;
    printf("%" PRIu64 " bytes live in %" PRIu64 " objects; %" PRIu64 " bytes from the OS\n",
           stats.heap_alloc, stats.heap_objects, stats.sys - stats.heap_released);
    return 0;
}

static int write_profile(const char *path) {
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (fd < 0)
        return -1;
    int error = mallard_write_heap_profile(fd);
    close(fd);
    return error;
}

int main(int argc, char **argv) {
    char address[64];
    int error = mallard_http_listen("127.0.0.1:0");
    if (error == 0 && mallard_http_address(address, sizeof address) == 0)
        printf("curl http://%s/debug/pprof/heap?debug=1\n", address);
    allocate_some();
    if (error == 0)
        error = print_statistics();
    if (error == 0 && argc > 1)
        error = write_profile(argv[1]);
    for (int i = 0; i < BLOCKS; i++)
        free(keep[i]);
    printf("%" PRIu64 " bytes returned\n", mallard_free_os_memory());
    if (mallard_set_memory_limit(512 << 20) == INT64_MAX)
        printf("a limit of %" PRId64 " bytes now\n", mallard_set_memory_limit(-1));
    if (error)
        fprintf(stderr, "%s\n", strerror(-error));
    return error != 0;
}
