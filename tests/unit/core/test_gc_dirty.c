/* SPDX-License-Identifier: Apache-2.0
 *
 * Dirty pages: every backend against a model of random writes, in two epochs and by several
 * threads; what is mapped over, unmapped, forked and forbidden. A missed write is a failure
 * anywhere. Where the kernel has no backend, its cases say so and are skipped. MAL_SEED repeats a
 * run.
 */
#include "base/attr.h"
#include "gc/dirty.h"
#include "os/clock.h"
#include "os/say.h"
#include "os/vm.h"
#include "os/written.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "support/emulated.h"

#define PAGES 4096u

static uint64_t seed;
static size_t page_bytes;
static const struct mal_gc_dirty *dirty = &mal_gc_dirty_uffd;

static uint64_t next_random(uint64_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

struct region {
    unsigned char *memory;
    size_t pages;
    unsigned char *written; /* model: since the last clear; one byte per page */
    unsigned char *seen;
    size_t outside; /* reported bytes that were not asked about */
};

static uintptr_t low_of(const struct region *region) {
    return (uintptr_t)region->memory;
}

static uintptr_t high_of(const struct region *region) {
    return low_of(region) + region->pages * page_bytes;
}

static struct region region_new(size_t pages) {
    struct region region = {mal_vm_map(pages * page_bytes), pages, calloc(1, pages),
                            calloc(1, pages), 0};
    assert_non_null(region.memory);
    return region;
}

static void region_free(struct region *region) {
    mal_vm_unmap(region->memory, region->pages * page_bytes);
    free(region->written);
    free(region->seen);
}

static void see(uintptr_t low, uintptr_t high, void *context) {
    struct region *region = context;
    region->outside += low < low_of(region) || high > high_of(region) || low >= high;
    for (uintptr_t at = low & ~(page_bytes - 1); at < high; at += page_bytes)
        region->seen[(at - low_of(region)) / page_bytes] = 1;
}

/* Every write is seen; with `exact` nothing else is. */
static void judge(struct region *region, int exact) {
    size_t missed = 0;
    size_t invented = 0;
    for (size_t page = 0; page < region->pages; page++) {
        missed += region->written[page] && !region->seen[page];
        invented += !region->written[page] && region->seen[page];
    }
    assert_int_equal(missed, 0);
    if (exact)
        assert_int_equal(invented, 0);
    assert_int_equal(region->outside, 0);
    memset(region->seen, 0, region->pages);
}

static void look(struct region *region) {
    assert_int_equal(dirty->look(low_of(region), high_of(region), see, region), 0);
    judge(region, 1);
}

static void clear(struct region *region) {
    assert_int_equal(dirty->clear(low_of(region), high_of(region), see, region), 0);
    judge(region, 1);
    memset(region->written, 0, region->pages);
}

static void watch(struct region *region) {
    assert_int_equal(dirty->add(low_of(region), high_of(region)), 0);
    assert_int_equal(dirty->clear(low_of(region), high_of(region), NULL, NULL), 0);
    memset(region->written, 0, region->pages);
}

static void note(struct region *region, size_t offset, size_t bytes) {
    for (size_t page = offset / page_bytes; page <= (offset + bytes - 1) / page_bytes; page++)
        __atomic_store_n(&region->written[page], 1, __ATOMIC_RELAXED);
}

/* A pipe's contents into memory: the kernel writes. */
static void write_by_read(unsigned char *at, size_t bytes) {
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    unsigned char *source = malloc(bytes);
    memset(source, 0x5a, bytes);
    assert_int_equal(write(fds[1], source, bytes), bytes);
    assert_int_equal(read(fds[0], at, bytes), bytes);
    free(source);
    close(fds[0]);
    close(fds[1]);
}

static void write_somewhere(struct region *region, uint64_t *random) {
    size_t bytes = 1 + next_random(random) % (3 * page_bytes);
    size_t offset = next_random(random) % (region->pages * page_bytes - bytes);
    switch (next_random(random) % 8) {
    case 0:
        memset(region->memory + offset, (int)next_random(random), bytes);
        note(region, offset, bytes);
        break;
    case 1:
        write_by_read(region->memory + offset, bytes);
        note(region, offset, bytes);
        break;
    case 2:
        __atomic_fetch_add((uint64_t *)(void *)(region->memory + offset / 8 * 8), 1,
                           __ATOMIC_SEQ_CST);
        note(region, offset / 8 * 8, 8);
        break;
    default:
        region->memory[offset]++;
        note(region, offset, 1);
    }
}

static void need_uffd(void) {
    if (dirty->open() == 0)
        return;
    print_message("skip: no asynchronous write protection here\n");
    skip();
}

static void the_self_test_passes_and_is_quick(void **state) {
    (void)state;
    need_uffd();
    uint64_t start_ns = mal_clock_mono_ns();
    assert_int_equal(mal_gc_dirty_self_test(dirty), 0);
    print_message("self-test: %lu us\n", (mal_clock_mono_ns() - start_ns) / 1000);
    dirty->close();
}

static void random_writes_are_seen(void **state) {
    (void)state;
    need_uffd();
    struct region region = region_new(PAGES);
    uint64_t random = seed;
    for (size_t page = 0; page < region.pages; page += 2)
        region.memory[page * page_bytes] = 1;
    watch(&region);
    for (unsigned epoch = 0; epoch < 60; epoch++) {
        unsigned writes = 1u << next_random(&random) % 12;
        for (unsigned i = 0; i < writes; i++)
            write_somewhere(&region, &random);
        if (epoch % 2)
            look(&region);
        clear(&region);
    }
    dirty->release(low_of(&region), high_of(&region));
    region_free(&region);
    dirty->close();
}

static void a_second_add_forgets_nothing(void **state) {
    (void)state;
    need_uffd();
    struct region region = region_new(64);
    watch(&region);
    region.memory[5 * page_bytes] = 1;
    note(&region, 5 * page_bytes, 1);
    assert_int_equal(dirty->add(low_of(&region), high_of(&region)), 0);
    look(&region);
    region_free(&region);
    dirty->close();
}

/* Larger than the pieces that a scan is made of, mostly never touched; huge pages in part of it. */
static void large_ranges_have_no_seams(void **state) {
    (void)state;
    need_uffd();
    struct region region = region_new(((size_t)100 << 20) / page_bytes);
    size_t seam = ((size_t)32 << 20) / page_bytes;
    uint64_t random = seed;
    mal_written_ask_huge(region.memory + ((size_t)40 << 20), (size_t)8 << 20);
    memset(region.memory + ((size_t)40 << 20), 1, (size_t)8 << 20);
    watch(&region);
    for (unsigned epoch = 0; epoch < 3; epoch++) {
        for (size_t page = seam; page < region.pages; page += seam) {
            write_somewhere(&region, &random);
            region.memory[page * page_bytes] = 1;
            region.memory[page * page_bytes - 1] = 1;
            note(&region, page * page_bytes - 1, 2);
        }
        region.memory[((size_t)41 << 20) + epoch] = 2;
        note(&region, ((size_t)41 << 20) + epoch, 1);
        look(&region);
        clear(&region);
    }
    look(&region);
    region_free(&region);
    dirty->close();
}

struct ends {
    uintptr_t low, high;
};

static void widen(uintptr_t low, uintptr_t high, void *context) {
    struct ends *ends = context;
    ends->low = low < ends->low ? low : ends->low;
    ends->high = high > ends->high ? high : ends->high;
}

/* Ranges that begin and end within pages: nothing outside is reported, nothing inside is missed. */
static void ranges_need_not_be_whole_pages(void **state) {
    (void)state;
    need_uffd();
    struct region region = region_new(8);
    watch(&region);
    uintptr_t low = low_of(&region) + page_bytes + 24;
    uintptr_t high = low_of(&region) + 3 * page_bytes + 8;
    struct ends reported = {UINTPTR_MAX, 0};
    memset(region.memory, 1, 8 * page_bytes);
    assert_int_equal(dirty->look(low, high, widen, &reported), 0);
    assert_int_equal(reported.low, low);
    assert_int_equal(reported.high, high);
    region_free(&region);
    dirty->close();
}

struct writer {
    struct region *region;
    const int *stop;
    uint64_t random;
    pthread_t thread;
};

static void *write_until_stopped(void *argument) {
    struct writer *writer = argument;
    while (!__atomic_load_n(writer->stop, __ATOMIC_ACQUIRE)) {
        size_t page = next_random(&writer->random) % writer->region->pages;
        uint64_t *word = (void *)(writer->region->memory + page * page_bytes);
        __atomic_fetch_add(word, 1, __ATOMIC_RELAXED);
    }
    return NULL;
}

/* The collector's own use: clear, then read; what is written after its page was read must be
 * reported later. At the end everything read last must be what is there. */
static void clear_before_scan_loses_nothing(void **state) {
    (void)state;
    need_uffd();
    enum { WRITERS = 3 };
    struct region region = region_new(512);
    uint64_t *copy = calloc(region.pages, sizeof *copy);
    int stop = 0;
    struct writer writers[WRITERS];
    watch(&region);
    for (unsigned i = 0; i < WRITERS; i++) {
        writers[i] = (struct writer){&region, &stop, seed + i + 1, 0};
        assert_int_equal(pthread_create(&writers[i].thread, NULL, write_until_stopped, &writers[i]),
                         0);
    }
    for (unsigned round = 0; round < 300; round++) {
        if (round == 299) {
            __atomic_store_n(&stop, 1, __ATOMIC_RELEASE);
            for (unsigned i = 0; i < WRITERS; i++)
                pthread_join(writers[i].thread, NULL);
        }
        memset(region.seen, 0, region.pages);
        assert_int_equal(dirty->clear(low_of(&region), high_of(&region), see, &region), 0);
        for (size_t page = 0; page < region.pages; page++) {
            if (region.seen[page])
                copy[page] = __atomic_load_n(
                    (uint64_t *)(void *)(region.memory + page * page_bytes), __ATOMIC_RELAXED);
        }
    }
    for (size_t page = 0; page < region.pages; page++)
        assert_int_equal(copy[page], *(uint64_t *)(void *)(region.memory + page * page_bytes));
    free(copy);
    region_free(&region);
    dirty->close();
}

static void *die_in_watched_stack(void *argument) {
    struct region *stack = argument;
    volatile char bytes[64];
    memset((void *)bytes, 7, sizeof bytes);
    note(stack, (uintptr_t)bytes - low_of(stack), sizeof bytes);
    return NULL;
}

static char in_data[65536] = {1};
static char in_bss[65536];

/* .data, .bss and a thread's stack. */
static void every_kind_of_memory_is_watched(void **state) {
    (void)state;
    need_uffd();
    char *const segments[] = {in_data, in_bss};
    for (size_t i = 0; i < MAL_COUNT_OF(segments); i++) {
        uintptr_t at = ((uintptr_t)segments[i] + page_bytes - 1) & ~(page_bytes - 1);
        struct region region = {(void *)at, 8, calloc(1, 8), calloc(1, 8), 0};
        watch(&region);
        region.memory[3 * page_bytes] = 9;
        note(&region, 3 * page_bytes, 1);
        clear(&region);
        look(&region);
        dirty->release(low_of(&region), high_of(&region));
        free(region.written);
        free(region.seen);
    }
    struct region stack = region_new(64);
    pthread_attr_t attributes;
    pthread_t thread;
    watch(&stack);
    pthread_attr_init(&attributes);
    assert_int_equal(pthread_attr_setstack(&attributes, stack.memory, 64 * page_bytes), 0);
    assert_int_equal(pthread_create(&thread, &attributes, die_in_watched_stack, &stack), 0);
    pthread_join(thread, NULL);
    pthread_attr_destroy(&attributes);
    assert_int_equal(dirty->look(low_of(&stack), high_of(&stack), see, &stack), 0);
    judge(&stack, 0);
    region_free(&stack);
    dirty->close();
}

static void holes_are_passed_over(void **state) {
    (void)state;
    need_uffd();
    struct region region = region_new(64);
    watch(&region);
    mal_vm_unmap(region.memory + 16 * page_bytes, 16 * page_bytes);
    region.memory[15 * page_bytes] = 1;
    region.memory[40 * page_bytes] = 1;
    note(&region, 15 * page_bytes, 1);
    note(&region, 40 * page_bytes, 1);
    look(&region);
    clear(&region);
    mal_vm_unmap(region.memory, 16 * page_bytes);
    mal_vm_unmap(region.memory + 32 * page_bytes, 32 * page_bytes);
    look(&region);
    clear(&region);
    dirty->release(low_of(&region), high_of(&region));
    free(region.written);
    free(region.seen);
    dirty->close();
}

/* Whatever is not watched (any more) makes the range count as written. */
static void errors_are_returned(void **state) {
    (void)state;
    need_uffd();
    struct region region = region_new(64);
    assert_int_equal(dirty->look(low_of(&region), high_of(&region), see, &region), -EPERM);
    watch(&region);
    look(&region);
    assert_ptr_equal(mmap(region.memory + 8 * page_bytes, page_bytes, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0),
                     region.memory + 8 * page_bytes);
    assert_int_equal(dirty->look(low_of(&region), high_of(&region), see, &region), -EPERM);
    assert_int_equal(dirty->clear(low_of(&region), high_of(&region), NULL, NULL), -EPERM);
    watch(&region);
    look(&region);
    dirty->release(low_of(&region), high_of(&region));
    assert_int_equal(dirty->look(low_of(&region), high_of(&region), see, &region), -EPERM);
    dirty->close();
    assert_int_equal(dirty->look(low_of(&region), high_of(&region), see, &region), -EBADF);
    assert_int_equal(dirty->add(low_of(&region), high_of(&region)), -EBADF);
    region_free(&region);
}

static void another_watcher_is_an_error(void **state) {
    (void)state;
    need_uffd();
    struct mal_written other;
    struct region region = region_new(8);
    assert_int_equal(mal_written_open(&other), 0);
    assert_int_equal(mal_written_watch(&other, low_of(&region), high_of(&region)), 0);
    assert_true(dirty->add(low_of(&region), high_of(&region)) < 0);
    mal_written_close(&other);
    watch(&region);
    look(&region);
    region_free(&region);
    dirty->close();
}

/* Runs a body in a child; its exit status is 0 where all held. */
static void in_child(int (*body)(void *), void *argument) {
    int status;
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        _exit(body(argument));
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static int child_starts_anew(void *argument) {
    struct region *region = argument;
    dirty->forget_in_child();
    if (dirty->look(low_of(region), high_of(region), see, region) != -EBADF)
        return 1;
    memset(region->memory, 3, region->pages * page_bytes);
    if (mal_gc_dirty_choose() != dirty)
        return 2;
    if (dirty->add(low_of(region), high_of(region)) ||
        dirty->clear(low_of(region), high_of(region), NULL, NULL))
        return 3;
    region->memory[2 * page_bytes] = 1;
    memset(region->seen, 0, region->pages);
    if (dirty->look(low_of(region), high_of(region), see, region))
        return 4;
    return region->seen[2] && !region->seen[3] ? 0 : 5;
}

static void fork_leaves_both_sides_right(void **state) {
    (void)state;
    need_uffd();
    struct region region = region_new(64);
    watch(&region);
    region.memory[7 * page_bytes] = 1;
    note(&region, 7 * page_bytes, 1);
    in_child(child_starts_anew, &region);
    region.memory[9 * page_bytes] = 1;
    note(&region, 9 * page_bytes, 1);
    look(&region);
    region_free(&region);
    dirty->close();
}

/* Refuses userfaultfd as container runtimes do. */
static int refuse_userfaultfd(void) {
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_userfaultfd, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {MAL_COUNT_OF(filter), filter};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        return -1;
    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

static int none_without_userfaultfd(void *argument) {
    (void)argument;
    if (refuse_userfaultfd())
        return 1;
    if (dirty->open() != -EPERM)
        return 2;
    if (mal_gc_dirty_choose() != &mal_gc_dirty_none)
        return 3;
    mal_gc_dirty_force("uffd");
    return mal_gc_dirty_choose() == &mal_gc_dirty_none ? 0 : 4;
}

static void without_the_system_call_there_is_none(void **state) {
    (void)state;
    if (is_emulated())
        skip();
    in_child(none_without_userfaultfd, NULL);
}

static int without_privileges(void *argument) {
    (void)argument;
    if (setresgid(65534, 65534, 65534) || setresuid(65534, 65534, 65534))
        return 0;
    prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
    return mal_gc_dirty_choose() == dirty ? 0 : 1;
}

static void privileges_are_not_needed(void **state) {
    (void)state;
    need_uffd();
    dirty->close();
    in_child(without_privileges, NULL);
}

static void force_is_obeyed(void **state) {
    (void)state;
    assert_false(mal_gc_dirty_force("soft"));
    assert_true(mal_gc_dirty_force("none"));
    assert_ptr_equal(mal_gc_dirty_choose(), &mal_gc_dirty_none);
    assert_true(mal_gc_dirty_force(NULL));
}

static void none_says_no(void **state) {
    (void)state;
    const struct mal_gc_dirty *none = &mal_gc_dirty_none;
    assert_int_equal(none->open(), 0);
    assert_true(none->add(4096, 8192) < 0);
    assert_true(none->clear(4096, 8192, see, NULL) < 0);
    assert_true(none->look(4096, 8192, see, NULL) < 0);
    none->release(4096, 8192);
    none->forget_in_child();
    none->close();
}

static int see_everything(uintptr_t low, uintptr_t high, mal_gc_dirty_visit *visit, void *context) {
    visit(low, high, context);
    return 0;
}

static int see_nothing(uintptr_t low, uintptr_t high, mal_gc_dirty_visit *visit, void *context) {
    (void)visit;
    return dirty->look(low, high, NULL, context);
}

static void bad_backends_fail_the_self_test(void **state) {
    (void)state;
    need_uffd();
    struct mal_gc_dirty bad = *dirty;
    bad.look = see_everything;
    assert_int_equal(mal_gc_dirty_self_test(&bad), -EILSEQ);
    bad.look = see_nothing;
    assert_int_equal(mal_gc_dirty_self_test(&bad), -EILSEQ);
    bad = *dirty;
    bad.clear = dirty->look;
    assert_int_equal(mal_gc_dirty_self_test(&bad), -EILSEQ);
    dirty->close();
    assert_int_equal(mal_gc_dirty_self_test(dirty), -EBADF);
    assert_true(mal_gc_dirty_self_test(&mal_gc_dirty_none) < 0);
}

struct private_run {
    struct region region;
    int ready, closed, result;
};

static void wait_for(const int *flag) {
    while (!__atomic_load_n(flag, __ATOMIC_ACQUIRE))
        sched_yield();
}

static void *collect_with_private_table(void *argument) {
    struct private_run *run = argument;
    run->result = mal_fds_become_private(2) || dirty->open();
    if (run->result == 0)
        watch(&run->region);
    __atomic_store_n(&run->ready, 1, __ATOMIC_RELEASE);
    wait_for(&run->closed);
    if (run->result == 0) {
        look(&run->region);
        run->result = fcntl(2, F_GETFD) < 0;
        dirty->close();
    }
    return NULL;
}

/* In a child, for it closes all descriptors: as daemons do. */
static int close_all_around_a_private_table(void *argument) {
    struct private_run run = {.region = region_new(64)};
    pthread_t thread;
    (void)argument;
    if (pthread_create(&thread, NULL, collect_with_private_table, &run))
        return 1;
    wait_for(&run.ready);
    char path[64];
    for (int fd = 3; fd < 64; fd++) {
        ssize_t length = 0;
        char name[64];
        snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
        length = readlink(name, path, sizeof path - 1);
        if (length > 0 && (path[length] = 0, strstr(path, "userfaultfd")))
            return 2;
        close(fd);
    }
    run.region.memory[11 * page_bytes] = 1;
    note(&run.region, 11 * page_bytes, 1);
    __atomic_store_n(&run.closed, 1, __ATOMIC_RELEASE);
    pthread_join(thread, NULL);
    return run.result ? 3 : 0;
}

static void closefrom_does_not_disturb(void **state) {
    (void)state;
    need_uffd();
    dirty->close();
    in_child(close_all_around_a_private_table, NULL);
}

static void *warn_without_descriptors(void *argument) {
    int *result = argument;
    *result = mal_fds_become_private(-1);
    mal_warn("from a private table");
    return NULL;
}

static int warn_in_thread(void *argument) {
    const int *pipe_fds = argument;
    char text[64] = "";
    pthread_t thread;
    int result = 1;
    dup2(pipe_fds[1], STDERR_FILENO);
    pthread_create(&thread, NULL, warn_without_descriptors, &result);
    pthread_join(thread, NULL);
    fcntl(pipe_fds[0], F_SETFL, O_NONBLOCK);
    return result != 0 || read(pipe_fds[0], text, sizeof text - 1) <= 0 ||
           strcmp(text, "mallard: from a private table\n") != 0;
}

static void a_private_table_does_not_swallow_sentences(void **state) {
    (void)state;
    int pipe_fds[2];
    assert_int_equal(pipe(pipe_fds), 0);
    in_child(warn_in_thread, pipe_fds);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
}

/* Figures for the essay; nothing is asserted about time. */
static void costs(void **state) {
    (void)state;
    need_uffd();
    size_t pages = 16384;
    struct region region = region_new(pages);
    memset(region.memory, 1, pages * page_bytes);
    uint64_t t0 = mal_clock_mono_ns();
    dirty->add(low_of(&region), high_of(&region));
    uint64_t t1 = mal_clock_mono_ns();
    dirty->clear(low_of(&region), high_of(&region), NULL, NULL);
    uint64_t t2 = mal_clock_mono_ns();
    dirty->clear(low_of(&region), high_of(&region), NULL, NULL);
    uint64_t t3 = mal_clock_mono_ns();
    for (size_t page = 0; page < pages; page++)
        region.memory[page * page_bytes]++;
    uint64_t t4 = mal_clock_mono_ns();
    dirty->look(low_of(&region), high_of(&region), see, &region);
    uint64_t t5 = mal_clock_mono_ns();
    print_message("add %lu us; per page: clear written %.1f ns, clear clean %.1f ns, first write "
                  "%.0f ns, look at written %.1f ns\n",
                  (t1 - t0) / 1000, (double)(t2 - t1) / (double)pages,
                  (double)(t3 - t2) / (double)pages, (double)(t4 - t3) / (double)pages,
                  (double)(t5 - t4) / (double)pages);
    region_free(&region);
    dirty->close();
}

int main(void) {
    const char *given = getenv("MAL_SEED");
    seed = given ? strtoull(given, NULL, 0) : mal_clock_mono_ns() | 1;
    page_bytes = mal_vm_page_bytes();
    print_message("seed %lu\n", seed);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_self_test_passes_and_is_quick),
        cmocka_unit_test(random_writes_are_seen),
        cmocka_unit_test(a_private_table_does_not_swallow_sentences),
        cmocka_unit_test(a_second_add_forgets_nothing),
        cmocka_unit_test(large_ranges_have_no_seams),
        cmocka_unit_test(ranges_need_not_be_whole_pages),
        cmocka_unit_test(clear_before_scan_loses_nothing),
        cmocka_unit_test(every_kind_of_memory_is_watched),
        cmocka_unit_test(holes_are_passed_over),
        cmocka_unit_test(errors_are_returned),
        cmocka_unit_test(another_watcher_is_an_error),
        cmocka_unit_test(fork_leaves_both_sides_right),
        cmocka_unit_test(without_the_system_call_there_is_none),
        cmocka_unit_test(privileges_are_not_needed),
        cmocka_unit_test(force_is_obeyed),
        cmocka_unit_test(none_says_no),
        cmocka_unit_test(bad_backends_fail_the_self_test),
        cmocka_unit_test(closefrom_does_not_disturb),
        cmocka_unit_test(costs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
