/* SPDX-License-Identifier: Apache-2.0
 *
 * The control group's memory limit, in trees of files made for it: both hierarchies, nested groups,
 * paths that a container cannot see, and files that say nothing.
 */
#include "os/cgroup.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define NONE MAL_CGROUP_NO_LIMIT

static char tree[] = "/tmp/cgroup-test.XXXXXX";

static const char *in_tree(const char *path) {
    static char full[8192];
    snprintf(full, sizeof full, "%s/%s", tree, path);
    return full;
}

static void put(const char *path, const char *text) {
    char folder[8192];
    snprintf(folder, sizeof folder, "%s", in_tree(path));
    for (char *slash = folder + strlen(tree) + 1; (slash = strchr(slash, '/')); slash++) {
        *slash = '\0';
        assert_true(mkdir(folder, 0700) == 0 || errno == EEXIST);
        *slash = '/';
    }
    FILE *file = fopen(folder, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static uint64_t limit_where(const char *membership) {
    put("self", membership);
    char file[8192];
    snprintf(file, sizeof file, "%s", in_tree("self"));
    return mal_cgroup_memory_limit_bytes(file, in_tree("sys"));
}

static void build(void) {
    put("sys/memory.max", "max\n");
    put("sys/slice/memory.max", "3000000000\n");
    put("sys/slice/unit/memory.max", "max\n");
    put("sys/slice/unit/inner/memory.max", "4000000000\n");
    put("sys/slice/small/memory.max", "1000\n");
    put("sys/slice/small/wide/memory.max", "500000\n");
    put("sys/slice/bad/memory.max", "nonsense\n");
    put("sys/slice/empty/memory.max", "");
    put("sys/memory/memory.limit_in_bytes", "9223372036854771712\n");
    put("sys/memory/old/memory.limit_in_bytes", "2000000000\n");
    put("sys/memory/old/deep/memory.limit_in_bytes", "9223372036854771712\n");
}

struct case_of {
    const char *membership;
    uint64_t wanted;
};

static void the_smallest_of_all_above_counts(void **state) {
    (void)state;
    static const struct case_of cases[] = {
        {"0::/\n", NONE},
        {"0::/slice\n", 3000000000},
        {"0::/slice/unit\n", 3000000000},
        {"0::/slice/unit/inner\n", 3000000000},
        {"0::/slice/small\n", 1000},
        {"0::/slice/small/wide\n", 1000},
        {"0::/slice/bad\n", 3000000000},
        {"0::/slice/empty\n", 3000000000},
        {"0::/slice/gone/further\n", 3000000000},
        {"0::/slice/unit", 3000000000}, /* no newline */
        {"12:cpu,memory:/old/deep\n0::/slice/small\n", 1000},
        {"12:cpu,memory:/old/deep\n0::/\n", 2000000000},
        {"12:memory:/old\n", 2000000000},
        {"12:memory:/\n", NONE},
        {"12:mymemory,memoryless:/old\n", NONE},
        {"3:cpu:/old\n", NONE},
        {"0:cpu:/slice\n", NONE},
        {"0::/../../slice\n", NONE},
        {"nonsense\n0:\n::\n\n", NONE},
        {"", NONE},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint64_t got = limit_where(cases[i].membership);
        if (got != cases[i].wanted)
            fail_msg("%s: %llu", cases[i].membership, (unsigned long long)got);
    }
}

/* In a container without a name space of its own the path is the host's, the mount its own group.
 */
static void a_path_out_of_sight_ends_at_the_root(void **state) {
    (void)state;
    put("sys/memory.max", "77777\n");
    assert_int_equal(limit_where("0::/docker/0123456789abcdef\n"), 77777);
    assert_int_equal(limit_where("0::/../outside\n"), 77777);
    put("sys/memory.max", "max\n");
}

/* 8191 bytes are read; the last line is cut to the name of a group that is not meant. */
static void a_line_cut_off_is_no_other_group(void **state) {
    (void)state;
    static char text[9000];
    static const char last[] = "0::/slice/smaller/and/more\n";
    size_t at = 8191 - strlen("0::/slice/small");
    memset(text, 'x', at - 1);
    memcpy(text + 4000, "\n", 1);
    text[at - 1] = '\n';
    memcpy(text + at, last, sizeof last);
    assert_true(limit_where(text) == NONE);
}

static void long_and_missing_files_are_no_limit(void **state) {
    (void)state;
    char line[7000];
    memset(line, 'x', sizeof line - 1);
    memcpy(line, "0::/", 4);
    line[sizeof line - 1] = '\0';
    assert_true(limit_where(line) == NONE);
    errno = 77;
    assert_true(mal_cgroup_memory_limit_bytes("/nonexistent", "/nonexistent") == NONE);
    assert_int_equal(errno, 77);
    /* The real one: whatever it says, it says it without harm. */
    mal_cgroup_memory_limit_bytes(MAL_CGROUP_MEMBERSHIP, MAL_CGROUP_ROOT);
}

static int set_up(void **state) {
    (void)state;
    if (!mkdtemp(tree))
        return -1;
    build();
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    char command[64];
    snprintf(command, sizeof command, "rm -r %s", tree);
    return system(command);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_smallest_of_all_above_counts),
        cmocka_unit_test(a_path_out_of_sight_ends_at_the_root),
        cmocka_unit_test(a_line_cut_off_is_no_other_group),
        cmocka_unit_test(long_and_missing_files_are_no_limit),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
