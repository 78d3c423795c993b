/* SPDX-License-Identifier: Apache-2.0
 *
 * Facts as text: what is written is read again whatever bytes it holds, and what nobody wrote does
 * no harm.
 */
#include "base/attr.h"
#include "keep/keep_private.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define TEXT(literal) ((char *)(literal)) /* nobody writes to it */

static struct keep_facts parsed_bytes(const char *text, size_t bytes) {
    struct keep_facts facts = {.pid = 7, .uid = 8, .start_ticks = 9, .boot = "0123abcd"};
    char *exact = malloc(bytes + 1); /* so that a sanitizer sees what is read behind it */
    memcpy(exact, text, bytes);
    exact[bytes] = '\0';
    assert_int_equal(keep_facts_parse(exact, bytes, &facts), 0);
    free(exact);
    assert_non_null(facts.exe);
    assert_non_null(facts.cmdline);
    assert_non_null(facts.unit);
    assert_non_null(facts.container);
    assert_non_null(facts.pod);
    assert_non_null(facts.service);
    assert_non_null(facts.cgroup);
    assert_non_null(facts.sentence);
    return facts;
}

static struct keep_facts parsed(const char *text) {
    return parsed_bytes(text, strlen(text));
}

/* Writes and reads the facts again. */
static struct keep_facts again(const struct keep_facts *facts) {
    struct view_buffer text = {0};
    assert_int_equal(keep_facts_format(facts, &text), 0);
    struct keep_facts read = parsed_bytes(text.data, text.bytes);
    view_buffer_free(&text);
    return read;
}

static void test_round_trip(void **state) {
    (void)state;
    const struct keep_facts facts = {.pid = 7,
                                     .started_unix_ns = 1,
                                     .ended_unix_ns = UINT64_MAX,
                                     .exe = TEXT("/usr/bin/a=b \\ c"),
                                     .unit = TEXT("redis.service"),
                                     .container = TEXT("0123456789ab"),
                                     .pod = TEXT("pod"),
                                     .service = TEXT("shop"),
                                     .cgroup = TEXT("0::/a/b\n"),
                                     .death = KEEP_DEATH_OOM,
                                     .signal = 9,
                                     .exit_code = 255,
                                     .oom_kills = 3,
                                     .memory_max_bytes = KEEP_UNKNOWN,
                                     .memory_peak_bytes = 1ull << 40,
                                     .memory_current_bytes = 0,
                                     .sentence = TEXT("killed: \xc3\xa4")};
    struct keep_facts read = again(&facts);
    assert_int_equal(read.started_unix_ns, 1);
    assert_true(read.ended_unix_ns == UINT64_MAX);
    assert_string_equal(read.exe, facts.exe);
    assert_string_equal(read.cmdline, "");
    assert_int_equal(read.cmdline_bytes, 0);
    assert_string_equal(read.unit, facts.unit);
    assert_string_equal(read.container, facts.container);
    assert_string_equal(read.pod, facts.pod);
    assert_string_equal(read.service, facts.service);
    assert_string_equal(read.cgroup, facts.cgroup);
    assert_int_equal(read.death, KEEP_DEATH_OOM);
    assert_int_equal(read.signal, 9);
    assert_int_equal(read.exit_code, 255);
    assert_int_equal(read.oom_kills, 3);
    assert_true(read.memory_max_bytes == KEEP_UNKNOWN);
    assert_true(read.memory_peak_bytes == 1ull << 40);
    assert_int_equal(read.memory_current_bytes, 0);
    assert_string_equal(read.sentence, facts.sentence);
    keep_facts_free(&read);
    assert_null(read.exe);
}

/* Who it is is never read from the text. */
static void test_identity_is_not_read(void **state) {
    (void)state;
    struct keep_facts read = parsed("pid=1\nuid=0\nstart_ticks=2\nboot=ffffffff\n");
    assert_int_equal(read.pid, 7);
    assert_int_equal(read.uid, 8);
    assert_int_equal(read.start_ticks, 9);
    assert_string_equal(read.boot, "0123abcd");
    keep_facts_free(&read);
}

static void test_every_byte(void **state) {
    (void)state;
    char cmdline[257], text[256];
    for (int i = 0; i < 256; i++)
        cmdline[i] = (char)i;
    cmdline[256] = '\0';
    for (int i = 0; i < 256; i++)
        text[i] = i == 255 ? '\0' : (char)(i + 1);
    const struct keep_facts facts = {
        .cmdline = cmdline, .cmdline_bytes = 256, .exe = text, .sentence = text};
    struct keep_facts read = again(&facts);
    assert_int_equal(read.cmdline_bytes, 256);
    assert_memory_equal(read.cmdline, cmdline, 257);
    assert_string_equal(read.exe, text);
    assert_string_equal(read.sentence, text);
    keep_facts_free(&read);
}

/* One line is one fact: nothing that a value holds makes another. */
static void test_no_line_from_a_value(void **state) {
    (void)state;
    const struct keep_facts facts = {.exe = TEXT("x\ndeath=oom\nsentence=lie"),
                                     .death = KEEP_DEATH_EXITED};
    struct keep_facts read = again(&facts);
    assert_int_equal(read.death, KEEP_DEATH_EXITED);
    assert_string_equal(read.sentence, "");
    assert_string_equal(read.exe, facts.exe);
    keep_facts_free(&read);
}

static void test_long_values_are_cut(void **state) {
    (void)state;
    char *large = malloc(1 << 20);
    memset(large, '\n', (1 << 20) - 1);
    large[(1 << 20) - 1] = '\0';
    const struct keep_facts facts = {.exe = large,
                                     .unit = large,
                                     .sentence = large,
                                     .cgroup = large,
                                     .pod = large,
                                     .service = large,
                                     .container = large,
                                     .cmdline = large,
                                     .cmdline_bytes = (1 << 20) - 1};
    struct view_buffer text = {0};
    assert_int_equal(keep_facts_format(&facts, &text), 0);
    assert_true(text.bytes < KEEP_FACTS_MAX_BYTES);
    view_buffer_free(&text);
    struct keep_facts read = again(&facts);
    assert_int_equal(strlen(read.exe), 4096);
    assert_int_equal(read.cmdline_bytes, 128 << 10);
    keep_facts_free(&read);
    free(large);
}

static void check_nothing_known(const char *text, size_t bytes) {
    struct keep_facts read = parsed_bytes(text, bytes);
    assert_string_equal(read.exe, "");
    assert_int_equal(read.cmdline_bytes, 0);
    assert_int_equal(read.death, KEEP_DEATH_NONE);
    assert_int_equal(read.signal, 0);
    assert_int_equal(read.ended_unix_ns, 0);
    assert_true(read.oom_kills == KEEP_UNKNOWN);
    assert_true(read.memory_max_bytes == KEEP_UNKNOWN);
    keep_facts_free(&read);
}

static void test_hostile(void **state) {
    (void)state;
    static const char *const texts[] = {
        "",
        "\n",
        "=",
        "=\n",
        "exe",
        "exe\n",
        "exe=/torn line at the end",
        "exe=\\\n",
        "exe=\\x\n",
        "exe=\\x1\n",
        "exe=\\xZZ\n",
        "exe=\\x41\n", /* nothing that keep_escape would escape */
        "exe=\\x00\n",
        "exe=a\\x00b\n",
        "exe=a\tb\n",
        "cmdline=\\y00\n",
        "death=\ndeath=Oom\n",
        "death=ooms\n",
        "signal=9x\n",
        "signal=-9\n",
        "signal= 9\n",
        "signal=09\n",
        "signal=4294967305\n",
        "signal=99999999999999999999999999\n",
        "ended_unix_ns=18446744073709551616\n",
        "oom_kills=\n",
        "oom_kills=0x10\n",
        "memory_max_bytes=1e9\n",
        "EXE=/a\n exe=/a\nexe =/a\n",
        "future_key=1\n",
    };
    for (size_t i = 0; i < MAL_COUNT_OF(texts); i++)
        check_nothing_known(texts[i], strlen(texts[i]));
    static const char with_nul[] = "exe=a\0b\n\0\0exe=/a\n";
    check_nothing_known(with_nul, sizeof(with_nul) - 1);
}

static void test_first_of_a_key_counts(void **state) {
    (void)state;
    struct keep_facts read = parsed("exe=/first\nexe=/second\nsignal=x\nsignal=6\ncgroup=g\n");
    assert_string_equal(read.exe, "/first");
    assert_int_equal(read.signal, 0);
    assert_string_equal(read.cgroup, "g");
    keep_facts_free(&read);
}

static void test_long_line(void **state) {
    (void)state;
    size_t bytes = 1 << 20;
    char *text = malloc(bytes + 16);
    memset(text, 'a', bytes);
    memcpy(text, "exe=", 4);
    memcpy(text + bytes, "\nsignal=11\n", 11);
    struct keep_facts read = parsed_bytes(text, bytes + 11);
    assert_string_equal(read.exe, "");
    assert_int_equal(read.signal, 11);
    keep_facts_free(&read);
    free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_identity_is_not_read),
        cmocka_unit_test(test_every_byte),
        cmocka_unit_test(test_no_line_from_a_value),
        cmocka_unit_test(test_long_values_are_cut),
        cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_first_of_a_key_counts),
        cmocka_unit_test(test_long_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
