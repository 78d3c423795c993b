/* SPDX-License-Identifier: Apache-2.0
 *
 * A program for the browser's tests to look at. It runs until it is killed.
 *
 *     leak grow      keeps some MiB a second, in functions with names; of the rows that it imports
 *                    it frees all but a few, so that spans have holes and something pins them
 *     leak stacks    allocates once from 16384 different stacks, then waits; to be run with
 *                    MALLARD_MEMPROFILERATE=1, so that every one is sampled
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define KEPT_MAX (1u << 20)
#define STEP_NS 20000000L
#define REQUESTS_PER_STEP 8
#define SESSION_BYTES 4096
#define NAME_BYTES 96
#define STACKS_DEPTH 14
#define ROWS 512
#define ROWS_PER_KEPT 16
#define IMPORT_EVERY 64

#define NOINLINE __attribute__((noinline, noclone))

static void *kept[KEPT_MAX];
static size_t kept_count;

static void keep(void *object) {
    if (kept_count < KEPT_MAX)
        kept[kept_count++] = object;
}

static NOINLINE char *copy_name(unsigned number) {
    char *name = malloc(NAME_BYTES);
    if (name != NULL)
        snprintf(name, NAME_BYTES, "session %u", number);
    return name;
}

static NOINLINE void *load_session(unsigned number) {
    char *session = malloc(SESSION_BYTES);
    if (session != NULL)
        memset(session, (int)(number & 0xff), SESSION_BYTES);
    return session;
}

static NOINLINE void cache_insert(unsigned number) {
    keep(load_session(number));
    keep(copy_name(number));
}

/* Nothing of it stays, but it stands between what does. */
static NOINLINE void handle_request(unsigned number) {
    void *work[8];
    for (size_t i = 0; i < 8; i++)
        work[i] = malloc(200 + 300 * i);
    cache_insert(number);
    for (size_t i = 0; i < 8; i++)
        free(work[i]);
}

static NOINLINE void *import_row(size_t bytes) {
    char *row = malloc(bytes);
    if (row != NULL)
        memset(row, 1, bytes);
    return row;
}

static NOINLINE void import_table(unsigned number) {
    void *row[ROWS];
    for (size_t i = 0; i < ROWS; i++)
        row[i] = import_row(700 + 150 * (number % 16));
    for (size_t i = 0; i < ROWS; i++)
        if (i % ROWS_PER_KEPT == 0)
            keep(row[i]);
        else
            free(row[i]);
}

static void sleep_a_step(void) {
    struct timespec step = {0, STEP_NS};
    nanosleep(&step, NULL);
}

static NOINLINE void serve(void) {
    for (unsigned number = 0;; number++) {
        handle_request(number);
        if (number % IMPORT_EVERY == 0)
            import_table(number / IMPORT_EVERY);
        if (number % REQUESTS_PER_STEP == 0)
            sleep_a_step();
    }
}

static NOINLINE void branch_right(unsigned path, unsigned depth);

/* The path's bits say where to turn, so each path is a stack of its own. The empty asm keeps the
 * calls from becoming jumps. */
static NOINLINE void branch_left(unsigned path, unsigned depth) {
    if (depth == 0)
        keep(malloc(64 + path % 512));
    else if (path & 1)
        branch_right(path >> 1, depth - 1);
    else
        branch_left(path >> 1, depth - 1);
    __asm__ volatile("");
}

static NOINLINE void branch_right(unsigned path, unsigned depth) {
    if (depth == 0)
        keep(malloc(32 + path % 256));
    else if (path & 1)
        branch_right(path >> 1, depth - 1);
    else
        branch_left(path >> 1, depth - 1);
    __asm__ volatile("");
}

static NOINLINE void many_stacks(void) {
    for (unsigned path = 0; path < 1u << STACKS_DEPTH; path++)
        branch_left(path, STACKS_DEPTH);
    for (;;)
        sleep_a_step();
}

int main(int argc, char **argv) {
    if (argc == 2 && strcmp(argv[1], "grow") == 0)
        serve();
    if (argc == 2 && strcmp(argv[1], "stacks") == 0)
        many_stacks();
    fprintf(stderr, "usage: leak grow|stacks\n");
    return 2;
}
