/* SPDX-License-Identifier: Apache-2.0
 *
 * A program under a memory limit, on demand. Orders come from standard input, one a line:
 *
 *     grow MIB     blocks of 100 to 4096 bytes, touched, until so much more is live
 *     thin         keeps two blocks in nine
 *     clear        frees all of them
 *     churn MIB    blocks of 1 KiB to 2 MiB that come and go, so much in all, 4 MiB at a time
 *     comb MIB     so much in blocks of 300 KiB, every other one freed; then half as much in blocks
 *                  of 2 MiB
 *     zero         blocks that were written to, freed and returned come back from calloc as zero
 *     set BYTES    mallard_set_memory_limit; its answer follows the order's name
 *     pause MIB    so much in blocks of a page, every other one freed, then a limit of 0; answered
 *                  with the most CPU time, in microseconds, that one malloc of many took under it
 *     trim         malloc_trim(0)
 *     check        every block still holds what was written into it
 *
 * Each is answered by a line that begins with its name, or by "bad".
 */
#include "mallard/mallard.h"

#include <malloc.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MIB ((size_t)1 << 20)
#define BLOCKS_MAX (1u << 20)
#define LARGE_BYTES (8 * MIB)
#define PAGE_BYTES ((size_t)4096)
#define COMB_BYTES ((size_t)300 << 10)

#pragma weak mallard_set_memory_limit

struct block {
    unsigned char *start;
    size_t bytes;
};
static struct block block[BLOCKS_MAX];
static size_t blocks;
static unsigned seed = 1;

static size_t random_size(size_t least, size_t most) {
    return least + (size_t)rand_r(&seed) % (most - least + 1);
}

static bool add(size_t bytes) {
    unsigned char *start = malloc(bytes);
    if (!start || blocks == BLOCKS_MAX)
        return false;
    memset(start, (int)(bytes % 251), bytes);
    block[blocks++] = (struct block){start, bytes};
    return true;
}

static bool is_filled(const unsigned char *start, size_t bytes, int with) {
    for (size_t at = 0; at < bytes; at++)
        if (start[at] != with)
            return false;
    return true;
}

static bool is_whole(const struct block *b) {
    return is_filled(b->start, b->bytes, (int)(b->bytes % 251));
}

static bool grow(size_t mib) {
    for (size_t grown = 0; grown < mib * MIB; grown += block[blocks - 1].bytes)
        if (!add(random_size(100, 4096)))
            return false;
    return true;
}

static bool thin(size_t keep_in_nine) {
    size_t kept = 0;
    bool whole = true;
    for (size_t i = 0; i < blocks; i++) {
        whole &= is_whole(&block[i]);
        if (i / 64 % 9 < keep_in_nine)
            block[kept++] = block[i];
        else
            free(block[i].start);
    }
    blocks = kept;
    return whole;
}

static bool churn(size_t mib) {
    static struct block ring[64];
    for (size_t done = 0, held = 0, next = 0; done < mib * MIB; next++) {
        struct block *b = &ring[next % 64];
        do {
            free(b->start);
            held -= b->bytes;
            *b = (struct block){NULL, 0};
        } while (held > 4 * MIB && (b = &ring[++next % 64]));
        b->bytes = (size_t)1024 << random_size(0, 11);
        b->start = malloc(b->bytes);
        if (!b->start)
            return false;
        memset(b->start, 1, b->bytes);
        done += b->bytes;
        held += b->bytes;
    }
    for (size_t i = 0; i < 64; i++)
        free(ring[i].start);
    memset(ring, 0, sizeof ring);
    return true;
}

/* Blocks of one size, every other of which is freed again. */
static bool add_every_other(size_t mib, size_t bytes) {
    size_t first = blocks, kept = first;
    for (size_t filled = 0; filled < mib * MIB; filled += bytes)
        if (!add(bytes))
            return false;
    for (size_t i = first; i < blocks; i++) {
        if (i % 2 == 0)
            block[kept++] = block[i];
        else
            free(block[i].start);
    }
    blocks = kept;
    return true;
}

/* What is freed lies in gaps that the larger blocks do not fit into. */
static bool comb(size_t mib) {
    if (!add_every_other(mib, COMB_BYTES))
        return false;
    for (size_t filled = 0; filled < mib * MIB / 2; filled += 2 * MIB)
        if (!add(2 * MIB))
            return false;
    return true;
}

static bool zero(void) {
    bool zeroed = true;
    for (int i = 0; i < 8; i++) {
        unsigned char *dirty = malloc(LARGE_BYTES);
        memset(dirty, 0x5a, LARGE_BYTES);
        free(dirty);
        malloc_trim(0);
        unsigned char *clean = calloc(1, LARGE_BYTES);
        zeroed &= is_filled(clean, LARGE_BYTES, 0);
        memset(clean, 0x5b, LARGE_BYTES);
        free(clean);
    }
    return zeroed;
}

static long long cpu_us(void) {
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return now.tv_sec * 1000000ll + now.tv_nsec / 1000;
}

/* What is free lies between what is not, so it takes long to give it all back. */
static bool pause_under(size_t mib, long long *ret_longest_us) {
    if (!add_every_other(mib, PAGE_BYTES))
        return false;
    mallard_set_memory_limit(0);
    for (int i = 0; i < 20000; i++) {
        long long start_us = cpu_us();
        bool well = add(random_size(100, 1000));
        long long spent_us = cpu_us() - start_us;
        *ret_longest_us = spent_us > *ret_longest_us ? spent_us : *ret_longest_us;
        if (!well)
            return false;
    }
    return true;
}

static bool obey(const char *order, size_t number, long long *ret_answer) {
    if (strcmp(order, "grow") == 0)
        return grow(number);
    if (strcmp(order, "thin") == 0)
        return thin(2);
    if (strcmp(order, "clear") == 0)
        return thin(0);
    if (strcmp(order, "churn") == 0)
        return churn(number);
    if (strcmp(order, "comb") == 0)
        return comb(number);
    if (strcmp(order, "zero") == 0)
        return zero();
    if (strcmp(order, "pause") == 0 && mallard_set_memory_limit)
        return pause_under(number, ret_answer);
    if (strcmp(order, "trim") == 0)
        return malloc_trim(0) >= 0;
    if (strcmp(order, "set") == 0 && mallard_set_memory_limit)
        *ret_answer = mallard_set_memory_limit((int64_t)number);
    else
        return strcmp(order, "check") == 0 && thin(9);
    return true;
}

int main(void) {
    char line[128], order[32];
    setvbuf(stdout, NULL, _IOLBF, 0);
    while (fgets(line, sizeof line, stdin)) {
        long long number = 0, answer = 0;
        if (sscanf(line, "%31s %lld", order, &number) < 1)
            return 2;
        bool well = obey(order, (size_t)number, &answer);
        printf("%s %lld\n", well ? order : "bad", answer);
    }
    return 0;
}
