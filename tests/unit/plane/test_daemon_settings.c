/* SPDX-License-Identifier: Apache-2.0
 *
 * Flags and the file: what is taken, what is refused and with which words.
 */
#include "base/attr.h"
#include "daemon/settings.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static struct settings settings;
static char problem[SETTINGS_PROBLEM_BYTES];

static int flags(const char *first, ...) {
    static char texts[16][64];
    const char *given[16] = {"mallardd", first};
    char *arguments[16];
    int count = 1;
    enum settings_wish wish;
    va_list rest;
    va_start(rest, first);
    while (given[count] != NULL)
        given[++count] = va_arg(rest, const char *);
    va_end(rest);
    for (int i = 0; i < count; i++) {
        snprintf(texts[i], sizeof texts[i], "%s", given[i]);
        arguments[i] = texts[i];
    }
    settings_default(&settings);
    return settings_flags(&settings, count, arguments, &wish, problem);
}

static void write_file(const char *text) {
    snprintf(settings.config, sizeof settings.config, "/tmp/mallardd-test-%d", (int)getpid());
    FILE *file = fopen(settings.config, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static int read_text(const char *text) {
    settings_default(&settings);
    write_file(text);
    int error = settings_file(&settings, problem);
    unlink(settings.config);
    return error;
}

/* The complaint about a text, without the file's name. */
static const char *complaint(const char *text) {
    assert_true(read_text(text) < 0);
    const char *colon = strchr(problem, ':');
    assert_non_null(colon);
    return colon;
}

static void test_defaults(void **state) {
    (void)state;
    settings_default(&settings);
    assert_string_equal(settings.value[SETTING_HTTP].text, "127.0.0.1:6060");
    assert_int_equal(settings.value[SETTING_KEEP_BYTES].number, 256u << 20);
    assert_int_equal(settings.value[SETTING_KEEP_EVERY].number, 60);
    assert_int_equal(settings.value[SETTING_KEEP_FOR].number, 24);
    assert_int_equal(settings.value[SETTING_INSECURE].number, 0);
    assert_int_equal(settings_file(&settings, problem), 0);
}

/* What SIGHUP changes, as the manual says. */
static void test_live(void **state) {
    (void)state;
    static const char *const live[] = {"keep-bytes", "keep-every", "keep-for", "token-file"};
    size_t count = 0;
    for (unsigned id = 0; id < SETTINGS; id++)
        count += settings_changes_live((enum setting_id)id);
    assert_int_equal(count, sizeof live / sizeof *live);
    for (size_t i = 0; i < count; i++)
        assert_true(settings_changes_live(settings_find(live[i], strlen(live[i]))));
}

static void test_bytes(void **state) {
    (void)state;
    static const struct {
        const char *text;
        uint64_t bytes;
    } good[] = {{"0", 0},
                {"512", 512},
                {"512B", 512},
                {"64KiB", 64u << 10},
                {"64 KiB", 64u << 10},
                {"3MiB", 3u << 20},
                {"2GiB", 2ull << 30},
                {"18446744073709551615", UINT64_MAX}};
    static const char *const bad[] = {"",
                                      "B",
                                      "-1",
                                      "1K",
                                      "1kb",
                                      "1MB",
                                      "1.5MiB",
                                      "1 2",
                                      "0x10",
                                      " 1",
                                      "1GiB ",
                                      "18446744073709551616",
                                      "17179869184GiB"};
    uint64_t bytes;
    for (size_t i = 0; i < MAL_COUNT_OF(good); i++) {
        assert_int_equal(settings_parse_bytes(good[i].text, &bytes), 0);
        assert_int_equal(bytes, good[i].bytes);
    }
    for (size_t i = 0; i < MAL_COUNT_OF(bad); i++)
        if (settings_parse_bytes(bad[i], &bytes) == 0)
            fail_msg("'%s' was taken for %llu bytes", bad[i], (unsigned long long)bytes);
}

static void test_flags(void **state) {
    (void)state;
    assert_int_equal(flags("--http", "127.0.0.1:0", "--keep-bytes=1GiB", "--insecure", NULL), 0);
    assert_string_equal(settings.value[SETTING_HTTP].text, "127.0.0.1:0");
    assert_int_equal(settings.value[SETTING_KEEP_BYTES].number, 1u << 30);
    assert_int_equal(settings.value[SETTING_INSECURE].number, 1);
    assert_int_equal(flags("--config", "/x/y", NULL), 0);
    assert_string_equal(settings.config, "/x/y");
}

static void check_flag(const char *wanted, const char *first, const char *second) {
    assert_true(flags(first, second, NULL) < 0);
    if (strstr(problem, wanted) == NULL)
        fail_msg("%s %s: '%s'", first, second != NULL ? second : "", problem);
}

static void test_wrong_flags(void **state) {
    (void)state;
    check_flag("no option --nope", "--nope", NULL);
    check_flag("no option --kee", "--kee", "x");
    check_flag("options only, not here", "here", NULL);
    check_flag("missing behind --dir", "--dir", NULL);
    check_flag("keep-every wants seconds, 1 to 86400, not '0'", "--keep-every", "0");
    check_flag("keep-every wants seconds", "--keep-every", "60s");
    check_flag("keep-for wants hours", "--keep-for", "8761");
    check_flag("keep-bytes wants a size of at least 1MiB", "--keep-bytes", "1023KiB");
    check_flag("keep-bytes wants", "--keep-bytes", "256M");
    check_flag("insecure wants yes or no", "--insecure=maybe", NULL);
}

static void test_file(void **state) {
    (void)state;
    assert_int_equal(read_text("# a comment\n\n"
                               "  keep-bytes =  1GiB   # more\n"
                               "dir=/run/some where\r\n"
                               "keep = /srv/a#b\n"
                               "insecure = yes"),
                     0);
    assert_int_equal(settings.value[SETTING_KEEP_BYTES].number, 1u << 30);
    assert_string_equal(settings.value[SETTING_DIR].text, "/run/some where");
    assert_string_equal(settings.value[SETTING_KEEP].text, "/srv/a#b");
    assert_int_equal(settings.value[SETTING_INSECURE].number, 1);
}

static void test_wrong_file(void **state) {
    (void)state;
    assert_string_equal(complaint("dir = /x\nkeep-evry = 60\n"),
                        ":2: there is no setting 'keep-evry'");
    assert_string_equal(complaint("keep-every = soon\n"),
                        ":1: keep-every wants seconds, 1 to 86400, not 'soon'");
    assert_string_equal(complaint("\n\nkeep-every\n"),
                        ":3: a setting is written as name = value, not 'keep-every'");
    assert_string_equal(complaint("dir = /a\ndir = /b\n"), ":2: dir was set on line 1 already");
    assert_string_equal(complaint("dir =\n"), ":1: dir has no value");
    assert_string_equal(complaint("--dir = /a\n"), ":1: there is no setting '--dir'");
    assert_string_equal(complaint("config = /a\n"), ":1: there is no setting 'config'");
}

static void test_whole(void **state) {
    (void)state;
    assert_true(read_text("tls-cert = /a\n") < 0);
    assert_string_equal(problem, "tls-cert needs tls-key too");
    assert_true(read_text("http = off\n") < 0);
    assert_int_equal(read_text("http = off\nsocket = /run/x\n"), 0);
    settings_default(&settings);
    snprintf(settings.config, sizeof settings.config, "/proc/no/file");
    assert_true(settings_file(&settings, problem) < 0);
    assert_string_equal(problem, "cannot read the settings in /proc/no/file: No such file or "
                                 "directory");
}

static void test_flags_win(void **state) {
    (void)state;
    assert_int_equal(flags("--keep-every", "5", NULL), 0);
    write_file("keep-every = 7\nkeep-for = 2\n");
    assert_int_equal(settings_file(&settings, problem), 0);
    unlink(settings.config);
    assert_int_equal(settings.value[SETTING_KEEP_EVERY].number, 5);
    assert_int_equal(settings.value[SETTING_KEEP_FOR].number, 2);
    assert_int_equal(flags("--keep-every", "5", NULL), 0);
    write_file("keep-every = never\n");
    assert_true(settings_file(&settings, problem) < 0);
    unlink(settings.config);
}

/* Every setting is in --help, and --help has no option that is none. */
static void test_help(void **state) {
    (void)state;
    for (unsigned id = 0; id < SETTINGS; id++) {
        char option[64];
        snprintf(option, sizeof option, "  --%s ", settings_name((enum setting_id)id));
        if (strstr(settings_help, option) == NULL)
            fail_msg("--help is silent about %s", option);
    }
    for (const char *at = settings_help; (at = strstr(at, "\n  --")) != NULL; at++) {
        size_t bytes = strcspn(at + 5, " ,\n");
        bool known = settings_find(at + 5, bytes) != SETTINGS ||
                     strncmp(at + 5, "config", bytes) == 0 || strncmp(at + 5, "help", bytes) == 0;
        assert_true(known);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),    cmocka_unit_test(test_live),
        cmocka_unit_test(test_bytes),       cmocka_unit_test(test_flags),
        cmocka_unit_test(test_wrong_flags), cmocka_unit_test(test_file),
        cmocka_unit_test(test_wrong_file),  cmocka_unit_test(test_whole),
        cmocka_unit_test(test_flags_win),   cmocka_unit_test(test_help),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
