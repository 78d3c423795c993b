/* SPDX-License-Identifier: Apache-2.0
 *
 * The stack walker, against what is known of a stack and against libgcc's unwinder.
 *
 * Known: every function of a chain notes its own return address on the way down, so the expected
 * stack is exact. Against libgcc: both walkers run in the same function, so only their first frame
 * may differ. Random chains print nothing when they pass; a failure prints the seed, which
 * MAL_TEST_SEED replays.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <link.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <ucontext.h>
#include <unistd.h>
#include <unwind.h>

#include "base/atomic.h"
#include "base/attr.h"
#include "base/bits.h"
#include "sample/unwind.h"
#include "sample/unwind_cfi.h"

#define NOINLINE __attribute__((noinline))
#define NO_SANITIZE __attribute__((noinline, no_sanitize_address, no_sanitize_thread))
#define KEEP() __asm__ volatile("" ::: "memory") /* behind a call: it is no tail call */

#define HOLD(pointer) __asm__ volatile("" ::"r"(pointer) : "memory")

enum { DEPTH = MAL_UNWIND_DEPTH_MAX };

static uint64_t seed = 20240917;

static uint64_t draw(uint64_t *state) {
    *state += 0x9e3779b97f4a7c15ull;
    return mal_mix(*state);
}

/* ---- two walkers side by side ---- */

struct stacks {
    uintptr_t ours[DEPTH];
    uintptr_t theirs[DEPTH];
    size_t our_count;
    size_t their_count;
};

static _Unwind_Reason_Code note_frame(struct _Unwind_Context *context, void *argument) {
    struct stacks *s = argument;
    int is_exact = 0;
    uintptr_t pc = _Unwind_GetIPInfo(context, &is_exact);
    if (s->their_count == DEPTH || pc == 0)
        return _URC_END_OF_STACK;
    s->theirs[s->their_count++] = pc + (uintptr_t)(is_exact != 0);
    return _URC_NO_REASON;
}

static NOINLINE void capture_both(struct stacks *s) {
    s->their_count = 0;
    s->our_count = mal_unwind_capture(s->ours, DEPTH, NULL, NULL, NULL);
    _Unwind_Backtrace(note_frame, s);
    KEEP();
}

static bool agree(const struct stacks *s) {
    if (s->our_count != s->their_count)
        return false;
    return memcmp(s->ours + 1, s->theirs + 1, (s->our_count - 1) * sizeof s->ours[0]) == 0;
}

static void print_stacks(const struct stacks *s) {
    for (size_t i = 0; i < s->our_count || i < s->their_count; i++) {
        Dl_info ours = {0};
        uintptr_t our_pc = i < s->our_count ? s->ours[i] : 0;
        uintptr_t their_pc = i < s->their_count ? s->theirs[i] : 0;
        dladdr((void *)our_pc, &ours);
        fprintf(stderr, "%3zu %16zx %16zx %s %s\n", i, (size_t)our_pc, (size_t)their_pc,
                ours.dli_fname ? ours.dli_fname : "?", ours.dli_sname ? ours.dli_sname : "?");
    }
}

static void assert_agree(const struct stacks *s) {
    if (!agree(s))
        print_stacks(s);
    assert_true(agree(s));
}

static uint64_t stat_of(const uint64_t *stat) {
    return mal_load_relaxed(stat);
}

/* ---- known chains ---- */

static uintptr_t expected[512];
static size_t expected_count;

static NOINLINE void note_return(void *address) {
    expected[expected_count++] = (uintptr_t)__builtin_extract_return_addr(address);
}

/* captured[0] is inside the leaf; then come the noted return addresses, last noted first. */
static void assert_expected(const uintptr_t *captured, size_t count) {
    assert_true(count > expected_count);
    for (size_t i = 0; i < expected_count; i++)
        assert_int_equal(captured[1 + i], expected[expected_count - 1 - i]);
}

static uintptr_t captured[512];
static size_t captured_count;
static size_t capture_max = DEPTH;

static NOINLINE void leaf(void) {
    note_return(__builtin_return_address(0));
    captured_count = mal_unwind_capture(captured, capture_max, NULL, NULL, NULL);
    KEEP();
}

static NOINLINE int recurse(int left) {
    note_return(__builtin_return_address(0));
    if (left > 0)
        recurse(left - 1);
    else
        leaf();
    KEEP();
    return left;
}

static void test_recursion_is_exact(void **state) {
    (void)state;
    for (int depth = 0; depth < 100; depth++) {
        expected_count = 0;
        recurse(depth);
        assert_int_equal(expected_count, depth + 2);
        assert_expected(captured, captured_count);
    }
}

static void test_deep_stack_is_cut(void **state) {
    (void)state;
    expected_count = 0;
    recurse(300);
    assert_int_equal(captured_count, DEPTH);
    for (size_t i = 0; i + 1 < DEPTH; i++)
        assert_int_equal(captured[1 + i], expected[expected_count - 1 - i]);
    captured[5] = 1234;
    capture_max = 5;
    expected_count = 0;
    recurse(20);
    capture_max = DEPTH;
    assert_int_equal(captured_count, 5);
    assert_int_equal(captured[5], 1234);
    assert_int_equal(mal_unwind_capture(captured, 0, NULL, NULL, NULL), 0);
}

/* ---- skipping ---- */

static const char *skip_lo;
static const char *skip_hi;

static int recurse_skipping(int left);
static int (*volatile recurse_again)(int) = recurse_skipping; /* not inlined into itself */

static NOINLINE int recurse_skipping(int left) {
    if (left > 0)
        recurse_again(left - 1);
    else
        captured_count = mal_unwind_capture(captured, DEPTH, skip_lo, skip_hi, NULL);
    KEEP();
    return left;
}

/* One call site for every use, so that the stacks are the same below it, too. */
static NOINLINE void skip_between(uintptr_t lo, uintptr_t hi) {
    skip_lo = (const char *)lo;
    skip_hi = (const char *)hi;
    recurse_skipping(10);
    KEEP();
}

static void test_own_frames_are_skipped(void **state) {
    (void)state;
    uintptr_t all[DEPTH];
    skip_between(0, 0);
    size_t all_count = captured_count;
    memcpy(all, captured, sizeof all);
    assert_int_equal(all[1], all[10]);

    skip_between(all[0], all[0] + 1);
    assert_int_equal(captured_count, all_count - 1);
    assert_memory_equal(captured, all + 1, 11 * sizeof all[0]);

    /* The recursion's pc again and again: all at the leaf end go, but none behind another. */
    uintptr_t lo = all[0] < all[1] ? all[0] : all[1];
    uintptr_t hi = all[0] < all[1] ? all[1] : all[0];
    skip_between(lo, hi + 1);
    assert_int_equal(captured_count, all_count - 11);
    skip_between(all[1], all[1] + 1);
    assert_int_equal(captured_count, all_count);
}

/* ---- libraries without frame pointers ---- */

static struct stacks from_callback;

static NOINLINE int compare_capturing(const void *a, const void *b) {
    capture_both(&from_callback);
    return *(const int *)a - *(const int *)b;
}

static NOINLINE void sort_some(void) {
    int numbers[] = {3, 1, 2, 9, 7, 5, 8};
    expected_count = 0;
    note_return(__builtin_return_address(0));
    qsort(numbers, MAL_COUNT_OF(numbers), sizeof numbers[0], compare_capturing);
    assert_int_equal(numbers[6], 9);
    KEEP();
}

static bool holds(const uintptr_t *pcs, size_t count, uintptr_t pc) {
    for (size_t i = 0; i < count; i++) {
        if (pcs[i] == pc)
            return true;
    }
    return false;
}

static void test_through_qsort(void **state) {
    (void)state;
    sort_some();
    assert_agree(&from_callback);
    assert_true(holds(from_callback.ours, from_callback.our_count, expected[0]));
}

/* ---- signals ---- */

static struct stacks from_handler;

static void capture_in_handler(int number) {
    (void)number;
    int before = errno;
    capture_both(&from_handler);
    errno = before;
}

static NOINLINE void raise_below(int depth) {
    note_return(__builtin_return_address(0));
    if (depth > 0)
        raise_below(depth - 1);
    else
        raise(SIGUSR1);
    KEEP();
}

static void check_signal(int flags) {
    struct sigaction action = {.sa_handler = capture_in_handler, .sa_flags = flags};
    struct sigaction before;
    sigaction(SIGUSR1, &action, &before);
    expected_count = 0;
    from_handler.our_count = 0;
    raise_below(7);
    sigaction(SIGUSR1, &before, NULL);
    assert_true(from_handler.our_count > 8);
    assert_agree(&from_handler);
    for (size_t i = 0; i < expected_count; i++)
        assert_true(holds(from_handler.ours, from_handler.our_count, expected[i]));
}

static void test_through_signal(void **state) {
    (void)state;
    check_signal(0);
}

static void test_through_signal_on_other_stack(void **state) {
    (void)state;
    enum { STACK_BYTES = 1 << 16 };
    void *memory =
        mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    stack_t alternate = {.ss_sp = memory, .ss_size = STACK_BYTES};
    stack_t before;
    sigaltstack(&alternate, &before);
    check_signal(SA_ONSTACK);
    check_signal(SA_ONSTACK);
    sigaltstack(&before, NULL);
    munmap(memory, STACK_BYTES);
}

static volatile sig_atomic_t timer_hits;
static volatile sig_atomic_t timer_bad;
static struct stacks timer_stacks;
static struct stacks timer_bad_stacks;

/* libgcc gives up at an interrupted PLT stub without tables (aarch64); we may go on. */
static bool agree_as_far_as_known(const struct stacks *s) {
    struct stacks known = *s;
    if (s->their_count > 2 && s->our_count > s->their_count)
        known.our_count = s->their_count;
    return agree(&known);
}

static void compare_in_handler(int number) {
    (void)number;
    capture_both(&timer_stacks);
    if (!agree_as_far_as_known(&timer_stacks) && !timer_bad) {
        timer_bad = 1;
        timer_bad_stacks = timer_stacks;
    }
    timer_hits++;
}

static int compare_plainly(const void *a, const void *b) {
    return strcmp(a, b);
}

static NOINLINE void work_somewhere(uint64_t *random) {
    char lines[32][24];
    for (size_t i = 0; i < MAL_COUNT_OF(lines); i++)
        snprintf(lines[i], sizeof lines[i], "%.5f", (double)draw(random) * 1e-15);
    qsort(lines, MAL_COUNT_OF(lines), sizeof lines[0], compare_plainly);
    KEEP();
}

/* Any instruction may be the interrupted one: prologues, PLT stubs, libc's assembler. */
static void test_interrupted_anywhere(void **state) {
    (void)state;
    struct sigaction action = {.sa_handler = compare_in_handler, .sa_flags = SA_RESTART};
    struct sigaction before;
    struct itimerval timer = {.it_interval.tv_usec = 500, .it_value.tv_usec = 500};
    uint64_t random = seed;
    sigaction(SIGALRM, &action, &before);
    timer_hits = timer_bad = 0;
    setitimer(ITIMER_REAL, &timer, NULL);
    while (timer_hits < 400 && !timer_bad)
        work_somewhere(&random);
    setitimer(ITIMER_REAL, &(struct itimerval){0}, NULL);
    sigaction(SIGALRM, &before, NULL);
    if (timer_bad)
        print_stacks(&timer_bad_stacks);
    assert_false(timer_bad);
}

/* ---- frames of many shapes ---- */

struct chain {
    uint64_t random;
    unsigned left;
    struct stacks stacks;
};

static NOINLINE void go_on(struct chain *chain);

static NOINLINE void shape_plain(struct chain *chain) {
    go_on(chain);
    KEEP();
}

static NOINLINE void shape_large(struct chain *chain) {
    char room[70000];
    HOLD(room);
    go_on(chain);
    HOLD(room);
}

static NOINLINE void shape_alloca(struct chain *chain) {
    char *room = __builtin_alloca(16 + draw(&chain->random) % 3000);
    HOLD(room);
    go_on(chain);
    HOLD(room);
}

static NOINLINE void shape_aligned(struct chain *chain) {
    char room[64] __attribute__((aligned(128)));
    char *more = __builtin_alloca(16 + draw(&chain->random) % 300);
    assert_int_equal((uintptr_t)room % 128, 0);
    HOLD(more);
    go_on(chain);
    HOLD(more);
    HOLD(room);
}

static NOINLINE void shape_many_registers(struct chain *chain) {
    uint64_t a = draw(&chain->random), b = draw(&chain->random), c = draw(&chain->random);
    uint64_t d = draw(&chain->random), e = draw(&chain->random), f = draw(&chain->random);
    uint64_t all = a ^ b ^ c ^ d ^ e ^ f;
    __asm__ volatile("" : "+r"(a), "+r"(b), "+r"(c), "+r"(d), "+r"(e), "+r"(f));
    go_on(chain);
    __asm__ volatile("" : "+r"(a), "+r"(b), "+r"(c), "+r"(d), "+r"(e), "+r"(f));
    assert_int_equal(a ^ b ^ c ^ d ^ e ^ f, all);
}

static NOINLINE void shape_variadic(struct chain *chain, ...) {
    va_list arguments;
    va_start(arguments, chain);
    assert_int_equal(va_arg(arguments, int), 7);
    go_on(chain);
    assert_true(va_arg(arguments, double) < 3);
    va_end(arguments);
}

static NOINLINE void shape_tail(struct chain *chain) {
    if (draw(&chain->random) % 2)
        return shape_plain(chain);
    return shape_large(chain);
}

static struct chain *sorted_chain;

static int compare_once(const void *a, const void *b) {
    struct chain *chain = sorted_chain;
    sorted_chain = NULL;
    if (chain)
        go_on(chain);
    return *(const char *)a - *(const char *)b;
}

static NOINLINE void shape_sort(struct chain *chain) {
    char letters[] = "mallard";
    sorted_chain = chain;
    qsort(letters, 7, 1, compare_once);
    KEEP();
}

static NOINLINE void shape_fast_return(struct chain *chain) {
    if (chain->left > 3)
        go_on(chain);
    else
        capture_both(&chain->stacks);
    KEEP();
}

static NOINLINE void go_on(struct chain *chain) {
    if (chain->left-- == 0) {
        capture_both(&chain->stacks);
        return;
    }
    switch (draw(&chain->random) % 8) {
    case 0:
        shape_plain(chain);
        break;
    case 1:
        shape_large(chain);
        break;
    case 2:
        shape_alloca(chain);
        break;
    case 3:
        shape_aligned(chain);
        break;
    case 4:
        shape_many_registers(chain);
        break;
    case 5:
        shape_variadic(chain, 7, 2.5);
        break;
    case 6:
        shape_tail(chain);
        break;
    default:
        shape_fast_return(chain);
    }
    KEEP();
}

static void run_chain(struct chain *chain, uint64_t chain_seed) {
    chain->random = chain_seed;
    chain->left = (unsigned)(draw(&chain->random) % 50);
    go_on(chain);
}

static void test_random_chains_agree(void **state) {
    (void)state;
    static struct chain chain;
    for (uint64_t i = 0; i < 1000; i++) {
        run_chain(&chain, seed + i);
        if (!agree(&chain.stacks))
            fprintf(stderr, "MAL_TEST_SEED=%llu\n", (unsigned long long)(seed + i));
        assert_agree(&chain.stacks);
    }
}

static NOINLINE void recurse_largely(struct stacks *s, int left) {
    char room[100000];
    HOLD(room);
    if (left > 0)
        recurse_largely(s, left - 1);
    else
        capture_both(s);
    HOLD(room);
}

/* A stack that has grown by megabytes since the last walk is found out and then known. */
static void *walk_large_frames(void *argument) {
    static struct stacks s;
    bool *ret_is_good = argument;
    recurse_largely(&s, 50);
    *ret_is_good = agree(&s);
    uint64_t before = stat_of(&mal_unwind_stats.probes);
    recurse_largely(&s, 45);
    *ret_is_good &= agree(&s) && stat_of(&mal_unwind_stats.probes) == before;
    return NULL;
}

static void test_large_frames(void **state) {
    (void)state;
    bool is_good;
    pthread_t thread;
    walk_large_frames(&is_good);
    assert_true(is_good);
    assert_int_equal(pthread_create(&thread, NULL, walk_large_frames, &is_good), 0);
    pthread_join(thread, NULL);
    assert_true(is_good);
}

static void test_sort_inside_chain(void **state) {
    (void)state;
    static struct chain chain;
    chain.random = seed;
    chain.left = 12;
    shape_sort(&chain);
    assert_agree(&chain.stacks);
}

/* ---- what the cache does ---- */

static NOINLINE void recurse_from_here(void) {
    expected_count = 0;
    recurse(20);
    KEEP();
}

static void test_cache_is_warm_and_can_be_reset(void **state) {
    (void)state;
    uintptr_t first[DEPTH];
    recurse_from_here();
    recurse_from_here(); /* known but for the place it was called from */
    struct mal_unwind_stats before = mal_unwind_stats;
    for (volatile int i = 0; i < 10; i++) /* not unrolled: one call site */
        recurse_from_here();
    assert_true(stat_of(&mal_unwind_stats.misses) <= before.misses + 1);
    /* One a walk: cmocka's library. The program and the C library are known for good. */
    assert_true(stat_of(&mal_unwind_stats.identified) <= before.identified + 10);
    before = mal_unwind_stats;
    assert_int_equal(stat_of(&mal_unwind_stats.probes), before.probes);
    memcpy(first, captured, sizeof first);
    mal_unwind_reset();
    recurse_from_here();
    assert_true(stat_of(&mal_unwind_stats.misses) > before.misses + 2);
    assert_int_equal(stat_of(&mal_unwind_stats.uncached), before.uncached);
    assert_memory_equal(first, captured, 22 * sizeof first[0]);
}

static void test_errno_is_left_alone(void **state) {
    (void)state;
    mal_unwind_reset();
    errno = 77;
    expected_count = 0;
    recurse(5);
    assert_int_equal(errno, 77);
}

/* ---- paths ---- */

enum { WAYS = 64, TURNS = 6, ROUNDS = 40 };

struct way {
    struct mal_unwind_code code;
    size_t count;
    uintptr_t pcs[DEPTH];
};

static struct way ways[WAYS];

static NOINLINE void turn(struct way *way, unsigned turns, unsigned left);

/* Its frame is found by the frame pointer, and is never as large as last time. */
static NOINLINE void turn_aside(struct way *way, unsigned turns, unsigned left) {
    static uint64_t calls;
    volatile char *room = __builtin_alloca(16 + calls++ % 512);
    room[0] = 1;
    turn(way, turns >> 1, left - 1);
    room[1] = 1;
}

static NOINLINE void turn(struct way *way, unsigned turns, unsigned left) {
    if (left == 0)
        way->count = mal_unwind_capture(way->pcs, DEPTH, NULL, NULL, &way->code);
    else if (turns & 1)
        turn_aside(way, turns, left);
    else
        turn(way, turns >> 1, left - 1);
    KEEP();
}

static bool is_same_way(const struct way *a, const struct way *b) {
    return a->count == b->count && memcmp(a->pcs, b->pcs, a->count * sizeof a->pcs[0]) == 0;
}

/* A path is one stack, and a stack that has one keeps it. In a thread of its own: the test library
 * could be unloaded, so stacks of its functions have none. */
static void *go_all_ways(void *unused) {
    struct way way;
    for (volatile int round = 0; round < ROUNDS; round++) /* not unrolled: one call site */
        for (volatile unsigned i = 0; i < WAYS; i++) {
            turn(&way, i, TURNS);
            if (round == 0)
                ways[i] = way;
            if (way.code.path == 0 || way.code.path != ways[i].code.path ||
                !is_same_way(&way, &ways[i]))
                return (void *)"a way had another path, or other pcs, when it was gone again";
            for (unsigned j = 0; j < i; j++)
                if (ways[j].code.path == way.code.path)
                    return (void *)"two ways have one path";
        }
    return unused;
}

static void test_a_path_stands_for_one_stack(void **state) {
    (void)state;
    pthread_t thread;
    void *complaint;
    turn(&ways[0], 0, 1); /* the first walk of all finds out what lasts */
    assert_int_equal(ways[0].code.path, 0);
    mal_unwind_reset();
    assert_int_equal(pthread_create(&thread, NULL, go_all_ways, NULL), 0);
    pthread_join(thread, &complaint);
    if (complaint)
        fail_msg("%s", (char *)complaint);
}

static void *go_one_way(void *argument) {
    struct way *way = argument;
    turn(way, 21, TURNS);
    return NULL;
}

static void test_a_path_is_the_same_in_every_thread(void **state) {
    (void)state;
    struct way way[2];
    for (int i = 0; i < 2; i++) {
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, go_one_way, &way[i]), 0);
        pthread_join(thread, NULL);
    }
    assert_int_not_equal(way[0].code.path, 0);
    assert_int_equal(way[0].code.path, way[1].code.path);
}

/* More stacks than there is room for: they are walked all the same. */
static void *go_many_ways(void *unused) {
    struct way way, again;
    for (unsigned i = 0; i < 1u << 14; i++) {
        for (volatile int time = 0; time < 2; time++)
            turn(time ? &again : &way, i, 14);
        if (!is_same_way(&way, &again) || way.count < 15)
            return (void *)"a stack was cut short";
        if (way.code.path != 0 && again.code.path != way.code.path)
            return (void *)"a path changed";
    }
    return way.code.path == 0 ? unused : (void *)"there was room without end";
}

static void test_paths_may_run_out(void **state) {
    (void)state;
    pthread_t thread;
    void *complaint;
    assert_int_equal(pthread_create(&thread, NULL, go_many_ways, NULL), 0);
    pthread_join(thread, &complaint);
    if (complaint)
        fail_msg("%s", (char *)complaint);
}

/* ---- other stacks ---- */

enum { COROUTINE_BYTES = 256 << 10, GARBAGE_WORDS = 160 };

static ucontext_t back;
static ucontext_t coroutine;

static void coroutine_body(void) {
    static struct chain chain;
    for (uint64_t i = 0; i < 20; i++) {
        chain.random = seed + i;
        chain.left = 2;
        shape_plain(&chain);
        assert_agree(&chain.stacks);
        swapcontext(&coroutine, &back);
    }
}

static void test_in_coroutine(void **state) {
    (void)state;
    char *memory =
        mmap(NULL, COROUTINE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    getcontext(&coroutine);
    coroutine.uc_stack.ss_sp = memory;
    coroutine.uc_stack.ss_size = COROUTINE_BYTES;
    coroutine.uc_link = &back;
    makecontext(&coroutine, coroutine_body, 0);
    static struct chain chain;
    for (int i = 0; i < 21; i++) {
        swapcontext(&back, &coroutine);
        run_chain(&chain, seed);
        assert_agree(&chain.stacks);
    }
    munmap(memory, COROUTINE_BYTES);
}

static void *capture_in_thread(void *argument) {
    struct stacks *s = argument;
    s->our_count = mal_unwind_capture(s->ours, DEPTH, NULL, NULL, NULL);
    KEEP();
    return NULL;
}

static void test_tiny_thread(void **state) {
    (void)state;
    pthread_attr_t attributes;
    pthread_t thread;
    struct stacks s = {.our_count = 0};
    pthread_attr_init(&attributes);
    assert_int_equal(pthread_attr_setstacksize(&attributes, (size_t)PTHREAD_STACK_MIN), 0);
    assert_int_equal(pthread_create(&thread, &attributes, capture_in_thread, &s), 0);
    pthread_join(thread, NULL);
    assert_true(s.our_count >= 2 && s.our_count <= 4);
    pthread_attr_destroy(&attributes);
}

/* A word that could be found on a stack, or should not. */
static uintptr_t garbage(uint64_t *random, uintptr_t near_sp) {
    uint64_t word = draw(random);
    switch (word % 6) {
    case 0:
        return near_sp + (word >> 8) % 8192;
    case 1:
        return (uintptr_t)recurse + (word >> 8) % 64;
    case 2:
        return (uintptr_t)qsort + (word >> 8) % 4096;
    case 3:
        return near_sp + (word >> 8) % (1u << 30);
    case 4:
        return (word >> 8) % 70000;
    default:
        return word;
    }
}

/* Overwrites what lies above its frame, walks, and puts it back. */
static NO_SANITIZE void walk_garbage(uint64_t *random) {
    static uintptr_t saved[GARBAGE_WORDS];
    static uintptr_t pcs[DEPTH];
    volatile uintptr_t *above = (volatile uintptr_t *)__builtin_frame_address(0);
    static size_t count;
    count = draw(random) % GARBAGE_WORDS;
    for (size_t i = 0; i < count; i++)
        saved[i] = above[i];
    for (size_t i = 0; i < count; i++)
        above[i] = garbage(random, (uintptr_t)above);
    mal_unwind_capture(pcs, DEPTH, NULL, NULL, NULL);
    for (size_t i = 0; i < count; i++)
        above[i] = saved[i];
}

static uint64_t garbage_state;

static NOINLINE void walk_garbage_deeply(int depth) {
    uintptr_t room[GARBAGE_WORDS];
    HOLD(room);
    if (depth > 0)
        walk_garbage_deeply(depth - 1);
    else
        walk_garbage(&garbage_state);
    HOLD(room);
}

static void *walk_much_garbage(void *argument) {
    (void)argument;
    for (int i = 0; i < 20000; i++)
        walk_garbage_deeply(3);
    return NULL;
}

static void coroutine_garbage(void) {
    walk_much_garbage(NULL);
}

static void test_corrupted_stacks(void **state) {
    (void)state;
    pthread_t thread;
    garbage_state = seed;
    walk_much_garbage(NULL);
    pthread_create(&thread, NULL, walk_much_garbage, NULL);
    pthread_join(thread, NULL);

    /* At the very end of a mapping, so that a load too far would fault. */
    char *memory =
        mmap(NULL, COROUTINE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mprotect(memory + COROUTINE_BYTES - 4096, 4096, PROT_NONE);
    getcontext(&coroutine);
    coroutine.uc_stack.ss_sp = memory;
    coroutine.uc_stack.ss_size = COROUTINE_BYTES - 4096;
    coroutine.uc_link = &back;
    makecontext(&coroutine, coroutine_garbage, 0);
    swapcontext(&back, &coroutine);
    munmap(memory, COROUTINE_BYTES);
}

/* ---- code without tables ---- */

static struct stacks from_jit;

static NOINLINE void jit_callback(void) {
    from_jit.our_count = mal_unwind_capture(from_jit.ours, DEPTH, NULL, NULL, NULL);
    KEEP();
}

static const uint8_t jit_code[] = {
#if defined(__x86_64__)
    0x55, 0x48, 0x89, 0xe5, /* push %rbp; mov %rsp, %rbp */
    0xff, 0xd7,             /* call *%rdi */
    0x5d, 0xc3,             /* pop %rbp; ret */
#else
    0xfd, 0x7b, 0xbf, 0xa9, 0xfd, 0x03, 0x00, 0x91, /* stp x29, x30, [sp, #-16]!; mov x29, sp */
    0x00, 0x00, 0x3f, 0xd6,                         /* blr x0 */
    0xfd, 0x7b, 0xc1, 0xa8, 0xc0, 0x03, 0x5f, 0xd6, /* ldp x29, x30, [sp], #16; ret */
#endif
};

static NOINLINE void call_jit(void *code) {
    expected_count = 0;
    note_return(__builtin_return_address(0));
    ((void (*)(void (*)(void)))code)(jit_callback);
    KEEP();
}

static void test_through_jit(void **state) {
    (void)state;
    void *code = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memcpy(code, jit_code, sizeof jit_code);
    assert_int_equal(mprotect(code, 4096, PROT_READ | PROT_EXEC), 0);
    __builtin___clear_cache((char *)code, (char *)code + sizeof jit_code);
    uint64_t before = stat_of(&mal_unwind_stats.fp_steps);
    call_jit(code);
    assert_int_equal(stat_of(&mal_unwind_stats.fp_steps), before + 1);
    assert_true(from_jit.our_count > 4);
    assert_true(from_jit.ours[1] - (uintptr_t)code < sizeof jit_code);
    assert_int_equal(from_jit.ours[3], expected[0]);
    munmap(code, 4096);
}

/* A function whose CFA hangs on a register that the quick walk does not follow. */
void mal_test_odd_cfa(void (*callback)(void));
#if defined(__x86_64__)
__asm__(".pushsection .text\n"
        ".type mal_test_odd_cfa, @function\n"
        "mal_test_odd_cfa:\n"
        ".cfi_startproc\n"
        "push %rbx\n"
        ".cfi_def_cfa_offset 16\n"
        ".cfi_offset %rbx, -16\n"
        "mov %rsp, %rbx\n"
        ".cfi_def_cfa_register %rbx\n"
        "and $-64, %rsp\n"
        "sub $128, %rsp\n"
        "call *%rdi\n"
        "mov %rbx, %rsp\n"
        ".cfi_def_cfa_register %rsp\n"
        "pop %rbx\n"
        ".cfi_def_cfa_offset 8\n"
        "ret\n"
        ".cfi_endproc\n"
        ".size mal_test_odd_cfa, . - mal_test_odd_cfa\n"
        ".popsection\n");
#else
__asm__(".pushsection .text\n"
        ".type mal_test_odd_cfa, %function\n"
        "mal_test_odd_cfa:\n"
        ".cfi_startproc\n"
        "stp x19, x30, [sp, #-16]!\n"
        ".cfi_def_cfa_offset 16\n"
        ".cfi_offset 19, -16\n"
        ".cfi_offset 30, -8\n"
        "mov x19, sp\n"
        ".cfi_def_cfa_register 19\n"
        "sub sp, sp, #128\n"
        "blr x0\n"
        "mov sp, x19\n"
        ".cfi_def_cfa_register 31\n"
        "ldp x19, x30, [sp], #16\n"
        ".cfi_restore 19\n"
        ".cfi_restore 30\n"
        ".cfi_def_cfa_offset 0\n"
        "ret\n"
        ".cfi_endproc\n"
        ".size mal_test_odd_cfa, . - mal_test_odd_cfa\n"
        ".popsection\n");
#endif

static struct chain odd_chain;

static void odd_callback(void) {
    odd_chain.random = seed;
    odd_chain.left = 20;
    shape_many_registers(&odd_chain);
    KEEP();
}

static void test_cfa_in_another_register(void **state) {
    (void)state;
    uint64_t before = stat_of(&mal_unwind_stats.full_walks);
    mal_test_odd_cfa(odd_callback);
    assert_int_equal(stat_of(&mal_unwind_stats.full_walks), before + 1);
    assert_agree(&odd_chain.stacks);
}

/* ---- a signal trampoline without tables ---- */

#if defined(__x86_64__)
void mal_test_restorer(void);
__asm__(".pushsection .text\n"
        "nop\n"
        "mal_test_restorer:\n"
        "mov $15, %rax\n"
        "syscall\n"
        ".popsection\n");

struct kernel_action {
    void (*handler)(int);
    unsigned long flags;
    void (*restorer)(void);
    uint64_t mask;
};

static void test_trampoline_without_tables(void **state) {
    (void)state;
    enum { SA_HAS_RESTORER = 0x04000000 };
    struct kernel_action action = {capture_in_handler, SA_HAS_RESTORER, mal_test_restorer, 0};
    struct kernel_action before;
    assert_int_equal(syscall(SYS_rt_sigaction, SIGUSR2, &action, &before, 8), 0);
    expected_count = 0;
    note_return(__builtin_return_address(0));
    raise(SIGUSR2);
    syscall(SYS_rt_sigaction, SIGUSR2, &before, NULL, 8);
    assert_true(from_handler.our_count > 4);
    assert_true(holds(from_handler.ours, from_handler.our_count, (uintptr_t)mal_test_restorer));
    assert_true(holds(from_handler.ours, from_handler.our_count, expected[0]));
}
#endif

/* ---- objects that come and go ---- */

struct stream { /* zlib's z_stream */
    void *next_in;
    unsigned avail_in;
    unsigned long total_in;
    void *next_out;
    unsigned avail_out;
    unsigned long total_out;
    const char *message;
    void *internal;
    void *(*allocate)(void *, unsigned, unsigned);
    void (*release)(void *, void *);
    void *opaque;
    int data_type;
    unsigned long checksum;
    unsigned long reserved;
};

static struct stacks from_library;

static void *allocate_nothing(void *opaque, unsigned items, unsigned bytes) {
    (void)opaque, (void)items, (void)bytes;
    capture_both(&from_library);
    return NULL;
}

static void release_nothing(void *opaque, void *address) {
    (void)opaque, (void)address;
}

/* Opens the library, walks from a callback of it and closes it again; the misses that it cost. */
static uint64_t misses_through(const char *path) {
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    assert_non_null(library);
    int (*init)(struct stream *, int, const char *, int) =
        (int (*)(struct stream *, int, const char *, int))dlsym(library, "inflateInit2_");
    assert_non_null(init);
    struct stream stream = {.allocate = allocate_nothing, .release = release_nothing};
    from_library.our_count = 0;
    uint64_t before = stat_of(&mal_unwind_stats.misses);
    assert_int_equal(init(&stream, 15, "1.2.11", (int)sizeof stream), -4);
    uint64_t misses = stat_of(&mal_unwind_stats.misses) - before;
    assert_true(from_library.our_count > 4);
    assert_agree(&from_library);
    dlclose(library);
    return misses;
}

/* Copies a library, with another build-id if `change`. */
static void copy_library(const char *from, const char *to, uint8_t change) {
    static const uint8_t note[] = {20, 0, 0, 0, 3, 0, 0, 0, 'G', 'N', 'U', 0};
    static uint8_t bytes[1 << 20];
    FILE *file = fopen(from, "rb");
    size_t count = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    uint8_t *found = memmem(bytes, 4096, note, sizeof note);
    assert_non_null(found);
    found[sizeof note] ^= change;
    file = fopen(to, "wb");
    fwrite(bytes, 1, count, file);
    fclose(file);
}

static bool find_zlib(char *path, size_t bytes) {
    struct link_map *map;
    void *library = dlopen("libz.so.1", RTLD_NOW | RTLD_LOCAL);
    if (!library)
        return false;
    dlinfo(library, RTLD_DI_LINKMAP, &map);
    snprintf(path, bytes, "%s", map->l_name);
    dlclose(library);
    return true;
}

static void test_objects_are_known_by_content(void **state) {
    (void)state;
    char original[PATH_MAX];
    char same[] = "/tmp/mal-unwind-same-XXXXXX";
    char other[] = "/tmp/mal-unwind-other-XXXXXX";
    if (!find_zlib(original, sizeof original))
        skip();
    close(mkstemp(same));
    close(mkstemp(other));
    copy_library(original, same, 0);
    copy_library(original, other, 0x55);
    misses_through(same);
    /* A call from a new place is a miss as well: that of the frame of this function. */
    for (int i = 0; i < 50; i++) {
        uint64_t misses = misses_through(other);
        assert_true(i == 0 ? misses > 1 : misses <= 1);
        const char *either = i % 2 ? same : original;
        assert_true(misses_through(either) <= 1);
    }
    unlink(same);
    unlink(other);
}

/* ---- many threads ---- */

static bool threads_stop;
static bool threads_failed;

static void *agree_in_thread(void *argument) {
    struct chain *chain = calloc(1, sizeof *chain);
    uint64_t thread_seed = seed + (uintptr_t)argument * 1000003;
    for (uint64_t i = 0; i < 1500 && !mal_load_relaxed(&threads_failed); i++) {
        run_chain(chain, thread_seed + i);
        if (!agree(&chain->stacks)) {
            print_stacks(&chain->stacks);
            mal_store_relaxed(&threads_failed, true);
        }
    }
    free(chain);
    return NULL;
}

static void *reset_in_thread(void *argument) {
    (void)argument;
    while (!mal_load_relaxed(&threads_stop)) {
        mal_unwind_reset();
        usleep(50);
    }
    return NULL;
}

static void test_threads_share_the_cache(void **state) {
    (void)state;
    pthread_t walkers[4];
    pthread_t resetter;
    threads_stop = false;
    pthread_create(&resetter, NULL, reset_in_thread, NULL);
    for (uintptr_t i = 0; i < MAL_COUNT_OF(walkers); i++)
        pthread_create(&walkers[i], NULL, agree_in_thread, (void *)(i + 1));
    for (size_t i = 0; i < MAL_COUNT_OF(walkers); i++)
        pthread_join(walkers[i], NULL);
    mal_store_relaxed(&threads_stop, true);
    pthread_join(resetter, NULL);
    assert_false(threads_failed);
}

/* ---- tables made by hand ---- */

/* One function of 256 bytes at `code`, its CIE and FDE, and a header that finds it. */
struct tables {
    uint8_t bytes[512];
    uint8_t code[256];
};
static struct tables tables __attribute__((aligned(4096)));

static size_t put(size_t at, const void *data, size_t count) {
    memcpy(tables.bytes + at, data, count);
    return at + count;
}

static size_t put_u32(size_t at, uint64_t value) {
    uint32_t word = (uint32_t)value;
    return put(at, &word, 4);
}

#if defined(__x86_64__)
enum { RA_COLUMN = 16, SP_COLUMN = 7, BP_COLUMN = 6 };
#else
enum { RA_COLUMN = 30, SP_COLUMN = 31, BP_COLUMN = 29 };
#endif

/* The FDE's program is the caller's. Returns the bytes in use. */
static size_t make_tables(const uint8_t *program, size_t count) {
    enum { CIE = 32, CIE_BYTES = 28, FDE = CIE + 4 + CIE_BYTES };
    const uint8_t cie[] = {
        1, 'z', 'R', 0, 1, 0x78, RA_COLUMN, 1, 0x1b, 0x0c, SP_COLUMN, 8, 0x80 | RA_COLUMN, 1};
    const uint8_t header[] = {1, 0x1b, 0x03, 0x3b};
    memset(tables.bytes, 0, sizeof tables.bytes);
    put(0, header, sizeof header);
    put_u32(8, 1);
    put_u32(12, offsetof(struct tables, code));
    put_u32(16, FDE);
    put_u32(CIE, CIE_BYTES);
    put(CIE + 8, cie, sizeof cie);
    size_t fde_bytes = 4 + 8 + 1 + count;
    put_u32(FDE, fde_bytes);
    put_u32(FDE + 4, FDE + 4 - CIE);
    put_u32(FDE + 8, offsetof(struct tables, code) - (FDE + 8));
    put_u32(FDE + 12, sizeof tables.code);
    return put(FDE + 17, program, count);
}

static struct mal_unwind_row row_at(size_t offset) {
    struct mal_unwind_image image = {(uintptr_t)&tables, (uintptr_t)(&tables + 1),
                                     (uintptr_t)&tables};
    struct mal_unwind_row row;
    mal_unwind_cfi_row(&image, (uintptr_t)tables.code + offset, &row);
    return row;
}

static void test_table_rules(void **state) {
    (void)state;
    const uint8_t program[] = {
        0x41, 0x0e,      16,        0x80 | BP_COLUMN,
        2,                                            /* +1: CFA sp+16, bp at CFA-16 */
        0x43, 0x0d,      BP_COLUMN,                   /* +4: CFA bp+16 */
        0x0a, 0x02,      16,                          /* +20, remembered */
        0x0c, SP_COLUMN, 8,         0xc0 | BP_COLUMN, /* CFA sp+8, bp restored */
        0x03, 0x10,      0,         0x0b,             /* +36: as remembered */
        0x04, 0x40,      0,         0,
        0,    0x07,      RA_COLUMN, /* +100: no caller */
    };
    make_tables(program, sizeof program);
    struct mal_unwind_row row = row_at(0);
    assert_int_equal(row.flags, 0);
    assert_int_equal(row.cfa_reg, MAL_UNWIND_SP);
    assert_int_equal(row.cfa_offset, 8);
    assert_int_equal(row.saved[MAL_UNWIND_BP], MAL_UNWIND_SAME);
    assert_int_equal(row.saved[MAL_UNWIND_LR], -1);
    row = row_at(3);
    assert_int_equal(row.cfa_offset, 16);
    assert_int_equal(row.saved[MAL_UNWIND_BP], -2);
    assert_int_equal(row_at(4).cfa_reg, MAL_UNWIND_BP);
    assert_int_equal(row_at(20).cfa_reg, MAL_UNWIND_SP);
    assert_int_equal(row_at(20).saved[MAL_UNWIND_BP], MAL_UNWIND_SAME);
    assert_int_equal(row_at(99).cfa_reg, MAL_UNWIND_BP);
    assert_int_equal(row_at(99).saved[MAL_UNWIND_BP], -2);
    assert_int_equal(row_at(100).flags, MAL_UNWIND_ROW_END);
    assert_int_equal(row_at(256).flags, MAL_UNWIND_ROW_NO_CFI);
    assert_int_equal(row_at((size_t)-1).flags, MAL_UNWIND_ROW_NO_CFI);
}

/* The row of a function whose CFA is an expression. */
static struct mal_unwind_row row_of_expression(const uint8_t *code, size_t count, size_t offset) {
    uint8_t program[64] = {0x0f, (uint8_t)count};
    memcpy(program + 2, code, count);
    make_tables(program, count + 2);
    return row_at(offset);
}

static void test_expressions(void **state) {
    (void)state;
    const uint8_t in_memory[] = {0x70 + BP_COLUMN, 0x78, 0x06}; /* the word at bp-8 */
    struct mal_unwind_row row = row_of_expression(in_memory, sizeof in_memory, 0);
    assert_int_equal(row.flags, MAL_UNWIND_ROW_DEREF);
    assert_int_equal(row.cfa_reg, MAL_UNWIND_BP);
    assert_int_equal(row.cfa_offset, -8);

    /* bregx sp+1; const2s -2; const1u 3; mul; minus; dup and drop by and, eq; plus_uconst 4 */
    const uint8_t computed[] = {0x92, SP_COLUMN, 1,    0x0b, 0xfe, 0xff, 0x08, 3,   0x1e,
                                0x1c, 0x33,      0x12, 0x29, 0x22, 0x23, 4,    0x96};
    row = row_of_expression(computed, sizeof computed, 0);
    assert_int_equal(row.flags, 0);
    assert_int_equal(row.cfa_offset, 1 + 6 + 1 + 4);

    const uint8_t twice[] = {0x70 + BP_COLUMN, 0, 0x06, 0x06};
    assert_int_equal(row_of_expression(twice, sizeof twice, 0).flags, MAL_UNWIND_ROW_NO_CFI);
    const uint8_t empty[] = {0x22};
    assert_int_equal(row_of_expression(empty, 1, 0).flags, MAL_UNWIND_ROW_NO_CFI);
    const uint8_t cut[] = {0x0e, 1, 2};
    assert_int_equal(row_of_expression(cut, 3, 0).flags, MAL_UNWIND_ROW_NO_CFI);
    uint8_t deep[32];
    memset(deep, 0x31, sizeof deep);
    assert_int_equal(row_of_expression(deep, 32, 0).flags, MAL_UNWIND_ROW_NO_CFI);
}

#if defined(__x86_64__)
/* What linkers write for PLT stubs: sp + 8 + ((pc & 15) >= 11) * 8. */
static void test_plt_expression(void **state) {
    (void)state;
    const uint8_t plt[] = {0x77, 8, 0x80, 0, 0x3f, 0x1a, 0x3b, 0x2a, 0x33, 0x24, 0x22};
    for (size_t offset = 0; offset < 32; offset++) {
        struct mal_unwind_row row = row_of_expression(plt, sizeof plt, offset);
        size_t low = ((uintptr_t)tables.code + offset) % 16;
        assert_int_equal(row.flags, 0);
        assert_int_equal(row.cfa_reg, MAL_UNWIND_SP);
        assert_int_equal(row.cfa_offset, low >= 11 ? 16 : 8);
    }
    const uint8_t by_address[] = {0x80, 0, 0x77, 0, 0x22}; /* would not move with the object */
    assert_int_equal(row_of_expression(by_address, sizeof by_address, 0).flags,
                     MAL_UNWIND_ROW_NO_CFI);
}

extern const char __executable_start[];
extern const char etext[];

/* And in this program itself, if it was linked for lazy binding. */
static void test_plt_of_this_program(void **state) {
    (void)state;
    struct dl_find_object found;
    unsigned stubs = 0;
    assert_int_equal(_dl_find_object((void *)test_plt_of_this_program, &found), 0);
    struct mal_unwind_image image = {(uintptr_t)found.dlfo_map_start, (uintptr_t)found.dlfo_map_end,
                                     (uintptr_t)found.dlfo_eh_frame};
    uintptr_t pc = ((uintptr_t)__executable_start + 15) & ~(uintptr_t)15;
    for (; pc < (uintptr_t)etext; pc += 16) {
        struct mal_unwind_row before, after;
        mal_unwind_cfi_row(&image, pc + 10, &before);
        mal_unwind_cfi_row(&image, pc + 11, &after);
        bool is_stub = *(const uint16_t *)pc == 0x25ff && ((const uint8_t *)pc)[6] == 0x68;
        if (!is_stub || before.flags)
            continue;
        assert_int_equal(before.cfa_offset, 8);
        assert_int_equal(after.cfa_offset, 16);
        stubs++;
    }
    if (stubs == 0)
        skip();
}
#endif

/* Damaged tables may give any row, but nothing worse. */
static void test_damaged_tables(void **state) {
    (void)state;
    const uint8_t program[] = {0x41, 0x0e, 16,        0x80 | BP_COLUMN,
                               2,    0x10, BP_COLUMN, 2,
                               0x76, 0,    0x0f,      3,
                               0x76, 0x78, 0x06,      0x0a,
                               0x42, 0x0b, 0x16,      3,
                               1,    0x30};
    uint64_t random = seed;
    for (int i = 0; i < 20000; i++) {
        size_t used = make_tables(program, sizeof program);
        for (uint64_t changes = 1 + draw(&random) % 4; changes > 0; changes--)
            tables.bytes[draw(&random) % used] = (uint8_t)draw(&random);
        row_at(draw(&random) % 256);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        /* Paths are made for good: these tests find room for theirs. */
        cmocka_unit_test(test_a_path_stands_for_one_stack),
        cmocka_unit_test(test_a_path_is_the_same_in_every_thread),
        cmocka_unit_test(test_recursion_is_exact),
        cmocka_unit_test(test_deep_stack_is_cut),
        cmocka_unit_test(test_own_frames_are_skipped),
        cmocka_unit_test(test_through_qsort),
        cmocka_unit_test(test_through_signal),
        cmocka_unit_test(test_through_signal_on_other_stack),
        cmocka_unit_test(test_interrupted_anywhere),
        cmocka_unit_test(test_random_chains_agree),
        cmocka_unit_test(test_large_frames),
        cmocka_unit_test(test_sort_inside_chain),
        cmocka_unit_test(test_cache_is_warm_and_can_be_reset),
        cmocka_unit_test(test_errno_is_left_alone),
        cmocka_unit_test(test_in_coroutine),
        cmocka_unit_test(test_tiny_thread),
        cmocka_unit_test(test_corrupted_stacks),
        cmocka_unit_test(test_through_jit),
        cmocka_unit_test(test_cfa_in_another_register),
        cmocka_unit_test(test_objects_are_known_by_content),
        cmocka_unit_test(test_threads_share_the_cache),
        cmocka_unit_test(test_table_rules),
        cmocka_unit_test(test_expressions),
        cmocka_unit_test(test_damaged_tables),
#if defined(__x86_64__)
        cmocka_unit_test(test_trampoline_without_tables),
        cmocka_unit_test(test_plt_expression),
        cmocka_unit_test(test_plt_of_this_program),
#endif
        cmocka_unit_test(test_paths_may_run_out),
    };
    if (getenv("MAL_TEST_SEED"))
        seed = strtoull(getenv("MAL_TEST_SEED"), NULL, 10);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
