/* SPDX-License-Identifier: Apache-2.0
 *
 * What the process finds out about itself, compared with what it can know otherwise.
 */
#include "os/env.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "support/emulated.h"

/* Field 22 of /proc/self/stat, counted from behind the name that the process has now. */
static uint64_t start_ticks(const char *name) {
    char text[1024] = "";
    unsigned long long ticks = 0;
    FILE *file = fopen("/proc/self/stat", "r");
    assert_non_null(file);
    assert_non_null(fgets(text, sizeof text, file));
    fclose(file);
    const char *at = strstr(text, name);
    assert_non_null(at);
    sscanf(at + strlen(name),
           ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu",
           &ticks);
    return ticks;
}

static void a_name_may_hold_anything(void **state) {
    (void)state;
    if (is_emulated()) /* the emulator makes up what is read there */
        skip();
    static const char *const names[] = {"plain", "a b c", "a) R 1 (b", ") Z 1 1 1"};
    char before[16];
    prctl(PR_GET_NAME, before);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        prctl(PR_SET_NAME, names[i]);
        uint64_t ticks = mal_process_start_ticks();
        assert_true(ticks > 0);
        assert_int_equal(ticks, start_ticks(names[i]));
        assert_false(mal_process_is_deserted(100));
    }
    prctl(PR_SET_NAME, before);
}

static unsigned open_descriptors(void) {
    unsigned count = 0;
    DIR *folder = opendir("/proc/self/fd");
    assert_non_null(folder);
    while (readdir(folder))
        count++;
    closedir(folder);
    return count;
}

static void a_file_is_read_and_closed(void **state) {
    (void)state;
    char text[64] = "";
    unsigned before = open_descriptors();
    errno = 4711;
    assert_true(mal_read_file("/proc/self/comm", text, sizeof text) > 0);
    assert_int_equal(mal_read_file("/nowhere/at/all", text, sizeof text), -ENOENT);
    assert_int_equal(mal_read_file("/", text, sizeof text), -EISDIR);
    assert_int_equal(errno, 4711);
    assert_int_equal(open_descriptors(), before);
}

/* More than pages of other kinds make up. The kernel touches them: sanitizers keep books, as large
 * as that and more, of what a program does. */
#define TOUCHED_BYTES ((size_t)64 << 20)

static void what_is_touched_is_resident(void **state) {
    (void)state;
    if (is_emulated()) /* nor does the emulator pass on that they are to be touched */
        skip();
    uint64_t before = mal_process_resident_bytes();
    char *pages = mmap(NULL, TOUCHED_BYTES, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    assert_ptr_not_equal(pages, MAP_FAILED);
    uint64_t during = mal_process_resident_bytes();
    munmap(pages, TOUCHED_BYTES);
    assert_true(during >= before + TOUCHED_BYTES * 9 / 10);
    assert_true(during <= before + TOUCHED_BYTES * 11 / 10);
    assert_true(mal_process_resident_bytes() < during - TOUCHED_BYTES / 2);
    /* The kernel counts in batches. */
    assert_true(mal_process_max_resident_bytes() >= during * 9 / 10);
    assert_true(mal_process_max_resident_bytes() <= 4 * during);
}

static int filters_with_one_more(void) {
    struct sock_filter allow = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    struct sock_fprog program = {1, &allow};
    unsigned before = mal_process_filters("self");
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
        return 77;
    return mal_process_filters("self") == before + 1 &&
                   mal_process_filters("thread-self") == before + 1
               ? 0
               : 1;
}

static int in_a_child(int (*run)(void)) {
    int status = -1;
    pid_t child = fork();
    if (child == 0)
        _exit(run());
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void filters_are_counted(void **state) {
    (void)state;
    int status = in_a_child(filters_with_one_more);
    if (status == 77)
        skip();
    assert_int_equal(status, 0);
}

/* ---- the parent's environment ---- */

/* In a child whose parent was started with MAL_PLACE=here, MAL_PLACE_TOO=there. */
static int look_at_parent(void) {
    if (!mal_env_parent_has("MAL_PLACE", "here") || !mal_env_parent_has("MAL_PLACE_TOO", "there"))
        return 1;
    if (mal_env_parent_has("MAL_PLACE", "there") || mal_env_parent_has("MAL_PLACE", "her") ||
        mal_env_parent_has("MAL_PLACE", "here "))
        return 2;
    return mal_env_parent_has("MAL_PLAC", "E=here") || mal_env_parent_has("AL_PLACE", "here") ? 3
                                                                                              : 0;
}

static int become_parent(void) {
    clearenv();
    setenv("MAL_PLACE_TOO", "there", 1);
    setenv("MAL_PLACE", "here", 1);
    execl("/proc/self/exe", "test_os_env", "parent", (char *)NULL);
    return 127;
}

static void the_parents_environment_is_known(void **state) {
    (void)state;
    if (is_emulated()) /* what it would start is the emulator, without a program */
        skip();
    assert_int_equal(in_a_child(become_parent), 0);
}

static void no_environment_is_an_empty_one(void **state) {
    (void)state;
    char **all = environ;
    assert_true(mal_env_ready());
    environ = NULL;
    const char *path = mal_env("PATH");
    bool ready = mal_env_ready();
    environ = all;
    assert_null(path);
    assert_false(ready);
}

/* What the kernel gave the process for a start is the same in a child, and must not be all. */
static int seed_differs(void) {
    static uint64_t parents;
    if (parents == 0)
        parents = mal_random_seed();
    return mal_random_seed() == parents;
}

static void seeds_differ(void **state) {
    (void)state;
    assert_int_equal(seed_differs(), 0);
    assert_int_equal(in_a_child(seed_differs), 0);
}

int main(int count, char **arguments) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_name_may_hold_anything),
        cmocka_unit_test(a_file_is_read_and_closed),
        cmocka_unit_test(what_is_touched_is_resident),
        cmocka_unit_test(filters_are_counted),
        cmocka_unit_test(the_parents_environment_is_known),
        cmocka_unit_test(no_environment_is_an_empty_one),
        cmocka_unit_test(seeds_differ),
    };
    if (count > 1 && strcmp(arguments[1], "parent") == 0)
        return in_a_child(look_at_parent);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
