/* SPDX-License-Identifier: Apache-2.0
 *
 * The usual test of latency: a window over the newest messages of 1 KiB each, and how long the
 * longest insertion takes.
 *
 *     lru [MiB = 1024 [messages = 3000000]]
 */
#include "heap.h"

enum { MESSAGE_BYTES = 1024 };

int main(int argc, char **argv) {
    long window = (argument(argc, argv, 1, 1024) << 20) / MESSAGE_BYTES;
    long messages = argument(argc, argv, 2, 3000000);
    uint64_t worst_ns = 0;
    heap_begin();
    char **newest = heap_words((size_t)window);
    for (long i = 0; i < messages; i++) {
        uint64_t start_ns = now_ns();
        heap_free(newest[i % window]);
        char *message = heap_bytes(MESSAGE_BYTES);
        memset(message, (int)i, MESSAGE_BYTES);
        newest[i % window] = message;
        uint64_t spent_ns = now_ns() - start_ns;
        worst_ns = spent_ns > worst_ns ? spent_ns : worst_ns;
    }
    printf("worst_insertion_ns %llu\n", (unsigned long long)worst_ns);
    heap_end();
    return 0;
}
