/* SPDX-License-Identifier: Apache-2.0
 *
 * What one warm stack capture costs, beside libgcc's and libunwind's.
 *
 *     bench/unwind [depth = 25] [captures = 200000]
 *
 * The stack is a chain of functions with frames of several shapes, libc's start-up at its bottom.
 * Each walker runs ROUNDS times and the fastest round counts: the rest is what else the machine was
 * doing. One line per walker: nanoseconds per capture, frames seen, and how many times our walker's
 * time that is. Link with -lunwind.
 */
#define UNW_LOCAL_ONLY
#include <libunwind.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unwind.h>

#include "sample/unwind.h"
#include "support/program.h"

/* OTHER_FRAMES: main, start-up and the measuring itself, about. */
enum { ROUNDS = 7, FRAMES_MAX = 128, OTHER_FRAMES = 7 };

struct walker {
    const char *name;
    size_t (*capture)(uintptr_t *ret_pcs, size_t max);
    unsigned divisor; /* fewer captures of the slow ones */
};

struct chase {
    uintptr_t *pcs;
    size_t count;
    size_t max;
};

static size_t by_mallard(uintptr_t *ret_pcs, size_t max) {
    size_t count = mal_unwind_capture(ret_pcs, max, NULL, NULL, NULL);
    __asm__ volatile(""); /* a frame of its own, like the others */
    return count;
}

static _Unwind_Reason_Code note(struct _Unwind_Context *context, void *argument) {
    struct chase *chase = argument;
    if (chase->count == chase->max)
        return _URC_END_OF_STACK;
    chase->pcs[chase->count++] = _Unwind_GetIP(context);
    return _URC_NO_REASON;
}

static size_t by_libgcc(uintptr_t *ret_pcs, size_t max) {
    struct chase chase = {ret_pcs, 0, max};
    _Unwind_Backtrace(note, &chase);
    return chase.count;
}

static size_t by_libunwind(uintptr_t *ret_pcs, size_t max) {
    int count = unw_backtrace((void **)ret_pcs, (int)max);
    __asm__ volatile("");
    return (size_t)count;
}

static const struct walker walkers[] = {
    {"mallard", by_mallard, 1},
    {"libgcc _Unwind_Backtrace", by_libgcc, 20},
    {"libunwind unw_backtrace", by_libunwind, 1},
};

static size_t depth = 25;
static size_t captures = 200000;

static double measure(const struct walker *walker, size_t *ret_frames) {
    uintptr_t pcs[FRAMES_MAX];
    size_t count = captures / walker->divisor + 1;
    double best_ns = 0;
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t start_ns = now_ns();
        for (size_t i = 0; i < count; i++)
            *ret_frames = walker->capture(pcs, depth);
        double each_ns = (double)(now_ns() - start_ns) / (double)count;
        best_ns = round == 0 || each_ns < best_ns ? each_ns : best_ns;
    }
    return best_ns;
}

static void measure_all(void) {
    double ours_ns = 0;
    for (size_t i = 0; i < sizeof walkers / sizeof walkers[0]; i++) {
        size_t frames = 0;
        double ns = measure(&walkers[i], &frames);
        ours_ns = i == 0 ? ns : ours_ns;
        printf("%-26s %9.1f ns  %3zu frames  %6.2fx\n", walkers[i].name, ns, frames, ns / ours_ns);
    }
}

/* The chain: eight functions of different frames that call the next until the depth is reached. */
static int descend(size_t left);

#define LINK(number, bytes)                                                                        \
    __attribute__((noinline)) static int link_##number(size_t left) {                              \
        volatile char room[bytes];                                                                 \
        room[0] = (char)left;                                                                      \
        return descend(left) + room[0];                                                            \
    }
LINK(0, 8)
LINK(1, 40)
LINK(2, 200)
LINK(3, 16)
LINK(4, 1000)
LINK(5, 64)
LINK(6, 24)
LINK(7, 120)

__attribute__((noinline)) static int descend(size_t left) {
    static int (*const links[])(size_t) = {link_0, link_1, link_2, link_3,
                                           link_4, link_5, link_6, link_7};
    volatile int sum = 0;
    if (left == 0)
        measure_all();
    else
        sum += links[left % 8](left - 1);
    return sum;
}

int main(int argc, char **argv) {
    if (argc > 1)
        depth = strtoul(argv[1], NULL, 10);
    if (argc > 2)
        captures = strtoul(argv[2], NULL, 10);
    if (depth < OTHER_FRAMES || depth > FRAMES_MAX) {
        fprintf(stderr, "depth is %d .. %d\n", OTHER_FRAMES, FRAMES_MAX);
        return 2;
    }
    descend((depth - OTHER_FRAMES) / 2);
    return 0;
}
