/* SPDX-License-Identifier: Apache-2.0
 *
 * A program for debuggers: it allocates, writes and frees, and says so.
 *
 *     stepped ROUNDS        `step_here` is where a debugger may begin, `end_here` where it
 *                           may leave, `rounds_done` counts
 *     stepped 0             goes on until its standard input ends; for every byte it reads there it
 *                           says how many rounds it has done
 *
 * Every round makes an object, checks one that is older and frees it. What a byte must be follows
 * from the round, so an object that was given out twice, or changed, is noticed.
 */
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { HELD = 8, FLOOD = 3000, FLOOD_STEPPED = 20, FLOOD_BYTES = 48 };

struct object {
    volatile unsigned char *bytes;
    size_t size_bytes;
    unsigned char pattern;
};

volatile uint64_t rounds_done;
static struct object held[HELD];

__attribute__((noinline)) void step_here(void) {
    __asm__ volatile("" ::: "memory");
}

/* Behind the last round: a debugger may leave here. */
__attribute__((noinline)) void end_here(void) {
    __asm__ volatile("" ::: "memory");
}

static void must(int holds, const char *what) {
    if (holds)
        return;
    printf("FAIL %s in round %lu\n", what, (unsigned long)rounds_done);
    exit(1);
}

static void drop(struct object *object) {
    if (!object->bytes)
        return;
    must(object->bytes[0] == object->pattern, "an object begins as it was written");
    must(object->bytes[object->size_bytes - 1] == object->pattern, "an object ends as it was");
    free((void *)object->bytes);
}

static void do_round(void) {
    struct object *object = &held[rounds_done % HELD];
    drop(object);
    object->size_bytes = 16 + rounds_done * 40 % 2000;
    object->pattern = (unsigned char)(rounds_done * 7 + 1);
    object->bytes = malloc(object->size_bytes);
    must(object->bytes != NULL, "there is memory");
    object->bytes[0] = object->bytes[object->size_bytes - 1] = object->pattern;
    rounds_done++;
}

/* From here on a debugger walks through frees that give a CPU's cache back, and through mallocs
 * that fill it again. */
__attribute__((noinline)) void flood_here(void) {
    __asm__ volatile("" ::: "memory");
}

static uint64_t *flood_object(uint64_t number) {
    uint64_t *object = malloc(FLOOD_BYTES);
    must(object != NULL, "there is memory for the flood");
    object[1] = number;
    return object;
}

/* More objects than a cache holds; the last ones are freed, and all made again, under steps. */
static void flood(void) {
    static uint64_t *object[FLOOD];
    for (uint64_t i = 0; i < FLOOD; i++)
        object[i] = flood_object(i);
    for (uint64_t i = 0; i < FLOOD; i++) {
        if (i == FLOOD - FLOOD_STEPPED)
            flood_here();
        free(object[i]);
    }
    for (uint64_t i = 0; i < FLOOD; i++)
        object[i] = flood_object(i);
    for (uint64_t i = 0; i < FLOOD; i++)
        must(object[i][1] == i, "no object of the flood was given out twice");
    for (uint64_t i = 0; i < FLOOD; i++)
        free(object[i]);
}

static int input_has_ended(void) {
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    char byte;
    if (poll(&input, 1, 0) <= 0)
        return 0;
    if (read(STDIN_FILENO, &byte, 1) <= 0)
        return 1;
    printf("rounds %lu\n", (unsigned long)rounds_done);
    return 0;
}

/* What is set up once lies behind the program before anybody counts. */
static void warm_up(void) {
    while (rounds_done < 8 * HELD)
        do_round();
    rounds_done = 0;
}

int main(int argc, char **argv) {
    uint64_t rounds = argc > 1 ? strtoull(argv[1], NULL, 10) : 100;
    setvbuf(stdout, NULL, _IONBF, 0);
    warm_up();
    step_here();
    while (rounds ? rounds_done < rounds : rounds_done % 1024 || !input_has_ended())
        do_round();
    flood();
    printf("done %lu\n", (unsigned long)rounds_done);
    end_here();
    return 0;
}
