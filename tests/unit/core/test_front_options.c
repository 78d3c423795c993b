/* SPDX-License-Identifier: Apache-2.0
 *
 * Knobs: what is understood, what is said about the rest, and which name wins.
 */
#include "front/options.h"

#include "cache/percpu_cache.h"
#include "front/thread.h"
#include "gc/cycle.h"
#include "mallard/mallard.h"
#include "pageheap/limit.h"
#include "sample/profile.h"
#include "sample/sampler.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

#include <cmocka.h>

#include "support/emulated.h"

#define KIB ((uint64_t)1 << 10)
#define OFF MAL_LIMIT_OFF

static struct mal_options defaults;
static char said[4096]; /* on standard error, by the last read_knobs */

/* Reads the environment with standard error going into a file. */
static void read_knobs(void) {
    FILE *file = tmpfile();
    int saved = dup(2);
    assert_non_null(file);
    dup2(fileno(file), 2);
    mal_options = defaults;
    mal_options_read();
    dup2(saved, 2);
    close(saved);
    rewind(file);
    said[fread(said, 1, sizeof said - 1, file)] = '\0';
    fclose(file);
}

static void with(const char *name, const char *value) {
    setenv(name, value, 1);
    read_knobs();
    unsetenv(name);
}

static unsigned lines_said(void) {
    unsigned lines = 0;
    for (const char *at = said; (at = strchr(at, '\n')); at++)
        lines++;
    return lines;
}

struct number {
    const char *text;
    uint64_t wanted;
};

static void check_good(const char *name, const struct number *numbers, size_t count,
                       const uint64_t *field) {
    for (size_t i = 0; i < count; i++) {
        with(name, numbers[i].text);
        if (*field != numbers[i].wanted || said[0])
            fail_msg("%s=%s: %llu, said: %s", name, numbers[i].text, (unsigned long long)*field,
                     said);
    }
}

static void check_bad(const char *name, const char *const *values, size_t count,
                      const uint64_t *field, uint64_t fallback) {
    char expected[128];
    for (size_t i = 0; i < count; i++) {
        with(name, values[i]);
        snprintf(expected, sizeof expected, "mallard: %s=%s is not ", name, values[i]);
        if (*field != fallback || lines_said() != 1 || strncmp(said, expected, strlen(expected)))
            fail_msg("%s=%s: %llu, said: %s", name, values[i], (unsigned long long)*field, said);
    }
}

static const struct number limits[] = {
    {"", OFF},
    {"off", OFF},
    {"0", 0},
    {"1", 1},
    {"123B", 123},
    {"7KiB", 7 * KIB},
    {"512MiB", 512 * KIB *KIB},
    {"3GiB", 3 * KIB *KIB *KIB},
    {"2TiB", 2 * KIB *KIB *KIB *KIB},
    {"+5MiB", 5 * KIB *KIB},
    {"007", 7},
    {"8388607TiB", 8388607 * KIB *KIB *KIB *KIB},
    {"9223372036854775807", OFF},
    {"9223372036854775806", OFF - 1},
};

static const char *const bad_limits[] = {
    "OFF",
    "Auto",
    "512MB",
    "512mib",
    "512 MiB",
    " 512MiB",
    "1.5GiB",
    "-1",
    "512MiBx",
    "MiB",
    "1PiB",
    "0x10",
    "+",
    "++1",
    "8388608TiB",
    "9223372036854775808",
    "99999999999999999999999",
};

static void memory_limits_are_gos(void **state) {
    (void)state;
    const uint64_t *field = &mal_options.memory_limit_bytes;
    check_good("MALLARD_GOMEMLIMIT", limits, MAL_COUNT_OF(limits), field);
    check_good("GOMEMLIMIT", limits, MAL_COUNT_OF(limits), field);
    check_bad("MALLARD_GOMEMLIMIT", bad_limits, MAL_COUNT_OF(bad_limits), field, OFF);
    check_bad("GOMEMLIMIT", bad_limits, MAL_COUNT_OF(bad_limits), field, OFF);
}

/* What it is depends on where this runs; that it is understood does not. */
static void auto_is_understood(void **state) {
    (void)state;
    with("MALLARD_GOMEMLIMIT", "auto");
    assert_string_equal(said, "");
    assert_true(mal_options.memory_limit_bytes <= OFF);
}

static void percentages_are_gos(void **state) {
    (void)state;
    static const struct number good[] = {{"", 100},
                                         {"off", MAL_GOGC_OFF},
                                         {"0", 0},
                                         {"50", 50},
                                         {"+50", 50},
                                         {"2147483647", INT32_MAX},
                                         {"-1", MAL_GOGC_OFF},
                                         {"-5", MAL_GOGC_OFF}};
    static const char *const bad[] = {"OFF", "abc", "1e3", " 100", "50%", "2147483648", "-", "-+5"};
    check_good("MALLARD_GOGC", good, MAL_COUNT_OF(good), &mal_options.gogc_percent);
    check_good("GOGC", good, MAL_COUNT_OF(good), &mal_options.gogc_percent);
    check_bad("GOGC", bad, MAL_COUNT_OF(bad), &mal_options.gogc_percent, 100);
}

static void sampling_rates_are_numbers(void **state) {
    (void)state;
    static const struct number good[] = {
        {"0", 0},
        {"1", 1},
        {"4096", 4096},
        {"007", 7},
        {"99999999999", MAL_RATE_MAX_BYTES},
        {"18446744073709551", MAL_RATE_MAX_BYTES},
    };
    static const char *const bad[] = {
        "-1", "+1", " 1", "1 ", "1KiB", "off", "0x10", "1.5", "18446744073709551617"};
    const char *name = "MALLARD_MEMPROFILERATE";
    check_good(name, good, MAL_COUNT_OF(good), &mal_options.mem_profile_rate);
    check_bad(name, bad, MAL_COUNT_OF(bad), &mal_options.mem_profile_rate, MAL_RATE_DEFAULT_BYTES);
}

static void the_cache_is_one_of_two(void **state) {
    (void)state;
    with("MALLARD_CPU_CACHE", "lock");
    assert_int_equal(mal_options.cpu_cache, MAL_PERCPU_LOCK);
    assert_string_equal(said, "");
    assert_non_null(strstr(mal_options_text(), "\nMALLARD_CPU_CACHE=lock\n"));
    mal_options.cpu_cache = MAL_PERCPU_LOCK;
    with("MALLARD_CPU_CACHE", "rseq");
    assert_int_equal(mal_options.cpu_cache, MAL_PERCPU_RSEQ);
    assert_string_equal(said, "");
    with("MALLARD_CPU_CACHE", "Lock");
    assert_int_equal(mal_options.cpu_cache, MAL_PERCPU_RSEQ);
    assert_string_equal(said, "mallard: MALLARD_CPU_CACHE=Lock is not rseq or lock: using rseq\n");
}

static void flags_are_0_or_1(void **state) {
    (void)state;
    static const struct {
        const char *name;
        uint32_t flag;
    } knobs[] = {{"MALLARD_EAGER", MAL_OPTION_EAGER}, {"MALLARD_KEEP", MAL_OPTION_KEEP}};
    static const char *const bad[] = {"2", "01", "yes", "-1"};
    for (size_t i = 0; i < MAL_COUNT_OF(knobs); i++) {
        with(knobs[i].name, "1");
        assert_int_equal(mal_options.flags, knobs[i].flag);
        assert_string_equal(said, "");
        with(knobs[i].name, "0");
        assert_int_equal(mal_options.flags, 0);
        assert_string_equal(said, "");
        for (size_t k = 0; k < MAL_COUNT_OF(bad); k++) {
            with(knobs[i].name, bad[k]);
            assert_int_equal(mal_options.flags, 0);
            assert_int_equal(lines_said(), 1);
        }
    }
}

/* Flags of one knob outlive the reading of another. */
static void flags_add_up(void **state) {
    (void)state;
    setenv("MALLARD_KEEP", "1", 1);
    with("MALLARD_DEBUG", "scavtrace=1");
    assert_int_equal(mal_options.flags, MAL_OPTION_KEEP | MAL_OPTION_SCAVTRACE);
    unsetenv("MALLARD_KEEP");
}

/* As with(), but the program then overwrites its environment, as servers do that set a title. */
static void with_and_lose(const char *name, const char *value) {
    static char variable[700];
    snprintf(variable, sizeof variable, "%s=%s", name, value);
    putenv(variable);
    read_knobs();
    unsetenv(name);
    memset(variable, 'z', sizeof variable - 1);
}

static void texts_are_copied(void **state) {
    (void)state;
    static const char *const names[] = {"MALLARD_HTTP", "MALLARD_HTTP_TOKEN"};
    static const char *const *const texts[] = {&mal_options.http, &mal_options.http_token};
    static const size_t most[] = {255, 511};
    for (size_t i = 0; i < MAL_COUNT_OF(names); i++) {
        char value[600];
        memset(value, 'x', sizeof value);
        value[most[i]] = '\0';
        with_and_lose(names[i], value);
        assert_string_equal(*texts[i], value);
        assert_string_equal(said, "");
        value[most[i]] = 'x';
        value[most[i] + 1] = '\0';
        with(names[i], value);
        assert_null(*texts[i]);
        assert_int_equal(lines_said(), 1);
    }
    with("MALLARD_HTTP", "off");
    assert_null(mal_options.http);
    assert_string_equal(said, "");
}

/* A token is as good as a password. */
static void a_token_is_never_shown(void **state) {
    (void)state;
    char value[600];
    memset(value, 's', sizeof value - 1);
    value[sizeof value - 1] = '\0';
    with("MALLARD_HTTP_TOKEN", value);
    assert_string_equal(
        said, "mallard: MALLARD_HTTP_TOKEN=... is not a token of at most 511 bytes: using none\n");
    with("MALLARD_HTTP_TOKEN", "secret");
    assert_null(strstr(mal_options_text(), "secret"));
}

/* Instead of libc's, for the core as well. A sanitizer asks before anything can be looked up. */
#ifndef MAL_SANITIZED
static bool has_more_rights;

unsigned long getauxval(unsigned long type) {
    unsigned long (*libcs)(unsigned long type);
    *(void **)&libcs = dlsym(RTLD_NEXT, "getauxval");
    return type == AT_SECURE ? has_more_rights : libcs(type);
}

/* Whoever calls a program that has more rights than he must not steer it. */
static void a_program_with_more_rights_has_no_knobs(void **state) {
    (void)state;
    has_more_rights = true;
    with("MALLARD_HTTP", "127.0.0.1:6060");
    has_more_rights = false;
    assert_null(mal_options.http);
    assert_string_equal(said, "");
}
#else
static void a_program_with_more_rights_has_no_knobs(void **state) {
    (void)state;
    skip();
}
#endif

/* A bad value of ours is not made good by Go's. */
static void our_name_comes_first(void **state) {
    (void)state;
    setenv("GOMEMLIMIT", "5MiB", 1);
    with("MALLARD_GOMEMLIMIT", "7MiB");
    assert_int_equal(mal_options.memory_limit_bytes, 7 * KIB * KIB);
    with("MALLARD_GOMEMLIMIT", "x");
    assert_true(mal_options.memory_limit_bytes == OFF);
    read_knobs();
    assert_int_equal(mal_options.memory_limit_bytes, 5 * KIB * KIB);
    unsetenv("GOMEMLIMIT");
    setenv("GODEBUG", "scavtrace=1,gctrace=2", 1);
    with("MALLARD_DEBUG", "gctrace=1");
    assert_int_equal(mal_options.flags, 0);
    assert_int_equal(mal_options.debug.gc_trace, 1);
    unsetenv("GODEBUG");
    /* Only names that are Go's are read without our prefix. */
    with("KEEP", "1");
    assert_int_equal(mal_options.flags, 0);
}

static void debug_entries_set_and_clear(void **state) {
    (void)state;
    static const struct number good[] = {
        {"madvdontneed=0", MAL_OPTION_MADVFREE},
        {"madvdontneed=1", 0},
        {"madvdontneed=0,madvdontneed=1", 0},
        {"scavtrace=1,madvdontneed=0", MAL_OPTION_SCAVTRACE | MAL_OPTION_MADVFREE},
        {"scavtrace=1,scavtrace=0", 0},
    };
    for (size_t i = 0; i < MAL_COUNT_OF(good); i++) {
        with("MALLARD_DEBUG", good[i].text);
        assert_int_equal(mal_options.flags, good[i].wanted);
        assert_string_equal(said, "");
        with("GODEBUG", good[i].text);
        assert_int_equal(mal_options.flags, good[i].wanted);
    }
    with("GODEBUG", "madvdontneed=2,gctrace=1,madvdontneed=0");
    assert_int_equal(mal_options.flags, MAL_OPTION_MADVFREE);
    assert_string_equal(said, "");
}

static void the_collector_is_told(void **state) {
    (void)state;
    with("MALLARD_DEBUG",
         "gctrace=2,gccheckmark=1,gcdirty=none,gcstress=100,gcpacertrace=1,gcsignal=50");
    assert_int_equal(mal_options.debug.gc_signal, 50);
    assert_int_equal(mal_options.debug.gc_trace, 2);
    assert_int_equal(mal_options.debug.gc_stress, 100);
    assert_int_equal(mal_options.debug.gc,
                     MAL_GC_DEBUG_CHECKMARK | MAL_GC_DEBUG_NO_DIRTY | MAL_GC_DEBUG_PACER_TRACE);
    with("GODEBUG", "gctrace=1,inittrace=1");
    assert_int_equal(mal_options.debug.gc_trace, 1);
    assert_string_equal(said, "");
}

/* Each switch sets a bit of its own, and takes it back. */
static void each_switch_is_itself(void **state) {
    (void)state;
    static const struct {
        const char *name;
        uint32_t *field, bit;
    } switches[] = {
        {"scavtrace", &mal_options.flags, MAL_OPTION_SCAVTRACE},
        {"allocfreetrace", &mal_options.flags, MAL_OPTION_ALLOCFREETRACE},
        {"gccheckmark", &mal_options.debug.gc, MAL_GC_DEBUG_CHECKMARK},
        {"gcpoison", &mal_options.debug.gc, MAL_GC_DEBUG_POISON},
        {"gcpacertrace", &mal_options.debug.gc, MAL_GC_DEBUG_PACER_TRACE},
        {"mallocroots", &mal_options.debug.gc, MAL_GC_DEBUG_MALLOC_ROOTS},
    };
    char list[80];
    for (size_t i = 0; i < MAL_COUNT_OF(switches); i++) {
        snprintf(list, sizeof list, "%s=1", switches[i].name);
        with("MALLARD_DEBUG", list);
        assert_int_equal(*switches[i].field, switches[i].bit);
        snprintf(list, sizeof list, "%s=1,%s=0", switches[i].name, switches[i].name);
        with("MALLARD_DEBUG", list);
        assert_int_equal(*switches[i].field, 0);
        assert_string_equal(said, "");
    }
    with("MALLARD_DEBUG", "gcdirty=uffd");
    assert_int_equal(mal_options.debug.gc, MAL_GC_DEBUG_BESIDE);
    with("MALLARD_DEBUG", "gcdirty=uffd,gcdirty=none");
    assert_int_equal(mal_options.debug.gc, MAL_GC_DEBUG_NO_DIRTY);
}

static const struct {
    const char *list, *said;
} bad_entries[] = {
    {"gctrace=3", "gctrace=3 is not a number from 0 to 2: using 0"},
    {"gctrace=2,gctrace=", "gctrace= is not a number from 0 to 2: using 2"},
    {"gcstress=1e3", "gcstress=1e3 is not a number from 0 to 1000000: using 0"},
    {"gcstress=1000001", "gcstress=1000001 is not a number from 0 to 1000000: using 0"},
    {"gcstress=4294967297", "gcstress=4294967297 is not a number from 0 to 1000000: using 0"},
    {"cpus=8193", "cpus=8193 is not a number from 0 to 8192: using 0"},
    {"gcsignal=33", "gcsignal=33 is not a number from 34 to 64: using its default"},
    {"gcsignal=65,gcsignal=50", "gcsignal=65 is not a number from 34 to 64: using 50"},
    {"gcdirty=some", "gcdirty=some is not none or uffd: using its default"},
    {"gcdirty=uffd,gcdirty=", "gcdirty= is not none or uffd: using uffd"},
    {"gcpoison=10", "gcpoison=10 is not 0 or 1: using 0"},
    {"madvdontneed=2", "madvdontneed=2 is not 0 or 1: using 1"},
    {"madvdontneed=0,madvdontneed=2", "madvdontneed=2 is not 0 or 1: using 0"},
    {"gctrace", "gctrace is not known: going on without"},
    {"gctraces=1", "gctraces=1 is not known: going on without"},
    {" gctrace=1", " gctrace=1 is not known: going on without"},
};

static void each_bad_entry_is_named(void **state) {
    (void)state;
    char expected[160];
    for (size_t i = 0; i < MAL_COUNT_OF(bad_entries); i++) {
        with("MALLARD_DEBUG", bad_entries[i].list);
        snprintf(expected, sizeof expected, "mallard: MALLARD_DEBUG=%s\n", bad_entries[i].said);
        assert_string_equal(said, expected);
    }
}

/* Those beside them hold, and nothing but a comma parts two. */
static void good_entries_hold_beside_bad_ones(void **state) {
    (void)state;
    with("MALLARD_DEBUG", "gctrace=2,nonsense=1,,gcdirty=none,gcstress=x,scavtrace=1,");
    assert_int_equal(mal_options.debug.gc_trace, 2);
    assert_int_equal(mal_options.debug.gc, MAL_GC_DEBUG_NO_DIRTY);
    assert_int_equal(mal_options.flags, MAL_OPTION_SCAVTRACE);
    assert_int_equal(lines_said(), 2);
    with("MALLARD_DEBUG", ",,");
    assert_string_equal(said, "");
    static char long_one[3000];
    memset(long_one, 'x', sizeof long_one - 1);
    memcpy(long_one, "gctrace=1,", 10);
    with("MALLARD_DEBUG", long_one);
    assert_int_equal(mal_options.debug.gc_trace, 1);
    assert_int_equal(lines_said(), 1);
}

/* As Go has it for its own; and Go's name is read where ours is empty. */
static void an_empty_knob_is_not_set(void **state) {
    (void)state;
    static const char *const names[] = {
        "MALLARD_MEMPROFILERATE", "MALLARD_GOMEMLIMIT", "GOGC",
        "MALLARD_CPU_CACHE",      "MALLARD_HTTP",       "MALLARD_HTTP_TOKEN",
        "MALLARD_EAGER",          "MALLARD_KEEP",       "MALLARD_DEBUG"};
    for (size_t i = 0; i < MAL_COUNT_OF(names); i++) {
        with(names[i], "");
        assert_string_equal(said, "");
        assert_memory_equal(&mal_options, &defaults, sizeof defaults);
    }
    setenv("GOGC", "50", 1);
    with("MALLARD_GOGC", "");
    assert_int_equal(mal_options.gogc_percent, 50);
    unsetenv("GOGC");
    setenv("GODEBUG", "gctrace=1", 1);
    with("MALLARD_DEBUG", "");
    assert_int_equal(mal_options.debug.gc_trace, 1);
    unsetenv("GODEBUG");
}

static void the_box_gets_what_is_in_force(void **state) {
    (void)state;
    with("GOMEMLIMIT", "1MiB");
    assert_non_null(strstr(mal_options_text(), "\nMALLARD_GOMEMLIMIT=1048576\nMALLARD_GOGC=100\n"));
    with("GOGC", "off");
    assert_non_null(strstr(mal_options_text(), "\nMALLARD_GOMEMLIMIT=off\nMALLARD_GOGC=off\n"));
    with("MALLARD_MEMPROFILERATE", "4711");
    assert_string_equal(mal_options_text(),
                        "MALLARD_MEMPROFILERATE=4711\nMALLARD_GOMEMLIMIT=off\nMALLARD_GOGC=100\n"
                        "MALLARD_CPU_CACHE=rseq\nMALLARD_HTTP=off\n");
    with("MALLARD_HTTP", "127.0.0.1:6060");
    assert_non_null(strstr(mal_options_text(), "\nMALLARD_HTTP=127.0.0.1:6060\n"));
}

/* ---- from the environment into force ---- */

/* Before anything of ours, and before there is an environment, as when the loader allocates. */
__attribute__((constructor(101))) static void allocate_early(int count, char **arguments) {
    char **all = environ;
    if (count < 2 || strcmp(arguments[1], "early") != 0)
        return;
    environ = NULL;
    mallard_free(mallard_malloc(100));
    environ = all;
}

/* What is in force in this process. */
static int say_what_is_in_force(void) {
    printf("rate %lu limit %lu gogc %d lock %d\n%s", (unsigned long)mal_thread_rate(),
           (unsigned long)mal_limit_bytes(), mal_gc_percent(), mal_cache_mode() == MAL_PERCPU_LOCK,
           mal_profile_ensure_box() ? mal_options_text() : "");
    return 0;
}

/* In a process of its own: all is read once. */
static void assert_in_force(const char *knobs, const char *when, const char *wanted) {
    char command[600], text[400];
    snprintf(command, sizeof command, "%s /proc/%d/exe %s", knobs, (int)getpid(), when);
    FILE *child = popen(command, "r");
    assert_non_null(child);
    text[fread(text, 1, sizeof text - 1, child)] = '\0';
    assert_int_equal(pclose(child), 0);
    if (strncmp(text, wanted, strlen(wanted)) != 0)
        fail_msg("%s: %s", knobs, text);
}

static void knobs_come_into_force(void **state) {
    (void)state;
    if (is_emulated()) /* what it would start is the emulator, without a program */
        skip();
    assert_in_force("", "late", "rate 524288 limit 9223372036854775807 gogc 100 lock ");
    assert_in_force("MALLARD_MEMPROFILERATE=4711 GOMEMLIMIT=5MiB GOGC=50 MALLARD_CPU_CACHE=lock",
                    "late",
                    "rate 4711 limit 5242880 gogc 50 lock 1\nMALLARD_MEMPROFILERATE=4711\n");
    assert_in_force("MALLARD_MEMPROFILERATE=0 GOGC=off", "late",
                    "rate 0 limit 9223372036854775807 gogc -1 ");
    assert_in_force("GLIBC_TUNABLES=glibc.pthread.rseq=0", "late",
                    "rate 524288 limit 9223372036854775807 gogc 100 lock 1\n");
    assert_in_force("MALLARD_MEMPROFILERATE=4711 GOMEMLIMIT=5MiB GOGC=50", "early",
                    "rate 4711 limit 5242880 gogc 50 lock ");
}

#define GROUPS "/sys/fs/cgroup"

/* A tenth of what the group may have is for what there is beside the heap. */
static void auto_leaves_a_tenth(void **state) {
    (void)state;
    if (is_emulated() || system("unshare -m mount -t tmpfs none " GROUPS " 2>/dev/null") != 0)
        skip();
    assert_in_force("unshare -m sh -c 'mount -t tmpfs none " GROUPS " && mkdir " GROUPS
                    "/memory && "
                    "echo 1000000000 | tee " GROUPS "/memory.max >" GROUPS
                    "/memory/memory.limit_in_bytes && MALLARD_GOMEMLIMIT=auto exec $0 $1'",
                    "late", "rate 524288 limit 900000000 ");
}

static int set_up(void **state) {
    (void)state;
    static const char *const names[] = {"MALLARD_GOMEMLIMIT",     "GOMEMLIMIT",
                                        "MALLARD_GOGC",           "GOGC",
                                        "MALLARD_DEBUG",          "GODEBUG",
                                        "MALLARD_MEMPROFILERATE", "MALLARD_CPU_CACHE",
                                        "MALLARD_HTTP",           "MALLARD_HTTP_TOKEN",
                                        "MALLARD_EAGER",          "MALLARD_KEEP"};
    for (size_t i = 0; i < MAL_COUNT_OF(names); i++)
        unsetenv(names[i]);
    defaults = mal_options;
    defaults.memory_limit_bytes = OFF;
    defaults.gogc_percent = 100;
    defaults.flags = 0;
    defaults.mem_profile_rate = MAL_RATE_DEFAULT_BYTES;
    defaults.cpu_cache = MAL_PERCPU_RSEQ;
    defaults.http = defaults.http_token = NULL;
    defaults.debug = (struct mal_debug){0};
    return 0;
}

int main(int count, char **arguments) {
    if (count > 1 && (strcmp(arguments[1], "early") == 0 || strcmp(arguments[1], "late") == 0))
        return say_what_is_in_force();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_limits_are_gos),
        cmocka_unit_test(auto_is_understood),
        cmocka_unit_test(percentages_are_gos),
        cmocka_unit_test(sampling_rates_are_numbers),
        cmocka_unit_test(the_cache_is_one_of_two),
        cmocka_unit_test(flags_are_0_or_1),
        cmocka_unit_test(flags_add_up),
        cmocka_unit_test(texts_are_copied),
        cmocka_unit_test(a_token_is_never_shown),
        cmocka_unit_test(a_program_with_more_rights_has_no_knobs),
        cmocka_unit_test(our_name_comes_first),
        cmocka_unit_test(the_collector_is_told),
        cmocka_unit_test(debug_entries_set_and_clear),
        cmocka_unit_test(each_switch_is_itself),
        cmocka_unit_test(each_bad_entry_is_named),
        cmocka_unit_test(good_entries_hold_beside_bad_ones),
        cmocka_unit_test(an_empty_knob_is_not_set),
        cmocka_unit_test(the_box_gets_what_is_in_force),
        cmocka_unit_test(knobs_come_into_force),
        cmocka_unit_test(auto_leaves_a_tenth),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
