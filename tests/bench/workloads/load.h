/* SPDX-License-Identifier: Apache-2.0
 *
 * What every workload needs: a scale from the command line (1 is the full work), a seeded generator
 * per thread, blocks that are really touched and tell when somebody else wrote into them, threads
 * that all must succeed, and the one line of result.
 *
 * The result is a sum over what the program read back from its own memory. It depends on the scale
 * alone, so it must be the same under every allocator.
 */
#ifndef BENCH_LOAD_H
#define BENCH_LOAD_H

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define THREADS_MAX 512
#define BLOCK_LEAST 8
#define LEAST_PAGE_BYTES 4096

static inline size_t scaled(int argc, char **argv, size_t work) {
    double scale = argc > 1 ? atof(argv[1]) : 1;
    size_t result = (size_t)((double)work * scale);
    return result ? result : 1;
}

static inline uint64_t next_random(uint64_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state * 0x2545f4914f6cdd1d;
}

/* Below `limit`, evenly. */
static inline size_t random_below(uint64_t *state, size_t limit) {
    return (size_t)(next_random(state) >> 33) % limit;
}

/* Sizes as programs ask for them: mostly small, halving in number as they double in size. */
static inline size_t random_size(uint64_t *state, size_t least, size_t most) {
    size_t size = least;
    while (size < most && (next_random(state) >> 40 & 3) != 0)
        size *= 2;
    size_t result = size + random_below(state, size);
    return result < most ? result : most;
}

static inline void fail(const char *what) {
    fprintf(stderr, "workload: %s\n", what);
    exit(1);
}

static inline void *not_null(void *memory) {
    if (!memory)
        fail("no memory");
    return memory;
}

/* A block that knows its size: in its first four bytes, and as a mark in its last byte. Every page
 * of it is touched, as a program would that asked for it. */
static inline char *stamp(void *memory, size_t bytes) {
    uint32_t size = (uint32_t)bytes;
    char *block = not_null(memory);
    for (size_t at = LEAST_PAGE_BYTES; at < bytes; at += LEAST_PAGE_BYTES)
        block[at] = 1;
    memcpy(block, &size, sizeof size);
    block[bytes - 1] = (char)(size ^ size >> 8 ^ 0x5a);
    return block;
}

static inline char *take(size_t bytes) {
    bytes = bytes < BLOCK_LEAST ? BLOCK_LEAST : bytes;
    return stamp(malloc(bytes), bytes);
}

/* The size of a block, after a look at whether it is still as it was left. */
static inline size_t inspect(const char *block) {
    uint32_t size;
    memcpy(&size, block, sizeof size);
    if (block[size - 1] != (char)(size ^ size >> 8 ^ 0x5a))
        fail("a block was written into by somebody else");
    return size;
}

/* Frees a block (or NULL) and returns its size, for the sum. */
static inline size_t drop(char *block) {
    if (!block)
        return 0;
    size_t size = inspect(block);
    free(block);
    return size;
}

static inline void run_threads(size_t count, void *(*body)(void *), void *arguments,
                               size_t stride) {
    static pthread_t threads[THREADS_MAX];
    for (size_t i = 0; i < count; i++)
        if (pthread_create(&threads[i], NULL, body, (char *)arguments + i * stride) != 0)
            fail("no thread");
    for (size_t i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
}

/* The end of every workload. */
static inline int result(uint64_t sum) {
    printf("%llu\n", (unsigned long long)sum);
    return 0;
}

#endif
